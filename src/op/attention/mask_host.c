/* Which keys a query sees: counted, listed, drawn. The rule itself is in templates/attention/mask.h. */
#include "op/attention/attention.h"
#include "attention/mask.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

/* ---- the band ----------------------------------------------------------------------------------------- */

void tri_attention_band_of(int64_t *left, int64_t *right, const tri_attention_problem *problem) {
    *left = problem->band == TRI_BAND_WINDOW ? problem->left : -1;
    *right = problem->band == TRI_BAND_WINDOW ? problem->right : problem->band == TRI_BAND_FULL ? -1 : 0;
}

static tri_attention_span span_of(const tri_attention_problem *p, const tri_attention_sequence *s,
                                  int64_t i) {
    int64_t left, right;
    tri_attention_band_of(&left, &right, p);
    return tri_attention_span_of(s, left, right, p->band == TRI_BAND_CAUSAL_TOP_LEFT, i);
}

/* The sum over i = 0 .. sq - 1 of i + x, cut to 0 .. sk. */
static double sum_of_ends(double sq, double sk, double x) {
    double first = fmin(fmax(-x, 0), sq), last = fmin(fmax(sk - x, first), sq);
    double between = (last - first) * x + (last * (last - 1) - first * (first - 1)) / 2;
    return between + (sq - last) * sk;
}

/* Pairs of one head of one sequence: where each query's keys end, less where they begin. */
static double pairs_of_band(const tri_attention_problem *p, tri_attention_length length) {
    int64_t left, right;
    tri_attention_band_of(&left, &right, p);
    double sq = (double)length.sq, sk = (double)length.sk;
    double off = p->band == TRI_BAND_CAUSAL_TOP_LEFT ? 0 : sk - sq;
    double ends = right < 0 ? sq * sk : sum_of_ends(sq, sk, off + (double)right + 1);
    double begins = left < 0 ? 0 : sum_of_ends(sq, sk, off - (double)left);
    return ends - begins;
}

/* ---- lengths and pairs of a problem ---------------------------------------------------------------------- */

void tri_attention_lengths_begin(tri_attention_lengths_drawn *out, const tri_attention_problem *problem) {
    *out = (tri_attention_lengths_drawn){.problem = problem};
    tri_random_seed(&out->random, 1);
}

static int64_t any_length(tri_random *random, int64_t most) {
    return most ? 1 + (int64_t)tri_random_below(random, (uint64_t)most) : 0;
}

tri_attention_length tri_attention_lengths_next(tri_attention_lengths_drawn *drawn) {
    const tri_attention_problem *p = drawn->problem;
    int64_t at = drawn->next++;
    if (p->lengths != TRI_LENGTHS_OFFSETS || at == 0)
        return (tri_attention_length){p->sq, p->sk};
    int64_t sq = any_length(&drawn->random, p->sq), sk = any_length(&drawn->random, p->sk);
    bool self = p->sq == p->sk; /* then a sequence is looked at by itself */
    return (tri_attention_length){at % 8 == 5 ? 0 : sq, self ? (at % 8 == 5 ? 0 : sq) : at % 8 == 6 ? 0 : sk};
}

/* Density is the share of all blocks. Lists name blocks that the band lets their rows see, or their work would be in vain: so
 * the band takes nothing off, but for a part of the blocks on its edges. */
static double pairs_of_lists(const tri_attention_problem *p, tri_attention_length length) {
    const double density = p->mask.rows ? p->mask.fingerprint.density_e4 / 1e4 : 1;
    return density * (double)length.sq * (double)length.sk;
}

/* The largest power of two, at most 16, that divides the strides of packed tensors. */
static int32_t packed_alignment(const tri_attention_problem *p) {
    size_t in = tri_dtype_size(p->in_type), out = tri_dtype_size(p->out_type);
    size_t strides = ((size_t)p->d * in) | ((size_t)p->dv * in) | ((size_t)p->dv * out) | 16;
    return (int32_t)(strides & -strides);
}

