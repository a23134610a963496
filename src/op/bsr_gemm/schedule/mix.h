/* Panels of long and short rows together. Private to the schedule. */
#ifndef TRIAGE_OP_BSR_GEMM_SCHEDULE_MIX_H
#define TRIAGE_OP_BSR_GEMM_SCHEDULE_MIX_H

#include "op/bsr_gemm/schedule/schedule.h"

/* Deals the rows anew over all warps, a long one and a short one to each, if the units then end earlier than those of
 * row_order as it is, cut or not: slots is then that of whole panels, and row_order has -1 in those without a row. Else
 * both stay. The same input gives the same panels. */
triage_status tri_mix_panels(tri_schedule *schedule, const tri_pattern *pattern,
                             const tri_panel_shape *shape);

#endif
