/* A deal cannot end before its dearest unit does. Where rows are uneven and panels are few, one panel alone may take
 * longer than an even share of the whole: then it is better cut into several, each with some of its rows.
 *
 * How dear may a panel be? Cut for a falling limit, deal, keep what ends first. Smaller panels even out better, but
 * each one brings B anew and has a beginning and an end; one of few rows does them in pieces (schedule_spread.h) or, in a
 * cluster, leaves warps idle. tri_unit_cost knows.
 * Where the deal is already even, as it is for nearly all matrices of many panels, nothing is tried. */
#include "op/bsr_gemm/schedule/cut.h"
#include "op/bsr_gemm/schedule/deal.h"
#include "op/bsr_gemm/schedule/group.h"
#include "op/bsr_gemm/schedule/price.h"
#include "op/bsr_gemm/schedule/spread.h"

#include <stdlib.h>
#include <string.h>

#define TRIES 64

typedef struct cutter {
    tri_pricer pricer;
    const int32_t *rows; /* [block_rows] in the order of work */
    int64_t capacity;    /* slots of a unit, which is the panels of a cluster */
    int64_t units;       /* before any is cut */
    int64_t *whole;      /* [units]: cost of each before it is cut, its rows spread over the warps */
    int32_t *slots;      /* [capacity] */
} cutter;

static void cutter_free(cutter *c) {
    free(c->whole);
    tri_pricer_free(&c->pricer);
    free(c->slots);
}

/* Of some rows of a unit, which are left in c->slots. */
static int64_t spread_cost(cutter *c, const int32_t *rows, int64_t count) {
    return tri_spread_rows(c->slots, rows, count, tri_count_steps(&c->pricer, rows, count), c->pricer.pattern,
                           c->pricer.shape);
}

static int64_t rows_of(const cutter *c, int64_t unit) {
    const int64_t left = c->pricer.pattern->block_rows - unit * c->capacity;
    return left < c->capacity ? left : c->capacity;
}

static int64_t parts_of(const cutter *c, int64_t unit, int64_t limit) {
    const int64_t rows = rows_of(c, unit), wanted = (c->whole[unit] - 1) / limit + 1;
    return wanted < rows ? wanted : rows;
}

/* Cuts a unit into parts of about as many blocks each, and at least one row. costs, slots: of each, in turn;
 * slots may be NULL. */
static void cut_unit(cutter *c, int64_t unit, int64_t parts, int64_t *costs, int32_t *slots) {
    const int32_t *rows = c->rows + unit * c->capacity;
    const int64_t count = rows_of(c, unit);
    int64_t total = 0, done = 0, end = 0;
    for (int64_t i = 0; i < count; i++)
        total += tri_row_length(c->pricer.pattern, rows[i]);
    for (int64_t part = 1; part <= parts; part++) {
        const int64_t begin = end;
        do
            done += tri_row_length(c->pricer.pattern, rows[end++]);
        while (end < count - (parts - part) &&
               (part == parts ||
                (2 * done + tri_row_length(c->pricer.pattern, rows[end])) * parts <= 2 * total * part));
        costs[part - 1] = spread_cost(c, rows + begin, end - begin);
        if (slots)
            memcpy(slots + (part - 1) * c->capacity, c->slots, (size_t)c->capacity * sizeof *slots);
    }
}

static int64_t count_parts(const cutter *c, int64_t limit) {
    int64_t parts = 0;
    for (int64_t u = 0; u < c->units; u++)
        parts += parts_of(c, u, limit);
    return parts;
}

static void cut_all(cutter *c, int64_t limit, int64_t *costs, int32_t *slots) {
    for (int64_t u = 0, at = 0; u < c->units; u++) {
        const int64_t parts = parts_of(c, u, limit);
        if (parts == 1 && !slots)
            costs[at] = c->whole[u];
        else
            cut_unit(c, u, parts, costs + at, slots ? slots + at * c->capacity : NULL);
        at += parts;
    }
}

