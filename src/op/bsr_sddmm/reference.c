/* One row of a block of D in float64. A product of two values of any in_type is exact in float64, so the only error is that of
 * at most n additions: 2^-53 n, far below the unit of every out_type. */
#include "base/convert.h"
#include "op/bsr_sddmm/bsr_sddmm.h"

#define PARALLEL_WORK 1 << 16 /* products; less is not worth waking threads for */

/* The block row that a block is in. */
static int64_t row_of_block(const tri_pattern *pattern, int64_t block) {
    int64_t low = 0, high = pattern->block_rows - 1;
    while (low < high) {
        const int64_t middle = low + (high - low + 1) / 2;
        if (pattern->row_ptr[middle] <= block)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

static size_t place_of(triage_layout layout, int64_t line, int64_t n, int64_t ld) {
    return (size_t)(layout == TRIAGE_ROW_MAJOR ? line * ld + n : n * ld + line);
}

/* The sum of line `row` of Y with line `col` of X. */
static double dot(const tri_sddmm_problem *p, const tri_input *inputs, int64_t row, int64_t col) {
    const void *y = inputs[TRI_SDDMM_Y].data, *x = inputs[TRI_SDDMM_X].data;
    double sum = 0;
    for (int64_t n = 0; n < p->n; n++)
        sum += (double)tri_to_float(y, p->in_type, place_of(p->y_layout, row, n, p->ldy)) *
               (double)tri_to_float(x, p->in_type, place_of(p->x_layout, col, n, p->ldx));
    return sum;
}

void tri_sddmm_reference_row(double *const out[TRI_VIEWS_MAX], const tri_operands *operands, int64_t row) {
    const tri_sddmm_problem *p = tri_sddmm(operands->problem);
    const tri_input *inputs = operands->inputs->at;
    const int64_t block = row / p->block_m;
    const int64_t line = row_of_block(operands->pattern, block) * p->block_m + row % p->block_m;
    const int64_t col0 = (int64_t)operands->pattern->col_idx[block] * p->block_k;
    float alpha, beta;
    tri_sddmm_case_factors(&alpha, &beta, operands->case_index);
#pragma omp parallel for schedule(static) if (p->n * p->block_k > PARALLEL_WORK)
    for (int64_t j = 0; j < p->block_k; j++) {
        out[0][j] = alpha * dot(p, inputs, line, col0 + j);
        if (beta != 0)
            out[0][j] += beta * (double)tri_to_float(inputs[TRI_SDDMM_D_IN].data, p->out_type,
                                                     (size_t)(row * p->block_k + j));
    }
}
