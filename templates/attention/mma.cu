/* attention on mma.sync: O = softmax(scale Q K' + mask) V, sm_80 and later. It takes what TMA cannot: any strides and
 * head dimensions, pages of any size, block masks of any size.
 *
 *   Q, K, V   rows of kD, kD, kDv; all rows aligned to kCopyBytes (cp.async; under 4 bytes: element by element)
 *   O         rows of kDv; LSE where it is wanted
 *
 * A CTA has kTileM queries of one head; it walks the keys that they may see in tiles of kTileN, from the last to the
 * first. Each warp has rows of its own and meets the others only for the loads.
 *
 *             global            shared                      registers
 *   Q rows  ──cp.async──► [kTileM][kPitchQ]  ──ldmatrix────────► a ─┐
 *   K rows  ──cp.async──► [kTileN][kPitchK]  ──ldmatrix────────► b ─┴─ mma ─► S ── mask, exp2 ──► P = a ─┐
 *   V rows  ──cp.async──► [kTileN][kPitchV]  ──ldmatrix.trans──► b ──────────────────────────────────────┴─ mma ─► O
 *
 * kStages 2: K and V of the next tile are under way during the products of this one.
 * kStages 1: V of this tile during Q K', K of the next one during P V; half of the shared memory.
 * What scores are counted from, their maximum, moves only when one has grown by 2^kSlack since: until then O and its sum
 * stay as they are. With the parameter late nobody looks for maxima where no mask cuts, until sums of weights ask for it
 * (mma_late.cuh); with kSlab neither, and neighbouring slabs of keys are worked on side by side (mma_slabs.cuh).
 *
 * With pages or a block mask, which row of global memory each row of a tile comes from stands in a table, filled two
 * tiles ahead. With a block mask a tile is a part of a listed block or several of them side by side, those with bits
 * first. Rows in shared memory are padded to an odd number of 16-byte pieces, so that eight of them lie in different
 * banks; columns that pad D or Dv to a multiple of 16 are zeros.
 */
#include <cuda_fp8.h>

#include "attention/args.h"
#include "lib/epilogue.cuh"
#include "lib/fp8.cuh"
#include "lib/kv_copy.cuh"
#include "lib/mma.cuh"
#include "lib/softmax.cuh"

using in_t = {{in_type}};                  // Q, K, V: __half, __nv_bfloat16, __nv_fp8_e4m3
using out_t = {{out_type}};                // O: __half, __nv_bfloat16, float
constexpr int kD = {{d}};                  // columns of Q and K
constexpr int kDv = {{dv}};                // columns of V and O
constexpr int kGroup = {{group}};          // query heads of a KV head
constexpr int kTileM = {{tile_m}};         // queries of a CTA
constexpr int kTileN = {{tile_n}};         // keys of a tile
constexpr int kWarps = {{warps}};          // warps, one above the other: 16 or 32 queries each
constexpr int kStages = {{stages}};        // 1 or 2, see above
constexpr bool kHoldQ = {{hold_q}};        // Q fragments stay in registers
constexpr int kSlab = {{slab}};            // keys of a slab, two a tile (mma_slabs.cuh); 0: tiles in one piece
constexpr int kAhead = {{ahead}};          // fragments are loaded so many mma ahead
constexpr int kMinBlocks = {{min_blocks}}; // minimum CTAs per SM (__launch_bounds__)
constexpr int kCopyBytes = {{copy_bytes}}; // 16, 8, 4; or the size of an element
constexpr int kPageSize = {{page_size}};   // rows of a page; 0: contiguous
constexpr int kMaskM = {{mask_m}};         // rows of a block of the mask; 0: no block mask
constexpr int kMaskN = {{mask_n}};         // keys of a block
constexpr bool kLeft = {{left}};           // the band bounds keys on the left
constexpr bool kRight = {{right}};         // ... on the right (causal: args.right 0)
constexpr bool kTopLeft = {{top_left}};    // query i is aligned to key i, not to key i + sk - sq
constexpr bool kSoftcap = {{softcap}};

constexpr bool kFp8 = sizeof(in_t) == 1;
template <bool fp8> struct operand_of { using type = in_t; };
template <> struct operand_of<true> { using type = __half; };
using mma_t = operand_of<kFp8>::type;      // e4m3 becomes f16 in registers

constexpr int kThreads = kWarps * 32;
constexpr int kWarpM = kTileM / kWarps;
constexpr int kMTiles = kWarpM / 16;
constexpr int kNTiles = kTileN / 8;
constexpr int kSize = sizeof(in_t);
constexpr int kPaddedD = (kD + 15) / 16 * 16;
constexpr int kPaddedDv = (kDv + 15) / 16 * 16;
constexpr int kKSteps = kPaddedD / 16;
constexpr int kOTiles = kPaddedDv / 8;

