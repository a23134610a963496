/* wgmma: the warpgroup's asynchronous matrix product, D (registers) += A (shared) * B (shared)
 * (sm_90a). Both operands stay in shared memory: ptxas 12.9-13.2 may reuse the registers of a
 * register A operand before they have been read.
 *
 * D of m64nN is N / 2 floats per thread: for the columns 8j .. 8j+7, d[4j], d[4j+1] are row
 * 16 * warp + lane / 4, columns 8j + lane % 4 * 2 and the next, and d[4j+2], d[4j+3] are 8 rows
 * below. d may not be touched between wgmma_fence and the wgmma_wait that covers the product.
 */
#ifndef TRIAGE_LIB_WGMMA_CUH
#define TRIAGE_LIB_WGMMA_CUH

#include "lib/mbarrier.cuh"

/* Before the first product that reads registers or shared memory written by this thread. */
__device__ __forceinline__ void wgmma_fence()
{
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

__device__ __forceinline__ void wgmma_commit()
{
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

/* At most `groups` committed groups may still run when it returns. */
template <int groups>
__device__ __forceinline__ void wgmma_wait()
{
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(groups) : "memory");
}

/* Keeps the compiler from moving reads and writes of d across this point. */
template <int count>
__device__ __forceinline__ void wgmma_fence_registers(float (&d)[count])
{
#pragma unroll
    for (int i = 0; i < count; ++i) asm volatile("" : "+f"(d[i])::"memory");
}

/* ---- operand descriptors ----
 * An operand lies in shared memory as rows of `width` bytes (32, 64 or 128) as TMA writes them
 * with the swizzle of that width; 8 rows make an atom, aligned to its size.
 *   K-major:  a row is one m (or n), its bytes run along k; `stride` bytes from 8 rows to the
 *             next 8. The next k16 (k32 of fp8) starts 32 bytes further within the row.
 *   MN-major: a row is one k, its bytes run along n (B) or m (A): one slab is width bytes wide;
 *             `stride` from 8 rows (k) to the next 8, `leading` from slab to slab.
 */
template <int width>
__device__ __forceinline__ unsigned long long wgmma_desc(const void *operand, unsigned leading,
                                                         unsigned stride)
{
    static_assert(width == 32 || width == 64 || width == 128, "a swizzle width, in bytes");
    constexpr unsigned long long kLayout = width == 128 ? 1 : width == 64 ? 2 : 3;
    return static_cast<unsigned long long>((smem_u32(operand) & 0x3ffff) >> 4) |
           static_cast<unsigned long long>(leading >> 4) << 16 |
           static_cast<unsigned long long>(stride >> 4) << 32 | kLayout << 62;
}

/* The same operand `bytes` further. */
__device__ __forceinline__ unsigned long long wgmma_desc_advance(unsigned long long desc,
                                                                 unsigned bytes)
{
    return desc + (bytes >> 4);
}

/* ---- the products: wgmma<in_t, n, transpose_b>::mma(d, a, b, keep) is d = a * b + (keep ? d : 0),
 * one k16 (k32 of fp8) deep; transpose_b 1 takes an MN-major B ---- */

template <class in_t, int n, int transpose_b>
struct wgmma;

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

#define TRI_WGMMA_SHAPE(in, n, shape, names, inputs, kept, transposes, ...)                        \
    template <int transpose_b>                                                                     \
    struct wgmma<in, n, transpose_b> {                                                             \
        static __device__ __forceinline__ void mma(float (&d)[n / 2], unsigned long long a,        \
                                                   unsigned long long b, int keep)                 \
        {                                                                                          \
            asm volatile("{\n\t.reg .pred p;\n\tsetp.ne.s32 p, " kept ", 0;\n\t"                     \
                         "wgmma.mma_async.sync.aligned." shape " {" names "}, " inputs ", p, 1, 1" \
                         transposes ";\n\t}"                                                       \
                         : __VA_ARGS__                                                             \
                         : "l"(a), "l"(b), "n"(transpose_b), "r"(keep));                           \
        }                                                                                          \
    };

#define TRI_WGMMA_TYPE(in, k, types, t0, t1, t2, t3)                                               \
    TRI_WGMMA_SHAPE(in, 64, "m64n64" k types, TRI_S0, "%32, %33", "%35", t0, TRI_D32(0))           \
    TRI_WGMMA_SHAPE(in, 128, "m64n128" k types, TRI_S0 ", " TRI_S1, "%64, %65", "%67", t1,         \
                    TRI_D32(0), TRI_D32(32))                                                       \
    TRI_WGMMA_SHAPE(in, 192, "m64n192" k types, TRI_S0 ", " TRI_S1 ", " TRI_S2, "%96, %97",        \
                    "%99", t2, TRI_D32(0), TRI_D32(32), TRI_D32(64))                                   \
    TRI_WGMMA_SHAPE(in, 256, "m64n256" k types, TRI_S0 ", " TRI_S1 ", " TRI_S2 ", " TRI_S3,        \
                    "%128, %129", "%131", t3, TRI_D32(0), TRI_D32(32), TRI_D32(64), TRI_D32(96))

#define TRI_WGMMA_16BIT(in, types)                                                                 \
    TRI_WGMMA_TYPE(in, "k16.f32.", types, ", 0, %34", ", 0, %66", ", 0, %98", ", 0, %130")

#ifdef __CUDA_FP16_TYPES_EXIST__
TRI_WGMMA_16BIT(__half, "f16.f16")
#endif
#ifdef __CUDA_BF16_TYPES_EXIST__
TRI_WGMMA_16BIT(__nv_bfloat16, "bf16.bf16")
#endif
#ifdef __CUDA_FP8_TYPES_EXIST__
TRI_WGMMA_TYPE(__nv_fp8_e4m3, "k32.f32.", "e4m3.e4m3", "", "", "", "") /* K-major only */
#endif

#undef TRI_D4
#undef TRI_D16
#undef TRI_D32
#undef TRI_S0
#undef TRI_S1
#undef TRI_S2
#undef TRI_S3
#undef TRI_WGMMA_SHAPE
#undef TRI_WGMMA_TYPE
#undef TRI_WGMMA_16BIT

#endif
