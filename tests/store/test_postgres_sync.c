/* Sync and jobs against a real server: both ways, incremental, hostile rows, lost servers, leases. Skipped without
 * TRIAGE_TEST_SERVER: see tests/support/postgres.sh. */
#include "store/said.h"
#include "store/server.h"

#include <sys/wait.h>

#include "evidence/admission.h"
#include "store/sync_thread.h"

/* ---- databases ---- */

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
    const char *url = on_server("both");
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
    const char *url = on_server("hostile");
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

/* Sound rows that cannot be: what a merge or an import refuses, a sync refuses, and names. */
static void test_impossible_rows_on_the_server(void **state) {
    (void)state;
    static const char legal[] = "wgmma tile_n=256 wg_n=1 step_k=64 stages=5 c_slabs=2 cluster_n=1 "
                                "ctas_per_sm=1 raster=1 share=1 order=0 promote=0";
    tri_store *remote = open_at(on_server("impossible")), *local = open_store("gate.db", TRI_STORE_WRITE);
    tri_admission *gate = NULL;
    tri_sync_result result;
    tri_measurement ours = row_of("wgmma tile_n=9999", 100000), newer = ours;
    ours.version = (char *)(uintptr_t)TRIAGE_VERSION;
    newer.version = (char *)(uintptr_t) "9.0.0";
    add(remote, row_of(legal, 100000));
    add(remote, row_of(legal, 20));
    add(remote, ours);
    add(remote, newer);
    assert_ok(tri_admission_open(&gate, NULL, NULL));
    assert_ok(
        tri_store_sync(&result, local, remote,
                       &(tri_sync_options){.check = tri_admission_check, .user = gate, .log = &log_here}));
    assert_int_equal(result.received, 2);
    assert_int_equal(result.refused, 2);
    assert_int_equal(tri_admission_unjudged(gate), 1);
    assert_non_null(strstr(said.data, "refused: min_ns: 19.8 ns for 1.3"));
    assert_non_null(strstr(said.data, "not a value of its axis: 'tile_n=9999'"));
    tri_text_free(&said);
    tri_admission_free(gate);
    tri_store_close(local);
    tri_store_close(remote);
}

/* Rows of an operation that this version does not know are kept, unjudged, on their way down and up again. */
static void test_an_operation_of_a_version_to_come(void **state) {
    (void)state;
    tri_store *from = open_at(on_server("later")), *local = open_store("later.db", TRI_STORE_WRITE),
              *to = open_at(on_server("later2"));
    tri_admission *gate = NULL;
    tri_sync_result result;
    tri_measurement later = row_of("ring stages=4", 100000);
    char hashes[2][TRI_HASH_SIZE];
    later.problem = (char *)(uintptr_t) "conv f16 f16 nhwc m=64 n=64 k=64 taps=9";
    later.version = (char *)(uintptr_t) "9.0.0";
    later.kernel = (char *)(uintptr_t) "ring";
    add(from, later);
    assert_ok(tri_admission_open(&gate, NULL, NULL));
    const tri_sync_options options = {.check = tri_admission_check, .user = gate, .log = &log_here};
    assert_ok(tri_store_sync(&result, local, from, &options));
    assert_int_equal(result.received, 1);
    assert_int_equal(tri_admission_unjudged(gate), 1);
    assert_ok(tri_store_sync(&result, local, to, &options));
    assert_int_equal(result.sent, 1);
    assert_ok(tri_store_hash(hashes[0], from));
    assert_ok(tri_store_hash(hashes[1], to));
    assert_string_equal(hashes[0], hashes[1]);
    tri_text_free(&said);
    tri_admission_free(gate);
    tri_store_close(from);
    tri_store_close(local);
    tri_store_close(to);
}

/* One problem on one device, and only rows that are what they say. */
static void test_fetch(void **state) {
    (void)state;
    const char *url = on_server("fetch");
    tri_store *remote = open_at(url), *local = open_store("fetch.db", TRI_STORE_WRITE);
    int64_t added, rows;
    tri_measurement wanted = row_of("wanted", 100), elsewhere = row_of("elsewhere", 100);
    const char *device = wanted.device;
    add(remote, wanted);
    add(remote, row_of("wanted too", 200));
    elsewhere.device = (char *)(uintptr_t) "cuda sm_90a sms=1 clock=1 memclock=1 bus=1 l2=1 smem=1";
    add(remote, elsewhere);
    run_on(url,
           "SELECT triage.add_evidence(jsonb_build_array(to_jsonb(e) || jsonb_build_object('id', md5('x')))) "
           "FROM triage.evidence e WHERE config = 'wanted'");
    assert_ok(tri_store_fetch(&added, local, remote, wanted.problem, device, NULL, NULL));
    assert_int_equal(added, 2);
    assert_ok(tri_store_fetch(&added, local, remote, wanted.problem, device, NULL, NULL));
    assert_int_equal(added, 0);
    assert_ok(tri_store_verify(&rows, local));
    assert_int_equal(rows, 2);
    tri_store_close(local);
    tri_store_close(remote);
}

