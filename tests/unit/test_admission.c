/* The gate for evidence from elsewhere: what was truly measured passes, all of it; what cannot be is named. */
#include "support/bsr_of.h"
#include "support/check.h"

#include <glob.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "op/dense.h"
#include "evidence/admission.h"
#include "evidence/roofline.h"
#include "support/scratch.h"

#define H200 "cuda sm_90a sms=132 clock=1980000 memclock=3201000 bus=6016 l2=62914560 smem=232448"
#define HOST "host x86_64-avx2 sms=4 clock=0 memclock=0 bus=0 l2=33554432 smem=0"
#define PROBLEM                                                                                              \
    "bsr_gemm f16 f16 row row none nobias m=8192 n=8192 k=8192 block=64x64 density=1000 imbalance=10 "       \
    "overlap=1"

static tri_admission *gate;
static tri_space *space;
static char config[256]; /* a legal one for PROBLEM on H200 */

static int open_all(void **state) {
    (void)state;
    tri_problem problem;
    tri_device_info info;
    tri_configs configs;
    must(tri_admission_open(&gate, NULL, NULL));
    must(tri_space_open(&space, &tri_op_bsr_gemm, &(tri_space_options){0}));
    must(tri_problem_parse(&problem, PROBLEM));
    must(tri_device_parse(&info, H200));
    must(tri_space_enumerate(&configs, space, &problem, &info));
    snprintf(config, sizeof config, "%s", configs.text[configs.default_index]);
    tri_configs_free(&configs);
    return 0;
}

static int close_all(void **state) {
    (void)state;
    tri_admission_free(gate);
    tri_admission_free(NULL);
    tri_space_free(space);
    return 0;
}

/* A row that passes; its texts are borrowed. */
static tri_measurement good(void) {
    static char kernel[32];
    snprintf(kernel, sizeof kernel, "%.*s", (int)strcspn(config, " "), config);
    return (tri_measurement){.problem = (char *)(uintptr_t)PROBLEM,
                             .device = (char *)(uintptr_t)H200,
                             .kernel = kernel,
                             .config = config,
                             .version = (char *)(uintptr_t)TRIAGE_VERSION,
                             .median_ns = 250000,
                             .min_ns = 240000,
                             .cold_l2 = true};
}

static void expect_refused(tri_admission *by, const tri_measurement *row, const char *words) {
    assert_int_equal(tri_admission_check(by, row), TRIAGE_E_DATA);
    if (!strstr(triage_last_error(), words))
        fail_msg("\"%s\" does not hold \"%s\"", triage_last_error(), words);
}

#define REFUSED(field, value, words)                                                                         \
    do {                                                                                                     \
        tri_measurement spoiled = good();                                                                    \
        spoiled.field = (char *)(uintptr_t)(value);                                                          \
        expect_refused(gate, &spoiled, words);                                                               \
    } while (0)

/* ---- devices ---- */

