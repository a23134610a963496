/* attention on the CPU: O = softmax(scale Q K^T + mask) V with OpenMP and vector registers.
 *
 *   Q [batch][heads_q][sq][d], K, V [batch][heads_kv][sk][d or dv], any strides, lengths, pages, masks: args.h
 *   f32, f16, bf16 or e4m3 in; sums and weights in float32
 *
 *   task = kTileM rows: queries of all heads that share K and V (with a block mask: of one head)
 *     q    the rows as floats
 *     for each run of keys that some row sees, kTileN keys a step
 *       k    the keys -> kD x kTileN floats, transposed        s = q k, by register tiles of kRows x kWidth
 *       s    mask; largest score so far; weights; sum           rows of o and sum shrink where the largest grew
 *       v    the values -> kTileN x kDv floats                  o += s v, by the same register tiles
 *     o / sum -> O, and the log-sum-exp
 *
 * All tiles lie on the stack: at most 256 KB.
 *
 * Parameters of the problem: in_type, out_type (float, f16_t, bf16_t; in_type also e4m3_t), d, dv (1 .. 256), left,
 * right, top_left, softcap, mask_m, mask_n: args.h.
 * Parameters to tune, with their legal values:
 *   tile_m    8 .. 64, at most mask_m          rows of a task
 *   tile_n    16 .. 128, at most mask_n        keys of a step
 *   rows      2, 4, 8, divides tile_m          rows of a register tile
 *   width     8, 16, 32, divides tile_n        columns of a register tile
 *   schedule  static, dynamic                  of the tasks over the threads
 * Launch: no grid, no shared memory, no workspace.
 */
#include "lib/host_fp8.h"
#include "attention/mask.h"
#include <omp.h>
#include <stdbool.h>

typedef {{in_type}} in_t;     // Q, K and V: float, f16_t, bf16_t, e4m3_t
typedef {{out_type}} out_t;   // O: float, f16_t, bf16_t
#define SCHEDULE {{schedule}} // of the tasks: static, dynamic
enum {
    kD = {{d}},              // of a head of Q and K
    kDv = {{dv}},            // of a head of V and O
    kLeft = {{left}},        // 1: args.left counts
    kRight = {{right}},      // 1: args.right counts
    kTopLeft = {{top_left}}, // 1: query 0 sees key 0, else the last query the last key
    kSoftcap = {{softcap}},  // 1: scores are capped
    kMaskM = {{mask_m}},     // queries of a block of the mask; 0: no block mask
    kMaskN = {{mask_n}},     // keys of a block
    kTileM = {{tile_m}},     // rows of a task
    kTileN = {{tile_n}},     // keys of a step
    kRows = {{rows}},        // of a register tile
    kWidth = {{width}},      // of a register tile
};

enum {
    kVecBytes = kWidth * 4 < kNativeBytes ? kWidth * 4 : kNativeBytes, // the widest vector that the tile fills
    kLanes = kVecBytes / 4,
    kVecs = kWidth / kLanes,
    kDvTile = (kDv + kWidth - 1) / kWidth * kWidth, // a row of v and o
};
typedef float vec __attribute__((vector_size(kVecBytes), aligned(4), may_alias));

_Static_assert(kTileM % kRows == 0 && kTileN % kWidth == 0, "register tiles fill the tile");
_Static_assert(kMaskM == 0 || (kMaskM % kTileM == 0 && kMaskN % kTileN == 0), "a tile lies in one block");
_Static_assert((kTileM * (kD + kDvTile + kTileN) + kTileN * (kD + kDvTile)) * 4 <= 1 << 18, "stack");

/* ---- a task ---- */

typedef struct task {
    const tri_attention_args *args;
    tri_attention_sequence sequence;
    int b, kv;
    int head, group; /* row r is query (first + r) / group of head + (first + r) % group */
    long long first; /* of the sequence's rows */
    int rows;        /* 1 .. kTileM */
    float scale;     /* log2(e) and the scales of e4m3 with it */
} task;

