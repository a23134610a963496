/* Prefetches that nobody waits for. (Those to L2 are in ptx.cuh.) */
#ifndef TRIAGE_LIB_PREFETCH_CUH
#define TRIAGE_LIB_PREFETCH_CUH

/* The line of global memory is on its way to this SM's L1. */
__device__ __forceinline__ void prefetch_l1(const void *global)
{
    asm volatile("prefetch.global.L1 [%0];" ::"l"(global));
}

#endif
