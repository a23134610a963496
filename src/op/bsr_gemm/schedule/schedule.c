/* The order of work: row_order, and panels of rows that walk their columns together. */
#include "op/bsr_gemm/schedule/cut.h"
#include "op/bsr_gemm/schedule/deal.h"
#include "op/bsr_gemm/schedule/group.h"
#include "op/bsr_gemm/schedule/mix.h"
#include "op/bsr_gemm/schedule/spread.h"

#include "bsr_gemm/args.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define GROUP_LIMIT 1024
#define WORKERS_LIMIT 65535

void tri_schedule_free(tri_schedule *schedule) {
    if (!schedule)
        return;
    free(schedule->row_order);
    free(schedule->rows);
    free(schedule->steps);
    free(schedule->panel_starts);
    free(schedule->deal);
    *schedule = (tri_schedule){0};
}

/* Which groups of block columns some rows need, and where each one's steps begin. */
typedef struct group_map {
    int32_t *at; /* [groups]: index of the group among those needed, or -1 */
    int64_t groups;
    int32_t needed;
} group_map;

/* The blocks of a row; a slot that no row has, -1, has none. */
static int32_t row_begin(const tri_pattern *pattern, int32_t row) {
    return row < 0 ? 0 : pattern->row_ptr[row];
}

static int32_t row_end(const tri_pattern *pattern, int32_t row) {
    return row < 0 ? 0 : pattern->row_ptr[row + 1];
}

static void map_rows(group_map *map, const tri_pattern *pattern, const int32_t *rows, int64_t count,
                     int32_t group) {
    for (int64_t g = 0; g < map->groups; g++)
        map->at[g] = -1;
    for (int64_t i = 0; i < count; i++)
        for (int32_t j = row_begin(pattern, rows[i]); j < row_end(pattern, rows[i]); j++)
            map->at[pattern->col_idx[j] / group] = 0;
    map->needed = 0;
    for (int64_t g = 0; g < map->groups; g++)
        if (map->at[g] == 0)
            map->at[g] = map->needed++;
}

/* The steps of one panel: every column of every needed group, and which of the panel's rows have it; then
 * empty ones, up to `total`. */
static void fill_steps(tri_panel_step *steps, int64_t total, const group_map *map, const tri_pattern *pattern,
                       const int32_t *rows, int64_t count, int32_t group) {
    for (int64_t i = (int64_t)map->needed * group; i < total; i++)
        steps[i] = (tri_panel_step){-1, 0};
    for (int64_t g = 0; g < map->groups; g++)
        for (int32_t c = 0; map->at[g] >= 0 && c < group; c++)
            steps[(int64_t)map->at[g] * group + c] = (tri_panel_step){(int32_t)(g * group + c), 0};
    for (int64_t i = 0; i < count; i++) {
        const tri_row_piece piece = tri_row_piece_of(pattern, rows, count, i);
        for (int32_t j = 0; j < piece.count; j++) {
            const int32_t col = pattern->col_idx[piece.begin + j * piece.jump];
            steps[(int64_t)map->at[col / group] * group + col % group].rows |= 1u << i;
        }
    }
}

/* How many of `rows` slots, from `first` on, there are. */
static int64_t slots_from(const tri_schedule *schedule, int64_t first, int64_t rows) {
    int64_t left = schedule->slots - first;
    return left < 0 ? 0 : left < rows ? left : rows;
}

typedef struct panel_rank {
    int64_t steps; /* by turns: blocks */
    int64_t panel;
} panel_rank;

static int64_t blocks_of(const tri_pattern *pattern, const int32_t *rows, int64_t count) {
    int64_t blocks = 0;
    for (int64_t i = 0; i < count; i++)
        blocks += tri_row_length(pattern, rows[i]);
    return blocks;
}

/* Where the panel of this rank goes. Ranks are sorted, most blocks first, and panels of a cluster stay together as one unit. The
 * first half of the units takes the even places, from the first place on; the second half takes the odd places, from the last
 * one on. So the unit of most blocks is next to that of fewest. */
static int64_t place_by_turns(int64_t rank, int64_t count, int64_t cluster) {
    const int64_t units = count / cluster, unit = rank / cluster;
    if (unit >= units)
        return rank;
    return (2 * unit < units ? 2 * unit : 2 * (units - 1 - unit) + 1) * cluster + rank % cluster;
}

static int compare_rank(const void *left, const void *right) {
    const panel_rank *a = left, *b = right;
    if (a->steps != b->steps)
        return a->steps > b->steps ? -1 : 1;
    return a->panel < b->panel ? -1 : a->panel > b->panel;
}

