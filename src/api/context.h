/* What is behind the public handles. Shared by the files of this room; src/cli's triage_bench reaches through
 * it to run the plain kernel on the same device. */
#ifndef TRIAGE_API_CONTEXT_H
#define TRIAGE_API_CONTEXT_H

#include <pthread.h>
#include <stdatomic.h>

#include "op/bsr_gemm/bsr_gemm.h"
#include "evidence/sisters.h"
#include "evidence/teach.h"
#include "store/sync_thread.h"

/* A kernel chosen, compiled and loaded for one problem. Made once, then immutable; lives as long as the
 * context, so that matrices of one kind share it. */
typedef struct tri_loaded tri_loaded;

/* A compiled kernel: several problems may need the same text with another launch geometry. */
typedef struct tri_compiled tri_compiled;

/* One way of calling with one matrix; see plan.h. */
typedef struct tri_plan tri_plan;

/* The calls that a matrix has served; see calls.h. */
typedef struct tri_calls tri_calls;

struct triage_context {
    tri_device *device;
    char *cache_dir, *data_dir; /* NULL: none, the built-in ones */
    tri_log log;
    atomic_flag looked_at_cache;
    /* Held while a kernel is looked up, never while one is compiled, never by a call that finds its plan. Whoever takes it
     * keeps the lines of the log until it is given back: tri_context_lock, _unlock. */
    pthread_mutex_t lock;
    pthread_cond_t made;                   /* a kernel, or it failed: what is_being_made has changed */
    tri_space *spaces[TRI_OPERATIONS_MAX]; /* by operation, once asked; under lock, as are all below */
    tri_store *store;                      /* NULL: no database */
    char *local_path;      /* with a server: the file that store is, once it is there; NULL: none */
    tri_sync_thread *sync; /* with a server: keeps that file in step with it */
    tri_store *pretuned;   /* shipped evidence for this device, once asked; NULL: none */
    bool asked_pretuned;
    tri_sisters *sisters; /* other devices, once asked */
    tri_predictor
        *predictors[TRI_OPERATIONS_MAX]; /* by operation, once asked; NULL: nothing can be predicted */
    bool asked_predictor[TRI_OPERATIONS_MAX];
    tri_loaded *loaded;
    tri_compiled *compiled;
};

/* A schedule on the device; a matrix has one for each panel shape that a kernel of its plans asks for. */
typedef struct tri_matrix_schedule {
    struct tri_matrix_schedule *next;
    tri_panel_shape shape;
    tri_device_schedule device;
} tri_matrix_schedule;

#define TRI_PLAN_BUCKETS 32 /* a power of two */

struct triage_bsr_matrix {
    triage_context *context;
    pthread_mutex_t lock; /* held while a plan is put together, its kernel being there */
    tri_calls *calls;
    triage_dtype dtype;
    int64_t rows, cols;
    int32_t block_rows, block_cols; /* elements, as in triage_bsr_desc */
    tri_pattern pattern;
    tri_fingerprint fingerprint;
    tri_address row_ptr, col_idx; /* ours */
    tri_address values;
    bool owns_values;
    tri_matrix_schedule *schedules; /* under lock */
    /* Lists of published plans by key: nodes are prepended under lock and never change or leave
     * before the matrix does, so readers walk them without a lock. */
    _Atomic(tri_plan *) plans[TRI_PLAN_BUCKETS];
};

void tri_context_lock(triage_context *context);
/* Then tells what was logged meanwhile. */
void tri_context_unlock(triage_context *context);

/* The local file of a server, if it has come to be since the context was opened. Under context->lock. */
void tri_context_find_store(triage_context *context);

/* Shipped evidence for the context's device, opened when it is first asked for. Borrowed; NULL: nothing. Under
 * context->lock. */
triage_status tri_context_pretuned(tri_store **out, triage_context *context);

/* The stored median of the dense product of a problem's shape: the user's own evidence, else what is shipped; 0: not
 * known. Takes the context's lock. */
triage_status tri_context_dense_time(double *median_ns, triage_context *context, const tri_problem *problem);

/* The space of an operation, opened when it is first asked for. Under context->lock. */
triage_status tri_context_space(tri_space **out, triage_context *context, const tri_operation *op);

/* Frees what plan.c keeps in a context (loaded kernels, compiled images). */
void tri_context_free_kernels(triage_context *context);

/* The schedule for a kernel's panels, made and uploaded on the first request. Under matrix->lock. */
triage_status tri_matrix_schedule_for(tri_device_schedule *out, triage_bsr_matrix *matrix,
                                      const tri_launch *launch);

#endif