/* Lowers *best, and sets *best_limit, if the deal ends earlier so. */
static triage_status try_limit(cutter *c, int64_t limit, int64_t *best, int64_t *best_limit) {
    triage_status status = TRIAGE_OK;
    int64_t *costs = NULL, end = 0;
    const int64_t parts = count_parts(c, limit);
    if (!tri_units_fit(&c->pricer, parts))
        return TRIAGE_OK;
    TRI_TRY(tri_calloc(&costs, (size_t)parts, sizeof *costs));
    cut_all(c, limit, costs, NULL);
    TRI_TRY(tri_deal_end(&end, costs, parts, c->pricer.shape));
    if (end < *best) {
        *best = end;
        *best_limit = limit;
    }
done:
    free(costs);
    return status;
}

/* The earliest end of the deal as it is, and of any there could be: an even share, or the longest row alone. */
static triage_status price(cutter *c, int64_t *end, int64_t *share, int64_t *bound) {
    triage_status status;
    int64_t *costs = NULL, total = 0;
    int32_t longest = 0;
    TRI_TRY(tri_calloc(&costs, (size_t)c->units, sizeof *costs));
    for (int64_t u = 0; u < c->units; u++) {
        const int32_t *rows = c->rows + u * c->capacity;
        costs[u] = tri_price_unit(&c->pricer, rows, rows_of(c, u));
        c->whole[u] = spread_cost(c, rows, rows_of(c, u));
        total += c->whole[u];
    }
    for (int32_t row = 1; row < c->pricer.pattern->block_rows; row++)
        if (tri_row_length(c->pricer.pattern, row) > tri_row_length(c->pricer.pattern, longest))
            longest = row;
    TRI_TRY(tri_deal_end(end, costs, c->units, c->pricer.shape));
    *share = total * c->pricer.shape->columns / c->pricer.shape->workers + 1;
    *bound = spread_cost(c, &longest, 1);
    *bound = *bound > *share ? *bound : *share;
done:
    free(costs);
    return status;
}

/* The limit under which the deal ends first; 0: it ends no earlier under any. */
static triage_status search(int64_t *best_limit, cutter *c) {
    triage_status status;
    int64_t best = 0, share = 0, bound = 0, limit = 1;
    *best_limit = 0;
    TRI_TRY(price(c, &best, &share, &bound));
    for (int64_t u = 0; u < c->units; u++)
        limit = c->whole[u] > limit ? c->whole[u] : limit;
    /* where all workers have a unit, none that is dearer than an even share may stay; else such may be the best */
    const int64_t high = c->units * c->pricer.shape->columns < c->pricer.shape->workers ? 8 * share : share;
    if (best > TRI_GOOD_ENOUGH(bound))
        TRI_TRY(try_limit(c, limit, &best, best_limit)); /* cuts none, but spreads its rows */
    limit = limit < high ? limit : high;
    for (int i = 0; i < TRIES && limit >= share / 8 + 1 && best > TRI_GOOD_ENOUGH(bound); i++) {
        TRI_TRY(try_limit(c, limit, &best, best_limit));
        limit -= limit / 16 + 1;
    }
done:
    return status;
}

static triage_status apply(tri_schedule *schedule, cutter *c, int64_t limit) {
    triage_status status;
    int64_t *costs = NULL;
    int32_t *slots = NULL;
    const int64_t parts = count_parts(c, limit);
    TRI_TRY(tri_calloc(&costs, (size_t)parts, sizeof *costs));
    TRI_TRY(tri_calloc(&slots, (size_t)(parts * c->capacity), sizeof *slots));
    cut_all(c, limit, costs, slots);
    free(schedule->row_order);
    schedule->row_order = slots;
    schedule->slots = parts * c->capacity;
done:
    free(costs);
    return status;
}

triage_status tri_cut_panels(tri_schedule *schedule, const tri_pattern *pattern,
                             const tri_panel_shape *shape) {
    triage_status status;
    int64_t limit = 0;
    cutter c = {.rows = schedule->row_order, .capacity = tri_unit_slots(shape)};
    c.units = (pattern->block_rows + c.capacity - 1) / c.capacity;
    TRI_TRY(tri_pricer_make(&c.pricer, pattern, shape));
    if (c.units == 0 || !tri_units_fit(&c.pricer, c.units))
        goto done;
    TRI_TRY(tri_calloc(&c.whole, (size_t)c.units, sizeof *c.whole));
    TRI_TRY(tri_calloc(&c.slots, (size_t)c.capacity, sizeof *c.slots));
    TRI_TRY(search(&limit, &c));
    if (limit > 0)
        TRI_TRY(apply(schedule, &c, limit));
done:
    cutter_free(&c);
    return status;
}
