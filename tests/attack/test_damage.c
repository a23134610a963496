/* Databases that are damaged or hostile, and files of hostile lines: nothing crashes, nothing hangs, a lookup gives
 * what is right or a miss, and one's own winner is found wherever the database can still be read. Seeded.
 *
 *     test_damage          a short part
 *     test_damage whole    300 damaged databases, 40 hostile schemas, 60 hostile files */
#include "support/paper_world.h"

#include <sqlite3.h>

#include "evidence/lookup.h"
#include "support/scratch.h"

static int databases = 40, files = 60;
static char folder[64];
static tri_problem asked;
static char *key, *device;

static const char *config_at(size_t i) {
    return configs.text[i + (i >= configs.default_index)];
}

/* Three kernels of the asked problem, one of a near one. */
static void make_database(const char *name) {
    tri_store *own = NULL;
    const tri_problem near = problem_of(2048, 0.75);
    (void)remove(scratch_path(folder, name));
    must(tri_store_open(&own, scratch_path(folder, name), TRI_STORE_WRITE));
    add_to(own, &asked, (claim){.config = config_at(0), .median_ns = 1e6, .stage = "race"});
    add_to(own, &asked, (claim){.config = config_at(1), .median_ns = 2e6});
    add_to(own, &asked, (claim){.config = config_at(2), .outcome = TRI_WRONG});
    add_to(own, &near, (claim){.config = config_at(0), .median_ns = 3e6});
    tri_store_close(own);
}

/* Any answer of a lookup is a kernel that is legal, and never the one that is wrong. */
static bool look_up(tri_store *store) {
    tri_found found;
    const triage_status status = tri_lookup(&found, store, space, &asked, &info, NULL);
    if (status != TRIAGE_OK)
        return false;
    assert_non_null(found.rendered.text);
    assert_string_not_equal(found.candidate.config, config_at(2));
    const bool own = found.source == TRIAGE_SOURCE_EXACT && strcmp(found.candidate.config, config_at(0)) == 0;
    tri_found_free(&found);
    return own;
}

static triage_status ignore(void *user, const tri_measurement *row) {
    ++*(int64_t *)user;
    return row->problem && row->config ? TRIAGE_OK : TRIAGE_E_DATA;
}

/* All that a program does with a database that somebody gave it. *opened, *own: how often. */
static void use(const char *name, int *opened, int *own) {
    int64_t rows = 0;
    tri_store *store = NULL, *into = NULL;
    tri_merge_result merged;
    if (tri_store_open(&store, scratch_path(folder, name), TRI_STORE_READ) == TRIAGE_OK) {
        ++*opened;
        *own += look_up(store);
        (void)tri_store_ranking(store, key, device, ignore, &rows);
        (void)tri_store_evidence(store, key, NULL, ignore, &rows);
        (void)tri_store_winners(store, NULL, "", ignore, &rows);
        (void)tri_store_verify(&rows, store);
        tri_store_close(store);
    }
    must(tri_store_open_memory(&into));
    (void)tri_store_merge(&merged, into, scratch_path(folder, name), NULL, NULL, NULL);
    must(tri_store_verify(&rows, into)); /* only sound rows came over */
    tri_store_close(into);
}

/* ---- damaged files ---- */

static void damage(char *bytes, size_t *size, tri_random *random) {
    const uint64_t kind = tri_random_below(random, 4);
    const size_t at = tri_random_below(random, *size);
    if (kind == 0) {
        *size = at; /* cut off */
    } else if (kind == 1) {
        for (int i = 0; i < 16; i++)
            bytes[tri_random_below(random, *size)] = (char)tri_random_next(random);
    } else if (kind == 2) {
        const size_t run = tri_random_below(random, 512);
        memset(bytes + at, (int)tri_random_next(random), at + run < *size ? run : *size - at);
    } else {
        bytes[at] ^= (char)(1 << tri_random_below(random, 8));
    }
}

static void damaged_databases(void **state) {
    (void)state;
    char *sound = NULL, *bytes = NULL;
    size_t size = 0;
    int opened = 0, own = 0;
    tri_random random;
    tri_random_seed(&random, 20261130);
    make_database("sound.db");
    must(tri_file_read(&sound, &size, scratch_path(folder, "sound.db"), 0));
    bytes = malloc(size);
    assert_non_null(bytes);
    for (int i = 0; i < databases; i++) {
        size_t left = size;
        memcpy(bytes, sound, size);
        damage(bytes, &left, &random);
        must(tri_file_write_atomic(scratch_path(folder, "damaged.db"), bytes, left, 0600));
        use("damaged.db", &opened, &own);
    }
    print_message("%d damaged databases: %d opened, %d gave one's own winner, the others a miss\n", databases,
                  opened, own);
    assert_true(own > 0 && own <= opened);
    free(bytes);
    free(sound);
}

