/* The public API end to end on the host device: products, bad input, threads. */
#include <ftw.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "store/store.h"
#include "support/api_cases.h"
#include "support/scratch.h"

static char folder[64], database[96];
static const char cache[] = TEST_KERNELS;
static triage_context *host;

static int remove_entry(const char *path, const struct stat *info, int flag, struct FTW *at) {
    (void)info, (void)flag, (void)at;
    return remove(path);
}

static int setup(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/triage-test-api-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(database, sizeof database, "%s/none.db", folder);
    host = api_open("host", database, cache);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    triage_context_free(host);
    return nftw(folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

/* ---- opening ---- */

static void context_is_the_host(void **state) {
    (void)state;
    assert_int_equal(triage_context_is_host(host), 1);
    assert_true(strlen(triage_context_device_name(host)) > 0);
    assert_int_not_equal(access(database, F_OK), 0); /* opening made no database */
}

static void open_refuses(void **state) {
    (void)state;
    triage_context *context = (triage_context *)&context;
    triage_context_options options = TRIAGE_CONTEXT_OPTIONS_INIT;
    options.version = 0;
    assert_int_equal(triage_context_open(&context, &options), TRIAGE_E_INVALID);
    assert_null(context);
    assert_string_equal(triage_last_error(),
                        "options.version is 0; must be 1 .. 5 (TRIAGE_CONTEXT_OPTIONS_INIT)");
    options.version = TRIAGE_CONTEXT_OPTIONS_VERSION;
    options.device = "abacus";
    assert_int_equal(triage_context_open(&context, &options), TRIAGE_E_INVALID);
    assert_null(context);
    assert_int_equal(triage_context_open(NULL, NULL), TRIAGE_E_INVALID);
}

static void open_refuses_what_is_no_database(void **state) {
    (void)state;
    char path[128];
    snprintf(path, sizeof path, "%s/letter.db", folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (int i = 0; i < 100; i++)
        fputs("Dear Sir or Madam, this is not a database at all.\n", file);
    fclose(file);
    triage_context *context = NULL;
    triage_context_options options = TRIAGE_CONTEXT_OPTIONS_INIT;
    options.device = "host";
    options.db_path = path;
    triage_status status = triage_context_open(&context, &options);
    assert_true(status == TRIAGE_E_DATA || status == TRIAGE_E_DB);
    assert_null(context);
    options.db_path = NULL;
    options.space_path = path;
    assert_int_equal(triage_context_open(&context, &options), TRIAGE_E_DATA);
    assert_null(context);
}

static void free_accepts_null(void **state) {
    (void)state;
    triage_context_free(NULL);
    triage_bsr_matrix_free(NULL);
    triage_device_release(host, NULL);
    assert_string_equal(triage_context_device_name(NULL), "");
}

/* ---- device memory ---- */

static void memory_goes_there_and_back(void **state) {
    (void)state;
    void *memory = NULL;
    char text[] = "there and back", back[sizeof text] = "";
    assert_int_equal(triage_device_alloc(&memory, host, sizeof text), TRIAGE_OK);
    assert_int_equal((uintptr_t)memory % 256, 0);
    assert_int_equal(triage_device_upload(host, memory, text, sizeof text), TRIAGE_OK);
    assert_int_equal(triage_device_download(host, back, memory, sizeof back), TRIAGE_OK);
    assert_string_equal(back, text);
    triage_device_release(host, memory);
    assert_int_equal(triage_device_alloc(&memory, host, 0), TRIAGE_E_INVALID);
    assert_null(memory);
    assert_int_equal(triage_device_alloc(&memory, host, SIZE_MAX), TRIAGE_E_INVALID);
    assert_int_equal(triage_device_alloc(&memory, NULL, 1), TRIAGE_E_INVALID);
    assert_int_equal(triage_device_upload(host, NULL, text, 1), TRIAGE_E_INVALID);
    assert_int_equal(triage_device_download(host, back, NULL, 1), TRIAGE_E_INVALID);
    assert_int_equal(triage_device_synchronize(NULL), TRIAGE_E_INVALID);
}

/* ---- matrices ---- */

static int32_t good_row_ptr[] = {0, 2, 2, 3}, good_col_idx[] = {0, 2, 1};
static float good_values[3 * 16 * 16];

static triage_bsr_desc good_desc(void) { /* 48 x 48 in blocks of 16, the middle block row empty */
    triage_bsr_desc desc = TRIAGE_BSR_DESC_INIT;
    desc.dtype = TRIAGE_F32;
    desc.rows = desc.cols = 48;
    desc.block_rows = desc.block_cols = 16;
    desc.nnzb = 3;
    desc.row_ptr = good_row_ptr;
    desc.col_idx = good_col_idx;
    desc.values = good_values;
    return desc;
}

static void expect_matrix(const triage_bsr_desc *desc, triage_status want, const char *part) {
    triage_bsr_matrix *matrix = (triage_bsr_matrix *)&matrix;
    triage_status status = triage_bsr_matrix_create(&matrix, host, desc);
    if (status != want)
        fail_msg("%d instead of %d for '%s': %s", status, want, part, triage_last_error());
    if (want != TRIAGE_OK)
        assert_null(matrix);
    if (want != TRIAGE_OK && !strstr(triage_last_error(), part))
        fail_msg("'%s' is not in '%s'", part, triage_last_error());
    triage_bsr_matrix_free(want == TRIAGE_OK ? matrix : NULL);
}

#define EXPECT_DESC(change, want, part)                                                                      \
    do {                                                                                                     \
        triage_bsr_desc desc = good_desc();                                                                  \
        change;                                                                                              \
        expect_matrix(&desc, want, part);                                                                    \
    } while (0)

static void matrix_checks_its_description(void **state) {
    (void)state;
    EXPECT_DESC((void)0, TRIAGE_OK, "");
    EXPECT_DESC(desc.version = 0, TRIAGE_E_INVALID, "desc.version is 0");
    EXPECT_DESC(desc.dtype = (triage_dtype)9, TRIAGE_E_INVALID, "desc.dtype is 9");
    EXPECT_DESC(desc.memory = (triage_memory)2, TRIAGE_E_INVALID, "desc.memory is 2");
    EXPECT_DESC(desc.rows = 0, TRIAGE_E_INVALID, "0 x 48");
    EXPECT_DESC(desc.cols = (int64_t)INT32_MAX + 1, TRIAGE_E_INVALID, "2147483648");
    EXPECT_DESC(desc.rows = -48, TRIAGE_E_INVALID, "-48 x 48");
    EXPECT_DESC(desc.block_rows = 0, TRIAGE_E_INVALID, "blocks of 0 x 16");
    EXPECT_DESC(desc.block_cols = 1025, TRIAGE_E_INVALID, "1025");
    EXPECT_DESC(desc.rows = 50, TRIAGE_E_INVALID, "multiple");
    EXPECT_DESC(desc.nnzb = -1, TRIAGE_E_INVALID, "desc.nnzb is -1");
    EXPECT_DESC(desc.nnzb = 10, TRIAGE_E_INVALID, "0 .. 9");
    EXPECT_DESC(desc.row_ptr = NULL, TRIAGE_E_INVALID, "desc.row_ptr is NULL");
    EXPECT_DESC(desc.col_idx = NULL, TRIAGE_E_INVALID, "desc.col_idx is NULL");
    EXPECT_DESC(desc.values = NULL, TRIAGE_E_INVALID, "desc.values is NULL");
    EXPECT_DESC((desc.memory = TRIAGE_MEMORY_DEVICE, desc.values = (char *)0 + 1024 + 4), TRIAGE_E_INVALID,
                "16-byte aligned");
    assert_int_equal(triage_bsr_matrix_create(NULL, host, NULL), TRIAGE_E_INVALID);
}

static void matrix_checks_its_pattern(void **state) {
    (void)state;
    int32_t unsorted[] = {2, 0, 1}, twice[] = {2, 2, 1}, outside[] = {0, 3, 1}, negative[] = {-1, 0, 1};
    int32_t falling[] = {0, 2, 1, 3}, late[] = {1, 2, 2, 3}, short_end[] = {0, 2, 2, 2},
            huge[] = {0, 2, 2, 9};
    EXPECT_DESC(desc.col_idx = unsorted, TRIAGE_E_DATA, "");
    EXPECT_DESC(desc.col_idx = twice, TRIAGE_E_DATA, "");
    EXPECT_DESC(desc.col_idx = outside, TRIAGE_E_DATA, "3");
    EXPECT_DESC(desc.col_idx = negative, TRIAGE_E_DATA, "-1");
    EXPECT_DESC(desc.row_ptr = falling, TRIAGE_E_DATA, "");
    EXPECT_DESC(desc.row_ptr = late, TRIAGE_E_DATA, "");
    EXPECT_DESC(desc.row_ptr = short_end, TRIAGE_E_DATA, "");
    EXPECT_DESC(desc.row_ptr = huge, TRIAGE_E_DATA, "");
}

/* Host memory is copied: the caller's arrays may change afterwards. Device memory is borrowed. */
static void matrix_copies_or_borrows(void **state) {
    (void)state;
    _Alignas(16) float values[16 * 16], other[16 * 16], b[16 * 16], c[16 * 16];
    int32_t row_ptr[] = {0, 1}, col_idx[] = {0};
    for (int i = 0; i < 256; i++)
        values[i] = b[i] = i % 17 == 0, other[i] = i % 17 ? 0 : 2; /* the identity, and twice it */
    triage_bsr_desc desc = TRIAGE_BSR_DESC_INIT;
    desc.dtype = TRIAGE_F32;
    desc.rows = desc.cols = desc.block_rows = desc.block_cols = 16;
    desc.nnzb = 1;
    desc.row_ptr = row_ptr;
    desc.col_idx = col_idx;
    desc.values = values;
    triage_dense dense_b = {b, 16, 16, 16, TRIAGE_F32, TRIAGE_ROW_MAJOR}, dense_c = dense_b;
    dense_c.data = c;
    for (int borrowed = 0; borrowed < 2; borrowed++) {
        triage_bsr_matrix *a = NULL;
        desc.memory = borrowed ? TRIAGE_MEMORY_DEVICE : TRIAGE_MEMORY_HOST;
        values[0] = 1;
        assert_int_equal(triage_bsr_matrix_create(&a, host, &desc), TRIAGE_OK);
        values[0] = 5;
        row_ptr[1] = 0; /* the pattern is copied in both cases */
        assert_int_equal(triage_bsr_gemm(host, 1, a, &dense_b, 0, &dense_c, NULL, NULL), TRIAGE_OK);
        assert_true(c[0] == (borrowed ? 5.0f : 1.0f));
        assert_true(c[17] == 1.0f && c[1] == 0.0f);
        values[0] = 7;
        other[0] = 3;
        assert_int_equal(triage_bsr_matrix_set_values(a, other), TRIAGE_OK);
        other[0] = 4;
        assert_int_equal(triage_bsr_gemm(host, 1, a, &dense_b, 0, &dense_c, NULL, NULL), TRIAGE_OK);
        assert_true(c[0] == (borrowed ? 4.0f : 3.0f));
        assert_true(c[17] == 2.0f && c[1] == 0.0f);
        assert_int_equal(triage_bsr_matrix_set_values(a, NULL), TRIAGE_E_INVALID);
        assert_int_equal(triage_bsr_matrix_set_values(NULL, other), TRIAGE_E_INVALID);
        if (borrowed)
            assert_int_equal(triage_bsr_matrix_set_values(a, (char *)other + 4), TRIAGE_E_INVALID);
        row_ptr[1] = 1;
        triage_bsr_matrix_free(a);
    }
}

/* ---- products ---- */

static void a_child_of_fork_computes(void **state) {
    (void)state;
    const api_case test = {.m = 256, .n = 64, .k = 256, .block = 32, .sparsity = 0.5, .alpha = 1};
    api_world world;
    int how = 0;
    api_build(&world, host, &test);
    assert_int_equal(triage_bsr_gemm(host, 1, world.a, &world.b, 0, &world.c, NULL, NULL), TRIAGE_OK);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        memset(world.c.data, 0xff, world.c_bytes);
        triage_status status = triage_bsr_gemm(host, 1, world.a, &world.b, 0, &world.c, NULL, NULL);
        _exit(status == TRIAGE_OK && api_wrong(&world, world.c.data, 1, 0) == 0 ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFEXITED(how) && WEXITSTATUS(how) == 0);
    api_destroy(&world);
}

static void products_are_right(void **state) {
    (void)state;
    static const api_case cases[] = {
        {.m = 64, .n = 64, .k = 64, .block = 16, .sparsity = 0.5, .alpha = 1},
        {.m = 96, .n = 1, .k = 160, .block = 32, .sparsity = 0.7, .alpha = 1},
        {.m = 64, .n = 37, .k = 192, .block = 32, .sparsity = 0.8, .alpha = 1.25f, .beta = -0.5f},
        {.m = 192, .n = 72, .k = 64, .block = 64, .sparsity = 0.3, .alpha = 1, .pad = 8},
        {.m = 128, .n = 50, .k = 256, .block = 128, .sparsity = 0.5, .alpha = 2, .beta = 1, .pad = 3},
        {.m = 64, .n = 24, .k = 64, .block = 16, .sparsity = 1.0, .alpha = 1, .beta = 0.5f}, /* no blocks */
        {.m = 320, .n = 16, .k = 32, .block = 32, .sparsity = 0.8, .alpha = 1},              /* empty rows */
        {.m = 64,
         .n = 33,
         .k = 64,
         .block = 32,
         .sparsity = 0.5,
         .alpha = 1,
         .b_layout = TRIAGE_COL_MAJOR,
         .c_layout = TRIAGE_COL_MAJOR,
         .bias = true,
         .activation = TRIAGE_ACT_GELU},
        {.m = 64,
         .n = 33,
         .k = 64,
         .block = 16,
         .sparsity = 0.5,
         .alpha = 1,
         .bias = true,
         .activation = TRIAGE_ACT_RELU},
        {.m = 64,
         .n = 40,
         .k = 96,
         .block = 32,
         .sparsity = 0.5,
         .in = TRIAGE_BF16,
         .out = TRIAGE_BF16,
         .alpha = 1,
         .beta = 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        api_run_case(host, &cases[i]);
}

static const api_case small = {.m = 96, .n = 48, .k = 128, .block = 32, .sparsity = 0.5, .alpha = 1};

static void operands_may_change(void **state) {
    (void)state;
    api_run_changing_operands(host, &small);
}

static void widths_have_plans_of_their_own(void **state) {
    (void)state;
    api_run_widths(host, &small);
}

static void linear_is_the_transposed_product(void **state) {
    (void)state;
    api_run_linear(host, TRIAGE_F32);
}

static void later_calls_take_no_lock(void **state) {
    (void)state;
    api_run_without_lock(host, &small);
}

static void threads_share_a_matrix(void **state) {
    (void)state;
    api_case test = small;
    test.n = 56; /* a problem of its own, so that the first calls meet in the planning */
    api_run_threads(host, &test);
}

/* ---- bad calls ---- */

static void expect_call(const api_world *world, const triage_dense *b, const triage_dense *c,
                        const triage_epilogue *epilogue, triage_status want, const char *part) {
    triage_status status = triage_bsr_gemm(host, 1, world->a, b, 0, c, epilogue, NULL);
    if (status != want || !strstr(triage_last_error(), part))
        fail_msg("%d, '%s' instead of %d, '%s'", status, triage_last_error(), want, part);
}

#define EXPECT_CALL(change, want, part)                                                                      \
    do {                                                                                                     \
        triage_dense b = world.b, c = world.c;                                                               \
        triage_epilogue e = world.epilogue;                                                                  \
        change;                                                                                              \
        expect_call(&world, &b, &c, &e, want, part);                                                         \
    } while (0)

/* Also those that differ in one thing from a call that was right and is known: with and without an epilogue. */
static void calls_check_their_arguments(void **state) {
    (void)state;
    api_world world;
    api_build(&world, host, &small);
    for (int i = 0; i < 4; i++)
        assert_int_equal(
            triage_bsr_gemm(host, 1, world.a, &world.b, 0, &world.c, i % 2 ? &world.epilogue : NULL, NULL),
            TRIAGE_OK);
    EXPECT_CALL(b.data = NULL, TRIAGE_E_INVALID, "b.data is NULL");
    EXPECT_CALL(c.data = NULL, TRIAGE_E_INVALID, "c.data is NULL");
    EXPECT_CALL(b.data = (char *)b.data + 4, TRIAGE_E_INVALID, "16-byte aligned");
    EXPECT_CALL(b.rows = 127, TRIAGE_E_INVALID, "b has 127 rows; must be 128, the columns of a");
    EXPECT_CALL(c.rows = 95, TRIAGE_E_INVALID, "c has 95 rows; must be 96, the rows of a");
    EXPECT_CALL(c.cols = 47, TRIAGE_E_INVALID, "c has 47 columns; must be 48, the columns of b");
    EXPECT_CALL((b.cols = 0, c.cols = 0), TRIAGE_OK, "");
    EXPECT_CALL((b.rows = 0), TRIAGE_E_INVALID,
                "b is 0 x 48; must be 1 .. 2147483647 rows and 0 .. 2147483647 columns");
    EXPECT_CALL(b.ld = 47, TRIAGE_E_INVALID, "b.ld is 47; must be 48 .. 2147483647");
    EXPECT_CALL(c.ld = -1, TRIAGE_E_INVALID, "c.ld is -1");
    EXPECT_CALL(c.ld = (int64_t)1 << 40, TRIAGE_E_INVALID, "c.ld is 1099511627776");
    EXPECT_CALL(b.dtype = TRIAGE_F16, TRIAGE_E_INVALID, "b is f16; must be f32");
    EXPECT_CALL(b.dtype = (triage_dtype)77, TRIAGE_E_INVALID, "b.dtype is 77");
    EXPECT_CALL(c.dtype = TRIAGE_E4M3, TRIAGE_E_INVALID, "c is e4m3");
    EXPECT_CALL(c.layout = (triage_layout)2, TRIAGE_E_INVALID, "c.layout is 2");
    EXPECT_CALL(c.data = (char *)b.data + 16, TRIAGE_E_INVALID, "overlap");
    EXPECT_CALL(e.version = 0, TRIAGE_E_INVALID, "epilogue.version is 0");
    EXPECT_CALL(memset(&e, 0, sizeof e), TRIAGE_E_INVALID, "epilogue.version is 0");
    EXPECT_CALL(e.activation = (triage_activation)4, TRIAGE_E_INVALID, "epilogue.activation is 4");
    EXPECT_CALL(e.bias = (char *)0 + 6, TRIAGE_E_INVALID, "epilogue.bias");
    EXPECT_CALL(e.scale_a = good_values, TRIAGE_E_INVALID, "e4m3 only");
    assert_int_equal(triage_bsr_gemm(NULL, 1, world.a, &world.b, 0, &world.c, NULL, NULL), TRIAGE_E_INVALID);
    assert_int_equal(triage_bsr_gemm(host, 1, NULL, &world.b, 0, &world.c, NULL, NULL), TRIAGE_E_INVALID);
    assert_int_equal(triage_bsr_gemm(host, 1, world.a, NULL, 0, &world.c, NULL, NULL), TRIAGE_E_INVALID);
    assert_int_equal(triage_bsr_gemm(host, 1, world.a, &world.b, 0, NULL, NULL, NULL), TRIAGE_E_INVALID);
    api_destroy(&world);
}

static void expect_linear(const api_world *world, const triage_dense *x, const triage_dense *y,
                          triage_status want, const char *part) {
    triage_status status = triage_bsr_linear(host, world->a, x, y, NULL, NULL);
    if (status != want || !strstr(triage_last_error(), part))
        fail_msg("%d, '%s' instead of %d, '%s'", status, triage_last_error(), want, part);
}

#define EXPECT_LINEAR(change, want, part)                                                                    \
    do {                                                                                                     \
        triage_dense x = good_x, y = good_y;                                                                 \
        change;                                                                                              \
        expect_linear(&world, &x, &y, want, part);                                                           \
    } while (0)

/* By the names that its caller uses, with rows and columns as he has them. */
static void linear_names_its_operands(void **state) {
    (void)state;
    api_world world;
    api_build(&world, host, &small);
    const triage_dense good_x = {world.b.data, 48, 128, 128, TRIAGE_F32, TRIAGE_ROW_MAJOR},
                       good_y = {world.c.data, 48, 96, 96, TRIAGE_F32, TRIAGE_ROW_MAJOR};
    for (int i = 0; i < 2; i++) /* a new call, then a known one */
        EXPECT_LINEAR((void)0, TRIAGE_OK, "");
    EXPECT_LINEAR((x.rows = 0, y.rows = 0), TRIAGE_OK, "");
    EXPECT_LINEAR(x.data = NULL, TRIAGE_E_INVALID, "x.data is NULL");
    EXPECT_LINEAR(y.data = (char *)y.data + 4, TRIAGE_E_INVALID, "y.data is ");
    EXPECT_LINEAR(x.cols = 64, TRIAGE_E_INVALID, "x has 64 columns; must be 128, the columns of w");
    EXPECT_LINEAR(y.rows = 47, TRIAGE_E_INVALID, "y has 47 rows; must be 48, the rows of x");
    EXPECT_LINEAR((x.rows = -1, y.rows = -1), TRIAGE_E_INVALID,
                  "x is -1 x 128; must be 0 .. 2147483647 rows");
    EXPECT_LINEAR(x.ld = 127, TRIAGE_E_INVALID, "x.ld is 127; must be 128 ..");
    EXPECT_LINEAR(x.dtype = TRIAGE_BF16, TRIAGE_E_INVALID, "x is bf16; must be f32, the type of w");
    EXPECT_LINEAR(y.dtype = TRIAGE_E4M3, TRIAGE_E_INVALID, "y is e4m3; must be");
    EXPECT_LINEAR(y.data = x.data, TRIAGE_E_INVALID, "x (at ");
    api_destroy(&world);
}

static void a_matrix_belongs_to_its_context(void **state) {
    (void)state;
    api_world world;
    api_build(&world, host, &small);
    triage_context *other = api_open("host", NULL, NULL);
    assert_int_equal(triage_bsr_gemm(host, 1, world.a, &world.b, 0, &world.c, NULL, NULL), TRIAGE_OK);
    assert_int_equal(triage_bsr_gemm(other, 1, world.a, &world.b, 0, &world.c, NULL, NULL), TRIAGE_E_INVALID);
    assert_string_equal(triage_last_error(), "a was made with another context");
    triage_context_free(other);
    api_destroy(&world);
}

/* ---- the choice ---- */

static void choice_is_the_default_without_a_database(void **state) {
    (void)state;
    api_world world;
    api_build(&world, host, &small);
    triage_choice choice = {.version = 0};
    assert_int_equal(triage_bsr_gemm_choice(&choice, host, world.a, &world.b, &world.c, NULL),
                     TRIAGE_E_INVALID);
    choice.version = TRIAGE_CHOICE_VERSION;
    assert_int_equal(triage_bsr_gemm_choice(&choice, host, world.a, &world.b, &world.c, NULL), TRIAGE_OK);
    assert_int_equal(choice.source, TRIAGE_SOURCE_DEFAULT);
    assert_true(strncmp(choice.config, choice.kernel, strlen(choice.kernel)) == 0 && choice.kernel[0]);
    assert_string_equal(choice.donor, "");
    assert_true(choice.median_ns == 0 && choice.expected_loss < 0);
    api_destroy(&world);
}

/* Looking up changes no byte of the user's database, and leaves nothing beside it. */
static void lookups_write_nothing(void **state) {
    (void)state;
    char path[128], beside[140], *before = NULL, *after = NULL;
    size_t size = 0, size_after = 0;
    tri_store *store = NULL;
    api_world world;
    triage_choice choice = {.version = TRIAGE_CHOICE_VERSION};
    snprintf(path, sizeof path, "%s/own.db", folder);
    assert_int_equal(tri_store_open(&store, path, TRI_STORE_WRITE), TRIAGE_OK);
    tri_store_close(store);
    assert_int_equal(tri_file_read(&before, &size, path, 0), TRIAGE_OK);
    triage_context *context = api_open("host", path, cache);
    api_build(&world, context, &small);
    assert_int_equal(triage_bsr_gemm_choice(&choice, context, world.a, &world.b, &world.c, NULL), TRIAGE_OK);
    api_destroy(&world);
    triage_context_free(context);
    assert_int_equal(tri_file_read(&after, &size_after, path, 0), TRIAGE_OK);
    assert_int_equal(size, size_after);
    assert_memory_equal(before, after, size);
    for (int i = 0; i < 3; i++) {
        static const char *const suffixes[] = {"-wal", "-shm", "-journal"};
        snprintf(beside, sizeof beside, "%s%s", path, suffixes[i]);
        assert_int_not_equal(access(beside, F_OK), 0);
    }
    free(before);
    free(after);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(context_is_the_host),
        cmocka_unit_test(open_refuses),
        cmocka_unit_test(open_refuses_what_is_no_database),
        cmocka_unit_test(free_accepts_null),
        cmocka_unit_test(memory_goes_there_and_back),
        cmocka_unit_test(matrix_checks_its_description),
        cmocka_unit_test(matrix_checks_its_pattern),
        cmocka_unit_test(matrix_copies_or_borrows),
        cmocka_unit_test(a_child_of_fork_computes),
        cmocka_unit_test(products_are_right),
        cmocka_unit_test(operands_may_change),
        cmocka_unit_test(widths_have_plans_of_their_own),
        cmocka_unit_test(linear_is_the_transposed_product),
        cmocka_unit_test(linear_names_its_operands),
        cmocka_unit_test(later_calls_take_no_lock),
        cmocka_unit_test(threads_share_a_matrix),
        cmocka_unit_test(calls_check_their_arguments),
        cmocka_unit_test(a_matrix_belongs_to_its_context),
        cmocka_unit_test(choice_is_the_default_without_a_database),
        cmocka_unit_test(lookups_write_nothing),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
