/* Kernels of the cuda device: load, launch, tensor maps. */
#include "device/cuda/driver.h"
#include "device/cuda/kernel.h"

#include <stdlib.h>
#include <string.h>

/* ---- load ---- */

static uint64_t volume(const uint32_t v[3]) {
    return (uint64_t)v[0] * v[1] * v[2];
}

/* Limits of the CUDA C++ Programming Guide, "Technical Specifications per Compute Capability". */
static triage_status check_launch(const tri_launch *launch) {
    const uint32_t *grid = launch->grid, *block = launch->block, *cluster = launch->cluster;
    if (volume(grid) == 0 || grid[0] > INT32_MAX || grid[1] > 65535 || grid[2] > 65535)
        return tri_fail(TRIAGE_E_INVALID, "grid is %u x %u x %u, allowed 1 to 2147483647 x 65535 x 65535",
                        grid[0], grid[1], grid[2]);
    if (volume(block) == 0 || volume(block) > 1024)
        return tri_fail(TRIAGE_E_INVALID, "block is %u x %u x %u threads, allowed 1 to 1024 in all", block[0],
                        block[1], block[2]);
    if (volume(cluster) == 0 || volume(cluster) > 16)
        return tri_fail(TRIAGE_E_INVALID, "cluster is %u x %u x %u blocks, allowed 1 to 16 in all",
                        cluster[0], cluster[1], cluster[2]);
    for (int i = 0; i < 3; i++) {
        if (grid[i] % cluster[i] != 0)
            return tri_fail(TRIAGE_E_INVALID, "grid dimension %d is %u, not a multiple of the cluster's %u",
                            i, grid[i], cluster[i]);
    }
    return TRIAGE_OK;
}

static void prepare_config(tri_cuda_kernel *kernel, const tri_launch *launch) {
    CUlaunchConfig *config = &kernel->config;
    config->gridDimX = launch->grid[0];
    config->gridDimY = launch->grid[1];
    config->gridDimZ = launch->grid[2];
    config->blockDimX = launch->block[0];
    config->blockDimY = launch->block[1];
    config->blockDimZ = launch->block[2];
    config->sharedMemBytes = launch->smem_bytes;
    config->attrs = &kernel->cluster;
    config->numAttrs = volume(launch->cluster) > 1;
    kernel->cluster.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
    kernel->cluster.value.clusterDim.x = launch->cluster[0];
    kernel->cluster.value.clusterDim.y = launch->cluster[1];
    kernel->cluster.value.clusterDim.z = launch->cluster[2];
}

static triage_status load_function(tri_cuda_kernel *kernel, const tri_image *image,
                                   const tri_launch *launch) {
    triage_status status = TRIAGE_OK;
    const tri_cuda_driver *driver = kernel->device->driver;
    TRI_TRY(tri_cuda_check(driver, driver->module_load(&kernel->module, image->data), "cuModuleLoadData"));
    TRI_TRY(tri_cuda_check(driver,
                           driver->module_function(&kernel->function, kernel->module, "triage_kernel"),
                           "cuModuleGetFunction"));
    TRI_TRY(
        tri_cuda_check(driver,
                       driver->function_set(kernel->function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                                            (int)launch->smem_bytes),
                       "cuFuncSetAttribute"));
    if (volume(launch->cluster) > 8) /* more than 8 is allowed only on request */
        TRI_TRY(tri_cuda_check(
            driver,
            driver->function_set(kernel->function, CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED, 1),
            "cuFuncSetAttribute"));
done:
    return status;
}

/* Zeros that a kernel keeps are written once, here. */
static triage_status load_workspace(tri_cuda_kernel *kernel, const tri_launch *launch) {
    triage_status status = TRIAGE_OK;
    const tri_cuda_driver *driver = kernel->device->driver;
    const CUstream stream = kernel->device->stream;
    CUdeviceptr address = 0;
    if (launch->workspace_bytes == 0)
        return TRIAGE_OK;
    TRI_TRY(tri_cuda_check(driver, driver->memory_alloc(&address, launch->workspace_bytes), "cuMemAlloc"));
    kernel->base.workspace = (tri_address)address;
    kernel->base.clear_bytes = launch->keeps_workspace ? 0 : launch->workspace_bytes;
    if (!launch->keeps_workspace || launch->workspace_zero_bytes == 0)
        return TRIAGE_OK;
    TRI_TRY(tri_cuda_check(driver, driver->fill_bytes(address, 0, launch->workspace_zero_bytes, stream),
                           "cuMemsetD8Async"));
    TRI_TRY(tri_cuda_check(driver, driver->stream_synchronize(stream), "cuStreamSynchronize"));
done:
    return status;
}

