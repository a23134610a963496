/* The dense product beside the candidates: its key, its way through a run on the host with a library of ours in
 * the place of OpenBLAS, and that it neither wins a ranking nor is lost on a caller of the C API. */
#include <unistd.h>

#include "op/bsr_gemm/bsr_gemm.h"
#include "op/dense.h"
#include "evidence/dense_evidence.h"
#include "support/bsr_of.h"
#include "support/api_cases.h"
#include "support/check.h"
#include "support/scratch_group.h"
#include "tune/tune.h"

#define WORKER TRI_BINARY_DIR "/bin/triage_worker"
#define LIBRARIES TRI_BINARY_DIR "/tests/"

static int set_up(void **state) {
    (void)state;
    scratch_make(folder);
    unsetenv("OPENBLAS_FAKE");
    return setenv("LD_LIBRARY_PATH", LIBRARIES "fake_openblas", 1);
}

/* ---- the key ---- */

static void test_key_and_back(void **state) {
    (void)state;
    const tri_problem problem = tri_bsr_problem_of((tri_bsr_problem){.in_type = TRIAGE_F16,
                                                                     .out_type = TRIAGE_F32,
                                                                     .b_layout = TRIAGE_COL_MAJOR,
                                                                     .activation = TRIAGE_ACT_GELU,
                                                                     .bias = true,
                                                                     .m = 4096,
                                                                     .n = 7,
                                                                     .k = 96,
                                                                     .block_m = 32,
                                                                     .block_k = 16,
                                                                     .nnzb = 5});
    tri_gemm back;
    tri_problem none;
    tri_least_work work;
    char *key = NULL;
    must(tri_dense_key_of(&key, &problem));
    assert_string_equal(key,
                        "dense_gemm f16 f32 col row m=4096 n=7 k=96"); /* no block, pattern or epilogue */
    assert_true(tri_dense_is_key(key));
    must(tri_dense_parse(&back, key));
    assert_true(back.m == 4096 && back.n == 7 && back.k == 96 && back.out_type == TRIAGE_F32);
    tri_dense_least_work(&work, &back);
    assert_true(work.flops == 2.0 * 4096 * 7 * 96);
    assert_int_equal(tri_problem_parse(&none, key), TRIAGE_E_DATA); /* not a problem for a space */
    free(key);
}

static void test_other_spellings_are_refused(void **state) {
    (void)state;
    static const char *const bad[] = {"",
                                      "dense_gemm",
                                      "dense_gemm f16 f16 row row m=1 n=1",
                                      "dense_gemm f16 f16 row row m=01 n=1 k=1",
                                      "dense_gemm f16 f16 row row m=0 n=1 k=1",
                                      "dense_gemm f16 f16 row row m=1 n=1 k=2147483648",
                                      "dense_gemm f16 f16 row row m=1 n=1 k=1 ",
                                      "dense_gemm f16 f16 row row m=1 n=1 k=1 block=16x16",
                                      "dense_gemm f64 f16 row row m=1 n=1 k=1",
                                      "dense_gemm f16 f16 ROW row m=1 n=1 k=1",
                                      "dense_gemm  f16 f16 row row m=1 n=1 k=1",
                                      "bsr_gemm f16 f16 row row m=1 n=1 k=1"};
    tri_gemm problem;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (tri_dense_parse(&problem, bad[i]) != TRIAGE_E_DATA)
            fail_msg("taken: '%s'", bad[i]);
    must(tri_dense_parse(&problem, "dense_gemm f16 f16 row row m=1 n=1 k=1"));
}

/* ---- a run ---- */

static triage_status tune(tri_tune_result *out, double sparsity, triage_layout layout, bool force) {
    tri_problem problem;
    tri_pattern pattern;
    const bool row = layout == TRIAGE_ROW_MAJOR;
    must(tri_pattern_random(&pattern, 4, 6, sparsity, 1));
    problem = tri_bsr_problem_of((tri_bsr_problem){.b_layout = layout,
                                                   .c_layout = layout,
                                                   .m = 64,
                                                   .n = 50,
                                                   .k = 96,
                                                   .ldb = row ? 50 : 96,
                                                   .ldc = row ? 50 : 64,
                                                   .block_m = 16,
                                                   .block_k = 16,
                                                   .nnzb = pattern.nnzb});
    tri_fingerprint_of(&bsr_of(&problem)->fingerprint, &pattern);
    const tri_tune_options options = {.device = "host",
                                      .data_dir = TRI_SOURCE_DIR,
                                      .cache_dir = TEST_KERNELS,
                                      .db_path = scratch_path(folder, "t.db"),
                                      .worker_path = WORKER,
                                      .strategy = "random",
                                      .budget = 2,
                                      .jobs = 2,
                                      .sampling_limit_s = 0.1,
                                      .seed = 7,
                                      .force = force,
                                      .dense = true};
    triage_status status = tri_tune_run(out, &problem, &pattern, &options, NULL, NULL);
    tri_pattern_free(&pattern);
    return status;
}

