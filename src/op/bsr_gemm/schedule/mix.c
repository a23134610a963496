/* Where units are few, a round of them for each worker, the deal can only be even if they are. Panels of the longest
 * rows first are not, and cutting the dear ones makes more units than a round has. So all rows are dealt over the warps
 * of all panels instead, in two ways:
 *
 *   turns   each warp gets a long row and a short one, so that each has about as many blocks
 *   filled  panels are filled to the same cost, the longest rows first. That of a panel is least where its busiest
 *           warps have equally much, enough of them to fill an SM: rows of a length come together, and short ones go
 *           to the warps beside them. Where rows are longer than a warp's even share, and no slots are left to do
 *           them in pieces, no other way is as good.
 *
 * The price is steps: rows with common columns are no longer together. The costs of the units have that, so it is done
 * only where it pays by them, and not for the little that an uncut deal which is even already might gain. */
#include "op/bsr_gemm/schedule/mix.h"
#include "op/bsr_gemm/schedule/deal.h"
#include "op/bsr_gemm/schedule/group.h"
#include "op/bsr_gemm/schedule/price.h"

#include <stdlib.h>
#include <string.h>

#define ROUNDS 4  /* whole rounds of the workers that are tried, up to this many */
#define FILLED 32 /* filled panels must be earlier than turns by this part: no model of costs is that exact */
#define FILL_LIMIT (1 << 17) /* rows x panels that are filled: it takes their product */

typedef struct mixer {
    tri_pricer pricer;
    int64_t rows;
    int32_t *longest_first; /* [rows] */
    int64_t best_end;       /* of the deal, of all that were tried */
    bool best_filled;
    int32_t *best; /* [best_units][unit's slots]; NULL: the panels as they came */
    int64_t best_units;
} mixer;

static void mixer_free(mixer *m) {
    tri_pricer_free(&m->pricer);
    free(m->longest_first);
    free(m->best);
}

/* To each warp of all units in turn, then to the same warps backwards, and so on. Neighbours in turn are warps of
 * different units, which are gone through there and back too: none collects the longest rows, not of one round either,
 * where that is all there is. */
static void deal_rows(int32_t *slots, const mixer *m, int64_t units) {
    const int64_t unit_slots = tri_unit_slots(m->pricer.shape);
    const int64_t warps = units * m->pricer.shape->warps * m->pricer.shape->cluster;
    memset(slots, -1, (size_t)(units * unit_slots) * sizeof *slots);
    for (int64_t i = 0; i < m->rows; i++) {
        const int64_t round = i / warps, at = i % warps, turn = round % 2 == 0 ? at : warps - 1 - at;
        const int64_t warp = turn / units, across = turn % units;
        const int64_t unit = warp % 2 == 0 ? across : units - 1 - across;
        slots[unit * unit_slots + tri_warp_slot(m->pricer.shape, warp, round)] = m->longest_first[i];
    }
}

/* A panel that is being filled. */
typedef struct filling {
    int64_t blocks[TRI_PANEL_ROWS]; /* of each warp */
    int32_t rows[TRI_PANEL_ROWS];
    int64_t cost;
} filling;

typedef struct place {
    int64_t panel;
    int32_t warp;
    int64_t cost, more; /* of the panel with the row, and how much more than without */
} place;

static int64_t cost_with(filling *f, int32_t warp, int64_t length, const tri_panel_shape *shape) {
    f->blocks[warp] += length;
    const int64_t cost = tri_products_cost(f->blocks, shape);
    f->blocks[warp] -= length;
    return cost;
}

