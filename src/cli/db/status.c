/* triage_db status: how much a database knows, how far a server's jobs are, what has drifted, and what was timed beside other
 * programs. */
#include <inttypes.h>
#include <string.h>

#include "cli/common/common.h"
#include "cli/common/fleet.h"

/* ---- what changed between two rows ---- */

/* Readings that are never twice the same say nothing about why a time changed. */
static bool is_reading(const char *name) {
    return strcmp(name, "power_mw") == 0 || strcmp(name, "temperature_c") == 0;
}

static triage_status add_change(json_t *changes, const char *name, json_t *from, json_t *to) {
    json_t *change = json_pack("{s:s, s:O?, s:O?}", "name", name, "from", from, "to", to);
    return json_array_append_new(changes, change) == 0
               ? TRIAGE_OK
               : tri_fail(TRIAGE_E_MEMORY, "out of memory for what has changed");
}

/* The names of one object, those of the other that it lacks left to the second call. */
static triage_status compare(json_t *changes, json_t *older, json_t *newer, bool only_missing) {
    triage_status status = TRIAGE_OK;
    const char *name;
    json_t *value;
    json_object_foreach(only_missing ? newer : older, name, value) {
        json_t *other = json_object_get(only_missing ? older : newer, name);
        if (is_reading(name) || (only_missing && other) || (other && json_equal(value, other)))
            continue;
        TRI_TRY(add_change(changes, name, only_missing ? NULL : value, only_missing ? value : other));
    }
done:
    return status;
}

static triage_status compare_texts(json_t *changes, const char *name, const char *older, const char *newer) {
    if (strcmp(older, newer) == 0)
        return TRIAGE_OK;
    json_t *from = json_string(older), *to = json_string(newer);
    triage_status status = add_change(changes, name, from, to);
    json_decref(from);
    json_decref(to);
    return status;
}

/* "compiler" is in the circumstances of newer rows, too: it is told once. */
static triage_status changes_between(json_t *changes, const tri_measurement *older,
                                     const tri_measurement *newer) {
    triage_status status = TRIAGE_OK;
    json_t *before = json_loads(older->circumstances, 0, NULL),
           *after = json_loads(newer->circumstances, 0, NULL);
    json_object_del(before, "compiler");
    json_object_del(after, "compiler");
    TRI_TRY(compare(changes, before, after, false));
    TRI_TRY(compare(changes, before, after, true));
    TRI_TRY(compare_texts(changes, "compiler", older->compiler, newer->compiler));
    TRI_TRY(compare_texts(changes, "host", older->host, newer->host));
    TRI_TRY(compare_texts(changes, "stage", older->stage, newer->stage));
    TRI_TRY(compare_texts(changes, "triage", older->version, newer->version));
done:
    json_decref(before);
    json_decref(after);
    return status;
}

/* ---- drift as JSON: what is printed for people is read from it ---- */

static json_t *row_json(const tri_measurement *row) {
    return json_pack("{s:s, s:s, s:f, s:I}", "id", row->id, "config", row->config, "median_ns",
                     row->median_ns, "measured_at_ms", (json_int_t)row->measured_at_ms);
}

/* A tri_drift_fn. measured_since: the winner was measured no earlier than what drifted, so the two compare. */
static triage_status add_drift(void *user, const tri_drift *drift) {
    json_t *list = user, *changes = json_array();
    const tri_measurement *older = drift->older, *newer = drift->newer, *winner = drift->winner;
    triage_status status = TRIAGE_OK;
    TRI_TRY(changes_between(changes, older, newer));
    json_t *entry =
        json_pack("{s:s, s:s, s:s, s:o, s:o, s:b, s:o?, s:b, s:O}", "problem", newer->problem, "device",
                  newer->device, "device_name", newer->device_name, "older", row_json(older), "newer",
                  row_json(newer), "demoted", (int)(!winner || strcmp(winner->id, newer->id) != 0), "winner",
                  winner ? row_json(winner) : NULL, "measured_since",
                  (int)(winner && winner->measured_at_ms >= newer->measured_at_ms), "changed", changes);
    if (json_array_append_new(list, entry) != 0)
        status = tri_fail(TRIAGE_E_MEMORY, "out of memory for what has drifted");
done:
    json_decref(changes);
    return status;
}

static const char *text_of(json_t *object, const char *name) {
    return json_string_value(json_object_get(object, name));
}

static double median_of(json_t *row) {
    return json_real_value(json_object_get(row, "median_ns"));
}

static void print_value(json_t *value) {
    char *text = value ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    printf("%s", text ? text : "unknown");
    free(text);
}

static void print_changes(json_t *changes) {
    size_t i;
    json_t *change;
    printf("  changed since: %s", json_array_size(changes) ? "" : "nothing that is recorded");
    json_array_foreach(changes, i, change) {
        printf("%s%s ", i ? ", " : "", text_of(change, "name"));
        print_value(json_object_get(change, "from"));
        printf(" -> ");
        print_value(json_object_get(change, "to"));
    }
    printf("\n");
}

