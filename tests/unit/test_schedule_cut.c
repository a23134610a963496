/* Panels of uneven height, of long and short rows, with rows in pieces: what they hold, and that the deal ends no later for them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bsr_gemm/args.h"
#include "op/bsr_gemm/bsr_gemm.h"
#include "op/bsr_gemm/schedule/deal.h"
#include "op/bsr_gemm/schedule/price.h"
#include "op/bsr_gemm/schedule/spread.h"

static const char *const dlmc[] = {"l0_0.9_encoder1_ffn1",          "magnitude_0.7_encoder1_q",
                                   "magnitude_0.9_encoder1_ffn1",   "magnitude_0.9_encoder1_q",
                                   "variational_0.7_encoder1_ffn1", "variational_0.9_encoder1_ffn2"};
#define DLMC (sizeof dlmc / sizeof *dlmc)

static void read_dlmc(tri_pattern *out, size_t i) {
    char path[512];
    snprintf(path, sizeof path, "%s/tests/data/dlmc/%s.smtx", TRI_SOURCE_DIR, dlmc[i]);
    assert_int_equal(tri_pattern_read(out, path), TRIAGE_OK);
}

/* Row i has lengths[i % kinds] blocks, from another column on. */
static void make_uneven(tri_pattern *out, int32_t rows, int32_t cols, const int32_t *lengths, int kinds) {
    int32_t *row_ptr = calloc((size_t)rows + 1, 4), *col_idx = calloc((size_t)rows * (size_t)cols + 1, 4);
    for (int32_t i = 0; i < rows; i++) {
        const int32_t length = lengths[i % kinds], first = length < cols ? 7 * i % (cols - length + 1) : 0;
        for (int32_t j = 0; j < length; j++)
            col_idx[row_ptr[i] + j] = first + j;
        row_ptr[i + 1] = row_ptr[i] + length;
    }
    assert_int_equal(tri_pattern_copy(out, rows, cols, row_ptr[rows], row_ptr, col_idx), TRIAGE_OK);
    free(row_ptr);
    free(col_idx);
}

/* Each row is in one slot, or in several of one panel; a slot without a row has no blocks. */
static void assert_slots(const tri_schedule *s, const tri_pattern *p, const tri_panel_shape *shape) {
    int64_t *panel = calloc((size_t)p->block_rows + 1, sizeof *panel); /* of a row, from 1 on */
    assert_true(s->slots >= p->block_rows);
    for (int64_t i = 0; i < s->slots; i++) {
        const tri_block_row *at = &s->rows[i];
        assert_int_equal(at->row, s->row_order[i]);
        assert_in_range(at->row + 1, 0, p->block_rows);
        if (at->row < 0) {
            assert_true(at->row == -1 && at->begin == 0 && at->end == 0 && at->col[0] == 0);
            continue;
        }
        if (panel[at->row] != 0)
            assert_true(shape->cluster == 1 && panel[at->row] == i / shape->rows + 1);
        panel[at->row] = i / shape->rows + 1;
        assert_true(at->begin == p->row_ptr[at->row] && at->end == p->row_ptr[at->row + 1]);
    }
    for (int64_t row = 0; row < p->block_rows; row++)
        assert_true(panel[row] > 0);
    free(panel);
}

/* What a slot of a panel does first, as a kernel finds it (an index into col_idx), and from there on each jump-th. */
static void find_blocks(int64_t *first, int64_t *jump, const tri_schedule *s, const tri_pattern *p,
                        const tri_panel_shape *shape, int64_t slot) {
    const int64_t panel = slot / shape->rows * shape->rows;
    *first = *jump = 0;
    if (slot >= s->slots || s->row_order[slot] < 0)
        return;
    for (int64_t i = panel; i < panel + shape->rows && i < s->slots; i++) {
        *jump += s->row_order[i] == s->row_order[slot];
        *first += s->row_order[i] == s->row_order[slot] && i < slot;
    }
    *first += p->row_ptr[s->row_order[slot]];
}

/* Each block is in one step of its panel, at the bit of its slot, where the slot comes to it; panels of a cluster list
 * the same columns. */
