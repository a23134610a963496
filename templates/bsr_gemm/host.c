/* bsr_gemm on the CPU: C = act(alpha * A * B + beta * C + bias) with OpenMP and vector registers.
 *
 *   A   BSR, blocks kBlockM x kBlockK row-major        any block; f32, f16, bf16; or stored as its transpose
 *   B   k x n, row-major or column-major, any ldb
 *   C   m x n, row-major or column-major, any ldc      sums in float32
 *
 *   task = (panel of kTileN columns of B, 1/kRowTasks of the block rows)
 *     pack    the panel -> k x kTileN floats of this thread: one stride, converted, zero-padded
 *     for each block row of the task, longest first
 *       for each strip of kTileM rows of it
 *         for each block:  kTileM x kTileN accumulators in registers += strip of A x rows of the panel
 *         finish  alpha, beta, bias, activation -> C
 *
 * Packing pays because rows of B that are a power of two apart fall into the same few cache sets.
 * A panel is k * kTileN * 4 bytes: best when it fits half of a core's L2.
 *
 * Parameters of the problem: in_type, out_type (float, f16_t, bf16_t), block_m, block_k (1 .. 1024),
 * b_layout, c_layout (0 row, 1 column), act (0 .. 3).
 * Parameters to tune, with their legal values:
 *   tile_n     4, 8 or a multiple of 16 up to 128         columns of a register tile
 *   tile_m     1 .. 16, divides block_m                   rows of a register tile
 *              registers: (tile_m + 1) * ceil(tile_n / lanes) + 1 <= 32 on x86_64-avx512 (16 lanes) and
 *              aarch64 (4 lanes), <= 16 on x86_64-avx2 (8 lanes) and x86_64 (4 lanes); more only spills
 *   unroll     1, 2, 4, 8                                 steps of k per loop turn
 *   row_tasks  1 .. 1024 (1, 2, 4, 8, 16 are sensible)    pieces of the rows per panel: more for many cores
 *   pack       0, 1   0 reads full panels of a row-major f32 B in place; every other B is packed anyway,
 *                     so 0 is only worth trying for in_type float and b_layout 0
 *   schedule   static, dynamic                            of the tasks over the threads
 * Launch: no grid, no shared memory, no workspace.
 */
