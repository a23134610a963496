#include "store/sync_thread.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* So that others see how far a job is; a lease shorter than three of these is renewed more often. */
#define RENEW_NS INT64_C(10000000000)

/* A copy of the job in hand: its owner may be done with it while the thread renews it. */
typedef struct held_job {
    int64_t id, attempt, tried, candidates; /* id 0: none */
    char device[TRI_DEVICE_KEY_MAX + 1];    /* "": to be timed */
} held_job;

struct tri_sync_thread {
    tri_sync_thread_options options;
    char *local_path, *server_url;
    pthread_t thread;
    tri_log log;           /* the owner's */
    tri_log guarded;       /* ours: it says nothing once the owner is gone */
    pthread_mutex_t mutex; /* of the next seven */
    pthread_cond_t changed;
    bool stop, ended, abandoned;
    held_job job;
    volatile int lost;
    tri_store *local, *server; /* the thread's own, opened when they can be */
    tri_sync_result total;
    triage_status last;
    char message[512]; /* of last */
};

/* ---- the thread ---- */

static void free_parts(tri_sync_thread *c) {
    tri_store_close(c->local);
    tri_store_close(c->server);
    pthread_cond_destroy(&c->changed);
    pthread_mutex_destroy(&c->mutex);
    free(c->local_path);
    free(c->server_url);
    free(c);
}

static void log_while_owned(void *user, triage_log_level level, const char *line) {
    tri_sync_thread *c = user;
    pthread_mutex_lock(&c->mutex);
    if (!c->abandoned)
        tri_log_line(&c->log, level, "%s", line);
    pthread_mutex_unlock(&c->mutex);
}

static triage_status open_both(tri_sync_thread *c) {
    triage_status status = TRIAGE_OK;
    if (!c->local)
        TRI_TRY(tri_store_open(&c->local, c->local_path, TRI_STORE_WRITE));
    if (!c->server)
        TRI_TRY(tri_store_open(&c->server, c->server_url,
                               c->options.never_migrates ? TRI_STORE_READ : TRI_STORE_WRITE));
done:
    return status;
}

static triage_status travel(tri_sync_thread *c, double limit_s) {
    tri_sync_result moved = {0};
    const tri_sync_options options = {.check = c->options.check,
                                      .user = c->options.check_user,
                                      .log = &c->guarded,
                                      .time_limit_s = limit_s};
    triage_status status = open_both(c);
    if (status == TRIAGE_OK)
        status = tri_store_sync(&moved, c->local, c->server, &options);
    c->total.sent += moved.sent;
    c->total.received += moved.received;
    c->total.refused += moved.refused;
    c->total.read_only = moved.read_only;
    if (status != TRIAGE_OK && status != TRIAGE_E_TIMEOUT &&
        c->last == TRIAGE_OK) /* said once, not every half minute */
        tri_log_line(&c->guarded, TRIAGE_LOG_WARNING, "%s; going on without the server", triage_last_error());
    snprintf(c->message, sizeof c->message, "%s", status == TRIAGE_OK ? "" : triage_last_error());
    c->last = status;
    return status;
}

/* Whether the owner stops when another has the job by now is the owner's decision. */
static void renew(tri_sync_thread *c, held_job *job) {
    bool held = true;
    const tri_job asked = {.id = job->id,
                           .attempt = job->attempt,
                           .tried = job->tried,
                           .candidates = job->candidates,
                           .device = job->device[0] ? job->device : NULL};
    if (open_both(c) != TRIAGE_OK ||
        tri_job_renew(&held, c->server, &asked, c->options.lease_ms) != TRIAGE_OK)
        return;
    pthread_mutex_lock(&c->mutex);
    if (!held && c->job.id == job->id && c->job.attempt == job->attempt)
        c->lost = 1;
    pthread_mutex_unlock(&c->mutex);
}

/* True: told to stop. */
static bool wait_until(tri_sync_thread *c, int64_t when_ns, held_job *job) {
    const struct timespec until = {.tv_sec = when_ns / 1000000000, .tv_nsec = when_ns % 1000000000};
    pthread_mutex_lock(&c->mutex);
    if (!c->stop && tri_now_ns() < when_ns)
        pthread_cond_timedwait(&c->changed, &c->mutex, &until);
    const bool stop = c->stop;
    *job = c->job;
    pthread_mutex_unlock(&c->mutex);
    return stop;
}

