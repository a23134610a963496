// links: base problem
/* The gate must let every correct result through, whatever its order of summation, and no wrong one. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "problem/problem.h"

/* ---- a problem with its references and its plain result ---- */

typedef struct gate {
    tri_problem problem;
    tri_pattern pattern;
    tri_bsr_operands operands;
    void *values, *b, *c_in, *bias;
    float *scale_a, scale_b; /* e4m3 */
    void *plain, *candidate, *correct;
    float *values_f32, *b_f32; /* the same numbers, widened once; B as [n][k] */
    size_t c_bytes;
    int64_t *rows;
    size_t count;
    double *references;
    tri_yardstick yardstick;
} gate;

typedef enum order { ASCENDING, DESCENDING, PAIRWISE, BY_BLOCK, FOUR_LANES, SPLIT_K, FUSED } order;

static float pairwise(const float *terms, int64_t count) {
    if (count <= 2)
        return count == 2 ? terms[0] + terms[1] : count == 1 ? terms[0] : 0;
    return pairwise(terms, count / 2) + pairwise(terms + count / 2, count - count / 2);
}

/* Sums `count` terms (pieces of `block`) in float32. */
static float sum_terms(const float *terms, int64_t count, int64_t block, order how) {
    float sum = 0, lanes[4] = {0};
    switch (how) {
    case ASCENDING:
    case FUSED:
        for (int64_t i = 0; i < count; i++)
            sum += terms[i];
        return sum;
    case DESCENDING:
        for (int64_t i = count - 1; i >= 0; i--)
            sum += terms[i];
        return sum;
    case PAIRWISE:
        return pairwise(terms, count);
    case BY_BLOCK:
        for (int64_t i = 0; i < count; i += block)
            sum += sum_terms(terms + i, block, block, ASCENDING);
        return sum;
    case FOUR_LANES:
        for (int64_t i = 0; i < count; i++)
            lanes[i % 4] += terms[i];
        return (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
    case SPLIT_K:
        return sum_terms(terms + count / 2, count - count / 2, block, ASCENDING) +
               sum_terms(terms, count / 2, block, ASCENDING);
    }
    return 0;
}

static int64_t c_at(const tri_problem *p, int64_t row, int64_t col) {
    return p->c_layout == TRIAGE_ROW_MAJOR ? row * p->ldc + col : col * p->ldc + row;
}

/* How a kernel may be wrong. */
typedef struct fault {
    float alpha, beta;
    int64_t row, drop; /* drop: this block of this row's block row is left out in this row; row -1: nowhere */
} fault;

static float fused(const float *a, const float *b, int64_t count) {
    float sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum = fmaf(a[i], b[i], sum);
    return sum;
}

static float activate(triage_activation activation, float v) {
    switch (activation) {
    case TRIAGE_ACT_NONE:
        break;
    case TRIAGE_ACT_RELU:
        return fmaxf(v, 0);
    case TRIAGE_ACT_GELU:
        return 0.5f * v * (1 + erff(v * 0.70710678f));
    case TRIAGE_ACT_SILU:
        return v / (1 + expf(-v));
    }
    return v;
}

/* The values of a row that are not zero by the pattern, in ascending k. */
static int64_t gather_a(float *as, const gate *g, int64_t row, const fault *wrong) {
    const tri_problem *p = &g->problem;
    const int32_t *range = g->pattern.row_ptr + row / p->block_m;
    int64_t count = 0;
    for (int32_t i = range[0]; i < range[1]; i++, count += p->block_k) {
        bool dropped = row == wrong->row && i - range[0] == wrong->drop;
        memcpy(as + count, g->values_f32 + (i * p->block_m + row % p->block_m) * p->block_k,
               (size_t)p->block_k * sizeof *as);
        for (int32_t k = 0; g->scale_a && p->scale_per_block && k < p->block_k; k++)
            as[count + k] *= g->scale_a[i];
        if (dropped)
            memset(as + count, 0, (size_t)p->block_k * sizeof *as);
    }
    return count;
}

/* What of a column of B they meet. */
static void gather_b(float *bs, const gate *g, int64_t row, int64_t col) {
    const tri_problem *p = &g->problem;
    const int32_t *range = g->pattern.row_ptr + row / p->block_m;
    for (int32_t i = range[0]; i < range[1]; i++, bs += p->block_k)
        memcpy(bs, g->b_f32 + col * p->k + g->pattern.col_idx[i] * (int64_t)p->block_k,
               (size_t)p->block_k * sizeof *bs);
}

/* One row in float32, as a kernel would. as, bs: room for k values. */
static void compute_row(void *out, const gate *g, int64_t row, order how, const fault *wrong, float *as,
                        float *bs) {
    const tri_problem *p = &g->problem;
    int64_t count = gather_a(as, g, row, wrong);
    for (int64_t col = 0; col < p->n; col++) {
        gather_b(bs, g, row, col);
        for (int64_t i = 0; i < count && how != FUSED; i++)
            bs[i] *= as[i];
        float sum = how == FUSED ? fused(as, bs, count) : sum_terms(bs, count, p->block_k, how);
        if (g->scale_a)
            sum = (p->scale_per_block ? 1 : g->scale_a[0]) * sum * g->scale_b;
        float v = wrong->alpha * sum + (p->bias ? tri_to_float(g->bias, p->out_type, (size_t)row) : 0);
        size_t at = (size_t)c_at(p, row, col);
        if (wrong->beta != 0)
            v += wrong->beta * tri_to_float(g->c_in, p->out_type, at);
        tri_from_float(out, p->out_type, at, activate(p->activation, v));
    }
}

static void compute_rows(void *out, const gate *g, int64_t begin, int64_t end, order how,
                         const fault *wrong) {
    size_t room = (size_t)g->problem.k + 1;
#pragma omp parallel
    {
        float *as = malloc(2 * room * sizeof *as);
#pragma omp for schedule(dynamic)
        for (int64_t row = begin; row < end; row++)
            compute_row(out, g, row, how, wrong, as, as + room);
        free(as);
    }
}

static void compute(void *out, const gate *g, order how, const fault *wrong) {
    compute_rows(out, g, 0, g->problem.m, how, wrong);
}

static fault no_fault(const gate *g) {
    return (fault){(float)g->operands.alpha, (float)g->operands.beta, -1, -1};
}

static void *draw(triage_dtype dtype, int64_t count, uint64_t seed) {
    void *data = calloc((size_t)count + 1, tri_dtype_size(dtype));
    assert_non_null(data);
    assert_int_equal(tri_fill_normal(data, dtype, (size_t)count, seed), TRIAGE_OK);
    return data;
}

static float *widen_values(const gate *g, int64_t count) {
    float *wide = calloc((size_t)count + 1, sizeof *wide);
    assert_non_null(wide);
    for (int64_t i = 0; i < count; i++)
        wide[i] = tri_to_float(g->values, g->problem.in_type, (size_t)i);
    return wide;
}

static float *widen_b(const gate *g) {
    const tri_problem *p = &g->problem;
    float *wide = calloc((size_t)(p->n * p->k), sizeof *wide);
    assert_non_null(wide);
    for (int64_t col = 0; col < p->n; col++)
        for (int64_t k = 0; k < p->k; k++) {
            int64_t at = p->b_layout == TRIAGE_ROW_MAJOR ? k * p->ldb + col : col * p->ldb + k;
            wide[col * p->k + k] = tri_to_float(g->b, p->in_type, (size_t)at);
        }
    return wide;
}

static void make_operands(gate *g, double alpha, double beta) {
    tri_problem *p = &g->problem;
    int64_t c_count = p->ldc * (p->c_layout == TRIAGE_ROW_MAJOR ? p->m : p->n);
    int64_t values = p->nnzb * p->block_m * p->block_k;
    int64_t b_count = p->ldb * (p->b_layout == TRIAGE_ROW_MAJOR ? p->k : p->n);
    g->values = draw(p->in_type, values, 1);
    g->b = draw(p->in_type, b_count, 2);
    g->values_f32 = widen_values(g, values);
    g->b_f32 = widen_b(g);
    g->c_in = draw(p->out_type, c_count, 3);
    g->bias = draw(p->out_type, p->m, 4);
    g->plain = draw(p->out_type, c_count, 5);
    g->candidate = draw(p->out_type, c_count, 5);
    g->correct = draw(p->out_type, c_count, 5);
    g->c_bytes = (size_t)c_count * tri_dtype_size(p->out_type);
    if (p->in_type == TRIAGE_E4M3) {
        g->scale_a = draw(TRIAGE_F32, (int64_t)tri_problem_scales(p), 6);
        tri_fill_scales(g->scale_a, tri_problem_scales(p), 6);
        tri_fill_scales(&g->scale_b, 1, 7);
    }
    g->operands = (tri_bsr_operands){.problem = p,
                                     .pattern = &g->pattern,
                                     .values = g->values,
                                     .b = g->b,
                                     .c_in = g->c_in,
                                     .bias = p->bias ? g->bias : NULL,
                                     .scale_a = g->scale_a,
                                     .scale_b = g->scale_a ? &g->scale_b : NULL,
                                     .alpha = alpha,
                                     .beta = beta};
}

/* sampled: check a few rows only, as for a large problem (the first `sampled` of a stride). */
static void make_references(gate *g, int64_t sampled) {
    const tri_problem *p = &g->problem;
    assert_int_equal(tri_checked_rows(&g->rows, &g->count, p, &g->pattern, 1), TRIAGE_OK);
    if (sampled) {
        g->count = (size_t)sampled;
        for (int64_t i = 0; i < sampled; i++)
            g->rows[i] = i * (p->m / sampled);
    }
    g->references = calloc(g->count * (size_t)p->n, sizeof *g->references);
    assert_non_null(g->references);
    for (size_t i = 0; i < g->count; i++)
        tri_reference_row(g->references + i * (size_t)p->n, &g->operands, g->rows[i]);
}

static void gate_make(gate *g, const tri_problem *problem, const tri_pattern *pattern, double alpha,
                      double beta, int64_t sampled) {
    *g = (gate){.problem = *problem, .pattern = *pattern};
    tri_problem *p = &g->problem;
    p->nnzb = pattern->nnzb;
    p->ldb = p->b_layout == TRIAGE_ROW_MAJOR ? p->n : p->k;
    p->ldc = (p->c_layout == TRIAGE_ROW_MAJOR ? p->n : p->m) + 3;
    tri_fingerprint_of(&p->fingerprint, pattern);
    assert_int_equal(tri_problem_check(p), TRIAGE_OK);
    make_operands(g, alpha, beta);
    make_references(g, sampled);
    fault none = no_fault(g);
    compute(g->plain, g, ASCENDING, &none);
    if (tri_yardstick_make(&g->yardstick, p, g->plain, g->references, g->rows, g->count) != TRIAGE_OK)
        fail_msg("%s", triage_last_error());
}

static void gate_free(gate *g) {
    tri_pattern_free(&g->pattern);
    free(g->values);
    free(g->values_f32);
    free(g->b_f32);
    free(g->scale_a);
    free(g->correct);
    free(g->b);
    free(g->c_in);
    free(g->bias);
    free(g->plain);
    free(g->candidate);
    free(g->rows);
    free(g->references);
}

static tri_verdict judge(const gate *g) {
    tri_verdict verdict;
    tri_verdict_make(&verdict, &g->yardstick, &g->problem, g->candidate, g->plain, g->references, g->rows,
                     g->count);
    return verdict;
}

static void assert_all_orders_pass(gate *g) {
    fault none = no_fault(g);
    for (int how = ASCENDING; how <= FUSED; how++) {
        compute(g->candidate, g, (order)how, &none);
        tri_verdict v = judge(g);
        if (!v.right)
            fail_msg("order %d, m %d n %d k %d block %d type %s: %s", how, (int)g->problem.m,
                     (int)g->problem.n, (int)g->problem.k, (int)g->problem.block_k,
                     tri_dtype_name(g->problem.out_type), v.reason);
        assert_string_equal(v.reason, "");
        assert_int_equal(v.bad_row, -1);
        assert_int_equal(v.bad_col, -1);
        assert_true(v.row_error >= 0 && v.row_error <= 2 * g->yardstick.row_error);
    }
}

/* ---- correct results pass ---- */

typedef struct shape {
    int64_t m, n, k;
    int32_t block;
    double sparsity;
    int64_t sampled;
} shape;

static const shape shapes[] = {
    {64, 40, 64, 16, 0.5, 0},   {256, 48, 256, 32, 0.9, 0}, {64, 33, 512, 64, 0.2, 0},
    {8, 16, 2048, 8, 0, 0},     {512, 1, 256, 16, 0.8, 8},  {512, 1, 256, 16, 0.8, 1},
    {1024, 3, 128, 8, 0.7, 5},  {512, 8, 512, 16, 0.9, 4},  {384, 17, 128, 32, 0.6, 3},
    {1, 1, 1, 1, 0, 0},         {1, 1, 4096, 1, 0.5, 0},    {2048, 2, 64, 1, 0.9, 64},
    {256, 96, 256, 16, 0.9, 2}, {96, 20, 96, 32, 1, 0},
};

static const triage_dtype types[][2] = {{TRIAGE_F32, TRIAGE_F32},   {TRIAGE_F16, TRIAGE_F16},
                                        {TRIAGE_BF16, TRIAGE_BF16}, {TRIAGE_F16, TRIAGE_F32},
                                        {TRIAGE_BF16, TRIAGE_F32},  {TRIAGE_E4M3, TRIAGE_F16},
                                        {TRIAGE_E4M3, TRIAGE_BF16}, {TRIAGE_E4M3, TRIAGE_F32}};

static void correct_results_pass_in_every_order(void **state) {
    (void)state;
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
            const shape *is = &shapes[s];
            tri_pattern pattern;
            gate g;
            tri_problem problem = {.in_type = types[t][0],
                                   .out_type = types[t][1],
                                   .scale_per_block = types[t][0] == TRIAGE_E4M3 && s % 3 != 0,
                                   .b_layout = (triage_layout)(s % 2),
                                   .c_layout = (triage_layout)(t % 2),
                                   .m = is->m,
                                   .n = is->n,
                                   .k = is->k,
                                   .block_m = is->block,
                                   .block_k = is->block};
            assert_int_equal(
                tri_pattern_random(&pattern, is->m / is->block, is->k / is->block, is->sparsity, s + 1),
                TRIAGE_OK);
            gate_make(&g, &problem, &pattern, 1, 0, is->sampled);
            assert_all_orders_pass(&g);
            gate_free(&g);
        }
}

