/* Each row to the warp that has least, the longest first. Where a row is longer than a warp's even share the others
 * wait for it, so as slots are left it is cut into pieces, whose sums the CTA adds before it stores them. (All in one
 * CTA: the panels of a cluster have whole rows only.) */
#include "op/bsr_gemm/schedule/spread.h"
#include "op/bsr_gemm/schedule/deal.h"
#include "op/bsr_gemm/schedule/group.h"
#include "op/bsr_gemm/schedule/price.h"

#include <stdlib.h>
#include <string.h>

typedef struct item { /* a piece of a row, or all of it */
    int32_t row;
    int64_t length;
} item;

/* Of a row that is done in so many: the i-th has each of them from its i-th block on. */
static int64_t piece_length(int64_t row_length, int64_t pieces, int64_t i) {
    return (row_length - i + pieces - 1) / pieces;
}

tri_row_piece tri_row_piece_of(const tri_pattern *pattern, const int32_t *panel, int64_t count, int64_t i) {
    const int32_t row = panel[i];
    int32_t pieces = 1, before = 0;
    if (row < 0)
        return (tri_row_piece){.jump = 1};
    for (int64_t slot = 0; slot < count; slot++) {
        pieces += panel[slot] == row && slot != i;
        before += panel[slot] == row && slot < i;
    }
    return (tri_row_piece){pattern->row_ptr[row] + before, pieces,
                           (int32_t)piece_length(tri_row_length(pattern, row), pieces, before)};
}

/* No piece longer than `longest`. -1: they are more than a unit has slots for. */
static int64_t list_items(item *items, const int32_t *rows, int64_t count, int64_t longest,
                          const tri_pattern *pattern, const tri_panel_shape *shape) {
    const int64_t capacity = tri_unit_slots(shape);
    int64_t listed = 0;
    for (int64_t i = 0; i < count; i++) {
        const int64_t length = tri_row_length(pattern, rows[i]);
        const int64_t pieces = length > longest && longest > 0 ? (length + longest - 1) / longest : 1;
        if (listed + pieces + (count - i - 1) > capacity)
            return -1;
        for (int64_t piece = 0; piece < pieces; piece++)
            items[listed++] = (item){rows[i], piece_length(length, pieces, piece)};
    }
    return listed;
}

static int compare_length(const void *left, const void *right) {
    const item *a = left, *b = right;
    if (a->length != b->length)
        return a->length > b->length ? -1 : 1;
    return a->row < b->row ? -1 : a->row > b->row;
}

/* Of warps with equally much the one with fewer rows, then the first in turn over all CTAs. (Which piece of its row a
 * slot does follows from the order of slots: a warp may end with a block more or less than counted here.) */
static void place(int32_t *slots, const item *items, int64_t count, const tri_panel_shape *shape) {
    const int64_t warps = (int64_t)shape->warps * shape->cluster, warp_rows = shape->rows / shape->warps;
    int64_t blocks[TRI_UNIT_SLOTS] = {0};
    int32_t had[TRI_UNIT_SLOTS] = {0};
    memset(slots, -1, (size_t)tri_unit_slots(shape) * sizeof *slots);
    for (int64_t i = 0; i < count; i++) {
        int64_t least = -1;
        for (int64_t w = 0; w < warps; w++)
            if (had[w] < warp_rows && (least < 0 || blocks[w] < blocks[least] ||
                                       (blocks[w] == blocks[least] && had[w] < had[least])))
                least = w;
        slots[tri_warp_slot(shape, least, had[least]++)] = items[i].row;
        blocks[least] += items[i].length;
    }
}

int64_t tri_spread_rows(int32_t *slots, const int32_t *rows, int64_t count, int64_t steps,
                        const tri_pattern *pattern, const tri_panel_shape *shape) {
    item items[TRI_UNIT_SLOTS];
    int32_t tried[TRI_UNIT_SLOTS];
    const int64_t capacity = tri_unit_slots(shape);
    int64_t whole = 1, best = -1;
    for (int64_t i = 0; i < count; i++)
        whole = tri_row_length(pattern, rows[i]) > whole ? tri_row_length(pattern, rows[i]) : whole;
    for (int64_t longest = whole;;) {
        const int64_t listed = list_items(items, rows, count, longest, pattern, shape);
        if (listed < 0)
            break;
        qsort(items, (size_t)listed, sizeof *items, compare_length);
        place(tried, items, listed, shape);
        const int64_t cost = tri_unit_cost(pattern, tried, capacity, steps, shape);
        if (best < 0 || cost < best) {
            best = cost;
            memcpy(slots, tried, (size_t)capacity * sizeof *slots);
        }
        if (longest == 1 || shape->cluster > 1)
            break;
        const int64_t pieces = (whole - 1) / (longest - 1) + 1; /* so many that they are shorter */
        longest = (whole + pieces - 1) / pieces;
    }
    return best;
}
