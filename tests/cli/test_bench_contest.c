/* triage_bench: its limit, its files and what it prints. (Its contest is the race of unit/test_race.) limit.c is the
 * program's, in no library, so it is included here. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <sys/wait.h>

#include "op/bsr_gemm/bsr_gemm.h"
#include "cli/bench/bench.h"
#include "../../src/cli/bench/limit.c"
#include "support/bsr_of.h"
#include "support/scratch.h"

/* ---- the limit ---- */

static const tri_device_info h200 = {
    .cc = 90, .sm_count = 132, .clock_khz = 1980000, .memory_clock_khz = 3201000, .memory_bus_bits = 6016};

static tri_problem cube(int64_t size, int block, double density) {
    int64_t blocks = size / block;
    return tri_bsr_problem_of(
        (tri_bsr_problem){.in_type = TRIAGE_F16,
                          .out_type = TRIAGE_F16,
                          .m = size,
                          .n = size,
                          .k = size,
                          .ldb = size,
                          .ldc = size,
                          .block_m = block,
                          .block_k = block,
                          .nnzb = (int64_t)((double)(blocks * blocks) * density + 0.5)});
}

/* 1070 TFLOP/s and 4.81 TB/s, counted by hand. */
static void the_limit_is_the_longer_of_two_times(void **state) {
    (void)state;
    tri_limit limit;
    tri_ceilings none = {0};
    tri_problem problem = cube(8192, 64, 0.1);
    tri_limit_of(&limit, &problem, &h200, &none);
    assert_float_equal(limit.flops_per_s / 1e12, 1070.5, 0.1);
    assert_float_equal(limit.bytes_per_s / 1e12, 4.814, 0.001);
    assert_float_equal(limit.compute_ns, 2.0 * 1638 * 64 * 64 * 8192 / 1070.53e3, 10);
    assert_float_equal(limit.memory_ns, tri_problem_bytes(&problem) / 4814.3, 10);
    assert_string_equal(limit.bound, "compute");
    assert_float_equal(limit.ns, limit.compute_ns, 0);
    problem = cube(8192, 64, 0.02);
    tri_limit_of(&limit, &problem, &h200, &none);
    assert_string_equal(limit.bound, "memory");
    assert_float_equal(limit.ns, limit.memory_ns, 0);
    assert_string_equal(limit.source, "documented");
}

static void stated_ceilings_go_first(void **state) {
    (void)state;
    tri_limit limit;
    tri_ceilings measured = {636e12, 4.25e12, "stated"};
    tri_problem problem = cube(8192, 128, 0.1);
    tri_limit_of(&limit, &problem, &h200, &measured);
    assert_string_equal(limit.source, "stated");
    assert_float_equal(limit.ns, tri_problem_flops(&problem) / 636e3, 1);
    assert_float_equal(limit.memory_ns, tri_problem_bytes(&problem) / 4250, 1);
}

/* Half a bound would make a kernel look better than it is. */
static void what_is_not_known_is_no_limit(void **state) {
    (void)state;
    tri_limit limit;
    tri_ceilings none = {0};
    tri_problem problem = cube(8192, 64, 0.1);
    tri_device_info other = h200, host = {.cc = 0, .sm_count = 2};
    other.cc = 75;
    tri_limit_of(&limit, &problem, &other, &none);
    assert_true(limit.ns == 0 && limit.bound == NULL && limit.memory_ns > 0);
    tri_limit_of(&limit, &problem, &host, &none);
    assert_true(limit.ns == 0 && limit.memory_ns == 0);
    bsr_of(&problem)->in_type = TRIAGE_F32;
    tri_limit_of(&limit, &problem, &h200, &none);
    assert_true(limit.ns == 0);
}

/* ---- the program ---- */

static int bench(char *out, size_t size, const char *arguments) {
    char folder[64], command[1024];
    scratch_make(folder);
    snprintf(command, sizeof command,
             "cd '%s' && unset XDG_DATA_HOME && XDG_CACHE_HOME='" TEST_KERNELS "' HOME='%s' " TRI_BINARY_DIR
             "/bin/triage_bench %s 2>&1",
             folder, folder, arguments);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    size_t got = fread(out, 1, size - 1, pipe);
    out[got] = '\0';
    int code = pclose(pipe);
    scratch_remove(folder);
    return WIFEXITED(code) ? WEXITSTATUS(code) : -1;
}

#define PROBLEM "--device host --shape 96,40,128 --sparsity 0.5 --block 32 --against none --samples 6 -q "

static void the_program_prints_the_limit(void **state) {
    (void)state;
    char text[65536];
    assert_int_equal(bench(text, sizeof text, PROBLEM "--ceilings 0.001,0.5"), 0);
    assert_non_null(strstr(text,
                           "limit: 0.4915 ms by arithmetic, at 0.001 TFLOP/s and 0.5 TB/s (stated ceilings); "
                           "triage reaches "));
    assert_int_equal(bench(text, sizeof text, PROBLEM), 0);
    assert_non_null(strstr(text, "limit: the ceilings of this device are not known"));
}

