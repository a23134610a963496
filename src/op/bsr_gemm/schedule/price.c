/* What a unit costs; and counting the columns of rows together, without building their panels. */
#include "op/bsr_gemm/schedule/price.h"
#include "op/bsr_gemm/schedule/group.h"

#include "op/bsr_gemm/schedule/spread.h"

#include <math.h>
#include <stdlib.h>

#define SLOTS_LIMIT (INT32_MAX / 2) /* the kernel rounds their number up to whole panels */

/* What a unit costs, in proportions measured on an H200: its steps, which bring B, and its products, and it has a
 * beginning and an end. Where no warps are named (wgmma) steps and products lie under each other, and the end of a unit
 * under the next one's products. */
enum { STEP_COST = 18, HIDDEN_STEP_COST = 20, BLOCK_COST = 13, UNIT_COST = 160, HIDDEN_UNIT_COST = 10 };

static int64_t larger(int64_t a, int64_t b) {
    return a > b ? a : b;
}

/* Warps with blocks left share the SM where they are enough to keep it busy; fewer go at the pace of one. So it takes
 * the shortest one's blocks with all at work, then what the next one has more with one fewer, and so on. */
int64_t tri_products_cost(const int64_t *warps, const tri_panel_shape *shape) {
    int64_t sorted[TRI_PANEL_ROWS], cost = 0;
    for (int32_t i = 0; i < shape->warps; i++) {
        int32_t at = i;
        for (; at > 0 && sorted[at - 1] < warps[i]; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = warps[i];
    }
    for (int32_t left = shape->warps; left > 0; left--) {
        const int64_t more = sorted[left - 1] - (left < shape->warps ? sorted[left] : 0);
        cost += more * larger(left, shape->busy_warps);
    }
    return cost * BLOCK_COST;
}

/* Products and the steps that bring B to them lie partly under each other. */
static int64_t both(int64_t products, int64_t steps) {
    return (int64_t)sqrt((double)products * (double)products + (double)steps * (double)steps);
}

static int64_t full_panel_cost(const tri_pattern *pattern, const int32_t *slots, int64_t count, int64_t steps,
                               const tri_panel_shape *shape) {
    int64_t busiest = 0, blocks = 0;
    for (int64_t i = 0; i < count; i++) {
        blocks = (i % shape->rows == 0 ? 0 : blocks) + (slots[i] < 0 ? 0 : tri_row_length(pattern, slots[i]));
        busiest = larger(blocks, busiest);
    }
    return larger(steps * HIDDEN_STEP_COST, busiest * BLOCK_COST) + HIDDEN_UNIT_COST;
}

int64_t tri_unit_cost(const tri_pattern *pattern, const int32_t *slots, int64_t count, int64_t steps,
                      const tri_panel_shape *shape) {
    if (shape->warps == 0)
        return full_panel_cost(pattern, slots, count, steps, shape);
    const int32_t warp_rows = shape->rows / shape->warps;
    int64_t products = 0;
    bool in_pieces = false;
    for (int64_t panel = 0; panel < count; panel += shape->rows) {
        const int64_t here = count - panel < shape->rows ? count - panel : shape->rows;
        int64_t warps[TRI_PANEL_ROWS] = {0};
        for (int64_t i = 0; i < here; i++) {
            const tri_row_piece piece = tri_row_piece_of(pattern, slots + panel, here, i);
            warps[i / warp_rows] += piece.count;
            in_pieces |= piece.jump > 1;
        }
        products = larger(products, tri_products_cost(warps, shape));
    }
    const int64_t least = (int64_t)shape->least_blocks * BLOCK_COST;
    return larger(both(products, steps * STEP_COST), least) + (in_pieces ? least / 2 : 0) + UNIT_COST;
}

triage_status tri_pricer_make(tri_pricer *out, const tri_pattern *pattern, const tri_panel_shape *shape) {
    *out = (tri_pricer){.pattern = pattern, .shape = shape};
    return tri_calloc(&out->met, (size_t)pattern->block_cols, sizeof *out->met);
}

void tri_pricer_free(tri_pricer *pricer) {
    free(pricer->met);
    *pricer = (tri_pricer){0};
}

int64_t tri_count_steps(tri_pricer *p, const int32_t *slots, int64_t count) {
    const int32_t unit = tri_mapped_together(p->shape);
    int64_t needed = 0;
    p->turn++;
    for (int64_t i = 0; i < count; i++) {
        if (slots[i] < 0)
            continue;
        for (int32_t j = p->pattern->row_ptr[slots[i]]; j < p->pattern->row_ptr[slots[i] + 1]; j++) {
            int64_t *met = &p->met[p->pattern->col_idx[j] / unit];
            needed += *met != p->turn;
            *met = p->turn;
        }
    }
    return tri_steps_of(needed, p->shape);
}

int64_t tri_price_unit(tri_pricer *pricer, const int32_t *slots, int64_t count) {
    return tri_unit_cost(pricer->pattern, slots, count, tri_count_steps(pricer, slots, count), pricer->shape);
}

/* The most steps that so many units can have: all columns each, or those of all blocks. */
static int64_t most_steps(const tri_pricer *p, int64_t units) {
    const int64_t group = p->shape->group, blocks = p->pattern->nnzb;
    const int64_t all = units * (p->pattern->block_cols + group);
    const int64_t needed = blocks * tri_mapped_together(p->shape) + units * group;
    return (all < needed ? all : needed) * p->shape->cluster;
}

bool tri_units_fit(const tri_pricer *pricer, int64_t units) {
    return units <= SLOTS_LIMIT / tri_unit_slots(pricer->shape) &&
           units <= INT32_MAX / pricer->shape->columns && most_steps(pricer, units) <= INT32_MAX;
}
