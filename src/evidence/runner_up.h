/* What a tuned problem has for another where its winner may not run: a tile that fits one may not fit the other. */
#ifndef TRIAGE_EVIDENCE_RUNNER_UP_H
#define TRIAGE_EVIDENCE_RUNNER_UP_H

#include "evidence/freshness.h"
#include "evidence/donors.h"

/* A runner-up may be so much slower than the winner: with more to lose, the next donor is asked. */
#define TRI_RUNNER_UP_SLACK 1.1

/* The best of the donor's candidates but its winner that is within the slack, today's kernel there and legal for the
 * asked problem: id, config, source_hash, stage and median_ns of its row, for tri_measurement_clear. config NULL:
 * none. */
triage_status tri_runner_up_find(tri_measurement *out, tri_store *store, const char *device,
                                 const tri_setting *setting, const tri_donor *donor, const tri_problem *asked,
                                 double winner_ns);
/* Copies those fields of a row that a store lends. A tri_row_fn, to a tri_measurement. */
triage_status tri_runner_up_copy(void *out, const tri_measurement *row);

#endif
