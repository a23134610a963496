#include "evidence/loss.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "evidence/runner_up.h"

/* Enough for honest evidence, and a limit for what was made up: rows of a ranking, renderings of it, donors asked. */
enum { ROWS_LOOKED_AT = 1024, RENDERED = 64, DONORS_TRIED = 64 };

/* What a tuned problem is to the others. */
typedef struct donor {
    bool tried; /* for the one that is left out */
    enum { UNASKED, USABLE, USELESS } winner;
    char *config; /* of a usable winner */
    double median_ns;
} donor;

/* What would serve the one that is left out. */
typedef struct service {
    size_t by; /* whose: of tuned; NOBODY */
    char *config, hash[TRI_HASH_SIZE];
} service;
#define NOBODY SIZE_MAX

typedef struct loss_state {
    const tri_loss_question *question;
    const char *device;
    tri_donor_list tuned;
    donor *donors; /* one for each of tuned, in their order */
} loss_state;

static void free_state(loss_state *q) {
    for (size_t i = 0; q->donors && i < q->tuned.count; i++)
        free(q->donors[i].config);
    free(q->donors);
    tri_donor_list_free(&q->tuned);
}

/* ---- one left out ---- */

typedef struct row { /* of the one that is left out */
    char config[512], hash[TRI_HASH_SIZE];
    bool is_race, timed;
    double median_ns;
} row;

typedef struct row_list {
    row *items;
    size_t count, capacity;
} row_list;

/* A tri_row_fn. */
static triage_status copy_row(void *user, const tri_measurement *from) {
    row_list *list = user;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_grow(&list->items, &list->capacity, list->count, sizeof *list->items, "rows of evidence"));
    row *item = &list->items[list->count++];
    snprintf(item->config, sizeof item->config, "%s", from->config);
    snprintf(item->hash, sizeof item->hash, "%s", from->source_hash);
    item->is_race = strcmp(from->stage, "race") == 0;
    item->timed = from->outcome == TRI_RIGHT || from->outcome == TRI_SLOW;
    item->median_ns = from->median_ns;
done:
    return status;
}

static bool is_kernel(const row *item, const char *config, const char *hash) {
    return strcmp(item->hash, hash) == 0 && strcmp(item->config, config) == 0;
}

/* The newest search time of a kernel; 0 if there is none. evidence is newest first. */
static double search_time(const row_list *evidence, const char *config, const char *hash) {
    for (size_t i = 0; i < evidence->count; i++) {
        const row *item = &evidence->items[i];
        if (item->timed && !item->is_race && is_kernel(item, config, hash))
            return item->median_ns;
    }
    return 0;
}

/* The device may have warmed up between search and race: two times of one kind compare, if there are such. */
static double loss_between(const row *best, const row *served, const row_list *evidence) {
    double best_ns = best->median_ns, served_ns = served->median_ns;
    if (best->is_race != served->is_race) {
        const double best_search = search_time(evidence, best->config, best->hash);
        const double served_search = search_time(evidence, served->config, served->hash);
        if (best_search > 0 && served_search > 0) {
            best_ns = best_search;
            served_ns = served_search;
        }
    }
    return fmax(0, 1 - best_ns / served_ns);
}

/* The winner of a tuned problem, if it still means something; as a lookup takes it. */
static triage_status ask_winner(loss_state *q, size_t at) {
    triage_status status = TRIAGE_OK;
    row_list winner = {0};
    tri_config_freshness verdict;
    donor *from = &q->donors[at];
    const tri_donor *tuned = &q->tuned.items[at];
    if (from->winner != UNASKED)
        return TRIAGE_OK;
    from->winner = USELESS;
    TRI_TRY(tri_store_winner(q->question->store, tuned->key, q->device, copy_row, &winner));
    if (winner.count == 0)
        goto done;
    TRI_TRY(tri_freshness_of(&verdict, q->question->setting, &tuned->problem, winner.items[0].config,
                             winner.items[0].hash));
    if (verdict.currency != TRI_CURRENT)
        goto done;
    TRI_TRY(tri_strdup(&from->config, winner.items[0].config));
    from->median_ns = winner.items[0].median_ns;
    from->winner = USABLE;
done:
    free(winner.items);
    return status;
}

