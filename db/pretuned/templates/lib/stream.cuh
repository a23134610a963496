/* Loads of kernels that are bound by memory: data read once, data read again, and the shared memory
 * of the other CTAs of a cluster.
 *
 * The asm statements are volatile, so the compiler keeps them in the order of the text: loads that
 * are written before the products of an earlier stage are under way during them.
 */
#ifndef TRIAGE_LIB_STREAM_CUH
#define TRIAGE_LIB_STREAM_CUH

/* 16 bytes that no one reads again: they take no room in L1. */
__device__ __forceinline__ void load_once_16(unsigned (&r)[4], const void *p)
{
    asm volatile("ld.global.nc.L1::no_allocate.L2::128B.v4.b32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "l"(__cvta_generic_to_global(p)));
}

/* Read-only data that other warps read too: kept in L1. The pointer is aligned to the size. */
__device__ __forceinline__ void load_cached_16(unsigned *r, const void *p)
{
    asm volatile("ld.global.nc.v4.b32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "l"(__cvta_generic_to_global(p)));
}

__device__ __forceinline__ void load_cached_8(unsigned *r, const void *p)
{
    asm volatile("ld.global.nc.v2.b32 {%0, %1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "l"(__cvta_generic_to_global(p)));
}

__device__ __forceinline__ unsigned load_cached_4(const void *p)
{
    unsigned r;
    asm volatile("ld.global.nc.b32 %0, [%1];" : "=r"(r) : "l"(__cvta_generic_to_global(p)));
    return r;
}

__device__ __forceinline__ unsigned load_cached_2(const void *p)
{
    unsigned short r;
    asm volatile("ld.global.nc.b16 %0, [%1];" : "=h"(r) : "l"(__cvta_generic_to_global(p)));
    return r;
}

/* What CTA `rank` of this cluster holds at the place of `p`, which is in shared memory. The CTAs
 * have met at a cluster_sync since it was written, and meet again before that CTA ends. */
__device__ __forceinline__ float load_cluster(const float *p, unsigned rank)
{
    float value;
    asm volatile("{\n\t.reg .b32 remote;\n\t"
                 "mapa.shared::cluster.u32 remote, %1, %2;\n\t"
                 "ld.shared::cluster.f32 %0, [remote];\n\t}"
                 : "=f"(value)
                 : "r"(static_cast<unsigned>(__cvta_generic_to_shared(p))), "r"(rank)
                 : "memory");
    return value;
}

#endif
