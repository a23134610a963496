/* The contest of triage_bench on the host: who is not right gets no number, whoever fails is out with a reason.
 * The contest's files are the program's, in no library, so they are included here. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "op/bsr_gemm/bsr_gemm.h"
#include "cli/bench/bench.h"
#include "../../src/cli/bench/arena.c"
#include "../../src/cli/bench/contest.c"
#include "../../src/cli/bench/limit.c"
#include "support/bsr_of.h"
#include "support/scratch.h"

/* ---- a world: a small problem on the host ---- */

static triage_context *context;
static tri_arena arena;
static tri_stopwatch *watch;

/* Instead of cli_bench_watch.c, whose statics have the names of other files'. */
struct tri_stopwatch {
    int timings;
};
void *tri_stopwatch_stream(const tri_stopwatch *self) {
    (void)self;
    return NULL;
}
triage_status tri_stopwatch_time(double *ns, tri_stopwatch *self, tri_timed_fn call, void *user) {
    self->timings++;
    *ns = 1000 + self->timings % 3;
    return call(user);
}

static int open_world(void **state) {
    (void)state;
    static tri_stopwatch still;
    triage_context_options options = TRIAGE_CONTEXT_OPTIONS_INIT;
    tri_pattern pattern = {0};
    tri_problem problem = tri_bsr_problem_of(
        (tri_bsr_problem){.m = 96, .n = 40, .k = 128, .ldb = 40, .ldc = 40, .block_m = 32, .block_k = 32});
    watch = &still;
    options.device = "host";
    if (triage_context_open(&context, &options) != TRIAGE_OK ||
        tri_pattern_random(&pattern, 3, 4, 0.5, 1) != TRIAGE_OK)
        return -1;
    bsr_of(&problem)->nnzb = pattern.nnzb;
    tri_fingerprint_of(&bsr_of(&problem)->fingerprint, &pattern);
    triage_status status = tri_arena_open(&arena, context, &problem, &pattern, 1);
    if (status != TRIAGE_OK)
        fail_msg("%s", triage_last_error());
    return 0;
}

static int close_world(void **state) {
    (void)state;
    tri_arena_close(&arena);
    triage_context_free(context);
    return 0;
}

/* ---- contestants: the right product, and then something is done to it ---- */

typedef enum misdeed { HONEST, LAZY, ROUGH, ONE_ELEMENT, ONE_NAN, TIRED, REFUSING, FAILING } misdeed;
typedef struct player {
    misdeed misdeed;
    int calls;
} player;
static player players[8];

static triage_status open_as(void **out, misdeed wanted) {
    players[wanted] = (player){wanted, 0};
    *out = &players[wanted];
    return TRIAGE_OK;
}

static triage_status play(void *user) {
    player *self = user;
    float *c = arena.c_dense.data;
    const triage_dense *b = &arena.b_dense;
    self->calls++;
    if (self->misdeed == FAILING)
        return tri_fail(TRIAGE_E_DEVICE, "out of breath");
    if (self->misdeed == LAZY || (self->misdeed == TIRED && self->calls > 5))
        return TRIAGE_OK; /* leaves what is there */
    triage_status status = triage_bsr_gemm(context, 1, arena.a, b, 0, &arena.c_dense, NULL, NULL);
    for (size_t i = 0; self->misdeed == ROUGH && i < arena.c_bytes / 4; i++)
        c[i] *= 1 + (i % 2 ? 1e-3f : -1e-3f);
    if (self->misdeed == ONE_ELEMENT)
        c[41] += 100;
    if (self->misdeed == ONE_NAN)
        c[3839] = NAN;
    return status;
}

static void leave(void *state) {
    ((player *)state)->calls = -1;
}

#define OPENER(name, wanted)                                                                                 \
    static triage_status name(void **out, char detail[256], const tri_arena *in, void *stream) {             \
        (void)in, (void)stream;                                                                              \
        snprintf(detail, 256, "player %d", wanted);                                                          \
        return wanted == REFUSING ? tri_fail(TRIAGE_E_UNSUPPORTED, "not today") : open_as(out, wanted);      \
    }
OPENER(open_honest, HONEST)
OPENER(open_lazy, LAZY)
OPENER(open_rough, ROUGH)
OPENER(open_one_element, ONE_ELEMENT)
OPENER(open_one_nan, ONE_NAN)
OPENER(open_tired, TIRED)
OPENER(open_refusing, REFUSING)
OPENER(open_failing, FAILING)

