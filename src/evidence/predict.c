#include "evidence/predict.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Chosen by leaving out each of 49 drawn problems (tests/bench/predict.py); the figures hardly change within a factor of two
 * of any. All of the logarithm of time / guess. */
#define OFFSET 2.0        /* deviation of a kernel's own constant */
#define SLOPE 0.1         /* of what one scale of a feature changes everywhere alike */
#define LOCAL 0.4         /* of what neighbours share */
#define REACH 6.0         /* scales: how far neighbours are apart that still speak of each other */
#define OF_A_PROBLEM 0.05 /* of what all kernels of one problem share, of which a ranking knows nothing */
#define NOISE 0.015       /* of one time */
#define FARTHEST 5.0      /* scales: of a feature farther out nothing more is learnt */
#define LEAST_PIVOT 1e-6  /* a sample that others tell all of */

/* Below that a few chance problems would speak for all. */
#define SAMPLES_WANTED 100
#define PROBLEMS_WANTED 8
/* An answer as uncertain as that is none. */
#define SPREAD_MOST 0.5
/* Mean loss over the drawn problems, left out, over the mean deviation of the answers. */
#define LOSS_OF_SPREAD 0.3

typedef float point[TRI_FEATURES_MAX]; /* in scales from the middle; 0 behind the last */

typedef struct sample {
    size_t kernel, problem;
    uint64_t name; /* of the configuration, hashed */
    double log_ratio;
    point at;
} sample;

/* One kernel's process, on its pivots: with K their covariance, L L' = K, and C C' = L'S^-1 L + 1 over all samples. */
typedef struct process {
    char name[64];
    size_t pivots;
    point *at;       /* [pivots] */
    double *weights; /* [pivots] the mean at x is their sum with k(x, pivots) */
    double *l, *c;   /* [pivots][pivots], lower */
} process;

struct tri_predictor {
    const tri_operation *op;
    size_t features;
    sample *samples;
    size_t count, capacity;
    char **problems; /* keys */
    size_t problem_count, problem_capacity;
    process kernels[TRI_PREDICTOR_KERNELS];
    size_t kernel_count;
    tri_problem last; /* that was added to: rows of one problem mostly come together */
    char *last_key;
    int64_t work;
};

/* ---- covariance ---- */

/* Sums in lanes, so that the compiler may use vectors: an answer is mostly these two. */
enum { LANES = 8 };
_Static_assert(TRI_FEATURES_MAX % LANES == 0, "a point is whole vectors");

static double dot(const double *a, const double *b, size_t count) {
    double lanes[LANES] = {0}, sum = 0;
    size_t i = 0;
    for (; i + LANES <= count; i += LANES)
        for (size_t j = 0; j < LANES; j++)
            lanes[j] += a[i + j] * b[i + j];
    for (; i < count; i++)
        sum += a[i] * b[i];
    for (size_t j = 0; j < LANES; j++)
        sum += lanes[j];
    return sum;
}

/* A constant, a slope and a Matern 5/2 of the distance. */
static double covariance(const float *a, const float *b) {
    float products[LANES] = {0}, squares[LANES] = {0}, product = 0, square = 0;
    for (size_t i = 0; i < TRI_FEATURES_MAX; i += LANES) {
        for (size_t j = 0; j < LANES; j++) {
            const float apart = a[i + j] - b[i + j];
            products[j] += a[i + j] * b[i + j];
            squares[j] += apart * apart;
        }
    }
    for (size_t j = 0; j < LANES; j++) {
        product += products[j];
        square += squares[j];
    }
    const float r = sqrtf(5 * square) / (float)REACH;
    return OFFSET * OFFSET + SLOPE * SLOPE * (double)product +
           LOCAL * LOCAL * (double)((1 + r + r * r / 3) * expf(-r));
}

/* ---- samples ---- */

