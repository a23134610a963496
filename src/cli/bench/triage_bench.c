/* triage_bench: how fast the kernel is that an application would get, next to what else can be installed. */
#include <argp.h>
#include <stdlib.h>
#include <string.h>

#include "cli/bench/bench.h"
#include "cli/common/fleet.h"
#include "cli/common/libraries.h"
#include "cli/common/options.h"
#include "cli/common/problem.h"
#include "cli/common/progress.h"
#include "measure/device_lock.h"

typedef struct options {
    tri_cli_problem_options problem;
    const char *device, *db, *space, *data_dir, *against, *ceilings, *samples, *seed, *wait, *cache;
    const char *plot, *markdown, *csv, *compare;
    bool warm, json, quiet, no_color;
} options;

/* ---- the command line ---- */

enum {
    KEY_DEVICE = 1000,
    KEY_AGAINST,
    KEY_CEILINGS,
    KEY_COMPARE,
    KEY_CSV,
    KEY_MARKDOWN,
    KEY_PLOT,
    KEY_SAMPLES,
    KEY_SEED,
    KEY_WAIT,
    KEY_CACHE_DIR,
    KEY_WARM,
    KEY_DB,
    KEY_SPACE,
    KEY_DATA_DIR,
    KEY_JSON,
    KEY_NO_COLOR
};

static const struct argp_option argp_options[] = {
    {NULL, 0, NULL, 0, "The comparison", 2},
    {"against", KEY_AGAINST, "LIST", 0,
     "cublas (dense: cublasGemmEx and the fastest algorithm of cuBLASLt; e4m3: cuBLASLt with exact and fast "
     "accumulation), cusparse (BSR and Blocked-ELL), openblas (dense, CPU), none (default: all that run on "
     "the device). A dense product of as much work is --shape M,N,K' --sparsity 0 with K' = K (1 - S)",
     2},
    {"ceilings", KEY_CEILINGS, "TFLOP/S,TB/S|measured", 0,
     "Rates that the limit is counted with; measured: here and now, by the library's large dense product and "
     "a walk "
     "through memory (default: what is documented for the device; with --plot measured)",
     2},
    {"compare", KEY_COMPARE, "OLD.json", 0,
     "Say what got slower since this --json of an earlier run, beyond the intervals of both: exit code 1", 2},
    {"samples", KEY_SAMPLES, "N", 0, "Interleaved rounds, 6 to 1000 (default 30)", 2},
    {"warm", KEY_WARM, NULL, 0, "Leave the caches warm (default: emptied before each timing)", 2},
    {"device", KEY_DEVICE, "DEVICE", 0,
     "auto (default: cuda if there is a GPU, else host), cuda, cuda:N, host", 2},
    {"seed", KEY_SEED, "N", 0, "Of the pattern, the inputs and the order, 0 to 2^63-1 (default 1)", 2},
    {"wait", KEY_WAIT, "S", 0, TRI_CLI_WAIT_HELP, 2},
    {NULL, 0, NULL, 0, "Files and output", 3},
    {"cache-dir", KEY_CACHE_DIR, "DIR|none", 0, TRI_CLI_CACHE_HELP, 3},
    {"db", KEY_DB, "PATH|URL", 0,
     "The tuning database: a file (default $XDG_DATA_HOME/triage/triage.db, else ~/.local/share/...), or "
     "postgresql://USER@HOST/DATABASE: the default file, brought up to date from that server first",
     3},
    {"space", KEY_SPACE, "FILE.lua", 0, "A search space of your own (default: the operation's)", 3},
    {"data-dir", KEY_DATA_DIR, "DIR", 0, "Read templates/ and tuner/ from here (default: those built in)", 3},
    {"plot", KEY_PLOT, "FILE.svg", 0,
     "Draw the roofline of the device with each contestant on it, and their times with intervals", 3},
    {"export-markdown", KEY_MARKDOWN, "FILE", 0, "The table for a page", 3},
    {"export-csv", KEY_CSV, "FILE", 0, "The table for a program", 3},
    {"json", KEY_JSON, NULL, 0, "JSON on stdout; times in nanoseconds, sizes in bytes", 3},
    {"quiet", 'q', NULL, 0, "No talk on stderr", 3},
    {"no-color", KEY_NO_COLOR, NULL, 0, "No colour (also: NO_COLOR)", 3},
    {0}};

