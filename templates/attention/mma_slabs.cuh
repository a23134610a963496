/* mma.cu, tiles in two slabs of kSlab keys. Three things are done side by side, in one run of instructions: scores of a slab,
 * weights of the slab before, products with V of the one before that. So tensor cores, exponentials and shared memory do not
 * wait for each other.
 *
 *   slab     0    1    2    3
 *   scores   S0   S1   S2   S3
 *   weights       P0   P1   P2   P3
 *   P V                P0 V P1 V P2 V P3 V
 *
 * Nobody has looked for maxima then: weights are of the references as they are, and their sums, which are needed anyway, say
 * whether that would do: they are positive, so none is more than their sum. Where one is too large or no number, or where a
 * mask cuts the slab, the scores are still there and become weights again, maxima first. A reference is -inf until the first
 * key is seen; the weights are then inf, and looked at so.
 */
#ifndef TRIAGE_ATTENTION_MMA_SLABS_CUH
#define TRIAGE_ATTENTION_MMA_SLABS_CUH

constexpr int kSlabN = kSlab / 8;
static_assert(kTileN == 2 * kSlab && kSlab % 16 == 0 && kStages == 2, "two slabs a tile");
static_assert(!kTable && !kSoftcap, "keys in order, scores as they are");

struct slab {
    float s[kMTiles][kSlabN][4];        /* scores */
    float sum[kMTiles * 2];             /* of the lane's weights */
    unsigned p[kMTiles][kSlab / 16][4]; /* weights as the operand of P V */
};

/* The i'th two neighbours of the lane's become weights. */
__device__ __forceinline__ void weigh_pair(slab &of, const state &st, float scale, int i)
{
    const int m = i / (kSlabN * 2), n = i / 2 % kSlabN, half = i % 2, r = m * 2 + half;
    const float low = exp2_fast(fmaf(of.s[m][n][half * 2], scale, -st.m[r]));
    const float high = exp2_fast(fmaf(of.s[m][n][half * 2 + 1], scale, -st.m[r]));
    of.sum[r] += low + high;
    of.p[m][n / 2][n % 2 * 2 + half] = pack2<mma_t>(low, high);
}

/* Scores of `next`, weights of `now`, products of `before`: which of the three there are. next and before may be one. */
template <bool kScores, bool kWeights, bool kProducts>
__device__ __forceinline__ void do_slabs(const walk &w, state &st, slab &next, slab &now, const slab &before,
                                         unsigned k_row, unsigned v_row)
{
    constexpr int kKPairs = kSlabN / 2, kKTotal = kScores ? kKSteps * kKPairs : 0;
    constexpr int kVPairs = kOTiles / 2, kVTotal = kProducts ? kSlab / 16 * kVPairs : 0;
    constexpr int kUnits = kKTotal > kVTotal ? kKTotal : kVTotal, kWeighed = kWeights ? kMTiles * kSlabN * 2 : 0;
    unsigned a[2][kMTiles][4], k_ahead[kAhead + 1][4], v_ahead[kAhead + 1][4];
    auto read_k = [&](int i) {
        if (i < kKTotal)
            load_k(k_ahead[i % (kAhead + 1)], k_row + i % kKPairs * 16 * kPitchK, i / kKPairs);
    };
    auto read_v = [&](int i) {
        if (i < kVTotal)
            load_v(v_ahead[i % (kAhead + 1)], v_row + i / kVPairs * 16 * kPitchV, i % kVPairs);
    };
    if constexpr (kScores) {
        take_q(a[0], w.held, w.q_row, 0);
        clear(next.s);
    }
#pragma unroll
    for (int i = 0; i < kAhead; i++)
        read_k(i), read_v(i);
#pragma unroll
    for (int r = 0; r < kMTiles * 2; r++)
        now.sum[r] = 0.0f;
#pragma unroll
    for (int u = 0; u < kUnits; u++) {
        read_k(u + kAhead);
        if (u < kKTotal) {
            const int k = u / kKPairs, n = u % kKPairs;
            if (n == (kKPairs > 1 ? kKPairs - 2 : 0) && k + 1 < kKSteps)
                take_q(a[(k + 1) % 2], w.held, w.q_row, k + 1);
            const unsigned(&b)[4] = k_ahead[u % (kAhead + 1)];
#pragma unroll
            for (int m = 0; m < kMTiles; m++) {
                mma_m16n8k16(next.s[m][2 * n], a[k % 2][m], b[0], b[1], mma_t());
                mma_m16n8k16(next.s[m][2 * n + 1], a[k % 2][m], b[2], b[3], mma_t());
            }
        }
        read_v(u + kAhead);
        if (u < kVTotal) {
            const int k = u / kVPairs, t = u % kVPairs;
            const unsigned(&b)[4] = v_ahead[u % (kAhead + 1)];
#pragma unroll
            for (int m = 0; m < kMTiles; m++) {
                mma_m16n8k16(st.o[m][2 * t], before.p[m][k], b[0], b[1], mma_t());
                mma_m16n8k16(st.o[m][2 * t + 1], before.p[m][k], b[2], b[3], mma_t());
            }
        }
#pragma unroll
        for (int i = u * kWeighed / kUnits; i < (u + 1) * kWeighed / kUnits; i++)
            weigh_pair(now, st, w.scale, i);
    }
}

