/* The arena: the bench of the tuner, on the device of a context. */
#include <stdlib.h>

#include "cli/bench/bench.h"

/* On a GPU reading 256 MiB takes longer than the CPU needs to enqueue the call that is timed. */
#define CUDA_FLUSH ((int64_t)256 << 20)

static triage_status open_bench(tri_arena *arena, uint64_t seed, bool warm) {
    triage_context *context = arena->context;
    const tri_device_info *info = tri_device_describe(context->device);
    tri_bench_setup setup = {.problem = &arena->problem,
                             .pattern = arena->pattern,
                             .seed = seed,
                             .warm = warm,
                             .flush_bytes = info->cc ? CUDA_FLUSH : 0,
                             .cache_dir = context->cache_dir};
    tri_space *space = NULL;
    tri_candidate plain = {0};
    tri_source source = {0};
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_context_space(&space, context, arena->problem.op));
    TRI_TRY(tri_space_reference(&plain, space, &arena->problem, info));
    TRI_TRY(tri_render(&source, &plain, context->data_dir));
    setup.reference = (tri_trial){.source = &source, .launch = &plain.launch};
    TRI_TRY(tri_bench_open(&arena->bench, context->device, &setup));
done:
    tri_source_free(&source);
    tri_candidate_free(&plain);
    return status;
}

triage_status tri_arena_open(tri_arena *out, triage_context *context, const tri_problem *problem,
                             const tri_pattern *pattern, uint64_t seed, bool warm) {
    *out = (tri_arena){.context = context, .problem = *problem, .pattern = pattern};
    triage_status status = open_bench(out, seed, warm);
    if (status == TRIAGE_OK)
        out->at = tri_bench_binding(out->bench, 0);
    return status;
}

void tri_arena_close(tri_arena *arena) {
    tri_bench_close(arena->bench);
    *arena = (tri_arena){0};
}

void *tri_arena_input(const tri_arena *arena, size_t index) {
    return (void *)(uintptr_t)arena->at.inputs->at[index].address;
}

triage_status tri_arena_place(tri_address *out, const tri_arena *arena, const void *data, size_t bytes) {
    triage_status status = tri_device_alloc(arena->at.device, out, bytes);
    return status == TRIAGE_OK ? tri_device_upload(arena->at.device, *out, data, bytes) : status;
}

triage_status tri_arena_densify(tri_address *out, const tri_arena *arena) {
    const tri_operands operands = {
        .problem = &arena->problem, .pattern = arena->pattern, .inputs = arena->at.inputs};
    size_t bytes = 0;
    void *dense = NULL;
    triage_status status = TRIAGE_OK;
    TRI_TRY(arena->problem.op->densify(&dense, &bytes, &operands));
    TRI_TRY(tri_arena_place(out, arena, dense, bytes));
done:
    free(dense);
    return status;
}
