/* What strangers claim of the very problem (docs/trust.md) is tried first: each is verified and timed here like every
 * candidate, and what is found is one's own evidence, before which the claim is silent from then on. */
#include "tune/search.h"

#include <stdlib.h>
#include <string.h>

#define CLAIMS_TRIED 4     /* in one run: a flood of them takes no budget */
#define ROWS_LOOKED_AT 256 /* one's own come first in a ranking */

typedef struct claims {
    const tri_search *search;
    size_t points[CLAIMS_TRIED];
    size_t count;
} claims;

static bool find_point(size_t *point, const tri_configs *configs, const char *config) {
    for (*point = 0; *point < configs->count; ++*point)
        if (strcmp(configs->text[*point], config) == 0)
            return true;
    return false;
}

/* A tri_row_fn, over a ranking. */
static triage_status take_claim(void *user, const tri_measurement *row) {
    claims *c = user;
    triage_status status = TRIAGE_OK;
    tri_tier tier;
    char name[128];
    size_t point;
    if (c->count == CLAIMS_TRIED || !find_point(&point, &c->search->configs, row->config) ||
        point == c->search->configs.default_index)
        return TRIAGE_OK;
    for (size_t i = 0; i < c->count; i++)
        if (c->points[i] == point)
            return TRIAGE_OK;
    TRI_TRY(tri_store_origin(&tier, name, c->search->store, row->id));
    if (tier == TRI_TIER_UNKNOWN)
        c->points[c->count++] = point;
done:
    return status;
}

static void remove_known(tri_warm_start *warm_start, size_t at) {
    free(warm_start->configs[at]);
    warm_start->count--;
    memmove(&warm_start->points[at], &warm_start->points[at + 1],
            (warm_start->count - at) * sizeof warm_start->points[0]);
    memmove(&warm_start->configs[at], &warm_start->configs[at + 1],
            (warm_start->count - at) * sizeof warm_start->configs[0]);
}

static triage_status put_first(tri_warm_start *warm_start, size_t point, const char *config, size_t most) {
    char *copy = NULL;
    triage_status status = tri_strdup(&copy, config);
    if (status != TRIAGE_OK)
        return status;
    for (size_t i = warm_start->count; i-- > 0;)
        if (warm_start->points[i] == point)
            remove_known(warm_start, i);
    if (warm_start->count > 0 && (warm_start->count == TRI_WARM_START_MOST || warm_start->count == most))
        remove_known(warm_start, warm_start->count - 1);
    memmove(&warm_start->points[1], &warm_start->points[0], warm_start->count * sizeof warm_start->points[0]);
    memmove(&warm_start->configs[1], &warm_start->configs[0],
            warm_start->count * sizeof warm_start->configs[0]);
    warm_start->points[0] = point;
    warm_start->configs[0] = copy;
    warm_start->count++;
    return TRIAGE_OK;
}

triage_status tri_search_recall_claims(tri_search *search, size_t most) {
    triage_status status = TRIAGE_OK;
    claims found = {.search = search};
    if (!search->store)
        return TRIAGE_OK;
    TRI_TRY(tri_store_best(search->store, search->problem_key, search->device_key, ROWS_LOOKED_AT, take_claim,
                           &found));
    if (found.count > most)
        found.count = most;
    for (size_t i = found.count; i-- > 0;)
        TRI_TRY(put_first(&search->warm_start, found.points[i], search->configs.text[found.points[i]], most));
    if (found.count > 0)
        tri_log_line(search->options->log, TRIAGE_LOG_INFO,
                     "first checks %zu configuration%s that others say %s fast for this problem", found.count,
                     found.count == 1 ? "" : "s", found.count == 1 ? "is" : "are");
done:
    return status;
}
