// Runs a plain CUDA kernel on the CPU, a fiber a thread, so that what it computes can be tested where there is no GPU: its
// indices, barriers and arithmetic, not its speed, and nothing of the memory model. Compiled with the rendered kernel:
//
//   c++ -shared -DKERNEL='"rendered.cu"' -DARGS=tri_attention_args -Itests/emulate -Itemplates tests/emulate/cta.cpp
//
// Barriers and shuffles want all threads of the CTA or warp; where some never come, the program is aborted. Shared memory
// is what was there before: not zero. float and bfloat16 only; lib/ beside this file stands for the headers with asm.
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include <cmath>
#include <vector>

// ---- fibers ----

namespace cta {

struct index3 {
    unsigned x, y, z;
};

struct fiber {
    jmp_buf at;
    ucontext_t start;
    std::vector<char> stack;
    bool started, done;
    unsigned turn; // of its warp's exchanges
};

constexpr unsigned kThreadsMax = 1024, kStackBytes = 65536;
static fiber fibers[kThreadsMax];
static unsigned threads, running, idle; // idle: turns since anything went on
static index3 block, grid;
static ucontext_t caller;
static void (*body)();

[[noreturn]] static void resume(unsigned next)
{
    running = next;
    if (fibers[next].started)
        _longjmp(fibers[next].at, 1);
    fibers[next].started = true;
    setcontext(&fibers[next].start);
    abort();
}

// The next fiber that is not done; none: the caller.
[[noreturn]] static void go_on()
{
    for (unsigned i = 1; i <= threads; i++)
        if (!fibers[(running + i) % threads].done)
            resume((running + i) % threads);
    setcontext(&caller);
    abort();
}

static void give_way()
{
    if (++idle > 4 * threads) {
        fprintf(stderr, "cta: threads wait for others that never come\n");
        abort();
    }
    if (!_setjmp(fibers[running].at))
        go_on();
}

struct barrier {
    unsigned arrived, generation;

    void wait(unsigned size)
    {
        unsigned mine = generation;
        idle = 0;
        if (++arrived == size) {
            arrived = 0;
            generation++;
            return;
        }
        while (generation == mine)
            give_way();
        idle = 0;
    }
};

static barrier of_block, of_warp[kThreadsMax / 32];

static void entry()
{
    body();
    fibers[running].done = true;
    idle = 0;
    go_on();
}

static void run_block()
{
    volatile bool back = false;
    for (unsigned i = 0; i < threads; i++) {
        fiber &f = fibers[i];
        f.started = f.done = false;
        f.turn = 0;
        f.stack.resize(kStackBytes);
        getcontext(&f.start);
        f.start.uc_stack.ss_sp = f.stack.data();
        f.start.uc_stack.ss_size = f.stack.size();
        makecontext(&f.start, entry, 0);
    }
    getcontext(&caller);
    if (back)
        return;
    back = true;
    resume(0);
}

// ---- exchanges: what each lane gives is kept until the exchange after the next one ----

static unsigned long long given[2][kThreadsMax];

template <typename T> static const unsigned long long *exchange(T value)
{
    unsigned half = fibers[running].turn++ % 2, warp = running / 32;
    given[half][running] = 0;
    memcpy(&given[half][running], &value, sizeof value);
    of_warp[warp].wait(32);
    return given[half] + warp * 32;
}

template <typename T> static T of_lane(T value, unsigned lane)
{
    memcpy(&value, &exchange(value)[lane % 32], sizeof value);
    return value;
}

} // namespace cta

// ---- CUDA's words ----

#define __global__
#define __device__
#define __forceinline__ inline
#define __grid_constant__
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __shared__ static
#define threadIdx (cta::index3{cta::running, 0, 0})
#define blockIdx (cta::block)
#define gridDim (cta::grid)

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
static float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
static float2 make_float2(float x, float y) { return {x, y}; }
static uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

static void __syncthreads() { cta::of_block.wait(cta::threads); }
static void __threadfence() {}
template <typename T> static T atomicAdd(T *at, T value)
{
    T before = *at;
    *at += value;
    return before;
}
template <typename T> static T __ldcg(const T *at) { return *at; }
template <typename T> static T __ldg(const T *at) { return *at; }
static float __fdividef(float x, float y) { return x / y; }
static void __syncwarp() { cta::of_warp[cta::running / 32].wait(32); }
template <typename T> static T __shfl_sync(unsigned, T value, int lane) { return cta::of_lane(value, lane); }
template <typename T> static T __shfl_xor_sync(unsigned, T value, int mask)
{
    return cta::of_lane(value, cta::running % 32 ^ mask);
}
template <typename T> static T __shfl_up_sync(unsigned, T value, int by)
{
    int lane = cta::running % 32;
    return cta::of_lane(value, lane < by ? lane : lane - by);
}
static unsigned __ballot_sync(unsigned, bool yes)
{
    const unsigned long long *of = cta::exchange(yes);
    unsigned bits = 0;
    for (int lane = 0; lane < 32; lane++)
        bits |= (unsigned)(of[lane] & 1) << lane;
    return bits;
}

static bool __any_sync(unsigned, bool yes) { return __ballot_sync(0, yes) != 0; }

static float __int_as_float(unsigned bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static int __ffs(int bits) { return __builtin_ffs(bits); }
static int __popc(unsigned bits) { return __builtin_popcount(bits); }

template <typename A, typename B> static auto min(A a, B b) -> decltype(a + b) { return a < b ? a : b; }
template <typename A, typename B> static auto max(A a, B b) -> decltype(a + b) { return a > b ? a : b; }

struct __nv_bfloat16 {
    unsigned short bits;
    __nv_bfloat16() = default;
    explicit __nv_bfloat16(float value) // to nearest even; NaN stays NaN
    {
        unsigned from;
        memcpy(&from, &value, sizeof from);
        bits = value != value ? from >> 16 | 0x40 : (from + 0x7fff + (from >> 16 & 1)) >> 16;
    }
};
struct __nv_bfloat162 {
    __nv_bfloat16 x, y;
};
static __nv_bfloat162 __floats2bfloat162_rn(float x, float y) { return {__nv_bfloat16(x), __nv_bfloat16(y)}; }
static float to_float(float value) { return value; }
static float to_float(__nv_bfloat16 value) { return __int_as_float((unsigned)value.bits << 16); }

float room[1 << 16]; // dynamic shared memory, by the one name that kernels give it

#define __CUDACC__ // for headers that C reads, too
#include KERNEL

// ---- a launch: one CTA after the other ----

static ARGS launched;

extern "C" void cta_launch_2d(const void *args, unsigned columns, unsigned rows, unsigned block, unsigned smem_bytes)
{
    if (smem_bytes > sizeof room)
        abort();
    memset(room, 0xff, sizeof room); // NaN
    memcpy(&launched, args, sizeof launched);
    cta::threads = block;
    cta::grid = {columns, rows, 1};
    cta::body = [] { triage_kernel(launched); };
    for (unsigned i = 0; i < columns * rows; i++) {
        cta::block = {i % columns, i / columns, 0};
        cta::run_block();
    }
}

extern "C" void cta_launch(const void *args, unsigned ctas, unsigned block, unsigned smem_bytes)
{
    cta_launch_2d(args, ctas, 1, block, smem_bytes);
}
