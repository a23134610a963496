/* The gate must let every correct result through, whatever its order of summation; and what it measures by. Wrong
 * results: test_verdict_wrong.c. */
#include "support/bsr_of.h"
#include "support/verdict_gate.h"
#include "op/bsr_gemm/bsr_gemm.h"

/* ---- correct results pass ---- */

static void assert_all_orders_pass(gate *g) {
    fault none = no_fault(g);
    for (int how = ASCENDING; how <= FUSED; how++) {
        compute(g->candidate, g, (order)how, &none);
        tri_verdict v = judge(g);
        if (!v.right)
            fail_msg("order %d, m %d n %d k %d block %d type %s: %s", how, (int)bsr_of(&g->problem)->m,
                     (int)bsr_of(&g->problem)->n, (int)bsr_of(&g->problem)->k,
                     (int)bsr_of(&g->problem)->block_k, tri_dtype_name(bsr_of(&g->problem)->out_type),
                     v.reason);
        assert_string_equal(v.reason, "");
        assert_int_equal(v.bad_row, -1);
        assert_int_equal(v.bad_col, -1);
        assert_true(v.row_error >= 0 && v.row_error <= 2 * g->yardstick.row_error);
    }
}

static const shape shapes[] = {
    {64, 40, 64, 16, 0.5, 0},   {256, 48, 256, 32, 0.9, 0}, {64, 33, 512, 64, 0.2, 0},
    {8, 16, 2048, 8, 0, 0},     {512, 1, 256, 16, 0.8, 8},  {512, 1, 256, 16, 0.8, 1},
    {1024, 3, 128, 8, 0.7, 5},  {512, 8, 512, 16, 0.9, 4},  {384, 17, 128, 32, 0.6, 3},
    {1, 1, 1, 1, 0, 0},         {1, 1, 4096, 1, 0.5, 0},    {2048, 2, 64, 1, 0.9, 64},
    {256, 96, 256, 16, 0.9, 2}, {96, 20, 96, 32, 1, 0},
};

static const triage_dtype types[][2] = {{TRIAGE_F32, TRIAGE_F32},   {TRIAGE_F16, TRIAGE_F16},
                                        {TRIAGE_BF16, TRIAGE_BF16}, {TRIAGE_F16, TRIAGE_F32},
                                        {TRIAGE_BF16, TRIAGE_F32},  {TRIAGE_E4M3, TRIAGE_F16},
                                        {TRIAGE_E4M3, TRIAGE_BF16}, {TRIAGE_E4M3, TRIAGE_F32}};

static void correct_results_pass_in_every_order(void **state) {
    (void)state;
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
            const shape *is = &shapes[s];
            gate g;
            tri_problem problem = tri_bsr_problem_of(
                (tri_bsr_problem){.in_type = types[t][0],
                                  .out_type = types[t][1],
                                  .scale_per_block = types[t][0] == TRIAGE_E4M3 && s % 3 != 0,
                                  .b_layout = (triage_layout)(s % 2),
                                  .c_layout = (triage_layout)(t % 2),
                                  .m = is->m,
                                  .n = is->n,
                                  .k = is->k,
                                  .block_m = is->block,
                                  .block_k = is->block});
            gate_draw(&g, &problem, is->sparsity, s + 1, 1, 0, is->sampled);
            assert_all_orders_pass(&g);
            gate_free(&g);
        }
}

static void correct_results_pass_with_every_epilogue(void **state) {
    (void)state;
    const double factors[][2] = {{1, 0}, {0.5, 1}, {-3, 0.25}, {1e-3, 0}, {0, 1}, {100, -1}};
    for (int act = TRIAGE_ACT_NONE; act <= TRIAGE_ACT_SILU; act++)
        for (size_t f = 0; f < sizeof factors / sizeof *factors; f++)
            for (int t = TRIAGE_F32; t <= TRIAGE_BF16; t++) {
                gate g;
                tri_problem problem =
                    tri_bsr_problem_of((tri_bsr_problem){.in_type = (triage_dtype)t,
                                                         .out_type = (triage_dtype)t,
                                                         .activation = (triage_activation)act,
                                                         .bias = f % 2,
                                                         .m = 64,
                                                         .n = 24,
                                                         .k = 96,
                                                         .block_m = 16,
                                                         .block_k = 16});
                gate_draw(&g, &problem, 0.6, 1, factors[f][0], factors[f][1], f % 3 ? 6 : 0);
                assert_all_orders_pass(&g);
                gate_free(&g);
            }
}

