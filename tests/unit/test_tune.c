/* The search on the host device, end to end, with the real space; and the statistics under it. */
#include "support/bsr_of.h"
#include "support/check.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "op/bsr_gemm/bsr_gemm.h"
#include "measure/stats.h"
#include "support/scratch_group.h"
#include "tune/search.h"
#include "tune/tune.h"

#define WORKER TRI_BINARY_DIR "/bin/triage_worker"

/* ---- statistics --------------------------------------------------------------------------------------- */

static void test_interval_of_few(void **state) {
    double five[] = {5, 1, 4, 2, 3}, six[] = {6, 5, 4, 3, 2, 1};
    tri_timing timing = {0};
    (void)state;
    tri_timing_of(&timing, five, 5);
    assert_true(timing.median_ns == 3 && timing.low_ns == 1 && timing.high_ns == 5 && timing.min_ns == 1);
    tri_timing_of(&timing, six, 6); /* 2 / 2^6 = 3.1 %: the range is the 95 % interval */
    assert_true(timing.median_ns == 3.5 && timing.low_ns == 1 && timing.high_ns == 6);
    assert_int_equal(timing.samples, 6);
}

/* From tables of the sign test at 5 % two-sided: n = 20 excludes 5 on each side, n = 100 excludes 39. */
static void test_interval_of_many(void **state) {
    double ns[1000];
    tri_timing timing = {0};
    (void)state;
    for (int i = 0; i < 20; i++)
        ns[i] = i + 1;
    tri_timing_of(&timing, ns, 20);
    assert_true(timing.low_ns == 6 && timing.high_ns == 15);
    for (int i = 0; i < 100; i++)
        ns[i] = i + 1;
    tri_timing_of(&timing, ns, 100);
    assert_true(timing.low_ns == 40 && timing.high_ns == 61);
    for (int i = 0; i < 1000; i++)
        ns[i] = i + 1;
    tri_timing_of(&timing, ns, 1000);
    assert_true(timing.low_ns > 460 && timing.low_ns < 475 && timing.high_ns + timing.low_ns == 1001);
    assert_true(tri_timing_width(&timing) < 0.15);
}

/* How often does the interval hold the true median? */
static void test_interval_covers(void **state) {
    tri_random random;
    int held = 0;
    (void)state;
    tri_random_seed(&random, 4);
    for (int trial = 0; trial < 2000; trial++) {
        double ns[25];
        tri_timing timing = {0};
        for (int i = 0; i < 25; i++) {
            double u = (double)(tri_random_next(&random) >> 11) / 9007199254740992.0;
            ns[i] = u * u * u; /* skewed, median 0.125 */
        }
        tri_timing_of(&timing, ns, 25);
        held += timing.low_ns <= 0.125 && timing.high_ns >= 0.125;
    }
    assert_true(held >= 1880 && held < 1999); /* 95 % and more, but not always */
}

/* ---- runs ----------------------------------------------------------------------------------------------- */

static void make_problem(tri_problem *problem, tri_pattern *pattern) {
    must(tri_pattern_random(pattern, 4, 6, 0.5, 1));
    *problem = tri_bsr_problem_of((tri_bsr_problem){.m = 64,
                                                    .n = 50,
                                                    .k = 96,
                                                    .ldb = 50,
                                                    .ldc = 50,
                                                    .block_m = 16,
                                                    .block_k = 16,
                                                    .nnzb = pattern->nnzb});
    tri_fingerprint_of(&bsr_of(problem)->fingerprint, pattern);
}

typedef struct seen {
    size_t calls, last_done, total;
    bool ordered;
} seen;

static void watch(void *user, size_t done, size_t total, const tri_tune_row *row) {
    seen *s = user;
    s->ordered = s->ordered && done == s->last_done + (row ? 1 : 0);
    s->last_done = done;
    s->total = total;
    s->calls++;
}

