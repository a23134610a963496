/* Sparse top-k: lists of blocks made on the device. What is computed: templates/attention/select.h. */
#include "api/attention/attention.h"
#include "attention/select.h"

#include <stdlib.h>

struct tri_attention_selector {
    tri_kernel *pool, *select; /* one image, two geometries */
    tri_select_args fixed;     /* what calls have in common */
    int32_t least_top;         /* blocks of the longest diagonal of a row */
};

/* ---- which attention can, and what it needs ---- */

static triage_status check_attention(const triage_attention *attention) {
    if (!attention)
        return tri_fail(TRIAGE_E_INVALID, "attention is NULL");
    const tri_attention_problem *p = &attention->problem;
    if (!attention->device_lists)
        return tri_fail(TRIAGE_E_INVALID,
                        "this attention was made %s; must have lists on the device "
                        "(desc.mask_rows, mask_cols, lists_memory)",
                        p->mask.rows ? "with the host's lists" : "without a block mask");
    if (p->lengths != TRI_LENGTHS_DENSE)
        return tri_fail(TRIAGE_E_INVALID, "desc.lengths is %d; must be TRIAGE_LENGTHS_DENSE to select blocks",
                        (int)p->lengths);
    if (p->mask.heads == TRI_MASK_ALL_HEADS && p->heads_q > 1)
        return tri_fail(TRIAGE_E_INVALID, "desc.lists is TRIAGE_LISTS_ALL; must be those of q or KV heads to "
                                          "select blocks");
    if (!p->mask.per_batch && p->batch > 1)
        return tri_fail(TRIAGE_E_INVALID,
                        "desc.lists_per_sequence is 0; must be 1 to select blocks of %lld "
                        "sequences",
                        (long long)p->batch);
    return TRIAGE_OK;
}

static int64_t list_heads(const tri_attention_problem *p) {
    return p->mask.heads == TRI_MASK_KV_HEADS ? p->heads_kv : p->heads_q;
}

static int64_t blocks_of(int64_t rows, int64_t size) {
    return (rows + size - 1) / size;
}

static size_t floats_of_q(const tri_attention_problem *p) {
    return (size_t)(p->batch * list_heads(p) * blocks_of(p->sq, p->mask.rows) * p->d);
}

static size_t floats_of_k(const tri_attention_problem *p) {
    return (size_t)(p->batch * p->heads_kv * blocks_of(p->sk, p->mask.cols) * p->d);
}

triage_status triage_attention_select_bytes(size_t *out, const triage_attention *attention) {
    if (!out)
        return tri_fail(TRIAGE_E_INVALID, "out is NULL");
    triage_status status = check_attention(attention);
    if (status == TRIAGE_OK && attention->no_sequence)
        *out = 0;
    else if (status == TRIAGE_OK)
        *out = (floats_of_q(&attention->problem) + floats_of_k(&attention->problem)) * sizeof(float);
    return status;
}

/* ---- the kernels ---- */

static triage_status add_param(tri_candidate *to, const char *name, const char *value) {
    tri_param *param = &to->params[to->param_count++];
    triage_status status = tri_strdup(&param->name, name);
    return status == TRIAGE_OK ? tri_strdup(&param->value, value) : status;
}

static triage_status add_number(tri_candidate *to, const char *name, int64_t value) {
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)value);
    return add_param(to, name, text);
}

static triage_status render(tri_source *out, const triage_attention *attention) {
    static const char *const types[2][4] = {{"float", "__half", "__nv_bfloat16", "__nv_fp8_e4m3"},
                                            {"float", "f16_t", "bf16_t", "e4m3_t"}};
    const tri_attention_problem *p = &attention->problem;
    bool host = triage_context_is_host(attention->context);
    int64_t left, right;
    tri_candidate candidate = {0};
    triage_status status;
    tri_attention_band_of(&left, &right, p);
    TRI_TRY(tri_strdup(&candidate.kernel, "select"));
    TRI_TRY(tri_strdup(&candidate.config, "select"));
    TRI_TRY(tri_strdup(&candidate.template_name,
                       host ? "templates/attention/select.c" : "templates/attention/select.cu"));
    TRI_TRY(tri_calloc(&candidate.params, 7, sizeof *candidate.params));
    TRI_TRY(add_param(&candidate, "in_type", types[host][p->in_type]));
    TRI_TRY(add_number(&candidate, "d", p->d));
    TRI_TRY(add_number(&candidate, "mask_m", p->mask.rows));
    TRI_TRY(add_number(&candidate, "mask_n", p->mask.cols));
    TRI_TRY(add_number(&candidate, "left", left >= 0));
    TRI_TRY(add_number(&candidate, "right", right >= 0));
    TRI_TRY(add_number(&candidate, "top_left", p->band == TRI_BAND_CAUSAL_TOP_LEFT));
    TRI_TRY(tri_render(out, &candidate, attention->context->data_dir));
done:
    tri_candidate_free(&candidate);
    return status;
}

