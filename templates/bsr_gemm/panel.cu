/* bsr_gemm for small blocks: C = act(alpha * A * B + beta * C + bias), sm_90 (TMA, mma.sync).
 *
 *   A   BSR, square blocks of 16 or 32, row-major, 16-bit; transposed: stored as its transpose (transposed.h)
 *   B   k x n, row-major or column-major; base 16-byte aligned, ldb a multiple of 8
 *   C   m x n, row-major or column-major, any n >= 1, any ldc
 *
 * A small block does too few products per element of B to fetch B for each block row alone: 2 b T /
 * (b + T) operations per element of a b x T tile. So a CTA owns a panel of kPanelRows block rows
 * (a few hundred rows of C) and streams the union of their block columns past all of them once:
 *
 *   producer warp     steps ──► TMA: B[kGroup block columns][kTileN] ──────────────────┐
 *                                                                                       ▼
 *                     ring of kStages slots, each with a full and an empty barrier  [slot][slot]..
 *                                                                                       │
 *   consumer warps    each owns 32 rows x kTileN columns of C in registers;             │
 *                     for each slot:  steps ─ballot─► which of the kGroup columns my block rows have
 *                       for each of these:  a fragments (ldmatrix) from the warp's own ring, which its
 *                                             cp.async keep kAhead blocks of each row ahead
 *                                           b fragments (ldmatrix) ──► mma ──► acc
 *
 * The blocks of a block row are contiguous in A (transposed: they lie anywhere): each warp reads its own stream of them, and
 * only it.
 * Warps drift apart by up to the depth of the ring, which evens out their random loads. The grid is
 * persistent: the producer fills the ring for the next tile while consumers store the last one.
 *
 * Schedule, made by the host. Panel p is the block rows rows[p * kPanelRows ...]. Its steps are
 * panels[p].begin .. panels[p].end, ascending, in groups of kGroup:
 *   kGather 0   neighbouring block columns, the first a multiple of kGroup; a group is there if any
 *               row needs any of its columns, and those that no row needs (or past the end of B) have
 *               an empty mask. One copy brings a group.
 *   kGather 1   any block columns, those that some row needs, each by a copy of its own; the last
 *               group is filled up with steps of column -1, which bring nothing. For sparse panels.
 * With kCluster > 1 the panels of a cluster (p / kCluster equal) list the
 * same columns, and panels is rounded up to a multiple of kCluster (the last ones may have no rows).
 * A row that a panel lists s times (kOrder 1, kCluster 1) is done in s pieces: the i-th of its slots
 * multiplies each s-th block from the i-th on, and the first one adds up the sums of all and stores them.
 *
 * Shared memory. B lies in boxes 128 bytes wide with TMA's 128-byte swizzle: 16-byte chunk c of row r
 * is at c ^ r % 8. Rows of an A block are 32 or 64 bytes, swizzled likewise (lib/tile.cuh).
 */
