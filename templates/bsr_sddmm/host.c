/* bsr_sddmm on the CPU: D = alpha * (Y * X^T) + beta * D on the stored blocks, with OpenMP and vector registers.
 *
 *   Y   m x n, row-major or column-major, any ldy      f32, f16, bf16
 *   X   k x n, row-major or column-major, any ldx
 *   D   blocks kBlockM x kBlockK, row-major            any block; sums in float32
 *
 *   task = kRun blocks, one after the other
 *     for each chunk of kDepth of n
 *       pack   its part of the block row's Y -> [kDepth][kBlockM] floats
 *              its part of the block column's X -> [kDepth][kWidth] floats, zero-padded
 *       for each strip of kTileM x kLanes * kVecs of the block
 *         sums in registers += y x, for each n of the chunk; kept in a block of floats between chunks
 *     finish   alpha, beta -> D
 *
 * Packing makes both layouts and all types the same loop, and its cost is shared by a block's rows and columns.
 *
 * Parameters of the problem: in_type, out_type (float, f16_t, bf16_t), block_m, block_k (1 .. 1024), y_layout, x_layout
 * (0 row, 1 column).
 * Parameters to tune, with their legal values:
 *   tile_m   1 .. 8, divides block_m        rows of a register tile
 *   vecs     1, 2, 4                        vectors of a row of a register tile
 *   depth    16 .. 1024                     n of a chunk: (block_m + block_k) * depth floats are best in half of a core's L2
 *   run      1, 4, 16                       blocks of a task
 * Launch: no grid, no shared memory, no workspace.
 */
#include "lib/host.h"
#include "bsr_sddmm/args.h"
#include <omp.h>

typedef {{in_type}} in_t;   // Y and X: float, f16_t, bf16_t
typedef {{out_type}} out_t; // D: float, f16_t, bf16_t
enum {
    kBlockM = {{block_m}},   // rows of a block
    kBlockK = {{block_k}},   // columns of a block
    kYLayout = {{y_layout}}, // 0 row-major, 1 column-major
    kXLayout = {{x_layout}}, // 0 row-major, 1 column-major
    kTileM = {{tile_m}},     // rows of a register tile
    kVecs = {{vecs}},        // vectors of a row of a register tile
    kDepth = {{depth}},      // n of a chunk
    kRun = {{run}},          // blocks of a task
};

enum {
    kLanes = kNativeBytes / 4,
    kTileK = kLanes * kVecs,                             // columns of a register tile
    kWidth = (kBlockK + kTileK - 1) / kTileK * kTileK,   // of a block, in whole tiles
    kRoom = kDepth * (kBlockM + kWidth) + kBlockM * kWidth, // floats of a thread
};
typedef float vec __attribute__((vector_size(kNativeBytes), aligned(4), may_alias));

_Static_assert(kTileM >= 1 && kTileM <= 8 && kBlockM % kTileM == 0, "tile_m divides block_m");
_Static_assert(kVecs == 1 || kVecs == 2 || kVecs == 4, "vecs");
_Static_assert(kDepth >= 1 && kRun >= 1, "a chunk and a task are not empty");

/* to[i][j] = from(line0 + j, n0 + i) of a matrix of lines, depth x width; 0 beyond lines. */
static void pack(float *to, int width, const void *from, int layout, long long ld, long long line0, int lines, int n0,
                 int depth)
{
    const in_t *at = (const in_t *)from;
    for (int i = 0; i < depth; i++)
        for (int j = 0; j < width; j++)
            to[i * width + j] = j < lines ? to_float(at[place_of(layout, line0 + j, n0 + i, ld)]) : 0.0f;
}

/* sums[row .. row + kTileM - 1][col .. col + kTileK - 1] += y x over a chunk. */
static inline void multiply(float *sums, const float *y, const float *x, int row, int col, int depth)
{
    vec acc[kTileM][kVecs];
    for (int r = 0; r < kTileM; r++)
        for (int v = 0; v < kVecs; v++)
            acc[r][v] = *(const vec *)(sums + (row + r) * kWidth + col + v * kLanes);
    for (int i = 0; i < depth; i++) {
        const vec *xi = (const vec *)(x + i * kWidth + col);
        for (int r = 0; r < kTileM; r++)
            for (int v = 0; v < kVecs; v++)
                acc[r][v] += y[i * kBlockM + row + r] * xi[v];
    }
    for (int r = 0; r < kTileM; r++)
        for (int v = 0; v < kVecs; v++)
            *(vec *)(sums + (row + r) * kWidth + col + v * kLanes) = acc[r][v];
}

