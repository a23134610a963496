/* SQLite behind backend.h: a query is a sqlite3_stmt. */
#include <string.h>

#include "store/sqlite.h"

static sqlite3_stmt *sql_of(tri_query *query) {
    return (sqlite3_stmt *)query;
}

static triage_status take(tri_query **out, tri_store *store, const char *name) {
    sqlite3_stmt *sql = NULL;
    triage_status status = tri_sql_take(&sql, store, name);
    *out = (tri_query *)sql;
    return status;
}

static void give(tri_store *store, tri_query *query) {
    tri_sql_give(store, sql_of(query));
}

static triage_status bind_text(tri_store *store, tri_query *query, const char *name, const char *text) {
    return tri_sql_bind_text(store, sql_of(query), name, text);
}

static triage_status bind_integer(tri_store *store, tri_query *query, const char *name, int64_t value) {
    return tri_sql_bind_integer(store, sql_of(query), name, value);
}

static triage_status step(bool *row, tri_store *store, tri_query *query) {
    return tri_sql_step(row, store, sql_of(query));
}

static const char *text(tri_query *query, int column) {
    const unsigned char *found = sqlite3_column_text(sql_of(query), column);
    return found ? (const char *)found : "";
}

static int64_t integer(tri_query *query, int column) {
    return sqlite3_column_int64(sql_of(query), column);
}

static double real(tri_query *query, int column) {
    return sqlite3_column_double(sql_of(query), column);
}

static triage_status row(tri_measurement *out, tri_query *query) {
    return tri_sql_row(out, sql_of(query));
}

static triage_status begin(tri_store *store) {
    triage_status status = tri_sql_begin(store);
    if (status == TRIAGE_OK)
        store->added = 0;
    return status;
}

static triage_status put(tri_store *store, const tri_measurement *measurement, const tri_arrival *arrival) {
    bool added = false;
    triage_status status = tri_sql_add(&added, store, measurement, arrival);
    store->added += added;
    return status;
}

static triage_status end(int64_t *added, tri_store *store, triage_status status) {
    const int64_t count = store->added; /* read under the lock that end gives back */
    status = tri_sql_end(store, status);
    *added = status == TRIAGE_OK ? count : 0;
    return status;
}

static triage_status verify(tri_store *store) {
    triage_status status = TRIAGE_OK;
    sqlite3_stmt *sql = NULL;
    bool found;
    TRI_TRY(tri_sql_take(&sql, store, "integrity"));
    TRI_TRY(tri_sql_step(&found, store, sql));
    const char *verdict = found ? (const char *)sqlite3_column_text(sql, 0) : "no answer";
    if (!verdict || strcmp(verdict, "ok") != 0)
        TRI_TRY(tri_fail(TRIAGE_E_DATA, "%s: the database is damaged (%s)", store->path, verdict));
    tri_sql_give(store, sql);
    TRI_TRY(tri_sql_take(&sql, store, "dangling"));
    TRI_TRY(tri_sql_step(&found, store, sql));
    if (found)
        TRI_TRY(tri_fail(TRIAGE_E_DATA, "%s: row %lld of %s refers to a row of %s that is not there",
                         store->path, (long long)sqlite3_column_int64(sql, 1),
                         (const char *)sqlite3_column_text(sql, 0),
                         (const char *)sqlite3_column_text(sql, 2)));
done:
    tri_sql_give(store, sql);
    return status;
}

const tri_store_backend tri_sqlite_backend = {.wide_ranking = false,
                                              .close = tri_sqlite_close,
                                              .take = take,
                                              .give = give,
                                              .bind_text = bind_text,
                                              .bind_integer = bind_integer,
                                              .step = step,
                                              .text = text,
                                              .integer = integer,
                                              .real = real,
                                              .row = row,
                                              .begin = begin,
                                              .put = put,
                                              .end = end,
                                              .verify = verify};
