/* Shipped evidence: the lines of the .jsonl files in db/pretuned that speak of this device, in a store in memory.
 * Every line goes through the checks of an import, although it is ours; whether its configuration is legal, and
 * renders to what was measured, is what a lookup looks at anyway. */
#include <stdlib.h>
#include <string.h>

#include "evidence/admission.h"
#include "evidence/pretuned.h"

#define PREFIX "db/pretuned/"
#define SUFFIX ".jsonl"

static bool is_evidence(const char *name) {
    size_t length = strlen(name);
    return strncmp(name, PREFIX, strlen(PREFIX)) == 0 && length > strlen(SUFFIX) &&
           strcmp(name + length - strlen(SUFFIX), SUFFIX) == 0;
}

typedef struct reading {
    tri_store *store; /* NULL before the first row */
    const char *device, *data_dir;
    const char *problem; /* NULL: of every one */
    const tri_log *log;
} reading;

/* The row may be at fault, or this machine: only the first is left out. */
static bool is_of_the_row(triage_status status) {
    return status == TRIAGE_E_DATA || status == TRIAGE_E_INVALID;
}

static triage_status add_row(reading *r, tri_measurement *row) {
    triage_status status = TRIAGE_OK;
    if (strcmp(row->device, r->device) != 0 || (r->problem && strcmp(row->problem, r->problem) != 0))
        return TRIAGE_OK;
    TRI_TRY(tri_admission_check_claims(row));
    if (!r->store)
        TRI_TRY(tri_store_open_memory(&r->store));
    TRI_TRY(tri_store_add(r->store, row));
done:
    return status;
}

/* Parsing a line costs far more than looking for keys in it. */
static triage_status add_line(reading *r, const char *line, const char *name, int number) {
    tri_measurement row = {0};
    if (!strstr(line, r->device) || (r->problem && !strstr(line, r->problem)))
        return TRIAGE_OK;
    triage_status status = tri_measurement_from_json(&row, line);
    if (status == TRIAGE_OK)
        status = add_row(r, &row);
    if (is_of_the_row(status)) {
        tri_log_line(r->log, TRIAGE_LOG_WARNING, "%s: line %d%s%.32s refused: %s", name, number,
                     row.id[0] ? ", measurement " : "", row.id, triage_last_error());
        status = TRIAGE_OK;
    }
    tri_measurement_clear(&row);
    return status;
}

static triage_status read_lines(char **out, const char *data_dir, const char *name) {
    triage_status status = tri_resource_read(out, NULL, data_dir, name);
    return status == TRIAGE_E_NOT_FOUND ? tri_resource_read(out, NULL, NULL, name) : status;
}

static triage_status add_file(reading *r, const char *name) {
    char *text = NULL, *rest = NULL;
    int number = 0;
    triage_status status = TRIAGE_OK;
    TRI_TRY(read_lines(&text, r->data_dir, name));
    for (char *line = text; line; line = rest) {
        rest = strchr(line, '\n');
        if (rest)
            *rest++ = '\0';
        TRI_TRY(add_line(r, line, name, ++number));
    }
done:
    free(text);
    return status;
}

/* Fills r->device and r->store, which are empty, and hands the store over. */
static triage_status read_all(tri_store **out, reading *r, const tri_device_info *info) {
    triage_status status = TRIAGE_OK;
    char *device = NULL;
    TRI_TRY(tri_device_key(&device, info));
    r->device = device;
    for (size_t i = 0; tri_resource_name(i); i++)
        if (is_evidence(tri_resource_name(i)))
            TRI_TRY(add_file(r, tri_resource_name(i)));
    *out = r->store;
    r->store = NULL;
done:
    tri_store_close(r->store);
    free(device);
    return status;
}

triage_status tri_pretuned_open(tri_store **out, const tri_device_info *info, const char *data_dir,
                                const tri_log *log) {
    return read_all(out, &(reading){.data_dir = data_dir, .log = log}, info);
}

triage_status tri_pretuned_open_problem(tri_store **out, const tri_device_info *info, const char *problem,
                                        const char *data_dir) {
    return read_all(out, &(reading){.data_dir = data_dir, .problem = problem}, info);
}

/* The lines of a device follow one another, so nearly all need not be parsed. */
static triage_status tell_devices(char *text, tri_device_fn fn, void *user) {
    char *rest = NULL, *last = NULL;
    triage_status status = TRIAGE_OK;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        tri_measurement row = {0};
        if ((last && strstr(line, last)) || tri_measurement_from_json(&row, line) != TRIAGE_OK)
            continue;
        status = fn(user, row.device, row.device_name);
        free(last);
        last = row.device;
        row.device = NULL;
        tri_measurement_clear(&row);
        if (status != TRIAGE_OK)
            break;
    }
    free(last);
    return status;
}

triage_status tri_pretuned_devices(const char *data_dir, tri_device_fn fn, void *user) {
    triage_status status = TRIAGE_OK;
    char *text = NULL;
    for (size_t i = 0; tri_resource_name(i); i++) {
        if (!is_evidence(tri_resource_name(i)))
            continue;
        TRI_TRY(read_lines(&text, data_dir, tri_resource_name(i)));
        TRI_TRY(tell_devices(text, fn, user));
        free(text);
        text = NULL;
    }
done:
    free(text);
    return status;
}
