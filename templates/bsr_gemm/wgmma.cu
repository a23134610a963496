/* bsr_gemm with TMA and wgmma (sm_90a): C = act(alpha * A * B + beta * C + bias).
 *
 *   A   BSR, blocks kBlockM x kBlockK row-major: kBlockM 64 or 128, kBlockK a multiple of kStepK
 *   B   k x n, row-major or column-major; base 16-byte aligned, ldb * 2 a multiple of 16 (TMA)
 *   C   m x n, row-major or column-major; likewise; any n >= 1
 *
 * A CTA owns tiles of one block row by kTileN columns, one after another, and walks the blocks:
 *
 *   producer   tile -> { row, n0, steps } -> tile ring (kTileSlots) ------------+
 *   (1 warp)   A block [block_m][step_k] and B [step_k][tile_n], TMA            |
 *              -> stage ring (kStages), full[] by bytes, empty[] by warps       |
 *   consumers  warpgroups of 64 rows x kWgN columns of the tile  <--------------+
 *              wgmma from shared memory, sums in registers
 *              -> alpha, beta, bias, act -> packed in registers; under the next tile's products:
 *              stmatrix -> slabs of 64 x 64 -> TMA store
 *
 * The producer runs ahead into the next tiles while the consumers finish this one. The consumers do
 * not wait for each other. A cluster holds kClusterN tiles
 * side by side in N; each CTA loads its part of the A block and multicasts it to all.
 *
 * Shared operand layouts (rows as TMA writes them, see lib/wgmma.cuh):
 *   A   [block_m][step_k]             K-major
 *   B   [tile_n / 64][step_k][64]     row-major B: MN-major slabs
 *       [tile_n][step_k]              column-major B: K-major
 * Tensor maps, fastest dimension first:
 *   map_a  {block_k, nnzb * block_m}           box {step_k, block_m / cluster_n}
 *   map_b  b_rank 3: {64, k, ceil(n / 64)}     box {64, step_k, tile_n / 64}    row-major B
 *          b_rank 2: {n, k}                    box {64, step_k}                 row-major B
 *          b_rank 2: {k, n}                    box {step_k, min(tile_n, 256)}   column-major B
 *   map_c  {n, m}; column-major {m, n}         box {64, 64}
 * Swizzle: 128 bytes; 64 bytes where a box is step_k = 32 elements wide. b_rank 3 reads B's rows up
 * to a multiple of 64 columns: it needs n % 64 == 0, or rows that are padded so far.
 */
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "bsr_gemm/args.h"
#include "lib/epilogue.cuh"
#include "lib/ptx.cuh"
#include "lib/tma.cuh"
#include "lib/wgmma.cuh"

using in_t = {{in_type}};                   // A and B: __half, __nv_bfloat16
using out_t = {{out_type}};                 // C and bias: __half, __nv_bfloat16
constexpr int kBlockM = {{block_m}};        // rows of a block: 64 or 128
constexpr int kBlockK = {{block_k}};        // columns of a block
constexpr int kTileN = {{tile_n}};          // columns of C per CTA tile
constexpr int kWgsN = {{wg_n}};             // consumer warpgroups side by side in a tile
constexpr int kStepK = {{step_k}};          // k of one stage: 32 or 64
constexpr int kStages = {{stages}};         // slots of the stage ring
constexpr int kCSlabs = {{c_slabs}};        // store buffers of 64 x 64 per warpgroup
constexpr int kClusterN = {{cluster_n}};    // CTAs per cluster, side by side in N: 1, 2 or 4
constexpr int kCtasPerSm = {{ctas_per_sm}}; // resident CTAs to leave registers for
constexpr int kRaster = {{raster}};         // width of a band of N, in clusters: see raster_t
constexpr int kBRank = {{b_rank}};          // rank of map_b: 3 (row-major B, n % 64 == 0) or 2
constexpr int kBLayout = {{b_layout}};      // 0 row-major, 1 column-major
constexpr int kCLayout = {{c_layout}};      // 0 row-major, 1 column-major
constexpr int kAct = {{act}};               // 0 none, 1 relu, 2 gelu (erf), 3 silu

