/* What near problems teach of this one, for a search to begin with. */
#ifndef TRIAGE_RUN_KNOWN_H
#define TRIAGE_RUN_KNOWN_H

#include "run/tuned.h"
#include "space/space.h"

#define TRI_KNOWN_DONORS 3 /* as near as that they are asked */
/* More would take the place of what a search finds by itself; the best of a near problem is rarely farther down. */
#define TRI_KNOWN_MOST 12

/* Zero-initialise. */
typedef struct tri_known {
    size_t points[TRI_KNOWN_MOST]; /* into the configurations, the most promising first */
    char *configs[TRI_KNOWN_MOST];
    size_t count;
    tri_tuned donors[TRI_KNOWN_DONORS]; /* whose rankings they are from, the nearest first */
    size_t donor_count;
    tri_prior *prior; /* times of the nearest donor, of all of its configurations that are legal here */
    size_t prior_count;
    const char
        *layer; /* that they are of: "own", "shipped", or "elsewhere": on another device; NULL: nothing */
    char *device_name; /* of that device */
} tri_known;
void tri_known_free(tri_known *known); /* leaves it empty */

/* The configurations of the rankings of the nearest tuned problems that are legal here too: the first of each donor,
 * then the second of each, and so on, each once and the default never; what was slow there comes last. Near is what a
 * lookup calls near. It is a hint, since all will be measured: whether the evidence speaks of today's kernel is not
 * asked. Every machine with the same evidence is told the same. most: at most so many, and never more than
 * TRI_KNOWN_MOST. with_itself: the problem's own ranking too, the nearest there is; without it in one's own database,
 * where it is known anyway what was measured. */
triage_status tri_known_find(tri_known *out, tri_store *store, const char *device, const tri_problem *problem,
                             const tri_configs *configs, size_t most, bool with_itself);

#endif
