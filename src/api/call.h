/* One call, from its arguments to the launch: what is the same for all operations.
 *
 * A public handle (a matrix, an attention) has a tri_caller: its plans, and the calls that it has served. A call that passes
 * the same as one of those is launched at once (tri_call_again): its arguments were checked, its plan found, its argument
 * block made. Any other is checked by the operation, which says of what kind it is; a kind has a plan
 * (tri_plan_find, else tri_plan_make), and tri_call_serve makes the block, keeps the call and launches it.
 *
 * What an operation adds is a tri_call_type, in its own folder. */
#ifndef TRIAGE_API_CALL_H
#define TRIAGE_API_CALL_H

#include "api/loaded.h"

/* ---- plans: what a call needs that does not depend on its pointers ---- */

/* Made on the first call of a kind, then immutable, found by later calls without a lock. */
typedef struct tri_plan tri_plan;
struct tri_plan {
    /* what a repeated call reads stands together */
    tri_kernel *kernel; /* loaded's, unless it has a workspace */
    void *stream;       /* with own_kernel: the only one that may use it */
    /* A kernel owns its workspace, so one with a workspace is loaded for one handle and one stream alone. */
    bool own_kernel;
    bool locks_launches; /* tri_kernel_needs_lock */
    pthread_mutex_t launch_lock;
    tri_plan *next;
    uint64_t key;
    const tri_loaded *loaded;
    const tri_launch *launch;
    tri_problem problem;  /* as the first call of its kind described it */
    const void *prepared; /* what the operation put on the device for it; the handle's */
};

/* False: its kernel's workspace is in use on another stream. */
static inline bool tri_plan_serves(const tri_plan *plan, const void *stream) {
    return !plan->own_kernel || plan->stream == stream;
}

static inline triage_status tri_plan_launch(tri_plan *plan, const void *args, void *stream) {
    if (!plan->locks_launches)
        return tri_kernel_launch(plan->kernel, args, stream);
    pthread_mutex_lock(&plan->launch_lock);
    triage_status status = tri_kernel_launch(plan->kernel, args, stream);
    pthread_mutex_unlock(&plan->launch_lock);
    return status;
}

/* ---- calls that were served ---- */

/* What an operation's own struct of a served call begins with: its copy of what was passed follows, then the argument
 * block. A call in use is counted, and only one that nobody uses is overwritten; who finds it busy leaves it alone. So
 * nobody waits, and the driver reads the block where it is. */
typedef struct tri_served_call {
    _Atomic(uint32_t) users; /* readers; with the top bit: a writer */
    tri_plan *plan;
} tri_served_call;
#define TRI_CALL_WRITER (UINT32_C(1) << 31)

/* Room for threads that share a handle, each with buffers of its own, for a few buffers in turn, for a few widths: tensor
 * maps made anew for each call cost microseconds. One that is new takes the place of an old one. */
#define TRI_CALL_SETS 32 /* a power of two */
#define TRI_CALL_WAYS 4

typedef struct tri_calls {
    _Alignas(64) _Atomic(uint64_t) tags[TRI_CALL_SETS][TRI_CALL_WAYS]; /* a hash of the call; 0: none yet */
    _Atomic(uint32_t) next;              /* whose place a new one takes in a full set */
    void *memory;                        /* what is freed: the struct itself is aligned */
    _Alignas(64) unsigned char served[]; /* [sets][ways] of the operation's struct */
} tri_calls;

/* ---- what an operation says of its calls ---- */

typedef struct tri_caller tri_caller;

typedef struct tri_call_type {
    const char *prepare_first; /* the public function that a capture wants before it */
    /* Of the operation's struct of a served call: its size, a multiple of 64, and where its argument block is. */
    size_t served_bytes, args_at;
    /* A hash of what calls differ in most; never 0. */
    uint64_t (*tag)(const void *call);
    /* Is all that is passed the same? A call that was served is not checked again. */
    bool (*same)(const tri_served_call *served, const void *call);
    /* The argument block of a call that is filled in, tensor maps included. */
    triage_status (*arguments)(tri_served_call *made, const tri_caller *caller);
    /* Where a call's operands are, for a first call to race on; NULL: first calls do not race. */
    tri_operands_fn operands;
    /* What a plan needs on the device beside its kernel: plan->prepared. Under caller->lock. NULL: nothing. */
    triage_status (*prepare)(tri_plan *plan, tri_caller *caller);
} tri_call_type;

#define TRI_PLAN_BUCKETS 32 /* a power of two */

