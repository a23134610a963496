#!/bin/sh
# What only a GPU can show, in parts of less than ten minutes, from binaries built elsewhere (docs/gpu.md).
#
#   sh tests/gpu/acceptance.sh --part PART [--out DIR] [--build DIR] [--device cuda|host] [--set SETS] [--limit S]
#                              [--jobs N] [--fa4 SITE.txz|DIR] [--commit HASH] [--dry-run]
#
#   PART   attention-right    every candidate of attention on the fixed cases (run_attention --all)
#          attention-sanitize the first candidate of each kernel on small cases under compute-sanitizer's four tools
#          bsr-sanitize       tests/gpu/sanitize.sh: every candidate of bsr_gemm under the four tools
#          tune               triage_tune on the cases of --set (default grid,special) of python/bench/attention_cases.py;
#                             the evidence in OUT/evidence.jsonl, for db/pretuned
#          bsr-table          bsr_gemm as in README's table, and what a repeated call adds (85 ns)
#          peers              python/bench/attention.py on --set, with --fa4
#   --out      results (default: $OUT, else acceptance-out); the database OUT/triage.db is kept from part to part
#   --limit S  seconds for the part (default 540): what does not fit is left, and said
#   --dry-run  print what would be run; --device host: run it on the CPU, where a part has something to do there
#
# The last lines are a short table. Exit codes: 0 all is right and done, 1 not, 64 usage, 75 something is left.
set -u
here=$(cd "$(dirname "$0")/../.." && pwd)
part='' out=${OUT:-acceptance-out} build='' device=cuda sets=grid,special limit=540 jobs=$(nproc) fa4='' commit=unknown dry=0
usage() {
    echo "acceptance.sh: $1" >&2
    exit 64
}
while [ $# -gt 0 ]; do
    case $1 in
        --dry-run) dry=1 && shift && continue ;;
        --part | --out | --build | --device | --set | --limit | --jobs | --fa4 | --commit) ;;
        *) usage "unknown option '$1'" ;;
    esac
    [ $# -ge 2 ] || usage "$1 needs a value"
    case $1 in
        --part) part=$2 ;;
        --out) out=$2 ;;
        --build) build=$2 ;;
        --device) device=$2 ;;
        --set) sets=$2 ;;
        --limit) limit=$2 ;;
        --jobs) jobs=$2 ;;
        --fa4) fa4=$2 ;;
        --commit) commit=$2 ;;
    esac
    shift 2
done
case $device in cuda | host) ;; *) usage "--device $device is not one of cuda, host" ;; esac
if [ -z "$build" ]; then
    build=$here/build-portable
    [ -x "$build/bin/triage_tune" ] || build=$here/build
fi
[ -x "$build/bin/triage_tune" ] || usage "no triage_tune in $build/bin: build the preset portable first, or name a --build"
mkdir -p "$out" || exit 1
out=$(cd "$out" && pwd)
bin=$build/bin db=$out/triage.db
export XDG_CACHE_HOME="${XDG_CACHE_HOME:-$out/cache}" TRIAGE_KERNELS_LIB="$build/lib" OMP_WAIT_POLICY=passive
started=$(date +%s) bad=0 left=0
exec 3>&1

spent() { echo $(($(date +%s) - started)); }
remaining() { echo $((limit - $(spent))); }
# run COMMAND...: within what remains of the limit; its exit code (124: no time, 137: stopped), which is in code, too.
run() {
    if [ "$dry" = 1 ]; then
        echo "+ $*" >&3
        return 0
    fi
    [ "$(remaining)" -gt 0 ] || { left=1 && return 124; }
    timeout -k 10 "$(remaining)" "$@"
    code=$?
    case $code in 124 | 137) left=1 ;; esac
    return "$code"
}
note() {
    [ "$dry" = 0 ] || set -- "$1" "not run" ""
    printf '%-44s %-8s %s\n' "$1" "$2" "$3" >>"$out/$part.table"
}

attention_right() {
    for i in $(seq "$jobs"); do # compilers first: one process a core fills the cache
        run "$bin/run_attention" --device "$device" --all --part "$i/$jobs" --cache "$XDG_CACHE_HOME/triage" \
            >"$out/attention-right.$i.txt" 2>&1 &
    done
    wait
    for i in $(seq "$jobs"); do
        last=$(tail -n 1 "$out/attention-right.$i.txt")
        grep -h '^WRONG' "$out/attention-right.$i.txt" | head -n 3
        case $last in
            'run_attention: '*' wrong=0 '*) word=right ;;
            'run_attention: '*) word=WRONG && bad=1 ;;
            *) word=stopped && left=1 ;;
        esac
        note "run_attention part $i/$jobs" "$word" "$last"
    done
}

