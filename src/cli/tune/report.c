#include "cli/tune/report.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli/common/common.h"
#include "cli/common/problem.h"

#define ROWS_SHOWN 20
#define RATE 32
#define WIDE_PERCENT 2.0
#define NARROW 150 /* columns of a window that has no room for all */

static bool is_timed(const tri_tune_row *row) {
    return !row->compiled && (row->evidence.outcome == TRI_RIGHT || row->evidence.outcome == TRI_SLOW);
}

/* FLOP a nanosecond are GFLOP a second. */
static const char *rate(char out[RATE], double flops, double ns) {
    double gflops = ns > 0 ? flops / ns : 0;
    if (gflops >= 1000)
        snprintf(out, RATE, "%.4g TFLOP/s", gflops / 1000);
    else
        snprintf(out, RATE, "%.4g GFLOP/s", gflops);
    return out;
}

static double half_width_percent(const tri_measurement *row) {
    return row->median_ns > 0 ? 50 * (row->high_ns - row->low_ns) / row->median_ns : 0;
}

static bool is_busy(const tri_measurement *row) {
    return tri_circumstances_are_busy(row->circumstances);
}

/* Sampled to its end and known to no better than 2 % all the same: a noisy device. */
static bool is_wide(const tri_measurement *row) {
    return row->outcome == TRI_RIGHT && half_width_percent(row) > WIDE_PERCENT;
}

void tri_cli_tune_line(char *out, size_t size, const tri_problem *problem, const tri_tune_row *row) {
    const tri_measurement *m = &row->evidence;
    char time[TRI_CLI_NUMBER], speed[RATE];
    if (row->compiled)
        snprintf(out, size, "compiled, %" PRId64 " registers", m->registers);
    else if (is_timed(row))
        snprintf(out, size, "%s +-%.1f %%  %s%s", tri_cli_time(time, m->median_ns), half_width_percent(m),
                 rate(speed, tri_problem_flops(problem), m->median_ns),
                 m->outcome == TRI_SLOW ? "  (slow: stopped early)" : "");
    else
        snprintf(out, size, "%s: %s", tri_outcome_name(m->outcome), m->reason);
}

/* A line of text, in the next ones where it is longer than the window. */
static void say(const tri_cli_tune_view *view, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(const tri_cli_tune_view *view, const char *format, ...) {
    char line[4096];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    tri_cli_print_within(stdout, line, 4, view->width);
}

/* ---- tables ------------------------------------------------------------------------------------------- */

/* A narrow window has the columns that decide; --wide, --json and a wide one have the rest, too. */
static bool is_narrow(const tri_cli_tune_view *view) {
    return view->width > 0 && view->width < NARROW;
}

/* Of a timed row, of a candidate's or the dense product's: from the median on. */
static triage_status add_times_cells(tri_cli_table *table, const tri_cli_tune_view *view,
                                     const tri_measurement *m) {
    char time[TRI_CLI_NUMBER], useful[RATE], dense[RATE];
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_cli_table_cell(table, "%s", tri_cli_time(time, m->median_ns)));
    TRI_TRY(tri_cli_table_cell(table, "%.1f %%", half_width_percent(m)));
    TRI_TRY(tri_cli_table_cell(table, "%s", rate(useful, tri_problem_flops(view->problem), m->median_ns)));
    if (is_narrow(view))
        return TRIAGE_OK;
    TRI_TRY(
        tri_cli_table_cell(table, "%s", rate(dense, tri_problem_dense_flops(view->problem), m->median_ns)));
    TRI_TRY(tri_cli_table_cell(table, "%.1e of %.1e", m->row_error, m->row_error_limit));
done:
    return status;
}

static size_t shown_rows(const tri_cli_tune_view *view) {
    const tri_tune_result *result = view->result;
    size_t count = 0;
    while (count < result->count &&
           (view->compile_only ? result->rows[count].compiled : is_timed(&result->rows[count])))
        count++;
    return count;
}

