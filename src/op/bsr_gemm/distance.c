/* How far two products are apart: near ones lend each other kernels. */
#include "op/bsr_gemm/bsr_gemm.h"

#include <math.h>

static bool can_serve(const tri_bsr_problem *a, const tri_bsr_problem *b) {
    return a->in_type == b->in_type && a->out_type == b->out_type &&
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
             0.5 * (a->b_layout != b->b_layout) + 0.5 * (a->c_layout != b->c_layout) +
             0.5 * (a->a_transposed != b->a_transposed);
    return can_serve(a, b);
}

/* The problem with another epilogue (0: its own), in other layouts (0: its own). */
static void make_kin(tri_problem *out, const tri_problem *of, unsigned layouts, unsigned epilogue) {
    const tri_bsr_problem *own = tri_bsr(of);
    *out = *of;
    tri_bsr_problem *p = tri_bsr_edit(out);
    p->b_layout ^= layouts & 1;
    p->c_layout ^= layouts >> 1;
    p->activation = (triage_activation)((own->activation + (epilogue & 3)) % 4);
    p->bias = own->bias != (epilogue >> 2);
    p->ldb = tri_bsr_packed_ldb(p);
    p->ldc = tri_bsr_packed_ldc(p);
}

/* Other epilogues, then other layouts; of a transposed A then all of those with A as it is stored, whose kernels are the
 * same but for how they fetch blocks. (The other way round nothing would be learnt that is not known better.) */
size_t tri_bsr_kin(tri_problem out[TRI_KIN_MAX], const tri_problem *of) {
    const bool transposed = tri_bsr(of)->a_transposed;
    size_t count = 0;
    for (int stored = 0; stored <= transposed; stored++)
        for (unsigned i = !stored; i < 4 * 8; i++) {
            make_kin(&out[count], of, i / 8, i % 8);
            tri_bsr_edit(&out[count++])->a_transposed = transposed && !stored;
        }
    return count;
}
_Static_assert(2 * 4 * 8 - 1 <= TRI_KIN_MAX && TRIAGE_ACT_SILU == 3, "layouts and epilogues");