/* The warp that has least, or the one that has most without becoming the busiest. False: all are full. */
static bool best_warp(place *best, filling *f, int64_t length, const tri_panel_shape *shape) {
    int32_t least = -1, most = -1;
    int64_t busiest = 0;
    for (int32_t w = 0; w < shape->warps; w++)
        busiest = f->blocks[w] > busiest ? f->blocks[w] : busiest;
    for (int32_t w = 0; w < shape->warps; w++) {
        if (f->rows[w] == shape->rows / shape->warps)
            continue;
        least = least < 0 || f->blocks[w] < f->blocks[least] ? w : least;
        if (f->blocks[w] + length <= busiest && (most < 0 || f->blocks[w] > f->blocks[most]))
            most = w;
    }
    if (least < 0)
        return false;
    best->warp = least;
    best->cost = cost_with(f, least, length, shape);
    if (most >= 0) {
        const int64_t cost = cost_with(f, most, length, shape);
        if (cost <= best->cost) {
            best->warp = most;
            best->cost = cost;
        }
    }
    best->more = best->cost - f->cost;
    return true;
}

/* Under the limit what makes least more, and of these the fullest panel; else what ends first. */
static bool is_better(const place *a, const place *b, int64_t limit, const filling *panels) {
    if ((a->cost <= limit) != (b->cost <= limit))
        return a->cost <= limit;
    if (a->cost > limit)
        return a->cost < b->cost;
    if (a->more != b->more)
        return a->more < b->more;
    return panels[a->panel].cost > panels[b->panel].cost;
}

static void fill_panels(int32_t *slots, filling *panels, const mixer *m, int64_t units, int64_t limit) {
    const tri_panel_shape *shape = m->pricer.shape;
    const int64_t count = units * shape->cluster, warp_rows = shape->rows / shape->warps;
    memset(slots, -1, (size_t)(count * shape->rows) * sizeof *slots);
    memset(panels, 0, (size_t)count * sizeof *panels);
    for (int64_t i = 0, begun = 0; i < m->rows; i++) {
        const int32_t row = m->longest_first[i];
        const int64_t length = tri_row_length(m->pricer.pattern, row);
        place best = {.panel = -1};
        for (int64_t p = 0; p < count && p <= begun; p++) { /* one empty panel is like another */
            place here = {.panel = p};
            if (best_warp(&here, &panels[p], length, shape) &&
                (best.panel < 0 || is_better(&here, &best, limit, panels)))
                best = here;
        }
        filling *f = &panels[best.panel];
        slots[best.panel * shape->rows + best.warp * warp_rows + f->rows[best.warp]++] = row;
        f->blocks[best.warp] += length;
        f->cost = best.cost;
        begun = best.panel + 1 > begun ? best.panel + 1 : begun;
    }
}

/* When the deal of these units ends, and how much of it an even share would be. */
static triage_status price(int64_t *end, int64_t *share, mixer *m, const int32_t *slots, int64_t count) {
    triage_status status;
    const int64_t unit_slots = tri_unit_slots(m->pricer.shape), units = (count + unit_slots - 1) / unit_slots;
    int64_t *costs = NULL, total = 0;
    TRI_TRY(tri_calloc(&costs, (size_t)units, sizeof *costs));
    for (int64_t u = 0; u < units; u++) {
        const int64_t left = count - u * unit_slots;
        costs[u] = tri_price_unit(&m->pricer, slots + u * unit_slots, left < unit_slots ? left : unit_slots);
        total += costs[u];
    }
    TRI_TRY(tri_deal_end(end, costs, units, m->pricer.shape));
    *share = total * m->pricer.shape->columns / m->pricer.shape->workers + 1;
done:
    free(costs);
    return status;
}

/* Keeps *slots, and leaves NULL or what was best before, if the deal ends so much earlier that it is worth it. */
static triage_status keep_better(mixer *m, int32_t **slots, int64_t units, bool filled) {
    int64_t end = 0, share = 0, before = m->best_end;
    const triage_status status = price(&end, &share, m, *slots, units * tri_unit_slots(m->pricer.shape));
    if (filled != m->best_filled)
        before += filled ? -before / FILLED : before / FILLED;
    if (status == TRIAGE_OK && end < before) {
        free(m->best);
        m->best = *slots;
        m->best_units = units;
        m->best_end = end;
        m->best_filled = filled;
        *slots = NULL;
    }
    return status;
}

