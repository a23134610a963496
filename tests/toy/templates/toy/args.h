/* toy: y[i][j] = s[i] * x[i][j], rows x cols, row-major, packed, float32. */
#ifndef TRIAGE_TOY_ARGS_H
#define TRIAGE_TOY_ARGS_H

typedef struct tri_toy_args {
    const float *x; /* [rows][cols] */
    const float *s; /* [rows] */
    float *y;       /* [rows][cols] */
    long long rows, cols;
} tri_toy_args;

#endif
