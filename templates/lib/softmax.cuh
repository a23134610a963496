/* What softmax needs of the chip: 2^x, and the maximum and sum of a quad, whose four lanes hold one row of an
 * accumulator. */
#ifndef TRIAGE_LIB_SOFTMAX_CUH
#define TRIAGE_LIB_SOFTMAX_CUH

/* 2^x, relative error 2^-22; 2^-inf = 0. */
__device__ __forceinline__ float exp2_fast(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/* 2^x for x <= 127 without the special-function unit, relative error 9e-5 (a rounding to bf16: 4e-3, to f16:
 * 5e-4). x = n + f with n nearest: 2^f by a polynomial of degree 3, n into the exponent. Below -126 it is 2^-126 or
 * so, which vanishes in a sum with 1. */
__device__ __forceinline__ float exp2_polynomial(float x)
{
    const float bounded = fmaxf(x, -126.0f);
    const float shifted = bounded + 12582912.0f; // 1.5 * 2^23: the low bits are n
    const float f = bounded - (shifted - 12582912.0f);
    float y = fmaf(0.0551716685f, f, 0.2426111251f);
    y = fmaf(y, f, 0.6932609677f);
    y = fmaf(y, f, 0.9999251366f);
    return __int_as_float(__float_as_int(y) + (__float_as_int(shifted) << 23));
}

/* tanh(x), absolute error 2e-7. */
__device__ __forceinline__ float tanh_exact(float x)
{
    return 1.0f - __fdividef(2.0f, exp2_fast(x * 2.8853900817779268f) + 1.0f);
}

/* What follows stays behind the computation of sum, which is not negative: a loop that never turns. ptxas 13.0 moves
 * a wgmma wait up over the arithmetic that was to run under the product, but not over a branch. */
__device__ __forceinline__ void pin_after(float sum)
{
    asm volatile("{\n\t.reg .pred fine;\n\tagain:\n\tsetp.geu.f32 fine, %0, 0f00000000;\n\t"
                 "@fine bra done;\n\tnanosleep.u32 20;\n\tbra again;\n\tdone:\n\t}" ::"f"(sum)
                 : "memory");
}

__device__ __forceinline__ float quad_max(float x)
{
    x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 1));
    return fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 2));
}

__device__ __forceinline__ float quad_sum(float x)
{
    x += __shfl_xor_sync(0xffffffffu, x, 1);
    return x + __shfl_xor_sync(0xffffffffu, x, 2);
}

#endif
