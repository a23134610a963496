/* PostgreSQL behind backend.h, through libpq. Every journey has a deadline; a lost connection is made again by
 * the next call. Evidence is added in one call of triage.add_evidence a batch, so that no transaction is ever
 * open while a client thinks, or is gone. */
#include "store/backend.h"

#include <string.h>

#ifndef TRI_HAVE_POSTGRES

triage_status tri_store_check_url(const char *url) {
    (void)url;
    return tri_fail(TRIAGE_E_UNSUPPORTED,
                    "a PostgreSQL database: this triage was built without libpq; give a file");
}

triage_status tri_postgres_open(tri_store **out, const char *url, tri_store_mode mode) {
    (void)out, (void)mode;
    return tri_store_check_url(url);
}

bool tri_store_url_has_password(const char *url) {
    const char *user = tri_store_is_url(url) ? strstr(url, "//") + 2 : "";
    const size_t size = strcspn(user, "/?");
    const char *at = memrchr(user, '@', size);
    return (at && memchr(user, ':', (size_t)(at - user))) || strstr(user, "password=");
}

triage_status tri_postgres_run(tri_store *store, const char *resource) {
    return tri_fail(TRIAGE_E_UNSUPPORTED, "%s: %s is for PostgreSQL", store->path, resource);
}

#else

#include <errno.h>
#include <libpq-fe.h>
#include <locale.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#define MIGRATIONS "db/postgres/migrations/"
#define ANSWER_MAX (INT64_C(128) << 20) /* bytes: libpq keeps an answer whole; a page has a thousand rows */
enum { PARAMETERS = 12, NUMBER = 24, STATEMENTS = 48 };

struct tri_server {
    char *url; /* with whatever password it has: never printed */
    bool local, has_sslmode;
    PGconn *conn; /* NULL: to be made */
    const char
        *prepared[STATEMENTS]; /* names of the statements that the connection knows by them; literals */
    int prepared_count;
    int64_t received; /* bytes of the answer that is awaited */
    tri_text lines;   /* of the open batch, a JSON array */
};

struct tri_query {
    const char *name;
    char *text; /* with $1, $2, ... */
    char *names[PARAMETERS];
    const char *values[PARAMETERS];
    char numbers[PARAMETERS][NUMBER];
    int count, page; /* page: index of the parameter :page, -1 none */
    char page_value[TRI_HASH_SIZE];
    PGresult *result;
    int row, rows;
};

/* ---- the URL ---- */

static const char *option_of(const PQconninfoOption *options, const char *name) {
    for (; options && options->keyword; options++)
        if (strcmp(options->keyword, name) == 0)
            return options->val && options->val[0] ? options->val : NULL;
    return NULL;
}

/* A list of hosts, all on this machine? A host that is a folder is a Unix socket. */
static bool is_local(const char *hosts) {
    while (hosts) {
        const size_t size = strcspn(hosts, ",");
        const bool local = size == 0 || hosts[0] == '/' || hosts[0] == '@' ||
                           (size == 9 && strncmp(hosts, "localhost", 9) == 0) ||
                           (strncmp(hosts, "127.", 4) == 0 && strspn(hosts, "0123456789.") == size) ||
                           (size == 3 && strncmp(hosts, "::1", 3) == 0);
        if (!local)
            return false;
        hosts = hosts[size] ? hosts + size + 1 : NULL;
    }
    return true;
}

/* libpq fills in what the URL lacks from its environment and service files: a server that is named there may be
 * anywhere. */
static bool is_on_this_machine(const PQconninfoOption *given) {
    PQconninfoOption *defaults = PQconndefaults();
    const char *host = option_of(given, "host"), *address = option_of(given, "hostaddr");
    const bool service = option_of(given, "service") || option_of(defaults, "service");
    if (!host && !address) {
        host = option_of(defaults, "host");
        address = option_of(defaults, "hostaddr");
    }
    const bool local = !service && is_local(host) && is_local(address);
    PQconninfoFree(defaults);
    return local;
}

static triage_status name_of_server(char **out, const PQconninfoOption *given) {
    const char *user = option_of(given, "user"), *host = option_of(given, "host"),
               *port = option_of(given, "port"), *name = option_of(given, "dbname");
    if (!host)
        host = option_of(given, "hostaddr");
    return tri_format(out, "postgresql://%s%s%s%s%s/%s", user ? user : "", user ? "@" : "", host ? host : "",
                      port ? ":" : "", port ? port : "", name ? name : "");
}

