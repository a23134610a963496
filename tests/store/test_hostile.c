// links: base store
/* Files made to deceive: each bad row is refused and named, the good ones beside it arrive, nothing else
 * happens. */
#include "store/said.h"
#include "store/sqlite_file.h"

#include <sys/stat.h>

#include "store/sqlite.h"

/* ---- hostile SQLite files ---- */

/* The tables as ours but without a type or a check: any value fits. Rows 1 and 3 are good, row 2 is spoiled. */
static void make_loose(const char *name, const char *spoil) {
    tri_store *store = NULL;
    if (access(in_folder("good.db"), F_OK) != 0)
        store = open_store("good.db", TRI_STORE_WRITE);
    for (int i = 1; i <= 3 && store; i++) {
        tri_measurement row = row_of(i == 1 ? "one" : i == 2 ? "two" : "three", 100 * i);
        add(store, row);
    }
    tri_store_close(store);
    unlink(in_folder(name));
    tri_text text = TRI_TEXT_INIT;
    assert_ok(tri_text_format(
        &text,
        "PRAGMA synchronous = OFF; PRAGMA application_id = 1414678849; PRAGMA user_version = 1; ATTACH '%s' "
        "AS g;"
        "CREATE TABLE problem (id INTEGER PRIMARY KEY, key);"
        "CREATE TABLE device (id INTEGER PRIMARY KEY, key);"
        "CREATE TABLE candidate (id INTEGER PRIMARY KEY, source_hash, config, kernel);"
        "CREATE TABLE origin (id INTEGER PRIMARY KEY, host, device_name, compiler, version);"
        "CREATE TABLE measurement (row INTEGER PRIMARY KEY, id, problem, device, candidate, origin, stage, "
        "outcome,"
        " reason, median_ns, low_ns, high_ns, min_ns, samples, cold_l2, row_error, row_error_limit, "
        "registers,"
        " spill_bytes, smem_bytes, seed, measured_at_ms, circumstances);"
        "INSERT INTO problem SELECT * FROM g.problem; INSERT INTO device SELECT * FROM g.device;"
        "INSERT INTO candidate SELECT * FROM g.candidate; INSERT INTO origin SELECT * FROM g.origin;"
        "INSERT INTO measurement SELECT * FROM g.measurement; DETACH g; %s",
        in_folder("good.db"), spoil));
    sql(name, text.data);
    tri_text_free(&text);
}

static void expect_one_refused(const char *spoil, const char *words) {
    tri_merge_result result;
    make_loose("loose.db", spoil);
    tri_store *store = open_store("into.db", TRI_STORE_WRITE);
    assert_ok(tri_store_merge(&result, store, in_folder("loose.db"), NULL, NULL, &log_here));
    if (result.refused != 1 || !said.data || !strstr(said.data, words) || !strstr(said.data, "row 2"))
        fail_msg("%s: refused %d: %s", spoil, (int)result.refused, said.data ? said.data : "");
    assert_int_equal(result.read, 3);
    assert_int_equal(result.added + result.present, 2);
    tri_text_free(&said);
    tri_store_close(store);
}

