/* bsr_gemm for few columns (decoding): C = act(alpha * A * B + beta * C + bias), bound by the time
 * that A's blocks take from device memory. mma.sync; sm_80 and later, kClusterK > 1 sm_90.
 *
 *   A   BSR, blocks kBlockM x kBlockK row-major, multiples of 8 and 16
 *   B   k x n, row-major or column-major     kCopyBytes 16: base and ldb 16-byte aligned and, where
 *                                                           row-major, n a multiple of kTileN / 8
 *                                            kCopyBytes  2: any base, ldb and n (slower)
 *                                            ldb < 2^31 in both cases
 *   C   m x n, row-major or column-major, any n >= 1 (A is read once for each kTileN), any ldc
 *
 * A CTA, or a cluster of kClusterK, computes kTileM x kTileN of C: a block row or a part of one.
 * Its warps stand kWarpsM high; the blocks of the row, or its steps one by one (kRun), are dealt to
 * kClusterK * kWarpsK of them.
 *
 *   A blocks ──16 bytes a lane──► registers, kStages deep ──┐                    warps      CTAs
 *   B rows ──L1─────────────────► registers, kStagesB deep ─┴─ mma ─► partial C ───► shared ───► C
 *
 * Nothing is staged in shared memory, for no byte of A is used twice: a warp has kStages steps of
 * 32 k under way. The products are those of the transpose, C' = B' A': 16 columns of B meet 8 rows
 * of A, and a lane's load of A is an operand as it lies. The order of k within a step is free as
 * long as A and B agree, so lane (g, q) = (lane / 4, lane % 4) takes 8 consecutive k, those from
 * 8q, of row g of A. They are its share of two products of 16 k: k 8q+4s .. 8q+4s+3 of product s,
 * in the places of 2q, 2q+1, 2q+8 and 2q+9. It needs the same k of B. Columns are dealt alike, so
 * that a lane's are neighbours: places g and g + 8 of product j are columns g * kColumns + 2j and
 * the next.
 *
 * The warps of an SM walk their rows' columns at one pace, and so find most of B in L1. Places past
 * the last column read the last one again and are not stored. The sums are added in a fixed order:
 * the result does not change between runs.
 */
