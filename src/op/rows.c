/* Which rows are checked against float64. */
#include "op/op.h"

#include <stdlib.h>

#define WHOLE_ELEMENTS (INT64_C(1) << 22) /* 32 MiB of float64 */
#define WHOLE_PRODUCTS 0x1p27             /* about 0.1 s */
#define SAMPLE_ROWS 64
#define SAMPLE_ELEMENTS (INT64_C(1) << 26) /* 512 MiB of float64 */
#define SAMPLE_LEAST 4

static int64_t count_rows(const tri_view *view, double products) {
    if (view->rows <= WHOLE_ELEMENTS / view->cols && products <= WHOLE_PRODUCTS)
        return view->rows;
    int64_t fit = SAMPLE_ELEMENTS / view->cols;
    int64_t count = fit < SAMPLE_LEAST ? SAMPLE_LEAST : fit < SAMPLE_ROWS ? fit : SAMPLE_ROWS;
    return count < view->rows ? count : view->rows;
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
static void draw_rows(int64_t *rows, int64_t count, int64_t of, const tri_problem *problem,
                      const tri_pattern *pattern, uint64_t seed) {
    tri_random random;
    int64_t telling[TRI_TELLING_ROWS], made = 0;
    tri_random_seed(&random, seed);
    const size_t wanted = problem->op->telling_rows(telling, problem, pattern, &random);
    for (size_t i = 0; i < wanted; i++)
        if (made < count && !has(rows, made, telling[i]))
            rows[made++] = telling[i];
    while (made < count) {
        int64_t row = (int64_t)tri_random_below(&random, (uint64_t)of);
        if (!has(rows, made, row))
            rows[made++] = row;
    }
    qsort(rows, (size_t)count, sizeof *rows, compare_int64);
}

triage_status tri_checked_rows(int64_t **out, size_t *count, const tri_problem *problem,
                               const tri_pattern *pattern, uint64_t seed) {
    tri_view views[TRI_VIEWS_MAX];
    problem->op->views(views, problem);
    int64_t wanted = count_rows(&views[0], tri_problem_flops(problem) / 2);
    *count = 0;
    triage_status status = tri_calloc(out, (size_t)wanted, sizeof **out);
    if (status != TRIAGE_OK)
        return status;
    if (wanted == views[0].rows)
        for (int64_t row = 0; row < wanted; row++)
            (*out)[row] = row;
    else
        draw_rows(*out, wanted, views[0].rows, problem, pattern, seed);
    *count = (size_t)wanted;
    return TRIAGE_OK;
}
