/* What a unit of slots costs, also one whose panels are not built. Private to the schedule. */
#ifndef TRIAGE_OP_BSR_GEMM_SCHEDULE_PRICE_H
#define TRIAGE_OP_BSR_GEMM_SCHEDULE_PRICE_H

#include "op/bsr_gemm/schedule/schedule.h"

/* ---- what a unit costs ---- */

/* Of a unit: the slots of a cluster's panels (block rows, -1: none), and the steps that each panel lists. */
int64_t tri_unit_cost(const tri_pattern *pattern, const int32_t *slots, int64_t count, int64_t steps,
                      const tri_panel_shape *shape);

/* Of a panel alone, by the blocks of each of its warps. */
int64_t tri_products_cost(const int64_t *warps, const tri_panel_shape *shape);

/* Differences from an even share that are not worth another order of rows. */
#define TRI_GOOD_ENOUGH(bound) ((bound) + (bound) / 64)

typedef struct tri_pricer {
    const tri_pattern *pattern;
    const tri_panel_shape *shape;
    int64_t *met, turn; /* by columns that are mapped together: the turn that met them last */
} tri_pricer;
triage_status tri_pricer_make(tri_pricer *out, const tri_pattern *pattern, const tri_panel_shape *shape);
void tri_pricer_free(tri_pricer *pricer);

/* Slots of a unit, which is the panels of a cluster. */
static inline int64_t tri_unit_slots(const tri_panel_shape *shape) {
    return (int64_t)shape->rows * shape->cluster;
}

/* Where a unit has the round-th row of a warp; warps go to all CTAs of the cluster in turn. */
static inline int64_t tri_warp_slot(const tri_panel_shape *shape, int64_t warp, int64_t round) {
    const int64_t warp_rows = shape->rows / shape->warps;
    return warp % shape->cluster * shape->rows + warp / shape->cluster * warp_rows + round;
}

/* Of each panel of a unit with these slots (block rows, -1: none). */
int64_t tri_count_steps(tri_pricer *pricer, const int32_t *slots, int64_t count);

/* tri_unit_cost with the steps that these slots (block rows, -1: none) would need. */
int64_t tri_price_unit(tri_pricer *pricer, const int32_t *slots, int64_t count);

/* Whether so many units can be launched, however the rows lie in them. */
bool tri_units_fit(const tri_pricer *pricer, int64_t units);

#endif
