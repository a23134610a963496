// templates/attention/wgmma_late.cuh alone, of one step of a warpgroup: weights of maxima that were not looked for. kTileN, kD and
// kSkip come with the text (unit/test_attention_late_emulated).
#include "lib/softmax.cuh"

struct in_t { // bf16
    unsigned short bits;
    operator float() const { return __int_as_float((unsigned)bits << 16); }
};

struct args_late {
    const unsigned short *q, *k; // [64][kD], [kTileN][kD]
    const float *maximum;        // [64]: before
    float *scores, *weights;     // [64][kTileN]: made again; of the step
    float *after, *sum, *rescale; // [64]: maximum, sum of the step, what what was before is multiplied with
    int *outcome;                // of each warp: 0 nothing was large, 1 made smaller, 2 to be made again
};

struct rows_t {
    float maximum[2] = {-INFINITY, -INFINITY}, sum[2] = {0.0f, 0.0f};
};

constexpr int kTileM = 64;

#include "attention/wgmma_late.cuh"

static unsigned char slots[2][kTileN > 64 ? kTileN * 128 * 4 : 64 * 128 * 4];

// Rows as TMA writes them: 64 columns a slab, 16-byte pieces swizzled.
static void put(unsigned char *slot, const unsigned short *from, int rows)
{
    for (int row = 0; row < rows; row++)
        for (int c = 0; c < kD; c++)
            memcpy(slot + c / 64 * rows * 128 + row * 128 + (c % 64 / 8 ^ row % 8) * 16 + c % 8 * 2, from + row * kD + c, 2);
}

static void triage_kernel(const args_late &args)
{
    if (threadIdx.x == 0) put(slots[0], args.q, kTileM), put(slots[1], args.k, kTileN);
    __syncthreads();
    float s[kTileN / 2], rescale[2] = {1.0f, 1.0f};
    rows_t rows, now;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, first = warp * 16 + lane / 4;
    redo_scores(s, slots[0], slots[1], 0);
    for (int i = 0; i < kTileN / 2; i++)
        args.scores[(first + i / 2 % 2 * 8) * kTileN + i / 4 * 8 + lane % 4 * 2 + i % 2] = s[i];
    for (int r = 0; r < 2; r++) rows.maximum[r] = args.maximum[first + r * 8], rows.sum[r] = 1.0f;
    for (int i = 0; i < kTileN / 2; i++) {
        s[i] = exp2_fast(s[i] - rows.maximum[i / 2 % 2]);
        now.sum[i / 2 % 2] += s[i];
    }
    const int outcome = !are_large(now.sum) ? 0 : shrink(s, now, rows, rescale) ? 1 : 2;
    args.outcome[warp] = outcome;
    for (int r = 0; r < 2; r++) {
        args.after[first + r * 8] = rows.maximum[r];
        args.sum[first + r * 8] = quad_sum(now.sum[r]);
        args.rescale[first + r * 8] = outcome == 1 ? rows.sum[r] : 1.0f;
    }
    for (int i = 0; i < kTileN / 2; i++)
        args.weights[(first + i / 2 % 2 * 8) * kTileN + i / 4 * 8 + lane % 4 * 2 + i % 2] = s[i];
}
