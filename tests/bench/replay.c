#include "replay.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RUNS_MAX 64

/* ---- reading ---- */

typedef struct columns {
    size_t axes; /* and the kernel's name, if there is one */
    bool has_kernels;
    size_t first_time;   /* the column; those after it are times, too */
    size_t compile_time; /* the column; 0: there is none */
} columns;

typedef struct table {
    columns columns;
    char **cells; /* [rows][axes], copies */
    size_t rows, capacity;
} table;

static bool is_time(const char *name) {
    char *end = NULL;
    return strcmp(name, "median_ms") == 0 ||
           (name[0] == 't' && strtol(name + 1, &end, 10) > 0 && strcmp(end, "_ms") == 0);
}

static triage_status read_header(columns *out, char *line) {
    char *rest = line;
    size_t at = 0;
    *out = (columns){0};
    for (char *name; (name = strsep(&rest, ",")); at++) {
        if (is_time(name) && out->first_time == 0)
            out->first_time = at;
        else if (strcmp(name, "compile_ms") == 0)
            out->compile_time = at;
        else if (!is_time(name)) {
            if (out->axes != at)
                return tri_fail(TRIAGE_E_DATA, "column %s stands behind the times: axes come first", name);
            out->has_kernels = out->has_kernels || (at == 0 && strcmp(name, "kernel") == 0);
            out->axes++;
        }
    }
    if (out->axes == 0 || out->first_time == 0)
        return tri_fail(TRIAGE_E_DATA,
                        "the header has %zu axes and no column median_ms or t1_ms: both are wanted",
                        out->axes);
    return TRIAGE_OK;
}