static triage_status measured_row(tri_cli_table *table, const tri_cli_tune_view *view, size_t i) {
    const tri_tune_row *row = &view->result->rows[i];
    const tri_measurement *m = &row->evidence;
    bool slow = m->outcome == TRI_SLOW;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_cli_table_row(table, i < view->result->tie_set ? TRI_STYLE_GOOD
                                     : slow                    ? TRI_STYLE_DIM
                                                               : TRI_STYLE_NONE));
    TRI_TRY(tri_cli_table_cell(table, "%zu", i + 1));
    TRI_TRY(tri_cli_table_cell(table, "%s", m->config));
    TRI_TRY(add_times_cells(table, view, m));
    TRI_TRY(tri_cli_table_cell(table, "%s%s%s%s", slow ? "slow" : m->stage, row->from_store ? ", known" : "",
                               is_busy(m) ? ", busy" : "", is_wide(m) ? ", wide" : ""));
done:
    return status;
}

/* ---- the dense product: in its place among the candidates, without a rank, and in words ---- */

static bool dense_is_timed(const tri_tune_dense *dense) {
    return dense->measured && dense->evidence.outcome == TRI_RIGHT;
}

static triage_status dense_row(tri_cli_table *table, const tri_cli_tune_view *view) {
    const tri_tune_dense *dense = &view->result->dense;
    const tri_measurement *m = &dense->evidence;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_cli_table_row(table, TRI_STYLE_DIM));
    TRI_TRY(tri_cli_table_cell(table, "-"));
    TRI_TRY(tri_cli_table_cell(table, "dense %s", m->compiler));
    TRI_TRY(add_times_cells(table, view, m));
    TRI_TRY(tri_cli_table_cell(table, "dense%s", dense->from_store ? ", known" : ""));
done:
    return status;
}

/* "faster" and "slower" are the dense product's, beyond noise. */
static const char *dense_standing(const tri_measurement *dense, const tri_measurement *winner) {
    if (tri_measurement_ties(winner, dense))
        return "tie";
    return dense->median_ns < winner->median_ns ? "faster" : "slower";
}

static void print_dense(const tri_cli_tune_view *view) {
    const tri_tune_result *result = view->result;
    const tri_tune_dense *dense = &result->dense;
    const tri_measurement *m = &dense->evidence;
    const tri_measurement *winner = result->winner >= 0 ? &result->rows[result->winner].evidence : NULL;
    char time[TRI_CLI_NUMBER], beside[128] = "";
    if (dense->reason[0])
        say(view, "dense: not measured (%s)\n", dense->reason);
    if (!dense->measured)
        return;
    if (!dense_is_timed(dense)) {
        say(view, "dense %s: %s: %s\n", m->compiler, tri_outcome_name(m->outcome), m->reason);
        return;
    }
    if (winner && strcmp(dense_standing(m, winner), "tie") == 0)
        snprintf(beside, sizeof beside, ": as fast as the winner, within noise");
    else if (winner && m->median_ns < winner->median_ns)
        snprintf(beside, sizeof beside,
                 ": faster than this block-sparse kernel by %.3g times at this density",
                 winner->median_ns / m->median_ns);
    else if (winner)
        snprintf(beside, sizeof beside, ": the winner is %.3g times as fast",
                 m->median_ns / winner->median_ns);
    say(view, "dense %s: %s +-%.1f %%%s\n", m->compiler, tri_cli_time(time, m->median_ns),
        half_width_percent(m), beside);
}

static triage_status compiled_row(tri_cli_table *table, const tri_cli_tune_view *view, size_t i) {
    const tri_tune_row *row = &view->result->rows[i];
    const tri_measurement *m = &row->evidence;
    char smem[TRI_CLI_NUMBER];
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_cli_table_row(table, TRI_STYLE_NONE));
    TRI_TRY(tri_cli_table_cell(table, "%s", m->config));
    TRI_TRY(tri_cli_table_cell(table, "%" PRId64, m->registers));
    TRI_TRY(tri_cli_table_cell(table, "%" PRId64, m->spill_bytes));
    TRI_TRY(tri_cli_table_cell(table, "%s", tri_cli_bytes(smem, m->smem_bytes)));
    if (row->compile_ms > 0)
        TRI_TRY(tri_cli_table_cell(table, "%.0f ms", row->compile_ms));
    else
        TRI_TRY(tri_cli_table_cell(table, "cached"));
done:
    return status;
}

