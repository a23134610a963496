/* A pattern in three numbers. Only +, *, / and sqrt, which every machine rounds alike. */
#include "pattern/pattern.h"

#include <math.h>

/* To two significant digits; x is in 1/10000. */
static int32_t quantise_density(double x) {
    double unit = 1;
    while (x / unit >= 99.5)
        unit *= 10;
    return (int32_t)(floor(x / unit + 0.5) * unit);
}

void tri_fingerprint_blocks(int64_t *fewest, int64_t *most, const tri_fingerprint *fingerprint,
                            int64_t blocks) {
    const double density = fingerprint->density_e4, all = (double)blocks;
    double unit = 1;
    while (density / unit >= 99.5)
        unit *= 10;
    *fewest =
        (int64_t)ceil(fmax(0, density - unit / 2) / 1e4 * all * (1 - 1e-12)); /* whole, but for rounding */
    *most = (int64_t)fmin(all, ceil((density + unit / 2) / 1e4 * all));
}

/* 10 * 2^(step / 2), rounded. */
static int32_t imbalance_of_step(int step) {
    double even = 10.0 * (double)(INT64_C(1) << (step / 2));
    return (int32_t)(step % 2 ? even * 1.4142135623730951 + 0.5 : even);
}

#define LAST_STEP 54 /* 10 * 2^27 */

/* The step s with 2^((s - 1/2) / 2) <= ratio < 2^((s + 1/2) / 2). */
static int32_t quantise_imbalance(double ratio) {
    double fourth = ratio * ratio * ratio * ratio;
    int step = 0;
    while (fourth >= 2 && step < LAST_STEP) {
        fourth /= 4;
        step++;
    }
    return imbalance_of_step(step);
}

static int64_t longest_row(const tri_pattern *pattern) {
    int64_t longest = 0;
    for (int64_t row = 0; row < pattern->block_rows; row++) {
        int64_t length = pattern->row_ptr[row + 1] - pattern->row_ptr[row];
        longest = length > longest ? length : longest;
    }
    return longest;
}

static int64_t count_common(const int32_t *a, int64_t a_size, const int32_t *b, int64_t b_size) {
    int64_t common = 0;
    for (int64_t i = 0, j = 0; i < a_size && j < b_size;) {
        common += a[i] == b[j];
        int64_t step_i = a[i] <= b[j], step_j = b[j] <= a[i];
        i += step_i;
        j += step_j;
    }
    return common;
}

/* Mean overlap of neighbours, 0 .. 1; pairs with an empty row have none to speak of and do not count.
 * *weight: the blocks behind it, for its noise. */
static double mean_overlap(double *weight, const tri_pattern *pattern) {
    double sum = 0, pairs = 0;
    *weight = 0;
    for (int64_t row = 0; row + 1 < pattern->block_rows; row++) {
        const int32_t *at = pattern->row_ptr + row;
        int64_t a = at[1] - at[0], b = at[2] - at[1], smaller = a < b ? a : b;
        if (smaller == 0)
            continue;
        int64_t common = count_common(pattern->col_idx + at[0], a, pattern->col_idx + at[1], b);
        sum += (double)common / (double)smaller;
        pairs += 1;
        *weight += (double)smaller;
    }
    return pairs > 0 ? sum / pairs : 0;
}

/* Random columns overlap by the density, give or take the noise of a draw. Within that (and 0.05, half a
 * unit) a pattern counts as random and gets the density's own rounding; else a random pattern of density
 * 0.05 or 0.15 would fall on either side of a rounding edge, depending on its seed. */
static int32_t quantise_overlap(const tri_pattern *pattern, int32_t density_e4) {
    double weight, overlap = mean_overlap(&weight, pattern), density = density_e4 / 1e4;
    if (weight == 0)
        return 0;
    double noise = 4 * sqrt(density * (1 - density) / weight);
    if (fabs(overlap - density) <= 0.05 + noise)
        overlap = density;
    return (int32_t)(overlap * 10 + 0.5);
}

void tri_fingerprint_of(tri_fingerprint *out, const tri_pattern *pattern) {
    double blocks = (double)pattern->block_rows * (double)pattern->block_cols;
    out->density_e4 = quantise_density(1e4 * (double)pattern->nnzb / blocks);
    double mean = (double)pattern->nnzb / (double)pattern->block_rows;
    out->imbalance_e1 = quantise_imbalance(pattern->nnzb ? (double)longest_row(pattern) / mean : 1);
    out->overlap_e1 = quantise_overlap(pattern, out->density_e4);
}

void tri_fingerprint_even(tri_fingerprint *out, double density) {
    int32_t density_e4 = quantise_density(1e4 * density);
    *out = (tri_fingerprint){density_e4, imbalance_of_step(0), (int32_t)(density_e4 / 1e3 + 0.5)};
}

bool tri_fingerprint_is_quantised(const tri_fingerprint *fingerprint) {
    int32_t density = fingerprint->density_e4, imbalance = fingerprint->imbalance_e1;
    if (density < 0 || density > 10000 || quantise_density(density) != density)
        return false;
    int step = 0;
    while (step < LAST_STEP && imbalance_of_step(step) < imbalance)
        step++;
    return imbalance_of_step(step) == imbalance && fingerprint->overlap_e1 >= 0 &&
           fingerprint->overlap_e1 <= 10;
}
