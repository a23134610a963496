/* Plans: what a call needs that does not depend on its pointers. Made on the first call of a kind, then
 * immutable, found by later calls without a lock. */
#ifndef TRIAGE_API_BSR_GEMM_PLAN_H
#define TRIAGE_API_BSR_GEMM_PLAN_H

#include "api/bsr_gemm/calls.h"
#include "api/context.h"

struct tri_plan {
    /* what a repeated call reads stands together */
    tri_kernel *kernel; /* loaded's, unless it has a workspace */
    void *stream;       /* with own_kernel: the only one that may use it */
    /* A kernel owns its workspace, so one with a workspace is loaded for one matrix and one stream alone. */
    bool own_kernel;
    pthread_mutex_t launch_lock; /* with own_kernel: clearing the workspace and the launch stay together */
    tri_plan *next;
    uint64_t key;       /* tri_plan_key of its problem */
    tri_device *device; /* the context's */
    const tri_launch *launch;
    const tri_loaded *loaded;
    tri_problem problem; /* ldb and ldc are those of the first call: a plan serves all of their alignment */
    tri_bsr_buffers buffers; /* values are the matrix's; b, c, bias and scales a call's */
};

/* What tells apart the calls with one matrix, in one word: n, layouts, types, epilogue, kind of scale, and how far ldb and
 * ldc are aligned. */
uint64_t tri_plan_key(const tri_problem *problem);

/* The published plan, or NULL. Lock-free. */
tri_plan *tri_plan_find(triage_bsr_matrix *matrix, uint64_t key, void *stream);

/* Makes and publishes the plan, unless another thread has just done so. Compiles, allocates, synchronises. */
triage_status tri_plan_make(tri_plan **out, triage_bsr_matrix *matrix, const tri_problem *problem,
                            void *stream);
void tri_matrix_free_plans(triage_bsr_matrix *matrix);

/* False: its kernel's workspace is in use on another stream. */
static inline bool tri_plan_serves(const tri_plan *plan, const void *stream) {
    return !plan->own_kernel || plan->stream == stream;
}

/* Fills a call's argument block, tensor maps included. */
triage_status tri_plan_args(tri_bsr_gemm_args *out, const tri_plan *plan, const tri_call *call,
                            tri_address values);
triage_status tri_plan_launch(tri_plan *plan, const tri_bsr_gemm_args *args, void *stream);

/* Fills all but out->version. */
void tri_plan_describe(triage_choice *out, const tri_plan *plan);

#endif
