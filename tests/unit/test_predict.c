/* Predictions: what they learn, that their work has a limit, and when a lookup takes them. Times are counted, not taken. */
#include "support/paper_store.h"
#include "support/scratch.h"

#include <math.h>

#include "evidence/lookup.h"
#include "evidence/teach.h"
#include "evidence/warm_start.h"

/* Work that is below a millisecond on the machines at hand: multiply-adds (docs/search.md has the time). */
#define WORK_MOST 2e6

static tri_predictor *taught(tri_store *own, const tri_device_info *device) {
    tri_predictor *predictor = NULL;
    must(tri_predictor_open(&predictor, &(tri_teaching){.op = &tri_op_bsr_gemm, .info = device, .own = own}));
    return predictor;
}

/* An H200, which times are shipped of. */
static tri_device_info h200(void) {
    tri_device_info device;
    must(tri_device_parse(&device, "cuda sm_90a sms=132 clock=1980000 memclock=3201000 bus=6016 l2=62914560 "
                                   "smem=232448"));
    return device;
}

static tri_problem parse(const char *key) {
    tri_problem problem;
    must(tri_problem_parse(&problem, key));
    return problem;
}

/* ---- what is learnt ---- */

static const char *key_at(char *out, size_t size, int i) {
    snprintf(
        out, size,
        "bsr_gemm f16 f16 row row none nobias m=%d n=%d k=%d block=64x64 density=%d imbalance=10 overlap=1",
        1024 + 64 * (i % 37), 512 + 8 * (i % 101), 2048 + 64 * (i % 13), 1000 + 100 * (i % 7));
    return out;
}

enum { CONFIGS_LEARNT = 20 };

/* Times of a chip that is as the guess says, but for one configuration that takes a third. */
static tri_predictor *learnt_by(const char *fast, int problems, const char *path) {
    tri_predictor *predictor = NULL;
    char key[256];
    must(tri_predictor_new(&predictor, &tri_op_bsr_gemm));
    for (int i = 0; i < problems; i++) {
        const tri_problem problem = parse(key_at(key, sizeof key, i));
        for (size_t c = 0; c < CONFIGS_LEARNT; c++) {
            tri_cost cost;
            if (!tri_op_bsr_gemm.cost(&cost, &problem, configs.text[c], &info))
                continue;
            const double share = strcmp(configs.text[c], fast) == 0 ? 0.33 : 1;
            must(tri_predictor_add(predictor, key, configs.text[c], cost.guess_ns * share, &info));
        }
    }
    must(tri_predictor_fit(predictor, path));
    return predictor;
}

static tri_predictor *learnt(const char *fast, int problems) {
    return learnt_by(fast, problems, NULL);
}

static void what_is_faster_than_the_guess_is_learnt(void **state) {
    (void)state;
    char key[256];
    const size_t at = CONFIGS_LEARNT / 2;
    tri_predictor *predictor = learnt(configs.text[at], 12);
    const tri_problem asked = parse(key_at(key, sizeof key, 20));
    tri_predictions made;
    must(tri_predict(&made, predictor, &asked, &info, &configs, false));
    assert_true(made.count > 1);
    assert_int_equal(made.items[0].point, at);
    assert_true(fabs(made.items[0].ns / (0.33 * made.items[0].cost.guess_ns) - 1) < 0.15);
    assert_true(made.items[0].spread > 0 && made.items[0].expected_loss < made.items[0].spread);
    tri_predictor_free(predictor);
}

/* A tune saves next to nothing over what nothing else can beat, over the next one what that is behind, and more where nobody
 * knows which of many is the best. */
