/* cuSPARSE: the block-sparse product through cusparseSpMM, in its BSR and its Blocked-ELL format. Prototypes and
 * numbers are those of cusparse.h (12.0 and later; BSR from 12.1 on). */
#include <stdlib.h>
#include <string.h>

#include "cli/bench/bench.h"
#include "device/library.h"
#include "op/bsr_gemm/bsr_gemm.h"

enum {
    kOperationNo = 0,
    kIndex32 = 2,
    kBaseZero = 0,
    kOrderCol = 1,
    kOrderRow = 2,
    kAlgorithmEll = 13,
    kAlgorithmBsr = 14
};

typedef struct cusparse_api { /* in the order of cusparse_names */
    int (*create)(void **handle);
    int (*destroy)(void *handle);
    int (*set_stream)(void *handle, void *stream);
    int (*get_version)(void *handle, int *version);
    const char *(*error_string)(int status);
    int (*create_dense)(void **out, int64_t rows, int64_t cols, int64_t ld, void *values, int type,
                        int order);
    int (*destroy_dense)(void *dense);
    int (*create_ell)(void **out, int64_t rows, int64_t cols, int64_t block, int64_t ell_cols, void *indices,
                      void *values, int index_type, int base, int type);
    int (*destroy_sparse)(void *sparse);
    int (*buffer_size)(void *handle, int op_a, int op_b, const void *alpha, void *a, void *b,
                       const void *beta, void *c, int compute_type, int algorithm, size_t *size);
    int (*preprocess)(void *handle, int op_a, int op_b, const void *alpha, void *a, void *b, const void *beta,
                      void *c, int compute_type, int algorithm, void *buffer);
    int (*multiply)(void *handle, int op_a, int op_b, const void *alpha, void *a, void *b, const void *beta,
                    void *c, int compute_type, int algorithm, void *buffer);
} cusparse_api;

static const char *const cusparse_names[] = {
    "cusparseCreate",          "cusparseDestroy",          "cusparseSetStream",
    "cusparseGetVersion",      "cusparseGetErrorString",   "cusparseCreateDnMat",
    "cusparseDestroyDnMat",    "cusparseCreateBlockedEll", "cusparseDestroySpMat",
    "cusparseSpMM_bufferSize", "cusparseSpMM_preprocess",  "cusparseSpMM",
};
#define CUSPARSE_SYMBOLS (sizeof cusparse_names / sizeof *cusparse_names)
_Static_assert(sizeof(cusparse_api) == CUSPARSE_SYMBOLS * sizeof(void *), "a name for each function");

typedef int (*create_bsr_fn)(void **out, int64_t block_rows, int64_t block_cols, int64_t nnzb, int64_t rows,
                             int64_t cols, void *row_ptr, void *col_idx, void *values, int row_ptr_type,
                             int col_idx_type, int base, int type, int order);

typedef struct cusparse_state {
    cusparse_api api;
    const tri_arena *arena;
    void *library, *handle, *a, *b, *c;
    void *stream;                                /* that the handle has now */
    tri_address ell_indices, ell_values, buffer; /* on the device */
    int64_t ell_cols;
    int in_type, algorithm;
    float alpha, beta;
} cusparse_state;

static triage_status check(const cusparse_state *s, int result, const char *call) {
    return result == 0 ? TRIAGE_OK : tri_fail(TRIAGE_E_DEVICE, "%s: %s", call, s->api.error_string(result));
}

static void close_state(void *opaque) {
    cusparse_state *s = opaque;
    if (!s)
        return;
    if (s->a)
        s->api.destroy_sparse(s->a);
    if (s->b)
        s->api.destroy_dense(s->b);
    if (s->c)
        s->api.destroy_dense(s->c);
    if (s->handle)
        s->api.destroy(s->handle);
    if (s->arena) {
        tri_device_release(s->arena->at.device, s->ell_indices);
        tri_device_release(s->arena->at.device, s->ell_values);
        tri_device_release(s->arena->at.device, s->buffer);
    }
    free(s);
}

static void *pointer(tri_address address) {
    return (void *)(uintptr_t)address;
}

static triage_status open_dense(void **out, const cusparse_state *s, const triage_dense *dense) {
    triage_status status = TRIAGE_OK;
    int type = 0;
    TRI_TRY(tri_peer_cuda_type(&type, dense->dtype));
    TRI_TRY(check(s,
                  s->api.create_dense(out, dense->rows, dense->cols, dense->ld, dense->data, type,
                                      dense->layout == TRIAGE_ROW_MAJOR ? kOrderRow : kOrderCol),
                  "cusparseCreateDnMat"));
done:
    return status;
}

