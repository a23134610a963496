// links: triage counted
/* What calls on the cuda device do, counted on a driver and a compiler that are not there (support/fake_cuda): first
 * calls, later ones, captured ones, failing ones; of products and of attention. */
#include "support/fake_cuda/subject.h"

/* ---- later calls ---- */

static void a_later_call_is_one_launch(void **state) {
    (void)state;
    triage_context *context = open_fake(NULL, NULL, NULL);
    for (kind_of_subject w = 0; w < SUBJECTS; w++) {
        subject s = make_subject(context, w, 128);
        tally before = now();
        must(run(&s, NULL));
        tally first = since(&before);
        assert_int_equal(first.launches, 1);
        assert_int_equal(first.compiles, 1);
        assert_true(first.mutexes > 0 && first.allocations > 0 &&
                    first.database_steps > 0); /* the counts can fail */
        before = now();
        must(run(&s, NULL));
        tally later = since(&before);
        assert_int_equal(later.launches, 1);
        assert_int_equal(later.driver[FAKE_launch], 1);
        /* which context is current; it is pushed and popped, since none is */
        assert_int_equal(all_driver_calls(&later), 4);
        assert_int_equal(later.compiles + later.mutexes + later.allocations + later.database_steps, 0);
        assert_int_equal(since(&before).mistakes, 0);
        free_subject(&s);
    }
    triage_context_free(context);
}

/* ---- nothing is left ---- */

static void all_is_given_back(void **state) {
    (void)state;
    triage_context *context = open_fake(NULL, NULL, NULL);
    for (kind_of_subject w = 0; w < SUBJECTS; w++) {
        subject s = make_subject(context, w, 64);
        must(run(&s, NULL));
        free_subject(&s);
    }
    triage_context_free(context);
    assert_int_equal(cuda->memories + cuda->modules + cuda->streams + cuda->events + cuda->graphs, 0);
    assert_int_equal(cuda->primary[0], 0);
    assert_int_equal(cuda->mistakes, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_later_call_is_one_launch),
        cmocka_unit_test(all_is_given_back),
    };
    return cmocka_run_group_tests_name("calls on a fake CUDA", tests, take_the_fakes, NULL);
}
