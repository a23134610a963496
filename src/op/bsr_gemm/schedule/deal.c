/* Longest processing time first: each unit, the dearest first, goes to the worker that has least so far. The last
 * to end is then at most a third later than need be (Graham 1969), and for many units hardly at all.
 *
 * That says how many units of each cost a worker has. Which of them, and when, is still free: each takes its units of
 * a cost evenly over its time, and in the order of these times the units go out column by column. So all workers are
 * at about the same columns of B at about the same time, which the L2 then holds.
 *
 * A worker that has one or two units of each of many costs cannot take them evenly. Then the units are dealt column by
 * column, the dearest of each first, to who has least so far: nobody gets far ahead, and they end nearly as well. */
#include "op/bsr_gemm/schedule/deal.h"
#include "op/bsr_gemm/schedule/group.h"
#include "op/bsr_gemm/schedule/price.h"
#include "op/bsr_gemm/schedule/spread.h"

#include "bsr_gemm/args.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define EVEN_ENOUGH(share) ((share) + (share) / 256)
#define NEARLY(end) ((end) + (end) / 32)
#define LAST_COLUMNS 3
#define MANY_UNITS 8    /* of a worker */
#define MOTLEY_UNITS 3  /* of a cost and a worker: fewer are few */
#define LEVEL_UNITS 128 /* of each worker, at most */
#define LEVEL_WORKERS 4096

typedef struct unit_cost {
    int64_t cost;
    int64_t unit; /* panel / cluster */
} unit_cost;

typedef struct load {
    int64_t cost;
    int32_t worker, units;
} load;

typedef struct turn { /* a unit's place: who does it, and when */
    int64_t when; /* of units of the same cost, this one's middle: 0 .. 2^30, the whole time of its worker */
    int64_t unit;
    int32_t worker, of_cost; /* of_cost: how many units of this cost the worker had before */
} turn;

typedef struct deal_turns {
    turn *turns;    /* of each unit, in the order of costs */
    int32_t rounds; /* of the busiest worker */
    int64_t end;    /* when the last worker has done all, in costs */
} deal_turns;

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

static void list_costs(unit_cost *costs, int64_t count, const tri_schedule *schedule,
                       const tri_pattern *pattern, const tri_panel_shape *shape) {
    const int64_t capacity = (int64_t)shape->rows * shape->cluster;
    for (int64_t u = 0; u < count; u++) {
        const int64_t first = u * capacity, left = schedule->slots - first;
        const tri_panel *panel = &schedule->panel_starts[u * shape->cluster];
        costs[u] =
            (unit_cost){tri_unit_cost(pattern, schedule->row_order + first, left < capacity ? left : capacity,
                                      panel->end - panel->begin, shape),
                        u};
    }
    qsort(costs, (size_t)count, sizeof *costs, compare_cost);
}

static void assign(deal_turns *out, load *heap, const unit_cost *costs, int64_t count,
                   const tri_panel_shape *shape) {
    for (int32_t i = 0; i < shape->workers; i++)
        heap[i] = (load){.worker = i};
    out->rounds = 0;
    out->end = 0;
    for (int64_t i = 0; i < count * shape->columns; i++) {
        out->turns[i].worker = heap[0].worker;
        heap[0].units++;
        heap[0].cost += costs[i / shape->columns].cost;
        out->rounds = heap[0].units > out->rounds ? heap[0].units : out->rounds;
        out->end = heap[0].cost > out->end ? heap[0].cost : out->end;
        sink(heap, shape->workers);
    }
}

/* What each worker has of the deal. */
typedef struct hands {
    int64_t *load;  /* in costs */
    int64_t *begin; /* [workers + 1] into units */
    int64_t *units; /* in the order of costs */
} hands;

static void hands_free(hands *h) {
    free(h->load);
    free(h->begin);
    free(h->units);
}