struct tri_caller {
    const tri_call_type *type;
    triage_context *context;
    void *handle; /* whose it is */
    tri_calls *calls;
    pthread_mutex_t lock; /* held while a plan is put together, its kernel being there */
    /* Lists of published plans by key: nodes are prepended under lock and never change or leave before the caller does, so
     * readers walk them without a lock. */
    _Atomic(tri_plan *) plans[TRI_PLAN_BUCKETS];
};

/* Zero-initialise before. Most of its 100 KB and more is not touched before it is used. TRIAGE_E_MEMORY. */
triage_status tri_caller_open(tri_caller *caller, const tri_call_type *type, triage_context *context,
                              void *handle);
/* No call may be under way. A zeroed one is nothing. */
void tri_caller_close(tri_caller *caller);

/* ---- a first call ---- */

/* Calls of one kind share a plan. */
typedef struct tri_call_kind {
    uint64_t key; /* tells it from the other kinds of the handle */
    tri_problem problem;
    const tri_problem *chosen_by; /* whose winner the kernel is; NULL: the problem's own */
    uint64_t variant;             /* as tri_loaded_for takes it */
    const void *call;             /* what is passed, for tri_call_type.operands */
    const tri_pattern *pattern;   /* of the handle's matrix; NULL: none */
} tri_call_kind;

/* TRIAGE_E_CAPTURE while the stream is captured, which is left as it was. what: "call"; prepare_first: the public function that
 * makes all ready before. */
triage_status tri_refuse_capture(const triage_context *context, void *stream, const char *what,
                                 const char *prepare_first);

/* The published plan, or NULL. Lock-free. */
tri_plan *tri_plan_find(const tri_caller *caller, uint64_t key, const void *stream);
/* Makes and publishes the plan, unless another thread has just done so. Compiles, allocates, synchronises.
 * TRIAGE_E_CAPTURE while the stream is being captured, which is left as it was. */
triage_status tri_plan_make(tri_plan **out, tri_caller *caller, const tri_call_kind *kind, void *stream);

/* made: the operation's struct with the call filled in. Makes its block, keeps it, and launches it if asked to. It is kept
 * before the launch, which may fail for reasons of its own. */
triage_status tri_call_serve(tri_caller *caller, tri_plan *plan, tri_served_call *made, const void *call,
                             void *stream, bool launch);

/* Keeps a call whose block is made, unless another one under way is in its place. */
void tri_calls_put(tri_caller *caller, const tri_served_call *made, const void *call);
/* Forgets all calls; none may be under way. */
void tri_calls_forget(tri_caller *caller);

/* ---- a repeated call: inlined into the public function, with the operation's type as a constant ---- */

static inline tri_served_call *tri_calls_at(const tri_caller *caller, const tri_call_type *type, size_t set,
                                            size_t way) {
    return (tri_served_call *)(void *)(caller->calls->served +
                                       (set * TRI_CALL_WAYS + way) * type->served_bytes);
}

static inline size_t tri_calls_set_of(uint64_t tag) {
    return tag >> 32 & (TRI_CALL_SETS - 1);
}

static inline void tri_calls_give_back(tri_served_call *served) {
    atomic_fetch_sub_explicit(&served->users, 1, memory_order_release);
}

/* The call that passed the same and whose plan serves the stream, or NULL. It stays as it is until it is given back. */
static inline __attribute__((always_inline)) tri_served_call *tri_calls_take(const tri_caller *caller,
                                                                             const tri_call_type *type,
                                                                             const void *call,
                                                                             const void *stream) {
    const uint64_t tag = type->tag(call);
    const size_t set = tri_calls_set_of(tag);
    for (size_t way = 0; way < TRI_CALL_WAYS; way++) {
        if (atomic_load_explicit(&caller->calls->tags[set][way], memory_order_relaxed) != tag)
            continue;
        tri_served_call *served = tri_calls_at(caller, type, set, way);
        if (atomic_fetch_add_explicit(&served->users, 1, memory_order_acquire) < TRI_CALL_WRITER &&
            type->same(served, call) && tri_plan_serves(served->plan, stream))
            return served;
        tri_calls_give_back(served);
    }
    return NULL;
}

/* Launches a call that was served before; false: it was not. */
static inline __attribute__((always_inline)) bool tri_call_again(triage_status *status,
                                                                 const tri_caller *caller,
                                                                 const tri_call_type *type, const void *call,
                                                                 void *stream) {
    tri_served_call *served = tri_calls_take(caller, type, call, stream);
    if (!served)
        return false;
    *status = tri_plan_launch(served->plan, (const char *)served + type->args_at, stream);
    tri_calls_give_back(served);
    return true;
}

#endif