constexpr int kWgsM = kBlockM / 64;
constexpr int kWgN = kTileN / kWgsN;             // columns of a consumer warpgroup
constexpr int kConsumers = kWgsM * kWgsN;        // warpgroups
constexpr int kThreads = 128 * (kConsumers + 1); // the last warpgroup's first warp produces
constexpr int kTileSlots = 2;
constexpr int kStepsPerBlock = kBlockK / kStepK;
constexpr int kKWidth = kStepK * 2;          // bytes of a K-major row in a stage
constexpr int kABytes = kBlockM * kKWidth;   // per stage
constexpr int kBBytes = kTileN * kKWidth;    // per stage
constexpr int kBSlabBytes = kStepK * 128;    // 64 columns of a row-major B in a stage
constexpr int kBBox = kBLayout == 1 ? (kTileN < 256 ? kTileN : 256) : kBRank == 3 ? kTileN : 64;
constexpr int kCSlabBytes = 64 * 64 * 2;
// Registers: every thread is launched with as many; the producer warpgroup hands its own over.
constexpr int kLaunchRegs = 65536 / kCtasPerSm / kThreads / 8 * 8;
constexpr int kProducerRegs = 24;
constexpr int kSpareRegs = (kLaunchRegs * (kConsumers + 1) - kProducerRegs) / kConsumers / 8 * 8;
constexpr int kConsumerRegs = kSpareRegs < 240 ? kSpareRegs : 240;

static_assert(sizeof(in_t) == 2 && sizeof(out_t) == 2, "16-bit types");
static_assert(kBlockM == 64 || kBlockM == 128, "one or two warpgroups high");
static_assert(kStepK == 32 || kStepK == 64, "a stage's A rows are one swizzle width");
static_assert(kBlockK % kStepK == 0, "whole stages per block");
static_assert(kTileN % kWgsN == 0 && kWgN % 64 == 0 && kWgN <= 256, "whole slabs per warpgroup");
static_assert(kTileN % kBBox == 0, "whole boxes of B");
static_assert(kWgN / 64 % kCSlabs == 0, "a slab of C always has the same buffer");
static_assert(kConsumers <= 4, "1 to 4 consumer warpgroups");
static_assert(kLaunchRegs >= kWgN / 2 + 26,
              "ptxas wants each wgmma to fit in the registers of the launch");
static_assert(kABytes / kClusterN % 1024 == 0, "parts of A keep the swizzle");

struct tile_t {
    int row;   // block row; -1: no more tiles
    int n0;    // first column of C
    int steps; // stages to come; 0: an empty block row
    int pad;
};

struct sync_t {
    unsigned long long full[kStages], empty[kStages];
    unsigned long long tile_full[kTileSlots], tile_empty[kTileSlots];
    tile_t tiles[kTileSlots];
};

constexpr int kCOffset = kStages * (kABytes + kBBytes);
constexpr int kSyncOffset = kCOffset + kConsumers * kCSlabs * kCSlabBytes;
constexpr int kSharedBytes = kSyncOffset + sizeof(sync_t); // what the launch gives
static_assert((kSharedBytes + 1024) * kCtasPerSm <= 233472, "fits in an SM's shared memory");

extern __shared__ __align__(1024) unsigned char shared[];

__device__ __forceinline__ unsigned char *stage_a(int slot) { return shared + slot * kABytes; }
__device__ __forceinline__ unsigned char *stage_b(int slot)
{
    return shared + kStages * kABytes + slot * kBBytes;
}
__device__ __forceinline__ sync_t &sync()
{
    return *reinterpret_cast<sync_t *>(shared + kSyncOffset);
}

/* A position in a ring: the slot, and the parity of the phase in which it is used. */
template <int slots>
struct ring_t {
    int slot = 0;
    unsigned parity = 0;

    __device__ __forceinline__ void advance()
    {
        if (++slot == slots) {
            slot = 0;
            parity ^= 1;
        }
    }
};

