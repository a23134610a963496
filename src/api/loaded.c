/* Kernels chosen for a problem, compiled and loaded, once for a context.
 *
 * The context's lock is held while one is looked up, and not while it is compiled and loaded, which takes seconds: an entry
 * of a list that is being made is in it from the start, and who wants the same waits for context->made. A thread waits only
 * for one that compiles, and that one waits for nobody. */
#include <stdlib.h>
#include <string.h>

#include "api/first_call.h"
#include "api/packed.h"
#include "api/record.h"
#include "evidence/pretuned.h"

struct tri_shared_image {
    tri_shared_image *next;
    bool is_being_made;
    char source_hash[TRI_HASH_SIZE];
    tri_image image;
};

/* ---- compiled kernels, one a source text ---- */

/* Once: why kernels are compiled anew by every process. */
static void say_of_cache(triage_context *context, const tri_image *image) {
    if (!context->cache_dir || image->from_cache || image->from_pack ||
        atomic_flag_test_and_set(&context->looked_at_cache))
        return;
    if (tri_cache_check(context->cache_dir) != TRIAGE_OK)
        tri_log_line(&context->log, TRIAGE_LOG_WARNING, "%s: kernels are compiled without it",
                     triage_last_error());
}

static tri_shared_image *find_compiled(const triage_context *context, const char *hash) {
    tri_shared_image *entry = context->compiled;
    while (entry && strcmp(entry->source_hash, hash) != 0)
        entry = entry->next;
    return entry;
}

/* Without the lock, which is held before and after. */
static triage_status compile_unlocked(tri_shared_image *entry, triage_context *context,
                                      const tri_source *source) {
    pthread_mutex_unlock(&context->lock);
    triage_status status = tri_context_compile(&entry->image, context, source, entry->source_hash);
    pthread_mutex_lock(&context->lock);
    entry->is_being_made = false;
    pthread_cond_broadcast(&context->made);
    if (status == TRIAGE_OK)
        say_of_cache(context, &entry->image);
    return status;
}

static void drop_compiled(triage_context *context, tri_shared_image *entry) {
    tri_shared_image **at = &context->compiled;
    while (*at != entry)
        at = &(*at)->next;
    *at = entry->next;
    free(entry);
}

triage_status tri_loaded_compile(const tri_image **out, triage_context *context, const tri_source *source) {
    triage_status status = TRIAGE_OK;
    char hash[TRI_HASH_SIZE];
    tri_source_hash(hash, source, tri_device_describe(context->device)->target);
    tri_shared_image *entry = find_compiled(context, hash);
    while (entry && entry->is_being_made) {
        pthread_cond_wait(&context->made, &context->lock);
        entry = find_compiled(context, hash);
    }
    if (!entry) {
        TRI_TRY(tri_calloc(&entry, 1, sizeof *entry));
        memcpy(entry->source_hash, hash, sizeof hash);
        entry->is_being_made = true;
        entry->next = context->compiled;
        context->compiled = entry;
        status = compile_unlocked(entry, context, source);
        if (status != TRIAGE_OK) {
            drop_compiled(context, entry);
            return status;
        }
    }
    *out = &entry->image;
done:
    return status;
}

/* ---- loaded kernels, one a problem ---- */

static void free_loaded(tri_loaded *loaded) {
    if (!loaded)
        return;
    tri_kernel_unload(loaded->kernel);
    tri_found_free(&loaded->found);
    free(loaded->problem_key);
    free(loaded);
}

/* Without the lock, which is held before and after. */
static triage_status load_unlocked(tri_loaded *loaded, triage_context *context) {
    pthread_mutex_unlock(&context->lock);
    triage_status status =
        tri_kernel_load(&loaded->kernel, context->device, loaded->image, &loaded->found.candidate.launch);
    pthread_mutex_lock(&context->lock);
    return status;
}

static triage_status compile_within_limits(tri_loaded *loaded, triage_context *context) {
    const tri_candidate *candidate = &loaded->found.candidate;
    triage_status status = tri_loaded_compile(&loaded->image, context, &loaded->found.rendered);
    if (status == TRIAGE_OK && loaded->image->spill_bytes > candidate->spill_limit)
        return tri_fail(TRIAGE_E_COMPILE, "%s spills %d bytes; must be at most %d", candidate->config,
                        loaded->image->spill_bytes, candidate->spill_limit);
    return status;
}

/* The pack's image of a text, which this driver does not take, makes way for the compiler's. Others may still look at it: it
 * stays until the context goes, and is found no more. */
