/* Inputs that exercise what can go wrong, all in one draw, so that each launch of a candidate meets them all.
 *
 * Values are N(0,1), but for the first elements of each row of K and Q (of heads of 8 and more elements):
 *
 *     K row j:  1024 | j / sk | four whole numbers, -2 .. 2 | N(0,1) ...
 *     Q plain:     0 |      0 |                      N(0,1) | N(0,1) ...     five rows of eight
 *     Q late:      0 |      r |                N(0,1) / 4 ...                one: scores grow by 12 from the first key to
 *                                                                            the last, so the maximum moves all the way
 *     Q huge:  +1024 |      0 |             1, 1, 1, -1 | 0 ...              one of +, one of -: scores of +-1e5, whose sums
 *                                                                            are whole numbers and hence exact in any order
 * (e4m3 has 16 for 1024: what its products are added up in keeps 14 bits on some chips.)
 * Every fourth KV head has V = 1: there O is 1.
 *
 * Behind the end of each tensor, and of each sequence of a cache, stands NaN; entries of the page table behind a
 * sequence's last page are garbage; pages lie in no order. Rows of Q, K, V, O and LSE are laid
 * out [batch][row][head][d]. */
#include "op/attention/attention.h"
#include "attention/mask.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TAIL_ROWS 64  /* of NaN behind a tensor */
#define CACHE_ROOM 8  /* rows of NaN behind each sequence of a contiguous cache */
#define SPARE_PAGES 2 /* of garbage, behind a sequence's pages */
#define SPECIAL 8     /* elements of a head that has room for them */
#define LATE_RISE 12.0f
#define SOFTCAP 4.0f

/* ---- lengths, offsets, pages ---- */

static triage_status lay_out_lengths(tri_attention_inputs *in, const tri_attention_problem *p) {
    triage_status status = TRIAGE_OK;
    size_t batch = (size_t)p->batch;
    tri_attention_lengths_drawn drawn;
    tri_random random;
    if (p->lengths == TRI_LENGTHS_OFFSETS) {
        TRI_TRY(tri_calloc(&in->cu_q, batch + 1, sizeof *in->cu_q));
        TRI_TRY(tri_calloc(&in->cu_k, batch + 1, sizeof *in->cu_k));
        tri_attention_lengths_begin(&drawn, p);
        for (size_t b = 0; b < batch; b++) {
            tri_attention_length length = tri_attention_lengths_next(&drawn);
            in->cu_q[b + 1] = in->cu_q[b] + (int32_t)length.sq;
            in->cu_k[b + 1] = in->cu_k[b] + (int32_t)length.sk;
        }
    }
    if (p->lengths == TRI_LENGTHS_CACHE) {
        TRI_TRY(tri_calloc(&in->len_k, TRI_ATTENTION_CASES * batch, sizeof *in->len_k));
        tri_random_seed(&random, 1);
        for (size_t b = 0; b < batch; b++) {
            in->len_k[b] = (int32_t)p->sk;
            in->len_k[batch + b] = (int32_t)tri_random_below(&random, (uint64_t)p->sk + 1);
        }
    }
done:
    return status;
}

static int64_t pages_of(int64_t keys, int32_t page_size) {
    return (keys + page_size - 1) / page_size;
}

/* Each sequence gets its pages from a shuffled deck. In case 1 it has fewer keys, and garbage from there on. */
static triage_status lay_out_pages(tri_attention_inputs *in, const tri_attention_problem *p, uint64_t seed) {
    triage_status status;
    int64_t each = pages_of(p->sk, p->page_size), stride = each + SPARE_PAGES, all = each * p->batch;
    int32_t *deck = NULL;
    tri_random random;
    tri_random_seed(&random, seed);
    TRI_TRY(tri_calloc(&in->page_table, (size_t)(TRI_ATTENTION_CASES * p->batch * stride),
                       sizeof *in->page_table));
    TRI_TRY(tri_calloc(&deck, (size_t)all + 1, sizeof *deck));
    for (int64_t i = 0; i < all; i++) {
        int64_t j = (int64_t)tri_random_below(&random, (uint64_t)i + 1);
        deck[i] = deck[j];
        deck[j] = (int32_t)i;
    }
    for (int64_t at = 0; at < TRI_ATTENTION_CASES * p->batch; at++) {
        int64_t used = pages_of(in->len_k[at], p->page_size), b = at % p->batch;
        for (int64_t page = 0; page < stride; page++)
            in->page_table[at * stride + page] = page < used ? deck[b * each + page]
                                                 : page % 2  ? -1
                                                             : INT32_MAX; /* garbage */
    }
done:
    free(deck);
    return status;
}

