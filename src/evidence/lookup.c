/* The winner for a problem: exact evidence, else that of the nearest tuned problem, else the default.
 *
 * Evidence counts only while it speaks of today's kernel: its configuration, rendered for the problem that it
 * was measured on, must give the source hash that is stored. For an exact hit that rendering is also the one
 * that runs. For a donor it is not (constants may depend on the problem), so the configuration is rendered
 * twice: once for the donor, to compare, and once for the asked problem. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "evidence/lookup.h"
#include "evidence/runner_up.h"

/* The tuned problems around the asked one that are looked at; what is farther away has little to say. */
#define NEIGHBOURS 32
#define NEIGHBOURS_LOOKED_AT 4096 /* to find those */
/* Of a ranking whose best are of changed templates, or were made up. */
#define ROWS_LOOKED_AT 1024
#define CONFIGS_RENDERED 128
/* Those of them whose own neighbours are looked at to estimate what a nearest kernel costs. */
#define LOSS_SAMPLES 8

/* ---- evidence, copied out of the store ---- */

typedef struct evidence {
    tri_donor tuned;            /* first, for tri_donor_compare; only donors have more of it than the key */
    char *config, *source_hash; /* of a donor NULL until it is asked */
    char id[TRI_HASH_SIZE];     /* not of a donor */
    double median_ns;
    bool silent; /* a donor that was asked, and has no winner */
} evidence;

typedef struct evidence_list {
    evidence *items;
    size_t count, capacity;
} evidence_list;

static void evidence_clear(evidence *item) {
    free(item->tuned.key);
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
    TRI_TRY(tri_strdup(&item.tuned.key, row->problem));
    TRI_TRY(tri_strdup(&item.config, row->config));
    TRI_TRY(tri_strdup(&item.source_hash, row->source_hash));
    list->items[list->count++] = item;
    return TRIAGE_OK;
done:
    evidence_clear(&item);
    return status;
}

/* ---- rendering ---- */

typedef struct rendering {
    tri_candidate candidate;
    tri_source source;
    char hash[TRI_HASH_SIZE];
} rendering;

static void rendering_free(rendering *made) {
    tri_candidate_free(&made->candidate);
    tri_source_free(&made->source);
    *made = (rendering){0};
}

/* What the search for a kernel needs on its way. */
typedef struct inquiry {
    tri_store *store;
    tri_space *space;
    const tri_problem *problem;
    const tri_device_info *info;
    const char *data_dir;
    char *key, *device_key;
    /* device_key is another device's: what a near kernel costs here its evidence cannot tell */
    bool on_sister;
} inquiry;

static triage_status make_rendering(rendering *out, const inquiry *asked, const tri_problem *problem,
                                    const char *config) {
    triage_status status = TRIAGE_OK;
    rendering made = {0};
    TRI_TRY(tri_space_candidate(&made.candidate, asked->space, problem, asked->info, config));
    TRI_TRY(tri_render(&made.source, &made.candidate, asked->data_dir));
    tri_source_hash(made.hash, &made.source, asked->info->target);
    *out = made;
    made = (rendering){0};
done:
    rendering_free(&made);
    return status;
}

/* A configuration that is not of this space, not legal here, or whose template is broken or gone. */
static bool is_miss(triage_status status) {
    return status == TRIAGE_E_DATA || status == TRIAGE_E_UNSUPPORTED || status == TRIAGE_E_NOT_FOUND;
}

/* As make_rendering, but a miss, or another text than the stored one, is *hit = false and no failure. */
static triage_status render_if_current(rendering *out, bool *hit, const inquiry *asked,
                                       const tri_problem *problem, const evidence *item) {
    rendering made = {0};
    *hit = false;
    triage_status status = make_rendering(&made, asked, problem, item->config);
    if (is_miss(status))
        return TRIAGE_OK;
    if (status == TRIAGE_OK && strcmp(made.hash, item->source_hash) == 0) {
        *hit = true;
        *out = made;
        return TRIAGE_OK;
    }
    rendering_free(&made);
    return status;
}

