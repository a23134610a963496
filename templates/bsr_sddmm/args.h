/* The one argument of every bsr_sddmm kernel, passed by value.
 *
 * This file is included by the C runtime, by the host template (C17) and by the CUDA templates (NVRTC), so it holds plain C.
 * Every kernel of this folder has the entry
 *
 *   extern "C" __global__ void triage_kernel(const __grid_constant__ tri_bsr_sddmm_args args)   // CUDA
 *   void triage_kernel(const tri_bsr_sddmm_args *args)                                          // host
 *
 * and computes, for each stored block of a block-sparse m x k matrix and nothing beside,  D = alpha * (Y * X^T) + beta * D
 *   Y  m x n, dense, row-major (ldy >= n) or column-major (ldy >= m)
 *   X  k x n, dense, row-major (ldx >= n) or column-major (ldx >= k)
 *   D  the blocks, block_m x block_k each, row-major, one after another as the matrix stores them
 * The gradient of the weight of a linear layer Y = X W^T is the column-major form: Y is the gradient of its result and X its
 * input, both stored token by token, n tokens.
 * If beta == 0, D is not read. Block sizes, types and layouts are constants of the rendered text.
 */
#ifndef TRIAGE_BSR_SDDMM_ARGS_H
#define TRIAGE_BSR_SDDMM_ARGS_H

#include "lib/tensor_map.h"

/* A tile, the blocks that a CTA computes together, is so many ints of args.tiles, with constants of the kernel:
 *
 *   rows, cols, blocks   how many of each there are
 *   [tile_rows]          block rows
 *   [tile_cols]          block columns
 *   [tile_blocks]        place of each block in the two lists: row | column << 16; by rows, then columns
 *   [tile_blocks]        its index in D
 */
#define TRI_TILE_HEAD 3
#define TRI_TILE_INTS(tile_rows, tile_cols, tile_blocks) (TRI_TILE_HEAD + (tile_rows) + (tile_cols) + 2 * (tile_blocks))

typedef struct tri_bsr_sddmm_args {
    const void *y;
    const void *x;
    void *d;            /* [nnzb][block_m][block_k]                                            */
    const int *row_ptr; /* [block_rows + 1]                                                    */
    const int *col_idx; /* [nnzb], ascending within a block row                                */
    const int *tiles;   /* [tile_count] of TRI_TILE_INTS; NULL where the kernel asks for none  */
    void *workspace;    /* its first launch.workspace_zero_bytes are zeros, before and after   */
    long long ldy;      /* elements                                                            */
    long long ldx;      /* elements                                                            */
    int n;
    int block_rows; /* m / block_m */
    int nnzb;
    int tile_count;
    float alpha;
    float beta;
    tri_tensor_map map_y; /* Y as stored */
    tri_tensor_map map_x; /* X as stored */
} tri_bsr_sddmm_args;

#endif
