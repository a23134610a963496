#include "cli/common/fleet.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/common/common.h"

/* ---- what the commands share ---- */

triage_status tri_cli_check_url(const char *url) {
    if (!url || !tri_store_url_has_password(url))
        return TRIAGE_OK;
    return tri_cli_usage(
        "a password on the command line can be read by everybody here: put it into ~/.pgpass, or "
        "into a file that PGPASSFILE names");
}

void tri_cli_warn_of_network(const char *path) {
    if (path && !tri_store_is_url(path) && tri_store_is_on_network(path))
        tri_cli_error("warning: " TRI_NETWORK_ADVICE, path);
}

void tri_cli_end_admission(tri_admission *admission) {
    const int64_t unjudged = admission ? tri_admission_unjudged(admission) : 0;
    if (unjudged)
        tri_cli_error("%" PRId64
                      " measurements of another version of triage were kept: a lookup uses them once "
                      "their configurations are in its space",
                      unjudged);
    tri_admission_free(admission);
}

triage_status tri_cli_open_server(tri_store **out, const tri_cli_fleet_options *o, tri_store_mode mode) {
    const char *url = o->server ? o->server : o->db && tri_store_is_url(o->db) ? o->db : NULL;
    if (!url || !tri_store_is_url(url))
        return tri_cli_usage("a server is expected: --server postgresql://USER@HOST/DATABASE");
    triage_status status = tri_cli_check_url(url);
    return status == TRIAGE_OK ? tri_store_open(out, url, mode) : status;
}

/* ---- setup ---- */

triage_status tri_cli_setup(const tri_cli_fleet_options *o) {
    triage_status status = TRIAGE_OK;
    tri_store *server = NULL;
    TRI_TRY(tri_cli_open_server(&server, o, TRI_STORE_WRITE));
    TRI_TRY(tri_store_make_roles(server));
    if (o->json) {
        json_t *document = tri_cli_json_new("setup");
        json_object_set_new(document, "server", json_string(tri_store_name(server)));
        TRI_TRY(tri_cli_json_print(document));
    } else {
        printf("%s is ready: grant triage_reader, triage_contributor or triage_admin to who shall use it\n",
               tri_store_name(server));
    }
done:
    tri_store_close(server);
    return status;
}

/* ---- sync ---- */

static triage_status open_local(tri_store **out, const tri_cli_fleet_options *o) {
    char *path = NULL;
    triage_status status = TRIAGE_OK;
    if (o->db && tri_store_is_url(o->db) && o->server)
        TRI_TRY(tri_cli_usage("--db is the local file, --server the server"));
    TRI_TRY(o->db && !tri_store_is_url(o->db) ? tri_strdup(&path, o->db) : tri_cli_default_db(&path));
    tri_cli_warn_of_network(path);
    TRI_TRY(tri_store_open(out, path, TRI_STORE_WRITE));
done:
    free(path);
    return status;
}

static triage_status print_sync(const tri_cli_fleet_options *o, const tri_sync_result *result) {
    if (o->json) {
        json_t *document = tri_cli_json_new("sync");
        json_object_set_new(document, "sent", json_integer(result->sent));
        json_object_set_new(document, "received", json_integer(result->received));
        json_object_set_new(document, "refused", json_integer(result->refused));
        json_object_set_new(document, "read_only", json_boolean(result->read_only));
        return tri_cli_json_print(document);
    }
    printf("%" PRId64 " measurements sent, %" PRId64 " received, %" PRId64 " refused%s\n", result->sent,
           result->received, result->refused, result->read_only ? "; this user may only read" : "");
    return TRIAGE_OK;
}

/* What comes in is judged as a merge judges it. */
static triage_status exchange(tri_sync_result *out, tri_store *local, tri_store *server,
                              tri_admission *gate) {
    const tri_log log = {tri_cli_log, NULL};
    const tri_sync_options options = {
        .check = tri_admission_check, .user = gate, .log = &log, .interrupted = tri_cli_catch_interrupts()};
    return tri_store_sync(out, local, server, &options);
}

