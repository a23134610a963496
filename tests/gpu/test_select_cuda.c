/* Sparse top-k on a GPU: against float64, and whole numbers list for list as on the host device. Exits 77 where there is
 * no GPU. */
#include "support/select_cases.h"

static triage_context *gpu, *host;

static void every_kind_of_selection(void **state) {
    (void)state;
    select_all_cases(gpu);
}

static void every_size_of_block(void **state) {
    (void)state;
    select_all_blocks(gpu);
}

static void as_on_the_host(void **state) {
    (void)state;
    tri_attention_problem p = select_problem(
        "attention f16 f16 causal blocks=32x32 m=1024 n=2048 k=8 v=8 heads=4/2 batch=2" SELECT_Q);
    select_case here, there;
    select_make(&here, &p, 7, true);
    select_make(&there, &p, 7, true);
    select_run(host, &here);
    select_run(gpu, &there);
    assert_memory_equal(here.count, there.count, here.rows * sizeof(int32_t));
    assert_memory_equal(here.cols, there.cols, here.rows * (size_t)here.capacity * sizeof(int32_t));
    select_free(&here);
    select_free(&there);
}

/* 4096 KV blocks a row, and keys beyond 64K. */
static void long_sequences(void **state) {
    (void)state;
    select_check(
        gpu, "attention bf16 bf16 causal blocks=128x16 m=256 n=65537 k=64 v=64 heads=1/1 batch=1" SELECT_Q,
        100, false);
}

static triage_status open_on(triage_context **out, const char *device) {
    triage_context_options options = TRIAGE_CONTEXT_OPTIONS_INIT;
    options.device = device;
    options.data_dir = TRI_SOURCE_DIR;
    return triage_context_open(out, &options);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_selection),
        cmocka_unit_test(every_size_of_block),
        cmocka_unit_test(as_on_the_host),
        cmocka_unit_test(long_sequences),
    };
    if (open_on(&gpu, "cuda") != TRIAGE_OK) {
        printf("skipped: %s\n", triage_last_error());
        return 77;
    }
    int failed = open_on(&host, "host") != TRIAGE_OK || cmocka_run_group_tests(tests, NULL, NULL);
    triage_context_free(host);
    triage_context_free(gpu);
    return failed;
}
