/* What the host templates share: the CPU's vectors, 16-bit floats, places in matrices, the epilogue, and scratch
 * memory that outlives a call.
 *
 * Plain C17 with GNU vector types, for gcc and clang on any CPU. The 16-bit types are bit patterns and
 * are converted with integer operations, which vectorise everywhere and need no compiler support.
 */
#ifndef TRIAGE_LIB_HOST_H
#define TRIAGE_LIB_HOST_H

#include <math.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of the widest vector of the CPU. */
#if defined(__AVX512F__)
enum { kNativeBytes = 64 };
#elif defined(__AVX__)
enum { kNativeBytes = 32 };
#else
enum { kNativeBytes = 16 };
#endif

typedef struct f16_t {
    uint16_t bits; /* IEEE binary16 */
} f16_t;
typedef struct bf16_t {
    uint16_t bits; /* the upper half of a float */
} bf16_t;

static inline float float_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t bits_of_float(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float float_from_f32(float value)
{
    return value;
}

static inline float float_from_bf16(bf16_t value)
{
    return float_of_bits((uint32_t)value.bits << 16);
}

/* The exponent is rebased by a multiplication with 2^112, which also makes subnormals normal. */
static inline float float_from_f16(f16_t value)
{
    uint32_t magnitude = (uint32_t)(value.bits & 0x7fff) << 13;
    uint32_t sign = (uint32_t)(value.bits & 0x8000) << 16;
    float scaled = float_of_bits(magnitude) * 0x1p112f;
    uint32_t special = magnitude | 0x7f800000u; /* inf and NaN keep their mantissa */
    uint32_t bits = magnitude >= 0x0f800000u ? special : bits_of_float(scaled);
    return float_of_bits(bits | sign);
}

static inline float f32_from_float(float value)
{
    return value;
}

/* Round to nearest even; NaN stays NaN. */
static inline bf16_t bf16_from_float(float value)
{
    uint32_t bits = bits_of_float(value);
    uint32_t rounded = (bits + 0x7fffu + (bits >> 16 & 1)) >> 16;
    uint32_t quiet = bits >> 16 | 0x40;
    return (bf16_t){(uint16_t)(value != value ? quiet : rounded)};
}

/* Round to nearest even. Subnormals: adding 0.5 lets the float adder round at the 2^-24 position. */
static inline f16_t f16_from_float(float value)
{
    uint32_t bits = bits_of_float(value), magnitude = bits & 0x7fffffffu;
    uint32_t normal = (magnitude - (112u << 23) + 0xfffu + (magnitude >> 13 & 1)) >> 13;
    uint32_t tiny = bits_of_float(float_of_bits(magnitude) + 0.5f) - 0x3f000000u;
    uint32_t half = magnitude < 0x38800000u ? tiny : normal; /* below 2^-14 */
    half = magnitude >= 0x477ff000u ? 0x7c00u : half;        /* 65520 and above round to infinity */
    half = magnitude > 0x7f800000u ? 0x7e00u : half;
    return (f16_t){(uint16_t)(half | (bits >> 16 & 0x8000u))};
}

#define to_float(value) _Generic((value), float: float_from_f32, f16_t: float_from_f16, bf16_t: float_from_bf16)(value)
#define store_float(to, value)                                                                               \
    (*(to) = _Generic(*(to), float: f32_from_float, f16_t: f16_from_float, bf16_t: bf16_from_float)(value))

/* Where element (row, col) of a matrix is; layout: 0 row-major, 1 column-major. */
static inline long long place_of(int layout, long long row, long long col, long long ld)
{
    return layout == 0 ? row * ld + col : col * ld + row;
}

/* 0 none, 1 relu, 2 gelu (erf), 3 silu. NaN passes through relu as it does through the others. */
static inline float activate(int act, float v)
{
    switch (act) {
    case 1:
        return v < 0.0f ? 0.0f : v;
    case 2:
        return 0.5f * v * (1.0f + erff(v * 0.70710678118654752f));
    case 3:
        return v / (1.0f + expf(-v));
    default:
        return v;
    }
}

/* ---- scratch ----
 * A thread takes a buffer for one call and gives it back, so that calls after the first allocate
 * nothing and any number of threads of any lifetime may call at once. Slots are exchanged atomically;
 * no thread ever waits. What lies in the slots is freed when the kernel is unloaded. */
enum { kScratchSlots = 256 };

typedef struct scratch {
    size_t size; /* bytes that follow the header */
    _Alignas(64) float data[];
} scratch;

static _Atomic(scratch *) scratch_slots[kScratchSlots];

/* NULL when there is no memory. slot is a hint that keeps threads apart: the thread's number. */
static inline scratch *scratch_take(int slot, size_t bytes)
{
    size_t rounded = (bytes + 63) / 64 * 64;
    scratch *taken = atomic_exchange(&scratch_slots[slot % kScratchSlots], NULL);
    if (taken && taken->size >= bytes)
        return taken;
    free(taken);
    taken = (scratch *)aligned_alloc(64, sizeof(scratch) + rounded);
    if (taken)
        taken->size = rounded;
    return taken;
}

static inline void scratch_give(int slot, scratch *given)
{
    free(atomic_exchange(&scratch_slots[slot % kScratchSlots], given));
}

__attribute__((destructor, unused)) static void scratch_free_all(void)
{
    for (int i = 0; i < kScratchSlots; i++)
        free(atomic_exchange(&scratch_slots[i], NULL));
}

#endif
