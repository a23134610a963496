/* The life of a worker: claim a job, work on it, bring its evidence to the server, say that it is done. */
#ifndef TRIAGE_STORE_WORK_H
#define TRIAGE_STORE_WORK_H

#include "store/sync_thread.h"

typedef struct tri_work_options {
    const char *local_path, *server_url;
    const char *worker; /* a name for people */
    const char *device; /* what jobs are chosen by: the device's name and key */
    const char *device_key,
        *device_name;   /* made known to the server, for those who compile ahead; NULL: not */
    const char *target; /* instead of a device: compiles ahead for the known devices of this architecture */
    int64_t lease_ms;   /* 0: 120000 */
    bool stay;          /* wait for more jobs when there are none */
    double patience_s;  /* how long a server that is gone is waited for; 0: 600 */
    tri_check_fn check; /* also called in the sync's thread */
    void *check_user;
    const tri_log *log;
    volatile const int *interrupted;
} tri_work_options;

typedef struct tri_work_result {
    int64_t done, failed, lost; /* lost: another worker took it over meanwhile */
    tri_sync_result sync;
} tri_work_result;

/* What a worker has at hand while it works on a job. */
typedef struct tri_desk tri_desk;

/* How far it is; candidates 0: not known yet. */
void tri_desk_progress(tri_desk *desk, int64_t tried, int64_t candidates);
/* Brings what the server knows of the job's problem into the local file before the work begins, so that nothing is
 * done twice. A server that is gone is no failure: it costs TRI_SERVER_MS at most. */
void tri_desk_fetch(tri_desk *desk, const char *problem, const char *device);
/* Not 0 when the job is not ours any more. */
volatile const int *tri_desk_lost(const tri_desk *desk);

/* Does the work; the evidence goes to the local file. *note: one line, owned by the caller of it: the winner, or
 * why there is none. TRIAGE_E_INTERRUPTED gives the job back; TRIAGE_E_IO, TRIAGE_E_DB and TRIAGE_E_MEMORY too, and
 * end the worker; other failures are the job's. */
typedef triage_status (*tri_work_fn)(void *user, tri_desk *desk, const tri_job *job, char **note);

/* Until there is no job (TRIAGE_OK), or interrupted, or the server was gone for longer than patience_s. */
triage_status tri_work(tri_work_result *out, const tri_work_options *options, tri_work_fn fn, void *user);

#endif
