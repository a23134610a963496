/* wgmma.cu, which tiles a CTA does in which order, and which keys each of them sees; with a block mask, which runs of
 * keys. Included behind the constants and types that it uses.
 */
#ifndef TRIAGE_ATTENTION_WGMMA_TILES_CUH
#define TRIAGE_ATTENTION_WGMMA_TILES_CUH

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
        section = min(section, heads);
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
            end = min(end, last_row + keys_ahead(args.right) + 1);
            end_of_all = min(end_of_all, first_row + keys_ahead(args.right) + 1);
        }
        if constexpr (kLeft) {
            begin = max(begin, first_row - keys_ahead(args.left));
            begin_of_all = max(begin_of_all, last_row - keys_ahead(args.left));
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

#endif
