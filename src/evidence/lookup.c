/* The winner for a problem: exact evidence, else that of the nearest tuned problem, else the default.
 *
 * Evidence counts only while it speaks of today's kernel: its configuration, rendered for the problem that it
 * was measured on, must give the source hash that is stored. For an exact hit that rendering is also the one
 * that runs. For a donor it is not (constants may depend on the problem), so the configuration is rendered
 * twice: once for the donor, to compare, and once for the asked problem. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "evidence/donors.h"
#include "evidence/lookup.h"

/* The tuned problems around the asked one that are looked at; what is farther away has little to say. */
#define NEIGHBOURS 32
/* Of a ranking whose best are of changed templates, or were made up. */
#define ROWS_LOOKED_AT 1024
#define CONFIGS_RENDERED 128
/* Those of them whose own neighbours are looked at to estimate what a nearest kernel costs. */
#define LOSS_SAMPLES 8

/* ---- evidence, copied out of the store ---- */

typedef struct evidence {
    char *config, *source_hash;
    char id[TRI_HASH_SIZE];
    double median_ns;
} evidence;

typedef struct evidence_list {
    evidence *items;
    size_t count, capacity;
} evidence_list;

static void evidence_clear(evidence *item) {
    free(item->config);
    free(item->source_hash);
}

static void evidence_list_free(evidence_list *list) {
    for (size_t i = 0; i < list->count; i++)
        evidence_clear(&list->items[i]);
    free(list->items);
    *list = (evidence_list){0};
}

/* A tri_row_fn. */
static triage_status collect(void *user, const tri_measurement *row) {
    evidence_list *list = user;
    triage_status status = TRIAGE_OK;
    evidence item = {.median_ns = row->median_ns};
    memcpy(item.id, row->id, sizeof item.id);
    TRI_TRY(tri_grow(&list->items, &list->capacity, list->count, sizeof *list->items, "rows of evidence"));
    TRI_TRY(tri_strdup(&item.config, row->config));
    TRI_TRY(tri_strdup(&item.source_hash, row->source_hash));
    list->items[list->count++] = item;
    return TRIAGE_OK;
done:
    evidence_clear(&item);
    return status;
}

/* ---- the question ---- */

/* What the search for a kernel needs on its way. */
typedef struct inquiry {
    tri_store *store;
    tri_setting setting;
    const tri_problem *problem;
    char *key, *device_key;
    /* device_key is another device's: what a near kernel costs here its evidence cannot tell */
    bool on_sister;
} inquiry;

static triage_status render_here(tri_rendering *out, const inquiry *asked, const char *config) {
    return tri_rendering_make(out, &asked->setting, asked->problem, config);
}

/* Takes the rendering. donor: whose it is, of a nearest one. */
static triage_status accept(tri_found *out, tri_rendering *made, triage_source source, const tri_donor *donor,
                            double median_ns) {
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_strdup(&out->donor, donor ? donor->key : ""));
    out->source = source;
    out->candidate = made->candidate;
    out->rendered = made->source;
    *made = (tri_rendering){0};
    out->distance = donor ? donor->distance : 0;
    out->median_ns = median_ns;
    out->expected_loss = source == TRIAGE_SOURCE_EXACT ? 0 : -1;
done:
    return status;
}

/* ---- exact ---- */

/* Today's hash of each configuration that was rendered: many rows may speak of one. */
typedef struct known_names {
    const char *configs[CONFIGS_RENDERED];
    char hashes[CONFIGS_RENDERED][TRI_HASH_SIZE]; /* "": not of this space, or not legal here */
    size_t count;
} known_names;

/* NULL: it was not rendered yet. */
static const char *known_name(const known_names *names, const char *config) {
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->configs[i], config) == 0)
            return names->hashes[i];
    return NULL;
}

/* May the row speak of today's kernel? Renders its configuration if need be; *out is that rendering, if it was made. */
static triage_status check_name(tri_rendering *out, bool *hit, const inquiry *asked, known_names *names,
                                const evidence *item) {
    const char *name = known_name(names, item->config);
    *hit = name && strcmp(name, item->source_hash) == 0;
    if (name || names->count == CONFIGS_RENDERED)
        return TRIAGE_OK;
    triage_status status = render_here(out, asked, item->config);
    if (status != TRIAGE_OK && !tri_rendering_is_miss(status))
        return status;
    names->configs[names->count] = item->config;
    memcpy(names->hashes[names->count++], out->hash, TRI_HASH_SIZE); /* "" after a miss */
    *hit = strcmp(out->hash, item->source_hash) == 0;
    return TRIAGE_OK;
}