static void test_spoiled_rows(void **state) {
    (void)state;
#define SPOIL(set) "UPDATE measurement SET " set " WHERE row = 2"
    expect_one_refused(SPOIL("median_ns = 1.0"), "median_ns: 1 is not within");
    expect_one_refused(SPOIL("median_ns = 200.0000001"), "was changed");
    expect_one_refused(SPOIL("median_ns = NULL"), "median_ns: not a real number");
    expect_one_refused(SPOIL("median_ns = 'fast'"), "median_ns: not a real number");
    expect_one_refused(SPOIL("high_ns = 9e999"), "high_ns: inf");
    expect_one_refused(SPOIL("min_ns = -5.5"), "min_ns: -5.5");
    expect_one_refused(SPOIL("samples = 2.5"), "samples: not an integer");
    expect_one_refused(SPOIL("samples = -1"), "samples: -1");
    expect_one_refused(SPOIL("cold_l2 = 2"), "cold_l2: neither 0 nor 1");
    expect_one_refused(SPOIL("cold_l2 = -9223372036854775808"), "cold_l2: neither 0 nor 1");
    expect_one_refused(SPOIL("outcome = 'splendid'"), "outcome: \"splendid\"");
    expect_one_refused(SPOIL("outcome = x'72'"), "outcome: not a text");
    expect_one_refused(SPOIL("outcome = 'wrong'"), "reason: none");
    expect_one_refused(SPOIL("stage = 'final'"), "stage: \"final\"");
    expect_one_refused(SPOIL("row_error = 0.9"), "above its limit");
    expect_one_refused(SPOIL("problem = 99"), "problem: not a text");
    expect_one_refused(SPOIL("origin = NULL"), "device_name: not a text");
    expect_one_refused(SPOIL("circumstances = '{\"a\": ]'"), "circumstances: not JSON");
    expect_one_refused(SPOIL("circumstances = '{\"x\": \"' || char(27) || '[2J\"}'"),
                       "circumstances: not one line");
    expect_one_refused(SPOIL("reason = CAST(x'6100' AS TEXT)"), "reason: a text with a zero byte");
    expect_one_refused(SPOIL("id = 'short'"), "id: \"short\"");
    expect_one_refused(SPOIL("id = 'GGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGG'"), "id: \"GGGG");
    expect_one_refused(SPOIL("id = (SELECT id FROM measurement WHERE row = 1)"), "was changed");
    expect_one_refused(SPOIL("circumstances = '{' || hex(zeroblob(10000)) || '}'"),
                       "circumstances: at least");
    expect_one_refused(SPOIL("reason = hex(zeroblob(3000000))"), "larger than any");
    expect_one_refused(SPOIL("reason = zeroblob(50000000)"),
                       "larger than any"); /* no memory for it is asked */
    expect_one_refused(SPOIL("reason = zeroblob(100)"), "reason: not a text");
    expect_one_refused(SPOIL("seed = 1e300"), "seed: not an integer");
    expect_one_refused(SPOIL("measured_at_ms = 9223372036854775807"), "measured_at_ms: 9223372036854775807");
    expect_one_refused(SPOIL("measured_at_ms = -1"), "measured_at_ms: -1");
    expect_one_refused(SPOIL("outcome = 'wrong', reason = CAST(x'ff61' AS TEXT)"),
                       "reason: not one line of UTF-8");
    expect_one_refused(SPOIL("reason = char(155) || '2J'"),
                       "reason: not one line"); /* CSI in one character */
    expect_one_refused(SPOIL("reason = 'a' || char(8238) || 'b'"),
                       "reason: not one line"); /* right to left */
    expect_one_refused(SPOIL("circumstances = hex(zeroblob(10)) || '['"), "circumstances: not JSON");
    expect_one_refused(SPOIL("circumstances = replace(hex(zeroblob(4000)), '0', '[')"),
                       "circumstances: not JSON");
    expect_one_refused(SPOIL("circumstances = '{\"a\": 1, \"a\": 2}'"), "circumstances: not JSON: duplicate");
    expect_one_refused(SPOIL("circumstances = '[]'"), "circumstances: not a JSON object");
    expect_one_refused("UPDATE candidate SET config = 'four' WHERE config = 'two'", "was changed");
    expect_one_refused("UPDATE candidate SET config = hex(zeroblob(5000000)) WHERE config = 'two'",
                       "larger than any");
    expect_one_refused("UPDATE candidate SET source_hash = '../../etc/passwd' WHERE config = 'two'",
                       "source_hash");
#undef SPOIL
}

static void expect_file_refused(triage_status wanted, const char *words) {
    tri_merge_result result;
    unlink(in_folder("into.db"));
    tri_store *store = open_store("into.db", TRI_STORE_WRITE);
    assert_fails(wanted, words,
                 tri_store_merge(&result, store, in_folder("loose.db"), NULL, NULL, &log_here));
    int64_t rows = 0;
    assert_ok(tri_store_each(store, count_rows, &rows));
    assert_int_equal(rows, 0);
    tri_store_close(store);
}

