/* attention for few queries against a cache of keys and values (decoding): bound by the time that K and V take from
 * device memory. mma.sync and cp.async; sm_80 and later.
 *
 *   Q, K, V   rows of kD, kD, kDv, aligned to kCopyBytes; K and V contiguous or paged
 *   O         rows of kDv; LSE where it is wanted
 *
 * The rows of a CTA are the queries and heads that read the same KV head: row r of q tile t is query R / kGroup
 * and head R % kGroup of the group, R = t * kRows + r. A tile is kTileKeys keys; warp w has kKeys of them, loads
 * them itself and meets no other warp before the end of a piece:
 *
 *   K, V ──cp.async──► shared, kStages deep ──ldmatrix──► K (16 keys x 16 d) ─── mma with Q' ──► S' (keys x rows)
 *                           │                                                                 │ exp2, movmatrix
 *                           └──────────────ldmatrix.trans──► V' (16 d x 16 keys) ──── mma with P' ──► O' (d x rows)
 *
 * The products are transposed: keys, and then the columns of V, are the 16 rows of an mma, the rows of Q its 8
 * columns, so that few rows of Q waste little.
 *
 * The keys of one (batch, KV head, q tile) are cut in pieces, each done by one CTA; a CTA does a run of pieces:
 *   args.splits 0   all tiles of all sequences are cut in gridDim.x runs of equal length, wherever that cuts
 *   args.splits n   each (batch, KV head, q tile) is cut in n pieces by its own length alone, so that the bits of a
 *                   row do not depend on what else is in the batch
 *   kCluster > 1    the same by the CTAs of a cluster, which read each other's sums: for short caches
 * Of several pieces each leaves (m, l, O) in the workspace, and the last CTA to arrive adds them in their order.
 * The loads run ahead of the products by kStages steps, over the ends of pieces. A piece's Q is asked for before its
 * first keys, behind which it would wait. The code is short on purpose: it comes from cold memory, and a cache of 1024
 * keys takes 2 us.
 *
 * Workspace: an int for each (batch, KV head, q tile), from 0 back to 0, in a multiple of 256 bytes; then slots of
 * kSlotFloats, two for each CTA, or args.splits for each (batch, KV head, q tile). A cluster needs none.
 */
#include <cuda_fp8.h>

#include "attention/args.h"
#include "lib/fp8.cuh"
#include "lib/kv_copy.cuh"
#include "lib/mma.cuh"
#include "lib/ptx.cuh"
#include "lib/softmax.cuh"

using in_t = {{in_type}};                   // Q, K, V: __half, __nv_bfloat16, __nv_fp8_e4m3
using out_t = {{out_type}};                 // O: __half, __nv_bfloat16, float
constexpr int kD = {{d}};                   // columns of Q and K
constexpr int kDv = {{dv}};                 // columns of V and O
constexpr int kGroup = {{group}};           // query heads of a KV head
constexpr int kRows = {{rows}};             // rows of a CTA, a multiple of 8
constexpr int kKeys = {{keys}};             // keys of a warp's step: 16, 32, 64
constexpr int kWarps = {{warps}};           // warps of a CTA
constexpr int kStages = {{stages}};         // steps under way or in use, per warp
constexpr int kMinBlocks = {{min_blocks}};  // CTAs per SM to leave registers for
constexpr int kCluster = {{cluster}};       // CTAs (a cluster, sm_90) that share a (batch, KV head, q tile); 1: see above
constexpr int kCopyBytes = {{copy_bytes}};  // 16, 8 or 4: what rows of Q, K and V are aligned to
constexpr int kPageSize = {{page_size}};    // rows of a page; 0: contiguous
constexpr bool kLeft = {{left}};            // keys too far to the left are not seen
constexpr bool kRight = {{right}};          // ... to the right (causal: args.right 0)
constexpr bool kTopLeft = {{top_left}};     // query i stands at key i, not at key i + sk - sq
constexpr bool kSoftcap = {{softcap}};
constexpr bool kOffsets = {{offsets}};      // sequences are told apart by args.cu_q and cu_k
constexpr bool kLengths = {{lengths}};      // ... their lengths by args.len_q and len_k