/* libpq's own message could quote the password. */
static triage_status parse_url(PQconninfoOption **out, const char *url) {
    char *error = NULL;
    *out = PQconninfoParse(url, &error);
    PQfreemem(error);
    return *out ? TRIAGE_OK
                : tri_fail(TRIAGE_E_INVALID,
                           "the postgresql:// URL is not valid: "
                           "postgresql://USER@HOST/DATABASE?OPTION=VALUE is expected, with %%XX "
                           "for what is special");
}

bool tri_store_url_has_password(const char *url) {
    PQconninfoOption *options = tri_store_is_url(url) ? PQconninfoParse(url, NULL) : NULL;
    const bool has = option_of(options, "password") || option_of(options, "sslpassword");
    PQconninfoFree(options);
    return has;
}

triage_status tri_store_check_url(const char *url) {
    PQconninfoOption *options = NULL;
    triage_status status = parse_url(&options, url);
    PQconninfoFree(options);
    return status;
}

/* ---- errors ---- */

static bool begins(const char *text, const char *const *list, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (strncmp(text, list[i], strlen(list[i])) == 0)
            return true;
    return false;
}

/* SQLSTATE classes: appendix A of PostgreSQL's manual. */
static triage_status status_of(const char *state) {
    static const char *const away[] = {"08", "57P", "53"}; /* connection, shutting down, out of resources */
    static const char *const data[] = {"22", "23"};        /* a value, a constraint */
    if (begins(state, away, 3))
        return TRIAGE_E_IO;
    return begins(state, data, 2) ? TRIAGE_E_DATA : TRIAGE_E_DB;
}

static void drop_connection(struct tri_server *server) {
    PQfinish(server->conn);
    server->conn = NULL;
    server->prepared_count = 0;
}

static triage_status connection_error(tri_store *store) {
    const char *text = store->server->conn ? PQerrorMessage(store->server->conn) : "";
    char line[400];
    size_t size = 0;
    for (; *text && size < sizeof line - 1; text++) /* its lines as one */
        line[size++] = *text == '\n' && text[1] ? ';' : *text == '\n' || *text == '\t' ? ' ' : *text;
    while (size > 0 && line[size - 1] == ' ')
        size--;
    line[size] = '\0';
    drop_connection(store->server);
    return tri_fail(TRIAGE_E_IO, "%s: %s", store->path, line[0] ? line : "the connection was lost");
}

static triage_status deadline_error(tri_store *store, int64_t limit_ms) {
    drop_connection(store->server);
    return tri_fail(TRIAGE_E_IO, "%s: no answer within %lld s", store->path, (long long)(limit_ms / 1000));
}

static triage_status result_error(tri_store *store, const PGresult *result) {
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    if (!state || PQstatus(store->server->conn) == CONNECTION_BAD)
        return connection_error(store);
    return tri_fail(status_of(state), "%s: %s", store->path, text ? text : state);
}

/* ---- waiting ---- */

/* False: the deadline passed. */
static bool wait_for(PGconn *conn, short events, int64_t deadline_ns) {
    for (;;) {
        const int64_t left = deadline_ns - tri_now_ns();
        struct pollfd fd = {.fd = PQsocket(conn), .events = events};
        if (left <= 0 || fd.fd < 0)
            return false;
        int ready = poll(&fd, 1, (int)(left / 1000000) + 1);
        if (ready > 0)
            return true;
        if (ready < 0 && errno != EINTR)
            return false;
    }
}

/* Notices that a server sends beside its answers are dropped: libpq would write them to stderr, whatever is in them. */
static void ignore_notice(void *user, const PGresult *notice) {
    (void)user, (void)notice;
}

static int waiting_bytes(const PGconn *conn) {
    int bytes = 0;
    return ioctl(PQsocket(conn), FIONREAD, &bytes) == 0 ? bytes : 0;
}

