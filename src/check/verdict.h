/* The gate: is a result right? */
#ifndef TRIAGE_CHECK_VERDICT_H
#define TRIAGE_CHECK_VERDICT_H

#include "check/view.h"

/* ---- verdict --------------------------------------------------------------------------------------
 * The gate. A candidate is right when it is as right as the plain kernel (reference template: same
 * types, float32 accumulation): at most twice its error against float64 on the checked rows, and on
 * EVERY element within the triangle bound of the plain kernel's result. */
typedef struct tri_yardstick {
    double row_error;     /* worst over checked rows: |plain - f64|_2 / |f64|_2 */
    double element_error; /* worst over checked elements: |plain - f64| / (u * (|f64| + rms of the row)) */
    /* neither is below the floor that float32 accumulation needs in any order: verdict.c derives it */
} tri_yardstick;
typedef struct tri_verdict {
    bool right;
    double row_error; /* candidate against float64, worst checked row */
    double element_error;
    double row_distance; /* candidate against plain kernel, worst of all rows */
    double element_distance;
    int64_t bad_row, bad_col; /* where the first violated bound was worst, or a NaN; -1 */
    char reason[160];         /* "" when right */
} tri_verdict;

/* plain: the plain kernel's whole result. references: count x cols float64 rows. Fails (TRIAGE_E_WRONG) if the
 * plain kernel itself is off: row_error above 8 (u + 2^-24 (8 + sqrt(terms))), or any NaN. References must be
 * finite (TRIAGE_E_INVALID). */
triage_status tri_yardstick_make(tri_yardstick *out, const tri_view *view, const void *plain,
                                 const double *references, const int64_t *rows, size_t count);
/* candidate and plain: whole results as stored. */
void tri_verdict_make(tri_verdict *out, const tri_yardstick *yardstick, const tri_view *view,
                      const void *candidate, const void *plain, const double *references, const int64_t *rows,
                      size_t count);
/* Of a result that is not right: is it that result all the same, summed with less care? No element is off by more than a
 * twentieth of its own size and its row's. For a look at what others compute, never to call it right. */
bool tri_verdict_is_rough(const tri_view *view, const void *got, const void *plain);

#endif
