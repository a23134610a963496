/* The order of work and panels. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "bsr_gemm/args.h"
#include "op/bsr_gemm/bsr_gemm.h"

#define SMALL TRI_SOURCE_DIR "/tests/data/dlmc/variational_0.9_encoder1_ffn2.smtx"

static int64_t length(const tri_pattern *p, int64_t row) {
    return p->row_ptr[row + 1] - p->row_ptr[row];
}

static void assert_permutation(const tri_schedule *s, const tri_pattern *p) {
    const int64_t rows = p->block_rows;
    bool *seen = calloc((size_t)rows, 1);
    for (int64_t i = 0; i < rows; i++) {
        assert_in_range(s->row_order[i], 0, rows - 1);
        assert_false(seen[s->row_order[i]]);
        seen[s->row_order[i]] = true;
        const tri_block_row *at = &s->rows[i];
        assert_int_equal(at->row, s->row_order[i]);
        assert_int_equal(at->begin, p->row_ptr[at->row]);
        assert_int_equal(at->end, p->row_ptr[at->row + 1]);
        for (int32_t j = 0; j < TRI_ROW_COLUMNS; j++)
            assert_int_equal(at->col[j], at->begin + j < at->end ? p->col_idx[at->begin + j] : 0);
    }
    free(seen);
}

/* Every block is in exactly one step, at the bit of its row; columns ascend; no step is empty. */
static void assert_panels(const tri_schedule *s, const tri_pattern *p, int32_t panel_rows) {
    int64_t found = 0;
    assert_int_equal(s->panels, (p->block_rows + panel_rows - 1) / panel_rows);
    assert_int_equal(s->panel_starts[0].begin, 0);
    for (int64_t panel = 0; panel < s->panels; panel++) {
        const tri_panel *start = &s->panel_starts[panel];
        assert_int_equal(start->end, panel + 1 < s->panels ? start[1].begin : s->step_count);
        for (int32_t i = 0; i < TRI_PANEL_STEPS; i++) {
            const bool has = start->begin + i < start->end;
            assert_int_equal(start->first[i].col, has ? s->steps[start->begin + i].col : -1);
            assert_int_equal(start->first[i].rows, has ? s->steps[start->begin + i].rows : 0);
        }
        int32_t at[32], rows = 0;
        for (; rows < panel_rows && panel * panel_rows + rows < p->block_rows; rows++)
            at[rows] = p->row_ptr[s->row_order[panel * panel_rows + rows]];
        for (int32_t i = s->panel_starts[panel].begin; i < s->panel_starts[panel].end; i++) {
            const tri_panel_step *step = &s->steps[i];
            assert_true(step->rows != 0 && (uint64_t)step->rows < UINT64_C(1) << rows);
            if (i > s->panel_starts[panel].begin)
                assert_true(step->col > step[-1].col);
            for (int32_t r = 0; r < rows; r++)
                if (step->rows >> r & 1) {
                    assert_true(at[r] < p->row_ptr[s->row_order[panel * panel_rows + r] + 1]);
                    assert_int_equal(p->col_idx[at[r]++], step->col);
                    found++;
                }
        }
    }
    assert_int_equal(found, p->nnzb);
}

static int64_t build_and_check(const tri_pattern *p, int32_t panel_rows, bool reorder) {
    tri_schedule s;
    assert_int_equal(
        tri_schedule_build(
            &s, p, &(tri_panel_shape){.rows = panel_rows, .group = 1, .cluster = 1, .reorder = reorder}),
        TRIAGE_OK);
    assert_permutation(&s, p);
    int64_t steps = 0;
    if (panel_rows) {
        assert_panels(&s, p, panel_rows);
        steps = s.step_count;
        for (int64_t i = 1; i < p->block_rows / panel_rows; i++) /* the heaviest first */
            assert_true(s.panel_starts[i].begin - s.panel_starts[i - 1].begin >=
                        s.panel_starts[i].end - s.panel_starts[i].begin);
    } else {
        assert_int_equal(s.panels, 0);
        assert_null(s.panel_starts);
        assert_null(s.steps);
    }
    tri_schedule_free(&s);
    assert_null(s.row_order);
    return steps;
}