static triage_status take_up(hands *h, const turn *turns, const unit_cost *costs, int64_t units,
                             const tri_panel_shape *shape) {
    triage_status status;
    *h = (hands){0};
    TRI_TRY(tri_calloc(&h->load, (size_t)shape->workers, sizeof *h->load));
    TRI_TRY(tri_calloc(&h->begin, (size_t)shape->workers + 2, sizeof *h->begin));
    TRI_TRY(tri_calloc(&h->units, (size_t)units, sizeof *h->units));
    for (int64_t i = 0; i < units; i++) {
        h->load[turns[i].worker] += costs[i / shape->columns].cost;
        h->begin[turns[i].worker + 2]++;
    }
    for (int32_t w = 0; w < shape->workers; w++)
        h->begin[w + 2] += h->begin[w + 1];
    for (int64_t i = 0; i < units; i++)
        h->units[h->begin[turns[i].worker + 1]++] = i;
done:
    return status;
}

/* Looks for an exchange of two units that brings the end of the later worker forward by more than *best. */
static bool best_exchange(int64_t *best, int64_t *give, int64_t *take, const hands *h, int32_t later,
                          int32_t other, const unit_cost *costs, int32_t columns) {
    const int64_t gap = h->load[later] - h->load[other];
    bool found = false;
    for (int64_t i = h->begin[later]; i < h->begin[later + 1]; i++)
        for (int64_t j = h->begin[other]; j < h->begin[other + 1]; j++) {
            const int64_t more = costs[h->units[i] / columns].cost - costs[h->units[j] / columns].cost;
            const int64_t earlier = more < gap - more ? more : gap - more;
            if (earlier > *best) {
                *best = earlier;
                *give = i;
                *take = j;
                found = true;
            }
        }
    return found;
}

/* Dealt so, workers with one unit more than others may end most of a unit later, however many they have. Then the
 * last to end gives a dear unit to the first, or else to any other, for a cheap one of that's, as long as both then end
 * earlier than it did. */
static triage_status level(deal_turns *dealt, const unit_cost *costs, int64_t units,
                           const tri_panel_shape *shape) {
    triage_status status = TRIAGE_OK;
    hands h = {0};
    int64_t give = 0, take = 0, total = 0;
    if (units > (int64_t)shape->workers * LEVEL_UNITS || shape->workers > LEVEL_WORKERS)
        return TRIAGE_OK; /* it takes its time, and matters for few */
    TRI_TRY(take_up(&h, dealt->turns, costs, units, shape));
    for (int32_t w = 0; w < shape->workers; w++)
        total += h.load[w];
    for (int32_t i = 0; i < 8 * shape->workers; i++) {
        int32_t busy = 0, other = 0;
        for (int32_t w = 1; w < shape->workers; w++) {
            busy = h.load[w] > h.load[busy] ? w : busy;
            other = h.load[w] < h.load[other] ? w : other;
        }
        if (h.load[busy] <= EVEN_ENOUGH(total / shape->workers))
            break;
        int64_t best = 0; /* by how much the later of the two ends earlier */
        best_exchange(&best, &give, &take, &h, busy, other, costs, shape->columns);
        for (int32_t w = 0; w < shape->workers && best == 0; w++)
            if (best_exchange(&best, &give, &take, &h, busy, w, costs, shape->columns))
                other = w;
        if (best == 0)
            break;
        const int64_t given = h.units[give], taken = h.units[take];
        const int64_t more = costs[given / shape->columns].cost - costs[taken / shape->columns].cost;
        h.load[busy] -= more;
        h.load[other] += more;
        dealt->turns[given].worker = other;
        dealt->turns[taken].worker = busy;
        h.units[give] = taken;
        h.units[take] = given;
    }
    dealt->end = 0;
    for (int32_t w = 0; w < shape->workers; w++)
        dealt->end = h.load[w] > dealt->end ? h.load[w] : dealt->end;
done:
    hands_free(&h);
    return status;
}

