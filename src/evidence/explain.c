#include "evidence/explain.h"

#include <stdlib.h>
#include <string.h>

#include "evidence/donors.h"
#include "evidence/runner_up.h"

/* A limit for what was made up: candidates that are listed, and donors that are asked before one is found. */
#define CANDIDATES_LISTED 512
#define DONORS_ASKED 64
/* Tuned problems around the asked one that are left out to estimate what a nearest kernel costs. */
#define LOSS_SAMPLES 16
/* Their donors are as far from them as the asked problem's is from it, or nearly. */
#define AS_FAR 0.8

static const char *const names[] = {"used",    "tie",   "runner-up", "below",
                                    "demoted", "stale", "illegal",   "failed"};

const char *tri_row_role_name(tri_row_role role) {
    return names[role];
}

/* What one layer is asked. */
typedef struct asking {
    tri_explanation *out;
    const tri_setting *setting;
    const tri_problem *problem;
    tri_store *store;
    const char *layer;
    bool found;                 /* the one that serves was seen in this layer */
    tri_measurement best_times; /* of the first row that serves: numbers only */
    bool best_is_race;
    size_t donor_limit;
    size_t listed; /* candidates of this layer */
} asking;

/* ---- rivals ---- */

static void clear_rival(tri_rival *rival) {
    free(rival->problem);
    free(rival->config);
    free(rival->stage);
    free(rival->why);
}

static void free_rivals(tri_rivals *rivals) {
    for (size_t i = 0; i < rivals->count; i++)
        clear_rival(&rivals->items[i]);
    free(rivals->items);
}

/* row NULL: a problem without a winner. The rival stays the list's. */
static triage_status add_rival(tri_rival **out, tri_rivals *list, const asking *a, const char *problem,
                               const tri_measurement *row) {
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_grow(&list->items, &list->capacity, list->count, sizeof *list->items, "rivals"));
    tri_rival *rival = &list->items[list->count++];
    *rival = (tri_rival){.layer = a->layer, .median_ns = row ? row->median_ns : 0};
    snprintf(rival->id, sizeof rival->id, "%s", row ? row->id : "");
    snprintf(rival->source_hash, sizeof rival->source_hash, "%s", row ? row->source_hash : "");
    TRI_TRY(tri_strdup(&rival->problem, problem));
    TRI_TRY(tri_strdup(&rival->config, row ? row->config : ""));
    TRI_TRY(tri_strdup(&rival->stage, row ? row->stage : ""));
    *out = rival;
done:
    return status;
}

static triage_status say(tri_rival *rival, tri_row_role role, const char *why) {
    rival->role = role;
    return tri_strdup(&rival->why, why);
}

/* Of a configuration that does not serve. */
static triage_status say_verdict(tri_rival *rival, const tri_config_freshness *verdict, const char *where) {
    rival->role = verdict->is == TRI_STALE ? TRI_ROLE_STALE : TRI_ROLE_ILLEGAL;
    return tri_format(&rival->why, "%s%s", where, verdict->why);
}

/* ---- the asked problem's own candidates ---- */

static bool answers_exactly(const asking *a) {
    return a->out->found.source == TRIAGE_SOURCE_EXACT && strcmp(a->out->layer, a->layer) == 0;
}

/* A candidate that would serve, behind the one that does. */
static triage_status place_behind(tri_rival *rival, const asking *a, const tri_measurement *row) {
    char why[160];
    const double more = 100 * (row->median_ns / a->best_times.median_ns - 1);
    const bool is_race = strcmp(row->stage, "race") == 0;
    if (row->outcome == TRI_SLOW)
        return say(rival, TRI_ROLE_DEMOTED, "clearly slower: its timing was stopped early");
    if (!is_race && a->best_is_race) {
        snprintf(why, sizeof why, "only searched: not among the finalists of the race");
        return say(rival, TRI_ROLE_DEMOTED, why);
    }
    if (tri_measurement_ties(&a->best_times, row))
        return say(rival, TRI_ROLE_TIE, "within noise; the first of the tie set is taken everywhere");
    snprintf(why, sizeof why, "%.1f %% slower", more);
    return say(rival, TRI_ROLE_RUNNER_UP, why);
}

