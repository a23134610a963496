/* The table and the JSON of triage_bench. A contestant without a verified product has no number in either. */
#include <stdlib.h>
#include <string.h>

#include "cli/bench/bench.h"
#include "cli/common/problem.h"

/* triage itself. */
static bool is_self(const tri_contestant *c) {
    return c->type->family == NULL;
}

bool tri_contestant_has_number(const tri_contestant *c) {
    return (c->result == TRI_VERIFIED || c->result == TRI_OVER_BOUND) && c->timing.median_ns > 0;
}

const char *tri_contest_result_name(tri_contest_result result) {
    static const char *const names[] = {"absent", "wrong", "over bound", "verified"};
    return names[result];
}

/* The fastest contestant but triage that has a number; dense_too: those that multiply the zeros as well. */
static const tri_contestant *best_peer(const tri_contestant *contestants, size_t count, bool dense_too) {
    const tri_contestant *best = NULL;
    for (size_t i = 0; i < count; i++) {
        const tri_contestant *c = &contestants[i];
        if (is_self(c) || !tri_contestant_has_number(c) || (c->type->dense && !dense_too))
            continue;
        if (!best || c->timing.median_ns < best->timing.median_ns)
            best = c;
    }
    return best;
}

double tri_contestant_tflops(const tri_contestant *c, const tri_problem *problem) {
    return tri_problem_flops(problem) / c->timing.median_ns / 1e3;
}

/* Of the gate: the same for all that it has looked at. */
static double error_limit(const tri_contestant *contestants, size_t count) {
    double limit = 0;
    for (size_t i = 0; i < count; i++)
        limit = contestants[i].row_error_limit > limit ? contestants[i].row_error_limit : limit;
    return limit;
}

static double tflops(double flops, const tri_contestant *c) {
    return flops / c->timing.median_ns / 1e3;
}

/* Half the median's 95 % interval, in percent of the median. */
static double spread_percent(const tri_contestant *c) {
    return 50 * tri_timing_width(&c->timing);
}

/* ---- the table ---- */

#define NARROW 150 /* columns of a window that has no room for all */

static const tri_cli_column columns[] = {
    {"", false},
    {"ms", true},
    {"+-", true},
    {"useful TFLOP/s", true},
    {"dense-equivalent", true},
    {"time / triage", true},
    {"row error", true},
    {"result", false},
    {"", false},
};
static const tri_cli_column narrow_columns[] = {
    {"", false},         {"ms", true},      {"+-", true}, {"useful TFLOP/s", true}, {"time / triage", true},
    {"row error", true}, {"result", false},
};

static bool is_narrow(size_t width) {
    return width > 0 && width < NARROW;
}

static const char *words_of(const tri_contestant *c) {
    return c->reason[0] ? c->reason : c->detail;
}

/* What was measured of it. */
static triage_status add_numbers(tri_cli_table *table, const tri_contestant *c, const tri_arena *arena,
                                 double reference_ns, bool narrow) {
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_cli_table_cell(table, "%.4f", c->timing.median_ns / 1e6));
    TRI_TRY(tri_cli_table_cell(table, "%.1f %%", spread_percent(c)));
    TRI_TRY(tri_cli_table_cell(table, "%.4g", tflops(tri_problem_flops(&arena->problem), c)));
    if (!narrow)
        TRI_TRY(tri_cli_table_cell(table, "%.4g", tflops(tri_problem_dense_flops(&arena->problem), c)));
    TRI_TRY(reference_ns > 0 ? tri_cli_table_cell(table, "%.2f", c->timing.median_ns / reference_ns)
                             : tri_cli_table_cell(table, "-"));
    TRI_TRY(tri_cli_table_cell(table, "%.2e", c->row_error));
done:
    return status;
}

static triage_status add_row(tri_cli_table *table, const tri_contestant *c, const tri_arena *arena,
                             double reference_ns, bool narrow) {
    triage_status status = TRIAGE_OK;
    const bool shown = tri_contestant_has_number(c);
    TRI_TRY(tri_cli_table_row(table, is_self(c) ? TRI_STYLE_BOLD : shown ? TRI_STYLE_NONE : TRI_STYLE_DIM));
    TRI_TRY(tri_cli_table_cell(table, "%s", c->type->name));
    if (shown)
        TRI_TRY(add_numbers(table, c, arena, reference_ns, narrow));
    for (int i = 0; i < (narrow ? 5 : 6) && !shown; i++)
        TRI_TRY(tri_cli_table_cell(table, "-"));
    TRI_TRY(tri_cli_table_cell(table, "%s", tri_contest_result_name(c->result)));
    if (!narrow)
        TRI_TRY(tri_cli_table_cell(table, "%s", words_of(c)));
done:
    return status;
}

