/* The gate can fail: every way that we know to break a kernel's text is refused by the real verification,
 * and the unbroken text passes. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/gate_world.h"

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
    {"last column unwritten", "col < col0 + cols; col++", "col < col0 + cols && col < args->n - 1; col++"},
    {"last row unwritten", "row < args->m; row++", "row < args->m - 1; row++"},
    {"a row written twice, shifted", "store_float(at, activate(kAct, v));",
     "store_float(row == 9 && col > 0 ? at - 1 : at, v);"},
};

static void check_both(triage_dtype dtype, triage_layout layout, bool with_host) {
    world w;
    /* 37 columns: no multiple of any tile */
    open_world(&w, &(world_shape){"host", NULL, dtype, layout, 64, 37, 96, 16, NULL});
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
