/* Selections of blocks against float64, by the definition in triage.h: every row's candidates, diagonal and order. */
#ifndef TRIAGE_TESTS_SELECT_CASE_H
#define TRIAGE_TESTS_SELECT_CASE_H

#include "support/attention_case.h"

typedef struct select_case {
    tri_attention_problem problem; /* with its mask's kind; lists of each sequence */
    int top;
    int64_t capacity;
    void *q, *k; /* [batch][row][head][d] */
    int32_t *count, *cols;
    size_t rows;
} select_case;

static inline int64_t select_blocks(int64_t rows, int64_t size) {
    return (rows + size - 1) / size;
}

static inline int64_t select_heads(const tri_attention_problem *p) {
    return p->mask.heads == TRI_MASK_KV_HEADS ? p->heads_kv : p->heads_q;
}

/* whole: small whole numbers, whose sums are exact and whose scores are often equal; else N(0, 1). */
static inline void select_make(select_case *c, const tri_attention_problem *p, int top, bool whole) {
    size_t of_q = (size_t)(p->batch * p->sq * p->heads_q * p->d),
           of_k = (size_t)(p->batch * p->sk * p->heads_kv * p->d);
    *c = (select_case){.problem = *p, .top = top, .capacity = top + 3};
    c->q = malloc((of_q + 1) * tri_dtype_size(p->in_type));
    c->k = malloc((of_k + 1) * tri_dtype_size(p->in_type));
    assert_true(c->q && c->k);
    (void)tri_fill_normal(c->q, p->in_type, of_q, 5);
    (void)tri_fill_normal(c->k, p->in_type, of_k, 6);
    for (size_t i = 0; whole && i < of_q; i++)
        tri_from_float(c->q, p->in_type, i, (float)((int)(i * 2654435761u >> 15) % 3 - 1));
    for (size_t i = 0; whole && i < of_k; i++)
        tri_from_float(c->k, p->in_type, i, (float)((int)(i * 2246822519u >> 14) % 3 - 1));
    c->rows = (size_t)(p->batch * select_heads(p) * select_blocks(p->sq, p->mask.rows));
    c->count = malloc((c->rows + 1) * sizeof *c->count);
    c->cols = malloc((c->rows * (size_t)c->capacity + 1) * sizeof *c->cols);
    assert_true(c->count && c->cols);
}

static inline void select_free(select_case *c) {
    free(c->q);
    free(c->k);
    free(c->count);
    free(c->cols);
}

static inline void select_clear(select_case *c) {
    memset(c->count, 0xff, c->rows * sizeof *c->count);
    memset(c->cols, 0xff, c->rows * (size_t)c->capacity * sizeof *c->cols);
}

/* The mean of rows first .. end - 1 of some heads of a sequence. */
static inline void select_mean(double *out, const void *from, const tri_attention_problem *p, int64_t length,
                               int64_t heads, int64_t b, int64_t head, int64_t of_heads, int64_t first,
                               int64_t end) {
    for (int x = 0; x < p->d; x++)
        out[x] = 0;
    for (int64_t h = head; h < head + of_heads; h++)
        for (int64_t i = first; i < end; i++)
            for (int x = 0; x < p->d; x++)
                out[x] += (double)tri_to_float(from, p->in_type,
                                               (size_t)(((b * length + i) * heads + h) * p->d + x)) /
                          (double)(of_heads * (end - first));
}

/* May a query of first .. end - 1 see a key of the block, and does the block hold the key at one's own place? */
static inline void select_sees(bool *seen, bool *own, const tri_attention_problem *p, int64_t first,
                               int64_t end, int64_t block) {
    int64_t left, right, n = p->mask.cols;
    tri_attention_band_of(&left, &right, p);
    *seen = *own = false;
    for (int64_t i = first; i < end; i++) {
        int64_t at = i + (p->band == TRI_BAND_CAUSAL_TOP_LEFT ? 0 : p->sk - p->sq);
        for (int64_t j = block * n; j < (block + 1) * n && j < p->sk; j++) {
            *seen |= (left < 0 || j >= at - left) && (right < 0 || j <= at + right);
            *own |= p->band != TRI_BAND_FULL && j == at;
        }
    }
}

typedef struct select_block {
    double score, unsure; /* what float32 may be off by; 0 where sums are exact */
    bool seen, own, chosen;
} select_block;