#include "bsr_gemm/args.h"
#include "lib/mma.cuh"
#include "lib/ptx.cuh"
#include "lib/store.cuh"
#include "lib/stream.cuh"
{{#quick}}
#include "lib/quick.cuh"
{{/quick}}

using in_t = {{in_type}};                   // A and B: __half, __nv_bfloat16
using out_t = {{out_type}};                 // C and bias: float, __half, __nv_bfloat16
constexpr int kBlockM = {{block_m}};        // rows of a block
constexpr int kBlockK = {{block_k}};        // columns of a block
constexpr int kTileM = {{tile_m}};          // rows of C per CTA, divides kBlockM
constexpr int kTileN = {{tile_n}};          // columns of C per CTA: 8, 16, 32, 64
constexpr int kWarpsM = {{warps_m}};        // warps along kTileM
constexpr int kWarpsK = {{warps_k}};        // warps that split the blocks of a row (split-K)
constexpr int kClusterK = {{cluster_k}};    // CTAs of a cluster that split the blocks of a row (split-K)
constexpr int kRun = {{run}};               // consecutive steps of one warp: 1, or those of a block
constexpr int kStages = {{stages}};         // steps of 32 k of A prefetched per warp
constexpr int kStagesB = {{stages_b}};      // ... and of B, divides kStages
constexpr int kMinBlocks = {{min_blocks}};  // minimum CTAs per SM (__launch_bounds__)
constexpr int kCopyBytes = {{copy_bytes}};  // 16 or 2, see above
constexpr int kBLayout = {{b_layout}};      // 0 row-major, 1 column-major
constexpr int kCLayout = {{c_layout}};      // 0 row-major, 1 column-major
constexpr int kAct = {{act}};               // 0 none, 1 relu, 2 gelu (erf), 3 silu

constexpr int kThreads = kWarpsM * kWarpsK * 32;
constexpr int kWarpRows = kTileM / kWarpsM;
constexpr int kRowTiles = kWarpRows / 8;
constexpr int kColumns = kTileN / 8;                   // of a lane
constexpr int kProducts = (kColumns + 1) / 2;          // of 16 columns, side by side
constexpr int kSlices = kBlockK / 16;                  // of a block; a step takes two slices of 16 k
constexpr int kWorkers = kClusterK * kWarpsK;          // warps that share the blocks of a row

/* Partial sums in shared memory, [kWarpsK][lines][kPitch], lines along the contiguous direction of
 * C; the padding spreads the rows of a fragment over the banks. */
constexpr int kLines = kCLayout == 0 ? kTileM : kTileN;
constexpr int kPitch = (kCLayout == 0 ? kTileN : kTileM) + 4;
constexpr int kPartial = kLines * kPitch; // floats
constexpr int kElements = kTileM * kTileN, kFast = kCLayout == 0 ? kTileN : kTileM;
constexpr int kVector = kElements >= 4 * kClusterK * kThreads ? 4 : 2; // neighbours in C, stored at once

static_assert(sizeof(in_t) == 2, "16-bit inputs");
static_assert(kBlockM % 8 == 0 && kBlockK % 16 == 0, "blocks are multiples of 8 x 16");
static_assert(kBlockM % kTileM == 0 && kTileM % (8 * kWarpsM) == 0, "warps split a block row");
static_assert(kTileN == 8 || kTileN == 16 || kTileN == 32 || kTileN == 64, "columns of a lane: 2^i");
static_assert(kRun == 1 || 2 * kRun == kSlices, "a run is a step or a block");
static_assert(kStagesB >= 1 && kStages % kStagesB == 0, "rings of whole turns");
static_assert(kClusterK >= 1 && kClusterK <= 8, "a portable cluster");
static_assert(kCopyBytes == 16 || kCopyBytes == 2, "copy width");

/* What a lane holds of one step: the 8 k of each of its rows of A and of each of its columns of B. */
struct step_a {
    unsigned r[kRowTiles][4]; /* row g of each 8: k 2i, 2i+1 of the eight at i */
};
struct step_b {
    unsigned r[kColumns * 4]; /* column-major: column j, k 2i, 2i+1 at 4j + i; row-major: see b_pair */
};

/* Where a lane finds its part of the steps. */
struct source {
    /* an address: of pointers the compiler adds up the elements first, in 64 bits for each step */
    unsigned long long values; /* row g, k 8 * (q % 2) of the first block's part */
    const in_t *b;      /* row-major: first column of the lane; column-major: k 8 * (q % 2) of it */
    const int *col_idx; /* of the first block of the block row */
    unsigned pitch; /* bytes from a line of B to the next */
    unsigned k_lane; /* 8 * (q % 2) */
    int last_column; /* that exists, counted from the lane's first: may be under 0, or past kColumns */
    unsigned slices; /* of the block row */
    unsigned worker; /* 0 .. kWorkers - 1 */
    unsigned half;   /* q / 2: which slice of a step */
};

/* The slice, counted from the start of the block row, of this lane in the warp's step t. */
__device__ __forceinline__ unsigned slice_of(const source &src, unsigned t)
{
    return ((t / kRun * kWorkers + src.worker) * kRun + t % kRun) * 2 + src.half;
}

/* Where blocks are whole steps, a step that exists has both of its slices. */
__device__ __forceinline__ bool has_slice(const source &src, unsigned slice)
{
    return kSlices % 2 == 0 || slice < src.slices;
}

/* Do all warps' steps s lie in the blocks whose columns stand in the record of the row? */
__device__ __forceinline__ constexpr bool all_early(int s)
{
    return (((s / kRun + 1) * kWorkers - 1) * kRun + s % kRun) * 2 + 1 < TRI_ROW_COLUMNS * kSlices;
}

__device__ __forceinline__ unsigned load_column(const source &src, unsigned slice)
{
    return slice < src.slices ? load_cached_4(src.col_idx + slice / kSlices) : 0;
}

__device__ __forceinline__ void load_a(step_a &to, const source &src, unsigned slice)
{
    /* of a block row: under 2^32 elements */
    unsigned at = slice / kSlices * (kBlockM * kBlockK) + slice % kSlices * 16;
    const in_t *from = reinterpret_cast<const in_t *>(src.values + (unsigned long long)at * sizeof(in_t));
    bool has = has_slice(src, slice);
#pragma unroll
    for (int i = 0; i < kRowTiles; i++) {
        if (has)
            load_once_16(to.r[i], from + i * 8 * kBlockK);
        else
            to.r[i][0] = to.r[i][1] = to.r[i][2] = to.r[i][3] = 0;
    }
}

/* The lane's neighbouring columns of one row of B, two a register. */
__device__ __forceinline__ void load_b_row(unsigned *to, const in_t *from, int last)
{
    constexpr bool kWhole = kCopyBytes == 16;
    if constexpr (kWhole && kColumns == 8) {
        load_cached_16(to, from);
    } else if constexpr (kWhole && kColumns == 4) {
        load_cached_8(to, from);
    } else if constexpr (kWhole && kColumns == 2) {
        to[0] = load_cached_4(from);
    } else if constexpr (kColumns == 1) {
        to[0] = load_cached_2(from + min(0, last));
    } else {
#pragma unroll
        for (int j = 0; j < kColumns; j += 2)
            to[j / 2] = load_cached_2(from + min(j, last)) |
                        load_cached_2(from + min(j + 1, last)) << 16;
    }
}

/* 8 consecutive k of the lane's columns, row-major. Products of 32 bits: an instruction each. */
__device__ __forceinline__ void load_b_rows(step_b &to, const char *from, unsigned pitch, int last)
{
#pragma unroll
    for (int i = 0; i < 8; i++) {
        unsigned row[kProducts];
        load_b_row(row, reinterpret_cast<const in_t *>(from + (unsigned long long)i * pitch), last);
        if constexpr (kColumns == 1) {
            to.r[i / 2] = i % 2 ? to.r[i / 2] | row[0] << 16 : row[0];
        } else {
#pragma unroll
            for (int r = 0; r < kProducts; r++)
                to.r[i * kProducts + r] = row[r];
        }
    }
}

/* 8 consecutive k of one column of B. */
__device__ __forceinline__ void load_b_column(unsigned *to, const in_t *from)
{
    if constexpr (kCopyBytes == 16) {
        load_cached_16(to, from);
    } else {
#pragma unroll
        for (int i = 0; i < 4; i++)
            to[i] = load_cached_2(from + 2 * i) | load_cached_2(from + 2 * i + 1) << 16;
    }
}

__device__ __forceinline__ void load_b(step_b &to, const source &src, unsigned slice,
                                       unsigned block_col)
{
    unsigned k = block_col * kBlockK + slice % kSlices * 16;
    if (!has_slice(src, slice)) {
#pragma unroll
        for (int i = 0; i < kColumns * 4; i++)
            to.r[i] = 0; /* A is zero there, but 0 * NaN is not */
    } else if constexpr (kBLayout == 1) {
#pragma unroll
        for (int j = 0; j < kColumns; j++)
            load_b_column(to.r + 4 * j,
                          src.b + (long long)min(j, src.last_column) * (int)(src.pitch / sizeof(in_t)) + k);
    } else {
        const char *from = reinterpret_cast<const char *>(src.b);
        load_b_rows(to, from + (unsigned long long)(k + src.k_lane) * src.pitch, src.pitch, src.last_column);
    }
}

/* k 2i, 2i+1 of the eight, column j, from the registers of a step. */
__device__ __forceinline__ unsigned b_pair(const step_b &from, int j, int i)
{
    if constexpr (kBLayout == 1 || kColumns == 1) {
        return from.r[4 * j + i];
    } else {
        /* row k of the eight stands at k * kProducts, two columns a register */
        unsigned even = from.r[2 * i * kProducts + j / 2];
        unsigned odd = from.r[(2 * i + 1) * kProducts + j / 2];
        return __byte_perm(even, odd, j % 2 ? 0x7632 : 0x5410);
    }
}

/* acc' += B' * A' over one step */
__device__ __forceinline__ void multiply(float (&acc)[kRowTiles][kProducts][4], const step_a &a,
                                         const step_b &b)
{
#pragma unroll
    for (int s = 0; s < 2; s++) {
#pragma unroll
        for (int j = 0; j < kProducts; j++) {
            unsigned columns[4] = {b_pair(b, 2 * j, 2 * s), 0, b_pair(b, 2 * j, 2 * s + 1), 0};
            if constexpr (kColumns > 1) {
                columns[1] = b_pair(b, 2 * j + 1, 2 * s);
                columns[3] = b_pair(b, 2 * j + 1, 2 * s + 1);
            }
#pragma unroll
            for (int i = 0; i < kRowTiles; i++)
                mma_m16n8k16(acc[i][j], columns, a.r[i][2 * s], a.r[i][2 * s + 1], in_t());
        }
    }
}

/* Place of an element of the tile in a partial sum. */
__device__ __forceinline__ int place(int row, int col)
{
    return kCLayout == 0 ? row * kPitch + col : col * kPitch + row;
}

/* The sums of kWide neighbours of the tile, in a fixed order: over the CTAs of the cluster, whose warps' are
 * added by now, or over the warps. */
template <int kWide>
__device__ __forceinline__ void load_sums(float (&sum)[kWide], const float *from)
{
    constexpr int kParts = kClusterK > 1 ? kClusterK : kWarpsK;
#pragma unroll
    for (int p = 0; p < kParts; p++) {
        alignas(4 * kWide) float part[kWide];
        if constexpr (kClusterK > 1) {
#pragma unroll
            for (int e = 0; e < kWide; e++)
                part[e] = load_cluster(from + e, p);
        } else if constexpr (kWide == 4) {
            *reinterpret_cast<float4 *>(part) = *reinterpret_cast<const float4 *>(from + p * kPartial);
        } else if constexpr (kWide == 2) {
            *reinterpret_cast<float2 *>(part) = *reinterpret_cast<const float2 *>(from + p * kPartial);
        } else {
            part[0] = from[p * kPartial];
        }
#pragma unroll
        for (int e = 0; e < kWide; e++)
            sum[e] = p == 0 ? part[e] : sum[e] + part[e];
    }
}

template <int kWide> struct alignas(kWide * sizeof(out_t)) neighbours {
    out_t v[kWide];
};

/* Adds up and stores what this CTA finishes of the tile at (row0, col0), kWide neighbours a thread and turn.
 * kWide > 1: C takes them whole. kBeta false: beta is 0. */
template <int kWide, bool kBeta>
__device__ __forceinline__ void store_tile(const output_view<out_t> &out, const float *smem, int rank,
                                           int row0, int col0)
{
    constexpr unsigned kTurn = kClusterK * kThreads * kWide, kTurns = (kElements + kTurn - 1) / kTurn;
#pragma unroll 1 /* short: it comes from cold memory */
    for (unsigned turn = 0; turn < kTurns; turn++) {
        unsigned i = turn * kTurn + (rank * kThreads + threadIdx.x) * kWide;
        int line = i / kFast, first = i % kFast;
        int row = row0 + (kCLayout == 0 ? line : first), col = col0 + (kCLayout == 0 ? first : line);
        if ((kElements % kTurn != 0 && i >= kElements) || col >= out.n)
            continue;
        float sum[kWide], bias[kWide];
        neighbours<kWide> to;
        load_sums(sum, smem + line * kPitch + first);
#pragma unroll
        for (int e = 0; e < kWide; e++) {
            int r = kCLayout == 0 ? row : row + e, c = kCLayout == 0 ? col + e : col;
            bias[e] = kCLayout == 0 && e > 0 ? bias[0] : out.bias ? to_float(out.bias[r]) : 0.0f;
            to.v[e] = out_t(finish<kAct, kCLayout, kBeta>(out, sum[e], bias[e], r, c));
        }
        *reinterpret_cast<neighbours<kWide> *>(out.c + output_index<kCLayout>(out, row, col)) = to;
    }
}

/* grid: (block_rows * kBlockM / kTileM * kClusterK, ceil(n / kTileN)), cluster kClusterK;
 * dynamic shared memory: kWarpsK * kPartial * 4 bytes. */
extern "C" __global__ void __launch_bounds__(kThreads, kMinBlocks)
    triage_kernel(const __grid_constant__ tri_bsr_gemm_core args)
{
    extern __shared__ __align__(16) float smem[];
    constexpr int kParts = kBlockM / kTileM;

    int lane = threadIdx.x % 32, g = lane / 4, q = lane % 4;
    int warp = warp_uniform(threadIdx.x / 32);
    int warp_m = warp % kWarpsM, warp_k = warp / kWarpsM;
    int rank = kClusterK == 1 ? 0 : blockIdx.x % kClusterK;
    unsigned tile = blockIdx.x / kClusterK;
    const tri_block_row &record = args.rows[tile / kParts];
    tri_block_row work = record;
    int block_row = work.row;
    int row_in_block = (int)(tile % kParts) * kTileM;
    int first_block = work.begin;
    int tile_col = blockIdx.y * kTileN;

    source src;
    int k_lane = q % 2 * 8, col_lane = tile_col + g * kColumns;
    if (kBLayout == 0 && kCopyBytes == 16)
        col_lane = min(col_lane, args.n - kColumns); /* all of them exist */
    const in_t *values = static_cast<const in_t *>(args.values) +
                         (row_in_block + warp_m * kWarpRows + g) * kBlockK + k_lane;
    src.values = reinterpret_cast<unsigned long long>(values) +
                 (long long)first_block * (long long)(kBlockM * kBlockK * sizeof(in_t));
    src.b = static_cast<const in_t *>(args.b) +
            (kBLayout == 0 ? col_lane : col_lane * args.ldb + k_lane);
    src.col_idx = args.col_idx + first_block;
    src.pitch = (unsigned)args.ldb * sizeof(in_t);
    src.k_lane = k_lane;
    src.last_column = args.n - 1 - col_lane;
    src.slices = (work.end - first_block) * kSlices;
    src.worker = rank * kWarpsK + warp_k;
    src.half = q / 2;

    int runs = (src.slices + 2 * kRun - 1) / (2 * kRun);
    int steps = (max(runs - (int)src.worker, 0) + kWorkers - 1) / kWorkers * kRun; /* of this warp */

    /* fill: kStages steps of A under way, kStagesB of B, the block columns of the kStages after those */
    step_a a[kStages];
    step_b b[kStagesB];
    unsigned column[kStages]; /* step t's at t % kStages */
#pragma unroll
    for (int s = 0; s < kStages; s++) { /* the row's first columns lie beside it: no second wait for memory */
        unsigned slice = slice_of(src, s), block = slice / kSlices;
        const int *from = all_early(s) || block < TRI_ROW_COLUMNS ? record.col : src.col_idx;
        column[s] = all_early(s) || slice < src.slices ? load_cached_4(from + block) : 0;
    }
#pragma unroll
    for (int s = 0; s < kStages; s++)
        if (s < steps)
            load_a(a[s], src, slice_of(src, s));
#pragma unroll
    for (int s = 0; s < kStagesB; s++)
        if (s < steps) {
            load_b(b[s], src, slice_of(src, s), column[s]);
            column[s] = load_column(src, slice_of(src, s + kStages));
        }

    /* steady state: a step's registers are refilled as soon as it is multiplied */
    float acc[kRowTiles][kProducts][4] = {};
    for (int t0 = 0; t0 < steps; t0 += kStages) {
#pragma unroll
        for (int s = 0; s < kStages; s++) {
            int t = t0 + s;
            if (t >= steps)
                break;
            multiply(acc, a[s], b[s % kStagesB]);
            if (t + kStages < steps)
                load_a(a[s], src, slice_of(src, t + kStages));
            if (t + kStagesB < steps) {
                unsigned &next = column[(s + kStagesB) % kStages];
                load_b(b[s % kStagesB], src, slice_of(src, t + kStagesB), next);
                next = load_column(src, slice_of(src, t + kStagesB + kStages));
            }
        }
    }

    /* reduce: the warps of the CTA in shared memory */
    float *mine = smem + warp_k * kPartial;
#pragma unroll
    for (int i = 0; i < kRowTiles; i++) {
#pragma unroll
        for (int j = 0; j < kProducts; j++) {
#pragma unroll
            for (int e = 0; e < 4; e++) {
                int col = g * kColumns + 2 * j + e / 2;
                if (2 * j + e / 2 < kColumns)
                    mine[place(warp_m * kWarpRows + i * 8 + 2 * q + e % 2, col)] = acc[i][j][e];
            }
        }
    }
    __syncthreads();

    /* ... and the CTAs of the cluster, each of which finishes a part of the tile */
    if constexpr (kClusterK > 1) {
        for (int i = threadIdx.x; i < kElements; i += kThreads) {
            int at = i / kFast * kPitch + i % kFast;
            float sum = smem[at];
#pragma unroll
            for (int w = 1; w < kWarpsK; w++)
                sum += smem[w * kPartial + at];
            smem[at] = sum;
        }
        cluster_sync();
    }

    output_view<out_t> out = make_output_view<out_t>(args);
    int row0 = block_row * kBlockM + row_in_block;
    if (out.vector_ok && out.beta == 0.0f && (kCLayout == 1 || args.n % kVector == 0))
        store_tile<kVector, false>(out, smem, rank, row0, tile_col);
    else
        store_tile<1, true>(out, smem, rank, row0, tile_col);
    if constexpr (kClusterK > 1) {
        __syncwarp();
        cluster_sync(); /* the others still read this CTA's sums */
    }
}
