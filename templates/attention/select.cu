/* Block selection: see select.h. Runs wherever the compiler goes.
 *
 *   phase 0   CTA: a block of Q or K      warp: each eighth row; lane: columns        sums, then the mean
 *   phase 1   CTA: a row of lists         warp: a KV block                            its score, in shared memory
 *                                         all: as often as blocks are wanted          the best one left is taken
 *                                         warp 0: 32 blocks at a time                 the list, ascending
 *
 * Parameters, all set by the problem: in_type (float, __half, __nv_bfloat16, __nv_fp8_e4m3), d (1 .. 256), mask_m, mask_n
 * (16, 32, 64, 128), left, right, top_left (args.h).
 * Launch: 256 threads, any grid; phase 1 with as many floats of shared memory as there are KV blocks.
 */
#include "attention/select.h"
#include "lib/softmax.cuh"
#include "lib/store.cuh"

using in_t = {{in_type}};              // Q and K
constexpr int kD = {{d}};              // of a head
constexpr int kMaskM = {{mask_m}};     // queries of a block
constexpr int kMaskN = {{mask_n}};     // keys of a block
constexpr int kLeft = {{left}};        // 1: args.left counts
constexpr int kRight = {{right}};      // 1: args.right counts
constexpr int kTopLeft = {{top_left}}; // 1: query 0 sees key 0, else the last query the last key

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr int kColumns = (kD + 31) / 32; // a lane
constexpr int kNone = 0x7fffffff;        // no block
constexpr unsigned kAll = 0xffffffffu;

__device__ int blocks_of(int rows, int size) { return (int)((rows + size - 1LL) / size); }

/* ---- phase 0 ---- */

/* The mean of `count` rows of each of some heads, by all threads. */
__device__ void pool(float *to, const in_t *rows, tri_attention_stride stride, int heads, int count)
{
    __shared__ float sums[kWarps][kColumns * 32];
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    float sum[kColumns] = {};
    for (int head = 0; head < heads; head++)
#pragma unroll 4
        for (int i = warp; i < count; i += kWarps)
            for (int x = 0; x < kColumns; x++)
                if (lane + 32 * x < kD)
                    sum[x] += to_float(rows[head * stride.head + i * stride.row + lane + 32 * x]);
    __syncthreads(); // what stood there is read
    for (int x = 0; x < kColumns; x++)
        sums[warp][lane + 32 * x] = sum[x];
    __syncthreads();
    for (int x = threadIdx.x; x < kD; x += kThreads) {
        float all = 0.0f;
        for (int of = 0; of < kWarps; of++)
            all += sums[of][x];
        to[x] = all / ((float)heads * count);
    }
}

/* Of each sequence, each `group` heads of it and each block of `size` rows: the block `at` of all of them. */
__device__ void pool_one(float *to, const void *from, tri_attention_stride stride, int heads, int group, int rows, int size,
                         long long at)
{
    long long blocks = blocks_of(rows, size), block = at % blocks, head = at / blocks % heads, b = at / blocks / heads;
    const in_t *first = static_cast<const in_t *>(from) + b * stride.batch + head * group * stride.head +
                        block * size * stride.row;
    pool(to + at * kD, first, stride, group, (int)min(rows - block * size, (long long)size));
}

__device__ void pool_all(const tri_select_args &args)
{
    long long of_q = (long long)args.batch * args.list_heads * blocks_of(args.sq, kMaskM);
    long long of_k = (long long)args.batch * args.heads_kv * blocks_of(args.sk, kMaskN);
    for (long long at = blockIdx.x; at < of_q + of_k; at += gridDim.x)
        if (at < of_q)
            pool_one(args.pooled_q, args.q, args.q_stride, args.list_heads, args.heads_q / args.list_heads, args.sq,
                     kMaskM, at);
        else
            pool_one(args.pooled_k, args.k, args.k_stride, args.heads_kv, 1, args.sk, kMaskN, at - of_q);
}

/* ---- phase 1 ---- */

