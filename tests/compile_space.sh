#!/bin/sh
# Compiles the whole default space for every architecture, with no GPU: each candidate must compile, keep
# within its spill limit and fit the shared memory of that architecture.
set -eu
cd "$(dirname "$0")/.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT INT TERM
export XDG_CACHE_HOME="$scratch" XDG_DATA_HOME="$scratch"

total=0

# compile TARGET SHAPE BLOCK LAYOUT
compile() {
    code=0
    build/bin/triage_tune --shape "$2" --sparsity 0.9 --block "$3" --layout "$4" --dtype f16 --target "$1" \
        --compile-only --json --quiet >"$scratch/out.json" 2>"$scratch/err" || code=$?
    # Only a missing NVRTC (exit code 69) is a reason to skip.
    if [ "$code" -eq 69 ]; then
        echo "skipped: $(cat "$scratch/err")"
        exit 77
    fi
    if [ "$code" -ne 0 ]; then
        cat "$scratch/err" "$scratch/out.json"
        echo "FAILED: $* (exit $code)"
        exit 1
    fi
    count=$(grep -o '"outcome": *"compiled"' "$scratch/out.json" | wc -l)
    echo "$*: $count candidates compiled"
    [ "$count" -gt 0 ] || { echo "FAILED: no candidate for $*"; exit 1; }
    total=$((total + count))
}

for target in sm_80 sm_86 sm_89 sm_90a sm_100a sm_120a; do
    for block in 16 32 64 128; do
        compile "$target" 4096,4096,4096 "$block" row
    done
done
for block in 16 32 64 128; do # rows of few blocks and some hundred columns: kernels that wide C has not
    compile sm_90a 4096,512,4096 "$block" row
done
for target in sm_80 sm_90a; do # few columns, and the linear layer's form
    compile "$target" 4096,16,4096 64 col
    compile "$target" 4096,16,4096 16 row
done
for block in 32 128; do
    compile sm_90a 4096,4096,4096 "$block" col
done
echo "$total candidates compiled"
