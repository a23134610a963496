// links: base store
/* One file of evidence: adding, ranking, knowing, verifying, several writers, and files that are not ours. */
#include "store/fixture.h"

#include <math.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/wait.h>

#include "store/sqlite.h"

static void sql(const char *name, const char *text) {
    sqlite3 *db = NULL;
    char *error = NULL;
    assert_int_equal(sqlite3_open(in_folder(name), &db), SQLITE_OK);
    if (sqlite3_exec(db, text, NULL, NULL, &error) != SQLITE_OK)
        fail_msg("%s: %s", text, error);
    sqlite3_close(db);
}

static void expect_ranking(tri_store *store, const char *wanted) {
    tri_text configs = TRI_TEXT_INIT;
    assert_ok(tri_store_ranking(store, PROBLEM, DEVICE, list_configs, &configs));
    assert_string_equal(configs.data ? configs.data : "", wanted);
    tri_text_free(&configs);
}

static void expect_rows(tri_store *store, int64_t wanted) {
    int64_t rows = 0;
    assert_ok(tri_store_each(store, count_rows, &rows));
    assert_int_equal(rows, wanted);
}

/* ---- adding ---- */

static void test_outcomes_have_names(void **state) {
    (void)state;
    for (int i = TRI_RIGHT; i <= TRI_LAUNCH_FAILED; i++) {
        tri_outcome back;
        assert_ok(tri_outcome_parse(&back, tri_outcome_name((tri_outcome)i)));
        assert_int_equal(back, i);
    }
    tri_outcome none;
    assert_fails(TRIAGE_E_DATA, "fast", tri_outcome_parse(&none, "fast"));
}

static void test_add_is_idempotent_and_durable(void **state) {
    (void)state;
    tri_store *store = open_store("a.db", TRI_STORE_WRITE);
    tri_measurement row = row_of("wgmma a=1", 100.0), again = row;
    assert_ok(tri_store_add(store, &row));
    assert_ok(tri_store_add(store, &again));
    assert_string_equal(row.id, again.id);
    assert_int_equal(strlen(row.id), 32);
    tri_store *reader = open_store("a.db", TRI_STORE_READ); /* beside the writer */
    expect_rows(reader, 1);
    tri_store_close(reader);
    tri_store_close(store);
}

static triage_status keep_copy(void *user, const tri_measurement *row) {
    return tri_measurement_copy(user, row);
}

static void test_every_field_comes_back(void **state) {
    (void)state;
    tri_store *store = open_store("fields.db", TRI_STORE_WRITE);
    tri_measurement row = row_of("wgmma a=1", 1.0 / 3), back = {0};
    row.seed = INT64_MIN;
    row.spill_bytes = -1;
    row.cold_l2 = false;
    row.circumstances = (char *)(uintptr_t) "{\"gpu\": \"\303\204 \342\202\254\"}";
    assert_ok(tri_store_add(store, &row));
    assert_ok(tri_store_each(store, keep_copy, &back));
    assert_string_equal(row.id, back.id);
    for (size_t i = 0; i < TRI_FIELD_COUNT; i++)
        if (tri_fields[i].kind == TRI_FIELD_TEXT)
            assert_string_equal(*tri_field_text(&row, &tri_fields[i]),
                                *tri_field_text(&back, &tri_fields[i]));
    assert_true(row.median_ns == back.median_ns && row.low_ns == back.low_ns && row.high_ns == back.high_ns);
    assert_true(row.min_ns == back.min_ns && row.row_error == back.row_error);
    assert_int_equal(back.seed, INT64_MIN);
    assert_int_equal(back.spill_bytes, -1);
    assert_false(back.cold_l2);
    tri_measurement_clear(&back);
    tri_store_close(store);
}

/* Every field is part of the identity: a change of any gives another row. */
static void test_every_field_is_in_the_id(void **state) {
    (void)state;
    const tri_measurement base = row_of("wgmma a=1", 100.0);
    char id[TRI_HASH_SIZE], other[TRI_HASH_SIZE];
    tri_measurement_id(id, &base);
    for (size_t i = 0; i < TRI_FIELD_COUNT; i++) {
        tri_measurement row = base;
        switch (tri_fields[i].kind) {
        case TRI_FIELD_TEXT:
            *tri_field_text(&row, &tri_fields[i]) = (char *)(uintptr_t) "changed";
            break;
        case TRI_FIELD_INTEGER:
            ++*tri_field_integer(&row, &tri_fields[i]);
            break;
        case TRI_FIELD_REAL:
            *tri_field_real(&row, &tri_fields[i]) *= 1 + 1e-15;
            break;
        case TRI_FIELD_BOOL:
            row.cold_l2 = !row.cold_l2;
            break;
        case TRI_FIELD_OUTCOME:
            row.outcome = TRI_SLOW;
        }
        tri_measurement_id(other, &row);
        if (strcmp(id, other) == 0)
            fail_msg("%s is not part of the id", tri_fields[i].name);
    }
}

