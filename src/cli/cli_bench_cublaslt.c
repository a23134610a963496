/* cuBLASLt: the dense product of e4m3 matrices, A densified, with and without fast accumulation. (Fast: the partial
 * sums stay in the tensor cores, which keep fewer bits than float32; the gate says whether that is still right.)
 * Found with dlopen; prototypes and numbers are those of cublasLt.h. */
#include <stdlib.h>

#include "cli/cli_bench.h"

#define WORKSPACE_BYTES (32 << 20) /* what cuBLAS itself takes on Hopper */

/* A cublasLtMatmulHeuristicResult_t. */
typedef struct algorithm {
    uint64_t data[8];
    size_t workspace_bytes;
    int state;
    float waves;
    int reserved[4];
} algorithm;

typedef struct lt_api { /* in the order of lt_names */
    int (*create)(void **handle);
    int (*destroy)(void *handle);
    size_t (*version)(void);
    const char *(*status_string)(int status);
    int (*matmul_create)(void **desc, int compute, int scale_type);
    int (*matmul_destroy)(void *desc);
    int (*matmul_set)(void *desc, int attribute, const void *value, size_t bytes);
    int (*layout_create)(void **layout, int type, uint64_t rows, uint64_t cols, int64_t ld);
    int (*layout_destroy)(void *layout);
    int (*preference_create)(void **preference);
    int (*preference_destroy)(void *preference);
    int (*preference_set)(void *preference, int attribute, const void *value, size_t bytes);
    int (*heuristic)(void *handle, void *desc, void *a, void *b, void *c, void *d, void *preference,
                     int wanted, algorithm *found, int *count);
    int (*matmul)(void *handle, void *desc, const void *alpha, const void *a, void *a_layout, const void *b,
                  void *b_layout, const void *beta, const void *c, void *c_layout, void *d, void *d_layout,
                  const void *algorithm, void *workspace, size_t workspace_bytes, void *stream);
} lt_api;

static const char *const lt_names[] = {"cublasLtCreate",
                                       "cublasLtDestroy",
                                       "cublasLtGetVersion",
                                       "cublasLtGetStatusString",
                                       "cublasLtMatmulDescCreate",
                                       "cublasLtMatmulDescDestroy",
                                       "cublasLtMatmulDescSetAttribute",
                                       "cublasLtMatrixLayoutCreate",
                                       "cublasLtMatrixLayoutDestroy",
                                       "cublasLtMatmulPreferenceCreate",
                                       "cublasLtMatmulPreferenceDestroy",
                                       "cublasLtMatmulPreferenceSetAttribute",
                                       "cublasLtMatmulAlgoGetHeuristic",
                                       "cublasLtMatmul"};

typedef struct lt_state {
    lt_api api;
    const tri_arena *arena;
    void *stream, *handle, *desc, *preference, *workspace, *dense;
    void *left, *right, *c; /* layouts; left is transposed */
    algorithm best;
} lt_state;

static triage_status check(const lt_state *state, int result, const char *call) {
    return result == 0 ? TRIAGE_OK
                       : tri_fail(TRIAGE_E_DEVICE, "%s: %s", call, state->api.status_string(result));
}

static void lt_close(void *opaque) {
    lt_state *s = opaque;
    if (!s)
        return;
    void *const layouts[] = {s->left, s->right, s->c};
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++)
        if (layouts[i])
            s->api.layout_destroy(layouts[i]);
    if (s->preference)
        s->api.preference_destroy(s->preference);
    if (s->desc)
        s->api.matmul_destroy(s->desc);
    if (s->handle)
        s->api.destroy(s->handle);
    triage_device_release(s->arena->context, s->workspace);
    triage_device_release(s->arena->context, s->dense);
    free(s);
}

static triage_status check_covered(const tri_problem *p) {
    if (p->in_type != TRIAGE_E4M3)
        return tri_fail(TRIAGE_E_UNSUPPORTED, "only e4m3 (--dtype e4m3)");
    if (p->scale_per_block)
        return tri_fail(TRIAGE_E_UNSUPPORTED, "no scale for each block of A (--scale tensor has one)");
    if (p->b_layout != TRIAGE_COL_MAJOR)
        return tri_fail(TRIAGE_E_UNSUPPORTED, "e4m3 only with a column-major B (--layout col)");
    return TRIAGE_OK;
}

/* cuBLAS is column-major, and e4m3 wants its left factor transposed, its right one not. The dense A, m x k
 * row-major, is k x m there, and B k x n: A^T B is C, and B^T A is C^T, which a row-major C is in memory. */
