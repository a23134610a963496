/* What is computed: the problem's description and identity, its sparsity pattern, its inputs, and
 * what it costs. Pure C on the host; nothing here knows of a device or a kernel. */
#ifndef TRIAGE_PROBLEM_PROBLEM_H
#define TRIAGE_PROBLEM_PROBLEM_H

#include "base/base.h"

/* What is computed: see op/op.h. Until all users have moved, NULL stands for bsr_gemm. */
typedef struct tri_operation tri_operation;
typedef const tri_operation *tri_op;
#define TRI_OP_BSR_GEMM ((tri_op)0)

/* A problem of any operation, by value: which one, and the operation's own struct in place (op/op.h). */
#define TRI_PROBLEM_BYTES 256
#define TRI_IN_PLACE                                                                                         \
    __attribute__((may_alias)) /* of a struct that lies in a tri_problem's or tri_launch's bytes */

/* ---- pattern ------------------------------------------------------------------------------------ */

/* Where the blocks are. Owned arrays. */
typedef struct tri_pattern {
    int64_t block_rows, block_cols;
    int64_t nnzb;
    int32_t *row_ptr; /* [block_rows + 1] */
    int32_t *col_idx; /* [nnzb], ascending within a row */
} tri_pattern;

/* Seeded random columns, the same count in every block row as evenly as nnzb =
 * round((1 - sparsity) * block_rows * block_cols) allows. sparsity 0 .. 1. */
triage_status tri_pattern_random(tri_pattern *out, int64_t block_rows, int64_t block_cols, double sparsity,
                                 uint64_t seed);
/* Reads .smtx (DLMC text) or .mtx (Matrix Market coordinate), told apart by their first line; each
 * nonzero is one block. Unsorted rows are sorted for .mtx (its order is free) and refused for .smtx.
 * Errors are TRIAGE_E_DATA (or _IO) and name file and line. */
triage_status tri_pattern_read(tri_pattern *out, const char *path);
/* Copies and checks arrays from a caller. TRIAGE_E_DATA names the row and index at fault. */
triage_status tri_pattern_copy(tri_pattern *out, int64_t block_rows, int64_t block_cols, int64_t nnzb,
                               const int32_t *row_ptr, const int32_t *col_idx);
void tri_pattern_free(tri_pattern *pattern);

/* A pattern in three numbers, quantised so that patterns of one kind share them. */
typedef struct tri_fingerprint {
    int32_t density_e4;   /* stored blocks / all blocks, in 1/10000, rounded to two significant digits */
    int32_t imbalance_e1; /* max / mean blocks of a row, in 1/10, rounded to a power of 2^(1/2); 10 = even */
    int32_t overlap_e1;   /* mean over neighbouring row pairs of |common| / |smaller|, in 1/10 */
} tri_fingerprint;
void tri_fingerprint_of(tri_fingerprint *out, const tri_pattern *pattern);
/* The fewest and the most stored blocks that a density may stand for, of so many in all. */
void tri_fingerprint_blocks(int64_t *fewest, int64_t *most, const tri_fingerprint *fingerprint,
                            int64_t blocks);

#define TRI_PANEL_ROWS 32 /* at most: the bits of tri_panel_step.rows */

/* How a kernel takes the block rows together; rows 0: one by one. */
typedef struct tri_panel_shape {
    int32_t rows;       /* block rows of a panel, 0 .. TRI_PANEL_ROWS */
    int32_t group;      /* block columns that are there together */
    int32_t cluster;    /* consecutive panels that list the same columns */
    bool gather;        /* a group is any columns that are needed, the last one filled up with empty steps of
                      * column -1; else neighbours, of which some are needed, from a multiple of group on */
    bool reorder;       /* bring rows with common columns together within panels */
    int32_t columns;    /* column tiles of C, to be dealt out with the panels; 0: no deal */
    int32_t workers;    /* CTAs, or clusters of them, that share the work; with columns */
    int32_t warps;      /* that share a panel's rows in equal runs: panels may then be of uneven height, or of
                      * long and short rows, or (cluster 1) have rows in pieces, where that evens the deal out; 0: each
                      * panel is full */
    int32_t busy_warps; /* with warps: so many keep an SM busy, fewer go at the pace of one */
    int32_t least_blocks; /* with warps: a panel takes no less time than so many blocks do */
} tri_panel_shape;

