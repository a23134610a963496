/* triage_bench: how fast the kernel is that an application would get, next to what else can be installed. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/bench/bench.h"
#include "cli/common/fleet.h"
#include "cli/common/libraries.h"
#include "cli/common/output.h"
#include "cli/common/problem.h"
#include "cli/common/progress.h"
#include "cli/common/shared.h"

typedef struct options {
    tri_cli_shared shared; /* first */
    const char *against, *ceilings, *samples, *plot, *markdown, *csv, *compare;
    bool profile;
} options;

/* ---- the command line ---- */

#define TEXT(name, arg, member, help) TRI_CLI_TEXT(name, arg, options, member, help)

static const tri_cli_line run_lines[] = {
    TEXT("against", "LIST", against,
         "Peers to time: cublas (dense: cublasGemmEx and the fastest algorithm of cuBLASLt; e4m3: cuBLASLt "
         "with exact and fast accumulation), cusparse (BSR and Blocked-ELL), openblas (dense, CPU), none "
         "(default: all that run on the device). For a dense product with as much work: --shape M,N,K' "
         "--sparsity 0 with K' = K (1 - S)"),
    TEXT("ceilings", "TFLOP/S,TB/S|measured", ceilings,
         "Peak rates for the limit; measured: measure them now, by a large dense product of the library and "
         "a pass through memory (default: documented rates; with --plot: measured)"),
    TEXT("compare", "OLD.json", compare,
         "Compare with the --json output of an earlier run: exit code 1 if a contestant became slower beyond "
         "both confidence intervals"),
    TRI_CLI_FLAG(
        "profile", 0, options, profile,
        "Also show what limits triage's kernel: the utilisation of the tensor cores, the L2 cache, device "
        "memory and shared memory, and how often no warp can issue; needs Nsight Compute (ncu)"),
    TEXT("samples", "N", samples, "Interleaved rounds, 6 to 1000 (default 30)"),
    TRI_CLI_WARM,
    TRI_CLI_DEVICE(""),
    TRI_CLI_SEED("Seed of the pattern, the inputs and the order"),
    TRI_CLI_WAIT,
    {0}};

static const tri_cli_line file_lines[] = {
    TRI_CLI_CACHE_DIR,
    TRI_CLI_DB(": the default file, brought up to date from that server first"),
    TRI_CLI_OWN_SPACE,
    TRI_CLI_DATA_DIR("Read"),
    TEXT("plot", "FILE.svg|FILE.png", plot,
         "Draw a roofline with each contestant, and their times with confidence intervals; PNG needs "
         "rsvg-convert"),
    TEXT("export-markdown", "FILE", markdown, "Write the table as Markdown"),
    TEXT("export-csv", "FILE", csv, "Write the table as CSV"),
    TRI_CLI_JSON,
    TRI_CLI_QUIET,
    TRI_CLI_WIDE,
    TRI_CLI_NO_COLOR,
    {0}};

static const tri_cli_group groups[] = {{"The comparison", run_lines}, {"Files and output", file_lines}, {0}};

static const tri_cli_program program = {
    .name = "triage_bench",
    .about = "compare a kernel with other libraries",
    .problem = "The problem",
    .groups = groups,
    .doc =
        "Times the kernel that an application would get for a problem, and other libraries, on the same "
        "inputs in one interleaved run. Every result is verified as in triage_tune, before and after it is "
        "timed; a wrong one gets no time. The limit is the longer of two times: that of the useful "
        "operations at the tensor cores' peak rate, and that of the fewest possible bytes at the memory's.\v"
        "Example: triage_bench --shape 8192,8192,8192 --sparsity 0.9 --against cublas,cusparse\n\n"
        "The peers' libraries are looked for in the loader's path, in /usr/local/cuda/lib64, and in pip's "
        "nvidia folders of $VIRTUAL_ENV and of each Python in $PATH.\n\n"
        "Exit codes: 0 done, 1 slower than --compare, 64 wrong usage, 65 bad input data, 69 no usable "
        "device, 70 triage's result was wrong, 74 input/output, 130 interrupted."};

/* ---- who takes part ---- */

