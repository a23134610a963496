// Barriers of a CTA, of some of its threads, of a cluster; mbarriers, and the copies that complete on them.
#include "state.h"

#include <stdlib.h>

#include <map>

#include "../map.h"

namespace cta {

struct barrier {
    unsigned arrived = 0, expected = 0;
    std::vector<fiber *> waiting;
    std::vector<unsigned char> of_warp; // how many of each have come
    clocks clock;
};

struct mbarrier {
    unsigned phase = 0, expected = 0, missing = 0, number = 0;
    unsigned maker = 0; // a warp
    long bytes = 0;
    clocks clock;
    std::vector<fiber *> waiting;
};

struct flight {
    char *to;
    const emulated_map *map; // NULL: `value` alone
    unsigned bar;            // offset
    int at[5];
    unsigned char value[16];
    unsigned bytes;
};

static std::vector<barrier> named, of_warps; // [rank][16], 0 that of __syncthreads
static barrier of_cluster;
static unsigned cluster_phase;
static std::map<unsigned, mbarrier> mbarriers; // by offset
static std::deque<flight> flying;
static bool newest_first;
// The lanes of a warp come out of an `if` together, as ptxas leaves them, so that what one has made there the others find. PTX does
// not promise it: EMULATE_STRICT in the environment asks for a barrier.
static const bool strict = getenv("EMULATE_STRICT");

void start_barriers() {
    barrier fresh;
    fresh.clock.assign(agents, 0);
    named.assign(ranks * 16, fresh);
    of_warps.assign(fibers.size() / 32, fresh);
    of_cluster = fresh;
    cluster_phase = 0;
    mbarriers.clear();
    flying.clear();
    newest_first = !newest_first;
}

// ---- barriers of threads ----

static void complete(barrier &b) {
    for (fiber *f : b.waiting) {
        join(clock_of(f->number), b.clock.data());
        if (f != self)
            wake(f);
    }
    b.waiting.clear();
    b.arrived = 0;
    b.clock.assign(agents, 0);
}

// True: this was the last one.
static bool arrive(barrier &b, const char *what, unsigned size, bool waits) {
    if (b.arrived > 0 && b.expected != size)
        fail("%s: one thread says that %u meet, another %u", what, b.expected, size);
    b.expected = size;
    if (b.arrived == 0)
        b.of_warp.assign(fibers.size() / 32, 0);
    if (++b.of_warp[self->warp] > 32)
        fail("%s: a thread comes twice", what);
    release(b.clock);
    if (waits)
        b.waiting.push_back(self);
    if (++b.arrived < size)
        return false;
    for (unsigned char of_warp : b.of_warp)
        if (of_warp != 0 && of_warp != 32)
            fail("%s is reached by %u lanes of a warp", what, of_warp);
    complete(b);
    return true;
}

static void meet(barrier &b, const char *what, unsigned at, unsigned size) {
    if (!arrive(b, what, size, true))
        sleep(what, at, size);
}

static barrier &named_at(unsigned id) {
    if (id >= 16)
        fail("barrier %u: there are 16", id);
    return named[self->rank * 16 + id];
}

void sync_threads() {
    meet(named_at(0), "__syncthreads", 0, (unsigned)fibers.size() / ranks);
}
void sync_warp() {
    meet(of_warps[self->warp], "__syncwarp", self->warp, 32);
}
void named_sync(unsigned id, unsigned threads) {
    if (threads % 32 != 0 || threads == 0)
        fail("barrier %u of %u threads: whole warps only", id, threads);
    meet(named_at(id), "a named barrier", id, threads);
}
void named_arrive(unsigned id, unsigned threads) {
    arrive(named_at(id), "a named barrier", threads, false);
}

// A thread may have left before another one of the cluster waits.
void cluster_arrive() {
    self->cluster_phase = cluster_phase + 1;
    of_cluster.waiting.push_back(self); // learns of the others when all have come, as it has to wait anyway
    release(of_cluster.clock);
    if (++of_cluster.arrived < fibers.size())
        return;
    cluster_phase++;
    for (fiber *f : of_cluster.waiting) {
        join(clock_of(f->number), of_cluster.clock.data());
        if (f->waits)
            if (strcmp(f->waits, "the cluster") == 0)
                wake(f);
    }
    of_cluster.waiting.clear();
    of_cluster.arrived = 0;
    of_cluster.clock.assign(agents, 0);
}

void cluster_wait() {
    if (cluster_phase < self->cluster_phase)
        sleep("the cluster", self->cluster_phase, (unsigned)fibers.size());
}

// ---- mbarriers ----

static mbarrier &mbarrier_at(unsigned offset) {
    auto found = mbarriers.find(offset);
    if (found == mbarriers.end())
        fail("an mbarrier at %u that nobody has made", offset % kWindow);
    if (strict || found->second.maker != self->warp)
        check_read(offset, 8, self->number); // made before, for this thread, too
    return found->second;
}

void mbarrier_init(void *bar, unsigned arrivals) {
    static const unsigned long long zero = 0;
    write(bar, 8);
    memcpy(bar, &zero, 8);
    const unsigned number = (unsigned)mbarriers.size() % (ranks * kBarriers);
    mbarrier &b = mbarriers[offset_of(bar)];
    b = mbarrier();
    b.expected = b.missing = arrivals;
    b.number = (unsigned)fibers.size() + number;
    b.maker = self->warp;
    b.clock.assign(agents, 0);
}

static void turn(mbarrier &b) {
    if (b.missing || b.bytes)
        return;
    b.phase ^= 1;
    b.missing = b.expected;
    for (fiber *f : b.waiting) {
        join(clock_of(f->number), b.clock.data());
        wake(f);
    }
    b.waiting.clear();
}

void mbarrier_arrive(void *bar, unsigned bytes, unsigned rank) {
    const unsigned offset = offset_of(remote(bar, rank));
    mbarrier &b = mbarrier_at(offset);
    if (b.missing == 0)
        fail("more than %u arrive at the mbarrier at %u", b.expected, offset % kWindow);
    release(b.clock);
    b.bytes += bytes;
    b.missing--;
    turn(b);
}

void mbarrier_wait(void *bar, unsigned parity) {
    const unsigned offset = offset_of(bar);
    mbarrier &b = mbarrier_at(offset);
    if (parity > 1)
        fail("parity %u of an mbarrier", parity);
    if (b.phase == parity) {
        b.waiting.push_back(self);
        sleep("an mbarrier", offset % kWindow, parity);
    } else {
        join(clock_of(self->number), b.clock.data());
    }
}

// ---- copies that complete on an mbarrier, as late as somebody waits for one ----

static unsigned box_bytes(const emulated_map &map) {
    unsigned bytes = map.element;
    for (int i = 0; i < map.rank; i++)
        bytes *= map.box[i];
    return bytes;
}

static void take_off(const flight &f) {
    const unsigned to = offset_of(f.to);
    mbarrier &b = mbarrier_at(f.bar);
    if (to % kWindow + f.bytes > room_bytes)
        fail("a copy to shared memory at %u, %u bytes: the CTA has %u", to % kWindow, f.bytes, room_bytes);
    check_write(to, f.bytes, self->number);
    mark_write(to, f.bytes, b.number, kUnderWay);
    flying.push_back(f);
}

void tma_load(void *to, const void *map, void *bar, const int (&at)[5], unsigned ctas) {
    const emulated_map *m = (const emulated_map *)map;
    const unsigned align = m->swizzle ? m->swizzle * 8 : 128;
    for (unsigned r = 0; r < ranks; r++) {
        if (!(ctas >> r & 1))
            continue;
        flight f = {(char *)remote(to, r), m, offset_of(remote(bar, r)), {}, {}, box_bytes(*m)};
        memcpy(f.at, at, sizeof at);
        if (offset_of(f.to) % 128 || (box_bytes(*m) >= align && offset_of(f.to) % align))
            fail("a box at shared memory %u, which is no multiple of %u", offset_of(f.to) % kWindow, align);
        take_off(f);
    }
}

void send(void *to, const void *value, unsigned bytes, void *bar, unsigned rank) {
    flight f = {(char *)remote(to, rank), NULL, offset_of(remote(bar, rank)), {}, {}, bytes};
    memcpy(f.value, value, bytes);
    take_off(f);
}

// Elements of one row of a box, from global to shared or back; what is outside of the tensor is zero, or is not stored.
static void move_row(const emulated_map &map, const int (&at)[5], const int (&index)[5], char *shared,
                     unsigned first, bool store) {
    const char *row = (const char *)map.base;
    bool inside = true;
    for (int i = 1; i < map.rank; i++) {
        const long long x = (long long)at[i] + index[i];
        inside = inside && x >= 0 && x < map.dims[i];
        row += x * map.strides[i];
    }
    for (int c = 0; c < map.box[0]; c++) {
        const long long x = (long long)at[0] + c;
        const bool there = inside && x >= 0 && x < map.dims[0];
        size_t place = (size_t)(shared - rooms) + first + c * map.element;
        place ^= place >> 3 & (map.swizzle == 128  ? 0x70
                               : map.swizzle == 64 ? 0x30
                               : map.swizzle == 32 ? 0x10
                                                   : 0);
        char *outside = (char *)row + x * map.element;
        if (there && store)
            memcpy(outside, rooms + place, map.element);
        else if (there)
            memcpy(rooms + place, outside, map.element);
        else if (!store)
            memset(rooms + place, 0, map.element);
    }
}

static void move_box(const emulated_map &map, const int (&at)[5], char *shared, bool store) {
    int index[5] = {};
    const unsigned row_bytes = map.box[0] * map.element, rows = box_bytes(map) / row_bytes;
    for (unsigned row = 0; row < rows; row++) {
        move_row(map, at, index, shared, row * row_bytes, store);
        for (int i = 1; i < map.rank && ++index[i] == map.box[i]; i++)
            index[i] = 0;
    }
}

bool land_one() {
    if (flying.empty())
        return false;
    const flight f = newest_first ? flying.back() : flying.front();
    newest_first ? flying.pop_back() : flying.pop_front();
    if (f.map)
        move_box(*f.map, f.at, f.to, false);
    else
        memcpy(f.to, f.value, f.bytes);
    mbarrier &b = mbarriers[f.bar];
    uint32_t *mine = clock_of(b.number);
    mark_write(offset_of(f.to), f.bytes, b.number, ++mine[b.number]);
    b.clock[b.number] = mine[b.number];
    b.bytes -= f.bytes;
    turn(b);
    return true;
}

// ---- copies of a thread ----

void copy_async(unsigned to, const void *from, unsigned bytes, unsigned valid) {
    const unsigned offset = offset_of(shared_at(to));
    if (to % bytes || (size_t)from % bytes || to + bytes > room_bytes)
        fail("cp.async of %u bytes from %p to shared memory at %u of %u", bytes, from, to, room_bytes);
    check_global(from, valid);
    for (unsigned lane = 0; is_under_way(offset) && lane < 32; lane++) // another lane may bring the same
        for (const copy_under_way &c : fibers[self->number / 32 * 32 + lane].copies)
            if (c.to == to && c.from == from && c.bytes == bytes && c.valid == valid)
                return;
    check_write(offset, bytes, self->number);
    mark_write(offset, bytes, self->number, kUnderWay);
    self->copies.push_back({to, bytes, valid, self->copy_group, from});
}

void copy_commit() {
    self->copy_group++;
}

void copy_wait(int pending) {
    std::vector<copy_under_way> left;
    for (const copy_under_way &c : self->copies) {
        if (c.group + pending >= self->copy_group) {
            left.push_back(c);
            continue;
        }
        char *to = (char *)self->room + c.to;
        memcpy(to, c.from, c.valid);
        memset(to + c.valid, 0, c.bytes - c.valid);
        mark_write(offset_of(to), c.bytes, self->number, clock_of(self->number)[self->number]);
    }
    self->copies.swap(left);
}

void tma_store(const void *map, const void *from, const int (&at)[5]) {
    const unsigned bytes = box_bytes(*(const emulated_map *)map), offset = offset_of(from);
    if (offset % kWindow + bytes > room_bytes)
        fail("a store of shared memory at %u, %u bytes: the CTA has %u", offset % kWindow, bytes, room_bytes);
    check_read(offset, bytes, self->number);
    mark_read(offset, bytes, self->number, kUnderWay);
    store_under_way s = {map, (const char *)from, {}, self->store_group};
    memcpy(s.at, at, sizeof at);
    self->stores.push_back(s);
}

void tma_commit() {
    self->store_group++;
}

void tma_wait_read(int pending) {
    std::vector<store_under_way> left;
    for (const store_under_way &s : self->stores) {
        if (s.group + pending >= self->store_group) {
            left.push_back(s);
            continue;
        }
        const emulated_map &map = *(const emulated_map *)s.map;
        move_box(map, s.at, (char *)s.from, true);
        mark_read(offset_of(s.from), box_bytes(map), self->number, clock_of(self->number)[self->number]);
    }
    self->stores.swap(left);
}

// A thread ends: its stores are made, its copies are lost.
void end_copies() {
    self->store_group++;
    tma_wait_read(0);
    if (!self->products.empty())
        fail("a product is still under way when its thread ends");
}

} // namespace cta
