/* bsr_gemm, a block row dealt to several CTAs: C = act(alpha * A * B + beta * C + bias), sm_90 (TMA, wgmma, clusters).
 *
 *   A   BSR, block_m and block_k multiples of 64, row-major, 16-bit
 *   B   k x n, row-major or column-major; base 16-byte aligned, ldb a multiple of 8
 *   C   m x n, row-major or column-major, any n >= 1, any ldc
 *
 * For few columns and large blocks: there are fewer tiles of C than SMs, and A, which is read once, must be on its way to all
 * of them. So the blocks of a row are cut into kClusterK runs of equal length, one for each CTA of a cluster. Each CTA
 * sums its run; then each finishes a part of the tile from the sums of all, in the order of the runs, so that the bits of C
 * do not depend on who was first.
 *
 *   producer warp        A[kTileM][64] and B[64][kTileN] of a piece by TMA ──► ring of kStages slots
 *   consumer warpgroups  64 rows of the tile each: wgmma ──► sums ──► shared memory (where the ring was)
 *   all CTAs             sums of the cluster ──► epilogue ──► C, 16 bytes a thread
 */
#include "bsr_gemm/args.h"
#include "lib/cluster.cuh"
#include "lib/ptx.cuh"
#include "lib/store.cuh"
#include "lib/tma.cuh"
#include "lib/wgmma.cuh"
{{#quick}}
#include "lib/quick.cuh"
{{/quick}}

using in_t = {{in_type}};             // A and B: __half, __nv_bfloat16
using out_t = {{out_type}};           // C and bias: float, __half, __nv_bfloat16
constexpr int kBlockM = {{block_m}};  // rows of a block
constexpr int kBlockK = {{block_k}};  // columns of a block
constexpr int kTileM = {{tile_m}};    // rows of C per cluster: a block's, or 64 of them
constexpr int kTileN = {{tile_n}};    // columns of C per cluster, a multiple of 64
constexpr int kClusterK = {{cluster_k}};    // CTAs of a cluster that split the blocks of a row (split-K)
constexpr int kStages = {{stages}};   // pipeline stages
constexpr int kCtasPerSm = {{ctas_per_sm}}; // CTAs per SM (__launch_bounds__)
constexpr int kBRank = {{b_rank}};    // of map_b: 3 {64, k, n / 64}, one copy a piece; or 2
constexpr int kBLayout = {{b_layout}}; // 0 row-major, 1 column-major
constexpr int kCLayout = {{c_layout}}; // 0 row-major, 1 column-major
constexpr int kAct = {{act}};         // 0 none, 1 relu, 2 gelu (erf), 3 silu

constexpr int kStepK = 64;                      // k of a piece
constexpr int kPieces = kBlockK / kStepK;       // of a block
constexpr int kParts = kBlockM / kTileM;        // of a block row
constexpr int kConsumers = kTileM / 64;         // warpgroups
constexpr int kThreads = kConsumers * 128 + 32; // the last warp produces
constexpr int kPieceA = kTileM * 128, kPieceB = kTileN * 128;
constexpr int kStageBytes = kPieceA + kPieceB;
constexpr int kSlabBytes = kStepK * 128;                                // 64 columns of row-major B
constexpr int kLines = kCLayout == 0 ? kTileM : kTileN;                 // of the tile in shared memory, as in C
constexpr int kLength = kCLayout == 0 ? kTileN : kTileM;                // of a line
constexpr int kPitch = kLength + 4;                                     // floats
constexpr int kSumsBytes = kLines * kPitch * 4;
constexpr int kRingBytes = kStages * kStageBytes > kSumsBytes ? kStages * kStageBytes : kSumsBytes;
constexpr int kLinesEach = kLines / kClusterK; // that a CTA finishes

static_assert(sizeof(in_t) == 2, "16-bit inputs");
static_assert(kBlockK % kStepK == 0 && kBlockM % kTileM == 0 && kTileM % 64 == 0, "whole pieces, whole parts");
static_assert(kTileN % 64 == 0 && kTileN <= 256, "one wgmma is as wide as the tile");
static_assert(kLines % kClusterK == 0 && kStages >= 2, "whole lines; a ring");
static_assert(kBLayout == 0 || kBRank == 2, "slabs are of row-major B");

/* What a CTA does: pieces `begin` to `end` - 1 of a block row's, for a tile of C. */
struct run_t {
    int first_block; /* of the row */
    int begin, end;
    int row, col;    /* of C: the tile's first */
    int part;        /* of the block row */
};

__device__ __forceinline__ run_t find_run(const tri_bsr_gemm_args &args, unsigned rank)
{
    const int tiles_n = (args.n + kTileN - 1) / kTileN, tile = blockIdx.x / kClusterK;
    const tri_block_row work = args.rows[tile / tiles_n / kParts];
    const int pieces = (work.end - work.begin) * kPieces;
    run_t run;
    run.part = tile / tiles_n % kParts;
    run.first_block = work.begin;
    run.begin = (int)((long long)pieces * rank / kClusterK);
    run.end = (int)((long long)pieces * (rank + 1) / kClusterK);
    run.row = work.row * kBlockM + run.part * kTileM;
    run.col = tile % tiles_n * kTileN;
    return run;
}

/* ---- load ---- */

__device__ __forceinline__ void load_piece_b(const tri_bsr_gemm_args &args, unsigned char *to, unsigned long long *full,
                                             int k, int col)
{
    if constexpr (kBRank == 3) {
        tma_load_3d(to, &args.map_b, full, 0, k, col / 64);
    } else if constexpr (kBLayout == 0) {
#pragma unroll
        for (int slab = 0; slab < kTileN / 64; slab++)
            tma_load_2d(to + slab * kSlabBytes, &args.map_b, full, col + slab * 64, k);
    } else {
        tma_load_2d(to, &args.map_b, full, k, col);
    }
}

/* The producer warp. Block columns are read 32 at a time, one a lane, a whole read ahead. */
__device__ __forceinline__ void produce(const tri_bsr_gemm_args &args, const run_t &run, unsigned char *ring,
                                        unsigned long long *full, unsigned long long *empty)
{
    const int lane = threadIdx.x % 32, block0 = run.begin / kPieces;
    const int blocks = run.end > run.begin ? (run.end - 1) / kPieces + 1 - block0 : 0;
    const int *columns = args.col_idx + run.first_block + block0;
    int here = lane < blocks ? columns[lane] : 0;
    int ahead = lane + 32 < blocks ? columns[lane + 32] : 0;
    int slot = 0;
    unsigned parity = 1; /* fresh slots are empty */
    for (int piece = run.begin; piece < run.end; piece++) {
        const int block = piece / kPieces - block0;
        if (block > 0 && block % 32 == 0 && piece % kPieces == 0) {
            here = ahead;
            ahead = block + 32 + lane < blocks ? columns[block + 32 + lane] : 0;
        }
        const int column = __shfl_sync(0xffffffffu, here, block % 32);
        if (lane == 0) {
            unsigned char *to = ring + slot * kStageBytes;
            mbarrier_wait(&empty[slot], parity);
            mbarrier_arrive_expect_tx(&full[slot], kStageBytes);
            tma_load_2d(to, &args.map_a, &full[slot], piece % kPieces * kStepK,
                        (run.first_block + block0 + block) * kBlockM + run.part * kTileM);
            load_piece_b(args, to + kPieceA, &full[slot], column * kBlockK + piece % kPieces * kStepK, run.col);
        }
        if (++slot == kStages) {
            slot = 0;
            parity ^= 1;
        }
    }
    __syncwarp();
}

/* ---- multiply ---- */

/* A warpgroup: sum += the run's pieces, its 64 rows. One product is always under way behind the next. */
__device__ __forceinline__ void multiply(float (&sum)[kTileN / 2], const run_t &run, unsigned char *ring,
                                         unsigned long long *full, unsigned long long *empty, int wg)
{
    constexpr int kBK16 = kBLayout == 0 ? 2048 : 32; // bytes from one k16 of B to the next
    int slot = 0, before = 0;
    unsigned parity = 0;
    for (int piece = run.begin; piece < run.end; piece++) {
        const unsigned char *stage = ring + slot * kStageBytes;
        mbarrier_wait(&full[slot], parity);
        const unsigned long long a = wgmma_desc<128>(stage + wg * 64 * 128, 0, 1024);
        const unsigned long long b = kBLayout == 0 ? wgmma_desc<128>(stage + kPieceA, kSlabBytes, 1024)
                                                   : wgmma_desc<128>(stage + kPieceA, 0, 1024);
        wgmma_fence_registers(sum);
        wgmma_fence();
#pragma unroll
        for (int i = 0; i < kStepK / 16; i++)
            wgmma<in_t, kTileN, kBLayout == 0>::mma(sum, wgmma_desc_advance(a, i * 32), wgmma_desc_advance(b, i * kBK16), 1);
        wgmma_commit();
        wgmma_wait<1>();
        if (piece > run.begin && threadIdx.x % 32 == 0) mbarrier_arrive(&empty[before]);
        before = slot;
        if (++slot == kStages) {
            slot = 0;
            parity ^= 1;
        }
    }
    wgmma_wait<0>();
    wgmma_fence_registers(sum);
}

/* ---- store ---- */

__device__ __forceinline__ void stage_sums(float *lines, const float (&sum)[kTileN / 2], int wg)
{
    const int lane = threadIdx.x % 32, row = wg * 64 + threadIdx.x % 128 / 32 * 16 + lane / 4, column = lane % 4 * 2;
#pragma unroll
    for (int j = 0; j < kTileN / 8; j++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const float low = sum[j * 4 + half * 2], high = sum[j * 4 + half * 2 + 1];
            const int m = row + half * 8, n = j * 8 + column;
            if constexpr (kCLayout == 0) {
                *reinterpret_cast<float2 *>(lines + m * kPitch + n) = make_float2(low, high);
            } else {
                lines[n * kPitch + m] = low;
                lines[(n + 1) * kPitch + m] = high;
            }
        }
}

/* Eight neighbours of a line, summed over the CTAs of the cluster in their order. */
__device__ __forceinline__ void add_cluster(float (&v)[8], const float *at)
{
    float4 part[kClusterK][2];
#pragma unroll
    for (int rank = 0; rank < kClusterK; rank++) {
        part[rank][0] = load_cluster_16(at, rank);
        part[rank][1] = load_cluster_16(at + 4, rank);
    }
#pragma unroll
    for (int rank = 0; rank < kClusterK; rank++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const float4 x = part[rank][half];
            const float of[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
            for (int e = 0; e < 4; e++) v[half * 4 + e] = rank == 0 ? of[e] : v[half * 4 + e] + of[e];
        }
}

/* Eight neighbours of C from element (row, col) on, along its lines. */
__device__ __forceinline__ void store_eight(const output_view<out_t> &out, const float (&v)[8], int row, int col)
{
    constexpr int kRow = kCLayout == 1, kCol = kCLayout == 0; // steps along a line
    const int left = kCLayout == 0 ? out.n - col : (col < out.n ? 8 : 0);
    alignas(16) out_t result[8];
#pragma unroll
    for (int e = 0; e < 8; e++) {
        const int m = row + e * kRow;
        const float bias = out.bias ? to_float(out.bias[m]) : 0.0f;
        result[e] = e < left ? out_t(finish<kAct, kCLayout>(out, v[e], bias, m, col + e * kCol)) : out_t(0.0f);
    }
    out_t *to = out.c + output_index<kCLayout>(out, row, col);
    if (out.vector_ok && left >= 8) {
#pragma unroll
        for (int i = 0; i < (int)sizeof(result) / 16; i++)
            reinterpret_cast<uint4 *>(to)[i] = reinterpret_cast<const uint4 *>(result)[i];
    } else {
#pragma unroll
        for (int e = 0; e < 8; e++)
            if (e < left) to[e] = result[e];
    }
}

__device__ __forceinline__ void store_lines(const tri_bsr_gemm_args &args, const run_t &run, const float *lines,
                                            unsigned rank)
{
    const output_view<out_t> out = make_output_view<out_t>(args);
    for (int i = threadIdx.x; i < kLinesEach * (kLength / 8); i += kThreads) {
        const int line = rank * kLinesEach + i / (kLength / 8), at = i % (kLength / 8) * 8;
        const int row = run.row + (kCLayout == 0 ? line : at), col = run.col + (kCLayout == 0 ? at : line);
        float v[8];
        if (col >= out.n) continue;
        add_cluster(v, lines + line * kPitch + at);
        store_eight(out, v, row, col);
    }
}

/* grid: block_rows * kParts * ceil(n / kTileN) * kClusterK, in clusters of kClusterK; kThreads threads; dynamic shared
 * memory, 1024-byte aligned: kRingBytes + kStages * 16 bytes. The column tiles of a row are neighbours, so that its blocks
 * come from memory once; long rows are first.
 * map_a {block_k, nnzb * block_m}: box {64, kTileM}; map_b, row-major: box {64, 64}, of rank 3 {64, 64, kTileN / 64};
 * column-major {k, n}: box {64, kTileN}; all with 128-byte swizzle. */
extern "C" __global__ void __launch_bounds__(kThreads, kCtasPerSm)
    triage_kernel(const __grid_constant__ tri_bsr_gemm_args args)
{
    extern __shared__ __align__(1024) unsigned char smem[];
    unsigned long long *full = reinterpret_cast<unsigned long long *>(smem + kRingBytes), *empty = full + kStages;
    const int wg = warp_uniform(threadIdx.x / 128);
    const unsigned rank = kClusterK > 1 ? cluster_ctarank() : 0;
    if (threadIdx.x == kConsumers * 128) {
        tma_prefetch_map(&args.map_a);
        tma_prefetch_map(&args.map_b);
        for (int i = 0; i < kStages; i++) {
            mbarrier_init(&full[i], 1);
            mbarrier_init(&empty[i], kConsumers * 4); /* warps */
        }
        mbarrier_init_fence();
    }
    const run_t run = find_run(args, rank);
    __syncthreads();

    float *lines = reinterpret_cast<float *>(smem);
    if (wg == kConsumers) {
        produce(args, run, smem, full, empty);
        __syncthreads(); /* the ring has been read */
    } else {
        float sum[kTileN / 2] = {};
        multiply(sum, run, smem, full, empty, wg);
        __syncthreads();
        stage_sums(lines, sum, wg);
    }
    cluster_sync();
    store_lines(args, run, lines, rank);
    cluster_sync(); /* the others have read this CTA's sums */
}