/* What the window has room for: a row takes two lines in a narrow one, and other lines follow. */
static size_t rows_wanted(const tri_cli_tune_view *view) {
    enum { OTHERS = 12, LEAST = 5 };
    const size_t room = view->height > OTHERS ? (view->height - OTHERS) / (is_narrow(view) ? 2 : 1) : 0;
    const size_t rows = room < LEAST ? LEAST : room;
    return view->height == 0 || rows > ROWS_SHOWN ? ROWS_SHOWN : rows;
}

static triage_status print_rows(const tri_cli_tune_view *view) {
    static const tri_cli_column measured[] = {
        {"rank", true},   {"config", false},          {"median", true},         {"+-", true},
        {"useful", true}, {"dense-equivalent", true}, {"error of limit", true}, {"from", false}};
    static const tri_cli_column narrow[] = {{"rank", true}, {"config", false}, {"median", true},
                                            {"+-", true},   {"useful", true},  {"from", false}};
    static const tri_cli_column compiled[] = {{"config", false},
                                              {"registers", true},
                                              {"spilled B", true},
                                              {"shared memory", true},
                                              {"compile", true}};
    tri_cli_table *table = NULL;
    size_t count = shown_rows(view), limit = view->verbose || view->compile_only ? count : rows_wanted(view);
    triage_status status = TRIAGE_OK;
    if (view->compile_only)
        TRI_TRY(tri_cli_table_new(&table, compiled, sizeof compiled / sizeof compiled[0]));
    else if (is_narrow(view))
        TRI_TRY(tri_cli_table_new(&table, narrow, sizeof narrow / sizeof narrow[0]));
    else
        TRI_TRY(tri_cli_table_new(&table, measured, sizeof measured / sizeof measured[0]));
    bool dense = !view->compile_only && dense_is_timed(&view->result->dense); /* still to come */
    for (size_t i = 0; i < count && i < limit; i++) {
        if (dense && view->result->dense.evidence.median_ns < view->result->rows[i].evidence.median_ns) {
            TRI_TRY(dense_row(table, view));
            dense = false;
        }
        TRI_TRY(view->compile_only ? compiled_row(table, view, i) : measured_row(table, view, i));
    }
    if (dense)
        TRI_TRY(dense_row(table, view));
    if (count > 0)
        tri_cli_table_print_within(table, stdout, view->color, view->width);
    if (count > limit)
        say(view, "... and %zu more that were right (--verbose shows all)\n", count - limit);
done:
    tri_cli_table_free(table);
    return status;
}

/* ---- failures, grouped by what happened ------------------------------------------------------------------ */

static bool is_failure(const tri_tune_row *row) {
    return !row->compiled && !is_timed(row);
}

static bool same_failure(const tri_tune_row *a, const tri_tune_row *b) {
    return a->evidence.outcome == b->evidence.outcome && strcmp(a->evidence.reason, b->evidence.reason) == 0;
}

static void print_failures(const tri_cli_tune_view *view) {
    const tri_tune_result *result = view->result;
    for (size_t i = 0; i < result->count; i++) {
        const tri_tune_row *row = &result->rows[i];
        size_t same = 0;
        bool first = is_failure(row);
        for (size_t j = 0; j < result->count && first; j++) {
            if (!is_failure(&result->rows[j]) || !same_failure(row, &result->rows[j]))
                continue;
            first = j >= i;
            same++;
        }
        if (first)
            say(view, "%zu %s: %s (%s%s)\n", same, tri_outcome_name(row->evidence.outcome),
                row->evidence.reason, row->evidence.config, same > 1 ? ", ..." : "");
    }
}

/* What the words "wide" and "busy" of the table mean for who reads it. */
static void print_doubts(const tri_cli_tune_view *view) {
    const tri_tune_result *result = view->result;
    size_t wide = 0;
    for (size_t i = 0; i < result->count; i++)
        wide += is_timed(&result->rows[i]) && is_wide(&result->rows[i].evidence);
    if (wide > 0)
        say(view, "wide: %zu times are known to no better than +-%.0f %%: the device was noisy\n", wide,
            WIDE_PERCENT);
    if (result->busy > 0)
        say(view,
            "busy: %zu times were taken while other programs were on the device; they rank below quiet "
            "ones, and "
            "the next run that finds it quiet takes them again\n",
            result->busy);
}

