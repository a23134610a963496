// templates/attention/wgmma_turn.cuh alone, of one slot: V as TMA brings it is turned by four warps. kTileN, kDv and kWidth
// come with the text (unit/test_attention_turn_emulated).
#include "lib/mma.cuh"
#include "lib/ptx.cuh"

struct args_turn {
    const unsigned char *v; // [kTileN][kDv]
    unsigned char *turned;  // as shared memory is afterwards
    int valid;              // keys that exist
};

template <int slots> struct ring_t {
    int slot = 0;
    unsigned parity = 0;
    void advance() {}
};

constexpr int kStages = 2, kRawSlots = 2, kNoMore = -1;
constexpr bool kZeroTail = true;
constexpr int kRawBytes = (kDv + 127) / 128 * 128 * kTileN;

struct sync_t {
    unsigned long long raw_full[kRawSlots], raw_empty[kRawSlots], v_full[kStages], v_empty[kStages];
    int valid[kRawSlots];
};
static sync_t barriers;
static sync_t &sync() { return barriers; }
static unsigned char *raw_slot(int) { return (unsigned char *)cta::own_room(); }
static unsigned char *v_slot(int) { return (unsigned char *)cta::own_room() + kRawBytes; }
static int read_field(int field) { return field; }
static void arrive(unsigned long long *) {}
#define mbarrier_wait(bar, parity) // of one turn: there is nothing to wait for

#include "attention/wgmma_turn.cuh"

static void triage_kernel(const args_turn &args)
{
    if (threadIdx.x == 0) {
        sync().valid[0] = args.valid;
        for (int key = 0; key < kTileN; key++)
            for (int column = 0; column < kDv; column++)
                raw_slot(0)[column / 128 * 128 * kTileN + key * 128 + (column % 128 / 16 ^ key % 8) * 16 + column % 16] =
                    args.v[key * kDv + column];
    }
    __syncthreads();
    turner_t turner(threadIdx.x / 32);
    turner.turn();
    __syncthreads();
    if (threadIdx.x == 0) memcpy(args.turned, v_slot(0), kDv * kTileN);
}
