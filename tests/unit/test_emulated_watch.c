/* What watches kernels on the CPU (tests/emulate) can fail: each kind of fault is found in a kernel that has it, and nothing is
 * in its right twin. */
#include "support/check.h"
#include "support/scratch_group.h"
#include "support/emulated.h"

#include "emulate/map.h"

typedef struct args_faults {
    int which;
    float *out;
    const float *in;
    _Alignas(64) unsigned char map[128];
} args_faults;

#define THREADS 128
#define ROOM 17408
static struct {
    float before[16], in[64], between[16], out[64], behind[16];
    unsigned short tile[8 * 64];
} memory;

static const struct {
    int which;
    const char *found; /* NULL: it is right */
} cases[] = {
    {0, NULL},
    {1, "race: reads"},
    {2, "race: "},
    {3, "race: "},
    {4, "race: writes"},
    {5, NULL},
    {6, "nobody has written"},
    {7, "the CTA has 17408 bytes"},
    {8, "global memory"},
    {9, "global memory"},
    {10, "deadlock: threads wait for others that never come; 0.0-31 wait at __syncthreads"},
    {11, "is reached by 16 lanes of a warp"},
    {12, "one thread says that"},
    {13, "deadlock"},
    {14, NULL},
    {15, "nobody has written"},
    {16, "more than 1 arrive"},
    {17, "0.0-0 wait at an mbarrier"},
    {18, "more than 2 arrive"},
    {19, "that nobody has made"},
    {20, NULL},
    {21, "is still under way"},
    {22, "nobody has written"},
    {23, NULL},
    {24, "a product of warp"},
    {25, "race: reads"},
    {26, "still under way when its CTA has ended"},
    {28, "has read no barrier orders"},
    {27, "shared memory at 17408 of 17408"},
};

static const char *run(const emulated *kernel, int which) {
    static const unsigned grid[3] = {1, 1, 1};
    const void *at[] = {memory.in, memory.out, memory.tile};
    const size_t bytes[] = {sizeof memory.in, sizeof memory.out, sizeof memory.tile};
    args_faults args = {.which = which, .out = memory.out, .in = memory.in};
    const emulated_map map = {.base = memory.tile,
                              .strides = {2, 128},
                              .dims = {64, 8},
                              .box = {64, 8},
                              .element = 2,
                              .swizzle = 128,
                              .rank = 2};
    memcpy(args.map, &map, sizeof map);
    return kernel->launch(&args, grid, THREADS, grid, ROOM, at, bytes, 3);
}

/* Twice: CTAs and copies go the other way around the second time. */
static void each_fault_is_found(void **state) {
    (void)state;
    tri_source source = {.text = "#include \"" TRI_SOURCE_DIR "/tests/emulate/faults.cu\"\n"};
    emulated kernel = emulated_open(folder, &source);
    for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
        const char *wanted = cases[i / 2].found, *found = run(&kernel, cases[i / 2].which);
        if (wanted ? !found || !strstr(found, wanted) : found != NULL)
            fail_msg("kernel %d: %s, expected %s", cases[i / 2].which, found ? found : "nothing",
                     wanted ? wanted : "nothing");
    }
    emulated_close(&kernel);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_fault_is_found)};
    if (!emulated_runs_here())
        return 77;
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
