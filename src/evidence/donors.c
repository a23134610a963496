#include "evidence/donors.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "evidence/runner_up.h"

#define LOOKED_AT 4096 /* problems, to find the nearest */
#define WIDEST 32.0    /* octaves: sizes are below 2^31 */
#define FIRST_OCTAVES 0.125
#define FIRST_OCTAVES_OF_KIN 4.0 /* there is mostly nothing */
#define ENOUGH 8                 /* donors nearer than any of a family: it is not asked */

void tri_donor_clear(tri_donor *donor) {
    free(donor->key);
    tri_measurement_clear(&donor->winner);
    *donor = (tri_donor){0};
}

void tri_donor_list_free(tri_donor_list *list) {
    for (size_t i = 0; i < list->count; i++)
        tri_donor_clear(&list->items[i]);
    free(list->items);
    *list = (tri_donor_list){0};
}

/* Takes the donor. */
static triage_status append(tri_donor_list *list, tri_donor *donor) {
    triage_status status =
        tri_grow(&list->items, &list->capacity, list->count, sizeof *list->items, "donors");
    if (status == TRIAGE_OK)
        list->items[list->count++] = *donor;
    else
        tri_donor_clear(donor);
    return status;
}

/* ---- those around a problem ---- */

typedef struct neighbourhood {
    tri_donor_list *donors;
    const tri_problem *around;
    const char *except; /* a key; NULL: none */
    int64_t rows;       /* donors and those that cannot serve */
} neighbourhood;

static bool can_serve(tri_donor *donor, const char *key, const neighbourhood *near) {
    if ((near->except && strcmp(key, near->except) == 0) ||
        tri_problem_parse(&donor->problem, key) != TRIAGE_OK)
        return false;
    donor->distance = tri_problem_distance(near->around, &donor->problem);
    return isfinite(donor->distance);
}

/* A tri_donor_fn. */
static triage_status collect(void *user, const tri_stored_donor *row) {
    neighbourhood *near = user;
    triage_status status = TRIAGE_OK;
    tri_donor donor = {.was_asked = row->is_known || row->config};
    near->rows++;
    if (!can_serve(&donor, row->problem, near))
        return TRIAGE_OK;
    TRI_TRY(tri_strdup(&donor.key, row->problem));
    if (row->config) {
        donor.winner.median_ns = row->median_ns;
        TRI_TRY(tri_strdup(&donor.winner.config, row->config));
        TRI_TRY(tri_strdup(&donor.winner.source_hash, row->source_hash));
    }
    return append(near->donors, &donor);
done:
    tri_donor_clear(&donor);
    return status;
}

static size_t count_within(const tri_donor_list *donors, double distance) {
    size_t count = 0;
    for (size_t i = 0; i < donors->count; i++)
        count += donors->items[i].distance <= distance;
    return count;
}

/* Looks farther until the nearest `most` must be among what was seen: a distance counts each size in octaves, and what else
 * it counts only adds. */
static triage_status look_around(neighbourhood *near, const tri_donor_place *in, const char *family,
                                 size_t most, double octaves) {
    const double widest = WIDEST;
    int64_t sizes[3];
    near->around->op->sizes(sizes, near->around);
    tri_vicinity v = {.m = sizes[0], .n = sizes[1], .k = sizes[2]};
    triage_status status = TRIAGE_OK;
    double reach = 0;
    v.octaves = most ? octaves : widest;
    v.most = most ? 2 * (int64_t)most : INT32_MAX;
    for (bool enough = false; !enough;) {
        tri_donor_list_free(near->donors);
        near->rows = 0;
        TRI_TRY(tri_store_near(&reach, in->store, in->device, family, &v, collect, near));
        const bool cut = near->rows >= v.most;
        enough = isinf(reach) || (v.octaves >= widest && !cut) || (most && near->rows >= LOOKED_AT) ||
                 (most && count_within(near->donors, reach) >= most);
        if (cut)
            v.most *= 4;
        else
            v.octaves *= 2;
    }
done:
    return status;
}