triage_status tri_predictor_new(tri_predictor **out, const tri_operation *op) {
    tri_predictor *made = NULL;
    if (!op->cost)
        return tri_fail(TRIAGE_E_UNSUPPORTED, "%s does not say what its kernels do: nothing is predicted",
                        op->name);
    triage_status status = tri_calloc(&made, 1, sizeof *made);
    if (status != TRIAGE_OK)
        return status;
    made->op = op;
    while (op->features[made->features].name)
        made->features++;
    *out = made;
    return TRIAGE_OK;
}

void tri_predictor_free(tri_predictor *p) {
    if (!p)
        return;
    for (size_t i = 0; i < p->problem_count; i++)
        free(p->problems[i]);
    for (size_t i = 0; i < p->kernel_count; i++) {
        free(p->kernels[i].at);
        free(p->kernels[i].weights);
        free(p->kernels[i].l);
        free(p->kernels[i].c);
    }
    free(p->problems);
    free(p->last_key);
    free(p->samples);
    free(p);
}

/* Of the process of a kernel; kernel_count where there is none. */
static size_t find_kernel(const tri_predictor *p, const char *config) {
    const size_t size = strcspn(config, " ");
    size_t at = 0;
    while (at < p->kernel_count &&
           (strncmp(p->kernels[at].name, config, size) != 0 || p->kernels[at].name[size] != '\0'))
        at++;
    return at;
}

static bool take_kernel(size_t *at, tri_predictor *p, const char *config) {
    const size_t size = strcspn(config, " ");
    *at = find_kernel(p, config);
    if (*at < p->kernel_count)
        return true;
    if (*at == TRI_PREDICTOR_KERNELS || size >= sizeof p->kernels[0].name)
        return false;
    memcpy(p->kernels[*at].name, config, size);
    p->kernel_count++;
    return true;
}

/* Rows of one problem mostly come together. */
static triage_status take_problem(size_t *at, tri_predictor *p, const char *key) {
    triage_status status = TRIAGE_OK;
    for (*at = p->problem_count; *at > 0; --*at) {
        if (strcmp(p->problems[*at - 1], key) == 0) {
            --*at;
            return TRIAGE_OK;
        }
    }
    TRI_TRY(tri_grow(&p->problems, &p->problem_capacity, p->problem_count, sizeof *p->problems, "problems"));
    TRI_TRY(tri_strdup(&p->problems[p->problem_count], key));
    *at = p->problem_count++;
done:
    return status;
}

static uint64_t name_of(const char *config) {
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
    for (; *config; config++)
        hash = (hash ^ (unsigned char)*config) * UINT64_C(0x100000001b3);
    return hash;
}

static bool has_sample(const tri_predictor *p, const sample *item) {
    for (size_t i = 0; i < p->count; i++)
        if (p->samples[i].name == item->name && p->samples[i].problem == item->problem)
            return true;
    return false;
}

/* In scales from the middle. False: nothing can be said of it. */
static bool place(point at, tri_cost *cost, const tri_predictor *p, const tri_problem *problem,
                  const char *config, const tri_device_info *info) {
    memset(at, 0, sizeof(point));
    if (!p->op->cost(cost, problem, config, info) || !(cost->guess_ns > 0) || !isfinite(cost->guess_ns))
        return false;
    for (size_t i = 0; i < p->features; i++) {
        const double z = (cost->features[i] - p->op->features[i].middle) / p->op->features[i].scale;
        if (!isfinite(z))
            return false;
        at[i] = (float)fmin(FARTHEST, fmax(-FARTHEST, z));
    }
    return true;
}

/* False: not a problem of the operation. */
static triage_status read_problem(bool *known, tri_predictor *p, const char *key) {
    triage_status status = TRIAGE_OK;
    *known = p->last_key && strcmp(p->last_key, key) == 0;
    if (*known)
        return TRIAGE_OK;
    free(p->last_key);
    p->last_key = NULL;
    if (tri_operation_find(key) != p->op || tri_problem_parse(&p->last, key) != TRIAGE_OK)
        return TRIAGE_OK;
    TRI_TRY(tri_strdup(&p->last_key, key));
    *known = true;
done:
    return status;
}

bool tri_predictor_is_full(const tri_predictor *p) {
    return p->count >= TRI_PREDICTOR_SAMPLES;
}

