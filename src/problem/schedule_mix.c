/* Where units are few, a round of them for each worker, the deal can only be even if they are. Panels of the longest
 * rows first are not, and cutting the dear ones makes more units than a round has. So all rows are dealt over the warps
 * of all units instead, and each warp, hence each unit, has about as many blocks.
 *
 * The price is steps: rows with common columns are no longer together. The costs of the units have that, so it is done
 * only where it pays by them, and not for the little that an uncut deal which is even already might gain. */
#include "problem/schedule_mix.h"
#include "problem/schedule_deal.h"
#include "problem/schedule_group.h"
#include "problem/schedule_price.h"

#include <stdlib.h>
#include <string.h>

#define ROUNDS 4 /* whole rounds of the workers that are tried, up to this many */

typedef struct mixer {
    tri_pricer pricer;
    int64_t rows;
    int32_t *longest_first; /* [rows] */
    int64_t best_end;       /* of the deal, of all that were tried */
    int32_t *best;          /* [best_units][unit's slots]; NULL: the panels as they came */
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

static triage_status try_units(mixer *m, int64_t units) {
    triage_status status;
    int32_t *slots = NULL;
    int64_t end = 0, share = 0;
    const int64_t count = units * tri_unit_slots(m->pricer.shape);
    TRI_TRY(tri_calloc(&slots, (size_t)count, sizeof *slots));
    deal_rows(slots, m, units);
    TRI_TRY(price(&end, &share, m, slots, count));
    if (end < m->best_end) {
        free(m->best);
        m->best = slots;
        m->best_units = units;
        m->best_end = end;
        slots = NULL;
    }
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
