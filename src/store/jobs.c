#include "store/jobs.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "store/backend.h"

void tri_job_clear(tri_job *job) {
    free(job->spec);
    free(job->device);
    free(job->device_name);
    *job = (tri_job){0};
}

static triage_status check_server(const tri_store *store) {
    return store->server ? TRIAGE_OK
                         : tri_fail(TRIAGE_E_INVALID,
                                    "%s: jobs are on a server: postgresql://... is expected", store->path);
}

triage_status tri_store_make_roles(tri_store *server) {
    triage_status status = check_server(server);
    return status == TRIAGE_OK ? tri_postgres_run(server, "db/postgres/roles.sql") : status;
}

/* Evidence is read from older servers as it is, but their jobs have other columns. */
static triage_status check_jobs(const tri_store *store) {
    triage_status status = check_server(store);
    return status != TRIAGE_OK || store->has_farm
               ? status
               : tri_fail(TRIAGE_E_DATA,
                          "%s: its jobs are of an older schema; its administrator brings them up with "
                          "triage_db setup",
                          store->path);
}

/* Takes a statement of a server. */
static triage_status take(tri_query **out, tri_store *server, const char *name) {
    *out = NULL;
    triage_status status = check_jobs(server);
    return status == TRIAGE_OK ? server->backend->take(out, server, name) : status;
}

/* Runs a statement about a held job; *row: it gave a row whose first column is not 0. */
static triage_status about_job(bool *row, tri_store *server, const char *name, const tri_job *job,
                               int64_t lease_ms, const char *state, const char *note) {
    triage_status status = TRIAGE_OK;
    const tri_store_backend *b = server->backend;
    tri_query *query = NULL;
    *row = false;
    TRI_TRY(take(&query, server, name));
    TRI_TRY(b->bind_integer(server, query, ":id", job->id));
    TRI_TRY(b->bind_integer(server, query, ":attempt", job->attempt));
    TRI_TRY(b->bind_text(server, query, ":device", job->device));
    TRI_TRY(b->bind_integer(server, query, ":tried", job->tried));
    TRI_TRY(b->bind_integer(server, query, ":candidates", job->candidates));
    TRI_TRY(b->bind_integer(server, query, ":lease_ms", lease_ms));
    TRI_TRY(b->bind_text(server, query, ":state", state));
    TRI_TRY(b->bind_text(server, query, ":note", note));
    TRI_TRY(b->step(row, server, query));
    *row = *row && b->integer(query, 0) != 0;
done:
    b->give(server, query);
    return status;
}

triage_status tri_job_enqueue(int64_t *added, tri_store *server, const char *const *specs, size_t count,
                              const char *device_class) {
    triage_status status = TRIAGE_OK;
    tri_query *query = NULL;
    json_t *list = json_array();
    char *text = NULL;
    bool more;
    *added = 0;
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_string(specs[i]));
    text = json_dumps(list, JSON_COMPACT);
    if (!text)
        TRI_TRY(tri_fail(TRIAGE_E_MEMORY, "out of memory for %zu jobs", count));
    TRI_TRY(take(&query, server, "enqueue"));
    TRI_TRY(server->backend->bind_text(server, query, ":specs", text));
    TRI_TRY(server->backend->bind_text(server, query, ":device_class", device_class));
    TRI_TRY(server->backend->step(&more, server, query));
    for (; more; ++*added)
        TRI_TRY(server->backend->step(&more, server, query));
done:
    server->backend->give(server, query);
    json_decref(list);
    free(text);
    return status;
}

static triage_status give_up(tri_store *server) {
    triage_status status = TRIAGE_OK;
    tri_query *query = NULL;
    bool row;
    TRI_TRY(take(&query, server, "give_up_jobs"));
    TRI_TRY(server->backend->bind_integer(server, query, ":most", TRI_JOB_ATTEMPTS));
    TRI_TRY(server->backend->step(&row, server, query));
done:
    server->backend->give(server, query);
    return status;
}

