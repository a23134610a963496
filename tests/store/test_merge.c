// links: base store
/* Evidence on the move: merge is a set union, export and import lose nothing. */
#include "store/fixture.h"

#include <fcntl.h>

static void expect_hash(tri_store *store, const char *wanted) {
    char hash[TRI_HASH_SIZE];
    assert_ok(tri_store_hash(hash, store));
    assert_string_equal(hash, wanted);
}

/* A closed database of the rows config_first .. config_last, times that depend on the config alone. */
static void make_db(const char *name, int first, int last) {
    tri_store *store = open_store(name, TRI_STORE_WRITE);
    for (int i = first; i <= last; i++) {
        char config[32];
        snprintf(config, sizeof config, "wgmma stages=%d", i);
        add(store, row_of(config, 100 + i));
        if (i % 3 == 0)
            add(store, failed_row(config, TRI_TIMED_OUT, "no answer in 10 s"));
    }
    tri_store_close(store);
}

static void make_sources(void) {
    if (access(in_folder("a.db"), F_OK) == 0)
        return;
    make_db("a.db", 0, 9);
    make_db("b.db", 5, 14);
    make_db("c.db", 12, 20);
}

/* Merges the named sources, a letter each, into a new database and tells its hash. */
static void merge_all(char hash[TRI_HASH_SIZE], const char *into, const char *letters) {
    tri_store *store = open_store(into, TRI_STORE_WRITE);
    for (; *letters; letters++) {
        char from[8] = {*letters, '.', 'd', 'b', '\0'};
        tri_merge_result result;
        assert_ok(tri_store_merge(&result, store, in_folder(from), NULL, NULL, NULL));
        assert_int_equal(result.read, result.added + result.present);
        assert_int_equal(result.refused, 0);
    }
    assert_ok(tri_store_hash(hash, store));
    int64_t rows;
    assert_ok(tri_store_verify(&rows, store));
    assert_int_equal(rows, 21 + 7);
    tri_store_close(store);
}

static void test_merge_in_any_order(void **state) {
    (void)state;
    static const char *const orders[] = {"abc", "acb", "bac", "bca", "cab", "cba", "aabbccabc"};
    char first[TRI_HASH_SIZE], hash[TRI_HASH_SIZE];
    make_sources();
    merge_all(first, "abc.db", "abc");
    for (size_t i = 1; i < sizeof orders / sizeof orders[0]; i++) {
        char name[32];
        snprintf(name, sizeof name, "%s.db", orders[i]);
        merge_all(hash, name, orders[i]);
        assert_string_equal(hash, first);
    }
}

static void test_merge_is_associative(void **state) {
    (void)state;
    char hash[TRI_HASH_SIZE];
    tri_merge_result result;
    make_sources();
    merge_all(hash, "flat.db", "abc");
    tri_store *bc = open_store("bc.db", TRI_STORE_WRITE);
    assert_ok(tri_store_merge(&result, bc, in_folder("b.db"), NULL, NULL, NULL));
    assert_ok(tri_store_merge(&result, bc, in_folder("c.db"), NULL, NULL, NULL));
    tri_store_close(bc);
    tri_store *store = open_store("a_bc.db", TRI_STORE_WRITE);
    assert_ok(tri_store_merge(&result, store, in_folder("a.db"), NULL, NULL, NULL));
    assert_ok(tri_store_merge(&result, store, in_folder("bc.db"), NULL, NULL, NULL));
    expect_hash(store, hash);
    tri_store_close(store);
}

static void test_merge_counts(void **state) {
    (void)state;
    tri_merge_result result;
    make_sources();
    tri_store *store = open_store("counts.db", TRI_STORE_WRITE);
    assert_ok(tri_store_merge(&result, store, in_folder("a.db"), NULL, NULL, NULL));
    assert_int_equal(result.read, 14);
    assert_int_equal(result.added, 14);
    assert_ok(tri_store_merge(&result, store, in_folder("b.db"), NULL, NULL, NULL));
    assert_int_equal(result.read, 13);
    assert_int_equal(result.present, 5 + 2);
    assert_int_equal(result.added, 6);
    tri_store_close(store);
}

