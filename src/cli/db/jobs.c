/* The jobs of a fleet, for people and as JSON: triage_db jobs, and their part of triage_db status. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/common/common.h"
#include "cli/common/fleet.h"

enum { JOBS_LIMIT = 10000, SHOWN = 20 };

/* ---- one job ---- */

static json_t *ahead_to_json(const tri_job_row *row) {
    if (!row->ahead.state[0])
        return json_null();
    return json_pack("{s:s, s:s, s:s, s:I, s:I}", "state", row->ahead.state, "worker", row->ahead.worker,
                     "note", row->ahead.note, "tried", (json_int_t)row->ahead.tried, "candidates",
                     (json_int_t)row->ahead.candidates);
}

static json_t *job_to_json(const tri_job_row *row) {
    return json_pack("{s:I, s:s, s:I, s:s, s:s, s:s, s:I, s:b, s:I, s:I, s:o, s:o}", "id",
                     (json_int_t)row->id, "state", row->state, "attempts", (json_int_t)row->attempt, "worker",
                     row->worker, "note", row->note, "device_class", row->device_class, "elapsed_ms",
                     (json_int_t)row->elapsed_ms, "worker_lost", (int)row->expired, "tried",
                     (json_int_t)row->tried, "candidates", (json_int_t)row->candidates, "compiled_ahead",
                     ahead_to_json(row), "spec", json_loads(row->spec, 0, NULL));
}

/* "m=4096 n=4096 k=4096 sparsity=0.9", in the order of the spec; to be freed. */
static triage_status shape_of(char **out, const char *spec) {
    json_t *texts = json_loads(spec, 0, NULL), *value;
    const char *name;
    tri_text text = TRI_TEXT_INIT;
    triage_status status = TRIAGE_OK;
    json_object_foreach(texts, name, value) {
        if (json_is_string(value))
            TRI_TRY(tri_text_format(&text, "%s%s=%s", text.size ? " " : "", name, json_string_value(value)));
    }
    TRI_TRY(tri_strdup(out, text.size ? text.data : spec));
done:
    tri_text_free(&text);
    json_decref(texts);
    return status;
}

/* "12/48", "12/48 compiled ahead", "compiled ahead"; "" where there is nothing to say. */
static const char *progress_of(char out[64], const tri_job_row *row) {
    const bool ahead = strcmp(row->state, "queued") == 0;
    out[0] = '\0';
    if (ahead && strcmp(row->ahead.state, "failed") == 0)
        snprintf(out, 64, "cannot be compiled ahead");
    else if (ahead && strcmp(row->ahead.state, "done") == 0)
        snprintf(out, 64, "compiled ahead");
    else if (ahead && strcmp(row->ahead.state, "running") == 0 && row->ahead.candidates > 0)
        snprintf(out, 64, "%" PRId64 "/%" PRId64 " compiled ahead", row->ahead.tried, row->ahead.candidates);
    else if (!ahead && row->candidates > 0)
        snprintf(out, 64, "%" PRId64 "/%" PRId64, row->tried, row->candidates);
    return out;
}

static const char *worker_of(const tri_job_row *row) {
    const bool ahead = strcmp(row->state, "queued") == 0 && strcmp(row->ahead.state, "running") == 0;
    return ahead ? row->ahead.worker : row->worker;
}

/* ---- jobs ---- */

typedef struct job_list {
    json_t *jobs;
    tri_cli_table *table;
} job_list;

