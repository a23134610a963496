/* The gate: is a result right?
 *
 * Notation: u unit roundoff of out_type, v = 2^-24 that of float32, T the products summed for an element of
 * the longest row, rms that of a row. Errors of elements are in units of u (|value| + rms).
 *
 * A candidate passes when
 *   on the checked rows, against float64:   row error <= 2 Yr,   element error <= 2 Ye
 *   on every row, against the plain kernel: row gap   <= 3 Yr,   element gap   <= 3 Ye
 * where Yr, Ye (the yardstick) are the plain kernel's own errors on the checked rows. The second line is the
 * triangle inequality: |candidate - plain| <= |candidate - exact| + |plain - exact| <= 2 Y + Y.
 *
 * The floor. The plain kernel's errors on few elements may be small by luck (for a single element even 0), and
 * twice nothing would refuse correct kernels. So Y is never below what makes room for X, the most that
 * any correct kernel with float32 accumulation does in any order of summation:
 *   X <= 2 Y and, for two such kernels against one another, 2 X <= 3 Y   =>   Y >= 2/3 X.
 * Element:  the last rounding errs by at most u |value|: 1 in our unit. Summing: partial sums of t independent
 *   terms are about sqrt(t) term sizes, and each of T additions errs by v/sqrt(3) of its partial sum in
 *   the mean square, so the sum's error is v sqrt(T) / sqrt(6) of the rms = 0.41 v sqrt(T); six sigma: 2.5.
 *   Alpha, beta, bias, scales and the activation are a few roundings more: 8 v covers them.
 *       Xe = 1 + (8 + 2.5 sqrt(T)) v / u
 * Row:  in the mean square over n elements the last rounding errs by at most u / sqrt(3) < 0.6 u, and a mean
 *   of n values strays by a few 1 / sqrt(n):
 *       Xr = u min(Xe, (0.6 + (8 + 0.41 sqrt(T)) v / u) (1 + 6 / sqrt(n)))
 * e4m3: products have 8 significant bits and scales are a factor of whole blocks or of all, so float32 sums of them
 * err no more than those of other types: the same bounds. Where blocks have scales, the terms' sizes differ, at most
 * by a factor of ten and in random order; were the large ones all first, v sqrt(T) / sqrt(3) would still leave four
 * of Xe's six sigma. A tensor core that keeps fewer bits than float32 between its steps is held to this as well.
 * For f16 and bf16 the floor is below what the plain kernel does anyway (v/u is 2^-13 and 2^-16); for f32 it
 * counts.
 *
 * The scale. A row of fewer than 32 values says little about its own: one that cancels by chance would be held
 * to an accuracy that no summation has. An activation hides it: where relu or gelu leaves next to nothing of a
 * row, what is left still carries the error of the sums, and gelu's 1 + erf(x) cancels. In both cases the rms of
 * all checked rows stands in where it is larger. When these together hold fewer than 16 values, N, even that
 * may be small by chance (for one value the chance of less than a tenth of its expectation is 8 %), and the
 * cost of summing counts 1 + 32 / N^2 times. */
#include "check/verdict.h"
#include "check/compare.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SHORT_ROW 32
#define FEW_VALUES 16
#define F32_UNIT 0x1p-24

/* ---- scale and floor ---- */

/* What summing costs, in units of v and of the scale: see the top. few: elements behind that scale. */
static double summing(const tri_view *view, double per_root, double few) {
    double doubt = few < FEW_VALUES ? 1 + 32 / (few * few) : 1;
    return (8 + per_root * sqrt(view->terms)) * doubt;
}

static double element_floor(const tri_view *view, const tri_ruler *ruler, double few) {
    if (view->element_floor > 0)
        return view->element_floor;
    double worst = 1 + summing(view, 2.5, few) * F32_UNIT / ruler->unit;
    return worst * 2 / 3;
}

static double row_floor(const tri_view *view, const tri_ruler *ruler, double few) {
    if (view->row_floor > 0)
        return view->row_floor;
    double mean = 0.6 + summing(view, 0.41, few) * F32_UNIT / ruler->unit;
    double strayed = mean * (1 + 6 / sqrt((double)view->cols)) * 2 / 3;
    return ruler->unit * fmin(element_floor(view, ruler, few), strayed);
}

static tri_ruler ruler_of(const tri_view *view, const double *references, size_t count) {
    tri_ruler ruler = tri_ruler_of(view->dtype);
    size_t values = count * (size_t)view->cols;
    double sum = 0;
    if (view->scale > 0)
        ruler.floor = view->scale;
    if (view->scale > 0 || (view->cols >= SHORT_ROW && !view->common_scale))
        return ruler;
    for (size_t i = 0; i < values; i++) {
        double value = isinf(references[i]) ? 0 : fmin(fabs(references[i]), ruler.largest);
        sum += value * value;
    }
    ruler.floor = values ? sqrt(sum / (double)values) : 0;
    return ruler;
}

/* ---- checked rows against float64 (NaNs are found when all rows are looked at) ---- */

