/* f32 -> e4m3, rounded to nearest; what is above 448 becomes 448. */
#ifndef TRIAGE_LIB_FP8_PACK_CUH
#define TRIAGE_LIB_FP8_PACK_CUH

#include <cuda_fp8.h>

#include "lib/epilogue.cuh"

template <>
__device__ __forceinline__ unsigned pack2<__nv_fp8_e4m3>(float lo, float hi)
{
    unsigned short pair;
    asm("cvt.rn.satfinite.e4m3x2.f32 %0, %2, %1;" : "=h"(pair) : "f"(lo), "f"(hi));
    return pair;
}

/* Four values in one register, the first in the lowest byte. */
__device__ __forceinline__ unsigned pack4(float a, float b, float c, float d)
{
    return pack2<__nv_fp8_e4m3>(a, b) | pack2<__nv_fp8_e4m3>(c, d) << 16;
}

#endif