/* Equal evidence gives an equal ranking, whatever way it came. */
static void test_ranking_does_not_depend_on_the_way(void **state) {
    (void)state;
    char hash[TRI_HASH_SIZE];
    tri_text rankings[2] = {TRI_TEXT_INIT, TRI_TEXT_INIT};
    make_sources();
    merge_all(hash, "way0.db", "abc");
    merge_all(hash, "way1.db", "cba");
    for (int i = 0; i < 2; i++) {
        tri_store *store = open_store(i ? "way1.db" : "way0.db", TRI_STORE_READ);
        assert_ok(tri_store_ranking(store, PROBLEM, DEVICE, list_configs, &rankings[i]));
        tri_store_close(store);
    }
    assert_string_equal(rankings[0].data, rankings[1].data);
    assert_non_null(strstr(rankings[0].data, "wgmma stages=1 "));
    tri_text_free(&rankings[0]);
    tri_text_free(&rankings[1]);
}

/* The source is not written to, and nothing is left beside it. */
static void test_sources_are_left_alone(void **state) {
    (void)state;
    char *before = NULL, *after = NULL;
    size_t size, size_after;
    tri_merge_result result;
    make_sources();
    assert_ok(tri_file_read(&before, &size, in_folder("a.db"), 0));
    tri_store *store = open_store("into.db", TRI_STORE_WRITE);
    assert_ok(tri_store_merge(&result, store, in_folder("a.db"), NULL, NULL, NULL));
    tri_store_close(store);
    assert_ok(tri_file_read(&after, &size_after, in_folder("a.db"), 0));
    assert_int_equal(size, size_after);
    assert_memory_equal(before, after, size);
    assert_int_equal(access(in_folder("a.db-wal"), F_OK), -1);
    assert_int_equal(access(in_folder("a.db-shm"), F_OK), -1);
    free(before);
    free(after);
}

/* What another process has written and not yet folded into the file is seen too. */
static void test_source_in_use(void **state) {
    (void)state;
    tri_merge_result result;
    tri_store *busy = open_store("busy.db", TRI_STORE_WRITE);
    add(busy, row_of("wgmma stages=1", 100));
    tri_store *store = open_store("from_busy.db", TRI_STORE_WRITE);
    assert_ok(tri_store_merge(&result, store, in_folder("busy.db"), NULL, NULL, NULL));
    assert_int_equal(result.added, 1);
    tri_store_close(busy);
    tri_store_close(store);
}

static triage_status only_even(void *user, const tri_measurement *row) {
    (void)user;
    int stages = atoi(strchr(row->config, '=') + 1);
    return stages % 2 ? tri_fail(TRIAGE_E_UNSUPPORTED, "stages=%d is odd", stages) : TRIAGE_OK;
}

static triage_status no_memory(void *user, const tri_measurement *row) {
    (void)row;
    return ++*(int *)user == 3 ? tri_fail(TRIAGE_E_MEMORY, "no memory") : TRIAGE_OK;
}

static void collect(void *user, triage_log_level level, const char *line) {
    (void)level;
    assert_ok(tri_text_format(user, "%s\n", line));
}

static void test_the_callers_check(void **state) {
    (void)state;
    tri_merge_result result;
    tri_text text = TRI_TEXT_INIT;
    const tri_log log = {collect, &text};
    int calls = 0;
    make_sources();
    tri_store *store = open_store("even.db", TRI_STORE_WRITE);
    assert_ok(tri_store_merge(&result, store, in_folder("a.db"), only_even, NULL, &log));
    assert_int_equal(result.refused, 5 + 2);
    assert_int_equal(result.added, 5 + 2);
    assert_non_null(strstr(text.data, "a.db: row "));
    assert_non_null(strstr(text.data, "refused: stages=7 is odd"));
    tri_text_free(&text);
    /* A failure that is not the row's ends the merge. */
    assert_fails(TRIAGE_E_MEMORY, "no memory",
                 tri_store_merge(&result, store, in_folder("b.db"), no_memory, &calls, NULL));
    assert_int_equal(calls, 3);
    add(store, row_of("after", 100)); /* no transaction was left open */
    tri_store_close(store);
}

