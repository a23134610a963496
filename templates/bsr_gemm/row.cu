/* bsr_gemm one block row a CTA: C = act(alpha * A * B + beta * C + bias), sm_90 (TMA, mma.sync).
 *
 *   A   BSR, block_m 16 or 32, block_k 16, 32 or a multiple of 64, row-major, 16-bit
 *   B   k x n, row-major or column-major; base 16-byte aligned, ldb a multiple of 8
 *   C   m x n, row-major or column-major, any n >= 1, any ldc
 *
 * For rows with few blocks, and for few columns: where a tile ends soon, what counts is how early its
 * first bytes arrive and how many are on their way. A CTA does one tile of one block row by kTileN
 * columns and leaves; the next one takes its place, long rows first, so uneven rows even out.
 *
 *   producer warp    rows[i] ──► the row's first blocks at once; col_idx ──► the others
 *                    kGroup pieces of a block: A[block_m][kStepK] and B[kStepK][tile_n] by TMA
 *                    ──► ring of kStages slots, full[] by bytes, empty[] by warps
 *   consumer warps   kBlockM x kWarpN of the tile each: ldmatrix ──► mma ──► registers ──► C
 *
 * Shared memory: rows of A, and of column-major B, are kStepK values, 32, 64 or 128 bytes, in TMA's swizzle
 * of that width; row-major B lies in boxes of 64 columns, 128 bytes, one after another. (A by cp.async would
 * save 128 bytes of arguments, see args.h, but racecheck does not follow how these copies are waited for.)
 */
