// links: base store
/* One file of evidence: append-only and verified, read by plans that use indexes, older and foreign files, places
 * that cannot be written, and several writers. */
#include "store/sqlite_file.h"

#include <signal.h>
#include <sys/wait.h>

#include "store/sqlite.h"

/* ---- append-only, verified ---- */

static void expect_refused_sql(const char *name, const char *text) {
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(in_folder(name), &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_CONSTRAINT);
    assert_non_null(strstr(sqlite3_errmsg(db), "append-only"));
    sqlite3_close(db);
}

static void test_evidence_is_append_only(void **state) {
    (void)state;
    tri_store *store = open_store("append.db", TRI_STORE_WRITE);
    add(store, row_of("a", 100));
    tri_store_close(store);
    expect_refused_sql("append.db", "UPDATE measurement SET median_ns = 1");
    expect_refused_sql("append.db", "DELETE FROM measurement");
    expect_refused_sql("append.db", "UPDATE problem SET key = 'x'");
    expect_refused_sql("append.db", "UPDATE candidate SET config = 'x'");
    expect_refused_sql("append.db", "DELETE FROM origin");
}

static void test_verify_finds_a_changed_row(void **state) {
    (void)state;
    tri_store *store = open_store("verify.db", TRI_STORE_WRITE);
    tri_measurement row = row_of("a", 100);
    assert_ok(tri_store_add(store, &row));
    int64_t rows;
    assert_ok(tri_store_verify(&rows, store));
    assert_int_equal(rows, 1);
    tri_store_close(store);
    sql("verify.db", "CREATE TEMP TABLE t AS SELECT sql FROM sqlite_schema WHERE name = 'measurement_update';"
                     "DROP TRIGGER measurement_update;"
                     "UPDATE measurement SET median_ns = 99.9999;"
                     "CREATE TRIGGER measurement_update BEFORE UPDATE ON measurement\n"
                     "BEGIN SELECT raise(ABORT, 'evidence is append-only'); END");
    store = open_store("verify.db", TRI_STORE_WRITE);
    assert_fails(TRIAGE_E_DATA, row.id, tri_store_verify(&rows, store));
    tri_store_close(store);
}

static void test_verify_finds_a_changed_standing(void **state) {
    (void)state;
    tri_store *store = open_store("verify_standing.db", TRI_STORE_WRITE);
    int64_t rows;
    add(store, row_of("a", 100));
    add(store, row_of("b", 200));
    assert_ok(tri_store_verify(&rows, store));
    sql("verify_standing.db", "UPDATE standing SET ranking = '[2,1]'");
    assert_fails(TRIAGE_E_DATA, "is not what its rows say", tri_store_verify(&rows, store));
    sql("verify_standing.db", "UPDATE standing SET ranking = NULL"); /* unknown is no lie */
    assert_ok(tri_store_verify(&rows, store));
    expect_ranking(store, "a b ");
    tri_store_close(store);
}

/* A lookup must not read a million rows to find a hundred: no plan walks the whole of measurement. */
static void test_queries_use_indexes(void **state) {
    (void)state;
    static const char *const names[] = {"ranking", "measurement", "known",           "evidence_of_problem",
                                        "find",    "tuned",       "tuned_by_rows",   "near",
                                        "times",   "standing",    "standing_unknown"};
    char *queries = NULL;
    sqlite3 *db = NULL;
    tri_store_close(open_store("plan.db", TRI_STORE_WRITE));
    assert_ok(tri_resource_read(&queries, NULL, NULL, "db/queries.sql"));
    assert_int_equal(sqlite3_open(in_folder("plan.db"), &db), SQLITE_OK);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        tri_text mark = TRI_TEXT_INIT, explain = TRI_TEXT_INIT;
        sqlite3_stmt *plan = NULL;
        assert_ok(tri_text_format(&mark, "-- name: %s\n", names[i]));
        const char *text = strstr(queries, mark.data);
        assert_non_null(text);
        assert_ok(tri_text_format(&explain, "EXPLAIN QUERY PLAN %s", text + mark.size));
        assert_int_equal(sqlite3_prepare_v2(db, explain.data, -1, &plan, NULL), SQLITE_OK);
        while (sqlite3_step(plan) == SQLITE_ROW) {
            const char *step = (const char *)sqlite3_column_text(plan, 3);
            if (strncmp(step, "SCAN measurement", 16) == 0 || strcmp(step, "SCAN m") == 0)
                fail_msg("%s: %s", names[i], step);
        }
        sqlite3_finalize(plan);
        tri_text_free(&explain);
        tri_text_free(&mark);
    }
    sqlite3_close(db);
    free(queries);
}

