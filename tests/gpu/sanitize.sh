#!/bin/sh
# Every candidate of the space on small ragged problems under the four tools of compute-sanitizer.
#
#   sh tests/gpu/sanitize.sh [--build DIR] [--out DIR] [--tools "memcheck racecheck synccheck initcheck"]
#                            [--jobs N] [--per-tool N] [--part I/N] [--time-limit S] [--cache DIR] [--once 1]
#
#   --build      where bin/run_candidates is (default: build, else build-portable)
#   --out        sanitize.json, sanitize.log (all that is not clean) and the parts (default: sanitize-out)
#   --jobs       processes at once: compilers first, then tools (default: the cores)
#   --per-tool   processes that share one tool's candidates (default: jobs / tools, at least 1)
#   --part I/N   only that part of the candidates: several calls make the whole
#   --time-limit seconds for all; what it leaves out is counted, and is a failure (default 600)
#   --once 1     each configuration by one text, not by one for each problem: see run_candidates.c
#   --cache      compiled kernels; a second call compiles nothing (default: OUT/cache)
#
# Each tool must first find a planted defect of its kind: a tool that cannot fail says nothing. Exit codes: 0 no
# finding, every result right, nothing left out; 1 otherwise; 64 usage; 77 no GPU or no compute-sanitizer.
set -eu
here=$(cd "$(dirname "$0")/../.." && pwd)

build= out=sanitize-out tools="memcheck racecheck synccheck initcheck" per_tool= part=1/1 limit=600 cache= once=
jobs=$(nproc)
while [ $# -gt 0 ]; do
    [ $# -ge 2 ] || { echo "sanitize.sh: $1 wants a value" >&2; exit 64; }
    case $1 in
        --build) build=$2 ;;
        --out) out=$2 ;;
        --tools) tools=$2 ;;
        --jobs) jobs=$2 ;;
        --per-tool) per_tool=$2 ;;
        --part) part=$2 ;;
        --time-limit) limit=$2 ;;
        --cache) cache=$2 ;;
        --once) once=--once ;;
        *) echo "sanitize.sh: no option $1" >&2; exit 64 ;;
    esac
    shift 2
done
number() { case $2 in '' | *[!0-9]* | 0) echo "sanitize.sh: $1 $2 is no number from 1 on" >&2; exit 64 ;; esac; }
number --jobs "$jobs"
number --time-limit "$limit"
number --part "${part%/*}"
number --part "${part#*/}"
[ "${part%/*}" -le "${part#*/}" ] || { echo "sanitize.sh: --part $part: I is 1 to N" >&2; exit 64; }
tool_count=0
for tool in $tools; do
    case $tool in
        memcheck | racecheck | synccheck | initcheck) tool_count=$((tool_count + 1)) ;;
        *) echo "sanitize.sh: no tool $tool" >&2; exit 64 ;;
    esac
done
[ -n "$per_tool" ] || per_tool=$((jobs / tool_count))
[ "$per_tool" -ge 1 ] 2>/dev/null || per_tool=1

[ -n "$build" ] || for folder in build build-portable; do
    [ -x "$here/$folder/bin/run_candidates" ] && build=$here/$folder && break
done
program=${build:-$here/build}/bin/run_candidates
[ -x "$program" ] || { echo "sanitize.sh: no $program: cmake --build first" >&2; exit 64; }
# The environment's COMPUTE_SANITIZER, the loader's path, the toolkit's folder.
sanitizer=${COMPUTE_SANITIZER:-$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)}
[ -x "$sanitizer" ] || { echo "skipped: no compute-sanitizer"; exit 77; }

mkdir -p "$out"
out=$(cd "$out" && pwd)
cache=${cache:-$out/cache}
mkdir -p "$cache"
chmod 700 "$cache"
rm -f "$out"/*.tool.txt "$out"/*.run.txt "$out"/*.tsv "$out"/compile.*.txt "$out"/planted.* "$out"/sanitize.*

# Many processes on one CPU: their references take two threads each, and none spins.
export OMP_NUM_THREADS=2 OMP_WAIT_POLICY=passive
begin=$(date +%s)
remaining() { left=$((limit - $(date +%s) + begin)); [ "$left" -ge 1 ] || left=1; echo "$left"; }

# ---- every kernel into the cache first: NVRTC under a tool is slow ----
i=${part%/*}
n=${part#*/}
part_of() { echo "$((i + n * ($1 - 1)))/$((n * $2))"; } # the $1-th of $2 shares of our part
for job in $(seq "$jobs"); do
    "$program" --compile-only $once --cache "$cache" --part "$(part_of "$job" "$jobs")" --time-limit "$(remaining)" \
        >"$out/compile.$job.txt" 2>&1 &
done
wait
sum_of() { # FIELD FILE...: of the last lines for scripts
    field=$1
    shift
    sed -n "s/^\(run\|compiled\) .*\b$field=\([0-9]*\).*/\2/p" "$@" | awk '{s += $1} END {print s + 0}'
}
if grep -h 'no usable device' "$out"/compile.*.txt >"$out/no_nvrtc"; then
    echo "skipped: $(head -n 1 "$out/no_nvrtc")"
    exit 77
fi
compiled=$(sum_of candidates "$out"/compile.*.txt)
compile_seconds=$(($(date +%s) - begin))
grep -h '^WRONG' "$out"/compile.*.txt || true
echo "$compiled kernels in the cache after $compile_seconds s ($jobs compilers)"

