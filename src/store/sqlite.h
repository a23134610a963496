/* The connection to a SQLite file: hardened, its statements known by their names in db/queries.sql. */
#ifndef TRIAGE_STORE_SQLITE_H
#define TRIAGE_STORE_SQLITE_H

#include <sqlite3.h>

#include "store/backend.h"

/* How long one process waits for another's transaction. */
#define TRI_BUSY_MS 10000

typedef enum tri_access {
    TRI_ACCESS_READ,
    TRI_ACCESS_WRITE,
    TRI_ACCESS_FOREIGN /* read only, and nothing in the file is believed */
} tri_access;

/* Opens the connection and sets its limits; reads nothing but the file's header. */
triage_status tri_sqlite_open(tri_store **out, const char *path, tri_access access);
/* A private database in memory, without its schema. */
triage_status tri_sqlite_open_memory(tri_store **out);
void tri_sqlite_close(tri_store *store);

/* Brings an own file to the newest schema (write) or checks that it has it (read), and that its tables, views
 * and triggers are exactly those of that schema. */
triage_status tri_schema_prepare(tri_store *store, tri_access access);
/* Are the tables, views and triggers those of that version, by their hash? The quick answer; false: compare. */
bool tri_schema_is_known(tri_store *store, int64_t version);
/* Are the tables that a merge reads there, and tables? */
triage_status tri_schema_check_foreign(tri_store *store);

/* Is this statfs f_type a file system without shared memory between its users? */
bool tri_is_network_file_system(long type);
/* Is it a file in WAL mode, on such a file system? There nobody may read it in that mode. */
bool tri_is_wal_on_network(const char *path);

/* ---- statements ---- */

/* Every statement of this name, in order, rows ignored. */
triage_status tri_sql_run(tri_store *store, const char *name);
/* Takes a prepared statement (locks the store until it is given back). name is a literal. */
triage_status tri_sql_take(sqlite3_stmt **out, tri_store *store, const char *name);
void tri_sql_give(tri_store *store, sqlite3_stmt *sql); /* NULL: nothing */
/* *row: there is one; false at the end. */
triage_status tri_sql_step(bool *row, tri_store *store, sqlite3_stmt *sql);
/* What SQLite's result code means, as this thread's error. */
triage_status tri_sql_error(const tri_store *store, int code);

/* Binds by name; borrowed until the statement is given back. NULL binds NULL. */
triage_status tri_sql_bind_text(tri_store *store, sqlite3_stmt *sql, const char *name, const char *text);
triage_status tri_sql_bind_integer(tri_store *store, sqlite3_stmt *sql, const char *name, int64_t value);
/* Binds those fields (and the id) that the statement names. */
triage_status tri_sql_bind_row(tri_store *store, sqlite3_stmt *sql, const tri_measurement *row);
/* The current row, columns as the view "evidence" has them; every type checked. Strings are borrowed until
 * the next step: never clear it. */
triage_status tri_sql_row(tri_measurement *out, sqlite3_stmt *sql);

/* The first column of the first row. */
triage_status tri_sql_integer(int64_t *out, tri_store *store, const char *name);

/* ---- transactions ---- */
triage_status tri_sql_begin(tri_store *store);
/* Commits if status is TRIAGE_OK, else rolls back; returns the first failure. */
triage_status tri_sql_end(tri_store *store, triage_status status);

/* Adds a checked row within a transaction, and where it comes from. *added false: it was there. */
triage_status tri_sql_add(bool *added, tri_store *store, const tri_measurement *row,
                          const tri_arrival *arrival);

#endif
