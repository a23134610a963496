/* The state of one run, shared by search.c (the loop), finals.c (the race) and evidence.c. */
#ifndef TRIAGE_TUNE_SEARCH_H
#define TRIAGE_TUNE_SEARCH_H

#include "base/scratch.h"
#include "measure/device_lock.h"
#include "measure/worker.h"
#include "tune/tune.h"

typedef enum tri_trial_state {
    TRI_TRIAL_WAITING,   /* for a compiler */
    TRI_TRIAL_COMPILING, /* in workers[worker] */
    TRI_TRIAL_COMPILED,  /* waiting for the measurer */
    TRI_TRIAL_MEASURING,
    TRI_TRIAL_DONE,
    TRI_TRIAL_LEFT_OUT /* the machine did not let us judge it: nothing is stored, and the next run tries it again */
} tri_trial_state;

/* One candidate on its way. */
typedef struct tri_search_trial {
    int64_t index; /* into configs */
    tri_candidate candidate;
    tri_source source;
    char hash[TRI_HASH_SIZE];
    tri_trial_state state;
    size_t worker;
    bool proposed; /* the strategy waits for its result */
    bool retried;  /* its first measurement was spoilt by somebody else's damage */
    int troubles;  /* tries that the machine's trouble has ended */
    size_t rank;   /* in the store's ranking; SIZE_MAX: not in it */
    tri_compiled compiled;
    tri_tune_row row;
} tri_search_trial;

typedef enum tri_measurer_state {
    TRI_MEASURER_NONE, /* not started, or lost */
    TRI_MEASURER_OPENING,
    TRI_MEASURER_OPENED,
    TRI_MEASURER_PREPARING,
    TRI_MEASURER_READY,
    TRI_MEASURER_BUSY
} tri_measurer_state;

typedef struct tri_search {
    const tri_problem *problem; /* borrowed, like the next two */
    const tri_pattern *pattern;
    const tri_tune_options *options;
    tri_tune_progress_fn progress;
    void *user;

    tri_device_info info;
    char *problem_key, *device_key;
    char compiler[TRI_COMPILER_SIZE];
    char machine[TRI_HASH_SIZE];
    tri_store *store;      /* the caller's, or own_store; NULL: none yet */
    tri_store *own_store;  /* opened from db_path */
    const char *cache_dir; /* the caller's, or own_cache */
    tri_scratch own_cache;
    int jobs;
    int64_t start_ns;
    tri_device_lock lock; /* our turn on the device */
    int64_t waited_ns;    /* for it */

    tri_space *space;
    tri_configs configs;
    tri_warm_start warm_start; /* of near problems */
    tri_strategy *strategy;
    const char *strategy_name;
    size_t budget;  /* candidates; 0: the whole space */
    bool exhausted; /* the strategy has nothing more to propose */
    tri_candidate reference;
    tri_source reference_source;

    tri_worker **workers; /* [0] measures, [1 .. jobs] compile; NULL: not running */
    size_t worker_count;
    int pattern_fd;
    tri_measurer_state measurer;
    int failed_starts; /* of the measurer, in a row */
    double plain_ms, setup_ms;

    tri_search_trial **trials; /* in order of proposal */
    size_t trial_count, trial_capacity, done_count;
    tri_search_trial **by_config; /* [configs.count], NULL: not proposed yet */
    size_t measured_now;
    tri_tune_dense dense;
    double best_median_ns;         /* 0: none yet */
    double compile_ms, measure_ms; /* spent so far, of all compilers together */
    int64_t measure_start_ns;
    int troubles; /* of the machine, since something last went well */
    bool told_of_trouble;
    bool busy, told_of_busy; /* other programs were on the device when its circumstances were last noted */
    char trouble[512];       /* the last one; "": none */
    size_t left_out_count;   /* trials */
    int64_t pause_until_ns;  /* nothing is begun before */
    bool interrupted, out_of_time;
} tri_search;

