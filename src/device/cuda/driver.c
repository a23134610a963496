/* Finding libcuda.so.1 and telling its failures. */
#include "device/cuda/driver.h"

#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

static const tri_cuda_symbol symbols[] = {
#define TRI_SYMBOL(field, prototype, symbol) {#symbol, offsetof(tri_cuda_driver, field)},
#include "device/cuda/driver.def"
#undef TRI_SYMBOL
};

const char *tri_cuda_resolve(void *table, void *library, const tri_cuda_symbol *wanted, size_t count) {
    for (size_t i = 0; i < count; i++) {
        void *found = dlsym(library, wanted[i].name);
        if (!found)
            return wanted[i].name;
        memcpy((char *)table + wanted[i].offset, &found, sizeof found);
    }
    return NULL;
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static tri_cuda_driver real;
static bool real_loaded; /* symbols resolved; the library stays loaded for ever, as the driver wants */
static const tri_cuda_driver *ready, *replaced;

static triage_status load_real(const tri_cuda_driver **out) {
    *out = &real;
    if (real_loaded)
        return TRIAGE_OK;
    void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return tri_fail(TRIAGE_E_NO_DEVICE, "no CUDA driver: %s", dlerror());
    const char *missing = tri_cuda_resolve(&real, library, symbols, sizeof symbols / sizeof *symbols);
    if (missing) {
        dlclose(library);
        return tri_fail(TRIAGE_E_NO_DEVICE, "the CUDA driver has no %s: driver 525 or later is needed",
                        missing);
    }
    real_loaded = true;
    return TRIAGE_OK;
}

triage_status tri_cuda_driver_get(const tri_cuda_driver **out) {
    triage_status status = TRIAGE_OK;
    const tri_cuda_driver *driver = NULL;
    pthread_mutex_lock(&lock);
    if (!ready) {
        driver = replaced;
        if (!driver)
            TRI_TRY(load_real(&driver));
        TRI_TRY(tri_cuda_check(driver, driver->init(0), "cuInit"));
        ready = driver;
    }
    *out = ready;
done:
    pthread_mutex_unlock(&lock);
    return status;
}

void tri_cuda_driver_replace(const tri_cuda_driver *fake) {
    pthread_mutex_lock(&lock);
    replaced = fake;
    ready = NULL;
    pthread_mutex_unlock(&lock);
}

static triage_status status_of(CUresult result) {
    switch (result) {
    case CUDA_SUCCESS:
        return TRIAGE_OK;
    case CUDA_ERROR_OUT_OF_MEMORY:
        return TRIAGE_E_MEMORY;
    case CUDA_ERROR_NO_DEVICE:
    case CUDA_ERROR_INVALID_DEVICE:
    case CUDA_ERROR_STUB_LIBRARY:
    case CUDA_ERROR_DEVICE_UNAVAILABLE:
    case CUDA_ERROR_DEVICE_NOT_LICENSED:
    case CUDA_ERROR_SYSTEM_NOT_READY:
    case CUDA_ERROR_SYSTEM_DRIVER_MISMATCH:
    case CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE:
        return TRIAGE_E_NO_DEVICE;
    default:
        return TRIAGE_E_DEVICE;
    }
}

triage_status tri_cuda_failure(const tri_cuda_driver *driver, CUresult result, const char *call) {
    const char *name = NULL, *text = NULL;
    if (driver->error_name(result, &name) != CUDA_SUCCESS || !name)
        return tri_fail(status_of(result), "%s: CUDA error %d", call, (int)result);
    if (driver->error_string(result, &text) != CUDA_SUCCESS || !text)
        text = "no description";
    return tri_fail(status_of(result), "%s: %s (%s)", call, name, text);
}
