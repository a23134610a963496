/* triage_tune: finds the fastest right kernel for a problem on this machine, and remembers it. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/common/common.h"
#include "cli/common/fleet.h"
#include "cli/common/problem.h"
#include "cli/common/progress.h"
#include "cli/common/shared.h"
#include "cli/tune/report.h"
#include "cli/tune/fleet_worker.h"
#include "cli/tune/list.h"
#include "store/sync_thread.h"

#define LARGE_FLOPS 1e11

typedef struct options {
    tri_cli_shared shared; /* first */
    const char *target, *strategy, *budget, *stop_gain, *time_limit, *total_limit, *jobs, *emit, *lease,
        *from;
    bool compile_only, cold_start, force, worker, stay, verbose;
} options;

/* ---- the command line ------------------------------------------------------------------------------------- */

#define TEXT(name, arg, member, help) TRI_CLI_TEXT(name, arg, options, member, help)
#define FLAG(name, member, help) TRI_CLI_FLAG(name, 0, options, member, help)

static const tri_cli_line run_lines[] = {
    TRI_CLI_DEVICE("; with --worker also all, a worker for each GPU"),
    TEXT("target", TRI_CLI_TARGETS, target,
         "Architecture for --compile-only, --dry-run and --emit; no device is needed"),
    FLAG("compile-only", compile_only,
         "Compile every candidate for --target and run none; no GPU is needed. With --worker: compile the "
         "candidates of waiting jobs ahead, so that GPUs skip those that do not compile or fit"),
    TRI_CLI_OWN_SPACE,
    TEXT("strategy", "NAME", strategy,
         "Order of the search: exhaustive, random, local, model (each after the space's default and the "
         "known good ones of similar problems), or a .lua file (default: exhaustive up to 400 configurations "
         "and within --budget, else model)"),
    TEXT("budget", "N", budget, "Try at most N candidates, 1 to 1000000000 (default: no limit)"),
    TEXT("stop-gain", "PERCENT", stop_gain,
         "With --strategy model: stop when the next 20 candidates together are expected to gain less than "
         "PERCENT, 0.01 to 50 (default: never)"),
    TEXT("time-limit", "S", time_limit,
         "Stop after S seconds, up to 1e9, and report the best so far (default: no limit)"),
    TEXT("from", "FILE", from,
         "Tune the problem of each line, one after the other: a CSV file with the columns of triage_db "
         "enqueue --shapes (m,n,k,sparsity,block,dtype, ...), or a file that an application recorded "
         "(record_path of the C API). --budget and --time-limit apply to each problem; --json prints a "
         "document for each. On a GPU another process compiles for the next problems meanwhile"),
    TEXT("total-limit", "S", total_limit,
         "With --from: S seconds for the whole file, 1 to 1e9, the problems first that tuning is expected to "
         "save most; those not reached are tuned when it is started again (default: no limit, in the "
         "file's order)"),
    TRI_CLI_SEED("Seed of the pattern, the inputs and the strategy"),
    TEXT("jobs", "N", jobs, "Compile in N processes at once, 1 to 256 (default: one for each core)"),
    TRI_CLI_WARM,
    FLAG("cold-start", cold_start,
         "Do not begin with configurations that were fast on similar problems, by the database or else the "
         "shipped evidence (default: at most 12 of them follow the space's default)"),
    FLAG("force", force, "Measure again what the database already has"),
    TRI_CLI_FLAG("dry-run", 0, tri_cli_shared, dry_run, "List the candidates; compile and measure nothing"),
    TEXT("emit", "CONFIG|best|default|RANK", emit,
         "Print the exact source of a candidate: a configuration, e.g. \"wmma tile_m=64 ...\", the space's "
         "default, or the best or RANK-th in the database for this device"),
    FLAG("worker", worker, "Work on the jobs of a server (triage_db enqueue) instead of on one problem"),
    FLAG("stay", stay, "With --worker: wait for more jobs when there are none"),
    TEXT("lease", "S", lease,
         "With --worker: after S seconds, 1 to 86400, without a sign of life its job goes to another worker "
         "(default 120)"),
    TRI_CLI_WAIT,
    {0}};