static void print_winner(const tri_cli_tune_view *view) {
    const tri_tune_result *result = view->result;
    char line[160];
    if (result->winner < 0)
        return;
    const tri_tune_row *winner = &result->rows[result->winner];
    tri_cli_tune_line(line, sizeof line, view->problem, winner);
    say(view, "winner: %s  %s\n", winner->evidence.config, line);
    if (result->tie_set > 1)
        say(view, "within noise of it: %zu more\n", result->tie_set - 1);
}

triage_status tri_cli_tune_print(const tri_cli_tune_view *view) {
    const tri_tune_result *result = view->result;
    triage_status status = TRIAGE_OK;
    say(view, "%s\n%s (%s)\n", result->problem_key, result->device.name, result->device.target);
    TRI_TRY(print_rows(view));
    print_failures(view);
    if (result->left_out > 0)
        say(view, "%zu not judged, for trouble of this machine: %s\n", result->left_out, result->trouble);
    if (!view->compile_only)
        print_doubts(view);
    print_winner(view);
    print_dense(view);
    if (result->answered_from_store && !view->compile_only)
        say(view, "all %zu candidates were known: answered from the database in %.1f s\n", result->count,
            result->elapsed_s);
    else
        say(view, "%zu of %zu configurations in %.1f s (strategy %s, compiling %.1f s)%s%s\n", result->count,
            result->space_size, result->elapsed_s, result->strategy, result->compile_s,
            result->interrupted   ? ", interrupted"
            : result->out_of_time ? ", time limit reached"
            : result->ended[0]    ? ", ended: "
                                  : "",
            result->interrupted || result->out_of_time ? "" : result->ended);
done:
    return status;
}

/* ---- JSON --------------------------------------------------------------------------------------------------- */

static void add_times(json_t *out, const tri_measurement *m) {
    json_object_set_new(out, "median_ns", json_real(m->median_ns));
    json_object_set_new(out, "low_ns", json_real(m->low_ns));
    json_object_set_new(out, "high_ns", json_real(m->high_ns));
    json_object_set_new(out, "min_ns", json_real(m->min_ns));
    json_object_set_new(out, "samples", json_integer(m->samples));
    json_object_set_new(out, "cold_l2", json_boolean(m->cold_l2));
}

static void add_errors(json_t *out, const tri_measurement *m) {
    json_object_set_new(out, "row_error", json_real(m->row_error));
    json_object_set_new(out, "row_error_limit", json_real(m->row_error_limit));
}

static json_t *json_row(const tri_cli_tune_view *view, size_t i) {
    const tri_tune_row *row = &view->result->rows[i];
    const tri_measurement *m = &row->evidence;
    bool timed = is_timed(row);
    json_t *out = json_pack("{s:s, s:s, s:s, s:s, s:b, s:s}", "config", m->config, "kernel", m->kernel,
                            "outcome", row->compiled ? "compiled" : tri_outcome_name(m->outcome), "reason",
                            m->reason, "known", (int)row->from_store, "source_hash", m->source_hash);
    if (!out)
        return NULL;
    json_object_set_new(out, "registers", json_integer(m->registers));
    json_object_set_new(out, "spill_bytes", json_integer(m->spill_bytes));
    json_object_set_new(out, "smem_bytes", json_integer(m->smem_bytes));
    json_object_set_new(out, "compile_ns", json_integer((json_int_t)(row->compile_ms * 1e6)));
    if (!timed)
        return out;
    json_object_set_new(out, "rank", json_integer((json_int_t)i + 1));
    json_object_set_new(out, "stage", json_string(m->stage));
    json_object_set_new(out, "busy", json_boolean(is_busy(m)));
    json_object_set_new(out, "wide", json_boolean(is_wide(m)));
    add_times(out, m);
    json_object_set_new(out, "useful_flops_per_s",
                        json_real(tri_problem_flops(view->problem) / m->median_ns * 1e9));
    json_object_set_new(out, "dense_equivalent_flops_per_s",
                        json_real(tri_problem_dense_flops(view->problem) / m->median_ns * 1e9));
    add_errors(out, m);
    json_object_set_new(out, "circumstances", json_loads(m->circumstances, 0, NULL));
    return out;
}

