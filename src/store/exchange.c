/* Evidence from and to elsewhere: SQLite files and JSON Lines. A set union: a row that is there already is
 * no change, and the order of sources does not matter. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/signature.h"
#include "store/sqlite.h"

/* Rows in one transaction: each costs an fsync, and keeps other writers waiting. */
enum { BATCH = 256, LINE_LIMIT = 64 * 1024 };

#define BYTE_ORDER_MARK "\xef\xbb\xbf" /* UTF-8's, which some editors write */

typedef struct intake {
    tri_store *into;
    const char *from; /* for messages */
    tri_check_fn check;
    void *user;
    const tri_log *log;
    tri_merge_result result;
    tri_arrival arrival;             /* of its rows */
    const tri_signed_ids *is_signed; /* only of these; the others are claims. NULL: of all */
    int open;                        /* rows in the open transaction; 0: none is open */
} intake;

/* Failures of the row, not of the machine: the next row may be good. */
static bool is_refusal(triage_status status) {
    switch (status) {
    case TRIAGE_E_MEMORY:
    case TRIAGE_E_IO:
    case TRIAGE_E_DB:
    case TRIAGE_E_INTERRUPTED:
        return false;
    default:
        return true;
    }
}

static triage_status refuse(intake *in, triage_status status, const char *unit, int64_t number,
                            const char *id) {
    if (!is_refusal(status))
        return status;
    in->result.refused++;
    tri_log_line(in->log, TRIAGE_LOG_WARNING, "%s: %s %lld%s%.32s refused: %s", in->from, unit,
                 (long long)number, id[0] ? ", measurement " : "", id, triage_last_error());
    return TRIAGE_OK;
}

static triage_status close_batch(intake *in, triage_status status) {
    int64_t added;
    const int count = in->open;
    if (!count)
        return status;
    in->open = 0;
    status = in->into->backend->end(&added, in->into, status);
    if (status == TRIAGE_OK) {
        in->result.added += added;
        in->result.present += count - added;
    }
    return status;
}

/* What was added is ranked once, at the end, and what others have left. */
static triage_status finish(intake *in, triage_status status) {
    status = close_batch(in, status);
    if (status == TRIAGE_OK)
        status = tri_store_refresh(in->into, &(tri_refresh_options){0});
    return status;
}

static tri_arrival arrival_of(const intake *in, const tri_measurement *row) {
    const bool claim = in->is_signed && !tri_signed_ids_have(in->is_signed, row->id);
    return claim ? (tri_arrival){TRI_TIER_UNKNOWN, ""} : in->arrival;
}

/* A checked row: the caller's own check, then into the database. */
static triage_status take_row(intake *in, const tri_measurement *row) {
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_measurement_check_date(row));
    if (in->check)
        TRI_TRY(in->check(in->user, row));
    if (!in->open)
        TRI_TRY(in->into->backend->begin(in->into));
    in->open++;
    const tri_arrival arrival = arrival_of(in, row);
    in->result.trusted += arrival.tier != TRI_TIER_UNKNOWN;
    status = in->into->backend->put(in->into, row, &arrival);
    if (status != TRIAGE_OK || in->open == BATCH)
        TRI_TRY(close_batch(in, status));
done:
    return status;
}

/* ---- merge ---- */

static bool is_same_file(const char *a, const char *b) {
    struct stat left, right;
    return stat(a, &left) == 0 && stat(b, &right) == 0 && left.st_dev == right.st_dev &&
           left.st_ino == right.st_ino;
}

static triage_status read_foreign_row(tri_measurement *row, tri_store *from, sqlite3_stmt *sql,
                                      int64_t number) {
    triage_status status = TRIAGE_OK;
    bool found;
    *row = (tri_measurement){0};
    TRI_TRY(tri_sql_bind_integer(from, sql, ":row", number));
    TRI_TRY(tri_sql_step(&found, from, sql));
    if (!found)
        TRI_TRY(tri_fail(TRIAGE_E_DATA, "it cannot be found again"));
    TRI_TRY(tri_sql_row(row, sql));
    TRI_TRY(tri_measurement_check_foreign(row));
done:
    return status;
}

/* Row by row through its number: a giant or damaged one fails alone. */
static triage_status merge_rows(intake *in, tri_store *from, sqlite3_stmt *numbers) {
    triage_status status = TRIAGE_OK;
    bool more;
    TRI_TRY(tri_sql_step(&more, from, numbers));
    while (more) {
        sqlite3_stmt *sql = NULL;
        tri_measurement row = {0};
        const int64_t number = sqlite3_column_int64(numbers, 0);
        in->result.read++;
        TRI_TRY(tri_sql_take(&sql, from, "foreign_row"));
        status = read_foreign_row(&row, from, sql, number);
        if (status == TRIAGE_OK)
            status = take_row(in, &row);
        if (status != TRIAGE_OK)
            status = refuse(in, status, "row", number, row.id);
        tri_sql_give(from, sql);
        if (status != TRIAGE_OK)
            break;
        TRI_TRY(tri_sql_step(&more, from, numbers));
    }
done:
    return status;
}

