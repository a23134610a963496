/* Other devices of this one's architecture: where neither one's own evidence nor what is shipped knows this device, a
 * kernel that is fast on its sister is a better guess than the space's default. How good a guess, nobody has measured:
 * the expected loss is unknown, and the donor's device is named. */
#ifndef TRIAGE_EVIDENCE_SISTERS_H
#define TRIAGE_EVIDENCE_SISTERS_H

#include "evidence/warm_start.h"
#include "evidence/lookup.h"

typedef struct tri_sisters tri_sisters;

/* The devices of the same target that the own store, borrowed and perhaps NULL, and the shipped evidence know, as they
 * are now. A CPU has none: its caches and cores make too much of a kernel's time. */
triage_status tri_sisters_open(tri_sisters **out, tri_store *own, const tri_device_info *info,
                               const char *data_dir, const tri_log *log);
void tri_sisters_close(tri_sisters *sisters);

/* Of the most similar device that has an answer: it takes the place of a default, as the nearest. Anything else that
 * was found stays. */
triage_status tri_sisters_look_up(tri_found *found, tri_sisters *sisters, tri_space *space,
                                  const tri_problem *problem, const tri_device_info *info,
                                  const char *data_dir);

/* What a search can begin with, of the most similar device that knows something near: tri_warm_start_find. */
triage_status tri_sisters_warm_start(tri_warm_start *out, tri_sisters *sisters, const tri_problem *problem,
                                     const tri_configs *configs, size_t most, const char *data_dir);

#endif
