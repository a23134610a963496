/* See compare.h. The loops here see every element of every candidate: they vectorise and run in parallel. */
#include "check/compare.h"
#include "base/convert.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

tri_ruler tri_ruler_of(triage_dtype dtype) {
    switch (dtype) {
    case TRIAGE_F32:
    case TRIAGE_E4M3: /* never an out_type */
        break;
    case TRIAGE_F16:
        return (tri_ruler){.unit = 0x1p-11, .smallest = 0x1p-14, .largest = 65504};
    case TRIAGE_BF16:
        return (tri_ruler){.unit = 0x1p-8, .smallest = 0x1p-126, .largest = 0x1.fep127};
    }
    return (tri_ruler){.unit = 0x1p-24, .smallest = 0x1p-126, .largest = FLT_MAX};
}

static inline double cut(double value, double largest) /* a NaN stays one */
{
    value = value > largest ? largest : value;
    return value < -largest ? -largest : value;
}

typedef struct sums {
    double truth, gap; /* of squares */
} sums;

static sums sum_squares(const double *truth, const float *got, int64_t n, double largest) {
    double truths = 0, gaps = 0;
#pragma omp simd reduction(+ : truths, gaps)
    for (int64_t j = 0; j < n; j++) {
        double t = cut(truth[j], largest), gap = cut((double)got[j], largest) - t;
        truths += t * t;
        gaps += gap * gap;
    }
    return (sums){truths, gaps};
}

static double row_scale(double squares, int64_t n, const tri_ruler *ruler) {
    double scale = sqrt(squares / (double)n);
    scale = scale > ruler->floor ? scale : ruler->floor;
    return scale > ruler->smallest ? scale : ruler->smallest;
}

tri_gap tri_gap_of_row(const double *truth, const float *got, int64_t n, const tri_ruler *ruler) {
    sums of = sum_squares(truth, got, n, ruler->largest);
    if (isnan(of.gap) || isnan(of.truth))
        return (tri_gap){.nan = true};
    double scale = row_scale(of.truth, n, ruler), largest = ruler->largest, worst = 0;
    if (of.gap == 0)
        return (tri_gap){0};
#pragma omp simd reduction(max : worst)
    for (int64_t j = 0; j < n; j++) {
        double t = cut(truth[j], largest), gap = fabs(cut((double)got[j], largest) - t);
        double ratio = gap / (fabs(t) + scale);
        worst = ratio > worst ? ratio : worst;
    }
    return (tri_gap){.row = sqrt(of.gap / (double)n) / scale, .element = worst / ruler->unit};
}

int64_t tri_gap_worst_column(const double *truth, const float *got, int64_t n, const tri_ruler *ruler) {
    double scale = row_scale(sum_squares(truth, got, n, ruler->largest).truth, n, ruler), worst = -1;
    int64_t column = 0;
    for (int64_t j = 0; j < n; j++) {
        double t = cut(truth[j], ruler->largest);
        double ratio = fabs(cut((double)got[j], ruler->largest) - t) / (fabs(t) + scale);
        if (ratio > worst) {
            worst = ratio;
            column = j;
        }
    }
    return column;
}

int64_t tri_nan_column(const float *got, int64_t n) {
    for (int64_t j = 0; j < n; j++)
        if (isnan(got[j]))
            return j;
    return -1;
}

/* ---- loading ---- */

/* count values at `from`, to every `stride`-th float of out. */
#define DEFINE_WIDEN(suffix, type)                                                                           \
    static void widen_##suffix(float *restrict out, size_t stride, const void *from, size_t at,              \
                               int64_t count) {                                                              \
        const type *values = (const type *)from + at;                                                        \
        if (stride == 1)                                                                                     \
            for (int64_t i = 0; i < count; i++)                                                              \
                out[i] = tri_float_of_##suffix(values[i]);                                                   \
        else                                                                                                 \
            for (int64_t i = 0; i < count; i++)                                                              \
                out[(size_t)i * stride] = tri_float_of_##suffix(values[i]);                                  \
    }

DEFINE_WIDEN(f32, float)
DEFINE_WIDEN(f16, uint16_t)
DEFINE_WIDEN(bf16, uint16_t)
DEFINE_WIDEN(e4m3, uint8_t)

typedef void (*widen_fn)(float *restrict, size_t, const void *, size_t, int64_t);
static const widen_fn widen_of[] = {widen_f32, widen_f16, widen_bf16, widen_e4m3};

void tri_load_rows(float *out, const tri_view *view, const void *stored, int64_t row, int64_t count) {
    widen_fn widen = widen_of[view->dtype];
    size_t n = (size_t)view->cols, ld = (size_t)view->ld;
    if (!view->col_major)
        for (size_t i = 0; i < (size_t)count; i++)
            widen(out + i * n, 1, stored, ((size_t)row + i) * ld, view->cols);
    else
        for (size_t j = 0; j < n; j++)
            widen(out + j, n, stored, j * ld + (size_t)row, count);
}