static const tri_cli_line file_lines[] = {
    TRI_CLI_CACHE_DIR,
    TRI_CLI_DB(": the default file, kept in step with that server in the background"),
    TRI_CLI_SERVER("Keep the file of --db in step with this server"),
    TRI_CLI_DATA_DIR("Read"),
    TRI_CLI_JSON,
    TRI_CLI_QUIET,
    TRI_CLI_FLAG("verbose", 'v', options, verbose,
                 "Print a line on stderr for each candidate, and every row of the table"),
    TRI_CLI_WIDE,
    TRI_CLI_NO_COLOR,
    {0}};

static const tri_cli_group groups[] = {{"Where and how", run_lines}, {"Files and output", file_lines}, {0}};

static const tri_cli_program program = {
    .name = "triage_tune",
    .about = "find the fastest correct kernel for a problem, and remember it",
    .problem = "The problem",
    .groups = groups,
    .doc = "Finds the fastest kernel for a block-sparse product or attention on this machine: each candidate "
           "is compiled, verified against float64 and timed, and the result is stored. The dense product of "
           "cuBLAS (OpenBLAS on the CPU) is measured, too, where it is installed: the report says whether it "
           "is faster.\v"
           "Example: triage_tune --shape 8192,8192,8192 --sparsity 0.9 --block 64\n\n"
           "Environment: XDG_DATA_HOME, XDG_CACHE_HOME (compiled kernels), NO_COLOR; TRIAGE_LOCK_DIR, the "
           "folder "
           "(default /tmp) where runs on one device wait for each other; VIRTUAL_ENV and PATH, for a cuBLAS "
           "that "
           "only pip has installed.\n\n"
           "Exit codes: 0 done, 64 wrong usage, 65 bad input data, 69 no usable device, 70 no candidate was "
           "correct, 74 input/output, 75 --total-limit left some, 130 interrupted with results kept."};

/* ---- from texts to what they mean --------------------------------------------------------------------------- */

static triage_status check_modes(const options *o) {
    int modes = o->compile_only + o->shared.dry_run + (o->emit != NULL);
    if (modes > 1)
        return tri_cli_usage("only one of --compile-only, --dry-run and --emit can be asked for");
    if (o->target && modes == 0)
        return tri_cli_usage(
            "--target %.32s goes with --compile-only, --dry-run or --emit; a run is for --device", o->target);
    if (o->compile_only && !o->target)
        return tri_cli_usage("--compile-only needs --target, e.g. sm_90a or host");
    if (o->target && o->shared.device)
        return tri_cli_usage("--target and --device exclude each other");
    if (o->shared.quiet && o->verbose)
        return tri_cli_usage("--quiet and --verbose exclude each other");
    return TRIAGE_OK;
}

static triage_status check_worker(const options *o) {
    const bool url = o->shared.server || (o->shared.db && tri_store_is_url(o->shared.db));
    const tri_cli_problem_options *p = &o->shared.problem;
    if ((o->stay || o->lease) && !o->worker)
        return tri_cli_usage("--stay and --lease go with --worker");
    if (!o->worker)
        return TRIAGE_OK;
    if (!url)
        return tri_cli_usage("--worker needs a server: --db postgresql://USER@HOST/DATABASE");
    if (p->given)
        return tri_cli_usage("--worker takes its problems from the server: leave out --%s", p->given);
    if (o->shared.dry_run || o->emit)
        return tri_cli_usage("--worker works on jobs: leave out %s",
                             o->shared.dry_run ? "--dry-run" : "--emit");
    return TRIAGE_OK;
}

static triage_status check_server(const options *o) {
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_cli_check_url(o->shared.db));
    TRI_TRY(tri_cli_check_url(o->shared.server));
    if (o->shared.server && !tri_store_is_url(o->shared.server))
        TRI_TRY(tri_cli_usage("--server is a postgresql:// URL; a file goes with --db"));
    if (o->shared.server && o->shared.db && tri_store_is_url(o->shared.db))
        TRI_TRY(tri_cli_usage("--db and --server are both servers: --db is the local file"));
done:
    return status;
}