#include "bsr_gemm/args.h"
{{#transposed}}
#include "bsr_gemm/transposed.h"
{{/transposed}}
#include "lib/store.cuh"
#include "lib/prefetch.cuh"
#include "lib/ptx.cuh"
#include "lib/tile.cuh"
#include "lib/tma.cuh"
{{#quick}}
#include "lib/quick.cuh"
{{/quick}}

using in_t = {{in_type}};               // A and B: __half, __nv_bfloat16
using out_t = {{out_type}};             // C and bias: float, __half, __nv_bfloat16
constexpr int kBlock = {{block_m}};     // rows and columns of a block: 16 or 32
constexpr int kWarps = {{warps}};       // consumer warps, along the panel
constexpr int kTileN = {{tile_n}};      // columns of C per CTA, a multiple of 64
constexpr int kGroup = {{group}};       // block columns per stage, at most 32
constexpr int kStages = {{stages}};     // pipeline stages
constexpr int kAhead = {{ahead}};       // blocks of A prefetched per block row: 2, 4 or 8
constexpr int kCluster = {{cluster}};   // CTAs that share B by multicast: 1, 2, 4
constexpr int kGather = {{gather}};     // 1: a stage is any kGroup block columns (row-major B)
constexpr int kOrder = {{order}};       // order of the tiles: see locate
constexpr int kBRank = {{b_rank}};      // of map_b: 3 {64, k, n / 64}, one copy for all of kTileN; or 2
constexpr int kBLayout = {{b_layout}};  // 0 row-major, 1 column-major
constexpr int kCLayout = {{c_layout}};  // 0 row-major, 1 column-major
constexpr int kAct = {{act}};           // 0 none, 1 relu, 2 gelu (erf), 3 silu

constexpr int kWarpRows = 32;               // rows of C per warp
constexpr int kThreads = (kWarps + 4) * 32; // the last warpgroup holds the producer
/* Registers: a quarter of the SM's file serves one warp of each warpgroup. What the launch gives is
 * handed over: the producer's warpgroup keeps 24, the consumers share the rest. */
constexpr int kLaunchRegisters = 512 / (kWarps / 4 + 1) / 8 * 8;
constexpr int kShare = (kLaunchRegisters * (kWarps / 4 + 1) - 24) / (kWarps / 4) / 8 * 8;
constexpr int kConsumerRegisters = kShare > 240 ? 240 : kShare;
constexpr int kRows = kWarpRows / kBlock;   // block rows per warp
constexpr int kPanelRows = kWarps * kRows;  // block rows per panel
constexpr bool kPieces = kOrder == 1 && kCluster == 1;
constexpr int kHalves = kBlock / 16;        // mma tiles along either side of a block
constexpr int kNTiles = kTileN / 8;
constexpr int kStageK = kGroup * kBlock;
constexpr int kStageBytes = kStageK * kTileN * 2;
constexpr int kBlockBytes = kBlock * kBlock * 2;
constexpr int kRingABytes = kRows * kAhead * kBlockBytes; // of one warp
constexpr int kBoxes = kBLayout == 0 ? kTileN / 64 : kStageK / 64; // 128 bytes wide each
constexpr int kBoxRows = kBLayout == 0 ? kStageK : kTileN;         // 128-byte rows of a box
constexpr int kLoadRows = kBoxRows / kCluster; // of them, loaded by this CTA (kGather: of the steps)
/* Gathered columns lie one after another, each with its boxes; else each box holds all columns. */
constexpr int kColumnBytes = kBlock * kTileN * 2;
constexpr int kStepStride = kGather ? kColumnBytes : kBlock * 128;
constexpr int kBoxStride = (kGather ? kBlock : kBoxRows) * 128;

static_assert(sizeof(in_t) == 2, "16-bit inputs");
static_assert(kBlock == 16 || kBlock == 32, "small blocks");
static_assert(kPanelRows <= 32, "a step's mask has 32 bits, and each slot has a lane");
static_assert(kTileN % 64 == 0, "whole boxes");
static_assert(kGroup <= 32, "one lane a step");
static_assert(kBLayout == 0 || kStageK % 64 == 0, "a box of column-major B is 64 k wide");
static_assert(kGather || (kLoadRows <= 256 && kLoadRows % 8 == 0 && kBRank == 2), "one TMA box");
static_assert(!kGather || (kBLayout == 0 && kGroup % kCluster == 0), "whole rows of B, dealt evenly");
static_assert(kStages >= 2 && kThreads <= 1024 && kWarps % 4 == 0, "ring and warpgroups");
static_assert((kAhead & (kAhead - 1)) == 0 && kAhead >= 2, "a slot is the blocks left modulo kAhead");
static_assert(kStages * (kStageBytes + 16) + kWarps * kRingABytes <= 227 * 1024,
              "shared memory");

/* What a lane keeps of a panel: its slot's block row, -1 none, and the row's blocks. */
struct slot_row {
    int row;
    int begin, end;
};

/* The blocks that one of a warp's slots multiplies: of its row, or of its piece of it. */
struct slot_blocks {
    int first; /* an index */
    int jump;  /* from one to the next */
    int count;
};

struct tile_position {
    int panel, col; /* col: first column of C */
};

/* The unit that this cluster does in a round; one that is not 0 .. units - 1: none, and none after it.
 * kOrder 1: as the host dealt them out. A round is read while the one before is still to begin: none may
 * be asked for more than three past the last. */
__device__ __forceinline__ int unit_of(const tri_bsr_gemm_core_b &args, int round)
{
    int workers = gridDim.x / kCluster, me = blockIdx.x / kCluster;
    return kOrder == 0 ? round * workers + me : args.deal[round * workers + me];
}

__device__ __forceinline__ bool is_unit(int unit, int units)
{
    return static_cast<unsigned>(unit) < static_cast<unsigned>(units);
}

/* kOrder 0: panels first. CTAs that run together then share few columns of B, which stay in L2. Each
 * column tile starts with another panel: a CTA, whose units are a fixed step apart, then meets long
 * and short panels alike.
 * kOrder 1, for uneven rows: columns first; the order is the host's. */
__device__ __forceinline__ tile_position locate(int unit, int units, int units_m)
{
    tile_position t;
    int panel, tile_n;
    if constexpr (kOrder == 0) {
        tile_n = unit / units_m;
        panel = (unit + tile_n) % units_m;
    } else {
        int columns = units / units_m;
        panel = unit / columns;
        tile_n = unit - panel * columns;
    }
    t.panel = panel * kCluster + (kCluster > 1 ? (int)cluster_ctarank() : 0);
    t.col = tile_n * kTileN;
    return t;
}

/* A lane without a slot has none of the rows, as has a slot without a row. */
__device__ __forceinline__ slot_row fetch_slot(const tri_bsr_gemm_core_b &args, int panel, int lane)
{
    int i = panel * kPanelRows + lane;
    slot_row slot = {-1, 0, 0};
    if (lane < kPanelRows && i < args.block_rows) {
        const tri_block_row &record = args.rows[i];
        slot = {record.row, record.begin, record.end};
    }
    return slot;
}

/* For the next tile: kept in registers until then, column-major C at 32 x 32 would spill. */
__device__ __forceinline__ void prefetch_slot(const tri_bsr_gemm_core_b &args, int panel, int lane)
{
    int i = panel * kPanelRows + lane;
    if (lane < kPanelRows && i < args.block_rows)
        prefetch_l1(args.rows + i);
}

/* The slots of a panel that have this lane's row, in order: its pieces. */
__device__ __forceinline__ unsigned pieces_of(int row)
{
    return kPieces ? __match_any_sync(0xffffffffu, row) : 0;
}

/* mine, pieces: of this lane's slot; the answer is of `slot`, the same for all lanes. */
__device__ __forceinline__ slot_blocks blocks_of(const slot_row &mine, unsigned pieces, int slot)
{
    slot_blocks blocks;
    blocks.first = __shfl_sync(0xffffffffu, mine.begin, slot);
    blocks.jump = 1;
    blocks.count = __shfl_sync(0xffffffffu, mine.end, slot) - blocks.first;
    if constexpr (kPieces) {
        unsigned all = __shfl_sync(0xffffffffu, pieces, slot);
        if (blocks.count > 0 && (all & (all - 1))) {
            int before = __popc(all & ((1u << slot) - 1));
            blocks.jump = __popc(all);
            blocks.first += before;
            blocks.count = (blocks.count - before + blocks.jump - 1) / blocks.jump;
        }
    }
    return blocks;
}

{{#transposed}}
/* As below, but the blocks of a row of A lie anywhere: each one's place is read a block before it is copied. */
struct stream_a {
    int left;  /* blocks not yet multiplied */
    int jump;  /* from one to the next */
    int next;  /* index of the one that is copied next */
    int place; /* its block */
};

__device__ __forceinline__ int place_of(const tri_bsr_gemm_core_b &args, int index)
{
    return reinterpret_cast<const tri_transposed_block *>(args.col_idx)[index].place;
}

__device__ __forceinline__ void copy_block_a(const tri_bsr_gemm_core_b &args, int place, int left, unsigned ring_to)
{
    unsigned to = ring_to + (left & (kAhead - 1)) * kBlockBytes;
    const char *from = static_cast<const char *>(args.values) + (long long)place * kBlockBytes + threadIdx.x % 32 * 16;
#pragma unroll
    for (int i = 0; i < kBlockBytes / 512; i++)
        cp_async_16(to + i * 512, from + i * 512, 16);
}

/* The next block of a stream into the slot of the one that has just been multiplied. */
__device__ __forceinline__ void copy_next_a(const tri_bsr_gemm_core_b &args, stream_a &stream, unsigned ring_to)
{
    copy_block_a(args, stream.place, stream.left, ring_to);
    stream.next += kPieces ? stream.jump : 1;
    if (stream.left > kAhead + 1)
        stream.place = place_of(args, stream.next);
}

/* Starts the streams of a tile: kAhead groups of copies per slot. first_slot: of this warp. Lane i reads the place of a
 * row's i-th block. */
__device__ __forceinline__ void start_streams(const tri_bsr_gemm_core_b &args, stream_a (&streams)[kRows],
                                              const slot_row &mine, int first_slot, unsigned ring_to, int lane)
{
    unsigned pieces = pieces_of(mine.row);
    int places[kRows];
#pragma unroll
    for (int r = 0; r < kRows; r++) {
        slot_blocks blocks = blocks_of(mine, pieces, first_slot + r);
        streams[r].left = blocks.count;
        streams[r].jump = blocks.jump;
        streams[r].next = blocks.first + kAhead * blocks.jump;
        places[r] = lane < min(blocks.count, kAhead + 1) ? place_of(args, blocks.first + lane * blocks.jump) : 0;
    }
#pragma unroll
    for (int i = 0; i < kAhead; i++) {
#pragma unroll
        for (int r = 0; r < kRows; r++) {
            int place = __shfl_sync(0xffffffffu, places[r], i);
            if (streams[r].left > i)
                copy_block_a(args, place, streams[r].left - i + kAhead, ring_to + r * kAhead * kBlockBytes);
            cp_async_commit();
        }
    }
#pragma unroll
    for (int r = 0; r < kRows; r++)
        streams[r].place = __shfl_sync(0xffffffffu, places[r], kAhead);
}
{{/transposed}}

{{^transposed}}
/* Reads the blocks of one block row, kAhead at a time under way. The block that has `left` blocks
 * from itself to the end of its row lies in slot left % kAhead. */
struct stream_a {
    int left;         /* blocks not yet multiplied */
    int jump;         /* bytes from one to the next */
    const char *next; /* what this lane copies next */
};

__device__ __forceinline__ void copy_block_a(stream_a &stream, int left, unsigned ring_to)
{
    unsigned to = ring_to + (left & (kAhead - 1)) * kBlockBytes;
#pragma unroll
    for (int i = 0; i < kBlockBytes / 512; i++)
        cp_async_16(to + i * 512, stream.next + i * 512, 16);
    stream.next += kPieces ? stream.jump : kBlockBytes;
}

/* Starts the streams of a tile: kAhead groups of copies per slot. first_slot: of this warp. */
__device__ __forceinline__ void start_streams(stream_a (&streams)[kRows], const slot_row &mine, int first_slot,
                                              const void *values, unsigned ring_to, int lane)
{
    unsigned pieces = pieces_of(mine.row);
#pragma unroll
    for (int r = 0; r < kRows; r++) {
        slot_blocks blocks = blocks_of(mine, pieces, first_slot + r);
        streams[r].left = blocks.count;
        streams[r].jump = blocks.jump * kBlockBytes;
        streams[r].next = static_cast<const char *>(values) + (long long)blocks.first * kBlockBytes + lane * 16;
    }
#pragma unroll
    for (int i = 0; i < kAhead; i++) {
#pragma unroll
        for (int r = 0; r < kRows; r++) {
            if (streams[r].left > i)
                copy_block_a(streams[r], streams[r].left - i + kAhead,
                             ring_to + r * kAhead * kBlockBytes);
            cp_async_commit();
        }
    }
}

{{/transposed}}
/* This lane's copies of a stage; column: its step's (kGather), else the group's first. */
__device__ __forceinline__ void load_stage(const tri_bsr_gemm_core_b &args, unsigned char *stage,
                                           unsigned long long *full, int column, int col, int lane,
                                           int rank)
{
    constexpr unsigned short kAll = (1 << kCluster) - 1;
    if constexpr (!kGather) {
        if (lane >= kBoxes) return;
        unsigned char *to = stage + (lane * kBoxRows + rank * kLoadRows) * 128;
        int c0 = kBLayout == 0 ? col + lane * 64 : column * kBlock + lane * 64;
        int c1 = (kBLayout == 0 ? column * kBlock : col) + rank * kLoadRows;
        if constexpr (kCluster > 1)
            tma_load_2d_multicast(to, &args.map_b, full, c0, c1, kAll);
        else
            tma_load_2d(to, &args.map_b, full, c0, c1);
    } else {
        if (lane >= kGroup || column < 0 || lane % kCluster != rank) return;
        unsigned char *to = stage + lane * kStepStride;
        if constexpr (kBRank == 3) {
            if constexpr (kCluster > 1)
                tma_load_3d_multicast(to, &args.map_b, full, 0, column * kBlock, col / 64, kAll);
            else
                tma_load_3d(to, &args.map_b, full, 0, column * kBlock, col / 64);
        } else {
#pragma unroll
            for (int box = 0; box < kTileN / 64; box++) {
                unsigned char *part = to + box * kBoxStride;
                if constexpr (kCluster > 1)
                    tma_load_2d_multicast(part, &args.map_b, full, col + box * 64, column * kBlock, kAll);
                else
                    tma_load_2d(part, &args.map_b, full, col + box * 64, column * kBlock);
            }
        }
    }
}

/* Producer: one warp. */
__device__ __forceinline__ void produce(const tri_bsr_gemm_core_b &args, unsigned char *ring,
                                        unsigned long long *full, unsigned long long *empty, int units,
                                        int units_m)
{
    int rank = kCluster > 1 ? (int)cluster_ctarank() : 0;
    int lane = threadIdx.x % 32;
    int mine = kGather ? min(lane, kGroup - 1) : 0; /* of the steps of a group */
    int slot = 0;
    unsigned parity = 1; /* fresh slots are empty */
    int unit = unit_of(args, 0);
    for (int round = 1; is_unit(unit, units); round++) {
        tile_position tile = locate(unit, units, units_m);
        unit = unit_of(args, round);
        const tri_panel &panel = args.panels[tile.panel];
        const tri_panel_step *step = args.steps + panel.begin, *end = args.steps + panel.end;
        int next = !kGather ? panel.first[0].col : step < end ? step[mine].col : 0;
        for (; step < end; step += kGroup) {
            int column = next;
            if (step + kGroup < end)
                next = step[kGroup + mine].col;
            int bytes = kStageBytes;
            if constexpr (kGather)
                bytes = __popc(__ballot_sync(0xffffffffu, lane < kGroup && column >= 0)) * kColumnBytes;
            mbarrier_wait(&empty[slot], parity);
            if (lane == 0)
                mbarrier_arrive_expect_tx(&full[slot], bytes);
            __syncwarp();
            load_stage(args, ring + slot * kStageBytes, &full[slot], column, tile.col, lane, rank);
            if (++slot == kStages) {
                slot = 0;
                parity ^= 1;
            }
        }
    }
}

/* acc += A block * B rows for the next block of a stream, whose slot is then filled again.
 * from, to: what this lane reads and writes of the first slot of the row's ring. */
__device__ __forceinline__ void multiply_block({{#transposed}}const tri_bsr_gemm_core_b &args, {{/transposed}}float (&acc)[kHalves][kNTiles][4], stream_a &stream,
                                               unsigned from, unsigned to, unsigned b_address,
                                               unsigned b_flip)
{
    /* At least kAhead - 1 groups were committed after the one that brought this block: those of
     * the blocks of the same row in between. */
    cp_async_wait<kAhead - 1>();
    __syncwarp();
    unsigned a_address = from + (stream.left & (kAhead - 1)) * kBlockBytes;
#pragma unroll
    for (int kt = 0; kt < kHalves; kt++) {
        unsigned a[kHalves][4];
#pragma unroll
        for (int mt = 0; mt < kHalves; mt++)
{{^transposed}}
            ldmatrix_x4(a[mt], (a_address ^ kt << 5) + mt * 16 * kBlock * 2);
{{/transposed}}
{{#transposed}}
            ldmatrix_x4_trans(a[mt], (a_address ^ mt << 5) + kt * 16 * kBlock * 2);
{{/transposed}}
        if (kt == kHalves - 1) {
            __syncwarp(); /* every lane has read the slot */
            if (stream.left > kAhead)
{{^transposed}}
                copy_block_a(stream, stream.left, to);
{{/transposed}}
{{#transposed}}
                copy_next_a(args, stream, to);
{{/transposed}}
            cp_async_commit();
        }
#pragma unroll
        for (int nj = 0; nj < kNTiles / 2; nj++) {
            unsigned b[4];
            if constexpr (kBLayout == 0)
                ldmatrix_x4_trans(b, ((b_address + kt * 16 * 128) ^ ((nj * 2 % 8) << 4)) +
                                         nj * 16 / 64 * kBoxStride);
            else
                ldmatrix_x4(b, (b_address + nj * 16 * 128) ^ ((b_flip ^ kt * 2) << 4));
#pragma unroll
            for (int mt = 0; mt < kHalves; mt++) {
                mma_m16n8k16(acc[mt][nj * 2], a[mt], b[0], b[1], in_t());
                mma_m16n8k16(acc[mt][nj * 2 + 1], a[mt], b[2], b[3], in_t());
            }
        }
    }
    stream.left--;
}

/* The first slot of each row in pieces adds the sums of the others, in their order. All consumers of the CTA call it
 * together. Sums pass through the rings of A, which are empty then, as many columns at a time as these hold. */
__device__ __forceinline__ void add_pieces(float (&acc)[kRows][kHalves][kNTiles][4], unsigned pieces,
                                           unsigned char *ring_a, int first_slot, int lane)
{
    constexpr int kSums = kHalves * 32; /* float4 of a slot, in 8 columns */
    constexpr int kTiles = kRingABytes / (kRows * kSums * 16); /* a slot's share of its warp's own ring */
    static_assert(kTiles > 0 && kNTiles % kTiles == 0, "whole rounds");
    float4 *passed = reinterpret_cast<float4 *>(ring_a);
#pragma unroll
    for (int n0 = 0; n0 < kNTiles; n0 += kTiles) {
#pragma unroll
        for (int r = 0; r < kRows; r++) {
            unsigned all = __shfl_sync(0xffffffffu, pieces, first_slot + r);
            if (all & ((1u << (first_slot + r)) - 1)) {
                float4 *to = passed + (first_slot + r) * kTiles * kSums + lane;
#pragma unroll
                for (int i = 0; i < kTiles * kHalves; i++) {
                    const float(&v)[4] = acc[r][i % kHalves][n0 + i / kHalves];
                    to[i * 32] = make_float4(v[0], v[1], v[2], v[3]);
                }
            }
        }
        named_barrier_sync(1, kWarps * 32);
#pragma unroll
        for (int r = 0; r < kRows; r++) {
            unsigned all = __shfl_sync(0xffffffffu, pieces, first_slot + r);
            unsigned others = all & ((1u << (first_slot + r)) - 1) ? 0 : all & (all - 1);
            for (; others; others &= others - 1) {
                const float4 *from = passed + (__ffs(others) - 1) * kTiles * kSums + lane;
#pragma unroll
                for (int i = 0; i < kTiles * kHalves; i++) {
                    float(&v)[4] = acc[r][i % kHalves][n0 + i / kHalves];
                    float4 more = from[i * 32];
                    v[0] += more.x;
                    v[1] += more.y;
                    v[2] += more.z;
                    v[3] += more.w;
                }
            }
        }
        named_barrier_sync(1, kWarps * 32); /* before any ring is written again */
    }
}

/* Consumer: one warp. */
__device__ __forceinline__ void consume(const tri_bsr_gemm_core_b &args, unsigned ring, unsigned char *ring_a,
                                        unsigned long long *full, unsigned long long *empty, int units,
                                        int units_m)
{
    int lane = threadIdx.x % 32, warp = warp_uniform(threadIdx.x / 32), first_slot = warp * kRows;
    unsigned b_lane = ring + lane_offset_b<kBLayout, kBoxStride, 8>(lane, 0);
    constexpr int kChunks = kBlock / 8;
{{^transposed}}
    unsigned a_warp = smem_u32(ring_a) + warp * kRingABytes, a_from = a_warp + lane_offset_a<kChunks>(lane, 0);
{{/transposed}}
{{#transposed}}
    unsigned a_warp = smem_u32(ring_a) + warp * kRingABytes;
    unsigned a_from = a_warp + swizzled<kChunks>(lane / 16 * 8 + lane % 8, lane / 8 % 2); /* k, m */
{{/transposed}}
    unsigned a_to = a_warp + swizzled<kChunks>(lane / kChunks, lane % kChunks);

    int slot = 0, round = 0, unit = unit_of(args, 0), coming = unit_of(args, 1);
    unsigned parity = 0;
    stream_a streams[kRows];
    slot_row work = {-1, 0, 0}; /* of this lane's slot */
    if (is_unit(unit, units)) {
        work = fetch_slot(args, locate(unit, units, units_m).panel, lane);
{{^transposed}}
        start_streams(streams, work, first_slot, args.values, a_to, lane);
{{/transposed}}
{{#transposed}}
        start_streams(args, streams, work, first_slot, a_to, lane);
{{/transposed}}
    }
    while (is_unit(unit, units)) {
        tile_position tile = locate(unit, units, units_m);
        int first_step = args.panels[tile.panel].begin;
        int groups = (args.panels[tile.panel].end - first_step) / kGroup;
        const tri_panel_step *step = args.steps + first_step + min(lane, kGroup - 1);
        unit = coming;
        coming = unit_of(args, ++round + 1);
        int my_row = work.row;
        if (is_unit(unit, units))
            prefetch_slot(args, locate(unit, units, units_m).panel, lane);
        float acc[kRows][kHalves][kNTiles][4] = {};

        /* products; what a lane's step of the next group holds is read a group ahead */
        unsigned next = groups > 0 ? step->rows : 0;
        for (int group = 0; group < groups; group++) {
            unsigned mine = lane < kGroup ? next >> first_slot : 0;
            step += kGroup;
            if (group + 1 < groups)
                next = step->rows;
            mbarrier_wait(&full[slot], parity);
            unsigned b_slot = b_lane + slot * kStageBytes;
#pragma unroll
            for (int r = 0; r < kRows; r++) {
                unsigned todo = __ballot_sync(0xffffffffu, mine >> r & 1);
                while (todo) {
                    int s = __ffs(todo) - 1;
                    todo &= todo - 1;
                    unsigned b_address, b_flip = 0;
                    if constexpr (kBLayout == 0) {
                        b_address = b_slot + s * kStepStride;
                    } else {
                        b_address = b_slot + s * kBlock / 64 * kBoxStride;
                        b_flip = s * kBlock % 64 / 8;
                    }
                    multiply_block({{#transposed}}args, {{/transposed}}acc[r], streams[r], a_from + r * kAhead * kBlockBytes,
                                   a_to + r * kAhead * kBlockBytes, b_address, b_flip);
                }
            }
            __syncwarp(); /* every lane has read the slot */
            if constexpr (kCluster > 1) {
                if (lane < kCluster)
                    mbarrier_arrive_cluster(&empty[slot], lane);
            } else {
                if (lane == 0)
                    mbarrier_arrive(&empty[slot]);
            }
            if (++slot == kStages) {
                slot = 0;
                parity ^= 1;
            }
        }

        bool stores = my_row >= 0; /* this lane's slot */
        if constexpr (kPieces) {
            unsigned pieces = pieces_of(my_row);
            if (__any_sync(0xffffffffu, stores && (pieces & (pieces - 1))))
                add_pieces(acc, stores ? pieces : 0, ring_a, first_slot, lane);
            stores = stores && __ffs(pieces) - 1 == lane;
        }

        /* store: A and B of the next tile arrive meanwhile */
        if (is_unit(unit, units)) {
            work = fetch_slot(args, locate(unit, units, units_m).panel, lane);
{{^transposed}}
            start_streams(streams, work, first_slot, args.values, a_to, lane);
{{/transposed}}
{{#transposed}}
            start_streams(args, streams, work, first_slot, a_to, lane);
{{/transposed}}
        }
        output_view<out_t> out = make_output_view<out_t>(args);
#pragma unroll
        for (int r = 0; r < kRows; r++) {
            int row = __shfl_sync(0xffffffffu, stores ? my_row : -1, first_slot + r);
            if (row >= 0)
                store_warp_tile<kAct, kCLayout>(out, acc[r], row * kBlock, tile.col, lane);
        }
    }
}

/* grid: a multiple of kCluster, at best min(SMs, panels * ceil(n / kTileN)); kThreads threads;
 * dynamic shared memory, 1024-byte aligned:
 * kStages * (kStageBytes + 16) + kWarps * kRingABytes bytes.
 * map_b, 128-byte swizzle: box {64, kLoadRows}; kGather: {64, kBlock}, rank 3: {64, kBlock, kTileN / 64}. */
extern "C" __global__ void __launch_bounds__(kThreads, 1) __cluster_dims__(kCluster, 1, 1)
    triage_kernel(const __grid_constant__ tri_bsr_gemm_core_b args)
{
    extern __shared__ __align__(1024) unsigned char smem[];
    unsigned char *ring_a = smem + kStages * kStageBytes;
    unsigned long long *full = reinterpret_cast<unsigned long long *>(ring_a + kWarps * kRingABytes);
    unsigned long long *empty = full + kStages;

    if (threadIdx.x == 0) {
        for (int i = 0; i < kStages; i++) {
            mbarrier_init(&full[i], 1);
            mbarrier_init(&empty[i], kWarps * kCluster);
        }
        mbarrier_init_fence();
        tma_prefetch_map(&args.map_b);
    }
    if constexpr (kCluster > 1)
        cluster_sync();
    else
        __syncthreads();

    int units_m = (args.block_rows + kPanelRows * kCluster - 1) / (kPanelRows * kCluster);
    int units = units_m * ((args.n + kTileN - 1) / kTileN);
    if (threadIdx.x / 32 >= kWarps) {
        setmaxnreg_dec<24>();
        if (warp_uniform(threadIdx.x / 32) == kWarps)
            produce(args, smem, full, empty, units, units_m);
        __syncwarp();
    } else {
        setmaxnreg_inc<kConsumerRegisters>();
        consume(args, smem_u32(smem), ring_a, full, empty, units, units_m);
    }
    if constexpr (kCluster > 1)
        cluster_sync(); /* no copy or arrival may reach a CTA that has left */
}
