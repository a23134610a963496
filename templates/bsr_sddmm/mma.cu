/* bsr_sddmm on mma.sync: D = alpha * (Y * X^T) + beta * D on the stored blocks, sm_80 and later.
 *
 *   Y   m x n, row-major or column-major     kCopyBytes 16: bases 16-byte aligned, ldy and ldx multiples of 8
 *   X   k x n, row-major or column-major     kCopyBytes  2: any base, any ld (slower)
 *   D   blocks kBlockM x kBlockK, each 16, 32, 64 or 128; any n >= 1
 *
 * A CTA computes a tile: at most kTileBlocks blocks that lie in at most kTileRows block rows and kTileCols block columns
 * (args.h; the host chooses them). It walks n in steps of kStep, and reads of Y and X the strips of its rows and columns only,
 * each once for all blocks in it: the more blocks in few strips, the less is read for a product.
 *
 *          global                         shared, kStages deep                  registers
 *   Y strips  ──cp.async──►  row-major   [row][kBlockM][kStep]  ──ldmatrix──►  a[16 x 16] ─┐
 *                            col-major   [row][kStep][kBlockM]  (transposed)               ├─ mma ─► sums ─► D
 *   X strips  ──cp.async──►  row-major   [col][kBlockK][kStep]  ──ldmatrix──►  b[16 x 8]  ─┘
 *                            col-major   [col][kStep][kBlockK]  (transposed)
 *
 * A block is cut into pieces of kSubM x kSubN. The pieces of a tile, in the order of its blocks, are dealt to the warps in equal
 * runs, of kSlots at most; a slot's sums stay in registers. Neighbours in a run mostly lie in one row, and then share what they
 * load of Y.
 *
 * kSplits > 1: so many CTAs share a tile, each with a part of n (finish.cuh).
 *
 * Rows in shared memory are swizzled (lib/tile.cuh). What lies beyond n is zero in both.
 */
#include "bsr_sddmm/args.h"
#include "lib/mma.cuh"
#include "lib/tile.cuh"

using in_t = {{in_type}};                   // Y and X: __half, __nv_bfloat16
using out_t = {{out_type}};                 // D: float, __half, __nv_bfloat16
constexpr int kBlockM = {{block_m}};        // rows of a block
constexpr int kBlockK = {{block_k}};        // columns of a block
constexpr int kYLayout = {{y_layout}};      // 0 row-major, 1 column-major
constexpr int kXLayout = {{x_layout}};      // 0 row-major, 1 column-major
constexpr int kTileRows = {{tile_rows}};    // block rows of a tile, at most
constexpr int kTileCols = {{tile_cols}};    // block columns
constexpr int kTileBlocks = {{tile_blocks}}; // blocks
constexpr int kSubM = {{sub_m}};            // rows of a sub-block
constexpr int kSubN = {{sub_n}};            // columns
constexpr int kWarps = {{warps}};           // of a CTA
constexpr int kStep = {{step}};             // n per pipeline stage
constexpr int kStages = {{stages}};         // pipeline stages
constexpr int kSplits = {{splits}};         // CTAs that split the reduction of a tile
constexpr int kMinBlocks = {{min_blocks}};  // minimum CTAs per SM (__launch_bounds__)
constexpr int kCopyBytes = {{copy_bytes}};  // 16 or 2, see above

constexpr int kThreads = kWarps * 32;
constexpr int kSubsN = kBlockK / kSubN;
constexpr int kSubs = kBlockM / kSubM * kSubsN; // pieces of a block
constexpr int kSlots = kTileBlocks * kSubs / kWarps;
constexpr int kMTiles = kSubM / 16;
constexpr int kNTiles = kSubN / 8;
constexpr int kStripY = kBlockM * kStep * 2; // bytes
constexpr int kStripX = kBlockK * kStep * 2;
constexpr int kStageX = kTileRows * kStripY; // where X begins in a stage
constexpr int kStageBytes = kStageX + kTileCols * kStripX;
constexpr int kTileInts = TRI_TILE_INTS(kTileRows, kTileCols, kTileBlocks);

