/* The command: gathers what the databases know of each device. The page is made in report_page.c. */
#include "cli/db/report.h"

#include <stdlib.h>
#include <string.h>

#include "cli/common/common.h"
#include "cli/common/output.h"
#include "cli/db/pipes.h"
#include "op/dense.h"

typedef struct reports {
    const tri_cli_evidence_options *options;
    tri_device_report *items;
    size_t count, capacity;
} reports;

/* ---- freeing ---- */

static void free_problem(tri_report_problem *problem) {
    for (size_t i = 0; i < problem->count; i++) {
        free(problem->rows[i].config);
        free(problem->rows[i].reason);
    }
    free(problem->rows);
    free(problem->key);
    free(problem->winner);
}

static void free_reports(reports *all) {
    for (size_t i = 0; i < all->count; i++) {
        tri_device_report *r = &all->items[i];
        for (size_t k = 0; k < r->count; k++)
            free_problem(&r->problems[k]);
        for (size_t k = 0; k < r->drift_count; k++) {
            free(r->drifts[k].problem);
            free(r->drifts[k].config);
        }
        free(r->problems);
        free(r->drifts);
        free(r->key);
        free(r->name);
    }
    free(all->items);
}

/* ---- gathering ---- */

static bool is_wanted(const reports *all, const char *key, const char *name) {
    const char *device = all->options->device;
    return !device || strstr(key, device) || strstr(name, device);
}

static triage_status report_of(tri_device_report **out, reports *all, const char *key, const char *name) {
    triage_status status = TRIAGE_OK;
    for (size_t i = 0; i < all->count; i++)
        if (strcmp(all->items[i].key, key) == 0) {
            *out = &all->items[i];
            return TRIAGE_OK;
        }
    TRI_TRY(tri_grow(&all->items, &all->capacity, all->count, sizeof *all->items, "devices"));
    tri_device_report *added = &all->items[all->count++];
    *added = (tri_device_report){0};
    (void)tri_device_parse(&added->info, key); /* what it does not read is 0: no roof */
    TRI_TRY(tri_strdup(&added->key, key));
    TRI_TRY(tri_strdup(&added->name, name));
    *out = added;
done:
    return status;
}

/* How much there is to do; a key of another version stays without. */
static void find_costs(tri_report_problem *problem) {
    tri_problem parsed;
    tri_gemm gemm;
    problem->is_dense = tri_dense_is_key(problem->key);
    if (problem->is_dense && tri_dense_parse(&gemm, problem->key) == TRIAGE_OK) {
        tri_least_work work;
        tri_dense_least_work(&work, &gemm);
        problem->flops = work.flops;
        problem->bytes = work.input_bytes + work.output_bytes;
    } else if (!problem->is_dense && tri_problem_parse(&parsed, problem->key) == TRIAGE_OK) {
        problem->flops = tri_problem_flops(&parsed);
        problem->bytes = tri_problem_bytes(&parsed);
    }
}

/* Rows of one problem mostly follow each other. */
static triage_status problem_of(tri_report_problem **out, tri_device_report *report, const char *key) {
    triage_status status = TRIAGE_OK;
    for (size_t i = report->count; i > 0; i--)
        if (strcmp(report->problems[i - 1].key, key) == 0) {
            *out = &report->problems[i - 1];
            return TRIAGE_OK;
        }
    TRI_TRY(
        tri_grow(&report->problems, &report->capacity, report->count, sizeof *report->problems, "problems"));
    tri_report_problem *added = &report->problems[report->count++];
    *added = (tri_report_problem){0};
    TRI_TRY(tri_strdup(&added->key, key));
    find_costs(added);
    *out = added;
done:
    return status;
}

static bool is_timed(const tri_measurement *row) {
    return row->outcome == TRI_RIGHT || row->outcome == TRI_SLOW;
}

/* A race counts more than a search, else the newest. */
static bool replaces(const tri_report_row *old, const tri_measurement *row) {
    const bool raced = strcmp(row->stage, "race") == 0;
    return old->raced != raced ? raced : row->measured_at_ms > old->at_ms;
}