/* Costs in falling order. The caller frees dealt->turns, also after an error. */
static triage_status deal_out(deal_turns *dealt, const unit_cost *costs, int64_t count,
                              const tri_panel_shape *shape) {
    triage_status status;
    load *heap = NULL;
    const int64_t units = count * shape->columns;
    TRI_TRY(tri_calloc(&heap, (size_t)shape->workers, sizeof *heap));
    TRI_TRY(tri_calloc(&dealt->turns, (size_t)units, sizeof *dealt->turns));
    assign(dealt, heap, costs, count, shape);
    TRI_TRY(level(dealt, costs, units, shape));
done:
    free(heap);
    return status;
}

triage_status tri_deal_end(int64_t *end, const int64_t *costs, int64_t count, const tri_panel_shape *shape) {
    triage_status status;
    unit_cost *sorted = NULL;
    deal_turns dealt = {0};
    TRI_TRY(tri_calloc(&sorted, (size_t)count, sizeof *sorted));
    for (int64_t i = 0; i < count; i++)
        sorted[i] = (unit_cost){costs[i], i};
    qsort(sorted, (size_t)count, sizeof *sorted, compare_cost);
    TRI_TRY(deal_out(&dealt, sorted, count, shape));
    *end = dealt.end;
done:
    free(sorted);
    free(dealt.turns);
    return status;
}

static int compare_when(const void *left, const void *right) {
    const turn *a = left, *b = right;
    if (a->when != b->when)
        return a->when < b->when ? -1 : 1;
    return a->worker < b->worker ? -1 : a->worker > b->worker;
}

static int compare_worker(const void *left, const void *right) {
    const turn *a = left, *b = right;
    if (a->worker != b->worker)
        return a->worker < b->worker ? -1 : 1;
    if (a->when != b->when)
        return a->when < b->when ? -1 : 1;
    return a->unit < b->unit ? -1 : a->unit > b->unit;
}

/* The turns of `panels` equally dear ones. had: of each worker, zeroed, and left so. */
static void order_equals(turn *turns, const unit_cost *equals, int64_t panels, int64_t columns,
                         int32_t *had) {
    const int64_t count = panels * columns;
    for (int64_t i = 0; i < count; i++)
        turns[i].of_cost = had[turns[i].worker]++;
    for (int64_t i = 0; i < count; i++)
        turns[i].when = ((2 * (int64_t)turns[i].of_cost + 1) << 29) / had[turns[i].worker];
    for (int64_t i = 0; i < count; i++)
        had[turns[i].worker] = 0;
    qsort(turns, (size_t)count, sizeof *turns, compare_when);
    for (int64_t i = 0; i < count; i++)
        turns[i].unit = equals[i % panels].unit * columns + i / panels;
}

static triage_status order_turns(turn *turns, const unit_cost *costs, int64_t count,
                                 const tri_panel_shape *shape) {
    int32_t *had = NULL;
    triage_status status = tri_calloc(&had, (size_t)shape->workers, sizeof *had);
    if (status != TRIAGE_OK)
        return status;
    for (int64_t first = 0, next = 0; first < count; first = next) {
        while (next < count && costs[next].cost == costs[first].cost)
            next++;
        order_equals(turns + first * shape->columns, costs + first, next - first, shape->columns, had);
    }
    qsort(turns, (size_t)(count * shape->columns), sizeof *turns, compare_worker);
    free(had);
    return TRIAGE_OK;
}

