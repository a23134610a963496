/* NVML beside the fake driver (fake_cuda.h): a quiet device, and FAKE_NVML_PROCESSES programs on it. */
#include <stdio.h>
#include <stdlib.h>

#define NVML(name, parameters)                                                                               \
    __attribute__((visibility("default"))) int name parameters;                                              \
    int name parameters

NVML(nvmlInit_v2, (void)) {
    return 0;
}
NVML(nvmlShutdown, (void)) {
    return 0;
}
NVML(nvmlSystemGetDriverVersion, (char *out, unsigned size)) {
    snprintf(out, size, "580.0");
    return 0;
}
NVML(nvmlDeviceGetHandleByPciBusId_v2, (const char *bus_id, void **out)) {
    *out = (void *)(size_t)(bus_id != NULL);
    return 0;
}
NVML(nvmlDeviceGetClockInfo, (void *device, int clock, unsigned *mhz)) {
    (void)device;
    *mhz = clock == 1 ? 1980 : 3201;
    return 0;
}
NVML(nvmlDeviceGetCurrentClocksThrottleReasons, (void *device, unsigned long long *mask)) {
    (void)device;
    *mask = 0;
    return 0;
}
/* As the real one: with a count of 0 it answers "insufficient size" (7) where there are any. */
NVML(nvmlDeviceGetComputeRunningProcesses_v3, (void *device, unsigned *count, void *infos)) {
    (void)device, (void)infos;
    const char *text = getenv("FAKE_NVML_PROCESSES");
    *count = text ? (unsigned)atoi(text) : 1;
    return *count ? 7 : 0;
}