static void a_loss_is_expected_by_what_else_may_be_faster(void **state) {
    (void)state;
    char key[256];
    const tri_problem asked = parse(key_at(key, sizeof key, 20));
    tri_predictor *clear = learnt(configs.text[CONFIGS_LEARNT / 2], 12), *open = learnt("none", 12);
    tri_predictions of_clear, of_open;
    must(tri_predict(&of_clear, clear, &asked, &info, &configs, false));
    must(tri_predict(&of_open, open, &asked, &info, &configs, false));
    assert_true(of_clear.items[0].expected_loss < 0.005);
    const double behind = 1 - of_clear.items[0].ns / of_clear.items[1].ns;
    assert_true(behind > 0.1 && fabs(of_clear.items[1].expected_loss - behind) < 0.01);
    assert_true(of_open.items[0].expected_loss > 2 * of_clear.items[0].expected_loss);
    for (size_t i = 1; i < of_open.count; i++)
        assert_true(of_open.items[i].expected_loss >= 0 && of_open.items[i].expected_loss < 1);
    tri_predictor_free(clear);
    tri_predictor_free(open);
}

static double guess_of(const char *key, const char *config) {
    const tri_problem problem = parse(key);
    const tri_device_info device = h200();
    tri_cost cost;
    assert_true(tri_op_bsr_gemm.cost(&cost, &problem, config, &device));
    return cost.guess_ns;
}

#define PANEL "panel warps=16 tile_n=64 group=16 stages=5 ahead=4 cluster=1 gather=0 order="
#define STRIP "strip tile_m=64 tile_n=256 warps_m=4 warps_n=1 wgmma=1 group=1 stages=5 ctas_per_sm=1 order="

/* 160 panels leave most of 132 workers idle for their second half: cut, they end sooner. Even rows that are not cut
 * gain nothing by being dealt, uneven ones do. */
static void a_deal_is_guessed_by_how_it_ends(void **state) {
    (void)state;
    const char *few = "bsr_gemm f16 f16 row row none nobias m=5120 n=1000 k=13824 block=16x16 density=2000 "
                      "imbalance=10 overlap=2";
    const char *even = "bsr_gemm f16 f16 row row none nobias m=9216 n=512 k=4096 block=64x64 density=1000 "
                       "imbalance=10 overlap=1";
    const char *uneven = "bsr_gemm f16 f16 row row none nobias m=9216 n=512 k=4096 block=64x64 density=1000 "
                         "imbalance=28 overlap=1";
    assert_true(guess_of(few, PANEL "1") < 0.95 * guess_of(few, PANEL "0"));
    assert_true(guess_of(even, STRIP "1") == guess_of(even, STRIP "0"));
    assert_true(guess_of(uneven, STRIP "1") < guess_of(uneven, STRIP "0"));
}

static void a_few_problems_say_nothing(void **state) {
    (void)state;
    char key[256];
    tri_predictor *predictor = learnt(configs.text[0], 7);
    const tri_problem asked = parse(key_at(key, sizeof key, 20));
    tri_predictions made;
    assert_false(tri_predictor_speaks(predictor));
    must(tri_predict(&made, predictor, &asked, &info, &configs, false));
    assert_int_equal(made.count, 0);
    tri_predictor_free(predictor);
}

static void nonsense_is_left_out(void **state) {
    (void)state;
    char key[256];
    tri_predictor *predictor = NULL;
    tri_predictor_facts facts;
    const tri_device_info host = {.backend = "host", .target = "x86_64-avx2", .sm_count = 4};
    must(tri_predictor_new(&predictor, &tri_op_bsr_gemm));
    key_at(key, sizeof key, 0);
    must(tri_predictor_add(predictor, "bsr_gemm what", configs.text[0], 1000, &info));
    must(tri_predictor_add(predictor, "other m=1", configs.text[0], 1000, &info));
    must(tri_predictor_add(predictor, key, configs.text[0], 0, &info));
    must(tri_predictor_add(predictor, key, configs.text[0], NAN, &info));
    must(tri_predictor_add(predictor, key, configs.text[0], INFINITY, &info));
    must(tri_predictor_add(predictor, key, "wgmma tile_n=0", 1000, &info));
    must(tri_predictor_add(predictor, key, configs.text[0], 1000, &host));
    must(tri_predictor_add(predictor, key, configs.text[0], 1000, &info));
    must(tri_predictor_add(predictor, key, configs.text[0], 2000, &info)); /* again */
    must(tri_predictor_fit(predictor, NULL));
    tri_predictor_describe(&facts, predictor);
    assert_int_equal(facts.samples, 1);
    assert_int_equal(facts.problems, 1);
    tri_predictor_free(predictor);
}

