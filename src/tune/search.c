/* The loop: propose, compile ahead, measure one at a time, tell the strategy, until nothing is left.
 *
 *   strategy -> WAITING -> COMPILING (pool) -> COMPILED -> MEASURING (one worker) -> DONE -> strategy
 *
 * On the cuda device compiling goes on while the GPU measures. On the host device both would want the same
 * cores, so they take turns: a batch is compiled, then measured in quiet. */
#include "tune/search.h"

#include <stdlib.h>
#include <string.h>

#define OPEN_LIMIT_S 120.0
#define SETUP_LIMIT_S 600.0
#define COMPILE_LIMIT_S 300.0
#define WAIT_MS 200
#define REGISTERS_PER_BLOCK 65536
#define FAILED_STARTS_MAX 3

/* ---- small questions ---------------------------------------------------------------------------------- */

bool tri_search_is_host(const tri_search *search) {
    return search->info.cc == 0;
}

double tri_search_seconds_used(const tri_search *search) {
    const int64_t now = tri_now_ns(), since = search->lock.taken ? 0 : search->lock.waits_since_ns,
                  waits = since ? now - since : 0;
    return (double)(now - search->start_ns - search->waited_ns - waits) / 1e9;
}

bool tri_search_stopped(tri_search *search) {
    const tri_tune_options *options = search->options;
    if (options->interrupted && *options->interrupted)
        search->interrupted = true;
    if (options->time_limit_s > 0 && tri_search_seconds_used(search) > options->time_limit_s)
        search->out_of_time = true;
    if (options->overtaken && *options->overtaken)
        search->out_of_time = true;
    return search->interrupted || search->out_of_time;
}

triage_status tri_search_take_turn(bool *ours, tri_search *search) {
    const tri_tune_options *options = search->options;
    tri_device_lock *lock = &search->lock;
    triage_status status = TRIAGE_OK;
    *ours = lock->taken || !options->lock_dir || options->compile_only;
    if (*ours)
        return TRIAGE_OK;
    if (lock->fd < 0)
        TRI_TRY(tri_device_lock_open(lock, options->lock_dir, &search->info, TRI_DEVICE_LOCK_RUN));
    TRI_TRY(tri_device_lock_take(ours, lock, &options->patience, options->log));
    if (*ours && lock->waits_since_ns)
        search->waited_ns = tri_now_ns() - lock->waits_since_ns;
done:
    return status;
}

double tri_search_candidate_limit(const tri_search *search) {
    if (search->options->candidate_limit_s > 0)
        return search->options->candidate_limit_s;
    return 20 + (search->setup_ms + 40 * search->plain_ms) / 1000;
}

void tri_search_drop_worker(tri_search *search, size_t worker) {
    tri_worker_free(search->workers[worker]);
    search->workers[worker] = NULL;
    if (worker == 0)
        search->measurer = TRI_MEASURER_NONE;
}

static size_t count_in(const tri_search *search, tri_trial_state state) {
    size_t count = 0;
    for (size_t i = 0; i < search->trial_count; i++)
        count += search->trials[i]->state == state;
    return count;
}

static size_t total(const tri_search *search) {
    const size_t budget = search->budget;
    return budget && budget < search->configs.count ? budget : search->configs.count;
}

/* ---- proposals ------------------------------------------------------------------------------------------ */

/* Does the device wait for compilers, on the whole, rather than they for it? */
static bool compiling_is_slow(const tri_search *search) {
    return search->options->compile_only || search->compile_ms / search->jobs > search->measure_ms;
}

static triage_status tell(tri_search *search, const tri_search_trial *trial) {
    const tri_measurement *row = &trial->row.evidence;
    bool timed = (row->outcome == TRI_RIGHT || row->outcome == TRI_SLOW) && !trial->row.compiled;
    const tri_strategy_result result = {timed ? row->median_ns : -1,
                                        compiling_is_slow(search) ? trial->row.compile_ms : 0};
    return tri_strategy_tell(search->strategy, trial->index, &result);
}

static triage_status finish(tri_search *search, tri_search_trial *trial) {
    const tri_measurement *row = &trial->row.evidence;
    trial->state = TRI_TRIAL_DONE;
    search->done_count++;
    if (!trial->row.compiled && row->outcome == TRI_RIGHT &&
        (search->best_median_ns == 0 || row->median_ns < search->best_median_ns))
        search->best_median_ns = row->median_ns;
    if (search->progress)
        search->progress(search->user, search->done_count, total(search), &trial->row);
    return trial->proposed ? tell(search, trial) : TRIAGE_OK;
}

