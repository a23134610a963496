/* wgmma.cu, the producer warp: tiles, Q, K and V into their rings. Included behind wgmma_tiles.cuh.
 */
#ifndef TRIAGE_ATTENTION_WGMMA_LOAD_CUH
#define TRIAGE_ATTENTION_WGMMA_LOAD_CUH

/* ---- load: one warp ---- */

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
        load_rows<kDSlabs, kTileN>(k_slot(ring.slot), &args.map_k, &sync().k_full[ring.slot], at.row,
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
        load_rows<kDvSlabs, kTileN>(v_slot(ring.slot), &args.map_v, &sync().v_full[ring.slot], at.row,
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
        load_rows<kDSlabs, kTileM>(q_slot(slot) + wg * 64 * 128, &args.map_q, &sync().q_full[slot],
                                       tile.q_row + tile.m0 + wg * 64, tile.head, tile.batch, policy);
}

/* The runs of a step into a slot: lane i brings run i. */
template <int slabs>
__device__ __forceinline__ void load_runs(unsigned char *slot, const void *map, unsigned long long *bar, int key,
                                          block_t at, unsigned long long policy)
{
    const int lane = threadIdx.x % 32;
    if (lane == 0) mbarrier_arrive_expect_tx(bar, slabs * kTileN * 128);
    __syncwarp();
    if (lane < kUnits)
        load_rows<slabs, kTileN>(slot + lane * kUnit * 128, map, bar, key, at.head, at.batch, policy);
}

/* The steps of a tile with a block mask. v_key, v_at: the V that is still to come. behind_first: what is brought behind
 * the first of them. */
template <class masked_args, class behind_first_t>
__device__ __forceinline__ void produce_gathered(const masked_args &args, const tile_t &tile, ring_t<kStages> &k_ring,
                                                 ring_t<kStages> &v_ring, int &v_key, block_t &v_at, block_t at,
                                                 unsigned long long policy, behind_first_t behind_first)
{
    lists_t<masked_args> lists(args, tile);
    int key, entry, next_key, next_entry;
    bool first = true;
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
        if (kApart && first) behind_first();
        first = false;
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
    const auto bring_q = [&] {
        mbarrier_wait(&sync().q_empty[q_ring.slot], q_ring.parity ^ 1);
        if (one) {
            sync().tiles[count % kTileSlots] = tile;
            load_q(args, q_ring.slot, tile, once);
        }
        q_ring.advance();
        ++count;
    };
    while (tiles.get(tile)) {
        if constexpr (!kApart) bring_q(); // else behind what the tile before still waits for
        block_t at = {0, tile.head / group, tile.batch};
        if constexpr (kMaskM > 0) {
            produce_gathered(args, tile, k_ring, v_ring, late_key, late, at, often, bring_q);
            continue;
        }
        const int k_row = kOffsets ? args.cu_k[tile.batch] : 0;
        for (int s = 0; s < tile.steps; ++s) {
            at.row = k_row + (tile.first - s) * kTileN;
            load_k(args, k_ring, at, one, often);
            if (late.row >= 0) load_v(args, v_ring, late, one, often);
            late = at;
            if (kApart && s == 0) bring_q();
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
    mbarrier_wait(&sync().q_empty[q_ring.slot], q_ring.parity ^ 1);
    if (one) {
        sync().tiles[count % kTileSlots].steps = -1;
        mbarrier_arrive(&sync().q_full[q_ring.slot]);
    }
    tiles.leave();
}

#endif
