/* bsr_gemm as an application calls it: a matrix whose arrays are those of the bench. */
#include <stdlib.h>

#include "cli/bench/bench.h"
#include "op/bsr_gemm/bsr_gemm.h"

typedef struct call {
    triage_context *context;
    triage_bsr_matrix *a;
    triage_dense b, c;
    triage_epilogue epilogue;
} call;

static void close_call(void *opaque) {
    call *self = opaque;
    if (self)
        triage_bsr_matrix_free(self->a);
    free(self);
}

static triage_status make_matrix(call *self, const tri_arena *arena) {
    const tri_bsr_problem *p = tri_bsr(&arena->problem);
    triage_bsr_desc desc = TRIAGE_BSR_DESC_INIT;
    desc.dtype = p->in_type;
    desc.rows = p->m;
    desc.cols = p->k;
    desc.block_rows = p->block_m;
    desc.block_cols = p->block_k;
    desc.nnzb = p->nnzb;
    desc.memory = TRIAGE_MEMORY_DEVICE;
    desc.row_ptr = tri_arena_input(arena, TRI_BSR_ROW_PTR);
    desc.col_idx = tri_arena_input(arena, TRI_BSR_COL_IDX);
    desc.values = tri_arena_input(arena, TRI_BSR_VALUES);
    return triage_bsr_matrix_create(&self->a, arena->context, &desc);
}

static triage_status open_call(void **out, char detail[256], const tri_arena *arena) {
    const tri_bsr_problem *p = tri_bsr(&arena->problem);
    triage_choice choice = {.version = TRIAGE_CHOICE_VERSION};
    call *self = NULL;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_calloc(&self, 1, sizeof *self));
    self->context = arena->context;
    self->b = (triage_dense){tri_arena_input(arena, TRI_BSR_B), p->k, p->n, p->ldb, p->in_type, p->b_layout};
    self->c =
        (triage_dense){(void *)(uintptr_t)arena->at.results[0], p->m, p->n, p->ldc, p->out_type, p->c_layout};
    self->epilogue.version = TRIAGE_EPILOGUE_VERSION;
    self->epilogue.scale_a = tri_arena_input(arena, TRI_BSR_SCALE_A);
    self->epilogue.scale_b = tri_arena_input(arena, TRI_BSR_SCALE_B);
    self->epilogue.scale_a_per_block = p->scale_per_block;
    TRI_TRY(make_matrix(self, arena));
    TRI_TRY(triage_bsr_gemm_choice(&choice, self->context, self->a, &self->b, &self->c, &self->epilogue));
    tri_contestant_say_choice(detail, &choice);
    *out = self;
    self = NULL;
done:
    close_call(self);
    return status;
}

static triage_status run_call(void *opaque, void *stream) {
    const call *self = opaque;
    return triage_bsr_gemm(self->context, 1, self->a, &self->b, 0, &self->c, &self->epilogue, stream);
}

const tri_contestant_type tri_contestant_bsr_gemm = {.name = "triage",
                                                     .op = &tri_op_bsr_gemm,
                                                     .on_host = true,
                                                     .on_cuda = true,
                                                     .open = open_call,
                                                     .run = run_call,
                                                     .close = close_call};