constexpr bool kFp8 = sizeof(in_t) == 1;
template <int bytes> struct copy_of { using type = uint4; };
template <> struct copy_of<8> { using type = uint2; };
template <> struct copy_of<4> { using type = unsigned; };
using copy_t = copy_of<kCopyBytes>::type;
template <bool fp8> struct operand_of { using type = in_t; };
template <> struct operand_of<true> { using type = __half; };
using mma_t = operand_of<kFp8>::type;       // e4m3 becomes f16 in registers
using args_t = tri_attention_core;

constexpr int kThreads = kWarps * 32;
constexpr int kTileKeys = kWarps * kKeys;
constexpr int kPaddedD = (kD + 15) / 16 * 16;
constexpr int kPaddedDv = (kDv + 15) / 16 * 16;
constexpr int kKeyTiles = kKeys / 16;       // of 16 keys
constexpr int kRowTiles = kRows / 8;        // of 8 rows
constexpr int kSize = sizeof(in_t);
constexpr int kPageRows = kPageSize > 0 ? kPageSize : 1;
constexpr bool kOnePage = kPageRows % kKeys == 0; // a step lies in one page

/* Rows in shared memory: an odd number of 16-byte pieces, so that eight of them lie in different banks. */
constexpr int padded(int bytes) { return (bytes / 16 | 1) * 16; }
constexpr int kPitchK = padded(kPaddedD * kSize);
constexpr int kPitchV = padded(kPaddedDv * kSize);
constexpr int kPitchQ = padded((kPaddedD + 31) / 32 * 64);
constexpr int kStageBytes = kKeys * (kPitchK + kPitchV);
constexpr int kPitchO = kPaddedDv + 4;      // floats
constexpr int kStagesBytes = kWarps * kStages * kStageBytes;
constexpr int kQBytes = kRows * kPitchQ;
constexpr int kQueue = kStages + 1;         // pieces that loads may be ahead, and the one in use
constexpr int kSlotFloats = kRows * (kPaddedDv + 2);
constexpr bool kHoldQ = kPaddedD / 16 * kRowTiles <= 16; // Q stays in registers
static_assert(kRows % 8 == 0 && kKeys % 16 == 0, "tiles of an mma");
static_assert(kStages >= 2, "loads overlap the products");
static_assert(kCluster >= 1 && kCluster <= 8, "a portable cluster");
static_assert(kCluster == 1 || kSlotFloats * 4 <= kStagesBytes, "a cluster's sums lie where keys were");
static_assert(kD * kSize % kCopyBytes == 0 && kDv * kSize % kCopyBytes == 0, "whole copies");

#include "attention/decode_rows.cuh"

#include "attention/decode_pieces.cuh"

/* ---- Q ----------------------------------------------------------------------------------------------- */

/* Where column d of Q stands in shared memory. The four neighbours 4q .. 4q + 3 of e4m3 that a lane gets of K are
 * k 2q, 2q + 1, 2q + 8, 2q + 9 of a product. */
__device__ __forceinline__ int q_place(int d)
{
    return kFp8 ? d / 16 * 16 + d % 16 / 4 * 2 + d % 2 + d % 4 / 2 * 8 : d;
}

/* The rows of Q in pieces of kCopyBytes: a thread's share, on the way from global to shared memory. */
constexpr int kQPieces = kRows * (kD * kSize / kCopyBytes);
constexpr int kQTurns = (kQPieces + kThreads - 1) / kThreads;
constexpr bool kEarlyQ = kQTurns <= 2; // else they would fill the registers
struct q_pieces {
    copy_t r[kQTurns];
};

__device__ __forceinline__ void fetch_q(q_pieces &to, const args_t &args, const rows_of_unit &rows)
{
    int head0 = rows.head * kGroup, row0 = rows.row0;
    long long first = kOffsets && args.cu_q ? args.cu_q[rows.batch] * args.q_stride.row : rows.batch * args.q_stride.batch;
#pragma unroll
    for (int turn = 0; turn < kQTurns; turn++) {
        int i = threadIdx.x + turn * kThreads, row = row0 + i / (kQPieces / kRows), piece = i % (kQPieces / kRows);
        const in_t *from = static_cast<const in_t *>(args.q) + first + (head0 + row % kGroup) * args.q_stride.head +
                           row / kGroup * args.q_stride.row;
        to.r[turn] = copy_t();
        if (i < kQPieces && row / kGroup < rows.sq)
            to.r[turn] = __ldg(reinterpret_cast<const copy_t *>(from) + piece);
    }
}