static triage_status fail_trial(tri_search *search, tri_search_trial *trial, tri_outcome outcome,
                                const char *reason) {
    triage_status status = tri_search_record_failure(search, trial, outcome, "search", reason);
    return status == TRIAGE_OK ? finish(search, trial) : status;
}

static triage_status add_trial(tri_search *search, int64_t index, bool proposed) {
    tri_search_trial *trial = NULL;
    bool known = false;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_grow(&search->trials, &search->trial_capacity, search->trial_count,
                     sizeof(tri_search_trial *), "candidates"));
    TRI_TRY(tri_calloc(&trial, 1, sizeof *trial));
    search->trials[search->trial_count++] = trial; /* freed with the search */
    search->by_config[index] = trial;
    trial->index = index;
    trial->proposed = proposed;
    trial->compiled.registers = trial->compiled.spill_bytes = -1;
    TRI_TRY(tri_strdup(&trial->row.config, search->configs.text[index]));
    TRI_TRY(tri_space_candidate(&trial->candidate, search->space, search->problem, &search->info,
                                trial->row.config));
    TRI_TRY(tri_render(&trial->source, &trial->candidate, search->options->data_dir));
    tri_source_hash(trial->hash, &trial->source, search->info.target);
    TRI_TRY(tri_search_recall(&known, search, trial));
    if (known)
        TRI_TRY(finish(search, trial));
done:
    return status;
}

/* The default comes first, whatever the strategy: it is the one to beat. */
static triage_status add_proposal(tri_search *search, int64_t index) {
    tri_search_trial *earlier = search->by_config[index];
    if (!earlier)
        return add_trial(search, index, true);
    earlier->proposed = true;
    if (earlier->state == TRI_TRIAL_LEFT_OUT)
        return tri_strategy_tell(search->strategy, index, &(tri_strategy_result){-1, 0});
    return earlier->state == TRI_TRIAL_DONE ? tell(search, earlier) : TRIAGE_OK;
}

/* As far ahead as keeps every compiler busy; on the host device, a batch when the last one is done. */
static bool wants_more(const tri_search *search) {
    size_t outstanding = search->trial_count - search->done_count, jobs = (size_t)search->jobs;
    if (search->exhausted || search->trial_count >= total(search))
        return false;
    if (!search->options->compile_only && tri_search_is_host(search))
        return outstanding == 0 || (outstanding < 4 * jobs && search->measurer != TRI_MEASURER_BUSY &&
                                    count_in(search, TRI_TRIAL_COMPILED) == 0);
    return outstanding < 2 * jobs + 4;
}

static triage_status propose(tri_search *search) {
    triage_status status = TRIAGE_OK;
    if (search->trial_count == 0)
        TRI_TRY(add_trial(search, (int64_t)search->configs.default_index, false));
    while (wants_more(search)) {
        int64_t index = -1;
        bool waiting = false;
        TRI_TRY(tri_strategy_next(&index, &waiting, search->strategy));
        if (index < 0) {
            search->exhausted = !waiting;
            break;
        }
        TRI_TRY(add_proposal(search, index));
        if (tri_search_stopped(search))
            break;
    }
done:
    return status;
}

/* ---- compiling ------------------------------------------------------------------------------------------ */

/* An idle compiler, started when there is room for one more; NULL: all are busy. */
static triage_status idle_compiler(size_t *out, tri_search *search) {
    size_t empty = 0;
    triage_status status = TRIAGE_OK;
    *out = 0;
    for (size_t i = 1; i < search->worker_count && *out == 0; i++) {
        if (!search->workers[i])
            empty = empty ? empty : i;
        else if (tri_worker_idle(search->workers[i]))
            *out = i;
    }
    if (*out || !empty)
        return TRIAGE_OK;
    status = tri_worker_start(&search->workers[empty], search->options->worker_path, TRI_WORKER_COMPILE, -1);
    *out = empty;
    return status;
}

