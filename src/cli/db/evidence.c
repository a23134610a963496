#include "cli/db/evidence.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/common/common.h"
#include "cli/common/devices.h"
#include "evidence/pretuned.h"
#include "op/dense.h"

static bool is_timed(const tri_measurement *row) {
    return row->outcome == TRI_RIGHT || row->outcome == TRI_SLOW;
}

/* TFLOP/s on stored blocks; 0 if untimed. The key holds the density to two significant digits, so this has
 * no more: "~" wherever it is shown. */
static double useful_tflops(const tri_measurement *row) {
    tri_problem problem;
    tri_gemm gemm;
    if (!is_timed(row))
        return 0;
    if (tri_dense_parse(&gemm, row->problem) == TRIAGE_OK)
        return 2 * (double)gemm.m * (double)gemm.n * (double)gemm.k / row->median_ns * 1e-3;
    if (tri_problem_parse(&problem, row->problem) != TRIAGE_OK)
        return 0;
    return tri_problem_flops(&problem) / row->median_ns * 1e-3;
}

/* Two significant digits, no exponent: "140", "0.13". */
static const char *approximate(char out[TRI_CLI_NUMBER], double value) {
    snprintf(out, TRI_CLI_NUMBER, "%.1e", value);
    snprintf(out, TRI_CLI_NUMBER, "%g", strtod(out, NULL));
    return out;
}

static bool is_wanted(const tri_cli_evidence_options *options, const tri_measurement *row) {
    return (!options->device || strstr(row->device, options->device) ||
            strstr(row->device_name, options->device)) &&
           tri_cli_filter_passes(&options->filter, row->problem);
}

/* ---- what is shipped ---- */

typedef struct shipped {
    tri_cli_devices devices;
} shipped;

/* A tri_device_fn. */
static triage_status note_shipped(void *user, const char *key, const char *name) {
    return tri_cli_devices_add(&((shipped *)user)->devices, key, name);
}

triage_status tri_cli_stores_shipped(tri_cli_stores *out, const char *data_dir) {
    const tri_log log = {tri_cli_log, NULL};
    shipped known = {0};
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_pretuned_devices(data_dir, note_shipped, &known));
    for (size_t i = 0; i < known.devices.count; i++) {
        tri_device_info info;
        TRI_TRY(tri_device_parse(&info, known.devices.keys[i]));
        TRI_TRY(tri_grow(&out->items, &out->capacity, out->count, sizeof(tri_store *), "databases"));
        TRI_TRY(tri_pretuned_open(&out->items[out->count], &info, data_dir, &log));
        out->count += out->items[out->count] != NULL;
    }
done:
    tri_cli_devices_free(&known.devices);
    return status;
}

void tri_cli_stores_close(tri_cli_stores *stores) {
    for (size_t i = 0; i < stores->count; i++)
        tri_store_close(stores->items[i]);
    free(stores->items);
    *stores = (tri_cli_stores){0};
}

static triage_status time_cells(tri_cli_table *table, const tri_measurement *row) {
    char text[TRI_CLI_NUMBER];
    triage_status status = TRIAGE_OK;
    const double half = row->median_ns > 0 ? 50 * (row->high_ns - row->low_ns) / row->median_ns : 0;
    const double tflops = useful_tflops(row);
    TRI_TRY(tri_cli_table_cell(table, "%s", tri_cli_time(text, row->median_ns)));
    TRI_TRY(is_timed(row) ? tri_cli_table_cell(table, "%.1f %%", half) : tri_cli_table_cell(table, "-"));
    TRI_TRY(tflops > 0 ? tri_cli_table_cell(table, "%s", approximate(text, tflops))
                       : tri_cli_table_cell(table, "-"));
done:
    return status;
}

