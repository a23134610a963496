/* More products of wgmma.cuh's kind (sm_90a): every width that is a multiple of 16, and A from registers.
 *
 *   wgmma_ss<in_t, n, transpose_b>::mma(d, a, b, keep)   A and B in shared memory
 *   wgmma_rs<in_t, n, transpose_b>::mma(d, a, b, keep)   A in four registers
 *
 * d is m64 x n; a[0..3] of a k16 (k32 of e4m3) are, with g = lane / 4, q = lane % 4 of each warp's 16 rows, in
 * units of two 16-bit (four 8-bit) values:
 *   a[0] row g, unit q    a[1] row g + 8, unit q    a[2] row g, unit q + 4    a[3] row g + 8, unit q + 4
 * So sums of 16 columns, rounded to 16 bits, are A of a k16 as they lie in d.
 *
 * ptxas 12.9 to 13.2 may give the registers of A away before the product has read them: call
 * wgmma_keep_registers on them behind the wgmma_wait that covers it.
 */
#ifndef TRIAGE_LIB_WGMMA_SHAPES_CUH
#define TRIAGE_LIB_WGMMA_SHAPES_CUH

#include "lib/wgmma.cuh"

/* The registers of A are in use up to here. */
template <int count>
__device__ __forceinline__ void wgmma_keep_registers(unsigned (&a)[count])
{
#pragma unroll
    for (int i = 0; i < count; ++i) asm volatile("" : "+r"(a[i])::"memory");
}

template <class in_t, int n, int transpose_b>
struct wgmma_ss;

template <class in_t, int n, int transpose_b>
struct wgmma_rs;

/* Names and operands of the sums of 16, 32, ... 256 columns. */
#define TRI_D8(i)                                                                                                \
    "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]),  \
        "+f"(d[i + 7])
#define TRI_SUMS_16 TRI_D8(0)
#define TRI_SUMS_32 TRI_SUMS_16, TRI_D8(8)
#define TRI_SUMS_48 TRI_SUMS_32, TRI_D8(16)
#define TRI_SUMS_64 TRI_SUMS_48, TRI_D8(24)
#define TRI_SUMS_80 TRI_SUMS_64, TRI_D8(32)
#define TRI_SUMS_96 TRI_SUMS_80, TRI_D8(40)
#define TRI_SUMS_112 TRI_SUMS_96, TRI_D8(48)
#define TRI_SUMS_128 TRI_SUMS_112, TRI_D8(56)
#define TRI_SUMS_144 TRI_SUMS_128, TRI_D8(64)
#define TRI_SUMS_160 TRI_SUMS_144, TRI_D8(72)
#define TRI_SUMS_176 TRI_SUMS_160, TRI_D8(80)
#define TRI_SUMS_192 TRI_SUMS_176, TRI_D8(88)
#define TRI_SUMS_208 TRI_SUMS_192, TRI_D8(96)
#define TRI_SUMS_224 TRI_SUMS_208, TRI_D8(104)
#define TRI_SUMS_240 TRI_SUMS_224, TRI_D8(112)
#define TRI_SUMS_256 TRI_SUMS_240, TRI_D8(120)
#define TRI_NAMES_16 "%0, %1, %2, %3, %4, %5, %6, %7"
#define TRI_NAMES_32 TRI_NAMES_16 ", %8, %9, %10, %11, %12, %13, %14, %15"
#define TRI_NAMES_48 TRI_NAMES_32 ", %16, %17, %18, %19, %20, %21, %22, %23"
#define TRI_NAMES_64 TRI_NAMES_48 ", %24, %25, %26, %27, %28, %29, %30, %31"
#define TRI_NAMES_80 TRI_NAMES_64 ", %32, %33, %34, %35, %36, %37, %38, %39"
#define TRI_NAMES_96 TRI_NAMES_80 ", %40, %41, %42, %43, %44, %45, %46, %47"
#define TRI_NAMES_112 TRI_NAMES_96 ", %48, %49, %50, %51, %52, %53, %54, %55"
#define TRI_NAMES_128 TRI_NAMES_112 ", %56, %57, %58, %59, %60, %61, %62, %63"
#define TRI_NAMES_144 TRI_NAMES_128 ", %64, %65, %66, %67, %68, %69, %70, %71"
#define TRI_NAMES_160 TRI_NAMES_144 ", %72, %73, %74, %75, %76, %77, %78, %79"
#define TRI_NAMES_176 TRI_NAMES_160 ", %80, %81, %82, %83, %84, %85, %86, %87"
#define TRI_NAMES_192 TRI_NAMES_176 ", %88, %89, %90, %91, %92, %93, %94, %95"
#define TRI_NAMES_208 TRI_NAMES_192 ", %96, %97, %98, %99, %100, %101, %102, %103"
#define TRI_NAMES_224 TRI_NAMES_208 ", %104, %105, %106, %107, %108, %109, %110, %111"
#define TRI_NAMES_240 TRI_NAMES_224 ", %112, %113, %114, %115, %116, %117, %118, %119"
#define TRI_NAMES_256 TRI_NAMES_240 ", %120, %121, %122, %123, %124, %125, %126, %127"

