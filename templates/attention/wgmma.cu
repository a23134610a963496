/* Attention forward with TMA and wgmma (sm_90a): O = softmax(scale * Q K^T + mask) V, see args.h.
 *
 *   Q, K, V   f16 or bf16, any strides of batch, head and row that are multiples of 16 bytes (TMA)
 *   O         f16 or bf16, rows 16-byte aligned; LSE in float32 on request
 *
 * A CTA owns tiles of kTileM queries of one head, one after another, and walks the keys of each from right to
 * left in blocks of kTileN:
 *
 *   producer   tile (rows, head, limits of the mask), Q            -> Q ring (kQSlots)
 *   (1 warp)   K [tile_n][d], V [tile_n][dv], TMA                  -> K ring, V ring (kStages each)
 *              full[] by bytes, empty[] by warps
 *   consumers  warpgroups of 64 queries; of step j
 *     tensor   S(j) = Q K(j)^T, then O += P(j-1) V(j-1)     issued together
 *     others   under that of P(j-1) V(j-1): mask, maximum, P(j) = 2^(S(j) - maximum), sums
 *              then O *= 2^(old - new maximum), P(j) -> 16 bits, in registers: A of the next product
 *
 * The pipeline does not drain between tiles: the first S of a tile is issued together with the last product of
 * the tile before, which is divided by its sums and stored under this tile's products.
 *
 * kPingPong: the warpgroups take turns to issue, so that one's softmax runs under the others' products.
 *
 * Only blocks on an edge of the mask look at it: those at the right (causal, the end of the keys) come first,
 * those at the left end of a window last. A row that has seen no key yet has the maximum -inf, which only the
 * blocks on an edge must take care of.
 *
 * Shared operand layouts (rows of 128 bytes as TMA writes them with its 128-byte swizzle, see lib/wgmma.cuh):
 *   Q   [ceil(d / 64)][tile_m][64]     K-major A
 *   K   [ceil(d / 64)][tile_n][64]     K-major B of S
 *   V   [ceil(dv / 64)][tile_n][64]    MN-major B of O
 * Tensor maps {d, rows, heads, batch} ({d, rows, heads} with offsets), swizzle 128:
 *   map_q  box {64, 64}     map_k, map_v  box {64, tile_n}
 * What lies behind d or the last row of the tensor arrives as zeros.
 */
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "attention/args.h"
#include "lib/epilogue.cuh"
#include "lib/ptx.cuh"
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
constexpr int kStages = {{stages}};     // slots of the K ring, and of the V ring
constexpr int kQSlots = {{q_slots}};    // slots of the Q ring: 1 or 2
constexpr int kPingPong = {{ping_pong}}; // the warpgroups take turns: 1 to issue products, 2 at the softmax, 3 at its exponentials; 0: no
constexpr int kOrder = {{order}};       // of the tiles: see locate
constexpr int kDynamic = {{dynamic}};   // 1: a CTA takes the next tile when it is ready (workspace: 2 zeros)
constexpr int kPBuffers = {{p_buffers}}; // 2: P is packed under the last product, for more registers
constexpr int kUnder = {{under}};       // 1: the exponentials run under P V of the step before; 0: behind it
constexpr int kSkip = {{skip}};         // log2 of the growth up to which a row keeps its maximum; -1: O is always rescaled
constexpr int kStoreTma = {{store_tma}}; // 1: O goes out through its tile's Q slot; 0: from registers
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

/* What the consumers have to know of a tile. Step s is block first - s of the keys. */
struct tile_t {
    int steps;     // at least 1; -1: no more tiles
    int first;     // block of step 0
    int masked;    // steps from 0 on that the right edge cuts (step 0 always counts as cut)
    int free_end;  // steps from here on are cut by the left edge
    int begin, end, begin_of_all, end_of_all; // keys that some row, that every row may see
    int m0;        // first query, in its sequence
    int q_len, k_len;
    int q_row;     // of query 0, from the start of the tensor (offsets)
    int head, batch;
};

/* Block mask: what a step has gathered, and what comes after it. */
struct gathered_t {
    int key[kUnits];   // first key of each run; kNoKey: none
    int entry[kUnits]; // of the partial list; -1: all of the run is seen
    int next;          // 0: a step that sees all its keys, 1: a step that is cut, 2: none, the tile ends
};
[[maybe_unused]] constexpr int kNoKey = 1 << 30; // behind every tensor: TMA brings zeros
enum { kNextFree, kNextCut, kNextNone };

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

extern __shared__ __align__(1024) unsigned char shared[];

