/* One process of a fleet with a fake device: its times are recorded in a formula, everything else is what
 * triage_tune does: the local file first, a courier to the server, jobs with leases.
 *
 *   fleet_member tune LOCAL URL HOST PROCESS PROBLEMS    tunes all problems; two rows each, one of them its own
 *   fleet_member work LOCAL URL HOST LEASE_MS WORK_MS     works on jobs until there are none
 *   fleet_member compile LOCAL URL HOST LEASE_MS WORK_MS  compiles jobs ahead until none waits; a row each
 *   fleet_member enqueue URL JOBS
 *
 * Prints one JSON object. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "store/work.h"

enum { CANDIDATES = 3 };

static char *text(const char *literal) {
    return (char *)(uintptr_t)literal;
}

static void say(void *user, triage_log_level level, const char *line) {
    (void)user, (void)level;
    fprintf(stderr, "fleet_member %d: %s\n", (int)getpid(), line);
}

/* The recorded time of a candidate: the same on every host, so that all agree on the winner. */
static double recorded_ns(int problem, int candidate, int process) {
    char hash[TRI_HASH_SIZE], key[64];
    snprintf(key, sizeof key, "%d %d", problem, candidate);
    tri_hash(hash, key, strlen(key));
    return 20000 + (double)(strtoul(hash + 26, NULL, 16) % 100000) + 0.25 * process;
}

#define DEVICE "cuda sm_90a sms=132 clock=1980000 memclock=3201000 bus=6144 l2=62914560 smem=232448"

/* process < 0: the row that all have in common. candidate CANDIDATES: one that spills. */
static triage_status add_row(tri_store *store, int problem, int candidate, const char *host, int process) {
    char key[200], config[128], hash[TRI_HASH_SIZE], name[TRI_HASH_SIZE];
    snprintf(key, sizeof key,
             "bsr_gemm f16 f16 row row none nobias m=4096 n=%d k=4096 block=64x64 density=1000 imbalance=10 "
             "overlap=1",
             128 + 8 * problem);
    snprintf(config, sizeof config,
             "wgmma tile_n=128 wg_n=%d step_k=64 stages=4 c_slabs=%d cluster_n=1 ctas_per_sm=2 raster=%d "
             "share=1 order=0 promote=0",
             candidate == 2 ? 2 : 1, candidate == 2 ? 1 : 2, candidate == 1 ? 2 : 1); /* all legal here */
    tri_hash(hash, config, strlen(config));
    tri_hash(name, host, strlen(host));
    const double ns = recorded_ns(problem, candidate, process < 0 ? 0 : process);
    tri_measurement row = {.problem = key,
                           .device = text(DEVICE),
                           .device_name = text("NVIDIA H200"),
                           .kernel = text("wgmma"),
                           .config = config,
                           .source_hash = hash,
                           .compiler = text("nvrtc 13.0"),
                           .stage = text("search"),
                           .reason = text(""),
                           .median_ns = ns,
                           .low_ns = ns * 0.999,
                           .high_ns = ns * 1.001,
                           .min_ns = ns * 0.99,
                           .samples = 30,
                           .cold_l2 = true,
                           .row_error = 1e-4,
                           .row_error_limit = 6e-4,
                           .registers = 168,
                           .smem_bytes = 196608,
                           .seed = process < 0 ? 0 : process,
                           .measured_at_ms = 1790000000000 + (process < 0 ? 0 : process),
                           .host = process < 0 ? text("") : name,
                           .version = text("0.1.0"),
                           .circumstances = text("{}")};
    if (candidate == CANDIDATES) {
        row.outcome = TRI_SPILLED;
        row.reason = text("spills 96 bytes a thread: at most 64");
        row.spill_bytes = 96;
        row.median_ns = row.low_ns = row.high_ns = row.min_ns = 0;
        row.row_error = row.row_error_limit = 0;
        row.samples = 0;
    }
    return tri_store_add(store, &row);
}

static triage_status first_only(void *user, const tri_measurement *row) {
    (void)row;
    ++*(int *)user;
    return TRIAGE_OK;
}

/* ---- tune ---- */

static triage_status tune_one(tri_store *local, int problem, const char *host, int process) {
    int seen = 0;
    triage_status status = TRIAGE_OK;
    TRI_TRY(add_row(local, problem, 0, host, -1));
    TRI_TRY(add_row(local, problem, 1 + process % (CANDIDATES - 1), host, process));
    TRI_TRY(tri_store_winners(local, NULL, "no such family", first_only, &seen));
done:
    return status;
}

static triage_status tune(const char *path, const char *url, const char *host, int process, int problems) {
    const tri_log log = {say, NULL};
    triage_status status = TRIAGE_OK;
    tri_store *local = NULL;
    tri_sync_thread *courier = NULL;
    tri_sync_result moved = {0};
    int64_t longest = 0;
    tri_random random;
    tri_random_seed(&random, (uint64_t)process);
    TRI_TRY(tri_sync_thread_new(
        &courier,
        &(tri_sync_thread_options){.local_path = path, .server_url = url, .log = &log, .interval_s = 1}));
    TRI_TRY(tri_store_open(&local, path, TRI_STORE_WRITE));
    const int first = (int)tri_random_below(&random, (uint64_t)problems);
    for (int i = 0; i < problems; i++) { /* each in its own order */
        const int64_t start = tri_now_ns();
        TRI_TRY(tune_one(local, (first + 7 * i) % problems, host, process));
        const int64_t took = tri_now_ns() - start;
        longest = took > longest ? took : longest;
    }
done:
    tri_store_close(local);
    if (tri_sync_thread_free(courier, &moved) != TRIAGE_OK)
        fprintf(stderr, "fleet_member: last journey: %s\n", triage_last_error());
    printf("{\"sent\": %lld, \"received\": %lld, \"longest_ms\": %lld}\n", (long long)moved.sent,
           (long long)moved.received, (long long)(longest / 1000000));
    return status;
}

