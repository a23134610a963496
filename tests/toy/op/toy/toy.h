/* toy: y[i][j] = s[i] * x[i][j], for the tests of what an operation is. */
#ifndef TRIAGE_TESTS_TOY_H
#define TRIAGE_TESTS_TOY_H

#include "op/op.h"

extern const tri_operation tri_op_toy;

typedef struct TRI_IN_PLACE tri_toy_problem {
    int64_t rows, cols;
} tri_toy_problem;
_Static_assert(sizeof(tri_toy_problem) <= TRI_PROBLEM_BYTES, "a problem's bytes are too few");

static inline const tri_toy_problem *tri_toy(const tri_problem *problem) {
    return (const tri_toy_problem *)problem->data;
}
static inline tri_toy_problem *tri_toy_edit(tri_problem *problem) {
    return (tri_toy_problem *)problem->data;
}

#endif
