// links: base store
/* Sync and jobs against a real server: both ways, incremental, hostile rows, lost servers, leases. Skipped without
 * TRIAGE_TEST_SERVER: see tests/support/postgres.sh. */
#include "store/fixture.h"

#include <libpq-fe.h>
#include <sys/wait.h>

#include "store/courier.h"

static const char *server;
static tri_text said;

static void collect(void *user, triage_log_level level, const char *line) {
    (void)user, (void)level;
    assert_ok(tri_text_format(&said, "%s\n", line));
}

static const tri_log log_here = {collect, NULL};

/* ---- databases ---- */

static void run_on(const char *url, const char *text) {
    PGconn *conn = PQconnectdb(url);
    PGresult *result = PQexec(conn, text);
    const ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
        fail_msg("%s: %s", text, PQerrorMessage(conn));
    PQclear(result);
    PQfinish(conn);
}

/* A new database of this name. */
static const char *make_server(const char *name) {
    static char urls[4][512];
    static unsigned next;
    char text[200], *url = urls[next++ % 4];
    const char *options = strstr(server, "/postgres?");
    snprintf(text, sizeof text, "CREATE DATABASE s%d_%s", (int)getpid(), name);
    run_on(server, text);
    snprintf(url, sizeof urls[0], "%.*s/s%d_%s%s", (int)(options - server), server, (int)getpid(), name,
             options + strlen("/postgres"));
    return url;
}

static tri_store *open_at(const char *url) {
    tri_store *store = NULL;
    assert_ok(tri_store_open(&store, url, TRI_STORE_WRITE));
    return store;
}

static void expect_sync(tri_store *local, tri_store *remote, int64_t sent, int64_t received,
                        int64_t refused) {
    tri_sync_result result;
    assert_ok(tri_store_sync(&result, local, remote, &(tri_sync_options){.log = &log_here}));
    if (result.sent != sent || result.received != received || result.refused != refused)
        fail_msg("%d sent, %d received, %d refused, not %d, %d, %d", (int)result.sent, (int)result.received,
                 (int)result.refused, (int)sent, (int)received, (int)refused);
}

static void expect_same(tri_store *a, tri_store *b) {
    char left[TRI_HASH_SIZE], right[TRI_HASH_SIZE];
    assert_ok(tri_store_hash(left, a));
    assert_ok(tri_store_hash(right, b));
    assert_string_equal(left, right);
}

static void add_many(tri_store *store, const char *prefix, int count) {
    char config[32];
    for (int i = 0; i < count; i++) {
        snprintf(config, sizeof config, "%s%d", prefix, i);
        add(store, row_of(config, 100 + i));
    }
}

/* ---- sync ---- */

static void test_both_ways_and_only_once(void **state) {
    (void)state;
    const char *url = make_server("both");
    tri_store *remote = open_at(url), *a = open_store("a.db", TRI_STORE_WRITE),
              *b = open_store("b.db", TRI_STORE_WRITE);
    add_many(a, "a", 300); /* more than a batch */
    add_many(b, "b", 10);
    add(b, row_of("a0", 100)); /* both have it */
    expect_sync(a, remote, 300, 0, 0);
    expect_sync(a, remote, 0, 0, 0);
    expect_sync(b, remote, 10, 299, 0);
    expect_sync(a, remote, 0, 10, 0);
    expect_sync(b, remote, 0, 0, 0);
    expect_same(a, b);
    expect_same(a, remote);
    add(a, row_of("later", 50)); /* what was received is not sent back: only this is on its way */
    expect_sync(a, remote, 1, 0, 0);
    expect_sync(b, remote, 0, 1, 0);
    expect_same(a, b);
    tri_store_close(a);
    tri_store_close(b);
    tri_store_close(remote);
}

/* Rows on the server that did not come through triage: each is named and left there, the good ones arrive. */
static void test_hostile_rows_on_the_server(void **state) {
    (void)state;
    static const char *const spoils[] = {
        "{\"median_ns\": 1, \"low_ns\": 0.9, \"min_ns\": 0.9}", /* faster than its id says */
        "{\"id\": \"00000000000000000000000000000000\"}",       /* another id */
        "{\"id\": \"ZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZ\"}",       /* no id at all */
        "{\"config\": \"two\\nlines\"}",                        /* control characters */
        "{\"circumstances\": \"no JSON\"}",
        "{\"samples\": 999999999999}",
        "{\"row_error\": 0.5, \"row_error_limit\": 1}"};
    enum { SPOILS = sizeof spoils / sizeof spoils[0] };
    const char *url = make_server("hostile");
    tri_store *remote = open_at(url), *local = open_store("hostile.db", TRI_STORE_WRITE);
    add(remote, row_of("good", 100));
    for (size_t i = 0; i < SPOILS; i++) {
        tri_text text = TRI_TEXT_INIT;
        assert_ok(tri_text_format(&text,
                                  "SELECT triage.add_evidence(jsonb_build_array(to_jsonb(e) || "
                                  "jsonb_build_object('id', md5('%zu')) || '%s')) FROM triage.evidence e "
                                  "WHERE config = 'good'",
                                  i, spoils[i]));
        run_on(url, text.data);
        tri_text_free(&text);
    }
    add(remote, row_of("also good", 200));
    expect_sync(local, remote, 0, 2, SPOILS);
    size_t lines = 0;
    for (const char *c = said.data; *c; c++)
        lines += *c == '\n';
    assert_int_equal(lines, SPOILS);
    assert_non_null(strstr(said.data, "00000000000000000000000000000000"));
    assert_non_null(strstr(said.data, "one line"));
    assert_non_null(strstr(said.data, "circumstances"));
    assert_non_null(strstr(said.data, "samples"));
    expect_sync(local, remote, 0, 0, 0); /* once is enough */
    int64_t rows;
    assert_ok(tri_store_verify(&rows, local));
    assert_int_equal(rows, 2);
    assert_fails(TRIAGE_E_DATA, "", tri_store_verify(&rows, remote));
    tri_text_free(&said);
    tri_store_close(local);
    tri_store_close(remote);
}