/* Work order and panels, as templates/bsr_gemm/args.h describes them. */
typedef struct tri_schedule {
    int64_t slots; /* block_rows; with panels of uneven height more: panels * rows of a panel */
    /* [slots]: longest rows first, ties by index; panels: most steps first; -1: none. A row that a panel has s times is
     * done in s pieces there: the i-th takes each s-th block from the i-th on. */
    int32_t *row_order;
    struct tri_block_row *rows;     /* [slots]: the same order; none: {-1, 0, 0, 0} */
    int32_t panels;                 /* a multiple of the shape's cluster; the last ones may have no rows */
    struct tri_panel *panel_starts; /* [panels] or NULL: where each one's steps are, and the first of them */
    struct tri_panel_step *steps;   /* [step_count] */
    int32_t step_count;
    /* [rounds + 3][workers] or NULL: the units (panel / cluster) * columns + column tile that each worker does,
     * dealt so that all end together, and go through the columns together; -1: none any more, as in the last three
     * rounds for all. */
    int32_t *deal;
    int64_t deal_count;
} tri_schedule;
triage_status tri_schedule_build(tri_schedule *out, const tri_pattern *pattern, const tri_panel_shape *shape);
void tri_schedule_free(tri_schedule *schedule);

/* ---- problem ------------------------------------------------------------------------------------ */

typedef struct tri_problem {
    tri_op op;
    union {
        _Alignas(8) unsigned char data[TRI_PROBLEM_BYTES];
        struct {                   /* bsr_gemm's, until its users have moved to its own struct */
            triage_dtype in_type;  /* of A and B */
            triage_dtype out_type; /* of C and bias */
            bool
                scale_per_block; /* e4m3: each stored block of A has a scale, else A has one; false for others */
            triage_layout b_layout, c_layout;
            triage_activation activation;
            bool bias;
            int64_t m, n, k; /* elements */
            int64_t ldb,
                ldc; /* elements; part of what a kernel may require (alignment), not of the identity */
            int32_t block_m, block_k;
            int64_t nnzb;
            tri_fingerprint fingerprint;
        };
    };
} tri_problem;

/* Ranges: m, n, k 1 .. 2^31-1, products of two below 2^62, block 1 .. 1024, block divides. One line
 * names the value and the allowed range. TRIAGE_E_INVALID. */
triage_status tri_problem_check(const tri_problem *problem);

/* The identity: one line of canonical text, the same on every machine, e.g.
 * "bsr_gemm f16 f16 row row none nobias m=8192 n=8192 k=8192 block=64x64 density=1000 imbalance=10 overlap=1".
 * The first type is "e4m3-block" where A has a scale for each block: other kernels, hence another problem.
 * *out owned by the caller. */
triage_status tri_problem_key(char **out, const tri_problem *problem);
/* The inverse, for imported evidence; refuses anything that tri_problem_key would not write (TRIAGE_E_DATA).
 * What the key does not hold is filled in: ldb and ldc packed, nnzb what the density stands for. */
triage_status tri_problem_parse(tri_problem *out, const char *key);

/* Numbers behind scale_a: 1, or nnzb (at least 1) if scale_per_block. */
size_t tri_problem_scales(const tri_problem *problem);

double tri_problem_flops(const tri_problem *problem);       /* executed: 2 nnzb block_m block_k n */
double tri_problem_dense_flops(const tri_problem *problem); /* 2 m n k: "dense-equivalent" */
/* The fewest bytes that must move: A's values and indices once, the rows of B that are used (all), C written. */
double tri_problem_bytes(const tri_problem *problem);

const char *tri_dtype_name(triage_dtype dtype); /* "f32" "f16" "bf16" "e4m3" */
triage_status tri_dtype_parse(triage_dtype *out, const char *name);
size_t tri_dtype_size(triage_dtype dtype);
const char *tri_layout_name(triage_layout layout); /* "row" "col" */
const char *tri_activation_name(triage_activation activation);

/* Distance between two problems of one op, types, layouts and block, for the nearest lookup: 0 equal,
 * about 1 for a factor of two in one dimension up to 2048, a quarter beyond; INFINITY if a kernel for one cannot
 * serve the other. */