static tri_tune_options defaults(void) {
    return (tri_tune_options){.device = "host",
                              .data_dir = TRI_SOURCE_DIR,
                              .cache_dir = TEST_KERNELS,
                              .worker_path = WORKER,
                              .strategy = "random",
                              .budget = 4,
                              .jobs = 2,
                              .sampling_limit_s = 0.1,
                              .seed = 7};
}

static triage_status tune(tri_tune_result *out, const tri_tune_options *options, seen *s) {
    tri_problem problem;
    tri_pattern pattern;
    make_problem(&problem, &pattern);
    triage_status status = tri_tune_run(out, &problem, &pattern, options, s ? watch : NULL, s);
    tri_pattern_free(&pattern);
    return status;
}

static triage_status count_searched(void *user, const tri_measurement *row) {
    *(size_t *)user += strcmp(row->stage, "search") == 0;
    return TRIAGE_OK;
}

static void test_a_run_and_its_memory(void **state) {
    tri_tune_result first, second, third;
    tri_store *store = NULL;
    seen s = {.ordered = true};
    (void)state;
    tri_tune_options options = defaults();
    options.db_path = scratch_path(folder, "new/folder/t.db");
    must(tune(&first, &options, &s));
    assert_int_equal(first.count, 4);
    assert_true(s.ordered && s.calls == 5 && s.last_done == 4 && s.total == 4);
    assert_int_equal(first.winner, 0);
    assert_false(first.answered_from_store);
    assert_true(first.tie_set >= 1 && first.space_size >= 4);
    for (size_t i = 0; i < first.count; i++) {
        const tri_measurement *m = &first.rows[i].evidence;
        assert_true(m->outcome == TRI_RIGHT || m->outcome == TRI_SLOW);
        assert_true(m->median_ns > 0 && m->low_ns <= m->median_ns && m->median_ns <= m->high_ns);
        assert_true(m->row_error > 0 && m->row_error <= m->row_error_limit);
        assert_true(m->cold_l2);
        assert_string_equal(m->problem, first.problem_key);
        assert_int_equal(strlen(m->source_hash), TRI_HASH_SIZE - 1);
        assert_int_equal(m->circumstances[0], '{');
    }
    assert_string_equal(first.rows[0].evidence.stage, "race");

    must(tune(&second, &options, NULL));
    assert_true(second.answered_from_store);
    assert_int_equal(second.count, first.count);
    assert_true(second.compile_s == 0);
    for (size_t i = 0; i < first.count; i++) { /* the same rows in the same order, number for number */
        assert_string_equal(second.rows[i].evidence.config, first.rows[i].evidence.config);
        assert_true(second.rows[i].evidence.median_ns == first.rows[i].evidence.median_ns);
        assert_true(second.rows[i].from_store);
    }

    options.budget = 6; /* goes on where the last one stopped */
    must(tune(&third, &options, NULL));
    assert_int_equal(third.count, 6);
    assert_false(third.answered_from_store);
    size_t searched = 0; /* finalists may be raced again, but nothing is searched twice */
    must(tri_store_open(&store, options.db_path, TRI_STORE_READ));
    must(tri_store_each(store, count_searched, &searched));
    tri_store_close(store);
    assert_int_equal(searched, 6);
    tri_tune_result_free(&first);
    tri_tune_result_free(&second);
    tri_tune_result_free(&third);
}

static void test_the_same_seed_tries_the_same(void **state) {
    tri_tune_result first, second;
    (void)state;
    tri_tune_options options = defaults();
    must(tune(&first, &options, NULL));
    must(tune(&second, &options, NULL));
    assert_int_equal(first.count, second.count);
    for (size_t i = 0; i < first.count; i++) {
        bool there = false;
        for (size_t j = 0; j < second.count; j++)
            there = there || strcmp(first.rows[i].config, second.rows[j].config) == 0;
        assert_true(there);
    }
    assert_int_equal(scratch_count(scratch_path(folder, "t.db")), -1);
    tri_tune_result_free(&first);
    tri_tune_result_free(&second);
}

/* ---- what near problems teach ---- */

