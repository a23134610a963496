#include "store/sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- errors ---- */

/* SQLite takes a read that the disk refused for a damaged file: the last error of the file, or of its journal, tells. */
static bool is_refused(sqlite3 *db, int which) {
    sqlite3_file *file = NULL;
    int error = 0;
    return sqlite3_file_control(db, "main", which, &file) == SQLITE_OK && file && file->pMethods &&
           file->pMethods->xFileControl(file, SQLITE_FCNTL_LAST_ERRNO, &error) == SQLITE_OK &&
           (error == EIO || error == ENXIO);
}

triage_status tri_sql_error(const tri_store *store, int code) {
    const char *path = store->path;
    switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return TRIAGE_OK;
    case SQLITE_NOTADB:
        return tri_fail(TRIAGE_E_DATA, "%s: not a database", path);
    case SQLITE_CORRUPT:
        if (is_refused(store->db, SQLITE_FCNTL_FILE_POINTER) ||
            is_refused(store->db, SQLITE_FCNTL_JOURNAL_POINTER))
            return tri_fail(TRIAGE_E_IO, "%s: it cannot be read: disk I/O error", path);
        return tri_fail(TRIAGE_E_DATA, "%s: the database is damaged (%s)", path, sqlite3_errmsg(store->db));
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return tri_fail(TRIAGE_E_DB, "%s: still locked by another process after %d s", path,
                        TRI_BUSY_MS / 1000);
    case SQLITE_NOMEM:
        return tri_fail(TRIAGE_E_MEMORY, "%s: out of memory", path);
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return tri_fail(TRIAGE_E_IO, "%s: the file or its folder is read-only", path);
    case SQLITE_CANTOPEN:
        return tri_fail(TRIAGE_E_IO, "%s: cannot be opened (is its folder there, and writable?)", path);
    case SQLITE_FULL:
    case SQLITE_IOERR:
        return tri_fail(TRIAGE_E_IO, "%s: %s", path, sqlite3_errmsg(store->db));
    case SQLITE_TOOBIG:
        return tri_fail(TRIAGE_E_DATA, "%s: a text or row is larger than any that triage writes", path);
    default:
        return tri_fail(TRIAGE_E_DB, "%s: %s", path, sqlite3_errmsg(store->db));
    }
}

/* ---- opening ---- */

/* Large enough for every row that passes the checks; a larger one is an error, not an allocation. */
static void set_limits(sqlite3 *db, tri_access access) {
    static const struct {
        int limit, value;
    } limits[] = {{SQLITE_LIMIT_LENGTH, 1 << 20},     {SQLITE_LIMIT_SQL_LENGTH, 1 << 16},
                  {SQLITE_LIMIT_COLUMN, 64},          {SQLITE_LIMIT_EXPR_DEPTH, 64},
                  {SQLITE_LIMIT_COMPOUND_SELECT, 8},  {SQLITE_LIMIT_VDBE_OP, 25000},
                  {SQLITE_LIMIT_FUNCTION_ARG, 16},    {SQLITE_LIMIT_ATTACHED, 0},
                  {SQLITE_LIMIT_VARIABLE_NUMBER, 64}, {SQLITE_LIMIT_TRIGGER_DEPTH, 4},
                  {SQLITE_LIMIT_WORKER_THREADS, 0}};
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++)
        sqlite3_limit(db, limits[i].limit, limits[i].value);
    const int own = access != TRI_ACCESS_FOREIGN;
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_WRITABLE_SCHEMA, 0, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_VIEW, own, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, own, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
    sqlite3_busy_timeout(db, TRI_BUSY_MS);
}

