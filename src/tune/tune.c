#include "tune/tune.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "evidence/sisters.h"
#include "evidence/pretuned.h"
#include "evidence/teach.h"
#include "tune/search.h"

#define JOBS_MAX 256
#define COUNT_LIMIT_S 120.0
#define SMALL_SPACE 400 /* configurations: a few minutes */

/* ---- the run's surroundings --------------------------------------------------------------------------- */

static int count_cores(void) {
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

static triage_status check_options(const tri_tune_options *options) {
    if (options->jobs < 0 || options->jobs > JOBS_MAX)
        return tri_fail(TRIAGE_E_INVALID, "%d jobs: allowed are 1 to %d, 0 for the number of cores",
                        options->jobs, JOBS_MAX);
    if (!(options->time_limit_s >= 0))
        return tri_fail(TRIAGE_E_INVALID, "a time limit of %g s: it must not be negative",
                        options->time_limit_s);
    if (!(options->stop_gain >= 0 && options->stop_gain < 1))
        return tri_fail(TRIAGE_E_INVALID, "a gain of %g: allowed are 0 to 1, without 1", options->stop_gain);
    if (options->for_device && !options->compile_only)
        return tri_fail(TRIAGE_E_INVALID, "only compiling can be done for a device elsewhere");
    if (options->compile_only && !options->target && !options->for_device)
        return tri_fail(TRIAGE_E_INVALID, "compile-only needs a target, e.g. sm_90a or host");
    return TRIAGE_OK;
}

/* Without a cache that can be used, the workers still need a place to hand binaries over. */
static triage_status choose_cache(tri_search *search) {
    const char *asked = search->options->cache_dir;
    if (asked && tri_cache_check(asked) == TRIAGE_OK) {
        search->cache_dir = asked;
        return TRIAGE_OK;
    }
    if (asked)
        tri_log_line(search->options->log, TRIAGE_LOG_WARNING, "%s: kernels are compiled without it",
                     triage_last_error());
    const triage_status status = tri_scratch_open(&search->own_cache);
    search->cache_dir = search->own_cache.path;
    return status;
}

static void free_trial(tri_search_trial *trial) {
    tri_candidate_free(&trial->candidate);
    tri_source_free(&trial->source);
    tri_measurement_clear(&trial->row.evidence);
    free(trial->row.config);
    free(trial);
}

static void close_search(tri_search *search) {
    for (size_t i = 0; i < search->worker_count; i++)
        tri_worker_free(search->workers[i]);
    for (size_t i = 0; i < search->trial_count; i++)
        free_trial(search->trials[i]);
    if (search->pattern_fd >= 0)
        close(search->pattern_fd);
    tri_device_lock_close(&search->lock); /* the measuring process is gone by now */
    tri_scratch_close(&search->own_cache);
    if (search->workers)
        tri_scratch_sweep(); /* what compilers had that were ended */
    tri_measurement_clear(&search->dense.evidence);
    tri_store_close(search->own_store);
    tri_strategy_free(search->strategy);
    tri_warm_start_free(&search->warm_start);
    tri_configs_free(&search->configs);
    tri_candidate_free(&search->reference);
    tri_source_free(&search->reference_source);
    tri_space_free(search->space);
    free(search->problem_key);
    free(search->device_key);
    free(search->workers);
    free(search->trials);
    free(search->by_config);
    *search = (tri_search){.pattern_fd = -1, .lock = TRI_DEVICE_LOCK_INIT};
}

static triage_status open_search(tri_search *search) {
    const tri_tune_options *options = search->options;
    triage_status status = TRIAGE_OK;
    TRI_TRY(check_options(options));
    search->store = options->store;
    search->budget = options->budget;
    search->jobs = options->jobs ? options->jobs : count_cores();
    search->start_ns = tri_now_ns();
    search->worker_count = (size_t)search->jobs + 1;
    TRI_TRY(tri_calloc(&search->workers, search->worker_count, sizeof(tri_worker *)));
    tri_machine_hash(search->machine);
    if (search->pattern)
        TRI_TRY(tri_pattern_share(&search->pattern_fd, search->pattern));
done:
    return status;
}

/* ---- what there is to search -------------------------------------------------------------------------- */

static triage_status find_device(tri_search *search) {
    tri_event event = {0};
    triage_status status = TRIAGE_OK;
    if (search->options->for_device)
        search->info = *search->options->for_device;
    else if (search->options->compile_only)
        return tri_device_info_of_target(&search->info, search->options->target);
    if (search->options->compile_only)
        return TRIAGE_OK;
    while (search->measurer != TRI_MEASURER_OPENED && !tri_search_stopped(search)) {
        TRI_TRY(tri_search_feed_measurer(search, false)); /* again, where the machine was in trouble */
        tri_search_show(search, NULL, NULL);
        TRI_TRY(tri_workers_wait(&event, search->workers, 1, 200));
        if (event.kind != TRI_EVENT_NONE)
            TRI_TRY(tri_search_starting(search, &event));
        tri_event_clear(&event);
    }
    if (search->interrupted)
        status = tri_fail(TRIAGE_E_INTERRUPTED, "interrupted before anything was measured");
    else if (search->measurer != TRI_MEASURER_OPENED)
        status = tri_fail(TRIAGE_E_TIMEOUT, "the time limit of %g s passed before the device was open",
                          search->options->time_limit_s);
done:
    tri_event_clear(&event);
    return status;
}

static triage_status open_space(tri_search *search) {
    const tri_tune_options *options = search->options;
    tri_space_options space = {.data_dir = options->data_dir, .path = options->space_path};
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_problem_check(search->problem));
    TRI_TRY(tri_problem_key(&search->problem_key, search->problem));
    TRI_TRY(tri_device_key(&search->device_key, &search->info));
    TRI_TRY(tri_space_open(&search->space, search->problem->op, &space));
    TRI_TRY(tri_space_enumerate(&search->configs, search->space, search->problem, &search->info));
    TRI_TRY(tri_calloc(&search->by_config, search->configs.count, sizeof(tri_search_trial *)));
    TRI_TRY(tri_space_reference(&search->reference, search->space, search->problem, &search->info));
    TRI_TRY(tri_render(&search->reference_source, &search->reference, options->data_dir));
done:
    return status;
}

