/* A CUDA driver that keeps books and fails on request, for tests without a GPU. */
#ifndef TRIAGE_TESTS_FAKE_DRIVER_H
#define TRIAGE_TESTS_FAKE_DRIVER_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "op/bsr_gemm/bsr_gemm.h"
#include "bsr_gemm/args.h"
#include "device/cuda/driver.h"

/* ---- the fake: handles are indexes into `live`, so a leak, a double free or a stranger shows ---- */

enum kind { kMemory = 1, kModule, kStream, kEvent, kGraph, kExec, kContext, kKinds };
enum { kHandles = 4096, kFunction = 77, kSweep = 78 };

static struct fake {
    int kind_of[kHandles]; /* 0: freed or never made */
    int next;
    int live[kKinds];
    int stack[16], depth; /* contexts pushed */
    int calls, fail_at;   /* fail_at 0: none */
    CUresult failure;
    bool tearing;        /* the scenario cleans up: its calls are not to fail one by one */
    bool teardown_fails; /* every destroying call reports a failure (and destroys) */
    char failed[64];     /* the call that failed */
    bool capturing;
    int captured; /* launches inside the last capture */
    int mistakes; /* double frees, strangers, destroying while capturing */
    int ordinal_of_context;
    /* what was asked for last */
    CUlaunchConfig config;
    CUlaunchAttribute attribute;
    unsigned char args[sizeof(tri_bsr_gemm_args)];
    CUstream fill_stream;
    CUdeviceptr fill_at;
    size_t fill_bytes;
    int launches, graph_launches, nonportable, dynamic_smem;
    int sweep_module; /* the one that was loaded from PTX; 0: none */
    int sweeps;
    struct {
        CUdeviceptr from;
        uint64_t bytes;
        CUdeviceptr sink;
    } swept;
    CUtensorMapDataType map_type;
    cuuint32_t map_rank, map_box[3];
    cuuint64_t map_dims[3], map_strides[2];
    CUtensorMapSwizzle map_swizzle;
    CUtensorMapL2promotion map_promotion;
    int devices, first_device;
} fake;

static bool fails(const char *name) {
    if (fake.tearing || ++fake.calls != fake.fail_at)
        return false;
    snprintf(fake.failed, sizeof fake.failed, "%s", name);
    return true;
}

#define STEP(name)                                                                                           \
    if (fails(name))                                                                                         \
    return fake.failure

static int make(int kind) {
    assert_true(fake.next + 1 < kHandles);
    fake.kind_of[++fake.next] = kind;
    fake.live[kind]++;
    return fake.next;
}

static CUresult unmake(int handle, int kind) {
    if (handle <= 0 || handle >= kHandles || fake.kind_of[handle] != kind || fake.capturing) {
        fake.mistakes++;
        return CUDA_ERROR_INVALID_HANDLE;
    }
    fake.kind_of[handle] = 0;
    fake.live[kind]--;
    return fake.teardown_fails ? CUDA_ERROR_ILLEGAL_ADDRESS : CUDA_SUCCESS;
}

static void expect_kind(uintptr_t handle, int kind) {
    if (handle == 0 || handle >= kHandles || fake.kind_of[handle] != kind)
        fake.mistakes++;
}

#define ADDRESS(handle) ((CUdeviceptr)(handle) << 20)
#define HANDLE_OF(address) ((int)((address) >> 20))
#define POINTER(type, handle) ((type)(uintptr_t)(handle))
#define NUMBER(pointer) ((uintptr_t)(pointer))

/* Everything but the first and the cleaning calls needs a current context. */
static void expect_context(void) {
    if (fake.depth == 0)
        fake.mistakes++;
}

