/* What near problems teach of this one, for a search to begin with. */
#ifndef TRIAGE_EVIDENCE_WARM_START_H
#define TRIAGE_EVIDENCE_WARM_START_H

#include "evidence/donors.h"
#include "evidence/predict.h"
#include "space/space.h"

#define TRI_WARM_START_DONORS 3 /* as near as that they are asked */
/* More would take the place of what a search finds by itself; the best of a near problem is rarely farther down. */
#define TRI_WARM_START_MOST 12

/* Zero-initialise. */
typedef struct tri_warm_start {
    size_t points[TRI_WARM_START_MOST]; /* into the configurations, the most promising first */
    char *configs[TRI_WARM_START_MOST];
    size_t count, predicted;                 /* of them so many are predicted: the first */
    tri_donor donors[TRI_WARM_START_DONORS]; /* whose rankings they are from, the nearest first */
    size_t donor_count;
    tri_prior *
        prior; /* times of the nearest donor, of all of its configurations that are legal here; or predicted ones */
    size_t prior_count;
    const char *
        layer; /* that they are of: "own", "shipped", "elsewhere": on another device, or "predicted" alone; NULL: nothing */
    char *device_name; /* of that device */
} tri_warm_start;
void tri_warm_start_free(tri_warm_start *known); /* leaves it empty */

/* The configurations of the rankings of the nearest tuned problems that are legal here too: the first of each donor,
 * then the second of each, and so on, each once and the default never; what was slow there comes last. Near is what a
 * lookup calls near. It is a hint, since all will be measured: whether the evidence speaks of today's kernel is not
 * asked. Every machine with the same evidence is told the same. most: at most so many, and never more than
 * TRI_WARM_START_MOST. with_itself: the problem's own ranking too, the nearest there is; without it in one's own database,
 * where it is known anyway what was measured. */
triage_status tri_warm_start_find(tri_warm_start *out, tri_store *store, const char *device,
                                  const tri_problem *problem, const tri_configs *configs, size_t most,
                                  bool with_itself);

/* Puts what is predicted to be fast before what is known, and predicted times in the place of a donor's, whose times taught
 * the predictor, too. predictor NULL: nothing changes. */
triage_status tri_warm_start_predict(tri_warm_start *start, const tri_predictor *predictor,
                                     const tri_problem *problem, const tri_device_info *info,
                                     const tri_configs *configs, size_t most);

#endif