__device__ __forceinline__ void place_q(mma_t *smem, const q_pieces &from)
{
#pragma unroll
    for (int turn = 0; turn < kQTurns; turn++) {
        int i = threadIdx.x + turn * kThreads, row = i / (kQPieces / kRows), piece = i % (kQPieces / kRows);
        char *to = reinterpret_cast<char *>(smem) + row * kPitchQ;
        if (i >= kQPieces)
            break;
        if constexpr (!kFp8) {
            *reinterpret_cast<copy_t *>(to + piece * kCopyBytes) = from.r[turn];
        } else {
            const unsigned *four = reinterpret_cast<const unsigned *>(&from.r[turn]);
#pragma unroll
            for (int e = 0; e < kCopyBytes / 4; e++) {
                unsigned *place = reinterpret_cast<unsigned *>(to) + q_place(piece * kCopyBytes + e * 4) / 2;
                place[0] = e4m3_to_f16(four[e]);
                place[4] = e4m3_to_f16(four[e] >> 16);
            }
        }
    }
}

/* Columns that pad Q's rows are zeros, once. */
__device__ __forceinline__ void clear_q_padding(mma_t *smem)
{
    for (int i = threadIdx.x; kPaddedD > kD && i < kRows * kPaddedD; i += kThreads)
        if (i % kPaddedD >= kD)
            smem[i / kPaddedD * (kPitchQ / 2) + q_place(i % kPaddedD)] = mma_t(0.0f);
}

/* ---- loads ------------------------------------------------------------------------------------------- */

/* Where a warp's next step comes from. */
struct loader {
    walker walk;
    unsigned pieces;   /* begun */
    const char *k, *v; /* row 0 of the sequence and KV head; pages: of page 0 */
    int key;           /* first of the warp's step */
    int pages[(kKeys + 31) / 32]; /* of the step, lane l's those of keys l, l + 32, ...; kOnePage: all lanes' */
};

__device__ __forceinline__ void find_pages(loader &from, const args_t &args, int lane)
{
    if constexpr (kPageSize > 0) {
        const int *table = args.page_table + (long long)from.walk.now.batch * args.page_stride;
#pragma unroll
        for (int i = 0; i < (kKeys + 31) / 32; i++) {
            int key = from.key + (kOnePage ? 0 : i * 32 + lane);
            from.pages[i] = key < from.walk.now.seq.sk ? table[key / kPageRows] : 0;
        }
    }
}

/* Bytes from the start of a sequence's pages, or of its rows. */
__device__ __forceinline__ long long origin(const tri_attention_stride &stride, const int *cu, int batch, int head)
{
    long long at = head * stride.head;
    if (kOffsets && cu)
        at += cu[batch] * stride.row;
    else if (kPageSize == 0)
        at += batch * stride.batch;
    return at * kSize;
}

/* Loads go on with the next piece; the products find it in `queue`. */
__device__ __forceinline__ void start_piece(loader &from, const args_t &args, piece *queue, int warp,
                                            int lane)
{
    next_piece(from.walk, args);
    const piece &p = from.walk.now;
    if (lane == 0)
        queue[from.pieces % kQueue] = p;
    from.pieces++;
    if (from.walk.done())
        return;
    int head = p.unit / q_tiles_of(args);
    from.k = static_cast<const char *>(args.k) + origin(args.k_stride, args.cu_k, p.batch, head);
    from.v = static_cast<const char *>(args.v) + origin(args.v_stride, args.cu_k, p.batch, head);
    from.key = p.tile * kTileKeys + warp * kKeys;
    find_pages(from, args, lane);
}

/* Where row `row` of the step lies: `base` is that of the sequence, `first` that of the step's first row. */
__device__ __forceinline__ const char *row_of(const loader &from, const char *base, const char *first,
                                              const tri_attention_stride &stride, int row)
{
    if constexpr (kPageSize == 0 || kOnePage) {
        return first + row * (stride.row * kSize);
    } else {
        int page = __shfl_sync(0xffffffffu, from.pages[0], row % 32);
        if constexpr (kKeys > 32) {
            int later = __shfl_sync(0xffffffffu, from.pages[kKeys > 32], row % 32);
            page = row < 32 ? page : later;
        }
        return base + page * (stride.batch * kSize) + (from.key + row) % kPageRows * (stride.row * kSize);
    }
}

