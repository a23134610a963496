/* A thread that carries evidence between a local file and a server while its owner works, and keeps the lease of
 * the job in hand. Its owner never waits for the network, but for the last journey in tri_sync_thread_free. */
#ifndef TRIAGE_STORE_SYNC_THREAD_H
#define TRIAGE_STORE_SYNC_THREAD_H

#include "store/jobs.h"

typedef struct tri_sync_thread tri_sync_thread;

typedef struct tri_sync_thread_options {
    const char *local_path, *server_url; /* copied */
    tri_check_fn check;                  /* of what arrives; called in the thread */
    void *check_user;    /* leaves_at_once: must be NULL, for the thread may outlive what it points to */
    const tri_log *log;  /* called in the thread; copied. It must not free the sync */
    double interval_s;   /* between journeys; 0: 30 */
    int64_t lease_ms;    /* of the jobs in hand */
    bool never_migrates; /* the server: one without tables, or with older ones, stays as it is */
    bool leaves_at_once; /* at the end: no last journey, and nobody waits for one under way */
} tri_sync_thread_options;

/* Starts with a journey. Whether the server can be reached is found out later, and logged. */
triage_status tri_sync_thread_new(tri_sync_thread **out, const tri_sync_thread_options *options);

/* From now on the lease of this job is renewed (NULL: of none). */
void tri_sync_thread_hold(tri_sync_thread *sync, const tri_job *job);
/* Told to the server with the next renewal, within 10 s. */
void tri_sync_thread_progress(tri_sync_thread *sync, int64_t tried, int64_t candidates);
/* Not 0 from when a renewal found that the job in hand is not ours any more, until the next one is held. Borrowed
 * for the sync's life. */
volatile const int *tri_sync_thread_lost(const tri_sync_thread *sync);

/* One last journey, at most 30 s and what its last call takes (TRI_SERVER_MS; TRI_CONNECT_MS when the server is
 * gone), and the end. *total: what was moved in all (may be NULL). The status is that of the last journey:
 * what it did not move, the next sync will. One that leaves_at_once is given TRI_LEAVE_MS to end; a thread that still
 * waits for the network then is left alone: it ends by itself, silently. */
#define TRI_LEAVE_MS 200
triage_status tri_sync_thread_free(tri_sync_thread *sync, tri_sync_result *total);

#endif
