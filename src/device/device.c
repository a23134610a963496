/* The devices' front: arguments are checked here once, then the backend's table does the work. */
#include "device/backend.h"

#include <string.h>

/* ---- which device ---- */

triage_status tri_device_count(int *out, const char *backend) {
    *out = 0;
    if (strcmp(backend, "cuda") == 0)
        return tri_cuda_backend.count(out);
    if (strcmp(backend, "host") == 0)
        return tri_host_backend.count(out);
    return tri_fail(TRIAGE_E_INVALID, "device kind '%.40s' is not one of cuda, host", backend);
}

triage_status tri_device_set_tools(const char *backend, const char *path) {
    if (strcmp(backend, "cuda") == 0)
        return tri_cuda_backend.set_tools(path);
    if (strcmp(backend, "host") == 0)
        return tri_host_backend.set_tools(path);
    return tri_fail(TRIAGE_E_INVALID, "device kind '%.40s' is not one of cuda, host", backend);
}

/* The best there is: the first GPU; the CPU only when there is no GPU, not when a GPU is in trouble. */
static triage_status open_auto(tri_device **out, bool use_current) {
    triage_status status = tri_cuda_backend.open(out, 0, use_current);
    if (status == TRIAGE_E_NO_DEVICE)
        return tri_host_backend.open(out, 0, use_current);
    return status;
}

triage_status tri_device_open(tri_device **out, const char *spec, bool use_current) {
    int64_t ordinal = 0;
    *out = NULL;
    if (strcmp(spec, "auto") == 0)
        return open_auto(out, use_current);
    if (strcmp(spec, "host") == 0)
        return tri_host_backend.open(out, 0, use_current);
    if (strcmp(spec, "cuda") == 0)
        return tri_cuda_backend.open(out, 0, use_current);
    if (strncmp(spec, "cuda:", 5) != 0)
        return tri_fail(TRIAGE_E_INVALID, "device '%.40s' is not one of auto, cuda, cuda:N, host", spec);
    triage_status status = tri_parse_int64(&ordinal, spec + 5, 0, 1023, "device number");
    return status == TRIAGE_OK ? tri_cuda_backend.open(out, (int)ordinal, use_current) : status;
}

void tri_device_close(tri_device *device) {
    if (device)
        device->backend->close(device);
}

const tri_device_info *tri_device_describe(const tri_device *device) {
    return &device->info;
}

triage_status tri_device_circumstances(char **out, tri_device *device) {
    *out = NULL;
    return device->backend->circumstances(out, device);
}

void tri_device_settle(tri_device *device) {
    if (device->backend->settle)
        device->backend->settle(device);
}

/* ---- memory ---- */

triage_status tri_device_alloc(tri_device *device, tri_address *out, size_t bytes) {
    *out = 0;
    return device->backend->alloc(device, out, bytes ? bytes : 1); /* an empty array has an address too */
}

void tri_device_release(tri_device *device, tri_address address) {
    if (device && address)
        device->backend->release(device, address);
}

triage_status tri_device_upload(tri_device *device, tri_address to, const void *from, size_t bytes) {
    return bytes ? device->backend->upload(device, to, from, bytes) : TRIAGE_OK;
}

triage_status tri_device_download(tri_device *device, void *to, tri_address from, size_t bytes) {
    return bytes ? device->backend->download(device, to, from, bytes) : TRIAGE_OK;
}

triage_status tri_device_fill(tri_device *device, tri_address to, uint32_t word, size_t words, void *stream) {
    return words ? device->backend->fill(device, to, word, words, stream) : TRIAGE_OK;
}

void tri_device_flush_end(tri_device *device) {
    device->backend->flush_end(device);
}

triage_status tri_device_flush(tri_device *device, size_t bytes, void *stream) {
    return bytes ? device->backend->flush(device, bytes, stream) : TRIAGE_OK;
}

bool tri_device_is_capturing(tri_device *device, void *stream) {
    return device->backend->capturing && device->backend->capturing(device, stream);
}

triage_status tri_device_synchronize(tri_device *device) {
    return device->backend->synchronize(device);
}

/* ---- kernels ---- */

triage_status tri_kernel_load(tri_kernel **out, tri_device *device, const tri_image *image,
                              const tri_launch *launch) {
    *out = NULL;
    if (!image->data || image->size == 0)
        return tri_fail(TRIAGE_E_INVALID, "a kernel image of 0 bytes cannot be loaded");
    return device->backend->load(out, device, image, launch);
}

void tri_kernel_unload(tri_kernel *kernel) {
    if (kernel)
        kernel->device->backend->unload(kernel);
}

