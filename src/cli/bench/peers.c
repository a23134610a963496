/* Who is compared: triage itself, and dense products by cuBLAS and OpenBLAS. (cuSPARSE: cusparse.c)
 * Libraries are found at run time (device/library.h); prototypes and numbers are those of cublas_api.h and cblas.h. */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "cli/bench/bench.h"
#include "device/library.h"

/* ---- triage: as an application would call it ---- */

typedef struct triage_state {
    const tri_arena *arena;
    void *stream;
} triage_state;

static triage_status triage_open(void **out, char detail[256], const tri_arena *arena, void *stream) {
    static const char *const sources[] = {"tuned", "tuned for a near problem", "default, not tuned"};
    triage_status status = TRIAGE_OK;
    triage_choice choice = {.version = TRIAGE_CHOICE_VERSION};
    triage_state *state = NULL;
    TRI_TRY(triage_bsr_gemm_choice(&choice, arena->context, arena->a, &arena->b_dense, &arena->c_dense,
                                   &arena->epilogue));
    snprintf(detail, 256, "%.200s (%s)", choice.config, sources[choice.source]);
    TRI_TRY(tri_calloc(&state, 1, sizeof *state));
    *state = (triage_state){arena, stream};
    *out = state;
done:
    return status;
}

static triage_status triage_run(void *opaque) {
    const triage_state *state = opaque;
    const tri_arena *arena = state->arena;
    return triage_bsr_gemm(arena->context, 1, arena->a, &arena->b_dense, 0, &arena->c_dense, &arena->epilogue,
                           state->stream);
}

const tri_contestant_type tri_contestant_triage = {.name = "triage",
                                                   .on_host = true,
                                                   .on_cuda = true,
                                                   .open = triage_open,
                                                   .run = triage_run,
                                                   .close = free};

/* ---- cuBLAS: the dense product with A densified ---- */

typedef struct cublas_api { /* in the order of cublas_names */
    int (*create)(void **handle);
    int (*destroy)(void *handle);
    int (*set_stream)(void *handle, void *stream);
    int (*get_version)(void *handle, int *version);
    const char *(*status_string)(int status);
    int (*gemm_ex)(void *handle, int op_a, int op_b, int m, int n, int k, const void *alpha, const void *a,
                   int a_type, int lda, const void *b, int b_type, int ldb, const void *beta, void *c,
                   int c_type, int ldc, int compute, int algorithm);
} cublas_api;

static const char *const cublas_names[] = {"cublasCreate_v2",       "cublasDestroy_v2",
                                           "cublasSetStream_v2",    "cublasGetVersion_v2",
                                           "cublasGetStatusString", "cublasGemmEx"};

typedef struct cublas_state {
    cublas_api api;
    const tri_arena *arena;
    void *handle, *dense;
    int in_type, out_type;
} cublas_state;

static triage_status cublas_check(const cublas_state *state, int result, const char *call) {
    return result == 0 ? TRIAGE_OK
                       : tri_fail(TRIAGE_E_DEVICE, "%s: %s", call, state->api.status_string(result));
}

static void cublas_close(void *opaque) {
    cublas_state *state = opaque;
    if (!state)
        return;
    if (state->handle)
        state->api.destroy(state->handle);
    triage_device_release(state->arena->context, state->dense);
    free(state);
}

static triage_status cublas_open(void **out, char detail[256], const tri_arena *arena, void *stream) {
    static const char *const libraries[] = {"libcublas.so.13", "libcublas.so.12", "libcublas.so", NULL};
    triage_status status = TRIAGE_OK;
    cublas_state *state = NULL;
    int version = 0;
    void *library = NULL;
    TRI_TRY(tri_library_open(&library, libraries, NULL));
    TRI_TRY(tri_calloc(&state, 1, sizeof *state));
    state->arena = arena;
    TRI_TRY(tri_peer_symbols(&state->api, library, cublas_names, sizeof cublas_names / sizeof *cublas_names));
    TRI_TRY(tri_peer_cuda_type(&state->in_type, tri_bsr(&arena->problem)->in_type));
    TRI_TRY(tri_peer_cuda_type(&state->out_type, tri_bsr(&arena->problem)->out_type));
    TRI_TRY(cublas_check(state, state->api.create(&state->handle), "cublasCreate"));
    TRI_TRY(cublas_check(state, state->api.set_stream(state->handle, stream), "cublasSetStream"));
    TRI_TRY(cublas_check(state, state->api.get_version(state->handle, &version), "cublasGetVersion"));
    TRI_TRY(tri_arena_densify(&state->dense, arena));
    snprintf(detail, 256, "cublasGemmEx %d, dense A", version);
    *out = state;
    state = NULL;
done:
    cublas_close(state);
    return status;
}

/* cuBLAS is column-major: a row-major matrix is its transpose there. A row-major C is computed as
 * C^T = B^T A^T, so the operands change places. */
