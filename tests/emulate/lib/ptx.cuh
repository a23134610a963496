// Stands for templates/lib/ptx.cuh and mbarrier.cuh: barriers of a phase, and of some of the threads.
#ifndef TRIAGE_EMULATE_PTX
#define TRIAGE_EMULATE_PTX

#include "lib/mma.cuh"

static unsigned smem_u32(const void *p) { return mma_smem_address(p); }
static int warp_uniform(int value) { return cta::of_lane(value, 0); }
static bool elect_one() { return cta::running % 32 == 0; }
#define __cluster_dims__(...) // of one CTA
static unsigned cluster_ctarank() { abort(); }
static void cluster_sync() { abort(); }
template <int registers> static void setmaxnreg_inc() {}
template <int registers> static void setmaxnreg_dec() {}
static void fence_proxy_async() {}
static void mbarrier_init_fence() {}

static cta::barrier named_barriers[16];
static void named_barrier_sync(int id, int threads) { named_barriers[id].wait(threads); }

// An mbarrier's 64 bits.
struct mbarrier_bits {
    unsigned long long phase : 1, expected : 15, missing : 15, bytes : 33;
};
static mbarrier_bits &mbarrier_at(unsigned long long *bar) { return *(mbarrier_bits *)bar; }

static void mbarrier_turn(mbarrier_bits &b)
{
    cta::idle = 0;
    if (b.missing || b.bytes)
        return;
    b.phase ^= 1;
    b.missing = b.expected;
}

static void mbarrier_init(unsigned long long *bar, unsigned arrivals) { mbarrier_at(bar) = {0, arrivals, arrivals, 0}; }

static void mbarrier_arrive(unsigned long long *bar)
{
    if (!mbarrier_at(bar).missing)
        abort(); // one too many
    mbarrier_at(bar).missing--;
    mbarrier_turn(mbarrier_at(bar));
}

static void mbarrier_arrive_expect_tx(unsigned long long *bar, unsigned bytes)
{
    mbarrier_at(bar).bytes += bytes;
    mbarrier_arrive(bar);
}

static void mbarrier_arrive_cluster(unsigned long long *, unsigned) { abort(); }

static bool tma_land_one(); // tma.cuh

static void mbarrier_wait(unsigned long long *bar, unsigned parity)
{
    while (mbarrier_at(bar).phase == parity) {
        tma_land_one();
        if (mbarrier_at(bar).phase == parity)
            cta::give_way();
    }
}

#endif