static void test_restored_server(void **state) {
    (void)state;
    const char *url = on_server("restored");
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
    const char *url = on_server("newer");
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
    tri_store *remote = open_at(on_server("stop")), *local = open_store("stop.db", TRI_STORE_WRITE);
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
    const char *url = on_server("courier");
    tri_store *remote = open_at(url), *local = open_store("courier.db", TRI_STORE_WRITE);
    tri_sync_thread *courier = NULL;
    tri_sync_result moved;
    tri_sync_thread_options options = {.local_path = in_folder("courier.db"),
                                       .server_url = "postgresql://x@127.0.0.1:1/nowhere",
                                       .log = &log_here};
    assert_ok(tri_sync_thread_new(&courier, &options));
    add_many(local, "offline", 7);
    assert_int_equal(tri_sync_thread_free(courier, &moved), TRIAGE_E_IO);
    assert_int_equal(moved.sent, 0);
    assert_non_null(strstr(said.data, "going on without the server"));
    tri_text_free(&said);
    options.server_url = url;
    assert_ok(tri_sync_thread_new(&courier, &options));
    add_many(local, "online", 3);
    assert_ok(tri_sync_thread_free(courier, &moved));
    assert_int_equal(moved.sent, 10);
    expect_same(local, remote);
    tri_store_close(local);
    tri_store_close(remote);
}

/* ---- jobs ---- */

static const char *const specs[] = {"{\"m\":\"1\"}", "{\"m\":\"2\"}", "{\"m\":\"3\"}"};

