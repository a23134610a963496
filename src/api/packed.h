/* What a pack (device/pack.h) spares a context: the lookup of a kernel, and its compiler. */
#ifndef TRIAGE_API_PACKED_H
#define TRIAGE_API_PACKED_H

#include "api/context.h"
#include "evidence/lookup.h"

/* *hit: the pack has an answer for this problem on this device, and its kernel is still that text. Under context->lock. */
triage_status tri_packed_look_up(tri_found *out, bool *hit, triage_context *context, tri_space *space,
                                 const tri_problem *problem);

/* Did a kernel of the pack not load? Then the pack is done without from here on, and the log says why. Any number of
 * threads. */
void tri_packed_distrust(triage_context *context);

#endif
