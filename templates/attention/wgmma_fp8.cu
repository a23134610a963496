/* Attention forward with TMA and wgmma on e4m3 (sm_90a): O = softmax(scale * Q K^T + mask) V, see args.h.
 *
 *   Q, K, V   e4m3; bases and strides of batch, head and row are multiples of 16 bytes (TMA); 1 key or more
 *   O         f16 or bf16, likewise; LSE in float32 on request
 *
 * A CTA owns tiles of kTileM queries of one head, one after another, and walks the keys of each in steps of kTileN,
 * from right to left, as wgmma.cu does. What differs is that a product of 8-bit operands takes both K-major, so that V
 * has to be turned, and that its sums keep 14 bits or so, so that those of a step move on to float32.
 *
 *   producer   warp 0: tile, Q, K and V by TMA             -> rings of Q, K, and of V as it lies
 *   (4 warps)  all:    V [tile_n][dv] -> [dv][tile_n]      -> ring of V turned                      wgmma_turn.cuh
 *   consumers  warpgroups of 64 queries; of step j
 *     tensor   S(j) = Q K(j)^T; then T = P(j) V(j), with kSplit of the first half of the keys earlier
 *     others   O += T, of the step before with kLate; mask, maximum, P(j) = 2^(S(j) - maximum + kWeightOffset), sums, O *= 2^(old - new maximum),
 *              P(j) -> e4m3, in registers: A of the next product
 *
 * With the warpgroups' softmaxes in turn (kPingPong) one's products run under another's exponentials.
 *
 * Shared operand layouts (rows of 128 bytes as TMA writes them with its 128-byte swizzle, see lib/wgmma.cuh):
 *   Q, K     [ceil(d / 128)][rows][128]          K-major A and B of S
 *   V raw    [ceil(dv / 128)][tile_n][128]       as it lies
 *   V turned [tile_n / kWidth][dv][kWidth]       K-major B of O, swizzled by its width
 * The order of keys in a turned row, and of its rows, is that in which registers hold P and store O: see wgmma_turn.cuh.
 * Tensor maps {d, rows, heads, batch} ({d, rows, heads} with offsets), swizzle 128:
 *   map_q  box {128, 64}     map_k, map_v  box {128, kTileN}
 * What lies behind d or the last row of the tensor arrives as zeros. Rows, and heads * batch * tiles, are below 2^29.
 */
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

#include "attention/args.h"
#include "lib/epilogue.cuh"
#include "lib/fp8_pack.cuh"
#include "lib/mma.cuh"
#include "lib/ptx.cuh"
#include "lib/ring.cuh"
#include "lib/softmax.cuh"
#include "lib/store.cuh"
#include "lib/tma_4d.cuh"
#include "lib/wgmma_shapes.cuh"

using in_t = {{in_type}};               // Q, K, V: __nv_fp8_e4m3
using out_t = {{out_type}};             // O: __half, __nv_bfloat16
constexpr int kD = {{d}};               // of Q and K: a multiple of 16
constexpr int kDv = {{dv}};             // of V and O: likewise
constexpr int kTileM = {{tile_m}};      // queries of a tile: 64 a consumer warpgroup
constexpr int kTileN = {{tile_n}};      // keys of a step: a multiple of 32
constexpr int kStages = {{stages}};     // pipeline stages of K and of transposed V
constexpr int kPingPong = {{ping_pong}}; // 1: warpgroups take turns at the softmax
constexpr int kLate = {{late}};         // 1: O += T while the next step's Q K runs; 0: at once, for fewer registers
constexpr int kSplit = {{split}};       // 1: P V of the first half of a step's keys overlaps the exponentials of the second
constexpr int kSkip = {{skip}};         // lazy rescaling: log2 of the growth up to which a row keeps its maximum; -1: O is rescaled in every step
constexpr int kLazy = {{lazy}};         // 1: steps that the mask does not cut look for no maximum: see wgmma_fp8_late.cuh
constexpr int kOrder = {{order}};       // order of the tiles: see locate
constexpr int kDynamic = {{dynamic}};   // 1: CTAs take tiles from a global counter (workspace: 2 zeros)
constexpr int kLeft = {{left}};         // 1: a window bounded at the left
constexpr int kRight = {{right}};       // 1: ... at the right (causal)
constexpr int kTopLeft = {{top_left}};  // 1: query 0 sees key 0, else the last query the last key
constexpr int kSoftcap = {{softcap}};   // 1: scores are capped
constexpr int kOffsets = {{offsets}};   // 1: sequences of their own lengths, one after another (cu_q, cu_k)
constexpr int kLengths = {{lengths}};   // 1: len_q or len_k is there

