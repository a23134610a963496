/* A picture of a contest as SVG, or as PNG by way of it: on the left the roofline with each contestant on it, on the right their times, each with
 * the 95 % interval of its median. All sizes are in pixels of a 960 x 480 drawing. */
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/scratch.h"
#include "cli/bench/bench.h"
#include "measure/process_group.h"

enum {
    kWidth = 960,
    kHeight = 480,
    kTop = 76,
    kBottom = 420,
    kRoofLeft = 70,
    kRoofRight = 430,
    kBarLeft = 590,
    kBarRight = 860
};

/* Colours that differ for the colour-blind, too (Okabe and Ito). */
static const char *const colours[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                      "#e69f00", "#56b4e9", "#000000"};

static const char *colour_of(size_t i) {
    return colours[i % (sizeof colours / sizeof *colours)];
}

static void escaped(FILE *file, const char *text) {
    for (; *text; text++)
        switch (*text) {
        case '<':
            fputs("&lt;", file);
            break;
        case '>':
            fputs("&gt;", file);
            break;
        case '&':
            fputs("&amp;", file);
            break;
        default:
            fputc(*text, file);
        }
}

static void label(FILE *file, double x, double y, const char *anchor, int size, const char *text) {
    fprintf(file, "<text x=\"%.1f\" y=\"%.1f\" font-size=\"%d\" text-anchor=\"%s\">", x, y, size, anchor);
    escaped(file, text);
    fputs("</text>\n", file);
}

static void line(FILE *file, double x0, double y0, double x1, double y1, const char *style) {
    fprintf(file, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" %s/>\n", x0, y0, x1, y1, style);
}

#define THIN "stroke=\"#cccccc\""
#define AXIS "stroke=\"#333333\""
#define ROOF "stroke=\"#333333\" stroke-width=\"2\""

/* ---- the roofline: operations a byte and operations a second, both by decades ---- */

typedef struct axes {
    double x_low, x_high, y_low, y_high; /* decades: log10 */
} axes;

static double at_x(const axes *a, double value) {
    return kRoofLeft + (log10(value) - a->x_low) / (a->x_high - a->x_low) * (kRoofRight - kRoofLeft);
}

static double at_y(const axes *a, double value) {
    return kBottom - (log10(value) - a->y_low) / (a->y_high - a->y_low) * (kBottom - kTop);
}

static double rate_of(const tri_contestant *c, const tri_contest_report *r) {
    return 1e12 * tri_contestant_tflops(c, &r->arena->problem);
}

static double intensity_of(const tri_contest_report *r) {
    return tri_problem_flops(&r->arena->problem) / tri_problem_bytes(&r->arena->problem);
}

/* The highest rate at this intensity that the ceilings allow; 0: none is known. */
static double roof_at(const tri_limit *limit, double intensity) {
    const double memory = limit->bytes_per_s * intensity, peak = limit->flops_per_s;
    return memory <= 0 ? peak : peak <= 0 || memory < peak ? memory : peak;
}

/* A decade around all that is drawn. */
static axes axes_of(const tri_contest_report *r) {
    const double intensity = intensity_of(r), roof = roof_at(r->limit, intensity);
    const double ridge = r->limit->bytes_per_s > 0 && r->limit->flops_per_s > 0
                             ? r->limit->flops_per_s / r->limit->bytes_per_s
                             : intensity;
    double low = roof > 0 ? roof : 1e99, high = fmax(roof, r->limit->flops_per_s);
    for (size_t i = 0; i < r->count; i++)
        if (tri_contestant_has_number(&r->contestants[i])) {
            low = fmin(low, rate_of(&r->contestants[i], r));
            high = fmax(high, rate_of(&r->contestants[i], r));
        }
    return (axes){floor(log10(fmin(intensity, ridge)) - 0.3), ceil(log10(fmax(intensity, ridge)) + 0.3),
                  floor(log10(low) - 0.1), ceil(log10(high) + 0.1)};
}