/* Rows of 0, 1 and many blocks, few of them checked. */
static void correct_results_pass_on_an_uneven_pattern(void **state) {
    (void)state;
    for (int t = TRIAGE_F32; t <= TRIAGE_BF16; t++) {
        tri_pattern pattern;
        gate g;
        int32_t row_ptr[33] = {0}, col_idx[1024];
        for (int row = 0; row < 32; row++) {
            int count = row % 4 == 0 ? 0 : row == 5 ? 32 : row % 3;
            for (int i = 0; i < count; i++)
                col_idx[row_ptr[row] + i] = i;
            row_ptr[row + 1] = row_ptr[row] + count;
        }
        assert_int_equal(tri_pattern_copy(&pattern, 32, 32, row_ptr[32], row_ptr, col_idx), TRIAGE_OK);
        tri_problem problem = tri_bsr_problem_of((tri_bsr_problem){.in_type = (triage_dtype)t,
                                                                   .out_type = (triage_dtype)t,
                                                                   .m = 512,
                                                                   .n = 40,
                                                                   .k = 512,
                                                                   .block_m = 16,
                                                                   .block_k = 16});
        gate_make(&g, &problem, &pattern, 1, 0, 8);
        assert_all_orders_pass(&g);
        gate_free(&g);
    }
}

/* f16 reaches 65504: larger sums are infinite in every correct kernel. Tiny ones are subnormal. */
static void correct_results_pass_at_the_ends_of_the_type(void **state) {
    (void)state;
    const double alphas[] = {20000, 1e5, 1e-4, 1e-6, 1e-7, 1e-9};
    for (size_t i = 0; i < sizeof alphas / sizeof *alphas; i++) {
        gate g;
        tri_problem problem = tri_bsr_problem_of((tri_bsr_problem){.in_type = TRIAGE_F16,
                                                                   .out_type = TRIAGE_F16,
                                                                   .m = 64,
                                                                   .n = 64,
                                                                   .k = 64,
                                                                   .block_m = 16,
                                                                   .block_k = 16});
        gate_draw(&g, &problem, 0.5, 1, alphas[i], 0, 0);
        assert_all_orders_pass(&g);
        fault none = no_fault(&g);
        compute(g.candidate, &g, PAIRWISE, &none);
        int64_t infinite = 0;
        for (int64_t at = 0; at < 64 * 67; at++)
            infinite += isinf(tri_to_float(g.plain, TRIAGE_F16, (size_t)at)) != 0;
        if (alphas[i] > 1) {
            assert_true(infinite > 0);
            for (int64_t at = 0; infinite; at++) /* an infinity of the wrong sign */
                if (at % 67 < 64 && isinf(tri_to_float(g.plain, TRIAGE_F16, (size_t)at))) {
                    tri_from_float(g.candidate, TRIAGE_F16, (size_t)at,
                                   -tri_to_float(g.plain, TRIAGE_F16, (size_t)at));
                    break;
                }
            assert_false(judge(&g).right);
        }
        gate_free(&g);
    }
}

/* ---- the yardstick and its rows ---- */

static void yardstick_refuses_a_wrong_plain_kernel(void **state) {
    (void)state;
    gate g;
    tri_yardstick y;
    tri_problem problem = tri_bsr_problem_of((tri_bsr_problem){.in_type = TRIAGE_F16,
                                                               .out_type = TRIAGE_F16,
                                                               .m = 64,
                                                               .n = 32,
                                                               .k = 128,
                                                               .block_m = 16,
                                                               .block_k = 16});
    gate_draw(&g, &problem, 0.5, 1, 1, 0, 4);
    float kept = tri_to_float(g.plain, TRIAGE_F16, 5);
    tri_from_float(g.plain, TRIAGE_F16, 35 * 33 + 2, NAN); /* in a row that is not checked */
    assert_int_equal(tri_yardstick_make(&y, g.view, g.plain, g.references, g.rows, g.count), TRIAGE_E_WRONG);
    assert_string_equal(triage_last_error(), "the plain kernel left a NaN in row 33");
    tri_from_float(g.plain, TRIAGE_F16, 35 * 33 + 2, 0);
    tri_from_float(g.plain, TRIAGE_F16, 5, kept + 1);
    assert_int_equal(tri_yardstick_make(&y, g.view, g.plain, g.references, g.rows, g.count), TRIAGE_E_WRONG);
    assert_non_null(strstr(triage_last_error(), "the plain kernel itself is wrong: row 0"));
    tri_from_float(g.plain, TRIAGE_F16, 5, kept);
    g.references[3] = INFINITY;
    assert_int_equal(tri_yardstick_make(&y, g.view, g.plain, g.references, g.rows, g.count),
                     TRIAGE_E_INVALID);
    gate_free(&g);
}

