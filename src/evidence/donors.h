/* The problems that are tuned on a device, as donors of kernels for another problem. */
#ifndef TRIAGE_EVIDENCE_DONORS_H
#define TRIAGE_EVIDENCE_DONORS_H

#include "op/op.h"
#include "store/store.h"

typedef struct tri_donor {
    char *key;
    tri_problem problem; /* of packed leading dimensions: a key has no others */
    double distance; /* to what was last measured from; infinite: a kernel of one does not serve the other */
} tri_donor;

/* Zero-initialise. */
typedef struct tri_donor_list {
    tri_donor *items;
    size_t count, capacity;
} tri_donor_list;
void tri_donor_list_free(tri_donor_list *list); /* leaves it empty */

/* family: as tri_store_tuned takes it. except: a key that is left out; NULL: none. A key that cannot be read serves
 * nobody and is left out too. */
triage_status tri_donors_collect(tri_donor_list *out, tri_store *store, const char *device,
                                 const char *family, const char *except);

/* Sets the distances. A lookup asks only problems of the same family: others are infinitely far. */
triage_status tri_donors_measure(tri_donor_list *list, const tri_problem *from);
/* Does that and sorts, near ones first. *count: how many of them can serve. */
triage_status tri_donors_sort(size_t *count, tri_donor_list *list, const tri_problem *from);

/* The tuned problems of the same family, near ones first, the problem itself only if asked for. *count: how many can
 * serve it. */
triage_status tri_donors_around(tri_donor_list *out, size_t *count, tri_store *store, const char *device,
                                const tri_problem *problem, bool with_itself);

/* For qsort, of whatever starts with a tri_donor: near ones first, in the same order on every machine. */
int tri_donor_compare(const void *left, const void *right);

#endif
