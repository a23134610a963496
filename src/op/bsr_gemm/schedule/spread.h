/* The rows of a unit on the warps of its panels, whole or in pieces. Private to the schedule. */
#ifndef TRIAGE_OP_BSR_GEMM_SCHEDULE_SPREAD_H
#define TRIAGE_OP_BSR_GEMM_SCHEDULE_SPREAD_H

#include "op/bsr_gemm/schedule/schedule.h"

#define TRI_CLUSTER_LIMIT 16                                /* CTAs of the largest cluster there is */
#define TRI_UNIT_SLOTS (TRI_PANEL_ROWS * TRI_CLUSTER_LIMIT) /* at most */

/* What a slot does of its row: a panel that lists a row s times does it in s pieces, of which the i-th has each s-th
 * block from the i-th on. So all of them are at about the same columns at about the same time. */
typedef struct tri_row_piece {
    int32_t begin; /* its first block, an index */
    int32_t jump;  /* from one to the next */
    int32_t count;
} tri_row_piece;

/* Of slot i of a panel of `count`. A slot without a row has no blocks. */
tri_row_piece tri_row_piece_of(const tri_pattern *pattern, const int32_t *panel, int64_t count, int64_t i);

/* Fills the slots of a unit with these rows, no more than it has slots, so that its products end earliest. Returns what
 * the unit then costs; steps: what each of its panels lists. */
int64_t tri_spread_rows(int32_t *slots, const int32_t *rows, int64_t count, int64_t steps,
                        const tri_pattern *pattern, const tri_panel_shape *shape);

#endif
