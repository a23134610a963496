/* mma.cu, tiles that no mask cuts: weights are of the references as they are, without a look for maxima. Their sums, which
 * are needed anyway, say whether that would do: weights are positive, so none is more than their sum, and up to kMost all are
 * as exact as others. Where one is too large or no number (a reference is -inf until the first key is seen), the scores are
 * made again from K, which is there until the step is done, and the maxima looked for as elsewhere.
 */
#ifndef TRIAGE_ATTENTION_MMA_LATE_CUH
#define TRIAGE_ATTENTION_MMA_LATE_CUH

static_assert(kStages == 2, "scores may be made again: K stays until the step is done");

/* May a query of the warp not see some key of the tile? */
__device__ __forceinline__ bool is_cut(const walk &w, int step)
{
    if constexpr (!kBlocks) {
        int key = (w.src.last_tile - step) * kTileN;
        return key < w.see.all_begin || key + kTileN > w.see.all_end;
    } else {
        const tile_table &table = w.ring[step % kRing];
        bool cut = false;
#pragma unroll
        for (int group = 0; group < kGroups; group++) {
            int key = table.key[group];
            cut |= key < w.see.all_begin || key + kGroupN > w.see.all_end;
            cut |= table.entry[group] >= 0 && w.args.partial_bits;
        }
        return cut;
    }
}

/* As weigh, of the references as they are; false: some weight is too large or no number, s is lost and st as it was. */
__device__ __forceinline__ bool weigh_late(state &st, float (&s)[kMTiles][kNTiles][4], float scale)
{
    float sum[kMTiles * 2];
    bool fits = true;
#pragma unroll
    for (int r = 0; r < kMTiles * 2; r++) {
        float(&row)[kNTiles][4] = s[r / 2];
        int e = r % 2 * 2;
        sum[r] = 0.0f;
#pragma unroll
        for (int n = 0; n < kNTiles; n++) {
            row[n][e] = exp2_fast(fmaf(row[n][e], scale, -st.m[r]));
            row[n][e + 1] = exp2_fast(fmaf(row[n][e + 1], scale, -st.m[r]));
            sum[r] += row[n][e] + row[n][e + 1];
        }
        fits &= sum[r] <= kMost;
    }
    if (!__all_sync(0xffffffffu, fits))
        return false;
#pragma unroll
    for (int r = 0; r < kMTiles * 2; r++)
        st.l[r] += sum[r];
    return true;
}

/* See mma.cu. Scores whose weights were too large are made again, by the same instructions. */
template <typename between_t>
__device__ __forceinline__ void make_weights(const walk &w, state &st, float (&s)[kMTiles][kNTiles][4], unsigned k_row,
                                             int step, between_t)
{
    bool late = !is_cut(w, step);
#pragma unroll 1
    for (;;) {
        multiply_k(s, w.held, w.q_row, k_row);
        cap_scores(s, w.inner, w.args.softcap * 1.4426950408889634f);
        if (!late)
            break;
        if (weigh_late(st, s, w.scale))
            return;
        late = false;
    }
    mask_tile(s, w.args, w.src, w.see, w.ring, step, w.row0, w.lane);
    raise_maxima(st, s, w.scale);
    weigh(st, s, w.scale);
}

#endif