typedef struct checked {
    tri_gap worst;
    size_t row_at, element_at; /* indexes into rows */
} checked;

/* truth: room for a row, only used where -infinity is a value. */
static tri_gap gap_of_checked(const tri_view *view, const double *reference, double *truth, float *got,
                              const tri_ruler *ruler) {
    const int64_t n = view->cols;
    int64_t at = -1;
    if (!view->minus_infinity)
        return tri_gap_of_row(reference, got, n, ruler);
    memcpy(truth, reference, (size_t)n * sizeof *truth);
    tri_match_infinities(&at, truth, got, n);
    return at >= 0 ? (tri_gap){.row = INFINITY, .element = INFINITY} : tri_gap_of_row(truth, got, n, ruler);
}

static triage_status compare_checked(checked *out, const tri_view *view, const void *stored,
                                     const double *references, const int64_t *rows, size_t count,
                                     const tri_ruler *ruler) {
    float *got = NULL;
    double *truth = NULL;
    triage_status status = TRIAGE_OK;
    *out = (checked){0};
    TRI_TRY(tri_calloc(&got, (size_t)view->cols, sizeof *got));
    TRI_TRY(tri_calloc(&truth, (size_t)view->cols, sizeof *truth));
    for (size_t i = 0; i < count; i++) {
        tri_load_rows(got, view, stored, rows[i], 1);
        tri_gap gap = gap_of_checked(view, references + i * (size_t)view->cols, truth, got, ruler);
        if (gap.row > out->worst.row) {
            out->worst.row = gap.row;
            out->row_at = i;
        }
        if (gap.element > out->worst.element) {
            out->worst.element = gap.element;
            out->element_at = i;
        }
    }
done:
    free(got);
    free(truth);
    return status;
}

/* ---- the yardstick ---- */

static triage_status check_references(const tri_view *view, const double *references, const int64_t *rows,
                                      size_t count) {
    for (size_t i = 0; i < count * (size_t)view->cols; i++)
        if (!isfinite(references[i]) && !(view->minus_infinity && references[i] == -INFINITY))
            return tri_fail(TRIAGE_E_INVALID,
                            "the reference of %s[%" PRId64 "][%zu] is %g: inputs must be finite", view->name,
                            rows[i / (size_t)view->cols], i % (size_t)view->cols, references[i]);
    return TRIAGE_OK;
}

static triage_status check_plain_is_whole(const tri_view *view, const void *plain, const tri_ruler *ruler) {
    tri_spread self;
    triage_status status = tri_spread_of(&self, view, plain, plain, ruler);
    if (status == TRIAGE_OK && self.nan_at >= 0)
        status = tri_fail(TRIAGE_E_WRONG, "the plain kernel left a NaN in row %" PRId64, self.nan_at);
    return status;
}

triage_status tri_yardstick_make(tri_yardstick *out, const tri_view *view, const void *plain,
                                 const double *references, const int64_t *rows, size_t count) {
    triage_status status;
    checked errors;
    tri_ruler ruler = ruler_of(view, references, count);
    double few = (double)count * (double)view->cols;
    double sane = view->sane > 0 ? view->sane : 8 * (ruler.unit + F32_UNIT * summing(view, 1, few));
    *out = (tri_yardstick){0};
    TRI_TRY(check_references(view, references, rows, count));
    TRI_TRY(check_plain_is_whole(view, plain, &ruler));
    TRI_TRY(compare_checked(&errors, view, plain, references, rows, count, &ruler));
    if (!(errors.worst.row <= sane))
        return tri_fail(TRIAGE_E_WRONG,
                        "the plain kernel itself is wrong: row %" PRId64
                        " is off by %.3g, at most %.3g allowed",
                        rows[errors.row_at], errors.worst.row, sane);
    out->row_error = fmax(errors.worst.row, row_floor(view, &ruler, few));
    out->element_error = fmax(errors.worst.element, element_floor(view, &ruler, few));
done:
    return status;
}

/* ---- the verdict ---- */

typedef struct inputs { /* the arguments of tri_verdict_make */
    const tri_yardstick *yardstick;
    const tri_view *view;
    const void *candidate, *plain;
    const double *references;
    const int64_t *rows;
    size_t count;
} inputs;

/* Row `row` of the candidate and of what it is held against: checked row `index`, or the plain kernel's. */
static int64_t worst_column(const inputs *in, int64_t row, int64_t index, const tri_ruler *ruler) {
    size_t n = (size_t)in->view->cols;
    int64_t column = -1;
    float *got = NULL, *plain = NULL;
    double *truth = NULL;
    triage_status status;
    TRI_TRY(tri_calloc(&got, n, sizeof *got));
    TRI_TRY(tri_calloc(&plain, n, sizeof *plain));
    TRI_TRY(tri_calloc(&truth, n, sizeof *truth));
    tri_load_rows(got, in->view, in->candidate, row, 1);
    tri_load_rows(plain, in->view, in->plain, row, 1);
    for (size_t j = 0; j < n; j++)
        truth[j] = index >= 0 ? in->references[(size_t)index * n + j] : (double)plain[j];
    column = tri_nan_column(got, in->view->cols);
    if (column < 0 && in->view->minus_infinity)
        tri_match_infinities(&column, truth, got, in->view->cols);
    if (column < 0)
        column = tri_gap_worst_column(truth, got, in->view->cols, ruler);
done:
    free(got);
    free(plain);
    free(truth);
    return column;
}

