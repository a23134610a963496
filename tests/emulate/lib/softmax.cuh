// Stands for templates/lib/softmax.cuh, without what needs the chip.
#ifndef TRIAGE_EMULATE_SOFTMAX
#define TRIAGE_EMULATE_SOFTMAX

// Words of CUDA that only attention's kernels have.
struct alignas(8) int2 {
    int x, y;
};
static int2 make_int2(int x, int y) { return {x, y}; }
static bool __all_sync(unsigned, bool yes) { return !__any_sync(0, !yes); }
static int __float_as_int(float value)
{
    int bits;
    memcpy(&bits, &value, 4);
    return bits;
}

static float minus_infinity() { return -INFINITY; }
static float exp2_fast(float x) { return exp2f(x); }
static float quad_max(float x)
{
    x = fmaxf(x, __shfl_xor_sync(0u, x, 1));
    return fmaxf(x, __shfl_xor_sync(0u, x, 2));
}
static float quad_sum(float x)
{
    x += __shfl_xor_sync(0u, x, 1);
    return x + __shfl_xor_sync(0u, x, 2);
}
static float tanh_exact(float x) { return tanhf(x); }

#endif
