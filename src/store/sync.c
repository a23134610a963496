/* A local file and a server become the same set, a bounded batch at a time. Each side numbers its rows in the
 * order in which they became visible; the file remembers up to which number either side has the other's. The
 * number moves only after its rows have arrived, so a lost answer costs a repetition, which changes nothing. */
#include <stdlib.h>
#include <string.h>

#include "store/backend.h"

/* Rows in a batch: about 250 KB on the way. */
enum { BATCH = 256, NUMBER_COLUMN = TRI_FIELD_COUNT + 1 };

typedef struct sync {
    tri_store *local, *server;
    const tri_sync_options *options;
    tri_sync_result result;
    char server_id[64], peer[72]; /* "server " and the id */
    int64_t pulled, pushed;
    int64_t deadline_ns; /* 0: none */
} sync;

static triage_status check_time(const sync *s) {
    if (s->options->interrupted && *s->options->interrupted)
        return tri_fail(TRIAGE_E_INTERRUPTED, "interrupted: the rest is for the next sync");
    if (s->deadline_ns && tri_now_ns() > s->deadline_ns)
        return tri_fail(TRIAGE_E_TIMEOUT,
                        "the sync's time limit of %g s passed: the rest is for the next one",
                        s->options->time_limit_s);
    return TRIAGE_OK;
}

/* ---- numbers ---- */

static triage_status integer_of(int64_t *out, tri_store *store, const char *name) {
    triage_status status = TRIAGE_OK;
    tri_query *query = NULL;
    bool row;
    TRI_TRY(store->backend->take(&query, store, name));
    TRI_TRY(store->backend->step(&row, store, query));
    *out = row ? store->backend->integer(query, 0) : 0;
done:
    store->backend->give(store, query);
    return status;
}

/* Runs set_pulled, set_pushed or forget_server on the local file. */
static triage_status note(const sync *s, const char *name, int64_t number) {
    const tri_store_backend *local = s->local->backend;
    triage_status status = TRIAGE_OK;
    tri_query *query = NULL;
    bool row;
    TRI_TRY(local->take(&query, s->local, name));
    TRI_TRY(local->bind_text(s->local, query, ":server", s->server_id));
    TRI_TRY(local->bind_integer(s->local, query, ":number", number));
    TRI_TRY(local->step(&row, s->local, query));
done:
    local->give(s->local, query);
    return status;
}

static triage_status read_server_id(sync *s) {
    const tri_store_backend *server = s->server->backend;
    triage_status status = TRIAGE_OK;
    tri_query *query = NULL;
    bool row;
    TRI_TRY(server->take(&query, s->server, "server_id"));
    TRI_TRY(server->step(&row, s->server, query));
    snprintf(s->server_id, sizeof s->server_id, "%s", row ? server->text(query, 0) : "");
    snprintf(s->peer, sizeof s->peer, "server %s", s->server_id);
    if (!s->server_id[0])
        status = tri_fail(TRIAGE_E_DATA, "%s: the server has no id", s->server->path);
done:
    server->give(s->server, query);
    return status;
}

static triage_status read_state(sync *s) {
    const tri_store_backend *local = s->local->backend;
    triage_status status = TRIAGE_OK;
    tri_query *query = NULL;
    bool row;
    TRI_TRY(local->take(&query, s->local, "sync_state"));
    TRI_TRY(local->bind_text(s->local, query, ":server", s->server_id));
    TRI_TRY(local->step(&row, s->local, query));
    s->pulled = row ? local->integer(query, 0) : 0;
    s->pushed = row ? local->integer(query, 1) : 0;
done:
    local->give(s->local, query);
    return status;
}

