/* What a repeated call adds to the bare launch: CPU time of enqueueing, per call.
 *
 *   bench_calls DEVICE [THREADS [SIZE]]       DEVICE: cuda or host; 16 threads, 256
 *
 * The same kernel, arguments and launch geometry both ways, a stream for each thread: cuLaunchKernelEx in a loop, and
 * triage_bsr_gemm in a loop, in turns, a batch at a time that fits the driver's queue; the stream is empty before each
 * batch. (host: the kernel's function instead, which runs it, so there the difference is all that counts.) Both results
 * are checked. JSON on stdout, nanoseconds a call: medians over the batches, of threads the mean of theirs. context_ns:
 * how much of added_ns the driver takes to say which context is current (cuCtxGetCurrent before the bare launch);
 * none on the host. */
#include "op/bsr_gemm/bsr_gemm.h"
#include "gpu/bench_world.h"

#include <jansson.h>

enum { BATCH = 50, ROUNDS = 401, THREADS_MAX = 64 }; /* 16 x 50 launches fit the queue of 1024 */
enum { BARE, ASKED, CALL, WAYS }; /* ASKED: bare, but for the question which context is current */

typedef struct worker {
    const bench_world *w;
    pthread_barrier_t *barrier; /* NULL: alone */
    triage_dense c;             /* its own: no two threads write one */
    tri_plan *plan;
    tri_bsr_gemm_args args;
    void *stream;
    double ns[WAYS];
    triage_status status;
    char message[300];
} worker;

static triage_status call(const worker *t) {
    return triage_bsr_gemm(t->w->context, 1, t->w->a, &t->w->b, 0, &t->c, NULL, t->stream);
}

/* ---- the bare launch ---- */

static triage_status launch_on_gpu(const worker *t) {
    const tri_cuda_kernel *kernel = (const tri_cuda_kernel *)t->plan->kernel;
    CUlaunchConfig config = kernel->config;
    void *params[] = {(void *)(uintptr_t)&t->args};
    config.hStream = (CUstream)t->stream;
    return kernel->device->driver->launch(&config, kernel->function, params, NULL) == CUDA_SUCCESS
               ? TRIAGE_OK
               : tri_fail(TRIAGE_E_DEVICE, "cuLaunchKernelEx failed");
}

static triage_status ask_context(const worker *t) {
    const tri_cuda_device *device = (const tri_cuda_device *)t->w->context->device;
    CUcontext current = NULL;
    return device->driver->context_current(&current) == CUDA_SUCCESS && current == device->context
               ? TRIAGE_OK
               : tri_fail(TRIAGE_E_DEVICE, "the device's context is not current");
}

static triage_status make_stream(worker *t) {
    const tri_cuda_device *device = (const tri_cuda_device *)t->w->context->device;
    CUstream stream = NULL;
    triage_status status =
        tri_cuda_check(device->driver, device->driver->context_push(device->context), "push");
    if (status == TRIAGE_OK)
        status = tri_cuda_check(
            device->driver, device->driver->stream_create(&stream, CU_STREAM_NON_BLOCKING), "cuStreamCreate");
    t->stream = stream;
    return status;
}

static triage_status drain(const worker *t) {
    const tri_cuda_device *device = (const tri_cuda_device *)t->w->context->device;
    return t->stream ? tri_cuda_check(device->driver, device->driver->stream_synchronize((CUstream)t->stream),
                                      "sync")
                     : TRIAGE_OK;
}

static triage_status launch(const worker *t) {
    if (!triage_context_is_host(t->w->context))
        return launch_on_gpu(t);
    return tri_kernel_launch(t->plan->kernel, &t->args, NULL);
}

static triage_status ask_and_launch(const worker *t) {
    triage_status status = triage_context_is_host(t->w->context) ? TRIAGE_OK : ask_context(t);
    return status == TRIAGE_OK ? launch(t) : status;
}

/* ---- a thread ---- */

