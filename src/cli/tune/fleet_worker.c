#include "cli/tune/fleet_worker.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/common/common.h"
#include "cli/common/fleet.h"
#include "store/work.h"

typedef struct worker {
    const tri_cli_worker_options *options;
    tri_device_info info; /* of the device that times; of the target when compiling ahead */
    char *device_key;     /* NULL: compiles ahead */
} worker;

static void report(const worker *w, const tri_job *job, triage_status status, const char *note) {
    const tri_tune_options *tune = w->options->tune;
    if (!w->options->quiet)
        tri_cli_error("%s: job %lld: %s", tune->compile_only ? tune->target : tune->device,
                      (long long)job->id, status == TRIAGE_OK ? note : triage_last_error());
}

static void tell_server(void *user, size_t done, size_t total, const tri_tune_row *row) {
    (void)row;
    tri_desk_progress(user, (int64_t)done, (int64_t)total);
}

/* A job's problem and its key. */
typedef struct task {
    tri_cli_problem problem;
    tri_cli_problem_options described;
    json_t *texts;
    char *key;
} task;

static triage_status open_task(task *out, const tri_job *job, const tri_device_info *info) {
    triage_status status = TRIAGE_OK;
    if (tri_cli_spec_names_file(job->spec))
        return tri_fail(TRIAGE_E_DATA, "a job names no file: %.200s", job->spec);
    TRI_TRY(tri_cli_problem_of_job(&out->problem, &out->described, &out->texts, job->spec));
    if (info->cc == 0)
        tri_cli_problem_for_host(&out->problem);
    TRI_TRY(tri_problem_key(&out->key, &out->problem.problem));
done:
    return status;
}

static void close_task(task *t) {
    tri_cli_problem_free(&t->problem);
    json_decref(t->texts);
    free(t->key);
}

/* ---- timing ---- */

static triage_status describe_result(char **note, const tri_tune_result *result) {
    char time[TRI_CLI_NUMBER];
    if (result->winner < 0)
        return tri_format(note, "no candidate of %zu was right", result->count);
    const tri_tune_row *best = &result->rows[result->winner];
    return tri_format(note, "%s: %s", best->config, tri_cli_time(time, best->evidence.median_ns));
}

static triage_status tune_job(void *user, tri_desk *desk, const tri_job *job, char **note) {
    worker *w = user;
    tri_tune_options options = *w->options->tune;
    tri_tune_result result = {.winner = -1};
    task t = {0};
    triage_status status = TRIAGE_OK;
    TRI_TRY(open_task(&t, job, &w->info));
    TRI_TRY(tri_cli_problem_fits(&t.problem.problem));
    options.seed = t.described.seed;
    tri_desk_fetch(desk, t.key, w->device_key);
    TRI_TRY(
        tri_tune_run(&result, &t.problem.problem, tri_cli_pattern(&t.problem), &options, tell_server, desk));
    TRI_TRY(describe_result(note, &result));
done:
    report(w, job, status, *note);
    tri_tune_result_free(&result);
    close_task(&t);
    return status;
}

/* ---- compiling ahead ---- */

static triage_status describe_compiled(char **note, const tri_tune_result *result, bool overtaken) {
    size_t unfit = 0;
    for (size_t i = 0; i < result->count; i++) {
        const tri_outcome outcome = result->rows[i].evidence.outcome;
        unfit += !result->rows[i].compiled &&
                 (outcome == TRI_NOT_COMPILED || outcome == TRI_SPILLED || outcome == TRI_TOO_LARGE);
    }
    return tri_format(note, "%zu of %zu candidates need no GPU: they do not compile or fit%s", unfit,
                      result->count, overtaken ? "; then a GPU took the job" : "");
}

