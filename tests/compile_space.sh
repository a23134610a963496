#!/bin/sh
# Compiles the whole default space for every architecture, with no GPU: each candidate must compile, keep
# within its spill limit and fit the shared memory of that architecture.
set -eu
cd "$(dirname "$0")/.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT INT TERM
export XDG_CACHE_HOME="$scratch" XDG_DATA_HOME="$scratch"

total=0
for target in sm_80 sm_86 sm_89 sm_90a sm_100a sm_120a; do
    for block in 16 32 64 128; do
        # Only a missing NVRTC (exit code 69) is a reason to skip.
        code=0
        build/bin/triage_tune --shape 4096,4096,4096 --sparsity 0.9 --block "$block" --dtype f16 \
            --target "$target" --compile-only --json --quiet >"$scratch/out.json" 2>"$scratch/err" || code=$?
        if [ "$code" -eq 69 ]; then
            echo "skipped: $(cat "$scratch/err")"
            exit 77
        fi
        if [ "$code" -ne 0 ]; then
            cat "$scratch/err" "$scratch/out.json"
            echo "FAILED: $target block $block (exit $code)"
            exit 1
        fi
        count=$(grep -o '"outcome": *"compiled"' "$scratch/out.json" | wc -l)
        echo "$target block $block: $count candidates compiled"
        [ "$count" -gt 0 ] || { echo "FAILED: no candidate for $target block $block"; exit 1; }
        total=$((total + count))
    done
done
echo "$total candidates compiled"
