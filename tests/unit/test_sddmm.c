/* bsr_sddmm: its keys, the tiles of its kernels, and the calls of the public API on the host device. */
#include "support/sddmm_case.h"

#include <string.h>

#include "support/scratch.h"

/* ---- keys ---- */

static void keys_are_read_as_they_are_written(void **state) {
    (void)state;
    static const char *const keys[] = {
        "bsr_sddmm f16 f16 row row m=8192 n=8192 k=8192 block=64x64 density=1000 imbalance=10 overlap=1",
        "bsr_sddmm bf16 f32 col row m=48 n=2147483647 k=14 block=3x7 density=2500 imbalance=14 overlap=0",
        "bsr_sddmm f32 f32 col col m=16 n=1 k=16 block=16x16 density=10000 imbalance=10 overlap=0"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        tri_problem problem;
        char *again = NULL;
        assert_int_equal(tri_problem_parse(&problem, keys[i]), TRIAGE_OK);
        assert_ptr_equal(problem.op, &tri_op_bsr_sddmm);
        assert_true(tri_sddmm(&problem)->nnzb >= 1);
        assert_int_equal(tri_problem_key(&again, &problem), TRIAGE_OK);
        assert_string_equal(again, keys[i]);
        free(again);
    }
}

static void other_spellings_are_refused(void **state) {
    (void)state;
    static const char *const keys[] = {
        "bsr_sddmm f16 f16 row row m=08192 n=8192 k=8192 block=64x64 density=1000 imbalance=10 overlap=1",
        "bsr_sddmm f16 f16 row row m=8192 n=8192 k=8192 block=64x64 density=1000 imbalance=10 overlap=1 ",
        "bsr_sddmm f16 f16 row diagonal m=8192 n=8192 k=8192 block=64x64 density=1000 imbalance=10 overlap=1",
        "bsr_sddmm e4m3 f16 row row m=8192 n=8192 k=8192 block=64x64 density=1000 imbalance=10 overlap=1",
        "bsr_sddmm f16 f16 row row m=8192 n=0 k=8192 block=64x64 density=1000 imbalance=10 overlap=1",
        "bsr_sddmm f16 f16 row row m=8192 n=8192 k=8192 block=63x64 density=1000 imbalance=10 overlap=1",
        "bsr_sddmm f16 f16 row row m=8192 n=9999999999 k=8192 block=64x64 density=1000 imbalance=10 "
        "overlap=1",
        "bsr_sddmm f16 f16 row row m=8192 n=8192 k=8192 block=64x64 density=1001 imbalance=10 overlap=1",
        "bsr_sddmm f16"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        tri_problem problem;
        assert_int_not_equal(tri_problem_parse(&problem, keys[i]), TRIAGE_OK);
    }
}

/* ---- tiles ---- */

/* Marks each block of a tile in seen, and checks that its place names its row and column. */
static void check_tile(int32_t *seen, const int32_t *tile, const tri_pattern *pattern,
                       const tri_sddmm_launch *shape) {
    const int32_t *rows = tile + TRI_TILE_HEAD, *cols = rows + shape->tile_rows,
                  *places = cols + shape->tile_cols, *blocks = places + shape->tile_blocks;
    assert_in_range(tile[0], 1, shape->tile_rows);
    assert_in_range(tile[1], shape->tile_solid > 1 ? 0 : 1, shape->tile_cols);
    assert_in_range(tile[2], shape->tile_solid > 1 ? 0 : 1, shape->tile_blocks);
    for (int32_t i = 1; i < tile[0] && shape->tile_solid > 0; i++)
        assert_int_equal(rows[i], rows[0] + i);
    for (int32_t i = 1; i < tile[1] && shape->tile_solid > 0; i++)
        assert_int_equal(cols[i], cols[0] + i);
    for (int32_t i = 0; i < tile[2]; i++) {
        const int32_t row = rows[places[i] & 0xffff];
        assert_in_range(blocks[i], pattern->row_ptr[row], pattern->row_ptr[row + 1] - 1);
        assert_int_equal(pattern->col_idx[blocks[i]], cols[places[i] >> 16]);
        if (i > 0)
            assert_true((places[i] & 0xffff) >= (places[i - 1] & 0xffff));
        seen[blocks[i]]++;
    }
}