static void test_restored_server(void **state) {
    (void)state;
    const char *url = make_server("restored");
    tri_store *remote = open_at(url), *local = open_store("restored.db", TRI_STORE_WRITE);
    add_many(local, "r", 20);
    expect_sync(local, remote, 20, 0, 0);
    tri_store_close(remote);
    run_on(url, "SET session_replication_role = replica;" /* the backup lacked the last rows */
                "DELETE FROM triage.measurement WHERE seq > 5");
    remote = open_at(url);
    expect_sync(local, remote, 15, 0, 0);
    expect_same(local, remote);
    run_on(url, "UPDATE triage.server SET id = gen_random_uuid()");
    expect_sync(local, remote, 0, 0, 0);
    tri_text_free(&said);
    tri_store_close(local);
    tri_store_close(remote);
}

/* A server of a version to come is read, and never written. */
static void test_newer_server_is_only_read(void **state) {
    (void)state;
    const char *url = make_server("newer");
    tri_store *remote = open_at(url), *local = open_store("newer.db", TRI_STORE_WRITE);
    tri_sync_result result;
    add_many(remote, "there", 3);
    add_many(local, "here", 2);
    tri_store_close(remote);
    run_on(url, "INSERT INTO triage.schema_version VALUES (99, 1)");
    assert_ok(tri_store_open(&remote, url, TRI_STORE_READ));
    assert_ok(tri_store_sync(&result, local, remote, &(tri_sync_options){.log = &log_here}));
    assert_true(result.sent == 0 && result.received == 3 && result.read_only);
    tri_store_close(local);
    tri_store_close(remote);
}

static void test_stops_in_time(void **state) {
    (void)state;
    tri_store *remote = open_at(make_server("stop")), *local = open_store("stop.db", TRI_STORE_WRITE);
    add_many(local, "s", 5);
    const int told = 1;
    tri_sync_result result;
    assert_fails(TRIAGE_E_INTERRUPTED, "next sync",
                 tri_store_sync(&result, local, remote, &(tri_sync_options){.interrupted = &told}));
    assert_fails(TRIAGE_E_TIMEOUT, "time limit",
                 tri_store_sync(&result, local, remote, &(tri_sync_options){.time_limit_s = 1e-9}));
    assert_fails(TRIAGE_E_INVALID, "between a local file and a",
                 tri_store_sync(&result, local, local, &(tri_sync_options){0}));
    expect_sync(local, remote, 5, 0, 0);
    tri_store_close(local);
    tri_store_close(remote);
}

/* Without its server a run goes on; what it measured arrives with the next journey, once. */
static void test_courier(void **state) {
    (void)state;
    const char *url = make_server("courier");
    tri_store *remote = open_at(url), *local = open_store("courier.db", TRI_STORE_WRITE);
    tri_courier *courier = NULL;
    tri_sync_result moved;
    tri_courier_options options = {.local_path = in_folder("courier.db"),
                                   .server_url = "postgresql://x@127.0.0.1:1/nowhere",
                                   .log = &log_here};
    assert_ok(tri_courier_new(&courier, &options));
    add_many(local, "offline", 7);
    assert_int_equal(tri_courier_free(courier, &moved), TRIAGE_E_IO);
    assert_int_equal(moved.sent, 0);
    assert_non_null(strstr(said.data, "going on without the server"));
    tri_text_free(&said);
    options.server_url = url;
    assert_ok(tri_courier_new(&courier, &options));
    add_many(local, "online", 3);
    assert_ok(tri_courier_free(courier, &moved));
    assert_int_equal(moved.sent, 10);
    expect_same(local, remote);
    tri_store_close(local);
    tri_store_close(remote);
}

/* ---- jobs ---- */

static const char *const specs[] = {"{\"m\":\"1\"}", "{\"m\":\"2\"}", "{\"m\":\"3\"}"};

