/* bsr_sddmm for small blocks, with TMA and mma.sync (sm_90): D = alpha * (Y * X^T) + beta * D on the stored blocks.
 *
 *   Y   m x n, row-major or column-major; base 16-byte aligned, ldy a multiple of 8 (TMA)
 *   X   k x n, row-major or column-major; likewise
 *   D   blocks kBlockM x kBlockK, each 16 or 32; any n >= 1
 *
 * A small block does too little with what it needs of Y and X. So a CTA computes a patch: all stored blocks among kTileRows
 * block rows and up to kTileCols block columns. Rows and columns of such a tile (args.h) are neighbours: all from the first
 * to the last, also those that have no block in it; it may have no block, and no column then. The sums stay in registers;
 * lines of Y and X pass through shared memory once for all of them:
 *
 *   producer    (1 warp)  for each kStep of n: TMA, boxes of 64 lines -> ring of kStages; full[] by bytes, empty[] by warps
 *   consumers   (kWarps)  pieces of blocks: a [16 x 16] (ldmatrix), b [16 x 8] (ldmatrix) -> mma -> sums -> D
 *
 * kCluster 2: two neighbours in a band have the same lines of Y. Each brings half of them to both.
 *
 * The pieces of a patch, kBlockM x kSubN each, in the order of its blocks, are dealt to the warps in equal runs, of kSlots at
 * most. Neighbours in a run mostly lie in one row, and share what they load of Y.
 *
 * A box in shared memory, as TMA writes and swizzles it (lib/tile.cuh):
 *   row-major      [64 lines][kStep]       rows of kStep * 2 bytes
 *   column-major   [kStep][64 lines]       rows of 128 bytes, read by ldmatrix.trans
 * What lies beyond n, m or k loads as zero.
 */
#include "bsr_sddmm/args.h"
#include "lib/mma.cuh"
#include "lib/ptx.cuh"
#include "lib/tile.cuh"
#include "lib/tma.cuh"

using in_t = {{in_type}};                    // Y and X: __half, __nv_bfloat16
using out_t = {{out_type}};                  // D: float, __half, __nv_bfloat16
constexpr int kBlockM = {{block_m}};         // rows of a block: 16 or 32
constexpr int kBlockK = {{block_k}};         // columns of a block: 16 or 32
constexpr int kYLayout = {{y_layout}};       // 0 row-major, 1 column-major
constexpr int kXLayout = {{x_layout}};       // 0 row-major, 1 column-major
constexpr int kTileRows = {{tile_rows}};     // block rows of a patch
constexpr int kTileCols = {{tile_cols}};     // block columns, at most
constexpr int kTileBlocks = {{tile_blocks}}; // stored blocks, at most
constexpr int kSubN = {{sub_n}};             // columns of a sub-block
constexpr int kWarps = {{warps}};            // consumers
constexpr int kStep = {{step}};              // n per pipeline stage
constexpr int kStages = {{stages}};          // pipeline stages
constexpr int kCluster = {{cluster}};        // CTAs that share Y by multicast: 1 or 2

constexpr int kThreads = (kWarps + 4) * 32; // the last warpgroup holds the producer
/* Registers: a quarter of the SM's file serves one warp of each warpgroup. What the launch gives is handed over: the
 * producer's warpgroup keeps 24, the consumers share the rest. */
constexpr int kLaunchRegisters = 512 / (kWarps / 4 + 1) / 8 * 8;
constexpr int kShare = (kLaunchRegisters * (kWarps / 4 + 1) - 24) / (kWarps / 4) / 8 * 8;
constexpr int kConsumerRegisters = kShare > 240 ? 240 : kShare;
constexpr int kSubs = kBlockK / kSubN;      // pieces of a block
constexpr int kSlots = (kTileBlocks * kSubs + kWarps - 1) / kWarps;
constexpr int kMTiles = kBlockM / 16;
constexpr int kNTiles = kSubN / 8;
constexpr int kDepth = kStep < 32 ? kStep : 32; // n that fragments are loaded for at once
constexpr int kTiles16 = kDepth / 16;
constexpr int kBoxBytes = 64 * kStep * 2;
constexpr int kBoxesY = kTileRows * kBlockM / 64;
constexpr int kBoxesX = kTileCols * kBlockK / 64;
constexpr int kStageX = kBoxesY * kBoxBytes; // where X begins in a stage
constexpr int kStageBytes = kStageX + kBoxesX * kBoxBytes;
constexpr int kTileInts = TRI_TILE_INTS(kTileRows, kTileCols, kTileBlocks);

