// Small kernels, right ones and ones with a fault of each kind that the emulation looks for: see unit/test_emulated_watch.
#include "lib/mma.cuh"
#include "lib/ptx.cuh"
#include "lib/tma.cuh"
#include "lib/wgmma_shapes.cuh"

struct args_faults {
    int which;
    float *out;       // [64]
    const float *in;  // [64]
    alignas(64) unsigned char map[128]; // of 8 x 64 bf16, box 64 x 8
};

#define shared ((unsigned char *)cta::own_room())

static float *floats() { return (float *)shared; }
static unsigned long long *bar(int i) { return (unsigned long long *)(shared + 16384) + i; }

static void share(const args_faults &args, bool meet)
{
    const int i = threadIdx.x;
    floats()[i] = 0.0f;
    __syncthreads();
    floats()[i] = args.in[i % 64];
    if (meet) __syncthreads();
    args.out[i % 64] = floats()[i ^ 32];
}

// Every thread reads the tile that TMA brings twice into the same slot.
static void ring(const args_faults &args, bool wait_full, bool wait_empty, bool wait_first = false)
{
    if (threadIdx.x == 0) {
        mbarrier_init(bar(0), 1);
        mbarrier_init(bar(1), 32);
    }
    __syncthreads();
    for (int turn = 0; turn < 2; turn++) {
        if (threadIdx.x == 32) {
            if (wait_empty) mbarrier_wait(bar(1), (turn & 1) ^ 1);
            if (wait_first && turn == 1) mbarrier_wait(bar(0), 0); // that it is there, not that it was read
            mbarrier_arrive_expect_tx(bar(0), 1024);
            tma_load_2d(shared, args.map, bar(0), 0, 0);
        }
        if (threadIdx.x < 32) {
            if (wait_full) mbarrier_wait(bar(0), turn);
            args.out[threadIdx.x] = floats()[threadIdx.x];
            mbarrier_arrive(bar(1));
        }
    }
}

static void copy(const args_faults &args, bool wait, bool meet)
{
    cp_async_16(threadIdx.x * 16, args.in + threadIdx.x % 16 * 4, 16);
    cp_async_commit();
    if (wait) cp_async_wait<0>();
    if (meet) __syncthreads();
    args.out[threadIdx.x % 64] = floats()[(threadIdx.x ^ 32) * 4];
    __syncthreads();
}

// Two products, in a warpgroup, of what is written over before or after they are done.
static void multiply(const args_faults &args, bool wait)
{
    float d[8] = {};
    for (int i = threadIdx.x; i < 4096; i += 128) floats()[i] = 0.0f;
    __syncthreads();
    wgmma_ss<__nv_bfloat16, 16, 0>::mma(d, wgmma_desc<128>(shared, 0, 1024), wgmma_desc<128>(shared + 8192, 0, 1024), 0);
    wgmma_commit();
    if (wait) wgmma_wait<0>();
    if (threadIdx.x == 0) floats()[0] = 1.0f;
    wgmma_wait<0>();
    args.out[threadIdx.x % 64] = d[0];
}

static void triage_kernel(const args_faults &args)
{
    const int i = threadIdx.x;
    switch (args.which) {
    case 0: share(args, true); break;
    case 1: share(args, false); break;
    case 2: // another lane of the warp
        floats()[i] = 0.0f;
        __syncthreads();
        floats()[i] = 1.0f;
        args.out[i % 64] = floats()[i ^ 1];
        break;
    case 3: // read, and written over
        floats()[i] = 1.0f;
        __syncthreads();
        args.out[i % 64] = floats()[i ^ 32];
        if (i >= 64) floats()[i ^ 32] = 2.0f, floats()[i] = 2.0f;
        break;
    case 4: floats()[0] = (float)i; break;
    case 5: floats()[0] = 7.0f; break; // all the same
    case 6: args.out[i % 64] = floats()[8000 / 4 + i]; break; // nobody wrote it
    case 7: floats()[5000 + i] = 1.0f; break;              // behind the end
    case 8: args.out[64 + i] = 1.0f; break;                 // behind the end of global memory
    case 9: args.out[0] = args.in[-1]; break;
    case 10: if (i < 32) __syncthreads(); break;
    case 11: if (i % 32 < 16) named_barrier_sync(1, 64); break;
    case 12: named_barrier_sync(1, i < 32 ? 64 : 128); break;
    case 13: if (i % 2) __syncwarp(); else __any_sync(~0u, true); break;
    case 14: ring(args, true, true); break;
    case 15: ring(args, false, true); break;
    case 16: ring(args, true, false); break;
    case 17: if (i == 0) mbarrier_init(bar(0), 1), mbarrier_wait(bar(0), 0); break;
    case 18: if (i == 0) mbarrier_init(bar(0), 2), mbarrier_arrive_expect_tx(bar(0), 16), mbarrier_arrive(bar(0)), mbarrier_arrive(bar(0)); break;
    case 19: mbarrier_wait(bar(2), 1); break;
    case 20: copy(args, true, true); break;
    case 21: copy(args, false, true); break;
    case 22: copy(args, true, false); break;
    case 23: multiply(args, true); break;
    case 24: multiply(args, false); break;
    case 25: if (i == 0) mbarrier_init(bar(0), 1); if (i == 64) mbarrier_arrive(bar(0)); break;
    case 26: if (i == 0) mbarrier_init(bar(0), 1), mbarrier_arrive_expect_tx(bar(0), 1024), tma_load_2d(shared, args.map, bar(0), 0, 0); break;
    case 28: ring(args, true, false, true); break;
    case 27: { unsigned r[4]; ldmatrix_x4(r, 16384 + 1024 - 64 + i % 32 * 16); break; }
    }
}