constexpr int max_of(int a, int b) { return a > b ? a : b; }
constexpr int padded(int bytes) { return (bytes / 16 | 1) * 16; }
constexpr int kPitchQ = padded(max_of(kPaddedD * kSize, kPaddedDv * (int)sizeof(out_t))); // O is staged in Q's place
constexpr int kPitchK = padded(kPaddedD * kSize);
constexpr int kPitchV = padded(kPaddedDv * kSize);
constexpr int kQBytes = kTileM * kPitchQ;
constexpr int kKBytes = kTileN * kPitchK;
constexpr int kVBytes = kTileN * kPitchV;

/* Block masks: a tile is kGroups blocks side by side, or one of kParts parts of a block. */
constexpr bool kBlocks = kMaskM > 0;
constexpr int kBlockN = kBlocks ? kMaskN : kTileN;
constexpr int kGroups = kBlockN < kTileN ? kTileN / kBlockN : 1;
constexpr int kParts = kBlockN > kTileN ? kBlockN / kTileN : 1;
constexpr int kGroupN = kTileN / kGroups;
constexpr int kWords = (kBlockN + 31) / 32; // of bits, a row of a block
constexpr bool kTable = kBlocks || kPageSize > 0;
constexpr int kPageRows = kPageSize > 0 ? kPageSize : 1;
constexpr int kRing = 4; // tables: of the tile in use, the one that loads and the one that is filled

/* Where a tile's keys are. */
struct tile_table {
    int2 row[kTable ? kTileN : 1]; /* page (0 without pages) and row in it (in the sequence); row -1: none */
    int key[kGroups];              /* first key of the group; past the end: no such block */
    int entry[kGroups];            /* of partial.cols, or -1: all of it is seen */
};
constexpr int kTableBytes = kTable ? kRing * (int)sizeof(tile_table) : 0;

static_assert(kWarpM == 16 || kWarpM == 32, "rows of a warp");
static_assert(kTileN % 16 == 0, "pairs of 8 keys");
static_assert(kStages == 1 || kStages == 2, "stages");
static_assert(!kBlocks || kMaskM % kTileM == 0, "the queries of a CTA share a row of the mask");
static_assert(!kBlocks || kTileN % kBlockN == 0 || (kBlockN % kTileN == 0 && kTileN % 32 == 0), "blocks and tiles");
static_assert(kD * kSize % kCopyBytes == 0 && kDv * kSize % kCopyBytes == 0, "whole copies");
static_assert(kCopyBytes == kSize || kCopyBytes >= 4, "what cp.async copies");

/* ---- what is seen ---------------------------------------------------------------------------------------- */

struct sequence {
    int sq, sk;
    long long q_row, k_row; /* first rows, with offsets */
};

__device__ __forceinline__ sequence sequence_of(const tri_attention_args &args, int batch)
{
    sequence s = {args.sq, args.sk, 0, 0};
    if (args.cu_q)
        s.q_row = args.cu_q[batch], s.sq = args.cu_q[batch + 1] - (int)s.q_row;
    if (args.cu_k)
        s.k_row = args.cu_k[batch], s.sk = args.cu_k[batch + 1] - (int)s.k_row;
    if (args.len_q)
        s.sq = min(s.sq, args.len_q[batch]);
    if (args.len_k)
        s.sk = min(s.sk, args.len_k[batch]);
    return s;
}

/* Keys begin .. end - 1 are those that query i may see, block masks aside. */
__device__ __forceinline__ int first_key(const tri_attention_args &args, const sequence &s, int i)
{
    long long at = (long long)i + (kTopLeft ? 0 : s.sk - s.sq) - args.left;
    return kLeft ? (int)min(max(at, 0ll), (long long)s.sk) : 0;
}
__device__ __forceinline__ int end_key(const tri_attention_args &args, const sequence &s, int i)
{
    long long at = (long long)i + (kTopLeft ? 0 : s.sk - s.sq) + args.right + 1;
    return kRight ? (int)min(max(at, 0ll), (long long)s.sk) : s.sk;
}

/* Keys begin + r .. end + r - 1, of those there are, are seen by row r of the lane's (rows 0, 8, 16, 24 of the warp's, from
 * lane / 4 on); all rows of the warp see those from all_begin to all_end. */
struct limits {
    int begin, end;
    int all_begin, all_end;
};

__device__ __forceinline__ limits limits_of(const tri_attention_args &args, const sequence &s, int row0, int lane)
{
    limits see = {};
    long long at = (long long)row0 + lane / 4 + (kTopLeft ? 0 : s.sk - s.sq);
    see.begin = (int)max(at - args.left, -(1ll << 30));
    see.end = (int)min(at + args.right + 1, (long long)0x7fffff00);
    see.all_begin = first_key(args, s, row0 + kWarpM - 1);
    see.all_end = end_key(args, s, row0);
    return see;
}

