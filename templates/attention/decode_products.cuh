/* decode.cu and decode_tma.cu, what a warp does with keys that are in shared memory: the transposed products, with keys, and
 * then the columns of V, as the 16 rows of an mma and the rows of Q as its 8 columns. Included behind decode_rows.cuh and the
 * constants (kKeys, kKeyTiles, kRowTiles, kPaddedDv, kFp8, kSoftcap), mma_t, and columns_at(address, i), which is where 32
 * bytes of a lane's ldmatrix row lie, the i-th.
 */
#ifndef TRIAGE_ATTENTION_DECODE_PRODUCTS_CUH
#define TRIAGE_ATTENTION_DECODE_PRODUCTS_CUH

#include "attention/args.h"
#include "lib/epilogue.cuh"
#include "lib/fp8.cuh"
#include "lib/mma.cuh"
#include "lib/softmax.cuh"

/* What a warp has of a piece. Lane (g, q) = (lane / 4, lane % 4) holds rows 2q, 2q + 1 of each 8. */
struct state {
    float o[kPaddedDv / 16][kRowTiles][4]; /* columns g and g + 8 of 16; e4m3: 2g and 2g + 1 */
    float m[kRowTiles][2];                 /* maximum, in units of log2, the same in all lanes of a row */
    float l[kRowTiles][2];                 /* sum of this lane's keys */
};

__device__ __forceinline__ void clear(state &st)
{
#pragma unroll
    for (int n = 0; n < kRowTiles; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
            st.m[n][e % 2] = minus_infinity();
            st.l[n][e % 2] = 0.0f;
#pragma unroll
            for (int t = 0; t < kPaddedDv / 16; t++)
                st.o[t][n][e] = 0.0f;
        }
}

/* K's operand of 16 keys by 16 columns from e4m3: `low` has four neighbours of keys 0-7, `high` of 8-15. */
__device__ __forceinline__ void unpack_k(unsigned (&a)[4], unsigned low, unsigned high)
{
    a[0] = e4m3_to_f16(low), a[2] = e4m3_to_f16(low >> 16);
    a[1] = e4m3_to_f16(high), a[3] = e4m3_to_f16(high >> 16);
}

/* Sixteen columns of V by 16 keys, as the rows and columns of an operand. e4m3: `raw` has, of 16 keys and 16
 * columns, columns 2g, 2g + 1 of two keys each. */
__device__ __forceinline__ void unpack_v(unsigned (&a)[4], unsigned keys_0_7, unsigned keys_8_15)
{
    unsigned low = __byte_perm(keys_0_7, 0, 0x3120), high = __byte_perm(keys_8_15, 0, 0x3120);
    a[0] = e4m3_to_f16(low), a[1] = e4m3_to_f16(low >> 16);
    a[2] = e4m3_to_f16(high), a[3] = e4m3_to_f16(high >> 16);
}

/* O' += V' P' for 16 keys. */
__device__ __forceinline__ void multiply_v(state &st, const unsigned (&p)[kRowTiles][2], unsigned v_address)
{
    unsigned raw[4];
#pragma unroll
    for (int t = 0; t < kPaddedDv / 16; t++) {
        unsigned a[4];
        if constexpr (kFp8) {
            if (t % 2 == 0)
                ldmatrix_x4_trans(raw, columns_at(v_address, t / 2));
            unpack_v(a, raw[t % 2 * 2], raw[t % 2 * 2 + 1]);
        } else {
            ldmatrix_x4_trans(a, columns_at(v_address, t));
        }
#pragma unroll
        for (int n = 0; n < kRowTiles; n++)
            mma_m16n8k16(st.o[t][n], a, p[n][0], p[n][1], mma_t());
    }
}

