/* Attention forward with TMA and wgmma (sm_90a): O = softmax(scale * Q K^T + mask) V, see args.h.
 *
 *   Q, K, V   f16 or bf16; bases and strides of batch, head and row are multiples of 16 bytes (TMA); 1 key or more
 *   O         f16 or bf16, likewise; LSE in float32 on request
 *
 * A CTA owns tiles of kTileM queries of one head, one after another, and walks the keys of each in steps of kTileN,
 * from right to left; with a block mask in the order of the lists, the partial blocks first.
 *
 *   producer   tile (rows, head, limits of the mask), Q            -> Q ring (kQSlots)       wgmma_tiles.cuh
 *   (1 warp)   K [tile_n][d], V [tile_n][dv], TMA                  -> K ring, V ring         wgmma_load.cuh
 *              full[] by bytes, empty[] by warps
 *   consumers  warpgroups of 64 queries; of step j
 *     tensor   S(j) = Q K(j)^T, then O += P(j-1) V(j-1)            issued together
 *     others   mask, maximum, P(j) = 2^(S(j) - maximum), sums,                               wgmma_softmax.cuh
 *              O *= 2^(old - new maximum), P(j) -> 16 bits, in registers: A of the next product
 *
 * The pipeline does not drain between tiles: the first S of a tile is issued together with the last product of
 * the tile before, which is then divided by its sums and stored (wgmma_store.cuh).
 *
 * kUnder 4: the exponentials run under P(j-1) V(j-1), what is left of the step behind it. 0: only the maximum does,
 * and exponentials, rescale and packing mix; 1 to 3: so many quarters run under it, and the others mix.
 * kPingPong 1: the warpgroups issue their products in turn. 2, 3: they do their softmax (its exponentials) in turn,
 * so that one's runs under the others' products and does not slow theirs.
 *
 * Only steps on an edge of the mask look at it: those at the right (causal, the end of the keys) come first, those
 * at the left end of a window last. A row that has seen no key yet has the maximum -inf, which only the steps on an
 * edge must take care of. With a block mask a step gathers runs of keys from several blocks (kUnits of kUnit), and
 * brings along whether the next step is on an edge.
 *
 * Shared operand layouts (rows of 128 bytes as TMA writes them with its 128-byte swizzle, see lib/wgmma.cuh):
 *   Q   [ceil(d / 64)][tile_m][64]     K-major A; with kStoreTma O goes out through it
 *   K   [ceil(d / 64)][tile_n][64]     K-major B of S
 *   V   [ceil(dv / 64)][tile_n][64]    MN-major B of O
 * Tensor maps {d, rows, heads, batch} ({d, rows, heads} with offsets), swizzle 128:
 *   map_q, map_o  box {64, 64}     map_k, map_v  box {64, kUnit}
 * What lies behind d or the last row of the tensor arrives as zeros. Rows, and heads * batch * tiles, are below 2^29.
 */
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "attention/args.h"
#include "lib/epilogue.cuh"
#include "lib/ptx.cuh"
#include "lib/ring.cuh"
#include "lib/softmax.cuh"
#include "lib/store.cuh"
#include "lib/tma_4d.cuh"
#include "lib/wgmma_shapes.cuh"

using in_t = {{in_type}};               // Q, K, V: __half, __nv_bfloat16
using out_t = {{out_type}};             // O: __half, __nv_bfloat16
constexpr int kD = {{d}};               // of Q and K: a multiple of 8
constexpr int kDv = {{dv}};             // of V and O: likewise
constexpr int kTileM = {{tile_m}};      // queries of a tile: 64 a consumer warpgroup
constexpr int kTileN = {{tile_n}};      // keys of a step
constexpr int kStages = {{stages}};     // pipeline stages of K and of V
constexpr int kQSlots = {{q_slots}};    // buffers of Q: 1 or 2
constexpr int kPingPong = {{ping_pong}}; // warpgroups take turns: 1 issuing products, 2 at the softmax, 3 at its exponentials; 0: no
constexpr int kApart = {{apart}};       // 1: a tile's first Q K is issued after the last P V of the tile before, not with it
constexpr int kOrder = {{order}};       // order of the tiles: see locate
constexpr int kDynamic = {{dynamic}};   // 1: CTAs take tiles from a global counter (workspace: 2 zeros)
constexpr int kPBuffers = {{p_buffers}}; // 2: P is converted to 16 bits during the previous P V, for more registers
constexpr int kUnder = {{under}};       // quarters of the exponentials that run under P V of the step before; 0: none, and the
                                        // compiler may take some
