/* Stores finished accumulators to C: alpha, beta, bias, activation, conversion.
 *
 * store_warp_tile() writes the accumulators of one warp, held as fragments of mma.m16n8k16 (see
 * mma.cuh), from registers straight to C. The four lanes of a quad exchange their values first, so
 * that each store of a lane is 16 contiguous bytes in either layout of C.
 *
 * The common case, whole vectors and beta 0, has code of its own: with a test of beta at each value a short
 * kernel took 12.2 us instead of 10.3 (docs/notebook.md), though that code never ran.
 */
#ifndef TRIAGE_LIB_STORE_CUH
#define TRIAGE_LIB_STORE_CUH

#include <cuda_fp8.h>

#include "lib/epilogue.cuh"
#include "lib/mma.cuh"

__device__ __forceinline__ float to_float(float v) { return v; }
__device__ __forceinline__ float to_float(__half v) { return __half2float(v); }
__device__ __forceinline__ float to_float(__nv_bfloat16 v) { return __bfloat162float(v); }
__device__ __forceinline__ float to_float(__nv_fp8_e4m3 v) { return static_cast<float>(v); }

/* C as the epilogue sees it. vector_ok: base and ldc allow 16-byte accesses. */
template <typename T> struct output_view {
    T *c;
    const T *bias; /* [m] or NULL */
    long long ldc; /* elements */
    int n;
    float alpha, beta;
    bool vector_ok;
};

template <typename T, typename Args>
__device__ __forceinline__ output_view<T> make_output_view(const Args &args)
{
    output_view<T> out;
    out.c = static_cast<T *>(args.c);
    out.bias = static_cast<const T *>(args.bias);
    out.ldc = args.ldc;
    out.n = args.n;
    out.alpha = args.alpha;
    out.beta = args.beta;
    out.vector_ok = (reinterpret_cast<unsigned long long>(args.c) & 15) == 0 &&
                    ((args.ldc * (long long)sizeof(T)) & 15) == 0;
    return out;
}

template <int kCLayout, typename T>
__device__ __forceinline__ long long output_index(const output_view<T> &out, int row, int col)
{
    return kCLayout == 0 ? (long long)row * out.ldc + col : (long long)col * out.ldc + row;
}

/* The value of C[row][col] before conversion. The element must exist. kBeta false: beta is 0. */
template <int kAct, int kCLayout, bool kBeta = true, typename T>
__device__ __forceinline__ float finish(const output_view<T> &out, float acc, float bias, int row,
                                        int col)
{
    float v = out.alpha * acc + bias;
    if (kBeta && out.beta != 0.0f)
        v += out.beta * to_float(out.c[output_index<kCLayout>(out, row, col)]);
    return activate<kAct, T>(v);
}

/* Lane q of a quad ends with v[t] = what lane t held in v[q]. */
__device__ __forceinline__ void quad_transpose(unsigned (&v)[4], int q)
{
#pragma unroll
    for (int bit = 1; bit <= 2; bit <<= 1) {
#pragma unroll
        for (int t = 0; t < 4; t++) {
            if (t & bit)
                continue;
            bool high = q & bit;
            unsigned got = __shfl_xor_sync(0xffffffffu, high ? v[t] : v[t | bit], bit);
            v[t] = high ? got : v[t];
            v[t | bit] = high ? v[t | bit] : got;
        }
    }
}

/* Edges, unaligned C and 32-bit outputs: element by element. */
template <int kAct, int kCLayout, int kMTiles, int kNTiles, typename T>
__device__ __forceinline__ void store_warp_tile_plain(const output_view<T> &out,
                                                      const float (&acc)[kMTiles][kNTiles][4],
                                                      int row0, int col0, int lane)
{
    int g = lane / 4, q = lane % 4;
#pragma unroll
    for (int mi = 0; mi < kMTiles; mi++) {
#pragma unroll
        for (int h = 0; h < 2; h++) {
            int row = row0 + mi * 16 + h * 8 + g;
            float bias = out.bias ? to_float(out.bias[row]) : 0.0f;
#pragma unroll
            for (int ni = 0; ni < kNTiles; ni++) {
#pragma unroll
                for (int e = 0; e < 2; e++) {
                    int col = col0 + ni * 8 + 2 * q + e;
                    if (col < out.n)
                        out.c[output_index<kCLayout>(out, row, col)] =
                            T(finish<kAct, kCLayout>(out, acc[mi][ni][2 * h + e], bias, row, col));
                }
            }
        }
    }
}