static void correct_results_pass_with_every_epilogue(void **state) {
    (void)state;
    const double factors[][2] = {{1, 0}, {0.5, 1}, {-3, 0.25}, {1e-3, 0}, {0, 1}, {100, -1}};
    for (int act = TRIAGE_ACT_NONE; act <= TRIAGE_ACT_SILU; act++)
        for (size_t f = 0; f < sizeof factors / sizeof *factors; f++)
            for (int t = TRIAGE_F32; t <= TRIAGE_BF16; t++) {
                tri_pattern pattern;
                gate g;
                tri_problem problem = {.in_type = (triage_dtype)t,
                                       .out_type = (triage_dtype)t,
                                       .activation = (triage_activation)act,
                                       .bias = f % 2,
                                       .m = 64,
                                       .n = 24,
                                       .k = 96,
                                       .block_m = 16,
                                       .block_k = 16};
                assert_int_equal(tri_pattern_random(&pattern, 4, 6, 0.6, 1), TRIAGE_OK);
                gate_make(&g, &problem, &pattern, factors[f][0], factors[f][1], f % 3 ? 6 : 0);
                assert_all_orders_pass(&g);
                gate_free(&g);
            }
}

/* Rows of 0, 1 and many blocks, few of them checked. */
static void correct_results_pass_on_an_uneven_pattern(void **state) {
    (void)state;
    for (int t = TRIAGE_F32; t <= TRIAGE_BF16; t++) {
        tri_pattern pattern;
        gate g;
        int32_t row_ptr[33] = {0}, col_idx[1024];
        for (int row = 0; row < 32; row++) {
            int count = row % 4 == 0 ? 0 : row == 5 ? 32 : row % 3;
            for (int i = 0; i < count; i++)
                col_idx[row_ptr[row] + i] = i;
            row_ptr[row + 1] = row_ptr[row] + count;
        }
        assert_int_equal(tri_pattern_copy(&pattern, 32, 32, row_ptr[32], row_ptr, col_idx), TRIAGE_OK);
        tri_problem problem = {.in_type = (triage_dtype)t,
                               .out_type = (triage_dtype)t,
                               .m = 512,
                               .n = 40,
                               .k = 512,
                               .block_m = 16,
                               .block_k = 16};
        gate_make(&g, &problem, &pattern, 1, 0, 8);
        assert_all_orders_pass(&g);
        gate_free(&g);
    }
}

