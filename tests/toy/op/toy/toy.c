#include "op/toy/toy.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check/fill.h"
#include "toy/args.h"

enum { X, S }; /* inputs */

/* Its part of a launch: read and sent, and used by nobody. */
typedef struct TRI_IN_PLACE tri_toy_launch {
    int32_t turns;
} tri_toy_launch;

/* ---- identity ---- */

static triage_status check(const tri_problem *problem) {
    const tri_toy_problem *p = tri_toy(problem);
    if (p->rows < 1 || p->rows > INT32_MAX || p->cols < 1 || p->cols > INT32_MAX)
        return tri_fail(TRIAGE_E_INVALID, "%lld x %lld; each 1 .. 2147483647", (long long)p->rows,
                        (long long)p->cols);
    return TRIAGE_OK;
}

static triage_status key(char **out, const tri_problem *problem) {
    const triage_status status = check(problem);
    return status != TRIAGE_OK
               ? status
               : tri_format(out, "toy f32 m=%lld n=%lld k=1", (long long)tri_toy(problem)->rows,
                            (long long)tri_toy(problem)->cols);
}

static triage_status parse(tri_problem *out, const char *text) {
    tri_problem problem = {.op = &tri_op_toy};
    char *again = NULL;
    long long rows = 0, cols = 0;
    triage_status status = TRIAGE_OK;
    if (sscanf(text, "toy f32 m=%lld n=%lld k=1", &rows, &cols) != 2)
        return tri_fail(TRIAGE_E_DATA, "problem key: '%.80s' is no toy", text);
    *tri_toy_edit(&problem) = (tri_toy_problem){rows, cols};
    TRI_TRY(key(&again, &problem));
    if (strcmp(again, text) != 0)
        TRI_TRY(tri_fail(TRIAGE_E_DATA, "problem key: '%.80s' is not written as '%s'", text, again));
    *out = problem;
done:
    free(again);
    return status;
}

static void sizes(int64_t out[3], const tri_problem *problem) {
    out[0] = tri_toy(problem)->rows;
    out[1] = tri_toy(problem)->cols;
    out[2] = 1;
}

static bool distance_squares(double out[TRI_DISTANCE_PARTS], const tri_problem *a, const tri_problem *b) {
    const double rows = tri_size_coordinate((double)tri_toy(a)->rows) -
                        tri_size_coordinate((double)tri_toy(b)->rows),
                 cols = tri_size_coordinate((double)tri_toy(a)->cols) -
                        tri_size_coordinate((double)tri_toy(b)->cols);
    out[0] = rows * rows + cols * cols;
    return true;
}

/* ---- cost ---- */

static double flops(const tri_problem *problem) {
    return (double)tri_toy(problem)->rows * (double)tri_toy(problem)->cols;
}

static double bytes(const tri_problem *problem) {
    return 8 * flops(problem) + 4 * (double)tri_toy(problem)->rows;
}

static double host_bytes(const tri_problem *problem) {
    return 20 * flops(problem);
}

static void least_work(tri_least_work *out, const tri_problem *problem) {
    *out = (tri_least_work){TRIAGE_F32, flops(problem), 4 * flops(problem), 4 * flops(problem)};
}

/* ---- what a space sees ---- */

static void fields(const tri_problem *problem, tri_property_fn fn, void *user) {
    tri_property_integer(fn, user, "rows", tri_toy(problem)->rows);
    tri_property_integer(fn, user, "cols", tri_toy(problem)->cols);
}

static const tri_launch_field launch_fields[] = {{"turns", offsetof(tri_toy_launch, turns), 8}, {0}};

/* ---- a run ---- */

static size_t case_count(const tri_problem *problem) {
    (void)problem;
    return 1;
}

static void case_text(char *out, size_t size, const tri_problem *problem, size_t case_index) {
    (void)problem, (void)case_index;
    snprintf(out, size, "as drawn");
}

static triage_status draw(tri_inputs *out, const tri_problem *problem, const tri_pattern *pattern,
                          uint64_t seed, size_t case_index) {
    const size_t rows = (size_t)tri_toy(problem)->rows, count = rows * (size_t)tri_toy(problem)->cols;
    float *x, *s;
    triage_status status = TRIAGE_OK;
    (void)pattern, (void)case_index;
    TRI_TRY(tri_inputs_add(&x, out, X, count, sizeof *x));
    TRI_TRY(tri_inputs_add(&s, out, S, rows, sizeof *s));
    TRI_TRY(tri_fill_normal(x, TRIAGE_F32, count, seed));
    tri_fill_scales(s, rows, seed + 1);
done:
    return status;
}

static size_t views(tri_view out[TRI_VIEWS_MAX], const tri_problem *problem) {
    const tri_toy_problem *p = tri_toy(problem);
    out[0] = (tri_view){
        .name = "Y", .dtype = TRIAGE_F32, .rows = p->rows, .cols = p->cols, .ld = p->cols, .terms = 1};
    return 1;
}

static int before(const tri_problem *problem, size_t case_index, size_t view) {
    (void)problem, (void)case_index, (void)view;
    return -1;
}

static size_t telling_rows(int64_t out[TRI_TELLING_ROWS], const tri_problem *problem,
                           const tri_pattern *pattern, tri_random *random) {
    (void)pattern, (void)random;
    out[0] = tri_toy(problem)->rows - 1;
    return 1;
}

static void reference_row(double *const out[TRI_VIEWS_MAX], const tri_operands *operands, int64_t row) {
    const float *x = operands->inputs->at[X].data, *s = operands->inputs->at[S].data;
    const int64_t cols = tri_toy(operands->problem)->cols;
    for (int64_t j = 0; j < cols; j++)
        out[0][j] = (double)s[row] * (double)x[row * cols + j];
}

static triage_status arguments(void *out, const tri_binding *binding) {
    *(tri_toy_args *)out = (tri_toy_args){.x = (const void *)(uintptr_t)binding->inputs->at[X].address,
                                          .s = (const void *)(uintptr_t)binding->inputs->at[S].address,
                                          .y = (void *)(uintptr_t)binding->results[0],
                                          .rows = tri_toy(binding->problem)->rows,
                                          .cols = tri_toy(binding->problem)->cols};
    return TRIAGE_OK;
}

const tri_operation tri_op_toy = {.name = "toy",
                                  .summary = "y[i][j] = s[i] * x[i][j]",
                                  .check = check,
                                  .key = key,
                                  .parse = parse,
                                  .sizes = sizes,
                                  .distance_parts = {"shape"},
                                  .distance_squares = distance_squares,
                                  .flops = flops,
                                  .dense_flops = flops,
                                  .bytes = bytes,
                                  .least_work = least_work,
                                  .host_bytes = host_bytes,
                                  .fields = fields,
                                  .launch_fields = launch_fields,
                                  .args_bytes = sizeof(tri_toy_args),
                                  .case_count = case_count,
                                  .case_text = case_text,
                                  .draw = draw,
                                  .views = views,
                                  .before = before,
                                  .telling_rows = telling_rows,
                                  .reference_row = reference_row,
                                  .arguments = arguments};
