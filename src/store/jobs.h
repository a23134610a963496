/* Jobs on a server: problems to tune, each for one worker at a time. A worker holds a lease and renews it; when it
 * does not, because it died or the network is cut, the job is anybody's. Every function but the last needs a server:
 * TRIAGE_E_INVALID for a file. */
#ifndef TRIAGE_STORE_JOBS_H
#define TRIAGE_STORE_JOBS_H

#include "store/store.h"

/* Claims after which a job whose workers all vanished has failed. */
#define TRI_JOB_ATTEMPTS 25

typedef struct tri_job {
    int64_t id, attempt;
    char *spec; /* JSON object, options of triage_tune */
} tri_job;
void tri_job_clear(tri_job *job);

/* *added: those that were not waiting or running already. Each spec at most 1024 bytes. */
triage_status tri_job_enqueue(int64_t *added, tri_store *server, const char *const *specs, size_t count,
                              const char *device_class);
/* The oldest job that fits the device (its name and key as one text). TRIAGE_E_NOT_FOUND: none now. */
triage_status tri_job_claim(tri_job *out, tri_store *server, const char *worker, const char *device,
                            int64_t lease_ms);
/* *held false: another has it by now, or it has ended. */
triage_status tri_job_renew(bool *held, tri_store *server, const tri_job *job, int64_t lease_ms);
triage_status tri_job_release(tri_store *server, const tri_job *job);
/* state: "done" or "failed". *held false: it was not ours any more, and nothing changed. */
triage_status tri_job_finish(bool *held, tri_store *server, const tri_job *job, const char *state,
                             const char *note);

typedef struct tri_job_row {
    int64_t id, attempt, elapsed_ms;
    const char *state, *worker, *note, *spec, *device_class;
    bool expired; /* running, but its worker was not heard of */
} tri_job_row;
typedef triage_status (*tri_job_fn)(void *user, const tri_job_row *row);
/* Running ones first, then waiting, failed, done. */
triage_status tri_job_each(tri_store *server, int64_t limit, tri_job_fn fn, void *user);

typedef struct tri_fleet_counts {
    int64_t queued, running, done, failed, workers;
    int64_t left_ms; /* until all have ended, at the last hour's pace; -1 unknown */
    int64_t measurements, problems, devices, bytes;
} tri_fleet_counts;
/* Of a file: without jobs. */
triage_status tri_fleet_count(tri_fleet_counts *out, tri_store *server);

#endif
