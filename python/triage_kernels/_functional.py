"""Products as functions."""
from typing import Any, Dict, Optional

import torch
from torch import Tensor

from ._matrix import BsrMatrix, is_tensor
from ._native import TriageError
from ._operators import LINEAR, MM, MM_CHOICE, MM_OUT, call


def _matrix(name: str, given: Any) -> BsrMatrix:
    if not isinstance(given, BsrMatrix):
        raise TriageError(f"{name} is a {type(given).__name__}; must be a BsrMatrix (BsrMatrix.from_torch makes one of a "
                          "torch.sparse_bsr tensor)")
    return given


def linear(x: Tensor, w: BsrMatrix, bias: Optional[Tensor] = None, activation: Optional[str] = None, *,
           w_scale: Optional[Tensor] = None, x_scale: Optional[Tensor] = None,
           out_dtype: Optional[torch.dtype] = None) -> Tensor:
    """act(x W^T + bias), for x [..., columns of W] whose rows lie at one step: [..., rows of W].

    x, W's values and bias are of one type, float32, float16 or bfloat16. float8_e4m3fn: W is w_scale W (1 number, or one for
    each block in their order) and x is x_scale x (1 number), float32 on the same device; None: 1; the result and bias are
    bfloat16, or out_dtype. activation: None, "relu", "gelu" (erf form), "silu".
    """
    if type(w) is not BsrMatrix or not isinstance(x, Tensor):
        w, x = _matrix("w", w), is_tensor("x", x)
    return call(LINEAR, x, w.row_ptr, w.col_idx, w.values, w.cols, bias,
                activation or "none", w_scale, x_scale, out_dtype)


def bsr_mm(a: BsrMatrix, b: Tensor, bias: Optional[Tensor] = None, activation: Optional[str] = None, *,
           a_scale: Optional[Tensor] = None, b_scale: Optional[Tensor] = None, out_dtype: Optional[torch.dtype] = None,
           alpha: float = 1.0, beta: float = 0.0, out: Optional[Tensor] = None) -> Tensor:
    """act(alpha A b + beta out + bias), for b [columns of A, n], row- or column-major: [rows of A, n].

    bias has a number for each row. out: where the result goes, which beta is for; no gradient passes through such a call.
    The rest is as in linear; e4m3 on a GPU wants b column-major, x.t() of a row-major x.
    """
    a = _matrix("a", a)
    tensors = (b, a.values, bias)
    first = (a.row_ptr, a.col_idx, a.values, a.cols, is_tensor("b", b), bias, activation or "none", a_scale, b_scale)
    for name, number in (("alpha", alpha), ("beta", beta)):
        if not isinstance(number, (int, float)):
            raise TriageError(f"{name} is a {type(number).__name__}; must be a number")
    if out is not None:
        is_tensor("out", out)
    if out is None and alpha == 1 and beta == 0:
        return call(MM, *first, out_dtype)
    if out is None and beta != 0:
        raise TriageError(f"beta is {beta} and out is not given; beta must be 0 then")
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (*tensors, out)):
        raise TriageError("a gradient is asked of a product with out, alpha or beta; must be without, or in torch.no_grad()")
    if out is None:
        dtype = out_dtype or (torch.bfloat16 if b.dtype == torch.float8_e4m3fn else b.dtype)
        out = torch.empty(a.shape[0], b.shape[-1], dtype=dtype, device=b.device)
    elif out_dtype is not None and out_dtype != out.dtype:
        raise TriageError(f"out is {out.dtype} and out_dtype is {out_dtype}; must be one type")
    call(MM_OUT, *first, float(alpha), float(beta), out)
    return out


_CHOICE = (("source", str), ("kernel", str), ("config", str), ("donor", str), ("distance", float), ("median_ns", float),
           ("expected_loss", float), ("dense_median_ns", float), ("dense_is_faster", lambda text: text == "1"))


def choice(a: BsrMatrix, b: Tensor, out: Tensor, bias: Optional[Tensor] = None, activation: Optional[str] = None, *,
           a_scale: Optional[Tensor] = None, b_scale: Optional[Tensor] = None) -> Dict[str, Any]:
    """What bsr_mm with these arguments runs, as in triage_choice: source ("exact", "predicted", "nearest", "default"), kernel,
    config, donor, distance, median_ns, expected_loss; and dense_median_ns, the stored time of the dense product of the same shape
    (0: never measured), which dense_is_faster compares. Launches nothing, out stays as it is."""
    a = _matrix("a", a)
    return choice_of(a.row_ptr, a.col_idx, a.values, a.cols, b, out, bias, activation, a_scale, b_scale)


def choice_of(row_ptr: Tensor, col_idx: Tensor, values: Tensor, cols: int, b: Tensor, out: Tensor,
              bias: Optional[Tensor] = None, activation: Optional[str] = None, a_scale: Optional[Tensor] = None,
              b_scale: Optional[Tensor] = None) -> Dict[str, Any]:
    text = call(MM_CHOICE, row_ptr, col_idx, values, cols, b, bias, activation or "none", a_scale, b_scale,
                out)
    return {name: read(word) for (name, read), word in zip(_CHOICE, text.split("\n"))}