/* Groups: whole, aligned, all their columns listed, needed by some row of the cluster; and a cluster's panels
 * list the same columns. */
static void groups_are_whole(void **state) {
    (void)state;
    tri_pattern p;
    tri_schedule s;
    const tri_panel_shape shape = {.rows = 4, .group = 8, .cluster = 2, .reorder = true};
    assert_int_equal(tri_pattern_random(&p, 37, 93, 0.9, 7), TRIAGE_OK);
    assert_int_equal(tri_schedule_build(&s, &p, &shape), TRIAGE_OK);
    assert_int_equal(s.panels, 10); /* 37 rows: 10 panels, already a multiple of the cluster */
    int64_t found = 0;
    for (int32_t panel = 0; panel < s.panels; panel++) {
        const int32_t first = s.panel_starts[panel].begin, count = s.panel_starts[panel].end - first;
        assert_int_equal(count % shape.group, 0);
        for (int32_t i = 0; i < count; i++) {
            const tri_panel_step *step = &s.steps[first + i];
            assert_int_equal(step->col % shape.group, i % shape.group);
            assert_true(i % shape.group == 0 || step->col == step[-1].col + 1);
            if (panel % 2 == 1)
                assert_int_equal(step->col, s.steps[s.panel_starts[panel - 1].begin + i].col);
            for (int32_t r = 0; r < shape.rows; r++) {
                if (!(step->rows >> r & 1))
                    continue;
                const int32_t row = s.row_order[panel * shape.rows + r];
                bool has = false;
                for (int32_t j = p.row_ptr[row]; j < p.row_ptr[row + 1]; j++)
                    has = has || p.col_idx[j] == step->col;
                assert_true(has);
                found++;
            }
        }
    }
    assert_int_equal(found, p.nnzb);
    tri_schedule_free(&s);
    tri_pattern_free(&p);
}

/* Gathered columns: ascending, each needed by some row of the cluster, whole groups, the rest empty. */
static void gathered_columns_are_the_needed_ones(void **state) {
    (void)state;
    tri_pattern p;
    tri_schedule s;
    const tri_panel_shape shape = {.rows = 4, .group = 8, .cluster = 2, .gather = true, .reorder = true};
    assert_int_equal(tri_pattern_random(&p, 37, 93, 0.9, 7), TRIAGE_OK);
    assert_int_equal(tri_schedule_build(&s, &p, &shape), TRIAGE_OK);
    int64_t found = 0;
    for (int32_t first = 0; first < s.panels; first += 2) {
        const int32_t count = s.panel_starts[first].end - s.panel_starts[first].begin;
        assert_int_equal(count % shape.group, 0);
        assert_int_equal(s.panel_starts[first + 1].end - s.panel_starts[first].end, count);
        int32_t used = 0;
        for (int32_t i = 0; i < count; i++) {
            const tri_panel_step *a = &s.steps[s.panel_starts[first].begin + i];
            const tri_panel_step *b = &s.steps[s.panel_starts[first].end + i];
            assert_int_equal(a->col, b->col);
            assert_true((a->col < 0) == ((a->rows | b->rows) == 0));
            assert_true(i == 0 || a->col > a[-1].col || a->col == -1);
            used += a->col >= 0;
            found += __builtin_popcount(a->rows) + __builtin_popcount(b->rows);
        }
        assert_true(count - used < shape.group);
    }
    assert_int_equal(found, p.nnzb);
    tri_schedule_free(&s);
    tri_pattern_free(&p);
}

