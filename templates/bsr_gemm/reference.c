/* bsr_gemm on the CPU, the yardstick: C = act(alpha * A * B + beta * C + bias), element by element.
 *
 *   A   BSR, blocks kBlockM x kBlockK row-major        any block; f32, f16, bf16
 *   B   k x n, row-major or column-major, any ldb
 *   C   m x n, row-major or column-major, any ldc
 *
 * Sums in float32, in ascending k, with no tricks: the plain kernel whose error the others may at
 * most double.
 *
 *   (row, col):  for each block of the block row:  for each k:  acc += a * b
 *
 * Parameters, all set by the problem:
 *   in_type, out_type   float, f16_t, bf16_t
 *   block_m, block_k    1 .. 1024
 *   b_layout, c_layout  0 row-major, 1 column-major
 *   act                 0 none, 1 relu, 2 gelu (erf), 3 silu
 */
#include "lib/host.h"
#include "bsr_gemm/args.h"

typedef {{in_type}} in_t;   // A and B: float, f16_t, bf16_t
typedef {{out_type}} out_t; // C and bias: float, f16_t, bf16_t
enum {
    kBlockM = {{block_m}},   // rows of a block
    kBlockK = {{block_k}},   // columns of a block
    kBLayout = {{b_layout}}, // 0 row-major, 1 column-major
    kCLayout = {{c_layout}}, // 0 row-major, 1 column-major
    kAct = {{act}},          // 0 none, 1 relu, 2 gelu (erf), 3 silu
};

_Static_assert(kBlockM >= 1 && kBlockK >= 1, "blocks are not empty");
_Static_assert(kAct >= 0 && kAct <= 3, "unknown activation");

static float dot(const tri_bsr_gemm_args *args, int row, int col)
{
    const in_t *values = (const in_t *)args->values, *b = (const in_t *)args->b;
    int block_row = row / kBlockM, inner_row = row % kBlockM;
    float acc = 0.0f;
    for (int i = args->row_ptr[block_row]; i < args->row_ptr[block_row + 1]; i++) {
        const in_t *a = values + ((long long)i * kBlockM + inner_row) * kBlockK;
        long long k0 = (long long)args->col_idx[i] * kBlockK;
        for (int k = 0; k < kBlockK; k++) {
            long long at = kBLayout == 0 ? (k0 + k) * args->ldb + col : col * args->ldb + k0 + k;
            acc += to_float(a[k]) * to_float(b[at]);
        }
    }
    return acc;
}

void triage_kernel(const tri_bsr_gemm_args *args);

void triage_kernel(const tri_bsr_gemm_args *args)
{
    out_t *c = (out_t *)args->c;
    const out_t *bias = (const out_t *)args->bias;
#pragma omp parallel for schedule(dynamic)
    for (int row = 0; row < args->m; row++) {
        float offset = bias ? to_float(bias[row]) : 0.0f;
        for (int col = 0; col < args->n; col++) {
            out_t *at = c + (kCLayout == 0 ? row * args->ldc + col : col * args->ldc + row);
            float v = args->alpha * dot(args, row, col) + offset;
            if (args->beta != 0.0f)
                v += args->beta * to_float(*at);
            store_float(at, activate(kAct, v));
        }
    }
}
