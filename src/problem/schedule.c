/* The order of work: row_order, and panels of rows that walk their columns together. */
#include "problem/schedule_group.h"

#include "bsr_gemm/args.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define PANEL_ROWS_LIMIT 32 /* the bits of tri_panel_step.rows */

void tri_schedule_free(tri_schedule *schedule) {
    if (!schedule)
        return;
    free(schedule->row_order);
    free(schedule->panel_ptr);
    free(schedule->steps);
    *schedule = (tri_schedule){0};
}

/* A counting sort: longest first, ties by index. */
static triage_status order_by_length(int32_t *row_order, const tri_pattern *pattern) {
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

/* The union of the rows' columns in ascending order, with who has which: a merge of at most 32 sorted
 * lists. Returns the number of steps; steps may be NULL to count only. */
static int64_t merge_rows(tri_panel_step *steps, const tri_pattern *pattern, const int32_t *rows, int count) {
    int32_t at[PANEL_ROWS_LIMIT], end[PANEL_ROWS_LIMIT];
    for (int i = 0; i < count; i++) {
        at[i] = pattern->row_ptr[rows[i]];
        end[i] = pattern->row_ptr[rows[i] + 1];
    }
    for (int64_t made = 0;; made++) {
        int32_t col = INT32_MAX;
        for (int i = 0; i < count; i++)
            if (at[i] < end[i] && pattern->col_idx[at[i]] < col)
                col = pattern->col_idx[at[i]];
        if (col == INT32_MAX)
            return made;
        unsigned mask = 0;
        for (int i = 0; i < count; i++)
            if (at[i] < end[i] && pattern->col_idx[at[i]] == col) {
                mask |= 1u << i;
                at[i]++;
            }
        if (steps)
            steps[made] = (tri_panel_step){col, mask};
    }
}

static int rows_of_panel(const tri_pattern *pattern, int64_t panel, int32_t panel_rows) {
    int64_t left = pattern->block_rows - panel * panel_rows;
    return (int)(left < panel_rows ? left : panel_rows);
}

typedef struct panel_rank {
    int64_t steps;
    int64_t panel;
} panel_rank;

static int compare_rank(const void *left, const void *right) {
    const panel_rank *a = left, *b = right;
    if (a->steps != b->steps)
        return a->steps > b->steps ? -1 : 1;
    return a->panel < b->panel ? -1 : a->panel > b->panel;
}

/* Longest first again, now by steps. A short last panel stays last: panel p begins at p * panel_rows. */
static triage_status sort_panels(int32_t *row_order, const tri_pattern *pattern, int32_t panel_rows) {
    triage_status status;
    panel_rank *ranks = NULL;
    int32_t *sorted = NULL;
    int64_t full = pattern->block_rows / panel_rows;
    TRI_TRY(tri_calloc(&ranks, (size_t)full, sizeof *ranks));
    TRI_TRY(tri_calloc(&sorted, (size_t)(full * panel_rows), sizeof *sorted));
    for (int64_t p = 0; p < full; p++)
        ranks[p] = (panel_rank){merge_rows(NULL, pattern, row_order + p * panel_rows, panel_rows), p};
    qsort(ranks, (size_t)full, sizeof *ranks, compare_rank);
    for (int64_t p = 0; p < full; p++)
        memcpy(sorted + p * panel_rows, row_order + ranks[p].panel * panel_rows,
               (size_t)panel_rows * sizeof *sorted);
    memcpy(row_order, sorted, (size_t)(full * panel_rows) * sizeof *sorted);
done:
    free(ranks);
    free(sorted);
    return status;
}

static triage_status build_panels(tri_schedule *out, const tri_pattern *pattern, int32_t panel_rows) {
    triage_status status;
    int64_t panels = (pattern->block_rows + panel_rows - 1) / panel_rows;
    TRI_TRY(tri_calloc(&out->panel_ptr, (size_t)panels + 1, sizeof *out->panel_ptr));
    for (int64_t p = 0; p < panels; p++)
        out->panel_ptr[p + 1] =
            out->panel_ptr[p] + (int32_t)merge_rows(NULL, pattern, out->row_order + p * panel_rows,
                                                    rows_of_panel(pattern, p, panel_rows));
    TRI_TRY(tri_calloc(&out->steps, (size_t)out->panel_ptr[panels], sizeof *out->steps));
    for (int64_t p = 0; p < panels; p++)
        merge_rows(out->steps + out->panel_ptr[p], pattern, out->row_order + p * panel_rows,
                   rows_of_panel(pattern, p, panel_rows));
    out->panels = (int32_t)panels;
done:
    return status;
}

triage_status tri_schedule_build(tri_schedule *out, const tri_pattern *pattern, int32_t panel_rows,
                                 bool reorder) {
    triage_status status;
    *out = (tri_schedule){0};
    if (panel_rows < 0 || panel_rows > PANEL_ROWS_LIMIT)
        return tri_fail(TRIAGE_E_INVALID, "panel_rows is %" PRId32 "; allowed 0 .. %d", panel_rows,
                        PANEL_ROWS_LIMIT);
    TRI_TRY(tri_calloc(&out->row_order, (size_t)pattern->block_rows, sizeof *out->row_order));
    TRI_TRY(order_by_length(out->row_order, pattern));
    if (panel_rows == 0)
        goto done;
    if (reorder && panel_rows > 1)
        TRI_TRY(tri_group_rows(out->row_order, pattern, panel_rows));
    TRI_TRY(sort_panels(out->row_order, pattern, panel_rows));
    TRI_TRY(build_panels(out, pattern, panel_rows));
done:
    if (status != TRIAGE_OK)
        tri_schedule_free(out);
    return status;
}
