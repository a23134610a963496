/* Distance of stored results from a truth, row by row. Private to this folder. */
#ifndef TRIAGE_CHECK_COMPARE_H
#define TRIAGE_CHECK_COMPARE_H

#include "check/view.h"

/* How results of an out_type are compared. */
typedef struct tri_ruler {
    double unit;     /* u: unit roundoff */
    double smallest; /* the smallest normal number: below it rounding is absolute, so no scale is smaller */
    double
        largest;  /* finite; both sides are cut there, so that the infinity of a correct overflow is right */
    double floor; /* no row's rms counts as less: verdict.c tells when it is not 0 */
} tri_ruler;

/* u is half the distance from 1 to the next number: 2^-p for p significant bits, the hidden one included:
 * f32 2^-24, f16 2^-11, bf16 2^-8. */
tri_ruler tri_ruler_of(triage_dtype dtype);

typedef struct tri_gap {
    double row;     /* |got - truth|_2 / |truth|_2 */
    double element; /* worst |got - truth| / (u (|truth| + rms of the row)) */
    bool nan;       /* one of the two has a NaN; row and element are then 0 */
} tri_gap;
tri_gap tri_gap_of_row(const double *truth, const float *got, int64_t n, const tri_ruler *ruler);
int64_t tri_gap_worst_column(const double *truth, const float *got, int64_t n, const tri_ruler *ruler);
int64_t tri_nan_column(const float *got, int64_t n); /* -1: none */

/* For a view where -infinity is a value: places where both have it count as equal (both become 0). *at: the first place
 * where only one has it, -1: none; such a row is off by infinitely much. */
void tri_match_infinities(int64_t *at, double *truth, float *got, int64_t n);

/* Rows [row, row + count) of a stored result as floats, out[count][view->cols]. */
void tri_load_rows(float *out, const tri_view *view, const void *stored, int64_t row, int64_t count);

/* The worst of all rows of one stored result against another; ties go to the lower row. */
typedef struct tri_spread {
    tri_gap worst;
    int64_t row_at, element_at; /* rows of worst.row and worst.element */
    int64_t nan_at;             /* the first row with a NaN; -1 */
} tri_spread;
triage_status tri_spread_of(tri_spread *out, const tri_view *view, const void *got, const void *truth,
                            const tri_ruler *ruler);

#endif