/* Is name one of the words of a comma-separated list? */
static bool listed(const char *list, const char *name) {
    size_t size = strlen(name);
    for (const char *word = list; word; word = strchr(word, ',') ? strchr(word, ',') + 1 : NULL)
        if (strncmp(word, name, size) == 0 && (word[size] == '\0' || word[size] == ','))
            return true;
    return false;
}

static bool is_family(const char *word, size_t size) {
    for (size_t i = 0; tri_contestant_types[i]; i++) {
        const char *family = tri_contestant_types[i]->family;
        if (family && strlen(family) == size && strncmp(word, family, size) == 0)
            return true;
    }
    return size == 4 && strncmp(word, "none", 4) == 0;
}

static triage_status refuse_family(const char *word, size_t size) {
    static const char *const families[] = {"cublas", "cusparse", "openblas", "none"};
    char typed[64];
    snprintf(typed, sizeof typed, "%.*s", (int)size, word);
    const char *nearest = tri_cli_nearest(typed, families, sizeof families / sizeof *families);
    return tri_cli_usage("--against %s is not one of cublas, cusparse, openblas, none%s%s%s", typed,
                         nearest ? "; did you mean " : "", nearest ? nearest : "", nearest ? "?" : "");
}

static triage_status check_against(const char *list) {
    for (const char *word = list; word;) {
        size_t size = strcspn(word, ",");
        if (!is_family(word, size))
            return refuse_family(word, size);
        word = word[size] ? word + size + 1 : NULL;
    }
    return TRIAGE_OK;
}

static triage_status parse_ceilings(tri_ceilings *out, const char *text) {
    char first[64];
    const char *comma = strchr(text, ',');
    double tflops = 0, tbps = 0;
    triage_status status = TRIAGE_OK;
    if (!comma || (size_t)(comma - text) >= sizeof first)
        return tri_cli_usage("--ceilings %.60s is not TFLOP/S,TB/S, e.g. 636,4.25, nor measured", text);
    snprintf(first, sizeof first, "%.*s", (int)(comma - text), text);
    TRI_TRY(tri_parse_double(&tflops, first, 1e-3, 1e6, "--ceilings TFLOP/s"));
    TRI_TRY(tri_parse_double(&tbps, comma + 1, 1e-3, 1e6, "--ceilings TB/s"));
    *out = (tri_ceilings){tflops * 1e12, tbps * 1e12, "stated"};
done:
    return status;
}

static bool runs_on(const tri_contestant_type *type, bool host) {
    return host ? type->on_host : type->on_cuda;
}

/* Can it compute such problems at all? */
static bool serves(const tri_contestant_type *type, const tri_problem *problem) {
    tri_least_work work;
    problem->op->least_work(&work, problem);
    return (type->op ? type->op == problem->op : problem->op->dense_twin != NULL) &&
           (!type->only_e4m3 || work.dtype == TRIAGE_E4M3);
}

/* triage first, then those of --against that run on this device and have something to say of the problem. */
static triage_status choose(tri_contestant out[TRI_RACE_MAX], size_t *count, const options *o, bool host,
                            const tri_problem *problem) {
    *count = 0;
    for (size_t i = 0; tri_contestant_types[i] && *count < TRI_RACE_MAX; i++) {
        const tri_contestant_type *type = tri_contestant_types[i];
        const bool wanted = !type->family || !o->against || listed(o->against, type->family);
        if (wanted && runs_on(type, host) && serves(type, problem))
            out[(*count)++] = (tri_contestant){.type = type};
    }
    return *count > 0 && !out[0].type->family
               ? TRIAGE_OK
               : tri_fail(TRIAGE_E_UNSUPPORTED, "%s has no call for applications to time", problem->op->name);
}

static void say_left_out(const options *o, bool host, const tri_problem *problem) {
    for (size_t i = 0; tri_contestant_types[i] && o->against && !o->shared.quiet; i++) {
        const tri_contestant_type *type = tri_contestant_types[i];
        if (type->family && listed(o->against, type->family) && !type->only_e4m3 &&
            (!runs_on(type, host) || !serves(type, problem)))
            tri_cli_error("%s does not run %s: left out", type->name,
                          runs_on(type, host) ? problem->op->name : "on this device");
    }
}

