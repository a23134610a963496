/* bsr_gemm, the yardstick: C = act(alpha * A * B + beta * C + bias) with one thread per element.
 *
 *   A   BSR, blocks kBlockM x kBlockK row-major        any block, any type; or stored as its transpose
 *   B   k x n, row-major or column-major, any ldb
 *   C   m x n, row-major or column-major, any ldc
 *
 * Sums in float32, in ascending k, with no tricks: the plain kernel whose error the others may at
 * most double. Runs wherever the compiler goes (NVRTC 13: sm_75 and later; fp8 and bf16 convert in software there).
 *
 *   thread (row, col):  for each block of the block row:  for each k:  acc += a * b
 */
#include "bsr_gemm/args.h"
{{#transposed}}
#include "bsr_gemm/transposed.h"
{{/transposed}}
#include "lib/store.cuh"

using in_t = {{in_type}};                            // A and B: float, __half, __nv_bfloat16, fp8
using out_t = {{out_type}};                          // C and bias: float, __half, __nv_bfloat16
constexpr int kBlockM = {{block_m}};                 // rows of a block
constexpr int kBlockK = {{block_k}};                 // columns of a block
constexpr int kBLayout = {{b_layout}};               // 0 row-major, 1 column-major
constexpr int kCLayout = {{c_layout}};               // 0 row-major, 1 column-major
constexpr int kAct = {{act}};                        // 0 none, 1 relu, 2 gelu (erf), 3 silu
constexpr int kScalePerBlock = {{scale_per_block}};  // fp8: scale_a has 0 one value, 1 nnzb values

constexpr int kThreadsFast = 32; // along the contiguous direction of C
constexpr int kThreadsSlow = 8;

static_assert(kBlockM >= 1 && kBlockK >= 1, "blocks are not empty");
static_assert(kAct >= 0 && kAct <= 3, "unknown activation");

/* grid: (ceil(m / rows), ceil(n / cols)), rows x cols = 8 x 32 row-major C, 32 x 8 column-major; tiles of columns beyond 65535
 * lie in its third dimension. The last of so many may lie beyond 2^31 columns: unsigned. */
extern "C" __global__ void __launch_bounds__(kThreadsFast * kThreadsSlow)
    triage_kernel(const __grid_constant__ tri_bsr_gemm_core args)
{
    int fast = threadIdx.x % kThreadsFast, slow = threadIdx.x / kThreadsFast;
    unsigned tile = blockIdx.y + blockIdx.z * gridDim.y;
    unsigned column = kCLayout == 0 ? tile * kThreadsFast + fast : tile * kThreadsSlow + slow;
    int row = kCLayout == 0 ? blockIdx.x * kThreadsSlow + slow : blockIdx.x * kThreadsFast + fast;
    if (row >= args.block_rows * kBlockM || column >= unsigned(args.n))
        return;
    int col = column;

    const in_t *values = static_cast<const in_t *>(args.values);
    const in_t *b = static_cast<const in_t *>(args.b);
    int block_row = row / kBlockM, inner_row = row % kBlockM;
    float acc = 0.0f;
    for (int i = args.row_ptr[block_row]; i < args.row_ptr[block_row + 1]; i++) {
{{^transposed}}
        const in_t *a = values + ((long long)i * kBlockM + inner_row) * kBlockK;
        long long k0 = (long long)args.col_idx[i] * kBlockK;
{{/transposed}}
{{#transposed}}
        tri_transposed_block block = reinterpret_cast<const tri_transposed_block *>(args.col_idx)[i];
        const in_t *a = values + (long long)block.place * (kBlockM * kBlockK) + inner_row;
        long long k0 = (long long)block.col * kBlockK;
{{/transposed}}
        float sum = kScalePerBlock ? 0.0f : acc;
        for (int k = 0; k < kBlockK; k++) {
            long long at = kBLayout == 0 ? (k0 + k) * args.ldb + col : col * args.ldb + k0 + k;
            sum = fmaf(to_float(a[k{{#transposed}} * kBlockM{{/transposed}}]), to_float(b[at]), sum);
        }
        acc = kScalePerBlock ? fmaf(args.scale_a ? args.scale_a[i] : 1.0f, sum, acc) : sum;
    }
    if (!kScalePerBlock && args.scale_a)
        acc *= args.scale_a[0];
    if (args.scale_b)
        acc *= args.scale_b[0];

    output_view<out_t> out = make_output_view<out_t>(args);
    float bias = out.bias ? to_float(out.bias[row]) : 0.0f;
    out.c[output_index<kCLayout>(out, row, col)] =
        out_t(finish<kAct, kCLayout>(out, acc, bias, row, col));
}