/* A measurement's own fields, and what follows from them. */
static json_t *row_json(const tri_measurement *row) {
    char *line = NULL;
    json_t *object = NULL;
    if (tri_measurement_to_json(&line, row) == TRIAGE_OK)
        object = json_loads(line, 0, NULL);
    free(line);
    if (object) {
        json_object_del(object, "schema"); /* the document has one */
        json_object_set_new(object, "useful_tflops_approximate", json_real(useful_tflops(row)));
        json_t *circumstances = json_loads(row->circumstances, 0, NULL);
        json_object_set_new(object, "circumstances", circumstances ? circumstances : json_null());
    }
    return object;
}

/* ---- list ---- */

#define NARROW 100 /* columns */

typedef struct list_state {
    const tri_cli_evidence_options *options;
    tri_cli_table *table;
    json_t *winners;
    size_t count;
} list_state;

/* A small window has no room for when it was: show ID says it. */
static bool is_narrow(const tri_cli_evidence_options *options) {
    return options->width > 0 && options->width < NARROW;
}

static triage_status list_row(void *user, const tri_measurement *row) {
    list_state *list = user;
    char when[TRI_CLI_NUMBER];
    triage_status status = TRIAGE_OK;
    if (!is_wanted(list->options, row))
        return TRIAGE_OK;
    list->count++;
    if (list->winners) {
        return json_array_append_new(list->winners, row_json(row)) == 0
                   ? TRIAGE_OK
                   : tri_fail(TRIAGE_E_MEMORY, "out of memory for the JSON output");
    }
    TRI_TRY(tri_cli_table_row(list->table, TRI_STYLE_NONE));
    TRI_TRY(tri_cli_table_cell(list->table, "%s", row->problem));
    TRI_TRY(tri_cli_table_cell(list->table, "%s", row->device_name));
    TRI_TRY(tri_cli_table_cell(list->table, "%s", row->config));
    TRI_TRY(time_cells(list->table, row));
    if (!is_narrow(list->options))
        TRI_TRY(tri_cli_table_cell(list->table, "%s", tri_cli_when(when, row->measured_at_ms)));
    TRI_TRY(tri_cli_table_cell(list->table, "%.8s", row->id));
done:
    return status;
}

triage_status tri_cli_list(const tri_cli_stores *stores, const tri_cli_evidence_options *options) {
    static const tri_cli_column columns[] = {
        {"problem", false}, {"device", false},         {"config", false},   {"median", true},
        {"+-", true},       {"~useful TFLOP/s", true}, {"measured", false}, {"id", false}};
    static const tri_cli_column narrow[] = {{"problem", false}, {"device", false}, {"config", false},
                                            {"median", true},   {"+-", true},      {"~useful TFLOP/s", true},
                                            {"id", false}};
    triage_status status = TRIAGE_OK;
    list_state list = {.options = options, .winners = options->json ? json_array() : NULL};
    TRI_TRY(is_narrow(options) ? tri_cli_table_new(&list.table, narrow, sizeof narrow / sizeof narrow[0])
                               : tri_cli_table_new(&list.table, columns, sizeof columns / sizeof columns[0]));
    for (size_t i = 0; i < stores->count; i++)
        TRI_TRY(tri_store_winners(stores->items[i], NULL, options->filter.op ? options->filter.op : "",
                                  list_row, &list));
    if (options->json) {
        json_t *document = tri_cli_json_new("list");
        json_object_set(document, "winners", list.winners);
        TRI_TRY(tri_cli_json_print(document));
    } else if (list.count) {
        tri_cli_table_print_within(list.table, stdout, options->color, options->width);
    }
done:
    tri_cli_table_free(list.table);
    json_decref(list.winners);
    return status;
}

/* ---- show: one measurement ---- */

static void show_line(const char *name, const char *text) {
    printf("%-26s%s\n", name, text);
}

