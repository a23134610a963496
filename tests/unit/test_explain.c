/* How a lookup is explained: who is used and why others are not, from which layer, at what distance; and what
 * nearest kernels cost by leaving one out. Nothing is compiled: the device is a description. */
#include "support/bsr_of.h"
#include "support/paper_world.h"

#include <math.h>

#include "evidence/explain.h"

static tri_setting setting;
static tri_store *own, *shipped;

static int open_setting(void **state) {
    const int code = open_space(state);
    setting = (tri_setting){space, &info, NULL};
    return code;
}

static int open_stores(void **state) {
    (void)state;
    must(tri_store_open_memory(&own));
    must(tri_store_open_memory(&shipped));
    return 0;
}

static int close_stores(void **state) {
    (void)state;
    tri_store_close(own);
    tri_store_close(shipped);
    return 0;
}

#define add(problem, ...) add_to(own, problem, (claim){__VA_ARGS__})

static tri_explanation explain(const tri_problem *problem) {
    tri_explanation e;
    must(tri_explain(&e, own, shipped, NULL, NULL, &setting, problem, 5));
    return e;
}

static const tri_rival *rival_of(const tri_rivals *rivals, const char *config, const char *hash) {
    for (size_t i = 0; i < rivals->count; i++)
        if (strcmp(rivals->items[i].config, config) == 0 &&
            (!hash || strcmp(rivals->items[i].source_hash, hash) == 0))
            return &rivals->items[i];
    fail_msg("%s is not among %zu rivals", config, rivals->count);
    return NULL;
}

static void expect_rival(const tri_rival *rival, tri_row_role role, const char *words) {
    if (rival->role != role || !strstr(rival->why, words))
        fail_msg("%s: %s (%s), not %s (%s)", rival->config, tri_row_role_name(rival->role), rival->why,
                 tri_row_role_name(role), words);
}

#define C(i) configs.text[i]

/* ---- the asked problem's own candidates ---- */

static void exact_and_its_rivals(void **state) {
    (void)state;
    const tri_problem p = problem_of(1024, 0.75);
    add(&p, .config = C(0), .median_ns = 1000);
    add(&p, .config = C(1), .median_ns = 1000.5);
    add(&p, .config = C(2), .median_ns = 1500);
    add(&p, .config = C(3), .median_ns = 500, .source_hash = OTHER_HASH);
    add(&p, .config = C(4), .median_ns = 3000, .outcome = TRI_SLOW);
    add(&p, .config = C(5), .median_ns = 400);
    add(&p, .config = C(5), .outcome = TRI_CRASHED, .later_ms = 5);
    add(&p, .config = C(6), .outcome = TRI_SPILLED);
    add(&p, .config = C(7), .median_ns = 300, .warm = true);
    add(&p, .config = "ring x=1", .median_ns = 100, .source_hash = OTHER_HASH);
    tri_explanation e = explain(&p);
    assert_int_equal(e.found.source, TRIAGE_SOURCE_EXACT);
    assert_string_equal(e.layer, "own");
    assert_string_equal(e.found.candidate.config, C(0));
    assert_int_equal(e.candidates.count, 9);
    expect_rival(rival_of(&e.candidates, C(0), NULL), TRI_ROLE_USED, "");
    expect_rival(rival_of(&e.candidates, C(1), NULL), TRI_ROLE_TIE, "within noise");
    expect_rival(rival_of(&e.candidates, C(2), NULL), TRI_ROLE_RUNNER_UP, "50.0 % slower");
    expect_rival(rival_of(&e.candidates, C(3), NULL), TRI_ROLE_STALE, "its source has changed");
    expect_rival(rival_of(&e.candidates, C(4), NULL), TRI_ROLE_DEMOTED, "stopped early");
    expect_rival(rival_of(&e.candidates, C(5), NULL), TRI_ROLE_FAILED, "crashed: made up");
    expect_rival(rival_of(&e.candidates, C(6), NULL), TRI_ROLE_FAILED, "spilled: made up");
    expect_rival(rival_of(&e.candidates, C(7), NULL), TRI_ROLE_DEMOTED, "only warm times");
    expect_rival(rival_of(&e.candidates, "ring x=1", NULL), TRI_ROLE_ILLEGAL, "no such kernel: 'ring'");
    assert_int_equal(e.losses.count, 0); /* nothing is expected to be lost */
    tri_explanation_free(&e);
    tri_explanation_free(NULL);
}

