/* attention for few queries against a cache of keys and values (decoding), by TMA and mma.sync (sm_90): bound by the time
 * that K and V take from device memory.
 *
 *   Q, K, V   rows of kD, kD, kDv, bases and strides multiples of 16 bytes; K and V contiguous or in pages; 1 key or more
 *   O         rows of kDv; LSE where it is wanted
 *
 * Rows, products, how keys are cut in pieces, the sums of pieces and the workspace are those of decode.cu. What differs is
 * how keys come, and by whom:
 *
 *   producer   pieces of this CTA                                 -> queue
 *   (1 warp)   K [tile_keys][d], V [tile_keys][dv], TMA           -> ring of kStages tiles
 *              full_k[], full_v[] by bytes, empty[] by warps
 *   consumers  warp w has keys w kKeys .. of each tile and meets the others at the end of a piece
 *
 * The producer asks for the first tiles before it meets the consumers. Meanwhile these run a step and the end of a piece on
 * whatever is where their sums will be (kWarm), since their code comes from cold memory, too.
 *
 * Shared operand layout: K [d / slab][tile_keys][128 bytes], V [dv / slab][tile_keys][128 bytes], as TMA writes them with its
 * 128-byte swizzle. Tensor maps {d, rows, heads, batch or page}, box {128 bytes, kRunKeys}. L2 is to fetch 128 bytes for a
 * box's row: with 256, those of neighbouring boxes come twice.
 */
#include <cuda_fp8.h>

#include "attention/args.h"
#include "lib/fp8.cuh"
#include "lib/mma.cuh"
#include "lib/ptx.cuh"
#include "lib/ring.cuh"
#include "lib/softmax.cuh"
#include "lib/tma_4d.cuh"

using in_t = {{in_type}};                   // Q, K, V: __half, __nv_bfloat16, __nv_fp8_e4m3
using out_t = {{out_type}};                 // O: __half, __nv_bfloat16, float
constexpr int kD = {{d}};                   // columns of Q and K: whole 128 bytes
constexpr int kDv = {{dv}};                 // columns of V and O: likewise
constexpr int kGroup = {{group}};           // query heads of a KV head
constexpr int kRows = {{rows}};             // rows of a CTA, a multiple of 8
constexpr int kKeys = {{keys}};             // keys of a warp's step: 16, 32
constexpr int kWarps = {{warps}};           // consumer warps of a CTA
constexpr int kStages = {{stages}};         // tiles under way or in use
constexpr int kCluster = {{cluster}};       // CTAs (a cluster) that share a (batch, KV head, q tile); 1: runs of equal length
constexpr bool kWarm = {{warm}};            // the consumers' code is fetched while the first keys come
constexpr int kPageSize = {{page_size}};    // rows of a page; 0: contiguous
constexpr bool kLeft = {{left}};            // keys too far to the left are not seen
constexpr bool kRight = {{right}};          // ... to the right (causal: args.right 0)
constexpr bool kTopLeft = {{top_left}};     // query i stands at key i, not at key i + sk - sq
constexpr bool kSoftcap = {{softcap}};
constexpr bool kLengths = {{lengths}};      // args.len_q or len_k is there
constexpr bool kOffsets = false;            // sequences are at strides

constexpr bool kFp8 = sizeof(in_t) == 1;
template <bool fp8> struct operand_of { using type = in_t; };
template <> struct operand_of<true> { using type = __half; };
using mma_t = operand_of<kFp8>::type;       // e4m3 becomes f16 in registers
using args_t = tri_attention_core_maps;