__device__ __forceinline__ unsigned char *q_slot(int slot) { return shared + slot * kQBytes; }
__device__ __forceinline__ unsigned char *k_slot(int slot) { return shared + kKOffset + slot * kKBytes; }
__device__ __forceinline__ unsigned char *v_slot(int slot) { return shared + kVOffset + slot * kVBytes; }
__device__ __forceinline__ sync_t &sync() { return *reinterpret_cast<sync_t *>(shared + kSyncOffset); }

/* A position in a ring: the slot, and the parity of the phase in which it is used. */
template <int slots>
struct ring_t {
    int slot = 0;
    unsigned parity = 0;

    __device__ __forceinline__ void advance()
    {
        if (++slot == slots) {
            slot = 0;
            parity ^= 1;
        }
    }
};

__device__ __forceinline__ int ceil_div(int a, int b) { return (a + b - 1) / b; }

/* ---- the order of the tiles ---- */

/* Heads whose K and V together fill about half of L2: they are worked on at the same time. */
__device__ __forceinline__ int heads_of_section(const args_t &args, int k_len)
{
    const int fit = 33554432 / (max(k_len, 1) * (kD + kDv) * static_cast<int>(sizeof(in_t)));
    return max(fit, 1) * (args.heads_q / args.heads_kv);
}

/* The index-th of heads * rows tiles.
 * kOrder 0: head after head, rows upwards. 1: section after section; in a section the last rows, which see the
 * most keys, of all heads come first. */
__device__ __forceinline__ void locate(int index, int heads, int rows, int section, int &head, int &row)
{
    if constexpr (kOrder == 0) {
        head = index / rows;
        row = index - head * rows;
    } else {
        const int start = index / (section * rows) * section, width = min(section, heads - start);
        const int rest = index - start * rows;
        row = rest / width;
        head = start + rest - row * width;
        row = rows - 1 - row;
    }
}

/* The tiles of this CTA. All lanes of the producer warp go through them together. */
struct tiles_t {
    const args_t &args;
    int next;      // dynamic: fetched ahead
    int batch = 0; // offsets, lengths: the sequences up to here have `before` tiles
    int before = 0;

    __device__ __forceinline__ explicit tiles_t(const args_t &a) : args(a)
    {
        next = blockIdx.x;
    }
    __device__ __forceinline__ int q_len(int b) const
    {
        int len = kOffsets ? args.cu_q[b + 1] - args.cu_q[b] : args.sq;
        if (kLengths && args.len_q) len = min(len, args.len_q[b]);
        return len;
    }
    __device__ __forceinline__ int k_len(int b) const
    {
        int len = kOffsets ? args.cu_k[b + 1] - args.cu_k[b] : args.sk;
        if (kLengths && args.len_k) len = min(len, args.len_k[b]);
        return len;
    }
    __device__ __forceinline__ int tiles_of(int b) const
    {
        return b < args.batch ? args.heads_q * ceil_div(q_len(b), kTileM) : 0;
    }
    /* The number of the next tile of this CTA. */
    __device__ __forceinline__ int take()
    {
        const int now = next;
        if constexpr (kDynamic) {
            if (threadIdx.x % 32 == 0) next = gridDim.x + atomicAdd(static_cast<int *>(args.workspace), 1);
            next = warp_uniform(next);
        } else {
            next += gridDim.x;
        }
        return now;
    }
    /* The last CTA that finds nothing left puts the zeros back. */
    __device__ __forceinline__ void leave() const
    {
        if constexpr (kDynamic) {
            int *counters = static_cast<int *>(args.workspace);
            if (threadIdx.x % 32 == 0 && atomicAdd(counters + 1, 1) == static_cast<int>(gridDim.x) - 1) {
                counters[0] = 0;
                counters[1] = 0;
            }
        }
    }
    /* Moves on to the sequence that has tile `index`, 32 sequences at a look; false: none has. */
    __device__ __forceinline__ bool find_sequence(int index)
    {
        const int lane = threadIdx.x % 32;
        while (batch < args.batch) {
            int upto = tiles_of(batch + lane);
            for (int d = 1; d < 32; d *= 2) {
                const int other = __shfl_up_sync(0xffffffffu, upto, d);
                if (lane >= d) upto += other;
            }
            const unsigned past = __ballot_sync(0xffffffffu, index < before + upto);
            const int full = past ? __ffs(past) - 1 : 32;
            const int skipped = __shfl_sync(0xffffffffu, upto, max(full - 1, 0));
            if (full > 0) before += skipped;
            batch += full;
            if (past) return true;
        }
        return false;
    }
    /* The next tile; false: no more. */
    __device__ __forceinline__ bool get(tile_t &tile)
    {
        const int index = take();
        int row;
        if constexpr (kOffsets || kLengths) {
            if (!find_sequence(index)) return false;
            tile.batch = batch;
            tile.q_len = q_len(batch);
            tile.k_len = k_len(batch);
            tile.q_row = kOffsets ? args.cu_q[batch] : 0;
            locate(index - before, args.heads_q, ceil_div(tile.q_len, kTileM), heads_of_section(args, tile.k_len),
                   tile.head, row);
        } else {
            const int rows = ceil_div(args.sq, kTileM);
            if (index >= args.batch * args.heads_q * rows) return false;
            int head;
            locate(index, args.batch * args.heads_q, rows, heads_of_section(args, args.sk), head, row);
            tile.batch = head / args.heads_q;
            tile.head = head - tile.batch * args.heads_q;
            tile.q_len = args.sq;
            tile.k_len = args.sk;
            tile.q_row = 0;
        }
        tile.m0 = row * kTileM;
        set_steps(tile);
        return true;
    }
    /* Which blocks of the keys the tile sees, and which of them wholly. */
    __device__ __forceinline__ void set_steps(tile_t &tile) const
    {
        const int offset = kTopLeft ? 0 : tile.k_len - tile.q_len;
        const int first_row = tile.m0 + offset, last_row = min(tile.m0 + kTileM, tile.q_len) - 1 + offset;
        int end = tile.k_len, end_of_all = tile.k_len;
        int begin = 0, begin_of_all = 0;
        if constexpr (kRight) {
            end = min(end, last_row + args.right + 1);
            end_of_all = min(end_of_all, first_row + args.right + 1);
        }
        if constexpr (kLeft) {
            begin = max(begin, first_row - args.left);
            begin_of_all = max(begin_of_all, last_row - args.left);
        }
        tile.begin = begin;
        tile.end = end;
        tile.begin_of_all = begin_of_all;
        tile.end_of_all = end_of_all;
        tile.first = max(end - 1, 0) / kTileN;
        tile.steps = max(tile.first - begin / kTileN + 1, 1); // no key at all: one step that sees nothing
        tile.masked = min(max(tile.first - max(end_of_all, 0) / kTileN + 1, 1), tile.steps);
        tile.free_end = tile.steps;
        if constexpr (kLeft)
            tile.free_end = min(max(tile.first + 1 - ceil_div(begin_of_all, kTileN), tile.masked), tile.steps);
    }
};