/* ---- on disk ---- */

static void assert_same(const tri_predictor *a, const tri_predictor *b) {
    char key[256];
    tri_predictions from_a, from_b;
    const tri_problem asked = parse(key_at(key, sizeof key, 20));
    must(tri_predict(&from_a, a, &asked, &info, &configs, false));
    must(tri_predict(&from_b, b, &asked, &info, &configs, false));
    assert_true(from_a.count > 0 && from_a.count == from_b.count);
    for (size_t i = 0; i < from_a.count; i++) {
        assert_int_equal(from_a.items[i].point, from_b.items[i].point);
        assert_true(from_a.items[i].ns == from_b.items[i].ns &&
                    from_a.items[i].spread == from_b.items[i].spread);
    }
}

static int64_t work_of(const tri_predictor *predictor) {
    tri_predictor_facts facts;
    tri_predictor_describe(&facts, predictor);
    return facts.fit_work;
}

/* Made once, read by the next, made again when evidence grows or the file is damaged in any place that is tried. */
static void a_fit_is_kept(void **state) {
    (void)state;
    char folder[64], *text = NULL;
    size_t size = 0;
    scratch_make(folder);
    const char *path = scratch_path(folder, "sub/f.fit");
    tri_predictor *first = learnt_by(configs.text[0], 12, path),
                  *second = learnt_by(configs.text[0], 12, path);
    assert_true(work_of(first) > 0 && work_of(second) == 0);
    assert_same(first, second);
    tri_predictor *grown = learnt_by(configs.text[0], 13, path),
                  *again = learnt_by(configs.text[0], 13, path);
    assert_true(work_of(grown) > 0 && work_of(again) == 0);
    must(tri_file_read(&text, &size, path, 0));
    for (size_t i = 0; i <= 8; i++) {
        const size_t at = i < 8 ? i * (size - 1) / 7 : size; /* the last: half of the file */
        if (i < 8)
            text[at] ^= 1;
        must(tri_file_write_atomic(path, text, i < 8 ? size : size / 2, 0600));
        tri_predictor *anew = learnt_by(configs.text[0], 13, path);
        assert_true(work_of(anew) > 0);
        assert_same(anew, grown);
        tri_predictor_free(anew);
        if (i < 8)
            text[at] ^= 1;
    }
    assert_int_equal(scratch_count(scratch_path(folder, "sub")), 1);
    tri_predictor *nowhere = learnt_by(configs.text[0], 12, "/proc/nothing/f.fit");
    assert_same(nowhere, first);
    tri_predictor_free(nowhere);
    tri_predictor_free(first);
    tri_predictor_free(second);
    tri_predictor_free(grown);
    tri_predictor_free(again);
    free(text);
    scratch_remove(folder);
}

/* ---- a search ---- */

/* Begins with the likely best, each once and not the default, before what was known; all times are expected. */
static void a_search_begins_with_it(void **state) {
    (void)state;
    char key[256];
    const size_t fast = CONFIGS_LEARNT / 2;
    tri_predictor *predictor = learnt(configs.text[fast], 12);
    const tri_problem asked = parse(key_at(key, sizeof key, 20));
    for (size_t most = 1; most <= TRI_WARM_START_MOST; most++) {
        tri_warm_start start = {0};
        for (size_t i = 0; i < 5 && i < most; i++) { /* known: the fast one last */
            start.points[i] = i == 4 ? fast : configs.count - 1 - i;
            must(tri_strdup(&start.configs[i], configs.text[start.points[i]]));
            start.count++;
        }
        must(tri_warm_start_predict(&start, predictor, &asked, &info, &configs, most));
        assert_true(start.count <= most && start.predicted >= 1 && start.predicted <= start.count);
        assert_int_equal(start.points[0], fast);
        assert_true(start.prior_count >= CONFIGS_LEARNT / 2);
        for (size_t i = 0; i < start.count; i++) {
            assert_string_equal(start.configs[i], configs.text[start.points[i]]);
            assert_int_not_equal(start.points[i], configs.default_index);
            for (size_t j = 0; j < i; j++)
                assert_int_not_equal(start.points[i], start.points[j]);
        }
        tri_warm_start_free(&start);
    }
    tri_predictor_free(predictor);
}

