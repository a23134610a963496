/* bsr_sddmm: D = alpha Y X^T + beta D on the stored blocks of a block-sparse matrix only (sampled dense-dense product). What
 * is computed, word for word: templates/bsr_sddmm/args.h. Only this folder and the operation's own rooms include it
 * (src/api/bsr_sddmm, its options in src/cli): all others work with op/op.h. */
#ifndef TRIAGE_OP_BSR_SDDMM_BSR_SDDMM_H
#define TRIAGE_OP_BSR_SDDMM_BSR_SDDMM_H

#include "base/dtype.h"
#include "bsr_sddmm/args.h"
#include "check/fill.h"
#include "op/op.h"

extern const tri_operation tri_op_bsr_sddmm;

/* ---- problem ------------------------------------------------------------------------------------ */

typedef struct TRI_IN_PLACE tri_sddmm_problem {
    triage_dtype in_type;  /* of Y and X: f32, f16, bf16 */
    triage_dtype out_type; /* of D: f32, f16, bf16 */
    triage_layout y_layout, x_layout;
    int64_t m, n, k;  /* elements: the sparse matrix is m x k, Y m x n, X k x n */
    int64_t ldy, ldx; /* elements; part of what a kernel may require (alignment), not of the identity */
    int32_t block_m, block_k;
    int64_t nnzb; /* 1 or more */
    tri_fingerprint fingerprint;
} tri_sddmm_problem;
_Static_assert(sizeof(tri_sddmm_problem) <= TRI_PROBLEM_BYTES, "a problem's bytes are too few");

static inline const tri_sddmm_problem *tri_sddmm(const tri_problem *problem) {
    return (const tri_sddmm_problem *)problem->data;
}
static inline tri_sddmm_problem *tri_sddmm_edit(tri_problem *problem) {
    return (tri_sddmm_problem *)problem->data;
}
static inline tri_problem tri_sddmm_problem_of(tri_sddmm_problem own) {
    tri_problem problem = {.op = &tri_op_bsr_sddmm};
    *tri_sddmm_edit(&problem) = own;
    return problem;
}

/* Ranges: m, n, k 1 .. 2^31-1, block 1 .. 1024, block divides, at least one block. TRIAGE_E_INVALID. */
triage_status tri_sddmm_check(const tri_problem *problem);
/* The same without the leading dimensions and nnzb, which the key does not hold. */
triage_status tri_sddmm_check_identity(const tri_problem *problem);

/* "bsr_sddmm f16 f16 row row m=8192 n=8192 k=8192 block=64x64 density=1000 imbalance=10 overlap=1": types of Y and X, and
 * of D; layouts of Y and X. */
triage_status tri_sddmm_key(char **out, const tri_problem *problem);
/* What the key does not hold is filled in: ldy and ldx packed, nnzb what the density stands for. */
triage_status tri_sddmm_parse(tri_problem *out, const char *key);

int64_t tri_sddmm_packed_ldy(const tri_sddmm_problem *problem);
int64_t tri_sddmm_packed_ldx(const tri_sddmm_problem *problem);
int64_t tri_sddmm_blocks(const tri_sddmm_problem *problem); /* stored or not */

/* The table's, in problem.c. */
double tri_sddmm_flops(const tri_problem *problem);       /* 2 nnzb block_m block_k n */
double tri_sddmm_dense_flops(const tri_problem *problem); /* 2 m n k */
double tri_sddmm_bytes(const tri_problem *problem);       /* Y, X and the indices once, D written */
void tri_sddmm_least_work(tri_least_work *out, const tri_problem *problem);
double tri_sddmm_host_bytes(const tri_problem *problem);
bool tri_sddmm_distance_squares(double out[TRI_DISTANCE_PARTS], const tri_problem *a, const tri_problem *b);

/* ---- inputs and reference ------------------------------------------------------------------------ */

enum {
    TRI_SDDMM_Y,
    TRI_SDDMM_X,
    TRI_SDDMM_D_IN, /* what D holds before the second case */
    TRI_SDDMM_ROW_PTR,
    TRI_SDDMM_COL_IDX
};

