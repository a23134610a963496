/* The products that applications call: launch what is known; else check the arguments, find the plan, launch. */
#include "evidence/dense_evidence.h"
#include "api/bsr_gemm/plan.h"

/* ---- checks: one line each, the value and its range ---- */

/* What the caller calls the operands. */
typedef struct operand_names {
    const char *a, *b, *c;
} operand_names;
static const operand_names gemm_names = {"a", "b", "c"}, linear_names = {"w", "x", "y"};

/* The side along which a product may be one of nothing: columns of b and c, rows of x and y. */
typedef enum empty_side { EMPTY_COLS, EMPTY_ROWS } empty_side;

static triage_status check_dense(const triage_dense *dense, const char *name, empty_side side) {
    if (!dense)
        return tri_fail(TRIAGE_E_INVALID, "%s is NULL", name);
    if ((unsigned)dense->dtype > TRIAGE_E4M3)
        return tri_fail(TRIAGE_E_INVALID, "%s.dtype is %d; must be a triage_dtype", name, (int)dense->dtype);
    if (dense->layout != TRIAGE_ROW_MAJOR && dense->layout != TRIAGE_COL_MAJOR)
        return tri_fail(TRIAGE_E_INVALID, "%s.layout is %d; must be a triage_layout", name,
                        (int)dense->layout);
    const int least_rows = side == EMPTY_COLS, least_cols = side == EMPTY_ROWS;
    if (dense->cols < least_cols || dense->cols > INT32_MAX || dense->rows < least_rows ||
        dense->rows > INT32_MAX)
        return tri_fail(TRIAGE_E_INVALID,
                        "%s is %lld x %lld; must be %d .. 2147483647 rows and %d .. 2147483647 columns", name,
                        (long long)dense->rows, (long long)dense->cols, least_rows, least_cols);
    if (dense->cols > 0 && dense->rows > 0 && !dense->data)
        return tri_fail(TRIAGE_E_INVALID, "%s.data is NULL", name);
    if ((uintptr_t)dense->data % 16 != 0)
        return tri_fail(TRIAGE_E_INVALID, "%s.data is %p; must be 16-byte aligned", name, dense->data);
    int64_t least = dense->layout == TRIAGE_ROW_MAJOR ? dense->cols : dense->rows;
    if (dense->ld < least || dense->ld > INT32_MAX)
        return tri_fail(TRIAGE_E_INVALID, "%s.ld is %lld; must be %lld .. 2147483647", name,
                        (long long)dense->ld, (long long)least);
    return TRIAGE_OK;
}

static triage_status check_shapes(const triage_bsr_matrix *a, const triage_dense *b, const triage_dense *c,
                                  const operand_names *names) {
    if (b->rows != a->cols)
        return tri_fail(TRIAGE_E_INVALID, "%s has %lld rows; must be %lld, the columns of %s", names->b,
                        (long long)b->rows, (long long)a->cols, names->a);
    if (c->rows != a->rows)
        return tri_fail(TRIAGE_E_INVALID, "%s has %lld rows; must be %lld, the rows of %s", names->c,
                        (long long)c->rows, (long long)a->rows, names->a);
    if (c->cols != b->cols)
        return tri_fail(TRIAGE_E_INVALID, "%s has %lld columns; must be %lld, the columns of %s", names->c,
                        (long long)c->cols, (long long)b->cols, names->b);
    if (b->dtype != a->dtype)
        return tri_fail(TRIAGE_E_INVALID, "%s is %s; must be %s, the type of %s", names->b,
                        tri_dtype_name(b->dtype), tri_dtype_name(a->dtype), names->a);
    if (c->dtype == TRIAGE_E4M3)
        return tri_fail(TRIAGE_E_INVALID, "%s is e4m3; must be f32, f16 or bf16", names->c);
    return TRIAGE_OK;
}