static triage_status compile_again(tri_loaded *loaded, triage_context *context) {
    char hash[TRI_HASH_SIZE];
    triage_status status = TRIAGE_OK;
    tri_packed_distrust(context);
    tri_source_hash(hash, &loaded->found.rendered, tri_device_describe(context->device)->target);
    tri_shared_image *entry = find_compiled(context, hash);
    if (entry && !entry->is_being_made && entry->image.from_pack)
        entry->source_hash[0] = '\0';
    TRI_TRY(compile_within_limits(loaded, context));
    TRI_TRY(load_unlocked(loaded, context));
done:
    return status;
}

static triage_status compile_and_load(tri_loaded *loaded, triage_context *context) {
    triage_status status = TRIAGE_OK;
    TRI_TRY(compile_within_limits(loaded, context));
    status = load_unlocked(loaded, context);
    if (status != TRIAGE_OK && status != TRIAGE_E_MEMORY && loaded->image->from_pack)
        status = compile_again(loaded, context);
done:
    return status;
}

/* What was measured on other devices of this architecture, found when it is first asked for. */
static triage_status look_elsewhere(tri_found *found, triage_context *context, tri_space *space,
                                    const tri_problem *problem, const tri_device_info *info) {
    triage_status status = TRIAGE_OK;
    if (!context->sisters)
        TRI_TRY(tri_sisters_open(&context->sisters, context->store, info, context->data_dir, &context->log));
    TRI_TRY(tri_sisters_look_up(found, context->sisters, space, problem, info, context->data_dir));
done:
    return status;
}

/* What to learn from is gathered under the lock; learning, a tenth of a second unless an earlier process left it in the cache,
 * is done without it. A store that came meanwhile is asked for the next problem. */
static triage_status learn(triage_context *context, const tri_operation *op, const tri_device_info *info) {
    const size_t at = tri_operation_index(op);
    const tri_store *store = context->store;
    const tri_teaching teaching = {.op = op,
                                   .info = info,
                                   .own = context->store,
                                   .shipped = context->pretuned,
                                   .data_dir = context->data_dir,
                                   .cache_dir = context->cache_dir,
                                   .log = &context->log};
    tri_predictor *made = NULL;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_predictor_gather(&made, &teaching));
    context->is_learning[at] = true;
    pthread_mutex_unlock(&context->lock);
    status = tri_predictor_learn(made, &teaching);
    pthread_mutex_lock(&context->lock);
    context->is_learning[at] = false;
    pthread_cond_broadcast(&context->made);
    TRI_TRY(status);
    tri_predictor_free(context->predictors[at]);
    context->predictors[at] = made;
    context->asked_predictor[at] = store == context->store;
    made = NULL;
done:
    tri_predictor_free(made);
    return status;
}

/* The predictor is made when an answer is first wanted of it, once a context. */
static triage_status look_ahead(tri_found *found, triage_context *context, tri_space *space,
                                const tri_problem *problem, const tri_device_info *info) {
    const size_t at = tri_operation_index(problem->op);
    triage_status status = TRIAGE_OK;
    if (!tri_lookup_is_open(found))
        return TRIAGE_OK;
    while (context->is_learning[at])
        pthread_cond_wait(&context->made, &context->lock);
    if (!context->asked_predictor[at])
        TRI_TRY(learn(context, problem->op, info));
    TRI_TRY(tri_lookup_predicted(found, context->predictors[at], context->store, space, problem, info,
                                 context->data_dir, context->first_call_ms > 0));
done:
    return status;
}

/* What is wrong with a database costs its evidence, never the product. */
static triage_status look_into_own(tri_found *out, triage_context *context, tri_space *space,
                                   const tri_problem *problem, const tri_device_info *info) {
    const tri_log *log = &context->log;
    triage_status status = tri_lookup(out, context->store, space, problem, info, context->data_dir);
    if (status == TRIAGE_OK || status == TRIAGE_E_MEMORY || !context->store)
        return status;
    tri_log_line(log, TRIAGE_LOG_WARNING, "%s: doing without it", triage_last_error());
    return tri_lookup(out, NULL, space, problem, info, context->data_dir);
}

/* Looks for an exact answer among the shipped rows of this problem alone, which are a small part of all shipped rows. One that is
 * found takes the place of *out. */