/* Reads and counts, as libpq does not: what the socket held before and no longer holds. What comes meanwhile is missed. */
static triage_status consume(tri_store *store) {
    struct tri_server *server = store->server;
    const int before = waiting_bytes(server->conn);
    if (!PQconsumeInput(server->conn))
        return connection_error(store);
    const int left = before - waiting_bytes(server->conn);
    server->received += left > 0 ? left : 0;
    if (server->received <= ANSWER_MAX)
        return TRIAGE_OK;
    drop_connection(server);
    return tri_fail(TRIAGE_E_IO, "%s: an answer of more than %lld MB", store->path,
                    (long long)(ANSWER_MAX >> 20));
}

static triage_status start_connection(tri_store *store) {
    struct tri_server *server = store->server;
    /* In this order: what the URL says comes after our defaults, and wins. The kernel finds a silent network
     * out by itself, for the time in which we only listen. */
    const char *keys[] = {"sslmode",          "keepalives_idle",  "keepalives_interval",
                          "keepalives_count", "tcp_user_timeout", "fallback_application_name",
                          "client_encoding",  "dbname",           NULL};
    const char *values[] = {server->local ? "prefer" : "verify-full",
                            "5",
                            "2",
                            "3",
                            "10000",
                            "triage",
                            "UTF8",
                            server->url,
                            NULL};
    const int first = server->has_sslmode ? 1 : 0;
    const int64_t deadline = tri_now_ns() + TRI_CONNECT_MS * INT64_C(1000000);
    server->conn = PQconnectStartParams(keys + first, values + first, 1);
    if (!server->conn)
        return tri_fail(TRIAGE_E_MEMORY, "out of memory for a connection");
    PQsetNoticeReceiver(server->conn, ignore_notice, NULL);
    if (PQstatus(server->conn) == CONNECTION_BAD)
        return connection_error(store);
    PostgresPollingStatusType state = PGRES_POLLING_WRITING;
    while (state != PGRES_POLLING_OK) {
        if (state == PGRES_POLLING_FAILED)
            return connection_error(store);
        if (!wait_for(server->conn, state == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline))
            return deadline_error(store, TRI_CONNECT_MS);
        state = PQconnectPoll(server->conn);
    }
    PQsetnonblocking(server->conn, 1);
    return TRIAGE_OK;
}

/* Sends all that libpq has buffered, reading meanwhile, or both sides might wait. */
static triage_status flush(tri_store *store, int64_t deadline) {
    PGconn *conn = store->server->conn;
    triage_status status = TRIAGE_OK;
    int left;
    while ((left = PQflush(conn)) == 1) {
        if (!wait_for(conn, POLLIN | POLLOUT, deadline))
            return deadline_error(store, TRI_SERVER_MS);
        TRI_TRY(consume(store));
    }
    if (left < 0)
        status = connection_error(store);
done:
    return status;
}

/* The last result; of several statements the first that failed. */
static triage_status collect(PGresult **out, tri_store *store, int64_t deadline) {
    PGconn *conn = store->server->conn;
    triage_status status = TRIAGE_OK;
    *out = NULL;
    for (;;) {
        while (PQisBusy(conn)) {
            if (!wait_for(conn, POLLIN, deadline))
                return deadline_error(store, TRI_SERVER_MS);
            TRI_TRY(consume(store));
        }
        PGresult *result = PQgetResult(conn);
        if (!result)
            return TRIAGE_OK;
        const bool failed = *out && PQresultStatus(*out) == PGRES_FATAL_ERROR;
        PQclear(failed ? result : *out);
        if (!failed)
            *out = result;
    }
done:
    return status;
}

/* The answer to what PQsend... has sent. The caller clears *out. */
static triage_status receive(PGresult **out, tri_store *store, int sent) {
    const int64_t deadline = tri_now_ns() + TRI_SERVER_MS * INT64_C(1000000);
    triage_status status = TRIAGE_OK;
    *out = NULL;
    store->server->received = 0;
    if (!sent)
        return connection_error(store);
    TRI_TRY(flush(store, deadline));
    TRI_TRY(collect(out, store, deadline));
    if (!*out)
        TRI_TRY(connection_error(store));
    if (PQresultStatus(*out) != PGRES_TUPLES_OK && PQresultStatus(*out) != PGRES_COMMAND_OK)
        TRI_TRY(result_error(store, *out));
done:
    if (status != TRIAGE_OK) {
        PQclear(*out);
        *out = NULL;
    }
    return status;
}

