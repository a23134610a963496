/* decode.cu and decode_tma.cu, which keys a CTA does, in which order, and where its sums go. Included behind decode_rows.cuh and
 * the constants that it uses (kTileKeys, kCluster, kOffsets, kLengths, kSlotFloats).
 */
#ifndef TRIAGE_ATTENTION_DECODE_PIECES_CUH
#define TRIAGE_ATTENTION_DECODE_PIECES_CUH

#include "attention/args.h"

/* What a sequence asks for. A sequence without keys has one tile, all of it masked. */
struct sequence {
    int sq, sk;
    int first_tile, tiles;
};

__device__ __forceinline__ sequence sequence_of(const args_t &args, int batch)
{
    sequence s = {args.sq, args.sk, 0, 0};
    if (kOffsets && args.cu_q)
        s.sq = args.cu_q[batch + 1] - args.cu_q[batch];
    if (kOffsets && args.cu_k)
        s.sk = args.cu_k[batch + 1] - args.cu_k[batch];
    if (kLengths && args.len_q)
        s.sq = min(s.sq, args.len_q[batch]);
    if (kLengths && args.len_k)
        s.sk = min(s.sk, args.len_k[batch]);
    int begin = first_key(args, s.sq, s.sk, 0), end = end_key(args, s.sq, s.sk, s.sq - 1);
    s.first_tile = begin < end ? begin / kTileKeys : 0;
    s.tiles = max(1, (end + kTileKeys - 1) / kTileKeys - s.first_tile);
    return s;
}

/* Consecutive tiles of a unit: of a (batch, KV head, q tile). */
struct piece {
    sequence seq;
    int batch, unit;    /* unit: of this batch */
    int tile, tile_end;
    unsigned unit0;     /* where the unit begins: tiles of all units before, or with fixed splits pieces */
    unsigned at;        /* where the piece begins, likewise */
};

/* The pieces of this CTA, one after another. */
struct walker {
    piece now;
    unsigned end;       /* of this CTA's run */
    unsigned length, longer; /* the first `longer` CTAs have a run of length + 1, the others of length */

    __device__ __forceinline__ bool done() const { return (int)(now.at - end) >= 0; }
    __device__ __forceinline__ unsigned run_begin(unsigned cta) const { return cta * length + min(cta, longer); }
    /* Whose run `place` is in. */
    __device__ __forceinline__ unsigned cta_of(unsigned place) const
    {
        unsigned split = longer * (length + 1);
        bool early = place < split;
        return (early ? 0 : longer) + (early ? place : place - split) / (early ? length + 1 : length);
    }
};

/* Pieces of a unit where its own length alone cuts it; 0: runs of equal length. */
__device__ __forceinline__ int splits_of(const args_t &args)
{
    return kCluster > 1 ? kCluster : args.splits;
}

/* The tiles of the piece at p.at, whose unit is known. False: with fixed splits, it has none. */
__device__ __forceinline__ bool set_tiles(piece &p, unsigned end, const args_t &args)
{
    int splits = splits_of(args), before = (int)(p.at - p.unit0), behind = p.seq.tiles;
    if (splits == 0) {
        behind = (int)min((unsigned)behind, end - p.unit0);
    } else {
        int length = (p.seq.tiles + splits - 1) / splits;
        before *= length;
        behind = min(behind, before + length);
    }
    p.tile = p.seq.first_tile + before;
    p.tile_end = p.seq.first_tile + behind;
    return before < behind;
}

/* On to the next piece, or to the first one after start_walk. */
__device__ __forceinline__ void next_piece(walker &w, const args_t &args)
{
    piece &p = w.now;
    do {
        unsigned splits = splits_of(args), length = splits == 0 ? p.seq.tiles : splits;
        p.at = splits == 0 ? p.unit0 + (unsigned)(p.tile_end - p.seq.first_tile) : p.at + 1;
        if (p.at >= p.unit0 + length) {
            p.unit0 += length;
            if (++p.unit == units_of(args)) {
                p.unit = 0;
                if (++p.batch < args.batch)
                    p.seq = sequence_of(args, p.batch);
            }
        }
    } while (!w.done() && !set_tiles(p, w.end, args) && kCluster == 1); /* a cluster's CTAs stay together */
}

__device__ __forceinline__ unsigned warp_sum(unsigned x)
{
#pragma unroll
    for (int i = 16; i > 0; i /= 2)
        x += __shfl_xor_sync(0xffffffffu, x, i);
    return x;
}

