"""Which products a model asks for, and tuning them."""
import contextlib
import pathlib
import subprocess
import tempfile
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

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
    source: str  # of its kernel when it was first asked: "exact" where it was tuned (choice has the others)

    @property
    def is_tuned(self) -> bool:
        return self.source == "exact"


def _key(row_ptr: Tensor, col_idx: Tensor, b: Tensor, out_dtype: Any, layout: str) -> Tuple[Any, ...]:
    return row_ptr.data_ptr(), col_idx.data_ptr(), b.shape[1], b.dtype, out_dtype, layout, b.device


def _note(seen: Dict[Tuple[Any, ...], Shape], op: Any, arguments: Tuple[Any, ...]) -> None:
    """Of bsr_linear and bsr_mm; a product whose B is column-major and C row-major has no option of triage_tune's."""
    if op is _operators.ops.bsr_linear.default:
        x, row_ptr, col_idx, values, cols = arguments[:5]
        b, layout = x.detach().reshape(-1, x.shape[-1]).t(), "col"
    elif op is _operators.ops.bsr_mm.default:
        row_ptr, col_idx, values, cols, b = arguments[:5]
        b, layout = b.detach(), "row"
        if b.stride(1) != 1 and b.shape[1] != 1:
            return
    else:
        return
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
def record() -> Iterator[List[Shape]]:
    """Notes the block-sparse products that are asked for inside, in all threads, each kind once; the list is filled at the
    end. What runs in a compiled graph is not seen: record before torch.compile. Attention is not recorded yet."""
    seen: Dict[Tuple[Any, ...], Shape] = {}
    shapes: List[Shape] = []
    before = _operators.observer
    _operators.observer = lambda op, arguments: _note(seen, op, arguments)
    try:
        yield shapes
    finally:
        _operators.observer = before
        shapes.extend(seen.values())


def _write_pattern(path: pathlib.Path, shape: Shape) -> None:
    row_ptr, col_idx = shape.row_ptr.tolist(), shape.col_idx.tolist()
    path.write_text(f"{len(row_ptr) - 1}, {shape.k // shape.block[1]}, {len(col_idx)}\n"
                    + " ".join(map(str, row_ptr)) + "\n" + " ".join(map(str, col_idx)) + "\n")


def _command(shape: Shape, pattern: pathlib.Path, db_path: str, limits: List[str]) -> List[str]:
    device = "host" if shape.device.type == "cpu" else f"cuda:{shape.device.index or 0}"
    return [str(_native.folder.parent / "bin" / "triage_tune"), "--pattern", str(pattern), "--block",
            "%dx%d" % shape.block, "--n", str(shape.n), "--dtype", _NAMES[shape.dtype], "--out-dtype",
            _NAMES[shape.out_dtype], "--layout", shape.layout, "--device", device, "--db", db_path, "--quiet", *limits]


def tune(shapes: List[Shape], time_limit: Optional[float] = None, budget: Optional[int] = None) -> List[Shape]:
    """Tunes those that are not tuned, by the program triage_tune, into the database that configure named; then its contexts
    are opened anew, so that the next call finds what was learnt. No call may be under way.

    time_limit: seconds, shared among them evenly; budget: candidates of each; None: the whole space. An epilogue is left
    out: it hardly moves the best kernel. Returns those that were tuned.
    """
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
            _write_pattern(pattern, shape)
            done = subprocess.run(_command(shape, pattern, db_path, limits), capture_output=True, text=True)
            if done.returncode != 0:
                raise TriageError(f"triage_tune: exit {done.returncode}: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
    _native.configure(**settings)
    return missing
