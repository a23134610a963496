/* What is behind a triage_attention: the problem, its lists, and how it is called. */
#ifndef TRIAGE_API_ATTENTION_ATTENTION_H
#define TRIAGE_API_ATTENTION_ATTENTION_H

#include <stdatomic.h>

#include "api/call.h"
#include "op/attention/attention.h"

/* The kernels that select blocks (select.c). Made once, then immutable. */
typedef struct tri_attention_selector tri_attention_selector;

struct triage_attention {
    triage_context *context;
    tri_caller caller;
    tri_attention_problem problem; /* alignment and expanded are those of a call */
    tri_attention_args fixed; /* what calls have in common, lists of the host's with their device addresses */
    bool device_lists;
    bool no_sequence;     /* desc.batch is 0: the problem is that of one, and calls do nothing */
    tri_address owned[5]; /* the host's lists on the device */
    size_t owned_count;
    _Atomic(tri_attention_selector *) selector; /* NULL until blocks are selected */
    pthread_mutex_t selector_lock;              /* held while it is made */
};

extern const tri_call_type tri_attention_calls;

/* TRIAGE_E_INVALID names the field, its value and what is allowed. */
triage_status tri_attention_check_desc(const triage_attention_desc *desc);
triage_status tri_attention_check_call(const triage_attention *attention, const triage_attention_call *call);

/* The host's lists of blocks (lists.c): checked, counted into the problem, and put on the device. TRIAGE_E_DATA names the list
 * and the row. */
triage_status tri_attention_take_lists(triage_attention *attention, const triage_attention_desc *desc);

/* How far a call's addresses and strides are aligned, at most 16 bytes, and whether a stride is 0. */
void tri_attention_call_kind(int32_t *alignment, bool *expanded, const triage_attention *attention,
                             const triage_attention_call *call);

/* Of what a selection looks at, Q and K, as check.c does of a whole call. */
triage_status tri_attention_check_scored(const triage_attention *attention,
                                         const triage_attention_call *call);
void tri_attention_selector_free(triage_attention *attention);

#endif
