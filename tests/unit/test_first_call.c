/* A first call that may race, on the host device: real kernels, real checks; what is told is what was decided, not how long it
 * took. */
#include "support/api_cases.h"
#include "support/check.h"
#include "support/scratch_group.h"

#include "render/render.h"
#include "store/store.h"

static const api_case wanted = {.m = 96,
                                .n = 40,
                                .k = 128,
                                .block = 32,
                                .sparsity = 0.5,
                                .in = TRIAGE_F32,
                                .out = TRIAGE_F32,
                                .bias = true,
                                .activation = TRIAGE_ACT_RELU,
                                .alpha = 1.5f,
                                .beta = 0.5f,
                                .pad = 8};

static triage_context *open_racing(const char *path, double ms) {
    triage_context_options options = TRIAGE_CONTEXT_OPTIONS_INIT;
    triage_context *context = NULL;
    options.device = "host";
    options.db_path = path;
    options.cache_dir = TEST_KERNELS;
    options.first_call_ms = ms;
    must(triage_context_open(&context, &options));
    return context;
}

/* ---- evidence of a near problem ---- */

static void add(tri_store *store, const tri_problem *problem, const char *device, tri_space *space,
                const tri_device_info *info, const char *config, double ns) {
    char *key = NULL, hash[TRI_HASH_SIZE], kernel[64];
    tri_candidate candidate = {0};
    tri_source source = {0};
    must(tri_problem_key(&key, problem));
    must(tri_space_candidate(&candidate, space, problem, info, config));
    must(tri_render(&source, &candidate, NULL));
    tri_source_hash(hash, &source, info->target);
    snprintf(kernel, sizeof kernel, "%s", candidate.kernel);
    tri_measurement row = {.problem = key,
                           .device = (char *)(uintptr_t)device,
                           .device_name = "host",
                           .kernel = kernel,
                           .config = (char *)(uintptr_t)config,
                           .source_hash = hash,
                           .compiler = "gcc 12.2.0",
                           .stage = "search",
                           .reason = "",
                           .median_ns = ns,
                           .low_ns = ns,
                           .high_ns = ns,
                           .min_ns = ns,
                           .samples = 10,
                           .cold_l2 = true,
                           .row_error = 1e-8,
                           .row_error_limit = 2e-8,
                           .measured_at_ms = 1700000000000,
                           .host = "00000000000000000000000000000000",
                           .version = TRIAGE_VERSION,
                           .circumstances = "{}"};
    must(tri_store_add(store, &row));
    tri_source_free(&source);
    tri_candidate_free(&candidate);
    free(key);
}

/* Three configurations of a problem with twice the columns. */
static void know_a_near_problem(const char *path, triage_context *context) {
    const tri_device_info *info = tri_device_describe(context->device);
    api_case near = wanted;
    api_world world;
    tri_space *space = NULL;
    tri_configs configs = {0};
    tri_store *store = NULL;
    char *device = NULL;
    near.n *= 2;
    api_build(&world, context, &near);
    must(tri_device_key(&device, info));
    must(tri_space_open(&space, &tri_op_bsr_gemm, &(tri_space_options){0}));
    must(tri_space_enumerate(&configs, space, &world.problem, info));
    must(tri_store_open(&store, path, TRI_STORE_WRITE));
    size_t added = 0;
    for (size_t i = 0; i < configs.count && added < 3; i++)
        if (i != configs.default_index)
            add(store, &world.problem, device, space, info, configs.text[i], (double)(1000 + 100 * added++));
    assert_int_equal(added, 3);
    tri_store_close(store);
    tri_configs_free(&configs);
    tri_space_free(space);
    free(device);
    api_destroy(&world);
}

/* ---- rows of the problem itself ---- */

typedef struct counted {
    const char *key;
    long rows, right;
} counted;

static triage_status count(void *user, const tri_measurement *row) {
    counted *c = user;
    if (strcmp(row->problem, c->key) != 0)
        return TRIAGE_OK;
    c->rows++;
    c->right += row->outcome == TRI_RIGHT && row->row_error_limit > 0 && strcmp(row->stage, "race") == 0;
    return TRIAGE_OK;
}

static counted rows_of(const char *path, const tri_problem *problem) {
    char *key = NULL;
    tri_store *store = NULL;
    must(tri_problem_key(&key, problem));
    counted c = {.key = key};
    must(tri_store_open(&store, path, TRI_STORE_READ));
    must(tri_store_each(store, count, &c));
    tri_store_close(store);
    free(key);
    return c;
}

