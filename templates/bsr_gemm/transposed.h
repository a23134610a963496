/* What kernels read of A where it is transposed: A = S^T, and S's blocks are stored, block_k x block_m each, row-major one
 * after another, in the order of S's rows. To the kernel A has its own pattern, the rows of which are S's columns: row_ptr
 * and all of the schedule are of that, and col_idx points to one of these for each of its blocks.
 *
 * Included by the C runtime, the host's templates and the CUDA ones, as args.h. */
#ifndef TRIAGE_BSR_GEMM_TRANSPOSED_H
#define TRIAGE_BSR_GEMM_TRANSPOSED_H

typedef struct tri_transposed_block {
    int col;   /* as in col_idx */
    int place; /* which one of the stored blocks it is */
} tri_transposed_block;

#endif
