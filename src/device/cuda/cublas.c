/* The dense product by cuBLAS, found at run time, behind the face of a kernel: what launches and times those
 * launches and times it. */
#include "device/cuda/kernel.h"
#include "device/library.h"

#include <pthread.h>
#include <stdlib.h>

/* ---- finding it ---- */

static const tri_cuda_symbol symbols[] = {
#define TRI_SYMBOL(field, prototype, symbol) {#symbol, offsetof(tri_cublas, field)},
#include "device/cuda/cublas.def"
#undef TRI_SYMBOL
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static tri_cublas real;
static bool real_loaded; /* for good: it keeps threads and device memory of its own */
static const tri_cublas *replaced;

static triage_status load_real(void) {
    if (real_loaded)
        return TRIAGE_OK;
    static const char *const names[] = {"libcublas.so.13", "libcublas.so.12", "libcublas.so", NULL};
    void *library = NULL;
    triage_status status = tri_library_open(&library, names, NULL);
    if (status != TRIAGE_OK)
        return status;
    const char *missing = tri_cuda_resolve(&real, library, symbols, sizeof symbols / sizeof *symbols);
    if (missing)
        return tri_fail(TRIAGE_E_NOT_FOUND, "this libcublas has no %s: CUDA 12 or later is needed", missing);
    real_loaded = true;
    return TRIAGE_OK;
}

static triage_status get(const tri_cublas **out) {
    pthread_mutex_lock(&lock);
    triage_status status = replaced ? TRIAGE_OK : load_real();
    *out = replaced ? replaced : &real;
    pthread_mutex_unlock(&lock);
    return status;
}

void tri_cublas_replace(const tri_cublas *fake) {
    pthread_mutex_lock(&lock);
    replaced = fake;
    pthread_mutex_unlock(&lock);
}

static triage_status check(const tri_cublas *blas, int result, const char *call) {
    return result == 0 ? TRIAGE_OK : tri_fail(TRIAGE_E_DEVICE, "%s: %s", call, blas->status_string(result));
}

triage_status tri_cublas_library(char *out, size_t size) {
    const tri_cublas *blas = NULL;
    int version[3] = {0};
    triage_status status = TRIAGE_OK;
    TRI_TRY(get(&blas));
    for (int part = 0; part < 3; part++) /* libraryPropertyType: major, minor, patch */
        TRI_TRY(check(blas, blas->get_property(part, &version[part]), "cublasGetProperty"));
    snprintf(out, size, "cublas %d.%d.%d", version[0], version[1], version[2]);
done:
    return status;
}

/* ---- the product ---- */

enum { kWorkspace = 32 << 20 }; /* bytes: what NVIDIA recommends for Hopper, and more than older ones want */

typedef struct tri_cublas_product {
    const tri_cublas *blas;
    const tri_cuda_driver *driver;
    void *handle;
    CUdeviceptr workspace;
    bool has_stream;
    CUstream stream; /* the handle's */
    int in_type, out_type;
    bool b_row, c_row;
    int m, n, k;
} tri_cublas_product;

/* cudaDataType of library_types.h */
static triage_status type_of(int *out, triage_dtype dtype) {
    *out = dtype == TRIAGE_F32 ? 0 : dtype == TRIAGE_F16 ? 2 : 14;
    return dtype == TRIAGE_E4M3 ? tri_fail(TRIAGE_E_UNSUPPORTED, "cublasGemmEx has no e4m3") : TRIAGE_OK;
}

void tri_cublas_free(tri_cublas_product *dense) {
    if (!dense)
        return;
    if (dense->handle)
        dense->blas->destroy(dense->handle);
    if (dense->workspace)
        dense->driver->memory_free(dense->workspace);
    free(dense);
}

static triage_status open_product(tri_cublas_product *dense, const tri_gemm *gemm) {
    triage_status status = TRIAGE_OK;
    dense->b_row = gemm->b_layout == TRIAGE_ROW_MAJOR;
    dense->c_row = gemm->c_layout == TRIAGE_ROW_MAJOR;
    dense->m = (int)gemm->m;
    dense->n = (int)gemm->n;
    dense->k = (int)gemm->k;
    TRI_TRY(type_of(&dense->in_type, gemm->in_type));
    TRI_TRY(type_of(&dense->out_type, gemm->out_type));
    TRI_TRY(get(&dense->blas));
    TRI_TRY(tri_cuda_check(dense->driver, dense->driver->memory_alloc(&dense->workspace, kWorkspace),
                           "cuMemAlloc"));
    TRI_TRY(check(dense->blas, dense->blas->create(&dense->handle), "cublasCreate"));
done:
    return status;
}

triage_status tri_cublas_load(tri_kernel **out, tri_device *device, const tri_gemm *gemm) {
    tri_cuda_kernel *kernel = NULL;
    bool pushed = false;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_calloc(&kernel, 1, sizeof *kernel));
    kernel->base.device = device;
    kernel->device = (tri_cuda_device *)device;
    TRI_TRY(tri_calloc(&kernel->dense, 1, sizeof *kernel->dense));
    kernel->dense->driver = kernel->device->driver;
    TRI_TRY(tri_cuda_enter(kernel->device, &pushed));
    TRI_TRY(open_product(kernel->dense, gemm));
    *out = &kernel->base;
    kernel = NULL;
done:
    tri_cuda_leave((tri_cuda_device *)device, pushed);
    if (kernel)
        tri_cuda_unload(&kernel->base);
    return status;
}