static triage_status describe(lt_state *s, bool fast) {
    enum { kCompute32F = 68, kTransposeA = 3, kScaleA = 17, kScaleB = 18, kFastAccumulation = 25 };
    enum { kTypeF32 = 0, kTypeE4M3 = 28 };
    triage_status status = TRIAGE_OK;
    const tri_problem *p = &s->arena->problem;
    bool c_col = p->c_layout == TRIAGE_COL_MAJOR;
    const float *scale_a = s->arena->epilogue.scale_a, *scale_b = s->arena->epilogue.scale_b;
    const void *left_scale = c_col ? scale_a : scale_b, *right_scale = c_col ? scale_b : scale_a;
    uint64_t k = (uint64_t)p->k, m = (uint64_t)p->m, n = (uint64_t)p->n;
    int32_t transposed = 1;
    int8_t fast_flag = fast;
    int c_type = 0;
    TRI_TRY(tri_peer_cuda_type(&c_type, p->out_type));
    TRI_TRY(check(s, s->api.matmul_create(&s->desc, kCompute32F, kTypeF32), "cublasLtMatmulDescCreate"));
    const struct {
        int name;
        const void *value;
        size_t bytes;
    } attributes[] = {{kTransposeA, &transposed, sizeof transposed},
                      {kScaleA, &left_scale, sizeof left_scale},
                      {kScaleB, &right_scale, sizeof right_scale},
                      {kFastAccumulation, &fast_flag, sizeof fast_flag}};
    for (size_t i = 0; i < sizeof attributes / sizeof *attributes; i++)
        TRI_TRY(
            check(s, s->api.matmul_set(s->desc, attributes[i].name, attributes[i].value, attributes[i].bytes),
                  "cublasLtMatmulDescSetAttribute"));
    void **a = c_col ? &s->left : &s->right, **b = c_col ? &s->right : &s->left;
    TRI_TRY(check(s, s->api.layout_create(a, kTypeE4M3, k, m, p->k), "cublasLtMatrixLayoutCreate"));
    TRI_TRY(check(s, s->api.layout_create(b, kTypeE4M3, k, n, p->ldb), "cublasLtMatrixLayoutCreate"));
    TRI_TRY(check(s, s->api.layout_create(&s->c, c_type, c_col ? m : n, c_col ? n : m, p->ldc),
                  "cublasLtMatrixLayoutCreate"));
done:
    return status;
}

static triage_status choose(lt_state *s) {
    enum { kMaxWorkspaceBytes = 1 };
    triage_status status = TRIAGE_OK;
    size_t bytes = WORKSPACE_BYTES;
    int count = 0;
    TRI_TRY(check(s, s->api.preference_create(&s->preference), "cublasLtMatmulPreferenceCreate"));
    TRI_TRY(check(s, s->api.preference_set(s->preference, kMaxWorkspaceBytes, &bytes, sizeof bytes),
                  "cublasLtMatmulPreferenceSetAttribute"));
    TRI_TRY(check(s,
                  s->api.heuristic(s->handle, s->desc, s->left, s->right, s->c, s->c, s->preference, 1,
                                   &s->best, &count),
                  "cublasLtMatmulAlgoGetHeuristic"));
    if (count < 1)
        status = tri_fail(TRIAGE_E_UNSUPPORTED,
                          "cublasLtMatmulAlgoGetHeuristic knows no algorithm for this problem");
done:
    return status;
}

static triage_status open_as(void **out, char detail[256], const tri_arena *arena, void *stream, bool fast) {
    static const char *const libraries[] = {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so", NULL};
    triage_status status = check_covered(&arena->problem);
    lt_state *s = NULL;
    if (status != TRIAGE_OK)
        return status;
    void *library = tri_peer_library(libraries);
    if (!library)
        return tri_fail(TRIAGE_E_NOT_FOUND, "libcublasLt.so is not found");
    TRI_TRY(tri_calloc(&s, 1, sizeof *s));
    s->arena = arena;
    s->stream = stream;
    TRI_TRY(tri_peer_symbols(&s->api, library, lt_names, sizeof lt_names / sizeof *lt_names));
    TRI_TRY(check(s, s->api.create(&s->handle), "cublasLtCreate"));
    TRI_TRY(describe(s, fast));
    TRI_TRY(choose(s));
    TRI_TRY(triage_device_alloc(&s->workspace, arena->context, WORKSPACE_BYTES));
    TRI_TRY(tri_arena_densify(&s->dense, arena));
    snprintf(detail, 256, "cublasLtMatmul %zu, dense A, %s accumulation", s->api.version(),
             fast ? "fast" : "exact");
    *out = s;
    s = NULL;
done:
    lt_close(s);
    return status;
}

static triage_status open_exact(void **out, char detail[256], const tri_arena *arena, void *stream) {
    return open_as(out, detail, arena, stream, false);
}

static triage_status open_fast(void **out, char detail[256], const tri_arena *arena, void *stream) {
    return open_as(out, detail, arena, stream, true);
}

static triage_status lt_run(void *opaque) {
    const lt_state *s = opaque;
    const float one = 1, zero = 0;
    const void *b = s->arena->b_dense.data;
    void *c = s->arena->c_dense.data;
    bool c_col = s->arena->problem.c_layout == TRIAGE_COL_MAJOR;
    return check(s,
                 s->api.matmul(s->handle, s->desc, &one, c_col ? s->dense : b, s->left, c_col ? b : s->dense,
                               s->right, &zero, c, s->c, c, s->c, s->best.data, s->workspace, WORKSPACE_BYTES,
                               s->stream),
                 "cublasLtMatmul");
}

const tri_contestant_type tri_contestant_cublaslt = {.name = "cublaslt",
                                                     .family = "cublas",
                                                     .on_cuda = true,
                                                     .only_e4m3 = true,
                                                     .dense = true,
                                                     .open = open_exact,
                                                     .run = lt_run,
                                                     .close = lt_close};
const tri_contestant_type tri_contestant_cublaslt_fast = {.name = "cublaslt fast",
                                                          .family = "cublas",
                                                          .on_cuda = true,
                                                          .only_e4m3 = true,
                                                          .dense = true,
                                                          .open = open_fast,
                                                          .run = lt_run,
                                                          .close = lt_close};
