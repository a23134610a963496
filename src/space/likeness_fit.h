/* The weights of a likeness from results. */
#ifndef TRIAGE_SPACE_LIKENESS_FIT_H
#define TRIAGE_SPACE_LIKENESS_FIT_H

#include "space/likeness.h"

#define TRI_LIKENESS_FITTED 64 /* rows at most: the work grows with their third power */

typedef struct tri_likeness_fit {
    size_t count;                               /* rows */
    const int32_t *points[TRI_LIKENESS_FITTED]; /* their coordinates */
    double scores[TRI_LIKENESS_FITTED];         /* less what was expected before any result */
    double shares[TRI_LIKENESS_FITTED]; /* products of two are added to the covariance (what is inherited) */
    double noise;
} tri_likeness_fit;

/* Multiplies each axis' weight by powers of two: a step at a time, as long as the scores become more likely. */
triage_status tri_likeness_fit_weights(tri_likeness *likeness, const tri_likeness_fit *of);

#endif
