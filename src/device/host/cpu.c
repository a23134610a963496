/* What the CPU is: its target (the instruction set that kernels are compiled for), cores and caches. */
#include "device/host/host.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The levels of the x86-64 psABI, which the compiler's -march takes too. */
static const char *target_of_cpu(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
              __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
    bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
              __builtin_cpu_supports("avx512vl");
    return v4 ? "x86_64-avx512" : v3 ? "x86_64-avx2" : "x86_64";
#elif defined(__aarch64__)
    return "aarch64";
#else
#error "the host device knows x86_64 and aarch64"
#endif
}

/* Of a "name : value" line of /proc/cpuinfo; "" where the kernel gives none (most of aarch64). */
static void cpu_model(char *out, size_t size) {
    char *text = NULL, line[160];
    out[0] = '\0';
    if (tri_file_read(&text, NULL, "/proc/cpuinfo", 0) != TRIAGE_OK)
        return;
    tri_log_first_line(line, sizeof line, text, "model name");
    const char *value = strchr(line, ':');
    snprintf(out, size, "%s", value ? value + 1 + strspn(value + 1, " \t") : "");
    free(text);
}

static int allowed_cores(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        return CPU_COUNT(&set);
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (int)online : 1;
}

static int64_t last_level_cache(void) {
    long l3 = sysconf(_SC_LEVEL3_CACHE_SIZE), l2 = sysconf(_SC_LEVEL2_CACHE_SIZE);
    return l3 > 0 ? l3 : l2 > 0 ? l2 : 0;
}

static int max_clock_khz(void) {
    char *text = NULL;
    if (tri_file_read(&text, NULL, "/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq", 64) != TRIAGE_OK)
        return 0;
    int khz = atoi(text);
    free(text);
    return khz > 0 ? khz : 0;
}

triage_status tri_host_describe(tri_device_info *out) {
    char model[64];
    *out = (tri_device_info){.backend = "host"};
    cpu_model(model, sizeof model);
    out->sm_count = allowed_cores();
    out->clock_khz = max_clock_khz();
    out->l2_bytes = last_level_cache();
    out->memory_bytes = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
    snprintf(out->target, sizeof out->target, "%s", target_of_cpu());
    snprintf(out->name, sizeof out->name, "host: %d x %s", out->sm_count, model[0] ? model : out->target);
    return TRIAGE_OK;
}

/* ---- how much of the cores the system lets us have ---- */

/* Cores that "quota period" or a quota of a fixed period allow; 0: no limit there. */
static double quota_of(const char *folder, const char *name, const char *period_name) {
    char *path = NULL, *text = NULL, *period_text = NULL;
    double quota = 0, period = 0;
    if (tri_format(&path, "%s/%s", folder, name) == TRIAGE_OK &&
        tri_file_read(&text, NULL, path, 64) == TRIAGE_OK)
        (void)sscanf(text, "%lf %lf", &quota, &period); /* "max 100000" and -1 mean none */
    free(path);
    path = NULL;
    if (period_name && tri_format(&path, "%s/%s", folder, period_name) == TRIAGE_OK &&
        tri_file_read(&period_text, NULL, path, 64) == TRIAGE_OK)
        (void)sscanf(period_text, "%lf", &period);
    free(path);
    free(text);
    free(period_text);
    return quota > 0 && period > 0 ? quota / period : 0;
}

static double least(double a, double b) {
    return a == 0 || (b > 0 && b < a) ? b : a;
}

/* Of a group and of all above it, of which each may limit what is below. */
static double quota_up_from(const char *root, const char *group, const char *name, const char *period_name) {
    char folder[4096];
    double quota = 0;
    if ((size_t)snprintf(folder, sizeof folder, "%s%s", root, group) >= sizeof folder)
        return 0;
    for (;;) {
        quota = least(quota, quota_of(folder, name, period_name));
        char *slash = strrchr(folder, '/');
        if (!slash || (size_t)(slash - folder) < strlen(root))
            return quota;
        *slash = '\0';
    }
}

double tri_host_cpu_quota(const char *groups, const char *root) {
    char *text = NULL, *next, old_root[4096];
    double quota = 0;
    if (tri_file_read(&text, NULL, groups, 1 << 16) != TRIAGE_OK)
        return 0;
    snprintf(old_root, sizeof old_root, "%s/cpu", root);
    for (char *line = strtok_r(text, "\n", &next); line; line = strtok_r(NULL, "\n", &next)) {
        const char *kind = strchr(line, ':'), *group = kind ? strchr(kind + 1, ':') : NULL;
        if (!group)
            continue;
        if (strncmp(line, "0::", 3) == 0) /* the second version of control groups */
            quota = least(quota, quota_up_from(root, group + 1, "cpu.max", NULL));
        else if (memmem(kind, (size_t)(group - kind), ":cpu", 4) &&
                 !memmem(kind, (size_t)(group - kind), ":cpuset", 7))
            quota = least(quota, quota_up_from(old_root, group + 1, "cpu.cfs_quota_us", "cpu.cfs_period_us"));
    }
    free(text);
    return quota;
}
