/* triage_db: what the tuning database knows, and how it travels. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/db/cache.h"
#include "cli/common/common.h"
#include "cli/db/evidence.h"
#include "cli/db/explain.h"
#include "cli/db/pack.h"
#include "cli/db/pipes.h"
#include "cli/db/report.h"
#include "cli/common/fleet.h"
#include "cli/common/output.h"
#include "cli/common/shared.h"

/* ---- the command line --------------------------------------------------------------------------------- */

typedef struct options {
    tri_cli_shared shared; /* first; its first argument is the command */
    const char *max_age, *max_size, *shapes, *device_class, *key, *trust, *target, *output, *html;
    bool loss, retry, sign, shipped;
} options;

#define TEXT(name, arg, member, help) TRI_CLI_TEXT(name, arg, options, member, help)
#define FLAG(name, member, help) TRI_CLI_FLAG(name, 0, options, member, help)

static const tri_cli_line lines[] = {
    TRI_CLI_DB(""),
    TRI_CLI_TEXT(
        "device", "TEXT", tri_cli_shared, device,
        "list, show, pack, report: only devices with TEXT in their name or key (default: all). explain: the "
        "one "
        "device in the database with TEXT in its name or key, or auto (default), cuda, cuda:N, host: "
        "one of this machine"),
    TRI_CLI_JSON,
    TRI_CLI_TEXT(
        "cache-dir", "DIR", tri_cli_shared, cache_dir,
        "gc, pack: the cache of compiled kernels (default $XDG_CACHE_HOME/triage, else ~/.cache/triage)"),
    TEXT("max-age", "DAYS", max_age, "gc: remove kernels not used for DAYS days, 0 to 36500 (default 30)"),
    TEXT("max-size", "MIB", max_size,
         "gc: keep at most MIB MiB, the most recently used, 0 to 1048576 (default 1024)"),
    TRI_CLI_FLAG("dry-run", 0, tri_cli_shared, dry_run, "gc: list what would be removed, remove nothing"),
    TRI_CLI_NO_COLOR,
    TRI_CLI_SERVER("setup, sync, enqueue, jobs, status: postgresql://USER@HOST/DATABASE; its password goes "
                   "into ~/.pgpass"),
    TEXT("shapes", "FILE.csv", shapes,
         "enqueue, pack: the first line names the columns, m,n,k,sparsity and any of "
         "block,dtype,out_dtype,layout,seed,bias,activation; or op and options of triage_tune, e.g. "
         "op,shape,mask; each other line is a shape, cells with commas in quotes"),
    TEXT("device-class", "NAME", device_class,
         "enqueue: only for devices with NAME in their name or key, e.g. H200 (default: any)"),
    TRI_CLI_SPACE("import, merge, sync: also admit configurations of this space of your own; explain: the "
                  "space to look up in"),
    TRI_CLI_DATA_DIR("import, merge, sync, explain: read"),
    FLAG("loss", loss,
         "explain: instead of one problem, the loss of nearest kernels over all tuned problems, each left "
         "out once"),
    TRI_CLI_SEED("explain: the seed of the pattern"),
    FLAG("shipped", shipped,
         "list, show, report: the evidence that comes with triage, instead of your database"),
    TRI_CLI_FLAG("wide", 0, tri_cli_shared, wide,
                 "list, show, explain: do not fold tables to the width of the terminal, or $COLUMNS"),
    FLAG("retry", retry,
         "enqueue: instead of --shapes, queue failed jobs again (with --device-class: those of that class)"),
    FLAG("sign", sign,
         "export: sign the file with your key (see key), in FILE.jsonl.sig beside it; "
         "pack: sign the pack"),
    TEXT("key", "FILE", key,
         "key, export, pack: the signing key's file (default $XDG_DATA_HOME/triage/signing.key, else "
         "~/.local/share/...)"),
    TEXT("trust", "KEY", trust,
         "import: trust the rows signed with this key, 64 hex digits as printed by key; other rows are "
         "claims"),
    TEXT("target", TRI_CLI_TARGETS, target, "pack: the architecture to compile for; host is this CPU"),
    TEXT("html", "FILE.html", html, "report: the page to write; - is the standard output"),
    {"output", "FILE", "pack: the file to write, e.g. model.tripack; - is the standard output",
     offsetof(options, output), 'o'},
    {0}};

static const tri_cli_group groups[] = {{NULL, lines}, {0}};