/* ---- the run ---- */

/* auto: the GPU if there is one. Its context is bound to this thread, so that the peers' libraries take it. */
static triage_status open_device(triage_context **context, const options *o, const char *db,
                                 const char *cache) {
    triage_status status = TRIAGE_OK;
    triage_context_options opened = TRIAGE_CONTEXT_OPTIONS_INIT;
    const bool automatic = !o->shared.device || strcmp(o->shared.device, "auto") == 0;
    opened.device = automatic ? "cuda" : o->shared.device;
    opened.db_path = db;
    opened.cache_dir = cache;
    opened.data_dir = o->shared.data_dir;
    opened.space_path = o->shared.space;
    opened.log = tri_cli_log;
    opened.log_user = (void *)&o->shared.quiet;
    status = triage_context_open(context, &opened);
    if (status == TRIAGE_E_NO_DEVICE && automatic) {
        opened.device = "host";
        status = triage_context_open(context, &opened);
    }
    TRI_TRY(status);
    status = tri_device_bind((*context)->device);
    if (status != TRIAGE_OK) {
        triage_context_free(*context);
        *context = NULL;
    }
done:
    return status;
}

static void close_device(triage_context *context) {
    if (context)
        tri_device_unbind(context->device);
    triage_context_free(context);
}

/* Nobody else times on the device from here on (measure/device_lock.h): both locks, as a run and its process have them. */
static triage_status lock_device(tri_device_lock locks[2], const options *o, const triage_context *context,
                                 volatile const int *interrupted) {
    const tri_device_info *info = tri_device_describe(context->device);
    const tri_log log = {tri_cli_log, (void *)(uintptr_t)&o->shared.quiet};
    tri_device_patience patience = {0};
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_cli_parse_wait(&patience, o->shared.wait));
    for (int i = 0; i < 2; i++) {
        TRI_TRY(tri_device_lock_open(&locks[i], tri_cli_lock_dir(), info,
                                     i == 0 ? TRI_DEVICE_LOCK_RUN : TRI_DEVICE_LOCK_PROCESS));
        TRI_TRY(tri_device_lock_wait(&locks[i], &patience, interrupted, &log));
    }
done:
    return status;
}

/* A database that was named must be there; the default one need not. */
static triage_status check_db(const char *path) {
    return access(path, R_OK) == 0 ? TRIAGE_OK : tri_fail(TRIAGE_E_IO, "--db %s cannot be read", path);
}

/* The file to look kernels up in; a server's is brought up to date first, if the server can be reached. */
static triage_status choose_db(char **path, const options *o) {
    const bool is_server = o->shared.db && tri_store_is_url(o->shared.db);
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_cli_check_url(o->shared.db));
    if (o->shared.db && !is_server) {
        TRI_TRY(check_db(o->shared.db));
        return tri_strdup(path, o->shared.db);
    }
    TRI_TRY(tri_cli_default_db(path));
    if (is_server && tri_cli_pull(*path, o->shared.db, o->shared.space, o->shared.data_dir) != TRIAGE_OK)
        tri_cli_error("warning: %s; going on with %s", triage_last_error(), *path);
done:
    return status;
}

/* ---- the race, drawn while it goes ---- */

typedef struct watcher {
    volatile const int *interrupted;
    tri_cli_progress progress;
    size_t rounds;
    char names[256]; /* who takes part */
} watcher;

static bool watch(void *user, int round) {
    watcher *self = user;
    tri_cli_progress_draw(&self->progress,
                          &(tri_cli_progress_view){(size_t)round, self->rounds, -1, "", self->names});
    return !*self->interrupted;
}

static triage_status hold_contest(tri_contestant *contestants, size_t count, const tri_arena *arena,
                                  const options *o, int samples, volatile const int *interrupted) {
    watcher self = {.interrupted = interrupted, .rounds = (size_t)samples, .names = "racing"};
    for (size_t i = 0; i < count; i++)
        snprintf(self.names + strlen(self.names), sizeof self.names - strlen(self.names), "%s %s",
                 i ? "," : "", contestants[i].type->name);
    tri_cli_progress_start(&self.progress, o->shared.quiet);
    triage_status status =
        tri_contest(contestants, count, arena, samples, o->shared.problem.seed, watch, &self);
    tri_cli_progress_clear(&self.progress);
    return status;
}

