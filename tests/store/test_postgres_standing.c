// links: base store
/* The suite of test_standing.c on a PostgreSQL server, and a server of an older version. Skipped without
 * TRIAGE_TEST_SERVER: see tests/support/postgres.sh. */
#define ON_SERVER
#include "store/test_standing.c"

#include <libpq-fe.h>

static const char *server;

static void run_on(const char *url, const char *text) {
    PGconn *conn = PQconnectdb(url);
    PGresult *result = PQexec(conn, text);
    const ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
        fail_msg("%s: %s", text, PQerrorMessage(conn));
    PQclear(result);
    PQfinish(conn);
}

/* A database of that name, made when it is first named. */
static const char *on_server(const char *name) {
    static char urls[4][512], made[64][32];
    static unsigned next, count;
    char text[200], *url = urls[next++ % 4];
    const char *options = strstr(server, "/postgres?");
    unsigned i = 0;
    while (i < count && strcmp(made[i], name) != 0)
        i++;
    snprintf(text, sizeof text, "CREATE DATABASE st%d_%s", (int)getpid(), name);
    if (i == count) {
        run_on(server, text);
        snprintf(made[count++ % 64], sizeof made[0], "%s", name);
    }
    snprintf(url, sizeof urls[0], "%.*s/st%d_%s%s", (int)(options - server), server, (int)getpid(), name,
             options + strlen("/postgres"));
    return url;
}

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
           "refresh_standings, ranking_of; DROP VIEW place; DROP TABLE standing; DROP INDEX candidate_config;"
           "DELETE FROM schema_version WHERE version = 4");
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

static int choose_server(void **state) {
    locate_store = on_server;
    return make_folder(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_standing_is_the_ranking),
        cmocka_unit_test(test_a_slower_winner_is_demoted),
        cmocka_unit_test(test_what_no_longer_would_win_is_no_news),
        cmocka_unit_test(test_near_is_what_lies_around),
        cmocka_unit_test(test_older_server),
        cmocka_unit_test(test_reader_needs_no_more),
    };
    server = getenv("TRIAGE_TEST_SERVER");
    if (!server || !*server) {
        puts("skipped: no TRIAGE_TEST_SERVER (sh tests/support/postgres.sh starts one)");
        return 77;
    }
    return cmocka_run_group_tests_name("standings on PostgreSQL", tests, choose_server, remove_folder);
}
