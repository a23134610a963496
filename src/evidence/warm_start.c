#include "evidence/warm_start.h"

#include <stdlib.h>
#include <string.h>

#define ROWS_LOOKED_AT 64   /* of a ranking: far behind the winner there is nothing to begin with */
#define TIMES_LOOKED_AT 256 /* of the nearest donor's ranking, whose slow ones teach, too */
#define DONORS_LOOKED_AT 16 /* until TRI_WARM_START_DONORS of them have something that is legal here */

/* One donor's part of the list to be. */
typedef struct ranks {
    const tri_configs *configs;
    size_t points[TRI_WARM_START_MOST];
    size_t count, right, next; /* of the points, the first `right` were not slow */
    tri_prior times[TIMES_LOOKED_AT];
    size_t time_count;
} ranks;

static bool find_point(size_t *point, const tri_configs *configs, const char *config) {
    for (*point = 0; *point < configs->count; ++*point)
        if (strcmp(configs->text[*point], config) == 0)
            return true;
    return false;
}

/* A tri_row_fn, over a ranking: what was slow comes last. */
static triage_status take_rank(void *user, const tri_measurement *row) {
    ranks *r = user;
    size_t point;
    if (!find_point(&point, r->configs, row->config))
        return TRIAGE_OK;
    if (r->time_count < TIMES_LOOKED_AT)
        r->times[r->time_count++] = (tri_prior){point, row->median_ns};
    if (r->count == TRI_WARM_START_MOST || point == r->configs->default_index)
        return TRIAGE_OK;
    r->points[r->count++] = point;
    r->right += row->outcome == TRI_RIGHT;
    return TRIAGE_OK;
}

static bool has_point(const tri_warm_start *start, size_t point) {
    for (size_t i = 0; i < start->count; i++)
        if (start->points[i] == point)
            return true;
    return false;
}

/* The donor's next configuration that nobody gave yet; false: it has no more of this kind. */
static bool next_of(size_t *point, ranks *r, const tri_warm_start *start, bool slow) {
    while (r->next < (slow ? r->count : r->right)) {
        *point = r->points[r->next++];
        if (!has_point(start, *point))
            return true;
    }
    return false;
}

static triage_status interleave(tri_warm_start *start, ranks *donors, size_t most, bool slow) {
    triage_status status = TRIAGE_OK;
    size_t point;
    for (bool more = true; more && start->count < most;) {
        more = false;
        for (size_t i = 0; i < start->donor_count && start->count < most; i++) {
            if (!next_of(&point, &donors[i], start, slow))
                continue;
            more = true;
            TRI_TRY(tri_strdup(&start->configs[start->count], donors[i].configs->text[point]));
            start->points[start->count++] = point;
        }
    }
done:
    return status;
}

static void take_donor(tri_warm_start *start, tri_donor *donor) {
    start->donors[start->donor_count++] = *donor;
    *donor = (tri_donor){0}; /* the warm start's now */
}

static triage_status take_times(tri_warm_start *start, const ranks *nearest) {
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_calloc(&start->prior, nearest->time_count + 1, sizeof *start->prior));
    memcpy(start->prior, nearest->times, nearest->time_count * sizeof *start->prior);
    start->prior_count = nearest->time_count;
done:
    return status;
}

