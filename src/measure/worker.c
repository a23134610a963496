#include "measure/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "measure/codec.h"
#include "measure/wire.h"

#define SEND_TIMEOUT_S 10
#define EXIT_CANNOT_RUN 127
#define LAST_WORDS_MS 1000
#define KILLED_MS 15000

struct tri_worker {
    pid_t pid; /* 0 when reaped */
    tri_wire wire;
    bool busy;
    int64_t deadline_ns; /* of the job in hand */
    double seconds;
    const char *job; /* "compile", "measure", ... */
};

/* ---- starting ------------------------------------------------------------------------------------------- */

/* Between fork and exec: only async-signal-safe calls. */
static void become_worker(const char *program, char *const *argv, int socket_fd, int pattern_fd,
                          pid_t parent) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(EXIT_CANNOT_RUN);
    setpgid(0, 0); /* Ctrl-C is for the parent, which then ends us */
    int quiet = open("/dev/null", O_RDWR);
    dup2(quiet, 0);
    dup2(quiet, 1);
    dup2(quiet, 2);
    /* Out of the way first, so that neither lands on the other's number. */
    int from = fcntl(socket_fd, F_DUPFD, 10);
    int pattern = pattern_fd >= 0 ? fcntl(pattern_fd, F_DUPFD, 10) : -1;
    if (from < 0 || (pattern_fd >= 0 && pattern < 0)) /* no more files may be open */
        _exit(EXIT_CANNOT_RUN);
    dup2(from, TRI_WORKER_SOCKET);
    close(from);
    close(TRI_WORKER_PATTERN);
    if (pattern >= 0) {
        dup2(pattern, TRI_WORKER_PATTERN);
        close(pattern);
    }
    execv(program, argv);
    _exit(EXIT_CANNOT_RUN);
}

