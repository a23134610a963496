/* The last word: the best few and the default, raced interleaved, so that a drift of clocks or a noisy
 * neighbour meets all of them alike. The default may win. */
#include "tune/search.h"

#include <stdlib.h>
#include <string.h>

#define FINALISTS 4 /* without the default */
#define FINALISTS_LEAST 2
#define ATTEMPTS 4
#define WAIT_MS 200

/* 0 raced, 1 found right in the search, 2 slow, 3 and on: failures. */
static int class_of(const tri_search_trial *trial) {
    const tri_measurement *row = &trial->row.evidence;
    if (trial->row.compiled)
        return 1;
    if (row->outcome == TRI_RIGHT)
        return strcmp(row->stage, "race") == 0 ? 0 : 1;
    return row->outcome == TRI_SLOW ? 2 : 3 + (int)row->outcome;
}

/* The store's ranking is of rows that are right there, from other runs too: it orders what was right in this one
 * and lifts nothing else above that (with --force the winner of a run before may have been slow today). */
int tri_trial_order(const void *a, const void *b) {
    const tri_search_trial *x = *(tri_search_trial *const *)a, *y = *(tri_search_trial *const *)b;
    const tri_measurement *m = &x->row.evidence, *n = &y->row.evidence;
    if (x->state != TRI_TRIAL_DONE || y->state != TRI_TRIAL_DONE) /* without a row */
        return (x->state != TRI_TRIAL_DONE) - (y->state != TRI_TRIAL_DONE);
    const int left = class_of(x), right = class_of(y);
    if (x->rank != y->rank && left <= 1 && right <= 1)
        return x->rank < y->rank ? -1 : 1;
    if (left != right)
        return left - right;
    if (m->median_ns != n->median_ns)
        return m->median_ns < n->median_ns ? -1 : 1;
    return strcmp(x->row.config, y->row.config);
}

static bool is_right(const tri_search_trial *trial) {
    return trial->state == TRI_TRIAL_DONE && trial->row.evidence.outcome == TRI_RIGHT;
}

static int by_median(const void *a, const void *b) {
    const tri_search_trial *x = *(tri_search_trial *const *)a, *y = *(tri_search_trial *const *)b;
    double m = x->row.evidence.median_ns, n = y->row.evidence.median_ns;
    return m < n ? -1 : m > n ? 1 : strcmp(x->row.config, y->row.config);
}

static bool is_raced(const tri_search_trial *trial) {
    return strcmp(trial->row.evidence.stage, "race") == 0;
}

/* Those within noise of the best, at least two if there are two, and the default. all: right trials by
 * median. Returns how many are in out. */
static size_t choose(tri_search_trial **out, tri_search_trial *const *all, size_t count,
                     tri_search_trial *standard) {
    size_t chosen = 0;
    bool has_default = false;
    for (size_t i = 0; i < count && chosen < FINALISTS; i++) {
        bool tied = all[i]->row.evidence.low_ns <= all[0]->row.evidence.high_ns;
        if (!tied && chosen >= FINALISTS_LEAST)
            break;
        out[chosen++] = all[i];
        has_default = has_default || all[i] == standard;
    }
    if (standard && !has_default && is_right(standard))
        out[chosen++] = standard;
    return chosen;
}

/* Nothing to settle when no finalist is new, nor was searched after the last race, as in a run that ended before its finals. */
static bool worth_racing(tri_search_trial *const *finalists, size_t count) {
    int64_t raced_ms = -1, searched_ms = -1; /* the newest of each */
    for (size_t i = 0; i < count; i++) {
        const tri_tune_row *row = &finalists[i]->row;
        int64_t *newest = is_raced(finalists[i]) ? &raced_ms : &searched_ms;
        if (!row->from_store)
            return true;
        if (row->evidence.measured_at_ms > *newest)
            *newest = row->evidence.measured_at_ms;
    }
    return searched_ms > raced_ms;
}

/* ---- running it ------------------------------------------------------------------------------------------- */

triage_status tri_search_make_ready(tri_search *search) {
    tri_event event = {0};
    triage_status status = TRIAGE_OK;
    while (search->measurer != TRI_MEASURER_READY && !tri_search_stopped(search)) {
        TRI_TRY(tri_search_feed_measurer(search, true));
        tri_search_show(search, NULL, NULL);
        TRI_TRY(tri_workers_wait(&event, search->workers, 1, WAIT_MS));
        if (event.kind != TRI_EVENT_NONE)
            TRI_TRY(tri_search_starting(search, &event));
        tri_event_clear(&event);
    }
done:
    tri_event_clear(&event);
    return status;
}

