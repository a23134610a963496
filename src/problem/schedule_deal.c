/* Longest processing time first: each unit, the dearest first, goes to the worker that has least so far. The last
 * to end is then at most a third later than need be (Graham 1969), and for many units hardly at all. */
#include "problem/schedule_deal.h"
#include "problem/schedule_group.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* What a unit costs, in proportions measured on an H200: it is bound by its steps, which bring B, or by its
 * products; and it has a beginning and an end. Few warps do not keep an SM busy: that eight with as many blocks do is
 * taken from tiles of eight warps being no slower than of sixteen, not measured for warps that idle. */
enum { STEP_COST = 20, BLOCK_COST = 13, WARP_COST = 8 * BLOCK_COST, UNIT_COST = 160 };

typedef struct unit_cost {
    int64_t cost;
    int64_t unit; /* panel / cluster */
} unit_cost;

typedef struct load {
    int64_t cost;
    int32_t worker, units;
} load;

typedef struct turns {
    int32_t *worker, *round; /* of each unit, in the order of costs; NULL: not asked for */
    int32_t rounds;          /* of the busiest worker */
    int64_t end;             /* when the last worker has done all, in costs */
} turns;

int64_t tri_unit_cost(const tri_pattern *pattern, const int32_t *slots, int64_t count, int64_t steps,
                      const tri_panel_shape *shape) {
    const int32_t warp_rows = shape->warps > 0 ? shape->rows / shape->warps : shape->rows;
    int64_t panel = 0, warp = 0, busiest_panel = 0, busiest_warp = 0;
    for (int64_t i = 0; i < count; i++) {
        const int64_t blocks = slots[i] < 0 ? 0 : tri_row_length(pattern, slots[i]);
        panel = (i % shape->rows == 0 ? 0 : panel) + blocks;
        warp = (i % warp_rows == 0 ? 0 : warp) + blocks;
        busiest_panel = panel > busiest_panel ? panel : busiest_panel;
        busiest_warp = warp > busiest_warp ? warp : busiest_warp;
    }
    int64_t cost = steps * STEP_COST;
    if (cost < busiest_panel * BLOCK_COST)
        cost = busiest_panel * BLOCK_COST;
    if (shape->warps > 0 && cost < busiest_warp * WARP_COST)
        cost = busiest_warp * WARP_COST;
    return cost + UNIT_COST;
}

static int compare_cost(const void *left, const void *right) {
    const unit_cost *a = left, *b = right;
    if (a->cost != b->cost)
        return a->cost > b->cost ? -1 : 1;
    return a->unit < b->unit ? -1 : a->unit > b->unit;
}

static bool less(const load *a, const load *b) {
    return a->cost != b->cost ? a->cost < b->cost : a->worker < b->worker;
}

/* The top of the heap has become heavier: down to its place. */
static void sink(load *heap, int32_t count) {
    for (int32_t at = 0, child = 1; child < count; child = 2 * at + 1) {
        if (child + 1 < count && less(&heap[child + 1], &heap[child]))
            child++;
        if (!less(&heap[child], &heap[at]))
            return;
        const load moved = heap[at];
        heap[at] = heap[child];
        heap[child] = moved;
        at = child;
    }
}

static void assign(turns *out, load *heap, const unit_cost *costs, int64_t count,
                   const tri_panel_shape *shape) {
    for (int32_t i = 0; i < shape->workers; i++)
        heap[i] = (load){.worker = i};
    out->rounds = 0;
    out->end = 0;
    for (int64_t i = 0; i < count * shape->columns; i++) {
        if (out->worker) {
            out->worker[i] = heap[0].worker;
            out->round[i] = heap[0].units;
        }
        heap[0].units++;
        heap[0].cost += costs[i / shape->columns].cost;
        out->rounds = heap[0].units > out->rounds ? heap[0].units : out->rounds;
        out->end = heap[0].cost > out->end ? heap[0].cost : out->end;
        sink(heap, shape->workers);
    }
}

triage_status tri_deal_end(int64_t *end, const int64_t *costs, int64_t count, const tri_panel_shape *shape) {
    triage_status status;
    unit_cost *sorted = NULL;
    load *heap = NULL;
    turns dealt = {0};
    TRI_TRY(tri_calloc(&sorted, (size_t)count, sizeof *sorted));
    TRI_TRY(tri_calloc(&heap, (size_t)shape->workers, sizeof *heap));
    for (int64_t i = 0; i < count; i++)
        sorted[i] = (unit_cost){costs[i], i};
    qsort(sorted, (size_t)count, sizeof *sorted, compare_cost);
    assign(&dealt, heap, sorted, count, shape);
    *end = dealt.end;
done:
    free(sorted);
    free(heap);
    return status;
}

static void list_costs(unit_cost *costs, int64_t count, const tri_schedule *schedule,
                       const tri_pattern *pattern, const tri_panel_shape *shape) {
    const int64_t capacity = (int64_t)shape->rows * shape->cluster;
    for (int64_t u = 0; u < count; u++) {
        const int64_t first = u * capacity, left = schedule->slots - first;
        const int32_t *begin = schedule->panel_ptr + u * shape->cluster;
        costs[u] = (unit_cost){tri_unit_cost(pattern, schedule->row_order + first,
                                             left < capacity ? left : capacity, begin[1] - begin[0], shape),
                               u};
    }
    qsort(costs, (size_t)count, sizeof *costs, compare_cost);
}

triage_status tri_deal_units(tri_schedule *schedule, const tri_pattern *pattern,
                             const tri_panel_shape *shape) {
    triage_status status;
    unit_cost *costs = NULL;
    load *heap = NULL;
    turns dealt = {0};
    const int64_t count = schedule->panels / shape->cluster, units = count * shape->columns;
    if (units > INT32_MAX) {
        status =
            tri_fail(TRIAGE_E_UNSUPPORTED, "%" PRId64 " units of work; at most %" PRId32, units, INT32_MAX);
        goto done;
    }
    TRI_TRY(tri_calloc(&costs, (size_t)count, sizeof *costs));
    TRI_TRY(tri_calloc(&heap, (size_t)shape->workers, sizeof *heap));
    TRI_TRY(tri_calloc(&dealt.worker, (size_t)units, sizeof *dealt.worker));
    TRI_TRY(tri_calloc(&dealt.round, (size_t)units, sizeof *dealt.round));
    list_costs(costs, count, schedule, pattern, shape);
    assign(&dealt, heap, costs, count, shape);
    schedule->deal_count = ((int64_t)dealt.rounds + 2) * shape->workers;
    TRI_TRY(tri_calloc(&schedule->deal, (size_t)schedule->deal_count, sizeof *schedule->deal));
    memset(schedule->deal, -1, (size_t)schedule->deal_count * sizeof *schedule->deal);
    for (int64_t i = 0; i < units; i++)
        schedule->deal[(int64_t)dealt.round[i] * shape->workers + dealt.worker[i]] =
            (int32_t)(costs[i / shape->columns].unit * shape->columns + i % shape->columns);
done:
    free(costs);
    free(heap);
    free(dealt.worker);
    free(dealt.round);
    return status;
}