/* ---- what commands share -------------------------------------------------------------------------------- */

static triage_status open_db(tri_store **out, const options *o, tri_store_mode mode) {
    char *path = NULL;
    triage_status status = o->shared.db ? tri_strdup(&path, o->shared.db) : tri_cli_default_db(&path);
    tri_cli_warn_of_network(path);
    if (status == TRIAGE_OK)
        status = tri_store_open(out, path, mode);
    free(path);
    return status;
}

/* What list and show look into: one's own database, or all that is shipped. */
static triage_status open_stores(tri_cli_stores *out, const options *o) {
    triage_status status = TRIAGE_OK;
    if (o->shipped && o->shared.db)
        TRI_TRY(tri_cli_usage("--shipped is what comes with triage: leave out --db"));
    if (o->shipped)
        return tri_cli_stores_shipped(out, o->shared.data_dir);
    TRI_TRY(tri_calloc(&out->items, 1, sizeof(tri_store *)));
    TRI_TRY(open_db(out->items, o, TRI_STORE_READ));
    out->count = 1;
done:
    return status;
}

static triage_status evidence_options(tri_cli_evidence_options *out, const options *o) {
    *out = (tri_cli_evidence_options){.device = o->shared.device,
                                      .json = o->shared.json,
                                      .color = tri_cli_color(stdout, o->shared.no_color),
                                      .width = tri_cli_width(o->shared.wide)};
    return tri_cli_filter_make(&out->filter, &o->shared.problem);
}

/* A source that is not there must not leave an empty database behind. */
static triage_status check_readable(const char *path) {
    return access(path, R_OK) == 0 ? TRIAGE_OK : tri_fail(TRIAGE_E_IO, "%s: %s", path, strerror(errno));
}

static triage_status print_result(const options *o, const char *kind, const tri_merge_result *result) {
    if (o->shared.json) {
        json_t *document = tri_cli_json_new(kind);
        json_object_set_new(document, "read", json_integer(result->read));
        json_object_set_new(document, "added", json_integer(result->added));
        json_object_set_new(document, "present", json_integer(result->present));
        json_object_set_new(document, "refused", json_integer(result->refused));
        json_object_set_new(document, "trusted", json_integer(result->trusted));
        return tri_cli_json_print(document);
    }
    printf("%" PRId64 " measurements read: %" PRId64 " added, %" PRId64 " already there, %" PRId64
           " refused\n",
           result->read, result->added, result->present, result->refused);
    if (o->trust)
        printf("%" PRId64 " of them signed by the trusted key\n", result->trusted);
    return TRIAGE_OK;
}

static triage_status refusal(const tri_merge_result *result) {
    return result->refused == 0
               ? TRIAGE_OK
               : tri_fail(TRIAGE_E_DATA, "%" PRId64 " of %" PRId64 " measurements were refused",
                          result->refused, result->read);
}

/* ---- the commands ------------------------------------------------------------------------------------------ */

static triage_status run_list(const options *o) {
    tri_cli_stores stores = {0};
    tri_cli_evidence_options evidence = {0};
    triage_status status = TRIAGE_OK;
    TRI_TRY(evidence_options(&evidence, o));
    TRI_TRY(open_stores(&stores, o));
    TRI_TRY(tri_cli_list(&stores, &evidence));
done:
    tri_cli_stores_close(&stores);
    tri_cli_filter_free(&evidence.filter);
    return status;
}

static triage_status run_show(const options *o) {
    const bool named = o->shared.argument_count > 1,
               filtered = o->shared.problem.given || o->shared.problem.op;
    tri_cli_stores stores = {0};
    tri_cli_evidence_options evidence = {0};
    triage_status status = TRIAGE_OK;
    if (named == filtered)
        TRI_TRY(tri_cli_usage(
            named ? "show takes an id or a problem, or --op, --shape, ...: not both"
                  : "show takes an id, a problem (in quotes), or --op, --shape, --block, --dtype"));
    TRI_TRY(evidence_options(&evidence, o));
    TRI_TRY(open_stores(&stores, o));
    TRI_TRY(tri_cli_show(&stores, named ? o->shared.arguments[1] : NULL, &evidence));
done:
    tri_cli_stores_close(&stores);
    tri_cli_filter_free(&evidence.filter);
    return status;
}