/* Planning a lookup takes longer than running it: each connection does it once. */
static triage_status prepare(tri_store *store, const tri_query *query) {
    struct tri_server *server = store->server;
    PGresult *result = NULL;
    for (int i = 0; i < server->prepared_count; i++)
        if (strcmp(server->prepared[i], query->name) == 0)
            return TRIAGE_OK;
    if (server->prepared_count == STATEMENTS)
        return tri_fail(TRIAGE_E_DB, "%s: more than %d statements", query->name, STATEMENTS);
    triage_status status =
        receive(&result, store, PQsendPrepare(server->conn, query->name, query->text, query->count, NULL));
    PQclear(result);
    if (status == TRIAGE_OK)
        server->prepared[server->prepared_count++] = query->name;
    return status;
}

static triage_status send(PGresult **out, tri_store *store, const tri_query *query) {
    triage_status status = prepare(store, query);
    if (status != TRIAGE_OK)
        return status;
    return receive(
        out, store,
        PQsendQueryPrepared(store->server->conn, query->name, query->count, query->values, NULL, NULL, 0));
}

static triage_status run_script(tri_store *store, const char *text) {
    PGresult *result = NULL;
    triage_status status = receive(&result, store, PQsendQuery(store->server->conn, text));
    PQclear(result);
    return status;
}

static triage_status run_named(tri_store *store, const char *name) {
    const char *text;
    size_t size;
    char *copy = NULL;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_find_query(&text, &size, store, name));
    TRI_TRY(tri_format(&copy, "%.*s", (int)size, text));
    TRI_TRY(run_script(store, copy));
done:
    free(copy);
    return status;
}

static triage_status ensure_connection(tri_store *store) {
    struct tri_server *server = store->server;
    triage_status status = TRIAGE_OK;
    if (server->conn && PQstatus(server->conn) == CONNECTION_OK)
        return TRIAGE_OK;
    drop_connection(server);
    TRI_TRY(start_connection(store));
    const char *encoding = PQparameterStatus(server->conn, "server_encoding");
    if (!encoding || strcmp(encoding, "UTF8") != 0)
        TRI_TRY(tri_fail(TRIAGE_E_DATA, "%s: its encoding is %s, UTF8 is expected", store->path,
                         encoding ? encoding : "unknown"));
    TRI_TRY(run_named(store, "configure"));
done:
    if (status != TRIAGE_OK)
        drop_connection(server);
    return status;
}

/* A connection that died since it was last used (the server was restarted) is made again, once. Every statement
 * may be run twice: see add_evidence and the leases of jobs. */
static triage_status execute(PGresult **out, tri_store *store, const tri_query *query) {
    const bool used = store->server->conn != NULL;
    triage_status status = ensure_connection(store);
    if (status != TRIAGE_OK)
        return status;
    const int64_t start = tri_now_ns();
    status = send(out, store, query);
    if (status != TRIAGE_E_IO || !used || tri_now_ns() - start > INT64_C(1000000000))
        return status;
    status = ensure_connection(store);
    return status == TRIAGE_OK ? send(out, store, query) : status;
}

/* ---- statements ---- */

static int parameter_of(const tri_query *query, const char *name, size_t size) {
    for (int i = 0; i < query->count; i++)
        if (strlen(query->names[i]) == size && strncmp(query->names[i], name, size) == 0)
            return i;
    return -1;
}

