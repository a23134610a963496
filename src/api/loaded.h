/* A kernel chosen, compiled and loaded for one problem: looked up once, then kept by the context and shared by all
 * handles whose problem is the same. Immutable. */
#ifndef TRIAGE_API_LOADED_H
#define TRIAGE_API_LOADED_H

#include "api/context.h"
#include "evidence/lookup.h"

struct tri_loaded {
    tri_loaded *next;
    bool
        is_being_made; /* by a thread that compiles: beside it only next, problem_key, variant can be looked at */
    char *problem_key;
    uint64_t variant;
    tri_found found;        /* without its rendered text */
    const tri_image *image; /* the context's */
    tri_kernel *kernel;
};

/* What a first call passes, for a race on it (first_call.h): where its operands are, as inputs of the operation's case 0, and
 * the pattern. operands or call NULL: there is no race. */
typedef triage_status (*tri_operands_fn)(tri_inputs *out, const tri_pattern **pattern, const void *handle,
                                         const void *call);
typedef struct tri_first_call {
    tri_operands_fn operands;
    const void *handle, *call;
    const tri_pattern *pattern; /* of the handle's matrix; NULL: none */
} tri_first_call;

/* The compiled text, the context's. Under context->lock, which is given back meanwhile. */
triage_status tri_loaded_compile(const tri_image **out, triage_context *context, const tri_source *source);

/* The kernel for a problem. One thread makes it while others who want the same wait; no other problem waits for it.
 * variant: tells apart problems of one key that a space may treat differently (alignments, the exact number of blocks).
 * chosen_by: the problem whose winner it is to be, mostly the same. first: what is known of the call; NULL: nothing. Compiles,
 * loads; takes context->lock. */
triage_status tri_loaded_for(const tri_loaded **out, triage_context *context, const tri_problem *problem,
                             const tri_problem *chosen_by, uint64_t variant, const tri_first_call *first);

/* Of what the caller of a public _choice passes: NULL, or another version. */
triage_status tri_choice_check(const triage_choice *out);
/* Fills in what it is and why; not out->version. A dense product is one not known. */
void tri_loaded_describe(triage_choice *out, const tri_loaded *loaded);

#endif