static triage_status parse_numbers(tri_tune_options *out, const options *o) {
    int64_t budget = 0, jobs = 0;
    double gain = 0;
    triage_status status = TRIAGE_OK;
    if (o->budget)
        TRI_TRY(tri_parse_int64(&budget, o->budget, 1, 1000000000, "--budget"));
    TRI_TRY(tri_cli_parse_seed(&out->seed, o->shared.seed));
    if (o->jobs)
        TRI_TRY(tri_parse_int64(&jobs, o->jobs, 1, 256, "--jobs"));
    if (o->stop_gain)
        TRI_TRY(tri_parse_double(&gain, o->stop_gain, 0.01, 50, "--stop-gain"));
    if (o->time_limit)
        TRI_TRY(tri_parse_double(&out->time_limit_s, o->time_limit, 1e-3, 1e9, "--time-limit"));
    out->budget = (size_t)budget;
    out->stop_gain = gain / 100;
    out->jobs = (int)jobs;
done:
    return status;
}

/* The strategies that come with the program; anything else must look like a file. */
static triage_status check_strategy(const char *name) {
    static const char *const names[] = {"exhaustive", "random", "local", "model"};
    size_t size = name ? strlen(name) : 0;
    for (size_t i = 0; name && i < sizeof names / sizeof names[0]; i++)
        if (strcmp(name, names[i]) == 0)
            return TRIAGE_OK;
    if (!name || strchr(name, '/') || (size > 4 && strcmp(name + size - 4, ".lua") == 0))
        return TRIAGE_OK;
    return tri_cli_usage("--strategy %.32s is not one of exhaustive, random, local, model, or a .lua file",
                         name);
}

static triage_status check_stop_gain(const options *o) {
    static const char *const others[] = {"exhaustive", "random", "local"};
    for (size_t i = 0; o->stop_gain && o->strategy && i < sizeof others / sizeof others[0]; i++)
        if (strcmp(o->strategy, others[i]) == 0)
            return tri_cli_usage("--stop-gain goes with --strategy model: %s expects nothing", o->strategy);
    return TRIAGE_OK;
}

/* A Lua file of the user's: bad input when it cannot be read, not a failure of ours. */
static triage_status check_lua(const char *path, const char *option) {
    size_t size = path ? strlen(path) : 0;
    bool is_file = size > 0 && (strchr(path, '/') || (size > 4 && strcmp(path + size - 4, ".lua") == 0));
    if (!is_file || access(path, R_OK) == 0)
        return TRIAGE_OK;
    return tri_fail(TRIAGE_E_DATA, "%s %s cannot be read: a Lua file is expected", option, path);
}

/* Found before a minute is spent on measuring: can a database be written there? Makes nothing. */
static triage_status check_db(const char *path) {
    char *folder = NULL;
    triage_status status = TRIAGE_OK;
    if (access(path, F_OK) == 0)
        return access(path, R_OK | W_OK) == 0
                   ? TRIAGE_OK
                   : tri_fail(TRIAGE_E_DATA,
                              "--db %s cannot be written: a writable file or folder is expected", path);
    TRI_TRY(tri_strdup(&folder, path));
    for (;;) { /* up to the folder that is there */
        char *slash = strrchr(folder, '/');
        const char *above = !slash ? "." : slash == folder ? "/" : folder;
        if (slash)
            *slash = '\0';
        if (access(above, F_OK) != 0 && slash && slash != folder)
            continue;
        char rest[PATH_MAX];
        snprintf(rest, sizeof rest, "%s/.", above); /* a file on the way is no folder */
        if (access(rest, W_OK | X_OK) != 0)
            status =
                tri_fail(TRIAGE_E_DATA, "--db %s cannot be made: %s is not a writable folder", path, above);
        break;
    }
done:
    free(folder);
    return status;
}

static triage_status worker_path(char **out) {
    char self[PATH_MAX];
    ssize_t size = readlink("/proc/self/exe", self, sizeof self - 1);
    if (size <= 0)
        return tri_fail(TRIAGE_E_IO, "this program finds its own folder by /proc/self/exe: %s",
                        strerror(errno));
    self[size] = '\0';
    char *slash = strrchr(self, '/');
    return tri_format(out, "%.*s/triage_worker", (int)(slash ? slash - self : 0), self);
}

