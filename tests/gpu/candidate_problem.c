/* The problems of the list made out: see candidate_problem.h. */
#include "support/bsr_of.h"
#include "op/bsr_gemm/bsr_gemm.h"
#include "gpu/candidate_problem.h"

#include <stdio.h>
#include <stdlib.h>

void must(triage_status status) {
    if (status == TRIAGE_OK)
        return;
    printf("run_candidates: %s: %s\n", triage_status_name(status), triage_last_error());
    exit(status == TRIAGE_E_NO_DEVICE ? 77 : 1);
}

static int32_t blocks_of_row(probe_pattern kind, int32_t row, int32_t cols) {
    if (kind == FULL)
        return cols;
    if (kind == BARE)
        return 0;
    const int32_t turns[] = {cols, 0, 1, (cols + 2) / 3};
    return kind == UNEVEN ? turns[row % 4] : (cols + 1) / 2;
}

/* Each row's blocks begin somewhere else and are an odd stride apart. */
static void make_pattern(tri_pattern *out, const probe *from) {
    int32_t *row_ptr = NULL, *col_idx = NULL, nnzb = 0;
    must(tri_calloc(&row_ptr, (size_t)from->rows + 1, sizeof *row_ptr));
    must(tri_calloc(&col_idx, (size_t)from->rows * (size_t)from->cols + 1, sizeof *col_idx));
    for (int32_t row = 0; row < from->rows; row++) {
        int32_t wanted = blocks_of_row(from->pattern, row, from->cols), left = wanted;
        for (int32_t col = 0; col < from->cols && left > 0; col++) {
            /* take `wanted` of `cols`, moved on by the row */
            int32_t at = (col + 3 * row) % from->cols;
            bool taken = (int64_t)(at + 1) * wanted / from->cols != (int64_t)at * wanted / from->cols;
            if (taken) {
                col_idx[nnzb++] = col;
                left--;
            }
        }
        row_ptr[row + 1] = nnzb;
    }
    must(tri_pattern_copy(out, from->rows, from->cols, nnzb, row_ptr, col_idx));
    free(row_ptr);
    free(col_idx);
}

static void describe(outline *of) {
    const probe *from = of->probe;
    static const char *const patterns[] = {"spread", "uneven", "full", "bare"};
    snprintf(of->name, sizeof of->name, "%dx%d m=%lld n=%lld k=%lld %s-%s %s-%s %s%s ldb+%d ldc+%d %s",
             from->block_m, from->block_k, (long long)bsr_of(&of->problem)->m,
             (long long)bsr_of(&of->problem)->n, (long long)bsr_of(&of->problem)->k, tri_dtype_name(from->in),
             tri_dtype_name(from->out), tri_layout_name(from->b_layout), tri_layout_name(from->c_layout),
             tri_activation_name(from->act), from->bias ? "+bias" : "", from->pad_b, from->pad_c,
             patterns[from->pattern]);
}

void make_problem(tri_problem *out, const probe *from, int64_t nnzb) {
    *out = tri_bsr_problem_of((tri_bsr_problem){.in_type = from->in,
                                                .out_type = from->out,
                                                .b_layout = from->b_layout,
                                                .c_layout = from->c_layout,
                                                .activation = from->act,
                                                .bias = from->bias,
                                                .m = (int64_t)from->rows * from->block_m,
                                                .n = from->n,
                                                .k = (int64_t)from->cols * from->block_k,
                                                .block_m = from->block_m,
                                                .block_k = from->block_k,
                                                .nnzb = nnzb,
                                                .scale_per_block = from->scale_per_block});
    bsr_of(out)->ldb = (from->b_layout == TRIAGE_ROW_MAJOR ? bsr_of(out)->n : bsr_of(out)->k) + from->pad_b;
    bsr_of(out)->ldc = (from->c_layout == TRIAGE_ROW_MAJOR ? bsr_of(out)->n : bsr_of(out)->m) + from->pad_c;
}

void outline_make(outline *out, const probe *from) {
    *out = (outline){.probe = from};
    make_pattern(&out->pattern, from);
    make_problem(&out->problem, from, out->pattern.nnzb);
    tri_fingerprint_of(&bsr_of(&out->problem)->fingerprint, &out->pattern);
    must(tri_problem_check(&out->problem));
    describe(out);
}

void outline_free(outline *of) {
    tri_pattern_free(&of->pattern);
}

void name_config(char text[CONFIG_NAME_SIZE], const tri_problem *problem, const char *config) {
    snprintf(text, CONFIG_NAME_SIZE, "%s %dx%d %s", bsr_of(problem)->in_type == TRIAGE_E4M3 ? "e4m3" : "half",
             bsr_of(problem)->block_m, bsr_of(problem)->block_k, config);
}