triage_status tri_cli_sync(const tri_cli_fleet_options *o) {
    triage_status status = TRIAGE_OK;
    tri_store *local = NULL, *server = NULL;
    tri_admission *gate = NULL;
    tri_sync_result result;
    TRI_TRY(tri_cli_check_url(o->db));
    TRI_TRY(tri_admission_open(&gate, o->space, o->data_dir));
    TRI_TRY(tri_cli_open_server(&server, o, TRI_STORE_WRITE));
    TRI_TRY(open_local(&local, o));
    status = exchange(&result, local, server, gate);
    if (status != TRIAGE_OK && result.sent + result.received == 0)
        goto done;
    const triage_status printed = print_sync(o, &result);
    status = status != TRIAGE_OK ? status : printed;
    if (status == TRIAGE_OK && result.refused)
        status = tri_fail(TRIAGE_E_DATA, "%" PRId64 " measurements were refused", result.refused);
done:
    tri_cli_end_admission(gate);
    tri_store_close(local);
    tri_store_close(server);
    return status;
}

triage_status tri_cli_pull(const char *local_path, const char *url, const char *space, const char *data_dir) {
    triage_status status = TRIAGE_OK;
    tri_store *local = NULL, *server = NULL;
    tri_admission *gate = NULL;
    tri_sync_result moved;
    TRI_TRY(tri_admission_open(&gate, space, data_dir));
    TRI_TRY(tri_store_open(&server, url, TRI_STORE_WRITE));
    TRI_TRY(tri_store_open(&local, local_path, TRI_STORE_WRITE));
    TRI_TRY(exchange(&moved, local, server, gate));
done:
    tri_cli_end_admission(gate);
    tri_store_close(local);
    tri_store_close(server);
    return status;
}

/* ---- enqueue: a file of shapes ---- */

/* Without a column "op" a file has these, the first four at least; with one, the options of its operations. */
enum { COLUMNS = 32, SHAPE_COLUMNS = 11, NEEDED_COLUMNS = 4 };
static const char *const shape_columns[SHAPE_COLUMNS] = {
    "m", "n", "k", "sparsity", "block", "dtype", "out_dtype", "layout", "seed", "bias", "activation"};

typedef struct header {
    char *names[COLUMNS];
    int count;
    bool has_op;
} header;

/* Takes the quotes off a cell; where the line goes on, NULL: they are not closed. "" in quotes stands for one. */
static char *unquote(char *cell) {
    char *at = cell + 1, *to = cell;
    while (*at && (at[0] != '"' || at[1] == '"')) {
        at += *at == '"';
        *to++ = *at++;
    }
    char *rest = *at ? at + 1 : NULL;
    *to = '\0';
    if (rest)
        rest += strspn(rest, " \t\r");
    return rest && (*rest == ',' || *rest == '\0') ? rest : NULL;
}

/* Cuts a line at its commas and trims the cells; how many there were, -1: a quote is not closed. */
static int split(char **cells, char *line) {
    int count = 0;
    for (char *at = line, *next; at; at = next) {
        at += strspn(at, " \t");
        char *end = *at == '"' ? unquote(at) : at + strcspn(at, ",");
        if (!end)
            return -1;
        next = *end == ',' ? end + 1 : NULL;
        *end = '\0';
        for (size_t size = strlen(at); size > 0 && strchr(" \t\r\n", at[size - 1]); size--)
            at[size - 1] = '\0';
        if (count < COLUMNS)
            cells[count] = at;
        count++;
    }
    return count;
}

