/* What a first call of a problem that nobody tuned may spend (options.first_call_ms): the likeliest kernels, raced on its own
 * operands.
 *
 * The race is that of triage_tune's finals, on a bench whose inputs are the caller's, where they lie (measure/bench_given.c):
 * results go to scratch, each is held against the plain kernel and float64, in all cases, before and after it is timed. What
 * was found right is evidence of one's own, and the fastest is taken. What keeps a race from being decided costs the race,
 * never the call: what was found before stands. */
#ifndef TRIAGE_API_FIRST_CALL_H
#define TRIAGE_API_FIRST_CALL_H

#include "api/loaded.h"

/* Unless it is exact, or nothing may be spent: puts the winner in the place of what was found. Under context->lock, which is
 * given back meanwhile. */
triage_status tri_first_call_race(tri_found *found, triage_context *context, tri_space *space,
                                  const tri_problem *problem, const tri_first_call *call);

#endif