/* A CTA for each piece of work, up to so many that the rest can wait. */
static tri_launch launch_of(int64_t pieces, int64_t smem_bytes) {
    uint32_t grid = (uint32_t)(pieces < 1 ? 1 : pieces < 1 << 24 ? pieces : 1 << 24);
    return (tri_launch){
        .grid = {grid, 1, 1}, .block = {256, 1, 1}, .cluster = {1, 1, 1}, .smem_bytes = (uint32_t)smem_bytes};
}

static triage_status load(tri_attention_selector *made, const triage_attention *attention,
                          const tri_image *image) {
    const tri_attention_problem *p = &attention->problem;
    tri_device *device = attention->context->device;
    int64_t rows = tri_attention_mask_rows(p), cols = tri_attention_mask_cols(p), scores = 0;
    triage_status status;
    if (!triage_context_is_host(attention->context)) {
        int64_t room = (tri_device_describe(device)->smem_bytes_max - image->static_smem_bytes) / 4;
        scores = cols * 4;
        if (cols > room)
            TRI_TRY(tri_fail(TRIAGE_E_UNSUPPORTED,
                             "%lld KV blocks of %d keys; at most %lld can be selected from", (long long)cols,
                             (int)p->mask.cols, (long long)room));
    }
    const tri_launch pool = launch_of(rows + p->batch * p->heads_kv * cols, 0),
                     select = launch_of(rows, scores);
    TRI_TRY(tri_kernel_load(&made->pool, device, image, &pool));
    TRI_TRY(tri_kernel_load(&made->select, device, image, &select));
done:
    return status;
}

static int32_t longest_diagonal(const tri_attention_problem *p) {
    int64_t left, right;
    int32_t longest = 0;
    tri_attention_band_of(&left, &right, p);
    for (int64_t block = 0; block < blocks_of(p->sq, p->mask.rows); block++) {
        tri_select_range range = tri_select_range_of(p->sq, p->sk, p->mask.rows, p->mask.cols, left, right,
                                                     p->band == TRI_BAND_CAUSAL_TOP_LEFT, block);
        int32_t own = range.own_end - range.own_begin;
        longest = own > longest ? own : longest;
    }
    return longest;
}

static tri_select_args args_of(const triage_attention *attention) {
    const tri_attention_problem *p = &attention->problem;
    return (tri_select_args){.batch = (int)p->batch,
                             .heads_q = (int)p->heads_q,
                             .heads_kv = (int)p->heads_kv,
                             .list_heads = (int)list_heads(p),
                             .sq = (int)p->sq,
                             .sk = (int)p->sk,
                             .left = attention->fixed.left,
                             .right = attention->fixed.right};
}

static void free_selector(tri_attention_selector *selector) {
    if (!selector)
        return;
    tri_kernel_unload(selector->pool);
    tri_kernel_unload(selector->select);
    free(selector);
}

void tri_attention_selector_free(triage_attention *attention) {
    free_selector(atomic_exchange(&attention->selector, NULL));
}

static triage_status build(tri_attention_selector **out, const triage_attention *attention) {
    tri_attention_selector *made = NULL;
    tri_source source = {0};
    tri_image image = {0};
    char hash[TRI_HASH_SIZE];
    triage_status status;
    TRI_TRY(tri_calloc(&made, 1, sizeof *made));
    TRI_TRY(render(&source, attention));
    tri_source_hash(hash, &source, tri_device_describe(attention->context->device)->target);
    TRI_TRY(tri_context_compile(&image, attention->context, &source, hash));
    TRI_TRY(load(made, attention, &image));
    made->fixed = args_of(attention);
    made->least_top = longest_diagonal(&attention->problem);
    *out = made;
    made = NULL;
done:
    free_selector(made);
    tri_image_free(&image);
    tri_source_free(&source);
    return status;
}

/* const for the caller: what changes inside is a cache. */
static triage_status selector_of(tri_attention_selector **out, const triage_attention *of,
                                 const void *stream) {
    triage_attention *attention = (triage_attention *)of;
    triage_status status = TRIAGE_OK;
    *out = atomic_load_explicit(&attention->selector, memory_order_acquire);
    if (*out)
        return TRIAGE_OK;
    status = tri_refuse_capture(attention->context, (void *)stream, "selection",
                                "triage_attention_select_prepare");
    if (status != TRIAGE_OK)
        return status;
    pthread_mutex_lock(&attention->selector_lock);
    *out = atomic_load_explicit(&attention->selector, memory_order_relaxed);
    if (!*out)
        status = build(out, attention);
    if (status == TRIAGE_OK)
        atomic_store_explicit(&attention->selector, *out, memory_order_release);
    pthread_mutex_unlock(&attention->selector_lock);
    return status;
}

/* ---- calls ---- */

