// templates/attention/wgmma_fp8_late.cuh alone, of one step of a warpgroup: weights of maxima that were not looked for. kTileN and
// kD come with the text (unit/test_attention_late_fp8_emulated).
#include "lib/softmax.cuh"

struct in_t { // e4m3, normal numbers and zero
    unsigned char bits;
    operator float() const
    {
        float value = bits & 127 ? ldexpf(8 + (bits & 7), (bits >> 3 & 15) - 10) : 0.0f;
        return bits & 128 ? -value : value;
    }
};

struct args_late {
    const unsigned char *q, *k; // [64][kD], [kTileN][kD]
    const float *maximum;       // [64]: before
    float *scores, *weights;    // [64][kTileN]: made again; of the step
    float *after, *sum, *before; // [64]: maximum, sum of the step, what sums of 1 before it have become
    float *rescale;             // [64]: what O is multiplied with
    int *outcome;               // of each warp: 0 nothing was large, 1 made smaller, 2 to be made again
};

struct rows_t {
    float maximum[2] = {-INFINITY, -INFINITY}, sum[2] = {0.0f, 0.0f};
};

constexpr int kTileM = 64, kWeightOffset = 4;
constexpr float kMostWeight = 448.0f;

#include "attention/wgmma_fp8_late.cuh"

static unsigned char slots[2][(kTileN > 64 ? kTileN : 64) * 256];

// Rows as TMA writes them: 128 columns a slab, 16-byte pieces swizzled.
static void put(unsigned char *slot, const unsigned char *from, int rows)
{
    for (int row = 0; row < rows; row++)
        for (int c = 0; c < kD; c++)
            slot[c / 128 * rows * 128 + row * 128 + (c % 128 / 16 ^ row % 8) * 16 + c % 16] = from[row * kD + c];
}

static void triage_kernel(const args_late &args)
{
    if (threadIdx.x == 0) put(slots[0], args.q, kTileM), put(slots[1], args.k, kTileN);
    __syncthreads();
    float s[kTileN / 2], rescale[2] = {1.0f, 1.0f}, sum[2][2] = {};
    rows_t rows;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, first = warp * 16 + lane / 4;
    redo_scores(s, slots[0], slots[1], 0);
    for (int i = 0; i < kTileN / 2; i++)
        args.scores[(first + i / 2 % 2 * 8) * kTileN + i / 4 * 8 + lane % 4 * 2 + i % 2] = s[i];
    for (int r = 0; r < 2; r++) rows.maximum[r] = args.maximum[first + r * 8], rows.sum[r] = 1.0f;
    for (int i = 0; i < kTileN / 2; i++) {
        s[i] = exp2_fast(s[i] - (rows.maximum[i / 2 % 2] - kWeightOffset));
        sum[i / 2 % 2][i % 2] += s[i];
    }
    const int outcome = !are_large(sum) ? 0 : shrink(s, sum, rows, rescale) ? 1 : 2;
    args.outcome[warp] = outcome;
    for (int r = 0; r < 2; r++) {
        args.after[first + r * 8] = rows.maximum[r];
        args.sum[first + r * 8] = quad_sum(sum[r][0] + sum[r][1]);
        args.before[first + r * 8] = rows.sum[r];
        args.rescale[first + r * 8] = rescale[r];
    }
    for (int i = 0; i < kTileN / 2; i++)
        args.weights[(first + i / 2 % 2 * 8) * kTileN + i / 4 * 8 + lane % 4 * 2 + i % 2] = s[i];
}