/* The id is a promise to every other machine and version. This one was computed with Python's hashlib:
 * BLAKE2b-128 over each field's text, preceded by its length in eight bytes, the domain's name first. */
static void test_id_is_fixed(void **state) {
    (void)state;
    tri_measurement row = row_of("wgmma a=1", 100.5);
    char id[TRI_HASH_SIZE];
    tri_measurement_id(id, &row);
    assert_string_equal(id, "b402bfa1420fd07b04677eecc527714a");
}

static void test_bad_rows_are_refused(void **state) {
    (void)state;
    tri_store *store = open_store("bad.db", TRI_STORE_WRITE);
    const tri_measurement good = row_of("wgmma a=1", 100.0);
    tri_measurement row;
#define REFUSED(words, ...)                                                                                  \
    row = good;                                                                                              \
    __VA_ARGS__;                                                                                             \
    assert_fails(TRIAGE_E_DATA, words, tri_store_add(store, &row))
    REFUSED("median_ns: nan", row.median_ns = NAN);
    REFUSED("high_ns: inf", row.high_ns = INFINITY);
    REFUSED("low_ns: -1", row.low_ns = -1);
    REFUSED("low_ns: -0", row.low_ns = -0.0);
    REFUSED("median_ns: 200 is not within", row.median_ns = 200);
    REFUSED("needs a time above 0", row.min_ns = 0);
    REFUSED("needs a time above 0", row.samples = 0);
    REFUSED("row_error: 0.5 is above its limit", row.row_error = 0.5);
    REFUSED("outcome: 77", row.outcome = (tri_outcome)77);
    REFUSED("stage: \"final\"", row.stage = (char *)(uintptr_t) "final");
    REFUSED("problem: 0 bytes", row.problem = (char *)(uintptr_t) "");
    REFUSED("problem: missing", row.problem = NULL);
    REFUSED("problem: not one line", row.problem = (char *)(uintptr_t) "a\nb");
    REFUSED("config: not one line", row.config = (char *)(uintptr_t) "a\xff");
    REFUSED("source_hash", row.source_hash = (char *)(uintptr_t) "XYZ");
    REFUSED("source_hash", row.source_hash = (char *)(uintptr_t) "0123456789ABCDEF0123456789ABCDEF");
    REFUSED("circumstances: not JSON", row.circumstances = (char *)(uintptr_t) "{,}");
    REFUSED("circumstances: not a JSON object", row.circumstances = (char *)(uintptr_t) "[1]");
    REFUSED("measured_at_ms: -5", row.measured_at_ms = -5);
    REFUSED("reason: \"late\"", row.reason = (char *)(uintptr_t) "late");
    REFUSED("reason: none", row = failed_row("wgmma a=1", TRI_CRASHED, ""));
#undef REFUSED
    expect_rows(store, 0);
    tri_store_close(store);
}

/* What a compiler or driver said is stored as one line, whatever it was; a wrong result has no time. */
static void test_texts_of_others_are_cleaned(void **state) {
    (void)state;
    tri_store *store = open_store("clean.db", TRI_STORE_WRITE);
    char reason[3000], name[] = "GPU\x01 \xff";
    memset(reason, 'x', sizeof reason - 1);
    reason[sizeof reason - 1] = '\0';
    memcpy(reason, "two\nlines", 9);
    tri_measurement row = failed_row("wgmma a=1", TRI_WRONG, reason), back = {0};
    row.device_name = name;
    row.median_ns = row.low_ns = row.high_ns = row.min_ns = 5;
    row.row_error = NAN;
    assert_ok(tri_store_add(store, &row));
    assert_ok(tri_store_each(store, keep_copy, &back));
    assert_memory_equal(back.reason, "two lines", 9);
    assert_int_equal(strlen(back.reason), 1024);
    assert_string_equal(back.device_name, "GPU  ?");
    assert_true(back.median_ns == 0 && back.row_error == 1e18);
    tri_measurement_clear(&back);
    tri_store_close(store);
}

/* ---- ranking ---- */

