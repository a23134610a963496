/* bsr_gemm on mma.sync: C = act(alpha * A * B + beta * C + bias), sm_80 and later.
 *
 *   A   BSR, blocks kBlockM x kBlockK row-major, both multiples of 16 elements
 *   B   k x n, row-major or column-major     kCopyBytes 16: base and ldb 16-byte aligned
 *                                            kCopyBytes  2: any base, any ldb (slower)
 *                                            ldb < 2^31 in both cases
 *   C   m x n, row-major or column-major, any n >= 1, any ldc
 *
 * An element is one f16 or bf16, or a pair of e4m3 (sm_89 and later, column-major B): k, kBlockK,
 * kTileK and ldb count elements, so that for e4m3 nothing but the product and the scales differs.
 *
 * A CTA computes kTileM x kTileN of C: a block row or a part of one. It walks the k of the block
 * row's stored blocks in slices of kTileK: kTileK is a part of a block, or several blocks.
 *
 *          global                 shared, kStages deep             registers
 *   A blocks  ──cp.async──►  [kTileM][kTileK + 8] ──ldmatrix──►  a[16 x 16] ─┐
 *   B rows    ──cp.async──►  [kTileK][kTileN + 8] ──ldmatrix──►  b[16 x 8]  ─┴─ mma ─► acc ─► C
 *                            ([kTileN][kTileK + 8] when B is column-major)
 *
 * Rows in shared memory are padded by 16 bytes, so that eight rows of an 8 x 8 matrix lie in
 * different banks. A slice past the end of the block row is filled with zeros.
 */