/* f16 reaches 65504: larger sums are infinite in every correct kernel. Tiny ones are subnormal. */
static void correct_results_pass_at_the_ends_of_the_type(void **state) {
    (void)state;
    const double alphas[] = {20000, 1e5, 1e-4, 1e-6, 1e-7, 1e-9};
    for (size_t i = 0; i < sizeof alphas / sizeof *alphas; i++) {
        tri_pattern pattern;
        gate g;
        tri_problem problem = {.in_type = TRIAGE_F16,
                               .out_type = TRIAGE_F16,
                               .m = 64,
                               .n = 64,
                               .k = 64,
                               .block_m = 16,
                               .block_k = 16};
        assert_int_equal(tri_pattern_random(&pattern, 4, 4, 0.5, 1), TRIAGE_OK);
        gate_make(&g, &problem, &pattern, alphas[i], 0, 0);
        assert_all_orders_pass(&g);
        fault none = no_fault(&g);
        compute(g.candidate, &g, PAIRWISE, &none);
        int64_t infinite = 0;
        for (int64_t at = 0; at < 64 * 67; at++)
            infinite += isinf(tri_to_float(g.plain, TRIAGE_F16, (size_t)at)) != 0;
        if (alphas[i] > 1) {
            assert_true(infinite > 0);
            for (int64_t at = 0; infinite; at++) /* an infinity of the wrong sign */
                if (at % 67 < 64 && isinf(tri_to_float(g.plain, TRIAGE_F16, (size_t)at))) {
                    tri_from_float(g.candidate, TRIAGE_F16, (size_t)at,
                                   -tri_to_float(g.plain, TRIAGE_F16, (size_t)at));
                    break;
                }
            assert_false(judge(&g).right);
        }
        gate_free(&g);
    }
}

