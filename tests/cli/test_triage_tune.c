/* triage_tune from outside: exit codes, one clear line for bad input, nothing left behind, and a real run on
 * the host device. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/program.h"

#define TUNE TRI_BINARY_DIR "/bin/triage_tune"
#define PROBLEM "--shape 64,40,64 --sparsity 0.5 --block 16 "

static outcome tune(const char *arguments) {
    return run_program("triage_tune", arguments);
}

/* One line on stderr that holds `needle`, nothing on stdout, nothing made. */
static void refuse(int code, const char *needle, const char *arguments) {
    outcome o = tune(arguments);
    const char *line = strchr(o.err, '\n');
    if (o.code != code || !line || line[1] || !strstr(o.err, needle) || o.out[0])
        fail_msg("triage_tune %s\nexit %d (expected %d) with '%s' (expected %s), stdout '%s'", arguments,
                 o.code, code, o.err, needle, o.out);
    assert_int_equal(scratch_count(scratch_path(folder, "home")), 0);
    assert_int_equal(access(scratch_path(folder, "x.db"), F_OK), -1);
    drop(&o);
}

/* ---- bad input -------------------------------------------------------------------------------------------- */

static void test_shapes(void **state) {
    (void)state;
    refuse(64, "--shape", "");
    refuse(64, "-5", "--shape=-5,64,64 --sparsity 0.5");
    refuse(64, "0", "--shape 64,0,64 --sparsity 0.5");
    refuse(64, "99999999999999999999", "--shape 64,64,99999999999999999999 --sparsity 0.5");
    refuse(64, "2147483648", "--shape 2147483648,64,64 --sparsity 0.5");
    refuse(64, "2 numbers", "--shape 64,64 --sparsity 0.5");
    refuse(64, "4 numbers", "--shape 64,64,64,64 --sparsity 0.5");
    refuse(64, "64x", "--shape 64x,64,64 --sparsity 0.5");
    refuse(64, "100", "--shape 100,64,64 --sparsity 0.5");
    refuse(64, "33", "--shape 66,64,64 --sparsity 0.5 --block 33");
    refuse(64, "blocks", "--shape 2147483632,64,2147483632 --sparsity 0.5 --block 16 --device host");
    refuse(64, "memory", "--shape 1048576,2147483647,64 --sparsity 0.99 --block 64 --device host --db x.db");
}

static void test_numbers(void **state) {
    (void)state;
    refuse(64, "1.5", "--shape 64,64,64 --sparsity 1.5");
    refuse(64, "-0.1", "--shape 64,64,64 --sparsity=-0.1");
    refuse(64, "nan", "--shape 64,64,64 --sparsity nan");
    refuse(64, "much", "--shape 64,64,64 --sparsity much");
    refuse(64, "0", "--shape 64,64,64 --sparsity 0.5 --block 0");
    refuse(64, "1025", "--shape 64,64,64 --sparsity 0.5 --block 1025");
    refuse(64, "--block", "--shape 64,64,64 --sparsity 0.5 --block 16x16x16");
    refuse(64, "--budget", PROBLEM "--budget 0");
    refuse(64, "--stop-gain", PROBLEM "--stop-gain 0");
    refuse(64, "--stop-gain goes with --strategy model", PROBLEM "--stop-gain 1 --strategy local");
    refuse(64, "--jobs", PROBLEM "--jobs 257");
    refuse(64, "--seed", PROBLEM "--seed=-1");
    refuse(64, "--time-limit", PROBLEM "--time-limit 0");
    refuse(64, "--time-limit", PROBLEM "--time-limit nan");
}