static triage_status keep_row(tri_report_problem *problem, const tri_measurement *row) {
    triage_status status = TRIAGE_OK;
    tri_report_row *kept = NULL;
    for (size_t i = 0; i < problem->count && !kept; i++)
        if (strcmp(problem->rows[i].config, row->config) == 0)
            kept = &problem->rows[i];
    if (kept && !replaces(kept, row))
        return TRIAGE_OK;
    if (!kept) {
        TRI_TRY(tri_grow(&problem->rows, &problem->capacity, problem->count, sizeof *problem->rows,
                         "candidates"));
        kept = &problem->rows[problem->count++];
        *kept = (tri_report_row){0};
        TRI_TRY(tri_strdup(&kept->config, row->config));
    }
    free(kept->reason);
    kept->reason = NULL;
    TRI_TRY(tri_strdup(&kept->reason, row->reason));
    kept->outcome = row->outcome;
    kept->median_ns = is_timed(row) ? row->median_ns : 0;
    kept->low_ns = row->low_ns;
    kept->high_ns = row->high_ns;
    kept->raced = strcmp(row->stage, "race") == 0;
    kept->at_ms = row->measured_at_ms;
done:
    return status;
}

/* Where the row belongs; *problem NULL: it is not asked for. */
static triage_status place_of(tri_device_report **report, tri_report_problem **problem, reports *all,
                              const tri_measurement *row) {
    triage_status status = TRIAGE_OK;
    if (!is_wanted(all, row->device, row->device_name) ||
        !tri_cli_filter_passes(&all->options->filter, row->problem))
        return TRIAGE_OK;
    TRI_TRY(report_of(report, all, row->device, row->device_name));
    TRI_TRY(problem_of(problem, *report, row->problem));
done:
    return status;
}

/* A tri_row_fn, over everything. */
static triage_status note_row(void *user, const tri_measurement *row) {
    reports *all = user;
    tri_device_report *report = NULL;
    tri_report_problem *problem = NULL;
    triage_status status = place_of(&report, &problem, all, row);
    if (status != TRIAGE_OK || !problem)
        return status;
    report->measurements++;
    report->failures += !is_timed(row);
    if (!report->first_ms || row->measured_at_ms < report->first_ms)
        report->first_ms = row->measured_at_ms;
    if (row->measured_at_ms > report->last_ms)
        report->last_ms = row->measured_at_ms;
    TRI_TRY(keep_row(problem, row));
done:
    return status;
}

/* A tri_row_fn, over the winners: of several databases the faster one. */
static triage_status note_winner(void *user, const tri_measurement *row) {
    reports *all = user;
    tri_device_report *report = NULL;
    tri_report_problem *problem = NULL;
    triage_status status = place_of(&report, &problem, all, row);
    if (status != TRIAGE_OK || !problem)
        return status;
    if (problem->winner_ns > 0 && problem->winner_ns <= row->median_ns)
        return TRIAGE_OK;
    free(problem->winner);
    problem->winner = NULL;
    TRI_TRY(tri_strdup(&problem->winner, row->config));
    problem->winner_ns = row->median_ns;
done:
    return status;
}

/* A tri_drift_fn. */
static triage_status note_drift(void *user, const tri_drift *drift) {
    reports *all = user;
    tri_device_report *report = NULL;
    triage_status status = TRIAGE_OK;
    if (!is_wanted(all, drift->newer->device, drift->newer->device_name) ||
        !tri_cli_filter_passes(&all->options->filter, drift->newer->problem))
        return TRIAGE_OK;
    TRI_TRY(report_of(&report, all, drift->newer->device, drift->newer->device_name));
    TRI_TRY(tri_grow(&report->drifts, &report->drift_capacity, report->drift_count, sizeof *report->drifts,
                     "drifts"));
    tri_report_drift *added = &report->drifts[report->drift_count++];
    *added = (tri_report_drift){.was_ns = drift->older->median_ns,
                                .now_ns = drift->newer->median_ns,
                                .at_ms = drift->newer->measured_at_ms};
    TRI_TRY(tri_strdup(&added->problem, drift->newer->problem));
    TRI_TRY(tri_strdup(&added->config, drift->newer->config));
done:
    return status;
}

/* ---- putting in order ---- */