/* A config that was right and has failed with today's source since: both are told. */
static void races_come_before_searches(void **state) {
    (void)state;
    const tri_problem p = problem_of(1024, 0.75);
    add(&p, .config = C(0), .median_ns = 1000, .stage = "race");
    add(&p, .config = C(1), .median_ns = 1005);
    add(&p, .config = C(2), .median_ns = 900, .source_hash = OTHER_HASH);
    add(&p, .config = C(2), .outcome = TRI_WRONG);
    tri_explanation e = explain(&p);
    expect_rival(rival_of(&e.candidates, C(0), NULL), TRI_ROLE_USED, "");
    expect_rival(rival_of(&e.candidates, C(1), NULL), TRI_ROLE_DEMOTED, "only searched");
    expect_rival(rival_of(&e.candidates, C(2), OTHER_HASH), TRI_ROLE_STALE, "");
    assert_int_equal(e.candidates.count, 4);
    tri_explanation_free(&e);
}

/* ---- layers ---- */

static void ones_own_comes_first(void **state) {
    (void)state;
    const tri_problem p = problem_of(1024, 0.75), q = problem_of(2048, 0.75);
    tri_explanation e = explain(&p);
    assert_int_equal(e.found.source, TRIAGE_SOURCE_DEFAULT);
    assert_string_equal(e.layer, "space");
    assert_true(e.candidates.count == 0 && e.donors.count == 0);
    tri_explanation_free(&e);

    add_to(shipped, &q, (claim){.config = C(0), .median_ns = 100});
    e = explain(&p);
    assert_int_equal(e.found.source, TRIAGE_SOURCE_NEAREST);
    assert_string_equal(e.layer, "shipped");
    expect_rival(rival_of(&e.donors, C(0), NULL), TRI_ROLE_USED, "");
    tri_explanation_free(&e);

    add_to(own, &q, (claim){.config = C(1), .median_ns = 900});
    e = explain(&p);
    assert_string_equal(e.layer, "own");
    expect_rival(rival_of(&e.donors, C(1), NULL), TRI_ROLE_USED, "");
    expect_rival(rival_of(&e.donors, C(0), NULL), TRI_ROLE_BELOW, "one's own evidence comes first");
    tri_explanation_free(&e);

    add_to(shipped, &p, (claim){.config = C(2), .median_ns = 100});
    e = explain(&p);
    assert_int_equal(e.found.source, TRIAGE_SOURCE_EXACT);
    assert_string_equal(e.layer, "shipped");
    expect_rival(rival_of(&e.candidates, C(2), NULL), TRI_ROLE_USED, "");
    expect_rival(rival_of(&e.donors, C(1), NULL), TRI_ROLE_BELOW, "is tuned itself");
    tri_explanation_free(&e);

    add_to(own, &p, (claim){.config = C(3), .median_ns = 700});
    e = explain(&p);
    assert_string_equal(e.layer, "own");
    expect_rival(rival_of(&e.candidates, C(3), NULL), TRI_ROLE_USED, "");
    expect_rival(rival_of(&e.candidates, C(2), NULL), TRI_ROLE_BELOW, "exact evidence comes first");
    tri_explanation_free(&e);
}

/* ---- donors ---- */

static bool is_legal(const tri_problem *problem, const char *config) {
    tri_config_freshness verdict;
    must(tri_freshness_of(&verdict, &setting, problem, config, NULL));
    return verdict.is == TRI_CURRENT;
}

