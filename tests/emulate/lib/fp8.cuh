// Stands for templates/lib/fp8.cuh: bfloat16 only here.
#ifndef TRIAGE_EMULATE_FP8
#define TRIAGE_EMULATE_FP8

#include "cuda_fp8.h"

static unsigned e4m3_to_f16(unsigned) { abort(); }

#endif