/* The table's, in inputs.c. */
triage_status tri_sddmm_draw(tri_inputs *out, const tri_problem *problem, const tri_pattern *pattern,
                             uint64_t seed, size_t case_index);
size_t tri_sddmm_case_count(const tri_problem *problem);
void tri_sddmm_case_text(char *out, size_t size, const tri_problem *problem, size_t case_index);
/* (1, 0), then (1.25, -0.5). */
void tri_sddmm_case_factors(float *alpha, float *beta, size_t case_index);
/* D as [nnzb * block_m][block_k]. */
size_t tri_sddmm_views(tri_view out[TRI_VIEWS_MAX], const tri_problem *problem);
int tri_sddmm_before(const tri_problem *problem, size_t case_index, size_t view);
size_t tri_sddmm_telling_rows(int64_t out[TRI_TELLING_ROWS], const tri_problem *problem,
                              const tri_pattern *pattern, tri_random *random);
void tri_sddmm_reference_row(double *const out[TRI_VIEWS_MAX], const tri_operands *operands, int64_t row);

/* ---- tiles: which blocks a CTA computes together ------------------------------------------------- */

/* Its part of tri_launch: the most of each that a tile holds. All 0: the kernel asks for no tiles. */
typedef struct TRI_IN_PLACE tri_sddmm_launch {
    int32_t tile_rows;   /* block rows */
    int32_t tile_cols;   /* block columns */
    int32_t tile_blocks; /* at least tile_rows */
    /* 0: a tile lists only the block rows and columns that it needs. Above 0: it is solid (tiles.c), and so many neighbouring
     * tiles of a band make a cluster. */
    int32_t tile_solid;
} tri_sddmm_launch;
_Static_assert(sizeof(tri_sddmm_launch) <= TRI_LAUNCH_BYTES, "a launch's bytes are too few");

static inline const tri_sddmm_launch *tri_sddmm_launch_of(const tri_launch *launch) {
    return (const tri_sddmm_launch *)launch->own;
}
enum { TRI_SDDMM_MAP_Y, TRI_SDDMM_MAP_X };

/* Ints as templates/bsr_sddmm/args.h describes them. Owned. */
typedef struct tri_sddmm_tiles {
    int32_t *ints;
    int64_t
        count; /* of tiles; every stored block is in one, and a tile that only fills a cluster up has none */
} tri_sddmm_tiles;
triage_status tri_sddmm_tiles_make(tri_sddmm_tiles *out, const tri_pattern *pattern,
                                   const tri_sddmm_launch *shape);
void tri_sddmm_tiles_free(tri_sddmm_tiles *tiles);

/* ---- on a device --------------------------------------------------------------------------------- */

typedef struct tri_sddmm_placed { /* tiles on the device */
    tri_address ints;
    int64_t count;
} tri_sddmm_placed;
/* What was placed before a failure is released. TRIAGE_E_UNSUPPORTED: there are more tiles than the launch has CTAs. */
triage_status tri_sddmm_place(tri_sddmm_placed *out, tri_device *device, const tri_launch *launch,
                              const tri_pattern *pattern);

typedef struct tri_sddmm_buffers { /* addresses on the device */
    tri_address y, x, d, row_ptr, col_idx, workspace;
    tri_sddmm_placed tiles;
} tri_sddmm_buffers;
/* Fills args (tensor maps included) for one launch. The only place that knows the argument block's fields. */
triage_status tri_sddmm_args_make(struct tri_bsr_sddmm_args *out, tri_device *device,
                                  const tri_launch *launch, const tri_problem *problem,
                                  const tri_sddmm_buffers *buffers, float alpha, float beta);

/* The table's, in run.c. */
triage_status tri_sddmm_prepare(void **out, tri_device *device, const tri_launch *launch,
                                const tri_problem *problem, const tri_pattern *pattern);
void tri_sddmm_release(tri_device *device, void *prepared);
triage_status tri_sddmm_arguments(void *out, const tri_binding *binding);

#endif
