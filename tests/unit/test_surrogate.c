#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "space/codes.h"
#include "space/likeness_fit.h"
#include "space/surrogate.h"

/* ---- a space of two axes of numbers, one of names, and a second kernel ---- */

#define SIDE 6
#define NAMES 3
#define FIRST_KERNEL (SIDE * SIDE * NAMES)
#define COUNT (FIRST_KERNEL + SIDE)
#define ROWS 12

typedef struct world {
    int32_t coordinates[COUNT * 4];
    int64_t numbers[SIDE];
    tri_scale scales[6];
    tri_configs configs;
    tri_random random;
    tri_surrogate *s;
} world;

static int setup(void **state) {
    world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    for (int32_t i = 0; i < FIRST_KERNEL; i++)
        memcpy(w->coordinates + 4 * i, (int32_t[]){0, i / NAMES / SIDE, i / NAMES % SIDE, i % NAMES},
               4 * sizeof *w->coordinates);
    for (int32_t i = 0; i < SIDE; i++) {
        memcpy(w->coordinates + 4 * (FIRST_KERNEL + i), (int32_t[]){1, i, -1, -1},
               4 * sizeof *w->coordinates);
        w->numbers[i] = 16 * (i + 1); /* 96 is beside 80, and 64 is a power of two */
    }
    w->scales[0] = w->scales[1] = w->scales[3] = (tri_scale){SIDE, w->numbers};
    w->scales[2] = (tri_scale){NAMES, NULL};
    w->configs = (tri_configs){
        .count = COUNT, .coordinates = w->coordinates, .axes = 4, .scales = w->scales, .scale_count = 6};
    tri_random_seed(&w->random, 7);
    assert_int_equal(tri_surrogate_open(&w->s, &w->configs, &w->random), TRIAGE_OK);
    *state = w;
    return 0;
}

static int teardown(void **state) {
    world *w = *state;
    tri_surrogate_free(w->s);
    free(w);
    return 0;
}

static const size_t asked[ROWS] = {0, 5, 17, 40, 41, 66, 90, 107, 33, 71, 108, 110};
static const double score[ROWS] = {-1.5, 0.2, 1, -0.7, -0.9, 0.4, 1.1, 0.3, -0.2, 0.1, 0.6, -0.4};

static void learn_in_order(tri_surrogate *s, const size_t *order, size_t told) {
    double scores[ROWS];
    for (size_t i = 0; i < ROWS; i++)
        assert_int_equal(tri_surrogate_ask(s, asked[i]), TRIAGE_OK);
    for (size_t i = 0; i < told; i++) {
        assert_int_equal(tri_surrogate_tell(s, asked[order[i]]), TRIAGE_OK);
        scores[i] = score[order[i]];
    }
    tri_surrogate_believe(s, scores);
}

/* ---- against the textbook: mean k' K^-1 y, variance 1 - k' K^-1 k, in double and by elimination ---- */

static double covariance(const world *w, const tri_likeness *likeness, size_t a, size_t b) {
    return (double)tri_likeness_of(likeness, w->coordinates + 4 * a, w->coordinates + 4 * b);
}

/* x := K^-1 x, of the first n asked points. */
static void solve(double *x, const world *w, const tri_likeness *likeness, const size_t *points, size_t n) {
    double k[ROWS][ROWS];
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            k[i][j] = covariance(w, likeness, points[i], points[j]) + (i == j ? 0.01 : 0);
    for (size_t i = 0; i < n; i++)
        for (size_t r = i + 1; r < n; r++) {
            const double by = k[r][i] / k[i][i];
            for (size_t j = i; j < n; j++)
                k[r][j] -= by * k[i][j];
            x[r] -= by * x[i];
        }
    for (size_t i = n; i-- > 0;) {
        for (size_t j = i + 1; j < n; j++)
            x[i] -= k[i][j] * x[j];
        x[i] /= k[i][i];
    }
}

