// What the parts of the core share: see core.h.
#pragma once
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <ucontext.h>

#include <deque>
#include <vector>

#include "core.h"

namespace cta {

constexpr unsigned kWindow = 1 << 18; // addresses of a CTA's shared memory
constexpr unsigned kStackBytes = 1 << 18;
constexpr unsigned kBarriers = 64; // mbarriers of a CTA that are told apart as writers

// ---- order: a clock for each thread, and for each mbarrier as the one whose copies write ----

using clocks = std::vector<uint32_t>; // of every agent, as far as somebody knows
constexpr uint32_t kUnderWay = 0xffffffff;
extern unsigned agents;
uint32_t *clock_of(unsigned agent);
void join(uint32_t *to, const uint32_t *from);
void release(clocks &to); // what this thread has done, and knows

// ---- threads ----

struct copy_under_way { // of cp.async
    unsigned to, bytes, valid, group;
    const void *from;
};
struct store_under_way {
    const void *map;
    const char *from;
    int at[5];
    unsigned group;
};
struct product_under_way {
    product p;
    unsigned a[4]; // copies of the registers
    unsigned group;
};

struct fiber {
    jmp_buf at;
    ucontext_t start;
    bool started, done;
    unsigned number, warp, rank; // warp: of the cluster
    index3 thread, block;
    void *room;
    const char *waits; // for what; NULL: it does not
    unsigned waits_at, waits_for;
    unsigned cluster_phase;
    unsigned copy_group, store_group, product_group, products_ended;
    std::vector<copy_under_way> copies;
    std::vector<store_under_way> stores;
    std::deque<product_under_way> products;
};
extern fiber *self;
extern std::vector<fiber> fibers;

void sleep(const char *what, unsigned at = 0, unsigned wanted = 0); // until woken
void wake(fiber *f);

// A collective of a warp: the last lane runs it for all. mine: what this lane gives it.
typedef void (*collective)(void *const (&of_lane)[32], unsigned first_fiber);
void together(const char *what, void *mine, collective run);

// ---- shared memory ----

extern char *rooms; // of the CTAs of the cluster, kWindow apart
extern unsigned ranks, room_bytes;
void *remote(const void *at, unsigned rank);
void write(void *at, size_t bytes); // before an access that the compiler does not see
unsigned offset_of(const void *at); // in rooms; fails elsewhere

// Of so many bytes from `offset` on in rooms. agent: whose clock. Of what is marked as kUnderWay nobody may touch anything until
// it is marked again.
void check_read(unsigned offset, unsigned bytes, unsigned agent);
bool may_read(unsigned offset, unsigned bytes, unsigned agent);
void check_write(unsigned offset, unsigned bytes, unsigned agent);
void mark_read(unsigned offset, unsigned bytes, unsigned agent, uint32_t clock);
void mark_write(unsigned offset, unsigned bytes, unsigned agent, uint32_t clock);
bool is_under_way(unsigned offset);
void check_global(const void *at, size_t bytes);

void settle_doubt(); // before a thread gives way, or ends
void start_watching();
void start_barriers();
void start_products();
bool land_one(); // a copy of TMA; false: none flies
void end_copies();

} // namespace cta
