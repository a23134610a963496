/* How CTAs meet that add up each other's sums: a counter in global memory, and the shared memory of a cluster (sm_90). */
#ifndef TRIAGE_LIB_MEET_CUH
#define TRIAGE_LIB_MEET_CUH

/* counter += 1, and what it was. What this thread stored, or saw stored before a barrier of the CTA, is seen by who counts
 * later, and behind another barrier by its CTA. */
__device__ __forceinline__ int count_one(int *counter)
{
    int before;
    asm volatile("atom.add.acq_rel.gpu.global.s32 %0, [%1], 1;"
                 : "=r"(before)
                 : "l"(__cvta_generic_to_global(counter))
                 : "memory");
    return before;
}

/* What CTA `rank` of this cluster holds at the place of `p`, which is in shared memory and aligned. The CTAs have met at a
 * cluster_sync since it was written, and meet again before that CTA ends. */
__device__ __forceinline__ float4 load_cluster_16(const float *p, unsigned rank)
{
    float4 v;
    asm volatile("{\n\t.reg .b32 remote;\n\t"
                 "mapa.shared::cluster.u32 remote, %4, %5;\n\t"
                 "ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [remote];\n\t}"
                 : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
                 : "r"(static_cast<unsigned>(__cvta_generic_to_shared(p))), "r"(rank)
                 : "memory");
    return v;
}

__device__ __forceinline__ float2 load_cluster_8(const float *p, unsigned rank)
{
    float2 v;
    asm volatile("{\n\t.reg .b32 remote;\n\t"
                 "mapa.shared::cluster.u32 remote, %2, %3;\n\t"
                 "ld.shared::cluster.v2.f32 {%0, %1}, [remote];\n\t}"
                 : "=f"(v.x), "=f"(v.y)
                 : "r"(static_cast<unsigned>(__cvta_generic_to_shared(p))), "r"(rank)
                 : "memory");
    return v;
}

#endif
