#!/bin/sh
# What only a GPU can show, in parts that go on where they stopped, from a pack made elsewhere (docs/gpu.md has the order).
#
#   sh tests/gpu/acceptance.sh PART:SECONDS... [--out DIR] [--build DIR] [--device cuda|host] [--set SETS] [--shapes FILE.csv]
#                              [--jobs N] [--fa4 SITE.txz|DIR] [--dry-run]
#
#   tune       triage_tune --from all cases of attention (--set) and of models, what saves most first: evidence.jsonl is for db/pretuned
#   decode     one token on a cache beside cuDNN: issue 16, 4
#   blocks     block masks of all sizes, even and uneven, and 128K tokens: issue 16, 3 and 8
#   peers      attention beside its peers (--set, default grid,special): issue 16, 1, 2 and 5
#   held       20 shapes of attention that nobody tuned, a lookup (of what is shipped and what tune found) against a tune: issue 16, 9
#   untuned    24 products that nobody tuned, likewise, and a first call of 50 ms: issue 17, 1
#   few        few columns against tuned Triton: issue 17, 2
#   epilogue   what SiLU and a bias cost over six layers: issue 17, 3
#   sanitize   every configuration of attention under compute-sanitizer's four tools: issue 15, 2
#   cover      the same by the gate alone, until each problem has met each axis value
#   right      every candidate of attention on the fixed cases
#   table      bsr_gemm as in README's table, and what a repeated call adds
#
#   --out      results and databases (default: acceptance-out). With $OUT set, all that is worth keeping goes to $OUT/results.txz, too;
#              build-packed/results.txz, which that becomes when it is carried, is where the next machine begins
#   --shapes   tune these instead
#   --dry-run  print what would be run; --device host: run it on the CPU, where a part has something to do there
#
# Without --build, build-packed/pack.txz is unpacked (tests/gpu/pack.sh), and its programs must be of this tree; else build-portable or build.
# The last lines are a short table. Exit codes: 0 all is right and done, 1 not, 64 usage, 75 something is left.
set -u
here=$(cd "$(dirname "$0")/../.." && pwd)
parts='' out=acceptance-out build='' device=cuda sets='' shapes='' jobs=$(nproc) fa4='' dry=0
known='tune decode blocks peers held untuned few epilogue sanitize cover right table'
usage() {
    echo "acceptance.sh: $1" >&2
    exit 64
}
while [ $# -gt 0 ]; do
    case $1 in
        --dry-run) dry=1 && shift && continue ;;
        --out | --build | --device | --set | --shapes | --jobs | --fa4) [ $# -ge 2 ] || usage "$1 needs a value" ;;
        -*) usage "unknown option '$1'" ;;
        *)
            case " $known " in *" ${1%:*} "*) ;; *) usage "part '${1%:*}' is not one of $known" ;; esac
            case ${1#*:} in '' | *[!0-9]*) usage "'$1': PART:SECONDS is wanted, e.g. ${1%:*}:120" ;; esac
            parts="$parts $1" && shift && continue
            ;;
    esac
    case $1 in
        --out) out=$2 ;;
        --build) build=$2 ;;
        --device) device=$2 ;;
        --set) sets=$2 ;;
        --shapes) shapes=$2 ;;
        --jobs) jobs=$2 ;;
        --fa4) fa4=$2 ;;
    esac
    shift 2
done
[ -n "$parts" ] || usage "which parts? e.g. tune:240 decode:60; there are $known"
case $device in cuda | host) ;; *) usage "--device $device is not one of cuda, host" ;; esac
mkdir -p "$out" || exit 1
out=$(cd "$out" && pwd)
packed=$here/build-packed

# ---- of one commit, or nothing is run ----
commit=$(git -C "$here" describe --always --dirty --abbrev=40 2>/dev/null || echo unknown)
if [ -z "$build" ] && [ -e "$packed/pack.txz" ] && [ "$device" = cuda ]; then
    build=$out/pack
    if [ ! -e "$build/MANIFEST" ] || [ -n "$(find "$packed/pack.txz" -newer "$build/MANIFEST")" ]; then
        commit=$(sh "$here/tests/gpu/pack.sh" --unpack "$build") || exit 1
        touch "$build/MANIFEST"
    else
        commit=$(sh "$here/tests/gpu/pack.sh" --check "$build") || exit 1
    fi