/* ---- load: one warp ---- */

/* Rows of one head into a slot, 64 columns at a time. */
template <int slabs, int box_rows, int slab_rows>
__device__ __forceinline__ void load_rows(unsigned char *slot, const void *map, unsigned long long *bar, int row,
                                          int head, int batch, unsigned long long policy)
{
#pragma unroll
    for (int slab = 0; slab < slabs; ++slab) {
        unsigned char *to = slot + slab * slab_rows * 128;
        if constexpr (kOffsets)
            tma_load_3d(to, map, bar, slab * 64, row, head, policy);
        else
            tma_load_4d(to, map, bar, slab * 64, row, head, batch, policy);
    }
}

/* Where a block of keys is. */
struct block_t {
    int row, head, batch;
};

__device__ __forceinline__ void load_k(const args_t &args, ring_t<kStages> &ring, block_t at,
                                       bool one, unsigned long long policy)
{
    mbarrier_wait(&sync().k_empty[ring.slot], ring.parity ^ 1);
    if (one) {
        mbarrier_arrive_expect_tx(&sync().k_full[ring.slot], kKBytes);
        load_rows<kDSlabs, kTileN, kTileN>(k_slot(ring.slot), &args.map_k, &sync().k_full[ring.slot], at.row,
                                           at.head, at.batch, policy);
    }
    ring.advance();
}

__device__ __forceinline__ void load_v(const args_t &args, ring_t<kStages> &ring, block_t at,
                                       bool one, unsigned long long policy)
{
    mbarrier_wait(&sync().v_empty[ring.slot], ring.parity ^ 1);
    if (one) {
        mbarrier_arrive_expect_tx(&sync().v_full[ring.slot], kVBytes);
        load_rows<kDvSlabs, kTileN, kTileN>(v_slot(ring.slot), &args.map_v, &sync().v_full[ring.slot], at.row,
                                            at.head, at.batch, policy);
    }
    ring.advance();
}

