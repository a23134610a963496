/* What a sampled product must do at least, whatever kernel does it: its operations, its bytes, and what measuring it takes on
 * the host. */
#include "op/bsr_sddmm/bsr_sddmm.h"

#include <math.h>

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