/* ---- which tiles, from where ------------------------------------------------------------------------------ */

struct source {
    const char *k, *v; /* row 0 of the sequence and KV head; pages: of page 0 */
    int sk;
    int steps;         /* tiles to do */
    int last_tile;     /* without block mask: step s is tile last_tile - s */
    const int *pages;  /* of the sequence */
    /* block mask: the lists of this row of the mask */
    const int *partial, *full;
    int partials, blocks; /* blocks: of both kinds */
    long long first_entry; /* of partial.cols */
};

/* The list of row `row`: its start and length. */
__device__ __forceinline__ long long list_of(const tri_attention_blocks &of, long long row, int &count)
{
    count = 0;
    if (!of.cols)
        return 0;
    long long begin = of.ptr ? of.ptr[row] : row * of.capacity;
    count = of.count ? of.count[row] : of.ptr[row + 1] - of.ptr[row];
    return begin;
}

__device__ __forceinline__ source source_of(const tri_attention_args &args, const sequence &s, int batch, int head,
                                            int row0)
{
    source src = {};
    int kv_head = head / kGroup;
    long long first = kPageSize > 0 || args.cu_k ? 0 : batch;
    src.k = static_cast<const char *>(args.k) +
            (first * args.k_stride.batch + kv_head * args.k_stride.head + s.k_row * args.k_stride.row) * kSize;
    src.v = static_cast<const char *>(args.v) +
            (first * args.v_stride.batch + kv_head * args.v_stride.head + s.k_row * args.v_stride.row) * kSize;
    src.sk = s.sk;
    src.pages = kPageSize > 0 ? args.page_table + (long long)batch * args.page_stride : nullptr;
    if constexpr (kBlocks) {
        long long row = (long long)batch * args.mask_batch + (long long)(head / args.mask_head_div) * args.mask_head +
                        row0 / (kBlocks ? kMaskM : 1);
        int fulls;
        src.first_entry = list_of(args.partial, row, src.partials);
        src.full = args.full.cols + list_of(args.full, row, fulls);
        src.partial = args.partial.cols + src.first_entry;
        src.blocks = src.partials + fulls;
        src.steps = (src.blocks * kParts + kGroups - 1) / kGroups;
    } else {
        int begin = first_key(args, s, row0) / kTileN;
        int end = (end_key(args, s, min(row0 + kTileM, s.sq) - 1) + kTileN - 1) / kTileN;
        src.steps = max(0, end - begin);
        src.last_tile = end - 1;
    }
    return src;
}

/* All threads; read after the next barrier but one. */
__device__ __forceinline__ void fill_table(tile_table *ring, const source &src, int step)
{
    if constexpr (kTable) {
        tile_table &to = ring[step % kRing];
        if (step >= src.steps)
            return;
        for (int r = threadIdx.x; r < kTileN; r += kThreads) {
            int key = (src.last_tile - step) * kTileN + r, group = r / kGroupN;
            if constexpr (kBlocks) {
                int at = kParts > 1 ? step / kParts : step * kGroups + group;
                bool partial = at < src.partials;
                key = 0x7fffff00;
                if (at < src.blocks) {
                    long long block = partial ? src.partial[at] : src.full[at - src.partials];
                    key = (int)min(block * kBlockN + step % kParts * kTileN, (long long)src.sk) + r % kGroupN;
                }
                if (r % kGroupN == 0) {
                    to.key[group] = key;
                    to.entry[group] = partial ? at : -1;
                }
            }
            bool there = key < src.sk;
            int page = kPageSize > 0 && there ? src.pages[key / kPageRows] : 0;
            to.row[r] = make_int2(page, !there ? -1 : kPageSize > 0 ? key % kPageRows : key);
        }
    }
}

/* One piece of kCopyBytes; nothing there: zeros. */
__device__ __forceinline__ void copy_piece(char *to, const char *from, bool there)
{
    if constexpr (kCopyBytes >= 4)
        cp_async_stream<kCopyBytes>(mma_smem_address(to), from, there);
    else if constexpr (kSize == 2)
        *reinterpret_cast<unsigned short *>(to) = there ? *reinterpret_cast<const unsigned short *>(from) : 0;
    else
        *to = there ? *from : 0;
}

/* kRows rows to shared memory, by all threads; row_of(r, there): where row r lies. */
template <int kRows, int kColumns, int kPitch, typename row_t>
__device__ __forceinline__ void copy_rows(char *to, row_t row_of)
{
    constexpr int kPieces = kColumns * kSize / kCopyBytes, kTotal = kRows * kPieces;
    constexpr int kTurns = (kTotal + kThreads - 1) / kThreads;
#pragma unroll(kCopyBytes == 16 ? kTurns : 4)
    for (int turn = 0; turn < kTurns; turn++) {
        int i = threadIdx.x + turn * kThreads, r = i / kPieces, column = i % kPieces * kCopyBytes;
        if (kTotal % kThreads != 0 && i >= kTotal)
            break;
        bool there = true;
        const char *from = row_of(r, there);
        copy_piece(to + r * kPitch + column, from + (there ? column : 0), there);
    }
}