constexpr int kConsumers = kTileM / 64;          // warpgroups
constexpr int kThreads = 128 * (kConsumers + 1); // the last warpgroup produces
constexpr int kDSlabs = (kD + 127) / 128, kDvSlabs = (kDv + 127) / 128;
constexpr int kDvWide = kDv;                     // columns of the product
constexpr int kWidth = kTileN % 128 == 0 ? 128 : kTileN % 64 == 0 ? 64 : 32; // of a slab of V turned, in keys
constexpr int kQSlots = 2, kRawSlots = 2;
constexpr int kQBytes = kDSlabs * kTileM * 128, kKBytes = kDSlabs * kTileN * 128;
constexpr int kRawBytes = kDvSlabs * kTileN * 128, kVBytes = (kDv * kTileN + 1023) / 1024 * 1024;
constexpr int kFirstKeys = kSplit ? (kTileN > 128 ? 128 : 64) : 0; // of a step, whose P V is issued early
constexpr bool kZeroTail = kOffsets || kLengths; // what follows the last key may be anything
// Weights are up to 2^kOffset, and 2^kSkip times that: within 448, and small ones are not lost before 2^-9.
constexpr int kWeightOffset = 8 - (kSkip > 0 ? kSkip : 0);
// Registers: every thread is launched with as many; the producer warpgroup hands its own over.
constexpr int kProducerRegs = kConsumers == 1 ? 56 : kConsumers == 2 ? 40 : 32;
constexpr int kConsumerRegs = kConsumers == 1 ? 240 : kConsumers == 2 ? 232 : 160;
constexpr int kTileSlots = 4; // a tile is stored up to two tiles later, and Q of the one after that may be under way
constexpr float kLn2 = 0.69314718055994531f;
constexpr float kMostWeight = 448.0f;    // of e4m3
// No block mask: a step is one run of keys.
constexpr int kMaskM = 0, kBlockM = kTileM, kBlockN = kTileN, kUnit = kTileN, kUnits = 1;

static_assert(sizeof(in_t) == 1 && sizeof(out_t) == 2, "8-bit inputs, 16-bit results");
static_assert(kD % 16 == 0 && kDv % 16 == 0 && kD <= 256 && kDv <= 256, "rows of whole 16 bytes");
static_assert(kTileM % 64 == 0 && kConsumers >= 1 && kConsumers <= 3, "1 to 3 consumer warpgroups");
static_assert(kTileN % 32 == 0 && kTileN <= 256, "one product wide, whole products deep");
static_assert(kStages >= 2 && kSkip < 8, "rings, and weights within e4m3");
static_assert(kConsumers > 1 || !kPingPong, "turns need two");

using args_t = tri_attention_core_maps;

#include "attention/wgmma_rings.cuh"

struct tile_t : tile_fields_t {
    float scale, scale_v; // of scores, in units of log2, and of O
};

struct sync_t {
    unsigned long long q_full[kQSlots], q_empty[kQSlots];
    unsigned long long k_full[kStages], k_empty[kStages];
    unsigned long long v_full[kStages], v_empty[kStages];
    unsigned long long raw_full[kRawSlots], raw_empty[kRawSlots];
    tile_t tiles[kTileSlots];
    int valid[kRawSlots]; // keys of a slot that exist; kNoMore: it is none, and none follows
};
constexpr int kNoMore = -1;