static triage_status run_report(const options *o) {
    tri_cli_stores stores = {0};
    tri_cli_evidence_options evidence = {0};
    triage_status status = TRIAGE_OK;
    if (!o->html)
        TRI_TRY(tri_cli_usage("report needs --html FILE.html, or --html - for the standard output"));
    TRI_TRY(tri_cli_check_output(o->html, &o->shared.db, 1));
    TRI_TRY(evidence_options(&evidence, o));
    TRI_TRY(open_stores(&stores, o));
    TRI_TRY(tri_cli_report_page(&stores, o->html, &evidence));
done:
    tri_cli_stores_close(&stores);
    tri_cli_filter_free(&evidence.filter);
    return status;
}

static triage_status run_verify(const options *o) {
    tri_store *store = NULL;
    int64_t rows = 0;
    triage_status status = TRIAGE_OK;
    TRI_TRY(open_db(&store, o, TRI_STORE_READ));
    TRI_TRY(tri_store_verify(&rows, store));
    if (o->shared.json) {
        json_t *document = tri_cli_json_new("verify");
        json_object_set_new(document, "measurements", json_integer(rows));
        TRI_TRY(tri_cli_json_print(document));
    } else {
        printf("%" PRId64 " measurements, all as they were measured\n", rows);
    }
done:
    tri_store_close(store);
    return status;
}

static triage_status key_path(char **out, const options *o) {
    return o->key ? tri_strdup(out, o->key) : tri_cli_default_key(out);
}

/* Made when there is none; its public half is what others trust. */
static triage_status run_key(const options *o) {
    tri_signing_key key = {0};
    char *path = NULL, *folder = NULL;
    triage_status status = TRIAGE_OK;
    TRI_TRY(key_path(&path, o));
    if (access(path, F_OK) != 0) {
        const char *slash = strrchr(path, '/');
        TRI_TRY(tri_format(&folder, "%.*s", slash ? (int)(slash - path) : 1, slash ? path : "."));
        if (folder[0])
            TRI_TRY(tri_make_dirs(folder));
        TRI_TRY(tri_signing_key_make(path));
    }
    TRI_TRY(tri_signing_key_read(&key, path));
    if (o->shared.json) {
        json_t *document = tri_cli_json_new("key");
        json_object_set_new(document, "key", json_string(key.public_key));
        TRI_TRY(tri_cli_json_print(document));
    } else {
        printf("%s\n", key.public_key);
    }
done:
    tri_signing_key_wipe(&key);
    free(folder);
    free(path);
    return status;
}

static triage_status read_key(tri_signing_key *out, const options *o) {
    char *path = NULL;
    triage_status status = TRIAGE_OK;
    TRI_TRY(key_path(&path, o));
    status = tri_signing_key_read(out, path);
    if (status == TRIAGE_E_NOT_FOUND)
        status = tri_cli_usage("%s: no signing key; triage_db key makes one", path);
done:
    free(path);
    return status;
}

static triage_status export_signed(int64_t *rows, tri_store *store, const options *o) {
    tri_signing_key key = {0};
    triage_status status = TRIAGE_OK;
    TRI_TRY(read_key(&key, o));
    TRI_TRY(tri_store_export_signed(rows, store, o->shared.arguments[1], &key));
done:
    tri_signing_key_wipe(&key);
    return status;
}

static triage_status run_pack(const options *o) {
    tri_signing_key key = {0};
    triage_status status = TRIAGE_OK;
    if (o->sign)
        TRI_TRY(read_key(&key, o));
    TRI_TRY(tri_cli_pack(&(tri_cli_pack_options){.db = o->shared.db,
                                                 .device = o->shared.device,
                                                 .space = o->shared.space,
                                                 .data_dir = o->shared.data_dir,
                                                 .cache = o->shared.cache_dir,
                                                 .target = o->target,
                                                 .shapes = o->shapes,
                                                 .output = o->output,
                                                 .key = o->sign ? &key : NULL,
                                                 .json = o->shared.json}));
done:
    tri_signing_key_wipe(&key);
    return status;
}

typedef struct exported {
    tri_store *store;
    int64_t rows;
} exported;

/* A tri_write_fn. */
static triage_status write_export(void *user, const char *path) {
    exported *e = user;
    return tri_store_export(&e->rows, e->store, path);
}

