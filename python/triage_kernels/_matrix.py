"""Block-sparse matrices: three tensors."""
import threading
import weakref
from typing import Any, Dict, Optional, Tuple, Union

import torch
from torch import Tensor

from . import _native
from ._native import TriageError


def is_tensor(name: str, given: Any) -> Tensor:
    if not isinstance(given, Tensor):
        raise TriageError(f"{name} is a {type(given).__name__}; must be a Tensor")
    return given


def block_of(block: Any) -> Tuple[int, int]:
    """Rows and columns; one number is for both."""
    pair = (block, block) if isinstance(block, int) else block
    if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not all(isinstance(n, int) and n > 0 for n in pair):
        raise TriageError(f"block is {block!r}; must be a number above 0, or two: (rows, columns)")
    return pair[0], pair[1]


def _index(name: str, tensor: Tensor, device: torch.device) -> Tensor:
    """int32 and contiguous; an int64 number that does not fit is refused, not wrapped."""
    if is_tensor(name, tensor).dtype not in (torch.int32, torch.int64):
        raise TriageError(f"{name} is {tensor.dtype}; must be int32 or int64")
    if tensor.dim() != 1:
        raise TriageError(f"{name} has the shape {tuple(tensor.shape)}; must have 1 dimension")
    if tensor.device != device:
        raise TriageError(f"{name} is on {tensor.device}; must be on {device}, where values is")
    if tensor.dtype == torch.int64 and tensor.numel():
        least, most = int(tensor.min()), int(tensor.max())
        if least < 0 or most > 2**31 - 1:
            raise TriageError(f"{name} has numbers from {least} to {most}; must be 0 to 2147483647")
    return tensor.to(torch.int32).contiguous()


