/* bsr_gemm one block row a CTA: C = act(alpha * A * B + beta * C + bias), sm_90 (cp.async; mma.sync or wgmma).
 *
 *   A   BSR, block_m 16, 32, 64 or 128, block_k 16, 32 or a multiple of 64, row-major, 16-bit
 *   B   k x n, row-major or column-major; base 16-byte aligned, ldb a multiple of 8
 *   C   m x n, row-major or column-major, any n >= 1, any ldc
 *
 * For rows with few blocks, and for few columns: where a tile ends soon, what counts is how early its first
 * bytes arrive and how many are on their way. So the kernel takes plain pointers (128 bytes of arguments, no
 * tensor map to be fetched first), one read leads to a tile's first block, and its code is short: all of it
 * comes from cold memory. A CTA does one tile of one block row, or of a part of it, by kTileN columns, and
 * leaves; the next one takes its place, long rows first, so uneven rows even out.
 *
 *   all threads      kGroup pieces of a block: A[kTileM][kStepK], B[kStepK][kTileN] by cp.async
 *                    ──► ring of kStages slots, kStages - 1 of them (1 of one) under way
 *   warps            kWarpRows x kWarpN of the tile each: ldmatrix ──► mma; or warpgroups: wgmma
 *                    ──► packed, through shared memory, in whole lines ──► C
 *
 * Shared memory: rows of A, and of column-major B, are kStepK values, 32, 64 or 128 bytes, swizzled as TMA
 * would for wgmma; row-major B lies in slabs of 64 columns, 128 bytes, one after another.
 */