/* kRows rows that lie `row_bytes` apart, where each thread keeps to one column of pieces: a pointer that runs. Rows from
 * `rows` on are zeros. */
template <int kRows, int kColumns, int kPitch, bool kWhole>
__device__ __forceinline__ void copy_column(char *to, const char *from, long long row_bytes, int rows)
{
    constexpr int kPieces = kColumns * kSize / kCopyBytes, kStep = kThreads / kPieces;
    int row0 = threadIdx.x / kPieces, column = threadIdx.x % kPieces * kCopyBytes;
    const char *at = from + row0 * row_bytes + column, *none = from;
    unsigned smem = mma_smem_address(to) + row0 * kPitch + column;
#pragma unroll
    for (int turn = 0; turn < kRows / kStep; turn++) {
        if constexpr (kWhole) {
            cp_async_stream<kCopyBytes>(smem + turn * kStep * kPitch, at);
        } else {
            bool there = row0 + turn * kStep < rows;
            cp_async_stream<kCopyBytes>(smem + turn * kStep * kPitch, there ? at : none, there);
        }
        at += kStep * row_bytes;
    }
}

/* kRows rows from `from` on; those from `rows` on are zeros. */
template <int kRows, int kColumns, int kPitch>
__device__ __forceinline__ void copy_run(char *to, const char *from, long long row_bytes, int rows)
{
    constexpr int kPieces = kColumns * kSize / kCopyBytes, kStep = kThreads < kPieces ? 1 : kThreads / kPieces;
    if constexpr (kCopyBytes >= 4 && kThreads % kPieces == 0 && kRows % kStep == 0) {
        if (rows >= kRows)
            copy_column<kRows, kColumns, kPitch, true>(to, from, row_bytes, rows);
        else
            copy_column<kRows, kColumns, kPitch, false>(to, from, row_bytes, rows);
    } else {
        copy_rows<kRows, kColumns, kPitch>(to, [&](int r, bool &there) {
            there = r < rows;
            return from + (there ? r * row_bytes : 0);
        });
    }
}

/* K or V of a step. */
template <int kColumns, int kPitch>
__device__ __forceinline__ void load_tile(char *to, const source &src, const char *base,
                                          const tri_attention_stride &stride, const tile_table *ring, int step)
{
    if (step >= src.steps)
        return;
    const long long row_bytes = stride.row * kSize;
    if constexpr (kTable) {
        const tile_table &table = ring[step % kRing];
        copy_rows<kTileN, kColumns, kPitch>(to, [&](int r, bool &there) {
            int2 at = table.row[r];
            there = at.y >= 0;
            return base + (there ? at.x * (stride.batch * kSize) * (kPageSize > 0) + at.y * row_bytes : 0);
        });
    } else {
        int key = (src.last_tile - step) * kTileN;
        copy_run<kTileN, kColumns, kPitch>(to, base + key * row_bytes, row_bytes, src.sk - key);
    }
}

/* Columns that pad the rows: zeros, once. */
template <int kColumns, int kPadded, int kPitch> __device__ __forceinline__ void clear_padding(char *rows, int count)
{
    constexpr int kPad = (kPadded - kColumns) * kSize;
    for (int i = threadIdx.x; i < count * kPad; i += kThreads)
        rows[i / max(1, kPad) * kPitch + kColumns * kSize + i % max(1, kPad)] = 0;
}

/* ---- products ---------------------------------------------------------------------------------------------- */

/* Two pairs of e4m3, of a row as ldmatrix gives them: columns 4q .. 4q + 3 of 16, which stand as k 2q, 2q + 1,
 * 2q + 8, 2q + 9 of a product, of Q and of K alike. */
__device__ __forceinline__ void unpack_row(unsigned &low, unsigned &high, unsigned r)
{
    low = e4m3_to_f16(r);
    high = e4m3_to_f16(r >> 16);
}

/* 16 rows of Q, columns 16 k .. 16 k + 15. q_row: address of the lane's row of ldmatrix, see kernel. */
__device__ __forceinline__ void load_q(unsigned (&a)[4], unsigned q_row, int k)
{
    if constexpr (kFp8) {
        unsigned raw[4]; /* rows 0-7 and 8-15 of 32 columns */
        ldmatrix_x4(raw, q_row + k / 2 * 32);
        unpack_row(a[0], a[2], raw[k % 2 * 2]);
        unpack_row(a[1], a[3], raw[k % 2 * 2 + 1]);
    } else {
        ldmatrix_x4(a, q_row + k * 32);
    }
}

