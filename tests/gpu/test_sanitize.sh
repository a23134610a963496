#!/bin/sh
# Does sanitize.sh count right, and does it fail when it must? A stand-in for compute-sanitizer runs the program on
# the CPU and says what the case wants.   usage: test_sanitize.sh BUILD
set -eu
cd "$(dirname "$0")/../.."
build=$1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT INT TERM

cat >"$scratch/sanitizer" <<'FAKE'
#!/bin/sh
# compute-sanitizer --tool TOOL ... --log-file FILE PROGRAM ARGUMENT...
[ "$1" = --version ] && echo "stand-in, Version 0" && exit 0
tool=$2
[ "$1" = --help ] && echo "--racecheck-num-workers" && exit 0
while [ "${1#--}" != "$1" ]; do
    [ "$1" = --log-file ] && log=$2
    shift 2
done
planted=0
for word in "$@"; do [ "$word" = --plant ] && planted=1; done
errors=0
[ "$planted" = 1 ] && [ "$CASE" != blind ] && errors=3
[ "$planted" = 1 ] && [ "$CASE" = halfblind ] && [ "$tool" = racecheck ] && errors=0
[ "$planted" = 0 ] && [ "$CASE" = finding ] && [ "$tool" = initcheck ] && errors=2
[ "$planted" = 1 ] || [ "$CASE" = killed ] || "$@" --device host
if [ "$planted" = 0 ] && [ "$CASE" = killed ]; then # in the middle of a candidate
    for word in "$@"; do case $word in *.tsv) printf 'hash\t16x16\tring a=1\tsome problem' >"$word" ;; esac; done
fi
[ "$planted" = 0 ] && [ "$CASE" = silent ] && exit 0
[ "$tool" = racecheck ] && echo "========= RACECHECK SUMMARY: $errors hazards displayed ($errors errors, 0 warnings)" >"$log"
[ "$tool" = racecheck ] || echo "========= ERROR SUMMARY: $errors errors" >"$log"
FAKE
chmod +x "$scratch/sanitizer"

failed=0
# expect CASE EXIT_CODE TEXT OPTION...
expect() {
    case_=$1 wanted=$2 text=$3
    shift 3
    code=0
    CASE=$case_ COMPUTE_SANITIZER=$scratch/sanitizer sh tests/gpu/sanitize.sh --build "$build" \
        --out "$scratch/out" --cache "$scratch/cache" --jobs 2 --per-tool 2 --target host --part 1/200 --once 1 "$@" \
        >"$scratch/said" 2>&1 || code=$?
    [ "$code" -eq 77 ] && cat "$scratch/said" && exit 77
    if [ "$code" -ne "$wanted" ] || ! grep -q "$text" "$scratch/said"; then
        echo "FAILED: $case_: exit $code, wanted $wanted and '$text':"
        cat "$scratch/said"
        failed=1
    fi
}
tools="initcheck racecheck"
expect clean 0 '^racecheck  *[1-9][0-9]* .* 0 *0 *0  *3  *[0-9]*$' --tools "$tools"
python3 - "$scratch/out/sanitize.json" <<'CHECK' || failed=1
import json, sys
report = json.load(open(sys.argv[1]))
assert report["schema"] == 1 and [t["tool"] for t in report["tools"]] == ["initcheck", "racecheck"], report
for tool in report["tools"]:
    assert tool["launches"] == 2 * tool["runs"] > 0 and tool["complete"], tool
    assert tool["runs"] == tool["configurations"] == report["expected_runs"] and tool["seconds"] >= 0, tool
    assert tool["findings"] == 0 and tool["found_in_planted"] == 3 and tool["wrong"] == tool["left"] == 0, tool
CHECK
expect finding 1 '^initcheck .* [24]  *3  *[0-9]*$' --tools initcheck
expect blind 1 'compute-sanitizer does not work here' --tools "$tools"
expect halfblind 1 '^racecheck did not find the planted defect' --tools "$tools"
expect silent 1 '^initcheck .* none  *3  *[0-9]*$' --tools initcheck
expect killed 1 '^initcheck  *0  *0  *0  *0  *0  *[1-9]' --tools initcheck
grep -q '^never came back: some problem: ring a=1' "$scratch/said" || { failed=1; cat "$scratch/said"; }
code=0 # what the time limit leaves out is counted and is no success
"$build/bin/run_candidates" --device host --part 1/4 --time-limit 1 >"$scratch/said" || code=$?
[ "$code" -eq 75 ] && grep -q '^run .* left=[1-9]' "$scratch/said" || { failed=1; tail -n 2 "$scratch/said"; }
# A template that drops a block: the gate says so.
mkdir "$scratch/data"
cp -r templates tuner "$scratch/data"
sed -i 's/i < args->row_ptr\[block_row + 1\]/& - (block_row == 0)/' "$scratch/data/templates/bsr_gemm/host.c"
cmp -s templates/bsr_gemm/host.c "$scratch/data/templates/bsr_gemm/host.c" && failed=1
code=0
"$build/bin/run_candidates" --device host --part 1/100 --data-dir "$scratch/data" >"$scratch/said" || code=$?
[ "$code" -eq 1 ] && grep -q '^WRONG .*: wrong: ' "$scratch/said" || { failed=1; cat "$scratch/said"; }
expect clean 64 'no tool tastecheck' --tools tastecheck
[ "$failed" -eq 0 ] && echo "passed"
exit "$failed"