triage_status tri_job_claim(tri_job *out, tri_store *server, const char *worker, const char *device,
                            int64_t lease_ms) {
    triage_status status = TRIAGE_OK;
    const tri_store_backend *b = server->backend;
    tri_query *query = NULL;
    bool row;
    *out = (tri_job){0};
    TRI_TRY(give_up(server));
    TRI_TRY(take(&query, server, "claim_job"));
    TRI_TRY(b->bind_text(server, query, ":worker", worker));
    TRI_TRY(b->bind_text(server, query, ":device", device));
    TRI_TRY(b->bind_integer(server, query, ":lease_ms", lease_ms));
    TRI_TRY(b->step(&row, server, query));
    if (!row)
        TRI_TRY(tri_fail(TRIAGE_E_NOT_FOUND, "%s: no job is waiting for this device", server->path));
    out->id = b->integer(query, 0);
    out->attempt = b->integer(query, 1);
    TRI_TRY(tri_strdup(&out->spec, b->text(query, 2)));
done:
    b->give(server, query);
    return status;
}

triage_status tri_job_claim_compilation(tri_job *out, tri_store *server, const char *worker,
                                        const char *target, int64_t lease_ms) {
    triage_status status = TRIAGE_OK;
    const tri_store_backend *b = server->backend;
    tri_query *query = NULL;
    bool row;
    *out = (tri_job){0};
    TRI_TRY(take(&query, server, "claim_compilation"));
    TRI_TRY(b->bind_text(server, query, ":worker", worker));
    TRI_TRY(b->bind_text(server, query, ":target", target));
    TRI_TRY(b->bind_integer(server, query, ":lease_ms", lease_ms));
    TRI_TRY(b->bind_integer(server, query, ":most", TRI_JOB_ATTEMPTS));
    TRI_TRY(b->step(&row, server, query));
    if (!row)
        TRI_TRY(tri_fail(TRIAGE_E_NOT_FOUND, "%s: no job waits to be compiled", server->path));
    out->id = b->integer(query, 0);
    out->attempt = b->integer(query, 1);
    TRI_TRY(tri_strdup(&out->spec, b->text(query, 2)));
    TRI_TRY(tri_strdup(&out->device, b->text(query, 3)));
    TRI_TRY(tri_strdup(&out->device_name, b->text(query, 4)));
done:
    b->give(server, query);
    if (status != TRIAGE_OK)
        tri_job_clear(out);
    return status;
}

triage_status tri_job_renew(bool *held, tri_store *server, const tri_job *job, int64_t lease_ms) {
    return about_job(held, server, job->device ? "renew_compilation" : "renew_job", job, lease_ms, NULL,
                     NULL);
}

triage_status tri_job_release(tri_store *server, const tri_job *job) {
    bool held;
    return about_job(&held, server, job->device ? "release_compilation" : "release_job", job, 0, NULL, NULL);
}

triage_status tri_job_finish(bool *held, tri_store *server, const tri_job *job, const char *state,
                             const char *note) {
    triage_status status =
        about_job(held, server, job->device ? "finish_compilation" : "finish_job", job, 0, state, note);
    if (status == TRIAGE_OK && !*held)
        status =
            about_job(held, server, job->device ? "compilation_ended" : "job_ended", job, 0, state, note);
    return status;
}

triage_status tri_job_retry(int64_t *queued, tri_store *server, const char *device_class) {
    triage_status status = TRIAGE_OK;
    tri_query *query = NULL;
    bool more;
    *queued = 0;
    TRI_TRY(take(&query, server, "retry_jobs"));
    TRI_TRY(server->backend->bind_text(server, query, ":device_class", device_class));
    TRI_TRY(server->backend->step(&more, server, query));
    for (; more; ++*queued)
        TRI_TRY(server->backend->step(&more, server, query));
done:
    server->backend->give(server, query);
    return status;
}

/* ---- devices ---- */