static void assert_steps(const tri_schedule *s, const tri_pattern *p, const tri_panel_shape *shape) {
    bool *found = calloc((size_t)p->nnzb + 1, sizeof *found);
    const int64_t cluster_rows = (int64_t)shape->rows * shape->cluster;
    assert_int_equal(s->panels, (s->slots + cluster_rows - 1) / cluster_rows * shape->cluster);
    for (int32_t panel = 0; panel < s->panels; panel++) {
        const int32_t first = s->panel_starts[panel].begin, count = s->panel_starts[panel].end - first;
        const int32_t lead = s->panel_starts[panel / shape->cluster * shape->cluster].begin;
        int64_t next[TRI_PANEL_ROWS], jump[TRI_PANEL_ROWS];
        for (int32_t r = 0; r < shape->rows; r++)
            find_blocks(&next[r], &jump[r], s, p, shape, (int64_t)panel * shape->rows + r);
        assert_int_equal(count % shape->group, 0);
        for (int32_t i = 0; i < count; i++) {
            const tri_panel_step *step = &s->steps[first + i];
            assert_int_equal(step->col, s->steps[lead + i].col);
            for (int32_t r = 0; r < shape->rows; r++) {
                if (!(step->rows >> r & 1))
                    continue;
                const int64_t slot = (int64_t)panel * shape->rows + r;
                assert_true(slot < s->slots && s->row_order[slot] >= 0);
                const int64_t block = next[r];
                next[r] += jump[r];
                assert_true(block < p->row_ptr[s->row_order[slot] + 1] && !found[block]);
                assert_int_equal(p->col_idx[block], step->col);
                found[block] = true;
            }
        }
    }
    for (int32_t i = 0; i < p->nnzb; i++)
        assert_true(found[i]);
    free(found);
}

static void assert_deal(const tri_schedule *s, const tri_panel_shape *shape) {
    const int32_t units = s->panels / shape->cluster * shape->columns;
    int *seen = calloc((size_t)units + 1, sizeof *seen);
    for (int64_t i = 0; i < s->deal_count; i++) {
        assert_in_range(s->deal[i] + 1, 0, units);
        if (s->deal[i] >= 0)
            assert_int_equal(seen[s->deal[i]]++, 0);
    }
    for (int32_t i = 0; i < units; i++)
        assert_int_equal(seen[i], 1);
    free(seen);
}

/* In a schedule that was cut or mixed no warp of a cluster is without a row while another has two. */
static void assert_spread(const tri_schedule *s, const tri_panel_shape *shape) {
    const int32_t warp_rows = shape->rows / shape->warps;
    const int64_t capacity = (int64_t)shape->rows * shape->cluster;
    assert_int_equal(s->slots % capacity, 0);
    for (int64_t first = 0; first < s->slots; first += capacity) {
        int fewest = warp_rows, most = 0;
        for (int64_t warp = first; warp < first + capacity; warp += warp_rows) {
            int rows = 0;
            for (int32_t r = 0; r < warp_rows; r++)
                rows += s->row_order[warp + r] >= 0;
            fewest = rows < fewest ? rows : fewest;
            most = rows > most ? rows : most;
        }
        assert_true(most > 0 && (fewest > 0 || most == 1));
    }
}

static int64_t pieces_of(const tri_schedule *s, int64_t panel, int64_t rows) {
    int64_t pieces = 0;
    for (int64_t i = panel * rows; i < (panel + 1) * rows && i < s->slots; i++)
        for (int64_t j = panel * rows; j < i && s->row_order[i] >= 0; j++)
            pieces += s->row_order[j] == s->row_order[i];
    return pieces;
}

/* Of the unit's slots, by the model of the costs, with warps. */
static int64_t cost_of(const tri_schedule *s, const tri_pattern *p, const tri_panel_shape *with_warps,
                       int64_t unit) {
    const int64_t capacity = (int64_t)with_warps->rows * with_warps->cluster;
    const int64_t left = s->slots - unit * capacity;
    const tri_panel *panel = &s->panel_starts[unit * with_warps->cluster];
    return tri_unit_cost(p, s->row_order + unit * capacity, left < capacity ? left : capacity,
                         panel->end - panel->begin, with_warps);
}

