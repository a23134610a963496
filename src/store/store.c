/* The evidence in a database of either kind: adding, reading, ranking. */
#include <stdlib.h>
#include <string.h>

#include "store/sqlite.h"

/* ---- opening ---- */

bool tri_store_is_url(const char *url) {
    return strncmp(url, "postgresql://", 13) == 0 || strncmp(url, "postgres://", 11) == 0;
}

bool tri_store_is_server(const tri_store *store) {
    return store->server != NULL;
}

const char *tri_store_name(const tri_store *store) {
    return store->path;
}

triage_status tri_store_open(tri_store **out, const char *url, tri_store_mode mode) {
    triage_status status = TRIAGE_OK;
    tri_store *store = NULL;
    const tri_access access = mode == TRI_STORE_WRITE ? TRI_ACCESS_WRITE : TRI_ACCESS_READ;
    *out = NULL;
    if (tri_store_is_url(url))
        return tri_postgres_open(out, url, mode);
    TRI_TRY(tri_sqlite_open(&store, url, access));
    TRI_TRY(tri_schema_prepare(store, access));
    *out = store;
    store = NULL;
done:
    tri_sqlite_close(store);
    return status;
}

triage_status tri_store_open_memory(tri_store **out) {
    triage_status status = TRIAGE_OK;
    tri_store *store = NULL;
    *out = NULL;
    TRI_TRY(tri_sqlite_open_memory(&store));
    TRI_TRY(tri_schema_prepare(store, TRI_ACCESS_WRITE));
    *out = store;
    store = NULL;
done:
    tri_sqlite_close(store);
    return status;
}

void tri_store_close(tri_store *store) {
    if (store)
        store->backend->close(store);
}

/* ---- adding ---- */

/* Standings that one added row fills in: its own, and some that others have left. */
enum { FILL = 8 };

triage_status tri_store_add(tri_store *store, tri_measurement *measurement) {
    int64_t added, filled;
    tri_measurement_clean(measurement);
    triage_status status = tri_measurement_check(measurement);
    if (status != TRIAGE_OK)
        return status;
    tri_measurement_id(measurement->id, measurement);
    status = store->backend->begin(store);
    if (status != TRIAGE_OK)
        return status;
    status = store->backend->put(store, measurement, &(tri_arrival){TRI_TIER_OWN, ""});
    if (status == TRIAGE_OK && !store->server && !store->is_short_lived)
        status = tri_standing_fill(&filled, store, FILL);
    status = store->backend->end(&added, store, status);
    if (status == TRIAGE_OK && added && store->server)
        (void)tri_store_refresh(store, &(tri_refresh_options){.most = FILL}); /* the row is there */
    return status;
}

/* ---- reading ---- */

/* Calls fn for every row of a statement that has its parameters. */
static triage_status each_row(tri_store *store, tri_query *sql, tri_row_fn fn, void *user) {
    triage_status status = TRIAGE_OK;
    bool more = false;
    TRI_TRY(store->backend->step(&more, store, sql));
    while (more) {
        tri_measurement row;
        TRI_TRY(store->backend->row(&row, sql));
        TRI_TRY(fn(user, &row));
        TRI_TRY(store->backend->step(&more, store, sql));
    }
done:
    return status;
}

static triage_status query(tri_store *store, const char *name, const char *problem, const char *device,
                           tri_row_fn fn, void *user) {
    triage_status status = TRIAGE_OK;
    tri_query *sql = NULL;
    TRI_TRY(store->backend->take(&sql, store, name));
    TRI_TRY(store->backend->bind_text(store, sql, ":problem", problem));
    TRI_TRY(store->backend->bind_text(store, sql, ":device", device));
    TRI_TRY(each_row(store, sql, fn, user));
done:
    store->backend->give(store, sql);
    return status;
}

/* A row that cannot be read, or is not there, is passed over: it is "verify" that names it. */
static triage_status visit(tri_store *store, int64_t number, tri_row_fn fn, void *user) {
    triage_status status = TRIAGE_OK;
    tri_query *sql = NULL;
    tri_measurement row;
    bool found;
    TRI_TRY(store->backend->take(&sql, store, "foreign_row"));
    TRI_TRY(store->backend->bind_integer(store, sql, ":row", number));
    TRI_TRY(store->backend->step(&found, store, sql));
    if (!found)
        goto done;
    status = store->backend->row(&row, sql);
    if (status == TRIAGE_OK)
        status = fn(user, &row);
    else if (status == TRIAGE_E_DATA)
        status = TRIAGE_OK;
done:
    store->backend->give(store, sql);
    return status;
}

