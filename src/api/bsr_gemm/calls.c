/* Finding and keeping the calls of a matrix. */
#include <stdlib.h>
#include <string.h>

#include "api/bsr_gemm/calls.h"
#include "api/bsr_gemm/plan.h"

#define WRITER (UINT32_C(1) << 31)

triage_status tri_calls_make(tri_calls **out) {
    char *memory = NULL;
    triage_status status = tri_calloc(&memory, 1, sizeof **out + _Alignof(tri_calls) - 1);
    if (status != TRIAGE_OK)
        return status;
    *out = (tri_calls *)(memory + (-(uintptr_t)memory & (_Alignof(tri_calls) - 1)));
    (*out)->memory = memory;
    return TRIAGE_OK;
}

void tri_calls_free(tri_calls *calls) {
    if (calls)
        free(calls->memory);
}

void tri_calls_forget(tri_calls *calls) {
    for (size_t set = 0; set < TRI_CALL_SETS; set++)
        for (size_t way = 0; way < TRI_CALL_WAYS; way++)
            atomic_store_explicit(&calls->tags[set][way], 0, memory_order_relaxed);
}

/* Factors are compared by bits: -0 is not 0, and a NaN is itself. */
static uint32_t bits_of(float factor) {
    uint32_t bits;
    memcpy(&bits, &factor, sizeof bits);
    return bits;
}

static bool same_dense(const triage_dense *a, const triage_dense *b) {
    return a->data == b->data && a->rows == b->rows && a->cols == b->cols && a->ld == b->ld &&
           a->dtype == b->dtype && a->layout == b->layout;
}

static bool same_epilogue(const triage_epilogue *a, const triage_epilogue *b) {
    return a->version == b->version && a->bias == b->bias && a->activation == b->activation &&
           a->scale_a == b->scale_a && a->scale_b == b->scale_b &&
           a->scale_a_per_block == b->scale_a_per_block;
}

/* All that is passed, because a known call is not checked again. */
static bool same_call(const tri_served_call *known, const tri_call *call) {
    return bits_of(known->alpha) == bits_of(call->alpha) && bits_of(known->beta) == bits_of(call->beta) &&
           same_dense(&known->b, call->b) && same_dense(&known->c, call->c) &&
           known->has_epilogue == (call->epilogue != NULL) &&
           (!call->epilogue || same_epilogue(&known->epilogue, call->epilogue));
}

/* Of what calls differ in most; never 0. Fibonacci hashing: buffers lie at multiples of large powers of two. */
static uint64_t tag_of(const tri_call *call) {
    uint64_t hash = (uint64_t)(uintptr_t)call->b->data * UINT64_C(0x9e3779b97f4a7c15) +
                    (uint64_t)(uintptr_t)call->c->data * UINT64_C(0xd1b54a32d192ed03) +
                    ((uint64_t)call->c->cols << 32 | bits_of(call->alpha)) * UINT64_C(0x8cb92ba72f3d8dd7);
    return hash | 1;
}

static size_t set_of(uint64_t tag) {
    return tag >> 32 & (TRI_CALL_SETS - 1);
}

TRI_HOT tri_served_call *tri_calls_take(tri_calls *calls, const tri_call *call, const void *stream) {
    const uint64_t tag = tag_of(call);
    const size_t set = set_of(tag);
    for (size_t way = 0; way < TRI_CALL_WAYS; way++) {
        if (atomic_load_explicit(&calls->tags[set][way], memory_order_relaxed) != tag)
            continue;
        tri_served_call *known = &calls->known[set][way];
        if (atomic_fetch_add_explicit(&known->users, 1, memory_order_acquire) < WRITER &&
            same_call(known, call) && tri_plan_serves(known->plan, stream))
            return known;
        tri_calls_give_back(known);
    }
    return NULL;
}

void tri_calls_put(tri_calls *calls, const tri_call *call, tri_plan *plan, const tri_bsr_gemm_args *args) {
    const uint64_t tag = tag_of(call);
    const size_t set = set_of(tag);
    size_t way = 0;
    while (way < TRI_CALL_WAYS && atomic_load_explicit(&calls->tags[set][way], memory_order_relaxed) != 0)
        way++;
    if (way == TRI_CALL_WAYS)
        way = atomic_fetch_add_explicit(&calls->turn, 1, memory_order_relaxed) % TRI_CALL_WAYS;
    tri_served_call *known = &calls->known[set][way];
    uint32_t nobody = 0;
    if (!atomic_compare_exchange_strong_explicit(&known->users, &nobody, WRITER, memory_order_acquire,
                                                 memory_order_relaxed))
        return;
    known->alpha = call->alpha;
    known->beta = call->beta;
    known->b = *call->b;
    known->c = *call->c;
    known->has_epilogue = call->epilogue != NULL;
    if (call->epilogue)
        known->epilogue = *call->epilogue;
    known->plan = plan;
    known->args = *args;
    atomic_store_explicit(&calls->tags[set][way], tag, memory_order_relaxed);
    atomic_fetch_sub_explicit(&known->users, WRITER, memory_order_release);
}
