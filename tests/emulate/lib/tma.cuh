// Stands for templates/lib/tma.cuh.
#ifndef TRIAGE_EMULATE_TMA
#define TRIAGE_EMULATE_TMA

#include "lib/mbarrier.cuh"

static void tma_prefetch_map(const void *) {}
static unsigned long long l2_evict_first() { return 0; }
static unsigned long long l2_evict_last() { return 0; }
static unsigned long long l2_evict_normal() { return 0; }

static void tma_load(void *to, const void *map, unsigned long long *bar, const int (&at)[5])
{
    cta::tma_load(to, map, bar, at, 1u << cta::rank());
}
static void tma_load_2d(void *to, const void *map, unsigned long long *bar, int c0, int c1, unsigned long long = 0)
{
    tma_load(to, map, bar, {c0, c1});
}
static void tma_load_3d(void *to, const void *map, unsigned long long *bar, int c0, int c1, int c2, unsigned long long = 0)
{
    tma_load(to, map, bar, {c0, c1, c2});
}
static void tma_load_2d_multicast(void *to, const void *map, unsigned long long *bar, int c0, int c1, unsigned short ctas,
                                  unsigned long long = 0)
{
    cta::tma_load(to, map, bar, {c0, c1}, ctas);
}
static void tma_load_3d_multicast(void *to, const void *map, unsigned long long *bar, int c0, int c1, int c2,
                                  unsigned short ctas, unsigned long long = 0)
{
    cta::tma_load(to, map, bar, {c0, c1, c2}, ctas);
}
static void tma_store_2d(const void *map, const void *from, int c0, int c1, unsigned long long = 0)
{
    cta::tma_store(map, from, {c0, c1});
}
static void tma_store_3d(const void *map, const void *from, int c0, int c1, int c2) { cta::tma_store(map, from, {c0, c1, c2}); }
static void tma_store_commit() { cta::tma_commit(); }
template <int groups> static void tma_store_wait_read() { cta::tma_wait_read(groups); }
template <int groups> static void tma_store_wait() { cta::tma_wait_read(groups); }

#endif