static void keys_of_devices(void **state) {
    (void)state;
    static const char *const good_keys[] = {
        H200, HOST, "cuda sm_80 sms=108 clock=1410000 memclock=1215000 bus=5120 l2=41943040 smem=166912",
        "host aarch64 sms=1 clock=0 memclock=0 bus=0 l2=0 smem=0"};
    for (size_t i = 0; i < sizeof good_keys / sizeof *good_keys; i++) {
        tri_device_info info;
        char *again = NULL;
        must(tri_device_parse(&info, good_keys[i]));
        must(tri_device_key(&again, &info));
        assert_string_equal(again, good_keys[i]);
        free(again);
    }
    tri_device_info info;
    must(tri_device_parse(&info, H200));
    assert_true(info.cc == 90 && info.sm_count == 132 && info.l2_bytes == 62914560);
    static const struct {
        const char *key, *words;
    } bad[] = {
        {"", "does not begin with"},
        {"cuda", "does not begin with"},
        {"opencl sm_90a sms=1 clock=1 memclock=1 bus=1 l2=1 smem=1", "neither cuda"},
        {"cuda sm_9x sms=1 clock=1 memclock=1 bus=1 l2=1 smem=1", "neither cuda"},
        {"cuda sm_12 sms=1 clock=1 memclock=1 bus=1 l2=1 smem=1", "neither cuda"},
        {"host sm_90a sms=1 clock=1 memclock=1 bus=1 l2=1 smem=1", "neither cuda"},
        {"cuda sm_90a clock=1 sms=1 memclock=1 bus=1 l2=1 smem=1", "' sms=' belongs"},
        {"cuda sm_90a sms=0 clock=1 memclock=1 bus=1 l2=1 smem=1", "device key's sms: 0 is out of range"},
        {"cuda sm_90a sms=99999999999999999999 clock=1 memclock=1 bus=1 l2=1 smem=1", "device key's sms"},
        {"cuda sm_90a sms=132 clock=x memclock=1 bus=1 l2=1 smem=1", "device key's clock: 'x'"},
        {"cuda sm_90a sms=132 clock=1 memclock=1 bus=1 l2=-1 smem=1", "device key's l2: -1"},
        {"cuda sm_90a sms=132 clock=1 memclock=1 bus=1 l2=1", "' smem=' belongs"},
        {H200 " ", "is not written as"},
        {"cuda  sm_90a sms=132 clock=1 memclock=1 bus=1 l2=1 smem=1", "is not written as"},
        {"cuda sm_90a sms=0132 clock=1 memclock=1 bus=1 l2=1 smem=1", "is not written as"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(tri_device_parse(&info, bad[i].key), TRIAGE_E_DATA);
        if (!strstr(triage_last_error(), bad[i].words))
            fail_msg("%s: \"%s\" does not hold \"%s\"", bad[i].key, triage_last_error(), bad[i].words);
    }
}

/* ---- what was truly measured ---- */

/* The tightest of all: how far the fastest true time is from being refused. */
static double margin;

static void expect_possible(const char *where, const char *problem_key, const char *device, double ns,
                            bool cold) {
    tri_problem problem;
    tri_device_info info;
    tri_roofline roof;
    must(tri_problem_parse(&problem, problem_key));
    must(tri_device_parse(&info, device));
    tri_least_work work;
    problem.op->least_work(&work, &problem);
    tri_roofline_of(&roof, &work, &info, cold);
    if (ns < roof.least_ns)
        fail_msg("%s: %s: %g ns was measured, %g ns (%s) is said to be the least", where, problem_key, ns,
                 roof.least_ns, roof.limit);
    assert_true(roof.least_ns > 0);
    margin = fmin(margin, ns / roof.least_ns);
}

static void shipped_rows_pass(void **state) {
    (void)state;
    int rows = 0;
    const char *name;
    margin = INFINITY;
    for (size_t i = 0; (name = tri_resource_name(i)); i++) {
        char *text = NULL, *rest = NULL;
        if (!strstr(name, "db/pretuned/") || !strstr(name, ".jsonl"))
            continue;
        must(tri_resource_read(&text, NULL, NULL, name));
        for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest), rows++) {
            tri_measurement row = {0};
            must(tri_measurement_from_json(&row, line));
            must(tri_admission_check(gate, &row));
            if (!tri_dense_is_key(row.problem))
                expect_possible(name, row.problem, row.device, row.min_ns, row.cold_l2);
            tri_measurement_clear(&row);
        }
        free(text);
    }
    assert_true(rows > 0);
    assert_int_equal(tri_admission_unjudged(gate), 0);
    print_message("%d shipped rows pass; the fastest took %.2f times the least that is allowed\n", rows,
                  margin);
}

/* Every object with a time below the value is of this problem on this device. */
static int walk(const char *file, const json_t *value, const char *problem, const char *device, bool cold) {
    const char *key;
    json_t *item;
    size_t index;
    int seen = 0;
    if (json_is_array(value)) {
        json_array_foreach(value, index, item) seen += walk(file, item, problem, device, cold);
        return seen;
    }
    const json_t *own = json_object_get(value, "cold_l2");
    cold = own ? json_is_true(own) : cold;
    json_object_foreach((json_t *)(uintptr_t)value, key, item) {
        const double ns = json_number_value(item);
        if ((strcmp(key, "min_ns") == 0 || strcmp(key, "median_ns") == 0) && ns > 0) {
            expect_possible(file, problem, device, ns, cold);
            seen++;
        }
        seen += walk(file, item, problem, device, cold);
    }
    return seen;
}

static void published_results_pass(void **state) {
    (void)state;
    glob_t files;
    int seen = 0;
    margin = INFINITY;
    assert_int_equal(glob(TRI_SOURCE_DIR "/docs/results/*.json", 0, NULL, &files), 0);
    for (size_t i = 0; i < files.gl_pathc; i++) {
        json_t *document = json_load_file(files.gl_pathv[i], 0, NULL), *run;
        size_t index;
        assert_non_null(document);
        json_array_foreach(json_object_get(document, "runs"), index, run) {
            const json_t *device = json_object_get(run, "device");
            const char *key =
                json_string_value(json_is_object(device) ? json_object_get(device, "key") : device);
            const char *problem = json_string_value(json_object_get(run, "problem"));
            if (key && problem)
                seen += walk(files.gl_pathv[i], run, problem, key, true);
        }
        json_decref(document);
    }
    globfree(&files);
    assert_true(seen > 100);
    print_message("%d published times pass; the fastest took %.2f times the least that is allowed\n", seen,
                  margin);
}