constexpr int kSize = sizeof(in_t);
constexpr int kThreads = kWarps * 32;       // consumers; the producer warp follows them
constexpr int kTileKeys = kWarps * kKeys;
constexpr int kKeyTiles = kKeys / 16;       // of 16 keys
constexpr int kRowTiles = kRows / 8;        // of 8 rows
constexpr int kSlabColumns = 128 / kSize;   // of a box
constexpr int kKSlabs = kD / kSlabColumns, kVSlabs = kDv / kSlabColumns;
constexpr int kSlabBytes = kTileKeys * 128;
constexpr int kStageBytes = (kKSlabs + kVSlabs) * kSlabBytes;
constexpr int kPageRows = kPageSize > 0 ? kPageSize : kTileKeys;
constexpr int kRunKeys = kPageRows < kTileKeys ? kPageRows : kTileKeys; // rows that lie one after another
constexpr int kRuns = kTileKeys / kRunKeys;
constexpr int kPaddedDv = kDv;
constexpr int kPitchO = kDv + 4;            // floats
constexpr int kSlotFloats = kRows * (kDv + 2);
constexpr bool kTail = kLengths || kPageSize > 0; // what follows the last key may be anything
constexpr int kQueue = kStages + 1;         // pieces that loads may be ahead, and the one in use
static_assert(kRows % 8 == 0 && kKeys % 16 == 0, "tiles of an mma");
static_assert(kD % kSlabColumns == 0 && kDv % kSlabColumns == 0, "whole boxes");
static_assert(kD / 16 * kRowTiles <= 16, "Q stays in registers");
static_assert(kTileKeys % kRunKeys == 0 && kPageRows % kRunKeys == 0 && kRunKeys % 8 == 0 && kRuns <= 32, "whole runs");

#include "attention/decode_rows.cuh"

#include "attention/decode_pieces.cuh"

struct sync_t {
    unsigned long long full_k[kStages], full_v[kStages], empty[kStages];
    piece queue[kQueue]; /* the last one is behind this CTA's run */
    int last; /* is this CTA the last one of the unit? */
};

constexpr int kSumsOffset = kStages * kStageBytes;
constexpr int kMlOffset = kSumsOffset + kWarps * kRows * kPitchO * 4;
constexpr int kSyncOffset = kMlOffset + kWarps * kRows * 8;
static_assert(!kWarm || ((kKSlabs > kVSlabs ? kKSlabs : kVSlabs) - 1) * kSlabBytes + kKeys * 128 <= kMlOffset - kSumsOffset,
              "what is run on nothing reads the sums' place");
extern __shared__ __align__(1024) float room[];
__device__ __forceinline__ unsigned char *shared(int at) { return reinterpret_cast<unsigned char *>(room) + at; }
__device__ __forceinline__ sync_t &sync() { return *reinterpret_cast<sync_t *>(shared(kSyncOffset)); }

/* ---- load: one warp ---------------------------------------------------------------------------------- */

/* The pages of a tile: lane i has that of run i. */
__device__ __forceinline__ int find_page(const args_t &args, const piece &p, int tile, int tile_end, int lane)
{
    int key = tile * kTileKeys + lane * kRunKeys;
    if (kPageSize == 0 || lane >= kRuns || key >= p.seq.sk || tile >= tile_end)
        return -1;
    return args.page_table[(long long)p.batch * args.page_stride + key / kPageRows];
}

template <int slabs>
__device__ __forceinline__ void load_rows(unsigned char *to, const void *map, unsigned long long *bar, int row, int head,
                                          int batch, unsigned long long policy)
{
#pragma unroll
    for (int slab = 0; slab < slabs; slab++)
        tma_load_4d(to + slab * kSlabBytes, map, bar, slab * kSlabColumns, row, head, batch, policy);
}

/* A tile into its slot. page: find_page's. */
__device__ __forceinline__ void load_tile(const args_t &args, const ring_t<kStages> &ring, const piece &p, int head,
                                          int tile, int page, bool one, int lane, unsigned long long policy)
{
    unsigned char *k = shared(ring.slot * kStageBytes), *v = k + kKSlabs * kSlabBytes;
    unsigned long long *full_k = &sync().full_k[ring.slot], *full_v = &sync().full_v[ring.slot];
    const int row = tile * kTileKeys;
    if constexpr (kPageSize == 0) {
        if (one) {
            mbarrier_arrive_expect_tx(full_k, kKSlabs * kSlabBytes);
            load_rows<kKSlabs>(k, &args.map_k, full_k, row, head, p.batch, policy);
            mbarrier_arrive_expect_tx(full_v, kVSlabs * kSlabBytes);
            load_rows<kVSlabs>(v, &args.map_v, full_v, row, head, p.batch, policy);
        }
    } else {
        const unsigned runs = __popc(__ballot_sync(0xffffffffu, page >= 0));
        if (one && runs > 0) {
            mbarrier_arrive_expect_tx(full_k, runs * kKSlabs * kRunKeys * 128);
            mbarrier_arrive_expect_tx(full_v, runs * kVSlabs * kRunKeys * 128);
        }
        __syncwarp();
        if (page >= 0) {
            const int from = (row + lane * kRunKeys) % kPageRows;
            load_rows<kKSlabs>(k + lane * kRunKeys * 128, &args.map_k, full_k, from, head, page, policy);
            load_rows<kVSlabs>(v + lane * kRunKeys * 128, &args.map_v, full_v, from, head, page, policy);
        }
        if (one && runs == 0) {
            mbarrier_arrive(full_k);
            mbarrier_arrive(full_v);
        }
    }
}