/* Takes in the weights of a slab, whose first key is `key`, or makes them anew. Products of all slabs before are done. */
__device__ __forceinline__ void settle(const walk &w, state &st, slab &of, int key)
{
    bool fits = key >= w.see.all_begin && key + kSlab <= w.see.all_end;
#pragma unroll
    for (int r = 0; r < kMTiles * 2; r++)
        fits &= of.sum[r] <= kMost;
    if (__all_sync(0xffffffffu, fits)) {
#pragma unroll
        for (int r = 0; r < kMTiles * 2; r++)
            st.l[r] += of.sum[r];
        return;
    }
    mask_range<kSlab>(of.s, w.see, w.src.sk, 0, key, w.lane);
    raise_maxima(st, of.s, w.scale);
    weigh(st, of.s, w.scale);
#pragma unroll
    for (int m = 0; m < kMTiles; m++)
#pragma unroll
        for (int i = 0; i < kSlabN * 2; i++) {
            const int n = i / 2, half = i % 2;
            of.p[m][n / 2][n % 2 * 2 + half] = pack2<mma_t>(of.s[m][n][half * 2], of.s[m][n][half * 2 + 1]);
        }
}

/* All tiles. V is used, and so loaded, a tile behind K. */
__device__ __forceinline__ void walk_slabs(walk &w, state &st)
{
    constexpr unsigned kKSlab = kSlab * kPitchK, kVSlab = kSlab * kPitchV;
    const source &src = w.src;
    slab even, odd;
    if (src.steps == 0)
        return;
    auto turn = [&](int step) { /* K of the step and V of the one before are there; the next are on their way */
        cp_async_wait<0>();
        __syncthreads();
        load_tile<kD, kPitchK>(w.k_smem + (step + 1) % 2 * kKBytes, src, src.k, w.args.k_stride, w.ring, step + 1);
        load_tile<kDv, kPitchV>(w.v_smem + step % 2 * kVBytes, src, src.v, w.args.v_stride, w.ring, step);
        cp_async_commit();
    };
    turn(0);
    hold_q(w.held, w.q_row);
    int key = src.last_tile * kTileN;
    do_slabs<true, false, false>(w, st, even, odd, even, w.k_row, 0);
    do_slabs<true, true, false>(w, st, odd, even, odd, w.k_row + kKSlab, 0);
    settle(w, st, even, key);
#pragma unroll 1
    for (int step = 1; step < src.steps; step++) {
        turn(step);
        const unsigned k = w.k_row + step % 2 * kKBytes, v = w.v_row + (step + 1) % 2 * kVBytes;
        do_slabs<true, true, true>(w, st, even, odd, even, k, v);
        settle(w, st, odd, key + kSlab);
        key -= kTileN;
        do_slabs<true, true, true>(w, st, odd, even, odd, k + kKSlab, v + kVSlab);
        settle(w, st, even, key);
    }
    cp_async_wait<0>();
    __syncthreads();
    const unsigned v = w.v_row + (src.steps - 1) % 2 * kVBytes;
    do_slabs<false, true, true>(w, st, even, odd, even, 0, v);
    settle(w, st, odd, key + kSlab);
    do_slabs<false, false, true>(w, st, odd, even, odd, 0, v + kVSlab);
}

#endif