/* As make_problem, with other columns. */
static void make_sized(tri_problem *problem, tri_pattern *pattern, int64_t n) {
    make_problem(problem, pattern);
    bsr_of(problem)->n = bsr_of(problem)->ldb = bsr_of(problem)->ldc = n;
}

static void tune_sized(tri_tune_result *out, int64_t n, const tri_tune_options *options) {
    tri_problem problem;
    tri_pattern pattern;
    make_sized(&problem, &pattern, n);
    must(tri_tune_run(out, &problem, &pattern, options, NULL, NULL));
    tri_pattern_free(&pattern);
}

/* Evidence for the problem of 64 columns: a configuration that takes this long. */
static void pretend(const char *db, const tri_tune_result *like, const char *config, double ns) {
    tri_problem problem;
    tri_pattern pattern;
    tri_store *store = NULL;
    char *key = NULL;
    make_sized(&problem, &pattern, 64);
    must(tri_problem_key(&key, &problem));
    must(tri_store_open(&store, db, TRI_STORE_WRITE));
    tri_measurement row = like->rows[0].evidence;
    row.problem = key;
    row.config = (char *)(uintptr_t)config;
    row.stage = "search";
    row.median_ns = row.low_ns = row.high_ns = row.min_ns = ns;
    memset(row.id, 0, sizeof row.id);
    must(tri_store_add(store, &row));
    tri_store_close(store);
    tri_pattern_free(&pattern);
    free(key);
}

static bool tried(const tri_tune_result *result, const char *config) {
    for (size_t i = 0; i < result->count; i++)
        if (strcmp(result->rows[i].config, config) == 0)
            return true;
    return false;
}

/* The donor's best two are ones that the strategy by itself does not try within three candidates. */
static void test_a_budget_of_few_finds_the_donors_winner(void **state) {
    static const char *const strategies[] = {"exhaustive", "random", "local"};
    tri_tune_result all, cold, warm;
    char db[64];
    (void)state;
    tri_tune_options options = defaults();
    options.compile_only = true;
    options.target = "host";
    options.budget = 0;
    must(tune(&all, &options, NULL));
    for (size_t i = 0; i < 3; i++) {
        options = defaults();
        options.strategy = strategies[i];
        options.budget = 3;
        snprintf(db, sizeof db, "near%zu.db", i);
        options.db_path = scratch_path(folder, db);
        tune_sized(&cold, 50, &options);
        assert_int_equal(cold.warm_start.count, 0);
        const char *best = NULL, *second = NULL; /* for the donor: what the cold run did not try */
        for (size_t j = 0; j < all.count; j++)
            if (!tried(&cold, all.rows[j].config)) {
                second = best ? second ? second : all.rows[j].config : NULL;
                best = best ? best : all.rows[j].config;
            }
        pretend(options.db_path, &cold, best, 1000);
        pretend(options.db_path, &cold, second, 1100);
        options.cold_start = true;
        tri_tune_result again;
        tune_sized(&again, 50, &options);
        assert_int_equal(again.warm_start.count, 0);
        /* local's third candidate follows the times */
        for (size_t j = 0; j < again.count && strcmp(strategies[i], "local") != 0; j++)
            assert_true(again.rows[j].from_store && tried(&cold, again.rows[j].config));
        tri_tune_result_free(&again);
        options.cold_start = false;
        tune_sized(&warm, 50, &options);
        assert_int_equal(warm.count, 3); /* the default and those two */
        assert_int_equal(warm.warm_start.count, 2);
        assert_string_equal(warm.warm_start.configs[0], best);
        assert_true(tried(&warm, best) && tried(&warm, second));
        assert_int_equal(warm.warm_start.donor_count, 1);
        assert_true(bsr_of(&warm.warm_start.donors[0].problem)->n == 64);
        tri_tune_result_free(&warm);
        options.budget = 2;
        tune_sized(&warm, 50, &options);
        assert_true(warm.count == 2 && tried(&warm, best));
        tri_tune_result_free(&warm);
        tri_tune_result_free(&cold);
    }
    tri_tune_result_free(&all);
}

