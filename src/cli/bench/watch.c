/* The stopwatch. Peers are calls, not kernels of ours, so it has its own events: a handful of driver functions
 * found with dlopen, by the ABI that CUDA keeps (cuda.h). On the host: the monotonic clock. */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "cli/bench/bench.h"

/* In the order of driver_names. */
typedef struct driver {
    int (*init)(unsigned flags);
    int (*device_get)(int *device, int ordinal);
    int (*primary_retain)(void **context, int device);
    int (*primary_release)(int device);
    int (*set_current)(void *context);
    int (*stream_create)(void **stream, unsigned flags);
    int (*stream_destroy)(void *stream);
    int (*stream_synchronize)(void *stream);
    int (*event_create)(void **event, unsigned flags);
    int (*event_destroy)(void *event);
    int (*event_record)(void *event, void *stream);
    int (*event_elapsed)(float *milliseconds, void *start, void *end);
    int (*error_name)(int result, const char **name);
} driver;

static const char *const driver_names[] = {
    "cuInit",
    "cuDeviceGet",
    "cuDevicePrimaryCtxRetain",
    "cuDevicePrimaryCtxRelease_v2",
    "cuCtxSetCurrent",
    "cuStreamCreate",
    "cuStreamDestroy_v2",
    "cuStreamSynchronize",
    "cuEventCreate",
    "cuEventDestroy_v2",
    "cuEventRecord",
    "cuEventElapsedTime",
    "cuGetErrorName",
};
#define DRIVER_SYMBOLS (sizeof driver_names / sizeof *driver_names)
_Static_assert(sizeof(driver) == DRIVER_SYMBOLS * sizeof(void *), "a name for each function");

struct tri_stopwatch {
    bool host;
    driver cuda;
    int device;
    bool retained;
    void *stream, *start, *end;
    triage_context *context; /* whose device is flushed; NULL: warm */
    size_t flush_bytes;
};

static triage_status check(const driver *cuda, int result, const char *call) {
    const char *name = NULL;
    if (result == 0)
        return TRIAGE_OK;
    cuda->error_name(result, &name);
    return tri_fail(TRIAGE_E_DEVICE, "%s: %s", call, name ? name : "unknown error");
}

static triage_status open_cuda(tri_stopwatch *watch, int ordinal) {
    triage_status status = TRIAGE_OK;
    void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL), *primary = NULL;
    driver *cuda = &watch->cuda;
    if (!library)
        return tri_fail(TRIAGE_E_NO_DEVICE, "no CUDA driver: libcuda.so.1 is not found");
    TRI_TRY(tri_peer_symbols(cuda, library, driver_names, DRIVER_SYMBOLS));
    if (cuda->init(0) != 0 || cuda->device_get(&watch->device, ordinal) != 0)
        return tri_fail(TRIAGE_E_NO_DEVICE, "no CUDA device %d", ordinal);
    TRI_TRY(check(cuda, cuda->primary_retain(&primary, watch->device), "cuDevicePrimaryCtxRetain"));
    watch->retained = true;
    TRI_TRY(check(cuda, cuda->set_current(primary), "cuCtxSetCurrent"));
    TRI_TRY(check(cuda, cuda->stream_create(&watch->stream, 1 /* non-blocking */), "cuStreamCreate"));
    TRI_TRY(check(cuda, cuda->event_create(&watch->start, 0), "cuEventCreate"));
    TRI_TRY(check(cuda, cuda->event_create(&watch->end, 0), "cuEventCreate"));
done:
    return status;
}

triage_status tri_stopwatch_open(tri_stopwatch **out, const char *device) {
    triage_status status = TRIAGE_OK;
    tri_stopwatch *watch = NULL;
    int64_t ordinal = 0;
    TRI_TRY(tri_calloc(&watch, 1, sizeof *watch));
    watch->host = strcmp(device, "host") == 0;
    if (!watch->host && strncmp(device, "cuda:", 5) == 0)
        TRI_TRY(tri_parse_int64(&ordinal, device + 5, 0, 1023, "device number"));
    if (!watch->host)
        TRI_TRY(open_cuda(watch, (int)ordinal));
    *out = watch;
    watch = NULL;
done:
    tri_stopwatch_close(watch);
    return status;
}