static tri_belief textbook(const world *w, const tri_likeness *likeness, size_t point,
                           const size_t *told_points, const double *scores, size_t told) {
    double weights[ROWS], pulls[ROWS], mean = 0, variance = 1;
    memcpy(weights, scores, told * sizeof *weights);
    solve(weights, w, likeness, told_points, told);
    for (size_t i = 0; i < told; i++)
        mean += weights[i] * covariance(w, likeness, told_points[i], point);
    for (size_t i = 0; i < ROWS; i++)
        pulls[i] = covariance(w, likeness, asked[i], point);
    solve(pulls, w, likeness, asked, ROWS);
    for (size_t i = 0; i < ROWS; i++)
        variance -= pulls[i] * covariance(w, likeness, asked[i], point);
    return (tri_belief){.mean = mean, .deviation = sqrt(variance)};
}

/* scores: in the order of telling. */
static void assert_as_in_the_textbook(const world *w, const tri_likeness *likeness, const size_t *order,
                                      const double *scores, size_t told) {
    size_t points[ROWS];
    for (size_t i = 0; i < told; i++)
        points[i] = asked[order[i]];
    for (size_t point = 0; point < COUNT; point++) {
        const tri_belief wanted = textbook(w, likeness, point, points, scores, told);
        tri_belief is;
        assert_true(tri_surrogate_at(&is, w->s, point));
        assert_true(fabs(is.mean - wanted.mean) < 1e-4);
        assert_true(fabs(is.deviation - wanted.deviation) < 1e-3);
    }
}

/* Told in any order, some not at all: the mean is of those told, the deviation of all that are asked. */
static void believes_what_the_textbook_says(void **state) {
    static const size_t orders[][ROWS] = {{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11},
                                          {11, 4, 2, 0, 9, 1, 10, 3, 8, 7, 5, 6}};
    const size_t tolds[] = {ROWS, 7};
    for (size_t c = 0; c < 4; c++) {
        world *w = *state;
        double scores[ROWS];
        tri_likeness likeness;
        tri_surrogate_free(w->s);
        w->s = NULL;
        assert_int_equal(tri_surrogate_open(&w->s, &w->configs, &w->random), TRIAGE_OK);
        assert_int_equal(tri_likeness_open(&likeness, &w->configs), TRIAGE_OK);
        learn_in_order(w->s, orders[c / 2], tolds[c % 2]);
        for (size_t i = 0; i < ROWS; i++)
            scores[i] = score[orders[c / 2][i]];
        assert_as_in_the_textbook(w, &likeness, orders[c / 2], scores, tolds[c % 2]);
        tri_likeness_free(&likeness);
    }
}

/* After the axes are weighed anew, all rows are as if they had been so from the start. */
static void makes_its_rows_anew(void **state) {
    static const size_t order[ROWS] = {11, 4, 2, 0, 9, 1, 10, 3, 8, 7, 5, 6};
    world *w = *state;
    const size_t told = ROWS - 2;
    double scores[ROWS];
    tri_likeness likeness;
    tri_likeness_fit of = {.count = told, .noise = 0.01};
    for (size_t i = 0; i < told; i++) {
        of.points[i] = w->coordinates + 4 * asked[order[i]];
        of.scores[i] = scores[i] = of.points[i][2] % 2 ? 1 : -1; /* one axis decides */
    }
    assert_int_equal(tri_likeness_open(&likeness, &w->configs), TRIAGE_OK);
    assert_int_equal(tri_likeness_fit_weights(&likeness, &of), TRIAGE_OK);
    assert_true(tri_likeness_axis_of(&likeness, 0, 1)->weight > 1);
    learn_in_order(w->s, order, told);
    assert_int_equal(tri_surrogate_fit(w->s, scores), TRIAGE_OK);
    tri_surrogate_believe(w->s, scores);
    assert_as_in_the_textbook(w, &likeness, order, scores, told);
    tri_likeness_free(&likeness);
}

