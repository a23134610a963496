"""Which products and attention a model asks for, and tuning them."""
import contextlib
import pathlib
import subprocess
import tempfile
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple, Union

import torch
from torch import Tensor

from . import _native, _operators
from ._functional import choice_of
from ._native import TriageError

_NAMES = {torch.float32: "f32", torch.float16: "f16", torch.bfloat16: "bf16", torch.float8_e4m3fn: "e4m3"}


class Shape(NamedTuple):
    """One kind of product, C = A B with A [m, k] block-sparse and B [k, n]."""
    m: int
    n: int
    k: int
    block: Tuple[int, int]
    dtype: torch.dtype
    out_dtype: torch.dtype
    layout: str  # of B and C: "col" for linear
    device: torch.device
    row_ptr: Tensor
    col_idx: Tensor
    source: str  # of its kernel when it was first asked: "exact" where it was tuned (choice has the others); of a gradient: ""
    product: str = "forward"  # or a gradient's, of the same matrix: "x_gradient", "values_gradient"

    @property
    def is_tuned(self) -> bool:
        return self.source == "exact"


class AttentionShape(NamedTuple):
    """One kind of attention; options: what triage_tune takes beside its shape (mask, lengths, soft cap)."""
    batch: int
    heads_q: int
    heads_kv: int
    queries: int
    keys: int
    head: int
    head_v: int
    dtype: torch.dtype
    options: Tuple[str, ...]
    device: torch.device

    @property
    def is_tuned(self) -> bool:
        return False  # not asked


def _mask_options(mask: str, left: int, right: int, scale: float, softcap: float, lse: bool) -> List[str]:
    """scale: kernels take any."""
    if mask == "window":
        mask = "window:" + ",".join("-" if side < 0 else str(side) for side in (left, right))
    return ["--mask", mask] + (["--softcap", str(softcap)] if softcap > 0 else []) + (["--lse"] if lse else [])


def _note_attention(seen: Dict[Any, Any], op: Any, arguments: Tuple[Any, ...]) -> None:
    """Dense, of a cache, and with a mask of blocks, which is tuned for random blocks of the same density. Sequences of many
    lengths are not recorded: their lengths are on the device."""
    ops = _operators.ops
    q, k, v = arguments[:3]
    batch, heads_q, queries, head = q.shape if q.dim() == 4 else (0, 0, 0, 0)
    keys, options = k.shape[-2], []
    if op is ops.attention.default:
        options = _mask_options(*arguments[3:9])
    elif op is ops.attention_kvcache.default:
        pages, splits = arguments[4:6]
        options = _mask_options(*arguments[6:12])
        options += ["--lengths", "cache"] if pages is None else ["--paged", str(keys)]
        keys = keys if pages is None else keys * pages.shape[1]
        batch, options = (1, options + ["--splits", str(splits)]) if splits > 0 else (batch, options)
    elif op is ops.sparse_attention.default and arguments[7] is None:
        options = _mask_options(*arguments[11:17])
        blocks = f"random-blocks:{max(0.0, 1 - arguments[10]):.4g}"
        options[1] = blocks if options[1] == "full" else options[1] + "+" + blocks
        options += ["--mask-block", "%dx%d" % tuple(arguments[8:10])]
    if options and q.numel() and keys:
        shape = AttentionShape(batch, heads_q, k.shape[1], queries, keys, head, v.shape[-1], q.dtype, tuple(options), q.device)
        seen[shape] = shape


def _key(row_ptr: Tensor, col_idx: Tensor, b: Tensor, out_dtype: Any, layout: str) -> Tuple[Any, ...]:
    return row_ptr.data_ptr(), col_idx.data_ptr(), b.shape[1], b.dtype, out_dtype, layout, b.device


def _note_gradient(seen: Dict[Any, Any], op: Any, arguments: Tuple[Any, ...]) -> None:
    """Whether it is tuned is not asked: triage_tune answers from its database then."""
    grad, row_ptr, col_idx, values, cols = arguments[0], *arguments[-4:]
    product = "values_gradient" if op is _operators.ops.bsr_sddmm.default else "x_gradient"
    b = grad.detach().reshape(-1, grad.shape[-1]).t()
    key = _key(row_ptr, col_idx, b, b.dtype, product)
    if b.numel() and col_idx.numel() and key not in seen:
        seen[key] = Shape(b.shape[0], b.shape[1], cols, tuple(values.shape[1:]), b.dtype, b.dtype, "col", b.device, row_ptr,
                          col_idx, "", product)


