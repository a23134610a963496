/* The page's tables of figures: problems by shape and density, axes, failures. */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/common/common.h"
#include "cli/db/report.h"

/* ---- problems: one table for those that differ only in shape, and in density or mask ---- */

enum { COLUMNS_MAX = 14, ROWS_MAX = 80, LABEL = 200 };

typedef struct place {
    char heading[LABEL], column[64], row[LABEL];
    double order; /* of the column */
} place;

/* With a density the family is the heading, and the density the column; else the words behind the types are that. */
static void place_of(place *out, const char *key) {
    const char *end = strstr(key, " m=");
    const double density = tri_report_field(key, "density");
    int family = end ? (int)(end - key) : 0, words = 0, types = 0;
    for (int i = 0; i < family && words < 3; i++)
        if (key[i] == ' ' && ++words == 3)
            types = i;
    tri_report_shape(out->row, sizeof out->row, key);
    if (density >= 0) {
        snprintf(out->heading, sizeof out->heading, "%.*s", family, key);
        snprintf(out->column, sizeof out->column, "%g %%", density / 100);
        out->order = -density;
    } else {
        const char *rest = types ? key + types : NULL;
        snprintf(out->heading, sizeof out->heading, "%.*s", types ? types : family, key);
        snprintf(out->column, sizeof out->column, "%.*s", rest && rest < end ? (int)(end - rest - 1) : 0,
                 rest ? rest + 1 : "");
        out->order = 0;
    }
}

typedef struct grid {
    place columns[COLUMNS_MAX], rows[ROWS_MAX];
    size_t column_count, row_count, left_out;
    double most;
} grid;

static bool add_column(grid *g, const place *at) {
    size_t i = 0;
    while (i < g->column_count && strcmp(g->columns[i].column, at->column) != 0)
        i++;
    if (i < g->column_count)
        return true;
    if (i == COLUMNS_MAX)
        return false;
    for (; i > 0 && g->columns[i - 1].order > at->order; i--)
        g->columns[i] = g->columns[i - 1];
    g->columns[i] = *at;
    g->column_count++;
    return true;
}

static bool add_grid_row(grid *g, const place *at) {
    for (size_t i = 0; i < g->row_count; i++)
        if (strcmp(g->rows[i].row, at->row) == 0)
            return true;
    if (g->row_count == ROWS_MAX)
        return false;
    g->rows[g->row_count++] = *at;
    return true;
}

static void fill_grid(grid *g, const tri_device_report *r, const char *heading, tri_report_value_fn value) {
    *g = (grid){0};
    for (size_t i = 0; i < r->count; i++) {
        const double v = r->problems[i].is_dense ? 0 : value(&r->problems[i]);
        place at;
        place_of(&at, r->problems[i].key);
        if (v <= 0 || strcmp(at.heading, heading) != 0)
            continue;
        if (add_column(g, &at) && add_grid_row(g, &at))
            g->most = fmax(g->most, v);
        else
            g->left_out++;
    }
}

/* The largest where patterns of one density differ. */
static double value_at(const tri_device_report *r, const char *heading, const char *row, const char *column,
                       tri_report_value_fn value) {
    double most = 0;
    for (size_t i = 0; i < r->count; i++) {
        place at;
        if (r->problems[i].is_dense)
            continue;
        place_of(&at, r->problems[i].key);
        if (strcmp(at.heading, heading) == 0 && strcmp(at.row, row) == 0 && strcmp(at.column, column) == 0)
            most = fmax(most, value(&r->problems[i]));
    }
    return most;
}

/* From white to the mark's blue; the number is there in any case, and of which column it is, for a narrow window. */
static void print_cell(FILE *out, const char *column, double value, double most) {
    const double t = most > 0 ? value / most : 0;
    if (value <= 0) {
        fputs("<td class=\"h\"></td>", out);
        return;
    }
    fputs("<td class=\"h\" data-column=\"", out);
    tri_report_text(out, column);
    fprintf(out, "\" style=\"background:#%02x%02x%02x;color:%s\">", (int)(255 - 255 * t),
            (int)(255 - 141 * t), (int)(255 - 77 * t), t > 0.6 ? "#fff" : "#1b1f24");
    fprintf(out,
            value < 0.1  ? "%.1g</td>"
            : value < 1  ? "%.2f</td>"
            : value < 10 ? "%.1f</td>"
                         : "%.0f</td>",
            value);
}

