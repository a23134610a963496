#!/bin/sh
# Does acceptance.sh plan every part, go on and fail when it must, on the CPU; and does a pack of another tree stop it?
# usage: test_acceptance.sh BUILD
set -eu
cd "$(dirname "$0")/../.."
build=$(cd "$1" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT INT TERM
failed=0
# expect EXIT_CODE TEXT COMMAND...
expect() {
    wanted=$1 text=$2 code=0
    shift 2
    "$@" >"$scratch/said" 2>&1 || code=$?
    [ "$code" -eq "$wanted" ] && grep -q -e "$text" "$scratch/said" ||
        { echo "FAILED: $*: exit $code, wanted $wanted and '$text':" && cat "$scratch/said" && failed=1; }
}
run="sh tests/gpu/acceptance.sh --build $build --out $scratch/out --jobs 1"

# ---- the plan ----
all='tune decode blocks peers held untuned few epilogue sanitize cover right table'
expect 0 '^+ .*bench_calls cuda' $run --dry-run $(printf '%s:60 ' $all)
for part in $all; do
    grep -q "^= $part  *.* of 60" "$scratch/said" || { echo "FAILED: no part $part" && failed=1; }
done
expect 0 'attention.py .* --set decode --peers cudnn' $run --dry-run decode:60
expect 64 "part 'tine' is not one of tune decode" $run tine:60
expect 64 "'tune': PART:SECONDS is wanted" $run tune
expect 64 'which parts' $run --dry-run
expect 64 "unknown option '--part'" $run --part tune

# ---- a list that is tuned, left, and gone on with ----
printf '1, 2, 1\n0 1\n1\n' >"$scratch/blocks.smtx"
{
    echo 'op,shape,dtype,mask,mask-block'
    echo 'attention,"1,2,2,32,32,16",f32,,'
    echo "attention,\"1,2,1,16,32,16\",f32,blocks:$scratch/blocks.smtx,16"
} >"$scratch/two.csv"
expect 75 '^tune-two  *left  *0 problems have a winner' $run --device host --shapes "$scratch/two.csv" tune:1
expect 0 '^tune-two  *done  *2 problems have a winner' $run --device host --shapes "$scratch/two.csv" tune:500
[ "$(grep -o '"problem": *"[^"]*"' "$scratch/out/evidence.jsonl" | sort -u | wc -l)" = 2 ] || { echo "FAILED: no evidence" && failed=1; }
expect 0 '^tune-two  *done  *2 problems have a winner' $run --device host --shapes "$scratch/two.csv" tune:500
OUT=$scratch/back
mkdir "$OUT" && export OUT
expect 0 'not run' $run --dry-run right:5
[ ! -e "$OUT/results.txz" ] || { echo "FAILED: a plan has results" && failed=1; }

# ---- a pack ----
mkdir -p "$scratch/pack/bin"
echo one >"$scratch/pack/bin/program"
{
    echo "commit 0123abc"
    (cd "$scratch/pack" && sha256sum bin/program | sed 's| \([ *]\)| \1@/|')
    sha256sum tests/gpu/pack.sh
} >"$scratch/pack/MANIFEST"
expect 0 '^0123abc$' sh tests/gpu/pack.sh --check "$scratch/pack"
echo two >"$scratch/pack/bin/program"
expect 1 'are not of one commit' sh tests/gpu/pack.sh --check "$scratch/pack"
echo one >"$scratch/pack/bin/program"
echo "$(echo other | sha256sum | cut -d ' ' -f 1)  tests/gpu/acceptance.sh" >>"$scratch/pack/MANIFEST"
expect 1 'are not of one commit' sh tests/gpu/pack.sh --check "$scratch/pack"
expect 1 'has no MANIFEST' sh tests/gpu/pack.sh --check "$scratch"
expect 64 'whole numbers' sh tests/gpu/pack.sh --compile soon
[ "$failed" -eq 0 ] && echo passed
exit "$failed"
