/* Seeded inputs. */
#include "check/fill.h"

static uint64_t mix(uint64_t z) /* the output step of splitmix64 */
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* N(0,1) as the sum of twelve uniform numbers of 16 bits (mean 6, variance 1): whole numbers up to the last
 * step, hence the same bits everywhere, where log and cos of different C libraries are not. The three words
 * of element i are at 3i .. 3i+2 of the splitmix64 sequence that starts at `start`. */
static float normal_at(uint64_t start, uint64_t i) {
    const uint64_t step = 0x9e3779b97f4a7c15u, lanes = 0x0000ffff0000ffffu;
    uint64_t at = start + 3 * i * step, sum = 0;
    for (int word = 1; word <= 3; word++) {
        uint64_t bits = mix(at + (uint64_t)word * step);
        sum += (bits & lanes) + ((bits >> 16) & lanes);
    }
    int32_t total = (int32_t)((sum & 0xffffffffu) + (sum >> 32));
    return (float)(2 * total - 12 * 65535) * 0x1p-17f;
}

triage_status tri_fill_normal(void *out, triage_dtype dtype, size_t count, uint64_t seed) {
    if (tri_dtype_size(dtype) == 0)
        return tri_fail(TRIAGE_E_INVALID, "element type %d is unknown", (int)dtype);
    uint64_t start = mix(seed + 0x9e3779b97f4a7c15u);
#pragma omp parallel for schedule(static) if (count > 1 << 16)
    for (size_t i = 0; i < count; i++)
        tri_from_float(out, dtype, i, normal_at(start, i));
    return TRIAGE_OK;
}

void tri_fill_scales(float *out, size_t count, uint64_t seed) {
    tri_random random;
    tri_random_seed(&random, seed);
    for (size_t i = 0; i < count; i++) {
        float mantissa = 1.125f + (float)tri_random_below(&random, 1 << 21) * 0x1p-23f;
        out[i] = mantissa * (float)(1 << tri_random_below(&random, 4)) * 0.25f;
    }
}