/* A configuration that a may run, and b may or may not. */
static const char *config_for(const tri_problem *a, const tri_problem *b, bool both) {
    for (size_t i = 0; i < configs.count; i++)
        if (is_legal(a, C(i)) && is_legal(b, C(i)) == both)
            return C(i);
    fail_msg("there is no such configuration");
    return NULL;
}

static void nearest_and_its_rivals(void **state) {
    (void)state;
    tri_problem asked = problem_of(1024, 0.75), other = problem_of(1024, 0.75);
    const tri_problem illegal = problem_of(1024, 0.75), stale = problem_of(1088, 0.75),
                      silent = problem_of(1152, 0.75), used = problem_of(2048, 0.5),
                      farther = problem_of(4096, 0.5);
    bsr_of(&asked)->n = bsr_of(&asked)->ldb = bsr_of(&asked)->ldc = 1020; /* rows of B that no TMA reads */
    bsr_of(&other)->in_type = bsr_of(&other)->out_type = TRIAGE_BF16;
    const char *good = config_for(&used, &asked, true), *bad = config_for(&illegal, &asked, false);
    add(&illegal, .config = bad, .median_ns = 100);
    add(&stale, .config = good, .median_ns = 100, .source_hash = OTHER_HASH);
    add(&silent, .config = good, .median_ns = 100);
    add(&silent, .config = good, .outcome = TRI_WRONG, .later_ms = 1);
    add(&used, .config = good, .median_ns = 100);
    add(&farther, .config = good, .median_ns = 100);
    add(&other, .config = C(0), .median_ns = 100);
    tri_explanation e = explain(&asked);
    assert_int_equal(e.found.source, TRIAGE_SOURCE_NEAREST);
    assert_string_equal(e.found.candidate.config, good);
    assert_int_equal(e.donors.count, 5); /* nothing of other types */
    expect_rival(&e.donors.items[0], TRI_ROLE_ILLEGAL, "here: ");
    expect_rival(&e.donors.items[1], TRI_ROLE_STALE, "there: its source has changed");
    expect_rival(&e.donors.items[2], TRI_ROLE_FAILED, "has failed since");
    expect_rival(&e.donors.items[3], TRI_ROLE_USED, "");
    expect_rival(&e.donors.items[4], TRI_ROLE_RUNNER_UP, "farther away");
    const tri_rival *donor = &e.donors.items[3];
    assert_string_equal(donor->problem, e.found.donor);
    assert_true(donor->distance == e.found.distance && donor->median_ns == e.found.median_ns);
    /* twice m and k and a little more than twice n; twice the density; columns overlap by 2 or 3 and 5 tenths */
    assert_float_equal(donor->parts.part[0], sqrt(2 + pow(log2(2048 / 1020.0), 2)), 1e-9);
    assert_float_equal(donor->parts.part[1], log2(5001.0 / 2501), 1e-9);
    assert_true(donor->parts.part[2] > 0 && donor->parts.part[3] == 0);
    assert_float_equal(hypot(hypot(donor->parts.part[0], donor->parts.part[1]), donor->parts.part[2]),
                       donor->distance, 1e-9);
    tri_explanation_free(&e);
}

/* Where the nearest one's winner may not run, its runner-up serves, unless it is so slow that the next donor's is the
 * better guess. Lookup and explanation agree. */
