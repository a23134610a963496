/* What other devices of the same architecture know, where this one's evidence has nothing. Nothing is compiled. */
#include "support/paper_store.h"

#include <math.h>

#include "evidence/sisters.h"
#include "evidence/explain.h"

#define H100 "cuda sm_90a sms=132 clock=1980000 memclock=2619000 bus=5120 l2=52428800 smem=232448"
#define H200 "cuda sm_90a sms=132 clock=1980000 memclock=3201000 bus=6016 l2=62914560 smem=232448"
#define A100 "cuda sm_80 sms=108 clock=1410000 memclock=1215000 bus=5120 l2=41943040 smem=166912"

/* This device's key but for its SMs. */
static const char *sister_with(int sms) {
    static char text[256];
    char *key = NULL;
    tri_device_info other = info;
    other.sm_count = sms;
    must(tri_device_key(&key, &other));
    snprintf(text, sizeof text, "%s", key);
    free(key);
    return text;
}

static const char *other_config(size_t i) {
    return configs.text[(configs.default_index + 1 + i) % 4];
}

static tri_found look_up(const tri_problem *problem, tri_store *own) {
    tri_found found;
    tri_sisters *sisters = NULL;
    must(tri_lookup(&found, own, space, problem, &info, NULL));
    must(tri_sisters_open(&sisters, own, &info, NULL, NULL));
    must(tri_sisters_look_up(&found, sisters, space, problem, &info, NULL));
    tri_sisters_close(sisters);
    return found;
}

static void the_same_problem_of_a_sister_is_the_nearest(void **state) {
    (void)state;
    tri_problem problem = problem_of(1024, 0.75);
    const char *device = sister_with(info.sm_count - 1);
    char *key = NULL;
    add_to(store, &problem, (claim){.config = other_config(0), .device = device, .median_ns = 1000});
    tri_found found = look_up(&problem, store);
    must(tri_problem_key(&key, &problem));
    assert_int_equal(found.source, TRIAGE_SOURCE_NEAREST);
    assert_string_equal(found.candidate.config, other_config(0));
    assert_string_equal(found.donor, key);
    assert_string_equal(found.device, device);
    assert_string_equal(found.device_name, "paper");
    assert_true(found.distance == 0 && found.median_ns == 1000 && found.expected_loss < 0);
    tri_found_free(&found);
    free(key);
}

static void a_near_problem_of_a_sister_serves_too(void **state) {
    (void)state;
    tri_problem asked = problem_of(1152, 0.75), near = problem_of(1024, 0.75);
    add_to(store, &near,
           (claim){.config = other_config(0), .device = sister_with(info.sm_count - 1), .median_ns = 1000});
    tri_found found = look_up(&asked, store);
    assert_int_equal(found.source, TRIAGE_SOURCE_NEAREST);
    assert_string_equal(found.candidate.config, other_config(0));
    assert_true(found.distance > 0 && found.expected_loss < 0);
    tri_found_free(&found);
}

static void the_most_similar_sister_comes_first(void **state) {
    (void)state;
    tri_problem problem = problem_of(1024, 0.75);
    add_to(store, &problem, (claim){.config = other_config(0), .device = sister_with(60), .median_ns = 10});
    add_to(store, &problem,
           (claim){.config = other_config(1), .device = sister_with(info.sm_count - 2), .median_ns = 1000});
    tri_found found = look_up(&problem, store);
    assert_string_equal(found.candidate.config, other_config(1));
    tri_found_free(&found);
}

static void outdated_rows_of_a_sister_are_passed_over(void **state) {
    (void)state;
    tri_problem problem = problem_of(1024, 0.75);
    add_to(store, &problem,
           (claim){.config = other_config(0),
                   .source_hash = OTHER_HASH,
                   .device = sister_with(info.sm_count - 1),
                   .median_ns = 10});
    add_to(store, &problem,
           (claim){.config = other_config(1), .device = sister_with(info.sm_count - 2), .median_ns = 1000});
    tri_found found = look_up(&problem, store);
    assert_string_equal(found.candidate.config, other_config(1));
    tri_found_free(&found);
}

static void this_device_comes_first(void **state) {
    (void)state;
    tri_problem problem = problem_of(1024, 0.75), far = problem_of(8192, 0.75);
    add_to(store, &problem,
           (claim){.config = other_config(0), .device = sister_with(info.sm_count - 1), .median_ns = 10});
    add_to(store, &far, (claim){.config = other_config(1), .median_ns = 1000});
    tri_found found = look_up(&problem, store);
    assert_int_equal(found.source, TRIAGE_SOURCE_NEAREST);
    assert_string_equal(found.candidate.config, other_config(1)); /* far, but measured here */
    assert_null(found.device);
    tri_found_free(&found);
}

