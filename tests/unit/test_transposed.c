/* Transposes of matrices through the public API, on the host device and, where there is one, on a GPU: the product by the
 * definition, from the arrays that the caller gave. */
#include "support/check.h"

#include <math.h>
#include <stdlib.h>

#include "base/convert.h"
#include "check/fill.h"
#include "pattern/pattern.h"
#include "support/scratch.h"

static triage_context *context;

static int open_context(const char *device) {
    triage_context_options options = TRIAGE_CONTEXT_OPTIONS_INIT;
    options.device = device;
    options.cache_dir = TEST_KERNELS;
    return triage_context_open(&context, &options) == TRIAGE_OK ? 0 : -1;
}

static int open_host(void **state) {
    (void)state;
    return open_context("host");
}

static int close_context(void **state) {
    (void)state;
    triage_context_free(context);
    context = NULL;
    return 0;
}

/* ---- a product ---- */

typedef struct product {
    triage_dtype type;
    int64_t rows, cols; /* of the stored matrix */
    int32_t block_rows, block_cols;
    int64_t n;
    triage_layout layout; /* of both */
    int64_t pad;          /* between lines of B and C */
    float alpha, beta;
} product;

typedef struct arrays {
    tri_pattern pattern;
    void *values, *b, *c, *got; /* on the host */
    int64_t ldb, ldc;
    size_t values_count, b_count, c_count;
    void *b_at, *c_at; /* on the device */
    triage_bsr_matrix *a;
} arrays;

static void *drawn(triage_dtype type, size_t count, uint64_t seed) {
    void *data = calloc(count, tri_dtype_size(type));
    assert_int_equal(tri_fill_normal(data, type, count, seed), TRIAGE_OK);
    return data;
}

static void *on_device(const void *data, size_t bytes) {
    void *memory = NULL;
    assert_int_equal(triage_device_alloc(&memory, context, bytes), TRIAGE_OK);
    assert_int_equal(triage_device_upload(context, memory, data, bytes), TRIAGE_OK);
    return memory;
}

static void make(arrays *of, const product *p) {
    const bool row = p->layout == TRIAGE_ROW_MAJOR;
    triage_bsr_desc desc = TRIAGE_BSR_DESC_INIT;
    *of = (arrays){0};
    assert_int_equal(
        tri_pattern_random(&of->pattern, p->rows / p->block_rows, p->cols / p->block_cols, 0.6, 3),
        TRIAGE_OK);
    of->ldb = (row ? p->n : p->rows) + p->pad, of->ldc = (row ? p->n : p->cols) + p->pad;
    of->values_count = (size_t)of->pattern.nnzb * (size_t)p->block_rows * (size_t)p->block_cols;
    of->b_count = (size_t)(row ? p->rows : p->n) * (size_t)of->ldb;
    of->c_count = (size_t)(row ? p->cols : p->n) * (size_t)of->ldc;
    of->values = drawn(p->type, of->values_count, 1);
    of->b = drawn(p->type, of->b_count, 2);
    of->c = drawn(p->type, of->c_count, 3);
    of->got = calloc(of->c_count, tri_dtype_size(p->type));
    of->b_at = on_device(of->b, of->b_count * tri_dtype_size(p->type));
    of->c_at = on_device(of->c, of->c_count * tri_dtype_size(p->type));
    desc.dtype = p->type;
    desc.rows = p->rows, desc.cols = p->cols;
    desc.block_rows = p->block_rows, desc.block_cols = p->block_cols;
    desc.nnzb = of->pattern.nnzb;
    desc.row_ptr = of->pattern.row_ptr, desc.col_idx = of->pattern.col_idx, desc.values = of->values;
    assert_int_equal(triage_bsr_matrix_create(&of->a, context, &desc), TRIAGE_OK);
}

static void discard(arrays *of) {
    triage_bsr_matrix_free(of->a);
    triage_device_release(context, of->b_at);
    triage_device_release(context, of->c_at);
    tri_pattern_free(&of->pattern);
    free(of->values), free(of->b), free(of->c), free(of->got);
}

static double at(const void *data, const product *p, int64_t ld, int64_t row, int64_t col) {
    return (double)tri_to_float(data, p->type,
                                (size_t)(p->layout == TRIAGE_ROW_MAJOR ? row * ld + col : col * ld + row));
}