triage_status tri_predictor_add(tri_predictor *p, const char *key, const char *config, double median_ns,
                                const tri_device_info *info) {
    triage_status status = TRIAGE_OK;
    tri_cost cost;
    bool known = false;
    sample item = {.name = name_of(config)};
    if (tri_predictor_is_full(p) || !(median_ns > 0) || !isfinite(median_ns))
        return TRIAGE_OK;
    TRI_TRY(read_problem(&known, p, key));
    if (!known || !place(item.at, &cost, p, &p->last, config, info) || !take_kernel(&item.kernel, p, config))
        return TRIAGE_OK;
    item.log_ratio = log(median_ns / cost.guess_ns);
    TRI_TRY(take_problem(&item.problem, p, key));
    if (has_sample(p, &item))
        goto done;
    TRI_TRY(tri_grow(&p->samples, &p->capacity, p->count, sizeof *p->samples, "times"));
    p->samples[p->count++] = item;
done:
    return status;
}

/* ---- the fit ---- */

/* While one kernel is learnt. */
typedef struct lesson {
    const sample *of; /* of one kernel, those of a problem together */
    size_t count, most;
    double *l, *left;  /* [count][most]; [count] what the pivots so far do not tell of each */
    size_t *pivot;     /* [most] */
    double *a, *right; /* [most][most], [most] */
} lesson;

static void free_lesson(lesson *x) {
    free(x->l);
    free(x->left);
    free(x->pivot);
    free(x->a);
    free(x->right);
}

static triage_status open_lesson(lesson *x, const sample *of, size_t count) {
    triage_status status = TRIAGE_OK;
    *x = (lesson){
        .of = of, .count = count, .most = count < TRI_PREDICTOR_PIVOTS ? count : TRI_PREDICTOR_PIVOTS};
    TRI_TRY(tri_calloc(&x->l, count * x->most, sizeof *x->l));
    TRI_TRY(tri_calloc(&x->left, count, sizeof *x->left));
    TRI_TRY(tri_calloc(&x->pivot, x->most, sizeof *x->pivot));
    TRI_TRY(tri_calloc(&x->a, x->most * x->most, sizeof *x->a));
    TRI_TRY(tri_calloc(&x->right, x->most, sizeof *x->right));
done:
    return status;
}

/* Pivoted Cholesky: the sample of which least is known comes next. Returns how many were worth it. */
static size_t choose_pivots(lesson *x) {
    for (size_t i = 0; i < x->count; i++)
        x->left[i] = covariance(x->of[i].at, x->of[i].at);
    for (size_t j = 0; j < x->most; j++) {
        size_t best = 0;
        for (size_t i = 1; i < x->count; i++)
            if (x->left[i] > x->left[best])
                best = i;
        if (x->left[best] < LEAST_PIVOT)
            return j;
        const double root = sqrt(x->left[best]), *row = x->l + best * x->most;
        x->pivot[j] = best;
        for (size_t i = 0; i < x->count; i++) {
            double *mine = x->l + i * x->most;
            if (x->left[i] <= 0)
                continue;
            const double rest = covariance(x->of[i].at, x->of[best].at) - dot(mine, row, j);
            mine[j] = i == best ? root : rest / root;
            x->left[i] = i == best ? 0 : fmax(0, x->left[i] - mine[j] * mine[j]);
        }
    }
    return x->most;
}

/* Rows and times of one problem, in deviations of noise, less what they share: they tell about as much of it as they
 * would alone, and of one another all. Adds them to the normal equations. */
static void add_problem(lesson *x, size_t from, size_t to, size_t pivots, double *mean, double *row) {
    const double size = (double)(to - from) / (NOISE * NOISE);
    const double share = (1 - 1 / sqrt(1 + OF_A_PROBLEM * OF_A_PROBLEM * size)) / (double)(to - from);
    double mean_time = 0;
    memset(mean, 0, pivots * sizeof *mean);
    for (size_t i = from; i < to; i++) {
        mean_time += x->of[i].log_ratio;
        for (size_t j = 0; j < pivots; j++)
            mean[j] += x->l[i * x->most + j];
    }
    for (size_t i = from; i < to; i++) {
        const double time = (x->of[i].log_ratio - share * mean_time) / NOISE;
        for (size_t j = 0; j < pivots; j++)
            row[j] = (x->l[i * x->most + j] - share * mean[j]) / NOISE;
        for (size_t j = 0; j < pivots; j++) {
            x->right[j] += row[j] * time;
            for (size_t k = 0; k <= j; k++)
                x->a[j * pivots + k] += row[j] * row[k];
        }
    }
}

