/* How long an application waits in a cold process with a warm database and binary cache.
 *
 *   bench_open DEVICE DB CACHE [RUNS [SIZE]]       DEVICE: cuda or host; 21 runs, 4096
 *   bench_open DEVICE FILE.tripack none ...        from a pack that has the problem (triage_db pack), and nothing else
 *
 * Makes sure that DB has the winner of the problem (size x size, f16 on cuda and f32 on host, blocks of 64, n 512) and
 * CACHE its binary, then starts itself RUNS times, and prints the medians in ms as JSON: device_start is CUDA's own
 * (driver, cuInit, context); the sum of what comes after it is "ready_ms", in which the allocation of B and C is not
 * counted; ready_cpu_ms is what this thread computed in it, which other work on the machine does not change;
 * result_ms is how long the device works on after the first call has returned. */
#include "gpu/bench_world.h"

#include <jansson.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { STEPS = 7 };
static const char *const step_names[STEPS] = {"device_start_ms", "context_open_ms", "matrix_create_ms",
                                              "first_call_ms",   "result_ms",       "ready_ms",
                                              "ready_cpu_ms"};

static bool is_pack(const char *path) {
    const size_t size = strlen(path), end = strlen(".tripack");
    return size > end && strcmp(path + size - end, ".tripack") == 0;
}

static triage_status open_context(bench_world *w, char **argv) {
    triage_context_options options = TRIAGE_CONTEXT_OPTIONS_INIT;
    options.device = argv[1];
    if (is_pack(argv[2])) {
        options.pack_path = argv[2];
    } else {
        options.db_path = argv[2];
        options.cache_dir = argv[3];
    }
    return triage_context_open(&w->context, &options);
}

static triage_status describe(triage_choice *out, const bench_world *w) {
    *out = (triage_choice){.version = TRIAGE_CHOICE_VERSION};
    return triage_bsr_gemm_choice(out, w->context, w->a, &w->b, &w->c, NULL);
}

static double cpu_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* Everything once, timed; the result is checked. */
static triage_status run_once(bench_world *w, double ms[STEPS], char **argv) {
    triage_status status = TRIAGE_OK;
    const triage_dtype dtype = bench_is_host(argv[1]) ? TRIAGE_F32 : TRIAGE_F16;
    int64_t start = tri_now_ns();
    TRI_TRY(bench_start_device(argv[1]));
    ms[0] = bench_ms(start);
    start = tri_now_ns();
    double cpu = cpu_ms();
    TRI_TRY(open_context(w, argv));
    ms[1] = bench_ms(start);
    ms[6] = cpu_ms() - cpu;
    TRI_TRY(bench_make_dense(&w->b, w, dtype, true));
    TRI_TRY(bench_make_dense(&w->c, w, dtype, false));
    start = tri_now_ns();
    cpu = cpu_ms();
    TRI_TRY(bench_make_matrix(w, dtype));
    ms[2] = bench_ms(start);
    start = tri_now_ns();
    TRI_TRY(triage_bsr_gemm(w->context, 1, w->a, &w->b, 0, &w->c, NULL, NULL));
    ms[3] = bench_ms(start);
    ms[6] += cpu_ms() - cpu;
    start = tri_now_ns();
    TRI_TRY(triage_device_synchronize(w->context));
    ms[4] = bench_ms(start);
    ms[5] = ms[1] + ms[2] + ms[3];
    TRI_TRY(bench_check(w, &w->c));
done:
    return status;
}

/* The chosen kernel becomes the stored winner, unless there is one. */
static triage_status store_winner(const bench_world *w, const char *db) {
    triage_status status = TRIAGE_OK;
    triage_choice choice;
    tri_store *store = NULL;
    tri_candidate candidate = {0};
    tri_source source = {0};
    char *key = NULL, *device = NULL, hash[TRI_HASH_SIZE];
    const tri_device_info *info = tri_device_describe(w->context->device);
    tri_plan *plan = atomic_load(&w->a->caller.plans[0]);
    for (int i = 1; !plan && i < TRI_PLAN_BUCKETS; i++)
        plan = atomic_load(&w->a->caller.plans[i]);
    TRI_TRY(describe(&choice, w));
    if (choice.source == TRIAGE_SOURCE_EXACT)
        goto done;
    TRI_TRY(tri_problem_key(&key, &plan->problem));
    TRI_TRY(tri_device_key(&device, info));
    TRI_TRY(tri_space_candidate(&candidate, w->context->spaces[0], &plan->problem, info, choice.config));
    TRI_TRY(tri_render(&source, &candidate, NULL));
    tri_source_hash(hash, &source, info->target);
    tri_measurement row = {.problem = key,
                           .device = device,
                           .device_name = "bench_open",
                           .kernel = choice.kernel,
                           .config = choice.config,
                           .source_hash = hash,
                           .compiler = "any",
                           .stage = "race",
                           .reason = "",
                           .median_ns = 1000,
                           .low_ns = 1000,
                           .high_ns = 1000,
                           .min_ns = 1000,
                           .samples = 30,
                           .cold_l2 = true,
                           .row_error = 1e-4,
                           .row_error_limit = 1e-3,
                           .measured_at_ms = 1790000000000,
                           .host = "00000000000000000000000000000000",
                           .version = TRIAGE_VERSION,
                           .circumstances = "{}"};
    TRI_TRY(tri_store_open(&store, db, TRI_STORE_WRITE));
    TRI_TRY(tri_store_add(store, &row));
done:
    tri_store_close(store);
    tri_source_free(&source);
    tri_candidate_free(&candidate);
    free(key);
    free(device);
    return status;
}