static void hold(tri_contestant *out, triage_status (*open)(void **, char *, const tri_arena *, void *)) {
    static tri_contestant_type types[2];
    static const int quiet = 0;
    types[0] = (tri_contestant_type){.name = "honest", .open = open_honest, .run = play, .close = leave};
    types[1] = (tri_contestant_type){.name = "other", .open = open, .run = play, .close = leave};
    out[0] = (tri_contestant){.type = &types[0]};
    out[1] = (tri_contestant){.type = &types[1]};
    triage_status status = tri_contest(out, 2, &arena, watch, 6, 1, &quiet);
    if (status != TRIAGE_OK)
        fail_msg("%s", triage_last_error());
    assert_int_equal(out[0].standing, TRI_VERIFIED); /* whatever the other one did */
    assert_int_equal(out[0].timing.samples, 6);
}

static void expect(triage_status (*open)(void **, char *, const tri_arena *, void *),
                   tri_contest_result standing, bool timed) {
    tri_contestant pair[2];
    hold(pair, open);
    if (pair[1].standing != standing)
        fail_msg("standing %d instead of %d: %s", pair[1].standing, standing, pair[1].reason);
    assert_true((pair[1].reason[0] == '\0') == (standing == TRI_VERIFIED));
    assert_true((pair[1].timing.median_ns > 0) == timed);
    tri_contestants_close(pair, 2);
}

static void the_right_product_is_verified(void **state) {
    (void)state;
    expect(open_honest, TRI_VERIFIED, true);
}

static void who_writes_nothing_is_wrong(void **state) {
    (void)state;
    expect(open_lazy, TRI_WRONG_SUM, false);
}

static void a_rough_sum_is_marked_not_hidden(void **state) {
    (void)state;
    expect(open_rough, TRI_OVER_BOUND, true);
}

static void one_wrong_element_is_wrong(void **state) {
    (void)state;
    expect(open_one_element, TRI_WRONG_SUM, false);
}

static void one_nan_is_wrong(void **state) {
    (void)state;
    expect(open_one_nan, TRI_WRONG_SUM, false);
}

/* Right when it was looked at first, and not in the last timed round. */
static void the_timed_result_counts(void **state) {
    (void)state;
    expect(open_tired, TRI_WRONG_SUM, false);
}

static void a_refusal_is_an_absence(void **state) {
    (void)state;
    tri_contestant pair[2];
    hold(pair, open_refusing);
    assert_int_equal(pair[1].standing, TRI_ABSENT);
    assert_string_equal(pair[1].reason, "not today");
    tri_contestants_close(pair, 2);
    hold(pair, open_failing);
    assert_int_equal(pair[1].standing, TRI_ABSENT);
    assert_string_equal(pair[1].reason, "out of breath");
    tri_contestants_close(pair, 2);
}

/* ---- the limit ---- */

static const tri_device_info h200 = {
    .cc = 90, .sm_count = 132, .clock_khz = 1980000, .memory_clock_khz = 3201000, .memory_bus_bits = 6016};

static tri_problem cube(int64_t size, int block, double density) {
    int64_t blocks = size / block;
    return tri_bsr_problem_of(
        (tri_bsr_problem){.in_type = TRIAGE_F16,
                          .out_type = TRIAGE_F16,
                          .m = size,
                          .n = size,
                          .k = size,
                          .ldb = size,
                          .ldc = size,
                          .block_m = block,
                          .block_k = block,
                          .nnzb = (int64_t)((double)(blocks * blocks) * density + 0.5)});
}

/* 1070 TFLOP/s and 4.81 TB/s, counted by hand. */
static void the_limit_is_the_longer_of_two_times(void **state) {
    (void)state;
    tri_limit limit;
    tri_ceilings none = {0};
    tri_problem problem = cube(8192, 64, 0.1);
    tri_limit_of(&limit, &problem, &h200, &none);
    assert_float_equal(limit.flops_per_s / 1e12, 1070.5, 0.1);
    assert_float_equal(limit.bytes_per_s / 1e12, 4.814, 0.001);
    assert_float_equal(limit.compute_ns, 2.0 * 1638 * 64 * 64 * 8192 / 1070.53e3, 10);
    assert_float_equal(limit.memory_ns, tri_problem_bytes(&problem) / 4814.3, 10);
    assert_string_equal(limit.bound, "compute");
    assert_float_equal(limit.ns, limit.compute_ns, 0);
    problem = cube(8192, 64, 0.02);
    tri_limit_of(&limit, &problem, &h200, &none);
    assert_string_equal(limit.bound, "memory");
    assert_float_equal(limit.ns, limit.memory_ns, 0);
    assert_string_equal(limit.source, "documented");
}

static void stated_ceilings_go_first(void **state) {
    (void)state;
    tri_limit limit;
    tri_ceilings measured = {636e12, 4.25e12};
    tri_problem problem = cube(8192, 128, 0.1);
    tri_limit_of(&limit, &problem, &h200, &measured);
    assert_string_equal(limit.source, "stated");
    assert_float_equal(limit.ns, tri_problem_flops(&problem) / 636e3, 1);
    assert_float_equal(limit.memory_ns, tri_problem_bytes(&problem) / 4250, 1);
}