/* Every unit is dealt once, who has ended gets none, and the busiest worker has hardly more than the mean. */
static void the_deal_is_whole_and_even(void **state) {
    (void)state;
    tri_pattern p;
    tri_schedule s;
    const tri_panel_shape shape = {
        .rows = 4, .group = 8, .cluster = 2, .gather = true, .reorder = true, .columns = 5, .workers = 7};
    assert_int_equal(tri_pattern_read(&p, SMALL), TRIAGE_OK);
    assert_int_equal(tri_schedule_build(&s, &p, &shape), TRIAGE_OK);
    const int32_t units = s.panels / shape.cluster * shape.columns;
    const int64_t rounds = s.deal_count / shape.workers - 3;
    int *seen = calloc((size_t)units, sizeof *seen);
    int64_t steps[7] = {0}, total = 0, most = 0;
    assert_int_equal(s.deal_count % shape.workers, 0);
    for (int32_t w = 0; w < shape.workers; w++) {
        bool ended = false;
        for (int64_t round = 0; round < rounds + 3; round++) {
            const int32_t unit = s.deal[round * shape.workers + w];
            assert_true(unit >= -1 && unit < units && (unit == -1 || !ended));
            ended = unit == -1;
            if (ended)
                continue;
            assert_true(round < rounds);
            assert_int_equal(seen[unit]++, 0);
            const int32_t panel = unit / shape.columns * shape.cluster;
            steps[w] += s.panel_starts[panel].end - s.panel_starts[panel].begin;
        }
        total += steps[w];
        most = steps[w] > most ? steps[w] : most;
    }
    for (int32_t unit = 0; unit < units; unit++)
        assert_int_equal(seen[unit], 1);
    assert_true((double)most < 1.1 * (double)total / shape.workers);
    free(seen);
    tri_schedule_free(&s);
    tri_pattern_free(&p);
}

/* More workers than units: the rest have nothing. */
static void the_deal_may_leave_workers_idle(void **state) {
    (void)state;
    tri_pattern p;
    tri_schedule s;
    const tri_panel_shape shape = {.rows = 4, .group = 1, .cluster = 1, .columns = 1, .workers = 9};
    assert_int_equal(tri_pattern_random(&p, 8, 8, 0.5, 1), TRIAGE_OK);
    assert_int_equal(tri_schedule_build(&s, &p, &shape), TRIAGE_OK);
    assert_int_equal(s.deal_count, 4 * 9);
    for (int i = 0; i < 36; i++)
        assert_true(i < 2 ? s.deal[i] >= 0 : s.deal[i] == -1);
    tri_schedule_free(&s);
    tri_pattern_free(&p);
}

/* 64 rows of six or seven blocks, 32 column tiles, 132 workers: fifteen tiles and a half each. In turn the last ends
 * after 103 blocks; the deal must come near the even share of 99.4, and keep the workers in few columns at a time. */
static void the_deal_is_even_where_rounds_are_not_full(void **state) {
    (void)state;
    enum { ROWS = 64, COLUMNS = 32, WORKERS = 132, BLOCKS = 410 };
    tri_pattern p;
    tri_schedule s;
    const tri_panel_shape shape = {
        .rows = 1, .group = 1, .cluster = 1, .columns = COLUMNS, .workers = WORKERS};
    assert_int_equal(tri_pattern_random(&p, ROWS, ROWS, 1.0 - BLOCKS / 4096.0, 1), TRIAGE_OK);
    assert_int_equal(p.nnzb, BLOCKS);
    assert_int_equal(tri_schedule_build(&s, &p, &shape), TRIAGE_OK);
    const int64_t rounds = s.deal_count / WORKERS - 3;
    int64_t most = 0;
    bool seen[ROWS * COLUMNS] = {0};
    for (int w = 0; w < WORKERS; w++) {
        int64_t blocks = 0;
        int units = 0;
        for (int64_t round = 0; round < rounds && s.deal[round * WORKERS + w] >= 0; round++, units++) {
            const int32_t unit = s.deal[round * WORKERS + w];
            assert_false(seen[unit]);
            seen[unit] = true;
            blocks += s.rows[unit / COLUMNS].end - s.rows[unit / COLUMNS].begin;
        }
        assert_in_range(units, 15, 16);
        for (int round = 0; round < units; round++) /* of 32 column tiles, those of the worker's time */
            assert_in_range(
                s.deal[round * WORKERS + w] % COLUMNS - (2 * round + 1) * COLUMNS / (2 * units) + 4, 0, 8);
        most = blocks > most ? blocks : most;
    }
    for (int unit = 0; unit < ROWS * COLUMNS; unit++)
        assert_true(seen[unit]);
    assert_in_range(most, 100, 101);
    tri_schedule_free(&s);
    tri_pattern_free(&p);
}

