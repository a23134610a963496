/* The gate must let no wrong result through, and must say where it is wrong. */
#include "support/bsr_of.h"
#include "support/verdict_gate.h"
#include "op/bsr_gemm/bsr_gemm.h"

typedef struct mutant {
    const char *name;
    void (*apply)(gate *g);
} mutant;

static float get(const gate *g, int64_t row, int64_t col) {
    return tri_to_float(g->candidate, bsr_of(&g->problem)->out_type, (size_t)c_at(&g->problem, row, col));
}

static void put(gate *g, int64_t row, int64_t col, float value) {
    tri_from_float(g->candidate, bsr_of(&g->problem)->out_type, (size_t)c_at(&g->problem, row, col), value);
}

static bool is_checked(const gate *g, int64_t row) {
    for (size_t i = 0; i < g->count; i++)
        if (g->rows[i] == row)
            return true;
    return false;
}

/* A row that float64 does not check, if there is one, and that has blocks. */
static int64_t victim(const gate *g) {
    for (int64_t row = bsr_of(&g->problem)->m - 2; row >= 0; row--) {
        const int32_t *range = g->pattern.row_ptr + row / bsr_of(&g->problem)->block_m;
        if (range[1] - range[0] >= 1 && (!is_checked(g, row) || g->count == (size_t)bsr_of(&g->problem)->m))
            return row;
    }
    fail_msg("no row to break");
    return -1;
}

static double rms(const gate *g, int64_t row) {
    double sum = 0;
    for (int64_t col = 0; col < bsr_of(&g->problem)->n; col++)
        sum += (double)get(g, row, col) * (double)get(g, row, col);
    return sqrt(sum / (double)bsr_of(&g->problem)->n);
}

static void recompute(gate *g, fault wrong) {
    compute(g->candidate, g, BY_BLOCK, &wrong);
}

static void zero_output(gate *g) {
    memset(g->candidate, 0, g->c_bytes);
}

static void leave_poison(gate *g) {
    memset(g->candidate, 0xff, g->c_bytes);
}

static void drop_first_block(gate *g) {
    fault wrong = no_fault(g);
    wrong.row = victim(g);
    wrong.drop = 0;
    compute_rows(g->candidate, g, wrong.row, wrong.row + 1, BY_BLOCK, &wrong);
}

static void drop_last_block(gate *g) {
    fault wrong = no_fault(g);
    wrong.row = victim(g);
    const int32_t *range = g->pattern.row_ptr + wrong.row / bsr_of(&g->problem)->block_m;
    wrong.drop = range[1] - range[0] - 1;
    compute_rows(g->candidate, g, wrong.row, wrong.row + 1, BY_BLOCK, &wrong);
}

static void wrong_row(gate *g) {
    int64_t row = victim(g);
    for (int64_t col = 0; col < bsr_of(&g->problem)->n; col++)
        put(g, row, col, 1.01f * get(g, row, col));
}

static void one_nan(gate *g) {
    put(g, victim(g), bsr_of(&g->problem)->n - 1, NAN);
}

static void one_infinity(gate *g) {
    put(g, victim(g), 0, INFINITY);
}

/* For f16 and bf16 8 units in the last place of a number of the row's size; for f32, where correct kernels
 * differ by what summing costs, 8 times that. */
static void one_element_off(gate *g) {
    const double ulps[] = {0x1p-23, 0x1p-10, 0x1p-7};
    int64_t row = victim(g), col = 0;
    double scale = rms(g, row), step = 8 * ulps[bsr_of(&g->problem)->out_type] * scale;
    if (bsr_of(&g->problem)->out_type == TRIAGE_F32)
        step = 8 * g->yardstick.element_error * 0x1p-24 * scale;
    for (int64_t j = 0; j < bsr_of(&g->problem)->n; j++) /* on an element no larger than the row's */
        if (fabs((double)get(g, row, j)) <= scale)
            col = j;
    put(g, row, col, (float)((double)get(g, row, col) + step));
}

static void swap_rows(gate *g) {
    int64_t a = victim(g), b = a - 1;
    for (int64_t col = 0; col < bsr_of(&g->problem)->n; col++) {
        float kept = get(g, a, col);
        put(g, a, col, get(g, b, col));
        put(g, b, col, kept);
    }
}

