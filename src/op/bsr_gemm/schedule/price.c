/* Counting the columns of rows together, without building their panels. */
#include "op/bsr_gemm/schedule/price.h"
#include "op/bsr_gemm/schedule/deal.h"
#include "op/bsr_gemm/schedule/group.h"

#include <stdlib.h>

#define SLOTS_LIMIT (INT32_MAX / 2) /* the kernel rounds their number up to whole panels */

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