/* Filled to an even share of all blocks, or to what the longest row takes, and to more. */
static triage_status try_filled(mixer *m, int64_t units) {
    static const int percent[] = {100, 102, 105, 110, 118, 130};
    triage_status status = TRIAGE_OK;
    const tri_panel_shape *shape = m->pricer.shape;
    const int64_t panels = units * shape->cluster, warps = panels * shape->warps;
    filling *fillings = NULL;
    int32_t *slots = NULL;
    int64_t share[TRI_PANEL_ROWS] = {0},
            longest[TRI_PANEL_ROWS] = {tri_row_length(m->pricer.pattern, m->longest_first[0])};
    for (int32_t w = 0; w < shape->warps; w++)
        share[w] = (m->pricer.pattern->nnzb + warps - 1) / warps;
    const int64_t even = tri_products_cost(share, shape), alone = tri_products_cost(longest, shape);
    TRI_TRY(tri_calloc(&fillings, (size_t)panels, sizeof *fillings));
    for (size_t i = 0; i < sizeof percent / sizeof *percent; i++) {
        if (!slots)
            TRI_TRY(tri_calloc(&slots, (size_t)(panels * shape->rows), sizeof *slots));
        fill_panels(slots, fillings, m, units, (even > alone ? even : alone) * percent[i] / 100);
        TRI_TRY(keep_better(m, &slots, units, true));
    }
done:
    free(fillings);
    free(slots);
    return status;
}

static triage_status try_units(mixer *m, int64_t units) {
    triage_status status;
    int32_t *slots = NULL;
    TRI_TRY(tri_calloc(&slots, (size_t)(units * tri_unit_slots(m->pricer.shape)), sizeof *slots));
    deal_rows(slots, m, units);
    TRI_TRY(keep_better(m, &slots, units, false));
    if (m->rows * units * m->pricer.shape->cluster <= FILL_LIMIT)
        TRI_TRY(try_filled(m, units));
done:
    free(slots);
    return status;
}

/* As few units as hold all rows, and those that fill whole rounds of the workers. */
static triage_status try_all(mixer *m) {
    triage_status status;
    const int64_t unit_slots = tri_unit_slots(m->pricer.shape),
                  fewest = (m->rows + unit_slots - 1) / unit_slots;
    TRI_TRY(try_units(m, fewest));
    for (int64_t round = 1; round <= ROUNDS; round++) {
        const int64_t units = round * m->pricer.shape->workers / m->pricer.shape->columns;
        if (units > fewest && units <= m->rows && tri_units_fit(&m->pricer, units))
            TRI_TRY(try_units(m, units));
    }
done:
    return status;
}

static triage_status search(mixer *m, const tri_schedule *schedule) {
    triage_status status;
    int64_t share = 0;
    TRI_TRY(price(&m->best_end, &share, m, schedule->row_order, schedule->slots));
    /* an even share of what was cut is no bound: cutting made it dearer */
    if (schedule->slots > m->rows || m->best_end > TRI_GOOD_ENOUGH(share))
        TRI_TRY(try_all(m));
done:
    return status;
}

triage_status tri_mix_panels(tri_schedule *schedule, const tri_pattern *pattern,
                             const tri_panel_shape *shape) {
    triage_status status;
    mixer m = {.rows = pattern->block_rows};
    const int64_t unit_slots = tri_unit_slots(shape);
    TRI_TRY(tri_pricer_make(&m.pricer, pattern, shape));
    if (m.rows == 0 || !tri_units_fit(&m.pricer, (m.rows + unit_slots - 1) / unit_slots))
        goto done;
    TRI_TRY(tri_calloc(&m.longest_first, (size_t)m.rows, sizeof *m.longest_first));
    TRI_TRY(tri_order_by_length(m.longest_first, pattern));
    TRI_TRY(search(&m, schedule));
    if (m.best) {
        free(schedule->row_order);
        schedule->row_order = m.best;
        schedule->slots = m.best_units * unit_slots;
        m.best = NULL;
    }
done:
    mixer_free(&m);
    return status;
}