triage_status tri_store_merge(tri_merge_result *out, tri_store *into, const char *from_path,
                              tri_check_fn check, void *user, const tri_log *log) {
    triage_status status = TRIAGE_OK;
    tri_store *from = NULL;
    sqlite3_stmt *numbers = NULL;
    intake in = {.into = into,
                 .from = from_path,
                 .check = check,
                 .user = user,
                 .log = log,
                 .arrival = {TRI_TIER_UNKNOWN, ""}};
    *out = in.result;
    if (is_same_file(into->path, from_path))
        TRI_TRY(tri_fail(TRIAGE_E_INVALID, "%s: cannot merge a database into itself", from_path));
    TRI_TRY(tri_sqlite_open(&from, from_path, TRI_ACCESS_FOREIGN));
    TRI_TRY(tri_schema_check_foreign(from));
    TRI_TRY(tri_sql_take(&numbers, from, "foreign_rows"));
    TRI_TRY(merge_rows(&in, from, numbers));
done:
    status = finish(&in, status);
    tri_sql_give(from, numbers);
    tri_sqlite_close(from);
    *out = in.result;
    return status;
}

/* ---- one problem ---- */

static triage_status fetch_row(void *user, const tri_measurement *row) {
    intake *in = user;
    triage_status status = TRIAGE_OK;
    in->result.read++;
    TRI_TRY(tri_measurement_check_foreign(row));
    TRI_TRY(take_row(in, row));
done:
    return status == TRIAGE_OK ? status : refuse(in, status, "row", in->result.read, row->id);
}

triage_status tri_store_fetch(int64_t *added, tri_store *into, tri_store *from, const char *problem,
                              const char *device, tri_check_fn check, void *user) {
    intake in = {
        .into = into, .from = from->path, .check = check, .user = user, .arrival = {TRI_TIER_UNKNOWN, ""}};
    triage_status status = tri_store_evidence(from, problem, device, fetch_row, &in);
    status = close_batch(&in, status);
    if (added)
        *added = in.result.added;
    return status;
}

/* ---- export ---- */

typedef struct outlet {
    FILE *file;
    const char *path;
    int64_t rows;
    tri_text *ids; /* of the rows, a line each; NULL: nobody asks */
} outlet;

static triage_status export_row(void *user, const tri_measurement *row) {
    outlet *out = user;
    char *line = NULL;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_measurement_check_foreign(row));
    TRI_TRY(tri_measurement_to_json(&line, row));
    if (fprintf(out->file, "%s\n", line) < 0)
        TRI_TRY(tri_fail(TRIAGE_E_IO, "%s: %s", out->path, strerror(errno)));
    if (out->ids)
        TRI_TRY(tri_text_format(out->ids, "%s\n", row->id));
    out->rows++;
done:
    free(line);
    return status;
}

/* Written beside its place and renamed: a reader sees all of it or none. */
static triage_status export_to(int64_t *rows, tri_store *store, const char *jsonl_path, tri_text *ids) {
    triage_status status = TRIAGE_OK;
    char *partial = NULL;
    outlet out = {.path = jsonl_path, .ids = ids};
    struct stat info;
    *rows = 0;
    if (stat(jsonl_path, &info) == 0 && !S_ISREG(info.st_mode)) /* a device or folder must not be replaced */
        TRI_TRY(tri_fail(TRIAGE_E_IO, "%s: not a regular file", jsonl_path));
    TRI_TRY(tri_format(&partial, "%s.XXXXXX", jsonl_path));
    int fd = mkostemp(partial, O_CLOEXEC);
    if (fd < 0)
        TRI_TRY(tri_fail(TRIAGE_E_IO, "%s: %s", jsonl_path, strerror(errno)));
    out.file = fdopen(fd, "w");
    if (!out.file) {
        close(fd);
        TRI_TRY(tri_fail(TRIAGE_E_MEMORY, "%s: out of memory", jsonl_path));
    }
    TRI_TRY(tri_store_each(store, export_row, &out));
    if (fflush(out.file) != 0 || fchmod(fd, 0644) != 0 || fsync(fd) != 0 || rename(partial, jsonl_path) != 0)
        TRI_TRY(tri_fail(TRIAGE_E_IO, "%s: %s", jsonl_path, strerror(errno)));
    *rows = out.rows;
done:
    if (status != TRIAGE_OK && out.file)
        unlink(partial);
    if (out.file)
        fclose(out.file);
    free(partial);
    return status;
}

triage_status tri_store_export(int64_t *rows, tri_store *store, const char *jsonl_path) {
    return export_to(rows, store, jsonl_path, NULL);
}

