/* Making plans: look the kernel up, compile it, load it, put the schedule on the device. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "run/plan.h"
#include "run/pretuned.h"

struct tri_loaded {
    tri_loaded *next;
    char *problem_key;
    int64_t nnzb;           /* launch geometry may depend on it; the key only knows the density */
    uint64_t plan_key;      /* for the alignments of ldb and ldc */
    tri_found found;        /* without its rendered text */
    const tri_image *image; /* the context's */
    tri_kernel *kernel;
};

struct tri_compiled {
    tri_compiled *next;
    char source_hash[TRI_HASH_SIZE];
    tri_image image;
};

/* ---- compiled kernels, one a source text ---- */

static triage_status compile(const tri_image **out, triage_context *context, const tri_source *source) {
    triage_status status = TRIAGE_OK;
    const char *target = tri_device_describe(context->device)->target;
    char hash[TRI_HASH_SIZE];
    tri_source_hash(hash, source, target);
    tri_compiled *entry = context->compiled;
    while (entry && strcmp(entry->source_hash, hash) != 0)
        entry = entry->next;
    if (!entry) {
        TRI_TRY(tri_calloc(&entry, 1, sizeof *entry));
        status = tri_compile(&entry->image, target, source, context->cache_dir);
        if (status != TRIAGE_OK) {
            free(entry);
            return status;
        }
        memcpy(entry->source_hash, hash, sizeof hash);
        entry->next = context->compiled;
        context->compiled = entry;
    }
    *out = &entry->image;
done:
    return status;
}

/* ---- loaded kernels, one a problem ---- */

static void free_loaded(tri_loaded *loaded) {
    if (!loaded)
        return;
    tri_kernel_unload(loaded->kernel);
    tri_found_free(&loaded->found);
    free(loaded->problem_key);
    free(loaded);
}

static triage_status compile_and_load(tri_loaded *loaded, triage_context *context) {
    const tri_candidate *candidate = &loaded->found.candidate;
    triage_status status = TRIAGE_OK;
    TRI_TRY(compile(&loaded->image, context, &loaded->found.rendered));
    if (loaded->image->spill_bytes > candidate->spill_limit)
        return tri_fail(TRIAGE_E_COMPILE, "%s spills %d bytes; must be at most %d", candidate->config,
                        loaded->image->spill_bytes, candidate->spill_limit);
    status = tri_kernel_load(&loaded->kernel, context->device, loaded->image, &candidate->launch);
done:
    return status;
}

/* What was measured on other devices of this architecture, found when it is first asked for. */
static triage_status look_elsewhere(tri_found *found, triage_context *context, tri_space *space,
                                    const tri_problem *problem, const tri_device_info *info) {
    triage_status status = TRIAGE_OK;
    if (!context->elsewhere)
        TRI_TRY(
            tri_elsewhere_open(&context->elsewhere, context->store, info, context->data_dir, &context->log));
    TRI_TRY(tri_elsewhere_look_up(found, context->elsewhere, space, problem, info, context->data_dir));
done:
    return status;
}

/* What is wrong with a database costs its evidence, never the product. */
static triage_status look_into_own(tri_found *out, triage_context *context, tri_space *space,
                                   const tri_problem *problem, const tri_device_info *info) {
    const tri_log *log = &context->log;
    triage_status status = tri_lookup(out, context->store, space, problem, info, context->data_dir);
    if (status == TRIAGE_OK || status == TRIAGE_E_MEMORY || !context->store)
        return status;
    tri_log_line(log, TRIAGE_LOG_WARNING, "%s: doing without it", triage_last_error());
    return tri_lookup(out, NULL, space, problem, info, context->data_dir);
}

static triage_status look_below(tri_found *out, triage_context *context, tri_space *space,
                                const tri_problem *problem, const tri_device_info *info) {
    tri_store *pretuned = NULL;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_pretuned_of(&pretuned, context));
    if (pretuned)
        TRI_TRY(tri_lookup_below(out, pretuned, space, problem, info, context->data_dir));
    if (out->source == TRIAGE_SOURCE_DEFAULT)
        TRI_TRY(look_elsewhere(out, context, space, problem, info));
done:
    return status;
}

/* What is shipped is made into a store (milliseconds) only when the user's own evidence has no exact answer. */
static triage_status look_up(tri_found *out, triage_context *context, tri_space *space,
                             const tri_problem *problem, const tri_device_info *info) {
    triage_status status = TRIAGE_OK;
    tri_context_find_store(context);
    TRI_TRY(look_into_own(out, context, space, problem, info));
    if (out->source == TRIAGE_SOURCE_EXACT && !out->is_claim)
        goto done;
    status = look_below(out, context, space, problem, info);
    if (status != TRIAGE_OK && status != TRIAGE_E_MEMORY) {
        tri_log_line(&context->log, TRIAGE_LOG_WARNING, "%s: doing without it", triage_last_error());
        status = TRIAGE_OK; /* what was found above stands */
    }
done:
    return status;
}

