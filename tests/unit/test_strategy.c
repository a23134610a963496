// links: base problem space
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "space/space.h"

#define STRATEGIES TRI_SOURCE_DIR "/tests/data/strategies/"
#define REPLAY TRI_SOURCE_DIR "/tests/data/replay/conv_a4000.csv"
#define SEEDS 20

/* ---- a recorded tuning space as tri_configs, its times beside it ---- */

typedef struct replay {
    tri_configs configs;
    double *median_ns; /* negative: failed */
    double best_ns;
} replay;

#define AXES 7

static int by_value(const void *a, const void *b) {
    return *(const int32_t *)a - *(const int32_t *)b;
}

/* Values of one column become their ranks. */
static void rank_column(tri_configs *configs, size_t column) {
    int32_t *values = calloc(configs->count, sizeof *values);
    size_t distinct = 0;
    assert_non_null(values);
    for (size_t i = 0; i < configs->count; i++)
        values[i] = configs->coordinates[i * configs->axes + column];
    qsort(values, configs->count, sizeof *values, by_value);
    for (size_t i = 0; i < configs->count; i++)
        if (i == 0 || values[i] != values[distinct - 1])
            values[distinct++] = values[i];
    for (size_t i = 0; i < configs->count; i++) {
        int32_t *cell = &configs->coordinates[i * configs->axes + column];
        const int32_t *found = bsearch(cell, values, distinct, sizeof *values, by_value);
        *cell = (int32_t)(found - values);
    }
    free(values);
}

static void read_row(replay *data, char *line, size_t row) {
    int32_t *cells = data->configs.coordinates + row * data->configs.axes;
    for (size_t i = 1; i <= AXES; i++) {
        cells[i] = (int32_t)strtol(line, &line, 10);
        assert_int_equal(*line++, ',');
    }
    data->median_ns[row] = *line ? strtod(line, NULL) * 1e6 : -1;
    if (data->median_ns[row] > 0 && data->median_ns[row] < data->best_ns)
        data->best_ns = data->median_ns[row];
}

static size_t count_lines(const char *text) {
    size_t lines = 0;
    for (; *text; text++)
        lines += *text == '\n';
    return lines;
}

static int open_replay(void **state) {
    static replay data = {.best_ns = 1e300};
    char *text = NULL, *rest = NULL;
    size_t row = 0;
    assert_int_equal(tri_file_read(&text, NULL, REPLAY, 0), TRIAGE_OK);
    data.configs.count = count_lines(text) - 1;
    data.configs.axes = AXES + 1;
    data.configs.default_index = data.configs.count / 2;
    data.configs.coordinates = calloc(data.configs.count * data.configs.axes, sizeof(int32_t));
    data.median_ns = calloc(data.configs.count, sizeof *data.median_ns);
    assert_true(data.configs.coordinates && data.median_ns);
    (void)strtok_r(text, "\n", &rest);
    for (char *line; (line = strtok_r(NULL, "\n", &rest)); row++)
        read_row(&data, line, row);
    assert_int_equal(row, data.configs.count);
    for (size_t i = 1; i <= AXES; i++)
        rank_column(&data.configs, i);
    free(text);
    *state = &data;
    return 0;
}

static int close_replay(void **state) {
    replay *data = *state;
    free(data->configs.coordinates);
    free(data->median_ns);
    return 0;
}

/* ---- a run: up to `ahead` proposals outstanding, results told in the order of the proposals ---- */

typedef struct run {
    int64_t *proposals; /* in order */
    size_t count;
    double best_ns;
} run;

static void tell_oldest(tri_strategy *strategy, run *out, const replay *data, size_t *told) {
    int64_t index = out->proposals[(*told)++];
    double ns = data->median_ns[index];
    if (ns >= 0 && ns < out->best_ns)
        out->best_ns = ns;
    assert_int_equal(tri_strategy_tell(strategy, index, ns), TRIAGE_OK);
}