/* The rows of "standing" or "ranking", up to limit. */
static triage_status rank_by(int64_t *rows, tri_store *store, const char *name, const char *problem,
                             const char *device, int64_t limit, tri_row_fn fn, void *user) {
    triage_status status = TRIAGE_OK;
    tri_query *sql = NULL;
    tri_measurement row;
    bool more;
    *rows = 0;
    TRI_TRY(store->backend->take(&sql, store, name));
    TRI_TRY(store->backend->bind_text(store, sql, ":problem", problem));
    TRI_TRY(store->backend->bind_text(store, sql, ":device", device));
    TRI_TRY(store->backend->bind_integer(store, sql, ":limit", limit));
    TRI_TRY(store->backend->step(&more, store, sql));
    while (more && ++*rows <= limit) {
        if (store->backend->wide_ranking) {
            TRI_TRY(store->backend->row(&row, sql));
            TRI_TRY(fn(user, &row));
        } else {
            TRI_TRY(visit(store, store->backend->integer(sql, 0), fn, user));
        }
        TRI_TRY(store->backend->step(&more, store, sql));
    }
done:
    store->backend->give(store, sql);
    return status;
}

static triage_status is_measured(bool *out, tri_store *store, const char *problem, const char *device) {
    triage_status status = TRIAGE_OK;
    tri_query *sql = NULL;
    TRI_TRY(store->backend->take(&sql, store, "is_measured"));
    TRI_TRY(store->backend->bind_text(store, sql, ":problem", problem));
    TRI_TRY(store->backend->bind_text(store, sql, ":device", device));
    TRI_TRY(store->backend->step(out, store, sql));
done:
    store->backend->give(store, sql);
    return status;
}

/* What is not known, cannot be read, or has no candidate, is ranked. */
triage_status tri_store_best(tri_store *store, const char *problem, const char *device, int64_t count,
                             tri_row_fn fn, void *user) {
    int64_t rows = 0;
    triage_status status = TRIAGE_OK;
    if (store->has_standings)
        status = rank_by(&rows, store, "standing", problem, device, count, fn, user);
    const bool damaged = status == TRIAGE_E_DB || status == TRIAGE_E_DATA;
    if (rows > 0 || (status != TRIAGE_OK && !damaged))
        return status;
    bool measured = true;
    if (status == TRIAGE_OK && is_measured(&measured, store, problem, device) == TRIAGE_OK && !measured)
        return TRIAGE_OK;
    return rank_by(&rows, store, "ranking", problem, device, count, fn, user);
}

triage_status tri_store_ranking(tri_store *store, const char *problem, const char *device, tri_row_fn fn,
                                void *user) {
    return tri_store_best(store, problem, device, INT64_MAX, fn, user);
}

triage_status tri_store_evidence(tri_store *store, const char *problem, const char *device, tri_row_fn fn,
                                 void *user) {
    return query(store, "evidence_of_problem", problem, device, fn, user);
}

triage_status tri_store_each(tri_store *store, tri_row_fn fn, void *user) {
    return query(store, "each", NULL, NULL, fn, user);
}

triage_status tri_store_measured(tri_measurement *out, tri_store *store, const char *problem,
                                 const char *device, const char *source_hash, const char *compiler) {
    triage_status status = TRIAGE_OK;
    tri_query *sql = NULL;
    tri_measurement row;
    bool found;
    TRI_TRY(store->backend->take(&sql, store, "known"));
    TRI_TRY(store->backend->bind_text(store, sql, ":problem", problem));
    TRI_TRY(store->backend->bind_text(store, sql, ":device", device));
    TRI_TRY(store->backend->bind_text(store, sql, ":source_hash", source_hash));
    TRI_TRY(store->backend->bind_text(store, sql, ":compiler", compiler));
    TRI_TRY(store->backend->step(&found, store, sql));
    if (!found)
        TRI_TRY(tri_fail(TRIAGE_E_NOT_FOUND, "no evidence for the kernel %s", source_hash));
    TRI_TRY(store->backend->row(&row, sql));
    TRI_TRY(tri_measurement_copy(out, &row));
done:
    store->backend->give(store, sql);
    return status;
}

