/* Activations of 16-bit results with one instruction of the special-function unit an element, which gives 16 a clock to an
 * SM; epilogue.cuh's ask for two. Behind epilogue.cuh.
 *
 *   silu(x) = max(x, 0) - |x| e / (1 + e),  e = 2^(-|x| log2 e) in (0, 1]: 1 / (1 + e) by a polynomial
 *   gelu(x) = max(x, 0) - |x| 2^P(|x|),     P(z) = log2 of the normal distribution function at -z
 *
 * Both polynomials are minimax for the relative error of what is taken from max(x, 0): 5.1e-5 and 4.5e-5, a tenth of what
 * rounding to f16 errs by. The difference loses nothing: where x > 0 it is at least x / 2. Beyond the ends what is taken
 * is less than the smallest f16, and finite, so that an infinity stays one. */
#ifndef TRIAGE_LIB_QUICK_CUH
#define TRIAGE_LIB_QUICK_CUH

#include "lib/epilogue.cuh"

__device__ __forceinline__ float exp2_quick(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/* max(x, 0); NaN stays NaN. */
__device__ __forceinline__ float positive(float x)
{
    float y;
    asm("max.NaN.f32 %0, %1, 0f00000000;" : "=f"(y) : "f"(x));
    return y;
}

__device__ __forceinline__ float silu_quick(float x)
{
    const float t = fmaxf(fabsf(x) * -1.44269504f, -150.0f);
    const float e = exp2_quick(t);
    float q = fmaf(-0.0724231124f, e, 0.289692449f); // ln 2 / (1 + e)
    q = fmaf(q, e, -0.534120454f);
    q = fmaf(q, e, 0.660860900f);
    q = fmaf(q, e, -0.690565693f);
    q = fmaf(q, e, 0.693111818f);
    return fmaf(t * e, q, positive(x));
}

__device__ __forceinline__ float gelu_quick(float x)
{
    const float z = fminf(fabsf(x), 6.0f);
    float p = fmaf(2.29900643e-5f, z, -6.11100077e-4f);
    p = fmaf(p, z, 7.19556570e-3f);
    p = fmaf(p, z, -5.11853354e-2f);
    p = fmaf(p, z, -4.61271927e-1f);
    p = fmaf(p, z, -1.15017425f);
    p = fmaf(p, z, -1.00006479f);
    return fmaf(-z, exp2_quick(p), positive(x));
}

template <> __device__ __forceinline__ float activate<2, __half>(float x) { return gelu_quick(x); }
template <> __device__ __forceinline__ float activate<2, __nv_bfloat16>(float x) { return gelu_quick(x); }
template <> __device__ __forceinline__ float activate<3, __half>(float x) { return silu_quick(x); }
template <> __device__ __forceinline__ float activate<3, __nv_bfloat16>(float x) { return silu_quick(x); }

#endif
