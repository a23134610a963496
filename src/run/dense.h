/* What is known of the dense product of a problem's shape (op/dense.h). */
#ifndef TRIAGE_RUN_DENSE_H
#define TRIAGE_RUN_DENSE_H

#include "run/context.h"

/* The stored median of the dense product on the context's device: the user's own evidence, else what is shipped;
 * 0: not known. Takes the context's lock. */
triage_status tri_dense_time(double *median_ns, triage_context *context, const tri_problem *problem);

/* The same from one store. */
triage_status tri_dense_lookup(double *median_ns, tri_store *store, const tri_problem *problem,
                               const tri_device_info *info);

#endif