triage_status tri_store_origin(tri_tier *out, char name[128], tri_store *store, const char *id) {
    triage_status status = TRIAGE_OK;
    tri_query *sql = NULL;
    bool found;
    *out =
        store->server ? TRI_TIER_PEER : TRI_TIER_OWN; /* a file of before there were origins is its owner's */
    name[0] = '\0';
    if (!store->has_arrivals || store->is_short_lived)
        return TRIAGE_OK;
    TRI_TRY(store->backend->take(&sql, store, "origin_of"));
    TRI_TRY(store->backend->bind_text(store, sql, ":id", id));
    TRI_TRY(store->backend->step(&found, store, sql));
    if (!found)
        TRI_TRY(tri_fail(TRIAGE_E_NOT_FOUND, "%.32s: no measurement has that id", id));
    const int64_t tier = store->backend->integer(sql, 0);
    *out = tier == 0 ? TRI_TIER_OWN : tier == 1 ? TRI_TIER_PEER : TRI_TIER_UNKNOWN;
    snprintf(name, 128, "%s", store->backend->text(sql, 1));
done:
    store->backend->give(store, sql);
    return status;
}

/* [first, last) holds every text that begins with prefix. The prefix is ASCII, or ends in a byte that can be
 * increased. */
static triage_status prefix_range(char **first, char **last, const char *prefix) {
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_strdup(first, prefix));
    if (!prefix[0]) {
        TRI_TRY(tri_strdup(last, "\xf4\x8f\xbf\xbf")); /* U+10FFFF: no key begins so */
    } else {
        TRI_TRY(tri_strdup(last, prefix));
        (*last)[strlen(prefix) - 1]++;
    }
done:
    return status;
}

triage_status tri_store_find(tri_measurement *out, tri_store *store, const char *id) {
    triage_status status = TRIAGE_OK;
    tri_query *sql = NULL;
    char *first = NULL, *last = NULL;
    tri_measurement row;
    bool found, second = false;
    const size_t size = strlen(id);
    *out = (tri_measurement){0};
    if (size < 4 || size >= TRI_HASH_SIZE || strspn(id, "0123456789abcdef") != size)
        TRI_TRY(tri_fail(TRIAGE_E_INVALID, "\"%.40s\": an id has 4 .. %d lower-case hex digits", id,
                         TRI_HASH_SIZE - 1));
    TRI_TRY(prefix_range(&first, &last, id));
    TRI_TRY(store->backend->take(&sql, store, "find"));
    TRI_TRY(store->backend->bind_text(store, sql, ":first", first));
    TRI_TRY(store->backend->bind_text(store, sql, ":last", last));
    TRI_TRY(store->backend->step(&found, store, sql));
    if (!found)
        TRI_TRY(tri_fail(TRIAGE_E_NOT_FOUND, "%s: no measurement has that id", id));
    TRI_TRY(store->backend->row(&row, sql));
    TRI_TRY(tri_measurement_copy(out, &row));
    TRI_TRY(store->backend->step(&second, store, sql));
    if (second)
        TRI_TRY(tri_fail(TRIAGE_E_INVALID, "%s: more than one measurement has an id that begins so", id));
done:
    if (status != TRIAGE_OK)
        tri_measurement_clear(out);
    store->backend->give(store, sql);
    free(first);
    free(last);
    return status;
}

/* ---- winners ---- */

typedef struct first_row {
    tri_row_fn fn;
    void *user;
    triage_status status; /* of fn */
} first_row;

/* Ends the ranking after its first row; a slow one is first only where nothing may win. */
static triage_status visit_first(void *user, const tri_measurement *row) {
    first_row *first = user;
    first->status = row->outcome == TRI_RIGHT ? first->fn(first->user, row) : TRIAGE_OK;
    return TRIAGE_E_INTERRUPTED;
}

triage_status tri_store_winner(tri_store *store, const char *problem, const char *device, tri_row_fn fn,
                               void *user) {
    first_row first = {fn, user, TRIAGE_E_NOT_FOUND};
    triage_status status = tri_store_best(store, problem, device, 1, visit_first, &first);
    if (status == TRIAGE_E_INTERRUPTED)
        return first.status;
    return status;
}

triage_status tri_store_problems(tri_store *store, const char *device, const char *family, tri_key_fn fn,
                                 void *user) {
    triage_status status = TRIAGE_OK;
    tri_query *sql = NULL;
    char *prefix = NULL, *first = NULL, *last = NULL;
    bool more;
    const size_t size = strlen(family);
    TRI_TRY(
        tri_format(&prefix, "%s%s", family, size && family[size - 1] != ' ' ? " " : "")); /* whole words */
    TRI_TRY(prefix_range(&first, &last, prefix));
    TRI_TRY(store->backend->take(&sql, store, store->has_standings ? "tuned" : "tuned_by_rows"));
    TRI_TRY(store->backend->bind_text(store, sql, ":first", first));
    TRI_TRY(store->backend->bind_text(store, sql, ":last", last));
    TRI_TRY(store->backend->bind_text(store, sql, ":device", device));
    TRI_TRY(store->backend->step(&more, store, sql));
    while (more) {
        TRI_TRY(fn(user, store->backend->text(sql, 0), store->backend->text(sql, 1)));
        TRI_TRY(store->backend->step(&more, store, sql));
    }
done:
    store->backend->give(store, sql);
    free(prefix);
    free(first);
    free(last);
    return status;
}

