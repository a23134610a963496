/* Which kernel is chosen: exact, nearest, default; and that outdated or foreign evidence is a miss. Nothing is
 * compiled: the device is a description. */
#include "support/bsr_of.h"
#include "support/paper_store.h"

#include <math.h>

#include "evidence/lookup.h"

static void add(const tri_problem *problem, claim said) {
    add_to(store, problem, said);
}

/* The i-th configuration that is legal for problem and is not the default. */
static const char *config_at(const tri_problem *problem, size_t i) {
    for (size_t c = 0; c < configs.count; c++) {
        tri_candidate candidate = {0};
        if (c == configs.default_index ||
            tri_space_candidate(&candidate, space, problem, &info, configs.text[c]) != TRIAGE_OK)
            continue;
        tri_candidate_free(&candidate);
        if (i-- == 0)
            return configs.text[c];
    }
    fail_msg("too few configurations");
    return NULL;
}

static tri_found look_up(const tri_problem *problem, tri_store *from) {
    tri_found found;
    triage_status status = tri_lookup(&found, from, space, problem, &info, NULL);
    if (status != TRIAGE_OK)
        fail_msg("%s", triage_last_error());
    return found;
}

static void expect_default(const tri_problem *problem, tri_store *from) {
    tri_found found = look_up(problem, from);
    assert_int_equal(found.source, TRIAGE_SOURCE_DEFAULT);
    assert_string_equal(found.candidate.config, configs.text[configs.default_index]);
    assert_string_equal(found.donor, "");
    assert_true(found.median_ns == 0 && found.distance == 0 && found.expected_loss < 0);
    assert_non_null(strstr(found.rendered.text, "triage_kernel"));
    tri_found_free(&found);
}

static void expect(const tri_problem *problem, triage_source source, const char *config) {
    tri_found found = look_up(problem, store);
    char today[TRI_HASH_SIZE], made[TRI_HASH_SIZE];
    assert_int_equal(found.source, source);
    assert_string_equal(found.candidate.config, config);
    hash_of(today, problem, config); /* what is returned is made for the asked problem */
    tri_source_hash(made, &found.rendered, info.target);
    assert_string_equal(made, today);
    tri_found_free(&found);
}

/* ---- default ---- */

static void default_without_a_store(void **state) {
    (void)state;
    tri_problem problem = problem_of(1024, 0.75);
    expect_default(&problem, NULL);
}

static void default_from_an_empty_store(void **state) {
    (void)state;
    tri_problem problem = problem_of(1024, 0.75);
    expect_default(&problem, store);
}

/* ---- exact ---- */

static void exact_is_the_fastest(void **state) {
    (void)state;
    tri_problem problem = problem_of(1024, 0.75);
    const char *slow = config_at(&problem, 0), *fast = config_at(&problem, 1);
    add(&problem, (claim){.config = slow, .median_ns = 2000});
    add(&problem, (claim){.config = fast, .median_ns = 1000});
    tri_found found = look_up(&problem, store);
    assert_int_equal(found.source, TRIAGE_SOURCE_EXACT);
    assert_string_equal(found.candidate.config, fast);
    assert_true(found.median_ns == 1000 && found.distance == 0 && found.expected_loss == 0);
    assert_string_equal(found.donor, "");
    tri_found_free(&found);
}

static void exact_passes_over_changed_text(void **state) {
    (void)state;
    tri_problem problem = problem_of(1024, 0.75);
    const char *changed = config_at(&problem, 0), *current = config_at(&problem, 1);
    add(&problem, (claim){.config = changed, .source_hash = OTHER_HASH, .median_ns = 10});
    add(&problem, (claim){.config = "nosuch axis=1",
                          .source_hash = "1123456789abcdef0123456789abcdef",
                          .median_ns = 20});
    add(&problem, (claim){.config = current, .median_ns = 1000});
    expect(&problem, TRIAGE_SOURCE_EXACT, current);
}

static void changed_text_alone_is_a_miss(void **state) {
    (void)state;
    tri_problem problem = problem_of(1024, 0.75), other = problem_of(2048, 0.75);
    const char *config = config_at(&problem, 0);
    add(&problem, (claim){.config = config, .source_hash = OTHER_HASH, .median_ns = 10});
    expect_default(&problem, store);
    add(&other,
        (claim){.config = config, .source_hash = "2123456789abcdef0123456789abcdef", .median_ns = 10});
    expect_default(&problem, store);
}

static void failures_are_no_winners(void **state) {
    (void)state;
    tri_problem problem = problem_of(1024, 0.75);
    const tri_outcome outcomes[] = {TRI_NOT_COMPILED, TRI_WRONG, TRI_CRASHED, TRI_TIMED_OUT};
    for (size_t i = 0; i < sizeof outcomes / sizeof *outcomes; i++)
        add(&problem, (claim){.config = config_at(&problem, 0), .outcome = outcomes[i]});
    expect_default(&problem, store);
}