static bool has_name(char *const *names, int count, const char *name) {
    for (int i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

/* What the columns of operations may be is found with each line's own. */
static triage_status check_header(const header *h) {
    for (int i = 0; i < h->count; i++) {
        const char *name = h->names[i];
        bool known = h->has_op;
        for (int j = 0; j < SHAPE_COLUMNS; j++)
            known |= strcmp(name, shape_columns[j]) == 0;
        if (!known || has_name(h->names, i, name))
            return tri_fail(
                TRIAGE_E_DATA,
                "column \"%.40s\" is not one of m, n, k, sparsity, block, dtype, out_dtype, layout, "
                "seed, bias, activation, each once; with a column op: shape and other options of triage_tune",
                name);
    }
    for (int j = 0; j < NEEDED_COLUMNS && !h->has_op; j++)
        if (!has_name(h->names, h->count, shape_columns[j]))
            return tri_fail(TRIAGE_E_DATA, "the first line has no column %s", shape_columns[j]);
    return TRIAGE_OK;
}

static triage_status read_header(header *out, char *line) {
    out->count = split(out->names, line);
    if (out->count < 0 || out->count > COLUMNS)
        return tri_fail(TRIAGE_E_DATA, out->count < 0 ? "a quote is not closed" : "more than %d columns",
                        COLUMNS);
    out->has_op = has_name(out->names, out->count, "op");
    return check_header(out);
}

/* Equal shapes have equal specs: then a job that waits is not added again. */
static triage_status spec_of_line(char **out, char *line, const header *h) {
    char *cells[COLUMNS];
    triage_status status = TRIAGE_OK;
    json_t *spec = json_object();
    const int count = split(cells, line);
    if (count < 0)
        TRI_TRY(tri_fail(TRIAGE_E_DATA, "a quote is not closed"));
    if (count != h->count)
        TRI_TRY(tri_fail(TRIAGE_E_DATA, "it has not %d values, like the first line", h->count));
    for (int j = 0; j < SHAPE_COLUMNS && !h->has_op; j++)
        for (int i = 0; i < count; i++)
            if (strcmp(h->names[i], shape_columns[j]) == 0 && cells[i][0])
                json_object_set_new(spec, h->names[i], json_string(cells[i]));
    for (int i = 0; i < count && h->has_op; i++)
        if (cells[i][0])
            json_object_set_new(spec, h->names[i], json_string(cells[i]));
    *out = json_dumps(spec, JSON_COMPACT | (h->has_op ? JSON_SORT_KEYS : 0));
    if (!*out)
        status = tri_fail(TRIAGE_E_DATA, "it is not UTF-8");
done:
    json_decref(spec);
    return status;
}

/* A line that an application wrote (options.record_path). Its pattern lies beside the file. */
static triage_status spec_of_record(char **out, const char *line, const char *path) {
    const char *slash = strrchr(path, '/');
    json_t *record = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
    const char *pattern = json_string_value(json_object_get(record, "pattern"));
    char *beside = NULL;
    triage_status status = TRIAGE_OK;
    if (!json_object_get(record, "problem"))
        TRI_TRY(tri_fail(TRIAGE_E_DATA, "it is not {\"problem\": ...}, as options.record_path writes it"));
    if (pattern && slash && pattern[0] != '/') {
        TRI_TRY(tri_format(&beside, "%.*s/%s", (int)(slash - path), path, pattern));
        if (json_object_set_new(record, "pattern", json_string(beside)) != 0)
            TRI_TRY(tri_fail(TRIAGE_E_DATA, "the folder of its pattern has a name that is not UTF-8"));
    }
    *out = json_dumps(record, JSON_COMPACT | JSON_SORT_KEYS);
    if (!*out)
        status = tri_fail(TRIAGE_E_MEMORY, "no memory for a line");
done:
    free(beside);
    json_decref(record);
    return status;
}

bool tri_cli_spec_names_file(const char *spec) {
    static const char blocks[] = "blocks:";
    json_t *texts = json_loads(spec, JSON_REJECT_DUPLICATES, NULL);
    const char *mask = json_string_value(json_object_get(texts, "mask"));
    bool found = json_object_get(texts, "pattern") != NULL;
    for (const char *at = mask; at && (at = strstr(at, blocks)); at += sizeof blocks - 1)
        found |= at == mask || at[-1] == '+'; /* not random-blocks: */
    json_decref(texts);
    return found;
}

triage_status tri_cli_problem_of_job(tri_cli_problem *out, tri_cli_problem_options *options, json_t **texts,
                                     const char *spec) {
    triage_status status = TRIAGE_OK;
    *texts = json_loads(spec, JSON_REJECT_DUPLICATES, NULL);
    if (json_object_get(*texts, "problem")) {
        *options = (tri_cli_problem_options){.seed = 1};
        return tri_cli_problem_of_key(out, *texts, options->seed);
    }
    TRI_TRY(tri_cli_options_of_job(options, *texts));
    TRI_TRY(tri_cli_problem_make(out, options));
done:
    return status;
}

/* What a worker could not make into a problem is found here, not on four machines. */
static triage_status check_spec(const char *spec) {
    tri_cli_problem problem = {0};
    tri_cli_problem_options options;
    json_t *texts = NULL;
    triage_status status = tri_cli_problem_of_job(&problem, &options, &texts, spec);
    tri_cli_problem_free(&problem);
    json_decref(texts);
    return status == TRIAGE_E_INVALID ? TRIAGE_E_DATA : status;
}

static triage_status add_spec(tri_cli_specs *list, char *spec) {
    triage_status status = tri_grow(&list->specs, &list->capacity, list->count, sizeof(char *), "jobs");
    if (status == TRIAGE_OK)
        list->specs[list->count++] = spec;
    return status;
}

triage_status tri_cli_read_shapes(tri_cli_specs *out, const char *path) {
    triage_status status = TRIAGE_OK;
    char *text = NULL, *spec = NULL;
    header columns = {.count = 0};
    int number = 1;
    TRI_TRY(tri_file_read(&text, NULL, path, 16 << 20));
    for (char *line = text, *next; line; line = next, number++) {
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        if (line[strspn(line, " \t\r")] == '\0' || line[0] == '#')
            continue;
        const bool is_recorded = line[0] == '{';
        if (!is_recorded && columns.count == 0) {
            TRI_TRY(read_header(&columns, line));
            continue;
        }
        TRI_TRY(is_recorded ? spec_of_record(&spec, line, path) : spec_of_line(&spec, line, &columns));
        TRI_TRY(check_spec(spec));
        TRI_TRY(add_spec(out, spec));
        spec = NULL;
    }
    if (out->count == 0)
        status = tri_fail(TRIAGE_E_DATA, "it has no shapes");
done:
    if (status == TRIAGE_E_DATA) {
        char message[400];
        snprintf(message, sizeof message, "%s", triage_last_error());
        (void)tri_fail(status, "%s, line %d: %s", path, number, message);
    }
    free(spec);
    free(text);
    return status;
}

void tri_cli_specs_free(tri_cli_specs *list) {
    for (size_t i = 0; i < list->count; i++)
        free(list->specs[i]);
    free(list->specs);
    *list = (tri_cli_specs){0};
}

/* What failed once more, as it was queued. */
static triage_status retry(const tri_cli_fleet_options *o) {
    triage_status status = TRIAGE_OK;
    tri_store *server = NULL;
    int64_t queued = 0;
    if (o->shapes)
        TRI_TRY(tri_cli_usage("--retry queues what failed, --shapes what is in a file: not both at once"));
    TRI_TRY(tri_cli_open_server(&server, o, TRI_STORE_WRITE));
    TRI_TRY(tri_job_retry(&queued, server, o->device_class ? o->device_class : ""));
    if (o->json) {
        json_t *document = tri_cli_json_new("enqueue");
        json_object_set_new(document, "retried", json_integer(queued));
        TRI_TRY(tri_cli_json_print(document));
    } else {
        printf("%" PRId64 " failed jobs wait again\n", queued);
    }
done:
    tri_store_close(server);
    return status;
}

triage_status tri_cli_enqueue(const tri_cli_fleet_options *o) {
    triage_status status = TRIAGE_OK;
    tri_store *server = NULL;
    tri_cli_specs list = {0};
    int64_t added = 0;
    if (o->retry)
        return retry(o);
    if (!o->shapes)
        TRI_TRY(tri_cli_usage(
            "enqueue needs --shapes FILE.csv: a line m,n,k,sparsity,block,dtype, or op,shape,mask, and a "
            "shape on each other line; or --retry"));
    TRI_TRY(tri_cli_read_shapes(&list, o->shapes));
    for (size_t i = 0; i < list.count; i++)
        if (tri_cli_spec_names_file(list.specs[i]))
            TRI_TRY(
                tri_fail(TRIAGE_E_DATA, "%s: a worker elsewhere has not the file of a pattern", o->shapes));
    TRI_TRY(tri_cli_open_server(&server, o, TRI_STORE_WRITE));
    TRI_TRY(tri_job_enqueue(&added, server, (const char *const *)list.specs, list.count,
                            o->device_class ? o->device_class : ""));
    if (o->json) {
        json_t *document = tri_cli_json_new("enqueue");
        json_object_set_new(document, "shapes", json_integer((json_int_t)list.count));
        json_object_set_new(document, "added", json_integer(added));
        TRI_TRY(tri_cli_json_print(document));
    } else {
        printf("%zu shapes: %" PRId64 " jobs added, the others were waiting already\n", list.count, added);
    }
done:
    tri_cli_specs_free(&list);
    tri_store_close(server);
    return status;
}
