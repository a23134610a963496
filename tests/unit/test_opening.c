/* What opening and a first call read of the spaces: no more than they need, counted. */
#include "support/api_cases.h"
#include "support/scratch.h"

#include "space/local.h"

/* Kernels that are whole, not only named. */
static size_t read_kernels(const tri_space *space) {
    size_t count = 0;
    for (size_t i = 0; i < space->kernel_count; i++)
        count += !space->kernels[i].later;
    return count;
}

static size_t read_spaces(const triage_context *context) {
    size_t count = 0;
    for (size_t i = 0; i < TRI_OPERATIONS_MAX; i++)
        count += context->spaces[i] != NULL;
    return count;
}

static tri_space *open_built_in(const tri_operation *op) {
    tri_space *space = NULL;
    if (tri_space_open(&space, op, NULL) != TRIAGE_OK)
        fail_msg("%s", triage_last_error());
    return space;
}

/* ---- a space ---- */

/* A configuration needs its own kernel, a list of all that is legal needs every one. */
static void a_configuration_reads_its_kernel(void **state) {
    (void)state;
    static const char config[] = "host_fp8 tile_n=16 tile_m=1";
    tri_space *space = open_built_in(&tri_op_bsr_gemm);
    assert_true(space->kernel_count > 5);
    assert_int_equal(read_kernels(space), 0);
    assert_int_equal(tri_space_knows(space, "abacus rows=7"), TRIAGE_E_DATA);
    assert_int_equal(read_kernels(space), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(tri_space_knows(space, config), TRIAGE_OK);
        assert_int_equal(read_kernels(space), 1);
    }
    tri_space_free(space);
}

/* ---- a part that cannot be read ---- */

static int faults; /* how often reading a part still fails */
static triage_status (*read_well)(void *, char **, size_t *, char **, const char *);

static triage_status read_badly(void *user, char **text, size_t *size, char **name, const char *part) {
    return faults-- > 0 ? tri_fail(TRIAGE_E_IO, "%s: a fault", part)
                        : read_well(user, text, size, name, part);
}

/* The built-in space of bsr_gemm, whose parts are read by read_badly. */
static tri_space *open_reading_badly(void) {
    tri_space *space = calloc(1, sizeof *space);
    char *vocabulary = NULL, *text = NULL;
    tri_space_text texts = {0};
    assert_int_equal(tri_strdup(&space->file, "tuner/spaces/bsr_gemm.lua"), TRIAGE_OK);
    assert_int_equal(tri_lua_file_read(&vocabulary, &texts.vocabulary_size, NULL, TRI_VOCABULARY, NULL),
                     TRIAGE_OK);
    assert_int_equal(tri_lua_file_read(&text, &texts.text_size, NULL, space->file, NULL), TRIAGE_OK);
    texts.vocabulary = vocabulary;
    texts.text = text;
    tri_files files = tri_files_of(space);
    read_well = files.part;
    files.part = read_badly;
    if (tri_local_open(space, &texts, &files) != TRIAGE_OK)
        fail_msg("%s", triage_last_error());
    free(vocabulary);
    free(text);
    return space;
}

static void a_kernel_that_cannot_be_read_is_tried_again(void **state) {
    (void)state;
    static const char config[] = "host_fp8 tile_n=16 tile_m=1";
    tri_space *space = open_reading_badly();
    faults = 2;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(tri_space_knows(space, config), TRIAGE_E_IO);
        assert_int_equal(read_kernels(space), 0);
    }
    assert_int_equal(tri_space_knows(space, config), TRIAGE_OK);
    assert_int_equal(read_kernels(space), 1);
    tri_space_free(space);
}

/* ---- all kernels ---- */

/* The same list whatever was read before it. */
static void the_list_of_all_is_the_same(void **state) {
    (void)state;
    tri_space *fresh = open_built_in(&tri_op_bsr_gemm), *used = open_built_in(&tri_op_bsr_gemm);
    tri_problem problem = tri_bsr_problem_of((tri_bsr_problem){.in_type = TRIAGE_F16,
                                                               .out_type = TRIAGE_F16,
                                                               .m = 4096,
                                                               .n = 512,
                                                               .k = 4096,
                                                               .ldb = 512,
                                                               .ldc = 512,
                                                               .block_m = 64,
                                                               .block_k = 64,
                                                               .nnzb = 410,
                                                               .fingerprint = {1000, 10, 1}});
    const tri_device_info info = {.backend = "cuda",
                                  .target = "sm_90a",
                                  .cc = 90,
                                  .sm_count = 132,
                                  .smem_bytes_max = 232448,
                                  .l2_bytes = 62914560};
    tri_configs a, b;
    assert_int_equal(tri_space_knows(used, "split tile_m=64 tile_n=64 cluster_k=4 ctas_per_sm=1"), TRIAGE_OK);
    assert_int_equal(tri_space_enumerate(&a, fresh, &problem, &info), TRIAGE_OK);
    assert_int_equal(tri_space_enumerate(&b, used, &problem, &info), TRIAGE_OK);
    assert_int_equal(read_kernels(used), used->kernel_count);
    assert_int_equal(a.count, b.count);
    assert_true(a.count > 10);
    assert_int_equal(a.default_index, b.default_index);
    for (size_t i = 0; i < a.count; i++)
        assert_string_equal(a.text[i], b.text[i]);
    tri_configs_free(&a);
    tri_configs_free(&b);
    tri_space_free(fresh);
    tri_space_free(used);
}

/* ---- a context ---- */

static void opening_reads_no_space(void **state) {
    (void)state;
    triage_context *context = api_open("host", NULL, NULL);
    assert_int_equal(read_spaces(context), 0);
    triage_context_free(context);
}

static void a_product_reads_one_space(void **state) {
    (void)state;
    static const api_case small = {.m = 64,
                                   .n = 32,
                                   .k = 64,
                                   .block = 16,
                                   .sparsity = 0.5,
                                   .in = TRIAGE_F32,
                                   .out = TRIAGE_F32,
                                   .alpha = 1};
    triage_context *context = api_open("host", NULL, TEST_KERNELS);
    api_run_case(context, &small);
    assert_int_equal(read_spaces(context), 1);
    assert_non_null(context->spaces[tri_operation_index(&tri_op_bsr_gemm)]);
    triage_context_free(context);
}

/* A folder of templates that is not there is an error of opening, though nothing was asked for yet. */
static void a_wrong_folder_is_an_error_of_opening(void **state) {
    (void)state;
    triage_context *context = NULL;
    triage_context_options options = TRIAGE_CONTEXT_OPTIONS_INIT;
    options.device = "host";
    options.data_dir = "/nonexistent";
    assert_int_not_equal(triage_context_open(&context, &options), TRIAGE_OK);
    assert_null(context);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_configuration_reads_its_kernel),
        cmocka_unit_test(a_kernel_that_cannot_be_read_is_tried_again),
        cmocka_unit_test(the_list_of_all_is_the_same),
        cmocka_unit_test(opening_reads_no_space),
        cmocka_unit_test(a_product_reads_one_space),
        cmocka_unit_test(a_wrong_folder_is_an_error_of_opening),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
