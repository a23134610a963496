/* The distances of one configuration from a pool of them, with few look-ups: axes are taken in groups, a point has one number a
 * group for its values on all of them, and a table a group says what each number adds to the distance. */
#ifndef TRIAGE_SPACE_CODES_H
#define TRIAGE_SPACE_CODES_H

#include "space/likeness.h"

typedef struct tri_codes {
    size_t slots, groups;
    size_t *begin;    /* [groups + 1]: the axes of a group are begin[g] .. begin[g + 1] - 1 */
    size_t *digits;   /* [axes]: 1 + the most values that a kernel has there; digit 0: it has no such axis */
    uint32_t *number; /* [groups][slots] */
    float *table;     /* of the largest group */
} tri_codes;

triage_status tri_codes_open(tri_codes *out, const tri_likeness *likeness, size_t slots);
void tri_codes_free(tri_codes *codes);

/* row: a row of tri_configs.coordinates. */
void tri_codes_place(tri_codes *codes, size_t slot, const int32_t *row);

/* out[slot]: the weighted squared distance from `row`; of a point of another kernel it means nothing. */
void tri_codes_distances(float *out, tri_codes *codes, const tri_likeness *likeness, const int32_t *row);

#endif
