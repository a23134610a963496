/* bsr_sddmm with TMA and wgmma (sm_90a): D = alpha * (Y * X^T) + beta * D on the stored blocks.
 *
 *   Y   m x n, row-major or column-major; base 16-byte aligned, ldy a multiple of 8 (TMA)
 *   X   k x n, row-major or column-major; likewise
 *   D   blocks kBlockM x kBlockK, each 64 or 128; any n >= 1
 *
 * A CTA computes a tile: at most kBlocks blocks of one block row (args.h), side by side as one product of kBlockM rows by
 * kBlocks * kBlockK columns. What it reads of Y is shared by all of them.
 *
 *   producer    (1 warp)  for each 64 of n: Y strip and the X strips of the tile, TMA -> stage ring (kStages),
 *                         full[] by bytes, empty[] by warps
 *   consumers   warpgroups of 64 rows x kWgN columns: wgmma from shared memory, sums in registers -> D
 *
 * A tile of fewer blocks than kBlocks leaves the last strips of a stage as they are: their products are in columns of their own,
 * which nobody stores.
 *
 * kSplits > 1: so many CTAs share a tile, each with a part of n (finish.cuh).
 *
 * Shared operand layouts (rows of 128 bytes as TMA writes them with its swizzle, see lib/wgmma.cuh):
 *   row-major      [line][64 of n]               K-major
 *   column-major   [line / 64][64 of n][64]      MN-major slabs
 * Tensor maps, fastest dimension first:
 *   row-major      {n, lines}   box {64, a block's lines}
 *   column-major   {lines, n}   box {64, 64}
 * What lies beyond n loads as zero.
 */
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "bsr_sddmm/args.h"
#include "bsr_sddmm/finish.cuh"
#include "lib/ptx.cuh"
#include "lib/tma.cuh"
#include "lib/wgmma_major.cuh"

using in_t = {{in_type}};                   // Y and X: __half, __nv_bfloat16
using out_t = {{out_type}};                 // D: float, __half, __nv_bfloat16
constexpr int kBlockM = {{block_m}};        // rows of a block
constexpr int kBlockK = {{block_k}};        // columns of a block
constexpr int kYLayout = {{y_layout}};      // 0 row-major, 1 column-major
constexpr int kXLayout = {{x_layout}};      // 0 row-major, 1 column-major
constexpr int kBlocks = {{tile_blocks}};    // blocks of a tile, at most
constexpr int kWgsN = {{wg_n}};             // consumer warpgroups side by side
constexpr int kStages = {{stages}};         // pipeline stages
constexpr int kSplits = {{splits}};         // CTAs that split the reduction of a tile
constexpr int kCtasPerSm = {{ctas_per_sm}}; // CTAs per SM (__launch_bounds__)

constexpr int kStep = 64; // n of a stage: rows of 128 bytes
constexpr int kWgsM = kBlockM / 64;
constexpr int kWgN = kBlocks * kBlockK / kWgsN; // columns of a consumer warpgroup
constexpr int kConsumers = kWgsM * kWgsN;
constexpr int kThreads = 128 * kConsumers + 32; // the last warp produces
constexpr int kSlabBytes = 64 * kStep * 2;      // 64 lines of a stage
constexpr int kYBytes = kBlockM / 64 * kSlabBytes;
constexpr int kStripBytes = kBlockK / 64 * kSlabBytes; // of X, a block column
constexpr int kStageBytes = kYBytes + kBlocks * kStripBytes;
constexpr int kTileInts = TRI_TILE_INTS(1, kBlocks, kBlocks);

static_assert(sizeof(in_t) == 2, "16-bit elements");
static_assert((kBlockM == 64 || kBlockM == 128) && (kBlockK == 64 || kBlockK == 128), "slabs of 64");
static_assert(kBlocks * kBlockK % kWgsN == 0 && kWgN % 64 == 0 && kWgN <= 256, "whole slabs per warpgroup");
static_assert(kStages >= 2, "loads overlap the products");

struct sync_t {
    unsigned long long full[kStages], empty[kStages];
};
static_assert((kStages * kStageBytes + (int)sizeof(sync_t) + 1024) * kCtasPerSm <= 233472, "fits in an SM's shared memory");

extern __shared__ __align__(1024) unsigned char shared[];

__device__ __forceinline__ sync_t &sync() { return *reinterpret_cast<sync_t *>(shared + kStages * kStageBytes); }

/* ---- load: one thread ---- */

/* n0 .. n0 + 63 of the lines of one strip. */
template <int layout, int block>
__device__ __forceinline__ void load_strip(unsigned char *to, const void *map, unsigned long long *full, int strip, int n0)
{
    if constexpr (layout == 0) {
        tma_load_2d(to, map, full, n0, strip * block);
    } else {
#pragma unroll
        for (int line = 0; line < block; line += 64)
            tma_load_2d(to + line / 64 * kSlabBytes, map, full, strip * block + line, n0);
    }
}