static run run_knowing(const replay *data, const char *name, const tri_strategy_options *options,
                       size_t ahead) {
    tri_strategy *strategy = NULL;
    run out = {calloc(data->configs.count + 1, sizeof(int64_t)), 0, 1e300};
    size_t told = 0;
    assert_non_null(out.proposals);
    if (tri_strategy_open(&strategy, name, &data->configs, options) != TRIAGE_OK)
        fail_msg("%s", triage_last_error());
    for (;;) {
        int64_t index = -1;
        bool waiting = false;
        if (out.count - told < ahead && tri_strategy_next(&index, &waiting, strategy) != TRIAGE_OK)
            fail_msg("%s", triage_last_error());
        if (index >= 0)
            out.proposals[out.count++] = index;
        else if (told < out.count)
            tell_oldest(strategy, &out, data, &told);
        else
            break;
    }
    assert_false(told < out.count);
    tri_strategy_free(strategy);
    return out;
}

static run run_strategy(const replay *data, const char *name, uint64_t seed, size_t budget, size_t ahead) {
    return run_knowing(data, name,
                       &(tri_strategy_options){.data_dir = TRI_SOURCE_DIR, .seed = seed, .budget = budget},
                       ahead);
}

/* Each at most once; the whole space if count is its size. */
static void assert_distinct(const run *out, size_t size) {
    bool *seen = calloc(size, 1);
    assert_non_null(seen);
    for (size_t i = 0; i < out->count; i++) {
        assert_in_range(out->proposals[i], 0, size - 1);
        assert_false(seen[out->proposals[i]]);
        seen[out->proposals[i]] = true;
    }
    free(seen);
}

/* ---- every strategy ---- */

static const tri_strategy_options plain = {.data_dir = TRI_SOURCE_DIR, .seed = 1};

static void assert_message(const char *part) {
    if (!strstr(triage_last_error(), part))
        fail_msg("the message is: %s\nand lacks:      %s", triage_last_error(), part);
}

static const char *const names[] = {"exhaustive", "random", "local"};
#define NAMES (sizeof names / sizeof names[0])

static void begins_with_the_default_and_covers_everything(void **state) {
    const replay *data = *state;
    for (size_t i = 0; i < NAMES; i++)
        for (size_t ahead = 1; ahead <= 16; ahead += 15) {
            run out = run_strategy(data, names[i], 1, 0, ahead);
            assert_int_equal(out.count, data->configs.count);
            assert_int_equal(out.proposals[0], data->configs.default_index);
            assert_distinct(&out, data->configs.count);
            assert_true(out.best_ns <= data->best_ns);
            free(out.proposals);
        }
}

static void stays_within_the_budget(void **state) {
    const replay *data = *state;
    static const size_t budgets[] = {1, 2, 7, 100};
    for (size_t i = 0; i < NAMES; i++)
        for (size_t j = 0; j < sizeof budgets / sizeof budgets[0]; j++) {
            run out = run_strategy(data, names[i], 3, budgets[j], 4);
            assert_int_equal(out.count, budgets[j]);
            assert_distinct(&out, data->configs.count);
            free(out.proposals);
        }
}

static void repeats_itself_with_the_same_seed(void **state) {
    const replay *data = *state;
    for (size_t i = 0; i < NAMES; i++) {
        run a = run_strategy(data, names[i], 42, 300, 5), b = run_strategy(data, names[i], 42, 300, 5);
        run c = run_strategy(data, names[i], 43, 300, 5);
        assert_memory_equal(a.proposals, b.proposals, 300 * sizeof *a.proposals);
        bool differs = memcmp(a.proposals, c.proposals, 300 * sizeof *a.proposals) != 0;
        assert_int_equal(differs, strcmp(names[i], "exhaustive") != 0);
        free(a.proposals);
        free(b.proposals);
        free(c.proposals);
    }
}

static void exhaustive_keeps_the_order_of_the_file(void **state) {
    (void)state;
    int32_t coordinates[] = {0, 0, 1, 0, 2, 0, 3, 0};
    replay data = {{NULL, 4, 2, coordinates, 2}, (double[]){4, 3, 2, 1}, 1};
    run out = run_strategy(&data, "exhaustive", 0, 0, 1);
    assert_int_equal(out.count, 4);
    assert_memory_equal(out.proposals, ((int64_t[]){2, 0, 1, 3}), 4 * sizeof(int64_t));
    free(out.proposals);
}