static void print_ratio(const tri_contestant *self, const tri_contestant *peer, const char *what) {
    if (self && peer)
        printf("triage is %.2f times as fast as the best %s, %s\n",
               peer->timing.median_ns / self->timing.median_ns, what, peer->type->name);
}

static void print_limit(const tri_contestant *self, const tri_limit *limit, size_t width) {
    char line[512], reached[64] = "";
    if (self)
        snprintf(reached, sizeof reached, "; triage reaches %.1f %% of it",
                 100 * limit->ns / self->timing.median_ns);
    if (limit->ns <= 0)
        snprintf(line, sizeof line,
                 "limit: the ceilings of this device are not known (--ceilings states them)");
    else
        snprintf(line, sizeof line, "limit: %.4f ms by %s, at %.4g TFLOP/s and %.3g TB/s (%s ceilings)%s",
                 limit->ns / 1e6, strcmp(limit->bound, "memory") == 0 ? "memory" : "arithmetic",
                 limit->flops_per_s / 1e12, limit->bytes_per_s / 1e12, limit->source, reached);
    tri_cli_print_within(stdout, line, 4, width);
}

/* What a narrow table has no room for. */
static void print_words(const tri_contest_report *r, size_t width) {
    char line[600];
    for (size_t i = 0; i < r->count; i++) {
        snprintf(line, sizeof line, "%s: %s", r->contestants[i].type->name, words_of(&r->contestants[i]));
        tri_cli_print_within(stdout, line, 4, width);
    }
}

static triage_status print_table(const tri_contest_report *r, const tri_contestant *self, bool no_color,
                                 size_t width) {
    const bool narrow = is_narrow(width);
    tri_cli_table *table = NULL;
    triage_status status = TRIAGE_OK;
    TRI_TRY(narrow ? tri_cli_table_new(&table, narrow_columns, sizeof narrow_columns / sizeof *narrow_columns)
                   : tri_cli_table_new(&table, columns, sizeof columns / sizeof *columns));
    for (size_t i = 0; i < r->count; i++)
        TRI_TRY(add_row(table, &r->contestants[i], r->arena, self ? self->timing.median_ns : 0, narrow));
    tri_cli_table_print_within(table, stdout, tri_cli_color(stdout, no_color), width);
    if (narrow)
        print_words(r, width);
done:
    tri_cli_table_free(table);
    return status;
}

triage_status tri_contest_print(const tri_contest_report *r, bool no_color, size_t width) {
    const tri_contestant *self = tri_contestant_has_number(&r->contestants[0]) ? &r->contestants[0] : NULL,
                         *sparse = best_peer(r->contestants, r->count, false),
                         *any = best_peer(r->contestants, r->count, true);
    char *key = NULL;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_problem_key(&key, &r->arena->problem));
    printf("%s\n", triage_context_device_name(r->arena->context));
    tri_cli_print_within(stdout, key, 4, width);
    TRI_TRY(print_table(r, self, no_color, width));
    printf("error bound of the gate: row error at most %.2e (twice the plain kernel's)\n",
           error_limit(r->contestants, r->count));
    print_ratio(self, sparse, "sparse peer");
    if (any != sparse)
        print_ratio(self, any, "peer, dense ones included");
    print_limit(self, r->limit, width);
    tri_profile_print(r->profile);
done:
    free(key);
    return status;
}

/* ---- JSON ---- */

static json_t *timing_json(const tri_contestant *c, const tri_arena *arena) {
    json_t *samples = json_array();
    for (int64_t i = 0; i < c->timing.samples; i++)
        json_array_append_new(samples, json_real(c->ns[i]));
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:o}", "median_ns", c->timing.median_ns, "low_ns",
                     c->timing.low_ns, "high_ns", c->timing.high_ns, "min_ns", c->timing.min_ns,
                     "useful_tflops", tflops(tri_problem_flops(&arena->problem), c),
                     "dense_equivalent_tflops", tflops(tri_problem_dense_flops(&arena->problem), c),
                     "samples_ns", samples);
}

