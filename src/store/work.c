#include "store/work.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

struct tri_desk {
    const tri_work_options *options;
    tri_store *local, *server;
    bool introduced; /* the server knows the device, or what it is to be compiled for */
    tri_job job;     /* in hand */
    tri_sync_thread *sync;
    int64_t lease_ms;
    int64_t reached_ns; /* when the server last answered */
    tri_work_result result;
};
typedef struct tri_desk worker;

static bool is_told_to_stop(const worker *w) {
    return w->options->interrupted && *w->options->interrupted;
}

static void pause_ms(const worker *w, int64_t ms) {
    for (; ms > 0 && !is_told_to_stop(w); ms -= 100)
        nanosleep(&(struct timespec){.tv_nsec = (ms < 100 ? ms : 100) * 1000000}, NULL);
}

/* A server that is gone may come back: after a pause the same is tried again. False: it is not worth it. */
static bool try_again(worker *w, triage_status status) {
    const double patience_s = w->options->patience_s > 0 ? w->options->patience_s : 600;
    if (status == TRIAGE_OK)
        w->reached_ns = tri_now_ns();
    if (status != TRIAGE_E_IO || is_told_to_stop(w) ||
        (double)(tri_now_ns() - w->reached_ns) > patience_s * 1e9)
        return false;
    pause_ms(w, 500);
    return true;
}

static triage_status open_server(worker *w) {
    triage_status status = TRIAGE_OK;
    if (!w->server)
        status = tri_store_open(&w->server, w->options->server_url, TRI_STORE_WRITE);
    return status;
}

/* Once: the server learns which device jobs are worth compiling for, or we which ones it knows. */
static triage_status introduce(worker *w) {
    const tri_work_options *o = w->options;
    triage_status status = TRIAGE_OK;
    int64_t known = 1;
    if (w->introduced)
        return TRIAGE_OK;
    if (o->target)
        TRI_TRY(tri_fleet_know_target(&known, w->server, o->target));
    else if (o->device_key)
        TRI_TRY(tri_fleet_know_device(w->server, o->device_key, o->device_name));
    if (known == 0)
        tri_log_line(o->log, TRIAGE_LOG_WARNING,
                     "%s knows no device of %s yet: it will when a worker of one has been there",
                     tri_store_name(w->server), o->target);
    w->introduced = true;
done:
    return status;
}

static triage_status claim_once(tri_job *job, worker *w) {
    const tri_work_options *o = w->options;
    triage_status status = TRIAGE_OK;
    TRI_TRY(open_server(w));
    TRI_TRY(introduce(w));
    status = o->target ? tri_job_claim_compilation(job, w->server, o->worker, o->target, w->lease_ms)
                       : tri_job_claim(job, w->server, o->worker, o->device, w->lease_ms);
done:
    return status;
}

static triage_status claim(tri_job *job, worker *w) {
    triage_status status;
    do {
        status = claim_once(job, w);
    } while (try_again(w, status == TRIAGE_E_NOT_FOUND ? TRIAGE_OK : status));
    return status;
}

/* What the job measured is on the server before the job is done there. */
static triage_status deliver(bool *held, worker *w, const tri_job *job, const char *state, const char *note) {
    const tri_sync_options options = {.check = w->options->check,
                                      .user = w->options->check_user,
                                      .log = w->options->log,
                                      .interrupted = NULL,
                                      .time_limit_s = 0};
    triage_status status;
    do {
        tri_sync_result moved = {0};
        status = tri_store_sync(&moved, w->local, w->server, &options);
        w->result.sync.sent += moved.sent;
        w->result.sync.received += moved.received;
        w->result.sync.refused += moved.refused;
        if (status == TRIAGE_OK)
            status = tri_job_finish(held, w->server, job, state, note);
    } while (try_again(w, status));
    return status;
}

static bool ends_worker(triage_status status) {
    return status == TRIAGE_E_INTERRUPTED || status == TRIAGE_E_IO || status == TRIAGE_E_DB ||
           status == TRIAGE_E_MEMORY || status == TRIAGE_E_NO_DEVICE;
}