typedef struct census {
    int dense, dense_right, other;
} census;

static triage_status count_row(void *user, const tri_measurement *row) {
    census *seen = user;
    const bool dense = strcmp(row->kernel, "openblas") == 0;
    assert_int_equal(dense, tri_dense_is_key(row->problem));
    seen->dense += dense;
    seen->dense_right += dense && row->outcome == TRI_RIGHT;
    seen->other += !dense;
    return TRIAGE_OK;
}

static census take_census(void) {
    tri_store *store = NULL;
    census seen = {0};
    must(tri_store_open(&store, scratch_path(folder, "t.db"), TRI_STORE_READ));
    must(tri_store_each(store, count_row, &seen));
    tri_store_close(store);
    return seen;
}

static triage_status no_dense(void *user, const tri_measurement *row) {
    (void)user;
    assert_string_equal(row->kernel, "host");
    return TRIAGE_OK;
}

static void test_measured_once_for_a_shape(void **state) {
    (void)state;
    tri_tune_result first, again, sparser, forced;
    tri_store *store = NULL;
    double median = 0;
    tri_problem problem;
    must(tune(&first, 0.5, TRIAGE_ROW_MAJOR, false));
    const tri_measurement *m = &first.dense.evidence;
    assert_true(first.dense.measured && !first.dense.from_store && !first.dense.reason[0]);
    assert_int_equal(m->outcome, TRI_RIGHT);
    assert_string_equal(m->problem, "dense_gemm f32 f32 row row m=64 n=50 k=96");
    assert_string_equal(m->compiler, "openblas 9.8.7");
    assert_true(m->median_ns > 0 && m->cold_l2 && m->row_error > 0 && m->row_error <= m->row_error_limit);
    assert_int_equal(first.count, 2); /* it is no candidate */
    assert_string_equal(first.rows[0].evidence.kernel, "host");
    assert_int_equal(take_census().dense, 1);

    must(tune(&again, 0.5, TRIAGE_ROW_MAJOR, false));
    assert_true(again.answered_from_store && again.dense.measured && again.dense.from_store);
    assert_true(again.dense.evidence.median_ns == m->median_ns);
    must(tune(&sparser, 0.8, TRIAGE_ROW_MAJOR, false)); /* another pattern: the same dense product */
    assert_true(!sparser.answered_from_store && sparser.dense.from_store);
    assert_int_equal(take_census().dense, 1);
    must(tune(&forced, 0.5, TRIAGE_ROW_MAJOR, true));
    assert_true(forced.dense.measured && !forced.dense.from_store);
    assert_int_equal(take_census().dense, 2);

    must(tri_store_open(&store, scratch_path(folder, "t.db"), TRI_STORE_READ));
    must(tri_store_ranking(store, first.problem_key, first.device_key, no_dense, NULL));
    must(tri_problem_parse(&problem, first.problem_key));
    must(tri_dense_lookup(&median, store, &problem, &first.device));
    assert_true(median == forced.dense.evidence.median_ns); /* the newest speaks */
    bsr_of(&problem)->n++;
    must(tri_dense_lookup(&median, store, &problem, &first.device));
    assert_true(median == 0);
    tri_store_close(store);
    tri_tune_result_free(&first);
    tri_tune_result_free(&again);
    tri_tune_result_free(&sparser);
    tri_tune_result_free(&forced);
}

static void test_columns_too(void **state) {
    (void)state;
    tri_tune_result result;
    must(tune(&result, 0.5, TRIAGE_COL_MAJOR, false));
    assert_int_equal(result.dense.evidence.outcome, TRI_RIGHT);
    assert_string_equal(result.dense.evidence.problem, "dense_gemm f32 f32 col col m=64 n=50 k=96");
    tri_tune_result_free(&result);
}

