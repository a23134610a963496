/* What prediction costs, by leaving out: each problem of which at least LEAST_TIMES configurations were timed is predicted
 * from all others, and its own times tell the loss: time of the predicted choice / the least time - 1.
 *
 *     gunzip -c docs/results/2026-11-30-h200-notebook-untuned.jsonl.gz > drawn.jsonl
 *     build/bin/bench_predict drawn.jsonl db/pretuned/nvidia-h200.jsonl
 *
 * One line a problem, then the summary. With --half the even problems are predicted from the odd ones and the other way
 * round. With --held FILE, first, those of that file are predicted from the other files, none of them from another of it. A
 * file may also be one of times (db/pretuned/NAME.times). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "evidence/predict.h"
#include "store/store.h"

enum { LEAST_TIMES = 8 };
#define WITHIN 1.05

typedef struct timing {
    char *problem, *config;
    double ns;
    tri_device_info info;
    bool is_held; /* of the file that --held names */
} timing;

typedef struct timings {
    timing *items;
    size_t count, capacity;
} timings;

static int by_problem(const void *left, const void *right) {
    const timing *a = left, *b = right;
    const int order = strcmp(a->problem, b->problem);
    return order ? order : strcmp(a->config, b->config);
}

/* Takes the timing's texts. Searches compare with one another; races only where there is nothing else. */
static triage_status add(timings *list, const timing *item, bool is_search) {
    triage_status status = TRIAGE_OK;
    for (size_t i = 0; i < list->count; i++) {
        timing *old = &list->items[i];
        if (strcmp(old->config, item->config) == 0 && strcmp(old->problem, item->problem) == 0) {
            if (is_search)
                old->ns = item->ns;
            goto done;
        }
    }
    TRI_TRY(tri_grow(&list->items, &list->capacity, list->count, sizeof *list->items, "times"));
    list->items[list->count++] = *item;
    return TRIAGE_OK;
done:
    free(item->problem);
    free(item->config);
    return status;
}

static triage_status add_line(timings *list, const char *line, bool is_held) {
    tri_measurement row = {0};
    triage_status status = TRIAGE_OK;
    timing item = {.is_held = is_held};
    TRI_TRY(tri_measurement_from_json(&row, line));
    if (strncmp(row.problem, "bsr_gemm ", 9) != 0 || (row.outcome != TRI_RIGHT && row.outcome != TRI_SLOW))
        goto done;
    TRI_TRY(tri_device_parse(&item.info, row.device));
    TRI_TRY(tri_strdup(&item.problem, row.problem));
    TRI_TRY(tri_strdup(&item.config, row.config));
    item.ns = row.median_ns;
    TRI_TRY(add(list, &item, strcmp(row.stage, "search") == 0));
done:
    tri_measurement_clear(&row);
    return status;
}

/* A file of times, as docs/times.py writes it: the lines before say what one of them is of. */
typedef struct times_file {
    const char *configs[4096], *problem;
    size_t count;
    tri_device_info info;
} times_file;

static triage_status add_time(timings *list, times_file *file, const char *line, bool is_held) {
    triage_status status = TRIAGE_OK;
    timing item = {.info = file->info, .is_held = is_held};
    char *rest = NULL;
    if (strncmp(line, "config ", 7) == 0 && file->count < sizeof file->configs / sizeof *file->configs)
        file->configs[file->count++] = line + 7;
    else if (strncmp(line, "problem ", 8) == 0)
        file->problem = line + 8;
    else if (strncmp(line, "device ", 7) == 0)
        TRI_TRY(tri_device_parse(&file->info, line + 7));
    else {
        const size_t config = strtoul(line, &rest, 10);
        if (config >= file->count || !file->problem || *rest != ' ')
            return tri_fail(TRIAGE_E_DATA, "not a time: \"%s\"", line);
        item.ns = strtod(rest, NULL);
        TRI_TRY(tri_strdup(&item.problem, file->problem));
        TRI_TRY(tri_strdup(&item.config, file->configs[config]));
        TRI_TRY(add(list, &item, true));
    }
done:
    return status;
}

static triage_status read_file(timings *list, const char *path, bool is_held) {
    char *text = NULL, *rest = NULL;
    triage_status status = TRIAGE_OK;
    static times_file file;
    file = (times_file){0};
    TRI_TRY(tri_file_read(&text, NULL, path, (size_t)1 << 30));
    const bool is_times = strncmp(text, "triage times ", 13) == 0;
    char *line = strtok_r(text, "\n", &rest);
    for (line = is_times ? strtok_r(NULL, "\n", &rest) : line; line; line = strtok_r(NULL, "\n", &rest))
        TRI_TRY(is_times ? add_time(list, &file, line, is_held) : add_line(list, line, is_held));
done:
    free(text);
    return status;
}

