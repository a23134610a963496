/* decode.cu, the end of a piece: the sums of warps, CTAs and clusters are added, and results stored. Included behind the
 * constants, the pieces and the sums of a warp (state) that it uses.
 */
#ifndef TRIAGE_ATTENTION_DECODE_SUMS_CUH
#define TRIAGE_ATTENTION_DECODE_SUMS_CUH

#include "attention/args.h"
#include "lib/ptx.cuh"
#include "lib/softmax.cuh"
#include "lib/stream.cuh"

/* Of one CTA, in shared memory. */
struct partial_view {
    float *o;  /* [kWarps][kRows][kPitchO] */
    float *ml; /* [kWarps][kRows][2] */
    int *last; /* is this CTA the last one of the unit? */
};

__device__ __forceinline__ void store_state(const partial_view &to, const state &st, int warp, int lane)
{
    int g = lane / 4, q = lane % 4;
#pragma unroll
    for (int n = 0; n < kRowTiles; n++)
#pragma unroll
        for (int e = 0; e < 2; e++) {
            int row = warp * kRows + n * 8 + q * 2 + e;
            float l = row_sum(st.l[n][e]);
            if (g == 0)
                to.ml[row * 2] = st.m[n][e], to.ml[row * 2 + 1] = l;
#pragma unroll
            for (int t = 0; t < kPaddedDv / 16; t++) {
                to.o[row * kPitchO + t * 16 + (kFp8 ? 2 * g : g)] = st.o[t][n][e];
                to.o[row * kPitchO + t * 16 + (kFp8 ? 2 * g + 1 : g + 8)] = st.o[t][n][e + 2];
            }
        }
}

/* Four neighbours of a row, and what they are to be divided by. */
struct quad {
    float4 o;
    float m, l;
};

__device__ __forceinline__ void add_scaled(float4 &sum, const float4 &x, float factor)
{
    sum.x = fmaf(x.x, factor, sum.x);
    sum.y = fmaf(x.y, factor, sum.y);
    sum.z = fmaf(x.z, factor, sum.z);
    sum.w = fmaf(x.w, factor, sum.w);
}

/* O and LSE of four neighbours of row `row` of the q tile, from sums over all keys. */
__device__ __forceinline__ void store_result(const tri_attention_core &args, const piece &p, const quad &sum, int row,
                                             int column)
{
    row += p.unit % q_tiles_of(args) * kRows;
    int kv_head = p.unit / q_tiles_of(args), head = kv_head * kGroup + row % kGroup, i = row / kGroup;
    if (i >= p.seq.sq)
        return;
    bool packed = kOffsets && args.cu_q;
    long long first = packed ? args.cu_q[p.batch] : 0, batch = packed ? 0 : p.batch;
    float scale = sum.l > 0.0f ? __fdividef(1.0f, sum.l) : 0.0f;
    if (kFp8 && args.scale_v)
        scale *= args.scale_v[p.batch * args.heads_kv + kv_head];
    out_t *to = static_cast<out_t *>(args.o) + batch * args.o_stride.batch + head * args.o_stride.head +
                (first + i) * args.o_stride.row + column;
    alignas(4 * sizeof(out_t)) out_t v[4] = {out_t(sum.o.x * scale), out_t(sum.o.y * scale), out_t(sum.o.z * scale),
                                            out_t(sum.o.w * scale)};
    if (kDv % 4 == 0 && reinterpret_cast<unsigned long long>(to) % sizeof(v) == 0) {
        if (column < kDv) {
            if constexpr (sizeof(out_t) == 2)
                *reinterpret_cast<uint2 *>(to) = *reinterpret_cast<uint2 *>(v);
            else
                *reinterpret_cast<float4 *>(to) = *reinterpret_cast<float4 *>(v);
        }
    } else {
#pragma unroll
        for (int e = 0; e < 4; e++)
            if (column + e < kDv)
                to[e] = v[e];
    }
    if (args.lse && column == 0)
        args.lse[batch * args.lse_stride.batch + head * args.lse_stride.head + (first + i) * args.lse_stride.row] =
            sum.l > 0.0f ? (sum.m + log2f(sum.l)) * 0.6931471805599453f : minus_infinity();
}

