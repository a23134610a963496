/* Measurements as JSON Lines: one flat object a row, its keys in the order of the fields. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "store/measurement.h"

enum { SCHEMA = 1, LINE_LIMIT = 64 * 1024 };

static json_t *field_to_json(const tri_measurement *row, const tri_field *field) {
    switch (field->kind) {
    case TRI_FIELD_TEXT:
        return json_string(*tri_field_text(row, field));
    case TRI_FIELD_INTEGER:
        return json_integer(*tri_field_integer(row, field));
    case TRI_FIELD_REAL:
        return json_real(*tri_field_real(row, field));
    case TRI_FIELD_BOOL:
        return json_boolean(*tri_field_bool(row, field));
    case TRI_FIELD_OUTCOME:
        return json_string(tri_outcome_name(*tri_field_outcome(row, field)));
    }
    return NULL;
}

triage_status tri_measurement_to_json(char **out, const tri_measurement *row) {
    json_t *object = json_pack("{s:i, s:s}", "schema", SCHEMA, "id", row->id);
    bool complete = object != NULL;
    for (size_t i = 0; i < TRI_FIELD_COUNT && complete; i++) /* takes the value, fails on NULL */
        complete = json_object_set_new(object, tri_fields[i].name, field_to_json(row, &tri_fields[i])) == 0;
    *out = complete ? json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    json_decref(object);
    return *out ? TRIAGE_OK : tri_fail(TRIAGE_E_DATA, "measurement %s: cannot be written as JSON", row->id);
}

static triage_status wrong_type(const tri_field *field, const char *wanted) {
    return tri_fail(TRIAGE_E_DATA, "%s: not %s", field->name, wanted);
}

static triage_status field_from_json(tri_measurement *row, const tri_field *field, const json_t *value) {
    switch (field->kind) {
    case TRI_FIELD_TEXT:
        if (!json_is_string(value))
            return wrong_type(field, "a string");
        return tri_strdup(tri_field_text(row, field), json_string_value(value));
    case TRI_FIELD_INTEGER:
        if (!json_is_integer(value))
            return wrong_type(field, "an integer");
        *tri_field_integer(row, field) = json_integer_value(value);
        return TRIAGE_OK;
    case TRI_FIELD_REAL:
        if (!json_is_number(value))
            return wrong_type(field, "a number");
        *tri_field_real(row, field) = json_number_value(value);
        return TRIAGE_OK;
    case TRI_FIELD_BOOL:
        if (!json_is_boolean(value))
            return wrong_type(field, "true or false");
        *tri_field_bool(row, field) = json_is_true(value);
        return TRIAGE_OK;
    case TRI_FIELD_OUTCOME:
        if (!json_is_string(value))
            return wrong_type(field, "a string");
        return tri_outcome_parse(tri_field_outcome(row, field), json_string_value(value));
    }
    return TRIAGE_OK;
}

static bool is_known_key(const char *key) {
    for (size_t i = 0; i < TRI_FIELD_COUNT; i++)
        if (strcmp(key, tri_fields[i].name) == 0)
            return true;
    return strcmp(key, "schema") == 0 || strcmp(key, "id") == 0;
}

static triage_status check_keys(json_t *object) {
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value) {
        if (!is_known_key(key))
            return tri_fail(TRIAGE_E_DATA, "\"%.40s\": unknown key", key);
    }
    const json_t *schema = json_object_get(object, "schema");
    if (!json_is_integer(schema))
        return tri_fail(TRIAGE_E_DATA, "schema: missing or not an integer");
    if (json_integer_value(schema) != SCHEMA)
        return tri_fail(TRIAGE_E_DATA, "schema: %lld, this version reads %d",
                        (long long)json_integer_value(schema), SCHEMA);
    return TRIAGE_OK;
}

static triage_status parse_object(json_t **out, const char *line) {
    json_error_t error;
    size_t size = strnlen(line, LINE_LIMIT + 1);
    if (size > LINE_LIMIT)
        return tri_fail(TRIAGE_E_DATA, "the line is longer than %d bytes", LINE_LIMIT);
    *out = json_loadb(line, size, JSON_REJECT_DUPLICATES, &error);
    if (!*out)
        return tri_fail(TRIAGE_E_DATA, "not JSON: %s (column %d)", error.text, error.column);
    return json_is_object(*out) ? TRIAGE_OK : tri_fail(TRIAGE_E_DATA, "not a JSON object");
}

triage_status tri_measurement_from_json(tri_measurement *out, const char *line) {
    triage_status status = TRIAGE_OK;
    json_t *object = NULL;
    tri_measurement row = {0};
    *out = row;
    TRI_TRY(parse_object(&object, line));
    TRI_TRY(check_keys(object));
    const char *id = json_string_value(json_object_get(object, "id"));
    if (!id || strlen(id) != TRI_HASH_SIZE - 1) {
        status = tri_fail(TRIAGE_E_DATA, "id: missing or not %d hex digits", TRI_HASH_SIZE - 1);
        goto done;
    }
    memcpy(row.id, id, TRI_HASH_SIZE);
    if (strspn(id, "0123456789abcdef") == TRI_HASH_SIZE - 1)
        memcpy(out->id, id, TRI_HASH_SIZE);
    for (size_t i = 0; i < TRI_FIELD_COUNT; i++) {
        const json_t *value = json_object_get(object, tri_fields[i].name);
        if (!value)
            TRI_TRY(tri_fail(TRIAGE_E_DATA, "%s: missing", tri_fields[i].name));
        TRI_TRY(field_from_json(&row, &tri_fields[i], value));
    }
    TRI_TRY(tri_measurement_check_foreign(&row));
    *out = row;
    row = (tri_measurement){0};
done:
    json_decref(object);
    tri_measurement_clear(&row);
    return status;
}