static int by_number(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The median of the times in a row's cells, in ns; negative: none. */
static triage_status read_time(double *ns, char *rest, size_t row) {
    double runs[RUNS_MAX];
    size_t count = 0;
    for (char *cell; (cell = strsep(&rest, ",")) && count < RUNS_MAX;) {
        char *end = NULL;
        if (!*cell)
            continue;
        runs[count++] = strtod(cell, &end);
        if (*end || !(runs[count - 1] > 0))
            return tri_fail(TRIAGE_E_DATA, "row %zu: the time %s is no positive number", row + 2, cell);
    }
    qsort(runs, count, sizeof *runs, by_number);
    *ns = count == 0 ? -1 : 1e6 * (runs[count / 2] + runs[(count - 1) / 2]) / 2;
    return TRIAGE_OK;
}

static triage_status read_row(table *t, double *ns, double *compile_ms, char *line) {
    triage_status status = TRIAGE_OK;
    char *rest = line;
    for (size_t i = 0; i < t->columns.first_time; i++) {
        const char *cell = strsep(&rest, ",");
        if (!cell || !rest)
            return tri_fail(TRIAGE_E_DATA, "row %zu has fewer cells than the header", t->rows + 2);
        if (i < t->columns.axes)
            TRI_TRY(tri_strdup(&t->cells[t->rows * t->columns.axes + i], cell));
        else if (i == t->columns.compile_time)
            *compile_ms = strtod(cell, NULL);
    }
    TRI_TRY(read_time(ns, rest, t->rows));
    t->rows++;
done:
    return status;
}

static triage_status grow_numbers(double **numbers, size_t capacity) {
    double *grown = realloc(*numbers, capacity * sizeof *grown);
    if (!grown)
        return tri_fail(TRIAGE_E_MEMORY, "out of memory for %zu rows", capacity);
    *numbers = grown;
    return TRIAGE_OK;
}

static triage_status grow(table *t, double **times, double **compile_times) {
    const size_t capacity = t->capacity ? 2 * t->capacity : 1024;
    char **cells = NULL;
    triage_status status = TRIAGE_OK;
    if (t->rows < t->capacity)
        return TRIAGE_OK;
    TRI_TRY(grow_numbers(times, capacity));
    TRI_TRY(grow_numbers(compile_times, capacity));
    if (!(cells = realloc(t->cells, capacity * t->columns.axes * sizeof *cells)))
        return tri_fail(TRIAGE_E_MEMORY, "out of memory for %zu rows", capacity);
    t->cells = cells;
    memset(t->cells + t->capacity * t->columns.axes, 0,
           (capacity - t->capacity) * t->columns.axes * sizeof *cells);
    t->capacity = capacity;
done:
    return status;
}

static triage_status read_table(table *t, double **times, double **compile_times, FILE *file) {
    triage_status status = TRIAGE_OK;
    char *line = NULL;
    size_t size = 0;
    while (getline(&line, &size, file) >= 0) {
        line[strcspn(line, "\r\n")] = '\0';
        if (t->columns.axes == 0) {
            TRI_TRY(read_header(&t->columns, line));
            continue;
        }
        TRI_TRY(grow(t, times, compile_times));
        (*compile_times)[t->rows] = 0;
        TRI_TRY(read_row(t, &(*times)[t->rows], &(*compile_times)[t->rows], line));
    }
    if (t->rows == 0)
        status = tri_fail(TRIAGE_E_DATA, "the recorded space has no rows: a header and a row are wanted");
done:
    free(line);
    return status;
}

/* ---- from texts to indexes ---- */

static const char *cell_at(const table *t, size_t row, size_t column) {
    return t->cells[row * t->columns.axes + column];
}

/* The rows of one kernel that have a value in one column. */
typedef struct selection {
    const table *table;
    size_t column, count;
    size_t *rows;
} selection;

static const char *selected(const selection *s, size_t i) {
    return cell_at(s->table, s->rows[i], s->column);
}

static bool are_integers(const selection *s) {
    for (size_t i = 0; i < s->count; i++) {
        char *end = NULL;
        (void)strtoll(selected(s, i), &end, 10);
        if (*end)
            return false;
    }
    return true;
}

static int by_integer(const void *a, const void *b) {
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Each value's rank among the distinct ones goes to its row's coordinate in column `at`. */
static triage_status index_integers(tri_configs *out, tri_scale *scale, const selection *s, size_t at) {
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_calloc(&scale->numbers, s->count, sizeof *scale->numbers));
    for (size_t i = 0; i < s->count; i++)
        scale->numbers[i] = strtoll(selected(s, i), NULL, 10);
    qsort(scale->numbers, s->count, sizeof *scale->numbers, by_integer);
    for (size_t i = 0; i < s->count; i++)
        if (i == 0 || scale->numbers[i] != scale->numbers[scale->count - 1])
            scale->numbers[scale->count++] = scale->numbers[i];
    for (size_t i = 0; i < s->count; i++) {
        const int64_t number = strtoll(selected(s, i), NULL, 10);
        const int64_t *found = bsearch(&number, scale->numbers, scale->count, sizeof number, by_integer);
        out->coordinates[s->rows[i] * out->axes + at] = (int32_t)(found - scale->numbers);
    }
done:
    return status;
}

static triage_status index_names(tri_configs *out, tri_scale *scale, const selection *s, size_t at) {
    triage_status status = TRIAGE_OK;
    const char **names = NULL;
    TRI_TRY(tri_calloc(&names, s->count + 1, sizeof *names));
    for (size_t i = 0; i < s->count; i++)
        names[i] = selected(s, i);
    qsort(names, s->count, sizeof *names, by_text);
    for (size_t i = 0; i < s->count; i++)
        if (i == 0 || strcmp(names[i], names[scale->count - 1]) != 0)
            names[scale->count++] = names[i];
    for (size_t i = 0; i < s->count; i++) {
        const char *name = selected(s, i);
        const char **found = bsearch(&name, names, scale->count, sizeof *names, by_text);
        out->coordinates[s->rows[i] * out->axes + at] = (int32_t)(found - names);
    }
done:
    free(names);
    return status;
}

static void select_rows(selection *s, const tri_configs *out, int32_t kernel, size_t column) {
    s->column = column;
    s->count = 0;
    for (size_t i = 0; i < out->count; i++)
        if (out->coordinates[i * out->axes] == kernel && *cell_at(s->table, i, column))
            s->rows[s->count++] = i;
}

/* A kernel has the axes that have a value in its rows. */
static triage_status index_kernel(tri_configs *out, selection *s, size_t first, size_t kernel) {
    triage_status status = TRIAGE_OK;
    size_t at = 1;
    for (size_t column = first; column < s->table->columns.axes; column++) {
        select_rows(s, out, (int32_t)kernel, column);
        if (s->count == 0)
            continue;
        tri_scale *scale = &out->scales[kernel * (out->axes - 1) + at - 1];
        TRI_TRY((are_integers(s) ? index_integers : index_names)(out, scale, s, at));
        at++;
    }
done:
    return status;
}

static triage_status index_kernels(size_t *kernels, tri_configs *out, selection *s, bool has_kernels) {
    tri_scale names = {0};
    triage_status status = TRIAGE_OK;
    *kernels = 1;
    if (!has_kernels)
        return TRIAGE_OK;
    select_rows(s, out, 0, 0);
    if (s->count < out->count)
        return tri_fail(TRIAGE_E_DATA, "%zu rows name no kernel", out->count - s->count);
    TRI_TRY(index_names(out, &names, s, 0));
    *kernels = names.count;
done:
    return status;
}

static triage_status index_table(tri_configs *out, const table *t) {
    const bool has_kernels = t->columns.has_kernels;
    selection s = {.table = t};
    size_t kernels = 0;
    triage_status status = TRIAGE_OK;
    out->count = t->rows;
    out->axes = t->columns.axes + !has_kernels;
    out->default_index = t->rows / 2;
    TRI_TRY(tri_calloc(&out->coordinates, out->count * out->axes, sizeof *out->coordinates));
    TRI_TRY(tri_calloc(&s.rows, t->rows, sizeof *s.rows));
    TRI_TRY(index_kernels(&kernels, out, &s, has_kernels));
    out->scale_count = kernels * (out->axes - 1);
    TRI_TRY(tri_calloc(&out->scales, out->scale_count + 1, sizeof *out->scales));
    for (size_t i = 0; i < out->count; i++)
        for (size_t j = 1; j < out->axes; j++)
            out->coordinates[i * out->axes + j] = -1;
    for (size_t kernel = 0; kernel < kernels; kernel++)
        TRI_TRY(index_kernel(out, &s, has_kernels, kernel));
done:
    free(s.rows);
    return status;
}

triage_status replay_read(replay *out, FILE *file) {
    triage_status status = TRIAGE_OK;
    table t = {0};
    *out = (replay){.best_ns = -1};
    TRI_TRY(read_table(&t, &out->median_ns, &out->compile_ms, file));
    TRI_TRY(index_table(&out->configs, &t));
    for (size_t i = 0; i < t.rows; i++)
        if (out->median_ns[i] > 0 && (out->best_ns < 0 || out->median_ns[i] < out->best_ns))
            out->best_ns = out->median_ns[i];
    if (out->best_ns < 0)
        status = tri_fail(TRIAGE_E_DATA, "every configuration of the recorded space failed");
done:
    for (size_t i = 0; t.cells && i < t.capacity * t.columns.axes; i++)
        free(t.cells[i]);
    free(t.cells);
    if (status != TRIAGE_OK)
        replay_close(out);
    return status;
}

triage_status replay_open(replay *out, const char *path) {
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "r");
    *out = (replay){0};
    if (!file)
        return tri_fail(TRIAGE_E_DATA, "%s cannot be read: %s", path, strerror(errno));
    triage_status status = replay_read(out, file);
    if (file != stdin)
        fclose(file);
    return status;
}

