/* The process that compiles for the next problems while one is timed: which it takes, when it leaves off, and which
 * candidates it compiles. */
#include "support/bsr_of.h"
#include "support/check.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "op/bsr_gemm/bsr_gemm.h"
#include "support/scratch_group.h"
#include "measure/ahead.h"
#include "tune/tune.h"

/* What the other process did, where both see it. */
typedef struct diary {
    volatile int count;
    volatile size_t taken[8];
} diary;

/* Goes on with one problem until the first process is there. */
static void note(void *user, size_t i, volatile const int *begun) {
    diary *d = user;
    d->taken[d->count] = i;
    d->count++;
    while (!*begun)
        usleep(1000);
}

static void wait_for(const diary *d, int count) {
    while (d->count < count)
        usleep(1000);
}

static void test_what_is_begun_is_left_and_not_taken(void **state) {
    (void)state;
    diary *d = mmap(NULL, sizeof *d, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    tri_ahead ahead = {0};
    assert_ptr_not_equal(d, MAP_FAILED);
    must(tri_ahead_start(&ahead, 4, note, d));
    wait_for(d, 1);
    tri_ahead_begin(&ahead, 2);
    tri_ahead_begin(&ahead, 1);
    wait_for(d, 2);
    tri_ahead_end(&ahead); /* although it would go on with the last one for ever */
    assert_int_equal(d->count, 2);
    assert_int_equal(d->taken[0], 1);
    assert_int_equal(d->taken[1], 3);
    assert_int_equal(ahead.pid, 0);
    tri_ahead_begin(&ahead, 3); /* there is no other process any more */
    tri_ahead_end(&ahead);
    assert_int_equal(munmap(d, sizeof *d), 0);
}

/* How many candidates are compiled for a host elsewhere. */
static size_t compile(size_t budget, const char *strategy) {
    tri_problem problem;
    tri_pattern pattern;
    tri_device_info info;
    tri_tune_result result;
    must(tri_device_info_of_target(&info, "host"));
    must(tri_pattern_random(&pattern, 4, 6, 0.5, 1));
    problem = tri_bsr_problem_of((tri_bsr_problem){
        .m = 64, .n = 50, .k = 96, .ldb = 50, .ldc = 50, .block_m = 16, .block_k = 16, .nnzb = pattern.nnzb});
    tri_fingerprint_of(&bsr_of(&problem)->fingerprint, &pattern);
    must(tri_tune_run(&result, &problem, &pattern,
                      &(tri_tune_options){.compile_only = true,
                                          .for_device = &info,
                                          .data_dir = TRI_SOURCE_DIR,
                                          .cache_dir = TEST_KERNELS,
                                          .worker_path = TRI_BINARY_DIR "/bin/triage_worker",
                                          .strategy = strategy,
                                          .budget = budget,
                                          .jobs = 2,
                                          .seed = 7},
                      NULL, NULL));
    const size_t count = result.count;
    tri_tune_result_free(&result);
    tri_pattern_free(&pattern);
    return count;
}

/* A search that chooses begins with the default and what is known, here nothing; the rest depends on what it finds. */
static void test_only_what_the_search_begins_with(void **state) {
    (void)state;
    assert_int_equal(compile(3, NULL), 1);
    assert_int_equal(compile(3, "exhaustive"), 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_what_is_begun_is_left_and_not_taken),
                                       cmocka_unit_test(test_only_what_the_search_begins_with)};
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