/* A product that is wrong gets no number; that it was wrong is remembered. */
static void test_a_wrong_library_gets_no_number(void **state) {
    (void)state;
    tri_tune_result result, again;
    setenv("OPENBLAS_FAKE", "wrong", 1);
    must(tune(&result, 0.5, TRIAGE_ROW_MAJOR, false));
    assert_true(result.dense.measured && result.winner == 0); /* the run itself is none the worse */
    assert_int_equal(result.dense.evidence.outcome, TRI_WRONG);
    assert_true(result.dense.evidence.median_ns == 0 && result.dense.evidence.reason[0]);
    const census seen = take_census();
    assert_true(seen.dense == 1 && seen.dense_right == 0);
    must(tune(&again, 0.5, TRIAGE_ROW_MAJOR, false));
    assert_true(again.dense.from_store && again.dense.evidence.outcome == TRI_WRONG);
    tri_tune_result_free(&result);
    tri_tune_result_free(&again);
}

/* It takes its process with it: the run goes on without. */
static void test_a_crash_is_evidence(void **state) {
    (void)state;
    tri_tune_result result;
    setenv("OPENBLAS_FAKE", "crash", 1);
    must(tune(&result, 0.5, TRIAGE_ROW_MAJOR, false));
    assert_true(result.dense.measured && result.winner == 0);
    assert_int_equal(result.dense.evidence.outcome, TRI_CRASHED);
    assert_non_null(strstr(result.dense.evidence.reason, "SIGABRT"));
    tri_tune_result_free(&result);
}

static void test_without_a_library_nothing_is_measured(void **state) {
    (void)state;
    tri_tune_result result;
    setenv("LD_LIBRARY_PATH", LIBRARIES "hollow_openblas", 1);
    must(tune(&result, 0.5, TRIAGE_ROW_MAJOR, false));
    assert_false(result.dense.measured);
    assert_string_equal(result.dense.reason, "this libopenblas has no cblas_sgemm");
    assert_int_equal(take_census().dense, 0);
    tri_tune_result_free(&result);
}

/* ---- the C API ---- */

static const api_case product = {.m = 64, .n = 50, .k = 96, .block = 16, .sparsity = 0.5, .alpha = 1};

static tri_measurement row_of(const tri_problem *problem, char *key, char *device,
                              const tri_candidate *candidate, char *hash, double median_ns) {
    (void)problem;
    return (tri_measurement){.problem = key,
                             .device = device,
                             .device_name = (char *)(uintptr_t) "host",
                             .kernel = candidate->kernel,
                             .config = candidate->config,
                             .source_hash = hash,
                             .compiler = (char *)(uintptr_t) "gcc",
                             .stage = (char *)(uintptr_t) "race",
                             .reason = (char *)(uintptr_t) "",
                             .median_ns = median_ns,
                             .low_ns = median_ns,
                             .high_ns = median_ns,
                             .min_ns = median_ns,
                             .samples = 30,
                             .cold_l2 = true,
                             .row_error = 1e-7,
                             .row_error_limit = 1e-6,
                             .measured_at_ms = 1790000000000,
                             .host = (char *)(uintptr_t) "",
                             .version = (char *)(uintptr_t) "0.1.0",
                             .circumstances = (char *)(uintptr_t) "{}"};
}

static void add_dense(tri_store *store, const tri_problem *problem, const tri_device_info *info,
                      double median_ns) {
    tri_candidate library = {.kernel = (char *)(uintptr_t) "openblas",
                             .config = (char *)(uintptr_t) "openblas"};
    char *key = NULL, *device = NULL, hash[TRI_HASH_SIZE];
    must(tri_dense_key_of(&key, problem));
    must(tri_device_key(&device, info));
    tri_dense_source_hash(hash, "openblas");
    tri_measurement row = row_of(problem, key, device, &library, hash, median_ns);
    must(tri_store_add(store, &row));
    free(key);
    free(device);
}

/* The space's default for this problem, as if it had been measured. */
static void add_exact(tri_store *store, const tri_problem *problem, const tri_device_info *info,
                      double median_ns) {
    tri_space *space = NULL;
    tri_configs configs = {0};
    tri_candidate candidate = {0};
    tri_source source = {0};
    char *key = NULL, *device = NULL, hash[TRI_HASH_SIZE];
    must(tri_problem_key(&key, problem));
    must(tri_device_key(&device, info));
    must(tri_space_open(&space, &tri_op_bsr_gemm, &(tri_space_options){0}));
    must(tri_space_enumerate(&configs, space, problem, info));
    must(tri_space_candidate(&candidate, space, problem, info, configs.text[configs.default_index]));
    must(tri_render(&source, &candidate, NULL));
    tri_source_hash(hash, &source, info->target);
    tri_measurement row = row_of(problem, key, device, &candidate, hash, median_ns);
    must(tri_store_add(store, &row));
    tri_source_free(&source);
    tri_candidate_free(&candidate);
    tri_configs_free(&configs);
    tri_space_free(space);
    free(key);
    free(device);
}

