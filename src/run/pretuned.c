/* Shipped evidence: the lines of the .jsonl files in db/pretuned that speak of this device, in a store in memory. Every line
 * goes through the checks of an import, although it is ours: a bad one is an error, not a lookup gone astray. */
#include <stdlib.h>
#include <string.h>

#include "run/pretuned.h"

#define PREFIX "db/pretuned/"
#define SUFFIX ".jsonl"

static bool is_evidence(const char *name) {
    size_t length = strlen(name);
    return strncmp(name, PREFIX, strlen(PREFIX)) == 0 && length > strlen(SUFFIX) &&
           strcmp(name + length - strlen(SUFFIX), SUFFIX) == 0;
}

/* Parsing a line costs far more than looking for the device's key in it. */
static triage_status add_line(tri_store **store, const char *line, const char *device) {
    tri_measurement row = {0};
    triage_status status = TRIAGE_OK;
    if (!strstr(line, device))
        return TRIAGE_OK;
    TRI_TRY(tri_measurement_from_json(&row, line));
    if (strcmp(row.device, device) != 0)
        goto done;
    if (!*store)
        TRI_TRY(tri_store_open_memory(store));
    TRI_TRY(tri_store_add(*store, &row));
done:
    tri_measurement_clear(&row);
    return status;
}

static triage_status add_file(tri_store **store, const char *name, const char *device, const char *data_dir) {
    char *text = NULL, *rest = NULL;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_resource_read(&text, NULL, data_dir, name));
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        TRI_TRY(add_line(store, line, device));
done:
    free(text);
    return status;
}

triage_status tri_pretuned_open(tri_store **out, const tri_device_info *info, const char *data_dir) {
    triage_status status = TRIAGE_OK;
    char *device = NULL;
    tri_store *store = NULL;
    TRI_TRY(tri_device_key(&device, info));
    for (size_t i = 0; tri_resource_name(i); i++)
        if (is_evidence(tri_resource_name(i)))
            TRI_TRY(add_file(&store, tri_resource_name(i), device, data_dir));
    *out = store;
    store = NULL;
done:
    tri_store_close(store);
    free(device);
    return status;
}

triage_status tri_pretuned_of(tri_store **out, triage_context *context) {
    triage_status status = TRIAGE_OK;
    if (!context->asked_pretuned)
        TRI_TRY(
            tri_pretuned_open(&context->pretuned, tri_device_describe(context->device), context->data_dir));
    context->asked_pretuned = true;
    *out = context->pretuned;
done:
    return status;
}
