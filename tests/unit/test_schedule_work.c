// links: base
/* Building a schedule is near linear in the matrix: counted in basic blocks that ran, never in time. The sources of
 * the schedule are compiled for this program with -fsanitize-coverage=trace-pc (tests/CMakeLists.txt), which calls us in
 * each of them. Sorting itself is the C library's, and not counted; its comparisons are. */
#include "support/check.h"

#include <stdio.h>
#include <stdlib.h>

#include "op/bsr_gemm/schedule/schedule.h"

static long long work;

void __sanitizer_cov_trace_pc(void);
__attribute__((no_sanitize_coverage)) void __sanitizer_cov_trace_pc(void) {
    work++;
}

static long long work_of(const tri_pattern *p, const tri_panel_shape *shape) {
    tri_schedule s;
    work = 0;
    must(tri_schedule_build(&s, p, shape));
    const long long all = work;
    tri_schedule_free(&s);
    return all;
}

/* No more than 2000 for each block and row, of a large matrix: a product of two of its sizes would be far more. */
static void expect_near_linear(const tri_pattern *p, const tri_panel_shape *shape) {
    const long long all = work_of(p, shape), size = p->nnzb + p->block_rows;
    print_message("%lld basic blocks, %lld for each block and row\n", all, all / size);
    assert_true(all > size); /* they are counted */
    assert_true(all <= 2000 * size);
}

/* Rows of one block, of which two panels are long. */
static void make_long_panels(tri_pattern *out, int32_t rows, int32_t longest) {
    int32_t *row_ptr = calloc((size_t)rows + 1, 4), *col_idx = calloc((size_t)rows + 64 * (size_t)longest, 4);
    for (int32_t i = 0; i < rows; i++) {
        const int32_t length = i < 64 ? longest : 1;
        for (int32_t j = 0; j < length; j++)
            col_idx[row_ptr[i] + j] = length > 1 ? j : i % longest;
        row_ptr[i + 1] = row_ptr[i] + length;
    }
    must(tri_pattern_copy(out, rows, longest, row_ptr[rows], row_ptr, col_idx));
    free(row_ptr);
    free(col_idx);
}

static void cutting_is_near_linear(void **state) {
    (void)state;
    tri_pattern p;
    make_long_panels(&p, 1 << 18, 20000);
    const tri_panel_shape shape = {.rows = 32,
                                   .group = 16,
                                   .cluster = 1,
                                   .gather = true,
                                   .reorder = true,
                                   .columns = 8,
                                   .workers = 132,
                                   .warps = 16,
                                   .busy_warps = 8,
                                   .least_blocks = 125};
    expect_near_linear(&p, &shape);
    tri_pattern_free(&p);
}

static void reorder_is_near_linear(void **state) {
    (void)state;
    tri_pattern p;
    must(tri_pattern_random(&p, 65536, 40, 0.9, 3));
    const tri_panel_shape shape = {.rows = 4, .group = 1, .cluster = 1, .reorder = true};
    expect_near_linear(&p, &shape);
    tri_pattern_free(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cutting_is_near_linear),
        cmocka_unit_test(reorder_is_near_linear),
    };
    return cmocka_run_group_tests_name("the schedule's work", tests, NULL, NULL);
}
