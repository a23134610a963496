/* Grouping of rows with common columns. Private to src/problem. */
#ifndef TRIAGE_PROBLEM_SCHEDULE_GROUP_H
#define TRIAGE_PROBLEM_SCHEDULE_GROUP_H

#include "problem/problem.h"

static inline int64_t tri_row_length(const tri_pattern *pattern, int64_t row) {
    return pattern->row_ptr[row + 1] - pattern->row_ptr[row];
}

/* Permutes row_order (longest first) so that each run of panel_rows shares columns. The same pattern gives
 * the same order on every machine; identical rows stay together as far as panels have room. */
triage_status tri_group_rows(int32_t *row_order, const tri_pattern *pattern, int32_t panel_rows);

#endif