/* Bytes from the first element to the end of the last. */
static uintptr_t extent(const triage_dense *dense) {
    bool row = dense->layout == TRIAGE_ROW_MAJOR;
    int64_t inner = row ? dense->cols : dense->rows, outer = row ? dense->rows : dense->cols;
    return (uintptr_t)((outer - 1) * dense->ld + inner) * tri_dtype_size(dense->dtype);
}

static triage_status check_overlap(const triage_dense *b, const triage_dense *c, const operand_names *names) {
    uintptr_t b_start = (uintptr_t)b->data, c_start = (uintptr_t)c->data;
    if (c->cols > 0 && b_start < c_start + extent(c) && c_start < b_start + extent(b))
        return tri_fail(TRIAGE_E_INVALID, "%s (at %p) and %s (at %p) overlap; must be apart", names->b,
                        b->data, names->c, c->data);
    return TRIAGE_OK;
}

static triage_status check_scales(const triage_epilogue *epilogue, const triage_bsr_matrix *a) {
    if (a->dtype != TRIAGE_E4M3 && (epilogue->scale_a || epilogue->scale_b || epilogue->scale_a_per_block))
        return tri_fail(TRIAGE_E_INVALID, "epilogue has scales with %s matrices; they are for e4m3 only",
                        tri_dtype_name(a->dtype));
    if ((uintptr_t)epilogue->scale_a % sizeof(float) != 0 ||
        (uintptr_t)epilogue->scale_b % sizeof(float) != 0)
        return tri_fail(TRIAGE_E_INVALID, "epilogue.scale_%s is %p; must be 4-byte aligned",
                        (uintptr_t)epilogue->scale_a % sizeof(float) != 0 ? "a" : "b",
                        (uintptr_t)epilogue->scale_a % sizeof(float) != 0 ? (const void *)epilogue->scale_a
                                                                          : (const void *)epilogue->scale_b);
    return TRIAGE_OK;
}

static triage_status check_epilogue(const triage_epilogue *epilogue, const triage_bsr_matrix *a,
                                    const triage_dense *c) {
    if (epilogue->version != TRIAGE_EPILOGUE_VERSION)
        return tri_fail(TRIAGE_E_INVALID, "epilogue.version is %u; must be %u (TRIAGE_EPILOGUE_INIT)",
                        epilogue->version, TRIAGE_EPILOGUE_VERSION);
    if ((unsigned)epilogue->activation > TRIAGE_ACT_SILU)
        return tri_fail(TRIAGE_E_INVALID, "epilogue.activation is %d; must be a triage_activation",
                        (int)epilogue->activation);
    if ((uintptr_t)epilogue->bias % tri_dtype_size(c->dtype) != 0)
        return tri_fail(TRIAGE_E_INVALID, "epilogue.bias is %p; must be aligned to its type, %s",
                        epilogue->bias, tri_dtype_name(c->dtype));
    return check_scales(epilogue, a);
}

static triage_status check_call(const triage_context *context, const triage_bsr_matrix *a,
                                const triage_dense *b, const triage_dense *c, const triage_epilogue *epilogue,
                                const operand_names *names) {
    triage_status status = TRIAGE_OK;
    if (!context || !a)
        return tri_fail(TRIAGE_E_INVALID, "%s is NULL", context ? names->a : "context");
    if (a->context != context)
        return tri_fail(TRIAGE_E_INVALID, "%s was made with another context", names->a);
    TRI_TRY(check_dense(b, names->b, EMPTY_COLS));
    TRI_TRY(check_dense(c, names->c, EMPTY_COLS));
    TRI_TRY(check_shapes(a, b, c, names));
    TRI_TRY(check_overlap(b, c, names));
    if (epilogue)
        TRI_TRY(check_epilogue(epilogue, a, c));
done:
    return status;
}

/* ---- calls ---- */

