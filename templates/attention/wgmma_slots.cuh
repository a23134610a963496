/* wgmma.cu and wgmma_fp8.cu: the slots of the rings, what TMA brings there, and scores from them. Included behind sync_t and the
 * offsets.
 */
#ifndef TRIAGE_ATTENTION_WGMMA_SLOTS_CUH
#define TRIAGE_ATTENTION_WGMMA_SLOTS_CUH

extern __shared__ __align__(1024) unsigned char shared[];

__device__ __forceinline__ unsigned char *q_slot(int slot) { return shared + slot * kQBytes; }
__device__ __forceinline__ unsigned char *k_slot(int slot) { return shared + kKOffset + slot * kKBytes; }
__device__ __forceinline__ unsigned char *v_slot(int slot) { return shared + kVOffset + slot * kVBytes; }
__device__ __forceinline__ sync_t &sync() { return *reinterpret_cast<sync_t *>(shared + kSyncOffset); }

/* Rows of one head into a slot, 128 bytes of each at a time. */
template <int slabs, int slab_rows>
__device__ __forceinline__ void load_rows(unsigned char *slot, const void *map, unsigned long long *bar, int row,
                                          int head, int batch, unsigned long long policy)
{
    constexpr int kSlab = 128 / sizeof(in_t); // columns
#pragma unroll
    for (int slab = 0; slab < slabs; ++slab) {
        unsigned char *to = slot + slab * slab_rows * 128;
        if constexpr (kOffsets)
            tma_load_3d(to, map, bar, slab * kSlab, row, head, policy);
        else
            tma_load_4d(to, map, bar, slab * kSlab, row, head, batch, policy);
    }
}

/* s = Q K^T of this warpgroup's 64 queries: products of 32 bytes of each row. */
__device__ __forceinline__ void issue_scores(float (&s)[kTileN / 2], int q, int k, int wg)
{
    constexpr int kDeep = 32 / sizeof(in_t); // columns
    const unsigned long long a = wgmma_desc<128>(q_slot(q) + wg * 64 * 128, 0, 1024);
    const unsigned long long b = wgmma_desc<128>(k_slot(k), 0, 1024);
#pragma unroll
    for (int i = 0; i < (kD + kDeep - 1) / kDeep; ++i)
        wgmma_ss<in_t, kTileN, 0>::mma(s, wgmma_desc_advance(a, i / 4 * kTileM * 128 + i % 4 * 32),
                                       wgmma_desc_advance(b, i / 4 * kTileN * 128 + i % 4 * 32), i > 0);
    wgmma_commit();
}

#endif