static triage_status add_problems(lesson *x, size_t pivots) {
    double *mean = NULL, *row = NULL;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_calloc(&mean, pivots + 1, sizeof *mean));
    TRI_TRY(tri_calloc(&row, pivots + 1, sizeof *row));
    for (size_t j = 0; j < pivots; j++)
        x->a[j * pivots + j] = 1;
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

/* In place; the diagonal is at least 1, so it cannot fail. */
static void factor(double *a, size_t count) {
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j <= i; j++) {
            const double rest = a[i * count + j] - dot(a + i * count, a + j * count, j);
            a[i * count + j] = i == j ? sqrt(fmax(rest, 1e-12)) : rest / a[j * count + j];
        }
    }
}

/* x := L^-1 x, and x := L'^-1 x. */
static void solve_lower(double *x, const double *l, size_t count) {
    for (size_t i = 0; i < count; i++)
        x[i] = (x[i] - dot(l + i * count, x, i)) / l[i * count + i];
}

static void solve_upper(double *x, const double *l, size_t count) {
    for (size_t i = count; i-- > 0;) {
        x[i] /= l[i * count + i];
        for (size_t j = 0; j < i; j++)
            x[j] -= l[i * count + j] * x[i];
    }
}

static triage_status keep(process *out, lesson *x, size_t pivots) {
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_calloc(&out->at, pivots, sizeof *out->at));
    TRI_TRY(tri_calloc(&out->l, pivots * pivots, sizeof *out->l));
    for (size_t i = 0; i < pivots; i++) {
        memcpy(out->at[i], x->of[x->pivot[i]].at, sizeof(point));
        memcpy(out->l + i * pivots, x->l + x->pivot[i] * x->most, (i + 1) * sizeof *out->l);
    }
    factor(x->a, pivots);
    solve_lower(x->right, x->a, pivots);
    solve_upper(x->right, x->a, pivots);
    solve_upper(x->right, out->l, pivots);
    out->c = x->a;
    out->weights = x->right;
    out->pivots = pivots;
    x->a = x->right = NULL;
done:
    return status;
}