static void expect_call(const api_world *world) {
    must(triage_bsr_gemm(world->context, wanted.alpha, world->a, &world->b, wanted.beta, &world->c,
                         &world->epilogue, NULL));
    void *got = api_result(world, world->c.data);
    assert_int_equal(api_wrong(world, got, wanted.alpha, wanted.beta), 0);
    assert_int_equal(api_touched(world, got), 0);
    free(got);
}

static triage_source source_of(const api_world *world) {
    triage_choice choice = {.version = TRIAGE_CHOICE_VERSION};
    must(triage_bsr_gemm_choice(&choice, world->context, world->a, &world->b, &world->c, &world->epilogue));
    return choice.source;
}

/* ---- tests ---- */

static void what_near_problems_know_is_raced(void **state) {
    (void)state;
    const char *path = scratch_path(folder, "near.db");
    triage_context *first = open_racing(NULL, 0);
    know_a_near_problem(path, first);
    triage_context_free(first);
    triage_context *context = open_racing(path, 600000);
    api_world world;
    api_build(&world, context, &wanted);
    expect_call(&world); /* C's content and the gaps between its lines, too */
    assert_int_equal(source_of(&world), TRIAGE_SOURCE_EXACT);
    const counted raced = rows_of(path, &world.problem);
    assert_int_equal(raced.rows, 3);
    assert_int_equal(raced.right, 3);
    api_destroy(&world);
    triage_context_free(context);

    context = open_racing(path, 600000); /* another process would know it, too */
    api_build(&world, context, &wanted);
    expect_call(&world);
    assert_int_equal(source_of(&world), TRIAGE_SOURCE_EXACT);
    assert_int_equal(rows_of(path, &world.problem).rows, 3);
    api_destroy(&world);
    triage_context_free(context);
}

/* The transpose of the same blocks: its problem borrows what those of its kind are fast with. */
static void a_transpose_is_raced_too(void **state) {
    (void)state;
    const char *path = scratch_path(folder, "transposed.db");
    triage_context *context = open_racing(NULL, 0);
    know_a_near_problem(path, context);
    triage_context_free(context);
    context = open_racing(path, 600000);
    api_world world;
    const triage_bsr_matrix *transpose = NULL;
    triage_choice choice = {.version = TRIAGE_CHOICE_VERSION};
    api_build(&world, context, &wanted);
    must(triage_bsr_matrix_transposed(&transpose, world.a));
    must(triage_bsr_gemm(context, 1, transpose, &world.c, 0, &world.b, NULL, NULL));
    must(triage_bsr_gemm_choice(&choice, context, transpose, &world.c, &world.b, NULL));
    assert_int_equal(choice.source, TRIAGE_SOURCE_EXACT);
    api_destroy(&world);
    triage_context_free(context);
}

static void without_leave_nothing_is_raced(void **state) {
    (void)state;
    const char *path = scratch_path(folder, "near2.db");
    triage_context *context = open_racing(NULL, 0);
    know_a_near_problem(path, context);
    triage_context_free(context);
    const double ms[] = {0, 0.001};
    for (size_t i = 0; i < 2; i++) {
        api_world world;
        context = open_racing(path, ms[i]);
        api_build(&world, context, &wanted);
        expect_call(&world);
        assert_int_equal(source_of(&world), TRIAGE_SOURCE_NEAREST);
        assert_int_equal(rows_of(path, &world.problem).rows, 0);
        api_destroy(&world);
        triage_context_free(context);
    }
}

static void where_nothing_is_known_the_default_runs(void **state) {
    (void)state;
    const char *path = scratch_path(folder, "nothing.db");
    triage_context *context = open_racing(path, 600000);
    api_world world;
    api_build(&world, context, &wanted);
    expect_call(&world);
    assert_int_equal(source_of(&world), TRIAGE_SOURCE_DEFAULT);
    assert_int_not_equal(access(path, F_OK), 0);
    api_destroy(&world);
    triage_context_free(context);
}

static void a_budget_that_cannot_be_is_refused(void **state) {
    (void)state;
    const double bad[] = {-1, 600001, NAN, INFINITY};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        triage_context_options options = TRIAGE_CONTEXT_OPTIONS_INIT;
        triage_context *context = NULL;
        options.device = "host";
        options.first_call_ms = bad[i];
        assert_int_equal(triage_context_open(&context, &options), TRIAGE_E_INVALID);
        assert_non_null(strstr(triage_last_error(), "options.first_call_ms is "));
        options.version = 3; /* which has no such field */
        must(triage_context_open(&context, &options));
        triage_context_free(context);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_near_problems_know_is_raced),
        cmocka_unit_test(a_transpose_is_raced_too),
        cmocka_unit_test(without_leave_nothing_is_raced),
        cmocka_unit_test(where_nothing_is_known_the_default_runs),
        cmocka_unit_test(a_budget_that_cannot_be_is_refused),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