static bool is_word(char c) {
    return c == '_' || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* $n for the :name at *at, and moves behind it. */
static triage_status take_parameter(tri_text *out, tri_query *query, const char **at) {
    triage_status status = TRIAGE_OK;
    size_t size = 1;
    while (is_word((*at)[size]))
        size++;
    int index = parameter_of(query, *at, size);
    if (index < 0) {
        if (query->count == PARAMETERS)
            TRI_TRY(tri_fail(TRIAGE_E_DB, "%s: more than %d parameters", query->name, PARAMETERS));
        TRI_TRY(tri_format(&query->names[query->count], "%.*s", (int)size, *at));
        index = query->count++;
    }
    *at += size;
    TRI_TRY(tri_text_format(out, "$%d", index + 1));
done:
    return status;
}

/* ":name" to "$1". Not within quotes and comments, and not the "::" of a cast. */
static triage_status translate(tri_query *query, const char *text, size_t size) {
    triage_status status = TRIAGE_OK;
    tri_text out = TRI_TEXT_INIT;
    for (const char *at = text, *end = text + size; at < end;) {
        const char *rest = at + 1;
        if (*at == '\'')
            rest = memchr(rest, '\'', (size_t)(end - rest));
        else if (at[0] == '-' && at[1] == '-')
            rest = memchr(rest, '\n', (size_t)(end - rest));
        else if (at[0] == ':' && at[1] == ':')
            rest = at + 2;
        else if (*at == ':' && is_word(at[1])) {
            TRI_TRY(take_parameter(&out, query, &at));
            continue;
        }
        if (!rest)
            rest = end;
        if (*at == '\'' && rest < end)
            rest++;
        TRI_TRY(tri_text_append(&out, at, (size_t)(rest - at)));
        at = rest;
    }
    query->text = out.data;
    out = (tri_text)TRI_TEXT_INIT;
done:
    tri_text_free(&out);
    return status;
}

static void give(tri_store *store, tri_query *query) {
    if (!query)
        return;
    PQclear(query->result);
    for (int i = 0; i < query->count; i++)
        free(query->names[i]);
    free(query->text);
    free(query);
    pthread_mutex_unlock(&store->mutex);
}

static triage_status take(tri_query **out, tri_store *store, const char *name) {
    triage_status status = TRIAGE_OK;
    const char *text;
    size_t size;
    tri_query *query = NULL;
    *out = NULL;
    pthread_mutex_lock(&store->mutex);
    TRI_TRY(tri_calloc(&query, 1, sizeof *query));
    query->name = name;
    TRI_TRY(tri_find_query(&text, &size, store, name));
    TRI_TRY(translate(query, text, size));
    query->page = parameter_of(query, ":page", 5);
    if (query->page >= 0)
        query->values[query->page] = query->page_value;
    *out = query;
    return TRIAGE_OK;
done:
    if (query)
        give(store, query);
    else
        pthread_mutex_unlock(&store->mutex);
    return status;
}

static triage_status bind_text(tri_store *store, tri_query *query, const char *name, const char *text) {
    (void)store;
    int index = parameter_of(query, name, strlen(name));
    if (index >= 0)
        query->values[index] = text;
    return TRIAGE_OK;
}

static triage_status bind_integer(tri_store *store, tri_query *query, const char *name, int64_t value) {
    (void)store;
    int index = parameter_of(query, name, strlen(name));
    if (index >= 0) {
        snprintf(query->numbers[index], NUMBER, "%lld", (long long)value);
        query->values[index] = query->numbers[index];
    }
    return TRIAGE_OK;
}

static triage_status step(bool *row, tri_store *store, tri_query *query) {
    triage_status status = TRIAGE_OK;
    *row = false;
    if (query->result && query->row + 1 < query->rows) {
        query->row++;
        *row = true;
        return TRIAGE_OK;
    }
    if (query->result && (query->page < 0 || query->rows == 0))
        return TRIAGE_OK;
    if (query->result)
        snprintf(query->page_value, sizeof query->page_value, "%s", PQgetvalue(query->result, query->row, 0));
    PQclear(query->result);
    query->result = NULL;
    TRI_TRY(execute(&query->result, store, query));
    query->row = 0;
    query->rows = PQntuples(query->result);
    *row = query->rows > 0;
done:
    return status;
}

static const char *text_at(tri_query *query, int column) {
    return PQgetvalue(query->result, query->row, column); /* "" for NULL */
}

static int64_t integer_at(tri_query *query, int column) {
    return strtoll(text_at(query, column), NULL, 10);
}

static double real_at(tri_query *query, int column) {
    locale_t before = uselocale(newlocale(LC_ALL_MASK, "C", NULL)); /* as in measurement.c */
    const double value = strtod(text_at(query, column), NULL);
    uselocale(before);
    return value;
}

static triage_status read_field(tri_measurement *out, tri_query *query, int column, const tri_field *field) {
    char *text = (char *)(uintptr_t)text_at(query, column);
    if (PQgetisnull(query->result, query->row, column))
        return tri_fail(TRIAGE_E_DATA, "%s: missing", field->name);
    switch (field->kind) {
    case TRI_FIELD_TEXT:
        *tri_field_text(out, field) = text;
        return TRIAGE_OK;
    case TRI_FIELD_INTEGER:
        *tri_field_integer(out, field) = integer_at(query, column);
        return TRIAGE_OK;
    case TRI_FIELD_REAL:
        *tri_field_real(out, field) = strtod(text, NULL);
        return TRIAGE_OK;
    case TRI_FIELD_BOOL:
        *tri_field_bool(out, field) = text[0] == 't';
        return TRIAGE_OK;
    case TRI_FIELD_OUTCOME:
        return tri_outcome_parse(tri_field_outcome(out, field), text);
    }
    return TRIAGE_OK;
}

static triage_status row_of(tri_measurement *out, tri_query *query) {
    triage_status status = TRIAGE_OK;
    locale_t before = uselocale(newlocale(LC_ALL_MASK, "C", NULL)); /* as in measurement.c */
    *out = (tri_measurement){0};
    if (PQnfields(query->result) < TRI_FIELD_COUNT + 1 || strlen(text_at(query, 0)) != TRI_HASH_SIZE - 1)
        TRI_TRY(tri_fail(TRIAGE_E_DB, "%s: gives no measurement", query->name));
    memcpy(out->id, text_at(query, 0), TRI_HASH_SIZE);
    for (int i = 0; i < TRI_FIELD_COUNT; i++)
        TRI_TRY(read_field(out, query, i + 1, &tri_fields[i]));
done:
    uselocale(before);
    return status;
}

/* The first column of the first row, 0 without one; the second into *second. */
static triage_status integers(int64_t *first, int64_t *second, tri_store *store, const char *name) {
    triage_status status = TRIAGE_OK;
    tri_query *query = NULL;
    bool row;
    TRI_TRY(take(&query, store, name));
    TRI_TRY(step(&row, store, query));
    *first = row ? integer_at(query, 0) : 0;
    if (second)
        *second = row ? integer_at(query, 1) : 0;
done:
    give(store, query);
    return status;
}

/* ---- adding ---- */

static triage_status begin(tri_store *store) {
    pthread_mutex_lock(&store->mutex);
    tri_text_free(&store->server->lines);
    return TRIAGE_OK;
}

/* Who adds rows to a server is known to it by its role. */
static triage_status put(tri_store *store, const tri_measurement *row, const tri_arrival *arrival) {
    (void)arrival;
    tri_text *lines = &store->server->lines;
    char *line = NULL;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_measurement_to_json(&line, row));
    TRI_TRY(tri_text_append(lines, lines->size ? "," : "[", 1));
    TRI_TRY(tri_text_append(lines, line, strlen(line)));
done:
    free(line);
    return status;
}