constexpr int kSkip = {{skip}};         // log2 of the growth up to which a row keeps its maximum; -1: O is always rescaled. With the
                                        // parameter late no maxima are looked for where no mask cuts (wgmma_late.cuh)
constexpr int kStoreTma = {{store_tma}}; // 1: O is staged in its tile's Q buffer and stored by TMA; 0: from registers
constexpr int kLeft = {{left}};         // 1: a window bounded at the left
constexpr int kRight = {{right}};       // 1: ... at the right (causal)
constexpr int kTopLeft = {{top_left}};  // 1: query 0 sees key 0, else the last query the last key
constexpr int kSoftcap = {{softcap}};   // 1: scores are capped
constexpr int kOffsets = {{offsets}};   // 1: sequences of their own lengths, one after another (cu_q, cu_k)
constexpr int kLengths = {{lengths}};   // 1: len_q or len_k is there
constexpr int kMaskM = {{mask_m}};      // rows of a block of the mask, a multiple of kTileM; 0: no block mask
constexpr int kMaskN = {{mask_n}};      // keys of a block of the mask
constexpr int kCtasPerSm = {{ctas_per_sm}};

constexpr int kConsumers = kTileM / 64;          // warpgroups
constexpr int kThreads = 128 * (kConsumers + 1); // the last warpgroup's first warp produces
constexpr int kDSlabs = (kD + 63) / 64, kDvSlabs = (kDv + 63) / 64;
constexpr int kDvWide = (kDv + 15) / 16 * 16;    // columns of the product
constexpr int kQBytes = kDSlabs * kTileM * 128, kKBytes = kDSlabs * kTileN * 128, kVBytes = kDvSlabs * kTileN * 128;
constexpr bool kZeroTail = kOffsets || kLengths; // what follows the last key may be anything
// Block mask: a step gathers kUnits runs of kUnit keys; a block of the mask is one or more of them.
constexpr int kBlockM = kMaskM > 0 ? kMaskM : kTileM, kBlockN = kMaskM > 0 ? kMaskN : kTileN;
constexpr int kUnit = kBlockN < kTileN ? kBlockN : kTileN, kUnits = kTileN / kUnit;
// Registers: every thread is launched with as many; the producer warpgroup hands its own over.
constexpr int kLaunchRegs = 65536 / kCtasPerSm / kThreads / 8 * 8;
constexpr int kProducerRegs = kConsumers == 2 ? 24 : 32;
constexpr int kSpareRegs = (kLaunchRegs * (kConsumers + 1) - kProducerRegs) / kConsumers / 8 * 8;
constexpr int kConsumerRegs = kSpareRegs < 240 ? kSpareRegs : 240;
constexpr int kTileSlots = 4; // a tile is stored up to two tiles later, and Q of the one after that may be under way
constexpr float kLn2 = 0.69314718055994531f;

static_assert(sizeof(in_t) == 2 && sizeof(out_t) == 2, "16-bit types");
static_assert(kD % 8 == 0 && kDv % 8 == 0 && kD <= 256 && kDv <= 256, "rows of whole 16 bytes");
static_assert(kTileM % 64 == 0 && kConsumers >= 1 && kConsumers <= 3, "1 to 3 consumer warpgroups");
static_assert(kTileN % 16 == 0 && kTileN <= 256, "one product wide");
static_assert(kStages >= 2 && kQSlots >= 1 && kQSlots <= 2, "the next K comes before the last V");
static_assert(!kApart || kQSlots == 1, "Q of the next tile is not there earlier");
static_assert(kPBuffers == 1 || kUnder == 4, "P is packed under a product only where all exponentials are");
static_assert(kConsumers > 1 || !kPingPong, "turns need two");
static_assert(kBlockM % kTileM == 0 && kTileN % kUnit == 0 && kBlockN % kUnit == 0 && kUnit % 16 == 0,
              "a tile has one list, a step whole runs");