/* The order of tiles: bands of kRaster clusters in N; in a band the columns run fastest. CTAs that
 * run together then share A blocks, and stay within few columns of B, which L2 holds. */
struct raster_t {
    int rows, columns, tiles; // columns in cluster widths

    __device__ __forceinline__ explicit raster_t(const tri_bsr_gemm_args &args)
        : rows(args.block_rows),
          columns((args.n + kTileN * kClusterN - 1) / (kTileN * kClusterN)),
          tiles(rows * columns)
    {
    }
    /* Where a tile is: its place in row_order, and its column. */
    __device__ __forceinline__ void locate(int tile, int &place, int &column) const
    {
        const int band = tile / (rows * kRaster), in_band = tile - band * rows * kRaster;
        const int width = min(kRaster, columns - band * kRaster);
        place = in_band / width;
        column = band * kRaster + in_band - place * width;
    }
};

/* ---- load: one warp ---- */

__device__ __forceinline__ void load_stage(const tri_bsr_gemm_args &args, int slot, int block,
                                           int k_in_block, int k, int n0, unsigned rank)
{
    unsigned long long *full = &sync().full[slot];
    mbarrier_arrive_expect_tx(full, kABytes + kBBytes);
    if constexpr (kClusterN == 1) {
        tma_load_2d(stage_a(slot), &args.map_a, full, k_in_block, block * kBlockM);
    } else {
        constexpr int kPart = kBlockM / kClusterN; // rows that this CTA brings to all
        tma_load_2d_multicast(stage_a(slot) + rank * kPart * kKWidth, &args.map_a, full, k_in_block,
                              block * kBlockM + rank * kPart, (1 << kClusterN) - 1);
    }
#pragma unroll
    for (int n = 0; n < kTileN; n += kBBox) {
        unsigned char *to = stage_b(slot) + n * kKWidth;
        if constexpr (kBLayout == 1)
            tma_load_2d(to, &args.map_b, full, k, n0 + n);
        else if constexpr (kBRank == 3)
            tma_load_3d(to, &args.map_b, full, 0, k, n0 / 64);
        else
            tma_load_2d(to, &args.map_b, full, n0 + n, k);
    }
}

__device__ __forceinline__ void publish_tile(ring_t<kTileSlots> &ring, const tile_t &tile)
{
    mbarrier_wait(&sync().tile_empty[ring.slot], ring.parity ^ 1);
    if (elect_one()) {
        sync().tiles[ring.slot] = tile;
        mbarrier_arrive(&sync().tile_full[ring.slot]);
    }
    __syncwarp();
    ring.advance();
}

/* The reads that lead to a tile's first block (order, range, columns) depend on each other. Each is
 * made one tile before the next needs it, so that none is waited for. */
__device__ __forceinline__ void produce(const tri_bsr_gemm_args &args)
{
    const raster_t raster(args);
    const int lane = threadIdx.x % 32;
    const unsigned rank = kClusterN == 1 ? 0 : cluster_ctarank();
    const int stride = gridDim.x / kClusterN;
    const auto row_at = [&](int tile) {
        int place = 0, column;
        if (tile < raster.tiles) raster.locate(tile, place, column);
        return args.row_order[place];
    };
    const auto column_at = [&](int i, int end) { return i < end ? args.col_idx[i] : 0; };

    ring_t<kStages> ring;
    ring_t<kTileSlots> tile_ring;
    int tile = blockIdx.x / kClusterN;
    int row = row_at(tile), row1 = row_at(tile + stride);
    int begin = args.row_ptr[row], end = args.row_ptr[row + 1];
    int columns = column_at(begin + lane, end); // lane i: block column of the i-th block ahead

    for (; tile < raster.tiles; tile += stride) {
        const int row2 = row_at(tile + 2 * stride);
        const int begin1 = args.row_ptr[row1], end1 = args.row_ptr[row1 + 1];
        int place, column;
        raster.locate(tile, place, column);
        const int n0 = (column * kClusterN + rank) * kTileN;
        publish_tile(tile_ring, {row, n0, (end - begin) * kStepsPerBlock, 0});

        for (int first = begin; first < end; first += 32) {
            const int next = first + 32 < end ? column_at(first + 32 + lane, end)
                                              : column_at(begin1 + lane, end1);
            const int count = min(32, end - first);
            for (int i = 0; i < count; ++i) {
                const int k0 = __shfl_sync(0xffffffffu, columns, i) * kBlockK;
                for (int k = 0; k < kBlockK; k += kStepK) {
                    mbarrier_wait(&sync().empty[ring.slot], ring.parity ^ 1);
                    if (elect_one()) load_stage(args, ring.slot, first + i, k, k0 + k, n0, rank);
                    __syncwarp();
                    ring.advance();
                }
            }
            columns = next;
        }
        if (begin == end) columns = column_at(begin1 + lane, end1);
        row = row1, row1 = row2, begin = begin1, end = end1;
    }
    publish_tile(tile_ring, {-1, 0, 0, 0});
}