static triage_status send_batch(int64_t *added, tri_store *store) {
    triage_status status = TRIAGE_OK;
    tri_query *query = NULL;
    bool row;
    TRI_TRY(tri_text_append(&store->server->lines, "]", 1));
    TRI_TRY(take(&query, store, "add"));
    TRI_TRY(bind_text(store, query, ":lines", store->server->lines.data));
    TRI_TRY(step(&row, store, query));
    *added = integer_at(query, 0);
done:
    give(store, query);
    return status;
}

static triage_status end(int64_t *added, tri_store *store, triage_status status) {
    *added = 0;
    if (status == TRIAGE_OK && store->server->lines.size)
        status = send_batch(added, store);
    tri_text_free(&store->server->lines);
    pthread_mutex_unlock(&store->mutex);
    return status;
}

/* The server looks after its files; its rows are verified like all others. */
static triage_status verify(tri_store *store) {
    int64_t rows;
    return integers(&rows, NULL, store, "last_row");
}

/* ---- schema ---- */

static int64_t newest_version(void) {
    return tri_migration_newest(MIGRATIONS);
}

static triage_status read_version(int64_t *version, int64_t *oldest_reader, tri_store *store) {
    int64_t installed = 0;
    *version = *oldest_reader = 0;
    triage_status status = integers(&installed, NULL, store, "installed");
    return status == TRIAGE_OK && installed ? integers(version, oldest_reader, store, "schema_version")
                                            : status;
}