/* Views and virtual tables under our names run their author's SQL: none is read. */
static void test_disguised_tables(void **state) {
    (void)state;
    make_loose("loose.db", "ALTER TABLE measurement RENAME TO m; CREATE VIEW measurement AS SELECT * FROM m");
    expect_file_refused(TRIAGE_E_DATA, "not all tables");
    make_loose("loose.db", "DROP TABLE device; CREATE VIEW device AS SELECT 1 AS id, randomblob(1e9) AS key");
    expect_file_refused(TRIAGE_E_DATA, "not all tables");
    make_loose("loose.db", "DROP TABLE origin");
    expect_file_refused(TRIAGE_E_DATA, "not all tables");
    make_loose("loose.db", "ALTER TABLE measurement DROP COLUMN seed");
    expect_file_refused(TRIAGE_E_DATA, "seed");
    make_loose("loose.db", "DROP TABLE device; CREATE TABLE device AS SELECT 1 AS id, 'x' AS key");
    expect_file_refused(TRIAGE_E_DATA, "not all tables");
    make_loose("loose.db", "PRAGMA user_version = 7");
    expect_file_refused(TRIAGE_E_DATA, "schema 7");
    make_loose("loose.db", "PRAGMA application_id = 1");
    expect_file_refused(TRIAGE_E_DATA, "not of triage");
}

/* The text of a virtual table need not begin as SQLite writes it. */
static void test_virtual_tables(void **state) {
    (void)state;
    make_loose("loose.db", "DROP TABLE device; CREATE VIRTUAL TABLE device USING rtree(id, low, high)");
    expect_file_refused(TRIAGE_E_DATA, "not all tables");
    make_loose("loose.db", "DROP TABLE device; CREATE VIRTUAL TABLE device USING fts5(key)");
    expect_file_refused(TRIAGE_E_DATA, "not all tables");
    make_loose("loose.db", "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET rootpage = 0, sql = "
                           "'CREATE/**/VIRTUAL TABLE device USING fts5(key)' WHERE name = 'device'");
    expect_file_refused(TRIAGE_E_DATA, "not all tables");
    make_loose("loose.db", "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = "
                           "'CREATE TABLE device (id INTEGER PRIMARY KEY, key' WHERE name = 'device'");
    expect_file_refused(TRIAGE_E_DATA, "malformed");
}

/* A journal beside the file would be played back into it: nothing is written to a file from elsewhere. */
static void test_journals_beside_it(void **state) {
    (void)state;
    static const char *const suffixes[] = {"-journal", "-wal"};
    char garbage[4096], path[200], *before = NULL, *after = NULL;
    tri_merge_result result;
    size_t size, size_after;
    memset(garbage, 0xd9, sizeof garbage);
    for (size_t i = 0; i < 2; i++) {
        make_loose("loose.db", "");
        assert_ok(tri_file_read(&before, &size, in_folder("loose.db"), 0));
        snprintf(path, sizeof path, "%s%s", in_folder("loose.db"), suffixes[i]);
        assert_ok(tri_file_write_atomic(path, garbage, sizeof garbage, 0600));
        unlink(in_folder("into.db"));
        tri_store *store = open_store("into.db", TRI_STORE_WRITE);
        triage_status status = tri_store_merge(&result, store, in_folder("loose.db"), NULL, NULL, NULL);
        assert_true(status != TRIAGE_OK || result.added == 3); /* as it lies, or not at all */
        tri_store_close(store);
        assert_ok(tri_file_read(&after, &size_after, in_folder("loose.db"), 0));
        assert_int_equal(size, size_after);
        assert_memory_equal(before, after, size);
        unlink(path);
        free(before);
        free(after);
    }
}

static void put_big_endian(unsigned char *to, uint32_t number) {
    for (int i = 0; i < 4; i++)
        to[i] = (unsigned char)(number >> (24 - 8 * i));
}

