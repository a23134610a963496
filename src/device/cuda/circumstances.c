/* What explains a time but is no part of its key, from NVML where that can be found. */
#include "device/cuda/driver.h"

#include <dlfcn.h>
#include <string.h>

typedef struct nvml {
#define TRI_NVML(field, symbol, parameters) int(*field) parameters;
#include "device/cuda/nvml.def"
#undef TRI_NVML
} nvml;

static void load(nvml *out, void *library) {
    static const tri_cuda_symbol symbols[] = {
#define TRI_NVML(field, symbol, parameters) {symbol, offsetof(nvml, field)},
#include "device/cuda/nvml.def"
#undef TRI_NVML
    };
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++)
        (void)tri_cuda_resolve(out, library, &symbols[i], 1); /* each one is optional */
}

enum { kClockSm = 1, kClockMemory = 2, kSensorGpu = 0, kInsufficientSize = 7 }; /* NVML API Reference */

/* A query of the number of processes answers "buffer too small" when there are any. */
static triage_status append_processes(tri_text *json, const char *name,
                                      int (*query)(void *, unsigned *, void *), void *device) {
    unsigned count = 0;
    int result = query ? query(device, &count, NULL) : -1;
    if (result != 0 && result != kInsufficientSize)
        return TRIAGE_OK;
    return tri_text_format(json, ",\"%s\":%u", name, count);
}

static triage_status append_device(tri_text *json, const nvml *ml, void *device) {
    triage_status status = TRIAGE_OK;
    unsigned value = 0, pending = 0;
    unsigned long long mask = 0;
    if (ml->clock && ml->clock(device, kClockSm, &value) == 0)
        TRI_TRY(tri_text_format(json, ",\"sm_clock_mhz\":%u", value));
    if (ml->clock && ml->clock(device, kClockMemory, &value) == 0)
        TRI_TRY(tri_text_format(json, ",\"memory_clock_mhz\":%u", value));
    if (ml->throttle && ml->throttle(device, &mask) == 0)
        TRI_TRY(tri_text_format(json, ",\"throttle_reasons\":%llu", mask));
    if (ml->power_limit && ml->power_limit(device, &value) == 0)
        TRI_TRY(tri_text_format(json, ",\"power_limit_mw\":%u", value));
    if (ml->power && ml->power(device, &value) == 0)
        TRI_TRY(tri_text_format(json, ",\"power_mw\":%u", value));
    if (ml->temperature && ml->temperature(device, kSensorGpu, &value) == 0)
        TRI_TRY(tri_text_format(json, ",\"temperature_c\":%u", value));
    if (ml->mig && ml->mig(device, &value, &pending) == 0)
        TRI_TRY(tri_text_format(json, ",\"mig\":%s", value ? "true" : "false"));
    TRI_TRY(append_processes(json, "processes", ml->processes, device));
    TRI_TRY(append_processes(json, "mps_processes", ml->mps, device));
done:
    return status;
}

/* Versions are digits and points; anything else would break the JSON and is left out. */
static bool is_version(const char *text) {
    return text[0] && text[strspn(text, "0123456789.")] == '\0';
}

static triage_status append_nvml(tri_text *json, const nvml *ml, const char *bus_id) {
    triage_status status = TRIAGE_OK;
    char version[96] = "";
    void *device = NULL;
    if (!ml->init || !ml->shutdown || ml->init() != 0)
        return TRIAGE_OK;
    if (ml->driver_version && ml->driver_version(version, sizeof version) == 0 && is_version(version))
        TRI_TRY(tri_text_format(json, ",\"driver\":\"%s\"", version));
    if (ml->handle && ml->handle(bus_id, &device) == 0)
        TRI_TRY(append_device(json, ml, device));
done:
    ml->shutdown();
    return status;
}

triage_status tri_cuda_circumstances(char **out, tri_device *base) {
    triage_status status = TRIAGE_OK;
    tri_cuda_device *device = (tri_cuda_device *)base;
    tri_text json = TRI_TEXT_INIT;
    nvml ml = {0};
    char bus_id[32] = "", compiler[TRI_COMPILER_SIZE] = "";
    void *library = NULL;
    TRI_TRY(tri_cuda_check(device->driver,
                           device->driver->device_bus_id(bus_id, sizeof bus_id, device->ordinal),
                           "cuDeviceGetPCIBusId"));
    TRI_TRY(tri_text_format(&json, "{\"backend\":\"cuda\",\"cuda_driver\":%d", base->info.driver_version));
    if (tri_nvrtc_version(compiler, sizeof compiler) == TRIAGE_OK)
        TRI_TRY(tri_text_format(&json, ",\"compiler\":\"%s\"", compiler));
    library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (library) {
        load(&ml, library);
        TRI_TRY(append_nvml(&json, &ml, bus_id));
    }
    TRI_TRY(tri_text_append(&json, "}", 1));
    *out = json.data;
    json = (tri_text)TRI_TEXT_INIT;
done:
    tri_text_free(&json);
    if (library)
        dlclose(library);
    return status;
}