static triage_status show_measurement(const tri_measurement *row, const tri_cli_evidence_options *options) {
    json_t *object = row_json(row), *value;
    const char *key;
    if (!object)
        return tri_fail(TRIAGE_E_MEMORY, "out of memory for measurement %s", row->id);
    if (options->json) {
        json_t *document = tri_cli_json_new("measurement");
        json_object_set_new(document, "measurement", object);
        return tri_cli_json_print(document);
    }
    json_object_foreach(object, key, value) {
        char *text =
            json_is_string(value) ? NULL : json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(7));
        show_line(key, text ? text : json_is_string(value) ? json_string_value(value) : "?");
        free(text);
    }
    json_decref(object);
    return TRIAGE_OK;
}

/* ---- show: a problem on each device ---- */

typedef struct device_search {
    const tri_cli_evidence_options *options;
    tri_cli_devices found;
} device_search;

static triage_status note_device(void *user, const tri_measurement *row) {
    device_search *search = user;
    if (!is_wanted(search->options, row))
        return TRIAGE_OK;
    return tri_cli_devices_add(&search->found, row->device, row->device_name);
}

/* Rows of one table, or of one JSON list. */
typedef struct row_sink {
    tri_cli_table *table;
    json_t *list; /* NULL: the table */
    size_t count;
    tri_measurement best; /* ranking: numbers only */
} row_sink;

static triage_status append_json(row_sink *sink, const tri_measurement *row, int ties) {
    json_t *object = row_json(row);
    if (object && ties >= 0)
        json_object_set_new(object, "tie", json_boolean(ties));
    return json_array_append_new(sink->list, object) == 0
               ? TRIAGE_OK
               : tri_fail(TRIAGE_E_MEMORY, "out of memory for the JSON output");
}

static triage_status ranking_row(void *user, const tri_measurement *row) {
    row_sink *sink = user;
    triage_status status = TRIAGE_OK;
    if (sink->count++ == 0)
        sink->best =
            (tri_measurement){.outcome = row->outcome, .low_ns = row->low_ns, .high_ns = row->high_ns};
    const bool ties = sink->best.outcome == TRI_RIGHT && tri_measurement_ties(&sink->best, row);
    const char *place = ties && sink->count == 1 ? "winner" : ties ? "tie" : tri_outcome_name(row->outcome);
    if (sink->list)
        return append_json(sink, row, ties);
    TRI_TRY(tri_cli_table_row(sink->table, ties ? TRI_STYLE_GOOD : TRI_STYLE_NONE));
    TRI_TRY(tri_cli_table_cell(sink->table, "%zu", sink->count));
    TRI_TRY(tri_cli_table_cell(sink->table, "%s", place));
    TRI_TRY(tri_cli_table_cell(sink->table, "%s", row->config));
    TRI_TRY(time_cells(sink->table, row));
    TRI_TRY(tri_cli_table_cell(sink->table, "%.1e of %.1e", row->row_error, row->row_error_limit));
    TRI_TRY(tri_cli_table_cell(sink->table, "%s, %s", row->stage, row->cold_l2 ? "cold" : "warm"));
    TRI_TRY(tri_cli_table_cell(sink->table, "%.8s", row->id));
done:
    return status;
}

static triage_status evidence_row(void *user, const tri_measurement *row) {
    row_sink *sink = user;
    triage_status status = TRIAGE_OK;
    char text[TRI_CLI_NUMBER];
    sink->count++;
    if (sink->list)
        return append_json(sink, row, -1);
    TRI_TRY(tri_cli_table_row(sink->table, is_timed(row) ? TRI_STYLE_NONE : TRI_STYLE_BAD));
    TRI_TRY(tri_cli_table_cell(sink->table, "%s", tri_cli_when(text, row->measured_at_ms)));
    TRI_TRY(tri_cli_table_cell(sink->table, "%s", row->stage));
    TRI_TRY(tri_cli_table_cell(sink->table, "%s", tri_outcome_name(row->outcome)));
    TRI_TRY(tri_cli_table_cell(sink->table, "%s", tri_cli_time(text, row->median_ns)));
    TRI_TRY(tri_cli_table_cell(sink->table, "%s", row->config));
    TRI_TRY(tri_cli_table_cell(sink->table, "%.8s", row->id));
    TRI_TRY(tri_cli_table_cell(sink->table, "%s", row->reason));
done:
    return status;
}