/* ---- what the local search is for ---- */

/* A tenth of the space: within 10 % of the best on at least 9 of 10 seeds, and better than random. */
static void local_finds_what_random_misses(void **state) {
    const replay *data = *state;
    static const size_t aheads[] = {1, 16};
    for (size_t i = 0; i < sizeof aheads / sizeof aheads[0]; i++) {
        double local_sum = 0, random_sum = 0;
        int near = 0;
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            run local = run_strategy(data, "local", seed, data->configs.count / 10, aheads[i]);
            run random = run_strategy(data, "random", seed, data->configs.count / 10, aheads[i]);
            local_sum += local.best_ns / data->best_ns;
            random_sum += random.best_ns / data->best_ns;
            near += local.best_ns <= 1.1 * data->best_ns;
            free(local.proposals);
            free(random.proposals);
        }
        assert_true(near >= SEEDS * 9 / 10);
        assert_true(local_sum < random_sum);
    }
}

/* Only one of a hundred works: no time to follow, none to crash on. */
static void copes_with_failures(void **state) {
    const replay *data = *state;
    replay broken = *data;
    broken.median_ns = calloc(data->configs.count, sizeof(double));
    assert_non_null(broken.median_ns);
    for (size_t i = 0; i < data->configs.count; i++)
        broken.median_ns[i] = i % 100 == 7 ? data->median_ns[i] : -1;
    for (size_t i = 0; i < NAMES; i++) {
        run out = run_strategy(&broken, names[i], 5, 0, 16);
        assert_int_equal(out.count, data->configs.count);
        assert_distinct(&out, data->configs.count);
        free(out.proposals);
    }
    free(broken.median_ns);
}

static void copes_with_tiny_spaces(void **state) {
    (void)state;
    int32_t coordinates[] = {0, 0, 1, -1};
    for (size_t count = 1; count <= 2; count++)
        for (size_t i = 0; i < NAMES; i++) {
            replay data = {{NULL, count, count - 1, coordinates, 2}, (double[]){-1, -1}, 1};
            run out = run_strategy(&data, names[i], 1, 0, 3);
            assert_int_equal(out.count, count);
            assert_int_equal(out.proposals[0], count - 1);
            free(out.proposals);
        }
}

/* ---- what near problems teach ---- */

/* A number that stands for an order. */
static uint64_t order_of(const run *out) {
    uint64_t sum = 0;
    for (size_t i = 0; i < out->count; i++)
        sum = sum * UINT64_C(6364136223846793005) + (uint64_t)out->proposals[i] + 1;
    return sum;
}

/* The orders of the recorded space before strategies were told what is known. */
static void without_evidence_the_order_is_what_it_was(void **state) {
    const replay *data = *state;
    static const uint64_t wanted[NAMES] = {UINT64_C(17254918303521922631), UINT64_C(8748591752573334455),
                                           UINT64_C(5285073314925181191)};
    for (size_t i = 0; i < NAMES; i++) {
        run out = run_strategy(data, names[i], 7, 0, 4);
        assert_int_equal(out.count, data->configs.count);
        assert_true(order_of(&out) == wanted[i]);
        free(out.proposals);
    }
}

/* Some of them twice, and the default among them. */
static void begins_with_what_is_known(void **state) {
    const replay *data = *state;
    const size_t standard = data->configs.default_index;
    const size_t known[] = {17, 4000, 17, standard, 0, 4361};
    const int64_t wanted[] = {(int64_t)standard, 17, 4000, 0, 4361};
    static const size_t budgets[] = {0, 3, 5, 40};
    for (size_t i = 0; i < NAMES; i++)
        for (size_t j = 0; j < sizeof budgets / sizeof budgets[0]; j++) {
            const tri_strategy_options options = {.data_dir = TRI_SOURCE_DIR,
                                                  .seed = 2,
                                                  .budget = budgets[j],
                                                  .known = known,
                                                  .known_count = 6};
            run out = run_knowing(data, names[i], &options, j == 0 ? 16 : 1);
            const size_t size = budgets[j] ? budgets[j] : data->configs.count;
            assert_int_equal(out.count, size);
            assert_distinct(&out, data->configs.count);
            assert_memory_equal(out.proposals, wanted, (size < 5 ? size : 5) * sizeof *wanted);
            free(out.proposals);
        }
}