static triage_status add_job(void *user, const tri_job_row *row) {
    job_list *list = user;
    char time[TRI_CLI_NUMBER], progress[64], *shape = NULL;
    triage_status status = TRIAGE_OK;
    const bool failed = strcmp(row->state, "failed") == 0;
    if (list->jobs)
        return json_array_append_new(list->jobs, job_to_json(row)) == 0
                   ? TRIAGE_OK
                   : tri_fail(TRIAGE_E_MEMORY, "out of memory for the jobs");
    TRI_TRY(shape_of(&shape, row->spec));
    TRI_TRY(tri_cli_table_row(list->table, failed || row->expired ? TRI_STYLE_BAD : TRI_STYLE_NONE));
    TRI_TRY(tri_cli_table_cell(list->table, "%" PRId64, row->id));
    TRI_TRY(tri_cli_table_cell(list->table, "%s", row->expired ? "lost" : row->state));
    TRI_TRY(tri_cli_table_cell(list->table, "%s", progress_of(progress, row)));
    TRI_TRY(tri_cli_table_cell(list->table, "%" PRId64, row->attempt));
    TRI_TRY(tri_cli_table_cell(list->table, "%s", tri_cli_time(time, (double)row->elapsed_ms * 1e6)));
    TRI_TRY(tri_cli_table_cell(list->table, "%s", row->device_class[0] ? row->device_class : "any"));
    TRI_TRY(tri_cli_table_cell(list->table, "%s", worker_of(row)));
    TRI_TRY(tri_cli_table_cell(list->table, "%s", shape));
    TRI_TRY(tri_cli_table_cell(list->table, "%s", row->note));
done:
    free(shape);
    return status;
}

triage_status tri_cli_jobs(const tri_cli_fleet_options *o) {
    static const tri_cli_column columns[] = {{"job", true},     {"state", false}, {"progress", false},
                                             {"tries", true},   {"time", true},   {"device", false},
                                             {"worker", false}, {"shape", false}, {"result", false}};
    triage_status status = TRIAGE_OK;
    tri_store *server = NULL;
    job_list list = {.jobs = o->json ? json_array() : NULL};
    TRI_TRY(tri_cli_table_new(&list.table, columns, sizeof columns / sizeof columns[0]));
    TRI_TRY(tri_cli_open_server(&server, o, TRI_STORE_READ));
    TRI_TRY(tri_job_each(server, true, JOBS_LIMIT, add_job, &list));
    if (o->json) {
        json_t *document = tri_cli_json_new("jobs");
        json_object_set(document, "jobs", list.jobs);
        TRI_TRY(tri_cli_json_print(document));
    } else {
        tri_cli_table_print(list.table, stdout, o->color);
    }
done:
    json_decref(list.jobs);
    tri_cli_table_free(list.table);
    tri_store_close(server);
    return status;
}

/* ---- status ---- */

typedef struct overview {
    tri_cli_table *in_hand, *failed; /* the failed ones are printed below */
    size_t working, failures;
} overview;

static triage_status add_in_hand(overview *v, const tri_job_row *row) {
    char time[TRI_CLI_NUMBER], progress[64], *shape = NULL;
    triage_status status = TRIAGE_OK;
    if (v->working++ >= SHOWN)
        return TRIAGE_OK;
    TRI_TRY(shape_of(&shape, row->spec));
    TRI_TRY(tri_cli_table_row(v->in_hand, row->expired ? TRI_STYLE_BAD : TRI_STYLE_NONE));
    TRI_TRY(tri_cli_table_cell(v->in_hand, "  %s%s", worker_of(row),
                               row->expired                        ? " (not heard of)"
                               : strcmp(row->state, "queued") == 0 ? " (compiles ahead)"
                                                                   : ""));
    TRI_TRY(tri_cli_table_cell(v->in_hand, "%" PRId64, row->id));
    TRI_TRY(tri_cli_table_cell(v->in_hand, "%s", progress_of(progress, row)));
    TRI_TRY(tri_cli_table_cell(v->in_hand, "%s", tri_cli_time(time, (double)row->elapsed_ms * 1e6)));
    TRI_TRY(tri_cli_table_cell(v->in_hand, "%s", shape));
done:
    free(shape);
    return status;
}

static triage_status add_failed(overview *v, const tri_job_row *row) {
    char *shape = NULL;
    triage_status status = TRIAGE_OK;
    if (v->failures++ >= SHOWN)
        return TRIAGE_OK;
    TRI_TRY(shape_of(&shape, row->spec));
    TRI_TRY(tri_cli_table_row(v->failed, TRI_STYLE_BAD));
    TRI_TRY(tri_cli_table_cell(v->failed, "  %s", shape));
    TRI_TRY(tri_cli_table_cell(v->failed, "%" PRId64, row->id));
    TRI_TRY(tri_cli_table_cell(v->failed, "%" PRId64, row->attempt));
    TRI_TRY(tri_cli_table_cell(v->failed, "%s", row->note));
done:
    free(shape);
    return status;
}

