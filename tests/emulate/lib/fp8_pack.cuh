// Stands for templates/lib/fp8_pack.cuh.
#ifndef TRIAGE_EMULATE_FP8_PACK
#define TRIAGE_EMULATE_FP8_PACK

#include "lib/epilogue.cuh"

template <> unsigned pack2<__nv_fp8_e4m3>(float lo, float hi)
{
    return cta::bits_of(cta::kE4m3, lo) | cta::bits_of(cta::kE4m3, hi) << 8;
}
static unsigned pack4(float a, float b, float c, float d)
{
    return pack2<__nv_fp8_e4m3>(a, b) | pack2<__nv_fp8_e4m3>(c, d) << 16;
}

#endif
