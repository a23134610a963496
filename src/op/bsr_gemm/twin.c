/* The dense product that does the same: A with its zeros. */
#include "op/bsr_gemm/bsr_gemm.h"

#include <string.h>

triage_status tri_bsr_dense_twin(tri_gemm *out, const tri_problem *of) {
    const tri_bsr_problem *problem = tri_bsr(of);
    *out = (tri_gemm){.in_type = problem->in_type,
                      .out_type = problem->out_type,
                      .b_layout = problem->b_layout,
                      .c_layout = problem->c_layout,
                      .m = problem->m,
                      .n = problem->n,
                      .k = problem->k};
    if (problem->bias || problem->activation != TRIAGE_ACT_NONE)
        return tri_fail(TRIAGE_E_UNSUPPORTED, "the library's product has no epilogue like this problem's");
    return TRIAGE_OK;
}

static void place_block(unsigned char *to, size_t line, const unsigned char *block,
                        const tri_bsr_problem *p) {
    const size_t size = tri_dtype_size(p->in_type), row = p->a_transposed ? size : (size_t)p->block_k * size,
                 column = p->a_transposed ? (size_t)p->block_m * size : size;
    for (int32_t r = 0; r < p->block_m; r++)
        for (int32_t c = 0; c < p->block_k; c++)
            memcpy(to + (size_t)r * line + (size_t)c * size, block + (size_t)r * row + (size_t)c * column,
                   size);
}

/* A zero is all bits clear in each type. */
triage_status tri_bsr_densify(void **out, size_t *bytes, const tri_operands *operands) {
    const tri_bsr_problem *p = tri_bsr(operands->problem);
    const tri_pattern *pattern = operands->pattern;
    const size_t size = tri_dtype_size(p->in_type), width = (size_t)p->block_k * size,
                 line = (size_t)p->k * size;
    const unsigned char *values = operands->inputs->at[TRI_BSR_VALUES].data;
    const tri_transposed_block *blocks = operands->inputs->at[TRI_BSR_BLOCKS].data;
    unsigned char *dense = NULL;
    triage_status status = tri_calloc(&dense, (size_t)p->m, line);
    if (status != TRIAGE_OK)
        return status;
    for (int64_t row = 0; row < pattern->block_rows; row++)
        for (int32_t i = pattern->row_ptr[row]; i < pattern->row_ptr[row + 1]; i++)
            place_block(dense + (size_t)(row * p->block_m) * line + (size_t)pattern->col_idx[i] * width, line,
                        values + (size_t)(p->a_transposed ? blocks[i].place : i) * (size_t)p->block_m * width,
                        p);
    *out = dense;
    *bytes = (size_t)p->m * line;
    return TRIAGE_OK;
}

void tri_bsr_dense_arguments(tri_gemm_args *out, const tri_binding *binding, tri_address a) {
    const tri_bsr_problem *problem = tri_bsr(binding->problem);
    *out = (tri_gemm_args){.a = (const void *)(uintptr_t)a,
                           .b = (const void *)(uintptr_t)binding->inputs->at[TRI_BSR_B].address,
                           .c = (void *)(uintptr_t)binding->results[0],
                           .ldb = problem->ldb,
                           .ldc = problem->ldc};
    tri_bsr_case_factors(&out->alpha, &out->beta, binding->case_index);
}