static const char **text_of(options *o, int key) {
    const struct {
        int key;
        const char **text;
    } texts[] = {
        {KEY_DEVICE, &o->device},   {KEY_AGAINST, &o->against},   {KEY_CEILINGS, &o->ceilings},
        {KEY_SAMPLES, &o->samples}, {KEY_SEED, &o->seed},         {KEY_DB, &o->db},
        {KEY_SPACE, &o->space},     {KEY_DATA_DIR, &o->data_dir}, {KEY_COMPARE, &o->compare},
        {KEY_CSV, &o->csv},         {KEY_MARKDOWN, &o->markdown}, {KEY_PLOT, &o->plot},
        {KEY_WAIT, &o->wait},       {KEY_CACHE_DIR, &o->cache},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (texts[i].key == key)
            return texts[i].text;
    return NULL;
}

static error_t parse_option(int key, char *argument, struct argp_state *state) {
    options *o = state->input;
    if (key == ARGP_KEY_INIT)
        state->child_inputs[0] = &o->problem;
    else if (key == ARGP_KEY_ARG)
        argp_error(state, "unexpected argument '%s'", argument);
    else if (key == KEY_WARM)
        o->warm = true;
    else if (key == KEY_JSON)
        o->json = true;
    else if (key == KEY_NO_COLOR)
        o->no_color = true;
    else if (key == 'q')
        o->quiet = true;
    else if (text_of(o, key))
        *text_of(o, key) = argument;
    else
        return ARGP_ERR_UNKNOWN;
    return 0;
}

static const struct argp_child children[] = {{&tri_cli_problem_argp, 0, "The problem", 1}, {0}};

static const struct argp parser = {
    .options = argp_options,
    .parser = parse_option,
    .children = children,
    .doc =
        "Times the kernel that an application would get for a problem, and its peers, on the same inputs in "
        "one interleaved run. Every result goes through the gate of triage_tune before and after it is "
        "timed; "
        "nothing is printed for what is not that result. The limit is the longer of the useful operations "
        "at the tensor cores' rate and the fewest bytes at the memory's.\v"
        "Example: triage_bench --shape 8192,8192,8192 --sparsity 0.9 --against cublas,cusparse\n\n"
        "The peers' libraries are looked for in the loader's path, in /usr/local/cuda/lib64, and in pip's "
        "nvidia folders of $VIRTUAL_ENV and of each Python in $PATH.\n\n"
        "Exit codes: 0 done, 1 slower than --compare, 64 wrong usage, 65 bad input data, 69 no usable "
        "device, 70 triage's result was "
        "not right, 74 input/output, 130 interrupted."};

static const tri_cli_program program = {.name = "triage_bench",
                                        .about = "how fast a kernel is beside what else can be installed",
                                        .argp = &parser};

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

static triage_status check_against(const char *list) {
    for (const char *word = list; word;) {
        size_t size = strcspn(word, ",");
        if (!is_family(word, size))
            return tri_cli_usage("--against %.*s is not one of cublas, cusparse, openblas, none", (int)size,
                                 word);
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
    for (size_t i = 0; tri_contestant_types[i] && o->against && !o->quiet; i++) {
        const tri_contestant_type *type = tri_contestant_types[i];
        if (type->family && listed(o->against, type->family) && !type->only_e4m3 &&
            (!runs_on(type, host) || !serves(type, problem)))
            fprintf(stderr, "triage_bench: %s does not run %s: left out\n", type->name,
                    runs_on(type, host) ? problem->op->name : "on this device");
    }
}

/* ---- the run ---- */

/* auto: the GPU if there is one. Its context is bound to this thread, so that the peers' libraries take it. */
static triage_status open_device(triage_context **context, const options *o, const char *db,
                                 const char *cache) {
    triage_status status = TRIAGE_OK;
    triage_context_options opened = TRIAGE_CONTEXT_OPTIONS_INIT;
    const bool automatic = !o->device || strcmp(o->device, "auto") == 0;
    opened.device = automatic ? "cuda" : o->device;
    if (strcmp(opened.device, "host") != 0 && strncmp(opened.device, "cuda", 4) != 0)
        return tri_cli_usage("--device %.32s is not one of auto, cuda, cuda:N, host", opened.device);
    opened.db_path = db;
    opened.cache_dir = cache;
    opened.data_dir = o->data_dir;
    opened.space_path = o->space;
    opened.log = tri_cli_log;
    opened.log_user = (void *)&o->quiet;
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
static triage_status take_turn(tri_device_lock locks[2], const options *o, const triage_context *context,
                               volatile const int *interrupted) {
    const tri_device_info *info = tri_device_describe(context->device);
    const tri_log log = {tri_cli_log, (void *)(uintptr_t)&o->quiet};
    tri_device_patience patience = {0};
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_cli_parse_wait(&patience, o->wait));
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
    FILE *file = fopen(path, "rb");
    if (!file)
        return tri_fail(TRIAGE_E_IO, "--db %s cannot be read", path);
    fclose(file);
    return TRIAGE_OK;
}

/* The file to look kernels up in; a server's is brought up to date first, if the server can be reached. */
static triage_status choose_db(char **path, const options *o) {
    const bool is_server = o->db && tri_store_is_url(o->db);
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_cli_check_url(o->db));
    if (o->db && !is_server) {
        TRI_TRY(check_db(o->db));
        return tri_strdup(path, o->db);
    }
    TRI_TRY(tri_cli_default_db(path));
    if (is_server && tri_cli_pull(*path, o->db, o->space, o->data_dir) != TRIAGE_OK)
        tri_cli_error("warning: %s; going on with %s", triage_last_error(), *path);
done:
    return status;
}

/* ---- the race, drawn while it goes ---- */

typedef struct watcher {
    volatile const int *interrupted;
    tri_cli_progress progress;
    size_t rounds;
} watcher;

static bool watch(void *user, int round) {
    watcher *self = user;
    tri_cli_progress_draw(&self->progress, (size_t)round, self->rounds, "");
    return !*self->interrupted;
}

static triage_status hold_contest(tri_contestant *contestants, size_t count, const tri_arena *arena,
                                  const options *o, int samples, volatile const int *interrupted) {
    watcher self = {.interrupted = interrupted, .rounds = (size_t)samples};
    tri_cli_progress_start(&self.progress, o->quiet);
    triage_status status = tri_contest(contestants, count, arena, samples, o->problem.seed, watch, &self);
    tri_cli_progress_clear(&self.progress);
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
        TRI_TRY(tri_contest_plot_svg(o->plot, report));
done:
    return status;
}

/* *slower: contestants that are slower than in the run of --compare. */
static triage_status show(size_t *slower, const options *o, const tri_contest_report *report) {
    json_t *document = NULL;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_contest_json(&document, report));
    TRI_TRY(export_files(o, report));
    if (!o->json)
        TRI_TRY(tri_contest_print(report, o->no_color));
    if (o->compare)
        TRI_TRY(tri_contest_compare(slower, o->compare, document));
    if (o->json) {
        status = tri_cli_json_print(document);
        document = NULL;
    }
done:
    json_decref(document);
    return status;
}