static triage_status feed_compilers(tri_search *search) {
    bool quiet = !search->options->compile_only && tri_search_is_host(search), ours = true;
    triage_status status = TRIAGE_OK;
    if (tri_search_pauses(search) || (quiet && search->measurer == TRI_MEASURER_BUSY))
        return TRIAGE_OK;
    if (quiet && count_in(search, TRI_TRIAL_WAITING) > 0)
        TRI_TRY(tri_search_take_turn(&ours, search)); /* compiling disturbs the other's times, too */
    if (!ours)
        return TRIAGE_OK;
    for (size_t i = 0; i < search->trial_count; i++) {
        tri_search_trial *trial = search->trials[i];
        if (trial->state != TRI_TRIAL_WAITING)
            continue;
        status = idle_compiler(&trial->worker, search);
        if (status == TRIAGE_E_MEMORY) /* no process to be had now */
            return tri_search_trouble(search, NULL, TRI_TRIAL_WAITING, status, triage_last_error(), false);
        if (status != TRIAGE_OK || !trial->worker)
            break;
        TRI_TRY(tri_worker_compile(search->workers[trial->worker], search->info.target, &trial->source,
                                   search->cache_dir, COMPILE_LIMIT_S));
        trial->state = TRI_TRIAL_COMPILING;
    }
done:
    return status;
}

static tri_search_trial *trial_in(const tri_search *search, size_t worker, tri_trial_state state) {
    for (size_t i = 0; i < search->trial_count; i++)
        if (search->trials[i]->state == state && search->trials[i]->worker == worker)
            return search->trials[i];
    return NULL;
}

/* Does what was compiled fit? The reason goes to `reason`. */
static tri_outcome fit(const tri_search *search, const tri_search_trial *trial, char *reason, size_t size) {
    const tri_compiled *c = &trial->compiled;
    const tri_launch *launch = &trial->candidate.launch;
    int64_t threads = (int64_t)launch->block[0] * launch->block[1] * launch->block[2];
    int64_t smem = (int64_t)launch->smem_bytes + c->static_smem_bytes;
    if (c->spill_bytes > trial->candidate.spill_limit) {
        snprintf(reason, size, "spills %d bytes a thread: at most %d", c->spill_bytes,
                 trial->candidate.spill_limit);
        return TRI_SPILLED;
    }
    if (tri_search_is_host(search))
        return TRI_RIGHT;
    if (smem > search->info.smem_bytes_max) {
        snprintf(reason, size, "needs %lld bytes of shared memory: the device has %lld", (long long)smem,
                 (long long)search->info.smem_bytes_max);
        return TRI_TOO_LARGE;
    }
    if (c->registers > 0 && c->registers * threads > REGISTERS_PER_BLOCK) {
        snprintf(reason, size, "needs %lld registers a block: a multiprocessor has %d",
                 (long long)c->registers * threads, REGISTERS_PER_BLOCK);
        return TRI_TOO_LARGE;
    }
    return TRI_RIGHT;
}

static triage_status take_compiled(tri_search *search, tri_search_trial *trial, const tri_compiled *c) {
    char reason[160] = "";
    trial->compiled = *c;
    trial->row.compile_ms = c->from_cache ? 0 : c->ms;
    search->compile_ms += trial->row.compile_ms;
    if (c->status == TRIAGE_E_NO_DEVICE)
        return tri_fail(c->status, "%s", c->message); /* no compiler: nobody gets any further */
    if (c->status != TRIAGE_OK && c->status != TRIAGE_E_COMPILE)
        return tri_search_trouble(search, trial, TRI_TRIAL_WAITING, c->status, c->message, false);
    tri_search_well(search);
    if (c->status != TRIAGE_OK)
        return fail_trial(search, trial, TRI_NOT_COMPILED, c->message);
    tri_outcome outcome = fit(search, trial, reason, sizeof reason);
    if (outcome != TRI_RIGHT)
        return fail_trial(search, trial, outcome, reason);
    trial->state = TRI_TRIAL_COMPILED;
    if (!search->options->compile_only)
        return TRIAGE_OK;
    triage_status status = tri_search_record_failure(search, trial, TRI_RIGHT, "compile", "");
    trial->row.compiled = true;
    return status == TRIAGE_OK ? finish(search, trial) : status;
}

static triage_status on_compiler(tri_search *search, const tri_event *event) {
    tri_search_trial *trial = trial_in(search, event->worker, TRI_TRIAL_COMPILING);
    char reason[600];
    if (event->kind == TRI_EVENT_COMPILED)
        return trial ? take_compiled(search, trial, &event->compiled) : TRIAGE_OK;
    tri_search_drop_worker(search, event->worker);
    if (!trial)
        return TRIAGE_OK;
    if (event->kind == TRI_EVENT_FAILED && event->status == TRIAGE_E_NO_DEVICE)
        return tri_fail(event->status, "%s", event->message);
    if (event->kind == TRI_EVENT_DIED)
        snprintf(reason, sizeof reason, "the compiler's process was lost: %s", event->message);
    else
        snprintf(reason, sizeof reason, "%s", event->message);
    return tri_search_trouble(search, trial, TRI_TRIAL_WAITING,
                              event->kind == TRI_EVENT_FAILED ? event->status : TRIAGE_E_IO, reason,
                              event->kind == TRI_EVENT_TIMED_OUT); /* that was long enough */
}

