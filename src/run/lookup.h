/* Which kernel for this problem on this device: exact, else nearest, else the space's default. */
#ifndef TRIAGE_RUN_LOOKUP_H
#define TRIAGE_RUN_LOOKUP_H

#include "render/render.h"
#include "store/store.h"

typedef struct tri_found {
    triage_source source;
    tri_candidate candidate; /* legal for the asked problem */
    tri_source rendered;
    char *donor; /* the donor's problem key; "" unless nearest */
    double distance, median_ns, expected_loss;
} tri_found;
void tri_found_free(tri_found *found);

/* The same over several stores, the first one's evidence before the next one's: exact evidence of any of them,
 * else the nearest of the first that has some, else the default. A store may be NULL. */
triage_status tri_lookup_layers(tri_found *out, tri_store *const *stores, size_t count, tri_space *space,
                                const tri_problem *problem, const tri_device_info *info,
                                const char *data_dir);

/* store may be NULL. Evidence whose template has changed since (another source hash) is a miss. */
triage_status tri_lookup(tri_found *out, tri_store *store, tri_space *space, const tri_problem *problem,
                         const tri_device_info *info, const char *data_dir);

#endif