static triage_status take_row(tri_found *out, const inquiry *asked, tri_rendering *made,
                              const evidence *item) {
    triage_status status = TRIAGE_OK;
    tri_tier tier;
    char name[128];
    if (!made->source.text)
        TRI_TRY(render_here(made, asked, item->config));
    TRI_TRY(tri_store_origin(&tier, name, asked->store, item->id));
    TRI_TRY(accept(out, made, TRIAGE_SOURCE_EXACT, NULL, item->median_ns));
    out->is_claim = tier == TRI_TIER_UNKNOWN;
done:
    return status;
}

/* The first of the ranking whose text is today's. */
static triage_status take_current(tri_found *out, bool *found, const inquiry *asked,
                                  const evidence_list *ranking) {
    triage_status status = TRIAGE_OK;
    known_names *names = NULL;
    TRI_TRY(tri_calloc(&names, 1, sizeof *names));
    for (size_t i = 0; i < ranking->count && !*found; i++) {
        tri_rendering made = {0};
        status = check_name(&made, found, asked, names, &ranking->items[i]);
        if (status == TRIAGE_OK && *found)
            status = take_row(out, asked, &made, &ranking->items[i]);
        tri_rendering_free(&made);
        TRI_TRY(status);
    }
done:
    free(names);
    return status;
}

/* The winner is almost always current: the others are read only if it is not. */
static triage_status find_exact(tri_found *out, bool *found, const inquiry *asked) {
    triage_status status = TRIAGE_OK;
    evidence_list ranking = {0};
    TRI_TRY(tri_store_best(asked->store, asked->key, asked->device_key, 1, collect, &ranking));
    TRI_TRY(take_current(out, found, asked, &ranking));
    if (*found || ranking.count == 0)
        goto done;
    evidence_list_free(&ranking);
    TRI_TRY(tri_store_best(asked->store, asked->key, asked->device_key, ROWS_LOOKED_AT, collect, &ranking));
    TRI_TRY(take_current(out, found, asked, &ranking));
done:
    evidence_list_free(&ranking);
    return status;
}

/* ---- what a nearest kernel may cost: leave one out ----
 * Pretend that a stored problem was not tuned, serve it by its own nearest neighbour of those that are at hand, and
 * see in its evidence how that configuration did there. The mean over the stored problems around the asked one is
 * the estimate. */

static tri_donor *nearest_other(const tri_donor_list *donors, size_t self) {
    tri_donor *best = NULL;
    double least = INFINITY;
    for (size_t i = 0; i < donors->count; i++) {
        tri_donor *item = &donors->items[i];
        const bool has_none = item->was_asked && !item->winner.config;
        const double distance = i == self || has_none
                                    ? INFINITY
                                    : tri_problem_distance(&donors->items[self].problem, &item->problem);
        if (distance < least) {
            least = distance;
            best = item;
        }
    }
    return best;
}

/* The nearest donor of a donor that has a winner; NULL: none. */
static triage_status find_other(tri_donor **out, const tri_donor_place *in, const tri_donor_list *donors,
                                size_t self) {
    triage_status status = TRIAGE_OK;
    do {
        *out = nearest_other(donors, self);
        if (*out)
            status = tri_donor_ask(*out, in);
    } while (status == TRIAGE_OK && *out && !(*out)->winner.config);
    return status;
}

/* Of those whose configuration was not timed on the problem nothing is known. They may be the bad ones: a mean over
 * a few of many would flatter. */
static double mean_loss(const tri_times *times, size_t count, int asked_of) {
    double sum = 0;
    int known = 0;
    for (size_t i = 0; i < count; i++) {
        if (times[i].config_ns <= 0)
            continue;
        sum += fmax(0, 1 - times[i].winner_ns / times[i].config_ns);
        known++;
    }
    return known > 0 && 2 * known >= asked_of ? sum / known : -1;
}

static triage_status expected_loss(double *out, const tri_donor_place *in, tri_donor_list *donors) {
    triage_status status = TRIAGE_OK;
    tri_times times[LOSS_SAMPLES];
    size_t count = 0;
    int asked_of = 0;
    for (size_t i = 0; i < donors->count && asked_of < LOSS_SAMPLES; i++) {
        tri_donor *other = NULL;
        TRI_TRY(tri_donor_ask(&donors->items[i], in));
        if (!donors->items[i].winner.config)
            continue;
        asked_of++;
        TRI_TRY(find_other(&other, in, donors, i));
        if (other)
            times[count++] = (tri_times){.problem = donors->items[i].key, .config = other->winner.config};
    }
    TRI_TRY(tri_store_times(times, count, in->store, in->device));
    *out = mean_loss(times, count, asked_of);
done:
    return status;
}