typedef struct setup {
    tri_tune_options tune;
    char *worker, *db, *cache;
    const char *server; /* NULL: none */
    size_t number;      /* of the problem in --from's file; 0: there is none */
    tri_log log;
} setup;

static void free_setup(setup *s) {
    free(s->worker);
    free(s->db);
    free(s->cache);
}

static triage_status make_setup(setup *out, const options *o) {
    tri_tune_options *tune = &out->tune;
    triage_status status = TRIAGE_OK;
    *tune = (tri_tune_options){.device = o->shared.device ? o->shared.device : "auto",
                               .target = o->target,
                               .compile_only = o->compile_only,
                               .data_dir = o->shared.data_dir,
                               .space_path = o->shared.space,
                               .strategy = o->strategy,
                               .cold_start = o->cold_start,
                               .force = o->force,
                               .warm = o->shared.warm,
                               .dense = true};
    TRI_TRY(check_modes(o));
    TRI_TRY(check_server(o));
    TRI_TRY(check_worker(o));
    TRI_TRY(tri_cli_check_device(tune->device, true));
    if (strcmp(tune->device, "all") == 0 && !o->worker)
        TRI_TRY(tri_cli_usage("--device all goes with --worker: a run is for one device"));
    TRI_TRY(check_strategy(o->strategy));
    TRI_TRY(check_stop_gain(o));
    TRI_TRY(check_lua(o->strategy, "--strategy"));
    TRI_TRY(check_lua(o->shared.space, "--space"));
    TRI_TRY(parse_numbers(tune, o));
    TRI_TRY(worker_path(&out->worker));
    TRI_TRY(tri_cli_choose_cache(&out->cache, o->shared.cache_dir));
    TRI_TRY(tri_cli_parse_wait(&tune->patience, o->shared.wait));
    tune->worker_path = out->worker;
    tune->cache_dir = out->cache;
    out->log = (tri_log){tri_cli_log, (void *)(uintptr_t)&o->shared.quiet};
    tune->log = &out->log;
    tune->lock_dir = tri_cli_lock_dir();
    if ((o->compile_only && !o->worker) || o->shared.dry_run || o->emit)
        goto done; /* nothing to remember */
    const bool is_url = o->shared.db && tri_store_is_url(o->shared.db);
    out->server = is_url ? o->shared.db : o->shared.server;
    TRI_TRY(o->shared.db && !is_url ? tri_strdup(&out->db, o->shared.db) : tri_cli_default_db(&out->db));
    TRI_TRY(check_db(out->db));
    tri_cli_warn_of_network(out->db);
    tune->db_path = out->db;
done:
    return status;
}

/* ---- --dry-run, --emit ------------------------------------------------------------------------------------------ */

static triage_status find_info(tri_device_info *out, const tri_tune_options *tune) {
    return tune->target ? tri_device_info_of_target(out, tune->target) : tri_tune_describe(out, tune);
}

static triage_status print_configs(const options *o, const tri_configs *configs, const tri_device_info *info,
                                   const char *key) {
    if (!o->shared.json) {
        for (size_t i = 0; i < configs->count; i++)
            printf("%s%s\n", configs->text[i], i == configs->default_index ? "  (default)" : "");
        fflush(stdout); /* the number stands behind them, where both go to one place */
        if (!o->shared.quiet)
            fprintf(stderr, "%zu configurations for %s\n", configs->count, info->name);
        return TRIAGE_OK;
    }
    json_t *document = tri_cli_json_new("dry_run"), *list = json_array();
    for (size_t i = 0; i < configs->count; i++)
        json_array_append_new(list, json_string(configs->text[i]));
    json_object_set_new(document, "problem", json_string(key));
    json_object_set_new(document, "target", json_string(info->target));
    json_object_set_new(document, "default", json_string(configs->text[configs->default_index]));
    json_object_set_new(document, "configs", list);
    return tri_cli_json_print(document);
}

static triage_status list_candidates(const options *o, tri_space *space, const tri_problem *problem,
                                     const tri_device_info *info) {
    tri_configs configs = {0};
    char *key = NULL;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_problem_key(&key, problem));
    TRI_TRY(tri_space_enumerate(&configs, space, problem, info));
    TRI_TRY(print_configs(o, &configs, info, key));