static triage_status send_race(tri_search *search, tri_search_trial *const *finalists, size_t count) {
    tri_trial trials[TRI_RACE_MAX];
    for (size_t i = 0; i < count; i++)
        trials[i] = (tri_trial){.source = &finalists[i]->source, .launch = &finalists[i]->candidate.launch};
    search->measurer = TRI_MEASURER_BUSY;
    return tri_worker_race(search->workers[0], trials, count, search->options->seed,
                           10 + (double)(count + 1) * tri_search_candidate_limit(search));
}

static void remove_finalist(tri_search_trial **finalists, size_t *count, size_t at) {
    memmove(&finalists[at], &finalists[at + 1], (*count - at - 1) * sizeof(tri_search_trial *));
    (*count)--;
}

/* The one that was running when the worker was lost has failed, whatever it did in the search; unless the worker was
 * killed, or the machine could not go on: then they race again. */
static triage_status take_loss(tri_search *search, tri_search_trial **finalists, size_t *count,
                               size_t running, const tri_event *event) {
    if (tri_search_is_trouble_of(event))
        return tri_search_trouble(search, NULL, TRI_TRIAL_DONE, TRIAGE_E_DEVICE, event->message, false);
    tri_outcome outcome = event->kind == TRI_EVENT_TIMED_OUT ? TRI_TIMED_OUT
                          : event->kind == TRI_EVENT_DIED    ? TRI_CRASHED
                                                             : TRI_LAUNCH_FAILED;
    triage_status status =
        tri_search_record_failure(search, finalists[running], outcome, "race", event->message);
    remove_finalist(finalists, count, running);
    return status;
}

/* Records who ran to the end and takes out who did not. *again: somebody's failure spoilt the others' race. */
static triage_status take_reports(tri_search *search, tri_search_trial **finalists, size_t *count,
                                  const tri_event *event, bool *again) {
    triage_status status = TRIAGE_OK;
    *again = false;
    tri_search_note_circumstances(search, event->circumstances);
    for (size_t i = event->report_count < *count ? event->report_count : *count; i-- > 0;) {
        const tri_report *report = &event->reports[i];
        if (report->outcome == TRI_RIGHT && report->timing.samples == 0) {
            *again = true;
            continue;
        }
        if (report->troubled) { /* what it did in the search stands */
            remove_finalist(finalists, count, i);
            continue;
        }
        TRI_TRY(tri_search_record(search, finalists[i], report, "race", event->circumstances));
        if (report->outcome != TRI_RIGHT)
            remove_finalist(finalists, count, i);
    }
done:
    return status;
}

static triage_status race_once(tri_search *search, tri_search_trial **finalists, size_t *count, bool *again) {
    tri_event event = {0};
    size_t running = 0;
    triage_status status = TRIAGE_OK;
    TRI_TRY(send_race(search, finalists, *count));
    while (!tri_search_stopped(search)) {
        tri_event_clear(&event);
        tri_search_show(search, "racing the best", finalists[running]->row.config);
        TRI_TRY(tri_workers_wait(&event, search->workers, 1, WAIT_MS));
        if (event.kind == TRI_EVENT_RACING && event.racing < *count)
            running = event.racing;
        else if (event.kind != TRI_EVENT_NONE)
            break;
    }
    *again = false;
    if (event.kind == TRI_EVENT_NONE || event.kind == TRI_EVENT_RACING)
        goto done; /* stopped: what the search found stands */
    search->measurer = TRI_MEASURER_READY;
    if (event.leaving || event.kind != TRI_EVENT_RACED)
        tri_search_drop_worker(search, 0);
    if (event.kind == TRI_EVENT_RACED) {
        TRI_TRY(take_reports(search, finalists, count, &event, again));
    } else {
        *again = true;
        TRI_TRY(take_loss(search, finalists, count, running, &event));
    }
done:
    tri_event_clear(&event);
    return status;
}

triage_status tri_search_race(tri_search *search) {
    tri_search_trial **right = NULL, *finalists[TRI_RACE_MAX];
    size_t count = 0, chosen = 0;
    bool again = true;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_calloc(&right, search->trial_count + 1, sizeof(tri_search_trial *)));
    for (size_t i = 0; i < search->trial_count; i++)
        if (is_right(search->trials[i]))
            right[count++] = search->trials[i];
    if (count == 0)
        goto done;
    qsort(right, count, sizeof(tri_search_trial *), by_median);
    chosen = choose(finalists, right, count, search->by_config[search->configs.default_index]);
    if (!worth_racing(finalists, chosen))
        goto done;
    for (int i = 0; i < ATTEMPTS && again && chosen > 0 && !tri_search_stopped(search); i++) {
        TRI_TRY(tri_search_make_ready(search));
        if (search->measurer == TRI_MEASURER_READY)
            TRI_TRY(race_once(search, finalists, &chosen, &again));
    }
done:
    free(right);
    return status;
}