static void test_a_job_is_for_one(void **state) {
    (void)state;
    tri_store *remote = open_at(on_server("one"));
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
    const char *url = on_server("lease");
    tri_store *remote = open_at(url);
    int64_t added;
    bool held;
    tri_job first, second, none;
    assert_ok(tri_job_enqueue(&added, remote, specs, 1, ""));
    assert_ok(tri_job_claim(&first, remote, "dies", "any", 60000));
    /* It has ended, and nobody came. */
    run_on(url, "UPDATE triage.job SET lease_until = now() - interval '1 s'");
    assert_ok(tri_job_renew(&held, remote, &first, 60000));
    assert_true(held);
    assert_fails(TRIAGE_E_NOT_FOUND, "", tri_job_claim(&none, remote, "w", "any", 60000));
    run_on(url, "UPDATE triage.job SET lease_until = now() - interval '1 s'");
    assert_ok(tri_job_claim(&second, remote, "lives", "any", 60000));
    assert_int_equal(second.id, first.id);
    assert_int_equal(second.attempt, first.attempt + 1);
    assert_ok(tri_job_renew(&held, remote, &first, 60000));
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

/* ---- compiling ahead ---- */

#define H200 "cuda sm_90a sms=132 clock=1980000 memclock=3201000 bus=6144 l2=62914560 smem=232448"
#define H100 "cuda sm_90a sms=114 clock=1755000 memclock=1593000 bus=5120 l2=52428800 smem=232448"

static void test_compiling_ahead(void **state) {
    (void)state;
    const char *url = on_server("ahead");
    tri_store *remote = open_at(url);
    int64_t count;
    bool held;
    tri_job jobs[3], timed, none;
    assert_ok(tri_job_enqueue(&count, remote, specs, 1, "h200"));
    assert_fails(TRIAGE_E_NOT_FOUND, "", tri_job_claim_compilation(&none, remote, "c", "sm_90a", 60000));
    assert_ok(tri_fleet_know_target(&count, remote, "sm_90a"));
    assert_int_equal(count, 0);
    assert_ok(tri_fleet_know_device(remote, H200, "NVIDIA H200"));
    assert_ok(tri_fleet_know_device(remote, H200, "NVIDIA H200"));
    assert_ok(tri_fleet_know_device(remote, H100, "NVIDIA H100 PCIe"));
    assert_ok(tri_fleet_know_target(&count, remote, "sm_90a"));
    assert_int_equal(count, 2);
    assert_fails(TRIAGE_E_NOT_FOUND, "", tri_job_claim_compilation(&none, remote, "c", "sm_80", 60000));
    assert_ok(tri_job_claim_compilation(&jobs[0], remote, "c", "sm_90a", 60000));
    assert_string_equal(jobs[0].device, H200); /* the class is not that of the other */
    assert_string_equal(jobs[0].device_name, "NVIDIA H200");
    assert_string_equal(jobs[0].spec, specs[0]);
    assert_fails(TRIAGE_E_NOT_FOUND, "", tri_job_claim_compilation(&none, remote, "d", "sm_90a", 60000));
    run_on(url, "UPDATE triage.compilation SET lease_until = now() - interval '1 s'");
    assert_ok(tri_job_claim_compilation(&jobs[1], remote, "d", "sm_90a", 60000)); /* not heard of */
    assert_true(jobs[1].id == jobs[0].id && jobs[1].attempt == jobs[0].attempt + 1);
    assert_ok(tri_job_renew(&held, remote, &jobs[0], 60000));
    assert_false(held);
    assert_ok(tri_job_renew(&held, remote, &jobs[1], 60000));
    assert_true(held);
    assert_ok(tri_job_release(remote, &jobs[1]));
    assert_ok(tri_job_claim_compilation(&jobs[2], remote, "e", "sm_90a", 60000));
    assert_ok(tri_job_claim(&timed, remote, "gpu", "NVIDIA H200 " H200, 60000)); /* waits for nobody */
    assert_int_equal(timed.id, jobs[2].id);
    assert_ok(tri_job_renew(&held, remote, &jobs[2], 60000)); /* nothing is ahead any more */
    assert_false(held);
    assert_ok(tri_job_finish(&held, remote, &jobs[2], "done", "all of them"));
    assert_true(held);
    assert_ok(tri_job_finish(&held, remote, &timed, "failed", "none was right"));
    assert_true(held);
    assert_ok(tri_job_retry(&count, remote, ""));
    assert_int_equal(count, 1);
    assert_fails(TRIAGE_E_NOT_FOUND, "", tri_job_claim_compilation(&none, remote, "c", "sm_90a", 60000));
    assert_ok(tri_job_finish(&held, remote, &timed, "done", "from before the retry"));
    assert_false(held);
    for (int i = 0; i < 3; i++)
        tri_job_clear(&jobs[i]);
    tri_job_clear(&timed);
    tri_store_close(remote);
}

/* A device that only evidence speaks of is known by the name in its rows. */
static void test_devices_of_evidence(void **state) {
    (void)state;
    tri_store *remote = open_at(on_server("devices"));
    int64_t count;
    tri_job job;
    add(remote, row_of("a", 100));
    assert_ok(tri_fleet_know_target(&count, remote, "sm_90a"));
    assert_int_equal(count, 1);
    assert_ok(tri_job_enqueue(&count, remote, specs, 1, "H200"));
    assert_ok(tri_job_claim_compilation(&job, remote, "c", "sm_90a", 60000));
    assert_string_equal(job.device_name, "NVIDIA H200");
    tri_job_clear(&job);
    tri_store_close(remote);
}

/* Many at once: nobody gets what another has, and while they ask each job stays free for those who time. */
static void test_compile_workers_share(void **state) {
    (void)state;
    enum { WORKERS = 8, JOBS = 40 };
    const char *url = on_server("share");
    tri_store *remote = open_at(url), *check = NULL;
    char texts[JOBS][32];
    const char *list[JOBS];
    int64_t count;
    for (int i = 0; i < JOBS; i++) {
        snprintf(texts[i], sizeof texts[i], "{\"problem\":%d}", i);
        list[i] = texts[i];
    }
    assert_ok(tri_job_enqueue(&count, remote, list, JOBS, ""));
    assert_ok(tri_fleet_know_device(remote, H200, "NVIDIA H200"));
    tri_store_close(remote);
    for (int w = 0; w < WORKERS; w++) {
        if (fork() != 0)
            continue;
        tri_store *own = NULL;
        tri_job job;
        bool held = true;
        triage_status status = tri_store_open(&own, url, TRI_STORE_WRITE);
        while (status == TRIAGE_OK && held) {
            status = tri_job_claim_compilation(&job, own, "w", "sm_90a", 60000);
            if (status == TRIAGE_OK)
                status = tri_job_finish(&held, own, &job, "done", "");
        }
        _exit(status == TRIAGE_E_NOT_FOUND ? 0 : 1);
    }
    check = open_at(url);
    tri_job timed;
    assert_ok(tri_job_claim(&timed, check, "gpu", "any " H200, 60000));
    assert_int_equal(timed.id, 1); /* the oldest, whoever was asking for it just then */
    for (int w = 0; w < WORKERS; w++) {
        int code;
        wait(&code);
        assert_true(WIFEXITED(code) && WEXITSTATUS(code) == 0);
    }
    run_on(url,
           "DO $$ BEGIN IF EXISTS (SELECT FROM triage.compilation WHERE attempt <> 1 OR state <> 'done') OR "
           "(SELECT count(*) FROM triage.compilation) < 39 THEN RAISE 'not each once'; END IF; END $$");
    tri_job_clear(&timed);
    tri_store_close(check);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_ways_and_only_once),
        cmocka_unit_test(test_hostile_rows_on_the_server),
        cmocka_unit_test(test_impossible_rows_on_the_server),
        cmocka_unit_test(test_an_operation_of_a_version_to_come),
        cmocka_unit_test(test_fetch),
        cmocka_unit_test(test_restored_server),
        cmocka_unit_test(test_newer_server_is_only_read),
        cmocka_unit_test(test_stops_in_time),
        cmocka_unit_test(test_courier),
        cmocka_unit_test(test_a_job_is_for_one),
        cmocka_unit_test(test_leases_end),
        cmocka_unit_test(test_compiling_ahead),
        cmocka_unit_test(test_devices_of_evidence),
        cmocka_unit_test(test_compile_workers_share),
    };
    if (!has_server())
        return 77;
    return cmocka_run_group_tests_name("sync and jobs", tests, make_folder, remove_folder);
}
