/* The page's pictures, as SVG in it. A picture is 400 units wide, so that its letters can be read at 400 pixels. */
#include <math.h>
#include <string.h>

#include "cli/common/common.h"
#include "cli/db/report.h"
#include "evidence/roofline.h"

enum { LEFT = 46, RIGHT = 374, TOP = 12, BOTTOM = 244 };

/* Colours that differ for the colour-blind, too (Okabe and Ito). */
static const char *const colours[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                      "#e69f00", "#56b4e9", "#000000"};
enum { COLOURS = sizeof colours / sizeof *colours };

/* ---- axes by decades, or by factors of two ---- */

typedef struct scale {
    double low, high; /* values at the ends */
    double from, to;  /* places there */
} scale;

static double place(const scale *s, double value) {
    return s->from + (log(value) - log(s->low)) / (log(s->high) - log(s->low)) * (s->to - s->from);
}

static void widen(scale *s, double value) {
    s->low = s->low > 0 ? fmin(s->low, value) : value;
    s->high = fmax(s->high, value);
}

/* To whole powers of the base. */
static void round_ends(scale *s, double base) {
    s->low = pow(base, floor(log(s->low) / log(base) + 1e-9));
    s->high = pow(base, ceil(log(s->high) / log(base) - 1e-9));
    if (s->high <= s->low)
        s->high = s->low * base;
}

static void label(FILE *out, double x, double y, const char *anchor, const char *text) {
    fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", x, y, anchor);
    tri_report_text(out, text);
    fputs("</text>", out);
}

static int powers(const scale *s, double base) {
    return (int)(log(s->high / s->low) / log(base) + 0.5);
}

static void grid_lines(FILE *out, const scale *x, const scale *y, double x_base, double y_base) {
    char text[24];
    for (int i = 0; i <= powers(x, x_base); i++) {
        const double v = x->low * pow(x_base, i);
        fprintf(out, "<path d=\"M%.1f %dV%d\" stroke=\"#d1d9e0\"/>", place(x, v), TOP, BOTTOM);
        snprintf(text, sizeof text, "%g", v);
        label(out, place(x, v), BOTTOM + 18, "middle", text);
    }
    for (int i = 0; i <= powers(y, y_base); i++) {
        const double v = y->low * pow(y_base, i);
        if (v > y->high * 1.001)
            break;
        fprintf(out, "<path d=\"M%d %.1fH%d\" stroke=\"#d1d9e0\"/>", LEFT, place(y, v), RIGHT);
        snprintf(text, sizeof text, "%g", v);
        label(out, LEFT - 4, place(y, v) + 4, "end", text);
    }
}

/* With room below for so many legends. */
static void open_picture(FILE *out, size_t legends, const char *title) {
    fprintf(out, "<svg viewBox=\"0 0 400 %zu\" role=\"img\" font-size=\"11\" fill=\"#1b1f24\"><title>",
            BOTTOM + 52 + legends * 15);
    tri_report_text(out, title);
    fputs("</title>", out);
}

/* One of those below a picture. */
static void legend(FILE *out, size_t i, const char *text) {
    const double y = BOTTOM + 52 + (double)i * 15;
    fprintf(out, "<rect x=\"%d\" y=\"%.1f\" width=\"9\" height=\"9\" fill=\"%s\"/>", LEFT, y - 8,
            colours[i % COLOURS]);
    label(out, LEFT + 14, y, "start", text);
}

/* ---- the roofline ---- */

enum { OPERATIONS = 6 };

/* Which operation's points have which colour: the first word of a key. */
static size_t colour_of(char names[OPERATIONS][32], size_t *count, const char *key) {
    char name[32];
    size_t i = 0;
    snprintf(name, sizeof name, "%.*s", (int)strcspn(key, " "), key);
    while (i < *count && strcmp(names[i], name) != 0)
        i++;
    if (i == *count && *count < OPERATIONS)
        memcpy(names[(*count)++], name, sizeof name);
    return i < OPERATIONS ? i : OPERATIONS - 1;
}

static bool has_point(const tri_report_problem *p) {
    return p->winner_ns > 0 && p->flops > 0 && p->bytes > 0;
}

static void draw_roof(FILE *out, const scale *x, const scale *y, double flops, double bytes) {
    const double ridge = flops / bytes, start = fmax(x->low, y->low * 1e3 / bytes);
    fprintf(out,
            "<path d=\"M%.1f %.1fL%.1f %.1fH%d\" fill=\"none\" stroke=\"#1b1f24\" stroke-width=\"1.5\"/>",
            place(x, start), place(y, start * bytes * 1e-3), place(x, ridge), place(y, flops * 1e-3), RIGHT);
}

