/* How far two passes are apart: near ones lend each other kernels. */
#include "op/attention/attention.h"

#include <math.h>

/* Few queries are for the kernels of a decode step, more for the others: each would be slow at the other's work. */
#define FEW_QUERIES 16 /* as in tuner/spaces/attention/decode.lua */

static bool can_serve(const tri_attention_problem *a, const tri_attention_problem *b) {
    const bool few = a->sq <= FEW_QUERIES;
    return tri_dtype_size(a->in_type) == tri_dtype_size(b->in_type) &&
           tri_dtype_size(a->out_type) == tri_dtype_size(b->out_type) && a->d == b->d && a->dv == b->dv &&
           few == (b->sq <= FEW_QUERIES) && a->mask.rows == b->mask.rows && a->mask.cols == b->mask.cols &&
           (!few || a->lengths == b->lengths ||
            (a->lengths != TRI_LENGTHS_OFFSETS && b->lengths != TRI_LENGTHS_OFFSETS));
}

/* Where a family ends, kernels go on: bf16 takes as long as f16; where the sequences of a prompt lie (dense, in a cache, by
 * offsets) hardly moves the best tile, and a winner that cannot run there, as one that stores by TMA, has a runner-up that can;
 * the two ways to align a causal band differ only in where it ends, a window has fewer steps to deal out, and a full mask has
 * them all alike. */
static double kind_squared(const tri_attention_problem *a, const tri_attention_problem *b) {
    const bool causal = a->band != TRI_BAND_FULL && b->band != TRI_BAND_FULL;
    const bool window = a->band == TRI_BAND_WINDOW || b->band == TRI_BAND_WINDOW;
    const double band = a->band == b->band ? 0 : !causal ? 1 : window ? 0.5 : 0.02;
    return band + 0.01 * (a->in_type != b->in_type) + 0.01 * (a->out_type != b->out_type) +
           0.25 * (a->softcap != b->softcap) + 0.25 * (a->lengths != b->lengths) +
           0.25 * (!a->page_size != !b->page_size);
}

/* Doublings from a to b, squared. */
static double octaves_squared(double a, double b) {
    double octaves = log2(a / b);
    return octaves * octaves;
}

/* A size of 0 is as good as 1. */
static double apart_squared(int64_t a, int64_t b) {
    double apart =
        tri_size_coordinate((double)(a > 1 ? a : 1)) - tri_size_coordinate((double)(b > 1 ? b : 1));
    return apart * apart;
}

/* Keys of the window; open sides reach to the end. */
static int64_t width_of(const tri_attention_problem *p) {
    int64_t left = p->left < 0 ? p->sk : p->left, right = p->right < 0 ? p->sk : p->right;
    return left + right + 1 < p->sk ? left + right + 1 : p->sk;
}

static double pattern_squared(const tri_block_mask_kind *a, const tri_block_mask_kind *b) {
    const tri_fingerprint *p = &a->fingerprint, *q = &b->fingerprint;
    const double overlap = (p->overlap_e1 - q->overlap_e1) / 5.0; /* none to all: two octaves */
    return octaves_squared(p->imbalance_e1 + 1.0, q->imbalance_e1 + 1.0) / 4 + overlap * overlap +
           0.01 * (a->heads != b->heads) + 0.01 * (a->per_batch != b->per_batch) +
           0.25 * (a->bits != b->bits);
}

bool tri_attention_distance_squares(double out[TRI_DISTANCE_PARTS], const tri_attention_problem *a,
                                    const tri_attention_problem *b) {
    const tri_fingerprint *p = &a->mask.fingerprint, *q = &b->mask.fingerprint;
    out[0] = apart_squared(a->sq, b->sq) + apart_squared(a->sk, b->sk) + apart_squared(a->d, b->d) +
             apart_squared(a->batch * a->heads_kv, b->batch * b->heads_kv) +
             apart_squared(a->heads_q / a->heads_kv, b->heads_q / b->heads_kv);
    out[1] = octaves_squared(p->density_e4 + 1.0, q->density_e4 + 1.0);
    if (a->band == TRI_BAND_WINDOW && b->band == TRI_BAND_WINDOW)
        out[1] += apart_squared(width_of(a), width_of(b));
    out[2] = pattern_squared(&a->mask, &b->mask);
    out[3] = 0.01 * (a->lse != b->lse) + 0.25 * (a->splits != b->splits) +
             (a->page_size && b->page_size ? apart_squared(a->page_size, b->page_size) / 4 : 0) +
             kind_squared(a, b);
    return can_serve(a, b);
}

/* f16 and bf16 in each other's place. */
static void swap_types(tri_attention_problem *p) {
    static const triage_dtype other[] = {[TRIAGE_F32] = TRIAGE_F32,
                                         [TRIAGE_F16] = TRIAGE_BF16,
                                         [TRIAGE_BF16] = TRIAGE_F16,
                                         [TRIAGE_E4M3] = TRIAGE_E4M3};
    p->in_type = other[p->in_type];
    p->out_type = other[p->out_type];
}

static void set_lengths(tri_attention_problem *p, tri_attention_lengths lengths, int32_t page_size) {
    p->lengths = lengths;
    p->page_size = page_size;
}

/* One thing changed, and that with the other type. A window is no kin to ask for, since it has a width. */
size_t tri_attention_kin(tri_problem out[TRI_KIN_MAX], const tri_problem *of) {
    enum { SAME, FULL, CAUSAL, CAUSAL_TOP_LEFT, SOFTCAP, DENSE, CACHE, PAGED, OFFSETS, CHANGES };
    static const tri_attention_lengths lengths[] = {TRI_LENGTHS_DENSE, TRI_LENGTHS_CACHE, TRI_LENGTHS_CACHE,
                                                    TRI_LENGTHS_OFFSETS};
    const tri_attention_problem *own = tri_attention(of);
    size_t count = 0;
    for (int change = SAME; change < CHANGES; change++) {
        for (int swap = 0; swap < 2; swap++) {
            tri_attention_problem p = *own;
            if (change >= FULL && change <= CAUSAL_TOP_LEFT) {
                p.band = (tri_attention_band)(TRI_BAND_FULL + change - FULL);
                p.left = p.right = 0;
            }
            p.softcap = change == SOFTCAP ? !p.softcap : p.softcap;
            if (change >= DENSE)
                set_lengths(&p, lengths[change - DENSE], change == PAGED ? 16 : 0);
            if (swap)
                swap_types(&p);
            const bool same_family = p.band == own->band && p.softcap == own->softcap &&
                                     p.lengths == own->lengths && !p.page_size == !own->page_size &&
                                     p.in_type == own->in_type && p.out_type == own->out_type;
            if (!same_family && can_serve(own, &p))
                out[count++] = tri_attention_problem_of(&p);
        }
    }
    return count;
}
_Static_assert(TRI_BAND_CAUSAL == TRI_BAND_FULL + 1 && TRI_BAND_CAUSAL_TOP_LEFT == TRI_BAND_FULL + 2,
               "as above");
