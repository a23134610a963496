/* bsr_gemm on the CPU, the yardstick: C = act(alpha * A * B + beta * C + bias), element by element.
 *
 *   A   BSR, blocks kBlockM x kBlockK row-major        any block; f32, f16, bf16, e4m3; or stored as its transpose
 *   B   k x n, row-major or column-major, any ldb
 *   C   m x n, row-major or column-major, any ldc
 *
 * Each element is summed by itself in float32, in ascending k: the plain kernel whose error the
 * others may at most double. Neighbours along a row are summed side by side, or real layers would
 * take minutes.
 *
 *   row, kStrip columns:  for each block of the block row:  for each k:  acc[column] += a * b[column]
 *
 * Parameters, all set by the problem:
 *   in_type, out_type   float, f16_t, bf16_t; in_type also e4m3_t
 *   block_m, block_k    1 .. 1024
 *   b_layout, c_layout  0 row-major, 1 column-major
 *   act                 0 none, 1 relu, 2 gelu (erf), 3 silu
 *   scale_per_block     e4m3: scale_a has 0 one value, 1 nnzb values
 */
#include "lib/host_fp8.h"
#include "bsr_gemm/args.h"
{{#transposed}}
#include "bsr_gemm/transposed.h"
{{/transposed}}

typedef {{in_type}} in_t;   // A and B: float, f16_t, bf16_t, e4m3_t
typedef {{out_type}} out_t; // C and bias: float, f16_t, bf16_t
enum {
    kBlockM = {{block_m}},   // rows of a block
    kBlockK = {{block_k}},   // columns of a block
    kBLayout = {{b_layout}}, // 0 row-major, 1 column-major
    kCLayout = {{c_layout}}, // 0 row-major, 1 column-major
    kAct = {{act}},          // 0 none, 1 relu, 2 gelu (erf), 3 silu
    kScalePerBlock = {{scale_per_block}}, // e4m3: scale_a has 0 one value, 1 nnzb values
    kStrip = 64,             // columns summed side by side
};

_Static_assert(kBlockM >= 1 && kBlockK >= 1, "blocks are not empty");
_Static_assert(kAct >= 0 && kAct <= 3, "unknown activation");

static void sum_strip(float *acc, const tri_bsr_gemm_args *args, int row, int col0, int cols)
{
    const in_t *values = (const in_t *)args->values, *b = (const in_t *)args->b;
    int block_row = row / kBlockM, inner_row = row % kBlockM;
    float part[kStrip], *sum = kScalePerBlock ? part : acc; /* of one block, of all */
    for (int j = 0; j < kStrip; j++)
        acc[j] = part[j] = 0.0f;
    for (int i = args->row_ptr[block_row]; i < args->row_ptr[block_row + 1]; i++) {
{{^transposed}}
        const in_t *a = values + ((long long)i * kBlockM + inner_row) * kBlockK;
        long long k0 = (long long)args->col_idx[i] * kBlockK;
{{/transposed}}
{{#transposed}}
        tri_transposed_block block = ((const tri_transposed_block *)(const void *)args->col_idx)[i];
        const in_t *a = values + (long long)block.place * (kBlockM * kBlockK) + inner_row;
        long long k0 = (long long)block.col * kBlockK;
{{/transposed}}
        for (int k = 0; k < kBlockK; k++) {
            const in_t *at = b + (kBLayout == 0 ? (k0 + k) * args->ldb + col0 : col0 * args->ldb + k0 + k);
            for (int j = 0; j < cols; j++)
                sum[j] += to_float(a[k{{#transposed}} * kBlockM{{/transposed}}]) * to_float(at[kBLayout == 0 ? j : j * args->ldb]);
        }
        for (int j = 0; kScalePerBlock && j < kStrip; j++) {
            acc[j] += (args->scale_a ? args->scale_a[i] : 1.0f) * part[j];
            part[j] = 0.0f;
        }
    }
    for (int j = 0; !kScalePerBlock && args->scale_a && j < kStrip; j++)
        acc[j] *= args->scale_a[0];
    for (int j = 0; args->scale_b && j < kStrip; j++)
        acc[j] *= args->scale_b[0];
}

void triage_kernel(const tri_bsr_gemm_args *args);

void triage_kernel(const tri_bsr_gemm_args *args)
{
    out_t *c = (out_t *)args->c;
    const out_t *bias = (const out_t *)args->bias;
#pragma omp parallel for schedule(dynamic)
    for (int row = 0; row < args->m; row++) {
        float offset = bias ? to_float(bias[row]) : 0.0f;
        for (int col0 = 0; col0 < args->n; col0 += kStrip) {
            int cols = args->n - col0 < kStrip ? args->n - col0 : kStrip;
            float acc[kStrip];
            sum_strip(acc, args, row, col0, cols);
            for (int col = col0; col < col0 + cols; col++) {
                out_t *at = c + (kCLayout == 0 ? row * args->ldc + col : col * args->ldc + row);
                float v = args->alpha * acc[col - col0] + offset;
                if (args->beta != 0.0f)
                    v += args->beta * to_float(*at);
                store_float(at, activate(kAct, v));
            }
        }
    }
}
