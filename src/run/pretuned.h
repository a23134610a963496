/* Evidence that the library ships (db/pretuned), as a store that lookup asks after the user's own. */
#ifndef TRIAGE_RUN_PRETUNED_H
#define TRIAGE_RUN_PRETUNED_H

#include "run/context.h"

/* What is shipped for this device, in memory. *out is NULL when there is nothing. */
triage_status tri_pretuned_open(tri_store **out, const tri_device_info *info, const char *data_dir);
/* The context's, opened when it is first asked for. Borrowed; NULL: nothing. Under context->lock. */
triage_status tri_pretuned_of(tri_store **out, triage_context *context);

#endif