/* ---- the arguments that are not addresses ---- */

static tri_attention_stride packed(int64_t rows_of_batch, int64_t heads, int64_t d) {
    return (tri_attention_stride){rows_of_batch * heads * d, d, heads * d};
}

void tri_attention_layout(tri_attention_args *out, const tri_attention_problem *p) {
    int64_t left, right;
    int64_t room = p->page_size ? p->page_size : p->sk + (p->lengths == TRI_LENGTHS_CACHE ? CACHE_ROOM : 0);
    tri_attention_band_of(&left, &right, p);
    *out = (tri_attention_args){
        .q_stride = packed(p->sq, p->heads_q, p->d),
        .k_stride = packed(room, p->heads_kv, p->d), /* with pages: from page to page */
        .v_stride = packed(room, p->heads_kv, p->dv),
        .o_stride = packed(p->sq, p->heads_q, p->dv),
        .lse_stride = packed(p->sq, p->heads_q, 1),
        .page_size = p->page_size,
        .page_stride = p->page_size ? (int)pages_of(p->sk, p->page_size) + SPARE_PAGES : 0,
        .batch = (int)p->batch,
        .heads_q = (int)p->heads_q,
        .heads_kv = (int)p->heads_kv,
        .sq = (int)p->sq,
        .sk = (int)p->sk,
        .scale_log2 = (float)(1.4426950408889634 / sqrt((double)p->d)),
        .softcap = SOFTCAP,
        .left = left < 0 ? 0 : (int)left,
        .right = right < 0 ? 0 : (int)right,
        .splits = p->splits,
        .mask_head_div = 1,
    };
    if (p->mask.rows)
        tri_attention_mask_strides(out, p);
}

/* ---- values ---- */

static float large_of(triage_dtype type) {
    return type == TRIAGE_E4M3 ? 16.0f : 1024.0f;
}

/* A hash of a row and a place in it: -2 .. 2. */
static float whole_number(int64_t row, int x) {
    uint32_t bits = (uint32_t)row * 2654435761u + (uint32_t)x * 2246822519u;
    return (float)((int)((bits >> 13) % 5) - 2);
}

static void fill_row(void *data, triage_dtype type, int64_t at, int32_t size, uint64_t seed) {
    unsigned char *to = (unsigned char *)data + (size_t)at * tri_dtype_size(type);
    (void)tri_fill_normal(to, type, (size_t)size, seed); /* types are checked */
}

static void fill_key(tri_attention_inputs *in, const tri_attention_problem *p, int64_t at, int64_t j,
                     int64_t sk, uint64_t seed) {
    fill_row(in->k, p->in_type, at, p->d, seed);
    if (p->d < SPECIAL)
        return;
    tri_from_float(in->k, p->in_type, (size_t)at, large_of(p->in_type));
    tri_from_float(in->k, p->in_type, (size_t)at + 1, (float)((double)j / (double)sk));
    for (int x = 2; x < 6; x++)
        tri_from_float(in->k, p->in_type, (size_t)(at + x), whole_number(j, x));
}

static void fill_value(tri_attention_inputs *in, const tri_attention_problem *p, int64_t at, int64_t head,
                       uint64_t seed) {
    fill_row(in->v, p->in_type, at, p->dv, seed);
    for (int x = 0; head % 4 == 3 && x < p->dv; x++)
        tri_from_float(in->v, p->in_type, (size_t)(at + x), 1);
}

int tri_attention_row_kind(int64_t b, int64_t head, int64_t i) {
    return (int)((i + 3 * head + 5 * b) % 8);
}

static void make_late(tri_attention_inputs *in, const tri_attention_problem *p, int64_t at) {
    for (int x = 2; x < p->d; x++) {
        float value = tri_to_float(in->q, p->in_type, (size_t)(at + x));
        tri_from_float(in->q, p->in_type, (size_t)(at + x), value / 4);
    }
    tri_from_float(in->q, p->in_type, (size_t)at + 1, LATE_RISE * sqrtf((float)p->d));
}