typedef triage_status (*query_fn)(tri_store *store, const char *problem, const char *device, tri_row_fn fn,
                                  void *user);

/* Asks the store and prints a table below a title, or adds a list of that name to an object. */
static triage_status show_rows(tri_store *store, const char *problem, const char *device, query_fn query,
                               tri_row_fn fn, const tri_cli_column *columns, size_t count, const char *title,
                               json_t *object, const tri_cli_evidence_options *options) {
    triage_status status = TRIAGE_OK;
    row_sink sink = {.list = object ? json_array() : NULL};
    TRI_TRY(tri_cli_table_new(&sink.table, columns, count));
    TRI_TRY(query(store, problem, device, fn, &sink));
    if (object) {
        json_object_set(object, title, sink.list);
    } else if (sink.count) {
        printf("\n%s\n", title);
        tri_cli_table_print_within(sink.table, stdout, options->color, options->width);
    }
done:
    tri_cli_table_free(sink.table);
    json_decref(sink.list);
    return status;
}

static triage_status show_device(tri_store *store, const char *problem, const char *device, json_t *object,
                                 const tri_cli_evidence_options *options) {
    static const tri_cli_column ranked[] = {
        {"rank", true},           {"", false},     {"config", false},
        {"median", true},         {"+-", true},    {"~useful TFLOP/s", true},
        {"error of limit", true}, {"from", false}, {"id", false}};
    static const tri_cli_column all[] = {{"measured", false}, {"stage", false},  {"outcome", false},
                                         {"median", true},    {"config", false}, {"id", false},
                                         {"reason", false}};
    triage_status status = TRIAGE_OK;
    TRI_TRY(show_rows(store, problem, device, tri_store_ranking, ranking_row, ranked,
                      sizeof ranked / sizeof ranked[0], "ranking", object, options));
    TRI_TRY(show_rows(store, problem, device, tri_store_evidence, evidence_row, all,
                      sizeof all / sizeof all[0], "evidence", object, options));
done:
    return status;
}

static triage_status describe_dense(tri_text *out, const char *key) {
    tri_gemm p;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_dense_parse(&p, key));
    TRI_TRY(tri_text_format(
        out,
        "that is C (%lld x %lld) = A (%lld x %lld) B, dense, by the device's own library; %s in, %s "
        "out, B %s-major, C %s-major",
        (long long)p.m, (long long)p.n, (long long)p.m, (long long)p.k, tri_dtype_name(p.in_type),
        tri_dtype_name(p.out_type), tri_layout_name(p.b_layout), tri_layout_name(p.c_layout)));
done:
    return status;
}

/* Its key, and what that says. */
static triage_status print_problem(const char *key, size_t width) {
    tri_text words = TRI_TEXT_INIT;
    tri_problem problem;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_text_format(&words, "problem %s\n", key));
    if (tri_dense_is_key(key)) {
        TRI_TRY(describe_dense(&words, key));
    } else if (tri_problem_parse(&problem, key) == TRIAGE_OK) {
        TRI_TRY(tri_text_format(&words, "that is "));
        TRI_TRY(tri_cli_problem_describe(&words, &problem));
    }
    tri_cli_print_within(stdout, words.data, 8, width);
done:
    tri_text_free(&words);
    return status;
}

static triage_status print_device(const char *name, const char *key, size_t width) {
    tri_text line = TRI_TEXT_INIT;
    triage_status status = tri_text_format(&line, "\ndevice  %s (%s)\n", name, key);
    if (status == TRIAGE_OK)
        tri_cli_print_within(stdout, line.data, 8, width);
    tri_text_free(&line);
    return status;
}