static triage_status place_first(tri_rival *rival, asking *a, const tri_measurement *row) {
    a->found = true;
    a->best_times = (tri_measurement){
        .outcome = row->outcome, .median_ns = row->median_ns, .low_ns = row->low_ns, .high_ns = row->high_ns};
    a->best_is_race = strcmp(row->stage, "race") == 0;
    if (answers_exactly(a))
        return say(rival, TRI_ROLE_USED, "");
    return say(rival, TRI_ROLE_BELOW,
               strcmp(a->layer, "own") == 0
                   ? "a stranger's claim: what is shipped comes first, triage_tune checks it"
                   : "one's own exact evidence comes first");
}

/* A tri_row_fn, over a ranking. */
static triage_status add_ranked(void *user, const tri_measurement *row) {
    asking *a = user;
    tri_rival *rival = NULL;
    tri_config_freshness verdict;
    triage_status status = TRIAGE_OK;
    a->listed++;
    TRI_TRY(add_rival(&rival, &a->out->candidates, a, row->problem, row));
    TRI_TRY(tri_freshness_of(&verdict, a->setting, a->problem, row->config, row->source_hash));
    if (verdict.is != TRI_CURRENT)
        TRI_TRY(say_verdict(rival, &verdict, ""));
    else
        TRI_TRY(a->found ? place_behind(rival, a, row) : place_first(rival, a, row));
done:
    return status;
}

static bool is_listed(const asking *a, const tri_measurement *row) {
    const tri_rivals *list = &a->out->candidates;
    for (size_t i = 0; i < list->count; i++) {
        const tri_rival *item = &list->items[i];
        if (item->layer == a->layer && strcmp(item->config, row->config) == 0 &&
            strcmp(item->source_hash, row->source_hash) == 0)
            return true;
    }
    return false;
}

/* A tri_row_fn, over all evidence, newest first: what the ranking leaves out. */
static triage_status add_unranked(void *user, const tri_measurement *row) {
    asking *a = user;
    tri_rival *rival = NULL;
    triage_status status = TRIAGE_OK;
    const bool timed = row->outcome == TRI_RIGHT || row->outcome == TRI_SLOW;
    if (is_listed(a, row))
        return TRIAGE_OK;
    if (a->listed == CANDIDATES_LISTED) {
        a->out->candidates_cut = true;
        return TRIAGE_E_INTERRUPTED;
    }
    a->listed++;
    TRI_TRY(add_rival(&rival, &a->out->candidates, a, row->problem, row));
    if (timed) {
        TRI_TRY(say(rival, TRI_ROLE_DEMOTED,
                    row->cold_l2 ? "failed after it was timed" : "only warm times, and there are cold ones"));
        goto done;
    }
    rival->role = TRI_ROLE_FAILED;
    TRI_TRY(tri_format(&rival->why, "%s: %s", tri_outcome_name(row->outcome), row->reason));
done:
    return status;
}

static triage_status list_candidates(asking *a) {
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_store_best(a->store, a->out->problem, a->out->device, CANDIDATES_LISTED, add_ranked, a));
    status = tri_store_evidence(a->store, a->out->problem, a->out->device, add_unranked, a);
    if (status == TRIAGE_E_INTERRUPTED && a->out->candidates_cut)
        status = TRIAGE_OK;
done:
    return status;
}

/* ---- other problems ---- */

static triage_status place_donor(tri_rival *rival, asking *a) {
    const tri_found *found = &a->out->found;
    const bool first = !a->found;
    a->found = true;
    if (found->source == TRIAGE_SOURCE_EXACT)
        return say(rival, TRI_ROLE_BELOW, "the asked problem is tuned itself");
    if (found->source == TRIAGE_SOURCE_PREDICTED)
        return say(rival, TRI_ROLE_BELOW, "not so near that it comes before a prediction");
    if (strcmp(a->out->layer, a->layer) != 0)
        return say(rival, TRI_ROLE_BELOW, "one's own evidence comes first, near or far");
    return first ? say(rival, TRI_ROLE_USED, "") : say(rival, TRI_ROLE_RUNNER_UP, "farther away");
}