static triage_status run_export(const options *o) {
    const char *to = o->shared.arguments[1];
    exported e = {0};
    triage_status status = TRIAGE_OK;
    const bool to_stdout = tri_cli_is_stdout(to);
    TRI_TRY(tri_cli_check_output(to, &o->shared.db, 1));
    TRI_TRY(open_db(&e.store, o, TRI_STORE_READ));
    if (to_stdout && (o->sign || o->shared.json))
        TRI_TRY(tri_cli_usage("export - writes the measurements alone: leave out %s",
                              o->sign ? "--sign" : "--json"));
    TRI_TRY(o->sign ? export_signed(&e.rows, e.store, o) : tri_cli_write_by(to, write_export, &e));
    if (to_stdout) {
        fprintf(stderr, "triage_db: %" PRId64 " measurements written\n", e.rows);
    } else if (o->shared.json) {
        json_t *document = tri_cli_json_new("export");
        json_object_set_new(document, "measurements", json_integer(e.rows));
        TRI_TRY(tri_cli_json_print(document));
    } else {
        printf("%" PRId64 " measurements written to %s\n", e.rows, to);
    }
done:
    tri_store_close(e.store);
    return status;
}

/* What was kept of the standard input has a path that means nothing to a reader. */
static void log_of_stdin(void *kept, triage_log_level level, const char *text) {
    char line[1024];
    const size_t size = strlen(kept);
    const bool of_it = strncmp(text, kept, size) == 0;
    snprintf(line, sizeof line, "%s%s", of_it ? "the standard input" : "", of_it ? text + size : text);
    tri_cli_log(NULL, level, line);
}

static triage_status run_import(const options *o) {
    tri_log log = {tri_cli_log, NULL};
    tri_store *store = NULL;
    tri_admission *gate = NULL;
    tri_merge_result result;
    triage_status status = TRIAGE_OK;
    const char *from = o->shared.arguments[1];
    char *kept = NULL;
    int fd = -1;
    if (strcmp(from, "-") == 0) {
        if (o->trust)
            TRI_TRY(tri_cli_usage("--trust needs a file: its signature is in FILE.jsonl.sig beside it"));
        TRI_TRY(tri_cli_keep_stdin(&kept, &fd));
        from = kept;
        log = (tri_log){log_of_stdin, kept};
    }
    TRI_TRY(check_readable(from));
    TRI_TRY(tri_admission_open(&gate, o->shared.space, o->shared.data_dir));
    TRI_TRY(open_db(&store, o, TRI_STORE_WRITE));
    TRI_TRY(o->trust
                ? tri_store_import_trusted(&result, store, from, o->trust, tri_admission_check, gate, &log)
                : tri_store_import(&result, store, from, tri_admission_check, gate, &log));
    TRI_TRY(print_result(o, "import", &result));
    TRI_TRY(refusal(&result));
done:
    tri_cli_end_admission(gate);
    tri_store_close(store);
    if (fd >= 0)
        close(fd);
    free(kept);
    return status;
}

static triage_status run_merge(const options *o) {
    const tri_log log = {tri_cli_log, NULL};
    tri_store *store = NULL;
    tri_admission *gate = NULL;
    tri_merge_result total = {0}, one;
    triage_status status = TRIAGE_OK;
    for (size_t i = 2; i < o->shared.argument_count; i++)
        TRI_TRY(tri_store_is_url(o->shared.arguments[i])
                    ? tri_cli_usage("merge reads files; a server is read with sync --server URL")
                    : check_readable(o->shared.arguments[i]));
    TRI_TRY(tri_admission_open(&gate, o->shared.space, o->shared.data_dir));
    tri_cli_warn_of_network(o->shared.arguments[1]);
    TRI_TRY(tri_store_open(&store, o->shared.arguments[1], TRI_STORE_WRITE));
    for (size_t i = 2; i < o->shared.argument_count; i++) {
        TRI_TRY(tri_store_merge(&one, store, o->shared.arguments[i], tri_admission_check, gate, &log));
        total.read += one.read;
        total.added += one.added;
        total.present += one.present;
        total.refused += one.refused;
    }
    TRI_TRY(print_result(o, "merge", &total));
    TRI_TRY(refusal(&total));
done:
    tri_cli_end_admission(gate);
    tri_store_close(store);
    return status;
}

