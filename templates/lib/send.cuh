/* Sums sent to another CTA of the cluster, which waits for their bytes (sm_90), and a meeting of the cluster in two halves. */
#ifndef TRIAGE_LIB_SEND_CUH
#define TRIAGE_LIB_SEND_CUH

#include "lib/mbarrier.cuh"

/* All threads of the cluster do both; what lies between runs while the others come. */
__device__ __forceinline__ void cluster_arrive()
{
    asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
}
__device__ __forceinline__ void cluster_wait()
{
    asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}

/* To the place of `to` in CTA `rank`, and 16 or 8 bytes towards the phase of the barrier at the place of `bar` there. Both
 * are in shared memory, aligned, and the CTAs have met since that barrier was made. */
__device__ __forceinline__ void send_cluster_16(float4 *to, const float4 &v, unsigned long long *bar, unsigned rank)
{
    asm volatile("{\n\t.reg .b32 place, full;\n\t"
                 "mapa.shared::cluster.u32 place, %0, %2;\n\t"
                 "mapa.shared::cluster.u32 full, %1, %2;\n\t"
                 "st.async.shared::cluster.mbarrier::complete_tx::bytes.v4.f32 [place], {%3, %4, %5, %6}, [full];\n\t}" ::"r"(
                     smem_u32(to)),
                 "r"(smem_u32(bar)), "r"(rank), "f"(v.x), "f"(v.y), "f"(v.z), "f"(v.w)
                 : "memory");
}
__device__ __forceinline__ void send_cluster_8(float2 *to, const float2 &v, unsigned long long *bar, unsigned rank)
{
    asm volatile("{\n\t.reg .b32 place, full;\n\t"
                 "mapa.shared::cluster.u32 place, %0, %2;\n\t"
                 "mapa.shared::cluster.u32 full, %1, %2;\n\t"
                 "st.async.shared::cluster.mbarrier::complete_tx::bytes.v2.f32 [place], {%3, %4}, [full];\n\t}" ::"r"(
                     smem_u32(to)),
                 "r"(smem_u32(bar)), "r"(rank), "f"(v.x), "f"(v.y)
                 : "memory");
}

#endif
