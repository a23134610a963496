"""Attention: softmax(scale Q K^T + mask) V, forward only."""
import logging
from typing import Any, Optional, Tuple, Union

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask as FlexMask

from ._matrix import block_of, is_tensor
from ._native import TriageError
from ._operators import ATTENTION, KVCACHE, SELECT, SPARSE, VARLEN, call, check_devices

Window = Tuple[Optional[int], Optional[int]]
log = logging.getLogger("triage_kernels")


# ---- fake kernels; no gradients ----

def _results(q: Tensor, k: Tensor, v: Tensor, lse: bool) -> Tuple[Tensor, Tensor]:
    check_devices("q", q, k=k, v=v)
    dtype = torch.bfloat16 if q.dtype == torch.float8_e4m3fn else q.dtype
    sizes = (*q.shape[:-1], v.shape[-1])
    if q.dim() == 4 and q.stride(1) < q.stride(2):  # rows hold their heads: so does the result
        o = q.new_empty((sizes[0], sizes[2], sizes[1], sizes[3]), dtype=dtype).transpose(1, 2)
    else:
        o = q.new_empty(sizes, dtype=dtype)
    rows = sizes[:3] if q.dim() == 4 else (sizes[1], sizes[0])
    return o, q.new_empty(rows if lse else (0,), dtype=torch.float32)


@torch.library.register_fake("triage::attention")
def _(q, k, v, mask="full", left=-1, right=-1, scale=0.0, softcap=0.0, lse=False, q_scale=None,
      k_scale=None, v_scale=None):
    return _results(q, k, v, lse)


@torch.library.register_fake("triage::attention_varlen")
def _(q, k, v, cu_q, cu_k, max_q, max_k, mask="full", left=-1, right=-1, scale=0.0, softcap=0.0, lse=False, q_scale=None,
      k_scale=None, v_scale=None):
    return _results(q, k, v, lse)


@torch.library.register_fake("triage::attention_kvcache")
def _(q, k, v, len_k, pages=None, splits=0, mask="full", left=-1, right=-1, scale=0.0, softcap=0.0, lse=False, q_scale=None,
      k_scale=None, v_scale=None):
    return _results(q, k, v, lse)


@torch.library.register_fake("triage::sparse_attention")
def _(q, k, v, full_count, full_cols, partial_count, partial_cols, partial_bits, block_q, block_k, density=0.1, mask="full",
      left=-1, right=-1, scale=0.0, softcap=0.0, lse=False, q_scale=None, k_scale=None, v_scale=None):
    return _results(q, k, v, lse)