/* A journal that has nothing to play back, and names a file as the journal of several databases: SQLite deletes that then. */
static void write_journal_that_names(const char *journal, const char *victim, size_t database_size) {
    static const unsigned char magic[8] = {0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7};
    enum { SECTOR = 512, PAGE = 4096 };
    unsigned char bytes[2 * SECTOR] = {0};
    const size_t size = strlen(victim);
    uint32_t sum = 0;
    memcpy(bytes, magic, sizeof magic);
    put_big_endian(bytes + 16, (uint32_t)(database_size / PAGE));
    put_big_endian(bytes + 20, SECTOR);
    put_big_endian(bytes + 24, PAGE);
    unsigned char *end = bytes + SECTOR;
    put_big_endian(end, 0x40000000 / PAGE + 1);
    memcpy(end + 4, victim, size);
    for (size_t i = 0; i < size; i++)
        sum += (uint32_t)(signed char)victim[i];
    put_big_endian(end + 4 + size, (uint32_t)size);
    put_big_endian(end + 8 + size, sum);
    memcpy(end + 12 + size, magic, sizeof magic);
    assert_ok(tri_file_write_atomic(journal, bytes, SECTOR + 20 + size, 0600));
}

static void test_journals_that_name_a_file(void **state) {
    (void)state;
    static const tri_store_mode modes[] = {TRI_STORE_READ, TRI_STORE_WRITE};
    char victim[200], journal[200];
    struct stat info;
    snprintf(victim, sizeof victim, "%s", in_folder("victim"));
    snprintf(journal, sizeof journal, "%s", in_folder("super.db-journal"));
    tri_store_close(open_store("super.db", TRI_STORE_WRITE));
    sql("super.db", "PRAGMA journal_mode = DELETE");
    assert_ok(tri_file_write_atomic(victim, "theirs", 6, 0600));
    assert_int_equal(stat(in_folder("super.db"), &info), 0);
    for (size_t i = 0; i < 2; i++) {
        tri_store *store = NULL;
        write_journal_that_names(journal, victim, (size_t)info.st_size);
        assert_fails(TRIAGE_E_DATA, "names another file",
                     tri_store_open(&store, in_folder("super.db"), modes[i]));
        assert_int_equal(access(victim, F_OK), 0);
    }
    sql("super.db", "SELECT count(*) FROM sqlite_schema"); /* it is a way, when nobody looks */
    assert_int_equal(access(victim, F_OK), -1);
}

/* Links in the place of SQLite's files beside it: what they lead to stays as it is. */
static void test_links_beside_it(void **state) {
    (void)state;
    static const char *const suffixes[] = {"-journal", "-wal", "-shm"};
    char victim[200], link[200], *after = NULL;
    size_t size = 0;
    snprintf(victim, sizeof victim, "%s", in_folder("victim"));
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        tri_store *store = NULL;
        tri_store_close(open_store("linked.db", TRI_STORE_WRITE));
        assert_ok(tri_file_write_atomic(victim, "theirs", 6, 0600));
        snprintf(link, sizeof link, "%s%s", in_folder("linked.db"), suffixes[i]);
        unlink(link);
        assert_int_equal(symlink(victim, link), 0);
        for (int mode = TRI_STORE_READ; mode <= TRI_STORE_WRITE; mode++)
            if (tri_store_open(&store, in_folder("linked.db"), (tri_store_mode)mode) == TRIAGE_OK)
                tri_store_close(store);
        assert_ok(tri_file_read(&after, &size, victim, 0));
        assert_int_equal(size, 6);
        assert_memory_equal(after, "theirs", 6);
        free(after);
        unlink(link);
    }
}

