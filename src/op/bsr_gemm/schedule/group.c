/* Greedy grouping: the longest row left opens a panel; then the row that shares most columns with the panel
 * joins it, until it is full. Every shared column is a step saved.
 *
 * Who shares is read off the transposed pattern. To keep the whole near linear, at most `window` rows are
 * looked at in each column, in the order of ranks. Ranks sort rows by length and then by their columns, so
 * identical rows are neighbours in every column and the window never parts them. */
#include "op/bsr_gemm/schedule/group.h"

#include <stdlib.h>
#include <string.h>

#define LOOKS ((int64_t)1 << 26) /* in all; about 0.2 s */

typedef struct grouping {
    const tri_pattern *pattern;
    int64_t window;
    int32_t *row_of_rank;            /* longest first, then by columns, then by index */
    int32_t *col_begin, *col_end;    /* of each column in ranks; the dead are dropped as they are met */
    int32_t *ranks;                  /* [nnzb]: who has the column, ascending */
    int32_t *shared;                 /* by rank: columns in common with the open panel */
    int32_t *touched, touched_count; /* ranks whose shared is not 0 */
    bool *taken;                     /* by rank */
    bool *in_panel;                  /* by column */
    int32_t *panel_cols, panel_col_count;
} grouping;

static void grouping_free(grouping *g) {
    free(g->row_of_rank);
    free(g->col_begin);
    free(g->col_end);
    free(g->ranks);
    free(g->shared);
    free(g->touched);
    free(g->taken);
    free(g->in_panel);
    free(g->panel_cols);
}

static int compare_rows(const void *left, const void *right, void *context) {
    const tri_pattern *pattern = context;
    int32_t a = *(const int32_t *)left, b = *(const int32_t *)right;
    int64_t a_length = tri_row_length(pattern, a), b_length = tri_row_length(pattern, b);
    if (a_length != b_length)
        return a_length > b_length ? -1 : 1;
    const int32_t *a_cols = pattern->col_idx + pattern->row_ptr[a];
    const int32_t *b_cols = pattern->col_idx + pattern->row_ptr[b];
    for (int64_t i = 0; i < a_length; i++)
        if (a_cols[i] != b_cols[i])
            return a_cols[i] < b_cols[i] ? -1 : 1;
    return a < b ? -1 : a > b;
}

static void transpose(grouping *g) {
    const tri_pattern *pattern = g->pattern;
    for (int64_t i = 0; i < pattern->nnzb; i++)
        g->col_end[pattern->col_idx[i]]++; /* for now its count */
    int32_t next = 0;
    for (int64_t col = 0; col < pattern->block_cols; col++) {
        int32_t count = g->col_end[col];
        g->col_begin[col] = g->col_end[col] = next;
        next += count;
    }
    for (int64_t rank = 0; rank < pattern->block_rows; rank++) {
        int32_t row = g->row_of_rank[rank];
        for (int32_t i = pattern->row_ptr[row]; i < pattern->row_ptr[row + 1]; i++)
            g->ranks[g->col_end[pattern->col_idx[i]]++] = (int32_t)rank;
    }
}

static triage_status grouping_make(grouping *g, const tri_pattern *pattern) {
    triage_status status;
    size_t rows = (size_t)pattern->block_rows, cols = (size_t)pattern->block_cols;
    *g = (grouping){.pattern = pattern};
    g->window = LOOKS / (pattern->nnzb + 1) > 16 ? LOOKS / (pattern->nnzb + 1) : 16;
    TRI_TRY(tri_calloc(&g->row_of_rank, rows, sizeof *g->row_of_rank));
    TRI_TRY(tri_calloc(&g->col_begin, cols, sizeof *g->col_begin));
    TRI_TRY(tri_calloc(&g->col_end, cols, sizeof *g->col_end));
    TRI_TRY(tri_calloc(&g->ranks, (size_t)pattern->nnzb, sizeof *g->ranks));
    TRI_TRY(tri_calloc(&g->shared, rows, sizeof *g->shared));
    TRI_TRY(tri_calloc(&g->touched, rows, sizeof *g->touched));
    TRI_TRY(tri_calloc(&g->taken, rows, sizeof *g->taken));
    TRI_TRY(tri_calloc(&g->in_panel, cols, sizeof *g->in_panel));
    TRI_TRY(tri_calloc(&g->panel_cols, cols, sizeof *g->panel_cols));
    for (size_t row = 0; row < rows; row++)
        g->row_of_rank[row] = (int32_t)row;
    qsort_r(g->row_of_rank, rows, sizeof *g->row_of_rank, compare_rows, (void *)pattern);
    transpose(g);
done:
    return status;
}

