// links: base store
/* What every store does once more, on a PostgreSQL server, and what only a server has. Skipped without
 * TRIAGE_TEST_SERVER: see tests/support/postgres.sh. */
#include "store/store_cases.h"

#include <sys/wait.h>

#include "store/backend.h"
#include "store/server.h"

/* ---- what only a server has ---- */

static void expect_denied(const char *url, const char *text, const char *words) {
    PGconn *conn = PQconnectdb(url);
    PGresult *result = PQexec(conn, text);
    if (PQresultStatus(result) != PGRES_FATAL_ERROR || !strstr(PQerrorMessage(conn), words))
        fail_msg("%s: %s, not %s", text, PQerrorMessage(conn), words);
    PQclear(result);
    PQfinish(conn);
}

static void test_server_evidence_is_append_only(void **state) {
    (void)state;
    const char *url = on_server("append");
    tri_store *store = open_store("append", TRI_STORE_WRITE);
    add(store, row_of("a", 100));
    tri_store_close(store);
    expect_denied(url, "UPDATE triage.measurement SET median_ns = 1", "append-only"); /* even the owner */
    expect_denied(url, "DELETE FROM triage.measurement", "append-only");
    expect_denied(url, "TRUNCATE triage.measurement", "append-only");
    expect_denied(url, "UPDATE triage.problem SET key = 'x'", "append-only");
    expect_denied(url, "DELETE FROM triage.origin", "append-only");
}

static const char *as_user(const char *url, const char *user) {
    static char text[512];
    snprintf(text, sizeof text, "postgresql://%s%s", user, strchr(url, '@'));
    return text;
}

static void test_roles(void **state) {
    (void)state;
    tri_store *store = open_store("roles", TRI_STORE_WRITE);
    add(store, row_of("a", 100));
    assert_ok(tri_postgres_run(store, "db/postgres/roles.sql"));
    assert_ok(tri_postgres_run(store, "db/postgres/roles.sql")); /* as often as one likes */
    tri_store_close(store);
    char url[512];
    strcpy(url, on_server("roles"));
    run_on(url, "SET client_min_messages = error; DROP ROLE IF EXISTS eve, bob, zoe; CREATE ROLE eve LOGIN "
                "IN ROLE triage_reader;"
                "CREATE ROLE bob LOGIN IN ROLE triage_contributor; CREATE ROLE zoe LOGIN");
    tri_measurement row = row_of("b", 200);
    assert_ok(tri_store_open(&store, as_user(url, "eve"), TRI_STORE_WRITE));
    expect_rows(store, 1);
    assert_fails(TRIAGE_E_DB, "permission denied", tri_store_add(store, &row));
    tri_store_close(store);
    assert_ok(tri_store_open(&store, as_user(url, "bob"), TRI_STORE_WRITE));
    assert_ok(tri_store_add(store, &row));
    expect_rows(store, 2);
    tri_store_close(store);
    run_on(as_user(url, "bob"), "INSERT INTO triage.known_device VALUES ('cuda sm_90a', 'H200')");
    run_on(as_user(url, "bob"), "SELECT triage.claim_compilation('w', 'sm_90a', interval '1 s', 25)");
    expect_denied(as_user(url, "eve"), "SELECT triage.claim_compilation('w', 'sm_90a', interval '1 s', 25)",
                  "permission denied");
    expect_denied(as_user(url, "bob"), "DELETE FROM triage.known_device", "permission denied");
    expect_denied(as_user(url, "bob"), "INSERT INTO triage.problem (key) VALUES ('x')", "permission denied");
    expect_denied(as_user(url, "bob"), "DELETE FROM triage.measurement", "permission denied");
    expect_denied(as_user(url, "bob"), "UPDATE triage.measurement SET seed = 1", "permission denied");
    expect_denied(as_user(url, "bob"), "DROP TABLE triage.measurement", "must be owner");
    expect_denied(as_user(url, "bob"), "UPDATE triage.server SET id = gen_random_uuid()",
                  "permission denied");
    assert_fails(TRIAGE_E_DB, "permission denied",
                 tri_store_open(&store, as_user(url, "zoe"), TRI_STORE_READ));
}

