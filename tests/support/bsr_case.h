/* A small bsr_gemm with everything around it, for tests that run a kernel on a device by hand: a seeded
 * pattern with an empty row, inputs, padded leading dimensions, and the product in float64. */
#ifndef TRIAGE_TESTS_BSR_CASE_H
#define TRIAGE_TESTS_BSR_CASE_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/bsr_of.h"
#include "op/bsr_gemm/bsr_gemm.h"
#include "bsr_gemm/args.h"
#include "device/device.h"
#include "lib/host.h"
#include "render/render.h"

typedef struct bsr_case {
    int block_m, block_k, block_rows, block_cols, n;
    triage_dtype in, out;
    triage_layout b_layout, c_layout;
    int act;
    bool bias;
    float alpha, beta;
    int pad; /* elements between the end of a row (column) and the next */
} bsr_case;

typedef struct bsr_data {
    tri_problem problem;
    int32_t *row_ptr, *col_idx;
    tri_block_row *rows;
    void *values, *b, *c, *bias;
    size_t values_bytes, b_bytes, c_bytes, bias_bytes;
    double *expected; /* [m][n], row-major */
    double *scale;    /* sum of |a b| and the epilogue's terms: what the error is relative to */
} bsr_data;

static inline size_t case_size(triage_dtype dtype) {
    return dtype == TRIAGE_F32 ? 4 : 2;
}

static inline float case_get(const void *data, triage_dtype dtype, size_t i) {
    if (dtype == TRIAGE_F32)
        return ((const float *)data)[i];
    if (dtype == TRIAGE_F16)
        return float_from_f16(((const f16_t *)data)[i]);
    return float_from_bf16(((const bf16_t *)data)[i]);
}

static inline void case_put(void *data, triage_dtype dtype, size_t i, float value) {
    if (dtype == TRIAGE_F32)
        ((float *)data)[i] = value;
    else if (dtype == TRIAGE_F16)
        ((f16_t *)data)[i] = f16_from_float(value);
    else
        ((bf16_t *)data)[i] = bf16_from_float(value);
}

/* count values in -1 .. 1, never 0. */
static inline void *case_draw(size_t count, triage_dtype dtype, tri_random *random) {
    void *data = calloc(count + 1, case_size(dtype));
    assert_non_null(data);
    for (size_t i = 0; i < count; i++)
        case_put(data, dtype, i, ((float)tri_random_below(random, 2000) - 999.5f) / 1000.0f);
    return data;
}

/* About a third of the blocks; block row 1 is empty when there is one. */
static inline void case_pattern(bsr_data *data, const bsr_case *spec, tri_random *random) {
    int32_t nnzb = 0;
    data->row_ptr = calloc((size_t)spec->block_rows + 1, sizeof(int32_t));
    data->col_idx = calloc((size_t)spec->block_rows * (size_t)spec->block_cols + 1, sizeof(int32_t));
    data->rows = aligned_alloc(_Alignof(tri_block_row), (size_t)spec->block_rows * sizeof *data->rows);
    assert_true(data->row_ptr && data->col_idx && data->rows);
    for (int row = 0; row < spec->block_rows; row++) {
        for (int col = 0; col < spec->block_cols && row != 1; col++) {
            if (tri_random_below(random, 3) == 0)
                data->col_idx[nnzb++] = col;
        }
        data->row_ptr[row + 1] = nnzb;
    }
    for (int row = 0; row < spec->block_rows; row++) { /* the last one first */
        int32_t begin = data->row_ptr[row], end = data->row_ptr[row + 1];
        tri_block_row *to = &data->rows[spec->block_rows - 1 - row];
        *to = (tri_block_row){row, begin, end, {0}};
        for (int32_t j = 0; j < TRI_ROW_COLUMNS && begin + j < end; j++)
            to->col[j] = data->col_idx[begin + j];
    }
    bsr_of(&data->problem)->nnzb = nnzb;
}

static inline size_t c_at(const tri_problem *p, int64_t row, int64_t col) {
    return (size_t)(bsr_of(p)->c_layout == TRIAGE_ROW_MAJOR ? row * bsr_of(p)->ldc + col
                                                            : col * bsr_of(p)->ldc + row);
}

static inline size_t b_at(const tri_problem *p, int64_t k, int64_t col) {
    return (size_t)(bsr_of(p)->b_layout == TRIAGE_ROW_MAJOR ? k * bsr_of(p)->ldb + col
                                                            : col * bsr_of(p)->ldb + k);
}

static inline double case_activate(int act, double v) {
    if (act == 1)
        return v < 0 ? 0 : v;
    if (act == 2)
        return 0.5 * v * (1.0 + erf(v / sqrt(2.0)));
    return act == 3 ? v / (1.0 + exp(-v)) : v;
}

