# Sourced by tests/run.sh, after cmake/dependencies.sh: what the tests need of PyPI, so that it is the same on every
# distribution. Kept in build/tools between runs, a virtual environment. POSIX sh.

tools=$PWD/build/tools

# need_wheels NAME==VERSION...: installs those that are not there.
need_wheels() {
    absent=""
    for wheel in "$@"; do
        grep -qxF "$wheel" "$tools/installed" 2>/dev/null || absent="$absent $wheel"
    done
    [ -n "$absent" ] || return 0
    need_packages python3-venv ca-certificates
    say "installing from PyPI into build/tools:$absent"
    { [ -x "$tools/bin/pip" ] || python3 -m venv "$tools"; } &&
        "$tools/bin/pip" install --quiet --disable-pip-version-check --no-deps $absent &&
        printf '%s\n' $absent >>"$tools/installed"
}

has_nvrtc() {
    ls /usr/local/cuda*/lib64/libnvrtc.so* >/dev/null 2>&1 || ldconfig -p 2>/dev/null | grep -q 'libnvrtc\.so'
}

# NVRTC, which compiles for a GPU without one: a toolkit's, else PyPI's, and then nvrtc_folder is where.
nvrtc_folder=""
need_nvrtc() {
    [ -n "$nvrtc_folder" ] || has_nvrtc && return 0
    need_wheels nvidia-cuda-nvrtc==13.0.88 nvidia-cuda-runtime==13.0.96 || return 1
    nvrtc_folder=$(echo "$tools"/lib/python3*/site-packages/nvidia/cu13/lib)
}

# torch of PyPI, without its 2.5 GB of CUDA's libraries, and transformers, in an environment of its own: torch_python is its
# interpreter.
torch_python=$PWD/build/torch/bin/python
torch_wheels="torch==2.15.0 nvidia-cuda-runtime==13.2.75 nvidia-cuda-cupti==13.2.75 nvidia-cuda-nvrtc==13.0.88"
torch_needs="filelock typing-extensions>=4.13 setuptools sympy>=1.13.3 networkx jinja2 fsspec transformers==5.24.0"
need_torch() {
    [ "$(cat build/torch/installed 2>/dev/null)" != "$torch_wheels $torch_needs" ] || return 0
    need_packages gcc libc6-dev binutils python3-venv ca-certificates
    say "installing torch and transformers from PyPI into build/torch"
    pip="$torch_python -m pip install --quiet --disable-pip-version-check --no-compile"
    python3 -m venv --clear build/torch && $pip --no-deps $torch_wheels && $pip $torch_needs &&
        "$torch_python" tests/torch/stand_ins.py && "$torch_python" -W ignore -c 'import torch' &&
        echo "$torch_wheels $torch_needs" >build/torch/installed
}