/* Whatever serves comes from the shipped sisters then. */
static void another_architecture_does_not_count(void **state) {
    (void)state;
    tri_problem problem = problem_of(1024, 0.75);
    add_to(store, &problem, (claim){.config = other_config(0), .device = A100, .median_ns = 10});
    tri_found found = look_up(&problem, store);
    assert_true(!found.device || strcmp(found.device, A100) != 0);
    tri_found_free(&found);
}

static void a_cpu_has_no_sisters(void **state) {
    (void)state;
    tri_device_info host;
    tri_sisters *sisters = NULL;
    tri_problem problem = problem_of(1024, 0.75);
    must(tri_device_info_of_target(&host, "host"));
    host.sm_count++;
    must(tri_sisters_open(&sisters, store, &host, NULL, NULL));
    tri_found found = {.source = TRIAGE_SOURCE_DEFAULT};
    must(tri_sisters_look_up(&found, sisters, space, &problem, &host, NULL));
    assert_int_equal(found.source, TRIAGE_SOURCE_DEFAULT);
    tri_found_free(&found);
    tri_sisters_close(sisters);
}

/* A search here begins with what won there, on the same problem first. */
static void a_search_begins_with_a_sisters_winners(void **state) {
    (void)state;
    tri_problem problem = problem_of(1024, 0.75), near = problem_of(2048, 0.75);
    const char *device = sister_with(info.sm_count - 1);
    tri_sisters *sisters = NULL;
    tri_warm_start known = {0};
    add_to(store, &near, (claim){.config = other_config(2), .device = device, .median_ns = 500});
    add_to(store, &problem, (claim){.config = other_config(1), .device = device, .median_ns = 2000});
    add_to(store, &problem, (claim){.config = other_config(0), .device = device, .median_ns = 1000});
    must(tri_sisters_open(&sisters, store, &info, NULL, NULL));
    must(tri_sisters_warm_start(&known, sisters, &problem, &configs, 12, NULL));
    assert_int_equal(known.count, 3);
    assert_int_equal(known.donor_count, 2);
    assert_string_equal(known.configs[0], other_config(0));
    assert_string_equal(known.configs[1], other_config(2)); /* the donors take turns */
    assert_string_equal(known.configs[2], other_config(1));
    assert_true(known.donors[0].distance == 0);
    assert_string_equal(known.layer, "elsewhere");
    assert_string_equal(known.device_name, "paper");
    tri_warm_start_free(&known);
    tri_sisters_close(sisters);
}

/* Of the H100 only dense products are shipped: its kernels are the H200's, and explain says so. */
static void an_h100_has_what_the_h200_knows(void **state) {
    (void)state;
    tri_device_info h100;
    tri_sisters *sisters = NULL;
    tri_explanation e = {0};
    tri_problem problem = problem_of(8192, 0.9);
    must(tri_device_parse(&h100, H100));
    must(tri_sisters_open(&sisters, NULL, &h100, NULL, NULL));
    const tri_setting setting = {space, &h100, NULL};
    must(tri_explain(&e, NULL, NULL, sisters, NULL, &setting, &problem, 5));
    assert_int_equal(e.found.source, TRIAGE_SOURCE_NEAREST);
    assert_string_equal(e.layer, "elsewhere");
    assert_string_equal(e.found.device, H200);
    assert_string_equal(e.found.device_name, "NVIDIA H200");
    assert_int_equal(e.donors.count, 1);
    assert_int_equal(e.donors.items[0].role, TRI_ROLE_USED);
    assert_string_equal(e.donors.items[0].why, "measured on NVIDIA H200");
    assert_int_equal(e.losses.count, 0);
    tri_explanation_free(&e);
    tri_sisters_close(sisters);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_A_STORE(the_same_problem_of_a_sister_is_the_nearest),
        IN_A_STORE(a_near_problem_of_a_sister_serves_too),
        IN_A_STORE(the_most_similar_sister_comes_first),
        IN_A_STORE(outdated_rows_of_a_sister_are_passed_over),
        IN_A_STORE(this_device_comes_first),
        IN_A_STORE(another_architecture_does_not_count),
        IN_A_STORE(a_cpu_has_no_sisters),
        IN_A_STORE(a_search_begins_with_a_sisters_winners),
        cmocka_unit_test(an_h100_has_what_the_h200_knows),
    };
    return cmocka_run_group_tests(tests, open_space, close_space);
}