/* 8192 units, 62 a worker: still level, and soon (a search through all pairs of workers took a quarter of a second). */
static void a_deal_of_many_units_is_level(void **state) {
    (void)state;
    enum { ROWS = 128, COLUMNS = 64, WORKERS = 132 };
    tri_pattern p;
    tri_schedule s;
    int64_t blocks[WORKERS] = {0}, most = 0;
    const tri_panel_shape shape = {
        .rows = 1, .group = 1, .cluster = 1, .columns = COLUMNS, .workers = WORKERS};
    assert_int_equal(tri_pattern_random(&p, ROWS, ROWS, 0.9, 1), TRIAGE_OK);
    assert_int_equal(tri_schedule_build(&s, &p, &shape), TRIAGE_OK);
    for (int64_t i = 0; i < s.deal_count; i++)
        if (s.deal[i] >= 0)
            blocks[i % WORKERS] += s.rows[s.deal[i] / COLUMNS].end - s.rows[s.deal[i] / COLUMNS].begin;
    for (int w = 0; w < WORKERS; w++)
        most = blocks[w] > most ? blocks[w] : most;
    assert_true(256 * most <= 257 * (p.nnzb * COLUMNS / WORKERS + 1));
    tri_schedule_free(&s);
    tri_pattern_free(&p);
}

/* Rows of a dozen lengths, some units for each worker: each unit once, all end together, and while a worker is at its r-th
 * block no other is far ahead in columns, so that those of B which are read at a time are few. */
static void workers_go_through_columns_together(void **state) {
    (void)state;
    enum { ROWS = 64, COLUMNS = 16, WORKERS = 66, UNITS = ROWS * COLUMNS };
    tri_pattern even, p;
    tri_schedule s;
    int64_t blocks[WORKERS] = {0}, most = 0, seen[UNITS] = {0};
    const tri_panel_shape shape = {.rows = 1,
                                   .group = 1,
                                   .cluster = 1,
                                   .columns = COLUMNS,
                                   .workers = WORKERS,
                                   .reorder = true,
                                   .by_column = true};
    assert_int_equal(tri_pattern_random(&even, ROWS, ROWS, 0.9, 1), TRIAGE_OK);
    assert_int_equal(tri_pattern_transpose(&p, &even), TRIAGE_OK);
    assert_int_equal(tri_schedule_build(&s, &p, &shape), TRIAGE_OK);
    for (int64_t i = 0; i < s.deal_count; i++) {
        const int32_t unit = s.deal[i];
        if (unit < 0)
            continue;
        seen[unit]++;
        const double progress = (double)blocks[i % WORKERS] * WORKERS / (double)(p.nnzb * COLUMNS);
        assert_in_range(unit % COLUMNS + 3 - (int)(progress * COLUMNS), 0, 6);
        blocks[i % WORKERS] += s.rows[unit / COLUMNS].end - s.rows[unit / COLUMNS].begin;
    }
    for (int64_t i = 0; i < UNITS; i++)
        assert_int_equal(seen[i], 1);
    for (int w = 0; w < WORKERS; w++)
        most = blocks[w] > most ? blocks[w] : most;
    assert_true(100 * most <= 104 * p.nnzb * COLUMNS / WORKERS);
    tri_schedule_free(&s);
    tri_pattern_free(&p);
    tri_pattern_free(&even);
}

/* Panels of a transposed pattern, whose rows are uneven, by turns: the sums of neighbours differ less than in the order of length,
 * and each row is there once. */
