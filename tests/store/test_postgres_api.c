/* The C API with a server as its database: a local file answers, the server is another thread's, and whether it is
 * gone, silent or knows nothing costs the application no time. Some need TRIAGE_TEST_SERVER: see
 * tests/support/postgres.sh. */
#include "support/api_cases.h"
#include "support/scratch.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include "store/store.h"

static char folder[64], said[4096];
static const api_case small = {
    .m = 64, .n = 40, .k = 64, .block = 16, .sparsity = 0.5, .in = TRIAGE_F32, .out = TRIAGE_F32, .alpha = 1};

static void collect(void *user, triage_log_level level, const char *line) {
    (void)user, (void)level;
    strncat(said, line, sizeof said - strlen(said) - 1);
}

static triage_status open_with(triage_context **out, const char *url, const char *local) {
    triage_context_options options = TRIAGE_CONTEXT_OPTIONS_INIT;
    options.device = "host";
    options.db_path = url;
    options.local_db_path = local ? scratch_path(folder, local) : NULL;
    options.cache_dir = scratch_path(folder, "cache");
    options.log = collect;
    said[0] = '\0';
    return triage_context_open(out, &options);
}

static triage_context *must_open(const char *url, const char *local) {
    triage_context *context = NULL;
    if (open_with(&context, url, local) != TRIAGE_OK)
        fail_msg("%s", triage_last_error());
    return context;
}

/* Accepts connections and says nothing: what a network that swallows packets looks like to a client. */
static int make_silent_server(char url[96]) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    snprintf(url, 96, "postgresql://me:secret@127.0.0.1:%d/x", ntohs(address.sin_port));
    return fd;
}

/* Opening, the first product, which is checked, and closing. The compiled kernel is in the cache. */
static void use(const char *url, const char *local) {
    triage_context *context = must_open(url, local);
    api_run_case(context, &small);
    triage_context_free(context);
    assert_null(strstr(said, "secret"));
}

static int warm_cache(void **state) {
    (void)state;
    scratch_make(folder);
    triage_context *context = must_open(NULL, NULL);
    api_run_case(context, &small);
    triage_context_free(context);
    return 0;
}

static int remove_all(void **state) {
    (void)state;
    scratch_remove(folder);
    return 0;
}

static void test_silent_server(void **state) {
    (void)state;
    char url[96];
    const int fd = make_silent_server(url);
    /* A server that is silent for 5 s is given up, which is said: whoever waits for it has that line. (Three tries,
     * of which the later ones find the courier's file: a machine that stands still for 5 s has it, too.) */
    int waited = 0;
    for (int i = 0; i < 3; i++) {
        use(url, "silent.db");
        waited += said[0] != '\0';
    }
    assert_true(waited < 3);
    close(fd);
}

static void test_no_server(void **state) {
    (void)state;
    use("postgresql://me:secret@127.0.0.1:1/x", "gone.db");
    use("postgresql://me:secret@192.0.2.1/x", "nowhere.db"); /* TEST-NET-1 (RFC 5737) */
}

static void test_urls_are_checked_at_once(void **state) {
    (void)state;
    triage_context *context = NULL;
    assert_int_equal(open_with(&context, "postgresql://me:sec%ret@h/x", "bad.db"), TRIAGE_E_INVALID);
    assert_non_null(strstr(triage_last_error(), "not valid"));
    assert_null(strstr(triage_last_error(), "sec%"));
    assert_null(context);
}

/* A caller that was compiled with the first version of the options has no local_db_path. */
static void test_older_options(void **state) {
    (void)state;
    struct {
        uint32_t version;
        const char *device, *db_path, *cache_dir, *data_dir, *space_path;
        triage_log_fn log;
        void *log_user;
        char *not_ours; /* whatever follows it in the caller's memory */
    } old = {.version = 1, .device = "host", .not_ours = (char *)(uintptr_t)8};
    triage_context *context = NULL;
    assert_int_equal(offsetof(triage_context_options, local_db_path), 64);
    assert_int_equal(triage_context_open(&context, (const triage_context_options *)(const void *)&old),
                     TRIAGE_OK);
    assert_true(triage_context_is_host(context));
    triage_context_free(context);
}

/* ---- with a server ---- */

static const char *server_url(void) {
    const char *url = getenv("TRIAGE_TEST_SERVER");
    if (!url || !*url) {
        print_message("skipped: no TRIAGE_TEST_SERVER\n");
        skip();
    }
    return url;
}

static void test_server_without_tables(void **state) {
    (void)state;
    tri_store *store = NULL;
    triage_context *context = must_open(server_url(), "tables.db");
    api_run_case(context, &small);
    for (int i = 0; i < 30000 && !said[0]; i++)
        usleep(10000);
    triage_context_free(context);
    assert_non_null(strstr(said, "no tables of triage yet")); /* and an application makes none */
    assert_int_equal(tri_store_open(&store, server_url(), TRI_STORE_READ), TRIAGE_E_NOT_FOUND);
}

