/* What a caller may pass: one line each, the value and what is allowed. What lists of blocks hold: lists.c. */
#include "api/attention/attention.h"

#include <math.h>

static triage_status must(bool good, const char *name, double value, const char *allowed) {
    return good ? TRIAGE_OK : tri_fail(TRIAGE_E_INVALID, "%s is %.9g; must be %s", name, value, allowed);
}

/* ---- the description ---- */

static triage_status check_enums(const triage_attention_desc *desc) {
    triage_status status;
    TRI_TRY(must((unsigned)desc->in_type <= TRIAGE_E4M3, "desc.in_type", (double)desc->in_type,
                 "a triage_dtype"));
    TRI_TRY(
        must((unsigned)desc->mask <= TRIAGE_MASK_WINDOW, "desc.mask", (double)desc->mask, "a triage_mask"));
    TRI_TRY(must((unsigned)desc->lengths <= TRIAGE_LENGTHS_CACHE, "desc.lengths", (double)desc->lengths,
                 "a triage_lengths"));
    TRI_TRY(must((unsigned)desc->lists <= TRIAGE_LISTS_Q_HEADS, "desc.lists", (double)desc->lists,
                 "a triage_lists"));
    TRI_TRY(must(desc->lists_memory == TRIAGE_MEMORY_HOST || desc->lists_memory == TRIAGE_MEMORY_DEVICE,
                 "desc.lists_memory", (double)desc->lists_memory, "a triage_memory"));
done:
    return status;
}

static triage_status check_lists(const triage_attention_desc *desc) {
    triage_status status = TRIAGE_OK;
    if (desc->lists_memory == TRIAGE_MEMORY_DEVICE)
        return must(desc->density >= 0 && desc->density <= 1, "desc.density", desc->density, "0 .. 1");
    const triage_block_lists *lists[] = {&desc->full, &desc->partial};
    for (int i = 0; i < 2; i++)
        if (!lists[i]->ptr != !lists[i]->cols)
            return tri_fail(TRIAGE_E_INVALID, "desc.%s.%s is NULL and the other is not; must be both or none",
                            i ? "partial" : "full", lists[i]->ptr ? "cols" : "ptr");
    if (desc->partial.ptr && !desc->partial_bits)
        status = tri_fail(TRIAGE_E_INVALID, "desc.partial_bits is NULL with lists of partial blocks");
    return status;
}

triage_status tri_attention_check_desc(const triage_attention_desc *desc) {
    triage_status status;
    if (desc->version != TRIAGE_ATTENTION_DESC_VERSION)
        return tri_fail(TRIAGE_E_INVALID, "desc.version is %u; must be %u (TRIAGE_ATTENTION_DESC_INIT)",
                        desc->version, TRIAGE_ATTENTION_DESC_VERSION);
    TRI_TRY(check_enums(desc));
    TRI_TRY(must(isfinite(desc->scale) && desc->scale >= 0, "desc.scale", (double)desc->scale,
                 "above 0, or 0 for 1 / sqrt(head_dim)"));
    TRI_TRY(must(isfinite(desc->softcap) && desc->softcap >= 0, "desc.softcap", (double)desc->softcap,
                 "above 0, or 0 for none"));
    if (desc->mask_rows || desc->mask_cols)
        TRI_TRY(check_lists(desc));
done:
    return status;
}

/* ---- a call ---- */

/* head_stride_may_be_0: of what is only read. */
static triage_status check_tensor(const triage_tensor *tensor, const char *name, size_t size, bool written,
                                  const int64_t sizes[3]) {
    const int64_t strides[] = {tensor->batch, tensor->head, tensor->row};
    static const char *const of[] = {"batch", "head", "row"};
    if (!tensor->data)
        return tri_fail(TRIAGE_E_INVALID, "call.%s.data is NULL", name);
    if ((uintptr_t)tensor->data % size != 0)
        return tri_fail(TRIAGE_E_INVALID, "call.%s.data is %p; must be aligned to its type, %zu bytes", name,
                        tensor->data, size);
    for (int i = 0; i < 3; i++)
        if (strides[i] < 0 || (written && sizes[i] > 1 && strides[i] == 0) || strides[i] >= INT64_C(1) << 40)
            return tri_fail(TRIAGE_E_INVALID, "call.%s.%s is %lld; must be %d .. 2^40 - 1", name, of[i],
                            (long long)strides[i], written && sizes[i] > 1);
    return TRIAGE_OK;
}

static triage_status check_tensors(const triage_attention *attention, const triage_attention_call *call) {
    const tri_attention_problem *p = &attention->problem;
    size_t in = tri_dtype_size(p->in_type), out = tri_dtype_size(p->out_type);
    const int64_t of_q[3] = {p->lengths == TRI_LENGTHS_OFFSETS ? 1 : p->batch, p->heads_q, p->sq};
    triage_status status;
    TRI_TRY(check_tensor(&call->q, "q", in, false, of_q));
    TRI_TRY(check_tensor(&call->o, "o", out, true, of_q));
    if (p->sk > 0) {
        TRI_TRY(check_tensor(&call->k, "k", in, false, of_q));
        TRI_TRY(check_tensor(&call->v, "v", in, false, of_q));
    }
    if (p->lse)
        TRI_TRY(check_tensor(&call->lse, "lse", sizeof(float), true, of_q));
done:
    return status;
}

/* Words on the device: there when wanted, aligned. */
static triage_status check_words(const void *words, const char *name, bool wanted) {
    if (wanted && !words)
        return tri_fail(TRIAGE_E_INVALID, "call.%s is NULL", name);
    if ((uintptr_t)words % 4 != 0)
        return tri_fail(TRIAGE_E_INVALID, "call.%s is %p; must be 4-byte aligned", name, words);
    return TRIAGE_OK;
}

