/* attention, the yardstick: O = softmax(scale Q K^T + mask) V, a warp a row. And what runs where no other kernel can:
 * any head up to 256, any stride, any alignment, every kind of mask, length and page of args.h.
 *
 *   Q [batch][heads_q][sq][d], K, V [batch][heads_kv][sk][d or dv]
 *
 * Sums in float32. A weight is exp(score - largest score of the row so far), rounded to the type of V before it meets V
 * (e4m3: 256 times itself), as a tensor core's operand has to be; the sum that rows are divided by is of those not
 * rounded. Its error is what others may at most double. Runs wherever the compiler goes.
 *
 *   warp: a row       32 keys at a time: lane = key      score; largest of the warp; weight
 *                                        lane = column   o = o * shrink + weight of each key * its row of V
 */
#include "attention/mask.h"
#include "lib/store.cuh"

using in_t = {{in_type}};               // Q, K and V: float, __half, __nv_bfloat16, fp8
using out_t = {{out_type}};             // O: float, __half, __nv_bfloat16
constexpr int kD = {{d}};               // of a head of Q and K
constexpr int kDv = {{dv}};             // of a head of V and O
constexpr int kLeft = {{left}};         // 1: args.left counts
constexpr int kRight = {{right}};       // 1: args.right counts
constexpr int kTopLeft = {{top_left}};  // 1: query 0 sees key 0, else the last query the last key
constexpr int kSoftcap = {{softcap}};   // 1: scores are capped
constexpr int kMaskM = {{mask_m}};      // queries of a block of the mask; 0: no block mask
constexpr int kMaskN = {{mask_n}};      // keys of a block

constexpr int kWarps = 8;                    // of a CTA
constexpr int kColumns = (kDv + 31) / 32;    // of V, a lane
constexpr float kLog2e = 1.44269504f;
constexpr float kLn2 = 0.693147181f;
constexpr unsigned kAll = 0xffffffffu;

static_assert(kD >= 1 && kD <= 256 && kDv >= 1 && kDv <= 256, "head dimensions");

__device__ __forceinline__ float minus_infinity()
{
    return __int_as_float(0xff800000);
}

/* As an operand of a tensor core: of the type of V. */
__device__ float rounded(float weight)
{
    if constexpr (sizeof(in_t) == 1)
        return to_float(in_t(weight * 256.0f)) * (1.0f / 256.0f);
    return to_float(in_t(weight));
}

__device__ float scale_of(const float *scales, const tri_attention_args &args, int b, int kv)
{
    return scales ? scales[(long long)b * args.heads_kv + kv] : 1.0f;
}

__device__ float warp_max(float value)
{
    for (int lane = 16; lane > 0; lane /= 2)
        value = fmaxf(value, __shfl_xor_sync(kAll, value, lane));
    return value;
}

__device__ float warp_sum(float value)
{
    for (int lane = 16; lane > 0; lane /= 2)
        value += __shfl_xor_sync(kAll, value, lane);
    return value;
}

/* A query of a head, and how far it is. */
struct row_state {
    tri_attention_sequence sequence;
    int b, head, kv;
    long long i;
    float scale;       // log2(e) and the scales of e4m3 with it; 1 where scores are capped
    float most, sum;   // of the scores, of the weights
    float o[kColumns]; // columns lane, lane + 32, ...
};

/* Before its scale: differences of large scores are then exact. A capped one has its scale, as log2. */
__device__ float score_of(const tri_attention_args &args, const row_state &row, const float *q, long long j)
{
    const in_t *k = static_cast<const in_t *>(args.k) +
                    tri_attention_key_at(&args, args.k_stride, &row.sequence, row.b, row.kv, j);
    float sum = 0.0f;
    for (int x = 0; x < kD; x++)
        sum = fmaf(q[x], to_float(k[x]), sum);
    if (!kSoftcap)
        return sum;
    float scale = args.scale_log2 * scale_of(args.scale_q, args, row.b, row.kv) *
                  scale_of(args.scale_k, args, row.b, row.kv);
    return args.softcap * kLog2e * tanhf(sum * scale * kLn2 / args.softcap);
}

