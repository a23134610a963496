#include "cli/tune/list.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/common/common.h"
#include "cli/common/fleet.h"
#include "evidence/lookup.h"
#include "evidence/pretuned.h"
#include "measure/ahead.h"

#define LEAST_S 1.0 /* a problem with less is not begun */
/* What is lost where a lookup does not say: by a near problem's kernel, by the space's default. They only order the list. */
#define LOSS_OF_NEAREST 0.5
#define LOSS_OF_DEFAULT 1.0

typedef struct item {
    size_t at; /* in the file, from 0 */
    double loss;
} item;

typedef struct list {
    const tri_cli_list *options;
    tri_cli_specs specs;
    item *items; /* in the order in which they are tuned */
    tri_device_info info;
} list;

typedef struct line {
    tri_cli_problem problem;
    json_t *texts;
    uint64_t seed;
} line;

static void close_line(line *l) {
    tri_cli_problem_free(&l->problem);
    json_decref(l->texts);
}

static triage_status open_line(line *out, const char *spec) {
    tri_cli_problem_options given;
    *out = (line){0};
    const triage_status status = tri_cli_problem_of_job(&out->problem, &given, &out->texts, spec);
    out->seed = given.seed;
    return status;
}

/* ---- what saves most comes first ---- */

typedef struct layers {
    tri_store *own, *shipped; /* NULL: there is none */
} layers;

static triage_status open_layers(layers *out, const list *l) {
    const tri_tune_options *tune = l->options->tune;
    triage_status status = TRIAGE_OK;
    if (tune->db_path && access(tune->db_path, F_OK) == 0)
        TRI_TRY(tri_store_open(&out->own, tune->db_path, TRI_STORE_READ));
    TRI_TRY(tri_pretuned_open(&out->shipped, &l->info, tune->data_dir, tune->log));
done:
    return status;
}

/* The part of a call's time that tuning is expected to save. */
static triage_status find_loss(double *out, const list *l, const layers *in, const char *spec) {
    const tri_tune_options *tune = l->options->tune;
    const tri_space_options where = {.data_dir = tune->data_dir, .path = tune->space_path};
    tri_space *space = NULL;
    tri_found found = {0};
    line of = {0};
    triage_status status = TRIAGE_OK;
    TRI_TRY(open_line(&of, spec));
    if (l->info.cc == 0 && !of.problem.dtype_given)
        tri_cli_problem_for_host(&of.problem);
    TRI_TRY(tri_space_open(&space, of.problem.problem.op, &where));
    TRI_TRY(tri_lookup(&found, in->own, space, &of.problem.problem, &l->info, tune->data_dir));
    if (in->shipped)
        TRI_TRY(tri_lookup_below(&found, in->shipped, space, &of.problem.problem, &l->info, tune->data_dir));
    *out = found.expected_loss >= 0                ? found.expected_loss
           : found.source == TRIAGE_SOURCE_NEAREST ? LOSS_OF_NEAREST
                                                   : LOSS_OF_DEFAULT;
done:
    tri_found_free(&found);
    tri_space_free(space);
    close_line(&of);
    return status;
}