/* Failures and costs go by the same likeness; the mean stays as it is. */
static void believes_of_failures_and_costs_likewise(void **state) {
    static const size_t order[ROWS] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    static const double failures[ROWS] = {0, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 1};
    world *w = *state;
    tri_likeness likeness;
    tri_belief is;
    assert_int_equal(tri_likeness_open(&likeness, &w->configs), TRIAGE_OK);
    learn_in_order(w->s, order, ROWS);
    assert_true(tri_surrogate_at(&is, w->s, 20));
    assert_true(is.side[TRI_SIDE_FAILURE] == 0 && is.side[TRI_SIDE_COST] == 0);
    assert_int_equal(tri_surrogate_believe_side(w->s, TRI_SIDE_FAILURE, failures), TRIAGE_OK);
    assert_int_equal(tri_surrogate_believe_side(w->s, TRI_SIDE_COST, score), TRIAGE_OK);
    assert_as_in_the_textbook(w, &likeness, order, score, ROWS);
    for (size_t point = 0; point < COUNT; point++) {
        assert_true(tri_surrogate_at(&is, w->s, point));
        assert_true(fabs(is.side[TRI_SIDE_FAILURE] -
                         textbook(w, &likeness, point, asked, failures, ROWS).mean) < 1e-4);
        assert_true(fabs(is.side[TRI_SIDE_COST] - is.mean) < 1e-4);
    }
    tri_likeness_free(&likeness);
}

/* ---- choosing ---- */

/* Of two that are as good, the one that is not like a failure, and the cheaper one. */
static void chooses_what_works_and_is_cheap(void **state) {
    static const double equal[2] = {0, 0}, second[2] = {0, 1}, first[2] = {1, 0};
    static const tri_surrogate_rule rules[] = {TRI_CHOOSE_BOUND, TRI_CHOOSE_GAIN};
    for (size_t i = 0; i < 4; i++) {
        const tri_surrogate_side side = i < 2 ? TRI_SIDE_FAILURE : TRI_SIDE_COST;
        world *w = *state;
        double value = 0;
        tri_surrogate_free(w->s);
        w->s = NULL;
        assert_int_equal(tri_surrogate_open(&w->s, &w->configs, &w->random), TRIAGE_OK);
        for (size_t j = 0; j < 2; j++) { /* one of each kernel */
            assert_int_equal(tri_surrogate_ask(w->s, j * FIRST_KERNEL), TRIAGE_OK);
            assert_int_equal(tri_surrogate_tell(w->s, j * FIRST_KERNEL), TRIAGE_OK);
        }
        tri_surrogate_believe(w->s, equal);
        for (size_t bad = 0; bad < 2; bad++) {
            assert_int_equal(tri_surrogate_believe_side(w->s, side, bad ? second : first), TRIAGE_OK);
            const int64_t chosen = tri_surrogate_choose(&value, w->s, rules[i % 2], 0);
            tri_belief is;
            assert_true(tri_surrogate_at(&is, w->s, (size_t)chosen));
            assert_true(is.side[side] < 0.5);
        }
    }
}

