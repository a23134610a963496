/* What a query sees, and where a row of Q, K or V lies: the one place that says so in code. The C runtime, the plain
 * kernels and the host kernels use it; args.h says the same in words.
 *
 * Plain C for all three compilers, no include but the arguments.
 */
#ifndef TRIAGE_ATTENTION_MASK_H
#define TRIAGE_ATTENTION_MASK_H

#include "attention/args.h"

#ifdef __CUDACC__
#define TRI_ATTENTION_INLINE static __device__ __forceinline__
#else
#define TRI_ATTENTION_INLINE static inline
#endif

/* One sequence of the batch: its first rows, with offsets, and its lengths. */
typedef struct tri_attention_sequence {
    long long first_q, first_k; /* rows; 0 without offsets */
    long long sq, sk;
    long long batch; /* what the strides of a batch count: 0 with offsets */
} tri_attention_sequence;

TRI_ATTENTION_INLINE tri_attention_sequence tri_attention_sequence_of(const tri_attention_args *args, int b) {
    tri_attention_sequence s = {0, 0, args->sq, args->sk, b};
    if (args->cu_q) {
        s.first_q = args->cu_q[b];
        s.sq = args->cu_q[b + 1] - args->cu_q[b];
        s.batch = 0;
    }
    if (args->cu_k) {
        s.first_k = args->cu_k[b];
        s.sk = args->cu_k[b + 1] - args->cu_k[b];
    }
    if (args->len_q)
        s.sq = args->len_q[b];
    if (args->len_k)
        s.sk = args->len_k[b];
    return s;
}

/* The first element of a row of Q (or O, or LSE). */
TRI_ATTENTION_INLINE long long tri_attention_query_at(const tri_attention_args *args,
                                                      tri_attention_stride stride,
                                                      const tri_attention_sequence *s, int b, int head,
                                                      long long i) {
    return (args->cu_q ? 0 : b * stride.batch) + head * stride.head + (s->first_q + i) * stride.row;
}

/* The first element of a row of K or V. */
TRI_ATTENTION_INLINE long long tri_attention_key_at(const tri_attention_args *args,
                                                    tri_attention_stride stride,
                                                    const tri_attention_sequence *s, int b, int head,
                                                    long long j) {
    if (args->page_table) {
        long long page = args->page_table[b * (long long)args->page_stride + j / args->page_size];
        return page * stride.batch + head * stride.head + j % args->page_size * stride.row;
    }
    return (args->cu_k ? 0 : b * stride.batch) + head * stride.head + (s->first_k + j) * stride.row;
}

/* Keys begin .. end - 1; none: begin == end. */
typedef struct tri_attention_span {
    long long begin, end;
} tri_attention_span;

/* What the band lets query i see: full, causal or window. left, right: negative is open. */
TRI_ATTENTION_INLINE tri_attention_span tri_attention_span_of(const tri_attention_sequence *s, long long left,
                                                              long long right, int top_left, long long i) {
    long long at = i + (top_left ? 0 : s->sk - s->sq);
    tri_attention_span span = {0, s->sk};
    if (left >= 0 && at - left > 0)
        span.begin = at - left;
    if (right >= 0 && at + right + 1 < s->sk)
        span.end = at + right + 1;
    if (span.begin >= span.end)
        span.begin = span.end = 0;
    return span;
}

/* ---- block masks ---- */

TRI_ATTENTION_INLINE long long tri_attention_mask_row(const tri_attention_args *args, int mask_m, int b,
                                                      int head, long long i) {
    return (long long)b * args->mask_batch + (long long)(head / args->mask_head_div) * args->mask_head +
           i / mask_m;
}

/* Entries begin .. end - 1 of cols. */
TRI_ATTENTION_INLINE tri_attention_span tri_attention_list_of(const tri_attention_blocks *blocks,
                                                              long long row) {
    tri_attention_span list = {0, 0};
    if (!blocks->cols)
        return list;
    list.begin = blocks->ptr ? blocks->ptr[row] : row * blocks->capacity;
    /* without counts there is ptr: NOLINTNEXTLINE(clang-analyzer-core.NullDereference) */
    list.end = blocks->count ? list.begin + blocks->count[row] : blocks->ptr[row + 1];
    return list;
}

/* Of a block of mask_n keys: those in the span. */
TRI_ATTENTION_INLINE tri_attention_span tri_attention_in_block(tri_attention_span span, int mask_n,
                                                               long long block) {
    long long first = block * mask_n, behind = first + mask_n;
    span.begin = span.begin > first ? span.begin : first;
    span.end = span.end < behind ? span.end : behind;
    if (span.begin >= span.end)
        span.begin = span.end = first;
    return span;
}

/* Does query i see key j of its block, the entry of partial.cols? There are bits. */
TRI_ATTENTION_INLINE int tri_attention_bit(const tri_attention_args *args, int mask_m, int mask_n,
                                           long long entry, long long i, long long j) {
    long long words = (mask_n + 31) / 32, in_block = j % mask_n;
    return args->partial_bits[(entry * mask_m + i % mask_m) * words + in_block / 32] >> (in_block % 32) & 1;
}

/* ---- the keys of a query, in runs ---- */

typedef struct tri_attention_runs {
    tri_attention_span run; /* the run at hand: keys begin .. end - 1 */
    long long entry;        /* of partial.cols, whose bits say which of the run are seen; -1: all are */
    tri_attention_span band, list[2]; /* what is left of full.cols and of partial.cols */
    int started;
} tri_attention_runs;

/* Of query i of a head. mask_m 0: no block mask. */
TRI_ATTENTION_INLINE tri_attention_runs tri_attention_runs_of(const tri_attention_args *args,
                                                              const tri_attention_sequence *s, long long left,
                                                              long long right, int top_left, int mask_m,
                                                              int b, int head, long long i) {
    tri_attention_runs runs = {{0, 0}, -1, {0, 0}, {{0, 0}, {0, 0}}, 0};
    runs.band = tri_attention_span_of(s, left, right, top_left, i);
    if (mask_m) {
        long long row = tri_attention_mask_row(args, mask_m, b, head, i);
        runs.list[0] = tri_attention_list_of(&args->full, row);
        runs.list[1] = tri_attention_list_of(&args->partial, row);
    }
    return runs;
}

/* To the next run that is not empty; 0: there is none. mask_n 0: no block mask. */
TRI_ATTENTION_INLINE int tri_attention_next_run(tri_attention_runs *runs, const tri_attention_args *args,
                                                int mask_n) {
    if (!mask_n) {
        runs->run = runs->band;
        return !runs->started++ && runs->run.begin < runs->run.end;
    }
    for (int kind = 0; kind < 2; kind++)
        while (runs->list[kind].begin < runs->list[kind].end) {
            long long entry = runs->list[kind].begin++;
            const int *cols = kind ? args->partial.cols : args->full.cols;
            runs->run = tri_attention_in_block(runs->band, mask_n, cols[entry]);
            runs->entry = kind && args->partial_bits ? entry : -1;
            if (runs->run.begin < runs->run.end)
                return 1;
        }
    return 0;
}

/* Does query i see key j of the run? */
TRI_ATTENTION_INLINE int tri_attention_run_sees(const tri_attention_runs *runs,
                                                const tri_attention_args *args, int mask_m, int mask_n,
                                                long long i, long long j) {
    return runs->entry < 0 || tri_attention_bit(args, mask_m, mask_n, runs->entry, i, j);
}

#endif
