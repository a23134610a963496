/* decode.cu and decode_tma.cu, the end of a piece: the sums of warps, CTAs and clusters are added, and results stored. Included
 * behind decode_products.cuh, the constants that it uses (kWarps, kThreads, kRows, kPaddedDv, kPitchO, kSlotFloats, kCluster)
 * and join(), at which those threads meet that multiply.
 */
#ifndef TRIAGE_ATTENTION_DECODE_SUMS_CUH
#define TRIAGE_ATTENTION_DECODE_SUMS_CUH

#include "attention/args.h"
#include "lib/cluster.cuh"
#include "lib/meet.cuh"
#include "lib/ptx.cuh"
#include "lib/softmax.cuh"

constexpr int kQuads = kPaddedDv / 4; // of a row

/* Of one CTA, in shared memory. */
struct partial_view {
    float *o;   /* [kWarps][kRows][kPitchO] */
    float2 *ml; /* [kWarps][kRows] */
    int *last;  /* is this CTA the last one of the unit? */
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
                to.ml[row] = make_float2(st.m[n][e], l);
#pragma unroll
            for (int t = 0; t < kPaddedDv / 16; t++) {
                to.o[row * kPitchO + t * 16 + (kFp8 ? 2 * g : g)] = st.o[t][n][e];
                to.o[row * kPitchO + t * 16 + (kFp8 ? 2 * g + 1 : g + 8)] = st.o[t][n][e + 2];
            }
        }
}

/* ---- sums of sums ---- */

__device__ __forceinline__ quad make_quad(const float4 &o, const float2 &ml) { return {o, ml.x, ml.y}; }

__device__ __forceinline__ quad nothing()
{
    return {make_float4(0, 0, 0, 0), minus_infinity(), 0.0f};
}

__device__ __forceinline__ void add_scaled(float4 &sum, const float4 &x, float factor)
{
    sum.x = fmaf(x.x, factor, sum.x);
    sum.y = fmaf(x.y, factor, sum.y);
    sum.z = fmaf(x.z, factor, sum.z);
    sum.w = fmaf(x.w, factor, sum.w);
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
    quad sum = nothing();
#pragma unroll 1
    for (int w = 0; w < kWarps; w += kAtOnce) {
        quad part[kAtOnce];
#pragma unroll
        for (int e = 0; e < kAtOnce; e++) {
            int at = (w + e) * kRows + row;
            part[e] = make_quad(*reinterpret_cast<const float4 *>(from.o + at * kPitchO + column), from.ml[at]);
        }
        add_parts(sum, part);
    }
    return sum;
}

/* ---- slots: O of kRows, then (m, l) of kRows ---- */

__device__ __forceinline__ void store_part(float *slot, const quad &sum, int row, int column)
{
    *reinterpret_cast<float4 *>(slot + row * kPaddedDv + column) = sum.o;
    if (column == 0)
        reinterpret_cast<float2 *>(slot + kRows * kPaddedDv)[row] = make_float2(sum.m, sum.l);
}

/* Of the slots of all pieces of a unit, in their order. */
__device__ __forceinline__ quad add_slots(const parts &of, int row, int column)
{
    constexpr int kAtOnce = 8; /* whose loads are under way together */
    quad sum = nothing();
#pragma unroll 1
    for (int first = 0; first < of.count; first += kAtOnce) {
        quad part[kAtOnce];
#pragma unroll
        for (int e = 0; e < kAtOnce; e++) {
            const float *slot = slot_of(of, min(first + e, of.count - 1));
            part[e] = make_quad(__ldcg(reinterpret_cast<const float4 *>(slot + row * kPaddedDv + column)),
                                __ldcg(reinterpret_cast<const float2 *>(slot + kRows * kPaddedDv) + row));
        }
#pragma unroll
        for (int e = 1; e < kAtOnce; e++)
            if (first + e >= of.count) /* the last one again */
                part[e].m = minus_infinity();
        add_parts(sum, part);
    }
    return sum;
}

/* Is this CTA the last one of the unit that stored its part? All threads that multiply. */
__device__ __forceinline__ bool arrive(const parts &of, int *last)
{
    join();
    if (threadIdx.x == 0) {
        *last = count_one(of.counter) == of.count - 1;
        if (*last)
            *of.counter = 0;
    }
    join();
    return *last != 0;
}

/* All threads that multiply. What the warps have of the piece becomes the result, or a part of it. real: else nothing is
 * stored outside of this CTA, and only the code is there then. */
__device__ __forceinline__ void finish_piece(const args_t &args, const rows_of_unit &rows, const parts &of, const state &st,
                                             const partial_view &view, bool real, int warp, int lane)
{
    store_state(view, st, warp, lane);
    join();
#pragma unroll 1
    for (int turn = 0; turn < 2; turn++) { /* the sums of the warps; then those of all CTAs */
#pragma unroll 1
        for (int i = threadIdx.x; i < row_count(rows) * kQuads; i += kThreads) {
            int row = i / kQuads, column = i % kQuads * 4;
            quad sum = turn == 0 ? add_warps(view, row, column) : add_slots(of, row, column);
            if (!real)
                continue;
            if (turn == 0 && of.count > 1)
                store_part(slot_of(of, of.index), sum, row, column);
            else
                store_result(args, rows, sum, row, column);
        }
        if (of.count == 1 || turn == 1 || !real || !arrive(of, view.last))
            return;
    }
}

/* The same where the CTAs of a cluster have one piece each, or none. slot: shared memory that is free by now; not real: it
 * is not written. All other threads of the cluster meet twice at cluster_sync meanwhile. */
__device__ __forceinline__ void finish_cluster(const args_t &args, const rows_of_unit &rows, const state &st,
                                               const partial_view &view, float *slot, bool real, int warp, int lane)
{
    store_state(view, st, warp, lane);
    join();
#pragma unroll 1
    for (int i = threadIdx.x; i < row_count(rows) * kQuads; i += kThreads) {
        int row = i / kQuads, column = i % kQuads * 4;
        quad sum = add_warps(view, row, column);
        if (real)
            store_part(slot, sum, row, column);
    }
    cluster_sync();
    const int all = row_count(rows) * kQuads, share = (all + kCluster - 1) / kCluster, first = cluster_ctarank() * share;
#pragma unroll 1
    for (int i = first + threadIdx.x; i < min(all, first + share); i += kThreads) {
        int row = i / kQuads, column = i % kQuads * 4;
        quad part[kCluster], sum = nothing();
#pragma unroll
        for (int rank = 0; rank < kCluster; rank++)
            part[rank] = make_quad(load_cluster_16(slot + row * kPaddedDv + column, rank),
                                   load_cluster_8(slot + kRows * kPaddedDv + row * 2, rank));
        add_parts(sum, part);
        if (real)
            store_result(args, rows, sum, row, column);
    }
    cluster_sync(); /* the others have read this CTA's sums */
}

#endif
