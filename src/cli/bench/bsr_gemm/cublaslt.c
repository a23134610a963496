/* cuBLASLt: the dense product, A densified, by the fastest of the algorithms that its heuristics propose (cublasGemmEx
 * takes the first). Of e4m3 with and without fast accumulation. (Fast: the partial sums stay in the tensor cores,
 * which keep fewer bits than float32; the gate says whether that is still right.)
 * Found at run time (device/library.h); prototypes and numbers are those of cublasLt.h. */
#include <stdlib.h>

#include "cli/bench/bench.h"
#include "device/library.h"
#include "op/bsr_gemm/bsr_gemm.h"

#define WORKSPACE_BYTES (32 << 20) /* what cuBLAS itself takes on Hopper */
#define ALGORITHMS 8
#define TRIAL_LAUNCHES 3
#define TRIAL_ROUNDS 3

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
    void *handle, *desc, *preference;
    tri_address workspace, dense;
    void *left, *right, *c; /* layouts */
    algorithm found[ALGORITHMS], best;
    int count;
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
    tri_device_release(s->arena->at.device, s->workspace);
    tri_device_release(s->arena->at.device, s->dense);
    free(s);
}

static triage_status check_covered(const tri_bsr_problem *p) {
    if (p->in_type != TRIAGE_E4M3)
        return TRIAGE_OK;
    if (p->scale_per_block)
        return tri_fail(TRIAGE_E_UNSUPPORTED, "no scale for each block of A (--scale tensor has one)");
    if (p->b_layout != TRIAGE_COL_MAJOR)
        return tri_fail(TRIAGE_E_UNSUPPORTED, "e4m3 only with a column-major B (--layout col)");
    return TRIAGE_OK;
}

static triage_status set(const lt_state *s, int attribute, const void *value, size_t bytes) {
    return check(s, s->api.matmul_set(s->desc, attribute, value, bytes), "cublasLtMatmulDescSetAttribute");
}

static triage_status set_scales(const lt_state *s, bool c_col, bool fast) {
    enum { kScaleLeft = 17, kScaleRight = 18, kFastAccumulation = 25 };
    triage_status status = TRIAGE_OK;
    const float *scale_a = tri_arena_input(s->arena, TRI_BSR_SCALE_A),
                *scale_b = tri_arena_input(s->arena, TRI_BSR_SCALE_B);
    const void *left = c_col ? scale_a : scale_b, *right = c_col ? scale_b : scale_a;
    int8_t fast_flag = fast;
    TRI_TRY(set(s, kScaleLeft, &left, sizeof left));
    TRI_TRY(set(s, kScaleRight, &right, sizeof right));
    TRI_TRY(set(s, kFastAccumulation, &fast_flag, sizeof fast_flag));
done:
    return status;
}

static triage_status layout(void **out, const lt_state *s, int type, int64_t rows, int64_t cols, int64_t ld) {
    return check(s, s->api.layout_create(out, type, (uint64_t)rows, (uint64_t)cols, ld),
                 "cublasLtMatrixLayoutCreate");
}

static triage_status type_of(int *out, triage_dtype dtype) {
    enum { kTypeE4M3 = 28 };
    *out = kTypeE4M3;
    return dtype == TRIAGE_E4M3 ? TRIAGE_OK : tri_peer_cuda_type(out, dtype);
}

/* cuBLASLt is column-major. The dense A, m x k row-major, is k x m there; a row-major B is n x k. A column-major C is
 * the product A B, a row-major one is in memory C^T = B^T A^T: the factors change places. (e4m3 wants its left factor
 * transposed and its right one not: a column-major B is that, either way.) */
static triage_status describe(lt_state *s, bool fast) {
    enum { kCompute32F = 68, kTypeF32 = 0, kTransposeLeft = 3, kTransposeRight = 4 };
    triage_status status = TRIAGE_OK;
    const tri_bsr_problem *p = tri_bsr(&s->arena->problem);
    bool c_col = p->c_layout == TRIAGE_COL_MAJOR, b_col = p->b_layout == TRIAGE_COL_MAJOR;
    int32_t turn_left = c_col || b_col, turn_right = c_col && !b_col;
    void **a = c_col ? &s->left : &s->right, **b = c_col ? &s->right : &s->left;
    int in_type = 0, c_type = 0;
    TRI_TRY(type_of(&in_type, p->in_type));
    TRI_TRY(type_of(&c_type, p->out_type));
    TRI_TRY(check(s, s->api.matmul_create(&s->desc, kCompute32F, kTypeF32), "cublasLtMatmulDescCreate"));
    TRI_TRY(set(s, kTransposeLeft, &turn_left, sizeof turn_left));
    TRI_TRY(set(s, kTransposeRight, &turn_right, sizeof turn_right));
    if (p->in_type == TRIAGE_E4M3)
        TRI_TRY(set_scales(s, c_col, fast));
    TRI_TRY(layout(a, s, in_type, p->k, p->m, p->k));
    TRI_TRY(layout(b, s, in_type, b_col ? p->k : p->n, b_col ? p->n : p->k, p->ldb));
    TRI_TRY(layout(&s->c, s, c_type, c_col ? p->m : p->n, c_col ? p->n : p->m, p->ldc));
done:
    return status;
}

