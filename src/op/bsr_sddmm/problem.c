/* A problem's ranges, costs, and how far two are apart. */
#include "op/bsr_sddmm/bsr_sddmm.h"

#include <inttypes.h>
#include <math.h>

#define SIZE_LIMIT INT64_C(2147483647)
#define PRODUCT_LIMIT (INT64_C(1) << 62)

static triage_status check_range(const char *name, int64_t value, int64_t low, int64_t high) {
    if (value >= low && value <= high)
        return TRIAGE_OK;
    return tri_fail(TRIAGE_E_INVALID, "%s is %" PRId64 "; allowed %" PRId64 " .. %" PRId64, name, value, low,
                    high);
}

static triage_status check_divides(const char *name, int64_t size, const char *block_name, int64_t block) {
    if (size % block == 0)
        return TRIAGE_OK;
    return tri_fail(TRIAGE_E_INVALID, "%s is %" PRId64 "; allowed multiples of %s, %" PRId64, name, size,
                    block_name, block);
}

triage_status tri_sddmm_check_identity(const tri_problem *of) {
    const tri_sddmm_problem *p = tri_sddmm(of);
    triage_status status;
    TRI_TRY(check_range("in_type", (int64_t)p->in_type, TRIAGE_F32, TRIAGE_BF16));
    TRI_TRY(check_range("out_type", (int64_t)p->out_type, TRIAGE_F32, TRIAGE_BF16));
    TRI_TRY(check_range("y_layout", (int64_t)p->y_layout, TRIAGE_ROW_MAJOR, TRIAGE_COL_MAJOR));
    TRI_TRY(check_range("x_layout", (int64_t)p->x_layout, TRIAGE_ROW_MAJOR, TRIAGE_COL_MAJOR));
    TRI_TRY(check_range("m", p->m, 1, SIZE_LIMIT));
    TRI_TRY(check_range("n", p->n, 1, SIZE_LIMIT));
    TRI_TRY(check_range("k", p->k, 1, SIZE_LIMIT));
    TRI_TRY(check_range("block_m", p->block_m, 1, 1024));
    TRI_TRY(check_range("block_k", p->block_k, 1, 1024));
    TRI_TRY(check_divides("m", p->m, "block_m", p->block_m));
    TRI_TRY(check_divides("k", p->k, "block_k", p->block_k));
done:
    return status;
}

int64_t tri_sddmm_packed_ldy(const tri_sddmm_problem *p) {
    return p->y_layout == TRIAGE_ROW_MAJOR ? p->n : p->m;
}

int64_t tri_sddmm_packed_ldx(const tri_sddmm_problem *p) {
    return p->x_layout == TRIAGE_ROW_MAJOR ? p->n : p->k;
}

int64_t tri_sddmm_blocks(const tri_sddmm_problem *p) {
    return (p->m / p->block_m) * (p->k / p->block_k);
}

triage_status tri_sddmm_check(const tri_problem *of) {
    const tri_sddmm_problem *p = tri_sddmm(of);
    triage_status status;
    TRI_TRY(tri_sddmm_check_identity(of));
    const int64_t y_lines = p->y_layout == TRIAGE_ROW_MAJOR ? p->m : p->n;
    const int64_t x_lines = p->x_layout == TRIAGE_ROW_MAJOR ? p->k : p->n;
    const int64_t blocks = tri_sddmm_blocks(p);
    TRI_TRY(check_range("ldy", p->ldy, tri_sddmm_packed_ldy(p), (PRODUCT_LIMIT - 1) / y_lines));
    TRI_TRY(check_range("ldx", p->ldx, tri_sddmm_packed_ldx(p), (PRODUCT_LIMIT - 1) / x_lines));
    TRI_TRY(check_range("nnzb", p->nnzb, 1, blocks < SIZE_LIMIT ? blocks : SIZE_LIMIT));
done:
    return status;
}

/* ---- cost ---- */

double tri_sddmm_flops(const tri_problem *of) {
    const tri_sddmm_problem *p = tri_sddmm(of);
    return 2.0 * (double)p->nnzb * p->block_m * p->block_k * (double)p->n;
}

double tri_sddmm_dense_flops(const tri_problem *of) {
    const tri_sddmm_problem *p = tri_sddmm(of);
    return 2.0 * (double)p->m * (double)p->n * (double)p->k;
}

double tri_sddmm_bytes(const tri_problem *of) {
    const tri_sddmm_problem *p = tri_sddmm(of);
    const double in = (double)tri_dtype_size(p->in_type), out = (double)tri_dtype_size(p->out_type);
    const double indices = 4.0 * ((double)p->nnzb + (double)p->m / p->block_m + 1);
    return ((double)p->m + (double)p->k) * (double)p->n * in + indices +
           (double)p->nnzb * p->block_m * p->block_k * out;
}

/* The key has the density to two digits: the fewest blocks that it may stand for, which could all lie in as few rows and
 * columns as hold them. */
void tri_sddmm_least_work(tri_least_work *out, const tri_problem *of) {
    const tri_sddmm_problem *p = tri_sddmm(of);
    const double in = (double)tri_dtype_size(p->in_type);
    int64_t fewest, most;
    tri_fingerprint_blocks(&fewest, &most, &p->fingerprint, tri_sddmm_blocks(p));
    const double blocks = fewest > 0 ? (double)fewest : 1;
    const double rows = ceil(blocks / ((double)p->k / p->block_k)),
                 columns = ceil(blocks / ((double)p->m / p->block_m));
    out->dtype = p->in_type;
    out->flops = 2 * blocks * p->block_m * p->block_k * (double)p->n;
    out->input_bytes = (rows * p->block_m + columns * p->block_k) * (double)p->n * in;
    out->output_bytes = blocks * p->block_m * p->block_k * (double)tri_dtype_size(p->out_type);
}

/* What the bench keeps on the host: Y, X, and D five times (input, two expected results, two examined). */
double tri_sddmm_host_bytes(const tri_problem *of) {
    const tri_sddmm_problem *p = tri_sddmm(of);
    return ((double)p->m + (double)p->k) * (double)p->n * (double)tri_dtype_size(p->in_type) +
           5 * (double)p->nnzb * p->block_m * p->block_k * (double)tri_dtype_size(p->out_type);
}

/* ---- distance ---- */

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
