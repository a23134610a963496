/* The dense product by OpenBLAS, found at run time, behind the face of a kernel. */
#include "device/host/host.h"
#include "device/library.h"

#include <dlfcn.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

typedef struct openblas { /* prototypes of cblas.h; in the order of names */
    void (*sgemm)(int order, int op_a, int op_b, int m, int n, int k, float alpha, const float *a, int lda,
                  const float *b, int ldb, float beta, float *c, int ldc);
    void (*set_threads)(int threads);
    char *(*config)(void);
} openblas;

static const char *const names[] = {"cblas_sgemm", "openblas_set_num_threads", "openblas_get_config"};

typedef struct tri_openblas_product {
    openblas blas;
    bool b_row, c_row;
    int m, n, k;
} tri_openblas_product;

static triage_status find(openblas *out) {
    static const char *const libraries[] = {"libopenblas.so.0", "libopenblas.so", NULL};
    void *library = NULL;
    triage_status status = tri_library_open(&library, libraries, "Debian's package libopenblas0");
    if (status != TRIAGE_OK)
        return status;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        void *symbol = dlsym(library, names[i]);
        if (!symbol)
            return tri_fail(TRIAGE_E_NOT_FOUND, "this libopenblas has no %s", names[i]);
        memcpy((char *)out + i * sizeof symbol, &symbol, sizeof symbol); /* no function pointer is a void * */
    }
    return TRIAGE_OK;
}

/* Its first two words: "OpenBLAS 0.3.21". */
triage_status tri_openblas_library(char *out, size_t size) {
    openblas blas;
    char version[32] = "";
    triage_status status = find(&blas);
    if (status != TRIAGE_OK)
        return status;
    if (sscanf(blas.config(), "OpenBLAS %31s", version) != 1)
        version[0] = '\0';
    snprintf(out, size, "openblas%s%s", version[0] ? " " : "", version);
    return TRIAGE_OK;
}

triage_status tri_openblas_load(tri_kernel **out, tri_device *device, const tri_gemm *gemm) {
    tri_host_kernel *kernel = NULL;
    triage_status status = TRIAGE_OK;
    if (gemm->in_type != TRIAGE_F32 || gemm->out_type != TRIAGE_F32)
        return tri_fail(TRIAGE_E_UNSUPPORTED, "OpenBLAS has only f32 of our types");
    TRI_TRY(tri_calloc(&kernel, 1, sizeof *kernel));
    kernel->base.device = device;
    kernel->fd = -1;
    TRI_TRY(tri_calloc(&kernel->dense, 1, sizeof *kernel->dense));
    TRI_TRY(find(&kernel->dense->blas));
    kernel->dense->b_row = gemm->b_layout == TRIAGE_ROW_MAJOR;
    kernel->dense->c_row = gemm->c_layout == TRIAGE_ROW_MAJOR;
    kernel->dense->m = (int)gemm->m;
    kernel->dense->n = (int)gemm->n;
    kernel->dense->k = (int)gemm->k;
    kernel->dense->blas.set_threads(omp_get_max_threads()); /* as many as our kernels take */
    *out = &kernel->base;
    kernel = NULL;
done:
    if (kernel)
        tri_host_unload(&kernel->base);
    return status;
}

/* The order of the call is C's; the others are transposed in it. */
void tri_openblas_run(const tri_host_kernel *kernel, const void *block) {
    const tri_gemm_args *args = block;
    const tri_openblas_product *d = kernel->dense;
    enum { kRowMajor = 101, kColMajor = 102, kNo = 111, kTransposed = 112 };
    d->blas.sgemm(d->c_row ? kRowMajor : kColMajor, d->c_row ? kNo : kTransposed,
                  d->b_row == d->c_row ? kNo : kTransposed, d->m, d->n, d->k, args->alpha, args->a, d->k,
                  args->b, (int)args->ldb, args->beta, args->c, (int)args->ldc);
}

void tri_openblas_free(tri_openblas_product *dense) {
    free(dense);
}
