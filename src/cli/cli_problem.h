/* From the options that describe a problem to the problem and its pattern. */
#ifndef TRIAGE_CLI_PROBLEM_H
#define TRIAGE_CLI_PROBLEM_H

#include <argp.h>

#include "op/bsr_gemm/bsr_gemm.h"

/* The options' texts as they were typed; NULL: not given. */
typedef struct tri_cli_problem_options {
    const char *shape;    /* M,N,K */
    const char *sparsity; /* 0 .. 1 */
    const char *block;    /* 64 (default) or 128x64 */
    const char *dtype, *out_dtype, *op;
    const char *scale;       /* of e4m3: tensor (default) or block */
    const char *pattern, *n; /* instead of shape and sparsity */
    const char *layout;      /* row (default) or col: of B and C */
    uint64_t seed;
    const char *given; /* the name of the first of these options that was typed, --op apart; NULL: none */
} tri_cli_problem_options;

/* These options as a child of a program's parser, under the heading TRI_CLI_PROBLEM_HEADING; its input is a
 * tri_cli_problem_options. The seed is each program's own: it seeds more than the pattern. */
extern const struct argp tri_cli_problem_argp;
#define TRI_CLI_PROBLEM_HEADING "The problem: C (M x N) = A (M x K, block-sparse) * B (K x N)"

typedef struct tri_cli_problem {
    tri_problem problem;
    tri_pattern pattern;
    bool dtype_given;
} tri_cli_problem;
void tri_cli_problem_free(tri_cli_problem *problem);

/* Checks everything and makes the pattern. Without a dtype the types are those of the cuda device, f16;
 * tri_cli_problem_for_host() corrects that. TRIAGE_E_INVALID: wrong options; TRIAGE_E_DATA: a bad file. */
triage_status tri_cli_problem_make(tri_cli_problem *out, const tri_cli_problem_options *options);
void tri_cli_problem_for_host(tri_cli_problem *problem);

/* Does a run's host memory fit this machine? TRIAGE_E_INVALID when it clearly does not. */
triage_status tri_cli_problem_fits(const tri_problem *problem);

#endif