/* kKeys rows of K or V; those from `rows` on are zeros. */
template <int kColumns, int kPitch>
__device__ __forceinline__ void load_rows(unsigned smem, const loader &from, const char *base,
                                          const tri_attention_stride &stride, int rows, int lane)
{
    constexpr int kPieces = kColumns * kSize / kCopyBytes, kTotal = kKeys * kPieces;
    const char *first = base + from.key % (kOnePage ? kPageRows : 0x7fffffff) * (stride.row * kSize);
    if constexpr (kOnePage)
        first += from.pages[0] * (stride.batch * kSize);
    if (rows >= kKeys && kTotal % 32 == 0) {
#pragma unroll
        for (int i = 0; i < kTotal / 32; i++) {
            int row = (lane + i * 32) / kPieces, column = (lane + i * 32) % kPieces * kCopyBytes;
            cp_async_stream<kCopyBytes>(smem + row * kPitch + column,
                                        row_of(from, base, first, stride, row) + column);
        }
    } else {
#pragma unroll 1 /* the last step of a sequence */
        for (int i = 0; i < (kTotal + 31) / 32; i++) {
            int at = min(lane + i * 32, kTotal - 1); /* the last lanes may do the last piece again */
            int row = at / kPieces, column = at % kPieces * kCopyBytes;
            const char *source = row_of(from, base, first, stride, row) + column;
            cp_async_stream<kCopyBytes>(smem + row * kPitch + column, row < rows ? source : base, row < rows);
        }
    }
}

/* The next step is under way to `smem`; one group, also where there is none: the first time, which only finds the
 * first piece, and behind the last one. */
__device__ __forceinline__ void load_step(loader &from, const args_t &args, unsigned smem, piece *queue,
                                          int warp, int lane)
{
    piece &p = from.walk.now;
    if (!from.walk.done()) {
        if (p.tile < p.tile_end) {
            int rows = p.seq.sk - from.key;
            load_rows<kD, kPitchK>(smem, from, from.k, args.k_stride, rows, lane);
            load_rows<kDv, kPitchV>(smem + kKeys * kPitchK, from, from.v, args.v_stride, rows, lane);
        }
        if (++p.tile < p.tile_end) {
            from.key += kTileKeys;
            find_pages(from, args, lane);
        } else {
            start_piece(from, args, queue, warp, lane);
        }
    }
    cp_async_commit();
}

/* Columns that pad a row to a multiple of 16 are zeros, once. */
template <int kColumns, int kPadded, int kPitch> __device__ __forceinline__ void clear_padding(char *rows, int lane)
{
    constexpr int kPad = (kPadded - kColumns) * kSize;
    for (int i = lane; i < kKeys * kPad; i += 32)
        rows[i / max(1, kPad) * kPitch + kColumns * kSize + i % max(1, kPad)] = 0;
}

/* ---- products ---------------------------------------------------------------------------------------- */

/* Of the lane's ldmatrix row at `address`, which is that of its first 32 bytes. */
__device__ __forceinline__ unsigned columns_at(unsigned address, int i) { return address + i * 32; }

#include "attention/decode_products.cuh"

struct q_registers {
    unsigned r[kHoldQ ? kPaddedD / 16 : 1][kHoldQ ? kRowTiles : 1][2];
};

/* Four registers: of 8 rows of Q, 32 columns. */
__device__ __forceinline__ void load_q_columns(unsigned (&b)[4], unsigned q_address, int n, int k)
{
    ldmatrix_x4(b, q_address + n * 8 * kPitchQ + k * 64);
}

__device__ __forceinline__ void hold_q(q_registers &q, unsigned q_address)
{
    if constexpr (kHoldQ) {
#pragma unroll
        for (int n = 0; n < kRowTiles; n++)
#pragma unroll
            for (int k = 0; k < (kPaddedD + 31) / 32; k++) {
                unsigned b[4];
                load_q_columns(b, q_address, n, k);
                q.r[2 * k][n][0] = b[0], q.r[2 * k][n][1] = b[1];
                if (2 * k + 1 < kPaddedD / 16)
                    q.r[2 * k + 1][n][0] = b[2], q.r[2 * k + 1][n][1] = b[3];
            }
    }
}