static void every_block_is_in_one_tile(void **state) {
    (void)state;
    static const tri_sddmm_launch shapes[] = {{1, 1, 1, 0},      {1, 4, 4, 0},   {4, 12, 32, 0}, {8, 8, 8, 0},
                                              {64, 64, 4096, 0}, {4, 12, 16, 1}, {4, 6, 16, 2}};
    for (int full = 0; full < 2; full++)
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
            tri_pattern pattern = {0};
            tri_sddmm_tiles tiles;
            assert_int_equal(tri_pattern_random(&pattern, 37, 29, full ? 0 : 0.7, 5), TRIAGE_OK);
            assert_int_equal(tri_sddmm_tiles_make(&tiles, &pattern, &shapes[i]), TRIAGE_OK);
            int32_t *seen = calloc((size_t)pattern.nnzb, sizeof *seen);
            const size_t size = TRI_TILE_INTS((size_t)shapes[i].tile_rows, (size_t)shapes[i].tile_cols,
                                              (size_t)shapes[i].tile_blocks);
            for (int64_t at = 0; at < tiles.count; at++)
                check_tile(seen, tiles.ints + (size_t)at * size, &pattern, &shapes[i]);
            for (int64_t block = 0; block < pattern.nnzb; block++)
                assert_int_equal(seen[block], 1);
            free(seen);
            tri_sddmm_tiles_free(&tiles);
            tri_pattern_free(&pattern);
        }
}

static void a_tile_without_room_is_refused(void **state) {
    (void)state;
    tri_pattern pattern = {0};
    tri_sddmm_tiles tiles;
    assert_int_equal(tri_pattern_random(&pattern, 4, 4, 0, 5), TRIAGE_OK);
    assert_int_equal(tri_sddmm_tiles_make(&tiles, &pattern, &(tri_sddmm_launch){4, 4, 3, 0}), TRIAGE_E_DATA);
    assert_int_equal(tri_sddmm_tiles_make(&tiles, &pattern, &(tri_sddmm_launch){1, 0, 1, 0}), TRIAGE_E_DATA);
    tri_pattern_free(&pattern);
}

/* ---- calls ---- */

static triage_context *host;

static int open_host(void **state) {
    (void)state;
    triage_context_options options = TRIAGE_CONTEXT_OPTIONS_INIT;
    options.device = "host";
    options.cache_dir = TEST_KERNELS;
    return triage_context_open(&host, &options) == TRIAGE_OK ? 0 : -1;
}

static int close_host(void **state) {
    (void)state;
    triage_context_free(host);
    return 0;
}

static triage_bsr_matrix *matrix_of(const sddmm_case *c, const void *values) {
    const tri_sddmm_problem *p = tri_sddmm(&c->problem);
    triage_bsr_desc desc = TRIAGE_BSR_DESC_INIT;
    triage_bsr_matrix *a = NULL;
    desc.dtype = p->in_type;
    desc.rows = p->m, desc.cols = p->k;
    desc.block_rows = p->block_m, desc.block_cols = p->block_k;
    desc.nnzb = c->pattern.nnzb;
    desc.row_ptr = c->pattern.row_ptr, desc.col_idx = c->pattern.col_idx, desc.values = values;
    assert_int_equal(triage_bsr_matrix_create(&a, host, &desc), TRIAGE_OK);
    return a;
}

/* In the host device's memory, which is any memory that is aligned. */
static void *placed(const void *data, size_t bytes) {
    void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    memcpy(memory, data, bytes);
    return memory;
}

typedef struct operands {
    triage_bsr_matrix *a;
    triage_dense y, x;
    void *d;
} operands;

