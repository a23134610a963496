// Stands for templates/lib/ptx.cuh.
#ifndef TRIAGE_EMULATE_PTX
#define TRIAGE_EMULATE_PTX

#include "lib/mbarrier.cuh"

static int warp_uniform(int value) { return of_lane("shfl", value, 0); }
static bool elect_one() { return own_lane() == 0; }
static unsigned cluster_ctarank() { return cta::rank(); }
static void cluster_sync()
{
    cta::cluster_arrive();
    cta::cluster_wait();
}
template <int registers> static void setmaxnreg_inc() {}
template <int registers> static void setmaxnreg_dec() {}
static void fence_proxy_async() {}
static void prefetch_l2(const void *) {}
static void named_barrier_sync(int id, int threads) { cta::named_sync(id, threads); }
static void named_barrier_arrive(int id, int threads) { cta::named_arrive(id, threads); }
template <class type> static type opaque(type x) { return x; }

static void stmatrix_x4(void *row, unsigned r0, unsigned r1, unsigned r2, unsigned r3)
{
    cta::stmatrix(row, {r0, r1, r2, r3}, false);
}
static void stmatrix_x4_trans(void *row, unsigned r0, unsigned r1, unsigned r2, unsigned r3)
{
    cta::stmatrix(row, {r0, r1, r2, r3}, true);
}

#endif