/* The dearest unit / the mean. */
static double unevenness(const tri_schedule *s, const tri_pattern *p, const tri_panel_shape *shape) {
    const int64_t units = s->panels / shape->cluster;
    int64_t total = 0, most = 0;
    for (int64_t unit = 0; unit < units; unit++) {
        const int64_t cost = cost_of(s, p, shape, unit);
        total += cost;
        most = cost > most ? cost : most;
    }
    return (double)most * (double)units / (double)total;
}

/* How many rows are before this one, longest first. */
static int64_t rank_of(const tri_pattern *p, int32_t row) {
    const int32_t length = p->row_ptr[row + 1] - p->row_ptr[row];
    int64_t rank = 0;
    for (int32_t other = 0; other < p->block_rows; other++) {
        const int32_t its = p->row_ptr[other + 1] - p->row_ptr[other];
        rank += its > length || (its == length && other < row);
    }
    return rank;
}

/* Whether each warp of all units has one of the longest rows, then one of the next, and so on, in its slots. */
static bool is_mixed(const tri_schedule *s, const tri_pattern *p, const tri_panel_shape *shape) {
    const int32_t warp_rows = shape->rows / shape->warps;
    if (s->panels == shape->cluster || s->slots / warp_rows >= p->block_rows ||
        s->slots % ((int64_t)shape->rows * shape->cluster) != 0)
        return false; /* nothing to tell by, or full */
    for (int64_t slot = 0; slot < s->slots; slot++)
        if (s->row_order[slot] >= 0 &&
            rank_of(p, s->row_order[slot]) / (s->slots / warp_rows) != slot % warp_rows)
            return false;
    return true;
}

/* Whether each unit has rows that follow one another in full panels. */
static bool is_cut(const tri_schedule *s, const tri_schedule *full, const tri_panel_shape *shape) {
    const int64_t capacity = (int64_t)shape->rows * shape->cluster;
    int64_t *place = calloc((size_t)full->slots, sizeof *place), next = 0;
    for (int64_t i = 0; i < full->slots; i++)
        place[full->row_order[i]] = i;
    for (int64_t first = 0; first < s->slots && next >= 0; first += capacity) {
        int64_t rows = 0, last = -1;
        for (int64_t slot = first; slot < s->slots && slot < first + capacity; slot++) {
            const int32_t row = s->row_order[slot];
            if (row < 0 || place[row] < 0)
                continue; /* none, or met already: a piece */
            last = place[row] > last ? place[row] : last;
            place[row] = -1;
            rows++;
        }
        next = last == next + rows - 1 ? next + rows : -1;
    }
    free(place);
    return next >= 0;
}

/* When the deal ends, by the model of the costs, with warps. */
static int64_t end_of(const tri_schedule *s, const tri_pattern *p, const tri_panel_shape *with_warps) {
    int64_t last = 0;
    for (int32_t worker = 0; worker < with_warps->workers; worker++) {
        int64_t end = 0;
        for (int64_t i = worker; i < s->deal_count && s->deal[i] >= 0; i += with_warps->workers)
            end += cost_of(s, p, with_warps, s->deal[i] / with_warps->columns);
        last = end > last ? end : last;
    }
    return last;
}

/* When a deal of full panels by the same costs would end. */
static int64_t full_end(const tri_schedule *full, const tri_pattern *p, const tri_panel_shape *shape) {
    const int64_t units = full->panels / shape->cluster;
    int64_t *costs = calloc((size_t)units + 1, sizeof *costs), end = 0;
    for (int64_t unit = 0; unit < units; unit++)
        costs[unit] = cost_of(full, p, shape, unit);
    assert_int_equal(tri_deal_end(&end, costs, units, shape), TRIAGE_OK);
    free(costs);
    return end;
}

typedef enum panel_kind { CUT, TURNS, FILLED } panel_kind; /* CUT: or as they came; rows may be in pieces */

typedef struct ends {
    int64_t unaware; /* of the deal of full panels that knows no warps */
    int64_t full;    /* ... and of the one that does */
    int64_t cut;     /* ... with panels of uneven height, or mixed */
    int64_t slots;
    int64_t pieces; /* more than rows */
    panel_kind kind;
    double unevenness;
} ends;

