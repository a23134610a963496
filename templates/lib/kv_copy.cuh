/* Copies of keys and values to shared memory: cp.async of 16, 8 or 4 bytes (sm_80 and later).
 *
 * Both addresses are aligned to the size. Wide copies ask L2 for the whole 128-byte line at once. (The hint that a line
 * is read only once would be worth 1 %, but ptxas 13.0 makes an illegal instruction of it where the shared address has
 * a uniform part: docs/notebook.md.)
 */
#ifndef TRIAGE_LIB_KV_COPY_CUH
#define TRIAGE_LIB_KV_COPY_CUH

#include "lib/mma.cuh"

template <int kBytes> __device__ __forceinline__ void cp_async_stream(unsigned smem, const void *gmem)
{
    static_assert(kBytes == 16 || kBytes == 8 || kBytes == 4, "what cp.async copies");
    if constexpr (kBytes == 16)
        asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16;" ::"r"(smem),
                     "l"(__cvta_generic_to_global(gmem))
                     : "memory");
    else
        asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" ::"r"(smem),
                     "l"(__cvta_generic_to_global(gmem)), "n"(kBytes)
                     : "memory");
}

/* The same where the source may not be there: then zeros, and the address, which must still be one of global
 * memory, is not read. */
template <int kBytes> __device__ __forceinline__ void cp_async_stream(unsigned smem, const void *gmem, bool there)
{
    static_assert(kBytes == 16 || kBytes == 8 || kBytes == 4, "what cp.async copies");
    if constexpr (kBytes == 16)
        asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(smem),
                     "l"(__cvta_generic_to_global(gmem)), "r"(there ? 16 : 0)
                     : "memory");
    else
        asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(smem),
                     "l"(__cvta_generic_to_global(gmem)), "n"(kBytes), "r"(there ? kBytes : 0)
                     : "memory");
}

#endif
