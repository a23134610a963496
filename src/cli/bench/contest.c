/* The contest: the race of the bench (measure/bench.h) with guests. */
#include <stdlib.h>

#include "cli/bench/bench.h"

void tri_contestant_say_choice(char detail[256], const triage_choice *choice) {
    static const char *const sources[] = {[TRIAGE_SOURCE_EXACT] = "tuned",
                                          [TRIAGE_SOURCE_NEAREST] = "tuned for a near problem",
                                          [TRIAGE_SOURCE_DEFAULT] = "default, not tuned",
                                          [TRIAGE_SOURCE_PREDICTED] = "predicted, not tuned"};
    const size_t source = (size_t)choice->source;
    snprintf(detail, 256, "%.200s (%s)", choice->config,
             source < sizeof sources / sizeof *sources ? sources[source] : "from a later version");
}

static void judge(tri_contestant *c, const tri_report *report) {
    snprintf(c->reason, sizeof c->reason, "%s", report->reason);
    c->row_error = report->row_error;
    c->row_error_limit = report->row_error_limit;
    c->result = report->outcome == TRI_RIGHT   ? TRI_VERIFIED
                : report->rough                ? TRI_OVER_BOUND
                : report->outcome == TRI_WRONG ? TRI_WRONG_SUM
                                               : TRI_ABSENT;
    if (c->result == TRI_VERIFIED || c->result == TRI_OVER_BOUND)
        c->timing = report->timing;
}

/* Who cannot be opened is absent, with the reason. */
static size_t open_all(size_t entered[TRI_RACE_MAX], tri_entrant entrants[TRI_RACE_MAX],
                       tri_contestant *contestants, size_t count, const tri_arena *arena) {
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        tri_contestant *c = &contestants[i];
        if (c->type->open(&c->state, c->detail, arena) == TRIAGE_OK) {
            entrants[found] = (tri_entrant){.call = c->type->run, .state = c->state};
            entered[found++] = i;
        } else {
            snprintf(c->reason, sizeof c->reason, "%s", triage_last_error());
        }
    }
    return found;
}

static triage_status keep_samples(tri_contestant *c, const double *ns, int rounds) {
    triage_status status = tri_calloc(&c->ns, (size_t)rounds, sizeof *c->ns);
    for (int i = 0; i < rounds && status == TRIAGE_OK; i++)
        c->ns[i] = ns[i];
    return status;
}

triage_status tri_contest(tri_contestant *contestants, size_t count, const tri_arena *arena, int rounds,
                          uint64_t seed, tri_round_fn next, void *user) {
    size_t entered[TRI_RACE_MAX];
    tri_entrant entrants[TRI_RACE_MAX] = {0};
    tri_report reports[TRI_RACE_MAX];
    double *samples = NULL;
    triage_status status = TRIAGE_OK;
    if (count > TRI_RACE_MAX)
        return tri_fail(TRIAGE_E_INVALID, "%zu contestants: at most %d", count, TRI_RACE_MAX);
    TRI_TRY(tri_calloc(&samples, (size_t)TRI_RACE_MAX * (size_t)rounds, sizeof *samples));
    const size_t found = open_all(entered, entrants, contestants, count, arena);
    const tri_race_rules rules = {.seed = seed,
                                  .rounds = rounds,
                                  .has_guests = true,
                                  .next = next,
                                  .user = user,
                                  .samples_ns = samples};
    TRI_TRY(tri_bench_race(reports, arena->bench, entrants, found, &rules));
    for (size_t i = 0; i < found; i++) {
        judge(&contestants[entered[i]], &reports[i]);
        TRI_TRY(keep_samples(&contestants[entered[i]], samples + i * (size_t)rounds, rounds));
    }
done:
    free(samples);
    return status;
}

void tri_contestants_close(tri_contestant *contestants, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (contestants[i].state)
            contestants[i].type->close(contestants[i].state);
        contestants[i].state = NULL;
        free(contestants[i].ns);
        contestants[i].ns = NULL;
    }
}
