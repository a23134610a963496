/* toy on the CPU, the yardstick. No parameters. */
#include "toy/args.h"

void triage_kernel(const tri_toy_args *args) {
    for (long long i = 0; i < args->rows; i++)
        for (long long j = 0; j < args->cols; j++)
            args->y[i * args->cols + j] = args->s[i] * args->x[i * args->cols + j];
}