__device__ __forceinline__ void load_q(const args_t &args, int slot, const tile_t &tile,
                                       unsigned long long policy)
{
    mbarrier_arrive_expect_tx(&sync().q_full[slot], kQBytes);
#pragma unroll
    for (int wg = 0; wg < kConsumers; ++wg)
        load_rows<kDSlabs, 64, kTileM>(q_slot(slot) + wg * 64 * 128, &args.map_q, &sync().q_full[slot],
                                       tile.q_row + tile.m0 + wg * 64, tile.head, tile.batch, policy);
}

/* ---- block mask: the runs of keys of a tile ---- */

/* Goes through the lists of a tile, the partial blocks first, past the runs that no row sees. All lanes together:
 * lane i looks at run base + i of the list at hand; `left` are those that are still to come. */
template <class masked_args>
struct lists_t {
    const masked_args &args;
    const tile_t &tile;
    int kind = -1; // 0: the partial list, 1: the full one, 2: through
    int begin = 0, runs = 0, base = 0;
    int key = 0, entry = -1;
    unsigned left = 0, whole = 0; // whole: every row sees all of the run

    __device__ __forceinline__ lists_t(const masked_args &a, const tile_t &t) : args(a), tile(t)
    {
        refill();
    }
    __device__ __forceinline__ void open()
    {
        const tri_attention_blocks &list = kind == 0 ? args.partial : args.full;
        const int row = tile.batch * args.mask_batch + tile.head / args.mask_head_div * args.mask_head + tile.m0 / kBlockM;
        runs = base = 0;
        if (!list.cols) return;
        begin = list.ptr ? list.ptr[row] : static_cast<int>(row * list.capacity);
        runs = (list.count ? list.count[row] : list.ptr[row + 1] - begin) * (kBlockN / kUnit);
    }
    /* Looks on until a run is seen, or both lists are through. */
    __device__ __forceinline__ void refill()
    {
        while (left == 0 && kind < 2) {
            if (kind < 0 || base >= runs) {
                if (++kind < 2) open();
                continue;
            }
            const int run = base + threadIdx.x % 32;
            bool seen = false, all = false;
            if (run < runs) {
                const int *cols = kind == 0 ? args.partial.cols : args.full.cols;
                const int at = begin + run / (kBlockN / kUnit);
                key = cols[at] * kBlockN + run % (kBlockN / kUnit) * kUnit;
                entry = kind == 0 && args.partial_bits ? at : -1;
                seen = key < tile.end && key + kUnit > tile.begin;
                all = entry < 0 && key >= tile.begin_of_all && key + kUnit <= tile.end_of_all;
            }
            left = __ballot_sync(0xffffffffu, seen);
            whole = __ballot_sync(0xffffffffu, all);
            base += 32;
        }
    }
    /* The next step: lane i gets run i. Returns its kind. */
    __device__ __forceinline__ int gather(int &step_key, int &step_entry)
    {
        step_key = kNoKey;
        step_entry = -1;
        if (left == 0) return kNextNone;
        const int lane = threadIdx.x % 32, start = __ffs(left) - 1;
        constexpr unsigned kAll = kUnits == 32 ? ~0u : (1u << kUnits) - 1;
        if ((left >> start & kAll) == kAll) { // side by side, as they nearly always are
            const int k = __shfl_sync(0xffffffffu, key, start + lane), e = __shfl_sync(0xffffffffu, entry, start + lane);
            if (lane < kUnits) step_key = k, step_entry = e;
            const bool free = (whole >> start & kAll) == kAll;
            left &= ~(kAll << start);
            refill();
            return free ? kNextFree : kNextCut;
        }
        bool cut = false;
        for (int u = 0; u < kUnits; ++u) {
            if (left == 0) {
                cut = true;
                break;
            }
            const int from = __ffs(left) - 1;
            const int k = __shfl_sync(0xffffffffu, key, from), e = __shfl_sync(0xffffffffu, entry, from);
            if (lane == u) step_key = k, step_entry = e;
            cut = cut || !(whole >> from & 1);
            left &= left - 1;
            refill();
        }
        return cut ? kNextCut : kNextFree;
    }
};

/* The runs of a step into a slot: lane i brings run i. */
template <int slabs>
__device__ __forceinline__ void load_runs(unsigned char *slot, const void *map, unsigned long long *bar, int key,
                                          block_t at, unsigned long long policy)
{
    const int lane = threadIdx.x % 32;
    if (lane == 0) mbarrier_arrive_expect_tx(bar, slabs * kTileN * 128);
    __syncwarp();
    if (lane < kUnits)
        load_rows<slabs, kUnit, kTileN>(slot + lane * kUnit * 128, map, bar, key, at.head, at.batch, policy);
}

