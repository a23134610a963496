/* decode.cu and decode_tma.cu, the rows of Q of a (batch, KV head, q tile): the keys that they see, where their result goes.
 * Included behind the constants that it uses (kGroup, kRows, kLeft, kRight, kTopLeft, kOffsets, kFp8) and args_t.
 *
 * Row r of q tile t is query R / kGroup and head R % kGroup of the group that reads the KV head, R = t * kRows + r.
 */
#ifndef TRIAGE_ATTENTION_DECODE_ROWS_CUH
#define TRIAGE_ATTENTION_DECODE_ROWS_CUH

#include "attention/args.h"
#include "lib/softmax.cuh"

struct rows_of_unit {
    int batch, head; /* KV head */
    int row0;        /* R of row 0 */
    int sq, sk;      /* of the sequence */
};

__device__ __forceinline__ unsigned q_tiles_of(const args_t &args)
{
    return (args.sq * kGroup + kRows - 1u) / kRows;
}

/* (KV head, q tile) of a sequence */
__device__ __forceinline__ unsigned units_of(const args_t &args) { return args.heads_kv * q_tiles_of(args); }

/* Twenty instructions of cold code each: those by 1 are left out. */
__device__ __forceinline__ unsigned divide(unsigned x, unsigned by) { return by == 1 ? x : x / by; }

__device__ __forceinline__ rows_of_unit rows_of(const args_t &args, int batch, unsigned unit, int sq, int sk)
{
    const unsigned q_tiles = q_tiles_of(args), head = divide(unit, q_tiles);
    return {batch, (int)head, (int)(unit - head * q_tiles) * kRows, sq, sk};
}

/* Those that there are. */
__device__ __forceinline__ int row_count(const rows_of_unit &rows) { return min(kRows, rows.sq * kGroup - rows.row0); }

/* Row R of Q, of sequences at strides. */
__device__ __forceinline__ const in_t *q_row(const args_t &args, const rows_of_unit &rows, int row)
{
    return static_cast<const in_t *>(args.q) + rows.batch * args.q_stride.batch +
           (rows.head * kGroup + row % kGroup) * args.q_stride.head + row / kGroup * args.q_stride.row;
}

/* ---- keys ---- */

__device__ __forceinline__ int key_offset(int sq, int sk) { return kTopLeft ? 0 : sk - sq; }

/* x + y without overflow, y from 0 up. */
__device__ __forceinline__ int add_clamped(int x, int y)
{
    return x > 0x7fffffff - y ? 0x7fffffff : x + y;
}

/* Keys begin .. end - 1 are those that query i may see. */
__device__ __forceinline__ int first_key(const args_t &args, int sq, int sk, int i)
{
    return kLeft ? max(0, i + key_offset(sq, sk) - args.left) : 0;
}
__device__ __forceinline__ int end_key(const args_t &args, int sq, int sk, int i)
{
    return kRight ? max(0, min(sk, add_clamped(i + key_offset(sq, sk) + 1, args.right))) : sk;
}

/* What a lane knows of its rows, 2q and 2q + 1 of each 8: the keys they see. */
struct limits {
    int begin[kRowTiles][2], end[kRowTiles][2];
    int all_begin, all_end; /* keys that every row sees */
};

__device__ __forceinline__ limits limits_of(const args_t &args, const rows_of_unit &rows, int lane)
{
    limits see;
    const int last = min(rows.sq - 1, (rows.row0 + kRows - 1) / kGroup);
#pragma unroll
    for (int n = 0; n < kRowTiles; n++)
#pragma unroll
        for (int e = 0; e < 2; e++) {
            const int i = (rows.row0 + n * 8 + lane % 4 * 2 + e) / kGroup;
            see.begin[n][e] = first_key(args, rows.sq, rows.sk, i);
            see.end[n][e] = end_key(args, rows.sq, rows.sk, i);
        }
    see.all_begin = first_key(args, rows.sq, rows.sk, last);
    see.all_end = end_key(args, rows.sq, rows.sk, rows.row0 / kGroup);
    return see;
}

/* Of e4m3 and of the problem: what scores are multiplied by, in units of log2. Not 0, for -inf times 0 is no number. */
__device__ __forceinline__ float scale_of(const args_t &args, const rows_of_unit &rows)
{
    const int at = rows.batch * args.heads_kv + rows.head;
    const float scale = args.scale_log2 * (kFp8 && args.scale_q ? args.scale_q[at] : 1.0f) *
                        (kFp8 && args.scale_k ? args.scale_k[at] : 1.0f);
    return kFp8 ? fmaxf(scale, 1e-30f) : scale;
}

/* ---- results ---- */

/* Four neighbours of a row, over some keys: their sums weighted by 2^(score - m), and the sum of the weights. */
struct quad {
    float4 o;
    float m, l;
};

/* O and LSE of columns `column` .. of a row, from sums over all keys. */
__device__ __forceinline__ void store_result(const args_t &args, const rows_of_unit &rows, const quad &sum, int row,
                                             int column)
{
    row += rows.row0;
    const int head = rows.head * kGroup + row % kGroup, i = row / kGroup;
    if (i >= rows.sq)
        return;
    const bool packed = kOffsets && args.cu_q;
    const long long first = packed ? args.cu_q[rows.batch] : 0, batch = packed ? 0 : rows.batch;
    float scale = sum.l > 0.0f ? __fdividef(1.0f, sum.l) : 0.0f;
    if (kFp8 && args.scale_v)
        scale *= args.scale_v[rows.batch * args.heads_kv + rows.head];
    out_t *to = static_cast<out_t *>(args.o) + batch * args.o_stride.batch + head * args.o_stride.head +
                (first + i) * args.o_stride.row + column;
    alignas(4 * sizeof(out_t)) out_t v[4] = {out_t(sum.o.x * scale), out_t(sum.o.y * scale), out_t(sum.o.z * scale),
                                            out_t(sum.o.w * scale)};
    if (kDv % 4 == 0 && reinterpret_cast<unsigned long long>(to) % sizeof(v) == 0) {
        if (column < kDv) {
            if constexpr (sizeof(out_t) == 2)
                *reinterpret_cast<uint2 *>(to) = *reinterpret_cast<uint2 *>(v);
            else
                *reinterpret_cast<float4 *>(to) = *reinterpret_cast<float4 *>(v);
        }
    } else {
#pragma unroll
        for (int e = 0; e < 4; e++)
            if (column + e < kDv)
                to[e] = v[e];
    }
    if (args.lse && column == 0)
        args.lse[batch * args.lse_stride.batch + head * args.lse_stride.head + (first + i) * args.lse_stride.row] =
            sum.l > 0.0f ? (sum.m + log2f(sum.l)) * 0.6931471805599453f : minus_infinity();
}

#endif
