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
[ "$planted" = 1 ] || [ "$CASE" = killed ] || "$@"
if [ "$planted" = 0 ] && [ "$CASE" = killed ]; then # in the middle of a candidate
    for word in "$@"; do case $word in *.tsv) printf 'hash\t16x16\tring a=1\tsome problem' >"$word" ;; esac; done
fi
[ "$planted" = 0 ] && [ "$CASE" = silent ] && exit 0
[ "$tool" = racecheck ] && echo "========= RACECHECK SUMMARY: $errors hazards displayed ($errors errors, 0 warnings)" >"$log"
[ "$tool" = racecheck ] || echo "========= ERROR SUMMARY: $errors errors" >"$log"
FAKE
# run_candidates, and a record of how it is called.
program=$(cd "$build" && pwd)/bin/run_candidates
mkdir -p "$scratch/build/bin"
cat >"$scratch/build/bin/run_candidates" <<RECORD
#!/bin/sh
echo "\$*" >>"$scratch/calls"
exec "$program" "\$@"
RECORD
chmod +x "$scratch/sanitizer" "$scratch/build/bin/run_candidates"

# A part with more than one run: which one, is by the hashes of their names. (This one's problems are small.)
for number in $(seq 26 150); do
    part=$number/150
    "$program" --count --target host --once --part "$part" | grep -q '^count .* runs=\([2-9]\|[1-9][0-9]\) ' && break
done

failed=0
# expect CASE EXIT_CODE TEXT OPTION...
expect() {
    case_=$1 wanted=$2 text=$3
    : >"$scratch/calls"
    shift 3
    code=0
    CASE=$case_ COMPUTE_SANITIZER=$scratch/sanitizer sh tests/gpu/sanitize.sh --build "$scratch/build" \
        --out "$scratch/out" --cache "$scratch/cache" --jobs 2 --per-tool 2 --device host --part "$part" --once 1 "$@" \
        >"$scratch/said" 2>&1 || code=$?
    [ "$code" -eq 77 ] && cat "$scratch/said" && exit 77
    if [ "$code" -ne "$wanted" ] || ! grep -q "$text" "$scratch/said"; then
        echo "FAILED: $case_: exit $code, wanted $wanted and '$text':"
        cat "$scratch/said"
        failed=1
    fi
}
tools="initcheck racecheck"
expect clean 0 '^racecheck  *[1-9][0-9]* .* 0 *0 *0  *3  *[0-9]*$' --tools "$tools" --commit 0123abc
[ "$(grep -c -e --make-plan "$scratch/calls")" = 1 ] && ! grep -v -e '--\(make-plan\|plan\|plant\) ' "$scratch/calls" ||
    { echo "FAILED: the plan is not made once:"; cat "$scratch/calls"; failed=1; }
python3 - "$scratch/out/sanitize.json" <<'CHECK' || failed=1
import json, sys
report = json.load(open(sys.argv[1]))
assert report["schema"] == 1 and report["commit"] == "0123abc" and report["plan_seconds"] >= 0, report
assert [t["tool"] for t in report["tools"]] == ["initcheck", "racecheck"], report
for tool in report["tools"]:
    assert tool["launches"] == 2 * tool["runs"] > 0 and tool["complete"], tool
    assert tool["runs"] == tool["configurations"] == report["expected_runs"] and tool["seconds"] >= 0, tool
    assert tool["earlier_runs"] == 0
    assert tool["findings"] == 0 and tool["found_in_planted"] == 3 and tool["wrong"] == tool["left"] == 0, tool
CHECK
# What --done names is not run again, and all together are whole; where the list has it no more, it does not count.
cp "$scratch/out/initcheck.done.tsv" "$scratch/all.tsv"
cp "$scratch/out/plan" "$scratch/plan"
all=$(wc -l <"$scratch/all.tsv")
[ "$all" -ge 2 ] || { echo "FAILED: $all rows done"; failed=1; }
head -n 1 "$scratch/all.tsv" >"$scratch/one.tsv"
sed '2,$s/^......../00000000/' "$scratch/all.tsv" >"$scratch/stale.tsv"
sed '2,$s/right$/wrong/' "$scratch/all.tsv" >"$scratch/wrong.tsv"
resumed() { # EARLIER RUNS COMPLETE, of the last call
    grep -q "\"runs\": $2,\$" "$scratch/out/sanitize.json" && grep -q "\"complete\": $3," "$scratch/out/sanitize.json" &&
        grep -q "\"earlier_runs\": $1, " "$scratch/out/sanitize.json" ||
        { echo "FAILED: not $1 earlier, $2 new runs, complete $3:"; cat "$scratch/out/sanitize.json"; failed=1; }
}
same() { cmp "$1" "$2" || failed=1; }
for file in one stale wrong; do
    expect clean 0 "^initcheck: 1 of $all runs were right in earlier calls" --tools initcheck --done "initcheck=$scratch/$file.tsv"
    resumed 1 "$((all - 1))" true