static void test_fastest_right_wins(void **state) {
    (void)state;
    tri_store *store = open_store("rank.db", TRI_STORE_WRITE);
    expect_ranking(store, "");
    add(store, row_of("slower", 120));
    add(store, row_of("fastest", 100));
    tri_measurement slow = row_of("stopped", 10); /* would win if it could */
    slow.outcome = TRI_SLOW;
    add(store, slow);
    add(store, failed_row("wrong", TRI_WRONG, "row 3 is off"));
    add(store, failed_row("spilled", TRI_SPILLED, "96 bytes"));
    tri_measurement elsewhere = row_of("elsewhere", 1);
    elsewhere.device = (char *)(uintptr_t) "host x86_64-avx2";
    add(store, elsewhere);
    expect_ranking(store, "fastest slower stopped ");
    tri_store_close(store);
}

static void test_newest_race_speaks_for_a_candidate(void **state) {
    (void)state;
    tri_store *store = open_store("race.db", TRI_STORE_WRITE);
    tri_measurement row = row_of("a", 100);
    add(store, row);
    row = row_of("b", 103);
    add(store, row);
    expect_ranking(store, "a b ");
    row = row_of("a", 110); /* raced, both: b is better */
    row.stage = (char *)(uintptr_t) "race";
    add(store, row);
    row = row_of("b", 105);
    row.stage = (char *)(uintptr_t) "race";
    add(store, row);
    expect_ranking(store, "b a ");
    row = row_of("b", 90); /* a newer search does not outrank the race */
    row.measured_at_ms += 1000;
    add(store, row);
    row = row_of("b", 111); /* a newer race does */
    row.stage = (char *)(uintptr_t) "race";
    row.measured_at_ms += 2000;
    add(store, row);
    tri_measurement winner = {0};
    assert_ok(tri_store_winners(store, DEVICE, "bsr_gemm", keep_copy, &winner));
    assert_string_equal(winner.config, "a");
    assert_true(winner.median_ns == 110);
    tri_measurement_clear(&winner);
    tri_store_close(store);
}

/* A candidate that lost the search must not win because the device was cooler during the search. */
static void test_search_times_are_charged_the_drift(void **state) {
    (void)state;
    tri_store *store = open_store("drift.db", TRI_STORE_WRITE);
    add(store, row_of("finalist", 100));
    add(store, row_of("loser", 108));
    tri_measurement race = row_of("finalist", 115);
    race.stage = (char *)(uintptr_t) "race";
    add(store, race);
    expect_ranking(store, "finalist loser ");
    add(store, row_of("newcomer", 80)); /* really faster: no race needed to see it */
    expect_ranking(store, "newcomer finalist loser ");
    tri_store_close(store);
}

static void test_tie_set_follows_the_winner(void **state) {
    (void)state;
    tri_store *store = open_store("tie.db", TRI_STORE_WRITE);
    add(store, row_of("best", 100));
    add(store, row_of("apart", 103));
    tri_measurement noisy = row_of("noisy", 104);
    noisy.low_ns = 99; /* reaches into the winner's interval, though its median is the largest */
    add(store, noisy);
    add(store, row_of("equal_b", 100));
    add(store, row_of("equal_a", 100));
    expect_ranking(store, "best equal_a equal_b noisy apart ");
    tri_measurement best = row_of("best", 100), apart = row_of("apart", 103);
    assert_true(tri_measurement_ties(&best, &noisy));
    assert_false(tri_measurement_ties(&best, &apart));
    tri_store_close(store);
}

static void test_a_later_failure_disqualifies(void **state) {
    (void)state;
    tri_store *store = open_store("fail.db", TRI_STORE_WRITE);
    add(store, row_of("a", 100));
    add(store, row_of("b", 200));
    tri_measurement wrong = failed_row("a", TRI_WRONG, "row 3 is off");
    add(store, wrong); /* in the same millisecond: the failure counts */
    expect_ranking(store, "b ");
    tri_measurement compile = failed_row("b", TRI_NOT_COMPILED, "an older compiler");
    compile.measured_at_ms += 10;
    add(store, compile); /* says nothing of results */
    expect_ranking(store, "b ");
    tri_measurement again = row_of("a", 101);
    again.measured_at_ms += 10;
    add(store, again);
    expect_ranking(store, "a b ");
    tri_store_close(store);
}

static void test_warm_times_do_not_beat_cold_ones(void **state) {
    (void)state;
    tri_store *store = open_store("warm.db", TRI_STORE_WRITE);
    tri_measurement warm = row_of("warm", 50);
    warm.cold_l2 = false;
    add(store, warm);
    expect_ranking(store, "warm ");
    add(store, row_of("cold", 100));
    expect_ranking(store, "cold ");
    tri_store_close(store);
}

