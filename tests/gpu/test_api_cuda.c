/* The public API end to end on a GPU. Exits 77 where there is none. */
#include "support/api_cases.h"

static triage_context *gpu;

static void context_is_the_gpu(void **state) {
    (void)state;
    assert_int_equal(triage_context_is_host(gpu), 0);
    assert_true(strlen(triage_context_device_name(gpu)) > 0);
}

static void products_are_right(void **state) {
    (void)state;
    static const api_case cases[] = {
        {.m = 256, .n = 128, .k = 256, .block = 16, .sparsity = 0.7, .alpha = 1},
        {.m = 256, .n = 128, .k = 256, .block = 32, .sparsity = 0.7, .alpha = 1},
        {.m = 512, .n = 256, .k = 512, .block = 64, .sparsity = 0.7, .alpha = 1},
        {.m = 512, .n = 512, .k = 1024, .block = 128, .sparsity = 0.7, .alpha = 1},
        {.m = 192, .n = 1, .k = 320, .block = 64, .sparsity = 0.5, .alpha = 1},
        {.m = 192, .n = 37, .k = 320, .block = 32, .sparsity = 0.5, .alpha = 1.25f, .beta = -0.5f},
        {.m = 192, .n = 72, .k = 64, .block = 64, .sparsity = 0.3, .alpha = 1, .pad = 8},
        {.m = 192, .n = 72, .k = 64, .block = 64, .sparsity = 0.3, .alpha = 1, .beta = 1, .pad = 3},
        {.m = 128, .n = 64, .k = 128, .block = 64, .sparsity = 1.0, .alpha = 1, .beta = 0.5f}, /* no blocks */
        {.m = 640, .n = 64, .k = 64, .block = 64, .sparsity = 0.8, .alpha = 1}, /* empty rows */
        {.m = 256,
         .n = 96,
         .k = 256,
         .block = 64,
         .sparsity = 0.5,
         .alpha = 1,
         .b_layout = TRIAGE_COL_MAJOR,
         .c_layout = TRIAGE_COL_MAJOR,
         .bias = true,
         .activation = TRIAGE_ACT_GELU},
        {.m = 256,
         .n = 96,
         .k = 256,
         .block = 32,
         .sparsity = 0.5,
         .alpha = 1,
         .bias = true,
         .activation = TRIAGE_ACT_RELU},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int type = 0; type < 2; type++) {
            api_case test = cases[i];
            test.in = test.out = type == 0 ? TRIAGE_F16 : TRIAGE_BF16;
            api_run_case(gpu, &test);
        }
    }
}

static const api_case small = {.m = 256,
                               .n = 128,
                               .k = 256,
                               .block = 64,
                               .sparsity = 0.5,
                               .in = TRIAGE_F16,
                               .out = TRIAGE_F16,
                               .alpha = 1};

static void operands_may_change(void **state) {
    (void)state;
    api_run_changing_operands(gpu, &small);
}

static void widths_have_plans_of_their_own(void **state) {
    (void)state;
    api_run_widths(gpu, &small);
}

static void linear_is_the_transposed_product(void **state) {
    (void)state;
    api_run_linear(gpu, TRIAGE_BF16);
}

static void later_calls_take_no_lock(void **state) {
    (void)state;
    api_run_without_lock(gpu, &small);
}

static void threads_share_a_matrix(void **state) {
    (void)state;
    api_case test = small;
    test.n = 192;
    api_run_threads(gpu, &test);
}

/* Arrays that are on the device already: the pattern is fetched and checked, the values are borrowed. */
static void matrix_from_device_arrays(void **state) {
    (void)state;
    api_world world;
    api_build(&world, gpu, &small);
    const tri_pattern *pattern = &world.pattern;
    size_t rows = (size_t)pattern->block_rows + 1, count = (size_t)pattern->nnzb;
    triage_bsr_desc desc = TRIAGE_BSR_DESC_INIT;
    desc.dtype = small.in;
    desc.rows = small.m;
    desc.cols = small.k;
    desc.block_rows = desc.block_cols = small.block;
    desc.nnzb = pattern->nnzb;
    desc.memory = TRIAGE_MEMORY_DEVICE;
    void *row_ptr = api_upload(gpu, pattern->row_ptr, rows * sizeof(int32_t));
    void *col_idx = api_upload(gpu, pattern->col_idx, count * sizeof(int32_t));
    void *values = api_upload(gpu, world.values, count * 64 * 64 * 2);
    desc.row_ptr = row_ptr;
    desc.col_idx = col_idx;
    desc.values = values;
    triage_bsr_matrix *a = NULL;
    assert_int_equal(triage_bsr_matrix_create(&a, gpu, &desc), TRIAGE_OK);
    assert_int_equal(triage_bsr_gemm(gpu, 1, a, &world.b, 0, &world.c, NULL, NULL), TRIAGE_OK);
    void *got = api_result(&world, world.c.data);
    assert_int_equal(api_wrong(&world, got, 1, 0), 0);
    free(got);
    triage_bsr_matrix_free(a);
    int32_t outside = (int32_t)pattern->block_cols;
    assert_int_equal(triage_device_upload(gpu, col_idx, &outside, sizeof outside), TRIAGE_OK);
    assert_int_equal(triage_bsr_matrix_create(&a, gpu, &desc), TRIAGE_E_DATA);
    assert_null(a);
    triage_device_release(gpu, values);
    triage_device_release(gpu, col_idx);
    triage_device_release(gpu, row_ptr);
    api_destroy(&world);
}

int main(void) {
    triage_context_options options = TRIAGE_CONTEXT_OPTIONS_INIT;
    options.device = "cuda";
    triage_status status = triage_context_open(&gpu, &options);
    if (status == TRIAGE_E_NO_DEVICE) {
        printf("skipped: no CUDA device\n");
        return 77;
    }
    if (status != TRIAGE_OK) {
        printf("cannot open the device: %s\n", triage_last_error());
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(context_is_the_gpu),
        cmocka_unit_test(products_are_right),
        cmocka_unit_test(operands_may_change),
        cmocka_unit_test(widths_have_plans_of_their_own),
        cmocka_unit_test(linear_is_the_transposed_product),
        cmocka_unit_test(later_calls_take_no_lock),
        cmocka_unit_test(threads_share_a_matrix),
        cmocka_unit_test(matrix_from_device_arrays),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    triage_context_free(gpu);
    return failed;
}