/* ---- wrong results fail ---- */

typedef struct mutant {
    const char *name;
    void (*apply)(gate *g);
} mutant;

static float get(const gate *g, int64_t row, int64_t col) {
    return tri_to_float(g->candidate, g->problem.out_type, (size_t)c_at(&g->problem, row, col));
}

static void put(gate *g, int64_t row, int64_t col, float value) {
    tri_from_float(g->candidate, g->problem.out_type, (size_t)c_at(&g->problem, row, col), value);
}

static bool is_checked(const gate *g, int64_t row) {
    for (size_t i = 0; i < g->count; i++)
        if (g->rows[i] == row)
            return true;
    return false;
}

/* A row that float64 does not check, if there is one, and that has blocks. */
static int64_t victim(const gate *g) {
    for (int64_t row = g->problem.m - 2; row >= 0; row--) {
        const int32_t *range = g->pattern.row_ptr + row / g->problem.block_m;
        if (range[1] - range[0] >= 1 && (!is_checked(g, row) || g->count == (size_t)g->problem.m))
            return row;
    }
    fail_msg("no row to break");
    return -1;
}

static double rms(const gate *g, int64_t row) {
    double sum = 0;
    for (int64_t col = 0; col < g->problem.n; col++)
        sum += (double)get(g, row, col) * (double)get(g, row, col);
    return sqrt(sum / (double)g->problem.n);
}