/* ---- what cannot be ---- */

static void impossible_times(void **state) {
    (void)state;
    tri_measurement row = good();
    must(tri_admission_check(gate, &row));
    row.min_ns = 50000; /* 110 GFLOP: 68 us at 1.5 times 1070 TFLOP/s */
    expect_refused(gate, &row, "min_ns: 5e+04 ns for 1.0");
    assert_non_null(strstr(triage_last_error(), "(arithmetic)"));
    /* few operations, much to write: 2 GiB of C beside 60 MB of L2 at 1.5 times 4.8 TB/s */
    row = good();
    row.problem =
        (char *)(uintptr_t) "bsr_gemm f16 f16 row row none nobias m=32768 n=32768 k=8192 block=64x64 "
                            "density=10 imbalance=10 overlap=0";
    row.min_ns = 310000;
    must(tri_admission_check(gate, &row));
    row.min_ns = 270000;
    expect_refused(gate, &row, "(memory bandwidth)");
    assert_non_null(strstr(triage_last_error(), "min_ns: 2.7e+05 ns for 2.09e+09 bytes"));
    /* all of it in a warm L2, which has a bandwidth of its own */
    row = good();
    row.problem = (char *)(uintptr_t) "bsr_gemm f16 f16 row row none nobias m=4096 n=4096 k=64 block=64x64 "
                                      "density=160 imbalance=10 overlap=0";
    row.cold_l2 = false;
    row.min_ns = 700;
    must(tri_admission_check(gate, &row));
    row.min_ns = 600;
    expect_refused(gate, &row, "(L2 bandwidth)");
    row.min_ns = row.median_ns = 0; /* a failure has no time */
    must(tri_admission_check(gate, &row));
}

/* On the host clock and memory are not told: only what no core can do is refused. */
static void times_of_a_host(void **state) {
    (void)state;
    tri_roofline roof;
    tri_problem problem;
    tri_device_info info;
    must(tri_device_parse(&info, HOST));
    must(tri_problem_parse(&problem, PROBLEM));
    tri_least_work work;
    problem.op->least_work(&work, &problem);
    tri_roofline_of(&roof, &work, &info, true);
    assert_string_equal(roof.limit, "arithmetic");
    assert_float_equal(roof.least_ns, roof.flops / (4 * 128 * 6.5 * 1.5), 1e-3 * roof.least_ns);
}

static void configurations(void **state) {
    (void)state;
    REFUSED(problem, "bsr_gemm of something", "problem: 'of' is not a type");
    REFUSED(device, "cuda sm_90a sms=132", "device: ");
    REFUSED(kernel, "other", "kernel: \"other\", but config begins with");
    tri_measurement row = good();
    row.kernel = row.config = (char *)(uintptr_t) "ring";
    expect_refused(gate, &row, "no such kernel: 'ring'");
    row.kernel = (char *)(uintptr_t) "wgmma";
    row.config = (char *)(uintptr_t) "wgmma tile_n=9999";
    expect_refused(gate, &row, "not a value of its axis: 'tile_n=9999'");
    row = good();
    row.device = (char *)(uintptr_t) "cuda sm_80 sms=108 clock=1410000 memclock=1215000 bus=5120 l2=41943040 "
                                     "smem=166912";
    row.kernel = (char *)(uintptr_t) "wgmma";
    row.config = (char *)(uintptr_t) "wgmma tile_n=256 wg_n=1 step_k=64 stages=4 c_slabs=2 cluster_n=2 "
                                     "ctas_per_sm=1 raster=1 share=1 order=0 promote=0";
    expect_refused(gate, &row, "kernel wgmma does not run on sm_80");
    row.device = (char *)(uintptr_t)H200; /* 8 bytes to a row of B: no TMA */
    row.problem = (char *)(uintptr_t) "bsr_gemm f16 f16 row row none nobias m=8192 n=4 k=8192 block=64x64 "
                                      "density=1000 imbalance=10 overlap=1";
    expect_refused(gate, &row, "does not satisfy");
}

/* What this version cannot judge is kept, and counted: it may be a newer kernel of a fleet on its way. */
static void other_versions(void **state) {
    (void)state;
    tri_measurement row = good();
    const int64_t before = tri_admission_unjudged(gate);
    row.kernel = row.config = (char *)(uintptr_t) "ring";
    row.version = (char *)(uintptr_t) "9.0.0";
    must(tri_admission_check(gate, &row));
    assert_int_equal(tri_admission_unjudged(gate), before + 1);
    row.min_ns = 10; /* but no time that cannot be */
    expect_refused(gate, &row, "min_ns");
}