static void long_and_short_panels_take_turns(void **state) {
    (void)state;
    enum { ROWS = 256, PANEL = 8, PANELS = ROWS / PANEL };
    tri_pattern even, p;
    int64_t widest[2] = {0}; /* blocks of two neighbours: most less fewest */
    assert_int_equal(tri_pattern_random(&even, ROWS, ROWS, 0.9, 1), TRIAGE_OK);
    assert_int_equal(tri_pattern_transpose(&p, &even), TRIAGE_OK);
    for (int by_turns = 0; by_turns < 2; by_turns++) {
        tri_schedule s;
        const tri_panel_shape shape = {
            .rows = PANEL, .group = 1, .cluster = 1, .reorder = true, .by_turns = by_turns};
        int32_t seen[ROWS] = {0};
        int64_t blocks[PANELS] = {0}, most = 0, fewest = INT64_MAX;
        assert_int_equal(tri_schedule_build(&s, &p, &shape), TRIAGE_OK);
        for (int64_t i = 0; i < ROWS; i++) {
            seen[s.row_order[i]]++;
            blocks[i / PANEL] += s.rows[i].end - s.rows[i].begin;
        }
        for (int64_t i = 0; i + 1 < PANELS; i += 2) {
            const int64_t both = blocks[i] + blocks[i + 1];
            most = both > most ? both : most;
            fewest = both < fewest ? both : fewest;
        }
        widest[by_turns] = most - fewest;
        for (int i = 0; i < ROWS; i++)
            assert_int_equal(seen[i], 1);
        tri_schedule_free(&s);
    }
    assert_true(3 * widest[1] < widest[0]);
    tri_pattern_free(&p);
    tri_pattern_free(&even);
}

static void bad_shapes_are_named(void **state) {
    (void)state;
    tri_pattern p;
    tri_schedule s;
    assert_int_equal(tri_pattern_random(&p, 8, 8, 0.5, 1), TRIAGE_OK);
    assert_int_equal(
        tri_schedule_build(&s, &p, &(tri_panel_shape){.rows = 4, .group = 0, .cluster = 1, .reorder = false}),
        TRIAGE_E_INVALID);
    assert_non_null(strstr(triage_last_error(), "panel_group is 0"));
    assert_int_equal(tri_schedule_build(
                         &s, &p, &(tri_panel_shape){.rows = 4, .group = 1, .cluster = 17, .reorder = false}),
                     TRIAGE_E_INVALID);
    assert_non_null(strstr(triage_last_error(), "cluster of 17"));
    assert_int_equal(
        tri_schedule_build(&s, &p, &(tri_panel_shape){.rows = 4, .group = 1, .cluster = 1, .columns = 2}),
        TRIAGE_E_INVALID);
    assert_string_equal(triage_last_error(), "0 workers; allowed 1 .. 65535");
    assert_null(s.row_order);
    tri_pattern_free(&p);
}

static void rows_go_longest_first(void **state) {
    (void)state;
    tri_pattern p;
    tri_schedule s;
    const int32_t row_ptr[] = {0, 1, 3, 3, 5, 6}, col_idx[] = {0, 0, 1, 2, 3, 1}, order[] = {1, 3, 0, 4, 2};
    assert_int_equal(tri_pattern_copy(&p, 5, 4, 6, row_ptr, col_idx), TRIAGE_OK);
    assert_int_equal(
        tri_schedule_build(&s, &p, &(tri_panel_shape){.rows = 0, .group = 1, .cluster = 1, .reorder = false}),
        TRIAGE_OK);
    assert_memory_equal(s.row_order, order, sizeof order);
    tri_schedule_free(&s);
    tri_pattern_free(&p);
}

static void panels_hold_every_block_once(void **state) {
    (void)state;
    const double sparsities[] = {0, 0.5, 0.9, 0.99, 1};
    const int64_t sizes[][2] = {{1, 1}, {5, 9}, {64, 64}, {67, 33}, {33, 200}};
    const int32_t panel_rows[] = {0, 1, 2, 3, 4, 8, 31, 32};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (size_t j = 0; j < sizeof sparsities / sizeof *sparsities; j++) {
            tri_pattern p;
            assert_int_equal(tri_pattern_random(&p, sizes[i][0], sizes[i][1], sparsities[j], 5), TRIAGE_OK);
            for (size_t k = 0; k < sizeof panel_rows / sizeof *panel_rows; k++) {
                build_and_check(&p, panel_rows[k], false);
                build_and_check(&p, panel_rows[k], true);
            }
            tri_pattern_free(&p);
        }
}

