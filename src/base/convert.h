/* The bits of the narrow types. Exact to float32 and nearest-even from it, in plain integer steps, so that
 * every machine gives the same bits and loops over them vectorise. */
#ifndef TRIAGE_BASE_CONVERT_H
#define TRIAGE_BASE_CONVERT_H

#include <stdint.h>
#include <string.h>

static inline float tri_float_of_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t tri_bits_of_float(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* The exponent and mantissa are moved into place and the exponent's bias is corrected by a multiplication,
 * which normalises subnormal numbers too; infinity and NaN get their exponent by hand. */
static inline float tri_float_of_f16(uint16_t half) {
    uint32_t magnitude = (half & 0x7fffu), sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t scaled = tri_bits_of_float(tri_float_of_bits(magnitude << 13) * 0x1p112f);
    uint32_t special = magnitude >= 0x7c00u ? 0x7f800000u : 0;
    return tri_float_of_bits(scaled | special | sign);
}

static inline float tri_float_of_bf16(uint16_t bits) {
    return tri_float_of_bits((uint32_t)bits << 16);
}

/* e4m3 "fn": no infinity, one NaN of either sign, largest 448. */
static inline float tri_float_of_e4m3(uint8_t byte) {
    uint32_t magnitude = byte & 0x7fu, sign = (uint32_t)(byte & 0x80u) << 24;
    uint32_t scaled = tri_bits_of_float(tri_float_of_bits(magnitude << 20) * 0x1p120f);
    uint32_t special = magnitude == 0x7fu ? 0x7fc00000u : 0;
    return tri_float_of_bits(scaled | special | sign);
}

static inline float tri_float_of_f32(float value) {
    return value;
}

/* Rounds a finite magnitude (float bits) to `mantissa` bits under an exponent of the given bias. */
static inline uint32_t tri_narrow(uint32_t magnitude, int mantissa, int bias) {
    int drop = 23 - mantissa, smallest = 128 - bias; /* float exponent of the smallest normal number */
    int exponent = (int)(magnitude >> 23);
    if (exponent >= smallest) {
        uint32_t even = (magnitude >> drop) & 1, half = (1u << (drop - 1)) - 1;
        return (magnitude + half + even - ((uint32_t)(smallest - 1) << 23)) >> drop;
    }
    int shift = drop + smallest - exponent;
    if (shift > 24)
        return 0; /* below half of the smallest subnormal number */
    uint32_t full = (magnitude & 0x7fffffu) | 0x800000u;
    uint32_t kept = full >> shift, rest = full & ((1u << shift) - 1), half = 1u << (shift - 1);
    return kept + (rest > half || (rest == half && (kept & 1)));
}

static inline uint16_t tri_f16_of_float(float value) {
    uint32_t bits = tri_bits_of_float(value), magnitude = bits & 0x7fffffffu;
    uint32_t sign = (bits >> 16) & 0x8000u;
    if (magnitude >= 0x47800000u) /* 65536 and more, infinity, NaN */
        return (uint16_t)(sign | (magnitude > 0x7f800000u ? 0x7e00u : 0x7c00u));
    return (uint16_t)(sign | tri_narrow(magnitude, 10, 15)); /* 65520 and more carry into infinity */
}

static inline uint16_t tri_bf16_of_float(float value) {
    uint32_t bits = tri_bits_of_float(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)((bits >> 16) | 0x40u); /* stays a NaN when its low bits go */
    return (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1)) >> 16);
}

/* Saturates: what is beyond 448, infinity included, becomes 448. */
static inline uint8_t tri_e4m3_of_float(float value) {
    uint32_t bits = tri_bits_of_float(value), magnitude = bits & 0x7fffffffu;
    uint32_t sign = (bits >> 24) & 0x80u;
    if (magnitude > 0x7f800000u)
        return (uint8_t)(sign | 0x7fu);
    if (magnitude >= 0x43e00000u) /* 448 */
        return (uint8_t)(sign | 0x7eu);
    return (uint8_t)(sign | tri_narrow(magnitude, 3, 7));
}

#endif
