/* The products that applications call. */
#include <string.h>

#include "api/bsr_gemm/bsr_gemm.h"

static const tri_bsr_operand_names gemm_names = {"a", "b", "c"}, linear_names = {"w", "x", "y"};

/* ---- of what kind a call is ---- */

/* log2 of the largest power of two up to 256 bytes that divides ld elements: all that a kernel may ask of it. */
static uint64_t alignment_class(int64_t ld, triage_dtype dtype) {
    uint64_t bytes = (uint64_t)ld * tri_dtype_size(dtype);
    return bytes % 256 == 0 ? 8 : (uint64_t)__builtin_ctzll(bytes);
}

/* n, layouts, types, epilogue, kind of scale, and how far ldb and ldc are aligned, in one word. */
static uint64_t key_of(const tri_bsr_problem *problem) {
    uint64_t key = (uint64_t)problem->n; /* 31 bits */
    key = key << 2 | (uint64_t)problem->out_type;
    key = key << 1 | (uint64_t)problem->b_layout;
    key = key << 1 | (uint64_t)problem->c_layout;
    key = key << 2 | (uint64_t)problem->activation;
    key = key << 1 | (uint64_t)problem->bias;
    key = key << 1 | (uint64_t)problem->scale_per_block;
    key = key << 4 | alignment_class(problem->ldb, problem->in_type);
    key = key << 4 | alignment_class(problem->ldc, problem->out_type);
    return key;
}

/* Launch geometry may depend on the number of blocks, of which a key only knows the density, and on alignments. */
static tri_call_kind kind_of(const triage_bsr_matrix *a, const tri_bsr_call *call) {
    const triage_dense *b = call->b, *c = call->c;
    const triage_epilogue *epilogue = call->epilogue;
    const tri_bsr_problem problem = {
        .in_type = a->dtype,
        .out_type = c->dtype,
        .a_transposed = a->stored != NULL,
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
    };
    const uint64_t key = key_of(&problem);
    return (tri_call_kind){.key = key,
                           .problem = tri_bsr_problem_of(problem),
                           .variant = key ^ (uint64_t)problem.nnzb * UINT64_C(0x9e3779b97f4a7c15),
                           .call = call,
                           .pattern = &a->pattern};
}

/* ---- calls that were served (api/call.h) ---- */

static bool same_epilogue(const triage_epilogue *a, const triage_epilogue *b) {
    return a->version == b->version && a->bias == b->bias && a->activation == b->activation &&
           a->scale_a == b->scale_a && a->scale_b == b->scale_b &&
           a->scale_a_per_block == b->scale_a_per_block;
}

/* All that is passed, because a known call is not checked again. */
static bool same_call(const tri_served_call *served, const void *passed) {
    const tri_bsr_served_call *known = (const tri_bsr_served_call *)served;
    const tri_bsr_call *call = passed;
    return tri_factor_bits(known->alpha) == tri_factor_bits(call->alpha) &&
           tri_factor_bits(known->beta) == tri_factor_bits(call->beta) &&
           tri_dense_operand_same(&known->b, call->b) && tri_dense_operand_same(&known->c, call->c) &&
           known->has_epilogue == (call->epilogue != NULL) &&
           (!call->epilogue || same_epilogue(&known->epilogue, call->epilogue));
}

/* Of what calls differ in most; never 0. Fibonacci hashing: buffers lie at multiples of large powers of two. */
static uint64_t tag_of(const void *passed) {
    const tri_bsr_call *call = passed;
    uint64_t hash =
        (uint64_t)(uintptr_t)call->b->data * UINT64_C(0x9e3779b97f4a7c15) +
        (uint64_t)(uintptr_t)call->c->data * UINT64_C(0xd1b54a32d192ed03) +
        ((uint64_t)call->c->cols << 32 | tri_factor_bits(call->alpha)) * UINT64_C(0x8cb92ba72f3d8dd7);
    return hash | 1;
}

static tri_address address(const void *pointer) {
    return (tri_address)(uintptr_t)pointer;
}

/* ldb and ldc of a plan are those of its first call: it serves all of their alignment. */
static triage_status make_arguments(tri_served_call *made, const tri_caller *caller) {
    tri_bsr_served_call *call = (tri_bsr_served_call *)made;
    const triage_bsr_matrix *a = caller->handle;
    const tri_plan *plan = made->plan;
    tri_problem problem = plan->problem;
    tri_bsr_edit(&problem)->ldb = call->b.ld;
    tri_bsr_edit(&problem)->ldc = call->c.ld;
    const tri_bsr_buffers buffers = {.row_ptr = a->row_ptr,
                                     .col_idx = a->col_idx,
                                     .blocks = a->blocks,
                                     .values = a->values,
                                     .schedule = *(const tri_device_schedule *)plan->prepared,
                                     .workspace = tri_kernel_workspace(plan->kernel),
                                     .b = address(call->b.data),
                                     .c = address(call->c.data),
                                     .bias = address(call->epilogue.bias),
                                     .scale_a = address(call->epilogue.scale_a),
                                     .scale_b = address(call->epilogue.scale_b)};
    return tri_bsr_args_make(&call->args, a->context->device, plan->launch, &problem, &buffers, call->alpha,
                             call->beta);
}

