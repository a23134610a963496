/* A cold L2: reads memory that nobody else uses until nothing of the operands is left. */
#include "device/cuda/kernel.h"

#include <stdlib.h>
#include <string.h>

/* The argument of templates/lib/sweep.ptx. */
typedef struct sweep_args {
    CUdeviceptr from;
    uint64_t bytes;
    CUdeviceptr sink;
} sweep_args;

static triage_status load_sweep(tri_cuda_device *device) {
    triage_status status = TRIAGE_OK;
    char *text = NULL;
    const tri_launch launch = {.grid = {2 * (uint32_t)device->base.info.sm_count, 1, 1},
                               .block = {1024, 1, 1},
                               .cluster = {1, 1, 1}};
    if (device->sweep)
        return TRIAGE_OK;
    TRI_TRY(tri_resource_read(&text, NULL, NULL, "templates/lib/sweep.ptx"));
    const tri_image image = {.data = (unsigned char *)text, .size = strlen(text) + 1};
    TRI_TRY(tri_cuda_load(&device->sweep, &device->base, &image, &launch));
done:
    free(text);
    return status;
}

static triage_status grow(tri_cuda_device *device, size_t bytes) {
    triage_status status = TRIAGE_OK;
    const tri_cuda_driver *driver = device->driver;
    if (bytes <= device->flush_bytes)
        return TRIAGE_OK;
    if (device->flush)
        driver->memory_free(device->flush);
    device->flush = 0;
    device->flush_bytes = 0;
    TRI_TRY(tri_cuda_check(driver, driver->memory_alloc(&device->flush, bytes), "cuMemAlloc"));
    device->flush_bytes = bytes;
    TRI_TRY(tri_cuda_check(driver, driver->fill_bytes(device->flush, 0, bytes, device->stream),
                           "cuMemsetD8Async"));
    TRI_TRY(tri_cuda_check(driver, driver->stream_synchronize(device->stream), "cuStreamSynchronize"));
done:
    return status;
}

triage_status tri_cuda_flush(tri_device *base, size_t bytes, void *stream) {
    triage_status status = TRIAGE_OK;
    tri_cuda_device *device = (tri_cuda_device *)base;
    bool pushed = false;
    bytes = (bytes + 15) / 16 * 16;
    TRI_TRY(tri_cuda_enter(device, &pushed));
    TRI_TRY(load_sweep(device));
    TRI_TRY(grow(device, bytes));
    TRI_TRY(tri_cuda_enqueue((tri_cuda_kernel *)device->sweep,
                             &(sweep_args){device->flush, bytes, device->flush}, (CUstream)stream));
done:
    tri_cuda_leave(device, pushed);
    return status;
}

/* The device's context is current. */
void tri_cuda_flush_free(tri_cuda_device *device) {
    if (device->sweep)
        tri_cuda_unload(device->sweep);
    if (device->flush)
        device->driver->memory_free(device->flush);
    device->sweep = NULL;
    device->flush = 0;
    device->flush_bytes = 0;
}

void tri_cuda_flush_end(tri_device *base) {
    tri_cuda_device *device = (tri_cuda_device *)base;
    bool pushed = false;
    if (tri_cuda_enter(device, &pushed) == TRIAGE_OK)
        tri_cuda_flush_free(device);
    tri_cuda_leave(device, pushed);
}
