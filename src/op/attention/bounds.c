/* Where attention's results are, and what bounds a right one. */
#include "op/attention/attention.h"

#include <math.h>

/* What bounds a right result. u and w are the unit roundoffs of O's type and of what a weight is rounded to before it
 * meets V (the type of V, as a tensor core wants it; f32: 0), v = 2^-24, T the keys of a row, s the largest score of
 * the inputs (inputs.c: 12), e what a score may be off by.
 *
 * Scores. A sum of d products of float32, of which the largest partial sum is about the score: s v (4 + sqrt(d)), four
 * for scale, cap, exponential and difference. Very large scores of the inputs are whole numbers: exact. e4m3: scores are
 * up to 35 by their scales, and some tensor cores keep 14 bits of a sum: 2^-13 of it each of the d / 32 steps, at most
 * 8, in one direction:   e = s v (4 + sqrt(d))      e4m3: + 8 * 35 * 2^-13 / 3 (a third of the worst, which needs all
 * steps at their largest).
 * O, element, in units of u (|O| + rms): the last rounding 1; weights w / sqrt(3) each in the mean square, of as much of
 * the sum as they are, hence 0.58 w of the rms, six sigma 3.5 w; sums as in check/verdict.c; scores e, twice for the
 * difference to the row's mean:
 *       Xe = 1 + (3.5 w + (8 + 2.5 sqrt(T)) v + 2 e) / u
 * O, row: both roundings are independent, 0.6 of a unit each in the mean square; a mean of n values strays by a few
 * 1 / sqrt(n):
 *       Xr = min(u Xe, (sqrt((0.6 u)^2 + (0.6 w)^2) + (8 + 0.41 sqrt(T)) v + e) (1 + 6 / sqrt(n)))
 * LSE, absolutely, where it is less than 1, else of it: no weight is rounded in the sum.
 *       Xl = (8 + 2.5 sqrt(T)) v + e
 * Y >= 2/3 X as there; the plain kernel, whose sums are float32 of any type, counts as wrong from 8 (u + w + (8 +
 * sqrt(T)) v + s v (4 + sqrt(d))) on. */
#define F32_UNIT 0x1p-24
#define LARGEST_SCORE 12

static double unit_of(triage_dtype type) {
    static const double units[] = {F32_UNIT, 0x1p-11, 0x1p-8, 0x1p-4};
    return units[type];
}

static double exact_score_error(const tri_attention_problem *p) {
    return LARGEST_SCORE * F32_UNIT * (4 + sqrt((double)p->d));
}

static double score_error(const tri_attention_problem *p) {
    return exact_score_error(p) + (p->in_type == TRIAGE_E4M3 ? 8 * 35 * 0x1p-13 / 3 : 0);
}

static tri_view view_of_o(const tri_attention_problem *p, int64_t rows) {
    double u = unit_of(p->out_type), w = p->in_type == TRIAGE_F32 ? 0 : unit_of(p->in_type);
    double terms = sqrt((double)p->sk), e = score_error(p);
    double element = 1 + (3.5 * w + (8 + 2.5 * terms) * F32_UNIT + 2 * e) / u;
    double mean = 0.6 * sqrt(u * u + w * w) + (8 + 0.41 * terms) * F32_UNIT + e;
    double row = fmin(u * element, mean * (1 + 6 / sqrt((double)p->dv)));
    return (tri_view){.name = "O",
                      .dtype = p->out_type,
                      .rows = rows,
                      .cols = p->dv,
                      .ld = p->dv,
                      .terms = (double)p->sk,
                      .row_floor = row * 2 / 3,
                      .element_floor = element * 2 / 3,
                      .sane = 8 * (u + w + (8 + terms) * F32_UNIT + exact_score_error(p))};
}

static tri_view view_of_lse(const tri_attention_problem *p, int64_t rows) {
    double off = (8 + 2.5 * sqrt((double)p->sk)) * F32_UNIT + score_error(p);
    return (tri_view){.name = "LSE",
                      .dtype = TRIAGE_F32,
                      .rows = rows,
                      .cols = 1,
                      .ld = 1,
                      .terms = (double)p->sk,
                      .minus_infinity = true,
                      .scale = 1,
                      .row_floor = off * 2 / 3,
                      .element_floor = off / F32_UNIT * 2 / 3,
                      .sane = 8 * off};
}

size_t tri_attention_views(tri_view out[TRI_VIEWS_MAX], const tri_problem *of) {
    const tri_attention_problem *p = tri_attention(of);
    int64_t rows = p->queries * p->heads_q;
    out[0] = view_of_o(p, rows);
    if (p->lse)
        out[1] = view_of_lse(p, rows);
    return p->lse ? 2 : 1;
}

int tri_attention_before(const tri_problem *problem, size_t case_index, size_t view) {
    (void)problem, (void)case_index, (void)view;
    return -1;
}