static void other_devices_do_not_count(void **state) {
    (void)state;
    tri_problem problem = problem_of(1024, 0.75);
    tri_device_info other = info;
    char *device = NULL;
    other.sm_count--;
    assert_int_equal(tri_device_key(&device, &other), TRIAGE_OK);
    add(&problem, (claim){.config = config_at(&problem, 0), .device = device, .median_ns = 10});
    free(device);
    expect_default(&problem, store);
}

/* ---- nearest ---- */

static void nearest_is_the_least_distance(void **state) {
    (void)state;
    tri_problem near = problem_of(1024, 0.75), far = problem_of(8192, 0.75), asked = problem_of(1152, 0.75);
    const char *near_config = config_at(&asked, 0), *far_config = config_at(&asked, 1);
    add(&far, (claim){.config = far_config, .median_ns = 500});
    add(&near, (claim){.config = near_config, .median_ns = 1000});
    tri_found found = look_up(&asked, store);
    char *key = NULL;
    assert_int_equal(tri_problem_key(&key, &near), TRIAGE_OK);
    assert_int_equal(found.source, TRIAGE_SOURCE_NEAREST);
    assert_string_equal(found.candidate.config, near_config);
    assert_string_equal(found.donor, key);
    assert_true(found.distance > 0 && found.distance < tri_problem_distance(&asked, &far));
    assert_true(found.median_ns == 1000);
    free(key);
    tri_found_free(&found);
    expect(&asked, TRIAGE_SOURCE_NEAREST, near_config);
}

static void nearest_passes_over_changed_text(void **state) {
    (void)state;
    tri_problem near = problem_of(1024, 0.75), far = problem_of(8192, 0.75), asked = problem_of(1152, 0.75);
    add(&near, (claim){.config = config_at(&asked, 0), .source_hash = OTHER_HASH, .median_ns = 10});
    add(&far, (claim){.config = config_at(&asked, 1), .median_ns = 500});
    expect(&asked, TRIAGE_SOURCE_NEAREST, config_at(&asked, 1));
}

/* A layer's epilogue is no reason for a miss, nor is its layout, which is as far as a factor of two. */
static void kin_are_donors(void **state) {
    (void)state;
    tri_problem asked = problem_of(1024, 0.75), layout = asked, epilogue = problem_of(2048, 0.75);
    bsr_of(&asked)->activation = TRIAGE_ACT_SILU;
    bsr_of(&asked)->bias = true;
    bsr_of(&layout)->b_layout = bsr_of(&layout)->c_layout = TRIAGE_COL_MAJOR;
    add(&layout, (claim){.config = config_at(&asked, 1), .median_ns = 100});
    expect(&asked, TRIAGE_SOURCE_NEAREST, config_at(&asked, 1));
    tri_found found = look_up(&asked, store);
    assert_true(fabs(found.distance - sqrt(1.02)) < 1e-9);
    assert_non_null(strstr(found.donor, "col col none nobias"));
    tri_found_free(&found);
    bsr_of(&epilogue)->m = 1024;
    add(&epilogue, (claim){.config = config_at(&asked, 0), .median_ns = 100});
    expect(&asked, TRIAGE_SOURCE_NEAREST, config_at(&asked, 1)); /* twice K and N are farther */
    epilogue = asked;
    bsr_of(&epilogue)->activation = TRIAGE_ACT_NONE;
    add(&epilogue, (claim){.config = config_at(&asked, 0), .median_ns = 100});
    expect(&asked, TRIAGE_SOURCE_NEAREST, config_at(&asked, 0));
}

static void other_kinds_are_no_donors(void **state) {
    (void)state;
    tri_problem asked = problem_of(1024, 0.75);
    for (int i = 0; i < 2; i++) {
        tri_problem other = problem_of(2048, 0.75);
        if (i == 0)
            bsr_of(&other)->in_type = bsr_of(&other)->out_type = TRIAGE_BF16;
        if (i == 1)
            bsr_of(&other)->block_m = bsr_of(&other)->block_k = 32, bsr_of(&other)->nnzb *= 4;
        tri_configs legal = {0};
        assert_int_equal(tri_space_enumerate(&legal, space, &other, &info), TRIAGE_OK);
        for (size_t c = 0; c < legal.count;
             c++) /* whatever could tempt: the asked problem may run some of them */
            add(&other, (claim){.config = legal.text[c], .median_ns = 10 + (double)c});
        bool tempting = false;
        for (size_t c = 0; c < legal.count && !tempting; c++) {
            tri_candidate candidate = {0};
            tempting = tri_space_candidate(&candidate, space, &asked, &info, legal.text[c]) == TRIAGE_OK;
            tri_candidate_free(&candidate);
            if (tempting)
                add(&other, (claim){.config = legal.text[c], .median_ns = 1}); /* the winner there */
        }
        assert_true(tempting);
        tri_configs_free(&legal);
    }
    expect_default(&asked, store);
}