static void print_grid(FILE *out, const tri_device_report *r, const char *heading,
                       tri_report_value_fn value) {
    static grid g;
    fill_grid(&g, r, heading, value);
    if (g.row_count == 0)
        return;
    fputs("<h4>", out);
    tri_report_text(out, heading);
    fputs("</h4>\n<div class=\"box\"><table class=\"grid\"><thead><tr><th></th>", out);
    for (size_t j = 0; j < g.column_count; j++) {
        fputs("<th class=\"h\">", out);
        tri_report_text(out, g.columns[j].column);
        fputs("</th>", out);
    }
    fputs("</tr></thead>\n", out);
    for (size_t i = 0; i < g.row_count; i++) {
        fputs("<tr><td class=\"l\">", out);
        tri_report_text(out, g.rows[i].row);
        fputs("</td>", out);
        for (size_t j = 0; j < g.column_count; j++)
            print_cell(out, g.columns[j].column,
                       value_at(r, heading, g.rows[i].row, g.columns[j].column, value), g.most);
        fputs("</tr>\n", out);
    }
    fputs("</table></div>\n", out);
    if (g.left_out)
        fprintf(out, "<p class=\"dim\">%zu more problems do not fit here.</p>\n", g.left_out);
}

void tri_report_table(FILE *out, const tri_device_report *r, tri_report_value_fn value) {
    char done[64][LABEL];
    size_t count = 0;
    for (size_t i = 0; i < r->count && count < 64; i++) {
        place at;
        bool seen = r->problems[i].is_dense || value(&r->problems[i]) <= 0;
        place_of(&at, r->problems[i].key);
        for (size_t k = 0; k < count && !seen; k++)
            seen = strcmp(done[k], at.heading) == 0;
        if (seen)
            continue;
        snprintf(done[count++], LABEL, "%s", at.heading);
        print_grid(out, r, at.heading, value);
    }
}

static double useful_tflops(const tri_report_problem *p) {
    return p->winner_ns > 0 ? p->flops / p->winner_ns * 1e-3 : 0;
}

void tri_report_heat(FILE *out, const tri_device_report *r) {
    fputs("<h3>Problems</h3>\n<p>Useful TFLOP/s of the fastest kernel that is known, by the share of the "
          "blocks that are "
          "stored, or by the mask; the darker, the nearer to the best of the table.</p>\n",
          out);
    tri_report_table(out, r, useful_tflops);
    for (size_t i = 0; i < r->count; i++)
        if (!r->problems[i].is_dense && useful_tflops(&r->problems[i]) > 0)
            return;
    fputs("<p>None has a winner.</p>\n", out);
}

/* ---- axes ---- */

enum { SLOTS = 4096, VALUES_OF_A_PROBLEM = 512 };

/* One value of one axis of one kernel. */
typedef struct axis_value {
    char text[128]; /* "wgmma tile_n=256"; "" a free slot */
    size_t axis;    /* bytes of text up to the "=" */
    size_t seen_in; /* 1 + the last problem that had it */
    double best_ns; /* there */
    double
        sum_log; /* of how much slower its best was than the kernel's best, over problems that tried several values */
    size_t problems, wins;
} axis_value;