static void test_names_and_combinations(void **state) {
    (void)state;
    refuse(64, "f64", PROBLEM "--dtype f64");
    refuse(64, "--out-dtype e4m3 is not one of f32, f16, bf16", PROBLEM "--dtype e4m3 --out-dtype e4m3");
    refuse(64, "--scale row is not one of tensor, block", PROBLEM "--dtype e4m3 --scale row");
    refuse(64, "goes with --dtype e4m3; bf16 has no scales", PROBLEM "--dtype bf16 --scale block");
    refuse(64, "goes with --dtype e4m3; f16 has no scales", PROBLEM "--scale tensor");
    refuse(64, "conv", PROBLEM "--op conv");
    refuse(64, "diagonal", PROBLEM "--layout diagonal");
    refuse(64, "abacus", PROBLEM "--device abacus");
    refuse(64, "'x'", PROBLEM "--device cuda:x");
    refuse(64, "annealing", PROBLEM "--strategy annealing");
    refuse(64, "--sparsity", "--shape 64,64,64");
    refuse(64, "--n", PROBLEM "--n 4");
    refuse(64, "--pattern", "--pattern a.smtx");
    refuse(64, "--shape", "--pattern a.smtx --n 4 --shape 1,1,1");
    refuse(64, "--target", PROBLEM "--compile-only");
    refuse(64, "--target", PROBLEM "--target sm_90a");
    refuse(64, "sm_12", PROBLEM "--target sm_12 --compile-only");
    refuse(64, "exclude", PROBLEM "--target host --device host --compile-only");
    refuse(64, "only one", PROBLEM "--target host --compile-only --dry-run");
    refuse(64, "--device all goes with --worker", PROBLEM "--device all");
#define SERVER "--worker --db postgresql://u@127.0.0.1:1/x "
    refuse(64, "exclude", SERVER "--compile-only --target sm_90a --device all");
    refuse(64, "--compile-only needs --target", SERVER "--compile-only");
    refuse(64, "sm_12", SERVER "--compile-only --target sm_12");
    refuse(64, "leave out --dry-run", SERVER "--dry-run --target sm_90a");
    outcome o = tune("--no-such-option");
    assert_int_equal(o.code, 64);
    drop(&o);
    o = tune(PROBLEM "stray");
    assert_int_equal(o.code, 64);
    drop(&o);
}

static void test_files(void **state) {
    (void)state;
    refuse(65, "missing.smtx", "--pattern missing.smtx --n 4 --block 16");
    scratch_write(folder, "cut.smtx", "2, 2, 3\n0 2 3\n0 1\n", 0600);
    refuse(65, "cut.smtx", "--pattern cut.smtx --n 4 --block 16");
    scratch_write(folder, "range.smtx", "2, 2, 2\n0 1 2\n0 7\n", 0600);
    refuse(65, "7", "--pattern range.smtx --n 4 --block 16");
    if (geteuid() != 0) /* root may write anywhere, and finds out later */
        refuse(65, "folder", PROBLEM "--device host --db /proc/none/x.db");
    scratch_write(folder, "text", "this is no database, only a text that is long enough to look like one\n",
                  0600);
    refuse(65, "text", PROBLEM "--device host --db text");
    refuse(65, "folder", PROBLEM "--device host --db text/x.db");
    refuse(65, "nowhere.lua", PROBLEM "--device host --db x.db --space nowhere.lua");
    refuse(65, "no_kernel", PROBLEM "--target host --emit 'no_kernel a=1'");
}

static void test_no_device(void **state) {
    (void)state;
    refuse(69, "", PROBLEM "--device cuda:1000 --db x.db");
}

static void test_hostile_spaces(void **state) {
    (void)state;
    refuse(65, "os",
           PROBLEM "--device host --db x.db --space " TRI_SOURCE_DIR "/tests/data/spaces/executes.lua");
    refuse(65, "",
           PROBLEM "--device host --db x.db --space " TRI_SOURCE_DIR "/tests/data/spaces/endless.lua");
    refuse(65, "", PROBLEM "--device host --db x.db --space " TRI_SOURCE_DIR "/tests/data/spaces/greedy.lua");
}

/* ---- good input --------------------------------------------------------------------------------------------- */

static json_t *json_of(const outcome *o) {
    json_error_t error;
    json_t *json = json_loads(o->out, 0, &error);
    if (!json)
        fail_msg("no JSON (%s): '%.300s' '%s'", error.text, o->out, o->err);
    assert_int_equal(json_integer_value(json_object_get(json, "schema")), 1);
    return json;
}

