"""Empty stand-ins for the CUDA libraries that PyPI's torch loads and a machine without a GPU never calls.

    python stand_ins.py     inside the virtual environment whose torch is meant

PyPI's torch for Linux on x86-64 is a CUDA build: importing it loads cuDNN, cuBLAS, NCCL and more, 2.5 GB of packages.
Without a GPU nothing calls them; the loader only wants to find their files and symbols. So here each library that is
absent becomes a small one that has every such symbol, each a function that ends the process if it is called. The real
CUDA runtime (which says that there is no GPU), CUPTI and NVRTC are small, and are to be installed beside torch.
"""
import importlib.util
import pathlib
import re
import subprocess
import tempfile

LIB = pathlib.Path(importlib.util.find_spec("torch").submodule_search_locations[0]) / "lib"
OWN = ("cublas", "cudnn", "cufft", "cufile", "curand", "cusolver", "cusparse", "nccl", "nvshmem", "nvtx")
NAME = re.compile(r"_*(%s)" % "|".join(OWN), re.IGNORECASE)


def readelf(option, file):
    return subprocess.run(["readelf", "-W", option, file], capture_output=True, text=True, check=True).stdout


def needed(files):
    names = {name for file in files for name in re.findall(r"\(NEEDED\).*\[(.*)\]", readelf("-d", file))}
    return sorted(name for name in names if name.startswith(tuple("lib" + own for own in OWN)))


def symbols(files):
    """Those that torch's libraries want and none of them has."""
    wanted, had = set(), set()
    for file in files:
        for line in readelf("--dyn-syms", file).splitlines():
            words = line.split()
            if len(words) >= 8:
                (wanted if words[6] == "UND" else had).add(words[7].split("@")[0])
    return sorted(name for name in wanted - had if NAME.match(name))


def is_versioned(name, files):
    """The symbols of NVIDIA's libraries have their file's name as their version, where they have one."""
    return any(re.search(r"Name: %s " % re.escape(name), readelf("-V", file)) for file in files)


def make(name, folder, versioned):
    script = folder / "version"
    script.write_text(f"{name} {{ global: *; }};\n")
    options = [f"-Wl,--version-script={script}"] if versioned else []
    subprocess.run(["gcc", "-shared", "-nostdlib", f"-Wl,-soname,{name}", *options, "-o", LIB / name, folder / "all.s"],
                   check=True)
    print(f"{name}: a stand-in")


def main():
    files = sorted(LIB.glob("libtorch*.so")) + sorted(LIB.glob("libc10*.so"))
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        functions = "".join(f".globl {name}\n.type {name}, @function\n{name}:\n" for name in symbols(files))
        (folder / "all.s").write_text(f"{functions}ud2\n.section .note.GNU-stack\n")
        for name in needed(files):
            if not [*LIB.parent.parent.glob(f"nvidia/*/lib/{name}"), *LIB.glob(name)]:
                make(name, folder, is_versioned(name, files))


main()