/* All warps, each from its own place: the consumers may look at the barriers. */
__device__ __forceinline__ void begin_together() { named_barrier_sync(2, kThreads + 32); }

__device__ __forceinline__ void let_consumers_begin()
{
    __syncwarp();
    if constexpr (kCluster > 1 && kWarm) { /* finish_cluster's first time */
        cluster_sync();
        cluster_sync();
    }
    begin_together();
}

__device__ __forceinline__ void produce(const args_t &args, walker &walk, int lane)
{
    const bool one = elect_one();
    const unsigned long long policy = l2_evict_first();
    const piece &p = walk.now;
    ring_t<kStages> ring;
    bool met = false;
    for (unsigned taken = 0;; taken++) {
        const int head = divide(p.unit, q_tiles_of(args));
        const int tile_end = walk.done() ? p.tile : p.tile_end;
        const bool empty = p.tile >= tile_end; /* which of a cluster's pieces may be, too */
        int tile = p.tile, page = find_page(args, p, tile, tile_end, lane);
        do {
            const int next_page = find_page(args, p, tile + 1, tile_end, lane);
            mbarrier_wait(&sync().empty[ring.slot], ring.parity ^ 1);
            if (tile == p.tile && one)
                sync().queue[taken % kQueue] = p;
            __syncwarp();
            if (!empty)
                load_tile(args, ring, p, head, tile, page, one, lane, policy);
            else if (one)
                mbarrier_arrive(&sync().full_k[ring.slot]);
            page = next_page;
            ring.advance();
            if (!met && (ring.slot == 0 || tile + 1 >= tile_end)) {
                let_consumers_begin();
                met = true;
            }
        } while (++tile < tile_end);
        if (kCluster > 1 || walk.done())
            break;
        next_piece(walk, args);
    }
    if constexpr (kCluster > 1) { /* finish_cluster */
        __syncwarp();
        cluster_sync();
        cluster_sync();
    }
}

/* ---- products ---------------------------------------------------------------------------------------- */

/* Of the lane's ldmatrix row at `address`, which is that of its first 32 bytes. Rows are 128 bytes, of which piece c of 16
 * lies where c ^ row % 8 says. */
__device__ __forceinline__ unsigned columns_at(unsigned address, int i)
{
    return (address ^ (i % 4 << 5)) + i / 4 * kSlabBytes;
}

#include "attention/decode_products.cuh"

struct q_registers {
    unsigned r[kD / 16][kRowTiles][2];
};

/* Of row g of each 8: 16-bit, columns 2q, 2q + 1 and 2q + 8, 2q + 9 of each 16; e4m3, the four neighbours from 4q on,
 * which are those that a lane gets of K. */
__device__ __forceinline__ void load_q(q_registers &q, const args_t &args, const rows_of_unit &rows, int lane)
{
#pragma unroll
    for (int n = 0; n < kRowTiles; n++) {
        const int row = rows.row0 + n * 8 + lane / 4;
        const unsigned *words = reinterpret_cast<const unsigned *>(q_row(args, rows, row)) + lane % 4;
        const bool there = row / kGroup < rows.sq;
#pragma unroll
        for (int k = 0; k < kD / 16; k++) {
            if constexpr (kFp8) {
                unsigned four = there ? __ldg(words + k * 4) : 0;
                q.r[k][n][0] = e4m3_to_f16(four);
                q.r[k][n][1] = e4m3_to_f16(four >> 16);
            } else {
                q.r[k][n][0] = there ? __ldg(words + k * 8) : 0;
                q.r[k][n][1] = there ? __ldg(words + k * 8 + 4) : 0;
            }
        }
    }
}

