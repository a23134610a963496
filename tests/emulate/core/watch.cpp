// Sees every access of a kernel. Shared memory: is it of this CTA, was it written before it is read, and does a barrier order it
// behind what other threads did there? Global memory: is it somebody's? What is found ends the launch.
//
// Order is kept as vector clocks: of each thread, what it has seen of every other one's time. A barrier's clock is joined
// by who arrives, and joins who leaves. Of each 4 bytes of shared memory the last write and up to four reads are known by
// thread and time: a further reader may be forgotten, so that a race may be missed, and none is found that is not there.
// Copies of TMA write in the name of their mbarrier. What a copy or a product works on may not be touched before it ends.
#include "state.h"

#include <stdlib.h>

namespace cta {

struct event {
    uint32_t clock;
    unsigned agent : 24, mask : 8; // mask: which of the 4 bytes; 0: there is none
};
struct cell {
    event write, twins[2], reads[4]; // twins: writes of the same, by others
    unsigned char known;             // bytes that were written
};

struct range {
    const char *begin;
    size_t bytes;
};

char *rooms;
unsigned ranks, room_bytes, agents;
extern char *stacks;
extern size_t stacks_bytes;
bool knows_all = true; // reads of what nobody wrote are found
unsigned shadow_from = 1 << 20;
static std::vector<range> memories; // global; empty: not watched
static clocks all_clocks;
static std::vector<cell> cells, static_cells;
extern "C" char __ehdr_start __attribute__((visibility("hidden"))),
    __bss_start __attribute__((visibility("hidden"))), _end __attribute__((visibility("hidden")));
static size_t caller; // in the kernel's library

// ---- clocks ----

uint32_t *clock_of(unsigned agent) {
    return all_clocks.data() + (size_t)agent * agents;
}

void join(uint32_t *__restrict to, const uint32_t *__restrict from) {
    for (unsigned i = 0; i < agents; i++)
        to[i] = to[i] > from[i] ? to[i] : from[i];
}

void release(clocks &to) {
    uint32_t *mine = clock_of(self->number);
    join(to.data(), mine);
    mine[self->number]++;
}

void start_watching() {
    all_clocks.assign((size_t)agents * agents, 0);
    for (unsigned i = 0; i < fibers.size(); i++)
        clock_of(i)[i] = 1;
    cells.resize((size_t)ranks * kWindow / 4);
    for (unsigned r = 0; r < ranks; r++)
        memset(&cells[(size_t)r * kWindow / 4], 0, (room_bytes + 3) / 4 * sizeof(cell));
    static_cells.assign((&_end - &__bss_start) / 4 + 1, cell());
}

// ---- a write that nothing orders ----

// It may write what is there already, as some kernels' threads do with zeros: no harm. That is known when it has been done.
static struct {
    const char *at;
    unsigned bytes;
    char before[16], message[400];
} doubt;
static bool writes; // the access at hand is a store of the kernel's own, which comes behind this look at it
static const char *written;
static size_t written_bytes;

void settle_doubt() {
    const bool changed = doubt.bytes > 0 && memcmp(doubt.at, doubt.before, doubt.bytes) != 0;
    doubt.bytes = 0;
    if (changed)
        fail("%s", doubt.message);
}

static bool is_doubtful() {
    return doubt.bytes > 0;
}

static void object(const char *message) {
    if (!writes || written_bytes > sizeof doubt.before)
        fail("%s", message);
    doubt.at = written;
    doubt.bytes = (unsigned)written_bytes;
    memcpy(doubt.before, written, written_bytes);
    snprintf(doubt.message, sizeof doubt.message, "%s", message);
}

// ---- a cell ----

static bool is_ordered(const event &e, unsigned agent) {
    return e.clock != kUnderWay && (e.agent == agent || e.clock <= clock_of(agent)[e.agent]);
}

static void race(unsigned place, const event &e, const char *now, const char *before) {
    const unsigned threads = (unsigned)fibers.size();
    char who[64];
    if (e.agent >= threads + ranks * kBarriers)
        snprintf(who, sizeof who, "a product of warp %u", e.agent - threads - ranks * kBarriers);
    else if (e.agent < threads)
        snprintf(who, sizeof who, "thread %u%s", fibers[e.agent].thread.x,
                 fibers[e.agent].rank == self->rank ? "" : " of another CTA");
    else
        snprintf(who, sizeof who, "a copy of mbarrier %u", e.agent - threads);
    const char *order = e.clock == kUnderWay ? "is still under way" : "no barrier orders";
    char message[400];
    snprintf(message, sizeof message, "race: %s shared memory at %u, where what %s has %s %s (code at %zx)",
             now, place % kWindow, who, before, order, caller);
    object(message);
}

static void check(cell &c, unsigned place, unsigned mask, bool write, unsigned agent) {
    const bool through_twin = !write && ((c.twins[0].mask & mask && is_ordered(c.twins[0], agent)) ||
                                         (c.twins[1].mask & mask && is_ordered(c.twins[1], agent)));
    if (c.write.mask & mask && !is_ordered(c.write, agent) && !through_twin)
        race(place, c.write, write ? "writes" : "reads", "written");
    if (write)
        for (const event &e : c.reads)
            if (e.mask & mask && !is_ordered(e, agent))
                race(place, e, "writes", "read");
    if (!write && knows_all && mask & ~c.known)
        fail("reads shared memory at %u that nobody has written (code at %zx)", place % kWindow, caller);
}

static void mark(cell &c, unsigned mask, bool write, unsigned agent, uint32_t clock) {
    const event now = {clock, agent, mask};
    if (write && is_doubtful()) {
        c.twins[c.twins[0].mask && c.twins[0].agent != agent] = now;
        return;
    }
    if (write) {
        c.write = now;
        c.twins[0].mask = c.twins[1].mask = 0;
        c.known |= mask;
        for (event &e : c.reads)
            e.mask &= ~mask;
        return;
    }
    unsigned at = 4;
    for (unsigned i = 0; i < 4 && at == 4; i++)
        if (c.reads[i].mask == 0 || (c.reads[i].agent == agent && !(c.reads[i].mask & ~mask)))
            at = i;
    for (unsigned i = 0; i < 4 && at == 4; i++)
        if (!(c.reads[i].mask & ~mask) && is_ordered(c.reads[i], self->number))
            at = i;
    c.reads[at == 4 ? agent % 4 : at] = now;
}

// Of `bytes` from `place` on.
template <class F> static void each(cell *first, unsigned place, unsigned bytes, F with) {
    for (const unsigned end = place + bytes; place < end;) {
        const unsigned from = place % 4, to = end - place < 4 - from ? from + end - place : 4;
        with(first[place / 4], (1u << to) - (1u << from), place);
        place += to - from;
    }
}

void check_read(unsigned offset, unsigned bytes, unsigned agent) {
    each(cells.data(), offset, bytes,
         [&](cell &c, unsigned mask, unsigned at) { check(c, at, mask, false, agent); });
}
bool may_read(unsigned offset, unsigned bytes, unsigned agent) {
    bool may = true;
    each(cells.data(), offset, bytes, [&](cell &c, unsigned mask, unsigned) {
        may = may && !(mask & ~c.known) && (!(c.write.mask & mask) || is_ordered(c.write, agent));
    });
    return may;
}
void check_write(unsigned offset, unsigned bytes, unsigned agent) {
    each(cells.data(), offset, bytes,
         [&](cell &c, unsigned mask, unsigned at) { check(c, at, mask, true, agent); });
}
void mark_read(unsigned offset, unsigned bytes, unsigned agent, uint32_t clock) {
    each(cells.data(), offset, bytes,
         [&](cell &c, unsigned mask, unsigned) { mark(c, mask, false, agent, clock); });
}
void mark_write(unsigned offset, unsigned bytes, unsigned agent, uint32_t clock) {
    each(cells.data(), offset, bytes,
         [&](cell &c, unsigned mask, unsigned) { mark(c, mask, true, agent, clock); });
}

bool is_under_way(unsigned offset) {
    return cells[offset / 4].write.mask && cells[offset / 4].write.clock == kUnderWay;
}

// ---- an access ----

// All of it lies in one CTA's shared memory; own: in that of this thread's.
static void check_room(unsigned offset, size_t bytes, bool own) {
    const unsigned rank = offset / kWindow, at = offset % kWindow;
    if (rank >= ranks || at + bytes > room_bytes || (own && rank != self->rank))
        fail("shared memory at %d: the CTA has %u bytes (code at %zx)", (int)(offset - self->rank * kWindow),
             room_bytes, caller);
}

unsigned offset_of(const void *at) {
    const size_t offset = (const char *)at - rooms;
    if (offset >= (size_t)ranks * kWindow)
        fail("%p is not in shared memory", at);
    return (unsigned)offset;
}

static void access(cell *first, unsigned place, size_t bytes, bool write) {
    const uint32_t now = clock_of(self->number)[self->number];
    if (!write && self->thread.x >= shadow_from)
        return;
    writes = write;
    each(first, place, (unsigned)bytes, [&](cell &c, unsigned mask, unsigned at) {
        check(c, at, mask, write, self->number);
        mark(c, mask, write, self->number, now);
    });
    writes = false;
}

void check_global(const void *at, size_t bytes) {
    static size_t last;
    if (bytes == 0 || memories.empty())
        return;
    for (size_t i = 0; i < memories.size(); i++) {
        const range &r = memories[(last + i) % memories.size()];
        if ((size_t)((const char *)at - r.begin) + bytes <= r.bytes && (const char *)at >= r.begin) {
            last = (last + i) % memories.size();
            return;
        }
    }
    fail("%zu bytes of global memory at %p are nobody's (code at %zx)", bytes, at, caller);
}

static void watch(const void *at, size_t bytes, bool write, const void *from, bool own = true) {
    if (!self || (size_t)((const char *)at - stacks) < stacks_bytes)
        return;
    settle_doubt();
    caller = (size_t)((const char *)from - &__ehdr_start);
    written = (const char *)at;
    written_bytes = bytes;
    const ptrdiff_t in_rooms = (const char *)at - rooms;
    if (in_rooms >= -(ptrdiff_t)kWindow && in_rooms < (ptrdiff_t)((ranks + 1) * kWindow)) {
        check_room((unsigned)in_rooms, bytes, own);
        access(cells.data(), (unsigned)in_rooms, bytes, write);
    } else if ((size_t)((const char *)at - &__bss_start) < (size_t)(&_end - &__bss_start)) {
        if (ranks == 1) // of a cluster's CTAs static shared memory is not told apart
            access(static_cells.data(), (unsigned)((const char *)at - &__bss_start), bytes, write);
    } else {
        check_global(at, bytes);
    }
}

void write(void *at, size_t bytes) {
    watch(at, bytes, true, __builtin_return_address(0));
}

void *remote(const void *at, unsigned rank) {
    return rooms + rank * kWindow + offset_of(at) % kWindow;
}
void read_remote(void *to, const void *at, size_t bytes, unsigned rank) {
    const void *from = remote(at, rank);
    watch(from, bytes, false, __builtin_return_address(0), false);
    memcpy(to, from, bytes);
}
unsigned shared_address(const void *at) {
    return offset_of(at) % kWindow;
}
void *shared_at(unsigned address) {
    if (address >= kWindow)
        fail("shared memory at %u: the CTA has %u bytes", address, room_bytes);
    return (char *)self->room + address;
}

const char *launch(void (*kernel)(), const index3 &grid, unsigned threads, const index3 &cluster,
                   unsigned smem_bytes);

static char *args;
static size_t args_bytes;

void set_arguments(const void *given, size_t bytes) {
    free(args);
    args = (char *)aligned_alloc(128, (bytes + 127) / 128 * 128);
    args_bytes = bytes;
    memcpy(args, given, bytes);
}
const void *arguments() {
    return args;
}

const char *watched_launch(void (*kernel)(), const unsigned *grid, unsigned threads, const unsigned *cluster,
                           unsigned smem_bytes, const void *const *memory, const size_t *memory_bytes,
                           size_t memory_count) {
    memories.clear();
    if (memory_count > 0)
        memories.push_back({args, args_bytes});
    for (size_t i = 0; i < memory_count; i++)
        memories.push_back({(const char *)memory[i], memory_bytes[i]});
    return launch(kernel, {grid[0], grid[1], grid[2]}, threads, {cluster[0], cluster[1], cluster[2]},
                  smem_bytes);
}

} // namespace cta

