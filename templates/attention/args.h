/* The one argument of every attention kernel, passed by value.
 *
 * This file is included by the C runtime, by the host templates (C17) and by the CUDA templates (NVRTC), so
 * it holds plain C. Every kernel of this folder has the entry
 *
 *   extern "C" __global__ void triage_kernel(const __grid_constant__ tri_attention_args args)   // CUDA
 *   void triage_kernel(const tri_attention_args *args)                                          // host
 *
 * A CUDA kernel takes as much of the block as it needs: tri_attention_core, tri_attention_core_maps or all of
 * it. The launch copies what the kernel declares, and the copy takes time (bsr_gemm/args.h has figures).
 *
 * and computes, for each sequence b, q head h and query i of that sequence, with g = h / (heads_q / heads_kv),
 *
 *   s_j = scale * scale_q * scale_k * (q_i . k_j)         soft cap: then s_j = softcap * tanh(s_j / softcap)
 *   O_i = sum_j exp(s_j - LSE_i) * scale_v * v_j          over the keys j that query i sees
 *   LSE_i = log(sum_j exp(s_j))                           natural logarithm
 *
 * A query that sees no key has O = 0 and LSE = -inf. Rows of O and LSE behind the end of a sequence are not
 * written; rows of Q, K, V behind it are not looked at: they may hold NaN, and 0 * NaN is NaN.
 *
 * Query i sees key j when all of these hold, where sq and sk are the lengths of this sequence and
 * off = sk - sq (kTopLeft: 0):
 *   0 <= j < sk
 *   kLeft:  j >= i + off - left
 *   kRight: j <= i + off + right      (causal: kRight with right = 0)
 *   kMaskM: the block (i / kMaskM, j / kMaskN) is listed in `full`, or in `partial` with its bit set
 * Constants of the rendered text: the types, kD, kDv, kLeft, kRight, kTopLeft, kSoftcap, kMaskM x kMaskN (0: no
 * block mask), and whether lengths, offsets or pages are there.
 */
#ifndef TRIAGE_ATTENTION_ARGS_H
#define TRIAGE_ATTENTION_ARGS_H

#include "lib/tensor_map.h"

/* In elements; within a row they are adjacent. 0 is legal for Q, K, V (expanded heads). */
typedef struct tri_attention_stride {
    long long batch, head, row;
} tri_attention_stride;

/* Blocks of one kind, listed for each row r of the block mask: cols[begin .. begin + n - 1], ascending and
 * unique, with begin = ptr ? ptr[r] : r * capacity and n = count ? count[r] : ptr[r + 1] - ptr[r].
 * cols NULL: no block of this kind. A block that begins behind the end of the sequence has no keys. */
typedef struct tri_attention_blocks {
    const int *ptr;   /* [mask rows + 1], or NULL: the lists lie `capacity` apart  */
    const int *count; /* [mask rows], or NULL: from ptr. At least one of the two    */
    const int *cols;  /* numbers of KV blocks                                       */
    long long capacity;
} tri_attention_blocks;

/* clang-format off */
#define TRI_ATTENTION_CORE                                                                                  \
    const void *q; /* [batch][heads_q][sq][d]          */                                                   \
    const void *k; /* [batch][heads_kv][sk][d]         */                                                   \
    const void *v; /* [batch][heads_kv][sk][dv]        */                                                   \
    void *o;       /* [batch][heads_q][sq][dv]         */                                                   \
    float *lse;    /* [batch][heads_q][sq], or NULL: not wanted */                                          \
    tri_attention_stride q_stride, k_stride, v_stride, o_stride, lse_stride;                                \
    const float *scale_q, *scale_k, *scale_v; /* e4m3 only: [batch][heads_kv]; NULL: 1 */                   \
    /* With offsets, sequence b is rows cu[b] .. cu[b + 1] - 1 and the strides of a batch are not used. */  \
    const int *cu_q, *cu_k;   /* [batch + 1] or NULL */                                                     \
    const int *len_q, *len_k; /* [batch] rows in use, at most sq, sk and what cu leaves; or NULL */         \
    /* Pages: rows p * page_size .. of sequence b lie in page page_table[b * page_stride + p], and the      \
     * stride of a batch of K and V is that of a page. Entries behind the length are never read. */         \
    const int *page_table; /* [batch][page_stride] or NULL */                                               \
    int page_size, page_stride;                                                                             \
    int batch, heads_q, heads_kv; /* heads_q a multiple of heads_kv */                                      \
    int sq, sk;                   /* of the longest sequence that may come */                               \
    float scale_log2;             /* scale * log2(e) */                                                     \
    float softcap;                /* with kSoftcap */                                                       \
    int left, right;              /* with kLeft, kRight; from 0 up */                                       \
    int splits;                   /* of the keys, in equal runs of whole tiles; 0: the kernel's own choice */ \
    /* launch.workspace_bytes, NULL if 0. Its first launch.workspace_zero_bytes are zeros before the first  \
     * launch, and every launch leaves zeros there. */                                                      \
    void *workspace;
/* clang-format on */

/* 280 bytes. */
typedef struct tri_attention_core {
    TRI_ATTENTION_CORE
} tri_attention_core;

/* 832 bytes. Maps are rank 4, (d, row, head, batch); pages: (d, row of the page, head, page). Offsets: rank 3. */
#define TRI_ATTENTION_CORE_MAPS                                                                              \
    TRI_ATTENTION_CORE                                                                                       \
    tri_tensor_map map_q, map_k, map_v, map_o;

typedef struct tri_attention_core_maps {
    TRI_ATTENTION_CORE_MAPS
} tri_attention_core_maps;

typedef struct tri_attention_args {
    TRI_ATTENTION_CORE_MAPS
    /* With kMaskM: row r = b * mask_batch + (h / mask_head_div) * mask_head + i / kMaskM, the steps in rows of the
     * mask, 0 where it is shared. */
    tri_attention_blocks full, partial;
    /* [entry of partial.cols][kMaskM][words], words = (kMaskN + 31) / 32; bit j of word w: key 32 w + j of the
     * block is seen. NULL: all are. */
    const unsigned *partial_bits;
    int mask_batch, mask_head, mask_head_div;
} tri_attention_args;

#endif