/* A database that is there is read from the start; one that is not waits for its first row. */
static triage_status open_known_store(tri_search *search) {
    const char *path = search->options->db_path;
    if (search->store || !path || tri_search_keeps_nothing(search) || access(path, F_OK) != 0)
        return TRIAGE_OK;
    triage_status status = tri_store_open(&search->own_store, path, TRI_STORE_WRITE);
    search->store = search->own_store;
    return status;
}

static void say_known(const tri_search *search) {
    const tri_warm_start *warm_start = &search->warm_start;
    char from[400] = "";
    size_t used = 0;
    for (size_t i = 0; i < warm_start->donor_count && used < sizeof from; i++) {
        char outline[120];
        tri_problem_outline(outline, sizeof outline, &warm_start->donors[i].problem);
        used += (size_t)snprintf(from + used, sizeof from - used, "%s%s (distance %.2g)", i ? ", " : "",
                                 outline, warm_start->donors[i].distance);
    }
    const bool is_shipped = warm_start->layer && strcmp(warm_start->layer, "shipped") == 0;
    if (warm_start->predicted > 0)
        tri_log_line(search->options->log, TRIAGE_LOG_INFO,
                     "starts with %zu configurations, of which %zu are predicted to be fast%s%s",
                     warm_start->count, warm_start->predicted, used ? "; near are " : "", from);
    else if (warm_start->count > 0)
        tri_log_line(search->options->log, TRIAGE_LOG_INFO,
                     "starts with %zu configuration%s known from %s%s%s", warm_start->count,
                     warm_start->count == 1 ? "" : "s", from,
                     warm_start->device_name ? ", on "
                     : is_shipped            ? ", of the shipped evidence"
                                             : "",
                     warm_start->device_name ? warm_start->device_name : "");
}

