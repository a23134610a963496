#include "space/surrogate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "space/codes.h"
#include "space/likeness_fit.h"

#define NOISE 0.01          /* variance of a score, that of all scores being 1 */
#define LEAST_VARIANCE 1e-6 /* rounding must not make it negative */
#define FRESH 4000          /* of the pool of a larger space, for the points that come into it later */
#define TRUST 0.7           /* of what is inherited, before the first result: this much of it is expected, */
#define DISTRUST 0.5        /* give or take this (a standard deviation) */
#define RISK_IN_BOUND 1.0   /* deviations of a score that a sure failure is worse */
#define COST_IN_BOUND 0.1   /* and one that takes e times as long to compile */
#define COST_IN_GAIN 0.2    /* the power of the cost that a gain is divided by */
#define BLOCK 256           /* columns at a time: what is summed up stays in the first cache */

struct tri_surrogate {
    const tri_configs *configs;
    tri_random *random;
    tri_likeness likeness;
    /* the pool, by slot */
    size_t slots, settled; /* the first `settled` never leave */
    size_t next_fresh;
    tri_codes codes;
    int32_t *kernel;  /* [slots] */
    size_t *point_at; /* [slots] */
    bool *asked;      /* [slots] */
    float *variance, *mean, *trend;
    float *side[TRI_SIDES]; /* NULL: nothing is told of it */
    int32_t *slot_of;       /* [configs->count], -1: not in the pool */
    /* the rows */
    size_t count, told;
    float *rows[TRI_SURROGATE_ROWS]; /* [slots] each, made when first wanted */
    double diagonal[TRI_SURROGATE_ROWS];
    size_t slot_of_row[TRI_SURROGATE_ROWS];
    double weights[TRI_SURROGATE_ROWS]; /* L^-1 scores */
    /* what is inherited: the points of another's evidence, and what each counts; count 0: nothing */
    size_t heir_count;
    size_t heirs[TRI_SURROGATE_ROWS];
    double heir_weights[TRI_SURROGATE_ROWS];
};

static const int32_t *coordinates_of(const tri_surrogate *s, size_t point) {
    return s->configs->coordinates + point * s->configs->axes;
}

/* L[row][before], which the table holds anyway. */
static double factor(const tri_surrogate *s, size_t row, size_t before) {
    return s->rows[before][s->slot_of_row[row]];
}

/* ---- the pool ---- */

static float trend_at(const tri_surrogate *s, size_t point) {
    double sum = 0;
    for (size_t i = 0; i < s->heir_count; i++)
        sum += s->heir_weights[i] *
               tri_likeness_of(&s->likeness, coordinates_of(s, s->heirs[i]), coordinates_of(s, point));
    return (float)sum;
}

/* Without rows. What is inherited adds a variance of its own: how far it is to be believed is not known. */
static float first_variance(const tri_surrogate *s, size_t slot) {
    return 1 + (float)(DISTRUST * DISTRUST) * s->trend[slot] * s->trend[slot];
}

static double covariance(const tri_surrogate *s, size_t slot, size_t other) {
    return tri_likeness_of(&s->likeness, coordinates_of(s, s->point_at[slot]),
                           coordinates_of(s, s->point_at[other])) +
           DISTRUST * DISTRUST * (double)s->trend[slot] * (double)s->trend[other];
}

static void place(tri_surrogate *s, size_t slot, size_t point) {
    s->kernel[slot] = coordinates_of(s, point)[0];
    tri_codes_place(&s->codes, slot, coordinates_of(s, point));
    s->point_at[slot] = point;
    s->slot_of[point] = (int32_t)slot;
    s->asked[slot] = false;
    s->trend[slot] = trend_at(s, point);
    s->variance[slot] = first_variance(s, slot);
    s->mean[slot] = 0;
    for (size_t i = 0; i < TRI_SIDES; i++)
        if (s->side[i])
            s->side[i][slot] = 0;
}

/* A new point's column of the table. */
static void fill_column(tri_surrogate *s, size_t slot) {
    double mean = TRUST * (double)s->trend[slot];
    for (size_t i = 0; i < s->count; i++) {
        double sum = covariance(s, s->slot_of_row[i], slot);
        for (size_t k = 0; k < i; k++)
            sum -= factor(s, i, k) * (double)s->rows[k][slot];
        s->rows[i][slot] = (float)(sum / s->diagonal[i]);
        s->variance[slot] -= s->rows[i][slot] * s->rows[i][slot];
        mean += i < s->told ? s->weights[i] * (double)s->rows[i][slot] : 0;
    }
    s->mean[slot] = (float)mean;
}

