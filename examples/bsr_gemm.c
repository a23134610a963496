/* A block-sparse product through the C API: C = A B with A of random blocks, checked against float64.
 *
 *   example_bsr_gemm [DATABASE]     looks the kernel up in DATABASE, as tuned by
 *       triage_tune --shape 4096,4096,4096 --sparsity 0.9 --block 64 --db DATABASE     (a GPU, f16)
 *       triage_tune --shape 1024,1024,1024 --sparsity 0.9 --block 32 --db DATABASE     (the CPU, f32)
 *
 * It needs triage.h and libtriage, on the CPU and on the GPU alike.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "triage.h"

#define SPARSITY 0.9

/* ---- small helpers ---- */

static void check(triage_status status) {
    if (status == TRIAGE_OK)
        return;
    fprintf(stderr, "example: %s: %s\n", triage_status_name(status), triage_last_error());
    exit(EXIT_FAILURE);
}

static void *allocate(size_t count, size_t size) {
    void *memory = calloc(count, size);
    if (!memory) {
        fprintf(stderr, "example: out of memory\n");
        exit(EXIT_FAILURE);
    }
    return memory;
}

static uint32_t random_below(uint32_t bound) { /* a linear congruential generator will do here */
    static uint64_t state = 1;
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(((state >> 32) * bound) >> 32);
}

/* A multiple of 1/8 in [-2, 2]: exact in f16, so that only the sum and the result are rounded. */
static float random_value(void) {
    return ((float)random_below(33) - 16.0f) / 8.0f;
}

/* Exact for the values above: the exponent moves its bias, the mantissa loses only zeros. */
static uint16_t half_from_float(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint32_t sign = bits >> 16 & 0x8000;
    return (uint16_t)(value == 0.0f ? sign : sign | (((bits & 0x7fffffff) >> 13) - ((127 - 15) << 10)));
}

static float float_from_half(uint16_t half) {
    int exponent = half >> 10 & 31;
    double mantissa = half & 1023;
    double value = exponent ? ldexp(1024 + mantissa, exponent - 25) : ldexp(mantissa, -24);
    if (exponent == 31)
        value = half & 1023 ? NAN : INFINITY;
    return (float)(half & 0x8000 ? -value : value);
}

/* ---- the problem: an n x n matrix of random blocks times a dense n x n one ---- */

typedef struct problem {
    triage_dtype dtype; /* TRIAGE_F16 or TRIAGE_F32 */
    int64_t n;          /* rows and columns of everything */
    int32_t block;
    int64_t nnzb;
    int32_t *row_ptr, *col_idx;
    float *values, *b; /* the numbers, before they become dtype */
} problem;

/* The same number of blocks in each row, as evenly as can be: columns by selection sampling, ascending. */
static void make_pattern(problem *p) {
    int32_t side = (int32_t)(p->n / p->block);
    p->nnzb = llround((1 - SPARSITY) * side * side);
    p->row_ptr = allocate((size_t)side + 1, sizeof *p->row_ptr);
    p->col_idx = allocate((size_t)p->nnzb, sizeof *p->col_idx);
    int32_t used = 0;
    for (int32_t row = 0; row < side; row++) {
        int32_t wanted = (int32_t)((row + 1) * p->nnzb / side) - used;
        for (int32_t col = 0; wanted > 0; col++) {
            if (random_below((uint32_t)(side - col)) < (uint32_t)wanted) {
                p->col_idx[used++] = col;
                wanted--;
            }
        }
        p->row_ptr[row + 1] = used;
    }
}

static float *random_values(size_t count) {
    float *values = allocate(count, sizeof *values);
    for (size_t i = 0; i < count; i++)
        values[i] = random_value();
    return values;
}

/* The values as the device wants them: a new array. */
static void *convert(const float *values, size_t count, triage_dtype dtype) {
    uint16_t *halves = allocate(count, dtype == TRIAGE_F16 ? 2 : 4);
    if (dtype == TRIAGE_F32)
        return memcpy(halves, values, count * sizeof *values);
    for (size_t i = 0; i < count; i++)
        halves[i] = half_from_float(values[i]);
    return halves;
}

/* ---- the check ---- */

/* One row of A B in float64. */
static void reference_row(double *out, const problem *p, int64_t row) {
    int64_t block_row = row / p->block, inner = row % p->block;
    memset(out, 0, (size_t)p->n * sizeof *out);
    for (int32_t i = p->row_ptr[block_row]; i < p->row_ptr[block_row + 1]; i++) {
        const float *a = p->values + ((int64_t)i * p->block + inner) * p->block;
        for (int32_t k = 0; k < p->block; k++) {
            const float *b = p->b + ((int64_t)p->col_idx[i] * p->block + k) * p->n;
            for (int64_t j = 0; j < p->n; j++)
                out[j] += (double)a[k] * b[j];
        }
    }
}

