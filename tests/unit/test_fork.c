/* A child of fork() goes on with the products of its parent, on the host device: with a kernel that the parent has used, all
 * its threads with it. */
#include "support/api_cases.h"

#include <sys/wait.h>

static int wrong_in_child(const api_world *world) {
    return triage_bsr_gemm(world->context, 2, world->a, &world->b, 0, &world->c, NULL, NULL) != TRIAGE_OK ||
           api_wrong(world, world->c.data, 2, 0) != 0;
}

static void a_child_goes_on(void **state) {
    (void)state;
    const api_case test = {.m = 1024, .n = 512, .k = 512, .block = 32, .sparsity = 0.5, .alpha = 1};
    triage_context *context = api_open("host", NULL, NULL);
    api_world world;
    int status = -1;
    api_build(&world, context, &test);
    assert_int_equal(triage_bsr_gemm(context, 1, world.a, &world.b, 0, &world.c, NULL, NULL), TRIAGE_OK);
    const pid_t child = fork();
    if (child == 0) {
        alarm(120); /* for a hang */
        _exit(wrong_in_child(&world));
    }
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(wrong_in_child(&world), 0); /* and so does the parent */
    api_destroy(&world);
    triage_context_free(context);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_child_goes_on)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
