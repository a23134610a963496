#!/bin/sh
# What an application gets for a problem that nobody tuned: shapes drawn from a seed, each looked up by the shipped evidence
# alone, then tuned in the same run. Prints by how much the kernel of the lookup is slower than the tuned one, and what the
# lookup expected.
#
#   sh tests/gpu/untuned.sh [--op bsr_gemm|attention] [--shapes N] [--seed N] [--limit S] [--tune-limit S] [--budget N] [--expected F] [--first-call-ms MS]
#                           [--median PERCENT] [--evidence FILE.jsonl] [--list FILE.csv] [--device cuda|host] [--build DIR] [--out DIR]
#
#   --shapes N      how many (default 24)
#   --limit S       seconds for all (default 240): what does not fit is left; the same call again goes on with it
#   --tune-limit S  seconds for the search of one shape (default 20): a lookup's kernel that it did not reach is not judged
#   --budget N      candidates of one shape at most (default: all, 25 to 100 on an H200)
#   --first-call-ms MS   a first call of each shape may race for so long: what the kernel that it chose loses, too (default: none is made)
#   --median PERCENT   fail if the median of what a lookup loses is more
#   --evidence FILE.jsonl   lookups know this beside what is shipped, as if it were shipped, too
#   --list FILE.csv write the shapes for triage_tune --from --compile-only, and measure nothing
#   --expected F    fail unless the savings that lookups expect are within a factor of F of the real ones, in the mean
#   --out DIR       results (default: $OUT/untuned, else untuned-out): untuned.jsonl has a line a shape, untuned.json the summary,
#                   evidence.jsonl what the tunes measured
#
# The last line is the summary. Exit codes: 0 all shapes done and every kernel right, 1 a kernel was wrong or a program failed,
# 64 usage, 75 something is left.
set -u
here=$(cd "$(dirname "$0")/../.." && pwd)
build=$here/build-portable
[ -x "$build/bin/triage_tune" ] || build=$here/build
[ -n "${OUT:-}" ] && out=$OUT/untuned || out=untuned-out
exec python3 "$here/tests/gpu/untuned.py" --build "$build" --out "$out" "$@"