static void draw_grid(FILE *file, const axes *a) {
    char text[32];
    for (int decade = (int)a->x_low; decade <= (int)a->x_high; decade++) {
        const double x = at_x(a, pow(10, decade));
        line(file, x, kTop, x, kBottom, THIN);
        snprintf(text, sizeof text, "%g", pow(10, decade));
        label(file, x, kBottom + 18, "middle", 12, text);
    }
    for (int decade = (int)a->y_low; decade <= (int)a->y_high; decade++) {
        const double y = at_y(a, pow(10, decade));
        line(file, kRoofLeft, y, kRoofRight, y, THIN);
        snprintf(text, sizeof text, "%g", pow(10, decade - 12));
        label(file, kRoofLeft - 6, y + 4, "end", 12, text);
    }
    line(file, kRoofLeft, kBottom, kRoofRight, kBottom, AXIS);
    line(file, kRoofLeft, kTop, kRoofLeft, kBottom, AXIS);
    label(file, (kRoofLeft + kRoofRight) / 2.0, kBottom + 40, "middle", 13,
          "useful operations a byte that must move");
    label(file, kRoofLeft, kTop - 10, "start", 13, "useful TFLOP/s");
}

/* The slope of the memory ends at the ridge, where the flat part begins. */
static void draw_roof(FILE *file, const axes *a, const tri_limit *limit) {
    const double left = pow(10, a->x_low), right = pow(10, a->x_high), lowest = pow(10, a->y_low);
    const double memory = limit->bytes_per_s, peak = limit->flops_per_s;
    const double ridge = memory > 0 && peak > 0 ? peak / memory : memory > 0 ? right : left;
    char text[64];
    if (memory > 0) {
        const double from = fmax(left, lowest / memory),
                     to = fmin(fmin(ridge, right), pow(10, a->y_high) / memory);
        line(file, at_x(a, from), at_y(a, from * memory), at_x(a, to), at_y(a, to * memory), ROOF);
        snprintf(text, sizeof text, "%.3g TB/s", memory / 1e12);
        label(file, at_x(a, sqrt(from * to)) - 8, at_y(a, sqrt(from * to) * memory) - 6, "end", 12, text);
    }
    if (peak > 0) {
        line(file, at_x(a, fmax(left, ridge)), at_y(a, peak), at_x(a, right), at_y(a, peak), ROOF);
        snprintf(text, sizeof text, "%.4g TFLOP/s", peak / 1e12);
        label(file, kRoofRight, at_y(a, peak) - 6, "end", 12, text);
    }
}

static void draw_roofline(FILE *file, const tri_contest_report *r) {
    const axes a = axes_of(r);
    char text[96];
    draw_grid(file, &a);
    draw_roof(file, &a, r->limit);
    for (size_t i = 0; i < r->count; i++)
        if (tri_contestant_has_number(&r->contestants[i]))
            fprintf(file, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"5\" fill=\"%s\" fill-opacity=\"0.85\"/>\n",
                    at_x(&a, intensity_of(r)), at_y(&a, rate_of(&r->contestants[i], r)), colour_of(i));
    snprintf(text, sizeof text, "ceilings: %s%s", r->limit->source,
             r->limit->flops_per_s <= 0   ? "; of arithmetic not known"
             : r->limit->bytes_per_s <= 0 ? "; of memory not known"
                                          : "");
    label(file, kRoofLeft, kBottom + 58, "start", 11, text);
}

/* ---- the bars: times from 0 on ---- */

static double longest_ns(const tri_contest_report *r) {
    double longest = 1;
    for (size_t i = 0; i < r->count; i++)
        if (tri_contestant_has_number(&r->contestants[i]))
            longest = fmax(longest, r->contestants[i].timing.high_ns);
    return longest;
}

static void draw_bar(FILE *file, const tri_contestant *c, double y, double per_ns, const char *colour) {
    const double end = kBarLeft + c->timing.median_ns * per_ns, low = kBarLeft + c->timing.low_ns * per_ns,
                 high = kBarLeft + c->timing.high_ns * per_ns;
    char text[TRI_CLI_NUMBER];
    fprintf(file,
            "<rect x=\"%d\" y=\"%.1f\" width=\"%.1f\" height=\"18\" fill=\"%s\" fill-opacity=\"0.85\"/>\n",
            kBarLeft, y - 9, end - kBarLeft, colour);
    line(file, low, y, high, y, AXIS);
    line(file, low, y - 5, low, y + 5, AXIS);
    line(file, high, y - 5, high, y + 5, AXIS);
    label(file, high + 8, y + 4, "start", 12, tri_cli_time(text, c->timing.median_ns));
}