/* One source may serve two configurations that launch it differently. */
static void test_configs_of_one_source_are_two_candidates(void **state) {
    (void)state;
    tri_store *store = open_store("config.db", TRI_STORE_WRITE);
    tri_measurement a = row_of("a", 100), b = row_of("b", 90);
    b.source_hash = a.source_hash;
    add(store, a);
    add(store, b);
    expect_ranking(store, "b a ");
    tri_store_close(store);
}

static void test_known(void **state) {
    (void)state;
    tri_store *store = open_store("known.db", TRI_STORE_WRITE);
    tri_measurement row = failed_row("a", TRI_CRASHED, "signal 11"), found = {0};
    assert_fails(TRIAGE_E_NOT_FOUND, "no evidence",
                 tri_store_known(&found, store, PROBLEM, DEVICE, row.source_hash, NULL));
    add(store, row);
    assert_ok(tri_store_known(&found, store, PROBLEM, DEVICE, row.source_hash, "nvrtc 13.0"));
    assert_int_equal(found.outcome, TRI_CRASHED);
    assert_string_equal(found.reason, "signal 11");
    tri_measurement_clear(&found);
    tri_measurement newer = row_of("a", 100);
    newer.measured_at_ms += 1;
    newer.compiler = (char *)(uintptr_t) "nvrtc 13.1";
    add(store, newer);
    assert_ok(tri_store_known(&found, store, PROBLEM, DEVICE, row.source_hash, NULL));
    assert_int_equal(found.outcome, TRI_RIGHT);
    tri_measurement_clear(&found);
    assert_fails(TRIAGE_E_NOT_FOUND, "no evidence",
                 tri_store_known(&found, store, PROBLEM, DEVICE, row.source_hash, "nvrtc 12.9"));
    assert_fails(TRIAGE_E_NOT_FOUND, "no evidence",
                 tri_store_known(&found, store, PROBLEM, "host", row.source_hash, NULL));
    tri_store_close(store);
}

static void test_winners_of_a_family(void **state) {
    (void)state;
    tri_store *store = open_store("family.db", TRI_STORE_WRITE);
    const char *keys[] = {"op f16 m=1 block=16x16", "op f16 m=2 block=16x16", "op f16x m=1 block=16x16",
                          "op f32 m=1 block=16x16"};
    for (size_t i = 0; i < 4; i++) {
        tri_measurement row = row_of("fast", 100 + (double)i);
        row.problem = (char *)(uintptr_t)keys[i];
        add(store, row);
        row = row_of("behind", 200);
        row.problem = (char *)(uintptr_t)keys[i];
        add(store, row);
    }
    tri_measurement only_slow = row_of("slow", 1);
    only_slow.outcome = TRI_SLOW;
    only_slow.problem = (char *)(uintptr_t) "op f16 m=3 block=16x16";
    add(store, only_slow);
    tri_text configs = TRI_TEXT_INIT;
    assert_ok(tri_store_winners(store, DEVICE, "op f16", list_configs, &configs));
    assert_string_equal(configs.data, "fast fast ");
    tri_text_free(&configs);
    assert_ok(tri_store_winners(store, NULL, "", list_configs, &configs));
    assert_string_equal(configs.data, "fast fast fast fast ");
    tri_text_free(&configs);
    assert_ok(tri_store_winners(store, "host", "op f16", list_configs, &configs));
    assert_null(configs.data);
    tri_store_close(store);
}

static triage_status stop_at_once(void *user, const tri_measurement *row) {
    (void)row;
    ++*(int *)user;
    return tri_fail(TRIAGE_E_INTERRUPTED, "enough");
}

/* A row function may stop, and may use the store that calls it. */
static triage_status ask_again(void *user, const tri_measurement *row) {
    int64_t rows = 0;
    (void)row;
    triage_status status = tri_store_ranking(user, PROBLEM, DEVICE, count_rows, &rows);
    return status == TRIAGE_OK && rows != 2 ? tri_fail(TRIAGE_E_DB, "%d rows", (int)rows) : status;
}

/* A tri_device_fn. */
static triage_status list_devices(void *user, const char *device, const char *name) {
    return tri_text_format(user, "%s: %s\n", device, name);
}