static triage_status add_donor(tri_rival **out, asking *a, const tri_donor *from,
                               const tri_measurement *row) {
    triage_status status = add_rival(out, &a->out->donors, a, from->key, row);
    if (status == TRIAGE_OK) {
        (*out)->distance = from->distance;
        tri_problem_distance_parts(&(*out)->parts, a->problem, &from->problem);
    }
    return status;
}

/* What a donor lends in the place of its winner. */
static triage_status add_runner_up(asking *a, const tri_donor *from, const tri_loan *loan) {
    triage_status status = TRIAGE_OK;
    tri_rival *rival = NULL;
    TRI_TRY(add_donor(&rival, a, from, loan->row));
    TRI_TRY(place_donor(rival, a));
    if (rival->role == TRI_ROLE_USED) {
        free(rival->why);
        rival->why = NULL;
        TRI_TRY(tri_format(&rival->why, "%.1f %% slower there than the winner, which may not run here",
                           100 * (loan->row->median_ns / from->winner.median_ns - 1)));
    }
done:
    return status;
}

static triage_status judge_donor(asking *a, tri_donor *from) {
    const tri_donor_place in = {a->store, a->out->device};
    triage_status status = TRIAGE_OK;
    tri_loan loan = {0};
    tri_rival *rival = NULL;
    TRI_TRY(tri_donor_read(from, &in));
    TRI_TRY(add_donor(&rival, a, from, from->winner.config ? &from->winner : NULL));
    if (!from->winner.config) {
        status = say(rival, TRI_ROLE_FAILED, "no winner: what was right there has failed since");
        goto done;
    }
    TRI_TRY(tri_donor_lend(&loan, from, &in, a->setting, a->problem));
    if (loan.winner.is == TRI_CURRENT) {
        status = place_donor(rival, a);
        goto done;
    }
    TRI_TRY(say_verdict(rival, &loan.winner, loan.at_donor ? "there: " : "here: "));
    if (loan.row)
        TRI_TRY(add_runner_up(a, from, &loan));
done:
    tri_loan_clear(&loan);
    return status;
}

static triage_status list_donors(asking *a) {
    triage_status status = TRIAGE_OK;
    tri_donor_list list = {0};
    const bool sought = a->out->found.source == TRIAGE_SOURCE_NEAREST && strcmp(a->out->layer, a->layer) == 0;
    const tri_donor_place in = {a->store, a->out->device};
    size_t at = 0, more = 0;
    a->found = false;
    TRI_TRY(tri_donors_around(&list, &in, a->problem, 0, false));
    for (; at < list.count && (more < a->donor_limit || (sought && !a->found && at < DONORS_ASKED)); at++) {
        more += !sought || a->found;
        TRI_TRY(judge_donor(a, &list.items[at]));
    }
    a->out->donors_left_out += list.count - at;
done:
    tri_donor_list_free(&list);
    return status;
}

/* ---- all of it ---- */

