// Runs a CUDA kernel on the CPU, a fiber a thread, so that what it computes, and whether its threads meet as they must, can be
// tested where there is no GPU; not its speed. The kernel is rendered text that translate.h has gone through; lib/ beside
// this file stands for the headers with asm. core/ has what is in the chip's place, and watches.
//
//   c++ -fsanitize=thread -DKERNEL='"kernel.cu"' -Itests/emulate -Itemplates -c tests/emulate/cta.cpp
//   c++ -shared cta.o libemulated_core.a
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <type_traits>

#include "core/core.h"

// ---- CUDA's words ----

#define __global__
#define __device__
#define __forceinline__ inline
#define __grid_constant__
#define __launch_bounds__(...)
#define __cluster_dims__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __shared__ static
#define threadIdx (cta::thread())
#define blockIdx (cta::block())
#define gridDim (cta::grid())
#define __CUDA_FP16_TYPES_EXIST__
#define __CUDA_BF16_TYPES_EXIST__
#define __CUDA_FP8_TYPES_EXIST__

struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
struct alignas(8) uint2 {
    unsigned x, y;
};
struct alignas(8) int2 {
    int x, y;
};
static float4 make_float4(float x, float y, float z, float w) {
    return {x, y, z, w};
}
static float2 make_float2(float x, float y) {
    return {x, y};
}
static uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) {
    return {x, y, z, w};
}
static uint2 make_uint2(unsigned x, unsigned y) {
    return {x, y};
}
static int2 make_int2(int x, int y) {
    return {x, y};
}

static void __syncthreads() {
    cta::sync_threads();
}
static void __syncwarp() {
    cta::sync_warp();
}
static void __threadfence() {}
template <typename T> static T atomicAdd(T *at, T value) {
    T before = *at;
    *at += value;
    return before;
}
template <typename T> static T __ldcg(const T *at) {
    return *at;
}
template <typename T> static T __ldg(const T *at) {
    return *at;
}

template <typename T> static cta::lanes give(const char *what, T value) {
    unsigned long long bits = 0;
    memcpy(&bits, &value, sizeof value);
    return cta::exchange(what, bits);
}
template <typename T> static T of_lane(const char *what, T value, unsigned lane) {
    const cta::lanes all = give(what, value);
    memcpy(&value, &all.of[lane % 32], sizeof value);
    return value;
}
static unsigned own_lane() {
    return threadIdx.x % 32;
}
template <typename T> static T __shfl_sync(unsigned, T value, int lane) {
    return of_lane("shfl", value, lane);
}
template <typename T> static T __shfl_xor_sync(unsigned, T value, int mask) {
    return of_lane("shfl.xor", value, own_lane() ^ mask);
}
template <typename T> static T __shfl_up_sync(unsigned, T value, int by) {
    int lane = own_lane();
    return of_lane("shfl.up", value, lane < by ? lane : lane - by);
}
static unsigned __ballot_sync(unsigned, bool yes) {
    const cta::lanes all = give("vote", yes);
    unsigned bits = 0;
    for (int lane = 0; lane < 32; lane++)
        bits |= (unsigned)(all.of[lane] & 1) << lane;
    return bits;
}
static bool __any_sync(unsigned, bool yes) {
    return __ballot_sync(0, yes) != 0;
}
static bool __all_sync(unsigned, bool yes) {
    return __ballot_sync(0, !yes) == 0;
}

template <typename T, typename F> static T same_bits(F from) {
    T to;
    memcpy(&to, &from, sizeof to);
    return to;
}
static float __int_as_float(unsigned bits) {
    return same_bits<float>(bits);
}
static int __float_as_int(float value) {
    return same_bits<int>(value);
}
static unsigned __float_as_uint(float value) {
    return same_bits<unsigned>(value);
}
static float __uint_as_float(unsigned bits) {
    return same_bits<float>(bits);
}
static int __ffs(int bits) {
    return __builtin_ffs(bits);
}
static int __popc(unsigned bits) {
    return __builtin_popcount(bits);
}
static float __fdividef(float x, float y) {
    return x / y;
}
#define __expf expf
#define __log2f log2f
static unsigned __byte_perm(unsigned low, unsigned high, unsigned which) {
    unsigned long long bytes = low | (unsigned long long)high << 32;
    unsigned result = 0;
    for (int i = 0; i < 4; i++)
        result |= (unsigned)(bytes >> (which >> 4 * i & 7) * 8 & 0xff) << 8 * i;
    return result;
}

template <typename A, typename B> static auto min(A a, B b) -> decltype(a + b) {
    return a < b ? a : b;
}
template <typename A, typename B> static auto max(A a, B b) -> decltype(a + b) {
    return a > b ? a : b;
}

// ---- small floats ----

template <cta::element type, class bits_t> struct small_float {
    bits_t bits;
    small_float() = default;
    explicit small_float(float value) : bits((bits_t)cta::bits_of(type, value)) {}
    operator float() const {
        return cta::value_of(type, bits);
    }
};
using __half = small_float<cta::kF16, unsigned short>;
using __nv_bfloat16 = small_float<cta::kBf16, unsigned short>;
using __nv_fp8_e4m3 = small_float<cta::kE4m3, unsigned char>;
struct __half2 {
    __half x, y;
};
struct __nv_bfloat162 {
    __nv_bfloat16 x, y;
};
static __half2 __floats2half2_rn(float x, float y) {
    return {__half(x), __half(y)};
}
static __nv_bfloat162 __floats2bfloat162_rn(float x, float y) {
    return {__nv_bfloat16(x), __nv_bfloat16(y)};
}
static float __half2float(__half x) {
    return x;
}
static float __bfloat162float(__nv_bfloat16 x) {
    return x;
}

#define __CUDACC__ // for headers that C reads, too
#include KERNEL

// ---- a launch: one cluster after the other ----

template <class A> static void enter(void (*kernel)(A)) {
    kernel(*(const std::remove_reference_t<A> *)cta::arguments());
}
template <class A> static size_t size_of_args(void (*)(A)) {
    return sizeof(std::remove_reference_t<A>);
}

// NULL, or what was found: until the next launch.
extern "C" const char *cta_launch_watched(const void *args, const unsigned *grid, unsigned threads,
                                          const unsigned *cluster, unsigned smem_bytes,
                                          const void *const *memory, const size_t *memory_bytes,
                                          size_t memory_count) {
    cta::set_arguments(args, size_of_args(triage_kernel));
#ifdef CTA_READS_ANYTHING
    cta::knows_all = false;
#endif
#ifdef CTA_HAS_SHADOW
    cta::shadow_from = kThreads;
#endif
    return cta::watched_launch([] { enter(triage_kernel); }, grid, threads, cluster, smem_bytes, memory,
                               memory_bytes, memory_count);
}

extern "C" size_t cta_args_bytes() {
    return size_of_args(triage_kernel);
}
