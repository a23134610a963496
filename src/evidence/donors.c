#include "evidence/donors.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void tri_donor_list_free(tri_donor_list *list) {
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i].key);
    free(list->items);
    *list = (tri_donor_list){0};
}

typedef struct collection {
    tri_donor_list *list;
    const char *except;
} collection;

/* A tri_key_fn. */
static triage_status collect(void *user, const char *problem, const char *device) {
    const collection *to = user;
    tri_donor_list *list = to->list;
    tri_donor item = {.distance = INFINITY};
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

triage_status tri_donors_collect(tri_donor_list *out, tri_store *store, const char *device,
                                 const char *family, const char *except) {
    tri_donor_list made = {0};
    triage_status status = tri_store_tuned(store, device, family, collect, &(collection){&made, except});
    if (status == TRIAGE_OK)
        *out = made;
    else
        tri_donor_list_free(&made);
    return status;
}

static triage_status family_of(char **out, const tri_problem *problem) {
    char *key = NULL;
    triage_status status = tri_problem_key(&key, problem);
    if (status == TRIAGE_OK)
        status = tri_problem_family(out, key);
    free(key);
    return status;
}

triage_status tri_donors_measure(tri_donor_list *list, const tri_problem *from) {
    char *family = NULL;
    triage_status status = family_of(&family, from);
    if (status != TRIAGE_OK)
        return status;
    const size_t size = strlen(family);
    for (size_t i = 0; i < list->count; i++) {
        tri_donor *to = &list->items[i];
        const bool same = strncmp(to->key, family, size) == 0 && strncmp(to->key + size, " m=", 3) == 0;
        to->distance = same ? tri_problem_distance(from, &to->problem) : INFINITY;
    }
    free(family);
    return TRIAGE_OK;
}

int tri_donor_compare(const void *left, const void *right) {
    const tri_donor *a = left, *b = right;
    if (a->distance != b->distance)
        return a->distance < b->distance ? -1 : 1;
    return strcmp(a->key, b->key);
}

triage_status tri_donors_sort(size_t *count, tri_donor_list *list, const tri_problem *from) {
    triage_status status = tri_donors_measure(list, from);
    *count = status == TRIAGE_OK ? list->count : 0;
    if (*count > 1)
        qsort(list->items, *count, sizeof *list->items, tri_donor_compare);
    while (*count && !isfinite(list->items[*count - 1].distance))
        --*count;
    return status;
}

triage_status tri_donors_around(tri_donor_list *out, size_t *count, tri_store *store, const char *device,
                                const tri_problem *problem, bool with_itself) {
    triage_status status = TRIAGE_OK;
    char *key = NULL, *family = NULL, *words = NULL;
    TRI_TRY(tri_problem_key(&key, problem));
    TRI_TRY(tri_problem_family(&family, key));
    TRI_TRY(tri_format(&words, "%s ", family)); /* whole words only */
    TRI_TRY(tri_donors_collect(out, store, device, words, with_itself ? NULL : key));
    TRI_TRY(tri_donors_sort(count, out, problem));
done:
    free(words);
    free(family);
    free(key);
    return status;
}
