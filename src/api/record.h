/* What calls ask for and nobody tuned, noted in a file (options.record_path) for triage_tune --from. */
#ifndef TRIAGE_API_RECORD_H
#define TRIAGE_API_RECORD_H

#include "api/context.h"

/* Adds the problem, unless the file has it. pattern: of its matrix; NULL: none is known here. A failure is told to the log:
 * it costs the record, never the product. Under context->lock. */
void tri_record(const triage_context *context, const tri_problem *problem, const tri_pattern *pattern);

#endif