/* ---- one left out ---- */

typedef struct outcome {
    double loss, raced_loss, saving, expected, seconds_fit, seconds_ask;
    double tried,
        tried_blindly; /* candidates until the best is within WITHIN, in the order of prediction or in a random one */
    int64_t work;
} outcome;

/* Which others a problem is predicted from: all, half of them, those that are not held. */
typedef enum others { ALL, HALF, NOT_HELD } others;

static triage_status teach(tri_predictor *p, const timings *all, size_t from, size_t to, others from_which,
                           size_t number) {
    triage_status status = TRIAGE_OK;
    size_t at = 0;
    for (size_t i = 0; i < all->count; i++) {
        at += i > 0 && strcmp(all->items[i].problem, all->items[i - 1].problem) != 0;
        if ((i >= from && i < to) || (from_which == HALF && at % 2 == number % 2) ||
            (from_which == NOT_HELD && all->items[i].is_held))
            continue;
        const timing *t = &all->items[i];
        TRI_TRY(tri_predictor_add(p, t->problem, t->config, t->ns, &t->info));
    }
    TRI_TRY(tri_predictor_fit(p, NULL));
done:
    return status;
}

/* Of this thread: other programs do not count. */
static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static double seconds_since(int64_t start) {
    return 1e-9 * (double)(now_ns() - start);
}

/* How many of a search that follows the prediction come before a good one, and of one that knows nothing, on average. */
static triage_status count_tried(outcome *out, const tri_predictor *p, const tri_problem *problem,
                                 const timing *of, const tri_configs *configs, double best) {
    triage_status status = TRIAGE_OK;
    double *ns = NULL, first = INFINITY, good = 0;
    TRI_TRY(tri_calloc(&ns, configs->count + 1, sizeof *ns));
    TRI_TRY(tri_predict_all(ns, p, problem, &of->info, configs));
    for (size_t i = 0; i < configs->count; i++) {
        good += of[i].ns <= WITHIN * best;
        if (of[i].ns <= WITHIN * best && ns[i] > 0)
            first = fmin(first, ns[i]);
    }
    for (size_t i = 0; i < configs->count; i++)
        out->tried += ns[i] <= first;
    out->tried_blindly = ((double)configs->count + 1) / (good + 1);
done:
    free(ns);
    return status;
}

static triage_status leave_out(outcome *out, const timings *all, size_t from, size_t to, others from_which,
                               size_t number) {
    triage_status status = TRIAGE_OK;
    tri_predictor *p = NULL;
    tri_predictions made;
    tri_configs configs = {.count = to - from};
    tri_problem problem;
    double best = INFINITY;
    *out = (outcome){.loss = -1};
    TRI_TRY(tri_problem_parse(&problem, all->items[from].problem));
    TRI_TRY(tri_predictor_new(&p, problem.op));
    int64_t start = now_ns();
    TRI_TRY(teach(p, all, from, to, from_which, number));
    out->seconds_fit = seconds_since(start);
    TRI_TRY(tri_calloc(&configs.text, configs.count, sizeof *configs.text));
    for (size_t i = from; i < to; i++) {
        configs.text[i - from] = all->items[i].config;
        best = fmin(best, all->items[i].ns);
    }
    start = now_ns();
    TRI_TRY(tri_predict(&made, p, &problem, &all->items[from].info, &configs, false));
    out->seconds_ask = seconds_since(start);
    out->work = made.work;
    TRI_TRY(tri_predict(&made, p, &problem, &all->items[from].info, &configs, true));
    TRI_TRY(count_tried(out, p, &problem, &all->items[from], &configs, best));
    if (made.count == 0)
        goto done;
    const size_t chosen = made.items[0].point;
    out->loss = all->items[from + chosen].ns / best - 1;
    out->raced_loss = out->loss;
    out->saving = 1 - best / all->items[from + chosen].ns;
    for (size_t i = 0; i < made.rival_count; i++)
        out->raced_loss = fmin(out->raced_loss, all->items[from + made.rivals[i].point].ns / best - 1);
    out->expected = made.items[0].expected_loss;
    printf("%6.1f %%  expected %4.1f %%  %8.2f us, predicted %8.2f, best %8.2f  %s: %s\n", 100 * out->loss,
           100 * out->expected, all->items[from + chosen].ns / 1e3, made.items[0].ns / 1e3, best / 1e3,
           all->items[from].problem, configs.text[chosen]);
done:
    free(configs.text);
    tri_predictor_free(p);
    return status;
}

