/* TMA: copies of boxes of a tensor map between global and shared memory (sm_90).
 *
 * `map` is the address of a CUtensorMap in a __grid_constant__ parameter; coordinates are in
 * elements, fastest dimension first. Shared addresses are 128-byte aligned (1024 with the 128-byte
 * swizzle, so that the pattern starts at the box). What lies outside the tensor loads as zero and
 * is not stored, yet the load always counts the whole box in bytes. A store is cut in whole 16-byte
 * pieces: it overwrites what follows the tensor's edge within the piece (seen on an H200). One
 * thread issues each copy.
 */
#ifndef TRIAGE_LIB_TMA_CUH
#define TRIAGE_LIB_TMA_CUH

#include "lib/mbarrier.cuh"

__device__ __forceinline__ void tma_prefetch_map(const void *map)
{
    asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

/* ---- L2 hints: the 64-bit policies that the copies take ---- */

__device__ __forceinline__ unsigned long long l2_evict_first()
{
    unsigned long long policy;
    asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
    return policy;
}

__device__ __forceinline__ unsigned long long l2_evict_last()
{
    unsigned long long policy;
    asm("createpolicy.fractional.L2::evict_last.b64 %0, 1.0;" : "=l"(policy));
    return policy;
}

__device__ __forceinline__ unsigned long long l2_evict_normal()
{
    unsigned long long policy;
    asm("createpolicy.fractional.L2::evict_normal.b64 %0, 1.0;" : "=l"(policy));
    return policy;
}

/* ---- global -> shared; the bytes complete on `bar` ---- */

__device__ __forceinline__ void tma_load_2d(void *dst, const void *map, unsigned long long *bar,
                                            int c0, int c1)
{
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes "
                 "[%0], [%1, {%3, %4}], [%2];" ::"r"(smem_u32(dst)),
                 "l"(map), "r"(smem_u32(bar)), "r"(c0), "r"(c1)
                 : "memory");
}

__device__ __forceinline__ void tma_load_2d(void *dst, const void *map, unsigned long long *bar,
                                            int c0, int c1, unsigned long long policy)
{
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes"
                 ".L2::cache_hint [%0], [%1, {%3, %4}], [%2], %5;" ::"r"(smem_u32(dst)),
                 "l"(map), "r"(smem_u32(bar)), "r"(c0), "r"(c1), "l"(policy)
                 : "memory");
}

__device__ __forceinline__ void tma_load_3d(void *dst, const void *map, unsigned long long *bar,
                                            int c0, int c1, int c2)
{
    asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes "
                 "[%0], [%1, {%3, %4, %5}], [%2];" ::"r"(smem_u32(dst)),
                 "l"(map), "r"(smem_u32(bar)), "r"(c0), "r"(c1), "r"(c2)
                 : "memory");
}

__device__ __forceinline__ void tma_load_3d(void *dst, const void *map, unsigned long long *bar,
                                            int c0, int c1, int c2, unsigned long long policy)
{
    asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes"
                 ".L2::cache_hint [%0], [%1, {%3, %4, %5}], [%2], %6;" ::"r"(smem_u32(dst)),
                 "l"(map), "r"(smem_u32(bar)), "r"(c0), "r"(c1), "r"(c2), "l"(policy)
                 : "memory");
}

/* Into every CTA of the cluster named in `cta_mask`, at the same shared offset, completing on the
 * barrier at the same shared offset of each. */
__device__ __forceinline__ void tma_load_2d_multicast(void *dst, const void *map,
                                                      unsigned long long *bar, int c0, int c1,
                                                      unsigned short cta_mask)
{
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes"
                 ".multicast::cluster [%0], [%1, {%3, %4}], [%2], %5;" ::"r"(smem_u32(dst)),
                 "l"(map), "r"(smem_u32(bar)), "r"(c0), "r"(c1), "h"(cta_mask)
                 : "memory");
}