/* Everything but A. state is zeroed; on failure the caller closes it. */
static triage_status open_common(cusparse_state *s, int *version, const tri_arena *arena) {
    static const char *const libraries[] = {"libcusparse.so.12", "libcusparse.so.13", "libcusparse.so", NULL};
    const tri_bsr_problem *p = tri_bsr(&arena->problem);
    const triage_dense b = {tri_arena_input(arena, TRI_BSR_B), p->k, p->n, p->ldb, p->in_type, p->b_layout};
    const triage_dense c = {pointer(arena->at.results[0]), p->m, p->n, p->ldc, p->out_type, p->c_layout};
    triage_status status = TRIAGE_OK;
    s->arena = arena;
    s->alpha = 1;
    TRI_TRY(tri_library_open(&s->library, libraries, NULL));
    TRI_TRY(tri_peer_symbols(&s->api, s->library, cusparse_names, CUSPARSE_SYMBOLS));
    TRI_TRY(tri_peer_cuda_type(&s->in_type, tri_bsr(&arena->problem)->in_type));
    TRI_TRY(check(s, s->api.create(&s->handle), "cusparseCreate"));
    TRI_TRY(check(s, s->api.get_version(s->handle, version), "cusparseGetVersion"));
    TRI_TRY(open_dense(&s->b, s, &b));
    TRI_TRY(open_dense(&s->c, s, &c));
done:
    return status;
}

/* What may be done once for a pattern is done here, outside the time: its buffer and its preprocessing. */
static triage_status prepare(cusparse_state *s) {
    triage_status status = TRIAGE_OK;
    size_t size = 0;
    TRI_TRY(check(s,
                  s->api.buffer_size(s->handle, kOperationNo, kOperationNo, &s->alpha, s->a, s->b, &s->beta,
                                     s->c, 0 /* CUDA_R_32F */, s->algorithm, &size),
                  "cusparseSpMM_bufferSize"));
    TRI_TRY(tri_device_alloc(s->arena->at.device, &s->buffer, size));
    TRI_TRY(check(s,
                  s->api.preprocess(s->handle, kOperationNo, kOperationNo, &s->alpha, s->a, s->b, &s->beta,
                                    s->c, 0, s->algorithm, pointer(s->buffer)),
                  "cusparseSpMM_preprocess"));
done:
    return status;
}

static triage_status run(void *opaque, void *stream) {
    cusparse_state *s = opaque;
    triage_status status = TRIAGE_OK;
    if (s->stream != stream)
        status = check(s, s->api.set_stream(s->handle, stream), "cusparseSetStream");
    if (status != TRIAGE_OK)
        return status;
    s->stream = stream;
    return check(s,
                 s->api.multiply(s->handle, kOperationNo, kOperationNo, &s->alpha, s->a, s->b, &s->beta, s->c,
                                 0, s->algorithm, pointer(s->buffer)),
                 "cusparseSpMM");
}

/* ---- BSR: the arrays of the bench ---- */

static triage_status create_bsr(cusparse_state *s) {
    const tri_bsr_problem *p = tri_bsr(&s->arena->problem);
    static const char *const name[] = {"cusparseCreateBsr"};
    create_bsr_fn create = NULL;
    triage_status status = tri_peer_symbols(&create, s->library, name, 1);
    if (status != TRIAGE_OK)
        return status;
    return check(s,
                 create(&s->a, p->m / p->block_m, p->k / p->block_k, p->nnzb, p->block_m, p->block_k,
                        tri_arena_input(s->arena, TRI_BSR_ROW_PTR),
                        tri_arena_input(s->arena, TRI_BSR_COL_IDX), tri_arena_input(s->arena, TRI_BSR_VALUES),
                        kIndex32, kIndex32, kBaseZero, s->in_type, kOrderRow),
                 "cusparseCreateBsr");
}

static triage_status open_bsr(void **out, char detail[256], const tri_arena *arena) {
    triage_status status = TRIAGE_OK;
    cusparse_state *s = NULL;
    int version = 0;
    TRI_TRY(tri_calloc(&s, 1, sizeof *s));
    s->algorithm = kAlgorithmBsr;
    TRI_TRY(open_common(s, &version, arena));
    TRI_TRY(create_bsr(s));
    TRI_TRY(prepare(s));
    snprintf(detail, 256, "cusparseSpMM %d, BSR", version);
    *out = s;
    s = NULL;
done:
    close_state(s);
    return status;
}

/* ---- Blocked-ELL: every block row as long as the longest, the rest marked empty (-1) ---- */

