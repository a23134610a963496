// Stands for templates/lib/wgmma_major.cuh.
#ifndef TRIAGE_EMULATE_WGMMA_MAJOR
#define TRIAGE_EMULATE_WGMMA_MAJOR

#include "lib/wgmma.cuh"

template <class in_t, int n, int mn_a, int mn_b> struct wgmma_major {
    static void mma(float (&d)[n / 2], unsigned long long a, unsigned long long b)
    {
        cta::wgmma({d, NULL, a, b, n, element_of<in_t>, mn_a != 0, mn_b != 0, true});
    }
};

#endif