static ends check(const tri_pattern *p, tri_panel_shape shape) {
    tri_schedule full, cut;
    tri_panel_shape without = shape;
    without.warps = 0;
    assert_int_equal(tri_schedule_build(&full, p, &without), TRIAGE_OK);
    assert_int_equal(tri_schedule_build(&cut, p, &shape), TRIAGE_OK);
    assert_int_equal(full.slots, p->block_rows);
    assert_slots(&cut, p, &shape);
    assert_steps(&cut, p, &shape);
    assert_deal(&cut, &shape);
    const panel_kind kind = is_cut(&cut, &full, &shape) ? CUT : is_mixed(&cut, p, &shape) ? TURNS : FILLED;
    if (cut.slots > p->block_rows && kind != FILLED)
        assert_spread(&cut, &shape);
    ends found = {.unaware = end_of(&full, p, &shape),
                  .full = full_end(&full, p, &shape),
                  .cut = end_of(&cut, p, &shape),
                  .slots = cut.slots,
                  .kind = kind,
                  .unevenness = unevenness(&cut, p, &shape)};
    for (int64_t panel = 0; panel < cut.panels; panel++)
        found.pieces += pieces_of(&cut, panel, shape.rows);
    assert_true(found.cut <= found.full);
    tri_schedule_free(&full);
    tri_schedule_free(&cut);
    return found;
}

/* Gathered and reordered panels, dealt to 132 SMs. */
static tri_panel_shape dealt(int32_t rows, int32_t cluster, int32_t group, int32_t warps, int32_t columns) {
    return (tri_panel_shape){.rows = rows,
                             .group = group,
                             .cluster = cluster,
                             .gather = true,
                             .reorder = true,
                             .columns = columns,
                             .workers = 132 / cluster,
                             .warps = warps,
                             .busy_warps = warps > 8 ? 8 : 5,
                             .least_blocks = warps > 8 ? 125 : 62};
}

static void every_block_is_there_once(void **state) {
    (void)state;
    const int32_t lengths[] = {60, 0, 1, 20, 60};
    tri_panel_shape shapes[] = {
        dealt(32, 1, 16, 16, 3), dealt(32, 2, 8, 16, 8), dealt(16, 2, 8, 8, 4),
        dealt(16, 1, 4, 16, 1),  dealt(4, 1, 1, 1, 2),
    };
    shapes[2].gather = shapes[3].gather = false;
    shapes[3].workers = 7, shapes[4].workers = 3;
    shapes[4].reorder = false;
    int met[3] = {0};
    for (int32_t rows = 1; rows < 200; rows += 33)
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
            tri_pattern p;
            make_uneven(&p, rows, 64, lengths, 5);
            const ends uneven = check(&p, shapes[i]);
            tri_pattern_free(&p);
            assert_int_equal(tri_pattern_random(&p, rows, 93, 0.8, (uint64_t)rows), TRIAGE_OK);
            const ends uniform = check(&p, shapes[i]);
            tri_pattern_free(&p);
            met[uneven.kind] += uneven.slots > rows;
            met[uniform.kind] += uniform.slots > rows;
        }
    assert_true(met[CUT] > 20 && met[TURNS] > 0 && met[FILLED] > 0); /* what this is about was met */
}

/* Clusters, neighbouring columns, warps of two to eight rows, a last round of few. */
static void every_block_of_mixed_panels_is_there_once(void **state) {
    (void)state;
    int32_t lengths[97];
    for (int32_t i = 0; i < 97; i++)
        lengths[i] = 60 + 37 * i % 97 * (i % 3);
    tri_panel_shape shapes[] = {dealt(16, 1, 16, 8, 4), dealt(16, 2, 8, 8, 4), dealt(32, 1, 4, 16, 8),
                                dealt(16, 4, 16, 4, 4), dealt(8, 1, 8, 1, 2)};
    shapes[2].gather = false;
    int met[3] = {0};
    int64_t pieces = 0;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        for (int32_t rows = 300; rows <= 800; rows += 50) {
            tri_pattern p;
            make_uneven(&p, rows, 300, lengths, 97);
            const ends found = check(&p, shapes[i]);
            tri_pattern_free(&p);
            met[found.kind]++;
            pieces += found.pieces;
        }
    }
    assert_true(met[TURNS] > 5 && met[FILLED] > 5 && met[CUT] > 5 && pieces > 0);
}