/* kTileM rows and the keys at hand. */
typedef struct tiles {
    _Alignas(64) float q[kTileM][kD];
    _Alignas(64) float k[kD][kTileN];
    _Alignas(64) float s[kTileM][kTileN];
    _Alignas(64) float v[kTileN][kDvTile];
    _Alignas(64) float o[kTileM][kDvTile];
    float most[kTileM], sum[kTileM];
} tiles;

static float scale_of(const float *scales, const tri_attention_args *args, int b, int kv)
{
    return scales ? scales[(long long)b * args->heads_kv + kv] : 1.0f;
}

static long long query_of(const task *t, int r)
{
    return (t->first + r) / t->group;
}

static int head_of(const task *t, int r)
{
    return t->head + (int)((t->first + r) % t->group);
}

static long long row_at(const task *t, tri_attention_stride stride, int r)
{
    return tri_attention_query_at(t->args, stride, &t->sequence, t->b, head_of(t, r), query_of(t, r));
}

static tri_attention_span band_of(const task *t, int r)
{
    const tri_attention_args *args = t->args;
    return tri_attention_span_of(&t->sequence, kLeft ? args->left : -1, kRight ? args->right : -1, kTopLeft,
                                 query_of(t, r));
}

/* ---- load ---- */

static void load_queries(tiles *to, const task *t)
{
    memset(to->q, 0, sizeof to->q);
    for (int r = 0; r < t->rows; r++) {
        const in_t *q = (const in_t *)t->args->q + row_at(t, t->args->q_stride, r);
        for (int x = 0; x < kD; x++)
            to->q[r][x] = to_float(q[x]);
    }
}

/* Keys behind the last one are zeros: what stands in memory there may be NaN. */
static void load_keys(tiles *to, const task *t, long long first, int count)
{
    for (int j = 0; j < kTileN; j++) {
        if (j >= count) {
            for (int x = 0; x < kD; x++)
                to->k[x][j] = 0.0f;
            continue;
        }
        const in_t *k = (const in_t *)t->args->k +
                        tri_attention_key_at(t->args, t->args->k_stride, &t->sequence, t->b, t->kv, first + j);
        for (int x = 0; x < kD; x++)
            to->k[x][j] = to_float(k[x]);
    }
}

static void load_values(tiles *to, const task *t, long long first, int count)
{
    for (int j = 0; j < count; j++) {
        const in_t *v = (const in_t *)t->args->v +
                        tri_attention_key_at(t->args, t->args->v_stride, &t->sequence, t->b, t->kv, first + j);
        for (int x = 0; x < kDv; x++)
            to->v[j][x] = to_float(v[x]);
        for (int x = kDv; x < kDvTile; x++)
            to->v[j][x] = 0.0f;
    }
}

/* ---- multiply ---- */

/* to[kRows][kWidth] += a[kRows][depth] b[depth][kWidth] */
static inline void multiply(float *to, int to_ld, const float *a, int a_ld, const float *b, int b_ld, int depth)
{
    vec acc[kRows][kVecs];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; r++) {
#pragma GCC unroll 8
        for (int i = 0; i < kVecs; i++)
            acc[r][i] = *(const vec *)(to + r * to_ld + i * kLanes);
    }
    for (int x = 0; x < depth; x++) {
        const vec *bx = (const vec *)(b + (long long)x * b_ld);
#pragma GCC unroll 8
        for (int r = 0; r < kRows; r++) {
#pragma GCC unroll 8
            for (int i = 0; i < kVecs; i++)
                acc[r][i] += a[r * a_ld + x] * bx[i];
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < kRows; r++) {
#pragma GCC unroll 8
        for (int i = 0; i < kVecs; i++)
            *(vec *)(to + r * to_ld + i * kLanes) = acc[r][i];
    }
}

static void multiply_keys(tiles *to, int rows)
{
    memset(to->s, 0, sizeof to->s);
    for (int r = 0; r < rows; r += kRows)
        for (int j = 0; j < kTileN; j += kWidth)
            multiply(&to->s[r][j], kTileN, to->q[r], kD, &to->k[0][j], kTileN, kD);
}

