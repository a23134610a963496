/* Evidence of strangers in one's own database: whatever it says, what was measured here stays what it is, the lookup
 * takes one's own winner, and the work has a limit.
 *
 *     test_poison          a short part: one seed of each set
 *     test_poison 20       all: twenty seeds, and floods of 20,000 rows */
#include "support/paper_world.h"

#include "evidence/lookup.h"
#include "support/scratch.h"

#define SIZE 1024
#define YEAR_9999 INT64_C(253402300000000)
#define SINCE_PAPER(ms) ((ms)-INT64_C(1700000000000)) /* as a claim's later_ms */

static int seeds = 1;
static int64_t flood = 1200; /* more rows than a lookup looks at */
static char folder[64];
static tri_problem asked;
static char *key, *device;

/* ---- one's own database: configuration 0 is the winner, 1 is slower, 2 is wrong ---- */

static const char *config_at(size_t i) {
    return configs.text[i + (i >= configs.default_index)];
}

static tri_store *empty_store(const char *name) {
    tri_store *store = NULL;
    (void)remove(scratch_path(folder, name));
    must(tri_store_open(&store, scratch_path(folder, name), TRI_STORE_WRITE));
    return store;
}

static tri_store *own_store(void) {
    tri_store *own = empty_store("own.db");
    add_to(own, &asked, (claim){.config = config_at(0), .median_ns = 1e6, .stage = "race"});
    add_to(own, &asked, (claim){.config = config_at(1), .median_ns = 2e6});
    add_to(own, &asked, (claim){.config = config_at(2), .outcome = TRI_WRONG});
    return own;
}

/* ---- what strangers say: each adds one row of its kind to a stranger's database ---- */

typedef void (*poison_fn)(tri_store *stranger, tri_random *random, int64_t i);

static int64_t today(void) {
    return SINCE_PAPER(tri_wall_time_ms());
}

/* A median that is different for each row. */
static double about(double ns, tri_random *random) {
    return ns + (double)tri_random_below(random, 1000000) * 1e-5;
}

static void faster(tri_store *stranger, tri_random *random, int64_t i) {
    add_to(stranger, &asked,
           (claim){.config = config_at((size_t)i % 8),
                   .median_ns = about(100, random),
                   .later_ms = today() - 10000});
}

static void faster_races(tri_store *stranger, tri_random *random, int64_t i) {
    add_to(stranger, &asked,
           (claim){.config = config_at((size_t)i % 8),
                   .median_ns = about(100, random),
                   .stage = "race",
                   .later_ms = today() - 10000});
}

/* "Right", a little newer than one's own "wrong". */
static void wrong_is_right(tri_store *stranger, tri_random *random, int64_t i) {
    add_to(stranger, &asked,
           (claim){.config = config_at(2), .median_ns = about(500, random), .later_ms = 1 + i});
}

static void failures(tri_store *stranger, tri_random *random, int64_t i) {
    static const tri_outcome outcomes[] = {TRI_CRASHED, TRI_WRONG, TRI_TIMED_OUT, TRI_LAUNCH_FAILED};
    add_to(stranger, &asked,
           (claim){.config = config_at((size_t)i % 8),
                   .outcome = outcomes[tri_random_below(random, 4)],
                   .later_ms = today() + i});
}

/* One's own winner, but much slower since: a drift that was none. */
static void slower(tri_store *stranger, tri_random *random, int64_t i) {
    add_to(stranger, &asked,
           (claim){.config = config_at(0),
                   .median_ns = about(1e8, random),
                   .stage = i % 2 ? "race" : "search",
                   .later_ms = today() + i});
}

static void of_the_year_9999(tri_store *stranger, tri_random *random, int64_t i) {
    const bool right = tri_random_below(random, 2);
    add_to(stranger, &asked,
           (claim){.config = config_at((size_t)i % 8),
                   .median_ns = right ? 100 : 0,
                   .outcome = right ? TRI_RIGHT : TRI_CRASHED,
                   .later_ms = SINCE_PAPER(YEAR_9999) + i});
}

static void invent_hash(char out[TRI_HASH_SIZE], tri_random *random) {
    for (int i = 0; i < 32; i += 16)
        snprintf(out + i, 17, "%016llx", (unsigned long long)tri_random_next(random));
}

