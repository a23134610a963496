/* The driver of fake_cuda.h under the real one's names. */
#include "support/fake_cuda/fake_cuda.h"

#include "emulate/map.h"
#include "emulate/modules.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default")))
/* Of cuda.h, and not used by the library by name. */
enum {
    kNotInitialized = 3,
    kContextIsDestroyed = 709,
    kLaunchFailed = 719,
    kCaptureUnsupported = 900,
    kCaptureInvalidated = 901,
    kCaptureImplicit = 906
};

EXPORTED extern fake_cuda fake_cuda_state;
fake_cuda fake_cuda_state = {.devices = 1, .cc = 90};
#define fake fake_cuda_state

/* ---- handles ---- */

typedef enum kind { kFreed, kMemory, kModule, kStream, kEvent, kGraph, kExec, kContext } kind;
typedef enum capture { kNone, kActive, kInvalid } capture;

typedef struct node { /* of a graph: a launch, or a fill where bytes are set */
    struct node *next;
    fake_launch launch;
    const emulated_module *emulated; /* of the launch; NULL: nothing runs */
    unsigned char *to;
    size_t bytes;
} node;

typedef struct object {
    kind kind;
    int device;                /* context */
    char *memory;              /* memory */
    size_t bytes;              /* memory */
    char name[128];            /* module: what was compiled */
    emulated_module *emulated; /* module that the CPU runs */
    unsigned flags;            /* stream */
    capture capture;           /* stream */
    node *first, **last;       /* graph; stream: what is captured */
    const struct object *graph;
} object;

enum { kObjects = 1 << 16, kStack = 16, kDevices = 8 };
static object objects[kObjects];
static int made;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of objects */
static _Thread_local CUcontext stack[kStack];
static _Thread_local int depth;
static CUcontext primary[kDevices];
static pid_t home; /* whoever called cuInit: contexts do not survive a fork */

static atomic_long *count_of(kind k) {
    return k == kMemory    ? &fake.memories
           : k == kModule  ? &fake.modules
           : k == kStream  ? &fake.streams
           : k == kEvent   ? &fake.events
           : k == kContext ? &fake.contexts
                           : &fake.graphs;
}

static object *make(kind k) {
    pthread_mutex_lock(&lock);
    object *o = made + 1 < kObjects ? &objects[++made] : NULL; /* never used twice: a stale handle shows */
    pthread_mutex_unlock(&lock);
    if (!o)
        abort();
    *o = (object){.kind = k};
    o->last = &o->first;
    atomic_fetch_add(count_of(k), 1);
    return o;
}

static bool is(const void *handle, kind k) {
    const object *o = handle;
    const bool good = o > objects && o < objects + kObjects && o->kind == k;
    fake.mistakes += !good;
    return good;
}

static CUresult unmake(void *handle, kind k) {
    object *o = handle;
    if (!is(o, k))
        return CUDA_ERROR_INVALID_HANDLE;
    while ((k == kGraph || k == kStream) && o->first) {
        node *next = o->first->next;
        free(o->first);
        o->first = next;
    }
    emulated_module_unload(o->emulated);
    o->emulated = NULL;
    free(o->memory);
    o->memory = NULL;
    o->kind = kFreed;
    atomic_fetch_sub(count_of(k), 1);
    return CUDA_SUCCESS;
}

/* The memory that holds bytes from this address on; NULL: no such. */
static object *memory_at(CUdeviceptr address, size_t bytes) {
    object *found = NULL;
    const char *at = (const char *)(uintptr_t)address;
    pthread_mutex_lock(&lock);
    for (int i = 1; i <= made && !found; i++)
        if (objects[i].kind == kMemory && at >= objects[i].memory &&
            at + bytes <= objects[i].memory + objects[i].bytes)
            found = &objects[i];
    pthread_mutex_unlock(&lock);
    fake.mistakes += !found;
    return found;
}

/* ---- what every call begins with ---- */