constexpr int kKOffset = kQSlots * kQBytes;
constexpr int kRawOffset = kKOffset + kStages * kKBytes;
constexpr int kVOffset = kRawOffset + kRawSlots * kRawBytes;
constexpr int kSyncOffset = kVOffset + kStages * kVBytes;
constexpr int kSharedBytes = kSyncOffset + sizeof(sync_t); // what the launch gives
static_assert(kSharedBytes + 1024 <= 233472, "fits in an SM's shared memory");

#include "attention/wgmma_slots.cuh"
__device__ __forceinline__ unsigned char *raw_slot(int slot) { return shared + kRawOffset + slot * kRawBytes; }

#include "attention/wgmma_tiles.cuh"
#include "attention/wgmma_turn.cuh"

/* ---- load: warp 0 of the producer ---- */

/* Warp 0 goes through the tiles and brings what they need; it turns a step's V when the next step is on its way. */
struct producer_t {
    const args_t &args;
    const bool one = elect_one();
    const unsigned long long once = l2_evict_first(), often = l2_evict_last();
    const int group;
    ring_t<kQSlots> q_ring;
    ring_t<kStages> k_ring;
    ring_t<kRawSlots> raw_ring;
    turner_t turner;
    int count = 0; // tiles so far
    bool waiting = false; // a step's V is to be turned

    __device__ __forceinline__ explicit producer_t(const args_t &a) : args(a), group(a.heads_q / a.heads_kv), turner(0)
    {
    }
    /* -inf times 0 is no number, so that the scale is none. */
    __device__ __forceinline__ void find_scales(tile_t &tile) const
    {
        const int at = tile.batch * args.heads_kv + tile.head / group;
        tile.scale = args.scale_log2;
        if (args.scale_q) tile.scale *= args.scale_q[at];
        if (args.scale_k) tile.scale *= args.scale_k[at];
        tile.scale = fmaxf(tile.scale, 1e-30f);
        tile.scale_v = args.scale_v ? args.scale_v[at] : 1.0f;
    }
    __device__ __forceinline__ void load_q(tile_t &tile)
    {
        find_scales(tile);
        mbarrier_wait(&sync().q_empty[q_ring.slot], q_ring.parity ^ 1);
        if (one) {
            unsigned long long *full = &sync().q_full[q_ring.slot];
            sync().tiles[count % kTileSlots] = tile;
            mbarrier_arrive_expect_tx(full, kQBytes);
            for (int wg = 0; wg < kConsumers; ++wg)
                load_rows<kDSlabs, kTileM>(q_slot(q_ring.slot) + wg * 64 * 128, &args.map_q, full,
                                           tile.q_row + tile.m0 + wg * 64, tile.head, tile.batch, once);
        }
        q_ring.advance();
        ++count;
    }
    __device__ __forceinline__ void load_k(int row, int head, int batch)
    {
        mbarrier_wait(&sync().k_empty[k_ring.slot], k_ring.parity ^ 1);
        if (one) {
            unsigned long long *full = &sync().k_full[k_ring.slot];
            mbarrier_arrive_expect_tx(full, kKBytes);
            load_rows<kDSlabs, kTileN>(k_slot(k_ring.slot), &args.map_k, full, row, head, batch, often);
        }
        k_ring.advance();
    }
    __device__ __forceinline__ void load_raw(int row, int head, int batch, int valid)
    {
        mbarrier_wait(&sync().raw_empty[raw_ring.slot], raw_ring.parity ^ 1);
        if (one) {
            unsigned long long *full = &sync().raw_full[raw_ring.slot];
            sync().valid[raw_ring.slot] = valid;
            if (valid == kNoMore) {
                mbarrier_arrive(full);
            } else {
                mbarrier_arrive_expect_tx(full, kRawBytes);
                load_rows<kDvSlabs, kTileN>(raw_slot(raw_ring.slot), &args.map_v, full, row, head, batch, often);
            }
        }
        __syncwarp();
        raw_ring.advance();
    }
    __device__ __forceinline__ void load_tile(tile_t &tile)
    {
        load_q(tile);
        const int head = tile.head / group, k_row = kOffsets ? args.cu_k[tile.batch] : 0;
        for (int s = 0; s < tile.steps; ++s) {
            const int key = (tile.first - s) * kTileN;
            load_k(k_row + key, head, tile.batch);
            load_raw(k_row + key, head, tile.batch, tile.k_len - key);
            if (waiting) turner.turn();
            waiting = true;
        }
    }
    __device__ __forceinline__ void run()
    {
        tiles_t tiles(args);
        tile_t tile;
        while (tiles.get(tile)) load_tile(tile);
        load_raw(0, 0, 0, kNoMore);
        if (waiting) turner.turn();
        mbarrier_wait(&sync().q_empty[q_ring.slot], q_ring.parity ^ 1);
        if (one) {
            sync().tiles[count % kTileSlots].steps = -1;
            mbarrier_arrive(&sync().q_full[q_ring.slot]);
        }
        tiles.leave();
    }
};

