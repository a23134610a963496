/* triage_bench: triage and its peers on the same inputs, through the same gate, in one interleaved run. */
#ifndef TRIAGE_CLI_BENCH_H
#define TRIAGE_CLI_BENCH_H

#include "check/verdict.h"
#include "cli/common/common.h"
#include "measure/stats.h"
#include "op/bsr_gemm/bsr_gemm.h"
#include "api/context.h"

/* ---- the arena: one problem, its inputs on the device, one C, and what C has to be ---- */

typedef struct tri_arena {
    triage_context *context;  /* borrowed */
    tri_problem problem;      /* packed leading dimensions; alpha 1, beta 0 */
    tri_pattern pattern;      /* owned */
    void *values, *b;         /* on the host */
    float *scale_a, scale_b;  /* e4m3: on the host; else NULL */
    triage_epilogue epilogue; /* e4m3: the scales on the device */
    triage_bsr_matrix *a;     /* with the arrays on the device */
    triage_dense b_dense, c_dense;
    size_t c_bytes;
    void *plain, *got;  /* C of the plain kernel; C under examination */
    double *references; /* float64 rows */
    int64_t *rows;
    size_t row_count;
    tri_view view[TRI_VIEWS_MAX];
    tri_yardstick yardstick;
} tri_arena;

/* Takes the pattern over. Draws inputs from seed, runs the plain kernel, computes the float64 rows. */
triage_status tri_arena_open(tri_arena *out, triage_context *context, const tri_problem *problem,
                             tri_pattern *pattern, uint64_t seed);
void tri_arena_close(tri_arena *arena);
bool tri_arena_is_host(const tri_arena *arena);

/* Fills C with NaN. */
triage_status tri_arena_poison(tri_arena *arena);
/* Looks at C with the tuner's gate. */
triage_status tri_arena_judge(tri_verdict *out, tri_arena *arena);
/* A as a dense row-major m x k matrix on the device; *out freed with triage_device_release. */
triage_status tri_arena_densify(void **out, const tri_arena *arena);
/* A new array on the device. */
triage_status tri_arena_place(void **out, const tri_arena *arena, const void *data, size_t bytes);

/* ---- the stopwatch: a stream, events around one call, a cold L2 before it ---- */

typedef struct tri_stopwatch tri_stopwatch;
/* Makes the device's primary context current in this thread, so that the peers' libraries and triage share
 * it: call it before the context is opened, which then says "cuda". device: "host" or "cuda[:N]". */
triage_status tri_stopwatch_open(tri_stopwatch **out, const char *device);
void tri_stopwatch_close(tri_stopwatch *watch);
void *tri_stopwatch_stream(const tri_stopwatch *watch);
/* From here on caches are emptied before each timing, from memory of the context; without this call they
 * stay warm. Detach before the context is freed; close after it, since the context stands on ours. */
triage_status tri_stopwatch_cool(tri_stopwatch *watch, triage_context *context);
void tri_stopwatch_detach(tri_stopwatch *watch);

typedef triage_status (*tri_timed_fn)(void *user);
triage_status tri_stopwatch_time(double *ns, tri_stopwatch *watch, tri_timed_fn call, void *user);

/* ---- contestants ---- */

typedef struct tri_contestant tri_contestant;
typedef struct tri_contestant_type {
    const char *name;
    const char *family; /* as --against names it */
    bool on_host, on_cuda;
    bool only_e4m3; /* not even listed for other types */
    bool dense;     /* multiplies the zeros too */
    triage_status (*open)(void **state, char detail[256], const tri_arena *arena, void *stream);
    triage_status (*run)(void *state); /* enqueues C = A B on the stream of open */
    void (*close)(void *state);
} tri_contestant_type;

typedef enum tri_contest_result {
    TRI_ABSENT = 0, /* its library is not here, or it refuses the problem: reason */
    TRI_WRONG_SUM,  /* not the product at all: no number */
    TRI_OVER_BOUND, /* the product, but with a larger error than the gate allows: marked */
    TRI_VERIFIED
} tri_contest_result;

struct tri_contestant {
    const tri_contestant_type *type;
    void *state;
    char detail[256]; /* version, kernel */
    tri_contest_result standing;
    char reason[256];
    tri_verdict verdict; /* the worse of before and after */
    double *ns;
    tri_timing timing;
};

extern const tri_contestant_type tri_contestant_triage, tri_contestant_cublas, tri_contestant_cusparse_bsr,
    tri_contestant_cublaslt, tri_contestant_cublaslt_fast, tri_contestant_cusparse_ell,
    tri_contestant_openblas;

/* Verifies each, times `samples` rounds in shuffled order, verifies what each left in its last round. */
triage_status tri_contest(tri_contestant *contestants, size_t count, tri_arena *arena, tri_stopwatch *watch,
                          int samples, uint64_t seed, volatile const int *interrupted);
void tri_contestants_close(tri_contestant *contestants, size_t count);

/* Fills count pointers at table from names; TRIAGE_E_NOT_FOUND names the first that is missing. */
triage_status tri_peer_symbols(void *table, void *library, const char *const *names, size_t count);
/* cudaDataType of the CUDA libraries (library_types.h). TRIAGE_E_UNSUPPORTED for e4m3. */
triage_status tri_peer_cuda_type(int *out, triage_dtype dtype);

/* ---- the limit of the device ---- */

/* Rates that the user states; 0: none. */
typedef struct tri_ceilings {
    double flops_per_s, bytes_per_s;
} tri_ceilings;

typedef struct tri_limit {
    double flops_per_s, bytes_per_s; /* the ceilings; 0: not known */
    const char *source;              /* "documented" or "stated" */
    double compute_ns, memory_ns;    /* useful operations, fewest bytes; 0: not known */
    double ns;                       /* the longer one; 0 unless both are known */
    const char *bound;               /* "compute", "memory", NULL */
} tri_limit;
void tri_limit_of(tri_limit *out, const tri_problem *problem, const tri_device_info *info,
                  const tri_ceilings *stated);

/* ---- report ---- */
triage_status tri_contest_print(const tri_contestant *contestants, size_t count, const tri_arena *arena,
                                const tri_limit *limit, bool no_color);
triage_status tri_contest_print_json(const tri_contestant *contestants, size_t count, const tri_arena *arena,
                                     const tri_limit *limit, uint64_t seed, bool cold);

#endif
