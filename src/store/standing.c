/* The table of standings: what a lookup would else have to rank (db/migrations/0003_standing.sql). It follows from
 * the rows alone, so every answer here has a slow way, too, for what is not filled in and for older databases. */
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "store/backend.h"

/* Standings in one transaction. */
enum { BATCH = 64 };

/* ---- pairs of a problem and a device ---- */

typedef struct pair {
    char *problem, *device;
} pair;

typedef struct pair_list {
    pair *items;
    size_t count, capacity;
} pair_list;

static void free_pairs(pair_list *list) {
    for (size_t i = 0; i < list->count; i++) {
        free(list->items[i].problem);
        free(list->items[i].device);
    }
    free(list->items);
}

/* A tri_key_fn. */
static triage_status add_pair(void *user, const char *problem, const char *device) {
    pair_list *list = user;
    triage_status status = TRIAGE_OK;
    pair made = {0};
    TRI_TRY(tri_grow(&list->items, &list->capacity, list->count, sizeof *list->items, "problems"));
    TRI_TRY(tri_strdup(&made.problem, problem));
    TRI_TRY(tri_strdup(&made.device, device));
    list->items[list->count++] = made;
    return TRIAGE_OK;
done:
    free(made.problem);
    return status;
}

static triage_status unknown_pairs(pair_list *out, tri_store *store, int64_t most) {
    triage_status status = TRIAGE_OK;
    tri_query *query = NULL;
    bool more;
    TRI_TRY(store->backend->take(&query, store, "standing_unknown"));
    TRI_TRY(store->backend->bind_integer(store, query, ":limit", most));
    TRI_TRY(store->backend->step(&more, store, query));
    while (more) {
        TRI_TRY(add_pair(out, store->backend->text(query, 0), store->backend->text(query, 1)));
        TRI_TRY(store->backend->step(&more, store, query));
    }
done:
    store->backend->give(store, query);
    return status;
}

/* ---- filling in ---- */

typedef struct ranking {
    tri_text rows;                 /* JSON array of numbers */
    int64_t drifted, drifted_from; /* 0: none */
} ranking;

/* Of several that have drifted, the one that was fastest is the one that won. */
static triage_status rank(ranking *out, tri_store *file, const pair *of) {
    const tri_store_backend *b = file->backend;
    triage_status status = TRIAGE_OK;
    tri_query *query = NULL;
    double least = 0;
    bool more;
    TRI_TRY(b->take(&query, file, "ranking"));
    TRI_TRY(b->bind_text(file, query, ":problem", of->problem));
    TRI_TRY(b->bind_text(file, query, ":device", of->device));
    TRI_TRY(b->step(&more, file, query));
    TRI_TRY(tri_text_append(&out->rows, "[", 1));
    while (more) {
        const int64_t older = b->integer(query, 1); /* NULL is 0 */
        TRI_TRY(
            tri_text_format(&out->rows, "%s%" PRId64, out->rows.size > 1 ? "," : "", b->integer(query, 0)));
        if (older && (!out->drifted || b->real(query, 2) < least)) {
            least = b->real(query, 2);
            out->drifted = b->integer(query, 0);
            out->drifted_from = older;
        }
        TRI_TRY(b->step(&more, file, query));
    }
    TRI_TRY(tri_text_append(&out->rows, "]", 1));
done:
    b->give(file, query);
    return status;
}

static triage_status fill(tri_store *file, const pair *of) {
    const tri_store_backend *b = file->backend;
    triage_status status = TRIAGE_OK;
    tri_query *query = NULL;
    ranking found = {0};
    bool row;
    TRI_TRY(rank(&found, file, of));
    TRI_TRY(b->take(&query, file, "set_standing"));
    TRI_TRY(b->bind_text(file, query, ":problem", of->problem));
    TRI_TRY(b->bind_text(file, query, ":device", of->device));
    TRI_TRY(b->bind_text(file, query, ":ranking", found.rows.data));
    if (found.drifted) {
        TRI_TRY(b->bind_integer(file, query, ":drifted", found.drifted));
        TRI_TRY(b->bind_integer(file, query, ":drifted_from", found.drifted_from));
    }
    TRI_TRY(b->step(&row, file, query));
done:
    b->give(file, query);
    tri_text_free(&found.rows);
    return status;
}

