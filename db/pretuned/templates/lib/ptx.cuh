/* The small instructions of Hopper kernels: warp election, register hand-over, named barriers,
 * clusters, proxy fences, prefetch, stmatrix. */
#ifndef TRIAGE_LIB_PTX_CUH
#define TRIAGE_LIB_PTX_CUH

#include "lib/mbarrier.cuh"

/* ---- warps ---- */

/* True in one lane of a converged warp. */
__device__ __forceinline__ bool elect_one()
{
    unsigned one;
    asm volatile("{\n\t.reg .pred p;\n\t"
                 "elect.sync _|p, 0xffffffff;\n\t"
                 "selp.u32 %0, 1, 0, p;\n\t}"
                 : "=r"(one));
    return one != 0;
}

/* A warp-uniform value, which the compiler may keep in a uniform register. */
__device__ __forceinline__ int warp_uniform(int value)
{
    return __shfl_sync(0xffffffffu, value, 0);
}

/* All warps of the warpgroup run it. Multiples of 8 in 24..240; the pool is what the launch gave. */
template <int registers>
__device__ __forceinline__ void setmaxnreg_inc()
{
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(registers));
}

template <int registers>
__device__ __forceinline__ void setmaxnreg_dec()
{
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(registers));
}

/* ---- barriers of some of a CTA's threads; id 0 is __syncthreads ---- */

__device__ __forceinline__ void named_barrier_sync(int id, int threads)
{
    asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

__device__ __forceinline__ void named_barrier_arrive(int id, int threads)
{
    asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

/* x, of which the compiler knows nothing here: what depends on it stays behind this point, as do
 * memory accesses. */
__device__ __forceinline__ int opaque(int x)
{
    asm volatile("" : "+r"(x)::"memory");
    return x;
}

template <class type>
__device__ __forceinline__ type *opaque(type *x)
{
    asm volatile("" : "+l"(x)::"memory");
    return x;
}

/* ---- clusters ---- */

__device__ __forceinline__ unsigned cluster_ctarank()
{
    unsigned rank;
    asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
}

__device__ __forceinline__ void cluster_sync()
{
    asm volatile("barrier.cluster.arrive.release.aligned;\n\t"
                 "barrier.cluster.wait.acquire.aligned;" ::
                     : "memory");
}

/* ---- proxies ---- */

/* Makes this thread's ordinary shared-memory writes visible to TMA and wgmma; a barrier follows. */
__device__ __forceinline__ void fence_proxy_async()
{
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

/* ---- prefetch ---- */

/* The line of global memory is on its way to L2; nobody waits. */
__device__ __forceinline__ void prefetch_l2(const void *global)
{
    asm volatile("prefetch.global.L2 [%0];" ::"l"(global));
}

/* ---- stmatrix: four 8x8 tiles of 16-bit elements; lane l gives the address of row l % 8 of tile
 * l / 8, and register t holds tile t in the layout of an mma accumulator ---- */

__device__ __forceinline__ void stmatrix_x4(void *row, unsigned r0, unsigned r1, unsigned r2,
                                            unsigned r3)
{
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(
                     smem_u32(row)),
                 "r"(r0), "r"(r1), "r"(r2), "r"(r3)
                 : "memory");
}

/* The same with each tile transposed: the addressed rows are the accumulator's columns. */
__device__ __forceinline__ void stmatrix_x4_trans(void *row, unsigned r0, unsigned r1, unsigned r2,
                                                  unsigned r3)
{
    asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(
                     smem_u32(row)),
                 "r"(r0), "r"(r1), "r"(r2), "r"(r3)
                 : "memory");
}

#endif
