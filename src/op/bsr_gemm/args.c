/* The argument block of a bsr_gemm launch, the one place that knows how its fields come about. */
#include "op/bsr_gemm/bsr_gemm.h"

#include <string.h>

static const void *pointer(tri_address address) {
    return (const void *)(uintptr_t)address;
}

/* Values are one tall matrix of block rows, so that a tile of a block is a box of it. */
static triage_status make_maps(tri_bsr_gemm_args *out, tri_device *device, const tri_launch *launch,
                               const tri_bsr_problem *p, const tri_bsr_buffers *buffers) {
    triage_status status = TRIAGE_OK;
    const int64_t width = p->a_transposed ? p->block_m : p->block_k,
                  height = p->a_transposed ? p->block_k : p->block_m; /* of a stored block */
    bool b_row = p->b_layout == TRIAGE_ROW_MAJOR, c_row = p->c_layout == TRIAGE_ROW_MAJOR;
    if (p->nnzb > 0)
        TRI_TRY(tri_tensor_map_make(&out->map_a, device, &launch->maps[TRI_BSR_MAP_A], p->in_type,
                                    buffers->values, width, p->nnzb * height, width));
    TRI_TRY(tri_tensor_map_make(&out->map_b, device, &launch->maps[TRI_BSR_MAP_B], p->in_type, buffers->b,
                                b_row ? p->n : p->k, b_row ? p->k : p->n, p->ldb));
    TRI_TRY(tri_tensor_map_make(&out->map_c, device, &launch->maps[TRI_BSR_MAP_C], p->out_type, buffers->c,
                                c_row ? p->n : p->m, c_row ? p->m : p->n, p->ldc));
done:
    return status;
}

triage_status tri_bsr_args_make(struct tri_bsr_gemm_args *out, tri_device *device, const tri_launch *launch,
                                const tri_problem *of, const tri_bsr_buffers *buffers, float alpha,
                                float beta) {
    const tri_bsr_problem *problem = tri_bsr(of);
    memset(out, 0, sizeof *out);
    out->values = pointer(buffers->values);
    out->row_ptr = pointer(buffers->row_ptr);
    out->col_idx = pointer(problem->a_transposed ? buffers->blocks : buffers->col_idx);
    out->rows = pointer(buffers->schedule.rows);
    out->panels = pointer(buffers->schedule.panels);
    out->steps = pointer(buffers->schedule.steps);
    out->deal = pointer(buffers->schedule.deal);
    out->b = pointer(buffers->b);
    out->c = (void *)(uintptr_t)buffers->c;
    out->bias = pointer(buffers->bias);
    out->scale_a = pointer(buffers->scale_a);
    out->scale_b = pointer(buffers->scale_b);
    out->workspace = (void *)(uintptr_t)buffers->workspace;
    out->ldb = problem->ldb;
    out->ldc = problem->ldc;
    out->m = (int)problem->m;
    out->n = (int)problem->n;
    out->k = (int)problem->k;
    /* dealt panels: to the kernel, slots without a row and each piece of a row are block rows too */
    out->block_rows =
        (int)(buffers->schedule.slots ? buffers->schedule.slots : problem->m / problem->block_m);
    out->alpha = alpha;
    out->beta = beta;
    return make_maps(out, device, launch, problem, buffers);
}

triage_status tri_bsr_arguments(void *out, const tri_binding *binding) {
    const tri_input *inputs = binding->inputs->at;
    const tri_device_schedule *schedule = binding->prepared;
    tri_bsr_buffers buffers = {.values = inputs[TRI_BSR_VALUES].address,
                               .row_ptr = inputs[TRI_BSR_ROW_PTR].address,
                               .col_idx = inputs[TRI_BSR_COL_IDX].address,
                               .b = inputs[TRI_BSR_B].address,
                               .c = binding->results[0],
                               .bias = inputs[TRI_BSR_BIAS].address,
                               .scale_a = inputs[TRI_BSR_SCALE_A].address,
                               .scale_b = inputs[TRI_BSR_SCALE_B].address,
                               .workspace = binding->workspace,
                               .blocks = inputs[TRI_BSR_BLOCKS].address};
    float alpha, beta;
    if (schedule)
        buffers.schedule = *schedule;
    tri_bsr_case_factors(&alpha, &beta, binding->case_index);
    return tri_bsr_args_make(out, binding->device, binding->launch, binding->problem, &buffers, alpha, beta);
}
