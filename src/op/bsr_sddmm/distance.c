/* How far two sampled products are apart: near ones lend each other kernels. */
#include "op/bsr_sddmm/bsr_sddmm.h"

#include <math.h>

static double octaves_squared(double a, double b) {
    const double octaves = log2(a / b);
    return octaves * octaves;
}

static double apart_squared(int64_t a, int64_t b) {
    const double apart = tri_size_coordinate((double)a) - tri_size_coordinate((double)b);
    return apart * apart;
}

bool tri_sddmm_distance_squares(double out[TRI_DISTANCE_PARTS], const tri_problem *from,
                                const tri_problem *to) {
    const tri_sddmm_problem *a = tri_sddmm(from), *b = tri_sddmm(to);
    const tri_fingerprint *p = &a->fingerprint, *q = &b->fingerprint;
    const double overlap = (p->overlap_e1 - q->overlap_e1) / 5.0; /* none to all: two octaves */
    out[0] = apart_squared(a->m, b->m) + apart_squared(a->n, b->n) + apart_squared(a->k, b->k);
    out[1] = octaves_squared(p->density_e4 + 1.0, q->density_e4 + 1.0); /* + 1: it may be 0 */
    out[2] = octaves_squared(p->imbalance_e1 + 1.0, q->imbalance_e1 + 1.0) / 4 + overlap * overlap;
    return a->in_type == b->in_type && a->out_type == b->out_type && a->y_layout == b->y_layout &&
           a->x_layout == b->x_layout && a->block_m == b->block_m && a->block_k == b->block_k;
}
