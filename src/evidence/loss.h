/* What a nearest kernel costs, by leaving one out: each tuned problem is answered from the others as a lookup would
 * answer it, and its own evidence tells how that configuration did there. */
#ifndef TRIAGE_EVIDENCE_LOSS_H
#define TRIAGE_EVIDENCE_LOSS_H

#include "evidence/freshness.h"
#include "store/store.h"

typedef enum tri_loss_kind {
    TRI_LOSS_JUDGED,
    TRI_LOSS_FAILED,   /* the donor's configuration failed there: it counts as a loss of all */
    TRI_LOSS_UNTIMED,  /* it was never timed there: nobody knows */
    TRI_LOSS_NO_DONOR, /* no other problem can serve it: a lookup gives the default */
    TRI_LOSS_STALE     /* nothing that is known of the problem speaks of today's kernels */
} tri_loss_kind;

typedef struct tri_loss {
    char *problem, *donor; /* keys; donor "" without one */
    tri_loss_kind kind;
    double distance; /* to the donor */
    double loss; /* the fraction of its time that tuning would have saved, 0 .. 1; judged and failed only */
} tri_loss;

typedef struct tri_losses {
    tri_loss *items;
    size_t count;
    size_t counts[TRI_LOSS_STALE + 1]; /* by kind */
    /* Over those that were judged or failed; -1 when there are none. */
    double mean, median, p90, most;
} tri_losses;
void tri_losses_free(tri_losses *losses);
/* Could at least half of those that a donor serves be judged? If not, the figures flatter: a search comes back to
 * what is good, so what was never tried is rather bad. */
bool tri_losses_speak(const tri_losses *losses);

typedef struct tri_loss_question {
    tri_store *store;
    const tri_setting *setting;
    const tri_problem *
        around; /* NULL: every problem of the setting's space that is tuned on the device; else the nearest to it */
    size_t limit; /* of those, at most so many; 0: all */
    /* Donors nearer than this are not asked: a lookup whose own donor is that far away must not be told how near
     * ones do. */
    double least_distance;
} tri_loss_question;

triage_status tri_losses_find(tri_losses *out, const tri_loss_question *question);

#endif
