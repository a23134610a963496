/* A race with guests on the host: who is not right gets no number, who fails is out with a reason, the others go on. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "support/gate_world.h"

static world w;
static tri_bench *bench;

/* What the bench is to be left with, computed by the candidate as a guest would: the right product. */
typedef enum misdeed { HONEST, LAZY, ROUGH, ONE_ELEMENT, ONE_NAN, OUTSIDE, TIRED, FAILING, MISDEEDS } misdeed;
typedef struct player {
    misdeed misdeed;
    int calls;
    tri_kernel *kernel;
    void *args;
} player;
static tri_kernel *kernel;
static void *prepared;
static tri_bsr_gemm_args args;

static triage_status play(void *state, void *stream) {
    player *self = state;
    const tri_binding at = tri_bench_binding(bench, 0);
    float *c = (float *)(uintptr_t)at.results[0];
    const size_t count = (size_t)(tri_bsr(&w.problem)->m * tri_bsr(&w.problem)->n);
    self->calls++;
    if (self->misdeed == FAILING)
        return tri_fail(TRIAGE_E_DEVICE, "out of breath");
    if (self->misdeed == LAZY || (self->misdeed == TIRED && self->calls > 5))
        return TRIAGE_OK; /* leaves what is there */
    triage_status status = tri_kernel_launch(kernel, &args, stream);
    for (size_t i = 0; self->misdeed == ROUGH && i < count; i++)
        c[i] *= 1 + (i % 2 ? 1e-3f : -1e-3f);
    if (self->misdeed == ONE_ELEMENT)
        c[41] += 100;
    if (self->misdeed == ONE_NAN)
        c[count - 1] = NAN;
    if (self->misdeed == OUTSIDE)
        c[count] = 1;
    return status;
}

static int open_all(void **state) {
    (void)state;
    tri_image image = {0};
    open_world(&w, &(world_shape){.device = "host", .rows = 96, .cols = 40, .depth = 128, .block = 32});
    bench = w.bench;
    must(tri_compile(&image, tri_device_describe(w.device)->target, &w.source, NULL));
    must(tri_kernel_load(&kernel, w.device, &image, &w.candidate.launch));
    must(w.problem.op->prepare(&prepared, w.device, &w.candidate.launch, &w.problem, &w.pattern));
    tri_binding binding = tri_bench_binding(bench, 0);
    binding.launch = &w.candidate.launch;
    binding.prepared = prepared;
    binding.workspace = tri_kernel_workspace(kernel);
    must(w.problem.op->arguments(&args, &binding));
    tri_image_free(&image);
    return 0;
}

static int close_all(void **state) {
    (void)state;
    w.problem.op->release(w.device, prepared);
    tri_kernel_unload(kernel);
    close_world(&w);
    return 0;
}

/* An honest one and another. */
static void hold(tri_report out[2], player players[2], misdeed other, double *samples) {
    players[0] = (player){.misdeed = HONEST};
    players[1] = (player){.misdeed = other};
    const tri_entrant entrants[2] = {{.call = play, .state = &players[0]},
                                     {.call = play, .state = &players[1]}};
    const tri_race_rules rules = {.seed = 1, .rounds = 6, .has_guests = true, .samples_ns = samples};
    must(tri_bench_race(out, bench, entrants, 2, &rules));
    assert_int_equal(out[0].outcome, TRI_RIGHT); /* whatever the other one did */
    assert_int_equal(out[0].timing.samples, 6);
    assert_false(out[0].rough || out[0].lost);
}

static void expect(misdeed other, tri_outcome outcome, bool rough, const char *reason) {
    tri_report reports[2];
    player players[2];
    hold(reports, players, other, NULL);
    if (reports[1].outcome != outcome || reports[1].rough != rough)
        fail_msg("outcome %d, rough %d: %s", reports[1].outcome, reports[1].rough, reports[1].reason);
    assert_non_null(strstr(reports[1].reason, reason));
    assert_true((reports[1].timing.samples > 0) == (outcome == TRI_RIGHT || rough));
}

static void the_right_product_has_its_time(void **state) {
    (void)state;
    expect(HONEST, TRI_RIGHT, false, "");
}

static void who_is_wrong_has_no_time(void **state) {
    (void)state;
    expect(LAZY, TRI_WRONG, false, "NaN");
    expect(ONE_ELEMENT, TRI_WRONG, false, "error");
    expect(ONE_NAN, TRI_WRONG, false, "NaN");
    expect(OUTSIDE, TRI_WRONG, false, "wrote outside C");
}

static void a_rough_sum_is_marked_not_hidden(void **state) {
    (void)state;
    expect(ROUGH, TRI_WRONG, true, "error");
}

/* Right when it was looked at first, and not in the last timed round. */
static void the_timed_result_counts(void **state) {
    (void)state;
    expect(TIRED, TRI_WRONG, false, "NaN");
}