/* As many bytes as are the caller's: behind the last line its leading dimension may go on into what is not. */
static tri_input given(const void *data, int64_t lines, int64_t ld, int64_t length, triage_dtype dtype) {
    return (tri_input){.address = address(data),
                       .bytes = (size_t)((lines - 1) * ld + length) * tri_dtype_size(dtype)};
}

/* A tri_operands_fn. */
static triage_status find_operands(tri_inputs *out, const tri_pattern **pattern, const void *handle,
                                   const void *passed) {
    const triage_bsr_matrix *a = handle;
    const tri_bsr_call *call = passed;
    const triage_dense *b = call->b;
    const triage_epilogue *epilogue = call->epilogue;
    const int64_t block = (int64_t)a->block_rows * a->block_cols;
    const bool is_row_major = b->layout == TRIAGE_ROW_MAJOR;
    tri_input *at = out->at;
    if (!b->data || !call->c->data || a->pattern.nnzb == 0)
        return tri_fail(TRIAGE_E_DATA, "there is nothing to multiply");
    at[TRI_BSR_VALUES] = given((const void *)(uintptr_t)a->values, a->pattern.nnzb, block, block, a->dtype);
    at[TRI_BSR_ROW_PTR] = (tri_input){.data = a->pattern.row_ptr,
                                      .bytes = (size_t)(a->pattern.block_rows + 1) * sizeof(int32_t),
                                      .address = a->row_ptr};
    if (a->stored)
        at[TRI_BSR_BLOCKS] = (tri_input){.bytes = (size_t)a->pattern.nnzb * sizeof(tri_transposed_block),
                                         .address = a->blocks};
    else
        at[TRI_BSR_COL_IDX] = (tri_input){.data = a->pattern.col_idx,
                                          .bytes = (size_t)a->pattern.nnzb * sizeof(int32_t),
                                          .address = a->col_idx};
    at[TRI_BSR_B] =
        given(b->data, is_row_major ? b->rows : b->cols, b->ld, is_row_major ? b->cols : b->rows, b->dtype);
    if (epilogue && epilogue->bias)
        at[TRI_BSR_BIAS] = given(epilogue->bias, 1, 0, a->rows, call->c->dtype);
    if (epilogue && epilogue->scale_a)
        at[TRI_BSR_SCALE_A] =
            given(epilogue->scale_a, 1, 0, epilogue->scale_a_per_block ? a->pattern.nnzb : 1, TRIAGE_F32);
    if (epilogue && epilogue->scale_b)
        at[TRI_BSR_SCALE_B] = given(epilogue->scale_b, 1, 0, 1, TRIAGE_F32);
    *pattern = &a->pattern;
    return TRIAGE_OK;
}

static triage_status prepare_schedule(tri_plan *plan, tri_caller *caller) {
    const tri_device_schedule *schedule = NULL;
    triage_status status = tri_bsr_matrix_schedule(&schedule, caller->handle, plan->launch);
    plan->prepared = schedule;
    return status;
}

const tri_call_type tri_bsr_gemm_calls = {.prepare_first = "triage_bsr_gemm_prepare",
                                          .served_bytes = sizeof(tri_bsr_served_call),
                                          .args_at = offsetof(tri_bsr_served_call, args),
                                          .tag = tag_of,
                                          .same = same_call,
                                          .arguments = make_arguments,
                                          .operands = find_operands,
                                          .prepare = prepare_schedule};

/* ---- calls ---- */

static triage_status check(const triage_context *context, const triage_bsr_matrix *a,
                           const tri_bsr_call *call, const tri_bsr_operand_names *names) {
    const char *missing = !context   ? "context"
                          : !a       ? names->a
                          : !call->b ? names->b
                          : !call->c ? names->c
                                     : NULL;
    if (missing)
        return tri_fail(TRIAGE_E_INVALID, "%s is NULL", missing);
    if (a->context != context)
        return tri_fail(TRIAGE_E_INVALID, "%s was made with another context", names->a);
    return tri_bsr_check_call(a, call, names);
}

