#include "measure/stats.h"

#include <math.h>
#include <stdlib.h>

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The largest r with P(fewer than r of n samples lie below the median) <= 2.5 %: then the r-th smallest
 * and the r-th largest sample enclose the median with 95 %. 0 when n < 6. */
static size_t interval_rank(size_t n) {
    double term = pow(0.5, (double)n), below = 0; /* term: P(Binomial(n, 1/2) = i) */
    for (size_t i = 0; i < n; i++) {
        below += term;
        if (below > 0.025)
            return i;
        term *= (double)(n - i) / (double)(i + 1);
    }
    return 0;
}

void tri_timing_of(tri_timing *out, double *ns, size_t count) {
    qsort(ns, count, sizeof *ns, ascending);
    size_t rank = interval_rank(count), skip = rank ? rank - 1 : 0;
    out->median_ns = (ns[(count - 1) / 2] + ns[count / 2]) / 2;
    out->low_ns = ns[skip];
    out->high_ns = ns[count - 1 - skip];
    out->min_ns = ns[0];
    out->samples = (int64_t)count;
}

double tri_timing_width(const tri_timing *timing) {
    return timing->median_ns > 0 ? (timing->high_ns - timing->low_ns) / timing->median_ns : INFINITY;
}