/* The plan and the arguments of the last call, for the bare launch. */
static triage_status find_plan(worker *t) {
    const tri_bsr_call call = {.b = &t->w->b, .c = &t->c, .alpha = 1};
    tri_served_call *known = tri_calls_take(&t->w->a->caller, &tri_bsr_gemm_calls, &call, t->stream);
    if (!known)
        return tri_fail(TRIAGE_E_NOT_FOUND, "the matrix has not kept the last call");
    t->plan = known->plan;
    t->args = ((const tri_bsr_served_call *)known)->args;
    tri_calls_give_back(known);
    if (t->plan->own_kernel)
        return tri_fail(TRIAGE_E_UNSUPPORTED, "this kernel has a workspace: its bare launch is two calls");
    return TRIAGE_OK;
}

static int by_value(const void *a, const void *b) {
    const double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

static triage_status time_batch(double *ns, const worker *t, triage_status (*one)(const worker *)) {
    triage_status status = drain(t);
    if (t->barrier)
        pthread_barrier_wait(t->barrier);
    const int64_t start = tri_now_ns();
    for (int i = 0; i < BATCH && status == TRIAGE_OK; i++)
        status = one(t);
    *ns = (double)(tri_now_ns() - start) / BATCH;
    return status == TRIAGE_OK ? drain(t) : status;
}

/* Goes on after a failure: others wait at the barrier. */
static void time_all(worker *t) {
    static triage_status (*const ways[WAYS])(const worker *) = {
        [BARE] = launch, [ASKED] = ask_and_launch, [CALL] = call};
    double ns[WAYS][ROUNDS];
    for (int i = 0; i < ROUNDS * WAYS; i++) {
        triage_status status = time_batch(&ns[i % WAYS][i / WAYS], t, ways[i % WAYS]);
        if (status != TRIAGE_OK && t->status == TRIAGE_OK) {
            t->status = status;
            snprintf(t->message, sizeof t->message, "%s", triage_last_error());
        }
    }
    for (int way = 0; way < WAYS; way++) {
        qsort(ns[way], ROUNDS, sizeof ns[way][0], by_value);
        t->ns[way] = ns[way][ROUNDS / 2];
    }
}

static void *run(void *user) {
    worker *t = user;
    if (!triage_context_is_host(t->w->context)) {
        const tri_cuda_device *device = (const tri_cuda_device *)t->w->context->device;
        device->driver->context_push(device->context);
    }
    time_all(t);
    return NULL;
}

/* ---- the whole ---- */

/* Each worker's C, stream, plan and arguments; its result by the bare launch alone is checked. */
static triage_status prepare(worker *t, const bench_world *w) {
    triage_status status = TRIAGE_OK;
    t->w = w;
    TRI_TRY(bench_make_dense(&t->c, w, w->c.dtype, false));
    if (!triage_context_is_host(w->context))
        TRI_TRY(make_stream(t));
    TRI_TRY(call(t));
    TRI_TRY(drain(t));
    TRI_TRY(bench_check(w, &t->c));
    TRI_TRY(find_plan(t));
    triage_device_release(w->context, t->c.data);
    TRI_TRY(bench_make_dense(&t->c, w, w->c.dtype, false));
    TRI_TRY(call(t));
    TRI_TRY(drain(t));
    TRI_TRY(find_plan(t));
done:
    return status;
}

static triage_status clear(const worker *t) {
    triage_status status = TRIAGE_OK;
    void *zero = NULL;
    const size_t bytes = (size_t)(t->c.rows * t->c.cols) * tri_dtype_size(t->c.dtype);
    TRI_TRY(tri_calloc(&zero, bytes, 1));
    TRI_TRY(triage_device_upload(t->w->context, t->c.data, zero, bytes));
done:
    free(zero);
    return status;
}

/* The bare launch must do the same work. */
static triage_status check_bare(const worker *t) {
    triage_status status = TRIAGE_OK;
    TRI_TRY(clear(t));
    TRI_TRY(launch(t));
    TRI_TRY(drain(t));
    TRI_TRY(bench_check(t->w, &t->c));
done:
    return status;
}

static triage_status run_threads(worker *workers, int count) {
    triage_status status = TRIAGE_OK;
    pthread_t threads[THREADS_MAX];
    pthread_barrier_t barrier;
    pthread_barrier_init(&barrier, NULL, (unsigned)count);
    for (int i = 0; i < count; i++) {
        workers[i].barrier = &barrier;
        if (pthread_create(&threads[i], NULL, run, &workers[i]) != 0)
            abort(); /* the others would wait for it for ever */
    }
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < count && status == TRIAGE_OK; i++) {
        status = workers[i].status == TRIAGE_OK ? bench_check(workers[i].w, &workers[i].c)
                                                : tri_fail(workers[i].status, "%s", workers[i].message);
        workers[i].barrier = NULL;
    }
    pthread_barrier_destroy(&barrier);
    return status;
}

