/* What the kernels do with finished sums: those of a tile's parts are added up, and two neighbours are stored to D. */
#ifndef TRIAGE_BSR_SDDMM_FINISH_CUH
#define TRIAGE_BSR_SDDMM_FINISH_CUH

#include "bsr_sddmm/args.h"
#include "lib/store.cuh"

/* `splits` CTAs, blockIdx.y, share the tile blockIdx.x, each with a part of n. Each leaves its sums in the workspace; the last
 * to come adds all of them up, always in the same order, so that the bits do not depend on who that is. True in that CTA: sums
 * then has all.
 *
 * The workspace: a counter for each tile, up to a multiple of 256 bytes; then for each tile and part, four sums of each thread
 * after the other. meet: a barrier of the `threads` that have sums, the first of the CTA. */
template <int splits, int threads, int count, class meet_t>
__device__ __forceinline__ bool add_parts(float *sums, void *workspace, const meet_t &meet)
{
    constexpr int kQuads = count / 4;
    static_assert(count % 4 == 0, "whole quads");
    __shared__ bool is_last;
    int *counter = static_cast<int *>(workspace) + blockIdx.x;
    float4 *parts = reinterpret_cast<float4 *>(static_cast<char *>(workspace) + ((long long)gridDim.x * 4 + 255) / 256 * 256) +
                    (long long)blockIdx.x * splits * kQuads * threads + threadIdx.x;
#pragma unroll
    for (int i = 0; i < kQuads; i++)
        parts[((long long)blockIdx.y * kQuads + i) * threads] =
            float4{sums[4 * i], sums[4 * i + 1], sums[4 * i + 2], sums[4 * i + 3]};
    __threadfence();
    meet();
    if (threadIdx.x == 0) {
        is_last = atomicAdd(counter, 1) == splits - 1;
        if (is_last)
            *counter = 0;
    }
    meet();
    if (!is_last)
        return false;
    __threadfence();
#pragma unroll
    for (int i = 0; i < kQuads; i++) {
        float4 sum = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll 1
        for (int split = 0; split < splits; split++) {
            const float4 part = __ldcg(parts + ((long long)split * kQuads + i) * threads);
            sum.x += part.x, sum.y += part.y, sum.z += part.z, sum.w += part.w;
        }
        sums[4 * i] = sum.x, sums[4 * i + 1] = sum.y, sums[4 * i + 2] = sum.z, sums[4 * i + 3] = sum.w;
    }
    return true;
}

template <class out_t> struct alignas(2 * sizeof(out_t)) pair_t {
    out_t v[2];
};

/* D[0], D[1] = alpha * v + beta * D; at is aligned for two. */
template <class out_t>
__device__ __forceinline__ void store_pair(const tri_bsr_sddmm_args &args, out_t *at, float v0, float v1)
{
    v0 *= args.alpha, v1 *= args.alpha;
    if (args.beta != 0.0f) {
        const pair_t<out_t> old = *reinterpret_cast<const pair_t<out_t> *>(at);
        v0 += args.beta * to_float(old.v[0]);
        v1 += args.beta * to_float(old.v[1]);
    }
    *reinterpret_cast<pair_t<out_t> *>(at) = pair_t<out_t>{out_t(v0), out_t(v1)};
}

#endif