static void describe_problem(tri_problem *out, const triage_bsr_matrix *a, const triage_dense *b,
                             const triage_dense *c, const triage_epilogue *epilogue) {
    *out = tri_bsr_problem_of((tri_bsr_problem){
        .in_type = a->dtype,
        .out_type = c->dtype,
        .scale_per_block = epilogue && epilogue->scale_a_per_block, /* refused before unless e4m3 */
        .b_layout = b->layout,
        .c_layout = c->layout,
        .activation = epilogue ? epilogue->activation : TRIAGE_ACT_NONE,
        .bias = epilogue && epilogue->bias,
        .m = a->rows,
        .n = c->cols,
        .k = a->cols,
        .ldb = b->ld,
        .ldc = c->ld,
        .block_m = a->block_rows,
        .block_k = a->block_cols,
        .nnzb = a->pattern.nnzb,
        .fingerprint = a->fingerprint,
    });
}

static triage_status plan_for(tri_plan **out, const triage_bsr_matrix *a, const tri_problem *problem,
                              void *stream) {
    /* const for the caller: what changes inside is a cache */
    triage_bsr_matrix *matrix = (triage_bsr_matrix *)a;
    *out = tri_plan_find(matrix, tri_plan_key(problem), stream);
    return *out ? TRIAGE_OK : tri_plan_make(out, matrix, problem, stream);
}

/* A call that the matrix does not know. It is kept before the launch, which may fail for reasons of its own. */
static __attribute__((noinline)) triage_status new_call(triage_context *context, const triage_bsr_matrix *a,
                                                        const tri_call *call, const operand_names *names,
                                                        void *stream, bool launch) {
    triage_status status = TRIAGE_OK;
    tri_problem problem;
    tri_bsr_gemm_args args;
    tri_plan *plan = NULL;
    TRI_TRY(check_call(context, a, call->b, call->c, call->epilogue, names));
    if (call->c->cols == 0) /* a product of nothing */
        goto done;
    describe_problem(&problem, a, call->b, call->c, call->epilogue);
    TRI_TRY(plan_for(&plan, a, &problem, stream));
    TRI_TRY(tri_plan_args(&args, plan, call, a->values));
    tri_calls_put(a->calls, call, plan, &args);
    if (launch)
        status = tri_plan_launch(plan, &args, stream);
done:
    return status;
}

/* Launches a call that the matrix knows; false: it does not. */
static inline bool launch_known(triage_status *status, const triage_context *context,
                                const triage_bsr_matrix *a, const tri_call *call, void *stream) {
    if (a->context != context)
        return false;
    tri_served_call *known = tri_calls_take(a->calls, call, stream);
    if (!known)
        return false;
    *status = tri_plan_launch(known->plan, &known->args, stream);
    tri_calls_give_back(known);
    return true;
}

TRI_HOT triage_status triage_bsr_gemm(triage_context *context, float alpha, const triage_bsr_matrix *a,
                                      const triage_dense *b, float beta, const triage_dense *c,
                                      const triage_epilogue *epilogue, void *stream) {
    const tri_call call = {.b = b, .c = c, .epilogue = epilogue, .alpha = alpha, .beta = beta};
    triage_status status = TRIAGE_OK;
    if (a && b && c && launch_known(&status, context, a, &call, stream))
        return status;
    return new_call(context, a, &call, &gemm_names, stream, true);
}

triage_status triage_bsr_gemm_prepare(triage_context *context, float alpha, const triage_bsr_matrix *a,
                                      const triage_dense *b, float beta, const triage_dense *c,
                                      const triage_epilogue *epilogue, void *stream) {
    const tri_call call = {.b = b, .c = c, .epilogue = epilogue, .alpha = alpha, .beta = beta};
    return new_call(context, a, &call, &gemm_names, stream, false);
}

/* The transposed view of a row-major matrix is the same memory, column-major. */
static triage_dense transposed(const triage_dense *dense) {
    return (triage_dense){dense->data, dense->cols, dense->rows, dense->ld, dense->dtype, TRIAGE_COL_MAJOR};
}

