/* bsr_gemm with TMA and wgmma (sm_90a): C = act(alpha * A * B + beta * C + bias).
 *
 *   A   BSR, blocks kBlockM x kBlockK row-major: kBlockM 64 or 128, kBlockK a multiple of kStepK
 *   B   k x n, row-major or column-major (e4m3: column-major); base 16-byte aligned, rows (columns)
 *       a multiple of 16 bytes (TMA)
 *   C   m x n, row-major or column-major; likewise; any n >= 1
 *
 * A CTA owns tiles of kShare block rows by kTileN columns, one after another, and walks the blocks:
 *
 *   producer   tile -> { rows, n0, steps } -> tile ring (kTileSlots) -----------+
 *   (1 warp)   A blocks [block_m][step_k] and B [step_k][tile_n], TMA           |
 *              -> stage ring (kStages), full[] by bytes, empty[] by warps       |
 *   consumers  warpgroups of 64 rows x kWgN columns of the tile  <--------------+
 *              wgmma from shared memory, sums in registers
 *              -> alpha, beta, bias, act -> packed in registers; under the next tile's products:
 *              stmatrix -> slabs of 64 x 64 -> TMA store
 *
 * kCSlabs 0: a finished tile is stored at once, straight from registers. For few tiles: no next one waits
 * under which its stores could hide, and the way through shared memory is longer.
 *
 * kShare 2: two block rows of 64, which the host has paired for their common columns, walk the union
 * of these (panels of args.h, one by one), so that a common column's B is fetched once. A stage then
 * has the blocks of one or both, and a warpgroup skips the stages that its row has no block in.
 *
 * kPromote > 0: the products of so many k are summed apart and then added to the tile's sums by
 * ordinary float32 additions. For e4m3, whose wgmma keeps about 14 bits of a partial sum, and for
 * scales of single blocks. Two sets of sums leave no registers for a finished tile: it is stored at once, and the
 * other warpgroup's products go on meanwhile.
 *
 * The producer runs ahead into the next tiles while the consumers finish this one. The consumers do
 * not wait for each other. A cluster holds kClusterN tiles
 * side by side in N; each CTA loads its part of the A block and multicasts it to all.
 *
 * transposed: A is stored as its transpose (transposed.h), 16-bit and kShare 1. Its blocks are fetched as they lie and read
 * MN-major; which one comes next is read beside the column.
 *
 * Shared operand layouts (rows as TMA writes them, see lib/wgmma.cuh):
 *   A   [share][block_m][step_k]      K-major
 *       [block_m / 64][step_k][64]    transposed: MN-major slabs
 *   B   [tile_n / 64][step_k][64]     row-major B: MN-major slabs
 *       [tile_n][step_k]              column-major B: K-major
 * Tensor maps, fastest dimension first:
 *   map_a  {block_k, nnzb * block_m}           box {step_k, block_m / cluster_n}
 *          {block_m, nnzb * block_k}           box {64, step_k / cluster_n}     transposed
 *   map_b  b_rank 3: {64, k, ceil(n / 64)}     box {64, step_k, tile_n / 64}    row-major B
 *          b_rank 2: {n, k}                    box {64, step_k}                 row-major B
 *          b_rank 2: {k, n}                    box {step_k, min(tile_n, 256)}   column-major B
 *   map_c  {n, m}; column-major {m, n}         box {64, 64}
 * Swizzle: 128 bytes; 64 bytes where a box is 64 bytes wide. b_rank 3 reads B's rows up
 * to a multiple of 64 columns: it needs n % 64 == 0, or rows that are padded so far.
 */
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