/* What the files' names could mean to SQLite or the system beside a file. */
static void test_paths(void **state) {
    (void)state;
    static const char *const names[] = {":memory:",
                                        "file:loose.db?mode=memory",
                                        "file::memory:?cache=shared",
                                        "/dev/zero",
                                        "/dev/null",
                                        "/",
                                        "",
                                        "loop.db"};
    tri_merge_result result;
    tri_store *store = open_store("paths.db", TRI_STORE_WRITE);
    assert_int_equal(symlink("loop.db", in_folder("loop.db")), 0);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *name = strcmp(names[i], "loop.db") == 0 ? in_folder("loop.db") : names[i];
        const triage_status status = tri_store_merge(&result, store, name, NULL, NULL, NULL);
        if (status == TRIAGE_OK || status == TRIAGE_E_MEMORY || !triage_last_error()[0])
            fail_msg("\"%s\": %s", name, triage_status_name(status));
    }
    int64_t rows;
    assert_fails(TRIAGE_E_IO, "/dev/null: not a regular file", tri_store_export(&rows, store, "/dev/null"));
    struct stat info;
    assert_true(stat("/dev/null", &info) == 0 && S_ISCHR(info.st_mode));
    assert_fails(TRIAGE_E_IO, folder, tri_store_export(&rows, store, folder));
    tri_store_close(store);
}

/* ---- how files are opened ---- */

static int config_of(sqlite3 *db, int option) {
    int value = -1;
    assert_int_equal(sqlite3_db_config(db, option, -1, &value), SQLITE_OK);
    return value;
}

static void expect_sql_error(sqlite3 *db, const char *text, const char *words) {
    if (sqlite3_exec(db, text, NULL, NULL, NULL) == SQLITE_OK || !strstr(sqlite3_errmsg(db), words))
        fail_msg("%s: %s, not %s", text, sqlite3_errmsg(db), words);
}

static int pragma_of(sqlite3 *db, const char *text) {
    sqlite3_stmt *sql = NULL;
    assert_int_equal(sqlite3_prepare_v2(db, text, -1, &sql, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(sql), SQLITE_ROW);
    const int value = sqlite3_column_int(sql, 0);
    sqlite3_finalize(sql);
    return value;
}

/* Asked of the connection itself: set is what it says it is, not what we wrote. */
static void expect_hardened(tri_store *store, bool foreign, bool writes) {
    sqlite3 *db = store->db;
    assert_int_equal(config_of(db, SQLITE_DBCONFIG_DEFENSIVE), 1);
    assert_int_equal(config_of(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA), 0);
    assert_int_equal(config_of(db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION), 0);
    assert_int_equal(config_of(db, SQLITE_DBCONFIG_WRITABLE_SCHEMA), 0);
    assert_int_equal(config_of(db, SQLITE_DBCONFIG_ENABLE_VIEW), !foreign);
    assert_int_equal(config_of(db, SQLITE_DBCONFIG_ENABLE_TRIGGER), !foreign);
    assert_int_equal(config_of(db, SQLITE_DBCONFIG_DQS_DML), 0);
    assert_int_equal(config_of(db, SQLITE_DBCONFIG_DQS_DDL), 0);
    static const int limits[] = {
        SQLITE_LIMIT_LENGTH,       SQLITE_LIMIT_SQL_LENGTH,      SQLITE_LIMIT_COLUMN,
        SQLITE_LIMIT_EXPR_DEPTH,   SQLITE_LIMIT_COMPOUND_SELECT, SQLITE_LIMIT_VDBE_OP,
        SQLITE_LIMIT_FUNCTION_ARG, SQLITE_LIMIT_ATTACHED,        SQLITE_LIMIT_TRIGGER_DEPTH};
    static const int most[] = {1 << 20, 1 << 16, 64, 64, 8, 25000, 16, 0, 4};
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++)
        assert_int_equal(sqlite3_limit(db, limits[i], -1), most[i]);
    assert_int_equal(pragma_of(db, "PRAGMA trusted_schema"), 0);
    assert_int_equal(pragma_of(db, "PRAGMA cell_size_check"), 1);
    assert_int_equal(pragma_of(db, "PRAGMA query_only"), !writes);
    expect_sql_error(db, "SELECT load_extension('evil')", "not authorized");
    expect_sql_error(db, "ATTACH ':memory:' AS other", "too many attached");
    expect_sql_error(db, "SELECT zeroblob(2000000)", "too big");
    expect_sql_error(db, "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = ''", "");
    if (!writes)
        expect_sql_error(db, "DELETE FROM problem", "readonly");
    if (foreign)
        expect_sql_error(db, "SELECT * FROM evidence", "view");
}