static void test_a_job_is_for_one(void **state) {
    (void)state;
    tri_store *remote = open_at(make_server("one"));
    int64_t added;
    assert_ok(tri_job_enqueue(&added, remote, specs, 3, "H200"));
    assert_int_equal(added, 3);
    assert_ok(tri_job_enqueue(&added, remote, specs, 3, "H200"));
    assert_int_equal(added, 0);
    tri_job jobs[3], none;
    assert_fails(TRIAGE_E_NOT_FOUND, "no job", tri_job_claim(&none, remote, "w", "NVIDIA A100", 60000));
    for (int i = 0; i < 3; i++)
        assert_ok(tri_job_claim(&jobs[i], remote, "w", "NVIDIA h200 sm_90a", 60000));
    assert_fails(TRIAGE_E_NOT_FOUND, "no job", tri_job_claim(&none, remote, "w", "NVIDIA H200", 60000));
    assert_true(jobs[0].id != jobs[1].id && jobs[1].id != jobs[2].id);
    bool held;
    assert_ok(tri_job_finish(&held, remote, &jobs[0], "done", "winner"));
    assert_true(held);
    assert_ok(tri_job_finish(&held, remote, &jobs[0], "done", "winner")); /* the answer was lost: the same */
    assert_true(held);
    assert_ok(tri_job_finish(&held, remote, &jobs[0], "failed", "no"));
    assert_false(held);
    assert_ok(tri_job_release(remote, &jobs[1]));
    assert_ok(tri_job_claim(&none, remote, "w2", "NVIDIA H200", 60000));
    assert_int_equal(none.id, jobs[1].id);
    assert_ok(tri_job_finish(&held, remote, &jobs[1], "done", "late")); /* by the one that gave it back */
    assert_false(held);
    tri_fleet_counts counts;
    assert_ok(tri_fleet_count(&counts, remote));
    assert_true(counts.done == 1 && counts.running == 2 && counts.queued == 0 && counts.workers == 2);
    assert_ok(tri_job_enqueue(&added, remote, specs, 3, "H200")); /* the done one may be asked for again */
    assert_int_equal(added, 1);
    for (int i = 0; i < 3; i++)
        tri_job_clear(&jobs[i]);
    tri_job_clear(&none);
    tri_store_close(remote);
}

static void test_leases_end(void **state) {
    (void)state;
    const char *url = make_server("lease");
    tri_store *remote = open_at(url);
    int64_t added;
    bool held;
    tri_job first, second, none;
    assert_ok(tri_job_enqueue(&added, remote, specs, 1, ""));
    assert_ok(tri_job_claim(&first, remote, "dies", "any", 300));
    usleep(200000);
    assert_ok(tri_job_renew(&held, remote, &first, 300));
    assert_true(held);
    usleep(200000); /* past the first lease, within the second */
    assert_fails(TRIAGE_E_NOT_FOUND, "", tri_job_claim(&none, remote, "w", "any", 300));
    usleep(250000);
    assert_ok(tri_job_claim(&second, remote, "lives", "any", 60000));
    assert_int_equal(second.id, first.id);
    assert_int_equal(second.attempt, first.attempt + 1);
    assert_ok(tri_job_renew(&held, remote, &first, 300));
    assert_false(held);
    assert_ok(tri_job_finish(&held, remote, &first, "failed", "too late"));
    assert_false(held);
    assert_ok(tri_job_finish(&held, remote, &second, "done", "right"));
    assert_true(held);
    assert_ok(tri_job_enqueue(&added, remote, specs, 1, ""));
    run_on(
        url,
        "UPDATE triage.job SET attempt = 25, state = 'running', lease_until = now() WHERE state = 'queued'");
    assert_fails(TRIAGE_E_NOT_FOUND, "", tri_job_claim(&none, remote, "w", "any", 300)); /* given up */
    tri_fleet_counts counts;
    assert_ok(tri_fleet_count(&counts, remote));
    assert_true(counts.done == 1 && counts.failed == 1 && counts.running == 0);
    tri_job_clear(&first);
    tri_job_clear(&second);
    tri_store_close(remote);
    tri_store *file = open_store("jobs.db", TRI_STORE_WRITE);
    assert_fails(TRIAGE_E_INVALID, "postgresql://", tri_job_enqueue(&added, file, specs, 1, ""));
    tri_store_close(file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_ways_and_only_once), cmocka_unit_test(test_hostile_rows_on_the_server),
        cmocka_unit_test(test_restored_server),         cmocka_unit_test(test_newer_server_is_only_read),
        cmocka_unit_test(test_stops_in_time),           cmocka_unit_test(test_courier),
        cmocka_unit_test(test_a_job_is_for_one),        cmocka_unit_test(test_leases_end),
    };
    server = getenv("TRIAGE_TEST_SERVER");
    if (!server || !*server) {
        puts("skipped: no TRIAGE_TEST_SERVER (sh tests/support/postgres.sh starts one)");
        return 77;
    }
    return cmocka_run_group_tests_name("sync and jobs", tests, make_folder, remove_folder);
}