static_assert(sizeof(in_t) == 2, "16-bit elements");
static_assert((kBlockM == 16 || kBlockM == 32) && (kBlockK == 16 || kBlockK == 32), "small blocks");
static_assert(kTileRows * kBlockM % (64 * kCluster) == 0 && kTileCols * kBlockK % 64 == 0, "whole boxes");
static_assert(kStep == 32 || kStep == 64 || (kStep == 16 && kYLayout == 1 && kXLayout == 1), "rows that TMA swizzles");
static_assert(kSubN % 16 == 0 && kBlockK % kSubN == 0, "pieces of whole pairs of fragments");
static_assert(kSlots >= 1 && kSlots <= 32, "a bit for each slot");
static_assert(kStageX <= 1 << 20 && kStageBytes - kStageX <= 1 << 20, "an offset in units of 16 bytes has 16 bits");
static_assert(kStages >= 2 && kThreads <= 1024 && kWarps % 4 == 0, "loads overlap the products");
static_assert(kStages * (kStageBytes + 16) <= 232448, "shared memory");

/* ---- load: one thread ---- */

/* 64 lines from `line` on, n0 .. n0 + kStep - 1. */
template <int layout, bool shared_by_all>
__device__ __forceinline__ void load_box(unsigned char *to, const void *map, unsigned long long *full, int line, int n0)
{
    const int c0 = layout == 0 ? n0 : line, c1 = layout == 0 ? line : n0;
    if constexpr (shared_by_all && kCluster > 1)
        tma_load_2d_multicast(to, map, full, c0, c1, (1 << kCluster) - 1);
    else
        tma_load_2d(to, map, full, c0, c1);
}

__device__ __forceinline__ void produce(const tri_bsr_sddmm_args &args, const int *tile, unsigned char *stages,
                                        unsigned long long *full, unsigned long long *empty)
{
    constexpr int kShare = kBoxesY / kCluster; // of the boxes of Y, this CTA's
    const int first = kCluster > 1 ? (int)cluster_ctarank() * kShare : 0;
    const int boxes = (tile[1] * kBlockK + 63) / 64;
    const int line_y = tile[TRI_TILE_HEAD] * kBlockM, line_x = boxes > 0 ? tile[TRI_TILE_HEAD + kTileRows] * kBlockK : 0;
    int slot = 0;
    unsigned parity = 1; /* fresh slots are empty */
    for (int n0 = 0; n0 < args.n; n0 += kStep) {
        unsigned char *stage = stages + slot * kStageBytes;
        mbarrier_wait(&empty[slot], parity);
        mbarrier_arrive_expect_tx(&full[slot], (kBoxesY + boxes) * kBoxBytes);
#pragma unroll
        for (int i = 0; i < kShare; i++)
            load_box<kYLayout, true>(stage + (first + i) * kBoxBytes, &args.map_y, &full[slot], line_y + (first + i) * 64,
                                     n0);
        for (int i = 0; i < boxes; i++)
            load_box<kXLayout, false>(stage + kStageX + i * kBoxBytes, &args.map_x, &full[slot], line_x + i * 64, n0);
        if (++slot == kStages)
            slot = 0, parity ^= 1;
    }
}

/* ---- multiply ---- */

#include "bsr_sddmm/pieces.cuh"

/* Boxes have 64 lines, whatever a block has. */
template <int layout, bool is_a> __device__ __forceinline__ int lane_offset_of_boxes(int lane, int line)
{
    if constexpr (layout == 0)
        return lane_offset<layout, 64, is_a>(lane, line);
    else
        return line / 64 * kBoxBytes + lane_offset<layout, 64, is_a>(lane, line % 64);
}
__device__ __forceinline__ int place_y(int lane, int row, int line)
{
    return lane_offset_of_boxes<kYLayout, true>(lane, row * kBlockM + line);
}
__device__ __forceinline__ int place_x(int lane, int col, int line)
{
    return lane_offset_of_boxes<kXLayout, false>(lane, col * kBlockK + line);
}

__device__ __forceinline__ int rows_of_y(int row, int) { return row; } /* a piece has all rows of its block */

/* The fragment of sixteen lines, `tile` further, at n 16 * kt. */
template <int layout>
__device__ __forceinline__ void load_fragment(unsigned (&r)[4], unsigned address, int tile, int kt)
{
    if constexpr (layout == 0)
        ldmatrix_x4(r, (address ^ kt << 5) + tile * 16 * kStep * 2);
    else
        ldmatrix_x4_trans(r, (address ^ tile << 5) + kt * 16 * 128);
}