static void shift_columns(gate *g) {
    int64_t row = victim(g);
    float first = get(g, row, 0);
    for (int64_t col = 0; col + 1 < bsr_of(&g->problem)->n; col++)
        put(g, row, col, get(g, row, col + 1));
    put(g, row, bsr_of(&g->problem)->n - 1, first);
}

static void ignore_alpha(gate *g) {
    fault wrong = no_fault(g);
    wrong.alpha = 1;
    recompute(g, wrong);
}

static void ignore_beta(gate *g) {
    fault wrong = no_fault(g);
    wrong.beta = 0;
    recompute(g, wrong);
}

/* Sums kept in float16: every element a little off, none by much. */
static void narrow_accumulator(gate *g) {
    triage_dtype out = bsr_of(&g->problem)->out_type;
    for (int64_t row = 0; row < bsr_of(&g->problem)->m; row++) {
        double scale = rms(g, row);
        for (int64_t col = 0; col < bsr_of(&g->problem)->n; col++) {
            float unit = out == TRIAGE_BF16 ? 0x1p-6f : 0x1p-9f, sign = (row + col) % 2 ? -1 : 1;
            put(g, row, col, get(g, row, col) + sign * unit * (float)scale);
        }
    }
}

static void nothing_written_in_one_element(gate *g) {
    uint16_t ones = 0xffff;
    if (bsr_of(&g->problem)->out_type == TRIAGE_F32)
        put(g, victim(g), 1, NAN);
    else
        memcpy((uint16_t *)g->candidate + c_at(&g->problem, victim(g), 1), &ones, 2);
}

static const mutant mutants[] = {
    {"zero output", zero_output},
    {"poison left", leave_poison},
    {"first block of a row dropped", drop_first_block},
    {"last block of a row dropped", drop_last_block},
    {"one wrong row", wrong_row},
    {"one NaN", one_nan},
    {"one infinity", one_infinity},
    {"one element off", one_element_off},
    {"two rows swapped", swap_rows},
    {"columns of a row shifted", shift_columns},
    {"alpha ignored", ignore_alpha},
    {"beta ignored", ignore_beta},
    {"narrow accumulator", narrow_accumulator},
    {"one element not written", nothing_written_in_one_element},
};

static void assert_all_mutants_fail(gate *g) {
    fault none = no_fault(g);
    compute(g->correct, g, BY_BLOCK, &none);
    for (size_t i = 0; i < sizeof mutants / sizeof *mutants; i++) {
        memcpy(g->candidate, g->correct, g->c_bytes);
        assert_true(judge(g).right);
        mutants[i].apply(g);
        tri_verdict v = judge(g);
        if (v.right)
            fail_msg("%s passed (%s, sampled %zu of %d, element distance %g, limit %g)", mutants[i].name,
                     tri_dtype_name(bsr_of(&g->problem)->out_type), g->count, (int)bsr_of(&g->problem)->m,
                     v.element_distance, 3 * g->yardstick.element_error);
        assert_true(v.reason[0] != '\0');
        assert_in_range(v.bad_row, 0, bsr_of(&g->problem)->m - 1);
        assert_in_range(v.bad_col, 0, bsr_of(&g->problem)->n - 1);
        assert_true(isfinite(v.row_error) && isfinite(v.element_error) && isfinite(v.row_distance) &&
                    isfinite(v.element_distance));
    }
}

static void wrong_results_fail(void **state) {
    (void)state;
    const shape broken[] = {
        {64, 40, 128, 16, 0.5, 0}, {256, 64, 256, 16, 0.9, 4}, {256, 33, 512, 32, 0.8, 16}};
    for (size_t s = 0; s < sizeof broken / sizeof *broken; s++)
        for (int t = TRIAGE_F32; t <= TRIAGE_BF16; t++)
            for (int layout = 0; layout < 2; layout++) {
                const shape *is = &broken[s];
                gate g;
                tri_problem problem = tri_bsr_problem_of((tri_bsr_problem){.in_type = (triage_dtype)t,
                                                                           .out_type = (triage_dtype)t,
                                                                           .c_layout = (triage_layout)layout,
                                                                           .m = is->m,
                                                                           .n = is->n,
                                                                           .k = is->k,
                                                                           .block_m = is->block,
                                                                           .block_k = is->block});
                gate_draw(&g, &problem, is->sparsity, 1, 0.5, 0.75, is->sampled);
                assert_all_mutants_fail(&g);
                gate_free(&g);
            }
}