void tri_attention_complete(tri_attention_problem *problem) {
    tri_attention_lengths_drawn drawn;
    bool alike = problem->lengths != TRI_LENGTHS_OFFSETS;
    int64_t times = alike ? problem->batch : 1;
    double pairs = 0;
    problem->queries = problem->keys = 0;
    tri_attention_lengths_begin(&drawn, problem);
    for (int64_t b = 0; b < (alike ? 1 : problem->batch); b++) {
        tri_attention_length length = tri_attention_lengths_next(&drawn);
        problem->queries += times * length.sq;
        problem->keys += times * length.sk;
        pairs += (double)times * fmin(pairs_of_band(problem, length), pairs_of_lists(problem, length));
    }
    problem->pairs = (int64_t)(pairs * (double)problem->heads_q);
    problem->alignment = packed_alignment(problem);
    problem->expanded = false;
}

/* ---- lists ----------------------------------------------------------------------------------------------- */

static int64_t ceil_div(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

static int64_t mask_heads(const tri_attention_problem *p) {
    return p->mask.heads == TRI_MASK_Q_HEADS    ? p->heads_q
           : p->mask.heads == TRI_MASK_KV_HEADS ? p->heads_kv
                                                : 1;
}

int64_t tri_attention_mask_rows(const tri_attention_problem *p) {
    return (p->mask.per_batch ? p->batch : 1) * mask_heads(p) * ceil_div(p->sq, p->mask.rows);
}

int64_t tri_attention_mask_cols(const tri_attention_problem *p) {
    return ceil_div(p->sk, p->mask.cols);
}

void tri_attention_mask_strides(tri_attention_args *args, const tri_attention_problem *p) {
    int64_t rows = ceil_div(p->sq, p->mask.rows), heads = mask_heads(p);
    args->mask_batch = p->mask.per_batch ? (int)(rows * heads) : 0;
    args->mask_head = p->mask.heads == TRI_MASK_ALL_HEADS ? 0 : (int)rows;
    args->mask_head_div = p->mask.heads == TRI_MASK_KV_HEADS ? (int)(p->heads_q / p->heads_kv) : 1;
}

/* The blocks that the band lets a row of blocks see, of the longest sequence. */
typedef struct choice {
    int64_t first, count, diagonal;
} choice;

static choice choice_of(const tri_attention_problem *p, int64_t row_of_blocks) {
    tri_attention_sequence s = {.sq = p->sq, .sk = p->sk};
    int64_t first = row_of_blocks * p->mask.rows, last = first + p->mask.rows - 1;
    last = last < p->sq ? last : p->sq - 1;
    tri_attention_span low = span_of(p, &s, first), high = span_of(p, &s, last);
    int64_t begin = low.end > low.begin ? low.begin : high.begin; /* the first queries may see none */
    int64_t at = last + (p->band == TRI_BAND_CAUSAL_TOP_LEFT ? 0 : p->sk - p->sq);
    if (high.end == high.begin)
        return (choice){0, 0, 0};
    at = at < begin ? begin : at >= high.end ? high.end - 1 : at;
    return (choice){begin / p->mask.cols, (high.end - 1) / p->mask.cols - begin / p->mask.cols + 1,
                    at / p->mask.cols};
}

static int64_t kept(choice of, double sparsity) {
    int64_t count = (int64_t)round((1 - sparsity) * (double)of.count);
    return count == 0 && of.count > 0 ? 1 : count;
}

/* Marks count of the blocks, the diagonal first; writes them in ascending order. */
static void draw_list(int32_t *out, choice of, int64_t count, bool *marked, tri_random *random) {
    for (int64_t i = 0; i < of.count; i++)
        marked[i] = false;
    if (count > 0)
        marked[of.diagonal - of.first] = true;
    for (int64_t made = 1; made < count;) { /* of few free ones the chance is 1/n: n log n tries, at worst */
        int64_t at = (int64_t)tri_random_below(random, (uint64_t)of.count);
        made += !marked[at];
        marked[at] = true;
    }
    for (int64_t i = 0; i < of.count; i++)
        if (marked[i])
            *out++ = (int32_t)(of.first + i);
}

triage_status tri_attention_mask_random(tri_pattern *out, const tri_attention_problem *problem,
                                        double sparsity, uint64_t seed) {
    triage_status status;
    int64_t rows = tri_attention_mask_rows(problem), cols = tri_attention_mask_cols(problem), nnzb = 0;
    int64_t in_one = ceil_div(problem->sq, problem->mask.rows);
    bool *marked = NULL;
    tri_random random;
    *out = (tri_pattern){.block_rows = rows, .block_cols = cols};
    tri_random_seed(&random, seed);
    if (!(sparsity >= 0 && sparsity <= 1))
        return tri_fail(TRIAGE_E_INVALID, "sparsity is %g; allowed 0 .. 1", sparsity);
    TRI_TRY(tri_calloc(&out->row_ptr, (size_t)rows + 1, sizeof *out->row_ptr));
    TRI_TRY(tri_calloc(&marked, (size_t)cols + 1, sizeof *marked));
    for (int64_t row = 0; row < rows; row++) {
        nnzb += kept(choice_of(problem, row % in_one), sparsity);
        if (nnzb > INT32_MAX)
            TRI_TRY(tri_fail(TRIAGE_E_INVALID, "a mask of more than %d listed blocks", INT32_MAX));
        out->row_ptr[row + 1] = (int32_t)nnzb;
    }
    out->nnzb = nnzb;
    TRI_TRY(tri_calloc(&out->col_idx, (size_t)nnzb + 1, sizeof *out->col_idx));
    for (int64_t row = 0; row < rows; row++)
        draw_list(out->col_idx + out->row_ptr[row], choice_of(problem, row % in_one),
                  out->row_ptr[row + 1] - out->row_ptr[row], marked, &random);
done:
    free(marked);
    if (status != TRIAGE_OK)
        tri_pattern_free(out);
    return status;
}

triage_status tri_attention_mask_read(tri_pattern *out, const tri_attention_problem *problem,
                                      const char *path) {
    int64_t rows = ceil_div(problem->sq, problem->mask.rows), cols = tri_attention_mask_cols(problem);
    triage_status status = tri_pattern_read(out, path);
    if (status == TRIAGE_OK && (out->block_rows != rows || out->block_cols != cols)) {
        status = tri_fail(TRIAGE_E_DATA,
                          "%s: %" PRId64 " x %" PRId64 " blocks; allowed %" PRId64 " x %" PRId64
                          ", for blocks of %" PRId32 " x %" PRId32,
                          path, out->block_rows, out->block_cols, rows, cols, problem->mask.rows,
                          problem->mask.cols);
        tri_pattern_free(out);
    }
    return status;
}

/* ---- the keys of a query ----------------------------------------------------------------------------------- */

int64_t tri_attention_keys(int32_t *out, const tri_attention_problem *problem, const tri_attention_args *args,
                           int b, int head, int64_t i) {
    const tri_block_mask_kind *mask = &problem->mask;
    tri_attention_sequence s = tri_attention_sequence_of(args, b);
    int64_t left, right, made = 0;
    tri_attention_band_of(&left, &right, problem);
    tri_attention_runs runs = tri_attention_runs_of(
        args, &s, left, right, problem->band == TRI_BAND_CAUSAL_TOP_LEFT, mask->rows, b, head, i);
    while (tri_attention_next_run(&runs, args, mask->cols)) {
        if (!out && runs.entry < 0) {
            made += runs.run.end - runs.run.begin;
            continue;
        }
        for (int64_t j = runs.run.begin; j < runs.run.end; j++)
            if (tri_attention_run_sees(&runs, args, mask->rows, mask->cols, i, j)) {
                if (out)
                    out[made] = (int32_t)j;
                made++;
            }
    }
    return made;
}

int64_t tri_attention_count_pairs(const tri_attention_problem *problem, const tri_attention_args *args) {
    int64_t pairs = 0;
    for (int b = 0; b < args->batch; b++) {
        tri_attention_sequence s = tri_attention_sequence_of(args, b);
        if (!problem->mask.rows) {
            pairs += problem->heads_q * (int64_t)pairs_of_band(problem, (tri_attention_length){s.sq, s.sk});
            continue;
        }
        int64_t heads = mask_heads(problem), group = problem->heads_q / heads; /* whose lists are the same */
        for (int64_t head = 0; head < problem->heads_q; head += group)
            for (int64_t i = 0; i < s.sq; i++)
                pairs += group * tri_attention_keys(NULL, problem, args, b, (int)head, i);
    }
    return pairs;
}
