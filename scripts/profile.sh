#!/bin/sh
# What limits the kernel that an application would get: triage_bench --profile with no peers, for a CI.
#
#   sh scripts/profile.sh --shape 8192,8192,8192 --sparsity 0.9 --block 64        options of triage_bench; --json for a program
#
# BENCH: the program (default build/bin/triage_bench, else the one in $PATH). Exit code 69: what is missing (Nsight Compute, a GPU,
# the right to read its counters) is said in one line.
set -eu
bench=${BENCH:-build/bin/triage_bench}
[ -x "$bench" ] || bench=$(command -v triage_bench) || {
    echo "profile.sh: there is no triage_bench: build it, or set BENCH" >&2
    exit 69
}
exec "$bench" --profile --against none --quiet "$@"