/* Panels of most steps first; or, by turns, panels of many and of few blocks. A short last panel stays last: panel p begins at
 * p * shape->rows. */
static triage_status sort_panels(int32_t *row_order, group_map *map, const tri_pattern *pattern,
                                 const tri_panel_shape *shape) {
    triage_status status;
    panel_rank *ranks = NULL;
    int32_t *sorted = NULL;
    int64_t full = pattern->block_rows / shape->rows;
    int32_t unit = tri_mapped_together(shape);
    const bool by_turns = shape->by_turns && shape->columns == 0;
    TRI_TRY(tri_calloc(&ranks, (size_t)full, sizeof *ranks));
    TRI_TRY(tri_calloc(&sorted, (size_t)(full * shape->rows), sizeof *sorted));
    for (int64_t p = 0; p < full; p++) {
        const int32_t *rows = row_order + p * shape->rows;
        map_rows(map, pattern, rows, shape->rows, unit);
        ranks[p] = (panel_rank){by_turns ? blocks_of(pattern, rows, shape->rows) : map->needed, p};
    }
    qsort(ranks, (size_t)full, sizeof *ranks, compare_rank);
    for (int64_t p = 0; p < full; p++)
        memcpy(sorted + (by_turns ? place_by_turns(p, full, shape->cluster) : p) * shape->rows,
               row_order + ranks[p].panel * shape->rows, (size_t)shape->rows * sizeof *sorted);
    memcpy(row_order, sorted, (size_t)(full * shape->rows) * sizeof *sorted);
done:
    free(ranks);
    free(sorted);
    return status;
}

/* Room for records that kernels read whole: each is aligned to its size. */
static void *alloc_records(int64_t count, size_t size) {
    const size_t bytes = (size_t)(count > 0 ? count : 1) * size;
    void *records = aligned_alloc(size, bytes);
    if (!records)
        tri_fail(TRIAGE_E_MEMORY, "out of memory for %zu bytes", bytes);
    return records;
}

/* Where the steps of each panel are. Panels that a cluster of CTAs walks together list the columns of all of them. */
static triage_status number_steps(tri_schedule *out, group_map *map, const tri_pattern *pattern,
                                  const tri_panel_shape *shape) {
    const int64_t cluster_rows = (int64_t)shape->rows * shape->cluster;
    const int32_t unit = tri_mapped_together(shape);
    int64_t steps = 0;
    for (int32_t p = 0; p < out->panels; p++) {
        const int64_t first = p / shape->cluster * cluster_rows;
        if (p % shape->cluster == 0)
            map_rows(map, pattern, out->row_order + first, slots_from(out, first, cluster_rows), unit);
        const int64_t begin = steps;
        steps += tri_steps_of(map->needed, shape);
        if (steps > INT32_MAX)
            return tri_fail(TRIAGE_E_UNSUPPORTED, "the panels of this matrix need more than 2^31 - 1 steps");
        out->panel_starts[p] = (tri_panel){.begin = (int32_t)begin, .end = (int32_t)steps};
    }
    out->step_count = (int32_t)steps;
    return TRIAGE_OK;
}

static void list_first_steps(tri_panel *start, const tri_panel_step *steps) {
    for (int32_t i = 0; i < TRI_PANEL_STEPS; i++)
        start->first[i] = start->begin + i < start->end ? steps[start->begin + i] : (tri_panel_step){-1, 0};
}

static triage_status build_panels(tri_schedule *out, group_map *map, const tri_pattern *pattern,
                                  const tri_panel_shape *shape) {
    triage_status status;
    const int64_t cluster_rows = (int64_t)shape->rows * shape->cluster;
    const int32_t unit = tri_mapped_together(shape);
    out->panels = (int32_t)((out->slots + cluster_rows - 1) / cluster_rows * shape->cluster);
    out->panel_starts = alloc_records(out->panels, sizeof *out->panel_starts);
    if (!out->panel_starts)
        return TRIAGE_E_MEMORY;
    TRI_TRY(number_steps(out, map, pattern, shape));
    TRI_TRY(tri_calloc(&out->steps, (size_t)out->step_count, sizeof *out->steps));
    for (int32_t p = 0; p < out->panels; p++) {
        tri_panel *start = &out->panel_starts[p];
        const int64_t first = p / shape->cluster * cluster_rows, row = (int64_t)p * shape->rows;
        if (p % shape->cluster == 0)
            map_rows(map, pattern, out->row_order + first, slots_from(out, first, cluster_rows), unit);
        fill_steps(out->steps + start->begin, start->end - start->begin, map, pattern, out->row_order + row,
                   slots_from(out, row, shape->rows), unit);
        list_first_steps(start, out->steps);
    }
done:
    return status;
}