static void panels_of_a_known_pattern(void **state) {
    (void)state;
    tri_pattern p;
    tri_schedule s;
    const int32_t row_ptr[] = {0, 2, 4, 5}, col_idx[] = {0, 2, 1, 2, 0};
    const tri_panel_step steps[] = {{0, 1}, {1, 2}, {2, 3}, {0, 1}};
    assert_int_equal(tri_pattern_copy(&p, 3, 3, 5, row_ptr, col_idx), TRIAGE_OK);
    assert_int_equal(
        tri_schedule_build(&s, &p, &(tri_panel_shape){.rows = 2, .group = 1, .cluster = 1, .reorder = false}),
        TRIAGE_OK);
    assert_int_equal(s.panels, 2);
    assert_int_equal(s.panel_starts[0].begin, 0);
    assert_int_equal(s.panel_starts[0].end, 3);
    assert_int_equal(s.panel_starts[1].begin, 3);
    assert_int_equal(s.panel_starts[1].end, 4);
    assert_int_equal(s.step_count, 4);
    assert_memory_equal(s.steps, steps, sizeof steps);
    tri_schedule_free(&s);
    tri_pattern_free(&p);
}

static void refuses_panels_that_do_not_fit_the_mask(void **state) {
    (void)state;
    tri_pattern p;
    tri_schedule s;
    assert_int_equal(tri_pattern_random(&p, 4, 4, 0.5, 1), TRIAGE_OK);
    assert_int_equal(tri_schedule_build(
                         &s, &p, &(tri_panel_shape){.rows = 33, .group = 1, .cluster = 1, .reorder = false}),
                     TRIAGE_E_INVALID);
    assert_string_equal(triage_last_error(), "panel_rows is 33; allowed 0 .. 32");
    assert_int_equal(tri_schedule_build(&s, &p, &(tri_panel_shape){.rows = -1, .group = 1, .cluster = 1}),
                     TRIAGE_E_INVALID);
    assert_null(s.row_order);
    tri_schedule_free(&s);
    tri_schedule_free(NULL);
    tri_pattern_free(&p);
}

/* `kinds` different random rows of `per_row` columns, each `copies` times, dealt out in random order. */
static void make_copies(tri_pattern *out, int kinds, int copies, int32_t cols, double sparsity,
                        uint64_t seed) {
    tri_pattern kind;
    tri_random random;
    int rows = kinds * copies, *deck = malloc((size_t)rows * sizeof *deck);
    assert_int_equal(tri_pattern_random(&kind, kinds, cols, sparsity, seed), TRIAGE_OK);
    int32_t *row_ptr = calloc((size_t)rows + 1, 4);
    int32_t *col_idx = calloc((size_t)(kind.nnzb * copies), 4);
    tri_random_seed(&random, seed);
    for (int i = 0; i < rows; i++) {
        int j = (int)tri_random_below(&random, (uint64_t)i + 1);
        deck[i] = deck[j];
        deck[j] = i / copies;
    }
    for (int i = 0; i < rows; i++) {
        int32_t from = kind.row_ptr[deck[i]], count = kind.row_ptr[deck[i] + 1] - from;
        memcpy(col_idx + row_ptr[i], kind.col_idx + from, (size_t)count * 4);
        row_ptr[i + 1] = row_ptr[i] + count;
    }
    assert_int_equal(tri_pattern_copy(out, rows, cols, kind.nnzb * copies, row_ptr, col_idx), TRIAGE_OK);
    tri_pattern_free(&kind);
    free(row_ptr);
    free(col_idx);
    free(deck);
}