static triage_status check_words(const void *words, const char *name) {
    if (!words)
        return tri_fail(TRIAGE_E_INVALID, "selection.%s is NULL", name);
    if ((uintptr_t)words % 4 != 0)
        return tri_fail(TRIAGE_E_INVALID, "selection.%s is %p; must be 4-byte aligned", name, words);
    return TRIAGE_OK;
}

static triage_status check_selection(const triage_selection *selection) {
    triage_status status;
    if (!selection)
        return tri_fail(TRIAGE_E_INVALID, "selection is NULL");
    if (selection->version != TRIAGE_SELECTION_VERSION)
        return tri_fail(TRIAGE_E_INVALID, "selection.version is %u; must be %u (TRIAGE_SELECTION_INIT)",
                        selection->version, TRIAGE_SELECTION_VERSION);
    if (selection->capacity < 1 || selection->capacity > INT32_MAX)
        return tri_fail(TRIAGE_E_INVALID, "selection.capacity is %lld; must be 1 .. %d",
                        (long long)selection->capacity, INT32_MAX);
    if (selection->top < 1 || selection->top > selection->capacity)
        return tri_fail(TRIAGE_E_INVALID, "selection.top is %d; must be 1 .. %lld, the capacity",
                        selection->top, (long long)selection->capacity);
    TRI_TRY(check_words(selection->count, "count"));
    TRI_TRY(check_words(selection->cols, "cols"));
    TRI_TRY(check_words(selection->workspace, "workspace"));
done:
    return status;
}

/* Checks all that a selection looks at, and makes it ready. */
static triage_status prepare(tri_attention_selector **out, const triage_attention *attention,
                             const triage_attention_call *call, const triage_selection *selection,
                             const void *stream) {
    triage_status status;
    TRI_TRY(check_attention(attention));
    TRI_TRY(tri_attention_check_scored(attention, call));
    TRI_TRY(check_selection(selection));
    TRI_TRY(selector_of(out, attention, stream));
    if (selection->top < (*out)->least_top)
        TRI_TRY(tri_fail(TRIAGE_E_INVALID,
                         "selection.top is %d; must be %d or more, the blocks of a row's diagonal",
                         selection->top, (*out)->least_top));
done:
    return status;
}

triage_status triage_attention_select(const triage_attention *attention, const triage_attention_call *call,
                                      const triage_selection *selection, void *stream) {
    tri_attention_selector *selector = NULL;
    triage_status status;
    if (attention && attention->no_sequence)
        return check_attention(attention);
    TRI_TRY(prepare(&selector, attention, call, selection, stream));
    if (attention->problem.sq == 0)
        goto done;
    tri_select_args args = selector->fixed;
    args.q = call->q.data, args.k = call->k.data;
    args.q_stride = (tri_attention_stride){call->q.batch, call->q.head, call->q.row};
    args.k_stride = (tri_attention_stride){call->k.batch, call->k.head, call->k.row};
    args.pooled_q = selection->workspace;
    args.pooled_k = args.pooled_q + floats_of_q(&attention->problem);
    args.count = selection->count, args.cols = selection->cols;
    args.capacity = selection->capacity;
    args.top = selection->top;
    TRI_TRY(tri_kernel_launch(selector->pool, &args, stream));
    args.phase = 1;
    TRI_TRY(tri_kernel_launch(selector->select, &args, stream));
done:
    return status;
}

static triage_attention_call with_lists(const triage_attention_call *call,
                                        const triage_selection *selection) {
    triage_attention_call listed = *call;
    listed.full = (triage_device_lists){selection->count, selection->cols, selection->capacity};
    listed.partial = (triage_device_lists){NULL, NULL, 0};
    listed.partial_bits = NULL;
    return listed;
}

static triage_status check_both(const triage_attention *attention, const triage_attention_call *call,
                                const triage_selection *selection) {
    if (!attention || !call)
        return tri_fail(TRIAGE_E_INVALID, "%s is NULL", attention ? "call" : "attention");
    return check_selection(selection);
}

triage_status triage_attention_select_run(const triage_attention *attention,
                                          const triage_attention_call *call,
                                          const triage_selection *selection, void *stream) {
    triage_status status;
    if (attention && attention->no_sequence)
        return check_attention(attention);
    TRI_TRY(check_both(attention, call, selection));
    const triage_attention_call listed = with_lists(call, selection);
    TRI_TRY(triage_attention_select(attention, &listed, selection, stream));
    TRI_TRY(triage_attention_run(attention, &listed, stream));
done:
    return status;
}

triage_status triage_attention_select_prepare(const triage_attention *attention,
                                              const triage_attention_call *call,
                                              const triage_selection *selection, void *stream) {
    tri_attention_selector *selector = NULL;
    triage_status status;
    if (attention && attention->no_sequence)
        return check_attention(attention);
    TRI_TRY(check_both(attention, call, selection));
    const triage_attention_call listed = with_lists(call, selection);
    TRI_TRY(prepare(&selector, attention, &listed, selection, stream));
    TRI_TRY(triage_attention_prepare(attention, &listed, stream));
done:
    return status;
}
