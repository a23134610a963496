/* The gate can fail: every way that we know to break a kernel's text is refused by the real verification,
 * and the unbroken text passes. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "measure/bench.h"
#include "render/render.h"
#include "support/mutate.h"

#define ROWS 64
#define COLS 37 /* no multiple of any tile */
#define DEPTH 96
#define BLOCK 16

typedef struct world {
    tri_device *device;
    tri_problem problem;
    tri_pattern pattern;
    tri_space *space;
    tri_candidate reference, candidate;
    tri_source reference_source, source;
    tri_bench *bench;
} world;

static void must(triage_status status) {
    if (status != TRIAGE_OK)
        fail_msg("%s: %s", triage_status_name(status), triage_last_error());
}

static void open_world(world *w, triage_dtype dtype, triage_layout layout) {
    bool row = layout == TRIAGE_ROW_MAJOR;
    tri_configs configs = {0};
    *w = (world){0};
    must(tri_device_open(&w->device, "host", false));
    must(tri_pattern_random(&w->pattern, ROWS / BLOCK, DEPTH / BLOCK, 0.5, 3));
    w->problem = (tri_problem){.op = TRI_OP_BSR_GEMM,
                               .in_type = dtype,
                               .out_type = dtype,
                               .b_layout = layout,
                               .c_layout = layout,
                               .m = ROWS,
                               .n = COLS,
                               .k = DEPTH,
                               .ldb = row ? COLS : DEPTH,
                               .ldc = row ? COLS : ROWS,
                               .block_m = BLOCK,
                               .block_k = BLOCK,
                               .nnzb = w->pattern.nnzb};
    tri_fingerprint_of(&w->problem.fingerprint, &w->pattern);
    must(tri_space_open(&w->space, TRI_OP_BSR_GEMM, &(tri_space_options){.data_dir = TRI_SOURCE_DIR}));
    const tri_device_info *info = tri_device_describe(w->device);
    must(tri_space_reference(&w->reference, w->space, &w->problem, info));
    must(tri_render(&w->reference_source, &w->reference, TRI_SOURCE_DIR));
    must(tri_space_enumerate(&configs, w->space, &w->problem, info));
    must(
        tri_space_candidate(&w->candidate, w->space, &w->problem, info, configs.text[configs.default_index]));
    must(tri_render(&w->source, &w->candidate, TRI_SOURCE_DIR));
    tri_configs_free(&configs);
    tri_bench_setup setup = {.problem = &w->problem,
                             .pattern = &w->pattern,
                             .seed = 11,
                             .warm = true,
                             .reference = {&w->reference_source, &w->reference.launch}};
    must(tri_bench_open(&w->bench, w->device, &setup));
}

static void close_world(world *w) {
    tri_bench_close(w->bench);
    tri_source_free(&w->source);
    tri_source_free(&w->reference_source);
    tri_candidate_free(&w->candidate);
    tri_candidate_free(&w->reference);
    tri_space_free(w->space);
    tri_pattern_free(&w->pattern);
    tri_device_close(w->device);
}

static tri_outcome measure(tri_report *report, world *w, const tri_source *source, const tri_launch *launch,
                           const mutation *how) {
    tri_source broken = *source;
    broken.text = mutate(source->text, how);
    if (!broken.text)
        fail_msg("%s: the template no longer has: %s", how->name, how->find);
    must(tri_bench_measure(report, w->bench, &(tri_trial){&broken, launch}, 0));
    free(broken.text);
    return report->outcome;
}

/* The first mutation of a table is none. */
static void check_table(world *w, const tri_source *source, const tri_launch *launch, const mutation *table,
                        size_t count) {
    tri_report report;
    assert_null(table[0].find);
    assert_int_equal(measure(&report, w, source, launch, &table[0]), TRI_RIGHT);
    assert_string_equal(report.reason, "");
    assert_true(report.timing.samples > 0 && report.timing.median_ns > 0);
    assert_true(report.row_error <= report.row_error_limit);
    for (size_t i = 1; i < count; i++) {
        tri_outcome outcome = measure(&report, w, source, launch, &table[i]);
        if (outcome != TRI_WRONG)
            fail_msg("%s: the gate said %s (%s)", table[i].name, tri_outcome_name(outcome), report.reason);
        assert_true(report.reason[0] != '\0');
        assert_true(report.timing.samples == 0 && report.timing.median_ns == 0); /* no number for it */
        assert_false(report.damaged);
    }
}

#define AFTER_PRODUCT "multiply_strip(tile, args, block_row, inner_row, b, ldb);"

static const mutation of_host[] = {
    {"none", NULL, NULL},
    {"zero output", AFTER_PRODUCT, AFTER_PRODUCT " memset(tile, 0, sizeof tile);"},
    {"one dropped block", "i < args->row_ptr[block_row + 1]",
     "i < args->row_ptr[block_row + 1] - (block_row == 1)"},
    {"one block row never run", "int block_row = args->row_order[at];",
     "int block_row = args->row_order[at]; if (block_row == 2) continue;"},
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
    {"last column unwritten", "col < args->n; col++", "col < args->n - 1; col++"},
    {"last row unwritten", "row < args->m; row++", "row < args->m - 1; row++"},
    {"a row written twice, shifted", "store_float(at, activate(kAct, v));",
     "store_float(row == 9 && col > 0 ? at - 1 : at, v);"},
};

static void check_both(triage_dtype dtype, triage_layout layout, bool with_host) {
    world w;
    open_world(&w, dtype, layout);
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
        cmocka_unit_test(test_f32),
        cmocka_unit_test(test_bf16),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
