// Threads of a cluster as fibers, each running until it has to wait.
#include "state.h"

#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>

namespace cta {

fiber *self;
std::vector<fiber> fibers;
static std::deque<fiber *> ready;
static unsigned alive;
static index3 grid_size;
static ucontext_t caller;
static void (*body)();
static char report[1200];
static volatile bool failed;
char *stacks;
size_t stacks_bytes;
static unsigned launches; // odd ones go through CTAs backwards

index3 thread() {
    return self->thread;
}
index3 block() {
    return self->block;
}
index3 grid() {
    return grid_size;
}
void *own_room() {
    return self->room;
}
unsigned rank() {
    return self->rank;
}

void fail(const char *format, ...) {
    va_list args;
    int size = 0;
    if (self)
        size = snprintf(report, sizeof report, "block %u,%u thread %u: ", self->block.x, self->block.y,
                        self->thread.x);
    va_start(args, format);
    vsnprintf(report + size, sizeof report - size, format, args);
    va_end(args);
    failed = true;
    if (!self)
        abort();
    setcontext(&caller);
    abort();
}

[[noreturn]] static void resume(fiber *next) {
    self = next;
    if (next->started)
        _longjmp(next->at, 1);
    next->started = true;
    setcontext(&next->start);
    abort();
}

// ---- a deadlock: who waits for what ----

static bool alike(const fiber &a, const fiber &b) {
    return a.done == b.done && a.rank == b.rank &&
           (a.done || (a.waits == b.waits && a.waits_at == b.waits_at && a.waits_for == b.waits_for));
}

[[noreturn]] static void report_deadlock() {
    char text[1000];
    int size = 0;
    for (size_t i = 0, first = 0; i < fibers.size() && size < 900; i++) {
        if (i + 1 < fibers.size() && alike(fibers[i], fibers[i + 1]))
            continue;
        const fiber &f = fibers[first];
        size +=
            snprintf(text + size, sizeof text - size, "; %u.%u-%u ", f.rank, f.thread.x, fibers[i].thread.x);
        if (f.done)
            size += snprintf(text + size, sizeof text - size, "have ended");
        else
            size += snprintf(text + size, sizeof text - size, "wait at %s (%u, %u)", f.waits, f.waits_at,
                             f.waits_for);
        first = i + 1;
    }
    fail("deadlock: threads wait for others that never come%s", text);
}

[[noreturn]] static void go_on() {
    for (;;) {
        if (!ready.empty()) {
            fiber *next = ready.front();
            ready.pop_front();
            resume(next);
        }
        if (alive == 0)
            setcontext(&caller);
        if (!land_one())
            report_deadlock();
    }
}

void sleep(const char *what, unsigned at, unsigned wanted) {
    settle_doubt();
    self->waits = what;
    self->waits_at = at;
    self->waits_for = wanted;
    if (!_setjmp(self->at))
        go_on();
    self->waits = NULL;
}

void wake(fiber *f) {
    ready.push_back(f);
}

static void entry() {
    body();
    settle_doubt();
    end_copies();
    self->done = true;
    alive--;
    go_on();
}

// ---- warps ----

struct warp_state {
    const char *what;
    void *mine[32];
    unsigned arrived;
};
static std::vector<warp_state> warps;

void together(const char *what, void *mine, collective run) {
    warp_state &w = warps[self->warp];
    if (w.arrived > 0 && w.what != what && strcmp(w.what, what) != 0)
        fail("lanes of a warp are at %s and at %s together", w.what, what);
    w.what = what;
    w.mine[self->thread.x % 32] = mine;
    if (++w.arrived < 32) {
        sleep(what, self->warp, w.arrived);
        return;
    }
    w.arrived = 0;
    const unsigned first = self->number / 32 * 32;
    run(w.mine, first);
    for (unsigned lane = 0; lane < 32; lane++) // and go on in order
        wake(&fibers[first + lane]);
    sleep(what);
}

struct given_and_got {
    unsigned long long given;
    lanes got;
};

lanes exchange(const char *what, unsigned long long value) {
    given_and_got mine = {value, {}};
    together(what, &mine, [](void *const(&of_lane)[32], unsigned) {
        lanes all;
        for (int i = 0; i < 32; i++)
            all.of[i] = ((given_and_got *)of_lane[i])->given;
        for (int i = 0; i < 32; i++)
            ((given_and_got *)of_lane[i])->got = all;
    });
    return mine.got;
}

// ---- launches ----

static void start_fiber(fiber &f, unsigned number, unsigned threads, const index3 &first) {
    f.started = f.done = false;
    f.number = number;
    f.rank = number / threads;
    f.thread = {number % threads, 0, 0};
    f.warp = number / 32;
    f.block = {first.x + f.rank, first.y, first.z};
    f.room = rooms + (size_t)f.rank * kWindow;
    f.waits = NULL;
    f.cluster_phase = f.copy_group = f.store_group = f.product_group = f.products_ended = 0;
    f.copies.clear();
    f.stores.clear();
    f.products.clear();
    getcontext(&f.start);
    f.start.uc_stack.ss_sp = stacks + (size_t)number * kStackBytes;
    f.start.uc_stack.ss_size = kStackBytes;
    makecontext(&f.start, entry, 0);
    ready.push_back(&f);
}

static void run_cluster(unsigned threads, const index3 &first) {
    volatile bool back = false;
    ready.clear();
    memset(rooms - kWindow, 0xff, (ranks + 2) * (size_t)kWindow); // NaN
    start_watching();
    start_barriers();
    start_products();
    warps.assign(ranks * threads / 32, warp_state());
    alive = ranks * threads;
    for (unsigned i = 0; i < alive; i++)
        start_fiber(fibers[i], i, threads, first);
    getcontext(&caller);
    if (!back) {
        back = true;
        go_on();
    }
    self = NULL;
    if (!failed && land_one())
        snprintf(report, sizeof report, "block %u,%u: a copy is still under way when its CTA has ended",
                 first.x, first.y);
    failed = failed || report[0];
}

static void make_room(unsigned threads) {
    const size_t stack_bytes = (size_t)threads * kStackBytes;
    if (stacks_bytes < stack_bytes) {
        if (stacks)
            munmap(stacks, stacks_bytes);
        stacks = (char *)mmap(NULL, stack_bytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        stacks_bytes = stack_bytes;
    }
    static char *memory = (char *)mmap(NULL, 18 * (size_t)kWindow, PROT_READ | PROT_WRITE,
                                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    rooms = memory + kWindow; // what is before and behind is nobody's
    fibers.resize(threads);
}

const char *launch(void (*kernel)(), const index3 &grid, unsigned threads, const index3 &cluster,
                   unsigned smem_bytes) {
    const bool backwards = launches++ % 2;
    ranks = cluster.x;
    room_bytes = smem_bytes;
    agents = ranks * (threads + kBarriers + threads / 32);
    grid_size = grid;
    body = kernel;
    failed = false;
    report[0] = '\0';
    if (smem_bytes > kWindow || threads % 32 != 0 || ranks > 16 || grid.x % ranks ||
        cluster.y * cluster.z != 1)
        return "the emulation takes whole warps, 256 KiB, and clusters of up to 16 along x";
    make_room(ranks * threads);
    const unsigned width = grid.x / ranks, all = width * grid.y * grid.z;
    for (unsigned i = 0; i < all && !failed; i++) {
        const unsigned at = backwards ? all - 1 - i : i;
        run_cluster(threads, {at % width * ranks, at / width % grid.y, at / width / grid.y});
    }
    return failed ? report : NULL;
}

} // namespace cta
