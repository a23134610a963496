/* Selections through the public API, on the device of a context. */
#ifndef TRIAGE_TESTS_SELECT_API_H
#define TRIAGE_TESTS_SELECT_API_H

#include "triage.h"

#include "support/select_case.h"

static inline void select_ok(triage_status status) {
    if (status != TRIAGE_OK)
        fail_msg("%s: %s", triage_status_name(status), triage_last_error());
}

static inline triage_attention_desc select_desc(const tri_attention_problem *p) {
    triage_attention_desc desc = TRIAGE_ATTENTION_DESC_INIT;
    desc.in_type = p->in_type, desc.out_type = p->out_type;
    desc.batch = p->batch, desc.heads_q = p->heads_q, desc.heads_kv = p->heads_kv;
    desc.max_q = p->sq, desc.max_k = p->sk;
    desc.head_dim = p->d, desc.head_dim_v = p->dv;
    desc.mask = (triage_mask)p->band, desc.left = p->left, desc.right = p->right;
    desc.lse = p->lse;
    desc.mask_rows = p->mask.rows, desc.mask_cols = p->mask.cols;
    desc.lists_per_sequence = 1, desc.lists = (triage_lists)p->mask.heads;
    desc.lists_memory = TRIAGE_MEMORY_DEVICE;
    return desc;
}

static inline triage_tensor select_tensor(void *data, int64_t rows, int64_t heads, int64_t d) {
    return (triage_tensor){data, rows * heads * d, d, heads * d};
}

/* A problem by its key; the lists' kind is what counts of its mask. */
static inline tri_attention_problem select_problem(const char *key) {
    tri_attention_problem p;
    if (tri_attention_parse(&p, key) != TRIAGE_OK)
        fail_msg("%s: %s", key, triage_last_error());
    return p;
}

typedef struct select_memory {
    void *q, *k, *count, *cols, *workspace;
} select_memory;

static inline void *select_put(triage_context *context, const void *from, size_t bytes) {
    void *memory = NULL;
    select_ok(triage_device_alloc(&memory, context, bytes + 4));
    if (from && bytes)
        select_ok(triage_device_upload(context, memory, from, bytes));
    return memory;
}

static inline select_memory select_upload(triage_context *context, const select_case *c,
                                          const triage_attention *attention) {
    const tri_attention_problem *p = &c->problem;
    size_t size = tri_dtype_size(p->in_type), bytes = 0;
    select_ok(triage_attention_select_bytes(&bytes, attention));
    return (select_memory){
        .q = select_put(context, c->q, (size_t)(p->batch * p->sq * p->heads_q * p->d) * size),
        .k = select_put(context, c->k, (size_t)(p->batch * p->sk * p->heads_kv * p->d) * size),
        .count = select_put(context, c->count, c->rows * sizeof(int32_t)),
        .cols = select_put(context, c->cols, c->rows * (size_t)c->capacity * sizeof(int32_t)),
        .workspace = select_put(context, NULL, bytes)};
}

static inline void select_release(triage_context *context, const select_memory *m) {
    void *const all[] = {m->q, m->k, m->count, m->cols, m->workspace};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        triage_device_release(context, all[i]);
}

static inline triage_selection select_selection(const select_case *c, const select_memory *m) {
    triage_selection selection = TRIAGE_SELECTION_INIT;
    selection.top = c->top;
    selection.count = m->count, selection.cols = m->cols;
    selection.capacity = c->capacity;
    selection.workspace = m->workspace;
    return selection;
}

/* Selects, and brings the lists back. */
static inline void select_run(triage_context *context, select_case *c) {
    const tri_attention_problem *p = &c->problem;
    triage_attention_desc desc = select_desc(p);
    triage_attention_call call = TRIAGE_ATTENTION_CALL_INIT;
    triage_attention *attention;
    select_ok(triage_attention_create(&attention, context, &desc));
    select_clear(c);
    select_memory m = select_upload(context, c, attention);
    triage_selection selection = select_selection(c, &m);
    call.q = select_tensor(m.q, p->sq, p->heads_q, p->d);
    call.k = select_tensor(m.k, p->sk, p->heads_kv, p->d);
    select_ok(triage_attention_select(attention, &call, &selection, NULL));
    select_ok(triage_device_synchronize(context));
    if (c->rows) {
        select_ok(triage_device_download(context, c->count, m.count, c->rows * sizeof(int32_t)));
        select_ok(triage_device_download(context, c->cols, m.cols,
                                         c->rows * (size_t)c->capacity * sizeof(int32_t)));
    }
    select_release(context, &m);
    triage_attention_free(attention);
}

/* Draws, selects and verifies. */
static inline void select_check(triage_context *context, const char *key, int top, bool whole) {
    tri_attention_problem p = select_problem(key);
    select_case c;
    select_make(&c, &p, top, whole);
    select_run(context, &c);
    select_verify(&c, whole);
    select_free(&c);
}

#endif
