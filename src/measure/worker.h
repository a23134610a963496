/* Workers: processes that may crash, hang or lose their device without hurting the run. The parent is one
 * poll() loop and holds no device itself. A worker does one job at a time, in the order
 *
 *     compile                                   as often as wanted (TRI_WORKER_COMPILE), or
 *     count, or open, setup, then measure and race        as often as wanted (TRI_WORKER_MEASURE)
 *
 * and dies with its parent. Each job ends in exactly one event; a race also sends TRI_EVENT_RACING. */
#ifndef TRIAGE_MEASURE_WORKER_H
#define TRIAGE_MEASURE_WORKER_H

#include "measure/bench.h"

typedef struct tri_worker tri_worker;

typedef enum tri_worker_role { TRI_WORKER_COMPILE, TRI_WORKER_MEASURE } tri_worker_role;

/* Starts program (the triage_worker of this build). pattern_fd: from tri_pattern_share, or -1; the worker
 * gets its own copy. TRIAGE_E_IO when there is no such program, TRIAGE_E_MEMORY when the system has no room for one
 * more process now. */
triage_status tri_worker_start(tri_worker **out, const char *program, tri_worker_role role, int pattern_fd);
/* Kills it, with whatever it started, and waits for its end. */
void tri_worker_free(tri_worker *worker);
bool tri_worker_idle(const tri_worker *worker);

/* See tri_pattern_from_fd in codec.h: a pattern for all workers of a run. Close *fd when done. */
triage_status tri_pattern_share(int *fd, const tri_pattern *pattern);

/* ---- jobs: seconds is the deadline; the worker must be idle ------------------------------------------ */

triage_status tri_worker_compile(tri_worker *worker, const char *target, const tri_source *source,
                                 const char *cache_dir, double seconds);
/* Opens the device and describes it. */
triage_status tri_worker_open(tri_worker *worker, const char *device, double seconds);
/* Counts the GPUs: TRI_EVENT_COUNTED, or TRI_EVENT_FAILED with TRIAGE_E_NO_DEVICE when there is no driver. */
triage_status tri_worker_count(tri_worker *worker, double seconds);
/* Makes the bench. setup->pattern is not used: the worker reads the shared one. */
triage_status tri_worker_setup(tri_worker *worker, const tri_bench_setup *setup, double seconds);
triage_status tri_worker_measure(tri_worker *worker, const tri_trial *trial, double best_median_ns,
                                 double seconds);
triage_status tri_worker_race(tri_worker *worker, const tri_trial *trials, size_t count, uint64_t seed,
                              double seconds);
/* Which library for dense products the device has: TRI_EVENT_LIBRARY, or TRI_EVENT_FAILED with
 * TRIAGE_E_NOT_FOUND. After open. */
triage_status tri_worker_library(tri_worker *worker, double seconds);
/* Measures that library's product: TRI_EVENT_MEASURED, or TRI_EVENT_FAILED with TRIAGE_E_NOT_FOUND or
 * TRIAGE_E_UNSUPPORTED. After setup. */
triage_status tri_worker_dense(tri_worker *worker, double seconds);

/* ---- events --------------------------------------------------------------------------------------------- */

typedef enum tri_event_kind {
    TRI_EVENT_NONE,     /* the time to wait is over */
    TRI_EVENT_COMPILED, /* compiled */
    TRI_EVENT_OPENED,   /* device, compiler, circumstances (NULL: not to be had) */
    TRI_EVENT_LIBRARY,  /* library */
    TRI_EVENT_COUNTED,  /* gpus */
    TRI_EVENT_READY,    /* plain_ms, setup_ms */
    TRI_EVENT_MEASURED, /* reports[0], circumstances */
    TRI_EVENT_RACING,   /* racing: the trial that is about to run */
    TRI_EVENT_RACED,    /* reports, report_count, circumstances */
    TRI_EVENT_FAILED,   /* the job cannot be done: status, message */
    TRI_EVENT_DIED,     /* message says how; the worker is of no use any more */
    TRI_EVENT_TIMED_OUT /* message; likewise */
} tri_event_kind;

typedef struct tri_compiled {
    triage_status status;
    char message[512]; /* of a failure, one line */
    char compiler[TRI_COMPILER_SIZE];
    int32_t registers, spill_bytes, static_smem_bytes;
    bool from_cache;
    double ms;
} tri_compiled;

typedef struct tri_event {
    tri_event_kind kind;
    size_t worker; /* index in the list waited for */
    triage_status status;
    char message[512];
    bool leaving;      /* the worker ends itself after this: free it */
    bool from_outside; /* it died of what no code of its own does: it was killed, or could not be run */
    tri_compiled compiled;
    tri_device_info device;
    char compiler[TRI_COMPILER_SIZE], library[64];
    int gpus;
    double plain_ms, setup_ms;
    size_t racing;
    tri_report reports[TRI_RACE_MAX];
    size_t report_count;
    char *circumstances; /* JSON object text, or NULL; freed with tri_event_clear */
} tri_event;
void tri_event_clear(tri_event *event);

/* The next event of any of the workers (NULL entries are skipped), within milliseconds. A signal ends the
 * wait early, with TRI_EVENT_NONE. */
triage_status tri_workers_wait(tri_event *out, tri_worker *const *workers, size_t count, int milliseconds);

/* ---- the other side ------------------------------------------------------------------------------------- */

/* The file descriptors of a worker. */
#define TRI_WORKER_SOCKET 3
#define TRI_WORKER_PATTERN 4

/* The worker's whole life: answers jobs until the parent is gone. Returns the exit code. */
int tri_worker_serve(int socket_fd, int pattern_fd);

#endif
