/* Timing with events: around each launch, or around each replay of a graph of launches.
 *
 * All samples are enqueued before the first is read, so that the GPU never waits for the CPU between an
 * event and the launch it measures. The cache flush stands before the first event, outside the time. */
#include "device/cuda/kernel.h"

#include <stdlib.h>

typedef struct sampler {
    tri_cuda_kernel *kernel;
    const tri_cuda_driver *driver;
    CUstream stream;
    const void *args;
    CUgraph graph; /* NULL: single launches */
    CUgraphExec replay;
    int batch;
    size_t flush_bytes;
    CUevent *events; /* [2 * chunk]: start and end of each sample */
    int event_count;
} sampler;

enum { kChunk = 256 }; /* samples in flight: bounds the events */

static triage_status make_events(sampler *s, int count) {
    triage_status status = TRIAGE_OK;
    int wanted = 2 * (count < kChunk ? count : kChunk);
    TRI_TRY(tri_calloc(&s->events, (size_t)wanted, sizeof(CUevent)));
    for (; s->event_count < wanted; s->event_count++)
        TRI_TRY(tri_cuda_check(s->driver,
                               s->driver->event_create(&s->events[s->event_count], CU_EVENT_DEFAULT),
                               "cuEventCreate"));
done:
    return status;
}

/* A capture that was begun must be ended, whatever happened inside it. */
static triage_status capture(sampler *s) {
    triage_status status = TRIAGE_OK, ended;
    const tri_cuda_driver *driver = s->driver;
    TRI_TRY(tri_cuda_check(driver, driver->capture_begin(s->stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL),
                           "cuStreamBeginCapture"));
    for (int i = 0; i < s->batch && status == TRIAGE_OK; i++)
        status = tri_cuda_enqueue(s->kernel, s->args, s->stream);
    CUresult result = driver->capture_end(s->stream, &s->graph);
    ended = status == TRIAGE_OK ? tri_cuda_check(driver, result, "cuStreamEndCapture") : status;
    TRI_TRY(ended);
    TRI_TRY(tri_cuda_check(driver, driver->graph_instantiate(&s->replay, s->graph, 0),
                           "cuGraphInstantiateWithFlags"));
done:
    return status;
}

static triage_status enqueue_sample(sampler *s, int index) {
    triage_status status = TRIAGE_OK;
    const tri_cuda_driver *driver = s->driver;
    CUevent start = s->events[2 * index], end = s->events[2 * index + 1];
    if (s->flush_bytes > 0)
        TRI_TRY(tri_cuda_flush(&s->kernel->device->base, s->flush_bytes, s->stream));
    TRI_TRY(tri_cuda_check(driver, driver->event_record(start, s->stream), "cuEventRecord"));
    if (s->replay)
        TRI_TRY(tri_cuda_check(driver, driver->graph_launch(s->replay, s->stream), "cuGraphLaunch"));
    else
        TRI_TRY(tri_cuda_enqueue(s->kernel, s->args, s->stream));
    TRI_TRY(tri_cuda_check(driver, driver->event_record(end, s->stream), "cuEventRecord"));
done:
    return status;
}

static triage_status run_chunk(sampler *s, double *ns, int count) {
    triage_status status = TRIAGE_OK;
    for (int i = 0; i < count; i++)
        TRI_TRY(enqueue_sample(s, i));
    TRI_TRY(tri_cuda_check(s->driver, s->driver->stream_synchronize(s->stream), "cuStreamSynchronize"));
    for (int i = 0; i < count; i++) {
        float milliseconds = 0.0f;
        TRI_TRY(tri_cuda_check(
            s->driver, s->driver->event_elapsed(&milliseconds, s->events[2 * i], s->events[2 * i + 1]),
            "cuEventElapsedTime"));
        ns[i] = (double)milliseconds * 1e6 / s->batch;
    }
done:
    return status;
}

static void sampler_free(sampler *s) {
    for (int i = 0; i < s->event_count; i++)
        s->driver->event_destroy(s->events[i]);
    free(s->events);
    if (s->replay)
        s->driver->graph_exec_destroy(s->replay);
    if (s->graph)
        s->driver->graph_destroy(s->graph);
}

triage_status tri_cuda_time(tri_kernel *base, const void *args, int64_t flush_bytes, int batch, double *ns,
                            int count) {
    triage_status status = TRIAGE_OK;
    tri_cuda_kernel *kernel = (tri_cuda_kernel *)base;
    tri_cuda_device *device = kernel->device;
    bool pushed = false;
    sampler s = {.kernel = kernel,
                 .driver = device->driver,
                 .stream = device->stream,
                 .args = args,
                 .batch = batch,
                 .flush_bytes = (size_t)flush_bytes};
    TRI_TRY(tri_cuda_enter(device, &pushed));
    if (flush_bytes > 0) /* loads and allocates what it needs, outside the samples */
        TRI_TRY(tri_cuda_flush(&device->base, s.flush_bytes, s.stream));
    TRI_TRY(make_events(&s, count));
    /* the private stream does not wait for others: what the caller enqueued must have ended */
    TRI_TRY(tri_cuda_check(s.driver, s.driver->context_synchronize(), "cuCtxSynchronize"));
    if (batch > 1)
        TRI_TRY(capture(&s));
    for (int first = 0; first < count; first += kChunk)
        TRI_TRY(run_chunk(&s, ns + first, count - first < kChunk ? count - first : kChunk));
done:
    if (status != TRIAGE_OK && s.event_count > 0)
        (void)s.driver->stream_synchronize(s.stream); /* nothing may still use what is freed below */
    sampler_free(&s);
    tri_cuda_leave(device, pushed);
    return status;
}