/* ---- compute: every consumer warpgroup ---- */

/* The products of one stage into this warpgroup's sums. */
__device__ __forceinline__ void multiply_stage(float (&sum)[kWgN / 2], int slot, int wg_m, int wg_n)
{
    constexpr int kBK16 = kBLayout == 0 ? 2048 : 32; // bytes from one k16 of B to the next
    const unsigned long long a =
        wgmma_desc<kKWidth>(stage_a(slot) + wg_m * 64 * kKWidth, 0, 8 * kKWidth);
    const unsigned long long b =
        kBLayout == 0
            ? wgmma_desc<128>(stage_b(slot) + wg_n * kWgN / 64 * kBSlabBytes, kBSlabBytes, 1024)
            : wgmma_desc<kKWidth>(stage_b(slot) + wg_n * kWgN * kKWidth, 0, 8 * kKWidth);
#pragma unroll
    for (int k = 0; k < kStepK / 16; ++k)
        wgmma<in_t, kWgN, kBLayout == 0>::mma(sum, wgmma_desc_advance(a, k * 32),
                                              wgmma_desc_advance(b, k * kBK16));
}

/* Each warp says for itself that it has read the slot: to every CTA that writes into it. */
__device__ __forceinline__ void release_stage(int slot)
{
    const int lane = threadIdx.x % 32;
    if constexpr (kClusterN == 1) {
        if (lane == 0) mbarrier_arrive(&sync().empty[slot]);
    } else {
        if (lane < kClusterN) mbarrier_arrive_cluster(&sync().empty[slot], lane);
    }
}

/* ---- store: every consumer warpgroup by itself ---- */

/* A finished tile, 64 x kWgN of C, that waits in registers: of column group j (8 columns),
 * values[2j] holds the rows lane / 4 of each warp, values[2j + 1] those 8 below. */
struct finished_t {
    unsigned values[kWgN / 4];
    int m0 = -1, n0 = 0; // -1: nothing waits
};

/* Column group j of a finished tile; c: what is added to its four sums. */
__device__ __forceinline__ void finish_group(const tri_bsr_gemm_args &args, finished_t &finished,
                                             const float (&sum)[kWgN / 2], int j,
                                             const float (&bias)[2], const float (&c)[4])
{
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        const int i = 4 * j + 2 * half;
        const float x0 = sum[i] * args.alpha + (bias[half] + c[2 * half]);
        const float x1 = sum[i + 1] * args.alpha + (bias[half] + c[2 * half + 1]);
        finished.values[i / 2] = pack2<out_t>(activate<kAct>(x0), activate<kAct>(x1));
    }
}