static triage_status run_hash(const options *o) {
    tri_store *store = NULL;
    char hash[TRI_HASH_SIZE];
    triage_status status = TRIAGE_OK;
    if (o->shared.argument_count == 2 && o->shared.db)
        TRI_TRY(tri_cli_usage("hash takes FILE.db or --db, not both"));
    if (o->shared.argument_count == 2)
        TRI_TRY(tri_store_open(&store, o->shared.arguments[1], TRI_STORE_READ));
    else
        TRI_TRY(open_db(&store, o, TRI_STORE_READ));
    TRI_TRY(tri_store_hash(hash, store));
    if (o->shared.json) {
        json_t *document = tri_cli_json_new("hash");
        json_object_set_new(document, "hash", json_string(hash));
        TRI_TRY(tri_cli_json_print(document));
    } else {
        printf("%s\n", hash);
    }
done:
    tri_store_close(store);
    return status;
}

static triage_status print_collected(const options *o, const tri_cli_cache_result *result) {
    char freed[TRI_CLI_NUMBER], kept[TRI_CLI_NUMBER];
    if (o->shared.json) {
        json_t *document = tri_cli_json_new("gc");
        json_object_set_new(document, "dry_run", json_boolean(o->shared.dry_run));
        json_object_set_new(document, "removed", json_integer(result->removed));
        json_object_set_new(document, "freed_bytes", json_integer(result->freed_bytes));
        json_object_set_new(document, "kept", json_integer(result->entries - result->removed));
        json_object_set_new(document, "kept_bytes", json_integer(result->bytes - result->freed_bytes));
        return tri_cli_json_print(document);
    }
    printf("%s %" PRId64 " compiled kernels (%s), %" PRId64 " kept (%s)\n",
           o->shared.dry_run ? "would remove" : "removed", result->removed,
           tri_cli_bytes(freed, result->freed_bytes), result->entries - result->removed,
           tri_cli_bytes(kept, result->bytes - result->freed_bytes));
    return TRIAGE_OK;
}

static triage_status run_gc(const options *o) {
    tri_cli_cache_result result;
    char *cache = NULL;
    double days = 30;
    int64_t mib = 1024;
    triage_status status = TRIAGE_OK;
    if (o->max_age)
        TRI_TRY(tri_parse_double(&days, o->max_age, 0, 36500, "--max-age"));
    if (o->max_size)
        TRI_TRY(tri_parse_int64(&mib, o->max_size, 0, 1048576, "--max-size"));
    TRI_TRY(o->shared.cache_dir ? tri_strdup(&cache, o->shared.cache_dir) : tri_cli_default_cache(&cache));
    const tri_cli_cache_limits limits = {days * 86400, mib << 20, o->shared.dry_run};
    TRI_TRY(tri_cli_cache_collect(&result, cache, &limits));
    TRI_TRY(print_collected(o, &result));
done:
    free(cache);
    return status;
}

/* ---- with a server ---- */

static tri_cli_fleet_options fleet_options(const options *o) {
    return (tri_cli_fleet_options){.db = o->shared.db,
                                   .server = o->shared.server,
                                   .shapes = o->shapes,
                                   .device_class = o->device_class,
                                   .space = o->shared.space,
                                   .data_dir = o->shared.data_dir,
                                   .retry = o->retry,
                                   .json = o->shared.json,
                                   .color = tri_cli_color(stdout, o->shared.no_color)};
}

static triage_status run_setup(const options *o) {
    const tri_cli_fleet_options fleet = fleet_options(o);
    return tri_cli_setup(&fleet);
}

static triage_status run_sync(const options *o) {
    const tri_cli_fleet_options fleet = fleet_options(o);
    return tri_cli_sync(&fleet);
}

static triage_status run_enqueue(const options *o) {
    const tri_cli_fleet_options fleet = fleet_options(o);
    return tri_cli_enqueue(&fleet);
}

static triage_status run_jobs(const options *o) {
    const tri_cli_fleet_options fleet = fleet_options(o);
    return tri_cli_jobs(&fleet);
}

static triage_status run_status(const options *o) {
    const tri_cli_fleet_options fleet = fleet_options(o);
    return tri_cli_status(&fleet);
}

static triage_status run_explain(const options *o) {
    triage_status status = TRIAGE_OK;
    tri_cli_explain_options explain = {.problem = o->shared.problem,
                                       .db = o->shared.db,
                                       .device = o->shared.device,
                                       .space = o->shared.space,
                                       .data_dir = o->shared.data_dir,
                                       .loss = o->loss,
                                       .json = o->shared.json,
                                       .color = tri_cli_color(stdout, o->shared.no_color),
                                       .width = tri_cli_width(o->shared.wide)};
    TRI_TRY(tri_cli_parse_seed(&explain.problem.seed, o->shared.seed));
    TRI_TRY(tri_cli_explain(&explain));
done:
    return status;
}

