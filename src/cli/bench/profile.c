#include "cli/bench/profile.h"

#include <glob.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/common/common.h"
#include "measure/process_group.h"

#define INSIDE "TRIAGE_BENCH_PROFILED"
#define STALLS "smsp__average_warps_issue_stalled_"
#define STALLS_END "_per_issue_active.ratio"
#define DENIED "ERR_NVGPUCTRPERM"

/* In the order of tri_profile_figure. */
static const struct {
    const char *name, *title, *metric;
} figures[TRI_PROFILE_FIGURES] = {
    {"tensor", "tensor cores", "sm__pipe_tensor_cycles_active.avg.pct_of_peak_sustained_active"},
    {"l2", "L2 cache", "lts__t_sectors.avg.pct_of_peak_sustained_elapsed"},
    {"dram", "device memory", "dram__throughput.avg.pct_of_peak_sustained_elapsed"},
    {"shared", "shared memory",
     "l1tex__data_pipe_lsu_wavefronts_mem_shared.avg.pct_of_peak_sustained_elapsed"},
    {"stalled", "no warp can issue", "smsp__issue_active.avg.pct_of_peak_sustained_active"},
};

bool tri_profile_is_taken(void) {
    return getenv(INSIDE) != NULL;
}

/* ---- ncu's CSV: a line of names, one of units, one of each launch ---- */

/* Takes one cell off the line; false: there was none. A quote in a cell is doubled. */
static bool next_cell(char *out, size_t size, const char **line) {
    const char *at = *line;
    size_t filled = 0;
    if (*at != '"')
        return false;
    for (at++; *at && *at != '\n' && !(at[0] == '"' && at[1] != '"'); at++) {
        at += at[0] == '"';
        if (filled + 1 < size)
            out[filled++] = *at;
    }
    out[filled] = '\0';
    at += *at == '"';
    *line = at + (*at == ',');
    return true;
}

/* "1,234.5" */
static bool read_number(double *out, const char *cell) {
    char plain[64];
    size_t size = 0;
    for (; *cell && size + 1 < sizeof plain; cell++)
        if (*cell != ',')
            plain[size++] = *cell;
    plain[size] = '\0';
    return tri_parse_double(out, plain, 0, 1e18, "a figure of ncu") == TRIAGE_OK;
}

/* Of all reasons to wait the most frequent; one of them is to be the warp that issues. */
static void note_stall(tri_profile_launch *launch, double *most, const char *metric, double warps) {
    const size_t head = strlen(STALLS), tail = strlen(STALLS_END), size = strlen(metric);
    if (size <= head + tail || strncmp(metric, STALLS, head) != 0 ||
        strcmp(metric + size - tail, STALLS_END) != 0 || warps <= *most)
        return;
    char reason[sizeof launch->waits_for];
    snprintf(reason, sizeof reason, "%.*s", (int)(size - head - tail), metric + head);
    if (strcmp(reason, "selected") == 0)
        return;
    for (char *c = reason; *c; c++)
        *c = *c == '_' ? ' ' : *c;
    memcpy(launch->waits_for, reason, sizeof reason);
    *most = warps;
}

static void note_figure(tri_profile_launch *launch, const char *metric, double percent) {
    for (size_t i = 0; i < TRI_PROFILE_FIGURES; i++)
        if (strcmp(metric, figures[i].metric) == 0)
            launch->share[i] = (i == TRI_PROFILE_STALL ? 100 - percent : percent) / 100;
}

static tri_profile_launch parse_launch(const char *names, const char *cells) {
    tri_profile_launch launch = {.grid = ""};
    char name[256], cell[512];
    double value, most = 0;
    for (size_t i = 0; i < TRI_PROFILE_FIGURES; i++)
        launch.share[i] = -1;
    while (next_cell(name, sizeof name, &names) && next_cell(cell, sizeof cell, &cells)) {
        if (strcmp(name, "Grid Size") == 0)
            snprintf(launch.grid, sizeof launch.grid, "%.40s", cell);
        else if (strcmp(name, "Block Size") == 0)
            snprintf(launch.block, sizeof launch.block, "%.40s", cell);
        else if (strchr(name, '.') && read_number(&value, cell)) {
            note_figure(&launch, name, value);
            note_stall(&launch, &most, name, value);
        }
    }
    return launch;
}

triage_status tri_profile_parse(tri_profile *out, const char *text) {
    const char *names = NULL;
    size_t lines = 0; /* of the table */
    *out = (tri_profile){.count = 0};
    for (const char *line = text; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (*line != '"')
            continue;
        if (lines++ == 0)
            names = line;
        else if (lines > 2 && out->count < TRI_PROFILE_MAX)
            out->launches[out->count++] = parse_launch(names, line);
    }
    return out->count > 0 ? TRIAGE_OK : tri_fail(TRIAGE_E_DATA, "--profile: ncu saw no launch");
}

/* ---- ncu ---- */

/* The newest of those that toolkits bring. */
static bool find_installed(char out[PATH_MAX]) {
    glob_t found = {0};
    const bool some = glob("/usr/local/cuda*/bin/ncu", 0, NULL, &found) == 0 ||
                      glob("/opt/nvidia/nsight-compute/*/ncu", 0, NULL, &found) == 0;
    if (some)
        snprintf(out, PATH_MAX, "%s", found.gl_pathv[found.gl_pathc - 1]);
    globfree(&found);
    return some;
}

static triage_status find_ncu(char out[PATH_MAX]) {
    return tri_cli_find_program(out, PATH_MAX, "ncu") || find_installed(out)
               ? TRIAGE_OK
               : tri_fail(TRIAGE_E_NO_DEVICE,
                          "--profile needs Nsight Compute: ncu is neither in $PATH nor in "
                          "/usr/local/cuda*/bin nor in /opt/nvidia/nsight-compute "
                          "(NVIDIA's package nsight-compute has it)");
}