static void a_runner_up_serves(void **state) {
    (void)state;
    tri_problem asked = problem_of(1024, 0.75);
    const tri_problem near = problem_of(1024, 0.75), far = problem_of(2048, 0.75);
    bsr_of(&asked)->n = bsr_of(&asked)->ldb = bsr_of(&asked)->ldc = 1020; /* rows of B that no TMA reads */
    const char *good = config_for(&near, &asked, true), *bad = config_for(&near, &asked, false);
    add(&near, .config = bad, .median_ns = 100);
    add(&near, .config = good, .median_ns = 125);
    add(&far, .config = good, .median_ns = 400);
    tri_explanation e = explain(&asked);
    assert_true(e.found.median_ns == 400);
    expect_rival(&e.donors.items[0], TRI_ROLE_ILLEGAL, "here: ");
    expect_rival(&e.donors.items[1], TRI_ROLE_USED, "");
    tri_explanation_free(&e);

    add(&near, .config = good, .median_ns = 109, .later_ms = 1);
    e = explain(&asked);
    assert_int_equal(e.found.source, TRIAGE_SOURCE_NEAREST);
    assert_true(e.found.median_ns == 109);
    assert_string_equal(e.found.candidate.config, good);
    assert_int_equal(e.donors.count, 3);
    expect_rival(&e.donors.items[0], TRI_ROLE_ILLEGAL, "here: ");
    expect_rival(&e.donors.items[1], TRI_ROLE_USED,
                 "9.0 % slower there than the winner, which may not run here");
    assert_string_equal(e.donors.items[1].config, good);
    assert_string_equal(e.donors.items[1].problem, e.found.donor);
    expect_rival(&e.donors.items[2], TRI_ROLE_RUNNER_UP, "farther away");

    /* who is left out is served alike */
    tri_losses l;
    add(&asked, .config = good, .median_ns = 50);
    must(tri_losses_find(&l, &(tri_loss_question){own, &setting, NULL, 0, 0}));
    bool seen = false;
    for (size_t i = 0; i < l.count; i++)
        if (strstr(l.items[i].problem, "n=1020 ")) {
            seen = true;
            assert_int_equal(l.items[i].kind, TRI_LOSS_JUDGED);
            assert_string_equal(l.items[i].donor, e.found.donor);
        }
    assert_true(seen);
    tri_losses_free(&l);
    tri_explanation_free(&e);
}

/* ---- what nearest kernels cost ---- */

static tri_losses find_losses(const tri_problem *around, size_t limit, double least_distance) {
    tri_losses losses;
    must(tri_losses_find(&losses, &(tri_loss_question){own, &setting, around, limit, least_distance}));
    return losses;
}

static const tri_loss *loss_of(const tri_losses *losses, const tri_problem *problem) {
    char *key = NULL;
    const tri_loss *found = NULL;
    must(tri_problem_key(&key, problem));
    for (size_t i = 0; i < losses->count; i++)
        if (strcmp(losses->items[i].problem, key) == 0)
            found = &losses->items[i];
    free(key);
    assert_non_null(found);
    return found;
}

/* 768 served by 1024's winner loses 1 - 100/125, 1024 by 768's 1 - 100/200, 2048 by 1024's nothing. */
static void losses_are_measured(void **state) {
    (void)state;
    const tri_problem a = problem_of(768, 0.75), b = problem_of(1024, 0.75), c = problem_of(2048, 0.75);
    add(&a, .config = C(0), .median_ns = 100);
    add(&a, .config = C(1), .median_ns = 125);
    add(&b, .config = C(1), .median_ns = 100);
    add(&b, .config = C(0), .median_ns = 200);
    add(&c, .config = C(1), .median_ns = 300);
    tri_losses l = find_losses(NULL, 0, 0);
    assert_int_equal(l.count, 3);
    assert_int_equal(l.counts[TRI_LOSS_JUDGED], 3);
    assert_float_equal(loss_of(&l, &a)->loss, 0.2, 1e-9);
    assert_float_equal(loss_of(&l, &b)->loss, 0.5, 1e-9);
    assert_float_equal(loss_of(&l, &c)->loss, 0, 1e-9);
    assert_float_equal(l.mean, 0.7 / 3, 1e-9);
    assert_float_equal(l.median, 0.2, 1e-9);
    assert_float_equal(l.p90, 0.5, 1e-9);
    assert_float_equal(l.most, 0.5, 1e-9);
    tri_losses_free(&l);
    /* as far as from 768 to 2048: only that pair is, and 768 never tried what 1024 has */
    l = find_losses(NULL, 0, tri_problem_distance(&a, &c));
    assert_int_equal(l.counts[TRI_LOSS_NO_DONOR], 1);
    assert_int_equal(loss_of(&l, &b)->kind, TRI_LOSS_NO_DONOR);
    assert_int_equal(loss_of(&l, &c)->kind, TRI_LOSS_UNTIMED); /* C(0) was never timed there */
    assert_float_equal(loss_of(&l, &a)->loss, 0.2, 1e-9);
    tri_losses_free(&l);
    /* only the one that is nearest to what is asked */
    const tri_problem asked = problem_of(1536, 0.75);
    l = find_losses(&asked, 1, 0);
    assert_int_equal(l.count, 1);
    loss_of(&l, &c);
    tri_losses_free(&l);
}

