/* The table of a contest as files for others: Markdown, CSV. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/bench/bench.h"

static triage_status open_file(FILE **out, const char *path) {
    *out = fopen(path, "w");
    return *out ? TRIAGE_OK : tri_fail(TRIAGE_E_IO, "%s cannot be written: %s", path, strerror(errno));
}

/* Nothing is left of a file that could not be written whole. */
static triage_status close_file(FILE *file, const char *path) {
    const bool failed = ferror(file) != 0;
    if (fclose(file) == 0 && !failed)
        return TRIAGE_OK;
    const int error = errno;
    remove(path);
    return tri_fail(TRIAGE_E_IO, "%s cannot be written: %s", path, strerror(error));
}

/* ---- CSV (RFC 4180) ---- */

static void csv_text(FILE *file, const char *text) {
    fputc('"', file);
    for (; *text; text++) {
        if (*text == '"')
            fputc('"', file);
        fputc(*text, file);
    }
    fputc('"', file);
}

static void csv_row(FILE *file, const tri_contestant *c, const tri_problem *problem) {
    fprintf(file, "%s,%s,", c->type->name, tri_contest_result_name(c->result));
    if (tri_contestant_has_number(c))
        fprintf(file, "%.1f,%.1f,%.1f,%.6g,%.4g,", c->timing.median_ns, c->timing.low_ns, c->timing.high_ns,
                tri_contestant_tflops(c, problem), c->row_error);
    else
        fputs(",,,,,", file);
    csv_text(file, c->reason[0] ? c->reason : c->detail);
    fputc('\n', file);
}

triage_status tri_contest_export_csv(const char *path, const tri_contest_report *report) {
    FILE *file = NULL;
    triage_status status = open_file(&file, path);
    if (status != TRIAGE_OK)
        return status;
    fputs("name,result,median_ns,low_ns,high_ns,useful_tflops,row_error,detail\n", file);
    for (size_t i = 0; i < report->count; i++)
        csv_row(file, &report->contestants[i], &report->arena->problem);
    return close_file(file, path);
}

/* ---- Markdown ---- */

static void markdown_text(FILE *file, const char *text) {
    for (; *text; text++) {
        if (*text == '|')
            fputc('\\', file);
        fputc(*text, file);
    }
}

static void markdown_row(FILE *file, const tri_contestant *c, const tri_contest_report *report) {
    const tri_contestant *self = &report->contestants[0];
    fprintf(file, "| %s | ", c->type->name);
    if (tri_contestant_has_number(c)) {
        fprintf(file, "%.4f | %.1f %% | %.4g | ", c->timing.median_ns / 1e6,
                50 * tri_timing_width(&c->timing), tri_contestant_tflops(c, &report->arena->problem));
        if (tri_contestant_has_number(self))
            fprintf(file, "%.2f | ", c->timing.median_ns / self->timing.median_ns);
        else
            fputs("- | ", file);
    } else {
        fputs("- | - | - | - | ", file);
    }
    fprintf(file, "%s | ", tri_contest_result_name(c->result));
    markdown_text(file, c->reason[0] ? c->reason : c->detail);
    fputs(" |\n", file);
}

triage_status tri_contest_export_markdown(const char *path, const tri_contest_report *report) {
    FILE *file = NULL;
    char *key = NULL;
    triage_status status = tri_problem_key(&key, &report->arena->problem);
    if (status == TRIAGE_OK)
        status = open_file(&file, path);
    if (status == TRIAGE_OK) {
        fprintf(file, "`%s`, %s, %s L2:\n\n", key, triage_context_device_name(report->arena->context),
                report->cold ? "cold" : "warm");
        fputs("| | ms | ± | useful TFLOP/s | time / triage | result | |\n|---|---:|---:|---:|---:|---|---|\n",
              file);
        for (size_t i = 0; i < report->count; i++)
            markdown_row(file, &report->contestants[i], report);
        status = close_file(file, path);
    }
    free(key);
    return status;
}