/* One call that a profiler sees, of --profile or another: ncu --profile-from-start off, nsys -c cudaProfilerApi. */
static triage_status show_profiler(const tri_contestant *triage, tri_device *device) {
    triage_status status = TRIAGE_OK;
    if (triage->result != TRI_VERIFIED)
        return TRIAGE_OK;
    TRI_TRY(tri_device_show(device, true));
    status = triage->type->run(triage->state, NULL);
    if (status == TRIAGE_OK)
        status = tri_device_synchronize(device);
    const triage_status ended = tri_device_show(device, false);
    status = status == TRIAGE_OK ? ended : status;
done:
    return status;
}

/* ---- what is left of it ---- */

static triage_status export_files(const options *o, const tri_contest_report *report) {
    triage_status status = TRIAGE_OK;
    if (o->markdown)
        TRI_TRY(tri_contest_export_markdown(o->markdown, report));
    if (o->csv)
        TRI_TRY(tri_contest_export_csv(o->csv, report));
    if (o->plot)
        TRI_TRY(tri_contest_plot(o->plot, report));
done:
    return status;
}

/* *slower: contestants that are slower than in the run of --compare. */
static triage_status show(size_t *slower, const options *o, const tri_contest_report *report) {
    json_t *document = NULL;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_contest_json(&document, report));
    TRI_TRY(export_files(o, report));
    if (!o->shared.json)
        TRI_TRY(tri_contest_print(report, o->shared.no_color, tri_cli_width(o->shared.wide)));
    if (o->compare)
        TRI_TRY(tri_contest_compare(slower, o->compare, document));
    if (o->shared.json) {
        status = tri_cli_json_print(document);
        document = NULL;
    }
done:
    json_decref(document);
    return status;
}

/* ---- the run ---- */

static triage_status choose_ceilings(tri_ceilings *ceilings, const options *o, const triage_context *context,
                                     const tri_problem *problem, volatile const int *interrupted) {
    const bool wanted = o->ceilings ? strcmp(o->ceilings, "measured") == 0 : o->plot != NULL;
    return wanted ? tri_ceilings_measure(ceilings, context->device, problem, interrupted) : TRIAGE_OK;
}

static triage_status run(size_t *slower, const options *o, tri_cli_problem *asked, tri_ceilings ceilings,
                         int samples, const tri_profile *profile) {
    triage_status status = TRIAGE_OK;
    triage_context *context = NULL;
    tri_contestant contestants[TRI_RACE_MAX];
    size_t count = 0;
    tri_arena arena = {0};
    tri_limit limit;
    char *db = NULL, *cache = NULL;
    tri_device_lock locks[2] = {TRI_DEVICE_LOCK_INIT, TRI_DEVICE_LOCK_INIT};
    volatile const int *interrupted = tri_cli_catch_interrupts();
    TRI_TRY(choose_db(&db, o));
    TRI_TRY(tri_cli_choose_cache(&cache, o->shared.cache_dir));
    TRI_TRY(open_device(&context, o, db, cache));
    const bool host = triage_context_is_host(context) != 0;
    if (host && !asked->dtype_given)
        tri_cli_problem_for_host(asked);
    TRI_TRY(tri_cli_problem_fits(&asked->problem));
    TRI_TRY(choose(contestants, &count, o, host, &asked->problem));
    say_left_out(o, host, &asked->problem);
    TRI_TRY(lock_device(locks, o, context, interrupted));
    TRI_TRY(tri_arena_open(&arena, context, &asked->problem, tri_cli_pattern(asked), o->shared.problem.seed,
                           o->shared.warm));
    TRI_TRY(hold_contest(contestants, count, &arena, o, samples, interrupted));
    TRI_TRY(show_profiler(&contestants[0], context->device));
    TRI_TRY(choose_ceilings(&ceilings, o, context, &arena.problem, interrupted));
    tri_limit_of(&limit, &arena.problem, tri_device_describe(context->device), &ceilings);
    const tri_contest_report report = {contestants,    count, &arena, &limit, profile, o->shared.problem.seed,
                                       !o->shared.warm};
    if (!tri_profile_is_taken())
        TRI_TRY(show(slower, o, &report));
    if (contestants[0].result != TRI_VERIFIED)
        status = tri_fail(TRIAGE_E_WRONG, "triage: %.200s", contestants[0].reason);
done:
    tri_contestants_close(contestants, count);
    tri_arena_close(&arena);
    close_device(context);
    for (int i = 0; i < 2; i++)
        tri_device_lock_close(&locks[i]);
    free(db);
    free(cache);
    return status;
}

