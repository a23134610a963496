/* The gate for evidence from other databases, behind the types, ranges and ids that the store checks: does the row speak
 * of a problem, a device and a kernel that can be, and of a time that the device can reach? */
#ifndef TRIAGE_EVIDENCE_ADMISSION_H
#define TRIAGE_EVIDENCE_ADMISSION_H

#include "space/space.h"
#include "store/store.h"

typedef struct tri_admission tri_admission;

/* space_path: a space of the user's own, whose configurations are admitted beside those of the built-in space;
 * NULL: none. data_dir: see tri_resource_read. */
triage_status tri_admission_open(tri_admission **out, const char *space_path, const char *data_dir);
void tri_admission_free(tri_admission *admission);

/* A tri_check_fn; user is a tri_admission, which threads may share. TRIAGE_E_DATA names the field, its value and what is allowed.
 *
 * - problem and device are keys as this program writes them, config begins with its kernel's name;
 * - min_ns is not below what the device can do (evidence/roofline.h);
 * - of a row that this version of triage wrote, the configuration is one of the space, and satisfies its
 *   constraints for that problem and device. What another version wrote is of a space that is not here, and is
 *   kept if it passes the rest: refusing it would lose a newer machine's evidence for good, and a lookup uses no
 *   configuration that is not legal here and does not render to the very source that was measured;
 * - a row of an operation that this version does not know is kept, whoever wrote it: nothing looks it up here;
 * - a dense product (op/dense.h) is of no space: its configuration is the device's library, and its source's
 *   hash that of the call that this version makes. */
triage_status tri_admission_check(void *user, const tri_measurement *row);

/* Only what needs no space: keys, kernel and time. */
triage_status tri_admission_check_claims(const tri_measurement *row);

/* How many rows were kept whose configurations this version cannot judge. */
int64_t tri_admission_unjudged(tri_admission *admission);

#endif
