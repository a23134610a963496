#!/bin/sh
# Every input of tests/fuzz through its target, as a test: the seeds, what fuzzing found to reach new code, and what once
# was a fault.
#
#   sh tests/fuzz/replay.sh BIN        the folder of fuzz_pattern, fuzz_seeds, ...
set -eu
cd "$(dirname "$0")/../.."
. tests/fuzz/inputs.sh
seeds=$(mktemp -d)
trap 'rm -rf "$seeds"' EXIT
make_seeds "$1" "$seeds"
for target in $fuzz_targets; do
    code=0
    "$1/fuzz_$target" $(inputs_of "$target" "$seeds") >"$seeds/out" 2>"$seeds/err" || code=$?
    echo "$target: $(cat "$seeds/out")"
    [ "$code" -eq 0 ] || { tail -n 60 "$seeds/err" && exit 1; }
done
