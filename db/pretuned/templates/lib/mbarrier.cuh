/* mbarrier: the shared-memory barrier of the asynchronous copies (sm_90).
 *
 * A barrier counts arrivals and bytes; a phase ends when both counts are met. A waiter names the
 * parity (0, 1, 0, ...) of the phase whose end it waits for: a fresh barrier is in phase 0, so
 * waiting for parity 1 on it returns at once, which is how producers find a fresh slot empty.
 */
#ifndef TRIAGE_LIB_MBARRIER_CUH
#define TRIAGE_LIB_MBARRIER_CUH

__device__ __forceinline__ unsigned smem_u32(const void *p)
{
    return static_cast<unsigned>(__cvta_generic_to_shared(p));
}

__device__ __forceinline__ void mbarrier_init(unsigned long long *bar, unsigned arrivals)
{
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(smem_u32(bar)), "r"(arrivals));
}

/* After the inits, before any other thread, CTA of the cluster or copy engine uses the barriers;
 * a __syncthreads (or cluster_sync) must follow. */
__device__ __forceinline__ void mbarrier_init_fence()
{
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

__device__ __forceinline__ void mbarrier_arrive(unsigned long long *bar)
{
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(smem_u32(bar)) : "memory");
}

/* One arrival, and the phase now also waits for `bytes` of copies that name this barrier. */
__device__ __forceinline__ void mbarrier_arrive_expect_tx(unsigned long long *bar, unsigned bytes)
{
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(smem_u32(bar)),
                 "r"(bytes)
                 : "memory");
}

/* Arrives at the barrier of the same address in CTA `rank` of this cluster. It orders what the
 * asynchronous proxy does (wgmma reads that were waited for, copies), not ordinary writes: those
 * would need the dearer .release.cluster. */
__device__ __forceinline__ void mbarrier_arrive_cluster(unsigned long long *bar, unsigned rank)
{
    asm volatile("{\n\t.reg .b32 remote;\n\t"
                 "mapa.shared::cluster.u32 remote, %0, %1;\n\t"
                 "mbarrier.arrive.shared::cluster.b64 _, [remote];\n\t}" ::"r"(smem_u32(bar)),
                 "r"(rank)
                 : "memory");
}

__device__ __forceinline__ bool mbarrier_try_wait(unsigned long long *bar, unsigned parity)
{
    unsigned done;
    asm volatile("{\n\t.reg .pred p;\n\t"
                 "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n\t"
                 "selp.u32 %0, 1, 0, p;\n\t}"
                 : "=r"(done)
                 : "r"(smem_u32(bar)), "r"(parity)
                 : "memory");
    return done != 0;
}

__device__ __forceinline__ void mbarrier_wait(unsigned long long *bar, unsigned parity)
{
    while (!mbarrier_try_wait(bar, parity)) {
    }
}

#endif