static triage_status add_to_overview(void *user, const tri_job_row *row) {
    return strcmp(row->state, "failed") == 0 ? add_failed(user, row) : add_in_hand(user, row);
}

static void print_more(size_t all) {
    if (all > SHOWN)
        printf("  and %zu more: triage_db jobs\n", all - SHOWN);
}

/* "3 min", "2 h 5 min" */
static const char *duration(char out[TRI_CLI_NUMBER], int64_t ms) {
    const int64_t minutes = (ms + 59999) / 60000;
    if (minutes < 60)
        snprintf(out, TRI_CLI_NUMBER, "%d min", (int)minutes);
    else if (minutes < 100 * 60)
        snprintf(out, TRI_CLI_NUMBER, "%d h %d min", (int)(minutes / 60), (int)(minutes % 60));
    else
        snprintf(out, TRI_CLI_NUMBER, "%" PRId64 " days", minutes / 60 / 24);
    return out;
}

static void print_counts(const tri_fleet_counts *c) {
    char left[TRI_CLI_NUMBER], when[TRI_CLI_NUMBER];
    printf("jobs: %" PRId64 " waiting", c->queued);
    if (c->compiled)
        printf(" (%" PRId64 " compiled ahead)", c->compiled);
    printf(", %" PRId64 " running on %" PRId64 " worker%s, %" PRId64 " done, %" PRId64 " failed\n",
           c->running, c->workers, c->workers == 1 ? "" : "s", c->done, c->failed);
    if (c->queued + c->running == 0)
        return;
    if (c->left_ms >= 0)
        printf("all done in about %s, at %s, at the pace of the last hour\n", duration(left, c->left_ms),
               tri_cli_when(when, (int64_t)time(NULL) * 1000 + c->left_ms));
    else
        printf("no job has ended in the last hour: when all will be done is not known\n");
}

triage_status tri_cli_jobs_status(tri_store *server, const tri_fleet_counts *counts, bool color) {
    static const tri_cli_column working[] = {
        {"at work", false}, {"job", true}, {"progress", false}, {"time", true}, {"shape", false}};
    static const tri_cli_column failed[] = {
        {"failed", false}, {"job", true}, {"tries", true}, {"why", false}};
    overview v = {0};
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_cli_table_new(&v.in_hand, working, sizeof working / sizeof working[0]));
    TRI_TRY(tri_cli_table_new(&v.failed, failed, sizeof failed / sizeof failed[0]));
    TRI_TRY(tri_job_each(server, false, JOBS_LIMIT, add_to_overview, &v));
    print_counts(counts);
    if (v.working) {
        tri_cli_table_print(v.in_hand, stdout, color);
        print_more(v.working);
    }
    if (v.failures) {
        tri_cli_table_print(v.failed, stdout, color);
        print_more(v.failures);
        printf("triage_db enqueue --retry queues what failed again\n");
    }
done:
    tri_cli_table_free(v.in_hand);
    tri_cli_table_free(v.failed);
    return status;
}

static triage_status add_to_json(void *user, const tri_job_row *row) {
    return json_array_append_new(user, job_to_json(row)) == 0
               ? TRIAGE_OK
               : tri_fail(TRIAGE_E_MEMORY, "out of memory for the jobs");
}

triage_status tri_cli_jobs_status_json(json_t *document, tri_store *server, const tri_fleet_counts *c) {
    const struct {
        const char *name;
        int64_t count;
    } counts[] = {{"queued", c->queued},
                  {"running", c->running},
                  {"done", c->done},
                  {"failed", c->failed},
                  {"workers", c->workers},
                  {"compiled_ahead", c->compiled},
                  {"compile_workers", c->compilers}};
    json_t *jobs = json_array();
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        json_object_set_new(document, counts[i].name, json_integer(counts[i].count));
    json_object_set_new(document, "left_ms", c->left_ms < 0 ? json_null() : json_integer(c->left_ms));
    json_object_set_new(document, "jobs", jobs); /* in hand, and failed */
    return tri_job_each(server, false, JOBS_LIMIT, add_to_json, jobs);
}