#include "lib/host.h"
#include "bsr_gemm/args.h"
{{#transposed}}
#include "bsr_gemm/transposed.h"
{{/transposed}}
#include <omp.h>
#include <stdbool.h>

typedef {{in_type}} in_t;   // A and B: float, f16_t, bf16_t
typedef {{out_type}} out_t; // C and bias: float, f16_t, bf16_t
#define SCHEDULE {{schedule}} // of the tasks: static, dynamic
enum {
    kBlockM = {{block_m}},     // rows of a block
    kBlockK = {{block_k}},     // columns of a block
    kBLayout = {{b_layout}},   // 0 row-major, 1 column-major
    kCLayout = {{c_layout}},   // 0 row-major, 1 column-major
    kAct = {{act}},            // 0 none, 1 relu, 2 gelu (erf), 3 silu
    kTileN = {{tile_n}},       // columns of a register tile
    kTileM = {{tile_m}},       // rows of a register tile
    kUnroll = {{unroll}},      // steps of k per loop turn
    kRowTasks = {{row_tasks}}, // tasks that share a panel
    kPack = {{pack}},          // 1 always copies the panel
};

enum {
    kVecBytes = kTileN * 4 < kNativeBytes ? kTileN * 4 : kNativeBytes, // the widest vector that the tile fills
    kLanes = kVecBytes / 4,
    kVecs = kTileN / kLanes,
    kInPlace = !kPack && kBLayout == 0 && _Generic((in_t){0}, float: 1, default: 0),
{{^transposed}}
    kConvertA = _Generic((in_t){0}, float: 0, default: 1),
{{/transposed}}
{{#transposed}}
    kConvertA = 1, /* and turned */
{{/transposed}}
};
typedef float vec __attribute__((vector_size(kVecBytes), aligned(4), may_alias));

_Static_assert(kTileN == 4 || kTileN == 8 || (kTileN % 16 == 0 && kTileN <= 128), "tile_n");
_Static_assert(kTileM >= 1 && kTileM <= 16 && kBlockM % kTileM == 0, "tile_m divides block_m");
_Static_assert(kRowTasks >= 1 && kRowTasks <= 1024, "row_tasks");
_Static_assert(kAct >= 0 && kAct <= 3, "unknown activation");

/* ---- pack ---- */

static void pack_row_major(float *to, const tri_bsr_gemm_args *args, int col0, int cols)
{
    const in_t *b = (const in_t *)args->b + col0;
    for (int k = 0; k < args->k; k++, to += kTileN, b += args->ldb) {
        if (cols == kTileN) {
#pragma omp simd
            for (int j = 0; j < kTileN; j++)
                to[j] = to_float(b[j]);
        } else {
            for (int j = 0; j < kTileN; j++)
                to[j] = j < cols ? to_float(b[j]) : 0.0f;
        }
    }
}

/* Transposes in squares of one cache line, so that neither side is walked with a stride for long. */
static void pack_col_major(float *to, const tri_bsr_gemm_args *args, int col0, int cols)
{
    const in_t *b = (const in_t *)args->b + col0 * args->ldb;
    for (int k0 = 0; k0 < args->k; k0 += 16) {
        int k1 = k0 + 16 < args->k ? k0 + 16 : args->k;
        for (int j = 0; j < kTileN; j++)
            for (int k = k0; k < k1; k++)
                to[(long long)k * kTileN + j] = j < cols ? to_float(b[j * args->ldb + k]) : 0.0f;
    }
}

/* ---- multiply ---- */

{{#transposed}}
/* kTileM rows of a block as floats, [kTileM][kBlockK], of columns of the stored one. */
static inline const float *strip_of(float *room, const tri_bsr_gemm_args *args, tri_transposed_block block, int inner_row)
{
    const in_t *a = (const in_t *)args->values + (long long)block.place * (kBlockM * kBlockK) + inner_row;
    for (int k = 0; k < kBlockK; k++)
        for (int r = 0; r < kTileM; r++)
            room[r * kBlockK + k] = to_float(a[k * kBlockM + r]);
    return room;
}
{{/transposed}}
{{^transposed}}
/* One strip of a block as floats, [kTileM][kBlockK]: in place, or converted into room. */
static inline const float *strip_of(float *room, const tri_bsr_gemm_args *args, long long row)
{
    const in_t *a = (const in_t *)args->values + row * kBlockK;
    if (!kConvertA)
        return (const float *)(const void *)a;
#pragma omp simd
    for (int i = 0; i < kTileM * kBlockK; i++)
        room[i] = to_float(a[i]);
    return room;
}

{{/transposed}}
/* tile = the product of kTileM rows, from inner_row of the block row, with the panel b. */
static inline void multiply_strip(vec tile[kTileM][kVecs], const tri_bsr_gemm_args *args, int block_row,
                                  int inner_row, const float *b, long long ldb)
{
    float room[kConvertA ? kTileM * kBlockK : 1];
    vec acc[kTileM][kVecs];
    memset(acc, 0, sizeof acc);
    for (int i = args->row_ptr[block_row]; i < args->row_ptr[block_row + 1]; i++) {
{{^transposed}}
        const float *a = strip_of(room, args, (long long)i * kBlockM + inner_row);
        const float *rows = b + (long long)args->col_idx[i] * kBlockK * ldb;
{{/transposed}}
{{#transposed}}
        tri_transposed_block block = ((const tri_transposed_block *)(const void *)args->col_idx)[i];
        const float *a = strip_of(room, args, block, inner_row);
        const float *rows = b + (long long)block.col * kBlockK * ldb;
{{/transposed}}
#pragma GCC unroll kUnroll
        for (int k = 0; k < kBlockK; k++) {
            const vec *bk = (const vec *)(rows + k * ldb);
#pragma GCC unroll 16
            for (int r = 0; r < kTileM; r++) {
#pragma GCC unroll 32
                for (int v = 0; v < kVecs; v++)
                    acc[r][v] += a[r * kBlockK + k] * bk[v];
            }
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < kTileM; r++) {
#pragma GCC unroll 32
        for (int v = 0; v < kVecs; v++)
            tile[r][v] = acc[r][v];
    }
}

/* ---- finish ---- */

static inline void finish(out_t *at, float sum, float bias, const tri_bsr_gemm_args *args)
{
    float v = args->alpha * sum + bias;
    if (args->beta != 0.0f)
        v += args->beta * to_float(*at);
    store_float(at, activate(kAct, v));
}

static inline void store_strip(const float *tile, const tri_bsr_gemm_args *args, int row0, int col0, int cols)
{
    const out_t *bias = (const out_t *)args->bias;
    for (int r = 0; r < kTileM; r++) {
        float offset = bias ? to_float(bias[row0 + r]) : 0.0f;
        long long step = kCLayout == 0 ? 1 : args->ldc;
        out_t *c = (out_t *)args->c + place_of(kCLayout, row0 + r, col0, args->ldc);
        if (kCLayout == 0 && args->beta == 0.0f) {
#pragma omp simd
            for (int j = 0; j < cols; j++)
                store_float(c + j, activate(kAct, args->alpha * tile[r * kTileN + j] + offset));
        } else {
            for (int j = 0; j < cols; j++)
                finish(c + j * step, tile[r * kTileN + j], offset, args);
        }
    }
}

/* ---- tasks ---- */

/* Block rows first, first + kRowTasks, ... of the work order: every task gets long and short ones. */
static void run_rows(const tri_bsr_gemm_args *args, int first, int col0, const float *b, long long ldb)
{
    int cols = args->n - col0 < kTileN ? args->n - col0 : kTileN;
    vec tile[kTileM][kVecs];
    for (int at = first; at < args->block_rows; at += kRowTasks) {
        int block_row = args->rows[at].row;
        for (int inner_row = 0; inner_row < kBlockM; inner_row += kTileM) {
            multiply_strip(tile, args, block_row, inner_row, b, ldb);
            store_strip((const float *)tile, args, block_row * kBlockM + inner_row, col0, cols);
        }
    }
}

/* Without memory for a panel: the same product, one column after another. */
static void run_rows_unpacked(const tri_bsr_gemm_args *args, int first, int col0)
{
    const in_t *values = (const in_t *)args->values, *b = (const in_t *)args->b;
    const out_t *bias = (const out_t *)args->bias;
    for (int at = first; at < args->block_rows; at += kRowTasks) {
        int block_row = args->rows[at].row;
        for (int e = 0; e < kBlockM * kTileN; e++) {
            int row = block_row * kBlockM + e / kTileN, col = col0 + e % kTileN;
            if (col >= args->n)
                continue;
            float sum = 0.0f;
            for (int i = args->row_ptr[block_row]; i < args->row_ptr[block_row + 1]; i++) {
                for (int k = 0; k < kBlockK; k++) {
                    long long bk = (long long)args->col_idx[i] * kBlockK + k;
                    long long a = ((long long)i * kBlockM + row % kBlockM) * kBlockK + k;
                    sum += to_float(values[a]) * to_float(b[place_of(kBLayout, bk, col, args->ldb)]);
                }
            }
            out_t *c = (out_t *)args->c + place_of(kCLayout, row, col, args->ldc);
            finish(c, sum, bias ? to_float(bias[row]) : 0.0f, args);
        }
    }
}

typedef struct worker {
    scratch *panel; /* NULL until first needed */
    int packed;     /* column that the panel starts at; -1: none */
    int number;
} worker;

static void run_task(worker *self, const tri_bsr_gemm_args *args, long long task)
{
    int col0 = (int)(task / kRowTasks) * kTileN, first = (int)(task % kRowTasks);
    int cols = args->n - col0 < kTileN ? args->n - col0 : kTileN;
    if (kInPlace && cols == kTileN) {
        run_rows(args, first, col0, (const float *)args->b + col0, args->ldb);
        return;
    }
    if (!self->panel)
        self->panel = scratch_take(self->number, sizeof(float) * (size_t)args->k * kTileN);
    if (!self->panel) {
        run_rows_unpacked(args, first, col0);
        return;
    }
    if (self->packed != col0)
        (kBLayout == 0 ? pack_row_major : pack_col_major)(self->panel->data, args, col0, cols);
    self->packed = col0;
    run_rows(args, first, col0, self->panel->data, kTileN);
}

void triage_kernel(const tri_bsr_gemm_args *args);

void triage_kernel(const tri_bsr_gemm_args *args)
{
    long long tasks = ((long long)args->n + kTileN - 1) / kTileN * kRowTasks;
#pragma omp parallel
    {
        worker self = {NULL, -1, omp_get_thread_num()};
#pragma omp for schedule(SCHEDULE) nowait
        for (long long task = 0; task < tasks; task++)
            run_task(&self, args, task);
        if (self.panel)
            scratch_give(self.number, self.panel);
    }
}