/* ---- products ---- */

/* t = P V of keys from .. to - 1, or more of it */
template <int from, int to>
__device__ __forceinline__ void issue_values(float (&t)[kDvWide / 2], const unsigned (&p)[kTileN / 8], int v)
{
    const unsigned long long b = wgmma_desc<kWidth>(v_slot(v), 0, 8 * kWidth);
#pragma unroll
    for (int i = from / 32; i < to / 32; ++i)
        wgmma_rs<in_t, kDvWide, 0>::mma(
            t, p + 4 * i, wgmma_desc_advance(b, i * 32 / kWidth * kDv * kWidth + i * 32 % kWidth), i > 0);
    wgmma_commit();
}

#include "attention/wgmma_softmax.cuh"
#include "attention/wgmma_fp8_late.cuh"
#include "attention/wgmma_store.cuh"

/* Scores of keys from .. to - 1 -> weights, added to the sums. */
template <int from, int to>
__device__ __forceinline__ void weigh(float (&s)[kTileN / 2], float (&sum)[2][2], const float (&base)[2], float scale)
{
#pragma unroll
    for (int i = from / 2; i < to / 2; ++i) {
        const int r = i / 2 % 2;
        s[i] = exp2_fast(fmaf(s[i], scale, -base[r]));
        sum[r][i % 2] += s[i];
    }
}

__device__ __forceinline__ void add_sums(rows_t &rows, const float (&sum)[2][2])
{
    rows.sum[0] += sum[0][0] + sum[0][1];
    rows.sum[1] += sum[1][0] + sum[1][1];
}

/* As e4m3: sums of 32 columns are A of a k32 as they lie, for the order of keys that V has been turned into. */
template <int from, int to>
__device__ __forceinline__ void pack_weights(unsigned (&p)[kTileN / 8], const float (&s)[kTileN / 2])
{
#pragma unroll
    for (int i = from / 8; i < to / 8; ++i) {
        const int at = i / 2 * 8 + i % 2 * 2;
        p[i] = pack4(s[at], s[at + 1], s[at + 4], s[at + 5]);
    }
}

/* O from registers. Of 16 columns a lane has four side by side of a row; two lanes exchange halves of 32 columns, so
 * that each has 16 bytes of one. */
