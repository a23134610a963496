/* One row of C in float64. A product of two values of any in_type is exact in float64, so the only error is
 * that of at most k additions: 2^-53 k, far below the unit of every out_type. */
#include "base/convert.h"
#include "op/bsr_gemm/bsr_gemm.h"

#include <math.h>

#define CHUNK 1024 /* columns at a time: out's part stays in the first-level cache */
#define BLOCK_MAX 1024
#define PARALLEL_WORK 1 << 16 /* products; less is not worth waking threads for */

/* For each type: out[j] += a * b[j], and the dot product of a block row with a piece of B's column. */
#define DEFINE_LOOPS(suffix, type)                                                                           \
    static void axpy_##suffix(double *restrict out, double a, const void *from, size_t offset, int count) {  \
        const type *b = (const type *)from + offset;                                                         \
        for (int j = 0; j < count; j++)                                                                      \
            out[j] += a * (double)tri_float_of_##suffix(b[j]);                                               \
    }                                                                                                        \
    static double dot_##suffix(const double *a, const void *from, size_t b_at, int count) {                  \
        const type *b = (const type *)from + b_at;                                                           \
        double sum = 0;                                                                                      \
        _Pragma("omp simd reduction(+ : sum)") for (int k = 0; k < count; k++) sum +=                        \
            a[k] * (double)tri_float_of_##suffix(b[k]);                                                      \
        return sum;                                                                                          \
    }

DEFINE_LOOPS(f32, float)
DEFINE_LOOPS(f16, uint16_t)
DEFINE_LOOPS(bf16, uint16_t)
DEFINE_LOOPS(e4m3, uint8_t)

typedef void (*axpy_fn)(double *restrict, double, const void *, size_t, int);
typedef double (*dot_fn)(const double *, const void *, size_t, int);
static const axpy_fn axpy_of[] = {axpy_f32, axpy_f16, axpy_bf16, axpy_e4m3};
static const dot_fn dot_of[] = {dot_f32, dot_f16, dot_bf16, dot_e4m3};

static double block_scale(const tri_bsr_operands *operands, int32_t block) {
    double b = operands->scale_b ? operands->scale_b[0] : 1.0;
    if (!operands->scale_a)
        return b;
    return b * operands->scale_a[tri_bsr(operands->problem)->scale_per_block ? block : 0];
}

/* The block's part of the row as float64: of a transposed A it is a column of the stored block. */
static void row_of_block(double *out, const tri_bsr_operands *operands, int32_t block, int64_t row) {
    const tri_bsr_problem *p = tri_bsr(operands->problem);
    const int64_t inner = row % p->block_m, place = p->a_transposed ? operands->blocks[block].place : block;
    const int64_t first = place * p->block_m * p->block_k + (p->a_transposed ? inner : inner * p->block_k),
                  step = p->a_transposed ? p->block_m : 1;
    for (int64_t k = 0; k < p->block_k; k++)
        out[k] = (double)tri_to_float(operands->values, p->in_type, (size_t)(first + k * step));
}

static void sum_row_major(double *out, const tri_bsr_operands *operands, int64_t row, int64_t col,
                          int count) {
    const tri_bsr_problem *problem = tri_bsr(operands->problem);
    const tri_pattern *pattern = operands->pattern;
    int64_t block_row = row / problem->block_m;
    for (int32_t i = pattern->row_ptr[block_row]; i < pattern->row_ptr[block_row + 1]; i++) {
        double a[BLOCK_MAX];
        row_of_block(a, operands, i, row);
        size_t k0 = (size_t)pattern->col_idx[i] * (size_t)problem->block_k;
        double scale = block_scale(operands, i);
        for (size_t k = 0; k < (size_t)problem->block_k; k++)
            axpy_of[problem->in_type](out, scale * a[k], operands->b,
                                      (k0 + k) * (size_t)problem->ldb + (size_t)col, count);
    }
}

