/* What a bench of bsr_sddmm draws, what it runs, and where the result is. */
#include "op/bsr_sddmm/bsr_sddmm.h"

static triage_status draw(tri_inputs *out, size_t index, triage_dtype dtype, size_t count, uint64_t seed) {
    void *data = NULL;
    triage_status status = tri_inputs_add(&data, out, index, count, tri_dtype_size(dtype));
    return status == TRIAGE_OK ? tri_fill_normal(data, dtype, count, seed) : status;
}

static tri_input borrowed(void *data, size_t bytes) {
    return (tri_input){.data = data, .bytes = bytes, .borrowed = true};
}

/* As stored, the gaps of a leading dimension included. */
static size_t stored(triage_layout layout, int64_t lines, int64_t n, int64_t ld) {
    return (size_t)(layout == TRIAGE_ROW_MAJOR ? lines : n) * (size_t)ld;
}

/* Both cases have the same inputs. */
triage_status tri_sddmm_draw(tri_inputs *out, const tri_problem *of, const tri_pattern *pattern,
                             uint64_t seed, size_t case_index) {
    const tri_sddmm_problem *p = tri_sddmm(of);
    tri_random random;
    triage_status status = TRIAGE_OK;
    if (case_index > 0)
        return TRIAGE_OK;
    tri_random_seed(&random, seed);
    TRI_TRY(draw(out, TRI_SDDMM_Y, p->in_type, stored(p->y_layout, p->m, p->n, p->ldy),
                 tri_random_next(&random)));
    TRI_TRY(draw(out, TRI_SDDMM_X, p->in_type, stored(p->x_layout, p->k, p->n, p->ldx),
                 tri_random_next(&random)));
    TRI_TRY(draw(out, TRI_SDDMM_D_IN, p->out_type, (size_t)p->nnzb * (size_t)p->block_m * (size_t)p->block_k,
                 tri_random_next(&random)));
    out->at[TRI_SDDMM_ROW_PTR] =
        borrowed(pattern->row_ptr, ((size_t)pattern->block_rows + 1) * sizeof *pattern->row_ptr);
    out->at[TRI_SDDMM_COL_IDX] = borrowed(pattern->col_idx, (size_t)pattern->nnzb * sizeof *pattern->col_idx);
done:
    return status;
}

/* ---- cases ---- */

static const struct { float alpha, beta; } cases[] = {{1.0f, 0.0f}, {1.25f, -0.5f}};

size_t tri_sddmm_case_count(const tri_problem *problem) {
    (void)problem;
    return sizeof cases / sizeof *cases;
}

void tri_sddmm_case_factors(float *alpha, float *beta, size_t case_index) {
    *alpha = cases[case_index].alpha;
    *beta = cases[case_index].beta;
}

void tri_sddmm_case_text(char *out, size_t size, const tri_problem *problem, size_t case_index) {
    (void)problem;
    snprintf(out, size, "alpha %g, beta %g", (double)cases[case_index].alpha, (double)cases[case_index].beta);
}

/* ---- the result ---- */

size_t tri_sddmm_views(tri_view out[TRI_VIEWS_MAX], const tri_problem *of) {
    const tri_sddmm_problem *p = tri_sddmm(of);
    out[0] = (tri_view){.name = "D",
                        .dtype = p->out_type,
                        .rows = p->nnzb * p->block_m,
                        .cols = p->block_k,
                        .ld = p->block_k,
                        .terms = (double)p->n};
    return 1;
}

int tri_sddmm_before(const tri_problem *problem, size_t case_index, size_t view) {
    (void)problem, (void)view;
    return case_index == 0 ? -1 : TRI_SDDMM_D_IN;
}

/* The first and the last: a tile that is not full is at the end. */
size_t tri_sddmm_telling_rows(int64_t out[TRI_TELLING_ROWS], const tri_problem *of,
                              const tri_pattern *pattern, tri_random *random) {
    const tri_sddmm_problem *p = tri_sddmm(of);
    (void)pattern, (void)random;
    out[0] = 0;
    out[1] = p->nnzb * p->block_m - 1;
    return 2;
}
