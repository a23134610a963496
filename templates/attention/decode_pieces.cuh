/* decode.cu, which keys a CTA does and in which order: included behind the constants that it uses (kGroup, kRows,
 * kTileKeys, kCluster, kLeft, kRight, kTopLeft).
 */
#ifndef TRIAGE_ATTENTION_DECODE_PIECES_CUH
#define TRIAGE_ATTENTION_DECODE_PIECES_CUH

#include "attention/args.h"

/* What a sequence asks for. A sequence without keys has one tile, all of it masked. */
struct sequence {
    int sq, sk;
    int first_tile, tiles;
};

__device__ __forceinline__ int key_offset(const sequence &s) { return kTopLeft ? 0 : s.sk - s.sq; }

/* x + y, both from 0 up (y from -2^31), without overflow. */
__device__ __forceinline__ int add_clamped(int x, int y)
{
    long long sum = (long long)x + y;
    return sum > 0x7fffffff ? 0x7fffffff : (int)sum;
}

/* Keys begin .. end - 1 are those that query i may see. */
__device__ __forceinline__ int first_key(const tri_attention_core &args, const sequence &s, int i)
{
    return kLeft ? max(0, i + key_offset(s) - args.left) : 0;
}
__device__ __forceinline__ int end_key(const tri_attention_core &args, const sequence &s, int i)
{
    return kRight ? max(0, min(s.sk, add_clamped(args.right, i + key_offset(s) + 1))) : s.sk;
}

__device__ __forceinline__ sequence sequence_of(const tri_attention_core &args, int batch)
{
    sequence s;
    s.sq = args.cu_q ? args.cu_q[batch + 1] - args.cu_q[batch] : args.sq;
    s.sk = args.cu_k ? args.cu_k[batch + 1] - args.cu_k[batch] : args.sk;
    if (args.len_q)
        s.sq = min(s.sq, args.len_q[batch]);
    if (args.len_k)
        s.sk = min(s.sk, args.len_k[batch]);
    int begin = first_key(args, s, 0), end = end_key(args, s, s.sq - 1);
    s.first_tile = begin / kTileKeys;
    s.tiles = max(1, (end + kTileKeys - 1) / kTileKeys - s.first_tile);
    if (end <= begin)
        s.first_tile = 0;
    return s;
}

__device__ __forceinline__ unsigned warp_sum(unsigned x)
{
#pragma unroll
    for (int i = 16; i > 0; i /= 2)
        x += __shfl_xor_sync(0xffffffffu, x, i);
    return x;
}

/* The pieces of this CTA, one after another. A unit is a (batch, KV head, q tile). */
struct walker {
    sequence seq;
    unsigned total;    /* of all CTAs: tiles, or with fixed splits pieces */
    unsigned runs;     /* CTAs that have a part of it */
    unsigned at, end;  /* of this CTA's run, in the same measure */
    unsigned unit0;    /* where the unit of the piece begins, likewise */
    int batch, unit;   /* unit: of this batch */
    int tile, tile_end; /* the piece */

    __device__ __forceinline__ bool done() const { return at >= end; }
    /* The run of a CTA begins there, the last one's ends at the total. */
    __device__ __forceinline__ unsigned run_begin(unsigned cta) const
    {
        return is_short() ? total * cta / runs : (unsigned)((unsigned long long)total * cta / runs);
    }
    /* Whose run `place` is in. */
    __device__ __forceinline__ unsigned cta_of(unsigned place) const
    {
        return is_short() ? ((place + 1) * runs - 1) / total
                          : (unsigned)(((unsigned long long)(place + 1) * runs - 1) / total);
    }
    /* Do the products fit 32 bits, whose division is short? */
    __device__ __forceinline__ bool is_short() const { return __umulhi(total + 1, runs + 1) == 0; }
};

__device__ __forceinline__ int q_tiles_of(const tri_attention_core &args)
{
    return (args.sq * kGroup + kRows - 1) / kRows;
}

__device__ __forceinline__ int units_of(const tri_attention_core &args) { return args.heads_kv * q_tiles_of(args); }

/* Pieces of a unit where its own length alone cuts it; 0: runs of equal length. */
__device__ __forceinline__ int splits_of(const tri_attention_core &args)
{
    return kCluster > 1 ? kCluster : args.splits;
}

