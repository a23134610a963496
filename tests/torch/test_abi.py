"""What python/native declares of torch's stable C ABI is what the headers of this torch say.

    python tests/torch/test_abi.py
"""
import pathlib
import re
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


if __name__ == "__main__":
    unittest.main()
