// links: cli
/* triage_bench --profile: what is made of Nsight Compute's lines, and what is said where it is not there or may not look. (There
 * is no GPU here: ncu is a stand-in that prints what it is given.) profile.c is the program's, in no library, so it is included
 * here. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../../src/cli/bench/profile.c"
#include "support/scratch.h"

/* As ncu prints it: its talk, names, units, launches. */
static const char csv[] =
    "==PROF== Connected to process 7 (/x/triage_bench)\n"
    "\"ID\",\"Kernel Name\",\"Block Size\",\"Grid Size\","
    "\"sm__pipe_tensor_cycles_active.avg.pct_of_peak_sustained_active\","
    "\"lts__t_sectors.avg.pct_of_peak_sustained_elapsed\","
    "\"dram__throughput.avg.pct_of_peak_sustained_elapsed\","
    "\"smsp__issue_active.avg.pct_of_peak_sustained_active\","
    "\"smsp__average_warps_issue_stalled_long_scoreboard_per_issue_active.ratio\","
    "\"smsp__average_warps_issue_stalled_gmma_per_issue_active.ratio\","
    "\"smsp__average_warps_issue_stalled_selected_per_issue_active.ratio\"\n"
    "\"\",\"\",\"\",\"\",\"%\",\"%\",\"%\",\"%\",\"inst\",\"inst\",\"inst\"\n"
    "\"0\",\"a \"\"kernel\"\"\",\"(384, 1, 1)\",\"(132, 1, 1)\",\"61.5\",\"40.0\",\"12.0\",\"25.0\",\"0.5\","
    "\"1,002.25\",\"9000\"\n"
    "==PROF== Disconnected\n";

static void five_figures_and_a_reason(void **state) {
    (void)state;
    tri_profile profile;
    assert_int_equal(tri_profile_parse(&profile, csv), TRIAGE_OK);
    assert_int_equal(profile.count, 1);
    const tri_profile_launch *launch = &profile.launches[0];
    assert_string_equal(launch->grid, "(132, 1, 1)");
    assert_string_equal(launch->block, "(384, 1, 1)");
    assert_float_equal(launch->share[TRI_PROFILE_TENSOR], 0.615, 1e-12);
    assert_float_equal(launch->share[TRI_PROFILE_L2], 0.4, 1e-12);
    assert_float_equal(launch->share[TRI_PROFILE_DRAM], 0.12, 1e-12);
    assert_true(launch->share[TRI_PROFILE_SHARED] < 0); /* this one does not say */
    assert_float_equal(launch->share[TRI_PROFILE_STALL], 0.75, 1e-12);
    assert_string_equal(launch->waits_for, "gmma"); /* not "selected": that one issues */
    json_t *json = tri_profile_json(&profile);
    assert_true(json_is_null(json_object_get(json_array_get(json, 0), "shared")));
    assert_float_equal(json_real_value(json_object_get(json_array_get(json, 0), "tensor")), 0.615, 1e-12);
    json_decref(json);
}

/* Cut anywhere it is a profile, or none: never a crash. */
static void what_is_no_profile_is_none(void **state) {
    (void)state;
    tri_profile profile;
    assert_int_equal(tri_profile_parse(&profile, ""), TRIAGE_E_DATA);
    assert_int_equal(tri_profile_parse(&profile, "==PROF== No kernels were profiled.\n"), TRIAGE_E_DATA);
    for (size_t size = 0; size < sizeof csv; size++) {
        char *cut = strndup(csv, size);
        (void)tri_profile_parse(&profile, cut);
        free(cut);
    }
}

/* Runs the lines of sh in the place of ncu. */
static triage_status take(tri_profile *out, const char *folder, const char *lines) {
    static const int none = 0;
    char path[128], *argv[] = {"triage_bench", "--op", "attention", NULL};
    snprintf(path, sizeof path, "%s/ncu", folder);
    FILE *file = fopen(path, "w");
    fprintf(file, "#!/bin/sh\n%s\n", lines);
    fclose(file);
    chmod(path, 0755);
    setenv("PATH", folder, 1);
    const triage_status status = tri_profile_take(out, argv, true, &none);
    setenv("PATH", "/usr/bin:/bin", 1);
    return status;
}

static void it_is_run_with_our_arguments(void **state) {
    (void)state;
    char folder[64], lines[4096];
    tri_profile profile;
    scratch_make(folder);
    snprintf(lines, sizeof lines,
             "case \"$TRIAGE_BENCH_PROFILED $*\" in '1 --csv'*' --op attention') ;; *) exit 3 ;; esac\n"
             "while read -r line; do echo \"$line\"; done <<'END'\n%sEND",
             csv);
    if (take(&profile, folder, lines) != TRIAGE_OK)
        fail_msg("%s", triage_last_error());
    assert_int_equal(profile.count, 1);
    assert_false(tri_profile_is_taken()); /* the other process is, not this one */
    scratch_remove(folder);
}

static void failures_say_what_is_missing(void **state) {
    (void)state;
    static const struct {
        const char *lines, *said;
    } cases[] = {
        {"echo '==ERROR== ERR_NVGPUCTRPERM - The user does not have permission'; exit 1",
         "may not read the GPU's counters (ERR_NVGPUCTRPERM)"},
        {"echo '==ERROR== Failed to find metric x'; exit 1", "--profile: ncu: Failed to find metric x"},
        {"exit 5", "--profile: ncu ended with 5"},
        {"echo '==WARNING== No kernels were profiled.'", "--profile: ncu saw no launch"},
    };
    char folder[64];
    tri_profile profile;
    scratch_make(folder);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(take(&profile, folder, cases[i].lines), TRIAGE_E_NO_DEVICE);
        assert_non_null(strstr(triage_last_error(), cases[i].said));
    }
    scratch_remove(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(five_figures_and_a_reason),
        cmocka_unit_test(what_is_no_profile_is_none),
        cmocka_unit_test(it_is_run_with_our_arguments),
        cmocka_unit_test(failures_say_what_is_missing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