static void reorder_puts_identical_rows_together(void **state) {
    (void)state;
    const struct {
        int kinds, copies;
        int32_t cols, panel_rows;
        double sparsity;
    } cases[] = {{16, 4, 64, 4, 0.9},
                 {50, 2, 100, 2, 0.8},
                 {7, 8, 30, 4, 0.7},
                 {20, 8, 500, 8, 0.95},
                 {3, 400, 3000, 8, 0.5}}; /* the last: columns of more rows than a window */
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tri_pattern p;
        make_copies(&p, cases[i].kinds, cases[i].copies, cases[i].cols, cases[i].sparsity, 11);
        int64_t steps = build_and_check(&p, cases[i].panel_rows, true);
        assert_int_equal(steps * cases[i].panel_rows, p.nnzb); /* each step serves all rows of its panel */
        assert_true(steps < build_and_check(&p, cases[i].panel_rows, false));
        tri_pattern_free(&p);
    }
}

static void reorder_saves_steps_on_a_real_pattern(void **state) {
    (void)state;
    tri_pattern p;
    assert_int_equal(tri_pattern_read(&p, SMALL), TRIAGE_OK);
    int64_t plain = build_and_check(&p, 4, false), grouped = build_and_check(&p, 4, true);
    assert_true(grouped < 0.95 * (double)plain);
    tri_pattern_free(&p);
}

static void reorder_gives_the_same_order_each_time(void **state) {
    (void)state;
    tri_pattern p;
    tri_schedule a, b;
    assert_int_equal(tri_pattern_read(&p, SMALL), TRIAGE_OK);
    assert_int_equal(
        tri_schedule_build(&a, &p, &(tri_panel_shape){.rows = 4, .group = 1, .cluster = 1, .reorder = true}),
        TRIAGE_OK);
    assert_int_equal(
        tri_schedule_build(&b, &p, &(tri_panel_shape){.rows = 4, .group = 1, .cluster = 1, .reorder = true}),
        TRIAGE_OK);
    assert_memory_equal(a.row_order, b.row_order, (size_t)p.block_rows * 4);
    tri_schedule_free(&a);
    tri_schedule_free(&b);
    tri_pattern_free(&p);
}

/* 1000 dense rows, then the same number of empty ones: heavy panels come first, empty ones last. */
static void empty_rows_come_last(void **state) {
    (void)state;
    tri_pattern p;
    tri_schedule s;
    int32_t row_ptr[2001] = {0}, col_idx[2000];
    for (int i = 0; i < 2000; i++) {
        row_ptr[i + 1] = row_ptr[i] + 2 * (i % 2);
        col_idx[i] = i % 2;
    }
    assert_int_equal(tri_pattern_copy(&p, 2000, 3, 2000, row_ptr, col_idx), TRIAGE_OK);
    for (int reorder = 0; reorder < 2; reorder++) {
        assert_int_equal(
            tri_schedule_build(&s, &p,
                               &(tri_panel_shape){.rows = 4, .group = 1, .cluster = 1, .reorder = reorder}),
            TRIAGE_OK);
        assert_permutation(&s, &p);
        for (int i = 0; i < 1000; i++)
            assert_int_equal(length(&p, s.row_order[i]), 2);
        assert_int_equal(s.step_count, 500);
        tri_schedule_free(&s);
    }
    tri_pattern_free(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_go_longest_first),
        cmocka_unit_test(groups_are_whole),
        cmocka_unit_test(gathered_columns_are_the_needed_ones),
        cmocka_unit_test(the_deal_is_whole_and_even),
        cmocka_unit_test(the_deal_may_leave_workers_idle),
        cmocka_unit_test(the_deal_is_even_where_rounds_are_not_full),
        cmocka_unit_test(a_deal_of_many_units_is_level),
        cmocka_unit_test(workers_go_through_columns_together),
        cmocka_unit_test(long_and_short_panels_take_turns),
        cmocka_unit_test(bad_shapes_are_named),
        cmocka_unit_test(panels_hold_every_block_once),
        cmocka_unit_test(panels_of_a_known_pattern),
        cmocka_unit_test(refuses_panels_that_do_not_fit_the_mask),
        cmocka_unit_test(reorder_puts_identical_rows_together),
        cmocka_unit_test(reorder_saves_steps_on_a_real_pattern),
        cmocka_unit_test(reorder_gives_the_same_order_each_time),
        cmocka_unit_test(empty_rows_come_last),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
