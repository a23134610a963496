/* Databases on the server of tests/support/postgres.sh, for the store's tests. */
#ifndef TRIAGE_TESTS_STORE_SERVER_H
#define TRIAGE_TESTS_STORE_SERVER_H

#include "store/fixture.h"

#include <libpq-fe.h>

static const char *server; /* its database "postgres" */

/* Says so when there is none. */
static inline bool has_server(void) {
    server = getenv("TRIAGE_TEST_SERVER");
    if (server && *server)
        return true;
    puts("skipped: no TRIAGE_TEST_SERVER (sh tests/support/postgres.sh starts one)");
    return false;
}

static inline PGresult *query(const char *url, const char *text) {
    PGconn *conn = PQconnectdb(url);
    PGresult *result = PQexec(conn, text);
    const ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
        fail_msg("%s: %s", text, PQerrorMessage(conn));
    PQfinish(conn);
    return result;
}

static inline void run_on(const char *url, const char *text) {
    PQclear(query(url, text));
}

/* The URL of a database of this test program, made when it is first named; one of four static texts. */
static inline const char *on_server(const char *name) {
    static char urls[4][512];
    static unsigned next;
    char text[200], database[80], *url = urls[next++ % 4];
    const char *options = strstr(server, "/postgres?");
    snprintf(database, sizeof database, "t%d_%s", (int)getpid(), name);
    snprintf(text, sizeof text, "SELECT 1 FROM pg_database WHERE datname = '%s'", database);
    PGresult *found = query(server, text);
    snprintf(text, sizeof text, "CREATE DATABASE \"%s\"", database);
    if (PQntuples(found) == 0)
        run_on(server, text);
    PQclear(found);
    snprintf(url, sizeof urls[0], "%.*s/%s%s", (int)(options - server), server, database,
             options + strlen("/postgres"));
    return url;
}

/* A group's setup for tests that name files: here they are databases. */
static inline int choose_server(void **state) {
    locate_store = on_server;
    return make_folder(state);
}

#endif