/* Every element of every stride-th row: as many rows as some seconds allow. Returns how many are wrong. */
static int64_t count_wrong(const problem *p, const void *c, int64_t stride) {
    double *reference = allocate((size_t)p->n, sizeof *reference);
    double rounding = p->dtype == TRIAGE_F16 ? ldexp(1, -11) : ldexp(1, -24);
    int64_t wrong = 0;
    for (int64_t row = 0; row < p->n; row += stride) {
        reference_row(reference, p, row);
        for (int64_t j = 0; j < p->n; j++) {
            int64_t at = row * p->n + j;
            double got =
                p->dtype == TRIAGE_F16 ? float_from_half(((const uint16_t *)c)[at]) : ((const float *)c)[at];
            /* the float32 sums are exact for these values, so only the result is rounded; NaN fails too */
            double allowed = 2 * rounding * fabs(reference[j]);
            wrong += !(fabs(got - reference[j]) <= allowed);
        }
    }
    free(reference);
    return wrong;
}

/* ---- */

static void print_choice(triage_context *context, const triage_bsr_matrix *a, const triage_dense *b,
                         const triage_dense *c) {
    static const char *const sources[] = {"tuned for this problem", "tuned for a near problem",
                                          "the space's default"};
    triage_choice choice = {.version = TRIAGE_CHOICE_VERSION};
    check(triage_bsr_gemm_choice(&choice, context, a, b, c, NULL));
    printf("kernel: %s (%s)\n", choice.config, sources[choice.source]);
    if (choice.source == TRIAGE_SOURCE_NEAREST)
        printf("donor:  %s, distance %.2f\n", choice.donor, choice.distance);
    if (choice.median_ns > 0)
        printf("stored: %.1f us\n", choice.median_ns / 1e3);
    if (choice.dense_is_faster)
        printf("a dense product would be faster: %.1f us\n", choice.dense_median_ns / 1e3);
}

/* A dense n x n matrix on the device: a copy of data, or every byte 0xff (NaN) without. */
static triage_dense make_dense(triage_context *context, const problem *p, const void *data) {
    triage_dense dense = {NULL, p->n, p->n, p->n, p->dtype, TRIAGE_ROW_MAJOR};
    size_t bytes = (size_t)(p->n * p->n) * (p->dtype == TRIAGE_F16 ? 2 : 4);
    void *nans = NULL;
    if (!data)
        data = nans = memset(allocate(bytes, 1), 0xff, bytes);
    check(triage_device_alloc(&dense.data, context, bytes));
    check(triage_device_upload(context, dense.data, data, bytes));
    free(nans);
    return dense;
}

int main(int argc, char **argv) {
    triage_context_options options = TRIAGE_CONTEXT_OPTIONS_INIT;
    triage_context *context = NULL;
    options.db_path = argc > 1 ? argv[1] : NULL;
    check(triage_context_open(&context, &options));
    printf("device: %s\n", triage_context_device_name(context));

    problem p = {.dtype = TRIAGE_F16, .n = 4096, .block = 64};
    if (triage_context_is_host(context))
        p = (problem){.dtype = TRIAGE_F32, .n = 1024, .block = 32};
    make_pattern(&p);
    size_t a_count = (size_t)p.nnzb * (size_t)p.block * (size_t)p.block, b_count = (size_t)(p.n * p.n);
    p.values = random_values(a_count);
    p.b = random_values(b_count);
    void *a_data = convert(p.values, a_count, p.dtype), *b_data = convert(p.b, b_count, p.dtype);

    triage_bsr_desc desc = TRIAGE_BSR_DESC_INIT;
    desc.dtype = p.dtype;
    desc.rows = desc.cols = p.n;
    desc.block_rows = desc.block_cols = p.block;
    desc.nnzb = p.nnzb;
    desc.row_ptr = p.row_ptr;
    desc.col_idx = p.col_idx;
    desc.values = a_data; /* in host memory: copied */
    triage_bsr_matrix *a = NULL;
    check(triage_bsr_matrix_create(&a, context, &desc));
    triage_dense b = make_dense(context, &p, b_data), c = make_dense(context, &p, NULL);
    print_choice(context, a, &b, &c);

    check(triage_bsr_gemm(context, 1.0f, a, &b, 0.0f, &c, NULL, NULL));
    check(triage_device_synchronize(context));

    void *result = allocate(b_count, 4);
    check(triage_device_download(context, result, c.data, b_count * (p.dtype == TRIAGE_F16 ? 2 : 4)));
    int64_t stride = p.n / 1024 * p.n / 1024; /* 1 for 1024, 16 for 4096: the same work */
    int64_t rows = (p.n + stride - 1) / stride, wrong = count_wrong(&p, result, stride);
    printf("result: %lld of %lld checked elements right (%lld of %lld rows, float64)\n",
           (long long)(rows * p.n - wrong), (long long)(rows * p.n), (long long)rows, (long long)p.n);

    free(result);
    free(b_data);
    free(a_data);
    free(p.b);
    free(p.values);
    free(p.col_idx);
    free(p.row_ptr);
    triage_device_release(context, c.data);
    triage_device_release(context, b.data);
    triage_bsr_matrix_free(a);
    triage_context_free(context);
    return wrong ? EXIT_FAILURE : EXIT_SUCCESS;
}