#include "bsr_gemm/args.h"
#include "lib/store.cuh"
#include "lib/ptx.cuh"
#include "lib/tile.cuh"
#include "lib/wgmma.cuh"
{{#quick}}
#include "lib/quick.cuh"
{{/quick}}

using in_t = {{in_type}};             // A and B: __half, __nv_bfloat16
using out_t = {{out_type}};           // C and bias: float, __half, __nv_bfloat16
constexpr int kBlockM = {{block_m}};  // rows of a block
constexpr int kBlockK = {{block_k}};  // columns of a block
constexpr int kTileM = {{tile_m}};    // rows of C per CTA: a block's, or a part of it
constexpr int kTileN = {{tile_n}};    // columns of C per CTA, a multiple of 64
constexpr int kWarpsM = {{warps_m}};  // warps along kTileM
constexpr int kWarpsN = {{warps_n}};  // warps along kTileN
constexpr int kWgmma = {{wgmma}};     // 1: four warps along 64 rows are a warpgroup
constexpr int kGroup = {{group}};     // pieces of blocks (at most 64 k each) per stage
constexpr int kStages = {{stages}};   // pipeline stages
constexpr int kCtasPerSm = {{ctas_per_sm}}; // CTAs per SM (__launch_bounds__)
constexpr int kOrder = {{order}};     // order of the CTAs: 0 the rows of one column tile first, 1 the column tiles of one row
constexpr int kWholeN = {{whole_n}};  // 1: n is a multiple of 8
constexpr int kBLayout = {{b_layout}}; // 0 row-major, 1 column-major
constexpr int kCLayout = {{c_layout}}; // 0 row-major, 1 column-major
constexpr int kAct = {{act}};         // 0 none, 1 relu, 2 gelu (erf), 3 silu

constexpr int kStepK = kBlockK < 64 ? kBlockK : 64; // k of a piece
constexpr int kPieces = kBlockK / kStepK;           // of a block
constexpr int kChunks = kStepK / 8;                 // 16 bytes each, of a piece's row
constexpr int kParts = kBlockM / kTileM;            // of a block row
constexpr int kThreads = kWarpsM * kWarpsN * 32;
constexpr int kWarpRows = kTileM / kWarpsM;
constexpr int kWarpN = kTileN / kWarpsN;
constexpr int kMTiles = kWarpRows / 16;
constexpr int kNTiles = kWarpN / 8;
constexpr int kRowBytes = kStepK * 2;     // of A and column-major B
constexpr int kPieceA = kTileM * kRowBytes;
constexpr int kPieceB = kTileN * kRowBytes;
constexpr int kSlabBytes = kStepK * 128;  // 64 columns of row-major B
constexpr int kStageA = kGroup * kPieceA, kStageB = kGroup * kPieceB;
constexpr int kLines = kCLayout == 0 ? kTileM : kTileN;                // of C in shared memory
constexpr int kLineChunks = (kCLayout == 0 ? kTileN : kTileM) / 8;

static_assert(sizeof(in_t) == 2, "16-bit inputs");
static_assert(kStepK % 16 == 0 && kBlockK % kStepK == 0 && (kStepK & (kStepK - 1)) == 0, "swizzled rows");
static_assert(kTileN % 64 == 0 && kBlockM % kTileM == 0, "whole slabs, whole parts");
static_assert(kGroup == 1 || (kPieces == 1 && kParts == 1), "several pieces are whole blocks");
static_assert(kWarpRows % 16 == 0 && kWarpN % 16 == 0 && (kWarpN % 64 == 0 || 64 % kWarpN == 0),
              "a warp's columns lie in whole slabs or inside one");
static_assert(!kWgmma || (kWarpsM % 4 == 0 && kWarpRows == 16 && kWarpN % 64 == 0 && kWarpN <= 256 &&
                          kGroup == 1 && kStepK >= 32),
              "a warpgroup has 64 rows");
static_assert(kLines * kLineChunks * 16 <= kStages * (kStageA + kStageB), "C passes through the ring");

/* How the threads share rows of `chunks` times 16 bytes: thread i copies chunk i % chunks of row i / chunks,
 * and in the next turn of the row kRows further. */
template <int chunks> struct share_of {
    static_assert(kThreads % chunks == 0, "whole rows a turn");
    static constexpr int kRows = kThreads / chunks;
    int row, chunk;
    __device__ __forceinline__ share_of() : row(threadIdx.x / chunks), chunk(threadIdx.x % chunks) {}
};

/* ---- load ---- */

/* The blocks of a tile, and how this thread copies them. */
struct source_t {
    const char *a;     /* this thread's first chunk of the row's first block */
    const char *b;     /* ... of the first k of B */
    long long b_row;   /* bytes from a row (column) of B to the next */
    const int *columns; /* of the row's blocks */
    int pieces;
    int n_left;        /* columns of C from the tile's first on */
};

__device__ __forceinline__ void load_a(const source_t &from, unsigned to, int piece, int count)
{
    const share_of<kChunks> mine;
    constexpr int kRows = kGroup * kTileM, kTurns = (kRows + mine.kRows - 1) / mine.kRows;
    static_assert(kTurns == 1 || mine.kRows % 8 == 0, "the swizzle of a thread's rows is one");
    const long long block = (long long)(piece / kPieces) * (kBlockM * kBlockK * 2) + piece % kPieces * kRowBytes;
    const int rows = kGroup == 1 ? kTileM : count * kTileM;
#pragma unroll
    for (int turn = 0; turn < kTurns; turn++) {
        const int row = turn * mine.kRows;
        if ((kGroup == 1 && kRows % mine.kRows == 0) || mine.row + row < rows)
            cp_async_16(to + swizzled<kChunks>(mine.row, mine.chunk) + row * kRowBytes,
                        from.a + block + row * (kBlockK * 2), 16);
    }
}

/* Piece g of a stage; k: its first row of B. */
__device__ __forceinline__ void load_b(const source_t &from, unsigned to, long long k)
{
    if constexpr (kBLayout == 0) {
        const share_of<kTileN / 8> mine;
        static_assert(kStepK % mine.kRows == 0 && (8 % mine.kRows == 0 || mine.kRows % 8 == 0), "whole turns");
        const int valid = kWholeN ? 16 : min(16, (from.n_left - mine.chunk * 8) * 2);
        const unsigned lane = to + mine.chunk / 8 * kSlabBytes + mine.row * 128 +
                              ((mine.chunk % 8 ^ mine.row % 8) << 4);
        if (mine.chunk * 8 >= from.n_left) return; // what is there instead is a factor of no column of C
        const char *at = from.b + k * from.b_row;
#pragma unroll
        for (int row = 0; row < kStepK; row += mine.kRows) {
            cp_async_16((lane ^ (row % 8 << 4)) + row * 128, at, valid);
            at += mine.kRows * from.b_row;
        }
    } else {
        const share_of<kChunks> mine;
        static_assert(kTileN % mine.kRows == 0 && mine.kRows % 8 == 0, "whole turns");
        const char *at = from.b + k * 2;
#pragma unroll
        for (int row = 0; row < kTileN; row += mine.kRows) {
            if (mine.row + row < from.n_left)
                cp_async_16(to + swizzled<kChunks>(mine.row, mine.chunk) + row * kRowBytes, at, 16);
            at += mine.kRows * from.b_row;
        }
    }
}

/* Block columns come 32 at a time, one a lane, a whole read ahead; those of the row's first blocks came with
 * the row, so that their copies need not wait. */
struct columns_t {
    int early, here, ahead;
};

__device__ __forceinline__ int column_at(const source_t &from, int i)
{
    return i < from.pieces / kPieces ? from.columns[i] : 0;
}

__device__ __forceinline__ void load_stage(const source_t &from, columns_t &columns, unsigned to_a, unsigned to_b,
                                           int stage)
{
    const int lane = threadIdx.x % 32, first = stage * kGroup, count = min(kGroup, from.pieces - first);
    load_a(from, to_a, first, count);
    if (first > 0 && first % (32 * kPieces) == 0) {
        columns.here = columns.ahead;
        columns.ahead = column_at(from, first / kPieces + 32 + lane);
    }
#pragma unroll
    for (int g = 0; g < kGroup; g++) {
        if (g >= count) break;
        const int block = (first + g) / kPieces;
        int column;
        if (block < TRI_ROW_COLUMNS)
            column = __shfl_sync(0xffffffffu, columns.early, block);
        else
            column = __shfl_sync(0xffffffffu, columns.here, block % 32);
        load_b(from, to_b + g * kPieceB, (long long)column * kBlockK + (first + g) % kPieces * kStepK);
    }
}

/* ---- compute ---- */

typedef float sums_t[kMTiles][kNTiles][4];

/* acc += A * B over one piece by a warpgroup, which goes on meanwhile. */
template <int columns> // kWarpN, where there are warpgroups
__device__ __forceinline__ void multiply_piece_wgmma(sums_t &acc, const unsigned char *piece_a,
                                                     const unsigned char *piece_b, int warp_m, int warp_n)
{
    constexpr int kBK16 = kBLayout == 0 ? 2048 : 32; // bytes from one k16 of B to the next
    float(&sum)[columns / 2] = reinterpret_cast<float(&)[columns / 2]>(acc);
    const unsigned long long a = wgmma_desc<kRowBytes>(piece_a + warp_m / 4 * 64 * kRowBytes, 0, 8 * kRowBytes);
    const unsigned long long b =
        kBLayout == 0 ? wgmma_desc<128>(piece_b + warp_n * columns / 64 * kSlabBytes, kSlabBytes, 1024)
                      : wgmma_desc<kRowBytes>(piece_b + warp_n * columns * kRowBytes, 0, 8 * kRowBytes);
    wgmma_fence_registers(sum);
    wgmma_fence();
#pragma unroll
    for (int i = 0; i < kStepK / 16; i++)
        wgmma<in_t, columns, kBLayout == 0>::mma(sum, wgmma_desc_advance(a, i * 32),
                                                 wgmma_desc_advance(b, i * kBK16), 1);
    wgmma_commit();
    wgmma_fence_registers(sum);
}

/* Of all threads: the copies of the oldest stage are there, and the products before it are over. */
template <int pending> __device__ __forceinline__ void await_stage()
{
    cp_async_wait<pending>();
    if constexpr (kWgmma) {
        wgmma_wait<0>();
        fence_proxy_async();
    }
    __syncthreads();
}

__device__ __forceinline__ void await_products()
{
    if constexpr (kWgmma) wgmma_wait<0>();
    __syncthreads();
}

__device__ __forceinline__ void start_products(sums_t &acc, const unsigned char *ring, int slot, int warp_m,
                                               int warp_n)
{
    if constexpr (kWgmma)
        multiply_piece_wgmma<kWgmma ? kWarpN : 64>(acc, ring + kStages * kStageB + slot * kStageA,
                                                   ring + slot * kStageB, warp_m, warp_n);
}

/* ---- store ---- */

/* Sixteen columns of sixteen rows after another to shared memory, as lines of C. */
template <typename T>
__device__ __forceinline__ void pack_tile(unsigned char *lines, const output_view<T> &out, const sums_t &acc,
                                          int block_row0, int warp_m, int warp_n, int lane)
{
    const int low = lane / 8 % 2, high = lane / 16, in_matrix = lane % 8;
#pragma unroll
    for (int mt = 0; mt < kMTiles; mt++) {
        const int row = warp_m * kWarpRows + mt * 16;
        float bias[2] = {};
        if (out.bias) {
            bias[0] = to_float(out.bias[block_row0 + row + lane / 4]);
            bias[1] = to_float(out.bias[block_row0 + row + lane / 4 + 8]);
        }
#pragma unroll
        for (int nj = 0; nj < kNTiles / 2; nj++) {
            unsigned v[4];
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const float *d = &acc[mt][nj * 2 + i / 2][i % 2 * 2];
                v[i] = pack2<T>(activate<kAct, T>(out.alpha * d[0] + bias[i % 2]),
                                activate<kAct, T>(out.alpha * d[1] + bias[i % 2]));
            }
            const int col = warp_n * kWarpN + nj * 16;
            if constexpr (kCLayout == 0)
                stmatrix_x4(lines + swizzled<kLineChunks>(row + low * 8 + in_matrix, col / 8 + high), v[0], v[1],
                            v[2], v[3]);
            else
                stmatrix_x4_trans(lines + swizzled<kLineChunks>(col + high * 8 + in_matrix, row / 8 + low), v[0],
                                  v[1], v[2], v[3]);
        }
    }
}

template <typename T>
__device__ __forceinline__ void store_lines(const output_view<T> &out, const unsigned char *lines, int row0,
                                            int col0)
{
    const share_of<kLineChunks> mine;
    const int row = row0 + (kCLayout == 0 ? mine.row : mine.chunk * 8);
    const int col = col0 + (kCLayout == 0 ? mine.chunk * 8 : mine.row);
    T *to = out.c + output_index<kCLayout>(out, row, col);
#pragma unroll 4
    for (int line = 0; line < kLines; line += mine.kRows) {
        if ((kLines % mine.kRows == 0 || mine.row + line < kLines) &&
            col + (kCLayout == 0 ? 0 : line) < out.n)
            *reinterpret_cast<uint4 *>(to) =
                *reinterpret_cast<const uint4 *>(lines + swizzled<kLineChunks>(mine.row + line, mine.chunk));
        to += mine.kRows * out.ldc;
    }
}

/* Whole: 16-bit results in whole pieces and beta 0, the common case, go out in whole lines. */
template <bool whole, typename T>
__device__ __forceinline__ void store_tile(unsigned char *ring, const output_view<T> &out, const sums_t &acc, int row0,
                                           int col, int warp_m, int warp_n, int lane)
{
    if constexpr (whole) {
        __syncthreads(); // the ring has been read
        pack_tile(ring, out, acc, row0, warp_m, warp_n, lane);
        __syncthreads();
        store_lines(out, ring, row0, col);
    } else {
        const int col0 = col + warp_n * kWarpN;
        if (col0 < out.n)
            store_warp_tile<kAct, kCLayout>(out, acc, row0 + warp_m * kWarpRows, col0, lane);
    }
}

/* ---- a tile ---- */

__device__ __forceinline__ source_t make_source(const tri_bsr_gemm_core &args, const tri_block_row &work, int part,
                                                int col)
{
    const share_of<kChunks> of_a;
    source_t from;
    from.a = static_cast<const char *>(args.values) +
             ((long long)work.begin * kBlockM + part * kTileM + of_a.row) * (kBlockK * 2) + of_a.chunk * 16;
    from.b_row = args.ldb * 2;
    from.columns = args.col_idx + work.begin;
    from.pieces = (work.end - work.begin) * kPieces;
    from.n_left = args.n - col;
    if constexpr (kBLayout == 0) {
        const share_of<kTileN / 8> of_b;
        from.b = static_cast<const char *>(args.b) + of_b.row * from.b_row + (col + of_b.chunk * 8) * 2;
    } else {
        from.b = static_cast<const char *>(args.b) + (col + of_a.row) * from.b_row + of_a.chunk * 16;
    }
    return from;
}

/* The whole of a tile. It stands twice in the kernel, once for each way to store: a branch at the end would jump
 * over the other way's code, into instructions from cold memory. */
template <bool whole> __device__ __forceinline__ void run(const tri_bsr_gemm_core &args, unsigned char *smem)
{
    const unsigned ring_b = smem_u32(smem), ring_a = ring_b + kStages * kStageB;
    const int lane = threadIdx.x % 32, warp = warp_uniform(threadIdx.x / 32);
    const int warp_m = warp % kWarpsM, warp_n = warp / kWarpsM;

    const int tile = kOrder == 0 ? blockIdx.x : blockIdx.y, part = tile % kParts;
    const int col = (kOrder == 0 ? blockIdx.y : blockIdx.x) * kTileN;
    const tri_block_row &record = args.rows[tile / kParts];
    const tri_block_row work = record;
    columns_t columns;
    columns.early = record.col[min(lane, TRI_ROW_COLUMNS - 1)];
    const source_t from = make_source(args, work, part, col);
    columns.here = column_at(from, lane);
    columns.ahead = column_at(from, 32 + lane);
    const unsigned a_lane = ring_a + lane_offset_a<kChunks>(lane, warp_m * kWarpRows);
    const unsigned b_lane = ring_b + lane_offset_b<kBLayout, kSlabBytes, kChunks>(lane, warp_n * kWarpN);
    const int stages = (from.pieces + kGroup - 1) / kGroup;
    sums_t acc = {};

    /* One loop fills the ring and goes on, so that its code is there once. The slot that is filled is the one
     * multiplied in the turn before; the only one of a ring of one is filled when that is over. */
    int slot = 0, fill = 0;
#pragma unroll 1
    for (int stage = 1 - kStages; stage < stages; stage++) {
        if (kStages > 1 && stage >= 0) {
            await_stage<(kStages > 1 ? kStages - 2 : 0)>();
            start_products(acc, smem, slot, warp_m, warp_n);
        }
        if (kStages == 1 && stage > 0) await_products();
        if (stage + kStages - 1 < stages)
            load_stage(from, columns, ring_a + fill * kStageA, ring_b + fill * kStageB, stage + kStages - 1);
        cp_async_commit();
        if (kStages == 1) {
            await_stage<0>();
            start_products(acc, smem, slot, warp_m, warp_n);
        }
        fill = fill + 1 == kStages ? 0 : fill + 1;
        if (stage >= 0) {
            if constexpr (!kWgmma) {
#pragma unroll
                for (int g = 0; g < kGroup; g++)
                    if (g == 0 || stage * kGroup + g < from.pieces)
                        multiply_tile<in_t, kBLayout, kSlabBytes, kStepK>(acc, a_lane + slot * kStageA + g * kPieceA,
                                                                          b_lane + slot * kStageB + g * kPieceB);
            }
            slot = slot + 1 == kStages ? 0 : slot + 1;
        }
    }
    if constexpr (kWgmma) {
        wgmma_wait<0>();
        wgmma_fence_registers(reinterpret_cast<float(&)[kMTiles * kNTiles * 4]>(acc));
    }

    output_view<out_t> out = make_output_view<out_t>(args);
    store_tile<whole && sizeof(out_t) == 2>(smem, out, acc, work.row * kBlockM + part * kTileM, col, warp_m, warp_n, lane);
}

/* grid: (block_rows * kParts, ceil(n / kTileN)), kOrder 1: the other way round; kThreads threads; dynamic shared
 * memory, 1024-byte aligned: kStages * (kStageA + kStageB) bytes. Neighbouring CTAs take the rows of one column tile,
 * whose part of B then stays in L2; kOrder 1: the column tiles of one row, whose blocks of A come once. */
extern "C" __global__ void __launch_bounds__(kThreads, kCtasPerSm)
    triage_kernel(const __grid_constant__ tri_bsr_gemm_core args)
{
    extern __shared__ __align__(1024) unsigned char smem[];
    if constexpr (sizeof(out_t) == 2 && (kWholeN || kCLayout == 1)) {
        /* one condition, not two: ptxas then puts the common case first */
        if (!make_output_view<out_t>(args).vector_ok | (args.beta != 0.0f)) {
            run<false>(args, smem);
            return;
        }
        run<true>(args, smem);
    } else {
        run<false>(args, smem);
    }
}