static size_t nearest_untried(const loss_state *q, size_t self) {
    size_t best = NOBODY;
    for (size_t i = 0; i < q->tuned.count; i++) {
        const tri_donor *item = &q->tuned.items[i];
        if (i == self || q->donors[i].tried || q->donors[i].winner == USELESS || !isfinite(item->distance) ||
            item->distance < q->question->least_distance)
            continue;
        if (best == NOBODY || tri_donor_compare(item, &q->tuned.items[best]) < 0)
            best = i;
    }
    return best;
}

/* A donor's configuration made for another problem; out->config stays NULL where it may not run there. */
static triage_status take(service *out, const loss_state *q, const tri_problem *problem, const char *config) {
    triage_status status = TRIAGE_OK;
    tri_config_freshness verdict;
    TRI_TRY(tri_freshness_of(&verdict, q->question->setting, problem, config, NULL));
    if (verdict.currency != TRI_CURRENT)
        goto done;
    memcpy(out->hash, verdict.hash, TRI_HASH_SIZE);
    TRI_TRY(tri_strdup(&out->config, config));
done:
    return status;
}

/* The winner of out->by, or what else it offers. */
static triage_status ask_donor(service *out, loss_state *q, const tri_problem *problem) {
    triage_status status = TRIAGE_OK;
    tri_measurement offer = {0};
    const donor *from = &q->donors[out->by];
    TRI_TRY(ask_winner(q, out->by));
    if (from->winner != USABLE)
        goto done;
    TRI_TRY(take(out, q, problem, from->config));
    if (out->config)
        goto done;
    TRI_TRY(tri_runner_up_find(&offer, q->question->store, q->device, q->question->setting,
                               &q->tuned.items[out->by], problem, from->median_ns));
    if (offer.config)
        TRI_TRY(take(out, q, problem, offer.config));
done:
    tri_measurement_clear(&offer);
    return status;
}

static triage_status find_donor(service *out, loss_state *q, size_t self) {
    triage_status status = TRIAGE_OK;
    const tri_problem *problem = &q->tuned.items[self].problem;
    TRI_TRY(tri_donors_measure(&q->tuned, problem));
    for (size_t i = 0; i < q->tuned.count; i++)
        q->donors[i].tried = false;
    for (int tries = 0; !out->config && (out->by = nearest_untried(q, self)) != NOBODY; tries++) {
        if (tries == DONORS_TRIED) {
            out->by = NOBODY;
            break;
        }
        q->donors[out->by].tried = true;
        TRI_TRY(ask_donor(out, q, problem));
    }
done:
    return status;
}

/* The row that an exact lookup takes; NULL: none. */
static triage_status find_best(const row **best, const loss_state *q, const tri_donor *self,
                               const row_list *ranking) {
    triage_status status = TRIAGE_OK;
    tri_config_freshness verdict;
    *best = NULL;
    for (size_t i = 0; i < ranking->count && i < RENDERED && !*best; i++) {
        TRI_TRY(tri_freshness_of(&verdict, q->question->setting, &self->problem, ranking->items[i].config,
                                 ranking->items[i].hash));
        if (verdict.currency == TRI_CURRENT)
            *best = &ranking->items[i];
    }
done:
    return status;
}

/* How a kernel did on a problem whose best is known. */
static void judge(tri_loss *out, const row *best, const row_list *ranking, const row_list *evidence,
                  const char *config, const char *hash) {
    out->kind = TRI_LOSS_UNTIMED;
    for (size_t i = 0; i < ranking->count; i++) {
        if (is_kernel(&ranking->items[i], config, hash)) {
            out->kind = TRI_LOSS_JUDGED;
            out->loss = loss_between(best, &ranking->items[i], evidence);
            return;
        }
    }
    for (size_t i = 0; i < evidence->count; i++) {
        if (is_kernel(&evidence->items[i], config, hash) && !evidence->items[i].timed) {
            out->kind = TRI_LOSS_FAILED;
            out->loss = 1;
            return;
        }
    }
}