/* The steps of a tile with a block mask. v_key, v_at: the V that is still to come. */
template <class masked_args>
__device__ __forceinline__ void produce_gathered(const masked_args &args, const tile_t &tile, ring_t<kStages> &k_ring,
                                                 ring_t<kStages> &v_ring, int &v_key, block_t &v_at, block_t at,
                                                 unsigned long long policy)
{
    lists_t<masked_args> lists(args, tile);
    int key, entry, next_key, next_entry;
    lists.gather(key, entry);
    for (int next = kNextFree; next != kNextNone; key = next_key, entry = next_entry) {
        next = lists.gather(next_key, next_entry);
        mbarrier_wait(&sync().k_empty[k_ring.slot], k_ring.parity ^ 1);
        gathered_t &gathered = sync().gathered[k_ring.slot];
#pragma unroll
        for (int u = 0; u < kUnits; ++u) { // one lane writes what one lane of each consumer warp reads
            const int k = __shfl_sync(0xffffffffu, key, u), e = __shfl_sync(0xffffffffu, entry, u);
            if (threadIdx.x % 32 == 0) gathered.key[u] = k, gathered.entry[u] = e;
        }
        if (threadIdx.x % 32 == 0) gathered.next = next;
        load_runs<kDSlabs>(k_slot(k_ring.slot), &args.map_k, &sync().k_full[k_ring.slot], key, at, policy);
        k_ring.advance();
        if (v_at.row >= 0) {
            mbarrier_wait(&sync().v_empty[v_ring.slot], v_ring.parity ^ 1);
            load_runs<kDvSlabs>(v_slot(v_ring.slot), &args.map_v, &sync().v_full[v_ring.slot], v_key, v_at, policy);
            v_ring.advance();
        }
        v_key = key;
        v_at = at;
    }
}

/* Each V comes one step after its K, as the consumers want them. */
__device__ __forceinline__ void produce(const args_t &args)
{
    const bool one = elect_one();
    const unsigned long long once = l2_evict_first(), often = l2_evict_last();
    const int group = args.heads_q / args.heads_kv;
    tiles_t tiles(args);
    ring_t<kQSlots> q_ring;
    ring_t<kStages> k_ring, v_ring;
    block_t late = {-1, 0, 0}; // the V that is still to come
    int late_key = 0;          // ... with a block mask: this lane's run of it
    int count = 0; // tiles so far
    tile_t tile;
    for (;;) {
        const bool more = tiles.get(tile);
        mbarrier_wait(&sync().q_empty[q_ring.slot], q_ring.parity ^ 1);
        if (!more) break;
        if (one) {
            sync().tiles[count % kTileSlots] = tile;
            load_q(args, q_ring.slot, tile, once);
        }
        q_ring.advance();
        ++count;
        block_t at = {0, tile.head / group, tile.batch};
        if constexpr (kMaskM > 0) {
            produce_gathered(args, tile, k_ring, v_ring, late_key, late, at, often);
            continue;
        }
        const int k_row = kOffsets ? args.cu_k[tile.batch] : 0;
        for (int s = 0; s < tile.steps; ++s) {
            at.row = k_row + (tile.first - s) * kTileN;
            load_k(args, k_ring, at, one, often);
            if (late.row >= 0) load_v(args, v_ring, late, one, often);
            late = at;
        }
    }
    if (late.row >= 0) {
        if constexpr (kMaskM > 0) {
            mbarrier_wait(&sync().v_empty[v_ring.slot], v_ring.parity ^ 1);
            load_runs<kDvSlabs>(v_slot(v_ring.slot), &args.map_v, &sync().v_full[v_ring.slot], late_key, late, often);
        } else {
            load_v(args, v_ring, late, one, often);
        }
    }
    if (one) {
        sync().tiles[count % kTileSlots].steps = -1;
        mbarrier_arrive(&sync().q_full[q_ring.slot]);
    }
    tiles.leave();
}

/* ---- products ---- */

/* A number of a tile, for the whole warp. Only that lane reads it which will say to the producer that the warp is
 * done: nothing else orders a read before the next write. */
__device__ __forceinline__ int read_field(const int &field)
{
    int value = 0;
    if (threadIdx.x % 32 == 0) value = field;
    return warp_uniform(value);
}