static void test_connections_are_hardened(void **state) {
    (void)state;
    tri_store *store = NULL;
    make_loose("loose.db", "CREATE VIEW evidence AS SELECT 'lies'");
    assert_ok(tri_sqlite_open(&store, in_folder("loose.db"), TRI_ACCESS_FOREIGN));
    assert_int_equal(sqlite3_db_readonly(store->db, "main"), 1);
    expect_hardened(store, true, false);
    tri_sqlite_close(store);
    store = open_store("own.db", TRI_STORE_WRITE);
    expect_hardened(store, false, true);
    tri_store_close(store);
    store = open_store("own.db", TRI_STORE_READ);
    expect_hardened(store, false, false);
    tri_store_close(store);
}

/* A computed column could work for ever or fill the memory. */
static void test_generated_columns(void **state) {
    (void)state;
    make_loose(
        "loose.db",
        "DROP TABLE device; CREATE TABLE device (id INTEGER PRIMARY KEY, key TEXT AS (hex(zeroblob(1e8))));"
        "INSERT INTO device (id) VALUES (1)");
    tri_merge_result result;
    unlink(in_folder("into.db"));
    tri_store *store = open_store("into.db", TRI_STORE_WRITE);
    assert_ok(tri_store_merge(&result, store, in_folder("loose.db"), NULL, NULL, &log_here));
    assert_int_equal(result.refused, 3);
    assert_non_null(strstr(said.data, "larger than any"));
    tri_text_free(&said);
    tri_store_close(store);
}

/* A trigger in the source must not run, one in an own file is no own file. */
static void test_triggers(void **state) {
    (void)state;
    tri_merge_result result;
    make_loose("loose.db", "CREATE TRIGGER t AFTER INSERT ON measurement BEGIN DELETE FROM problem; END;"
                           "CREATE VIEW evidence AS SELECT 'lies'");
    unlink(in_folder("into.db"));
    tri_store *store = open_store("into.db", TRI_STORE_WRITE);
    assert_ok(tri_store_merge(&result, store, in_folder("loose.db"), NULL, NULL, &log_here));
    assert_int_equal(result.added, 3);
    tri_store_close(store);
}

/* Every byte of a good file, spoiled in turn at many places: never a crash, never a row that was changed. */
static void test_damaged_files(void **state) {
    (void)state;
    char *data = NULL;
    size_t size;
    tri_random random;
    make_loose("loose.db", "");
    assert_ok(tri_file_read(&data, &size, in_folder("good.db"), 0));
    tri_random_seed(&random, 4);
    tri_store *store = open_store("damage.db", TRI_STORE_WRITE);
    int arrived = 0;
    for (int i = 0; i < 300; i++) {
        size_t at = (size_t)tri_random_below(&random, size),
               count = 1 + (size_t)tri_random_below(&random, 64);
        char saved[64];
        count = count < size - at ? count : size - at;
        memcpy(saved, data + at, count);
        for (size_t j = 0; j < count; j++)
            data[at + j] = (char)tri_random_next(&random);
        assert_ok(tri_file_write_atomic(in_folder("damaged.db"), data, i % 10 ? size : at, 0644));
        memcpy(data + at, saved, count);
        tri_merge_result result;
        triage_status status = tri_store_merge(&result, store, in_folder("damaged.db"), NULL, NULL, NULL);
        arrived += status == TRIAGE_OK && result.refused == 0;
    }
    int64_t rows;
    assert_ok(tri_store_verify(&rows, store));
    assert_int_equal(rows, 3); /* the three good ones, however often they came, and no other */
    assert_true(arrived > 0);
    tri_store_close(store);
    free(data);
}

/* ---- hostile JSON ---- */

/* The good line with one text replaced by another. */
static char *line_with(const char *old, const char *new) {
    static char *good;
    if (!good) {
        tri_store *store = open_store("line.db", TRI_STORE_WRITE);
        tri_measurement row = row_of("one", 100);
        assert_ok(tri_store_add(store, &row));
        assert_ok(tri_measurement_to_json(&good, &row));
        tri_store_close(store);
    }
    const char *at = old[0] ? strstr(good, old) : good + strlen(good);
    assert_non_null(at);
    char *line = NULL;
    assert_ok(tri_format(&line, "%.*s%s%s", (int)(at - good), good, new, at + strlen(old)));
    return line;
}

