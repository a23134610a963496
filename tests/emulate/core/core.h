// What a kernel that is compiled for the CPU finds in place of the chip: threads as fibers, barriers, copies, products of matrices.
// The kernel's own text is compiled beside it with -fsanitize=thread, whose calls come to watch.cpp instead of to a sanitizer:
// so every access that the kernel makes is seen.
#pragma once
#include <stddef.h>

namespace cta {

struct index3 {
    unsigned x, y, z;
};

// ---- who runs: the same for all the life of a fiber ----

__attribute__((const)) index3 thread();
__attribute__((const)) index3 block();
__attribute__((const)) index3 grid();
__attribute__((const)) void *own_room(); // of its CTA: dynamic shared memory
__attribute__((const)) unsigned rank();  // of its CTA in the cluster

[[noreturn]] void fail(const char *format, ...); // ends the launch

// ---- barriers ----

void sync_threads();
void sync_warp();
void named_sync(unsigned id, unsigned threads);
void named_arrive(unsigned id, unsigned threads);
void cluster_arrive();
void cluster_wait();

// What every lane of the warp gives. It orders no memory.
struct lanes {
    unsigned long long of[32];
};
lanes exchange(const char *what, unsigned long long value);

void mbarrier_init(void *bar, unsigned arrivals);
void mbarrier_arrive(void *bar, unsigned bytes, unsigned rank); // bytes: to be expected, too
void mbarrier_wait(void *bar, unsigned parity);

// ---- memory ----

// What is at the same place in another CTA's shared memory.
void read_remote(void *to, const void *at, size_t bytes, unsigned rank);
unsigned shared_address(const void *at);
void *shared_at(unsigned address);

void copy_async(unsigned to, const void *from, unsigned bytes, unsigned valid);
void copy_commit();
void copy_wait(int pending);

// Boxes; ctas: a bit for each CTA of the cluster that gets it.
void tma_load(void *to, const void *map, void *bar, const int (&at)[5], unsigned ctas);
void tma_store(const void *map, const void *from, const int (&at)[5]);
void tma_commit();
void tma_wait_read(int pending);
void send(void *to, const void *value, unsigned bytes, void *bar, unsigned rank);

// ---- products ----

enum element { kF16, kBf16, kE4m3 };
float value_of(element type, unsigned bits);
unsigned bits_of(element type, float value); // to nearest even; e4m3: at most 448

void ldmatrix(unsigned (&r)[4], unsigned address, bool transposed);
void stmatrix(void *row, const unsigned (&r)[4], bool transposed);
unsigned movmatrix(unsigned r);
void mma(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1, element type);

// A: registers, or NULL and a_desc. n columns of sums.
struct product {
    float *d;
    const unsigned *a;
    unsigned long long a_desc, b_desc;
    unsigned n;
    element type;
    bool a_is_mn, b_is_mn, keep;
};
void wgmma(const product &p);
void wgmma_commit();
void wgmma_wait(int pending);

// ---- a launch ----

extern bool knows_all;       // false: what nobody wrote may be read (some kernels warm their code up on it)
extern unsigned shadow_from; // threads from here on compute nothing, and read whatever is there
void set_arguments(const void *args, size_t bytes);
const void *arguments();
// Global memory that there is; none: it is not watched. NULL, or what was found.
const char *watched_launch(void (*kernel)(), const unsigned *grid, unsigned threads, const unsigned *cluster,
                           unsigned smem_bytes, const void *const *memory, const size_t *memory_bytes,
                           size_t memory_count);

} // namespace cta
