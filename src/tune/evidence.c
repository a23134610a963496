/* From what a worker reports to a row of evidence, and back. */
#include <stdlib.h>
#include <string.h>

#include "tune/search.h"

triage_status tri_search_fill(tri_measurement *out, const tri_search *search, const tri_row_subject *subject,
                              const tri_report *report, const char *circumstances) {
    tri_row_subject here = *subject;
    here.device = search->device_key;
    here.device_name = search->info.name;
    here.host = search->machine;
    here.seed = (int64_t)search->options->seed;
    const triage_status status = tri_report_row(out, &here, report, circumstances);
    out->cold_l2 = report->timing.samples ? report->timing.cold_l2 : !search->options->warm;
    return status;
}

bool tri_search_keeps_nothing(const tri_search *search) {
    return search->options->compile_only && !search->options->for_device;
}

/* Of compiling ahead, only what the source and the device decide: that a compiler took too long, or died, says
 * something of this machine, and that it compiled leaves all to be measured. */
static bool is_kept(const tri_search *search, const tri_search_trial *trial, const tri_measurement *row) {
    if (!search->options->compile_only)
        return true;
    return !tri_search_keeps_nothing(search) &&
           (row->outcome == TRI_SPILLED || row->outcome == TRI_TOO_LARGE ||
            (row->outcome == TRI_NOT_COMPILED && trial->compiled.status == TRIAGE_E_COMPILE));
}

triage_status tri_search_store(tri_search *search, tri_measurement *row) {
    const char *path = search->options->db_path;
    triage_status status = TRIAGE_OK;
    if (!search->store && !path)
        return TRIAGE_OK;
    if (!search->store) {
        TRI_TRY(tri_make_parent(path));
        TRI_TRY(tri_store_open(&search->own_store, path, TRI_STORE_WRITE));
        search->store = search->own_store;
    }
    TRI_TRY(tri_store_add(search->store, row));
done:
    return status;
}

triage_status tri_search_record(tri_search *search, tri_search_trial *trial, const tri_report *report,
                                const char *stage, const char *circumstances) {
    tri_measurement row = {0};
    triage_status status = TRIAGE_OK;
    const tri_compiled *compiled = &trial->compiled;
    const tri_row_subject subject = {.problem = search->problem_key,
                                     .kernel = trial->candidate.kernel,
                                     .config = trial->candidate.config,
                                     .source_hash = trial->hash,
                                     .compiler =
                                         compiled->compiler[0] ? compiled->compiler : search->compiler,
                                     .stage = stage};
    TRI_TRY(tri_search_fill(&row, search, &subject, report, circumstances));
    row.registers = compiled->registers;
    row.spill_bytes = compiled->spill_bytes;
    row.smem_bytes = (int64_t)trial->candidate.launch.smem_bytes + compiled->static_smem_bytes;
    if (is_kept(search, trial, &row))
        TRI_TRY(tri_search_store(search, &row));
    tri_measurement_clear(&trial->row.evidence);
    trial->row.evidence = row;
    trial->row.from_store = false;
    row = (tri_measurement){0};
done:
    tri_measurement_clear(&row);
    return status;
}

triage_status tri_search_record_failure(tri_search *search, tri_search_trial *trial, tri_outcome outcome,
                                        const char *stage, const char *reason) {
    tri_report report = {.outcome = outcome};
    snprintf(report.reason, sizeof report.reason, "%.250s", reason);
    return tri_search_record(search, trial, &report, stage,
                             search->options->for_device ? "{\"compiled_ahead\":true}" : NULL);
}

/* Times taken with another state of the L2 answer another question; so does a space that allows fewer spills. What was timed
 * beside other programs answers only while they are still there. */
static bool answers(const tri_search *search, const tri_search_trial *trial, const tri_measurement *row) {
    if (tri_search_is_trouble(row))
        return false;
    if (row->outcome == TRI_SPILLED && row->spill_bytes <= trial->candidate.spill_limit)
        return false;
    if (tri_search_is_busy_time(row) && !search->busy)
        return false;
    bool timed = row->outcome == TRI_RIGHT || row->outcome == TRI_SLOW;
    return !timed || row->cold_l2 == !search->options->warm;
}

triage_status tri_search_recall(bool *known, tri_search *search, tri_search_trial *trial) {
    tri_measurement row = {0};
    tri_tier tier = TRI_TIER_UNKNOWN;
    char name[128];
    triage_status status = TRIAGE_OK;
    *known = false;
    if (!search->store || search->options->force || tri_search_keeps_nothing(search))
        goto done;
    status = tri_store_measured(&row, search->store, search->problem_key, search->device_key, trial->hash,
                                search->compiler);
    if (status == TRIAGE_E_NOT_FOUND) {
        status = TRIAGE_OK;
        goto done;
    }
    if (status == TRIAGE_OK)
        status = tri_store_origin(&tier, name, search->store, row.id);
    if (status == TRIAGE_OK && tier != TRI_TIER_UNKNOWN && answers(search, trial, &row)) {
        trial->row.evidence = row;
        trial->row.from_store = *known = true;
        row = (tri_measurement){0};
    }
done:
    tri_measurement_clear(&row);
    return status;
}

typedef struct ranking {
    tri_search *search;
    size_t next;
} ranking;

static triage_status take_rank(void *user, const tri_measurement *row) {
    ranking *r = user;
    for (size_t i = 0; i < r->search->trial_count; i++)
        if (strcmp(r->search->trials[i]->hash, row->source_hash) == 0)
            r->search->trials[i]->rank = r->next;
    r->next++;
    return TRIAGE_OK;
}

triage_status tri_search_rank(tri_search *search) {
    for (size_t i = 0; i < search->trial_count; i++)
        search->trials[i]->rank = SIZE_MAX;
    /* The store prefers cold times: a warm run is ranked by its own. */
    if (!search->store || search->options->compile_only || search->options->warm)
        return TRIAGE_OK;
    return tri_store_ranking(search->store, search->problem_key, search->device_key, take_rank,
                             &(ranking){search, 0});
}
