/* The products of wgmma.cuh with either operand K-major or MN-major (sm_90a, 16-bit types): there, A is K-major always.
 *
 *   wgmma_major<in_t, n, mn_a, mn_b>::mma(d, a, b)   d += a * b, one k16 deep; d is m64 x n as in wgmma.cuh
 *
 * mn_a, mn_b 1: that operand is MN-major.
 */
#ifndef TRIAGE_LIB_WGMMA_MAJOR_CUH
#define TRIAGE_LIB_WGMMA_MAJOR_CUH

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "lib/wgmma.cuh"

template <class in_t, int n, int mn_a, int mn_b>
struct wgmma_major;

#define TRI_D4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define TRI_D16(i) TRI_D4(i), TRI_D4(i + 4), TRI_D4(i + 8), TRI_D4(i + 12)
#define TRI_D32(i) TRI_D16(i), TRI_D16(i + 16)
#define TRI_S0                                                                                     \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, "   \
    "%20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define TRI_S1                                                                                     \
    "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, "   \
    "%50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define TRI_S2                                                                                     \
    "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, "   \
    "%82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define TRI_S3                                                                                     \
    "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, " \
    "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, "   \
    "%127"

#define TRI_WGMMA_SHAPE(in, n, shape, names, operands, ...)                                        \
    template <int mn_a, int mn_b>                                                                  \
    struct wgmma_major<in, n, mn_a, mn_b> {                                                        \
        static __device__ __forceinline__ void mma(float (&d)[n / 2], unsigned long long a,        \
                                                   unsigned long long b)                           \
        {                                                                                          \
            asm volatile("wgmma.mma_async.sync.aligned." shape " {" names "}, " operands ";"         \
                         : __VA_ARGS__                                                             \
                         : "l"(a), "l"(b), "n"(mn_a), "n"(mn_b));                                  \
        }                                                                                          \
    };

#define TRI_WGMMA_TYPE(in, types)                                                                  \
    TRI_WGMMA_SHAPE(in, 64, "m64n64k16.f32." types, TRI_S0, "%32, %33, 1, 1, 1, %34, %35",         \
                    TRI_D32(0))                                                                    \
    TRI_WGMMA_SHAPE(in, 128, "m64n128k16.f32." types, TRI_S0 ", " TRI_S1,                          \
                    "%64, %65, 1, 1, 1, %66, %67", TRI_D32(0), TRI_D32(32))                        \
    TRI_WGMMA_SHAPE(in, 192, "m64n192k16.f32." types, TRI_S0 ", " TRI_S1 ", " TRI_S2,              \
                    "%96, %97, 1, 1, 1, %98, %99", TRI_D32(0), TRI_D32(32), TRI_D32(64))           \
    TRI_WGMMA_SHAPE(in, 256, "m64n256k16.f32." types, TRI_S0 ", " TRI_S1 ", " TRI_S2 ", " TRI_S3,  \
                    "%128, %129, 1, 1, 1, %130, %131", TRI_D32(0), TRI_D32(32), TRI_D32(64),       \
                    TRI_D32(96))

TRI_WGMMA_TYPE(__half, "f16.f16")
TRI_WGMMA_TYPE(__nv_bfloat16, "bf16.bf16")

#undef TRI_D4
#undef TRI_D16
#undef TRI_D32
#undef TRI_S0
#undef TRI_S1
#undef TRI_S2
#undef TRI_S3
#undef TRI_WGMMA_SHAPE
#undef TRI_WGMMA_TYPE

#endif
