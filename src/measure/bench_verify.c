/* The gate: poison, launch, red zones, verdict. Nothing gets a number that has not come through here. */
#include "measure/bench_private.h"

#include <string.h>

#define GUARD_WORD 0xA5A5A5A5u
#define GUARD_BYTE 0xA5u

/* All bits set is a NaN in every type that we store. */
triage_status tri_bench_poison(tri_bench *bench) {
    static const unsigned char ones[3] = {0xff, 0xff, 0xff};
    size_t words = bench->c_bytes / 4, tail = bench->c_bytes % 4;
    triage_status status = TRIAGE_OK;
    if (words)
        TRI_TRY(tri_device_fill(bench->device, bench->buffers.c, 0xffffffffu, words, NULL));
    if (tail)
        TRI_TRY(tri_device_upload(bench->device, bench->buffers.c + words * 4, ones, tail));
done:
    return status;
}

/* The zone after C begins at C's last byte, wherever that is. */
static triage_status paint_guards(tri_bench *bench) {
    memset(bench->guard, GUARD_BYTE, TRI_GUARD_BYTES);
    triage_status status = tri_device_fill(bench->device, bench->zone, GUARD_WORD, TRI_GUARD_BYTES / 4, NULL);
    if (status == TRIAGE_OK)
        status = tri_device_upload(bench->device, bench->buffers.c + bench->c_bytes, bench->guard,
                                   TRI_GUARD_BYTES);
    return status;
}

/* Bytes of one guard that are no longer what was painted. */
static triage_status count_damage(size_t *out, tri_bench *bench, tri_address guard) {
    *out = 0;
    triage_status status = tri_device_download(bench->device, bench->guard, guard, TRI_GUARD_BYTES);
    for (size_t i = 0; status == TRIAGE_OK && i < TRI_GUARD_BYTES; i++)
        *out += bench->guard[i] != GUARD_BYTE;
    return status;
}

static bool guards_intact(tri_bench *bench, tri_report *report) {
    size_t before = 0, after = 0;
    triage_status status = TRIAGE_OK;
    TRI_TRY(count_damage(&before, bench, bench->zone));
    TRI_TRY(count_damage(&after, bench, bench->buffers.c + bench->c_bytes));
    if (before == 0 && after == 0)
        return true;
    report->outcome = TRI_WRONG;
    snprintf(report->reason, sizeof report->reason,
             "wrote outside C: %zu bytes changed before it, %zu after it", before, after);
    return false;
done:
    tri_report_fail(report, TRI_CRASHED, status);
    return false;
}

/* Keeps the figures of the case that came nearest to its limit. */
static void note_error(tri_report *report, double error, double limit) {
    if (report->row_error_limit > 0 && error * report->row_error_limit <= report->row_error * limit)
        return;
    report->row_error = error;
    report->row_error_limit = limit;
}

/* A gap between rows (ldc beyond the row) belongs to somebody else: it must still hold its poison. */
static bool gaps_intact(const tri_bench *bench, tri_report *report) {
    const tri_problem *problem = &bench->problem;
    bool by_row = problem->c_layout == TRIAGE_ROW_MAJOR;
    size_t size = tri_dtype_size(problem->out_type), line = (size_t)problem->ldc * size;
    size_t inner = (size_t)(by_row ? problem->n : problem->m) * size;
    size_t lines = (size_t)(by_row ? problem->m : problem->n);
    const unsigned char *got = bench->got;
    for (size_t i = 0; i < lines && inner < line; i++)
        for (size_t j = inner; j < line; j++)
            if (got[i * line + j] != 0xff) {
                report->outcome = TRI_WRONG;
                snprintf(report->reason, sizeof report->reason, "wrote into the gap after %s %zu of C",
                         by_row ? "row" : "column", i);
                return false;
            }
    return true;
}

/* Brings C to bench->got; false when it or what lies around it shows a fault already. */
static bool fetch(tri_bench *bench, tri_report *report) {
    if (!guards_intact(bench, report))
        return false;
    triage_status status = tri_device_download(bench->device, bench->got, bench->buffers.c, bench->c_bytes);
    if (status != TRIAGE_OK)
        tri_report_fail(report, TRI_CRASHED, status);
    return status == TRIAGE_OK;
}

static bool judge(tri_bench *bench, size_t index, tri_report *report) {
    const tri_bench_case *c = &bench->cases[index];
    tri_verdict verdict = {0};
    if (index == 0 && !gaps_intact(bench, report))
        return false;
    tri_verdict_make(&verdict, &c->yardstick, &bench->problem, bench->got, c->plain, c->references,
                     bench->rows, bench->row_count);
    note_error(report, verdict.row_error, 2 * c->yardstick.row_error);
    if (verdict.right)
        return true;
    report->outcome = TRI_WRONG;
    snprintf(report->reason, sizeof report->reason, "%s (alpha %g, beta %g)", verdict.reason,
             (double)c->alpha, (double)c->beta);
    return false;
}

void tri_bench_keep_first(tri_bench *bench) {
    void *swap = bench->first;
    bench->first = bench->got;
    bench->got = swap;
}

bool tri_bench_examine_again(tri_bench *bench, tri_report *report) {
    if (!fetch(bench, report))
        return false;
    /* A deterministic kernel leaves the very bytes that were already found right. */
    return memcmp(bench->got, bench->first, bench->c_bytes) == 0 || judge(bench, 0, report);
}

bool tri_bench_run_case(tri_bench *bench, tri_mounted *mounted, size_t index, tri_report *report) {
    tri_outcome outcome = TRI_LAUNCH_FAILED;
    triage_status status = TRIAGE_OK;
    TRI_TRY(paint_guards(bench));
    if (index == 0)
        TRI_TRY(tri_bench_poison(bench));
    else
        TRI_TRY(tri_device_upload(bench->device, bench->buffers.c, bench->c_in, bench->c_bytes));
    TRI_TRY(tri_device_synchronize(bench->device));
    TRI_TRY(tri_kernel_launch(mounted->kernel, &mounted->args[index], sizeof mounted->args[index], NULL));
    outcome = TRI_CRASHED; /* launched: what comes now is the kernel's doing */
    TRI_TRY(tri_device_synchronize(bench->device));
    return fetch(bench, report) && judge(bench, index, report);
done:
    tri_report_fail(report, outcome, status);
    return false;
}