# All four tools at once, each over the fixed cases in parts: one process a core.
attention_sanitize() {
    parts=$(((jobs + 3) / 4))
    for tool in memcheck racecheck synccheck initcheck; do
        watch="compute-sanitizer --tool $tool --error-exitcode 9"
        [ "$device" = cuda ] || watch=''
        for i in $(seq "$parts"); do
            # shellcheck disable=SC2086
            { run $watch "$bin/run_attention" --device "$device" --part "$i/$parts" --cache "$XDG_CACHE_HOME/triage" \
                >"$out/sanitize.$tool.$i.txt" 2>&1; echo "exit $?" >>"$out/sanitize.$tool.$i.txt"; } &
        done
    done
    wait
    for tool in memcheck racecheck synccheck initcheck; do
        for i in $(seq "$parts"); do
            word=$(tail -n 1 "$out/sanitize.$tool.$i.txt")
            case $word in
                'exit 0') word=clean ;;
                'exit 124' | 'exit 137') left=1 ;;
                *) bad=1 ;;
            esac
            note "$tool part $i/$parts" "$word" "$(grep -h 'SUMMARY\|^run_attention' "$out/sanitize.$tool.$i.txt" | tr '\n' ' ')"
        done
    done
}

bsr_sanitize() {
    run sh "$here/tests/gpu/sanitize.sh" --build "$build" --out "$out/bsr-sanitize" --device "$device" --once 1 \
        --time-limit "$(remaining)" --commit "$commit" && word=clean || { word=NOT && bad=1; }
    note "bsr_gemm, four tools" "$word" "$out/bsr-sanitize/sanitize.json"
}

tune() {
    python3 "$here/python/bench/attention_cases.py" --options --set "$sets" --patterns "$out/patterns" >"$out/options.txt"
    while IFS="$(printf '\t')" read -r options name; do
        if [ "$(remaining)" -lt 15 ]; then
            left=1
            note "$name" left ''
            continue
        fi
        # shellcheck disable=SC2086
        run "$bin/triage_tune" $options --device "$device" --db "$db" --jobs "$jobs" --time-limit 60 --json -q \
            >"$out/tune.json" 2>"$out/tune.err" </dev/null
        code=$?
        [ "$code" = 0 ] && word=tuned || { word="exit $code" && bad=1; }
        note "$name" "$word" "$(python3 -c '
import json, sys
try:
    found = json.load(open(sys.argv[1]))
    best = next(row for row in found["rows"] if row["config"] == found["winner"])
    print("%.1f us  %s" % (best["median_ns"] / 1e3, best["config"]))
except Exception:
    print(open(sys.argv[2]).read().strip()[-120:])' "$out/tune.json" "$out/tune.err" 2>/dev/null)"
    done <"$out/options.txt"
    run "$bin/triage_db" export "$out/evidence.jsonl" --db "$db"
}

bsr_table() {
    size=8192
    [ "$device" = cuda ] || size=256
    for block in 16 32 64 128; do
        problem="--shape $size,$size,$size --sparsity 0.9 --block $block --device $device"
        # shellcheck disable=SC2086
        run "$bin/triage_bench" $problem --json -q --samples 30 --ceilings measured --plot "$out/bsr-$block.svg" \
            >"$out/bsr-$block.json" 2>"$out/bsr-$block.err"
        code=$?
        [ "$code" = 0 ] && word=verified || { word="exit $code" && bad=1; }
        note "bsr_gemm block $block" "$word" "$(python3 -c '
import json, sys
for c in json.load(open(sys.argv[1]))["contestants"]:
    if c["timing"]:
        print(c["name"], "%.0f" % c["timing"]["useful_tflops"], end="  ")' "$out/bsr-$block.json" 2>/dev/null)"
    done
    if [ -x "$bin/bench_calls" ] || [ "$dry" = 1 ]; then
        run "$bin/bench_calls" "$device" >"$out/calls.txt" 2>&1 || bad=1
        note "a repeated call" '' "$(grep -o '"added_ns": *[-0-9.]*' "$out/calls.txt" 2>/dev/null | head -n 1)"
    fi
}

# A packed site folder is unpacked beside the results.
unpack_fa4() {
    case $fa4 in
        *.txz)
            site=$out/fa4-site
            [ -d "$site/flash_attn" ] || { mkdir -p "$site" && run tar -xJf "$fa4" -C "$site"; }
            ;;
        *) site=$fa4 ;;
    esac
}

peers() {
    set -- --db "$db" --out "$out/attention.json" --set "$sets" --time-limit "$(remaining)" --commit "$commit" --jobs 8
    if [ -n "$fa4" ]; then
        unpack_fa4
        set -- "$@" --fa4-site "$site"
    fi
    [ "$device" = cuda ] || set -- "$@" --dry-run
    run python3 "$here/python/bench/attention.py" "$@"
    code=$?
    [ "$code" != 75 ] || left=1
    [ "$code" = 0 ] || [ "$code" = 75 ] || bad=1
    note "attention.py --set $sets" "exit $code" "$out/attention.json"
}

: >"$out/$part.table"
case $part in
    attention-right) attention_right ;;
    attention-sanitize) attention_sanitize ;;
    bsr-sanitize) bsr_sanitize ;;
    tune) tune ;;
    bsr-table) bsr_table ;;
    peers) peers ;;
    *) rm -f "$out/$part.table" && usage "--part '$part' is not one of attention-right, attention-sanitize, bsr-sanitize, tune, bsr-table, peers" ;;
esac
echo "== $part, $(spent) s of $limit"
cat "$out/$part.table"
[ "$dry" = 0 ] || exit 0
[ "$bad" = 0 ] || exit 1
[ "$left" = 0 ] || exit 75
