/* The problems that are tuned on a device, as donors of kernels for another problem. */
#ifndef TRIAGE_RUN_TUNED_H
#define TRIAGE_RUN_TUNED_H

#include "op/op.h"
#include "store/store.h"

typedef struct tri_tuned {
    char *key;
    tri_problem problem; /* of packed leading dimensions: a key has no others */
    double distance; /* to what was last measured from; infinite: a kernel of one does not serve the other */
} tri_tuned;

/* Zero-initialise. */
typedef struct tri_tuned_list {
    tri_tuned *items;
    size_t count, capacity;
} tri_tuned_list;
void tri_tuned_list_free(tri_tuned_list *list); /* leaves it empty */

/* family: as tri_store_tuned takes it. except: a key that is left out; NULL: none. A key that cannot be read serves
 * nobody and is left out too. */
triage_status tri_tuned_collect(tri_tuned_list *out, tri_store *store, const char *device, const char *family,
                                const char *except);

/* Sets the distances. A lookup asks only problems of the same family: others are infinitely far. */
triage_status tri_tuned_measure(tri_tuned_list *list, const tri_problem *from);
/* Does that and sorts, near ones first. *count: how many of them can serve. */
triage_status tri_tuned_sort(size_t *count, tri_tuned_list *list, const tri_problem *from);

/* The tuned problems of the same family, near ones first, the problem itself only if asked for. *count: how many can
 * serve it. */
triage_status tri_tuned_around(tri_tuned_list *out, size_t *count, tri_store *store, const char *device,
                               const tri_problem *problem, bool with_itself);

/* For qsort, of whatever starts with a tri_tuned: near ones first, in the same order on every machine. */
int tri_tuned_compare(const void *left, const void *right);

#endif
