/* Standings: what is kept for lookups is what the ranking says, whatever way the evidence came, and drift. */
#ifndef TRIAGE_TESTS_STORE_STANDING_CASES_H
#define TRIAGE_TESTS_STORE_STANDING_CASES_H

#include "store/fixture.h"

#include <math.h>

#include "store/backend.h"

enum { ROWS = 160, PAIRS = 6 };

/* ---- random evidence: few values of each kind, so that everything that can tie does ---- */

static tri_measurement rows[ROWS];

/* The last two are quiet. */
static const char *const busy_text[] = {"{\"processes\":2,\"mps_processes\":0}", "{\"processes\":17}",
                                        "{\"processes\":1,\"mps_processes\":3}",
                                        "{\"processes\":1,\"mps_processes\":0}", "{\"processes\":0}"};

static const char *problem_at(size_t i) {
    static const char *const keys[3] = {PROBLEM,
                                        "bsr_gemm f16 f16 row row none nobias m=4096 n=512 k=4096 "
                                        "block=64x64 density=1000 imbalance=10 overlap=1",
                                        "other words without sizes"};
    return keys[i % 3];
}

static const char *device_at(size_t i) {
    return i / 3 % 2 ? "host x86_64-avx2" : DEVICE;
}

static tri_measurement random_row(tri_random *random) {
    static const char *const configs[] = {"a", "b", "c", "d", "e", "f"};
    static const tri_outcome failures[] = {TRI_WRONG, TRI_CRASHED, TRI_NOT_COMPILED, TRI_LAUNCH_FAILED};
    const char *config = configs[tri_random_below(random, 6)];
    const size_t pair = tri_random_below(random, PAIRS);
    tri_measurement row = row_of(config, 100 + (double)tri_random_below(random, 12));
    if (tri_random_below(random, 10) == 0)
        row = failed_row(config, failures[tri_random_below(random, 4)], "made up");
    else if (tri_random_below(random, 10) == 0)
        row.outcome = TRI_SLOW;
    row.problem = (char *)(uintptr_t)problem_at(pair);
    row.device = (char *)(uintptr_t)device_at(pair);
    row.stage = (char *)(uintptr_t)(tri_random_below(random, 3) ? "search" : "race");
    row.cold_l2 = tri_random_below(random, 8) != 0;
    row.measured_at_ms += (int64_t)tri_random_below(random, 6);
    row.seed = (int64_t)tri_random_below(random, 1000);
    if (tri_random_below(random, 3) == 0)
        row.circumstances = (char *)(uintptr_t)busy_text[tri_random_below(random, 5)];
    return row;
}

static void make_rows(uint64_t seed) {
    tri_random random;
    tri_random_seed(&random, seed);
    for (size_t i = 0; i < ROWS; i++)
        rows[i] = random_row(&random);
}

static void shuffle(uint64_t seed) {
    tri_random random;
    tri_random_seed(&random, seed);
    for (size_t i = ROWS - 1; i > 0; i--) {
        const size_t j = tri_random_below(&random, i + 1);
        const tri_measurement kept = rows[i];
        rows[i] = rows[j];
        rows[j] = kept;
    }
}

/* ---- all that a store says of them ---- */

static triage_status list_ids(void *user, const tri_measurement *row) {
    return tri_text_format(user, "%s ", row->id);
}

static triage_status list_drift(void *user, const tri_drift *drift) {
    return tri_text_format(user, "%s > %s | %s\n", drift->older->id, drift->newer->id,
                           drift->winner ? drift->winner->id : "none");
}

static void say(tri_text *out, tri_store *store) {
    int64_t unknown;
    for (size_t i = 0; i < PAIRS; i++) {
        assert_ok(tri_store_ranking(store, problem_at(i), device_at(i), list_ids, out));
        assert_ok(tri_text_format(out, "\n"));
    }
    assert_ok(tri_store_winners(store, NULL, "", list_ids, out));
    assert_ok(tri_text_format(out, "\n"));
    assert_ok(tri_store_drifts(&unknown, store, list_drift, out));
    assert_int_equal(unknown, 0);
}

static int64_t count_unknown(tri_store *store) {
    tri_query *query = NULL;
    bool row;
    int64_t count = 0;
    const char *name = store->server ? "standings_unknown" : "standing_unknown";
    assert_ok(store->backend->take(&query, store, name));
    assert_ok(store->backend->bind_integer(store, query, ":limit", 1000));
    assert_ok(store->backend->step(&row, store, query));
    if (store->server)
        count = store->backend->integer(query, 0);
    for (; !store->server && row; count++)
        assert_ok(store->backend->step(&row, store, query));
    store->backend->give(store, query);
    return count;
}

/* With every standing filled in, and of a file without any, too. What is said must be *wanted, or becomes it. */
static void expect_same(tri_store *store, tri_text *wanted) {
    tri_text said = TRI_TEXT_INIT, ranked = TRI_TEXT_INIT;
    assert_ok(tri_store_refresh(store, &(tri_refresh_options){0}));
    assert_int_equal(count_unknown(store), 0);
    say(&said, store);
    if (!store->server) {
        store->has_standings = false;
        say(&ranked, store);
        store->has_standings = true;
        assert_string_equal(said.data, ranked.data);
    }
    if (!wanted->data)
        assert_ok(tri_text_append(wanted, said.data, said.size));
    assert_string_equal(said.data, wanted->data);
    tri_text_free(&said);
    tri_text_free(&ranked);
}

