/* What softmax needs of the chip: minus infinity, 2^x, and the maximum and sum of a quad, whose four lanes hold one row of an
 * accumulator. */
#ifndef TRIAGE_LIB_SOFTMAX_CUH
#define TRIAGE_LIB_SOFTMAX_CUH

/* The maximum of no scores. NVRTC has no math.h, and so no INFINITY. */
__device__ __forceinline__ float minus_infinity()
{
    return __int_as_float(0xff800000);
}

/* 2^x, relative error 2^-22; 2^-inf = 0. */
__device__ __forceinline__ float exp2_fast(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
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
    asm volatile("{\n\t.reg .pred bad;\n\tagain:\n\tsetp.lt.f32 bad, %0, 0f00000000;\n\t"
                 "vote.sync.any.pred bad, bad, 0xffffffff;\n\t@!bad bra.uni done;\n\tnanosleep.u32 20;\n\t"
                 "bra.uni again;\n\tdone:\n\t}" ::"f"(sum)
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