static triage_status count_rows(void *user, const tri_measurement *row) {
    (void)row;
    ++*(int64_t *)user;
    return TRIAGE_OK;
}

static int64_t rows_in(const char *url) {
    tri_store *store = NULL;
    int64_t rows = 0;
    if (tri_store_open(&store, url, TRI_STORE_READ) == TRIAGE_OK)
        (void)tri_store_each(store, count_rows, &rows);
    tri_store_close(store);
    return rows;
}

static bool wait_for_rows(const char *url, int64_t wanted) {
    for (int i = 0; i < 30000 && rows_in(url) != wanted; i++)
        usleep(10000);
    return rows_in(url) == wanted;
}

/* A row that says that this kernel is the winner for the small problem. */
static void put_evidence(const char *url, const char *config, const char *source_hash, double ns) {
    tri_store *store = NULL;
    api_world world;
    char *key = NULL, *device = NULL, kernel[64];
    triage_context *context = must_open(NULL, NULL);
    api_build(&world, context, &small);
    assert_int_equal(tri_problem_key(&key, &world.problem), TRIAGE_OK);
    assert_int_equal(tri_device_key(&device, tri_device_describe(context->device)), TRIAGE_OK);
    snprintf(kernel, sizeof kernel, "%.*s", (int)strcspn(config, " "), config);
    tri_measurement row = {.problem = key,
                           .device = device,
                           .device_name = "host",
                           .kernel = kernel,
                           .config = (char *)(uintptr_t)config,
                           .source_hash = (char *)(uintptr_t)source_hash,
                           .compiler = "cc",
                           .stage = "race",
                           .reason = "",
                           .median_ns = ns,
                           .low_ns = ns,
                           .high_ns = ns,
                           .min_ns = ns,
                           .samples = 30,
                           .row_error = 1e-8,
                           .row_error_limit = 1e-6,
                           .measured_at_ms = 1790000000000,
                           .host = "00112233445566778899aabbccddeeff",
                           .version = "0.1.0",
                           .circumstances = "{}"};
    assert_int_equal(tri_store_open(&store, url, TRI_STORE_WRITE), TRIAGE_OK);
    if (tri_store_add(store, &row) != TRIAGE_OK)
        fail_msg("%s", triage_last_error());
    tri_store_close(store);
    api_destroy(&world);
    triage_context_free(context);
    free(key);
    free(device);
}

static triage_choice choose(triage_context *context) {
    api_world world;
    triage_choice choice = {.version = TRIAGE_CHOICE_VERSION};
    api_build(&world, context, &small);
    assert_int_equal(triage_bsr_gemm_choice(&choice, context, world.a, &world.b, &world.c, NULL), TRIAGE_OK);
    api_destroy(&world);
    return choice;
}

/* What others know arrives in the file and answers; what the file knows goes to the server. */
static void test_evidence_travels(void **state) {
    (void)state;
    const char *url = server_url();
    char hash[TRI_HASH_SIZE];
    tri_candidate candidate = {0};
    tri_source source = {0};
    api_world world;
    triage_context *plain = must_open(NULL, NULL);
    const triage_choice by_default = choose(plain);
    assert_int_equal(by_default.source, TRIAGE_SOURCE_DEFAULT);
    api_build(&world, plain, &small);
    const tri_device_info *info = tri_device_describe(plain->device);
    assert_int_equal(
        tri_space_candidate(&candidate, plain->spaces[0], &world.problem, info, by_default.config),
        TRIAGE_OK);
    assert_int_equal(tri_render(&source, &candidate, NULL), TRIAGE_OK);
    tri_source_hash(hash, &source, info->target);
    tri_source_free(&source);
    tri_candidate_free(&candidate);
    api_destroy(&world);
    triage_context_free(plain);
    put_evidence(url, by_default.config, hash, 1234);
    put_evidence(scratch_path(folder, "here.db"), "elsewhere x=1", "0123456789abcdef0123456789abcdef", 999);

    triage_context *context = must_open(url, "here.db");
    assert_true(wait_for_rows(scratch_path(folder, "here.db"), 2));
    assert_true(wait_for_rows(url, 2));
    const triage_choice known = choose(context);
    assert_int_equal(known.source, TRIAGE_SOURCE_EXACT);
    assert_true(known.median_ns == 1234);
    triage_context_free(context);
    assert_string_equal(said, "");

    context = must_open(url, "new.db"); /* no file yet when it is opened */
    assert_true(wait_for_rows(scratch_path(folder, "new.db"), 2));
    assert_int_equal(choose(context).source, TRIAGE_SOURCE_EXACT);
    triage_context_free(context);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_silent_server),
        cmocka_unit_test(test_no_server),
        cmocka_unit_test(test_urls_are_checked_at_once),
        cmocka_unit_test(test_older_options),
        cmocka_unit_test(test_server_without_tables),
        cmocka_unit_test(test_evidence_travels),
    };
    return cmocka_run_group_tests_name("the C API with a server", tests, warm_cache, remove_all);
}