/* A URI of the path, so that no path (":memory:", "", "file:x?mode=rw") means anything but a file. */
static triage_status file_uri(char **out, const char *path, const char *query) {
    triage_status status = TRIAGE_OK;
    tri_text uri = TRI_TEXT_INIT;
    TRI_TRY(tri_text_format(&uri, path[0] == '/' ? "file:" : "file:./"));
    for (const char *c = path; *c; c++) {
        if (strchr("%?#", *c))
            TRI_TRY(tri_text_format(&uri, "%%%02X", (unsigned char)*c));
        else
            TRI_TRY(tri_text_append(&uri, c, 1));
    }
    TRI_TRY(tri_text_format(&uri, "?%s", query));
    *out = uri.data;
    uri = (tri_text)TRI_TEXT_INIT;
done:
    tri_text_free(&uri);
    return status;
}

static triage_status connect(tri_store *store, tri_access access, const char *query) {
    char *uri = NULL;
    triage_status status = file_uri(&uri, store->path, query);
    if (status != TRIAGE_OK)
        return status;
    int flags = SQLITE_OPEN_READWRITE; /* the URI's mode narrows it */
    if (access == TRI_ACCESS_FOREIGN)
        flags = SQLITE_OPEN_READONLY;
    if (access == TRI_ACCESS_WRITE)
        flags |= SQLITE_OPEN_CREATE;
    int code = sqlite3_open_v2(uri, &store->db,
                               flags | SQLITE_OPEN_URI | SQLITE_OPEN_FULLMUTEX | SQLITE_OPEN_EXRESCODE |
                                   SQLITE_OPEN_PRIVATECACHE,
                               NULL);
    free(uri);
    if (code != SQLITE_OK)
        return tri_sql_error(store, code);
    set_limits(store->db, access);
    status = tri_sql_run(store, "configure_common");
    if (status == TRIAGE_OK && access != TRI_ACCESS_WRITE)
        status = tri_sql_run(store, "configure_read");
    return status;
}

static void disconnect(tri_store *store) {
    for (size_t i = 0; i < store->statement_count; i++)
        sqlite3_finalize(store->statements[i].sql);
    store->statement_count = 0;
    sqlite3_close(store->db);
    store->db = NULL;
}

static bool has_log(const tri_store *store, const char *suffix) {
    char *log = NULL;
    struct stat info;
    bool there = tri_format(&log, "%s%s", store->path, suffix) != TRIAGE_OK ||
                 (stat(log, &info) == 0 && info.st_size > 0);
    free(log);
    return there;
}

/* A reader that may write can remove the -shm and -wal files that WAL makes beside the database; it still
 * changes nothing (query_only). A database that nobody writes to can be read as it lies, without locks and
 * such files: for a file from sisters, and in a folder that is read-only. */
static triage_status connect_reader(tri_store *store, tri_access access_kind) {
    const bool at_rest = !has_log(store, "-wal") && !has_log(store, "-journal");
    const bool own = access_kind == TRI_ACCESS_READ && access(store->path, W_OK) == 0;
    const bool unshared = tri_is_wal_on_network(store->path);
    if (unshared && !at_rest)
        return tri_fail(TRIAGE_E_IO,
                        "%s: somebody writes to it with a write-ahead log, and it is on a network "
                        "file system: copy it to a local disk when they are done",
                        store->path);
    if (at_rest && (unshared || access_kind == TRI_ACCESS_FOREIGN))
        return connect(store, access_kind, "mode=ro&immutable=1");
    triage_status status = connect(store, access_kind, own ? "mode=rw" : "mode=ro");
    int64_t id;
    if (status == TRIAGE_OK)
        status = tri_sql_integer(&id, store, "application_id");
    if (status != TRIAGE_E_IO || !at_rest)
        return status;
    disconnect(store);
    return connect(store, access_kind, "mode=ro&immutable=1");
}

static triage_status make_parent(const char *path) {
    char *copy = NULL;
    triage_status status = tri_strdup(&copy, path);
    if (status == TRIAGE_OK)
        status = tri_make_dirs(dirname(copy));
    free(copy);
    return status;
}

/* The end of a journal may name the journal of several databases, which SQLite deletes once this one is played back: whatever
 * file that is. Ours never do. */
