/* Problems that are tuned on a device, as donors of kernels for another problem. The one search for them: a lookup, explain,
 * the loss of a nearest kernel and a search's start all ask here. */
#ifndef TRIAGE_EVIDENCE_DONORS_H
#define TRIAGE_EVIDENCE_DONORS_H

#include "evidence/freshness.h"
#include "store/store.h"

/* Whose evidence is asked. Borrowed. */
typedef struct tri_donor_place {
    tri_store *store;
    const char *device; /* key */
} tri_donor_place;

typedef struct tri_donor {
    char *key;
    tri_problem problem; /* of packed leading dimensions: a key has no others */
    double distance;     /* to the problem that donors were looked for */
    bool was_asked;      /* for its winner, with the place it is of: tri_donor_ask */
    tri_measurement
        winner; /* config NULL: none, or not asked; config, source_hash and median_ns; once read also id and stage */
} tri_donor;
void tri_donor_clear(tri_donor *donor);

/* Zero-initialise. */
typedef struct tri_donor_list {
    tri_donor *items;
    size_t count, capacity;
} tri_donor_list;
void tri_donor_list_free(tri_donor_list *list); /* leaves it empty */

/* ---- which there are ---- */

/* Those whose kernels can serve the problem, near ones first, in the same order on every machine: the nearest `most`; 0: all.
 * with_itself: the problem, too, if it is tuned. A key that cannot be read serves nobody. Of more than 4096 problems about as
 * near some may be left out, unless all are asked for. */
triage_status tri_donors_around(tri_donor_list *out, const tri_donor_place *in, const tri_problem *problem,
                                size_t most, bool with_itself);
/* All problems of an operation that are tuned there; distances are infinite. */
triage_status tri_donors_all(tri_donor_list *out, const tri_donor_place *in, const tri_operation *op);

/* ---- what they lend ---- */

/* Its winner, read unless it is known. */
triage_status tri_donor_ask(tri_donor *donor, const tri_donor_place *in);
/* Its winner's row, in any case: id and stage, too. */
triage_status tri_donor_read(tri_donor *donor, const tri_donor_place *in);

/* What a donor lends to a problem: its winner, if that is today's kernel there and may run here; where it may not run here,
 * the best of the donor's others that may (runner_up.h). Zero-initialise. */
typedef struct tri_loan {
    const tri_measurement *row; /* the donor's winner, or runner_up; NULL: it lends nothing */
    tri_rendering here;         /* of row's configuration, for the problem that asks */
    tri_measurement runner_up;
    /* Why the winner is not lent: at the donor, or here. */
    tri_config_freshness winner;
    bool at_donor;
} tri_loan;
void tri_loan_clear(tri_loan *loan);

triage_status tri_donor_lend(tri_loan *out, tri_donor *donor, const tri_donor_place *in,
                             const tri_setting *setting, const tri_problem *asked);

/* The nearest of the list that lends something to the problem: of those that somebody trusted has measured; else of those
 * of which only strangers say something (docs/trust.md). */
typedef struct tri_donor_choice {
    size_t by; /* in the list */
    bool is_claim;
    tri_loan loan; /* row NULL: nobody lends anything */
} tri_donor_choice;
/* least_distance: nearer ones are not asked. */
triage_status tri_donors_choose(tri_donor_choice *out, tri_donor_list *list, const tri_donor_place *in,
                                const tri_setting *setting, const tri_problem *asked, double least_distance);

#endif
