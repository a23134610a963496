/* bsr_gemm on the CPU for 8-bit floats: C = act(alpha * (scale_a A) * (scale_b B) + beta * C + bias).
 *
 *   A   BSR, blocks kBlockM x kBlockK row-major        any block; e4m3, one scale or one a block
 *   B   k x n, row-major or column-major, any ldb      e4m3, one scale
 *   C   m x n, row-major or column-major, any ldc      f32, f16, bf16; sums in float32
 *
 *   task = (block row, panel of kTileN columns)
 *     for each block, for each kChunk of its k
 *       convert  that piece of B -> kChunk x kTileN floats on the stack, zero-padded
 *       for each strip of kTileM rows:  registers = strip of A x piece;  sums += scale * registers
 *     finish   alpha, scale_b, beta, bias, activation -> C
 *
 * Parameters of the problem: in_type (e4m3_t), out_type (float, f16_t, bf16_t), block_m, block_k (1 .. 1024),
 * b_layout, c_layout (0 row, 1 column), act (0 .. 3), scale_per_block (0, 1).
 * Parameters to tune, with their legal values:
 *   tile_n   16, 32                        columns of a panel
 *   tile_m   1 .. 16, divides block_m      rows of a register tile
 * Launch: no grid, no shared memory, no workspace.
 */
#include "lib/host_fp8.h"
#include "bsr_gemm/args.h"

typedef {{in_type}} in_t;   // A and B: e4m3_t
typedef {{out_type}} out_t; // C and bias: float, f16_t, bf16_t
enum {
    kBlockM = {{block_m}},                 // rows of a block
    kBlockK = {{block_k}},                 // columns of a block
    kBLayout = {{b_layout}},               // 0 row-major, 1 column-major
    kCLayout = {{c_layout}},               // 0 row-major, 1 column-major
    kAct = {{act}},                        // 0 none, 1 relu, 2 gelu (erf), 3 silu
    kScalePerBlock = {{scale_per_block}},  // scale_a has 0 one value, 1 nnzb values
    kTileN = {{tile_n}},                   // columns of a panel
    kTileM = {{tile_m}},                   // rows of a register tile
    kChunk = kBlockK < 64 ? kBlockK : 64,  // k that is converted at a time: a cache line of a column of B
};

enum { kVecBytes = kNativeBytes, kLanes = kVecBytes / 4, kVecs = kTileN / kLanes };
typedef float vec __attribute__((vector_size(kVecBytes), aligned(4), may_alias));

_Static_assert(kTileN == 16 || kTileN == 32, "tile_n");
_Static_assert(kTileM >= 1 && kTileM <= 16 && kBlockM % kTileM == 0, "tile_m divides block_m");
_Static_assert(kAct >= 0 && kAct <= 3, "unknown activation");

/* ---- convert ---- */

/* Rows k0 .. k0 + depth of B, columns col0 .. col0 + cols. */
static void convert_b(float *to, const tri_bsr_gemm_args *args, long long k0, int depth, int col0, int cols)
{
    const in_t *b = (const in_t *)args->b;
    if (cols < kTileN)
        memset(to, 0, sizeof *to * (size_t)depth * kTileN);
    if (kBLayout == 0)
        for (int k = 0; k < depth; k++)
            for (int j = 0; j < cols; j++)
                to[k * kTileN + j] = to_float(b[(k0 + k) * args->ldb + col0 + j]);
    else
        for (int j = 0; j < cols; j++)
            for (int k = 0; k < depth; k++)
                to[k * kTileN + j] = to_float(b[(col0 + j) * args->ldb + k0 + k]);
}

/* The same columns of kTileM rows of a block, [kTileM][kChunk]. */
static void convert_a(float *to, const in_t *a, int depth)
{
    for (int r = 0; r < kTileM; r++)
        for (int k = 0; k < depth; k++)
            to[r * kChunk + k] = to_float(a[r * kBlockK + k]);
}

/* ---- multiply ---- */

static inline void multiply_strip(float *sums, float scale, const float *a, const float *b, int depth)
{
    vec acc[kTileM][kVecs];
    memset(acc, 0, sizeof acc);
    for (int k = 0; k < depth; k++) {
        const vec *bk = (const vec *)(b + k * kTileN);
#pragma GCC unroll 16
        for (int r = 0; r < kTileM; r++) {
#pragma GCC unroll 8
            for (int v = 0; v < kVecs; v++)
                acc[r][v] += a[r * kChunk + k] * bk[v];
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < kTileM; r++) {
#pragma GCC unroll 8
        for (int v = 0; v < kVecs; v++)
            ((vec *)(sums + r * kTileN))[v] += scale * acc[r][v];
    }
}

static void multiply_block(float *sums, const tri_bsr_gemm_args *args, int block, int col0, int cols)
{
    const in_t *values = (const in_t *)args->values + (long long)block * kBlockM * kBlockK;
    float scale = kScalePerBlock && args->scale_a ? args->scale_a[block] : 1.0f;
    float a[kTileM * kChunk], b[kChunk * kTileN];
    for (int k = 0; k < kBlockK; k += kChunk) {
        int depth = kBlockK - k < kChunk ? kBlockK - k : kChunk;
        convert_b(b, args, (long long)args->col_idx[block] * kBlockK + k, depth, col0, cols);
        for (int row = 0; row < kBlockM; row += kTileM) {
            convert_a(a, values + row * kBlockK + k, depth);
            multiply_strip(sums + row * kTileN, scale, a, b, depth);
        }
    }
}

/* ---- finish ---- */

static void finish(const float *sums, const tri_bsr_gemm_args *args, int block_row, int col0, int cols)
{
    const out_t *bias = (const out_t *)args->bias;
    float scale_a = !kScalePerBlock && args->scale_a ? args->scale_a[0] : 1.0f;
    float scale_b = args->scale_b ? args->scale_b[0] : 1.0f;
    for (int inner = 0; inner < kBlockM; inner++) {
        long long row = (long long)block_row * kBlockM + inner;
        float offset = bias ? to_float(bias[row]) : 0.0f;
        for (int j = 0; j < cols; j++) {
            out_t *at = (out_t *)args->c + place_of(kCLayout, row, col0 + j, args->ldc);
            float v = args->alpha * (scale_b * (scale_a * sums[inner * kTileN + j])) + offset;
            if (args->beta != 0.0f)
                v += args->beta * to_float(*at);
            store_float(at, activate(kAct, v));
        }
    }
}

/* ---- tasks ---- */

static void run_task(const tri_bsr_gemm_args *args, int block_row, int col0)
{
    int cols = args->n - col0 < kTileN ? args->n - col0 : kTileN;
    float sums[kBlockM * kTileN]; /* at most 128 KiB */
    memset(sums, 0, sizeof sums);
    for (int i = args->row_ptr[block_row]; i < args->row_ptr[block_row + 1]; i++)
        multiply_block(sums, args, i, col0, cols);
    finish(sums, args, block_row, col0, cols);
}

void triage_kernel(const tri_bsr_gemm_args *args);

void triage_kernel(const tri_bsr_gemm_args *args)
{
    long long panels = ((long long)args->n + kTileN - 1) / kTileN;
#pragma omp parallel for schedule(dynamic)
    for (long long task = 0; task < args->block_rows * panels; task++)
        run_task(args, args->rows[task / panels].row, (int)(task % panels) * kTileN);
}