/* ---- work ---- */

typedef struct device {
    const char *path, *host;
    int work_ms;
} device;

static triage_status fake_job(void *user, tri_desk *desk, const tri_job *job, char **note) {
    (void)desk;
    const device *d = user;
    triage_status status = TRIAGE_OK;
    tri_store *local = NULL;
    const int problem = atoi(job->spec + strlen("{\"problem\":"));
    TRI_TRY(tri_store_open(&local, d->path, TRI_STORE_WRITE));
    for (int i = 0; i < CANDIDATES; i++) {
        TRI_TRY(add_row(local, problem, i, d->host, 1));
        nanosleep(&(struct timespec){.tv_nsec = d->work_ms * 1000000L / CANDIDATES}, NULL);
    }
    TRI_TRY(tri_format(note, "%s", d->host));
done:
    tri_store_close(local);
    return status;
}

static triage_status fake_compilation(void *user, tri_desk *desk, const tri_job *job, char **note) {
    const device *d = user;
    triage_status status = TRIAGE_OK;
    tri_store *local = NULL;
    const int problem = atoi(job->spec + strlen("{\"problem\":"));
    if (strcmp(job->device, DEVICE) != 0)
        return tri_fail(TRIAGE_E_DATA, "to be compiled for %s", job->device);
    for (int ms = 0; ms < d->work_ms && !*tri_desk_lost(desk); ms += 10) {
        tri_desk_progress(desk, ms, d->work_ms);
        nanosleep(&(struct timespec){.tv_nsec = 10 * 1000000L}, NULL);
    }
    TRI_TRY(tri_store_open(&local, d->path, TRI_STORE_WRITE));
    TRI_TRY(add_row(local, problem, CANDIDATES, d->host, (int)getpid()));
    TRI_TRY(tri_format(note, "%s", d->host));
done:
    tri_store_close(local);
    return status;
}

static triage_status work(const char *path, const char *url, const char *host, int lease_ms, int work_ms,
                          bool compile) {
    const tri_log log = {say, NULL};
    tri_work_result result = {0};
    device d = {path, host, work_ms};
    char name[64];
    snprintf(name, sizeof name, "%s/%d", host, (int)getpid());
    const tri_work_options options = {.local_path = path,
                                      .server_url = url,
                                      .worker = name,
                                      .device = "NVIDIA H200",
                                      .device_key = DEVICE,
                                      .device_name = "NVIDIA H200",
                                      .target = compile ? "sm_90a" : NULL,
                                      .lease_ms = lease_ms,
                                      .patience_s = 60,
                                      .log = &log};
    triage_status status = tri_work(&result, &options, compile ? fake_compilation : fake_job, &d);
    printf("{\"done\": %lld, \"failed\": %lld, \"lost\": %lld, \"sent\": %lld}\n", (long long)result.done,
           (long long)result.failed, (long long)result.lost, (long long)result.sync.sent);
    return status;
}

static triage_status enqueue(const char *url, int jobs) {
    triage_status status = TRIAGE_OK;
    tri_store *server = NULL;
    char **specs = NULL;
    int64_t added = 0;
    TRI_TRY(tri_calloc(&specs, (size_t)jobs, sizeof *specs));
    for (int i = 0; i < jobs; i++)
        TRI_TRY(tri_format(&specs[i], "{\"problem\":%d}", i));
    TRI_TRY(tri_store_open(&server, url, TRI_STORE_WRITE));
    TRI_TRY(tri_job_enqueue(&added, server, (const char *const *)specs, (size_t)jobs, "h200"));
    printf("{\"added\": %lld}\n", (long long)added);
done:
    for (int i = 0; i < jobs && specs; i++)
        free(specs[i]);
    free(specs);
    tri_store_close(server);
    return status;
}

int main(int argc, char **argv) {
    triage_status status = TRIAGE_E_INVALID;
    if (argc == 7 && strcmp(argv[1], "tune") == 0)
        status = tune(argv[2], argv[3], argv[4], atoi(argv[5]), atoi(argv[6]));
    else if (argc == 7 && strcmp(argv[1], "work") == 0)
        status = work(argv[2], argv[3], argv[4], atoi(argv[5]), atoi(argv[6]), false);
    else if (argc == 7 && strcmp(argv[1], "compile") == 0)
        status = work(argv[2], argv[3], argv[4], atoi(argv[5]), atoi(argv[6]), true);
    else if (argc == 4 && strcmp(argv[1], "enqueue") == 0)
        status = enqueue(argv[2], atoi(argv[3]));
    if (status != TRIAGE_OK)
        fprintf(stderr, "fleet_member %s: %s\n", argc > 1 ? argv[1] : "", triage_last_error());
    return status == TRIAGE_OK ? 0 : 1;
}