static bool names_another_file(const char *journal) {
    static const unsigned char magic[8] = {0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7};
    unsigned char end[16]; /* the name's size, its checksum, the magic number */
    const int fd = open(journal, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    const off_t size = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
    const bool names = size > (off_t)sizeof end &&
                       pread(fd, end, sizeof end, size - (off_t)sizeof end) == (ssize_t)sizeof end &&
                       memcmp(end + 8, magic, sizeof magic) == 0;
    if (fd >= 0)
        close(fd);
    return names;
}

static triage_status check_journal(const char *path) {
    triage_status status = TRIAGE_OK;
    char *real = realpath(path, NULL), *journal = NULL;
    TRI_TRY(tri_format(&journal, "%s-journal", real ? real : path));
    if (names_another_file(journal))
        TRI_TRY(
            tri_fail(TRIAGE_E_DATA, "%s: it names another file, which no journal of triage does", journal));
done:
    free(journal);
    free(real);
    return status;
}

static triage_status check_file(const char *path, tri_access access) {
    struct stat info;
    if (!path[0])
        return tri_fail(TRIAGE_E_INVALID, "the database's path is empty");
    if (stat(path, &info) == 0)
        return S_ISREG(info.st_mode) ? check_journal(path)
                                     : tri_fail(TRIAGE_E_DATA, "%s: not a regular file", path);
    if (access == TRI_ACCESS_WRITE)
        return make_parent(path);
    return tri_fail(TRIAGE_E_NOT_FOUND, "%s: no such database", path);
}

triage_status tri_store_init_mutex(tri_store *store) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    int failed = pthread_mutex_init(&store->mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
    return failed ? tri_fail(TRIAGE_E_MEMORY, "cannot make a mutex") : TRIAGE_OK;
}

/* A store without its connection. */
static triage_status make_store(tri_store **out, const char *path) {
    triage_status status = TRIAGE_OK;
    tri_store *store = NULL;
    TRI_TRY(tri_calloc(&store, 1, sizeof *store));
    store->backend = &tri_sqlite_backend;
    TRI_TRY(tri_store_init_mutex(store));
    TRI_TRY(tri_strdup(&store->path, path));
    TRI_TRY(tri_resource_read(&store->queries, NULL, NULL, "db/queries.sql"));
    *out = store;
    store = NULL;
done:
    tri_sqlite_close(store);
    return status;
}

triage_status tri_sqlite_open(tri_store **out, const char *path, tri_access access) {
    triage_status status = TRIAGE_OK;
    tri_store *store = NULL;
    TRI_TRY(check_file(path, access));
    TRI_TRY(make_store(&store, path));
    TRI_TRY(access == TRI_ACCESS_WRITE ? connect(store, access, "mode=rwc") : connect_reader(store, access));
    if (access == TRI_ACCESS_WRITE && sqlite3_db_readonly(store->db, "main") == 1)
        TRI_TRY(tri_sql_error(store, SQLITE_READONLY));
    *out = store;
    store = NULL;
done:
    tri_sqlite_close(store);
    return status;
}

triage_status tri_sqlite_open_memory(tri_store **out) {
    triage_status status = TRIAGE_OK;
    tri_store *store = NULL;
    TRI_TRY(make_store(&store, "(memory)"));
    store->is_short_lived = true;
    TRI_TRY(connect(store, TRI_ACCESS_WRITE, "mode=memory"));
    *out = store;
    store = NULL;
done:
    tri_sqlite_close(store);
    return status;
}

void tri_sqlite_close(tri_store *store) {
    if (!store)
        return;
    disconnect(store);
    pthread_mutex_destroy(&store->mutex);
    free(store->path);
    free(store->queries);
    free(store);
}

/* ---- statements ---- */

triage_status tri_find_query(const char **text, size_t *size, const tri_store *store, const char *name) {
    static const char mark[] = "\n-- name: ";
    const size_t mark_size = sizeof mark - 1, name_size = strlen(name);
    for (const char *at = strstr(store->queries, mark); at; at = strstr(at + mark_size, mark)) {
        const char *found = at + mark_size;
        if (strncmp(found, name, name_size) != 0 || found[name_size] != '\n')
            continue;
        *text = found + name_size;
        const char *next = strstr(*text, mark);
        *size = next ? (size_t)(next - *text) : strlen(*text);
        return TRIAGE_OK;
    }
    return tri_fail(TRIAGE_E_INVALID, "%s: this kind of database has no statement %s", store->path, name);
}

triage_status tri_sql_run(tri_store *store, const char *name) {
    const char *text = NULL;
    size_t size = 0;
    char *copy = NULL;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_find_query(&text, &size, store, name));
    TRI_TRY(tri_format(&copy, "%.*s", (int)size, text));
    TRI_TRY(tri_sql_error(store, sqlite3_exec(store->db, copy, NULL, NULL, NULL)));
done:
    free(copy);
    return status;
}

