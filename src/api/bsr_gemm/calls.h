/* The calls that a matrix has served: their arguments were checked, their plan found and their argument block made,
 * so a call that passes the same is launched at once.
 *
 * A call in use is counted, and only one that nobody uses is overwritten; who finds it busy leaves it alone. So
 * nobody waits, and the driver reads the block where it is. */
#ifndef TRIAGE_API_BSR_GEMM_CALLS_H
#define TRIAGE_API_BSR_GEMM_CALLS_H

#include <stdatomic.h>

#include "bsr_gemm/args.h"
#include "api/context.h"

/* What a caller passes beside the matrix and the stream. Borrowed. */
typedef struct tri_call {
    const triage_dense *b, *c;
    const triage_epilogue *epilogue; /* NULL: none */
    float alpha, beta;
} tri_call;

/* A call that was served. What a lookup compares comes first: two cache lines without an epilogue. */
typedef struct tri_served_call {
    _Alignas(64) _Atomic(uint32_t) users; /* readers; with the top bit: a writer */
    float alpha, beta;
    bool has_epilogue;
    tri_plan *plan;
    triage_dense b, c;
    triage_epilogue epilogue;
    tri_bsr_gemm_args args;
} tri_served_call;

/* Room for threads that share a matrix, each with its own B and C, for a few buffers in turn, for a few widths: tensor
 * maps made anew for each call cost microseconds. One that is new takes the place of an old one. */
#define TRI_CALL_SETS 32 /* a power of two */
#define TRI_CALL_WAYS 4

struct tri_calls {
    tri_served_call known[TRI_CALL_SETS][TRI_CALL_WAYS];
    _Alignas(64) _Atomic(uint64_t) tags[TRI_CALL_SETS][TRI_CALL_WAYS]; /* a hash of the call; 0: none yet */
    _Atomic(uint32_t) turn; /* whose place the next of a full set takes */
    void *memory;           /* what is freed: the struct itself is aligned */
};

/* An empty one; most of its 100 KB is not touched before it is used. TRIAGE_E_MEMORY. */
triage_status tri_calls_make(tri_calls **out);
void tri_calls_free(tri_calls *calls);

/* The call that passed the same and whose plan serves the stream, or NULL. It stays as it is until it is given back. */
tri_served_call *tri_calls_take(tri_calls *calls, const tri_call *call, const void *stream);
static inline void tri_calls_give_back(tri_served_call *known) {
    atomic_fetch_sub_explicit(&known->users, 1, memory_order_release);
}
/* Forgets all calls; none may be under way. */
void tri_calls_forget(tri_calls *calls);
/* Keeps a call, unless another one under way is in its place. */
void tri_calls_put(tri_calls *calls, const tri_call *call, tri_plan *plan, const tri_bsr_gemm_args *args);

#endif
