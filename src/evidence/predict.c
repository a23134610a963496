#include "evidence/predict_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Below that a few chance problems would speak for all. */
#define SAMPLES_WANTED 100
#define PROBLEMS_WANTED 8
/* An answer as uncertain as that is none. */
#define SPREAD_MOST 0.5
/* What is not known of two configurations is more alike than the model holds, half of a deviation wide: so savings that are
 * expected are in the mean those that were found, on four sets of problems each told by the others (docs/search.md). */
#define DOUBT 0.5
/* What the bare guess of costs loses in the median of the drawn problems: another architecture's evidence may be worth no more. */
#define LOSS_OF_OTHERS 0.09

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

void tri_predict_free_process(tri_predict_process *process) {
    free(process->at);
    free(process->weights);
    free(process->l);
    free(process->c);
}

void tri_predictor_free(tri_predictor *p) {
    if (!p)
        return;
    for (size_t i = 0; i < p->problem_count; i++)
        free(p->problems[i]);
    for (size_t i = 0; i < p->kernel_count; i++)
        tri_predict_free_process(&p->kernels[i]);
    free(p->problems);
    free(p->last_of);
    free(p->before);
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

static bool take_kernel(uint64_t *at, tri_predictor *p, const char *config) {
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
static triage_status take_problem(uint64_t *at, tri_predictor *p, const char *key) {
    triage_status status = TRIAGE_OK;
    for (*at = p->problem_count; *at > 0; --*at) {
        if (strcmp(p->problems[*at - 1], key) == 0) {
            --*at;
            return TRIAGE_OK;
        }
    }
    TRI_TRY(tri_grow(&p->problems, &p->problem_capacity, p->problem_count, sizeof *p->problems, "problems"));
    TRI_TRY(tri_grow(&p->last_of, &p->last_capacity, p->problem_count, sizeof *p->last_of, "problems"));
    TRI_TRY(tri_strdup(&p->problems[p->problem_count], key));
    p->last_of[p->problem_count] = 0;
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

static bool has_sample(const tri_predictor *p, const tri_predict_sample *item) {
    uint64_t at = p->last_of[item->problem];
    while (at && p->samples[at - 1].name != item->name)
        at = p->before[at - 1];
    return at != 0;
}

/* In scales from the middle. False: nothing can be said of it. */
static bool place(tri_predict_point at, tri_cost *cost, const tri_predictor *p, const tri_problem *problem,
                  const char *config, const tri_device_info *info) {
    memset(at, 0, sizeof(tri_predict_point));
    if (!p->op->cost(cost, problem, config, info) || !(cost->guess_ns > 0) || !isfinite(cost->guess_ns))
        return false;
    for (size_t i = 0; i < p->features; i++) {
        const double z = (cost->features[i] - p->op->features[i].middle) / p->op->features[i].scale;
        if (!isfinite(z))
            return false;
        at[i] = (float)fmin(TRI_PREDICT_FARTHEST, fmax(-TRI_PREDICT_FARTHEST, z));
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
    tri_predict_sample item = {.name = name_of(config)};
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
    TRI_TRY(tri_grow(&p->before, &p->before_capacity, p->count, sizeof *p->before, "times"));
    p->before[p->count] = p->last_of[item.problem];
    p->samples[p->count++] = item;
    p->last_of[item.problem] = p->count;
done:
    return status;
}

void tri_predictor_is_of_others(tri_predictor *p) {
    p->of_others = true;
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

#define POOL 12 /* of the best by their means, whose deviations are asked */

/* One of them. */
typedef struct weighed {
    tri_prediction item;
    const tri_predict_process *kernel;
    tri_predict_point at;
    double known[TRI_PREDICTOR_PIVOTS], open[TRI_PREDICTOR_PIVOTS]; /* of what pivots tell, and leave */
} weighed;

typedef struct asking {
    const tri_predictor *of;
    tri_predict_point at;
    double covariances[TRI_PREDICTOR_PIVOTS];
    weighed pool[POOL];
    size_t count;
    int64_t work;
} asking;

/* The mean of the logarithm of time / guess. */
static double mean(asking *x, const tri_predict_process *kernel) {
    double sum = kernel->base;
    for (size_t i = 0; i < kernel->pivots; i++)
        x->covariances[i] = tri_predict_local(x->at, kernel->at[i]);
    for (size_t i = 0; i < TRI_FEATURES_MAX; i++)
        sum += kernel->slope[i] * (double)x->at[i];
    x->work += (int64_t)(kernel->pivots * (TRI_FEATURES_MAX + 1));
    return sum + tri_predict_dot(x->covariances, kernel->weights, kernel->pivots);
}

/* What two share that is not known: the pivots leave something open, and the times leave something open of them. */
static double covariance_of(const weighed *a, const weighed *b) {
    const size_t count = a->kernel->pivots;
    if (a->kernel != b->kernel)
        return 0;
    return tri_predict_covariance(a->at, b->at) - tri_predict_dot(a->known, b->known, count) +
           tri_predict_dot(a->open, b->open, count);
}

static void weigh_one(asking *x, weighed *w) {
    const size_t count = w->kernel->pivots;
    for (size_t i = 0; i < count; i++)
        w->known[i] = tri_predict_covariance(w->at, w->kernel->at[i]);
    tri_predict_solve(w->known, w->kernel->l, count);
    memcpy(w->open, w->known, count * sizeof *w->open);
    tri_predict_solve(w->open, w->kernel->c, count);
    w->item.spread = sqrt(fmax(0, covariance_of(w, w)));
    w->item.is_of_others = x->of->of_others;
    x->work += (int64_t)(count * (2 * TRI_FEATURES_MAX + count + 2));
}

/* Keeps the most promising, the best first. */
static void insert(asking *x, const tri_prediction *item, const tri_predict_process *kernel) {
    size_t at = x->count < POOL ? x->count++ : POOL;
    for (; at > 0 && item->ns < x->pool[at - 1].item.ns; at--)
        if (at < POOL) {
            x->pool[at].item = x->pool[at - 1].item;
            x->pool[at].kernel = x->pool[at - 1].kernel;
            memcpy(x->pool[at].at, x->pool[at - 1].at, sizeof x->at);
        }
    if (at == POOL)
        return;
    x->pool[at].item = *item;
    x->pool[at].kernel = kernel;
    memcpy(x->pool[at].at, x->at, sizeof x->at);
}

static double caution(const tri_prediction *item) {
    return log(item->ns) + item->spread;
}

static int by_caution(const void *left, const void *right) {
    const tri_prediction *a = &((const weighed *)left)->item, *b = &((const weighed *)right)->item;
    const double x = caution(a), y = caution(b);
    if (x != y)
        return x < y ? -1 : 1;
    return a->point < b->point ? -1 : a->point > b->point;
}

static const tri_predict_process *process_of(const tri_predictor *p, const char *config) {
    const size_t at = find_kernel(p, config);
    return at < p->kernel_count && p->kernels[at].pivots > 0 ? &p->kernels[at] : NULL;
}

/* ---- what a tune would save ---- */

/* Logarithms of the first ones' times, and what of them is not known. */
typedef struct beliefs {
    double log_ns[TRI_PREDICTIONS_MOST], covariance[TRI_PREDICTIONS_MOST][TRI_PREDICTIONS_MOST];
    size_t count;
} beliefs;

static void believe(beliefs *out, asking *x) {
    out->count = x->count < TRI_PREDICTIONS_MOST ? x->count : TRI_PREDICTIONS_MOST;
    for (size_t i = 0; i < out->count; i++) {
        out->log_ns[i] = log(x->pool[i].item.ns);
        for (size_t j = 0; j <= i; j++)
            out->covariance[i][j] = out->covariance[j][i] =
                DOUBT * DOUBT * covariance_of(&x->pool[i], &x->pool[j]);
        x->work += (int64_t)((i + 1) * 2 * (x->pool[i].kernel->pivots + TRI_FEATURES_MAX));
    }
}

/* Of b's lead over a and c's over a. */
static double shared_lead(const beliefs *of, size_t a, size_t b, size_t c) {
    return of->covariance[a][a] - of->covariance[a][b] - of->covariance[a][c] + of->covariance[b][c];
}

/* The greatest lead of any other over this one, of the logarithms, in the mean and at least 0: each in turn may lead by more than
 * those before it. The greater of two normal variables is taken for normal again (Clark 1961). */
static double expected_lead(const beliefs *of, size_t self) {
    double mean = 0, variance = 0, shared[TRI_PREDICTIONS_MOST] = {0};
    for (size_t i = 0; i < of->count; i++) {
        if (i == self)
            continue;
        const double lead = of->log_ns[self] - of->log_ns[i], own = shared_lead(of, self, i, i);
        const double apart = sqrt(fmax(1e-12, variance + own - 2 * shared[i])), z = (mean - lead) / apart;
        const double before = 0.5 * erfc(-z * 0.70710678118654752),
                     both = apart * 0.39894228040143268 * exp(-0.5 * z * z);
        const double square =
            (mean * mean + variance) * before + (lead * lead + own) * (1 - before) + (mean + lead) * both;
        mean = mean * before + lead * (1 - before) + both;
        variance = fmax(0, square - mean * mean);
        for (size_t j = 0; j < of->count; j++)
            shared[j] = shared[j] * before + shared_lead(of, self, i, j) * (1 - before);
    }
    return mean;
}

static void expect_losses(asking *x) {
    beliefs first;
    believe(&first, x);
    for (size_t i = 0; i < first.count; i++)
        x->pool[i].item.expected_loss =
            fmin(1, 1 - exp(-expected_lead(&first, i)) + (x->of->of_others ? LOSS_OF_OTHERS : 0));
}

/* Deviations, which are most of the work, are asked of those only that the means prefer. */
static void weigh(tri_predictions *out, asking *x, bool with_rivals) {
    const size_t most = with_rivals ? POOL : TRI_PREDICTIONS_MOST;
    size_t kept = 0;
    for (size_t i = 0; i < x->count && i < most; i++) {
        weigh_one(x, &x->pool[i]);
        if (x->pool[i].item.spread > SPREAD_MOST)
            continue;
        if (kept != i)
            x->pool[kept] = x->pool[i];
        kept++;
    }
    x->count = kept;
    if (kept > 1)
        qsort(x->pool, kept, sizeof *x->pool, by_caution);
    expect_losses(x);
    for (size_t i = 0; i < kept && i < TRI_PREDICTIONS_MOST; i++)
        out->items[out->count++] = x->pool[i].item;
}

/* By how much b is faster than a in the mean over what is not known, where it is faster: of the logarithms. */
static double gain(const weighed *a, const weighed *b) {
    const double less = log(a->item.ns) - log(b->item.ns);
    const double spread =
        sqrt(fmax(1e-12, covariance_of(a, a) + covariance_of(b, b) - 2 * covariance_of(a, b)));
    const double z = less / spread;
    return less * 0.5 * erfc(-z * 0.70710678118654752) + spread * 0.39894228040143268 * exp(-0.5 * z * z);
}

/* Each next one is that which promises most beside those that are chosen, whichever of them is the hardest to beat. */
static void choose_rivals(tri_predictions *out, const asking *x) {
    size_t chosen[1 + TRI_RIVALS] = {0}, count = x->count > 0;
    while (count > 0 && count <= TRI_RIVALS && count < x->count) {
        double most = -INFINITY;
        for (size_t i = 1; i < x->count; i++) {
            double least = INFINITY;
            for (size_t c = 0; c < count; c++)
                least = fmin(least, chosen[c] == i ? -INFINITY : gain(&x->pool[chosen[c]], &x->pool[i]));
            if (least > most) {
                most = least;
                chosen[count] = i;
            }
        }
        out->rivals[out->rival_count++] = x->pool[chosen[count++]].item;
    }
}

/* Of one configuration; 0: nothing can be told. */
static double expect(tri_cost *cost, asking *x, const tri_problem *problem, const char *config,
                     const tri_device_info *info) {
    const tri_predict_process *kernel = process_of(x->of, config);
    if (!kernel || !place(x->at, cost, x->of, problem, config, info))
        return 0;
    const double ns = cost->guess_ns * exp(mean(x, kernel));
    return isfinite(ns) && ns > 0 ? ns : 0;
}

triage_status tri_predict_all(double *ns, const tri_predictor *p, const tri_problem *problem,
                              const tri_device_info *info, const tri_configs *configs) {
    asking *x = NULL;
    triage_status status = tri_calloc(&x, 1, sizeof *x);
    if (status != TRIAGE_OK)
        return status;
    x->of = p;
    for (size_t i = 0; i < configs->count; i++) {
        tri_cost cost;
        ns[i] = problem->op == p->op ? expect(&cost, x, problem, configs->text[i], info) : 0;
    }
    free(x);
    return TRIAGE_OK;
}

triage_status tri_predict(tri_predictions *out, const tri_predictor *p, const tri_problem *problem,
                          const tri_device_info *info, const tri_configs *configs, bool with_rivals) {
    asking *x = NULL;
    triage_status status = TRIAGE_OK;
    *out = (tri_predictions){0};
    if (problem->op != p->op || !tri_predictor_speaks(p))
        return TRIAGE_OK;
    TRI_TRY(tri_calloc(&x, 1, sizeof *x));
    x->of = p;
    for (size_t i = 0; i < configs->count; i++) {
        tri_prediction item = {.point = i};
        item.ns = expect(&item.cost, x, problem, configs->text[i], info);
        if (item.ns > 0)
            insert(x, &item, process_of(p, configs->text[i]));
    }
    weigh(out, x, with_rivals);
    if (with_rivals)
        choose_rivals(out, x);
    out->work = x->work;
done:
    free(x);
    return status;
}