static int64_t longest_row(const tri_pattern *pattern) {
    int64_t longest = 1; /* a format without columns is none */
    for (int64_t i = 0; i < pattern->block_rows; i++) {
        int64_t length = pattern->row_ptr[i + 1] - pattern->row_ptr[i];
        longest = length > longest ? length : longest;
    }
    return longest;
}

static triage_status place_indices(cusparse_state *s, int64_t width) {
    triage_status status = TRIAGE_OK;
    const tri_pattern *pattern = s->arena->pattern;
    int32_t *indices = NULL;
    size_t count = (size_t)(pattern->block_rows * width);
    TRI_TRY(tri_calloc(&indices, count, sizeof *indices));
    memset(indices, 0xff, count * sizeof *indices);
    for (int64_t row = 0; row < pattern->block_rows; row++)
        for (int32_t i = pattern->row_ptr[row]; i < pattern->row_ptr[row + 1]; i++)
            indices[row * width + i - pattern->row_ptr[row]] = pattern->col_idx[i];
    TRI_TRY(tri_arena_place(&s->ell_indices, s->arena, indices, count * sizeof *indices));
done:
    free(indices);
    return status;
}

/* Values are one row-major matrix of m x (width * block). */
static triage_status place_values(cusparse_state *s, int64_t width) {
    triage_status status = TRIAGE_OK;
    const tri_bsr_problem *p = tri_bsr(&s->arena->problem);
    const tri_pattern *pattern = s->arena->pattern;
    size_t line = (size_t)p->block_k * tri_dtype_size(p->in_type);
    size_t pitch = (size_t)width * line;
    char *values = NULL;
    TRI_TRY(tri_calloc(&values, (size_t)p->m, pitch));
    for (int64_t row = 0; row < p->m; row++) {
        int64_t block_row = row / p->block_m;
        int32_t first = pattern->row_ptr[block_row];
        for (int32_t i = first; i < pattern->row_ptr[block_row + 1]; i++)
            memcpy(values + (size_t)row * pitch + (size_t)(i - first) * line,
                   (const char *)s->arena->at.inputs->at[TRI_BSR_VALUES].data +
                       ((size_t)i * (size_t)p->block_m + (size_t)(row % p->block_m)) * line,
                   line);
    }
    TRI_TRY(tri_arena_place(&s->ell_values, s->arena, values, (size_t)p->m * pitch));
done:
    free(values);
    return status;
}

static triage_status create_ell(cusparse_state *s) {
    triage_status status = TRIAGE_OK;
    const tri_bsr_problem *p = tri_bsr(&s->arena->problem);
    int64_t width = longest_row(s->arena->pattern);
    if (p->block_m != p->block_k)
        return tri_fail(TRIAGE_E_UNSUPPORTED, "Blocked-ELL has square blocks only");
    s->ell_cols = width * p->block_k;
    TRI_TRY(place_indices(s, width));
    TRI_TRY(place_values(s, width));
    TRI_TRY(check(s,
                  s->api.create_ell(&s->a, p->m, p->k, p->block_k, s->ell_cols, pointer(s->ell_indices),
                                    pointer(s->ell_values), kIndex32, kBaseZero, s->in_type),
                  "cusparseCreateBlockedEll"));
done:
    return status;
}

static triage_status open_ell(void **out, char detail[256], const tri_arena *arena) {
    triage_status status = TRIAGE_OK;
    cusparse_state *s = NULL;
    int version = 0;
    TRI_TRY(tri_calloc(&s, 1, sizeof *s));
    s->algorithm = kAlgorithmEll;
    TRI_TRY(open_common(s, &version, arena));
    TRI_TRY(create_ell(s));
    TRI_TRY(prepare(s));
    snprintf(detail, 256, "cusparseSpMM %d, Blocked-ELL of %lld columns", version, (long long)s->ell_cols);
    *out = s;
    s = NULL;
done:
    close_state(s);
    return status;
}

const tri_contestant_type tri_contestant_cusparse_bsr = {.name = "cusparse-bsr",
                                                         .family = "cusparse",
                                                         .op = &tri_op_bsr_gemm,
                                                         .on_cuda = true,
                                                         .open = open_bsr,
                                                         .run = run,
                                                         .close = close_state};
const tri_contestant_type tri_contestant_cusparse_ell = {.name = "cusparse-ell",
                                                         .family = "cusparse",
                                                         .op = &tri_op_bsr_gemm,
                                                         .on_cuda = true,
                                                         .open = open_ell,
                                                         .run = run,
                                                         .close = close_state};
