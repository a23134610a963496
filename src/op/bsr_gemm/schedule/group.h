/* Orders of rows: longest first, or those with common columns together. Private to this folder. */
#ifndef TRIAGE_OP_BSR_GEMM_SCHEDULE_GROUP_H
#define TRIAGE_OP_BSR_GEMM_SCHEDULE_GROUP_H

#include "op/bsr_gemm/schedule/schedule.h"

static inline int64_t tri_row_length(const tri_pattern *pattern, int64_t row) {
    return pattern->row_ptr[row + 1] - pattern->row_ptr[row];
}

/* Neighbouring columns that are needed together or not at all. */
static inline int32_t tri_mapped_together(const tri_panel_shape *shape) {
    return shape->gather ? 1 : shape->group;
}

/* Of a panel whose rows need so many of those: whole groups. */
static inline int64_t tri_steps_of(int64_t needed, const tri_panel_shape *shape) {
    int64_t columns = needed * tri_mapped_together(shape);
    return (columns + shape->group - 1) / shape->group * shape->group;
}

/* Fills row_order: longest first, ties by index. */
triage_status tri_order_by_length(int32_t *row_order, const tri_pattern *pattern);

/* Permutes row_order (longest first) so that each run of panel_rows shares columns. The same pattern gives
 * the same order on every machine; identical rows stay together as far as panels have room. */
triage_status tri_group_rows(int32_t *row_order, const tri_pattern *pattern, int32_t panel_rows);

#endif