static triage_status ask(lt_state *s) {
    enum { kMaxWorkspaceBytes = 1 };
    triage_status status = TRIAGE_OK;
    size_t bytes = WORKSPACE_BYTES;
    TRI_TRY(check(s, s->api.preference_create(&s->preference), "cublasLtMatmulPreferenceCreate"));
    TRI_TRY(check(s, s->api.preference_set(s->preference, kMaxWorkspaceBytes, &bytes, sizeof bytes),
                  "cublasLtMatmulPreferenceSetAttribute"));
    TRI_TRY(check(s,
                  s->api.heuristic(s->handle, s->desc, s->left, s->right, s->c, s->c, s->preference,
                                   ALGORITHMS, s->found, &s->count),
                  "cublasLtMatmulAlgoGetHeuristic"));
    if (s->count < 1)
        status = tri_fail(TRIAGE_E_UNSUPPORTED,
                          "cublasLtMatmulAlgoGetHeuristic knows no algorithm for this problem");
done:
    return status;
}

static void *pointer(tri_address address) {
    return (void *)(uintptr_t)address;
}

static triage_status multiply_on(const lt_state *s, void *stream) {
    const float one = 1, zero = 0;
    const void *b = tri_arena_input(s->arena, TRI_BSR_B), *dense = pointer(s->dense);
    void *c = pointer(s->arena->at.results[0]);
    bool c_col = tri_bsr(&s->arena->problem)->c_layout == TRIAGE_COL_MAJOR;
    return check(s,
                 s->api.matmul(s->handle, s->desc, &one, c_col ? dense : b, s->left, c_col ? b : dense,
                               s->right, &zero, c, s->c, c, s->c, s->best.data, pointer(s->workspace),
                               WORKSPACE_BYTES, stream),
                 "cublasLtMatmul");
}

static triage_status lt_run(void *opaque, void *stream) {
    return multiply_on(opaque, stream);
}

/* ns of s->best, the best of some rounds; 0 when it does not run. The first launch is not timed. */
static int64_t trial(lt_state *s) {
    int64_t least = INT64_MAX;
    for (int round = -1; round < TRIAL_ROUNDS; round++) {
        int64_t start = tri_now_ns();
        for (int i = 0; i < (round < 0 ? 1 : TRIAL_LAUNCHES); i++)
            if (multiply_on(s, NULL) != TRIAGE_OK)
                return 0;
        if (tri_device_synchronize(s->arena->at.device) != TRIAGE_OK)
            return 0;
        int64_t taken = tri_now_ns() - start;
        if (round >= 0 && taken < least)
            least = taken;
    }
    return least > 0 ? least : 1;
}

/* The fastest that runs; the contest measures it properly. */
static triage_status choose(lt_state *s) {
    int64_t best = 0;
    algorithm fastest = {{0}, 0, 0, 0, {0}};
    for (int i = 0; i < s->count; i++) {
        s->best = s->found[i];
        int64_t ns = s->found[i].state == 0 ? trial(s) : 0;
        if (ns > 0 && (best == 0 || ns < best)) {
            best = ns;
            fastest = s->found[i];
        }
    }
    s->best = fastest;
    return best > 0 ? TRIAGE_OK
                    : tri_fail(TRIAGE_E_DEVICE, "cublasLtMatmul: none of %d algorithms runs", s->count);
}

static triage_status open_as(void **out, char detail[256], const tri_arena *arena, bool fast) {
    static const char *const libraries[] = {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so", NULL};
    triage_status status = check_covered(tri_bsr(&arena->problem));
    lt_state *s = NULL;
    void *library = NULL;
    if (status != TRIAGE_OK)
        return status;
    TRI_TRY(tri_library_open(&library, libraries, NULL));
    TRI_TRY(tri_calloc(&s, 1, sizeof *s));
    s->arena = arena;
    TRI_TRY(tri_peer_symbols(&s->api, library, lt_names, sizeof lt_names / sizeof *lt_names));
    TRI_TRY(check(s, s->api.create(&s->handle), "cublasLtCreate"));
    TRI_TRY(describe(s, fast));
    TRI_TRY(ask(s));
    TRI_TRY(tri_device_alloc(arena->at.device, &s->workspace, WORKSPACE_BYTES));
    TRI_TRY(tri_arena_densify(&s->dense, arena));
    TRI_TRY(choose(s));
    snprintf(detail, 256, "cublasLtMatmul %zu, dense A, fastest of %d algorithms%s", s->api.version(),
             s->count,
             tri_bsr(&arena->problem)->in_type != TRIAGE_E4M3 ? ""
             : fast                                           ? ", fast accumulation"
                                                              : ", exact accumulation");
    *out = s;
    s = NULL;
done:
    lt_close(s);
    return status;
}

static triage_status open_exact(void **out, char detail[256], const tri_arena *arena) {
    return open_as(out, detail, arena, false);
}

static triage_status open_fast(void **out, char detail[256], const tri_arena *arena) {
    return open_as(out, detail, arena, true);
}

const tri_contestant_type tri_contestant_cublaslt = {.name = "cublaslt",
                                                     .family = "cublas",
                                                     .op = &tri_op_bsr_gemm,
                                                     .on_cuda = true,
                                                     .dense = true,
                                                     .open = open_exact,
                                                     .run = lt_run,
                                                     .close = lt_close};
const tri_contestant_type tri_contestant_cublaslt_fast = {.name = "cublaslt fast",
                                                          .family = "cublas",
                                                          .op = &tri_op_bsr_gemm,
                                                          .on_cuda = true,
                                                          .only_e4m3 = true,
                                                          .dense = true,
                                                          .open = open_fast,
                                                          .run = lt_run,
                                                          .close = lt_close};