constexpr bool is_width(int width) { return width == 16 || width == 32 || width == 64 || width == 128; }
static_assert(sizeof(in_t) == 2, "16-bit elements");
static_assert(is_width(kBlockM) && is_width(kBlockK), "blocks whose rows a swizzle covers");
static_assert(kStep == 16 || kStep == 32 || kStep == 64, "steps likewise");
static_assert(kSubM % 16 == 0 && kBlockM % kSubM == 0, "pieces of whole fragments");
static_assert(kSubN % 16 == 0 && kBlockK % kSubN == 0, "pieces of whole pairs of fragments");
static_assert(kTileBlocks * kSubs % kWarps == 0, "the same number of pieces for each warp");
static_assert(kSlots >= 1 && kSlots <= 32, "a bit for each slot");
static_assert(kTileBlocks >= kTileRows && kTileBlocks >= kTileCols, "each row and column has a block");
static_assert(kStageBytes <= 1 << 20, "an offset in units of 16 bytes has 16 bits");
static_assert(kStages >= 2, "loads overlap the products");
static_assert(kCopyBytes == 16 || kCopyBytes == 2, "copy width");

extern __shared__ __align__(1024) float room[];

/* 8 elements to shared memory; elements past `valid` are zero. */
__device__ __forceinline__ void copy_8(unsigned char *smem, const in_t *gmem, int valid)
{
    if constexpr (kCopyBytes == 16) {
        cp_async_16(mma_smem_address(smem), gmem, valid * 2);
    } else {
        unsigned short *to = reinterpret_cast<unsigned short *>(smem);
#pragma unroll
        for (int i = 0; i < 8; i++)
            to[i] = i < valid ? reinterpret_cast<const unsigned short *>(gmem)[i] : 0;
    }
}

/* ---- load: n0 .. n0 + kStep - 1 of `count` strips, whose numbers are in ids ---- */

template <int layout, int block>
__device__ __forceinline__ void load_strips(unsigned char *smem, const in_t *from, long long ld, const int *ids,
                                            int count, int n0, int n)
{
    constexpr int kChunks = (layout == 0 ? kStep : block) / 8; // of a row in shared memory
    constexpr int kRows = layout == 0 ? block : kStep;         // of a strip
    const int total = count * kRows * kChunks;
#pragma unroll 4
    for (int i = threadIdx.x; i < total; i += kThreads) {
        const int chunk = i % kChunks, row = i / kChunks % kRows, strip = i / (kChunks * kRows);
        const long long line = (long long)ids[strip] * block + (layout == 0 ? row : chunk * 8);
        const int at = n0 + (layout == 0 ? chunk * 8 : row);
        const int valid = layout == 0 ? max(0, min(8, n - at)) : at < n ? 8 : 0;
        const in_t *source = layout == 0 ? from + line * ld + at : from + at * ld + line;
        copy_8(smem + strip * (block * kStep * 2) + swizzled<kChunks>(row, chunk), valid > 0 ? source : from, valid);
    }
}

/* ---- multiply ---- */

#include "bsr_sddmm/pieces.cuh"

__device__ __forceinline__ int place_y(int lane, int row, int line)
{
    return row * kStripY + lane_offset<kYLayout, kBlockM, true>(lane, line);
}
__device__ __forceinline__ int place_x(int lane, int col, int line)
{
    return col * kStripX + lane_offset<kXLayout, kBlockK, false>(lane, line);
}

__device__ __forceinline__ int rows_of_y(int row, int line) { return row * kBlockM + line; }

/* The fragment of sixteen lines, `tile` further, at n 16 * kt. */
template <int layout, int block>
__device__ __forceinline__ void load_fragment(unsigned (&r)[4], unsigned strips, unsigned offset, int tile, int kt)
{
    if constexpr (layout == 0)
        ldmatrix_x4(r, strips + (offset ^ kt << 5) + tile * 16 * kStep * 2);
    else
        ldmatrix_x4_trans(r, strips + (offset ^ tile << 5) + kt * 16 * block * 2);
}