/* Keeps the first fault only. index: of the checked row, -1 when against the plain kernel. */
static void refuse(tri_verdict *out, const inputs *in, int64_t row, int64_t index, const tri_ruler *ruler,
                   const char *what, double value, double limit) {
    if (out->reason[0])
        return;
    out->right = false;
    out->bad_row = row;
    out->bad_col = worst_column(in, row, index, ruler);
    snprintf(out->reason, sizeof out->reason,
             "%s %.3g, at most %.3g allowed, against %s; worst at row %" PRId64 ", column %" PRId64, what,
             value, limit, index >= 0 ? "float64" : "the plain kernel", row, out->bad_col);
}

static void refuse_nan(tri_verdict *out, const inputs *in, int64_t row, const tri_ruler *ruler) {
    out->right = false;
    out->bad_row = row;
    out->bad_col = worst_column(in, row, -1, ruler);
    snprintf(out->reason, sizeof out->reason, "NaN at row %" PRId64 ", column %" PRId64, row, out->bad_col);
}

static void judge(tri_verdict *out, const inputs *in, const checked *errors, const tri_spread *gaps,
                  const tri_ruler *ruler) {
    const tri_yardstick *yard = in->yardstick;
    if (gaps->nan_at >= 0)
        refuse_nan(out, in, gaps->nan_at, ruler);
    /* written so that a yardstick that is no number refuses */
    if (!(errors->worst.row <= 2 * yard->row_error))
        refuse(out, in, in->rows[errors->row_at], (int64_t)errors->row_at, ruler, "row error",
               errors->worst.row, 2 * yard->row_error);
    if (!(errors->worst.element <= 2 * yard->element_error))
        refuse(out, in, in->rows[errors->element_at], (int64_t)errors->element_at, ruler, "element error",
               errors->worst.element, 2 * yard->element_error);
    if (!(gaps->worst.row <= 3 * yard->row_error))
        refuse(out, in, gaps->row_at, -1, ruler, "row distance", gaps->worst.row, 3 * yard->row_error);
    if (!(gaps->worst.element <= 3 * yard->element_error))
        refuse(out, in, gaps->element_at, -1, ruler, "element distance", gaps->worst.element,
               3 * yard->element_error);
}

void tri_verdict_make(tri_verdict *out, const tri_yardstick *yardstick, const tri_view *view,
                      const void *candidate, const void *plain, const double *references, const int64_t *rows,
                      size_t count) {
    inputs in = {yardstick, view, candidate, plain, references, rows, count};
    tri_ruler ruler = ruler_of(view, references, count);
    checked errors;
    tri_spread gaps;
    *out = (tri_verdict){.bad_row = -1, .bad_col = -1};
    if (count == 0) {
        snprintf(out->reason, sizeof out->reason, "no row was checked against float64");
        return;
    }
    if (compare_checked(&errors, view, candidate, references, rows, count, &ruler) != TRIAGE_OK ||
        tri_spread_of(&gaps, view, candidate, plain, &ruler) != TRIAGE_OK) {
        snprintf(out->reason, sizeof out->reason, "%.150s", triage_last_error());
        return;
    }
    out->right = true;
    out->row_error = errors.worst.row;
    out->element_error = errors.worst.element;
    out->row_distance = gaps.worst.row;
    out->element_distance = gaps.worst.element;
    judge(out, &in, &errors, &gaps, &ruler);
}

/* ---- rough results ---- */

#define ROUGH_SHARE 0.05

/* NaN is near nothing; an infinity is near its equal. */
static bool is_rough_row(const float *got, const float *plain, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += isfinite(plain[i]) ? (double)plain[i] * plain[i] : 0;
    const double rms = sqrt(sum / (double)n);
    for (int64_t i = 0; i < n; i++) {
        const double off = fabs((double)got[i] - plain[i]);
        if (got[i] != plain[i] && !(off <= ROUGH_SHARE * (fabs((double)plain[i]) + rms)))
            return false;
    }
    return true;
}

bool tri_verdict_is_rough(const tri_view *view, const void *got, const void *plain) {
    const size_t n = (size_t)view->cols;
    float *rows[2] = {NULL, NULL};
    bool rough = false;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_calloc(&rows[0], n, sizeof *rows[0]));
    TRI_TRY(tri_calloc(&rows[1], n, sizeof *rows[1]));
    rough = true;
    for (int64_t row = 0; row < view->rows && rough; row++) {
        tri_load_rows(rows[0], view, got, row, 1);
        tri_load_rows(rows[1], view, plain, row, 1);
        rough = is_rough_row(rows[0], rows[1], view->cols);
    }
done:
    free(rows[0]);
    free(rows[1]);
    return rough;
}
