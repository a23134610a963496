#include "evidence/freshness.h"

#include <string.h>

void tri_rendering_free(tri_rendering *rendering) {
    tri_candidate_free(&rendering->candidate);
    tri_source_free(&rendering->source);
    *rendering = (tri_rendering){0};
}

triage_status tri_rendering_make(tri_rendering *out, const tri_setting *setting, const tri_problem *problem,
                                 const char *config) {
    triage_status status = TRIAGE_OK;
    tri_rendering made = {0};
    TRI_TRY(tri_space_candidate(&made.candidate, setting->space, problem, setting->info, config));
    TRI_TRY(tri_render(&made.source, &made.candidate, setting->data_dir));
    tri_source_hash(made.hash, &made.source, setting->info->target);
    *out = made;
    made = (tri_rendering){0};
done:
    tri_rendering_free(&made);
    return status;
}

bool tri_rendering_is_miss(triage_status status) {
    return status == TRIAGE_E_DATA || status == TRIAGE_E_UNSUPPORTED || status == TRIAGE_E_NOT_FOUND;
}

triage_status tri_freshness_render(tri_config_freshness *out, tri_rendering *made, const tri_setting *setting,
                                   const tri_problem *problem, const char *config, const char *source_hash) {
    tri_rendering today = {0};
    *out = (tri_config_freshness){.is = TRI_CURRENT};
    const triage_status status = tri_rendering_make(&today, setting, problem, config);
    if (status == TRIAGE_OK) {
        memcpy(out->hash, today.hash, sizeof out->hash);
        if (source_hash && strcmp(today.hash, source_hash) != 0) {
            out->is = TRI_STALE;
            snprintf(out->why, sizeof out->why, "its source has changed since it was measured");
        } else if (made) {
            *made = today;
            return TRIAGE_OK;
        }
        tri_rendering_free(&today);
        return TRIAGE_OK;
    }
    if (!tri_rendering_is_miss(status))
        return status;
    out->is = status == TRIAGE_E_UNSUPPORTED ? TRI_NOT_LEGAL : TRI_NOT_KNOWN;
    snprintf(out->why, sizeof out->why, "%s", triage_last_error());
    return TRIAGE_OK;
}

triage_status tri_freshness_of(tri_config_freshness *out, const tri_setting *setting,
                               const tri_problem *problem, const char *config, const char *source_hash) {
    return tri_freshness_render(out, NULL, setting, problem, config, source_hash);
}