triage_status tri_standing_fill(int64_t *done, tri_store *file, int64_t most) {
    triage_status status = TRIAGE_OK;
    pair_list pairs = {0};
    *done = 0;
    TRI_TRY(unknown_pairs(&pairs, file, most));
    for (size_t i = 0; i < pairs.count; i++, ++*done)
        TRI_TRY(fill(file, &pairs.items[i]));
done:
    free_pairs(&pairs);
    return status;
}

static triage_status fill_file(int64_t *done, tri_store *file, int64_t most) {
    int64_t added;
    triage_status status = file->backend->begin(file);
    if (status != TRIAGE_OK)
        return status;
    return file->backend->end(&added, file, tri_standing_fill(done, file, most));
}

static triage_status fill_server(int64_t *done, tri_store *server, int64_t most) {
    triage_status status = TRIAGE_OK;
    tri_query *query = NULL;
    bool row;
    TRI_TRY(server->backend->take(&query, server, "refresh"));
    TRI_TRY(server->backend->bind_integer(server, query, ":limit", most));
    TRI_TRY(server->backend->step(&row, server, query));
    *done = row ? server->backend->integer(query, 0) : 0;
done:
    server->backend->give(server, query);
    return status;
}

triage_status tri_store_refresh(tri_store *store, const tri_refresh_options *options) {
    triage_status status = TRIAGE_OK;
    int64_t left = options->most ? options->most : INT64_MAX, done = 1;
    while (left > 0 && done > 0 && status == TRIAGE_OK) {
        const int64_t most = left < BATCH ? left : BATCH;
        if ((options->interrupted && *options->interrupted) ||
            (options->deadline_ns && tri_now_ns() > options->deadline_ns))
            break;
        status = store->server ? fill_server(&done, store, most) : fill_file(&done, store, most);
        left -= done;
    }
    return status;
}

/* ---- near problems ---- */

typedef struct keys {
    tri_donor_fn fn;
    void *user;
} keys;

static triage_status visit_key(void *user, const char *problem, const char *device) {
    const keys *k = user;
    (void)device;
    return k->fn(k->user, &(tri_stored_donor){.problem = problem});
}

/* The size so many octaves away; beyond 2048 one counts a quarter (tri_problem_distance). */
static int64_t scaled(int64_t size, double octaves) {
    const double full = 11, own = log2((double)size);
    const double to = (own <= full ? own : full + (own - full) / 4) + octaves;
    return (int64_t)fmin(ceil(exp2(to <= full ? to : full + 4 * (to - full))), INT32_MAX);
}

static triage_status bind_vicinity(tri_store *store, tri_query *query, const tri_vicinity *v) {
    const struct {
        const char *name, *low, *high;
        int64_t size;
    } sizes[] = {{":m", ":m_low", ":m_high", v->m},
                 {":n", ":n_low", ":n_high", v->n},
                 {":k", ":k_low", ":k_high", v->k}};
    const tri_store_backend *b = store->backend;
    triage_status status = TRIAGE_OK;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        TRI_TRY(b->bind_integer(store, query, sizes[i].name, sizes[i].size));
        TRI_TRY(b->bind_integer(store, query, sizes[i].low, scaled(sizes[i].size, -v->octaves) - 1));
        TRI_TRY(b->bind_integer(store, query, sizes[i].high, scaled(sizes[i].size, v->octaves)));
    }
    TRI_TRY(b->bind_integer(store, query, ":limit", v->most));
done:
    return status;
}

/* Of what was left out the sizes are at least as far apart as those of the last. */
static double reach_of(const tri_vicinity *v, int64_t rows, double last_apart) {
    const double ln2 = 0.6931471805599453;
    return rows < v->most ? v->octaves : fmin(v->octaves, sqrt(last_apart) / ln2);
}

triage_status tri_store_near(double *reach, tri_store *store, const char *device, const char *family,
                             const tri_vicinity *vicinity, tri_donor_fn fn, void *user) {
    const tri_store_backend *b = store->backend;
    triage_status status = TRIAGE_OK;
    tri_query *query = NULL;
    int64_t rows = 0;
    double apart = 0;
    bool more;
    *reach = INFINITY;
    if (!store->has_standings)
        return tri_store_problems(store, device, family, visit_key, &(keys){fn, user});
    TRI_TRY(b->take(&query, store, "near"));
    TRI_TRY(b->bind_text(store, query, ":device", device));
    TRI_TRY(b->bind_text(store, query, ":family", family));
    TRI_TRY(bind_vicinity(store, query, vicinity));
    TRI_TRY(b->step(&more, store, query));
    for (; more; rows++) {
        tri_stored_donor donor = {.problem = b->text(query, 0), .is_known = b->integer(query, 4) != 0};
        apart = b->real(query, 5);
        if (b->text(query, 1)[0]) {
            donor.config = b->text(query, 1);
            donor.source_hash = b->text(query, 2);
            donor.median_ns = b->real(query, 3);
        }
        TRI_TRY(fn(user, &donor));
        TRI_TRY(b->step(&more, store, query));
    }
    *reach = reach_of(vicinity, rows, apart);
done:
    b->give(store, query);
    return status;
}