/* Who may connect, and no more, holds what says whose turn it was until 2026-12-01: he is in nobody's way. */
static void test_nobody_can_hold_the_others_up(void **state) {
    (void)state;
    tri_store *store = open_store("turns", TRI_STORE_WRITE);
    assert_ok(tri_postgres_run(store, "db/postgres/roles.sql"));
    tri_store_close(store);
    char url[512];
    strcpy(url, on_server("turns"));
    run_on(url, "SET client_min_messages = error; DROP ROLE IF EXISTS bob, zoe;"
                "CREATE ROLE bob LOGIN IN ROLE triage_contributor; CREATE ROLE zoe LOGIN");
    PGconn *zoe = PQconnectdb(as_user(url, "zoe"));
    PGresult *held = PQexec(zoe, "SELECT pg_advisory_lock(1414678849, 1), pg_advisory_lock(1414678849, 2)");
    assert_int_equal(PQresultStatus(held), PGRES_TUPLES_OK);
    PQclear(held);
    tri_measurement row = row_of("b", 200);
    assert_ok(tri_store_open(&store, as_user(url, "bob"), TRI_STORE_WRITE));
    assert_ok(tri_store_add(store, &row));
    expect_rows(store, 1);
    tri_store_close(store);
    run_on(as_user(url, "bob"), "SELECT triage.refresh_standings(10)");
    run_on(as_user(url, "bob"), "SELECT triage.claim_compilation('w', 'sm_90a', interval '1 s', 25)");
    PQfinish(zoe);
    expect_denied(as_user(url, "zoe"), "BEGIN; LOCK TABLE triage.turn IN EXCLUSIVE MODE",
                  "permission denied");
    expect_denied(as_user(url, "bob"), "BEGIN; LOCK TABLE triage.turn IN ROW SHARE MODE",
                  "permission denied");
}

static void test_newer_server(void **state) {
    (void)state;
    tri_store *store = open_store("newer", TRI_STORE_WRITE);
    add(store, row_of("a", 100));
    tri_store_close(store);
    const char *url = on_server("newer");
    run_on(url, "INSERT INTO triage.schema_version VALUES (99, 1)");
    assert_fails(TRIAGE_E_DATA, "newer", tri_store_open(&store, url, TRI_STORE_WRITE));
    store = open_store("newer", TRI_STORE_READ); /* it says that we can */
    expect_rows(store, 1);
    tri_store_close(store);
    run_on(url, "INSERT INTO triage.schema_version VALUES (100, 100)");
    assert_fails(TRIAGE_E_DATA, "newer", tri_store_open(&store, url, TRI_STORE_READ));
}

static void test_empty_server(void **state) {
    (void)state;
    tri_store *store = NULL;
    assert_fails(TRIAGE_E_NOT_FOUND, "no tables of triage",
                 tri_store_open(&store, on_server("empty"), TRI_STORE_READ));
    assert_null(store);
}

/* A server that is not there, or is silent, costs a stated time and never a password. */
static void test_no_server(void **state) {
    (void)state;
    tri_store *store = NULL;
    assert_fails(TRIAGE_E_IO, "refused",
                 tri_store_open(&store, "postgresql://me:secret@127.0.0.1:1/x", TRI_STORE_READ));
    assert_null(strstr(triage_last_error(), "secret"));
    assert_true(tri_store_url_has_password("postgresql://me:secret@127.0.0.1:1/x"));
    assert_true(tri_store_url_has_password("postgresql://me@127.0.0.1:1/x?password=secret"));
    assert_false(tri_store_url_has_password("postgresql://me@127.0.0.1:1/x"));
    assert_fails(TRIAGE_E_INVALID, "not valid",
                 tri_store_open(&store, "postgresql://me:sec%ret@h/x", TRI_STORE_READ));
    assert_null(strstr(triage_last_error(), "sec%"));
    /* TEST-NET-1 (RFC 5737) answers nobody, unless the network says no at once */
    assert_int_equal(tri_store_open(&store, "postgresql://me@192.0.2.1/x", TRI_STORE_READ), TRIAGE_E_IO);
}

/* A remote host without TLS is refused, whatever the server would accept; an explicit sslmode is obeyed. */
static void test_tls_is_the_default(void **state) {
    (void)state;
    tri_store *store = NULL;
    char url[512];
    (void)on_server("tls"); /* empty: others use the server at the same time */
    /* hostaddr leads it here: the host's name is what must be proved */
    snprintf(url, sizeof url, "postgresql://triage_test@elsewhere.invalid:%s/t%d_tls?hostaddr=127.0.0.1",
             getenv("PGPORT"), (int)getpid());
    assert_int_equal(tri_store_open(&store, url, TRI_STORE_READ), TRIAGE_E_IO);
    if (!strstr(triage_last_error(), "SSL") && !strstr(triage_last_error(), "certificate"))
        fail_msg("%s", triage_last_error());
    strcat(url, "&sslmode=disable");
    assert_fails(TRIAGE_E_NOT_FOUND, "no tables", tri_store_open(&store, url, TRI_STORE_READ));
}