static triage_status prepare(sqlite3_stmt **out, tri_store *store, const char *name) {
    const char *text = NULL;
    size_t size = 0;
    triage_status status = tri_find_query(&text, &size, store, name);
    if (status != TRIAGE_OK)
        return status;
    return tri_sql_error(
        store, sqlite3_prepare_v3(store->db, text, (int)size, SQLITE_PREPARE_PERSISTENT, out, NULL));
}

triage_status tri_sql_take(sqlite3_stmt **out, tri_store *store, const char *name) {
    *out = NULL;
    pthread_mutex_lock(&store->mutex);
    for (size_t i = 0; i < store->statement_count; i++) {
        tri_statement *statement = &store->statements[i];
        if (!statement->taken && strcmp(statement->name, name) == 0) {
            statement->taken = true;
            *out = statement->sql;
            return TRIAGE_OK;
        }
    }
    triage_status status = prepare(out, store, name);
    if (status != TRIAGE_OK)
        pthread_mutex_unlock(&store->mutex);
    else if (store->statement_count < TRI_STATEMENT_LIMIT)
        store->statements[store->statement_count++] = (tri_statement){name, *out, true};
    return status;
}

void tri_sql_give(tri_store *store, sqlite3_stmt *sql) {
    if (!sql)
        return;
    size_t i = 0;
    while (i < store->statement_count && store->statements[i].sql != sql)
        i++;
    if (i < store->statement_count) {
        sqlite3_reset(sql);
        sqlite3_clear_bindings(sql);
        store->statements[i].taken = false;
    } else {
        sqlite3_finalize(sql);
    }
    pthread_mutex_unlock(&store->mutex);
}

triage_status tri_sql_step(bool *row, tri_store *store, sqlite3_stmt *sql) {
    int code = sqlite3_step(sql);
    *row = code == SQLITE_ROW;
    return tri_sql_error(store, code);
}

triage_status tri_sql_integer(int64_t *out, tri_store *store, const char *name) {
    triage_status status = TRIAGE_OK;
    sqlite3_stmt *sql = NULL;
    bool row = false;
    TRI_TRY(tri_sql_take(&sql, store, name));
    TRI_TRY(tri_sql_step(&row, store, sql));
    *out = row ? sqlite3_column_int64(sql, 0) : 0;
done:
    tri_sql_give(store, sql);
    return status;
}

/* ---- values ---- */

triage_status tri_sql_bind_text(tri_store *store, sqlite3_stmt *sql, const char *name, const char *text) {
    int index = sqlite3_bind_parameter_index(sql, name);
    return index ? tri_sql_error(store, sqlite3_bind_text(sql, index, text, -1, SQLITE_STATIC)) : TRIAGE_OK;
}

triage_status tri_sql_bind_integer(tri_store *store, sqlite3_stmt *sql, const char *name, int64_t value) {
    int index = sqlite3_bind_parameter_index(sql, name);
    return index ? tri_sql_error(store, sqlite3_bind_int64(sql, index, value)) : TRIAGE_OK;
}