done:
    tri_configs_free(&configs);
    free(key);
    return status;
}

typedef struct ranked {
    char *config;
    int64_t count;
} ranked;

static triage_status keep_config(void *user, const tri_measurement *row) {
    ranked *r = user;
    free(r->config);
    r->count++;
    return tri_strdup(&r->config, row->config);
}

/* The rank-th best that the database knows of the problem on the device. */
static triage_status known_config(char **out, const options *o, const char *problem, const char *device,
                                  int64_t rank) {
    tri_store *store = NULL;
    char *path = NULL;
    ranked found = {0};
    triage_status status = TRIAGE_OK;
    TRI_TRY(o->shared.db ? tri_strdup(&path, o->shared.db) : tri_cli_default_db(&path));
    TRI_TRY(tri_store_open(&store, path, TRI_STORE_READ));
    TRI_TRY(tri_store_best(store, problem, device, rank, keep_config, &found));
    if (found.count < rank)
        TRI_TRY(tri_fail(TRIAGE_E_DATA,
                         "--emit %s: %s knows %lld right kernels of this problem on this device", o->emit,
                         path, (long long)found.count));
    *out = found.config;
    found.config = NULL;
done:
    tri_store_close(store);
    free(found.config);
    free(path);
    return status;
}

/* What --emit names: best, default, a rank from 1 on, or a configuration itself. */
static triage_status emitted_config(char **out, const options *o, tri_space *space,
                                    const tri_problem *problem, const tri_device_info *info) {
    tri_configs configs = {0};
    char *key = NULL, *device = NULL;
    int64_t rank = 1;
    static const char *const words[] = {"best", "default"};
    const bool is_best = strcmp(o->emit, "best") == 0;
    triage_status status = TRIAGE_OK;
    if (strcmp(o->emit, "default") == 0) {
        TRI_TRY(tri_space_enumerate(&configs, space, problem, info));
        TRI_TRY(tri_strdup(out, configs.text[configs.default_index]));
    } else if (is_best || strspn(o->emit, "0123456789") == strlen(o->emit)) {
        TRI_TRY(is_best ? TRIAGE_OK : tri_parse_int64(&rank, o->emit, 1, 1000000, "--emit's rank"));
        TRI_TRY(tri_problem_key(&key, problem));
        TRI_TRY(tri_device_key(&device, info));
        TRI_TRY(known_config(out, o, key, device, rank));
    } else if (!strchr(o->emit, ' ') && tri_cli_nearest(o->emit, words, 2)) {
        TRI_TRY(tri_cli_usage("--emit %.32s: did you mean %s?", o->emit, tri_cli_nearest(o->emit, words, 2)));
    } else {
        TRI_TRY(tri_strdup(out, o->emit));
    }
done:
    tri_configs_free(&configs);
    free(device);
    free(key);
    return status;
}

static triage_status emit(const options *o, tri_space *space, const tri_problem *problem,
                          const tri_device_info *info) {
    tri_candidate candidate = {0};
    tri_source source = {0};
    char *text = NULL, *config = NULL;
    triage_status status = TRIAGE_OK;
    TRI_TRY(emitted_config(&config, o, space, problem, info));
    TRI_TRY(tri_space_candidate(&candidate, space, problem, info, config));
    TRI_TRY(tri_render(&source, &candidate, o->shared.data_dir));
    TRI_TRY(tri_source_flatten(&text, &source));
    fputs(text, stdout);
done:
    free(config);
    free(text);
    tri_source_free(&source);
    tri_candidate_free(&candidate);
    return status;
}

static triage_status show(const options *o, const setup *s, tri_cli_problem *problem) {
    tri_space_options space_options = {.data_dir = o->shared.data_dir, .path = o->shared.space};
    tri_device_info info;
    tri_space *space = NULL;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_space_open(&space, problem->problem.op, &space_options));
    TRI_TRY(find_info(&info, &s->tune));
    if (info.cc == 0)
        tri_cli_problem_for_host(problem);
    TRI_TRY((o->emit ? emit : list_candidates)(o, space, &problem->problem, &info));
done:
    tri_space_free(space);
    return status;
}

/* ---- the run ------------------------------------------------------------------------------------------------------- */