static triage_status show_devices(tri_store *store, const char *problem, const tri_cli_devices *list,
                                  const tri_cli_evidence_options *options) {
    triage_status status = TRIAGE_OK;
    json_t *document = options->json ? tri_cli_json_new("problem") : NULL, *devices = json_array();
    if (!options->json)
        TRI_TRY(print_problem(problem, options->width));
    for (size_t i = 0; i < list->count; i++) {
        json_t *object = options->json
                             ? json_pack("{s:s, s:s}", "device", list->keys[i], "device_name", list->names[i])
                             : NULL;
        json_array_append_new(devices, object);
        if (!options->json)
            TRI_TRY(print_device(list->names[i], list->keys[i], options->width));
        TRI_TRY(show_device(store, problem, list->keys[i], object, options));
    }
    if (options->json) {
        json_object_set_new(document, "problem", json_string(problem));
        json_object_set(document, "devices", devices);
        TRI_TRY(tri_cli_json_print(json_incref(document)));
    }
done:
    json_decref(devices);
    json_decref(document);
    return status;
}

static triage_status show_one(tri_store *store, const char *what, const tri_cli_evidence_options *options,
                              bool *found) {
    triage_status status = TRIAGE_OK;
    device_search search = {.options = options};
    tri_measurement row = {0};
    if (strspn(what, "0123456789abcdef") == strlen(what)) {
        status = tri_store_find(&row, store, what);
        if (status == TRIAGE_E_NOT_FOUND)
            return TRIAGE_OK;
        TRI_TRY(status);
        *found = true;
        TRI_TRY(show_measurement(&row, options));
        goto done;
    }
    TRI_TRY(tri_store_evidence(store, what, NULL, note_device, &search));
    if (search.found.count == 0)
        goto done;
    *found = true;
    TRI_TRY(show_devices(store, what, &search.found, options));
done:
    tri_measurement_clear(&row);
    tri_cli_devices_free(&search.found);
    return status;
}

/* The keys of problems, each once: no device of theirs is asked for. */
typedef struct key_search {
    const tri_cli_evidence_options *options;
    tri_cli_devices found; /* keys alone */
} key_search;

/* A tri_row_fn. */
static triage_status note_problem(void *user, const tri_measurement *row) {
    key_search *search = user;
    return is_wanted(search->options, row) ? tri_cli_devices_add(&search->found, row->problem, "")
                                           : TRIAGE_OK;
}

static triage_status show_all(tri_store *store, const tri_cli_evidence_options *options, bool *found) {
    key_search search = {.options = options};
    triage_status status = TRIAGE_OK;
    TRI_TRY(
        tri_store_winners(store, NULL, options->filter.op ? options->filter.op : "", note_problem, &search));
    if (options->json && search.found.count > 1)
        TRI_TRY(tri_cli_usage(
            "%zu problems are such: --json shows one, \"%s\" or another that list --json prints",
            search.found.count, search.found.keys[0]));
    for (size_t i = 0; i < search.found.count; i++) {
        if (*found)
            printf("\n");
        TRI_TRY(show_one(store, search.found.keys[i], options, found));
    }
done:
    tri_cli_devices_free(&search.found);
    return status;
}

triage_status tri_cli_show(const tri_cli_stores *stores, const char *what,
                           const tri_cli_evidence_options *options) {
    triage_status status = TRIAGE_OK;
    bool found = false;
    for (size_t i = 0; i < stores->count; i++)
        TRI_TRY(what ? show_one(stores->items[i], what, options, &found)
                     : show_all(stores->items[i], options, &found));
    if (!found && !what)
        status = tri_fail(TRIAGE_E_DATA, "nothing is known of such a problem%s",
                          options->device ? " on such a device" : "");
    else if (!found && strspn(what, "0123456789abcdef") == strlen(what))
        status = tri_fail(TRIAGE_E_DATA, "%.40s: no measurement has that id", what);
    else if (!found)
        status = tri_fail(TRIAGE_E_DATA, "\"%.300s\": nothing is known of that problem%s", what,
                          options->device ? " on such a device" : "; list prints those that are known");
done:
    return status;
}