/* s = K Q'; address: of the lane's ldmatrix row. */
__device__ __forceinline__ void multiply_k(float (&s)[kKeyTiles][kRowTiles][4], const q_registers &q, unsigned address)
{
    unsigned raw[kKeyTiles][4];
#pragma unroll
    for (int k = 0; k < kD / 16; k++)
#pragma unroll
        for (int t = 0; t < kKeyTiles; t++) {
            unsigned a[4];
            if constexpr (kFp8) { /* raw: keys 0-7 and 8-15 of columns 0-15, then of 16-31 */
                if (k % 2 == 0)
                    ldmatrix_x4(raw[t], columns_at(address, k / 2) + t * 16 * 128);
                unpack_k(a, raw[t][k % 2 * 2], raw[t][k % 2 * 2 + 1]);
            } else {
                ldmatrix_x4(a, columns_at(address, k) + t * 16 * 128);
            }
#pragma unroll
            for (int n = 0; n < kRowTiles; n++)
                mma_m16n8k16(s[t][n], a, q.r[k][n][0], q.r[k][n][1], mma_t());
        }
}

/* The rows of V, of this warp's keys, from `valid` on become zeros: what is there may be NaN, and 0 * NaN is NaN. */
__device__ __forceinline__ void zero_tail(unsigned char *v, int valid, int warp, int lane)
{
    for (int i = max(0, valid) * 8 + lane; i < kKeys * 8; i += 32)
#pragma unroll
        for (int slab = 0; slab < kVSlabs; slab++)
            *reinterpret_cast<uint4 *>(v + slab * kSlabBytes + warp * kKeys * 128 + i * 16) = make_uint4(0, 0, 0, 0);
    fence_proxy_async(); /* before the slot is loaded again */
    __syncwarp();
}

/* ---- the end of a piece ------------------------------------------------------------------------------ */

__device__ __forceinline__ void join() { named_barrier_sync(1, kThreads); }

#include "attention/decode_sums.cuh"

__device__ __forceinline__ partial_view sums_of_cta()
{
    return {reinterpret_cast<float *>(shared(kSumsOffset)), reinterpret_cast<float2 *>(shared(kMlOffset)), &sync().last};
}

/* All consumers. real: else nothing is stored. */
__device__ __forceinline__ void finish(const args_t &args, const walker &walk, const piece &p, const rows_of_unit &rows,
                                       const state &st, bool real, int warp, int lane)
{
    const partial_view view = sums_of_cta();
    join(); /* no warp still reads the sums of the piece before */
    if constexpr (kCluster > 1)
        finish_cluster(args, rows, st, view, reinterpret_cast<float *>(shared(real ? 0 : kSumsOffset)), real, warp, lane);
    else
        finish_piece(args, rows, parts_of(args, walk, p), st, view, real, warp, lane);
}

/* ---- the consumers ----------------------------------------------------------------------------------- */

/* Read by the lane that tells the producer that its warp is done with it. */
__device__ __forceinline__ piece take_piece(const piece &queued, int lane)
{
    constexpr int kWords = sizeof(piece) / 4;
    piece p;
#pragma unroll
    for (int i = 0; i < kWords; i++) {
        int word = 0;
        if (lane == 0)
            word = reinterpret_cast<const int *>(&queued)[i];
        reinterpret_cast<int *>(&p)[i] = __shfl_sync(0xffffffffu, word, 0);
    }
    return p;
}