static void print_drift(json_t *entry) {
    json_t *older = json_object_get(entry, "older"), *newer = json_object_get(entry, "newer"),
           *winner = json_object_get(entry, "winner");
    char was[TRI_CLI_NUMBER], now[TRI_CLI_NUMBER], time[TRI_CLI_NUMBER], when[TRI_CLI_NUMBER];
    printf("drifted: %s on %s\n", text_of(entry, "problem"), text_of(entry, "device_name"));
    printf("  %s: %s -> %s (%+.1f %%) on %s\n", text_of(newer, "config"), tri_cli_time(was, median_of(older)),
           tri_cli_time(now, median_of(newer)), (median_of(newer) / median_of(older) - 1) * 100,
           tri_cli_when(when, json_integer_value(json_object_get(newer, "measured_at_ms"))));
    print_changes(json_object_get(entry, "changed"));
    if (!json_is_true(json_object_get(entry, "demoted")))
        printf("  it is still the fastest known\n");
    else if (!json_is_object(winner))
        printf("  nothing else is known\n");
    else
        printf("  demoted; now first: %s, %s%s\n", text_of(winner, "config"),
               tri_cli_time(time, median_of(winner)),
               json_is_true(json_object_get(entry, "measured_since"))
                   ? ""
                   : ", measured before that change: triage_tune measures both again");
}

/* ---- winners that were timed beside other programs ---- */

/* A tri_row_fn. */
static triage_status add_busy(void *user, const tri_measurement *row) {
    json_t *entry = json_pack("{s:s, s:s, s:s, s:o}", "problem", row->problem, "device", row->device,
                              "device_name", row->device_name, "winner", row_json(row));
    return json_array_append_new(user, entry) == 0
               ? TRIAGE_OK
               : tri_fail(TRIAGE_E_MEMORY, "out of memory for what was timed on a busy device");
}

static void print_busy(json_t *entry) {
    json_t *winner = json_object_get(entry, "winner");
    char time[TRI_CLI_NUMBER];
    printf("busy: %s on %s\n", text_of(entry, "problem"), text_of(entry, "device_name"));
    printf("  %s, %s, timed while other programs were on the device: triage_tune takes it again when it is "
           "quiet\n",
           text_of(winner, "config"), tri_cli_time(time, median_of(winner)));
}

/* ---- the command ---- */

typedef struct report {
    tri_fleet_counts counts;
    json_t *drifted, *busy;
    int64_t unknown; /* standings that were not looked at; -1: all */
} report;

static triage_status print_json(tri_store *store, const report *r) {
    triage_status status = TRIAGE_OK;
    json_t *document = tri_cli_json_new("status");
    json_object_set_new(document, tri_store_is_server(store) ? "server" : "file",
                        json_string(tri_store_name(store)));
    json_object_set_new(document, "measurements", json_integer(r->counts.measurements));
    json_object_set_new(document, "problems", json_integer(r->counts.problems));
    json_object_set_new(document, "devices", json_integer(r->counts.devices));
    json_object_set_new(document, "bytes", json_integer(r->counts.bytes));
    if (tri_store_is_server(store))
        TRI_TRY(tri_cli_jobs_status_json(document, store, &r->counts));
    json_object_set(document, "drifted", r->drifted);
    json_object_set(document, "busy", r->busy);
    json_object_set_new(document, "not_ranked", r->unknown < 0 ? json_null() : json_integer(r->unknown));
    return tri_cli_json_print(document);
done:
    json_decref(document);
    return status;
}

static triage_status print_text(tri_store *store, const report *r, bool color) {
    triage_status status = TRIAGE_OK;
    const tri_fleet_counts *c = &r->counts;
    char size[TRI_CLI_NUMBER];
    size_t i;
    json_t *entry;
    printf("%s: %" PRId64 " measurements of %" PRId64 " problems on %" PRId64 " devices, %s\n",
           tri_store_name(store), c->measurements, c->problems, c->devices, tri_cli_bytes(size, c->bytes));
    if (tri_store_is_server(store))
        TRI_TRY(tri_cli_jobs_status(store, c, color));
    json_array_foreach(r->drifted, i, entry) print_drift(entry);
    json_array_foreach(r->busy, i, entry) print_busy(entry);
    if (r->unknown > 0)
        printf("%" PRId64 " problems were not looked at for drift: the next sync ranks them\n", r->unknown);
    if (r->unknown < 0)
        printf("drift is not looked for: the server's schema is older (triage_db setup)\n");
done:
    return status;
}

static triage_status open_status(tri_store **out, const tri_cli_fleet_options *o) {
    char *path = NULL;
    triage_status status = TRIAGE_OK;
    *out = NULL;
    if (o->server || (o->db && tri_store_is_url(o->db)))
        return tri_cli_open_server(out, o, TRI_STORE_READ);
    TRI_TRY(o->db ? tri_strdup(&path, o->db) : tri_cli_default_db(&path));
    TRI_TRY(tri_store_open(out, path, TRI_STORE_READ));
done:
    free(path);
    return status;
}

triage_status tri_cli_status(const tri_cli_fleet_options *o) {
    triage_status status = TRIAGE_OK;
    tri_store *store = NULL;
    report r = {.drifted = json_array(), .busy = json_array()};
    TRI_TRY(open_status(&store, o));
    TRI_TRY(tri_fleet_count(&r.counts, store));
    if (tri_store_is_server(store)) /* whoever may only read sees what others have ranked */
        (void)tri_store_refresh(store, &(tri_refresh_options){.deadline_ns = tri_now_ns() + 2000000000});
    TRI_TRY(tri_store_drifts(&r.unknown, store, add_drift, r.drifted));
    TRI_TRY(tri_store_busy(store, add_busy, r.busy));
    if (o->json)
        TRI_TRY(print_json(store, &r));
    else
        TRI_TRY(print_text(store, &r, o->color));
done:
    json_decref(r.drifted);
    json_decref(r.busy);
    tri_store_close(store);
    return status;
}
