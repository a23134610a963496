/* Dealing out the units of a launch to its workers. Private to the schedule. */
#ifndef TRIAGE_OP_BSR_GEMM_SCHEDULE_DEAL_H
#define TRIAGE_OP_BSR_GEMM_SCHEDULE_DEAL_H

#include "op/bsr_gemm/schedule/schedule.h"

/* When the last worker ends, if the units of these costs, each once for each column tile, are dealt. */
triage_status tri_deal_end(int64_t *end, const int64_t *costs, int64_t count, const tri_panel_shape *shape);

/* Fills deal and deal_count from finished rows and panels. The same input gives the same deal. */
triage_status tri_deal_units(tri_schedule *schedule, const tri_pattern *pattern,
                             const tri_panel_shape *shape);

#endif
