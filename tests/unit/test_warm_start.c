/* What a search is told of near problems: which, in what order, and what is left out. Nothing is compiled. */
#include "support/bsr_of.h"
#include "support/paper_store.h"

#include "evidence/warm_start.h"

#define SIZE 1024 /* of the asked problem; at density 0.25 */

/* The i-th configuration of the asked problem that is not the default. */
static size_t other(size_t i) {
    return i < configs.default_index ? i : i + 1;
}

static void ran(int64_t size, size_t point, double ns, tri_outcome outcome) {
    const tri_problem problem = problem_of(size, 0.75);
    add_to(store, &problem, (claim){.config = configs.text[point], .median_ns = ns, .outcome = outcome});
}

static tri_warm_start ask(size_t most) {
    tri_warm_start known = {0};
    char *device = NULL;
    const tri_problem problem = problem_of(SIZE, 0.75);
    must(tri_device_key(&device, &info));
    must(tri_warm_start_find(&known, store, device, &problem, &configs, most, false));
    free(device);
    return known;
}

static void expect(size_t most, const size_t *points, size_t count, size_t donors) {
    tri_warm_start known = ask(most);
    assert_int_equal(known.count, count);
    assert_int_equal(known.donor_count, donors);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(known.points[i], points[i]);
        assert_string_equal(known.configs[i], configs.text[points[i]]);
    }
    tri_warm_start_free(&known);
}

static void test_nothing_near_teaches_nothing(void **state) {
    (void)state;
    expect(12, NULL, 0, 0);
    ran(SIZE, other(0), 100, TRI_RIGHT); /* of the problem itself: it is known without this */
    expect(12, NULL, 0, 0);
    tri_problem sisters = problem_of(2048, 0.75);
    bsr_of(&sisters)->in_type = bsr_of(&sisters)->out_type = TRIAGE_BF16;
    add_to(store, &sisters, (claim){.config = configs.text[other(0)], .median_ns = 100});
    const tri_problem near = problem_of(2048, 0.75);
    add_to(store, &near, (claim){.config = configs.text[other(0)], .median_ns = 100, .device = "another"});
    expect(12, NULL, 0, 0);
}

/* In evidence that is not one's own the problem itself is the nearest donor. */
static void test_the_problem_itself_if_asked_for(void **state) {
    (void)state;
    tri_warm_start known = {0};
    char *device = NULL;
    const tri_problem problem = problem_of(SIZE, 0.75);
    must(tri_device_key(&device, &info));
    ran(SIZE, other(0), 100, TRI_RIGHT);
    ran(2048, other(1), 100, TRI_RIGHT);
    must(tri_warm_start_find(&known, store, device, &problem, &configs, 12, true));
    assert_int_equal(known.count, 2);
    assert_int_equal(known.points[0], other(0));
    assert_int_equal(known.points[1], other(1));
    assert_true(known.donors[0].distance == 0 && known.donors[1].distance > 0);
    tri_warm_start_free(&known);
    free(device);
}

static void test_the_donors_take_turns(void **state) {
    (void)state;
    ran(2048, other(0), 100, TRI_RIGHT); /* the nearest donor: 0, 1, 2 */
    ran(2048, other(1), 110, TRI_RIGHT);
    ran(2048, other(2), 120, TRI_RIGHT);
    ran(2048, configs.default_index, 90, TRI_RIGHT);
    ran(2048, other(5), 50, TRI_WRONG);
    ran(2048, other(6), 10, TRI_SLOW);
    ran(8192, other(1), 100, TRI_RIGHT); /* the next: 1, 3 */
    ran(8192, other(3), 110, TRI_RIGHT);
    /* 1 is given by the second; what was slow comes when all else is given */
    const size_t turns[] = {other(0), other(1), other(2), other(3), other(6)};
    expect(12, turns, 5, 2);
    expect(2, turns, 2, 2);
    expect(0, NULL, 0, 0);
    tri_warm_start known = ask(12);
    assert_true(bsr_of(&known.donors[0].problem)->m == 2048 && bsr_of(&known.donors[1].problem)->m == 8192);
    assert_true(known.donors[0].distance > 0 && known.donors[0].distance < known.donors[1].distance);
    tri_warm_start_free(&known);
}

static void test_what_is_not_legal_here_is_passed_over(void **state) {
    (void)state;
    const tri_problem donor = problem_of(2048, 0.75);
    add_to(store, &donor,
           (claim){.config = "no_such_kernel tile_n=1", .source_hash = OTHER_HASH, .median_ns = 50});
    expect(12, NULL, 0, 0); /* and asks the next */
    ran(4096, other(3), 100, TRI_RIGHT);
    expect(12, (size_t[]){other(3)}, 1, 1);
    ran(2048, other(4), 100, TRI_RIGHT);
    expect(12, (size_t[]){other(4), other(3)}, 2, 2);
}

/* It is a hint: a template that was edited since is still better told than not. */
static void test_what_is_stale_is_a_hint_too(void **state) {
    (void)state;
    const tri_problem donor = problem_of(2048, 0.75);
    add_to(store, &donor,
           (claim){.config = configs.text[other(2)], .source_hash = OTHER_HASH, .median_ns = 50});
    expect(12, (size_t[]){other(2)}, 1, 1);
}

static void test_no_more_than_three_donors_and_twelve_points(void **state) {
    (void)state;
    static const int64_t sizes[] = {2048, 4096, 8192, 16384};
    size_t points[TRI_WARM_START_MOST];
    for (size_t i = 0; i < 4; i++)
        ran(sizes[i], other(i), 100, TRI_RIGHT);
    expect(12, (size_t[]){other(0), other(1), other(2)}, 3, 3);
    const tri_problem nearest = problem_of(SIZE, 0.8);
    for (size_t i = 0; i < 20 && other(i) < configs.count; i++)
        add_to(store, &nearest, (claim){.config = configs.text[other(i)], .median_ns = 100 + (double)i});
    for (size_t i = 0; i < TRI_WARM_START_MOST; i++)
        points[i] = other(i);
    expect(99, points, TRI_WARM_START_MOST, 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_A_STORE(test_nothing_near_teaches_nothing),
        IN_A_STORE(test_the_problem_itself_if_asked_for),
        IN_A_STORE(test_the_donors_take_turns),
        IN_A_STORE(test_what_is_not_legal_here_is_passed_over),
        IN_A_STORE(test_what_is_stale_is_a_hint_too),
        IN_A_STORE(test_no_more_than_three_donors_and_twelve_points),
    };
    return cmocka_run_group_tests(tests, open_space, close_space);
}
