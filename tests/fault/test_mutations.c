/* The gate can fail: every way that we know to break a kernel's text is refused by the real verification,
 * and the unbroken text passes. */
#include "support/gate_world.h"

#define AFTER_PRODUCT "multiply_strip(tile, args, block_row, inner_row, b, ldb);"

static const mutation of_host[] = {
    {"none", NULL, NULL},
    {"zero output", AFTER_PRODUCT, AFTER_PRODUCT " memset(tile, 0, sizeof tile);"},
    {"one dropped block", "i < args->row_ptr[block_row + 1]",
     "i < args->row_ptr[block_row + 1] - (block_row == 1)"},
    {"one block row never run", "int block_row = args->rows[at].row;",
     "int block_row = args->rows[at].row; if (block_row == 2) continue;"},
    {"one row 1 % off", AFTER_PRODUCT,
     AFTER_PRODUCT
     " if (block_row == 1 && inner_row == 0) for (int v = 0; v < kVecs; v++) tile[0][v] *= 1.01f;"},
    {"NaN in one element", AFTER_PRODUCT,
     AFTER_PRODUCT
     " if (block_row == 3 && inner_row == 0 && col0 == 0) tile[0][0][3] = __builtin_nanf(\"\");"},
    {"one element 5 % off", AFTER_PRODUCT,
     AFTER_PRODUCT " if (block_row == 3 && inner_row == 0 && col0 == 0) tile[0][0][3] += 1.0f;"},
    {"beta ignored", "v += args->beta * to_float(*at);", "v += 0.0f;"},
    {"alpha ignored", "args->alpha *", "1.0f *"},
    {"last column unwritten", "int cols = args->n - col0 < kTileN ? args->n - col0 : kTileN;",
     "int cols = args->n - col0 <= kTileN ? args->n - col0 - 1 : kTileN;"},
};

static const mutation of_plain[] = {
    {"none", NULL, NULL},
    {"zero output", "store_float(at, activate(kAct, v));", "store_float(at, 0.0f);"},
    {"one dropped block", "i < args->row_ptr[block_row + 1]",
     "i < args->row_ptr[block_row + 1] - (block_row == 1)"},
    {"one row 1 % off", "float v = args->alpha *", "float v = (row == 5 ? 1.01f : 1.0f) * args->alpha *"},
    {"NaN in one element", "store_float(at, activate(kAct, v));",
     "store_float(at, row == 3 && col == 7 ? __builtin_nanf(\"\") : v);"},
    {"beta ignored", "v += args->beta * to_float(*at);", "v += 0.0f;"},
    {"beta read when it is 0", "if (args->beta != 0.0f)", "if (1)"},
    {"last column unwritten", "col < col0 + cols; col++", "col < col0 + cols && col < args->n - 1; col++"},
    {"last row unwritten", "row < args->m; row++", "row < args->m - 1; row++"},
    {"a row written twice, shifted", "store_float(at, activate(kAct, v));",
     "store_float(row == 9 && col > 0 ? at - 1 : at, v);"},
};

/* e4m3: both kinds of scale forgotten or mistaken for another. */
#define SUMS "multiply_strip(sums + row * kTileN, scale, a, b, depth);"

static const mutation of_host_fp8[] = {
    {"none", NULL, NULL},
    {"scale_b ignored", "args->scale_b ? args->scale_b[0] : 1.0f", "1.0f"},
    {"scale_b applied twice", "scale_b * (scale_a", "scale_b * scale_b * (scale_a"},
    {"zero output", "store_float(at, activate(kAct, v));", "store_float(at, 0.0f);"},
    {"one dropped block", "i < args->row_ptr[block_row + 1]",
     "i < args->row_ptr[block_row + 1] - (block_row == 1)"},
    {"one strip never multiplied", SUMS, "if (row || block != 2) " SUMS},
    {"beta ignored", "v += args->beta * to_float(*at);", "v += 0.0f;"},
    {"last column unwritten", "int cols = args->n - col0 < kTileN ? args->n - col0 : kTileN;",
     "int cols = args->n - col0 <= kTileN ? args->n - col0 - 1 : kTileN;"},
};

static const mutation of_one_scale[] = {
    {"none", NULL, NULL},
    {"scale_a ignored", "args->scale_a ? args->scale_a[0] : 1.0f", "args->scale_a ? 1.0f : 1.0f"},
    {"both ignored", "scale_b * (scale_a * ", "1.0f * (1.0f * "},
    {"scale_a taken for scale_b", "args->scale_b[0]", "args->scale_a[0]"},
};

static const mutation of_block_scales[] = {
    {"none", NULL, NULL},
    {"scale_a ignored", "args->scale_a[block] : 1.0f", "1.0f : 1.0f"},
    {"the first block's scale for all", "args->scale_a[block]", "args->scale_a[0]"},
    {"the block before's scale", "args->scale_a[block]", "args->scale_a[block ? block - 1 : 0]"},
    {"the column's scale", "args->scale_a[block]", "args->scale_a[args->col_idx[block]]"},
    {"one block with its neighbour's scale", "args->scale_a[block]", "args->scale_a[block == 4 ? 5 : block]"},
    {"one block without its scale", "args->scale_a[block]", "(block == 4 ? 1.0f : args->scale_a[block])"},
};

