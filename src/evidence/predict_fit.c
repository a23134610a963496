/* How a predictor learns: one process a kernel, on pivots chosen among its samples. */
#include "evidence/predict_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* While one kernel is learnt. */
typedef struct lesson {
    const tri_predict_sample *of; /* of one kernel, those of a problem together */
    size_t count, most;
    double *l, *left;  /* [count][most]; [count] what the pivots so far do not tell of each */
    size_t *pivot;     /* [most] */
    double *a, *right; /* [triangle of most], [most] */
} lesson;

static void free_lesson(lesson *x) {
    free(x->l);
    free(x->left);
    free(x->pivot);
    free(x->a);
    free(x->right);
}

static triage_status open_lesson(lesson *x, const tri_predict_sample *of, size_t count) {
    triage_status status = TRIAGE_OK;
    *x = (lesson){
        .of = of, .count = count, .most = count < TRI_PREDICTOR_PIVOTS ? count : TRI_PREDICTOR_PIVOTS};
    TRI_TRY(tri_calloc(&x->l, count * x->most, sizeof *x->l));
    TRI_TRY(tri_calloc(&x->left, count, sizeof *x->left));
    TRI_TRY(tri_calloc(&x->pivot, x->most, sizeof *x->pivot));
    TRI_TRY(tri_calloc(&x->a, tri_triangle(x->most) + 1, sizeof *x->a));
    TRI_TRY(tri_calloc(&x->right, x->most, sizeof *x->right));
done:
    return status;
}

/* Pivoted Cholesky: the sample of which least is known comes next. Returns how many were worth it. */
static size_t choose_pivots(lesson *x) {
    for (size_t i = 0; i < x->count; i++)
        x->left[i] = tri_predict_covariance(x->of[i].at, x->of[i].at);
    for (size_t j = 0; j < x->most; j++) {
        size_t best = 0;
        for (size_t i = 1; i < x->count; i++)
            if (x->left[i] > x->left[best])
                best = i;
        if (x->left[best] < TRI_PREDICT_LEAST_PIVOT)
            return j;
        const double root = sqrt(x->left[best]), *row = x->l + best * x->most;
        x->pivot[j] = best;
        for (size_t i = 0; i < x->count; i++) {
            double *mine = x->l + i * x->most;
            if (x->left[i] <= 0)
                continue;
            const double rest =
                tri_predict_covariance(x->of[i].at, x->of[best].at) - tri_predict_dot(mine, row, j);
            mine[j] = i == best ? root : rest / root;
            x->left[i] = i == best ? 0 : fmax(0, x->left[i] - mine[j] * mine[j]);
        }
    }
    return x->most;
}

/* Rows and times of one problem, in deviations of noise, less what they share: they tell about as much of it as they
 * would alone, and of one another all. Adds them to the normal equations. */
static void add_problem(lesson *x, size_t from, size_t to, size_t pivots, double *mean, double *row) {
    const double size = (double)(to - from) / (TRI_PREDICT_NOISE * TRI_PREDICT_NOISE);
    const double share =
        (1 - 1 / sqrt(1 + TRI_PREDICT_OF_A_PROBLEM * TRI_PREDICT_OF_A_PROBLEM * size)) / (double)(to - from);
    double mean_time = 0;
    memset(mean, 0, pivots * sizeof *mean);
    for (size_t i = from; i < to; i++) {
        mean_time += x->of[i].log_ratio;
        for (size_t j = 0; j < pivots; j++)
            mean[j] += x->l[i * x->most + j];
    }
    for (size_t i = from; i < to; i++) {
        const double time = (x->of[i].log_ratio - share * mean_time) / TRI_PREDICT_NOISE;
        for (size_t j = 0; j < pivots; j++)
            row[j] = (x->l[i * x->most + j] - share * mean[j]) / TRI_PREDICT_NOISE;
        for (size_t j = 0; j < pivots; j++) {
            x->right[j] += row[j] * time;
            for (size_t k = 0; k <= j; k++)
                x->a[tri_triangle(j) + k] += row[j] * row[k];
        }
    }
}