/* s = Q K^T of this warpgroup's 64 queries. */
__device__ __forceinline__ void issue_scores(float (&s)[kTileN / 2], int q, int k, int wg)
{
    const unsigned long long a = wgmma_desc<128>(q_slot(q) + wg * 64 * 128, 0, 1024);
    const unsigned long long b = wgmma_desc<128>(k_slot(k), 0, 1024);
#pragma unroll
    for (int i = 0; i < (kD + 15) / 16; ++i)
        wgmma_ss<in_t, kTileN, 0>::mma(s, wgmma_desc_advance(a, i / 4 * kTileM * 128 + i % 4 * 32),
                                       wgmma_desc_advance(b, i / 4 * kTileN * 128 + i % 4 * 32), i > 0);
    wgmma_commit();
}

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

/* Each warp says for itself that it has read a slot. */
__device__ __forceinline__ void release(unsigned long long *empty)
{
    if (threadIdx.x % 32 == 0) mbarrier_arrive(empty);
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

/* ---- softmax: a thread has two rows, lane / 4 of its warp's 16 and the one 8 below ---- */

/* In units of log2, maximum is that of scores * scale. */
struct rows_t {
    float maximum[2] = {-INFINITY, -INFINITY};
    float sum[2] = {0.0f, 0.0f}; // of what this lane has seen
};

/* Which keys a row sees: begin <= key < end, both less the first column of this lane. */
struct limits_t {
    int begin[2], end[2];
};

__device__ __forceinline__ limits_t find_limits(const args_t &args, int m0, int q_len, int k_len,
                                                int wg)
{
    const int lane = threadIdx.x % 32, column = lane % 4 * 2;
    const int row = m0 + wg * 64 + threadIdx.x % 128 / 32 * 16 + lane / 4 + (kTopLeft ? 0 : k_len - q_len);
    limits_t limits;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        limits.end[r] = (kRight ? min(k_len, row + r * 8 + args.right + 1) : k_len) - column;
        limits.begin[r] = kLeft ? row + r * 8 - args.left - column : 0;
    }
    return limits;
}

__device__ __forceinline__ void apply_mask(float (&s)[kTileN / 2], const limits_t &limits, int block)
{
    const int n0 = block * kTileN;
#pragma unroll
    for (int i = 0; i < kTileN / 2; ++i) {
        const int column = i / 4 * 8 + i % 2, r = i / 2 % 2;
        bool seen = column < limits.end[r] - n0;
        if constexpr (kLeft) seen = seen && column >= limits.begin[r] - n0;
        if (!seen) s[i] = -INFINITY;
    }
}

/* With a block mask: each run of a step has its own first key, and bits of its own if it is partial. block_row: of
 * this lane's first row, in a block of the mask. */
template <class masked_args>
__device__ __forceinline__ void apply_gathered(const masked_args &args, float (&s)[kTileN / 2], const limits_t &limits,
                                               const gathered_t &gathered, int block_row)
{
    constexpr int kWords = (kBlockN + 31) / 32;
    const int column = threadIdx.x % 4 * 2;
#pragma unroll
    for (int u = 0; u < kUnits; ++u) {
        const int key = read_field(gathered.key[u]), entry = read_field(gathered.entry[u]);
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            const int end = limits.end[r] - key, begin = limits.begin[r] - key;
            const long long row = static_cast<long long>(entry) * kBlockM + block_row + r * 8;
            const unsigned *bits = args.partial_bits + row * kWords + key % kBlockN / 32;
#pragma unroll
            for (int w = 0; w < (kUnit + 31) / 32; ++w) {
                const unsigned word = entry < 0 ? ~0u : bits[w] >> key % kBlockN % 32 >> column;
#pragma unroll
                for (int j = w * 32; j < (kUnit < w * 32 + 32 ? kUnit : w * 32 + 32); j += 8)
#pragma unroll
                    for (int e = 0; e < 2; ++e) {
                        const int at = j + e;
                        bool seen = at < end && (word >> (at - w * 32) & 1);
                        if constexpr (kLeft) seen = seen && at >= begin;
                        float &x = s[(u * kUnit + j) / 8 * 4 + r * 2 + e];
                        if (!seen) x = -INFINITY;
                    }
            }
        }
    }
}

/* The rows' new maxima, and what their sums so far are to be multiplied with. base: what is subtracted from the
 * scores: the maximum, but 0 where it is -inf, which it can be only where the mask cuts. */
template <bool cut>
__device__ __forceinline__ void raise_maximum(const float (&s)[kTileN / 2], rows_t &rows, float (&rescale)[2],
                                              float (&base)[2], float scale)
{
    float top[4] = {s[0], s[1], s[2], s[3]};
#pragma unroll
    for (int i = 4; i < kTileN / 2; ++i) top[i % 4] = fmaxf(top[i % 4], s[i]);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        float maximum = fmaxf(rows.maximum[r], quad_max(fmaxf(top[2 * r], top[2 * r + 1])) * scale);
        if (kSkip > 0 && maximum - rows.maximum[r] <= kSkip) maximum = rows.maximum[r];
        base[r] = cut && maximum == -INFINITY ? 0.0f : maximum;
        rescale[r] = exp2_fast(rows.maximum[r] - base[r]);
        rows.maximum[r] = maximum;
        rows.sum[r] *= rescale[r];
    }
}