__device__ __forceinline__ void store_columns(const args_t &args, const float (&o)[kDvWide / 2],
                                              const float (&inverse)[2], const place_t &place)
{
    const int q = threadIdx.x % 4, odd = q % 2;
    out_t *out = static_cast<out_t *>(args.o) + place.batch * args.o_stride.batch + place.head * args.o_stride.head;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        const bool exists = place.row + r * 8 < place.end;
        out_t *to = out + (place.at + r * 8) * args.o_stride.row;
#pragma unroll
        for (int i = 0; i < (kDv + 31) / 32; ++i) {
            unsigned v[2][2];
#pragma unroll
            for (int t = 0; t < 2; ++t) {
                const int j = (i * 16 + t * 8 + r * 2) % (kDvWide / 2); // a piece past the last one is not stored
                v[t][0] = pack2<out_t>(o[j] * inverse[r], o[j + 4] * inverse[r]);
                v[t][1] = pack2<out_t>(o[j + 1] * inverse[r], o[j + 5] * inverse[r]);
            }
            const unsigned low = __shfl_xor_sync(0xffffffffu, odd ? v[0][0] : v[1][0], 1);
            const unsigned high = __shfl_xor_sync(0xffffffffu, odd ? v[0][1] : v[1][1], 1);
            const int column = i * 32 + odd * 16 + q / 2 * 8;
            if (exists && (kDv % 32 == 0 || column < kDv))
                *reinterpret_cast<uint4 *>(to + column) = odd ? make_uint4(low, high, v[1][0], v[1][1])
                                                              : make_uint4(v[0][0], v[0][1], low, high);
        }
    }
}

/* ---- compute and store ---- */

/* A consumer warpgroup. S, P, T and O are in registers; the rings' positions are those of the next use. */
struct consumer_t {
    const args_t &args;
    const int wg;
    float scale = 0.0f, cap = 0.0f; // scores -> log2 units; soft cap: scores -> argument of tanh
    float s[kTileN / 2], t[kDvWide / 2], o[kDvWide / 2];
    unsigned p[kTileN / 8];
    rows_t rows;
    int count = 0;                      // tiles so far; the next one's slot
    int steps, first, masked, free_end; // of this tile
    limits_t limits;
    int k_valid; // keys of this tile's step 0; kTileN or less: the rest of the block is none
    ring_t<kStages> k_ring, v_ring;