static void chooses_by_its_rule_and_never_what_is_asked(void **state) {
    world *w = *state;
    tri_belief least, is;
    double value = 0;
    learn_in_order(w->s, (size_t[]){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, ROWS);
    const int64_t chosen = tri_surrogate_choose(&value, w->s, TRI_CHOOSE_BOUND, 0);
    assert_in_range(chosen, 0, COUNT - 1);
    assert_true(tri_surrogate_at(&least, w->s, (size_t)chosen));
    assert_true(fabs(value + least.mean) < 1e-12);
    for (size_t point = 0; point < COUNT; point++) {
        bool is_asked = false;
        for (size_t i = 0; i < ROWS; i++)
            is_asked = is_asked || asked[i] == point;
        assert_true(tri_surrogate_at(&is, w->s, point));
        assert_true(is_asked || is.mean >= least.mean);
        assert_false(is_asked && (int64_t)point == chosen);
    }
    for (size_t i = ROWS; i < COUNT; i++) {
        const int64_t point = tri_surrogate_choose(&value, w->s, TRI_CHOOSE_GAIN, -1);
        assert_in_range(point, 0, COUNT - 1);
        assert_int_equal(tri_surrogate_ask(w->s, (size_t)point), TRIAGE_OK);
    }
    assert_int_equal(tri_surrogate_choose(&value, w->s, TRI_CHOOSE_BOUND, 2), -1);
    assert_int_equal(tri_surrogate_choose(&value, w->s, TRI_CHOOSE_SPREAD, 20), -1);
}

static void refuses_what_it_was_not_asked(void **state) {
    world *w = *state;
    assert_int_equal(tri_surrogate_ask(w->s, 3), TRIAGE_OK);
    assert_int_equal(tri_surrogate_ask(w->s, 3), TRIAGE_E_INVALID);
    assert_int_equal(tri_surrogate_ask(w->s, COUNT), TRIAGE_E_INVALID);
    assert_int_equal(tri_surrogate_tell(w->s, 4), TRIAGE_E_INVALID);
    assert_int_equal(tri_surrogate_tell(w->s, 3), TRIAGE_OK);
    assert_int_equal(tri_surrogate_tell(w->s, 3), TRIAGE_E_INVALID);
}

/* ---- likeness ---- */

static void likeness_knows_factors_and_names(void **state) {
    world *w = *state;
    tri_likeness likeness;
    assert_int_equal(tri_likeness_open(&likeness, &w->configs), TRIAGE_OK);
    const tri_likeness_axis *numbers = tri_likeness_axis_of(&likeness, 0, 0),
                            *names = tri_likeness_axis_of(&likeness, 0, 2);
    assert_true(tri_likeness_apart(numbers, 1, 1) == 0);
    /* 16 32 48 64 80 96: 32 is as far from 16 as from 48, and more alike to 16, a power of two, too */
    assert_true(tri_likeness_apart(numbers, 1, 0) < tri_likeness_apart(numbers, 1, 2));
    assert_true(tri_likeness_apart(numbers, 0, 5) > tri_likeness_apart(numbers, 0, 1));
    assert_true(tri_likeness_apart(names, 0, 1) == tri_likeness_apart(names, 0, 2));
    assert_true(covariance(w, &likeness, 0, FIRST_KERNEL) == 0);
    tri_likeness_free(&likeness);
}

#define WIDE_AXES 5
#define WIDE_COUNT 300

/* Axes of 12 values and one that only the first kernel has: more than one group. */
static void codes_say_the_distances(void **state) {
    (void)state;
    int32_t coordinates[WIDE_COUNT][1 + WIDE_AXES];
    float squared[WIDE_COUNT];
    tri_random random;
    tri_likeness likeness;
    tri_codes codes;
    tri_random_seed(&random, 3);
    for (size_t i = 0; i < WIDE_COUNT; i++) {
        coordinates[i][0] = i % 3 == 0;
        for (size_t j = 1; j <= WIDE_AXES; j++)
            coordinates[i][j] = (int32_t)tri_random_below(&random, 12);
        if (i % 3 == 0)
            coordinates[i][WIDE_AXES] = -1;
    }
    const tri_configs configs = {.count = WIDE_COUNT, .coordinates = coordinates[0], .axes = 1 + WIDE_AXES};
    assert_int_equal(tri_likeness_open(&likeness, &configs), TRIAGE_OK);
    tri_likeness_axis_of(&likeness, 0, 1)->weight = 3;
    assert_int_equal(tri_codes_open(&codes, &likeness, WIDE_COUNT), TRIAGE_OK);
    assert_in_range(codes.groups, 2, WIDE_AXES);
    for (size_t i = 0; i < WIDE_COUNT; i++)
        tri_codes_place(&codes, i, coordinates[i]);
    for (size_t i = 0; i < 6; i++) {
        tri_codes_distances(squared, &codes, &likeness, coordinates[i]);
        for (size_t j = 0; j < WIDE_COUNT; j++)
            if (coordinates[j][0] == coordinates[i][0])
                assert_true(fabsf(tri_likeness_of_distance(squared[j]) -
                                  tri_likeness_of(&likeness, coordinates[i], coordinates[j])) < 1e-5F);
    }
    tri_codes_free(&codes);
    tri_likeness_free(&likeness);
}

/* Matern 5/2 as the textbook has it. */
static void likeness_falls_with_distance(void **state) {
    (void)state;
    for (int step = 0; step < 6000; step++) {
        const double squared = step / 100.0, r = sqrt(5 * squared), wanted = (1 + r + r * r / 3) * exp(-r);
        assert_true(fabs((double)tri_likeness_of_distance((float)squared) - wanted) < 3e-5);
    }
}

/* Scores that one axis decides: the others come to weigh less than it. */
static void weighs_what_matters(void **state) {
    world *w = *state;
    tri_likeness likeness;
    tri_likeness_fit of = {.noise = 0.01};
    assert_int_equal(tri_likeness_open(&likeness, &w->configs), TRIAGE_OK);
    for (size_t i = 0; i < 36; i++) {
        of.points[i] = w->coordinates + 4 * (i * 3);
        of.scores[i] = of.points[i][1] % 2 ? 1 : -1;
    }
    of.count = 36;
    assert_int_equal(tri_likeness_fit_weights(&likeness, &of), TRIAGE_OK);
    assert_true(tri_likeness_axis_of(&likeness, 0, 0)->weight > 1);
    assert_true(tri_likeness_axis_of(&likeness, 0, 1)->weight < 1);
    assert_true(tri_likeness_axis_of(&likeness, 1, 0)->weight == 1);
    tri_likeness_free(&likeness);
}

/* What was learnt elsewhere is expected here, less sure of itself, until results say otherwise. */
static void inherits_an_expectation(void **state) {
    world *w = *state;
    tri_belief before, after, misled;
    learn_in_order(w->s, (size_t[]){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, ROWS);
    assert_true(tri_surrogate_at(&before, w->s, 1));
    assert_int_equal(tri_surrogate_inherit(w->s), TRIAGE_OK);
    assert_int_equal(tri_surrogate_told(w->s), 0);
    tri_surrogate_believe(w->s, NULL);
    assert_true(tri_surrogate_at(&after, w->s, 1));
    assert_true(before.mean < 0 && after.mean < 0 && after.mean > before.mean);
    assert_true(after.deviation > 1);
    static const size_t others[] = {0, 17, 40, 41, 90};
    static const double contrary[] = {1.5, -1, 0.7, 0.9, -1.1};
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(tri_surrogate_ask(w->s, others[i]), TRIAGE_OK);
        assert_int_equal(tri_surrogate_tell(w->s, others[i]), TRIAGE_OK);
    }
    tri_surrogate_believe(w->s, contrary);
    assert_true(tri_surrogate_at(&misled, w->s, 1));
    assert_true(misled.mean > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(believes_what_the_textbook_says, setup, teardown),
        cmocka_unit_test_setup_teardown(makes_its_rows_anew, setup, teardown),
        cmocka_unit_test(codes_say_the_distances),
        cmocka_unit_test(likeness_falls_with_distance),
        cmocka_unit_test_setup_teardown(believes_of_failures_and_costs_likewise, setup, teardown),
        cmocka_unit_test_setup_teardown(chooses_what_works_and_is_cheap, setup, teardown),
        cmocka_unit_test_setup_teardown(chooses_by_its_rule_and_never_what_is_asked, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_what_it_was_not_asked, setup, teardown),
        cmocka_unit_test_setup_teardown(likeness_knows_factors_and_names, setup, teardown),
        cmocka_unit_test_setup_teardown(weighs_what_matters, setup, teardown),
        cmocka_unit_test_setup_teardown(inherits_an_expectation, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
