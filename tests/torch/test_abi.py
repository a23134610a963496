"""What python/native declares of torch's stable C ABI, of CPython's and of DLPack is what their headers say.

    python tests/torch/test_abi.py
"""
import pathlib
import re
import shutil
import subprocess
import sysconfig
import unittest

import torch

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
HEADERS = ("inductor/aoti_torch/c/shim.h", "stable/c/shim.h")
OURS = {"AOTITorchError": "torch_error", "AtenTensorHandle": "torch_tensor", "TorchLibraryHandle": "torch_library",
        "StringHandle": "torch_string", "DeviceGuardHandle": "torch_guard"}


def words(text):
    return re.findall(r"\w+|\*", text)


def type_of(parameter):
    """Without the parameter's name: a last word that is no type."""
    found = words(parameter)
    if len([word for word in found if word not in ("const", "*")]) > 1:
        found.pop()
    return [OURS.get(word, word) for word in found]


def declared():
    """{symbol: [type of the result, type of each parameter ...]} of the headers."""
    folder = pathlib.Path(torch.__file__).parent / "include/torch/csrc"
    text = "".join(re.sub(r"//[^\n]*", "", (folder / name).read_text()) for name in HEADERS)
    text = text.replace("void (*fn)(StableIValue*, uint64_t, uint64_t)", "torch_kernel* fn")
    found = re.findall(r"AOTI_TORCH_EXPORT\s+([\w\s]+?)\s+(\w+)\(([^()]*)\);", text)
    return {name: [[OURS.get(result.strip(), result.strip())]] + [type_of(p) for p in parameters.split(",") if p.strip()]
            for result, name, parameters in found}


def ours():
    text = (ROOT / "python/native/torch_abi.def").read_text()
    for result, parameters, symbol in re.findall(r"TRI_TORCH\(\w+,\s*(\w+)\(([^()]*)\),\s*(\w+)\)", text):
        yield symbol, [[result]] + [words(p) for p in parameters.split(",") if p.strip() != "void"]


class Declarations(unittest.TestCase):
    def test_they_are_those_of_the_headers(self):
        theirs, count = declared(), 0
        for symbol, types in ours():
            with self.subTest(symbol=symbol):
                self.assertEqual(types, theirs[symbol])
            count += 1
        self.assertEqual(count, (ROOT / "python/native/torch_abi.def").read_text().count("\nTRI_TORCH("))


class Python(unittest.TestCase):
    def test_the_functions_are_those_of_the_headers(self):
        """The compiler compares them: a pointer of our type takes each."""
        headers = pathlib.Path(sysconfig.get_paths()["include"])
        if not (headers / "Python.h").exists() or not shutil.which("gcc"):
            self.skipTest("no header of Python, or no gcc")
        lines = re.findall(r"^TRI_PYTHON\((\w+),\s*(.*?),\s*(\w+)\)\n", (ROOT / "python/native/python_abi.def").read_text(), re.S | re.M)
        self.assertGreater(len(lines), 20)
        code = ["#define Py_LIMITED_API 0x030a0000", "#include <Python.h>", "#include <stddef.h>",
                "#define py_object PyObject", "#define py_thread PyThreadState", "#define py_method PyMethodDef",
                "typedef ptrdiff_t py_size;"]
        code += [f"__typeof__({prototype}) *at_{field} = {symbol};" for field, prototype, symbol in lines]
        code.append("_Static_assert(METH_FASTCALL == 0x0080, \"a function's flags\");")
        done = subprocess.run(["gcc", "-fsyntax-only", "-Werror", f"-I{headers}", "-xc", "-"], input="\n".join(code), text=True,
                              capture_output=True)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_dlpack(self):
        """The places of what native/direct.c reads."""
        header = pathlib.Path(torch.__file__).parent / "include/ATen/dlpack.h"
        own = (ROOT / "python/native/direct.c").read_text()
        structs = own[own.index("typedef struct dl_tensor"):own.index("/* ---- what Python gives")]
        code = f'''#include <stddef.h>
            #include <stdint.h>
            #include "{header}"
            {structs}
            #define SAME(ours, our, theirs, their) _Static_assert(offsetof(ours, our) == offsetof(theirs, their), #our)
            SAME(dl_tensor, device, DLTensor, device); SAME(dl_tensor, device.index, DLTensor, device.device_id);
            SAME(dl_tensor, dim, DLTensor, ndim); SAME(dl_tensor, dtype, DLTensor, dtype); SAME(dl_tensor, sizes, DLTensor, shape);
            SAME(dl_tensor, dtype.lanes, DLTensor, dtype.lanes); SAME(dl_tensor, strides, DLTensor, strides);
            SAME(dl_tensor, byte_offset, DLTensor, byte_offset); SAME(dl_exchange, version, DLPackExchangeAPI, header.version);
            SAME(dl_exchange, view, DLPackExchangeAPI, dltensor_from_py_object_no_sync);
            _Static_assert(sizeof(dl_tensor) == sizeof(DLTensor), "size");
            _Static_assert(DL_CPU == kDLCPU && DL_CUDA == kDLCUDA && DL_INT == kDLInt && DL_FLOAT == kDLFloat &&
                           DL_BFLOAT == kDLBfloat && DL_E4M3 == kDLFloat8_e4m3fn, "numbers");'''
        done = subprocess.run(["gcc", "-fsyntax-only", "-Werror", "-xc", "-"], input=code, text=True, capture_output=True)
        self.assertEqual(done.returncode, 0, done.stderr)


if __name__ == "__main__":
    unittest.main()