/* A server that has fewer rows than we have read was restored from a backup: everything is compared again. */
static triage_status meet(sync *s) {
    triage_status status = TRIAGE_OK;
    int64_t last = 0, may_add = 0;
    TRI_TRY(read_server_id(s));
    TRI_TRY(read_state(s));
    TRI_TRY(integer_of(&last, s->server, "last_row"));
    if (last < s->pulled) {
        tri_log_line(s->options->log, TRIAGE_LOG_WARNING,
                     "%s: has lost rows (a restored backup?): comparing everything", s->server->path);
        TRI_TRY(note(s, "forget_server", 0));
        s->pulled = s->pushed = 0;
    }
    TRI_TRY(integer_of(&may_add, s->server, "may_add"));
    s->result.read_only = !may_add || s->server->is_newer;
done:
    return status;
}

/* ---- from here to there ---- */

/* Puts the next batch of local rows to the server; *last is the number of the newest of them. */
static triage_status put_batch(int *count, int64_t *last, sync *s, int64_t after, int64_t limit) {
    const tri_store_backend *local = s->local->backend;
    triage_status status = TRIAGE_OK;
    tri_query *query = NULL;
    tri_measurement row;
    bool more;
    *count = 0;
    TRI_TRY(local->take(&query, s->local, "rows_after"));
    TRI_TRY(local->bind_integer(s->local, query, ":after", after));
    TRI_TRY(local->bind_integer(s->local, query, ":limit", limit));
    TRI_TRY(local->step(&more, s->local, query));
    while (more) {
        TRI_TRY(local->row(&row, query));
        TRI_TRY(s->server->backend->put(s->server, &row, &(tri_arrival){TRI_TIER_OWN, ""}));
        *last = local->integer(query, NUMBER_COLUMN);
        ++*count;
        TRI_TRY(local->step(&more, s->local, query));
    }
done:
    local->give(s->local, query);
    return status;
}

static triage_status send_batch(int *count, int64_t *last, sync *s, int64_t after, int64_t limit) {
    int64_t added;
    triage_status status = s->server->backend->begin(s->server);
    if (status != TRIAGE_OK)
        return status;
    status = put_batch(count, last, s, after, limit);
    status = s->server->backend->end(&added, s->server, status);
    s->result.sent += added;
    return status;
}

/* A row that the server refuses must not keep the others: it is named and left out. */
static triage_status send_one_by_one(sync *s, int64_t last) {
    triage_status status = TRIAGE_OK;
    for (int64_t after = s->pushed; after < last && status == TRIAGE_OK;) {
        int count = 0;
        status = send_batch(&count, &after, s, after, 1);
        if (status == TRIAGE_E_DATA && count == 1) {
            tri_log_line(s->options->log, TRIAGE_LOG_WARNING, "%s: refuses row %lld of %s: %s",
                         s->server->path, (long long)after, s->local->path, triage_last_error());
            s->result.refused++;
            status = TRIAGE_OK;
        }
        if (count == 0)
            break;
    }
    return status;
}

static triage_status push(sync *s) {
    triage_status status = TRIAGE_OK;
    int count = BATCH;
    while (count == BATCH) {
        int64_t last = s->pushed;
        TRI_TRY(check_time(s));
        status = send_batch(&count, &last, s, s->pushed, BATCH);
        if (status == TRIAGE_E_DATA)
            status = send_one_by_one(s, last);
        if (status != TRIAGE_OK || count == 0)
            break;
        TRI_TRY(note(s, "set_pushed", last));
        s->pushed = last;
    }
done:
    return status;
}

/* ---- from there to here ---- */

typedef struct arrival {
    tri_measurement rows[BATCH];
    int count;
    int64_t last;
} arrival;

static void clear_arrival(arrival *a) {
    for (int i = 0; i < a->count; i++)
        tri_measurement_clear(&a->rows[i]);
    a->count = 0;
}

static void refuse(sync *s, const tri_measurement *row) {
    s->result.refused++;
    tri_log_line(s->options->log, TRIAGE_LOG_WARNING, "%s: measurement %.32s refused: %s", s->server->path,
                 row->id, triage_last_error());
}

static bool passes(const sync *s, const tri_measurement *row) {
    return tri_measurement_check_foreign(row) == TRIAGE_OK && tri_measurement_check_date(row) == TRIAGE_OK &&
           (!s->options->check || s->options->check(s->options->user, row) == TRIAGE_OK);
}