/* What was never timed is not taken for no loss, and what failed is a loss of all. */
static void what_is_not_known_is_said(void **state) {
    (void)state;
    const tri_problem a = problem_of(1024, 0.75), b = problem_of(2048, 0.75), gone = problem_of(512, 0.75);
    tri_problem lone = problem_of(1024, 0.75);
    bsr_of(&lone)->in_type = bsr_of(&lone)->out_type = TRIAGE_BF16;
    add(&a, .config = C(0), .median_ns = 100);
    add(&b, .config = C(1), .median_ns = 100);
    add(&b, .config = C(0), .outcome = TRI_CRASHED);
    add(&lone, .config = C(0), .median_ns = 100);
    add(&gone, .config = C(0), .median_ns = 100, .source_hash = OTHER_HASH);
    tri_losses l = find_losses(NULL, 0, 0);
    assert_int_equal(l.count, 4);
    assert_int_equal(loss_of(&l, &a)->kind, TRI_LOSS_UNTIMED);
    assert_int_equal(loss_of(&l, &b)->kind, TRI_LOSS_FAILED);
    assert_int_equal(loss_of(&l, &lone)->kind, TRI_LOSS_NO_DONOR);
    assert_int_equal(loss_of(&l, &gone)->kind, TRI_LOSS_STALE);
    assert_true(l.mean == 1 && l.median == 1 && l.p90 == 1);
    assert_true(tri_losses_speak(&l)); /* one of two */
    tri_losses_free(&l);
    const tri_problem more = problem_of(4096, 0.75);
    add(&more, .config = C(2), .median_ns = 100); /* and of three, one */
    l = find_losses(NULL, 0, 0);
    assert_int_equal(loss_of(&l, &more)->kind, TRI_LOSS_UNTIMED);
    assert_false(tri_losses_speak(&l));
    tri_losses_free(&l);
}

/* A race takes place on a warm device: its times are not held against those of a search. */
static void like_is_compared_with_like(void **state) {
    (void)state;
    const tri_problem a = problem_of(1024, 0.75), b = problem_of(2048, 0.75);
    add(&a, .config = C(0), .median_ns = 100);
    add(&a, .config = C(0), .median_ns = 150, .stage = "race", .later_ms = 1);
    add(&a, .config = C(1), .median_ns = 110);
    add(&b, .config = C(1), .median_ns = 100);
    tri_losses l = find_losses(NULL, 0, 0);
    assert_float_equal(loss_of(&l, &a)->loss, 1 - 100.0 / 110, 1e-9);
    tri_losses_free(&l);
}

/* The distance of what is asked counts: near neighbours that do well say nothing of a donor far away. */
static void far_donors_are_judged_by_far_ones(void **state) {
    (void)state;
    const tri_problem a = problem_of(1024, 0.75), b = problem_of(1088, 0.75), far = problem_of(4096, 0.75);
    add(&a, .config = C(0), .median_ns = 100);
    add(&b, .config = C(0), .median_ns = 100);
    tri_explanation e = explain(&far);
    assert_int_equal(e.losses.counts[TRI_LOSS_NO_DONOR], 2);
    assert_true(e.losses.mean < 0);
    tri_explanation_free(&e);
    const tri_problem near = problem_of(960, 0.75);
    e = explain(&near);
    assert_int_equal(e.losses.counts[TRI_LOSS_JUDGED], 2);
    assert_true(e.losses.mean == 0);
    tri_explanation_free(&e);
}

/* ---- the explanation is of what happens ---- */

