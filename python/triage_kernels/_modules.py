"""Block-sparse layers."""
import weakref
from typing import Any, Callable, Dict, List, Optional, Tuple, Union

import torch
from torch import Tensor, nn

from ._matrix import BsrMatrix, block_of, disown_pattern, own_pattern
from ._native import TriageError
from ._operators import LINEAR, call

Pattern = Union[str, Tensor]


def _kept_blocks(weight: Tensor, block: Tuple[int, int], sparsity: float, pattern: Pattern,
                 generator: Optional[torch.Generator] = None) -> Tensor:
    """[rows of blocks, columns of blocks], bool."""
    if weight.device.type == "meta":
        raise TriageError("weight is on meta; must have numbers: which blocks stay is looked up in them")
    (rows, cols), (bm, bk) = weight.shape, block
    if rows % bm or cols % bk:
        raise TriageError(f"weight is {rows} x {cols}; must be a multiple of its blocks of {bm} x {bk}")
    sizes = rows // bm, cols // bk
    if isinstance(pattern, Tensor):
        if tuple(pattern.shape) != sizes:
            raise TriageError(f"pattern has the shape {tuple(pattern.shape)}; must be {sizes}, the blocks")
        return pattern.to(device=weight.device, dtype=torch.bool)
    if not 0 <= sparsity <= 1:
        raise TriageError(f"sparsity is {sparsity}; must be 0 to 1")
    count = round((1 - sparsity) * sizes[0] * sizes[1])
    if pattern == "magnitude":
        scores = weight.detach().float().reshape(sizes[0], bm, sizes[1], bk).square().sum((1, 3))
    elif pattern == "random":
        scores = torch.rand(sizes, generator=generator).to(weight.device)
    else:
        raise TriageError(f"pattern is {pattern!r}; must be 'magnitude', 'random' or a mask of the blocks")
    kept = torch.zeros(sizes[0] * sizes[1], dtype=torch.bool, device=weight.device)
    kept[scores.flatten().topk(count).indices] = True
    return kept.view(sizes)


def _in_rows(x: Tensor) -> Tensor:
    """A layer takes what nn.Linear takes: rows at one step as they lie, what lies otherwise as a copy."""
    if not torch.compiler.is_compiling() and x.dim() == 2 and x.stride(1) == 1 and x.stride(0) >= x.shape[1]:
        return x if x.storage_offset() * x.element_size() % 16 == 0 else x.contiguous()
    return x.contiguous()


def _drop(taken: List[Tuple[int, int]]) -> None:
    while taken:
        disown_pattern(taken.pop())