static inline void case_expect(bsr_data *data, const bsr_case *spec) {
    const tri_problem *p = &data->problem;
    for (int64_t row = 0; row < bsr_of(p)->m; row++) {
        int64_t block_row = row / spec->block_m, inner = row % spec->block_m;
        for (int64_t col = 0; col < bsr_of(p)->n; col++) {
            double sum = 0, scale = 0;
            for (int32_t i = data->row_ptr[block_row]; i < data->row_ptr[block_row + 1]; i++) {
                for (int64_t k = 0; k < spec->block_k; k++) {
                    size_t a = (size_t)((i * (int64_t)spec->block_m + inner) * spec->block_k + k);
                    double term = (double)case_get(data->values, spec->in, a) *
                                  case_get(data->b, spec->in,
                                           b_at(p, data->col_idx[i] * (int64_t)spec->block_k + k, col));
                    sum += term;
                    scale += fabs(term);
                }
            }
            double v = spec->alpha * sum + (spec->bias ? case_get(data->bias, spec->out, (size_t)row) : 0);
            if (spec->beta != 0.0f)
                v += spec->beta * (double)case_get(data->c, spec->out, c_at(p, row, col));
            data->expected[row * bsr_of(p)->n + col] = case_activate(spec->act, v);
            data->scale[row * bsr_of(p)->n + col] = fabs(spec->alpha) * scale + fabs(v) + 1e-3;
        }
    }
}

static inline void case_make(bsr_data *data, const bsr_case *spec, uint64_t seed) {
    tri_random random;
    tri_random_seed(&random, seed);
    memset(data, 0, sizeof *data);
    tri_problem *p = &data->problem;
    *p = tri_bsr_problem_of((tri_bsr_problem){.in_type = spec->in,
                                              .out_type = spec->out,
                                              .b_layout = spec->b_layout,
                                              .c_layout = spec->c_layout,
                                              .activation = (triage_activation)spec->act,
                                              .bias = spec->bias,
                                              .m = (int64_t)spec->block_m * spec->block_rows,
                                              .n = spec->n,
                                              .k = (int64_t)spec->block_k * spec->block_cols,
                                              .block_m = spec->block_m,
                                              .block_k = spec->block_k});
    bsr_of(p)->ldb = (bsr_of(p)->b_layout == TRIAGE_ROW_MAJOR ? bsr_of(p)->n : bsr_of(p)->k) + spec->pad;
    bsr_of(p)->ldc = (bsr_of(p)->c_layout == TRIAGE_ROW_MAJOR ? bsr_of(p)->n : bsr_of(p)->m) + spec->pad;
    case_pattern(data, spec, &random);
    size_t values = (size_t)bsr_of(p)->nnzb * (size_t)(spec->block_m * spec->block_k);
    size_t b =
        (size_t)((bsr_of(p)->b_layout == TRIAGE_ROW_MAJOR ? bsr_of(p)->k : bsr_of(p)->n) * bsr_of(p)->ldb);
    size_t c =
        (size_t)((bsr_of(p)->c_layout == TRIAGE_ROW_MAJOR ? bsr_of(p)->m : bsr_of(p)->n) * bsr_of(p)->ldc);
    data->values = case_draw(values, spec->in, &random);
    data->b = case_draw(b, spec->in, &random);
    data->c = case_draw(c, spec->out, &random);
    data->bias = case_draw((size_t)bsr_of(p)->m, spec->out, &random);
    data->values_bytes = values * case_size(spec->in);
    data->b_bytes = b * case_size(spec->in);
    data->c_bytes = c * case_size(spec->out);
    data->bias_bytes = (size_t)bsr_of(p)->m * case_size(spec->out);
    data->expected = calloc((size_t)(bsr_of(p)->m * bsr_of(p)->n), sizeof(double));
    data->scale = calloc((size_t)(bsr_of(p)->m * bsr_of(p)->n), sizeof(double));
    assert_true(data->expected && data->scale);
    case_expect(data, spec);
    if (spec->beta == 0.0f) /* C must not be read: every bit set is a NaN in each type */
        memset(data->c, 0xff, data->c_bytes);
}

static inline void case_free(bsr_data *data) {
    free(data->row_ptr);
    free(data->col_idx);
    free(data->rows);
    free(data->values);
    free(data->b);
    free(data->c);
    free(data->bias);
    free(data->expected);
    free(data->scale);
}

/* ---- on a device ---- */

static inline tri_address case_upload(tri_device *device, const void *data, size_t bytes) {
    tri_address address = 0;
    if (tri_device_alloc(device, &address, bytes) != TRIAGE_OK ||
        tri_device_upload(device, address, data, bytes) != TRIAGE_OK)
        fail_msg("upload: %s", triage_last_error());
    return address;
}