static void multiply_values(tiles *to, int rows, int keys)
{
    for (int r = 0; r < rows; r += kRows)
        for (int x = 0; x < kDvTile; x += kWidth)
            multiply(&to->o[r][x], kDvTile, to->s[r], kTileN, &to->v[0][x], kDvTile, keys);
}

/* ---- softmax ---- */

/* 2^x for x <= 0, to about 2^-23 of it; 0 below 2^-126. */
static inline float power_of_two(float x)
{
    float cut = x > -126.0f ? x : -126.0f;
    float shifted = cut + 0x1.8p23f;                /* the whole part is in its low bits */
    float f = cut - (shifted - 0x1.8p23f);          /* -0.5 .. 0.5 */
    float y = 1.5403530e-4f;                        /* ln(2)^i / i!, from i = 6 */
    y = y * f + 1.3333558e-3f;
    y = y * f + 9.6181291e-3f;
    y = y * f + 5.5504109e-2f;
    y = y * f + 2.4022651e-1f;
    y = y * f + 6.9314718e-1f;
    y = y * f + 1.0f;
    float power = float_of_bits(bits_of_float(y) + (bits_of_float(shifted) << 23));
    return x < -126.0f ? 0.0f : power;
}

/* softcap * tanh(x / softcap), as log2: 1 - 2 / (e^2y + 1), even for y where e^2y is infinite. */
static void cap_scores(float *s, const task *t)
{
    const float cap = t->args->softcap * 1.44269504f, to_y = t->scale * 0.693147181f / t->args->softcap;
#pragma omp simd
    for (int j = 0; j < kTileN; j++) {
        float y = s[j] * to_y, size = y < 0 ? -y : y;
        float e = power_of_two(size * -2.88539008f); /* e^-2y */
        float tanh_of_size = (1.0f - e) / (1.0f + e);
        s[j] = cap * (y < 0 ? -tanh_of_size : tanh_of_size);
    }
}

/* Scores of keys that the row does not see become -inf. */
static void mask_row(float *s, tri_attention_span seen, long long first)
{
    int begin = (int)(seen.begin - first), end = (int)(seen.end - first);
    for (int j = 0; j < begin; j++)
        s[j] = -INFINITY;
    for (int j = end; j < kTileN; j++)
        s[j] = -INFINITY;
}

static void mask_bits(float *s, const task *t, int r, long long entry, long long first)
{
    for (int j = 0; j < kTileN && entry >= 0; j++)
        if (!tri_attention_bit(t->args, kMaskM, kMaskN ? kMaskN : 1, entry, query_of(t, r), first + j))
            s[j] = -INFINITY;
}

/* Scores to weights; o and the sum of the row keep step with the largest score. */
static void weigh_row(tiles *to, int r, float scale)
{
    float *s = to->s[r], most = to->most[r], sum = 0.0f;
#pragma omp simd reduction(max : most)
    for (int j = 0; j < kTileN; j++)
        most = s[j] > most ? s[j] : most;
    if (most == -INFINITY) { /* no key yet */
        memset(s, 0, sizeof to->s[r]);
        return;
    }
#pragma omp simd reduction(+ : sum)
    for (int j = 0; j < kTileN; j++) {
        s[j] = power_of_two((s[j] - most) * scale); /* the difference first: exact for large scores */
        sum += s[j];
    }
    if (most > to->most[r]) {
        float shrink = power_of_two((to->most[r] - most) * scale);
        to->sum[r] *= shrink;
#pragma omp simd
        for (int x = 0; x < kDvTile; x++)
            to->o[r][x] *= shrink;
        to->most[r] = most;
    }
    to->sum[r] += sum;
}

/* ---- a step, a task ---- */

