/* The operators' kernels, in the form of torch's stable ABI; operators.c lists them with their schemas. */
#ifndef TRIAGE_TORCH_OPERATORS_H
#define TRIAGE_TORCH_OPERATORS_H

#include "torch_abi.h"

torch_kernel op_bsr_linear, op_bsr_mm, op_bsr_mm_out, op_bsr_mm_choice, op_bsr_sddmm,
    op_bsr_linear_transposed;
torch_kernel op_attention, op_attention_varlen, op_attention_kvcache, op_sparse_attention, op_select_blocks;

#endif
