/* The one search for donors: which are found, how far they are, in what order, and that a limit leaves out the farthest. */
#include "support/bsr_of.h"
#include "support/paper_world.h"

#include <math.h>

#include "evidence/donors.h"

static tri_store *store;
static char *device;

static int open_store(void **state) {
    (void)state;
    must(tri_store_open_memory(&store));
    must(tri_device_key(&device, &info));
    return 0;
}

static int close_store(void **state) {
    (void)state;
    tri_store_close(store);
    free(device);
    return 0;
}

static void add(const tri_problem *problem) {
    add_to(store, problem, (claim){.config = configs.text[0], .source_hash = OTHER_HASH, .median_ns = 100});
}

static char *key_of(const tri_problem *problem) {
    char *key = NULL;
    must(tri_problem_key(&key, problem));
    return key;
}

static void expect_item(const tri_donor_list *list, size_t at, const tri_problem *problem) {
    char *key = key_of(problem);
    assert_true(at < list->count);
    assert_string_equal(list->items[at].key, key);
    free(key);
}

static tri_donor_place here(void) {
    return (tri_donor_place){store, device};
}

/* Another device, another operation, the one that is left out, and a key that nobody can read are not in it. */
static void it_is_of_one_device(void **state) {
    (void)state;
    const tri_donor_place in = here();
    const tri_problem a = problem_of(1024, 0.75), b = problem_of(2048, 0.75), c = problem_of(4096, 0.75);
    tri_donor_list list = {0};
    add(&a);
    add(&b);
    add_to(store, &c,
           (claim){.config = "x", .source_hash = OTHER_HASH, .median_ns = 100, .device = "host x86_64-avx2"});
    add_to(store, &c,
           (claim){.config = "x", .source_hash = OTHER_HASH, .median_ns = 100, .key = "bsr_gemm of old m=1"});
    must(tri_donors_all(&list, &in, a.op));
    assert_int_equal(list.count, 2);
    assert_true(isinf(list.items[0].distance) && isinf(list.items[1].distance));
    tri_donor_list_free(&list);
    assert_true(list.count == 0 && !list.items);
    must(tri_donors_all(&list, &in, tri_operation_find("attention")));
    assert_int_equal(list.count, 0);
    tri_donor_list_free(&list);
    must(tri_donors_around(&list, &in, &a, 0, true));
    assert_int_equal(list.count, 2);
    tri_donor_list_free(&list);
    must(tri_donors_around(&list, &in, &a, 0, false));
    assert_int_equal(list.count, 1);
    expect_item(&list, 0, &b);
    tri_donor_list_free(&list);
}

/* Near ones first; of two that are equally far, the one whose key comes first. Another epilogue serves, another type does
 * not. */
static void near_ones_come_first(void **state) {
    (void)state;
    const tri_donor_place in = here();
    const tri_problem asked = problem_of(1024, 0.75), far = problem_of(4096, 0.75);
    tri_problem left = asked, right = asked, other_type = asked, other_epilogue = asked;
    bsr_of(&left)->m = 512;
    bsr_of(&right)->m = 2048;
    bsr_of(&other_type)->in_type = bsr_of(&other_type)->out_type = TRIAGE_BF16;
    bsr_of(&other_epilogue)->bias = true;
    const tri_problem *const all[] = {&far, &right, &other_epilogue, &left, &other_type, &asked};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        add(all[i]);
    tri_donor_list list = {0};
    must(tri_donors_around(&list, &in, &asked, 0, true));
    assert_int_equal(list.count, 5);
    expect_item(&list, 0, &asked);
    assert_true(list.items[0].distance == 0);
    expect_item(&list, 1, &other_epilogue);
    assert_true(list.items[2].distance == list.items[3].distance);
    expect_item(&list, 2, &right); /* "m=2048" before "m=512" */
    expect_item(&list, 3, &left);
    expect_item(&list, 4, &far);
    assert_true(list.items[4].distance == tri_problem_distance(&asked, &far));
    tri_donor_list_free(&list);
    must(tri_donors_around(&list, &in, &far, 0, true)); /* from another place */
    assert_true(list.items[0].distance == 0);
    expect_item(&list, 0, &far);
    tri_donor_list_free(&list);
    for (size_t most = 1; most <= 3; most++) { /* the same, cut */
        const tri_problem *const near[] = {&asked, &other_epilogue, &right};
        must(tri_donors_around(&list, &in, &asked, most, true));
        assert_int_equal(list.count, most);
        for (size_t i = 0; i < most; i++)
            expect_item(&list, i, near[i]);
        tri_donor_list_free(&list);
    }
}

#define IN_A_STORE(test) cmocka_unit_test_setup_teardown(test, open_store, close_store)

int main(void) {
    const struct CMUnitTest tests[] = {IN_A_STORE(it_is_of_one_device), IN_A_STORE(near_ones_come_first)};
    return cmocka_run_group_tests_name("tuned problems", tests, open_space, close_space);
}
