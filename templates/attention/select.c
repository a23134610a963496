/* Block selection on the CPU: see select.h.
 *
 * Parameters, all set by the problem: in_type (float, f16_t, bf16_t, e4m3_t), d (1 .. 256), mask_m, mask_n (16, 32, 64,
 * 128), left, right, top_left (args.h).
 */
#include "lib/host_fp8.h"
#include "attention/select.h"

#include <omp.h>

typedef {{in_type}} in_t; // Q and K
enum {
    kD = {{d}},              // of a head
    kMaskM = {{mask_m}},     // queries of a block
    kMaskN = {{mask_n}},     // keys of a block
    kLeft = {{left}},        // 1: args.left counts
    kRight = {{right}},      // 1: args.right counts
    kTopLeft = {{top_left}}, // 1: query 0 sees key 0, else the last query the last key
};

static int blocks_of(int rows, int size)
{
    return (int)((rows + size - 1LL) / size);
}

/* ---- phase 0 ---- */

/* The mean of `count` rows of each of some heads. */
static void pool(float *to, const in_t *rows, tri_attention_stride stride, int heads, int count)
{
    for (int x = 0; x < kD; x++)
        to[x] = 0.0f;
    for (int head = 0; head < heads; head++)
        for (int i = 0; i < count; i++)
            for (int x = 0; x < kD; x++)
                to[x] += to_float(rows[head * stride.head + i * stride.row + x]);
    for (int x = 0; x < kD; x++)
        to[x] /= (float)heads * (float)count;
}

/* Of each sequence, each `group` heads of it and each block of `size` rows. */
static void pool_all(float *to, const void *from, tri_attention_stride stride, int batch, int heads, int group, int rows,
                     int size)
{
    int blocks = blocks_of(rows, size);
#pragma omp parallel for
    for (long long at = 0; at < (long long)batch * heads * blocks; at++) {
        long long block = at % blocks, head = at / blocks % heads, b = at / blocks / heads;
        long long left = rows - block * size;
        const in_t *first = (const in_t *)from + b * stride.batch + head * group * stride.head + block * size * stride.row;
        pool(to + at * kD, first, stride, group, left < size ? (int)left : size);
    }
}

/* ---- phase 1 ---- */

/* The best so far, best first. */
typedef struct best {
    const float *q, *k; /* pooled: of the row, of KV block 0 */
    int *blocks;        /* [top]: the row's list */
    float *scores;      /* of these; NULL, for want of memory: worked out again */
    int count, top;
} best;

static float score(const best *of, int block)
{
    const float *k = of->k + (long long)block * kD;
    float sum = 0.0f;
    for (int x = 0; x < kD; x++)
        sum += of->q[x] * k[x];
    return sum == sum ? sum : -INFINITY;
}

static float score_at(const best *of, int place)
{
    return of->scores ? of->scores[place] : score(of, of->blocks[place]);
}

/* Blocks come in ascending order: of equals the one that is there already stays before. */
static void offer(best *to, int block)
{
    float value = score(to, block);
    int at = to->count;
    if (at == to->top && !(value > score_at(to, at - 1)))
        return;
    if (at < to->top)
        to->count++;
    else
        at--;
    for (; at > 0 && value > score_at(to, at - 1); at--) {
        to->blocks[at] = to->blocks[at - 1];
        if (to->scores)
            to->scores[at] = to->scores[at - 1];
    }
    to->blocks[at] = block;
    if (to->scores)
        to->scores[at] = value;
}

static int ascending(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

static void select_row(const tri_select_args *args, long long row, float *scores)
{
    int q_blocks = blocks_of(args->sq, kMaskM), k_blocks = blocks_of(args->sk, kMaskN);
    long long head = row / q_blocks % args->list_heads, b = row / q_blocks / args->list_heads;
    long long kv = head / (args->list_heads / args->heads_kv);
    tri_select_range range = tri_select_range_of(args->sq, args->sk, kMaskM, kMaskN, kLeft ? args->left : -1,
                                                 kRight ? args->right : -1, kTopLeft, row % q_blocks);
    int own = range.own_end - range.own_begin;
    best others = {.q = args->pooled_q + row * kD, .k = args->pooled_k + (b * args->heads_kv + kv) * k_blocks * kD,
                   .blocks = args->cols + row * args->capacity, .scores = scores, .top = args->top - own};
    for (int at = range.begin; at < range.end && others.top > 0; at++)
        if (at < range.own_begin || at >= range.own_end)
            offer(&others, at);
    for (int at = range.own_begin; at < range.own_end; at++)
        others.blocks[others.count++] = at;
    qsort(others.blocks, (size_t)others.count, sizeof *others.blocks, ascending);
    args->count[row] = others.count;
}

void triage_kernel(const tri_select_args *args);

void triage_kernel(const tri_select_args *args)
{
    int q_blocks = blocks_of(args->sq, kMaskM);
    if (args->phase == 0) {
        pool_all(args->pooled_q, args->q, args->q_stride, args->batch, args->list_heads,
                 args->heads_q / args->list_heads, args->sq, kMaskM);
        pool_all(args->pooled_k, args->k, args->k_stride, args->batch, args->heads_kv, 1, args->sk, kMaskN);
        return;
    }
    int most = blocks_of(args->sk, kMaskN) < args->top ? blocks_of(args->sk, kMaskN) : args->top;
#pragma omp parallel
    {
        int self = omp_get_thread_num();
        scratch *room = scratch_take(self, sizeof(float) * (size_t)(most + 1));
#pragma omp for schedule(dynamic)
        for (long long row = 0; row < (long long)args->batch * args->list_heads * q_blocks; row++)
            select_row(args, row, room ? room->data : NULL);
        scratch_give(self, room);
    }
}