double tri_problem_distance(const tri_problem *a, const tri_problem *b);
/* The same in parts, each a distance by itself: the whole is the root of the sum of their squares. */
typedef struct tri_distance {
    double shape;    /* m, n, k: a doubling of one of them is 1 up to 2048, 0.25 beyond */
    double sparsity; /* a doubling of the density is 1 */
    double pattern;  /* imbalance of the rows and overlap of neighbours */
    double epilogue; /* activation and bias: hardly anything */
} tri_distance;
/* False: a kernel for one cannot serve the other. */
bool tri_problem_distance_parts(tri_distance *out, const tri_problem *a, const tri_problem *b);

/* ---- inputs and reference ------------------------------------------------------------------------ */

/* Seeded host data: values ~ N(0,1) of in_type (never zero on average; e4m3 and halves rounded to
 * nearest even). Counter-based and parallel: element i depends on (seed, i) only. */
triage_status tri_fill_normal(void *out, triage_dtype dtype, size_t count, uint64_t seed);
/* Seeded scales for e4m3: a mantissa of 1.125 .. 1.375 times 2^-2 .. 2^1. Neither one nor the product of two is
 * near a power of two, so a kernel that forgets one, or takes another block's, is not right by chance. */
void tri_fill_scales(float *out, size_t count, uint64_t seed);
float tri_to_float(const void *data, triage_dtype dtype, size_t index);
void tri_from_float(void *data, triage_dtype dtype, size_t index, float value);

/* Everything host-side about one run of a problem. Borrowed pointers. c_in may be NULL when beta == 0. */
typedef struct tri_bsr_operands {
    const tri_problem *problem;
    const tri_pattern *pattern;
    const void *values, *b, *c_in, *bias; /* in_type, in_type, out_type, out_type */
    const float *scale_a, *scale_b; /* e4m3: [1], or [nnzb] if problem->scale_per_block, and [1]; NULL: 1 */
    double alpha, beta;
} tri_bsr_operands;

/* Row `row` of C (n values) in float64. */
void tri_reference_row(double *out, const tri_bsr_operands *operands, int64_t row);

/* ---- verdict --------------------------------------------------------------------------------------
 * The gate. A candidate is right when it is as right as the plain kernel (reference template: same
 * types, float32 accumulation): at most twice its error against float64 on the checked rows, and on
 * EVERY element within the triangle bound of the plain kernel's result. */
typedef struct tri_yardstick {
    double row_error;     /* worst over checked rows: |plain - f64|_2 / |f64|_2 */
    double element_error; /* worst over checked elements: |plain - f64| / (u * (|f64| + rms of the row)) */
    /* neither is below the floor that float32 accumulation needs in any order: verdict.c derives it */
} tri_yardstick;
typedef struct tri_verdict {
    bool right;
    double row_error; /* candidate against float64, worst checked row */
    double element_error;
    double row_distance; /* candidate against plain kernel, worst of all rows */
    double element_distance;
    int64_t bad_row, bad_col; /* where the first violated bound was worst, or a NaN; -1 */
    char reason[160];         /* "" when right */
} tri_verdict;

/* rows: the checked rows (all when small, else seeded random ones plus the first, the last and the longest). */
triage_status tri_checked_rows(int64_t **out, size_t *count, const tri_problem *problem,
                               const tri_pattern *pattern, uint64_t seed);
/* plain: the plain kernel's whole C. references: count x n float64 rows. Fails (TRIAGE_E_WRONG) if the
 * plain kernel itself is off: row_error above 8 (u + 2^-24 (8 + sqrt(terms))), or any NaN. References must be
 * finite (TRIAGE_E_INVALID). */
triage_status tri_yardstick_make(tri_yardstick *out, const tri_problem *problem, const void *plain,
                                 const double *references, const int64_t *rows, size_t count);
/* candidate and plain: whole C as stored (layout and ldc of the problem). */
void tri_verdict_make(tri_verdict *out, const tri_yardstick *yardstick, const tri_problem *problem,
                      const void *candidate, const void *plain, const double *references, const int64_t *rows,
                      size_t count);

#endif