/* ---- search.c ---- */
triage_status tri_search_run(tri_search *search);
/* Compiles the plain kernel too (compile_only): TRIAGE_E_COMPILE. */
triage_status tri_search_compile_reference(tri_search *search);
/* Has somebody or the clock said stop? Notes which. */
bool tri_search_stopped(tri_search *search);
/* *ours: nobody else times on the device until we close the lock. Asked again, it tries again. */
triage_status tri_search_take_turn(bool *ours, tri_search *search);
/* Starts, opens and prepares the measurer as far as it is not; needs tri_search_event for the answers. */
triage_status tri_search_feed_measurer(tri_search *search, bool prepare);
/* What the measurer says while it starts; a status only when that is hopeless. */
triage_status tri_search_starting(tri_search *search, const tri_event *event);
void tri_search_drop_worker(tri_search *search, size_t worker);
double tri_search_candidate_limit(const tri_search *search);
bool tri_search_is_host(const tri_search *search);

/* Without what was spent on waiting for our turn. */
double tri_search_seconds_used(const tri_search *search);

/* ---- moment.c ---- */
/* Tells who watches. doing NULL: what the search does; config: the candidate that is raced, else NULL. */
void tri_search_show(const tri_search *search, const char *doing, const char *config);

/* ---- trouble.c ---- */
/* The machine has ended what was done for this trial (NULL: for none yet): it goes back to state `again` after a pause, and
 * is left out after some tries; give_up: at once. message: what happened. A status when the machine has done nothing else
 * for long. */
triage_status tri_search_trouble(tri_search *search, tri_search_trial *trial, tri_trial_state again,
                                 triage_status status, const char *message, bool give_up);
/* Something was done: the trouble is over. */
void tri_search_well(tri_search *search);
bool tri_search_pauses(const tri_search *search);
/* Was a job of the measurer ended by what is no candidate's doing? */
bool tri_search_is_trouble_of(const tri_event *event);
/* Is what a row says the machine's trouble? Older versions stored that as the candidate's failure. */
bool tri_search_is_trouble(const tri_measurement *row);

/* ---- busy.c ---- */
/* Of the device, as a worker just found them: says so once when other programs are on it. NULL: nothing known. */
void tri_search_note_circumstances(tri_search *search, const char *circumstances);
/* Is that a time that was taken while others were on the device? */
bool tri_search_is_busy_time(const tri_measurement *row);

/* ---- finals.c ---- */
triage_status tri_search_race(tri_search *search);
/* Best first: in the store's ranking if there is one, so that the table's winner is what a lookup finds; then
 * raced, searched, slow, failures; equal ones by configuration. */
int tri_trial_order(const void *a, const void *b);

/* Until the measurer can take a measurement, or somebody says stop. */
triage_status tri_search_make_ready(tri_search *search);

/* ---- dense.c ---- */
/* Looks the dense product up, else measures it, else notes why not; no reason to fail a run. */
triage_status tri_search_dense(tri_search *search);

/* ---- claims.c ---- */
/* Puts what strangers claim of this problem before all that is known of others. */
triage_status tri_search_recall_claims(tri_search *search, size_t most);

/* ---- evidence.c ---- */
/* Into the database, which is made if need be. */
triage_status tri_search_store(tri_search *search, tri_measurement *row);
/* tri_report_row of a subject whose device, host and seed are the search's. */
triage_status tri_search_fill(tri_measurement *out, const tri_search *search, const tri_row_subject *subject,
                              const tri_report *report, const char *circumstances);
/* Fills the trial's row from a report and stores it; circumstances NULL: {}. */
triage_status tri_search_record(tri_search *search, tri_search_trial *trial, const tri_report *report,
                                const char *stage, const char *circumstances);
/* The same for a candidate that never got as far as a report. */
triage_status tri_search_record_failure(tri_search *search, tri_search_trial *trial, tri_outcome outcome,
                                        const char *stage, const char *reason);
/* Compiling for nobody in particular: no store is read or written. */
bool tri_search_keeps_nothing(const tri_search *search);
/* Looks the trial up in the store: true and its row filled when it need not be measured again. What a stranger says of
 * it is no answer. */
triage_status tri_search_recall(bool *known, tri_search *search, tri_search_trial *trial);

/* Fills in the ranks. */
triage_status tri_search_rank(tri_search *search);

#endif