__device__ float score(const float *q, const float *k)
{
    float sum = 0.0f;
    for (int x = threadIdx.x % 32; x < kD; x += 32)
        sum = fmaf(q[x], k[x], sum);
    for (int lane = 16; lane > 0; lane /= 2)
        sum += __shfl_xor_sync(kAll, sum, lane);
    return sum;
}

/* The better of two: of equals the lower one. */
__device__ void take_better(float &value, int &at, float other, int other_at)
{
    if (other > value || (other == value && other_at < at)) {
        value = other;
        at = other_at;
    }
}

/* Which of scores[begin .. end - 1] is the best, for all threads. NaN is what was taken before: no comparison has it. */
__device__ int best_of(const float *scores, int begin, int end)
{
    __shared__ float values[kWarps];
    __shared__ int places[kWarps];
    float value = minus_infinity();
    int at = kNone;
    for (int i = begin + threadIdx.x; i < end; i += kThreads)
        take_better(value, at, scores[i], i);
    for (int lane = 16; lane > 0; lane /= 2) {
        float other = __shfl_xor_sync(kAll, value, lane);
        int other_at = __shfl_xor_sync(kAll, at, lane);
        take_better(value, at, other, other_at);
    }
    if (threadIdx.x % 32 == 0) {
        values[threadIdx.x / 32] = value;
        places[threadIdx.x / 32] = at;
    }
    __syncthreads();
    value = values[0];
    at = places[0];
    for (int warp = 1; warp < kWarps; warp++)
        take_better(value, at, values[warp], places[warp]);
    __syncthreads();
    return at;
}

/* Warp 0: the blocks whose score says that they were taken, in ascending order. */
__device__ void write_list(int *list, int *count, const float *scores, int begin, int end)
{
    int made = 0, lane = threadIdx.x % 32;
    for (int first = begin; first < end; first += 32) {
        bool taken = first + lane < end && scores[first + lane] != scores[first + lane];
        unsigned who = __ballot_sync(kAll, taken);
        if (taken)
            list[made + __popc(who & ((1u << lane) - 1))] = first + lane;
        made += __popc(who);
    }
    if (lane == 0)
        *count = made;
}

__device__ void select_row(const tri_select_args &args, long long row, float *scores)
{
    int q_blocks = blocks_of(args.sq, kMaskM), k_blocks = blocks_of(args.sk, kMaskN);
    long long head = row / q_blocks % args.list_heads, b = row / q_blocks / args.list_heads;
    long long kv = head / (args.list_heads / args.heads_kv);
    tri_select_range range = tri_select_range_of(args.sq, args.sk, kMaskM, kMaskN, kLeft ? args.left : -1,
                                                 kRight ? args.right : -1, kTopLeft, row % q_blocks);
    const float *q = args.pooled_q + row * kD;
    const float *k = args.pooled_k + (b * args.heads_kv + kv) * k_blocks * kD;
    for (int at = range.begin + threadIdx.x / 32; at < range.end; at += kWarps) {
        float value = score(q, k + (long long)at * kD);
        bool own = at >= range.own_begin && at < range.own_end;
        if (threadIdx.x % 32 == 0) /* own blocks are taken from the start */
            scores[at] = own ? __int_as_float(0x7fc00000) : value == value ? value : minus_infinity();
    }
    __syncthreads();
    int others = min(args.top, range.end - range.begin) - (range.own_end - range.own_begin);
    for (int i = 0; i < others; i++) {
        int at = best_of(scores, range.begin, range.end);
        if (threadIdx.x == 0)
            scores[at] = __int_as_float(0x7fc00000);
        __syncthreads();
    }
    if (threadIdx.x < 32)
        write_list(args.cols + row * args.capacity, args.count + row, scores, range.begin, range.end);
    __syncthreads(); // the scores are read
}

extern "C" __global__ void __launch_bounds__(kThreads) triage_kernel(const __grid_constant__ tri_select_args args)
{
    extern __shared__ float room[];
    if (args.phase == 0) {
        pool_all(args);
        return;
    }
    long long rows = (long long)args.batch * args.list_heads * blocks_of(args.sq, kMaskM);
    for (long long row = blockIdx.x; row < rows; row += gridDim.x)
        select_row(args, row, room);
}
