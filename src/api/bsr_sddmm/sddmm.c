/* The sampled product that applications call: check the arguments, find the plan, launch. */
#include <stdlib.h>
#include <string.h>

#include "api/bsr_gemm/bsr_gemm.h"
#include "op/bsr_sddmm/bsr_sddmm.h"

/* What a caller passes beside the matrix and the stream. Borrowed. */
typedef struct sddmm_call {
    const triage_dense *y, *x;
    void *d;
    triage_dtype d_type;
    float alpha, beta;
} sddmm_call;

/* ---- checks: one line each, the value and its range ---- */

/* rows: what they must be, and whose. */
static triage_status check_dense(const triage_dense *dense, const char *name, int64_t rows, const char *whose,
                                 triage_dtype dtype) {
    if (!dense)
        return tri_fail(TRIAGE_E_INVALID, "%s is NULL", name);
    if (dense->dtype != dtype)
        return tri_fail(TRIAGE_E_INVALID, "%s is of type %s; must be %s, the type of a", name,
                        (unsigned)dense->dtype > TRIAGE_E4M3 ? "none" : tri_dtype_name(dense->dtype),
                        tri_dtype_name(dtype));
    if (dense->layout != TRIAGE_ROW_MAJOR && dense->layout != TRIAGE_COL_MAJOR)
        return tri_fail(TRIAGE_E_INVALID, "%s.layout is %d; must be a triage_layout", name,
                        (int)dense->layout);
    if (dense->rows != rows)
        return tri_fail(TRIAGE_E_INVALID, "%s has %lld rows; must be %lld, the %s of a", name,
                        (long long)dense->rows, (long long)rows, whose);
    if (dense->cols < 1 || dense->cols > INT32_MAX)
        return tri_fail(TRIAGE_E_INVALID, "%s has %lld columns; must be 1 .. 2147483647", name,
                        (long long)dense->cols);
    if (!dense->data || (uintptr_t)dense->data % 16 != 0)
        return tri_fail(TRIAGE_E_INVALID, "%s.data is %p; must be 16-byte aligned, and not NULL", name,
                        dense->data);
    const int64_t least = dense->layout == TRIAGE_ROW_MAJOR ? dense->cols : dense->rows;
    if (dense->ld < least || dense->ld > INT32_MAX)
        return tri_fail(TRIAGE_E_INVALID, "%s.ld is %lld; must be %lld .. 2147483647", name,
                        (long long)dense->ld, (long long)least);
    return TRIAGE_OK;
}

/* Bytes from the first element to the end of the last. */
static uintptr_t extent(const triage_dense *dense) {
    const bool row = dense->layout == TRIAGE_ROW_MAJOR;
    const int64_t inner = row ? dense->cols : dense->rows, outer = row ? dense->rows : dense->cols;
    return (uintptr_t)((outer - 1) * dense->ld + inner) * tri_dtype_size(dense->dtype);
}

static triage_status check_apart(const triage_dense *dense, const char *name, const void *d, size_t bytes) {
    const uintptr_t start = (uintptr_t)dense->data, of_d = (uintptr_t)d;
    if (start < of_d + bytes && of_d < start + extent(dense))
        return tri_fail(TRIAGE_E_INVALID, "%s (at %p) and d (at %p) overlap; must be apart", name,
                        dense->data, d);
    return TRIAGE_OK;
}

static size_t bytes_of_blocks(const triage_bsr_matrix *a, triage_dtype dtype) {
    return (size_t)a->pattern.nnzb * (size_t)a->block_rows * (size_t)a->block_cols * tri_dtype_size(dtype);
}

static triage_status check_blocks(const triage_bsr_matrix *a, const void *d, triage_dtype d_type) {
    if ((unsigned)d_type > TRIAGE_BF16)
        return tri_fail(TRIAGE_E_INVALID, "d_type is %d; must be f32, f16 or bf16", (int)d_type);
    if (a->pattern.nnzb > 0 && (!d || (uintptr_t)d % 16 != 0))
        return tri_fail(TRIAGE_E_INVALID, "d is %p; must be 16-byte aligned, and not NULL", d);
    return TRIAGE_OK;
}

static triage_status check_call(const triage_context *context, const triage_bsr_matrix *a,
                                const sddmm_call *call) {
    const triage_dense *y = call->y, *x = call->x;
    triage_status status = TRIAGE_OK;
    if (!context || !a)
        return tri_fail(TRIAGE_E_INVALID, "%s is NULL", context ? "a" : "context");
    if (a->context != context)
        return tri_fail(TRIAGE_E_INVALID, "a was made with another context");
    if (a->stored)
        return tri_fail(TRIAGE_E_INVALID, "a is a transpose; must be the matrix that it was made of");
    if (a->dtype > TRIAGE_BF16)
        return tri_fail(TRIAGE_E_INVALID, "a is %s; must be f32, f16 or bf16", tri_dtype_name(a->dtype));
    TRI_TRY(check_dense(y, "y", a->rows, "rows", a->dtype));
    TRI_TRY(check_dense(x, "x", a->cols, "columns", a->dtype));
    if (x->cols != y->cols)
        return tri_fail(TRIAGE_E_INVALID, "x has %lld columns; must be %lld, the columns of y",
                        (long long)x->cols, (long long)y->cols);
    TRI_TRY(check_blocks(a, call->d, call->d_type));
    TRI_TRY(check_apart(y, "y", call->d, bytes_of_blocks(a, call->d_type)));
    TRI_TRY(check_apart(x, "x", call->d, bytes_of_blocks(a, call->d_type)));
done:
    return status;
}