typedef struct talk {
    tri_cli_progress progress;
    const tri_problem *problem;
    bool verbose;
    double best_ns;
    size_t done, total;
} talk;

static void draw(talk *t, double limit_s, const char *now) {
    char time[TRI_CLI_NUMBER], note[64] = "";
    if (t->best_ns > 0)
        snprintf(note, sizeof note, "best %s", tri_cli_time(time, t->best_ns));
    tri_cli_progress_draw(&t->progress, &(tri_cli_progress_view){t->done, t->total, limit_s, note, now});
}

/* A tri_tune_progress_fn. */
static void on_progress(void *user, size_t done, size_t total, const tri_tune_row *row) {
    talk *t = user;
    char line[700];
    t->done = done;
    t->total = total;
    if (row && !row->compiled && row->evidence.outcome == TRI_RIGHT &&
        (t->best_ns == 0 || row->evidence.median_ns < t->best_ns))
        t->best_ns = row->evidence.median_ns;
    if (row && t->verbose) {
        tri_cli_tune_line(line, sizeof line, t->problem, row);
        tri_cli_progress_clear(&t->progress);
        fprintf(stderr, "%zu/%zu %s  %s%s\n", done, total, row->config, line,
                row->from_store ? "  (known)" : "");
    }
}

/* A tri_tune_watch_fn. */
static void on_moment(void *user, const tri_tune_moment *moment) {
    char now[512] = "", compiling[256] = "";
    if (moment->compiling == 1)
        snprintf(compiling, sizeof compiling, "compiling %s", moment->compiled_config);
    else if (moment->compiling > 1)
        snprintf(compiling, sizeof compiling, "compiling %zu: %s, ...", moment->compiling,
                 moment->compiled_config);
    snprintf(now, sizeof now, "%s%s%s%s%s", moment->doing ? moment->doing : "", moment->config ? ": " : "",
             moment->config ? moment->config : "", moment->doing && moment->compiling ? "; " : "", compiling);
    draw(user, moment->left_s, now);
}

/* The type that fits the device, when none was asked for: only then the device is needed beforehand. */
static triage_status settle_types(const setup *s, tri_cli_problem *problem) {
    tri_device_info info;
    const tri_tune_options *tune = &s->tune;
    const char *where = tune->target ? tune->target : tune->device;
    triage_status status = TRIAGE_OK;
    if (problem->dtype_given)
        return TRIAGE_OK;
    if (strcmp(where, "auto") == 0) {
        TRI_TRY(tri_tune_describe(&info, tune));
        where = info.backend;
    }
    if (strcmp(where, "host") == 0)
        tri_cli_problem_for_host(problem);
done:
    return status;
}

/* The server gets and gives evidence while the run goes on; the run itself only knows the local file. */
static triage_status start_sync(tri_sync_thread **out, tri_admission **gate, const options *o, const setup *s,
                                const tri_log *log) {
    if (!s->server || !s->db || o->compile_only)
        return TRIAGE_OK;
    triage_status status = tri_admission_open(gate, o->shared.space, o->shared.data_dir);
    if (status != TRIAGE_OK)
        return status;
    return tri_sync_thread_new(out, &(tri_sync_thread_options){.local_path = s->db,
                                                               .server_url = s->server,
                                                               .check = tri_admission_check,
                                                               .check_user = *gate,
                                                               .log = log});
}

/* A server that is gone is no failure of the run: what was measured is here, and goes there with the next sync. */
static void end_sync(tri_sync_thread *sync, const options *o) {
    tri_sync_result moved;
    if (!sync)
        return;
    if (tri_sync_thread_free(sync, &moved) != TRIAGE_OK)
        tri_cli_error("warning: not all is on the server (%s): triage_db sync sends the rest",
                      triage_last_error());
    else if (!o->shared.quiet)
        tri_cli_error("server: %lld measurements sent, %lld received", (long long)moved.sent,
                      (long long)moved.received);
}

/* Does it run on the CPU, as far as can be told without opening a device? */
static bool is_for_host(const setup *s) {
    return strcmp(s->tune.device, "host") == 0 ||
           (strcmp(s->tune.device, "auto") == 0 && access("/dev/nvidiactl", F_OK) != 0);
}