triage_status tri_tensor_map_encode(void *out_128_bytes, tri_device *device, const tri_tensor_box *box,
                                    const tri_tensor_view *view) {
    if (box->rank == 0 || !device->backend->map_make)
        return TRIAGE_OK;
    return device->backend->map_make(out_128_bytes, device, box, view);
}

static triage_status check_matrix(const tri_tensor_box *box, size_t element, int64_t inner, int64_t outer,
                                  int64_t ld) {
    if (box->rank != 2 && box->rank != 3)
        return tri_fail(TRIAGE_E_INVALID, "tensor map: rank is %d, allowed 0, 2, 3", box->rank);
    if (inner < 1 || outer < 1 || inner > UINT32_MAX || outer > UINT32_MAX || ld < inner ||
        ld >= INT64_C(1) << 38)
        return tri_fail(TRIAGE_E_INVALID,
                        "tensor map: %lld x %lld with ld %lld, allowed 1 to 2^32-1, ld from inner to 2^38-1",
                        (long long)inner, (long long)outer, (long long)ld);
    if (box->rank == 3 && (box->inner_split < 1 || inner % box->inner_split != 0))
        return tri_fail(TRIAGE_E_INVALID, "tensor map: inner_split %d does not divide %lld", box->inner_split,
                        (long long)inner);
    const long long stride = (long long)ld * (long long)element;
    if (stride % 16 != 0)
        return tri_fail(TRIAGE_E_INVALID,
                        "tensor map: a leading dimension of %lld bytes is not a multiple of 16", stride);
    const long long split = (long long)box->inner_split * (long long)element;
    if (box->rank == 3 && split % 16 != 0)
        return tri_fail(TRIAGE_E_INVALID, "tensor map: an inner_split of %lld bytes is not a multiple of 16",
                        split);
    return TRIAGE_OK;
}

triage_status tri_tensor_map_make(void *out_128_bytes, tri_device *device, const tri_tensor_box *box,
                                  triage_dtype dtype, tri_address base, int64_t inner, int64_t outer,
                                  int64_t ld) {
    const int64_t element = (int64_t)tri_dtype_size(dtype);
    if (box->rank == 0 || !device->backend->map_make)
        return TRIAGE_OK;
    triage_status status = check_matrix(box, (size_t)element, inner, outer, ld);
    if (status != TRIAGE_OK)
        return status;
    const int64_t split = box->rank == 3 ? box->inner_split : inner;
    const tri_tensor_view view = {.dtype = dtype,
                                  .rank = box->rank,
                                  .base = base,
                                  .dims = {split, outer, inner / split},
                                  .strides = {0, ld * element, split * element}};
    return tri_tensor_map_encode(out_128_bytes, device, box, &view);
}

tri_address tri_kernel_workspace(const tri_kernel *kernel) {
    return kernel->workspace;
}

bool tri_kernel_needs_lock(const tri_kernel *kernel) {
    return kernel->workspace && (kernel->clear_bytes > 0 || kernel->device->info.cc == 0);
}

TRI_HOT triage_status tri_kernel_launch(tri_kernel *kernel, const void *args, void *stream) {
    return kernel->device->backend->launch(kernel, args, stream);
}

triage_status tri_kernel_time(tri_kernel *kernel, const void *args, int64_t flush_bytes, int batch,
                              double *ns, int count) {
    if (batch < 1 || batch > 100000)
        return tri_fail(TRIAGE_E_INVALID, "batch is %d, allowed 1 to 100000", batch);
    if (count < 1 || count > 1000000)
        return tri_fail(TRIAGE_E_INVALID, "count of timings is %d, allowed 1 to 1000000", count);
    if (flush_bytes < 0)
        return tri_fail(TRIAGE_E_INVALID, "flush_bytes is %lld, allowed 0 or more", (long long)flush_bytes);
    return kernel->device->backend->time(kernel, args, flush_bytes, batch, ns, count);
}

/* ---- the dense product ---- */

triage_status tri_dense_library(char *out, size_t size, tri_device *device) {
    return device->backend->dense_library(out, size);
}

triage_status tri_dense_load(tri_kernel **out, tri_device *device, const tri_gemm *gemm) {
    *out = NULL;
    return device->backend->dense_load(out, device, gemm);
}

/* ---- calls of others ---- */

triage_status tri_call_load(tri_kernel **out, tri_device *device, tri_call_fn call, void *state) {
    *out = NULL;
    return device->backend->call_load(out, device, call, state);
}

triage_status tri_device_bind(tri_device *device) {
    return device->backend->bind ? device->backend->bind(device) : TRIAGE_OK;
}

void tri_device_unbind(tri_device *device) {
    if (device->backend->unbind)
        device->backend->unbind(device);
}

triage_status tri_device_show(tri_device *device, bool on) {
    return device->backend->show ? device->backend->show(device, on) : TRIAGE_OK;
}