static tri_search_trial trial_of(tri_outcome outcome, const char *stage, size_t rank, double median_ns) {
    char *name = (char *)"config";
    return (tri_search_trial){
        .state = TRI_TRIAL_DONE,
        .rank = rank,
        .row = {.config = name,
                .evidence = {.outcome = outcome, .stage = (char *)stage, .median_ns = median_ns}}};
}

/* Whoever led in the store and was stopped as slow today does not hide what was right today. */
static void test_what_is_right_leads(void **state) {
    (void)state;
    const tri_search_trial slow = trial_of(TRI_SLOW, "search", 0, 90),
                           failed = trial_of(TRI_WRONG, "search", 1, 0),
                           right = trial_of(TRI_RIGHT, "search", 7, 100),
                           raced = trial_of(TRI_RIGHT, "race", 9, 80),
                           unranked = trial_of(TRI_RIGHT, "race", SIZE_MAX, 1);
    const tri_search_trial *order[] = {&right, &raced, &unranked, &slow, &failed};
    for (size_t i = 0; i < 5; i++)
        for (size_t j = 0; j < 5; j++) {
            int got = tri_trial_order(&order[i], &order[j]);
            assert_int_equal(i < j ? -1 : i > j, (got > 0) - (got < 0));
        }
}

/* The row with a time that nobody measured. */
static triage_status forge(void *user, const tri_measurement *row) {
    tri_store *stranger = user;
    tri_measurement forged = *row;
    if (row->outcome != TRI_RIGHT)
        return TRIAGE_OK;
    forged.median_ns = forged.low_ns = forged.high_ns = forged.min_ns = 1;
    return tri_store_add(stranger, &forged);
}

static triage_status expect_real_time(void *user, const tri_measurement *row) {
    (void)user;
    assert_true(row->median_ns > 100);
    return TRIAGE_OK;
}

static triage_status expect_no_false_winner(void *user, const tri_measurement *row) {
    return tri_store_winner(user, row->problem, row->device, expect_real_time, NULL);
}

static bool has_config(const tri_tune_result *result, const char *config) {
    for (size_t i = 0; i < result->count; i++)
        if (strcmp(result->rows[i].config, config) == 0)
            return true;
    return false;
}

/* What strangers say answers nothing: it is tried first, and what is found is one's own evidence from then on. */
static void test_claims_are_checked_here(void **state) {
    tri_tune_result first, checked;
    tri_store *store = NULL, *stranger = NULL;
    tri_merge_result merged;
    int64_t rows;
    (void)state;
    tri_tune_options options = defaults();
    options.budget = 3;
    options.strategy = "local"; /* begins with what is known */
    options.db_path = scratch_path(folder, "first.db");
    must(tune(&first, &options, NULL));
    must(tri_store_open(&store, options.db_path, TRI_STORE_READ));
    must(tri_store_open_memory(&stranger));
    must(tri_store_each(store, forge, stranger));
    must(tri_store_export(&rows, stranger, scratch_path(folder, "forged.jsonl")));
    tri_store_close(stranger);
    tri_store_close(store);

    options.db_path = scratch_path(folder, "checked.db");
    options.seed = 1234; /* would try others */
    must(tri_store_open(&store, options.db_path, TRI_STORE_WRITE));
    must(tri_store_import(&merged, store, scratch_path(folder, "forged.jsonl"), NULL, NULL, NULL));
    assert_true(merged.added >= 1);
    tri_store_close(store);
    must(tune(&checked, &options, NULL));
    assert_false(checked.answered_from_store);
    must(tri_store_open(&store, options.db_path, TRI_STORE_READ));
    for (size_t i = 0; i < checked.count; i++) {
        const tri_measurement *row = &checked.rows[i].evidence;
        tri_tier tier;
        char name[128];
        assert_false(checked.rows[i].from_store);
        assert_true(row->outcome != TRI_RIGHT || row->median_ns > 100); /* not the forged one */
        must(tri_store_origin(&tier, name, store, row->id));
        assert_int_equal(tier, TRI_TIER_OWN);
    }
    for (size_t i = 0; i < first.count; i++) /* the default, and the claims: they took the budget */
        assert_true(first.rows[i].evidence.outcome != TRI_RIGHT ||
                    has_config(&checked, first.rows[i].config));
    must(tri_store_each(store, expect_no_false_winner, store));
    tri_store_close(store);
    tri_tune_result_free(&first);
    tri_tune_result_free(&checked);
}