static triage_status list_rows(tri_schedule *out, const tri_pattern *pattern) {
    out->rows = alloc_records(out->slots, sizeof *out->rows);
    if (!out->rows)
        return TRIAGE_E_MEMORY;
    for (int64_t i = 0; i < out->slots; i++) {
        int32_t row = out->row_order[i], begin = row_begin(pattern, row), end = row_end(pattern, row);
        out->rows[i] = (tri_block_row){row, begin, end, {0}};
        for (int32_t j = 0; j < TRI_ROW_COLUMNS && begin + j < end; j++)
            out->rows[i].col[j] = pattern->col_idx[begin + j];
    }
    return TRIAGE_OK;
}

static triage_status check_shape(const tri_panel_shape *shape) {
    if (shape->rows < 0 || shape->rows > TRI_PANEL_ROWS)
        return tri_fail(TRIAGE_E_INVALID, "panel_rows is %" PRId32 "; allowed 0 .. %d", shape->rows,
                        TRI_PANEL_ROWS);
    if (shape->rows > 0 && (shape->group < 1 || shape->group > GROUP_LIMIT))
        return tri_fail(TRIAGE_E_INVALID, "panel_group is %" PRId32 "; allowed 1 .. %d", shape->group,
                        GROUP_LIMIT);
    if (shape->rows > 0 && (shape->cluster < 1 || shape->cluster > TRI_CLUSTER_LIMIT))
        return tri_fail(TRIAGE_E_INVALID, "a cluster of %" PRId32 " panels; allowed 1 .. %d", shape->cluster,
                        TRI_CLUSTER_LIMIT);
    if (shape->columns != 0 && (shape->columns < 0 || shape->rows == 0))
        return tri_fail(TRIAGE_E_INVALID,
                        "%" PRId32 " column tiles to deal; allowed 0, with panels also more", shape->columns);
    if (shape->columns > 0 && (shape->workers < 1 || shape->workers > WORKERS_LIMIT))
        return tri_fail(TRIAGE_E_INVALID, "%" PRId32 " workers; allowed 1 .. %d", shape->workers,
                        WORKERS_LIMIT);
    if (shape->warps < 0 || (shape->warps > 0 && (shape->columns == 0 || shape->rows % shape->warps != 0)))
        return tri_fail(TRIAGE_E_INVALID,
                        "%" PRId32 " warps to a panel; allowed 0, with a deal also what divides panel_rows",
                        shape->warps);
    if (shape->warps > 0 && (shape->busy_warps < 1 || shape->busy_warps > 1024 || shape->least_blocks < 0))
        return tri_fail(TRIAGE_E_INVALID,
                        "%" PRId32 " warps keep an SM busy, a panel takes as long as %" PRId32
                        " blocks; allowed 1 .. 1024 and 0 or more",
                        shape->busy_warps, shape->least_blocks);
    return TRIAGE_OK;
}

static triage_status order_panels(tri_schedule *out, const tri_pattern *pattern,
                                  const tri_panel_shape *shape) {
    triage_status status = TRIAGE_OK;
    const int32_t unit = tri_mapped_together(shape);
    group_map map = {.groups = (pattern->block_cols + unit - 1) / unit};
    if (shape->reorder && shape->rows > 1)
        TRI_TRY(tri_group_rows(out->row_order, pattern, shape->rows));
    TRI_TRY(tri_calloc(&map.at, (size_t)map.groups, sizeof *map.at));
    TRI_TRY(sort_panels(out->row_order, &map, pattern, shape));
    if (shape->warps > 0) {
        TRI_TRY(tri_cut_panels(out, pattern, shape));
        TRI_TRY(tri_mix_panels(out, pattern, shape));
    }
    TRI_TRY(build_panels(out, &map, pattern, shape));
done:
    free(map.at);
    return status;
}

triage_status tri_schedule_build(tri_schedule *out, const tri_pattern *pattern,
                                 const tri_panel_shape *shape) {
    triage_status status;
    *out = (tri_schedule){0};
    TRI_TRY(check_shape(shape));
    TRI_TRY(tri_calloc(&out->row_order, (size_t)pattern->block_rows, sizeof *out->row_order));
    out->slots = pattern->block_rows;
    TRI_TRY(tri_order_by_length(out->row_order, pattern));
    if (shape->rows > 0)
        TRI_TRY(order_panels(out, pattern, shape));
    TRI_TRY(list_rows(out, pattern));
    if (shape->columns > 0)
        TRI_TRY(tri_deal_units(out, pattern, shape));
done:
    if (status != TRIAGE_OK)
        tri_schedule_free(out);
    return status;
}
