/* What happens to an f32 accumulator on its way to C: activation and packing to 16 bits. The one place for
 * both. */
#ifndef TRIAGE_LIB_EPILOGUE_CUH
#define TRIAGE_LIB_EPILOGUE_CUH

#include <cuda_bf16.h>
#include <cuda_fp16.h>

/* x times the normal distribution function, for 16-bit results. erfc by Abramowitz and Stegun 7.1.26,
 * absolute error 1.5e-7, far below 16-bit rounding, and a third of erff's instructions. */
__device__ __forceinline__ float gelu_short(float x)
{
    const float z = fabsf(x) * 0.70710678118654752f;
    const float t = __fdividef(1.0f, fmaf(0.3275911f, z, 1.0f));
    float tail = fmaf(1.061405429f, t, -1.453152027f);
    tail = fmaf(tail, t, 1.421413741f);
    tail = fmaf(tail, t, -0.284496736f);
    tail = fmaf(tail, t, 0.254829592f);
    tail *= 0.5f * t * __expf(-z * z); // 1 - cdf(|x|)
    return x * (x < 0.0f ? tail : 1.0f - tail);
}

/* act: 0 none, 1 relu, 2 gelu (erf form), 3 silu */
template <int act, class out_t>
__device__ __forceinline__ float activate(float x)
{
    constexpr bool kShort = sizeof(out_t) == 2;
    if constexpr (act == 1) return x < 0.0f ? 0.0f : x; /* NaN stays NaN */
    if constexpr (act == 2)
        return kShort ? gelu_short(x) : 0.5f * x * erfcf(x * -0.70710678118654752f);
    if constexpr (act == 3) return kShort ? __fdividef(x, 1.0f + __expf(-x)) : x / (1.0f + __expf(-x));
    return x;
}

/* e4m3: alpha with the scales that are the same for all blocks. */
template <class args_t>
__device__ __forceinline__ float scaled_alpha(const args_t &args, bool scale_per_block)
{
    float alpha = args.alpha;
    if (!scale_per_block && args.scale_a) alpha *= args.scale_a[0];
    if (args.scale_b) alpha *= args.scale_b[0];
    return alpha;
}

/* Two values rounded to out_t in one register, the first in the low half. */
template <class out_t>
__device__ __forceinline__ unsigned pack2(float lo, float hi);

template <>
__device__ __forceinline__ unsigned pack2<__half>(float lo, float hi)
{
    const __half2 pair = __floats2half2_rn(lo, hi);
    return *reinterpret_cast<const unsigned *>(&pair);
}

template <>
__device__ __forceinline__ unsigned pack2<__nv_bfloat16>(float lo, float hi)
{
    const __nv_bfloat162 pair = __floats2bfloat162_rn(lo, hi);
    return *reinterpret_cast<const unsigned *>(&pair);
}

#endif