done
cut -f1-4 "$scratch/all.tsv" | sort >"$scratch/wanted"
cut -f1-4 "$scratch/out/initcheck.done.tsv" | sort | comm -13 - "$scratch/wanted" >"$scratch/missing"
[ ! -s "$scratch/missing" ] || { echo "FAILED: not in the union:"; cat "$scratch/missing"; failed=1; }
expect finding 1 '^initcheck .* [1-9][0-9]*  *3  *[0-9]*$' --tools initcheck --done "initcheck=$scratch/one.tsv"
same "$scratch/out/initcheck.done.tsv" "$scratch/one.tsv" # what ran beside the finding is not done
expect killed 1 '^never came back' --tools initcheck --done "initcheck=$scratch/one.tsv"
resumed 1 0 false
cp "$scratch/all.tsv" "$scratch/out/initcheck.done.tsv" # its own file, and nothing left to run
expect clean 0 "^initcheck: $all of $all runs" --tools initcheck --done "initcheck=$scratch/out/initcheck.done.tsv"
resumed "$all" 0 true
same "$scratch/out/initcheck.done.tsv" "$scratch/all.tsv"
cp "$scratch/one.tsv" "$scratch/out/initcheck.done.tsv" # --resume takes what lies in --out, unless --done names another
expect clean 0 "^initcheck: 1 of $all runs" --tools initcheck --resume 1
resumed 1 "$((all - 1))" true
expect clean 0 "^initcheck: 1 of $all runs" --tools initcheck --resume 1 --done "initcheck=$scratch/one.tsv"
expect clean 64 'once a tool' --tools initcheck --done initcheck=a --done initcheck=b
expect clean 64 'no tool of this call' --tools initcheck --done racecheck=a

expect finding 1 '^initcheck .* [24]  *3  *[0-9]*$' --tools initcheck
expect blind 1 'compute-sanitizer does not work here' --tools "$tools"
expect halfblind 1 '^racecheck did not find the planted defect' --tools "$tools"
expect silent 1 '^initcheck .* none  *3  *[0-9]*$' --tools initcheck
expect killed 1 '^initcheck  *0  *0  *0  *0  *0  *[1-9]' --tools initcheck
grep -q '^never came back: some problem: ring a=1' "$scratch/said" || { failed=1; cat "$scratch/said"; }
# A plan says what is run, and where something else is asked for it is refused.
planned() { # EXIT_CODE TEXT FILE OPTION...
    wanted=$1 text=$2 file=$3
    shift 3
    code=0
    "$program" --plan "$file" --device host --once --cache "$scratch/cache" "$@" >"$scratch/said" 2>&1 || code=$?
    [ "$code" -eq "$wanted" ] && grep -q "$text" "$scratch/said" ||
        { echo "FAILED: exit $code, wanted $wanted and '$text':"; cat "$scratch/said"; failed=1; }
}
awk -F '\t' 'NF < 5 || ++n == 1' "$scratch/plan" >"$scratch/short"
planned 0 '^run .* runs=1 ' "$scratch/short" --part "$part"
planned 65 "is a plan for 'choice once=1 part=$part', not 'choice once=1 part=1/1'" "$scratch/short"
sed 's/ sms=[0-9]*/ sms=9999/' "$scratch/short" >"$scratch/other"
planned 65 "is a plan for 'device host .* sms=9999 .*not 'device host " "$scratch/other" --part "$part"
sed '$d' "$scratch/short" >"$scratch/other"
planned 65 "broken off at '', not 'end'" "$scratch/other" --part "$part"
planned 65 'is no plan: it begins with' "$0" --part "$part"
code=0 # what the time limit leaves out is counted and is no success
"$build/bin/run_candidates" --device host --part 1/4 --time-limit 1 >"$scratch/said" || code=$?
[ "$code" -eq 75 ] && grep -q '^run .* left=[1-9]' "$scratch/said" || { failed=1; tail -n 2 "$scratch/said"; }
# A template that drops a block: the gate says so.
mkdir "$scratch/data"
cp -r templates tuner "$scratch/data"
sed -i 's/i < args->row_ptr\[block_row + 1\]/& - (block_row == 0)/' "$scratch/data/templates/bsr_gemm/host.c"
cmp -s templates/bsr_gemm/host.c "$scratch/data/templates/bsr_gemm/host.c" && failed=1
planned 65 'is a plan for kernel ' "$scratch/short" --part "$part" --data-dir "$scratch/data"
code=0
"$build/bin/run_candidates" --device host --part 1/100 --data-dir "$scratch/data" >"$scratch/said" || code=$?
[ "$code" -eq 1 ] && grep -q '^WRONG .*: wrong: ' "$scratch/said" || { failed=1; cat "$scratch/said"; }
echo "-- another space" >>"$scratch/data/tuner/spaces/bsr_gemm.lua"
planned 65 "is a plan for 'space " "$scratch/short" --part "$part" --data-dir "$scratch/data"
expect clean 64 'no tool tastecheck' --tools tastecheck
[ "$failed" -eq 0 ] && echo "passed"
exit "$failed"