/* Keys first .. end - 1, at most kTileN, of which each row sees those of its band and of the bits of `entry`. */
static void take_keys(tiles *to, const task *t, long long first, long long end, long long entry)
{
    int count = (int)(end - first);
    load_keys(to, t, first, count);
    multiply_keys(to, t->rows);
    for (int r = 0; r < t->rows; r++) {
        tri_attention_span seen = band_of(t, r);
        seen.begin = seen.begin < first ? first : seen.begin > end ? end : seen.begin;
        seen.end = seen.end > end ? end : seen.end < seen.begin ? seen.begin : seen.end;
        if (kSoftcap)
            cap_scores(to->s[r], t);
        mask_row(to->s[r], seen, first);
        if (kMaskN)
            mask_bits(to->s[r], t, r, entry, first);
        weigh_row(to, r, kSoftcap ? 1.0f : t->scale);
    }
    load_values(to, t, first, count);
    multiply_values(to, t->rows, count);
}

/* What some row of the task sees: rows go down, and so do both ends of what they see. */
static tri_attention_span band_of_all(const task *t)
{
    tri_attention_span all = {0, 0};
    for (int r = 0; r < t->rows; r++) {
        tri_attention_span one = band_of(t, r);
        if (one.begin == one.end)
            continue;
        all.begin = all.end == 0 || one.begin < all.begin ? one.begin : all.begin;
        all.end = one.end > all.end ? one.end : all.end;
    }
    return all;
}

static void store(const tiles *from, const task *t)
{
    const tri_attention_args *args = t->args;
    float scale_v = scale_of(args->scale_v, args, t->b, t->kv), scale = kSoftcap ? 1.0f : t->scale;
    for (int r = 0; r < t->rows; r++) {
        float sum = from->sum[r], factor = sum > 0.0f ? scale_v / sum : 0.0f;
        out_t *o = (out_t *)args->o + row_at(t, args->o_stride, r);
        for (int x = 0; x < kDv; x++)
            store_float(o + x, from->o[r][x] * factor);
        if (args->lse)
            args->lse[row_at(t, args->lse_stride, r)] =
                sum > 0.0f ? (from->most[r] * scale + log2f(sum)) * 0.693147181f : -INFINITY;
    }
}

static void run_task(const task *t)
{
    tiles all;
    tri_attention_runs runs = {.band = band_of_all(t)};
    if (kMaskN) {
        long long row = tri_attention_mask_row(t->args, kMaskM ? kMaskM : 1, t->b, t->head, query_of(t, 0));
        runs.list[0] = tri_attention_list_of(&t->args->full, row);
        runs.list[1] = tri_attention_list_of(&t->args->partial, row);
    }
    runs.entry = -1;
    memset(all.o, 0, sizeof all.o);
    for (int r = 0; r < kTileM; r++) {
        all.most[r] = -INFINITY;
        all.sum[r] = 0.0f;
    }
    load_queries(&all, t);
    while (tri_attention_next_run(&runs, t->args, kMaskN))
        for (long long j = runs.run.begin; j < runs.run.end; j += kTileN)
            take_keys(&all, t, j, j + kTileN < runs.run.end ? j + kTileN : runs.run.end, runs.entry);
    store(&all, t);
}

/* ---- all tasks ---- */

void triage_kernel(const tri_attention_args *args);

void triage_kernel(const tri_attention_args *args)
{
    int group = kMaskM ? 1 : args->heads_q / args->heads_kv, groups = args->heads_q / group;
    long long tiles_of_group = ((long long)args->sq * group + kTileM - 1) / kTileM;
    long long count = tiles_of_group * args->batch * groups;
#pragma omp parallel for schedule(SCHEDULE)
    for (long long at = 0; at < count; at++) {
        long long backwards = count - 1 - at; /* causal: the long ones first */
        int b = (int)(backwards / tiles_of_group / groups), of = (int)(backwards / tiles_of_group % groups);
        task t = {.args = args, .sequence = tri_attention_sequence_of(args, b), .b = b, .group = group,
                  .head = of * group, .kv = of * group / (args->heads_q / args->heads_kv),
                  .first = backwards % tiles_of_group * kTileM};
        long long rows = t.sequence.sq * group - t.first;
        if (rows <= 0)
            continue;
        t.rows = rows < kTileM ? (int)rows : kTileM;
        t.scale = args->scale_log2 * scale_of(args->scale_q, args, b, t.kv) * scale_of(args->scale_k, args, b, t.kv);
        run_task(&t);
    }
}
