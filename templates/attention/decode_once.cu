/* attention for few queries against a short cache (decoding), in one step (sm_90): bound by latency alone.
 *
 *   Q, K, V   rows of kD, kD, kDv, bases and strides multiples of 16 bytes; K and V contiguous or in pages; f16, bf16
 *   O         rows of kDv; LSE where it is wanted
 *
 * Rows, products and sums are those of decode.cu. Each warp has one tile of keys, and a cluster has all keys of a (batch, KV
 * head, q tile). Nothing is done twice, so there is no ring: a warp asks for Q, K and V at once, from memory to the registers
 * that multiply them. Columns of Q and K may be multiplied in any order, and so a lane has 16 bytes of a row, of every fourth
 * such piece; of V it has 16 bytes of rows 2q, 2q + 1 and 2q + 8, 2q + 9, as the columns of the product stand in any order, too.
 *
 * The warps of a CTA add up their sums. Of the results of a cluster each CTA has an equal share: the others send it what they
 * have of it, and it waits for the bytes. They are sent from registers, so a CTA whose own share has come is read and written by
 * none of the others any more, and may end.
 *
 * With kShadow there is one more warp, the shadow. It runs the same code ahead of the others, on no keys and with a place of
 * its own in shared memory; it waits for no other warp of the CTA and sends nothing. So the instructions, which come from
 * cold memory, are in the cache when the keys arrive.
 */
#include "attention/args.h"
#include "lib/mma.cuh"
#include "lib/ptx.cuh"
#include "lib/send.cuh"
#include "lib/softmax.cuh"

using in_t = {{in_type}};                   // Q, K, V: __half, __nv_bfloat16
using out_t = {{out_type}};                 // O: __half, __nv_bfloat16, float
constexpr int kD = {{d}};                   // columns of Q and K: whole 64
constexpr int kDv = {{dv}};                 // columns of V and O: whole 64
constexpr int kGroup = {{group}};           // query heads of a KV head
constexpr int kKeys = {{keys}};             // keys of a warp
constexpr int kWarps = {{warps}};           // of a CTA
constexpr int kCluster = {{cluster}};       // CTAs that share a (batch, KV head, q tile)
constexpr bool kShadow = {{shadow}};        // one warp more, which fetches the code
constexpr int kPageSize = {{page_size}};    // rows of a page; 0: contiguous
constexpr bool kLeft = {{left}};            // keys too far to the left are not seen
constexpr bool kRight = {{right}};          // ... to the right (causal: args.right 0)
constexpr bool kTopLeft = {{top_left}};     // query i stands at key i, not at key i + sk - sq
constexpr bool kSoftcap = {{softcap}};
constexpr bool kLengths = {{lengths}};      // args.len_q or len_k is there
constexpr bool kOffsets = false;            // sequences are at strides

constexpr bool kFp8 = false;
using mma_t = in_t;
using args_t = tri_attention_core;

constexpr int kRows = 8;                    // rows of a CTA
constexpr int kRowTiles = 1;
constexpr int kThreads = kWarps * 32;       // without the shadow
constexpr int kTileKeys = kWarps * kKeys;
constexpr int kKeyTiles = kKeys / 16;
constexpr int kKPieces = kD / 32, kVPieces = kDv / 64; // of 16 bytes, of a row, that a lane has
constexpr int kPageRows = kPageSize > 0 ? kPageSize : kKeys;
constexpr int kPaddedDv = kDv;
constexpr int kPitchO = kDv + 4;            // floats
constexpr int kSlotFloats = kRows * (kDv + 2);
static_assert(kKeys % 16 == 0 && kD % 64 == 0 && kDv % 64 == 0, "whole pieces");
static_assert(kPageSize % kKeys == 0, "a warp's keys lie in one page");

#include "attention/decode_rows.cuh"

#include "attention/decode_pieces.cuh"

__device__ __forceinline__ unsigned columns_at(unsigned address, int) { return address; } /* there are no operands in shared memory */

#include "attention/decode_products.cuh"

/* ---- what a warp multiplies ---- */

__device__ __forceinline__ unsigned word_of(const uint4 &v, int i) { return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w; }

struct operands {
    uint4 q[kKPieces];               /* row g: pieces q, q + 4, .. */
    uint4 k[kKeyTiles][2][kKPieces]; /* keys g, g + 8: likewise */
    uint4 v[kKeyTiles][4][kVPieces]; /* keys 2q, 2q + 1, 2q + 8, 2q + 9: pieces g, g + 8, .. */
};

/* pieces of a row, `apart` of them from one to the next */
template <int pieces> __device__ __forceinline__ void fetch_row(uint4 (&to)[pieces], const in_t *row, int first, int apart)
{
#pragma unroll
    for (int i = 0; i < pieces; i++)
        to[i] = __ldg(reinterpret_cast<const uint4 *>(row) + first + i * apart);
}

