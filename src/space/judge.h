/* Which points of a kernel are legal: its constraints, asked as seldom as that can be known. */
#ifndef TRIAGE_SPACE_JUDGE_H
#define TRIAGE_SPACE_JUDGE_H

#include "space/model.h"
#include "space/sandbox.h"

typedef struct tri_judge tri_judge;

/* out is the caller's, empty; it is filled also where the call fails. */
triage_status tri_judge_open(tri_judge **out, const tri_space_kernel *kernel, const tri_question *question,
                             tri_verdicts *verdicts);
void tri_judge_free(tri_judge *judge);

/* A tri_sandbox_fn over a tri_judge. A constraint that raises an error, or that does not answer true or false, is an error
 * that names it, if no other constraint excludes the point. */
triage_status tri_judge_in_lua(lua_State *L, void *judge);

#endif
