// Stands for templates/lib/tma_4d.cuh.
#ifndef TRIAGE_EMULATE_TMA_4D
#define TRIAGE_EMULATE_TMA_4D

#include "lib/tma.cuh"

static void tma_load_4d(void *to, const void *map, unsigned long long *bar, int c0, int c1, int c2, int c3, unsigned long long)
{
    tma_load(to, map, bar, {c0, c1, c2, c3});
}
static void tma_store_4d(const void *map, const void *from, int c0, int c1, int c2, int c3)
{
    cta::tma_store(map, from, {c0, c1, c2, c3});
}

#endif