__device__ __forceinline__ void finish_tile(const tri_bsr_gemm_args &args, finished_t &finished,
                                            const float (&sum)[kWgN / 2], int m0, int n0)
{
    const int lane = threadIdx.x % 32, m = m0 + threadIdx.x % 128 / 32 * 16 + lane / 4;
    const out_t *bias_of = static_cast<const out_t *>(args.bias);
    const float bias[2] = {bias_of ? static_cast<float>(bias_of[m]) : 0.0f,
                           bias_of ? static_cast<float>(bias_of[m + 8]) : 0.0f};
    if (args.beta == 0.0f) { // apart, so that no branch stands between the values
#pragma unroll
        for (int j = 0; j < kWgN / 8; ++j) finish_group(args, finished, sum, j, bias, {0, 0, 0, 0});
    } else {
        const long long row = kCLayout == 0 ? args.ldc : 1, column = kCLayout == 0 ? 1 : args.ldc;
        int n = n0 + lane % 4 * 2;
        const out_t *at = static_cast<const out_t *>(args.c) + m * row + n * column;
#pragma unroll
        for (int j = 0; j < kWgN / 8; ++j) {
            float c[4];
#pragma unroll
            for (int i = 0; i < 4; ++i)
                c[i] = n + i % 2 < args.n
                           ? args.beta * static_cast<float>(at[i / 2 * 8 * row + i % 2 * column])
                           : 0.0f;
            finish_group(args, finished, sum, j, bias, c);
            at = opaque(at + 8 * column); // else all addresses and reads come first, and spill
            n = opaque(n + 8);
        }
    }
    finished.m0 = m0;
    finished.n0 = n0;
}

/* A slab of row-major C by ordinary writes, up to the last column. */
__device__ __forceinline__ void copy_slab(const tri_bsr_gemm_args &args, const unsigned char *slab,
                                          int m0, int n0)
{
    for (int i = threadIdx.x % 128; i < 64 * 64; i += 128) {
        const int m = i / 64, n = i % 64;
        if (n0 + n < args.n)
            static_cast<out_t *>(args.c)[(m0 + m) * args.ldc + n0 + n] =
                *reinterpret_cast<const out_t *>(slab + m * 128 + (n / 8 ^ m % 8) * 16 + n % 8 * 2);
    }
}

/* 64 columns of the finished tile. stmatrix: lanes 0-7 address the 8x8 piece at rows 0-7 of column
 * group j, 8-15 rows 8-15 of j, 16-23 rows 0-7 of j + 1, 24-31 rows 8-15 of j + 1. A slab's rows are
 * 128 bytes, their 16-byte pieces swizzled by the row's number. */
__device__ __forceinline__ void store_slab(const tri_bsr_gemm_args &args, const finished_t &finished,
                                           int s, int wg)
{
    const int thread = threadIdx.x % 128, warp = thread / 32, lane = thread % 32;
    const int low = lane / 8 % 2, group = lane / 16, in_piece = lane % 8;
    unsigned char *slab = shared + kCOffset + (wg * kCSlabs + s % kCSlabs) * kCSlabBytes;
    const int m = finished.m0, n = finished.n0 + s * 64;

    if (thread == 0) tma_store_wait_read<kCSlabs - 1>(); // this buffer's last store is out
    named_barrier_sync(1 + wg, 128);
#pragma unroll
    for (int j = 0; j < 8; j += 2) {
        const int i = (s * 8 + j) * 2;
        if constexpr (kCLayout == 0) {
            unsigned char *row = slab + (warp * 16 + low * 8 + in_piece) * 128;
            stmatrix_x4(row + ((j + group) ^ in_piece) * 16, finished.values[i],
                        finished.values[i + 1], finished.values[i + 2], finished.values[i + 3]);
        } else {
            unsigned char *row = slab + ((j + group) * 8 + in_piece) * 128;
            stmatrix_x4_trans(row + ((warp * 2 + low) ^ in_piece) * 16, finished.values[i],
                              finished.values[i + 1], finished.values[i + 2],
                              finished.values[i + 3]);
        }
    }
    fence_proxy_async();
    named_barrier_sync(1 + wg, 128);
    if (kCLayout == 0 && args.n % 8 != 0 && n + 64 > args.n) {
        copy_slab(args, slab, m, n); // TMA would write past the last column: whole 16-byte pieces
    } else if (thread == 0) {
        tma_store_2d(&args.map_c, slab, kCLayout == 0 ? n : m, kCLayout == 0 ? m : n);
        tma_store_commit();
    }
}