static triage_status start(tri_worker *worker, const char *program, tri_worker_role role, int pattern_fd) {
    char *argv[] = {(char *)(uintptr_t) "triage_worker",
                    (char *)(uintptr_t)(role == TRI_WORKER_COMPILE ? "compile" : "measure"), NULL};
    int pair[2];
    if (access(program, X_OK) != 0)
        return tri_fail(TRIAGE_E_IO, "cannot run the worker program %s: %s", program, strerror(errno));
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return tri_fail(TRIAGE_E_MEMORY, "cannot make a socket for a worker: %s", strerror(errno));
    struct timeval patience = {.tv_sec = SEND_TIMEOUT_S};
    setsockopt(pair[0], SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    pid_t parent = getpid();
    worker->pid = fork();
    if (worker->pid == 0)
        become_worker(program, argv, pair[1], pattern_fd, parent);
    close(pair[1]);
    if (worker->pid > 0) {
        setpgid(worker->pid, worker->pid); /* whoever of the two comes first */
        worker->wire.fd = pair[0];
        return TRIAGE_OK;
    }
    worker->pid = 0;
    close(pair[0]);
    return tri_fail(TRIAGE_E_MEMORY, "cannot start a worker: %s", strerror(errno));
}

triage_status tri_worker_start(tri_worker **out, const char *program, tri_worker_role role, int pattern_fd) {
    tri_worker *worker = NULL;
    triage_status status = tri_calloc(&worker, 1, sizeof *worker);
    if (status != TRIAGE_OK)
        return status;
    worker->wire.fd = -1;
    status = start(worker, program, role, pattern_fd);
    if (status == TRIAGE_OK)
        *out = worker;
    else
        tri_worker_free(worker);
    return status;
}

/* The process when it has ended within the time, else 0. */
static pid_t await_end(pid_t pid, int *state, int milliseconds) {
    for (int waited = 0;; waited += 5) {
        pid_t got = waitpid(pid, state, WNOHANG);
        if (got != 0 || waited >= milliseconds)
            return got;
        usleep(5000);
    }
}

/* Somebody, a system without memory, or the user's limit of time has ended it: no fault of its code raises these. */
static bool is_from_outside(int state) {
    if (WIFEXITED(state))
        return WEXITSTATUS(state) == EXIT_CANNOT_RUN;
    const int number = WTERMSIG(state);
    return number == SIGKILL || number == SIGTERM || number == SIGINT || number == SIGHUP ||
           number == SIGQUIT || number == SIGXCPU;
}

/* What became of the process, as text: kills it first if it is still there. */
static void reap(tri_worker *worker, char *how, size_t size, bool *ended_from_outside) {
    int state = 0;
    pid_t got = 0;
    if (!worker->pid)
        return;
    /* A closed socket comes a moment before the end of the process: let it end by itself. */
    if (how)
        got = await_end(worker->pid, &state, LAST_WORDS_MS);
    kill(-worker->pid, SIGKILL);
    if (got == 0)
        got = await_end(worker->pid, &state, KILLED_MS);
    worker->pid = 0;
    if (!how)
        return;
    *ended_from_outside = got > 0 && is_from_outside(state);
    if (got <= 0) /* a driver that does not let go of it: nobody waits for that */
        snprintf(how, size, "does not end, even when killed");
    else if (WIFSIGNALED(state))
        snprintf(how, size, "killed by SIG%s (%s)", sigabbrev_np(WTERMSIG(state)),
                 sigdescr_np(WTERMSIG(state)));
    else if (WEXITSTATUS(state) == EXIT_CANNOT_RUN)
        snprintf(how, size, "the worker program could not be run");
    else
        snprintf(how, size, "ended with status %d in the middle of its work", WEXITSTATUS(state));
}

void tri_worker_free(tri_worker *worker) {
    if (!worker)
        return;
    reap(worker, NULL, 0, NULL);
    tri_wire_free(&worker->wire);
    free(worker);
}

bool tri_worker_idle(const tri_worker *worker) {
    return worker->pid && !worker->busy;
}

/* ---- jobs ------------------------------------------------------------------------------------------------- */

/* A worker that died in the meantime is no error here: the event tells. */
static triage_status give(tri_worker *worker, const char *job, json_t *message, double seconds) {
    worker->busy = true;
    worker->job = job;
    worker->seconds = seconds;
    worker->deadline_ns = tri_now_ns() + (int64_t)(seconds * 1e9);
    triage_status status = tri_wire_send(&worker->wire, message);
    return status == TRIAGE_E_IO ? TRIAGE_OK : status;
}

triage_status tri_worker_compile(tri_worker *worker, const char *target, const tri_source *source,
                                 const char *cache_dir, double seconds) {
    return give(worker, "compile",
                json_pack("{s:s, s:s, s:o, s:o}", "job", "compile", "target", target, "source",
                          tri_json_source(source), "cache", tri_json_path(cache_dir)),
                seconds);
}

triage_status tri_worker_open(tri_worker *worker, const char *device, double seconds) {
    return give(worker, "open", json_pack("{s:s, s:s}", "job", "open", "device", device), seconds);
}

triage_status tri_worker_count(tri_worker *worker, double seconds) {
    return give(worker, "count", json_pack("{s:s}", "job", "count"), seconds);
}

static json_t *json_trial(const tri_trial *trial) {
    return json_pack("{s:o, s:o}", "source", tri_json_source(trial->source), "launch",
                     tri_json_launch(trial->launch));
}

/* A 64-bit seed does not fit JSON's integers (jansson's are signed): as text. */
static json_t *json_seed(uint64_t seed) {
    return json_sprintf("%llu", (unsigned long long)seed);
}

triage_status tri_worker_setup(tri_worker *worker, const tri_bench_setup *setup, double seconds) {
    return give(worker, "setup",
                json_pack("{s:s, s:o, s:o, s:b, s:f, s:o, s:o, s:o}", "job", "setup", "problem",
                          tri_json_problem(setup->problem), "seed", json_seed(setup->seed), "warm",
                          (int)setup->warm, "sampling", setup->sampling_limit_s, "cache",
                          tri_json_path(setup->cache_dir), "locks", tri_json_path(setup->lock_dir),
                          "reference", json_trial(&setup->reference)),
                seconds);
}

triage_status tri_worker_measure(tri_worker *worker, const tri_trial *trial, double best_median_ns,
                                 double seconds) {
    return give(
        worker, "measure",
        json_pack("{s:s, s:o, s:f}", "job", "measure", "trial", json_trial(trial), "best", best_median_ns),
        seconds);
}

triage_status tri_worker_race(tri_worker *worker, const tri_trial *trials, size_t count, uint64_t seed,
                              double seconds) {
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_trial(&trials[i]));
    return give(worker, "race",
                json_pack("{s:s, s:o, s:o}", "job", "race", "trials", list, "seed", json_seed(seed)),
                seconds);
}

triage_status tri_worker_library(tri_worker *worker, double seconds) {
    return give(worker, "library", json_pack("{s:s}", "job", "library"), seconds);
}

triage_status tri_worker_dense(tri_worker *worker, double seconds) {
    return give(worker, "dense", json_pack("{s:s}", "job", "dense"), seconds);
}

