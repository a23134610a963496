/* Plans: what a call needs that does not depend on its pointers. Made on the first call of a kind, then
 * immutable, found by later calls without a lock. */
#ifndef TRIAGE_RUN_PLAN_H
#define TRIAGE_RUN_PLAN_H

#include "bsr_gemm/args.h"
#include "run/context.h"

/* ---- the argument blocks of the last pointers ----
 * A sequence lock: readers copy out and look whether the number has changed meanwhile; a writer that finds
 * another one at work leaves it alone. Nobody waits. All fields are atomic words, so there is no data race. */

/* All that the argument block depends on beside the plan. */
typedef struct tri_operands {
    tri_address b, c, bias, scale_a, scale_b;
    int64_t ldb, ldc;
    float alpha, beta;
} tri_operands;

#define TRI_OPERAND_WORDS (sizeof(tri_operands) / sizeof(uint64_t))
#define TRI_ARGS_WORDS (sizeof(tri_bsr_gemm_args) / sizeof(uint64_t))
_Static_assert(sizeof(tri_operands) % sizeof(uint64_t) == 0, "operands are copied by words, without padding");
_Static_assert(sizeof(tri_bsr_gemm_args) % sizeof(uint64_t) == 0, "arguments are copied by words");

typedef union tri_args_block {
    tri_bsr_gemm_args args;
    uint64_t words[TRI_ARGS_WORDS];
} tri_args_block;

typedef struct tri_args_cache {
    _Atomic(uint64_t) sequence; /* odd: being written; 0: never */
    _Atomic(uint64_t) operands[TRI_OPERAND_WORDS];
    _Atomic(uint64_t) args[TRI_ARGS_WORDS];
} tri_args_cache;

/* False: not these operands, or a writer came between. */
bool tri_args_cache_get(tri_args_block *out, tri_args_cache *cache, const tri_operands *operands);
void tri_args_cache_put(tri_args_cache *cache, const tri_operands *operands, const tri_args_block *block);

/* Those of several operands: threads that share a matrix, each with its own B and C, or a few buffers in turn. Made
 * anew each time, tensor maps cost microseconds. */
#define TRI_ARGS_SETS 16 /* a power of two */
#define TRI_ARGS_WAYS 4
typedef struct tri_args_table {
    _Atomic(uint32_t) turn; /* whose place the next of a full set takes */
    tri_args_cache slots[TRI_ARGS_SETS][TRI_ARGS_WAYS];
} tri_args_table;

bool tri_args_table_get(tri_args_block *out, tri_args_table *table, const tri_operands *operands);
void tri_args_table_put(tri_args_table *table, const tri_operands *operands, const tri_args_block *block);

/* ---- plans ---- */

struct tri_plan {
    tri_plan *next;
    uint64_t key;       /* tri_plan_key of its problem */
    tri_device *device; /* the context's */
    tri_kernel *kernel; /* loaded's, unless it has a workspace */
    const tri_launch *launch;
    const tri_loaded *loaded;
    tri_problem problem; /* ldb and ldc are those of the first call: a plan serves all of their alignment */
    tri_bsr_buffers buffers; /* b, c, bias and scales are a call's */
    tri_args_table cache;
    /* A kernel owns its workspace, so one with a workspace is loaded for one matrix and one stream alone. */
    bool own_kernel;
    void *stream;                /* with own_kernel: the only one that may use it */
    pthread_mutex_t launch_lock; /* with own_kernel: clearing the workspace and the launch stay together */
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

triage_status tri_plan_launch(tri_plan *plan, const tri_operands *operands, void *stream);

/* Fills all but out->version. */
void tri_plan_describe(triage_choice *out, const tri_plan *plan);

#endif