/* Tiles of all sequences, by all lanes of a warp. */
__device__ __forceinline__ unsigned count_tiles(const args_t &args, int lane)
{
    unsigned total = 0;
    for (int b = lane; b < args.batch; b += 32)
        total += sequence_of(args, b).tiles;
    return warp_sum(total);
}

/* Finds the unit at p.at where lengths differ: by all lanes of a warp, 32 sequences at a time. */
__device__ __forceinline__ void find_unit(piece &p, const args_t &args, int lane)
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
        unsigned found = __ballot_sync(0xffffffffu, before + upto > p.at);
        if (found) {
            int at = __ffs((int)found) - 1;
            p.batch = b0 + at;
            p.unit0 = before + __shfl_sync(0xffffffffu, upto - tiles, at);
            break;
        }
        before += __shfl_sync(0xffffffffu, upto, 31);
    }
    p.seq = sequence_of(args, p.batch);
    p.unit = (int)((p.at - p.unit0) / p.seq.tiles);
    p.unit0 += (unsigned)p.unit * p.seq.tiles;
}

/* Before the first piece. */
__device__ __forceinline__ walker start_walk(const args_t &args, int lane)
{
    walker w;
    piece &p = w.now;
    unsigned units = units_of(args), splits = splits_of(args);
    bool equal = splits != 0 || !(kOffsets || kLengths);
    p.seq = sequence_of(args, 0);
    unsigned of_unit = splits == 0 ? p.seq.tiles : splits;
    unsigned total = units * (equal ? args.batch * of_unit : count_tiles(args, lane));
    unsigned runs = min(kCluster > 1 ? total : gridDim.x, total); /* no more than there is work */
    p.at = w.end = 0;
    if (blockIdx.x >= runs)
        return w; /* done */
    w.length = total / runs;
    w.longer = total - runs * w.length;
    p.at = w.run_begin(blockIdx.x);
    w.end = w.run_begin(blockIdx.x + 1);
    if (equal) {
        unsigned unit = p.at / of_unit;
        p.unit0 = unit * of_unit;
        p.batch = (int)(unit / units);
        p.unit = (int)(unit - p.batch * units);
        if (kOffsets || kLengths)
            p.seq = sequence_of(args, p.batch);
    } else {
        find_unit(p, args, lane);
    }
    p.tile = p.tile_end = p.seq.first_tile + (int)(p.at - p.unit0);
    if (splits != 0)
        p.at--;
    return w;
}

__device__ __forceinline__ rows_of_unit rows_of(const args_t &args, const piece &p)
{
    return rows_of(args, p.batch, p.unit, p.seq.sq, p.seq.sk);
}

/* Where the pieces of a unit are. */
struct parts {
    int count, index; /* pieces of the unit; this one */
    int *counter;     /* those that are stored; from 0 back to 0 */
    float *slot0;     /* of piece 0; piece i > 0 is at later + i * step */
    float *later;
    int step; /* floats */
};

__device__ __forceinline__ float *slot_of(const parts &of, int i)
{
    return i == 0 ? of.slot0 : of.later + (long long)i * of.step;
}

__device__ __forceinline__ parts parts_of(const args_t &args, const walker &w, const piece &p)
{
    parts of;
    int splits = splits_of(args), unit = p.batch * units_of(args) + p.unit;
    long long slot = (long long)unit * splits, later = slot;
    if (splits == 0) {
        unsigned first = w.cta_of(p.unit0), last = w.cta_of(p.unit0 + p.seq.tiles - 1);
        of.count = (int)(last - first + 1);
        of.index = (int)(blockIdx.x - first);
        later = 2 * first;
        slot = later + (p.unit0 > w.run_begin(first) ? 1 : 0);
    } else {
        int length = (p.seq.tiles + splits - 1) / splits;
        of.count = (p.seq.tiles + length - 1) / length;
        of.index = (int)(p.at - p.unit0);
    }
    of.counter = static_cast<int *>(args.workspace) + unit;
    float *slots = reinterpret_cast<float *>(static_cast<char *>(args.workspace) +
                                             (args.batch * (long long)units_of(args) * 4 + 255) / 256 * 256);
    of.step = splits == 0 ? 2 * kSlotFloats : kSlotFloats;
    of.slot0 = slots + slot * kSlotFloats;
    of.later = slots + later * kSlotFloats;
    return of;
}

#endif
