/* The race: all in turn, so that a drift of clocks or a neighbour meets all alike. */
#include "measure/bench_private.h"
#include "measure/race_protocol.h"

#include <stdlib.h>
#include <string.h>

#define TIME_LIMIT 4 /* times the sampling limit of one */

typedef struct race {
    tri_bench *bench;
    const tri_race_rules *rules;
    const tri_entrant *given;
    tri_report *reports;
    tri_mounted mounted[TRI_RACE_MAX];
    tri_samples taken[TRI_RACE_MAX];
    size_t entrants[TRI_RACE_MAX]; /* indexes of those still in it */
    size_t count, all;
    int batch; /* one for all, or the comparison is not one */
    tri_random random;
    int64_t start_ns;
    triage_status status; /* of the bench itself */
} race;

static void announce(const race *r, size_t index) {
    if (r->rules->racing)
        r->rules->racing(r->rules->user, index);
}

static void drop(race *r, size_t at) {
    memmove(&r->entrants[at], &r->entrants[at + 1], (r->count - at - 1) * sizeof r->entrants[0]);
    r->count--;
}

static bool is_lost(const race *r) {
    for (size_t i = 0; i < r->all; i++)
        if (r->reports[i].lost)
            return true;
    return false;
}

/* What a guest's library calls a failure of the device may be one of its own: the device is asked. */
static void ask_device(race *r, tri_report *report) {
    if (r->rules->has_guests && report->lost)
        report->lost = tri_device_synchronize(r->bench->device) != TRIAGE_OK;
}

static void shuffle(race *r) {
    for (size_t i = r->count; i > 1; i--) {
        size_t j = tri_random_below(&r->random, i), swap = r->entrants[i - 1];
        r->entrants[i - 1] = r->entrants[j];
        r->entrants[j] = swap;
    }
}

/* ---- before the race ---- */

static bool mount(race *r, size_t index, const tri_entrant *entrant) {
    tri_mounted *out = &r->mounted[index];
    tri_report *report = &r->reports[index];
    if (entrant->trial)
        return tri_bench_mount(out, r->bench, entrant->trial, report);
    triage_status status = tri_call_load(&out->kernel, r->bench->device, entrant->call, entrant->state);
    if (status != TRIAGE_OK)
        tri_report_fail(report, TRI_LAUNCH_FAILED, status);
    return status == TRIAGE_OK;
}

static bool is_too_late(const race *r, tri_report *report) {
    if (!r->rules->deadline_ns || tri_now_ns() <= r->rules->deadline_ns)
        return false;
    report->outcome = TRI_TIMED_OUT;
    report->troubled = true;
    snprintf(report->reason, sizeof report->reason, "no time was left");
    return true;
}

/* False: it does not take part. */
static bool enter(race *r, size_t index, const tri_entrant *entrant) {
    tri_report *report = &r->reports[index];
    *report = (tri_report){.batch = 1};
    if (is_too_late(r, report))
        return false;
    announce(r, index);
    if (mount(r, index, entrant) && tri_bench_run_case(r->bench, &r->mounted[index], 0, report))
        return true;
    ask_device(r, report);
    return report->rough;
}

/* ---- the rounds ---- */

static void note_batch(race *r, const tri_samples *warm_up) {
    int batch = r->bench->warm && !r->rules->has_guests ? tri_bench_batch(r->bench, warm_up) : 1;
    r->batch = batch > r->batch ? batch : r->batch;
}

/* One launch each. Of candidates a device error ends the race: whose it was is known. total_ns NULL: a round that counts. */
static bool run_round(race *r, double *total_ns) {
    shuffle(r);
    for (size_t i = 0; i < r->count;) {
        size_t index = r->entrants[i];
        tri_samples scratch = {.count = 0}, *into = total_ns ? &scratch : &r->taken[index];
        announce(r, index);
        triage_status status = tri_bench_take(r->bench, &r->mounted[index], r->batch, into, 1);
        if (status != TRIAGE_OK) {
            tri_report_fail(&r->reports[index], TRI_CRASHED, status);
            r->reports[index].lost = true;
            r->reports[index].rough = false;
            ask_device(r, &r->reports[index]);
            if (r->reports[index].lost)
                return false;
            drop(r, i);
            continue;
        }
        if (total_ns) {
            note_batch(r, &scratch);
            *total_ns += scratch.ns[0];
        }
        i++;
    }
    return true;
}

/* As many as were asked for, in one place: guests know no other. The last round is the one whose results are looked at. */
static triage_status run_fixed(race *r) {
    enum { kAtLeast = 3 };
    double total = 0;
    for (int i = 0; i < TRI_WARM_UP; i++)
        if (!run_round(r, &total))
            return TRIAGE_OK;
    for (int rounds = 0; rounds < r->rules->rounds - 1; rounds++) {
        if (r->rules->next && !r->rules->next(r->rules->user, rounds))
            return tri_fail(TRIAGE_E_INTERRUPTED, "interrupted in round %d of a race", rounds + 1);
        if (r->rules->deadline_ns && rounds >= kAtLeast && tri_now_ns() > r->rules->deadline_ns)
            break;
        if (!run_round(r, NULL))
            return TRIAGE_OK;
    }
    return TRIAGE_OK;
}

/* ---- the same by the protocol ---- */

static bool next_round(void *user, double *total_ns) {
    if (total_ns)
        *total_ns = 0;
    return run_round(user, total_ns);
}