    __device__ __forceinline__ consumer_t(const args_t &a, int w) : args(a), wg(w)
    {
        clear();
    }
    __device__ __forceinline__ void clear()
    {
#pragma unroll
        for (int i = 0; i < kDvWide / 2; ++i) o[i] = 0.0f;
    }
    __device__ __forceinline__ void begin_turn() const
    {
        if constexpr (kPingPong) named_barrier_sync(1 + wg, 256);
    }
    __device__ __forceinline__ void end_turn() const
    {
        if constexpr (kPingPong) named_barrier_arrive(1 + (wg + 1) % kConsumers, 256);
    }
    /* Waits for the next tile; false: there is none. */
    __device__ __forceinline__ bool take_tile()
    {
        mbarrier_wait(&sync().q_full[count % kQSlots], count / kQSlots & 1);
        const tile_t &tile = sync().tiles[count % kTileSlots];
        steps = read_field(tile.steps);
        if (steps < 0) return false;
        first = read_field(tile.first);
        masked = kRight ? read_field(tile.masked) : 1;
        free_end = kLeft ? read_field(tile.free_end) : steps;
        const int k_len = read_field(tile.k_len);
        k_valid = k_len - first * kTileN;
        limits = find_limits(args, read_field(tile.m0), read_field(tile.q_len), k_len, wg);
        scale = read_field(tile.scale);
        if constexpr (kSoftcap) {
            cap = scale * kLn2 / args.softcap;
            scale = args.softcap * 1.44269504f;
        }
        return true;
    }
    __device__ __forceinline__ void start_scores()
    {
        wgmma_fence_registers(s);
        wgmma_fence();
        issue_scores(s, count % kQSlots, k_ring.slot, wg);
    }
    __device__ __forceinline__ void end_scores()
    {
        wgmma_wait<0>();
        wgmma_fence_registers(s);
        if constexpr (kSoftcap) cap_scores(s, cap); // before the mask: it makes -1 of -inf
    }
    /* K, and after the last step Q, may be overwritten. */
    __device__ __forceinline__ void release_scores(int step)
    {
        arrive(&sync().k_empty[k_ring.slot]);
        k_ring.advance();
        if (step == steps - 1) arrive(&sync().q_empty[count % kQSlots]);
    }
    /* T = P V, from its beginning or on */
    template <int from, int to>
    __device__ __forceinline__ void start_values()
    {
        wgmma_fence_registers(t);
        wgmma_keep_registers(p);
        wgmma_fence();
        issue_values<from, to>(t, p, v_ring.slot);
    }
    __device__ __forceinline__ void wait_values()
    {
        wgmma_wait<0>();
        wgmma_fence_registers(t);
        wgmma_keep_registers(p);
    }
    __device__ __forceinline__ void add_values()
    {
#pragma unroll
        for (int i = 0; i < kDvWide / 2; ++i) o[i] += t[i];
    }
    template <bool cut>
    __device__ __forceinline__ bool raise(float (&rescale)[2], float (&base)[2])
    {
        const bool moved = raise_maximum<cut>(s, rows, rescale, base, scale);
        base[0] -= kWeightOffset;
        base[1] -= kWeightOffset;
        return moved;
    }
    template <int from, int to>
    __device__ __forceinline__ void weigh_keys(const float (&base)[2])
    {
        float sum[2][2] = {};
        weigh<from, to>(s, sum, base, scale);
        add_sums(rows, sum);
    }
    /* Some weights are too large, or no numbers: the rows' maxima rise, and what was summed before them becomes less. */
    __device__ __forceinline__ void correct(float (&sum)[2][2])
    {
        float rescale[2], base[2];
        if (shrink(s, sum, rows, rescale)) {
            rescale_sums(o, true, rescale);
            return;
        }
        redo_scores(s, q_slot(count % kQSlots), k_slot(k_ring.slot), wg);
        if constexpr (kSoftcap) cap_scores(s, cap);
        rescale_sums(o, raise<true>(rescale, base), rescale);
        sum[0][0] = sum[0][1] = sum[1][0] = sum[1][1] = 0.0f;
        weigh<0, kTileN>(s, sum, base, scale);
    }
    /* Scores of keys that no mask cuts -> weights in p, by the maxima that there are. */
    __device__ __forceinline__ void make_weights_lazily(int step)
    {
        const float base[2] = {rows.maximum[0] - kWeightOffset, rows.maximum[1] - kWeightOffset};
        float sum[2][2] = {};
        weigh<0, kTileN>(s, sum, base, scale);
        if (are_large(sum)) correct(sum);
        add_sums(rows, sum);
        release_scores(step); // only here: they may be made again
        pack_weights<0, kTileN>(p, s);
    }
    /* Scores -> weights in p; with kSplit P V of the first of them has begun. */
    template <bool cut>
    __device__ __forceinline__ void make_weights()
    {
        float rescale[2], base[2];
        const bool moved = raise<cut>(rescale, base);
        if constexpr (kSplit) {
            weigh_keys<0, kFirstKeys>(base);
            pack_weights<0, kFirstKeys>(p, s);
            start_values<0, kFirstKeys>();
        }
        weigh_keys<kFirstKeys, kTileN>(base);
        rescale_sums(o, moved, rescale);
        pack_weights<kFirstKeys, kTileN>(p, s);
    }
    /* Scores, weights, values. `meanwhile`: what is to be done with the sums up to the step before, under the scores. */
    template <bool cut, class meanwhile_t>
    __device__ __forceinline__ void do_step(int step, meanwhile_t meanwhile)
    {
        constexpr bool lazy = kLazy && !cut;
        mbarrier_wait(&sync().k_full[k_ring.slot], k_ring.parity);
        start_scores();
        meanwhile();
        end_scores();
        if constexpr (!lazy) release_scores(step);
        if constexpr (cut) {
            if (kLeft || kRight || k_valid < kTileN) apply_mask(s, limits, first - step);
        }
        if constexpr (kSplit) mbarrier_wait(&sync().v_full[v_ring.slot], v_ring.parity);
        begin_turn();
        if constexpr (lazy)
            make_weights_lazily(step);
        else
            make_weights<cut>();
        end_turn();
        if constexpr (!kSplit) mbarrier_wait(&sync().v_full[v_ring.slot], v_ring.parity);
        start_values<kFirstKeys, kTileN>();
        wait_values();
        arrive(&sync().v_empty[v_ring.slot]);
        v_ring.advance();
        if constexpr (!kLate) add_values();
    }
    template <bool cut>
    __device__ __forceinline__ void next_step(int step)
    {
        do_step<cut>(step, [&] {
            if constexpr (kLate) add_values();
        });
    }
    /* The tile before this one. */
    __device__ __forceinline__ void store(rows_t done)
    {
        const tile_t &tile = sync().tiles[(count - 1) % kTileSlots];
        const float scale_v = read_field(tile.scale_v);
        const place_t place = find_place(tile, wg);
        float inverse[2];
        done.maximum[0] -= kWeightOffset;
        done.maximum[1] -= kWeightOffset;
        finish_rows(args, done, place, inverse);
        inverse[0] *= scale_v;
        inverse[1] *= scale_v;
        store_columns(args, o, inverse, place);
        clear();
    }
    /* begun: there is a tile before this one, to be stored. */
    __device__ __forceinline__ void first_step(bool begun)
    {
        const rows_t done = rows;
        rows = rows_t();
        do_step<true>(0, [&] {
            if (begun) store(done);
        });
    }
    __device__ __forceinline__ void rest_of_tile()
    {
        int step = 1;
#pragma unroll 1
        for (; step < masked; ++step) next_step<true>(step);
#pragma unroll 1
        for (; step < free_end; ++step) next_step<false>(step);
        if constexpr (kLeft) {
#pragma unroll 1
            for (; step < steps; ++step) next_step<true>(step);
        }
        if constexpr (kLate) add_values(); // not beside the next tile's scores: ptxas would wait for these first
    }
    __device__ __forceinline__ void run()
    {
        if (wg == kConsumers - 1) end_turn(); // the first turn is warpgroup 0's
        if (!take_tile()) return;
        if constexpr (!kSplit) first_step(false); // apart from the others: for ptxas 13.0 the other way spills, with kSplit this one
        for (;;) {
            if constexpr (kSplit) first_step(count > 0);
            rest_of_tile();
            ++count;
            if (!take_tile()) break;
            if constexpr (!kSplit) first_step(true);
        }
        store(rows);
    }
};

