/* The clock: warm up, sample until the median is known to 1 %, stop early on what is clearly slower. */
#include "measure/bench_private.h"

#include <stdlib.h>
#include <string.h>

#define WARM_UP 3
#define FIRST_LOOK 3 /* samples before a candidate can be called clearly slower */
#define CHUNK 8
#define SAMPLES_CAP 200
#define CLEARLY_SLOWER 1.5
#define WIDTH_WANTED 0.02 /* the whole interval: +- 1 % */
#define SHORT_LAUNCH_NS 20000.0
#define BATCH_NS 200000.0 /* what a batch of short launches should take together */
#define RACE_ROUNDS_LEAST 20
#define RACE_ROUNDS_CAP 200
#define RACE_LIMIT 4 /* times the sampling limit of one */

typedef struct samples {
    double ns[TRI_SAMPLES_MAX];
    size_t count;
} samples;

static triage_status take(tri_bench *bench, tri_mounted *mounted, int batch, samples *into, size_t count) {
    triage_status status = tri_kernel_time(mounted->kernel, mounted->args[0], bench->flush_bytes, batch,
                                           into->ns + into->count, (int)count);
    if (status == TRIAGE_OK)
        into->count += count;
    return status;
}

static void summarise(tri_bench *bench, const samples *taken, tri_timing *out) {
    samples sorted = *taken;
    tri_timing_of(out, sorted.ns, sorted.count);
    out->cold_l2 = bench->flush_bytes > 0;
}

/* A batch warms the L2 for its own later launches, so a cold time is always of single launches. */
static int choose_batch(const tri_bench *bench, const samples *warm_up) {
    double least = warm_up->ns[0];
    for (size_t i = 1; i < warm_up->count; i++)
        least = warm_up->ns[i] < least ? warm_up->ns[i] : least;
    if (!bench->warm || tri_device_describe(bench->device)->cc == 0 || least >= SHORT_LAUNCH_NS)
        return 1;
    return (int)(BATCH_NS / (least < 1000 ? 1000 : least)) + 1;
}

/* Lays the results out first (NaN), so that what is examined afterwards was written by the timed launches. */
static triage_status prepare(tri_bench *bench, tri_mounted *mounted, int *batch) {
    samples warm_up = {.count = 0};
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_bench_lay_out(bench, 0));
    TRI_TRY(tri_device_synchronize(bench->device));
    TRI_TRY(take(bench, mounted, 1, &warm_up, WARM_UP));
    *batch = choose_batch(bench, &warm_up);
done:
    return status;
}

static triage_status sample(tri_bench *bench, tri_mounted *mounted, double best_median_ns,
                            tri_report *report) {
    samples taken = {.count = 0};
    int64_t start = 0;
    triage_status status = TRIAGE_OK;
    TRI_TRY(prepare(bench, mounted, &report->batch));
    start = tri_now_ns();
    TRI_TRY(take(bench, mounted, report->batch, &taken, FIRST_LOOK));
    for (;;) {
        summarise(bench, &taken, &report->timing);
        if (best_median_ns > 0 && report->timing.min_ns > CLEARLY_SLOWER * best_median_ns) {
            report->outcome = TRI_SLOW;
            break;
        }
        bool enough = taken.count > FIRST_LOOK && tri_timing_width(&report->timing) < WIDTH_WANTED;
        bool late = taken.count > FIRST_LOOK && tri_now_ns() - start > bench->sampling_limit_ns;
        if (enough || late || taken.count + CHUNK > SAMPLES_CAP)
            break;
        TRI_TRY(take(bench, mounted, report->batch, &taken, CHUNK));
    }
done:
    return status;
}

static bool verify_again(tri_bench *bench, tri_report *report) {
    tri_outcome timed = report->outcome;
    if (!tri_bench_examine_again(bench, report)) {
        char reason[sizeof report->reason];
        memcpy(reason, report->reason, sizeof reason);
        snprintf(report->reason, sizeof report->reason, "after timing: %.230s", reason);
        return false;
    }
    report->outcome = timed;
    return true;
}

bool tri_bench_time(tri_bench *bench, tri_mounted *mounted, double best_median_ns, tri_report *report) {
    report->outcome = TRI_RIGHT;
    triage_status status = sample(bench, mounted, best_median_ns, report);
    if (status != TRIAGE_OK) {
        tri_report_fail(report, TRI_CRASHED, status);
        return false;
    }
    return verify_again(bench, report);
}

/* A wrong result after an earlier candidate wrote over the inputs says nothing about this candidate. */
static triage_status doubt(tri_bench *bench, tri_report *report) {
    bool intact = true;
    triage_status status = tri_bench_inputs_intact(&intact, bench);
    report->damaged = report->lost = status == TRIAGE_OK && !intact;
    return status;
}

static void forget_timing(tri_report *report) {
    if (report->outcome != TRI_RIGHT && report->outcome != TRI_SLOW)
        report->timing = (tri_timing){0};
}

triage_status tri_bench_measure_mounted(tri_report *report, tri_bench *bench, tri_mounted *mounted,
                                        double best_median_ns) {
    triage_status status = TRIAGE_OK;
    bool right = true;
    for (size_t i = bench->case_count; i-- > 0 && right;)
        right = tri_bench_run_case(bench, mounted, i, report);
    if (right)
        tri_bench_keep_first(bench);
    if (right)
        right = tri_bench_time(bench, mounted, best_median_ns, report);
    forget_timing(report);
    tri_bench_unmount(bench, mounted);
    if (!right && report->outcome == TRI_WRONG && !report->lost)
        status = doubt(bench, report);
    return status;
}