def _note(seen: Dict[Any, Any], op: Any, arguments: Tuple[Any, ...]) -> None:
    """Of products, their gradients and attention; a product whose B is column-major and C row-major has no option of triage_tune's."""
    ops = _operators.ops
    if op is ops.bsr_linear.default:
        x, row_ptr, col_idx, values, cols = arguments[:5]
        b, layout = x.detach().reshape(-1, x.shape[-1]).t(), "col"
    elif op is ops.bsr_mm.default:
        row_ptr, col_idx, values, cols, b = arguments[:5]
        b, layout = b.detach(), "row"
        if b.stride(1) != 1 and b.shape[1] != 1:
            return
    else:
        if op in (ops.bsr_linear_transposed.default, ops.bsr_sddmm.default):
            _note_gradient(seen, op, arguments)
        if op in (ops.attention.default, ops.attention_kvcache.default, ops.sparse_attention.default):
            _note_attention(seen, op, arguments)
        return  # the other operators, bsr_mm_choice below among them
    out_dtype = arguments[9] if len(arguments) > 9 else None
    out_dtype = out_dtype or (torch.bfloat16 if b.dtype == torch.float8_e4m3fn else b.dtype)
    key = _key(row_ptr, col_idx, b, out_dtype, layout)
    if key in seen or b.numel() == 0:
        return
    m, n = (row_ptr.numel() - 1) * values.shape[1], b.shape[1]
    out = b.new_empty((n, m) if layout == "col" else (m, n), dtype=out_dtype)
    out = out.t() if layout == "col" else out
    source = choice_of(row_ptr, col_idx, values.detach(), cols, b, out)["source"]
    seen[key] = Shape(m, n, cols, tuple(values.shape[1:]), b.dtype, out_dtype, layout, b.device, row_ptr, col_idx, source)


@contextlib.contextmanager
def record() -> Iterator[List[Union[Shape, AttentionShape]]]:
    """Notes the block-sparse products, those of their gradients, and the attention that are asked for inside, in all threads,
    each kind once; the list is filled at the end. What runs in a compiled graph is not seen: record before torch.compile.
    Sequences of many lengths (attention_varlen) and masks with bits are not recorded, nor a gradient of x for which a
    transposed copy is made."""
    seen: Dict[Any, Any] = {}
    shapes: List[Union[Shape, AttentionShape]] = []
    before = _operators.observer

    def observe(op: Any, arguments: Tuple[Any, ...]) -> None:
        _note(seen, op, arguments)
        if before is not None:  # a record around this one
            before(op, arguments)
    _operators.observer = observe
    try:
        yield shapes
    finally:
        _operators.observer = before
        shapes.extend(seen.values())


def _write_pattern(path: pathlib.Path, shape: Shape) -> None:
    row_ptr, col_idx = shape.row_ptr.tolist(), shape.col_idx.tolist()
    path.write_text(f"{len(row_ptr) - 1}, {shape.k // shape.block[1]}, {len(col_idx)}\n"
                    + " ".join(map(str, row_ptr)) + "\n" + " ".join(map(str, col_idx)) + "\n")


def _problem(shape: Union[Shape, AttentionShape], pattern: pathlib.Path) -> List[str]:
    if isinstance(shape, AttentionShape):
        return ["--op", "attention", "--shape", ",".join(map(str, shape[:7])), *shape.options]
    _write_pattern(pattern, shape)
    of = {"forward": [], "x_gradient": ["--transposed"], "values_gradient": ["--op", "bsr_sddmm"]}[shape.product]
    return [*of, "--pattern", str(pattern), "--block", "%dx%d" % shape.block, "--n", str(shape.n), "--out-dtype",
            _NAMES[shape.out_dtype], "--layout", shape.layout]


def _command(shape: Union[Shape, AttentionShape], pattern: pathlib.Path, db_path: str, limits: List[str]) -> List[str]:
    device = "host" if shape.device.type == "cpu" else f"cuda:{shape.device.index or 0}"
    return [str(_native.folder.parent / "bin" / "triage_tune"), *_problem(shape, pattern), "--dtype", _NAMES[shape.dtype],
            "--device", device, "--db", db_path, "--quiet", *limits]


def tune(shapes: List[Union[Shape, AttentionShape]], time_limit: Optional[float] = None,
         budget: Optional[int] = None) -> List[Union[Shape, AttentionShape]]:
    """Tunes those that are not tuned, by the program triage_tune, into the database that configure named; then its contexts
    are opened anew, so that the next call finds what was learnt. No call may be under way.

    time_limit: seconds, shared among them evenly; budget: candidates of each; None: the whole space. An epilogue is left
    out: it hardly moves the best kernel. Returns those that were tuned.
    """
    if not isinstance(shapes, (list, tuple)):
        raise TriageError(f"shapes is a {type(shapes).__name__}; must be a list, as record gives it")
    for name, limit in (("time_limit", time_limit), ("budget", budget)):
        if limit is not None and not (isinstance(limit, (int, float)) and limit > 0):
            raise TriageError(f"{name} is {limit!r}; must be above 0, or None")
    settings = dict(_native.settings)
    if settings["db_path"] is None:
        raise TriageError("configure was called with db_path None; must be a database for tune to write to")
    db_path = str(settings["db_path"])
    if "://" not in db_path:
        pathlib.Path(db_path).parent.mkdir(parents=True, exist_ok=True)
    missing = [shape for shape in shapes if not shape.is_tuned]
    limits = ["--time-limit", str(time_limit / len(missing))] if time_limit is not None and missing else []
    limits += ["--budget", str(budget)] if budget is not None else []
    with tempfile.TemporaryDirectory() as folder:
        for shape in missing:
            pattern = pathlib.Path(folder) / "pattern.smtx"
            done = subprocess.run(_command(shape, pattern, db_path, limits), capture_output=True, text=True)
            if done.returncode != 0:
                raise TriageError(f"triage_tune: exit {done.returncode}: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
    _native.configure(**settings)
    return missing