static triage_status check_lengths(const tri_attention_problem *p, const triage_attention_call *call) {
    bool offsets = p->lengths == TRI_LENGTHS_OFFSETS, paged = p->page_size > 0;
    int64_t least = paged ? (p->sk + p->page_size - 1) / p->page_size : 0;
    triage_status status;
    TRI_TRY(check_words(call->cu_q, "cu_q", offsets));
    TRI_TRY(check_words(call->cu_k, "cu_k", offsets));
    TRI_TRY(check_words(call->len_k, "len_k", p->lengths == TRI_LENGTHS_CACHE));
    TRI_TRY(check_words(call->page_table, "page_table", paged && p->sk > 0));
    if (offsets) {
        TRI_TRY(must(call->rows_q >= 0 && call->rows_q <= INT32_MAX, "call.rows_q", (double)call->rows_q,
                     "0 .. 2147483647"));
        TRI_TRY(must(call->rows_k >= 0 && call->rows_k <= INT32_MAX, "call.rows_k", (double)call->rows_k,
                     "0 .. 2147483647"));
    }
    if (paged && (call->page_stride < least || call->page_stride > INT32_MAX))
        return tri_fail(TRIAGE_E_INVALID,
                        "call.page_stride is %lld; must be %lld, the pages of max_k, .. 2147483647",
                        (long long)call->page_stride, (long long)least);
    if (paged)
        TRI_TRY(must(call->pages >= 1 && call->pages <= INT32_MAX, "call.pages", (double)call->pages,
                     "1 .. 2147483647"));
done:
    return status;
}

static triage_status check_device_lists(const triage_device_lists *lists, const char *name) {
    if (!lists->cols)
        return TRIAGE_OK;
    if (!lists->count)
        return tri_fail(TRIAGE_E_INVALID, "call.%s.count is NULL", name);
    if (lists->capacity < 1)
        return tri_fail(TRIAGE_E_INVALID, "call.%s.capacity is %lld; must be 1 or more", name,
                        (long long)lists->capacity);
    return check_words((const void *)((uintptr_t)lists->cols | (uintptr_t)lists->count), name, true);
}

static triage_status check_version(const triage_attention_call *call) {
    if (call->version == TRIAGE_ATTENTION_CALL_VERSION)
        return TRIAGE_OK;
    return tri_fail(TRIAGE_E_INVALID, "call.version is %u; must be %u (TRIAGE_ATTENTION_CALL_INIT)",
                    call->version, TRIAGE_ATTENTION_CALL_VERSION);
}

triage_status tri_attention_check_scored(const triage_attention *attention,
                                         const triage_attention_call *call) {
    const tri_attention_problem *p = &attention->problem;
    const int64_t sizes[3] = {p->batch, p->heads_q, p->sq};
    size_t size = tri_dtype_size(p->in_type);
    triage_status status;
    if (!call)
        return tri_fail(TRIAGE_E_INVALID, "call is NULL");
    TRI_TRY(check_version(call));
    if (p->sq > 0)
        TRI_TRY(check_tensor(&call->q, "q", size, false, sizes));
    if (p->sk > 0)
        TRI_TRY(check_tensor(&call->k, "k", size, false, sizes));
done:
    return status;
}

triage_status tri_attention_check_call(const triage_attention *attention, const triage_attention_call *call) {
    const tri_attention_problem *p = &attention->problem;
    triage_status status;
    TRI_TRY(check_version(call));
    TRI_TRY(check_tensors(attention, call));
    TRI_TRY(check_lengths(p, call));
    if ((call->scale_q || call->scale_k || call->scale_v) && p->in_type != TRIAGE_E4M3)
        return tri_fail(TRIAGE_E_INVALID, "call has scales with %s tensors; they are for e4m3 only",
                        tri_dtype_name(p->in_type));
    TRI_TRY(check_words(call->scale_q, "scale_q", false));
    TRI_TRY(check_words(call->scale_k, "scale_k", false));
    TRI_TRY(check_words(call->scale_v, "scale_v", false));
    if (!attention->device_lists && (call->full.cols || call->partial.cols))
        return tri_fail(TRIAGE_E_INVALID, "call has lists of blocks; this attention was made %s",
                        p->mask.rows ? "with the host's" : "without a block mask");
    TRI_TRY(check_device_lists(&call->full, "full"));
    TRI_TRY(check_device_lists(&call->partial, "partial"));
done:
    return status;
}

void tri_attention_call_kind(int32_t *alignment, bool *expanded, const triage_attention *attention,
                             const triage_attention_call *call) {
    const tri_attention_problem *p = &attention->problem;
    const triage_tensor *tensors[] = {&call->q, &call->k, &call->v, &call->o};
    uintptr_t bits = 16;
    *expanded = false;
    for (int i = 0; i < 4; i++) {
        bool of_q = i == 0 || i == 3, offsets = p->lengths == TRI_LENGTHS_OFFSETS;
        uintptr_t size = tri_dtype_size(i == 3 ? p->out_type : p->in_type);
        int64_t heads = of_q ? p->heads_q : p->heads_kv, rows = of_q ? p->sq : p->sk;
        int64_t batch = offsets ? 1 : !of_q && p->page_size ? call->pages : p->batch;
        const int64_t sizes[] = {batch, heads, rows};
        const int64_t strides[] = {tensors[i]->batch, tensors[i]->head, tensors[i]->row};
        bits |= (uintptr_t)tensors[i]->data;
        for (int j = 0; j < 3; j++) /* a size of 1 is never stepped over */
            if (sizes[j] > 1) {
                bits |= (uintptr_t)strides[j] * size;
                *expanded |= strides[j] == 0;
            }
    }
    *alignment = (int32_t)(bits & -bits);
}
