/* A libopenblas.so.0 for tests: the plain product, or, with OPENBLAS_FAKE=wrong, one that forgets the last k;
 * with OPENBLAS_FAKE=crash, none. */
#include <stdlib.h>
#include <string.h>

#ifndef HOLLOW /* another build of it has none of the functions */
enum { kRowMajor = 101, kTransposed = 112 };

void cblas_sgemm(int order, int op_a, int op_b, int m, int n, int k, float alpha, const float *a, int lda,
                 const float *b, int ldb, float beta, float *c, int ldc);
void openblas_set_num_threads(int threads);
char *openblas_get_config(void);

/* Element (row, col) of op(x), where x is stored in `order`. */
static float at(const float *x, int ld, int order, int op, int row, int col) {
    int by_row = (order == kRowMajor) != (op == kTransposed);
    return x[by_row ? (size_t)row * (size_t)ld + (size_t)col : (size_t)col * (size_t)ld + (size_t)row];
}

void cblas_sgemm(int order, int op_a, int op_b, int m, int n, int k, float alpha, const float *a, int lda,
                 const float *b, int ldb, float beta, float *c, int ldc) {
    const char *how = getenv("OPENBLAS_FAKE");
    if (how && strcmp(how, "crash") == 0)
        abort();
    int terms = how && strcmp(how, "wrong") == 0 ? k - 1 : k;
    for (int row = 0; row < m; row++) {
        for (int col = 0; col < n; col++) {
            float *to = c + (order == kRowMajor ? (size_t)row * (size_t)ldc + (size_t)col
                                                : (size_t)col * (size_t)ldc + (size_t)row);
            float sum = 0;
            for (int i = 0; i < terms; i++)
                sum += at(a, lda, order, op_a, row, i) * at(b, ldb, order, op_b, i, col);
            *to = alpha * sum + (beta == 0 ? 0 : beta * *to);
        }
    }
}

void openblas_set_num_threads(int threads) {
    (void)threads;
}

char *openblas_get_config(void) {
    static char config[] = "OpenBLAS 9.8.7 FAKE";
    return config;
}
#else
int openblas_is_hollow(void);
int openblas_is_hollow(void) {
    return 1;
}
#endif
