/* triage_tune --worker --device all: this program once more for each GPU. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/common/common.h"
#include "cli/tune/fleet_worker.h"
#include "measure/process_group.h"

enum { GPUS_MAX = 1024, MORE_ARGUMENTS = 5 };

typedef struct group {
    size_t count, arguments; /* of each */
    tri_group_member members[GPUS_MAX];
    char **argv;                   /* [count][arguments + 1] */
    char names[GPUS_MAX][32];      /* "cuda:0" */
    char jobs[16], self[PATH_MAX]; /* compilers of each; this program */
} group;

/* The arguments as they were, and behind them, where they count more, what makes a worker of one GPU. */
static triage_status make_arguments(group *c, char *const *argv, int jobs) {
    size_t given = 0;
    triage_status status = TRIAGE_OK;
    while (argv[given])
        given++;
    c->arguments = given + MORE_ARGUMENTS;
    TRI_TRY(tri_calloc(&c->argv, c->count * (c->arguments + 1), sizeof *c->argv));
    if (jobs == 0) { /* the cores are shared */
        const long cores = sysconf(_SC_NPROCESSORS_ONLN) / (long)c->count;
        jobs = cores < 1 ? 1 : cores > 256 ? 256 : (int)cores;
    }
    snprintf(c->jobs, sizeof c->jobs, "%d", jobs);
    for (size_t i = 0; i < c->count; i++) {
        char **of_one = &c->argv[i * (c->arguments + 1)];
        snprintf(c->names[i], sizeof c->names[i], "cuda:%zu", i);
        const char *more[MORE_ARGUMENTS] = {"--device", c->names[i], "--jobs", c->jobs, "--json"};
        memcpy(of_one, argv, given * sizeof *argv);
        memcpy(of_one + given, more, sizeof more);
        c->members[i].argv = of_one;
    }
done:
    return status;
}

static triage_status find_self(group *c) {
    const ssize_t size = readlink("/proc/self/exe", c->self, sizeof c->self - 1);
    c->self[size > 0 ? size : 0] = '\0';
    return size > 0 ? TRIAGE_OK : tri_fail(TRIAGE_E_IO, "cannot find this program's own file");
}

/* ---- what came of it ---- */

static const char *const counts[] = {"done", "failed", "lost", "sent", "received"};
enum { COUNTS = sizeof counts / sizeof counts[0] };

/* A member that failed before it had a result has none: nulls. */
static json_t *result_of(const group *c, size_t i, json_int_t *totals) {
    json_t *given = json_loads(c->members[i].output, 0, NULL);
    json_t *result = json_pack("{s:s, s:i}", "device", c->names[i], "exit", c->members[i].code);
    for (size_t j = 0; j < COUNTS; j++) {
        json_t *count = json_object_get(given, counts[j]);
        totals[j] += json_integer_value(count);
        json_object_set(result, counts[j], json_is_integer(count) ? count : json_null());
    }
    json_decref(given);
    return result;
}

static triage_status print_table(const json_t *results) {
    static const tri_cli_column columns[] = {{"device", false},    {"done", true}, {"failed", true},
                                             {"taken over", true}, {"sent", true}, {"received", true},
                                             {"exit", true}};
    tri_cli_table *table = NULL;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_cli_table_new(&table, columns, sizeof columns / sizeof columns[0]));
    for (size_t i = 0; i < json_array_size(results); i++) {
        const json_t *result = json_array_get(results, i);
        const json_int_t code = json_integer_value(json_object_get(result, "exit"));
        TRI_TRY(tri_cli_table_row(table, code ? TRI_STYLE_BAD : TRI_STYLE_NONE));
        TRI_TRY(tri_cli_table_cell(table, "%s", json_string_value(json_object_get(result, "device"))));
        for (size_t j = 0; j < COUNTS; j++)
            TRI_TRY(tri_cli_table_cell(table, "%lld",
                                       (long long)json_integer_value(json_object_get(result, counts[j]))));
        TRI_TRY(tri_cli_table_cell(table, "%lld", (long long)code));
    }
    tri_cli_table_print(table, stdout, tri_cli_color(stdout, false));
done:
    tri_cli_table_free(table);
    return status;
}

static triage_status print_results(const group *c, bool json) {
    json_int_t totals[COUNTS] = {0};
    json_t *results = json_array();
    triage_status status = TRIAGE_OK;
    for (size_t i = 0; i < c->count; i++)
        json_array_append_new(results, result_of(c, i, totals));
    if (json) {
        json_t *document = tri_cli_json_new("workers");
        for (size_t j = 0; j < COUNTS; j++)
            json_object_set_new(document, counts[j], json_integer(totals[j]));
        json_object_set(document, "workers", results);
        status = tri_cli_json_print(document);
    } else {
        status = print_table(results);
    }
    json_decref(results);
    return status;
}

/* The first that failed speaks for all: its own line says why. */
static triage_status judge(const group *c) {
    for (size_t i = 0; i < c->count; i++) {
        const int code = c->members[i].code;
        if (code == TRI_EXIT_INTERRUPTED)
            return tri_fail(TRIAGE_E_INTERRUPTED, "interrupted: the jobs in hand were given back");
        if (code != TRI_EXIT_OK)
            return tri_fail(code == TRI_EXIT_NO_DEVICE ? TRIAGE_E_NO_DEVICE : TRIAGE_E_IO,
                            "the worker of %s ended with %d", c->names[i], code);
    }
    return TRIAGE_OK;
}

triage_status tri_cli_work_on_all(const tri_cli_worker_options *options, char *const *argv) {
    int gpus = 0;
    group *c = NULL;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_calloc(&c, 1, sizeof *c));
    status = tri_tune_count_gpus(&gpus, options->tune);
    if (status == TRIAGE_E_NO_DEVICE) {
        char why[256];
        snprintf(why, sizeof why, "%s", triage_last_error());
        TRI_TRY(tri_fail(status, "--device all: no GPU here (%s); --device host works on the CPU", why));
    }
    TRI_TRY(status);
    c->count = gpus > GPUS_MAX ? GPUS_MAX : (size_t)gpus;
    TRI_TRY(find_self(c));
    TRI_TRY(make_arguments(c, argv, options->tune->jobs));
    if (!options->quiet)
        tri_cli_error("%zu GPU%s, a worker for each", c->count, c->count == 1 ? "" : "s");
    TRI_TRY(tri_process_group_run(c->members, c->count, c->self, options->tune->interrupted));
    TRI_TRY(print_results(c, options->json));
    status = judge(c);
done:
    if (c) {
        tri_process_group_clear(c->members, c->count);
        free(c->argv);
    }
    free(c);
    return status;
}
