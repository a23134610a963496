/* How alike two configurations are: 1 for the same, and less the further their axes are apart (Matern 5/2). Kernels
 * of another name have nothing to say of each other. */
#ifndef TRIAGE_SPACE_LIKENESS_H
#define TRIAGE_SPACE_LIKENESS_H

#include <math.h>

#include "space/space.h"

/* One axis of one kernel: what there is to compare of its values, by their index. */
typedef struct tri_likeness_axis {
    size_t count;
    bool is_named;  /* names have no order */
    float *place;   /* [count] 0 .. 1 along the axis */
    float *twos;    /* [count] 0 .. 1 by how often 2 divides the number */
    bool *is_power; /* [count] of two */
    double weight;
} tri_likeness_axis;

typedef struct tri_likeness {
    size_t kernels, axes;
    tri_likeness_axis *axis; /* [kernels][axes] */
} tri_likeness;

triage_status tri_likeness_open(tri_likeness *out, const tri_configs *configs);
void tri_likeness_free(tri_likeness *likeness);
tri_likeness_axis *tri_likeness_axis_of(const tri_likeness *likeness, int32_t kernel, size_t axis);

/* The squared distance on one axis, without its weight; 0 for the same index. */
double tri_likeness_apart(const tri_likeness_axis *axis, int32_t a, int32_t b);
/* Of the weighted sum over all axes. Here, since it is asked for each point of a pool, many at a time: e^-r is taken as 1 / (the
 * series of e^(r/16))^16, to 2e-5 of it where it is more than 0.01, for a call of expf would be one at a time. */
static inline float tri_likeness_of_distance(float squared) {
    const float r = sqrtf(5 * squared), x = r / 16;
    float e = 1 + x * (1 + x * (1 / 2.0F + x * (1 / 6.0F + x * (1 / 24.0F + x * (1 / 120.0F)))));
    e *= e;
    e *= e;
    e *= e;
    e *= e;
    return (1 + r + r * r / 3) / e;
}
/* a, b: rows of tri_configs.coordinates. */
float tri_likeness_of(const tri_likeness *likeness, const int32_t *a, const int32_t *b);

#endif