fi
[ -n "$build" ] || build=$here/build-portable
[ -x "$build/bin/triage_tune" ] || build=$here/build
[ -x "$build/bin/triage_tune" ] || usage "no triage_tune in $build/bin: build, or make a pack"
[ ! -e "$packed/results.txz" ] || [ -e "$out/triage.db" ] || tar -xJf "$packed/results.txz" --no-same-owner -C "$out"
bin=$build/bin db=$out/triage.db cache=$build/cache
mkdir -p -m 700 "$cache"
[ ! -d "$build/lib" ] || export LD_LIBRARY_PATH="$build/lib:${LD_LIBRARY_PATH:-}"
export XDG_DATA_HOME="$out/share" XDG_CACHE_HOME="$out/caches" TRIAGE_KERNELS_LIB="$build/lib" OMP_WAIT_POLICY=passive PYTHONUNBUFFERED=1
export PYTHONPATH="$here/python:${PYTHONPATH:-}"
mkdir -p -m 700 "$out/caches" && ln -sfn "$cache" "$out/caches/triage" # one cache of kernels for all programs

# ---- running ----
bad=0 left=0 limit=0 started=0
exec 3>&1
remaining() { echo $((limit - $(date +%s) + started)); }
# run COMMAND...: within what remains of the part; its exit code.
run() {
    [ "$dry" = 0 ] || { echo "+ $*" >&3 && return 0; }
    [ "$(remaining)" -gt 0 ] || return 75
    timeout -k 10 "$(($(remaining) + 15))" "$@" </dev/null
}
note() { printf '%-28s %-8s %s\n' "$1" "$2" "$3" >>"$out/table"; }
# judge NAME CODE TEXT: 75, and to be stopped, is left; 0 is done; all else is bad.
judge() {
    case $2 in
        0) word="done" ;;
        75 | 124 | 137) word=left && left=1 ;;
        *) word="exit $2" && bad=1 ;;
    esac
    [ "$dry" = 0 ] || word='not run'
    note "$1" "$word" "$3"
}
# measure NAME COMMAND...: its words go to OUT/NAME.txt, the last line of them into the table.
measure() {
    name=$1
    shift
    run "$@" >"$out/$name.txt" 2>&1
    judge "$name" $? "$(tail -n 1 "$out/$name.txt" | cut -c 1-150)"
}

# ---- attention ----
best_of='import json, sys
text, rows = open(sys.argv[1]).read(), []
while text.strip():
    found, end = json.JSONDecoder().raw_decode(text.lstrip())
    text = text.lstrip()[end:]
    rows += [(found, row) for row in found["rows"] if row["config"] == found["winner"]][:1]
for found, row in rows:
    print("%9.1f us %7.1f TFLOP/s %5.1f s  %s  %s" % (row["median_ns"] / 1e3, found["useful_flops"] / row["median_ns"] / 1e3,
                                                 found["elapsed_ns"] / 1e9, found["problem"], row["config"]))