static inline void case_buffers(tri_bsr_buffers *out, tri_device *device, const bsr_data *data) {
    size_t rows = (size_t)(bsr_of(&data->problem)->m / bsr_of(&data->problem)->block_m);
    *out = (tri_bsr_buffers){0};
    out->values = case_upload(device, data->values, data->values_bytes);
    out->row_ptr = case_upload(device, data->row_ptr, (rows + 1) * sizeof(int32_t));
    out->col_idx = case_upload(device, data->col_idx, (size_t)bsr_of(&data->problem)->nnzb * sizeof(int32_t));
    out->schedule.rows = case_upload(device, data->rows, rows * sizeof *data->rows);
    out->b = case_upload(device, data->b, data->b_bytes);
    out->c = case_upload(device, data->c, data->c_bytes);
    out->bias = bsr_of(&data->problem)->bias ? case_upload(device, data->bias, data->bias_bytes) : 0;
}

static inline void case_release(tri_bsr_buffers *buffers, tri_device *device) {
    const tri_address all[] = {buffers->values, buffers->row_ptr, buffers->col_idx, buffers->schedule.rows,
                               buffers->b,      buffers->c,       buffers->bias};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        tri_device_release(device, all[i]);
}

/* Every element within the float32 bound of its terms, rounded once to the output type; what lies between
 * the rows is untouched. */
static inline void case_verify(const bsr_data *data, const void *c, const char *what) {
    const tri_problem *p = &data->problem;
    double unit = bsr_of(p)->out_type == TRIAGE_F32   ? 0x1p-22
                  : bsr_of(p)->out_type == TRIAGE_F16 ? 0x1p-10
                                                      : 0x1p-7;
    for (int64_t row = 0; row < bsr_of(p)->m; row++) {
        for (int64_t col = 0; col < bsr_of(p)->n; col++) {
            double want = data->expected[row * bsr_of(p)->n + col],
                   scale = data->scale[row * bsr_of(p)->n + col];
            double got = case_get(c, bsr_of(p)->out_type, c_at(p, row, col));
            if (!(fabs(got - want) <= unit * fabs(want) + 0x1p-20 * scale))
                fail_msg("%s: C[%lld][%lld] is %.9g, not %.9g", what, (long long)row, (long long)col, got,
                         want);
        }
    }
    int64_t inner = bsr_of(p)->c_layout == TRIAGE_ROW_MAJOR ? bsr_of(p)->n : bsr_of(p)->m;
    int64_t outer = bsr_of(p)->c_layout == TRIAGE_ROW_MAJOR ? bsr_of(p)->m : bsr_of(p)->n;
    size_t size = case_size(bsr_of(p)->out_type);
    for (int64_t i = 0; i < outer; i++) {
        size_t from = (size_t)(i * bsr_of(p)->ldc + inner) * size,
               bytes = (size_t)(bsr_of(p)->ldc - inner) * size;
        assert_memory_equal((const char *)c + from, (const char *)data->c + from, bytes);
    }
}

/* ---- rendering a template with the problem's parameters and more ---- */

typedef struct case_params {
    tri_param list[32];
    size_t count;
} case_params;

static inline void case_param(case_params *params, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static inline void case_param(case_params *params, const char *name, const char *format, ...) {
    char value[64];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(value, sizeof value, format, arguments);
    va_end(arguments);
    params->list[params->count++] = (tri_param){strdup(name), strdup(value)};
}

static inline void case_problem_params(case_params *params, const bsr_case *spec,
                                       const char *const types[3]) {
    case_param(params, "in_type", "%s", types[spec->in]);
    case_param(params, "out_type", "%s", types[spec->out]);
    case_param(params, "block_m", "%d", spec->block_m);
    case_param(params, "block_k", "%d", spec->block_k);
    case_param(params, "b_layout", "%d", (int)spec->b_layout);
    case_param(params, "c_layout", "%d", (int)spec->c_layout);
    case_param(params, "act", "%d", spec->act);
}

/* Frees params. */
static inline void case_render(tri_source *out, const char *template_name, case_params *params) {
    tri_candidate candidate = {.kernel = "test",
                               .config = "test",
                               .template_name = (char *)template_name,
                               .params = params->list,
                               .param_count = params->count};
    if (tri_render(out, &candidate, TRI_SOURCE_DIR) != TRIAGE_OK)
        fail_msg("render %s: %s", template_name, triage_last_error());
    for (size_t i = 0; i < params->count; i++) {
        free(params->list[i].name);
        free(params->list[i].value);
    }
    params->count = 0;
}

#endif