static CUresult begin(int call, bool needs_context) {
    atomic_fetch_add(&fake.calls[call], 1);
    if (home && home != getpid())
        return (CUresult)kNotInitialized;
    if (fake.fail_at > 0 && fake.fail_call == call && --fake.fail_at == 0)
        return fake.fail_with;
    if (needs_context && depth == 0) {
        fake.mistakes++;
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    if (needs_context && ((const object *)stack[depth - 1])->kind != kContext)
        return (CUresult)kContextIsDestroyed;
    return CUDA_SUCCESS;
}

#define BEGIN(field, needs_context)                                                                          \
    do {                                                                                                     \
        const CUresult begun_ = begin(FAKE_##field, needs_context);                                          \
        if (begun_ != CUDA_SUCCESS)                                                                          \
            return begun_;                                                                                   \
    } while (0)

static bool is_lost;    /* the error that came later has come */
static bool has_failed; /* an emulated launch, which the next wait hears of, and no other */

static object *captured_stream(void) {
    for (int i = 1; i <= made; i++)
        if (objects[i].kind == kStream && objects[i].capture != kNone)
            return &objects[i];
    return NULL;
}

/* Of calls that wait, allocate or load: they break a capture, and they hear of what failed. */
static CUresult settle(bool waits) {
    object *captured = captured_stream();
    if (captured) {
        captured->capture = kInvalid;
        return (CUresult)kCaptureUnsupported;
    }
    if (waits && fake.on_wait)
        fake.on_wait(fake.user);
    if (waits && has_failed) {
        has_failed = false;
        return (CUresult)kLaunchFailed;
    }
    is_lost = fake.fails_later != CUDA_SUCCESS && (is_lost || waits);
    return is_lost ? fake.fails_later : CUDA_SUCCESS;
}

#define SETTLE(waits)                                                                                        \
    do {                                                                                                     \
        const CUresult settled_ = settle(waits);                                                             \
        if (settled_ != CUDA_SUCCESS)                                                                        \
            return settled_;                                                                                 \
    } while (0)

/* ---- devices and contexts ---- */

static int number_of(const char *variable, int otherwise) {
    const char *text = getenv(variable);
    return text ? atoi(text) : otherwise;
}

__attribute__((constructor)) static void start(void) {
    fake.devices = number_of("FAKE_CUDA_DEVICES", 1);
    fake.first_device = number_of("FAKE_CUDA_FIRST", 0);
    fake.cc = number_of("FAKE_CUDA_CC", 90);
}

static CUresult f_init(unsigned flags) {
    (void)flags;
    BEGIN(init, false);
    home = getpid();
    return CUDA_SUCCESS;
}

static CUresult f_driver_version(int *out) {
    BEGIN(driver_version, false);
    *out = 13000;
    return CUDA_SUCCESS;
}

static CUresult f_error_name(CUresult error, const char **out) {
    static const struct {
        int error;
        const char *name;
    } names[] = {{CUDA_ERROR_OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY"},
                 {CUDA_ERROR_ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS"},
                 {CUDA_ERROR_DEVICE_UNAVAILABLE, "CUDA_ERROR_DEVICE_UNAVAILABLE"},
                 {CUDA_ERROR_NO_DEVICE, "CUDA_ERROR_NO_DEVICE"},
                 {kNotInitialized, "CUDA_ERROR_NOT_INITIALIZED"},
                 {kContextIsDestroyed, "CUDA_ERROR_CONTEXT_IS_DESTROYED"},
                 {kLaunchFailed, "CUDA_ERROR_LAUNCH_FAILED"},
                 {kCaptureUnsupported, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"},
                 {kCaptureInvalidated, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"}};
    *out = NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].error == (int)error)
            *out = names[i].name;
    return *out ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

static CUresult f_error_string(CUresult error, const char **out) {
    (void)error;
    *out = "the fake driver says so";
    return CUDA_SUCCESS;
}

static CUresult f_device_count(int *out) {
    BEGIN(device_count, false);
    *out = fake.devices;
    return CUDA_SUCCESS;
}

static CUresult f_device_get(CUdevice *out, int ordinal) {
    BEGIN(device_get, false);
    *out = ordinal;
    return CUDA_SUCCESS;
}

static CUresult f_device_name(char *out, int size, CUdevice device) {
    (void)device;
    BEGIN(device_name, false);
    snprintf(out, (size_t)size, "NVIDIA Fake");
    return CUDA_SUCCESS;
}

/* An H200's. */
static CUresult f_device_attribute(int *out, CUdevice_attribute name, CUdevice device) {
    (void)device;
    BEGIN(device_attribute, false);
    *out = name == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR            ? fake.cc / 10
           : name == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR          ? fake.cc % 10
           : name == CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT              ? 132
           : name == CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE                     ? 62914560
           : name == CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN ? 232448
           : name == CU_DEVICE_ATTRIBUTE_CLOCK_RATE                        ? 1980000
           : name == CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE                 ? 3201000
           : name == CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH           ? 6016
                                                                           : -1;
    return CUDA_SUCCESS;
}

/* Each device its own, whatever number it has: CUDA_VISIBLE_DEVICES=3,1 makes 3 the first. */
static CUresult f_device_uuid(CUuuid *out, CUdevice device) {
    BEGIN(device_uuid, false);
    memset(out, 0xa0 + fake.first_device + device, sizeof *out);
    return CUDA_SUCCESS;
}

static CUresult f_device_memory(size_t *out, CUdevice device) {
    (void)device;
    BEGIN(device_memory, false);
    *out = (size_t)139 << 30;
    return CUDA_SUCCESS;
}

static CUresult f_device_bus_id(char *out, int size, CUdevice device) {
    BEGIN(device_bus_id, false);
    snprintf(out, (size_t)size, "0000:%02x:00.0", fake.first_device + device);
    return CUDA_SUCCESS;
}

static CUresult f_primary_retain(CUcontext *out, CUdevice device) {
    BEGIN(primary_retain, false);
    if (atomic_fetch_add(&fake.primary[device], 1) == 0) {
        object *context = make(kContext);
        context->device = device;
        primary[device] = (CUcontext)context;
    }
    *out = primary[device];
    return CUDA_SUCCESS;
}

static CUresult f_primary_state(CUdevice device, unsigned *flags, int *active) {
    BEGIN(primary_state, false);
    *flags = 0;
    *active = fake.primary[device] > 0;
    return CUDA_SUCCESS;
}

/* The last one destroys it, whoever still has it. */
static CUresult f_primary_release(CUdevice device) {
    BEGIN(primary_release, false);
    const long before = atomic_fetch_sub(&fake.primary[device], 1);
    fake.mistakes += before < 1;
    return before == 1 ? unmake(primary[device], kContext) : CUDA_SUCCESS;
}

static CUresult f_context_current(CUcontext *out) {
    BEGIN(context_current, false);
    *out = depth ? stack[depth - 1] : NULL;
    return CUDA_SUCCESS;
}

static CUresult f_context_device(CUdevice *out) {
    BEGIN(context_device, true);
    *out = ((const object *)stack[depth - 1])->device;
    return CUDA_SUCCESS;
}

static CUresult f_context_push(CUcontext context) {
    BEGIN(context_push, false);
    if (!is(context, kContext) || depth == kStack)
        return CUDA_ERROR_INVALID_CONTEXT;
    stack[depth++] = context;
    return CUDA_SUCCESS;
}

static CUresult f_context_pop(CUcontext *out) {
    BEGIN(context_pop, false);
    fake.mistakes += depth == 0;
    *out = depth ? stack[--depth] : NULL;
    return *out ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
}

static CUresult f_context_synchronize(void) {
    BEGIN(context_synchronize, true);
    SETTLE(true);
    return CUDA_SUCCESS;
}

/* ---- memory: the host's, full of NaN at first ---- */

static CUresult f_memory_alloc(CUdeviceptr *out, size_t bytes) {
    BEGIN(memory_alloc, true);
    SETTLE(false);
    if (bytes == 0)
        return CUDA_ERROR_INVALID_VALUE;
    char *memory = bytes < (size_t)16 << 30 ? aligned_alloc(256, (bytes + 255) / 256 * 256) : NULL;
    if (!memory)
        return CUDA_ERROR_OUT_OF_MEMORY;
    memset(memory, 0xff, bytes);
    object *o = make(kMemory);
    o->bytes = bytes;
    o->memory = memory;
    *out = (CUdeviceptr)(uintptr_t)memory;
    return CUDA_SUCCESS;
}

static CUresult f_memory_free(CUdeviceptr address) {
    BEGIN(memory_free, true);
    object *o = memory_at(address, 0);
    if (!o || o->memory != (char *)(uintptr_t)address)
        return CUDA_ERROR_INVALID_VALUE;
    return unmake(o, kMemory);
}

static CUresult f_upload(CUdeviceptr to, const void *from, size_t bytes) {
    BEGIN(upload, true);
    SETTLE(false);
    if (!memory_at(to, bytes))
        return CUDA_ERROR_INVALID_VALUE;
    memcpy((void *)(uintptr_t)to, from, bytes);
    return CUDA_SUCCESS;
}

static CUresult f_download(void *to, CUdeviceptr from, size_t bytes) {
    BEGIN(download, true);
    SETTLE(false); /* it waits for blocking streams only */
    if (!memory_at(from, bytes))
        return CUDA_ERROR_INVALID_VALUE;
    memcpy(to, (const void *)(uintptr_t)from, bytes);
    return CUDA_SUCCESS;
}

/* ---- kernels ---- */

static CUresult f_module_load(CUmodule *out, const void *image) {
    static const char ours[] = "fake cubin of ";
    BEGIN(module_load, true);
    SETTLE(false);
    object *o = make(kModule);
    if (memcmp(image, ours, sizeof ours - 1) == 0)
        snprintf(o->name, sizeof o->name, "%s", (const char *)image + sizeof ours - 1);
    else
        o->emulated = emulated_module_load(image);
    *out = (CUmodule)o;
    return CUDA_SUCCESS;
}

static CUresult f_module_unload(CUmodule module) {
    BEGIN(module_unload, true);
    return unmake(module, kModule);
}

static CUresult f_module_function(CUfunction *out, CUmodule module, const char *name) {
    BEGIN(module_function, true);
    if (!is(module, kModule) || strcmp(name, "triage_kernel") != 0)
        return CUDA_ERROR_INVALID_VALUE;
    *out = (CUfunction)module;
    return CUDA_SUCCESS;
}

static CUresult f_function_set(CUfunction function, CUfunction_attribute attribute, int value) {
    (void)attribute, (void)value;
    BEGIN(function_set, true);
    return is(function, kModule) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

static long long now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* One write, so that lines of several processes stay whole. */
static void log_launch(int fd, long long from) {
    char line[128];
    if (fd < 0)
        return;
    const int card = fake.first_device + ((const object *)stack[depth - 1])->device;
    const int size = snprintf(line, sizeof line, "%d %d %lld %lld\n", card, (int)getpid(), from, now_ns());
    fake.mistakes += write(fd, line, (size_t)size) != size;
    close(fd);
}

static void take_time(void) {
    const long long from = now_ns();
    const char *log = getenv("FAKE_CUDA_LOG"), *hold = getenv("FAKE_CUDA_HOLD");
    /* the file is there from the start of a launch on */
    const int fd = log ? open(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;
    usleep((useconds_t)number_of("FAKE_CUDA_LAUNCH_MS", 0) * 1000);
    while (hold && access(hold, F_OK) == 0)
        usleep(10000);
    log_launch(fd, from);
}

static void run_emulated(const node *n) {
    static emulated_memory memory;
    const fake_launch *l = &n->launch;
    memory.count = 0;
    for (int i = 1; i <= made && memory.count < 4096; i++)
        if (objects[i].kind == kMemory) {
            memory.at[memory.count] = objects[i].memory;
            memory.bytes[memory.count++] = objects[i].bytes;
        }
    if (!emulated_module_launch(n->emulated, l->args, l->grid, l->block[0], l->cluster, l->smem_bytes,
                                &memory))
        has_failed = true;
}

static void run_node(const node *n) {
    if (n->bytes) {
        memset(n->to, 0, n->bytes);
        return;
    }
    take_time();
    if (n->emulated)
        run_emulated(n);
    fake.last = n->launch;
    atomic_fetch_add(&fake.launches, 1);
    if (fake.on_launch)
        fake.on_launch(fake.user, &n->launch);
}

/* Now, or into the graph of the stream that is captured. */
static CUresult enqueue(CUstream stream, const node *given) {
    object *s = (object *)stream, *captured = captured_stream();
    if (stream && !is(stream, kStream))
        return CUDA_ERROR_INVALID_HANDLE;
    if (!stream && captured) {
        captured->capture = kInvalid;
        return (CUresult)kCaptureImplicit;
    }
    if (!s || s->capture == kNone) {
        run_node(given);
        return CUDA_SUCCESS;
    }
    node *n = malloc(sizeof *n);
    if (!n)
        return CUDA_ERROR_OUT_OF_MEMORY;
    *n = *given;
    n->next = NULL;
    *s->last = n;
    s->last = &n->next;
    return CUDA_SUCCESS;
}

static CUresult fill(CUdeviceptr to, unsigned word, size_t bytes, CUstream stream) {
    if (!memory_at(to, bytes) || word != 0)
        return CUDA_ERROR_INVALID_VALUE;
    return enqueue(stream, &(node){.to = (unsigned char *)(uintptr_t)to, .bytes = bytes});
}

static CUresult f_fill_bytes(CUdeviceptr to, unsigned char byte, size_t count, CUstream stream) {
    BEGIN(fill_bytes, true);
    return fill(to, byte, count, stream);
}

/* With whatever word: a bench fills results with NaN. */
static CUresult f_fill_words(CUdeviceptr to, unsigned word, size_t count, CUstream stream) {
    BEGIN(fill_words, true);
    if (word == 0)
        return fill(to, 0, 4 * count, stream);
    if (!memory_at(to, 4 * count))
        return CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; i < count; i++)
        ((unsigned *)(uintptr_t)to)[i] = word;
    return CUDA_SUCCESS;
}

static CUresult f_launch(const CUlaunchConfig *config, CUfunction function, void **params, void **extra) {
    BEGIN(launch, true);
    is_lost &= fake.fails_later != CUDA_SUCCESS;
    if (is_lost)
        return fake.fails_later;
    if (!is(function, kModule) || extra || config->gridDimX == 0 || config->gridDimY > 65535 ||
        config->gridDimZ > 65535)
        return CUDA_ERROR_INVALID_VALUE;
    node n = {.launch = {.grid = {config->gridDimX, config->gridDimY, config->gridDimZ},
                         .block = {config->blockDimX, config->blockDimY, config->blockDimZ},
                         .smem_bytes = config->sharedMemBytes,
                         .cluster = {1, 1, 1},
                         .stream = config->hStream}};
    snprintf(n.launch.kernel, sizeof n.launch.kernel, "%s", ((const object *)function)->name);
    for (unsigned i = 0; i < config->numAttrs; i++)
        if (config->attrs[i].id == CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION)
            memcpy(n.launch.cluster, &config->attrs[i].value.clusterDim, sizeof n.launch.cluster);
    n.emulated = ((const object *)function)->emulated;
    if (n.emulated)
        memcpy(n.launch.args, params[0], emulated_module_args(n.emulated));
    else if (n.launch.kernel[0]) /* of others nobody knows how long it is */
        memcpy(n.launch.args, params[0], fake.args_bytes < FAKE_ARGS ? fake.args_bytes : FAKE_ARGS);
    return enqueue(config->hStream, &n);
}

/* The opaque bytes begin with the base address, so that a test can tell one map from another. */
static CUresult f_tensor_map(CUtensorMap *out, CUtensorMapDataType type, cuuint32_t rank, void *address,
                             const cuuint64_t *dims, const cuuint64_t *strides, const cuuint32_t *box,
                             const cuuint32_t *steps, CUtensorMapInterleave interleave,
                             CUtensorMapSwizzle swizzle, CUtensorMapL2promotion promotion,
                             CUtensorMapFloatOOBfill filling) {
    emulated_map map = {.base = address, .rank = (unsigned char)rank};
    (void)steps, (void)interleave, (void)promotion, (void)filling;
    BEGIN(tensor_map, true);
    map.element = type == CU_TENSOR_MAP_DATA_TYPE_FLOAT32 ? 4 : type == CU_TENSOR_MAP_DATA_TYPE_UINT8 ? 1 : 2;
    map.swizzle = swizzle == CU_TENSOR_MAP_SWIZZLE_32B    ? 32
                  : swizzle == CU_TENSOR_MAP_SWIZZLE_64B  ? 64
                  : swizzle == CU_TENSOR_MAP_SWIZZLE_128B ? 128
                                                          : 0;
    for (cuuint32_t i = 0; i < rank; i++) {
        map.dims[i] = (unsigned)dims[i];
        map.box[i] = (unsigned short)box[i];
        map.strides[i] = i > 0 ? (long long)strides[i - 1] : map.element;
    }
    memset(out, 0, sizeof *out);
    memcpy(out, &map, sizeof map);
    return CUDA_SUCCESS;
}

/* ---- streams, events, graphs ---- */

static CUresult f_stream_create(CUstream *out, unsigned flags) {
    BEGIN(stream_create, true);
    object *o = make(kStream);
    o->flags = flags;
    *out = (CUstream)o;
    return CUDA_SUCCESS;
}

static CUresult f_stream_destroy(CUstream stream) {
    BEGIN(stream_destroy, true);
    return unmake(stream, kStream);
}

static CUresult f_stream_synchronize(CUstream stream) {
    BEGIN(stream_synchronize, true);
    if (stream && !is(stream, kStream))
        return CUDA_ERROR_INVALID_HANDLE;
    SETTLE(true);
    return CUDA_SUCCESS;
}

static CUresult f_event_create(CUevent *out, unsigned flags) {
    (void)flags;
    BEGIN(event_create, true);
    *out = (CUevent)make(kEvent);
    return CUDA_SUCCESS;
}

static CUresult f_event_destroy(CUevent event) {
    BEGIN(event_destroy, true);
    return unmake(event, kEvent);
}

static CUresult f_event_record(CUevent event, CUstream stream) {
    BEGIN(event_record, true);
    return is(event, kEvent) && is(stream, kStream) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

static CUresult f_event_elapsed(float *out, CUevent start_event, CUevent end) {
    BEGIN(event_elapsed, true);
    *out = 0.5f; /* not a measurement */
    return is(start_event, kEvent) && is(end, kEvent) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

static CUresult f_profiler_start(void) {
    BEGIN(profiler_start, true);
    return CUDA_SUCCESS;
}

static CUresult f_profiler_stop(void) {
    BEGIN(profiler_stop, true);
    return CUDA_SUCCESS;
}

static CUresult f_capture_begin(CUstream stream, CUstreamCaptureMode mode) {
    (void)mode;
    BEGIN(capture_begin, true);
    object *s = (object *)stream;
    if (!is(stream, kStream) || s->capture != kNone)
        return CUDA_ERROR_INVALID_HANDLE;
    s->capture = kActive;
    return CUDA_SUCCESS;
}

static CUresult f_capture_status(CUstream stream, CUstreamCaptureStatus *out) {
    BEGIN(capture_status, true);
    if (!stream && captured_stream())
        return (CUresult)kCaptureImplicit;
    if (stream && !is(stream, kStream))
        return CUDA_ERROR_INVALID_HANDLE;
    *out = stream ? (CUstreamCaptureStatus)((const object *)stream)->capture : CU_STREAM_CAPTURE_STATUS_NONE;
    return CUDA_SUCCESS;
}

static CUresult f_capture_end(CUstream stream, CUgraph *out) {
    BEGIN(capture_end, true);
    object *s = (object *)stream;
    *out = NULL;
    if (!is(stream, kStream) || s->capture == kNone)
        return CUDA_ERROR_INVALID_HANDLE;
    const bool good = s->capture == kActive;
    s->capture = kNone;
    if (!good)
        return (CUresult)kCaptureInvalidated;
    object *graph = make(kGraph);
    graph->first = s->first;
    s->first = NULL;
    s->last = &s->first;
    *out = (CUgraph)graph;
    return CUDA_SUCCESS;
}

static CUresult f_graph_instantiate(CUgraphExec *out, CUgraph graph, unsigned long long flags) {
    (void)flags;
    BEGIN(graph_instantiate, true);
    if (!is(graph, kGraph))
        return CUDA_ERROR_INVALID_HANDLE;
    object *o = make(kExec);
    o->graph = (const object *)graph;
    *out = (CUgraphExec)o;
    return CUDA_SUCCESS;
}

/* The graph must still be there: a simplification. */
static CUresult f_graph_launch(CUgraphExec exec, CUstream stream) {
    BEGIN(graph_launch, true);
    if (!is(exec, kExec) || (stream && !is(stream, kStream)) || !is(((const object *)exec)->graph, kGraph))
        return CUDA_ERROR_INVALID_HANDLE;
    for (const node *n = ((const object *)exec)->graph->first; n; n = n->next)
        run_node(n);
    return CUDA_SUCCESS;
}

static CUresult f_graph_exec_destroy(CUgraphExec exec) {
    BEGIN(graph_exec_destroy, true);
    return unmake(exec, kExec);
}

static CUresult f_graph_destroy(CUgraph graph) {
    BEGIN(graph_destroy, true);
    return unmake(graph, kGraph);
}

/* A function that is added to the list and not here does not link. */
#define TRI_SYMBOL(field, prototype, symbol)                                                                 \
    extern __typeof__(prototype) exported_##field __asm__(#symbol)                                           \
        __attribute__((alias("f_" #field), visibility("default")));
#include "device/cuda/driver.def"
#undef TRI_SYMBOL

/* NVRTC, which shares the process, asks for it and does not expect a driver without. */
EXPORTED CUresult cuGetExportTable(const void **out, const CUuuid *id);
CUresult cuGetExportTable(const void **out, const CUuuid *id) {
    (void)id;
    *out = NULL;
    return CUDA_ERROR_NOT_SUPPORTED;
}