/* ---- the run ---- */

static triage_status choose_ceilings(tri_ceilings *ceilings, const options *o, const triage_context *context,
                                     const tri_problem *problem) {
    const bool wanted = o->ceilings ? strcmp(o->ceilings, "measured") == 0 : o->plot != NULL;
    return wanted ? tri_ceilings_measure(ceilings, context->device, problem) : TRIAGE_OK;
}

static triage_status run(size_t *slower, const options *o, tri_cli_problem *asked, tri_ceilings ceilings,
                         int samples) {
    triage_status status = TRIAGE_OK;
    triage_context *context = NULL;
    tri_contestant contestants[TRI_RACE_MAX];
    size_t count = 0;
    tri_arena arena = {0};
    tri_limit limit;
    char *db = NULL, *cache = NULL;
    tri_device_lock turns[2] = {TRI_DEVICE_LOCK_INIT, TRI_DEVICE_LOCK_INIT};
    volatile const int *interrupted = tri_cli_catch_interrupts();
    TRI_TRY(choose_db(&db, o));
    TRI_TRY(tri_cli_choose_cache(&cache, o->cache));
    TRI_TRY(open_device(&context, o, db, cache));
    const bool host = triage_context_is_host(context) != 0;
    if (host && !asked->dtype_given)
        tri_cli_problem_for_host(asked);
    TRI_TRY(tri_cli_problem_fits(&asked->problem));
    TRI_TRY(choose(contestants, &count, o, host, &asked->problem));
    say_left_out(o, host, &asked->problem);
    TRI_TRY(take_turn(turns, o, context, interrupted));
    TRI_TRY(
        tri_arena_open(&arena, context, &asked->problem, tri_cli_pattern(asked), o->problem.seed, o->warm));
    TRI_TRY(hold_contest(contestants, count, &arena, o, samples, interrupted));
    TRI_TRY(choose_ceilings(&ceilings, o, context, &arena.problem));
    tri_limit_of(&limit, &arena.problem, tri_device_describe(context->device), &ceilings);
    const tri_contest_report report = {contestants, count, &arena, &limit, o->problem.seed, !o->warm};
    TRI_TRY(show(slower, o, &report));
    if (contestants[0].standing != TRI_VERIFIED)
        status = tri_fail(TRIAGE_E_WRONG, "triage: %.200s", contestants[0].reason);
done:
    tri_contestants_close(contestants, count);
    tri_arena_close(&arena);
    close_device(context);
    for (int i = 0; i < 2; i++)
        tri_device_lock_close(&turns[i]);
    free(db);
    free(cache);
    return status;
}