print("%d problems have a winner" % len(rows))'
tune() {
    [ -n "$shapes" ] || python3 "$here/python/bench/attention_cases.py" --shapes "$out/cases.csv" ${sets:+--set "$sets"} \
        --patterns "$out/patterns" || bad=1
    for list in ${shapes:-"$out/cases.csv" "$here/python/bench/attention_models.csv"}; do
        name=tune-$(basename "$list" .csv)
        # 16 candidates: the default, what is known of near problems, and what a model of the space makes of those
        run "$bin/triage_tune" --from "$list" --total-limit "$(remaining)" --time-limit 25 --budget 16 --device "$device" --db "$db" \
            --cache-dir "$cache" --jobs "$jobs" --json >"$out/$name.json" 2>"$out/$name.err"
        code=$?
        [ "$dry" = 1 ] || python3 -c "$best_of" "$out/$name.json" >"$out/$name.txt" 2>&1
        judge "$name" "$code" "$(tail -n 1 "$out/$name.txt" 2>/dev/null); $(tail -n 1 "$out/$name.err" 2>/dev/null | cut -c 1-110)"
    done
    run "$bin/triage_db" export "$out/evidence.jsonl" --db "$db"
}
# A packed site folder is unpacked beside the results.
unpack_fa4() {
    case $fa4 in
        *.txz) [ -d "$out/fa4-site/flash_attn" ] || { mkdir -p "$out/fa4-site" && run tar -xJf "$fa4" -C "$out/fa4-site"; } ;;
        ?*) ln -sfn "$fa4" "$out/fa4-site" ;;
    esac
}
# attention NAME SETS PEERS: what must hold of them is in what it prints.
attention() {
    unpack_fa4
    set -- "$1" --set "$2" --peers "$3" ${fa4:+--fa4-site "$out/fa4-site"}
    name=$1
    shift
    [ "$device" = cuda ] || set -- "$@" --dry-run
    measure "$name" python3 "$here/python/bench/attention.py" --db "$db" --cache-dir "$cache" --out "$out/attention-$name.json" --commit "$commit" \
        --jobs "$jobs" --time-limit "$(remaining)" "$@"
    [ "$dry" = 1 ] || grep '^holds\|^FAILS\|^open\|^WRONG' "$out/$name.txt" >>"$out/table"
}
untuned() { # NAME OPTION...
    name=$1
    shift
    measure "$name" sh "$here/tests/gpu/untuned.sh" --build "$build" --out "$out/$name" --limit "$(remaining)" --jobs "$jobs" --device "$device" "$@"
}
sanitize() { # NAME OPTION...
    name=$1
    shift
    measure "$name" sh "$here/tests/gpu/sanitize.sh" --op attention --build "$build" --out "$out/$name" --resume 1 --cache "$cache" --jobs "$jobs" \
        --device "$device" --commit "$commit" --grace 10 --time-limit "$(remaining)" "$@"
}
right() {
    for i in $(seq "$jobs"); do
        run "$bin/run_attention" --device "$device" --all --part "$i/$jobs" --cache "$cache" >"$out/right.$i.txt" 2>&1 &
    done
    wait
    cat "$out"/right.*.txt >"$out/right.txt"
    [ "$(grep -c '^run_attention: .* wrong=0 ' "$out/right.txt")" = "$jobs" ] && code=0 || code=75
    ! grep -q '^WRONG\|^run_attention: .* wrong=[1-9]' "$out/right.txt" || code=1
    judge right "$code" "$(grep -h '^WRONG' "$out/right.txt" | head -n 1)"
}

# ---- products ----
table() {
    size=8192
    [ "$device" = cuda ] || size=256
    for block in 16 32 64 128; do
        run "$bin/triage_bench" --shape "$size,$size,$size" --sparsity 0.9 --block "$block" --device "$device" --db "$db" --json -q --samples 30 \
            --ceilings measured >"$out/bsr-$block.json" 2>"$out/bsr-$block.err"
        judge "bsr_gemm block $block" $? "$(tail -n 1 "$out/bsr-$block.err" | cut -c 1-150)"
    done
    measure bench_calls "$bin/bench_calls" "$device"
}
one_part() {
    case $1 in
        tune) tune ;;
        decode) attention decode decode cudnn ;;
        blocks) attention blocks blocks,sizes,long none ;;
        peers) attention peers "${sets:-grid,special}" "$([ -n "$fa4" ] && echo fa4,)cudnn,flash" ;;
        held)
            [ -e "$out/evidence.jsonl" ] && set -- --evidence "$out/evidence.jsonl" || set --
            untuned held --op attention --shapes 20 --median 5 "$@"
            ;;
        untuned) untuned untuned --shapes 24 --first-call-ms 50 --expected 2 --tune-limit 4 ;;
        few) measure few python3 "$here/python/bench/grid.py" --set few --spread 1 --compile-ahead 3 --tune-largest 6e7 --tune-budget 24 --no-cusparse \
            --db "$out/few.db" --out "$out/few.json" --bin "$bin" --cache-dir "$cache" --jobs "$jobs" --commit "$commit" --time-limit "$(remaining)" ;;
        epilogue) measure epilogue python3 "$here/python/bench/epilogue.py" --db "$out/layer.db" --out "$out/epilogue.json" --bin "$bin" \
            --commit "$commit" --at-most 3 --time-limit "$(remaining)" ;;
        sanitize) sanitize sanitize --once 1 ;;
        cover) sanitize cover --tools gate --cover 1 ;;
        right) right ;;
        table) table ;;
    esac
}

: >"$out/table"
for part in $parts; do
    limit=${part#*:} started=$(date +%s)
    one_part "${part%:*}"
    note "= ${part%:*}" '' "$(($(date +%s) - started)) s of $limit"
done
[ "$dry" = 1 ] || [ -z "${OUT:-}" ] || tar -cJf "$OUT/results.txz" -C "$out" --exclude=./pack --exclude=./caches --exclude=./fa4-site \
    --exclude='*.smtx' .
echo "commit $commit"
cat "$out/table"
[ "$dry" = 0 ] || exit 0
[ "$bad" = 0 ] || exit 1
[ "$left" = 0 ] || exit 75