static CUresult f_init(unsigned flags) {
    (void)flags;
    STEP("cuInit");
    return CUDA_SUCCESS;
}
static CUresult f_driver_version(int *out) {
    STEP("cuDriverGetVersion");
    *out = 13000;
    return CUDA_SUCCESS;
}
static CUresult f_error_name(CUresult error, const char **out) {
    *out = error == CUDA_ERROR_ILLEGAL_ADDRESS ? "CUDA_ERROR_ILLEGAL_ADDRESS"
           : error == CUDA_ERROR_OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY"
           : error == CUDA_ERROR_NO_DEVICE     ? "CUDA_ERROR_NO_DEVICE"
                                               : NULL;
    return *out ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
static CUresult f_error_string(CUresult error, const char **out) {
    *out = error == CUDA_ERROR_ILLEGAL_ADDRESS ? "an illegal memory access was encountered" : "some text";
    return CUDA_SUCCESS;
}
static CUresult f_device_count(int *out) {
    STEP("cuDeviceGetCount");
    *out = fake.devices;
    return CUDA_SUCCESS;
}
static CUresult f_device_get(CUdevice *out, int ordinal) {
    STEP("cuDeviceGet");
    *out = ordinal;
    return CUDA_SUCCESS;
}
static CUresult f_device_name(char *out, int size, CUdevice device) {
    (void)device;
    STEP("cuDeviceGetName");
    snprintf(out, (size_t)size, "NVIDIA Fake");
    return CUDA_SUCCESS;
}
static CUresult f_device_attribute(int *out, CUdevice_attribute name, CUdevice device) {
    (void)device;
    STEP("cuDeviceGetAttribute");
    *out = name == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR            ? 9
           : name == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR          ? 0
           : name == CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT              ? 132
           : name == CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE                     ? 62914560
           : name == CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN ? 232448
           : name == CU_DEVICE_ATTRIBUTE_CLOCK_RATE                        ? 1980000
           : name == CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE                 ? 3201000
           : name == CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH           ? 6144
                                                                           : -1;
    return CUDA_SUCCESS;
}
/* Each device its own, whatever number it has: CUDA_VISIBLE_DEVICES=3,1 makes 3 the first. */
static CUresult f_device_uuid(CUuuid *out, CUdevice device) {
    STEP("cuDeviceGetUuid");
    memset(out, 0xa0 + fake.first_device + device, sizeof *out);
    return CUDA_SUCCESS;
}
static CUresult f_device_memory(size_t *out, CUdevice device) {
    (void)device;
    STEP("cuDeviceTotalMem");
    *out = (size_t)1 << 37;
    return CUDA_SUCCESS;
}
static CUresult f_device_bus_id(char *out, int size, CUdevice device) {
    (void)device;
    STEP("cuDeviceGetPCIBusId");
    snprintf(out, (size_t)size, "ffff:ff:1f.7");
    return CUDA_SUCCESS;
}
static CUresult f_primary_retain(CUcontext *out, CUdevice device) {
    STEP("cuDevicePrimaryCtxRetain");
    fake.ordinal_of_context = device;
    *out = POINTER(CUcontext, make(kContext));
    return CUDA_SUCCESS;
}
static CUresult f_primary_state(CUdevice device, unsigned *flags, int *active) {
    (void)device;
    STEP("cuDevicePrimaryCtxGetState");
    *flags = 0;
    *active = 0; /* contexts that are current are cuCtxCreate's */
    return CUDA_SUCCESS;
}
static CUresult f_primary_release(CUdevice device) {
    for (int i = 1; i <= fake.next; i++)
        if (fake.kind_of[i] == kContext && device == fake.ordinal_of_context)
            return unmake(i, kContext);
    fake.mistakes++;
    return CUDA_ERROR_INVALID_CONTEXT;
}
static CUresult f_context_current(CUcontext *out) {
    STEP("cuCtxGetCurrent");
    *out = POINTER(CUcontext, fake.depth ? fake.stack[fake.depth - 1] : 0);
    return CUDA_SUCCESS;
}
static CUresult f_context_device(CUdevice *out) {
    STEP("cuCtxGetDevice");
    *out = fake.ordinal_of_context;
    return CUDA_SUCCESS;
}
static CUresult f_context_push(CUcontext context) {
    STEP("cuCtxPushCurrent");
    expect_kind(NUMBER(context), kContext);
    assert_true(fake.depth < 16);
    fake.stack[fake.depth++] = (int)NUMBER(context);
    return CUDA_SUCCESS;
}
static CUresult f_context_pop(CUcontext *out) {
    if (fake.depth == 0) {
        fake.mistakes++;
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    *out = POINTER(CUcontext, fake.stack[--fake.depth]);
    return fake.teardown_fails ? CUDA_ERROR_ILLEGAL_ADDRESS : CUDA_SUCCESS;
}
static CUresult f_context_synchronize(void) {
    expect_context();
    STEP("cuCtxSynchronize");
    return CUDA_SUCCESS;
}
static CUresult f_memory_alloc(CUdeviceptr *out, size_t bytes) {
    expect_context();
    STEP("cuMemAlloc");
    assert_true(bytes > 0);
    *out = ADDRESS(make(kMemory));
    return CUDA_SUCCESS;
}
static CUresult f_memory_free(CUdeviceptr address) {
    expect_context();
    return unmake(HANDLE_OF(address), kMemory);
}
static CUresult f_upload(CUdeviceptr to, const void *from, size_t bytes) {
    expect_context();
    expect_kind((uintptr_t)HANDLE_OF(to), kMemory);
    (void)from, (void)bytes;
    STEP("cuMemcpyHtoD");
    return CUDA_SUCCESS;
}
static CUresult f_download(void *to, CUdeviceptr from, size_t bytes) {
    expect_context();
    expect_kind((uintptr_t)HANDLE_OF(from), kMemory);
    STEP("cuMemcpyDtoH");
    memset(to, 0x5a, bytes);
    return CUDA_SUCCESS;
}
static CUresult f_fill_bytes(CUdeviceptr to, unsigned char byte, size_t count, CUstream stream) {
    expect_context();
    expect_kind((uintptr_t)HANDLE_OF(to), kMemory);
    STEP("cuMemsetD8Async");
    if (byte != 0)
        fake.mistakes++;
    fake.fill_at = to;
    fake.fill_bytes = count;
    fake.fill_stream = stream;
    return CUDA_SUCCESS;
}
static CUresult f_fill_words(CUdeviceptr to, unsigned word, size_t count, CUstream stream) {
    expect_context();
    expect_kind((uintptr_t)HANDLE_OF(to), kMemory);
    (void)word, (void)count, (void)stream;
    STEP("cuMemsetD32Async");
    return CUDA_SUCCESS;
}
static CUresult f_module_load(CUmodule *out, const void *image) {
    expect_context();
    STEP("cuModuleLoadData");
    int module = make(kModule);
    *out = POINTER(CUmodule, module);
    if (memcmp(image, "//", 2) == 0) /* text: PTX */
        fake.sweep_module = module;
    return CUDA_SUCCESS;
}
static CUresult f_module_unload(CUmodule module) {
    expect_context();
    return unmake((int)NUMBER(module), kModule);
}
static CUresult f_module_function(CUfunction *out, CUmodule module, const char *name) {
    expect_context();
    expect_kind(NUMBER(module), kModule);
    STEP("cuModuleGetFunction");
    assert_string_equal(name, "triage_kernel");
    *out = POINTER(CUfunction, (int)NUMBER(module) == fake.sweep_module ? kSweep : kFunction);
    return CUDA_SUCCESS;
}
static CUresult f_function_set(CUfunction function, CUfunction_attribute attribute, int value) {
    expect_context();
    (void)function;
    STEP("cuFuncSetAttribute");
    if (attribute == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES)
        fake.dynamic_smem = value;
    if (attribute == CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED)
        fake.nonportable = value;
    return CUDA_SUCCESS;
}
static CUresult f_launch(const CUlaunchConfig *config, CUfunction function, void **params, void **extra) {
    expect_context();
    STEP("cuLaunchKernelEx");
    if (NUMBER(function) == kSweep) {
        memcpy(&fake.swept, params[0], sizeof fake.swept);
        fake.sweeps++;
        return CUDA_SUCCESS;
    }
    if (NUMBER(function) != kFunction || extra)
        fake.mistakes++;
    fake.config = *config;
    if (config->numAttrs)
        fake.attribute = config->attrs[0];
    memcpy(fake.args, params[0], sizeof fake.args);
    fake.launches++;
    fake.captured += fake.capturing;
    return CUDA_SUCCESS;
}
static CUresult f_tensor_map(CUtensorMap *out, CUtensorMapDataType type, cuuint32_t rank, void *address,
                             const cuuint64_t *dims, const cuuint64_t *strides, const cuuint32_t *box,
                             const cuuint32_t *steps, CUtensorMapInterleave interleave,
                             CUtensorMapSwizzle swizzle, CUtensorMapL2promotion promotion,
                             CUtensorMapFloatOOBfill fill) {
    expect_context();
    (void)address, (void)interleave, (void)fill;
    STEP("cuTensorMapEncodeTiled");
    fake.map_type = type;
    fake.map_rank = rank;
    for (cuuint32_t i = 0; i < rank; i++) {
        fake.map_dims[i] = dims[i];
        fake.map_box[i] = box[i];
        fake.mistakes += steps[i] != 1;
    }
    for (cuuint32_t i = 0; i + 1 < rank; i++)
        fake.map_strides[i] = strides[i];
    fake.map_swizzle = swizzle;
    fake.map_promotion = promotion;
    memset(out, 0xab, sizeof *out);
    return CUDA_SUCCESS;
}
static CUresult f_stream_create(CUstream *out, unsigned flags) {
    expect_context();
    STEP("cuStreamCreate");
    assert_int_equal(flags, CU_STREAM_NON_BLOCKING);
    *out = POINTER(CUstream, make(kStream));
    return CUDA_SUCCESS;
}
static CUresult f_stream_destroy(CUstream stream) {
    expect_context();
    return unmake((int)NUMBER(stream), kStream);
}
static CUresult f_stream_synchronize(CUstream stream) {
    expect_context();
    expect_kind(NUMBER(stream), kStream);
    STEP("cuStreamSynchronize");
    return CUDA_SUCCESS;
}
static CUresult f_event_create(CUevent *out, unsigned flags) {
    (void)flags;
    expect_context();
    STEP("cuEventCreate");
    *out = POINTER(CUevent, make(kEvent));
    return CUDA_SUCCESS;
}
static CUresult f_event_destroy(CUevent event) {
    expect_context();
    return unmake((int)NUMBER(event), kEvent);
}
static CUresult f_event_record(CUevent event, CUstream stream) {
    expect_context();
    expect_kind(NUMBER(event), kEvent);
    expect_kind(NUMBER(stream), kStream);
    STEP("cuEventRecord");
    return CUDA_SUCCESS;
}
static CUresult f_event_elapsed(float *out, CUevent start, CUevent end) {
    expect_context();
    expect_kind(NUMBER(start), kEvent);
    expect_kind(NUMBER(end), kEvent);
    STEP("cuEventElapsedTime");
    *out = 0.5f;
    return CUDA_SUCCESS;
}
static CUresult f_profiler_start(void) {
    expect_context();
    STEP("cuProfilerStart");
    return CUDA_SUCCESS;
}
static CUresult f_profiler_stop(void) {
    expect_context();
    STEP("cuProfilerStop");
    return CUDA_SUCCESS;
}
static CUresult f_capture_begin(CUstream stream, CUstreamCaptureMode mode) {
    expect_context();
    expect_kind(NUMBER(stream), kStream);
    (void)mode;
    STEP("cuStreamBeginCapture");
    fake.capturing = true;
    fake.captured = 0;
    return CUDA_SUCCESS;
}
static CUresult f_capture_status(CUstream stream, CUstreamCaptureStatus *out) {
    (void)stream;
    expect_context();
    *out = (CUstreamCaptureStatus)fake.capturing;
    return CUDA_SUCCESS;
}
/* As the real one: a failing end still ends, and gives no graph. */
static CUresult f_capture_end(CUstream stream, CUgraph *out) {
    expect_context();
    expect_kind(NUMBER(stream), kStream);
    fake.mistakes += !fake.capturing;
    fake.capturing = false;
    *out = NULL;
    STEP("cuStreamEndCapture");
    *out = POINTER(CUgraph, make(kGraph));
    return CUDA_SUCCESS;
}
static CUresult f_graph_instantiate(CUgraphExec *out, CUgraph graph, unsigned long long flags) {
    expect_context();
    expect_kind(NUMBER(graph), kGraph);
    (void)flags;
    STEP("cuGraphInstantiateWithFlags");
    *out = POINTER(CUgraphExec, make(kExec));
    return CUDA_SUCCESS;
}
static CUresult f_graph_launch(CUgraphExec exec, CUstream stream) {
    expect_context();
    expect_kind(NUMBER(exec), kExec);
    expect_kind(NUMBER(stream), kStream);
    STEP("cuGraphLaunch");
    fake.graph_launches++;
    return CUDA_SUCCESS;
}
static CUresult f_graph_exec_destroy(CUgraphExec exec) {
    expect_context();
    return unmake((int)NUMBER(exec), kExec);
}
static CUresult f_graph_destroy(CUgraph graph) {
    expect_context();
    return unmake((int)NUMBER(graph), kGraph);
}

/* A symbol that is added to the list and not here does not compile. */
static const tri_cuda_driver table = {
#define TRI_SYMBOL(field, prototype, symbol) .field = f_##field,
#include "device/cuda/driver.def"
#undef TRI_SYMBOL
};

#endif