triage_status tri_cuda_load(tri_kernel **out, tri_device *device, const tri_image *image,
                            const tri_launch *launch) {
    triage_status status = TRIAGE_OK;
    tri_cuda_kernel *kernel = NULL;
    bool pushed = false;
    TRI_TRY(check_launch(launch));
    TRI_TRY(tri_calloc(&kernel, 1, sizeof *kernel));
    kernel->base.device = device;
    kernel->device = (tri_cuda_device *)device;
    prepare_config(kernel, launch);
    TRI_TRY(tri_cuda_enter(kernel->device, &pushed));
    TRI_TRY(load_function(kernel, image, launch));
    TRI_TRY(load_workspace(kernel, launch));
    *out = &kernel->base;
    kernel = NULL;
done:
    tri_cuda_leave((tri_cuda_device *)device, pushed);
    if (kernel)
        tri_cuda_unload(&kernel->base);
    return status;
}

triage_status tri_cuda_call_load(tri_kernel **out, tri_device *device, tri_call_fn call, void *state) {
    tri_cuda_kernel *kernel = NULL;
    triage_status status = tri_calloc(&kernel, 1, sizeof *kernel);
    if (status != TRIAGE_OK)
        return status;
    kernel->base.device = device;
    kernel->device = (tri_cuda_device *)device;
    kernel->call = call;
    kernel->state = state;
    *out = &kernel->base;
    return TRIAGE_OK;
}

void tri_cuda_unload(tri_kernel *base) {
    tri_cuda_kernel *kernel = (tri_cuda_kernel *)base;
    bool pushed = false;
    bool loaded = base->workspace || kernel->module || kernel->dense;
    if (loaded && tri_cuda_enter(kernel->device, &pushed) == TRIAGE_OK) {
        tri_cublas_free(kernel->dense);
        if (base->workspace)
            kernel->device->driver->memory_free((CUdeviceptr)base->workspace);
        if (kernel->module)
            kernel->device->driver->module_unload(kernel->module);
        tri_cuda_leave(kernel->device, pushed);
    }
    free(kernel);
}

/* ---- launch: no allocation, no lock ---- */

TRI_HOT triage_status tri_cuda_enqueue(tri_cuda_kernel *kernel, const void *args, CUstream stream) {
    triage_status status = TRIAGE_OK;
    const tri_cuda_driver *driver = kernel->device->driver;
    CUlaunchConfig config = kernel->config;
    if (!kernel->function)
        return kernel->dense ? tri_cublas_enqueue(kernel, args, stream) : kernel->call(kernel->state, stream);
    void *params[] = {(void *)args}; /* the driver copies the argument and does not write to it */
    config.hStream = stream;
    if (kernel->base.clear_bytes)
        TRI_TRY(tri_cuda_check(
            driver,
            driver->fill_bytes((CUdeviceptr)kernel->base.workspace, 0, kernel->base.clear_bytes, stream),
            "cuMemsetD8Async"));
    TRI_TRY(
        tri_cuda_check(driver, driver->launch(&config, kernel->function, params, NULL), "cuLaunchKernelEx"));
done:
    return status;
}

TRI_HOT triage_status tri_cuda_launch(tri_kernel *base, const void *args, void *stream) {
    triage_status status = TRIAGE_OK;
    tri_cuda_kernel *kernel = (tri_cuda_kernel *)base;
    bool pushed = false;
    TRI_TRY(tri_cuda_enter(kernel->device, &pushed));
    TRI_TRY(tri_cuda_enqueue(kernel, args, (CUstream)stream));
done:
    tri_cuda_leave(kernel->device, pushed);
    return status;
}

/* ---- tensor maps ---- */

static bool map_type(CUtensorMapDataType *out, triage_dtype dtype) {
    switch (dtype) {
    case TRIAGE_F32:
        *out = CU_TENSOR_MAP_DATA_TYPE_FLOAT32;
        return true;
    case TRIAGE_F16:
        *out = CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
        return true;
    case TRIAGE_BF16:
        *out = CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
        return true;
    case TRIAGE_E4M3:
        *out = CU_TENSOR_MAP_DATA_TYPE_UINT8; /* TMA copies bytes; it knows no 8-bit floats */
        return true;
    }
    return false;
}

static bool map_swizzle(CUtensorMapSwizzle *out, int32_t bytes) {
    *out = bytes == 32    ? CU_TENSOR_MAP_SWIZZLE_32B
           : bytes == 64  ? CU_TENSOR_MAP_SWIZZLE_64B
           : bytes == 128 ? CU_TENSOR_MAP_SWIZZLE_128B
                          : CU_TENSOR_MAP_SWIZZLE_NONE;
    return bytes == 0 || *out != CU_TENSOR_MAP_SWIZZLE_NONE;
}

static bool map_promotion(CUtensorMapL2promotion *out, int32_t bytes) {
    *out = bytes == 64    ? CU_TENSOR_MAP_L2_PROMOTION_L2_64B
           : bytes == 128 ? CU_TENSOR_MAP_L2_PROMOTION_L2_128B
           : bytes == 256 ? CU_TENSOR_MAP_L2_PROMOTION_L2_256B
                          : CU_TENSOR_MAP_L2_PROMOTION_NONE;
    return bytes == 0 || *out != CU_TENSOR_MAP_L2_PROMOTION_NONE;
}

