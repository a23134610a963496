/* bsr_gemm: C = act(alpha A B + beta C + bias) with A block-sparse (BSR). What is computed, word for word:
 * templates/bsr_gemm/args.h. Only this folder and the operation's own rooms include it (src/api/bsr_gemm, its options in
 * src/cli): all others work with op/op.h. */
#ifndef TRIAGE_OP_BSR_GEMM_BSR_GEMM_H
#define TRIAGE_OP_BSR_GEMM_BSR_GEMM_H

#include "base/dtype.h"
#include "bsr_gemm/args.h"
#include "bsr_gemm/transposed.h"
#include "check/fill.h"
#include "op/bsr_gemm/schedule/schedule.h"
#include "op/op.h"

extern const tri_operation tri_op_bsr_gemm;

/* ---- problem ------------------------------------------------------------------------------------ */

typedef struct TRI_IN_PLACE tri_bsr_problem {
    triage_dtype in_type;  /* of A and B */
    triage_dtype out_type; /* of C and bias */
    bool a_transposed;     /* A's blocks are stored as those of its transpose; all else here is of A itself */
    bool scale_per_block;  /* e4m3: each stored block of A has a scale, else A has one; false for others */
    triage_layout b_layout, c_layout;
    triage_activation activation;
    bool bias;
    int64_t m, n, k;  /* elements */
    int64_t ldb, ldc; /* elements; part of what a kernel may require (alignment), not of the identity */
    int32_t block_m, block_k;
    int64_t nnzb;
    tri_fingerprint fingerprint;
} tri_bsr_problem;
_Static_assert(sizeof(tri_bsr_problem) <= TRI_PROBLEM_BYTES, "a problem's bytes are too few");

static inline const tri_bsr_problem *tri_bsr(const tri_problem *problem) {
    return (const tri_bsr_problem *)problem->data;
}
static inline tri_bsr_problem *tri_bsr_edit(tri_problem *problem) {
    return (tri_bsr_problem *)problem->data;
}
/* The same as a problem of any operation. */
static inline tri_problem tri_bsr_problem_of(tri_bsr_problem own) {
    tri_problem problem = {.op = &tri_op_bsr_gemm};
    *tri_bsr_edit(&problem) = own;
    return problem;
}

/* Ranges: m, n, k 1 .. 2^31-1, products of two below 2^62, block 1 .. 1024, block divides. One line
 * names the value and the allowed range. TRIAGE_E_INVALID. */
triage_status tri_bsr_check(const tri_problem *problem);
/* The same without the leading dimensions and nnzb, which the key does not hold. */
triage_status tri_bsr_check_identity(const tri_problem *problem);

/* The identity, e.g.
 * "bsr_gemm f16 f16 row row none nobias m=8192 n=8192 k=8192 block=64x64 density=1000 imbalance=10 overlap=1".
 * The first type is "e4m3-block" where A has a scale for each block: other kernels, hence another problem. Before m=, and only
 * there, stands "transposed" where A is. */
triage_status tri_bsr_key(char **out, const tri_problem *problem);
/* What the key does not hold is filled in: ldb and ldc packed, nnzb what the density stands for. */
triage_status tri_bsr_parse(tri_problem *out, const char *key);

int64_t tri_bsr_packed_ldb(const tri_bsr_problem *problem);
int64_t tri_bsr_packed_ldc(const tri_bsr_problem *problem);
int64_t tri_bsr_blocks(const tri_bsr_problem *problem); /* stored or not */
/* Numbers behind scale_a: 1, or nnzb (at least 1) if scale_per_block. */
size_t tri_bsr_scales(const tri_problem *problem);

/* The table's, in problem.c. */
/* "none", "relu", ...; "?" for what is none of them. False: there is none of that name. */
const char *tri_activation_name(triage_activation activation);
bool tri_activation_find(triage_activation *out, const char *name);

double tri_bsr_flops(const tri_problem *problem);       /* 2 nnzb block_m block_k n */
double tri_bsr_dense_flops(const tri_problem *problem); /* 2 m n k */
/* A's values and indices once, the rows of B that are used (all), C written. */
double tri_bsr_bytes(const tri_problem *problem);
void tri_bsr_least_work(tri_least_work *out, const tri_problem *problem);
/* In cost.c. */
extern const tri_feature tri_bsr_features[];
bool tri_bsr_cost(tri_cost *out, const tri_problem *problem, const char *config, const tri_device_info *info);
bool tri_bsr_distance_squares(double out[TRI_DISTANCE_PARTS], const tri_problem *a, const tri_problem *b);
size_t tri_bsr_kin(tri_problem out[TRI_KIN_MAX], const tri_problem *problem);

/* ---- launch ------------------------------------------------------------------------------------- */

/* Its part of tri_launch. */
typedef struct TRI_IN_PLACE tri_bsr_launch {
    int32_t panel_rows;    /* block rows of a panel; 0: the kernel uses no panels */
    int32_t panel_group;   /* block columns that are there together; 0, 1: one by one */
    int32_t panel_cluster; /* neighbouring panels that list the same columns; 0, 1: each its own */
    int32_t gather;        /* a group is any columns that are needed, else whole neighbours */
    int32_t panel_columns; /* column tiles, to be dealt out to the grid with the panels; 0: no deal */
    /* with a deal: that share a panel's rows in equal runs, and (panel_cluster 1) add up those in pieces; 0: panels are
     * full, of whole rows */
    int32_t panel_warps;
    int32_t panel_busy_warps;   /* with panel_warps: so many keep an SM busy */
    int32_t panel_least_blocks; /* with panel_warps: a panel takes no less time than so many blocks do */
    int32_t reorder;            /* bring rows with common columns together */
} tri_bsr_launch;
_Static_assert(sizeof(tri_bsr_launch) <= TRI_LAUNCH_BYTES, "a launch's bytes are too few");