static axis_value *slot_of(axis_value *slots, const char *text) {
    uint32_t hash = 2166136261u;
    for (const char *c = text; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 16777619u;
    for (size_t i = 0; i < SLOTS; i++) {
        axis_value *slot = &slots[(hash + i) % SLOTS];
        if (!slot->text[0] || strcmp(slot->text, text) == 0)
            return slot;
    }
    return NULL;
}

typedef struct tally {
    axis_value *slots, *here[VALUES_OF_A_PROBLEM];
    size_t count; /* of here */
} tally;

/* Operations may have kernels of one name. */
static void note_config(tally *t, const tri_report_row *row, const char *key, size_t problem, bool won) {
    char text[128];
    const int op = (int)strcspn(key, " "), kernel = (int)strcspn(row->config, " ");
    for (const char *at = row->config + kernel; *at;) {
        at += *at == ' ';
        const int word = (int)strcspn(at, " ");
        const char *equals = memchr(at, '=', (size_t)word);
        const int size =
            snprintf(text, sizeof text, "%.*s/%.*s %.*s", op, key, kernel, row->config, word, at);
        axis_value *slot = equals && size < (int)sizeof text ? slot_of(t->slots, text) : NULL;
        if (slot) {
            memcpy(slot->text, text, sizeof text);
            slot->axis = (size_t)(op + 1 + kernel + 1 + (equals - at));
            slot->wins += won;
            if (slot->seen_in != problem + 1 && t->count < VALUES_OF_A_PROBLEM) {
                slot->seen_in = problem + 1;
                slot->best_ns = row->median_ns; /* rows come fastest first */
                t->here[t->count++] = slot;
            }
        }
        at += word;
    }
}

/* Only where another value was tried, too: alone, a value would look as good as can be. */
static void compare_values(const tally *t) {
    for (size_t i = 0; i < t->count; i++) {
        double best = t->here[i]->best_ns;
        bool varied = false;
        for (size_t k = 0; k < t->count; k++) {
            if (k == i || t->here[k]->axis != t->here[i]->axis ||
                strncmp(t->here[k]->text, t->here[i]->text, t->here[i]->axis) != 0)
                continue;
            varied = true;
            best = fmin(best, t->here[k]->best_ns);
        }
        if (varied) {
            t->here[i]->sum_log += log(t->here[i]->best_ns / best);
            t->here[i]->problems++;
        }
    }
}

static int by_text(const void *left, const void *right) {
    const axis_value *a = left, *b = right;
    return (int)(b->problems > 0) - (int)(a->problems > 0) ? (b->problems > 0) - (a->problems > 0)
                                                           : strverscmp(a->text, b->text);
}

static void print_part(FILE *out, const char *text, size_t size) {
    char part[128];
    snprintf(part, sizeof part, "%.*s", (int)size, text);
    tri_report_text(out, part);
}

static void print_axis_value(FILE *out, const axis_value *v, const axis_value *before) {
    const double slower = 100 * (exp(v->sum_log / (double)v->problems) - 1);
    const bool new_axis = !before || before->axis != v->axis || strncmp(before->text, v->text, v->axis) != 0;
    const size_t kernel = strcspn(v->text, " ");
    fputs("<tr><td class=\"s\">", out);
    if (new_axis) /* on paper the kernel's first line may be a page before */
        print_part(out, v->text, kernel);
    fputs("</td><td class=\"s\">", out);
    print_part(out, v->text + kernel + 1, new_axis ? v->axis - kernel - 1 : 0);
    fputs("</td><td class=\"s\">", out);
    tri_report_text(out, v->text + v->axis + 1);
    fprintf(out,
            "</td><td class=\"n\">%.1f %%</td><td style=\"width:8rem\"><span class=\"bar\" "
            "style=\"width:%.0f%%\"></span>"
            "</td><td class=\"n\">%zu</td><td class=\"n\">%zu</td></tr>\n",
            slower, fmin(100, 2 * slower), v->problems, v->wins);
}

static void print_axes(FILE *out, const axis_value *values, size_t count) {
    fputs("<div class=\"box\"><table><thead><tr><th>kernel</th><th>axis</th><th>value</th><th "
          "class=\"n\">slower</th><th></th>"
          "<th class=\"n\">problems</th><th class=\"n\">winners</th></tr></thead>\n",
          out);
    for (size_t i = 0; i < count; i++)
        print_axis_value(out, &values[i], i ? &values[i - 1] : NULL);
    fputs("</table></div>\n", out);
}

void tri_report_axes(FILE *out, const tri_device_report *r) {
    tally t = {.count = 0};
    size_t count = 0;
    if (tri_calloc(&t.slots, SLOTS, sizeof *t.slots) != TRIAGE_OK)
        return;
    for (size_t i = 0; i < r->count; i++) {
        const tri_report_problem *p = &r->problems[i];
        t.count = 0;
        for (size_t k = 0; k < p->count && !p->is_dense && p->rows[k].median_ns > 0; k++)
            note_config(&t, &p->rows[k], p->key, i, p->winner && strcmp(p->winner, p->rows[k].config) == 0);
        compare_values(&t);
    }
    qsort(t.slots, SLOTS, sizeof *t.slots, by_text);
    while (count < SLOTS && t.slots[count].problems > 0)
        count++;
    fputs("<h3>How axes matter</h3>\n<p>How much slower the best candidate with a value is than the best of "
          "its kernel "
          "there, in the geometric mean over the problems that tried several values. Evidence of finals "
          "alone knows "
          "good values only: its differences are small.</p>\n",
          out);
    if (count)
        print_axes(out, t.slots, count);
    else
        fputs("<p>No axis was tried with several values.</p>\n", out);
    free(t.slots);
}

/* ---- failures ---- */

enum { REASONS = 40 };

typedef struct reason {
    char text[200];               /* outcome: what was said, with # for numbers */
    const char *config, *problem; /* an example */
    size_t count;
} reason;

static void note_reason(reason *reasons, size_t *count, const tri_report_row *row, const char *problem) {
    char text[200];
    size_t size = (size_t)snprintf(text, sizeof text, "%s: ", tri_outcome_name(row->outcome));
    for (const char *c = row->reason; *c && size + 2 < sizeof text; c++) {
        const bool digit = isdigit((unsigned char)*c);
        if (!digit || text[size - 1] != '#')
            text[size++] = digit ? '#' : *c;
    }
    text[size] = '\0';
    for (size_t i = 0; i < *count; i++)
        if (strcmp(reasons[i].text, text) == 0) {
            reasons[i].count++;
            return;
        }
    if (*count == REASONS)
        return;
    reasons[*count] = (reason){.config = row->config, .problem = problem, .count = 1};
    memcpy(reasons[(*count)++].text, text, sizeof text);
}

static int by_count(const void *left, const void *right) {
    const reason *a = left, *b = right;
    return a->count != b->count ? (a->count < b->count) - (a->count > b->count) : strcmp(a->text, b->text);
}

void tri_report_failures(FILE *out, const tri_device_report *r) {
    static reason reasons[REASONS];
    size_t count = 0;
    for (size_t i = 0; i < r->count; i++)
        for (size_t k = 0; k < r->problems[i].count; k++)
            if (r->problems[i].rows[k].median_ns <= 0)
                note_reason(reasons, &count, &r->problems[i].rows[k], r->problems[i].key);
    fputs("<h3>Failures</h3>\n", out);
    if (count == 0) {
        fputs("<p>No candidate failed in what is stored.</p>\n", out);
        return;
    }
    qsort(reasons, count, sizeof *reasons, by_count);
    fputs("<div class=\"box\"><table><tr><th class=\"n\">candidates</th><th>reason</th><th>for "
          "example</th></tr>\n",
          out);
    for (size_t i = 0; i < count; i++) {
        fprintf(out, "<tr><td class=\"n\">%zu</td><td class=\"w bad\">", reasons[i].count);
        tri_report_text(out, reasons[i].text);
        fputs("</td><td class=\"w\"><code>", out);
        tri_report_text(out, reasons[i].config);
        fputs("</code> of <code>", out);
        tri_report_text(out, reasons[i].problem);
        fputs("</code></td></tr>\n", out);
    }
    fputs("</table></div>\n", out);
}