/* Scores, with a soft cap in units of log2; those of keys that a row does not see are -inf. */
__device__ __forceinline__ void mask_scores(float (&s)[kKeyTiles][kRowTiles][4], const args_t &args,
                                            const limits &see, float scale, int key, int lane)
{
    bool whole = key >= see.all_begin && key + kKeys <= see.all_end;
    if constexpr (kSoftcap) {
        float inner = scale * 0.6931471805599453f / args.softcap, outer = args.softcap * 1.4426950408889634f;
#pragma unroll
        for (int t = 0; t < kKeyTiles; t++)
#pragma unroll
            for (int n = 0; n < kRowTiles; n++)
#pragma unroll
                for (int e = 0; e < 4; e++)
                    s[t][n][e] = outer * tanh_exact(s[t][n][e] * inner);
    }
    if (whole)
        return;
#pragma unroll
    for (int t = 0; t < kKeyTiles; t++)
#pragma unroll
        for (int n = 0; n < kRowTiles; n++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                int at = key + t * 16 + lane / 4 + e / 2 * 8;
                if (at < see.begin[n][e % 2] || at >= see.end[n][e % 2])
                    s[t][n][e] = minus_infinity();
            }
}

/* Over the lanes that hold a row: those of the same q. */
__device__ __forceinline__ float row_max(float x)
{
    x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 4));
    x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 8));
    return fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 16));
}
__device__ __forceinline__ float row_sum(float x)
{
    x += __shfl_xor_sync(0xffffffffu, x, 4);
    x += __shfl_xor_sync(0xffffffffu, x, 8);
    return x + __shfl_xor_sync(0xffffffffu, x, 16);
}

/* 2^(m - to) for sums that belong to maximum m, -inf where there is nothing. */
__device__ __forceinline__ float rescale_factor(float m, float to)
{
    return m == minus_infinity() ? 0.0f : exp2_fast(m - to);
}

/* The maxima, in units of log2, take in the step's scores, and the sums follow. What maximum * scale is rounded to is in
 * all weights and factors alike, and so in none. */
__device__ __forceinline__ void raise_maxima(state &st, const float (&s)[kKeyTiles][kRowTiles][4], float scale)
{
    float m[kRowTiles][2];
    bool moved = false;
#pragma unroll
    for (int n = 0; n < kRowTiles; n++)
#pragma unroll
        for (int e = 0; e < 2; e++) {
            float top = fmaxf(s[0][n][e], s[0][n][e + 2]);
#pragma unroll
            for (int t = 1; t < kKeyTiles; t++)
                top = fmaxf(top, fmaxf(s[t][n][e], s[t][n][e + 2]));
            m[n][e] = fmaxf(st.m[n][e], row_max(top) * scale);
            moved |= m[n][e] > st.m[n][e];
        }
    if (!__any_sync(0xffffffffu, moved))
        return;
#pragma unroll
    for (int n = 0; n < kRowTiles; n++)
#pragma unroll
        for (int e = 0; e < 2; e++) {
            float factor = rescale_factor(st.m[n][e], m[n][e]);
            st.m[n][e] = m[n][e];
            st.l[n][e] *= factor;
#pragma unroll
            for (int t = 0; t < kPaddedDv / 16; t++)
                st.o[t][n][e] *= factor, st.o[t][n][e + 2] *= factor;
        }
}

/* P' of 16 keys: s becomes 2^(scale s - m), and the keys of a register's pair move from rows to columns. */
__device__ __forceinline__ void weights(unsigned (&p)[kRowTiles][2], state &st, float (&s)[kRowTiles][4], float scale)
{
#pragma unroll
    for (int n = 0; n < kRowTiles; n++) {
        float m0 = st.m[n][0] == minus_infinity() ? 0.0f : st.m[n][0];
        float m1 = st.m[n][1] == minus_infinity() ? 0.0f : st.m[n][1];
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float low = exp2_fast(fmaf(s[n][half * 2], scale, -m0)),
                  high = exp2_fast(fmaf(s[n][half * 2 + 1], scale, -m1));
            st.l[n][0] += low;
            st.l[n][1] += high;
            p[n][half] = movmatrix_trans(pack2<mma_t>(low, high));
        }
    }
}

#endif