/* For qsort: near ones first; of two as near, the one whose key comes first. */
static int by_distance(const void *left, const void *right) {
    const tri_donor *a = left, *b = right;
    if (a->distance != b->distance)
        return a->distance < b->distance ? -1 : 1;
    return strcmp(a->key, b->key);
}

/* Of one family; appends. */
static triage_status add_family(tri_donor_list *list, const neighbourhood *around, const tri_donor_place *in,
                                const tri_problem *member, size_t most, double octaves) {
    triage_status status = TRIAGE_OK;
    char *key = NULL, *family = NULL;
    tri_donor_list found = {0};
    neighbourhood near = *around;
    near.donors = &found;
    TRI_TRY(tri_problem_key(&key, member));
    TRI_TRY(tri_problem_family(&family, key));
    TRI_TRY(look_around(&near, in, family, most, octaves));
    for (size_t i = 0; i < found.count; i++) {
        tri_donor donor = found.items[i];
        found.items[i] = (tri_donor){0};
        TRI_TRY(append(list, &donor));
    }
done:
    tri_donor_list_free(&found);
    free(family);
    free(key);
    return status;
}

static triage_status add_kin(tri_donor_list *list, const neighbourhood *around, const tri_donor_place *in,
                             size_t most) {
    triage_status status = TRIAGE_OK;
    const tri_problem *problem = around->around;
    tri_problem kin[TRI_KIN_MAX];
    const size_t count = problem->op->kin ? problem->op->kin(kin, problem) : 0;
    for (size_t i = 0; i < count; i++) {
        const double least = tri_problem_distance(problem, &kin[i]);
        if (!isfinite(least) || (most && count_within(list, least) >= ENOUGH))
            continue;
        TRI_TRY(add_family(list, around, in, &kin[i], most, FIRST_OCTAVES_OF_KIN));
    }
done:
    return status;
}

triage_status tri_donors_around(tri_donor_list *out, const tri_donor_place *in, const tri_problem *problem,
                                size_t most, bool with_itself) {
    triage_status status = TRIAGE_OK;
    char *key = NULL;
    tri_donor_list made = {0};
    neighbourhood near = {.around = problem};
    TRI_TRY(tri_problem_key(&key, problem));
    near.except = with_itself ? NULL : key;
    TRI_TRY(add_family(&made, &near, in, problem, most, FIRST_OCTAVES));
    TRI_TRY(add_kin(&made, &near, in, most));
    if (made.count > 1)
        qsort(made.items, made.count, sizeof *made.items, by_distance);
    while (most && made.count > most)
        tri_donor_clear(&made.items[--made.count]);
    *out = made;
    made = (tri_donor_list){0};
done:
    tri_donor_list_free(&made);
    free(key);
    return status;
}

/* ---- all of an operation ---- */

/* A tri_key_fn. */
static triage_status collect_key(void *user, const char *problem, const char *device) {
    tri_donor donor = {.distance = INFINITY};
    (void)device;
    if (tri_problem_parse(&donor.problem, problem) != TRIAGE_OK)
        return TRIAGE_OK;
    triage_status status = tri_strdup(&donor.key, problem);
    return status == TRIAGE_OK ? append(user, &donor) : status;
}

triage_status tri_donors_all(tri_donor_list *out, const tri_donor_place *in, const tri_operation *op) {
    triage_status status = TRIAGE_OK;
    tri_donor_list made = {0};
    char *words = NULL;
    TRI_TRY(tri_format(&words, "%s ", op->name)); /* whole words only */
    TRI_TRY(tri_store_problems(in->store, in->device, words, collect_key, &made));
    *out = made;
    made = (tri_donor_list){0};
done:
    tri_donor_list_free(&made);
    free(words);
    return status;
}

/* ---- what they lend ---- */

triage_status tri_donor_ask(tri_donor *donor, const tri_donor_place *in) {
    return donor->was_asked ? TRIAGE_OK : tri_donor_read(donor, in);
}