static triage_status cublas_run(void *opaque) {
    const cublas_state *s = opaque;
    const tri_bsr_problem *p = tri_bsr(&s->arena->problem);
    const float one = 1, zero = 0;
    enum { kNo = 0, kTransposed = 1, kCompute32F = 68, kDefault = -1 };
    bool b_row = p->b_layout == TRIAGE_ROW_MAJOR;
    const void *b = s->arena->b_dense.data;
    void *c = s->arena->c_dense.data;
    int m = (int)p->m, n = (int)p->n, k = (int)p->k, ldb = (int)p->ldb, ldc = (int)p->ldc;
    int result =
        p->c_layout == TRIAGE_ROW_MAJOR
            ? s->api.gemm_ex(s->handle, b_row ? kNo : kTransposed, kNo, n, m, k, &one, b, s->in_type, ldb,
                             s->dense, s->in_type, k, &zero, c, s->out_type, ldc, kCompute32F, kDefault)
            : s->api.gemm_ex(s->handle, kTransposed, b_row ? kTransposed : kNo, m, n, k, &one, s->dense,
                             s->in_type, k, b, s->in_type, ldb, &zero, c, s->out_type, ldc, kCompute32F,
                             kDefault);
    return cublas_check(s, result, "cublasGemmEx");
}

const tri_contestant_type tri_contestant_cublas = {.name = "cublas",
                                                   .family = "cublas",
                                                   .on_cuda = true,
                                                   .dense = true,
                                                   .open = cublas_open,
                                                   .run = cublas_run,
                                                   .close = cublas_close};

/* ---- OpenBLAS: the dense product on the CPU ---- */

typedef struct openblas_api { /* in the order of openblas_names */
    void (*sgemm)(int order, int op_a, int op_b, int m, int n, int k, float alpha, const float *a, int lda,
                  const float *b, int ldb, float beta, float *c, int ldc);
    void (*set_threads)(int threads);
    int (*get_threads)(void);
    char *(*config)(void);
} openblas_api;

static const char *const openblas_names[] = {"cblas_sgemm", "openblas_set_num_threads",
                                             "openblas_get_num_threads", "openblas_get_config"};

typedef struct openblas_state {
    openblas_api api;
    const tri_arena *arena;
    void *dense;
} openblas_state;

static void openblas_close(void *opaque) {
    openblas_state *state = opaque;
    if (state)
        triage_device_release(state->arena->context, state->dense);
    free(state);
}

/* As many as the host kernels take: OpenMP's, whose runtime this process has already. */
static int host_threads(const tri_arena *arena) {
    int (*max_threads)(void) = NULL;
    void *symbol = dlsym(RTLD_DEFAULT, "omp_get_max_threads");
    memcpy(&max_threads, &symbol, sizeof symbol); /* function pointers are not void * */
    return max_threads ? max_threads() : tri_device_describe(arena->context->device)->sm_count;
}

static triage_status openblas_open(void **out, char detail[256], const tri_arena *arena, void *stream) {
    static const char *const libraries[] = {"libopenblas.so.0", "libopenblas.so", NULL};
    (void)stream;
    triage_status status = TRIAGE_OK;
    openblas_state *state = NULL;
    if (tri_bsr(&arena->problem)->in_type != TRIAGE_F32 || tri_bsr(&arena->problem)->out_type != TRIAGE_F32)
        return tri_fail(TRIAGE_E_UNSUPPORTED, "only f32 (--dtype f32)");
    void *library = NULL;
    TRI_TRY(tri_library_open(&library, libraries, "Debian's package libopenblas0"));
    TRI_TRY(tri_calloc(&state, 1, sizeof *state));
    state->arena = arena;
    TRI_TRY(tri_peer_symbols(&state->api, library, openblas_names,
                             sizeof openblas_names / sizeof *openblas_names));
    TRI_TRY(tri_arena_densify(&state->dense, arena));
    state->api.set_threads(host_threads(arena));
    snprintf(detail, 256, "cblas_sgemm, dense A, %d threads, %.120s", state->api.get_threads(),
             state->api.config());
    *out = state;
    state = NULL;
done:
    openblas_close(state);
    return status;
}

static triage_status openblas_run(void *opaque) {
    const openblas_state *s = opaque;
    const tri_bsr_problem *p = tri_bsr(&s->arena->problem);
    enum { kRowMajor = 101, kColMajor = 102, kNo = 111, kTransposed = 112 };
    bool row = p->c_layout == TRIAGE_ROW_MAJOR; /* the order of the call; others are transposed in it */
    s->api.sgemm(row ? kRowMajor : kColMajor, row ? kNo : kTransposed,
                 p->b_layout == p->c_layout ? kNo : kTransposed, (int)p->m, (int)p->n, (int)p->k, 1, s->dense,
                 (int)p->k, s->arena->b_dense.data, (int)p->ldb, 0, s->arena->c_dense.data, (int)p->ldc);
    return TRIAGE_OK;
}

const tri_contestant_type tri_contestant_openblas = {.name = "openblas",
                                                     .family = "openblas",
                                                     .on_host = true,
                                                     .dense = true,
                                                     .open = openblas_open,
                                                     .run = openblas_run,
                                                     .close = openblas_close};