static void test_help(void **state) {
    (void)state;
    outcome o = tune("--help");
    assert_int_equal(o.code, 0);
    static const char *const names[] = {
        "--shape",    "--sparsity",   "--block",     "--dtype",      "--scale",  "--out-dtype",    "--op",
        "--pattern",  "--n=",         "--layout",    "--device",     "--target", "--compile-only", "--space",
        "--strategy", "--budget",     "--stop-gain", "--time-limit", "--seed",   "--jobs",         "--db",
        "--force",    "--cold-start", "--dry-run",   "--emit",       "--warm",   "--json",         "--quiet",
        "--verbose",  "--no-color",   "--data-dir"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (!strstr(o.out, names[i]))
            fail_msg("--help does not name %s", names[i]);
    drop(&o);
}

/* The worker says what it is, and does nothing by hand. */
static void test_worker_by_hand(void **state) {
    (void)state;
    const struct {
        const char *arguments, *out, *err;
        int code;
    } cases[] = {{"--help", "see triage_tune --help", "", 0},
                 {"", "", "started by triage_tune", 64},
                 {"measure", "", "started by triage_tune", 64}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char command[1024];
        snprintf(command, sizeof command, TRI_BINARY_DIR "/bin/triage_worker %s >'%s' 2>'%s' </dev/null",
                 cases[i].arguments, scratch_path(folder, "out"), scratch_path(folder, "err"));
        const int code = system(command);
        outcome o = {WEXITSTATUS(code), slurp(scratch_path(folder, "out")),
                     slurp(scratch_path(folder, "err"))};
        assert_int_equal(o.code, cases[i].code);
        assert_non_null(strstr(o.out, cases[i].out));
        assert_non_null(strstr(o.err, cases[i].err));
        assert_true(!cases[i].out[0] == !o.out[0] && !cases[i].err[0] == !o.err[0]);
        drop(&o);
    }
}

/* A library of ours stands in for OpenBLAS: slow, so that the table says which of the two is faster. */
static void test_dense_beside_the_winner(void **state) {
    (void)state;
    const char *arguments = PROBLEM "--device host --budget 2 --db dense.db --no-color -q";
    setenv("LD_LIBRARY_PATH", TRI_BINARY_DIR "/tests/fake_openblas", 1);
    outcome o = tune(arguments);
    assert_int_equal(o.code, 0);
    const char *row = strstr(o.out, "-  dense openblas 9.8.7 "),
               *line = strstr(o.out, "\ndense openblas 9.8.7: ");
    assert_true(row && line && row < line);
    assert_true(strstr(line, "times as fast\n") || strstr(line, "within noise\n") ||
                strstr(line, "faster than this block-sparse kernel by "));
    drop(&o);

    o = tune(PROBLEM "--device host --budget 2 --db dense.db --json -q");
    json_t *json = json_of(&o), *dense = json_object_get(json, "dense");
    drop(&o);
    assert_true(json_is_true(json_object_get(json, "answered_from_store")));
    assert_true(json_is_true(json_object_get(dense, "measured")) &&
                json_is_true(json_object_get(dense, "known")));
    assert_string_equal(json_string_value(json_object_get(dense, "library")), "openblas 9.8.7");
    double median = json_real_value(json_object_get(dense, "median_ns"));
    double ratio = json_real_value(json_object_get(dense, "winner_over_dense"));
    json_t *best = json_array_get(json_object_get(json, "rows"), 0);
    assert_true(median > 0 && ratio > 0);
    assert_true(fabs(ratio * median / json_real_value(json_object_get(best, "median_ns")) - 1) < 1e-9);
    const char *standing = json_string_value(json_object_get(dense, "standing"));
    assert_true(strcmp(standing, "tie") == 0 || strcmp(standing, ratio > 1 ? "faster" : "slower") == 0);
    json_decref(json);

    setenv("LD_LIBRARY_PATH", TRI_BINARY_DIR "/tests/hollow_openblas", 1);
    o = tune(PROBLEM "--device host --budget 2 --db none.db --no-color -q");
    assert_int_equal(o.code, 0);
    assert_non_null(strstr(o.out, "\ndense: not measured (this libopenblas has no cblas_sgemm)\n"));
    assert_null(strstr(o.out, "dense openblas"));
    drop(&o);
    o = tune(PROBLEM "--target host --compile-only --budget 1 --json");
    json = json_of(&o);
    assert_true(json_is_null(json_object_get(json, "dense")));
    json_decref(json);
    drop(&o);
    unsetenv("LD_LIBRARY_PATH");
}

static void test_a_run_twice(void **state) {
    (void)state;
    const char *arguments = PROBLEM "--device host --warm --budget 3 --db made/here/t.db --json --quiet";
    outcome o = tune(arguments);
    assert_int_equal(o.code, 0);
    assert_string_equal(o.err, "");
    json_t *first = json_of(&o);
    drop(&o);
    assert_int_equal(json_array_size(json_object_get(first, "rows")), 3);
    assert_true(json_is_false(json_object_get(first, "answered_from_store")));
    assert_true(json_is_string(json_object_get(first, "winner")));
    json_t *row = json_array_get(json_object_get(first, "rows"), 0);
    assert_true(json_real_value(json_object_get(row, "median_ns")) > 0);
    assert_int_equal(access(scratch_path(folder, "made/here/t.db"), F_OK), 0);

    o = tune(arguments);
    assert_int_equal(o.code, 0);
    json_t *second = json_of(&o);
    drop(&o);
    assert_true(json_is_true(json_object_get(second, "answered_from_store")));
    assert_true(json_equal(json_object_get(first, "winner"), json_object_get(second, "winner")));
    json_decref(first);
    json_decref(second);

    o = tune(PROBLEM "--device host --warm --budget 3 --db made/here/t.db --no-color");
    assert_int_equal(o.code, 0);
    assert_non_null(strstr(o.out, "winner: host"));
    assert_non_null(strstr(o.out, "answered from the database"));
    assert_null(strchr(o.out, '\033'));
    drop(&o);
}

/* The second run begins with what the first found, says so, and can be told not to. */
static void test_what_is_known_nearby(void **state) {
    (void)state;
#define NEAR "--shape 64,48,64 --sparsity 0.5 --block 16 --device host --warm --db near.db "
    outcome o = tune(PROBLEM "--device host --warm --budget 4 --db near.db --strategy random --seed 9");
    assert_int_equal(o.code, 0);
    assert_null(strstr(o.err, "starts with"));
    drop(&o);
    o = tune(NEAR "--budget 2 --json --cold-start");
    assert_int_equal(o.code, 0);
    assert_null(strstr(o.err, "starts with"));
    json_t *json = json_of(&o);
    assert_true(json_is_null(json_object_get(json, "starts_with")));
    json_decref(json);
    drop(&o);
    o = tune(NEAR "--budget 3 --json");
    assert_int_equal(o.code, 0);
    assert_non_null(
        strstr(o.err, "starts with 2 configurations known from 64x40x64 at density 0.5 (distance 0."));
    json = json_of(&o);
    const json_t *start = json_object_get(json, "starts_with"), *rows = json_object_get(json, "rows");
    const json_t *donor = json_array_get(json_object_get(start, "donors"), 0);
    const char *first = json_string_value(json_array_get(json_object_get(start, "configs"), 0));
    assert_int_equal(json_array_size(json_object_get(start, "configs")), 2);
    assert_true(json_real_value(json_object_get(donor, "distance")) > 0);
    assert_non_null(strstr(json_string_value(json_object_get(donor, "problem")), " m=64 n=40 k=64 "));
    assert_int_equal(json_array_size(rows), 3);
    int tried = 0;
    for (size_t i = 0; i < 3; i++)
        tried = tried ||
                strcmp(first, json_string_value(json_object_get(json_array_get(rows, i), "config"))) == 0;
    assert_true(tried);
    json_decref(json);
    drop(&o);
}

static void test_a_pattern(void **state) {
    (void)state;
    scratch_write(folder, "ok.smtx", "3, 4, 4\n0 2 2 4\n0 3 1 2\n", 0600);
    outcome o = tune("--pattern ok.smtx --n 24 --block 16 --dtype bf16 --device host --warm --budget 2 "
                     "--db p.db --json -q");
    assert_int_equal(o.code, 0);
    json_t *json = json_of(&o);
    assert_int_equal(json_integer_value(json_object_get(json, "nnzb")), 4);
    assert_non_null(strstr(json_string_value(json_object_get(json, "problem")), "m=48 n=24 k=64"));
    json_decref(json);
    drop(&o);
}

/* Both kinds of scale are problems of their own, verified and timed. */
static void write_text(const char *name, const char *text) {
    FILE *stream = fopen(scratch_path(folder, name), "w");
    assert_non_null(stream);
    fputs(text, stream);
    assert_int_equal(fclose(stream), 0);
}

/* Each line of a file; what is wrong in one is known before the first is tuned. */
static void test_from_a_file(void **state) {
    (void)state;
    refuse(64, "--from takes its problems from the file: leave out --shape", "--from f.csv --shape 64,64,64");
    refuse(64, "--from tunes: leave out --dry-run", "--from f.csv --dry-run --device host");
    write_text("f.csv", "m,n,k,sparsity,block,dtype\n64,8,64,0.5,16,f32\n64,16,64,0.5,nonsense,f32\n");
    refuse(65, "f.csv, line 3", "--from f.csv --device host --db from.db");
    write_text("f.csv", "m,n,k,sparsity,block,dtype\n64,8,64,0.5,16,f32\n64,16,64,0.5,16,f32\n");
    outcome o = run_program("triage_tune", "--from f.csv --device host --db from.db --budget 1 --json");
    assert_int_equal(o.code, 0);
    assert_non_null(strstr(o.err, "2 of 2"));
    const char *first = strstr(o.out, "m=64 n=8 k=64");
    assert_non_null(first);
    assert_non_null(strstr(first, "m=64 n=16 k=64"));
    drop(&o);
}

/* What is tuned already saves nothing and comes last; a limit that is over leaves what it did not reach. */
static void test_a_file_and_a_limit_for_it(void **state) {
    (void)state;
    refuse(64, "--total-limit goes with --from", "--shape 64,64,64 --total-limit 5");
    refuse(64, "--total-limit", "--from g.csv --total-limit 0.5 --device host");
    write_text("g.csv", "m,n,k,sparsity,block,dtype\n64,8,64,0.5,16,f32\n");
    outcome o = run_program("triage_tune", "--from g.csv --device host --db limit.db --budget 1 -q");
    assert_int_equal(o.code, 0);
    drop(&o);
    write_text("g.csv", "m,n,k,sparsity,block,dtype\n64,8,64,0.5,16,f32\n64,24,64,0.5,16,f32\n");
    o = run_program("triage_tune",
                    "--from g.csv --device host --db limit.db --budget 1 --json --total-limit 1");
    assert_int_equal(o.code, 75); /* a second is as much as one problem wants, and some of it is over */
    assert_string_equal(o.out, "");
    assert_non_null(strstr(o.err, "2 problems of g.csv are left"));
    drop(&o);
    o = run_program("triage_tune",
                    "--from g.csv --device host --db limit.db --budget 1 --json --total-limit 1000");
    assert_int_equal(o.code, 0);
    const char *first = strstr(o.out, "\"number\": 2"), *second = strstr(o.out, "\"number\": 1");
    assert_true(first && second && first < second);
    drop(&o);
}

static void test_e4m3(void **state) {
    (void)state;
    static const struct {
        const char *arguments, *key;
    } cases[] = {
        {"--scale tensor --out-dtype f16 --layout col", "bsr_gemm e4m3 f16 col col none nobias m=64 "},
        {"--scale block --out-dtype f32 --layout col", "bsr_gemm e4m3-block f32 col col none nobias m=64 "},
        {"--scale block", "bsr_gemm e4m3-block bf16 row row none nobias m=64 "},
        {"", "bsr_gemm e4m3 bf16 row row none nobias m=64 "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char arguments[512];
        snprintf(arguments, sizeof arguments,
                 PROBLEM "--dtype e4m3 %s --device host --warm --budget 2 --db e4m3.db --json --quiet",
                 cases[i].arguments);
        outcome o = tune(arguments);
        if (o.code != 0)
            fail_msg("exit %d: %s", o.code, o.err);
        json_t *json = json_of(&o);
        const char *key = json_string_value(json_object_get(json, "problem"));
        assert_int_equal(strncmp(key, cases[i].key, strlen(cases[i].key)), 0);
        assert_true(json_is_false(json_object_get(json, "answered_from_store")));
        assert_int_equal(
            strncmp(json_string_value(json_object_get(json, "winner")), "host_fp8 ", strlen("host_fp8 ")), 0);
        json_t *row = json_array_get(json_object_get(json, "rows"), 0);
        assert_true(json_real_value(json_object_get(row, "median_ns")) > 0);
        assert_true(json_real_value(json_object_get(row, "row_error")) > 0); /* of C's rounding */
        json_decref(json);
        drop(&o);
    }
}

static void test_dry_run_and_emit(void **state) {
    char arguments[1024], command[2048];
    (void)state;
    outcome o = tune(PROBLEM "--target host --dry-run --json");
    assert_int_equal(o.code, 0);
    json_t *json = json_of(&o);
    drop(&o);
    const char *config = json_string_value(json_object_get(json, "default"));
    assert_non_null(config);
    assert_true(json_array_size(json_object_get(json, "configs")) > 3);
    snprintf(arguments, sizeof arguments, PROBLEM "--target host --emit '%s'", config);
    o = tune(arguments);
    assert_int_equal(o.code, 0);
    assert_non_null(strstr(o.out, "triage_kernel"));
    assert_null(strstr(o.out, "{{"));
    drop(&o);
    snprintf(command, sizeof command, "gcc -x c -std=gnu17 -fopenmp -c -o '%s' '%s'",
             scratch_path(folder, "emitted.o"), scratch_path(folder, "out"));
    assert_int_equal(system(command), 0); /* what it prints compiles by itself */
    json_decref(json);
    assert_int_equal(scratch_count(scratch_path(folder, "home")), 0);
}

static void test_compile_only(void **state) {
    (void)state;
    outcome o = tune(PROBLEM "--target host --compile-only --budget 3 --json");
    assert_int_equal(o.code, 0);
    json_t *json = json_of(&o);
    assert_int_equal(json_array_size(json_object_get(json, "rows")), 3);
    assert_string_equal(
        json_string_value(json_object_get(json_array_get(json_object_get(json, "rows"), 0), "outcome")),
        "compiled");
    assert_true(json_is_null(json_object_get(json, "winner")));
    json_decref(json);
    drop(&o);
    assert_int_equal(scratch_count(scratch_path(folder, "home")), 0);
}

/* No candidate of a space is right: 70, and the failures are told. */
static void test_none_right(void **state) {
    (void)state;
    scratch_fault_tree(folder, TRI_SOURCE_DIR);
    char *space = slurp(TRI_SOURCE_DIR "/tests/data/faults/space.lua"), *from = strstr(space, "{ \"right\"");
    char *end = strstr(from, "} },"), *word = strstr(space, "fault = \"right\" },");
    FILE *stream = fopen(scratch_path(folder, "wrong.lua"), "w");
    fprintf(stream, "%.*s{ \"zeros\", \"broken\" %.*sfault = \"zeros\" },%s", (int)(from - space), space,
            (int)(word - end), end, word + strlen("fault = \"right\" },"));
    fclose(stream);
    free(space);
    outcome o = tune(PROBLEM "--device host --space wrong.lua --data-dir data --db wrong.db -q");
    if (o.code != 70)
        fail_msg("exit %d: %s%s", o.code, o.out, o.err);
    assert_non_null(strstr(o.out, "1 wrong: "));
    assert_non_null(strstr(o.out, "1 not_compiled: "));
    assert_null(strstr(o.out, "winner"));
    drop(&o);
    o = tune(PROBLEM "--target host --compile-only --space wrong.lua --data-dir data");
    assert_int_equal(o.code, 70);
    drop(&o);
}

/* The compiler that $CC names is the one that is asked, in a folder below $TMPDIR, which is gone afterwards. */
static void test_tools_and_folders_of_the_environment(void **state) {
    (void)state;
    char script[1024], *where = NULL;
    mkdir(scratch_path(folder, "temporary"), 0700);
    snprintf(script, sizeof script,
             "#!/bin/sh\n[ \"$1\" = --version ] && pwd >'%s'\nexec /usr/bin/cc \"$@\"\n",
             scratch_path(folder, "where"));
    scratch_write(folder, "my_cc", script, 0700);
    setenv("TMPDIR", scratch_path(folder, "temporary"), 1);
    setenv("CC", scratch_path(folder, "my_cc"), 1);
    outcome o = tune(PROBLEM "--target host --compile-only --budget 1 --json");
    if (o.code != 0)
        fail_msg("exit %d: %s", o.code, o.err);
    drop(&o);
    where = slurp(scratch_path(folder, "where"));
    assert_int_equal(strncmp(where, scratch_path(folder, "temporary/triage-"),
                             strlen(scratch_path(folder, "temporary/triage-"))),
                     0);
    free(where);
    assert_int_equal(scratch_count(scratch_path(folder, "temporary")), 0);
    setenv("CC", "/nonexistent/cc", 1);
    o = tune(PROBLEM "--target host --dry-run");
    assert_int_equal(o.code, 0);
    assert_non_null(strstr(o.err, "CC=/nonexistent/cc is no program: looking for another compiler"));
    drop(&o);
    unsetenv("CC");
    unsetenv("TMPDIR");
}

/* ---- failures travel ---- */

/* The row of a fault in the JSON of a run. */
static const json_t *row_of_fault(const json_t *run, const char *fault) {
    const json_t *rows = json_object_get(run, "rows");
    for (size_t i = 0; i < json_array_size(rows); i++)
        if (strstr(json_string_value(json_object_get(json_array_get(rows, i), "config")), fault))
            return json_array_get(rows, i);
    fail_msg("no row of %s", fault);
    return NULL;
}

static const char *text_in(const json_t *row, const char *key) {
    return json_string_value(json_object_get(row, key));
}

/* Known: from the database, with the reason of the run that found it. */
static void expect_fault(const json_t *run, const char *fault, const char *wanted, const json_t *known_from) {
    const json_t *row = row_of_fault(run, fault);
    assert_string_equal(text_in(row, "outcome"), wanted);
    assert_true(strlen(text_in(row, "reason")) > 5);
    assert_int_equal(json_is_true(json_object_get(row, "known")), known_from != NULL);
    if (known_from)
        assert_string_equal(text_in(row, "reason"), text_in(row_of_fault(known_from, fault), "reason"));
}

static json_t *tune_faults(const char *more) {
    char arguments[512];
    snprintf(arguments, sizeof arguments,
             PROBLEM "--device host --space few.lua --data-dir away/data --json -q %s", more);
    outcome o = tune(arguments);
    if (o.code != 0)
        fail_msg("exit %d: %s", o.code, o.err);
    json_t *json = json_of(&o);
    drop(&o);
    return json;
}

static void expect_db(int code, const char *arguments, const char *words) {
    char command[1024];
    snprintf(command, sizeof command, "cd '%s' && " TRI_BINARY_DIR "/bin/triage_db %s >both 2>&1", folder,
             arguments);
    const int state = system(command);
    char *said = slurp(scratch_path(folder, "both"));
    if (!WIFEXITED(state) || WEXITSTATUS(state) != code || !strstr(said, words))
        fail_msg("triage_db %s: %s", arguments, said);
    free(said);
}

/* The public key of signing.key, as triage_db key prints it. */
static void make_signer(char *out, size_t size) {
    expect_db(0, "key --key signing.key", "");
    char *said = slurp(scratch_path(folder, "both"));
    snprintf(out, size, "%.64s", said);
    free(said);
}

/* What crashed or was wrong on one machine is known on the next that believes it, with the reason, and is tried again
 * only when that is asked for. */
static void test_failures_travel(void **state) {
    (void)state;
    char key[80], import[256];
    mkdir(scratch_path(folder, "away"), 0700);
    scratch_fault_tree(scratch_path(folder, "away"), TRI_SOURCE_DIR);
    char *space = slurp(TRI_SOURCE_DIR "/tests/data/faults/space.lua"), *from = strstr(space, "{ \"right\"");
    FILE *stream = fopen(scratch_path(folder, "few.lua"), "w");
    fprintf(stream, "%.*s{ \"right\", \"crashes\", \"zeros\" %s", (int)(from - space), space,
            strstr(from, "} },"));
    fclose(stream);
    free(space);
    json_t *first = tune_faults("--db one.db"), *run = NULL;
    expect_fault(first, "crashes", "crashed", NULL);
    expect_fault(first, "zeros", "wrong", NULL);

    make_signer(key, sizeof key);
    expect_db(0, "export faults.jsonl --sign --key signing.key --db one.db", "");
    expect_db(65, "import faults.jsonl --db two.db", "no such kernel: 'faulty'");
    snprintf(import, sizeof import,
             "import faults.jsonl --trust %s --db two.db --space few.lua --data-dir away/data", key);
    expect_db(0, import, "0 refused");
    run = tune_faults("--db two.db");
    assert_true(json_is_true(json_object_get(run, "answered_from_store")));
    expect_fault(run, "crashes", "crashed", first);
    expect_fault(run, "zeros", "wrong", first);
    json_decref(run);
    outcome o = tune(PROBLEM "--device host --space few.lua --data-dir away/data --db two.db -q");
    assert_int_equal(o.code, 0);
    assert_non_null(strstr(o.out, "1 crashed: "));
    assert_non_null(strstr(o.out, "1 wrong: "));
    drop(&o);
    expect_db(0,
              "explain --shape 64,40,64 --sparsity 0.5 --block 16 --device host --space few.lua --data-dir "
              "away/data --db two.db",
              "crashed: ");

    run = tune_faults("--db two.db --force");
    assert_true(json_is_false(json_object_get(run, "answered_from_store")));
    expect_fault(run, "crashes", "crashed", NULL);
    expect_fault(run, "zeros", "wrong", NULL);
    json_decref(run);
    json_decref(first);
}

/* Ctrl-C: 130, and what was reported is kept. */
static void test_interrupt(void **state) {
    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        if (chdir(folder) != 0 || !freopen(scratch_path(folder, "out"), "w", stdout) ||
            !freopen(scratch_path(folder, "err"), "w", stderr))
            _exit(99);
        setenv("XDG_CACHE_HOME", folder, 1); /* it compiles, so that there is something to interrupt */
        execl(TUNE, "triage_tune", "--shape", "128,128,128", "--sparsity", "0.5", "--block", "16", "--device",
              "host", "--db", "int.db", "--verbose", "--warm", "--strategy", "exhaustive", NULL);
        _exit(98);
    }
    char *err = NULL;
    for (int i = 0; i < 30000; i++) { /* until two are reported */
        usleep(20000);
        free(err);
        err = slurp(scratch_path(folder, "err"));
        if (strstr(err, "\n2/"))
            break;
    }
    assert_non_null(strstr(err, "\n2/"));
    free(err);
    int status = 0;
    kill(pid, SIGINT);
    waitpid(pid, &status, 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 130);
    char *out = slurp(scratch_path(folder, "out"));
    assert_non_null(strstr(out, "interrupted"));
    free(out);
    outcome o = tune("--shape 128,128,128 --sparsity 0.5 --block 16 --device host --db int.db --json "
                     "--budget 2 --warm -q");
    assert_int_equal(o.code, 0);
    json_t *json = json_of(&o); /* both are known already; at most the race is new */
    assert_int_equal(json_array_size(json_object_get(json, "rows")), 2);
    json_decref(json);
    drop(&o);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_names_and_combinations),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_no_device),
        cmocka_unit_test(test_hostile_spaces),
        cmocka_unit_test(test_help),
        cmocka_unit_test(test_dry_run_and_emit),
        cmocka_unit_test(test_a_run_twice),
        cmocka_unit_test(test_worker_by_hand),
        cmocka_unit_test(test_dense_beside_the_winner),
        cmocka_unit_test(test_what_is_known_nearby),
        cmocka_unit_test(test_a_pattern),
        cmocka_unit_test(test_from_a_file),
        cmocka_unit_test(test_a_file_and_a_limit_for_it),
        cmocka_unit_test(test_e4m3),
        cmocka_unit_test(test_compile_only),
        cmocka_unit_test(test_none_right),
        cmocka_unit_test(test_tools_and_folders_of_the_environment),
        cmocka_unit_test(test_failures_travel),
        cmocka_unit_test(test_interrupt),
    };
    return cmocka_run_group_tests(tests, make_home, remove_scratch);
}
