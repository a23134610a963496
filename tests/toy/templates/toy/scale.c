/* toy on the CPU: y[i][j] = s[i] * x[i][j], kRows rows a task.
 *
 * Parameters to tune:  rows 1 .. 64, rows of a task;  wrong 0, 1: 1 forgets the factor of the last row, for the gate.
 */
#include "toy/args.h"

enum {
    kRows = {{rows}},
    kWrong = {{wrong}},
};

_Static_assert(kRows >= 1, "a task has rows");

void triage_kernel(const tri_toy_args *args) {
#pragma omp parallel for schedule(static)
    for (long long first = 0; first < args->rows; first += kRows)
        for (long long i = first; i < args->rows && i < first + kRows; i++) {
            const float s = kWrong && i + 1 == args->rows ? 1.0f : args->s[i];
            for (long long j = 0; j < args->cols; j++)
                args->y[i * args->cols + j] = s * args->x[i * args->cols + j];
        }
}
