/* wgmma.cu and wgmma_fp8.cu: what producer and consumers tell one another of a tile and of a step, and how. Included behind
 * the constants that it uses, before sync_t; wgmma_slots.cuh goes on.
 */
#ifndef TRIAGE_ATTENTION_WGMMA_RINGS_CUH
#define TRIAGE_ATTENTION_WGMMA_RINGS_CUH

/* What the consumers have to know of a tile. Step s is block first - s of the keys. */
struct tile_fields_t {
    int steps;     // at least 1; -1: no more tiles
    int first;     // block of step 0
    int masked;    // steps from 0 on that the right edge cuts (step 0 always counts as cut)
    int free_end;  // steps from here on are cut by the left edge
    int begin, end, begin_of_all, end_of_all; // keys that some row, that every row may see
    int m0;        // first query, in its sequence
    int q_len, k_len;
    int q_row;     // of query 0, from the start of the tensor (offsets)
    int head, batch;
};

/* Block mask: what a step has gathered, and what comes after it. */
struct gathered_t {
    int key[kUnits];   // first key of each run; kNoKey: none
    int entry[kUnits]; // of the partial list; -1: all of the run is seen
    int next;          // 0: a step that sees all its keys, 1: a step that is cut, 2: none, the tile ends
};
[[maybe_unused]] constexpr int kNoKey = 1 << 30; // behind every tensor: TMA brings zeros
enum { kNextFree, kNextCut, kNextNone };

__device__ __forceinline__ int ceil_div(int a, int b) { return (a + b - 1) / b; }
/* A bound of a window, small enough to be added to a row. */
__device__ __forceinline__ int keys_ahead(int bound) { return min(bound, 1 << 29); }

/* A number that the producer has written, for the whole warp. Only that lane reads it which will say to the producer
 * that the warp is done: nothing else orders a read before the next write. */
__device__ __forceinline__ int read_field(const int &field)
{
    int value = 0;
    if (threadIdx.x % 32 == 0) value = field;
    return warp_uniform(value);
}
__device__ __forceinline__ float read_field(const float &field)
{
    return __int_as_float(read_field(reinterpret_cast<const int &>(field)));
}

/* Each warp says for itself that it is through with a slot, or has filled one. */
__device__ __forceinline__ void arrive(unsigned long long *bar)
{
    if (threadIdx.x % 32 == 0) mbarrier_arrive(bar);
}

#endif