static void test_a_temporary_cache_goes_away(void **state) {
    tri_tune_result result;
    (void)state;
    tri_tune_options options = defaults();
    options.cache_dir = NULL;
    options.budget = 1;
    must(tune(&result, &options, NULL));
    assert_int_equal(result.count, 1);
    assert_int_equal(result.rows[0].evidence.outcome, TRI_RIGHT);
    tri_tune_result_free(&result);
}

static volatile int flag;

static void interrupt_after_first(void *user, size_t done, size_t total, const tri_tune_row *row) {
    (void)user;
    (void)total;
    (void)row;
    flag = done >= 1;
}

static void test_interruption_keeps_results(void **state) {
    tri_problem problem;
    tri_pattern pattern;
    tri_tune_result result;
    (void)state;
    make_problem(&problem, &pattern);
    tri_tune_options options = defaults();
    options.db_path = scratch_path(folder, "i.db");
    options.interrupted = &flag;
    flag = 0;
    assert_int_equal(tri_tune_run(&result, &problem, &pattern, &options, interrupt_after_first, NULL),
                     TRIAGE_E_INTERRUPTED);
    assert_true(result.interrupted);
    assert_int_equal(result.count, 1);
    tri_tune_result_free(&result);
    flag = 0;
    must(tri_tune_run(&result, &problem, &pattern, &options, NULL, NULL));
    assert_int_equal(result.count, 4);
    tri_tune_result_free(&result);
    tri_pattern_free(&pattern);
}

static void run_out_of_time_after_first(void *user, size_t done, size_t total, const tri_tune_row *row) {
    tri_tune_options *options = user;
    (void)total, (void)row;
    if (done >= 1)
        options->time_limit_s = 1e-9;
}

static void test_the_time_limit_is_no_failure(void **state) {
    tri_problem problem;
    tri_pattern pattern;
    tri_tune_result result;
    (void)state;
    tri_tune_options options = defaults();
    options.budget = 0;
    options.time_limit_s = 1e6;
    make_problem(&problem, &pattern);
    must(tri_tune_run(&result, &problem, &pattern, &options, run_out_of_time_after_first, &options));
    tri_pattern_free(&pattern);
    assert_true(result.out_of_time);
    assert_true(result.count >= 1 && result.count < result.space_size);
    tri_tune_result_free(&result);
}

static void test_compile_only(void **state) {
    tri_tune_result result;
    (void)state;
    tri_tune_options options = defaults();
    options.compile_only = true;
    options.target = "host";
    options.device = NULL;
    options.db_path = scratch_path(folder, "never.db");
    must(tune(&result, &options, NULL));
    assert_int_equal(result.count, 4);
    assert_int_equal(result.winner, -1);
    for (size_t i = 0; i < result.count; i++)
        assert_true(result.rows[i].compiled && result.rows[i].evidence.median_ns == 0);
    assert_int_equal(access(options.db_path, F_OK), -1);
    tri_tune_result_free(&result);
}

/* Compiling ahead for a device elsewhere keeps what fails under its key, and nothing else: here all compile. */
static void test_compile_for_a_device(void **state) {
    tri_tune_result result;
    tri_device_info info;
    char *key = NULL;
    (void)state;
    must(tri_device_info_of_target(&info, "host"));
    info.sm_count = 77; /* not this machine */
    tri_tune_options options = defaults();
    options.for_device = &info;
    options.db_path = scratch_path(folder, "ahead.db");
    assert_int_equal(tune(&result, &options, NULL), TRIAGE_E_INVALID);
    tri_tune_result_free(&result);
    options.compile_only = true;
    must(tune(&result, &options, NULL));
    must(tri_device_key(&key, &info));
    assert_string_equal(result.device_key, key);
    assert_int_equal(result.count, 4);
    assert_int_equal(access(options.db_path, F_OK), -1);
    free(key);
    tri_tune_result_free(&result);
    options.overtaken = &(int){1}; /* to be stopped is no failure */
    must(tune(&result, &options, NULL));
    assert_int_equal(result.count, 0);
    tri_tune_result_free(&result);
}

