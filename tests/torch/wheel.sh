#!/bin/sh
# Builds an sdist of python/, a wheel of that, installs it with the torch of build/torch (tests/tools.sh) in an environment of
# its own, and uses it: the example of its README, its programs. Nothing of the checkout is in reach then.
set -eu
cd "$(dirname "$0")/../.."
root=$PWD
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT INT TERM
python3 -m venv "$scratch/venv"
pip="$scratch/venv/bin/pip --quiet --disable-pip-version-check"
$pip install 'scikit-build-core>=0.10'
(cd python && "$scratch/venv/bin/python" -c "
import sys
sys.path.insert(0, 'build_backend')
import backend
backend.build_sdist('$scratch')") >/dev/null
ls "$scratch"/triage_kernels-*.tar.gz
$pip wheel --no-deps --wheel-dir "$scratch" "$scratch"/triage_kernels-*.tar.gz
ls "$scratch"/triage_kernels-*-py3-none-linux_*.whl
$pip install --no-deps "$scratch"/triage_kernels-*.whl
realpath build/torch/lib/python3*/site-packages >"$(echo "$scratch"/venv/lib/python3*/site-packages)/torch.pth"
cd "$scratch"
sed -n '/^```python/,/^```/p' "$root/python/README.md" | sed '/^```/d' >ten.py
echo 'assert c.shape == (1024, 100) and tk.__file__.startswith("'"$scratch"'"), tk.__file__' >>ten.py
env -u PYTHONPATH -u TRIAGE_KERNELS_LIB venv/bin/python -W ignore ten.py
for program in triage_tune triage_db triage_bench; do
    venv/bin/$program --version
done
venv/bin/triage_tune --shape 64,64,64 --sparsity 0.5 --block 16 --device host --budget 2 --db "$scratch/t.db" >/dev/null
echo "1 passed"