static triage_status look_at_shipped(tri_found *out, bool *exact, triage_context *context, tri_space *space,
                                     const tri_problem *problem, const tri_device_info *info) {
    triage_status status = TRIAGE_OK;
    tri_store *store = NULL;
    tri_found other = {0};
    char *key = NULL;
    *exact = false;
    if (context->asked_pretuned) /* the store of all shipped rows is open, and is asked next */
        return TRIAGE_OK;
    context->asked_shipped = true;
    TRI_TRY(tri_problem_key(&key, problem));
    TRI_TRY(tri_pretuned_open_problem(&store, info, key, context->data_dir));
    if (store)
        TRI_TRY(tri_lookup_exact(&other, exact, store, space, problem, info, context->data_dir));
    if (*exact) {
        tri_found_free(out);
        *out = other;
    }
done:
    tri_store_close(store);
    free(key);
    return status;
}

static triage_status look_below(tri_found *out, triage_context *context, tri_space *space,
                                const tri_problem *problem, const tri_device_info *info) {
    tri_store *pretuned = NULL;
    bool exact = false;
    triage_status status = TRIAGE_OK;
    TRI_TRY(look_at_shipped(out, &exact, context, space, problem, info));
    if (exact)
        goto done;
    TRI_TRY(tri_context_pretuned(&pretuned, context));
    if (pretuned)
        TRI_TRY(tri_lookup_below(out, pretuned, space, problem, info, context->data_dir));
    if (out->source == TRIAGE_SOURCE_DEFAULT)
        TRI_TRY(look_elsewhere(out, context, space, problem, info));
    TRI_TRY(look_ahead(out, context, space, problem, info));
done:
    return status;
}

/* All shipped rows are made into a store (a tenth of a second) only when neither the user's own evidence nor the shipped rows of
 * this problem have an exact answer. */
static triage_status look_up(tri_found *out, triage_context *context, tri_space *space,
                             const tri_problem *problem, const tri_device_info *info) {
    triage_status status = TRIAGE_OK;
    bool packed = false;
    TRI_TRY(tri_packed_look_up(out, &packed, context, space, problem));
    if (packed)
        goto done;
    tri_context_find_store(context);
    TRI_TRY(look_into_own(out, context, space, problem, info));
    if (out->source == TRIAGE_SOURCE_EXACT && !out->is_claim)
        goto done;
    status = look_below(out, context, space, problem, info);
    if (status != TRIAGE_OK && status != TRIAGE_E_MEMORY) {
        tri_log_line(&context->log, TRIAGE_LOG_WARNING, "%s: doing without it", triage_last_error());
        status = TRIAGE_OK; /* what was found above stands */
    }
done:
    return status;
}

/* A kernel that was proven elsewhere may still fail here (another compiler, a problem that is only near): then
 * the space's default takes its place. */
static triage_status find_and_load(tri_loaded *loaded, triage_context *context, const tri_problem *problem,
                                   const tri_first_call *first) {
    const tri_device_info *info = tri_device_describe(context->device);
    tri_space *space = NULL;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_context_space(&space, context, problem->op));
    TRI_TRY(look_up(&loaded->found, context, space, problem, info));
    if (first && first->operands && first->call)
        TRI_TRY(tri_first_call_race(&loaded->found, context, space, problem, first));
    if (loaded->found.source != TRIAGE_SOURCE_EXACT)
        tri_record(context, problem, first ? first->pattern : NULL);
    status = compile_and_load(loaded, context);
    if (status != TRIAGE_OK && loaded->found.source != TRIAGE_SOURCE_DEFAULT) {
        tri_log_line(&context->log, TRIAGE_LOG_WARNING, "%s does not load here, using the default: %s",
                     loaded->found.candidate.config, triage_last_error());
        tri_found_free(&loaded->found);
        TRI_TRY(tri_lookup(&loaded->found, NULL, space, problem, info, context->data_dir));
        status = compile_and_load(loaded, context);
    }
    tri_source_free(&loaded->found.rendered);
done:
    return status;
}

/* With the geometry of the problem's own sizes, where another problem chose the configuration. */
static triage_status fit(tri_loaded *loaded, triage_context *context, const tri_problem *problem) {
    tri_space *space = NULL;
    tri_candidate candidate = {0};
    triage_status status;
    TRI_TRY(tri_context_space(&space, context, problem->op));
    TRI_TRY(tri_space_candidate(&candidate, space, problem, tri_device_describe(context->device),
                                loaded->found.candidate.config));
    tri_kernel_unload(loaded->kernel);
    loaded->kernel = NULL;
    tri_source_free(&loaded->found.rendered);
    TRI_TRY(tri_render(&loaded->found.rendered, &candidate, context->data_dir));
    tri_candidate_free(&loaded->found.candidate);
    loaded->found.candidate = candidate;
    candidate = (tri_candidate){0};
    status = compile_and_load(loaded, context);
done:
    tri_candidate_free(&candidate);
    tri_source_free(&loaded->found.rendered);
    return status;
}

