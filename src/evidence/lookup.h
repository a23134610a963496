/* Which kernel for this problem on this device: exact, else predicted, else nearest, else the space's default. */
#ifndef TRIAGE_EVIDENCE_LOOKUP_H
#define TRIAGE_EVIDENCE_LOOKUP_H

#include "evidence/predict.h"
#include "render/render.h"
#include "store/store.h"

typedef struct tri_found {
    triage_source source;
    tri_candidate candidate; /* legal for the asked problem */
    tri_source rendered;
    char *donor; /* the donor's problem key; "" unless nearest */
    char *device,
        *device_name; /* nearest: of another device that the donor was measured on; NULL: on this one */
    double distance, median_ns, expected_loss;
    tri_prediction predicted; /* of a predicted one */
    char *rivals
        [TRI_RIVALS]; /* beside it, what a race would try (predict.h): legal, not rendered yet; then NULL */
    double rival_ns[TRI_RIVALS];
    bool is_claim; /* of a stranger, that nobody here has checked: docs/trust.md */
} tri_found;
void tri_found_free(tri_found *found);

/* store may be NULL. Evidence whose template has changed since (another source hash) is a miss. However much evidence
 * there is, what is looked at has a limit: 1024 rows of a ranking, 128 renderings, 4096 problems around. */
triage_status tri_lookup(tri_found *out, tri_store *store, tri_space *space, const tri_problem *problem,
                         const tri_device_info *info, const char *data_dir);

/* Only what the store knows of the very problem; *found: is there anything? */
triage_status tri_lookup_exact(tri_found *out, bool *found, tri_store *store, tri_space *space,
                               const tri_problem *problem, const tri_device_info *info, const char *data_dir);

/* Below what was found: another store's evidence takes its place where that is closer (exact before nearest
 * before default, and before a stranger's claim of the same kind); what the store above knows as well stays. */
triage_status tri_lookup_below(tri_found *found, tri_store *below, tri_space *space,
                               const tri_problem *problem, const tri_device_info *info, const char *data_dir);

/* May a prediction take the place of what was found? Not of an exact answer, nor of a measured one that is very near, here
 * or on a sister. */
bool tri_lookup_is_open(const tri_found *found);

/* If it may: the configuration that the predictor expects most of, which has not failed here (store: where that may be
 * known; NULL: nowhere); with_rivals: and found->rivals. predictor NULL: nothing changes. */
triage_status tri_lookup_predicted(tri_found *found, const tri_predictor *predictor, tri_store *store,
                                   tri_space *space, const tri_problem *problem, const tri_device_info *info,
                                   const char *data_dir, bool with_rivals);

/* In place of a default: what the store knows of the asked problem on another device, or of the nearest one there. It
 * counts as the nearest also where the problem is the same, and what it costs is not known. */
triage_status tri_lookup_on_sister(tri_found *found, tri_store *store, const char *device, tri_space *space,
                                   const tri_problem *problem, const tri_device_info *info,
                                   const char *data_dir);

#endif