static void recompute(gate *g, fault wrong) {
    compute(g->candidate, g, BY_BLOCK, &wrong);
}

static void zero_output(gate *g) {
    memset(g->candidate, 0, g->c_bytes);
}

static void leave_poison(gate *g) {
    memset(g->candidate, 0xff, g->c_bytes);
}

static void drop_first_block(gate *g) {
    fault wrong = no_fault(g);
    wrong.row = victim(g);
    wrong.drop = 0;
    compute_rows(g->candidate, g, wrong.row, wrong.row + 1, BY_BLOCK, &wrong);
}

static void drop_last_block(gate *g) {
    fault wrong = no_fault(g);
    wrong.row = victim(g);
    const int32_t *range = g->pattern.row_ptr + wrong.row / g->problem.block_m;
    wrong.drop = range[1] - range[0] - 1;
    compute_rows(g->candidate, g, wrong.row, wrong.row + 1, BY_BLOCK, &wrong);
}

static void wrong_row(gate *g) {
    int64_t row = victim(g);
    for (int64_t col = 0; col < g->problem.n; col++)
        put(g, row, col, 1.01f * get(g, row, col));
}

static void one_nan(gate *g) {
    put(g, victim(g), g->problem.n - 1, NAN);
}

static void one_infinity(gate *g) {
    put(g, victim(g), 0, INFINITY);
}

/* For f16 and bf16 8 units in the last place of a number of the row's size; for f32, where correct kernels
 * differ by what summing costs, 8 times that. */
static void one_element_off(gate *g) {
    const double ulps[] = {0x1p-23, 0x1p-10, 0x1p-7};
    int64_t row = victim(g), col = 0;
    double scale = rms(g, row), step = 8 * ulps[g->problem.out_type] * scale;
    if (g->problem.out_type == TRIAGE_F32)
        step = 8 * g->yardstick.element_error * 0x1p-24 * scale;
    for (int64_t j = 0; j < g->problem.n; j++) /* on an element no larger than the row's */
        if (fabs((double)get(g, row, j)) <= scale)
            col = j;
    put(g, row, col, (float)((double)get(g, row, col) + step));
}

static void swap_rows(gate *g) {
    int64_t a = victim(g), b = a - 1;
    for (int64_t col = 0; col < g->problem.n; col++) {
        float kept = get(g, a, col);
        put(g, a, col, get(g, b, col));
        put(g, b, col, kept);
    }
}