static void test_devices(void **state) {
    (void)state;
    tri_text devices = TRI_TEXT_INIT;
    tri_store *store = open_store("devices.db", TRI_STORE_WRITE);
    tri_measurement row = row_of("a", 100);
    add(store, row);
    row.device_name = "new name", row.seed = 8;
    add(store, row);
    row.device = "host", row.device_name = "a CPU";
    add(store, row);
    assert_ok(tri_store_devices(store, list_devices, &devices));
    assert_string_equal(devices.data, DEVICE ": new name\nhost: a CPU\n");
    tri_text_free(&devices);
    tri_store_close(store);
}

static void test_row_functions(void **state) {
    (void)state;
    tri_store *store = open_store("fn.db", TRI_STORE_WRITE);
    add(store, row_of("a", 100));
    add(store, row_of("b", 200));
    int calls = 0;
    assert_fails(TRIAGE_E_INTERRUPTED, "enough",
                 tri_store_ranking(store, PROBLEM, DEVICE, stop_at_once, &calls));
    assert_int_equal(calls, 1);
    assert_ok(tri_store_ranking(store, PROBLEM, DEVICE, ask_again, store));
    assert_fails(TRIAGE_E_INTERRUPTED, "enough", tri_store_winners(store, DEVICE, "", stop_at_once, &calls));
    tri_store_close(store);
}

static void test_find_by_prefix(void **state) {
    (void)state;
    tri_store *store = open_store("find.db", TRI_STORE_WRITE);
    tri_measurement row = row_of("a", 100), found;
    assert_ok(tri_store_add(store, &row));
    char prefix[9];
    memcpy(prefix, row.id, 8);
    prefix[8] = '\0';
    assert_ok(tri_store_find(&found, store, prefix));
    assert_string_equal(found.id, row.id);
    tri_measurement_clear(&found);
    prefix[0] = prefix[0] == 'f' ? 'e' : 'f';
    assert_fails(TRIAGE_E_NOT_FOUND, "no measurement", tri_store_find(&found, store, prefix));
    assert_fails(TRIAGE_E_INVALID, "4 .. 32", tri_store_find(&found, store, "abc"));
    assert_fails(TRIAGE_E_INVALID, "4 .. 32", tri_store_find(&found, store, "wxyz"));
    tri_store_close(store);
}

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

static void test_hash_is_of_the_set(void **state) {
    (void)state;
    tri_store *one = open_store("one.db", TRI_STORE_WRITE), *two = open_store("two.db", TRI_STORE_WRITE);
    char empty[TRI_HASH_SIZE], a[TRI_HASH_SIZE], b[TRI_HASH_SIZE];
    assert_ok(tri_store_hash(empty, one));
    add(one, row_of("a", 100));
    assert_ok(tri_store_hash(a, one));
    assert_string_not_equal(a, empty);
    add(one, row_of("b", 200));
    add(two, row_of("b", 200));
    add(two, row_of("a", 100));
    assert_ok(tri_store_hash(a, one));
    assert_ok(tri_store_hash(b, two));
    assert_string_equal(a, b);
    add(two, row_of("c", 300));
    assert_ok(tri_store_hash(b, two));
    assert_string_not_equal(a, b);
    tri_store_close(one);
    tri_store_close(two);
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
    assert_ok(tri_store_known(&known, store, PROBLEM, DEVICE, row.source_hash, NULL));
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
        cmocka_unit_test(test_outcomes_have_names),
        cmocka_unit_test(test_add_is_idempotent_and_durable),
        cmocka_unit_test(test_every_field_comes_back),
        cmocka_unit_test(test_every_field_is_in_the_id),
        cmocka_unit_test(test_id_is_fixed),
        cmocka_unit_test(test_bad_rows_are_refused),
        cmocka_unit_test(test_texts_of_others_are_cleaned),
        cmocka_unit_test(test_fastest_right_wins),
        cmocka_unit_test(test_newest_race_speaks_for_a_candidate),
        cmocka_unit_test(test_search_times_are_charged_the_drift),
        cmocka_unit_test(test_tie_set_follows_the_winner),
        cmocka_unit_test(test_a_later_failure_disqualifies),
        cmocka_unit_test(test_warm_times_do_not_beat_cold_ones),
        cmocka_unit_test(test_configs_of_one_source_are_two_candidates),
        cmocka_unit_test(test_known),
        cmocka_unit_test(test_winners_of_a_family),
        cmocka_unit_test(test_devices),
        cmocka_unit_test(test_row_functions),
        cmocka_unit_test(test_find_by_prefix),
        cmocka_unit_test(test_evidence_is_append_only),
        cmocka_unit_test(test_verify_finds_a_changed_row),
        cmocka_unit_test(test_hash_is_of_the_set),
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
    return cmocka_run_group_tests_name("store", tests, make_folder, remove_folder);
}