void tri_stopwatch_close(tri_stopwatch *watch) {
    if (!watch)
        return;
    if (watch->start)
        watch->cuda.event_destroy(watch->start);
    if (watch->end)
        watch->cuda.event_destroy(watch->end);
    if (watch->stream)
        watch->cuda.stream_destroy(watch->stream);
    if (watch->retained)
        watch->cuda.primary_release(watch->device);
    free(watch);
}

void *tri_stopwatch_stream(const tri_stopwatch *watch) {
    return watch->stream;
}

/* Twice the last-level cache leaves nothing of the operands behind; on a GPU at least 256 MiB, which also
 * takes longer than the CPU needs to enqueue the call that is timed. */
triage_status tri_stopwatch_cool(tri_stopwatch *watch, triage_context *context) {
    int64_t cache = tri_device_describe(context->device)->l2_bytes;
    int64_t least = watch->host ? (int64_t)64 << 20 : (int64_t)256 << 20; /* a host may not tell its cache */
    watch->context = context;
    watch->flush_bytes = (size_t)(2 * cache > least ? 2 * cache : least);
    return TRIAGE_OK;
}

void tri_stopwatch_detach(tri_stopwatch *watch) {
    if (!watch)
        return;
    watch->context = NULL;
}

static triage_status flush(tri_stopwatch *watch) {
    if (!watch->context)
        return TRIAGE_OK;
    return tri_device_flush(watch->context->device, watch->flush_bytes, watch->stream);
}

static triage_status time_host(double *ns, tri_timed_fn call, void *user) {
    int64_t start = tri_now_ns();
    triage_status status = call(user);
    *ns = (double)(tri_now_ns() - start);
    return status;
}

static triage_status time_cuda(double *ns, tri_stopwatch *watch, tri_timed_fn call, void *user) {
    triage_status status = TRIAGE_OK;
    const driver *cuda = &watch->cuda;
    float milliseconds = 0;
    TRI_TRY(check(cuda, cuda->event_record(watch->start, watch->stream), "cuEventRecord"));
    TRI_TRY(call(user));
    TRI_TRY(check(cuda, cuda->event_record(watch->end, watch->stream), "cuEventRecord"));
    TRI_TRY(check(cuda, cuda->stream_synchronize(watch->stream), "cuStreamSynchronize"));
    TRI_TRY(check(cuda, cuda->event_elapsed(&milliseconds, watch->start, watch->end), "cuEventElapsedTime"));
    *ns = (double)milliseconds * 1e6;
done:
    return status;
}

triage_status tri_stopwatch_time(double *ns, tri_stopwatch *watch, tri_timed_fn call, void *user) {
    triage_status status = flush(watch);
    if (status != TRIAGE_OK)
        return status;
    return watch->host ? time_host(ns, call, user) : time_cuda(ns, watch, call, user);
}

/* ---- libraries ---- */

triage_status tri_peer_symbols(void *table, void *library, const char *const *names, size_t count) {
    for (size_t i = 0; i < count; i++) {
        void *symbol = dlsym(library, names[i]);
        if (!symbol)
            return tri_fail(TRIAGE_E_NOT_FOUND, "%s is not in the library", names[i]);
        memcpy((char *)table + i * sizeof symbol, &symbol,
               sizeof symbol); /* function pointers are not void * */
    }
    return TRIAGE_OK;
}

triage_status tri_peer_cuda_type(int *out, triage_dtype dtype) {
    if (dtype == TRIAGE_E4M3)
        return tri_fail(TRIAGE_E_UNSUPPORTED, "has no product of e4m3 matrices");
    *out = dtype == TRIAGE_F32 ? 0 : dtype == TRIAGE_F16 ? 2 : 14; /* CUDA_R_32F, CUDA_R_16F, CUDA_R_16BF */
    return TRIAGE_OK;
}
