/* Making an attention: its problem, and what its calls have in common. */
#include "api/attention/attention.h"

#include <stdlib.h>

static tri_attention_problem problem_of(const triage_attention_desc *desc) {
    return (tri_attention_problem){
        .in_type = desc->in_type,
        .out_type = desc->out_type,
        .batch = desc->batch,
        .heads_q = desc->heads_q,
        .heads_kv = desc->heads_kv,
        .sq = desc->max_q,
        .sk = desc->max_k,
        .d = desc->head_dim,
        .dv = desc->head_dim_v,
        .band = (tri_attention_band)desc->mask,
        .left = desc->left,
        .right = desc->right,
        .softcap = desc->softcap > 0,
        .lse = desc->lse != 0,
        .lengths = (tri_attention_lengths)desc->lengths,
        .page_size = desc->page_size,
        .splits = desc->splits,
        .mask = {.rows = desc->mask_rows,
                 .cols = desc->mask_cols,
                 .per_batch = desc->mask_rows && desc->lists_per_sequence,
                 .heads = desc->mask_rows ? (tri_mask_heads)desc->lists : TRI_MASK_ALL_HEADS,
                 .bits = desc->mask_rows && desc->lists_memory == TRIAGE_MEMORY_HOST && desc->partial.ptr},
    };
}

static void set_fixed(triage_attention *attention, const triage_attention_desc *desc) {
    tri_attention_args *args = &attention->fixed;
    tri_attention_layout(args, &attention->problem);
    if (desc->scale > 0)
        args->scale_log2 = (float)((double)desc->scale * 1.4426950408889634);
    args->softcap = desc->softcap;
}

triage_status triage_attention_create(triage_attention **out, triage_context *context,
                                      const triage_attention_desc *desc) {
    triage_attention *made = NULL;
    triage_status status;
    if (!out)
        return tri_fail(TRIAGE_E_INVALID, "out is NULL");
    *out = NULL;
    if (!context || !desc)
        return tri_fail(TRIAGE_E_INVALID, "%s is NULL", context ? "desc" : "context");
    TRI_TRY(tri_attention_check_desc(desc));
    TRI_TRY(tri_calloc(&made, 1, sizeof *made));
    pthread_mutex_init(&made->selector_lock, NULL);
    made->context = context;
    TRI_TRY(tri_caller_open(&made->caller, &tri_attention_calls, context, made));
    made->problem = problem_of(desc);
    made->no_sequence = desc->batch == 0;
    if (made->no_sequence) /* all else is checked as ever */
        made->problem.batch = 1;
    TRI_TRY(tri_attention_check(&made->problem));
    set_fixed(made, desc);
    made->device_lists = desc->mask_rows && desc->lists_memory == TRIAGE_MEMORY_DEVICE;
    if (made->device_lists)
        tri_fingerprint_even(&made->problem.mask.fingerprint, desc->density);
    tri_attention_complete(&made->problem);
    if (desc->mask_rows && !made->device_lists && !made->no_sequence)
        TRI_TRY(tri_attention_take_lists(made, desc));
    *out = made;
    made = NULL;
done:
    triage_attention_free(made);
    return status;
}

void triage_attention_free(triage_attention *attention) {
    if (!attention)
        return;
    tri_caller_close(&attention->caller);
    tri_attention_selector_free(attention);
    for (size_t i = 0; i < attention->owned_count; i++)
        tri_device_release(attention->context->device, attention->owned[i]);
    pthread_mutex_destroy(&attention->selector_lock);
    free(attention);
}