static_assert(!kStoreTma || (kQSlots == 2 && kDvSlabs <= kDSlabs && !kZeroTail),
              "O fits where Q was, the next Q is elsewhere, and what is behind the last query is outside the tensor");
static_assert(kMaskM == 0 || !kZeroTail, "block masks come with sequences of one length");

template <int masked>
struct args_of {
    using type = tri_attention_args;
};
template <>
struct args_of<0> {
    using type = tri_attention_core_maps;
};
using args_t = args_of<kMaskM>::type;

#include "attention/wgmma_rings.cuh"

using tile_t = tile_fields_t;

struct sync_t {
    unsigned long long q_full[kQSlots], q_empty[kQSlots];
    unsigned long long k_full[kStages], k_empty[kStages];
    unsigned long long v_full[kStages], v_empty[kStages];
    tile_t tiles[kTileSlots];
    gathered_t gathered[kMaskM > 0 ? kStages : 1];
};

constexpr int kKOffset = kQSlots * kQBytes;
constexpr int kVOffset = kKOffset + kStages * kKBytes;
constexpr int kSyncOffset = kVOffset + kStages * kVBytes;
constexpr int kSharedBytes = kSyncOffset + sizeof(sync_t); // what the launch gives
static_assert((kSharedBytes + 1024) * kCtasPerSm <= 233472, "fits in an SM's shared memory");

#include "attention/wgmma_slots.cuh"