/* Of what is shipped for this device. */
static triage_status recall_shipped(tri_search *search, size_t most) {
    const tri_tune_options *options = search->options;
    triage_status status = TRIAGE_OK;
    tri_store *shipped = NULL;
    TRI_TRY(tri_pretuned_open(&shipped, &search->info, options->data_dir, options->log));
    tri_warm_start_free(&search->warm_start);
    if (shipped)
        TRI_TRY(tri_warm_start_find(&search->warm_start, shipped, search->device_key, search->problem,
                                    &search->configs, most, true));
    search->warm_start.layer = "shipped";
done:
    tri_store_close(shipped);
    return status;
}

static triage_status recall_elsewhere(tri_search *search, size_t most) {
    const tri_tune_options *options = search->options;
    triage_status status = TRIAGE_OK;
    tri_sisters *sisters = NULL;
    TRI_TRY(tri_sisters_open(&sisters, search->store, &search->info, options->data_dir, options->log));
    TRI_TRY(tri_sisters_warm_start(&search->warm_start, sisters, search->problem, &search->configs, most,
                                   options->data_dir));
done:
    tri_sisters_close(sisters);
    return status;
}

/* What the times of all problems make one expect. */
static triage_status recall_predicted(tri_search *search, size_t most) {
    const tri_tune_options *options = search->options;
    triage_status status = TRIAGE_OK;
    tri_store *shipped = NULL;
    tri_predictor *predictor = NULL;
    if (!search->problem->op->cost || search->info.cc == 0)
        return TRIAGE_OK;
    TRI_TRY(tri_pretuned_open(&shipped, &search->info, options->data_dir, options->log));
    TRI_TRY(tri_predictor_open(&predictor, &(tri_teaching){.op = search->problem->op,
                                                           .info = &search->info,
                                                           .own = search->store,
                                                           .shipped = shipped,
                                                           .data_dir = options->data_dir,
                                                           .cache_dir = options->cache_dir,
                                                           .log = options->log}));
    TRI_TRY(tri_warm_start_predict(&search->warm_start, predictor, search->problem, &search->info,
                                   &search->configs, most));
done:
    tri_predictor_free(predictor);
    tri_store_close(shipped);
    return status;
}

/* The default is the first candidate of every search: what is predicted and known has the rest of the budget. The first layer
 * that knows anything near gives all that is known. */
static triage_status recall_near(tri_search *search) {
    const size_t budget = search->options->budget, most = budget ? budget - 1 : TRI_WARM_START_MOST;
    triage_status status = TRIAGE_OK;
    if (most == 0 || search->options->cold_start || tri_search_keeps_nothing(search))
        return TRIAGE_OK;
    if (search->store)
        TRI_TRY(tri_warm_start_find(&search->warm_start, search->store, search->device_key, search->problem,
                                    &search->configs, most, false));
    search->warm_start.layer = "own";
    if (search->warm_start.count == 0)
        TRI_TRY(recall_shipped(search, most));
    if (search->warm_start.count == 0)
        TRI_TRY(recall_elsewhere(search, most));
    TRI_TRY(recall_predicted(search, most));
    say_known(search);
    TRI_TRY(tri_search_recall_claims(search, most));
done:
    return status;
}

static bool is_chosen_from(const tri_search *search) {
    const size_t count = search->configs.count, budget = search->budget;
    return search->options->stop_gain > 0 || count > SMALL_SPACE || (budget > 0 && budget < count);
}

/* A space that is tried as a whole needs no strategy, and compiling alone gives nothing to learn from. */
static const char *choose_strategy(const tri_search *search) {
    return search->options->compile_only || !is_chosen_from(search) ? "exhaustive" : "model";
}

