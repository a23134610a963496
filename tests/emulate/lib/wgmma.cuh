// Stands for templates/lib/wgmma.cuh: products that are done when somebody waits for them.
#ifndef TRIAGE_EMULATE_WGMMA
#define TRIAGE_EMULATE_WGMMA

#include "lib/mbarrier.cuh"

static void wgmma_fence() {}
static void wgmma_commit() { cta::wgmma_commit(); }
template <int groups> static void wgmma_wait() { cta::wgmma_wait(groups); }
template <int count> static void wgmma_fence_registers(float (&)[count]) {}

template <int width> static unsigned long long wgmma_desc(const void *operand, unsigned leading, unsigned stride)
{
    constexpr unsigned long long layout = width == 128 ? 1 : width == 64 ? 2 : 3;
    return (smem_u32(operand) & 0x3ffff) >> 4 | (unsigned long long)(leading >> 4) << 16 |
           (unsigned long long)(stride >> 4) << 32 | layout << 62;
}
static unsigned long long wgmma_desc_advance(unsigned long long desc, unsigned bytes) { return desc + (bytes >> 4); }

template <class in_t>
constexpr cta::element element_of = std::is_same_v<in_t, __half>          ? cta::kF16
                                    : std::is_same_v<in_t, __nv_bfloat16> ? cta::kBf16
                                                                          : cta::kE4m3;

template <class in_t, int n, int transpose_b> struct wgmma_ss {
    static void mma(float (&d)[n / 2], unsigned long long a, unsigned long long b, int keep)
    {
        cta::wgmma({d, NULL, a, b, n, element_of<in_t>, false, transpose_b != 0, keep != 0});
    }
};
template <class in_t, int n, int transpose_b> struct wgmma : wgmma_ss<in_t, n, transpose_b> {};

#endif