triage_status tri_warm_start_find(tri_warm_start *out, tri_store *store, const char *device,
                                  const tri_problem *problem, const tri_configs *configs, size_t most,
                                  bool with_itself) {
    triage_status status = TRIAGE_OK;
    tri_donor_list list = {0};
    tri_warm_start made = {0};
    ranks donors[TRI_WARM_START_DONORS] = {0};
    const tri_donor_place in = {store, device};
    if (most == 0)
        goto done;
    TRI_TRY(tri_donors_around(&list, &in, problem, DONORS_LOOKED_AT, with_itself));
    for (size_t i = 0; i < list.count && made.donor_count < TRI_WARM_START_DONORS; i++) {
        ranks *r = &donors[made.donor_count];
        *r = (ranks){.configs = configs};
        TRI_TRY(tri_store_best(store, list.items[i].key, device,
                               made.donor_count == 0 ? TIMES_LOOKED_AT : ROWS_LOOKED_AT, take_rank, r));
        if (r->count > 0)
            take_donor(&made, &list.items[i]);
    }
    most = most < TRI_WARM_START_MOST ? most : TRI_WARM_START_MOST;
    TRI_TRY(interleave(&made, donors, most, false));
    TRI_TRY(interleave(&made, donors, most, true));
    TRI_TRY(take_times(&made, &donors[0]));
    *out = made;
    made = (tri_warm_start){0};
done:
    tri_warm_start_free(&made);
    tri_donor_list_free(&list);
    return status;
}

/* ---- predicted ---- */

static triage_status predict_times(tri_warm_start *start, const tri_predictor *predictor,
                                   const tri_problem *problem, const tri_device_info *info,
                                   const tri_configs *configs) {
    triage_status status = TRIAGE_OK;
    double *ns = NULL;
    tri_prior *prior = NULL;
    size_t count = 0;
    TRI_TRY(tri_calloc(&ns, configs->count + 1, sizeof *ns));
    TRI_TRY(tri_calloc(&prior, configs->count + 1, sizeof *prior));
    TRI_TRY(tri_predict_all(ns, predictor, problem, info, configs));
    for (size_t i = 0; i < configs->count; i++)
        if (ns[i] > 0)
            prior[count++] = (tri_prior){i, ns[i]};
    free(start->prior);
    start->prior = prior;
    start->prior_count = count;
    prior = NULL;
done:
    free(prior);
    free(ns);
    return status;
}

/* Moves or inserts; the last one may fall out. Before it are `at` others. */
static triage_status put(tri_warm_start *start, size_t at, size_t point, const char *config, size_t most) {
    char *text = NULL;
    size_t old = 0;
    triage_status status = tri_strdup(&text, config);
    if (status != TRIAGE_OK)
        return status;
    while (old < start->count && start->points[old] != point)
        old++;
    if (old == start->count && start->count < most)
        start->count++;
    else
        free(start->configs[old < start->count ? old : --old]);
    for (size_t i = old; i > at; i--) {
        start->points[i] = start->points[i - 1];
        start->configs[i] = start->configs[i - 1];
    }
    start->points[at] = point;
    start->configs[at] = text;
    return TRIAGE_OK;
}

triage_status tri_warm_start_predict(tri_warm_start *start, const tri_predictor *predictor,
                                     const tri_problem *problem, const tri_device_info *info,
                                     const tri_configs *configs, size_t most) {
    triage_status status = TRIAGE_OK;
    tri_predictions made;
    if (!predictor)
        return TRIAGE_OK;
    most = most < TRI_WARM_START_MOST ? most : TRI_WARM_START_MOST;
    TRI_TRY(tri_predict(&made, predictor, problem, info, configs, false));
    for (size_t i = 0; i < made.count && start->predicted < most; i++) {
        const size_t point = made.items[i].point;
        if (point == configs->default_index)
            continue;
        TRI_TRY(put(start, start->predicted, point, configs->text[point], most));
        start->predicted++;
    }
    if (made.count > 0)
        TRI_TRY(predict_times(start, predictor, problem, info, configs));
    if (start->predicted > 0 && start->donor_count == 0)
        start->layer = "predicted";
done:
    return status;
}

void tri_warm_start_free(tri_warm_start *start) {
    for (size_t i = 0; i < start->count; i++)
        free(start->configs[i]);
    for (size_t i = 0; i < start->donor_count; i++)
        tri_donor_clear(&start->donors[i]);
    free(start->prior);
    free(start->device_name);
    *start = (tri_warm_start){0};
}