/* s -> exponentials, added to the sums. */
__device__ __forceinline__ void exponentiate(float (&s)[kTileN / 2], rows_t &rows, const float (&base)[2],
                                             float scale)
{
#pragma unroll
    for (int i = 0; i < kTileN / 2; ++i) {
        const int r = i / 2 % 2;
        s[i] = exp2_fast(fmaf(s[i], scale, -base[r]));
        rows.sum[r] += s[i];
    }
}

__device__ __forceinline__ void cap_scores(float (&s)[kTileN / 2], float before)
{
#pragma unroll
    for (int i = 0; i < kTileN / 2; ++i) s[i] = tanh_exact(s[i] * before);
}

/* Sums of 16 columns are A of a k16 as they lie. */
__device__ __forceinline__ void pack_p(unsigned (&p)[kTileN / 4], const float (&s)[kTileN / 2])
{
#pragma unroll
    for (int i = 0; i < kTileN / 4; ++i) p[i] = pack2<in_t>(s[2 * i], s[2 * i + 1]);
}

__device__ __forceinline__ void rescale_sums(float (&o)[kDvWide / 2], const float (&rescale)[2])
{
    if (kSkip >= 0 && !__any_sync(0xffffffffu, rescale[0] != 1.0f || rescale[1] != 1.0f)) return;
#pragma unroll
    for (int i = 0; i < kDvWide / 2; ++i) o[i] *= rescale[i / 2 % 2];
}

/* ---- store ---- */

/* Where this thread's first row of a tile is; the second one is 8 below. */
struct place_t {
    int head, batch;
    int row, end;   // in its sequence; the sequence's end
    long long at;   // in the tensor
};

__device__ __forceinline__ place_t find_place(const tile_t &tile, int wg)
{
    place_t place;
    place.head = read_field(tile.head);
    place.batch = kOffsets ? 0 : read_field(tile.batch);
    place.end = read_field(tile.q_len);
    place.row = read_field(tile.m0) + wg * 64 + threadIdx.x % 128 / 32 * 16 + threadIdx.x % 32 / 4;
    place.at = kOffsets ? read_field(tile.q_row) + place.row : place.row;
    return place;
}

/* LSE of a thread's two rows; what O is to be multiplied with. */
__device__ __forceinline__ void finish_rows(const args_t &args, const rows_t &rows, const place_t &place,
                                            float (&inverse)[2])
{
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        const float sum = quad_sum(rows.sum[r]);
        inverse[r] = sum == 0.0f ? 0.0f : __fdividef(1.0f, sum);
        if (args.lse && threadIdx.x % 4 == 0 && place.row + r * 8 < place.end)
            args.lse[place.batch * args.lse_stride.batch + place.head * args.lse_stride.head +
                     (place.at + r * 8) * args.lse_stride.row] =
                sum == 0.0f ? -INFINITY : (rows.maximum[r] + __log2f(sum)) * kLn2;
    }
}

/* O from registers: groups of four 8 x 8 pieces, of which a lane ends with 16 bytes of one row. */
__device__ __forceinline__ void store_direct(const args_t &args, const float (&o)[kDvWide / 2],
                                             const float (&inverse)[2], const place_t &place)
{
    const int q = threadIdx.x % 4;
    out_t *out = static_cast<out_t *>(args.o) + place.batch * args.o_stride.batch + place.head * args.o_stride.head;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        const bool exists = place.row + r * 8 < place.end;
        out_t *to = out + (place.at + r * 8) * args.o_stride.row;
#pragma unroll
        for (int i = 0; i < (kDvWide + 31) / 32; ++i) {
            unsigned v[4];
#pragma unroll
            for (int t = 0; t < 4; ++t) {
                const int j = (4 * (i * 4 + t) + 2 * r) % (kDvWide / 2); // a piece past the last one is not stored
                v[t] = pack2<out_t>(o[j] * inverse[r], o[j + 1] * inverse[r]);
            }
            quad_transpose(v, q);
            const int column = i * 32 + q * 8;
            if (exists && (kDv % 32 == 0 || column < kDv))
                *reinterpret_cast<uint4 *>(to + column) = make_uint4(v[0], v[1], v[2], v[3]);
        }
    }
}

