"""triage for PyTorch: block-sparse products by the kernels that triage tuned for this GPU.

    import torch, triage
    ctx = triage.Context(db_path="triage.db")
    w = triage.BsrMatrix(ctx, row_ptr, col_idx, values, cols)  # int32, int32, [nnzb, bm, bk] on the GPU
    c = triage.bsr_gemm(ctx, w, b)                             # C = A @ B
    y = triage.linear(ctx, w, x, bias=bias, activation="silu")  # Y = act(X @ W.T + bias)

    # float8_e4m3fn: float32 scales on the device, W's one number or one a block; Y is bfloat16 unless given
    y = triage.linear(ctx, w8, x8, scale_a=w_scale, scale_b=x_scale, out_dtype=torch.float16)

A thin layer over libtriage.so (ctypes): tensors are passed by address, work is enqueued on the current
CUDA stream, nothing is copied. The library is found beside this package, in ../../build*/lib, or where
the environment variable TRIAGE_LIBRARY points.
"""
import ctypes
import os
import pathlib

import torch

__all__ = ["Context", "BsrMatrix", "TriageError", "bsr_gemm", "linear", "choice"]

_DTYPES = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2, torch.float8_e4m3fn: 3}
_ACTIVATIONS = {None: 0, "none": 0, "relu": 1, "gelu": 2, "silu": 3}
_SOURCES = {0: "exact", 1: "nearest", 2: "default"}


class TriageError(RuntimeError):
    """A call of libtriage failed; the text is triage_last_error()."""


def _load():
    here = pathlib.Path(__file__).resolve().parent
    tried = [os.environ.get("TRIAGE_LIBRARY"), here / "libtriage.so"]
    tried += [here.parent.parent / build / "lib" / "libtriage.so" for build in ("build", "build-portable")]
    for path in tried:
        if path and os.path.exists(path):
            library = ctypes.CDLL(str(path))
            library.triage_last_error.restype = ctypes.c_char_p
            library.triage_context_device_name.restype = ctypes.c_char_p
            for name in ("triage_context_free", "triage_bsr_matrix_free"):
                getattr(library, name).argtypes = [ctypes.c_void_p]
                getattr(library, name).restype = None
            library.triage_context_device_name.argtypes = [ctypes.c_void_p]
            return library
    raise TriageError("libtriage.so not found: build it, or set TRIAGE_LIBRARY")


_library = _load()


def _check(status):
    if status != 0:
        raise TriageError(_library.triage_last_error().decode())


class _ContextOptions(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32)] + [
        (name, ctypes.c_char_p) for name in ("device", "db_path", "cache_dir", "data_dir", "space_path")
    ] + [("log", ctypes.c_void_p), ("log_user", ctypes.c_void_p), ("local_db_path", ctypes.c_char_p)]


class _BsrDesc(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("dtype", ctypes.c_int),
                ("rows", ctypes.c_int64), ("cols", ctypes.c_int64),
                ("block_rows", ctypes.c_int32), ("block_cols", ctypes.c_int32),
                ("nnzb", ctypes.c_int64), ("memory", ctypes.c_int),
                ("row_ptr", ctypes.c_void_p), ("col_idx", ctypes.c_void_p), ("values", ctypes.c_void_p)]


class _Dense(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("rows", ctypes.c_int64), ("cols", ctypes.c_int64),
                ("ld", ctypes.c_int64), ("dtype", ctypes.c_int), ("layout", ctypes.c_int)]


class _Epilogue(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("bias", ctypes.c_void_p), ("activation", ctypes.c_int),
                ("scale_a", ctypes.c_void_p), ("scale_b", ctypes.c_void_p),
                ("scale_a_per_block", ctypes.c_int)]


class _Choice(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("source", ctypes.c_int), ("kernel", ctypes.c_char * 64),
                ("config", ctypes.c_char * 512), ("donor", ctypes.c_char * 256),
                ("distance", ctypes.c_double), ("median_ns", ctypes.c_double),
                ("expected_loss", ctypes.c_double), ("dense_median_ns", ctypes.c_double),
                ("dense_is_faster", ctypes.c_int32), ("reserved", ctypes.c_int32)]


