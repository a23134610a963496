/* Panels of uneven height. Private to the schedule. */
#ifndef TRIAGE_OP_BSR_GEMM_SCHEDULE_CUT_H
#define TRIAGE_OP_BSR_GEMM_SCHEDULE_CUT_H

#include "op/bsr_gemm/schedule/schedule.h"

/* Cuts the panels of row_order that keep the deal from ending early, where cutting them helps: slots is then that
 * of whole panels, and row_order has -1 in those without a row. Else both stay as they are. The same input gives
 * the same panels. */
triage_status tri_cut_panels(tri_schedule *schedule, const tri_pattern *pattern,
                             const tri_panel_shape *shape);

#endif
