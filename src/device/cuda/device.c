/* The cuda device: contexts, memory, description. */
#include "device/cuda/driver.h"

#include <stdlib.h>
#include <string.h>

static tri_cuda_device *cuda(tri_device *device) {
    return (tri_cuda_device *)device;
}

/* ---- description ---- */

static triage_status attribute(int *out, const tri_cuda_driver *driver, CUdevice_attribute name,
                               CUdevice ordinal) {
    return tri_cuda_check(driver, driver->device_attribute(out, name, ordinal), "cuDeviceGetAttribute");
}

/* wgmma and its successors exist only in the "a" targets; everything older has plain names. */
static void name_target(tri_device_info *info, int major, int minor) {
    info->cc = major * 10 + minor;
    snprintf(info->target, sizeof info->target, "sm_%d%s", info->cc, info->cc >= 90 ? "a" : "");
}

/* As nvidia-smi writes it: whatever number the card has in this process, and in others. */
static void write_uuid(char out[40], const CUuuid *uuid) {
    size_t at = (size_t)sprintf(out, "GPU");
    for (size_t i = 0; i < 16; i++)
        at += (size_t)sprintf(out + at, "%s%02x", i == 0 || i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "",
                              (unsigned char)uuid->bytes[i]);
}

triage_status tri_cuda_describe(tri_device_info *out, const tri_cuda_driver *driver, CUdevice ordinal) {
    triage_status status = TRIAGE_OK;
    int major = 0, minor = 0, l2 = 0, smem = 0;
    size_t memory = 0;
    CUuuid uuid;
    const struct {
        int *to;
        CUdevice_attribute name;
    } wanted[] = {
        {&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR},
        {&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR},
        {&out->sm_count, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT},
        {&out->clock_khz, CU_DEVICE_ATTRIBUTE_CLOCK_RATE},
        {&out->memory_clock_khz, CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE},
        {&out->memory_bus_bits, CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH},
        {&l2, CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE},
        {&smem, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN},
    };
    *out = (tri_device_info){.backend = "cuda"};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        TRI_TRY(attribute(wanted[i].to, driver, wanted[i].name, ordinal));
    TRI_TRY(
        tri_cuda_check(driver, driver->device_name(out->name, sizeof out->name, ordinal), "cuDeviceGetName"));
    TRI_TRY(tri_cuda_check(driver, driver->device_memory(&memory, ordinal), "cuDeviceTotalMem"));
    TRI_TRY(tri_cuda_check(driver, driver->driver_version(&out->driver_version), "cuDriverGetVersion"));
    TRI_TRY(tri_cuda_check(driver, driver->device_uuid(&uuid, ordinal), "cuDeviceGetUuid"));
    write_uuid(out->uuid, &uuid);
    name_target(out, major, minor);
    out->l2_bytes = l2;
    out->smem_bytes_max = smem;
    out->memory_bytes = (int64_t)memory;
done:
    return status;
}

/* ---- open and close ---- */

static triage_status count(int *out) {
    triage_status status = TRIAGE_OK;
    const tri_cuda_driver *driver = NULL;
    TRI_TRY(tri_cuda_driver_get(&driver));
    TRI_TRY(tri_cuda_check(driver, driver->device_count(out), "cuDeviceGetCount"));
done:
    return status;
}

static triage_status find_device(tri_cuda_device *device, int ordinal) {
    triage_status status = TRIAGE_OK;
    int devices = 0;
    TRI_TRY(tri_cuda_check(device->driver, device->driver->device_count(&devices), "cuDeviceGetCount"));
    if (devices == 0)
        return tri_fail(TRIAGE_E_NO_DEVICE, "no CUDA device: the driver finds none");
    if (ordinal >= devices)
        return tri_fail(TRIAGE_E_NO_DEVICE, "no CUDA device %d: allowed 0 to %d", ordinal, devices - 1);
    TRI_TRY(
        tri_cuda_check(device->driver, device->driver->device_get(&device->ordinal, ordinal), "cuDeviceGet"));
done:
    return status;
}

