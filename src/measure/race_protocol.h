/* How long a race goes on, and what of its luck is evened out: so that another race of the same kernels ends with the same
 * order and times within a percent. Whose clocks it is run with is not asked here: bench_race.c's, or those that a test
 * makes up.
 *
 *   warm-up   rounds until two sets of five take equally long: clocks and caches have settled
 *   heat      some rounds, each entrant once in each, so that what disturbs a moment disturbs all alike
 *   move      the operands, before the next heat: where they lie in memory is luck, too, and worth a percent or two
 *   decided   the order is, by the ratios of the times of one round to the leader's, and the leader's time is known
 */
#ifndef TRIAGE_MEASURE_RACE_PROTOCOL_H
#define TRIAGE_MEASURE_RACE_PROTOCOL_H

#include "measure/stats.h"

#define TRI_ROUNDS_LEAST 8 /* however late it is: of fewer samples there is no 95 % interval */

typedef struct tri_race_track {
    size_t entrants;
    int warm_sets;     /* of five rounds each, at most so many before the first heat */
    int rounds_a_heat; /* heats_most times it at most TRI_SAMPLES_MAX - 1 */
    int heats_least, heats_most;
    double precision; /* of the leader's time, and what makes two equal: 0.005 */
    void *user;       /* of all that follows */
    /* One launch of each. total_ns NULL: its times are samples; else a trial, how long all took together. False: over. */
    bool (*round)(void *user, double *total_ns);
    bool (*move)(void *user); /* false: over */
    bool (*late)(void *user); /* no time for another heat */
    const double *(*samples)(void *user, size_t entrant);
} tri_race_track;

/* Returns how many rounds gave samples. */
size_t tri_race_run(const tri_race_track *track);

/* ns[entrant][rounds], whole heats. */
bool tri_race_is_decided(const double *const *ns, size_t entrants, size_t rounds,
                         const tri_race_track *track);

#endif