/* ---- all ---- */

static int by_value(const void *left, const void *right) {
    const double a = *(const double *)left, b = *(const double *)right;
    return a < b ? -1 : a > b;
}

static void summarise(const outcome *of, size_t count) {
    double losses[4096], raced[4096], tried[4096], blind = 0, sum = 0, saving = 0, expected = 0, fit = 0,
                                                   ask = 0, work = 0;
    size_t known = 0;
    for (size_t i = 0; i < count; i++) {
        fit = fmax(fit, of[i].seconds_fit);
        ask = fmax(ask, of[i].seconds_ask);
        work = fmax(work, (double)of[i].work);
        if (of[i].loss < 0)
            continue;
        tried[known] = of[i].tried;
        raced[known] = of[i].raced_loss;
        blind += of[i].tried_blindly;
        losses[known++] = of[i].loss;
        sum += of[i].loss;
        saving += of[i].saving;
        expected += of[i].expected;
    }
    if (known == 0)
        return;
    qsort(losses, known, sizeof *losses, by_value);
    printf(
        "%zu problems left out, %zu not answered: loss median %.1f %%, 90th percentile %.1f %%, worst %.1f "
        "%%, mean %.1f %%; a tune saves %.1f %% in the mean, expected %.1f %%\n",
        count, count - known, 100 * losses[known / 2],
        100 * losses[(size_t)(0.9 * (double)(known - 1) + 0.5)], 100 * losses[known - 1],
        100 * sum / (double)known, 100 * saving / (double)known, 100 * expected / (double)known);
    qsort(raced, known, sizeof *raced, by_value);
    printf("the best of it and what would race it: median %.1f %%, 90th percentile %.1f %%, worst %.1f %%\n",
           100 * raced[known / 2], 100 * raced[(size_t)(0.9 * (double)(known - 1) + 0.5)],
           100 * raced[known - 1]);
    qsort(tried, known, sizeof *tried, by_value);
    printf("tried until within %.0f %%: in the order of prediction median %.0f, 90th percentile %.0f; in a "
           "random one %.1f in the "
           "mean\n",
           100 * (WITHIN - 1), tried[known / 2], tried[(size_t)(0.9 * (double)(known - 1) + 0.5)],
           blind / (double)known);
    printf("at most %.0f ms to learn, %.2f ms and %.1f million multiply-adds to answer\n", 1e3 * fit,
           1e3 * ask, work / 1e6);
}

/* Is any time of these from the file that is held? */
static bool is_held(const timings *all, size_t from, size_t to) {
    while (from < to && !all->items[from].is_held)
        from++;
    return from < to;
}

static triage_status leave_each_out(const timings *all, others from_which) {
    static outcome outcomes[4096];
    size_t count = 0, number = 0;
    triage_status status = TRIAGE_OK;
    for (size_t from = 0, to; from < all->count && count < 4096; from = to, number++) {
        for (to = from + 1; to < all->count && strcmp(all->items[to].problem, all->items[from].problem) == 0;)
            to++;
        if (to - from >= LEAST_TIMES && (from_which != NOT_HELD || is_held(all, from, to)))
            TRI_TRY(leave_out(&outcomes[count++], all, from, to, from_which, number));
    }
    summarise(outcomes, count);
done:
    return status;
}

int main(int argc, char **argv) {
    timings all = {0};
    triage_status status = TRIAGE_OK;
    const others from_which = argc > 1 && strcmp(argv[1], "--half") == 0   ? HALF
                              : argc > 1 && strcmp(argv[1], "--held") == 0 ? NOT_HELD
                                                                           : ALL;
    for (int i = 1 + (from_which != ALL); i < argc && status == TRIAGE_OK; i++)
        status = read_file(&all, argv[i], from_which == NOT_HELD && i == 2);
    if (all.count > 1)
        qsort(all.items, all.count, sizeof *all.items, by_problem);
    if (status == TRIAGE_OK)
        status = leave_each_out(&all, from_which);
    if (status != TRIAGE_OK)
        fprintf(stderr, "%s\n", triage_last_error());
    for (size_t i = 0; i < all.count; i++) {
        free(all.items[i].problem);
        free(all.items[i].config);
    }
    free(all.items);
    return status == TRIAGE_OK ? 0 : 1;
}