/* ---- compute and store ---- */

/* The products of a tile; under those of its first stages, the stores of the tile before. */
__device__ __forceinline__ void multiply(const tri_bsr_gemm_args &args, float (&sum)[kWgN / 2],
                                         const finished_t &finished, ring_t<kStages> &ring,
                                         int steps, int wg)
{
#pragma unroll
    for (int i = 0; i < kWgN / 2; ++i) sum[i] = 0.0f;
    int previous = 0;
    for (int step = 0; step < steps; ++step) {
        mbarrier_wait(&sync().full[ring.slot], ring.parity);
        wgmma_fence_registers(sum);
        wgmma_fence();
        multiply_stage(sum, ring.slot, wg % kWgsM, wg / kWgsM);
        wgmma_commit();
        if (finished.m0 >= 0) {
#pragma unroll
            for (int s = 0; s < kWgN / 64; ++s)
                if (step == s) store_slab(args, finished, s, wg);
        }
        wgmma_fence_registers(sum);
        wgmma_wait<1>(); // the previous stage has been read
        if (step > 0) release_stage(previous);
        previous = ring.slot;
        ring.advance();
    }
    if (finished.m0 >= 0) {
#pragma unroll
        for (int s = 0; s < kWgN / 64; ++s)
            if (s >= steps) store_slab(args, finished, s, wg);
    }
    wgmma_wait<0>();
    wgmma_fence_registers(sum);
    if (steps > 0) release_stage(previous);
}

__device__ __forceinline__ void consume(const tri_bsr_gemm_args &args, int wg)
{
    ring_t<kStages> ring;
    ring_t<kTileSlots> tile_ring;
    float sum[kWgN / 2];
    finished_t finished;

    for (;;) {
        mbarrier_wait(&sync().tile_full[tile_ring.slot], tile_ring.parity);
        const tile_t tile = sync().tiles[tile_ring.slot];
        __syncwarp();
        if (threadIdx.x % 32 == 0) mbarrier_arrive(&sync().tile_empty[tile_ring.slot]);
        tile_ring.advance();
        multiply(args, sum, finished, ring, tile.steps, wg); // of the last "tile": stores only
        if (tile.row < 0) break;
        finish_tile(args, finished, sum, tile.row * kBlockM + wg % kWgsM * 64,
                    tile.n0 + wg / kWgsM * kWgN);
    }
    if (threadIdx.x % 128 == 0) tma_store_wait<0>();
}

/* grid: a multiple of kClusterN, at most what is resident at once; kSharedBytes of shared memory. */
extern "C" __global__ void __cluster_dims__(kClusterN, 1, 1) __launch_bounds__(kThreads, kCtasPerSm)
    triage_kernel(const __grid_constant__ tri_bsr_gemm_args args)
{
    const int wg = warp_uniform(threadIdx.x / 128);
    if (threadIdx.x == 0) {
        for (int i = 0; i < kStages; ++i) {
            mbarrier_init(&sync().full[i], 1);
            mbarrier_init(&sync().empty[i], kConsumers * 4 * kClusterN);
        }
        for (int i = 0; i < kTileSlots; ++i) {
            mbarrier_init(&sync().tile_full[i], 1);
            mbarrier_init(&sync().tile_empty[i], kConsumers * 4);
        }
        mbarrier_init_fence();
        tma_prefetch_map(&args.map_a);
        tma_prefetch_map(&args.map_b);
        tma_prefetch_map(&args.map_c);
    }
    if constexpr (kClusterN == 1)
        __syncthreads();
    else
        cluster_sync();

    if (wg == kConsumers) {
        setmaxnreg_dec<kProducerRegs>();
        if (warp_uniform(threadIdx.x / 32) % 4 == 0) produce(args);
    } else {
        setmaxnreg_inc<kConsumerRegs>();
        consume(args, wg);
    }
    if constexpr (kClusterN > 1) cluster_sync(); // the others may still write and arrive here
}
