/* What is known of a device: its key, and the typical limits of an architecture without a machine. */
#include "device/backend.h"

#include <stdlib.h>
#include <string.h>

triage_status tri_device_key(char **out, const tri_device_info *info) {
    return tri_format(out, "%s %s sms=%d clock=%d memclock=%d bus=%d l2=%lld smem=%lld", info->backend,
                      info->target, info->sm_count, info->clock_khz, info->memory_clock_khz,
                      info->memory_bus_bits, (long long)info->l2_bytes, (long long)info->smem_bytes_max);
}

triage_status tri_device_info_of_key(tri_device_info *out, const char *key, const char *name) {
    long long l2 = 0, smem = 0;
    char *again = NULL;
    triage_status status = TRIAGE_OK;
    *out = (tri_device_info){0};
    /* NOLINTNEXTLINE(cert-err34-c): what was misread does not give the same key again */
    (void)sscanf(key, "%7s %23s sms=%d clock=%d memclock=%d bus=%d l2=%lld smem=%lld", out->backend,
                 out->target, &out->sm_count, &out->clock_khz, &out->memory_clock_khz, &out->memory_bus_bits,
                 &l2, &smem);
    out->l2_bytes = l2;
    out->smem_bytes_max = smem;
    snprintf(out->name, sizeof out->name, "%s", name);
    if (strcmp(out->backend, "cuda") == 0 && strncmp(out->target, "sm_", 3) == 0)
        out->cc = (int)strtol(out->target + 3, NULL, 10);
    TRI_TRY(tri_device_key(&again, out));
    if (strcmp(again, key) != 0 || (out->cc == 0 && strcmp(out->backend, "host") != 0))
        status = tri_fail(TRIAGE_E_DATA, "\"%.120s\" is not the key of a device", key);
done:
    free(again);
    return status;
}

#define KIB INT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

/* One well-known product of each architecture, from NVIDIA's data sheets; shared memory per block is the
 * opt-in limit of the CUDA C++ Programming Guide's table of compute capabilities. */
static const tri_device_info targets[] = {
    {"cuda", "sm_80 (as A100)", "sm_80", 80, 108, 1410000, 1215000, 5120, 40 * MIB, 163 * KIB, 40 * GIB, 0,
     ""},
    {"cuda", "sm_86 (as RTX 3090)", "sm_86", 86, 82, 1695000, 9751000, 384, 6 * MIB, 99 * KIB, 24 * GIB, 0,
     ""},
    {"cuda", "sm_89 (as RTX 4090)", "sm_89", 89, 128, 2520000, 10501000, 384, 72 * MIB, 99 * KIB, 24 * GIB, 0,
     ""},
    {"cuda", "sm_90a (as H100)", "sm_90a", 90, 132, 1980000, 2619000, 5120, 50 * MIB, 227 * KIB, 80 * GIB, 0,
     ""},
    {"cuda", "sm_100a (as B200)", "sm_100a", 100, 148, 1965000, 3996000, 8192, 126 * MIB, 227 * KIB,
     180 * GIB, 0, ""},
    {"cuda", "sm_120a (as RTX 5090)", "sm_120a", 120, 170, 2407000, 14001000, 512, 96 * MIB, 99 * KIB,
     32 * GIB, 0, ""},
};

triage_status tri_device_info_of_target(tri_device_info *out, const char *target) {
    triage_status status = TRIAGE_OK;
    tri_device *host = NULL;
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        if (strcmp(targets[i].target, target) == 0) {
            *out = targets[i];
            return TRIAGE_OK;
        }
    }
    if (strcmp(target, "host") != 0)
        return tri_fail(TRIAGE_E_INVALID,
                        "target '%.40s' is not one of sm_80, sm_86, sm_89, sm_90a, sm_100a, sm_120a, host",
                        target);
    TRI_TRY(tri_host_backend.open(&host, 0, false));
    *out = host->info;
done:
    tri_device_close(host);
    return status;
}
