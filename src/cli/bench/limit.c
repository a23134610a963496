/* The least time that a device needs for a problem: its bytes at the memory's rate, or its operations at the tensor
 * cores' rate, whichever is longer. Both rates are upper bounds from what NVIDIA documents and the driver tells,
 * unless the user states others, measured ones say. */
#include <string.h>

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
    if (stated->flops_per_s > 0)
        *out = (tri_limit){stated->flops_per_s, stated->bytes_per_s, "stated", 0, 0, 0, NULL};
    else
        documented(out, problem, info);
    out->compute_ns = time_ns(tri_problem_flops(problem), out->flops_per_s);
    out->memory_ns = time_ns(tri_problem_bytes(problem), out->bytes_per_s);
    if (out->flops_per_s <= 0 || out->bytes_per_s <= 0)
        return; /* half a bound would flatter */
    out->bound = out->memory_ns > out->compute_ns ? "memory" : "compute";
    out->ns = out->memory_ns > out->compute_ns ? out->memory_ns : out->compute_ns;
}
