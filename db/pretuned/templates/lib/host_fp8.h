/* 8-bit floats for the host templates: what host.h has, and e4m3 inputs. A header of its own, so that the text of
 * the kernels that only know host.h, and with it their evidence, stays what it was.
 */
#ifndef TRIAGE_LIB_HOST_FP8_H
#define TRIAGE_LIB_HOST_FP8_H

#include "lib/host.h"

typedef struct e4m3_t {
    uint8_t bits; /* 1 sign, 4 exponent (bias 7), 3 mantissa; no infinity, one NaN of either sign */
} e4m3_t;

/* The exponent is rebased by a multiplication with 2^120, which also makes subnormals normal. */
static inline float float_from_e4m3(e4m3_t value)
{
    uint32_t magnitude = value.bits & 0x7fu, sign = (uint32_t)(value.bits & 0x80u) << 24;
    uint32_t scaled = bits_of_float(float_of_bits(magnitude << 20) * 0x1p120f);
    return float_of_bits((magnitude == 0x7fu ? 0x7fc00000u : scaled) | sign);
}

#undef to_float
#define to_float(value)                                                                                      \
    _Generic((value), float: float_from_f32, f16_t: float_from_f16, bf16_t: float_from_bf16, e4m3_t: float_from_e4m3)(value)

#endif