/* Keys first .. first + 31, those that are seen. */
__device__ void take_keys(const tri_attention_args &args, row_state &row, const float *q,
                          const tri_attention_runs &runs, long long first)
{
    int lane = threadIdx.x % 32;
    long long j = first + lane;
    bool seen = j < runs.run.end && tri_attention_run_sees(&runs, &args, kMaskM, kMaskN, row.i, j);
    float score = seen ? score_of(args, row, q, j) : minus_infinity();
    float most = fmaxf(row.most, warp_max(score));
    if (most == minus_infinity())
        return;
    float shrink = exp2f((row.most - most) * row.scale);
    float weight = seen ? exp2f((score - most) * row.scale) : 0.0f;
    row.most = most;
    row.sum = row.sum * shrink + warp_sum(weight);
    for (int x = 0; x < kColumns; x++)
        row.o[x] *= shrink;
    unsigned who = __ballot_sync(kAll, seen);
    float operand = rounded(weight);
    for (int key = 0; key < 32; key++) {
        float of_key = __shfl_sync(kAll, operand, key);
        if (!(who >> key & 1)) // what stands there may be NaN
            continue;
        const in_t *v = static_cast<const in_t *>(args.v) +
                        tri_attention_key_at(&args, args.v_stride, &row.sequence, row.b, row.kv, first + key);
        for (int x = 0; x < kColumns; x++)
            if (lane + 32 * x < kDv)
                row.o[x] = fmaf(of_key, to_float(v[lane + 32 * x]), row.o[x]);
    }
}

__device__ void store_row(const tri_attention_args &args, const row_state &row)
{
    int lane = threadIdx.x % 32;
    float factor = row.sum > 0.0f ? scale_of(args.scale_v, args, row.b, row.kv) / row.sum : 0.0f;
    out_t *o = static_cast<out_t *>(args.o) +
               tri_attention_query_at(&args, args.o_stride, &row.sequence, row.b, row.head, row.i);
    for (int x = 0; x < kColumns; x++)
        if (lane + 32 * x < kDv)
            o[lane + 32 * x] = out_t(row.o[x] * factor);
    if (args.lse && lane == 0)
        args.lse[tri_attention_query_at(&args, args.lse_stride, &row.sequence, row.b, row.head, row.i)] =
            row.sum > 0.0f ? (row.most * row.scale + log2f(row.sum)) * kLn2 : minus_infinity();
}

/* grid: any; a warp takes each (gridDim * kWarps)-th row. */
extern "C" __global__ void __launch_bounds__(32 * kWarps) triage_kernel(const __grid_constant__ tri_attention_args args)
{
    __shared__ float queries[kWarps][kD];
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    float *q = queries[warp];
    long long rows = (long long)args.batch * args.heads_q * args.sq;
    for (long long at = (long long)blockIdx.x * kWarps + warp; at < rows; at += (long long)gridDim.x * kWarps) {
        row_state row = {};
        row.i = at % args.sq;
        row.head = at / args.sq % args.heads_q;
        row.b = at / args.sq / args.heads_q;
        row.kv = row.head / (args.heads_q / args.heads_kv);
        row.sequence = tri_attention_sequence_of(&args, row.b);
        row.most = minus_infinity();
        row.scale = kSoftcap ? 1.0f
                             : args.scale_log2 * scale_of(args.scale_q, args, row.b, row.kv) *
                                   scale_of(args.scale_k, args, row.b, row.kv);
        if (row.i >= row.sequence.sq)
            continue;
        const in_t *from = static_cast<const in_t *>(args.q) +
                           tri_attention_query_at(&args, args.q_stride, &row.sequence, row.b, row.head, row.i);
        for (int x = lane; x < kD; x += 32)
            q[x] = to_float(from[x]);
        __syncwarp();
        tri_attention_runs runs =
            tri_attention_runs_of(&args, &row.sequence, kLeft ? args.left : -1, kRight ? args.right : -1, kTopLeft,
                                  kMaskM, row.b, row.head, row.i);
        while (tri_attention_next_run(&runs, &args, kMaskN))
            for (long long first = runs.run.begin; first < runs.run.end; first += 32)
                take_keys(args, row, q, runs, first);
        store_row(args, row);
        __syncwarp();
    }
}
