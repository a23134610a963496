/* The host device: plain memory, one device, always there. */
#include "device/host/host.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

static void *pointer(tri_address address) {
    return (void *)(uintptr_t)address;
}

static triage_status count(int *out) {
    *out = 1;
    return TRIAGE_OK;
}

static triage_status open_device(tri_device **out, int ordinal, bool use_current) {
    triage_status status = TRIAGE_OK;
    tri_device *device = NULL;
    (void)ordinal, (void)use_current;
    TRI_TRY(tri_calloc(&device, 1, sizeof(tri_host_device)));
    device->backend = &tri_host_backend;
    TRI_TRY(tri_host_describe(&device->info));
    ((tri_host_device *)device)->cpu_quota = tri_host_cpu_quota("/proc/self/cgroup", "/sys/fs/cgroup");
    *out = device;
    device = NULL;
done:
    free(device);
    return status;
}

static void close_device(tri_device *device) {
    free(((tri_host_device *)device)->flush);
    free(device);
}

static triage_status alloc(tri_device *device, tri_address *out, size_t bytes) {
    (void)device;
    size_t rounded = bytes > SIZE_MAX - 255 ? 0 : (bytes + 255) / 256 * 256;
    void *memory = rounded ? aligned_alloc(256, rounded) : NULL;
    if (!memory)
        return tri_fail(TRIAGE_E_MEMORY, "host memory: %zu bytes are not available", bytes);
    *out = (tri_address)(uintptr_t)memory;
    return TRIAGE_OK;
}

static void release(tri_device *device, tri_address address) {
    (void)device;
    free(pointer(address));
}

static triage_status upload(tri_device *device, tri_address to, const void *from, size_t bytes) {
    (void)device;
    memcpy(pointer(to), from, bytes);
    return TRIAGE_OK;
}

static triage_status download(tri_device *device, void *to, tri_address from, size_t bytes) {
    (void)device;
    memcpy(to, pointer(from), bytes);
    return TRIAGE_OK;
}

static triage_status fill(tri_device *device, tri_address to, uint32_t word, size_t words, void *stream) {
    uint32_t *at = pointer(to);
    (void)device, (void)stream;
    for (size_t i = 0; i < words; i++)
        at[i] = word;
    return TRIAGE_OK;
}

static triage_status synchronize(tri_device *device) {
    (void)device;
    return TRIAGE_OK; /* launches end before they return */
}

static triage_status circumstances(char **out, tri_device *device) {
    struct utsname system;
    double load[1] = {0};
    if (uname(&system) != 0)
        return tri_fail(TRIAGE_E_IO, "uname: the system does not tell its name");
    if (getloadavg(load, 1) != 1)
        load[0] = -1.0; /* unknown */
    const tri_host_device *host = (const tri_host_device *)device;
    return tri_format(
        out,
        "{\"backend\":\"host\",\"system\":\"%s %s\",\"cores\":%d,\"cpu_quota\":%.2f,\"omp_threads\":%d,"
        "\"load_1min\":%.2f}",
        system.sysname, system.release, device->info.sm_count, host->cpu_quota, omp_get_max_threads(),
        load[0]);
}

const tri_device_backend tri_host_backend = {
    .name = "host",
    .set_tools = tri_host_set_tools,
    .compiler_version = tri_host_compiler_version,
    .compiler_file = tri_host_compiler_file,
    .compile = tri_host_compile,
    .count = count,
    .open = open_device,
    .close = close_device,
    .alloc = alloc,
    .release = release,
    .upload = upload,
    .download = download,
    .fill = fill,
    .flush = tri_host_flush,
    .flush_end = tri_host_flush_end,
    .synchronize = synchronize,
    .circumstances = circumstances,
    .settle = tri_host_settle,
    .load = tri_host_load,
    .unload = tri_host_unload,
    .launch = tri_host_launch,
    .time = tri_host_time,
    .dense_library = tri_openblas_library,
    .dense_load = tri_openblas_load,
    .call_load = tri_host_call_load,
};