__device__ __forceinline__ void tma_load_3d_multicast(void *dst, const void *map,
                                                      unsigned long long *bar, int c0, int c1, int c2,
                                                      unsigned short cta_mask)
{
    asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes"
                 ".multicast::cluster [%0], [%1, {%3, %4, %5}], [%2], %6;" ::"r"(smem_u32(dst)),
                 "l"(map), "r"(smem_u32(bar)), "r"(c0), "r"(c1), "r"(c2), "h"(cta_mask)
                 : "memory");
}

/* The same with an L2 hint. */
__device__ __forceinline__ void tma_load_2d_multicast(void *dst, const void *map,
                                                      unsigned long long *bar, int c0, int c1,
                                                      unsigned short cta_mask,
                                                      unsigned long long policy)
{
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes"
                 ".multicast::cluster.L2::cache_hint [%0], [%1, {%3, %4}], [%2], %5, %6;" ::"r"(
                     smem_u32(dst)),
                 "l"(map), "r"(smem_u32(bar)), "r"(c0), "r"(c1), "h"(cta_mask), "l"(policy)
                 : "memory");
}

/* ---- global -> L2, so that a later load finds it there ---- */

__device__ __forceinline__ void tma_prefetch_2d(const void *map, int c0, int c1)
{
    asm volatile("cp.async.bulk.prefetch.tensor.2d.L2.global [%0, {%1, %2}];" ::"l"(map), "r"(c0),
                 "r"(c1)
                 : "memory");
}

__device__ __forceinline__ void tma_prefetch_3d(const void *map, int c0, int c1, int c2)
{
    asm volatile("cp.async.bulk.prefetch.tensor.3d.L2.global [%0, {%1, %2, %3}];" ::"l"(map),
                 "r"(c0), "r"(c1), "r"(c2)
                 : "memory");
}

/* A plain run of bytes (a multiple of 16, both ends 16-byte aligned); no tensor map. */
__device__ __forceinline__ void bulk_load(void *dst, const void *src, unsigned bytes,
                                          unsigned long long *bar)
{
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes "
                 "[%0], [%1], %2, [%3];" ::"r"(smem_u32(dst)),
                 "l"(src), "r"(bytes), "r"(smem_u32(bar))
                 : "memory");
}

/* ---- shared -> global; completion is per issuing thread, in groups ---- */

/* Before it: every thread that wrote the shared data runs fence_proxy_async (lib/ptx.cuh), then a
 * barrier joins them with the issuing thread. */
__device__ __forceinline__ void tma_store_2d(const void *map, const void *src, int c0, int c1)
{
    asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%2, %3}], [%1];" ::"l"(
                     map),
                 "r"(smem_u32(src)), "r"(c0), "r"(c1)
                 : "memory");
}

__device__ __forceinline__ void tma_store_2d(const void *map, const void *src, int c0, int c1,
                                             unsigned long long policy)
{
    asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group.L2::cache_hint "
                 "[%0, {%2, %3}], [%1], %4;" ::"l"(map),
                 "r"(smem_u32(src)), "r"(c0), "r"(c1), "l"(policy)
                 : "memory");
}

__device__ __forceinline__ void tma_store_3d(const void *map, const void *src, int c0, int c1, int c2)
{
    asm volatile(
        "cp.async.bulk.tensor.3d.global.shared::cta.bulk_group [%0, {%2, %3, %4}], [%1];" ::"l"(map),
        "r"(smem_u32(src)), "r"(c0), "r"(c1), "r"(c2)
        : "memory");
}

__device__ __forceinline__ void tma_store_commit()
{
    asm volatile("cp.async.bulk.commit_group;" ::: "memory");
}

/* At most `groups` of this thread's stores may still read shared memory when it returns. */
template <int groups>
__device__ __forceinline__ void tma_store_wait_read()
{
    asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(groups) : "memory");
}

/* At most `groups` of this thread's stores may still be unwritten when it returns. */
template <int groups>
__device__ __forceinline__ void tma_store_wait()
{
    asm volatile("cp.async.bulk.wait_group %0;" ::"n"(groups) : "memory");
}

#endif