/* Row `row` of A^T B for one column: over all blocks, those of that column of A. */
static double exact(const arrays *of, const product *p, int64_t row, int64_t col) {
    double sum = 0;
    for (int64_t i = 0; i < of->pattern.block_rows; i++)
        for (int32_t block = of->pattern.row_ptr[i]; block < of->pattern.row_ptr[i + 1]; block++)
            for (int64_t r = 0; r < p->block_rows && of->pattern.col_idx[block] == row / p->block_cols; r++)
                sum += (double)tri_to_float(
                           of->values, p->type,
                           (size_t)((block * p->block_rows + r) * p->block_cols + row % p->block_cols)) *
                       at(of->b, p, of->ldb, i * p->block_rows + r, col);
    return p->alpha * sum + (p->beta == 0 ? 0 : p->beta * at(of->c, p, of->ldc, row, col));
}

static void compare(arrays *of, const product *p) {
    const double unit = p->type == TRIAGE_F32 ? 0x1p-18 : p->type == TRIAGE_F16 ? 0x1p-9 : 0x1p-6;
    assert_int_equal(triage_device_synchronize(context), TRIAGE_OK);
    assert_int_equal(
        triage_device_download(context, of->got, of->c_at, of->c_count * tri_dtype_size(p->type)), TRIAGE_OK);
    for (int64_t row = 0; row < p->cols; row++)
        for (int64_t col = row % 5; col < p->n; col += 5) {
            const double is = at(of->got, p, of->ldc, row, col), must = exact(of, p, row, col);
            if (!(fabs(is - must) <= unit * (fabs(must) + sqrt((double)p->rows) / 4)))
                fail_msg("blocks of %d x %d, row %lld, column %lld is %g; must be %g", p->block_rows,
                         p->block_cols, (long long)row, (long long)col, is, must);
        }
}

static void check(const product *p) {
    arrays of;
    const triage_bsr_matrix *transpose = NULL, *again = NULL;
    make(&of, p);
    assert_int_equal(triage_bsr_matrix_transposed(&transpose, of.a), TRIAGE_OK);
    const triage_dense b = {of.b_at, p->rows, p->n, of.ldb, p->type, p->layout},
                       c = {of.c_at, p->cols, p->n, of.ldc, p->type, p->layout};
    assert_int_equal(triage_bsr_gemm(context, p->alpha, transpose, &b, p->beta, &c, NULL, NULL), TRIAGE_OK);
    compare(&of, p);
    /* other values: the calls that were served know */
    free(of.values);
    of.values = drawn(p->type, of.values_count, 9);
    assert_int_equal(triage_bsr_matrix_set_values(of.a, of.values), TRIAGE_OK);
    assert_int_equal(triage_device_upload(context, of.c_at, of.c, of.c_count * tri_dtype_size(p->type)),
                     TRIAGE_OK);
    assert_int_equal(triage_bsr_gemm(context, p->alpha, transpose, &b, p->beta, &c, NULL, NULL), TRIAGE_OK);
    compare(&of, p);
    assert_int_equal(triage_bsr_matrix_transposed(&again, of.a), TRIAGE_OK);
    assert_ptr_equal(transpose, again);
    discard(&of);
}

static void products_are_by_the_definition(void **state) {
    (void)state;
    static const product products[] = {
        {TRIAGE_F32, 96, 160, 16, 16, 45, TRIAGE_ROW_MAJOR, 3, 1, 0},
        {TRIAGE_F32, 21, 44, 3, 11, 7, TRIAGE_COL_MAJOR, 0, 1.5f, -0.5f},
        {TRIAGE_F16, 160, 96, 32, 32, 40, TRIAGE_COL_MAJOR, 8, 1, 0},
        {TRIAGE_F16, 592, 272, 16, 16, 72, TRIAGE_COL_MAJOR, 0, 1, 0},
        {TRIAGE_F16, 592, 272, 16, 16, 136, TRIAGE_ROW_MAJOR, 0, 1, 0.5f},
        {TRIAGE_F16, 448, 320, 64, 64, 136, TRIAGE_COL_MAJOR, 0, 1, 0},
        {TRIAGE_BF16, 384, 640, 128, 128, 264, TRIAGE_COL_MAJOR, 0, 1, 0},
        {TRIAGE_BF16, 384, 512, 64, 128, 136, TRIAGE_ROW_MAJOR, 0, 0.5f, 0},
        {TRIAGE_F16, 320, 192, 64, 32, 37, TRIAGE_ROW_MAJOR, 0, 1, 0},
    };
    for (size_t i = 0; i < sizeof products / sizeof *products; i++)
        check(&products[i]);
}