/* A reader leaves nothing beside the file. */
static void test_reader_leaves_no_files(void **state) {
    (void)state;
    tri_store *store = open_store("read.db", TRI_STORE_WRITE);
    add(store, row_of("a", 100));
    tri_store_close(store);
    store = open_store("read.db", TRI_STORE_READ);
    expect_rows(store, 1);
    tri_store_close(store);
    assert_int_equal(access(in_folder("read.db-shm"), F_OK), -1);
    assert_int_equal(access(in_folder("read.db-wal"), F_OK), -1);
}

/* ---- files that are not ours, or not for us ---- */

static void write_text(const char *name, const char *text) {
    assert_ok(tri_file_write_atomic(in_folder(name), text, strlen(text), 0644));
}

static void test_what_is_no_database(void **state) {
    (void)state;
    tri_store *store = NULL;
    write_text("poem.db",
               "This is a poem about kernels that is long enough to have a header, and more than that.\n");
    for (int mode = TRI_STORE_READ; mode <= TRI_STORE_WRITE; mode++) {
        assert_fails(TRIAGE_E_DATA, "not a database", tri_store_open(&store, in_folder("poem.db"), mode));
        assert_null(store);
        assert_fails(TRIAGE_E_DATA, "not a regular file", tri_store_open(&store, folder, mode));
    }
    assert_fails(TRIAGE_E_INVALID, "empty", tri_store_open(&store, "", TRI_STORE_WRITE));
    assert_int_not_equal(tri_store_open(&store, "postgresql://a:secret@%zz/y", TRI_STORE_WRITE), TRIAGE_OK);
    assert_null(strstr(triage_last_error(), "secret"));
    assert_int_equal(mkfifo(in_folder("fifo.db"), 0600), 0);
    assert_fails(TRIAGE_E_DATA, "not a regular file",
                 tri_store_open(&store, in_folder("fifo.db"), TRI_STORE_READ));
}

static void test_absent_and_empty(void **state) {
    (void)state;
    tri_store *store = NULL;
    assert_fails(TRIAGE_E_NOT_FOUND, "absent.db",
                 tri_store_open(&store, in_folder("absent.db"), TRI_STORE_READ));
    assert_int_equal(access(in_folder("absent.db"), F_OK), -1); /* nothing left behind */
    write_text("empty.db", "");
    assert_fails(TRIAGE_E_NOT_FOUND, "empty", tri_store_open(&store, in_folder("empty.db"), TRI_STORE_READ));
    tri_store_close(open_store("empty.db", TRI_STORE_WRITE));
    tri_store_close(open_store("new/folders/deep.db", TRI_STORE_WRITE));
    tri_store_close(open_store("new/folders/deep.db", TRI_STORE_READ));
    tri_store_close(open_store("odd #name?%41.db", TRI_STORE_WRITE));
    assert_int_equal(access(in_folder("odd #name?%41.db"), F_OK), 0);
}