# ---- each tool against its planted defect ----
# errors FILE...: what the tool's own summaries count; "none" when there is none (it did not run to its end)
errors() {
    awk '/(ERROR|RACECHECK) SUMMARY:/ {
             for (i = 1; i < NF; i++) if ($i == "SUMMARY:") s += $(i + 1)
             if (!(FILENAME in met)) { met[FILENAME]; n++ }
         }
         END { print n == '"$#"' ? s : "none" }' "$@"
}
under() { # TOOL LOG COMMAND...
    tool_=$1
    log_=$2
    shift 2
    timeout -k 5 "$(($(remaining) + 30))" "$sanitizer" --tool "$tool_" --launch-timeout 120 --print-limit 50 --log-file "$log_" "$@"
}
for tool in $tools; do
    under "$tool" "$out/planted.$tool.tool.txt" "$program" --plant "$tool" --cache "$cache" \
        >"$out/planted.$tool.run.txt" 2>&1 &
done
wait
for tool in $tools; do
    if grep -q 'no usable device' "$out/planted.$tool.run.txt"; then
        echo "skipped: $(head -n 1 "$out/planted.$tool.run.txt")"
        exit 77
    fi
done

# ---- the candidates ----
start=$(date +%s)
for tool in $tools; do
    for share in $(seq "$per_tool"); do
        under "$tool" "$out/$tool.$share.tool.txt" \
            "$program" $once --cache "$cache" --part "$(part_of "$share" "$per_tool")" --time-limit "$(remaining)" \
            --log "$out/$tool.$share.tsv" >"$out/$tool.$share.run.txt" 2>&1 &
    done
done
wait
run_seconds=$(($(date +%s) - start))

# ---- the table and the JSON ----
bad=0
rows=
printf '%-10s %10s %14s %8s %9s %6s %6s %9s  %s\n' tool candidates configurations runs launches wrong left findings planted
for tool in $tools; do
    set -- "$out/$tool".[0-9]*.tool.txt
    findings=none
    [ $# -eq "$per_tool" ] && findings=$(errors "$@")
    planted=$(errors "$out/planted.$tool.tool.txt" 2>/dev/null || echo none)
    set -- "$out/$tool".[0-9]*.run.txt
    # A process that died without its last line has left out what nobody counted.
    ended=$(grep -l '^run part=' "$@" | wc -l)
    candidates=$(cat "$out/$tool".*.tsv 2>/dev/null | cut -f1 | sort -u | wc -l)
    configurations=$(cat "$out/$tool".*.tsv 2>/dev/null | cut -f2,3 | sort -u | wc -l)
    runs=$(sum_of runs "$@")
    launches=$(sum_of launches "$@")
    wrong=$(sum_of wrong "$@")
    left=$(sum_of left "$@")
    [ "$ended" -eq "$per_tool" ] || left="$left+"
    printf '%-10s %10s %14s %8s %9s %6s %6s %9s  %s\n' "$tool" "$candidates" "$configurations" "$runs" "$launches" \
        "$wrong" "$left" "$findings" "$planted"
    grep -h '^WRONG\|^run_candidates:\|lost' "$@" | head -n 20 || true
    [ "$findings" = 0 ] && [ "$wrong" = 0 ] && [ "$left" = 0 ] && [ "$runs" -gt 0 ] || bad=1
    case $planted in 0 | none) bad=1 && echo "$tool did not find the planted defect" ;; esac
    [ "$findings" = 0 ] || grep -h -A3 '^========= \(Error\|Warning\|Invalid\|Uninit\|Barrier\|Diverg\|Program hit\)' \
        "$out/$tool".[0-9]*.tool.txt | head -n 40 || true
    complete=true
    [ "$left" = 0 ] || complete=false
    number_or_null() { case $1 in none) echo null ;; *) echo "$1" ;; esac; }
    rows="$rows${rows:+,}
    {\"tool\": \"$tool\", \"candidates\": $candidates, \"configurations\": $configurations, \"runs\": $runs,
     \"launches\": $launches, \"wrong\": $wrong, \"left\": ${left%+}, \"complete\": $complete,
     \"findings\": $(number_or_null "$findings"), \"found_in_planted\": $(number_or_null "$planted")}"
done
for file in "$out"/*.tool.txt "$out"/*.run.txt; do
    grep -q 'SUMMARY: 0 \|^run .* wrong=0 left=0 ' "$file" || { echo "==== $file"; head -n 200 "$file"; }
done >"$out/sanitize.log"
device=$(sed -n 's/^device //p' "$out"/*.run.txt | sort -u | head -n 1)
version=$("$sanitizer" --version 2>/dev/null | sed -n 's/.*[Vv]ersion *//p' | head -n 1)
driver=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader 2>/dev/null | head -n 1 || true)
commit=$(git -C "$here" rev-parse --short=10 HEAD 2>/dev/null || true)
cat >"$out/sanitize.json" <<JSON
{
  "schema": 1, "kind": "sanitize", "date": "$(date -u +%Y-%m-%dT%H:%M:%SZ)", "commit": "$commit",
  "device": "$device", "driver": "$driver", "compute_sanitizer": "$version", "part": "$part",
  "compiled": $compiled, "compile_seconds": $compile_seconds, "run_seconds": $run_seconds,
  "processes_per_tool": $per_tool,
  "tools": [$rows
  ]
}
JSON
echo "$out/sanitize.json: $device; $(($(date +%s) - begin)) s"
exit "$bad"
