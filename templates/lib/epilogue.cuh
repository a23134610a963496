/* What happens to an f32 accumulator on its way to C: activation and packing to 16 bits. */
#ifndef TRIAGE_LIB_EPILOGUE_CUH
#define TRIAGE_LIB_EPILOGUE_CUH

#include <cuda_bf16.h>
#include <cuda_fp16.h>

/* act: 0 none, 1 relu, 2 gelu (erf form), 3 silu */
template <int act>
__device__ __forceinline__ float activate(float x)
{
    if constexpr (act == 1) return x < 0.0f ? 0.0f : x; /* NaN stays NaN */
    if constexpr (act == 2) return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f));
    if constexpr (act == 3) return x / (1.0f + __expf(-x));
    return x;
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