static void draw_bars(FILE *file, const tri_contest_report *r) {
    const double per_ns = (kBarRight - kBarLeft) / longest_ns(r);
    const double step = fmin(44, (double)(kBottom - kTop) / (double)r->count);
    label(file, kBarLeft, kTop - 10, "start", 13, "time: median and its 95 % interval");
    for (size_t i = 0; i < r->count; i++) {
        const tri_contestant *c = &r->contestants[i];
        const double y = kTop + step * ((double)i + 0.5);
        label(file, kBarLeft - 8, y + 4, "end", 13, c->type->name);
        if (tri_contestant_has_number(c))
            draw_bar(file, c, y, per_ns, colour_of(i));
        else
            label(file, kBarLeft + 4, y + 4, "start", 12, tri_contest_result_name(c->result));
    }
    line(file, kBarLeft, kTop, kBarLeft, kTop + step * (double)r->count, AXIS);
}

/* ---- the file ---- */

static void draw(FILE *file, const tri_contest_report *r, const char *key) {
    fprintf(file,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" "
            "font-family=\"sans-serif\">\n<rect width=\"%d\" height=\"%d\" fill=\"white\"/>\n",
            kWidth, kHeight, kWidth, kHeight, kWidth, kHeight);
    label(file, 16, 24, "start", 16, triage_context_device_name(r->arena->context));
    label(file, 16, 44, "start", strlen(key) > 130 ? 9 : 12, key);
    draw_roofline(file, r);
    draw_bars(file, r);
    fputs("</svg>\n", file);
}

static triage_status write_svg(const char *path, const tri_contest_report *report) {
    char *key = NULL;
    FILE *file = NULL;
    triage_status status = tri_problem_key(&key, &report->arena->problem);
    if (status != TRIAGE_OK)
        return status;
    file = fopen(path, "w");
    if (file)
        draw(file, report, key);
    if (!file || ferror(file))
        status = tri_fail(TRIAGE_E_IO, "%s cannot be written: %s", path, strerror(errno));
    if (file && fclose(file) != 0 && status == TRIAGE_OK)
        status = tri_fail(TRIAGE_E_IO, "%s cannot be written: %s", path, strerror(errno));
    free(key);
    return status;
}

/* ---- the same in pixels, which a program of others makes of it ---- */

static const char converter[] = "rsvg-convert";

static bool is_png(const char *path) {
    const size_t size = strlen(path);
    return size > 4 && strcmp(path + size - 4, ".png") == 0;
}

triage_status tri_contest_plot_check(const char *path) {
    char found[PATH_MAX];
    const size_t size = strlen(path);
    if (is_png(path) && !tri_cli_find_program(found, sizeof found, converter))
        return tri_cli_usage("--plot %.200s needs %s (Debian's package librsvg2-bin), which is not in $PATH; "
                             "FILE.svg needs nothing",
                             path, converter);
    return is_png(path) || (size > 4 && strcmp(path + size - 4, ".svg") == 0)
               ? TRIAGE_OK
               : tri_cli_usage("--plot %.200s is neither FILE.svg nor FILE.png", path);
}

static triage_status convert(const char *to, const char *from) {
    char program[PATH_MAX];
    if (!tri_cli_find_program(program, sizeof program, converter))
        return tri_contest_plot_check(to);
    const char *const words[] = {program, "--zoom", "2", "--output", to, from, NULL};
    tri_group_member member = {.argv = (char *const *)(uintptr_t)words};
    triage_status status = tri_process_group_run(&member, 1, program, NULL);
    if (status == TRIAGE_OK && member.code != 0)
        status = tri_fail(TRIAGE_E_IO, "%s cannot be written: %s ended with %d", to, converter, member.code);
    tri_process_group_clear(&member, 1);
    return status;
}

triage_status tri_contest_plot(const char *path, const tri_contest_report *report) {
    tri_scratch scratch = {.fd = -1};
    char *svg = NULL;
    triage_status status = TRIAGE_OK;
    if (!is_png(path))
        return write_svg(path, report);
    TRI_TRY(tri_scratch_open(&scratch));
    TRI_TRY(tri_path_join(&svg, scratch.path, "plot.svg"));
    TRI_TRY(write_svg(svg, report));
    TRI_TRY(convert(path, svg));
done:
    tri_scratch_close(&scratch);
    free(svg);
    return status;
}
