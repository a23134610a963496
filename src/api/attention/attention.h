/* What is behind a triage_attention: the problem, its lists, the plans and the calls it has served. */
#ifndef TRIAGE_API_ATTENTION_ATTENTION_H
#define TRIAGE_API_ATTENTION_ATTENTION_H

#include <stdatomic.h>

#include "api/loaded.h"
#include "op/attention/attention.h"

/* One way of calling: how far bases and strides are aligned, and on which stream a kernel with a workspace runs. Made
 * once, then immutable; in a list that only grows, so that calls walk it without a lock. */
typedef struct tri_attention_plan {
    struct tri_attention_plan *next;
    int32_t alignment;
    bool expanded;
    bool own_kernel; /* with a workspace: of this stream alone */
    void *stream;
    tri_kernel *kernel;
    const tri_loaded *loaded;
    tri_problem problem;
} tri_attention_plan;

/* A call that was served and what it launched. A new one takes the place of an old one; one in use is left alone. */
#define TRI_ATTENTION_CALLS 32 /* a power of two */
typedef struct tri_attention_known {
    _Alignas(64) _Atomic(uint32_t) users; /* readers; with the top bit: a writer */
    tri_attention_plan *plan;             /* NULL: empty */
    triage_attention_call call;
    tri_attention_args args;
} tri_attention_known;

/* The kernels that select blocks (select.c). Made once, then immutable. */
typedef struct tri_attention_selector tri_attention_selector;

struct triage_attention {
    tri_attention_known known[TRI_ATTENTION_CALLS];
    triage_context *context;
    pthread_mutex_t lock;          /* held while a plan or the selector is put together */
    tri_attention_problem problem; /* alignment and expanded are those of a call */
    tri_attention_args fixed; /* what calls have in common, lists of the host's with their device addresses */
    bool device_lists;
    tri_address owned[5]; /* the host's lists on the device */
    size_t owned_count;
    _Atomic(tri_attention_plan *) plans;
    _Atomic(tri_attention_selector *) selector; /* NULL until blocks are selected */
    void *memory;                               /* what is freed: the struct itself is aligned */
};

/* TRIAGE_E_INVALID names the field, its value and what is allowed. */
triage_status tri_attention_check_desc(const triage_attention_desc *desc);
triage_status tri_attention_check_call(const triage_attention *attention, const triage_attention_call *call);

/* How far a call's addresses and strides are aligned, at most 16 bytes, and whether a stride is 0. */
void tri_attention_call_kind(int32_t *alignment, bool *expanded, const triage_attention *attention,
                             const triage_attention_call *call);

/* The plan that serves such a call on the stream; NULL: none yet. Lock-free. */
tri_attention_plan *tri_attention_plan_find(const triage_attention *attention,
                                            const triage_attention_call *call, const void *stream);
/* Makes and publishes it. Compiles, allocates, synchronises. TRIAGE_E_CAPTURE while the stream is being captured. */
triage_status tri_attention_plan_make(tri_attention_plan **out, triage_attention *attention,
                                      const triage_attention_call *call, void *stream);
void tri_attention_plans_free(triage_attention *attention);
/* The argument block of a call, tensor maps included. */
triage_status tri_attention_plan_args(tri_attention_args *out, const triage_attention *attention,
                                      const tri_attention_plan *plan, const triage_attention_call *call);

/* Of what a selection looks at, Q and K, as check.c does of a whole call. */
triage_status tri_attention_check_scored(const triage_attention *attention,
                                         const triage_attention_call *call);
void tri_attention_selector_free(triage_attention *attention);

#endif
