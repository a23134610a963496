/* bsr_sddmm, the yardstick: D = alpha * (Y * X^T) + beta * D on the stored blocks, one thread per element.
 *
 *   Y   m x n, row-major or column-major, any ldy      any type
 *   X   k x n, row-major or column-major, any ldx
 *   D   blocks kBlockM x kBlockK, row-major            any block
 *
 * Sums in float32, in ascending n, with no tricks: the plain kernel whose error the others may at most double. Runs wherever
 * the compiler goes.
 *
 *   thread (block, row, col):  for each n:  acc += y * x
 */
#include "bsr_sddmm/args.h"
#include "lib/store.cuh"

using in_t = {{in_type}};              // Y and X: float, __half, __nv_bfloat16
using out_t = {{out_type}};            // D: float, __half, __nv_bfloat16
constexpr int kBlockM = {{block_m}};   // rows of a block
constexpr int kBlockK = {{block_k}};   // columns of a block
constexpr int kYLayout = {{y_layout}}; // 0 row-major, 1 column-major
constexpr int kXLayout = {{x_layout}}; // 0 row-major, 1 column-major

constexpr int kThreads = 256;

static_assert(kBlockM >= 1 && kBlockK >= 1, "blocks are not empty");

/* The block row that a block is in: the last one that does not begin behind it. */
__device__ __forceinline__ int row_of_block(const tri_bsr_sddmm_args &args, int block)
{
    int low = 0, high = args.block_rows - 1;
    while (low < high) {
        int middle = low + (high - low + 1) / 2;
        if (args.row_ptr[middle] <= block)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

/* grid: any number of CTAs of kThreads. */
extern "C" __global__ void __launch_bounds__(kThreads) triage_kernel(const __grid_constant__ tri_bsr_sddmm_args args)
{
    const in_t *y = static_cast<const in_t *>(args.y), *x = static_cast<const in_t *>(args.x);
    out_t *d = static_cast<out_t *>(args.d);
    const long long count = (long long)args.nnzb * kBlockM * kBlockK;
    for (long long at = blockIdx.x * (long long)kThreads + threadIdx.x; at < count;
         at += gridDim.x * (long long)kThreads) {
        int block = (int)(at / (kBlockM * kBlockK)), inner = (int)(at % (kBlockM * kBlockK));
        long long row = (long long)row_of_block(args, block) * kBlockM + inner / kBlockK;
        long long col = (long long)args.col_idx[block] * kBlockK + inner % kBlockK;
        float acc = 0.0f;
        for (int i = 0; i < args.n; i++) {
            float left = to_float(y[kYLayout == 0 ? row * args.ldy + i : i * args.ldy + row]);
            float right = to_float(x[kXLayout == 0 ? col * args.ldx + i : i * args.ldx + col]);
            acc = fmaf(left, right, acc);
        }
        acc *= args.alpha;
        if (args.beta != 0.0f)
            acc += args.beta * to_float(d[at]);
        d[at] = out_t(acc);
    }
}