/* s += K Q' for columns 16 k .. 16 k + 15; a: K's registers of each 16 keys */
__device__ __forceinline__ void multiply_columns(float (&s)[kKeyTiles][kRowTiles][4], const unsigned (&a)[kKeyTiles][4],
                                                 const unsigned (&b)[kRowTiles][2])
{
#pragma unroll
    for (int n = 0; n < kRowTiles; n++)
#pragma unroll
        for (int t = 0; t < kKeyTiles; t++)
            mma_m16n8k16(s[t][n], a[t], b[n][0], b[n][1], mma_t());
}

/* s = K Q'; addresses are those of the lane's ldmatrix row. */
__device__ __forceinline__ void multiply_k(float (&s)[kKeyTiles][kRowTiles][4], const q_registers &q,
                                           unsigned k_address, unsigned q_address)
{
    unsigned raw[kKeyTiles][4];
#pragma unroll
    for (int k2 = 0; k2 < (kPaddedD + 31) / 32; k2++) {
        unsigned wide[kRowTiles][4];
        if constexpr (!kHoldQ) {
#pragma unroll
            for (int n = 0; n < kRowTiles; n++)
                load_q_columns(wide[n], q_address, n, k2);
        }
        if constexpr (kFp8) {
#pragma unroll
            for (int t = 0; t < kKeyTiles; t++)
                ldmatrix_x4(raw[t], columns_at(k_address + t * 16 * kPitchK, k2));
        }
#pragma unroll
        for (int half = 0; half < 2; half++) {
            if (k2 * 2 + half >= kPaddedD / 16)
                break;
            unsigned a[kKeyTiles][4], b[kRowTiles][2];
#pragma unroll
            for (int n = 0; n < kRowTiles; n++)
#pragma unroll
                for (int i = 0; i < 2; i++)
                    b[n][i] = kHoldQ ? q.r[kHoldQ ? k2 * 2 + half : 0][kHoldQ ? n : 0][i] : wide[n][half * 2 + i];
#pragma unroll
            for (int t = 0; t < kKeyTiles; t++) {
                if constexpr (kFp8) { /* raw: keys 0-7 and 8-15 of columns 0-15, then of 16-31 */
                    unpack_k(a[t], raw[t][half * 2], raw[t][half * 2 + 1]);
                } else {
                    ldmatrix_x4(a[t], columns_at(k_address + t * 16 * kPitchK, k2 * 2 + half));
                }
            }
            multiply_columns(s, a, b);
        }
    }
}

/* ---- the end of a piece ------------------------------------------------------------------------------ */

__device__ __forceinline__ void join() { __syncthreads(); }

#include "attention/decode_sums.cuh"

/* grid: CTAs of equal work, or kCluster for each (batch, KV head, q tile) in clusters; dynamic shared memory:
 * kStagesBytes + kQBytes + (kWarps * kRows * (kPitchO + 2) + 4) * 4 + kWarps * kQueue * sizeof(piece) bytes. */
