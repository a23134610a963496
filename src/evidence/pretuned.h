/* Evidence that the library ships (db/pretuned), as a store that lookup asks after the user's own. */
#ifndef TRIAGE_EVIDENCE_PRETUNED_H
#define TRIAGE_EVIDENCE_PRETUNED_H

#include "store/store.h"

/* What is shipped for this device, in memory. *out is NULL when there is nothing. A row that fails a check is named
 * in the log and left out. A data_dir without db/pretuned has the built-in rows. */
triage_status tri_pretuned_open(tri_store **out, const tri_device_info *info, const char *data_dir,
                                const tri_log *log);

/* The rows of one problem alone, by its key: what an exact answer needs, for a hundredth of the work. Nothing is logged of a row
 * that fails a check: tri_pretuned_open does that. */
triage_status tri_pretuned_open_problem(tri_store **out, const tri_device_info *info, const char *problem,
                                        const char *data_dir);

/* The keys and names of the devices that something is shipped for; a device may come more than once. */
triage_status tri_pretuned_devices(const char *data_dir, tri_device_fn fn, void *user);

#endif