class Context:
    """A device and a tuning database. Share one over the whole program.

    db_path is a file, or postgresql://...: then local_db_path is the file that answers and is kept in step with
    that server (default: ~/.local/share/triage/triage.db).
    """

    def __init__(self, db_path=None, device="cuda", cache_dir=None, data_dir=None, space_path=None,
                 local_db_path=None):
        def text(value):
            return None if value is None else os.fsencode(value)
        if device.startswith("cuda"):
            torch.cuda.current_stream()  # makes torch's CUDA context the current one
        options = _ContextOptions(2, text(device), text(db_path), text(cache_dir), text(data_dir),
                                  text(space_path), None, None, text(local_db_path))
        self._handle = ctypes.c_void_p()
        self._matrices = {}  # handles by address, freed before ours: the garbage collector keeps no order
        _check(_library.triage_context_open(ctypes.byref(self._handle), ctypes.byref(options)))

    @property
    def device_name(self):
        return _library.triage_context_device_name(self._handle).decode()

    def __del__(self):
        for handle in list(getattr(self, "_matrices", {}).values()):
            _library.triage_bsr_matrix_free(handle)
            handle.value = None
        if getattr(self, "_handle", None):
            _library.triage_context_free(self._handle)
            self._handle = None


class BsrMatrix:
    """rows x cols elements in blocks; values [nnzb, bm, bk] contiguous, borrowed from the tensor."""

    def __init__(self, context, row_ptr, col_idx, values, cols):
        row_ptr = row_ptr.to(torch.int32).contiguous()
        col_idx = col_idx.to(torch.int32).contiguous()
        if not values.is_contiguous():
            raise TriageError("values must be contiguous: [nnzb, block rows, block columns]")
        self._keep = (context, row_ptr, col_idx, values)
        self.block = (values.shape[1], values.shape[2])
        self.rows = (row_ptr.numel() - 1) * self.block[0]
        self.cols = cols
        self.nnzb = values.shape[0]
        self.dtype = values.dtype
        if values.is_cuda:
            row_ptr, col_idx = row_ptr.to(values.device), col_idx.to(values.device)
            self._keep = (context, row_ptr, col_idx, values)
            torch.cuda.current_stream().synchronize()  # the pattern is read back for its checks
        desc = _BsrDesc(1, _DTYPES[values.dtype], self.rows, cols, self.block[0], self.block[1], self.nnzb,
                        1 if values.is_cuda else 0, row_ptr.data_ptr(), col_idx.data_ptr(), values.data_ptr())
        self._handle = ctypes.c_void_p()
        _check(_library.triage_bsr_matrix_create(ctypes.byref(self._handle), context._handle,
                                                 ctypes.byref(desc)))
        self._siblings = context._matrices
        self._siblings[self._handle.value] = self._handle

    @classmethod
    def from_torch(cls, context, bsr):
        """From a torch.sparse_bsr tensor."""
        return cls(context, bsr.crow_indices(), bsr.col_indices(), bsr.values(), bsr.shape[1])

    def __del__(self):
        if getattr(self, "_handle", None):
            self._siblings.pop(self._handle.value, None)
            _library.triage_bsr_matrix_free(self._handle)
            self._handle = None


def _dense(tensor, transposed=False):
    """A 2-D tensor with one unit stride. transposed: describe tensor.T without moving anything."""
    rows, cols = tensor.shape
    if tensor.stride(1) == 1 or cols == 1:
        ld, layout = max(tensor.stride(0), cols), 0
    elif tensor.stride(0) == 1 or rows == 1:
        ld, layout = max(tensor.stride(1), rows), 1
    else:
        raise TriageError(f"strides {tuple(tensor.stride())}: one of them must be 1")
    if transposed:
        rows, cols, layout = cols, rows, 1 - layout
    return _Dense(tensor.data_ptr(), rows, cols, ld, _DTYPES[tensor.dtype], layout)


