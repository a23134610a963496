/* A problem's ranges, costs, and how far two are apart. */
#include "op/bsr_gemm/bsr_gemm.h"

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

static triage_status check_types(const tri_bsr_problem *problem) {
    triage_status status;
    TRI_TRY(check_range("in_type", (int64_t)problem->in_type, TRIAGE_F32, TRIAGE_E4M3));
    TRI_TRY(check_range("out_type", (int64_t)problem->out_type, TRIAGE_F32, TRIAGE_BF16));
    TRI_TRY(check_range("b_layout", (int64_t)problem->b_layout, TRIAGE_ROW_MAJOR, TRIAGE_COL_MAJOR));
    TRI_TRY(check_range("c_layout", (int64_t)problem->c_layout, TRIAGE_ROW_MAJOR, TRIAGE_COL_MAJOR));
    TRI_TRY(check_range("activation", (int64_t)problem->activation, TRIAGE_ACT_NONE, TRIAGE_ACT_SILU));
    TRI_TRY(check_range("scale_per_block", problem->scale_per_block, 0, problem->in_type == TRIAGE_E4M3));
done:
    return status;
}

triage_status tri_bsr_check_identity(const tri_problem *of) {
    const tri_bsr_problem *problem = tri_bsr(of);
    triage_status status;
    TRI_TRY(check_types(problem));
    TRI_TRY(check_range("m", problem->m, 1, SIZE_LIMIT));
    TRI_TRY(check_range("n", problem->n, 1, SIZE_LIMIT));
    TRI_TRY(check_range("k", problem->k, 1, SIZE_LIMIT));
    TRI_TRY(check_range("block_m", problem->block_m, 1, 1024));
    TRI_TRY(check_range("block_k", problem->block_k, 1, 1024));
    TRI_TRY(check_divides("m", problem->m, "block_m", problem->block_m));
    TRI_TRY(check_divides("k", problem->k, "block_k", problem->block_k));
done:
    return status;
}

int64_t tri_bsr_packed_ldb(const tri_bsr_problem *problem) {
    return problem->b_layout == TRIAGE_ROW_MAJOR ? problem->n : problem->k;
}

int64_t tri_bsr_packed_ldc(const tri_bsr_problem *problem) {
    return problem->c_layout == TRIAGE_ROW_MAJOR ? problem->n : problem->m;
}

int64_t tri_bsr_blocks(const tri_bsr_problem *problem) {
    return (problem->m / problem->block_m) * (problem->k / problem->block_k);
}

/* m, n and k are below 2^31, so their products are below 2^62 by themselves; those with a leading
 * dimension need their own limit. */
triage_status tri_bsr_check(const tri_problem *of) {
    const tri_bsr_problem *problem = tri_bsr(of);
    triage_status status;
    TRI_TRY(tri_bsr_check_identity(of));
    int64_t b_lines = problem->b_layout == TRIAGE_ROW_MAJOR ? problem->k : problem->n;
    int64_t c_lines = problem->c_layout == TRIAGE_ROW_MAJOR ? problem->m : problem->n;
    int64_t blocks = tri_bsr_blocks(problem);
    TRI_TRY(check_range("ldb", problem->ldb, tri_bsr_packed_ldb(problem), (PRODUCT_LIMIT - 1) / b_lines));
    TRI_TRY(check_range("ldc", problem->ldc, tri_bsr_packed_ldc(problem), (PRODUCT_LIMIT - 1) / c_lines));
    TRI_TRY(check_range("nnzb", problem->nnzb, 0, blocks < SIZE_LIMIT ? blocks : SIZE_LIMIT));
    TRI_TRY(check_range("elements of A's blocks",
                        problem->nnzb * ((int64_t)problem->block_m * problem->block_k), 0,
                        PRODUCT_LIMIT - 1));
done:
    return status;
}

size_t tri_bsr_scales(const tri_problem *of) {
    const tri_bsr_problem *problem = tri_bsr(of);
    return problem->scale_per_block && problem->nnzb > 0 ? (size_t)problem->nnzb : 1;
}

/* ---- cost ---- */

double tri_bsr_flops(const tri_problem *of) {
    const tri_bsr_problem *problem = tri_bsr(of);
    return 2.0 * (double)problem->nnzb * problem->block_m * problem->block_k * (double)problem->n;
}

double tri_bsr_dense_flops(const tri_problem *of) {
    const tri_bsr_problem *problem = tri_bsr(of);
    return 2.0 * (double)problem->m * (double)problem->n * (double)problem->k;
}

double tri_bsr_bytes(const tri_problem *of) {
    const tri_bsr_problem *problem = tri_bsr(of);
    double in = (double)tri_dtype_size(problem->in_type), out = (double)tri_dtype_size(problem->out_type);
    double values = (double)problem->nnzb * problem->block_m * problem->block_k * in;
    int64_t block_rows = problem->m / problem->block_m;
    double indices = 4.0 * ((double)problem->nnzb + (double)block_rows + 1);
    double b = (double)problem->k * (double)problem->n * in,
           c = (double)problem->m * (double)problem->n * out;
    double scales = problem->scale_per_block ? 4.0 * (double)problem->nnzb : 0;
    return values + scales + indices + b + c + (problem->bias ? (double)problem->m * out : 0);
}

/* The key has the density to two digits: the fewest blocks that it may stand for. Of B at least as many block rows as an
 * average block row of A has blocks. */
void tri_bsr_least_work(tri_least_work *out, const tri_problem *of) {
    const tri_bsr_problem *problem = tri_bsr(of);
    const double in = (double)tri_dtype_size(problem->in_type);
    int64_t fewest, most;
    tri_fingerprint_blocks(&fewest, &most, &problem->fingerprint, tri_bsr_blocks(problem));
    const double blocks = (double)fewest;
    const double columns = ceil(blocks / ((double)problem->m / problem->block_m));
    out->dtype = problem->in_type;
    out->flops = 2 * blocks * problem->block_m * problem->block_k * (double)problem->n;
    out->input_bytes = blocks * problem->block_m * problem->block_k * in +
                       columns * problem->block_k * (double)problem->n * in;
    out->output_bytes = (double)problem->m * (double)problem->n * (double)tri_dtype_size(problem->out_type);
}

/* What the bench keeps on the host: A, B, and C five times (input, two expected results, two examined). */
double tri_bsr_host_bytes(const tri_problem *of) {
    const tri_bsr_problem *problem = tri_bsr(of);
    double in = (double)tri_dtype_size(problem->in_type), out = (double)tri_dtype_size(problem->out_type);
    double a = (double)problem->nnzb * problem->block_m * problem->block_k * in;
    double b = (double)problem->k * (double)problem->n * in;
    double c = (double)problem->m * (double)problem->n * out;
    return a + b + 5 * c;
}

/* ---- distance ---- */

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
