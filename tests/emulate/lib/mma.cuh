// Stands for templates/lib/mma.cuh: the products and copies of a warp, by their definition. bfloat16 only.
#ifndef TRIAGE_EMULATE_MMA
#define TRIAGE_EMULATE_MMA

static unsigned mma_smem_address(const void *p) { return (unsigned)((const char *)p - (const char *)room); }

static unsigned short mma_half_at(unsigned long long address)
{
    unsigned short bits;
    memcpy(&bits, (const char *)room + address, sizeof bits);
    return bits;
}

static void ldmatrix_x4(unsigned (&r)[4], unsigned address)
{
    const unsigned long long *of = cta::exchange(address);
    unsigned lane = cta::running % 32, g = lane / 4, q = lane % 4;
    for (int i = 0; i < 4; i++)
        r[i] = mma_half_at(of[i * 8 + g] + 4 * q) | mma_half_at(of[i * 8 + g] + 4 * q + 2) << 16;
}

static void ldmatrix_x4_trans(unsigned (&r)[4], unsigned address)
{
    const unsigned long long *of = cta::exchange(address);
    unsigned lane = cta::running % 32, g = lane / 4, q = lane % 4;
    for (int i = 0; i < 4; i++)
        r[i] = mma_half_at(of[i * 8 + 2 * q] + 2 * g) | mma_half_at(of[i * 8 + 2 * q + 1] + 2 * g) << 16;
}

static float mma_value(unsigned pair, int which) { return __int_as_float(which ? pair & 0xffff0000u : pair << 16); }

static void mma_m16n8k16(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1, __nv_bfloat16)
{
    unsigned of_a[4][32], of_b[2][32];
    const unsigned mine[6] = {a[0], a[1], a[2], a[3], b0, b1};
    for (int i = 0; i < 6; i++) {
        const unsigned long long *of = cta::exchange(mine[i]);
        for (int lane = 0; lane < 32; lane++)
            (i < 4 ? of_a[i] : of_b[i - 4])[lane] = (unsigned)of[lane];
    }
    unsigned lane = cta::running % 32, g = lane / 4, q = lane % 4;
    for (int e = 0; e < 4; e++)
        for (int k = 0; k < 16; k++) {
            unsigned from = k % 8 / 2, col = 2 * q + e % 2;
            d[e] += mma_value(of_a[k / 8 * 2 + e / 2][g * 4 + from], k % 2) *
                    mma_value(of_b[k / 8][col * 4 + from], k % 2);
        }
}

static unsigned movmatrix_trans(unsigned r)
{
    unsigned of_all[32];
    const unsigned long long *of = cta::exchange(r);
    for (int lane = 0; lane < 32; lane++)
        of_all[lane] = (unsigned)of[lane];
    unsigned lane = cta::running % 32, g = lane / 4, q = lane % 4, out = 0;
    for (int e = 0; e < 2; e++) // element (g, 2q + e) of the result is (2q + e, g)
        out |= (of_all[(2 * q + e) * 4 + g / 2] >> g % 2 * 16 & 0xffff) << e * 16;
    return out;
}

static void cp_async_16(unsigned smem, const void *gmem, int valid)
{
    if (smem % 16 != 0 || (size_t)gmem % 16 != 0)
        abort();
    char *to = (char *)room + smem;
    memcpy(to, gmem, valid);
    memset(to + valid, 0, 16 - valid);
}
static void cp_async_commit() {}
template <int pending> static void cp_async_wait() {}

#endif