static const int64_t kMaxStride = INT64_C(1) << 40; /* bytes, exclusive: cuTensorMapEncodeTiled */

/* In bytes, what an element's size decides: the copy engine moves pieces of 16, and a swizzle permutes no further
 * than its width. (cuTensorMapEncodeTiled says only "invalid argument".) */
static triage_status check_box(const tri_tensor_box *box, size_t element) {
    long long width = (long long)box->box[0] * (long long)element;
    for (int i = 0; i < box->rank; i++) {
        if (box->box[i] < 1 || box->box[i] > 256)
            return tri_fail(TRIAGE_E_INVALID, "tensor map: box dimension %d is %d, allowed 1 to 256", i,
                            box->box[i]);
    }
    if (width % 16 != 0)
        return tri_fail(TRIAGE_E_INVALID, "tensor map: a box of %lld bytes is not a multiple of 16", width);
    if (box->swizzle > 0 && width > box->swizzle)
        return tri_fail(TRIAGE_E_INVALID, "tensor map: a box of %lld bytes, at most %d with that swizzle",
                        width, box->swizzle);
    return TRIAGE_OK;
}

static triage_status check_view(const tri_tensor_view *view) {
    if (view->base == 0 || view->base % 16 != 0)
        return tri_fail(TRIAGE_E_INVALID, "tensor map: address 0x%llx is not 16-byte aligned",
                        (unsigned long long)view->base);
    for (int i = 0; i < view->rank; i++) {
        const long long size = view->dims[i], stride = view->strides[i];
        if (size < 1 || size > UINT32_MAX)
            return tri_fail(TRIAGE_E_INVALID, "tensor map: dimension %d is %lld, allowed 1 to 2^32-1", i,
                            size);
        if (i > 0 && (stride < 1 || stride >= kMaxStride || stride % 16 != 0))
            return tri_fail(TRIAGE_E_INVALID,
                            "tensor map: stride %d is %lld bytes, allowed multiples of 16 from 16 to 2^40-16",
                            i, stride);
    }
    return TRIAGE_OK;
}

static triage_status check_map(const tri_tensor_box *box, const tri_tensor_view *view, size_t element) {
    triage_status status = TRIAGE_OK;
    if (box->rank != view->rank || box->rank < 1 || box->rank > TRI_MAP_RANK)
        return tri_fail(TRIAGE_E_INVALID, "tensor map: a box of rank %d for an operand of rank %d, 1 to %d",
                        box->rank, view->rank, TRI_MAP_RANK);
    TRI_TRY(check_view(view));
    TRI_TRY(check_box(box, element));
done:
    return status;
}

triage_status tri_cuda_map_make(void *out_128_bytes, tri_device *base_device, const tri_tensor_box *box,
                                const tri_tensor_view *view) {
    triage_status status = TRIAGE_OK;
    tri_cuda_device *device = (tri_cuda_device *)base_device;
    bool pushed = false;
    const size_t element = tri_dtype_size(view->dtype);
    CUtensorMapDataType type;
    CUtensorMapSwizzle swizzle;
    CUtensorMapL2promotion promotion;
    CUtensorMap map;
    cuuint64_t dims[TRI_MAP_RANK], strides[TRI_MAP_RANK]; /* bytes, of the dims from 1 on */
    cuuint32_t boxes[TRI_MAP_RANK], steps[TRI_MAP_RANK];
    if (!map_type(&type, view->dtype) || !map_swizzle(&swizzle, box->swizzle) ||
        !map_promotion(&promotion, box->l2_promotion))
        return tri_fail(
            TRIAGE_E_INVALID,
            "tensor map: dtype %d, swizzle %d (allowed 0, 32, 64, 128), promotion %d (0, 64, 128, 256)",
            (int)view->dtype, box->swizzle, box->l2_promotion);
    TRI_TRY(check_map(box, view, element));
    for (int i = 0; i < view->rank; i++) {
        dims[i] = (cuuint64_t)view->dims[i];
        boxes[i] = (cuuint32_t)box->box[i];
        steps[i] = 1;
        if (i > 0)
            strides[i - 1] = (cuuint64_t)view->strides[i];
    }
    TRI_TRY(tri_cuda_enter(device, &pushed)); /* encoding asks for a context although it touches no memory */
    TRI_TRY(tri_cuda_check(device->driver,
                           device->driver->tensor_map(&map, type, (cuuint32_t)box->rank,
                                                      (void *)(uintptr_t)view->base, dims, strides, boxes,
                                                      steps, CU_TENSOR_MAP_INTERLEAVE_NONE, swizzle,
                                                      promotion, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
                           "cuTensorMapEncodeTiled"));
    memcpy(out_128_bytes, &map, sizeof map);
done:
    tri_cuda_leave(device, pushed);
    return status;
}