triage_status tri_donor_read(tri_donor *donor, const tri_donor_place *in) {
    tri_measurement_clear(&donor->winner);
    triage_status status =
        tri_store_winner(in->store, donor->key, in->device, tri_runner_up_copy, &donor->winner);
    donor->was_asked = status == TRIAGE_OK;
    return status;
}

void tri_loan_clear(tri_loan *loan) {
    tri_rendering_free(&loan->here);
    tri_measurement_clear(&loan->runner_up);
    *loan = (tri_loan){0};
}

static triage_status lend_runner_up(tri_loan *out, const tri_donor *donor, const tri_donor_place *in,
                                    const tri_setting *setting, const tri_problem *asked) {
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_runner_up_find(&out->runner_up, in->store, in->device, setting, donor, asked,
                               donor->winner.median_ns));
    if (!out->runner_up.config)
        goto done;
    TRI_TRY(tri_rendering_make(&out->here, setting, asked, out->runner_up.config));
    out->row = &out->runner_up;
done:
    return status;
}

triage_status tri_donor_lend(tri_loan *out, tri_donor *donor, const tri_donor_place *in,
                             const tri_setting *setting, const tri_problem *asked) {
    const tri_measurement *winner = &donor->winner;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_donor_ask(donor, in));
    if (!winner->config)
        goto done;
    TRI_TRY(tri_freshness_of(&out->winner, setting, &donor->problem, winner->config, winner->source_hash));
    out->at_donor = out->winner.is != TRI_CURRENT;
    if (out->at_donor)
        goto done;
    TRI_TRY(tri_freshness_render(&out->winner, &out->here, setting, asked, winner->config, NULL));
    if (out->winner.is == TRI_CURRENT)
        out->row = winner;
    else
        status = lend_runner_up(out, donor, in, setting, asked);
done:
    return status;
}

/* ---- the one that serves ---- */

/* Is all that is known of a donor what strangers say of it? Its best row is of the best tier there is. */
static triage_status is_claim(bool *yes, const tri_donor *donor, const tri_donor_place *in) {
    triage_status status = TRIAGE_OK;
    tri_measurement best = {0};
    tri_tier tier = TRI_TIER_OWN;
    char name[128];
    TRI_TRY(tri_store_winner(in->store, donor->key, in->device, tri_runner_up_copy, &best));
    if (best.config)
        TRI_TRY(tri_store_origin(&tier, name, in->store, best.id));
    *yes = tier == TRI_TIER_UNKNOWN;
done:
    tri_measurement_clear(&best);
    return status;
}

typedef struct question {
    tri_donor_list *list;
    const tri_donor_place *in;
    const tri_setting *setting;
    const tri_problem *asked;
    double least_distance;
} question;

static triage_status choose_of(tri_donor_choice *out, const question *q, bool claims) {
    triage_status status = TRIAGE_OK;
    for (size_t i = 0; i < q->list->count && !out->loan.row; i++) {
        tri_donor *donor = &q->list->items[i];
        bool claim = false;
        if (donor->distance < q->least_distance)
            continue;
        TRI_TRY(is_claim(&claim, donor, q->in));
        if (claim != claims)
            continue;
        tri_loan_clear(&out->loan);
        TRI_TRY(tri_donor_lend(&out->loan, donor, q->in, q->setting, q->asked));
        out->by = i;
        out->is_claim = claim;
    }
done:
    return status;
}

triage_status tri_donors_choose(tri_donor_choice *out, tri_donor_list *list, const tri_donor_place *in,
                                const tri_setting *setting, const tri_problem *asked, double least_distance) {
    const question q = {list, in, setting, asked, least_distance};
    triage_status status = TRIAGE_OK;
    *out = (tri_donor_choice){0};
    TRI_TRY(choose_of(out, &q, false));
    if (!out->loan.row)
        TRI_TRY(choose_of(out, &q, true));
done:
    if (status != TRIAGE_OK)
        tri_loan_clear(&out->loan);
    return status;
}
