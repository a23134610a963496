/* Making plans, and the argument block of a call. */
#include "api/attention/attention.h"

#include <stdlib.h>
#include <string.h>

tri_attention_plan *tri_attention_plan_find(const triage_attention *attention,
                                            const triage_attention_call *call, const void *stream) {
    int32_t alignment;
    bool expanded;
    tri_attention_call_kind(&alignment, &expanded, attention, call);
    tri_attention_plan *plan = atomic_load_explicit(&attention->plans, memory_order_acquire);
    while (plan && (plan->alignment != alignment || plan->expanded != expanded ||
                    (plan->own_kernel && plan->stream != stream)))
        plan = plan->next;
    return plan;
}

/* What the key does not hold. */
static uint64_t variant_of(const tri_attention_problem *p) {
    return ((uint64_t)p->pairs << 8) ^ (uint64_t)p->alignment << 1 ^ p->expanded;
}

/* With fixed splits the kernel is that of one sequence: a row's bits must not depend on how many there are. */
static triage_status load(const tri_loaded **out, triage_context *context, const tri_attention_problem *p) {
    tri_attention_problem alone = *p;
    tri_problem problem = tri_attention_problem_of(p), chosen_by;
    if (p->splits > 0) {
        alone.batch = 1;
        tri_attention_complete(&alone);
        alone.alignment = p->alignment;
        alone.expanded = p->expanded;
    }
    chosen_by = tri_attention_problem_of(&alone);
    return tri_loaded_for(out, context, &problem, p->splits > 0 ? &chosen_by : &problem, variant_of(p));
}

static triage_status take_kernel(tri_attention_plan *plan, tri_device *device, void *stream) {
    const tri_launch *launch = &plan->loaded->found.candidate.launch;
    plan->kernel = plan->loaded->kernel;
    if (launch->workspace_bytes == 0)
        return TRIAGE_OK;
    plan->stream = stream;
    triage_status status = tri_kernel_load(&plan->kernel, device, plan->loaded->image, launch);
    plan->own_kernel = status == TRIAGE_OK;
    return status;
}

static void free_plan(tri_attention_plan *plan) {
    if (plan && plan->own_kernel)
        tri_kernel_unload(plan->kernel);
    free(plan);
}

void tri_attention_plans_free(triage_attention *attention) {
    tri_attention_plan *plan = atomic_exchange(&attention->plans, NULL);
    while (plan) {
        tri_attention_plan *next = plan->next;
        free_plan(plan);
        plan = next;
    }
}

static triage_status build(tri_attention_plan **out, triage_context *context, const tri_attention_problem *p,
                           const tri_loaded *loaded, void *stream) {
    tri_attention_plan *plan = NULL;
    triage_status status;
    TRI_TRY(tri_calloc(&plan, 1, sizeof *plan));
    plan->alignment = p->alignment;
    plan->expanded = p->expanded;
    plan->loaded = loaded;
    plan->problem = tri_attention_problem_of(p);
    TRI_TRY(take_kernel(plan, context->device, stream));
    /* what was cleared went through the default stream; the caller's may not wait for that one */
    TRI_TRY(tri_device_synchronize(context->device));
    *out = plan;
    plan = NULL;
done:
    free_plan(plan);
    return status;
}

triage_status tri_attention_plan_make(tri_attention_plan **out, triage_attention *attention,
                                      const triage_attention_call *call, void *stream) {
    triage_context *context = attention->context;
    tri_attention_problem p = attention->problem;
    const tri_loaded *loaded = NULL;
    tri_attention_call_kind(&p.alignment, &p.expanded, attention, call);
    if (tri_device_is_capturing(context->device, stream))
        return tri_fail(TRIAGE_E_CAPTURE,
                        "a first call cannot be captured in a graph: call triage_attention_prepare before");
    triage_status status = load(&loaded, context, &p);
    if (status != TRIAGE_OK)
        return status;
    pthread_mutex_lock(&attention->lock);
    tri_attention_plan *plan = tri_attention_plan_find(attention, call, stream);
    if (!plan) {
        status = build(&plan, context, &p, loaded, stream);
        if (status == TRIAGE_OK) {
            plan->next = atomic_load_explicit(&attention->plans, memory_order_relaxed);
            atomic_store_explicit(&attention->plans, plan, memory_order_release);
        }
    }
    pthread_mutex_unlock(&attention->lock);
    *out = plan;
    return status;
}

/* ---- arguments ---- */

static tri_attention_stride stride_of(const triage_tensor *tensor) {
    return (tri_attention_stride){tensor->batch, tensor->head, tensor->row};
}

static tri_attention_blocks blocks_of(const triage_device_lists *lists) {
    return (tri_attention_blocks){NULL, lists->count, lists->cols, lists->capacity};
}

triage_status tri_attention_plan_args(tri_attention_args *out, const triage_attention *attention,
                                      const tri_attention_plan *plan, const triage_attention_call *call) {
    const tri_launch *launch = &plan->loaded->found.candidate.launch;
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
