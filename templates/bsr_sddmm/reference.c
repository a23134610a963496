/* bsr_sddmm on the CPU, the yardstick: D = alpha * (Y * X^T) + beta * D on the stored blocks, element by element.
 *
 *   Y   m x n, row-major or column-major, any ldy      f32, f16, bf16
 *   X   k x n, row-major or column-major, any ldx
 *   D   blocks kBlockM x kBlockK, row-major            any block
 *
 * Each element is summed by itself in float32, in ascending n: the plain kernel whose error the others may at most double.
 * Neighbours along a row of a block are summed side by side.
 *
 *   block, row:  for each n:  acc[col] += y * x[col]
 *
 * Parameters, all set by the problem:
 *   in_type, out_type    float, f16_t, bf16_t
 *   block_m, block_k     1 .. 1024
 *   y_layout, x_layout   0 row-major, 1 column-major
 */
#include "lib/host.h"
#include "bsr_sddmm/args.h"

typedef {{in_type}} in_t;   // Y and X: float, f16_t, bf16_t
typedef {{out_type}} out_t; // D: float, f16_t, bf16_t
enum {
    kBlockM = {{block_m}},   // rows of a block
    kBlockK = {{block_k}},   // columns of a block
    kYLayout = {{y_layout}}, // 0 row-major, 1 column-major
    kXLayout = {{x_layout}}, // 0 row-major, 1 column-major
};

_Static_assert(kBlockM >= 1 && kBlockK >= 1, "blocks are not empty");

static void sum_row(float *acc, const tri_bsr_sddmm_args *args, long long row, long long col0)
{
    const in_t *y = (const in_t *)args->y, *x = (const in_t *)args->x;
    for (int j = 0; j < kBlockK; j++)
        acc[j] = 0.0f;
    for (int i = 0; i < args->n; i++) {
        float left = to_float(y[place_of(kYLayout, row, i, args->ldy)]);
        for (int j = 0; j < kBlockK; j++)
            acc[j] += left * to_float(x[place_of(kXLayout, col0 + j, i, args->ldx)]);
    }
}

void triage_kernel(const tri_bsr_sddmm_args *args);

void triage_kernel(const tri_bsr_sddmm_args *args)
{
#pragma omp parallel for schedule(dynamic)
    for (int block_row = 0; block_row < args->block_rows; block_row++)
        for (int block = args->row_ptr[block_row]; block < args->row_ptr[block_row + 1]; block++)
            for (int row = 0; row < kBlockM; row++) {
                out_t *d = (out_t *)args->d + ((long long)block * kBlockM + row) * kBlockK;
                float acc[kBlockK];
                sum_row(acc, args, (long long)block_row * kBlockM + row, (long long)args->col_idx[block] * kBlockK);
                for (int j = 0; j < kBlockK; j++) {
                    float v = args->alpha * acc[j];
                    if (args->beta != 0.0f)
                        v += args->beta * to_float(d[j]);
                    store_float(d + j, v);
                }
            }
}