triage_status tri_fleet_know_device(tri_store *server, const char *key, const char *name) {
    triage_status status = TRIAGE_OK;
    tri_query *query = NULL;
    bool row;
    TRI_TRY(take(&query, server, "know_device"));
    TRI_TRY(server->backend->bind_text(server, query, ":key", key));
    TRI_TRY(server->backend->bind_text(server, query, ":name", name));
    TRI_TRY(server->backend->step(&row, server, query));
done:
    server->backend->give(server, query);
    return status;
}

static triage_status about_target(int64_t *count, tri_store *server, const char *name, const char *target) {
    triage_status status = TRIAGE_OK;
    tri_query *query = NULL;
    bool row;
    TRI_TRY(take(&query, server, name));
    TRI_TRY(server->backend->bind_text(server, query, ":target", target));
    TRI_TRY(server->backend->step(&row, server, query));
    *count = row ? server->backend->integer(query, 0) : 0;
done:
    server->backend->give(server, query);
    return status;
}

triage_status tri_fleet_know_target(int64_t *count, tri_store *server, const char *target) {
    triage_status status = about_target(count, server, "know_devices_of_evidence", target);
    return status == TRIAGE_OK ? about_target(count, server, "known_devices", target) : status;
}

/* ---- how far it all is ---- */

/* Borrows the texts of the row at hand. */
static tri_job_row read_row(const tri_store_backend *b, tri_query *query) {
    return (tri_job_row){.id = b->integer(query, 0),
                         .state = b->text(query, 1),
                         .attempt = b->integer(query, 2),
                         .worker = b->text(query, 3),
                         .note = b->text(query, 4),
                         .spec = b->text(query, 5),
                         .device_class = b->text(query, 6),
                         .elapsed_ms = b->integer(query, 7),
                         .expired = b->integer(query, 8) != 0,
                         .tried = b->integer(query, 9),
                         .candidates = b->integer(query, 10),
                         .ahead = {.state = b->text(query, 11),
                                   .worker = b->text(query, 12),
                                   .note = b->text(query, 13),
                                   .tried = b->integer(query, 14),
                                   .candidates = b->integer(query, 15)}};
}

triage_status tri_job_each(tri_store *server, bool all, int64_t limit, tri_job_fn fn, void *user) {
    triage_status status = TRIAGE_OK;
    const tri_store_backend *b = server->backend;
    tri_query *query = NULL;
    bool more;
    TRI_TRY(take(&query, server, "jobs"));
    TRI_TRY(b->bind_integer(server, query, ":all", all));
    TRI_TRY(b->bind_integer(server, query, ":limit", limit));
    TRI_TRY(b->step(&more, server, query));
    while (more) {
        const tri_job_row row = read_row(b, query);
        TRI_TRY(fn(user, &row));
        TRI_TRY(b->step(&more, server, query));
    }
done:
    b->give(server, query);
    return status;
}

static triage_status read_counts(int64_t *const *out, int count, tri_store *server, const char *name) {
    triage_status status = TRIAGE_OK;
    tri_query *query = NULL;
    bool row;
    TRI_TRY(server->backend->take(&query, server, name));
    TRI_TRY(server->backend->step(&row, server, query));
    for (int i = 0; i < count && row; i++)
        *out[i] = server->backend->integer(query, i);
done:
    server->backend->give(server, query);
    return status;
}

triage_status tri_fleet_count(tri_fleet_counts *out, tri_store *server) {
    triage_status status = TRIAGE_OK;
    *out = (tri_fleet_counts){0};
    int64_t *const jobs[] = {&out->queued,  &out->running,  &out->done,      &out->failed,
                             &out->workers, &out->compiled, &out->compilers, &out->left_ms};
    int64_t *const evidence[] = {&out->measurements, &out->problems, &out->devices, &out->bytes};
    if (server->server) {
        TRI_TRY(check_jobs(server));
        TRI_TRY(read_counts(jobs, 8, server, "job_counts"));
    }
    TRI_TRY(read_counts(evidence, 4, server, "evidence_counts"));
done:
    return status;
}
