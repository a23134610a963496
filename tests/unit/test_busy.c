/* A device that others use while we time on it: tunes on the host device, whose worker counts as many processes as the
 * test says (support/busy_worker.c). */
#include "support/bsr_of.h"
#include "support/check.h"

#include <stdlib.h>
#include <string.h>

#include "op/bsr_gemm/bsr_gemm.h"
#include "support/scratch_group.h"
#include "tune/tune.h"

static int warnings;

static void hear(void *user, triage_log_level level, const char *message) {
    (void)user;
    warnings += level == TRIAGE_LOG_WARNING && strstr(message, "other programs are on this device") != NULL;
}

typedef struct seen {
    bool answered;
    size_t count, busy, raced_busy, raced; /* rows; raced: of all, by its stage */
    int warnings;
} seen;

/* One tune with so many processes on the device. */
static seen tune(const char *processes) {
    const tri_log log = {.fn = hear};
    tri_problem problem;
    tri_pattern pattern;
    tri_tune_result result;
    must(tri_pattern_random(&pattern, 4, 6, 0.5, 1));
    problem = tri_bsr_problem_of((tri_bsr_problem){
        .m = 64, .n = 50, .k = 96, .ldb = 50, .ldc = 50, .block_m = 16, .block_k = 16, .nnzb = pattern.nnzb});
    tri_fingerprint_of(&bsr_of(&problem)->fingerprint, &pattern);
    setenv("TEST_PROCESSES", processes, 1);
    warnings = 0;
    must(tri_tune_run(&result, &problem, &pattern,
                      &(tri_tune_options){.device = "host",
                                          .data_dir = TRI_SOURCE_DIR,
                                          .cache_dir = TEST_KERNELS,
                                          .worker_path = TRI_BINARY_DIR "/bin/busy_worker",
                                          .db_path = scratch_path(folder, "t.db"),
                                          .strategy = "random",
                                          .budget = 3,
                                          .jobs = 1,
                                          .sampling_limit_s = 0.05,
                                          .log = &log,
                                          .seed = 7},
                      NULL, NULL));
    seen s = {result.answered_from_store, result.count, result.busy, 0, 0, warnings};
    for (size_t i = 0; i < result.count; i++) {
        const bool raced = strcmp(result.rows[i].evidence.stage, "race") == 0;
        s.raced += raced;
        s.raced_busy += raced && tri_circumstances_are_busy(result.rows[i].evidence.circumstances);
    }
    assert_string_equal(result.rows[0].evidence.stage, "race");
    tri_tune_result_free(&result);
    tri_pattern_free(&pattern);
    return s;
}

static triage_status count(void *user, const tri_measurement *row) {
    (void)row;
    ++*(size_t *)user;
    return TRIAGE_OK;
}

static size_t busy_winners(void) {
    tri_store *store = NULL;
    size_t winners = 0;
    must(tri_store_open(&store, scratch_path(folder, "t.db"), TRI_STORE_READ));
    must(tri_store_busy(store, count, &winners));
    tri_store_close(store);
    return winners;
}

static void test_busy_times_are_taken_again_in_quiet(void **state) {
    (void)state;
    seen s = tune("2"); /* ours and another's */
    assert_false(s.answered);
    assert_int_equal(s.busy, s.count);
    assert_int_equal(s.warnings, 1);
    assert_int_equal(busy_winners(), 1);

    s = tune("5"); /* still busy: no better times are to be had */
    assert_true(s.answered);
    assert_int_equal(s.busy, s.count);
    assert_int_equal(s.warnings, 1);

    s = tune("1"); /* the first quiet chance */
    assert_false(s.answered);
    assert_int_equal(s.busy, 0);
    assert_true(s.raced >= 2 && s.raced_busy == 0);
    assert_int_equal(s.warnings, 0);
    assert_int_equal(busy_winners(), 0);

    assert_true(tune("1").answered);
    s = tune("2"); /* quiet rows answer a busy device */
    assert_true(s.answered && s.busy == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_busy_times_are_taken_again_in_quiet)};
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