// ---- what the compiler calls ----

#define WATCHED(bytes)                                                                                       \
    extern "C" void __tsan_read##bytes(void *at) {                                                           \
        cta::watch(at, bytes, false, __builtin_return_address(0));                                           \
    }                                                                                                        \
    extern "C" void __tsan_write##bytes(void *at) {                                                          \
        cta::watch(at, bytes, true, __builtin_return_address(0));                                            \
    }
#define WATCHED_UNALIGNED(bytes)                                                                             \
    extern "C" void __tsan_unaligned_read##bytes(void *at) {                                                 \
        cta::watch(at, bytes, false, __builtin_return_address(0));                                           \
    }                                                                                                        \
    extern "C" void __tsan_unaligned_write##bytes(void *at) {                                                \
        cta::watch(at, bytes, true, __builtin_return_address(0));                                            \
    }
WATCHED(1)
WATCHED(2)
WATCHED(4)
WATCHED(8)
WATCHED(16)
WATCHED_UNALIGNED(2)
WATCHED_UNALIGNED(4)
WATCHED_UNALIGNED(8)
WATCHED_UNALIGNED(16)
extern "C" void __tsan_read_range(void *at, size_t bytes) {
    cta::watch(at, bytes, false, __builtin_return_address(0));
}
extern "C" void __tsan_write_range(void *at, size_t bytes) {
    cta::watch(at, bytes, true, __builtin_return_address(0));
}
extern "C" void __tsan_volatile_read4(void *at) {
    cta::watch(at, 4, false, __builtin_return_address(0));
}
extern "C" void __tsan_volatile_write4(void *at) {
    cta::watch(at, 4, true, __builtin_return_address(0));
}
extern "C" void __tsan_func_entry(void *) {}
extern "C" void __tsan_func_exit() {}
extern "C" void __tsan_init() {}