/* Another process may have done it since we looked: the version is read again under the lock. */
static triage_status migrate_once(int64_t *version, tri_store *store) {
    const int64_t before = *version;
    int64_t oldest;
    char *text = NULL;
    triage_status status = TRIAGE_OK;
    TRI_TRY(run_named(store, "begin_migration"));
    status = read_version(version, &oldest, store);
    if (status == TRIAGE_OK && *version == before) {
        status = tri_resource_read(&text, NULL, NULL, tri_migration_name(MIGRATIONS, before + 1));
        if (status == TRIAGE_OK)
            status = run_script(store, text);
        *version = before + 1;
    }
    if (status == TRIAGE_OK)
        status = run_named(store, "commit");
    else
        drop_connection(store->server); /* the transaction ends with it; only the first failure is told */
done:
    free(text);
    return status;
}

static triage_status newer_error(const tri_store *store, int64_t version, const char *what) {
    return tri_fail(TRIAGE_E_DATA,
                    "%s: written by a newer version of triage (schema %lld, this one knows 1 .. "
                    "%lld): %s",
                    store->path, (long long)version, (long long)newest_version(), what);
}

static triage_status prepare_schema(tri_store *store, tri_store_mode mode) {
    triage_status status = TRIAGE_OK;
    int64_t version, oldest;
    TRI_TRY(read_version(&version, &oldest, store));
    if (version > newest_version() && mode == TRI_STORE_WRITE)
        TRI_TRY(newer_error(store, version, "it is read, but not written"));
    if (version > newest_version() && oldest > newest_version())
        TRI_TRY(newer_error(store, version, "it cannot be read"));
    while (mode == TRI_STORE_WRITE && version < newest_version())
        TRI_TRY(migrate_once(&version, store));
    if (version == 0)
        TRI_TRY(tri_fail(TRIAGE_E_NOT_FOUND, "%s: has no tables of triage yet", store->path));
    store->has_farm = version >= 3;
    store->has_standings =
        version >= 5; /* those of 4 are by another ranking; what else is read is in every version */
    store->is_newer = version > newest_version();
done:
    return status;
}

/* ---- opening ---- */

static void close_store(tri_store *store) {
    if (!store)
        return;
    if (store->server) {
        drop_connection(store->server);
        tri_text_free(&store->server->lines);
        free(store->server->url);
        free(store->server);
    }
    pthread_mutex_destroy(&store->mutex);
    free(store->path);
    free(store->queries);
    free(store);
}

static const tri_store_backend postgres_backend = {.wide_ranking = true,
                                                   .close = close_store,
                                                   .take = take,
                                                   .give = give,
                                                   .bind_text = bind_text,
                                                   .bind_integer = bind_integer,
                                                   .step = step,
                                                   .text = text_at,
                                                   .integer = integer_at,
                                                   .real = real_at,
                                                   .row = row_of,
                                                   .begin = begin,
                                                   .put = put,
                                                   .end = end,
                                                   .verify = verify};

triage_status tri_postgres_open(tri_store **out, const char *url, tri_store_mode mode) {
    triage_status status = TRIAGE_OK;
    tri_store *store = NULL;
    PQconninfoOption *given = NULL;
    *out = NULL;
    TRI_TRY(parse_url(&given, url));
    TRI_TRY(tri_calloc(&store, 1, sizeof *store));
    store->backend = &postgres_backend;
    TRI_TRY(tri_store_init_mutex(store));
    TRI_TRY(name_of_server(&store->path, given));
    TRI_TRY(tri_resource_read(&store->queries, NULL, NULL, "db/postgres/queries.sql"));
    TRI_TRY(tri_calloc(&store->server, 1, sizeof *store->server));
    TRI_TRY(tri_strdup(&store->server->url, url));
    store->server->local = is_on_this_machine(given);
    store->server->has_sslmode = option_of(given, "sslmode") != NULL;
    TRI_TRY(ensure_connection(store));
    TRI_TRY(prepare_schema(store, mode));
    *out = store;
    store = NULL;
done:
    PQconninfoFree(given);
    close_store(store);
    return status;
}

triage_status tri_postgres_run(tri_store *store, const char *resource) {
    char *text = NULL;
    triage_status status = TRIAGE_OK;
    pthread_mutex_lock(&store->mutex);
    TRI_TRY(ensure_connection(store));
    TRI_TRY(tri_resource_read(&text, NULL, NULL, resource));
    TRI_TRY(run_script(store, text));
done:
    pthread_mutex_unlock(&store->mutex);
    free(text);
    return status;
}

#endif