static void sum_col_major(double *out, const tri_bsr_operands *operands, int64_t row, int64_t col,
                          int count) {
    const tri_bsr_problem *problem = tri_bsr(operands->problem);
    const tri_pattern *pattern = operands->pattern;
    int64_t block_row = row / problem->block_m;
    for (int32_t i = pattern->row_ptr[block_row]; i < pattern->row_ptr[block_row + 1]; i++) {
        double a[BLOCK_MAX];
        row_of_block(a, operands, i, row);
        size_t k0 = (size_t)pattern->col_idx[i] * (size_t)problem->block_k;
        double scale = block_scale(operands, i);
        for (int j = 0; j < count; j++)
            out[j] += scale * dot_of[problem->in_type](a, operands->b,
                                                       (size_t)(col + j) * (size_t)problem->ldb + k0,
                                                       problem->block_k);
    }
}

static double activate(triage_activation activation, double v) {
    switch (activation) {
    case TRIAGE_ACT_NONE:
        break;
    case TRIAGE_ACT_RELU:
        return v < 0 ? 0 : v; /* keeps a NaN */
    case TRIAGE_ACT_GELU:
        return 0.5 * v * erfc(-v * 0.70710678118654752440); /* 1 + erf(x), without its cancellation */
    case TRIAGE_ACT_SILU:
        return v / (1 + exp(-v));
    }
    return v;
}

static void finish(double *out, const tri_bsr_operands *operands, int64_t row, int64_t col, int count) {
    const tri_bsr_problem *problem = tri_bsr(operands->problem);
    triage_dtype type = problem->out_type;
    double bias = operands->bias ? (double)tri_to_float(operands->bias, type, (size_t)row) : 0;
    for (int j = 0; j < count; j++) {
        double v = operands->alpha * out[j] + bias;
        if (operands->beta != 0) {
            int64_t at = problem->c_layout == TRIAGE_ROW_MAJOR ? row * problem->ldc + col + j
                                                               : (col + j) * problem->ldc + row;
            v += operands->beta * (double)tri_to_float(operands->c_in, type, (size_t)at);
        }
        out[j] = activate(problem->activation, v);
    }
}

void tri_reference_row(double *out, const tri_bsr_operands *operands, int64_t row) {
    const tri_bsr_problem *problem = tri_bsr(operands->problem);
    const int32_t *row_ptr = operands->pattern->row_ptr + row / problem->block_m;
    int64_t work = (int64_t)(row_ptr[1] - row_ptr[0] + 1) * problem->block_k * problem->n;
#pragma omp parallel for schedule(dynamic) if (work > PARALLEL_WORK)
    for (int64_t col = 0; col < problem->n; col += CHUNK) {
        int count = (int)(problem->n - col < CHUNK ? problem->n - col : CHUNK);
        memset(out + col, 0, (size_t)count * sizeof *out);
        if (problem->b_layout == TRIAGE_ROW_MAJOR)
            sum_row_major(out + col, operands, row, col, count);
        else
            sum_col_major(out + col, operands, row, col, count);
        finish(out + col, operands, row, col, count);
    }
}

void tri_bsr_reference_row(double *const out[TRI_VIEWS_MAX], const tri_operands *operands, int64_t row) {
    const tri_input *inputs = operands->inputs->at;
    float alpha, beta;
    tri_bsr_case_factors(&alpha, &beta, operands->case_index);
    const tri_bsr_operands own = {.problem = operands->problem,
                                  .pattern = operands->pattern,
                                  .values = inputs[TRI_BSR_VALUES].data,
                                  .b = inputs[TRI_BSR_B].data,
                                  .c_in = beta == 0 ? NULL : inputs[TRI_BSR_C_IN].data,
                                  .bias = inputs[TRI_BSR_BIAS].data,
                                  .scale_a = inputs[TRI_BSR_SCALE_A].data,
                                  .scale_b = inputs[TRI_BSR_SCALE_B].data,
                                  .blocks = inputs[TRI_BSR_BLOCKS].data,
                                  .alpha = alpha,
                                  .beta = beta};
    tri_reference_row(out[0], &own, row);
}
