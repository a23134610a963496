/* What every store does, in a file and on a server: rows in and out, ranking, knowing, finding, the hash of the set.
 * A "file" is where locate_store (fixture.h) puts it. */
#ifndef TRIAGE_TESTS_STORE_STORE_CASES_H
#define TRIAGE_TESTS_STORE_STORE_CASES_H

#include "store/fixture.h"

#include <math.h>

#include "store/measurement.h"

/* ---- adding ---- */

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
    add(store, row_of("newcomer", 80)); /* faster, as it seems: a winner must have raced */
    expect_ranking(store, "finalist newcomer loser ");
    tri_store_close(store);
}

static tri_measurement timed(const char *config, double median_ns, const char *stage,
                             const char *circumstances, int64_t later_ms) {
    tri_measurement row = row_of(config, median_ns);
    row.stage = (char *)(uintptr_t)stage;
    row.circumstances = (char *)(uintptr_t)circumstances;
    row.measured_at_ms += later_ms;
    return row;
}

/* "id " of the one that is known of a config. */
static void expect_known(tri_store *store, const char *config, double median_ns) {
    tri_measurement known = {0}, like = row_of(config, 1);
    assert_ok(tri_store_measured(&known, store, PROBLEM, DEVICE, like.source_hash, NULL));
    assert_true(known.median_ns == median_ns);
    tri_measurement_clear(&known);
}

static void expect_busy(tri_store *store, const char *wanted) {
    tri_text configs = TRI_TEXT_INIT;
    assert_ok(tri_store_refresh(store, &(tri_refresh_options){0}));
    assert_ok(tri_store_busy(store, list_configs, &configs));
    assert_string_equal(configs.data ? configs.data : "", wanted);
    tri_text_free(&configs);
}

#define BUSY "{\"processes\":2,\"mps_processes\":0}"
#define QUIET "{\"processes\":1,\"mps_processes\":0}"