__device__ __forceinline__ void multiply_step(float (&acc)[kSlots][kMTiles][kNTiles][4], const pieces &own,
                                              unsigned stage)
{
#pragma unroll
    for (int kt = 0; kt < kStep / 16; kt++) {
        unsigned a[kMTiles][4];
#pragma unroll
        for (int s = 0; s < kSlots; s++) {
            if (s >= own.count)
                break;
            if (own.fresh >> s & 1) {
#pragma unroll
                for (int mt = 0; mt < kMTiles; mt++)
                    load_fragment<kYLayout, kBlockM>(a[mt], stage, (own.places[s] & 0xffff) << 4, mt, kt);
            }
#pragma unroll
            for (int nj = 0; nj < kNTiles / 2; nj++) {
                unsigned b[4];
                load_fragment<kXLayout, kBlockK>(b, stage + kStageX, own.places[s] >> 16 << 4, nj, kt);
#pragma unroll
                for (int mt = 0; mt < kMTiles; mt++) {
                    mma_m16n8k16(acc[s][mt][nj * 2], a[mt], b[0], b[1], in_t());
                    mma_m16n8k16(acc[s][mt][nj * 2 + 1], a[mt], b[2], b[3], in_t());
                }
            }
        }
    }
}

/* grid: (at least as many as there are tiles, kSplits); dynamic shared memory: kStages * kStageBytes. */
extern "C" __global__ void __launch_bounds__(kThreads, kMinBlocks)
    triage_kernel(const __grid_constant__ tri_bsr_sddmm_args args)
{
    __shared__ int ids[kTileRows + kTileCols];
    unsigned char *stages = reinterpret_cast<unsigned char *>(room);
    if (blockIdx.x >= args.tile_count)
        return;
    const int *tile = args.tiles + (long long)blockIdx.x * kTileInts;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    for (int i = threadIdx.x; i < kTileRows + kTileCols; i += kThreads)
        ids[i] = tile[TRI_TILE_HEAD + i];
    const int rows = tile[0], cols = tile[1];
    const pieces own = find_pieces(tile, warp, lane);
    __syncthreads();

    const long long all = ((long long)args.n + kStep - 1) / kStep;
    const int first = (int)(all * blockIdx.y / kSplits), steps = (int)(all * (blockIdx.y + 1) / kSplits) - first;
    const auto load = [&](int step, int slot) {
        unsigned char *to = stages + slot * kStageBytes;
        const int n0 = (first + step) * kStep;
        load_strips<kYLayout, kBlockM>(to, static_cast<const in_t *>(args.y), args.ldy, ids, rows, n0, args.n);
        load_strips<kXLayout, kBlockK>(to + kStageX, static_cast<const in_t *>(args.x), args.ldx, ids + kTileRows, cols, n0,
                                       args.n);
    };
    float acc[kSlots][kMTiles][kNTiles][4] = {};

    /* fill: kStages - 1 stages under way; every stage is one group, empty ones too */
#pragma unroll
    for (int s = 0; s < kStages - 1; s++) {
        if (s < steps)
            load(s, s);
        cp_async_commit();
    }

    /* steady state: the slot that is refilled is the one multiplied in the step before */
    int slot = 0, refill = kStages - 1;
    for (int step = 0; step < steps; step++) {
        cp_async_wait<kStages - 2>();
        __syncthreads();
        if (step + kStages - 1 < steps)
            load(step + kStages - 1, refill);
        cp_async_commit();
        multiply_step(acc, own, mma_smem_address(stages + slot * kStageBytes));
        slot = slot + 1 == kStages ? 0 : slot + 1;
        refill = refill + 1 == kStages ? 0 : refill + 1;
    }

    if constexpr (kSplits > 1) {
        constexpr int kSums = kSlots * kMTiles * kNTiles * 4;
        if (!add_parts<kSplits, kThreads, kSums>(&acc[0][0][0][0], args.workspace, [] { __syncthreads(); }))
            return;
    }
    store_pieces(args, tile, acc, own, warp, lane);
}
