/* How the programs' options describe a problem of toy. */
#include "cli/common/common.h"
#include "cli/common/problem.h"
#include "op/toy/toy.h"

static const struct argp_option own_options[] = {{"shape", 0, "ROWS,COLS", 0, "Rows and columns", 0}, {0}};

static triage_status make(tri_cli_problem *out, const tri_cli_problem_options *options) {
    static const char *const names[] = {"--shape's rows", "--shape's columns"};
    const char *shape = tri_cli_given(options, "shape");
    int64_t v[2];
    size_t found = 0;
    if (!shape)
        return tri_cli_usage("no problem is given: --shape ROWS,COLS");
    triage_status status = tri_cli_parse_list(v, 2, &found, shape, ',', INT32_MAX, names);
    if (status == TRIAGE_OK && found != 2)
        status = tri_cli_usage("--shape %.64s has %zu numbers: ROWS,COLS are expected", shape, found);
    if (status == TRIAGE_OK)
        *tri_toy_edit(&out->problem) = (tri_toy_problem){v[0], v[1]};
    return status;
}

static void for_host(tri_cli_problem *problem) {
    (void)problem;
}

const tri_cli_op tri_cli_op_toy = {.op = &tri_op_toy,
                                   .heading = "toy: y[i][j] = s[i] * x[i][j]",
                                   .options = own_options,
                                   .make = make,
                                   .for_host = for_host};