/* Before the contest: this process must not have the device, nor its lock, while the other one does. */
static triage_status take_profile(tri_profile *out, const options *o, char *const *argv) {
    const char *device = o->shared.device ? o->shared.device : "auto";
    const bool none =
        strcmp(device, "host") == 0 || (strcmp(device, "auto") == 0 && access("/dev/nvidiactl", F_OK) != 0);
    *out = (tri_profile){.count = 0};
    if (!o->profile)
        return TRIAGE_OK;
    if (none)
        return tri_fail(TRIAGE_E_NO_DEVICE, "--profile needs a GPU: Nsight Compute looks at no CPU");
    return tri_profile_take(out, argv, !o->shared.warm, tri_cli_catch_interrupts());
}

/* Under the profiler: triage alone, and nothing is left of it. */
static void be_profiled(options *o) {
    o->against = "none";
    o->samples = "6";
    o->ceilings = o->plot = o->markdown = o->csv = o->compare = NULL;
    o->profile = false;
    o->shared.quiet = true;
}

/* Found before a minute is spent on measuring. */
static triage_status check_files(const options *o) {
    const char *const paths[] = {o->plot, o->markdown, o->csv};
    const char *const read[] = {o->compare, o->shared.db, o->shared.space,
                                tri_cli_given(&o->shared.problem, "pattern")};
    triage_status status = TRIAGE_OK;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        if (paths[i] && tri_cli_is_stdout(paths[i]))
            TRI_TRY(tri_cli_usage(
                "--plot and --export-...: the table goes to the standard output; a file is expected"));
        else if (paths[i])
            TRI_TRY(tri_cli_check_output(paths[i], read, sizeof read / sizeof *read));
    if (o->plot)
        TRI_TRY(tri_contest_plot_check(o->plot));
    if (o->compare)
        TRI_TRY(tri_contest_compare_check(o->compare));
done:
    return status;
}

int main(int argc, char **argv) {
    triage_status status = TRIAGE_OK;
    options o = {0};
    tri_cli_problem asked = {0};
    tri_ceilings ceilings = {0};
    tri_profile profile;
    int64_t samples = 30;
    size_t slower = 0;
    tri_cli_start();
    tri_cli_look_below_pythons();
    tri_cli_parse(&program, argc, argv, &o.shared);
    if (tri_profile_is_taken())
        be_profiled(&o);
    if (o.samples)
        TRI_TRY(tri_parse_int64(&samples, o.samples, 6, TRI_SAMPLES_MAX, "--samples"));
    TRI_TRY(tri_cli_parse_seed(&o.shared.problem.seed, o.shared.seed));
    TRI_TRY(tri_cli_check_device(o.shared.device, false));
    TRI_TRY(check_against(o.against));
    TRI_TRY(check_files(&o));
    if (o.ceilings && strcmp(o.ceilings, "measured") != 0)
        TRI_TRY(parse_ceilings(&ceilings, o.ceilings));
    TRI_TRY(tri_cli_problem_make(&asked, &o.shared.problem));
    if (tri_cli_given(&o.shared.problem, "bias") || tri_cli_given(&o.shared.problem, "activation"))
        TRI_TRY(tri_cli_usage("--bias and --activation: its peers do not compute them, so nothing compares"));
    TRI_TRY(take_profile(&profile, &o, argv));
    status = run(&slower, &o, &asked, ceilings, (int)samples, &profile);
done:
    tri_cli_problem_free(&asked);
    return tri_cli_finish(status == TRIAGE_OK && slower > 0 ? EXIT_FAILURE : tri_cli_report(status));
}