/* A kernel that was proven elsewhere may still fail here (another compiler, a problem that is only near): then
 * the space's default takes its place. */
static triage_status find_and_load(tri_loaded *loaded, triage_context *context, const tri_problem *problem) {
    const tri_device_info *info = tri_device_describe(context->device);
    tri_space *space = NULL;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_context_space(&space, context, problem->op));
    TRI_TRY(look_up(&loaded->found, context, space, problem, info));
    status = compile_and_load(loaded, context);
    if (status != TRIAGE_OK && loaded->found.source != TRIAGE_SOURCE_DEFAULT) {
        tri_log_line(&context->log, TRIAGE_LOG_WARNING, "%s does not load here, using the default: %s",
                     loaded->found.candidate.config, triage_last_error());
        tri_found_free(&loaded->found);
        TRI_TRY(tri_lookup(&loaded->found, NULL, space, problem, info, context->data_dir));
        status = compile_and_load(loaded, context);
    }
    tri_source_free(&loaded->found.rendered);
done:
    return status;
}

static triage_status loaded_for(const tri_loaded **out, triage_context *context, const tri_problem *problem) {
    triage_status status = TRIAGE_OK;
    char *key = NULL;
    tri_loaded *made = NULL;
    uint64_t plan_key = tri_plan_key(problem);
    TRI_TRY(tri_problem_key(&key, problem));
    for (const tri_loaded *entry = context->loaded; entry; entry = entry->next) {
        if (entry->nnzb == tri_bsr(problem)->nnzb && entry->plan_key == plan_key &&
            strcmp(entry->problem_key, key) == 0) {
            *out = entry;
            goto done;
        }
    }
    TRI_TRY(tri_calloc(&made, 1, sizeof *made));
    TRI_TRY(find_and_load(made, context, problem));
    made->problem_key = key;
    key = NULL;
    made->nnzb = tri_bsr(problem)->nnzb;
    made->plan_key = plan_key;
    made->next = context->loaded;
    context->loaded = made;
    *out = made;
    made = NULL;
done:
    free_loaded(made);
    free(key);
    return status;
}

void tri_context_free_kernels(triage_context *context) {
    while (context->loaded) {
        tri_loaded *loaded = context->loaded;
        context->loaded = loaded->next;
        free_loaded(loaded);
    }
    while (context->compiled) {
        tri_compiled *compiled = context->compiled;
        context->compiled = compiled->next;
        tri_image_free(&compiled->image);
        free(compiled);
    }
}

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
                                void *stream) {
    triage_status status = TRIAGE_OK;
    triage_context *context = matrix->context;
    tri_plan *plan = NULL;
    TRI_TRY(tri_calloc(&plan, 1, sizeof *plan));
    pthread_mutex_init(&plan->launch_lock, NULL);
    plan->key = tri_plan_key(problem);
    plan->device = context->device;
    plan->problem = *problem;
    TRI_TRY(loaded_for(&plan->loaded, context, problem));
    plan->launch = &plan->loaded->found.candidate.launch;
    TRI_TRY(take_kernel(plan, stream));
    plan->buffers.values = matrix->values;
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
    uint64_t key = tri_plan_key(problem);
    triage_status status = tri_problem_check(problem);
    if (status != TRIAGE_OK)
        return status;
    pthread_mutex_lock(&context->lock);
    tri_plan *plan = tri_plan_find(matrix, key, stream);
    if (!plan) {
        status = build_plan(&plan, matrix, problem, stream);
        if (status == TRIAGE_OK) {
            _Atomic(tri_plan *) *bucket = bucket_of(matrix, key);
            plan->next = atomic_load_explicit(bucket, memory_order_relaxed);
            atomic_store_explicit(bucket, plan, memory_order_release);
        }
    }
    pthread_mutex_unlock(&context->lock);
    *out = plan;
    return status;
}

/* ---- use ---- */

static tri_address address(const void *pointer) {
    return (tri_address)(uintptr_t)pointer;
}

triage_status tri_plan_args(tri_bsr_gemm_args *out, const tri_plan *plan, const tri_call *call) {
    tri_problem problem = plan->problem;
    tri_bsr_buffers buffers = plan->buffers;
    tri_bsr_edit(&problem)->ldb = call->b->ld;
    tri_bsr_edit(&problem)->ldc = call->c->ld;
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
    const tri_found *found = &plan->loaded->found;
    out->source = found->source;
    snprintf(out->kernel, sizeof out->kernel, "%s", found->candidate.kernel);
    snprintf(out->config, sizeof out->config, "%s", found->candidate.config);
    snprintf(out->donor, sizeof out->donor, "%s%s%s", found->donor ? found->donor : "",
             found->device ? " on " : "", found->device ? found->device : "");
    out->distance = found->distance;
    out->median_ns = found->median_ns;
    out->expected_loss = found->expected_loss;
}
