#include "store/measurement.h"

#include <jansson.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- outcomes ---- */

static const char *const outcome_names[] = {"right", "slow",    "not_compiled", "spilled",      "too_large",
                                            "wrong", "crashed", "timed_out",    "launch_failed"};
enum { OUTCOMES = sizeof outcome_names / sizeof outcome_names[0] };

const char *tri_outcome_name(tri_outcome outcome) {
    return (size_t)outcome < OUTCOMES ? outcome_names[outcome] : "unknown";
}

triage_status tri_outcome_parse(tri_outcome *out, const char *name) {
    for (size_t i = 0; i < OUTCOMES; i++) {
        if (strcmp(name, outcome_names[i]) == 0) {
            *out = (tri_outcome)i;
            return TRIAGE_OK;
        }
    }
    return tri_fail(TRIAGE_E_DATA,
                    "outcome: \"%.40s\" is none of right, slow, not_compiled, ..., launch_failed", name);
}

static bool is_timed(tri_outcome outcome) {
    return outcome == TRI_RIGHT || outcome == TRI_SLOW;
}

/* ---- fields ---- */

#define MAX_NS 1000000000000000       /* eleven days */
#define MAX_BYTES ((int64_t)1 << 40)  /* of registers, spills or shared memory */
#define MAX_UNIX_MS 253402300799999   /* the end of the year 9999 */
#define MAX_ERROR 1000000000000000000 /* of a result full of NaN */
#define TEXT(name, low, high)                                                                                \
    { #name, TRI_FIELD_TEXT, offsetof(tri_measurement, name), low, high }
#define INTEGER(name, low, high)                                                                             \
    { #name, TRI_FIELD_INTEGER, offsetof(tri_measurement, name), low, high }
#define REAL(name, high)                                                                                     \
    { #name, TRI_FIELD_REAL, offsetof(tri_measurement, name), 0, high }

const tri_field tri_fields[TRI_FIELD_COUNT] = {
    TEXT(problem, 1, 512),
    TEXT(device, 1, 512),
    TEXT(device_name, 0, 128),
    TEXT(kernel, 1, 64),
    TEXT(config, 1, 512),
    TEXT(source_hash, TRI_HASH_SIZE - 1, TRI_HASH_SIZE - 1),
    TEXT(compiler, 0, 128),
    TEXT(stage, 1, 16),
    {"outcome", TRI_FIELD_OUTCOME, offsetof(tri_measurement, outcome), 0, OUTCOMES - 1},
    TEXT(reason, 0, 1024),
    REAL(median_ns, MAX_NS),
    REAL(low_ns, MAX_NS),
    REAL(high_ns, MAX_NS),
    REAL(min_ns, MAX_NS),
    INTEGER(samples, 0, 1000000000),
    {"cold_l2", TRI_FIELD_BOOL, offsetof(tri_measurement, cold_l2), 0, 1},
    REAL(row_error, MAX_ERROR),
    REAL(row_error_limit, MAX_ERROR),
    INTEGER(registers, -1, MAX_BYTES),
    INTEGER(spill_bytes, -1, MAX_BYTES),
    INTEGER(smem_bytes, -1, MAX_BYTES),
    INTEGER(seed, INT64_MIN, INT64_MAX),
    INTEGER(measured_at_ms, 0, MAX_UNIX_MS),
    TEXT(host, 0, 64),
    TEXT(version, 1, 32),
    TEXT(circumstances, 2, 16384),
};

void tri_measurement_clear(tri_measurement *measurement) {
    for (size_t i = 0; i < TRI_FIELD_COUNT; i++)
        if (tri_fields[i].kind == TRI_FIELD_TEXT)
            free(*tri_field_text(measurement, &tri_fields[i]));
    *measurement = (tri_measurement){0};
}

triage_status tri_measurement_copy(tri_measurement *out, const tri_measurement *row) {
    triage_status status = TRIAGE_OK;
    tri_measurement copy = *row;
    for (size_t i = 0; i < TRI_FIELD_COUNT; i++)
        if (tri_fields[i].kind == TRI_FIELD_TEXT)
            *tri_field_text(&copy, &tri_fields[i]) = NULL;
    for (size_t i = 0; i < TRI_FIELD_COUNT; i++)
        if (tri_fields[i].kind == TRI_FIELD_TEXT)
            TRI_TRY(tri_strdup(tri_field_text(&copy, &tri_fields[i]), *tri_field_text(row, &tri_fields[i])));
    *out = copy;
    copy = (tri_measurement){0};
done:
    tri_measurement_clear(&copy);
    return status;
}

bool tri_circumstances_are_busy(const char *circumstances) {
    static const char name[] = "processes\":"; /* "mps_processes", too */
    for (const char *at = circumstances; (at = strstr(at, name));) {
        at += sizeof name - 1;
        if (*at >= '1' && *at <= '9' && strtol(at, NULL, 10) > 1)
            return true;
    }
    return false;
}

bool tri_measurement_ties(const tri_measurement *best, const tri_measurement *row) {
    return row->outcome == TRI_RIGHT && row->low_ns <= best->high_ns && best->low_ns <= row->high_ns;
}

/* ---- checks ---- */

static bool is_line(const char *text, size_t size) {
    bool ascii = true;
    for (size_t i = 0; i < size; i++) {
        if (tri_control_size(text + i) > 0)
            return false;
        ascii = ascii && (unsigned char)text[i] < 0x80;
    }
    if (ascii)
        return true;
    json_t *string = json_stringn(text, size); /* NULL unless valid UTF-8 */
    json_decref(string);
    return string != NULL;
}

static triage_status check_text(const tri_field *field, const char *text) {
    if (!text)
        return tri_fail(TRIAGE_E_DATA, "%s: missing", field->name);
    size_t size = strnlen(text, (size_t)field->high + 1);
    if ((int64_t)size < field->low || (int64_t)size > field->high)
        return tri_fail(TRIAGE_E_DATA, "%s: %s%zu bytes, allowed are %lld .. %lld", field->name,
                        (int64_t)size > field->high ? "at least " : "", size, (long long)field->low,
                        (long long)field->high);
    if (!is_line(text, size))
        return tri_fail(TRIAGE_E_DATA, "%s: not one line of UTF-8 without control characters", field->name);
    return TRIAGE_OK;
}

static triage_status check_field(const tri_measurement *row, const tri_field *field) {
    switch (field->kind) {
    case TRI_FIELD_TEXT:
        return check_text(field, *tri_field_text(row, field));
    case TRI_FIELD_INTEGER: {
        int64_t value = *tri_field_integer(row, field);
        if (value < field->low || value > field->high)
            return tri_fail(TRIAGE_E_DATA, "%s: %lld is not in %lld .. %lld", field->name, (long long)value,
                            (long long)field->low, (long long)field->high);
        return TRIAGE_OK;
    }
    case TRI_FIELD_REAL: {
        /* -0 equals 0 but prints, and so hashes, as another number. */
        double value = *tri_field_real(row, field);
        if (!isfinite(value) || signbit(value) || value > (double)field->high)
            return tri_fail(TRIAGE_E_DATA, "%s: %g is not a finite number in 0 .. %g", field->name, value,
                            (double)field->high);
        return TRIAGE_OK;
    }
    case TRI_FIELD_BOOL:
        return TRIAGE_OK;
    case TRI_FIELD_OUTCOME:
        if ((size_t)*tri_field_outcome(row, field) >= OUTCOMES)
            return tri_fail(TRIAGE_E_DATA, "outcome: %d is not in 0 .. %d",
                            (int)*tri_field_outcome(row, field), OUTCOMES - 1);
    }
    return TRIAGE_OK;
}

static triage_status check_hash(const char *name, const char *hash) {
    if (strlen(hash) != TRI_HASH_SIZE - 1 || strspn(hash, "0123456789abcdef") != TRI_HASH_SIZE - 1)
        return tri_fail(TRIAGE_E_DATA, "%s: \"%.40s\" is not %d lower-case hex digits", name, hash,
                        TRI_HASH_SIZE - 1);
    return TRIAGE_OK;
}

static triage_status check_circumstances(const char *text) {
    json_error_t error;
    json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    bool object = json_is_object(json);
    json_decref(json);
    if (!json)
        return tri_fail(TRIAGE_E_DATA, "circumstances: not JSON: %s", error.text);
    return object ? TRIAGE_OK : tri_fail(TRIAGE_E_DATA, "circumstances: not a JSON object");
}

static triage_status check_times(const tri_measurement *row) {
    const char *outcome = tri_outcome_name(row->outcome);
    if (!is_timed(row->outcome)) {
        if (row->median_ns != 0 || row->low_ns != 0 || row->high_ns != 0 || row->min_ns != 0 ||
            row->samples != 0)
            return tri_fail(TRIAGE_E_DATA,
                            "median_ns: a time of %g ns with outcome %s, only right and slow have one",
                            row->median_ns, outcome);
        return TRIAGE_OK;
    }
    if (!(row->min_ns > 0) || row->samples < 1)
        return tri_fail(TRIAGE_E_DATA,
                        "min_ns: outcome %s needs a time above 0 and a sample, not %g ns in %lld", outcome,
                        row->min_ns, (long long)row->samples);
    if (!(row->min_ns <= row->median_ns && row->low_ns <= row->median_ns && row->median_ns <= row->high_ns))
        return tri_fail(TRIAGE_E_DATA, "median_ns: %g is not within min %g, low %g and high %g",
                        row->median_ns, row->min_ns, row->low_ns, row->high_ns);
    if (row->row_error > row->row_error_limit)
        return tri_fail(TRIAGE_E_DATA, "row_error: %g is above its limit %g, but the outcome is %s",
                        row->row_error, row->row_error_limit, outcome);
    return TRIAGE_OK;
}

triage_status tri_measurement_check(const tri_measurement *row) {
    triage_status status = TRIAGE_OK;
    for (size_t i = 0; i < TRI_FIELD_COUNT; i++)
        TRI_TRY(check_field(row, &tri_fields[i]));
    TRI_TRY(check_hash("source_hash", row->source_hash));
    TRI_TRY(check_circumstances(row->circumstances));
    if (strcmp(row->stage, "search") != 0 && strcmp(row->stage, "race") != 0)
        TRI_TRY(tri_fail(TRIAGE_E_DATA, "stage: \"%s\" is neither search nor race", row->stage));
    if (row->outcome == TRI_RIGHT && row->reason[0])
        TRI_TRY(tri_fail(TRIAGE_E_DATA, "reason: \"%.80s\" given, but the outcome is right", row->reason));
    if (!is_timed(row->outcome) && !row->reason[0])
        TRI_TRY(tri_fail(TRIAGE_E_DATA, "reason: none given, but the outcome is %s",
                         tri_outcome_name(row->outcome)));
    TRI_TRY(check_times(row));
done:
    return status;
}

/* A day for clocks that differ. A clock that says it is before this was written is wrong, and judges nobody. */
triage_status tri_measurement_check_date(const tri_measurement *row) {
    const int64_t written = INT64_C(1796083200000), day = 86400000, now = tri_wall_time_ms();
    const int64_t most = (now > written ? now : written) + day;
    if (row->measured_at_ms < most)
        return TRIAGE_OK;
    return tri_fail(TRIAGE_E_DATA, "measured_at_ms: %lld is in the future; allowed are times before %lld",
                    (long long)row->measured_at_ms, (long long)most);
}

triage_status tri_measurement_check_foreign(const tri_measurement *row) {
    triage_status status = TRIAGE_OK;
    char id[TRI_HASH_SIZE];
    TRI_TRY(check_hash("id", row->id));
    TRI_TRY(tri_measurement_check(row));
    tri_measurement_id(id, row);
    if (strcmp(id, row->id) != 0)
        status = tri_fail(TRIAGE_E_DATA, "id: %s was changed, its content has the id %s", row->id, id);
done:
    return status;
}

/* ---- identity ---- */

enum { NUMBER_SIZE = 32 };

/* 17 significant digits give every double back; the caller has set the C locale. */
static tri_piece field_piece(char number[NUMBER_SIZE], const tri_measurement *row, const tri_field *field) {
    const char *text = number;
    switch (field->kind) {
    case TRI_FIELD_TEXT:
        text = *tri_field_text(row, field);
        break;
    case TRI_FIELD_INTEGER:
        snprintf(number, NUMBER_SIZE, "%lld", (long long)*tri_field_integer(row, field));
        break;
    case TRI_FIELD_REAL:
        snprintf(number, NUMBER_SIZE, "%.17g", *tri_field_real(row, field));
        break;
    case TRI_FIELD_BOOL:
        text = *tri_field_bool(row, field) ? "true" : "false";
        break;
    case TRI_FIELD_OUTCOME:
        text = tri_outcome_name(*tri_field_outcome(row, field));
    }
    return (tri_piece){text, strlen(text)};
}

void tri_measurement_id(char out[TRI_HASH_SIZE], const tri_measurement *row) {
    static const char domain[] = "triage measurement 1";
    char numbers[TRI_FIELD_COUNT][NUMBER_SIZE];
    tri_piece pieces[TRI_FIELD_COUNT + 1] = {{domain, sizeof domain - 1}};
    /* The application's locale may write 1,5 for 1.5. glibc's C locale is static: this cannot fail. */
    locale_t before = uselocale(newlocale(LC_ALL_MASK, "C", NULL));
    for (size_t i = 0; i < TRI_FIELD_COUNT; i++)
        pieces[i + 1] = field_piece(numbers[i], row, &tri_fields[i]);
    uselocale(before);
    tri_hash_pieces(out, pieces, TRI_FIELD_COUNT + 1);
}

/* ---- cleaning ---- */

static void clean_line(char *text, size_t limit) {
    if (!text)
        return;
    size_t size = strnlen(text, limit);
    while (size > 0 && ((unsigned char)text[size] & 0xC0) == 0x80)
        size--;     /* cut before a character, not within it */
    if (text[size]) /* what is fit already is not written to: it may be a literal */
        text[size] = '\0';
    for (size_t i = 0; i < size; i++)
        if (tri_control_size(text + i) == 1)
            text[i] = ' ';
    if (is_line(text, size))
        return;
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)text[i] >= 0x80)
            text[i] = '?';
}

void tri_measurement_clean(tri_measurement *row) {
    clean_line(row->device_name, 128);
    clean_line(row->reason, 1024);
    clean_line(row->circumstances, 16384);
    if (!(row->row_error >= 0 && row->row_error < MAX_ERROR)) /* NaN, infinity: as wrong as can be */
        row->row_error = MAX_ERROR;
    if (!(row->row_error_limit >= 0 &&
          row->row_error_limit < MAX_ERROR)) /* no yardstick: nothing is allowed */
        row->row_error_limit = 0;
    if (!is_timed(row->outcome)) {
        row->median_ns = row->low_ns = row->high_ns = row->min_ns = 0;
        row->samples = 0;
    }
}