static int by_loss(const void *a, const void *b) {
    const item *x = a, *y = b;
    if (x->loss != y->loss)
        return x->loss > y->loss ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

static triage_status order(list *l) {
    layers in = {0};
    triage_status status = TRIAGE_OK;
    TRI_TRY(open_layers(&in, l));
    for (size_t i = 0; i < l->specs.count; i++)
        if (find_loss(&l->items[i].loss, l, &in, l->specs.specs[i]) != TRIAGE_OK)
            l->items[i].loss = LOSS_OF_DEFAULT; /* its own turn tells what is wrong with it */
    qsort(l->items, l->specs.count, sizeof *l->items, by_loss);
done:
    tri_store_close(in.own);
    tri_store_close(in.shipped);
    return status;
}

/* ---- compiling ahead ---- */

/* A tri_ahead_fn. What goes wrong here goes wrong once more where it is told of. */
static void compile(void *user, size_t i, volatile const int *begun) {
    const list *l = user;
    tri_tune_options options = *l->options->tune;
    tri_tune_result result = {.winner = -1};
    line of = {0};
    if (*options.interrupted)
        return;
    if (open_line(&of, l->specs.specs[l->items[i].at]) == TRIAGE_OK) {
        options.compile_only = true;
        options.for_device = &l->info;
        options.overtaken = begun;
        options.seed = of.seed;
        options.time_limit_s = 0;
        options.log = NULL;
        options.watch = NULL;
        (void)tri_tune_run(&result, &of.problem.problem, tri_cli_pattern(&of.problem), &options, NULL, NULL);
        tri_tune_result_free(&result);
    }
    close_line(&of);
}

/* On the CPU compilers would be in the times; and where no process is to be had, it goes without. */
static void start_ahead(tri_ahead *ahead, list *l) {
    if (l->options->tune->compile_only || l->info.cc == 0 || l->specs.count < 2)
        return;
    if (tri_ahead_start(ahead, l->specs.count, compile, l) != TRIAGE_OK && !l->options->quiet)
        tri_cli_error("nothing is compiled ahead: %s", triage_last_error());
}

/* ---- all of them ---- */

static triage_status open_list(list *out, const tri_cli_list *options) {
    const tri_tune_options *tune = options->tune;
    triage_status status = TRIAGE_OK;
    out->options = options;
    TRI_TRY(tri_cli_read_shapes(&out->specs, options->path));
    TRI_TRY(tri_calloc(&out->items, out->specs.count, sizeof *out->items));
    for (size_t i = 0; i < out->specs.count; i++)
        out->items[i].at = i;
    if (tune->compile_only)
        goto done;
    TRI_TRY(tri_tune_describe(&out->info, tune));
    if (options->limit_s > 0)
        TRI_TRY(order(out));
done:
    return status;
}

static void close_list(list *l) {
    tri_cli_specs_free(&l->specs);
    free(l->items);
}

static triage_status run_line(const list *l, size_t i) {
    const size_t number = l->items[i].at + 1;
    const char *spec = l->specs.specs[l->items[i].at];
    line of = {0};
    triage_status status = TRIAGE_OK;
    if (!l->options->quiet)
        tri_cli_error("%zu of %zu: %s", i + 1, l->specs.count, spec);
    TRI_TRY(open_line(&of, spec));
    l->options->tune->seed = of.seed;
    TRI_TRY(l->options->one(l->options->user, &of.problem, number));
done:
    close_line(&of);
    if (status == TRIAGE_OK)
        return status;
    char message[512];
    snprintf(message, sizeof message, "%s", triage_last_error());
    return tri_fail(status, "problem %zu of %s: %s", number, l->options->path, message);
}

/* Of the next problem: its own limit, or what is left of the list's; false: too little. */
static bool allot(const list *l, double each_s, int64_t start_ns) {
    const double limit_s = l->options->limit_s, left_s = limit_s - (double)(tri_now_ns() - start_ns) / 1e9;
    l->options->tune->time_limit_s = limit_s > 0 && (each_s == 0 || left_s < each_s) ? left_s : each_s;
    return limit_s == 0 || left_s >= LEAST_S;
}

static triage_status run_lines(size_t *left, const list *l, tri_ahead *ahead, int64_t start_ns) {
    const double each_s = l->options->tune->time_limit_s;
    triage_status first = TRIAGE_OK;
    char message[600] = "";
    for (size_t i = 0; i < l->specs.count; i++) {
        *left = l->specs.count - i;
        if (!allot(l, each_s, start_ns))
            break;
        tri_ahead_begin(ahead, i);
        const triage_status status = run_line(l, i);
        --*left;
        if (status != TRIAGE_OK && (first == TRIAGE_OK || status == TRIAGE_E_INTERRUPTED)) {
            first = status;
            snprintf(message, sizeof message, "%s", triage_last_error());
        }
        if (status == TRIAGE_E_INTERRUPTED)
            break;
    }
    return first == TRIAGE_OK ? TRIAGE_OK : tri_fail(first, "%s", message);
}

triage_status tri_cli_tune_list(size_t *left, const tri_cli_list *options) {
    const int64_t start_ns = tri_now_ns();
    list l = {0};
    tri_ahead ahead = {0};
    triage_status status = TRIAGE_OK;
    *left = 0;
    options->tune->interrupted = tri_cli_catch_interrupts();
    TRI_TRY(open_list(&l, options));
    start_ahead(&ahead, &l);
    status = run_lines(left, &l, &ahead, start_ns);
done:
    tri_ahead_end(&ahead);
    close_list(&l);
    return status;
}