/* 16 keys of K: b[0], b[1] of keys 0..7, b[2], b[3] of keys 8..15. */
__device__ __forceinline__ void load_k(unsigned (&b)[4], unsigned k_row, int k)
{
    if constexpr (kFp8) {
        unsigned raw[4]; /* keys 0-7: columns 0-15, 16-31; then keys 8-15 */
        ldmatrix_x4(raw, k_row + k / 2 * 32);
        unpack_row(b[0], b[1], raw[k % 2]);
        unpack_row(b[2], b[3], raw[2 + k % 2]);
    } else {
        ldmatrix_x4(b, k_row + k * 32);
    }
}

/* 16 keys of 16 columns of V. 16-bit: columns 0..7, then 8..15; e4m3: the even ones, then the odd ones. */
__device__ __forceinline__ void load_v(unsigned (&b)[4], unsigned v_row, int t)
{
    if constexpr (kFp8) {
        unsigned raw[4]; /* keys 0-7 and 8-15 of 16 columns, twice */
        ldmatrix_x4_trans(raw, v_row + t / 2 * 32);
        unpack_row(b[0], b[2], __byte_perm(raw[t % 2 * 2], 0, 0x3120));
        unpack_row(b[1], b[3], __byte_perm(raw[t % 2 * 2 + 1], 0, 0x3120));
    } else {
        ldmatrix_x4_trans(b, v_row + t * 32);
    }
}

struct q_registers {
    unsigned r[kHoldQ ? kMTiles : 1][kHoldQ ? kKSteps : 1][4];
};

__device__ __forceinline__ void hold_q(q_registers &held, unsigned q_row)
{
    if constexpr (kHoldQ) {
#pragma unroll
        for (int m = 0; m < kMTiles; m++)
#pragma unroll
            for (int k = 0; k < kKSteps; k++)
                load_q(held.r[kHoldQ ? m : 0][kHoldQ ? k : 0], q_row + m * 16 * kPitchQ, k);
    }
}

/* Columns 16 k .. of the warp's queries. */
__device__ __forceinline__ void take_q(unsigned (&a)[kMTiles][4], const q_registers &held, unsigned q_row, int k)
{
#pragma unroll
    for (int m = 0; m < kMTiles; m++) {
        if constexpr (kHoldQ) {
#pragma unroll
            for (int i = 0; i < 4; i++)
                a[m][i] = held.r[kHoldQ ? m : 0][kHoldQ ? k : 0][i];
        } else {
            load_q(a[m], q_row + m * 16 * kPitchQ, k);
        }
    }
}

template <int kN> __device__ __forceinline__ void clear(float (&s)[kMTiles][kN][4])
{
#pragma unroll
    for (int i = 0; i < kMTiles * kN * 4; i++)
        s[i / (kN * 4)][i / 4 % kN][i % 4] = 0.0f;
}

/* s = Q K'. Operands are read kAhead products of 16 keys before they are used. */
__device__ __forceinline__ void multiply_k(float (&s)[kMTiles][kNTiles][4], const q_registers &q, unsigned q_row,
                                           unsigned k_row)
{
    constexpr int kPairs = kNTiles / 2, kTotal = kKSteps * kPairs;
    unsigned a[2][kMTiles][4], b[kAhead + 1][4];
    auto read_k = [&](int i) { load_k(b[i % (kAhead + 1)], k_row + i % kPairs * 16 * kPitchK, i / kPairs); };
    clear(s);
    take_q(a[0], q, q_row, 0);
#pragma unroll
    for (int i = 0; i < kAhead; i++)
        read_k(i);
    /* two loops: of one of 64 turns NVCC 13.0 leaves Q, where it is held, in local memory */
#pragma unroll
    for (int k = 0; k < kKSteps; k++)
#pragma unroll
        for (int n = 0; n < kPairs; n++) {
            const int i = k * kPairs + n;
            if (i + kAhead < kTotal)
                read_k(i + kAhead);
            if (n == (kPairs > 1 ? kPairs - 2 : 0) && k + 1 < kKSteps)
                take_q(a[(k + 1) % 2], q, q_row, k + 1);
            const unsigned(&now)[4] = b[i % (kAhead + 1)];
#pragma unroll
            for (int m = 0; m < kMTiles; m++) {
                mma_m16n8k16(s[m][2 * n], a[k % 2][m], now[0], now[1], mma_t());
                mma_m16n8k16(s[m][2 * n + 1], a[k % 2][m], now[2], now[3], mma_t());
            }
        }
}