static triage_status compile_job(void *user, tri_desk *desk, const tri_job *job, char **note) {
    const worker *w = user;
    tri_tune_options options = *w->options->tune;
    tri_tune_result result = {.winner = -1};
    tri_device_info info;
    task t = {0};
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_device_parse(&info, job->device));
    snprintf(info.name, sizeof info.name, "%s", job->device_name);
    TRI_TRY(open_task(&t, job, &info));
    options.target = NULL;
    options.for_device = &info;
    options.overtaken = tri_desk_lost(desk);
    options.seed = t.described.seed;
    if (!options.strategy)
        options.strategy = "exhaustive"; /* which of them a search will ask for is not known */
    tri_desk_fetch(desk, t.key, job->device);
    TRI_TRY(
        tri_tune_run(&result, &t.problem.problem, tri_cli_pattern(&t.problem), &options, tell_server, desk));
    TRI_TRY(describe_compiled(note, &result, *options.overtaken != 0));
done:
    report(w, job, status, *note);
    tri_tune_result_free(&result);
    close_task(&t);
    return status;
}

/* ---- the worker ---- */

static triage_status print_work(const worker *w, const tri_work_result *result) {
    if (w->options->json) {
        json_t *document = tri_cli_json_new("worker");
        json_object_set_new(document, "done", json_integer(result->done));
        json_object_set_new(document, "failed", json_integer(result->failed));
        json_object_set_new(document, "lost", json_integer(result->lost));
        json_object_set_new(document, "sent", json_integer(result->sync.sent));
        json_object_set_new(document, "received", json_integer(result->sync.received));
        return tri_cli_json_print(document);
    }
    printf("%lld jobs %s, %lld failed, %lld taken over by others; %lld measurements sent, %lld received\n",
           (long long)result->done, w->device_key ? "done" : "compiled ahead", (long long)result->failed,
           (long long)result->lost, (long long)result->sync.sent, (long long)result->sync.received);
    return TRIAGE_OK;
}

/* Whom the worker is for, and under which name. Fails before a job is claimed if it could do none. */
static triage_status describe(worker *w, char **name, char **device) {
    const tri_tune_options *tune = w->options->tune;
    char host[65] = "", compiler[TRI_COMPILER_SIZE];
    triage_status status = TRIAGE_OK;
    gethostname(host, sizeof host - 1);
    if (tune->compile_only) {
        TRI_TRY(tri_device_info_of_target(&w->info, tune->target));
        TRI_TRY(tri_compiler_version(compiler, sizeof compiler, w->info.target));
    } else {
        TRI_TRY(tri_tune_describe(&w->info, tune));
        TRI_TRY(tri_device_key(&w->device_key, &w->info));
        TRI_TRY(tri_format(device, "%s %s", w->info.name, w->device_key));
    }
    TRI_TRY(
        tri_format(name, "%s/%d %s", host, (int)getpid(), tune->compile_only ? tune->target : tune->device));
done:
    return status;
}

triage_status tri_cli_work(const tri_cli_worker_options *options) {
    worker w = {.options = options};
    const tri_log log = {tri_cli_log, (void *)(uintptr_t)&options->quiet};
    char *name = NULL, *device = NULL;
    tri_work_result result = {0};
    tri_admission *gate = NULL;
    triage_status status = TRIAGE_OK;
    TRI_TRY(describe(&w, &name, &device));
    TRI_TRY(tri_admission_open(&gate, options->tune->space_path, options->tune->data_dir));
    status = tri_work(&result,
                      &(tri_work_options){.local_path = options->tune->db_path,
                                          .server_url = options->server,
                                          .worker = name,
                                          .device = device,
                                          .device_key = w.device_key,
                                          .device_name = w.info.name,
                                          .target = w.device_key ? NULL : w.info.target,
                                          .lease_ms = (int64_t)(options->lease_s * 1000),
                                          .stay = options->stay,
                                          .check = tri_admission_check,
                                          .check_user = gate,
                                          .log = &log,
                                          .interrupted = options->tune->interrupted},
                      w.device_key ? tune_job : compile_job, &w);
    const triage_status printed = print_work(&w, &result);
    status = status != TRIAGE_OK ? status : printed;
done:
    tri_cli_end_admission(gate);
    free(name);
    free(device);
    free(w.device_key);
    return status;
}