def _stream(tensor):
    return ctypes.c_void_p(torch.cuda.current_stream(tensor.device).cuda_stream if tensor.is_cuda else None)


def _address(tensor):
    return None if tensor is None else tensor.data_ptr()


def _check_scale(name, scale, counts, like):
    if scale is None:
        return
    if scale.dtype != torch.float32 or not scale.is_contiguous() or scale.device != like.device:
        raise TriageError(f"{name} is {scale.dtype} on {scale.device}; must be contiguous float32 on {like.device}")
    if scale.numel() not in counts:
        raise TriageError(f"{name} has {scale.numel()} numbers; must be {' or '.join(map(str, counts))}")


def _epilogue(a, b, bias, activation, scale_a, scale_b):
    _check_scale("scale_a", scale_a, (1, a.nnzb), b)
    _check_scale("scale_b", scale_b, (1,), b)
    return _Epilogue(1, _address(bias), _ACTIVATIONS[activation], _address(scale_a), _address(scale_b),
                     int(scale_a is not None and scale_a.numel() > 1))


def _out_dtype(inputs, out_dtype):
    if out_dtype is not None:
        return out_dtype
    return torch.bfloat16 if inputs.dtype == torch.float8_e4m3fn else inputs.dtype


def bsr_gemm(context, a, b, c=None, alpha=1.0, beta=0.0, bias=None, activation=None, scale_a=None,
             scale_b=None, out_dtype=None):
    """C = act(alpha A B + beta C + bias); bias is one number a row of C. Returns C.

    float8_e4m3fn A and B: A B is (scale_a A) (scale_b B), with scale_a one number or one for each stored block
    (row by row, as in values), scale_b one; None: 1. On the GPU, B column-major: x.T of a row-major x.
    out_dtype: of a C that is not given; that of b, bfloat16 for float8."""
    if c is None:
        c = torch.empty(a.rows, b.shape[1], dtype=_out_dtype(b, out_dtype), device=b.device)
    _check(_library.triage_bsr_gemm(context._handle, ctypes.c_float(alpha), a._handle,
                                    ctypes.byref(_dense(b)), ctypes.c_float(beta), ctypes.byref(_dense(c)),
                                    ctypes.byref(_epilogue(a, b, bias, activation, scale_a, scale_b)),
                                    _stream(c)))
    return c


def linear(context, w, x, y=None, bias=None, activation=None, scale_a=None, scale_b=None, out_dtype=None):
    """Y = act(X W^T + bias) for X of tokens x in-features. Returns Y. scale_a (of W), scale_b (of X) and out_dtype
    as in bsr_gemm."""
    if y is None:
        y = torch.empty(x.shape[0], w.rows, dtype=_out_dtype(x, out_dtype), device=x.device)
    _check(_library.triage_bsr_linear(context._handle, w._handle, ctypes.byref(_dense(x)),
                                      ctypes.byref(_dense(y)),
                                      ctypes.byref(_epilogue(w, x, bias, activation, scale_a, scale_b)),
                                      _stream(y)))
    return y


def choice(context, a, b, c, bias=None, activation=None, scale_a=None, scale_b=None):
    """What bsr_gemm with these arguments runs: source, kernel, config, donor, distance, median_ns; and the stored
    time of the dense product of the same shape (0: never measured), which may be faster."""
    out = _Choice(version=2)
    _check(_library.triage_bsr_gemm_choice(ctypes.byref(out), context._handle, a._handle,
                                           ctypes.byref(_dense(b)), ctypes.byref(_dense(c)),
                                           ctypes.byref(_epilogue(a, b, bias, activation, scale_a, scale_b))))
    return {"source": _SOURCES[out.source], "kernel": out.kernel.decode(), "config": out.config.decode(),
            "donor": out.donor.decode(), "distance": out.distance, "median_ns": out.median_ns,
            "expected_loss": out.expected_loss, "dense_median_ns": out.dense_median_ns,
            "dense_is_faster": bool(out.dense_is_faster)}
