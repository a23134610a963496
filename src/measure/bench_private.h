/* Shared by bench.c (inputs and reference), bench_verify.c (the gate), bench_time.c (the clock) and bench_race.c. */
#ifndef TRIAGE_MEASURE_BENCH_PRIVATE_H
#define TRIAGE_MEASURE_BENCH_PRIVATE_H

#include "base/dtype.h"
#include "check/verdict.h"
#include "measure/bench.h"

#define TRI_GUARD_BYTES 65536

/* What a result has to be in one case. */
typedef struct tri_expected {
    void *plain;        /* the plain kernel's, as stored */
    double *references; /* [row_count][cols] in float64 */
    tri_yardstick yardstick;
} tri_expected;

/* One result: where it is, and on the host what is examined. */
typedef struct tri_result {
    tri_view view;
    size_t bytes;
    tri_address zone;    /* guard, the result, guard */
    tri_address address; /* of the result */
    void *got;           /* under examination */
    void *first;         /* the verified one of case 0 of the candidate at hand */
    tri_expected expected[TRI_CASES_MAX];
} tri_result;

struct tri_bench {
    tri_device *device; /* borrowed */
    tri_problem problem;
    const tri_operation *op;
    const tri_pattern *pattern; /* borrowed */
    char *cache_dir;
    bool warm;
    bool has_guests; /* in the race that is on: see tri_race_rules */
    int64_t flush_bytes;
    int64_t sampling_limit_ns;
    uint64_t seed;
    size_t case_count, result_count;
    tri_inputs
        inputs[TRI_CASES_MAX]; /* what a later case shares with case 0 is borrowed there, its address too */
    bool has_given;            /* case 0's inputs are a caller's: not to be released, nor moved */
    tri_result results[TRI_VIEWS_MAX];
    unsigned char *guard;
    int64_t *rows;
    size_t row_count;
    tri_source reference; /* the plain kernel, kept to check the inputs with */
    tri_launch reference_launch;
    const tri_image *reference_image; /* NULL: compiled when it is mounted */
    double plain_ms;
    tri_address spacer; /* of bench_move.c */
    size_t moves;
};

/* A candidate loaded on the device, with what its kernel needs there of its own. */
typedef struct tri_mounted {
    tri_kernel *kernel;
    void *prepared;            /* the operation's */
    void *args[TRI_CASES_MAX]; /* argument blocks, in args_memory */
    void *args_memory;
} tri_mounted;

/* A failure of the candidate: sets outcome and reason from the last error; E_DEVICE loses the device. */
void tri_report_fail(tri_report *report, tri_outcome outcome, triage_status status);

/* All return false with the report filled when the candidate failed. */
bool tri_bench_mount(tri_mounted *out, tri_bench *bench, const tri_trial *trial, tri_report *report);
void tri_bench_unmount(tri_bench *bench, tri_mounted *mounted);
/* Points the arguments of a candidate at where the operands are now. */
triage_status tri_bench_aim(tri_mounted *mounted, const tri_bench *bench, const tri_launch *launch);
/* Puts inputs and results elsewhere, as far as there is room for both places, and makes case 0 ready: whoever is mounted
 * is to be aimed anew. */
triage_status tri_bench_move(tri_bench *bench);
/* Takes operands that are on the device (bench_given.c): brings to the host what it has not. */
triage_status tri_bench_take_given(tri_bench *bench, const tri_inputs *given);
/* Bytes that go through the cache before a launch; asked: at least so many. */
int64_t tri_bench_flush_size(const tri_device_info *info, int64_t asked);
/* After case 0 of given operands: what a later case finds in a result is what the plain kernel left of that one. */
triage_status tri_bench_fill_before(tri_bench *bench);
/* TRIAGE_E_DATA: these operands would let wrong results pass. */
triage_status tri_bench_check_given(const tri_bench *bench);
/* Room for each case's argument block. */
triage_status tri_bench_args_alloc(tri_mounted *out, const tri_bench *bench, size_t bytes);
bool tri_bench_run_case(tri_bench *bench, tri_mounted *mounted, size_t index, tri_report *report);
/* Keeps the results under examination, just found right for case 0, for tri_bench_examine_again. */
void tri_bench_keep_first(tri_bench *bench);
/* Paints the red zones and lays the results out, so that what is examined afterwards was written since. */
triage_status tri_bench_make_ready(tri_bench *bench, size_t case_index);
/* What lies in the results and their red zones now. */
bool tri_bench_examine(tri_bench *bench, size_t case_index, tri_report *report);
/* The same after tri_bench_keep_first, after more launches of case 0. */
bool tri_bench_examine_again(tri_bench *bench, tri_report *report);
/* The cases that are not timed, once more: launches before may have changed what they give. */
bool tri_bench_later_cases_hold(tri_bench *bench, tri_mounted *mounted, tri_report *report);
/* After timing: do launches of case 0 take as long where its results are not there yet (bench_afresh.c)? */
bool tri_bench_works_afresh(tri_bench *bench, tri_mounted *mounted, double median_ns, tri_report *report);
/* Fills the results with what they hold before a case: NaN, or an input. */
triage_status tri_bench_lay_out(tri_bench *bench, size_t case_index);
/* Does the plain kernel still give what it gave at first? */
triage_status tri_bench_inputs_intact(bool *out, tri_bench *bench);

/* The whole way of a mounted candidate, after which it is unmounted: cases, timing, cases again. */
triage_status tri_bench_measure_mounted(tri_report *report, tri_bench *bench, tri_mounted *mounted,
                                        double best_median_ns);

/* ---- the clock ---- */

#define TRI_WARM_UP 3
#define TRI_WIDTH_WANTED 0.02 /* of the median's whole interval: +- 1 % */

typedef struct tri_samples {
    double ns[TRI_SAMPLES_MAX];
    size_t count;
} tri_samples;

/* Times count launches of case 0 more. */
triage_status tri_bench_take(tri_bench *bench, tri_mounted *mounted, int batch, tri_samples *into,
                             size_t count);
void tri_bench_summarise(const tri_bench *bench, const tri_samples *taken, tri_timing *out);
/* How many launches a timed graph has: 1, or more of what is short and may find the L2 warm. */
int tri_bench_batch(const tri_bench *bench, const tri_samples *warm_up);

bool tri_bench_time(tri_bench *bench, tri_mounted *mounted, double best_median_ns, tri_report *report);

#endif
