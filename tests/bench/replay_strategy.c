/* Judges a search strategy on a recorded space (tests/data/replay): how many evaluations until the best found is
 * within a few percent of the optimum, over many seeds. No GPU is needed, and no time is measured.
 *
 *   build/bin/replay_strategy --strategy model --space tests/data/replay/conv_a4000.csv --seeds 100 --ahead 1
 */
#include <argp.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "replay.h"

typedef struct options {
    const char *strategy, *space, *prior, *data_dir;
    int64_t first_seed, seeds, ahead, limit, budget, prior_budget;
    double within, stop_gain;
    bool json, costs;
    triage_status status; /* of the numbers */
} options;

static const struct argp_option argp_options[] = {
    {"strategy", 's', "NAME", 0, "exhaustive, random, local, model, or a .lua file (default model)", 0},
    {"space", 'f', "FILE.csv", 0, "The recorded space; - is stdin", 0},
    {"seeds", 'n', "N", 0, "Runs, one a seed, up to 100000 (default 100)", 0},
    {"first-seed", 'F', "N", 0, "Of the first run; the others' follow (default 1)", 0},
    {"ahead", 'a', "K", 0, "Candidates under way at most, 1 to 10000 (default 1)", 0},
    {"within", 'w', "PERCENT", 0, "Of the optimum, 0 to 1000 (default 5)", 0},
    {"limit", 'l', "N", 0, "Evaluations after which a run counts as not there (default: the whole space)", 0},
    {"budget", 'b', "N", 0, "What the strategy is told of a budget; 0: none (default)", 0},
    {"stop-gain", 'g', "PERCENT", 0,
     "Let the strategy end where less is to be gained; then how good it was counts", 0},
    {"prior", 'p', "FILE.csv", 0, "The same space of another device: a search there is what is known here",
     0},
    {"prior-budget", 'B', "N", 0, "Evaluations of that search (default 150)", 0},
    {"costs", 'c', NULL, 0,
     "Tell the strategy what compiling took, as a search does that waits for compilers", 0},
    {"data-dir", 'd', "DIR", 0, "Read tuner/ from here (default: the one built in)", 0},
    {"json", 'j', NULL, 0, "One JSON object instead of a line", 0},
    {0}};

static void parse_number(options *o, int64_t *out, const char *text, int64_t low, int64_t high,
                         const char *name) {
    if (o->status == TRIAGE_OK)
        o->status = tri_parse_int64(out, text, low, high, name);
}

static void parse_percent(options *o, double *out, const char *text, const char *name) {
    if (o->status == TRIAGE_OK)
        o->status = tri_parse_double(out, text, 0, 1000, name);
}

