/* Which rows are checked against float64. */
#include "problem/problem.h"

#include <stdlib.h>

#define WHOLE_ELEMENTS (INT64_C(1) << 22) /* 32 MiB of float64 */
#define WHOLE_PRODUCTS 0x1p27             /* about 0.1 s */
#define SAMPLE_ROWS 64
#define SAMPLE_ELEMENTS (INT64_C(1) << 26) /* 512 MiB of float64 */
#define SAMPLE_LEAST 4

static int64_t count_rows(const tri_problem *problem) {
    double products = tri_problem_flops(problem) / 2;
    if (problem->m <= WHOLE_ELEMENTS / problem->n && products <= WHOLE_PRODUCTS)
        return problem->m;
    int64_t fit = SAMPLE_ELEMENTS / problem->n;
    int64_t count = fit < SAMPLE_LEAST ? SAMPLE_LEAST : fit < SAMPLE_ROWS ? fit : SAMPLE_ROWS;
    return count < problem->m ? count : problem->m;
}

static int64_t longest_block_row(const tri_pattern *pattern) {
    int64_t longest = 0;
    const int32_t *at = pattern->row_ptr;
    for (int64_t row = 1; row < pattern->block_rows; row++)
        if (at[row + 1] - at[row] > at[longest + 1] - at[longest])
            longest = row;
    return longest;
}

static int compare_int64(const void *left, const void *right) {
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return a < b ? -1 : a > b;
}

static bool has(const int64_t *rows, int64_t count, int64_t row) {
    for (int64_t i = 0; i < count; i++)
        if (rows[i] == row)
            return true;
    return false;
}

/* At most 64 rows are drawn from more than that: a linear look is enough, and it ends. */
static void draw_rows(int64_t *rows, int64_t count, const tri_problem *problem, const tri_pattern *pattern,
                      uint64_t seed) {
    tri_random random;
    tri_random_seed(&random, seed);
    int64_t inner = (int64_t)tri_random_below(&random, (uint64_t)problem->block_m);
    int64_t wanted[] = {0, problem->m - 1, longest_block_row(pattern) * problem->block_m + inner};
    int64_t made = 0;
    for (int i = 0; i < 3; i++)
        if (made < count && !has(rows, made, wanted[i]))
            rows[made++] = wanted[i];
    while (made < count) {
        int64_t row = (int64_t)tri_random_below(&random, (uint64_t)problem->m);
        if (!has(rows, made, row))
            rows[made++] = row;
    }
    qsort(rows, (size_t)count, sizeof *rows, compare_int64);
}

triage_status tri_checked_rows(int64_t **out, size_t *count, const tri_problem *problem,
                               const tri_pattern *pattern, uint64_t seed) {
    int64_t wanted = count_rows(problem);
    *count = 0;
    triage_status status = tri_calloc(out, (size_t)wanted, sizeof **out);
    if (status != TRIAGE_OK)
        return status;
    if (wanted == problem->m)
        for (int64_t row = 0; row < wanted; row++)
            (*out)[row] = row;
    else
        draw_rows(*out, wanted, problem, pattern, seed);
    *count = (size_t)wanted;
    return TRIAGE_OK;
}