static void shift_columns(gate *g) {
    int64_t row = victim(g);
    float first = get(g, row, 0);
    for (int64_t col = 0; col + 1 < g->problem.n; col++)
        put(g, row, col, get(g, row, col + 1));
    put(g, row, g->problem.n - 1, first);
}

static void ignore_alpha(gate *g) {
    fault wrong = no_fault(g);
    wrong.alpha = 1;
    recompute(g, wrong);
}

static void ignore_beta(gate *g) {
    fault wrong = no_fault(g);
    wrong.beta = 0;
    recompute(g, wrong);
}

/* Sums kept in float16: every element a little off, none by much. */
static void narrow_accumulator(gate *g) {
    triage_dtype out = g->problem.out_type;
    for (int64_t row = 0; row < g->problem.m; row++) {
        double scale = rms(g, row);
        for (int64_t col = 0; col < g->problem.n; col++) {
            float unit = out == TRIAGE_BF16 ? 0x1p-6f : 0x1p-9f, sign = (row + col) % 2 ? -1 : 1;
            put(g, row, col, get(g, row, col) + sign * unit * (float)scale);
        }
    }
}

static void nothing_written_in_one_element(gate *g) {
    uint16_t ones = 0xffff;
    if (g->problem.out_type == TRIAGE_F32)
        put(g, victim(g), 1, NAN);
    else
        memcpy((uint16_t *)g->candidate + c_at(&g->problem, victim(g), 1), &ones, 2);
}

static const mutant mutants[] = {
    {"zero output", zero_output},
    {"poison left", leave_poison},
    {"first block of a row dropped", drop_first_block},
    {"last block of a row dropped", drop_last_block},
    {"one wrong row", wrong_row},
    {"one NaN", one_nan},
    {"one infinity", one_infinity},
    {"one element off", one_element_off},
    {"two rows swapped", swap_rows},
    {"columns of a row shifted", shift_columns},
    {"alpha ignored", ignore_alpha},
    {"beta ignored", ignore_beta},
    {"narrow accumulator", narrow_accumulator},
    {"one element not written", nothing_written_in_one_element},
};

static void assert_all_mutants_fail(gate *g) {
    fault none = no_fault(g);
    compute(g->correct, g, BY_BLOCK, &none);
    for (size_t i = 0; i < sizeof mutants / sizeof *mutants; i++) {
        memcpy(g->candidate, g->correct, g->c_bytes);
        assert_true(judge(g).right);
        mutants[i].apply(g);
        tri_verdict v = judge(g);
        if (v.right)
            fail_msg("%s passed (%s, sampled %zu of %d, element distance %g, limit %g)", mutants[i].name,
                     tri_dtype_name(g->problem.out_type), g->count, (int)g->problem.m, v.element_distance,
                     3 * g->yardstick.element_error);
        assert_true(v.reason[0] != '\0');
        assert_in_range(v.bad_row, 0, g->problem.m - 1);
        assert_in_range(v.bad_col, 0, g->problem.n - 1);
        assert_true(isfinite(v.row_error) && isfinite(v.element_error) && isfinite(v.row_distance) &&
                    isfinite(v.element_distance));
    }
}

static void wrong_results_fail(void **state) {
    (void)state;
    const shape broken[] = {
        {64, 40, 128, 16, 0.5, 0}, {256, 64, 256, 16, 0.9, 4}, {256, 33, 512, 32, 0.8, 16}};
    for (size_t s = 0; s < sizeof broken / sizeof *broken; s++)
        for (int t = TRIAGE_F32; t <= TRIAGE_BF16; t++)
            for (int layout = 0; layout < 2; layout++) {
                const shape *is = &broken[s];
                tri_pattern pattern;
                gate g;
                tri_problem problem = {.in_type = (triage_dtype)t,
                                       .out_type = (triage_dtype)t,
                                       .c_layout = (triage_layout)layout,
                                       .m = is->m,
                                       .n = is->n,
                                       .k = is->k,
                                       .block_m = is->block,
                                       .block_k = is->block};
                assert_int_equal(
                    tri_pattern_random(&pattern, is->m / is->block, is->k / is->block, is->sparsity, 1),
                    TRIAGE_OK);
                gate_make(&g, &problem, &pattern, 0.5, 0.75, is->sampled);
                assert_all_mutants_fail(&g);
                gate_free(&g);
            }
}

