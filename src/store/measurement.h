/* A measurement as a list of fields: one table drives its identity, its checks, its JSON and its SQL. */
#ifndef TRIAGE_STORE_MEASUREMENT_H
#define TRIAGE_STORE_MEASUREMENT_H

#include "store/store.h"

typedef enum tri_field_kind {
    TRI_FIELD_TEXT,
    TRI_FIELD_INTEGER,
    TRI_FIELD_REAL,
    TRI_FIELD_BOOL,
    TRI_FIELD_OUTCOME
} tri_field_kind;

typedef struct tri_field {
    const char *name; /* in SQL and JSON */
    tri_field_kind kind;
    size_t offset;     /* into tri_measurement */
    int64_t low, high; /* allowed values; of text: bytes */
} tri_field;

#define TRI_FIELD_COUNT 26
/* Everything but the id, in the order in which it is hashed, written and selected. */
extern const tri_field tri_fields[TRI_FIELD_COUNT];

static inline char **tri_field_text(const tri_measurement *row, const tri_field *field) {
    return (char **)((char *)(uintptr_t)row + field->offset);
}
static inline int64_t *tri_field_integer(const tri_measurement *row, const tri_field *field) {
    return (int64_t *)((char *)(uintptr_t)row + field->offset);
}
static inline double *tri_field_real(const tri_measurement *row, const tri_field *field) {
    return (double *)((char *)(uintptr_t)row + field->offset);
}
static inline bool *tri_field_bool(const tri_measurement *row, const tri_field *field) {
    return (bool *)((char *)(uintptr_t)row + field->offset);
}
static inline tri_outcome *tri_field_outcome(const tri_measurement *row, const tri_field *field) {
    return (tri_outcome *)((char *)(uintptr_t)row + field->offset);
}

/* Every range, the form of every text, and what the outcome demands of the rest: no time without a right
 * result, no failure without a reason. TRIAGE_E_DATA names the field and its value. */
triage_status tri_measurement_check(const tri_measurement *row);

/* The id that the content has. The row must have passed tri_measurement_check. */
void tri_measurement_id(char out[TRI_HASH_SIZE], const tri_measurement *row);

/* Checks the row and that its id is the one of its content. */
triage_status tri_measurement_check_foreign(const tri_measurement *row);
/* A row from elsewhere cannot be of tomorrow. */
triage_status tri_measurement_check_date(const tri_measurement *row);

/* Makes a row that was measured here fit to be stored: texts that come from compilers and drivers (name,
 * reason, circumstances) lose what is not one line of UTF-8, an error without a number becomes the
 * largest that can be stored, and a time whose result was not right is dropped. */
void tri_measurement_clean(tri_measurement *row);

triage_status tri_measurement_copy(tri_measurement *out, const tri_measurement *row);

#endif
