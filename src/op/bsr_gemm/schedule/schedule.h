/* The order of work of a kernel: block rows, panels of them, and how these are dealt out. */
#ifndef TRIAGE_OP_BSR_GEMM_SCHEDULE_SCHEDULE_H
#define TRIAGE_OP_BSR_GEMM_SCHEDULE_SCHEDULE_H

#include "pattern/pattern.h"

#define TRI_PANEL_ROWS 32 /* at most: the bits of tri_panel_step.rows */

/* How a kernel takes the block rows together; rows 0: one by one. */
typedef struct tri_panel_shape {
    int32_t rows;       /* block rows of a panel, 0 .. TRI_PANEL_ROWS */
    int32_t group;      /* block columns that are there together */
    int32_t cluster;    /* consecutive panels that list the same columns */
    bool gather;        /* a group is any columns that are needed, the last one filled up with empty steps of
                      * column -1; else neighbours, of which some are needed, from a multiple of group on */
    bool reorder;       /* bring rows with common columns together within panels */
    bool by_turns;      /* without columns: a panel of many blocks is followed by one of few */
    bool by_column;     /* with columns: units of many costs may be dealt column by column */
    int32_t columns;    /* column tiles of C, to be dealt out with the panels; 0: no deal */
    int32_t workers;    /* CTAs, or clusters of them, that share the work; with columns */
    int32_t warps;      /* that share a panel's rows in equal runs: panels may then be of uneven height, or of
                      * long and short rows, or (cluster 1) have rows in pieces, where that evens the deal out; 0: each
                      * panel is full */
    int32_t busy_warps; /* with warps: so many keep an SM busy, fewer go at the pace of one */
    int32_t least_blocks; /* with warps: a panel takes no less time than so many blocks do */
} tri_panel_shape;

/* Work order and panels, as templates/bsr_gemm/args.h describes them. */
typedef struct tri_schedule {
    int64_t slots; /* block_rows; with panels of uneven height more: panels * rows of a panel */
    /* [slots]: longest rows first, ties by index; panels: most steps first; -1: none. A row that a panel has s times is
     * done in s pieces there: the i-th takes each s-th block from the i-th on. */
    int32_t *row_order;
    struct tri_block_row *rows;     /* [slots]: the same order; none: {-1, 0, 0, 0} */
    int32_t panels;                 /* a multiple of the shape's cluster; the last ones may have no rows */
    struct tri_panel *panel_starts; /* [panels] or NULL: where each one's steps are, and the first of them */
    struct tri_panel_step *steps;   /* [step_count] */
    int32_t step_count;
    /* [rounds + 3][workers] or NULL: the units (panel / cluster) * columns + column tile that each worker does,
     * dealt so that all end together, and go through the columns together; -1: none any more, as in the last three
     * rounds for all. */
    int32_t *deal;
    int64_t deal_count;
} tri_schedule;
triage_status tri_schedule_build(tri_schedule *out, const tri_pattern *pattern, const tri_panel_shape *shape);
void tri_schedule_free(tri_schedule *schedule);

#endif
