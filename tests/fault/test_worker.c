/* Workers that die, hang and talk nonsense, and candidates that make them: the run goes on. */
#include "support/bsr_of.h"
#include "support/check.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "op/bsr_gemm/bsr_gemm.h"
#include "measure/worker.h"
#include "support/scratch_group.h"
#include "tune/tune.h"

#define WORKER TRI_BINARY_DIR "/bin/triage_worker"

static int set_up(void **state) {
    (void)state;
    scratch_make(folder);
    scratch_fault_tree(folder, TRI_SOURCE_DIR);
    return 0;
}

/* ---- scripted workers --------------------------------------------------------------------------------- */

/* Starts a shell script as the worker, asks it to open a device, and waits for what comes of it. */
static void run_script(tri_event *out, const char *script, double seconds) {
    tri_worker *worker = NULL;
    scratch_write(folder, "fake", script, 0700);
    must(tri_worker_start(&worker, scratch_path(folder, "fake"), TRI_WORKER_MEASURE, -1));
    assert_true(tri_worker_idle(worker));
    must(tri_worker_open(worker, "host", seconds));
    do {
        must(tri_workers_wait(out, &worker, 1, 100));
    } while (out->kind == TRI_EVENT_NONE);
    tri_worker_free(worker);
}

static void expect_death(const char *script, const char *message) {
    tri_event event;
    run_script(&event, script, 120);
    assert_int_equal(event.kind, TRI_EVENT_DIED);
    if (!strstr(event.message, message))
        fail_msg("'%s' does not say '%s'", event.message, message);
    tri_event_clear(&event);
}

static void test_deaths_have_a_reason(void **state) {
    (void)state;
    expect_death("#!/bin/sh\nkill -SEGV $$\n", "SIGSEGV");
    expect_death("#!/bin/sh\nkill -KILL $$\n", "SIGKILL");
    expect_death("#!/bin/sh\nexit 3\n", "status 3");
    expect_death("#!/no/such/interpreter\n", "could not be run");
}

static void test_nonsense_is_a_death(void **state) {
    (void)state;
    expect_death("#!/bin/sh\necho garbage >&3\nsleep 30\n", "not a JSON object");
    expect_death("#!/bin/sh\necho '[1,2]' >&3\nsleep 30\n", "not a JSON object");
    expect_death("#!/bin/sh\necho '{\"event\":\"opened\"}' >&3\nsleep 30\n", "malformed");
    expect_death("#!/bin/sh\necho '{\"event\":\"dance\"}' >&3\nsleep 30\n", "dance");
    expect_death("#!/bin/sh\nhead -c 40000000 /dev/zero | tr '\\0' x >&3\nsleep 30\n", "longer than");
}

static void test_a_hang_meets_its_deadline(void **state) {
    tri_event event;
    (void)state;
    run_script(&event, "#!/bin/sh\nsleep 600\n", 0.3); /* longer than this test may take */
    assert_int_equal(event.kind, TRI_EVENT_TIMED_OUT);
    assert_non_null(strstr(event.message, "open took longer than 0.3 s"));
}

static void test_no_program(void **state) {
    tri_worker *worker = NULL;
    (void)state;
    assert_int_equal(tri_worker_start(&worker, "/no/such/program", TRI_WORKER_COMPILE, -1), TRIAGE_E_IO);
    assert_null(worker);
    assert_non_null(strstr(triage_last_error(), "/no/such/program"));
    tri_worker_free(NULL);
}

/* Two minutes: for what never happens, not for a busy machine. */
enum { PATIENCE = 12000, PAUSE_US = 10000 };

static bool is_gone(pid_t pid) {
    for (int i = 0; i < PATIENCE; i++) {
        if (kill(pid, 0) != 0 && errno == ESRCH)
            return true;
        char path[64], state = '?';
        snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
        FILE *stream = fopen(path, "r");
        if (stream && fscanf(stream, "%*d %*s %c", &state) != 1)
            state = '?';
        if (stream)
            fclose(stream);
        if (state == 'Z') /* dead, only nobody has asked */
            return true;
        usleep(PAUSE_US);
    }
    return false;
}