/* ---- nearest ---- */

static triage_status find_nearest(tri_found *out, bool *found, const inquiry *asked) {
    triage_status status = TRIAGE_OK;
    const tri_donor_place in = {asked->store, asked->device_key};
    tri_donor_list donors = {0};
    tri_donor_choice choice = {0};
    TRI_TRY(tri_donors_around(&donors, &in, asked->problem, NEIGHBOURS, true));
    TRI_TRY(tri_donors_choose(&choice, &donors, &in, &asked->setting, asked->problem, 0));
    *found = choice.loan.row != NULL;
    if (!*found)
        goto done;
    TRI_TRY(accept(out, &choice.loan.here, TRIAGE_SOURCE_NEAREST, &donors.items[choice.by],
                   choice.loan.row->median_ns));
    out->is_claim = choice.is_claim;
    if (!asked->on_sister)
        TRI_TRY(expected_loss(&out->expected_loss, &in, &donors));
done:
    tri_loan_clear(&choice.loan);
    tri_donor_list_free(&donors);
    return status;
}

/* ---- default ---- */

static triage_status find_default(tri_found *out, const inquiry *asked) {
    triage_status status = TRIAGE_OK;
    char *config = NULL;
    tri_rendering made = {0};
    TRI_TRY(tri_space_default(&config, asked->setting.space, asked->problem, asked->setting.info));
    TRI_TRY(render_here(&made, asked, config));
    TRI_TRY(accept(out, &made, TRIAGE_SOURCE_DEFAULT, NULL, 0));
done:
    tri_rendering_free(&made);
    free(config);
    return status;
}

/* ---- lookup ---- */

static triage_status find_evidence(tri_found *out, bool *found, const inquiry *asked) {
    triage_status status = TRIAGE_OK;
    TRI_TRY(find_exact(out, found, asked));
    if (!*found)
        TRI_TRY(find_nearest(out, found, asked));
done:
    return status;
}

triage_status tri_lookup_exact(tri_found *out, bool *found, tri_store *store, tri_space *space,
                               const tri_problem *problem, const tri_device_info *info,
                               const char *data_dir) {
    triage_status status = TRIAGE_OK;
    inquiry asked = {.store = store, .setting = {space, info, data_dir}, .problem = problem};
    *out = (tri_found){0};
    *found = false;
    TRI_TRY(tri_problem_key(&asked.key, problem));
    TRI_TRY(tri_device_key(&asked.device_key, info));
    TRI_TRY(find_exact(out, found, &asked));
done:
    if (status != TRIAGE_OK)
        tri_found_free(out);
    free(asked.key);
    free(asked.device_key);
    return status;
}

triage_status tri_lookup(tri_found *out, tri_store *store, tri_space *space, const tri_problem *problem,
                         const tri_device_info *info, const char *data_dir) {
    triage_status status = TRIAGE_OK;
    bool found = false;
    inquiry asked = {.store = store, .setting = {space, info, data_dir}, .problem = problem};
    *out = (tri_found){0};
    if (store) {
        TRI_TRY(tri_problem_key(&asked.key, problem));
        TRI_TRY(tri_device_key(&asked.device_key, info));
        TRI_TRY(find_evidence(out, &found, &asked));
    }
    if (!found)
        TRI_TRY(find_default(out, &asked));
done:
    if (status != TRIAGE_OK)
        tri_found_free(out);
    free(asked.key);
    free(asked.device_key);
    return status;
}

void tri_found_free(tri_found *found) {
    if (!found)
        return;
    tri_candidate_free(&found->candidate);
    tri_source_free(&found->rendered);
    free(found->donor);
    free(found->device);
    free(found->device_name);
    for (size_t i = 0; i < TRI_RIVALS; i++)
        free(found->rivals[i]);
    *found = (tri_found){0};
}

triage_status tri_lookup_below(tri_found *found, tri_store *below, tri_space *space,
                               const tri_problem *problem, const tri_device_info *info,
                               const char *data_dir) {
    tri_found other = {0};
    triage_status status = tri_lookup(&other, below, space, problem, info, data_dir);
    const bool is_better = other.source < found->source || (other.source == found->source && found->is_claim);
    if (status == TRIAGE_OK && is_better) {
        tri_found_free(found);
        *found = other;
        return TRIAGE_OK;
    }
    tri_found_free(&other);
    return status;
}

/* ---- predicted ---- */

/* So near a problem has mostly the same winner, measured. */
#define VERY_NEAR 0.2

bool tri_lookup_is_open(const tri_found *found) {
    return found->source != TRIAGE_SOURCE_EXACT &&
           (found->source != TRIAGE_SOURCE_NEAREST || found->is_claim || found->distance > VERY_NEAR);
}