/* The two numbers of the issue: 42.6 us on a busy GPU, another winner where the quiet one gives 37.2. */
static void test_busy_rows_rank_below_quiet_ones(void **state) {
    (void)state;
    assert_true(tri_circumstances_are_busy(BUSY) && tri_circumstances_are_busy("{\"mps_processes\":10}"));
    assert_false(tri_circumstances_are_busy(QUIET) || tri_circumstances_are_busy("{}"));
    tri_store *store = open_store("busy.db", TRI_STORE_WRITE);
    add(store, timed("a", 44, "search", BUSY, 0));
    add(store, timed("b", 40, "search", BUSY, 0));
    add(store, timed("a", 42.6, "race", BUSY, 1));
    add(store, timed("b", 43.1, "race", BUSY, 1));
    expect_ranking(store, "a b ");
    expect_busy(store, "a ");
    add(store, timed("c", 37, "search", QUIET, 2)); /* quiet, but it has not raced */
    expect_ranking(store, "a b c ");
    add(store, timed("b", 44.5, "race", QUIET, 3)); /* raced in quiet, slower as it looks */
    expect_ranking(store, "b a c ");
    expect_busy(store, "");
    expect_known(store, "a", 42.6);
    add(store, timed("b", 39, "race", BUSY, 4)); /* newer, and says nothing */
    add(store, timed("b", 70, "search", BUSY, 5));
    expect_ranking(store, "b a c ");
    expect_known(store, "b", 44.5);
    add(store, timed("a", 37.2, "race", QUIET, 6));
    expect_ranking(store, "a b c ");
    expect_known(store, "a", 37.2);
    add(store, failed_row("a", TRI_WRONG, "row 3 is off")); /* of before: a failure counts from when it was */
    tri_measurement wrong = failed_row("a", TRI_WRONG, "row 3 is off");
    wrong.circumstances = (char *)(uintptr_t)BUSY, wrong.measured_at_ms += 7;
    add(store, wrong); /* a wrong result is wrong, busy or not */
    expect_ranking(store, "b c ");
    expect_known(store, "a", 0);
    add(store, timed("a", 41, "race", BUSY,
                     8)); /* right again, if busy: neither the failure nor what was before it */
    expect_ranking(store, "b a c ");
    expect_known(store, "a", 41);
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

/* ---- knowing and finding ---- */

static void test_warm_start(void **state) {
    (void)state;
    tri_store *store = open_store("known.db", TRI_STORE_WRITE);
    tri_measurement row = failed_row("a", TRI_CRASHED, "signal 11"), found = {0};
    assert_fails(TRIAGE_E_NOT_FOUND, "no evidence",
                 tri_store_measured(&found, store, PROBLEM, DEVICE, row.source_hash, NULL));
    add(store, row);
    assert_ok(tri_store_measured(&found, store, PROBLEM, DEVICE, row.source_hash, "nvrtc 13.0"));
    assert_int_equal(found.outcome, TRI_CRASHED);
    assert_string_equal(found.reason, "signal 11");
    tri_measurement_clear(&found);
    tri_measurement newer = row_of("a", 100);
    newer.measured_at_ms += 1;
    newer.compiler = (char *)(uintptr_t) "nvrtc 13.1";
    add(store, newer);
    assert_ok(tri_store_measured(&found, store, PROBLEM, DEVICE, row.source_hash, NULL));
    assert_int_equal(found.outcome, TRI_RIGHT);
    tri_measurement_clear(&found);
    assert_fails(TRIAGE_E_NOT_FOUND, "no evidence",
                 tri_store_measured(&found, store, PROBLEM, DEVICE, row.source_hash, "nvrtc 12.9"));
    assert_fails(TRIAGE_E_NOT_FOUND, "no evidence",
                 tri_store_measured(&found, store, PROBLEM, "host", row.source_hash, NULL));
    /* what an older version called a compiler is part of what it is called now; two of one number are two */
    assert_ok(tri_store_measured(&found, store, PROBLEM, DEVICE, row.source_hash,
                                 "nvrtc 13.0 (libnvrtc.so.13) #0a"));
    assert_string_equal(found.compiler, "nvrtc 13.0");
    tri_measurement_clear(&found);
    tri_measurement hashed = row_of("b", 100);
    hashed.compiler = (char *)(uintptr_t) "nvrtc 13.0 (libnvrtc.so.13) #0a";
    add(store, hashed);
    assert_fails(TRIAGE_E_NOT_FOUND, "no evidence",
                 tri_store_measured(&found, store, PROBLEM, DEVICE, hashed.source_hash,
                                    "nvrtc 13.0 (libnvrtc.so.13) #0b"));
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

#define STORE_CASES                                                                                          \
    cmocka_unit_test(test_add_is_idempotent_and_durable), cmocka_unit_test(test_every_field_comes_back),     \
        cmocka_unit_test(test_bad_rows_are_refused), cmocka_unit_test(test_texts_of_others_are_cleaned),     \
        cmocka_unit_test(test_fastest_right_wins),                                                           \
        cmocka_unit_test(test_newest_race_speaks_for_a_candidate),                                           \
        cmocka_unit_test(test_search_times_are_charged_the_drift),                                           \
        cmocka_unit_test(test_busy_rows_rank_below_quiet_ones),                                              \
        cmocka_unit_test(test_tie_set_follows_the_winner),                                                   \
        cmocka_unit_test(test_a_later_failure_disqualifies),                                                 \
        cmocka_unit_test(test_warm_times_do_not_beat_cold_ones),                                             \
        cmocka_unit_test(test_configs_of_one_source_are_two_candidates), cmocka_unit_test(test_warm_start),  \
        cmocka_unit_test(test_winners_of_a_family), cmocka_unit_test(test_devices),                          \
        cmocka_unit_test(test_row_functions), cmocka_unit_test(test_find_by_prefix),                         \
        cmocka_unit_test(test_hash_is_of_the_set)

#endif