/* o0 .. o5: the numbers of the operands that follow the sums: a (or a[0..3]), b, [transpose_b,] keep. */
#define TRI_WGMMA_SS(in, n, k, types, scales, o_a, o_b, o_keep)                                                  \
    template <int transpose_b>                                                                                   \
    struct wgmma_ss<in, n, transpose_b> {                                                                        \
        static __device__ __forceinline__ void mma(float (&d)[n / 2], unsigned long long a,                      \
                                                   unsigned long long b, int keep)                               \
        {                                                                                                        \
            asm volatile("{\n\t.reg .pred p;\n\tsetp.ne.s32 p, %" #o_keep ", 0;\n\t"                             \
                         "wgmma.mma_async.sync.aligned.m64n" #n "k" #k ".f32." types " {" TRI_NAMES_##n          \
                         "}, %" #o_a ", %" #o_b ", p, 1, 1" scales ";\n\t}"                                      \
                         : TRI_SUMS_##n                                                                          \
                         : "l"(a), "l"(b), "r"(keep), "n"(transpose_b));                                         \
        }                                                                                                        \
    };
#define TRI_WGMMA_RS(in, n, k, types, scales, o0, o1, o2, o3, o_b, o_keep)                                       \
    template <int transpose_b>                                                                                   \
    struct wgmma_rs<in, n, transpose_b> {                                                                        \
        static __device__ __forceinline__ void mma(float (&d)[n / 2], const unsigned *a, unsigned long long b,   \
                                                   int keep)                                                     \
        {                                                                                                        \
            asm volatile("{\n\t.reg .pred p;\n\tsetp.ne.s32 p, %" #o_keep ", 0;\n\t"                             \
                         "wgmma.mma_async.sync.aligned.m64n" #n "k" #k ".f32." types " {" TRI_NAMES_##n          \
                         "}, {%" #o0 ", %" #o1 ", %" #o2 ", %" #o3 "}, %" #o_b ", p, 1, 1" scales ";\n\t}"       \
                         : TRI_SUMS_##n                                                                          \
                         : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(keep), "n"(transpose_b));     \
        }                                                                                                        \
    };

/* One width: s0 .. s6 count on from n / 2. 16-bit products name how B lies. */
#define TRI_WGMMA_16(in, types, n, s0, s1, s2, s3, s4, s5, s6)                                                   \
    TRI_WGMMA_SS(in, n, 16, types, ", 0, %" #s3, s0, s1, s2)                                                     \
    TRI_WGMMA_RS(in, n, 16, types, ", %" #s6, s0, s1, s2, s3, s4, s5)
#define TRI_WGMMA_8(in, types, n, s0, s1, s2, s3, s4, s5, s6)                                                    \
    TRI_WGMMA_SS(in, n, 32, types, "", s0, s1, s2)                                                               \
    TRI_WGMMA_RS(in, n, 32, types, "", s0, s1, s2, s3, s4, s5)
#define TRI_WGMMA_WIDTHS(width, in, types)                                                                       \
    width(in, types, 16, 8, 9, 10, 11, 12, 13, 14) width(in, types, 32, 16, 17, 18, 19, 20, 21, 22)              \
    width(in, types, 48, 24, 25, 26, 27, 28, 29, 30) width(in, types, 64, 32, 33, 34, 35, 36, 37, 38)            \
    width(in, types, 80, 40, 41, 42, 43, 44, 45, 46) width(in, types, 96, 48, 49, 50, 51, 52, 53, 54)            \
    width(in, types, 112, 56, 57, 58, 59, 60, 61, 62) width(in, types, 128, 64, 65, 66, 67, 68, 69, 70)          \
    width(in, types, 144, 72, 73, 74, 75, 76, 77, 78) width(in, types, 160, 80, 81, 82, 83, 84, 85, 86)          \
    width(in, types, 176, 88, 89, 90, 91, 92, 93, 94) width(in, types, 192, 96, 97, 98, 99, 100, 101, 102)       \
    width(in, types, 208, 104, 105, 106, 107, 108, 109, 110)                                                     \
    width(in, types, 224, 112, 113, 114, 115, 116, 117, 118)                                                     \
    width(in, types, 240, 120, 121, 122, 123, 124, 125, 126)                                                     \
    width(in, types, 256, 128, 129, 130, 131, 132, 133, 134)

#ifdef __CUDA_FP16_TYPES_EXIST__
TRI_WGMMA_WIDTHS(TRI_WGMMA_16, __half, "f16.f16")
#endif
#ifdef __CUDA_BF16_TYPES_EXIST__
TRI_WGMMA_WIDTHS(TRI_WGMMA_16, __nv_bfloat16, "bf16.bf16")
#endif
#ifdef __CUDA_FP8_TYPES_EXIST__
TRI_WGMMA_WIDTHS(TRI_WGMMA_8, __nv_fp8_e4m3, "e4m3.e4m3") /* K-major only */
#endif

#endif
