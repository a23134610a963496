// Stands for templates/lib/fp8.cuh.
#ifndef TRIAGE_EMULATE_FP8
#define TRIAGE_EMULATE_FP8

static unsigned e4m3_to_f16(unsigned pair)
{
    unsigned halves = 0;
    for (int i = 0; i < 2; i++)
        halves |= cta::bits_of(cta::kF16, cta::value_of(cta::kE4m3, pair >> 8 * i & 0xff)) << 16 * i;
    return halves;
}

#endif