/* Into the place of the one that came before all other fresh ones and was not asked. */
static size_t admit(tri_surrogate *s, size_t point) {
    size_t slot;
    if (s->slot_of[point] >= 0)
        return (size_t)s->slot_of[point];
    do {
        slot = s->settled + s->next_fresh;
        s->next_fresh = (s->next_fresh + 1) % (s->slots - s->settled);
    } while (s->asked[slot]); /* at most TRI_SURROGATE_ROWS of FRESH are */
    s->slot_of[s->point_at[slot]] = -1;
    place(s, slot, point);
    fill_column(s, slot);
    return slot;
}

static bool is_beside(const int32_t *a, const int32_t *b, size_t axes) {
    size_t different = 0;
    if (a[0] != b[0])
        return false;
    for (size_t j = 1; j < axes && different < 2; j++)
        different += a[j] != b[j];
    return different == 1;
}

void tri_surrogate_gather(tri_surrogate *s, size_t point) {
    const int32_t *centre = coordinates_of(s, point);
    if (s->slots == s->configs->count || s->count == TRI_SURROGATE_ROWS)
        return;
    for (size_t i = 0; i < s->configs->count; i++)
        if (s->slot_of[i] < 0 && is_beside(centre, coordinates_of(s, i), s->configs->axes))
            admit(s, i);
}

/* Each point at most once: the first of a shuffle that goes no further. */
static triage_status draw_pool(tri_surrogate *s) {
    const size_t count = s->configs->count;
    triage_status status = TRIAGE_OK;
    size_t *order = NULL;
    TRI_TRY(tri_calloc(&order, count, sizeof *order));
    for (size_t i = 0; i < count; i++)
        order[i] = i;
    for (size_t i = 0; i < s->slots; i++) {
        const size_t drawn =
            s->slots == count ? i : i + (size_t)tri_random_below(s->random, (uint64_t)(count - i));
        const size_t point = order[drawn];
        order[drawn] = order[i];
        place(s, i, point);
    }
done:
    free(order);
    return status;
}

/* ---- opening ---- */

triage_status tri_surrogate_open(tri_surrogate **out, const tri_configs *configs, tri_random *random) {
    triage_status status = TRIAGE_OK;
    tri_surrogate *s = NULL;
    TRI_TRY(tri_calloc(&s, 1, sizeof *s));
    s->configs = configs;
    s->random = random;
    s->slots = configs->count < TRI_SURROGATE_POOL ? configs->count : TRI_SURROGATE_POOL;
    s->settled = s->slots == configs->count ? s->slots : s->slots - FRESH;
    TRI_TRY(tri_likeness_open(&s->likeness, configs));
    TRI_TRY(tri_codes_open(&s->codes, &s->likeness, s->slots));
    TRI_TRY(tri_calloc(&s->kernel, s->slots, sizeof *s->kernel));
    TRI_TRY(tri_calloc(&s->point_at, s->slots, sizeof *s->point_at));
    TRI_TRY(tri_calloc(&s->asked, s->slots, sizeof *s->asked));
    TRI_TRY(tri_calloc(&s->variance, s->slots, sizeof *s->variance));
    TRI_TRY(tri_calloc(&s->mean, s->slots, sizeof *s->mean));
    TRI_TRY(tri_calloc(&s->trend, s->slots, sizeof *s->trend));
    TRI_TRY(tri_calloc(&s->slot_of, configs->count, sizeof *s->slot_of));
    memset(s->slot_of, -1, configs->count * sizeof *s->slot_of);
    TRI_TRY(draw_pool(s));
    *out = s;
    s = NULL;
done:
    tri_surrogate_free(s);
    return status;
}

void tri_surrogate_free(tri_surrogate *s) {
    if (!s)
        return;
    for (size_t i = 0; i < TRI_SURROGATE_ROWS; i++)
        free(s->rows[i]);
    tri_likeness_free(&s->likeness);
    tri_codes_free(&s->codes);
    free(s->kernel);
    free(s->point_at);
    free(s->asked);
    free(s->variance);
    free(s->mean);
    free(s->trend);
    for (size_t i = 0; i < TRI_SIDES; i++)
        free(s->side[i]);
    free(s->slot_of);
    free(s);
}

/* ---- rows ---- */

static size_t end_of_block(const tri_surrogate *s, size_t begin) {
    return begin + BLOCK < s->slots ? begin + BLOCK : s->slots;
}