static void finish(const tri_bsr_sddmm_args *args, const float *sums, long long block)
{
    for (int row = 0; row < kBlockM; row++) {
        out_t *d = (out_t *)args->d + (block * kBlockM + row) * kBlockK;
        for (int j = 0; j < kBlockK; j++) {
            float v = args->alpha * sums[row * kWidth + j];
            if (args->beta != 0.0f)
                v += args->beta * to_float(d[j]);
            store_float(d + j, v);
        }
    }
}

static void run_block(const tri_bsr_sddmm_args *args, float *room, int block_row, int block)
{
    float *sums = room, *y = sums + kBlockM * kWidth, *x = y + kDepth * kBlockM;
    memset(sums, 0, sizeof(float) * kBlockM * kWidth);
    for (int n0 = 0; n0 < args->n; n0 += kDepth) {
        const int depth = args->n - n0 < kDepth ? args->n - n0 : kDepth;
        pack(y, kBlockM, args->y, kYLayout, args->ldy, (long long)block_row * kBlockM, kBlockM, n0, depth);
        pack(x, kWidth, args->x, kXLayout, args->ldx, (long long)args->col_idx[block] * kBlockK, kBlockK, n0, depth);
        for (int row = 0; row < kBlockM; row += kTileM)
            for (int col = 0; col < kWidth; col += kTileK)
                multiply(sums, y, x, row, col, depth);
    }
    finish(args, sums, block);
}

/* Without memory for a block: each element by itself. */
static void run_block_plainly(const tri_bsr_sddmm_args *args, int block_row, int block)
{
    const in_t *y = (const in_t *)args->y, *x = (const in_t *)args->x;
    for (int e = 0; e < kBlockM * kBlockK; e++) {
        const long long row = (long long)block_row * kBlockM + e / kBlockK;
        const long long col = (long long)args->col_idx[block] * kBlockK + e % kBlockK;
        out_t *d = (out_t *)args->d + (long long)block * kBlockM * kBlockK + e;
        float sum = 0.0f;
        for (int i = 0; i < args->n; i++)
            sum += to_float(y[place_of(kYLayout, row, i, args->ldy)]) * to_float(x[place_of(kXLayout, col, i, args->ldx)]);
        sum *= args->alpha;
        if (args->beta != 0.0f)
            sum += args->beta * to_float(*d);
        store_float(d, sum);
    }
}

/* The block row that a block is in: the last one that does not begin behind it. */
static int row_of_block(const tri_bsr_sddmm_args *args, int block)
{
    int low = 0, high = args->block_rows - 1;
    while (low < high) {
        int middle = low + (high - low + 1) / 2;
        if (args->row_ptr[middle] <= block)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

static void run_task(const tri_bsr_sddmm_args *args, scratch *room, int first)
{
    int block_row = row_of_block(args, first);
    for (int block = first; block < first + kRun && block < args->nnzb; block++) {
        while (args->row_ptr[block_row + 1] <= block)
            block_row++;
        if (room)
            run_block(args, room->data, block_row, block);
        else
            run_block_plainly(args, block_row, block);
    }
}

void triage_kernel(const tri_bsr_sddmm_args *args);

void triage_kernel(const tri_bsr_sddmm_args *args)
{
    const int tasks = args->nnzb / kRun + (args->nnzb % kRun != 0);
#pragma omp parallel
    {
        const int number = omp_get_thread_num();
        scratch *room = scratch_take(number, sizeof(float) * kRoom);
#pragma omp for schedule(dynamic) nowait
        for (int task = 0; task < tasks; task++)
            run_task(args, room, task * kRun);
        if (room)
            scratch_give(number, room);
    }
}
