/* A space whose functions run in a process of its own: what this one sees of them are answers, checked. */
#ifndef TRIAGE_SPACE_REMOTE_H
#define TRIAGE_SPACE_REMOTE_H

#include "space/local.h"

/* As tri_local_open. */
triage_status tri_remote_open(tri_space *space, const tri_space_text *text, const tri_files *files);

#endif