@torch.library.register_fake("triage::select_blocks")
def _(q, k, block_q, block_k, top, per_kv_head=False, mask="full", left=-1, right=-1):
    rows = (q.shape[0], k.shape[1] if per_kv_head else q.shape[1], -(-q.shape[2] // block_q))
    return q.new_empty(rows, dtype=torch.int32), q.new_empty((*rows, top), dtype=torch.int32)


_NO_GRADIENT = "triage: a gradient is asked of attention; it has none: must be in torch.no_grad() or inference mode"


def _refuse_gradient(ctx, *_, **__):
    raise RuntimeError(_NO_GRADIENT)


for _name in ("attention", "attention_varlen", "attention_kvcache", "sparse_attention", "select_blocks"):
    torch.library.register_autograd(f"triage::{_name}", _refuse_gradient, setup_context=_refuse_gradient)


# ---- block masks ----

class BlockMask:
    """Which blocks of keys each block of queries sees: lists as torch's BlockMask has them.

    full_count [batch or 1, heads or 1, blocks of queries] and full_cols [.., capacity]: blocks that are seen whole;
    partial_count, partial_cols: those of which partial_bits [.., capacity, block_q, words of 32 keys] tells which keys, bit j
    of word w for key 32 w + j; None: all. int32. heads: 1, those of K, or those of Q.
    """

    def __init__(self, block: Tuple[int, int], full_count: Optional[Tensor] = None, full_cols: Optional[Tensor] = None,
                 partial_count: Optional[Tensor] = None, partial_cols: Optional[Tensor] = None,
                 partial_bits: Optional[Tensor] = None, density: float = 0.1) -> None:
        self.block, self.density = block_of(block), density
        self.full_count, self.full_cols = full_count, full_cols
        self.partial_count, self.partial_cols, self.partial_bits = partial_count, partial_cols, partial_bits
        for name, count, cols in (("full", full_count, full_cols), ("partial", partial_count, partial_cols)):
            if count is not None and count.numel() and not 0 <= int(count.min()) <= int(count.max()) <= cols.shape[-1]:
                raise TriageError(f"{name}_count has numbers from {int(count.min())} to {int(count.max())}; must be 0 to "
                                  f"{cols.shape[-1]}, the capacity of {name}_cols")

    def check(self, keys: int) -> None:
        """The lists may name only blocks that are there. Reads them back: once, not for each call."""
        most = -(-keys // self.block[1])
        for name, count, cols in (("full", self.full_count, self.full_cols), ("partial", self.partial_count, self.partial_cols)):
            if count is None:
                continue
            used = cols[torch.arange(cols.shape[-1], device=cols.device) < count[..., None]]
            if used.numel() and not 0 <= int(used.min()) <= int(used.max()) < most:
                raise TriageError(f"{name}_cols names blocks {int(used.min())} to {int(used.max())}; must be 0 to {most - 1}")


def _lists(count: Optional[Tensor], cols: Optional[Tensor]) -> Tuple[Optional[Tensor], Optional[Tensor]]:
    """Without the places that no row uses."""
    if count is None:
        return None, None
    capacity = max(1, int(count.max()) if count.numel() else 0)
    return count.to(torch.int32).contiguous(), cols[..., :capacity].to(torch.int32).contiguous()


def _bits(mask_mod: Any, cols: Tensor, block: Tuple[int, int]) -> Tensor:
    """What mask_mod says of each pair of the listed blocks."""
    device, (bq, bk) = cols.device, block
    batch, heads, rows, capacity = cols.shape
    at = [torch.arange(size, device=device).view([-1 if i == axis else 1 for i in range(6)])
          for axis, size in enumerate((batch, heads, rows, capacity, bq, bk))]
    keys = cols.long()[..., None, None] * bk + at[5]
    seen = mask_mod(at[0], at[1], at[2] * bq + at[4], keys).expand(batch, heads, rows, capacity, bq, bk)
    words = torch.nn.functional.pad(seen.to(torch.int64), (0, -bk % 32)).unflatten(-1, (-1, 32))
    word = (words << torch.arange(32, device=device)).sum(-1)
    return torch.where(word >= 2**31, word - 2**32, word).to(torch.int32).contiguous()


def from_block_mask(flex: Any) -> BlockMask:
    """From torch.nn.attention.flex_attention's BlockMask; its mask_mod is asked once, for the partial blocks, whose memory is
    block_q * block_k / 8 bytes each."""
    if not isinstance(flex, FlexMask):
        raise TriageError(f"block_mask is a {type(flex).__name__}; must be a BlockMask, triage's or flex_attention's")
    block = tuple(flex.BLOCK_SIZE)
    if any(size not in (16, 32, 64, 128) for size in block):
        raise TriageError(f"the block mask has blocks of {block}; must be 16, 32, 64 or 128 each")
    partial_count, partial_cols = _lists(flex.kv_num_blocks, flex.kv_indices)
    full_count, full_cols = _lists(flex.full_kv_num_blocks, flex.full_kv_indices)
    bits = _bits(flex.mask_mod, partial_cols, block) if flex.mask_mod is not None else None
    named = sum(int(count.sum()) for count in (full_count, partial_count) if count is not None)
    places = partial_count.numel() * max(1, -(-flex.seq_lengths[1] // block[1]))
    mask = BlockMask(block, full_count, full_cols, partial_count, partial_cols, bits, min(1.0, named / max(1, places)))
    mask.check(flex.seq_lengths[1])
    return mask


def select_blocks(q: Tensor, k: Tensor, top: int, block: Union[int, Tuple[int, int]] = 64, *, causal: bool = False,
                  window: Optional[Window] = None, per_kv_head: bool = False, layout: str = "bhsd") -> BlockMask:
    """The best blocks: for each block of queries the `top` blocks of keys with the largest product of the mean query and the mean
    key; with a mask also the block at the row's own place. To be given to attention with the same causal and window.

    block: 16, 32, 64 or 128, or two of these (queries, keys). per_kv_head: one choice for all heads of q that share one of k.
    Made on the device, nothing is read back: a CUDA graph replays it. float8_e4m3fn, too.
    """
    q, k = _heads_first(layout, is_tensor("q", q), is_tensor("k", k))
    mask = BlockMask(block_of(block))
    with torch.no_grad():
        mask.full_count, mask.full_cols = call(SELECT, q, k, *mask.block, top, per_kv_head,
                                               *_mask(causal, window))
    mask.density = min(1.0, top / max(1, -(-k.shape[2] // mask.block[1])))
    return mask


# ---- functions ----

_MASKS = {False: ("full", -1, -1), True: ("causal", -1, -1), "top_left": ("causal_top_left", -1, -1)}


def _mask(causal: Union[bool, str], window: Optional[Window]) -> Tuple[str, int, int]:
    if causal not in (False, True, "top_left"):
        raise TriageError(f"causal is {causal!r}; must be False, True or 'top_left'")
    if window is None:
        return _MASKS[causal]
    if causal == "top_left":
        raise TriageError("causal is 'top_left' with a window; must be False or True")
    if not isinstance(window, (tuple, list)) or len(window) != 2 or not all(s is None or isinstance(s, int) for s in window):
        raise TriageError(f"window is {window!r}; must be None, or two numbers of keys: (left, right), None for open")
    left, right = (-1 if side is None else side for side in window)
    return "window", left, 0 if causal else right


def _options(causal, window, scale, softcap, return_lse) -> Tuple[Any, ...]:
    if scale is not None and not (isinstance(scale, (int, float)) and scale > 0):
        raise TriageError(f"scale is {scale!r}; must be above 0, or None for 1 / sqrt(head dimension)")
    if softcap is not None and not (isinstance(softcap, (int, float)) and softcap >= 0):
        raise TriageError(f"softcap is {softcap!r}; must be above 0, or None or 0 for none")
    return *_mask(causal, window), float(scale or 0), float(softcap or 0), bool(return_lse)


def _scales(like: Tensor, k: Tensor, scales: Tuple[Optional[Tensor], ...], less: int = 0) -> Tuple[Optional[Tensor], ...]:
    """[as long as like, less so many; KV heads]; one number is for all. Nothing, as is usual: nothing is to be passed on."""
    if scales[0] is None and scales[1] is None and scales[2] is None:
        return ()
    return tuple(s.expand(like.shape[0] - less, k.shape[1]).contiguous() if isinstance(s, Tensor) and s.numel() == 1 else s
                 for s in scales)


def _finish(result: Tuple[Tensor, Tensor], layout: str, return_lse: bool) -> Union[Tensor, Tuple[Tensor, Tensor]]:
    o = result[0].transpose(1, 2) if layout == "bshd" else result[0]
    return (o, result[1]) if return_lse else o


def _heads_first(layout: str, *tensors: Tensor) -> Tuple[Tensor, ...]:
    if layout not in ("bhsd", "bshd"):
        raise TriageError(f"layout is {layout!r}; must be 'bhsd' or 'bshd'")
    if layout == "bhsd":
        return tensors
    return tuple(t.transpose(1, 2) if is_tensor("q, k or v", t).dim() == 4 else t for t in tensors)


def attention(q: Tensor, k: Tensor, v: Tensor, *, causal: Union[bool, str] = False, window: Optional[Window] = None,
              scale: Optional[float] = None, softcap: Optional[float] = None, block_mask: Any = None, layout: str = "bhsd",
              return_lse: bool = False, q_scale: Optional[Tensor] = None, k_scale: Optional[Tensor] = None,
              v_scale: Optional[Tensor] = None) -> Union[Tensor, Tuple[Tensor, Tensor]]:
    """softmax(scale Q K^T + mask) V for q [batch, heads, queries, d], k and v [batch, KV heads, keys, d or d_v].

    layout "bshd": [batch, rows, heads, d] instead, for all and the result. Strides are free but for the last dimension's;
    the number of heads of q is a multiple of that of k. float16, bfloat16, float32 (slow on a GPU), float8_e4m3fn (the result
    is bfloat16). causal: True lets the last query see the last key, "top_left" the first the first. window (left, right): keys
    beside a query's own place, None: open. softcap c: scores are c tanh(score / c). block_mask: a BlockMask, or one of
    flex_attention, which is converted anew in each call, or what select_blocks gives. q_scale, k_scale, v_scale: of float8_e4m3fn,
    float32 [batch, KV heads] or 1 number: q stands for q_scale q, its KV head's; None: 1. return_lse: also the log-sum-exp [batch, heads, queries], float32.
    No gradient: asking one is a TriageError.
    """
    q, k, v = _heads_first(layout, q, k, v)
    options = _options(causal, window, scale, softcap, return_lse)
    options += _scales(q, k, (q_scale, k_scale, v_scale))
    if block_mask is None:
        return _finish(call(ATTENTION, q, k, v, *options), layout, return_lse)
    if not isinstance(block_mask, BlockMask):
        block_mask = from_block_mask(block_mask)
    m = block_mask
    result = call(SPARSE, q, k, v, m.full_count, m.full_cols, m.partial_count,
                  m.partial_cols, m.partial_bits, *m.block, m.density, *options)
    return _finish(result, layout, return_lse)


def attention_varlen(q: Tensor, k: Tensor, v: Tensor, cu_q: Tensor, cu_k: Tensor, max_q: int, max_k: int, *,
                     causal: Union[bool, str] = False, window: Optional[Window] = None, scale: Optional[float] = None,
                     softcap: Optional[float] = None, return_lse: bool = False, q_scale: Optional[Tensor] = None,
                     k_scale: Optional[Tensor] = None, v_scale: Optional[Tensor] = None) -> Union[Tensor, Tuple[Tensor, Tensor]]:
    """Sequences one after another: q [rows, heads, d], k and v [rows, KV heads, d]; sequence i has the rows cu_q[i] to
    cu_q[i + 1] - 1 and keys by cu_k, int32 on q's device, not read back: they must ascend from 0 to the rows that there are.
    max_q, max_k: rows of the longest. The log-sum-exp is [heads, rows]. q_scale, k_scale, v_scale: as in attention, for each
    sequence."""
    options = _options(causal, window, scale, softcap, return_lse)
    options += _scales(cu_q, k, (q_scale, k_scale, v_scale), 1)
    result = call(VARLEN, q, k, v, cu_q, cu_k, max_q, max_k, *options)
    return _finish(result, "thd", return_lse)


def attention_kvcache(q: Tensor, k_cache: Tensor, v_cache: Tensor, len_k: Tensor, pages: Optional[Tensor] = None, *,
                      causal: Union[bool, str] = False, window: Optional[Window] = None, scale: Optional[float] = None,
                      softcap: Optional[float] = None, layout: str = "bhsd", splits: int = 0,
                      return_lse: bool = False, q_scale: Optional[Tensor] = None, k_scale: Optional[Tensor] = None,
                      v_scale: Optional[Tensor] = None) -> Union[Tensor, Tuple[Tensor, Tensor]]:
    """Against a cache: k_cache and v_cache [batch, KV heads, room, d], of which the first len_k [batch] keys are in use; or
    pages [batch, most pages of a sequence], int32: then they are [pages, KV heads, page, d]. layout "bshd" as in attention.
    splits: 1 to 256 for results that do not depend on the batch; 0: as is fastest. q_scale, k_scale, v_scale: as in attention."""
    q, k_cache, v_cache = _heads_first(layout, q, k_cache, v_cache)
    options = _options(causal, window, scale, softcap, return_lse)
    options += _scales(q, k_cache, (q_scale, k_scale, v_scale))
    result = call(KVCACHE, q, k_cache, v_cache, len_k, pages, splits, *options)
    return _finish(result, layout, return_lse)


# ---- in the place of torch's and transformers' ----

def _missing(q: Tensor, k: Tensor, v: Tensor, attn_mask: Any, dropout_p: float) -> Optional[str]:
    """What triage's attention does not have of such a call; None: it has all."""
    if attn_mask is not None:
        return "attn_mask"
    if dropout_p:
        return "dropout_p"
    if torch.is_grad_enabled() and any(t.requires_grad for t in (q, k, v)):
        return "a gradient"
    if q.dtype not in (torch.float16, torch.bfloat16, torch.float32) or q.dtype != k.dtype or q.dtype != v.dtype:
        return f"{q.dtype}, {k.dtype}, {v.dtype}"
    if q.dtype == torch.float32 and q.is_cuda:
        return "float32 on a GPU"
    if q.device.type not in ("cpu", "cuda"):
        return f"the device {q.device}"
    if q.dim() != 4 or k.dim() != 4 or not 1 <= max(q.shape[-1], v.shape[-1]) <= 256 or q.shape[0] != k.shape[0]:
        return f"the shapes {tuple(q.shape)} and {tuple(k.shape)}"
    return None


def scaled_dot_product_attention(query: Tensor, key: Tensor, value: Tensor, attn_mask: Optional[Tensor] = None,
                                 dropout_p: float = 0.0, is_causal: bool = False, scale: Optional[float] = None,
                                 enable_gqa: bool = False) -> Tensor:
    """torch.nn.functional's, by triage's kernels; what they do not have is computed by torch's, and the log (of
    triage_kernels, level INFO) names it."""
    missing = _missing(query, key, value, attn_mask, dropout_p)
    if not missing and not enable_gqa and query.shape[1] != key.shape[1]:
        missing = "heads that differ without enable_gqa"
    if scale is not None and not scale > 0:
        missing = f"scale {scale}"
    if missing:
        log.info("scaled_dot_product_attention by torch: triage's has no %s", missing)
        return torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask, dropout_p, is_causal,
                                                                scale=scale, enable_gqa=enable_gqa)
    rows = [t if t.stride(-1) == 1 else t.contiguous() for t in (query, key, value)]
    return attention(*rows, causal="top_left" if is_causal else False, scale=scale)


def _transformers_attention(module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Optional[Tensor],
                            scaling: Optional[float] = None, dropout: float = 0.0, is_causal: Optional[bool] = None,
                            softcap: Optional[float] = None, s_aux: Optional[Tensor] = None,
                            **_: Any) -> Tuple[Tensor, None]:
    """A sliding window comes as attention_mask, where it matters."""
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    causal = bool(causal and attention_mask is None and query.shape[2] > 1)
    dropout = dropout if module.training else 0.0
    if s_aux is not None:
        raise TriageError("s_aux is given; attention sinks are not to be had: must be another attn_implementation")
    missing = _missing(query, key, value, attention_mask, dropout)
    if softcap and missing:
        raise TriageError(f"softcap is {softcap} together with {missing}; must be without, or another attn_implementation")
    if softcap:
        o = attention(query, key, value, causal="top_left" if causal else False, scale=scaling, softcap=softcap)
    else:
        o = scaled_dot_product_attention(query, key, value, attention_mask, dropout, causal, scale=scaling,
                                         enable_gqa=query.shape[1] != key.shape[1])
    return o.transpose(1, 2).contiguous(), None


def register_with_transformers(name: str = "triage") -> None:
    """Lets models of Hugging Face's transformers be made with attn_implementation=name."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask
    AttentionInterface.register(name, _transformers_attention)
    AttentionMaskInterface.register(name, sdpa_mask)