/* ---- measuring ------------------------------------------------------------------------------------------ */

static triage_status prepare(tri_search *search) {
    tri_bench_setup setup = {
        .problem = search->problem,
        .seed = search->options->seed,
        .warm = search->options->warm,
        .sampling_limit_s = search->options->sampling_limit_s,
        .cache_dir = search->cache_dir,
        .lock_dir = search->options->lock_dir,
        .reference = {.source = &search->reference_source, .launch = &search->reference.launch}};
    search->measurer = TRI_MEASURER_PREPARING;
    return tri_worker_setup(search->workers[0], &setup, SETUP_LIMIT_S);
}

triage_status tri_search_feed_measurer(tri_search *search, bool do_prepare) {
    triage_status status = TRIAGE_OK;
    bool ours = false;
    if (search->measurer == TRI_MEASURER_NONE) {
        TRI_TRY(tri_worker_start(&search->workers[0], search->options->worker_path, TRI_WORKER_MEASURE,
                                 search->pattern_fd));
        search->measurer = TRI_MEASURER_OPENING;
        TRI_TRY(tri_worker_open(search->workers[0], search->options->device, OPEN_LIMIT_S));
    } else if (search->measurer == TRI_MEASURER_OPENED && do_prepare) {
        TRI_TRY(tri_search_take_turn(&ours, search));
        if (ours)
            TRI_TRY(prepare(search));
    }
done:
    return status;
}

static triage_status feed_measurer(tri_search *search) {
    bool compiling = count_in(search, TRI_TRIAL_WAITING) + count_in(search, TRI_TRIAL_COMPILING) > 0;
    if (search->options->compile_only || search->trial_count == search->done_count ||
        tri_search_pauses(search))
        return TRIAGE_OK;
    if (search->measurer != TRI_MEASURER_READY)
        return tri_search_feed_measurer(search, true);
    if (compiling && tri_search_is_host(search))
        return TRIAGE_OK;
    for (size_t i = 0; i < search->trial_count; i++) {
        tri_search_trial *trial = search->trials[i];
        if (trial->state != TRI_TRIAL_COMPILED)
            continue;
        trial->state = TRI_TRIAL_MEASURING;
        trial->worker = 0;
        search->measurer = TRI_MEASURER_BUSY;
        search->measure_start_ns = tri_now_ns();
        return tri_worker_measure(search->workers[0],
                                  &(tri_trial){.source = &trial->source, .launch = &trial->candidate.launch},
                                  search->best_median_ns, tri_search_candidate_limit(search));
    }
    return TRIAGE_OK;
}

/* A start that fails after one that went well is the last crash's aftermath, and a machine in trouble may get over it:
 * again, a few times. */
static triage_status start_failed(tri_search *search, const tri_event *event) {
    bool first = search->setup_ms == 0 && !tri_search_is_trouble_of(event);
    tri_search_drop_worker(search, 0);
    if (!first && ++search->failed_starts < FAILED_STARTS_MAX)
        return TRIAGE_OK;
    if (event->kind == TRI_EVENT_FAILED)
        return tri_fail(event->status, "%s", event->message);
    return tri_fail(TRIAGE_E_DEVICE, "the measuring process was lost while it prepared the problem: %s",
                    event->message);
}

triage_status tri_search_starting(tri_search *search, const tri_event *event) {
    switch (event->kind) {
    case TRI_EVENT_OPENED:
        search->measurer = TRI_MEASURER_OPENED;
        search->info = event->device;
        tri_search_note_circumstances(search, event->circumstances);
        memcpy(search->compiler, event->compiler, sizeof search->compiler);
        return TRIAGE_OK;
    case TRI_EVENT_READY:
        search->measurer = TRI_MEASURER_READY;
        search->failed_starts = 0;
        search->plain_ms = event->plain_ms;
        search->setup_ms = event->setup_ms;
        return TRIAGE_OK;
    default:
        return start_failed(search, event);
    }
}

