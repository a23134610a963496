/* What is behind a triage_bsr_matrix, and how its products are called. */
#ifndef TRIAGE_API_BSR_GEMM_BSR_GEMM_H
#define TRIAGE_API_BSR_GEMM_BSR_GEMM_H

#include <string.h>

#include "bsr_gemm/args.h"
#include "api/call.h"
#include "op/bsr_gemm/bsr_gemm.h"

/* A schedule on the device; a matrix has one for each panel shape that a kernel of its plans asks for. */
typedef struct tri_matrix_schedule {
    struct tri_matrix_schedule *next;
    tri_panel_shape shape;
    tri_device_schedule device;
} tri_matrix_schedule;

struct triage_bsr_matrix {
    triage_context *context;
    tri_caller caller;  /* of its products */
    tri_caller sampled; /* of the sampled products with its pattern: api/bsr_sddmm */
    triage_dtype dtype;
    int64_t rows, cols;
    int32_t block_rows, block_cols; /* elements, as in triage_bsr_desc */
    tri_pattern pattern;
    tri_fingerprint fingerprint;
    tri_address row_ptr, col_idx; /* ours */
    tri_address values;
    bool owns_values;
    const triage_bsr_matrix *stored; /* of a transpose: whose blocks it has; else NULL */
    tri_address blocks;              /* of a transpose: tri_transposed_block[nnzb] */
    pthread_mutex_t transposing;
    _Atomic(triage_bsr_matrix *) transposed; /* made on request, under that; then it stays */
    tri_matrix_schedule *schedules;          /* under caller.lock */
    struct tri_matrix_tiles *tiles;          /* under sampled.lock: api/bsr_sddmm */
};

/* The schedule for a kernel's panels, made and uploaded on the first request. Under caller.lock; the matrix's. */
triage_status tri_bsr_matrix_schedule(const tri_device_schedule **out, triage_bsr_matrix *matrix,
                                      const tri_launch *launch);

/* What a caller passes beside the matrix and the stream. Borrowed. */
typedef struct tri_bsr_call {
    const triage_dense *b, *c;
    const triage_epilogue *epilogue; /* NULL: none */
    float alpha, beta;
} tri_bsr_call;

/* What a repeated call compares comes first: two cache lines without an epilogue. */
typedef struct tri_bsr_served_call {
    _Alignas(64) tri_served_call served;
    float alpha, beta;
    triage_dense b, c;
    bool has_epilogue;
    triage_epilogue epilogue;
    tri_bsr_gemm_args args;
} tri_bsr_served_call;

extern const tri_call_type tri_bsr_gemm_calls, tri_sddmm_calls;
/* Of the sampled products: in api/bsr_sddmm. */
void tri_sddmm_tiles_release(triage_bsr_matrix *matrix);

/* What the caller calls the operands: "a", "b", "c", or "w", "x", "y". */
typedef struct tri_bsr_operand_names {
    const char *a, *b, *c;
} tri_bsr_operand_names;

/* The side along which a product may be one of nothing: columns of b and c, rows of x and y. */
typedef enum tri_bsr_empty_side { TRI_BSR_EMPTY_COLS, TRI_BSR_EMPTY_ROWS } tri_bsr_empty_side;

/* TRIAGE_E_INVALID names the operand, the value and what is allowed. */
triage_status tri_bsr_check_dense(const triage_dense *dense, const char *name, tri_bsr_empty_side side);
triage_status tri_bsr_check_call(const triage_bsr_matrix *a, const tri_bsr_call *call,
                                 const tri_bsr_operand_names *names);

/* ---- what served calls compare (api/call.h) ---- */

/* Factors are compared by bits: -0 is not 0, and a NaN is itself. */
static inline uint32_t tri_factor_bits(float factor) {
    uint32_t bits;
    memcpy(&bits, &factor, sizeof bits);
    return bits;
}

static inline bool tri_dense_operand_same(const triage_dense *a, const triage_dense *b) {
    return a->data == b->data && a->rows == b->rows && a->cols == b->cols && a->ld == b->ld &&
           a->dtype == b->dtype && a->layout == b->layout;
}

#endif
