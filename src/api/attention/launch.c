/* The passes that applications call. */
#include <string.h>

#include "api/attention/attention.h"

/* A call that was served, and what it launched. */
typedef struct served_call {
    _Alignas(64) tri_served_call served;
    triage_attention_call call;
    tri_attention_args args;
} served_call;

/* ---- of what kind a call is ---- */

/* What the key does not hold. */
static uint64_t variant_of(const tri_attention_problem *p) {
    return ((uint64_t)p->pairs << 8) ^ (uint64_t)p->alignment << 1 ^ p->expanded;
}

/* With fixed splits the kernel is that of one sequence: a row's bits must not depend on how many there are. */
static tri_problem of_one_sequence(const tri_attention_problem *p) {
    tri_attention_problem alone = *p;
    alone.batch = 1;
    tri_attention_complete(&alone);
    alone.alignment = p->alignment;
    alone.expanded = p->expanded;
    return tri_attention_problem_of(&alone);
}

static triage_status make_plan(tri_plan **out, triage_attention *attention, const tri_attention_problem *p,
                               uint64_t key, void *stream) {
    tri_problem alone;
    if (p->splits > 0)
        alone = of_one_sequence(p);
    const tri_call_kind kind = {.key = key,
                                .problem = tri_attention_problem_of(p),
                                .chosen_by = p->splits > 0 ? &alone : NULL,
                                .variant = variant_of(p)};
    return tri_plan_make(out, &attention->caller, &kind, stream);
}

/* Calls of one kind: bases and strides are aligned alike, and some stride is 0 or none is. */
static triage_status plan_for(tri_plan **out, const triage_attention *attention,
                              const triage_attention_call *call, void *stream) {
    tri_attention_problem p = attention->problem;
    tri_attention_call_kind(&p.alignment, &p.expanded, attention, call);
    const uint64_t key = (uint64_t)p.alignment << 1 | p.expanded;
    *out = tri_plan_find(&attention->caller, key, stream);
    /* const for the caller: what changes inside is a cache */
    return *out ? TRIAGE_OK : make_plan(out, (triage_attention *)attention, &p, key, stream);
}

/* ---- calls that were served (api/call.h) ---- */

/* Of what calls differ in most; never 0. Fibonacci hashing: buffers lie at multiples of large powers of two. */
static uint64_t tag_of(const void *passed) {
    const triage_attention_call *call = passed;
    uint64_t hash = (uint64_t)(uintptr_t)call->q.data * UINT64_C(0x9e3779b97f4a7c15) +
                    (uint64_t)(uintptr_t)call->k.data * UINT64_C(0xd1b54a32d192ed03) +
                    (uint64_t)(uintptr_t)call->o.data * UINT64_C(0x8cb92ba72f3d8dd7);
    return hash | 1;
}

/* All that is passed is compared, because a call that was served is not checked again. (No padding: see triage.h.) */
static bool same_call(const tri_served_call *served, const void *passed) {
    return memcmp(&((const served_call *)served)->call, passed, sizeof(triage_attention_call)) == 0;
}

static tri_attention_stride stride_of(const triage_tensor *tensor) {
    return (tri_attention_stride){tensor->batch, tensor->head, tensor->row};
}

static tri_attention_blocks blocks_of(const triage_device_lists *lists) {
    return (tri_attention_blocks){NULL, lists->count, lists->cols, lists->capacity};
}

static triage_status make_arguments(tri_served_call *made, const tri_caller *caller) {
    served_call *serving = (served_call *)made;
    const triage_attention *attention = caller->handle;
    const triage_attention_call *call = &serving->call;
    const tri_plan *plan = made->plan;
    tri_attention_args *out = &serving->args;
    const tri_launch *launch = plan->launch;
    *out = attention->fixed;
    out->q = call->q.data, out->k = call->k.data, out->v = call->v.data, out->o = call->o.data;
    out->q_stride = stride_of(&call->q);
    out->k_stride = stride_of(&call->k);
    out->v_stride = stride_of(&call->v);
    out->o_stride = stride_of(&call->o);
    if (attention->problem.lse) {
        out->lse = call->lse.data;
        out->lse_stride = stride_of(&call->lse);
    }
    out->scale_q = call->scale_q, out->scale_k = call->scale_k, out->scale_v = call->scale_v;
    if (attention->problem.lengths == TRI_LENGTHS_OFFSETS)
        out->cu_q = call->cu_q, out->cu_k = call->cu_k;
    if (attention->problem.lengths == TRI_LENGTHS_CACHE)
        out->len_k = call->len_k;
    if (attention->problem.page_size) {
        out->page_table = call->page_table;
        out->page_stride = (int)call->page_stride;
    }
    if (attention->device_lists) {
        out->full = blocks_of(&call->full);
        out->partial = blocks_of(&call->partial);
        out->partial_bits = call->partial_bits;
    }
    out->splits =
        attention->problem.splits ? attention->problem.splits : tri_attention_launch_of(launch)->splits;
    out->workspace = (void *)(uintptr_t)tri_kernel_workspace(plan->kernel);
    return tri_attention_maps(out, attention->context->device, launch, tri_attention(&plan->problem),
                              (tri_attention_extent){call->rows_q, call->rows_k, call->pages});
}

const tri_call_type tri_attention_calls = {.prepare_first = "triage_attention_prepare",
                                           .served_bytes = sizeof(served_call),
                                           .args_at = offsetof(served_call, args),
                                           .tag = tag_of,
                                           .same = same_call,
                                           .arguments = make_arguments};

/* ---- calls ---- */

static triage_status check_all(const triage_attention *attention, const triage_attention_call *call) {
    if (!attention || !call)
        return tri_fail(TRIAGE_E_INVALID, "%s is NULL", attention ? "call" : "attention");
    return tri_attention_check_call(attention, call);
}

/* No row, nothing to do. */
static bool is_empty(const triage_attention *attention, const triage_attention_call *call) {
    return attention->no_sequence || attention->problem.sq == 0 ||
           (attention->problem.lengths == TRI_LENGTHS_OFFSETS && call->version && call->rows_q == 0);
}

/* A call that was not served before. */
static __attribute__((noinline)) triage_status new_call(const triage_attention *attention,
                                                        const triage_attention_call *call, void *stream,
                                                        bool launch) {
    tri_plan *plan = NULL;
    triage_status status;
    if (attention && call && is_empty(attention, call))
        return TRIAGE_OK;
    TRI_TRY(check_all(attention, call));
    TRI_TRY(plan_for(&plan, attention, call, stream));
    served_call made = {.call = *call};
    status =
        tri_call_serve(&((triage_attention *)attention)->caller, plan, &made.served, call, stream, launch);
done:
    return status;
}

TRI_HOT triage_status triage_attention_run(const triage_attention *attention,
                                           const triage_attention_call *call, void *stream) {
    triage_status status = TRIAGE_OK;
    if (attention && call && tri_call_again(&status, &attention->caller, &tri_attention_calls, call, stream))
        return status;
    return new_call(attention, call, stream, true);
}

triage_status triage_attention_prepare(const triage_attention *attention, const triage_attention_call *call,
                                       void *stream) {
    return new_call(attention, call, stream, false);
}

/* No dense product does the same. */
triage_status triage_attention_choice(triage_choice *out, const triage_attention *attention,
                                      const triage_attention_call *call) {
    triage_status status;
    tri_plan *plan = NULL;
    TRI_TRY(tri_choice_check(out));
    TRI_TRY(check_all(attention, call));
    TRI_TRY(plan_for(&plan, attention, call, NULL));
    tri_loaded_describe(out, plan->loaded);
done:
    return status;
}