static void nothing_to_cut_stays_whole(void **state) {
    (void)state;
    const tri_panel_shape shape = dealt(32, 1, 16, 16, 8);
    const int32_t one[] = {12}, none[] = {0}, even[] = {40};
    tri_pattern p;
    make_uneven(&p, 1, 50, one, 1);
    assert_int_equal(check(&p, shape).slots, 1);
    tri_pattern_free(&p);
    make_uneven(&p, 100, 50, none, 1);
    assert_int_equal(check(&p, shape).slots, 100);
    tri_pattern_free(&p);
    make_uneven(&p, 132 * 32, 50, even, 1);
    assert_int_equal(check(&p, shape).slots, 132 * 32);
    tri_pattern_free(&p);
}

/* In a cluster it cannot be cut itself: what else its panel holds goes sisters, and nothing ends before it. Else it
 * is done in pieces by all warps. */
static void a_row_longer_than_all_others_together(void **state) {
    (void)state;
    int32_t lengths[640], others = 0;
    for (int i = 0; i < 640; i++)
        others += lengths[i] = i == 300 ? 0 : 1;
    lengths[300] = others + 1;
    tri_pattern p;
    make_uneven(&p, 640, others + 1, lengths, 640);
    const int32_t alone[] = {300};
    for (int32_t cluster = 1; cluster <= 2; cluster++) {
        const tri_panel_shape shape = dealt(32, cluster, 16, 16, 8);
        const ends found = check(&p, shape);
        const double whole = (double)tri_unit_cost(&p, alone, 1, others + 1, &shape);
        assert_true((double)found.cut < (cluster == 1 ? 0.3 : 1.05) * whole);
        assert_true((double)found.cut > (cluster == 1 ? 0.1 : 1) * whole);
        assert_true(cluster == 1 ? found.pieces >= 15 : found.pieces == 0);
    }
    tri_pattern_free(&p);
}

/* Of a panel that has room for more: each row in as many pieces as it takes to be no longer than the others. */
static void long_rows_are_done_in_pieces(void **state) {
    (void)state;
    const int32_t rows[] = {0, 1, 2, 3}, lengths[] = {257, 128, 64, 1};
    const tri_panel_shape shape = dealt(16, 1, 16, 16, 8);
    tri_pattern p;
    int32_t slots[TRI_UNIT_SLOTS];
    make_uneven(&p, 4, 300, lengths, 4);
    const int64_t cost = tri_spread_rows(slots, rows, 4, 300, &p, &shape);
    assert_int_equal(cost, tri_unit_cost(&p, slots, 16, 300, &shape));
    int64_t most = 0, blocks[4] = {0}, pieces[4] = {0};
    for (int64_t i = 0; i < 16; i++) {
        const tri_row_piece piece = tri_row_piece_of(&p, slots, 16, i);
        if (slots[i] < 0) {
            assert_int_equal(piece.count, 0);
            continue;
        }
        blocks[slots[i]] += piece.count;
        pieces[slots[i]]++;
        most = piece.count > most ? piece.count : most;
        assert_int_equal(piece.begin, p.row_ptr[slots[i]] + pieces[slots[i]] - 1);
    }
    for (int64_t i = 0; i < 4; i++) {
        assert_int_equal(blocks[i], lengths[i]);
        assert_in_range((lengths[i] + pieces[i] - 1) / pieces[i], 1, most);
    }
    assert_in_range(most, 450 / 16, 450 / 8); /* eight warps keep the SM busy, all the blocks are 450 */
    tri_pattern_free(&p);
}

#ifdef __SANITIZE_ADDRESS__ /* the same code for each, and a minute for six */
enum { PRUNED = 2 };
#else
enum { PRUNED = DLMC };
#endif

static void no_later(const tri_pattern *p, tri_panel_shape shape) {
    const ends found = check(p, shape);
    assert_true((double)found.cut <= 1.001 * (double)found.unaware);
}

/* By the model: no later than full panels dealt by the same costs, which check() holds for all; and than dealt
 * without knowing of warps, but for what a greedy deal loses by chance (0.04 % in one of 48). */