/* null: nobody asked for it (--compile-only). */
static json_t *json_dense(const tri_tune_result *result) {
    const tri_tune_dense *dense = &result->dense;
    const tri_measurement *m = &dense->evidence;
    if (!dense->measured)
        return dense->reason[0] ? json_pack("{s:b, s:s}", "measured", 0, "reason", dense->reason)
                                : json_null();
    json_t *out =
        json_pack("{s:b, s:s, s:s, s:s, s:b}", "measured", 1, "library", m->compiler, "outcome",
                  tri_outcome_name(m->outcome), "reason", m->reason, "known", (int)dense->from_store);
    if (!out || !dense_is_timed(dense))
        return out;
    add_times(out, m);
    add_errors(out, m);
    if (result->winner < 0)
        return out;
    const tri_measurement *winner = &result->rows[result->winner].evidence;
    json_object_set_new(out, "standing", json_string(dense_standing(m, winner)));
    json_object_set_new(out, "winner_over_dense", json_real(winner->median_ns / m->median_ns));
    return out;
}

/* null: it starts with what the strategy alone would begin with. */
static json_t *json_known(const tri_warm_start *known) {
    json_t *configs = json_array(), *donors = json_array();
    for (size_t i = 0; i < known->count; i++)
        json_array_append_new(configs, json_string(known->configs[i]));
    for (size_t i = 0; i < known->donor_count; i++)
        json_array_append_new(donors, json_pack("{s:s, s:f}", "problem", known->donors[i].key, "distance",
                                                known->donors[i].distance));
    if (known->count > 0)
        return json_pack("{s:s, s:s?, s:o, s:o, s:I}", "layer", known->layer, "device_name",
                         known->device_name, "configs", configs, "donors", donors, "predicted",
                         (json_int_t)known->predicted);
    json_decref(configs);
    json_decref(donors);
    return json_null();
}

static json_t *json_device(const tri_tune_result *result) {
    const tri_device_info *info = &result->device;
    return json_pack("{s:s, s:s, s:s, s:s, s:i}", "key", result->device_key, "name", info->name, "backend",
                     info->backend, "target", info->target, "driver_version", info->driver_version);
}

triage_status tri_cli_tune_json(const tri_cli_tune_view *view) {
    const tri_tune_result *result = view->result;
    json_t *document = tri_cli_json_new(view->compile_only ? "compile" : "tune"), *rows = json_array();
    for (size_t i = 0; i < result->count; i++)
        json_array_append_new(rows, json_row(view, i));
    const char *winner = result->winner >= 0 ? result->rows[result->winner].evidence.config : NULL;
    json_object_set_new(document, "version", json_string(TRIAGE_VERSION));
    json_object_set_new(document, "problem", json_string(result->problem_key));
    if (view->number)
        json_object_set_new(document, "number", json_integer((json_int_t)view->number));
    tri_cli_problem_json(document, view->problem);
    json_object_set_new(document, "useful_flops", json_real(tri_problem_flops(view->problem)));
    json_object_set_new(document, "least_bytes", json_real(tri_problem_bytes(view->problem)));
    json_object_set_new(document, "device", json_device(result));
    json_object_set_new(document, "seed", json_integer((json_int_t)view->seed));
    json_object_set_new(document, "strategy", json_string(result->strategy));
    json_object_set_new(document, "ended", result->ended[0] ? json_string(result->ended) : json_null());
    json_object_set_new(document, "starts_with", json_known(&result->warm_start));
    json_object_set_new(document, "space_size", json_integer((json_int_t)result->space_size));
    json_object_set_new(document, "database", view->db_path ? json_string(view->db_path) : json_null());
    json_object_set_new(document, "answered_from_store", json_boolean(result->answered_from_store));
    json_object_set_new(document, "left_out", json_integer((json_int_t)result->left_out));
    json_object_set_new(document, "trouble", result->trouble[0] ? json_string(result->trouble) : json_null());
    json_object_set_new(document, "interrupted", json_boolean(result->interrupted));
    json_object_set_new(document, "out_of_time", json_boolean(result->out_of_time));
    json_object_set_new(document, "elapsed_ns", json_integer((json_int_t)(result->elapsed_s * 1e9)));
    json_object_set_new(document, "compile_ns", json_integer((json_int_t)(result->compile_s * 1e9)));
    json_object_set_new(document, "winner", winner ? json_string(winner) : json_null());
    json_object_set_new(document, "tie_set", json_integer((json_int_t)result->tie_set));
    json_object_set_new(document, "dense", json_dense(result));
    json_object_set_new(document, "rows", rows);
    return tri_cli_json_print(document);
}
