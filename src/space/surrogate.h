/* What a search believes of the configurations that it has not tried: a Gaussian process over a table of them. Numbers
 * only; what is asked next, and what a time is worth, is the strategy's affair (tuner/strategies/model.lua).
 *
 * It is C because it is dense linear algebra: a proposal at 20,000 points with 300 told is some 12 million multiply-adds,
 * a few milliseconds here and some 100 in Lua, whose tables would also take 16 bytes a number.
 *
 *   rows    the points asked, at most TRI_SURROGATE_ROWS; those told come first
 *   pool    the points that can be chosen: all of a space, or TRI_SURROGATE_POOL of a larger one
 *
 * With K the covariance of the rows and L its Cholesky factor, row i of the table holds (L^-1 k(rows, pool))[i]: then the
 * mean at a point of the pool is a sum over the told rows, and each row takes its square from the variance there. A
 * new row costs one pass over those before it. Rows that are only asked take from the variance, and say nothing of
 * the mean. */
#ifndef TRIAGE_SPACE_SURROGATE_H
#define TRIAGE_SPACE_SURROGATE_H

#include "space/space.h"

#define TRI_SURROGATE_ROWS 400
#define TRI_SURROGATE_POOL 20000

typedef struct tri_surrogate tri_surrogate;

/* configs and random are borrowed until it is freed. */
triage_status tri_surrogate_open(tri_surrogate **out, const tri_configs *configs, tri_random *random);
void tri_surrogate_free(tri_surrogate *s);

/* A point is asked: a row more. TRIAGE_E_INVALID: it is asked already, or all rows are taken. */
triage_status tri_surrogate_ask(tri_surrogate *s, size_t point);

/* Its result is there: it moves behind the rows told before. TRIAGE_E_INVALID: it is no row, or is told. */
triage_status tri_surrogate_tell(tri_surrogate *s, size_t point);
size_t tri_surrogate_told(const tri_surrogate *s);

/* The scores of the told rows, in the order of telling, low is good: sets the mean over the pool. */
void tri_surrogate_believe(tri_surrogate *s, const double *scores);

/* What else the told rows say of the pool, by the same likeness: how likely a configuration fails, and what it costs to try
 * it. Told likewise; nothing told: 0 everywhere. */
typedef enum tri_surrogate_side {
    TRI_SIDE_FAILURE, /* 1: it failed, 0: it did not */
    TRI_SIDE_COST,    /* the logarithm of the cost, less the mean */
    TRI_SIDES
} tri_surrogate_side;
triage_status tri_surrogate_believe_side(tri_surrogate *s, tri_surrogate_side side, const double *values);

/* Weighs the axes anew, as makes the scores of the best rows told (64 at most) most likely: an axis that never
 * mattered weighs little. All rows are made anew. */
triage_status tri_surrogate_fit(tri_surrogate *s, const double *scores);

/* The mean becomes what is expected from here on, to a degree that the results to come decide; all rows are gone.
 * For what is known of another device or problem. */
triage_status tri_surrogate_inherit(tri_surrogate *s);

/* A larger space: the points that differ from this one in one axis come into the pool. */
void tri_surrogate_gather(tri_surrogate *s, size_t point);

typedef enum tri_surrogate_rule {
    TRI_CHOOSE_BOUND, /* the least mean - weight * deviation */
    TRI_CHOOSE_GAIN,  /* the greatest expected gain on the score `weight` */
    TRI_CHOOSE_SPREAD /* of `weight` random ones that of which the least is known */
} tri_surrogate_rule;

/* The point of the pool, not asked, that the rule prefers; -1: none is left. *value: what the rule says of it. A point that
 * is expected to fail or to be costly must promise more: a gain counts times the chance that it is one, over the cost. */
int64_t tri_surrogate_choose(double *value, tri_surrogate *s, tri_surrogate_rule rule, double weight);

/* Of a point in the pool. */
typedef struct tri_belief {
    double mean, deviation;
    double side[TRI_SIDES];
} tri_belief;
bool tri_surrogate_at(tri_belief *out, const tri_surrogate *s, size_t point);

#endif