static int bind_field(sqlite3_stmt *sql, int index, const tri_measurement *row, const tri_field *field) {
    switch (field->kind) {
    case TRI_FIELD_TEXT:
        return sqlite3_bind_text(sql, index, *tri_field_text(row, field), -1, SQLITE_STATIC);
    case TRI_FIELD_INTEGER:
        return sqlite3_bind_int64(sql, index, *tri_field_integer(row, field));
    case TRI_FIELD_REAL:
        return sqlite3_bind_double(sql, index, *tri_field_real(row, field));
    case TRI_FIELD_BOOL:
        return sqlite3_bind_int(sql, index, *tri_field_bool(row, field));
    case TRI_FIELD_OUTCOME:
        return sqlite3_bind_text(sql, index, tri_outcome_name(*tri_field_outcome(row, field)), -1,
                                 SQLITE_STATIC);
    }
    return SQLITE_MISUSE;
}

triage_status tri_sql_bind_row(tri_store *store, sqlite3_stmt *sql, const tri_measurement *row) {
    triage_status status = tri_sql_bind_text(store, sql, ":id", row->id);
    for (size_t i = 0; i < TRI_FIELD_COUNT && status == TRIAGE_OK; i++) {
        char name[32];
        snprintf(name, sizeof name, ":%s", tri_fields[i].name);
        int index = sqlite3_bind_parameter_index(sql, name);
        if (index)
            status = tri_sql_error(store, bind_field(sql, index, row, &tri_fields[i]));
    }
    return status;
}

static triage_status read_text(char **out, sqlite3_stmt *sql, int column, const char *name) {
    if (sqlite3_column_type(sql, column) != SQLITE_TEXT)
        return tri_fail(TRIAGE_E_DATA, "%s: not a text", name);
    *out = (char *)(uintptr_t)sqlite3_column_text(sql, column);
    if (!*out)
        return tri_fail(TRIAGE_E_MEMORY, "%s: out of memory", name);
    if (strlen(*out) != (size_t)sqlite3_column_bytes(sql, column))
        return tri_fail(TRIAGE_E_DATA, "%s: a text with a zero byte", name);
    return TRIAGE_OK;
}

static triage_status read_field(tri_measurement *out, sqlite3_stmt *sql, int column, const tri_field *field) {
    const int type = sqlite3_column_type(sql, column);
    char *text = NULL;
    triage_status status = TRIAGE_OK;
    switch (field->kind) {
    case TRI_FIELD_TEXT:
        return read_text(tri_field_text(out, field), sql, column, field->name);
    case TRI_FIELD_INTEGER:
        if (type != SQLITE_INTEGER)
            return tri_fail(TRIAGE_E_DATA, "%s: not an integer", field->name);
        *tri_field_integer(out, field) = sqlite3_column_int64(sql, column);
        return TRIAGE_OK;
    case TRI_FIELD_REAL: /* SQLite has no NaN: one that was written is NULL, and refused here */
        if (type != SQLITE_FLOAT)
            return tri_fail(TRIAGE_E_DATA, "%s: not a real number", field->name);
        *tri_field_real(out, field) = sqlite3_column_double(sql, column);
        return TRIAGE_OK;
    case TRI_FIELD_BOOL:
        if (type != SQLITE_INTEGER || sqlite3_column_int64(sql, column) >> 1 != 0)
            return tri_fail(TRIAGE_E_DATA, "%s: neither 0 nor 1", field->name);
        *tri_field_bool(out, field) = sqlite3_column_int64(sql, column) == 1;
        return TRIAGE_OK;
    case TRI_FIELD_OUTCOME:
        TRI_TRY(read_text(&text, sql, column, field->name));
        TRI_TRY(tri_outcome_parse(tri_field_outcome(out, field), text));
    }
done:
    return status;
}