#include "attention/wgmma_tiles.cuh"
{{#sections}}
constexpr int kSections = {{sections}}; // heads of a section, in those that fill half of L2
static_assert(!kZeroTail && kOrder == 1, "sections of sequences of one length");
#include "attention/wgmma_sections.cuh"
{{/sections}}

#include "attention/wgmma_load.cuh"

/* ---- products ---- */

/* o = P V + (keep ? o : 0) */
__device__ __forceinline__ void issue_values(float (&o)[kDvWide / 2], const unsigned (&p)[kTileN / 4], int v,
                                             bool keep)
{
    const unsigned long long b = wgmma_desc<128>(v_slot(v), kTileN * 128, 1024);
#pragma unroll
    for (int i = 0; i < kTileN / 16; ++i)
        wgmma_rs<in_t, kDvWide, 1>::mma(o, p + 4 * i, wgmma_desc_advance(b, i * 2048), keep || i > 0);
    wgmma_commit();
}

/* Rows `valid` and up of a V slot become zeros: what is there may be NaN, and 0 * NaN is NaN. Each warpgroup
 * does it for itself. */
__device__ __forceinline__ void zero_tail(int slot, int valid, int wg)
{
    const int chunks = (kTileN - valid) * 8;
#pragma unroll
    for (int slab = 0; slab < kDvSlabs; ++slab)
        for (int i = threadIdx.x % 128; i < chunks; i += 128)
            reinterpret_cast<uint4 *>(v_slot(slot) + slab * kTileN * 128)[valid * 8 + i] = make_uint4(0, 0, 0, 0);
    fence_proxy_async();
    named_barrier_sync(1 + kConsumers + wg, 128);
}

#include "attention/wgmma_softmax.cuh"

#include "attention/wgmma_store.cuh"
{{#late}}

#include "attention/wgmma_late.cuh"

static_assert(kPBuffers == 1 && kUnder == 4 && kPingPong < 3, "P is packed when its row's sums have been looked at");
{{/late}}

/* ---- compute and store ---- */

/* A consumer warpgroup. S, P and O are in registers; the rings' positions are those of the next use. */
struct consumer_t {
    const args_t &args;
    const int wg;
    float scale, cap; // scores -> log2 units; soft cap: scores -> argument of tanh
    float s[kTileN / 2], o[kDvWide / 2];
    unsigned p[kPBuffers][kTileN / 4]; // one may be read by a product while the next is made
    rows_t rows;
    bool fresh = true;         // the next P V is the first of its tile
    int storing = -1;          // the Q slot that a tile's O may still be in
    int count = 0;             // tiles so far; the next one's slot
    int steps, first, masked, free_end; // of this tile
    int block_row, next;       // block mask: of this lane's first row; the kind of the next step
    limits_t limits;
    int k_valid, v_valid; // keys of this tile's step 0, of the next V; kTileN or less: the rest of the block is none
    ring_t<kStages> k_ring, v_ring;

    __device__ __forceinline__ consumer_t(const args_t &a, int w) : args(a), wg(w)
    {
        scale = kSoftcap ? args.softcap * 1.44269504f : args.scale_log2;
        cap = kSoftcap ? args.scale_log2 * kLn2 / args.softcap : 0.0f;
    }
    template <int at>
    __device__ __forceinline__ void begin_turn() const
    {
        if constexpr (kPingPong == at) named_barrier_sync(1 + wg, 256);
    }
    template <int at>
    __device__ __forceinline__ void end_turn() const
    {
        if constexpr (kPingPong == at && at > 0) named_barrier_arrive(1 + (wg + 1) % kConsumers, 256);
    }
    __device__ __forceinline__ void end_turns() const
    {
        end_turn<2>();
        end_turn<3>();
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
        if constexpr (kMaskM > 0)
            block_row = (read_field(tile.m0) + wg * 64 + threadIdx.x % 128 / 32 * 16 + threadIdx.x % 32 / 4) % kBlockM;
        limits = find_limits(args, read_field(tile.m0), read_field(tile.q_len), k_len, wg);
        return true;
    }
    __device__ __forceinline__ void start_scores()
    {
        mbarrier_wait(&sync().k_full[k_ring.slot], k_ring.parity);
        begin_turn<1>();
        wgmma_fence_registers(s);
        wgmma_fence();
        issue_scores(s, count % kQSlots, k_ring.slot, wg);
        if constexpr (kMaskM > 0) next = read_field(sync().gathered[k_ring.slot].next);
    }
    __device__ __forceinline__ void start_values(unsigned (&a)[kTileN / 4])
    {
        mbarrier_wait(&sync().v_full[v_ring.slot], v_ring.parity);
        if constexpr (kZeroTail) {
            if (v_valid < kTileN) zero_tail(v_ring.slot, v_valid, wg);
            v_valid = kTileN;
        }
        wgmma_fence_registers(o);
        wgmma_keep_registers(a);
        wgmma_fence();
        issue_values(o, a, v_ring.slot, !fresh);
        fresh = false;
    }
    /* The scores are there and are masked; K, and after the last step Q, may be overwritten. */
    template <bool cut>
    __device__ __forceinline__ void end_scores(int step)
    {
        wgmma_fence_registers(s);
        if constexpr (kSoftcap) cap_scores(s, cap); // before the mask: it makes -1 of -inf
        bool last = step == steps - 1;
        if constexpr (kMaskM > 0) {
            last = next == kNextNone;
            if constexpr (cut) apply_gathered(args, s, limits, sync().gathered[k_ring.slot], block_row);
        }
        arrive(&sync().k_empty[k_ring.slot]);
        k_ring.advance();
        if constexpr (!kStoreTma) { // else when O is out
            if (last) arrive(&sync().q_empty[count % kQSlots]);
        }
        if constexpr (kMaskM == 0 && cut) {
            if (kLeft || kRight || k_valid < kTileN) apply_mask(s, limits, first - step);
        }
    }
    __device__ __forceinline__ void end_values(unsigned (&a)[kTileN / 4])
    {
        wgmma_wait<0>();
        wgmma_fence_registers(o);
        wgmma_keep_registers(a);
        arrive(&sync().v_empty[v_ring.slot]);
        v_ring.advance();
    }
    /* The tile before this one. */
    __device__ __forceinline__ void store(const rows_t &done)
    {
        const tile_t &tile = sync().tiles[(count - 1) % kTileSlots];
        float inverse[2];
        const place_t place = find_place(tile, wg);
        finish_rows(args, done, place, inverse);
        if constexpr (kStoreTma) {
            storing = (count - 1) % kQSlots;
            store_staged(args, o, inverse, tile, storing, wg);
        } else {
            store_direct(args, o, inverse, place);
        }
    }
    /* O that went through a Q slot has left it. */
    __device__ __forceinline__ void end_store()
    {
        if constexpr (kStoreTma) {
            if (storing >= 0 && threadIdx.x % 128 == 0) {
                tma_store_wait_read<0>();
                mbarrier_arrive(&sync().q_empty[storing]);
            }
            storing = -1;
        }
    }
    /* The scores of a step beside P V of the step before, whose P is in p[from]; the new P into p[to]. In between,
     * where O is complete for all steps before, `between` does with it what is to be done. */
    template <bool cut, int from, int to, class between_t>
    __device__ __forceinline__ void do_step(int step, between_t between)
    {
        float rescale[2], base[2];
        start_scores();
        start_values(p[from]);
        end_turn<1>();
        end_store();
        wgmma_wait<1>();
        end_scores<cut>(step);
        begin_turn<2>();
        const bool moved = raise_maximum<cut>(s, rows, rescale, base, scale);
        begin_turn<3>();
        if constexpr (kUnder > 0) {
            exponentiate<0, kUnder>(s, rows, base, scale);
            if constexpr (from != to) {
                pack_p(p[to], s);
                wgmma_keep_registers(p[to]);
            }
            pin_after(rows.sum[0] + rows.sum[1]);
            if constexpr (kUnder == 4) end_turns();
        }
        end_values(p[from]);
        between(moved, rescale);
        exponentiate<kUnder, 4>(s, rows, base, scale);
        if constexpr (from == to) pack_p(p[to], s);
        if constexpr (kUnder < 4) {
            if constexpr (kPingPong >= 2) pin_after(rows.sum[0] + rows.sum[1]);
            end_turns();
        }
    }
{{#late}}
    /* A step whose maxima nobody looks for: see wgmma_late.cuh. K and Q stay until its sums have been seen. */
    __device__ __forceinline__ void do_late_step(int step)
    {
        rows_t now; // its sums
        float rescale[2] = {1.0f, 1.0f};
        start_scores();
        start_values(p[0]);
        end_turn<1>();
        end_store();
        wgmma_wait<1>();
        wgmma_fence_registers(s);
        if constexpr (kSoftcap) cap_scores(s, cap);
        begin_turn<2>();
        exponentiate<0, 4>(s, now, rows.maximum, scale);
        pin_after(now.sum[0] + now.sum[1]);
        end_turns();
        end_values(p[0]);
        if (are_large(now.sum)) {
            if (!shrink(s, now, rows, rescale)) {
                float base[2];
                redo_scores(s, q_slot(count % kQSlots), k_slot(k_ring.slot), wg);
                if constexpr (kSoftcap) cap_scores(s, cap);
                raise_maximum<true>(s, rows, rescale, base, scale);
                now = rows_t();
                exponentiate<0, 4>(s, now, base, scale);
            }
            rescale_sums(o, true, rescale);
        }
        arrive(&sync().k_empty[k_ring.slot]);
        k_ring.advance();
        if constexpr (!kStoreTma) {
            if (kMaskM > 0 ? next == kNextNone : step == steps - 1) arrive(&sync().q_empty[count % kQSlots]);
        }
        rows.sum[0] += now.sum[0];
        rows.sum[1] += now.sum[1];
        pack_p(p[0], s);
    }
{{/late}}
    template <bool cut, int from, int to>
    __device__ __forceinline__ void next_step(int step)
    {
{{#late}}
        if constexpr (!cut) {
            do_late_step(step);
            return;
        }
{{/late}}
        do_step<cut, from, to>(step, [&](bool moved, const float(&rescale)[2]) {
            rescale_sums(o, moved, rescale);
        });
    }
    /* The first step of the first tile: nothing to multiply with V yet. */
    __device__ __forceinline__ void first_step()
    {
        float rescale[2], base[2];
        start_scores();
        end_turn<1>();
        wgmma_wait<0>();
        end_scores<true>(0);
        begin_turn<2>();
        begin_turn<3>();
        raise_maximum<true>(s, rows, rescale, base, scale);
        exponentiate<0, 4>(s, rows, base, scale);
        pack_p(p[0], s);
        end_turns();
        v_valid = k_valid;
    }
    /* The first step of the next tile beside the last product of this one, which is stored. */
    template <int from>
    __device__ __forceinline__ void seam()
    {
        const rows_t done = rows;
        rows = rows_t();
        do_step<true, from, 0>(0, [&](bool, const float(&)[2]) {
            store(done);
        });
        fresh = true;
        v_valid = k_valid;
    }
    /* The last product of a tile alone, and what becomes of it. */
    template <int from>
    __device__ __forceinline__ void drain()
    {
        start_values(p[from]);
        end_store();
        end_values(p[from]);
        store(rows);
        rows = rows_t();
        fresh = true;
    }
    /* Returns which P the last step has left. */
    __device__ __forceinline__ bool rest_of_gathered()
    {
#pragma unroll 1
        while (next != kNextNone) {
            if (next == kNextCut) {
                next_step<true, 0, 0>(0);
                continue;
            }
            next_step<false, 0, kPBuffers - 1>(0);
            if constexpr (kPBuffers > 1) {
                if (next == kNextFree)
                    next_step<false, kPBuffers - 1, 0>(0);
                else if (next == kNextCut)
                    next_step<true, kPBuffers - 1, 0>(0);
                else
                    return true;
            }
        }
        return false;
    }
    /* Returns which P the last step has left. */
    __device__ __forceinline__ bool rest_of_tile()
    {
        if constexpr (kMaskM > 0) return rest_of_gathered();
        int step = 1;
#pragma unroll 1
        for (; step < masked; ++step) next_step<true, 0, 0>(step);
        if constexpr (kPBuffers > 1) {
#pragma unroll 1
            for (; step + 1 < free_end; step += 2) {
                next_step<false, 0, kPBuffers - 1>(step);
                next_step<false, kPBuffers - 1, 0>(step + 1);
            }
        }
#pragma unroll 1
        for (; step < free_end; ++step) next_step<false, 0, 0>(step);
        if constexpr (kLeft) {
#pragma unroll 1
            for (; step < steps; ++step) next_step<true, 0, 0>(step);
        }
        return false;
    }
    /* With one slot of Q the next tile's first product has to wait for Q, and this tile's last one need not. */
    __device__ __forceinline__ void run_apart()
    {
        while (take_tile()) {
            first_step();
            const bool other = rest_of_tile();
            ++count;
            if (kPBuffers > 1 && kMaskM > 0 && other)
                drain<kPBuffers - 1>();
            else
                drain<0>();
        }
    }
    __device__ __forceinline__ void run_joined()
    {
        if (!take_tile()) return;
        first_step();
        bool other = rest_of_tile();
        for (;;) {
            ++count;
            end_store(); // a tile of one step has not done it, and the next Q may wait for it
            if (!take_tile()) break;
            if (kPBuffers > 1 && kMaskM > 0 && other)
                seam<kPBuffers - 1>();
            else
                seam<0>();
            other = rest_of_tile();
        }
        if (kPBuffers > 1 && kMaskM > 0 && other)
            drain<kPBuffers - 1>();
        else
            drain<0>();
        end_store();
    }
    __device__ __forceinline__ void run()
    {
        if (wg == kConsumers - 1) end_turn<kPingPong>(); // the first turn is warpgroup 0's
        if constexpr (kApart)
            run_apart();
        else
            run_joined();
    }
};

/* grid: at most what is resident at once; kSharedBytes of shared memory. */
extern "C" __global__ void __launch_bounds__(kThreads, kCtasPerSm)
    triage_kernel(const __grid_constant__ args_t args)
{
    const int wg = warp_uniform(threadIdx.x / 128);
    if (threadIdx.x == 0) {
        for (int i = 0; i < kQSlots; ++i) {
            mbarrier_init(&sync().q_full[i], 1);
            mbarrier_init(&sync().q_empty[i], kConsumers * (kStoreTma ? 1 : 4));
        }
        for (int i = 0; i < kStages; ++i) {
            mbarrier_init(&sync().k_full[i], 1);
            mbarrier_init(&sync().k_empty[i], kConsumers * 4);
            mbarrier_init(&sync().v_full[i], 1);
            mbarrier_init(&sync().v_empty[i], kConsumers * 4);
        }
        mbarrier_init_fence();
        tma_prefetch_map(&args.map_q);
        tma_prefetch_map(&args.map_k);
        tma_prefetch_map(&args.map_v);
    }
    __syncthreads();
    if (wg == kConsumers) {
        setmaxnreg_dec<kProducerRegs>();
        if (warp_uniform(threadIdx.x / 32) % 4 == 0) produce(args);
    } else {
        setmaxnreg_inc<kConsumerRegs>();
        consumer_t consumer(args, wg);
        consumer.run();
    }
}