/* ---- limits ---- */

/* 20,000 rows of made-up kernels and problems: as much is learnt as of honest ones, and no more. */
static void the_work_has_a_limit(void **state) {
    (void)state;
    tri_predictor *predictor = NULL;
    tri_predictor_facts facts;
    char key[256], config[128];
    must(tri_predictor_new(&predictor, &tri_op_bsr_gemm));
    for (int i = 0; i < 20000; i++) {
        snprintf(config, sizeof config, "kernel%d tile_n=%d stages=%d", i % 40, 64 + i % 200, 1 + i % 8);
        must(tri_predictor_add(predictor, key_at(key, sizeof key, i), config, 1e-3 + 1e12 * (i % 2), &info));
    }
    must(tri_predictor_fit(predictor, NULL));
    tri_predictor_describe(&facts, predictor);
    assert_true(facts.samples <= TRI_PREDICTOR_SAMPLES && facts.kernels <= TRI_PREDICTOR_KERNELS);
    assert_true((double)facts.fit_work < 2e9);
    tri_predictor_free(predictor);
}

/* ---- what is shipped ---- */

static const char *const shapes[] = {
    "bsr_gemm f16 f16 col col none nobias m=3664 n=64 k=4512 block=16x16 density=500 imbalance=10 overlap=1",
    "bsr_gemm f16 f16 row row none nobias m=1504 n=384 k=15584 block=16x16 density=3000 imbalance=10 "
    "overlap=3",
    "bsr_gemm bf16 bf16 col col silu bias m=5120 n=64 k=13824 block=128x128 density=2000 imbalance=10 "
    "overlap=2",
    "bsr_gemm f16 f16 row row none nobias m=6144 n=6000 k=4096 block=64x64 density=500 imbalance=14 "
    "overlap=0"};

/* Every answer is legal, its work is small, and an epilogue or another type is no reason for none. */
static void shipped_times_answer(void **state) {
    (void)state;
    const tri_device_info device = h200();
    tri_predictor *predictor = taught(NULL, &device);
    assert_non_null(predictor);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const tri_problem problem = parse(shapes[i]);
        tri_found found;
        tri_configs legal;
        tri_predictions made;
        must(tri_space_enumerate(&legal, space, &problem, &device));
        must(tri_predict(&made, predictor, &problem, &device, &legal, false));
        assert_true(made.count > 0 && (double)made.work < WORK_MOST);
        must(tri_lookup(&found, NULL, space, &problem, &device, NULL));
        must(tri_lookup_predicted(&found, predictor, NULL, space, &problem, &device, NULL, false));
        assert_int_equal(found.source, TRIAGE_SOURCE_PREDICTED);
        assert_string_equal(found.candidate.config, legal.text[made.items[0].point]);
        assert_true(found.expected_loss >= 0 && found.expected_loss <= 1 && found.median_ns > 1000);
        assert_non_null(strstr(found.rendered.text, "triage_kernel"));
        assert_null(found.rivals[0]); /* nobody asked */
        tri_found_free(&found);
        tri_configs_free(&legal);
    }
    tri_predictor_free(predictor);
}

/* Who is to race the likeliest: others, and not only its next of kin, which are wrong where it is wrong. */
static void rivals_are_others(void **state) {
    (void)state;
    const tri_device_info device = h200();
    tri_predictor *predictor = taught(NULL, &device);
    size_t of_another_kernel = 0;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const tri_problem problem = parse(shapes[i]);
        tri_found found;
        must(tri_lookup(&found, NULL, space, &problem, &device, NULL));
        must(tri_lookup_predicted(&found, predictor, NULL, space, &problem, &device, NULL, true));
        const char *first = found.candidate.config;
        assert_non_null(found.rivals[1]);
        assert_string_not_equal(found.rivals[0], found.rivals[1]);
        for (size_t r = 0; r < TRI_RIVALS; r++) {
            assert_string_not_equal(found.rivals[r], first);
            assert_true(found.rival_ns[r] > 1000);
            of_another_kernel += strncmp(found.rivals[r], first, strcspn(first, " ")) != 0;
        }
        tri_found_free(&found);
    }
    assert_true(of_another_kernel > 0);
    tri_predictor_free(predictor);
}