static operands operands_of(const sddmm_case *c) {
    const tri_sddmm_problem *p = tri_sddmm(&c->problem);
    const tri_input *y = &c->inputs.at[TRI_SDDMM_Y], *x = &c->inputs.at[TRI_SDDMM_X],
                    *d = &c->inputs.at[TRI_SDDMM_D_IN];
    void *values = calloc(c->count, sizeof(float));
    const operands of = {.a = matrix_of(c, values),
                         .y = {placed(y->data, y->bytes), p->m, p->n, p->ldy, p->in_type, p->y_layout},
                         .x = {placed(x->data, x->bytes), p->k, p->n, p->ldx, p->in_type, p->x_layout},
                         .d = placed(d->data, d->bytes)};
    free(values);
    return of;
}

static void free_operands(operands *of) {
    triage_bsr_matrix_free(of->a);
    free(of->y.data);
    free(of->x.data);
    free(of->d);
}

/* The second case first, since it begins with what D is drawn with; then the first, twice. */
static void run(tri_sddmm_problem p, double sparsity) {
    sddmm_case c;
    triage_choice choice = {.version = TRIAGE_CHOICE_VERSION};
    sddmm_make(&c, p, sparsity);
    operands of = operands_of(&c);
    for (int turn = 0; turn < 3; turn++) {
        const size_t which = turn == 0;
        float alpha, beta;
        tri_sddmm_case_factors(&alpha, &beta, which);
        assert_int_equal(triage_bsr_sddmm(host, alpha, &of.y, &of.x, beta, of.a, of.d, p.out_type, NULL),
                         TRIAGE_OK);
        memcpy(c.d, of.d, c.inputs.at[TRI_SDDMM_D_IN].bytes);
        sddmm_verify(&c, which, "host");
    }
    assert_int_equal(triage_bsr_sddmm_choice(&choice, host, &of.y, &of.x, of.a, of.d, p.out_type), TRIAGE_OK);
    assert_int_equal(choice.source, TRIAGE_SOURCE_DEFAULT);
    free_operands(&of);
    sddmm_free(&c);
}

static void products_of_both_layouts(void **state) {
    (void)state;
    run((tri_sddmm_problem){.in_type = TRIAGE_F32,
                            .out_type = TRIAGE_F32,
                            .y_layout = ROW,
                            .x_layout = ROW,
                            .m = 96,
                            .n = 45,
                            .k = 160,
                            .block_m = 16,
                            .block_k = 16,
                            .ldy = 50,
                            .ldx = 45},
        0.6);
    run((tri_sddmm_problem){.in_type = TRIAGE_BF16,
                            .out_type = TRIAGE_F32,
                            .y_layout = COL,
                            .x_layout = COL,
                            .m = 96,
                            .n = 300,
                            .k = 160,
                            .block_m = 32,
                            .block_k = 32,
                            .ldx = 163},
        0.4);
    run((tri_sddmm_problem){.in_type = TRIAGE_F16,
                            .out_type = TRIAGE_F16,
                            .y_layout = ROW,
                            .x_layout = COL,
                            .m = 21,
                            .n = 1,
                            .k = 44,
                            .block_m = 7,
                            .block_k = 11},
        0.0);
}

static void a_pattern_without_blocks_is_a_product_of_nothing(void **state) {
    (void)state;
    static const int32_t row_ptr[] = {0, 0, 0};
    float data[64] __attribute__((aligned(16))) = {0};
    triage_bsr_desc desc = TRIAGE_BSR_DESC_INIT;
    triage_bsr_matrix *a = NULL;
    const triage_dense y = {data, 4, 2, 2, TRIAGE_F32, TRIAGE_ROW_MAJOR};
    desc.dtype = TRIAGE_F32;
    desc.rows = desc.cols = 4;
    desc.block_rows = desc.block_cols = 2;
    desc.row_ptr = row_ptr;
    assert_int_equal(triage_bsr_matrix_create(&a, host, &desc), TRIAGE_OK);
    assert_int_equal(triage_bsr_sddmm(host, 1, &y, &y, 0, a, NULL, TRIAGE_F32, NULL), TRIAGE_OK);
    triage_bsr_matrix_free(a);
}

