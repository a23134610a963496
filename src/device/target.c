/* What is known of a device: its key, and the typical limits of an architecture without a machine. */
#include "device/backend.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

triage_status tri_device_key(char **out, const tri_device_info *info) {
    return tri_format(out, "%s %s sms=%d clock=%d memclock=%d bus=%d l2=%lld smem=%lld", info->backend,
                      info->target, info->sm_count, info->clock_khz, info->memory_clock_khz,
                      info->memory_bus_bits, (long long)info->l2_bytes, (long long)info->smem_bytes_max);
}

/* ---- back from the key ---- */

/* "sm_90a": 90; 0 if it is no such name. */
static int cc_of_target(const char *target) {
    char *end = NULL;
    if (strncmp(target, "sm_", 3) != 0 || !isdigit((unsigned char)target[3]))
        return 0;
    long cc = strtol(target + 3, &end, 10);
    return cc >= 50 && cc < 1000 && (!*end || ((*end == 'a' || *end == 'f') && !end[1])) ? (int)cc : 0;
}

static bool is_host_target(const char *target) {
    static const char *const names[] = {"x86_64", "x86_64-avx2", "x86_64-avx512", "aarch64"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], target) == 0)
            return true;
    return false;
}

/* Takes " name=number" off *rest. */
static triage_status take_number(int64_t *out, const char **rest, const char *name, int64_t low,
                                 int64_t high) {
    char digits[24], what[32];
    const size_t size = strlen(name);
    if (**rest != ' ' || strncmp(*rest + 1, name, size) != 0 || (*rest)[1 + size] != '=')
        return tri_fail(TRIAGE_E_DATA, "device key: '%.40s' where ' %s=' belongs", *rest, name);
    const char *from = *rest + size + 2;
    snprintf(digits, sizeof digits, "%.*s", (int)strcspn(from, " "), from);
    snprintf(what, sizeof what, "device key's %s", name);
    *rest = from + strcspn(from, " ");
    triage_status status = tri_parse_int64(out, digits, low, high, what);
    return status == TRIAGE_E_INVALID ? TRIAGE_E_DATA : status; /* the fault is in what was imported */
}

static triage_status parse_numbers(tri_device_info *out, const char *rest) {
    int64_t sms, clock, memory_clock, bus, l2, smem;
    triage_status status = TRIAGE_OK;
    TRI_TRY(take_number(&sms, &rest, "sms", 1, 65536));
    TRI_TRY(take_number(&clock, &rest, "clock", 0, 20000000)); /* kHz */
    TRI_TRY(take_number(&memory_clock, &rest, "memclock", 0, 100000000));
    TRI_TRY(take_number(&bus, &rest, "bus", 0, 1 << 20)); /* bits */
    TRI_TRY(take_number(&l2, &rest, "l2", 0, INT64_C(1) << 40));
    TRI_TRY(take_number(&smem, &rest, "smem", 0, 1 << 24));
    out->sm_count = (int)sms;
    out->clock_khz = (int)clock;
    out->memory_clock_khz = (int)memory_clock;
    out->memory_bus_bits = (int)bus;
    out->l2_bytes = l2;
    out->smem_bytes_max = smem;
done:
    return status;
}

triage_status tri_device_parse(tri_device_info *out, const char *key) {
    triage_status status = TRIAGE_OK;
    char *again = NULL;
    int end = 0;
    tri_device_info info = {.memory_bytes = INT64_C(1) << 46};
    if (sscanf(key, "%7s %23s%n", info.backend, info.target, &end) != 2)
        return tri_fail(TRIAGE_E_DATA, "device key: '%.60s' does not begin with a backend and a target", key);
    info.cc = cc_of_target(info.target);
    const bool cuda = strcmp(info.backend, "cuda") == 0, host = strcmp(info.backend, "host") == 0;
    if (!(cuda && info.cc) && !(host && is_host_target(info.target)))
        return tri_fail(TRIAGE_E_DATA,
                        "device key: '%s %s' is neither cuda sm_NN nor host x86_64..., aarch64", info.backend,
                        info.target);
    TRI_TRY(parse_numbers(&info, key + end));
    TRI_TRY(tri_device_key(&again, &info)); /* catches every other spelling */
    if (strcmp(again, key) != 0)
        TRI_TRY(tri_fail(TRIAGE_E_DATA, "device key: '%.200s' is not written as '%s'", key, again));
    *out = info;
done:
    free(again);
    return status;
}

/* ---- targets ---- */

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
