/* triage_bench: how fast the kernel is that an application would get, next to what else can be installed. */
#include <argp.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli_bench.h"
#include "cli/cli_fleet.h"
#include "cli/cli_problem.h"

typedef struct options {
    tri_cli_problem_options problem;
    const char *device, *db, *space, *data_dir, *against, *samples, *seed;
    bool warm, json, quiet, no_color;
} options;

/* ---- the command line ---- */

enum {
    KEY_SHAPE = 1000,
    KEY_SPARSITY,
    KEY_BLOCK,
    KEY_DTYPE,
    KEY_OUT_DTYPE,
    KEY_PATTERN,
    KEY_N,
    KEY_LAYOUT,
    KEY_DEVICE,
    KEY_AGAINST,
    KEY_SAMPLES,
    KEY_SEED,
    KEY_WARM,
    KEY_DB,
    KEY_SPACE,
    KEY_DATA_DIR,
    KEY_JSON,
    KEY_NO_COLOR
};

static const struct argp_option argp_options[] = {
    {NULL, 0, NULL, 0, "The problem: C (M x N) = A (M x K, block-sparse) * B (K x N)", 1},
    {"shape", KEY_SHAPE, "M,N,K", 0, "Elements, each 1 to 2147483647; the block divides M and K", 1},
    {"sparsity", KEY_SPARSITY, "S", 0,
     "Share of A's blocks that are not stored, 0 to 1: a seeded random pattern", 1},
    {"block", KEY_BLOCK, "B|BMxBK", 0, "Elements of a block, each 1 to 1024 (default 64)", 1},
    {"dtype", KEY_DTYPE, "TYPE", 0, "Type of A and B: f16, bf16, f32 (default f16 on cuda, f32 on host)", 1},
    {"out-dtype", KEY_OUT_DTYPE, "TYPE", 0, "Type of C (default: that of A and B)", 1},
    {"pattern", KEY_PATTERN, "FILE", 0,
     "A .smtx or .mtx file instead of --shape and --sparsity: each nonzero is one block", 1},
    {"n", KEY_N, "N", 0, "With --pattern: columns of B and C, 1 to 2147483647", 1},
    {"layout", KEY_LAYOUT, "row|col", 0, "Of B and C (default row); col is the linear layer Y = X W^T", 1},
    {NULL, 0, NULL, 0, "The comparison", 2},
    {"against", KEY_AGAINST, "LIST", 0,
     "cublas (dense), cusparse (BSR and Blocked-ELL), openblas (dense, CPU), none (default: all of the "
     "device). "
     "The dense product of the same work is --shape M,N,K' --sparsity 0",
     2},
    {"samples", KEY_SAMPLES, "N", 0, "Interleaved rounds, 6 to 1000 (default 30)", 2},
    {"warm", KEY_WARM, NULL, 0, "Leave the caches warm (default: overwritten before each timing)", 2},
    {"device", KEY_DEVICE, "DEVICE", 0,
     "auto (default: cuda if there is a GPU, else host), cuda, cuda:N, host", 2},
    {"seed", KEY_SEED, "N", 0, "Of the pattern, the inputs and the order, 0 to 2^63-1 (default 1)", 2},
    {NULL, 0, NULL, 0, "Files and output", 3},
    {"db", KEY_DB, "PATH|URL", 0, "The tuning database (default $XDG_DATA_HOME/triage/triage.db)", 3},
    {"space", KEY_SPACE, "FILE.lua", 0, "A search space of your own (default: the operation's)", 3},
    {"data-dir", KEY_DATA_DIR, "DIR", 0, "Read templates/ and tuner/ from here (default: those built in)", 3},
    {"json", KEY_JSON, NULL, 0, "JSON on stdout; times in nanoseconds, sizes in bytes", 3},
    {"quiet", 'q', NULL, 0, "No talk on stderr", 3},
    {"no-color", KEY_NO_COLOR, NULL, 0, "No colour (also: NO_COLOR)", 3},
    {0}};