static const mutation of_plain_block_scales[] = {
    {"none", NULL, NULL},
    {"scale_a ignored", "args->scale_a[i] : 1.0f", "1.0f : 1.0f"},
    {"the block before's scale", "args->scale_a[i]", "args->scale_a[i ? i - 1 : 0]"},
    {"scale_b ignored", "acc[j] *= args->scale_b[0];", "acc[j] *= 1.0f;"},
};

#define CHECK(which, of, table)                                                                              \
    check_table(&w, &w.which, &w.of.launch, table, sizeof(table) / sizeof((table)[0]))

static void open_e4m3(world *w, triage_dtype out, bool per_block) {
    open_world(w, &(world_shape){.device = "host",
                                 .dtype = TRIAGE_E4M3,
                                 .layout = TRIAGE_COL_MAJOR,
                                 .rows = 64,
                                 .cols = 37,
                                 .depth = 96,
                                 .block = 16,
                                 .out = out,
                                 .scale_per_block = per_block});
}

/* Right as often as it is asked before timing, in the case that is not timed, and wrong from then on: what counts are the
 * elements that read C. */
static void test_wrong_after_timing_in_the_other_case(void **state) {
    (void)state;
    world w;
    tri_report report;
    const char *const read_c = "v += args->beta * to_float(*at);";
    const mutation late = {"wrong later", read_c,
                           "{ static long seen; if (__atomic_fetch_add(&seen, 1, __ATOMIC_RELAXED) >= "
                           "(long)args->m * args->n) v += 100.0f; v += args->beta * to_float(*at); }"};
    open_world(&w, &(world_shape){.device = "host", .rows = 96, .cols = 40, .depth = 128, .block = 32});
    assert_int_equal(measure(&report, &w, &w.source, &w.candidate.launch, &late), TRI_WRONG);
    if (strncmp(report.reason, "after timing: ", 14) != 0 || !strstr(report.reason, "beta -0.5"))
        fail_msg("%s", report.reason);
    assert_true(report.timing.samples == 0 && report.timing.median_ns == 0);
    close_world(&w);
}

static void test_e4m3(void **state) {
    (void)state;
    world w;
    open_e4m3(&w, TRIAGE_F32, false);
    CHECK(source, candidate, of_host_fp8);
    CHECK(source, candidate, of_one_scale);
    close_world(&w);
}

static void test_e4m3_block(void **state) {
    (void)state;
    world w;
    open_e4m3(&w, TRIAGE_F16, true);
    CHECK(source, candidate, of_block_scales);
    close_world(&w);
    open_e4m3(&w, TRIAGE_BF16, true); /* the coarsest */
    CHECK(source, candidate, of_block_scales);
    CHECK(reference_source, reference, of_plain_block_scales);
    close_world(&w);
}

static void check_both(triage_dtype dtype, triage_layout layout, bool with_host) {
    world w;
    /* 37 columns: no multiple of any tile */
    open_world(&w, &(world_shape){"host", NULL, dtype, layout, 64, 37, 96, 16, dtype, false, NULL, false});
    check_table(&w, &w.reference_source, &w.reference.launch, of_plain, sizeof of_plain / sizeof of_plain[0]);
    if (with_host)
        check_table(&w, &w.source, &w.candidate.launch, of_host, sizeof of_host / sizeof of_host[0]);
    close_world(&w);
}

static void test_f32(void **state) {
    (void)state;
    check_both(TRIAGE_F32, TRIAGE_ROW_MAJOR, true);
}

static void test_bf16(void **state) {
    (void)state;
    check_both(TRIAGE_BF16, TRIAGE_ROW_MAJOR, false);
}

static tri_outcome against(world *w, double best_median_ns, int64_t *samples) {
    tri_report report;
    const tri_trial trial = {.source = &w->source, .launch = &w->candidate.launch};
    must(tri_bench_measure(&report, w->bench, &trial, best_median_ns));
    *samples = report.timing.samples;
    return report.outcome;
}

/* One is stopped after three samples when the best is clearly faster; the times given here leave no doubt. */
static void test_the_clearly_slower_are_stopped_early(void **state) {
    (void)state;
    world w;
    int64_t samples = 0;
    open_world(&w, &(world_shape){"host", NULL, TRIAGE_F32, TRIAGE_ROW_MAJOR, 64, 37, 96, 16, TRIAGE_F32,
                                  .with = NULL});
    assert_int_equal(against(&w, 1e-3, &samples), TRI_SLOW);
    assert_int_equal(samples, 3);
    assert_int_equal(against(&w, 1e15, &samples), TRI_RIGHT);
    assert_true(samples > 3);
    assert_int_equal(against(&w, 0, &samples), TRI_RIGHT); /* none so far */
    assert_true(samples > 3);
    close_world(&w);
}

static void test_helper_refuses_what_is_not_there(void **state) {
    (void)state;
    assert_null(mutate("abc", &(mutation){"x", "d", "e"}));
    char *twice = mutate("a-b-a", &(mutation){"x", "a", "cc"});
    assert_string_equal(twice, "cc-b-cc");
    free(twice);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_helper_refuses_what_is_not_there),
        cmocka_unit_test(test_the_clearly_slower_are_stopped_early),
        cmocka_unit_test(test_f32),
        cmocka_unit_test(test_bf16),
        cmocka_unit_test(test_wrong_after_timing_in_the_other_case),
        cmocka_unit_test(test_e4m3),
        cmocka_unit_test(test_e4m3_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