/* The lookup itself, so that what is explained is what happens. */
static triage_status look_up(tri_explanation *out, tri_store *own, tri_store *shipped, tri_sisters *sisters,
                             const tri_predictor *predictor, const tri_setting *setting,
                             const tri_problem *problem) {
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_lookup(&out->found, own, setting->space, problem, setting->info, setting->data_dir));
    const triage_source above = out->found.source;
    const bool claim = out->found.is_claim;
    out->layer = above == TRIAGE_SOURCE_DEFAULT ? "space" : "own";
    if (shipped && (above != TRIAGE_SOURCE_EXACT || claim)) {
        TRI_TRY(tri_lookup_below(&out->found, shipped, setting->space, problem, setting->info,
                                 setting->data_dir));
        if (out->found.source != above || out->found.is_claim != claim)
            out->layer = "shipped";
    }
    if (sisters && out->found.source == TRIAGE_SOURCE_DEFAULT) {
        TRI_TRY(tri_sisters_look_up(&out->found, sisters, setting->space, problem, setting->info,
                                    setting->data_dir));
        if (out->found.source != TRIAGE_SOURCE_DEFAULT)
            out->layer = "elsewhere";
    }
    TRI_TRY(tri_lookup_predicted(&out->found, predictor, own, setting->space, problem, setting->info,
                                 setting->data_dir, true));
    if (out->found.source == TRIAGE_SOURCE_PREDICTED)
        out->layer = "predictor";
done:
    return status;
}

static triage_status list_layer(tri_explanation *out, tri_store *store, const char *layer,
                                const tri_setting *setting, const tri_problem *problem, size_t donor_limit) {
    triage_status status = TRIAGE_OK;
    asking a = {.out = out,
                .setting = setting,
                .problem = problem,
                .store = store,
                .layer = layer,
                .donor_limit = donor_limit};
    if (!store)
        return TRIAGE_OK;
    TRI_TRY(list_candidates(&a));
    TRI_TRY(list_donors(&a));
done:
    return status;
}

/* The donor on another device, which its own list has not. */
static triage_status list_elsewhere(tri_explanation *out, const tri_problem *problem) {
    triage_status status = TRIAGE_OK;
    char none[] = "";
    asking a = {.out = out, .problem = problem, .layer = "elsewhere"};
    tri_donor from = {.key = out->found.donor};
    const tri_measurement row = {.config = out->found.candidate.config,
                                 .stage = none,
                                 .source_hash = none,
                                 .median_ns = out->found.median_ns};
    tri_rival *rival = NULL;
    TRI_TRY(tri_problem_parse(&from.problem, from.key));
    from.distance = tri_problem_distance(problem, &from.problem);
    TRI_TRY(add_donor(&rival, &a, &from, &row));
    free(rival->why);
    rival->why = NULL;
    rival->role = TRI_ROLE_USED;
    TRI_TRY(tri_format(&rival->why, "measured on %s", out->found.device_name));
done:
    return status;
}

triage_status tri_explain(tri_explanation *out, tri_store *own, tri_store *shipped, tri_sisters *sisters,
                          const tri_predictor *predictor, const tri_setting *setting,
                          const tri_problem *problem, size_t donor_limit) {
    triage_status status = TRIAGE_OK;
    tri_explanation made = {0};
    TRI_TRY(tri_problem_key(&made.problem, problem));
    TRI_TRY(tri_device_key(&made.device, setting->info));
    TRI_TRY(look_up(&made, own, shipped, sisters, predictor, setting, problem));
    TRI_TRY(list_layer(&made, own, "own", setting, problem, donor_limit));
    TRI_TRY(list_layer(&made, shipped, "shipped", setting, problem, donor_limit));
    if (made.found.device)
        TRI_TRY(list_elsewhere(&made, problem));
    else if (made.found.source == TRIAGE_SOURCE_NEAREST) {
        const tri_loss_question question = {.store = strcmp(made.layer, "own") == 0 ? own : shipped,
                                            .setting = setting,
                                            .around = problem,
                                            .limit = LOSS_SAMPLES,
                                            .least_distance = AS_FAR * made.found.distance};
        TRI_TRY(tri_losses_find(&made.losses, &question));
    }
    *out = made;
    made = (tri_explanation){0};
done:
    tri_explanation_free(&made);
    return status;
}

void tri_explanation_free(tri_explanation *explanation) {
    if (!explanation)
        return;
    tri_found_free(&explanation->found);
    free(explanation->problem);
    free(explanation->device);
    free_rivals(&explanation->candidates);
    free_rivals(&explanation->donors);
    tri_losses_free(&explanation->losses);
    *explanation = (tri_explanation){0};
}