static triage_status open_strategy(tri_search *search) {
    const tri_tune_options *options = search->options;
    triage_status status = TRIAGE_OK;
    TRI_TRY(recall_near(search));
    /* Ahead of a search that chooses, only what it begins with is known: the default and what is near. */
    if (options->for_device && !options->strategy && is_chosen_from(search))
        search->budget = 1 + search->warm_start.count;
    search->strategy_name = options->strategy ? options->strategy : choose_strategy(search);
    TRI_TRY(tri_strategy_open(&search->strategy, search->strategy_name, &search->configs,
                              &(tri_strategy_options){.data_dir = options->data_dir,
                                                      .seed = options->seed,
                                                      .budget = search->budget,
                                                      .stop_gain = options->stop_gain,
                                                      .known = search->warm_start.points,
                                                      .known_count = search->warm_start.count,
                                                      .prior = search->warm_start.prior,
                                                      .prior_count = search->warm_start.prior_count}));
done:
    return status;
}

/* ---- the result ------------------------------------------------------------------------------------------ */

static size_t count_ties(const tri_tune_result *result) {
    size_t ties = 0;
    while (ties < result->count && !result->rows[ties].compiled &&
           result->rows[ties].evidence.outcome == TRI_RIGHT &&
           result->rows[ties].evidence.low_ns <= result->rows[0].evidence.high_ns)
        ties++;
    return ties;
}

/* Moves the rows that are done out of the search, best first. */
static triage_status fill_result(tri_tune_result *out, tri_search *search) {
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_search_rank(search));
    if (search->trial_count > 0)
        qsort(search->trials, search->trial_count, sizeof(tri_search_trial *), tri_trial_order);
    TRI_TRY(tri_calloc(&out->rows, search->trial_count + 1, sizeof *out->rows));
    for (size_t i = 0; i < search->trial_count; i++) {
        tri_search_trial *trial = search->trials[i];
        if (trial->state != TRI_TRIAL_DONE)
            continue;
        out->rows[out->count++] = trial->row;
        trial->row = (tri_tune_row){0};
    }
    out->device = search->info;
    out->problem_key = search->problem_key;
    out->device_key = search->device_key;
    search->problem_key = search->device_key = NULL;
    out->space_size = search->configs.count;
    snprintf(out->strategy, sizeof out->strategy, "%s", search->strategy_name);
    snprintf(out->ended, sizeof out->ended, "%s", tri_strategy_ended(search->strategy));
    out->warm_start = search->warm_start;
    search->warm_start = (tri_warm_start){0};
    out->tie_set = count_ties(out);
    out->winner = out->tie_set > 0 ? 0 : -1;
    out->left_out = search->left_out_count;
    memcpy(out->trouble, search->trouble, sizeof out->trouble);
    out->answered_from_store = out->count > 0 && out->left_out == 0;
    for (size_t i = 0; i < out->count; i++) {
        out->answered_from_store = out->answered_from_store && out->rows[i].from_store;
        out->busy += !out->rows[i].compiled && tri_search_is_busy_time(&out->rows[i].evidence);
    }
    out->dense = search->dense;
    search->dense = (tri_tune_dense){0};
    out->interrupted = search->interrupted;
    out->out_of_time = search->out_of_time;
    out->elapsed_s = (double)(tri_now_ns() - search->start_ns) / 1e9;
    out->compile_s = search->compile_ms / 1e3;
done:
    return status;
}

static triage_status judge(const tri_tune_result *result, const tri_tune_options *options) {
    size_t compiled = 0;
    for (size_t i = 0; i < result->count; i++)
        compiled += result->rows[i].compiled;
    if (result->interrupted)
        return tri_fail(TRIAGE_E_INTERRUPTED, "interrupted: the results of %zu candidates are kept",
                        result->count);
    if (options->for_device) /* what failed is what was asked for */
        return TRIAGE_OK;
    if (options->compile_only && result->left_out > 0)
        return tri_fail(TRIAGE_E_IO, "%zu candidates could not be compiled on this machine: %s",
                        result->left_out, result->trouble);
    if (options->compile_only && compiled < result->count)
        return tri_fail(TRIAGE_E_COMPILE, "%zu of %zu candidates did not compile within their limits",
                        result->count - compiled, result->count);
    if (options->compile_only || result->winner >= 0)
        return TRIAGE_OK;
    if (result->left_out > 0)
        return tri_fail(TRIAGE_E_IO,
                        "none of %zu candidates was right, and %zu could not be judged on this machine: %s",
                        result->count + result->left_out, result->left_out, result->trouble);
    if (result->out_of_time)
        return tri_fail(TRIAGE_E_WRONG, "no candidate was found right within %g s", options->time_limit_s);
    return tri_fail(TRIAGE_E_WRONG, "none of %zu candidates was right", result->count);
}