triage_status tri_store_devices(tri_store *store, tri_device_fn fn, void *user) {
    triage_status status = TRIAGE_OK;
    tri_query *sql = NULL;
    bool more;
    TRI_TRY(store->backend->take(&sql, store, "devices"));
    TRI_TRY(store->backend->step(&more, store, sql));
    while (more) {
        TRI_TRY(fn(user, store->backend->text(sql, 0), store->backend->text(sql, 1)));
        TRI_TRY(store->backend->step(&more, store, sql));
    }
done:
    store->backend->give(store, sql);
    return status;
}

typedef struct winners {
    tri_store *store;
    tri_row_fn fn;
    void *user;
} winners;

static triage_status visit_winner(void *user, const char *problem, const char *device) {
    const winners *w = user;
    return tri_store_winner(w->store, problem, device, w->fn, w->user);
}

triage_status tri_store_winners(tri_store *store, const char *device, const char *family, tri_row_fn fn,
                                void *user) {
    return tri_store_problems(store, device, family, visit_winner, &(winners){store, fn, user});
}

/* ---- the whole ---- */

/* A chain over chunks of sorted ids, so that no list of all of them is held. */
triage_status tri_store_hash(char out[TRI_HASH_SIZE], tri_store *store) {
    enum { CHUNK = 1024, ID = TRI_HASH_SIZE - 1 };
    triage_status status = TRIAGE_OK;
    tri_query *sql = NULL;
    char(*chunk)[ID] = NULL;
    bool more = true;
    tri_hash(out, "triage evidence 1", 17);
    TRI_TRY(tri_calloc(&chunk, CHUNK, ID));
    TRI_TRY(store->backend->take(&sql, store, "ids"));
    while (more) {
        size_t count = 0;
        for (; count < CHUNK; count++) {
            TRI_TRY(store->backend->step(&more, store, sql));
            if (!more)
                break;
            memcpy(chunk[count], store->backend->text(sql, 0), ID); /* 32 long: the schema checks it */
        }
        tri_piece pieces[] = {{out, ID}, {chunk, count * ID}};
        if (count)
            tri_hash_pieces(out, pieces, 2);
    }
done:
    store->backend->give(store, sql);
    free(chunk);
    return status;
}

static triage_status verify_row(void *user, const tri_measurement *row) {
    int64_t *rows = user;
    triage_status status = tri_measurement_check_foreign(row);
    if (status == TRIAGE_OK)
        ++*rows;
    return status;
}

static triage_status list_id(void *user, const tri_measurement *row) {
    return tri_text_append(user, row->id, strlen(row->id));
}

/* Is what is filled in what the rows say? */
static triage_status compare_standing(bool *same, tri_store *store, const char *problem, const char *device) {
    tri_text kept = TRI_TEXT_INIT, ranked = TRI_TEXT_INIT;
    triage_status status = TRIAGE_OK;
    int64_t rows;
    *same = true;
    TRI_TRY(rank_by(&rows, store, "standing", problem, device, INT64_MAX, list_id, &kept));
    if (rows == 0)
        goto done;
    TRI_TRY(rank_by(&rows, store, "ranking", problem, device, INT64_MAX, list_id, &ranked));
    *same = kept.size == ranked.size && memcmp(kept.data, ranked.data ? ranked.data : "", kept.size) == 0;
done:
    tri_text_free(&kept);
    tri_text_free(&ranked);
    return status;
}

/* Rows may arrive at a server between the two looks: not twice in a row. A tri_key_fn. */
static triage_status verify_standing(void *user, const char *problem, const char *device) {
    tri_store *store = user;
    bool same = false;
    triage_status status = TRIAGE_OK;
    for (int attempt = 0; attempt < 3 && status == TRIAGE_OK && !same; attempt++)
        status = compare_standing(&same, store, problem, device);
    if (status == TRIAGE_OK && !same)
        status = tri_fail(TRIAGE_E_DATA, "%s: the standing of %.200s is not what its rows say", store->path,
                          problem);
    return status;
}

triage_status tri_store_verify(int64_t *rows, tri_store *store) {
    triage_status status = TRIAGE_OK;
    *rows = 0;
    TRI_TRY(store->backend->verify(store));
    TRI_TRY(tri_store_each(store, verify_row, rows));
    if (store->has_standings)
        TRI_TRY(tri_store_problems(store, NULL, "", verify_standing, store));
done:
    return status;
}