static void a_failure_is_the_guests_own(void **state) {
    (void)state;
    expect(FAILING, TRI_LAUNCH_FAILED, false, "out of breath");
}

/* Of our own candidates a rough result is a wrong one. */
static void without_guests_nothing_is_rough(void **state) {
    (void)state;
    tri_report report;
    player rough = {.misdeed = ROUGH};
    const tri_entrant entrant = {.call = play, .state = &rough};
    must(tri_bench_race(&report, bench, &entrant, 1, &(tri_race_rules){.seed = 1, .rounds = 6}));
    assert_int_equal(report.outcome, TRI_WRONG);
    assert_false(report.rough);
    assert_int_equal(report.timing.samples, 0);
}

static bool stop_in_third(void *user, int round) {
    return ++*(int *)user, round < 2;
}

static void a_race_can_be_ended(void **state) {
    (void)state;
    int asked = 0;
    tri_report report;
    player honest = {.misdeed = HONEST};
    const tri_entrant entrant = {.call = play, .state = &honest};
    const tri_race_rules rules = {.rounds = 100, .next = stop_in_third, .user = &asked};
    assert_int_equal(tri_bench_race(&report, bench, &entrant, 1, &rules), TRIAGE_E_INTERRUPTED);
    assert_int_equal(asked, 3);
    assert_non_null(strstr(triage_last_error(), "round 3"));
}

static void candidates_and_guests_race_together(void **state) {
    (void)state;
    double samples[2][8] = {{0}};
    tri_report reports[2];
    player guest = {.misdeed = HONEST};
    const tri_trial trial = {.source = &w.source, .launch = &w.candidate.launch};
    const tri_entrant entrants[2] = {{.trial = &trial}, {.call = play, .state = &guest}};
    const tri_race_rules rules = {.rounds = 8, .has_guests = true, .samples_ns = &samples[0][0]};
    must(tri_bench_race(reports, bench, entrants, 2, &rules));
    for (int i = 0; i < 2; i++) {
        assert_int_equal(reports[i].outcome, TRI_RIGHT);
        assert_int_equal(reports[i].timing.samples, 8);
        for (int j = 0; j < 8; j++)
            assert_true(samples[i][j] > 0);
    }
    assert_int_equal(guest.calls,
                     1 + 3 + 8); /* looked at, warmed up, timed; the last one is looked at, too */
}

static void bad_rounds_are_refused(void **state) {
    (void)state;
    tri_report report;
    player honest = {.misdeed = HONEST};
    const tri_entrant entrant = {.call = play, .state = &honest};
    static const int bad[] = {-1, 1, 1001};
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(tri_bench_race(&report, bench, &entrant, 1, &(tri_race_rules){.rounds = bad[i]}),
                         TRIAGE_E_INVALID);
}

/* By the protocol: whole heats and the round that is looked at; the operands have moved, and the results are right there. */
static void the_operands_move_between_heats(void **state) {
    (void)state;
    tri_report reports[2];
    const tri_trial trial = {.source = &w.source, .launch = &w.candidate.launch};
    const tri_entrant entrants[2] = {{.trial = &trial}, {.trial = &trial}};
    const tri_address before = tri_bench_binding(bench, 0).results[0];
    const tri_inputs first = *tri_bench_binding(bench, 0).inputs;
    must(tri_bench_race(reports, bench, entrants, 2, &(tri_race_rules){.seed = 3}));
    for (int i = 0; i < 2; i++) {
        assert_int_equal(reports[i].outcome, TRI_RIGHT);
        assert_int_equal((reports[i].timing.samples - 1) % 4, 0);
        assert_in_range(reports[i].timing.samples, 5, 101);
    }
    const tri_binding after = tri_bench_binding(bench, 0), later = tri_bench_binding(bench, 1);
    assert_true(after.results[0] != before || after.inputs->at[0].address != first.at[0].address);
    for (size_t i = 0; i < TRI_INPUTS_MAX; i++) /* what the cases share, they share still */
        if (later.inputs->at[i].borrowed && later.inputs->at[i].data == after.inputs->at[i].data)
            assert_true(later.inputs->at[i].address == after.inputs->at[i].address);
    must(tri_bench_measure(&reports[0], bench, &trial, 0)); /* all cases, in the new place */
    assert_int_equal(reports[0].outcome, TRI_RIGHT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_right_product_has_its_time),
        cmocka_unit_test(who_is_wrong_has_no_time),
        cmocka_unit_test(a_rough_sum_is_marked_not_hidden),
        cmocka_unit_test(the_timed_result_counts),
        cmocka_unit_test(a_failure_is_the_guests_own),
        cmocka_unit_test(without_guests_nothing_is_rough),
        cmocka_unit_test(a_race_can_be_ended),
        cmocka_unit_test(candidates_and_guests_race_together),
        cmocka_unit_test(bad_rounds_are_refused),
        cmocka_unit_test(the_operands_move_between_heats), /* last: guests know the old places */
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