static const char **text_of(options *o, int key) {
    const struct {
        int key;
        const char **text;
    } texts[] = {
        {KEY_SHAPE, &o->problem.shape},
        {KEY_SPARSITY, &o->problem.sparsity},
        {KEY_BLOCK, &o->problem.block},
        {KEY_DTYPE, &o->problem.dtype},
        {KEY_OUT_DTYPE, &o->problem.out_dtype},
        {KEY_PATTERN, &o->problem.pattern},
        {KEY_N, &o->problem.n},
        {KEY_LAYOUT, &o->problem.layout},
        {KEY_DEVICE, &o->device},
        {KEY_AGAINST, &o->against},
        {KEY_SAMPLES, &o->samples},
        {KEY_SEED, &o->seed},
        {KEY_DB, &o->db},
        {KEY_SPACE, &o->space},
        {KEY_DATA_DIR, &o->data_dir},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (texts[i].key == key)
            return texts[i].text;
    return NULL;
}

static error_t parse_option(int key, char *argument, struct argp_state *state) {
    options *o = state->input;
    if (key == ARGP_KEY_ARG)
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

static const struct argp parser = {
    .options = argp_options,
    .parser = parse_option,
    .doc =
        "Times the kernel that an application would get for a problem, and its peers, on the same inputs in "
        "one "
        "interleaved run. Every result goes through the gate of triage_tune before and after it is timed; "
        "nothing is printed for what is not that product. Peers are found with dlopen.\v"
        "Exit codes: 0 done, 64 wrong usage, 65 bad input data, 69 no usable device, 70 triage's result was "
        "not right, 74 input/output, 130 interrupted."};

/* ---- who takes part ---- */

enum { kPeers = 4, kContestants = 1 + kPeers };
static const tri_contestant_type *const peers[kPeers] = {&tri_contestant_cublas, &tri_contestant_cusparse_bsr,
                                                         &tri_contestant_cusparse_ell,
                                                         &tri_contestant_openblas};

/* Is name one of the words of a comma-separated list? */
static bool listed(const char *list, const char *name) {
    size_t size = strlen(name);
    for (const char *word = list; word; word = strchr(word, ',') ? strchr(word, ',') + 1 : NULL)
        if (strncmp(word, name, size) == 0 && (word[size] == '\0' || word[size] == ','))
            return true;
    return false;
}

static triage_status check_against(const char *list) {
    for (const char *word = list; word;) {
        size_t size = strcspn(word, ",");
        bool known = size == 4 && strncmp(word, "none", 4) == 0;
        for (size_t i = 0; i < kPeers && !known; i++)
            known = strlen(peers[i]->family) == size && strncmp(word, peers[i]->family, size) == 0;
        if (!known)
            return tri_cli_usage("--against %.*s is not one of cublas, cusparse, openblas, none", (int)size,
                                 word);
        word = word[size] ? word + size + 1 : NULL;
    }
    return TRIAGE_OK;
}

/* triage first. A peer that was asked for by name but is of the other device is listed as absent. */
static size_t choose(tri_contestant *out, const options *o, bool host) {
    size_t count = 0;
    out[count++] = (tri_contestant){.type = &tri_contestant_triage};
    for (size_t i = 0; i < kPeers; i++)
        if ((host ? peers[i]->on_host : peers[i]->on_cuda) &&
            (!o->against || listed(o->against, peers[i]->family)))
            out[count++] = (tri_contestant){.type = peers[i]};
    return count;
}

static void say_left_out(const options *o, bool host) {
    for (size_t i = 0; i < kPeers && o->against && !o->quiet; i++)
        if (listed(o->against, peers[i]->family) && !(host ? peers[i]->on_host : peers[i]->on_cuda))
            fprintf(stderr, "triage_bench: %s does not run on this device: left out\n", peers[i]->name);
}

/* ---- the run ---- */

/* auto: the GPU if there is one. The stopwatch makes its context current, which triage then takes. */
static triage_status open_device(tri_stopwatch **watch, triage_context **context, const options *o,
                                 const char *db, const char *cache) {
    triage_status status = TRIAGE_OK;
    triage_context_options opened = TRIAGE_CONTEXT_OPTIONS_INIT;
    bool automatic = !o->device || strcmp(o->device, "auto") == 0;
    const char *device = automatic ? "cuda" : o->device;
    if (strcmp(device, "host") != 0 && strncmp(device, "cuda", 4) != 0)
        return tri_cli_usage("--device %.32s is not one of auto, cuda, cuda:N, host", device);
    status = tri_stopwatch_open(watch, device);
    if (status == TRIAGE_E_NO_DEVICE && automatic)
        status = tri_stopwatch_open(watch, device = "host");
    TRI_TRY(status);
    opened.device = device;
    opened.db_path = db;
    opened.cache_dir = cache;
    opened.data_dir = o->data_dir;
    opened.space_path = o->space;
    opened.log = tri_cli_log;
    opened.log_user = (void *)&o->quiet;
    TRI_TRY(triage_context_open(context, &opened));
    if (!o->warm)
        TRI_TRY(tri_stopwatch_cool(*watch, *context));
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

static triage_status run(const options *o, tri_cli_problem *asked, int samples) {
    triage_status status = TRIAGE_OK;
    tri_stopwatch *watch = NULL;
    triage_context *context = NULL;
    tri_contestant contestants[kContestants];
    size_t count = 0;
    tri_arena arena = {0};
    char *db = NULL, *cache = NULL;
    uint64_t seed = o->problem.seed;
    volatile const int *interrupted = tri_cli_catch_interrupts();
    TRI_TRY(tri_cli_check_url(o->db));
    if (o->db && !tri_store_is_url(o->db))
        TRI_TRY(check_db(o->db));
    TRI_TRY(o->db && !tri_store_is_url(o->db) ? tri_strdup(&db, o->db) : tri_cli_default_db(&db));
    if (o->db && tri_store_is_url(o->db) && tri_cli_pull(db, o->db) != TRIAGE_OK)
        tri_cli_error("warning: %s; going on with %s", triage_last_error(), db);
    TRI_TRY(tri_cli_default_cache(&cache));
    TRI_TRY(open_device(&watch, &context, o, db, cache));
    bool host = triage_context_is_host(context) != 0;
    if (host)
        tri_cli_problem_for_host(asked);
    TRI_TRY(tri_cli_problem_fits(&asked->problem));
    TRI_TRY(tri_arena_open(&arena, context, &asked->problem, &asked->pattern, seed));
    say_left_out(o, host);
    count = choose(contestants, o, host);
    TRI_TRY(tri_contest(contestants, count, &arena, watch, samples, seed, interrupted));
    TRI_TRY(o->json ? tri_contest_print_json(contestants, count, &arena, seed, !o->warm)
                    : tri_contest_print(contestants, count, &arena, o->no_color));
    if (contestants[0].standing != TRI_VERIFIED)
        status = tri_fail(TRIAGE_E_WRONG, "triage: %.200s", contestants[0].reason);
done:
    tri_contestants_close(contestants, count);
    if (arena.context)
        tri_arena_close(&arena);
    tri_stopwatch_detach(watch);
    triage_context_free(context);
    tri_stopwatch_close(watch);
    free(db);
    free(cache);
    return status;
}

int main(int argc, char **argv) {
    triage_status status = TRIAGE_OK;
    options o = {0};
    tri_cli_problem asked = {0};
    int64_t samples = 30, seed = 1;
    tri_cli_start();
    argp_program_version =
        "triage_bench " TRIAGE_VERSION; /* a definition of ours would be hidden from libc */
    argp_parse(&parser, argc, argv, 0, NULL, &o);
    if (o.samples)
        TRI_TRY(tri_parse_int64(&samples, o.samples, 6, TRI_SAMPLES_MAX, "--samples"));
    if (o.seed)
        TRI_TRY(tri_parse_int64(&seed, o.seed, 0, INT64_MAX, "--seed"));
    o.problem.seed = (uint64_t)seed;
    TRI_TRY(check_against(o.against));
    TRI_TRY(tri_cli_problem_make(&asked, &o.problem));
    status = run(&o, &asked, (int)samples);
done:
    tri_cli_problem_free(&asked);
    return tri_cli_finish(tri_cli_report(status));
}
