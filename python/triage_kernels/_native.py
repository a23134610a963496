"""The compiled part: the operators (registered with torch when this is imported), and what Python asks of the C library."""
import atexit
import ctypes
import os
import pathlib
from typing import Any, Callable, Dict, Optional, Tuple, Union

import torch

Path = Union[str, "os.PathLike[str]", None]


class TriageError(RuntimeError):
    """A call that cannot be done, in one line: the operand by its name, what it is, what is allowed."""


folder = pathlib.Path(os.environ.get("TRIAGE_KERNELS_LIB") or pathlib.Path(__file__).parent / "lib")


def _load() -> ctypes.CDLL:
    library = ctypes.CDLL(str(folder / "libtriage_torch.so"))
    library.triage_torch_register.restype = ctypes.c_char_p
    library.triage_torch_configure.argtypes = [ctypes.c_char_p] * 6 + [ctypes.c_double]
    library.triage_torch_context.restype = ctypes.c_void_p
    library.triage_torch_forget.argtypes = [ctypes.c_void_p] * 2
    library.triage_torch_matrices.restype = ctypes.c_uint64
    library.triage_last_error.restype = ctypes.c_char_p
    library.triage_context_device_name.argtypes = [ctypes.c_void_p]
    library.triage_context_device_name.restype = ctypes.c_char_p
    missing = library.triage_torch_register()
    if missing:
        raise ImportError(f"triage_kernels: torch {torch.__version__} has no {missing.decode()}; torch 2.10 or later is needed")
    return library


library = _load()
atexit.register(library.triage_torch_close)


# ---- operators past torch's dispatcher ----

def _witnesses() -> Tuple[Callable[[], Any], ...]:
    """Each says whether torch has a say in a call beyond its kernel: modes, transforms, autocast, tracing."""
    names = ("_is_torch_function_mode_enabled", "_len_torch_dispatch_stack", "_are_functorch_transforms_active",
             "_is_any_autocast_enabled", "_get_tracing_state")
    return tuple(getattr(torch._C, name) for name in names)


def _begin_direct() -> Optional[ctypes.PyDLL]:
    """None: this torch or Python lacks something of what it needs; then torch's dispatcher makes all calls."""
    python = ctypes.PyDLL(library._name)
    python.triage_torch_direct_begin.argtypes, python.triage_torch_direct_begin.restype = [ctypes.py_object], ctypes.c_bool
    python.triage_torch_direct.argtypes, python.triage_torch_direct.restype = [ctypes.c_char_p], ctypes.py_object
    try:
        given = (torch.Tensor.__dlpack_c_exchange_api__, torch._C._aoti.alloc_tensor_by_stealing_from_void_ptr, torch.Tensor,
                 torch.nn.Parameter, torch.Tensor.is_neg, torch.is_grad_enabled, TriageError, _witnesses())
    except AttributeError:
        return None
    return python if python.triage_torch_direct_begin(given) else None


_direct = _begin_direct()


def direct(name: str) -> Callable[..., Any]:
    """The operator as a function of Python's, which gives NotImplemented where torch is to call it."""
    return _direct.triage_torch_direct(name.encode()) if _direct else lambda *_: NotImplemented


def _home(variable: str, below: str) -> str:
    """That of the programs, so that what they tuned and compiled is found."""
    base = os.environ.get(variable) or os.path.join(os.path.expanduser("~"), below)
    return os.path.join(base, "triage")


DEFAULT_DB = os.path.join(_home("XDG_DATA_HOME", ".local/share"), "triage.db")
DEFAULT_CACHE = _home("XDG_CACHE_HOME", ".cache")


settings: Dict[str, Any] = {}  # what configure was given last


def configure(db_path: Path = DEFAULT_DB, cache_dir: Path = DEFAULT_CACHE, data_dir: Path = None, space_path: Path = None,
              local_db_path: Path = None, first_call_ms: float = 0, record_path: Path = None) -> None:
    """What triage works with from here on; contexts that are open are closed, and no call may be under way.

    db_path: the tuning database, a file or postgresql://...; by default that of the programs; None: none, so that only what
    is shipped counts. cache_dir: compiled kernels; by default that of the programs; None: none is kept on disk.
    data_dir, space_path, local_db_path: as in triage_context_options. first_call_ms: what a first product of its kind that nobody
    tuned may spend, beside compiling, to race the three likeliest kernels on its own tensors; db_path remembers the result.
    record_path: a file to which what is asked and not tuned is added, in compiled graphs and gradients, too, for the program
    `triage_tune --from FILE`.
    """
    if not isinstance(first_call_ms, (int, float)):
        raise TriageError(f"first_call_ms is a {type(first_call_ms).__name__}; must be a number of milliseconds, 0 or more")
    paths = (db_path, cache_dir, data_dir, space_path, local_db_path, record_path)
    given = [None if path is None else os.fsencode(path) for path in paths]
    if library.triage_torch_configure(*given, first_call_ms) != 0:
        raise MemoryError("triage_kernels.configure")
    settings.update(db_path=db_path, cache_dir=cache_dir, data_dir=data_dir, space_path=space_path,
                    local_db_path=local_db_path, first_call_ms=first_call_ms, record_path=record_path)


def device_name(device: Union[str, torch.device] = "cpu") -> str:
    """What triage calls the device, e.g. "NVIDIA H200" or "host: 16 x ...". Opens its context if none is open."""
    device = torch.device(device)
    if device.type not in ("cpu", "cuda"):
        raise TriageError(f"device is {device}; must be cpu or cuda")
    index = 0 if device.type == "cpu" else 1 + (device.index or 0)
    context = library.triage_torch_context(index)
    if not context:
        raise TriageError(f"{device}: {library.triage_last_error().decode()}")
    return library.triage_context_device_name(context).decode()


def forget(row_ptr: int, col_idx: int) -> None:
    library.triage_torch_forget(row_ptr, col_idx)


def matrices() -> int:
    """How many the operators keep."""
    return library.triage_torch_matrices()


configure()