static void a_broken_yardstick_lets_nothing_through(void **state) {
    (void)state;
    gate g;
    tri_problem problem =
        tri_bsr_problem_of((tri_bsr_problem){.m = 32, .n = 32, .k = 32, .block_m = 16, .block_k = 16});
    gate_draw(&g, &problem, 0.5, 1, 1, 0, 0);
    memcpy(g.candidate, g.plain, g.c_bytes);
    assert_true(judge(&g).right);
    g.yardstick.row_error = NAN;
    assert_false(judge(&g).right);
    g.count = 0;
    assert_string_equal(judge(&g).reason, "no row was checked against float64");
    assert_false(judge(&g).right);
    gate_free(&g);
}

static void checked_rows(void **state) {
    (void)state;
    int64_t *rows, *again;
    size_t count;
    tri_pattern pattern;
    int32_t row_ptr[129], col_idx[200] = {0};
    for (int i = 0; i <= 128; i++)
        row_ptr[i] = i + (i > 77) * 5; /* block row 77 is the longest */
    for (int i = 0; i < 6; i++)
        col_idx[77 + i] = i;
    assert_int_equal(tri_pattern_copy(&pattern, 128, 128, 133, row_ptr, col_idx), TRIAGE_OK);
    tri_problem p = tri_bsr_problem_of(
        (tri_bsr_problem){.m = 8192, .n = 8192, .k = 8192, .block_m = 64, .block_k = 64, .nnzb = 1638});
    assert_int_equal(tri_checked_rows(&rows, &count, &p, &pattern, 1), TRIAGE_OK);
    assert_int_equal(count, 64);
    assert_int_equal(rows[0], 0);
    assert_int_equal(rows[63], 8191);
    bool longest = false;
    for (size_t i = 0; i < count; i++) {
        longest = longest || rows[i] / 64 == 77;
        if (i)
            assert_true(rows[i] > rows[i - 1]);
    }
    assert_true(longest);
    assert_int_equal(tri_checked_rows(&again, &count, &p, &pattern, 1), TRIAGE_OK);
    assert_memory_equal(rows, again, 64 * sizeof *rows);
    free(again);
    assert_int_equal(tri_checked_rows(&again, &count, &p, &pattern, 2), TRIAGE_OK);
    assert_memory_not_equal(rows, again, 64 * sizeof *rows);
    free(again);
    free(rows);
    bsr_of(&p)->n = 16; /* small: all of them */
    bsr_of(&p)->nnzb = 133;
    assert_int_equal(tri_checked_rows(&rows, &count, &p, &pattern, 1), TRIAGE_OK);
    assert_int_equal(count, 8192);
    for (int64_t i = 0; i < 8192; i++)
        assert_int_equal(rows[i], i);
    free(rows);
    bsr_of(&p)->n = INT32_MAX; /* a row of references is 16 GiB: few, but never none */
    assert_int_equal(tri_checked_rows(&rows, &count, &p, &pattern, 1), TRIAGE_OK);
    assert_int_equal(count, 4);
    free(rows);
    tri_pattern_free(&pattern);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(correct_results_pass_in_every_order),
        cmocka_unit_test(correct_results_pass_with_every_epilogue),
        cmocka_unit_test(correct_results_pass_on_an_uneven_pattern),
        cmocka_unit_test(correct_results_pass_at_the_ends_of_the_type),
        cmocka_unit_test(yardstick_refuses_a_wrong_plain_kernel),
        cmocka_unit_test(a_broken_yardstick_lets_nothing_through),
        cmocka_unit_test(checked_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