/* What a GPU does in milliseconds takes a CPU minutes, the plain kernel of the check first of all: sizes of README. */
static void warn_if_large(const options *o, const setup *s, const tri_problem *problem) {
    const double flops = tri_problem_flops(problem);
    if (o->shared.quiet || o->compile_only || !is_for_host(s) || flops < LARGE_FLOPS)
        return;
    tri_cli_error("%.3g TFLOP are much for a CPU: the check and each candidate may take minutes; smaller "
                  "sizes show the same (Ctrl-C "
                  "ends it)",
                  flops / 1e12);
}

/* On the CPU whatever else runs there is in every time. */
static void warn_if_busy(const options *o, const setup *s) {
    double load = 0;
    const long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (o->shared.quiet || o->compile_only || !is_for_host(s) || getloadavg(&load, 1) != 1 ||
        load < 0.5 * (double)cores)
        return;
    tri_cli_error("this machine is busy (load %.1f on %ld cores): times may be too long", load, cores);
}

/* A tri_row_fn: the user's winner is a run's result. */
static triage_status say_if_faster(void *user, const tri_measurement *row) {
    const tri_tune_result *result = user;
    const tri_measurement *best = result->winner < 0 ? NULL : &result->rows[result->winner].evidence;
    char known[TRI_CLI_NUMBER], found[TRI_CLI_NUMBER];
    if (!best || strcmp(row->config, best->config) == 0 || row->outcome != TRI_RIGHT ||
        row->median_ns >= best->median_ns || tri_measurement_ties(row, best))
        return TRIAGE_OK;
    tri_cli_error("the database knows a faster one than this run found: %s, %s instead of %s (%.8s)",
                  row->config, tri_cli_time(known, row->median_ns), tri_cli_time(found, best->median_ns),
                  row->id);
    return TRIAGE_OK;
}

/* A run with a budget may end with less than what is known. */
static void tell_of_faster(const options *o, const setup *s, tri_tune_result *result) {
    tri_store *store = NULL;
    if (!s->tune.db_path || o->shared.quiet || o->compile_only || result->count >= result->space_size)
        return;
    if (tri_store_open(&store, s->tune.db_path, TRI_STORE_READ) == TRIAGE_OK)
        (void)tri_store_winner(store, result->problem_key, result->device_key, say_if_faster, result);
    tri_store_close(store);
}

static triage_status run(const options *o, setup *s, tri_cli_problem *problem) {
    const tri_log log = {tri_cli_log, (void *)(uintptr_t)&o->shared.quiet};
    tri_sync_thread *sync = NULL;
    tri_admission *gate = NULL;
    tri_tune_result result = {.winner = -1};
    talk t = {.problem = &problem->problem, .verbose = o->verbose};
    triage_status status = TRIAGE_OK, printed = TRIAGE_OK;
    s->tune.interrupted = tri_cli_catch_interrupts();
    TRI_TRY(settle_types(s, problem));
    if (!o->compile_only)
        TRI_TRY(tri_cli_problem_fits(&problem->problem));
    TRI_TRY(start_sync(&sync, &gate, o, s, &log));
    warn_if_large(o, s, &problem->problem);
    tri_cli_progress_start(&t.progress, o->shared.quiet);
    s->tune.watch = on_moment;
    s->tune.watch_user = &t;
    status = tri_tune_run(&result, &problem->problem, tri_cli_pattern(problem), &s->tune, on_progress, &t);
    tri_cli_progress_clear(&t.progress);
    if (!result.problem_key) /* it never came to a result */
        goto done;
    if (!result.answered_from_store)
        warn_if_busy(o, s);
    tri_cli_tune_view view = {.problem = &problem->problem,
                              .result = &result,
                              .compile_only = o->compile_only,
                              .verbose = o->verbose,
                              .color = tri_cli_color(stdout, o->shared.no_color),
                              .width = tri_cli_width(o->shared.wide),
                              .height = o->shared.wide ? 0 : tri_cli_height(),
                              .seed = s->tune.seed,
                              .number = s->number,
                              .db_path = s->tune.db_path};
    printed = o->shared.json ? tri_cli_tune_json(&view) : tri_cli_tune_print(&view);
    status = status != TRIAGE_OK ? status : printed;
    if (status == TRIAGE_OK)
        tell_of_faster(o, s, &result);
done:
    tri_tune_result_free(&result);
    if (sync) { /* its own messages must not replace the run's */
        char message[512];
        snprintf(message, sizeof message, "%s", triage_last_error());
        end_sync(sync, o);
        status = status == TRIAGE_OK ? status : tri_fail(status, "%s", message);
    }
    tri_admission_free(gate);
    return status;
}