class BlockSparseLinear(nn.Module):
    """y = act(x W^T + bias) with W block-sparse.

    values [blocks, bm, bk] and bias are parameters; row_ptr and col_idx are buffers and part of the state: a state of another
    pattern with as many blocks can be loaded, and one with another number of blocks is loaded with the sizes of the state.
    """

    row_ptr: Tensor
    col_idx: Tensor

    def __init__(self, matrix: BsrMatrix, bias: Optional[Tensor] = None, activation: Optional[str] = None) -> None:
        super().__init__()
        self.out_features, self.in_features = matrix.shape
        self.activation = activation
        self.values = nn.Parameter(matrix.values.detach())
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone())
        self._taken: List[Tuple[int, int]] = []
        self.register_buffer("row_ptr", matrix.row_ptr.clone())
        self.register_buffer("col_idx", matrix.col_idx.clone())
        self._watch()

    def _watch(self) -> None:
        """What the operators keep for a pattern goes with it, or with the layer."""
        pattern = own_pattern(self.row_ptr, self.col_idx)
        _drop(self._taken)
        self._taken.append(pattern)
        if "_finalizer" not in self.__dict__:
            self.__dict__["_finalizer"] = weakref.finalize(self, _drop, self._taken)
            self.__dict__["_finalizer"].atexit = False

    @classmethod
    def from_linear(cls, linear: nn.Linear, block: Union[int, Tuple[int, int]] = 64, sparsity: float = 0.9,
                    pattern: Pattern = "magnitude", activation: Optional[str] = None,
                    generator: Optional[torch.Generator] = None) -> "BlockSparseLinear":
        """The blocks of a dense layer that stay: those of the largest sum of squares, random ones, or those of a mask
        [out / bm, in / bk]."""
        if not isinstance(linear, nn.Linear):
            raise TriageError(f"linear is a {type(linear).__name__}; must be a torch.nn.Linear")
        block = block_of(block)
        kept = _kept_blocks(linear.weight, block, sparsity, pattern, generator)
        return cls(BsrMatrix.from_dense(linear.weight.detach(), block, kept), linear.bias, activation).train(linear.training)

    @property
    def block(self) -> Tuple[int, int]:
        return self.values.shape[1], self.values.shape[2]

    @property
    def matrix(self) -> BsrMatrix:
        """The weight as it is now; its values are the parameter's memory."""
        return BsrMatrix(self.row_ptr, self.col_idx, self.values.detach(), self.in_features)

    def to_linear(self) -> nn.Linear:
        """The dense layer of the same function, without the activation."""
        linear = nn.Linear(self.in_features, self.out_features, self.bias is not None, self.values.device, self.values.dtype)
        with torch.no_grad():
            linear.weight.copy_(self.matrix.to_dense())
            if self.bias is not None:
                linear.bias.copy_(self.bias)
        return linear

    @torch.no_grad()
    def repattern_(self, pattern: Pattern = "magnitude", sparsity: Optional[float] = None, fill: float = 0.0,
                   generator: Optional[torch.Generator] = None) -> "BlockSparseLinear":
        """Takes another pattern; blocks that stay keep their values, new ones are filled. pattern, sparsity (None: as it is):
        as in from_linear, a mask being the usual one. values is a new parameter: optimizers are to be told. Returns self."""
        dense = self.matrix.to_dense()
        (bm, bk), (rows, cols) = self.block, dense.shape
        blocks = (rows // bm) * (cols // bk)
        kept = _kept_blocks(dense, self.block, 1 - self.values.shape[0] / blocks if sparsity is None else sparsity, pattern,
                            generator)
        if fill:
            here = self.matrix
            ones = BsrMatrix(here.row_ptr, here.col_idx, torch.ones_like(here.values), cols).to_dense()
            dense = torch.where(ones.bool(), dense, torch.full_like(dense, fill))
        other = BsrMatrix.from_dense(dense, self.block, kept)
        self.values = nn.Parameter(other.values, self.values.requires_grad)
        self.row_ptr, self.col_idx = other.row_ptr, other.col_idx
        self._watch()
        return self

    def forward(self, x: Tensor) -> Tensor:
        x = x if x.is_contiguous() else _in_rows(x)
        parameters, buffers = self._parameters, self._buffers  # self.values: Module looks for it in vain first, 0.3 us each
        return call(LINEAR, x, buffers["row_ptr"], buffers["col_idx"],
                    parameters["values"] if "values" in parameters else self.values, self.in_features,
                    parameters["bias"] if "bias" in parameters else self.bias, self.activation or "none")

    def extra_repr(self) -> str:
        return (f"in_features={self.in_features}, out_features={self.out_features}, block={self.block}, "
                f"blocks={self.values.shape[0]}, bias={self.bias is not None}, activation={self.activation}")

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> "BlockSparseLinear":
        super()._apply(fn, recurse)
        self._watch()
        return self

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *arguments: Any) -> None:
        """In new tensors: what is known of a pattern is known by where it lies."""
        state = {name: state_dict.get(prefix + name) for name in ("row_ptr", "col_idx", "values")}
        if all(tensor is not None for tensor in state.values()):
            if state["row_ptr"].shape == self.row_ptr.shape and state["values"].shape[1:] == self.values.shape[1:]:
                like = self.values
                self.row_ptr, self.col_idx = (torch.empty_like(state[name], device=like.device) for name in ("row_ptr", "col_idx"))
                if state["values"].shape != like.shape:
                    self.values = nn.Parameter(like.new_empty(state["values"].shape), like.requires_grad)
        super()._load_from_state_dict(state_dict, prefix, *arguments)
        self._watch()

    def __getstate__(self) -> Any:
        return {name: value for name, value in self.__dict__.items() if name not in ("_finalizer", "_taken")}

    def __setstate__(self, state: Any) -> None:
        super().__setstate__(state)
        self._taken = []
        self._watch()


def sparsify_(model: nn.Module, select: Callable[[str, nn.Linear], bool] = lambda name, layer: True,
              block: Union[int, Tuple[int, int]] = 64, sparsity: float = 0.9, pattern: str = "magnitude") -> List[str]:
    """Replaces the nn.Linear layers of a model that select(name, layer) chooses by block-sparse ones, in place. Layers whose
    sizes are no multiple of the block stay as they are. Returns the names of those replaced."""
    if not isinstance(model, nn.Module) or isinstance(model, nn.Linear):
        raise TriageError(f"model is a {type(model).__name__}; must be a Module that holds the layers (a layer alone: "
                          "BlockSparseLinear.from_linear)")
    bm, bk = block_of(block)
    chosen = [(name, layer) for name, layer in model.named_modules(remove_duplicate=False)
              if type(layer) is nn.Linear and select(name, layer)
              and layer.out_features % bm == 0 and layer.in_features % bk == 0]
    made: Dict[nn.Linear, BlockSparseLinear] = {}  # a layer at two places stays one
    for name, layer in chosen:
        if layer not in made:
            made[layer] = BlockSparseLinear.from_linear(layer, (bm, bk), sparsity, pattern)
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, made[layer])
    return [name for name, _ in chosen]