/* out[j] += the sum of weights[i] * rows[i][j], eight rows at a time: out is read and written as seldom. */
static void combine(float *restrict out, float *const *rows, const float *weights, size_t count, size_t begin,
                    size_t end) {
    size_t i = 0;
    for (; i + 8 <= count; i += 8) {
        const float *a = rows[i], *b = rows[i + 1], *c = rows[i + 2], *d = rows[i + 3];
        const float *e = rows[i + 4], *f = rows[i + 5], *g = rows[i + 6], *h = rows[i + 7], *w = weights + i;
        for (size_t j = begin; j < end; j++)
            out[j] += ((w[0] * a[j] + w[1] * b[j]) + (w[2] * c[j] + w[3] * d[j])) +
                      ((w[4] * e[j] + w[5] * f[j]) + (w[6] * g[j] + w[7] * h[j]));
    }
    for (; i < count; i++)
        for (size_t j = begin; j < end; j++)
            out[j] += weights[i] * rows[i][j];
}

/* The covariance of one point with the whole pool. */
static void covariances(tri_surrogate *s, float *restrict out, size_t slot) {
    const int32_t *row = coordinates_of(s, s->point_at[slot]), *kernel = s->kernel;
    const float scale = (float)(DISTRUST * DISTRUST) * s->trend[slot], *trend = s->trend;
    tri_codes_distances(out, &s->codes, &s->likeness, row);
    for (size_t j = 0; j < s->slots; j++)
        out[j] = tri_likeness_of_distance(out[j]);
    for (size_t j = 0; j < s->slots; j++)
        out[j] = (kernel[j] == row[0] ? out[j] : 0) + scale * trend[j];
}

/* Row n of some columns, from its covariances; weights: minus its part of the factor. */
static void solve(tri_surrogate *s, size_t n, const float *weights, size_t begin, size_t end) {
    const float inverse = (float)(1 / s->diagonal[n]);
    float *restrict row = s->rows[n], *restrict variance = s->variance;
    combine(row, s->rows, weights, n, begin, end);
    for (size_t j = begin; j < end; j++) {
        row[j] *= inverse;
        variance[j] -= row[j] * row[j];
    }
}

static triage_status add_row(tri_surrogate *s, size_t slot) {
    float weights[TRI_SURROGATE_ROWS];
    const size_t n = s->count;
    double rest = (double)first_variance(s, slot) + NOISE;
    triage_status status = TRIAGE_OK;
    if (!s->rows[n])
        TRI_TRY(tri_calloc(&s->rows[n], s->slots, sizeof(float)));
    for (size_t i = 0; i < n; i++) {
        weights[i] = -s->rows[i][slot];
        rest -= (double)weights[i] * (double)weights[i];
    }
    s->diagonal[n] = sqrt(rest > LEAST_VARIANCE ? rest : LEAST_VARIANCE);
    s->slot_of_row[n] = slot;
    covariances(s, s->rows[n], slot);
    for (size_t begin = 0; begin < s->slots; begin += BLOCK)
        solve(s, n, weights, begin, end_of_block(s, begin));
    s->count++;
done:
    return status;
}

triage_status tri_surrogate_ask(tri_surrogate *s, size_t point) {
    if (point >= s->configs->count)
        return tri_fail(TRIAGE_E_INVALID, "configuration %zu: allowed are 1 .. %zu", point + 1,
                        s->configs->count);
    if (s->count == TRI_SURROGATE_ROWS && s->slot_of[point] < 0)
        return TRIAGE_OK; /* nowhere to strike it off */
    const size_t slot = admit(s, point);
    if (s->asked[slot])
        return tri_fail(TRIAGE_E_INVALID, "configuration %zu is asked already", point + 1);
    s->asked[slot] = true;
    return s->count < TRI_SURROGATE_ROWS ? add_row(s, slot) : TRIAGE_OK;
}

/* Two neighbouring rows change places: the plane that they span stays, and so does every variance. */
static void swap_rows(tri_surrogate *s, size_t i) {
    const double a = factor(s, i + 1, i), b = s->diagonal[i + 1], length = sqrt(a * a + b * b);
    const float c = (float)(a / length), d = (float)(b / length);
    float *restrict first = s->rows[i], *restrict second = s->rows[i + 1];
    const size_t slot = s->slot_of_row[i];
    for (size_t j = 0; j < s->slots; j++) {
        const float x = first[j], y = second[j];
        first[j] = c * x + d * y;
        second[j] = d * x - c * y;
    }
    s->diagonal[i + 1] = b * s->diagonal[i] / length;
    s->diagonal[i] = length;
    s->slot_of_row[i] = s->slot_of_row[i + 1];
    s->slot_of_row[i + 1] = slot;
}