/* Checks what the transposed views would report in the wrong words, on every call: a few comparisons. */
static triage_status check_linear(const triage_bsr_matrix *w, const triage_dense *x, const triage_dense *y) {
    if (!w || !x || !y)
        return tri_fail(TRIAGE_E_INVALID, "%s is NULL", !w ? "w" : !x ? "x" : "y");
    if (x->layout != TRIAGE_ROW_MAJOR || y->layout != TRIAGE_ROW_MAJOR)
        return tri_fail(TRIAGE_E_INVALID, "%s is not row-major; both x and y must be",
                        x->layout != TRIAGE_ROW_MAJOR ? "x" : "y");
    if (x->cols != w->cols)
        return tri_fail(TRIAGE_E_INVALID, "x has %lld columns; must be %lld, the columns of w",
                        (long long)x->cols, (long long)w->cols);
    if (y->cols != w->rows)
        return tri_fail(TRIAGE_E_INVALID, "y has %lld columns; must be %lld, the rows of w",
                        (long long)y->cols, (long long)w->rows);
    if (y->rows != x->rows)
        return tri_fail(TRIAGE_E_INVALID, "y has %lld rows; must be %lld, the rows of x", (long long)y->rows,
                        (long long)x->rows);
    return TRIAGE_OK;
}

/* Before the views are: theirs would have rows and columns exchanged. */
static __attribute__((noinline)) triage_status new_linear(triage_context *context, const triage_bsr_matrix *w,
                                                          const triage_dense *x, const triage_dense *y,
                                                          const tri_call *call, void *stream) {
    triage_status status = TRIAGE_OK;
    TRI_TRY(check_dense(x, linear_names.b, EMPTY_ROWS));
    TRI_TRY(check_dense(y, linear_names.c, EMPTY_ROWS));
    status = new_call(context, w, call, &linear_names, stream, true);
done:
    return status;
}

TRI_HOT triage_status triage_bsr_linear(triage_context *context, const triage_bsr_matrix *w,
                                        const triage_dense *x, const triage_dense *y,
                                        const triage_epilogue *epilogue, void *stream) {
    triage_status status = check_linear(w, x, y);
    if (status != TRIAGE_OK)
        return status;
    const triage_dense b = transposed(x), c = transposed(y);
    const tri_call call = {.b = &b, .c = &c, .epilogue = epilogue, .alpha = 1};
    return launch_known(&status, context, w, &call, stream) ? status
                                                            : new_linear(context, w, x, y, &call, stream);
}

/* A donor's time is that of another problem: only the own one can be held against the dense product. */
static triage_status describe_dense(triage_choice *out, triage_context *context, const tri_problem *problem) {
    triage_status status = tri_context_dense_time(&out->dense_median_ns, context, problem);
    out->reserved = 0;
    out->dense_is_faster = status == TRIAGE_OK && out->source == TRIAGE_SOURCE_EXACT && out->median_ns > 0 &&
                           out->dense_median_ns > 0 && out->dense_median_ns < out->median_ns;
    return status;
}

triage_status triage_bsr_gemm_choice(triage_choice *out, triage_context *context, const triage_bsr_matrix *a,
                                     const triage_dense *b, const triage_dense *c,
                                     const triage_epilogue *epilogue) {
    triage_status status = TRIAGE_OK;
    tri_problem problem;
    tri_plan *plan = NULL;
    if (!out)
        return tri_fail(TRIAGE_E_INVALID, "out is NULL");
    if (out->version < 1 || out->version > TRIAGE_CHOICE_VERSION)
        return tri_fail(TRIAGE_E_INVALID, "out->version is %u; must be 1 to %u (TRIAGE_CHOICE_VERSION)",
                        out->version, TRIAGE_CHOICE_VERSION);
    TRI_TRY(check_call(context, a, b, c, epilogue, &gemm_names));
    describe_problem(&problem, a, b, c, epilogue);
    TRI_TRY(plan_for(&plan, a, &problem, NULL));
    tri_plan_describe(out, plan);
    if (out->version >= 2) /* a version 1 ends before these fields */
        TRI_TRY(describe_dense(out, context, &problem));
done:
    return status;
}