static void test_lost_connection_is_made_again(void **state) {
    (void)state;
    tri_store *store = open_store("lost", TRI_STORE_WRITE);
    add(store, row_of("a", 100));
    run_on(on_server("lost"), /* its own: others use the server at the same time */
           "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'triage' "
           "AND datname = current_database()");
    add(store, row_of("b", 200)); /* the server said goodbye: it is noticed, and tried again */
    expect_rows(store, 2);
    tri_store_close(store);
}

/* More rows than a page, and each exactly once. */
static void test_pages(void **state) {
    (void)state;
    tri_store *store = open_store("pages", TRI_STORE_WRITE), *file = NULL;
    assert_ok(tri_store_open(&file, in_folder("pages.db"), TRI_STORE_WRITE));
    static char configs[2500][16];
    for (int i = 0; i < 2500; i++) {
        snprintf(configs[i], sizeof configs[i], "c%d", i);
        if (i < 300)
            add(file, row_of(configs[i], 100 + i));
    }
    int64_t rows;
    tri_merge_result result;
    assert_ok(tri_store_export(&rows, file, in_folder("pages.jsonl")));
    assert_ok(tri_store_import(&result, store, in_folder("pages.jsonl"), NULL, NULL, NULL));
    assert_int_equal(result.added, 300);
    assert_ok(tri_store_import(&result, store, in_folder("pages.jsonl"), NULL, NULL, NULL));
    assert_true(result.added == 0 && result.present == 300);
    char ours[TRI_HASH_SIZE], theirs[TRI_HASH_SIZE];
    assert_ok(tri_store_hash(ours, file));
    assert_ok(tri_store_hash(theirs, store));
    assert_string_equal(ours, theirs); /* the same set, the same hash, in both kinds */
    assert_ok(tri_store_verify(&rows, store));
    assert_int_equal(rows, 300);
    /* past a page: rows that only look like measurements */
    PQclear(query(on_server("pages"),
                  "SELECT triage.add_evidence(jsonb_agg(jsonb_populate_record(e, jsonb_build_object('id', "
                  "md5(i::text)))"
                  ")) FROM (SELECT * FROM triage.evidence LIMIT 1) e, generate_series(1, 2200) i"));
    expect_rows(store, 2500);
    tri_store_close(store);
    tri_store_close(file);
}

/* Many writers of the same new keys: no deadlock, nothing lost. */
static void test_server_processes_write_at_once(void **state) {
    (void)state;
    enum { PROCESSES = 8, KEYS = 40 };
    tri_store_close(open_store("many", TRI_STORE_WRITE));
    const char *url = on_server("many");
    for (int writer = 0; writer < PROCESSES; writer++) {
        if (fork() != 0)
            continue;
        tri_store *store = NULL;
        triage_status status = tri_store_open(&store, url, TRI_STORE_WRITE);
        for (int i = 0; i < KEYS && status == TRIAGE_OK; i++) {
            char config[32];
            snprintf(config, sizeof config, "c%d", (i * 7 + writer * 3) % KEYS);
            tri_measurement row = row_of(config, 100);
            row.seed = writer;
            status = tri_store_add(store, &row);
        }
        tri_store_close(store);
        _exit(status == TRIAGE_OK ? 0 : 1);
    }
    for (int i = 0; i < PROCESSES; i++) {
        int code;
        wait(&code);
        assert_true(WIFEXITED(code) && WEXITSTATUS(code) == 0);
    }
    tri_store *store = open_store("many", TRI_STORE_READ);
    expect_rows(store, PROCESSES * KEYS);
    tri_store_close(store);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        STORE_CASES,
        cmocka_unit_test(test_server_evidence_is_append_only),
        cmocka_unit_test(test_roles),
        cmocka_unit_test(test_nobody_can_hold_the_others_up),
        cmocka_unit_test(test_newer_server),
        cmocka_unit_test(test_empty_server),
        cmocka_unit_test(test_no_server),
        cmocka_unit_test(test_tls_is_the_default),
        cmocka_unit_test(test_lost_connection_is_made_again),
        cmocka_unit_test(test_pages),
        cmocka_unit_test(test_server_processes_write_at_once),
    };
    if (!has_server())
        return 77;
    return cmocka_run_group_tests_name("store on PostgreSQL", tests, choose_server, remove_folder);
}
