/* toy: y[i][j] = s[i] * x[i][j], a row a CTA of kThreads. */
#include "toy/args.h"

constexpr int kThreads = {{threads}};
static_assert(kThreads >= 32, "a warp at least");

extern "C" __global__ void __launch_bounds__(kThreads) triage_kernel(const __grid_constant__ tri_toy_args args)
{
    const long long i = blockIdx.x;
    for (long long j = threadIdx.x; j < args.cols; j += kThreads)
        args.y[i * args.cols + j] = args.s[i] * args.x[i * args.cols + j];
}