/* All zeros: what is not fetched weighs nothing. */
__device__ __forceinline__ void clear(operands &x)
{
    const uint4 zero = make_uint4(0, 0, 0, 0);
#pragma unroll
    for (int i = 0; i < kKPieces; i++) {
        x.q[i] = zero;
#pragma unroll
        for (int t = 0; t < kKeyTiles * 2; t++)
            x.k[t / 2][t % 2][i] = zero;
    }
#pragma unroll
    for (int i = 0; i < kVPieces; i++)
#pragma unroll
        for (int t = 0; t < kKeyTiles * 4; t++)
            x.v[t / 4][t % 4][i] = zero;
}

/* Q, K and V of the warp's keys from `key` on, of which at least one is there; the last one stands for those behind it. */
__device__ __forceinline__ void fetch(operands &x, const args_t &args, const rows_of_unit &rows, int key, int lane)
{
    const int g = lane / 4, q = lane % 4, row = rows.row0 + g, last = rows.sk - 1 - key;
    if (row / kGroup < rows.sq)
        fetch_row(x.q, q_row(args, rows, row), q, 4);
    long long page = rows.batch;
    int first = key;
    if constexpr (kPageSize > 0) {
        page = args.page_table[(long long)rows.batch * args.page_stride + key / kPageRows];
        first = key % kPageRows;
    }
    const in_t *k = static_cast<const in_t *>(args.k) + page * args.k_stride.batch + rows.head * args.k_stride.head +
                    first * args.k_stride.row;
    const in_t *v = static_cast<const in_t *>(args.v) + page * args.v_stride.batch + rows.head * args.v_stride.head +
                    first * args.v_stride.row;
#pragma unroll
    for (int t = 0; t < kKeyTiles; t++)
#pragma unroll
        for (int i = 0; i < 2; i++)
            fetch_row(x.k[t][i], k + min(t * 16 + g + i * 8, last) * args.k_stride.row, q, 4);
#pragma unroll
    for (int t = 0; t < kKeyTiles; t++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            fetch_row(x.v[t][i], v + min(t * 16 + q * 2 + i % 2 + i / 2 * 8, last) * args.v_stride.row, g, 8);
}

/* s = K Q' */
__device__ __forceinline__ void multiply_k(float (&s)[kKeyTiles][1][4], const operands &x)
{
#pragma unroll
    for (int i = 0; i < kKPieces * 2; i++)
#pragma unroll
        for (int t = 0; t < kKeyTiles; t++) {
            const uint4 &low = x.k[t][0][i / 2], &high = x.k[t][1][i / 2];
            const int at = i % 2 * 2;
            const unsigned a[4] = {word_of(low, at), word_of(high, at), word_of(low, at + 1), word_of(high, at + 1)};
            mma_m16n8k16(s[t][0], a, word_of(x.q[i / 2], at), word_of(x.q[i / 2], at + 1), mma_t());
        }
}

/* The low halves, and the high ones, of two words. */
__device__ __forceinline__ unsigned low_halves(unsigned x, unsigned y) { return (x & 0xffff) | y << 16; }
__device__ __forceinline__ unsigned high_halves(unsigned x, unsigned y) { return x >> 16 | (y & 0xffff0000); }

/* O' += V' P' of 16 keys. Of o[t]: piece g + t / 4 * 8 of the columns, and of its eight number t % 4 * 2 in the rows g of the
 * product, the next one in the rows g + 8. */
__device__ __forceinline__ void multiply_v(state &st, const unsigned (&p)[1][2], const uint4 (&v)[4][kVPieces])
{
#pragma unroll
    for (int t = 0; t < kDv / 16; t++) {
        unsigned w[4];
#pragma unroll
        for (int i = 0; i < 4; i++)
            w[i] = word_of(v[i][t / 4], t % 4);
        const unsigned a[4] = {low_halves(w[0], w[1]), high_halves(w[0], w[1]), low_halves(w[2], w[3]), high_halves(w[2], w[3])};
        mma_m16n8k16(st.o[t][0], a, p[0][0], p[0][1], mma_t());
    }
}

/* ---- the end ---- */

__device__ __forceinline__ void join() { named_barrier_sync(1, kThreads); }

#include "attention/decode_sums.cuh"

constexpr int kAllQuads = kRows * kQuads, kShare = kAllQuads / kCluster; /* quads of a CTA */
static_assert(kAllQuads % kCluster == 0, "equal shares");

/* Shared memory, of a CTA and of its shadow. */
struct places {
    float o[kWarps][kRows][kPitchO];
    float4 got_o[kCluster][kShare];
    float2 ml[kWarps][kRows], got_ml[kCluster][kShare];
    unsigned long long full; /* of got_o, got_ml */
};
extern __shared__ __align__(16) float room[];

__device__ __forceinline__ void store_sums(places &to, const state &st, int warp, int lane)
{
    const int g = lane / 4, q = lane % 4;
#pragma unroll
    for (int e = 0; e < 2; e++) {
        const int row = q * 2 + e;
        const float l = row_sum(st.l[0][e]);
        if (g == 0)
            to.ml[warp][row] = make_float2(st.m[0][e], l);
#pragma unroll
        for (int t = 0; t < kDv / 16; t += 2)
            *reinterpret_cast<float4 *>(&to.o[warp][row][(t / 4 * 8 + g) * 8 + t % 4 * 2]) =
                make_float4(st.o[t][0][e], st.o[t][0][e + 2], st.o[t + 1][0][e], st.o[t + 1][0][e + 2]);
    }
}

/* The sums of this CTA's warps go to who has the share; of one CTA, they are the result. */
__device__ __forceinline__ void send_sums(places &at, const args_t &args, const rows_of_unit &rows, unsigned rank, bool real,
                                          int thread)
{
    const partial_view view = {&at.o[0][0][0], &at.ml[0][0], nullptr};
#pragma unroll 1
    for (int i = thread; i < kAllQuads; i += kThreads) {
        const int row = i / kQuads, column = i % kQuads * 4;
        const quad sum = add_warps(view, row, column);
        if (!real)
            continue;
        if constexpr (kCluster == 1) {
            store_result(args, rows, sum, row, column);
        } else {
            send_cluster_16(&at.got_o[rank][i % kShare], sum.o, &at.full, i / kShare);
            send_cluster_8(&at.got_ml[rank][i % kShare], make_float2(sum.m, sum.l), &at.full, i / kShare);
        }
    }
}

/* The share of this CTA. */
__device__ __forceinline__ void finish_share(places &at, const args_t &args, const rows_of_unit &rows, unsigned rank, bool real,
                                             int thread)
{
#pragma unroll 1
    for (int i = thread; i < kShare; i += kThreads) {
        const int quad_at = (int)rank * kShare + i;
        quad part[kCluster], sum = nothing();
#pragma unroll
        for (int from = 0; from < kCluster; from++)
            part[from] = make_quad(at.got_o[from][i], at.got_ml[from][i]);
        add_parts(sum, part);
        if (real)
            store_result(args, rows, sum, quad_at / kQuads, quad_at % kQuads * 4);
    }
}

/* grid: kCluster for each (batch, KV head, q tile), in clusters; dynamic shared memory: a struct places, two with a shadow. */
extern "C" __global__ void __launch_bounds__(kThreads + kShadow * 32, 1)
    triage_kernel(const __grid_constant__ args_t args)
{
    const int lane = threadIdx.x % 32, all_warps = warp_uniform(threadIdx.x / 32);
    const bool real = !kShadow || all_warps < kWarps;
    const int warp = real ? all_warps : 0, thread = warp * 32 + lane;
    const unsigned rank = blockIdx.x % kCluster, index = blockIdx.x / kCluster, units = units_of(args);
    const int batch = (int)divide(index, units);
    const sequence seq = sequence_of(args, batch);
    const rows_of_unit rows = rows_of(args, batch, index - batch * units, seq.sq, seq.sk);
    const int key = (seq.first_tile + (int)rank) * kTileKeys + warp * kKeys;
    places &at = reinterpret_cast<places *>(room)[real ? 0 : 1];

    operands x;
    clear(x);
    if (real && key < rows.sk)
        fetch(x, args, rows, key, lane);
    if constexpr (kCluster > 1) {
        if (threadIdx.x == 0) {
            mbarrier_init(&at.full, 1);
            mbarrier_init_fence();
            mbarrier_arrive_expect_tx(&at.full, kCluster * kShare * 24);
        }
        __syncwarp();
        cluster_arrive();
    }
    const limits see = limits_of(args, rows, lane);
    const float scale = scale_of(args, rows), of_scores = kSoftcap ? 1.0f : scale;
    state st;
    clear(st);
    float s[kKeyTiles][1][4] = {};
    multiply_k(s, x);
    mask_scores(s, args, see, scale, key, lane);
    raise_maxima(st, s, of_scores);
#pragma unroll
    for (int t = 0; t < kKeyTiles; t++) {
        unsigned weight[1][2];
        weights(weight, st, s[t], of_scores);
        multiply_v(st, weight, x.v[t]);
    }
    store_sums(at, st, warp, lane);
    if (real)
        join();
    if constexpr (kCluster > 1)
        cluster_wait();
    send_sums(at, args, rows, rank, real, thread);
    if constexpr (kCluster > 1) {
        if (real)
            mbarrier_wait(&at.full, 0);
        finish_share(at, args, rows, rank, real, thread);
    }
}