/* Whole 16-byte pieces, all inside C. Groups of four 8 x 8 tiles that follow each other along the contiguous
 * direction of C: after the exchange lane q holds one line of tile q, 16 bytes. Tile i is row tile
 * i / kNTiles, column tile i % kNTiles (column-major C: the other way round). */
template <int kAct, int kCLayout, bool kBeta, int kMTiles, int kNTiles, typename T>
__device__ __forceinline__ void store_warp_tile_vectors(const output_view<T> &out,
                                                        const float (&acc)[kMTiles][kNTiles][4],
                                                        int row0, int col0, int lane)
{
    int g = lane / 4, q = lane % 4;
    float bias[kMTiles * 2]; /* of row g of each 8 x 8 tile */
#pragma unroll
    for (int i = 0; i < kMTiles * 2; i++)
        bias[i] = out.bias ? to_float(out.bias[row0 + i * 8 + g]) : 0.0f;
#pragma unroll
    for (int i0 = 0; i0 < kMTiles * 2 * kNTiles; i0 += 4) {
        unsigned v[4];
#pragma unroll
        for (int t = 0; t < 4; t++) {
            int i = i0 + t;
            int mt = kCLayout == 0 ? i / kNTiles : i % (kMTiles * 2);
            int nt = kCLayout == 0 ? i % kNTiles : i / (kMTiles * 2);
            int row = row0 + mt * 8 + g, col = col0 + nt * 8 + 2 * q;
            const float *d = &acc[mt / 2][nt][mt % 2 * 2];
            v[t] = pack2<T>(finish<kAct, kCLayout, kBeta>(out, d[0], bias[mt], row, col),
                            finish<kAct, kCLayout, kBeta>(out, d[1], bias[mt], row, col + 1));
            if constexpr (kCLayout == 1)
                v[t] = movmatrix_trans(v[t]);
        }
        quad_transpose(v, q);
        int i = i0 + q;
        int row = row0 + (kCLayout == 0 ? i0 / kNTiles * 8 + g : i % (kMTiles * 2) * 8);
        int col = col0 + (kCLayout == 0 ? i % kNTiles * 8 : i / (kMTiles * 2) * 8 + g);
        *reinterpret_cast<uint4 *>(out.c + output_index<kCLayout>(out, row, col)) =
            make_uint4(v[0], v[1], v[2], v[3]);
    }
}

/* Writes kMTiles*16 rows from row0 (all inside C) and kNTiles*8 columns from col0 (cut at n).
 * row0 is a multiple of 16 and col0 of 8. All lanes of the warp call it together. */
template <int kAct, int kCLayout, int kMTiles, int kNTiles, typename T>
__device__ __forceinline__ void store_warp_tile(const output_view<T> &out,
                                                const float (&acc)[kMTiles][kNTiles][4], int row0,
                                                int col0, int lane)
{
    constexpr bool kVectors = sizeof(T) == 2 && kNTiles % (kCLayout == 0 ? 4 : 2) == 0;
    if constexpr (kVectors) {
        if (out.vector_ok && col0 + kNTiles * 8 <= out.n) {
            if (out.beta == 0.0f)
                store_warp_tile_vectors<kAct, kCLayout, false>(out, acc, row0, col0, lane);
            else
                store_warp_tile_vectors<kAct, kCLayout, true>(out, acc, row0, col0, lane);
            return;
        }
    }
    store_warp_tile_plain<kAct, kCLayout>(out, acc, row0, col0, lane);
}

#endif
