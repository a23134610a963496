/* Kernels of the host device: a shared object loaded from memory, called, and timed. */
#include "device/host/host.h"

#include <dlfcn.h>
#include <errno.h>
#include <omp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- load ---- */

static triage_status write_memory_file(int fd, const char *data, size_t size) {
    while (size > 0) {
        ssize_t written = write(fd, data, size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return tri_fail(TRIAGE_E_MEMORY, "a kernel of %zu bytes in memory: %s", size, strerror(errno));
        data += written;
        size -= (size_t)written;
    }
    return TRIAGE_OK;
}

/* The OpenMP runtime keeps threads that sleep in its code; it must never be unloaded with a kernel. */
static void pin_openmp(void *object) {
    Dl_info info;
    void *symbol = dlsym(object, "omp_get_max_threads");
    if (symbol && dladdr(symbol, &info) && info.dli_fname)
        (void)dlopen(info.dli_fname, RTLD_NOW | RTLD_NODELETE | RTLD_NOLOAD);
}

static triage_status open_object(tri_host_kernel *kernel, const tri_image *image) {
    char path[64];
    kernel->fd = memfd_create("triage-kernel", MFD_CLOEXEC);
    if (kernel->fd < 0)
        return tri_fail(TRIAGE_E_MEMORY, "memfd_create: %s", strerror(errno));
    triage_status status = write_memory_file(kernel->fd, image->data, image->size);
    if (status != TRIAGE_OK)
        return status;
    snprintf(path, sizeof path, "/proc/self/fd/%d", kernel->fd);
    kernel->object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!kernel->object)
        return tri_fail(TRIAGE_E_DEVICE, "loading a host kernel: %s", dlerror());
    pin_openmp(kernel->object);
    *(void **)&kernel->entry = dlsym(kernel->object, "triage_kernel");
    if (!kernel->entry)
        return tri_fail(TRIAGE_E_COMPILE, "the host kernel has no function triage_kernel");
    return TRIAGE_OK;
}

triage_status tri_host_load(tri_kernel **out, tri_device *device, const tri_image *image,
                            const tri_launch *launch) {
    triage_status status = TRIAGE_OK;
    tri_host_kernel *kernel = NULL;
    TRI_TRY(tri_calloc(&kernel, 1, sizeof *kernel));
    kernel->base.device = device;
    kernel->fd = -1;
    TRI_TRY(open_object(kernel, image));
    if (launch->workspace_bytes > 0) {
        TRI_TRY(device->backend->alloc(device, &kernel->base.workspace, launch->workspace_bytes));
        kernel->base.clear_bytes = launch->keeps_workspace ? 0 : launch->workspace_bytes;
        memset((void *)(uintptr_t)kernel->base.workspace, 0, launch->workspace_zero_bytes);
    }
    *out = &kernel->base;
    kernel = NULL;
done:
    if (kernel)
        tri_host_unload(&kernel->base);
    return status;
}

triage_status tri_host_call_load(tri_kernel **out, tri_device *device, tri_call_fn call, void *state) {
    tri_host_kernel *kernel = NULL;
    triage_status status = tri_calloc(&kernel, 1, sizeof *kernel);
    if (status != TRIAGE_OK)
        return status;
    *kernel = (tri_host_kernel){.base.device = device, .fd = -1, .call = call, .state = state};
    *out = &kernel->base;
    return TRIAGE_OK;
}

void tri_host_unload(tri_kernel *base) {
    tri_host_kernel *kernel = (tri_host_kernel *)base;
    tri_device_release(base->device, base->workspace);
    if (kernel->object)
        dlclose(kernel->object);
    if (kernel->fd >= 0)
        close(kernel->fd);
    tri_openblas_free(kernel->dense);
    free(kernel);
}

/* ---- launch and time ---- */

/* A forked child has none of the threads of OpenMP's pool and does not know it: a parallel region would wait for them
 * for ever. A region of one thread needs none. */
static pthread_once_t watch_once = PTHREAD_ONCE_INIT;
static bool pool_is_gone;

static void lose_pool(void) {
    pool_is_gone = true;
}

static void watch_forks(void) {
    (void)pthread_atfork(NULL, NULL, lose_pool);
}

static void enter_pool(void) {
    pthread_once(&watch_once, watch_forks);
    if (pool_is_gone)
        omp_set_num_threads(1); /* this thread's setting */
}

triage_status tri_host_launch(tri_kernel *base, const void *args, void *stream) {
    tri_host_kernel *kernel = (tri_host_kernel *)base;
    if (kernel->call)
        return kernel->call(kernel->state, stream);
    if (base->clear_bytes)
        memset((void *)(uintptr_t)base->workspace, 0, base->clear_bytes);
    enter_pool();
    if (kernel->dense)
        tri_openblas_run(kernel, args);
    else
        kernel->entry(args);
    return TRIAGE_OK;
}

/* Every thread of the pool writes its share, so that private caches are emptied too. */
static void flush_caches(unsigned char *buffer, int64_t bytes, unsigned char word) {
    enum { kLine = 64 };
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < bytes; i += kLine)
        buffer[i] = word;
}

static triage_status grow_flush(tri_host_device *device, int64_t bytes) {
    if (bytes <= device->flush_bytes)
        return TRIAGE_OK;
    free(device->flush);
    device->flush = NULL;
    device->flush_bytes = 0;
    triage_status status = tri_calloc(&device->flush, (size_t)bytes, 1);
    device->flush_bytes = status == TRIAGE_OK ? bytes : 0;
    return status;
}

void tri_host_flush_end(tri_device *base) {
    tri_host_device *device = (tri_host_device *)base;
    free(device->flush);
    device->flush = NULL;
    device->flush_bytes = 0;
}

triage_status tri_host_flush(tri_device *base, size_t bytes, void *stream) {
    tri_host_device *device = (tri_host_device *)base;
    (void)stream;
    triage_status status = grow_flush(device, (int64_t)bytes);
    if (status == TRIAGE_OK)
        flush_caches(device->flush, (int64_t)bytes, ++device->flush_word);
    return status;
}

triage_status tri_host_time(tri_kernel *kernel, const void *args, int64_t flush_bytes, int batch, double *ns,
                            int count) {
    triage_status status = TRIAGE_OK;
    for (int i = 0; i < count; i++) {
        TRI_TRY(tri_device_flush(kernel->device, (size_t)flush_bytes, NULL));
        int64_t start = tri_now_ns();
        for (int launch = 0; launch < batch; launch++)
            TRI_TRY(tri_host_launch(kernel, args, NULL));
        ns[i] = (double)(tri_now_ns() - start) / batch;
    }
done:
    return status;
}