void tri_desk_progress(tri_desk *desk, int64_t tried, int64_t candidates) {
    desk->job.tried = tried;
    desk->job.candidates = candidates;
    tri_sync_thread_progress(desk->sync, tried, candidates);
}

void tri_desk_fetch(tri_desk *desk, const char *problem, const char *device) {
    int64_t added = 0;
    (void)tri_store_fetch(&added, desk->local, desk->server, problem, device, desk->options->check,
                          desk->options->check_user);
    desk->result.sync.received += added;
}

volatile const int *tri_desk_lost(const tri_desk *desk) {
    return tri_sync_thread_lost(desk->sync);
}

static triage_status work_on(worker *w, tri_work_fn fn, void *user) {
    const tri_job *job = &w->job;
    triage_status status = TRIAGE_OK, worked;
    char *note = NULL, reason[512] = "";
    bool held = false;
    tri_sync_thread_hold(w->sync, job);
    worked = fn(user, w, job, &note);
    if (worked != TRIAGE_OK)
        snprintf(reason, sizeof reason, "%s", triage_last_error());
    if (ends_worker(worked)) {
        (void)tri_job_release(w->server, job); /* if that fails, the lease ends by itself */
        TRI_TRY(tri_fail(worked, "%s", reason));
    }
    TRI_TRY(deliver(&held, w, job, worked == TRIAGE_OK ? "done" : "failed", note ? note : reason));
    w->result.lost += !held;
    w->result.done += held && worked == TRIAGE_OK;
    w->result.failed += held && worked != TRIAGE_OK;
done:
    tri_sync_thread_hold(w->sync, NULL);
    free(note);
    return status;
}

/* No job now: the end, or, for one who stays, a pause. */
static triage_status rest(const worker *w) {
    if (!w->options->stay)
        return TRIAGE_E_NOT_FOUND;
    pause_ms(w, 2000);
    return is_told_to_stop(w) ? tri_fail(TRIAGE_E_INTERRUPTED, "interrupted while waiting for jobs")
                              : TRIAGE_OK;
}

static triage_status start(worker *w) {
    triage_status status = TRIAGE_OK;
    w->lease_ms = w->options->lease_ms ? w->options->lease_ms : 120000;
    w->reached_ns = tri_now_ns();
    const tri_sync_thread_options sync = {.local_path = w->options->local_path,
                                          .server_url = w->options->server_url,
                                          .check = w->options->check,
                                          .check_user = w->options->check_user,
                                          .log = w->options->log,
                                          .lease_ms = w->lease_ms};
    TRI_TRY(tri_store_open(&w->local, w->options->local_path, TRI_STORE_WRITE));
    TRI_TRY(tri_sync_thread_new(&w->sync, &sync));
done:
    return status;
}

triage_status tri_work(tri_work_result *out, const tri_work_options *options, tri_work_fn fn, void *user) {
    triage_status status = TRIAGE_OK;
    worker w = {.options = options};
    TRI_TRY(start(&w));
    while (status == TRIAGE_OK) {
        status = is_told_to_stop(&w) ? tri_fail(TRIAGE_E_INTERRUPTED, "interrupted") : claim(&w.job, &w);
        if (status == TRIAGE_OK)
            status = work_on(&w, fn, user);
        else if (status == TRIAGE_E_NOT_FOUND)
            status = rest(&w);
        tri_job_clear(&w.job);
    }
    if (status == TRIAGE_E_NOT_FOUND)
        status = TRIAGE_OK;
done:
    if (w.sync) {
        tri_sync_result moved;
        char message[512];
        snprintf(message, sizeof message, "%s", triage_last_error());
        triage_status last = tri_sync_thread_free(w.sync, &moved);
        w.result.sync.sent += moved.sent;
        w.result.sync.received += moved.received;
        w.result.sync.refused += moved.refused;
        if (status == TRIAGE_OK)
            status = last;
        else
            (void)tri_fail(status, "%s", message);
    }
    tri_store_close(w.local);
    tri_store_close(w.server);
    *out = w.result;
    return status;
}
