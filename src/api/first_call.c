#include "api/first_call.h"

#include <stdlib.h>
#include <string.h>

#include "evidence/freshness.h"
#include "evidence/warm_start.h"
#include "measure/bench.h"

#define ENTRANTS (1 + TRI_RIVALS)
#define ROUNDS 12
#define SEED 1

typedef struct entrant {
    tri_rendering made;
    const tri_image *image;
    tri_report report;
} entrant;

typedef struct first_race {
    triage_context *context;
    const tri_problem *problem;
    tri_setting setting;
    tri_inputs operands;
    const tri_pattern *pattern;
    entrant entrants[ENTRANTS];
    size_t count;
    tri_candidate reference; /* the plain kernel */
    tri_source reference_source;
    const tri_image *reference_image;
    bool was_run;
    double ms;
} first_race;

static void clear(first_race *r) {
    for (size_t i = 0; i < ENTRANTS; i++)
        tri_rendering_free(&r->entrants[i].made);
    tri_candidate_free(&r->reference);
    tri_source_free(&r->reference_source);
}

static void say(const first_race *r, triage_log_level level, const char *text) {
    tri_log_line(&r->context->log, level, "a first call does not race: %s", text);
}

/* ---- who races; under the context's lock ---- */

static triage_status enter(first_race *r, const char *config) {
    if (!config || r->count == ENTRANTS)
        return TRIAGE_OK;
    for (size_t i = 0; i < r->count; i++)
        if (strcmp(r->entrants[i].made.candidate.config, config) == 0)
            return TRIAGE_OK;
    const triage_status status =
        tri_rendering_make(&r->entrants[r->count].made, &r->setting, r->problem, config);
    if (tri_rendering_is_miss(status))
        return TRIAGE_OK;
    r->count += status == TRIAGE_OK;
    return status;
}

/* What near problems are fast with, where nothing is predicted. */
static triage_status enter_known(first_race *r, const tri_configs *configs, tri_store *store) {
    tri_warm_start known = {0};
    char *device = NULL;
    triage_status status = TRIAGE_OK;
    if (!store)
        return TRIAGE_OK;
    TRI_TRY(tri_device_key(&device, r->setting.info));
    TRI_TRY(tri_warm_start_find(&known, store, device, r->problem, configs, TRI_WARM_START_MOST, true));
    for (size_t i = 0; i < known.count; i++)
        TRI_TRY(enter(r, known.configs[i]));
done:
    tri_warm_start_free(&known);
    free(device);
    return status;
}

static triage_status enter_others(first_race *r) {
    tri_configs configs = {0};
    char *standard = NULL;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_space_enumerate(&configs, r->setting.space, r->problem, r->setting.info));
    TRI_TRY(enter_known(r, &configs, r->context->store));
    TRI_TRY(enter_known(r, &configs, r->context->pretuned));
    TRI_TRY(tri_space_default(&standard, r->setting.space, r->problem, r->setting.info));
    TRI_TRY(enter(r, standard));
done:
    free(standard);
    tri_configs_free(&configs);
    return status;
}

static triage_status enter_all(first_race *r, const tri_found *found) {
    triage_status status = TRIAGE_OK;
    TRI_TRY(enter(r, found->candidate.config));
    for (size_t i = 0; i < TRI_RIVALS; i++)
        TRI_TRY(enter(r, found->rivals[i]));
    if (r->count < ENTRANTS)
        TRI_TRY(enter_others(r));
    TRI_TRY(tri_space_reference(&r->reference, r->setting.space, r->problem, r->setting.info));
    TRI_TRY(tri_render(&r->reference_source, &r->reference, r->setting.data_dir));
done:
    return status;
}

/* Who does not compile here is out. */
static triage_status compile_all(first_race *r) {
    triage_status status = TRIAGE_OK;
    size_t kept = 0;
    for (size_t i = 0; i < r->count; i++) {
        entrant *e = &r->entrants[i];
        status = tri_loaded_compile(&e->image, r->context, &e->made.source);
        if (status == TRIAGE_E_MEMORY)
            return status;
        if (status != TRIAGE_OK || e->image->spill_bytes > e->made.candidate.spill_limit) {
            tri_rendering_free(&e->made);
            continue;
        }
        if (kept != i) {
            r->entrants[kept] = *e;
            *e = (entrant){0};
        }
        kept++;
    }
    r->count = kept;
    return tri_loaded_compile(&r->reference_image, r->context, &r->reference_source);
}

/* ---- the race; without the context's lock ---- */