/* What a program compiled against version 1 has of the struct. */
typedef struct choice_1 {
    uint32_t version;
    triage_source source;
    char kernel[64], config[512], donor[256];
    double distance, median_ns, expected_loss;
} choice_1;

static void test_choice_tells_of_the_dense_time(void **state) {
    (void)state;
    static const struct {
        double exact_ns, dense_ns; /* 0: not stored */
        int32_t faster;
    } cases[] = {{0, 0, 0}, {2000, 0, 0}, {0, 1000, 0}, {2000, 1000, 1}, {1000, 2000, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char name[16];
        api_world world;
        tri_store *store = NULL;
        snprintf(name, sizeof name, "%zu.db", i);
        must(tri_store_open(&store, scratch_path(folder, name), TRI_STORE_WRITE));
        triage_context *context = api_open("host", scratch_path(folder, name), TEST_KERNELS);
        const tri_device_info *info = tri_device_describe(context->device);
        api_build(&world, context, &product);
        if (cases[i].exact_ns > 0)
            add_exact(store, &world.problem, info, cases[i].exact_ns);
        if (cases[i].dense_ns > 0)
            add_dense(store, &world.problem, info, cases[i].dense_ns);
        triage_choice choice = {.version = TRIAGE_CHOICE_VERSION, .reserved = 7};
        must(triage_bsr_gemm_choice(&choice, context, world.a, &world.b, &world.c, NULL));
        assert_int_equal(choice.source, cases[i].exact_ns > 0 ? TRIAGE_SOURCE_EXACT : TRIAGE_SOURCE_DEFAULT);
        assert_true(choice.median_ns == cases[i].exact_ns && choice.dense_median_ns == cases[i].dense_ns);
        assert_int_equal(choice.dense_is_faster, cases[i].faster);
        assert_int_equal(choice.reserved, 0);
        api_destroy(&world);
        triage_context_free(context);
        tri_store_close(store);
    }
}

static void test_version_1_gets_what_it_had(void **state) {
    (void)state;
    union {
        triage_choice now;
        struct {
            choice_1 choice;
            unsigned char beyond[64];
        } then;
    } memory;
    api_world world;
    tri_store *store = NULL;
    assert_int_equal(offsetof(triage_choice, dense_median_ns), sizeof(choice_1));
    must(tri_store_open(&store, scratch_path(folder, "v1.db"), TRI_STORE_WRITE));
    triage_context *context = api_open("host", scratch_path(folder, "v1.db"), TEST_KERNELS);
    api_build(&world, context, &product);
    add_dense(store, &world.problem, tri_device_describe(context->device), 1000);
    memset(&memory, 0xa5, sizeof memory);
    memory.now.version = 1;
    must(triage_bsr_gemm_choice(&memory.now, context, world.a, &world.b, &world.c, NULL));
    assert_int_equal(memory.then.choice.source, TRIAGE_SOURCE_DEFAULT);
    assert_true(memory.then.choice.median_ns == 0 && memory.then.choice.expected_loss < 0);
    for (size_t i = 0; i < sizeof memory.then.beyond; i++)
        assert_int_equal(memory.then.beyond[i], 0xa5);
    for (uint32_t version = 0; version <= 3; version += 3) {
        memory.now.version = version;
        assert_int_equal(triage_bsr_gemm_choice(&memory.now, context, world.a, &world.b, &world.c, NULL),
                         TRIAGE_E_INVALID);
        assert_non_null(strstr(triage_last_error(), "must be 1 to 2 (TRIAGE_CHOICE_VERSION)"));
    }
    api_destroy(&world);
    triage_context_free(context);
    tri_store_close(store);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_key_and_back),
        cmocka_unit_test(test_other_spellings_are_refused),
        cmocka_unit_test_setup_teardown(test_measured_once_for_a_shape, set_up, remove_scratch),
        cmocka_unit_test_setup_teardown(test_columns_too, set_up, remove_scratch),
        cmocka_unit_test_setup_teardown(test_a_wrong_library_gets_no_number, set_up, remove_scratch),
        cmocka_unit_test_setup_teardown(test_a_crash_is_evidence, set_up, remove_scratch),
        cmocka_unit_test_setup_teardown(test_without_a_library_nothing_is_measured, set_up, remove_scratch),
        cmocka_unit_test_setup_teardown(test_choice_tells_of_the_dense_time, set_up, remove_scratch),
        cmocka_unit_test_setup_teardown(test_version_1_gets_what_it_had, set_up, remove_scratch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