#include "bsr_gemm/args.h"
#include "lib/store.cuh"
#include "lib/ptx.cuh"
#include "lib/tile.cuh"
#include "lib/tma.cuh"
{{#quick}}
#include "lib/quick.cuh"
{{/quick}}

using in_t = {{in_type}};             // A and B: __half, __nv_bfloat16
using out_t = {{out_type}};           // C and bias: float, __half, __nv_bfloat16
constexpr int kBlockM = {{block_m}};  // rows of a block
constexpr int kBlockK = {{block_k}};  // columns of a block
constexpr int kTileN = {{tile_n}};    // columns of C per CTA, a multiple of 64
constexpr int kWarps = {{warps_n}};   // consumer warps, side by side along kTileN
constexpr int kGroup = {{group}};     // pieces of blocks (at most 64 k each) per stage, at most 32
constexpr int kStages = {{stages}};   // pipeline stages
constexpr int kCtasPerSm = {{ctas_per_sm}}; // CTAs per SM (__launch_bounds__)
constexpr int kBRank = {{b_rank}};    // of map_b: 3 {64, k, n / 64}, one copy a piece; or 2
constexpr int kBLayout = {{b_layout}}; // 0 row-major, 1 column-major
constexpr int kCLayout = {{c_layout}}; // 0 row-major, 1 column-major
constexpr int kAct = {{act}};         // 0 none, 1 relu, 2 gelu (erf), 3 silu

constexpr int kStepK = kBlockK < 64 ? kBlockK : 64; // k of a piece
constexpr int kPieces = kBlockK / kStepK;           // of a block
constexpr int kThreads = (kWarps + 1) * 32; // the last warp produces
constexpr int kWarpN = kTileN / kWarps;
constexpr int kMTiles = kBlockM / 16;
constexpr int kNTiles = kWarpN / 8;
constexpr int kRowBytes = kStepK * 2;   // of A and column-major B
constexpr int kChunks = kRowBytes / 16; // of such a row
constexpr int kPieceA = kBlockM * kRowBytes;
constexpr int kPieceB = kTileN * kRowBytes;
constexpr int kBoxB = kBLayout == 0 ? 64 : (kTileN < 256 ? kTileN : 256); // columns of a box of rank 2
constexpr int kBoxBytes = kBoxB * kRowBytes;
constexpr int kStageBytes = kGroup * (kPieceA + kPieceB);

static_assert(sizeof(in_t) == 2, "16-bit inputs");
static_assert(kStepK % 16 == 0 && kBlockK % kStepK == 0 && (kStepK & (kStepK - 1)) == 0, "swizzled rows");
static_assert(kTileN % kBoxB == 0 && kTileN % 64 == 0, "whole boxes");
static_assert(kBlockM % 16 == 0 && kWarpN % 16 == 0 && (kWarpN % 64 == 0 || 64 % kWarpN == 0),
              "a warp's columns lie in whole boxes or inside one");
static_assert(kGroup >= 1 && 32 % kGroup == 0 && kStages >= 2, "one lane a piece; a ring");
static_assert(kBLayout == 0 || kBRank == 2, "slabs are of row-major B");

/* One piece of B: `piece` of the rows of block column `column`. */
__device__ __forceinline__ void load_piece_b(const tri_bsr_gemm_args &args, unsigned char *to_b,
                                             unsigned long long *full, int column, int piece, int col)
{
    int k = column * kBlockK + piece * kStepK;
    if constexpr (kBRank == 3) {
        tma_load_3d(to_b, &args.map_b, full, 0, k, col / 64);
    } else {
#pragma unroll
        for (int box = 0; box < kTileN / kBoxB; box++) {
            int n = col + box * kBoxB;
            tma_load_2d(to_b + box * kBoxBytes, &args.map_b, full, kBLayout == 0 ? n : k,
                        kBLayout == 0 ? k : n);
        }
    }
}

/* Producer: one warp. Lane l brings piece l of A and of B of each stage. Columns are read 32 at a time, one a lane, a
 * whole read ahead; those of the row's first blocks came with the row, so that their copies need not wait:
 * `early`, lane l the l-th. */
__device__ __forceinline__ void produce(const tri_bsr_gemm_args &args, const tri_block_row &work, int early,
                                        int col, unsigned char *ring_a, unsigned char *ring_b,
                                        unsigned long long *full, unsigned long long *empty)
{
    int lane = threadIdx.x % 32;
    int blocks = work.end - work.begin, pieces = blocks * kPieces;
    const int *columns = args.col_idx + work.begin;
    int here = lane < blocks ? columns[lane] : 0;
    int ahead = lane + 32 < blocks ? columns[lane + 32] : 0;
    int slot = 0;
    unsigned parity = 1; /* fresh slots are empty */
    for (int first = 0; first < pieces; first += kGroup) {
        int at = first + lane;
        int count = min(kGroup, pieces - first);
        unsigned char *to_b = ring_b + (slot * kGroup + lane) * kPieceB;
        mbarrier_wait(&empty[slot], parity);
        if (lane == 0)
            mbarrier_arrive_expect_tx(&full[slot], count * (kPieceA + kPieceB));
        __syncwarp();
        if (first > 0 && first % (32 * kPieces) == 0) {
            here = ahead;
            int later = first / kPieces + 32 + lane;
            ahead = later < blocks ? columns[later] : 0;
        }
        int column;
        if ((first + kGroup - 1) / kPieces < TRI_ROW_COLUMNS)
            column = __shfl_sync(0xffffffffu, early, at / kPieces % 32);
        else
            column = __shfl_sync(0xffffffffu, here, at / kPieces % 32);
        if (lane < kGroup && at < pieces) {
            load_piece_b(args, to_b, &full[slot], column, at % kPieces, col);
            tma_load_2d(ring_a + (slot * kGroup + lane) * kPieceA, &args.map_a, &full[slot],
                        at % kPieces * kStepK, (work.begin + at / kPieces) * kBlockM);
        }
        if (++slot == kStages) {
            slot = 0;
            parity ^= 1;
        }
    }
}

/* Consumer: one warp. */
__device__ __forceinline__ void consume(const tri_bsr_gemm_args &args, const tri_block_row &work, int col,
                                        unsigned ring_a, unsigned ring_b, unsigned long long *full,
                                        unsigned long long *empty)
{
    int lane = threadIdx.x % 32, warp = warp_uniform(threadIdx.x / 32);
    unsigned a_lane = ring_a + lane_offset_a<kChunks>(lane, 0);
    unsigned b_lane = ring_b + lane_offset_b<kBLayout, kBoxBytes, kChunks>(lane, warp * kWarpN);
    int pieces = (work.end - work.begin) * kPieces;
    float acc[kMTiles][kNTiles][4] = {};

    int slot = 0;
    unsigned parity = 0;
    for (int first = 0; first < pieces; first += kGroup) {
        mbarrier_wait(&full[slot], parity);
#pragma unroll
        for (int g = 0; g < kGroup; g++)
            if (g == 0 || first + g < pieces)
                multiply_tile<in_t, kBLayout, kBoxBytes, kStepK>(acc, a_lane + (slot * kGroup + g) * kPieceA,
                                                                 b_lane + (slot * kGroup + g) * kPieceB);
        __syncwarp(); /* every lane has read the slot */
        if (lane == 0)
            mbarrier_arrive(&empty[slot]);
        if (++slot == kStages) {
            slot = 0;
            parity ^= 1;
        }
    }

    output_view<out_t> out = make_output_view<out_t>(args);
    int col0 = col + warp * kWarpN;
    if (col0 < args.n)
        store_warp_tile<kAct, kCLayout>(out, acc, work.row * kBlockM, col0, lane);
}

/* grid: (block_rows, ceil(n / kTileN)); kThreads threads; dynamic shared memory, 1024-byte aligned:
 * kStages * (kStageBytes + 16) bytes. Neighbouring CTAs take the rows of one column tile, whose part of
 * B then stays in L2.
 * map_a {block_k, nnzb * block_m}: box {kStepK, kBlockM}, swizzle kRowBytes.
 * map_b, row-major, 128-byte swizzle: box {64, kStepK}; rank 3: {64, kStepK, kTileN / 64}.
 * map_b, column-major {k, n}: box {kStepK, min(kTileN, 256)}, swizzle kRowBytes. */
extern "C" __global__ void __launch_bounds__(kThreads, kCtasPerSm)
    triage_kernel(const __grid_constant__ tri_bsr_gemm_args args)
{
    extern __shared__ __align__(1024) unsigned char smem[];
    unsigned char *ring_a = smem + kStages * kGroup * kPieceB;
    unsigned long long *full = reinterpret_cast<unsigned long long *>(smem + kStages * kStageBytes);
    unsigned long long *empty = full + kStages;

    const tri_block_row &record = args.rows[blockIdx.x];
    tri_block_row work = record;
    int early = record.col[min(threadIdx.x % 32, TRI_ROW_COLUMNS - 1)];
    int col = blockIdx.y * kTileN;
    if (threadIdx.x == kWarps * 32) {
        tma_prefetch_map(&args.map_a);
        tma_prefetch_map(&args.map_b);
        for (int i = 0; i < kStages; i++) {
            mbarrier_init(&full[i], 1);
            mbarrier_init(&empty[i], kWarps);
        }
        mbarrier_init_fence();
    }
    __syncthreads();

    if (warp_uniform(threadIdx.x / 32) == kWarps)
        produce(args, work, early, col, ring_a, smem, full, empty);
    else
        consume(args, work, col, smem_u32(ring_a), smem_u32(smem), full, empty);
}
