/* What weights of the axes make the scores that were told likely. */
#include "space/likeness_fit.h"

#include <math.h>
#include <stdlib.h>

#define LEAST_PIVOT 1e-6
#define LEAST_OF_KERNEL 8 /* rows, before its axes are weighed */
#define ROUNDS 2
#define STEPS 2 /* factors of two, up or down, an axis and a round */

#define PAIRS (TRI_LIKENESS_FITTED * (TRI_LIKENESS_FITTED + 1) / 2)

typedef struct fit_work {
    const tri_likeness_fit *of;
    tri_likeness *likeness;
    float *apart;                                            /* [kernels * axes][PAIRS]: without the weight */
    float squared[PAIRS];                                    /* the weighted sums */
    double factor[TRI_LIKENESS_FITTED][TRI_LIKENESS_FITTED]; /* Cholesky's */
} fit_work;

static size_t pair(size_t i, size_t j) {
    return i * (i + 1) / 2 + j;
}

static void fill_pair(fit_work *work, size_t i, size_t j) {
    const int32_t *a = work->of->points[i], *b = work->of->points[j];
    const tri_likeness *likeness = work->likeness;
    float *squared = &work->squared[pair(i, j)];
    *squared = 0;
    for (size_t axis = 0; a[0] == b[0] && axis < likeness->axes && a[axis + 1] >= 0; axis++) {
        const tri_likeness_axis *of = tri_likeness_axis_of(likeness, a[0], axis);
        const float apart = (float)tri_likeness_apart(of, a[axis + 1], b[axis + 1]);
        work->apart[((size_t)a[0] * likeness->axes + axis) * PAIRS + pair(i, j)] = apart;
        *squared += (float)of->weight * apart;
    }
}

static void set_weight(fit_work *work, size_t axis, double weight) {
    const float change = (float)(weight - work->likeness->axis[axis].weight);
    const float *apart = work->apart + axis * PAIRS;
    const size_t pairs = pair(work->of->count, 0);
    for (size_t i = 0; i < pairs; i++)
        work->squared[i] += change * apart[i]; /* 0 where it is another kernel's */
    work->likeness->axis[axis].weight = weight;
}

static double covariance(const fit_work *work, size_t i, size_t j) {
    const tri_likeness_fit *of = work->of;
    const float squared = work->squared[pair(i, j)]; /* sums of differences: rounding may leave less than 0 */
    const double shared = of->shares[i] * of->shares[j] + (i == j ? of->noise : 0);
    if (of->points[i][0] != of->points[j][0])
        return shared;
    return shared + (double)tri_likeness_of_distance(squared > 0 ? squared : 0);
}

/* Weights far from 1 ask for evidence: the logarithm of each has a variance of one half. */
static double surprise_of_weights(const tri_likeness *likeness) {
    double sum = 0;
    for (size_t i = 0; i < likeness->kernels * likeness->axes; i++)
        sum += log(likeness->axis[i].weight) * log(likeness->axis[i].weight);
    return sum;
}

/* Minus the logarithm of how likely the scores are, but for a constant. */
static double surprise(fit_work *work) {
    double sum = surprise_of_weights(work->likeness), weights[TRI_LIKENESS_FITTED];
    for (size_t i = 0; i < work->of->count; i++) {
        double *row = work->factor[i], rest = covariance(work, i, i), score = work->of->scores[i];
        for (size_t j = 0; j < i; j++) {
            double value = covariance(work, i, j);
            for (size_t k = 0; k < j; k++)
                value -= row[k] * work->factor[j][k];
            row[j] = value / work->factor[j][j];
            rest -= row[j] * row[j];
            score -= row[j] * weights[j];
        }
        row[i] = sqrt(rest > LEAST_PIVOT ? rest : LEAST_PIVOT);
        weights[i] = score / row[i];
        sum += 0.5 * weights[i] * weights[i] + log(row[i]);
    }
    return sum;
}

/* Steps in one direction for as long as they help. */
static bool walk(fit_work *work, size_t axis, double *least, double step) {
    bool moved = false;
    for (int i = 0; i < STEPS; i++) {
        const double before = work->likeness->axis[axis].weight;
        set_weight(work, axis, before * step);
        const double now = surprise(work);
        if (now >= *least) {
            set_weight(work, axis, before);
            break;
        }
        *least = now;
        moved = true;
    }
    return moved;
}

static size_t rows_of_kernel(const tri_likeness_fit *of, int32_t kernel) {
    size_t count = 0;
    for (size_t i = 0; i < of->count; i++)
        count += of->points[i][0] == kernel;
    return count;
}

static void fit_kernel(fit_work *work, size_t kernel, double *least) {
    for (size_t j = 0; j < work->likeness->axes; j++) {
        const size_t axis = kernel * work->likeness->axes + j;
        if (work->likeness->axis[axis].count > 1 && !walk(work, axis, least, 2))
            walk(work, axis, least, 0.5);
    }
}

triage_status tri_likeness_fit_weights(tri_likeness *likeness, const tri_likeness_fit *of) {
    triage_status status = TRIAGE_OK;
    fit_work *work = NULL;
    TRI_TRY(tri_calloc(&work, 1, sizeof *work));
    work->of = of;
    work->likeness = likeness;
    TRI_TRY(tri_calloc(&work->apart, likeness->kernels * likeness->axes * PAIRS, sizeof *work->apart));
    for (size_t i = 0; i < of->count; i++)
        for (size_t j = 0; j <= i; j++)
            fill_pair(work, i, j);
    double least = surprise(work);
    for (int round = 0; round < ROUNDS; round++)
        for (size_t kernel = 0; kernel < likeness->kernels; kernel++)
            if (rows_of_kernel(of, (int32_t)kernel) >= LEAST_OF_KERNEL)
                fit_kernel(work, kernel, &least);
done:
    if (work)
        free(work->apart);
    free(work);
    return status;
}
