/* What is known of the dense product of a problem's shape (op/dense.h). */
#ifndef TRIAGE_EVIDENCE_DENSE_EVIDENCE_H
#define TRIAGE_EVIDENCE_DENSE_EVIDENCE_H

#include "op/op.h"
#include "store/store.h"

/* The stored median of the dense product on that device, in one store; 0: not known. */
triage_status tri_dense_lookup(double *median_ns, tri_store *store, const tri_problem *problem,
                               const tri_device_info *info);

#endif
