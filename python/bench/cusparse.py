"""cuSPARSE's block-sparse products as peers, on torch's tensors: cusparseSpMM in its BSR and Blocked-ELL formats.

torch has no way to them for f16 (its bsr @ dense is the Triton kernel), so the library is called by ctypes, with
the prototypes and numbers of cusparse.h 12 and as src/cli/bench/cusparse.c does for triage_bench. What may be
done once for a pattern (conversion, buffer, preprocessing) is done before any time is taken.
"""
import ctypes
import glob
import os

import torch

_TYPES = {torch.float32: 0, torch.float16: 2, torch.bfloat16: 14}
_INDEX_32, _BASE_ZERO, _ORDER_ROW, _R_32F, _NO = 2, 0, 2, 0, 0
_ALGORITHM_ELL, _ALGORITHM_BSR = 13, 14


class CusparseError(RuntimeError):
    """A call failed, or the library is not here."""


def _load():
    site = os.path.dirname(os.path.dirname(torch.__file__))
    places = ["libcusparse.so.12", "/usr/local/cuda/lib64/libcusparse.so.12"]
    places += sorted(glob.glob(os.path.join(site, "nvidia", "*", "lib", "libcusparse.so.12")))
    for place in places:
        try:
            return ctypes.CDLL(place)
        except OSError:
            continue
    raise CusparseError("libcusparse.so.12 is not found")


_library = None


def _call(name, *args):
    global _library
    _library = _library or _load()
    status = getattr(_library, name)(*args)
    if status:
        text = _library.cusparseGetErrorString
        text.restype = ctypes.c_char_p
        raise CusparseError(f"{name}: {text(status).decode()}")


def _pointer(tensor):
    return ctypes.c_void_p(tensor.data_ptr())


def _long(value):
    return ctypes.c_int64(value)


class Product:
    """out = A b; calling it enqueues one product on torch's current stream. form: "bsr" or "ell"."""

    def __init__(self, bsr, b, out, form):
        self._keep = [bsr, b, out]
        self._one, self._zero = ctypes.c_float(1), ctypes.c_float(0)
        self.algorithm = {"bsr": _ALGORITHM_BSR, "ell": _ALGORITHM_ELL}[form]
        self._handle, self._a, self._b, self._c = (ctypes.c_void_p() for _ in range(4))
        _call("cusparseCreate", ctypes.byref(self._handle))
        _call("cusparseSetStream", self._handle, ctypes.c_void_p(torch.cuda.current_stream().cuda_stream))
        for place, dense in ((self._b, b), (self._c, out)):
            _call("cusparseCreateDnMat", ctypes.byref(place), _long(dense.shape[0]), _long(dense.shape[1]),
                  _long(dense.stride(0)), _pointer(dense), _TYPES[dense.dtype], _ORDER_ROW)
        (self._create_bsr if form == "bsr" else self._create_ell)(bsr)
        size = ctypes.c_size_t()
        _call("cusparseSpMM_bufferSize", *self._arguments(), ctypes.byref(size))
        self._buffer = torch.empty(max(size.value, 1), dtype=torch.uint8, device=b.device)
        _call("cusparseSpMM_preprocess", *self._arguments(), _pointer(self._buffer))

    def _arguments(self):
        return (self._handle, _NO, _NO, ctypes.byref(self._one), self._a, self._b, ctypes.byref(self._zero), self._c,
                _R_32F, self.algorithm)

    def _create_bsr(self, bsr):
        values, row_ptr, col_idx = bsr.values(), bsr.crow_indices(), bsr.col_indices()
        block = values.shape[1]
        self._keep += [values, row_ptr, col_idx]
        _call("cusparseCreateBsr", ctypes.byref(self._a), _long(bsr.shape[0] // block), _long(bsr.shape[1] // block),
              _long(values.shape[0]), _long(block), _long(block), _pointer(row_ptr), _pointer(col_idx),
              _pointer(values), _INDEX_32, _INDEX_32, _BASE_ZERO, _TYPES[values.dtype], _ORDER_ROW)

    def _create_ell(self, bsr):
        """Every block row as long as the longest; what is missing has column -1 and zeros."""
        values, row_ptr = bsr.values(), bsr.crow_indices().long()
        block, rows = values.shape[1], row_ptr.numel() - 1
        lengths = row_ptr[1:] - row_ptr[:-1]
        width = max(1, int(lengths.max()))
        row_of = torch.repeat_interleave(torch.arange(rows, device=values.device), lengths)
        place_of = torch.arange(values.shape[0], device=values.device) - row_ptr[row_of]
        indices = torch.full((rows, width), -1, dtype=torch.int32, device=values.device)
        indices[row_of, place_of] = bsr.col_indices().to(torch.int32)
        packed = torch.zeros(rows, block, width, block, dtype=values.dtype, device=values.device)
        packed.permute(0, 2, 1, 3)[row_of, place_of] = values
        self._keep += [indices, packed]
        _call("cusparseCreateBlockedEll", ctypes.byref(self._a), _long(bsr.shape[0]), _long(bsr.shape[1]),
              _long(block), _long(width * block), _pointer(indices), _pointer(packed), _INDEX_32, _BASE_ZERO,
              _TYPES[values.dtype])

    def __call__(self):
        _call("cusparseSpMM", *self._arguments(), _pointer(self._buffer))

    def close(self):
        torch.cuda.synchronize()
        if self._a:
            _call("cusparseDestroySpMat", self._a)
        for dense in (self._b, self._c):
            if dense:
                _call("cusparseDestroyDnMat", dense)
        if self._handle:
            _call("cusparseDestroy", self._handle)
        self._keep = []