__device__ __forceinline__ void produce(const tri_bsr_sddmm_args &args, const int *tile, int first, int steps)
{
    const int row = tile[TRI_TILE_HEAD], count = tile[1];
    const int *cols = tile + TRI_TILE_HEAD + 1;
    int slot = 0;
    unsigned parity = 0;
    for (int step = 0; step < steps; ++step) {
        unsigned char *stage = shared + slot * kStageBytes;
        unsigned long long *full = &sync().full[slot];
        const int n0 = (first + step) * kStep;
        mbarrier_wait(&sync().empty[slot], parity ^ 1);
        mbarrier_arrive_expect_tx(full, kYBytes + count * kStripBytes);
        load_strip<kYLayout, kBlockM>(stage, &args.map_y, full, row, n0);
#pragma unroll
        for (int i = 0; i < kBlocks; ++i)
            if (i < count)
                load_strip<kXLayout, kBlockK>(stage + kYBytes + i * kStripBytes, &args.map_x, full, cols[i], n0);
        if (++slot == kStages)
            slot = 0, parity ^= 1;
    }
}

/* ---- compute: every consumer warpgroup ---- */

/* The operand of the lines from `line` on. */
template <int layout> __device__ __forceinline__ unsigned long long describe(const unsigned char *operand, int line)
{
    return wgmma_desc<128>(operand + line * 128, layout == 0 ? 0 : kSlabBytes, 1024);
}
static_assert(kSlabBytes == 64 * 128, "64 lines are 64 rows of 128 bytes in both layouts");

template <int layout> constexpr int kNext16 = layout == 0 ? 32 : 16 * 128; // bytes to the next 16 of n

__device__ __forceinline__ void consume(float (&sum)[kWgN / 2], int steps, int wg_m, int wg_n)
{
    const int lane = threadIdx.x % 32;
    int slot = 0, before = 0;
    unsigned parity = 0;
    for (int step = 0; step < steps; ++step) {
        const unsigned char *stage = shared + slot * kStageBytes;
        mbarrier_wait(&sync().full[slot], parity);
        const unsigned long long a = describe<kYLayout>(stage, wg_m * 64);
        const unsigned long long b = describe<kXLayout>(stage + kYBytes, wg_n * kWgN);
        wgmma_fence_registers(sum);
        wgmma_fence();
#pragma unroll
        for (int i = 0; i < kStep / 16; ++i)
            wgmma_major<in_t, kWgN, kYLayout, kXLayout>::mma(sum, wgmma_desc_advance(a, i * kNext16<kYLayout>),
                                                             wgmma_desc_advance(b, i * kNext16<kXLayout>));
        wgmma_commit();
        wgmma_fence_registers(sum);
        wgmma_wait<1>();
        if (step > 0 && lane == 0)
            mbarrier_arrive(&sync().empty[before]);
        before = slot;
        if (++slot == kStages)
            slot = 0, parity ^= 1;
    }
    wgmma_wait<0>();
    wgmma_fence_registers(sum);
}

/* ---- store ---- */

__device__ __forceinline__ void store(const tri_bsr_sddmm_args &args, const int *tile, const float (&sum)[kWgN / 2],
                                      int wg_m, int wg_n)
{
    const int *blocks = tile + TRI_TILE_HEAD + 1 + 2 * kBlocks;
    const int lane = threadIdx.x % 32, row = wg_m * 64 + threadIdx.x / 32 % 4 * 16 + lane / 4, count = tile[2];
#pragma unroll
    for (int strip = 0; strip < kWgN; strip += 64) { // a block's columns begin at multiples of 64
        const int col = wg_n * kWgN + strip, place = col / kBlockK;
        if (place >= count)
            break;
        out_t *d = static_cast<out_t *>(args.d) + ((long long)blocks[place] * kBlockM + row) * kBlockK + col % kBlockK +
                   lane % 4 * 2;
#pragma unroll
        for (int j = 0; j < 8; ++j) {
            const float *v = sum + strip / 2 + 4 * j;
            store_pair(args, d + 8 * j, v[0], v[1]);
            store_pair(args, d + 8 * kBlockK + 8 * j, v[2], v[3]);
        }
    }
}

/* grid: (at least as many as there are tiles, kSplits); dynamic shared memory: the stages and sync_t. */
extern "C" __global__ void __launch_bounds__(kThreads, kCtasPerSm)
    triage_kernel(const __grid_constant__ tri_bsr_sddmm_args args)
{
    if (blockIdx.x >= args.tile_count)
        return;
    const int *tile = args.tiles + (long long)blockIdx.x * kTileInts;
    const int warp = warp_uniform(threadIdx.x / 32), wg = warp / 4;
    const long long all = ((long long)args.n + kStep - 1) / kStep;
    const int first = (int)(all * blockIdx.y / kSplits), steps = (int)(all * (blockIdx.y + 1) / kSplits) - first;
    if (threadIdx.x == 0) {
        for (int i = 0; i < kStages; ++i) {
            mbarrier_init(&sync().full[i], 1);
            mbarrier_init(&sync().empty[i], kConsumers * 4);
        }
        mbarrier_init_fence();
    }
    __syncthreads();

    if (wg == kConsumers) {
        if (elect_one())
            produce(args, tile, first, steps);
        return;
    }
    const int wg_m = wg % kWgsM, wg_n = wg / kWgsM;
    float sum[kWgN / 2] = {};
    consume(sum, steps, wg_m, wg_n);
    if constexpr (kSplits > 1) {
        if (!add_parts<kSplits, 128 * kConsumers, kWgN / 2>(sum, args.workspace,
                                                            [] { named_barrier_sync(1, 128 * kConsumers); }))
            return;
    }
    store(args, tile, sum, wg_m, wg_n);
}
