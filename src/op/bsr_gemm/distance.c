/* How far two products are apart: near ones lend each other kernels. */
#include "op/bsr_gemm/bsr_gemm.h"

#include <math.h>

static bool can_serve(const tri_bsr_problem *a, const tri_bsr_problem *b) {
    return a->in_type == b->in_type && a->out_type == b->out_type && a->a_transposed == b->a_transposed &&
           a->scale_per_block == b->scale_per_block && a->block_m == b->block_m && a->block_k == b->block_k;
}

/* Doublings from a to b, squared. */
static double octaves_squared(double a, double b) {
    double octaves = log2(a / b);
    return octaves * octaves;
}

static double apart_squared(int64_t a, int64_t b) {
    const double apart = tri_size_coordinate((double)a) - tri_size_coordinate((double)b);
    return apart * apart;
}

bool tri_bsr_distance_squares(double out[TRI_DISTANCE_PARTS], const tri_problem *from,
                              const tri_problem *to) {
    const tri_bsr_problem *a = tri_bsr(from), *b = tri_bsr(to);
    const tri_fingerprint *p = &a->fingerprint, *q = &b->fingerprint;
    const double overlap = (p->overlap_e1 - q->overlap_e1) / 5.0; /* none to all: two octaves */
    out[0] = apart_squared(a->m, b->m) + apart_squared(a->n, b->n) + apart_squared(a->k, b->k);
    /* + 1: an empty pattern is near an almost empty one */
    out[1] = octaves_squared(p->density_e4 + 1.0, q->density_e4 + 1.0);
    out[2] = octaves_squared(p->imbalance_e1 + 1.0, q->imbalance_e1 + 1.0) / 4 + overlap * overlap;
    /* the epilogue hardly moves the best tile: a tie-breaker among equals; both layouts are as far as a factor of two */
    out[3] = 0.01 * (a->activation != b->activation) + 0.01 * (a->bias != b->bias) +
             0.5 * (a->b_layout != b->b_layout) + 0.5 * (a->c_layout != b->c_layout);
    return can_serve(a, b);
}

/* Other epilogues, then other layouts. */
size_t tri_bsr_kin(tri_problem out[TRI_KIN_MAX], const tri_problem *of) {
    const tri_bsr_problem *own = tri_bsr(of);
    size_t count = 0;
    for (int layouts = 0; layouts < 4; layouts++) {
        for (int epilogue = 0; epilogue < 8; epilogue++) {
            tri_problem other = *of;
            tri_bsr_problem *p = tri_bsr_edit(&other);
            p->b_layout ^= layouts & 1;
            p->c_layout ^= layouts >> 1;
            p->activation = (triage_activation)((own->activation + (epilogue & 3)) % 4);
            p->bias = own->bias != (epilogue >> 2);
            p->ldb = tri_bsr_packed_ldb(p);
            p->ldc = tri_bsr_packed_ldc(p);
            if (layouts > 0 || epilogue > 0)
                out[count++] = other;
        }
    }
    return count;
}
_Static_assert(4 * 8 - 1 <= TRI_KIN_MAX && TRIAGE_ACT_SILU == 3, "layouts and epilogues");
