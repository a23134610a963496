/* The gate: poison, launch, red zones, verdict. Nothing gets a number that has not come through here. */
#include "measure/bench_private.h"

#include <string.h>

#define GUARD_WORD 0xA5A5A5A5u
#define GUARD_BYTE 0xA5u

/* All bits set is a NaN in every type that we store. */
static triage_status poison(tri_bench *bench, const tri_result *result) {
    static const unsigned char ones[3] = {0xff, 0xff, 0xff};
    size_t words = result->bytes / 4, tail = result->bytes % 4;
    triage_status status = TRIAGE_OK;
    if (words)
        TRI_TRY(tri_device_fill(bench->device, result->address, 0xffffffffu, words, NULL));
    if (tail)
        TRI_TRY(tri_device_upload(bench->device, result->address + words * 4, ones, tail));
done:
    return status;
}

triage_status tri_bench_lay_out(tri_bench *bench, size_t case_index) {
    triage_status status = TRIAGE_OK;
    for (size_t i = 0; i < bench->result_count; i++) {
        const tri_result *result = &bench->results[i];
        const int before = bench->op->before(&bench->problem, case_index, i);
        if (before < 0)
            TRI_TRY(poison(bench, result));
        else
            TRI_TRY(tri_device_upload(bench->device, result->address,
                                      bench->inputs[case_index].at[before].data, result->bytes));
    }
done:
    return status;
}

/* The zone after a result begins at its last byte, wherever that is. */
static triage_status paint_guards(tri_bench *bench) {
    triage_status status = TRIAGE_OK;
    memset(bench->guard, GUARD_BYTE, TRI_GUARD_BYTES);
    for (size_t i = 0; i < bench->result_count; i++) {
        const tri_result *result = &bench->results[i];
        TRI_TRY(tri_device_fill(bench->device, result->zone, GUARD_WORD, TRI_GUARD_BYTES / 4, NULL));
        TRI_TRY(
            tri_device_upload(bench->device, result->address + result->bytes, bench->guard, TRI_GUARD_BYTES));
    }
done:
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

static bool guards_intact(tri_bench *bench, const tri_result *result, tri_report *report) {
    size_t before = 0, after = 0;
    triage_status status = TRIAGE_OK;
    TRI_TRY(count_damage(&before, bench, result->zone));
    TRI_TRY(count_damage(&after, bench, result->address + result->bytes));
    if (before == 0 && after == 0)
        return true;
    report->outcome = TRI_WRONG;
    snprintf(report->reason, sizeof report->reason,
             "wrote outside %s: %zu bytes changed before it, %zu after it", result->view.name, before, after);
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

/* A gap between lines (ld beyond the line) belongs to somebody else: it must still hold its poison. */
static bool gaps_intact(const tri_result *result, tri_report *report) {
    const tri_view *view = &result->view;
    size_t size = tri_dtype_size(view->dtype), line = (size_t)view->ld * size;
    size_t inner = (size_t)(view->col_major ? view->rows : view->cols) * size;
    size_t lines = (size_t)(view->col_major ? view->cols : view->rows);
    const unsigned char *got = result->got;
    for (size_t i = 0; i < lines && inner < line; i++)
        for (size_t j = inner; j < line; j++)
            if (got[i * line + j] != 0xff) {
                report->outcome = TRI_WRONG;
                snprintf(report->reason, sizeof report->reason, "wrote into the gap after %s %zu of %s",
                         view->col_major ? "column" : "row", i, view->name);
                return false;
            }
    return true;
}

/* Brings the results to the host; false when one, or what lies around it, shows a fault already. */
static bool fetch(tri_bench *bench, tri_report *report) {
    for (size_t i = 0; i < bench->result_count; i++) {
        tri_result *result = &bench->results[i];
        if (!guards_intact(bench, result, report))
            return false;
        triage_status status =
            tri_device_download(bench->device, result->got, result->address, result->bytes);
        if (status != TRIAGE_OK) {
            tri_report_fail(report, TRI_CRASHED, status);
            return false;
        }
    }
    return true;
}

static bool judge_result(tri_bench *bench, const tri_result *result, size_t index, tri_report *report) {
    const tri_expected *e = &result->expected[index];
    tri_verdict verdict = {0};
    char text[64];
    tri_verdict_make(&verdict, &e->yardstick, &result->view, result->got, e->plain, e->references,
                     bench->rows, bench->row_count);
    note_error(report, verdict.row_error, 2 * e->yardstick.row_error);
    if (verdict.right)
        return true;
    bench->op->case_text(text, sizeof text, &bench->problem, index);
    report->outcome = TRI_WRONG;
    snprintf(report->reason, sizeof report->reason, "%s%s%s (%s)",
             bench->result_count > 1 ? result->view.name : "", bench->result_count > 1 ? ": " : "",
             verdict.reason, text);
    return false;
}

/* Of results that the gate refuses: are they this product all the same, summed with less care? */
static bool is_rough(const tri_bench *bench, size_t index) {
    for (size_t i = 0; i < bench->result_count; i++) {
        const tri_result *result = &bench->results[i];
        if (!tri_verdict_is_rough(&result->view, result->got, result->expected[index].plain))
            return false;
    }
    return true;
}

static bool judge(tri_bench *bench, size_t index, tri_report *report) {
    for (size_t i = 0; i < bench->result_count; i++)
        if (bench->op->before(&bench->problem, index, i) < 0 && !gaps_intact(&bench->results[i], report))
            return false;
    for (size_t i = 0; i < bench->result_count; i++)
        if (!judge_result(bench, &bench->results[i], index, report)) {
            report->rough = bench->has_guests && is_rough(bench, index);
            return false;
        }
    return true;
}

bool tri_bench_examine(tri_bench *bench, size_t case_index, tri_report *report) {
    return fetch(bench, report) && judge(bench, case_index, report);
}

void tri_bench_keep_first(tri_bench *bench) {
    for (size_t i = 0; i < bench->result_count; i++) {
        tri_result *result = &bench->results[i];
        void *swap = result->first;
        result->first = result->got;
        result->got = swap;
    }
}

static bool same_as_first(const tri_bench *bench) {
    for (size_t i = 0; i < bench->result_count; i++)
        if (memcmp(bench->results[i].got, bench->results[i].first, bench->results[i].bytes) != 0)
            return false;
    return true;
}

bool tri_bench_examine_again(tri_bench *bench, tri_report *report) {
    if (!fetch(bench, report))
        return false;
    /* A deterministic kernel leaves the very bytes that were already found right. */
    return same_as_first(bench) || judge(bench, 0, report);
}

triage_status tri_bench_make_ready(tri_bench *bench, size_t case_index) {
    triage_status status = TRIAGE_OK;
    TRI_TRY(paint_guards(bench));
    TRI_TRY(tri_bench_lay_out(bench, case_index));
    TRI_TRY(tri_device_synchronize(bench->device));
done:
    return status;
}

bool tri_bench_run_case(tri_bench *bench, tri_mounted *mounted, size_t index, tri_report *report) {
    tri_outcome outcome = TRI_LAUNCH_FAILED;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_bench_make_ready(bench, index));
    TRI_TRY(tri_kernel_launch(mounted->kernel, mounted->args[index], NULL));
    outcome = TRI_CRASHED; /* launched: what comes now is the kernel's doing */
    TRI_TRY(tri_device_synchronize(bench->device));
    return tri_bench_examine(bench, index, report);
done:
    tri_report_fail(report, outcome, status);
    return false;
}