/* Where the pieces of a unit are. */
struct parts {
    int count, index; /* pieces of the unit; this one */
    float *slot0;     /* of piece 0; piece i > 0 is at later + i * step */
    float *later;
    int step; /* floats */
};

__device__ __forceinline__ parts parts_of(const tri_attention_core &args, const walker &w, const piece &p)
{
    parts of;
    int splits = splits_of(args), unit = p.batch * units_of(args) + p.unit;
    long long slot = (long long)unit * splits, later = slot;
    if (splits == 0) {
        unsigned first = w.cta_of(p.unit0), last = w.cta_of(p.unit0 + p.seq.tiles - 1);
        of.count = (int)(last - first + 1);
        of.index = (int)(blockIdx.x - first);
        later = 2 * first;
        slot = later + (p.unit0 > w.run_begin(first) ? 1 : 0);
    } else {
        int length = (p.seq.tiles + splits - 1) / splits;
        of.count = (p.seq.tiles + length - 1) / length;
        of.index = (int)(p.at - p.unit0);
    }
    float *slots = reinterpret_cast<float *>(static_cast<char *>(args.workspace) +
                                             (args.batch * (long long)units_of(args) * 4 + 255) / 256 * 256);
    of.step = splits == 0 ? 2 * kSlotFloats : kSlotFloats;
    of.slot0 = slots + slot * kSlotFloats;
    of.later = slots + later * kSlotFloats;
    return of;
}

__device__ __forceinline__ float *slot_of(const parts &of, int i)
{
    return i == 0 ? of.slot0 : of.later + (long long)i * of.step;
}

/* The sum takes in some more parts; of none is m -inf. */
template <int kParts> __device__ __forceinline__ void add_parts(quad &sum, const quad (&part)[kParts])
{
    float m = sum.m;
#pragma unroll
    for (int e = 0; e < kParts; e++)
        m = fmaxf(m, part[e].m);
    float from = m == minus_infinity() ? 0.0f : m, factor = exp2_fast(sum.m - from);
    sum.m = m;
    sum.l *= factor;
    sum.o = make_float4(sum.o.x * factor, sum.o.y * factor, sum.o.z * factor, sum.o.w * factor);
#pragma unroll
    for (int e = 0; e < kParts; e++) {
        factor = exp2_fast(part[e].m - from);
        sum.l = fmaf(part[e].l, factor, sum.l);
        add_scaled(sum.o, part[e].o, factor);
    }
}

/* Of the warps of this CTA. */
__device__ __forceinline__ quad add_warps(const partial_view &from, int row, int column)
{
    constexpr int kAtOnce = kWarps % 4 == 0 ? 4 : kWarps % 3 == 0 ? 3 : kWarps % 2 == 0 ? 2 : 1;
    quad sum = {make_float4(0, 0, 0, 0), minus_infinity(), 0.0f};
#pragma unroll 1
    for (int w = 0; w < kWarps; w += kAtOnce) {
        quad part[kAtOnce];
#pragma unroll
        for (int e = 0; e < kAtOnce; e++) {
            int at = (w + e) * kRows + row;
            part[e].o = *reinterpret_cast<const float4 *>(from.o + at * kPitchO + column);
            part[e].m = from.ml[at * 2];
            part[e].l = from.ml[at * 2 + 1];
        }
        add_parts(sum, part);
    }
    return sum;
}

/* Of the slots of all pieces of a unit, in their order. */
__device__ __forceinline__ quad add_slots(const parts &of, int row, int column)
{
    constexpr int kAtOnce = 8; /* whose loads are under way together */
    quad sum = {make_float4(0, 0, 0, 0), minus_infinity(), 0.0f};
#pragma unroll 1
    for (int first = 0; first < of.count; first += kAtOnce) {
        quad part[kAtOnce];
#pragma unroll
        for (int e = 0; e < kAtOnce; e++) {
            const float *slot = slot_of(of, min(first + e, of.count - 1));
            part[e].o = __ldcg(reinterpret_cast<const float4 *>(slot + row * kPaddedDv + column));
            part[e].m = __ldcg(slot + kRows * kPaddedDv + row);
            part[e].l = __ldcg(slot + kRows * (kPaddedDv + 1) + row);
        }
#pragma unroll
        for (int e = 1; e < kAtOnce; e++)
            if (first + e >= of.count) /* the last one again */
                part[e].m = minus_infinity();
        add_parts(sum, part);
    }
    return sum;
}