/* ---- events ------------------------------------------------------------------------------------------------- */

void tri_event_clear(tri_event *event) {
    free(event->circumstances);
    *event = (tri_event){0};
}

static void copy_text(char *to, size_t size, const char *from) {
    snprintf(to, size, "%s", from ? from : "");
}

static triage_status read_compiled(tri_event *out, const json_t *json) {
    tri_compiled *c = &out->compiled;
    const char *message = NULL, *compiler = NULL;
    int code = 0, cached = 0;
    triage_status status =
        tri_json_read(json, "{s:i, s:s, s:s, s:i, s:i, s:i, s:b, s:F}", "status", &code, "message", &message,
                      "compiler", &compiler, "registers", &c->registers, "spill", &c->spill_bytes, "smem",
                      &c->static_smem_bytes, "cached", &cached, "ms", &c->ms);
    c->status = (triage_status)code;
    c->from_cache = cached;
    copy_text(c->message, sizeof c->message, message);
    copy_text(c->compiler, sizeof c->compiler, compiler);
    out->kind = TRI_EVENT_COMPILED;
    return status;
}

static triage_status read_opened(tri_event *out, const json_t *json) {
    json_t *device = NULL;
    const char *compiler = NULL, *circumstances = NULL;
    out->kind = TRI_EVENT_OPENED;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_json_read(json, "{s:o, s:s, s?s}", "device", &device, "compiler", &compiler, "circumstances",
                          &circumstances));
    copy_text(out->compiler, sizeof out->compiler, compiler);
    TRI_TRY(tri_device_from_json(&out->device, device));
    if (circumstances)
        TRI_TRY(tri_strdup(&out->circumstances, circumstances));
done:
    return status;
}

static triage_status read_library(tri_event *out, const json_t *json) {
    const char *library = NULL;
    out->kind = TRI_EVENT_LIBRARY;
    triage_status status = tri_json_read(json, "{s:s}", "library", &library);
    copy_text(out->library, sizeof out->library, library);
    return status;
}

static triage_status read_ready(tri_event *out, const json_t *json) {
    out->kind = TRI_EVENT_READY;
    return tri_json_read(json, "{s:F, s:F}", "plain_ms", &out->plain_ms, "setup_ms", &out->setup_ms);
}

static triage_status read_reports(tri_event *out, const json_t *json) {
    json_t *reports = NULL;
    const char *circumstances = NULL;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_json_read(json, "{s:o, s:s}", "reports", &reports, "circumstances", &circumstances));
    if (json_array_size(reports) > TRI_RACE_MAX)
        return tri_fail(TRIAGE_E_DATA, "a worker sent %zu reports", json_array_size(reports));
    for (; out->report_count < json_array_size(reports); out->report_count++)
        TRI_TRY(tri_report_from_json(&out->reports[out->report_count],
                                     json_array_get(reports, out->report_count)));
    TRI_TRY(tri_strdup(&out->circumstances, circumstances));
done:
    return status;
}

static triage_status read_counted(tri_event *out, const json_t *json) {
    out->kind = TRI_EVENT_COUNTED;
    return tri_json_read(json, "{s:i}", "gpus", &out->gpus);
}

static triage_status read_measured(tri_event *out, const json_t *json) {
    out->kind = TRI_EVENT_MEASURED;
    triage_status status = read_reports(out, json);
    if (status == TRIAGE_OK && out->report_count != 1)
        status = tri_fail(TRIAGE_E_DATA, "a worker sent %zu reports for one candidate", out->report_count);
    return status;
}

static triage_status read_raced(tri_event *out, const json_t *json) {
    out->kind = TRI_EVENT_RACED;
    return read_reports(out, json);
}

static triage_status read_racing(tri_event *out, const json_t *json) {
    json_int_t index = 0;
    out->kind = TRI_EVENT_RACING;
    triage_status status = tri_json_read(json, "{s:I}", "index", &index);
    out->racing = (size_t)index;
    return status;
}

static triage_status read_failed(tri_event *out, const json_t *json) {
    const char *message = NULL;
    int code = 0;
    out->kind = TRI_EVENT_FAILED;
    triage_status status = tri_json_read(json, "{s:i, s:s}", "status", &code, "message", &message);
    out->status = (triage_status)code;
    copy_text(out->message, sizeof out->message, message);
    return status;
}