triage_status tri_bench_measure(tri_report *out, tri_bench *bench, const tri_trial *trial,
                                double best_median_ns) {
    tri_mounted mounted = {0};
    *out = (tri_report){.batch = 1};
    if (!tri_bench_mount(&mounted, bench, trial, out))
        return TRIAGE_OK;
    return tri_bench_measure_mounted(out, bench, &mounted, best_median_ns);
}

/* ---- the race ------------------------------------------------------------------------------------------- */

typedef struct race {
    tri_bench *bench;
    tri_report *reports;
    tri_mounted mounted[TRI_RACE_MAX];
    samples taken[TRI_RACE_MAX];
    size_t entrants[TRI_RACE_MAX]; /* indexes of those still in it */
    size_t count, all;
    int batch; /* one for all, or the comparison is not one */
    tri_racing_fn racing;
    void *user;
} race;

static void announce(const race *r, size_t index) {
    if (r->racing)
        r->racing(r->user, index);
}

static void drop(race *r, size_t at) {
    memmove(&r->entrants[at], &r->entrants[at + 1], (r->count - at - 1) * sizeof r->entrants[0]);
    r->count--;
}

static void shuffle(race *r, tri_random *random) {
    for (size_t i = r->count; i > 1; i--) {
        size_t j = tri_random_below(random, i), swap = r->entrants[i - 1];
        r->entrants[i - 1] = r->entrants[j];
        r->entrants[j] = swap;
    }
}

/* One launch each. A device error ends the race: whose it was is known. */
static bool run_round(race *r, bool warm_up) {
    for (size_t i = 0; i < r->count; i++) {
        size_t index = r->entrants[i];
        samples scratch = {.count = 0}, *into = warm_up ? &scratch : &r->taken[index];
        announce(r, index);
        triage_status status = take(r->bench, &r->mounted[index], r->batch, into, 1);
        if (status != TRIAGE_OK) {
            tri_report_fail(&r->reports[index], TRI_CRASHED, status);
            r->reports[index].lost = true;
            return false;
        }
        if (warm_up && r->bench->warm) {
            int batch = choose_batch(r->bench, &scratch);
            r->batch = batch > r->batch ? batch : r->batch;
        }
    }
    return true;
}

static bool all_known(const race *r) {
    for (size_t i = 0; i < r->count; i++) {
        tri_timing timing;
        summarise(r->bench, &r->taken[r->entrants[i]], &timing);
        if (tri_timing_width(&timing) >= WIDTH_WANTED)
            return false;
    }
    return true;
}

static bool run_rounds(race *r, uint64_t seed) {
    tri_random random;
    tri_random_seed(&random, seed);
    for (int i = 0; i < WARM_UP; i++)
        if (!run_round(r, true))
            return false;
    int64_t start = tri_now_ns();
    for (int rounds = 0; rounds < RACE_ROUNDS_CAP; rounds++) {
        if (rounds >= RACE_ROUNDS_LEAST &&
            (all_known(r) || tri_now_ns() - start > RACE_LIMIT * r->bench->sampling_limit_ns))
            break;
        shuffle(r, &random);
        if (!run_round(r, false))
            return false;
    }
    return true;
}

/* The order of the entrants is the callers' again here: index by index. */
static void finish(race *r) {
    for (size_t i = 0; i < r->all; i++) {
        tri_report *report = &r->reports[i];
        if (report->outcome != TRI_RIGHT || report->lost)
            continue;
        announce(r, i);
        if (tri_bench_run_case(r->bench, &r->mounted[i], 0, report)) {
            summarise(r->bench, &r->taken[i], &report->timing);
            report->batch = r->batch;
        } else if (report->lost) {
            return;
        }
    }
}

static bool is_lost(const race *r) {
    for (size_t i = 0; i < r->all; i++)
        if (r->reports[i].lost)
            return true;
    return false;
}

triage_status tri_bench_race(tri_report *out, tri_bench *bench, const tri_trial *trials, size_t count,
                             uint64_t seed, tri_racing_fn racing, void *user) {
    race *r = NULL;
    triage_status status = TRIAGE_OK;
    if (count > TRI_RACE_MAX)
        return tri_fail(TRIAGE_E_INVALID, "%zu candidates in a race: at most %d", count, TRI_RACE_MAX);
    TRI_TRY(tri_calloc(&r, 1, sizeof *r));
    *r = (race){.bench = bench, .reports = out, .all = count, .batch = 1, .racing = racing, .user = user};
    for (size_t i = 0; i < count; i++) {
        out[i] = (tri_report){.batch = 1};
        r->entrants[r->count++] = i;
        announce(r, i);
        if (!tri_bench_mount(&r->mounted[i], bench, &trials[i], &out[i]) ||
            !tri_bench_run_case(bench, &r->mounted[i], 0, &out[i]))
            drop(r, r->count - 1);
    }
    if (!is_lost(r) && run_rounds(r, seed))
        finish(r);
    for (size_t i = 0; i < count; i++)
        tri_bench_unmount(bench, &r->mounted[i]);
done:
    free(r);
    return status;
}
