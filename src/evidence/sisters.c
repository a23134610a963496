#include "evidence/sisters.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "evidence/pretuned.h"

typedef struct sister {
    char *key, *name;
    tri_device_info info;
    double distance;  /* of the two devices: octaves of what they have, summed */
    tri_store *store; /* borrowed, or of shipped evidence */
    bool is_shipped;  /* then opened when it is first asked */
    bool was_opened;
} sister;

struct tri_sisters {
    sister *items;
    size_t count, capacity;
    tri_log log;
};

static void free_sister(sister *s) {
    if (s->is_shipped)
        tri_store_close(s->store);
    free(s->key);
    free(s->name);
}

void tri_sisters_close(tri_sisters *sisters) {
    if (!sisters)
        return;
    for (size_t i = 0; i < sisters->count; i++)
        free_sister(&sisters->items[i]);
    free(sisters->items);
    free(sisters);
}

/* ---- which devices ---- */

static double octaves(double a, double b) {
    return a > 0 && b > 0 ? fabs(log2(a / b)) : 0;
}

static double distance_of(const tri_device_info *a, const tri_device_info *b) {
    return octaves(a->sm_count, b->sm_count) + octaves(a->clock_khz, b->clock_khz) +
           octaves((double)a->memory_clock_khz * a->memory_bus_bits,
                   (double)b->memory_clock_khz * b->memory_bus_bits) +
           octaves((double)a->l2_bytes, (double)b->l2_bytes);
}

typedef struct gathering {
    tri_sisters *into;
    const tri_device_info *here;
    const char *here_key;
    tri_store *own; /* NULL: shipped */
} gathering;

static bool is_known(const gathering *g, const char *key) {
    for (size_t i = 0; i < g->into->count; i++)
        if (g->into->items[i].is_shipped == !g->own && strcmp(g->into->items[i].key, key) == 0)
            return true;
    return false;
}

/* A tri_device_fn. A key that cannot be read is of no use here. */
static triage_status gather(void *user, const char *key, const char *name) {
    const gathering *g = user;
    tri_sisters *into = g->into;
    triage_status status = TRIAGE_OK;
    sister item = {.store = g->own, .is_shipped = !g->own};
    if (strcmp(key, g->here_key) == 0 || is_known(g, key) || tri_device_parse(&item.info, key) != TRIAGE_OK ||
        strcmp(item.info.target, g->here->target) != 0)
        return TRIAGE_OK;
    item.distance = distance_of(g->here, &item.info);
    TRI_TRY(tri_grow(&into->items, &into->capacity, into->count, sizeof *into->items, "devices"));
    TRI_TRY(tri_strdup(&item.key, key));
    TRI_TRY(tri_strdup(&item.name, name ? name : ""));
    into->items[into->count++] = item;
    return TRIAGE_OK;
done:
    free(item.key);
    return status;
}

/* The most similar first; of one device one's own evidence before what is shipped. */
static int compare(const void *left, const void *right) {
    const sister *a = left, *b = right;
    if (a->distance != b->distance)
        return a->distance < b->distance ? -1 : 1;
    const int by_key = strcmp(a->key, b->key);
    return by_key != 0 ? by_key : (int)a->is_shipped - (int)b->is_shipped;
}

triage_status tri_sisters_open(tri_sisters **out, tri_store *own, const tri_device_info *info,
                               const char *data_dir, const tri_log *log) {
    triage_status status = TRIAGE_OK;
    tri_sisters *made = NULL;
    char *here = NULL;
    TRI_TRY(tri_calloc(&made, 1, sizeof *made));
    made->log = log ? *log : (tri_log){0};
    TRI_TRY(tri_device_key(&here, info));
    gathering g = {.into = made, .here = info, .here_key = here, .own = own};
    if (info->cc > 0) {
        if (own)
            TRI_TRY(tri_store_devices(own, gather, &g));
        g.own = NULL;
        TRI_TRY(tri_pretuned_devices(data_dir, gather, &g));
    }
    if (made->count > 1)
        qsort(made->items, made->count, sizeof *made->items, compare);
    *out = made;
    made = NULL;
done:
    free(here);
    tri_sisters_close(made);
    return status;
}

/* ---- asking ---- */

static triage_status store_of(sister *s, const tri_sisters *sisters, const char *data_dir) {
    triage_status status = TRIAGE_OK;
    if (s->is_shipped && !s->was_opened)
        TRI_TRY(tri_pretuned_open(&s->store, &s->info, data_dir, &sisters->log));
    s->was_opened = true;
done:
    return status;
}

triage_status tri_sisters_look_up(tri_found *found, tri_sisters *sisters, tri_space *space,
                                  const tri_problem *problem, const tri_device_info *info,
                                  const char *data_dir) {
    triage_status status = TRIAGE_OK;
    for (size_t i = 0; i < sisters->count && found->source == TRIAGE_SOURCE_DEFAULT; i++) {
        sister *s = &sisters->items[i];
        TRI_TRY(store_of(s, sisters, data_dir));
        if (!s->store)
            continue;
        TRI_TRY(tri_lookup_on_sister(found, s->store, s->key, space, problem, info, data_dir));
        if (found->source != TRIAGE_SOURCE_DEFAULT)
            TRI_TRY(tri_strdup(&found->device_name, s->name));
    }
done:
    return status;
}

triage_status tri_sisters_warm_start(tri_warm_start *out, tri_sisters *sisters, const tri_problem *problem,
                                     const tri_configs *configs, size_t most, const char *data_dir) {
    triage_status status = TRIAGE_OK;
    for (size_t i = 0; i < sisters->count && out->count == 0; i++) {
        sister *s = &sisters->items[i];
        TRI_TRY(store_of(s, sisters, data_dir));
        if (!s->store)
            continue;
        tri_warm_start_free(out);
        TRI_TRY(tri_warm_start_find(out, s->store, s->key, problem, configs, most, true));
        out->layer = "elsewhere";
        TRI_TRY(tri_strdup(&out->device_name, s->name));
    }
done:
    return status;
}