static triage_status accept(tri_found *out, rendering *made, triage_source source, const evidence *item) {
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_strdup(&out->donor, source == TRIAGE_SOURCE_NEAREST ? item->tuned.key : ""));
    out->source = source;
    out->candidate = made->candidate;
    out->rendered = made->source;
    *made = (rendering){0};
    out->distance = source == TRIAGE_SOURCE_NEAREST ? item->tuned.distance : 0;
    out->median_ns = item ? item->median_ns : 0;
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
static triage_status check_name(rendering *out, bool *hit, const inquiry *asked, known_names *names,
                                const evidence *item) {
    const char *name = known_name(names, item->config);
    *hit = name && strcmp(name, item->source_hash) == 0;
    if (name || names->count == CONFIGS_RENDERED)
        return TRIAGE_OK;
    triage_status status = make_rendering(out, asked, asked->problem, item->config);
    if (status != TRIAGE_OK && !is_miss(status))
        return status;
    names->configs[names->count] = item->config;
    memcpy(names->hashes[names->count++], out->hash, TRI_HASH_SIZE); /* "" after a miss */
    *hit = strcmp(out->hash, item->source_hash) == 0;
    return TRIAGE_OK;
}

static triage_status take_row(tri_found *out, const inquiry *asked, rendering *made, const evidence *item) {
    triage_status status = TRIAGE_OK;
    tri_tier tier;
    char name[128];
    if (!made->source.text)
        TRI_TRY(make_rendering(made, asked, asked->problem, item->config));
    TRI_TRY(tri_store_origin(&tier, name, asked->store, item->id));
    TRI_TRY(accept(out, made, TRIAGE_SOURCE_EXACT, item));
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
        rendering made = {0};
        status = check_name(&made, found, asked, names, &ranking->items[i]);
        if (status == TRIAGE_OK && *found)
            status = take_row(out, asked, &made, &ranking->items[i]);
        rendering_free(&made);
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

/* ---- nearest ---- */

typedef struct neighbourhood {
    evidence_list donors;
    const tri_problem *around;
    int64_t rows; /* donors and those that cannot serve */
} neighbourhood;

static bool can_serve(tri_donor *donor, const tri_problem *asked) {
    if (tri_problem_parse(&donor->problem, donor->key) != TRIAGE_OK)
        return false;
    donor->distance = tri_problem_distance(asked, &donor->problem);
    return isfinite(donor->distance);
}

/* A tri_donor_fn. */
static triage_status collect_donor(void *user, const tri_stored_donor *donor) {
    neighbourhood *near = user;
    evidence_list *donors = &near->donors;
    triage_status status = TRIAGE_OK;
    evidence item = {.median_ns = donor->median_ns, .silent = donor->is_known && !donor->config};
    near->rows++;
    TRI_TRY(tri_strdup(&item.tuned.key, donor->problem));
    if (!can_serve(&item.tuned, near->around))
        goto done;
    if (donor->config) {
        TRI_TRY(tri_strdup(&item.config, donor->config));
        TRI_TRY(tri_strdup(&item.source_hash, donor->source_hash));
    }
    TRI_TRY(tri_grow(&donors->items, &donors->capacity, donors->count, sizeof *donors->items, "donors"));
    donors->items[donors->count++] = item;
    return TRIAGE_OK;
done:
    evidence_clear(&item);
    return status;
}

/* A donor's winner, read when it is needed unless it is known already. */
static triage_status ask_donor(const inquiry *asked, evidence *donor) {
    triage_status status = TRIAGE_OK;
    evidence_list winner = {0};
    if (donor->config || donor->silent)
        return TRIAGE_OK;
    TRI_TRY(tri_store_winner(asked->store, donor->tuned.key, asked->device_key, collect, &winner));
    donor->silent = winner.count == 0;
    if (!donor->silent) {
        donor->config = winner.items[0].config;
        donor->source_hash = winner.items[0].source_hash;
        donor->median_ns = winner.items[0].median_ns;
        winner.items[0].config = winner.items[0].source_hash = NULL;
    }
done:
    evidence_list_free(&winner);
    return status;
}

static size_t count_within(const evidence_list *donors, double distance) {
    size_t count = 0;
    for (size_t i = 0; i < donors->count; i++)
        count += donors->items[i].tuned.distance <= distance;
    return count;
}

/* Looks farther until the nearest NEIGHBOURS must be among what was seen: a distance counts each size in octaves, and
 * what else it counts only adds. */
static triage_status look_around(neighbourhood *near, const inquiry *asked, const char *family) {
    const double widest = 32; /* sizes are below 2^31 */
    int64_t sizes[3];
    asked->problem->op->sizes(sizes, asked->problem);
    tri_vicinity v = {.m = sizes[0], .n = sizes[1], .k = sizes[2], .octaves = 0.125, .most = 2 * NEIGHBOURS};
    triage_status status = TRIAGE_OK;
    double reach = 0;
    for (bool enough = false; !enough;) {
        evidence_list_free(&near->donors);
        near->rows = 0;
        TRI_TRY(tri_store_near(&reach, asked->store, asked->device_key, family, &v, collect_donor, near));
        const bool cut = near->rows >= v.most;
        enough = isinf(reach) || (v.octaves >= widest && !cut) || near->rows >= NEIGHBOURS_LOOKED_AT ||
                 count_within(&near->donors, reach) >= NEIGHBOURS;
        if (cut)
            v.most *= 4;
        else
            v.octaves *= 2;
    }
done:
    return status;
}

/* The NEIGHBOURS nearest donors, near ones first. */
static triage_status collect_donors(evidence_list *out, const inquiry *asked) {
    triage_status status = TRIAGE_OK;
    char *family = NULL;
    neighbourhood near = {.around = asked->problem};
    TRI_TRY(tri_problem_family(&family, asked->key));
    TRI_TRY(look_around(&near, asked, family));
    if (near.donors.count > 1)
        qsort(near.donors.items, near.donors.count, sizeof *near.donors.items, tri_donor_compare);
    for (; near.donors.count > NEIGHBOURS; near.donors.count--)
        evidence_clear(&near.donors.items[near.donors.count - 1]);
    *out = near.donors;
    near.donors = (evidence_list){0};
done:
    evidence_list_free(&near.donors);
    free(family);
    return status;
}

/* The winner may not run here: the best of the donor's that may, if it is hardly slower, takes its place. */
static triage_status take_runner_up(bool *taken, const inquiry *asked, evidence *donor) {
    triage_status status = TRIAGE_OK;
    tri_measurement offer = {0};
    const tri_setting setting = {.space = asked->space, .info = asked->info, .data_dir = asked->data_dir};
    TRI_TRY(tri_runner_up_find(&offer, asked->store, asked->device_key, &setting, &donor->tuned,
                               asked->problem, donor->median_ns));
    *taken = offer.config != NULL;
    if (*taken) {
        free(donor->config);
        free(donor->source_hash);
        donor->config = offer.config;
        donor->source_hash = offer.source_hash;
        donor->median_ns = offer.median_ns;
        offer.config = offer.source_hash = NULL;
    }
done:
    tri_measurement_clear(&offer);
    return status;
}

/* The configuration of another problem's winner, made for the asked one. */
static triage_status try_donor(rendering *out, bool *hit, const inquiry *asked, evidence *donor) {
    rendering at_donor = {0};
    triage_status status = ask_donor(asked, donor);
    *hit = false;
    if (status != TRIAGE_OK || donor->silent)
        return status;
    status = render_if_current(&at_donor, hit, asked, &donor->tuned.problem, donor);
    rendering_free(&at_donor);
    if (status != TRIAGE_OK || !*hit)
        return status;
    status = make_rendering(out, asked, asked->problem, donor->config);
    if (is_miss(status)) {
        status = take_runner_up(hit, asked, donor);
        if (status == TRIAGE_OK && *hit)
            status = make_rendering(out, asked, asked->problem, donor->config);
    }
    return status;
}

/* ---- what a nearest kernel may cost: leave one out ----
 * Pretend that a stored problem was not tuned, serve it by its own nearest neighbour of those that are at hand, and
 * see in its evidence how that configuration did there. The mean over the stored problems around the asked one is
 * the estimate. */

static evidence *nearest_other(const evidence_list *donors, size_t self) {
    evidence *best = NULL;
    double least = INFINITY;
    for (size_t i = 0; i < donors->count; i++) {
        double distance =
            i == self || donors->items[i].silent
                ? INFINITY
                : tri_problem_distance(&donors->items[self].tuned.problem, &donors->items[i].tuned.problem);
        if (distance < least) {
            least = distance;
            best = &donors->items[i];
        }
    }
    return best;
}

/* The nearest donor of a donor that has a winner; NULL: none. */
static triage_status find_other(evidence **out, const inquiry *asked, const evidence_list *donors,
                                size_t self) {
    triage_status status = TRIAGE_OK;
    do {
        *out = nearest_other(donors, self);
        if (*out)
            status = ask_donor(asked, *out);
    } while (status == TRIAGE_OK && *out && (*out)->silent);
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

static triage_status expected_loss(double *out, const inquiry *asked, const evidence_list *donors) {
    triage_status status = TRIAGE_OK;
    tri_times times[LOSS_SAMPLES];
    size_t count = 0;
    int asked_of = 0;
    for (size_t i = 0; i < donors->count && asked_of < LOSS_SAMPLES; i++) {
        evidence *other = NULL;
        TRI_TRY(ask_donor(asked, &donors->items[i]));
        if (donors->items[i].silent)
            continue;
        asked_of++;
        TRI_TRY(find_other(&other, asked, donors, i));
        if (other)
            times[count++] = (tri_times){.problem = donors->items[i].tuned.key, .config = other->config};
    }
    TRI_TRY(tri_store_times(times, count, asked->store, asked->device_key));
    *out = mean_loss(times, count, asked_of);
done:
    return status;
}

/* Is all that is known of a donor what strangers say of it? Its best row is of the best tier there is. */
static triage_status is_claim(bool *yes, const inquiry *asked, const evidence *donor) {
    triage_status status = TRIAGE_OK;
    evidence_list best = {0};
    tri_tier tier = TRI_TIER_OWN;
    char name[128];
    TRI_TRY(tri_store_winner(asked->store, donor->tuned.key, asked->device_key, collect, &best));
    if (best.count > 0)
        TRI_TRY(tri_store_origin(&tier, name, asked->store, best.items[0].id));
    *yes = tier == TRI_TIER_UNKNOWN;
done:
    evidence_list_free(&best);
    return status;
}

/* The nearest donor that can serve, of those that somebody trusted has measured, or of the others. */
static triage_status take_donor(tri_found *out, bool *found, const inquiry *asked, evidence_list *donors,
                                bool claims) {
    triage_status status = TRIAGE_OK;
    for (size_t i = 0; i < donors->count && !*found; i++) {
        rendering made = {0};
        bool claim = false;
        TRI_TRY(is_claim(&claim, asked, &donors->items[i]));
        if (claim != claims)
            continue;
        status = try_donor(&made, found, asked, &donors->items[i]);
        if (status == TRIAGE_OK && *found)
            status = accept(out, &made, TRIAGE_SOURCE_NEAREST, &donors->items[i]);
        out->is_claim = claim && *found;
        rendering_free(&made);
        TRI_TRY(status);
    }
done:
    return status;
}

static triage_status find_nearest(tri_found *out, bool *found, const inquiry *asked) {
    triage_status status = TRIAGE_OK;
    evidence_list donors = {0};
    TRI_TRY(collect_donors(&donors, asked));
    TRI_TRY(take_donor(out, found, asked, &donors, false));
    if (!*found)
        TRI_TRY(take_donor(out, found, asked, &donors, true));
    if (*found && !asked->on_sister)
        TRI_TRY(expected_loss(&out->expected_loss, asked, &donors));
done:
    evidence_list_free(&donors);
    return status;
}

/* ---- default ---- */

static triage_status find_default(tri_found *out, const inquiry *asked) {
    triage_status status = TRIAGE_OK;
    char *config = NULL;
    rendering made = {0};
    TRI_TRY(tri_space_default(&config, asked->space, asked->problem, asked->info));
    TRI_TRY(make_rendering(&made, asked, asked->problem, config));
    TRI_TRY(accept(out, &made, TRIAGE_SOURCE_DEFAULT, NULL));
done:
    rendering_free(&made);
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

triage_status tri_lookup(tri_found *out, tri_store *store, tri_space *space, const tri_problem *problem,
                         const tri_device_info *info, const char *data_dir) {
    triage_status status = TRIAGE_OK;
    bool found = false;
    inquiry asked = {.store = store, .space = space, .problem = problem, .info = info, .data_dir = data_dir};
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
static triage_status has_failed(bool *yes, const inquiry *asked, const rendering *made) {
    tri_measurement row = {0};
    *yes = false;
    if (!asked->store)
        return TRIAGE_OK;
    triage_status status =
        tri_store_known(&row, asked->store, asked->key, asked->device_key, made->hash, NULL);
    if (status == TRIAGE_OK)
        *yes = row.outcome != TRI_RIGHT && row.outcome != TRI_SLOW;
    tri_measurement_clear(&row);
    return status == TRIAGE_E_NOT_FOUND ? TRIAGE_OK : status;
}

static triage_status try_prediction(tri_found *out, bool *taken, const inquiry *asked, const char *config,
                                    const tri_prediction *prediction) {
    rendering made = {0};
    bool failed = false;
    triage_status status = make_rendering(&made, asked, asked->problem, config);
    if (is_miss(status))
        return TRIAGE_OK;
    TRI_TRY(status);
    TRI_TRY(has_failed(&failed, asked, &made));
    if (failed)
        goto done;
    TRI_TRY(accept(out, &made, TRIAGE_SOURCE_PREDICTED, NULL));
    out->predicted = *prediction;
    out->median_ns = prediction->ns;
    out->expected_loss = prediction->expected_loss;
    *taken = true;
done:
    rendering_free(&made);
    return status;
}

/* The first of the predictor's list that may run. */
static triage_status find_predicted(tri_found *out, bool *taken, const inquiry *asked,
                                    const tri_predictor *predictor) {
    triage_status status = TRIAGE_OK;
    tri_configs configs = {0};
    tri_predictions made;
    TRI_TRY(tri_space_enumerate(&configs, asked->space, asked->problem, asked->info));
    TRI_TRY(tri_predict(&made, predictor, asked->problem, asked->info, &configs));
    for (size_t i = 0; i < made.count && !*taken; i++)
        TRI_TRY(try_prediction(out, taken, asked, configs.text[made.items[i].point], &made.items[i]));
done:
    tri_configs_free(&configs);
    return status;
}

triage_status tri_lookup_predicted(tri_found *found, const tri_predictor *predictor, tri_store *store,
                                   tri_space *space, const tri_problem *problem, const tri_device_info *info,
                                   const char *data_dir) {
    triage_status status = TRIAGE_OK;
    inquiry asked = {.store = store, .space = space, .problem = problem, .info = info, .data_dir = data_dir};
    tri_found other = {0};
    bool taken = false;
    if (!predictor || !tri_lookup_is_open(found))
        return TRIAGE_OK;
    TRI_TRY(tri_problem_key(&asked.key, problem));
    TRI_TRY(tri_device_key(&asked.device_key, info));
    TRI_TRY(find_predicted(&other, &taken, &asked, predictor));
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
    inquiry asked = {.store = store,
                     .space = space,
                     .problem = problem,
                     .info = info,
                     .data_dir = data_dir,
                     .on_sister = true};
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