static void a_space_of_ones_own(void **state) {
    (void)state;
    tri_admission *own = NULL;
    tri_measurement row = good();
    char folder[64];
    scratch_make(folder);
    scratch_fault_tree(folder, TRI_SOURCE_DIR);
    row.device = (char *)(uintptr_t)HOST;
    row.kernel = (char *)(uintptr_t) "faulty";
    row.config = (char *)(uintptr_t) "faulty variant=0 fault=right";
    row.min_ns = row.median_ns = 1e9;
    expect_refused(gate, &row, "no such kernel: 'faulty'");
    must(tri_admission_open(&own, TRI_SOURCE_DIR "/tests/data/faults/space.lua",
                            scratch_path(folder, "data")));
    must(tri_admission_check(own, &row));
    row.config = (char *)(uintptr_t) "faulty variant=1 fault=zeros";
    expect_refused(own, &row, "one variant of each fault is enough");
    row = good();
    must(tri_admission_check(own, &row)); /* the built-in space stays */
    tri_admission_free(own);
    assert_int_equal(tri_admission_open(&own, "/nowhere.lua", NULL) == TRIAGE_OK, false);
    scratch_remove(folder);
}

/* A constraint that asks for the number of blocks, which the key has to two digits only: what is legal for some
 * number that the key may stand for is let in. */
static void counts_are_not_exact(void **state) {
    (void)state;
    tri_problem problem;
    tri_device_info info;
    tri_configs configs;
    int64_t fewest, most;
    const char *key = "bsr_gemm f16 f16 row row none nobias m=4096 n=16 k=4096 block=64x64 density=1000 "
                      "imbalance=10 overlap=1";
    must(tri_problem_parse(&problem, key));
    must(tri_device_parse(&info, H200));
    tri_fingerprint_blocks(&fewest, &most, &bsr_of(&problem)->fingerprint, 64 * 64);
    assert_true(fewest < bsr_of(&problem)->nnzb && bsr_of(&problem)->nnzb < most);
    bsr_of(&problem)->nnzb = most;
    must(tri_space_enumerate(&configs, space, &problem, &info));
    for (size_t i = 0; i < configs.count; i++) {
        char kernel[32];
        snprintf(kernel, sizeof kernel, "%.*s", (int)strcspn(configs.text[i], " "), configs.text[i]);
        tri_measurement row = good();
        row.problem = (char *)(uintptr_t)key;
        row.kernel = kernel;
        row.config = configs.text[i];
        must(tri_admission_check(gate, &row));
    }
    tri_configs_free(&configs);
}

/* A library's product is of no space; the same limits hold, and twice as many operations of 8-bit types. */
static void dense_products(void **state) {
    (void)state;
    char hash[TRI_HASH_SIZE];
    tri_dense_source_hash(hash, "cublas");
    tri_measurement row = good();
    row.problem = (char *)(uintptr_t) "dense_gemm f16 f16 row row m=8192 n=8192 k=8192";
    row.kernel = row.config = (char *)(uintptr_t) "cublas";
    row.source_hash = hash;
    row.min_ns = 700000; /* 1.1 TFLOP: 685 us at 1.5 times 1070 TFLOP/s */
    must(tri_admission_check(gate, &row));
    must(tri_admission_check_claims(&row));
    row.min_ns = 400000;
    expect_refused(gate, &row, "(arithmetic)");
    row.problem = (char *)(uintptr_t) "dense_gemm e4m3 bf16 col row m=8192 n=8192 k=8192";
    must(tri_admission_check(gate, &row));
    row.min_ns = 300000;
    expect_refused(gate, &row, "(arithmetic)");
    row.min_ns = 700000;
    row.source_hash = (char *)(uintptr_t) "of another call";
    expect_refused(gate, &row, "which is by cublas on this device");
    assert_int_equal(tri_admission_check_claims(&row), TRIAGE_E_DATA);
    row.source_hash = hash;
    row.device = (char *)(uintptr_t)HOST;
    expect_refused(gate, &row, "which is by openblas on this device");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_of_devices),        cmocka_unit_test(shipped_rows_pass),
        cmocka_unit_test(published_results_pass), cmocka_unit_test(impossible_times),
        cmocka_unit_test(times_of_a_host),        cmocka_unit_test(configurations),
        cmocka_unit_test(other_versions),         cmocka_unit_test(a_space_of_ones_own),
        cmocka_unit_test(counts_are_not_exact),   cmocka_unit_test(dense_products),
    };
    return cmocka_run_group_tests_name("admission", tests, open_all, close_all);
}
