/* The clock: warm up, sample until the median is known to 1 %, stop early on what is clearly slower. */
#include "measure/bench_private.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_LOOK 3 /* samples before a candidate can be called clearly slower */
#define CHUNK 8
#define SAMPLES_CAP 200
#define CLEARLY_SLOWER 1.5
#define SHORT_LAUNCH_NS 20000.0
#define BATCH_NS 200000.0 /* what a batch of short launches should take together */

triage_status tri_bench_take(tri_bench *bench, tri_mounted *mounted, int batch, tri_samples *into,
                             size_t count) {
    triage_status status = tri_kernel_time(mounted->kernel, mounted->args[0], bench->flush_bytes, batch,
                                           into->ns + into->count, (int)count);
    if (status == TRIAGE_OK)
        into->count += count;
    return status;
}

void tri_bench_summarise(const tri_bench *bench, const tri_samples *taken, tri_timing *out) {
    tri_samples sorted = *taken;
    tri_timing_of(out, sorted.ns, sorted.count);
    out->cold_l2 = bench->flush_bytes > 0;
}

/* A batch warms the L2 for its own later launches, so a cold time is always of single launches. */
int tri_bench_batch(const tri_bench *bench, const tri_samples *warm_up) {
    double least = warm_up->ns[0];
    for (size_t i = 1; i < warm_up->count; i++)
        least = warm_up->ns[i] < least ? warm_up->ns[i] : least;
    if (!bench->warm || tri_device_describe(bench->device)->cc == 0 || least >= SHORT_LAUNCH_NS)
        return 1;
    return (int)(BATCH_NS / (least < 1000 ? 1000 : least)) + 1;
}

/* Lays the results out first (NaN), so that what is examined afterwards was written by the timed launches. */
static triage_status prepare(tri_bench *bench, tri_mounted *mounted, int *batch) {
    tri_samples warm_up = {.count = 0};
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_bench_lay_out(bench, 0));
    TRI_TRY(tri_device_synchronize(bench->device));
    TRI_TRY(tri_bench_take(bench, mounted, 1, &warm_up, TRI_WARM_UP));
    *batch = tri_bench_batch(bench, &warm_up);
done:
    return status;
}

static triage_status sample(tri_bench *bench, tri_mounted *mounted, double best_median_ns,
                            tri_report *report) {
    tri_samples taken = {.count = 0};
    int64_t start = 0;
    triage_status status = TRIAGE_OK;
    TRI_TRY(prepare(bench, mounted, &report->batch));
    start = tri_now_ns();
    TRI_TRY(tri_bench_take(bench, mounted, report->batch, &taken, FIRST_LOOK));
    for (;;) {
        tri_bench_summarise(bench, &taken, &report->timing);
        if (best_median_ns > 0 && report->timing.min_ns > CLEARLY_SLOWER * best_median_ns) {
            report->outcome = TRI_SLOW;
            break;
        }
        bool enough = taken.count > FIRST_LOOK && tri_timing_width(&report->timing) < TRI_WIDTH_WANTED;
        bool late = taken.count > FIRST_LOOK && tri_now_ns() - start > bench->sampling_limit_ns;
        if (enough || late || taken.count + CHUNK > SAMPLES_CAP)
            break;
        TRI_TRY(tri_bench_take(bench, mounted, report->batch, &taken, CHUNK));
    }
done:
    return status;
}

/* Says of a reason that it was found late. */
static bool say_after_timing(tri_report *report) {
    char reason[sizeof report->reason];
    memcpy(reason, report->reason, sizeof reason);
    snprintf(report->reason, sizeof report->reason, "after timing: %.230s", reason);
    return false;
}

bool tri_bench_later_cases_hold(tri_bench *bench, tri_mounted *mounted, tri_report *report) {
    for (size_t i = bench->case_count; i-- > 1;)
        if (!tri_bench_run_case(bench, mounted, i, report))
            return say_after_timing(report);
    return true;
}

static bool verify_again(tri_bench *bench, tri_mounted *mounted, tri_report *report) {
    tri_outcome timed = report->outcome;
    if (!tri_bench_examine_again(bench, report))
        return say_after_timing(report);
    if (!tri_bench_later_cases_hold(bench, mounted, report))
        return false;
    if (timed == TRI_RIGHT && report->batch == 1 &&
        !tri_bench_works_afresh(bench, mounted, report->timing.median_ns, report))
        return false;
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
    return verify_again(bench, mounted, report);
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