static triage_status take_measured(tri_search *search, tri_search_trial *trial, const tri_event *event) {
    const tri_report *report = &event->reports[0];
    tri_search_note_circumstances(search, event->circumstances);
    if (report->damaged && !trial->retried) {
        trial->retried = true;
        trial->state = TRI_TRIAL_COMPILED;
        return TRIAGE_OK;
    }
    if (report->troubled)
        return tri_search_trouble(search, trial, TRI_TRIAL_COMPILED, TRIAGE_E_IO, report->reason, false);
    search->measured_now++;
    tri_search_well(search);
    triage_status status = tri_search_record(search, trial, report, "search", event->circumstances);
    return status == TRIAGE_OK ? finish(search, trial) : status;
}

static triage_status on_measurer(tri_search *search, const tri_event *event) {
    tri_search_trial *trial = trial_in(search, 0, TRI_TRIAL_MEASURING);
    if (search->measurer != TRI_MEASURER_BUSY || !trial)
        return tri_search_starting(search, event);
    bool gone = event->leaving || event->kind == TRI_EVENT_DIED || event->kind == TRI_EVENT_TIMED_OUT;
    search->measurer = TRI_MEASURER_READY;
    search->measure_ms += (double)(tri_now_ns() - search->measure_start_ns) / 1e6;
    if (gone)
        tri_search_drop_worker(search, 0);
    if (event->kind == TRI_EVENT_MEASURED)
        return take_measured(search, trial, event);
    if (tri_search_is_trouble_of(event))
        return tri_search_trouble(search, trial, TRI_TRIAL_COMPILED,
                                  event->kind == TRI_EVENT_FAILED ? event->status : TRIAGE_E_DEVICE,
                                  event->message, false);
    search->measured_now++;
    switch (event->kind) {
    case TRI_EVENT_TIMED_OUT:
        return fail_trial(search, trial, TRI_TIMED_OUT, event->message);
    case TRI_EVENT_DIED:
        return fail_trial(search, trial, TRI_CRASHED, event->message);
    default:
        return fail_trial(search, trial, TRI_LAUNCH_FAILED, event->message);
    }
}

/* ---- the loop --------------------------------------------------------------------------------------------- */

static triage_status step(tri_search *search) {
    tri_event event = {0};
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_workers_wait(&event, search->workers, search->worker_count, WAIT_MS));
    if (event.kind == TRI_EVENT_NONE)
        goto done;
    if (event.worker == 0)
        TRI_TRY(on_measurer(search, &event));
    else
        TRI_TRY(on_compiler(search, &event));
done:
    tri_event_clear(&event);
    return status;
}

triage_status tri_search_run(tri_search *search) {
    triage_status status = TRIAGE_OK;
    if (search->progress)
        search->progress(search->user, 0, total(search), NULL);
    while (!tri_search_stopped(search)) {
        TRI_TRY(propose(search));
        TRI_TRY(feed_compilers(search));
        TRI_TRY(feed_measurer(search));
        if (search->done_count == search->trial_count)
            break;
        tri_search_show(search, NULL, NULL);
        TRI_TRY(step(search));
    }
done:
    return status;
}

/* A missing compiler keeps its own status: that is the machine's trouble. */
static triage_status fail_reference(const tri_event *event) {
    const bool answered = event->kind == TRI_EVENT_COMPILED;
    const triage_status status = answered                          ? event->compiled.status
                                 : event->kind == TRI_EVENT_FAILED ? event->status
                                                                   : TRIAGE_E_IO;
    return tri_fail(status, "the plain kernel of verification does not compile: %s",
                    answered ? event->compiled.message : event->message);
}

triage_status tri_search_compile_reference(tri_search *search) {
    tri_event event = {0};
    size_t worker = 0;
    triage_status status = TRIAGE_OK;
    TRI_TRY(idle_compiler(&worker, search));
    if (!worker || tri_search_stopped(search))
        goto done;
    TRI_TRY(tri_worker_compile(search->workers[worker], search->info.target, &search->reference_source,
                               search->cache_dir, COMPILE_LIMIT_S));
    while (event.kind == TRI_EVENT_NONE && !tri_search_stopped(search)) {
        tri_event_clear(&event);
        tri_search_show(search, "compiling the plain kernel", NULL);
        TRI_TRY(tri_workers_wait(&event, search->workers, search->worker_count, WAIT_MS));
    }
    if (event.kind == TRI_EVENT_COMPILED && event.compiled.status == TRIAGE_OK)
        memcpy(search->compiler, event.compiled.compiler, sizeof search->compiler);
    else if (event.kind != TRI_EVENT_NONE)
        status = fail_reference(&event);
done:
    tri_event_clear(&event);
    return status;
}