/* In its own process, which prints the steps on a line. */
static int child(char **argv, int64_t size, bool prepare) {
    bench_world w = {.size = size, .n = 512, .block = 64};
    double ms[STEPS];
    triage_choice choice;
    triage_status status = run_once(&w, ms, argv);
    if (status == TRIAGE_OK && is_pack(argv[2]) && (!w.context->pack || w.context->asked_shipped))
        status = tri_fail(TRIAGE_E_NOT_FOUND, "the pack does not answer this problem");
    else if (status == TRIAGE_OK && prepare && !is_pack(argv[2]))
        status = store_winner(&w, argv[2]);
    if (status == TRIAGE_OK)
        status = describe(&choice, &w);
    if (status == TRIAGE_OK && !prepare && !is_pack(argv[2]) && choice.source != TRIAGE_SOURCE_EXACT)
        status = tri_fail(TRIAGE_E_NOT_FOUND, "the database has no winner for this problem");
    if (status == TRIAGE_OK)
        for (int i = 0; i < STEPS; i++)
            printf("%.4f%s", ms[i], i + 1 < STEPS ? " " : "\n");
    else
        fprintf(stderr, "bench_open: %s\n", triage_last_error());
    fflush(stdout);
    bench_free(&w);
    return status == TRIAGE_OK ? 0 : status == TRIAGE_E_NO_DEVICE ? 77 : 1;
}

static int start_child(double ms[STEPS], char **argv, int64_t size, bool prepare) {
    int ends[2], code = -1;
    char line[256] = "", number[24];
    if (pipe(ends) != 0)
        return 1;
    const pid_t pid = fork();
    if (pid == 0) { /* a new process image: nothing is warm */
        dup2(ends[1], 1);
        close(ends[0]);
        snprintf(number, sizeof number, "%lld", (long long)size);
        execl("/proc/self/exe", "bench_open", argv[1], argv[2], argv[3], prepare ? "prepare" : "once", number,
              (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    FILE *from = fdopen(ends[0], "r");
    const char *at = fgets(line, sizeof line, from);
    fclose(from);
    waitpid(pid, &code, 0);
    for (int i = 0; at && i < STEPS; i++)
        ms[i] = strtod(at, (char **)(uintptr_t)&at);
    return WIFEXITED(code) ? WEXITSTATUS(code) : 1;
}

static int by_value(const void *a, const void *b) {
    const double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

static void print(double (*ms)[STEPS], int runs, char **argv, int64_t size) {
    json_t *document =
        json_pack("{s:s, s:s, s:I, s:i}", "what",
                  is_pack(argv[2]) ? "cold open, from a pack" : "cold open, warm database and cache",
                  "device", argv[1], "size", (json_int_t)size, "runs", runs);
    double *values = calloc((size_t)runs, sizeof *values);
    for (int step = 0; step < STEPS && values; step++) {
        for (int i = 0; i < runs; i++)
            values[i] = ms[i][step];
        qsort(values, (size_t)runs, sizeof *values, by_value);
        json_object_set_new(document, step_names[step],
                            json_pack("{s:f, s:f, s:f}", "median", values[runs / 2], "p10", values[runs / 10],
                                      "p90", values[runs * 9 / 10]));
    }
    json_dumpf(document, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(4));
    printf("\n");
    free(values);
    json_decref(document);
}

int main(int argc, char **argv) {
    enum { RUNS_MAX = 1001 };
    static double ms[RUNS_MAX][STEPS];
    if (argc == 6 && (strcmp(argv[4], "once") == 0 || strcmp(argv[4], "prepare") == 0))
        return child(argv, atoll(argv[5]), argv[4][0] == 'p');
    const int runs = argc > 4 ? atoi(argv[4]) : 21;
    const int64_t size = argc > 5 ? atoll(argv[5]) : 4096;
    if (argc < 4 || runs < 1 || runs > RUNS_MAX || size < 256 || size % 64 != 0) {
        fprintf(stderr, "bench_open DEVICE DB CACHE [RUNS, 1 to 1001 [SIZE, a multiple of 64 from 256]]\n");
        return 64;
    }
    int code = start_child(ms[0], argv, size, true);
    for (int i = 0; i < runs && code == 0; i++)
        code = start_child(ms[i], argv, size, false);
    if (code == 0)
        print(ms, runs, argv, size);
    return code;
}