__device__ __forceinline__ void init_barriers()
{
    for (int i = 0; i < kQSlots; ++i) {
        mbarrier_init(&sync().q_full[i], 1);
        mbarrier_init(&sync().q_empty[i], kConsumers * 4);
    }
    for (int i = 0; i < kStages; ++i) {
        mbarrier_init(&sync().k_full[i], 1);
        mbarrier_init(&sync().k_empty[i], kConsumers * 4);
        mbarrier_init(&sync().v_full[i], 4);
        mbarrier_init(&sync().v_empty[i], kConsumers * 4);
    }
    for (int i = 0; i < kRawSlots; ++i) {
        mbarrier_init(&sync().raw_full[i], 1);
        mbarrier_init(&sync().raw_empty[i], 4);
    }
    mbarrier_init_fence();
}

/* grid: at most what is resident at once; kSharedBytes of shared memory. */
extern "C" __global__ void __launch_bounds__(kThreads, 1)
    triage_kernel(const __grid_constant__ args_t args)
{
    const int wg = warp_uniform(threadIdx.x / 128);
    if (threadIdx.x == 0) {
        init_barriers();
        tma_prefetch_map(&args.map_q);
        tma_prefetch_map(&args.map_k);
        tma_prefetch_map(&args.map_v);
    }
    __syncthreads();
    if (wg == kConsumers) {
        setmaxnreg_dec<kProducerRegs>();
        const int warp = warp_uniform(threadIdx.x / 32) % 4;
        if (warp == 0) {
            producer_t producer(args);
            producer.run();
        } else {
            turner_t turner(warp);
            while (turner.turn()) {
            }
        }
    } else {
        setmaxnreg_inc<kConsumerRegs>();
        consumer_t consumer(args, wg);
        consumer.run();
    }
}