/* o += P V: the accumulators of S, rounded, are the operand P as they lie. */
__device__ __forceinline__ void multiply_v(float (&o)[kMTiles][kOTiles][4], const float (&p)[kMTiles][kNTiles][4],
                                           unsigned v_row)
{
    constexpr int kPairs = kOTiles / 2, kTotal = kTileN / 16 * kPairs;
    unsigned a[kMTiles][4], b[kAhead + 1][4];
    auto read_v = [&](int i) { load_v(b[i % (kAhead + 1)], v_row + i / kPairs * 16 * kPitchV, i % kPairs); };
#pragma unroll
    for (int i = 0; i < kAhead; i++)
        read_v(i);
#pragma unroll
    for (int i = 0; i < kTotal; i++) {
        int k = i / kPairs, t = i % kPairs;
        if (i + kAhead < kTotal)
            read_v(i + kAhead);
        if (t == 0) {
#pragma unroll
            for (int m = 0; m < kMTiles; m++)
#pragma unroll
                for (int e = 0; e < 4; e++)
                    a[m][e] = pack2<mma_t>(p[m][2 * k + e / 2][e % 2 * 2], p[m][2 * k + e / 2][e % 2 * 2 + 1]);
        }
        const unsigned(&now)[4] = b[i % (kAhead + 1)];
#pragma unroll
        for (int m = 0; m < kMTiles; m++) {
            mma_m16n8k16(o[m][2 * t], a[m], now[0], now[1], mma_t());
            mma_m16n8k16(o[m][2 * t + 1], a[m], now[2], now[3], mma_t());
        }
    }
}

/* ---- softmax ------------------------------------------------------------------------------------------------ */

/* Column of the n'th tile of 8 that is the lane's element e. */
__device__ __forceinline__ int column_of(int n, int e, int lane) { return n * 8 + lane % 4 * 2 + e % 2; }

/* Scores of keys from `key` on, in columns first .. first + kColumns - 1 of the tile, that a row does not see. */
template <int kColumns, int kN>
__device__ __forceinline__ void mask_range(float (&s)[kMTiles][kN][4], const limits &see, int sk, int first,
                                           int key, int lane)
{
    if (key >= see.all_begin && key + kColumns <= see.all_end)
        return;
#pragma unroll
    for (int m = 0; m < kMTiles; m++)
#pragma unroll
        for (int n = 0; n < kColumns / 8; n++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                int at = key + column_of(n, e, lane), row = m * 16 + e / 2 * 8;
                if (at >= sk || (kLeft && at < see.begin + row) || (kRight && at >= see.end + row))
                    s[m][first / 8 + n][e] = minus_infinity();
            }
}

/* The bits of a block: columns first .. of the tile are columns `offset` .. of the block. */
__device__ __forceinline__ void mask_bits(float (&s)[kMTiles][kNTiles][4], const unsigned *bits, int first, int offset,
                                          int row0, int lane)
{
    if constexpr (kBlocks) {
#pragma unroll
        for (int m = 0; m < kMTiles; m++)
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const unsigned *row = bits + (row0 + m * 16 + half * 8 + lane / 4) % (kBlocks ? kMaskM : 1) * kWords;
#pragma unroll
                for (int n = 0; n < kGroupN / 8; n++) {
                    unsigned word = __ldg(row + offset / 32 + n / 4) >> column_of(n % 4, 0, lane);
                    if (!(word & 1))
                        s[m][first / 8 + n][half * 2] = minus_infinity();
                    if (!(word & 2))
                        s[m][first / 8 + n][half * 2 + 1] = minus_infinity();
                }
            }
    }
}

__device__ __forceinline__ void mask_tile(float (&s)[kMTiles][kNTiles][4], const tri_attention_args &args,
                                          const source &src, const limits &see, const tile_table *ring, int step,
                                          int row0, int lane)
{
    if constexpr (!kBlocks) {
        mask_range<kTileN>(s, see, src.sk, 0, (src.last_tile - step) * kTileN, lane);
    } else {
        const tile_table &table = ring[step % kRing];
#pragma unroll
        for (int group = 0; group < kGroups; group++) {
            int entry = table.entry[group];
            if (entry >= 0 && args.partial_bits)
                mask_bits(s, args.partial_bits + (src.first_entry + entry) * (kMaskM * kWords), group * kGroupN,
                          step % kParts * kTileN, row0, lane);
            mask_range<kGroupN>(s, see, src.sk, group * kGroupN, table.key[group], lane);
        }
    }
}

/* What a warp has of its rows; of row g + 8 e of m tile m at 2m + e. */
struct state {
    float o[kMTiles][kOTiles][4];
    /* What scores are counted from: their maximum, or up to kSlack less, in units of log2. The one rounding of maximum *
     * scale is in all weights, factors and the LSE alike, and so in none: of scores of 1e5 it would be a hundredth. */
    float m[kMTiles * 2];
    float l[kMTiles * 2]; /* sum of this lane's weights */
};

/* The references of the weights, st.m, take in the step's scores where one has grown by more than 2^kSlack: until then
 * weights up to 2^kSlack are as good, and the sums stay as they are. */
