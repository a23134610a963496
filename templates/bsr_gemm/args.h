/* The one argument of every bsr_gemm kernel, passed by value.
 *
 * This file is included by the C runtime, by the host template (C17) and by the CUDA templates
 * (NVRTC), so it holds plain C and no include. Every kernel of this folder has the entry
 *
 *   extern "C" __global__ void triage_kernel(const __grid_constant__ tri_bsr_gemm_args args)   // CUDA
 *   void triage_kernel(const tri_bsr_gemm_args *args)                                          // host
 *
 * A CUDA kernel takes as much of the block as it needs: tri_bsr_gemm_core, tri_bsr_gemm_core_b or all
 * of it. The launch copies what the kernel declares, and the copy takes time: on an H200 an empty
 * kernel from cold memory 3.36 us up to 192 bytes, 3.7 with 256, 4.16 from 320 on.
 *
 * and computes  C = act(alpha * A * B + beta * C + bias)  where
 *   A  m x k, block-sparse (BSR), blocks of block_m x block_k, stored row-major one after another
 *   B  k x n, dense, row-major (ldb >= n) or column-major (ldb >= k)
 *   C  m x n, dense, row-major (ldc >= n) or column-major (ldc >= m)
 * The linear layer Y = X W^T is the column-major form: X (n x k, row-major) is B, W is A, and
 * Y (n x m, row-major) is C.
 * If beta == 0, C is not read. Block sizes, types and layouts are constants of the rendered text.
 */
#ifndef TRIAGE_BSR_GEMM_ARGS_H
#define TRIAGE_BSR_GEMM_ARGS_H

/* A CUtensorMap, which this side only carries. CUDA wants it 64-byte aligned. */
typedef struct tri_tensor_map {
#ifdef __CUDACC__
    alignas(64) unsigned char bytes[128];
#else
    _Alignas(64) unsigned char bytes[128];
#endif
} tri_tensor_map;

/* A block row, and what leads to its first blocks: one read from cold memory, 32 bytes, instead of three. */
#define TRI_ROW_COLUMNS 5
typedef struct tri_block_row {
#ifdef __CUDACC__
    alignas(32) int row;
#else
    _Alignas(32) int row;
#endif
    int begin, end;           /* its blocks: row_ptr[row], row_ptr[row + 1] */
    int col[TRI_ROW_COLUMNS]; /* col_idx[begin], ... of its first blocks; 0 where it has fewer */
} tri_block_row;

/* One step of a panel: a block column that at least one block row of the panel needs.
 * Bit i of rows: block row rows[panel * panel_rows + i] has a block in this column. */
typedef struct tri_panel_step {
    int col;
    unsigned rows;
} tri_panel_step;

/* A panel, and its first steps: one read from cold memory, 32 bytes, instead of two after one another. */
#define TRI_PANEL_STEPS 3
typedef struct tri_panel {
#ifdef __CUDACC__
    alignas(32) int begin;
#else
    _Alignas(32) int begin;
#endif
    int end;                               /* its steps: steps[begin .. end - 1] */
    tri_panel_step first[TRI_PANEL_STEPS]; /* steps[begin], ...; {-1, 0} where it has fewer */
} tri_panel;

#define TRI_BSR_GEMM_CORE                                                                                    \
    const void *values;          /* [nnzb][block_m][block_k]                              */                 \
    const int *row_ptr;          /* [block_rows + 1]                                      */                 \
    const int *col_idx;          /* [nnzb], ascending within a block row; see transposed.h */                \
    const tri_block_row *rows;   /* [block_rows], each once: the order of work            */                 \
    const tri_panel *panels;     /* NULL without panels                                   */                 \
    const tri_panel_step *steps; /* of all panels                                         */                 \
    const int *deal;             /* [rounds + 3][workers]: units of work, -1 none; or NULL */                \
    const void *b;                                                                                           \
    void *c;                                                                                                 \
    const void *bias;     /* [m] in the type of C, or NULL                                */                 \
    const float *scale_a; /* fp8 only: [nnzb] or [1]; NULL: 1                             */                 \
    const float *scale_b; /* fp8 only: [1]; NULL: 1                                       */                 \
    long long ldb;        /* elements                                                     */                 \
    long long ldc;        /* elements                                                     */                 \
    int n;                                                                                                   \
    int block_rows; /* m / block_m                                                        */                 \
    float alpha;                                                                                             \
    float beta;

/* 128 bytes. */
typedef struct tri_bsr_gemm_core {
    TRI_BSR_GEMM_CORE
} tri_bsr_gemm_core;

/* 256 bytes. */
typedef struct tri_bsr_gemm_core_b {
    TRI_BSR_GEMM_CORE
    tri_tensor_map map_b; /* B as stored */
} tri_bsr_gemm_core_b;

typedef struct tri_bsr_gemm_args {
    TRI_BSR_GEMM_CORE
    tri_tensor_map map_b; /* B as stored                         */
    tri_tensor_map map_a; /* values as [nnzb * block_m][block_k] */
    tri_tensor_map map_c; /* C as stored                         */
    void *workspace;      /* launch.workspace_bytes, zeroed before each launch; NULL if 0 */
    int m, k;
} tri_bsr_gemm_args;

#endif