/* ---- hostile schemas and values, by one who knows the format ---- */

static void sql(const char *name, const char *text) {
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(scratch_path(folder, name), &db), SQLITE_OK);
    sqlite3_exec(db, "PRAGMA ignore_check_constraints = ON; PRAGMA writable_schema = ON", NULL, NULL, NULL);
    if (sqlite3_exec(db, text, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s: %s", text, sqlite3_errmsg(db));
    sqlite3_close(db);
}

#define UNLOCK                                                                                               \
    "DROP TRIGGER measurement_update; DROP TRIGGER candidate_update; DROP TRIGGER problem_update; DROP "     \
    "TRIGGER measurement_delete; DROP TRIGGER candidate_delete; DROP TRIGGER problem_delete;"
#define LOCK                                                                                                 \
    "CREATE TRIGGER measurement_update BEFORE UPDATE ON measurement\nBEGIN SELECT raise(ABORT, 'evidence "   \
    "is append-only'); END; CREATE TRIGGER candidate_update BEFORE UPDATE ON candidate\nBEGIN SELECT "       \
    "raise(ABORT, 'evidence is append-only'); END; CREATE TRIGGER problem_update BEFORE UPDATE ON "          \
    "problem\nBEGIN SELECT raise(ABORT, 'evidence is append-only'); END; CREATE TRIGGER "                    \
    "measurement_delete BEFORE DELETE ON measurement\nBEGIN SELECT raise(ABORT, 'evidence is "               \
    "append-only'); END; CREATE TRIGGER candidate_delete BEFORE DELETE ON candidate\nBEGIN SELECT "          \
    "raise(ABORT, 'evidence is append-only'); END; CREATE TRIGGER problem_delete BEFORE DELETE ON "          \
    "problem\nBEGIN SELECT raise(ABORT, 'evidence is append-only'); END;"

static const char *const hostile[] = {
    /* values behind a schema that is as it should be */
    UNLOCK "UPDATE candidate SET config = config || char(0) || 'x';" LOCK,
    UNLOCK "UPDATE candidate SET config = '';" LOCK,
    UNLOCK "UPDATE candidate SET config = printf('%.*c', 100000, 'x');" LOCK,
    UNLOCK "UPDATE candidate SET config = CAST(x'ff00fe' AS TEXT);" LOCK,
    UNLOCK "UPDATE candidate SET source_hash = 'x';" LOCK,
    UNLOCK "UPDATE candidate SET kernel = '../../etc/passwd';" LOCK,
    UNLOCK "UPDATE measurement SET candidate = 4711;" LOCK,
    UNLOCK "UPDATE measurement SET origin = -1;" LOCK,
    UNLOCK "UPDATE measurement SET median_ns = -1e300;" LOCK,
    UNLOCK "UPDATE measurement SET median_ns = 9e999;" LOCK,
    UNLOCK "UPDATE measurement SET outcome = 'right', median_ns = 0;" LOCK,
    UNLOCK "UPDATE measurement SET outcome = 'splendid';" LOCK,
    UNLOCK "UPDATE measurement SET circumstances = '[[[[';" LOCK,
    UNLOCK "UPDATE measurement SET reason = char(27) || '[2J', outcome = 'wrong';" LOCK,
    UNLOCK "UPDATE measurement SET measured_at_ms = 9223372036854775807;" LOCK,
    UNLOCK "DELETE FROM candidate;" LOCK,
    UNLOCK "DELETE FROM problem;" LOCK,
    UNLOCK "DELETE FROM measurement;" LOCK,
    /* what is derived */
    "UPDATE standing SET ranking = '[1,'",
    "UPDATE standing SET ranking = '{}'",
    "UPDATE standing SET ranking = '[\"a\", null, 1e99, -1, 4711]'",
    "UPDATE standing SET ranking = '[' || rtrim(replace(hex(zeroblob(50000)), '00', '1,'), ',') || ']'",
    "UPDATE standing SET ranking = '[4711]', winner = 4711, winner_candidate = 4711",
    "UPDATE standing SET ranking = '[]'",
    "UPDATE standing SET winner_candidate = 3, winner_ns = -1",
    "UPDATE standing SET m = -9223372036854775807, n = 9223372036854775807",
    "UPDATE standing SET family = printf('%.*c', 100000, 'f')",
    "DELETE FROM standing",
    "UPDATE source SET name = printf('%.*c', 100000, 'n')",
    "DELETE FROM source",
    "UPDATE arrival SET source = 4711",
    "DELETE FROM arrival",
    /* the schema */
    "CREATE TRIGGER more AFTER INSERT ON standing BEGIN SELECT 1; END",
    "CREATE VIEW more AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n",
    "DROP VIEW evidence; CREATE VIEW evidence AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 "
    "FROM "
    "n) SELECT i FROM n",
    "DROP TABLE arrival",
    "DROP TABLE standing",
    "ALTER TABLE candidate RENAME COLUMN config TO konfig",
    "UPDATE sqlite_schema SET sql = 'CREATE TABLE standing (x)' WHERE name = 'standing'",
    "PRAGMA user_version = 1",
};

/* Whatever it says: an error when it is opened, a miss, or one's own winner. */
static void hostile_schemas(void **state) {
    (void)state;
    const int count = sizeof hostile / sizeof hostile[0];
    int opened = 0, own = 0;
    for (int i = 0; i < count; i++) {
        make_database("hostile.db");
        sql("hostile.db", hostile[i]);
        use("hostile.db", &opened, &own);
    }
    print_message("%d hostile databases: %d opened, %d gave one's own winner\n", count, opened, own);
    assert_int_equal(count, 40);
    assert_true(own >= 8); /* where only what is derived was changed */
}

/* What is derived and damaged costs time, never the answer. */
static void a_damaged_ranking_is_made_anew(void **state) {
    (void)state;
    static const char *const rankings[] = {"[1,", "{}", "nonsense", "[4711]", "[null]"};
    for (size_t i = 0; i < sizeof rankings / sizeof rankings[0]; i++) {
        char text[80];
        int opened = 0, own = 0;
        make_database("ranking.db");
        snprintf(text, sizeof text, "UPDATE standing SET ranking = '%s'", rankings[i]);
        sql("ranking.db", text);
        use("ranking.db", &opened, &own);
        assert_int_equal(opened, 1);
        if (i < 3)
            assert_int_equal(own, 1);
    }
}

/* ---- hostile lines ---- */

static const char *const lines[] = {
    "",
    "{",
    "[]",
    "null",
    "0",
    "\"\"",
    "{}",
    "{\"schema\":1}",
    "{\"schema\":2}",
    "{\"schema\":1,\"schema\":1}",
    "{\"schema\":1e999}",
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    "{\"id\":\"\\u0000\"}",
    "\xff\xfe",
    "{\"schema\":1,\"id\":\"00000000000000000000000000000000\"}"};

/* A sound line with something changed in it, or one of those above. */
static void write_hostile(const char *sound, tri_random *random) {
    tri_text out = TRI_TEXT_INIT;
    const size_t size = strlen(sound);
    for (int line = 0; line < 40; line++) {
        if (tri_random_below(random, 3) == 0) {
            must(tri_text_format(&out, "%s\n",
                                 lines[tri_random_below(random, sizeof lines / sizeof lines[0])]));
            continue;
        }
        const size_t start = out.size, changes = 1 + tri_random_below(random, 4);
        must(tri_text_append(&out, sound, size));
        for (size_t i = 0; i < changes; i++)
            out.data[start + tri_random_below(random, size)] = (char)tri_random_next(random);
        must(tri_text_append(&out, "\n", 1));
    }
    must(tri_file_write_atomic(scratch_path(folder, "hostile.jsonl"), out.data, out.size, 0600));
    tri_text_free(&out);
}

static void hostile_lines(void **state) {
    (void)state;
    tri_store *own = NULL;
    tri_random random;
    int64_t rows;
    char *sound = NULL;
    tri_random_seed(&random, 60);
    make_database("own.db");
    must(tri_store_open(&own, scratch_path(folder, "own.db"), TRI_STORE_WRITE));
    must(tri_store_export(&rows, own, scratch_path(folder, "sound.jsonl")));
    must(tri_file_read(&sound, NULL, scratch_path(folder, "sound.jsonl"), 0));
    sound[strcspn(sound, "\n")] = '\0';
    for (int i = 0; i < files; i++) {
        tri_merge_result result;
        write_hostile(sound, &random);
        must(tri_store_import(&result, own, scratch_path(folder, "hostile.jsonl"), NULL, NULL, NULL));
        assert_int_equal(result.added, 0); /* a change of content changes the id */
        assert_true(look_up(own));
    }
    must(tri_store_verify(&rows, own));
    assert_int_equal(rows, 4);
    print_message("%d hostile files\n", files);
    tri_store_close(own);
    free(sound);
}

/* ---- the program ---- */

static int open_world(void **state) {
    if (open_space(state) != 0)
        return -1;
    asked = problem_of(1024, 0.75);
    must(tri_problem_key(&key, &asked));
    must(tri_device_key(&device, &info));
    scratch_make(folder);
    return 0;
}

static int close_world(void **state) {
    scratch_remove(folder);
    free(key);
    free(device);
    return close_space(state);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(damaged_databases),
        cmocka_unit_test(hostile_schemas),
        cmocka_unit_test(a_damaged_ranking_is_made_anew),
        cmocka_unit_test(hostile_lines),
    };
    if (argc > 1 && strcmp(argv[1], "whole") == 0)
        databases = 300;
    return cmocka_run_group_tests(tests, open_world, close_world);
}
