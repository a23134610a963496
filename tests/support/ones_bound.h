/* How far from 1 O may be where V is 1: derived in docs/measuring.md. */
#ifndef TRIAGE_TESTS_ONES_BOUND_H
#define TRIAGE_TESTS_ONES_BOUND_H

#include <math.h>

#include "op/attention/attention.h"

/* Of one row; scale_v is 1. args: with host addresses, to the run's own Q and K. Negative: no memory. */
static inline double ones_bound(const tri_attention_problem *p, const tri_attention_args *args, int b,
                                int head, int64_t i) {
    const double w = 0x1p-4, u = p->out_type == TRIAGE_BF16 ? 0x1p-8 : 0x1p-11;
    double o[TRI_ATTENTION_D_MAX], lse, lse_of_squares;
    tri_attention_args squares = *args;
    if (p->in_type != TRIAGE_E4M3)
        return 1e-3;
    if (tri_attention_row_kind(b, head, i) > 5) /* scores are whole numbers: equal weights err alike */
        return w + u;
    squares.scale_log2 *= 2;
    if (tri_attention_reference_row(o, &lse, p, args, b, head, i) != TRIAGE_OK ||
        tri_attention_reference_row(o, &lse_of_squares, p, &squares, b, head, i) != TRIAGE_OK)
        return -1;
    const double keys = exp(2 * lse - lse_of_squares); /* (sum of weights)^2 / sum of their squares */
    return u + fmin(w, w * w / 3 + 6 * w / sqrt(3 * keys)) + (8 + 2.5 * sqrt((double)p->sk)) * 0x1p-24;
}

#endif