constexpr float kSlack = 8.0f;
constexpr float kMost = 8192.0f; /* of a lane's weights of a row that nobody looked at the maximum of: f16 holds it */
template <int kN>
__device__ __forceinline__ void raise_maxima(state &st, const float (&s)[kMTiles][kN][4], float scale)
{
    float m[kMTiles * 2];
    bool grown = false;
#pragma unroll
    for (int r = 0; r < kMTiles * 2; r++) {
        const float(&row)[kN][4] = s[r / 2];
        int e = r % 2 * 2;
        m[r] = fmaxf(row[0][e], row[0][e + 1]);
#pragma unroll
        for (int n = 1; n < kN; n++)
            m[r] = fmaxf(m[r], fmaxf(row[n][e], row[n][e + 1]));
        m[r] = fmaxf(st.m[r], quad_max(m[r]) * scale);
        grown |= m[r] - st.m[r] > kSlack; /* from -inf: always; of -inf: NaN, never */
    }
    if (!__any_sync(0xffffffffu, grown))
        return;
#pragma unroll
    for (int r = 0; r < kMTiles * 2; r++) {
        int e = r % 2 * 2;
        float factor = st.m[r] == minus_infinity() ? 0.0f : exp2_fast(st.m[r] - m[r]);
        st.m[r] = m[r];
        st.l[r] *= factor;
#pragma unroll
        for (int t = 0; t < kOTiles; t++)
            st.o[r / 2][t][e] *= factor, st.o[r / 2][t][e + 1] *= factor;
    }
}

/* s becomes 2^(scale s - st.m); the sums take it in. */
template <int kN> __device__ __forceinline__ void weigh(state &st, float (&s)[kMTiles][kN][4], float scale)
{
#pragma unroll
    for (int r = 0; r < kMTiles * 2; r++) {
        float(&row)[kN][4] = s[r / 2];
        int e = r % 2 * 2;
        float from = st.m[r] == minus_infinity() ? 0.0f : st.m[r]; /* nothing is seen yet: weights of 0 */
#pragma unroll
        for (int n = 0; n < kN; n++) {
            row[n][e] = exp2_fast(fmaf(row[n][e], scale, -from));
            row[n][e + 1] = exp2_fast(fmaf(row[n][e + 1], scale, -from));
            st.l[r] += row[n][e] + row[n][e + 1];
        }
    }
}

__device__ __forceinline__ void cap_scores(float (&s)[kMTiles][kNTiles][4], float inner, float outer)
{
    if constexpr (kSoftcap) {
#pragma unroll
        for (int m = 0; m < kMTiles; m++)
#pragma unroll
            for (int n = 0; n < kNTiles; n++)
#pragma unroll
                for (int e = 0; e < 4; e++)
                    s[m][n][e] = outer * tanh_exact(s[m][n][e] * inner);
    }
}

/* ---- the walk over the tiles ---- */

/* What a warp needs on its way. Of ldmatrix its lanes' rows: Q 16 rows, then the next 16 bytes; K 8 keys, the next 16 bytes,
 * then the next 8 keys; V 16 keys, then the next 16 bytes. */
struct walk {
    const tri_attention_args &args;
    const source &src;
    const limits see;
    tile_table *const ring;
    char *const k_smem, *const v_smem;
    const unsigned q_row, k_row, v_row;
    const float scale, inner;
    const int row0, lane;
    q_registers held;
};