triage_status tri_surrogate_tell(tri_surrogate *s, size_t point) {
    size_t row = s->told;
    while (row < s->count && s->point_at[s->slot_of_row[row]] != point)
        row++;
    if (row == s->count)
        return tri_fail(TRIAGE_E_INVALID, "configuration %zu is not waited for", point + 1);
    for (; row > s->told; row--)
        swap_rows(s, row - 1);
    s->told++;
    return TRIAGE_OK;
}

size_t tri_surrogate_told(const tri_surrogate *s) {
    return s->told;
}

/* values := L^-1 values, of the told rows. */
static void solve_told(const tri_surrogate *s, double *values) {
    for (size_t i = 0; i < s->told; i++) {
        for (size_t k = 0; k < i; k++)
            values[i] -= factor(s, i, k) * values[k];
        values[i] /= s->diagonal[i];
    }
}

/* What these weights of the told rows come to, all over the pool. */
static void add_told(const tri_surrogate *s, float *out, const double *weights) {
    float as_floats[TRI_SURROGATE_ROWS];
    for (size_t i = 0; i < s->told; i++)
        as_floats[i] = (float)weights[i];
    for (size_t begin = 0; begin < s->slots; begin += BLOCK)
        combine(out, s->rows, as_floats, s->told, begin, end_of_block(s, begin));
}

void tri_surrogate_believe(tri_surrogate *s, const double *scores) {
    for (size_t i = 0; i < s->told; i++)
        s->weights[i] = scores[i] - TRUST * (double)s->trend[s->slot_of_row[i]];
    solve_told(s, s->weights);
    for (size_t j = 0; j < s->slots; j++)
        s->mean[j] = (float)TRUST * s->trend[j];
    add_told(s, s->mean, s->weights);
}

triage_status tri_surrogate_believe_side(tri_surrogate *s, tri_surrogate_side side, const double *values) {
    double weights[TRI_SURROGATE_ROWS];
    triage_status status = TRIAGE_OK;
    if (!s->side[side])
        TRI_TRY(tri_calloc(&s->side[side], s->slots, sizeof(float)));
    memcpy(weights, values, s->told * sizeof *weights);
    solve_told(s, weights);
    memset(s->side[side], 0, s->slots * sizeof(float));
    add_told(s, s->side[side], weights);
done:
    return status;
}

/* ---- choosing ---- */

static double expected_gain(double mean, double deviation, double best) {
    const double u = (best - mean) / deviation;
    return deviation * (u * 0.5 * erfc(-u * M_SQRT1_2) + exp(-0.5 * u * u) / sqrt(2 * M_PI));
}

static double deviation_at(const tri_surrogate *s, size_t slot) {
    return sqrt(s->variance[slot] > (float)LEAST_VARIANCE ? (double)s->variance[slot] : LEAST_VARIANCE);
}

static int64_t choose_least_known(tri_surrogate *s, double tries) {
    int64_t chosen = -1;
    for (int64_t i = 0; i < (int64_t)tries; i++) {
        const size_t slot = (size_t)tri_random_below(s->random, s->slots);
        if (!s->asked[slot] && (chosen < 0 || s->variance[slot] > s->variance[chosen]))
            chosen = (int64_t)slot;
    }
    return chosen;
}

static double side_at(const tri_surrogate *s, tri_surrogate_side side, size_t slot) {
    return s->side[side] ? (double)s->side[side][slot] : 0;
}

static double value_of(const tri_surrogate *s, size_t slot, tri_surrogate_rule rule, double weight) {
    const double mean = s->mean[slot], deviation = deviation_at(s, slot);
    const double failure = side_at(s, TRI_SIDE_FAILURE, slot);
    const double risk = failure < 0 ? 0 : failure > 1 ? 1 : failure, cost = side_at(s, TRI_SIDE_COST, slot);
    if (rule == TRI_CHOOSE_SPREAD)
        return deviation;
    if (rule == TRI_CHOOSE_BOUND)
        return weight * deviation - mean - RISK_IN_BOUND * risk - COST_IN_BOUND * cost;
    return expected_gain(mean, deviation, weight) * (1 - risk) * exp(-COST_IN_GAIN * cost);
}

static int64_t choose_best(const tri_surrogate *s, tri_surrogate_rule rule, double weight) {
    int64_t chosen = -1;
    double best = 0;
    for (size_t j = 0; j < s->slots; j++) {
        if (s->asked[j])
            continue;
        const double value = value_of(s, j, rule, weight);
        if (chosen < 0 || value > best) {
            best = value;
            chosen = (int64_t)j;
        }
    }
    return chosen;
}