/* A sister of the H200 has no times of its own: the H200's speak, by the sister's rates. */
static void a_sister_is_answered(void **state) {
    (void)state;
    tri_device_info sister = h200();
    sister.memory_clock_khz /= 2;
    const tri_device_info device = h200();
    tri_predictor *here = taught(NULL, &device), *there = taught(NULL, &sister);
    const tri_problem problem = parse(shapes[3]);
    tri_predictions fast, slow;
    tri_configs legal;
    assert_non_null(there);
    must(tri_space_enumerate(&legal, space, &problem, &device));
    must(tri_predict(&fast, here, &problem, &device, &legal, false));
    must(tri_predict(&slow, there, &problem, &sister, &legal, false));
    assert_true(slow.count > 0 && slow.items[0].ns > fast.items[0].ns);
    tri_configs_free(&legal);
    tri_predictor_free(here);
    tri_predictor_free(there);
}

/* Another architecture is answered by the same times, at its own rates, and says that this costs more; a CPU is not. */
static void another_architecture_costs_more(void **state) {
    (void)state;
    tri_device_info other;
    tri_configs legal;
    tri_predictions made;
    const tri_problem problem = parse(shapes[3]);
    must(tri_device_info_of_target(&other, "sm_80"));
    tri_predictor *predictor = taught(NULL, &other);
    assert_non_null(predictor);
    must(tri_space_enumerate(&legal, space, &problem, &other));
    must(tri_predict(&made, predictor, &problem, &other, &legal, false));
    assert_true(made.count > 0 && made.items[0].expected_loss >= 0.09);
    tri_configs_free(&legal);
    tri_predictor_free(predictor);
    must(tri_device_info_of_target(&other, "host"));
    assert_null(taught(NULL, &other));
}

/* ---- damage ---- */

static void note(void *user, triage_log_level level, const char *line) {
    (void)level;
    must(tri_text_format(user, "%s\n", line));
}

static void expect_refused(const char *text, const char *what) {
    char folder[64];
    tri_text said = TRI_TEXT_INIT;
    const tri_log log = {note, &said};
    const tri_device_info device = h200();
    tri_predictor *predictor = NULL;
    scratch_make(folder);
    must(tri_make_dirs(scratch_path(folder, "db/pretuned")));
    scratch_write(folder, "db/pretuned/nvidia-h200.times", text, 0600);
    must(tri_predictor_open(
        &predictor,
        &(tri_teaching){.op = &tri_op_bsr_gemm, .info = &device, .data_dir = folder, .log = &log}));
    assert_null(predictor);
    if (!said.data || !strstr(said.data, what))
        fail_msg("said %s, not %s", said.data ? said.data : "nothing", what);
    tri_text_free(&said);
    scratch_remove(folder);
}

static void damaged_files_are_named(void **state) {
    (void)state;
    expect_refused("triage times 2\n", "line 1: not \"triage times 1\"");
    expect_refused("triage times 1\nproblem x\n0 12\n", "line 3: not the number of a configuration above");
    expect_refused("triage times 1\nconfig a b=1\n0 12\n", "line 3: a time before any problem");
    expect_refused("triage times 1\nconfig a b=1\nproblem x\n0 -12\n", "line 4: not a time");
    expect_refused("triage times 1\nconfig a b=1\nproblem x\n99999999999999999999 12\n",
                   "line 4: not the number");
    expect_refused("triage times 1\nnonsense\n", "line 2: not the number of a configuration above");
}

/* ---- what a lookup takes ---- */

static void a_measurement_comes_first(void **state) {
    (void)state;
    const tri_problem problem = problem_of(1024, 0.75);
    tri_predictor *predictor = learnt(configs.text[3], 12);
    tri_found found;
    add_to(store, &problem,
           (claim){.config = configs.text[0], .median_ns = 1e9}); /* slow, but it is measured */
    must(tri_lookup(&found, store, space, &problem, &info, NULL));
    must(tri_lookup_predicted(&found, predictor, store, space, &problem, &info, NULL, false));
    assert_int_equal(found.source, TRIAGE_SOURCE_EXACT);
    assert_string_equal(found.candidate.config, configs.text[0]);
    tri_found_free(&found);
    tri_predictor_free(predictor);
}