/* A borrowed context that is the device's primary one is retained: whoever made it may release it before us. (One of
 * cuCtxCreate has no such count.) */
static triage_status retain_borrowed(tri_cuda_device *device) {
    triage_status status = TRIAGE_OK;
    const tri_cuda_driver *driver = device->driver;
    CUcontext primary = NULL;
    unsigned flags = 0;
    int active = 0;
    TRI_TRY(tri_cuda_check(driver, driver->primary_state(device->ordinal, &flags, &active),
                           "cuDevicePrimaryCtxGetState"));
    if (!active)
        return TRIAGE_OK;
    TRI_TRY(tri_cuda_check(driver, driver->primary_retain(&primary, device->ordinal),
                           "cuDevicePrimaryCtxRetain"));
    device->retained = primary == device->context;
    if (!device->retained)
        driver->primary_release(device->ordinal);
done:
    return status;
}

/* The caller's context if it has one and wants that, else the device's primary context. */
static triage_status take_context(tri_cuda_device *device, int ordinal, bool use_current) {
    triage_status status = TRIAGE_OK;
    const tri_cuda_driver *driver = device->driver;
    if (use_current) {
        TRI_TRY(tri_cuda_check(driver, driver->context_current(&device->context), "cuCtxGetCurrent"));
        if (device->context) {
            TRI_TRY(tri_cuda_check(driver, driver->context_device(&device->ordinal), "cuCtxGetDevice"));
            return retain_borrowed(device);
        }
    }
    TRI_TRY(find_device(device, ordinal));
    TRI_TRY(tri_cuda_check(driver, driver->primary_retain(&device->context, device->ordinal),
                           "cuDevicePrimaryCtxRetain"));
    device->retained = true;
done:
    return status;
}

static triage_status make_stream(tri_cuda_device *device) {
    triage_status status = TRIAGE_OK;
    bool pushed = false;
    TRI_TRY(tri_cuda_enter(device, &pushed));
    TRI_TRY(tri_cuda_check(device->driver,
                           device->driver->stream_create(&device->stream, CU_STREAM_NON_BLOCKING),
                           "cuStreamCreate"));
done:
    tri_cuda_leave(device, pushed);
    return status;
}

static void close_device(tri_device *base) {
    tri_cuda_device *device = cuda(base);
    bool pushed = false;
    if (device->context && tri_cuda_enter(device, &pushed) == TRIAGE_OK) {
        tri_cuda_flush_free(device);
        if (device->stream)
            device->driver->stream_destroy(device->stream);
        tri_cuda_leave(device, pushed);
    }
    if (device->retained)
        device->driver->primary_release(device->ordinal);
    free(device);
}

static triage_status open_device(tri_device **out, int ordinal, bool use_current) {
    triage_status status = TRIAGE_OK;
    tri_cuda_device *device = NULL;
    TRI_TRY(tri_calloc(&device, 1, sizeof *device));
    device->base.backend = &tri_cuda_backend;
    TRI_TRY(tri_cuda_driver_get(&device->driver));
    TRI_TRY(take_context(device, ordinal, use_current));
    TRI_TRY(tri_cuda_describe(&device->base.info, device->driver, device->ordinal));
    TRI_TRY(make_stream(device));
    *out = &device->base;
    device = NULL;
done:
    if (device)
        close_device(&device->base);
    return status;
}

/* ---- memory ---- */

/* Runs one driver call inside the device's context and returns its status. */
#define RETURN_IN_CONTEXT(device, name, call)                                                                \
    do {                                                                                                     \
        bool pushed_ = false;                                                                                \
        triage_status status_ = tri_cuda_enter(device, &pushed_);                                            \
        if (status_ == TRIAGE_OK)                                                                            \
            status_ = tri_cuda_check((device)->driver, (device)->driver->call, name);                        \
        tri_cuda_leave(device, pushed_);                                                                     \
        return status_;                                                                                      \
    } while (0)

