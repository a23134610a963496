/* A sparse linear layer with bias and activation: Y = silu(X W^T + bias), W of random blocks, in bf16 or f32.
 *
 *   example_linear [DATABASE]
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "triage.h"

enum { TOKENS = 96, IN = 512, OUT = 768, BLOCK = 32, BLOCKS_A_ROW = 4 };
enum { NNZB = OUT / BLOCK * BLOCKS_A_ROW };

static void check(triage_status status) {
    if (status == TRIAGE_OK)
        return;
    fprintf(stderr, "example: %s: %s\n", triage_status_name(status), triage_last_error());
    exit(EXIT_FAILURE);
}

/* bf16 is the upper half of a float. The numbers below are multiples of 1/16 that fit in it exactly. */
typedef union number {
    float f32;
    uint16_t bf16[2]; /* [1] is the upper half: little-endian */
} number;

static float load(const void *data, triage_dtype dtype, int i) {
    number value = {0};
    if (dtype == TRIAGE_F32)
        return ((const float *)data)[i];
    value.bf16[1] = ((const uint16_t *)data)[i];
    return value.f32;
}

/* count pseudo-random numbers in [-1, 1], a new array of dtype. */
static void *make_values(size_t count, triage_dtype dtype, uint32_t seed) {
    void *data = calloc(count, sizeof(float));
    if (!data)
        exit(EXIT_FAILURE);
    for (size_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        number value = {.f32 = (float)((int32_t)(seed >> 16) % 33 - 16) / 16.0f};
        if (dtype == TRIAGE_F32)
            ((float *)data)[i] = value.f32;
        else
            ((uint16_t *)data)[i] = value.bf16[1];
    }
    return data;
}

/* Blocks 0, 4, 8, 12 of the first block row, 1, 5, 9, 13 of the second, ... */
static void make_pattern(int32_t *row_ptr, int32_t *col_idx) {
    const int spacing = IN / BLOCK / BLOCKS_A_ROW;
    for (int i = 0; i < NNZB; i++)
        col_idx[i] = i % BLOCKS_A_ROW * spacing + i / BLOCKS_A_ROW % spacing;
    for (int row = 0; row <= OUT / BLOCK; row++)
        row_ptr[row] = row * BLOCKS_A_ROW;
}

/* One element of Y in float64. */
static double reference_of(const int32_t *col_idx, const void *w, const void *x, const void *bias,
                           triage_dtype dtype, int token, int out) {
    double sum = load(bias, dtype, out);
    for (int i = 0; i < BLOCKS_A_ROW; i++) {
        int block = out / BLOCK * BLOCKS_A_ROW + i;
        for (int k = 0; k < BLOCK; k++)
            sum += (double)load(w, dtype, (block * BLOCK + out % BLOCK) * BLOCK + k) *
                   load(x, dtype, token * IN + col_idx[block] * BLOCK + k);
    }
    return sum / (1 + exp(-sum));
}

static void *to_device(triage_context *context, const void *data, size_t bytes) {
    void *memory = NULL;
    check(triage_device_alloc(&memory, context, bytes));
    check(triage_device_upload(context, memory, data, bytes));
    return memory;
}

int main(int argc, char **argv) {
    triage_context_options options = TRIAGE_CONTEXT_OPTIONS_INIT;
    triage_context *context = NULL;
    options.db_path = argc > 1 ? argv[1] : NULL;
    check(triage_context_open(&context, &options));
    triage_dtype dtype = triage_context_is_host(context) ? TRIAGE_F32 : TRIAGE_BF16;
    size_t size = dtype == TRIAGE_F32 ? 4 : 2;

    int32_t row_ptr[OUT / BLOCK + 1], col_idx[NNZB];
    make_pattern(row_ptr, col_idx);
    void *weights = make_values((size_t)NNZB * BLOCK * BLOCK, dtype, 1);
    void *inputs = make_values((size_t)TOKENS * IN, dtype, 2), *biases = make_values(OUT, dtype, 3);
    void *outputs = make_values((size_t)TOKENS * OUT, dtype, 4); /* to be overwritten */

    triage_bsr_desc desc = TRIAGE_BSR_DESC_INIT;
    desc.dtype = dtype;
    desc.rows = OUT;
    desc.cols = IN;
    desc.block_rows = desc.block_cols = BLOCK;
    desc.nnzb = NNZB;
    desc.row_ptr = row_ptr;
    desc.col_idx = col_idx;
    desc.values = weights;
    triage_bsr_matrix *w = NULL;
    check(triage_bsr_matrix_create(&w, context, &desc));

    triage_dense x = {
        to_device(context, inputs, TOKENS * IN * size), TOKENS, IN, IN, dtype, TRIAGE_ROW_MAJOR};
    triage_dense y = {
        to_device(context, outputs, TOKENS * OUT * size), TOKENS, OUT, OUT, dtype, TRIAGE_ROW_MAJOR};
    void *bias = to_device(context, biases, OUT * size);
    triage_epilogue epilogue = TRIAGE_EPILOGUE_INIT;
    epilogue.bias = bias;
    epilogue.activation = TRIAGE_ACT_SILU;
    check(triage_bsr_linear(context, w, &x, &y, &epilogue, NULL));
    check(triage_device_synchronize(context));
    check(triage_device_download(context, outputs, y.data, TOKENS * OUT * size));

    int wrong = 0;
    for (int token = 0; token < TOKENS; token++) {
        for (int out = 0; out < OUT; out++) {
            double want = reference_of(col_idx, weights, inputs, biases, dtype, token, out);
            double got = load(outputs, dtype, token * OUT + out);
            double allowed = dtype == TRIAGE_F32 ? 1e-4 : 1e-3 + fabs(want) / 128; /* bf16: 8 bits */
            wrong += !(fabs(got - want) <= allowed);
        }
    }
    printf("device: %s\nresult: %d of %d elements right (float64)\n", triage_context_device_name(context),
           TOKENS * OUT - wrong, TOKENS * OUT);

    free(outputs);
    free(biases);
    free(inputs);
    free(weights);
    triage_device_release(context, bias);
    triage_device_release(context, y.data);
    triage_device_release(context, x.data);
    triage_bsr_matrix_free(w);
    triage_context_free(context);
    return wrong ? EXIT_FAILURE : EXIT_SUCCESS;
}