static int by_time(const void *left, const void *right) {
    const tri_report_row *a = left, *b = right;
    const double x = a->median_ns > 0 ? a->median_ns : 1e300, y = b->median_ns > 0 ? b->median_ns : 1e300;
    return x != y ? (x > y) - (x < y) : strcmp(a->config, b->config);
}

/* Numbers in a key by their size. */
static int by_key(const void *left, const void *right) {
    return strverscmp(((const tri_report_problem *)left)->key, ((const tri_report_problem *)right)->key);
}

static const tri_report_problem *find_problem(const tri_device_report *report, const char *key) {
    for (size_t i = 0; i < report->count; i++)
        if (strcmp(report->problems[i].key, key) == 0)
            return &report->problems[i];
    return NULL;
}

static triage_status find_dense(tri_device_report *report) {
    triage_status status = TRIAGE_OK;
    for (size_t i = 0; i < report->count; i++) {
        tri_problem parsed;
        char *key = NULL;
        if (report->problems[i].is_dense || tri_problem_parse(&parsed, report->problems[i].key) != TRIAGE_OK)
            continue;
        TRI_TRY(tri_dense_key_of(&key, &parsed));
        const tri_report_problem *dense = key ? find_problem(report, key) : NULL;
        report->problems[i].dense_ns = dense ? dense->winner_ns : 0;
        free(key);
    }
done:
    return status;
}

static triage_status put_in_order(reports *all) {
    triage_status status = TRIAGE_OK;
    for (size_t i = 0; i < all->count; i++) {
        tri_device_report *r = &all->items[i];
        for (size_t k = 0; k < r->count; k++)
            if (r->problems[k].count)
                qsort(r->problems[k].rows, r->problems[k].count, sizeof *r->problems[k].rows, by_time);
        qsort(r->problems, r->count, sizeof *r->problems, by_key);
        TRI_TRY(find_dense(r));
    }
done:
    return status;
}

/* Of which most is known, first. */
static int by_size(const void *left, const void *right) {
    const tri_device_report *a = left, *b = right;
    return a->measurements != b->measurements
               ? (a->measurements < b->measurements) - (a->measurements > b->measurements)
               : strcmp(a->key, b->key);
}

/* ---- the command ---- */

static triage_status gather(reports *all, const tri_cli_stores *stores) {
    triage_status status = TRIAGE_OK;
    int64_t unknown;
    for (size_t i = 0; i < stores->count; i++) {
        TRI_TRY(tri_store_each(stores->items[i], note_row, all));
        TRI_TRY(tri_store_winners(stores->items[i], NULL, "", note_winner, all));
        TRI_TRY(tri_store_drifts(&unknown, stores->items[i], note_drift, all));
    }
    if (all->count == 0)
        TRI_TRY(tri_fail(TRIAGE_E_DATA, "nothing is known of such a device or problem (triage_db list)"));
    qsort(all->items, all->count, sizeof *all->items, by_size);
    TRI_TRY(put_in_order(all));
done:
    return status;
}

typedef struct page {
    char *text;
    size_t size;
} page;

/* A tri_write_fn. */
static triage_status write_page(void *user, const char *path) {
    const page *p = user;
    return tri_file_write_atomic(path, p->text, p->size, 0644);
}

triage_status tri_cli_report_page(const tri_cli_stores *stores, const char *html,
                                  const tri_cli_evidence_options *options) {
    reports all = {.options = options};
    page made = {0};
    triage_status status = TRIAGE_OK;
    TRI_TRY(gather(&all, stores));
    FILE *out = open_memstream(&made.text, &made.size);
    if (!out)
        TRI_TRY(tri_fail(TRIAGE_E_MEMORY, "out of memory for a page"));
    tri_report_page(out, all.items, all.count);
    if (fclose(out) != 0)
        TRI_TRY(tri_fail(TRIAGE_E_MEMORY, "out of memory for a page"));
    TRI_TRY(tri_cli_write_by(html, write_page, &made));
    if (!tri_cli_is_stdout(html))
        printf("%s: %zu bytes, %zu device%s\n", html, made.size, all.count, all.count == 1 ? "" : "s");
done:
    free(made.text);
    free_reports(&all);
    return status;
}