/* The piece at w.at, whose unit is known. False: with fixed splits, the piece has no tiles. */
__device__ __forceinline__ bool set_piece(walker &w, const tri_attention_core &args)
{
    if (splits_of(args) == 0) {
        w.tile = w.seq.first_tile + (int)(w.at - w.unit0);
        w.tile_end = w.seq.first_tile + (int)min((unsigned)w.seq.tiles, w.end - w.unit0);
        return true;
    }
    int length = (w.seq.tiles + splits_of(args) - 1) / splits_of(args);
    int begin = (int)(w.at - w.unit0) * length;
    w.tile = w.seq.first_tile + begin;
    w.tile_end = w.seq.first_tile + min(w.seq.tiles, begin + length);
    return begin < w.seq.tiles;
}

__device__ __forceinline__ void next_unit(walker &w, const tri_attention_core &args)
{
    if (++w.unit < units_of(args))
        return;
    w.unit = 0;
    if (++w.batch < args.batch)
        w.seq = sequence_of(args, w.batch);
}

__device__ __forceinline__ void next_piece(walker &w, const tri_attention_core &args)
{
    do {
        unsigned length = splits_of(args) == 0 ? w.seq.tiles : splits_of(args);
        w.at = splits_of(args) == 0 ? w.unit0 + (unsigned)(w.tile_end - w.seq.first_tile) : w.at + 1;
        if (w.at >= w.unit0 + length) {
            w.unit0 += length;
            next_unit(w, args);
        }
    } while (!w.done() && !set_piece(w, args));
}

/* Finds the unit at w.at where lengths differ: by all lanes of a warp, 32 sequences at a time. */
__device__ __forceinline__ void find_unit(walker &w, const tri_attention_core &args, int lane)
{
    unsigned units = units_of(args), before = 0;
    for (int b0 = 0;; b0 += 32) {
        unsigned tiles = b0 + lane < args.batch ? sequence_of(args, b0 + lane).tiles * units : 0;
        unsigned upto = tiles;
#pragma unroll
        for (int i = 1; i < 32; i *= 2) {
            unsigned left = __shfl_up_sync(0xffffffffu, upto, i);
            upto += lane >= i ? left : 0;
        }
        unsigned found = __ballot_sync(0xffffffffu, before + upto > w.at);
        if (found) {
            int at = __ffs((int)found) - 1;
            w.batch = b0 + at;
            w.unit0 = before + __shfl_sync(0xffffffffu, upto - tiles, at);
            break;
        }
        before += __shfl_sync(0xffffffffu, upto, 31);
    }
    w.seq = sequence_of(args, w.batch);
    w.unit = (int)((w.at - w.unit0) / w.seq.tiles);
    w.unit0 += (unsigned)w.unit * w.seq.tiles;
}

__device__ __forceinline__ walker start_walk(const tri_attention_core &args, int lane)
{
    walker w;
    unsigned units = units_of(args), length = splits_of(args);
    bool equal = splits_of(args) != 0 || !(args.cu_q || args.cu_k || args.len_q || args.len_k);
    w.seq = sequence_of(args, 0);
    if (splits_of(args) == 0)
        length = w.seq.tiles;
    w.total = units * args.batch * length;
    if (!equal) {
        w.total = 0;
        for (int b = lane; b < args.batch; b += 32)
            w.total += sequence_of(args, b).tiles * units;
        w.total = warp_sum(w.total);
    }
    w.runs = min(kCluster > 1 ? w.total : gridDim.x, w.total);
    w.at = w.end = 0;
    if (blockIdx.x >= w.runs)
        return w;
    w.at = w.run_begin(blockIdx.x);
    w.end = w.run_begin(blockIdx.x + 1);
    if (equal) {
        unsigned unit = w.at / length;
        w.unit0 = unit * length;
        w.batch = (int)(unit / units);
        w.unit = (int)(unit % units);
        if (w.batch > 0)
            w.seq = sequence_of(args, w.batch);
    } else {
        find_unit(w, args, lane);
    }
    if (!set_piece(w, args) && kCluster == 1) /* a cluster's CTAs stay together */
        next_piece(w, args);
    return w;
}

#endif
