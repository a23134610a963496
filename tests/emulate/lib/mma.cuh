// Stands for templates/lib/mma.cuh.
#ifndef TRIAGE_EMULATE_MMA
#define TRIAGE_EMULATE_MMA

struct alignas(2) e4m3_pair {
    unsigned char v[2];
};

static unsigned mma_smem_address(const void *p) { return cta::shared_address(p); }
static void ldmatrix_x4(unsigned (&r)[4], unsigned address) { cta::ldmatrix(r, address, false); }
static void ldmatrix_x4_trans(unsigned (&r)[4], unsigned address) { cta::ldmatrix(r, address, true); }
static unsigned movmatrix_trans(unsigned r) { return cta::movmatrix(r); }

static void mma_m16n8k16(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1, __half)
{
    cta::mma(d, a, b0, b1, cta::kF16);
}
static void mma_m16n8k16(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1, __nv_bfloat16)
{
    cta::mma(d, a, b0, b1, cta::kBf16);
}
static void mma_m16n8k16(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1, e4m3_pair)
{
    cta::mma(d, a, b0, b1, cta::kE4m3);
}

static void cp_async_16(unsigned smem, const void *gmem, int valid) { cta::copy_async(smem, gmem, 16, valid); }
static void cp_async_commit() { cta::copy_commit(); }
template <int pending> static void cp_async_wait() { cta::copy_wait(pending); }

#endif