static void expect(triage_status wanted, const tri_tune_options *options, const char *message) {
    tri_tune_result result;
    triage_status status = tune(&result, options, NULL);
    if (status != wanted || !strstr(triage_last_error(), message))
        fail_msg("%s: %s; expected %s: %s", triage_status_name(status), triage_last_error(),
                 triage_status_name(wanted), message);
    tri_tune_result_free(&result);
}

static void test_bad_options(void **state) {
    (void)state;
    tri_tune_options options = defaults();
    options.db_path = scratch_path(folder, "bad.db");
    options.device = "cuda:1000";
    expect(TRIAGE_E_NO_DEVICE, &options, "");
    options.device = "abacus";
    expect(TRIAGE_E_INVALID, &options, "abacus");
    options.device = "host";
    options.jobs = 1000;
    expect(TRIAGE_E_INVALID, &options, "1000");
    options.jobs = 1;
    options.strategy = "no_such_strategy";
    expect(TRIAGE_E_INVALID, &options, "no_such_strategy");
    options.strategy = "random";
    options.worker_path = "/no/worker";
    expect(TRIAGE_E_IO, &options, "/no/worker");
    options.worker_path = WORKER;
    options.compile_only = true;
    options.target = "sm_12";
    expect(TRIAGE_E_INVALID, &options, "sm_12");
    assert_int_equal(access(options.db_path, F_OK), -1);
}

/* clang's OpenMP makes a file at its start, which a confined worker may not: it ended it (SIGABRT). */
static void test_kernels_of_clang(void **state) {
    tri_tune_result result;
    (void)state;
    void *libomp = dlopen("libomp.so.5", RTLD_NOW | RTLD_LOCAL);
    if (access("/usr/bin/clang", X_OK) != 0 || !libomp) {
        print_message("skipped: clang and libomp are not both here\n");
        skip();
    }
    dlclose(libomp);
    tri_tune_options options = defaults();
    options.budget = 1;
    setenv("CC", "/usr/bin/clang", 1);
    const triage_status status = tune(&result, &options, NULL);
    unsetenv("CC");
    must(status);
    assert_int_equal(strncmp(result.rows[0].evidence.compiler, "clang ", 6), 0);
    assert_int_equal(result.rows[0].evidence.outcome, TRI_RIGHT);
    tri_tune_result_free(&result);
}

static void test_describe(void **state) {
    tri_device_info info;
    (void)state;
    tri_tune_options options = defaults();
    must(tri_tune_describe(&info, &options));
    assert_string_equal(info.backend, "host");
    assert_int_equal(info.cc, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_interval_of_few),
        cmocka_unit_test(test_interval_of_many),
        cmocka_unit_test(test_interval_covers),
        cmocka_unit_test(test_describe),
        cmocka_unit_test(test_a_run_and_its_memory),
        cmocka_unit_test(test_the_same_seed_tries_the_same),
        cmocka_unit_test(test_a_budget_of_few_finds_the_donors_winner),
        cmocka_unit_test(test_what_is_right_leads),
        cmocka_unit_test(test_claims_are_checked_here),
        cmocka_unit_test(test_a_temporary_cache_goes_away),
        cmocka_unit_test(test_interruption_keeps_results),
        cmocka_unit_test(test_the_time_limit_is_no_failure),
        cmocka_unit_test(test_compile_only),
        cmocka_unit_test(test_compile_for_a_device),
        cmocka_unit_test(test_bad_options),
        cmocka_unit_test(test_kernels_of_clang),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
