/* Which KV blocks a row of blocks should see: the `top` best by pooled scores, for block masks made on the device.
 *
 *   score(row, KV block) = (mean of the row's queries) . (mean of the block's keys), sums in float32
 *
 * A row is a block of kMaskM queries, of a q head or of all q heads of a KV head, whose lists are then one. Of the KV
 * blocks that the band lets it see those that hold its queries' own keys come first (the diagonal; without a band none
 * does), then the others by their scores; of equals the lower number. A score that is not a number is the lowest.
 * Scale, soft cap and the scales of e4m3 would change no order.
 *
 * Written to cols[row * capacity ...], ascending, and count[row], row = (b * list_heads + head) * blocks of queries +
 * block: lists as tri_attention_blocks takes them. Two launches of one kernel: phase 0 pools, phase 1 selects.
 *
 * Plain C for all three compilers.
 */
#ifndef TRIAGE_ATTENTION_SELECT_H
#define TRIAGE_ATTENTION_SELECT_H

#include "attention/mask.h"

typedef struct tri_select_args {
    const void *q, *k; /* as in tri_attention_args; sequences of one length */
    tri_attention_stride q_stride, k_stride;
    float *pooled_q; /* [batch][list_heads][blocks of queries][d] */
    float *pooled_k; /* [batch][heads_kv][KV blocks][d] */
    int *count, *cols;
    long long capacity; /* at least top */
    int batch, heads_q, heads_kv;
    int list_heads; /* that have lists of their own: heads_q or heads_kv */
    int sq, sk;
    int left, right; /* with kLeft, kRight */
    int top;         /* at least as many as hold a row's own keys */
    int phase;       /* 0: pool, 1: select */
} tri_select_args;

/* KV blocks begin .. end - 1 can be seen, own_begin .. own_end - 1 of them hold own keys. */
typedef struct tri_select_range {
    int begin, end, own_begin, own_end;
} tri_select_range;

/* Of a block of queries. left, right: negative is open. */
TRI_ATTENTION_INLINE tri_select_range tri_select_range_of(long long sq, long long sk, int mask_m, int mask_n,
                                                          long long left, long long right, int top_left,
                                                          long long block) {
    tri_attention_sequence s = {0, 0, sq, sk, 0};
    tri_select_range range = {0, 0, 0, 0};
    long long first = block * mask_m, last = first + mask_m < sq ? first + mask_m - 1 : sq - 1;
    long long off = top_left ? 0 : sk - sq, own_first = first + off, own_last = last + off;
    tri_attention_span low = tri_attention_span_of(&s, left, right, top_left, first);
    tri_attention_span high = tri_attention_span_of(&s, left, right, top_left, last);
    if (high.begin == high.end) /* then no query of the block sees a key */
        return range;
    range.begin = (int)(low.begin / mask_n); /* of a first query that sees none: 0, as of the first one that does */
    range.end = (int)((high.end - 1) / mask_n) + 1;
    if (left < 0 && right < 0)
        return range;
    own_first = own_first < low.begin ? low.begin : own_first;
    own_last = own_last < high.end ? own_last : high.end - 1;
    if (own_first > own_last)
        return range;
    range.own_begin = (int)(own_first / mask_n);
    range.own_end = (int)(own_last / mask_n) + 1;
    return range;
}

#endif