/* The rankings alone, by the statement and by the table: on a server two texts of SQL. */
static void expect_table_is_statement(tri_store *store) {
    for (size_t i = 0; i < PAIRS; i++) {
        tri_text table = TRI_TEXT_INIT, statement = TRI_TEXT_INIT;
        assert_ok(tri_store_ranking(store, problem_at(i), device_at(i), list_ids, &table));
        store->has_standings = false;
        assert_ok(tri_store_ranking(store, problem_at(i), device_at(i), list_ids, &statement));
        store->has_standings = true;
        assert_string_equal(table.data ? table.data : "", statement.data ? statement.data : "");
        tri_text_free(&table);
        tri_text_free(&statement);
    }
}

/* A claim of others: ordered by its own date, whatever way it came. */
static void put_claim(tri_store *store, tri_measurement *row) {
    int64_t added;
    tri_measurement_id(row->id, row);
    assert_ok(store->backend->begin(store));
    triage_status status = store->backend->put(store, row, &(tri_arrival){TRI_TIER_UNKNOWN, ""});
    assert_ok(store->backend->end(&added, store, status));
    assert_ok(tri_store_refresh(store, &(tri_refresh_options){.most = 8}));
}

/* One by one, looking now and then at what is kept. */
static void fill_singly(const char *name, tri_text *wanted) {
    tri_store *store = open_store(name, TRI_STORE_WRITE);
    for (size_t i = 0; i < ROWS; i++) {
        put_claim(store, &rows[i]);
        if (i % 40 == 0)
            expect_table_is_statement(store);
    }
    assert_int_equal(count_unknown(store), 0);
    expect_table_is_statement(store);
    expect_same(store, wanted);
    tri_store_close(store);
}

/* In two parts that overlap, the second a merge (a file) or an import, marks left by the first included. */
static void fill_in_parts(const char *name, tri_text *wanted) {
    char part[64], lines[64];
    int64_t count;
    tri_merge_result result;
    snprintf(part, sizeof part, "%s.part", name);
    snprintf(lines, sizeof lines, "%s.jsonl", name);
    tri_store *store = open_store(name, TRI_STORE_WRITE), *other = NULL;
    assert_ok(tri_store_open(&other, in_folder(part), TRI_STORE_WRITE));
    for (size_t i = 0; i < ROWS; i++) {
        if (i < ROWS * 2 / 3)
            put_claim(store, &rows[i]);
        if (i > ROWS / 3)
            put_claim(other, &rows[i]);
    }
    assert_ok(tri_store_export(&count, other, in_folder(lines)));
    tri_store_close(other);
    if (store->server)
        assert_ok(tri_store_import(&result, store, in_folder(lines), NULL, NULL, NULL));
    else
        assert_ok(tri_store_merge(&result, store, in_folder(part), NULL, NULL, NULL));
    assert_int_equal(result.refused, 0);
    assert_int_equal(count_unknown(store), 0);
    expect_table_is_statement(store);
    expect_same(store, wanted);
    tri_store_close(store);
}

static void test_standing_is_the_ranking(void **state) {
    (void)state;
    for (uint64_t round = 0; round < 2; round++) {
        char name[32];
        tri_text wanted = TRI_TEXT_INIT;
        make_rows(round);
        for (uint64_t order = 0; order < 2; order++) {
            snprintf(name, sizeof name, "r%d_%d_a", (int)round, (int)order);
            fill_singly(name, &wanted);
            shuffle(order + 77);
            snprintf(name, sizeof name, "r%d_%d_b", (int)round, (int)order);
            fill_in_parts(name, &wanted);
        }
        assert_non_null(strstr(wanted.data, " > ")); /* some have drifted: the test sees it */
        if (locate_store != in_folder) {             /* a file says the same */
            const char *(*kept)(const char *) = locate_store;
            locate_store = in_folder;
            snprintf(name, sizeof name, "r%d.db", (int)round);
            fill_singly(name, &wanted);
            locate_store = kept;
        }
        tri_text_free(&wanted);
    }
}

/* ---- drift ---- */

static tri_measurement at(const char *config, double median_ns, const char *stage, int64_t later_ms) {
    tri_measurement row = row_of(config, median_ns);
    row.stage = (char *)(uintptr_t)stage;
    row.measured_at_ms += later_ms;
    return row;
}

static void expect(tri_store *store, const char *ranking, const char *drift) {
    tri_text configs = TRI_TEXT_INIT, said = TRI_TEXT_INIT;
    int64_t unknown;
    assert_ok(tri_store_ranking(store, PROBLEM, DEVICE, list_configs, &configs));
    assert_string_equal(configs.data ? configs.data : "", ranking);
    assert_ok(tri_store_drifts(&unknown, store, list_drift, &said));
    assert_int_equal(said.data != NULL, drift != NULL);
    if (drift)
        assert_non_null(strstr(said.data, drift));
    tri_text_free(&configs);
    tri_text_free(&said);
}

