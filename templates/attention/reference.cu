/* attention, the yardstick: O = softmax(scale Q K^T + mask) V, a CTA a tile of queries. And what runs where no other kernel
 * can: any head up to 256, any stride, any alignment, every kind of mask, length and page of args.h.
 *
 *   Q [batch][heads_q][sq][d], K, V [batch][heads_kv][sk][d or dv]
 *
 * Sums in float32. A weight is exp(score - largest score of the row so far), rounded to the type of V before it meets V
 * (e4m3: 256 times itself), as a tensor core's operand has to be; the sum that rows are divided by is of those not
 * rounded. Its error is what others may at most double. Runs wherever the compiler goes.
 *
 *   CTA: kRows queries of a head, 32 keys at a time, 64 columns of those in shared memory
 *     warp: kRows / 8 queries    K: lane = key        score of each query; largest of the warp; weight
 *                                V: lane = column     o = o * shrink + weight of each key * its row of V
 */
#include "attention/mask.h"
#include "lib/softmax.cuh"
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
constexpr int kRows = {{rows}};         // queries of a CTA: 16 or 32, at most a block of the mask

constexpr int kWarps = 8;                      // of a CTA
constexpr int kOwn = kRows / kWarps;           // queries of a warp
constexpr int kKeys = 32;                      // of a step: one a lane
constexpr int kChunk = 64;                     // columns of K or V in shared memory
constexpr int kPitch = kChunk + 4;             // floats of a row there: eight lanes' pieces of 16 bytes share no bank
constexpr int kSlices = (kD + kChunk - 1) / kChunk, kSlicesV = (kDv + kChunk - 1) / kChunk;
constexpr int kColumns = kChunk / 32;          // of a chunk of V, a lane
constexpr float kLog2e = 1.44269504f;
constexpr float kLn2 = 0.693147181f;
constexpr unsigned kAll = 0xffffffffu;

static_assert(kRows == 16 || kRows == 32, "one to four queries a warp");
static_assert(kMaskM % kRows == 0, "the queries of a CTA share a row of the mask");
static_assert(kD >= 1 && kD <= 256 && kDv >= 1 && kDv <= 256, "head dimensions");

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

/* A tile of queries of a head. */
struct task {
    tri_attention_sequence sequence;
    int b, head, kv;
    long long first; // query
    float scale;     // log2(e) and the scales of e4m3 with it
};

/* The queries of a warp, and how far they are. */
struct rows_t {
    tri_attention_span seen[kOwn]; // by the band; none behind the last query
    float most[kOwn], sum[kOwn];   // of the scores, of the weights
    float o[kOwn][kSlicesV][kColumns]; // columns lane, lane + 32, ...
};

using chunk_t = float[kKeys][kPitch];
using query_t = float[kSlices * kChunk];

__device__ task task_of(const tri_attention_args &args, long long at, int tiles)
{
    task t;
    t.first = at % tiles * kRows;
    t.head = at / tiles % args.heads_q;
    t.b = at / tiles / args.heads_q;
    t.kv = t.head / (args.heads_q / args.heads_kv);
    t.sequence = tri_attention_sequence_of(&args, t.b);
    t.scale = args.scale_log2 * scale_of(args.scale_q, args, t.b, t.kv) * scale_of(args.scale_k, args, t.b, t.kv);
    return t;
}

__device__ long long query_of(const task &t, int r) { return t.first + threadIdx.x / 32 * kOwn + r; }

__device__ tri_attention_span span_of(const tri_attention_args &args, const task &t, long long i)
{
    return tri_attention_span_of(&t.sequence, kLeft ? args.left : -1, kRight ? args.right : -1, kTopLeft, i);
}

/* What any query of the tile sees, in runs. Only the first ones may see nothing: they end before the first key. */
__device__ tri_attention_runs runs_of(const tri_attention_args &args, const task &t)
{
    long long last = min(t.first + kRows, t.sequence.sq) - 1;
    tri_attention_runs runs = tri_attention_runs_of(&args, &t.sequence, -1, -1, kTopLeft, kMaskM, t.b, t.head, t.first);
    runs.band.begin = span_of(args, t, t.first).begin;
    runs.band.end = span_of(args, t, last).end;
    return runs;
}