static triage_status run_on(first_race *r, tri_bench *bench, int64_t deadline) {
    tri_trial trials[ENTRANTS];
    tri_entrant entrants[ENTRANTS] = {0};
    tri_report reports[ENTRANTS];
    for (size_t i = 0; i < r->count; i++) {
        const entrant *e = &r->entrants[i];
        trials[i] = (tri_trial){&e->made.source, &e->made.candidate.launch, e->image};
        entrants[i].trial = &trials[i];
    }
    const tri_race_rules rules = {.seed = SEED, .rounds = ROUNDS, .deadline_ns = deadline};
    const triage_status status = tri_bench_race(reports, bench, entrants, r->count, &rules);
    for (size_t i = 0; i < r->count && status == TRIAGE_OK; i++)
        r->entrants[i].report = reports[i];
    r->was_run = status == TRIAGE_OK;
    return status;
}

/* What is enqueued may still be writing the operands. */
static triage_status run(first_race *r) {
    const tri_bench_setup setup = {
        .problem = r->problem,
        .pattern = r->pattern,
        .seed = SEED,
        .reference = {&r->reference_source, &r->reference.launch, r->reference_image},
        .given = &r->operands};
    tri_bench *bench = NULL;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_device_synchronize(r->context->device));
    const int64_t start = tri_now_ns(), deadline = start + (int64_t)(r->context->first_call_ms * 1e6);
    TRI_TRY(tri_bench_open(&bench, r->context->device, &setup));
    TRI_TRY(run_on(r, bench, deadline));
    r->ms = (double)(tri_now_ns() - start) / 1e6;
done:
    tri_bench_close(bench);
    tri_device_flush_end(r->context->device);
    return status;
}

/* ---- evidence ---- */

static bool is_right(const entrant *e) {
    return e->report.outcome == TRI_RIGHT && e->report.timing.samples > 0;
}

static triage_status fill_row(tri_measurement *row, const first_race *r, const entrant *e) {
    const tri_device_info *info = r->setting.info;
    char compiler[TRI_COMPILER_SIZE], machine[TRI_HASH_SIZE];
    char *problem = NULL, *device = NULL, *circumstances = NULL;
    triage_status status = TRIAGE_OK;
    tri_machine_hash(machine);
    TRI_TRY(tri_compiler_version(compiler, sizeof compiler, info->target));
    TRI_TRY(tri_problem_key(&problem, r->problem));
    TRI_TRY(tri_device_key(&device, info));
    TRI_TRY(tri_report_circumstances(&circumstances, r->context->device, &e->report));
    const tri_row_subject subject = {.problem = problem,
                                     .kernel = e->made.candidate.kernel,
                                     .config = e->made.candidate.config,
                                     .source_hash = e->made.hash,
                                     .compiler = compiler,
                                     .stage = "race",
                                     .device = device,
                                     .device_name = info->name,
                                     .host = machine,
                                     .seed = SEED};
    TRI_TRY(tri_report_row(row, &subject, &e->report, circumstances));
    row->registers = e->image->registers;
    row->spill_bytes = e->image->spill_bytes;
    row->smem_bytes = (int64_t)e->made.candidate.launch.smem_bytes + e->image->static_smem_bytes;
done:
    free(problem);
    free(device);
    free(circumstances);
    return status;
}

static triage_status remember(const first_race *r, const entrant *e) {
    tri_measurement row = {0};
    triage_status status = TRIAGE_OK;
    TRI_TRY(fill_row(&row, r, e));
    TRI_TRY(tri_context_remember(r->context, &row));
done:
    tri_measurement_clear(&row);
    return status;
}

/* Only what was right: of a wrong result on operands that somebody else drew the log says more than a row that bars the
 * kernel. One row cannot be a race. */
static void keep_evidence(const first_race *r) {
    size_t right = 0;
    triage_status status = TRIAGE_OK;
    for (size_t i = 0; i < r->count; i++)
        right += is_right(&r->entrants[i]);
    for (size_t i = 0; i < r->count && right > 1 && status == TRIAGE_OK; i++)
        if (is_right(&r->entrants[i]))
            status = remember(r, &r->entrants[i]);
    if (status != TRIAGE_OK)
        tri_log_line(&r->context->log, TRIAGE_LOG_WARNING, "what a first call measured is not kept: %s",
                     triage_last_error());
}

/* ---- the winner ---- */