static void expect_bad_line(const char *old, const char *new, const char *words) {
    tri_measurement row = {0};
    char *line = line_with(old, new);
    assert_fails(TRIAGE_E_DATA, words, tri_measurement_from_json(&row, line));
    assert_null(row.problem);
    free(line);
}

static void test_spoiled_json(void **state) {
    (void)state;
    tri_measurement row = {0};
    char *good = line_with("", "");
    assert_ok(tri_measurement_from_json(&row, good));
    tri_measurement_clear(&row);
    free(good);
    expect_bad_line("\"schema\":1", "\"schema\":2", "schema: 2");
    expect_bad_line("\"schema\":1", "\"schema\":\"1\"", "schema: missing or not an integer");
    expect_bad_line("\"seed\":7", "\"seed\":7,\"evil\":1", "\"evil\": unknown key");
    expect_bad_line("\"seed\":7", "\"seed\":7,\"seed\":7", "not JSON");
    expect_bad_line("\"seed\":7,", "", "seed: missing");
    expect_bad_line("\"seed\":7", "\"seed\":7.0", "seed: not an integer");
    expect_bad_line("\"seed\":7", "\"seed\":99999999999999999999", "not JSON");
    expect_bad_line("\"seed\":7", "\"seed\":8", "was changed");
    expect_bad_line("\"samples\":30", "\"samples\":-1", "samples: -1");
    expect_bad_line("\"cold_l2\":true", "\"cold_l2\":1", "cold_l2: not true or false");
    expect_bad_line("\"median_ns\":100.0", "\"median_ns\":null", "median_ns: not a number");
    expect_bad_line("\"median_ns\":100.0", "\"median_ns\":NaN", "not JSON");
    expect_bad_line("\"median_ns\":100.0", "\"median_ns\":-0.0", "median_ns: -0");
    expect_bad_line("\"median_ns\":100.0", "\"median_ns\":1e999", "not JSON");
    expect_bad_line("\"outcome\":\"right\"", "\"outcome\":\"Right\"", "outcome: \"Right\"");
    expect_bad_line("\"stage\":\"search\"", "\"stage\":[]", "stage: not a string");
    expect_bad_line("\"config\":\"one\"", "\"config\":\"\\u0000\"", "not JSON");
    expect_bad_line("\"config\":\"one\"", "\"config\":\"\\u001b[2J\"", "config: not one line");
    expect_bad_line("\"config\":\"one\"", "\"config\":\"\xff\"", "not JSON");
    expect_bad_line("\"config\":\"one\"", "\"config\":\"\\u009b2J\"", "config: not one line");
    expect_bad_line("\"config\":\"one\"", "\"config\":\"\\u202eeno\"", "config: not one line");
    expect_bad_line("\"config\":\"one\"", "\"config\":\"\\ud800\"", "not JSON");  /* half a pair */
    expect_bad_line("\"config\":\"one\"", "\"config\":\"\xc0\xaf\"", "not JSON"); /* overlong */
    expect_bad_line("\"median_ns\":100.0", "\"median_ns\":1e308",
                    "median_ns: 1e+308 is not a finite number in 0");
    expect_bad_line("\"median_ns\":100.0", "\"median_ns\":-1", "median_ns: -1 is not");
    expect_bad_line("\"median_ns\":100.0", "\"median_ns\":Infinity", "not JSON");
    expect_bad_line("\"seed\":7", "\"seed\":{}", "seed: not an integer");
    expect_bad_line("\"id\":\"", "\"id\":\"00", "id: missing or not 32");
    expect_bad_line("{\"schema\"", "[{\"schema\"", "not JSON");
    assert_fails(TRIAGE_E_DATA, "not JSON", tri_measurement_from_json(&row, ""));
    assert_fails(TRIAGE_E_DATA, "not a JSON object", tri_measurement_from_json(&row, "[]"));
    assert_fails(TRIAGE_E_DATA, "schema", tri_measurement_from_json(&row, "{}"));
}