triage_status tri_sql_row(tri_measurement *out, sqlite3_stmt *sql) {
    triage_status status = TRIAGE_OK;
    char *id = NULL;
    *out = (tri_measurement){0};
    if (sqlite3_column_count(sql) < TRI_FIELD_COUNT + 1)
        TRI_TRY(tri_fail(TRIAGE_E_DB, "a statement gives %d columns, a measurement has %d",
                         sqlite3_column_count(sql), TRI_FIELD_COUNT + 1));
    TRI_TRY(read_text(&id, sql, 0, "id"));
    if (!id || strlen(id) != TRI_HASH_SIZE - 1) {
        status =
            tri_fail(TRIAGE_E_DATA, "id: \"%.40s\" is not %d hex digits", id ? id : "", TRI_HASH_SIZE - 1);
        goto done;
    }
    memcpy(out->id, id, TRI_HASH_SIZE);
    for (int i = 0; i < TRI_FIELD_COUNT; i++)
        TRI_TRY(read_field(out, sql, i + 1, &tri_fields[i]));
done:
    return status;
}

/* ---- transactions ---- */

triage_status tri_sql_begin(tri_store *store) {
    pthread_mutex_lock(&store->mutex);
    triage_status status = tri_sql_run(store, "begin");
    if (status != TRIAGE_OK)
        pthread_mutex_unlock(&store->mutex);
    return status;
}

triage_status tri_sql_end(tri_store *store, triage_status status) {
    if (status == TRIAGE_OK)
        status = tri_sql_run(store, "commit");
    if (status != TRIAGE_OK && !sqlite3_get_autocommit(store->db)) {
        /* Only the first failure is told. */
        sqlite3_stmt *rollback = NULL;
        if (prepare(&rollback, store, "rollback") == TRIAGE_OK)
            sqlite3_step(rollback);
        sqlite3_finalize(rollback);
    }
    pthread_mutex_unlock(&store->mutex);
    return status;
}

static triage_status run_with_row(bool *found, tri_store *store, const char *name,
                                  const tri_measurement *row) {
    triage_status status = TRIAGE_OK;
    sqlite3_stmt *sql = NULL;
    TRI_TRY(tri_sql_take(&sql, store, name));
    TRI_TRY(tri_sql_bind_row(store, sql, row));
    TRI_TRY(tri_sql_step(found, store, sql));
done:
    tri_sql_give(store, sql);
    return status;
}

static triage_status run_with_arrival(tri_store *store, const char *name, const tri_measurement *row,
                                      const tri_arrival *arrival) {
    triage_status status = TRIAGE_OK;
    sqlite3_stmt *sql = NULL;
    bool found;
    TRI_TRY(tri_sql_take(&sql, store, name));
    TRI_TRY(tri_sql_bind_text(store, sql, ":id", row->id));
    TRI_TRY(tri_sql_bind_text(store, sql, ":name", arrival->name));
    TRI_TRY(tri_sql_bind_integer(store, sql, ":tier", arrival->tier));
    TRI_TRY(tri_sql_step(&found, store, sql));
done:
    tri_sql_give(store, sql);
    return status;
}

/* A claim needs no note, nor does a store that is gone when it is closed. */
static triage_status note_arrival(tri_store *store, const tri_measurement *row, const tri_arrival *arrival) {
    triage_status status = TRIAGE_OK;
    if (arrival->tier == TRI_TIER_UNKNOWN || store->is_short_lived)
        return TRIAGE_OK;
    TRI_TRY(run_with_arrival(store, "add_source", row, arrival));
    TRI_TRY(run_with_arrival(store, "add_arrival", row, arrival));
done:
    return status;
}

triage_status tri_sql_add(bool *added, tri_store *store, const tri_measurement *row,
                          const tri_arrival *arrival) {
    static const char *const steps[] = {"add_problem", "add_device", "add_candidate", "add_origin",
                                        "add_measurement"};
    triage_status status = TRIAGE_OK;
    bool found = false;
    TRI_TRY(run_with_row(&found, store, "has_measurement", row));
    *added = !found;
    for (size_t i = 0; i < sizeof steps / sizeof steps[0] && *added; i++)
        TRI_TRY(run_with_row(&found, store, steps[i], row));
    if (*added && sqlite3_changes(store->db) != 1)
        TRI_TRY(tri_fail(TRIAGE_E_DB, "%s: measurement %s was not stored", store->path, row->id));
    TRI_TRY(note_arrival(store, row, arrival));
done:
    return status;
}