static void test_databases_of_others(void **state) {
    (void)state;
    tri_store *store = NULL;
    sql("mail.db", "CREATE TABLE mail (x)");
    assert_fails(TRIAGE_E_DATA, "not of triage",
                 tri_store_open(&store, in_folder("mail.db"), TRI_STORE_WRITE));
    sql("mail2.db", "PRAGMA application_id = 77");
    assert_fails(TRIAGE_E_DATA, "not of triage",
                 tri_store_open(&store, in_folder("mail2.db"), TRI_STORE_WRITE));
    tri_store_close(open_store("newer.db", TRI_STORE_WRITE));
    sql("newer.db", "PRAGMA user_version = 99");
    assert_fails(TRIAGE_E_DATA, "newer version",
                 tri_store_open(&store, in_folder("newer.db"), TRI_STORE_WRITE));
    store = open_store("newer.db", TRI_STORE_READ); /* it says that this version can */
    expect_rows(store, 0);
    tri_store_close(store);
    sql("newer.db", "CREATE TABLE novelty (x)");
    tri_store_close(open_store("newer.db", TRI_STORE_READ));
    sql("newer.db", "UPDATE schema_version SET oldest_reader = 99");
    assert_fails(TRIAGE_E_DATA, "newer version",
                 tri_store_open(&store, in_folder("newer.db"), TRI_STORE_READ));
    sql("newer.db", "UPDATE schema_version SET oldest_reader = 3; DROP VIEW evidence;"
                    "CREATE VIEW evidence AS SELECT * FROM measurement");
    assert_fails(TRIAGE_E_DATA, "view evidence",
                 tri_store_open(&store, in_folder("newer.db"), TRI_STORE_READ));
}