static void json_has_the_limit(void **state) {
    (void)state;
    char text[65536];
    assert_int_equal(bench(text, sizeof text, PROBLEM "--ceilings 1000,0.001 --json"), 0);
    json_t *document = json_loads(text, 0, NULL), *limit = json_object_get(document, "limit");
    double ns = json_real_value(json_object_get(limit, "ns"));
    json_t *self = json_array_get(json_object_get(document, "contestants"), 0);
    double median = json_real_value(json_object_get(json_object_get(self, "timing"), "median_ns"));
    assert_string_equal(json_string_value(json_object_get(limit, "source")), "stated");
    assert_string_equal(json_string_value(json_object_get(limit, "bound")), "memory");
    assert_float_equal(ns, json_real_value(json_object_get(document, "least_bytes")), 1e-6); /* at 1 GB/s */
    assert_float_equal(json_real_value(json_object_get(limit, "share")), ns / median, 1e-9);
    json_decref(document);
    assert_int_equal(bench(text, sizeof text, PROBLEM "--json"), 0);
    document = json_loads(text, 0, NULL);
    limit = json_object_get(document, "limit");
    assert_true(json_is_null(json_object_get(limit, "ns")) && json_is_null(json_object_get(limit, "share")));
    json_decref(document);
}

static void bad_ceilings_are_refused(void **state) {
    (void)state;
    static const char *const bad[] = {"5", "5,", ",5", "0,4", "636,-1", "636,4,5", "nan,4", "x,y"};
    char text[65536], arguments[256];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(arguments, sizeof arguments, PROBLEM "--ceilings=%s", bad[i]);
        assert_int_equal(bench(text, sizeof text, arguments), 64);
        assert_non_null(strstr(text, "--ceilings"));
        assert_ptr_equal(strchr(text, '\n') + 1, text + strlen(text)); /* one line */
    }
}

/* ---- files, comparisons, other operations ---- */

static char *read_whole(const char *path) {
    char *text = NULL;
    if (tri_file_read(&text, NULL, path, 1 << 20) != TRIAGE_OK)
        fail_msg("%s", triage_last_error());
    return text;
}

static size_t count_of(const char *text, const char *what) {
    size_t count = 0;
    for (const char *at = text; (at = strstr(at, what)); at++)
        count++;
    return count;
}

static void files_have_what_was_measured(void **state) {
    (void)state;
    char folder[64], text[65536], arguments[1024], path[128];
    scratch_make(folder);
    snprintf(arguments, sizeof arguments,
             PROBLEM "--plot %s/a.svg --export-csv %s/a.csv --export-markdown %s/a.md", folder, folder,
             folder);
    assert_int_equal(bench(text, sizeof text, arguments), 0);
    snprintf(path, sizeof path, "%s/a.csv", folder);
    char *csv = read_whole(path);
    assert_int_equal(count_of(csv, "\n"), 2);
    assert_non_null(
        strstr(csv, "name,result,median_ns,low_ns,high_ns,useful_tflops,row_error,detail\ntriage,verified,"));
    double ns = 0, useful = 0; /* few operations on a CPU: a fixed point would lose their digits */
    assert_int_equal(sscanf(csv, "%*[^\n] triage,verified,%lf,%*f,%*f,%lf", &ns, &useful), 2);
    assert_true(fabs(useful * ns * 1e3 / (6 * 32 * 32 * 40 * 2.0) - 1) < 1e-3);
    snprintf(path, sizeof path, "%s/a.md", folder);
    char *markdown = read_whole(path);
    assert_non_null(strstr(markdown, "| triage | "));
    snprintf(path, sizeof path, "%s/a.svg", folder);
    char *svg = read_whole(path);
    assert_int_equal(count_of(svg, "<circle "), 1);
    assert_int_equal(count_of(svg, "<rect "), 2); /* the paper, a bar */
    assert_non_null(strstr(svg, "ceilings: measured"));
    assert_non_null(strstr(svg, "</svg>"));
    free(csv);
    free(markdown);
    free(svg);
    assert_int_equal(bench(text, sizeof text, PROBLEM "--export-csv /no/such/folder/a.csv"), 74);
    assert_int_equal(bench(text, sizeof text, PROBLEM "--plot a.jpg"), 64);
    assert_non_null(strstr(text, "--plot a.jpg is neither FILE.svg nor FILE.png"));
    assert_int_equal(bench(text, sizeof text, PROBLEM "--plot -"), 64);
    assert_int_equal(bench(text, sizeof text, PROBLEM "--compare /etc/passwd --export-csv /etc/passwd"), 64);
    assert_non_null(strstr(text, "/etc/passwd is read here"));
    scratch_remove(folder);
}

