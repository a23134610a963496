// Stands for templates/lib/wgmma_shapes.cuh.
#ifndef TRIAGE_EMULATE_WGMMA_SHAPES
#define TRIAGE_EMULATE_WGMMA_SHAPES

#include "lib/wgmma.cuh"

template <int count> static void wgmma_keep_registers(unsigned (&)[count]) {}

template <class in_t, int n, int transpose_b> struct wgmma_rs {
    static void mma(float (&d)[n / 2], const unsigned *a, unsigned long long b, int keep)
    {
        cta::wgmma({d, a, 0, b, n, element_of<in_t>, false, transpose_b != 0, keep != 0});
    }
};

#endif