static triage_status plan_for(tri_plan **out, const triage_bsr_matrix *a, const tri_call_kind *kind,
                              void *stream) {
    /* const for the caller: what changes inside is a cache */
    tri_caller *caller = &((triage_bsr_matrix *)a)->caller;
    *out = tri_plan_find(caller, kind->key, stream);
    if (*out)
        return TRIAGE_OK;
    triage_status status = tri_problem_check(&kind->problem);
    return status == TRIAGE_OK ? tri_plan_make(out, caller, kind, stream) : status;
}

/* A call that the matrix has not served. */
static __attribute__((noinline)) triage_status new_call(triage_context *context, const triage_bsr_matrix *a,
                                                        const tri_bsr_call *call,
                                                        const tri_bsr_operand_names *names, void *stream,
                                                        bool launch) {
    triage_status status = TRIAGE_OK;
    tri_plan *plan = NULL;
    TRI_TRY(check(context, a, call, names));
    if (call->c->cols == 0) /* a product of nothing */
        goto done;
    const tri_call_kind kind = kind_of(a, call);
    TRI_TRY(plan_for(&plan, a, &kind, stream));
    tri_bsr_served_call made = {.alpha = call->alpha, .beta = call->beta, .b = *call->b, .c = *call->c};
    made.has_epilogue = call->epilogue != NULL;
    if (call->epilogue)
        made.epilogue = *call->epilogue;
    TRI_TRY(tri_call_serve(&((triage_bsr_matrix *)a)->caller, plan, &made.served, call, stream, launch));
done:
    return status;
}

/* Launches a call that the matrix has served; false: it has not. */
static inline bool launch_again(triage_status *status, const triage_context *context,
                                const triage_bsr_matrix *a, const tri_bsr_call *call, void *stream) {
    return a->context == context && tri_call_again(status, &a->caller, &tri_bsr_gemm_calls, call, stream);
}

TRI_HOT triage_status triage_bsr_gemm(triage_context *context, float alpha, const triage_bsr_matrix *a,
                                      const triage_dense *b, float beta, const triage_dense *c,
                                      const triage_epilogue *epilogue, void *stream) {
    const tri_bsr_call call = {.b = b, .c = c, .epilogue = epilogue, .alpha = alpha, .beta = beta};
    triage_status status = TRIAGE_OK;
    if (a && b && c && launch_again(&status, context, a, &call, stream))
        return status;
    return new_call(context, a, &call, &gemm_names, stream, true);
}

triage_status triage_bsr_gemm_prepare(triage_context *context, float alpha, const triage_bsr_matrix *a,
                                      const triage_dense *b, float beta, const triage_dense *c,
                                      const triage_epilogue *epilogue, void *stream) {
    const tri_bsr_call call = {.b = b, .c = c, .epilogue = epilogue, .alpha = alpha, .beta = beta};
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
                                                          const tri_bsr_call *call, void *stream) {
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_bsr_check_dense(x, linear_names.b, TRI_BSR_EMPTY_ROWS));
    TRI_TRY(tri_bsr_check_dense(y, linear_names.c, TRI_BSR_EMPTY_ROWS));
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
    const tri_bsr_call call = {.b = &b, .c = &c, .epilogue = epilogue, .alpha = 1};
    return launch_again(&status, context, w, &call, stream) ? status
                                                            : new_linear(context, w, x, y, &call, stream);
}

/* A donor's time is that of another problem: only the own one can be held against the dense product. */
static triage_status describe_dense(triage_choice *out, triage_context *context, const tri_problem *problem) {
    triage_status status = tri_context_dense_time(&out->dense_median_ns, context, problem);
    out->dense_is_faster = status == TRIAGE_OK && out->source == TRIAGE_SOURCE_EXACT && out->median_ns > 0 &&
                           out->dense_median_ns > 0 && out->dense_median_ns < out->median_ns;
    return status;
}

triage_status triage_bsr_gemm_choice(triage_choice *out, triage_context *context, const triage_bsr_matrix *a,
                                     const triage_dense *b, const triage_dense *c,
                                     const triage_epilogue *epilogue) {
    const tri_bsr_call call = {.b = b, .c = c, .epilogue = epilogue};
    triage_status status = TRIAGE_OK;
    tri_plan *plan = NULL;
    TRI_TRY(tri_choice_check(out));
    TRI_TRY(check(context, a, &call, &gemm_names));
    const tri_call_kind kind = kind_of(a, &call);
    TRI_TRY(plan_for(&plan, a, &kind, NULL));
    tri_loaded_describe(out, plan->loaded);
    if (out->version >= 2)
        TRI_TRY(describe_dense(out, context, &kind.problem));
done:
    return status;
}
