/* A recorded tuning space, and a search in it that is told the recorded times: no device, no clock. */
#ifndef TRIAGE_TESTS_REPLAY_H
#define TRIAGE_TESTS_REPLAY_H

#include <stdio.h>

#include "space/space.h"

typedef struct replay {
    tri_configs configs; /* no texts; the default is the one in the middle */
    double *median_ns;   /* by configuration; negative: it failed */
    double best_ns;
    double *compile_ms; /* by configuration; 0: not recorded */
    bool tells_costs;   /* a strategy is told compile_ms, as by a search that waits for compilers */
} replay;

/* CSV with a header: a column `kernel` first, if there are several, one column an axis (empty: that kernel has no
 * such axis), then median_ms, or compile_ms and any number of t<i>_ms, whose median counts;
 * no time: the configuration failed. Axes of integers are in their order, others are names. TRIAGE_E_DATA. */
triage_status replay_read(replay *out, FILE *file);
triage_status replay_open(replay *out, const char *path); /* "-": stdin */
void replay_close(replay *data);

typedef struct replay_run {
    int64_t *proposals; /* in order */
    size_t count;
    double best_ns;
    double under_way;  /* the mean number of proposals without a result when one is made */
    double slowest_ms; /* of a call of next, in processor time */
    char ended[TRI_STRATEGY_REASON];
} replay_run;

/* Up to `ahead` proposals are under way; results are told in the order of the proposals. Stops after `limit`
 * proposals (0: never) or at the first that is at most good_ns (0: never). */
triage_status replay_search(replay_run *out, const replay *data, const char *strategy,
                            const tri_strategy_options *options, size_t ahead, size_t limit, double good_ns);
void replay_run_free(replay_run *run);

#endif
