// links: triage counted
/* What a first call that may race does on the cuda device, counted on a driver that is not there (support/fake_cuda): the kernels
 * are played by on_launch, which computes the product that an argument block asks for, so that the gate can judge. */
#include "support/fake_cuda/subject.h"

#include <unistd.h>

#include "base/convert.h"
#include "bsr_gemm/args.h"
#include "check/fill.h"
#include "device/cuda/driver.h"
#include "evidence/lookup.h"
#include "store/store.h"
#include "support/scratch_group.h"

enum { SIZE = 256, BLOCK = 32, ROWS = SIZE / BLOCK, COLUMNS = 128, STORED = 2 * ROWS };

static const tri_cuda_driver *driver;
static uint16_t values[STORED * BLOCK * BLOCK], b_host[SIZE * COLUMNS], c_host[SIZE * COLUMNS];
static int32_t row_ptr[ROWS + 1], col_idx[STORED];

/* ---- kernels, played ---- */

typedef struct play {
    bool first_is_wrong; /* the likeliest kernel computes something else */
    fake_launch wrong;   /* it: known by its shape */
    const void *c;       /* the caller's */
    long to_caller, to_others, plain;
} play;

static float element(const tri_bsr_gemm_core *args, int row, int column) {
    const int block_row = row / BLOCK;
    float sum = 0;
    for (int i = row_ptr[block_row]; i < row_ptr[block_row + 1]; i++)
        for (int k = 0; k < BLOCK; k++)
            sum +=
                tri_float_of_f16(((const uint16_t *)args->values)[(i * BLOCK + row % BLOCK) * BLOCK + k]) *
                tri_float_of_f16(((const uint16_t *)args->b)[(col_idx[i] * BLOCK + k) * args->ldb + column]);
    return sum;
}

static bool is_it(const fake_launch *a, const fake_launch *b) {
    return strcmp(a->kernel, b->kernel) == 0 && memcmp(a->grid, b->grid, sizeof a->grid) == 0 &&
           memcmp(a->block, b->block, sizeof a->block) == 0 && a->smem_bytes == b->smem_bytes &&
           memcmp(a->cluster, b->cluster, sizeof a->cluster) == 0;
}

static void perform(void *user, const fake_launch *launch) {
    play *p = user;
    tri_bsr_gemm_core args;
    if (strncmp(launch->kernel, "templates/bsr_gemm/", 19) != 0)
        return;
    memcpy(&args, launch->args, sizeof args);
    const bool plain = strstr(launch->kernel, "reference") != NULL;
    if (p->first_is_wrong && !plain && !p->wrong.kernel[0])
        p->wrong = *launch;
    const bool wrong = is_it(launch, &p->wrong);
    *(args.c == p->c ? &p->to_caller : &p->to_others) += 1;
    p->plain += plain;
    uint16_t *c = args.c;
    for (int row = 0; row < SIZE; row++)
        for (int column = 0; column < COLUMNS; column++) {
            uint16_t *at = &c[row * args.ldc + column];
            const float before = args.beta != 0 ? args.beta * tri_float_of_f16(*at) : 0;
            *at = tri_f16_of_float(args.alpha * element(&args, row, column) * (wrong ? 1.5f : 1) + before);
        }
}

static void draw(void) {
    must(tri_fill_normal(values, TRIAGE_F16, STORED * BLOCK * BLOCK, 1));
    must(tri_fill_normal(b_host, TRIAGE_F16, SIZE * COLUMNS, 2));
    must(tri_fill_normal(c_host, TRIAGE_F16, SIZE * COLUMNS, 3));
    for (int i = 0; i <= ROWS; i++)
        row_ptr[i] = 2 * i;
    for (int i = 0; i < STORED; i++)
        col_idx[i] = i % 2 ? ROWS - 1 : (i / 2) % (ROWS - 1);
}

static subject make_drawn(triage_context *context, play *p) {
    subject s = {.which = PRODUCT, .context = context};
    triage_bsr_desc desc = TRIAGE_BSR_DESC_INIT;
    const size_t bytes = sizeof b_host;
    desc.rows = desc.cols = SIZE;
    desc.block_rows = desc.block_cols = BLOCK;
    desc.nnzb = STORED;
    desc.row_ptr = row_ptr, desc.col_idx = col_idx, desc.values = values;
    must(triage_bsr_matrix_create(&s.a, context, &desc));
    must(triage_device_alloc(&s.memory, context, 2 * bytes));
    s.b = (triage_dense){s.memory, SIZE, COLUMNS, COLUMNS, TRIAGE_F16, TRIAGE_ROW_MAJOR};
    s.c = (triage_dense){(char *)s.memory + bytes, SIZE, COLUMNS, COLUMNS, TRIAGE_F16, TRIAGE_ROW_MAJOR};
    must(triage_device_upload(context, s.b.data, b_host, bytes));
    must(triage_device_upload(context, s.c.data, c_host, bytes));
    *p = (play){.first_is_wrong = p->first_is_wrong, .c = s.c.data};
    cuda->args_bytes = sizeof(tri_bsr_gemm_core);
    cuda->on_launch = perform;
    cuda->user = p;
    return s;
}