class BsrMatrix:
    """rows x cols elements in blocks of bm x bk, as tensors of one device.

    row_ptr [rows / bm + 1], col_idx [blocks] ascending and unique in a row of blocks: int32 or int64 (then copied), and
    not to be changed afterwards. values [blocks, bm, bk], contiguous: borrowed and never copied, so what is written to it
    counts for the next product.
    """

    def __init__(self, row_ptr: Tensor, col_idx: Tensor, values: Tensor, cols: int) -> None:
        if is_tensor("values", values).dim() != 3:
            raise TriageError(f"values has the shape {tuple(values.shape)}; must be [blocks, rows, columns of a block]")
        self.row_ptr = _index("row_ptr", row_ptr, values.device)
        self.col_idx = _index("col_idx", col_idx, values.device)
        if self.row_ptr.numel() < 2:
            raise TriageError(f"row_ptr has {self.row_ptr.numel()} numbers; must have one more than the rows of blocks")
        if self.col_idx.numel() != values.shape[0]:
            raise TriageError(f"col_idx has {self.col_idx.numel()} numbers; must have {values.shape[0]}, one for each "
                              "block of values")
        if not isinstance(cols, int) or cols < 1 or values.shape[2] < 1 or cols % values.shape[2]:
            raise TriageError(f"cols is {cols!r}; must be a multiple of {values.shape[2]}, the width of a block of values")
        self.values = values
        self.cols = cols
        weakref.finalize(self, disown_pattern, own_pattern(self.row_ptr, self.col_idx)).atexit = False

    @property
    def block(self) -> Tuple[int, int]:
        return self.values.shape[1], self.values.shape[2]

    @property
    def shape(self) -> Tuple[int, int]:
        return (self.row_ptr.numel() - 1) * self.values.shape[1], self.cols

    @property
    def nnzb(self) -> int:
        return self.values.shape[0]

    @property
    def dtype(self) -> torch.dtype:
        return self.values.dtype

    @property
    def device(self) -> torch.device:
        return self.values.device

    def __repr__(self) -> str:
        rows, cols = self.shape
        return (f"BsrMatrix({rows} x {cols}, {self.nnzb} blocks of {self.block[0]} x {self.block[1]}, {self.dtype}, "
                f"{self.device})")

    def __reduce__(self):
        return BsrMatrix, (self.row_ptr, self.col_idx, self.values, self.cols)

    @classmethod
    def from_torch(cls, bsr: Tensor) -> "BsrMatrix":
        """From a torch.sparse_bsr tensor, whose values are borrowed."""
        if is_tensor("bsr", bsr).layout is not torch.sparse_bsr or bsr.dim() != 2 or bsr.values().dim() != 3:
            raise TriageError(f"bsr is {bsr.layout} with the shape {tuple(bsr.shape)}; must be a torch.sparse_bsr "
                              "matrix")
        return cls(bsr.crow_indices(), bsr.col_indices(), bsr.values(), bsr.shape[1])

    def to_torch(self) -> Tensor:
        """A torch.sparse_bsr tensor of the same values."""
        return torch.sparse_bsr_tensor(self.row_ptr.long(), self.col_idx.long(), self.values, self.shape)

    @classmethod
    def from_dense(cls, dense: Tensor, block: Union[int, Tuple[int, int]], mask: Optional[Tensor] = None) -> "BsrMatrix":
        """The blocks of a dense matrix that mask [rows / bm, cols / bk] keeps; None: those that are not zero."""
        if is_tensor("dense", dense).dim() != 2:
            raise TriageError(f"dense has the shape {tuple(dense.shape)}; must have 2 dimensions")
        if dense.device.type == "meta":
            raise TriageError("dense is on meta; must have numbers: which blocks stay is looked up in them")
        (bm, bk), (rows, cols) = block_of(block), dense.shape
        if rows % bm or cols % bk:
            raise TriageError(f"dense is {rows} x {cols}; must be a multiple of its blocks of {bm} x {bk}")
        blocks = dense.reshape(rows // bm, bm, cols // bk, bk).transpose(1, 2)
        kept = (blocks != 0).flatten(2).any(2) if mask is None else is_tensor("mask", mask).to(device=dense.device, dtype=torch.bool)
        if kept.shape != blocks.shape[:2]:
            raise TriageError(f"mask has the shape {tuple(kept.shape)}; must be {tuple(blocks.shape[:2])}, the blocks")
        counts = torch.zeros(kept.shape[0] + 1, dtype=torch.int64, device=dense.device)
        counts[1:] = kept.sum(1).cumsum(0)
        return cls(counts, kept.nonzero()[:, 1], blocks[kept].contiguous(), cols)

    def to(self, *arguments: Any, **options: Any) -> "BsrMatrix":
        """Elsewhere or of another type, as Tensor.to says."""
        values = self.values.to(*arguments, **options)
        return BsrMatrix(self.row_ptr.to(values.device), self.col_idx.to(values.device), values, self.cols)

    def to_dense(self) -> Tensor:
        rows, cols = self.shape
        bm, bk = self.block
        dense = self.values.new_zeros(rows // bm, cols // bk, bm, bk)
        dense[self.block_rows(), self.col_idx.long()] = self.values
        return dense.transpose(1, 2).reshape(rows, cols)

    def block_rows(self) -> Tensor:
        """Of each block the row of blocks that it is in, int64."""
        return block_rows(self.row_ptr)


def block_rows(row_ptr: Tensor) -> Tensor:
    counts = row_ptr[1:] - row_ptr[:-1]
    return torch.repeat_interleave(torch.arange(counts.numel(), device=row_ptr.device), counts.long())


# ---- transposes, for gradients ----

_transposes: Dict[Tuple[Any, ...], Tuple[Tensor, ...]] = {}
MOST_TRANSPOSES = 1024


Pattern = Tuple[int, int]  # the addresses of row_ptr and col_idx
_owners: Dict[Pattern, int] = {}
_owners_lock = threading.RLock()  # a garbage collection inside may disown


def own_pattern(row_ptr: Tensor, col_idx: Tensor) -> Pattern:
    """Of objects that share a pattern the last to go takes along what is kept for it: a CUDA graph may still need that."""
    pattern = row_ptr.data_ptr(), col_idx.data_ptr()
    with _owners_lock:
        _owners[pattern] = _owners.get(pattern, 0) + 1
    return pattern


def disown_pattern(pattern: Pattern) -> None:
    with _owners_lock:
        _owners[pattern] -= 1
        if _owners[pattern] > 0:
            return
        del _owners[pattern]
    _forget(*pattern)


def _forget(row_ptr: int, col_idx: int) -> None:
    """What is kept for a pattern that lies at these addresses, and for its transpose."""
    for key in [key for key in list(_transposes) if key[:2] == (row_ptr, col_idx)]:
        found = _transposes.pop(key, None)
        if found:
            _native.forget(found[0].data_ptr(), found[1].data_ptr())
    _native.forget(row_ptr, col_idx)


def transpose_pattern(row_ptr: Tensor, col_idx: Tensor, block_cols: int) -> Tuple[Tensor, Tensor, Tensor]:
    """row_ptr and col_idx of the transposed matrix, and which block each of its blocks is. Kept, with the pattern's tensors."""
    key = (row_ptr.data_ptr(), col_idx.data_ptr(), col_idx.numel(), block_cols, row_ptr.device)
    found = _transposes.get(key)
    if found is None:
        order = torch.sort(col_idx, stable=True).indices  # rows ascend in each column already
        pointers = torch.zeros(block_cols + 1, dtype=torch.int32, device=row_ptr.device)
        pointers[1:] = torch.bincount(col_idx, minlength=block_cols).cumsum(0)
        rows = block_rows(row_ptr)[order].to(torch.int32)
        if len(_transposes) >= MOST_TRANSPOSES:
            _transposes.pop(next(iter(_transposes)), None)
        found = _transposes[key] = (pointers, rows, order, row_ptr.detach(), col_idx.detach())
    return found[:3]