static json_t *result_of(const worker *workers, int count) {
    double ns[WAYS] = {0};
    for (int i = 0; i < count * WAYS; i++)
        ns[i % WAYS] += workers[i / WAYS].ns[i % WAYS] / count;
    json_t *result = json_pack("{s:i, s:f, s:f, s:f}", "threads", count, "bare_ns", ns[BARE], "call_ns",
                               ns[CALL], "added_ns", ns[CALL] - ns[BARE]);
    if (!triage_context_is_host(workers[0].w->context))
        json_object_set_new(result, "context_ns", json_real(ns[ASKED] - ns[BARE]));
    return result;
}

int main(int argc, char **argv) {
    static worker workers[THREADS_MAX];
    triage_status status = TRIAGE_OK;
    bench_world w = {.size = argc > 3 ? atoll(argv[3]) : 256, .n = 256, .block = 64};
    const char *device = argc > 1 ? argv[1] : "";
    const int threads = argc > 2 ? atoi(argv[2]) : 16;
    triage_context_options options = TRIAGE_CONTEXT_OPTIONS_INIT;
    json_t *document = NULL;
    if (argc < 2 || threads < 1 || threads > THREADS_MAX || w.size < 64 || w.size % 64 != 0) {
        fprintf(stderr, "bench_calls DEVICE [THREADS, 1 to %d [SIZE, a multiple of 64]]\n", THREADS_MAX);
        return 64;
    }
    const triage_dtype dtype = bench_is_host(device) ? TRIAGE_F32 : TRIAGE_F16;
    if (bench_is_host(device))
        w.n = 8; /* the product itself is part of what is timed */
    options.device = device;
    TRI_TRY(triage_context_open(&w.context, &options));
    TRI_TRY(bench_make_matrix(&w, dtype));
    TRI_TRY(bench_make_dense(&w.b, &w, dtype, true));
    TRI_TRY(bench_make_dense(&w.c, &w, dtype, false));
    for (int i = 0; i < threads; i++) {
        TRI_TRY(prepare(&workers[i], &w));
        TRI_TRY(check_bare(&workers[i]));
    }
    time_all(&workers[0]);
    TRI_TRY(workers[0].status);
    TRI_TRY(bench_check(&w, &workers[0].c));
    document = json_pack("{s:s, s:s, s:I, s:i, s:i, s:o}", "what", "CPU time of a repeated call", "device",
                         triage_context_device_name(w.context), "size", (json_int_t)w.size, "batch", BATCH,
                         "rounds", ROUNDS, "results", json_array());
    json_array_append_new(json_object_get(document, "results"), result_of(workers, 1));
    TRI_TRY(run_threads(workers, threads));
    json_array_append_new(json_object_get(document, "results"), result_of(workers, threads));
    json_dumpf(document, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    printf("\n");
done:
    if (status != TRIAGE_OK)
        fprintf(stderr, "bench_calls: %s\n", triage_last_error());
    json_decref(document);
    for (int i = 0; i < threads && w.context; i++)
        triage_device_release(w.context, workers[i].c.data);
    bench_free(&w);
    return status == TRIAGE_OK ? 0 : status == TRIAGE_E_NO_DEVICE ? 77 : 1;
}