/* beta 0: what C held before is not in it. */
static void expect_product(const subject *s, float alpha, float beta) {
    static uint16_t got[SIZE * COLUMNS];
    const tri_bsr_gemm_core args = {.values = values, .b = b_host, .ldb = COLUMNS};
    must(triage_device_download(s->context, got, s->c.data, sizeof got));
    for (int row = 0; row < SIZE; row += 17)
        for (int column = 0; column < COLUMNS; column += 11) {
            const float before = beta != 0 ? beta * tri_float_of_f16(c_host[row * COLUMNS + column]) : 0;
            assert_int_equal(got[row * COLUMNS + column],
                             tri_f16_of_float(alpha * element(&args, row, column) + before));
        }
}

/* ---- a context with a database of its own ---- */

static triage_context *open_racing(const char *db_path, double ms) {
    triage_context_options options = TRIAGE_CONTEXT_OPTIONS_INIT;
    triage_context *context = NULL;
    options.device = "cuda:0";
    options.db_path = db_path;
    options.first_call_ms = ms;
    must(triage_context_open(&context, &options));
    return context;
}

typedef struct kept {
    long rows, right, raced, of_config;
    const char *config;
} kept;

static triage_status count_row(void *user, const tri_measurement *row) {
    kept *k = user;
    k->rows++;
    k->right += row->outcome == TRI_RIGHT && row->median_ns > 0 && row->samples >= 3;
    k->raced += strcmp(row->stage, "race") == 0;
    k->of_config += k->config && strcmp(row->config, k->config) == 0;
    return TRIAGE_OK;
}

static kept rows_of(const char *path, const char *config) {
    kept k = {.config = config};
    tri_store *store = NULL;
    must(tri_store_open(&store, path, TRI_STORE_READ));
    must(tri_store_each(store, count_row, &k));
    tri_store_close(store);
    return k;
}

static triage_choice choice_of(const subject *s) {
    triage_choice choice = {.version = TRIAGE_CHOICE_VERSION};
    must(choose(&choice, s));
    return choice;
}

/* ---- tests ---- */

static void three_race_and_the_winner_is_remembered(void **state) {
    (void)state;
    const char *path = scratch_path(folder, "race/own.db");
    triage_context *context = open_racing(path, 60000);
    play p = {0};
    subject s = make_drawn(context, &p);
    tally before = now();
    must(run(&s, NULL));
    tally first = since(&before);
    assert_int_equal(first.compiles, 4); /* three, and the plain kernel */
    assert_int_equal(p.to_caller, 1);    /* the call itself: the race writes elsewhere */
    assert_int_equal(p.plain, 2);        /* both cases */
    assert_true(p.to_others >= 2 + 3 * (3 + 2 + 3 + 2));
    assert_int_equal(first.mistakes, 0);
    expect_product(&s, 1, 0);
    const kept k = rows_of(path, NULL);
    assert_int_equal(k.rows, 3);
    assert_true(k.right == 3 && k.raced == 3);
    triage_choice choice = choice_of(&s);
    assert_int_equal(choice.source, TRIAGE_SOURCE_EXACT);
    assert_true(choice.median_ns > 0);
    before = now();
    must(run(&s, NULL));
    tally later = since(&before);
    assert_int_equal(all_driver_calls(&later), 2);
    assert_int_equal(later.mutexes + later.allocations + later.database_steps, 0);
    free_subject(&s);
    triage_context_free(context);

    context = open_racing(path, 60000); /* knows the answer */
    s = make_drawn(context, &p);
    before = now();
    must(run(&s, NULL));
    first = since(&before);
    assert_int_equal(first.compiles, 1);
    assert_int_equal(p.to_others, 0);
    assert_int_equal(choice_of(&s).source, TRIAGE_SOURCE_EXACT);
    free_subject(&s);
    triage_context_free(context);
}

static void nothing_is_left_on_the_device(void **state) {
    (void)state;
    triage_context *context = open_racing(NULL, 60000);
    play p = {0};
    subject s = make_drawn(context, &p);
    const long memories = cuda->memories;
    must(run(&s, NULL));
    assert_true(p.to_others > 0);
    /* the schedule of the kernel that was taken is the matrix's: at most four arrays */
    assert_true(cuda->memories <= memories + 4);
    assert_int_equal(choice_of(&s).source, TRIAGE_SOURCE_EXACT);
    free_subject(&s);
    triage_context_free(context);
}

static void too_little_time_is_no_race(void **state) {
    (void)state;
    const double none[] = {0, 1e-6};
    for (size_t i = 0; i < 2; i++) {
        const char *path = scratch_path(folder, "none.db");
        triage_context *context = open_racing(path, none[i]);
        play p = {0};
        subject s = make_drawn(context, &p);
        tally before = now();
        must(run(&s, NULL));
        tally first = since(&before);
        assert_int_equal(first.compiles, 1);
        assert_int_equal(first.launches, 1);
        assert_int_equal(choice_of(&s).source, TRIAGE_SOURCE_PREDICTED);
        assert_int_not_equal(access(path, F_OK), 0);
        free_subject(&s);
        triage_context_free(context);
    }
}

