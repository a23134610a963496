// links: base store
/* Standings on a PostgreSQL server, and a server of an older version. Skipped without TRIAGE_TEST_SERVER: see
 * tests/support/postgres.sh. */
#include "store/standing_cases.h"

#include "store/server.h"

static void expect_order(tri_store_mode mode) {
    tri_store *store = open_store("older", mode);
    tri_text said = TRI_TEXT_INIT;
    assert_ok(tri_store_ranking(store, PROBLEM, DEVICE, list_configs, &said));
    assert_ok(tri_store_winners(store, NULL, "", list_configs, &said));
    assert_string_equal(said.data, "a b a ");
    tri_text_free(&said);
    tri_store_close(store);
}

/* What an older version made is read as it is, and brought up by the first writer that may. */
static void test_older_server(void **state) {
    (void)state;
    tri_store *store = open_store("older", TRI_STORE_WRITE);
    add(store, row_of("a", 100));
    add(store, row_of("b", 200));
    tri_store_close(store);
    run_on(on_server("older"),
           "SET search_path = triage; DROP TRIGGER standing ON measurement; DROP FUNCTION mark_standings, "
           "refresh_standings, ranking_of; DROP VIEW place; DROP TABLE standing, turn; DROP INDEX "
           "candidate_config, "
           "measurement_busy; DELETE FROM schema_version WHERE version >= 4");
    expect_order(TRI_STORE_READ);
    expect_order(TRI_STORE_WRITE);
    expect_order(TRI_STORE_READ);
}

/* A reader of a server that was just migrated may read all of it. */
static void test_reader_needs_no_more(void **state) {
    (void)state;
    tri_store *store = open_store("reader", TRI_STORE_WRITE);
    char url[512];
    assert_ok(tri_store_make_roles(store));
    add(store, row_of("a", 100));
    tri_store_close(store);
    run_on(on_server("reader"),
           "SET client_min_messages = error; DROP ROLE IF EXISTS ann; CREATE ROLE ann LOGIN IN "
           "ROLE triage_reader");
    snprintf(url, sizeof url, "postgresql://ann%s", strchr(on_server("reader"), '@'));
    assert_ok(tri_store_open(&store, url, TRI_STORE_READ));
    expect(store, "a ", NULL);
    assert_fails(TRIAGE_E_DB, "permission denied", tri_store_refresh(store, &(tri_refresh_options){0}));
    tri_store_close(store);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        STANDING_CASES,
        cmocka_unit_test(test_older_server),
        cmocka_unit_test(test_reader_needs_no_more),
    };
    if (!has_server())
        return 77;
    return cmocka_run_group_tests_name("standings on PostgreSQL", tests, choose_server, remove_folder);
}