static bool move(void *user) {
    race *r = user;
    r->status = tri_bench_move(r->bench);
    for (size_t i = 0; i < r->count && r->status == TRIAGE_OK; i++) {
        const size_t index = r->entrants[i];
        if (r->given[index].trial)
            r->status = tri_bench_aim(&r->mounted[index], r->bench, r->given[index].trial->launch);
    }
    return r->status == TRIAGE_OK;
}

static bool is_late(void *user) {
    const race *r = user;
    return tri_now_ns() - r->start_ns > TIME_LIMIT * r->bench->sampling_limit_ns;
}

/* Of those in the race, in whatever order. */
static const double *samples_of(void *user, size_t entrant) {
    const race *r = user;
    return r->taken[r->entrants[entrant]].ns;
}

/* Of candidates whoever fails ends the race: none is dropped on the way. On a CPU fewer rounds in a place, each of which
 * takes long there, and no hope of half a percent. */
static triage_status run_protocol(race *r) {
    const bool is_host = tri_device_describe(r->bench->device)->cc == 0;
    const tri_race_track track = {.entrants = r->count,
                                  .warm_sets = is_host ? 2 : 10,
                                  .rounds_a_heat = is_host ? 4 : 10,
                                  .heats_least = is_host ? 6 : 8,
                                  .heats_most = is_host ? 25 : 40,
                                  .precision = is_host ? 0.02 : 0.005,
                                  .user = r,
                                  .round = next_round,
                                  .move = move,
                                  .late = is_late,
                                  .samples = samples_of};
    r->start_ns = tri_now_ns();
    tri_race_run(&track);
    return r->status;
}

static triage_status run_rounds(race *r) {
    tri_random_seed(&r->random, r->rules->seed);
    return r->rules->rounds ? run_fixed(r) : run_protocol(r);
}

/* ---- after the race ---- */

/* One more timed launch, into results of NaN, and a look at what it left. */
static bool run_last(race *r, size_t index) {
    tri_report *report = &r->reports[index];
    triage_status status = TRIAGE_OK;
    report->rough = false;
    TRI_TRY(tri_bench_make_ready(r->bench, 0));
    TRI_TRY(tri_bench_take(r->bench, &r->mounted[index], r->batch, &r->taken[index], 1));
    return tri_bench_examine(r->bench, 0, report) &&
           (r->rules->has_guests || /* they compute case 0 alone */
            tri_bench_later_cases_hold(r->bench, &r->mounted[index], report));
done:
    tri_report_fail(report, TRI_CRASHED, status);
    return false;
}

static void keep_samples(const race *r, size_t index) {
    const tri_samples *taken = &r->taken[index];
    const size_t rounds = (size_t)r->rules->rounds;
    if (r->rules->samples_ns)
        memcpy(r->rules->samples_ns + index * rounds, taken->ns, taken->count * sizeof *taken->ns);
}

/* Asked of our own candidates alone: a race of so many rounds has guests, or a deadline. */
static bool worked_each_time(race *r, size_t index) {
    tri_report *report = &r->reports[index];
    return r->rules->rounds || r->batch > 1 ||
           tri_bench_works_afresh(r->bench, &r->mounted[index], report->timing.median_ns, report);
}

/* In the order of the callers. */
static void finish(race *r) {
    for (size_t i = 0; i < r->all; i++) {
        tri_report *report = &r->reports[i];
        if ((report->outcome != TRI_RIGHT && !report->rough) || report->lost)
            continue;
        announce(r, i);
        const bool was_rough = report->rough, right = run_last(r, i);
        ask_device(r, report);
        if (report->lost)
            return;
        report->rough = report->rough || (right && was_rough); /* the worse of both looks counts */
        if (!right && !report->rough)
            continue;
        tri_bench_summarise(r->bench, &r->taken[i], &report->timing);
        report->batch = r->batch;
        if (!worked_each_time(r, i)) {
            report->timing = (tri_timing){0};
            if (report->lost)
                return;
            continue;
        }
        keep_samples(r, i);
    }
}

triage_status tri_bench_race(tri_report *out, tri_bench *bench, const tri_entrant *entrants, size_t count,
                             const tri_race_rules *rules) {
    race *r = NULL;
    triage_status status = TRIAGE_OK;
    if (count > TRI_RACE_MAX)
        return tri_fail(TRIAGE_E_INVALID, "%zu candidates in a race: at most %d", count, TRI_RACE_MAX);
    if (rules->rounds && (rules->rounds < 2 || rules->rounds > TRI_SAMPLES_MAX))
        return tri_fail(TRIAGE_E_INVALID, "%d rounds in a race: 2 to %d", rules->rounds, TRI_SAMPLES_MAX);
    if (rules->has_guests && !rules->rounds)
        return tri_fail(TRIAGE_E_INVALID, "a race with guests has a number of rounds");
    TRI_TRY(tri_calloc(&r, 1, sizeof *r));
    *r = (race){.bench = bench, .rules = rules, .given = entrants, .reports = out, .all = count, .batch = 1};
    bench->has_guests = rules->has_guests;
    for (size_t i = 0; i < count; i++)
        if (enter(r, i, &entrants[i]))
            r->entrants[r->count++] = i;
    if (!is_lost(r))
        status = run_rounds(r);
    if (!is_lost(r) && status == TRIAGE_OK)
        finish(r);
    bench->has_guests = false;
    for (size_t i = 0; i < count; i++)
        tri_bench_unmount(bench, &r->mounted[i]);
done:
    free(r);
    return status;
}
