// Stands for templates/lib/mbarrier.cuh.
#ifndef TRIAGE_EMULATE_MBARRIER
#define TRIAGE_EMULATE_MBARRIER

static unsigned smem_u32(const void *p) { return cta::shared_address(p); }
static void mbarrier_init(unsigned long long *bar, unsigned arrivals) { cta::mbarrier_init(bar, arrivals); }
static void mbarrier_init_fence() {}
static void mbarrier_arrive(unsigned long long *bar) { cta::mbarrier_arrive(bar, 0, cta::rank()); }
static void mbarrier_arrive_expect_tx(unsigned long long *bar, unsigned bytes) { cta::mbarrier_arrive(bar, bytes, cta::rank()); }
static void mbarrier_arrive_cluster(unsigned long long *bar, unsigned rank) { cta::mbarrier_arrive(bar, 0, rank); }
static void mbarrier_wait(unsigned long long *bar, unsigned parity) { cta::mbarrier_wait(bar, parity); }

#endif
