#include "evidence/roofline.h"

#include <math.h>
#include <string.h>

/* Boost clocks go beyond the stated ones (a GeForce RTX 3090 states 1695 MHz and runs above 2000), memory can be
 * overclocked, and a flushed cache may keep some lines. */
#define SLACK 1.5

/* Dense multiply-adds on the tensor cores, counted as two operations, of one SM in one clock, 16-bit types. From
 * NVIDIA's architecture white papers (peak = this * SMs * boost clock):
 *   7.x  V100   125 TFLOP/s = 1024 *  80 * 1.53 GHz
 *   8.x  A100   312 TFLOP/s = 2048 * 108 * 1.41 GHz; GA102, AD102: 1024
 *   9.0  H100   989 TFLOP/s = 4096 * 132 * 1.83 GHz
 *   10.x B200  2250 TFLOP/s = 8192 * 148 * 1.86 GHz; 11.x (Thor) has the same SM
 *   12.x RTX 5090 419 TFLOP/s = 1024 * 170 * 2.41 GHz
 * Another generation: twice the fastest of these. 8-bit types: twice as many; f32 (tf32): fewer, not used. */
static double cuda_flops_per_clock(int cc) {
    static const double by_major[] = {
        [5] = 512, [6] = 512, [7] = 1024, [8] = 2048, [9] = 4096, [10] = 8192, [11] = 8192, [12] = 2048};
    const int major = cc / 10;
    const double known =
        major >= 0 && major < (int)(sizeof by_major / sizeof *by_major) ? by_major[major] : 0;
    return known > 0 ? known : 16384;
}

/* Two 512-bit multiply-adds a clock: 64 operations on f32 (Intel's optimization manual, AVX-512 server cores);
 * twice that, for wider machines than we know. The clock is often not told: faster than any that is sold. */
#define HOST_FLOPS_PER_CLOCK 128.0
#define HOST_CLOCK_KHZ 6500000

static double flops_per_ns(triage_dtype dtype, const tri_device_info *info) {
    const bool host = strcmp(info->backend, "host") == 0;
    const double clock = info->clock_khz > 0 ? info->clock_khz : host ? HOST_CLOCK_KHZ : 0;
    const double each =
        host ? HOST_FLOPS_PER_CLOCK : cuda_flops_per_clock(info->cc) * (dtype == TRIAGE_E4M3 ? 2 : 1);
    return each * info->sm_count * clock * 1e-6;
}

/* Two transfers a clock: "Theoretical Bandwidth Calculation" in NVIDIA's CUDA C++ Best Practices Guide. The host
 * does not tell its memory's. */
static double memory_bytes_per_ns(const tri_device_info *info) {
    return 2.0 * info->memory_clock_khz * 1e-6 * info->memory_bus_bits / 8;
}

/* 64 bytes in and 64 out of an SM's L1 in a clock; the L2 as a whole is slower (A100 white paper: 5120 bytes a
 * clock for 108 SMs). */
static double l2_bytes_per_ns(const tri_device_info *info) {
    return info->cc ? 128.0 * info->sm_count * info->clock_khz * 1e-6 : 0;
}

static void apply(tri_roofline *out, double amount, double per_ns, const char *limit, bool is_bytes) {
    const double ns = per_ns > 0 ? amount / per_ns / SLACK : 0;
    if (ns <= out->least_ns)
        return;
    out->least_ns = ns;
    out->limit = limit;
    out->bytes = is_bytes ? amount : 0;
}

void tri_roofline_of(tri_roofline *out, const tri_least_work *work, const tri_device_info *info,
                     bool cold_l2) {
    const double l2 = (double)info->l2_bytes, in = work->input_bytes, to = work->output_bytes;
    /* Dirty lines of the result may stay in the L2, and with a warm one what fits of everything else. */
    const double moved = cold_l2 ? in + fmax(0, to - l2) : fmax(0, in + to - l2);
    *out = (tri_roofline){.limit = "arithmetic", .flops = work->flops};
    apply(out, out->flops, flops_per_ns(work->dtype, info), "arithmetic", false);
    apply(out, moved, memory_bytes_per_ns(info), "memory", true);
    apply(out, in + to, l2_bytes_per_ns(info), "L2", true);
}

void tri_roofline_rates(double *flops, double *bytes, triage_dtype dtype, const tri_device_info *info) {
    *flops = info->cc ? flops_per_ns(dtype, info) : 0;
    *bytes = info->cc ? memory_bytes_per_ns(info) : 0;
}