__device__ __forceinline__ void consume(const args_t &args, const walker &walk, int warp, int lane)
{
    /* ldmatrix rows of this lane. K: 16 keys, then the next 16 bytes. V, transposed, 16-bit: 8 keys, then the next 8
     * columns, then the next 8 keys; e4m3: 16 keys, then the next 16 columns. */
    const int v_row = kFp8 ? lane % 16 : lane % 8 + lane / 16 * 8, v_piece = kFp8 ? lane / 16 : lane / 8 % 2;
    const unsigned base = mma_smem_address(room) + warp * kKeys * 128;
    const unsigned k_lane = base + lane % 16 * 128 + ((lane / 16 ^ lane % 8) << 4);
    const unsigned v_lane = base + kKSlabs * kSlabBytes + v_row * 128 + ((v_piece ^ lane % 8) << 4);

    ring_t<kStages> ring;
    piece p = walk.now;
    rows_of_unit rows = rows_of(args, p);
    state st;
    q_registers q;
    load_q(q, args, rows, lane); /* beside the first keys */
    if (!kWarm)
        begin_together();
    bool real = !kWarm;
#pragma unroll 1
    for (unsigned taken = 0;;) {
        if (real) {
            mbarrier_wait(&sync().full_k[ring.slot], ring.parity);
            if (taken > 0) {
                p = take_piece(sync().queue[taken % kQueue], lane);
                if ((int)(p.at - walk.end) >= 0)
                    break;
                rows = rows_of(args, p);
                load_q(q, args, rows, lane);
            }
            taken++;
        }
        const limits see = limits_of(args, rows, lane);
        const float scale = scale_of(args, rows);
        const int tile_end = real ? p.tile_end : p.tile + 1;
        clear(st);
#pragma unroll 1
        for (int tile = p.tile; tile < tile_end; tile++) {
            const int key = tile * kTileKeys + warp * kKeys;
            if (real)
                mbarrier_wait(&sync().full_k[ring.slot], ring.parity);
            const unsigned slot = ring.slot * kStageBytes, k_slot = real ? slot : kSumsOffset - warp * kKeys * 128,
                           v_slot = real ? slot : k_slot - kKSlabs * kSlabBytes;
            float s[kKeyTiles][kRowTiles][4] = {};
            multiply_k(s, q, k_lane + k_slot);
            mask_scores(s, args, see, scale, key, lane);
            const float of_scores = kSoftcap ? 1.0f : scale;
            raise_maxima(st, s, of_scores);
            if (real)
                mbarrier_wait(&sync().full_v[ring.slot], ring.parity);
            if (kTail && real && key + kKeys > rows.sk)
                zero_tail(shared(slot + kKSlabs * kSlabBytes), rows.sk - key, warp, lane);
#pragma unroll
            for (int t = 0; t < kKeyTiles; t++) {
                unsigned weight[kRowTiles][2];
                weights(weight, st, s[t], of_scores);
                multiply_v(st, weight, v_lane + v_slot + t * 16 * 128);
            }
            __syncwarp(); /* every lane has read the slot */
            if (real) {
                if (lane == 0)
                    mbarrier_arrive(&sync().empty[ring.slot]);
                ring.advance();
            }
        }
        finish(args, walk, p, rows, st, real, warp, lane);
        if (kCluster > 1 && real)
            break;
        if (!real) {
            real = true;
            begin_together();
        }
    }
}

/* grid: CTAs of equal work, or kCluster for each (batch, KV head, q tile) in clusters; dynamic shared memory: kSyncOffset +
 * sizeof(sync_t) bytes. */
extern "C" __global__ void __launch_bounds__(kThreads + 32, 1)
    triage_kernel(const __grid_constant__ args_t args)
{
    const int lane = threadIdx.x % 32, warp = warp_uniform(threadIdx.x / 32);
    if (warp == kWarps && lane == 0) {
        tma_prefetch_map(&args.map_k);
        tma_prefetch_map(&args.map_v);
        for (int i = 0; i < kStages; i++) {
            mbarrier_init(&sync().full_k[i], 1);
            mbarrier_init(&sync().full_v[i], 1);
            mbarrier_init(&sync().empty[i], kWarps);
        }
        mbarrier_init_fence();
    }
    walker walk = start_walk(args, lane);
    if (walk.done())
        return; /* more CTAs than work */
    next_piece(walk, args);
    if (warp == kWarps)
        produce(args, walk, lane);
    else
        consume(args, walk, warp, lane);
}