triage_status tri_store_export_signed(int64_t *rows, tri_store *store, const char *jsonl_path,
                                      const tri_signing_key *key) {
    triage_status status = TRIAGE_OK;
    tri_text ids = TRI_TEXT_INIT;
    TRI_TRY(export_to(rows, store, jsonl_path, &ids));
    TRI_TRY(tri_signature_write(jsonl_path, key, &ids));
done:
    tri_text_free(&ids);
    return status;
}

/* ---- import ---- */

/* Reads a line without its end into a buffer of LINE_LIMIT + 2. A longer line, or one with a zero byte, is
 * read to its end and refused. */
static triage_status read_line(bool *more, char *line, FILE *file) {
    size_t size = 0;
    bool zero = false;
    int c;
    while ((c = getc_unlocked(file)) != EOF && c != '\n') {
        zero = zero || c == '\0';
        if (size <= LINE_LIMIT)
            line[size++] = (char)c;
    }
    *more = c == '\n' || size > 0;
    line[size] = '\0';
    if (size > LINE_LIMIT)
        return tri_fail(TRIAGE_E_DATA, "the line is longer than %d bytes", LINE_LIMIT);
    return zero ? tri_fail(TRIAGE_E_DATA, "the line has a zero byte") : TRIAGE_OK;
}

/* id: the row's, as far as the line has one. */
static triage_status import_line(char id[TRI_HASH_SIZE], intake *in, const char *line) {
    tri_measurement row;
    triage_status status = tri_measurement_from_json(&row, line);
    memcpy(id, row.id, TRI_HASH_SIZE);
    if (status == TRIAGE_OK)
        status = take_row(in, &row);
    tri_measurement_clear(&row);
    return status;
}

static triage_status import_lines(intake *in, FILE *file, char *line) {
    triage_status status = TRIAGE_OK;
    for (int64_t number = 1; status == TRIAGE_OK; number++) {
        bool more;
        char id[TRI_HASH_SIZE] = "";
        status = read_line(&more, line, file);
        if (!more)
            break;
        const char *text = line + (number == 1 && strncmp(line, BYTE_ORDER_MARK, 3) == 0 ? 3 : 0);
        if (status == TRIAGE_OK && text[strspn(text, " \t\r")] == '\0')
            continue; /* a blank line is no row */
        in->result.read++;
        if (status == TRIAGE_OK)
            status = import_line(id, in, text);
        if (status != TRIAGE_OK)
            status = refuse(in, status, "line", number, id);
    }
    if (status == TRIAGE_OK && ferror(file))
        status = tri_fail(TRIAGE_E_IO, "%s: %s", in->from, strerror(errno));
    return status;
}

/* A regular file only: what has no end is not read to it, and a pipe that nobody writes to is not waited for. */
static triage_status open_lines(FILE **out, const char *path) {
    struct stat info;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return tri_fail(TRIAGE_E_IO, "%s: %s", path, strerror(errno));
    if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode))
        *out = fdopen(fd, "r");
    if (*out)
        return TRIAGE_OK;
    close(fd);
    return tri_fail(TRIAGE_E_IO, "%s: not a regular file", path);
}

static triage_status import(intake *in) {
    triage_status status = TRIAGE_OK;
    FILE *file = NULL;
    char *line = NULL;
    TRI_TRY(tri_calloc(&line, LINE_LIMIT + 2, 1));
    TRI_TRY(open_lines(&file, in->from));
    TRI_TRY(import_lines(in, file, line));
done:
    status = finish(in, status);
    if (file)
        fclose(file);
    free(line);
    return status;
}

triage_status tri_store_import(tri_merge_result *out, tri_store *into, const char *jsonl_path,
                               tri_check_fn check, void *user, const tri_log *log) {
    intake in = {.into = into,
                 .from = jsonl_path,
                 .check = check,
                 .user = user,
                 .log = log,
                 .arrival = {TRI_TIER_UNKNOWN, ""}};
    const triage_status status = import(&in);
    *out = in.result;
    return status;
}

triage_status tri_store_import_trusted(tri_merge_result *out, tri_store *into, const char *jsonl_path,
                                       const char *public_key, tri_check_fn check, void *user,
                                       const tri_log *log) {
    triage_status status = TRIAGE_OK;
    char peer[8 + TRI_PUBLIC_KEY_SIZE];
    tri_signed_ids ids = {0};
    intake in = {.into = into,
                 .from = jsonl_path,
                 .check = check,
                 .user = user,
                 .log = log,
                 .arrival = {TRI_TIER_PEER, peer},
                 .is_signed = &ids};
    *out = in.result;
    TRI_TRY(tri_signature_read(&ids, jsonl_path, public_key));
    snprintf(peer, sizeof peer, "key %s", public_key);
    status = import(&in);
    *out = in.result;
done:
    tri_signed_ids_free(&ids);
    return status;
}
