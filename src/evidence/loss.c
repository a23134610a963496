#include "evidence/loss.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "evidence/donors.h"

/* Enough for honest evidence, and a limit for what was made up: rows of a ranking, renderings of it, donors asked. */
enum { ROWS_LOOKED_AT = 1024, RENDERED = 64, DONORS_TRIED = 64 };

typedef struct loss_state {
    const tri_loss_question *question;
    tri_donor_place in;
} loss_state;

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

/* What would serve the one that is left out. */
typedef struct service {
    char *donor, *config; /* NULL: nobody, nothing */
    char hash[TRI_HASH_SIZE];
    double distance;
} service;

static triage_status find_service(service *out, const loss_state *q, const tri_donor *self) {
    const tri_loss_question *question = q->question;
    const size_t most = question->least_distance > 0 ? 0 : DONORS_TRIED;
    triage_status status = TRIAGE_OK;
    tri_donor_list donors = {0};
    tri_donor_choice choice = {0};
    TRI_TRY(tri_donors_around(&donors, &q->in, &self->problem, most, false));
    TRI_TRY(tri_donors_choose(&choice, &donors, &q->in, question->setting, &self->problem,
                              question->least_distance));
    if (!choice.loan.row)
        goto done;
    TRI_TRY(tri_strdup(&out->donor, donors.items[choice.by].key));
    TRI_TRY(tri_strdup(&out->config, choice.loan.row->config));
    memcpy(out->hash, choice.loan.here.hash, sizeof out->hash);
    out->distance = donors.items[choice.by].distance;
done:
    tri_loan_clear(&choice.loan);
    tri_donor_list_free(&donors);
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
        if (verdict.is == TRI_CURRENT)
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

static triage_status leave_out(tri_loss *out, const loss_state *q, const tri_donor *self) {
    triage_status status = TRIAGE_OK;
    row_list ranking = {0}, evidence = {0};
    const row *best = NULL;
    service served = {0};
    TRI_TRY(tri_strdup(&out->problem, self->key));
    TRI_TRY(tri_store_best(q->in.store, self->key, q->in.device, ROWS_LOOKED_AT, copy_row, &ranking));
    TRI_TRY(find_best(&best, q, self, &ranking));
    out->kind = TRI_LOSS_STALE;
    if (best)
        TRI_TRY(find_service(&served, q, self));
    TRI_TRY(tri_strdup(&out->donor, served.donor ? served.donor : ""));
    if (!best)
        goto done;
    out->kind = TRI_LOSS_NO_DONOR;
    if (!served.donor)
        goto done;
    out->distance = served.distance;
    if (!is_kernel(best, served.config, served.hash))
        TRI_TRY(tri_store_evidence(q->in.store, self->key, q->in.device, copy_row, &evidence));
    judge(out, best, &ranking, &evidence, served.config, served.hash);
done:
    free(served.donor);
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

/* The problems that are left out, one after the other. */
static triage_status choose(tri_donor_list *out, const loss_state *q) {
    const tri_loss_question *question = q->question;
    triage_status status = question->around
                               ? tri_donors_around(out, &q->in, question->around, question->limit, true)
                               : tri_donors_all(out, &q->in, tri_space_operation(question->setting->space));
    while (status == TRIAGE_OK && question->limit && out->count > question->limit)
        tri_donor_clear(&out->items[--out->count]);
    return status;
}

triage_status tri_losses_find(tri_losses *out, const tri_loss_question *question) {
    triage_status status = TRIAGE_OK;
    char *device = NULL;
    tri_donor_list chosen = {0};
    tri_losses made = {0};
    TRI_TRY(tri_device_key(&device, question->setting->info));
    const loss_state q = {.question = question, .in = {question->store, device}};
    TRI_TRY(choose(&chosen, &q));
    TRI_TRY(tri_calloc(&made.items, chosen.count + 1, sizeof *made.items));
    for (; made.count < chosen.count; made.count++) {
        status = leave_out(&made.items[made.count], &q, &chosen.items[made.count]);
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
    tri_donor_list_free(&chosen);
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