/* Was that kernel tried for the very problem, and is not right? */
static triage_status has_failed(bool *yes, const inquiry *asked, const tri_rendering *made) {
    tri_measurement row = {0};
    *yes = false;
    if (!asked->store)
        return TRIAGE_OK;
    triage_status status =
        tri_store_measured(&row, asked->store, asked->key, asked->device_key, made->hash, NULL);
    if (status == TRIAGE_OK)
        *yes = row.outcome != TRI_RIGHT && row.outcome != TRI_SLOW;
    tri_measurement_clear(&row);
    return status == TRIAGE_E_NOT_FOUND ? TRIAGE_OK : status;
}

static triage_status try_prediction(tri_found *out, bool *taken, const inquiry *asked, const char *config,
                                    const tri_prediction *prediction) {
    tri_rendering made = {0};
    bool failed = false;
    triage_status status = render_here(&made, asked, config);
    if (tri_rendering_is_miss(status))
        return TRIAGE_OK;
    TRI_TRY(status);
    TRI_TRY(has_failed(&failed, asked, &made));
    if (failed)
        goto done;
    TRI_TRY(accept(out, &made, TRIAGE_SOURCE_PREDICTED, NULL, 0));
    out->predicted = *prediction;
    out->median_ns = prediction->ns;
    out->expected_loss = prediction->expected_loss;
    *taken = true;
done:
    tri_rendering_free(&made);
    return status;
}

/* The first of the predictor's list that may run. */
static triage_status find_predicted(tri_found *out, bool *taken, const inquiry *asked,
                                    const tri_predictor *predictor, bool with_rivals) {
    triage_status status = TRIAGE_OK;
    tri_configs configs = {0};
    tri_predictions made;
    TRI_TRY(tri_space_enumerate(&configs, asked->setting.space, asked->problem, asked->setting.info));
    TRI_TRY(tri_predict(&made, predictor, asked->problem, asked->setting.info, &configs, with_rivals));
    for (size_t at = 0; at < made.count && !*taken; at++)
        TRI_TRY(try_prediction(out, taken, asked, configs.text[made.items[at].point], &made.items[at]));
    for (size_t i = 0; i < made.rival_count; i++) {
        out->rival_ns[i] = made.rivals[i].ns;
        TRI_TRY(tri_strdup(&out->rivals[i], configs.text[made.rivals[i].point]));
    }
done:
    tri_configs_free(&configs);
    return status;
}

triage_status tri_lookup_predicted(tri_found *found, const tri_predictor *predictor, tri_store *store,
                                   tri_space *space, const tri_problem *problem, const tri_device_info *info,
                                   const char *data_dir, bool with_rivals) {
    triage_status status = TRIAGE_OK;
    inquiry asked = {.store = store, .setting = {space, info, data_dir}, .problem = problem};
    tri_found other = {0};
    bool taken = false;
    if (!predictor || !tri_lookup_is_open(found))
        return TRIAGE_OK;
    TRI_TRY(tri_problem_key(&asked.key, problem));
    TRI_TRY(tri_device_key(&asked.device_key, info));
    TRI_TRY(find_predicted(&other, &taken, &asked, predictor, with_rivals));
    if (taken) {
        tri_found_free(found);
        *found = other;
        other = (tri_found){0};
    }
done:
    tri_found_free(&other);
    free(asked.key);
    free(asked.device_key);
    return status;
}

triage_status tri_lookup_on_sister(tri_found *found, tri_store *store, const char *device, tri_space *space,
                                   const tri_problem *problem, const tri_device_info *info,
                                   const char *data_dir) {
    triage_status status = TRIAGE_OK;
    bool has = false;
    tri_found other = {0};
    inquiry asked = {
        .store = store, .setting = {space, info, data_dir}, .problem = problem, .on_sister = true};
    if (found->source != TRIAGE_SOURCE_DEFAULT)
        return TRIAGE_OK;
    TRI_TRY(tri_problem_key(&asked.key, problem));
    TRI_TRY(tri_strdup(&asked.device_key, device));
    TRI_TRY(find_evidence(&other, &has, &asked));
    if (!has)
        goto done;
    TRI_TRY(tri_strdup(&other.device, device));
    if (other.source == TRIAGE_SOURCE_EXACT) {
        free(other.donor);
        other.donor = asked.key;
        asked.key = NULL;
    }
    other.source = TRIAGE_SOURCE_NEAREST;
    other.expected_loss = -1;
    tri_found_free(found);
    *found = other;
    other = (tri_found){0};
done:
    tri_found_free(&other);
    free(asked.key);
    free(asked.device_key);
    return status;
}