/* By a program of others: a stand-in that says what it was asked for; without it one line says what would do. */
static void a_png_is_made_of_the_drawing(void **state) {
    (void)state;
    char folder[64], text[65536], arguments[256], path[128];
    scratch_make(folder);
    snprintf(arguments, sizeof arguments, PROBLEM "--plot %s/a.png", folder);
    const char *before = getenv("PATH");
    char *kept = strdup(before ? before : "/usr/bin:/bin");
    snprintf(path, sizeof path, "%s/rsvg-convert", folder);
    FILE *file = fopen(path, "w");
    fputs("#!/bin/sh\n[ \"$1 $2 $3\" = '--zoom 2 --output' ] && grep -c '</svg>' \"$5\" >\"$4\"\n", file);
    fclose(file);
    chmod(path, 0755);
    snprintf(path, sizeof path, "%s:/usr/bin:/bin", folder);
    setenv("PATH", path, 1);
    assert_int_equal(bench(text, sizeof text, arguments), 0);
    snprintf(path, sizeof path, "%s/a.png", folder);
    char *made = read_whole(path);
    assert_string_equal(made, "1\n");
    free(made);
    setenv("PATH", "/nowhere", 1);
    assert_int_equal(bench(text, sizeof text, arguments), 64);
    assert_non_null(strstr(text, "needs rsvg-convert (Debian's package librsvg2-bin)"));
    setenv("PATH", kept, 1);
    free(kept);
    scratch_remove(folder);
}

/* A document whose times are what the machine's are not: no clock decides. */
static void write_old(const char *path, const char *now, double median_ns) {
    json_t *document = json_loads(now, 0, NULL);
    json_t *timing = json_object_get(json_array_get(json_object_get(document, "contestants"), 0), "timing");
    static const char *const members[] = {"median_ns", "low_ns", "high_ns"};
    for (size_t i = 0; i < 3; i++)
        json_object_set_new(timing, members[i], json_real(median_ns));
    assert_int_equal(json_dump_file(document, path, 0), 0);
    json_decref(document);
}

static void slower_than_before_is_said(void **state) {
    (void)state;
    char folder[64], text[65536], old[128], arguments[1024];
    scratch_make(folder);
    assert_int_equal(bench(text, sizeof text, PROBLEM "--json"), 0);
    snprintf(old, sizeof old, "%s/old.json", folder);
    snprintf(arguments, sizeof arguments, PROBLEM "--compare %s", old);
    char *now = strdup(text);
    write_old(old, now, 1);
    assert_int_equal(bench(text, sizeof text, arguments), 1);
    assert_non_null(strstr(text, ", SLOWER"));
    write_old(old, now, 1e18);
    assert_int_equal(bench(text, sizeof text, arguments), 0);
    assert_non_null(strstr(text, ", faster"));
    snprintf(arguments, sizeof arguments, PROBLEM "--seed 7 --compare %s", old);
    assert_int_equal(bench(text, sizeof text, arguments), 65);
    assert_non_null(strstr(text, "its seed is 1, here it is 7"));
    assert_int_equal(bench(text, sizeof text, PROBLEM "--compare /no/such.json"), 65);
    assert_null(strstr(text, "useful")); /* before anything was measured */
    assert_int_equal(unlink(old), 0);
    assert_int_equal(mkfifo(old, 0600), 0); /* nobody ever writes to it */
    assert_int_equal(bench(text, sizeof text, arguments), 65);
    assert_non_null(strstr(text, "not a regular file"));
    free(now);
    scratch_remove(folder);
}

static void attention_is_measured(void **state) {
    (void)state;
    static const char *const problems[] = {
        "--shape 1,4,2,100,130,64 --mask causal --lse yes",
        "--shape 2,4,2,100,130,64 --mask random-blocks:0.5 --mask-block 32 --mask-lists q",
        "--shape 3,2,2,70,70,32 --lengths varlen", "--shape 3,4,2,1,150,32 --paged 16",
        "--shape 1,2,2,40,40,32 --mask window:9,0 --softcap 20"};
    char text[65536], arguments[512];
    for (size_t i = 0; i < sizeof problems / sizeof *problems; i++) {
        snprintf(arguments, sizeof arguments,
                 "--device host --op attention %s --samples 6 --against none --json -q", problems[i]);
        if (bench(text, sizeof text, arguments) != 0)
            fail_msg("%s: %s", problems[i], text);
        json_t *document = json_loads(text, 0, NULL);
        json_t *self = json_array_get(json_object_get(document, "contestants"), 0);
        assert_string_equal(json_string_value(json_object_get(self, "result")), "verified");
        assert_true(json_integer_value(json_object_get(document, "pairs")) > 0);
        assert_int_equal(json_array_size(json_object_get(json_object_get(self, "timing"), "samples_ns")), 6);
        json_decref(document);
    }
    snprintf(arguments, sizeof arguments, "--device host --op attention %s --samples 6 --against openblas",
             problems[0]);
    assert_int_equal(bench(text, sizeof text, arguments), 0);
    assert_non_null(strstr(text, "openblas does not run attention: left out"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_limit_is_the_longer_of_two_times),
        cmocka_unit_test(stated_ceilings_go_first),
        cmocka_unit_test(what_is_not_known_is_no_limit),
        cmocka_unit_test(the_program_prints_the_limit),
        cmocka_unit_test(json_has_the_limit),
        cmocka_unit_test(bad_ceilings_are_refused),
        cmocka_unit_test(files_have_what_was_measured),
        cmocka_unit_test(a_png_is_made_of_the_drawing),
        cmocka_unit_test(slower_than_before_is_said),
        cmocka_unit_test(attention_is_measured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
