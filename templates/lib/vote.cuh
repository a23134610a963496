/* A vote of several warps (sm_70 and later). */
#ifndef TRIAGE_LIB_VOTE_CUH
#define TRIAGE_LIB_VOTE_CUH

/* Does any of these threads say yes? All of them ask, at named barrier `id`. */
__device__ __forceinline__ bool named_barrier_any(int id, int threads, bool yes)
{
    unsigned any;
    asm volatile("{\n\t.reg .pred mine, all;\n\t"
                 "setp.ne.u32 mine, %3, 0;\n\t"
                 "barrier.cta.red.or.pred all, %1, %2, mine;\n\t"
                 "selp.u32 %0, 1, 0, all;\n\t}"
                 : "=r"(any)
                 : "r"(id), "r"(threads), "r"(static_cast<unsigned>(yes))
                 : "memory");
    return any != 0;
}

#endif
