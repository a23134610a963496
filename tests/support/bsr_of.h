/* The fields of a bsr_gemm problem, to read and to write: tests break them on purpose. */
#ifndef TRIAGE_TESTS_SUPPORT_BSR_OF_H
#define TRIAGE_TESTS_SUPPORT_BSR_OF_H

#include "op/bsr_gemm/bsr_gemm.h"

static inline tri_bsr_problem *bsr_of(const tri_problem *problem) {
    return (tri_bsr_problem *)(uintptr_t)problem->data;
}
static inline tri_bsr_launch *bsr_launch_of(const tri_launch *launch) {
    return (tri_bsr_launch *)(uintptr_t)launch->own;
}

#endif
