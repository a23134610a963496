/* What a database must be able to do for the shared code of the store: SQLite (sqlite.c) and PostgreSQL
 * (postgres.c) side by side. Statements are known by the same names in db/queries.sql and
 * db/postgres/queries.sql, with the same parameters and columns. */
#ifndef TRIAGE_STORE_BACKEND_H
#define TRIAGE_STORE_BACKEND_H

#include <pthread.h>

#include "store/measurement.h"

typedef struct tri_query tri_query; /* a taken statement */

/* Where the rows of an intake come from. */
typedef struct tri_arrival {
    tri_tier tier;
    const char *name; /* of a peer, else "" */
} tri_arrival;

typedef struct tri_store_backend {
    bool wide_ranking; /* "ranking" and "standing" give whole rows, to spare a journey for each; else their
                          numbers */
    void (*close)(tri_store *store);

    /* Takes a statement (locks the store until it is given back). name is a literal. */
    triage_status (*take)(tri_query **out, tri_store *store, const char *name);
    void (*give)(tri_store *store, tri_query *query); /* NULL: nothing */
    /* Borrowed until the statement is given back. A parameter that the statement lacks is no error. */
    triage_status (*bind_text)(tri_store *store, tri_query *query, const char *name, const char *text);
    triage_status (*bind_integer)(tri_store *store, tri_query *query, const char *name, int64_t value);
    triage_status (*step)(bool *row, tri_store *store, tri_query *query);
    const char *(*text)(tri_query *query, int column); /* "" for NULL; until the next step */
    int64_t (*integer)(tri_query *query, int column);
    double (*real)(tri_query *query, int column);
    /* The first columns of the row, as the view "evidence" has them. Never clear it. */
    triage_status (*row)(tri_measurement *out, tri_query *query);

    /* Rows are added between begin and end; *added counts those that were not there. end commits if status is
     * TRIAGE_OK, else rolls back; it returns the first failure. */
    triage_status (*begin)(tri_store *store);
    triage_status (*put)(tri_store *store, const tri_measurement *row, const tri_arrival *arrival);
    triage_status (*end)(int64_t *added, tri_store *store, triage_status status);

    triage_status (*verify)(tri_store *store); /* the database itself, not the rows */
} tri_store_backend;

extern const tri_store_backend tri_sqlite_backend;

#define TRI_STATEMENT_LIMIT 48
typedef struct tri_statement {
    const char *name; /* borrowed: a literal */
    struct sqlite3_stmt *sql;
    bool taken;
} tri_statement;

struct tri_store {
    const tri_store_backend *backend;
    char *path;    /* for messages; of a server: its URL without a password */
    char *queries; /* the backend's queries.sql */
    /* Recursive, held while a statement is taken or a transaction is open: a store may be shared between
     * threads, and a row function may use the store that calls it. */
    pthread_mutex_t mutex;
    int64_t added;       /* in the open transaction */
    bool has_standings;  /* schema 5 and later: those of before are by another ranking */
    bool has_farm;       /* a server of schema 3 and later */
    bool has_arrivals;   /* a file of schema 4 and later: it knows where its rows came from */
    bool is_newer;       /* of a version to come: read, never written */
    bool is_short_lived; /* in memory: a few rows, looked at once, are ranked sooner than kept ranked */

    struct sqlite3 *db; /* SQLite */
    tri_statement statements[TRI_STATEMENT_LIMIT];
    size_t statement_count;

    struct tri_server *server; /* PostgreSQL */
};

/* Fills in up to so many standings that are not known, in the open transaction of a file. *done: how many. */
triage_status tri_standing_fill(int64_t *done, tri_store *file, int64_t most);

/* The built-in file that brings a schema to a version; folder: "db/migrations/", "db/postgres/migrations/". NULL after
 * the newest. */
const char *tri_migration_name(const char *folder, int64_t version);
int64_t tri_migration_newest(const char *folder);

/* The text from below "-- name: NAME" to the next name. */
triage_status tri_find_query(const char **text, size_t *size, const tri_store *store, const char *name);
triage_status tri_store_init_mutex(tri_store *store);
triage_status tri_postgres_open(tri_store **out, const char *url, tri_store_mode mode);
/* Runs a script of built-in SQL, e.g. "db/postgres/roles.sql", on a server. */
triage_status tri_postgres_run(tri_store *store, const char *resource);

#endif
