/* wgmma_fp8.cu, steps that do not look for maxima, as in wgmma_late.cuh. Included behind wgmma_softmax.cuh.
 *
 * Exponentials are taken of what the rows' maxima were. Their sums, which are needed anyway, say whether that was right: weights are
 * positive, so none is more than a sum with it, and one of at most kMostWeight is a number of e4m3. A lane has four sums, two of
 * each row, so that equal weights of the usual 2^kWeightOffset do not pass for large. Where a sum is more, or is no number:
 *
 *   finite     of rows whose largest weight is in fact too large, the maximum is raised by a power of two that makes it less than
 *              2^kWeightOffset, and the weights, the sums and O are multiplied by the same 2^(old - new maximum) (shrink)
 *   not        some 2^x has overflowed: the maximum is from far away, or still -inf, or the scores are no numbers. Then the
 *              warp makes its scores again, from K and Q in shared memory, and looks for maxima as at an edge of the mask.
 *
 * All of it is before the weights are rounded to e4m3, of a warp by itself.
 */
#ifndef TRIAGE_ATTENTION_WGMMA_FP8_LATE_CUH
#define TRIAGE_ATTENTION_WGMMA_FP8_LATE_CUH

/* May a row of this warp have weights that are too large, or no numbers? */
__device__ __forceinline__ bool are_large(const float (&sum)[2][2])
{
    const float most = fmaxf(fmaxf(sum[0][0], sum[0][1]), fmaxf(sum[1][0], sum[1][1]));
    const float all = (sum[0][0] + sum[0][1]) + (sum[1][0] + sum[1][1]); // NaN if one is
    return __any_sync(0xffffffffu, most > kMostWeight || !(all <= 4 * kMostWeight));
}

/* Makes weights small enough for e4m3, and their sums; rescale: what O and the sums of the steps before are
 * to be multiplied with, which the latter are. false: not done, some have overflowed. */
__device__ __forceinline__ bool shrink(float (&s)[kTileN / 2], float (&sum)[2][2], rows_t &rows, float (&rescale)[2])
{
    if (__any_sync(0xffffffffu, !((sum[0][0] + sum[0][1]) + (sum[1][0] + sum[1][1]) <= 1e30f))) return false;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        float top = 0.0f;
#pragma unroll
        for (int i = r * 2; i < kTileN / 2; i += 4) top = fmaxf(top, fmaxf(s[i], s[i + 1]));
        top = quad_max(top);
        const int growth = top > kMostWeight ? (__float_as_int(top) >> 23) - 126 - kWeightOffset : 0; // top < 2^(growth + kWeightOffset)
        const float maximum = rows.maximum[r] + growth;
        rescale[r] = exp2_fast(rows.maximum[r] - maximum); // of the rounded one, as all that is to come
        rows.maximum[r] = maximum;
        rows.sum[r] *= rescale[r];
        sum[r][0] *= rescale[r];
        sum[r][1] *= rescale[r];
    }
#pragma unroll
    for (int i = 0; i < kTileN / 2; ++i) s[i] *= rescale[i / 2 % 2];
    return true;
}

/* Four neighbours of a row in a slot of `rows` rows. */
__device__ __forceinline__ void read_four(float (&x)[4], const unsigned char *slot, int rows, int row, int column)
{
    const in_t *from = reinterpret_cast<const in_t *>(slot + column / 128 * rows * 128 + row * 128 +
                                                      (column % 128 / 16 ^ row % 8) * 16 + column % 16);
#pragma unroll
    for (int i = 0; i < 4; ++i) x[i] = static_cast<float>(from[i]);
}

/* s = Q K^T of this warp's 16 rows, without the tensor cores, which would ask all four warps. */
__device__ __forceinline__ void redo_scores(float (&s)[kTileN / 2], const unsigned char *q, const unsigned char *k, int wg)
{
    const int lane = threadIdx.x % 32, row = wg * 64 + threadIdx.x % 128 / 32 * 16 + lane / 4;
#pragma unroll
    for (int i = 0; i < kTileN / 2; ++i) s[i] = 0.0f;
#pragma unroll 1
    for (int c = 0; c < kD; c += 4) {
        float x[2][4], y[4]; // of two rows, of a key
        read_four(x[0], q, kTileM, row, c);
        read_four(x[1], q, kTileM, row + 8, c);
#pragma unroll
        for (int i = 0; i < kTileN / 4; ++i) { // its keys
            read_four(y, k, kTileN, i / 2 * 8 + lane % 4 * 2 + i % 2, c);
#pragma unroll
            for (int r = 0; r < 2; ++r) {
                float &sum = s[i / 2 * 4 + r * 2 + i % 2];
#pragma unroll
                for (int e = 0; e < 4; ++e) sum = fmaf(x[r][e], y[e], sum);
            }
        }
    }
}

#endif