/* Scales that are left out, or another block's. */
static void wrong_scales_fail(void **state) {
    (void)state;
    for (int t = TRIAGE_F32; t <= TRIAGE_BF16; t++)
        for (int fault_of = 0; fault_of < 5; fault_of++) {
            gate g;
            tri_problem problem = tri_bsr_problem_of((tri_bsr_problem){.in_type = TRIAGE_E4M3,
                                                                       .out_type = (triage_dtype)t,
                                                                       .scale_per_block = fault_of >= 3,
                                                                       .b_layout = TRIAGE_COL_MAJOR,
                                                                       .c_layout = TRIAGE_COL_MAJOR,
                                                                       .m = 128,
                                                                       .n = 40,
                                                                       .k = 256,
                                                                       .block_m = 32,
                                                                       .block_k = 32});
            gate_draw(&g, &problem, 0.5, 1, 1, 0, 0);
            fault none = no_fault(&g);
            if (fault_of == 0)
                g.scale_a[0] = 1;
            else if (fault_of == 1)
                g.scale_b = 1;
            else if (fault_of == 2)
                g.scale_a[0] = g.scale_b = 1;
            else if (fault_of == 3)
                g.scale_a[5] = g.scale_a[6];
            else
                g.scale_a[5] = 1;
            compute(g.candidate, &g, BY_BLOCK, &none);
            assert_false(judge(&g).right);
            gate_free(&g);
        }
}

static void verdict_names_the_place(void **state) {
    (void)state;
    gate g;
    tri_problem problem = tri_bsr_problem_of((tri_bsr_problem){.in_type = TRIAGE_F16,
                                                               .out_type = TRIAGE_F16,
                                                               .m = 256,
                                                               .n = 64,
                                                               .k = 256,
                                                               .block_m = 16,
                                                               .block_k = 16});
    gate_draw(&g, &problem, 0.5, 1, 1, 0, 4);
    for (int64_t row = 63; row < 66; row++) { /* 64 is checked, its neighbours are not */
        memcpy(g.candidate, g.plain, g.c_bytes);
        put(&g, row, 17, 100);
        tri_verdict v = judge(&g);
        assert_int_equal(v.bad_row, row);
        assert_int_equal(v.bad_col, 17);
        assert_non_null(strstr(v.reason, row == 64 ? "float64" : "plain kernel"));
        put(&g, row, 17, NAN);
        v = judge(&g);
        assert_int_equal(v.bad_row, row);
        assert_int_equal(v.bad_col, 17);
        assert_non_null(strstr(v.reason, "NaN"));
    }
    gate_free(&g);
}

static void short_rows_can_fail_too(void **state) {
    (void)state;
    for (int t = TRIAGE_F32; t <= TRIAGE_BF16; t++) {
        gate g;
        tri_problem problem = tri_bsr_problem_of((tri_bsr_problem){.in_type = (triage_dtype)t,
                                                                   .out_type = (triage_dtype)t,
                                                                   .m = 512,
                                                                   .n = 1,
                                                                   .k = 512,
                                                                   .block_m = 16,
                                                                   .block_k = 16});
        gate_draw(&g, &problem, 0.9, 1, 1, 0, 8);
        for (int how = 0; how < 3; how++) {
            fault none = no_fault(&g);
            recompute(&g, none);
            if (how == 0)
                drop_last_block(&g);
            else if (how == 1)
                swap_rows(&g);
            else
                zero_output(&g);
            assert_false(judge(&g).right);
        }
        gate_free(&g);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_results_fail),
        cmocka_unit_test(wrong_scales_fail),
        cmocka_unit_test(verdict_names_the_place),
        cmocka_unit_test(short_rows_can_fail_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