#include "bsr_gemm/args.h"
{{#transposed}}
#include "bsr_gemm/transposed.h"
{{/transposed}}
#include "lib/epilogue.cuh"
#include "lib/ptx.cuh"
#include "lib/store.cuh"
#include "lib/tma.cuh"
#include "lib/wgmma.cuh"
{{#transposed}}
#include "lib/wgmma_major.cuh"
{{/transposed}}
{{#quick}}
#include "lib/quick.cuh"
{{/quick}}

using in_t = {{in_type}};                   // A and B: __half, __nv_bfloat16, __nv_fp8_e4m3
using out_t = {{out_type}};                 // C and bias: __half, __nv_bfloat16
constexpr int kBlockM = {{block_m}};        // rows of a block: 64 or 128
constexpr int kBlockK = {{block_k}};        // columns of a block
constexpr int kTileN = {{tile_n}};          // columns of C per CTA tile
constexpr int kWgsN = {{wg_n}};             // consumer warpgroups along kTileN
constexpr int kStepK = {{step_k}};          // k of one stage: 64 or 128 bytes
constexpr int kStages = {{stages}};         // pipeline stages
constexpr int kCSlabs = {{c_slabs}};        // 64 x 64 store buffers per warpgroup; 0: C is stored from registers
constexpr int kClusterN = {{cluster_n}};    // CTAs per cluster, side by side in N: 1, 2 or 4
constexpr int kCtasPerSm = {{ctas_per_sm}}; // CTAs per SM (__launch_bounds__)
constexpr int kRaster = {{raster}};         // width of a raster band, in column tiles of a cluster: see raster_t
constexpr int kBRank = {{b_rank}};          // rank of map_b: 3 (row-major B, n % 64 == 0) or 2
constexpr int kBLayout = {{b_layout}};      // 0 row-major, 1 column-major
constexpr int kCLayout = {{c_layout}};      // 0 row-major, 1 column-major
constexpr int kAct = {{act}};               // 0 none, 1 relu, 2 gelu (erf), 3 silu
constexpr int kShare = {{share}};           // block rows that share B: 1, or 2 of 64 rows
constexpr int kOrder = {{order}};           // order of the tiles: 0 raster_t, 1 the host's schedule
constexpr int kPromote = {{promote}};       // k after which accumulators are promoted to float32 sums; 0: never
constexpr int kScalePerBlock = {{scale_per_block}}; // e4m3: 1 scale_a[nnzb], 0 scale_a[1]

constexpr int kInBytes = sizeof(in_t);
constexpr int kWgsM = kShare * kBlockM / 64;
constexpr int kWgN = kTileN / kWgsN;             // columns of a consumer warpgroup
constexpr int kConsumers = kWgsM * kWgsN;        // warpgroups
constexpr int kThreads = 128 * (kConsumers + 1); // the last warpgroup's first warp produces
constexpr int kTileSlots = 2;
constexpr int kEarly = kShare == 1 ? TRI_ROW_COLUMNS : TRI_PANEL_STEPS; // steps that come with the tile's rows
constexpr int kStepsPerBlock = kBlockK / kStepK;
constexpr int kKWidth = kStepK * kInBytes;   // bytes of a K-major row in a stage
constexpr int kBlockBytes = kBlockM * kKWidth;  // of a stage's part of a block
constexpr int kABytes = kShare * kBlockBytes;   // per stage
constexpr int kBBytes = kTileN * kKWidth;       // per stage
constexpr int kBSlabBytes = kStepK * 128;    // 64 columns of a row-major B in a stage
constexpr int kBBox = kBLayout == 1 ? (kTileN < 256 ? kTileN : 256) : kBRank == 3 ? kTileN : 64;
constexpr int kCSlabBytes = 64 * 64 * 2;
// Registers: every thread is launched with as many; the producer warpgroup hands its own over.
constexpr int kLaunchRegs = 65536 / kCtasPerSm / kThreads / 8 * 8;
constexpr int kProducerRegs = kConsumers == 2 ? 24 : 40; // two consumers want all that there is
constexpr int kSpareRegs = (kLaunchRegs * (kConsumers + 1) - kProducerRegs) / kConsumers / 8 * 8;
constexpr int kConsumerRegs = kSpareRegs < 240 ? kSpareRegs : 240;

static_assert(sizeof(out_t) == 2, "a 16-bit result");
static_assert(kInBytes == 2 || kBLayout == 1, "wgmma reads e4m3 along k only");
static_assert(kBlockM == 64 || kBlockM == 128, "one or two warpgroups high");
{{#transposed}}
static_assert(kInBytes == 2 && kShare == 1 && kPromote == 0, "16-bit, and each row by itself");
static_assert(kStepK / kClusterN % 8 == 0, "parts of A keep the swizzle");
{{/transposed}}
static_assert(kShare == 1 || (kShare == 2 && kBlockM == 64), "a pair is two warpgroups high");
static_assert(kOrder == 0 || kRaster == 1, "the host's order knows no bands");
static_assert(!kScalePerBlock || kPromote, "a block with a scale of its own is summed apart");
static_assert(!kPromote || (kStepK % kPromote == 0 && kPromote * kInBytes % 32 == 0), "parts of a stage");
static_assert(kKWidth == 64 || kKWidth == 128, "a stage's A rows are one swizzle width");
static_assert(kBlockK % kStepK == 0, "whole stages per block");
static_assert(kTileN % kWgsN == 0 && kWgN % 64 == 0 && kWgN <= 256, "whole slabs per warpgroup");
static_assert(kTileN % kBBox == 0, "whole boxes of B");
static_assert(kCSlabs == 0 || kWgN / 64 % (kCSlabs + (kCSlabs == 0)) == 0, "a slab of C always has the same buffer");
static_assert(kConsumers <= 4, "1 to 4 consumer warpgroups");
static_assert(kLaunchRegs >= kWgN / 2 + 26,
              "ptxas wants each wgmma to fit in the registers of the launch");
static_assert(kBlockBytes / kClusterN % 1024 == 0, "parts of A keep the swizzle");

struct tile_t {
    int row[kShare]; // block rows; -1: none
    int n0;          // first column of C
    int steps;       // stages to come; 0: an empty block row; -1: no more tiles
    int first;       // index of the first block (kScalePerBlock)
};

struct sync_t {
    unsigned long long full[kStages], empty[kStages];
    unsigned long long tile_full[kTileSlots], tile_empty[kTileSlots];
    tile_t tiles[kTileSlots];
    int rows[kStages]; // kShare 2: bit r: the stage has a block of the tile's row r
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
 * run together then share A blocks, and stay within few columns of B, which L2 holds.
 * kOrder 1: the host deals the tiles to the clusters so that all end together, which taking them in turn does not
 * where rows differ, or where the last round is not full; each cluster goes through the columns as the others do. */
struct raster_t {
    int rows, columns, tiles; // rows in kShare block rows, columns in cluster widths

    __device__ __forceinline__ explicit raster_t(const tri_bsr_gemm_args &args)
        : rows((args.block_rows + kShare - 1) / kShare),
          columns((args.n + kTileN * kClusterN - 1) / (kTileN * kClusterN)),
          tiles(rows * columns)
    {
    }
    /* The tile of this cluster in a round, which may be three past its last at most; not exists(): none, and none
     * after it. */
    __device__ __forceinline__ int tile_of(const tri_bsr_gemm_args &args, int round) const
    {
        const int at = round * (gridDim.x / kClusterN) + blockIdx.x / kClusterN;
        return kOrder == 0 ? at : args.deal[at];
    }
    __device__ __forceinline__ bool exists(int tile) const
    {
        return static_cast<unsigned>(tile) < static_cast<unsigned>(tiles);
    }
    /* Where a tile is: its place in args.rows, in kShare rows, and its column. */
    __device__ __forceinline__ void locate(int tile, int &place, int &column) const
    {
        if constexpr (kOrder == 1) {
            place = tile / columns;
            column = tile - place * columns;
            return;
        }
        const int band = tile / (rows * kRaster), in_band = tile - band * rows * kRaster;
        const int width = min(kRaster, columns - band * kRaster);
        place = in_band / width;
        column = band * kRaster + in_band - place * width;
    }
};

/* ---- load: one warp ---- */

/* A block column, and which of the tile's rows have a block there. */
struct step_t {
    int col, rows;
{{#transposed}}
    int place; // of its block
{{/transposed}}
};

/* The block rows of a tile, and what leads to their blocks. */
struct work_t {
    int row[kShare];   // -1: none
    int block[kShare]; // index of the next block
    int begin, end;    // steps: blocks, or those of the panel
    step_t early;      // lane i: the i-th step, up to kEarly
};

__device__ __forceinline__ work_t find_rows(const tri_bsr_gemm_args &args, int place)
{
    work_t work = {};
    const int early = min(threadIdx.x % 32, kEarly - 1);
#pragma unroll
    for (int r = 0; r < kShare; ++r) {
        const int at = place * kShare + r;
        const tri_block_row row =
            kShare == 1 || at < args.block_rows ? args.rows[at] : tri_block_row{-1};
        work.row[r] = row.row;
        work.block[r] = row.begin;
        if constexpr (kShare == 1) {
            work.begin = row.begin, work.end = row.end;
            work.early = {args.rows[at].col[early], 1};
        }
    }
    if constexpr (kShare > 1) {
        const tri_panel &panel = args.panels[place];
        work.begin = panel.begin;
        work.end = panel.end;
        work.early = {panel.first[early].col, static_cast<int>(panel.first[early].rows)};
    }
    return work;
}

__device__ __forceinline__ step_t step_at(const tri_bsr_gemm_args &args, int i, int end)
{
    if (i >= end) return {0, 0};
{{#transposed}}
    const tri_transposed_block block = reinterpret_cast<const tri_transposed_block *>(args.col_idx)[i];
    return {block.col, 1, block.place};
{{/transposed}}
{{^transposed}}
    if constexpr (kShare == 1) return {args.col_idx[i], 1};
    const tri_panel_step step = args.steps[i];
    return {step.col, static_cast<int>(step.rows)};
{{/transposed}}
}

/* What that lane has. Called in branches, not on a choice of two, which would wait for both. */
__device__ __forceinline__ step_t from_lane(const step_t &step, int lane)
{
    return {__shfl_sync(0xffffffffu, step.col, lane),
            kShare == 1 ? 1 : __shfl_sync(0xffffffffu, step.rows, lane)
{{#transposed}}
            , __shfl_sync(0xffffffffu, step.place, lane)
{{/transposed}}
            };
}

__device__ __forceinline__ void load_stage(const tri_bsr_gemm_args &args, int slot,
                                           const int (&block)[kShare], int rows, int k_in_block,
                                           int k, int n0, unsigned rank)
{
    unsigned long long *full = &sync().full[slot];
    if constexpr (kShare > 1) sync().rows[slot] = rows; // ordered by the arrival
    mbarrier_arrive_expect_tx(full, __popc(rows) * kBlockBytes + kBBytes);
#pragma unroll
    for (int r = 0; r < kShare; ++r) {
        unsigned char *to = stage_a(slot) + r * kBlockBytes;
        if (kShare > 1 && !(rows >> r & 1)) continue;
{{#transposed}}
        constexpr int kPart = kStepK / kClusterN; // k that this CTA brings to all
        to += rank * kPart * 128;
#pragma unroll
        for (int m = 0; m < kBlockM; m += 64, to += kStepK * 128) {
            const int line = block[r] * kBlockK + k_in_block + rank * kPart;
            if constexpr (kClusterN == 1)
                tma_load_2d(to, &args.map_a, full, m, line);
            else
                tma_load_2d_multicast(to, &args.map_a, full, m, line, (1 << kClusterN) - 1);
        }
{{/transposed}}
{{^transposed}}
        if constexpr (kClusterN == 1) {
            tma_load_2d(to, &args.map_a, full, k_in_block, block[r] * kBlockM);
        } else {
            constexpr int kPart = kBlockM / kClusterN; // rows that this CTA brings to all
            tma_load_2d_multicast(to + rank * kPart * kKWidth, &args.map_a, full, k_in_block,
                                  block[r] * kBlockM + rank * kPart, (1 << kClusterN) - 1);
        }
{{/transposed}}
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

/* The reads that lead to a tile's blocks (rows, then columns) depend on each other. Each is made one
 * tile before the next needs it, so that none is waited for. At the start nothing is there yet: the
 * first steps come with the row or the panel, and their copies wait for one read only. */
__device__ __forceinline__ void produce(const tri_bsr_gemm_args &args)
{
    const raster_t raster(args);
    const int lane = threadIdx.x % 32;
    const unsigned rank = kClusterN == 1 ? 0 : cluster_ctarank();
    const auto rows_of = [&](int tile) {
        int place = 0, column;
        if (raster.exists(tile)) raster.locate(tile, place, column);
        return find_rows(args, place);
    };

    ring_t<kStages> ring;
    ring_t<kTileSlots> tile_ring;
    tile_t published = {};
    int tile = raster.tile_of(args, 0), tile1 = raster.tile_of(args, 1), tile2 = raster.tile_of(args, 2);
    work_t work = rows_of(tile), work1 = rows_of(tile1);
    step_t steps = step_at(args, work.begin + lane, work.end); // lane i: the i-th step ahead

    for (int round = 0; raster.exists(tile); ++round) {
        const work_t work2 = rows_of(tile2);
        const int tile3 = raster.tile_of(args, round + 3);
        int place, column;
        raster.locate(tile, place, column);
#pragma unroll
        for (int r = 0; r < kShare; ++r) published.row[r] = work.row[r];
        published.n0 = (column * kClusterN + rank) * kTileN;
        published.steps = (work.end - work.begin) * kStepsPerBlock;
        published.first = work.block[0];
        publish_tile(tile_ring, published);

        for (int first = work.begin; first < work.end; first += 32) {
            const step_t next = first + 32 < work.end
                                    ? step_at(args, first + 32 + lane, work.end)
                                    : step_at(args, work1.begin + lane, work1.end);
            const int count = min(32, work.end - first);
            for (int i = 0; i < count; ++i) {
{{^transposed}}
                const step_t step = first == work.begin && i < kEarly ? from_lane(work.early, i) : from_lane(steps, i);
{{/transposed}}
{{#transposed}}
                const step_t step = from_lane(steps, i);
                work.block[0] = step.place;
{{/transposed}}
                const int k0 = step.col * kBlockK, rows = step.rows;
                for (int k = 0; k < kBlockK; k += kStepK) {
                    mbarrier_wait(&sync().empty[ring.slot], ring.parity ^ 1);
                    if (elect_one())
                        load_stage(args, ring.slot, work.block, rows, k, k0 + k, published.n0, rank);
                    __syncwarp();
                    ring.advance();
                }
#pragma unroll
                for (int r = 0; r < kShare; ++r) work.block[r] += rows >> r & 1;
            }
            steps = next;
        }
        if (work.begin == work.end) steps = step_at(args, work1.begin + lane, work1.end);
        work = work1, work1 = work2;
        tile = tile1, tile1 = tile2, tile2 = tile3;
    }
    published.steps = -1;
    publish_tile(tile_ring, published);
}

/* Towards L2 with what the producer reads first, while the barriers are made. */
__device__ __forceinline__ void prefetch_first(const tri_bsr_gemm_args &args)
{
    if constexpr (kOrder == 1) {
        prefetch_l2(&args.deal[blockIdx.x / kClusterN]);
    } else {
        int place, column;
        raster_t(args).locate(blockIdx.x / kClusterN, place, column);
        prefetch_l2(&args.rows[place * kShare]);
        if constexpr (kShare > 1) prefetch_l2(&args.panels[place]);
    }
}

/* ---- compute: every consumer warpgroup ---- */

/* The products of `depth` k of a stage, from k0 on, into sums of this warpgroup, which start from
 * nothing if !keep. */
template <int depth>
__device__ __forceinline__ void multiply_stage(float (&sum)[kWgN / 2], int slot, int k0, int wg_m,
                                               int wg_n, bool keep)
{
    constexpr int kBK16 = kBLayout == 0 ? 2048 : 32; // bytes from one k16 (k32) of B to the next
{{^transposed}}
    const unsigned long long a =
        wgmma_desc<kKWidth>(stage_a(slot) + wg_m * 64 * kKWidth, 0, 8 * kKWidth);
{{/transposed}}
{{#transposed}}
    constexpr int kAK16 = 2048; // bytes from one k16 of A to the next
    const unsigned long long a =
        wgmma_desc<128>(stage_a(slot) + wg_m * kStepK * 128, kStepK * 128, 1024);
{{/transposed}}
    const unsigned long long b =
        kBLayout == 0
            ? wgmma_desc<128>(stage_b(slot) + wg_n * kWgN / 64 * kBSlabBytes, kBSlabBytes, 1024)
            : wgmma_desc<kKWidth>(stage_b(slot) + wg_n * kWgN * kKWidth, 0, 8 * kKWidth);
#pragma unroll
    for (int i = 0; i < depth * kInBytes / 32; ++i) {
        const int k = k0 * kInBytes / 32 + i;
{{^transposed}}
        wgmma<in_t, kWgN, kBLayout == 0>::mma(sum, wgmma_desc_advance(a, k * 32),
                                              wgmma_desc_advance(b, k * kBK16), keep || i > 0);
{{/transposed}}
{{#transposed}}
        wgmma_major<in_t, kWgN, 1, kBLayout == 0>::mma(sum, wgmma_desc_advance(a, k * kAK16),
                                                       wgmma_desc_advance(b, k * kBK16));
{{/transposed}}
    }
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
{{^late}}
    unsigned values[kWgN / 4];
{{/late}}
{{#late}}
    float values[kWgN / 2]; // before the activation
{{/late}}
    int m0 = -1, n0 = 0; // -1: nothing waits
};

/* Column group j of a finished tile; c: what is added to its four sums. */
__device__ __forceinline__ void finish_group(finished_t &finished,
                                             const float (&sum)[kWgN / 2], float alpha, int j,
                                             const float (&bias)[2], const float (&c)[4])
{
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        const int i = 4 * j + 2 * half;
        const float x0 = sum[i] * alpha + (bias[half] + c[2 * half]);
        const float x1 = sum[i + 1] * alpha + (bias[half] + c[2 * half + 1]);
{{^late}}
        finished.values[i / 2] = pack2<out_t>(activate<kAct, out_t>(x0), activate<kAct, out_t>(x1));
{{/late}}
{{#late}}
        finished.values[i] = x0, finished.values[i + 1] = x1;
{{/late}}
    }
}

{{#bias}}
/* Of the two rows that a thread finishes, in one register. Read before the tile's products: behind them it would be waited
 * for. */
__device__ __forceinline__ unsigned read_bias(const tri_bsr_gemm_args &args, int m0)
{
    const unsigned short *at = static_cast<const unsigned short *>(args.bias) + m0 + threadIdx.x % 128 / 32 * 16 + threadIdx.x % 32 / 4;
    return at[0] | at[8] << 16;
}
{{/bias}}

__device__ __forceinline__ void finish_tile(const tri_bsr_gemm_args &args, finished_t &finished,
                                            const float (&sum)[kWgN / 2], float alpha, int m0, int n0
{{#bias}}
                                            , unsigned bias_of
{{/bias}}
                                            )
{
    const int lane = threadIdx.x % 32, m = m0 + threadIdx.x % 128 / 32 * 16 + lane / 4;
{{^bias}}
    const out_t *bias_of = static_cast<const out_t *>(args.bias);
    const float bias[2] = {bias_of ? static_cast<float>(bias_of[m]) : 0.0f,
                           bias_of ? static_cast<float>(bias_of[m + 8]) : 0.0f};
{{/bias}}
{{#bias}}
    const out_t *both = reinterpret_cast<const out_t *>(&bias_of);
    const float bias[2] = {to_float(both[0]), to_float(both[1])};
{{/bias}}
    if (args.beta == 0.0f) { // apart, so that no branch stands between the values
#pragma unroll
        for (int j = 0; j < kWgN / 8; ++j)
            finish_group(finished, sum, alpha, j, bias, {0, 0, 0, 0});
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
            finish_group(finished, sum, alpha, j, bias, c);
            at = opaque(at + 8 * column); // else all addresses and reads come first, and spill
            n = opaque(n + 8);
        }
    }
    finished.m0 = m0;
    finished.n0 = n0;
}

{{^late}}
/* The finished tile from registers: groups of four 8 x 8 pieces, of which a lane ends with one line of 16 bytes
 * (store.cuh). Row-major C: four pieces side by side; column-major: two by two. */
__device__ __forceinline__ void store_direct(const tri_bsr_gemm_args &args, const finished_t &finished)
{
    const int lane = threadIdx.x % 32, g = lane / 4, q = lane % 4;
    const int m0 = finished.m0 + threadIdx.x % 128 / 32 * 16;
    out_t *c = static_cast<out_t *>(args.c);
#pragma unroll
    for (int i = 0; i < kWgN / 16; ++i) {
        unsigned v[4];
#pragma unroll
        for (int t = 0; t < 4; ++t) {
            const int j = kCLayout == 0 ? i / 2 * 4 + t : i * 2 + t / 2, half = kCLayout == 0 ? i % 2 : t % 2;
            v[t] = finished.values[2 * j + half];
            if constexpr (kCLayout == 1) v[t] = movmatrix_trans(v[t]);
        }
        quad_transpose(v, q);
        const int m = m0 + (kCLayout == 0 ? i % 2 * 8 + g : q % 2 * 8);
        const int n = finished.n0 + (kCLayout == 0 ? i / 2 * 32 + q * 8 : (i * 2 + q / 2) * 8 + g);
        const long long at = kCLayout == 0 ? m * args.ldc + n : n * args.ldc + m;
        if (n + (kCLayout == 0 ? 8 : 1) <= args.n) {
            *reinterpret_cast<uint4 *>(c + at) = make_uint4(v[0], v[1], v[2], v[3]);
        } else if (kCLayout == 0) {
#pragma unroll
            for (int k = 0; k < 8; ++k)
                if (n + k < args.n) c[at + k] = reinterpret_cast<const out_t *>(v)[k];
        }
    }
}

{{/late}}
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

{{^late}}
/* 64 columns of the finished tile. stmatrix: lanes 0-7 address the 8x8 piece at rows 0-7 of column
 * group j, 8-15 rows 8-15 of j, 16-23 rows 0-7 of j + 1, 24-31 rows 8-15 of j + 1. A slab's rows are
 * 128 bytes, their 16-byte pieces swizzled by the row's number. */
__device__ __forceinline__ void store_slab(const tri_bsr_gemm_args &args, const finished_t &finished,
                                           int s, int wg)
{
    const int thread = threadIdx.x % 128, warp = thread / 32, lane = thread % 32;
    const int low = lane / 8 % 2, group = lane / 16, in_piece = lane % 8;
    unsigned char *slab = shared + kCOffset + (wg * kCSlabs + s % (kCSlabs > 0 ? kCSlabs : 1)) * kCSlabBytes;
    const int m = finished.m0, n = finished.n0 + s * 64;

    if (thread == 0) tma_store_wait_read<(kCSlabs > 0 ? kCSlabs - 1 : 0)>(); // this buffer's last store is out
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

{{/late}}
{{#late}}
constexpr int kParts = 4; // of a slab

/* Sixteen columns of a slab of the finished tile: activated, packed, and written as store_slab does. The slab's last part
 * sends it off. */
__device__ __forceinline__ void store_part(const tri_bsr_gemm_args &args, const finished_t &finished, int s, int part, int wg)
{
    const int thread = threadIdx.x % 128, warp = thread / 32, lane = thread % 32;
    const int low = lane / 8 % 2, group = lane / 16, in_piece = lane % 8, j = 2 * part;
    unsigned char *slab = shared + kCOffset + (wg * kCSlabs + s % kCSlabs) * kCSlabBytes;
    unsigned v[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        const float *x = finished.values + (s * 8 + j) * 4 + 2 * i;
        v[i] = pack2<out_t>(activate<kAct, out_t>(x[0]), activate<kAct, out_t>(x[1]));
    }
    if (part == 0) {
        if (thread == 0) tma_store_wait_read<kCSlabs - 1>(); // this buffer's last store is out
        named_barrier_sync(1 + wg, 128);
    }
    if constexpr (kCLayout == 0) {
        unsigned char *row = slab + (warp * 16 + low * 8 + in_piece) * 128;
        stmatrix_x4(row + ((j + group) ^ in_piece) * 16, v[0], v[1], v[2], v[3]);
    } else {
        unsigned char *row = slab + ((j + group) * 8 + in_piece) * 128;
        stmatrix_x4_trans(row + ((warp * 2 + low) ^ in_piece) * 16, v[0], v[1], v[2], v[3]);
    }
    if (part < kParts - 1) return;
    const int m = finished.m0, n = finished.n0 + s * 64;
    fence_proxy_async();
    named_barrier_sync(1 + wg, 128);
    if (kCLayout == 0 && args.n % 8 != 0 && n + 64 > args.n) {
        copy_slab(args, slab, m, n);
    } else if (thread == 0) {
        tma_store_2d(&args.map_c, slab, kCLayout == 0 ? n : m, kCLayout == 0 ? m : n);
        tma_store_commit();
    }
}

/* What is due at one of the tile's first kParts stages: the tile before is spread over these. */
__device__ __forceinline__ void store_share(const tri_bsr_gemm_args &args, const finished_t &finished, int at, int wg)
{
    constexpr int kEach = kWgN / 64;
#pragma unroll
    for (int i = 0; i < kEach; ++i) store_part(args, finished, (at * kEach + i) / kParts, (at * kEach + i) % kParts, wg);
}
{{/late}}

/* ---- compute and store ---- */

/* Has the tile's row of this warpgroup a block in the stage? Only that lane reads it which will say to this
 * CTA's producer that the slot is free (release_stage): nothing else orders a read before the next write. */
__device__ __forceinline__ bool has_block(int slot, int wg)
{
    if constexpr (kShare == 1) return true;
    const int reader = kClusterN == 1 ? 0 : static_cast<int>(cluster_ctarank());
    int rows = 0;
    if (static_cast<int>(threadIdx.x % 32) == reader) rows = sync().rows[slot];
    return __shfl_sync(0xffffffffu, rows, reader) >> wg % kWgsM & 1;
}

/* The products of a tile; under those of its first stages, the stores of the tile before. */
__device__ __forceinline__ void multiply(const tri_bsr_gemm_args &args, float (&sum)[kWgN / 2],
                                         const finished_t &finished, ring_t<kStages> &ring,
                                         int steps, int wg)
{
#pragma unroll
    for (int i = 0; i < kWgN / 2; ++i) sum[i] = 0.0f;
    int previous = -1; // a slot that may still be read
    for (int step = 0; step < steps; ++step) {
        mbarrier_wait(&sync().full[ring.slot], ring.parity);
        const bool mine = has_block(ring.slot, wg);
        if (mine) {
            wgmma_fence_registers(sum);
            wgmma_fence();
            multiply_stage<kStepK>(sum, ring.slot, 0, wg % kWgsM, wg / kWgsM, true);
            wgmma_commit();
        }
{{^late}}
        if constexpr (kCSlabs > 0) {
            if (finished.m0 >= 0) {
#pragma unroll
                for (int s = 0; s < kWgN / 64; ++s)
                    if (step == s) store_slab(args, finished, s, wg);
            }
        }
{{/late}}
        if (mine) {
            wgmma_fence_registers(sum);
            wgmma_wait<1>(); // the previous stage has been read
            if (previous >= 0) release_stage(previous);
            previous = ring.slot;
        } else {
            wgmma_fence_registers(sum);
            wgmma_wait<0>();
            if (previous >= 0) release_stage(previous);
            previous = -1;
            release_stage(ring.slot);
        }
{{#late}}
        if (finished.m0 >= 0) { // behind the release: slots fill during the activations
#pragma unroll
            for (int at = 0; at < kParts; ++at)
                if (step == at) store_share(args, finished, at, wg);
        }
{{/late}}
        ring.advance();
    }
{{#late}}
    if (finished.m0 >= 0) {
#pragma unroll
        for (int at = 0; at < kParts; ++at)
            if (at >= steps) store_share(args, finished, at, wg);
    }
{{/late}}
{{^late}}
    if constexpr (kCSlabs > 0) {
        if (finished.m0 >= 0) {
#pragma unroll
            for (int s = 0; s < kWgN / 64; ++s)
                if (s >= steps) store_slab(args, finished, s, wg);
        }
    }
{{/late}}
    wgmma_wait<0>();
    wgmma_fence_registers(sum);
    if (previous >= 0) release_stage(previous);
}

/* The products of a tile, kPromote of k at a time: each part's into sums of its own, these times the
 * block's scale onto the tile's. */
__device__ __forceinline__ void multiply_promoted(const tri_bsr_gemm_args &args,
                                                  float (&sum)[kWgN / 2], ring_t<kStages> &ring,
                                                  const tile_t &tile, int wg)
{
    const bool scaled = kScalePerBlock && args.scale_a;
    const float *scales = args.scale_a + tile.first;
    float part[kWgN / 2], scale = 1.0f, next = scaled && tile.steps > 0 ? scales[0] : 1.0f;
#pragma unroll
    for (int i = 0; i < kWgN / 2; ++i) sum[i] = 0.0f;
    for (int step = 0; step < tile.steps; ++step) {
        if (scaled && step % kStepsPerBlock == 0) {
            scale = next;
            if (step + kStepsPerBlock < tile.steps) next = scales[step / kStepsPerBlock + 1];
        }
        mbarrier_wait(&sync().full[ring.slot], ring.parity);
#pragma unroll
        for (int k = 0; k < kStepK; k += kPromote) {
            wgmma_fence_registers(part);
            wgmma_fence();
            multiply_stage<kPromote>(part, ring.slot, k, wg % kWgsM, wg / kWgsM, false);
            wgmma_commit();
            wgmma_fence_registers(part);
            wgmma_wait<0>();
            wgmma_fence_registers(part);
            if (k + kPromote == kStepK) release_stage(ring.slot);
#pragma unroll
            for (int i = 0; i < kWgN / 2; ++i)
                sum[i] = kScalePerBlock ? fmaf(part[i], scale, sum[i]) : sum[i] + part[i];
        }
        ring.advance();
    }
}

__device__ __forceinline__ void consume(const tri_bsr_gemm_args &args, int wg)
{
    const int row_in_tile = wg % kWgsM * 64, row_in_block = row_in_tile % kBlockM;
    const float alpha = kInBytes == 1 ? scaled_alpha(args, kScalePerBlock) : args.alpha;
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
{{#bias}}
        const int bias_row = tile.steps < 0 ? 0 : max(tile.row[row_in_tile / kBlockM], 0);
        const unsigned bias = read_bias(args, bias_row * kBlockM + row_in_block);
{{/bias}}
        if constexpr (kPromote)
            multiply_promoted(args, sum, ring, tile, wg);
        else
            multiply(args, sum, finished, ring, tile.steps, wg); // of the last "tile": stores only
        if (tile.steps < 0) break;
        const int row = tile.row[row_in_tile / kBlockM];
        finished.m0 = -1;
        if (kShare > 1 && row < 0) continue; // the last pair may be one row
        finish_tile(args, finished, sum, alpha, row * kBlockM + row_in_block,
                    tile.n0 + wg / kWgsM * kWgN
{{#bias}}
                    , bias
{{/bias}}
                    );
{{^late}}
        if constexpr (kCSlabs == 0) {
            store_direct(args, finished);
        } else if constexpr (kPromote) {
#pragma unroll
            for (int s = 0; s < kWgN / 64; ++s) store_slab(args, finished, s, wg);
        }
{{/late}}
    }
    if (kCSlabs > 0 && threadIdx.x % 128 == 0) tma_store_wait_read<0>(); // shared memory outlives the copies from it
}

/* grid: a multiple of kClusterN, at most what is resident at once; kSharedBytes of shared memory. */
extern "C" __global__ void __cluster_dims__(kClusterN, 1, 1) __launch_bounds__(kThreads, kCtasPerSm)
    triage_kernel(const __grid_constant__ tri_bsr_gemm_args args)
{
    const int wg = warp_uniform(threadIdx.x / 128);
    if (threadIdx.x == kConsumers * 128) prefetch_first(args);
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
        if constexpr (kCSlabs > 0) tma_prefetch_map(&args.map_c);
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