static void make_huge(tri_attention_inputs *in, const tri_attention_problem *p, int64_t at, float sign) {
    for (int x = 1; x < p->d; x++)
        tri_from_float(in->q, p->in_type, (size_t)(at + x), x < 2 || x > 5 ? 0.0f : x == 5 ? -1.0f : 1.0f);
    tri_from_float(in->q, p->in_type, (size_t)at, sign * large_of(p->in_type));
}

static void fill_query(tri_attention_inputs *in, const tri_attention_problem *p, int64_t at, int kind,
                       uint64_t seed) {
    fill_row(in->q, p->in_type, at, p->d, seed);
    if (p->d < SPECIAL)
        return;
    tri_from_float(in->q, p->in_type, (size_t)at, 0);
    tri_from_float(in->q, p->in_type, (size_t)at + 1, 0);
    if (kind == 5)
        make_late(in, p, at);
    else if (kind > 5)
        make_huge(in, p, at, kind == 6 ? 1 : -1);
}

/* Each row has a seed of its own: rows may lie anywhere. */
static void fill_sequence(tri_attention_inputs *in, const tri_attention_problem *p, int b, uint64_t seed) {
    const tri_attention_args *args = &in->args;
    tri_attention_sequence s = tri_attention_sequence_of(args, b);
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < s.sk * p->heads_kv; row++) {
        int64_t j = row / p->heads_kv, head = row % p->heads_kv, number = b * p->heads_kv + head;
        uint64_t own = seed + 2 * (uint64_t)(b * p->sk * p->heads_kv + row);
        fill_key(in, p, tri_attention_key_at(args, args->k_stride, &s, b, (int)head, j), j, s.sk, own);
        fill_value(in, p, tri_attention_key_at(args, args->v_stride, &s, b, (int)head, j), number, own + 1);
    }
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < s.sq * p->heads_q; row++) {
        int64_t i = row / p->heads_q, head = row % p->heads_q;
        uint64_t own = ~seed - (uint64_t)(b * p->sq * p->heads_q + row);
        fill_query(in, p, tri_attention_query_at(args, args->q_stride, &s, b, (int)head, i),
                   tri_attention_row_kind(b, head, i), own);
    }
}

/* ---- tensors ---- */

/* All NaN: what is used is written over. */
static triage_status all_nan(void *out_pointer, size_t *bytes, int64_t rows, int64_t row_size,
                             triage_dtype type) {
    void **out = (void **)out_pointer;
    *bytes = (size_t)(rows * row_size) * tri_dtype_size(type);
    triage_status status = tri_calloc(out, *bytes, 1);
    if (status == TRIAGE_OK)
        memset(*out, 0xff, *bytes);
    return status;
}

static triage_status make_tensors(tri_attention_inputs *in, const tri_attention_problem *p) {
    triage_status status;
    int64_t rows_k = p->page_size ? p->batch * pages_of(p->sk, p->page_size) * p->page_size
                     : p->lengths == TRI_LENGTHS_CACHE ? p->batch * (p->sk + CACHE_ROOM)
                                                       : p->keys;
    TRI_TRY(all_nan(&in->q, &in->q_bytes, p->queries + TAIL_ROWS, p->heads_q * p->d, p->in_type));
    TRI_TRY(all_nan(&in->k, &in->k_bytes, rows_k + TAIL_ROWS, p->heads_kv * p->d, p->in_type));
    TRI_TRY(all_nan(&in->v, &in->v_bytes, rows_k + TAIL_ROWS, p->heads_kv * p->dv, p->in_type));
    in->args.q = in->q, in->args.k = in->k, in->args.v = in->v;
done:
    return status;
}

static triage_status draw_scales(tri_attention_inputs *in, const tri_attention_problem *p, uint64_t seed) {
    size_t count = (size_t)(p->batch * p->heads_kv);
    float **scales[] = {&in->scale_q, &in->scale_k, &in->scale_v};
    triage_status status = TRIAGE_OK;
    for (int i = 0; i < 3; i++) {
        TRI_TRY(tri_calloc(scales[i], count, sizeof(float)));
        tri_fill_scales(*scales[i], count, seed + (uint64_t)i);
    }
    in->args.scale_q = in->scale_q, in->args.scale_k = in->scale_k, in->args.scale_v = in->scale_v;
done:
    return status;
}

/* ---- lists ---- */

