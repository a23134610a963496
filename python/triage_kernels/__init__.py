"""triage for PyTorch: block-sparse products by the kernels that triage tuned for the device at hand.

    import torch, triage_kernels as tk
    w = tk.BsrMatrix.from_torch(dense.to_sparse_bsr((64, 64)))
    y = tk.linear(x, w, bias, activation="silu")        # act(x W^T + bias), with gradients
    c = tk.bsr_mm(w, b)                                 # W b

CUDA tensors run on their GPU, on torch's current stream; CPU tensors on the CPU, whose kernels the system's C compiler makes
(gcc is to be installed). A call that cannot be done is a TriageError that names the operand, what it is and what is allowed.
"""
__version__ = "0.1.0"

from ._native import DEFAULT_CACHE, DEFAULT_DB, TriageError, configure, device_name
from ._matrix import BsrMatrix
from ._functional import bsr_mm, choice, linear
from ._attention import (BlockMask, attention, attention_kvcache, attention_varlen, from_block_mask,
                         register_with_transformers, scaled_dot_product_attention, select_blocks)
from ._modules import BlockSparseLinear, sparsify_
from ._record import AttentionShape, Shape, record, tune

__all__ = ["AttentionShape", "BlockMask", "BlockSparseLinear", "BsrMatrix", "DEFAULT_CACHE", "DEFAULT_DB", "Shape", "TriageError", "__version__", "attention",
           "attention_kvcache", "attention_varlen", "bsr_mm", "choice", "configure", "device_name", "from_block_mask",
           "linear", "record", "register_with_transformers", "scaled_dot_product_attention", "select_blocks",
           "sparsify_", "tune"]
