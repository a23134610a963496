/* What a row from elsewhere must be beyond what the store checks. */
#ifndef TRIAGE_RUN_CHECK_EVIDENCE_H
#define TRIAGE_RUN_CHECK_EVIDENCE_H

#include "store/store.h"

/* A tri_check_fn: the row is about a problem that this version can read, and no faster than its device can be. */
triage_status tri_check_evidence(void *user, const tri_measurement *row);

#endif
