/* e4m3 as f16, which holds each of its values: two at a time. */
#ifndef TRIAGE_LIB_FP8_CUH
#define TRIAGE_LIB_FP8_CUH

#include <cuda_fp16.h>

/* The two in the low half of `pair`. (Before sm_89, which has an instruction for it: the exponent moves to its
 * place, where it counts from 2^-15 instead of 2^-7. NaN is then 480.) */
__device__ __forceinline__ unsigned e4m3_to_f16(unsigned pair)
{
    unsigned halves;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
    asm("{\n\t.reg .b16 low, high;\n\t"
        "mov.b32 {low, high}, %1;\n\t"
        "cvt.rn.f16x2.e4m3x2 %0, low;\n\t}"
        : "=r"(halves)
        : "r"(pair));
#else
    unsigned spread = (pair & 0xff) | (pair & 0xff00) << 8;
    halves = (spread & 0x00800080u) << 8 | (spread & 0x007f007fu) << 7;
    __half2 value = __hmul2(*reinterpret_cast<__half2 *>(&halves), __floats2half2_rn(256.0f, 256.0f));
    halves = *reinterpret_cast<unsigned *>(&value);
#endif
    return halves;
}

#endif