static triage_status learn(tri_predictor *p, process *out, const sample *of, size_t count) {
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

static int by_kernel_and_problem(const void *left, const void *right) {
    const sample *a = left, *b = right;
    if (a->kernel != b->kernel)
        return a->kernel < b->kernel ? -1 : 1;
    if (a->problem != b->problem)
        return a->problem < b->problem ? -1 : 1;
    return a->name < b->name ? -1 : a->name > b->name;
}

triage_status tri_predictor_fit(tri_predictor *p) {
    triage_status status = TRIAGE_OK;
    if (p->count > 1)
        qsort(p->samples, p->count, sizeof *p->samples, by_kernel_and_problem);
    for (size_t from = 0, to; from < p->count; from = to) {
        for (to = from + 1; to < p->count && p->samples[to].kernel == p->samples[from].kernel;)
            to++;
        TRI_TRY(learn(p, &p->kernels[p->samples[from].kernel], p->samples + from, to - from));
    }
done:
    return status;
}

void tri_predictor_describe(tri_predictor_facts *out, const tri_predictor *p) {
    *out = (tri_predictor_facts){
        .samples = p->count, .problems = p->problem_count, .kernels = p->kernel_count, .fit_work = p->work};
    for (size_t i = 0; i < p->kernel_count; i++)
        out->pivots += p->kernels[i].pivots;
}

bool tri_predictor_speaks(const tri_predictor *p) {
    return p->count >= SAMPLES_WANTED && p->problem_count >= PROBLEMS_WANTED;
}

/* ---- asking ---- */

typedef struct asking {
    const tri_predictor *of;
    point at;
    double covariances[TRI_PREDICTOR_PIVOTS], other[TRI_PREDICTOR_PIVOTS];
    int64_t work;
} asking;

static void ask_pivots(asking *x, const process *kernel) {
    for (size_t i = 0; i < kernel->pivots; i++)
        x->covariances[i] = covariance(x->at, kernel->at[i]);
    x->work += (int64_t)(kernel->pivots * 2 * TRI_FEATURES_MAX);
}

/* What the pivots leave open, and what the times leave open of them. */
static double deviation(asking *x, const process *kernel) {
    const size_t count = kernel->pivots;
    ask_pivots(x, kernel);
    solve_lower(x->covariances, kernel->l, count);
    const double rest = covariance(x->at, x->at) - dot(x->covariances, x->covariances, count);
    memcpy(x->other, x->covariances, count * sizeof *x->other);
    solve_lower(x->other, kernel->c, count);
    x->work += (int64_t)(count * (count + 2));
    return sqrt(fmax(0, rest) + dot(x->other, x->other, count));
}

/* Keeps the most promising, the best first. */
static void insert(tri_predictions *out, const tri_prediction *item) {
    size_t at = out->count < TRI_PREDICTIONS_MOST ? out->count++ : TRI_PREDICTIONS_MOST;
    for (; at > 0 && item->ns < out->items[at - 1].ns; at--)
        if (at < TRI_PREDICTIONS_MOST)
            out->items[at] = out->items[at - 1];
    if (at < TRI_PREDICTIONS_MOST)
        out->items[at] = *item;
}

static int by_caution(const void *left, const void *right) {
    const tri_prediction *a = left, *b = right;
    const double x = log(a->ns) + a->spread, y = log(b->ns) + b->spread;
    if (x != y)
        return x < y ? -1 : 1;
    return a->point < b->point ? -1 : a->point > b->point;
}

static const process *process_of(const tri_predictor *p, const char *config) {
    const size_t at = find_kernel(p, config);
    return at < p->kernel_count && p->kernels[at].pivots > 0 ? &p->kernels[at] : NULL;
}

/* Deviations are asked of those only that the means prefer. */
static void weigh(tri_predictions *out, asking *x, const tri_problem *problem, const tri_device_info *info,
                  const tri_configs *configs) {
    size_t kept = 0;
    for (size_t i = 0; i < out->count; i++) {
        tri_prediction item = out->items[i];
        const char *config = configs->text[item.point];
        place(x->at, &item.cost, x->of, problem, config, info);
        item.spread = deviation(x, process_of(x->of, config));
        item.expected_loss = fmin(1, LOSS_OF_SPREAD * item.spread);
        if (item.spread <= SPREAD_MOST)
            out->items[kept++] = item;
    }
    out->count = kept;
    if (kept > 1)
        qsort(out->items, kept, sizeof *out->items, by_caution);
}

triage_status tri_predict(tri_predictions *out, const tri_predictor *p, const tri_problem *problem,
                          const tri_device_info *info, const tri_configs *configs) {
    asking *x = NULL;
    triage_status status = TRIAGE_OK;
    *out = (tri_predictions){0};
    if (problem->op != p->op || !tri_predictor_speaks(p))
        return TRIAGE_OK;
    TRI_TRY(tri_calloc(&x, 1, sizeof *x));
    x->of = p;
    for (size_t i = 0; i < configs->count; i++) {
        const process *kernel = process_of(p, configs->text[i]);
        tri_prediction item = {.point = i};
        if (!kernel || !place(x->at, &item.cost, p, problem, configs->text[i], info))
            continue;
        ask_pivots(x, kernel);
        item.ns = item.cost.guess_ns * exp(dot(x->covariances, kernel->weights, kernel->pivots));
        if (isfinite(item.ns) && item.ns > 0)
            insert(out, &item);
    }
    weigh(out, x, problem, info, configs);
    out->work = x->work;
done:
    free(x);
    return status;
}