static inline const tri_bsr_launch *tri_bsr_launch_of(const tri_launch *launch) {
    return (const tri_bsr_launch *)launch->own;
}
enum {
    TRI_BSR_MAP_A,
    TRI_BSR_MAP_B,
    TRI_BSR_MAP_C
}; /* values as [nnzb*block_m][block_k], B and C as stored */

/* The panels that a launch asks the schedule for. transposed: of a transposed A. */
tri_panel_shape tri_launch_panels(const tri_launch *launch, bool transposed);

/* ---- inputs and reference ------------------------------------------------------------------------ */

enum {
    TRI_BSR_VALUES,
    TRI_BSR_ROW_PTR,
    TRI_BSR_COL_IDX,
    TRI_BSR_B,
    TRI_BSR_C_IN, /* what C holds before the second case */
    TRI_BSR_BIAS,
    TRI_BSR_SCALE_A,
    TRI_BSR_SCALE_B,
    TRI_BSR_BLOCKS /* tri_transposed_block[nnzb] of a transposed A */
};

/* The table's, in inputs.c. */
triage_status tri_bsr_draw(tri_inputs *out, const tri_problem *problem, const tri_pattern *pattern,
                           uint64_t seed, size_t case_index);
size_t tri_bsr_case_count(const tri_problem *problem);
void tri_bsr_case_text(char *out, size_t size, const tri_problem *problem, size_t case_index);
/* (1, 0), then (1.25, -0.5). */
void tri_bsr_case_factors(float *alpha, float *beta, size_t case_index);
size_t tri_bsr_views(tri_view out[TRI_VIEWS_MAX], const tri_problem *problem);
int tri_bsr_before(const tri_problem *problem, size_t case_index, size_t view);
size_t tri_bsr_telling_rows(int64_t out[TRI_TELLING_ROWS], const tri_problem *problem,
                            const tri_pattern *pattern, tri_random *random);
double tri_bsr_host_bytes(const tri_problem *problem);

/* Where a transposed A has its blocks: [nnzb], freed by the caller. pattern: A's own. */
triage_status tri_bsr_transposed_blocks(tri_transposed_block **out, const tri_pattern *pattern);

/* Everything host-side about one run of a problem. Borrowed pointers. c_in may be NULL when beta == 0. */
typedef struct tri_bsr_operands {
    const tri_problem *problem;
    const tri_pattern *pattern;
    const void *values, *b, *c_in, *bias; /* in_type, in_type, out_type, out_type */
    const float *scale_a, *scale_b; /* e4m3: [1], or [nnzb] if problem->scale_per_block, and [1]; NULL: 1 */
    const tri_transposed_block *blocks; /* of a transposed A */
    double alpha, beta;
} tri_bsr_operands;
/* Row `row` of C (n values) in float64. */
void tri_reference_row(double *out, const tri_bsr_operands *operands, int64_t row);
void tri_bsr_reference_row(double *const out[TRI_VIEWS_MAX], const tri_operands *operands, int64_t row);

/* ---- on a device --------------------------------------------------------------------------------- */

typedef struct tri_device_schedule { /* a tri_schedule on the device */
    tri_address rows, panels, steps, deal;
    int64_t slots; /* of rows; 0: as many as there are block rows */
} tri_device_schedule;
/* What was placed before a failure is released. */
triage_status tri_device_schedule_place(tri_device_schedule *out, tri_device *device,
                                        const tri_schedule *schedule);
void tri_device_schedule_release(tri_device *device, tri_device_schedule *placed);

typedef struct tri_bsr_buffers { /* addresses on the device; 0 for absent optional ones */
    tri_address values, row_ptr, col_idx, b, c, bias, scale_a, scale_b, workspace;
    tri_address blocks; /* of a transposed A, in the place of col_idx */
    tri_device_schedule schedule;
} tri_bsr_buffers;
/* Fills args (tensor maps included) for one launch. The only place that knows the argument block's fields. */
triage_status tri_bsr_args_make(struct tri_bsr_gemm_args *out, tri_device *device, const tri_launch *launch,
                                const tri_problem *problem, const tri_bsr_buffers *buffers, float alpha,
                                float beta);

/* The table's: prepare and release in place.c, arguments in args.c. */
triage_status tri_bsr_prepare(void **out, tri_device *device, const tri_launch *launch,
                              const tri_problem *problem, const tri_pattern *pattern);
void tri_bsr_release(tri_device *device, void *prepared);
triage_status tri_bsr_arguments(void *out, const tri_binding *binding);

/* The table's, in twin.c: the dense product that does the same. */
triage_status tri_bsr_dense_twin(tri_gemm *out, const tri_problem *problem);
triage_status tri_bsr_densify(void **out, size_t *bytes, const tri_operands *operands);
void tri_bsr_dense_arguments(tri_gemm_args *out, const tri_binding *binding, tri_address a);

#endif