/* A handle forgets its workspace with its stream; its own would be allocated inside a capture. */
static triage_status set_stream(tri_cublas_product *dense, CUstream stream) {
    triage_status status = TRIAGE_OK;
    if (dense->has_stream && dense->stream == stream)
        return TRIAGE_OK;
    TRI_TRY(check(dense->blas, dense->blas->set_stream(dense->handle, stream), "cublasSetStream"));
    TRI_TRY(check(dense->blas,
                  dense->blas->set_workspace(dense->handle, (void *)(uintptr_t)dense->workspace, kWorkspace),
                  "cublasSetWorkspace"));
    dense->stream = stream;
    dense->has_stream = true;
done:
    return status;
}

/* cuBLAS is column-major: a row-major matrix is its transpose there. A row-major C is computed as
 * C^T = B^T A^T, so the operands change places. */
triage_status tri_cublas_enqueue(tri_cuda_kernel *kernel, const void *block, CUstream stream) {
    const tri_gemm_args *args = block;
    tri_cublas_product *d = kernel->dense;
    enum { kNo = 0, kTransposed = 1, kCompute32F = 68, kDefault = -1 };
    int op_b = d->b_row == d->c_row ? kNo : kTransposed;
    if (args->ldb > INT32_MAX || args->ldc > INT32_MAX)
        return tri_fail(TRIAGE_E_UNSUPPORTED, "cublasGemmEx: ldb %lld, ldc %lld, at most 2147483647",
                        (long long)args->ldb, (long long)args->ldc);
    triage_status status = set_stream(d, stream);
    if (status != TRIAGE_OK)
        return status;
    int result = d->c_row
                     ? d->blas->gemm_ex(d->handle, op_b, kNo, d->n, d->m, d->k, &args->alpha, args->b,
                                        d->in_type, (int)args->ldb, args->a, d->in_type, d->k, &args->beta,
                                        args->c, d->out_type, (int)args->ldc, kCompute32F, kDefault)
                     : d->blas->gemm_ex(d->handle, kTransposed, op_b, d->m, d->n, d->k, &args->alpha, args->a,
                                        d->in_type, d->k, args->b, d->in_type, (int)args->ldb, &args->beta,
                                        args->c, d->out_type, (int)args->ldc, kCompute32F, kDefault);
    return check(d->blas, result, "cublasGemmEx");
}
