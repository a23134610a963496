/* What a bench of bsr_gemm draws, what it runs, and where the result is. */
#include "op/bsr_gemm/bsr_gemm.h"

/* ---- sizes as stored, the gaps of a leading dimension included ---- */

static size_t stored_a(const tri_bsr_problem *problem) {
    return (size_t)problem->nnzb * (size_t)problem->block_m * (size_t)problem->block_k;
}

static size_t stored_b(const tri_bsr_problem *problem) {
    return (size_t)(problem->b_layout == TRIAGE_ROW_MAJOR ? problem->k : problem->n) * (size_t)problem->ldb;
}

static size_t stored_c(const tri_bsr_problem *problem) {
    return (size_t)(problem->c_layout == TRIAGE_ROW_MAJOR ? problem->m : problem->n) * (size_t)problem->ldc;
}

/* ---- inputs ---- */

static triage_status draw(tri_inputs *out, size_t index, triage_dtype dtype, size_t count, uint64_t seed) {
    void *data = NULL;
    triage_status status = tri_inputs_add(&data, out, index, count, tri_dtype_size(dtype));
    return status == TRIAGE_OK ? tri_fill_normal(data, dtype, count, seed) : status;
}

/* Drawn last, so that the other inputs of a seed are the same with and without. */
static triage_status draw_scales(tri_inputs *out, const tri_problem *problem, tri_random *random) {
    const size_t count = tri_bsr_scales(problem);
    float *scale_a = NULL, *scale_b = NULL;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_inputs_add(&scale_a, out, TRI_BSR_SCALE_A, count, sizeof *scale_a));
    TRI_TRY(tri_inputs_add(&scale_b, out, TRI_BSR_SCALE_B, 1, sizeof *scale_b));
    tri_fill_scales(scale_a, count, tri_random_next(random));
    tri_fill_scales(scale_b, 1, tri_random_next(random));
done:
    return status;
}

/* A's pattern row by row meets the blocks of each of its columns in the order in which they are stored. */
triage_status tri_bsr_transposed_blocks(tri_transposed_block **out, const tri_pattern *pattern) {
    triage_status status = TRIAGE_OK;
    tri_pattern stored = {0};
    TRI_TRY(tri_pattern_transpose(&stored, pattern));
    TRI_TRY(tri_calloc(out, pattern->nnzb > 0 ? (size_t)pattern->nnzb : 1, sizeof **out));
    for (int64_t i = 0; i < pattern->nnzb; i++)
        (*out)[i] = (tri_transposed_block){pattern->col_idx[i], stored.row_ptr[pattern->col_idx[i]]++};
done:
    tri_pattern_free(&stored);
    return status;
}

static triage_status add_blocks(tri_inputs *out, const tri_pattern *pattern) {
    tri_transposed_block *blocks = NULL;
    triage_status status = tri_bsr_transposed_blocks(&blocks, pattern);
    if (status == TRIAGE_OK)
        out->at[TRI_BSR_BLOCKS] =
            (tri_input){.data = blocks, .bytes = (size_t)pattern->nnzb * sizeof *blocks};
    return status;
}

static tri_input borrowed(void *data, size_t bytes) {
    return (tri_input){.data = data, .bytes = bytes, .borrowed = true};
}

/* Both cases have the same inputs. */
triage_status tri_bsr_draw(tri_inputs *out, const tri_problem *of, const tri_pattern *pattern, uint64_t seed,
                           size_t case_index) {
    const tri_bsr_problem *problem = tri_bsr(of);
    tri_random random;
    triage_status status = TRIAGE_OK;
    if (case_index > 0)
        return TRIAGE_OK;
    tri_random_seed(&random, seed);
    TRI_TRY(draw(out, TRI_BSR_VALUES, problem->in_type, stored_a(problem), tri_random_next(&random)));
    TRI_TRY(draw(out, TRI_BSR_B, problem->in_type, stored_b(problem), tri_random_next(&random)));
    TRI_TRY(draw(out, TRI_BSR_C_IN, problem->out_type, stored_c(problem), tri_random_next(&random)));
    if (problem->bias)
        TRI_TRY(draw(out, TRI_BSR_BIAS, problem->out_type, (size_t)problem->m, tri_random_next(&random)));
    if (problem->in_type == TRIAGE_E4M3)
        TRI_TRY(draw_scales(out, of, &random));
    out->at[TRI_BSR_ROW_PTR] =
        borrowed(pattern->row_ptr, ((size_t)pattern->block_rows + 1) * sizeof *pattern->row_ptr);
    if (problem->a_transposed)
        TRI_TRY(add_blocks(out, pattern));
    out->at[TRI_BSR_COL_IDX] = borrowed(pattern->col_idx, (size_t)pattern->nnzb * sizeof *pattern->col_idx);
done:
    return status;
}

/* ---- cases ---- */

static const struct { float alpha, beta; } cases[] = {{1.0f, 0.0f}, {1.25f, -0.5f}};

size_t tri_bsr_case_count(const tri_problem *problem) {
    (void)problem;
    return sizeof cases / sizeof *cases;
}

void tri_bsr_case_factors(float *alpha, float *beta, size_t case_index) {
    *alpha = cases[case_index].alpha;
    *beta = cases[case_index].beta;
}

void tri_bsr_case_text(char *out, size_t size, const tri_problem *problem, size_t case_index) {
    (void)problem;
    snprintf(out, size, "alpha %g, beta %g", (double)cases[case_index].alpha, (double)cases[case_index].beta);
}

/* ---- the result ---- */

/* Of the longest row. */
static double longest_terms(const tri_bsr_problem *problem) {
    int64_t block_rows = problem->m / problem->block_m;
    double all = (double)problem->k;
    if (problem->fingerprint.imbalance_e1 < 10)
        return all; /* not known */
    /* the imbalance is rounded to powers of 2^(1/2): it may be 2^(1/4) more */
    double imbalance = 1.19 * problem->fingerprint.imbalance_e1 / 10;
    double terms = imbalance * (double)problem->nnzb * problem->block_k / (double)block_rows;
    return terms < all ? terms : all;
}

size_t tri_bsr_views(tri_view out[TRI_VIEWS_MAX], const tri_problem *of) {
    const tri_bsr_problem *problem = tri_bsr(of);
    out[0] = (tri_view){.name = "C",
                        .dtype = problem->out_type,
                        .rows = problem->m,
                        .cols = problem->n,
                        .ld = problem->ldc,
                        .col_major = problem->c_layout == TRIAGE_COL_MAJOR,
                        .terms = longest_terms(problem),
                        .common_scale = problem->activation != TRIAGE_ACT_NONE};
    return 1;
}

int tri_bsr_before(const tri_problem *problem, size_t case_index, size_t view) {
    (void)problem, (void)view;
    return case_index == 0 ? -1 : TRI_BSR_C_IN;
}

static int64_t longest_block_row(const tri_pattern *pattern) {
    int64_t longest = 0;
    const int32_t *at = pattern->row_ptr;
    for (int64_t row = 1; row < pattern->block_rows; row++)
        if (at[row + 1] - at[row] > at[longest + 1] - at[longest])
            longest = row;
    return longest;
}

size_t tri_bsr_telling_rows(int64_t out[TRI_TELLING_ROWS], const tri_problem *of, const tri_pattern *pattern,
                            tri_random *random) {
    const tri_bsr_problem *problem = tri_bsr(of);
    const int64_t inner = (int64_t)tri_random_below(random, (uint64_t)problem->block_m);
    out[0] = 0;
    out[1] = problem->m - 1;
    out[2] = longest_block_row(pattern) * problem->block_m + inner;
    return 3;
}
