/* The C API with a server as its database: one that is gone, or knows nothing, costs a stated time and no failure.
 * Skipped without TRIAGE_TEST_SERVER: see tests/support/postgres.sh. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "store/store.h"

static char said[4096];

static void collect(void *user, triage_log_level level, const char *line) {
    (void)user, (void)level;
    strncat(said, line, sizeof said - strlen(said) - 1);
}

static void open_with(const char *url, const char *words) {
    triage_context *context = NULL;
    triage_context_options options = TRIAGE_CONTEXT_OPTIONS_INIT;
    options.device = "host";
    options.db_path = url;
    options.log = collect;
    said[0] = '\0';
    const int64_t start = tri_now_ns();
    if (triage_context_open(&context, &options) != TRIAGE_OK)
        fail_msg("%s", triage_last_error());
    assert_true(tri_now_ns() - start < (TRI_CONNECT_MS + 3000) * INT64_C(1000000));
    if (!strstr(said, words))
        fail_msg("'%s' is not about '%s'", said, words);
    assert_null(strstr(said, "secret"));
    triage_context_free(context);
}

static void test_no_server(void **state) {
    (void)state;
    open_with("postgresql://me:secret@127.0.0.1:1/x", "using default kernels");
}

static void test_server_without_tables(void **state) {
    (void)state;
    open_with(getenv("TRIAGE_TEST_SERVER"), "using default kernels");
}

static void test_server_with_tables(void **state) {
    (void)state;
    tri_store *store = NULL;
    if (tri_store_open(&store, getenv("TRIAGE_TEST_SERVER"), TRI_STORE_WRITE) != TRIAGE_OK)
        fail_msg("%s", triage_last_error());
    tri_store_close(store);
    open_with(getenv("TRIAGE_TEST_SERVER"), "");
    assert_string_equal(said, "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_server),
        cmocka_unit_test(test_server_without_tables),
        cmocka_unit_test(test_server_with_tables),
    };
    if (!getenv("TRIAGE_TEST_SERVER")) {
        puts("skipped: no TRIAGE_TEST_SERVER (sh tests/support/postgres.sh starts one)");
        return 77;
    }
    return cmocka_run_group_tests_name("the C API with a server", tests, NULL, NULL);
}
