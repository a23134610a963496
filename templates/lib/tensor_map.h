/* A CUtensorMap, which this side only carries. CUDA wants it 64-byte aligned.
 *
 * bsr_gemm/args.h has the same type in its own text: a file that needs both includes bsr_gemm/args.h first. */
#ifndef TRIAGE_TENSOR_MAP_H
#define TRIAGE_TENSOR_MAP_H

#ifndef TRIAGE_BSR_GEMM_ARGS_H
typedef struct tri_tensor_map {
#ifdef __CUDACC__
    alignas(64) unsigned char bytes[128];
#else
    _Alignas(64) unsigned char bytes[128];
#endif
} tri_tensor_map;
#endif

#endif