void tri_match_infinities(int64_t *at, double *truth, float *got, int64_t n) {
    *at = -1;
    for (int64_t j = 0; j < n; j++) {
        const bool in_truth = truth[j] == -INFINITY, in_got = got[j] == -INFINITY;
        if (in_truth && in_got)
            truth[j] = got[j] = 0;
        else if ((in_truth || in_got) && *at < 0)
            *at = j;
    }
}

/* ---- all rows ---- */

/* Rows at a time: one where they are contiguous, else a cache line's worth of each column. */
static int64_t tile_rows(const tri_view *view) {
    int64_t fit = (INT64_C(1) << 22) / view->cols;
    int64_t most = view->col_major ? 32 : 1;
    fit = fit < 1 ? 1 : fit;
    return fit < most ? fit : most;
}

typedef struct tile {
    float *got, *truth; /* [rows][n] */
    double *wide;       /* [n]: one row of truth */
} tile;

static bool tile_make(tile *t, const tri_view *view, int64_t rows) {
    *t = (tile){0};
    return tri_calloc(&t->got, (size_t)(rows * view->cols), sizeof(float)) == TRIAGE_OK &&
           tri_calloc(&t->truth, (size_t)(rows * view->cols), sizeof(float)) == TRIAGE_OK &&
           tri_calloc(&t->wide, (size_t)view->cols, sizeof(double)) == TRIAGE_OK;
}

static void tile_free(tile *t) {
    free(t->got);
    free(t->truth);
    free(t->wide);
}

static void note_gap(tri_spread *spread, tri_gap gap, int64_t row) {
    if (gap.nan && (spread->nan_at < 0 || row < spread->nan_at))
        spread->nan_at = row;
    if (gap.row > spread->worst.row || (gap.row == spread->worst.row && row < spread->row_at)) {
        spread->worst.row = gap.row;
        spread->row_at = row;
    }
    if (gap.element > spread->worst.element ||
        (gap.element == spread->worst.element && row < spread->element_at)) {
        spread->worst.element = gap.element;
        spread->element_at = row;
    }
}

static void note_spread(tri_spread *all, const tri_spread *part) {
    note_gap(all, (tri_gap){.row = part->worst.row, .element = -1}, part->row_at);
    note_gap(all, (tri_gap){.row = -1, .element = part->worst.element}, part->element_at);
    if (part->nan_at >= 0)
        note_gap(all, (tri_gap){.row = -1, .element = -1, .nan = true}, part->nan_at);
}

static tri_gap gap_of_row(double *truth, float *got, const tri_view *view, const tri_ruler *ruler) {
    int64_t at = -1;
    if (view->minus_infinity)
        tri_match_infinities(&at, truth, got, view->cols);
    return at >= 0 ? (tri_gap){.row = INFINITY, .element = INFINITY}
                   : tri_gap_of_row(truth, got, view->cols, ruler);
}

static void spread_of_tile(tri_spread *spread, tile *t, const tri_view *view, int64_t row, int64_t count,
                           const tri_ruler *ruler) {
    int64_t n = view->cols;
    for (int64_t i = 0; i < count; i++) {
        for (int64_t j = 0; j < n; j++)
            t->wide[j] = (double)t->truth[i * n + j];
        note_gap(spread, gap_of_row(t->wide, t->got + i * n, view, ruler), row + i);
    }
}

static const tri_spread no_spread = {.row_at = INT64_MAX, .element_at = INT64_MAX, .nan_at = -1};

triage_status tri_spread_of(tri_spread *out, const tri_view *view, const void *got, const void *truth,
                            const tri_ruler *ruler) {
    int64_t step = tile_rows(view);
    bool failed = false;
    *out = no_spread;
#pragma omp parallel if (view->rows * view->cols > 1 << 16)
    {
        tri_spread mine = no_spread;
        tile t;
        bool ready = tile_make(&t, view, step);
#pragma omp for schedule(static)
        for (int64_t row = 0; row < view->rows; row += step) {
            int64_t count = view->rows - row < step ? view->rows - row : step;
            if (!ready)
                continue;
            tri_load_rows(t.got, view, got, row, count);
            tri_load_rows(t.truth, view, truth, row, count);
            spread_of_tile(&mine, &t, view, row, count, ruler);
        }
        tile_free(&t);
#pragma omp critical
        {
            note_spread(out, &mine);
            failed = failed || !ready;
        }
    }
    return failed ? tri_fail(TRIAGE_E_MEMORY, "out of memory while comparing results") : TRIAGE_OK;
}