/* ---- load ---- */

/* Each warp its own queries; zeros where none is. */
__device__ void load_queries(query_t *q, rows_t &rows, const tri_attention_args &args, const task &t)
{
    rows = {};
    for (int r = 0; r < kOwn; r++) {
        bool there = query_of(t, r) < t.sequence.sq;
        const in_t *from = static_cast<const in_t *>(args.q) +
                           tri_attention_query_at(&args, args.q_stride, &t.sequence, t.b, t.head,
                                                  there ? query_of(t, r) : t.first);
        for (int x = threadIdx.x % 32; x < kSlices * kChunk; x += 32)
            q[r][x] = there && x < kD ? to_float(from[x]) : 0.0f;
        rows.most[r] = minus_infinity();
        if (there)
            rows.seen[r] = span_of(args, t, query_of(t, r));
    }
    __syncwarp();
}

/* Columns x0 .. of keys first .. end - 1, at most 32 of them; zeros for what is not there. */
__device__ void load_chunk(chunk_t &to, const in_t *from, tri_attention_stride stride, int columns, int x0,
                           const tri_attention_args &args, const task &t, long long first, long long end)
{
    __syncthreads(); // all have read what stands there
    for (int key = threadIdx.x / 32; key < kKeys; key += kWarps) {
        bool there = first + key < end;
        long long at = there ? tri_attention_key_at(&args, stride, &t.sequence, t.b, t.kv, first + key) + x0 : 0;
        for (int x = threadIdx.x % 32; x < kChunk; x += 32)
            to[key][x] = there && x0 + x < columns ? to_float(from[at + x]) : 0.0f;
    }
    __syncthreads();
}

/* ---- compute ---- */

/* Of the lane's key: the part of these columns. */
__device__ void add_scores(float (&s)[kOwn], const query_t *q, const chunk_t &k, int x0)
{
    for (int x = 0; x < kChunk; x += 4) {
        float4 key = *reinterpret_cast<const float4 *>(&k[threadIdx.x % 32][x]);
        for (int r = 0; r < kOwn; r++) {
            float4 query = *reinterpret_cast<const float4 *>(&q[r][x0 + x]);
            s[r] = fmaf(query.x, key.x, s[r]);
            s[r] = fmaf(query.y, key.y, s[r]);
            s[r] = fmaf(query.z, key.z, s[r]);
            s[r] = fmaf(query.w, key.w, s[r]);
        }
    }
}

/* The score of a seen key becomes its weight, and O and the sum shrink with the growth of the row's maximum. Scores have
 * no scale before the exponential: differences of large ones are then exact. A capped one has its scale, as log2. */
__device__ float weigh(rows_t &rows, int r, float score, bool seen, const tri_attention_args &args, const task &t)
{
    float scale = kSoftcap ? 1.0f : t.scale;
    if (kSoftcap)
        score = args.softcap * kLog2e * tanhf(score * t.scale * kLn2 / args.softcap);
    score = seen ? score : minus_infinity();
    float most = fmaxf(rows.most[r], warp_max(score));
    if (most == minus_infinity())
        return 0.0f;
    float shrink = exp2f((rows.most[r] - most) * scale), weight = seen ? exp2f((score - most) * scale) : 0.0f;
    rows.most[r] = most;
    rows.sum[r] = rows.sum[r] * shrink + warp_sum(weight);
    for (int slice = 0; slice < kSlicesV; slice++)
        for (int x = 0; x < kColumns; x++)
            rows.o[r][slice][x] *= shrink;
    return rounded(weight);
}