static void test_a_slower_winner_is_demoted(void **state) {
    (void)state;
    tri_store *store = open_store("demoted", TRI_STORE_WRITE);
    add(store, at("a", 100, "race", 0));
    add(store, at("b", 104, "race", 0));
    expect(store, "a b ", NULL);
    add(store, at("a", 101.5, "search", 10)); /* within noise */
    expect(store, "a b ", NULL);
    tri_measurement slower =
        at("a", 120, "search", 20); /* a newer search counts, when it is clearly slower */
    add(store, slower);
    tri_measurement_id(slower.id, &slower);
    expect(store, "b a ", slower.id);
    add(store, at("a", 90, "search", 30)); /* ... but what is faster has to win a race */
    expect(store, "a b ", NULL);
    add(store, at("a", 121, "race", 40));
    expect(store, "b a ", " > ");
    add(store, at("a", 120, "race", 50)); /* it is so: no news any more */
    expect(store, "b a ", NULL);
    tri_store_close(store);
}

static void test_what_no_longer_would_win_is_no_news(void **state) {
    (void)state;
    tri_store *store = open_store("no_news", TRI_STORE_WRITE);
    add(store, at("a", 100, "race", 0));
    add(store, at("b", 110, "race", 0));
    add(store, at("b", 140, "race", 10));
    expect(store, "a b ", NULL);
    add(store, at("a", 105, "race", 20)); /* slower, and still the winner */
    expect(store, "a b ", " > ");
    tri_store_close(store);
}

/* ---- near ---- */

static triage_status list_donor(void *user, const tri_stored_donor *donor) {
    const char *n = strstr(donor->problem, " n=");
    return tri_text_format(user, "%.*s:%s:%g:%d ", (int)strcspn(n + 1, " "), n + 1,
                           donor->config ? donor->config : "-", donor->median_ns, (int)donor->is_known);
}

static void expect_near(tri_store *store, const char *family, int64_t n, double octaves, int64_t most,
                        double reach_wanted, const char *wanted) {
    const tri_vicinity around = {8, n, 8, octaves, most};
    tri_text said = TRI_TEXT_INIT;
    double reach;
    assert_ok(tri_store_near(&reach, store, DEVICE, family, &around, list_donor, &said));
    assert_string_equal(said.data ? said.data : "", wanted);
    assert_float_equal(reach, reach_wanted, 1e-9);
    tri_text_free(&said);
}

static void test_near_is_what_lies_around(void **state) {
    (void)state;
    tri_store *store = open_store("near", TRI_STORE_WRITE);
    static char keys[6][64];
    static const char *const forms[6] = {"f m=8 n=16 k=8", "f m=8 n=32 k=8",    "f m=8 n=48 k=8",
                                         "g m=8 n=32 k=8", "f m=8 n=32 k=9999", "f m=8 n=33 k=8"};
    for (size_t i = 0; i < 6; i++) {
        tri_measurement row = row_of("fast", 100 + (double)i);
        snprintf(keys[i], sizeof keys[i], "%s", forms[i]);
        row.problem = keys[i];
        if (i == 5)
            row.outcome = TRI_SLOW;
        add(store, row);
        row = row_of("behind", 200);
        row.problem = keys[i];
        if (i < 5)
            add(store, row);
    }
    expect_near(store, "f", 30, 0.4, 9, 0.4, "n=32:fast:101:1 ");
    expect_near(store, "f", 16, 0.01, 9, 0.01, "n=16:fast:100:1 ");
    expect_near(store, "f", 44, 0.05, 9, 0.05, "");
    expect_near(store, "", 30, 9, 9, 9, "");
    expect_near(store, "f", 30, 1, 9, 1,
                "n=32:fast:101:1 n=48:fast:102:1 n=16:fast:100:1 "); /* near ones first */
    expect_near(store, "f", 30, 1, 2, (1 - 30 / 48.0) / log(2), "n=32:fast:101:1 n=48:fast:102:1 ");
    tri_times times[] = {{.problem = keys[1], .config = "behind"},
                         {.problem = keys[0], .config = "absent"},
                         {.problem = "f m=1 n=1 k=1", .config = "fast"}};
    for (int turn = 0; turn < 2; turn++) {
        store->has_standings = turn == 0;
        assert_ok(tri_store_times(times, 3, store, DEVICE));
        assert_true(times[0].winner_ns == 101 && times[0].config_ns == 200);
        assert_true(times[1].winner_ns == 100 && times[1].config_ns == 0);
        assert_true(times[2].winner_ns == 0 && times[2].config_ns == 0);
    }
    store->has_standings = true;
    tri_store_close(store);
}

#define STANDING_CASES                                                                                       \
    cmocka_unit_test(test_standing_is_the_ranking), cmocka_unit_test(test_a_slower_winner_is_demoted),       \
        cmocka_unit_test(test_what_no_longer_would_win_is_no_news),                                          \
        cmocka_unit_test(test_near_is_what_lies_around)

#endif
