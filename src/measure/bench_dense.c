/* The dense product on the bench: the sparse operand with its zeros, the library's function in the place of a kernel. */
#include "measure/bench_private.h"

#include <stdlib.h>

static triage_status place_dense(tri_address *out, const tri_bench *bench) {
    const tri_operands operands = {
        .problem = &bench->problem, .pattern = bench->pattern, .inputs = &bench->inputs[0]};
    size_t bytes = 0;
    void *dense = NULL;
    triage_status status = TRIAGE_OK;
    TRI_TRY(bench->op->densify(&dense, &bytes, &operands));
    TRI_TRY(tri_device_alloc(bench->device, out, bytes));
    TRI_TRY(tri_device_upload(bench->device, *out, dense, bytes));
done:
    free(dense);
    return status;
}

static triage_status make_args(tri_mounted *out, const tri_bench *bench, tri_address a) {
    triage_status status = tri_bench_args_alloc(out, bench, sizeof(tri_gemm_args));
    for (size_t i = 0; i < bench->case_count && status == TRIAGE_OK; i++) {
        const tri_binding binding = tri_bench_binding(bench, i);
        bench->op->dense_arguments(out->args[i], &binding, a);
    }
    return status;
}

triage_status tri_bench_measure_dense(tri_report *out, tri_bench *bench) {
    tri_mounted mounted = {0};
    tri_gemm gemm;
    tri_address a = 0;
    triage_status status = TRIAGE_OK;
    *out = (tri_report){.batch = 1};
    if (!bench->op->dense_twin)
        return tri_fail(TRIAGE_E_UNSUPPORTED, "no dense product does the same as %s", bench->op->name);
    TRI_TRY(bench->op->dense_twin(&gemm, &bench->problem));
    TRI_TRY(tri_dense_load(&mounted.kernel, bench->device, &gemm));
    status = place_dense(&a, bench);
    if (status == TRIAGE_OK)
        status = make_args(&mounted, bench, a);
    if (status != TRIAGE_OK) { /* of this product, not of the bench */
        tri_report_fail(out, TRI_LAUNCH_FAILED, status);
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