/* A parent that is killed takes its workers along, even those that read nothing. */
static void test_workers_die_with_their_parent(void **state) {
    int ends[2];
    pid_t worker_pid = 0;
    (void)state;
    assert_int_equal(pipe(ends), 0);
    scratch_write(folder, "sleeper", "#!/bin/sh\necho $$ > \"$0.pid\"\nexec sleep 300\n", 0700);
    pid_t child = fork();
    if (child == 0) {
        tri_worker *worker = NULL;
        if (tri_worker_start(&worker, scratch_path(folder, "sleeper"), TRI_WORKER_MEASURE, -1) != TRIAGE_OK)
            _exit(1);
        pause();
        _exit(0);
    }
    for (int i = 0; i < PATIENCE && worker_pid == 0; i++) {
        FILE *stream = fopen(scratch_path(folder, "sleeper.pid"), "r");
        if (stream && fscanf(stream, "%d", &worker_pid) != 1)
            worker_pid = 0;
        if (stream)
            fclose(stream);
        usleep(PAUSE_US);
    }
    assert_true(worker_pid > 0);
    assert_int_equal(kill(worker_pid, 0), 0);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    assert_true(is_gone(worker_pid));
    close(ends[0]);
    close(ends[1]);
}

/* ---- faulty candidates ---------------------------------------------------------------------------------- */

typedef struct expectation {
    const char *config;
    tri_outcome outcome;
    const char *reason; /* a part of it */
} expectation;

/* Whether a right candidate is timed to the end (right) or stopped early (slow) follows from times: either will do. */
static const expectation expected[] = {
    {"faulty variant=0 fault=right", TRI_RIGHT, ""},
    {"faulty variant=1 fault=right", TRI_RIGHT, ""},
    {"faulty variant=0 fault=crashes", TRI_CRASHED, "SIGSEGV"},
    {"faulty variant=0 fault=aborts", TRI_CRASHED, "SIGABRT"},
    {"faulty variant=0 fault=leaves", TRI_CRASHED, "status 3"},
    {"faulty variant=0 fault=hangs", TRI_TIMED_OUT, "longer than"},
    {"faulty variant=0 fault=zeros", TRI_WRONG, ""},
    {"faulty variant=0 fault=beta_only", TRI_WRONG, "beta -0.5"},
    {"faulty variant=0 fault=outside", TRI_WRONG, "wrote outside C: 0 bytes changed before it"},
    {"faulty variant=0 fault=before", TRI_WRONG, "wrote outside C: 4 bytes changed before it, 0 after"},
    {"faulty variant=0 fault=broken", TRI_NOT_COMPILED, ""},
    {"faulty variant=0 fault=damages", TRI_WRONG, ""},
    {"faulty variant=0 fault=slow", TRI_RIGHT, ""},
    {"faulty variant=0 fault=idles", TRI_WRONG, "leaves out work"},
};

static const tri_tune_row *row_of(const tri_tune_result *result, const char *config) {
    for (size_t i = 0; i < result->count; i++)
        if (strcmp(result->rows[i].evidence.config, config) == 0)
            return &result->rows[i];
    fail_msg("no row for %s", config);
    return NULL;
}

static bool is_as_expected(const tri_measurement *m, const expectation *e) {
    return m->outcome == e->outcome || (e->outcome == TRI_RIGHT && m->outcome == TRI_SLOW);
}

static void check_row(const tri_tune_result *result, const expectation *e) {
    const tri_measurement *m = &row_of(result, e->config)->evidence;
    if (!is_as_expected(m, e) || !strstr(m->reason, e->reason))
        fail_msg("%s: %s (%s), expected %s (%s)", e->config, tri_outcome_name(m->outcome), m->reason,
                 tri_outcome_name(e->outcome), e->reason);
    bool timed = e->outcome == TRI_RIGHT;
    assert_int_equal(m->median_ns > 0, timed);
    assert_int_equal(m->samples > 0, timed);
    assert_int_equal(m->reason[0] == '\0', timed);
}