static tri_loaded *find_loaded(const triage_context *context, const char *key, uint64_t variant) {
    tri_loaded *entry = context->loaded;
    while (entry && (entry->variant != variant || strcmp(entry->problem_key, key) != 0))
        entry = entry->next;
    return entry;
}

static void drop_loaded(triage_context *context, tri_loaded *loaded) {
    tri_loaded **at = &context->loaded;
    while (*at != loaded)
        at = &(*at)->next;
    *at = loaded->next;
    free_loaded(loaded);
}

/* Takes the key. */
static triage_status make(tri_loaded **out, triage_context *context, char *key, const tri_problem *problem,
                          const tri_problem *chosen_by, uint64_t variant, const tri_first_call *first) {
    tri_loaded *made = NULL;
    triage_status status = tri_calloc(&made, 1, sizeof *made);
    if (status != TRIAGE_OK) {
        free(key);
        return status;
    }
    *made =
        (tri_loaded){.next = context->loaded, .is_being_made = true, .problem_key = key, .variant = variant};
    context->loaded = made;
    status = find_and_load(made, context, chosen_by, chosen_by == problem ? first : NULL);
    if (status == TRIAGE_OK && chosen_by != problem)
        status = fit(made, context, problem);
    made->is_being_made = false;
    pthread_cond_broadcast(&context->made);
    if (status == TRIAGE_OK)
        *out = made;
    else
        drop_loaded(context, made); /* the next to come tries again */
    return status;
}

triage_status tri_loaded_for(const tri_loaded **out, triage_context *context, const tri_problem *problem,
                             const tri_problem *chosen_by, uint64_t variant, const tri_first_call *first) {
    char *key = NULL;
    triage_status status = tri_problem_key(&key, problem);
    if (status != TRIAGE_OK)
        return status;
    tri_context_lock(context);
    tri_loaded *entry = find_loaded(context, key, variant);
    while (entry && entry->is_being_made) {
        pthread_cond_wait(&context->made, &context->lock);
        entry = find_loaded(context, key, variant);
    }
    if (entry)
        free(key);
    else
        status = make(&entry, context, key, problem, chosen_by, variant, first);
    tri_context_unlock(context);
    *out = entry;
    return status;
}

/* The device stays whole: what is too long is the end of the problem's key. */
static void describe_donor(char *out, size_t size, const tri_found *found) {
    const char *key = found->donor ? found->donor : "", *on = found->device ? " on " : "",
               *device = found->device ? found->device : "";
    const size_t rest = strlen(on) + strlen(device) + strlen("...") + 1;
    if (strlen(key) + rest > size + strlen("...") && rest < size)
        snprintf(out, size, "%.*s...%s%s", (int)(size - rest), key, on, device);
    else
        snprintf(out, size, "%s%s%s", key, on, device);
}

triage_status tri_choice_check(const triage_choice *out) {
    if (!out)
        return tri_fail(TRIAGE_E_INVALID, "out is NULL");
    if (out->version < 1 || out->version > TRIAGE_CHOICE_VERSION)
        return tri_fail(TRIAGE_E_INVALID, "out->version is %u; must be 1 to %u (TRIAGE_CHOICE_VERSION)",
                        out->version, TRIAGE_CHOICE_VERSION);
    return TRIAGE_OK;
}

void tri_loaded_describe(triage_choice *out, const tri_loaded *loaded) {
    const tri_found *found = &loaded->found;
    out->source = found->source;
    snprintf(out->kernel, sizeof out->kernel, "%s", found->candidate.kernel);
    snprintf(out->config, sizeof out->config, "%s", found->candidate.config);
    describe_donor(out->donor, sizeof out->donor, found);
    out->distance = found->distance;
    out->median_ns = found->median_ns;
    out->expected_loss = found->expected_loss;
    if (out->version >= 2) { /* a version 1 ends before these fields */
        out->dense_median_ns = 0;
        out->dense_is_faster = 0;
        out->reserved = 0;
    }
}

void tri_context_free_kernels(triage_context *context) {
    while (context->loaded) {
        tri_loaded *loaded = context->loaded;
        context->loaded = loaded->next;
        free_loaded(loaded);
    }
    while (context->compiled) {
        tri_shared_image *compiled = context->compiled;
        context->compiled = compiled->next;
        tri_image_free(&compiled->image);
        free(compiled);
    }
}
