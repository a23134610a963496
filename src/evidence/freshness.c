#include "evidence/freshness.h"

#include <string.h>

static triage_status hash_of(char hash[TRI_HASH_SIZE], const tri_setting *setting, const tri_problem *problem,
                             const char *config) {
    tri_candidate candidate = {0};
    tri_source source = {0};
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_space_candidate(&candidate, setting->space, problem, setting->info, config));
    TRI_TRY(tri_render(&source, &candidate, setting->data_dir));
    tri_source_hash(hash, &source, setting->info->target);
done:
    tri_source_free(&source);
    tri_candidate_free(&candidate);
    return status;
}

triage_status tri_freshness_of(tri_config_freshness *out, const tri_setting *setting,
                               const tri_problem *problem, const char *config, const char *source_hash) {
    *out = (tri_config_freshness){.currency = TRI_CURRENT};
    const triage_status status = hash_of(out->hash, setting, problem, config);
    if (status == TRIAGE_OK && (!source_hash || strcmp(out->hash, source_hash) == 0))
        return TRIAGE_OK;
    if (status == TRIAGE_OK) {
        out->currency = TRI_STALE;
        snprintf(out->why, sizeof out->why, "its source has changed since it was measured");
        return TRIAGE_OK;
    }
    if (status != TRIAGE_E_UNSUPPORTED && status != TRIAGE_E_DATA && status != TRIAGE_E_NOT_FOUND)
        return status;
    out->currency = status == TRIAGE_E_UNSUPPORTED ? TRI_NOT_LEGAL : TRI_NOT_KNOWN;
    snprintf(out->why, sizeof out->why, "%s", triage_last_error());
    return TRIAGE_OK;
}
