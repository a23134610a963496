/* The dense product beside the candidates: after the race, on the same inputs, through the same gate, by the same
 * clock. It is a measurement of its own (op/dense.h), made once for a shape and a device. */
#include <stdlib.h>
#include <string.h>

#include "base/dtype.h"
#include "op/dense.h"
#include "tune/search.h"

#define LIBRARY_LIMIT_S 60.0
#define WAIT_MS 200
#define STOPPED "the run was stopped before"
#define BYTES_MAX 8e9 /* of a dense A: more would take longer than the search */

static void note_reason(tri_search *search, const char *reason) {
    snprintf(search->dense.reason, sizeof search->dense.reason, "%.255s", reason);
}

static triage_status recall(tri_search *search, const char *key, const char *hash) {
    tri_measurement row = {0};
    if (!search->store || search->options->force)
        return TRIAGE_OK;
    triage_status status = tri_store_measured(&row, search->store, key, search->device_key, hash, NULL);
    if (status == TRIAGE_E_NOT_FOUND)
        return TRIAGE_OK;
    bool timed = status == TRIAGE_OK && row.median_ns > 0;
    const bool doubtful =
        timed && tri_search_is_busy_time(&row) && !search->busy; /* taken again now that it is quiet */
    if (status == TRIAGE_OK && !doubtful && (!timed || row.cold_l2 == !search->options->warm)) {
        search->dense.measured = search->dense.from_store = true;
        search->dense.evidence = row;
        row = (tri_measurement){0};
    }
    tri_measurement_clear(&row);
    return status;
}

/* The measurer's answer to the job just given; TRI_EVENT_NONE when somebody said stop. */
static triage_status await(tri_event *out, tri_search *search) {
    triage_status status = TRIAGE_OK;
    do {
        tri_event_clear(out);
        tri_search_show(search, "timing the dense product", NULL);
        status = tri_workers_wait(out, search->workers, 1, WAIT_MS);
    } while (status == TRIAGE_OK && out->kind == TRI_EVENT_NONE && !tri_search_stopped(search));
    if (out->leaving || out->kind == TRI_EVENT_DIED || out->kind == TRI_EVENT_TIMED_OUT)
        tri_search_drop_worker(search, 0);
    return status;
}

/* Asked before the problem is prepared, which may take long and be for nothing. */
static triage_status find_library(char library[64], tri_search *search) {
    tri_event event = {0};
    triage_status status = TRIAGE_OK;
    if (search->measurer == TRI_MEASURER_NONE || search->measurer == TRI_MEASURER_OPENING)
        TRI_TRY(tri_search_make_ready(search));
    if (tri_search_stopped(search) || search->measurer == TRI_MEASURER_NONE)
        goto done;
    TRI_TRY(tri_worker_library(search->workers[0], LIBRARY_LIMIT_S));
    TRI_TRY(await(&event, search));
    if (event.kind == TRI_EVENT_LIBRARY)
        memcpy(library, event.library, sizeof event.library);
    else if (event.kind != TRI_EVENT_NONE)
        note_reason(search, event.message);
done:
    if (!library[0] && !search->dense.reason[0])
        note_reason(search, STOPPED);
    tri_event_clear(&event);
    return status;
}

static triage_status record(tri_search *search, const char *key, const char *hash, const char *library,
                            const tri_report *report, const char *circumstances) {
    const char *kernel = tri_dense_kernel(search->info.backend);
    const tri_row_subject subject = {.problem = key,
                                     .kernel = kernel,
                                     .config = kernel,
                                     .source_hash = hash,
                                     .compiler = library,
                                     .stage = "search"};
    tri_measurement row = {0};
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_search_fill(&row, search, &subject, report, circumstances));
    TRI_TRY(tri_search_store(search, &row));
    search->dense.measured = true;
    search->dense.evidence = row;
    row = (tri_measurement){0};
done:
    tri_measurement_clear(&row);
    return status;
}

/* What the library refuses is no evidence; what it did wrong, or died of, is. */
static triage_status take(tri_search *search, const char *key, const char *hash, const char *library,
                          const tri_event *event) {
    tri_report report = event->reports[0];
    if (event->kind == TRI_EVENT_FAILED || tri_search_is_trouble_of(event) || report.troubled) {
        note_reason(search, event->kind == TRI_EVENT_MEASURED ? report.reason : event->message);
        return TRIAGE_OK;
    }
    if (event->kind == TRI_EVENT_NONE) {
        note_reason(search, STOPPED);
        return TRIAGE_OK;
    }
    if (event->kind != TRI_EVENT_MEASURED) {
        report = (tri_report){.outcome = event->kind == TRI_EVENT_TIMED_OUT ? TRI_TIMED_OUT : TRI_CRASHED};
        snprintf(report.reason, sizeof report.reason, "%.250s", event->message);
    }
    return record(search, key, hash, library, &report, event->circumstances);
}

static triage_status measure(tri_search *search, const char *key, const char *hash, const char *library) {
    tri_event event = {0};
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_search_make_ready(search));
    if (search->measurer == TRI_MEASURER_READY) {
        TRI_TRY(tri_worker_dense(search->workers[0], 60 + tri_search_candidate_limit(search)));
        TRI_TRY(await(&event, search));
    }
    TRI_TRY(take(search, key, hash, library, &event));
done:
    tri_event_clear(&event);
    return status;
}

triage_status tri_search_dense(tri_search *search) {
    const tri_operation *op = search->problem->op;
    tri_gemm gemm;
    char *key = NULL, hash[TRI_HASH_SIZE], library[64] = "";
    triage_status status = TRIAGE_OK;
    if (!op->dense_twin) {
        note_reason(search, "no dense product does the same");
        goto done;
    }
    const bool same = op->dense_twin(&gemm, search->problem) == TRIAGE_OK;
    TRI_TRY(tri_dense_key(&key, &gemm));
    tri_dense_source_hash(hash, tri_dense_kernel(search->info.backend));
    TRI_TRY(recall(search, key, hash));
    if (search->dense.measured)
        goto done;
    if (tri_search_stopped(search))
        note_reason(search, STOPPED);
    else if (!same)
        note_reason(search, "the problem has an epilogue, which the library's product has not");
    else if ((double)gemm.m * (double)gemm.k * (double)tri_dtype_size(gemm.in_type) > BYTES_MAX)
        note_reason(search, "A would have more than 8 GB with its zeros");
    else
        TRI_TRY(find_library(library, search));
    if (library[0])
        TRI_TRY(measure(search, key, hash, library));
done:
    free(key);
    return status;
}
