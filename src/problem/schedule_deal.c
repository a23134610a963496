/* Longest processing time first: each unit, the dearest first, goes to the worker that has least so far. The last
 * to end is then at most a third later than need be (Graham 1969), and for many units hardly at all. */
#include "problem/schedule_deal.h"

#include "bsr_gemm/args.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* What a unit costs, in proportions measured on an H200: it is bound by its steps, which bring B, or by its
 * products; and it has a beginning and an end. */
enum { STEP_COST = 20, BLOCK_COST = 13, UNIT_COST = 160 };

typedef struct unit_cost {
    int64_t cost;
    int64_t first; /* its panel / cluster */
} unit_cost;

typedef struct load {
    int64_t cost;
    int32_t worker, units;
} load;

static int64_t panel_cost(const tri_schedule *schedule, int64_t panel, int64_t panel_rows,
                          int64_t block_rows) {
    int64_t blocks = 0, first = panel * panel_rows;
    for (int64_t i = first; i < first + panel_rows && i < block_rows; i++)
        blocks += schedule->rows[i].end - schedule->rows[i].begin;
    const int64_t steps = schedule->panel_ptr[panel + 1] - schedule->panel_ptr[panel];
    const int64_t feed = steps * STEP_COST, products = blocks * BLOCK_COST;
    return (feed > products ? feed : products) + UNIT_COST;
}

static int compare_cost(const void *left, const void *right) {
    const unit_cost *a = left, *b = right;
    if (a->cost != b->cost)
        return a->cost > b->cost ? -1 : 1;
    return a->first < b->first ? -1 : a->first > b->first;
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

/* Worker and round of each unit, in the order of costs; rounds: of the busiest worker. */
static void assign(int32_t *worker, int32_t *round, int32_t *rounds, load *heap, const unit_cost *costs,
                   int64_t count, const tri_panel_shape *shape) {
    for (int32_t i = 0; i < shape->workers; i++)
        heap[i] = (load){.worker = i};
    *rounds = 0;
    for (int64_t i = 0; i < count * shape->columns; i++) {
        worker[i] = heap[0].worker;
        round[i] = heap[0].units++;
        heap[0].cost += costs[i / shape->columns].cost;
        if (heap[0].units > *rounds)
            *rounds = heap[0].units;
        sink(heap, shape->workers);
    }
}

triage_status tri_deal_units(tri_schedule *schedule, const tri_pattern *pattern,
                             const tri_panel_shape *shape) {
    triage_status status;
    unit_cost *costs = NULL;
    load *heap = NULL;
    int32_t *worker = NULL, *round = NULL, rounds = 0;
    const int64_t count = schedule->panels / shape->cluster, units = count * shape->columns;
    if (units > INT32_MAX) {
        status =
            tri_fail(TRIAGE_E_UNSUPPORTED, "%" PRId64 " units of work; at most %" PRId32, units, INT32_MAX);
        goto done;
    }
    TRI_TRY(tri_calloc(&costs, (size_t)count, sizeof *costs));
    TRI_TRY(tri_calloc(&heap, (size_t)shape->workers, sizeof *heap));
    TRI_TRY(tri_calloc(&worker, (size_t)units, sizeof *worker));
    TRI_TRY(tri_calloc(&round, (size_t)units, sizeof *round));
    for (int64_t panel = 0; panel < schedule->panels; panel++) {
        const int64_t cost = panel_cost(schedule, panel, shape->rows, pattern->block_rows);
        unit_cost *unit = &costs[panel / shape->cluster];
        *unit = (unit_cost){cost > unit->cost ? cost : unit->cost, panel / shape->cluster};
    }
    qsort(costs, (size_t)count, sizeof *costs, compare_cost);
    assign(worker, round, &rounds, heap, costs, count, shape);
    schedule->deal_count = ((int64_t)rounds + 2) * shape->workers;
    TRI_TRY(tri_calloc(&schedule->deal, (size_t)schedule->deal_count, sizeof *schedule->deal));
    memset(schedule->deal, -1, (size_t)schedule->deal_count * sizeof *schedule->deal);
    for (int64_t i = 0; i < units; i++)
        schedule->deal[(int64_t)round[i] * shape->workers + worker[i]] =
            (int32_t)(costs[i / shape->columns].first * shape->columns + i % shape->columns);
done:
    free(costs);
    free(heap);
    free(worker);
    free(round);
    return status;
}
