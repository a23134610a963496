/* The worker's side of the socket. */
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/confine.h"
#include "measure/codec.h"
#include "measure/device_lock.h"
#include "measure/wire.h"
#include "measure/worker.h"

#define OUTLAST_S 60

typedef struct server {
    tri_wire wire;
    int pattern_fd;
    tri_device_lock lock;
    tri_device *device;
    tri_pattern pattern;
    tri_bench *bench;
    bool locked_in;
    bool leaving; /* the device is lost: answer, then end */
} server;

/* ---- answers -------------------------------------------------------------------------------------------- */

static json_t *failure(triage_status status) {
    return json_pack("{s:s, s:i, s:o}", "event", "failed", "status", (int)status, "message",
                     tri_json_text(triage_last_error()));
}

static triage_status answer(server *s, json_t *message) {
    if (message && s->leaving)
        json_object_set_new(message, "leaving", json_true());
    return tri_wire_send(&s->wire, message);
}

/* ---- compile -------------------------------------------------------------------------------------------- */

static json_t *compiled(triage_status status, const tri_image *image, const char *compiler, double ms) {
    return json_pack("{s:s, s:i, s:o, s:s, s:i, s:i, s:i, s:b, s:f}", "event", "compiled", "status",
                     (int)status, "message", tri_json_text(status == TRIAGE_OK ? "" : triage_last_error()),
                     "compiler", compiler, "registers", image->registers, "spill", image->spill_bytes, "smem",
                     image->static_smem_bytes, "cached", (int)image->from_cache, "ms", ms);
}

static triage_status do_compile(server *s, const json_t *job) {
    const char *target = NULL;
    char *cache = NULL;
    json_t *source_json = NULL, *cache_json = NULL;
    tri_source source = {0};
    tri_image image = {.registers = -1, .spill_bytes = -1};
    char compiler[TRI_COMPILER_SIZE] = "";
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_json_read(job, "{s:s, s:o, s?o}", "target", &target, "source", &source_json, "cache",
                          &cache_json));
    TRI_TRY(tri_path_from_json(&cache, cache_json));
    TRI_TRY(tri_source_from_json(&source, source_json));
    TRI_TRY(tri_compiler_version(compiler, sizeof compiler, target));
    int64_t start = tri_now_ns();
    triage_status built = tri_compile(&image, target, &source, cache);
    status = answer(s, compiled(built, &image, compiler, (double)(tri_now_ns() - start) / 1e6));
done:
    tri_image_free(&image);
    tri_borrowed_source_free(&source);
    free(cache);
    return status;
}

/* ---- open, setup ------------------------------------------------------------------------------------------ */

static triage_status do_open(server *s, const json_t *job) {
    const char *spec = NULL;
    char compiler[TRI_COMPILER_SIZE] = "", *circumstances = NULL;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_json_read(job, "{s:s}", "device", &spec));
    TRI_TRY(tri_device_open(&s->device, spec, false));
    TRI_TRY(tri_compiler_version(compiler, sizeof compiler, tri_device_describe(s->device)->target));
    (void)tri_device_circumstances(&circumstances, s->device); /* who else is there? */
    status = answer(s, json_pack("{s:s, s:o, s:s, s:s*}", "event", "opened", "device",
                                 tri_json_device(tri_device_describe(s->device)), "compiler", compiler,
                                 "circumstances", circumstances));
done:
    free(circumstances);
    return status;
}

static triage_status do_count(server *s, const json_t *job) {
    int count = 0;
    (void)job;
    triage_status status = tri_device_count(&count, "cuda");
    return status == TRIAGE_OK ? answer(s, json_pack("{s:s, s:i}", "event", "counted", "gpus", count))
                               : status;
}

typedef struct trial_copy { /* a trial whose source is borrowed from a document */
    tri_source source;
    tri_launch launch;
} trial_copy;

static triage_status read_trial(trial_copy *out, const json_t *json) {
    json_t *source = NULL, *launch = NULL;
    triage_status status = TRIAGE_OK;
    *out = (trial_copy){0};
    TRI_TRY(tri_json_read(json, "{s:o, s:o}", "source", &source, "launch", &launch));
    TRI_TRY(tri_launch_from_json(&out->launch, launch));
    TRI_TRY(tri_source_from_json(&out->source, source));
done:
    return status;
}

/* Waits until nothing is left of a run that was killed while it used the device. Held as long as we live. */
static triage_status outlast_others(server *s, const char *folder) {
    const tri_device_patience patience = {OUTLAST_S, OUTLAST_S};
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_device_lock_open(&s->lock, folder, tri_device_describe(s->device), TRI_DEVICE_LOCK_PROCESS));
    status = tri_device_lock_wait(&s->lock, &patience, NULL, NULL);
    if (status == TRIAGE_E_NO_DEVICE)
        status =
            tri_fail(TRIAGE_E_DEVICE, "a killed process of an earlier run does not let go of the device");
done:
    return status;
}