static void invented(tri_store *stranger, tri_random *random, int64_t i) {
    char hash[TRI_HASH_SIZE];
    invent_hash(hash, random);
    add_to(stranger, &asked,
           (claim){.config = config_at((size_t)i % (configs.count - 1)),
                   .source_hash = hash,
                   .median_ns = 100 + (double)i,
                   .later_ms = today()});
}

/* Problems that nobody has, all around the asked one. */
static void invented_problems(tri_store *stranger, tri_random *random, int64_t i) {
    char *at = strstr(key, " n="), *made = NULL, hash[TRI_HASH_SIZE];
    invent_hash(hash, random);
    must(tri_format(&made, "%.*s n=%d%s", (int)(at - key), key, (int)(SIZE + 8 * (i + 1)),
                    strchr(at + 1, ' ')));
    add_to(
        stranger, &asked,
        (claim){
            .config = config_at(3), .key = made, .source_hash = hash, .median_ns = 100, .later_ms = today()});
    free(made);
}

static void warm_and_cold(tri_store *stranger, tri_random *random, int64_t i) {
    add_to(stranger, &asked,
           (claim){.config = config_at((size_t)i % 8),
                   .median_ns = about(100, random),
                   .warm = i % 2,
                   .later_ms = today() - 10000});
}

static void anything(tri_store *stranger, tri_random *random, int64_t i) {
    static const poison_fn all[] = {faster,           faster_races, wrong_is_right,    failures,     slower,
                                    of_the_year_9999, invented,     invented_problems, warm_and_cold};
    all[tri_random_below(random, sizeof all / sizeof all[0])](stranger, random, i);
}

/* ---- what must hold ---- */

static void expect_own(tri_store *own, const char *what) {
    tri_found found;
    tri_measurement row;
    char hash[TRI_HASH_SIZE], name[128];
    tri_tier tier;
    must(tri_lookup(&found, own, space, &asked, &info, NULL));
    if (found.source != TRIAGE_SOURCE_EXACT || strcmp(found.candidate.config, config_at(0)) != 0 ||
        found.median_ns != 1e6 || found.is_claim)
        fail_msg("%s: the lookup gives %s, %g ns", what, found.candidate.config, found.median_ns);
    tri_found_free(&found);
    hash_of(hash, &asked, config_at(2));
    must(tri_store_measured(&row, own, key, device, hash, NULL));
    assert_int_equal(row.outcome, TRI_WRONG);
    must(tri_store_origin(&tier, name, own, row.id));
    assert_int_equal(tier, TRI_TIER_OWN);
    tri_measurement_clear(&row);
}

static triage_status stop_at_first(void *user, const tri_measurement *row) {
    must(tri_strdup(user, row->config));
    return TRIAGE_E_INTERRUPTED;
}

/* By a file, which adds nothing more when it comes again. */
static void poison(poison_fn fn, uint64_t seed, int64_t rows, const char *what) {
    tri_store *own = own_store(), *stranger = NULL;
    tri_merge_result result;
    tri_random random;
    int64_t count;
    char *first = NULL;
    must(tri_store_open_memory(&stranger));
    tri_random_seed(&random, seed);
    for (int64_t i = 0; i < rows; i++)
        fn(stranger, &random, i);
    must(tri_store_export(&count, stranger, scratch_path(folder, "stranger.jsonl")));
    tri_store_close(stranger);
    must(tri_store_import(&result, own, scratch_path(folder, "stranger.jsonl"), NULL, NULL, NULL));
    assert_int_equal(result.added + result.refused, result.read);
    assert_int_equal(result.read, count);
    expect_own(own, what);
    must(tri_store_import(&result, own, scratch_path(folder, "stranger.jsonl"), NULL, NULL, NULL));
    assert_int_equal(result.added, 0);
    assert_int_equal(tri_store_ranking(own, key, device, stop_at_first, &first), TRIAGE_E_INTERRUPTED);
    assert_string_equal(first, config_at(0));
    free(first);
    must(tri_store_verify(&count, own));
    tri_store_close(own);
    /* as an application opens it */
    must(tri_store_open(&own, scratch_path(folder, "own.db"), TRI_STORE_READ));
    expect_own(own, what);
    tri_store_close(own);
}