/* Scales that are left out, or another block's. */
static void wrong_scales_fail(void **state) {
    (void)state;
    for (int t = TRIAGE_F32; t <= TRIAGE_BF16; t++)
        for (int fault_of = 0; fault_of < 5; fault_of++) {
            tri_pattern pattern;
            gate g;
            tri_problem problem = {.in_type = TRIAGE_E4M3,
                                   .out_type = (triage_dtype)t,
                                   .scale_per_block = fault_of >= 3,
                                   .b_layout = TRIAGE_COL_MAJOR,
                                   .c_layout = TRIAGE_COL_MAJOR,
                                   .m = 128,
                                   .n = 40,
                                   .k = 256,
                                   .block_m = 32,
                                   .block_k = 32};
            assert_int_equal(tri_pattern_random(&pattern, 4, 8, 0.5, 1), TRIAGE_OK);
            gate_make(&g, &problem, &pattern, 1, 0, 0);
            fault none = no_fault(&g);
            if (fault_of == 0)
                g.scale_a[0] = 1;
            else if (fault_of == 1)
                g.scale_b = 1;
            else if (fault_of == 2)
                g.scale_a[0] = g.scale_b = 1;
            else if (fault_of == 3)
                g.scale_a[5] = g.scale_a[6];
            else
                g.scale_a[5] = 1;
            compute(g.candidate, &g, BY_BLOCK, &none);
            assert_false(judge(&g).right);
            gate_free(&g);
        }
}

static void verdict_names_the_place(void **state) {
    (void)state;
    tri_pattern pattern;
    gate g;
    tri_problem problem = {.in_type = TRIAGE_F16,
                           .out_type = TRIAGE_F16,
                           .m = 256,
                           .n = 64,
                           .k = 256,
                           .block_m = 16,
                           .block_k = 16};
    assert_int_equal(tri_pattern_random(&pattern, 16, 16, 0.5, 1), TRIAGE_OK);
    gate_make(&g, &problem, &pattern, 1, 0, 4);
    for (int64_t row = 63; row < 66; row++) { /* 64 is checked, its neighbours are not */
        memcpy(g.candidate, g.plain, g.c_bytes);
        put(&g, row, 17, 100);
        tri_verdict v = judge(&g);
        assert_int_equal(v.bad_row, row);
        assert_int_equal(v.bad_col, 17);
        assert_non_null(strstr(v.reason, row == 64 ? "float64" : "plain kernel"));
        put(&g, row, 17, NAN);
        v = judge(&g);
        assert_int_equal(v.bad_row, row);
        assert_int_equal(v.bad_col, 17);
        assert_non_null(strstr(v.reason, "NaN"));
    }
    gate_free(&g);
}

static void short_rows_can_fail_too(void **state) {
    (void)state;
    for (int t = TRIAGE_F32; t <= TRIAGE_BF16; t++) {
        tri_pattern pattern;
        gate g;
        tri_problem problem = {.in_type = (triage_dtype)t,
                               .out_type = (triage_dtype)t,
                               .m = 512,
                               .n = 1,
                               .k = 512,
                               .block_m = 16,
                               .block_k = 16};
        assert_int_equal(tri_pattern_random(&pattern, 32, 32, 0.9, 1), TRIAGE_OK);
        gate_make(&g, &problem, &pattern, 1, 0, 8);
        for (int how = 0; how < 3; how++) {
            fault none = no_fault(&g);
            recompute(&g, none);
            if (how == 0)
                drop_last_block(&g);
            else if (how == 1)
                swap_rows(&g);
            else
                zero_output(&g);
            assert_false(judge(&g).right);
        }
        gate_free(&g);
    }
}

/* ---- the yardstick and its rows ---- */

static void yardstick_refuses_a_wrong_plain_kernel(void **state) {
    (void)state;
    tri_pattern pattern;
    gate g;
    tri_yardstick y;
    tri_problem problem = {.in_type = TRIAGE_F16,
                           .out_type = TRIAGE_F16,
                           .m = 64,
                           .n = 32,
                           .k = 128,
                           .block_m = 16,
                           .block_k = 16};
    assert_int_equal(tri_pattern_random(&pattern, 4, 8, 0.5, 1), TRIAGE_OK);
    gate_make(&g, &problem, &pattern, 1, 0, 4);
    float kept = tri_to_float(g.plain, TRIAGE_F16, 5);
    tri_from_float(g.plain, TRIAGE_F16, 35 * 33 + 2, NAN); /* in a row that is not checked */
    assert_int_equal(tri_yardstick_make(&y, &g.problem, g.plain, g.references, g.rows, g.count),
                     TRIAGE_E_WRONG);
    assert_string_equal(triage_last_error(), "the plain kernel left a NaN in row 33");
    tri_from_float(g.plain, TRIAGE_F16, 35 * 33 + 2, 0);
    tri_from_float(g.plain, TRIAGE_F16, 5, kept + 1);
    assert_int_equal(tri_yardstick_make(&y, &g.problem, g.plain, g.references, g.rows, g.count),
                     TRIAGE_E_WRONG);
    assert_non_null(strstr(triage_last_error(), "the plain kernel itself is wrong: row 0"));
    tri_from_float(g.plain, TRIAGE_F16, 5, kept);
    g.references[3] = INFINITY;
    assert_int_equal(tri_yardstick_make(&y, &g.problem, g.plain, g.references, g.rows, g.count),
                     TRIAGE_E_INVALID);
    gate_free(&g);
}