/* What comes from the server is checked like every row from elsewhere. *read: rows, the refused too. */
static triage_status receive_batch(int *read, arrival *a, sync *s) {
    const tri_store_backend *server = s->server->backend;
    triage_status status = TRIAGE_OK;
    tri_query *query = NULL;
    bool more;
    *read = 0;
    TRI_TRY(server->take(&query, s->server, "rows_after"));
    TRI_TRY(server->bind_integer(s->server, query, ":after", s->pulled));
    TRI_TRY(server->bind_integer(s->server, query, ":limit", BATCH));
    TRI_TRY(server->step(&more, s->server, query));
    for (; more && *read < BATCH; ++*read) {
        tri_measurement row;
        a->last = server->integer(query, NUMBER_COLUMN);
        status = server->row(&row, query);
        if (status != TRIAGE_OK && status != TRIAGE_E_DATA)
            goto done;
        if (status == TRIAGE_E_DATA || !passes(s, &row)) {
            refuse(s, &row);
        } else {
            TRI_TRY(tri_measurement_copy(&a->rows[a->count], &row));
            a->count++;
        }
        TRI_TRY(server->step(&more, s->server, query));
    }
done:
    server->give(s->server, query);
    return status;
}

/* In one transaction: the rows, how far they reach, and that they need not be sent back. */
static triage_status keep_batch(sync *s, const arrival *a) {
    const tri_store_backend *local = s->local->backend;
    const tri_arrival from = {TRI_TIER_PEER, s->peer};
    int64_t before = 0, after = 0, added;
    triage_status status = local->begin(s->local);
    if (status != TRIAGE_OK)
        return status;
    TRI_TRY(integer_of(&before, s->local, "last_row"));
    for (int i = 0; i < a->count; i++)
        TRI_TRY(local->put(s->local, &a->rows[i], &from));
    TRI_TRY(note(s, "set_pulled", a->last));
    if (before == s->pushed) {
        TRI_TRY(integer_of(&after, s->local, "last_row"));
        TRI_TRY(note(s, "set_pushed", after));
    }
done:
    status = local->end(&added, s->local, status);
    if (status == TRIAGE_OK) {
        s->result.received += added;
        s->pulled = a->last;
        s->pushed = before == s->pushed ? after : s->pushed;
    }
    return status;
}

static triage_status pull(sync *s) {
    triage_status status = TRIAGE_OK;
    arrival *a = NULL;
    int read = BATCH;
    TRI_TRY(tri_calloc(&a, 1, sizeof *a));
    while (read == BATCH) {
        TRI_TRY(check_time(s));
        TRI_TRY(receive_batch(&read, a, s));
        if (read)
            TRI_TRY(keep_batch(s, a));
        clear_arrival(a);
    }
done:
    if (a)
        clear_arrival(a);
    free(a);
    return status;
}

/* ---- entries ---- */

triage_status tri_store_sync(tri_sync_result *out, tri_store *local, tri_store *server,
                             const tri_sync_options *options) {
    triage_status status = TRIAGE_OK;
    sync s = {.local = local, .server = server, .options = options};
    *out = s.result;
    if (!local->db || !server->server)
        TRI_TRY(tri_fail(TRIAGE_E_INVALID, "a sync is between a local file and a postgresql:// server"));
    if (options->time_limit_s > 0)
        s.deadline_ns = tri_now_ns() + (int64_t)(options->time_limit_s * 1e9);
    TRI_TRY(meet(&s));
    if (!s.result.read_only)
        TRI_TRY(push(&s));
    TRI_TRY(pull(&s));
    const tri_refresh_options refresh = {.interrupted = options->interrupted, .deadline_ns = s.deadline_ns};
    TRI_TRY(tri_store_refresh(local, &refresh));
    if (s.result.sent && server->has_standings) /* what it does not fill in, others do */
        (void)tri_store_refresh(server, &refresh);
done:
    *out = s.result;
    return status;
}