__device__ __forceinline__ void store_part(float *slot, const quad &sum, int row, int column)
{
    *reinterpret_cast<float4 *>(slot + row * kPaddedDv + column) = sum.o;
    if (column == 0) {
        slot[kRows * kPaddedDv + row] = sum.m;
        slot[kRows * (kPaddedDv + 1) + row] = sum.l;
    }
}

/* All threads of a cluster, after their only piece. `slot`: shared memory that is free by now. */
__device__ __forceinline__ void finish_cluster(const tri_attention_core &args, const piece &p, const state &st,
                                               const partial_view &view, float *slot, int warp, int lane)
{
    constexpr int kQuads = kRows * (kPaddedDv / 4);
    store_state(view, st, warp, lane);
    __syncthreads();
#pragma unroll 1
    for (int i = threadIdx.x; i < kQuads; i += kThreads) {
        int row = i / (kPaddedDv / 4), column = i % (kPaddedDv / 4) * 4;
        store_part(slot, add_warps(view, row, column), row, column);
    }
    cluster_sync();
#pragma unroll 1
    for (int i = cluster_ctarank() * kThreads + threadIdx.x; i < kQuads; i += kCluster * kThreads) {
        int row = i / (kPaddedDv / 4), column = i % (kPaddedDv / 4) * 4;
        quad part[kCluster], sum = {make_float4(0, 0, 0, 0), minus_infinity(), 0.0f};
#pragma unroll
        for (int rank = 0; rank < kCluster; rank++) {
            const float *from = slot + row * kPaddedDv + column;
            part[rank].o = make_float4(load_cluster(from, rank), load_cluster(from + 1, rank),
                                       load_cluster(from + 2, rank), load_cluster(from + 3, rank));
            part[rank].m = load_cluster(slot + kRows * kPaddedDv + row, rank);
            part[rank].l = load_cluster(slot + kRows * (kPaddedDv + 1) + row, rank);
        }
        add_parts(sum, part);
        store_result(args, p, sum, row, column);
    }
    cluster_sync(); /* the others have read this CTA's sums */
}

/* Is this CTA the last one of the unit that stored its part? All threads; the counter is 0 again if so. */
__device__ __forceinline__ bool arrive(const tri_attention_core &args, const piece &p, int count, int *last)
{
    __syncthreads();
    if (threadIdx.x == 0) {
        __threadfence(); /* what all threads stored before the barrier is seen by who sees the count */
        int *counter = static_cast<int *>(args.workspace) + p.batch * units_of(args) + p.unit;
        *last = atomicAdd(counter, 1) == count - 1;
        if (*last)
            *counter = 0;
        __threadfence();
    }
    __syncthreads();
    return *last != 0;
}

/* All threads. What the warps have of the piece becomes the result, or a part of it. */
__device__ __forceinline__ void finish_piece(const tri_attention_core &args, const walker &w, const piece &p,
                                             const state &st, const partial_view &view, int warp, int lane)
{
    parts of = parts_of(args, w, p);
    store_state(view, st, warp, lane);
    __syncthreads();
#pragma unroll 1
    for (int turn = 0; turn < 2; turn++) { /* the sums of the warps; then those of all CTAs */
#pragma unroll 1
        for (int i = threadIdx.x; i < kRows * (kPaddedDv / 4); i += kThreads) {
            int row = i / (kPaddedDv / 4), column = i % (kPaddedDv / 4) * 4;
            quad sum = turn == 0 ? add_warps(view, row, column) : add_slots(of, row, column);
            if (turn == 0 && of.count > 1)
                store_part(slot_of(of, of.index), sum, row, column);
            else
                store_result(args, p, sum, row, column);
        }
        if (of.count == 1 || turn == 1 || !arrive(args, p, of.count, view.last))
            return;
    }
}

#endif