/* Nesting is bounded before it can use up the stack, however short the line. */
static void test_deep_nesting(void **state) {
    (void)state;
    tri_text text = TRI_TEXT_INIT;
    assert_ok(tri_text_append(&text, "\"seed\":", 7));
    for (int i = 0; i < 5000; i++)
        assert_ok(tri_text_append(&text, "{\"a\":", 5));
    expect_bad_line("\"seed\":7", text.data, "not JSON: maximum parsing depth reached");
    tri_text_free(&text);
}

static void test_spoiled_lines_in_a_file(void **state) {
    (void)state;
    tri_text text = TRI_TEXT_INIT;
    tri_merge_result result;
    char *good = line_with("", ""), *changed = line_with("\"seed\":7", "\"seed\":8");
    assert_ok(tri_text_format(&text, "%s\n\n{\"schema\":1", changed));
    for (int i = 0; i < 200000; i++)
        assert_ok(tri_text_append(&text, " ", 1));
    assert_ok(tri_text_append(&text, "\n{\0}\n", 5));
    for (int i = 0; i < 30000; i++)
        assert_ok(tri_text_append(&text, "[", 1));
    assert_ok(tri_text_format(&text, "\n%s", good)); /* the last line has no end */
    assert_ok(tri_file_write_atomic(in_folder("bad.jsonl"), text.data, text.size, 0644));
    tri_store *store = open_store("lines.db", TRI_STORE_WRITE);
    assert_ok(tri_store_import(&result, store, in_folder("bad.jsonl"), NULL, NULL, &log_here));
    assert_int_equal(result.read, 5);
    assert_int_equal(result.refused, 4);
    assert_int_equal(result.added, 1);
    assert_non_null(strstr(said.data, "bad.jsonl: line 1, measurement "));
    assert_null(strstr(said.data, "line 2 ")); /* a blank line is no row */
    assert_non_null(strstr(said.data, "line 3 refused: the line is longer than 65536 bytes"));
    assert_non_null(strstr(said.data, "line 4 refused: the line has a zero byte"));
    assert_non_null(strstr(said.data, "line 5 refused: not JSON"));
    assert_fails(TRIAGE_E_IO, "nowhere.jsonl",
                 tri_store_import(&result, store, in_folder("nowhere.jsonl"), NULL, NULL, NULL));
    assert_fails(TRIAGE_E_IO, folder, tri_store_import(&result, store, folder, NULL, NULL, NULL));
    tri_store_close(store);
    tri_text_free(&said);
    tri_text_free(&text);
    free(good);
    free(changed);
}

/* What has no end, or nobody to write it, is no file of lines. */
static void test_only_files_are_imported(void **state) {
    (void)state;
    tri_merge_result result;
    tri_store *store = open_store("regular.db", TRI_STORE_WRITE);
    assert_int_equal(mkfifo(in_folder("fifo.jsonl"), 0600), 0);
    const char *const paths[] = {in_folder("fifo.jsonl"), "/dev/zero", folder};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
        assert_fails(TRIAGE_E_IO, "not a regular file",
                     tri_store_import(&result, store, paths[i], NULL, NULL, NULL));
    expect_rows(store, 0);
    tri_store_close(store);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_files_are_imported),
        cmocka_unit_test(test_spoiled_rows),
        cmocka_unit_test(test_disguised_tables),
        cmocka_unit_test(test_virtual_tables),
        cmocka_unit_test(test_journals_beside_it),
        cmocka_unit_test(test_journals_that_name_a_file),
        cmocka_unit_test(test_links_beside_it),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_connections_are_hardened),
        cmocka_unit_test(test_generated_columns),
        cmocka_unit_test(test_triggers),
        cmocka_unit_test(test_damaged_files),
        cmocka_unit_test(test_spoiled_json),
        cmocka_unit_test(test_deep_nesting),
        cmocka_unit_test(test_spoiled_lines_in_a_file),
    };
    return cmocka_run_group_tests_name("hostile", tests, make_folder, remove_folder);
}
