/* Boxes of tensor maps of rank 4: what tma.cuh has for 2 and 3. */
#ifndef TRIAGE_LIB_TMA_4D_CUH
#define TRIAGE_LIB_TMA_4D_CUH

#include "lib/tma.cuh"

__device__ __forceinline__ void tma_load_4d(void *dst, const void *map, unsigned long long *bar, int c0, int c1,
                                            int c2, int c3, unsigned long long policy)
{
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes"
                 ".L2::cache_hint [%0], [%1, {%3, %4, %5, %6}], [%2], %7;" ::"r"(smem_u32(dst)),
                 "l"(map), "r"(smem_u32(bar)), "r"(c0), "r"(c1), "r"(c2), "r"(c3), "l"(policy)
                 : "memory");
}

__device__ __forceinline__ void tma_store_4d(const void *map, const void *src, int c0, int c1, int c2, int c3)
{
    asm volatile("cp.async.bulk.tensor.4d.global.shared::cta.bulk_group [%0, {%2, %3, %4, %5}], [%1];" ::"l"(map),
                 "r"(smem_u32(src)), "r"(c0), "r"(c1), "r"(c2), "r"(c3)
                 : "memory");
}

#endif