/* Column by column, the last few together, so that the cheapest of more units even out the ends. The turns are in the order in which they are dealt. */
static void assign_columns(deal_turns *out, load *heap, const unit_cost *costs, int64_t count,
                           const tri_panel_shape *shape) {
    int64_t at = 0;
    for (int32_t i = 0; i < shape->workers; i++)
        heap[i] = (load){.worker = i};
    for (int32_t column = 0, together = 1; column < shape->columns; column += together) {
        together = shape->columns - column <= LAST_COLUMNS ? shape->columns - column : 1;
        for (int64_t i = 0; i < count * together; i++, at++) {
            const unit_cost *unit = &costs[i / together];
            out->turns[at] = (turn){.when = at,
                                    .unit = unit->unit * shape->columns + column + i % together,
                                    .worker = heap[0].worker};
            heap[0].units++;
            heap[0].cost += unit->cost;
            out->rounds = heap[0].units > out->rounds ? heap[0].units : out->rounds;
            out->end = heap[0].cost > out->end ? heap[0].cost : out->end;
            sink(heap, shape->workers);
        }
    }
}

/* Has a worker many units, but few of each cost? (Kernels with warps have narrow columns: those lie in L2 anyway.) */
static bool is_motley(const unit_cost *costs, int64_t count, const tri_panel_shape *shape) {
    int64_t kinds = count > 0;
    for (int64_t i = 1; i < count; i++)
        kinds += costs[i].cost != costs[i - 1].cost;
    const int64_t units = count * shape->columns;
    return shape->by_column && shape->warps == 0 && units >= (int64_t)MANY_UNITS * shape->workers &&
           units < MOTLEY_UNITS * kinds * shape->workers;
}

/* In the place of the turns dealt, if they end nearly as early. */
static triage_status try_columns(bool *taken, deal_turns *dealt, const unit_cost *costs, int64_t count,
                                 const tri_panel_shape *shape) {
    triage_status status;
    load *heap = NULL;
    deal_turns other = {0};
    TRI_TRY(tri_calloc(&heap, (size_t)shape->workers, sizeof *heap));
    TRI_TRY(tri_calloc(&other.turns, (size_t)(count * shape->columns), sizeof *other.turns));
    assign_columns(&other, heap, costs, count, shape);
    *taken = other.end <= NEARLY(dealt->end);
    if (*taken) {
        const deal_turns before = *dealt;
        *dealt = other;
        other = before;
        qsort(dealt->turns, (size_t)(count * shape->columns), sizeof *dealt->turns, compare_worker);
    }
done:
    free(heap);
    free(other.turns);
    return status;
}

triage_status tri_deal_units(tri_schedule *schedule, const tri_pattern *pattern,
                             const tri_panel_shape *shape) {
    triage_status status;
    unit_cost *costs = NULL;
    deal_turns dealt = {0};
    bool by_columns = false;
    const int64_t count = schedule->panels / shape->cluster, units = count * shape->columns;
    if (units > INT32_MAX) {
        status =
            tri_fail(TRIAGE_E_UNSUPPORTED, "%" PRId64 " units of work; at most %" PRId32, units, INT32_MAX);
        goto done;
    }
    TRI_TRY(tri_calloc(&costs, (size_t)count, sizeof *costs));
    list_costs(costs, count, schedule, pattern, shape);
    TRI_TRY(deal_out(&dealt, costs, count, shape));
    if (is_motley(costs, count, shape))
        TRI_TRY(try_columns(&by_columns, &dealt, costs, count, shape));
    if (!by_columns)
        TRI_TRY(order_turns(dealt.turns, costs, count, shape));
    /* kernels ask for up to three rounds past their last */
    schedule->deal_count = ((int64_t)dealt.rounds + 3) * shape->workers;
    TRI_TRY(tri_calloc(&schedule->deal, (size_t)schedule->deal_count, sizeof *schedule->deal));
    memset(schedule->deal, -1, (size_t)schedule->deal_count * sizeof *schedule->deal);
    for (int64_t i = 0, round = 0; i < units; i++) {
        round = i > 0 && dealt.turns[i].worker == dealt.turns[i - 1].worker ? round + 1 : 0;
        schedule->deal[round * shape->workers + dealt.turns[i].worker] = (int32_t)dealt.turns[i].unit;
    }
done:
    free(costs);
    free(dealt.turns);
    return status;
}