static void pruned_layers_end_no_later(void **state) {
    (void)state;
    for (size_t i = 0; i < PRUNED; i++) {
        tri_pattern p;
        read_dlmc(&p, i);
        for (int32_t cluster = 1; cluster <= 2; cluster++)
            for (int32_t block = 16; block <= 32; block += 16)
                for (int32_t height = 256; height <= 512; height += 256)
                    for (int32_t columns = 4; columns <= 8; columns += 4)
                        no_later(&p, dealt(height / block, cluster, 256 / block, height / 32, columns));
        tri_pattern_free(&p);
    }
}

/* A pruned layer, and when a uniform pattern of as many blocks would end in full panels. */
static ends check_dlmc(int64_t *uniform_end, size_t i, tri_panel_shape shape) {
    tri_pattern p, twin;
    read_dlmc(&p, i);
    const double blocks = (double)p.block_rows * p.block_cols;
    assert_int_equal(tri_pattern_random(&twin, p.block_rows, p.block_cols, 1 - (double)p.nnzb / blocks, 1),
                     TRIAGE_OK);
    const ends found = check(&p, shape);
    *uniform_end = check(&twin, shape).full;
    tri_pattern_free(&p);
    tri_pattern_free(&twin);
    return found;
}

/* 128 panels x 4 column tiles on 132 workers, and the longest takes a third more than an even share. */
static void the_longest_panel_is_cut(void **state) {
    (void)state;
    int64_t uniform = 0;
    const ends found = check_dlmc(&uniform, 0, dealt(16, 1, 16, 8, 4));
    assert_true((double)found.full > 1.25 * (double)uniform);
    assert_true((double)found.cut < (double)uniform);
    assert_int_equal(found.kind, CUT);
}

/* 32 panels x 4 column tiles are one round of 132 workers, were they even; cut ones are more than that. 33 panels are
 * one round too, and each of long and short rows. */
static void long_and_short_rows_make_an_even_round(void **state) {
    (void)state;
    for (size_t i = 1; i <= 3; i += 2) {
        int64_t uniform = 0;
        const ends found = check_dlmc(&uniform, i, dealt(16, 1, 16, 8, 4));
        assert_int_equal(found.kind, TURNS);
        assert_int_equal(found.slots, 33 * 16);
        assert_true((double)found.full > 1.3 * (double)uniform);
        assert_true((double)found.cut < 1.03 * (double)uniform);
        assert_true(found.unevenness < 1.025);
    }
}

/* Sixteen warps of two rows: 16 panels x 8 column tiles are one round, and no slot is empty. */
static void full_panels_of_long_and_short_rows(void **state) {
    (void)state;
    for (size_t i = 1; i <= 3; i += 2) {
        int64_t uniform = 0;
        const ends found = check_dlmc(&uniform, i, dealt(32, 1, 16, 16, 8));
        assert_int_equal(found.kind, TURNS);
        assert_int_equal(found.slots, 16 * 32);
        assert_true((double)found.full > 1.3 * (double)uniform);
        assert_true((double)found.cut < 1.01 * (double)uniform);
        assert_true(found.unevenness < 1.01);
    }
}

/* Rows of up to four times the mean, and empty ones. In turns each panel has warps of every length, and ends with few
 * of them at work; filled, one has warps of a length, and the empty rows are together too. */
static void rows_of_a_length_come_together(void **state) {
    (void)state;
    int64_t uniform = 0;
    const ends found = check_dlmc(&uniform, 5, dealt(32, 2, 16, 16, 8));
    assert_int_equal(found.kind, FILLED);
    assert_true((double)found.full > 1.25 * (double)uniform);
    assert_true((double)found.cut < 0.7 * (double)uniform);
}

static int64_t blocks_of_time(const tri_panel_shape *shape, const int64_t *warps) {
    const int64_t one[TRI_PANEL_ROWS] = {1};
    return tri_products_cost(warps, shape) * shape->busy_warps / tri_products_cost(one, shape);
}

/* Sixteen warps of which four keep an SM busy. */
static void few_warps_go_at_the_pace_of_one(void **state) {
    (void)state;
    const tri_panel_shape shape = {.rows = 16, .warps = 16, .busy_warps = 4};
    int64_t warps[TRI_PANEL_ROWS] = {0};
    assert_int_equal(tri_products_cost(warps, &shape), 0);
    for (int32_t i = 0; i < 16; i++) {
        warps[15 - i] = 10;
        assert_int_equal(blocks_of_time(&shape, warps), 10 * (i < 4 ? 4 : i + 1));
    }
    warps[7] = 25; /* and 15 more of its own */
    assert_int_equal(blocks_of_time(&shape, warps), 10 * 16 + 15 * 4);
}