/* ---- times ---- */

typedef struct times_ranking {
    tri_times *times;
    int64_t rows;
} times_ranking;

static triage_status take_time(void *user, const tri_measurement *row) {
    times_ranking *r = user;
    if (r->rows++ == 0)
        r->times->winner_ns = row->median_ns;
    if (strcmp(row->config, r->times->config) != 0)
        return TRIAGE_OK;
    r->times->config_ns = row->median_ns;
    return TRIAGE_E_INTERRUPTED; /* that was all */
}

static triage_status rank_times(tri_times *times, tri_store *store, const char *device) {
    triage_status status =
        tri_store_ranking(store, times->problem, device, take_time, &(times_ranking){.times = times});
    return status == TRIAGE_E_INTERRUPTED ? TRIAGE_OK : status;
}

static triage_status ask_times(char **out, const tri_times *times, size_t count) {
    json_t *pairs = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(pairs, json_pack("[s, s]", times[i].problem, times[i].config));
    *out = json_dumps(pairs, JSON_COMPACT);
    json_decref(pairs);
    return *out ? TRIAGE_OK : tri_fail(TRIAGE_E_MEMORY, "out of memory for %zu problems", count);
}

static triage_status read_times(tri_times *times, size_t count, tri_store *store, const char *device) {
    const tri_store_backend *b = store->backend;
    triage_status status = TRIAGE_OK;
    tri_query *query = NULL;
    char *asked = NULL;
    bool more;
    TRI_TRY(ask_times(&asked, times, count));
    TRI_TRY(b->take(&query, store, "times"));
    TRI_TRY(b->bind_text(store, query, ":asked", asked));
    TRI_TRY(b->bind_text(store, query, ":device", device));
    TRI_TRY(b->step(&more, store, query));
    while (more) {
        const int64_t i = b->integer(query, 0);
        if (i >= 0 && (size_t)i < count) {
            times[i].winner_ns = b->real(query, 1);
            times[i].config_ns = b->real(query, 2);
        }
        TRI_TRY(b->step(&more, store, query));
    }
done:
    b->give(store, query);
    free(asked);
    return status;
}

triage_status tri_store_times(tri_times *times, size_t count, tri_store *store, const char *device) {
    triage_status status = TRIAGE_OK;
    for (size_t i = 0; i < count; i++)
        times[i].winner_ns = times[i].config_ns = 0;
    if (store->has_standings)
        TRI_TRY(read_times(times, count, store, device));
    for (size_t i = 0; i < count; i++)
        if (times[i].winner_ns == 0) /* its standing is not known */
            TRI_TRY(rank_times(&times[i], store, device));
done:
    return status;
}

/* ---- drift ---- */

/* The row that a statement gives for an id, or a number. found false: none. */
static triage_status fetch(tri_measurement *out, bool *found, tri_store *store, const char *name,
                           const char *id, int64_t number) {
    const tri_store_backend *b = store->backend;
    triage_status status = TRIAGE_OK;
    tri_query *query = NULL;
    tri_measurement row;
    TRI_TRY(b->take(&query, store, name));
    TRI_TRY(b->bind_text(store, query, ":id", id));
    TRI_TRY(b->bind_integer(store, query, ":row", number));
    TRI_TRY(b->step(found, store, query));
    if (*found) {
        TRI_TRY(b->row(&row, query));
        TRI_TRY(tri_measurement_copy(out, &row));
    }
done:
    b->give(store, query);
    return status;
}

enum { NEWER, OLDER, WINNER, ROWS };