static triage_status split_lists(tri_attention_inputs *in, const tri_attention_problem *p,
                                 const tri_pattern *mask, uint64_t seed) {
    triage_status status;
    size_t rows = (size_t)mask->block_rows, words = (size_t)p->mask.rows * (size_t)((p->mask.cols + 31) / 32);
    int32_t full = 0, partial = 0;
    tri_random random;
    tri_random_seed(&random, seed);
    TRI_TRY(tri_calloc(&in->full_ptr, rows + 1, sizeof *in->full_ptr));
    TRI_TRY(tri_calloc(&in->partial_ptr, rows + 1, sizeof *in->partial_ptr));
    TRI_TRY(tri_calloc(&in->full_cols, (size_t)mask->nnzb + 1, sizeof *in->full_cols));
    TRI_TRY(tri_calloc(&in->partial_cols, (size_t)mask->nnzb / 5 + 2, sizeof *in->partial_cols));
    TRI_TRY(tri_calloc(&in->bits, ((size_t)mask->nnzb / 5 + 2) * words, sizeof *in->bits));
    for (size_t row = 0; row < rows; row++) {
        for (int32_t entry = mask->row_ptr[row]; entry < mask->row_ptr[row + 1]; entry++)
            if (p->mask.bits && entry % 5 == 3)
                in->partial_cols[partial++] = mask->col_idx[entry];
            else
                in->full_cols[full++] = mask->col_idx[entry];
        in->full_ptr[row + 1] = full;
        in->partial_ptr[row + 1] = partial;
    }
    for (size_t i = 0; i < (size_t)partial * words; i++)
        in->bits[i] = (uint32_t)tri_random_next(&random);
    in->args.full = (tri_attention_blocks){in->full_ptr, NULL, in->full_cols, 0};
    if (p->mask.bits)
        in->args.partial = (tri_attention_blocks){in->partial_ptr, NULL, in->partial_cols, 0};
    in->args.partial_bits = p->mask.bits ? in->bits : NULL;
done:
    return status;
}

/* ---- all of it ---- */

triage_status tri_attention_inputs_lengths(tri_attention_inputs *out, const tri_attention_problem *problem,
                                           uint64_t seed) {
    triage_status status;
    *out = (tri_attention_inputs){0};
    tri_attention_layout(&out->args, problem);
    TRI_TRY(lay_out_lengths(out, problem));
    if (problem->page_size)
        TRI_TRY(lay_out_pages(out, problem, seed));
    out->args = tri_attention_case_args(out, 0);
done:
    return status;
}

triage_status tri_attention_inputs_draw(tri_attention_inputs *out, const tri_attention_problem *problem,
                                        const tri_pattern *mask, uint64_t seed) {
    triage_status status;
    TRI_TRY(tri_attention_inputs_lengths(out, problem, seed));
    TRI_TRY(make_tensors(out, problem));
    if (problem->in_type == TRIAGE_E4M3)
        TRI_TRY(draw_scales(out, problem, seed));
    if (problem->mask.rows)
        TRI_TRY(split_lists(out, problem, mask, seed));
    for (int64_t b = 0; b < problem->batch; b++)
        fill_sequence(out, problem, (int)b, seed);
done:
    if (status != TRIAGE_OK)
        tri_attention_inputs_free(out);
    return status;
}

int tri_attention_cases(const tri_attention_problem *problem) {
    return problem->lengths == TRI_LENGTHS_CACHE ? TRI_ATTENTION_CASES : 1;
}

tri_attention_args tri_attention_case_args(const tri_attention_inputs *inputs, int which) {
    tri_attention_args args = inputs->args;
    args.cu_q = inputs->cu_q, args.cu_k = inputs->cu_k;
    args.len_k = inputs->len_k ? inputs->len_k + (size_t)which * (size_t)args.batch : NULL;
    args.page_table = inputs->page_table
                          ? inputs->page_table + (size_t)which * (size_t)args.batch * (size_t)args.page_stride
                          : NULL;
    return args;
}

void tri_attention_inputs_free(tri_attention_inputs *inputs) {
    void *owned[] = {inputs->q,         inputs->k,           inputs->v,           inputs->scale_q,
                     inputs->scale_k,   inputs->scale_v,     inputs->cu_q,        inputs->cu_k,
                     inputs->len_k,     inputs->page_table,  inputs->bits,        inputs->full_ptr,
                     inputs->full_cols, inputs->partial_ptr, inputs->partial_cols};
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++)
        free(owned[i]);
    *inputs = (tri_attention_inputs){0};
}
