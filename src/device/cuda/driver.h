/* The CUDA driver, found at run time: a table of functions that a test can replace. */
#ifndef TRIAGE_DEVICE_CUDA_DRIVER_H
#define TRIAGE_DEVICE_CUDA_DRIVER_H

#include "device/backend.h"
#include "device/cuda/abi.h"

typedef struct tri_cuda_driver {
#define TRI_SYMBOL(field, prototype, symbol) __typeof__(prototype) *field;
#include "device/cuda/driver.def"
#undef TRI_SYMBOL
} tri_cuda_driver;

/* The driver's table, loaded and initialised (cuInit) on the first call. TRIAGE_E_NO_DEVICE. Thread-safe. */
triage_status tri_cuda_driver_get(const tri_cuda_driver **out);
/* Tests only: uses fake from here on (NULL: the real one again). No device may be open. */
void tri_cuda_driver_replace(const tri_cuda_driver *fake);

/* The failure of call, e.g. "cuLaunchKernelEx: CUDA_ERROR_ILLEGAL_ADDRESS (an illegal ...)". */
triage_status tri_cuda_failure(const tri_cuda_driver *driver, CUresult result, const char *call);
static inline triage_status tri_cuda_check(const tri_cuda_driver *driver, CUresult result, const char *call) {
    return result == CUDA_SUCCESS ? TRIAGE_OK : tri_cuda_failure(driver, result, call);
}

/* A library's function and the place of its pointer in a table of them. */
typedef struct tri_cuda_symbol {
    const char *name;
    size_t offset; /* of its pointer in the table */
} tri_cuda_symbol;
/* Fills table with the library's symbols. NULL: all are there; else the first that is missing. */
const char *tri_cuda_resolve(void *table, void *library, const tri_cuda_symbol *symbols, size_t count);

/* ---- a device ---- */

typedef struct tri_cuda_device {
    tri_device base;
    const tri_cuda_driver *driver;
    CUdevice ordinal;
    CUcontext context;
    bool retained;     /* the primary context, to be released */
    CUstream stream;   /* for timing: capture is not possible on the null stream */
    CUdeviceptr flush; /* zeros, read between timings; grown on demand */
    size_t flush_bytes;
    tri_kernel *sweep; /* reads them; NULL before the first flush */
} tri_cuda_device;

/* Makes the device's context current in this thread for the time until leave. */
static inline triage_status tri_cuda_enter(tri_cuda_device *device, bool *pushed) {
    triage_status status = TRIAGE_OK;
    CUcontext current = NULL;
    *pushed = false;
    TRI_TRY(tri_cuda_check(device->driver, device->driver->context_current(&current), "cuCtxGetCurrent"));
    if (current == device->context)
        return TRIAGE_OK;
    TRI_TRY(
        tri_cuda_check(device->driver, device->driver->context_push(device->context), "cuCtxPushCurrent"));
    *pushed = true;
done:
    return status;
}
static inline void tri_cuda_leave(tri_cuda_device *device, bool pushed) {
    CUcontext popped = NULL;
    if (pushed)
        device->driver->context_pop(&popped);
}

triage_status tri_cuda_describe(tri_device_info *out, const tri_cuda_driver *driver, CUdevice ordinal);
triage_status tri_cuda_circumstances(char **out, tri_device *device);

/* ---- kernels ---- */

triage_status tri_cuda_load(tri_kernel **out, tri_device *device, const tri_image *image,
                            const tri_launch *launch);
triage_status tri_cuda_call_load(tri_kernel **out, tri_device *device, tri_call_fn call, void *state);
void tri_cuda_unload(tri_kernel *kernel);
triage_status tri_cuda_launch(tri_kernel *kernel, const void *args, void *stream);
/* flush.c: see tri_device_flush. */
triage_status tri_cuda_flush(tri_device *device, size_t bytes, void *stream);
void tri_cuda_flush_end(tri_device *device);
void tri_cuda_flush_free(tri_cuda_device *device);
triage_status tri_cuda_time(tri_kernel *kernel, const void *args, int64_t flush_bytes, int batch, double *ns,
                            int count);
triage_status tri_cuda_map_make(void *out_128_bytes, tri_device *device, const tri_tensor_box *box,
                                const tri_tensor_view *view);

/* ---- cuBLAS: the dense product ---- */

typedef struct tri_cublas {
#define TRI_SYMBOL(field, prototype, symbol) __typeof__(prototype) *field;
#include "device/cuda/cublas.def"
#undef TRI_SYMBOL
} tri_cublas;

triage_status tri_cublas_library(char *out, size_t size);
triage_status tri_cublas_load(tri_kernel **out, tri_device *device, const tri_gemm *gemm);
/* Tests only: uses fake from here on (NULL: the real one again). */
void tri_cublas_replace(const tri_cublas *fake);

/* ---- NVRTC ---- */

triage_status tri_nvrtc_set_tools(const char *path);
triage_status tri_nvrtc_version(char *out, size_t size);
void tri_nvrtc_file(char *out, size_t size, bool *is_chosen);
triage_status tri_nvrtc_compile(tri_image *out, const char *target, const tri_source *source);

/* Of ptxas -v: the most registers of a function, all spilled bytes, the most static shared memory; -1 where
 * the log does not tell. */
void tri_nvrtc_read_log(tri_image *image);
/* Of a log: a copy of the line that makes a kernel a failed candidate although it compiles; "" if none. */
void tri_nvrtc_bad_warning(char *out, size_t size, const char *log);

#endif
