/* The same facts by NVIDIA's headers, compiled where those are installed. The compiler compares the prototypes. */
#include <cuda.h>
#if __has_include(<cudaProfiler.h>)
#include <cudaProfiler.h>
#endif
#include <nvrtc.h>

#include <stddef.h>

#include "unit/cuda_abi.h"

#define TRI_SYMBOL(field, prototype, symbol) extern __typeof__(prototype) symbol;
#include "device/cuda/driver.def"
#include "device/cuda/nvrtc.def"
#undef TRI_SYMBOL

#if __has_include(<cublas_v2.h>) /* not every toolkit has it: the numbers that cublas.c hands over */
#include <cublas_v2.h>
_Static_assert(CUBLAS_OP_N == 0 && CUBLAS_OP_T == 1, "kNo, kTransposed");
_Static_assert(CUBLAS_COMPUTE_32F == 68 && CUBLAS_GEMM_DEFAULT == -1, "kCompute32F, kDefault");
_Static_assert(CUDA_R_32F == 0 && CUDA_R_16F == 2 && CUDA_R_16BF == 14, "type_of");
_Static_assert(MAJOR_VERSION == 0 && MINOR_VERSION == 1 && PATCH_LEVEL == 2, "tri_cublas_library");
#endif

size_t cuda_facts_of_nvidia(const cuda_fact **out) {
    static const cuda_fact facts[] = {
#define FACT(expression) {#expression, (long long)(expression)},
#include "unit/cuda_abi.def"
#undef FACT
    };
    *out = facts;
    return sizeof facts / sizeof *facts;
}
