/* attention on the CPU, the yardstick: O = softmax(scale Q K^T + mask) V, row by row.
 *
 *   Q [batch][heads_q][sq][d], K, V [batch][heads_kv][sk][d or dv], any strides, lengths, pages, masks: args.h
 *
 * Sums in float32. The weights of a row are exp(score - largest score of the row); each is rounded to the type of V
 * before it meets V (e4m3: 256 times itself), as a tensor core's operand has to be, and the sum that they are divided
 * by is of those not rounded. Its error is what others may at most double.
 *
 *   query of a head:  largest score of the keys that it sees;  once more: weight, sum, weight times V
 *
 * Parameters, all set by the problem:
 *   in_type, out_type  float, f16_t, bf16_t; in_type also e4m3_t
 *   d, dv              1 .. 256
 *   left, right, top_left, softcap, mask_m, mask_n: args.h
 */
#include "lib/host_fp8.h"
#include "attention/mask.h"

typedef {{in_type}} in_t;   // Q, K and V: float, f16_t, bf16_t, e4m3_t
typedef {{out_type}} out_t; // O: float, f16_t, bf16_t
enum {
    kD = {{d}},              // of a head of Q and K
    kDv = {{dv}},            // of a head of V and O
    kLeft = {{left}},        // 1: args.left counts
    kRight = {{right}},      // 1: args.right counts
    kTopLeft = {{top_left}}, // 1: query 0 sees key 0, else the last query the last key
    kSoftcap = {{softcap}},  // 1: scores are capped
    kMaskM = {{mask_m}},     // queries of a block of the mask; 0: no block mask
    kMaskN = {{mask_n}},     // keys of a block
};

/* A query of a head, and what its loops need. */
typedef struct query {
    const tri_attention_args *args;
    tri_attention_sequence sequence;
    int b, head, kv;
    long long i;
    float q[kD];
    float scale; /* log2(e) and the scales of e4m3 with it */
} query;

static float scale_of(const float *scales, const tri_attention_args *args, int b, int kv)
{
    return scales ? scales[(long long)b * args->heads_kv + kv] : 1.0f;
}

static void load_query(query *to, const tri_attention_args *args, int b, int head, long long i)
{
    int kv = head / (args->heads_q / args->heads_kv);
    float scale = args->scale_log2 * scale_of(args->scale_q, args, b, kv) * scale_of(args->scale_k, args, b, kv);
    *to = (query){.args = args, .sequence = tri_attention_sequence_of(args, b), .b = b, .head = head, .kv = kv,
                  .i = i, .scale = scale};
    const in_t *q = (const in_t *)args->q + tri_attention_query_at(args, args->q_stride, &to->sequence, b, head, i);
    for (int x = 0; x < kD; x++)
        to->q[x] = to_float(q[x]);
}

/* Before its scale: differences of large scores are then exact. A capped one has its scale, as log2. */
static float score_of(const query *of, long long j)
{
    const tri_attention_args *args = of->args;
    const in_t *k = (const in_t *)args->k +
                    tri_attention_key_at(args, args->k_stride, &of->sequence, of->b, of->kv, j);
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (int x = 0; x < kD; x++)
        sum += of->q[x] * to_float(k[x]);
    if (!kSoftcap)
        return sum;
    return args->softcap * 1.44269504f * tanhf(sum * of->scale * 0.693147181f / args->softcap);
}

/* Of 0 .. 448, to 3 bits behind the first one, nearest even. */
static inline float e4m3_rounded(float value)
{
    float smallest = value > 0x1p-6f ? value : 0x1p-6f; /* of the normal numbers */
    float step = float_of_bits(bits_of_float(smallest) & 0x7f800000u) * 0x1p-3f;
    return rintf(value / step) * step;
}

/* As an operand of a tensor core: of the type of V. */
static float rounded(float weight)
{
    return _Generic((in_t){0},
        float: weight,
        f16_t: float_from_f16(f16_from_float(weight)),
        bf16_t: float_from_bf16(bf16_from_float(weight)),
        e4m3_t: e4m3_rounded(weight * 256.0f) * (1.0f / 256.0f));
}

static void add_value(float *o, const query *of, long long j, float weight)
{
    const tri_attention_args *args = of->args;
    const in_t *v = (const in_t *)args->v +
                    tri_attention_key_at(args, args->v_stride, &of->sequence, of->b, of->kv, j);
    for (int x = 0; x < kDv; x++)
        o[x] += weight * to_float(v[x]);
}

static tri_attention_runs runs_of(const query *of)
{
    const tri_attention_args *args = of->args;
    return tri_attention_runs_of(args, &of->sequence, kLeft ? args->left : -1, kRight ? args->right : -1, kTopLeft,
                                 kMaskM, of->b, of->head, of->i);
}

static float largest_score(const query *of)
{
    float most = -INFINITY;
    tri_attention_runs runs = runs_of(of);
    while (tri_attention_next_run(&runs, of->args, kMaskN))
        for (long long j = runs.run.begin; j < runs.run.end; j++)
            if (tri_attention_run_sees(&runs, of->args, kMaskM, kMaskN, of->i, j))
                most = fmaxf(most, score_of(of, j));
    return most;
}

static void attend(const query *of)
{
    const tri_attention_args *args = of->args;
    float o[kDv] = {0}, sum = 0.0f, most = largest_score(of), scale = kSoftcap ? 1.0f : of->scale;
    tri_attention_runs runs = runs_of(of);
    while (tri_attention_next_run(&runs, args, kMaskN))
        for (long long j = runs.run.begin; j < runs.run.end; j++) {
            if (!tri_attention_run_sees(&runs, args, kMaskM, kMaskN, of->i, j))
                continue;
            float weight = exp2f((score_of(of, j) - most) * scale);
            sum += weight;
            add_value(o, of, j, rounded(weight));
        }
    float factor = sum > 0.0f ? scale_of(args->scale_v, args, of->b, of->kv) / sum : 0.0f;
    out_t *to = (out_t *)args->o +
                tri_attention_query_at(args, args->o_stride, &of->sequence, of->b, of->head, of->i);
    for (int x = 0; x < kDv; x++)
        store_float(to + x, o[x] * factor);
    if (args->lse)
        args->lse[tri_attention_query_at(args, args->lse_stride, &of->sequence, of->b, of->head, of->i)] =
            sum > 0.0f ? (most * scale + log2f(sum)) * 0.693147181f : -INFINITY;
}

void triage_kernel(const tri_attention_args *args);

void triage_kernel(const tri_attention_args *args)
{
    long long heads = (long long)args->batch * args->heads_q;
#pragma omp parallel for schedule(dynamic, 8)
    for (long long row = 0; row < heads * args->sq; row++) {
        int b = (int)(row / args->sq / args->heads_q), head = (int)(row / args->sq % args->heads_q);
        query of;
        if (row % args->sq >= tri_attention_sequence_of(args, b).sq)
            continue;
        load_query(&of, args, b, head, row % args->sq);
        attend(&of);
    }
}
