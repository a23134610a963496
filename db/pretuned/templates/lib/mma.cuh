/* Warp-level matrix instructions: mma.sync, ldmatrix, movmatrix and the cp.async copies that feed
 * them. sm_80 and later. Every inline asm of the mma.sync kernels lives here.
 *
 * Fragments of mma.m16n8k16 (g = lane / 4, q = lane % 4; each register holds two 16-bit values):
 *   a[0] row g,     k 2q, 2q+1      b[0] k 2q, 2q+1,     column g      d[0] row g,     column 2q
 *   a[1] row g + 8, k 2q, 2q+1      b[1] k 2q+8, 2q+9,   column g      d[1] row g,     column 2q+1
 *   a[2] row g,     k 2q+8, 2q+9                                       d[2] row g + 8, column 2q
 *   a[3] row g + 8, k 2q+8, 2q+9                                       d[3] row g + 8, column 2q+1
 */
#ifndef TRIAGE_LIB_MMA_CUH
#define TRIAGE_LIB_MMA_CUH

#include <cuda_bf16.h>
#include <cuda_fp16.h>

/* Address of shared memory as the 32-bit offset that ldmatrix and cp.async take. */
__device__ __forceinline__ unsigned mma_smem_address(const void *p)
{
    return static_cast<unsigned>(__cvta_generic_to_shared(p));
}

/* d += a * b for one 16 x 8 x 16 tile. The unused tag picks the type of the inputs. */
__device__ __forceinline__ void mma_m16n8k16(float (&d)[4], const unsigned (&a)[4], unsigned b0,
                                             unsigned b1, __half)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};\n"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

__device__ __forceinline__ void mma_m16n8k16(float (&d)[4], const unsigned (&a)[4], unsigned b0,
                                             unsigned b1, __nv_bfloat16)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};\n"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* Two e4m3 neighbours along k, in the place of one 16-bit value: every fragment is then as above, with
 * k counted in pairs. sm_89 and later. */
struct alignas(2) e4m3_pair {
    unsigned char v[2];
};

__device__ __forceinline__ void mma_m16n8k16(float (&d)[4], const unsigned (&a)[4], unsigned b0,
                                             unsigned b1, e4m3_pair)
{
    asm volatile("mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};\n"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* Four 8 x 8 matrices of 16-bit values. Lane i gives the address of row i % 8 of matrix i / 8 and
 * gets elements 2q, 2q+1 of row g of each matrix. */
__device__ __forceinline__ void ldmatrix_x4(unsigned (&r)[4], unsigned address)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];\n"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
}

/* As ldmatrix_x4, each matrix transposed: the lane gets rows 2q, 2q+1 of column g. */
__device__ __forceinline__ void ldmatrix_x4_trans(unsigned (&r)[4], unsigned address)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];\n"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
}

/* Transposes one 8 x 8 matrix of 16-bit values held as row g, elements 2q, 2q+1. */
__device__ __forceinline__ unsigned movmatrix_trans(unsigned r)
{
    unsigned d;
    asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;\n" : "=r"(d) : "r"(r));
    return d;
}

/* 16 bytes from global to shared memory; bytes past `valid` (0..16) arrive as zeros. Both addresses
 * are 16-byte aligned; the source is not read when valid is 0 but must still be a global address. */
__device__ __forceinline__ void cp_async_16(unsigned smem, const void *gmem, int valid)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n"
                 :
                 : "r"(smem), "l"(__cvta_generic_to_global(gmem)), "r"(valid)
                 : "memory");
}

__device__ __forceinline__ void cp_async_commit()
{
    asm volatile("cp.async.commit_group;\n" ::: "memory");
}

/* Waits until at most kPending of this thread's latest groups are still under way. */
template <int kPending> __device__ __forceinline__ void cp_async_wait()
{
    asm volatile("cp.async.wait_group %0;\n" ::"n"(kPending) : "memory");
}

#endif