static void test_changed_schemas(void **state) {
    (void)state;
    tri_store *store = NULL;
    static const struct {
        const char *name, *change, *words;
    } cases[] = {
        {"t1.db", "CREATE TRIGGER evil AFTER INSERT ON measurement BEGIN DELETE FROM problem; END",
         "trigger evil"},
        {"t2.db", "CREATE VIEW evil AS SELECT 1", "view evil"},
        {"t3.db", "DROP TRIGGER measurement_delete", "measurement_delete"},
        {"t4.db", "DROP VIEW evidence; CREATE VIEW evidence AS SELECT * FROM measurement", "view evidence"},
        {"t5.db", "ALTER TABLE measurement ADD COLUMN more TEXT", "table measurement"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tri_store_close(open_store(cases[i].name, TRI_STORE_WRITE));
        sql(cases[i].name, cases[i].change);
        for (int mode = TRI_STORE_READ; mode <= TRI_STORE_WRITE; mode++)
            assert_fails(TRIAGE_E_DATA, cases[i].words,
                         tri_store_open(&store, in_folder(cases[i].name), mode));
    }
    tri_store_close(open_store("index.db", TRI_STORE_WRITE)); /* an index of one's own is welcome */
    sql("index.db", "CREATE INDEX mine ON measurement (seed)");
    tri_store_close(open_store("index.db", TRI_STORE_READ));
}

/* A new migration brings its hash along, or every opening costs milliseconds more. */
static void test_known_schemas(void **state) {
    (void)state;
    int64_t version = 0;
    const char *resource;
    for (size_t i = 0; (resource = tri_resource_name(i)); i++) {
        char *text = NULL;
        if (strncmp(resource, "db/migrations/", 14) != 0)
            continue;
        version++;
        assert_ok(tri_resource_read(&text, NULL, NULL, resource));
        sql("known_schema.db", text);
        free(text);
        tri_store *store = open_store("known_schema.db", TRI_STORE_READ);
        if (!tri_schema_is_known(store, version))
            fail_msg("schema %d: its hash in src/store/schema.c is not right", (int)version);
        tri_store_close(store);
    }
    assert_true(version >= 3);
}

static void expect_old(tri_store_mode mode) {
    tri_measurement row = row_of("old", 100), known;
    tri_text winners = TRI_TEXT_INIT;
    tri_store *store = open_store("old.db", mode);
    assert_ok(tri_store_measured(&known, store, PROBLEM, DEVICE, row.source_hash, NULL));
    assert_string_equal(known.config, "old");
    expect_ranking(store, "old slower ");
    assert_ok(tri_store_winners(store, DEVICE, "bsr_gemm", list_configs, &winners));
    assert_string_equal(winners.data, "old ");
    tri_text_free(&winners);
    tri_measurement_clear(&known);
    tri_store_close(store);
}

/* What an older version wrote is read as it is, and brought up by the first writer. */
static void test_older_schema(void **state) {
    (void)state;
    tri_store *store = open_store("old.db", TRI_STORE_WRITE);
    add(store, row_of("old", 100));
    add(store, row_of("slower", 200));
    tri_store_close(store);
    sql("old.db", "DROP TABLE arrival; DROP TABLE source; PRAGMA user_version = 3");
    expect_old(TRI_STORE_READ);
    sql("old.db", "DROP TRIGGER measurement_standing; DROP INDEX candidate_config; DROP VIEW place; DROP "
                  "TABLE standing;"
                  "DROP TABLE schema_version; PRAGMA user_version = 2");
    expect_old(TRI_STORE_READ);
    sql("old.db", "DROP TABLE server; PRAGMA user_version = 1");
    expect_old(TRI_STORE_READ);
    expect_old(TRI_STORE_WRITE);
    expect_old(TRI_STORE_READ);
    sql("old.db", "SELECT pulled FROM server"); /* there again */
}

/* Root may write everywhere: the child gives that up. */
static int as_nobody(triage_status wanted, const char *name, tri_store_mode mode) {
    pid_t child = fork();
    if (child == 0) {
        tri_store *store = NULL;
        if (getuid() == 0 && setuid(65534) != 0)
            _exit(9);
        triage_status status = tri_store_open(&store, in_folder(name), mode);
        int64_t rows = 0;
        if (status == TRIAGE_OK)
            status = tri_store_each(store, count_rows, &rows);
        if (status != wanted)
            fprintf(stderr, "%s: %s\n", triage_status_name(status), triage_last_error());
        tri_store_close(store);
        _exit(status != wanted);
    }
    int code = -1;
    waitpid(child, &code, 0);
    return code;
}

static void test_read_only_places(void **state) {
    (void)state;
    tri_store *store = open_store("ro/a.db", TRI_STORE_WRITE);
    add(store, row_of("a", 100));
    tri_store_close(store);
    assert_int_equal(chmod(folder, 0755), 0);
    assert_int_equal(chmod(in_folder("ro/a.db"), 0444), 0);
    assert_int_equal(chmod(in_folder("ro"), 0555), 0);
    assert_int_equal(as_nobody(TRIAGE_E_IO, "ro/a.db", TRI_STORE_WRITE), 0);
    assert_int_equal(as_nobody(TRIAGE_E_IO, "ro/new.db", TRI_STORE_WRITE), 0);
    assert_int_equal(as_nobody(TRIAGE_E_IO, "ro/new/new.db", TRI_STORE_WRITE), 0);
    assert_int_equal(as_nobody(TRIAGE_OK, "ro/a.db", TRI_STORE_READ), 0); /* though WAL wants to write */
    assert_int_equal(chmod(in_folder("ro"), 0755), 0);
}

static void test_journal(void **state) {
    (void)state;
    assert_true(tri_is_network_file_system(0x6969));              /* NFS */
    assert_true(tri_is_network_file_system((int32_t)0xFF534D42)); /* CIFS, sign-extended as on 32 bits */
    assert_true(tri_is_network_file_system(0x65735546));          /* FUSE */
    assert_false(tri_is_network_file_system(0xEF53));             /* ext4 */
    assert_false(tri_is_network_file_system(0x01021994));         /* tmpfs */
    tri_store *store = open_store("wal.db", TRI_STORE_WRITE);
    add(store, row_of("a", 100));
    assert_int_equal(access(in_folder("wal.db-wal"), F_OK), 0);
    tri_store_close(store);
    assert_int_equal(access(in_folder("wal.db-wal"), F_OK), -1);
}

/* ---- several writers ---- */

enum { WRITERS = 4, ROWS = 40 };

/* Creates the database with the others, then adds rows of its own and rows that the others add too. */
static void write_rows(int writer) {
    tri_store *store = NULL;
    triage_status status = tri_store_open(&store, in_folder("many.db"), TRI_STORE_WRITE);
    for (int i = 0; i < ROWS && status == TRIAGE_OK; i++) {
        tri_measurement row = row_of("shared", 100 + i);
        status = tri_store_add(store, &row);
        row.seed = 1000 + writer;
        if (status == TRIAGE_OK)
            status = tri_store_add(store, &row);
    }
    if (status != TRIAGE_OK)
        fprintf(stderr, "writer %d: %s\n", writer, triage_last_error());
    tri_store_close(store);
    _exit(status != TRIAGE_OK);
}

static void test_processes_write_at_once(void **state) {
    (void)state;
    for (int i = 0; i < WRITERS; i++)
        if (fork() == 0)
            write_rows(i);
    for (int i = 0; i < WRITERS; i++) {
        int code = -1;
        wait(&code);
        assert_int_equal(code, 0);
    }
    tri_store *store = open_store("many.db", TRI_STORE_WRITE);
    int64_t rows;
    assert_ok(tri_store_verify(&rows, store));
    assert_int_equal(rows, ROWS * (1 + WRITERS));
    tri_store_close(store);
}

/* What was reported is there after a kill at any moment. */
static void test_killed_writer_loses_nothing(void **state) {
    (void)state;
    for (int round = 0; round < 10; round++) {
        int pipes[2];
        assert_int_equal(pipe(pipes), 0);
        pid_t child = fork();
        if (child == 0) {
            tri_store *store = NULL;
            if (tri_store_open(&store, in_folder("killed.db"), TRI_STORE_WRITE) != TRIAGE_OK)
                _exit(1);
            for (int i = 0;; i++) {
                tri_measurement row = row_of("a", 100 + i);
                row.seed = round;
                if (tri_store_add(store, &row) != TRIAGE_OK || write(pipes[1], row.id, 32) != 32)
                    _exit(1);
            }
        }
        close(pipes[1]);
        usleep((useconds_t)(10000 + 7000 * round));
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        tri_store *store = open_store("killed.db", TRI_STORE_WRITE);
        char id[TRI_HASH_SIZE] = "";
        while (read(pipes[0], id, 32) == 32) {
            tri_measurement found;
            assert_ok(tri_store_find(&found, store, id));
            tri_measurement_clear(&found);
        }
        close(pipes[0]);
        int64_t rows;
        assert_ok(tri_store_verify(&rows, store));
        tri_store_close(store);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_evidence_is_append_only),
        cmocka_unit_test(test_verify_finds_a_changed_row),
        cmocka_unit_test(test_queries_use_indexes),
        cmocka_unit_test(test_reader_leaves_no_files),
        cmocka_unit_test(test_what_is_no_database),
        cmocka_unit_test(test_absent_and_empty),
        cmocka_unit_test(test_databases_of_others),
        cmocka_unit_test(test_changed_schemas),
        cmocka_unit_test(test_verify_finds_a_changed_standing),
        cmocka_unit_test(test_known_schemas),
        cmocka_unit_test(test_older_schema),
        cmocka_unit_test(test_read_only_places),
        cmocka_unit_test(test_journal),
        cmocka_unit_test(test_processes_write_at_once),
        cmocka_unit_test(test_killed_writer_loses_nothing),
    };
    return cmocka_run_group_tests_name("a file of evidence", tests, make_folder, remove_folder);
}