static triage_status add_problems(lesson *x, size_t pivots) {
    double *mean = NULL, *row = NULL;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_calloc(&mean, pivots + 1, sizeof *mean));
    TRI_TRY(tri_calloc(&row, pivots + 1, sizeof *row));
    for (size_t j = 0; j < pivots; j++)
        x->a[tri_triangle(j) + j] = 1;
    for (size_t from = 0, to; from < x->count; from = to) {
        for (to = from + 1; to < x->count && x->of[to].problem == x->of[from].problem;)
            to++;
        add_problem(x, from, to, pivots, mean, row);
    }
done:
    free(mean);
    free(row);
    return status;
}

/* In place, packed; the diagonal is at least 1, so it cannot fail. */
static void factor(double *a, size_t count) {
    for (size_t i = 0; i < count; i++) {
        double *row = a + tri_triangle(i);
        for (size_t j = 0; j <= i; j++) {
            const double rest = row[j] - tri_predict_dot(row, a + tri_triangle(j), j);
            row[j] = i == j ? sqrt(fmax(rest, 1e-12)) : rest / a[tri_triangle(j) + j];
        }
    }
}

/* x := L'^-1 x. */
static void solve_upper(double *x, const double *l, size_t count) {
    for (size_t i = count; i-- > 0;) {
        const double *row = l + tri_triangle(i);
        x[i] /= row[i];
        for (size_t j = 0; j < i; j++)
            x[j] -= row[j] * x[i];
    }
}

/* Of the mean, what is the same for all neighbours. */
static void add_linear_part(tri_predict_process *out) {
    for (size_t i = 0; i < out->pivots; i++) {
        out->base += TRI_PREDICT_OFFSET * TRI_PREDICT_OFFSET * out->weights[i];
        for (size_t j = 0; j < TRI_FEATURES_MAX; j++)
            out->slope[j] += TRI_PREDICT_SLOPE * TRI_PREDICT_SLOPE * out->weights[i] * (double)out->at[i][j];
    }
}

static triage_status keep(tri_predict_process *out, lesson *x, size_t pivots) {
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_calloc(&out->at, pivots, sizeof *out->at));
    TRI_TRY(tri_calloc(&out->l, tri_triangle(pivots) + 1, sizeof *out->l));
    for (size_t i = 0; i < pivots; i++) {
        memcpy(out->at[i], x->of[x->pivot[i]].at, sizeof(tri_predict_point));
        memcpy(out->l + tri_triangle(i), x->l + x->pivot[i] * x->most, (i + 1) * sizeof *out->l);
    }
    factor(x->a, pivots);
    tri_predict_solve(x->right, x->a, pivots);
    solve_upper(x->right, x->a, pivots);
    solve_upper(x->right, out->l, pivots);
    out->c = x->a;
    out->weights = x->right;
    out->pivots = pivots;
    x->a = x->right = NULL;
    add_linear_part(out);
done:
    return status;
}

static triage_status learn(tri_predictor *p, tri_predict_process *out, const tri_predict_sample *of,
                           size_t count) {
    triage_status status = TRIAGE_OK;
    lesson x = {0};
    TRI_TRY(open_lesson(&x, of, count));
    const size_t pivots = choose_pivots(&x);
    TRI_TRY(add_problems(&x, pivots));
    TRI_TRY(keep(out, &x, pivots));
    p->work += (int64_t)(count * pivots * (TRI_FEATURES_MAX + pivots) + pivots * pivots * pivots);
done:
    free_lesson(&x);
    return status;
}

triage_status tri_predict_fit(tri_predictor *p) {
    triage_status status = TRIAGE_OK;
    for (size_t from = 0, to; from < p->count; from = to) {
        for (to = from + 1; to < p->count && p->samples[to].kernel == p->samples[from].kernel;)
            to++;
        TRI_TRY(learn(p, &p->kernels[p->samples[from].kernel], p->samples + from, to - from));
    }
done:
    return status;
}
