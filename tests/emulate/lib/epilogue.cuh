// Stands for templates/lib/epilogue.cuh: what attention takes of it.
#ifndef TRIAGE_EMULATE_EPILOGUE
#define TRIAGE_EMULATE_EPILOGUE

#include <cuda_fp8.h>

template <class out_t> unsigned pack2(float low, float high);
template <> inline unsigned pack2<__half>(float low, float high)
{
    __half2 both = __floats2half2_rn(low, high);
    return *reinterpret_cast<unsigned *>(&both);
}
template <> inline unsigned pack2<__nv_bfloat16>(float low, float high)
{
    __nv_bfloat162 both = __floats2bfloat162_rn(low, high);
    return *reinterpret_cast<unsigned *>(&both);
}

#endif