static triage_status alloc(tri_device *device, tri_address *out, size_t bytes) {
    CUdeviceptr address = 0;
    bool pushed = false;
    tri_cuda_device *self = cuda(device);
    triage_status status = tri_cuda_enter(self, &pushed);
    if (status == TRIAGE_OK)
        status = tri_cuda_check(self->driver, self->driver->memory_alloc(&address, bytes), "cuMemAlloc");
    tri_cuda_leave(self, pushed);
    *out = status == TRIAGE_OK ? (tri_address)address : 0;
    return status;
}

static void release(tri_device *device, tri_address address) {
    tri_cuda_device *self = cuda(device);
    bool pushed = false;
    if (tri_cuda_enter(self, &pushed) == TRIAGE_OK)
        self->driver->memory_free((CUdeviceptr)address);
    tri_cuda_leave(self, pushed);
}

static triage_status upload(tri_device *device, tri_address to, const void *from, size_t bytes) {
    RETURN_IN_CONTEXT(cuda(device), "cuMemcpyHtoD", upload((CUdeviceptr)to, from, bytes));
}

static triage_status download(tri_device *device, void *to, tri_address from, size_t bytes) {
    RETURN_IN_CONTEXT(cuda(device), "cuMemcpyDtoH", download(to, (CUdeviceptr)from, bytes));
}

static triage_status fill(tri_device *device, tri_address to, uint32_t word, size_t words, void *stream) {
    RETURN_IN_CONTEXT(cuda(device), "cuMemsetD32Async",
                      fill_words((CUdeviceptr)to, word, words, (CUstream)stream));
}

static triage_status synchronize(tri_device *device) {
    RETURN_IN_CONTEXT(cuda(device), "cuCtxSynchronize", context_synchronize());
}

/* The null stream cannot be captured; what it answers while another stream is tells that a call there would break it. */
static bool capturing(tri_device *device, void *stream) {
    CUstreamCaptureStatus state = CU_STREAM_CAPTURE_STATUS_NONE;
    CUresult result = CUDA_SUCCESS;
    bool pushed = false;
    if (tri_cuda_enter(cuda(device), &pushed) != TRIAGE_OK)
        return false;
    result = cuda(device)->driver->capture_status((CUstream)stream, &state);
    tri_cuda_leave(cuda(device), pushed);
    return result != CUDA_SUCCESS || state != CU_STREAM_CAPTURE_STATUS_NONE;
}

static triage_status bind_context(tri_device *device) {
    tri_cuda_device *self = cuda(device);
    return tri_cuda_check(self->driver, self->driver->context_push(self->context), "cuCtxPushCurrent");
}

static void unbind_context(tri_device *device) {
    CUcontext popped = NULL;
    cuda(device)->driver->context_pop(&popped);
}

static triage_status show(tri_device *device, bool on) {
    if (on)
        RETURN_IN_CONTEXT(cuda(device), "cuProfilerStart", profiler_start());
    RETURN_IN_CONTEXT(cuda(device), "cuProfilerStop", profiler_stop());
}

const tri_device_backend tri_cuda_backend = {
    .name = "cuda",
    .set_tools = tri_nvrtc_set_tools,
    .compiler_version = tri_nvrtc_version,
    .compiler_file = tri_nvrtc_file,
    .compile = tri_nvrtc_compile,
    .count = count,
    .open = open_device,
    .close = close_device,
    .alloc = alloc,
    .release = release,
    .upload = upload,
    .download = download,
    .fill = fill,
    .flush = tri_cuda_flush,
    .flush_end = tri_cuda_flush_end,
    .synchronize = synchronize,
    .capturing = capturing,
    .circumstances = tri_cuda_circumstances,
    .load = tri_cuda_load,
    .unload = tri_cuda_unload,
    .map_make = tri_cuda_map_make,
    .launch = tri_cuda_launch,
    .time = tri_cuda_time,
    .dense_library = tri_cublas_library,
    .dense_load = tri_cublas_load,
    .call_load = tri_cuda_call_load,
    .bind = bind_context,
    .unbind = unbind_context,
    .show = show,
};
