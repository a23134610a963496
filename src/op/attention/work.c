/* What a pass must do at least, whatever kernel does it: its operations, its bytes, and what measuring it takes on the host. */
#include "op/attention/attention.h"

#include <math.h>

double tri_attention_flops(const tri_attention_problem *problem) {
    return 2.0 * (double)problem->pairs * (problem->d + problem->dv);
}

double tri_attention_dense_flops(const tri_attention_problem *problem) {
    double pairs =
        (double)problem->batch * (double)problem->heads_q * (double)problem->sq * (double)problem->sk;
    return 2 * pairs * (problem->d + problem->dv);
}

double tri_attention_bytes(const tri_attention_problem *p) {
    double in = (double)tri_dtype_size(p->in_type), out = (double)tri_dtype_size(p->out_type);
    double queries = (double)p->queries * (double)p->heads_q, keys = (double)p->keys * (double)p->heads_kv;
    double lists =
        p->mask.rows ? (double)tri_attention_mask_rows(p) * (8 + 4.0 * p->mask.fingerprint.density_e4 / 1e4 *
                                                                     (double)tri_attention_mask_cols(p))
                     : 0;
    double pages = p->page_size ? 4 * (double)p->batch * ceil((double)p->sk / p->page_size) : 0;
    double lse = p->lse ? 4 * queries : 0;
    return queries * (p->d * in + p->dv * out) + keys * (p->d + p->dv) * in + lists + pages + lse;
}

/* Which pairs lists leave is not in the key: then only what must be written and read counts. */
void tri_attention_least_work(tri_least_work *out, const tri_problem *of) {
    const tri_attention_problem *p = tri_attention(of);
    double queries = (double)p->queries * (double)p->heads_q, keys = (double)p->keys * (double)p->heads_kv;
    double in = (double)tri_dtype_size(p->in_type);
    bool lists = p->mask.rows > 0, window = p->band == TRI_BAND_WINDOW;
    *out = (tri_least_work){.dtype = p->in_type,
                            .flops = lists ? 0 : tri_attention_flops(p),
                            .input_bytes =
                                queries * p->d * in + (lists || window ? 0 : keys * (p->d + p->dv) * in),
                            .output_bytes = queries * p->dv * (double)tri_dtype_size(p->out_type)};
}

/* Inputs, and the results of the plain kernel, of the candidate and of its first run. */
double tri_attention_host_bytes(const tri_problem *of) {
    const tri_attention_problem *p = tri_attention(of);
    double o = (double)p->queries * (double)p->heads_q * p->dv * (double)tri_dtype_size(p->out_type);
    double bits = p->mask.bits ? tri_attention_bytes(p) / 8 : 0;
    return tri_attention_bytes(p) + (double)(2 + tri_attention_cases(p)) * o + bits;
}