static error_t parse_option(int key, char *argument, struct argp_state *state) {
    options *o = state->input;
    switch (key) {
    case 's':
        o->strategy = argument;
        break;
    case 'f':
        o->space = argument;
        break;
    case 'n':
        parse_number(o, &o->seeds, argument, 1, 100000, "--seeds");
        break;
    case 'F':
        parse_number(o, &o->first_seed, argument, 1, 1000000, "--first-seed");
        break;
    case 'a':
        parse_number(o, &o->ahead, argument, 1, 10000, "--ahead");
        break;
    case 'w':
        parse_percent(o, &o->within, argument, "--within");
        break;
    case 'l':
        parse_number(o, &o->limit, argument, 1, 1000000000, "--limit");
        break;
    case 'b':
        parse_number(o, &o->budget, argument, 0, 1000000000, "--budget");
        break;
    case 'g':
        parse_percent(o, &o->stop_gain, argument, "--stop-gain");
        break;
    case 'p':
        o->prior = argument;
        break;
    case 'B':
        parse_number(o, &o->prior_budget, argument, 1, 1000000000, "--prior-budget");
        break;
    case 'd':
        o->data_dir = argument;
        break;
    case 'c':
        o->costs = true;
        break;
    case 'j':
        o->json = true;
        break;
    case ARGP_KEY_END:
        if (!o->space)
            argp_error(state, "--space is wanted");
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static const struct argp parser = {.options = argp_options,
                                   .parser = parse_option,
                                   .doc = "Replays a search strategy on a recorded tuning space.\v"
                                          "Exit codes: 0 done, 64 wrong usage, 65 bad input data."};

typedef struct results {
    double *evaluations; /* [seeds]: until it was there; infinite: it never was */
    double *loss;        /* [seeds]: the best found over the optimum, less 1 */
    double *asked;       /* [seeds]: evaluations of the whole run */
    double *compile_s;   /* [seeds]: of what was asked until it was there, one after the other */
    double under_way, slowest_ms;
} results;

static int by_number(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The least value that this share of them does not exceed. They are sorted. */
static double quantile(const double *sorted, int64_t count, double share) {
    const int64_t at = (int64_t)ceil(share * (double)count) - 1;
    return sorted[at < 0 ? 0 : at];
}

/* ---- what another device knows ---- */

typedef struct prior {
    tri_prior *items;
    size_t count;
} prior;

static triage_status search_elsewhere(prior *out, const options *o, const replay *elsewhere, int64_t seed) {
    const tri_strategy_options there = {
        .data_dir = o->data_dir, .seed = (uint64_t)seed + 1000000, .budget = (size_t)o->prior_budget};
    replay_run run = {0};
    triage_status status = TRIAGE_OK;
    TRI_TRY(replay_search(&run, elsewhere, "model", &there, 1, 0, 0));
    TRI_TRY(tri_calloc(&out->items, run.count, sizeof *out->items));
    for (size_t i = 0; i < run.count; i++)
        out->items[out->count++] =
            (tri_prior){(size_t)run.proposals[i], elsewhere->median_ns[run.proposals[i]]};
done:
    replay_run_free(&run);
    return status;
}

/* ---- the runs ---- */

static triage_status run_seed(results *out, const options *o, const replay *data, const replay *elsewhere,
                              int64_t index) {
    const int64_t seed = o->first_seed + index;
    tri_strategy_options here = {.data_dir = o->data_dir,
                                 .seed = (uint64_t)seed,
                                 .budget = (size_t)o->budget,
                                 .stop_gain = o->stop_gain / 100};
    const double good_ns = data->best_ns * (1 + o->within / 100);
    replay_run run = {0};
    prior known = {0};
    triage_status status = TRIAGE_OK;
    if (elsewhere->configs.count > 0)
        TRI_TRY(search_elsewhere(&known, o, elsewhere, seed));
    here.prior = known.items;
    here.prior_count = known.count;
    TRI_TRY(replay_search(&run, data, o->strategy, &here, (size_t)o->ahead, (size_t)o->limit,
                          o->stop_gain > 0 ? 0 : good_ns));
    size_t at = 0;
    while (at < run.count &&
           !(data->median_ns[run.proposals[at]] >= 0 && data->median_ns[run.proposals[at]] <= good_ns))
        at++;
    out->evaluations[index] = at < run.count ? (double)at + 1 : INFINITY;
    for (size_t i = 0; i <= at && i < run.count; i++)
        out->compile_s[index] += data->compile_ms[run.proposals[i]] / 1e3;
    out->loss[index] = run.best_ns / data->best_ns - 1;
    out->asked[index] = (double)run.count;
    out->under_way += run.under_way / (double)o->seeds;
    out->slowest_ms = run.slowest_ms > out->slowest_ms ? run.slowest_ms : out->slowest_ms;
done:
    free(known.items);
    replay_run_free(&run);
    return status;
}

static triage_status run_all(results *out, const options *o, const replay *data, const replay *elsewhere) {
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_calloc(&out->evaluations, (size_t)o->seeds, sizeof(double)));
    TRI_TRY(tri_calloc(&out->loss, (size_t)o->seeds, sizeof(double)));
    TRI_TRY(tri_calloc(&out->asked, (size_t)o->seeds, sizeof(double)));
    TRI_TRY(tri_calloc(&out->compile_s, (size_t)o->seeds, sizeof(double)));
    for (int64_t i = 0; i < o->seeds; i++)
        TRI_TRY(run_seed(out, o, data, elsewhere, i));
    qsort(out->evaluations, (size_t)o->seeds, sizeof(double), by_number);
    qsort(out->loss, (size_t)o->seeds, sizeof(double), by_number);
    qsort(out->compile_s, (size_t)o->seeds, sizeof(double), by_number);
    qsort(out->asked, (size_t)o->seeds, sizeof(double), by_number);
done:
    return status;
}

/* ---- the report ---- */

static json_t *json_count(double value) {
    return isfinite(value) ? json_integer((json_int_t)value) : json_null();
}

static const char *base_name(const char *path) {
    const char *slash = path ? strrchr(path, '/') : NULL;
    return slash ? slash + 1 : path;
}

static void print_json(const results *r, const options *o, const replay *data) {
    json_t *out = json_pack("{s:s, s:s, s:s?, s:i, s:f, s:b, s:I, s:I, s:I, s:f, s:f}", "strategy",
                            o->strategy, "space", base_name(o->space), "prior", base_name(o->prior),
                            "configurations", (int)data->configs.count, "within_percent", o->within, "costs",
                            (int)o->costs, "first_seed", o->first_seed, "seeds", o->seeds, "ahead", o->ahead,
                            "under_way_mean", r->under_way, "slowest_proposal_ms", r->slowest_ms);
    json_object_set_new(out, "evaluations_median", json_count(quantile(r->evaluations, o->seeds, 0.5)));
    json_object_set_new(out, "evaluations_p90", json_count(quantile(r->evaluations, o->seeds, 0.9)));
    json_object_set_new(out, "compile_s_median", json_real(quantile(r->compile_s, o->seeds, 0.5)));
    if (o->stop_gain > 0) {
        json_object_set_new(out, "stop_gain_percent", json_real(o->stop_gain));
        json_object_set_new(out, "asked_median", json_count(quantile(r->asked, o->seeds, 0.5)));
        json_object_set_new(out, "asked_p90", json_count(quantile(r->asked, o->seeds, 0.9)));
        json_object_set_new(out, "loss_percent_median", json_real(100 * quantile(r->loss, o->seeds, 0.5)));
        json_object_set_new(out, "loss_percent_p90", json_real(100 * quantile(r->loss, o->seeds, 0.9)));
    }
    json_dumpf(out, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
    putchar('\n');
    json_decref(out);
}

static void print_line(const results *r, const options *o) {
    printf("%s on %s, %lld ahead: within %g %% after %g evaluations (median of %lld seeds), %g (90th "
           "percentile); %.1f "
           "under way, slowest proposal %.1f ms\n",
           o->strategy, base_name(o->space), (long long)o->ahead, o->within,
           quantile(r->evaluations, o->seeds, 0.5), (long long)o->seeds,
           quantile(r->evaluations, o->seeds, 0.9), r->under_way, r->slowest_ms);
    if (o->stop_gain > 0)
        printf("ends after %g evaluations (median), %g (90th percentile), %.2f %% (median), %.2f %% (90th "
               "percentile) "
               "behind the optimum\n",
               quantile(r->asked, o->seeds, 0.5), quantile(r->asked, o->seeds, 0.9),
               100 * quantile(r->loss, o->seeds, 0.5), 100 * quantile(r->loss, o->seeds, 0.9));
}

static triage_status run(const options *o) {
    replay data = {0}, elsewhere = {0};
    results found = {0};
    triage_status status = TRIAGE_OK;
    TRI_TRY(replay_open(&data, o->space));
    data.tells_costs = o->costs;
    if (o->prior)
        TRI_TRY(replay_open(&elsewhere, o->prior));
    if (o->prior && elsewhere.configs.count != data.configs.count)
        TRI_TRY(tri_fail(TRIAGE_E_DATA, "%s has %zu configurations and %s %zu: not the same space", o->prior,
                         elsewhere.configs.count, o->space, data.configs.count));
    TRI_TRY(run_all(&found, o, &data, &elsewhere));
    if (o->json)
        print_json(&found, o, &data);
    else
        print_line(&found, o);
done:
    free(found.evaluations);
    free(found.loss);
    free(found.asked);
    free(found.compile_s);
    replay_close(&data);
    replay_close(&elsewhere);
    return status;
}

int main(int argc, char **argv) {
    options o = {
        .strategy = "model", .first_seed = 1, .seeds = 100, .ahead = 1, .within = 5, .prior_budget = 150};
    argp_err_exit_status = 64;
    argp_parse(&parser, argc, argv, 0, NULL, &o);
    if (o.status != TRIAGE_OK) {
        fprintf(stderr, "replay_strategy: %s\n", triage_last_error());
        return 64;
    }
    if (run(&o) != TRIAGE_OK) {
        fprintf(stderr, "replay_strategy: %s\n", triage_last_error());
        return 65;
    }
    return 0;
}
