/* Which blocks of a sparse matrix, or of a block mask, are there. */
#ifndef TRIAGE_PATTERN_PATTERN_H
#define TRIAGE_PATTERN_PATTERN_H

#include "base/base.h"

/* Where the blocks are. Owned arrays. */
typedef struct tri_pattern {
    int64_t block_rows, block_cols;
    int64_t nnzb;
    int32_t *row_ptr; /* [block_rows + 1] */
    int32_t *col_idx; /* [nnzb], ascending within a row */
    int64_t file_block_rows,
        file_block_cols; /* elements of a block, where it was read from a file that says so; else 0 */
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
/* The pattern of the transposed matrix. */
triage_status tri_pattern_transpose(tri_pattern *out, const tri_pattern *from);
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
/* Of lists that are not known yet, even and apart from one another. density 0 .. 1. */
void tri_fingerprint_even(tri_fingerprint *out, double density);
/* Could one of the two have made it? */
bool tri_fingerprint_is_quantised(const tri_fingerprint *fingerprint);

#endif