/* ---- the problems of a file --------------------------------------------------------------------------------------- */

static triage_status check_from(const options *o) {
    const tri_cli_problem_options *p = &o->shared.problem;
    if (!o->from)
        return o->total_limit ? tri_cli_usage("--total-limit goes with --from") : TRIAGE_OK;
    if (p->given)
        return tri_cli_usage("--from takes its problems from the file: leave out --%s", p->given);
    if (o->worker || o->shared.dry_run || o->emit)
        return tri_cli_usage("--from tunes: leave out %s", o->worker           ? "--worker"
                                                           : o->shared.dry_run ? "--dry-run"
                                                                               : "--emit");
    return TRIAGE_OK;
}

/* What stands behind a tri_cli_list's user. */
typedef struct on_list {
    const options *o;
    setup *s;
} on_list;

static triage_status run_listed(void *user, tri_cli_problem *problem, size_t number) {
    const on_list *of = user;
    of->s->number = number;
    return run(of->o, of->s, problem);
}

static triage_status run_file(bool *left, const options *o, setup *s) {
    on_list of = {o, s};
    double limit_s = 0;
    size_t count = 0;
    triage_status status = TRIAGE_OK;
    if (o->total_limit)
        TRI_TRY(tri_parse_double(&limit_s, o->total_limit, 1, 1e9, "--total-limit"));
    TRI_TRY(tri_cli_tune_list(&count, &(tri_cli_list){.path = o->from,
                                                      .tune = &s->tune,
                                                      .limit_s = limit_s,
                                                      .quiet = o->shared.quiet,
                                                      .one = run_listed,
                                                      .user = &of}));
done:
    *left = count > 0;
    if (*left && status != TRIAGE_E_INTERRUPTED)
        tri_cli_error("%zu problems of %s are left: %s s were over; started again it goes on", count, o->from,
                      o->total_limit);
    return status;
}

/* ---- the jobs of a fleet ------------------------------------------------------------------------------------------ */

static triage_status work(const options *o, setup *s, char *const *argv) {
    double lease_s = 120;
    triage_status status = TRIAGE_OK;
    if (o->lease)
        TRI_TRY(tri_parse_double(&lease_s, o->lease, 1, 86400, "--lease"));
    s->tune.interrupted = tri_cli_catch_interrupts();
    const tri_cli_worker_options how = {.tune = &s->tune,
                                        .server = s->server,
                                        .lease_s = lease_s,
                                        .stay = o->stay,
                                        .quiet = o->shared.quiet,
                                        .json = o->shared.json};
    status = strcmp(s->tune.device, "all") == 0 ? tri_cli_work_on_all(&how, argv) : tri_cli_work(&how);
done:
    return status;
}

int main(int argc, char **argv) {
    options o = {0};
    setup s = {0};
    tri_cli_problem problem = {0};
    bool left = false;
    triage_status status = TRIAGE_OK;
    tri_cli_start();
    tri_cli_parse(&program, argc, argv, &o.shared);
    TRI_TRY(make_setup(&s, &o));
    TRI_TRY(check_from(&o));
    if (o.worker || o.from) {
        status = o.worker ? work(&o, &s, argv) : run_file(&left, &o, &s);
        goto done;
    }
    o.shared.problem.seed = s.tune.seed;
    TRI_TRY(tri_cli_problem_make(&problem, &o.shared.problem));
    status = o.shared.dry_run || o.emit ? show(&o, &s, &problem) : run(&o, &s, &problem);
done:
    tri_cli_problem_free(&problem);
    free_setup(&s);
    const int code = tri_cli_report(status);
    return tri_cli_finish(code == TRI_EXIT_OK && left ? TRI_EXIT_LEFT : code);
}