#define CANDIDATE_MEMORY (INT64_C(2) << 30) /* beside the operands */
#define CANDIDATE_FILE ((rlim_t)64 << 20)   /* kernels are loaded from memory files */

/* Host kernels are code of this process: from here on it can run and write nothing, and read what the system is made of.
 * Their images come from the cache; the plain kernel, which nobody has compiled yet, is compiled before. */
static triage_status lock_in(server *s, const tri_source *reference, const char *cache) {
    const tri_device_info *info = tri_device_describe(s->device);
    triage_status status = TRIAGE_OK;
    tri_image image = {0};
    if (strcmp(info->backend, "host") != 0 || s->locked_in || !cache)
        return TRIAGE_OK;
    TRI_TRY(tri_compile(&image, info->target, reference, cache));
    tri_device_settle(s->device);
    s->locked_in = true;
    tri_confine_environment();
    tri_confine_files((const char *const[]){cache, NULL}, NULL);
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){CANDIDATE_FILE, CANDIDATE_FILE});
    tri_confine_calls(TRI_CONFINE_COMPUTING);
done:
    tri_image_free(&image);
    return status;
}

static triage_status do_setup(server *s, const json_t *job) {
    json_t *problem_json = NULL, *reference_json = NULL, *cache_json = NULL, *locks_json = NULL;
    const char *seed = NULL;
    char *cache = NULL, *locks = NULL;
    int warm = 0;
    double sampling = 0;
    tri_problem problem;
    trial_copy reference = {0};
    int64_t start = tri_now_ns();
    triage_status status = TRIAGE_OK;
    TRI_TRY(s->device && !s->bench ? TRIAGE_OK : tri_fail(TRIAGE_E_INVALID, "setup out of turn"));
    TRI_TRY(tri_json_read(job, "{s:o, s:s, s:b, s:F, s?o, s?o, s:o}", "problem", &problem_json, "seed", &seed,
                          "warm", &warm, "sampling", &sampling, "cache", &cache_json, "locks", &locks_json,
                          "reference", &reference_json));
    TRI_TRY(tri_path_from_json(&cache, cache_json));
    TRI_TRY(tri_path_from_json(&locks, locks_json));
    if (locks)
        TRI_TRY(outlast_others(s, locks));
    TRI_TRY(tri_problem_from_json(&problem, problem_json));
    TRI_TRY(read_trial(&reference, reference_json));
    if (tri_problem_has_pattern(&problem))
        TRI_TRY(tri_pattern_from_fd(&s->pattern, s->pattern_fd));
    tri_bench_setup setup = {.problem = &problem,
                             .pattern = tri_problem_has_pattern(&problem) ? &s->pattern : NULL,
                             .seed = strtoull(seed, NULL, 10),
                             .warm = warm,
                             .sampling_limit_s = sampling,
                             .cache_dir = cache,
                             .reference = {.source = &reference.source, .launch = &reference.launch}};
    TRI_TRY(lock_in(s, &reference.source, cache));
    TRI_TRY(tri_bench_open(&s->bench, s->device, &setup));
    if (s->locked_in)
        tri_confine_memory(CANDIDATE_MEMORY);
    status =
        answer(s, json_pack("{s:s, s:f, s:f}", "event", "ready", "plain_ms", tri_bench_plain_ms(s->bench),
                            "setup_ms", (double)(tri_now_ns() - start) / 1e6));
done:
    tri_borrowed_source_free(&reference.source);
    free(cache);
    free(locks);
    return status;
}

/* ---- measure, race ------------------------------------------------------------------------------------------ */

static json_t *circumstances(server *s, const tri_report *report) {
    char *text = NULL;
    if (tri_report_circumstances(&text, report->lost ? NULL : s->device, report) != TRIAGE_OK)
        return NULL;
    json_t *result = json_string(text);
    free(text);
    return result;
}

static triage_status answer_reports(server *s, const char *event, const tri_report *reports, size_t count) {
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        s->leaving = s->leaving || reports[i].lost;
        json_array_append_new(list, tri_json_report(&reports[i]));
    }
    tri_report shown = reports[0];
    shown.lost = s->leaving;
    return answer(s, json_pack("{s:s, s:o, s:o}", "event", event, "reports", list, "circumstances",
                               circumstances(s, &shown)));
}

static triage_status do_measure(server *s, const json_t *job) {
    json_t *trial_json = NULL;
    trial_copy trial = {0};
    tri_report report;
    double best = 0;
    triage_status status = TRIAGE_OK;
    TRI_TRY(s->bench ? TRIAGE_OK : tri_fail(TRIAGE_E_INVALID, "measure before setup"));
    TRI_TRY(tri_json_read(job, "{s:o, s:F}", "trial", &trial_json, "best", &best));
    TRI_TRY(read_trial(&trial, trial_json));
    TRI_TRY(tri_bench_measure(&report, s->bench,
                              &(tri_trial){.source = &trial.source, .launch = &trial.launch}, best));
    status = answer_reports(s, "measured", &report, 1);
done:
    tri_borrowed_source_free(&trial.source);
    return status;
}

