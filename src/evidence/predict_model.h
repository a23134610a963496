/* What a predictor is made of: shared by what teaches it (predict_fit.c), keeps it (predict_file.c) and asks it (predict.c). */
#ifndef TRIAGE_EVIDENCE_PREDICT_MODEL_H
#define TRIAGE_EVIDENCE_PREDICT_MODEL_H

#include "evidence/predict.h"

/* Chosen by leaving out each of 49 drawn problems (tests/bench/predict.c); the figures hardly change within a factor of two
 * of any. All of the logarithm of time / guess. */
#define TRI_PREDICT_OFFSET 2.0 /* deviation of a kernel's own constant */
#define TRI_PREDICT_SLOPE 0.1  /* of what one scale of a feature changes everywhere alike */
#define TRI_PREDICT_LOCAL 0.4  /* of what neighbours share */
#define TRI_PREDICT_REACH 5.0  /* scales: how far neighbours are apart that still speak of each other */
#define TRI_PREDICT_OF_A_PROBLEM                                                                             \
    0.05 /* of what all kernels of one problem share, of which a ranking knows nothing */
#define TRI_PREDICT_NOISE 0.015      /* of one time */
#define TRI_PREDICT_FARTHEST 5.0     /* scales: of a feature farther out nothing more is learnt */
#define TRI_PREDICT_LEAST_PIVOT 1e-6 /* a sample that others tell all of */

typedef float tri_predict_point[TRI_FEATURES_MAX]; /* in scales from the middle; 0 behind the last */

typedef struct tri_predict_sample {
    uint64_t kernel, problem;
    uint64_t name; /* of the configuration, hashed */
    double log_ratio;
    tri_predict_point at;
} tri_predict_sample;

/* Rows of a lower triangle, packed: row i has i + 1 numbers. */
static inline size_t tri_triangle(size_t row) {
    return row * (row + 1) / 2;
}

/* One kernel's process, on its pivots: with K their covariance, L L' = K, and C C' = L'S^-1 L + 1 over all samples. The mean
 * at x is base + slope x + the sum of weights times the local covariances. */
typedef struct tri_predict_process {
    char name[64];
    size_t pivots;
    tri_predict_point *at; /* [pivots] */
    double *weights;       /* [pivots] */
    double *l, *c;         /* [triangle of pivots] */
    double base, slope[TRI_FEATURES_MAX];
} tri_predict_process;

struct tri_predictor {
    const tri_operation *op;
    size_t features;
    tri_predict_sample *samples; /* until it has learnt */
    size_t count, capacity;
    char **problems; /* keys */
    size_t problem_count, problem_capacity;
    /* While it is taught: 1 + the last sample of each problem, and of each sample the one of its problem before it; 0: none. */
    uint64_t *last_of, *before;
    size_t last_capacity, before_capacity;
    tri_predict_process kernels[TRI_PREDICTOR_KERNELS];
    size_t kernel_count;
    tri_problem last; /* that was added to: rows of one problem mostly come together */
    char *last_key;
    int64_t work;
    bool is_from_file; /* its processes are */
    bool of_others;    /* taught by devices of other architectures */
};

/* Sums in lanes, so that the compiler may use vectors: an answer is mostly these. */
enum { TRI_PREDICT_LANES = 8 };
_Static_assert(TRI_FEATURES_MAX % TRI_PREDICT_LANES == 0, "a point is whole vectors");

static inline double tri_predict_dot(const double *a, const double *b, size_t count) {
    double lanes[TRI_PREDICT_LANES] = {0}, sum = 0;
    size_t i = 0;
    for (; i + TRI_PREDICT_LANES <= count; i += TRI_PREDICT_LANES)
        for (size_t j = 0; j < TRI_PREDICT_LANES; j++)
            lanes[j] += a[i + j] * b[i + j];
    for (; i < count; i++)
        sum += a[i] * b[i];
    for (size_t j = 0; j < TRI_PREDICT_LANES; j++)
        sum += lanes[j];
    return sum;
}

/* What neighbours share: 1 / (1 + d^2 / 2 reach^2), a mixture of all lengths. */
static inline double tri_predict_local(const float *a, const float *b) {
    const float scale = (float)(1 / (2 * TRI_PREDICT_REACH * TRI_PREDICT_REACH));
    float squares[TRI_PREDICT_LANES] = {0}, square = 0;
    for (size_t i = 0; i < TRI_FEATURES_MAX; i += TRI_PREDICT_LANES)
        for (size_t j = 0; j < TRI_PREDICT_LANES; j++) {
            const float apart = a[i + j] - b[i + j];
            squares[j] += apart * apart;
        }
    for (size_t j = 0; j < TRI_PREDICT_LANES; j++)
        square += squares[j];
    return TRI_PREDICT_LOCAL * TRI_PREDICT_LOCAL / (double)(1 + scale * square);
}

/* A constant and a slope. */
static inline double tri_predict_linear(const float *a, const float *b) {
    float products[TRI_PREDICT_LANES] = {0}, product = 0;
    for (size_t i = 0; i < TRI_FEATURES_MAX; i += TRI_PREDICT_LANES)
        for (size_t j = 0; j < TRI_PREDICT_LANES; j++)
            products[j] += a[i + j] * b[i + j];
    for (size_t j = 0; j < TRI_PREDICT_LANES; j++)
        product += products[j];
    return TRI_PREDICT_OFFSET * TRI_PREDICT_OFFSET + TRI_PREDICT_SLOPE * TRI_PREDICT_SLOPE * (double)product;
}

static inline double tri_predict_covariance(const float *a, const float *b) {
    return tri_predict_linear(a, b) + tri_predict_local(a, b);
}

/* x := L^-1 x. */
static inline void tri_predict_solve(double *x, const double *l, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const double *row = l + tri_triangle(i);
        x[i] = (x[i] - tri_predict_dot(row, x, i)) / row[i];
    }
}

void tri_predict_free_process(tri_predict_process *process);

/* Learns from its samples, which are sorted by kernel and problem. */
triage_status tri_predict_fit(tri_predictor *predictor);

#endif