static void refuses_what_it_cannot_know(void **state) {
    const replay *data = *state;
    tri_strategy *strategy = NULL;
    const size_t known[] = {3, data->configs.count};
    const tri_strategy_options options = {.data_dir = TRI_SOURCE_DIR, .known = known, .known_count = 2};
    assert_int_equal(tri_strategy_open(&strategy, "random", &data->configs, &options), TRIAGE_E_INVALID);
    assert_message("a known configuration 4362: allowed are 0 .. 4361");
    assert_null(strategy);
}

/* ---- strategies that misbehave ---- */

static void refuses_what_misbehaves(void **state) {
    const replay *data = *state;
    static const struct {
        const char *path, *part;
    } cases[] = {
        {STRATEGIES "twice.lua", "twice.lua:1: configuration 1 is proposed twice"},
        {STRATEGIES "outside.lua", "outside.lua:1: next must return a number 1 .. 4362 or nil, not 4363"},
        {STRATEGIES "waits.lua", "waits.lua: waits for a result, but none is outstanding"},
        {STRATEGIES "endless.lua", "endless.lua:3: ran more than"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tri_strategy *strategy = NULL;
        int64_t index;
        bool waiting;
        assert_int_equal(tri_strategy_open(&strategy, cases[i].path, &data->configs, &plain), TRIAGE_OK);
        triage_status status = tri_strategy_next(&index, &waiting, strategy);
        if (status == TRIAGE_OK)
            status = tri_strategy_next(&index, &waiting, strategy);
        assert_int_equal(status, TRIAGE_E_DATA);
        assert_message(cases[i].part);
        tri_strategy_free(strategy);
    }
}

static void refuses_what_is_no_strategy(void **state) {
    const replay *data = *state;
    tri_strategy *strategy = NULL;
    assert_int_equal(tri_strategy_open(&strategy, "annealing", &data->configs, &plain), TRIAGE_E_INVALID);
    assert_message("there is no strategy 'annealing': exhaustive, random, local");
    assert_int_equal(tri_strategy_open(&strategy, STRATEGIES "mute.lua", &data->configs, &plain),
                     TRIAGE_E_DATA);
    assert_message("tell is missing");
    assert_null(strategy);
}

static void refuses_results_that_nobody_awaits(void **state) {
    const replay *data = *state;
    tri_strategy *strategy = NULL;
    int64_t index;
    bool waiting;
    assert_int_equal(tri_strategy_open(&strategy, "local", &data->configs, &plain), TRIAGE_OK);
    assert_int_equal(tri_strategy_tell(strategy, 5, 1.0), TRIAGE_E_INVALID);
    assert_int_equal(tri_strategy_tell(strategy, -1, 1.0), TRIAGE_E_INVALID);
    assert_int_equal(tri_strategy_next(&index, &waiting, strategy), TRIAGE_OK);
    assert_int_equal(tri_strategy_tell(strategy, index, 1.0), TRIAGE_OK);
    assert_int_equal(tri_strategy_tell(strategy, index, 1.0), TRIAGE_E_INVALID);
    tri_strategy_free(strategy);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(begins_with_the_default_and_covers_everything),
        cmocka_unit_test(stays_within_the_budget),
        cmocka_unit_test(repeats_itself_with_the_same_seed),
        cmocka_unit_test(exhaustive_keeps_the_order_of_the_file),
        cmocka_unit_test(local_finds_what_random_misses),
        cmocka_unit_test(copes_with_failures),
        cmocka_unit_test(copes_with_tiny_spaces),
        cmocka_unit_test(without_evidence_the_order_is_what_it_was),
        cmocka_unit_test(begins_with_what_is_known),
        cmocka_unit_test(refuses_what_it_cannot_know),
        cmocka_unit_test(refuses_what_misbehaves),
        cmocka_unit_test(refuses_what_is_no_strategy),
        cmocka_unit_test(refuses_results_that_nobody_awaits),
    };
    return cmocka_run_group_tests(tests, open_replay, close_replay);
}
