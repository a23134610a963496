/* The life of a worker: claim a job, work on it, bring its evidence to the server, say that it is done. */
#ifndef TRIAGE_STORE_WORK_H
#define TRIAGE_STORE_WORK_H

#include "store/courier.h"

typedef struct tri_work_options {
    const char *local_path, *server_url;
    const char *worker; /* a name for people */
    const char *device; /* what jobs are chosen by: the device's name and key */
    int64_t lease_ms;   /* 0: 120000 */
    bool stay;          /* wait for more jobs when there are none */
    double patience_s;  /* how long a server that is gone is waited for; 0: 600 */
    tri_check_fn check; /* also called in the courier's thread */
    void *check_user;
    const tri_log *log;
    volatile const int *interrupted;
} tri_work_options;

typedef struct tri_work_result {
    int64_t done, failed, lost; /* lost: another worker took it over meanwhile */
    tri_sync_result sync;
} tri_work_result;

/* Does the work; the evidence goes to the local file. *note: one line, owned by the caller of it: the winner, or
 * why there is none. TRIAGE_E_INTERRUPTED gives the job back; TRIAGE_E_IO, TRIAGE_E_DB and TRIAGE_E_MEMORY too, and
 * end the worker; other failures are the job's. */
typedef triage_status (*tri_work_fn)(void *user, const tri_job *job, char **note);

/* Until there is no job (TRIAGE_OK), or interrupted, or the server was gone for longer than patience_s. */
triage_status tri_work(tri_work_result *out, const tri_work_options *options, tri_work_fn fn, void *user);

#endif