static triage_status read_event(tri_event *out, const json_t *json) {
    static const struct {
        const char *name;
        triage_status (*read)(tri_event *, const json_t *);
    } kinds[] = {{"compiled", read_compiled}, {"opened", read_opened},   {"ready", read_ready},
                 {"measured", read_measured}, {"raced", read_raced},     {"racing", read_racing},
                 {"failed", read_failed},     {"library", read_library}, {"counted", read_counted}};
    const char *name = "";
    int leaving = 0;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_json_read(json, "{s:s, s?b}", "event", &name, "leaving", &leaving));
    out->leaving = leaving;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(kinds[i].name, name) == 0)
            return kinds[i].read(out, json);
    status = tri_fail(TRIAGE_E_DATA, "a worker sent the unknown event '%.32s'", name);
done:
    return status;
}

/* A worker that talks nonsense is as lost as one that crashed. */
static void take_line(tri_event *out, tri_worker *worker, json_t *json) {
    if (read_event(out, json) != TRIAGE_OK) {
        free(out->circumstances);
        *out = (tri_event){.kind = TRI_EVENT_DIED, .worker = out->worker};
        copy_text(out->message, sizeof out->message, triage_last_error());
        reap(worker, NULL, 0, NULL);
    }
    if (out->kind != TRI_EVENT_RACING)
        worker->busy = false;
    json_decref(json);
}

static void take_end(tri_event *out, tri_worker *worker) {
    out->kind = TRI_EVENT_DIED;
    reap(worker, out->message, sizeof out->message, &out->from_outside);
    worker->busy = false;
}

/* A whole line that is already here; else none. */
static bool take_buffered(tri_event *out, tri_worker *worker) {
    json_t *json = NULL;
    if (tri_wire_next(&json, &worker->wire) != TRIAGE_OK) {
        out->kind = TRI_EVENT_DIED;
        copy_text(out->message, sizeof out->message, triage_last_error());
        reap(worker, NULL, 0, NULL);
        worker->busy = false;
        return true;
    }
    if (json)
        take_line(out, worker, json);
    return json;
}

static bool take_late(tri_event *out, tri_worker *worker) {
    if (!worker->busy || tri_now_ns() < worker->deadline_ns)
        return false;
    out->kind = TRI_EVENT_TIMED_OUT;
    snprintf(out->message, sizeof out->message, "%s took longer than %.3g s", worker->job, worker->seconds);
    reap(worker, NULL, 0, NULL);
    worker->busy = false;
    return true;
}

static bool scan(tri_event *out, tri_worker *const *workers, size_t count,
                 bool (*take)(tri_event *, tri_worker *)) {
    for (size_t i = 0; i < count; i++) {
        out->worker = i;
        if (workers[i] && workers[i]->pid && take(out, workers[i]))
            return true;
    }
    return false;
}

/* Milliseconds until the wait or the first deadline is over. */
static int patience(tri_worker *const *workers, size_t count, int milliseconds) {
    int64_t least = milliseconds, now = tri_now_ns();
    for (size_t i = 0; i < count; i++) {
        if (!workers[i] || !workers[i]->pid || !workers[i]->busy)
            continue;
        int64_t left = (workers[i]->deadline_ns - now) / 1000000 + 1;
        least = left < least ? left : least;
    }
    return least < 0 ? 0 : (int)least;
}

static triage_status wait_and_read(tri_event *out, tri_worker *const *workers, size_t count,
                                   int milliseconds) {
    struct pollfd *files = NULL;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_calloc(&files, count ? count : 1, sizeof *files));
    for (size_t i = 0; i < count; i++)
        files[i] =
            (struct pollfd){.fd = workers[i] && workers[i]->pid ? workers[i]->wire.fd : -1, .events = POLLIN};
    if (poll(files, count, patience(workers, count, milliseconds)) <= 0)
        goto done;
    for (size_t i = 0; i < count; i++) {
        bool open = true;
        if (!workers[i] || !files[i].revents)
            continue;
        TRI_TRY(tri_wire_fill(&open, &workers[i]->wire, false));
        out->worker = i;
        if (take_buffered(out, workers[i]))
            goto done;
        if (!open) {
            take_end(out, workers[i]);
            goto done;
        }
    }
done:
    free(files);
    return status;
}

triage_status tri_workers_wait(tri_event *out, tri_worker *const *workers, size_t count, int milliseconds) {
    *out = (tri_event){0};
    if (scan(out, workers, count, take_buffered))
        return TRIAGE_OK;
    triage_status status = wait_and_read(out, workers, count, milliseconds);
    if (status == TRIAGE_OK && out->kind == TRI_EVENT_NONE)
        scan(out, workers, count, take_late);
    return status;
}
