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

static triage_status load_workspace(tri_cuda_kernel *kernel, size_t bytes) {
    triage_status status = TRIAGE_OK;
    const tri_cuda_driver *driver = kernel->device->driver;
    CUdeviceptr address = 0;
    if (bytes == 0)
        return TRIAGE_OK;
    TRI_TRY(tri_cuda_check(driver, driver->memory_alloc(&address, bytes), "cuMemAlloc"));
    kernel->base.workspace = (tri_address)address;
    kernel->base.workspace_bytes = bytes;
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
    TRI_TRY(load_workspace(kernel, launch->workspace_bytes));
    *out = &kernel->base;
    kernel = NULL;
done:
    tri_cuda_leave((tri_cuda_device *)device, pushed);
    if (kernel)
        tri_cuda_unload(&kernel->base);
    return status;
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
    if (kernel->dense)
        return tri_cublas_enqueue(kernel, args, stream);
    void *params[] = {(void *)args}; /* the driver copies the argument and does not write to it */
    config.hStream = stream;
    if (kernel->base.workspace)
        TRI_TRY(tri_cuda_check(
            driver,
            driver->fill_bytes((CUdeviceptr)kernel->base.workspace, 0, kernel->base.workspace_bytes, stream),
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
static triage_status check_box_bytes(const tri_tensor_box *box, size_t element) {
    long long width = (long long)box->box[0] * (long long)element;
    long long split = (long long)box->inner_split * (long long)element;
    if (width % 16 != 0)
        return tri_fail(TRIAGE_E_INVALID, "tensor map: a box of %lld bytes is not a multiple of 16", width);
    if (box->swizzle > 0 && width > box->swizzle)
        return tri_fail(TRIAGE_E_INVALID, "tensor map: a box of %lld bytes, at most %d with that swizzle",
                        width, box->swizzle);
    if (box->rank == 3 && split % 16 != 0)
        return tri_fail(TRIAGE_E_INVALID, "tensor map: an inner_split of %lld bytes is not a multiple of 16",
                        split);
    return TRIAGE_OK;
}

static triage_status check_map(const tri_tensor_box *box, size_t element, tri_address base, int64_t inner,
                               int64_t outer, int64_t ld) {
    if (box->rank != 2 && box->rank != 3)
        return tri_fail(TRIAGE_E_INVALID, "tensor map: rank is %d, allowed 0, 2, 3", box->rank);
    if (base == 0 || base % 16 != 0)
        return tri_fail(TRIAGE_E_INVALID, "tensor map: address 0x%llx is not 16-byte aligned",
                        (unsigned long long)base);
    if (inner < 1 || outer < 1 || inner > UINT32_MAX || outer > UINT32_MAX || ld < inner ||
        ld >= kMaxStride / 4)
        return tri_fail(TRIAGE_E_INVALID,
                        "tensor map: %lld x %lld with ld %lld, allowed 1 to 2^32-1, ld from inner to 2^38-1",
                        (long long)inner, (long long)outer, (long long)ld);
    long long stride = (long long)ld * (long long)element;
    if (stride % 16 != 0)
        return tri_fail(TRIAGE_E_INVALID,
                        "tensor map: a leading dimension of %lld bytes is not a multiple of 16", stride);
    if (box->rank == 3 && (box->inner_split < 1 || inner % box->inner_split != 0))
        return tri_fail(TRIAGE_E_INVALID, "tensor map: inner_split %d does not divide %lld", box->inner_split,
                        (long long)inner);
    for (int i = 0; i < box->rank; i++) {
        if (box->box[i] < 1 || box->box[i] > 256)
            return tri_fail(TRIAGE_E_INVALID, "tensor map: box dimension %d is %d, allowed 1 to 256", i,
                            box->box[i]);
    }
    return check_box_bytes(box, element);
}

triage_status tri_cuda_map_make(void *out_128_bytes, tri_device *base_device, const tri_tensor_box *box,
                                triage_dtype dtype, tri_address base, int64_t inner, int64_t outer,
                                int64_t ld) {
    triage_status status = TRIAGE_OK;
    tri_cuda_device *device = (tri_cuda_device *)base_device;
    bool pushed = false;
    size_t element = dtype == TRIAGE_F32 ? 4 : dtype == TRIAGE_E4M3 ? 1 : 2;
    CUtensorMapDataType type;
    CUtensorMapSwizzle swizzle;
    CUtensorMapL2promotion promotion;
    CUtensorMap map;
    if (!map_type(&type, dtype) || !map_swizzle(&swizzle, box->swizzle) ||
        !map_promotion(&promotion, box->l2_promotion))
        return tri_fail(
            TRIAGE_E_INVALID,
            "tensor map: dtype %d, swizzle %d (allowed 0, 32, 64, 128), promotion %d (0, 64, 128, 256)",
            (int)dtype, box->swizzle, box->l2_promotion);
    TRI_TRY(check_map(box, element, base, inner, outer, ld));

    int64_t split = box->rank == 3 ? box->inner_split : inner;
    cuuint64_t dims[3] = {(cuuint64_t)split, (cuuint64_t)outer, (cuuint64_t)(inner / split)};
    cuuint64_t strides[2] = {(cuuint64_t)ld * element, (cuuint64_t)split * element}; /* bytes, of dims 1, 2 */
    cuuint32_t boxes[3] = {(cuuint32_t)box->box[0], (cuuint32_t)box->box[1], (cuuint32_t)box->box[2]};
    cuuint32_t steps[3] = {1, 1, 1};
    TRI_TRY(tri_cuda_enter(device, &pushed)); /* encoding asks for a context although it touches no memory */
    TRI_TRY(
        tri_cuda_check(device->driver,
                       device->driver->tensor_map(&map, type, (cuuint32_t)box->rank, (void *)(uintptr_t)base,
                                                  dims, strides, boxes, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
                                                  swizzle, promotion, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
                       "cuTensorMapEncodeTiled"));
    memcpy(out_128_bytes, &map, sizeof map);
done:
    tri_cuda_leave(device, pushed);
    return status;
}
