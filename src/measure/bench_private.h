/* Shared by bench.c (inputs and reference), bench_verify.c (the gate) and bench_time.c (the clock). */
#ifndef TRIAGE_MEASURE_BENCH_PRIVATE_H
#define TRIAGE_MEASURE_BENCH_PRIVATE_H

#include "measure/bench.h"

#include "bsr_gemm/args.h"

#define TRI_CASES 2
#define TRI_GUARD_BYTES 65536

/* One pair of alpha and beta, and what the result has to be. */
typedef struct tri_bench_case {
    float alpha, beta;
    void *plain;        /* C of the plain kernel, as stored */
    double *references; /* [row_count][n] in float64 */
    tri_yardstick yardstick;
} tri_bench_case;

struct tri_bench {
    tri_device *device; /* borrowed */
    tri_problem problem;
    const tri_pattern *pattern; /* borrowed */
    char *cache_dir;
    bool warm;
    int64_t flush_bytes;
    int64_t sampling_limit_ns;
    uint64_t seed;
    void *values, *b, *c_in, *bias; /* on the host */
    float *scale_a, scale_b;        /* e4m3: on the host; else NULL */
    size_t c_bytes;
    void *got;   /* the result under examination */
    void *first; /* the verified result of case 0 of the candidate at hand */
    unsigned char *guard;
    tri_bsr_buffers buffers; /* without the schedule, which is the candidate's */
    tri_address zone;        /* guard, C, guard */
    int64_t *rows;
    size_t row_count;
    tri_bench_case cases[TRI_CASES];
    tri_source reference; /* the plain kernel, kept to check the inputs with */
    tri_launch reference_launch;
    double plain_ms;
};

/* A candidate loaded on the device with its own schedule. */
typedef struct tri_mounted {
    tri_kernel *kernel;
    tri_bsr_buffers buffers;
    tri_bsr_gemm_args args[TRI_CASES];
} tri_mounted;

/* A failure of the candidate: sets outcome and reason from the last error; E_DEVICE loses the device. */
void tri_report_fail(tri_report *report, tri_outcome outcome, triage_status status);

/* All return false with the report filled when the candidate failed. */
bool tri_bench_mount(tri_mounted *out, tri_bench *bench, const tri_trial *trial, tri_report *report);
void tri_bench_unmount(tri_bench *bench, tri_mounted *mounted);
bool tri_bench_run_case(tri_bench *bench, tri_mounted *mounted, size_t index, tri_report *report);
/* Keeps the result in bench->got, just found right for case 0, for tri_bench_examine_again. */
void tri_bench_keep_first(tri_bench *bench);
/* What lies in C and its red zones now, after more launches of case 0. */
bool tri_bench_examine_again(tri_bench *bench, tri_report *report);
/* Fills C with NaN. */
triage_status tri_bench_poison(tri_bench *bench);
/* Does the plain kernel still give what it gave at first? */
triage_status tri_bench_inputs_intact(bool *out, tri_bench *bench);

/* The whole way of a mounted candidate, after which it is unmounted: cases, timing, cases again. */
triage_status tri_bench_measure_mounted(tri_report *report, tri_bench *bench, tri_mounted *mounted,
                                        double best_median_ns);

bool tri_bench_time(tri_bench *bench, tri_mounted *mounted, double best_median_ns, tri_report *report);

#endif
