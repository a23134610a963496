/* A problem with its references and its plain result, and a kernel on the CPU that sums in any order and may be
 * wrong: what the tests of verdicts judge. */
#ifndef TRIAGE_TESTS_SUPPORT_VERDICT_GATE_H
#define TRIAGE_TESTS_SUPPORT_VERDICT_GATE_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/bsr_of.h"
#include "check/verdict.h"
#include "op/bsr_gemm/bsr_gemm.h"

typedef struct shape {
    int64_t m, n, k;
    int32_t block;
    double sparsity;
    int64_t sampled;
} shape;

typedef struct gate {
    tri_problem problem;
    tri_view view[TRI_VIEWS_MAX];
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
    return bsr_of(p)->c_layout == TRIAGE_ROW_MAJOR ? row * bsr_of(p)->ldc + col : col * bsr_of(p)->ldc + row;
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
    const int32_t *range = g->pattern.row_ptr + row / bsr_of(p)->block_m;
    int64_t count = 0;
    for (int32_t i = range[0]; i < range[1]; i++, count += bsr_of(p)->block_k) {
        bool dropped = row == wrong->row && i - range[0] == wrong->drop;
        memcpy(as + count,
               g->values_f32 + (i * bsr_of(p)->block_m + row % bsr_of(p)->block_m) * bsr_of(p)->block_k,
               (size_t)bsr_of(p)->block_k * sizeof *as);
        for (int32_t k = 0; g->scale_a && bsr_of(p)->scale_per_block && k < bsr_of(p)->block_k; k++)
            as[count + k] *= g->scale_a[i];
        if (dropped)
            memset(as + count, 0, (size_t)bsr_of(p)->block_k * sizeof *as);
    }
    return count;
}

/* What of a column of B they meet. */
static void gather_b(float *bs, const gate *g, int64_t row, int64_t col) {
    const tri_problem *p = &g->problem;
    const int32_t *range = g->pattern.row_ptr + row / bsr_of(p)->block_m;
    for (int32_t i = range[0]; i < range[1]; i++, bs += bsr_of(p)->block_k)
        memcpy(bs, g->b_f32 + col * bsr_of(p)->k + g->pattern.col_idx[i] * (int64_t)bsr_of(p)->block_k,
               (size_t)bsr_of(p)->block_k * sizeof *bs);
}

/* One row in float32, as a kernel would. as, bs: room for k values. */
static void compute_row(void *out, const gate *g, int64_t row, order how, const fault *wrong, float *as,
                        float *bs) {
    const tri_problem *p = &g->problem;
    int64_t count = gather_a(as, g, row, wrong);
    for (int64_t col = 0; col < bsr_of(p)->n; col++) {
        gather_b(bs, g, row, col);
        for (int64_t i = 0; i < count && how != FUSED; i++)
            bs[i] *= as[i];
        float sum = how == FUSED ? fused(as, bs, count) : sum_terms(bs, count, bsr_of(p)->block_k, how);
        if (g->scale_a)
            sum = (bsr_of(p)->scale_per_block ? 1 : g->scale_a[0]) * sum * g->scale_b;
        float v = wrong->alpha * sum +
                  (bsr_of(p)->bias ? tri_to_float(g->bias, bsr_of(p)->out_type, (size_t)row) : 0);
        size_t at = (size_t)c_at(p, row, col);
        if (wrong->beta != 0)
            v += wrong->beta * tri_to_float(g->c_in, bsr_of(p)->out_type, at);
        tri_from_float(out, bsr_of(p)->out_type, at, activate(bsr_of(p)->activation, v));
    }
}

static void compute_rows(void *out, const gate *g, int64_t begin, int64_t end, order how,
                         const fault *wrong) {
    size_t room = (size_t)bsr_of(&g->problem)->k + 1;
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
    compute_rows(out, g, 0, bsr_of(&g->problem)->m, how, wrong);
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
        wide[i] = tri_to_float(g->values, bsr_of(&g->problem)->in_type, (size_t)i);
    return wide;
}

static float *widen_b(const gate *g) {
    const tri_problem *p = &g->problem;
    float *wide = calloc((size_t)(bsr_of(p)->n * bsr_of(p)->k), sizeof *wide);
    assert_non_null(wide);
    for (int64_t col = 0; col < bsr_of(p)->n; col++)
        for (int64_t k = 0; k < bsr_of(p)->k; k++) {
            int64_t at =
                bsr_of(p)->b_layout == TRIAGE_ROW_MAJOR ? k * bsr_of(p)->ldb + col : col * bsr_of(p)->ldb + k;
            wide[col * bsr_of(p)->k + k] = tri_to_float(g->b, bsr_of(p)->in_type, (size_t)at);
        }
    return wide;
}