static void make_problem(tri_problem *problem, tri_pattern *pattern) {
    must(tri_pattern_random(pattern, 4, 4, 0.5, 1));
    *problem = tri_bsr_problem_of((tri_bsr_problem){
        .m = 32, .n = 24, .k = 32, .ldb = 24, .ldc = 24, .block_m = 8, .block_k = 8, .nnzb = pattern->nnzb});
    tri_fingerprint_of(&bsr_of(problem)->fingerprint, pattern);
}

static triage_status tune(tri_tune_result *out, const tri_tune_options *more) {
    tri_problem problem;
    tri_pattern pattern;
    tri_tune_options options = *more;
    make_problem(&problem, &pattern);
    options.device = "host";
    options.data_dir = scratch_path(folder, "data");
    options.space_path = TRI_SOURCE_DIR "/tests/data/faults/space.lua";
    options.cache_dir = TEST_KERNELS;
    options.worker_path = WORKER;
    options.strategy = "exhaustive";
    options.candidate_limit_s = 10; /* ends the one that hangs; the others need milliseconds */
    options.sampling_limit_s = 0.2;
    options.seed = 5;
    triage_status status = tri_tune_run(out, &problem, &pattern, &options, NULL, NULL);
    tri_pattern_free(&pattern);
    return status;
}

static triage_status find_fault(void *user, const tri_measurement *row) {
    size_t *count = user;
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++)
        if (strcmp(row->config, expected[i].config) == 0 && is_as_expected(row, &expected[i]))
            (*count)++;
    return TRIAGE_OK;
}

static void test_the_search_survives_its_candidates(void **state) {
    tri_tune_result result;
    tri_store *store = NULL;
    size_t stored = 0;
    (void)state;
    tri_tune_options options = {.jobs = 2, .db_path = scratch_path(folder, "faults.db")};
    must(tune(&result, &options));
    assert_int_equal(result.count, sizeof expected / sizeof expected[0]);
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++)
        check_row(&result, &expected[i]);
    assert_int_equal(result.winner, 0);
    assert_int_equal(result.rows[0].evidence.outcome, TRI_RIGHT);
    /* "slow" sleeps 20 ms in each launch, the others take microseconds. */
    assert_non_null(strstr(result.rows[0].evidence.config, "fault=right"));
    assert_string_equal(result.rows[0].evidence.stage, "race");
    tri_tune_result_free(&result);

    /* Failures are evidence too: stored, and not tried again. */
    must(tri_store_open(&store, scratch_path(folder, "faults.db"), TRI_STORE_READ));
    must(tri_store_each(store, find_fault, &stored));
    tri_store_close(store);
    assert_true(stored >= sizeof expected / sizeof expected[0]);
    must(tune(&result, &options));
    assert_true(result.answered_from_store);
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        check_row(&result, &expected[i]);
        assert_true(row_of(&result, expected[i].config)->from_store);
    }
    tri_tune_result_free(&result);
}

/* ---- descriptors ------------------------------------------------------------------------------------------ */

static void test_nothing_leaks_into_the_worker(void **state) {
    tri_event event;
    (void)state;
    scratch_write(folder, "secret", "", 0600);
    FILE *held = fopen(scratch_path(folder, "secret"), "re");
    run_script(&event,
               "#!/bin/bash\n"
               "for f in /proc/$$/fd/*; do case $(readlink $f) in *secret*) exit 9;; esac; done\n"
               "exit 4\n",
               120);
    fclose(held);
    assert_non_null(strstr(event.message, "status 4"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deaths_have_a_reason),
        cmocka_unit_test(test_nonsense_is_a_death),
        cmocka_unit_test(test_a_hang_meets_its_deadline),
        cmocka_unit_test(test_no_program),
        cmocka_unit_test(test_workers_die_with_their_parent),
        cmocka_unit_test(test_nothing_leaks_into_the_worker),
        cmocka_unit_test(test_the_search_survives_its_candidates),
    };
    return cmocka_run_group_tests(tests, set_up, remove_scratch);
}