typedef struct command {
    const char *name;
    size_t least, most; /* arguments after the name */
    const char *arguments;
    const char *options; /* that mean something to it, beside --no-color; "problem": all that describe one */
    triage_status (*run)(const options *o);
} command;

static const command commands[] = {
    {"list", 0, 0, "no arguments", "db device data-dir shipped wide op problem json", run_list},
    {"show", 0, 1, "an id or a problem (in quotes)", "db device data-dir shipped wide op problem json",
     run_show},
    {"explain", 0, 0, "no arguments", "db device space data-dir loss seed wide op problem json", run_explain},
    {"pack", 0, 0, "no arguments", "db device space data-dir target shapes output cache-dir sign key json",
     run_pack},
    {"report", 0, 0, "no arguments", "db device data-dir shipped html op problem", run_report},
    {"verify", 0, 0, "no arguments", "db json", run_verify},
    {"export", 1, 1, "FILE.jsonl", "db sign key json", run_export},
    {"import", 1, 1, "FILE.jsonl", "db space data-dir trust json", run_import},
    {"key", 0, 0, "no arguments", "key json", run_key},
    {"merge", 2, SIZE_MAX, "INTO.db FROM.db...", "space data-dir json", run_merge},
    {"hash", 0, 1, "at most one FILE.db", "db json", run_hash},
    {"setup", 0, 0, "no arguments", "db server json", run_setup},
    {"sync", 0, 0, "no arguments", "db server space data-dir json", run_sync},
    {"enqueue", 0, 0, "no arguments", "db server shapes device-class retry json", run_enqueue},
    {"jobs", 0, 0, "no arguments", "db server json", run_jobs},
    {"status", 0, 0, "no arguments", "db server json", run_status},
    {"gc", 0, 0, "no arguments", "cache-dir max-age max-size dry-run json", run_gc},
};

enum { COMMANDS = sizeof commands / sizeof commands[0] };

static bool is_of_problem(const char *option) {
    for (const tri_cli_line *line = lines; line->name; line++)
        if (strcmp(line->name, option) == 0)
            return false;
    return true;
}

/* Is it one of the words of a list? */
static bool has_word(const char *list, const char *word) {
    const size_t size = strlen(word);
    for (const char *at = list; at; at = strchr(at, ' ') ? strchr(at, ' ') + 1 : NULL)
        if (strncmp(at, word, size) == 0 && (at[size] == ' ' || at[size] == '\0'))
            return true;
    return false;
}

/* Does a command have a meaning for the option of that name? */
static bool takes(size_t at, const char *option) {
    const char *taken = commands[at].options;
    return strcmp(option, "no-color") == 0 || has_word(taken, option) ||
           (is_of_problem(option) && has_word(taken, "problem"));
}