{{^late}}
/* The weights of a step. between(): what can be done as soon as K has been read. */
template <typename between_t>
__device__ __forceinline__ void make_weights(const walk &w, state &st, float (&s)[kMTiles][kNTiles][4], unsigned k_row,
                                             int step, between_t between)
{
    multiply_k(s, w.held, w.q_row, k_row);
    between();
    cap_scores(s, w.inner, w.args.softcap * 1.4426950408889634f);
    mask_tile(s, w.args, w.src, w.see, w.ring, step, w.row0, w.lane);
    raise_maxima(st, s, w.scale);
    weigh(st, s, w.scale);
}
{{/late}}
{{#late}}
#include "attention/mma_late.cuh"
{{/late}}

{{^slab}}
__device__ __forceinline__ void walk_tiles(walk &w, state &st)
{
    const source &src = w.src;
    auto load_k = [&](int slot, int step) {
        load_tile<kD, kPitchK>(w.k_smem + slot * kKBytes, src, src.k, w.args.k_stride, w.ring, step);
    };
    auto load_v = [&](int slot, int step) {
        load_tile<kDv, kPitchV>(w.v_smem + slot * kVBytes, src, src.v, w.args.v_stride, w.ring, step);
    };
#pragma unroll 1
    for (int step = 0; step < src.steps; step++) {
        const int slot = kStages == 2 ? step % 2 : 0;
        cp_async_wait<0>();
        __syncthreads(); /* this step's tile is there; all warps are done with the one before */
        if constexpr (kStages == 2)
            load_k(slot ^ 1, step + 1);
        load_v(kStages == 2 ? slot ^ 1 : 0, step + kStages - 1);
        cp_async_commit();
        fill_table(w.ring, src, step + 2);
        if (step == 0)
            hold_q(w.held, w.q_row);

        float s[kMTiles][kNTiles][4];
        make_weights(w, st, s, w.k_row + slot * kKBytes, step, [&] {
            if constexpr (kStages == 1) {
                cp_async_wait<0>();
                __syncthreads(); /* V is there; all warps are done with K */
                load_k(0, step + 1);
                cp_async_commit();
            }
        });
        multiply_v(st.o, s, w.v_row + slot * kVBytes);
    }
}
{{/slab}}
{{#slab}}
#include "attention/mma_slabs.cuh"
{{/slab}}

#include "attention/mma_store.cuh"

/* grid: (ceil(sq / kTileM), heads_q, batch); dynamic shared memory: kQBytes + kStages *
 * (kKBytes + kVBytes) + kTableBytes. */
extern "C" __global__ void __launch_bounds__(kThreads, kMinBlocks)
    triage_kernel(const __grid_constant__ tri_attention_args args)
{
    extern __shared__ __align__(16) float room[];
    char *q_smem = reinterpret_cast<char *>(room), *k_smem = q_smem + kQBytes;
    char *v_smem = k_smem + kStages * kKBytes;
    tile_table *ring = reinterpret_cast<tile_table *>(v_smem + kStages * kVBytes);

    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int batch = blockIdx.z, head = blockIdx.y;
    const int tile = kRight ? gridDim.x - 1 - blockIdx.x : blockIdx.x; /* the longest ones first */
    const int tile_row = tile * kTileM, row0 = tile_row + warp * kWarpM;
    const sequence seq = sequence_of(args, batch);
    if (tile_row >= seq.sq)
        return;
    const source src = source_of(args, seq, batch, head, tile_row);

    /* Q, and the first tables and tiles */
    fill_table(ring, src, 0);
    fill_table(ring, src, 1);
    clear_padding<kD, kPaddedD, kPitchQ>(q_smem, kTileM);
    clear_padding<kD, kPaddedD, kPitchK>(k_smem, kStages * kTileN);
    clear_padding<kDv, kPaddedDv, kPitchV>(v_smem, kStages * kTileN);
    const char *q = static_cast<const char *>(args.q) +
                    ((args.cu_q ? 0 : batch) * args.q_stride.batch + head * args.q_stride.head +
                     (seq.q_row + tile_row) * args.q_stride.row) * kSize;
    copy_run<kTileM, kD, kPitchQ>(q_smem, q, args.q_stride.row * kSize, seq.sq - tile_row);
    if constexpr (kTable)
        __syncthreads();
    load_tile<kD, kPitchK>(k_smem, src, src.k, args.k_stride, ring, 0);
    if constexpr (kStages == 2 && kSlab == 0)
        load_tile<kDv, kPitchV>(v_smem, src, src.v, args.v_stride, ring, 0);
    cp_async_commit();

    float scale = args.scale_log2, inner = 0.0f;
    if (args.scale_q)
        scale *= args.scale_q[batch * args.heads_kv + head / kGroup];
    if (args.scale_k)
        scale *= args.scale_k[batch * args.heads_kv + head / kGroup];
    if constexpr (kFp8)
        scale = fmaxf(scale, 1e-30f); /* -inf times 0 is no number */
    if constexpr (kSoftcap) { /* capped scores are in units of log2 */
        inner = scale * 0.6931471805599453f / args.softcap;
        scale = 1.0f;
    }
    state st = {};
#pragma unroll
    for (int r = 0; r < kMTiles * 2; r++)
        st.m[r] = minus_infinity();

    walk w = {args, src, limits_of(args, seq, row0, lane), ring, k_smem, v_smem,
              mma_smem_address(q_smem) + (warp * kWarpM + lane % 16) * kPitchQ + lane / 16 * 16,
              mma_smem_address(k_smem) + (lane % 8 + lane / 16 * 8) * kPitchK + lane / 8 % 2 * 16,
              mma_smem_address(v_smem) + lane % 16 * kPitchV + lane / 16 * 16, scale, inner, row0, lane};
{{#slab}}
    walk_slabs(w, st);
{{/slab}}
{{^slab}}
    walk_tiles(w, st);
{{/slab}}
    cp_async_wait<0>();
    if (src.steps == 0)
        __syncthreads(); /* the copies of Q by other threads do not land in O */
    if (row0 < seq.sq)
        finish(args, seq, st, q_smem + warp * (kWarpM * kPitchQ), batch, head, row0, lane);
}
