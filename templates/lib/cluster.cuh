/* Vectors from the shared memory of the other CTAs of a cluster (one float: stream.cuh). */
#ifndef TRIAGE_LIB_CLUSTER_CUH
#define TRIAGE_LIB_CLUSTER_CUH

#include "lib/mbarrier.cuh"

/* What CTA `rank` of this cluster holds at the place of `p`, which is in shared memory and aligned. The CTAs have met at a
 * cluster_sync since it was written, and meet again before that CTA ends. */
__device__ __forceinline__ float4 load_cluster_16(const float *p, unsigned rank)
{
    float4 value;
    asm volatile("{\n\t.reg .b32 remote;\n\t"
                 "mapa.shared::cluster.u32 remote, %4, %5;\n\t"
                 "ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [remote];\n\t}"
                 : "=f"(value.x), "=f"(value.y), "=f"(value.z), "=f"(value.w)
                 : "r"(smem_u32(p)), "r"(rank)
                 : "memory");
    return value;
}

__device__ __forceinline__ float2 load_cluster_8(const float *p, unsigned rank)
{
    float2 value;
    asm volatile("{\n\t.reg .b32 remote;\n\t"
                 "mapa.shared::cluster.u32 remote, %2, %3;\n\t"
                 "ld.shared::cluster.v2.f32 {%0, %1}, [remote];\n\t}"
                 : "=f"(value.x), "=f"(value.y)
                 : "r"(smem_u32(p)), "r"(rank)
                 : "memory");
    return value;
}

#endif
