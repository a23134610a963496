#include "cli/cli_worker.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "cli/cli_common.h"
#include "cli/cli_fleet.h"
#include "store/work.h"

typedef struct worker {
    const tri_cli_worker_options *options;
    tri_device_info info;
    int lock_fd; /* -1: no lock */
} worker;

/* ---- one device, one worker ---- */

/* Two processes that time on one device at once measure each other. The lock goes with its process, however that
 * ends. In /tmp, which all users share; the file stays, or two could lock two files of one name. */
static triage_status lock_device(worker *w) {
    char path[64], hash[TRI_HASH_SIZE];
    const char *device = w->options->tune->device;
    const bool host = strcmp(w->info.backend, "host") == 0;
    const char *number = strchr(device, ':');
    tri_hash(hash, w->info.name, strlen(w->info.name));
    snprintf(path, sizeof path, "/tmp/triage-device-%s-%.8s-%.8s.lock", w->info.backend, hash,
             host || !number ? "0" : number + 1);
    /* Linux may refuse O_CREAT for another user's file in /tmp (fs.protected_regular). */
    w->lock_fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (w->lock_fd < 0 && errno == ENOENT)
        w->lock_fd = open(path, O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (w->lock_fd < 0)
        return tri_fail(TRIAGE_E_IO, "%s: %s", path, strerror(errno));
    return TRIAGE_OK;
}

/* Held for one job, so that several workers of a device take turns. */
static triage_status take_turn(const worker *w) {
    while (flock(w->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return tri_fail(TRIAGE_E_IO, "the lock of the device: %s", strerror(errno));
        if (*w->options->tune->interrupted)
            return tri_fail(TRIAGE_E_INTERRUPTED, "interrupted while another worker uses the device");
        usleep(50000);
    }
    return TRIAGE_OK;
}

/* ---- one job ---- */

static triage_status describe_result(char **note, const tri_tune_result *result) {
    char time[TRI_CLI_NUMBER];
    if (result->winner < 0)
        return tri_format(note, "no candidate of %zu was right", result->count);
    const tri_tune_row *best = &result->rows[result->winner];
    return tri_format(note, "%s: %s", best->config, tri_cli_time(time, best->evidence.median_ns));
}

static void report(const worker *w, const tri_job *job, triage_status status, const char *note) {
    if (!w->options->quiet)
        tri_cli_error("job %lld: %s", (long long)job->id, status == TRIAGE_OK ? note : triage_last_error());
}

static triage_status tune_job(void *user, const tri_job *job, char **note) {
    worker *w = user;
    tri_tune_options options = *w->options->tune;
    tri_tune_result result = {.winner = -1};
    tri_cli_problem problem = {0};
    tri_cli_problem_options described;
    json_t *texts = NULL;
    triage_status status = TRIAGE_OK;
    bool turn = false;
    TRI_TRY(tri_cli_problem_of_job(&problem, &described, &texts, job->spec));
    if (strcmp(w->info.backend, "host") == 0)
        tri_cli_problem_for_host(&problem);
    TRI_TRY(tri_cli_problem_fits(&problem.problem));
    options.seed = described.seed;
    TRI_TRY(take_turn(w));
    turn = true;
    TRI_TRY(tri_tune_run(&result, &problem.problem, &problem.pattern, &options, NULL, NULL));
    TRI_TRY(describe_result(note, &result));
done:
    if (turn)
        flock(w->lock_fd, LOCK_UN);
    report(w, job, status, *note);
    tri_tune_result_free(&result);
    tri_cli_problem_free(&problem);
    json_decref(texts);
    return status;
}

/* ---- the worker ---- */

static triage_status print_work(const worker *w, const tri_work_result *result) {
    if (w->options->json) {
        json_t *document = tri_cli_json_new("worker");
        json_object_set_new(document, "done", json_integer(result->done));
        json_object_set_new(document, "failed", json_integer(result->failed));
        json_object_set_new(document, "lost", json_integer(result->lost));
        json_object_set_new(document, "sent", json_integer(result->sync.sent));
        json_object_set_new(document, "received", json_integer(result->sync.received));
        return tri_cli_json_print(document);
    }
    printf("%lld jobs done, %lld failed, %lld taken over by others; %lld measurements sent, %lld received\n",
           (long long)result->done, (long long)result->failed, (long long)result->lost,
           (long long)result->sync.sent, (long long)result->sync.received);
    return TRIAGE_OK;
}

triage_status tri_cli_work(const tri_cli_worker_options *options) {
    worker w = {.options = options, .lock_fd = -1};
    const tri_log log = {tri_cli_log, (void *)(uintptr_t)&options->quiet};
    char host[65] = "", *name = NULL, *device = NULL, *key = NULL;
    tri_work_result result = {0};
    tri_admission *gate = NULL;
    triage_status status = TRIAGE_OK;
    gethostname(host, sizeof host - 1);
    TRI_TRY(tri_tune_describe(&w.info, options->tune));
    TRI_TRY(tri_device_key(&key, &w.info));
    TRI_TRY(tri_format(&device, "%s %s", w.info.name, key));
    TRI_TRY(tri_format(&name, "%s/%d %s", host, (int)getpid(), options->tune->device));
    TRI_TRY(lock_device(&w));
    TRI_TRY(tri_admission_open(&gate, options->tune->space_path, options->tune->data_dir));
    status = tri_work(&result,
                      &(tri_work_options){.local_path = options->tune->db_path,
                                          .server_url = options->server,
                                          .worker = name,
                                          .device = device,
                                          .lease_ms = (int64_t)(options->lease_s * 1000),
                                          .stay = options->stay,
                                          .check = tri_admission_check,
                                          .check_user = gate,
                                          .log = &log,
                                          .interrupted = options->tune->interrupted},
                      tune_job, &w);
    const triage_status printed = print_work(&w, &result);
    status = status != TRIAGE_OK ? status : printed;
done:
    tri_cli_end_admission(gate);
    if (w.lock_fd >= 0)
        close(w.lock_fd);
    free(name);
    free(device);
    free(key);
    return status;
}
