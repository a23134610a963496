/* The dense product on the bench: A with its zeros, the library's function in the place of a kernel. */
#include "measure/bench_private.h"

#include <stdlib.h>
#include <string.h>

/* m x k, row-major, packed; a zero is all bits clear in each type. */
static triage_status densify(void **out, const tri_bench *bench) {
    const tri_problem *p = &bench->problem;
    const tri_pattern *pattern = bench->pattern;
    size_t size = tri_dtype_size(p->in_type), width = (size_t)p->block_k * size, line = (size_t)p->k * size;
    const unsigned char *from = bench->values;
    unsigned char *dense = NULL;
    triage_status status = tri_calloc(&dense, (size_t)p->m, line);
    if (status != TRIAGE_OK)
        return status;
    for (int64_t row = 0; row < pattern->block_rows; row++)
        for (int32_t i = pattern->row_ptr[row]; i < pattern->row_ptr[row + 1]; i++)
            for (int64_t r = 0; r < p->block_m; r++, from += width)
                memcpy(dense + (size_t)(row * p->block_m + r) * line + (size_t)pattern->col_idx[i] * width,
                       from, width);
    *out = dense;
    return TRIAGE_OK;
}

static triage_status place_dense(tri_address *out, const tri_bench *bench) {
    size_t bytes =
        (size_t)bench->problem.m * (size_t)bench->problem.k * tri_dtype_size(bench->problem.in_type);
    void *dense = NULL;
    triage_status status = TRIAGE_OK;
    TRI_TRY(densify(&dense, bench));
    TRI_TRY(tri_device_alloc(bench->device, out, bytes));
    TRI_TRY(tri_device_upload(bench->device, *out, dense, bytes));
done:
    free(dense);
    return status;
}

static triage_status make_args(tri_mounted *out, const tri_bench *bench) {
    const tri_launch none = {0}; /* no tensor maps, no panels */
    triage_status status = TRIAGE_OK;
    for (size_t i = 0; i < TRI_CASES && status == TRIAGE_OK; i++)
        status = tri_bsr_args_make(&out->args[i], bench->device, &none, &bench->problem, &out->buffers,
                                   bench->cases[i].alpha, bench->cases[i].beta);
    return status;
}

triage_status tri_bench_measure_dense(tri_report *out, tri_bench *bench) {
    tri_mounted mounted = {.buffers = bench->buffers};
    tri_address a = 0;
    triage_status status = TRIAGE_OK;
    *out = (tri_report){.batch = 1};
    if (bench->problem.bias || bench->problem.activation != TRIAGE_ACT_NONE)
        return tri_fail(TRIAGE_E_UNSUPPORTED, "the library's product has no epilogue like this problem's");
    TRI_TRY(tri_dense_load(&mounted.kernel, bench->device, &bench->problem));
    status = place_dense(&a, bench);
    mounted.buffers.values = a;
    if (status == TRIAGE_OK)
        status = make_args(&mounted, bench);
    if (status != TRIAGE_OK) { /* of this product, not of the bench */
        tri_report_fail(out, status == TRIAGE_E_MEMORY ? TRI_TOO_LARGE : TRI_LAUNCH_FAILED, status);
        tri_bench_unmount(bench, &mounted);
        status = TRIAGE_OK;
    } else {
        status = tri_bench_measure_mounted(out, bench, &mounted, 0);
    }
done:
    if (!out->lost)
        tri_device_release(bench->device, a);
    return status;
}
