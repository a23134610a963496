#include "evidence/runner_up.h"

#include <stdlib.h>
#include <string.h>

#define ROWS_LOOKED_AT 64 /* what lies behind is hardly within the slack */

typedef struct seeking {
    tri_measurement *out;
    const tri_setting *setting;
    const tri_problem *there, *here;
    double most_ns;
} seeking;

triage_status tri_runner_up_copy(void *out, const tri_measurement *row) {
    /* the texts are the store's until the next step */
    tri_measurement *copy = out;
    triage_status status = TRIAGE_OK;
    *copy = (tri_measurement){.median_ns = row->median_ns};
    memcpy(copy->id, row->id, sizeof copy->id);
    TRI_TRY(tri_strdup(&copy->config, row->config));
    TRI_TRY(tri_strdup(&copy->source_hash, row->source_hash));
    TRI_TRY(tri_strdup(&copy->stage, row->stage));
done:
    if (status != TRIAGE_OK)
        tri_measurement_clear(copy);
    return status;
}

/* A tri_row_fn, over a ranking. */
static triage_status consider(void *user, const tri_measurement *row) {
    const seeking *s = user;
    tri_config_freshness verdict;
    triage_status status = TRIAGE_OK;
    if (s->out->config || row->median_ns > s->most_ns)
        return TRIAGE_OK;
    TRI_TRY(tri_freshness_of(&verdict, s->setting, s->here, row->config, NULL));
    if (verdict.is != TRI_CURRENT)
        return TRIAGE_OK;
    TRI_TRY(tri_freshness_of(&verdict, s->setting, s->there, row->config, row->source_hash));
    if (verdict.is == TRI_CURRENT)
        TRI_TRY(tri_runner_up_copy(s->out, row));
done:
    return status;
}

triage_status tri_runner_up_find(tri_measurement *out, tri_store *store, const char *device,
                                 const tri_setting *setting, const tri_donor *donor, const tri_problem *asked,
                                 double winner_ns) {
    *out = (tri_measurement){0};
    seeking s = {.out = out,
                 .setting = setting,
                 .there = &donor->problem,
                 .here = asked,
                 .most_ns = TRI_RUNNER_UP_SLACK * winner_ns};
    triage_status status = tri_store_best(store, donor->key, device, ROWS_LOOKED_AT, consider, &s);
    if (status != TRIAGE_OK)
        tri_measurement_clear(out);
    return status;
}