static void test_merge_needs_a_source(void **state) {
    (void)state;
    tri_merge_result result;
    tri_store *store = open_store("self.db", TRI_STORE_WRITE);
    assert_fails(TRIAGE_E_INVALID, "into itself",
                 tri_store_merge(&result, store, in_folder("self.db"), NULL, NULL, NULL));
    assert_fails(TRIAGE_E_NOT_FOUND, "nowhere.db",
                 tri_store_merge(&result, store, in_folder("nowhere.db"), NULL, NULL, NULL));
    tri_store_close(store);
}

/* ---- JSON Lines ---- */

static void test_export_and_import(void **state) {
    (void)state;
    char hash[TRI_HASH_SIZE];
    int64_t rows;
    tri_merge_result result;
    char *one = NULL, *two = NULL;
    make_sources();
    tri_store *store = open_store("a.db", TRI_STORE_READ);
    assert_ok(tri_store_export(&rows, store, in_folder("a.jsonl")));
    assert_int_equal(rows, 14);
    assert_ok(tri_store_hash(hash, store));
    tri_store_close(store);
    store = open_store("imported.db", TRI_STORE_WRITE);
    assert_ok(tri_store_import(&result, store, in_folder("a.jsonl"), NULL, NULL, NULL));
    assert_int_equal(result.added, 14);
    expect_hash(store, hash);
    assert_ok(tri_store_import(&result, store, in_folder("a.jsonl"), NULL, NULL, NULL));
    assert_int_equal(result.present, 14);
    assert_int_equal(result.added, 0);
    expect_hash(store, hash);
    assert_ok(tri_store_export(&rows, store, in_folder("again.jsonl")));
    tri_store_close(store);
    assert_ok(tri_file_read(&one, NULL, in_folder("a.jsonl"), 0));
    assert_ok(tri_file_read(&two, NULL, in_folder("again.jsonl"), 0));
    assert_string_equal(one, two);
    free(one);
    free(two);
}

static void test_export_leaves_no_half_file(void **state) {
    (void)state;
    int64_t rows;
    make_sources();
    tri_store *store = open_store("a.db", TRI_STORE_READ);
    assert_fails(TRIAGE_E_IO, "nowhere", tri_store_export(&rows, store, in_folder("nowhere/a.jsonl")));
    assert_fails(TRIAGE_E_IO, folder, tri_store_export(&rows, store, folder)); /* a folder is in its place */
    char leftover[256];
    snprintf(leftover, sizeof leftover, "ls %s.?????? 2>/dev/null | grep -q .", folder);
    assert_int_not_equal(system(leftover), 0);
    tri_store_close(store);
}

/* Extreme doubles come back bit for bit. */
static void test_numbers_survive_json(void **state) {
    (void)state;
    tri_store *store = open_store("numbers.db", TRI_STORE_WRITE);
    static const double times[] = {5e-324, 1.0 / 3, 0.1, 123456789.123456789, 999999999999999.9, 1e15};
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        tri_measurement row = row_of("a", 1), back = {0};
        row.min_ns = row.low_ns = row.median_ns = row.high_ns = times[i];
        char *line = NULL;
        assert_ok(tri_store_add(store, &row));
        assert_ok(tri_measurement_to_json(&line, &row));
        assert_ok(tri_measurement_from_json(&back, line));
        assert_memory_equal(&back.median_ns, &times[i], sizeof(double));
        tri_measurement_clear(&back);
        free(line);
    }
    tri_store_close(store);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merge_in_any_order),
        cmocka_unit_test(test_merge_is_associative),
        cmocka_unit_test(test_merge_counts),
        cmocka_unit_test(test_ranking_does_not_depend_on_the_way),
        cmocka_unit_test(test_sources_are_left_alone),
        cmocka_unit_test(test_source_in_use),
        cmocka_unit_test(test_the_callers_check),
        cmocka_unit_test(test_merge_needs_a_source),
        cmocka_unit_test(test_export_and_import),
        cmocka_unit_test(test_export_leaves_no_half_file),
        cmocka_unit_test(test_numbers_survive_json),
    };
    return cmocka_run_group_tests_name("merge", tests, make_folder, remove_folder);
}