/* ---- of what kind a call is ---- */

/* log2 of the largest power of two up to 256 bytes that divides ld elements: all that a kernel may ask of it. */
static uint64_t alignment_class(int64_t ld, triage_dtype dtype) {
    const uint64_t bytes = (uint64_t)ld * tri_dtype_size(dtype);
    return bytes % 256 == 0 ? 8 : (uint64_t)__builtin_ctzll(bytes);
}

/* n, layouts, the type of D, and how far ldy and ldx are aligned, in one word. */
static uint64_t key_of(const tri_sddmm_problem *p) {
    uint64_t key = (uint64_t)p->n; /* 31 bits */
    key = key << 2 | (uint64_t)p->out_type;
    key = key << 1 | (uint64_t)p->y_layout;
    key = key << 1 | (uint64_t)p->x_layout;
    key = key << 4 | alignment_class(p->ldy, p->in_type);
    return key << 4 | alignment_class(p->ldx, p->in_type);
}

/* Launch geometry may depend on the number of blocks, of which a key only knows the density, and on alignments. */
static tri_call_kind kind_of(const triage_bsr_matrix *a, const sddmm_call *call) {
    const tri_sddmm_problem problem = {.in_type = a->dtype,
                                       .out_type = call->d_type,
                                       .y_layout = call->y->layout,
                                       .x_layout = call->x->layout,
                                       .m = a->rows,
                                       .n = call->y->cols,
                                       .k = a->cols,
                                       .ldy = call->y->ld,
                                       .ldx = call->x->ld,
                                       .block_m = a->block_rows,
                                       .block_k = a->block_cols,
                                       .nnzb = a->pattern.nnzb,
                                       .fingerprint = a->fingerprint};
    const uint64_t key = key_of(&problem);
    return (tri_call_kind){.key = key,
                           .problem = tri_sddmm_problem_of(problem),
                           .variant = key ^ (uint64_t)problem.nnzb * UINT64_C(0x9e3779b97f4a7c15),
                           .pattern = &a->pattern};
}

/* ---- tiles on the device: one set for each shape that a kernel of the matrix's plans asks for ---- */

typedef struct tri_matrix_tiles {
    struct tri_matrix_tiles *next;
    tri_sddmm_launch shape;
    tri_sddmm_placed placed;
} tri_matrix_tiles;

void tri_sddmm_tiles_release(triage_bsr_matrix *matrix) {
    while (matrix->tiles) {
        tri_matrix_tiles *tiles = matrix->tiles;
        matrix->tiles = tiles->next;
        tri_device_release(matrix->context->device, tiles->placed.ints);
        free(tiles);
    }
}

static bool same_shape(const tri_sddmm_launch *a, const tri_sddmm_launch *b) {
    return a->tile_rows == b->tile_rows && a->tile_cols == b->tile_cols && a->tile_blocks == b->tile_blocks &&
           a->tile_solid == b->tile_solid;
}

static triage_status prepare_tiles(tri_plan *plan, tri_caller *caller) {
    const tri_sddmm_launch *shape = tri_sddmm_launch_of(plan->launch);
    triage_bsr_matrix *matrix = caller->handle;
    tri_matrix_tiles *entry = matrix->tiles, *made = NULL;
    triage_status status = TRIAGE_OK;
    while (entry && !same_shape(&entry->shape, shape))
        entry = entry->next;
    if (!entry) {
        TRI_TRY(tri_calloc(&made, 1, sizeof *made));
        TRI_TRY(tri_sddmm_place(&made->placed, matrix->context->device, plan->launch, &matrix->pattern));
        made->shape = *shape;
        made->next = matrix->tiles;
        matrix->tiles = entry = made;
        made = NULL;
    }
    plan->prepared = &entry->placed;
done:
    free(made);
    return status;
}

/* ---- calls that were served (api/call.h) ---- */

/* What a repeated call compares comes first: two cache lines. */
typedef struct served_call {
    _Alignas(64) tri_served_call served;
    float alpha, beta;
    triage_dense y, x;
    void *d;
    triage_dtype d_type;
    tri_bsr_sddmm_args args;
} served_call;

static bool same_call(const tri_served_call *served, const void *passed) {
    const served_call *known = (const served_call *)served;
    const sddmm_call *call = passed;
    return tri_factor_bits(known->alpha) == tri_factor_bits(call->alpha) &&
           tri_factor_bits(known->beta) == tri_factor_bits(call->beta) &&
           tri_dense_operand_same(&known->y, call->y) && tri_dense_operand_same(&known->x, call->x) &&
           known->d == call->d && known->d_type == call->d_type;
}