static void *run(void *user) {
    tri_sync_thread *c = user;
    held_job job = {0};
    const int64_t lease_ns = c->options.lease_ms * INT64_C(1000000) / 3;
    const int64_t renew_ns = lease_ns < RENEW_NS ? lease_ns : RENEW_NS;
    const int64_t interval_ns = (int64_t)((c->options.interval_s > 0 ? c->options.interval_s : 30) * 1e9);
    int64_t renewed = 0, travelled = 0;
    for (bool stop = false; !stop;) {
        int64_t now = tri_now_ns();
        if (job.id && now >= renewed + renew_ns) {
            renew(c, &job);
            renewed = now = tri_now_ns();
        }
        if (now >= travelled + interval_ns || travelled == 0) {
            /* out of time: the rest goes after the lease was seen to */
            const bool rest = travel(c, lease_ns ? (double)lease_ns / 2e9 : 30) == TRIAGE_E_TIMEOUT;
            travelled = rest ? 1 : tri_now_ns();
        }
        int64_t next = travelled + interval_ns;
        if (renew_ns && renewed + renew_ns < next)
            next = renewed + renew_ns > now ? renewed + renew_ns : now + renew_ns;
        stop = wait_until(c, next, &job);
    }
    if (!c->options.leaves_at_once)
        (void)travel(c, 30);
    pthread_mutex_lock(&c->mutex);
    c->ended = true;
    const bool abandoned = c->abandoned;
    pthread_cond_signal(&c->changed);
    pthread_mutex_unlock(&c->mutex);
    if (abandoned)
        free_parts(c);
    return NULL;
}

/* ---- the owner's side ---- */

/* Signals are for the owner's threads. */
static triage_status start(tri_sync_thread *c) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int failed = pthread_create(&c->thread, NULL, run, c);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed ? tri_fail(TRIAGE_E_MEMORY, "cannot start the thread that syncs") : TRIAGE_OK;
}

static void make_locks(tri_sync_thread *c) {
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC); /* tri_now_ns */
    pthread_mutex_init(&c->mutex, NULL);
    pthread_cond_init(&c->changed, &attributes);
    pthread_condattr_destroy(&attributes);
}

triage_status tri_sync_thread_new(tri_sync_thread **out, const tri_sync_thread_options *options) {
    triage_status status = TRIAGE_OK;
    tri_sync_thread *c = NULL;
    *out = NULL;
    TRI_TRY(tri_calloc(&c, 1, sizeof *c));
    make_locks(c);
    c->options = *options;
    c->log = options->log ? *options->log : (tri_log){0};
    c->guarded = (tri_log){log_while_owned, c};
    TRI_TRY(tri_strdup(&c->local_path, options->local_path));
    TRI_TRY(tri_strdup(&c->server_url, options->server_url));
    TRI_TRY(start(c));
    *out = c;
    c = NULL;
done:
    if (c)
        free_parts(c);
    return status;
}

void tri_sync_thread_hold(tri_sync_thread *sync, const tri_job *job) {
    pthread_mutex_lock(&sync->mutex);
    sync->job = job ? (held_job){.id = job->id, .attempt = job->attempt} : (held_job){0};
    if (job && job->device)
        snprintf(sync->job.device, sizeof sync->job.device, "%s", job->device);
    sync->lost = 0;
    pthread_cond_signal(&sync->changed);
    pthread_mutex_unlock(&sync->mutex);
}

void tri_sync_thread_progress(tri_sync_thread *sync, int64_t tried, int64_t candidates) {
    pthread_mutex_lock(&sync->mutex);
    sync->job.tried = tried;
    sync->job.candidates = candidates;
    pthread_mutex_unlock(&sync->mutex);
}

volatile const int *tri_sync_thread_lost(const tri_sync_thread *sync) {
    return &sync->lost;
}

/* True: the thread has ended, or will; false: it frees everything itself when it does. */
static bool wait_for_end(tri_sync_thread *c) {
    const int64_t limit = tri_now_ns() + TRI_LEAVE_MS * INT64_C(1000000);
    const struct timespec until = {.tv_sec = limit / 1000000000, .tv_nsec = limit % 1000000000};
    pthread_mutex_lock(&c->mutex);
    c->stop = true;
    pthread_cond_signal(&c->changed);
    while (c->options.leaves_at_once && !c->ended &&
           pthread_cond_timedwait(&c->changed, &c->mutex, &until) == 0)
        continue;
    c->abandoned = c->options.leaves_at_once && !c->ended;
    const bool ends = !c->abandoned;
    if (!ends)
        pthread_detach(c->thread);
    pthread_mutex_unlock(&c->mutex);
    return ends;
}

triage_status tri_sync_thread_free(tri_sync_thread *sync, tri_sync_result *total) {
    if (total)
        *total = (tri_sync_result){0};
    if (!sync || !wait_for_end(sync))
        return TRIAGE_OK;
    pthread_join(sync->thread, NULL);
    if (total)
        *total = sync->total;
    const triage_status status =
        sync->last == TRIAGE_OK ? TRIAGE_OK : tri_fail(sync->last, "%s", sync->message);
    free_parts(sync);
    return status;
}