static triage_status do_library(server *s, const json_t *job) {
    char library[64] = "";
    (void)job;
    triage_status status = TRIAGE_OK;
    TRI_TRY(s->device ? TRIAGE_OK : tri_fail(TRIAGE_E_INVALID, "library before open"));
    TRI_TRY(tri_dense_library(library, sizeof library, s->device));
    status = answer(s, json_pack("{s:s, s:s}", "event", "library", "library", library));
done:
    return status;
}

static triage_status do_dense(server *s, const json_t *job) {
    tri_report report;
    (void)job;
    triage_status status = TRIAGE_OK;
    TRI_TRY(s->bench ? TRIAGE_OK : tri_fail(TRIAGE_E_INVALID, "dense before setup"));
    TRI_TRY(tri_bench_measure_dense(&report, s->bench));
    status = answer_reports(s, "measured", &report, 1);
done:
    return status;
}

static void announce(void *user, size_t index) {
    server *s = user;
    /* If the parent is gone, so are we: the signal is on its way. */
    (void)tri_wire_send(&s->wire, json_pack("{s:s, s:I}", "event", "racing", "index", (json_int_t)index));
}

static triage_status do_race(server *s, const json_t *job) {
    json_t *list = NULL;
    const char *seed = NULL;
    trial_copy copies[TRI_RACE_MAX] = {0};
    tri_trial trials[TRI_RACE_MAX];
    tri_entrant entrants[TRI_RACE_MAX] = {0};
    tri_report reports[TRI_RACE_MAX];
    size_t count = 0;
    triage_status status = TRIAGE_OK;
    TRI_TRY(s->bench ? TRIAGE_OK : tri_fail(TRIAGE_E_INVALID, "race before setup"));
    TRI_TRY(tri_json_read(job, "{s:o, s:s}", "trials", &list, "seed", &seed));
    TRI_TRY(json_array_size(list) >= 1 && json_array_size(list) <= TRI_RACE_MAX
                ? TRIAGE_OK
                : tri_fail(TRIAGE_E_DATA, "a race of %zu: 1 to %d", json_array_size(list), TRI_RACE_MAX));
    for (; count < json_array_size(list); count++) {
        TRI_TRY(read_trial(&copies[count], json_array_get(list, count)));
        trials[count] = (tri_trial){.source = &copies[count].source, .launch = &copies[count].launch};
        entrants[count].trial = &trials[count];
    }
    const tri_race_rules rules = {.seed = strtoull(seed, NULL, 10), .racing = announce, .user = s};
    TRI_TRY(tri_bench_race(reports, s->bench, entrants, count, &rules));
    status = answer_reports(s, "raced", reports, count);
done:
    for (size_t i = 0; i < TRI_RACE_MAX; i++)
        tri_borrowed_source_free(&copies[i].source);
    return status;
}

/* ---- the loop --------------------------------------------------------------------------------------------- */

/* A job that cannot be done is answered; only a socket that is gone ends the loop. */
static triage_status do_job(server *s, const json_t *job) {
    static const struct {
        const char *name;
        triage_status (*run)(server *, const json_t *);
    } jobs[] = {{"compile", do_compile}, {"open", do_open},  {"setup", do_setup},
                {"measure", do_measure}, {"race", do_race},  {"library", do_library},
                {"dense", do_dense},     {"count", do_count}};
    const char *name = json_string_value(json_object_get(job, "job"));
    triage_status status = tri_fail(TRIAGE_E_INVALID, "unknown job '%.32s'", name ? name : "");
    for (size_t i = 0; name && i < sizeof jobs / sizeof jobs[0]; i++)
        if (strcmp(jobs[i].name, name) == 0)
            status = jobs[i].run(s, job);
    if (status == TRIAGE_OK)
        return TRIAGE_OK;
    s->leaving = s->leaving || status == TRIAGE_E_DEVICE;
    return answer(s, failure(status));
}

static triage_status next_job(json_t **out, server *s) {
    bool open = true;
    triage_status status = tri_wire_next(out, &s->wire);
    while (status == TRIAGE_OK && !*out && open) {
        status = tri_wire_fill(&open, &s->wire, true);
        if (status == TRIAGE_OK)
            status = tri_wire_next(out, &s->wire);
    }
    return status;
}

int tri_worker_serve(int socket_fd, int pattern_fd) {
    server s = {.wire.fd = socket_fd, .pattern_fd = pattern_fd, .lock = TRI_DEVICE_LOCK_INIT};
    json_t *job = NULL;
    triage_status status = TRIAGE_OK;
    while (status == TRIAGE_OK && !s.leaving && next_job(&job, &s) == TRIAGE_OK && job) {
        status = do_job(&s, job);
        json_decref(job);
    }
    if (!s.leaving) { /* a lost device is not to be touched again */
        tri_bench_close(s.bench);
        tri_device_close(s.device);
    }
    tri_device_lock_close(&s.lock);
    tri_pattern_free(&s.pattern);
    tri_wire_free(&s.wire);
    return status == TRIAGE_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
