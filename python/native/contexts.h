/* One context of triage for each device of torch, opened when its first tensor comes. */
#ifndef TRIAGE_TORCH_CONTEXTS_H
#define TRIAGE_TORCH_CONTEXTS_H

#include "operand.h"

/* The context of the device that a tensor is on, borrowed; NULL: failed, and the failure says why. */
triage_context *context_of(const operand *like);

/* The current stream of torch there; NULL on the CPU. */
bool stream_of(void **out, const operand *like);

/* Frees what the operators keep of a context, before it is closed. */
void drop_matrices(void);
void drop_attentions(void);

#endif