static void ones_own_winner_stays(void **state) {
    (void)state;
    static const struct {
        poison_fn fn;
        const char *what;
    } sets[] = {{faster, "faster claims"},          {faster_races, "faster races"},
                {wrong_is_right, "wrong is right"}, {failures, "failures"},
                {slower, "slower claims"},          {of_the_year_9999, "the year 9999"},
                {invented, "invented hashes"},      {invented_problems, "invented problems"},
                {warm_and_cold, "warm and cold"},   {anything, "anything"}};
    const size_t count = sizeof sets / sizeof sets[0];
    for (int seed = 0; seed < seeds; seed++)
        for (size_t i = 0; i < count; i++)
            poison(sets[i].fn, (uint64_t)seed, 24, sets[i].what);
    print_message("%d poisoned sets\n", seeds * (int)count);
}

static void a_flood_changes_nothing(void **state) {
    (void)state;
    poison(invented, 7, flood, "a flood of invented hashes");
    poison(invented_problems, 7, flood, "a flood of invented problems");
}

/* The work has a limit: a claim that a flood precedes in the ranking is not found any more. */
static void what_is_looked_at_has_a_limit(void **state) {
    (void)state;
    tri_store *own = empty_store("own.db"), *stranger = NULL;
    tri_merge_result result;
    tri_random random;
    tri_found found;
    int64_t count;
    must(tri_store_open_memory(&stranger));
    tri_random_seed(&random, 3);
    for (int64_t i = 0; i < flood; i++)
        invented(stranger, &random, i);
    add_to(stranger, &asked, (claim){.config = config_at(0), .median_ns = 1e9, .later_ms = today()});
    must(tri_store_export(&count, stranger, scratch_path(folder, "stranger.jsonl")));
    tri_store_close(stranger);
    must(tri_store_import(&result, own, scratch_path(folder, "stranger.jsonl"), NULL, NULL, NULL));
    must(tri_lookup(&found, own, space, &asked, &info, NULL));
    assert_int_equal(found.source, TRIAGE_SOURCE_DEFAULT);
    tri_found_free(&found);
    /* what was measured here is found at once */
    add_to(own, &asked, (claim){.config = config_at(0), .median_ns = 1e9});
    must(tri_lookup(&found, own, space, &asked, &info, NULL));
    assert_int_equal(found.source, TRIAGE_SOURCE_EXACT);
    assert_false(found.is_claim);
    tri_found_free(&found);
    tri_store_close(own);
}

static void dates_to_come_are_refused(void **state) {
    (void)state;
    tri_store *own = empty_store("own.db"), *stranger = empty_store("stranger.db");
    tri_merge_result result;
    const int64_t hour = 3600000;
    add_to(stranger, &asked,
           (claim){.config = config_at(0), .median_ns = 100, .later_ms = today() + 48 * hour});
    add_to(stranger, &asked, (claim){.config = config_at(1), .median_ns = 100, .later_ms = today() + hour});
    tri_store_close(stranger);
    must(tri_store_merge(&result, own, scratch_path(folder, "stranger.db"), NULL, NULL, NULL));
    assert_int_equal(result.refused, 1);
    assert_int_equal(result.added, 1);
    tri_store_close(own);
}

/* Where nothing better is known a claim serves, and says what it is. */
static void a_claim_says_what_it_is(void **state) {
    (void)state;
    tri_store *own = empty_store("own.db"), *stranger = empty_store("stranger.db");
    tri_merge_result result;
    tri_found found;
    add_to(stranger, &asked, (claim){.config = config_at(3), .median_ns = 100});
    tri_store_close(stranger);
    must(tri_store_merge(&result, own, scratch_path(folder, "stranger.db"), NULL, NULL, NULL));
    must(tri_lookup(&found, own, space, &asked, &info, NULL));
    assert_int_equal(found.source, TRIAGE_SOURCE_EXACT);
    assert_true(found.is_claim);
    assert_string_equal(found.candidate.config, config_at(3));
    tri_found_free(&found);
    tri_store_close(own);
}

/* ---- the program ---- */

static int open_world(void **state) {
    if (open_space(state) != 0)
        return -1;
    asked = problem_of(SIZE, 0.75);
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
        cmocka_unit_test(ones_own_winner_stays),         cmocka_unit_test(a_flood_changes_nothing),
        cmocka_unit_test(what_is_looked_at_has_a_limit), cmocka_unit_test(dates_to_come_are_refused),
        cmocka_unit_test(a_claim_says_what_it_is),
    };
    if (argc > 1) {
        seeds = atoi(argv[1]);
        flood = 20000;
    }
    return cmocka_run_group_tests(tests, open_world, close_world);
}