/* By ids (NULL: by numbers); the winner's may be "" or 0. */
static triage_status report_drift(tri_store *store, char *const *ids, const int64_t *numbers, tri_drift_fn fn,
                                  void *user) {
    triage_status status = TRIAGE_OK;
    tri_measurement rows[ROWS];
    bool found[ROWS] = {false};
    memset(rows, 0, sizeof rows);
    for (int i = 0; i < ROWS; i++)
        TRI_TRY(ids ? fetch(&rows[i], &found[i], store, "measurement", ids[i], 0)
                    : fetch(&rows[i], &found[i], store, "foreign_row", NULL, numbers[i]));
    if (found[NEWER] && found[OLDER])
        TRI_TRY(
            fn(user, &(tri_drift){.older = &rows[OLDER],
                                  .newer = &rows[NEWER],
                                  .winner = rows[WINNER].outcome == TRI_RIGHT && found[WINNER] ? &rows[WINNER]
                                                                                               : NULL}));
done:
    for (int i = 0; i < ROWS; i++)
        tri_measurement_clear(&rows[i]);
    return status;
}

static triage_status known_drifts(tri_store *store, tri_drift_fn fn, void *user) {
    triage_status status = TRIAGE_OK;
    tri_query *query = NULL;
    bool more;
    TRI_TRY(store->backend->take(&query, store, "drifted"));
    TRI_TRY(store->backend->step(&more, store, query));
    while (more) {
        char texts[ROWS][TRI_HASH_SIZE], *ids[ROWS];
        for (int i = 0; i < ROWS; i++) {
            snprintf(texts[i], sizeof texts[i], "%s", store->backend->text(query, i + 2));
            ids[i] = texts[i];
        }
        TRI_TRY(report_drift(store, ids, NULL, fn, user));
        TRI_TRY(store->backend->step(&more, store, query));
    }
done:
    store->backend->give(store, query);
    return status;
}

triage_status tri_store_busy(tri_store *store, tri_row_fn fn, void *user) {
    triage_status status = TRIAGE_OK;
    tri_query *query = NULL;
    bool more = false;
    if (store->has_standings)
        TRI_TRY(store->backend->take(&query, store, "busy"));
    if (query)
        TRI_TRY(store->backend->step(&more, store, query));
    while (more) {
        tri_measurement row = {0};
        bool found = false;
        status = fetch(&row, &found, store, "measurement", store->backend->text(query, 0), 0);
        if (status == TRIAGE_OK && found)
            status = fn(user, &row);
        tri_measurement_clear(&row);
        TRI_TRY(status);
        TRI_TRY(store->backend->step(&more, store, query));
    }
done:
    store->backend->give(store, query);
    return status;
}

/* What the table does not know is ranked here. */
static triage_status ranked_drifts(tri_store *file, tri_drift_fn fn, void *user) {
    triage_status status = TRIAGE_OK;
    pair_list pairs = {0};
    TRI_TRY(file->has_standings ? unknown_pairs(&pairs, file, INT64_MAX)
                                : tri_store_problems(file, NULL, "", add_pair, &pairs));
    for (size_t i = 0; i < pairs.count; i++) {
        ranking found = {0};
        status = rank(&found, file, &pairs.items[i]);
        const int64_t numbers[ROWS] = {found.drifted, found.drifted_from,
                                       found.rows.size > 1 ? strtoll(found.rows.data + 1, NULL, 10) : 0};
        if (status == TRIAGE_OK && found.drifted)
            status = report_drift(file, NULL, numbers, fn, user);
        tri_text_free(&found.rows);
        TRI_TRY(status);
    }
done:
    free_pairs(&pairs);
    return status;
}

static triage_status count_unknown(int64_t *out, tri_store *server) {
    triage_status status = TRIAGE_OK;
    tri_query *query = NULL;
    bool row;
    TRI_TRY(server->backend->take(&query, server, "standings_unknown"));
    TRI_TRY(server->backend->step(&row, server, query));
    *out = row ? server->backend->integer(query, 0) : 0;
done:
    server->backend->give(server, query);
    return status;
}

triage_status tri_store_drifts(int64_t *unknown, tri_store *store, tri_drift_fn fn, void *user) {
    triage_status status = TRIAGE_OK;
    *unknown = 0;
    if (store->server && !store->has_standings) {
        *unknown = -1;
        return TRIAGE_OK;
    }
    if (store->has_standings)
        TRI_TRY(known_drifts(store, fn, user));
    if (!store->server)
        TRI_TRY(ranked_drifts(store, fn, user));
    else
        TRI_TRY(count_unknown(unknown, store));
done:
    return status;
}
