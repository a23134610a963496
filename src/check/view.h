/* A result as the gate sees it: a matrix of stored elements, and how exact a right one must be. */
#ifndef TRIAGE_CHECK_VIEW_H
#define TRIAGE_CHECK_VIEW_H

#include "base/base.h"

/* rows x cols elements; each row is one line of results that belong together (their rms is the scale of an error).
 * All bounds but the last three are derived in check/verdict.c from what float32 sums of so many terms need. */
typedef struct tri_view {
    const char *name; /* "C": in messages */
    triage_dtype dtype;
    int64_t rows, cols;
    int64_t ld;     /* elements from line to line as stored, at least cols (or rows when col_major) */
    bool col_major; /* a stored line is a column */
    double terms;   /* products that are summed for an element, at most */
    /* A row may be small by its own doing (an activation that cuts most of it off): the rms of all checked rows counts
     * as a row's scale where it is larger. Rows of fewer than 32 elements are treated so anyway. */
    bool common_scale;
    /* Above 0: what counts as a row's scale instead, where it is larger than the row: for results whose errors are
     * absolute. Of one column, a logarithm say, the rms of other rows says nothing. */
    double scale;
    /* -infinity is a value: where the float64 row has it the result must have it, and nowhere else. */
    bool minus_infinity;
    /* Of the operation's own, where float32 sums are not what limits a right kernel (8-bit floats, rounded
     * intermediates). They must be derived and written down where they are set. 0: from terms.
     *   row_floor, element_floor: the yardstick is never below (|x - f64|_2 / |f64|_2 of a row; |x - f64| of an element
     *   in units of u (|f64| + rms)); a candidate may err twice that.
     *   sane: the most row error of the plain kernel; beyond it the plain kernel counts as wrong itself. */
    double row_floor, element_floor, sane;
} tri_view;

/* Bytes as stored, the gaps of a leading dimension included. */
static inline size_t tri_view_bytes(const tri_view *view, size_t element_size) {
    return (size_t)(view->col_major ? view->cols : view->rows) * (size_t)view->ld * element_size;
}

#endif