static void a_broken_yardstick_lets_nothing_through(void **state) {
    (void)state;
    tri_pattern pattern;
    gate g;
    tri_problem problem = {.m = 32, .n = 32, .k = 32, .block_m = 16, .block_k = 16};
    assert_int_equal(tri_pattern_random(&pattern, 2, 2, 0.5, 1), TRIAGE_OK);
    gate_make(&g, &problem, &pattern, 1, 0, 0);
    memcpy(g.candidate, g.plain, g.c_bytes);
    assert_true(judge(&g).right);
    g.yardstick.row_error = NAN;
    assert_false(judge(&g).right);
    g.count = 0;
    assert_string_equal(judge(&g).reason, "no row was checked against float64");
    assert_false(judge(&g).right);
    gate_free(&g);
}

static void checked_rows(void **state) {
    (void)state;
    int64_t *rows, *again;
    size_t count;
    tri_pattern pattern;
    int32_t row_ptr[129], col_idx[200] = {0};
    for (int i = 0; i <= 128; i++)
        row_ptr[i] = i + (i > 77) * 5; /* block row 77 is the longest */
    for (int i = 0; i < 6; i++)
        col_idx[77 + i] = i;
    assert_int_equal(tri_pattern_copy(&pattern, 128, 128, 133, row_ptr, col_idx), TRIAGE_OK);
    tri_problem p = {.m = 8192, .n = 8192, .k = 8192, .block_m = 64, .block_k = 64, .nnzb = 1638};
    assert_int_equal(tri_checked_rows(&rows, &count, &p, &pattern, 1), TRIAGE_OK);
    assert_int_equal(count, 64);
    assert_int_equal(rows[0], 0);
    assert_int_equal(rows[63], 8191);
    bool longest = false;
    for (size_t i = 0; i < count; i++) {
        longest = longest || rows[i] / 64 == 77;
        if (i)
            assert_true(rows[i] > rows[i - 1]);
    }
    assert_true(longest);
    assert_int_equal(tri_checked_rows(&again, &count, &p, &pattern, 1), TRIAGE_OK);
    assert_memory_equal(rows, again, 64 * sizeof *rows);
    free(again);
    assert_int_equal(tri_checked_rows(&again, &count, &p, &pattern, 2), TRIAGE_OK);
    assert_memory_not_equal(rows, again, 64 * sizeof *rows);
    free(again);
    free(rows);
    p.n = 16; /* small: all of them */
    p.nnzb = 133;
    assert_int_equal(tri_checked_rows(&rows, &count, &p, &pattern, 1), TRIAGE_OK);
    assert_int_equal(count, 8192);
    for (int64_t i = 0; i < 8192; i++)
        assert_int_equal(rows[i], i);
    free(rows);
    p.n = INT32_MAX; /* a row of references is 16 GiB: few, but never none */
    assert_int_equal(tri_checked_rows(&rows, &count, &p, &pattern, 1), TRIAGE_OK);
    assert_int_equal(count, 4);
    free(rows);
    tri_pattern_free(&pattern);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(correct_results_pass_in_every_order),
        cmocka_unit_test(correct_results_pass_with_every_epilogue),
        cmocka_unit_test(correct_results_pass_on_an_uneven_pattern),
        cmocka_unit_test(correct_results_pass_at_the_ends_of_the_type),
        cmocka_unit_test(wrong_results_fail),
        cmocka_unit_test(wrong_scales_fail),
        cmocka_unit_test(verdict_names_the_place),
        cmocka_unit_test(short_rows_can_fail_too),
        cmocka_unit_test(yardstick_refuses_a_wrong_plain_kernel),
        cmocka_unit_test(a_broken_yardstick_lets_nothing_through),
        cmocka_unit_test(checked_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