static const char *command_names[COMMANDS + 1];
static const tri_cli_program program = {
    .name = "triage_db",
    .about = "show and move what triage has measured",
    .arguments = "COMMAND [ARGUMENT...]",
    .groups = groups,
    .problem = "The problem of explain (--op: of list, too)",
    .problem_last = true,
    .commands = command_names,
    .takes = takes,
    .doc = "Shows and moves what triage has measured.\n"
           "\n"
           "  list                 the winner of each problem on each device; filters are\n"
           "                       --op, --shape, --block, --dtype and --device;\n"
           "                       --shipped lists what comes with triage\n"
           "  show ID              one measurement, by its id or at least 4 digits of it\n"
           "  show PROBLEM         all that is known of a problem, named as list prints\n"
           "                       it, or chosen by --op, --shape, ...: its key in\n"
           "                       words, ranking, ties, failures with their reasons\n"
           "  explain              how a lookup would be answered: exact, predicted,\n"
           "                       nearest or default; from where, at what loss, and\n"
           "                       why not by others (--shape, ... or --loss)\n"
           "  report               writes one HTML page about devices (--html), with the\n"
           "                       filters of list\n"
           "  pack                 compiles the kernels of a list of problems into one\n"
           "                       file for applications, which then need no compiler\n"
           "                       (--target, --shapes, -o)\n"
           "  verify               checks the file, and every row against its hash\n"
           "  export FILE.jsonl    writes every measurement, one JSON object per line; -\n"
           "                       is the standard output\n"
           "  import FILE.jsonl    adds measurements of a file, or of stdin (-);\n"
           "                       bad lines are named and skipped\n"
           "  key                  prints your public signing key; makes it the first time\n"
           "  merge INTO.db FROM.db...\n"
           "                       adds the measurements of other databases: in any\n"
           "                       order, any number of times, the result is the same\n"
           "  hash [FILE.db]       prints a hash, equal for equal sets of measurements\n"
           "  setup                makes or updates the tables and roles on a server\n"
           "  sync                 moves measurements between the local file and a\n"
           "                       server, both ways, until both have all\n"
           "  enqueue              puts shapes on a server, for workers to tune\n"
           "                       (triage_tune --worker)\n"
           "  jobs                 lists jobs: who works on each, its progress, result or\n"
           "                       reason of failure\n"
           "  status               counts measurements; workers, failures and expected end\n"
           "                       of a server's jobs; winners that have drifted (a\n"
           "                       later measurement is slower), and what had changed\n"
           "  gc                   removes compiled kernels that were not used for\n"
           "                       long; never a measurement\v"
           "Exit codes: 0 done, 64 wrong usage, 65 bad input data (also: some rows were refused), 69 no such "
           "device (explain), 70 out of memory, 74 input/output, 130 interrupted."};

static void name_commands(void) {
    for (size_t i = 0; i < COMMANDS; i++)
        command_names[i] = commands[i].name;
}

static triage_status refuse_command(const char *typed) {
    char all[256] = "";
    for (size_t i = 0; i < COMMANDS; i++)
        snprintf(all + strlen(all), sizeof all - strlen(all), "%s%s", i ? ", " : "", command_names[i]);
    if (!typed)
        return tri_cli_usage("no command is given: %s (see --help)", all);
    const char *nearest = tri_cli_nearest(typed, command_names, COMMANDS);
    return nearest ? tri_cli_usage("unknown command \"%.40s\"; did you mean %s?", typed, nearest)
                   : tri_cli_usage("unknown command \"%.40s\": not one of %s", typed, all);
}

/* NULL if there is none, with the message set. */
static const command *find_command(const options *o) {
    const size_t given = o->shared.argument_count ? o->shared.argument_count - 1 : 0;
    for (size_t i = 0; o->shared.argument_count && i < COMMANDS; i++) {
        const command *c = &commands[i];
        if (strcmp(c->name, o->shared.arguments[0]) != 0)
            continue;
        if (given >= c->least && given <= c->most)
            return c;
        tri_cli_usage("%s takes %s; %zu arguments given", c->name, c->arguments, given);
        return NULL;
    }
    refuse_command(o->shared.argument_count ? o->shared.arguments[0] : NULL);
    return NULL;
}

static triage_status check_urls(const options *o) {
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_cli_check_url(o->shared.db));
    TRI_TRY(tri_cli_check_url(o->shared.server));
    for (size_t i = 1; i < o->shared.argument_count; i++)
        TRI_TRY(tri_cli_check_url(o->shared.arguments[i]));
done:
    return status;
}

static triage_status check_options(const command *c, const options *o) {
    const size_t at = (size_t)(c - commands);
    for (size_t i = 0; i < o->shared.typed_count; i++)
        if (!takes(at, o->shared.typed[i]))
            return tri_cli_usage("--%s does not apply to %s", o->shared.typed[i], c->name);
    if (o->shared.problem.given && !takes(at, o->shared.problem.given))
        return tri_cli_usage("--%s does not apply to %s", o->shared.problem.given, c->name);
    if (o->shared.problem.op && !takes(at, "op"))
        return tri_cli_usage("--op does not apply to %s", c->name);
    return TRIAGE_OK;
}

int main(int argc, char **argv) {
    options o = {0};
    tri_cli_start();
    name_commands();
    tri_cli_parse(&program, argc, argv, &o.shared);
    const command *c = find_command(&o);
    triage_status status = c ? check_options(c, &o) : TRIAGE_E_INVALID;
    if (c && status == TRIAGE_OK)
        status = check_urls(&o);
    if (c && status == TRIAGE_OK)
        status = c->run(&o);
    return tri_cli_finish(tri_cli_report(status));
}
