/* One row in float64, by the definition: scores, their maximum, exp, sum. Slow and plain. */
#include "op/attention/attention.h"
#include "attention/mask.h"

#include <math.h>
#include <stdlib.h>

/* ln(2) for args.scale_log2, whose float is what kernels get: the rounding of scale * log2(e) is no error of theirs. */
#define LN2 0.693147180559945309417232121458

/* Tensors of one row's head. */
typedef struct head {
    const tri_attention_problem *problem;
    const tri_attention_args *args;
    tri_attention_sequence sequence;
    int b, q, kv;
    double scale, scale_v; /* with those of e4m3 */
} head;

static double scale_at(const float *scales, int64_t at) {
    return scales ? (double)scales[at] : 1;
}

static head head_of(const tri_attention_problem *problem, const tri_attention_args *args, int b, int q) {
    int kv = q / (args->heads_q / args->heads_kv);
    int64_t at = (int64_t)b * args->heads_kv + kv;
    double scale = (double)args->scale_log2 * LN2 * scale_at(args->scale_q, at) * scale_at(args->scale_k, at);
    return (head){problem, args,  tri_attention_sequence_of(args, b), b, q,
                  kv,      scale, scale_at(args->scale_v, at)};
}

static double score_of(const head *of, int64_t i, int64_t j) {
    const tri_attention_args *args = of->args;
    triage_dtype type = of->problem->in_type;
    int64_t q = tri_attention_query_at(args, args->q_stride, &of->sequence, of->b, of->q, i);
    int64_t k = tri_attention_key_at(args, args->k_stride, &of->sequence, of->b, of->kv, j);
    double sum = 0;
    for (int x = 0; x < of->problem->d; x++)
        sum += (double)tri_to_float(args->q, type, (size_t)(q + x)) *
               (double)tri_to_float(args->k, type, (size_t)(k + x));
    sum *= of->scale;
    return of->problem->softcap ? (double)args->softcap * tanh(sum / (double)args->softcap) : sum;
}

static void add_values(double *o, const head *of, int64_t j, double weight) {
    const tri_attention_args *args = of->args;
    int64_t v = tri_attention_key_at(args, args->v_stride, &of->sequence, of->b, of->kv, j);
    for (int x = 0; x < of->problem->dv; x++)
        o[x] += weight * (double)tri_to_float(args->v, of->problem->in_type, (size_t)(v + x));
}

triage_status tri_attention_reference_row(double *o, double *lse, const tri_attention_problem *problem,
                                          const tri_attention_args *args, int b, int q, int64_t i) {
    triage_status status;
    head of = head_of(problem, args, b, q);
    int32_t *keys = NULL;
    double *scores = NULL, most = -INFINITY, sum = 0;
    TRI_TRY(tri_calloc(&keys, (size_t)of.sequence.sk + 1, sizeof *keys));
    int64_t count = tri_attention_keys(keys, problem, args, b, q, i);
    TRI_TRY(tri_calloc(&scores, (size_t)count + 1, sizeof *scores));
    for (int64_t at = 0; at < count; at++) {
        scores[at] = score_of(&of, i, keys[at]);
        most = fmax(most, scores[at]);
    }
    for (int x = 0; x < problem->dv; x++)
        o[x] = 0;
    for (int64_t at = 0; at < count; at++) {
        double weight = exp(scores[at] - most);
        sum += weight;
        add_values(o, &of, keys[at], weight);
    }
    for (int x = 0; x < problem->dv && count > 0; x++)
        o[x] *= of.scale_v / sum;
    *lse = count > 0 ? most + log(sum) : -INFINITY;
done:
    free(keys);
    free(scores);
    return status;
}