#include "bsr_gemm/args.h"
#include "lib/store.cuh"
#include "lib/mma.cuh"
{{#quick}}
#include "lib/quick.cuh"
{{/quick}}

using in_t = {{in_type}};                 // A and B: __half, __nv_bfloat16, e4m3_pair
using out_t = {{out_type}};               // C and bias: float, __half, __nv_bfloat16
constexpr int kBlockM = {{block_m}};      // rows of a block
constexpr int kBlockK = {{block_k}};      // columns of a block
constexpr int kTileM = {{tile_m}};        // rows of C per CTA, divides kBlockM
constexpr int kTileN = {{tile_n}};        // columns of C per CTA
constexpr int kTileK = {{tile_k}};        // k per pipeline stage
constexpr int kStages = {{stages}};       // pipeline stages
constexpr int kWarpsM = {{warps_m}};      // warps along kTileM
constexpr int kWarpsN = {{warps_n}};      // warps along kTileN
constexpr int kMinBlocks = {{min_blocks}}; // minimum CTAs per SM (__launch_bounds__)
constexpr int kCopyBytes = {{copy_bytes}}; // 16 or 2, see above
constexpr int kBLayout = {{b_layout}};    // 0 row-major, 1 column-major
constexpr int kCLayout = {{c_layout}};    // 0 row-major, 1 column-major
constexpr int kAct = {{act}};             // 0 none, 1 relu, 2 gelu (erf), 3 silu
constexpr int kPack = {{pack}};           // values of an element: 1, or 2 (e4m3)
constexpr int kScalePerBlock = {{scale_per_block}}; // e4m3: 1 scale_a[nnzb], 0 scale_a[1]

constexpr int kThreads = kWarpsM * kWarpsN * 32;
constexpr int kWarpM = kTileM / kWarpsM;
constexpr int kWarpN = kTileN / kWarpsN;
constexpr int kMTiles = kWarpM / 16;
constexpr int kNTiles = kWarpN / 8;
constexpr int kSlice = kTileK < kBlockK ? kTileK : kBlockK; // k that lies in one block
constexpr int kSlicesPerBlock = kBlockK / kSlice;
constexpr int kSlicesPerStage = kTileK / kSlice;
constexpr int kPitchA = kTileK + 8; // elements
constexpr int kPitchB = (kBLayout == 0 ? kTileN : kTileK) + 8;
constexpr int kRowsB = kBLayout == 0 ? kTileK : kTileN;
constexpr int kStageElementsA = kTileM * kPitchA;
constexpr int kStageElements = kStageElementsA + kRowsB * kPitchB;

static_assert(sizeof(in_t) == 2, "16-bit elements");
static_assert(kPack == 1 || kBLayout == 1, "a pair of e4m3 lies along k");
static_assert(kBlockM % 16 == 0 && kBlockK % 16 == 0, "blocks are multiples of 16");
static_assert(kBlockM % kTileM == 0 && kTileM % (16 * kWarpsM) == 0, "warps split a block row");
static_assert(kTileN % (16 * kWarpsN) == 0, "a warp has whole pairs of 8 columns");
static_assert(kTileK % 16 == 0 && (kTileK % kBlockK == 0 || kBlockK % kTileK == 0),
              "a stage is a part of a block or whole blocks");
static_assert(kStages >= 2, "loads overlap the products");
static_assert(kCopyBytes == 16 || kCopyBytes == 2, "copy width");

/* 8 elements to shared memory; elements past `valid` are zero. */
__device__ __forceinline__ void copy_8(in_t *smem, const in_t *gmem, int valid)
{
    if constexpr (kCopyBytes == 16) {
        cp_async_16(mma_smem_address(smem), gmem, valid * 2);
    } else {
        unsigned short e[8];
#pragma unroll
        for (int i = 0; i < 8; i++)
            e[i] = i < valid ? reinterpret_cast<const unsigned short *>(gmem)[i] : 0;
        *reinterpret_cast<uint4 *>(smem) =
            make_uint4(e[0] | e[1] << 16, e[2] | e[3] << 16, e[4] | e[5] << 16, e[6] | e[7] << 16);
    }
}

/* How the threads share a kRows x kChunks array of 16-byte chunks: chunk i goes to thread i % kThreads
 * in turn i / kThreads. Where kChunks divides kThreads a thread keeps to one column of chunks, and
 * the addresses of its turns differ by constants. */
template <int kRows, int kChunks> struct chunk_share {
    static constexpr int kTotal = kRows * kChunks;
    static constexpr int kTurns = (kTotal + kThreads - 1) / kThreads;
    static constexpr bool kOneColumn = kThreads % kChunks == 0;
    int row0, chunk0;

    __device__ __forceinline__ chunk_share()
        : row0(threadIdx.x / kChunks), chunk0(threadIdx.x % kChunks)
    {
    }
    __device__ __forceinline__ bool has(int turn) const
    {
        return kTotal % kThreads == 0 || threadIdx.x + turn * kThreads < kTotal;
    }
    __device__ __forceinline__ int row(int turn) const
    {
        return kOneColumn ? row0 + turn * (kThreads / kChunks)
                          : (int)(threadIdx.x + turn * kThreads) / kChunks;
    }
    __device__ __forceinline__ int chunk(int turn) const
    {
        return kOneColumn ? chunk0 : (int)(threadIdx.x + turn * kThreads) % kChunks;
    }
};

/* Where one stage comes from. */
struct source {
    const in_t *values; /* row `row` of the first block of the block row */
    const in_t *b;
    const int *col_idx;  /* of the first block of the block row */
    const float *scales; /* likewise (kScalePerBlock); NULL: 1 */
    int ldb;
    int n;
    int slices; /* of the block row */
    int col;    /* first column of the tile */
};

__device__ __forceinline__ void load_a(in_t *smem, const source &src, int slice0)
{
    chunk_share<kTileM, kTileK / 8> share;
#pragma unroll
    for (int turn = 0; turn < share.kTurns; turn++) {
        if (!share.has(turn))
            break;
        int row = share.row(turn), k = share.chunk(turn) * 8;
        int slice = slice0 + k / kSlice;
        bool inside = slice < src.slices;
        const in_t *from = src.values + (long long)(slice / kSlicesPerBlock) * (kBlockM * kBlockK) +
                           (slice % kSlicesPerBlock * kSlice + k % kSlice) + row * kBlockK;
        /* values is an allocation of its own: always 16-byte aligned */
        cp_async_16(mma_smem_address(smem + row * kPitchA + k), inside ? from : src.values,
                    inside ? 16 : 0);
    }
}

__device__ __forceinline__ void load_b(in_t *smem, const source &src, int slice0)
{
    chunk_share<kRowsB, (kBLayout == 0 ? kTileN : kTileK) / 8> share;
#pragma unroll
    for (int turn = 0; turn < share.kTurns; turn++) {
        if (!share.has(turn))
            break;
        int row = share.row(turn), chunk = share.chunk(turn) * 8;
        int k = kBLayout == 0 ? row : chunk;
        int col = src.col + (kBLayout == 0 ? chunk : row);
        int slice = slice0 + k / kSlice;
        bool inside = slice < src.slices && col < src.n;
        int at_k = slice % kSlicesPerBlock * kSlice + k % kSlice;
        if (inside)
            at_k += src.col_idx[slice / kSlicesPerBlock] * kBlockK;
        const in_t *from = kBLayout == 0 ? src.b + (long long)at_k * src.ldb + col
                                         : src.b + (long long)col * src.ldb + at_k;
        int valid = kBLayout == 0 ? min(8, src.n - col) : 8;
        copy_8(smem + row * kPitchB + chunk, inside ? from : src.b, inside ? valid : 0);
    }
}

/* acc += A * B over k0 .. k0 + depth of one stage, for this warp's kWarpM x kWarpN. */
template <int depth>
__device__ __forceinline__ void multiply(float (&acc)[kMTiles][kNTiles][4], const in_t *smem_a,
                                         const in_t *smem_b, int k0, int warp_m, int warp_n, int lane)
{
#pragma unroll
    for (int k = k0; k < k0 + depth; k += 16) {
        unsigned a[kMTiles][4];
#pragma unroll
        for (int mi = 0; mi < kMTiles; mi++) {
            int row = warp_m * kWarpM + mi * 16 + lane % 16;
            ldmatrix_x4(a[mi], mma_smem_address(smem_a + row * kPitchA + k + lane / 16 * 8));
        }
#pragma unroll
        for (int nj = 0; nj < kNTiles / 2; nj++) {
            /* b[0], b[1]: columns 0..7 of the sixteen, k 0..7 and 8..15; b[2], b[3]: columns 8..15 */
            unsigned b[4];
            int col = warp_n * kWarpN + nj * 16;
            if constexpr (kBLayout == 0)
                ldmatrix_x4_trans(b, mma_smem_address(smem_b + (k + lane % 16) * kPitchB + col +
                                                      lane / 16 * 8));
            else
                ldmatrix_x4(b, mma_smem_address(smem_b + (col + lane % 8 + lane / 16 * 8) * kPitchB +
                                                k + lane / 8 % 2 * 8));
#pragma unroll
            for (int mi = 0; mi < kMTiles; mi++) {
                mma_m16n8k16(acc[mi][nj * 2], a[mi], b[0], b[1], in_t());
                mma_m16n8k16(acc[mi][nj * 2 + 1], a[mi], b[2], b[3], in_t());
            }
        }
    }
}

/* ... over a whole stage, whose first slice is slice0; where blocks have scales, each slice by itself. */
__device__ __forceinline__ void multiply_stage(float (&acc)[kMTiles][kNTiles][4], const in_t *smem_a,
                                               const in_t *smem_b, const source &src, int slice0,
                                               int warp_m, int warp_n, int lane)
{
    if constexpr (!kScalePerBlock) {
        multiply<kTileK>(acc, smem_a, smem_b, 0, warp_m, warp_n, lane);
    } else {
#pragma unroll
        for (int s = 0; s < kSlicesPerStage; s++) {
            float part[kMTiles][kNTiles][4] = {};
            int block = min(slice0 + s, src.slices - 1) / kSlicesPerBlock;
            float scale = src.scales ? src.scales[block] : 1.0f;
            multiply<kSlice>(part, smem_a, smem_b, s * kSlice, warp_m, warp_n, lane);
#pragma unroll
            for (int mi = 0; mi < kMTiles; mi++)
#pragma unroll
                for (int ni = 0; ni < kNTiles; ni++)
#pragma unroll
                    for (int e = 0; e < 4; e++)
                        acc[mi][ni][e] = fmaf(part[mi][ni][e], scale, acc[mi][ni][e]);
        }
    }
}

/* grid: (block_rows * kBlockM / kTileM, ceil(n / kTileN)); dynamic shared memory:
 * kStages * kStageElements * 2 bytes. */
extern "C" __global__ void __launch_bounds__(kThreads, kMinBlocks)
    triage_kernel(const __grid_constant__ tri_bsr_gemm_core args)
{
    extern __shared__ __align__(16) unsigned char smem_raw[];
    in_t *smem = reinterpret_cast<in_t *>(smem_raw);
    constexpr int kParts = kBlockM / kTileM;

    tri_block_row work = args.rows[blockIdx.x / kParts];
    int block_row = work.row, first_block = work.begin;
    int row_in_block = blockIdx.x % kParts * kTileM;
    source src;
    src.values = static_cast<const in_t *>(args.values) +
                 ((long long)first_block * kBlockM + row_in_block) * kBlockK;
    src.b = static_cast<const in_t *>(args.b);
    src.col_idx = args.col_idx + first_block;
    src.scales = args.scale_a ? args.scale_a + first_block : nullptr;
    src.ldb = (int)(args.ldb / kPack);
    src.n = args.n;
    src.slices = (work.end - first_block) * kSlicesPerBlock;
    src.col = blockIdx.y * kTileN;

    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    int warp_m = warp / kWarpsN, warp_n = warp % kWarpsN;
    float acc[kMTiles][kNTiles][4] = {};

    int steps = (src.slices + kSlicesPerStage - 1) / kSlicesPerStage;

    /* fill: kStages - 1 stages under way; every stage is one group, empty ones too */
#pragma unroll
    for (int s = 0; s < kStages - 1; s++) {
        if (s < steps) {
            load_a(smem + s * kStageElements, src, s * kSlicesPerStage);
            load_b(smem + s * kStageElements + kStageElementsA, src, s * kSlicesPerStage);
        }
        cp_async_commit();
    }

    /* steady state: the slot that is refilled is the one multiplied in the step before */
    int slot = 0, refill = kStages - 1;
    for (int step = 0; step < steps; step++) {
        cp_async_wait<kStages - 2>();
        __syncthreads();
        if (step + kStages - 1 < steps) {
            in_t *to = smem + refill * kStageElements;
            int slice = (step + kStages - 1) * kSlicesPerStage;
            load_a(to, src, slice);
            load_b(to + kStageElementsA, src, slice);
        }
        cp_async_commit();
        const in_t *from = smem + slot * kStageElements;
        multiply_stage(acc, from, from + kStageElementsA, src, step * kSlicesPerStage, warp_m, warp_n,
                       lane);
        slot = slot + 1 == kStages ? 0 : slot + 1;
        refill = refill + 1 == kStages ? 0 : refill + 1;
    }

    /* store */
    output_view<out_t> out = make_output_view<out_t>(args);
    if constexpr (kPack > 1)
        out.alpha = scaled_alpha(args, kScalePerBlock);
    int row0 = block_row * kBlockM + row_in_block + warp_m * kWarpM;
    int col0 = src.col + warp_n * kWarpN;
    if (col0 < args.n)
        store_warp_tile<kAct, kCLayout>(out, acc, row0, col0, lane);
}
