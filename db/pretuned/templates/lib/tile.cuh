/* Operands of mma.sync in swizzled shared memory, as TMA writes them (and wgmma reads them):
 *
 *   A, and column-major B   rows of 32, 64 or 128 bytes that run along k, one m (or n) each
 *   row-major B             slabs of 64 columns: rows of 128 bytes, one k each; slab after slab
 *
 * The 16-byte chunks of a row are permuted so that the eight rows of an 8 x 8 matrix, which ldmatrix reads at
 * once, lie in different banks.
 */
#ifndef TRIAGE_LIB_TILE_CUH
#define TRIAGE_LIB_TILE_CUH

#include "lib/mma.cuh"

/* Bytes from the start of rows of `chunks` (2, 4, or 8 and more) times 16 bytes to chunk `chunk` of row `row`. */
template <int chunks> __device__ __forceinline__ int swizzled(int row, int chunk)
{
    int flip = chunks == 2 ? row / 4 % 2 : chunks == 4 ? row / 2 % 4 : row % 8;
    return row * (chunks * 16) + ((chunk ^ flip) << 4);
}

/* What lane addresses for ldmatrix of A: sixteen rows from `row` on, the halves of k 16. */
template <int chunks> __device__ __forceinline__ int lane_offset_a(int lane, int row)
{
    return swizzled<chunks>(row + lane % 16, lane / 16);
}

/* ... of B from column `col` on. Matrices 0, 1: columns 0..7 of sixteen, k 0..7 and 8..15; matrices 2, 3:
 * columns 8..15. slab: bytes from one slab of row-major B to the next; chunks: of a row of column-major B. */
template <int layout, int slab, int chunks> __device__ __forceinline__ int lane_offset_b(int lane, int col)
{
    int in_matrix = lane % 8, half = lane / 8 % 2, high = lane / 16;
    if constexpr (layout == 0)
        return col / 64 * slab + (half * 8 + in_matrix) * 128 + (((col % 64 / 8 + high) ^ in_matrix) << 4);
    else
        return swizzled<chunks>(col + high * 8 + in_matrix, half);
}

/* acc += A * B over `depth` k, the whole length of A's rows; what this lane reads first of each. */
template <typename T, int layout, int slab, int depth, int m_tiles, int n_tiles>
__device__ __forceinline__ void multiply_tile(float (&acc)[m_tiles][n_tiles][4], unsigned a_address,
                                              unsigned b_address)
{
#pragma unroll
    for (int kt = 0; kt < depth / 16; kt++) {
        unsigned a[m_tiles][4];
#pragma unroll
        for (int mt = 0; mt < m_tiles; mt++)
            ldmatrix_x4(a[mt], (a_address ^ kt << 5) + mt * 16 * depth * 2);
#pragma unroll
        for (int nj = 0; nj < n_tiles / 2; nj++) {
            unsigned b[4];
            if constexpr (layout == 0)
                ldmatrix_x4_trans(b, ((b_address + kt * 16 * 128) ^ ((nj * 2 % 8) << 4)) + nj * 16 / 64 * slab);
            else
                ldmatrix_x4(b, (b_address ^ kt << 5) + nj * 16 * depth * 2);
#pragma unroll
            for (int mt = 0; mt < m_tiles; mt++) {
                mma_m16n8k16(acc[mt][nj * 2], a[mt], b[0], b[1], T());
                mma_m16n8k16(acc[mt][nj * 2 + 1], a[mt], b[2], b[3], T());
            }
        }
    }
}

#endif
