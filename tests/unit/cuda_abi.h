/* A number of CUDA's binary interface, by NVIDIA's headers. */
#ifndef TRIAGE_TESTS_CUDA_ABI_H
#define TRIAGE_TESTS_CUDA_ABI_H

#include <stddef.h>

typedef struct cuda_fact {
    const char *name;
    long long value;
} cuda_fact;

/* cuda_abi_nvidia.c, which is linked where NVIDIA's headers are installed; returns how many. */
__attribute__((weak)) size_t cuda_facts_of_nvidia(const cuda_fact **out);

#endif
