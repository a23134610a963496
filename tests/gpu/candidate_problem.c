/* The problems of bsr_gemm: see candidate_problem.h. */
#include "support/bsr_of.h"
#include "op/bsr_gemm/bsr_gemm.h"
#include "gpu/candidate_problem.h"
#include "gpu/run_candidates.h"

#include <stdio.h>
#include <stdlib.h>

#define PROBES (sizeof probes / sizeof probes[0])

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

static void describe(outline *of, const probe *from) {
    static const char *const patterns[] = {"spread", "uneven", "full", "bare"};
    snprintf(of->name, sizeof of->name, "%dx%d m=%lld n=%lld k=%lld %s-%s %s-%s %s%s ldb+%d ldc+%d %s",
             from->block_m, from->block_k, (long long)bsr_of(&of->problem)->m,
             (long long)bsr_of(&of->problem)->n, (long long)bsr_of(&of->problem)->k, tri_dtype_name(from->in),
             tri_dtype_name(from->out), tri_layout_name(from->b_layout), tri_layout_name(from->c_layout),
             tri_activation_name(from->act), from->bias ? "+bias" : "", from->pad_b, from->pad_c,
             patterns[from->pattern]);
}

/* The sizes alone, of a pattern with nnzb blocks. */
static void make_problem(tri_problem *out, const probe *from, int64_t nnzb) {
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

_Static_assert(PROBES <= PROBES_MAX, "PROBES_MAX is too small for the list");

const tri_operation *probes_of(void) {
    return &tri_op_bsr_gemm;
}

size_t probe_count(void) {
    return PROBES;
}

/* How much of a problem is edge: rows of every length before rows of one, a last tile of columns that is not full
 * before full ones. (Every run has beta != 0 in its second case.) */
static int raggedness(const probe *from) {
    const int of_pattern[] = {[SPREAD] = 2, [UNEVEN] = 3, [FULL] = 1, [BARE] = 0};
    return 2 * of_pattern[from->pattern] + (from->n % 64 != 0);
}

static void name_group(char group[40], const probe *from) {
    snprintf(group, 40, "%s %dx%d", from->in == TRIAGE_E4M3 ? "e4m3" : "half", from->block_m, from->block_k);
}

void outline_make(outline *out, size_t number) {
    const probe *from = &probes[number];
    *out = (outline){.number = number, .raggedness = raggedness(from), .made = true};
    make_pattern(&out->pattern, from);
    make_problem(&out->problem, from, out->pattern.nnzb);
    tri_fingerprint_of(&bsr_of(&out->problem)->fingerprint, &out->pattern);
    must(tri_problem_check(&out->problem));
    out->cost = (double)out->pattern.nnzb * (double)from->n * from->block_m * from->block_k;
    name_group(out->group, from);
    describe(out, from);
}

/* The first of the list with such blocks. */
static bool is_new_block(size_t at) {
    const probe *from = &probes[at];
    for (size_t j = 0; j < at; j++)
        if (probes[j].block_m == from->block_m && probes[j].block_k == from->block_k &&
            (probes[j].in == TRIAGE_E4M3) == (from->in == TRIAGE_E4M3))
            return false;
    return true;
}

/* Of each kind of blocks, of all widths, in both layouts. */
bool large_problem(tri_problem *out, char group[40], size_t i) {
    static const int64_t columns[] = {8, 16, 32, 64, 128, 256, 8192};
    const size_t each = 2 * sizeof columns / sizeof columns[0];
    size_t at = 0, block = i / each;
    for (; at < PROBES && (!is_new_block(at) || block > 0); at++)
        block -= is_new_block(at);
    if (at == PROBES)
        return false;
    probe large = probes[at];
    i %= each;
    large.b_layout = large.c_layout = i % 2 ? TRIAGE_COL_MAJOR : TRIAGE_ROW_MAJOR;
    if (large.in == TRIAGE_E4M3)
        large.b_layout = TRIAGE_COL_MAJOR; /* there is no other */
    else
        large.in = large.out = TRIAGE_F16;
    large.n = columns[i / 2];
    large.pad_b = large.pad_c = 0;
    large.rows = large.n <= 64 ? 4 : 64;
    large.cols = 8192 / large.block_k;
    make_problem(out, &large, (int64_t)large.rows * large.cols);
    name_group(group, &large);
    return true;
}