/* Leaving one out: 1024 served by 2048's winner loses 1 - 100/125, 2048 by 1024's 1 - 100/200. */
static void nearest_estimates_its_loss(void **state) {
    (void)state;
    tri_problem a = problem_of(1024, 0.75), b = problem_of(2048, 0.75), asked = problem_of(1536, 0.75);
    const char *one = config_at(&asked, 0), *two = config_at(&asked, 1);
    add(&a, (claim){.config = one, .median_ns = 100});
    add(&a, (claim){.config = two, .median_ns = 125});
    tri_found found = look_up(&asked, store);
    assert_true(found.expected_loss < 0); /* one tuned problem tells nothing */
    tri_found_free(&found);
    add(&b, (claim){.config = two, .median_ns = 100});
    add(&b, (claim){.config = one, .median_ns = 200});
    found = look_up(&asked, store);
    assert_float_equal(found.expected_loss, 0.35, 1e-6);
    tri_found_free(&found);
}

/* What was never timed on the problem that is left out is unknown, not free: with most unknown, so is the mean. */
static void nearest_does_not_guess_its_loss(void **state) {
    (void)state;
    tri_problem asked = problem_of(1536, 0.75);
    const char *one = config_at(&asked, 0), *two = config_at(&asked, 1), *three = config_at(&asked, 2);
    const int64_t sizes[] = {1024, 2048, 4096};
    const char *const winners[] = {one, two, three};
    for (size_t i = 0; i < 3; i++) {
        tri_problem tuned = problem_of(sizes[i], 0.75);
        add(&tuned, (claim){.config = winners[i], .median_ns = 100});
        if (i == 0)
            add(&tuned, (claim){.config = two, .median_ns = 101});
    }
    tri_found found = look_up(&asked, store);
    assert_int_equal(found.source, TRIAGE_SOURCE_NEAREST);
    assert_true(found.expected_loss < 0); /* one of three could be judged, at 1 % */
    tri_found_free(&found);
}

/* Among many problems of all sizes and densities: what is found is what looking at every one of them finds. */
static void nearest_of_many_is_the_nearest(void **state) {
    (void)state;
    enum { MANY = 120, ASKED = 24 };
    static tri_problem stored[MANY];
    tri_random random;
    tri_random_seed(&random, 3);
    const tri_problem example = problem_of(2048, 0.75);
    const char *config = config_at(&example, 0);
    for (int i = 0; i < MANY + ASKED; i++) {
        tri_problem made = example;
        bsr_of(&made)->m = 64 * (16 + (int64_t)tri_random_below(&random, 3) * 16);
        bsr_of(&made)->n = bsr_of(&made)->ldb = bsr_of(&made)->ldc =
            1088 + 128 * (int64_t)tri_random_below(&random, i % 2 ? 4 : 60);
        bsr_of(&made)->k = 64 * (16 + (int64_t)tri_random_below(&random, 3) * 16);
        bsr_of(&made)->fingerprint.density_e4 = 500 * (1 + (int32_t)tri_random_below(&random, 8));
        char *key = NULL, *wanted = NULL;
        double least = INFINITY;
        assert_int_equal(tri_problem_key(&key, &made), TRIAGE_OK);
        assert_int_equal(tri_problem_parse(&made, key),
                         TRIAGE_OK); /* with the count that goes with the density */
        if (i < MANY) {
            stored[i] = made;
            add(&made, (claim){.config = config, .median_ns = 1000});
        }
        for (int j = 0; j < MANY && i >= MANY; j++) {
            char *other = NULL;
            const double distance = tri_problem_distance(&made, &stored[j]);
            assert_int_equal(tri_problem_key(&other, &stored[j]), TRIAGE_OK);
            if (distance < least || (distance == least && strcmp(other, wanted) < 0)) {
                least = distance;
                free(wanted);
                wanted = other;
                other = NULL;
            }
            free(other);
        }
        if (i >= MANY && least > 0) {
            tri_found found = look_up(&made, store);
            assert_int_equal(found.source, TRIAGE_SOURCE_NEAREST);
            assert_true(found.distance == least);
            assert_string_equal(found.donor, wanted);
            tri_found_free(&found);
        }
        free(wanted);
        free(key);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(default_without_a_store),
        IN_A_STORE(default_from_an_empty_store),
        IN_A_STORE(exact_is_the_fastest),
        IN_A_STORE(exact_passes_over_changed_text),
        IN_A_STORE(changed_text_alone_is_a_miss),
        IN_A_STORE(failures_are_no_winners),
        IN_A_STORE(other_devices_do_not_count),
        IN_A_STORE(nearest_is_the_least_distance),
        IN_A_STORE(nearest_passes_over_changed_text),
        IN_A_STORE(kin_are_donors),
        IN_A_STORE(other_kinds_are_no_donors),
        IN_A_STORE(nearest_of_many_is_the_nearest),
        IN_A_STORE(nearest_estimates_its_loss),
        IN_A_STORE(nearest_does_not_guess_its_loss),
    };
    return cmocka_run_group_tests(tests, open_space, close_space);
}
