/* The least time that a device needs for a problem: its bytes at the memory's rate, or its operations at the tensor
 * cores' rate, whichever is longer. Both rates are upper bounds from what NVIDIA documents and the driver tells,
 * unless the user states others, or has them measured. */
#include <math.h>
#include <stdlib.h>

#include "check/fill.h"
#include "cli/bench/bench.h"

/* Operations (an FMA is two) of one SM in one clock, float32 accumulation; 0: not known here. From the peak rates of
 * NVIDIA's architecture papers: A100 312 TFLOP/s of f16 with 108 SMs at 1410 MHz, H100 SXM 989.4 with 132 at 1830. */
static double flops_per_clock(int cc, triage_dtype dtype) {
    double half = cc == 90 ? 4096 : cc == 80 ? 2048 : 0;
    if (dtype == TRIAGE_F16 || dtype == TRIAGE_BF16)
        return half;
    return dtype == TRIAGE_E4M3 && cc == 90 ? 2 * half : 0;
}

static void documented(tri_limit *out, const tri_problem *problem, const tri_device_info *info) {
    tri_least_work work;
    problem->op->least_work(&work, problem);
    out->flops_per_s = flops_per_clock(info->cc, work.dtype) * info->sm_count * (double)info->clock_khz * 1e3;
    if (info->cc) /* two transfers a clock */
        out->bytes_per_s = 2e3 * (double)info->memory_clock_khz * info->memory_bus_bits / 8;
}

static double time_ns(double work, double per_s) {
    return per_s > 0 ? work / per_s * 1e9 : 0;
}

void tri_limit_of(tri_limit *out, const tri_problem *problem, const tri_device_info *info,
                  const tri_ceilings *stated) {
    *out = (tri_limit){.source = "documented"};
    if (stated->source)
        *out = (tri_limit){stated->flops_per_s, stated->bytes_per_s, stated->source, 0, 0, 0, NULL};
    else
        documented(out, problem, info);
    out->compute_ns = time_ns(tri_problem_flops(problem), out->flops_per_s);
    out->memory_ns = time_ns(tri_problem_bytes(problem), out->bytes_per_s);
    if (out->flops_per_s <= 0 || out->bytes_per_s <= 0)
        return; /* half a bound would flatter */
    out->bound = out->memory_ns > out->compute_ns ? "memory" : "compute";
    out->ns = out->memory_ns > out->compute_ns ? out->memory_ns : out->compute_ns;
}

/* ---- measured ---- */

#define GPU_WALK ((size_t)1 << 30)
#define HOST_WALK ((size_t)256 << 20)
#define GPU_CUBE 8192
#define HOST_CUBE 2048
#define TIMINGS 8
#define WARM_UPS 2

typedef struct walk {
    tri_device *device;
    size_t bytes;
} walk;

static triage_status walk_memory(void *state, void *stream) {
    const walk *self = state;
    return tri_device_flush(self->device, self->bytes, stream);
}

/* The least of a few, after two that warm up; one by one, so that an interruption waits for one at most. */
static triage_status least_ns(double *out, tri_kernel *kernel, const void *args,
                              volatile const int *interrupted) {
    double ns = 0;
    triage_status status = TRIAGE_OK;
    *out = HUGE_VAL;
    for (int i = -WARM_UPS; i < TIMINGS; i++) {
        if (*interrupted)
            TRI_TRY(tri_fail(TRIAGE_E_INTERRUPTED, "interrupted while the device's ceilings were measured"));
        TRI_TRY(tri_kernel_time(kernel, args, 0, 1, &ns, 1));
        if (i >= 0)
            *out = fmin(*out, ns);
    }
done:
    return status;
}

/* A GPU reads its memory in such a walk; the host writes it, and so reads and writes. */
static triage_status measure_memory(double *bytes_per_s, tri_device *device,
                                    volatile const int *interrupted) {
    const bool gpu = tri_device_describe(device)->cc != 0;
    walk self = {device, gpu ? GPU_WALK : HOST_WALK};
    tri_kernel *kernel = NULL;
    double ns = 0;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_call_load(&kernel, device, walk_memory, &self));
    TRI_TRY(least_ns(&ns, kernel, NULL, interrupted));
    *bytes_per_s = (gpu ? 1 : 2) * (double)self.bytes / ns * 1e9;
done:
    tri_kernel_unload(kernel);
    return status;
}

/* Normal numbers: with zeros a chip draws less power, and runs faster than it does with any data. */
static triage_status place_normal(tri_address *out, tri_device *device, triage_dtype dtype, size_t count) {
    void *data = NULL;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_calloc(&data, count, tri_dtype_size(dtype)));
    TRI_TRY(tri_fill_normal(data, dtype, count, 1));
    TRI_TRY(tri_device_alloc(device, out, count * tri_dtype_size(dtype)));
    TRI_TRY(tri_device_upload(device, *out, data, count * tri_dtype_size(dtype)));
done:
    free(data);
    return status;
}

static triage_status measure_cube(double *flops_per_s, tri_device *device, tri_kernel *kernel,
                                  triage_dtype dtype, int64_t side, volatile const int *interrupted) {
    tri_address arrays[3] = {0};
    double ns = 0;
    triage_status status = TRIAGE_OK;
    for (int i = 0; i < 3; i++)
        TRI_TRY(place_normal(&arrays[i], device, dtype, (size_t)(side * side)));
    const tri_gemm_args args = {(void *)(uintptr_t)arrays[0],
                                (void *)(uintptr_t)arrays[1],
                                (void *)(uintptr_t)arrays[2],
                                side,
                                side,
                                1,
                                0};
    TRI_TRY(least_ns(&ns, kernel, &args, interrupted));
    *flops_per_s = 2.0 * (double)side * (double)side * (double)side / ns * 1e9;
done:
    for (int i = 0; i < 3; i++)
        tri_device_release(device, arrays[i]);
    return status;
}

/* No library, or none with this type: no rate, which is no failure. */
static triage_status measure_arithmetic(double *flops_per_s, tri_device *device, triage_dtype dtype,
                                        volatile const int *interrupted) {
    const int64_t side = tri_device_describe(device)->cc ? GPU_CUBE : HOST_CUBE;
    const tri_gemm cube = {dtype, dtype, TRIAGE_ROW_MAJOR, TRIAGE_ROW_MAJOR, side, side, side};
    tri_kernel *kernel = NULL;
    triage_status status = tri_dense_load(&kernel, device, &cube);
    *flops_per_s = 0;
    if (status == TRIAGE_E_NOT_FOUND || status == TRIAGE_E_UNSUPPORTED)
        return TRIAGE_OK;
    if (status == TRIAGE_OK)
        status = measure_cube(flops_per_s, device, kernel, dtype, side, interrupted);
    tri_kernel_unload(kernel);
    return status;
}

triage_status tri_ceilings_measure(tri_ceilings *out, tri_device *device, const tri_problem *problem,
                                   volatile const int *interrupted) {
    tri_least_work work;
    triage_status status = TRIAGE_OK;
    *out = (tri_ceilings){.source = "measured"};
    problem->op->least_work(&work, problem);
    TRI_TRY(measure_memory(&out->bytes_per_s, device, interrupted));
    TRI_TRY(measure_arithmetic(&out->flops_per_s, device, work.dtype, interrupted));
done:
    return status;
}
