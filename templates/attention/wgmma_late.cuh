/* wgmma.cu, steps that do not look for maxima. Included behind wgmma_softmax.cuh, where the parameter late is set.
 *
 * A step that no mask cuts takes its exponentials of what the rows' maxima were before it, and their sums, which it needs
 * anyway, say whether that was right: a lane's weights are positive, so none is more than their sum, and a sum of at most
 * 2^kSkip is no more than what kSkip allows a maximum to lag behind elsewhere. A sum that is more, or is no number, is found
 * before its weights are packed, while K, Q and O are still there:
 *
 *   finite     the row's maximum is raised by a power of two that makes the sum less than 1, and the weights, the sums and O
 *              are multiplied by the same 2^(old - new maximum): what was and what comes are of one maximum (shrink)
 *   not        some 2^x has overflowed: the maximum is from far away, or still -inf, or the scores are no numbers. Then the
 *              warp makes its scores again, from K and Q in shared memory, and does the step as if the mask had cut it, with
 *              maxima first (redo_scores, raise_maximum). Nothing of the first try is left.
 *
 * Steps that a mask cuts, and the first one of each tile, look for maxima first as everywhere. So a row's maximum is -inf
 * only as long as it has seen no key, and weights of rows that lag behind are as exact as any: they are floating-point numbers of
 * f16's or bf16's range, below 2^kSkip, and those that vanish are 2^-24 of one that does not.
 */
#ifndef TRIAGE_ATTENTION_WGMMA_LATE_CUH
#define TRIAGE_ATTENTION_WGMMA_LATE_CUH

/* Has a row of this warp weights that are too large, or no numbers? */
__device__ __forceinline__ bool are_large(const float (&sum)[2])
{
    const float most = 1 << kSkip;
    return __any_sync(0xffffffffu, !(sum[0] <= most && sum[1] <= most));
}

/* Multiplies the weights of rows that are too large, and their sums, so that they are less than 1; rescale: what O and the sums
 * of the steps before are to be multiplied with, which the latter are. false: not done, some have overflowed. */
__device__ __forceinline__ bool shrink(float (&s)[kTileN / 2], rows_t &now, rows_t &rows, float (&rescale)[2])
{
    if (__any_sync(0xffffffffu, !(now.sum[0] + now.sum[1] <= 1e30f))) return false;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        const float top = quad_max(now.sum[r]);
        const int growth = top > 1 << kSkip ? (__float_as_int(top) >> 23) - 126 : 0; // top < 2^growth
        const float maximum = rows.maximum[r] + growth;
        rescale[r] = exp2_fast(rows.maximum[r] - maximum); // of the rounded one, as all that is to come
        rows.maximum[r] = maximum;
        rows.sum[r] *= rescale[r];
        now.sum[r] *= rescale[r];
    }
#pragma unroll
    for (int i = 0; i < kTileN / 2; ++i) s[i] *= rescale[i / 2 % 2];
    return true;
}

/* Two neighbours of a row in a slot of `rows` rows. */
__device__ __forceinline__ const in_t *find_pair(const unsigned char *slot, int rows, int row, int column)
{
    return reinterpret_cast<const in_t *>(slot + column / 64 * rows * 128 + row * 128 +
                                          (column % 64 / 8 ^ row % 8) * 16 + column % 8 * 2);
}

/* s = Q K^T of this warp's 16 rows, without the tensor cores, which would ask all four warps. */
__device__ __forceinline__ void redo_scores(float (&s)[kTileN / 2], const unsigned char *q, const unsigned char *k, int wg)
{
    const int lane = threadIdx.x % 32, row = wg * 64 + threadIdx.x % 128 / 32 * 16 + lane / 4;
#pragma unroll
    for (int i = 0; i < kTileN / 2; ++i) s[i] = 0.0f;
#pragma unroll 1
    for (int c = 0; c < kD; c += 2) {
        float x[2][2]; // [row][column]
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            const in_t *pair = find_pair(q, kTileM, row + r * 8, c);
            x[r][0] = static_cast<float>(pair[0]);
            x[r][1] = static_cast<float>(pair[1]);
        }
#pragma unroll
        for (int i = 0; i < kTileN / 4; ++i) { // its keys
            const in_t *pair = find_pair(k, kTileN, i / 2 * 8 + lane % 4 * 2 + i % 2, c);
            const float y[2] = {static_cast<float>(pair[0]), static_cast<float>(pair[1])};
#pragma unroll
            for (int r = 0; r < 2; ++r) {
                float &sum = s[i / 2 * 4 + r * 2 + i % 2];
                sum = fmaf(x[r][1], y[1], fmaf(x[r][0], y[0], sum));
            }
        }
    }
}

#endif