static void add_anything(tri_random *random, tri_store *store, const tri_problem *problem) {
    static const tri_outcome outcomes[] = {TRI_RIGHT, TRI_RIGHT, TRI_RIGHT, TRI_SLOW, TRI_CRASHED, TRI_WRONG};
    const tri_outcome outcome = outcomes[tri_random_below(random, 6)];
    const bool timed = outcome == TRI_RIGHT || outcome == TRI_SLOW;
    add_to(store, problem,
           (claim){.config = C(tri_random_below(random, 8)),
                   .source_hash = tri_random_below(random, 3) == 0 ? OTHER_HASH : NULL,
                   .stage = tri_random_below(random, 3) == 0 ? "race" : "search",
                   .outcome = outcome,
                   .warm = tri_random_below(random, 6) == 0,
                   .median_ns = timed ? 100 + (double)tri_random_below(random, 100) : 0,
                   .later_ms = (int64_t)tri_random_below(random, 20)});
}

static size_t count_used(const tri_rivals *rivals, const tri_rival **used) {
    size_t count = 0;
    for (size_t i = 0; i < rivals->count; i++) {
        if (rivals->items[i].role == TRI_ROLE_USED) {
            *used = &rivals->items[i];
            count++;
        }
    }
    return count;
}

static void expect_agreement(const tri_explanation *e) {
    const tri_rival *used = NULL;
    const tri_found *found = &e->found;
    assert_int_equal(count_used(&e->candidates, &used), found->source == TRIAGE_SOURCE_EXACT);
    assert_int_equal(count_used(&e->donors, &used), found->source == TRIAGE_SOURCE_NEAREST);
    if (!used)
        return;
    assert_string_equal(used->config, found->candidate.config);
    assert_string_equal(used->layer, e->layer);
    assert_true(used->median_ns == found->median_ns && used->distance == found->distance);
    if (found->source == TRIAGE_SOURCE_NEAREST)
        assert_string_equal(used->problem, found->donor);
}

#ifdef __SANITIZE_ADDRESS__ /* a minute each 20 */
enum { ROUNDS = 20, OF_EACH = 1 };
#else
enum { ROUNDS = 60, OF_EACH = 6 };
#endif

/* The search is told twice, in src/evidence/lookup.c and here: whatever the evidence, both find the same. */
static void explanations_agree_with_lookups(void **state) {
    (void)state;
    const int64_t sizes[] = {1024, 1088, 1152, 2048};
    int seen[3] = {0};
    tri_random random;
    tri_random_seed(&random, 11);
    for (int round = 0; round < ROUNDS; round++) {
        must(tri_store_open_memory(&own));
        must(tri_store_open_memory(&shipped));
        for (uint64_t i = 0, rows = tri_random_below(&random, 12); i < rows; i++) {
            const tri_problem problem = problem_of(sizes[tri_random_below(&random, 4)], 0.75);
            add_anything(&random, tri_random_below(&random, 2) ? own : shipped, &problem);
        }
        const tri_problem asked = problem_of(sizes[tri_random_below(&random, 4)], 0.75);
        tri_explanation e = explain(&asked);
        expect_agreement(&e);
        seen[e.found.source]++;
        tri_explanation_free(&e);
        close_stores(NULL);
    }
    assert_true(seen[0] >= OF_EACH && seen[1] >= OF_EACH && seen[2] >= OF_EACH);
}

#define IN_STORES(test) cmocka_unit_test_setup_teardown(test, open_stores, close_stores)

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_STORES(exact_and_its_rivals),
        IN_STORES(races_come_before_searches),
        IN_STORES(ones_own_comes_first),
        IN_STORES(nearest_and_its_rivals),
        IN_STORES(a_runner_up_serves),
        IN_STORES(losses_are_measured),
        IN_STORES(what_is_not_known_is_said),
        IN_STORES(like_is_compared_with_like),
        IN_STORES(far_donors_are_judged_by_far_ones),
        cmocka_unit_test(explanations_agree_with_lookups),
    };
    return cmocka_run_group_tests_name("explain", tests, open_setting, close_space);
}