static size_t find_winner(const first_race *r) {
    size_t best = r->count;
    for (size_t i = 0; i < r->count; i++)
        if (is_right(&r->entrants[i]) && (best == r->count || r->entrants[i].report.timing.median_ns <
                                                                  r->entrants[best].report.timing.median_ns))
            best = i;
    return best;
}

static void complain(const first_race *r) {
    for (size_t i = 0; i < r->count; i++) {
        const tri_report *report = &r->entrants[i].report;
        if (report->outcome != TRI_RIGHT && !report->troubled)
            tri_log_line(&r->context->log, TRIAGE_LOG_WARNING,
                         "%s is not right on a first call's operands: %s",
                         r->entrants[i].made.candidate.config, report->reason);
    }
}

/* Its time is of this very problem. */
static triage_status take(tri_found *found, first_race *r, entrant *winner) {
    tri_found taken = {.source = TRIAGE_SOURCE_EXACT, .median_ns = winner->report.timing.median_ns};
    const triage_status status = tri_strdup(&taken.donor, "");
    if (status != TRIAGE_OK)
        return status;
    tri_log_line(&r->context->log, TRIAGE_LOG_INFO,
                 "a first call raced %zu kernels in %.1f ms: %s takes %.2f us", r->count, r->ms,
                 winner->made.candidate.config, taken.median_ns / 1e3);
    taken.candidate = winner->made.candidate;
    taken.rendered = winner->made.source;
    winner->made = (tri_rendering){0};
    tri_found_free(found);
    *found = taken;
    return TRIAGE_OK;
}

/* Without the context's lock, which is held before and after. */
static triage_status run_unlocked(first_race *r) {
    triage_context *context = r->context;
    pthread_mutex_unlock(&context->lock);
    pthread_mutex_lock(&context->race_lock);
    triage_status status = run(r);
    if (status != TRIAGE_OK)
        say(r, TRIAGE_LOG_INFO, triage_last_error());
    pthread_mutex_unlock(&context->race_lock);
    if (r->was_run) {
        complain(r);
        keep_evidence(r);
    }
    pthread_mutex_lock(&context->lock);
    return status == TRIAGE_E_DEVICE ? status : TRIAGE_OK;
}

static bool is_worth_it(first_race *r) {
    const double least = tri_bench_race_ms(r->setting.info, r->problem, &r->operands, 2);
    char text[96];
    if (least <= r->context->first_call_ms)
        return true;
    snprintf(text, sizeof text, "it would take about %.1f ms, and may %.1f", least,
             r->context->first_call_ms);
    say(r, TRIAGE_LOG_INFO, text);
    return false;
}

static triage_status race(tri_found *found, first_race *r, const tri_first_call *call) {
    triage_status status = TRIAGE_OK;
    TRI_TRY(call->operands(&r->operands, &r->pattern, call->handle, call->call));
    if (!is_worth_it(r))
        return TRIAGE_OK;
    TRI_TRY(enter_all(r, found));
    if (r->count < 2) {
        say(r, TRIAGE_LOG_INFO, "nothing else is known that may be as fast");
        return TRIAGE_OK;
    }
    TRI_TRY(compile_all(r));
    if (r->count < 2) {
        say(r, TRIAGE_LOG_INFO, "fewer than two of its kernels compile here");
        return TRIAGE_OK;
    }
    TRI_TRY(run_unlocked(r));
    const size_t winner = r->was_run ? find_winner(r) : r->count;
    if (winner < r->count)
        TRI_TRY(take(found, r, &r->entrants[winner]));
    else if (r->was_run)
        say(r, TRIAGE_LOG_INFO, "its time was over before any kernel was right and timed");
done:
    return status;
}

triage_status tri_first_call_race(tri_found *found, triage_context *context, tri_space *space,
                                  const tri_problem *problem, const tri_first_call *call) {
    first_race *r = NULL;
    if (!(context->first_call_ms > 0) || (found->source == TRIAGE_SOURCE_EXACT && !found->is_claim))
        return TRIAGE_OK;
    triage_status status = tri_calloc(&r, 1, sizeof *r);
    if (status != TRIAGE_OK)
        return status;
    *r = (first_race){.context = context,
                      .problem = problem,
                      .setting = {space, tri_device_describe(context->device), context->data_dir}};
    status = race(found, r, call);
    if (status != TRIAGE_OK && status != TRIAGE_E_MEMORY && status != TRIAGE_E_DEVICE) {
        say(r, TRIAGE_LOG_WARNING, triage_last_error());
        status = TRIAGE_OK; /* what was found stands */
    }
    clear(r);
    free(r);
    return status;
}