void tri_tune_result_free(tri_tune_result *result) {
    if (!result)
        return;
    for (size_t i = 0; i < result->count; i++) {
        tri_measurement_clear(&result->rows[i].evidence);
        free(result->rows[i].config);
    }
    tri_measurement_clear(&result->dense.evidence);
    tri_warm_start_free(&result->warm_start);
    free(result->rows);
    free(result->problem_key);
    free(result->device_key);
    *result = (tri_tune_result){.winner = -1};
}

/* ---- entries ------------------------------------------------------------------------------------------- */

triage_status tri_tune_describe(tri_device_info *out, const tri_tune_options *options) {
    tri_search search = {.options = options, .pattern_fd = -1, .lock = TRI_DEVICE_LOCK_INIT};
    triage_status status = TRIAGE_OK;
    TRI_TRY(open_search(&search));
    TRI_TRY(find_device(&search));
    *out = search.info;
done:
    close_search(&search);
    return status;
}

triage_status tri_tune_count_gpus(int *out, const tri_tune_options *options) {
    tri_worker *worker = NULL;
    tri_event event = {0};
    triage_status status = TRIAGE_OK;
    *out = 0;
    TRI_TRY(tri_worker_start(&worker, options->worker_path, TRI_WORKER_MEASURE, -1));
    TRI_TRY(tri_worker_count(worker, COUNT_LIMIT_S));
    while (event.kind == TRI_EVENT_NONE && !(options->interrupted && *options->interrupted))
        TRI_TRY(tri_workers_wait(&event, &worker, 1, 200));
    *out = event.gpus;
    if (event.kind == TRI_EVENT_NONE)
        status = tri_fail(TRIAGE_E_INTERRUPTED, "interrupted before the GPUs were counted");
    else if (event.kind != TRI_EVENT_COUNTED)
        status =
            tri_fail(event.kind == TRI_EVENT_FAILED ? event.status : TRIAGE_E_DEVICE, "%s", event.message);
    else if (event.gpus == 0)
        status = tri_fail(TRIAGE_E_NO_DEVICE, "the driver finds no GPU");
done:
    tri_event_clear(&event);
    tri_worker_free(worker);
    return status;
}

triage_status tri_tune_run(tri_tune_result *out, const tri_problem *problem, const tri_pattern *pattern,
                           const tri_tune_options *options, tri_tune_progress_fn progress, void *user) {
    tri_search search = {.problem = problem,
                         .pattern = pattern,
                         .options = options,
                         .progress = progress,
                         .user = user,
                         .pattern_fd = -1,
                         .lock = TRI_DEVICE_LOCK_INIT};
    triage_status status = TRIAGE_OK;
    *out = (tri_tune_result){.winner = -1};
    TRI_TRY(open_search(&search));
    TRI_TRY(find_device(&search));
    TRI_TRY(open_space(&search));
    TRI_TRY(open_known_store(&search));
    TRI_TRY(open_strategy(&search));
    TRI_TRY(choose_cache(&search));
    if (options->compile_only)
        TRI_TRY(tri_search_compile_reference(&search));
    TRI_TRY(tri_search_run(&search));
    if (!options->compile_only && !tri_search_stopped(&search))
        TRI_TRY(tri_search_race(&search));
    if (options->dense && !options->compile_only)
        TRI_TRY(tri_search_dense(&search));
    TRI_TRY(fill_result(out, &search));
    status = judge(out, options);
done:
    close_search(&search);
    return status;
}
