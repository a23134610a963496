/* How CTAs meet that add up each other's sums: a counter in global memory. (In a cluster: cluster.cuh.) */
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

#endif