static triage_status check_plot(const char *path) {
    const size_t size = path ? strlen(path) : 0;
    return !path || (size > 4 && strcmp(path + size - 4, ".svg") == 0)
               ? TRIAGE_OK
               : tri_cli_usage(
                     "--plot %.60s is not FILE.svg (rsvg-convert FILE.svg -o FILE.png makes a PNG of it)",
                     path);
}

int main(int argc, char **argv) {
    triage_status status = TRIAGE_OK;
    options o = {0};
    tri_cli_problem asked = {0};
    tri_ceilings ceilings = {0};
    int64_t samples = 30, seed = 1;
    size_t slower = 0;
    tri_cli_start();
    tri_cli_look_below_pythons();
    argp_program_version =
        "triage_bench " TRIAGE_VERSION; /* a definition of ours would be hidden from libc */
    tri_cli_parse(&program, argc, argv, &o);
    if (o.samples)
        TRI_TRY(tri_parse_int64(&samples, o.samples, 6, TRI_SAMPLES_MAX, "--samples"));
    if (o.seed)
        TRI_TRY(tri_parse_int64(&seed, o.seed, 0, INT64_MAX, "--seed"));
    o.problem.seed = (uint64_t)seed;
    TRI_TRY(check_against(o.against));
    TRI_TRY(check_plot(o.plot));
    if (o.ceilings && strcmp(o.ceilings, "measured") != 0)
        TRI_TRY(parse_ceilings(&ceilings, o.ceilings));
    TRI_TRY(tri_cli_problem_make(&asked, &o.problem));
    if (tri_cli_given(&o.problem, "bias") || tri_cli_given(&o.problem, "activation"))
        TRI_TRY(tri_cli_usage("--bias and --activation: its peers do not compute them, so nothing compares"));
    status = run(&slower, &o, &asked, ceilings, (int)samples);
done:
    tri_cli_problem_free(&asked);
    return tri_cli_finish(status == TRIAGE_OK && slower > 0 ? EXIT_FAILURE : tri_cli_report(status));
}
