/* wgmma.cu, what a consumer does with scores: mask, maximum, exponentials, sums. Included behind the constants and
 * types that it uses.
 */
#ifndef TRIAGE_ATTENTION_WGMMA_SOFTMAX_CUH
#define TRIAGE_ATTENTION_WGMMA_SOFTMAX_CUH

/* ---- softmax: a thread has two rows, lane / 4 of its warp's 16 and the one 8 below ---- */

/* In units of log2, maximum is that of scores * scale. */
struct rows_t {
    float maximum[2] = {minus_infinity(), minus_infinity()};
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
        limits.end[r] = (kRight ? min(k_len, row + r * 8 + keys_ahead(args.right) + 1) : k_len) - column;
        limits.begin[r] = kLeft ? row + r * 8 - keys_ahead(args.left) - column : 0;
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
        if (!seen) s[i] = minus_infinity();
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
                        if (!seen) x = minus_infinity();
                    }
            }
        }
    }
}

/* The rows' new maxima, and what their sums so far are to be multiplied with; false: with nothing, in this warp. base:
 * what is subtracted from the scores: the maximum, but 0 where it is -inf, which it can be only where the mask cuts.
 * Where no lane has a score that moves its row's maximum, as nearly always with kSkip, the rows' lanes need not ask each
 * other. */
template <bool cut>
__device__ __forceinline__ bool raise_maximum(const float (&s)[kTileN / 2], rows_t &rows, float (&rescale)[2],
                                              float (&base)[2], float scale)
{
    float top[4] = {s[0], s[1], s[2], s[3]};
#pragma unroll
    for (int i = 4; i < kTileN / 2; ++i) top[i % 4] = fmaxf(top[i % 4], s[i]);
    const float own[2] = {fmaxf(top[0], top[1]) * scale, fmaxf(top[2], top[3]) * scale};
    bool moved = true;
    if constexpr (kSkip > 0)
        moved = __any_sync(0xffffffffu, own[0] > rows.maximum[0] + kSkip || own[1] > rows.maximum[1] + kSkip);
    if (moved) {
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            float maximum = fmaxf(rows.maximum[r], quad_max(own[r]));
            if (kSkip > 0 && maximum - rows.maximum[r] <= kSkip) maximum = rows.maximum[r];
            rescale[r] = exp2_fast(rows.maximum[r] - (cut && maximum == minus_infinity() ? 0.0f : maximum));
            rows.maximum[r] = maximum;
            rows.sum[r] *= rescale[r];
        }
    }
#pragma unroll
    for (int r = 0; r < 2; ++r)
        base[r] = cut && rows.maximum[r] == minus_infinity() ? 0.0f : rows.maximum[r];
    return moved;
}

/* Quarters of s -> exponentials, added to the sums. */
template <int from, int to>
__device__ __forceinline__ void exponentiate(float (&s)[kTileN / 2], rows_t &rows, const float (&base)[2],
                                             float scale)
{
    constexpr int kColumns = kTileN / 8; // of 8 keys, 4 sums each
#pragma unroll
    for (int i = kColumns * from / 4 * 4; i < kColumns * to / 4 * 4; ++i) {
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

__device__ __forceinline__ void rescale_sums(float (&o)[kDvWide / 2], bool moved, const float (&rescale)[2])
{
    if constexpr (kSkip == 0) moved = __any_sync(0xffffffffu, rescale[0] != 1.0f || rescale[1] != 1.0f);
    if (!moved) return;
#pragma unroll
    for (int i = 0; i < kDvWide / 2; ++i) o[i] *= rescale[i / 2 % 2];
}

#endif