/* Half a bound would make a kernel look better than it is. */
static void what_is_not_known_is_no_limit(void **state) {
    (void)state;
    tri_limit limit;
    tri_ceilings none = {0};
    tri_problem problem = cube(8192, 64, 0.1);
    tri_device_info other = h200, host = {.cc = 0, .sm_count = 2};
    other.cc = 75;
    tri_limit_of(&limit, &problem, &other, &none);
    assert_true(limit.ns == 0 && limit.bound == NULL && limit.memory_ns > 0);
    tri_limit_of(&limit, &problem, &host, &none);
    assert_true(limit.ns == 0 && limit.memory_ns == 0);
    bsr_of(&problem)->in_type = TRIAGE_F32;
    tri_limit_of(&limit, &problem, &h200, &none);
    assert_true(limit.ns == 0);
}

/* ---- the program ---- */

static int bench(char *out, size_t size, const char *arguments) {
    char folder[64], command[1024];
    scratch_make(folder);
    snprintf(command, sizeof command,
             "cd '%s' && unset XDG_DATA_HOME && XDG_CACHE_HOME='" TEST_KERNELS "' HOME='%s' " TRI_BINARY_DIR
             "/bin/triage_bench %s 2>&1",
             folder, folder, arguments);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    size_t got = fread(out, 1, size - 1, pipe);
    out[got] = '\0';
    int code = pclose(pipe);
    scratch_remove(folder);
    return WIFEXITED(code) ? WEXITSTATUS(code) : -1;
}

#define PROBLEM "--device host --shape 96,40,128 --sparsity 0.5 --block 32 --against none --samples 6 -q "

static void the_program_prints_the_limit(void **state) {
    (void)state;
    char text[65536];
    assert_int_equal(bench(text, sizeof text, PROBLEM "--ceilings 0.001,0.5"), 0);
    assert_non_null(strstr(text,
                           "limit: 0.4915 ms by arithmetic, at 0.001 TFLOP/s and 0.5 TB/s (stated ceilings); "
                           "triage reaches "));
    assert_int_equal(bench(text, sizeof text, PROBLEM), 0);
    assert_non_null(strstr(text, "limit: the ceilings of this device are not known"));
}

static void json_has_the_limit(void **state) {
    (void)state;
    char text[65536];
    assert_int_equal(bench(text, sizeof text, PROBLEM "--ceilings 1000,0.001 --json"), 0);
    json_t *document = json_loads(text, 0, NULL), *limit = json_object_get(document, "limit");
    double ns = json_real_value(json_object_get(limit, "ns"));
    json_t *self = json_array_get(json_object_get(document, "contestants"), 0);
    double median = json_real_value(json_object_get(json_object_get(self, "timing"), "median_ns"));
    assert_string_equal(json_string_value(json_object_get(limit, "source")), "stated");
    assert_string_equal(json_string_value(json_object_get(limit, "bound")), "memory");
    assert_float_equal(ns, json_real_value(json_object_get(document, "least_bytes")), 1e-6); /* at 1 GB/s */
    assert_float_equal(json_real_value(json_object_get(limit, "share")), ns / median, 1e-9);
    json_decref(document);
    assert_int_equal(bench(text, sizeof text, PROBLEM "--json"), 0);
    document = json_loads(text, 0, NULL);
    limit = json_object_get(document, "limit");
    assert_true(json_is_null(json_object_get(limit, "ns")) && json_is_null(json_object_get(limit, "share")));
    json_decref(document);
}

static void bad_ceilings_are_refused(void **state) {
    (void)state;
    static const char *const bad[] = {"5", "5,", ",5", "0,4", "636,-1", "636,4,5", "nan,4", "x,y"};
    char text[65536], arguments[256];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(arguments, sizeof arguments, PROBLEM "--ceilings=%s", bad[i]);
        assert_int_equal(bench(text, sizeof text, arguments), 64);
        assert_non_null(strstr(text, "--ceilings"));
        assert_ptr_equal(strchr(text, '\n') + 1, text + strlen(text)); /* one line */
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_right_product_is_verified),
        cmocka_unit_test(who_writes_nothing_is_wrong),
        cmocka_unit_test(a_rough_sum_is_marked_not_hidden),
        cmocka_unit_test(one_wrong_element_is_wrong),
        cmocka_unit_test(one_nan_is_wrong),
        cmocka_unit_test(the_timed_result_counts),
        cmocka_unit_test(a_refusal_is_an_absence),
        cmocka_unit_test(the_limit_is_the_longer_of_two_times),
        cmocka_unit_test(stated_ceilings_go_first),
        cmocka_unit_test(what_is_not_known_is_no_limit),
        cmocka_unit_test(the_program_prints_the_limit),
        cmocka_unit_test(json_has_the_limit),
        cmocka_unit_test(bad_ceilings_are_refused),
    };
    return cmocka_run_group_tests(tests, open_world, close_world);
}