/* Of what calls differ in most; never 0. */
static uint64_t tag_of(const void *passed) {
    const sddmm_call *call = passed;
    return ((uint64_t)(uintptr_t)call->y->data * UINT64_C(0x9e3779b97f4a7c15) +
            (uint64_t)(uintptr_t)call->x->data * UINT64_C(0xd1b54a32d192ed03) +
            (uint64_t)(uintptr_t)call->d * UINT64_C(0x8cb92ba72f3d8dd7)) |
           1;
}

static tri_address address(const void *pointer) {
    return (tri_address)(uintptr_t)pointer;
}

/* ldy and ldx of a plan are those of its first call: it serves all of their alignment. */
static triage_status make_arguments(tri_served_call *made, const tri_caller *caller) {
    served_call *call = (served_call *)made;
    const triage_bsr_matrix *a = caller->handle;
    const tri_plan *plan = made->plan;
    tri_problem problem = plan->problem;
    tri_sddmm_edit(&problem)->ldy = call->y.ld;
    tri_sddmm_edit(&problem)->ldx = call->x.ld;
    const tri_sddmm_buffers buffers = {.y = address(call->y.data),
                                       .x = address(call->x.data),
                                       .d = address(call->d),
                                       .row_ptr = a->row_ptr,
                                       .col_idx = a->col_idx,
                                       .workspace = tri_kernel_workspace(plan->kernel),
                                       .tiles = *(const tri_sddmm_placed *)plan->prepared};
    return tri_sddmm_args_make(&call->args, a->context->device, plan->launch, &problem, &buffers, call->alpha,
                               call->beta);
}

const tri_call_type tri_sddmm_calls = {.prepare_first = "triage_bsr_sddmm_prepare",
                                       .served_bytes = sizeof(served_call),
                                       .args_at = offsetof(served_call, args),
                                       .tag = tag_of,
                                       .same = same_call,
                                       .arguments = make_arguments,
                                       .prepare = prepare_tiles};

/* ---- calls ---- */

/* const for the caller: what changes in the matrix is a cache. */
static triage_status plan_for(tri_plan **out, const triage_bsr_matrix *a, const sddmm_call *call,
                              void *stream) {
    tri_caller *caller = &((triage_bsr_matrix *)a)->sampled;
    const tri_call_kind kind = kind_of(a, call);
    *out = tri_plan_find(caller, kind.key, stream);
    if (*out)
        return TRIAGE_OK;
    triage_status status = tri_problem_check(&kind.problem);
    return status == TRIAGE_OK ? tri_plan_make(out, caller, &kind, stream) : status;
}

/* A call that the matrix has not served. */
static __attribute__((noinline)) triage_status new_call(triage_context *context, const triage_bsr_matrix *a,
                                                        const sddmm_call *call, void *stream, bool launch) {
    triage_status status = TRIAGE_OK;
    tri_plan *plan = NULL;
    TRI_TRY(check_call(context, a, call));
    if (a->pattern.nnzb == 0) /* a product of nothing */
        goto done;
    TRI_TRY(plan_for(&plan, a, call, stream));
    served_call made = {.alpha = call->alpha,
                        .beta = call->beta,
                        .y = *call->y,
                        .x = *call->x,
                        .d = call->d,
                        .d_type = call->d_type};
    TRI_TRY(tri_call_serve(&((triage_bsr_matrix *)a)->sampled, plan, &made.served, call, stream, launch));
done:
    return status;
}

TRI_HOT triage_status triage_bsr_sddmm(triage_context *context, float alpha, const triage_dense *y,
                                       const triage_dense *x, float beta, const triage_bsr_matrix *a, void *d,
                                       triage_dtype d_type, void *stream) {
    const sddmm_call call = {y, x, d, d_type, alpha, beta};
    triage_status status = TRIAGE_OK;
    if (a && y && x && a->context == context &&
        tri_call_again(&status, &a->sampled, &tri_sddmm_calls, &call, stream))
        return status;
    return new_call(context, a, &call, stream, true);
}

triage_status triage_bsr_sddmm_prepare(triage_context *context, float alpha, const triage_dense *y,
                                       const triage_dense *x, float beta, const triage_bsr_matrix *a, void *d,
                                       triage_dtype d_type, void *stream) {
    const sddmm_call call = {y, x, d, d_type, alpha, beta};
    return new_call(context, a, &call, stream, false);
}

triage_status triage_bsr_sddmm_choice(triage_choice *out, triage_context *context, const triage_dense *y,
                                      const triage_dense *x, const triage_bsr_matrix *a, void *d,
                                      triage_dtype d_type) {
    const sddmm_call call = {y, x, d, d_type, 1, 0};
    triage_status status = TRIAGE_OK;
    tri_plan *plan = NULL;
    TRI_TRY(tri_choice_check(out));
    TRI_TRY(check_call(context, a, &call));
    if (a->pattern.nnzb == 0)
        return tri_fail(TRIAGE_E_INVALID, "a has no blocks; there is nothing to choose");
    TRI_TRY(plan_for(&plan, a, &call, NULL));
    tri_loaded_describe(out, plan->loaded);
done:
    return status;
}