static size_t find_operations(char names[OPERATIONS][32], const tri_device_report *r) {
    size_t count = 0;
    for (size_t i = 0; i < r->count; i++)
        if (has_point(&r->problems[i]))
            colour_of(names, &count, r->problems[i].key);
    return count;
}

static void draw_points(FILE *out, const tri_device_report *r, const scale *x, const scale *y,
                        char names[OPERATIONS][32], size_t count) {
    for (size_t i = 0; i < r->count; i++) {
        const tri_report_problem *p = &r->problems[i];
        if (has_point(p))
            fprintf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\" fill-opacity=\".65\"/>",
                    place(x, p->flops / p->bytes), place(y, p->flops / p->winner_ns * 1e-3),
                    colours[colour_of(names, &count, p->key)]);
    }
    for (size_t i = 0; i < count; i++)
        legend(out, i, names[i]);
}

void tri_report_roofline(FILE *out, const tri_device_report *r) {
    scale x = {.from = LEFT, .to = RIGHT}, y = {.from = BOTTOM, .to = TOP};
    double flops, bytes;
    tri_roofline_rates(&flops, &bytes, TRIAGE_F16, &r->info);
    for (size_t i = 0; i < r->count; i++)
        if (has_point(&r->problems[i])) {
            widen(&x, r->problems[i].flops / r->problems[i].bytes);
            widen(&y, r->problems[i].flops / r->problems[i].winner_ns * 1e-3);
        }
    fputs("<h3>Roofline</h3>\n", out);
    if (x.low <= 0) {
        fputs("<p>No winner whose operations can be counted.</p>\n", out);
        return;
    }
    if (flops > 0 && bytes > 0) {
        widen(&y, flops * 1e-3);
        widen(&x, flops / bytes);
    }
    round_ends(&x, 10);
    round_ends(&y, 10);
    fputs("<p>Each point is a problem's winner: useful TFLOP/s over useful operations a byte that must move.",
          out);
    if (flops > 0 && bytes > 0)
        fprintf(out,
                " The roof is what the vendor states: %.0f TFLOP/s in 16 bits (in 8 bits twice that), "
                "%.0f GB/s.",
                flops * 1e-3, bytes);
    fputs("</p>\n", out);
    char names[OPERATIONS][32];
    const size_t count = find_operations(names, r);
    open_picture(out, count, "Roofline");
    grid_lines(out, &x, &y, 10, 10);
    label(out, (LEFT + RIGHT) / 2.0, BOTTOM + 33, "middle", "operations a byte");
    if (flops > 0 && bytes > 0)
        draw_roof(out, &x, &y, flops, bytes);
    draw_points(out, r, &x, &y, names, count);
    fputs("</svg>\n", out);
}

/* ---- spread ---- */

enum { MARKS = 120 };

void tri_report_spread(FILE *out, const tri_report_problem *p) {
    size_t timed = 0;
    while (timed < p->count && p->rows[timed].median_ns > 0)
        timed++;
    const double best = p->rows[0].median_ns;
    scale x = {.low = 1, .high = fmax(1.01, p->rows[timed - 1].median_ns / best), .from = 8, .to = 392};
    char text[48];
    fputs("<svg class=\"wide\" viewBox=\"0 0 400 36\" role=\"img\" font-size=\"11\" "
          "fill=\"#1b1f24\"><title>Times of the "
          "candidates</title><path d=\"M8 12H392\" stroke=\"#d1d9e0\"/><path stroke=\"#0072b2\" d=\"",
          out);
    const size_t step = timed / MARKS + 1;
    for (size_t i = 0; i < timed; i += step)
        fprintf(out, "M%.1f 4v16", place(&x, p->rows[i].median_ns / best));
    fputs("\"/>", out);
    label(out, 8, 32, "start", "best");
    snprintf(text, sizeof text, "%.2f times as long", x.high);
    label(out, 392, 32, "end", text);
    fputs("</svg>\n", out);
}

/* ---- against the dense product ---- */

static double over_dense(const tri_report_problem *p) {
    return p->winner_ns > 0 && p->dense_ns > 0 ? p->dense_ns / p->winner_ns : 0;
}

static bool has_ratio(const tri_report_problem *p) {
    return over_dense(p) > 0 && tri_report_field(p->key, "density") > 0;
}

