/* Plans, and the calls that were served: making and keeping them. */
#include <stdlib.h>
#include <string.h>

#include "api/call.h"

/* ---- a handle's part ---- */

triage_status tri_caller_open(tri_caller *caller, const tri_call_type *type, triage_context *context,
                              void *handle) {
    const size_t bytes = sizeof(tri_calls) + TRI_CALL_SETS * TRI_CALL_WAYS * type->served_bytes;
    char *memory = NULL;
    triage_status status = tri_calloc(&memory, 1, bytes + _Alignof(tri_calls) - 1);
    if (status != TRIAGE_OK)
        return status;
    caller->calls = (tri_calls *)(void *)(memory + (-(uintptr_t)memory & (_Alignof(tri_calls) - 1)));
    caller->calls->memory = memory;
    caller->type = type;
    caller->context = context;
    caller->handle = handle;
    pthread_mutex_init(&caller->lock, NULL);
    return TRIAGE_OK;
}

static void free_plan(tri_plan *plan) {
    if (!plan)
        return;
    if (plan->own_kernel)
        tri_kernel_unload(plan->kernel);
    pthread_mutex_destroy(&plan->launch_lock);
    free(plan);
}

void tri_caller_close(tri_caller *caller) {
    if (!caller->calls)
        return;
    for (size_t i = 0; i < TRI_PLAN_BUCKETS; i++) {
        tri_plan *plan = atomic_exchange(&caller->plans[i], NULL);
        while (plan) {
            tri_plan *next = plan->next;
            free_plan(plan);
            plan = next;
        }
    }
    free(caller->calls->memory);
    pthread_mutex_destroy(&caller->lock);
    caller->calls = NULL;
}

/* ---- plans ---- */

/* Fibonacci hashing: the top bits of the product depend on all of the key. */
static size_t bucket_of(uint64_t key) {
    return (key * UINT64_C(0x9e3779b97f4a7c15) >> 32) % TRI_PLAN_BUCKETS;
}

tri_plan *tri_plan_find(const tri_caller *caller, uint64_t key, const void *stream) {
    tri_plan *plan = atomic_load_explicit(&caller->plans[bucket_of(key)], memory_order_acquire);
    while (plan && (plan->key != key || !tri_plan_serves(plan, stream)))
        plan = plan->next;
    return plan;
}

static void publish(tri_caller *caller, tri_plan *plan) {
    _Atomic(tri_plan *) *bucket = &caller->plans[bucket_of(plan->key)];
    plan->next = atomic_load_explicit(bucket, memory_order_relaxed);
    atomic_store_explicit(bucket, plan, memory_order_release);
}

static triage_status take_kernel(tri_plan *plan, tri_device *device, void *stream) {
    plan->kernel = plan->loaded->kernel;
    if (plan->launch->workspace_bytes == 0)
        return TRIAGE_OK;
    plan->stream = stream;
    triage_status status = tri_kernel_load(&plan->kernel, device, plan->loaded->image, plan->launch);
    plan->own_kernel = status == TRIAGE_OK;
    plan->locks_launches = plan->own_kernel && tri_kernel_needs_lock(plan->kernel);
    return status;
}

static triage_status build(tri_plan **out, tri_caller *caller, const tri_call_kind *kind,
                           const tri_loaded *loaded, void *stream) {
    tri_device *device = caller->context->device;
    tri_plan *plan = NULL;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_calloc(&plan, 1, sizeof *plan));
    pthread_mutex_init(&plan->launch_lock, NULL);
    plan->key = kind->key;
    plan->problem = kind->problem;
    plan->loaded = loaded;
    plan->launch = &loaded->found.candidate.launch;
    TRI_TRY(take_kernel(plan, device, stream));
    if (caller->type->prepare)
        TRI_TRY(caller->type->prepare(plan, caller));
    /* uploads and clearing went through the default stream; the caller's may not wait for that one */
    TRI_TRY(tri_device_synchronize(device));
    *out = plan;
    plan = NULL;
done:
    free_plan(plan);
    return status;
}

triage_status tri_refuse_capture(const triage_context *context, void *stream, const char *what,
                                 const char *prepare_first) {
    if (!tri_device_is_capturing(context->device, stream))
        return TRIAGE_OK;
    return tri_fail(TRIAGE_E_CAPTURE, "a first %s cannot be captured in a graph: call %s before", what,
                    prepare_first);
}

triage_status tri_plan_make(tri_plan **out, tri_caller *caller, const tri_call_kind *kind, void *stream) {
    const tri_problem *chosen_by = kind->chosen_by ? kind->chosen_by : &kind->problem;
    const tri_first_call first = {caller->type->operands, caller->handle, kind->call, kind->pattern};
    const tri_loaded *loaded = NULL;
    *out = NULL;
    triage_status status = tri_refuse_capture(caller->context, stream, "call", caller->type->prepare_first);
    if (status == TRIAGE_OK)
        status = tri_loaded_for(&loaded, caller->context, &kind->problem, chosen_by, kind->variant, &first);
    if (status != TRIAGE_OK)
        return status;
    pthread_mutex_lock(&caller->lock);
    *out = tri_plan_find(caller, kind->key, stream);
    if (!*out) {
        status = build(out, caller, kind, loaded, stream);
        if (status == TRIAGE_OK)
            publish(caller, *out);
    }
    pthread_mutex_unlock(&caller->lock);
    return status;
}

/* ---- calls that were served ---- */

/* The way of a set that a new call takes. */
static size_t choose_way(tri_calls *calls, size_t set) {
    for (size_t way = 0; way < TRI_CALL_WAYS; way++)
        if (atomic_load_explicit(&calls->tags[set][way], memory_order_relaxed) == 0)
            return way;
    return atomic_fetch_add_explicit(&calls->next, 1, memory_order_relaxed) % TRI_CALL_WAYS;
}

void tri_calls_put(tri_caller *caller, const tri_served_call *made, const void *call) {
    const uint64_t tag = caller->type->tag(call);
    const size_t set = tri_calls_set_of(tag), way = choose_way(caller->calls, set);
    tri_served_call *place = tri_calls_at(caller, caller->type, set, way);
    const size_t behind = sizeof *place;
    uint32_t nobody = 0;
    if (!atomic_compare_exchange_strong_explicit(&place->users, &nobody, TRI_CALL_WRITER,
                                                 memory_order_acquire, memory_order_relaxed))
        return;
    place->plan = made->plan;
    memcpy((char *)place + behind, (const char *)made + behind, caller->type->served_bytes - behind);
    atomic_store_explicit(&caller->calls->tags[set][way], tag, memory_order_relaxed);
    atomic_fetch_sub_explicit(&place->users, TRI_CALL_WRITER, memory_order_release);
}

void tri_calls_forget(tri_caller *caller) {
    for (size_t set = 0; set < TRI_CALL_SETS; set++)
        for (size_t way = 0; way < TRI_CALL_WAYS; way++)
            atomic_store_explicit(&caller->calls->tags[set][way], 0, memory_order_relaxed);
}

triage_status tri_call_serve(tri_caller *caller, tri_plan *plan, tri_served_call *made, const void *call,
                             void *stream, bool launch) {
    made->plan = plan;
    triage_status status = caller->type->arguments(made, caller);
    if (status != TRIAGE_OK)
        return status;
    tri_calls_put(caller, made, call);
    return launch ? tri_plan_launch(plan, (const char *)made + caller->type->args_at, stream) : TRIAGE_OK;
}