extern "C" __global__ void __launch_bounds__(kThreads, kMinBlocks)
    triage_kernel(const __grid_constant__ args_t args)
{
    extern __shared__ __align__(16) float room[];
    unsigned char *const smem_raw = reinterpret_cast<unsigned char *>(room);
    const int lane = threadIdx.x % 32, warp = __shfl_sync(0xffffffffu, threadIdx.x / 32, 0);
    mma_t *q_smem = reinterpret_cast<mma_t *>(smem_raw + kStagesBytes);
    partial_view view;
    view.o = reinterpret_cast<float *>(smem_raw + kStagesBytes + kQBytes);
    view.ml = reinterpret_cast<float2 *>(view.o + kWarps * kRows * kPitchO);
    view.last = reinterpret_cast<int *>(view.ml + kWarps * kRows);
    piece *queue = reinterpret_cast<piece *>(view.last + 4) + warp * kQueue;

    loader from;
    from.walk = start_walk(args, lane);
    from.pieces = 0;
    if (from.walk.done())
        return; /* more CTAs than work */

    const unsigned ring = mma_smem_address(smem_raw) + warp * (kStages * kStageBytes);
    clear_q_padding(q_smem);
    if (kPaddedD > kD || kPaddedDv > kDv)
        for (int s = 0; s < kStages; s++) {
            char *stage = reinterpret_cast<char *>(smem_raw) + (warp * kStages + s) * kStageBytes;
            clear_padding<kD, kPaddedD, kPitchK>(stage, lane);
            clear_padding<kDv, kPaddedDv, kPitchV>(stage + kKeys * kPitchK, lane);
        }

    /* ldmatrix rows of this lane. K: 16 keys, then the next 16 bytes. V, transposed, 16-bit: 8 keys, then the
     * next 8 columns, then the next 8 keys; e4m3: 16 keys, then the next 16 columns. Q: 8 rows, then columns. */
    const unsigned k_lane = lane % 16 * kPitchK + lane / 16 * 16;
    const unsigned v_lane = kKeys * kPitchK + (kFp8 ? lane % 16 * kPitchV + lane / 16 * 16
                                                    : (lane % 8 + lane / 16 * 8) * kPitchV + lane / 8 % 2 * 16);
    const unsigned q_address = mma_smem_address(q_smem) + lane % 8 * kPitchQ + lane / 8 * 16;

    piece p = {};
    rows_of_unit rows = {};
    state st;
    q_registers q;
    limits see;
    float scale = 0.0f;
    unsigned taken = 0; /* pieces */
    int slot = 0, refill = 0;
    int ahead = -1; /* steps under way; the first call finds the first piece */
#pragma unroll 1
    for (;;) {
        const bool fresh = p.tile >= p.tile_end;
        q_pieces share;
        __syncwarp(); /* every lane has read the slot before */
#pragma unroll 1
        for (bool fetch = fresh; ahead < kStages; ahead++) {
            if (fetch && ahead >= 0) { /* a piece's Q is asked for before its first keys */
                fetch = false;
                __syncwarp();
                p = queue[taken % kQueue];
                rows = rows_of(args, p);
                if (kEarlyQ && p.at < from.walk.end)
                    fetch_q(share, args, rows);
            }
            load_step(from, args, ring + refill * kStageBytes, queue, warp, lane);
            refill = ahead < 0 || refill + 1 == kStages ? 0 : refill + 1;
        }
        if (fresh) {
            taken++;
            __syncthreads(); /* no warp still reads Q or the sums of the piece before */
            if (p.at >= from.walk.end)
                break;
            if constexpr (!kEarlyQ)
                fetch_q(share, args, rows);
            place_q(q_smem, share);
            __syncthreads();
            hold_q(q, q_address);
            see = limits_of(args, rows, lane);
            scale = scale_of(args, rows);
            clear(st);
        }
        if (p.tile < p.tile_end) { /* always, but for CTAs of a cluster */
            cp_async_wait<kStages - 1>();
            __syncwarp(); /* every lane's copies are there */
            float s[kKeyTiles][kRowTiles][4] = {};
            unsigned stage = ring + slot * kStageBytes;
            multiply_k(s, q, stage + k_lane, q_address);
            mask_scores(s, args, see, scale, p.tile * kTileKeys + warp * kKeys, lane);
            const float of_scores = kSoftcap ? 1.0f : scale;
            raise_maxima(st, s, of_scores);
#pragma unroll
            for (int t = 0; t < kKeyTiles; t++) {
                unsigned weight[kRowTiles][2];
                weights(weight, st, s[t], of_scores);
                multiply_v(st, weight, stage + v_lane + t * 16 * kPitchV);
            }
            slot = slot + 1 == kStages ? 0 : slot + 1;
            ahead--;
            p.tile++;
        }
        if (p.tile >= p.tile_end) {
            if constexpr (kCluster > 1) {
                finish_cluster(args, rows, st, view, reinterpret_cast<float *>(smem_raw), true, warp, lane);
                break;
            }
            finish_piece(args, rows, parts_of(args, from.walk, p), st, view, true, warp, lane);
        }
    }
    cp_async_wait<0>();
}
