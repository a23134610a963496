/* A product for the two benchmarks of this folder whose exact result is known: ones, and row i has i % 3 + 1
 * blocks, so C[i][j] = blocks x block columns. */
#ifndef TRIAGE_TESTS_GPU_BENCH_WORLD_H
#define TRIAGE_TESTS_GPU_BENCH_WORLD_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/convert.h"
#include "api/bsr_gemm/bsr_gemm.h"

#include "device/cuda/kernel.h"

typedef struct bench_world {
    triage_context *context;
    triage_bsr_matrix *a;
    triage_dense b, c;
    int64_t size, n;
    int32_t block;
} bench_world;

static inline double bench_ms(int64_t start_ns) {
    return (double)(tri_now_ns() - start_ns) / 1e6;
}

static inline bool bench_is_host(const char *device) {
    return strcmp(device, "host") == 0;
}

/* CUDA's own start: the driver, its initialisation, and a context that triage_context_open then takes. */
static inline triage_status bench_start_device(const char *device) {
    triage_status status = TRIAGE_OK;
    if (bench_is_host(device))
        return TRIAGE_OK;
    const tri_cuda_driver *driver;
    CUdevice ordinal;
    CUcontext context;
    TRI_TRY(tri_cuda_driver_get(&driver));
    TRI_TRY(tri_cuda_check(driver, driver->device_get(&ordinal, 0), "cuDeviceGet"));
    TRI_TRY(tri_cuda_check(driver, driver->primary_retain(&context, ordinal), "cuDevicePrimaryCtxRetain"));
    TRI_TRY(tri_cuda_check(driver, driver->context_push(context), "cuCtxPushCurrent"));
done:
    return status;
}

static inline void bench_set_one(void *data, triage_dtype dtype, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (dtype == TRIAGE_F32)
            ((float *)data)[i] = 1.0f;
        else
            ((uint16_t *)data)[i] = 0x3c00;
    }
}

static inline int64_t bench_row_blocks(const bench_world *w, int64_t row) {
    const int64_t columns = w->size / w->block, wanted = row % 3 + 1;
    return wanted < columns ? wanted : columns;
}

static inline triage_status bench_make_matrix(bench_world *w, triage_dtype dtype) {
    const int64_t rows = w->size / w->block, columns = rows;
    triage_status status = TRIAGE_OK;
    triage_bsr_desc desc = TRIAGE_BSR_DESC_INIT;
    int32_t *row_ptr = NULL, *col_idx = NULL;
    void *values = NULL;
    TRI_TRY(tri_calloc(&row_ptr, (size_t)rows + 1, sizeof *row_ptr));
    TRI_TRY(tri_calloc(&col_idx, (size_t)rows * 3, sizeof *col_idx));
    for (int64_t i = 0; i < rows; i++) {
        const int64_t count = bench_row_blocks(w, i), first = i % (columns - count + 1);
        for (int64_t j = 0; j < count; j++)
            col_idx[row_ptr[i] + j] = (int32_t)(first + j);
        row_ptr[i + 1] = row_ptr[i] + (int32_t)count;
    }
    const size_t elements = (size_t)row_ptr[rows] * (size_t)w->block * (size_t)w->block;
    TRI_TRY(tri_calloc(&values, elements, tri_dtype_size(dtype)));
    bench_set_one(values, dtype, elements);
    desc.dtype = dtype;
    desc.rows = desc.cols = w->size;
    desc.block_rows = desc.block_cols = w->block;
    desc.nnzb = row_ptr[rows];
    desc.row_ptr = row_ptr;
    desc.col_idx = col_idx;
    desc.values = values;
    TRI_TRY(triage_bsr_matrix_create(&w->a, w->context, &desc));
done:
    free(values);
    free(col_idx);
    free(row_ptr);
    return status;
}

static inline triage_status bench_make_dense(triage_dense *out, const bench_world *w, triage_dtype dtype,
                                             bool ones) {
    triage_status status = TRIAGE_OK;
    void *host = NULL;
    const size_t elements = (size_t)(w->size * w->n), bytes = elements * tri_dtype_size(dtype);
    *out = (triage_dense){NULL, w->size, w->n, w->n, dtype, TRIAGE_ROW_MAJOR};
    TRI_TRY(triage_device_alloc(&out->data, w->context, bytes));
    TRI_TRY(tri_calloc(&host, elements, tri_dtype_size(dtype)));
    if (ones)
        bench_set_one(host, dtype, elements);
    TRI_TRY(triage_device_upload(w->context, out->data, host, bytes));
done:
    free(host);
    return status;
}

/* Every element of C, exactly. */
static inline triage_status bench_check(const bench_world *w, const triage_dense *c) {
    triage_status status = TRIAGE_OK;
    void *host = NULL;
    const size_t bytes = (size_t)(w->size * w->n) * tri_dtype_size(c->dtype);
    TRI_TRY(tri_calloc(&host, bytes, 1));
    TRI_TRY(triage_device_synchronize(w->context));
    TRI_TRY(triage_device_download(w->context, host, c->data, bytes));
    for (int64_t i = 0; i < w->size * w->n; i++) {
        const double wanted = (double)(bench_row_blocks(w, i / w->n / w->block) * w->block),
                     got = tri_to_float(host, c->dtype, (size_t)i);
        if (got != wanted)
            TRI_TRY(tri_fail(TRIAGE_E_WRONG, "element %lld is %g, not %g", (long long)i, got, wanted));
    }
done:
    free(host);
    return status;
}

static inline void bench_free(bench_world *w) {
    if (w->context) {
        triage_device_release(w->context, w->b.data);
        triage_device_release(w->context, w->c.data);
    }
    triage_bsr_matrix_free(w->a);
    triage_context_free(w->context);
}

#endif
