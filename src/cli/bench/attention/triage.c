/* Attention as an application calls it, on the arrays of the bench. */
#include <stdlib.h>

#include "cli/bench/bench.h"
#include "op/attention/attention.h"

typedef struct call {
    triage_attention *attention;
    triage_attention_call call;
} call;

static void close_call(void *opaque) {
    call *self = opaque;
    if (self)
        triage_attention_free(self->attention);
    free(self);
}

/* The lists are on the host, too: as they were drawn. */
static triage_block_lists lists_of(const tri_arena *arena, size_t ptr, size_t cols) {
    return (triage_block_lists){arena->at.inputs->at[ptr].data, arena->at.inputs->at[cols].data};
}

static void describe_mask(triage_attention_desc *desc, const tri_arena *arena) {
    const tri_attention_problem *p = tri_attention(&arena->problem);
    desc->mask_rows = p->mask.rows;
    desc->mask_cols = p->mask.cols;
    desc->lists_per_sequence = p->mask.per_batch;
    desc->lists = (triage_lists)p->mask.heads;
    desc->lists_memory = TRIAGE_MEMORY_HOST;
    desc->full = lists_of(arena, TRI_ATTENTION_FULL_PTR, TRI_ATTENTION_FULL_COLS);
    desc->partial = lists_of(arena, TRI_ATTENTION_PARTIAL_PTR, TRI_ATTENTION_PARTIAL_COLS);
    desc->partial_bits = arena->at.inputs->at[TRI_ATTENTION_BITS].data;
}

static triage_attention_desc describe(const tri_arena *arena) {
    const tri_attention_problem *p = tri_attention(&arena->problem);
    triage_attention_desc desc = TRIAGE_ATTENTION_DESC_INIT;
    desc.in_type = p->in_type;
    desc.out_type = p->out_type;
    desc.batch = p->batch;
    desc.heads_q = p->heads_q;
    desc.heads_kv = p->heads_kv;
    desc.max_q = p->sq;
    desc.max_k = p->sk;
    desc.head_dim = p->d;
    desc.head_dim_v = p->dv;
    desc.mask = (triage_mask)p->band;
    desc.left = p->left;
    desc.right = p->right;
    desc.lse = p->lse;
    desc.lengths = (triage_lengths)p->lengths;
    desc.page_size = p->page_size;
    desc.splits = p->splits;
    if (p->softcap) {
        tri_attention_args args;
        tri_attention_layout(&args, p);
        desc.softcap = args.softcap;
    }
    if (p->mask.rows)
        describe_mask(&desc, arena);
    return desc;
}

static triage_tensor tensor(const void *data, tri_attention_stride stride) {
    return (triage_tensor){(void *)(uintptr_t)data, stride.batch, stride.head, stride.row};
}

/* Addresses and strides are those that the bench's own candidates get. */
static void fill_call(triage_attention_call *out, const tri_arena *arena) {
    const tri_attention_problem *p = tri_attention(&arena->problem);
    tri_attention_args args;
    tri_attention_layout(&args, p);
    *out = (triage_attention_call)TRIAGE_ATTENTION_CALL_INIT;
    out->q = tensor(tri_arena_input(arena, TRI_ATTENTION_Q), args.q_stride);
    out->k = tensor(tri_arena_input(arena, TRI_ATTENTION_K), args.k_stride);
    out->v = tensor(tri_arena_input(arena, TRI_ATTENTION_V), args.v_stride);
    out->o = tensor((void *)(uintptr_t)arena->at.results[0], args.o_stride);
    if (p->lse)
        out->lse = tensor((void *)(uintptr_t)arena->at.results[1], args.lse_stride);
    out->scale_q = tri_arena_input(arena, TRI_ATTENTION_SCALE_Q);
    out->scale_k = tri_arena_input(arena, TRI_ATTENTION_SCALE_K);
    out->scale_v = tri_arena_input(arena, TRI_ATTENTION_SCALE_V);
    out->cu_q = tri_arena_input(arena, TRI_ATTENTION_CU_Q);
    out->cu_k = tri_arena_input(arena, TRI_ATTENTION_CU_K);
    if (p->lengths == TRI_LENGTHS_OFFSETS)
        out->rows_q = p->queries, out->rows_k = p->keys;
    out->len_k = tri_arena_input(arena, TRI_ATTENTION_LEN_K);
    out->page_table = tri_arena_input(arena, TRI_ATTENTION_PAGES);
    if (p->page_size) {
        out->page_stride = args.page_stride;
        out->pages = p->batch * ((p->sk + p->page_size - 1) / p->page_size);
    }
}

static triage_status open_call(void **out, char detail[256], const tri_arena *arena) {
    const triage_attention_desc desc = describe(arena);
    triage_choice choice = {.version = TRIAGE_CHOICE_VERSION};
    call *self = NULL;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_calloc(&self, 1, sizeof *self));
    TRI_TRY(triage_attention_create(&self->attention, arena->context, &desc));
    fill_call(&self->call, arena);
    TRI_TRY(triage_attention_choice(&choice, self->attention, &self->call));
    tri_contestant_say_choice(detail, &choice);
    *out = self;
    self = NULL;
done:
    close_call(self);
    return status;
}

static triage_status run_call(void *opaque, void *stream) {
    const call *self = opaque;
    return triage_attention_run(self->attention, &self->call, stream);
}

const tri_contestant_type tri_contestant_attention = {.name = "triage",
                                                      .op = &tri_op_attention,
                                                      .on_host = true,
                                                      .on_cuda = true,
                                                      .open = open_call,
                                                      .run = run_call,
                                                      .close = close_call};
