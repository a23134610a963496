/* Seeded inputs: the same seed, the same bytes, on every machine. */
#ifndef TRIAGE_CHECK_FILL_H
#define TRIAGE_CHECK_FILL_H

#include "base/dtype.h"

/* Values ~ N(0,1) of dtype (never zero on average; e4m3 and halves rounded to nearest even). Counter-based and
 * parallel: element i depends on (seed, i) only. */
triage_status tri_fill_normal(void *out, triage_dtype dtype, size_t count, uint64_t seed);
/* Scales for e4m3: a mantissa of 1.125 .. 1.375 times 2^-2 .. 2^1. Neither one nor the product of two is
 * near a power of two, so a kernel that forgets one, or takes another block's, is not right by chance. */
void tri_fill_scales(float *out, size_t count, uint64_t seed);

#endif