static void the_same_on_a_gpu(void **state) {
    triage_context *host = context;
    if (open_context("cuda") != 0) {
        context = host;
        print_message("skipped: %s\n", triage_last_error());
        skip();
    }
    products_are_by_the_definition(state);
    triage_context_free(context);
    context = host;
}

/* ---- what else there is of them ---- */

static void a_layer_gives_the_gradient_of_its_input(void **state) {
    (void)state;
    const product p = {TRIAGE_F32, 96, 160, 16, 32, 21, TRIAGE_COL_MAJOR, 0, 1, 0};
    arrays of;
    const triage_bsr_matrix *transpose = NULL, *back = NULL;
    make(&of, &p);
    assert_int_equal(triage_bsr_matrix_transposed(&transpose, of.a), TRIAGE_OK);
    assert_int_equal(triage_bsr_matrix_transposed(&back, transpose), TRIAGE_OK);
    assert_ptr_equal(back, of.a);
    /* tokens x rows times A: the column-major views, row-major */
    const triage_dense dy = {of.b_at, p.n, p.rows, of.ldb, p.type, TRIAGE_ROW_MAJOR},
                       dx = {of.c_at, p.n, p.cols, of.ldc, p.type, TRIAGE_ROW_MAJOR};
    assert_int_equal(triage_bsr_linear(context, transpose, &dy, &dx, NULL, NULL), TRIAGE_OK);
    compare(&of, &p);
    discard(&of);
}

static void what_a_transpose_is_not_for_is_refused(void **state) {
    (void)state;
    const product p = {TRIAGE_F32, 32, 48, 16, 16, 24, TRIAGE_ROW_MAJOR, 0, 1, 0};
    arrays of;
    const triage_bsr_matrix *transpose = NULL;
    make(&of, &p);
    assert_int_equal(triage_bsr_matrix_transposed(&transpose, NULL), TRIAGE_E_INVALID);
    assert_int_equal(triage_bsr_matrix_transposed(NULL, of.a), TRIAGE_E_INVALID);
    assert_int_equal(triage_bsr_matrix_transposed(&transpose, of.a), TRIAGE_OK);
    triage_bsr_matrix *own = (triage_bsr_matrix *)(uintptr_t)transpose;
    assert_int_equal(triage_bsr_matrix_set_values(own, of.values), TRIAGE_E_INVALID);
    triage_bsr_matrix_free(own); /* nothing: it is a's */
    const triage_dense y = {of.c_at, p.cols, 24, 24, p.type, TRIAGE_ROW_MAJOR},
                       x = {of.b_at, p.rows, 24, 24, p.type, TRIAGE_ROW_MAJOR};
    assert_int_equal(triage_bsr_sddmm(context, 1, &y, &x, 0, transpose, of.values, p.type, NULL),
                     TRIAGE_E_INVALID);
    assert_non_null(strstr(triage_last_error(), "transpose"));
    discard(&of);
}

static void none_of_e4m3(void **state) {
    (void)state;
    static const int32_t row_ptr[] = {0, 1}, col_idx[] = {0};
    static const unsigned char values[16 * 16] = {0};
    triage_bsr_desc desc = TRIAGE_BSR_DESC_INIT;
    triage_bsr_matrix *a = NULL;
    const triage_bsr_matrix *transpose = NULL;
    desc.dtype = TRIAGE_E4M3;
    desc.rows = desc.cols = desc.block_rows = desc.block_cols = 16;
    desc.nnzb = 1;
    desc.row_ptr = row_ptr, desc.col_idx = col_idx, desc.values = values;
    assert_int_equal(triage_bsr_matrix_create(&a, context, &desc), TRIAGE_OK);
    assert_int_equal(triage_bsr_matrix_transposed(&transpose, a), TRIAGE_E_UNSUPPORTED);
    triage_bsr_matrix_free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_are_by_the_definition),
        cmocka_unit_test(the_same_on_a_gpu),
        cmocka_unit_test(a_layer_gives_the_gradient_of_its_input),
        cmocka_unit_test(what_a_transpose_is_not_for_is_refused),
        cmocka_unit_test(none_of_e4m3),
    };
    return cmocka_run_group_tests(tests, open_host, close_context);
}