/* O through the rows of this warpgroup in a Q slot, which nobody reads any more. stmatrix: lanes 0-7 address the
 * 8 x 8 piece at rows 0-7 of column group j, 8-15 rows 8-15 of j, 16-31 the same of j + 1. */
__device__ __forceinline__ void store_staged(const args_t &args, const float (&o)[kDvWide / 2],
                                             const float (&inverse)[2], const tile_t &tile, int q, int wg)
{
    const int thread = threadIdx.x % 128, lane = thread % 32;
    const int row = thread / 32 * 16 + lane % 16;
    unsigned char *rows = q_slot(q) + (wg * 64 + row) * 128;
    if constexpr (kPingPong == 0) named_barrier_sync(1 + kConsumers + wg, 128); // a turn has done it: all have read Q
#pragma unroll
    for (int j = 0; j < kDvWide / 8; j += 2) {
        unsigned v[4];
#pragma unroll
        for (int t = 0; t < 4; ++t) {
            const int i = 4 * (j + t / 2) + 2 * (t % 2);
            v[t] = pack2<out_t>(o[i] * inverse[t % 2], o[i + 1] * inverse[t % 2]);
        }
        stmatrix_x4(rows + j / 8 * kTileM * 128 + ((j % 8 + lane / 16) ^ row % 8) * 16, v[0], v[1], v[2], v[3]);
    }
    fence_proxy_async();
    named_barrier_sync(1 + kConsumers + wg, 128);
    if (thread == 0) {
#pragma unroll
        for (int slab = 0; slab < kDvSlabs; ++slab)
            tma_store_4d(&args.map_o, q_slot(q) + slab * kTileM * 128 + wg * 64 * 128, slab * 64, tile.m0 + wg * 64,
                         tile.head, tile.batch);
        tma_store_commit();
    }
}

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
            const gathered_t &gathered = sync().gathered[k_ring.slot];
            next = read_field(gathered.next);
            last = next == kNextNone;
            if constexpr (cut) apply_gathered(args, s, limits, gathered, block_row);
        }
        release(&sync().k_empty[k_ring.slot]);
        k_ring.advance();
        if constexpr (!kStoreTma) { // else when O is out
            if (last) release(&sync().q_empty[count % kQSlots]);
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
        release(&sync().v_empty[v_ring.slot]);
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
        raise_maximum<cut>(s, rows, rescale, base, scale);
        begin_turn<3>();
        if constexpr (kUnder) {
            exponentiate(s, rows, base, scale);
            if constexpr (from != to) {
                pack_p(p[to], s);
                wgmma_keep_registers(p[to]);
            }
            pin_after(rows.sum[0] + rows.sum[1]);
            end_turns();
        }
        end_values(p[from]);
        between(rescale);
        if constexpr (!kUnder) exponentiate(s, rows, base, scale);
        if constexpr (!kUnder || from == to) pack_p(p[to], s);
        if constexpr (!kUnder) {
            if constexpr (kPingPong >= 2) pin_after(rows.sum[0] + rows.sum[1]);
            end_turns();
        }
    }
    template <bool cut, int from, int to>
    __device__ __forceinline__ void next_step(int step)
    {
        do_step<cut, from, to>(step, [&](const float(&rescale)[2]) { rescale_sums(o, rescale); });
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
        exponentiate(s, rows, base, scale);
        pack_p(p[0], s);
        end_turns();
        v_valid = k_valid;
    }
    /* The first step of the next tile beside the last product of this one, which is stored. */
    __device__ __forceinline__ void seam()
    {
        const rows_t done = rows;
        rows = rows_t();
        do_step<true, 0, 0>(0, [&](const float(&)[2]) {
            store(done);
        });
        fresh = true;
        v_valid = k_valid;
    }
    __device__ __forceinline__ void rest_of_tile()
    {
        if constexpr (kMaskM > 0) {
#pragma unroll 1
            while (next != kNextNone) {
                if (next == kNextFree)
                    next_step<false, 0, 0>(0);
                else
                    next_step<true, 0, 0>(0);
            }
            return;
        }
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
    }
    __device__ __forceinline__ void run()
    {
        if (!take_tile()) return;
        if (wg == kConsumers - 1) end_turn<kPingPong>(); // the first turn is warpgroup 0's
        first_step();
        rest_of_tile();
        for (;;) {
            ++count;
            end_store(); // a tile of one step has not done it, and the next Q may wait for it
            if (!take_tile()) break;
            seam();
            rest_of_tile();
        }
        start_values(p[0]);
        end_store();
        end_values(p[0]);
        store(rows);
        end_store();
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