/* Sixteen rows to the same columns, which no others have: apart, each would bring its own. */
static void rows_of_the_same_columns_are_not_parted(void **state) {
    (void)state;
    const int32_t rows = 512, cols = 32 * 40;
    int32_t row_ptr[513] = {0}, *col_idx = calloc((size_t)rows * 40, sizeof *col_idx);
    for (int32_t i = 0; i < rows; i++) {
        const int32_t panel = i / 16, length = 40 - panel % 8 * 2;
        for (int32_t j = 0; j < length; j++)
            col_idx[row_ptr[i] + j] = panel * 40 + j;
        row_ptr[i + 1] = row_ptr[i] + length;
    }
    tri_pattern p;
    assert_int_equal(tri_pattern_copy(&p, rows, cols, row_ptr[rows], row_ptr, col_idx), TRIAGE_OK);
    const ends found = check(&p, dealt(16, 1, 16, 8, 4));
    assert_int_equal(found.kind, CUT);
    tri_pattern_free(&p);
    free(col_idx);
}

static void the_same_panels(size_t i, tri_panel_shape shape) {
    tri_pattern p;
    tri_schedule a, b;
    read_dlmc(&p, i);
    assert_int_equal(tri_schedule_build(&a, &p, &shape), TRIAGE_OK);
    assert_int_equal(tri_schedule_build(&b, &p, &shape), TRIAGE_OK);
    assert_true(a.slots > p.block_rows && a.slots == b.slots && a.deal_count == b.deal_count);
    assert_memory_equal(a.row_order, b.row_order, (size_t)a.slots * sizeof *a.row_order);
    assert_memory_equal(a.deal, b.deal, (size_t)a.deal_count * sizeof *a.deal);
    tri_schedule_free(&a);
    tri_schedule_free(&b);
    tri_pattern_free(&p);
}

static void the_same_panels_each_time(void **state) {
    (void)state;
    the_same_panels(5, dealt(16, 2, 8, 8, 4));  /* cut */
    the_same_panels(1, dealt(16, 1, 16, 8, 4)); /* mixed */
}

static void warps_that_do_not_divide_a_panel_are_named(void **state) {
    (void)state;
    tri_pattern p;
    tri_schedule s;
    assert_int_equal(tri_pattern_random(&p, 8, 8, 0.5, 1), TRIAGE_OK);
    const tri_panel_shape bad[] = {
        {.rows = 4, .group = 1, .cluster = 1, .columns = 2, .workers = 2, .warps = 3},
        {.rows = 4, .group = 1, .cluster = 1, .columns = 2, .workers = 2, .warps = -3},
        {.rows = 4, .group = 1, .cluster = 1, .warps = 3}};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(tri_schedule_build(&s, &p, &bad[i]), TRIAGE_E_INVALID);
        assert_non_null(strstr(triage_last_error(), "3 warps to a panel; allowed 0"));
        assert_null(s.row_order);
    }
    tri_pattern_free(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_block_is_there_once),
        cmocka_unit_test(every_block_of_mixed_panels_is_there_once),
        cmocka_unit_test(nothing_to_cut_stays_whole),
        cmocka_unit_test(a_row_longer_than_all_others_together),
        cmocka_unit_test(long_rows_are_done_in_pieces),
        cmocka_unit_test(pruned_layers_end_no_later),
        cmocka_unit_test(the_longest_panel_is_cut),
        cmocka_unit_test(long_and_short_rows_make_an_even_round),
        cmocka_unit_test(full_panels_of_long_and_short_rows),
        cmocka_unit_test(rows_of_a_length_come_together),
        cmocka_unit_test(few_warps_go_at_the_pace_of_one),
        cmocka_unit_test(rows_of_the_same_columns_are_not_parted),
        cmocka_unit_test(the_same_panels_each_time),
        cmocka_unit_test(warps_that_do_not_divide_a_panel_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