static triage_status name_metrics(tri_text *out) {
    triage_status status = TRIAGE_OK;
    for (size_t i = 0; i < TRI_PROFILE_FIGURES; i++)
        TRI_TRY(tri_text_format(out, "%s,", figures[i].metric));
    TRI_TRY(tri_text_format(out, "regex:%s.*%s", STALLS, STALLS_END));
done:
    return status;
}

/* Its own errors are between its other lines: the first of them says the most. */
static triage_status failure(const char *output, int code) {
    const char *error = strstr(output, "==ERROR== ");
    if (strstr(output, DENIED))
        return tri_fail(TRIAGE_E_NO_DEVICE, "--profile: this user may not read the GPU's counters (" DENIED
                                            "): run as root, or load the driver with "
                                            "NVreg_RestrictProfilingToAdminUsers=0");
    if (error)
        return tri_fail(TRIAGE_E_NO_DEVICE, "--profile: ncu: %.*s", (int)strcspn(error + 10, "\n"),
                        error + 10);
    return code ? tri_fail(TRIAGE_E_NO_DEVICE, "--profile: ncu ended with %d", code)
                : tri_fail(TRIAGE_E_NO_DEVICE, "--profile: ncu saw no launch");
}

/* The other process's arguments are ours: what they mean there, triage_bench.c knows. */
static triage_status run_ncu(tri_group_member *ncu, const char *path, char *const *argv, bool cold,
                             volatile const int *interrupted) {
    char self[PATH_MAX];
    const char **words = NULL;
    tri_text metrics = {0};
    size_t given = 0, count = 0;
    triage_status status = TRIAGE_OK;
    const ssize_t size = readlink("/proc/self/exe", self, sizeof self - 1);
    if (size <= 0)
        return tri_fail(TRIAGE_E_IO, "cannot find this program's own file");
    self[size] = '\0';
    TRI_TRY(name_metrics(&metrics));
    while (argv[given])
        given++;
    const char *const options[] = {path,
                                   "--csv",
                                   "--page",
                                   "raw",
                                   "--clock-control",
                                   "none",
                                   "--cache-control",
                                   cold ? "all" : "none",
                                   "--profile-from-start",
                                   "off",
                                   "--metrics",
                                   metrics.data,
                                   self};
    TRI_TRY(tri_calloc(&words, sizeof options / sizeof *options + given + 1, sizeof *words));
    for (; count < sizeof options / sizeof *options; count++)
        words[count] = options[count];
    for (size_t i = 1; i < given; i++)
        words[count++] = argv[i];
    ncu->argv = (char *const *)(uintptr_t)words;
    setenv(INSIDE, "1", 1);
    status = tri_process_group_run(ncu, 1, path, interrupted);
    unsetenv(INSIDE);
done:
    tri_text_free(&metrics);
    free(words);
    return status;
}

triage_status tri_profile_take(tri_profile *out, char *const *argv, bool cold,
                               volatile const int *interrupted) {
    tri_group_member ncu = {.argv = NULL};
    char path[PATH_MAX];
    triage_status status = TRIAGE_OK;
    TRI_TRY(find_ncu(path));
    TRI_TRY(run_ncu(&ncu, path, argv, cold, interrupted));
    if (*interrupted)
        TRI_TRY(tri_fail(TRIAGE_E_INTERRUPTED, "interrupted under ncu"));
    if (ncu.code != 0 || tri_profile_parse(out, ncu.output) != TRIAGE_OK)
        status = failure(ncu.output, ncu.code);
done:
    tri_process_group_clear(&ncu, 1);
    return status;
}

/* ---- what is said of it ---- */

/* Of what does work; < 0: none is known. */
static int nearest_limit(const tri_profile_launch *launch) {
    int nearest = -1;
    for (int i = 0; i < TRI_PROFILE_STALL; i++)
        if (launch->share[i] >= 0 && (nearest < 0 || launch->share[i] > launch->share[nearest]))
            nearest = i;
    return nearest;
}

static void print_launch(const tri_profile_launch *launch) {
    const int nearest = nearest_limit(launch);
    printf("profile of triage's kernel, grid %s, block %s, by Nsight Compute:\n", launch->grid,
           launch->block);
    for (int i = 0; i < TRI_PROFILE_FIGURES; i++) {
        if (launch->share[i] < 0)
            printf("  %-18s     - (this ncu does not say)\n", figures[i].title);
        else
            printf("  %-18s %5.1f %%%s%s%s\n", figures[i].title, 100 * launch->share[i],
                   i == nearest ? "  nearest to its limit" : "",
                   i == TRI_PROFILE_STALL && launch->waits_for[0] ? "  most wait for: " : "",
                   i == TRI_PROFILE_STALL ? launch->waits_for : "");
    }
}

void tri_profile_print(const tri_profile *profile) {
    for (size_t i = 0; i < profile->count; i++)
        print_launch(&profile->launches[i]);
}

json_t *tri_profile_json(const tri_profile *profile) {
    json_t *all = json_array();
    for (size_t i = 0; i < profile->count; i++) {
        const tri_profile_launch *launch = &profile->launches[i];
        json_t *one = json_pack("{s:s, s:s, s:s}", "grid", launch->grid, "block", launch->block, "waits_for",
                                launch->waits_for);
        for (size_t j = 0; j < TRI_PROFILE_FIGURES; j++)
            json_object_set_new(one, figures[j].name,
                                launch->share[j] < 0 ? json_null() : json_real(launch->share[j]));
        json_array_append_new(all, one);
    }
    return all;
}