static char *predicted(tri_predictor *predictor, const tri_problem *problem) {
    tri_found found;
    char *config = NULL;
    must(tri_lookup(&found, store, space, problem, &info, NULL));
    must(tri_lookup_predicted(&found, predictor, store, space, problem, &info, NULL, false));
    assert_int_equal(found.source, TRIAGE_SOURCE_PREDICTED);
    must(tri_strdup(&config, found.candidate.config));
    tri_found_free(&found);
    return config;
}

static void what_failed_here_is_not_taken(void **state) {
    (void)state;
    const tri_problem problem = problem_of(1024, 0.75);
    tri_predictor *predictor = learnt(configs.text[3], 12);
    char *first = predicted(predictor, &problem);
    add_to(store, &problem, (claim){.config = first, .outcome = TRI_WRONG});
    char *second = predicted(predictor, &problem);
    assert_string_not_equal(first, second);
    free(first);
    free(second);
    tri_predictor_free(predictor);
}

/* One's own rows teach; a predictor of them answers for a device that nothing is shipped of. */
static void own_rows_teach(void **state) {
    (void)state;
    char key[256];
    tri_device_info other = info;
    assert_null(taught(store, &(tri_device_info){.backend = "host", .target = "x86_64-avx2"}));
    for (int i = 0; i < 10; i++) {
        const tri_problem problem = parse(key_at(key, sizeof key, i));
        for (size_t c = 0; c < 12; c++)
            add_to(store, &problem,
                   (claim){.config = configs.text[c],
                           .source_hash = OTHER_HASH,
                           .median_ns = 5000 + 10.0 * (double)c});
    }
    tri_predictor *predictor = taught(store, &other);
    tri_predictor_facts facts;
    assert_non_null(predictor);
    tri_predictor_describe(&facts, predictor);
    assert_int_equal(facts.problems, 10);
    assert_int_equal(facts.samples, 120);
    tri_predictor_free(predictor);
}

static void axes_are_read_by_their_whole_name(void **state) {
    (void)state;
    tri_config_axes axes;
    tri_config_axes_read(&axes, "skinny stages_b=2 stages=4 schedule=static none run=0");
    assert_true(axes.count == 3);
    assert_true(tri_config_axis(&axes, "stages", -1) == 4);
    assert_true(tri_config_axis(&axes, "stages_b", -1) == 2);
    assert_true(tri_config_axis(&axes, "run", -1) == 0);
    assert_true(tri_config_axis(&axes, "schedule", -1) == -1);
    assert_true(tri_config_axis(&axes, "stage", -1) == -1);
    tri_config_axes_read(&axes, "plain");
    assert_true(axes.count == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(axes_are_read_by_their_whole_name),
        cmocka_unit_test(what_is_faster_than_the_guess_is_learnt),
        cmocka_unit_test(a_loss_is_expected_by_what_else_may_be_faster),
        cmocka_unit_test(a_deal_is_guessed_by_how_it_ends),
        cmocka_unit_test(a_few_problems_say_nothing),
        cmocka_unit_test(nonsense_is_left_out),
        cmocka_unit_test(a_fit_is_kept),
        cmocka_unit_test(a_search_begins_with_it),
        cmocka_unit_test(the_work_has_a_limit),
        cmocka_unit_test(shipped_times_answer),
        cmocka_unit_test(rivals_are_others),
        cmocka_unit_test(a_sister_is_answered),
        cmocka_unit_test(another_architecture_costs_more),
        cmocka_unit_test(damaged_files_are_named),
        IN_A_STORE(a_measurement_comes_first),
        IN_A_STORE(what_failed_here_is_not_taken),
        IN_A_STORE(own_rows_teach),
    };
    return cmocka_run_group_tests(tests, open_space, close_space);
}