/* Counts the column for the first `window` rows left that have it, and drops the dead met on the way: what
 * is kept moves up to the end of the stretch that was read. */
static void count_column(grouping *g, int32_t col) {
    int64_t seen = 0;
    int32_t read = g->col_begin[col], kept = read;
    for (; read < g->col_end[col] && seen < g->window; read++) {
        int32_t rank = g->ranks[read];
        if (g->taken[rank])
            continue;
        g->ranks[kept++] = rank;
        seen++;
        if (g->shared[rank]++ == 0)
            g->touched[g->touched_count++] = rank;
    }
    int32_t dead = read - kept, begin = g->col_begin[col];
    if (dead)
        memmove(g->ranks + begin + dead, g->ranks + begin, (size_t)(kept - begin) * sizeof *g->ranks);
    g->col_begin[col] += dead;
}

static void join(grouping *g, int32_t rank) {
    int32_t row = g->row_of_rank[rank];
    g->taken[rank] = true;
    for (int32_t i = g->pattern->row_ptr[row]; i < g->pattern->row_ptr[row + 1]; i++) {
        int32_t col = g->pattern->col_idx[i];
        if (g->in_panel[col])
            continue;
        g->in_panel[col] = true;
        g->panel_cols[g->panel_col_count++] = col;
        count_column(g, col);
    }
}

/* More shared columns, then fewer new ones, then the lower rank. */
static bool is_better(const grouping *g, int32_t a, int32_t b) {
    if (g->shared[a] != g->shared[b])
        return g->shared[a] > g->shared[b];
    int64_t a_length = tri_row_length(g->pattern, g->row_of_rank[a]);
    int64_t b_length = tri_row_length(g->pattern, g->row_of_rank[b]);
    return a_length != b_length ? a_length < b_length : a < b;
}

/* The best row to join, or -1 when none shares a column. Forgets those that have been taken. */
static int32_t best_partner(grouping *g) {
    int32_t best = -1, kept = 0;
    for (int32_t i = 0; i < g->touched_count; i++) {
        int32_t rank = g->touched[i];
        if (g->taken[rank]) {
            g->shared[rank] = 0;
            continue;
        }
        g->touched[kept++] = rank;
        if (best < 0 || is_better(g, rank, best))
            best = rank;
    }
    g->touched_count = kept;
    return best;
}

static void close_panel(grouping *g) {
    for (int32_t i = 0; i < g->touched_count; i++)
        g->shared[g->touched[i]] = 0;
    for (int32_t i = 0; i < g->panel_col_count; i++)
        g->in_panel[g->panel_cols[i]] = false;
    g->touched_count = g->panel_col_count = 0;
}

/* A counting sort. */
triage_status tri_order_by_length(int32_t *row_order, const tri_pattern *pattern) {
    int32_t *starts = NULL; /* starts[l]: where the rows of length l begin */
    int64_t longest = 0;
    for (int64_t row = 0; row < pattern->block_rows; row++)
        longest = tri_row_length(pattern, row) > longest ? tri_row_length(pattern, row) : longest;
    triage_status status = tri_calloc(&starts, (size_t)longest + 2, sizeof *starts);
    if (status != TRIAGE_OK)
        return status;
    for (int64_t row = 0; row < pattern->block_rows; row++)
        starts[tri_row_length(pattern, row)]++;
    int32_t next = 0;
    for (int64_t length = longest; length >= 0; length--) {
        int32_t count = starts[length];
        starts[length] = next;
        next += count;
    }
    for (int64_t row = 0; row < pattern->block_rows; row++)
        row_order[starts[tri_row_length(pattern, row)]++] = (int32_t)row;
    free(starts);
    return TRIAGE_OK;
}

triage_status tri_group_rows(int32_t *row_order, const tri_pattern *pattern, int32_t panel_rows) {
    grouping g;
    triage_status status = grouping_make(&g, pattern);
    int64_t longest_left = 0;
    for (int64_t made = 0; status == TRIAGE_OK && made < pattern->block_rows; made++) {
        if (made % panel_rows == 0)
            close_panel(&g);
        int32_t rank = best_partner(&g);
        if (rank < 0) {
            while (g.taken[longest_left])
                longest_left++;
            rank = (int32_t)longest_left;
        }
        row_order[made] = g.row_of_rank[rank];
        join(&g, rank);
    }
    grouping_free(&g);
    return status;
}
