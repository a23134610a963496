/* The search loop: space -> strategy -> render -> compile -> verify -> time -> store. The parent forks
 * workers (src/measure) and holds no CUDA context itself. */
#ifndef TRIAGE_TUNE_TUNE_H
#define TRIAGE_TUNE_TUNE_H

#include "measure/device_lock.h"
#include "render/render.h"
#include "evidence/warm_start.h"
#include "store/store.h"

/* What a run does now. Texts live as long as the call that brings them. */
typedef struct tri_tune_moment {
    const char *doing;           /* "timing", "racing the best", ...; NULL: nothing but what is compiled */
    const char *config;          /* the candidate that it is done with; NULL: none, or not one alone */
    size_t compiling;            /* candidates, at the same time */
    const char *compiled_config; /* one of them; NULL: none */
    double left_s;               /* of the time limit; < 0: there is none */
} tri_tune_moment;
typedef void (*tri_tune_watch_fn)(void *user, const tri_tune_moment *moment);

typedef struct tri_tune_options {
    const char *device; /* "auto", "cuda:N", "host" */
    const char *target; /* compile_only: the architecture; else NULL */
    bool compile_only;  /* compile every candidate, run none */
    /* compile_only: a device elsewhere to do it for. What does not compile, spills over its limit or does not fit is
     * kept in the store under that device's key, so that it wastes no time there; NULL: for target, and nothing is
     * kept. Borrowed. */
    const tri_device_info *for_device;
    const char *data_dir, *space_path, *cache_dir;
    const char *strategy;    /* NULL: exhaustive for a small space within the budget, else model */
    const char *worker_path; /* the triage_worker program */
    tri_store *store;        /* NULL: see db_path */
    const char *db_path;     /* store NULL: opened, and made if need be, when the first row is there to be
                              * stored; NULL: nothing is remembered */
    size_t budget;           /* candidates; 0: the whole space */
    double stop_gain; /* end where less than this part of the best time is to be gained, by what the strategy
                              * expects; 0: never */
    double time_limit_s; /* 0: none; the wait for our turn does not count */
    uint64_t seed;
    int jobs;                        /* compile workers; 0: the cores */
    bool cold_start;                 /* begin without what is known of near problems */
    bool force;                      /* measure again what is already known */
    bool warm;                       /* warm instead of cold L2 */
    bool dense;                      /* also the dense product, once, where a library for it is found */
    double candidate_limit_s;        /* deadline of one candidate; 0: from the plain kernel's time */
    double sampling_limit_s;         /* of one candidate's samples, a quarter of the race's; 0: 1.5 */
    volatile const int *interrupted; /* set by a signal handler: finish the row in hand and stop */
    volatile const int *overtaken;   /* likewise, but to stop is no failure; NULL: never */
    const char *
        lock_dir; /* wait for our turn on the device (measure/device_lock.h); NULL: time whatever others do */
    tri_device_patience patience; /* for it */
    const tri_log *log;           /* told when we wait; NULL: nobody */
    tri_tune_watch_fn watch;      /* told what goes on, some times a second; NULL: nobody */
    void *watch_user;
} tri_tune_options;

/* One candidate's line in the table. Strings borrowed until the result is freed. */
typedef struct tri_tune_row {
    char *config;
    bool from_store; /* not measured now */
    bool compiled;   /* compile_only: it compiled within its limits, and evidence.outcome says nothing */
    tri_measurement evidence;
    double compile_ms; /* 0 when it came from the cache */
} tri_tune_row;

/* The dense product of the same shape, types and layouts (op/dense.h), verified and timed alike. */
typedef struct tri_tune_dense {
    bool measured; /* evidence is there: its outcome tells whether it has a time */
    bool from_store;
    tri_measurement evidence;
    char reason[256]; /* not measured, although asked for: why */
} tri_tune_dense;

typedef struct tri_tune_result {
    tri_device_info device;
    char *problem_key, *device_key;
    tri_tune_row *rows; /* best first, failures last */
    size_t count;
    size_t space_size; /* legal configurations */
    char strategy[64];
    char ended[TRI_STRATEGY_REASON]; /* why the strategy had enough before the budget; "": it had not */
    tri_warm_start warm_start; /* of near problems in the database: proposed first, right after the default */
    int64_t winner;            /* index into rows; -1 none */
    size_t tie_set;            /* rows[0 .. tie_set-1] are within noise of the winner */
    tri_tune_dense dense;
    size_t
        left_out; /* candidates that the machine's trouble kept from being judged: no rows, tried by the next run */
    char trouble[512];        /* the last of it; "": none */
    bool answered_from_store; /* nothing had to be measured */
    size_t busy;              /* of the rows: timed while other programs were on the device */
    bool interrupted, out_of_time;
    double elapsed_s, compile_s;
} tri_tune_result;
void tri_tune_result_free(tri_tune_result *result);

/* Asks a worker what options->device is. TRIAGE_E_NO_DEVICE. */
triage_status tri_tune_describe(tri_device_info *out, const tri_tune_options *options);

/* How many GPUs this machine has. TRIAGE_E_NO_DEVICE: none, or no driver. */
triage_status tri_tune_count_gpus(int *out, const tri_tune_options *options);

/* Called after every candidate (and with row NULL when the total becomes known). */
typedef void (*tri_tune_progress_fn)(void *user, size_t done, size_t total, const tri_tune_row *row);

/* TRIAGE_E_WRONG when no candidate was right, TRIAGE_E_COMPILE when compile_only and one did not (the result
 * is filled all the same), TRIAGE_E_INTERRUPTED with results kept. A passed time limit is no failure. The
 * pattern is the one that problem->nnzb and fingerprint were taken from. */
triage_status tri_tune_run(tri_tune_result *out, const tri_problem *problem, const tri_pattern *pattern,
                           const tri_tune_options *options, tri_tune_progress_fn progress, void *user);

#endif