/* who: bit k of a row: key k is seen. What stands at others may be NaN. */
__device__ void add_values(float (*o)[kSlicesV][kColumns], int slice, const float (&weight)[kOwn],
                           const unsigned (&who)[kOwn], const chunk_t &v)
{
    for (int key = 0; key < kKeys; key++)
        for (int r = 0; r < kOwn; r++) {
            float of_key = __shfl_sync(kAll, weight[r], key);
            if (who[r] >> key & 1)
                for (int x = 0; x < kColumns; x++)
                    o[r][slice][x] = fmaf(of_key, v[key][threadIdx.x % 32 + 32 * x], o[r][slice][x]);
        }
}

/* Keys first .. first + 31 of the run. */
__device__ void take_keys(rows_t &rows, const query_t *q, chunk_t &chunk, const tri_attention_args &args, const task &t,
                          const tri_attention_runs &runs, long long first)
{
    long long j = first + threadIdx.x % 32, end = runs.run.end;
    float s[kOwn] = {};
    unsigned who[kOwn];
    for (int x0 = 0; x0 < kD; x0 += kChunk) {
        load_chunk(chunk, static_cast<const in_t *>(args.k), args.k_stride, kD, x0, args, t, first, end);
        add_scores(s, q, chunk, x0);
    }
    for (int r = 0; r < kOwn; r++) {
        bool seen = j < end && j >= rows.seen[r].begin && j < rows.seen[r].end &&
                    tri_attention_run_sees(&runs, &args, kMaskM, kMaskN, query_of(t, r), j);
        who[r] = __ballot_sync(kAll, seen);
        s[r] = weigh(rows, r, s[r], seen, args, t);
    }
#pragma unroll
    for (int slice = 0; slice < kSlicesV; slice++) {
        load_chunk(chunk, static_cast<const in_t *>(args.v), args.v_stride, kDv, slice * kChunk, args, t, first, end);
        add_values(rows.o, slice, s, who, chunk);
    }
}

/* ---- store ---- */

__device__ void store_rows(const rows_t &rows, const tri_attention_args &args, const task &t)
{
    int lane = threadIdx.x % 32;
    float scale = kSoftcap ? 1.0f : t.scale, scale_v = scale_of(args.scale_v, args, t.b, t.kv);
    for (int r = 0; r < kOwn && query_of(t, r) < t.sequence.sq; r++) {
        long long i = query_of(t, r);
        float factor = rows.sum[r] > 0.0f ? scale_v / rows.sum[r] : 0.0f;
        out_t *o = static_cast<out_t *>(args.o) +
                   tri_attention_query_at(&args, args.o_stride, &t.sequence, t.b, t.head, i);
        for (int slice = 0; slice < kSlicesV; slice++)
            for (int x = 0; x < kColumns; x++)
                if (slice * kChunk + lane + 32 * x < kDv)
                    o[slice * kChunk + lane + 32 * x] = out_t(rows.o[r][slice][x] * factor);
        if (args.lse && lane == 0)
            args.lse[tri_attention_query_at(&args, args.lse_stride, &t.sequence, t.b, t.head, i)] =
                rows.sum[r] > 0.0f ? (rows.most[r] * scale + log2f(rows.sum[r])) * kLn2 : minus_infinity();
    }
}

/* grid: any; a CTA takes each gridDim-th tile. */
extern "C" __global__ void __launch_bounds__(32 * kWarps) triage_kernel(const __grid_constant__ tri_attention_args args)
{
    __shared__ __align__(16) query_t queries[kRows];
    __shared__ __align__(16) chunk_t chunk;
    query_t *q = queries + threadIdx.x / 32 * kOwn;
    int tiles = (int)((args.sq + kRows - 1LL) / kRows);
    for (long long at = blockIdx.x; at < (long long)args.batch * args.heads_q * tiles; at += gridDim.x) {
        task t = task_of(args, at, tiles);
        rows_t rows;
        if (t.first >= t.sequence.sq)
            continue;
        load_queries(q, rows, args, t);
        tri_attention_runs runs = runs_of(args, t);
        while (tri_attention_next_run(&runs, &args, kMaskN))
            for (long long first = runs.run.begin; first < runs.run.end; first += kKeys)
                take_keys(rows, q, chunk, args, t, runs, first);
        store_rows(rows, args, t);
        __syncwarp(); // all lanes have read the queries
    }
}