void replay_close(replay *data) {
    tri_configs_free(&data->configs);
    free(data->median_ns);
    free(data->compile_ms);
    *data = (replay){0};
}

/* ---- searching ---- */

static double thread_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

typedef struct state {
    replay_run *run;
    const replay *data;
    tri_strategy *strategy;
    size_t told;
} state;

static triage_status tell_oldest(state *s) {
    const int64_t index = s->run->proposals[s->told++];
    const double compile_ms = s->data->tells_costs ? s->data->compile_ms[index] : 0;
    return tri_strategy_tell(s->strategy, index,
                             &(tri_strategy_result){s->data->median_ns[index], compile_ms});
}

/* *proposed: -1 when there is none now. */
static triage_status propose(state *s, int64_t *proposed) {
    replay_run *run = s->run;
    bool waiting = false;
    const double start = thread_ms();
    const triage_status status = tri_strategy_next(proposed, &waiting, s->strategy);
    const double spent = thread_ms() - start;
    run->slowest_ms = spent > run->slowest_ms ? spent : run->slowest_ms;
    if (status != TRIAGE_OK || *proposed < 0)
        return status;
    const double ns = s->data->median_ns[*proposed];
    run->under_way += (double)(run->count - s->told);
    run->proposals[run->count++] = *proposed;
    if (ns >= 0 && (run->best_ns < 0 || ns < run->best_ns))
        run->best_ns = ns;
    return TRIAGE_OK;
}

triage_status replay_search(replay_run *out, const replay *data, const char *strategy,
                            const tri_strategy_options *options, size_t ahead, size_t limit, double good_ns) {
    state s = {.run = out, .data = data};
    triage_status status = TRIAGE_OK;
    *out = (replay_run){.best_ns = -1};
    TRI_TRY(tri_calloc(&out->proposals, data->configs.count + 1, sizeof *out->proposals));
    TRI_TRY(tri_strategy_open(&s.strategy, strategy, &data->configs, options));
    for (;;) {
        int64_t index = -1;
        if (out->count - s.told < ahead)
            TRI_TRY(propose(&s, &index));
        if ((limit && out->count == limit) || (good_ns > 0 && out->best_ns > 0 && out->best_ns <= good_ns))
            break;
        if (index >= 0)
            continue;
        if (s.told == out->count)
            break;
        TRI_TRY(tell_oldest(&s));
    }
    out->under_way /= out->count > 0 ? (double)out->count : 1;
    snprintf(out->ended, sizeof out->ended, "%s", tri_strategy_ended(s.strategy));
done:
    tri_strategy_free(s.strategy);
    return status;
}

void replay_run_free(replay_run *run) {
    free(run->proposals);
    *run = (replay_run){0};
}
