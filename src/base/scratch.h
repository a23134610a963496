/* Folders for what is thrown away again, in tri_temporary_folder(). Each is locked (flock) by the process that made it: one
 * whose owner was killed is no longer, and the next run of the same user removes it. */
#ifndef TRIAGE_BASE_SCRATCH_H
#define TRIAGE_BASE_SCRATCH_H

#include "base/base.h"

typedef struct tri_scratch {
    char *path; /* NULL: none */
    int fd;     /* holds the lock */
} tri_scratch;

/* Makes a new folder "triage-work-XXXXXX" (0700). The first call of a process sweeps. TRIAGE_E_IO, TRIAGE_E_MEMORY. */
triage_status tri_scratch_open(tri_scratch *out);
/* Removes it with all that is in it. One that was never opened is no error. */
void tri_scratch_close(tri_scratch *scratch);

/* Removes those of this user that nobody owns any more. */
void tri_scratch_sweep(void);

#endif
