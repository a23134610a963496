/* Making plans: the kernel, and the schedule on the device. */
#include <stdlib.h>
#include <string.h>

#include "api/loaded.h"
#include "api/bsr_gemm/plan.h"

/* ---- plans ---- */

/* log2 of the largest power of two up to 256 bytes that divides ld elements: all that a kernel may ask of it. */
static uint64_t alignment_class(int64_t ld, triage_dtype dtype) {
    uint64_t bytes = (uint64_t)ld * tri_dtype_size(dtype);
    return bytes % 256 == 0 ? 8 : (uint64_t)__builtin_ctzll(bytes);
}

uint64_t tri_plan_key(const tri_problem *of) {
    const tri_bsr_problem *problem = tri_bsr(of);
    uint64_t key = (uint64_t)problem->n; /* 31 bits */
    key = key << 2 | (uint64_t)problem->out_type;
    key = key << 1 | (uint64_t)problem->b_layout;
    key = key << 1 | (uint64_t)problem->c_layout;
    key = key << 2 | (uint64_t)problem->activation;
    key = key << 1 | (uint64_t)problem->bias;
    key = key << 1 | (uint64_t)problem->scale_per_block;
    key = key << 4 | alignment_class(problem->ldb, problem->in_type);
    key = key << 4 | alignment_class(problem->ldc, problem->out_type);
    return key;
}

/* Fibonacci hashing: the top bits of the product depend on all of the key. */
static _Atomic(tri_plan *) *bucket_of(triage_bsr_matrix *matrix, uint64_t key) {
    uint64_t hash = key * UINT64_C(0x9e3779b97f4a7c15);
    return &matrix->plans[(hash >> 32) % TRI_PLAN_BUCKETS];
}

tri_plan *tri_plan_find(triage_bsr_matrix *matrix, uint64_t key, void *stream) {
    tri_plan *plan = atomic_load_explicit(bucket_of(matrix, key), memory_order_acquire);
    while (plan && (plan->key != key || !tri_plan_serves(plan, stream)))
        plan = plan->next;
    return plan;
}

static void free_plan(tri_plan *plan) {
    if (!plan)
        return;
    if (plan->own_kernel)
        tri_kernel_unload(plan->kernel);
    pthread_mutex_destroy(&plan->launch_lock);
    free(plan);
}

void tri_matrix_free_plans(triage_bsr_matrix *matrix) {
    for (size_t i = 0; i < TRI_PLAN_BUCKETS; i++) {
        tri_plan *plan = atomic_exchange(&matrix->plans[i], NULL);
        while (plan) {
            tri_plan *next = plan->next;
            free_plan(plan);
            plan = next;
        }
    }
}

/* Launch geometry may depend on the number of blocks, of which a key only knows the density, and on alignments. */
static uint64_t variant_of(const tri_problem *problem) {
    return tri_plan_key(problem) ^ (uint64_t)tri_bsr(problem)->nnzb * UINT64_C(0x9e3779b97f4a7c15);
}

static triage_status take_kernel(tri_plan *plan, void *stream) {
    plan->kernel = plan->loaded->kernel;
    if (plan->launch->workspace_bytes == 0)
        return TRIAGE_OK;
    plan->stream = stream;
    triage_status status = tri_kernel_load(&plan->kernel, plan->device, plan->loaded->image, plan->launch);
    plan->own_kernel = status == TRIAGE_OK;
    return status;
}

static triage_status build_plan(tri_plan **out, triage_bsr_matrix *matrix, const tri_problem *problem,
                                const tri_loaded *loaded, void *stream) {
    triage_status status = TRIAGE_OK;
    triage_context *context = matrix->context;
    tri_plan *plan = NULL;
    TRI_TRY(tri_calloc(&plan, 1, sizeof *plan));
    pthread_mutex_init(&plan->launch_lock, NULL);
    plan->key = tri_plan_key(problem);
    plan->device = context->device;
    plan->problem = *problem;
    plan->loaded = loaded;
    plan->launch = &loaded->found.candidate.launch;
    TRI_TRY(take_kernel(plan, stream));
    plan->buffers.row_ptr = matrix->row_ptr;
    plan->buffers.col_idx = matrix->col_idx;
    TRI_TRY(tri_matrix_schedule_for(&plan->buffers.schedule, matrix, plan->launch));
    /* uploads went through the default stream; the caller's may not wait for that one */
    TRI_TRY(tri_device_synchronize(plan->device));
    *out = plan;
    plan = NULL;
done:
    free_plan(plan);
    return status;
}

triage_status tri_plan_make(tri_plan **out, triage_bsr_matrix *matrix, const tri_problem *problem,
                            void *stream) {
    triage_context *context = matrix->context;
    const tri_loaded *loaded = NULL;
    uint64_t key = tri_plan_key(problem);
    triage_status status = tri_problem_check(problem);
    if (status != TRIAGE_OK)
        return status;
    if (tri_device_is_capturing(context->device, stream))
        return tri_fail(TRIAGE_E_CAPTURE,
                        "a first call cannot be captured in a graph: call triage_bsr_gemm_prepare before");
    status = tri_loaded_for(&loaded, context, problem, problem, variant_of(problem));
    if (status != TRIAGE_OK)
        return status;
    pthread_mutex_lock(&matrix->lock);
    tri_plan *plan = tri_plan_find(matrix, key, stream);
    if (!plan) {
        status = build_plan(&plan, matrix, problem, loaded, stream);
        if (status == TRIAGE_OK) {
            _Atomic(tri_plan *) *bucket = bucket_of(matrix, key);
            plan->next = atomic_load_explicit(bucket, memory_order_relaxed);
            atomic_store_explicit(bucket, plan, memory_order_release);
        }
    }
    pthread_mutex_unlock(&matrix->lock);
    *out = plan;
    return status;
}

/* ---- use ---- */

static tri_address address(const void *pointer) {
    return (tri_address)(uintptr_t)pointer;
}

triage_status tri_plan_args(tri_bsr_gemm_args *out, const tri_plan *plan, const tri_call *call,
                            tri_address values) {
    tri_problem problem = plan->problem;
    tri_bsr_buffers buffers = plan->buffers;
    tri_bsr_edit(&problem)->ldb = call->b->ld;
    tri_bsr_edit(&problem)->ldc = call->c->ld;
    buffers.values = values;
    buffers.workspace = tri_kernel_workspace(plan->kernel);
    buffers.b = address(call->b->data);
    buffers.c = address(call->c->data);
    if (call->epilogue) {
        buffers.bias = address(call->epilogue->bias);
        buffers.scale_a = address(call->epilogue->scale_a);
        buffers.scale_b = address(call->epilogue->scale_b);
    }
    return tri_bsr_args_make(out, plan->device, plan->launch, &problem, &buffers, call->alpha, call->beta);
}

TRI_HOT triage_status tri_plan_launch(tri_plan *plan, const tri_bsr_gemm_args *args, void *stream) {
    if (!plan->own_kernel)
        return tri_kernel_launch(plan->kernel, args, stream);
    pthread_mutex_lock(&plan->launch_lock);
    triage_status status = tri_kernel_launch(plan->kernel, args, stream);
    pthread_mutex_unlock(&plan->launch_lock);
    return status;
}

void tri_plan_describe(triage_choice *out, const tri_plan *plan) {
    tri_loaded_describe(out, plan->loaded);
}