static inline void select_look(select_block *out, const select_case *c, int64_t b, int64_t head,
                               int64_t row_block, bool exact) {
    const tri_attention_problem *p = &c->problem;
    int64_t group = p->heads_q / select_heads(p), kv = head / (select_heads(p) / p->heads_kv);
    int64_t first = row_block * p->mask.rows,
            end = first + p->mask.rows < p->sq ? first + p->mask.rows : p->sq;
    double q[TRI_ATTENTION_D_MAX], k[TRI_ATTENTION_D_MAX], all;
    select_mean(q, c->q, p, p->sq, p->heads_q, b, head * group, group, first, end);
    for (int64_t at = 0; at < select_blocks(p->sk, p->mask.cols); at++) {
        int64_t key = at * p->mask.cols, behind = key + p->mask.cols < p->sk ? key + p->mask.cols : p->sk;
        select_mean(k, c->k, p, p->sk, p->heads_kv, b, kv, 1, key, behind);
        out[at] = (select_block){0};
        all = 0;
        for (int x = 0; x < p->d; x++) {
            out[at].score += q[x] * k[x];
            all += (fabs(q[x]) + 0.1) * (fabs(k[x]) + 0.1);
        }
        out[at].score = isnan(out[at].score) ? -INFINITY : out[at].score;
        out[at].unsure = exact ? 0 : all * 0x1p-20;
        select_sees(&out[at].seen, &out[at].own, p, first, end, at);
    }
}

/* Is a block that is not own as good as one that is left out? */
static inline bool select_as_good(const select_block *blocks, int64_t taken, int64_t left_out) {
    double more = blocks[taken].score - blocks[left_out].score,
           unsure = blocks[taken].unsure + blocks[left_out].unsure;
    if (isinf(blocks[left_out].score))
        return !isinf(blocks[taken].score) || taken < left_out;
    return unsure > 0 ? more >= -unsure : more > 0 || (more == 0 && taken < left_out);
}

static inline void select_verify_row(const select_case *c, select_block *blocks, size_t row,
                                     int64_t blocks_count) {
    const int32_t *list = c->cols + row * (size_t)c->capacity;
    int64_t candidates = 0;
    for (int64_t at = 0; at < blocks_count; at++)
        candidates += blocks[at].seen;
    if (c->count[row] != (candidates < c->top ? candidates : c->top))
        fail_msg("row %zu has %d blocks of %lld", row, c->count[row], (long long)candidates);
    for (int32_t i = 0; i < c->count[row]; i++) {
        if (list[i] < 0 || list[i] >= blocks_count || (i > 0 && list[i] <= list[i - 1]) ||
            !blocks[list[i]].seen)
            fail_msg("row %zu: block %d in place %d", row, list[i], i);
        blocks[list[i]].chosen = true;
    }
    for (int64_t out = 0; out < blocks_count; out++) {
        if (!blocks[out].seen || blocks[out].chosen)
            continue;
        if (blocks[out].own)
            fail_msg("row %zu: own block %lld is left out", row, (long long)out);
        for (int32_t i = 0; i < c->count[row]; i++)
            if (!blocks[list[i]].own && !select_as_good(blocks, list[i], out))
                fail_msg("row %zu: block %d is taken, the better %lld is not", row, list[i], (long long)out);
    }
}

/* exact: sums of these inputs are, so that ties are ties. */
static inline void select_verify(const select_case *c, bool exact) {
    const tri_attention_problem *p = &c->problem;
    int64_t blocks_count = select_blocks(p->sk, p->mask.cols), q_blocks = select_blocks(p->sq, p->mask.rows);
    select_block *blocks = calloc((size_t)blocks_count + 1, sizeof *blocks);
    assert_non_null(blocks);
    for (size_t row = 0; row < c->rows; row++) {
        int64_t head = (int64_t)row / q_blocks % select_heads(p),
                b = (int64_t)row / q_blocks / select_heads(p);
        select_look(blocks, c, b, head, (int64_t)row % q_blocks, exact);
        select_verify_row(c, blocks, row, blocks_count);
    }
    free(blocks);
}

/* The text of the CUDA kernel. type: CUDA's name of that of Q and K. */
static inline void select_render(tri_source *out, const tri_attention_problem *p, const char *type) {
    tri_param params[8];
    tri_candidate candidate = {.kernel = "select", .config = "select", .params = params};
    int64_t left, right;
    tri_attention_band_of(&left, &right, p);
    candidate.template_name = "templates/attention/select.cu";
    attention_param(&candidate, "in_type", type);
    attention_number(&candidate, "d", p->d);
    attention_number(&candidate, "mask_m", p->mask.rows);
    attention_number(&candidate, "mask_n", p->mask.cols);
    attention_number(&candidate, "left", left >= 0);
    attention_number(&candidate, "right", right >= 0);
    attention_number(&candidate, "top_left", p->band == TRI_BAND_CAUSAL_TOP_LEFT);
    if (tri_render(out, &candidate, TRI_SOURCE_DIR) != TRIAGE_OK)
        fail_msg("render: %s", triage_last_error());
    for (size_t i = 0; i < candidate.param_count; i++)
        free(params[i].value);
}

#endif
