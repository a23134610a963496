/* wgmma_fp8.cu, V turned: rows of keys become columns of keys, as a product of 8-bit operands wants them. Included behind
 * the constants and types that it uses.
 *
 * A piece is 32 keys of 16 columns. ldmatrix turns 8 x 8 pairs of columns: lane 4 g + q gets of two columns 2 g, 2 g + 1
 * those of keys 2 q and 2 q + 1; bytes of it and of the matrix 8 keys on make four keys 2 q, 2 q + 1, 2 q + 8, 2 q + 9 of
 * either column, which stmatrix puts side by side. So
 *   - within 16 keys, key 2 q + e + 8 h stands at 4 q + 2 h + e: the order in which a thread has its sums of S;
 *   - of 16 columns, the even ones come first: so a thread has columns 4 q .. 4 q + 3 of O;
 * and neither read nor write meets a bank twice.
 */
#ifndef TRIAGE_ATTENTION_WGMMA_TURN_CUH
#define TRIAGE_ATTENTION_WGMMA_TURN_CUH

/* What is left of four keys of a register when `valid` are, counted from the lane's first. */
__device__ __forceinline__ unsigned keep_keys(unsigned keys, int valid)
{
    const unsigned mask = (valid > 0 ? 0xffu : 0) | (valid > 1 ? 0xff00u : 0) | (valid > 8 ? 0xff0000u : 0) |
                          (valid > 9 ? 0xff000000u : 0);
    return keys & mask;
}

/* One of the producer's four warps: it turns every fourth piece of 16 columns. */
struct turner_t {
    const int warp;
    ring_t<kRawSlots> raw;
    ring_t<kStages> v;

    __device__ __forceinline__ explicit turner_t(int w) : warp(w)
    {
    }
    /* Lane 8 m + i addresses row i of the m-th matrix: of keys 8 m .. 8 m + 7 to read; to write, of columns' even
     * (m even) or odd ones, of keys from 16 (m / 2) on. */
    template <bool cut>
    __device__ __forceinline__ void turn_columns(int column, const unsigned char *from, unsigned char *to,
                                                 int valid) const
    {
        constexpr int kChunks = kWidth / 16; // of 16 bytes, in a turned row
        const int lane = threadIdx.x % 32, i = lane % 8, m = lane / 8;
        const unsigned read = mma_smem_address(from) + column / 128 * (kTileN * 128) + lane * 128 +
                              ((column % 128 / 16) ^ i) * 16;
        unsigned char *row = to + (column + m % 2 * 8 + i) * kWidth;
        const int swizzle = i / (128 / kWidth) % kChunks;
#pragma unroll
        for (int u = 0; u < kTileN / 32; ++u) {
            unsigned x[4];
            ldmatrix_x4_trans(x, read + u * 32 * 128);
            unsigned even[2] = {__byte_perm(x[0], x[1], 0x6420), __byte_perm(x[2], x[3], 0x6420)};
            unsigned odd[2] = {__byte_perm(x[0], x[1], 0x7531), __byte_perm(x[2], x[3], 0x7531)};
            if constexpr (cut) {
#pragma unroll
                for (int h = 0; h < 2; ++h) {
                    const int left = valid - u * 32 - h * 16 - lane % 4 * 2;
                    even[h] = keep_keys(even[h], left);
                    odd[h] = keep_keys(odd[h], left);
                }
            }
            const int chunk = (u * 2 % kChunks + m / 2) ^ swizzle;
            stmatrix_x4(row + u * 32 / kWidth * (kDv * kWidth) + chunk * 16, even[0], odd[0], even[1], odd[1]);
        }
    }
    /* The next step's V; false: there is none. */
    __device__ __forceinline__ bool turn()
    {
        mbarrier_wait(&sync().raw_full[raw.slot], raw.parity);
        const int valid = read_field(sync().valid[raw.slot]);
        if (valid == kNoMore) return false;
        mbarrier_wait(&sync().v_empty[v.slot], v.parity ^ 1);
#pragma unroll
        for (int i = 0; i < (kDv + 63) / 64; ++i) {
            const int column = (i * 4 + warp) * 16;
            if (kDv % 64 != 0 && column >= kDv) break;
            if (kZeroTail && valid < kTileN)
                turn_columns<true>(column, raw_slot(raw.slot), v_slot(v.slot), valid);
            else
                turn_columns<false>(column, raw_slot(raw.slot), v_slot(v.slot), valid);
        }
        fence_proxy_async();
        __syncwarp();
        arrive(&sync().raw_empty[raw.slot]);
        arrive(&sync().v_full[v.slot]);
        raw.advance();
        v.advance();
        return true;
    }
};

#endif