/* All of n of a stage for one slot after the other: what a slot loads is under way together. */
__device__ __forceinline__ void multiply_step(float (&acc)[kSlots][kMTiles][kNTiles][4], const pieces &own, unsigned stage)
{
#pragma unroll
    for (int k0 = 0; k0 < kStep / 16; k0 += kTiles16) {
        unsigned a[kTiles16][kMTiles][4];
#pragma unroll
        for (int s = 0; s < kSlots; s++) {
            if (s >= own.count)
                break;
            if (own.fresh >> s & 1) {
#pragma unroll
                for (int kt = 0; kt < kTiles16; kt++)
#pragma unroll
                    for (int mt = 0; mt < kMTiles; mt++)
                        load_fragment<kYLayout>(a[kt][mt], stage + ((own.places[s] & 0xffff) << 4), mt, k0 + kt);
            }
#pragma unroll
            for (int nj = 0; nj < kNTiles / 2; nj++) {
                unsigned b[kTiles16][4];
#pragma unroll
                for (int kt = 0; kt < kTiles16; kt++)
                    load_fragment<kXLayout>(b[kt], stage + kStageX + (own.places[s] >> 16 << 4), nj, k0 + kt);
#pragma unroll
                for (int kt = 0; kt < kTiles16; kt++)
#pragma unroll
                    for (int mt = 0; mt < kMTiles; mt++) {
                        mma_m16n8k16(acc[s][mt][nj * 2], a[kt][mt], b[kt][0], b[kt][1], in_t());
                        mma_m16n8k16(acc[s][mt][nj * 2 + 1], a[kt][mt], b[kt][2], b[kt][3], in_t());
                    }
            }
        }
    }
}

__device__ __forceinline__ void consume(const tri_bsr_sddmm_args &args, const int *tile, unsigned stages,
                                        unsigned long long *full, unsigned long long *empty)
{
    const int lane = threadIdx.x % 32, warp = warp_uniform(threadIdx.x / 32);
    const pieces own = find_pieces(tile, warp, lane);
    float acc[kSlots][kMTiles][kNTiles][4] = {};
    int slot = 0;
    unsigned parity = 0;
    for (int n0 = 0; n0 < args.n; n0 += kStep) {
        mbarrier_wait(&full[slot], parity);
        multiply_step(acc, own, stages + slot * kStageBytes);
        __syncwarp(); /* every lane has read the slot */
        if constexpr (kCluster > 1) {
            if (lane < kCluster)
                mbarrier_arrive_cluster(&empty[slot], lane);
        } else {
            if (lane == 0)
                mbarrier_arrive(&empty[slot]);
        }
        if (++slot == kStages)
            slot = 0, parity ^= 1;
    }
    store_pieces(args, tile, acc, own, warp, lane);
}

extern __shared__ __align__(1024) float room[];

/* grid: at least as many as there are tiles, a multiple of kCluster; dynamic shared memory: the stages and two barriers each. */
extern "C" __global__ void __launch_bounds__(kThreads, 1) __cluster_dims__(kCluster, 1, 1)
    triage_kernel(const __grid_constant__ tri_bsr_sddmm_args args)
{
    if (blockIdx.x >= args.tile_count)
        return; /* of a cluster all or none */
    unsigned char *stages = reinterpret_cast<unsigned char *>(room);
    unsigned long long *full = reinterpret_cast<unsigned long long *>(stages + kStages * kStageBytes);
    unsigned long long *empty = full + kStages;
    const int *tile = args.tiles + (long long)blockIdx.x * kTileInts;
    if (threadIdx.x == 0) {
        for (int i = 0; i < kStages; i++) {
            mbarrier_init(&full[i], 1);
            mbarrier_init(&empty[i], kWarps * kCluster);
        }
        mbarrier_init_fence();
        tma_prefetch_map(&args.map_y);
        tma_prefetch_map(&args.map_x);
    }
    if constexpr (kCluster > 1)
        cluster_sync();
    else
        __syncthreads();

    if (threadIdx.x / 32 >= kWarps) {
        setmaxnreg_dec<24>();
        if (warp_uniform(threadIdx.x / 32) == kWarps && elect_one())
            produce(args, tile, stages, full, empty);
        __syncwarp();
    } else {
        setmaxnreg_inc<kConsumerRegisters>();
        consume(args, tile, smem_u32(stages), full, empty);
    }
    if constexpr (kCluster > 1)
        cluster_sync(); /* no copy or arrival may reach a CTA that has left */
}