/* Of the key what a line of the picture has in common: all but the density and what goes with it. */
static void line_name(char *out, size_t size, const tri_report_problem *p) {
    char shape[160];
    const char *end = strstr(p->key, " m=");
    tri_report_shape(shape, sizeof shape, p->key);
    snprintf(out, size, "%.*s|%s", end ? (int)(end - p->key) : 0, p->key, shape);
}

typedef struct curve {
    char name[320];
    size_t points;
} curve;

/* The lines with the most points, those first. */
static size_t find_curves(curve *out, size_t most, const tri_device_report *r) {
    size_t count = 0;
    char last[320] = "";
    for (size_t i = 0; i < r->count; i++) {
        curve c = {.points = 0};
        if (!has_ratio(&r->problems[i]))
            continue;
        line_name(c.name, sizeof c.name, &r->problems[i]);
        if (strcmp(c.name, last) == 0)
            continue; /* keys are in order */
        memcpy(last, c.name, sizeof last);
        for (size_t k = 0; k < r->count; k++) {
            char name[320];
            line_name(name, sizeof name, &r->problems[k]);
            c.points += has_ratio(&r->problems[k]) && strcmp(name, c.name) == 0;
        }
        size_t at = count < most ? count++ : most;
        for (; at > 0 && out[at - 1].points < c.points; at--)
            if (at < most)
                out[at] = out[at - 1];
        if (at < most)
            out[at] = c;
    }
    return count;
}

/* Keys of one line follow each other, from the least density on or in another order: they are drawn by density. */
static void draw_curve(FILE *out, const tri_device_report *r, const curve *c, size_t colour, const scale *x,
                       const scale *y) {
    double last = 0;
    char name[320];
    fprintf(out, "<path fill=\"none\" stroke=\"%s\" stroke-width=\"1.5\" d=\"", colours[colour % COLOURS]);
    for (bool first = true;; first = false) {
        const tri_report_problem *next = NULL;
        for (size_t i = 0; i < r->count; i++) {
            const tri_report_problem *p = &r->problems[i];
            line_name(name, sizeof name, p);
            if (has_ratio(p) && strcmp(name, c->name) == 0 && tri_report_field(p->key, "density") > last &&
                (!next || tri_report_field(p->key, "density") < tri_report_field(next->key, "density")))
                next = p;
        }
        if (!next)
            break;
        last = tri_report_field(next->key, "density");
        fprintf(out, "%c%.1f %.1f", first ? 'M' : 'L', place(x, last / 100), place(y, over_dense(next)));
    }
    fputs("\"/>", out);
}

static void draw_curves(FILE *out, const tri_device_report *r, const curve *curves, size_t count) {
    scale x = {.from = LEFT, .to = RIGHT}, y = {.from = BOTTOM, .to = TOP};
    widen(&y, 1);
    for (size_t i = 0; i < r->count; i++)
        if (has_ratio(&r->problems[i])) {
            widen(&x, tri_report_field(r->problems[i].key, "density") / 100);
            widen(&y, over_dense(&r->problems[i]));
        }
    round_ends(&x, 10);
    round_ends(&y, 2);
    open_picture(out, count, "Time of the dense product over triage's");
    grid_lines(out, &x, &y, 10, y.high / y.low > 64 ? 4 : 2);
    fprintf(out, "<path d=\"M%d %.1fH%d\" stroke=\"#1b1f24\" stroke-width=\"1.5\" stroke-dasharray=\"4 3\"/>",
            LEFT, place(&y, 1), RIGHT);
    label(out, (LEFT + RIGHT) / 2.0, BOTTOM + 33, "middle", "stored blocks, %");
    for (size_t i = 0; i < count; i++) {
        draw_curve(out, r, &curves[i], i, &x, &y);
        legend(out, i, strchr(curves[i].name, '|') + 1);
    }
    fputs("</svg>\n", out);
}

void tri_report_crossover(FILE *out, const tri_device_report *r) {
    curve curves[6];
    size_t count = find_curves(curves, 6, r);
    while (count > 0 && curves[count - 1].points < 2)
        count--;
    bool any = false;
    for (size_t i = 0; i < r->count; i++)
        any = any || over_dense(&r->problems[i]) > 0;
    if (!any)
        return;
    fputs("<h3>Against the dense product</h3>\n<p>The dense product's time over that of the fastest sparse "
          "kernel: above "
          "1, the dashed line, block-sparse is faster.</p>\n",
          out);
    if (count)
        draw_curves(out, r, curves, count);
    tri_report_table(out, r, over_dense);
}