static triage_status leave_out(tri_loss *out, loss_state *q, size_t at) {
    triage_status status = TRIAGE_OK;
    row_list ranking = {0}, evidence = {0};
    tri_store *store = q->question->store;
    const tri_donor *self = &q->tuned.items[at];
    const row *best = NULL;
    service served = {.by = NOBODY};
    TRI_TRY(tri_strdup(&out->problem, self->key));
    TRI_TRY(tri_store_best(store, self->key, q->device, ROWS_LOOKED_AT, copy_row, &ranking));
    TRI_TRY(find_best(&best, q, self, &ranking));
    out->kind = TRI_LOSS_STALE;
    if (best)
        TRI_TRY(find_donor(&served, q, at));
    TRI_TRY(tri_strdup(&out->donor, served.by == NOBODY ? "" : q->tuned.items[served.by].key));
    if (!best)
        goto done;
    out->kind = TRI_LOSS_NO_DONOR;
    if (served.by == NOBODY)
        goto done;
    out->distance = q->tuned.items[served.by].distance;
    if (!is_kernel(best, served.config, served.hash))
        TRI_TRY(tri_store_evidence(store, self->key, q->device, copy_row, &evidence));
    judge(out, best, &ranking, &evidence, served.config, served.hash);
done:
    free(served.config);
    free(ranking.items);
    free(evidence.items);
    return status;
}

/* ---- the distribution ---- */

static int by_value(const void *left, const void *right) {
    const double a = *(const double *)left, b = *(const double *)right;
    return a < b ? -1 : a > b;
}

/* The smallest value that this share of all is not above. */
static double quantile(const double *sorted, size_t count, double share) {
    const size_t at = (size_t)ceil(share * (double)count);
    return sorted[at > 0 ? at - 1 : 0];
}

static triage_status summarise(tri_losses *out) {
    double *known = NULL, sum = 0;
    size_t count = 0;
    out->mean = out->median = out->p90 = out->most = -1;
    triage_status status = tri_calloc(&known, out->count + 1, sizeof *known);
    if (status != TRIAGE_OK)
        return status;
    for (size_t i = 0; i < out->count; i++) {
        const tri_loss *item = &out->items[i];
        out->counts[item->kind]++;
        if (item->kind == TRI_LOSS_JUDGED || item->kind == TRI_LOSS_FAILED)
            sum += known[count++] = item->loss;
    }
    if (count) {
        qsort(known, count, sizeof *known, by_value);
        out->mean = sum / (double)count;
        out->median = (known[(count - 1) / 2] + known[count / 2]) / 2;
        out->p90 = quantile(known, count, 0.9);
        out->most = known[count - 1];
    }
    free(known);
    return TRIAGE_OK;
}

bool tri_losses_speak(const tri_losses *losses) {
    const size_t known = losses->counts[TRI_LOSS_JUDGED] + losses->counts[TRI_LOSS_FAILED];
    return known > 0 && known >= losses->counts[TRI_LOSS_UNTIMED];
}

/* ---- all ---- */

/* Those around the asked one come first; others are not left out, but may be donors. */
static triage_status choose(size_t *count, loss_state *q) {
    const tri_loss_question *question = q->question;
    triage_status status = TRIAGE_OK;
    *count = q->tuned.count;
    if (question->around)
        status = tri_donors_sort(count, &q->tuned, question->around);
    if (question->limit && question->limit < *count)
        *count = question->limit;
    return status;
}

triage_status tri_losses_find(tri_losses *out, const tri_loss_question *question) {
    triage_status status = TRIAGE_OK;
    char *device = NULL, *words = NULL;
    size_t count = 0;
    loss_state q = {.question = question};
    tri_losses made = {0};
    TRI_TRY(tri_device_key(&device, question->setting->info));
    q.device = device;
    TRI_TRY(tri_format(&words, "%s ", tri_space_operation(question->setting->space)->name));
    TRI_TRY(tri_donors_collect(&q.tuned, question->store, device, words, NULL));
    TRI_TRY(tri_calloc(&q.donors, q.tuned.count + 1, sizeof *q.donors));
    TRI_TRY(choose(&count, &q));
    TRI_TRY(tri_calloc(&made.items, count + 1, sizeof *made.items));
    for (; made.count < count; made.count++) {
        status = leave_out(&made.items[made.count], &q, made.count);
        if (status != TRIAGE_OK) {
            made.count++; /* what it has is freed with the others */
            goto done;
        }
    }
    TRI_TRY(summarise(&made));
    *out = made;
    made = (tri_losses){0};
done:
    tri_losses_free(&made);
    free_state(&q);
    free(words);
    free(device);
    return status;
}

void tri_losses_free(tri_losses *losses) {
    if (!losses)
        return;
    for (size_t i = 0; i < losses->count; i++) {
        free(losses->items[i].problem);
        free(losses->items[i].donor);
    }
    free(losses->items);
    *losses = (tri_losses){0};
}
