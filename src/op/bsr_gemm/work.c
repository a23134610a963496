/* What a product must do at least, whatever kernel does it: its operations, its bytes, and what measuring it takes on the host. */
#include "op/bsr_gemm/bsr_gemm.h"

#include <math.h>

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
