/* Jobs on a server: problems to tune, each for one worker at a time. A worker holds a lease and renews it; when it
 * does not, because it died or the network is cut, the job is anybody's. Every function but the last needs a server:
 * TRIAGE_E_INVALID for a file. */
#ifndef TRIAGE_STORE_JOBS_H
#define TRIAGE_STORE_JOBS_H

#include "store/store.h"

/* Claims after which a job whose workers all vanished has failed. */
#define TRI_JOB_ATTEMPTS 25

#define TRI_DEVICE_KEY_MAX 512 /* bytes, as the server takes them */

typedef struct tri_job {
    int64_t id, attempt;
    char *spec;                 /* JSON object, options of triage_tune */
    char *device, *device_name; /* to be compiled ahead for the device with this key; NULL: to be timed */
    int64_t tried,
        candidates; /* how far it is, as the holder tells the others; candidates 0: not known yet */
} tri_job;
void tri_job_clear(tri_job *job);

/* *added: those that were not waiting or running already. Each spec at most 1024 bytes. */
triage_status tri_job_enqueue(int64_t *added, tri_store *server, const char *const *specs, size_t count,
                              const char *device_class);
/* The oldest job that fits the device (its name and key as one text). TRIAGE_E_NOT_FOUND: none now. */
triage_status tri_job_claim(tri_job *out, tri_store *server, const char *worker, const char *device,
                            int64_t lease_ms);
/* The oldest waiting job that is not compiled yet for a known device of this architecture, e.g. "sm_90a": no two
 * workers get the same one. It goes on waiting: who comes to time it is not kept. TRIAGE_E_NOT_FOUND: none now. */
triage_status tri_job_claim_compilation(tri_job *out, tri_store *server, const char *worker,
                                        const char *target, int64_t lease_ms);
/* *held false: another has it by now, or it has ended, or (of one to be compiled) somebody times it already. */
triage_status tri_job_renew(bool *held, tri_store *server, const tri_job *job, int64_t lease_ms);
triage_status tri_job_release(tri_store *server, const tri_job *job);
/* state: "done" or "failed". *held false: it was not ours any more, and nothing changed. */
triage_status tri_job_finish(bool *held, tri_store *server, const tri_job *job, const char *state,
                             const char *note);

/* Queues the failed ones again whose device class has this text in it ("": all), but for those that wait anyhow.
 * *queued: how many. */
triage_status tri_job_retry(int64_t *queued, tri_store *server, const char *device_class);

/* ---- devices ---- */

/* A device that jobs are worth compiling for; as often as one likes. */
triage_status tri_fleet_know_device(tri_store *server, const char *key, const char *name);
/* Adds those of the evidence; *count: the known devices of this architecture. */
triage_status tri_fleet_know_target(int64_t *count, tri_store *server, const char *target);

/* ---- how far it all is ---- */

typedef struct tri_job_row {
    int64_t id, attempt, elapsed_ms, tried, candidates;
    const char *state, *worker, *note, *spec, *device_class;
    bool expired;          /* running, but its worker was not heard of */
    struct {               /* of the newest compilation ahead */
        const char *state; /* "" none, "queued", "running", "lost", "done", "failed" */
        const char *worker, *note;
        int64_t tried, candidates;
    } ahead;
} tri_job_row;
typedef triage_status (*tri_job_fn)(void *user, const tri_job_row *row);
/* Running ones first, then waiting, failed, done. all false: only what is in hand, and what failed. */
triage_status tri_job_each(tri_store *server, bool all, int64_t limit, tri_job_fn fn, void *user);

typedef struct tri_fleet_counts {
    int64_t queued, running, done, failed, workers;
    int64_t compiled, compilers; /* jobs that wait and are compiled ahead; workers that do that now */
    int64_t left_ms;             /* until all have ended, at the last hour's pace; -1 unknown */
    int64_t measurements, problems, devices, bytes;
} tri_fleet_counts;
/* Of a file: without jobs. */
triage_status tri_fleet_count(tri_fleet_counts *out, tri_store *server);

#endif