static void make_operands(gate *g, double alpha, double beta) {
    tri_problem *p = &g->problem;
    int64_t c_count =
        bsr_of(p)->ldc * (bsr_of(p)->c_layout == TRIAGE_ROW_MAJOR ? bsr_of(p)->m : bsr_of(p)->n);
    int64_t values = bsr_of(p)->nnzb * bsr_of(p)->block_m * bsr_of(p)->block_k;
    int64_t b_count =
        bsr_of(p)->ldb * (bsr_of(p)->b_layout == TRIAGE_ROW_MAJOR ? bsr_of(p)->k : bsr_of(p)->n);
    g->values = draw(bsr_of(p)->in_type, values, 1);
    g->b = draw(bsr_of(p)->in_type, b_count, 2);
    g->values_f32 = widen_values(g, values);
    g->b_f32 = widen_b(g);
    g->c_in = draw(bsr_of(p)->out_type, c_count, 3);
    g->bias = draw(bsr_of(p)->out_type, bsr_of(p)->m, 4);
    g->plain = draw(bsr_of(p)->out_type, c_count, 5);
    g->candidate = draw(bsr_of(p)->out_type, c_count, 5);
    g->correct = draw(bsr_of(p)->out_type, c_count, 5);
    g->c_bytes = (size_t)c_count * tri_dtype_size(bsr_of(p)->out_type);
    if (bsr_of(p)->in_type == TRIAGE_E4M3) {
        g->scale_a = draw(TRIAGE_F32, (int64_t)tri_bsr_scales(p), 6);
        tri_fill_scales(g->scale_a, tri_bsr_scales(p), 6);
        tri_fill_scales(&g->scale_b, 1, 7);
    }
    g->operands = (tri_bsr_operands){.problem = p,
                                     .pattern = &g->pattern,
                                     .values = g->values,
                                     .b = g->b,
                                     .c_in = g->c_in,
                                     .bias = bsr_of(p)->bias ? g->bias : NULL,
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
            g->rows[i] = i * (bsr_of(p)->m / sampled);
    }
    g->references = calloc(g->count * (size_t)bsr_of(p)->n, sizeof *g->references);
    assert_non_null(g->references);
    for (size_t i = 0; i < g->count; i++)
        tri_reference_row(g->references + i * (size_t)bsr_of(p)->n, &g->operands, g->rows[i]);
}

static void gate_make(gate *g, const tri_problem *problem, const tri_pattern *pattern, double alpha,
                      double beta, int64_t sampled) {
    *g = (gate){.problem = *problem, .pattern = *pattern};
    tri_problem *p = &g->problem;
    bsr_of(p)->nnzb = pattern->nnzb;
    bsr_of(p)->ldb = bsr_of(p)->b_layout == TRIAGE_ROW_MAJOR ? bsr_of(p)->n : bsr_of(p)->k;
    bsr_of(p)->ldc = (bsr_of(p)->c_layout == TRIAGE_ROW_MAJOR ? bsr_of(p)->n : bsr_of(p)->m) + 3;
    tri_fingerprint_of(&bsr_of(p)->fingerprint, pattern);
    assert_int_equal(tri_problem_check(p), TRIAGE_OK);
    tri_bsr_views(g->view, p);
    make_operands(g, alpha, beta);
    make_references(g, sampled);
    fault none = no_fault(g);
    compute(g->plain, g, ASCENDING, &none);
    if (tri_yardstick_make(&g->yardstick, g->view, g->plain, g->references, g->rows, g->count) != TRIAGE_OK)
        fail_msg("%s", triage_last_error());
}

/* The same with a random pattern. */
static void gate_draw(gate *g, const tri_problem *problem, double sparsity, uint64_t seed, double alpha,
                      double beta, int64_t sampled) {
    tri_pattern pattern;
    assert_int_equal(tri_pattern_random(&pattern, bsr_of(problem)->m / bsr_of(problem)->block_m,
                                        bsr_of(problem)->k / bsr_of(problem)->block_k, sparsity, seed),
                     TRIAGE_OK);
    gate_make(g, problem, &pattern, alpha, beta, sampled);
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
    tri_verdict_make(&verdict, &g->yardstick, g->view, g->candidate, g->plain, g->references, g->rows,
                     g->count);
    return verdict;
}

#endif
