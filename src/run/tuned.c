#include "run/tuned.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void tri_tuned_list_free(tri_tuned_list *list) {
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i].key);
    free(list->items);
    *list = (tri_tuned_list){0};
}

typedef struct collection {
    tri_tuned_list *list;
    const char *except;
} collection;

/* A tri_key_fn. */
static triage_status collect(void *user, const char *problem, const char *device) {
    const collection *to = user;
    tri_tuned_list *list = to->list;
    tri_tuned item = {.distance = INFINITY};
    triage_status status = TRIAGE_OK;
    (void)device;
    if ((to->except && strcmp(problem, to->except) == 0) ||
        tri_problem_parse(&item.problem, problem) != TRIAGE_OK)
        return TRIAGE_OK;
    TRI_TRY(tri_grow(&list->items, &list->capacity, list->count, sizeof *list->items, "tuned problems"));
    TRI_TRY(tri_strdup(&item.key, problem));
    list->items[list->count++] = item;
done:
    return status;
}

triage_status tri_tuned_collect(tri_tuned_list *out, tri_store *store, const char *device, const char *family,
                                const char *except) {
    tri_tuned_list made = {0};
    triage_status status = tri_store_tuned(store, device, family, collect, &(collection){&made, except});
    if (status == TRIAGE_OK)
        *out = made;
    else
        tri_tuned_list_free(&made);
    return status;
}

void tri_tuned_measure(tri_tuned_list *list, const tri_problem *from) {
    for (size_t i = 0; i < list->count; i++) {
        const tri_problem *to = &list->items[i].problem;
        const bool same_epilogue = from->activation == to->activation && from->bias == to->bias;
        list->items[i].distance = same_epilogue ? tri_problem_distance(from, to) : INFINITY;
    }
}

int tri_tuned_compare(const void *left, const void *right) {
    const tri_tuned *a = left, *b = right;
    if (a->distance != b->distance)
        return a->distance < b->distance ? -1 : 1;
    return strcmp(a->key, b->key);
}

size_t tri_tuned_sort(tri_tuned_list *list, const tri_problem *from) {
    size_t count = list->count;
    tri_tuned_measure(list, from);
    if (count > 1)
        qsort(list->items, count, sizeof *list->items, tri_tuned_compare);
    while (count && !isfinite(list->items[count - 1].distance))
        count--;
    return count;
}

triage_status tri_tuned_around(tri_tuned_list *out, size_t *count, tri_store *store, const char *device,
                               const tri_problem *problem, bool with_itself) {
    triage_status status = TRIAGE_OK;
    char *key = NULL, *family = NULL;
    TRI_TRY(tri_problem_key(&key, problem));
    const char *end = strstr(key, " m=");
    TRI_TRY(tri_format(&family, "%.*s", (int)(end ? end + 1 - key : 0), key));
    TRI_TRY(tri_tuned_collect(out, store, device, family, with_itself ? NULL : key));
    *count = tri_tuned_sort(out, problem);
done:
    free(family);
    free(key);
    return status;
}
