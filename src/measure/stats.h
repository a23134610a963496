/* The median of a few times and how sure we are of it. */
#ifndef TRIAGE_MEASURE_STATS_H
#define TRIAGE_MEASURE_STATS_H

#include "base/base.h"

#define TRI_SAMPLES_MAX 1000

typedef struct tri_timing {
    double median_ns, low_ns, high_ns; /* median and its 95 % interval */
    double min_ns;
    int64_t samples;
    bool cold_l2;
} tri_timing;

/* The median's interval by order statistics: no assumption on how the times are distributed. With fewer
 * than six samples no 95 % interval exists, and the whole range is given. Sorts ns; count 1 .. 1000. */
void tri_timing_of(tri_timing *out, double *ns, size_t count);

/* (high - low) / median: the width that the protocol wants below 2 x 1 %. */
double tri_timing_width(const tri_timing *timing);

#endif