int64_t tri_surrogate_choose(double *value, tri_surrogate *s, tri_surrogate_rule rule, double weight) {
    const int64_t slot =
        rule == TRI_CHOOSE_SPREAD ? choose_least_known(s, weight) : choose_best(s, rule, weight);
    *value = slot < 0 ? 0 : value_of(s, (size_t)slot, rule, weight);
    return slot < 0 ? -1 : (int64_t)s->point_at[slot];
}

bool tri_surrogate_at(tri_belief *out, const tri_surrogate *s, size_t point) {
    if (point >= s->configs->count || s->slot_of[point] < 0)
        return false;
    const size_t slot = (size_t)s->slot_of[point];
    *out = (tri_belief){s->mean[slot],
                        deviation_at(s, slot),
                        {side_at(s, TRI_SIDE_FAILURE, slot), side_at(s, TRI_SIDE_COST, slot)}};
    return true;
}

/* ---- rows made anew ---- */

/* Minus the Cholesky factor of the rows' covariance, and its diagonal. */
static void factorise(tri_surrogate *s, float *factor) {
    for (size_t i = 0; i < s->count; i++) {
        const size_t slot = s->slot_of_row[i];
        float *row = factor + i * TRI_SURROGATE_ROWS;
        double rest = (double)first_variance(s, slot) + NOISE;
        for (size_t k = 0; k < i; k++) {
            const float *before = factor + k * TRI_SURROGATE_ROWS;
            double sum = covariance(s, s->slot_of_row[k], slot);
            for (size_t m = 0; m < k; m++)
                sum -= (double)row[m] * (double)before[m];
            row[k] = (float)(-sum / s->diagonal[k]);
            rest -= (double)row[k] * (double)row[k];
        }
        s->diagonal[i] = sqrt(rest > LEAST_VARIANCE ? rest : LEAST_VARIANCE);
    }
}

/* All rows of a block of columns, then the next block: it stays in a cache, where row after row would read the whole
 * table from memory for each. */
static triage_status remake_rows(tri_surrogate *s) {
    float *factor = NULL;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_calloc(&factor, s->count * TRI_SURROGATE_ROWS + 1, sizeof *factor));
    factorise(s, factor);
    for (size_t j = 0; j < s->slots; j++)
        s->variance[j] = first_variance(s, j);
    for (size_t i = 0; i < s->count; i++)
        covariances(s, s->rows[i], s->slot_of_row[i]);
    for (size_t begin = 0; begin < s->slots; begin += BLOCK)
        for (size_t i = 0; i < s->count; i++)
            solve(s, i, factor + i * TRI_SURROGATE_ROWS, begin, end_of_block(s, begin));
done:
    free(factor);
    return status;
}

/* order: the indexes of the told rows with the lowest scores, `kept` of them. */
static void find_best(size_t *order, const double *scores, size_t told, size_t kept) {
    for (size_t i = 0; i < told; i++)
        order[i] = i;
    for (size_t i = 0; i < kept; i++) {
        size_t best = i;
        for (size_t j = i + 1; j < told; j++)
            best = scores[order[j]] < scores[order[best]] ? j : best;
        const size_t index = order[best];
        order[best] = order[i];
        order[i] = index;
    }
}

triage_status tri_surrogate_fit(tri_surrogate *s, const double *scores) {
    tri_likeness_fit of = {.count = s->told < TRI_LIKENESS_FITTED ? s->told : TRI_LIKENESS_FITTED,
                           .noise = NOISE};
    size_t order[TRI_SURROGATE_ROWS];
    find_best(order, scores, s->told, of.count);
    for (size_t i = 0; i < of.count; i++) {
        const size_t slot = s->slot_of_row[order[i]];
        of.points[i] = coordinates_of(s, s->point_at[slot]);
        of.scores[i] = scores[order[i]] - TRUST * (double)s->trend[slot];
        of.shares[i] = DISTRUST * (double)s->trend[slot];
    }
    const triage_status status = tri_likeness_fit_weights(&s->likeness, &of);
    return status == TRIAGE_OK ? remake_rows(s) : status;
}

triage_status tri_surrogate_inherit(tri_surrogate *s) {
    for (size_t i = s->told; i-- > 0;) { /* L^-T weights */
        double sum = s->weights[i];
        for (size_t k = i + 1; k < s->told; k++)
            sum -= factor(s, k, i) * s->heir_weights[k];
        s->heir_weights[i] = sum / s->diagonal[i];
        s->heirs[i] = s->point_at[s->slot_of_row[i]];
    }
    s->heir_count = s->told;
    memcpy(s->trend, s->mean, s->slots * sizeof *s->trend);
    memset(s->asked, 0, s->slots * sizeof *s->asked);
    s->count = s->told = 0;
    return remake_rows(s);
}