#define REFUSED(message, ...)                                                                                \
    do {                                                                                                     \
        assert_int_equal(triage_bsr_sddmm(__VA_ARGS__, NULL), TRIAGE_E_INVALID);                             \
        if (!strstr(triage_last_error(), message))                                                           \
            fail_msg("'%s' has no '%s'", triage_last_error(), message);                                      \
    } while (0)

static triage_dense with(triage_dense dense, size_t field, int64_t value) {
    memcpy((char *)&dense + field, &value, sizeof value);
    return dense;
}

static void bad_operands_are_named(void **state) {
    (void)state;
    sddmm_case c;
    sddmm_make(&c,
               (tri_sddmm_problem){.in_type = TRIAGE_F32,
                                   .out_type = TRIAGE_F32,
                                   .y_layout = ROW,
                                   .x_layout = ROW,
                                   .m = 32,
                                   .n = 24,
                                   .k = 48,
                                   .block_m = 16,
                                   .block_k = 16},
               0.5);
    operands of = operands_of(&c);
    const triage_dense y = of.y, x = of.x;
    const triage_dense tall = with(y, offsetof(triage_dense, rows), 48),
                       short_x = with(x, offsetof(triage_dense, cols), 23),
                       empty = with(y, offsetof(triage_dense, cols), 0),
                       narrow = with(x, offsetof(triage_dense, ld), 23);
    triage_dense half = y, odd = x;
    half.dtype = TRIAGE_F16;
    odd.data = (char *)odd.data + 4;
    REFUSED("context is NULL", NULL, 1, &y, &x, 0, of.a, of.d, TRIAGE_F32);
    REFUSED("a is NULL", host, 1, &y, &x, 0, NULL, of.d, TRIAGE_F32);
    REFUSED("x is NULL", host, 1, &y, NULL, 0, of.a, of.d, TRIAGE_F32);
    REFUSED("y has 48 rows; must be 32, the rows of a", host, 1, &tall, &x, 0, of.a, of.d, TRIAGE_F32);
    REFUSED("x has 32 rows; must be 48, the columns of a", host, 1, &y, &y, 0, of.a, of.d, TRIAGE_F32);
    REFUSED("x has 23 columns; must be 24, the columns of y", host, 1, &y, &short_x, 0, of.a, of.d,
            TRIAGE_F32);
    REFUSED("y has 0 columns; must be 1 .. 2147483647", host, 1, &empty, &x, 0, of.a, of.d, TRIAGE_F32);
    REFUSED("x.ld is 23; must be 24 ..", host, 1, &y, &narrow, 0, of.a, of.d, TRIAGE_F32);
    REFUSED("y is of type f16; must be f32", host, 1, &half, &x, 0, of.a, of.d, TRIAGE_F32);
    REFUSED("x.data is", host, 1, &y, &odd, 0, of.a, of.d, TRIAGE_F32);
    REFUSED("d is ", host, 1, &y, &x, 0, of.a, NULL, TRIAGE_F32);
    REFUSED("d_type is 3; must be f32, f16 or bf16", host, 1, &y, &x, 0, of.a, of.d, TRIAGE_E4M3);
    REFUSED("overlap; must be apart", host, 1, &y, &x, 0, of.a, x.data, TRIAGE_F32);
    free_operands(&of);
    sddmm_free(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_read_as_they_are_written),
        cmocka_unit_test(other_spellings_are_refused),
        cmocka_unit_test(every_block_is_in_one_tile),
        cmocka_unit_test(a_tile_without_room_is_refused),
        cmocka_unit_test(products_of_both_layouts),
        cmocka_unit_test(a_pattern_without_blocks_is_a_product_of_nothing),
        cmocka_unit_test(bad_operands_are_named),
    };
    return cmocka_run_group_tests(tests, open_host, close_host);
}