static json_t *contestant_json(const tri_contestant *c, const tri_arena *arena) {
    json_t *row = json_pack("{s:s, s:s, s:s, s:b, s:s}", "name", c->type->name, "detail", c->detail, "result",
                            tri_contest_result_name(c->result), "dense", c->type->dense, "reason", c->reason);
    if (tri_contestant_has_number(c)) {
        json_object_set_new(row, "row_error", json_real(c->row_error));
        json_object_set_new(row, "row_error_limit", json_real(c->row_error_limit));
    }
    json_object_set_new(row, "timing", tri_contestant_has_number(c) ? timing_json(c, arena) : json_null());
    return row;
}

static void set_ratio(json_t *document, const char *name, const tri_contestant *self,
                      const tri_contestant *peer) {
    if (self && peer)
        json_object_set_new(document, name,
                            json_pack("{s:s, s:f}", "peer", peer->type->name, "speedup",
                                      peer->timing.median_ns / self->timing.median_ns));
    else
        json_object_set_new(document, name, json_null());
}

static json_t *circumstances_json(const tri_arena *arena) {
    char *text = NULL;
    json_t *parsed = NULL;
    if (tri_device_circumstances(&text, arena->context->device) == TRIAGE_OK)
        parsed = json_loads(text, 0, NULL);
    free(text);
    return parsed ? parsed : json_null();
}

static json_t *number_or_null(double value) {
    return value > 0 ? json_real(value) : json_null();
}

static json_t *limit_json(const tri_limit *limit, const tri_contestant *self) {
    bool known = limit->ns > 0;
    return json_pack("{s:s, s:s?, s:o, s:o, s:o, s:o, s:o, s:o}", "source", limit->source, "bound",
                     limit->bound, "flops_per_s", number_or_null(limit->flops_per_s), "bytes_per_s",
                     number_or_null(limit->bytes_per_s), "compute_ns", number_or_null(limit->compute_ns),
                     "memory_ns", number_or_null(limit->memory_ns), "ns", number_or_null(limit->ns), "share",
                     self && known ? json_real(limit->ns / self->timing.median_ns) : json_null());
}

triage_status tri_contest_json(json_t **out, const tri_contest_report *r) {
    triage_status status = TRIAGE_OK;
    char *key = NULL, *device_key = NULL;
    const tri_contestant *contestants = r->contestants;
    const size_t count = r->count;
    const tri_arena *arena = r->arena;
    const tri_device_info *info = tri_device_describe(arena->context->device);
    const tri_contestant *self = tri_contestant_has_number(&contestants[0]) ? &contestants[0] : NULL;
    TRI_TRY(tri_problem_key(&key, &arena->problem));
    TRI_TRY(tri_device_key(&device_key, info));
    json_t *document = tri_cli_json_new("triage_bench"), *rows = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(rows, contestant_json(&contestants[i], arena));
    json_object_set_new(document, "problem", json_string(key));
    tri_cli_problem_json(document, &arena->problem);
    json_object_set_new(document, "useful_flops", json_real(tri_problem_flops(&arena->problem)));
    json_object_set_new(document, "dense_flops", json_real(tri_problem_dense_flops(&arena->problem)));
    json_object_set_new(document, "least_bytes", json_real(tri_problem_bytes(&arena->problem)));
    json_object_set_new(document, "device", json_string(device_key));
    json_object_set_new(document, "device_name", json_string(info->name));
    json_object_set_new(document, "driver", json_integer(info->driver_version));
    json_object_set_new(document, "version", json_string(TRIAGE_VERSION));
    json_object_set_new(document, "circumstances", circumstances_json(arena));
    json_object_set_new(document, "seed", json_integer((json_int_t)r->seed));
    json_object_set_new(document, "cold_l2", json_boolean(r->cold));
    json_object_set_new(document, "row_error_bound", json_real(error_limit(contestants, count)));
    json_object_set_new(document, "contestants", rows);
    set_ratio(document, "against_best_sparse", self, best_peer(contestants, count, false));
    set_ratio(document, "against_best", self, best_peer(contestants, count, true));
    json_object_set_new(document, "limit", limit_json(r->limit, self));
    if (r->profile->count > 0)
        json_object_set_new(document, "profile", tri_profile_json(r->profile));
    *out = document;
done:
    free(device_key);
    free(key);
    return status;
}