static void what_c_holds_is_the_callers(void **state) {
    (void)state;
    triage_context *context = open_racing(NULL, 60000);
    play p = {0};
    subject s = make_drawn(context, &p);
    must(triage_bsr_gemm(context, 2, s.a, &s.b, -0.5f, &s.c, NULL, NULL));
    assert_int_equal(p.to_caller, 1);
    assert_true(p.to_others > 0);
    expect_product(&s, 2, -0.5f);
    free_subject(&s);
    triage_context_free(context);
}

static void a_wrong_kernel_wins_nothing_and_leaves_nothing(void **state) {
    (void)state;
    const char *path = scratch_path(folder, "wrong.db");
    triage_context *context = open_racing(NULL, 0);
    play p = {0};
    subject s = make_drawn(context, &p);
    const triage_choice likeliest = choice_of(&s);
    free_subject(&s);
    triage_context_free(context);

    context = open_racing(path, 60000);
    p.first_is_wrong = true;
    s = make_drawn(context, &p);
    must(run(&s, NULL));
    assert_string_not_equal(choice_of(&s).config, likeliest.config);
    expect_product(&s, 1, 0);
    if (access(path, F_OK) == 0)
        assert_int_equal(rows_of(path, likeliest.config).of_config, 0);
    free_subject(&s);
    triage_context_free(context);
}

/* Zeros times anything is right whatever a kernel does. */
static void operands_that_tell_nothing_are_not_raced_on(void **state) {
    (void)state;
    const char *path = scratch_path(folder, "zeros.db");
    triage_context *context = open_racing(path, 60000);
    play p = {0};
    memset(b_host, 0, sizeof b_host);
    subject s = make_drawn(context, &p);
    must(run(&s, NULL));
    draw();
    assert_int_equal(choice_of(&s).source, TRIAGE_SOURCE_PREDICTED);
    assert_int_equal(p.to_caller, 1);
    assert_int_equal(p.to_others, 1); /* the plain kernel's first case */
    assert_int_not_equal(access(path, F_OK), 0);
    free_subject(&s);
    triage_context_free(context);
}

static void a_capture_is_not_raced_in(void **state) {
    (void)state;
    triage_context *context = open_racing(NULL, 60000);
    play p = {0};
    subject s = make_drawn(context, &p);
    CUstream stream = NULL;
    CUgraph graph = NULL;
    assert_int_equal(driver->stream_create(&stream, CU_STREAM_NON_BLOCKING), CUDA_SUCCESS);
    assert_int_equal(driver->capture_begin(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL), CUDA_SUCCESS);
    tally before = now();
    assert_int_equal(run(&s, stream), TRIAGE_E_CAPTURE);
    assert_int_equal(prepare(&s, stream), TRIAGE_E_CAPTURE);
    tally meanwhile = since(&before);
    assert_int_equal(meanwhile.launches + meanwhile.compiles + meanwhile.driver[FAKE_memory_alloc], 0);
    assert_int_equal(driver->capture_end(stream, &graph), CUDA_SUCCESS);
    driver->graph_destroy(graph);
    must(prepare(&s, stream)); /* races, and leaves C alone */
    assert_int_equal(p.to_caller, 0);
    assert_true(p.to_others > 0);
    assert_int_equal(driver->capture_begin(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL), CUDA_SUCCESS);
    before = now();
    must(run(&s, stream));
    tally captured = since(&before);
    assert_int_equal(captured.driver[FAKE_launch], 1);
    assert_int_equal(captured.launches + captured.compiles + captured.driver[FAKE_memory_alloc], 0);
    assert_int_equal(driver->capture_end(stream, &graph), CUDA_SUCCESS);
    driver->graph_destroy(graph);
    driver->stream_destroy(stream);
    free_subject(&s);
    triage_context_free(context);
}

static int setup(void **state) {
    CUcontext context = NULL;
    if (take_the_fakes(state) != 0 || make_scratch(state) != 0)
        return -1;
    must(tri_cuda_driver_get(&driver));
    driver->primary_retain(&context, 0);
    draw();
    return driver->context_push(context) == CUDA_SUCCESS ? 0 : -1;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_race_and_the_winner_is_remembered),
        cmocka_unit_test(nothing_is_left_on_the_device),
        cmocka_unit_test(too_little_time_is_no_race),
        cmocka_unit_test(what_c_holds_is_the_callers),
        cmocka_unit_test(a_wrong_kernel_wins_nothing_and_leaves_nothing),
        cmocka_unit_test(operands_that_tell_nothing_are_not_raced_on),
        cmocka_unit_test(a_capture_is_not_raced_in),
    };
    return cmocka_run_group_tests(tests, setup, remove_scratch);
}
