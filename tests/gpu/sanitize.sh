#!/bin/sh
# Every candidate of an operation's space on small ragged problems under the four tools of compute-sanitizer.
#
#   sh tests/gpu/sanitize.sh [--build DIR] [--out DIR] [--tools "memcheck racecheck synccheck initcheck"]
#                            [--jobs N] [--per-tool N] [--gpus N] [--part I/N] [--time-limit S] [--grace S]
#                            [--cache DIR] [--once 1] [--racecheck-workers N]
#                            [--device cuda|host] [--done TOOL=FILE]... [--resume 1] [--commit HASH]
#                            [--op bsr_gemm|attention] [--cover 1]
#
#   --op         bsr_gemm (the default): bin/run_candidates; attention: bin/run_candidates_attention
#   --build      where bin/ is (default: build, else build-portable)
#   --tools      or gate: no tool watches, and the house's gate alone judges
#   --out        sanitize.json, sanitize.log (all that is not clean) and the parts (default: sanitize-out)
#   --jobs       processes at once: compilers first, then tools (default: the cores)
#   --per-tool   processes that begin with one tool (default: jobs / tools, at least 1); all take their candidates
#                in units from one list a tool, and those whose list is empty help with the longest of the others
#   --gpus N     processes are dealt over N GPUs (default: what nvidia-smi counts, or CUDA_VISIBLE_DEVICES names)
#   --part I/N   only that part of the candidates: several calls make the whole
#   --time-limit seconds for all; what it leaves out is counted, and is a failure (default 600)
#   --grace S    seconds past the limit for a launch to end, then its process is killed (default 30)
#   --once 1     each configuration on one problem, its most ragged: see run_candidates.c
#   --cover 1    each configuration, and each axis value on each problem: likewise
#   --racecheck-workers N   threads of one racecheck process, 0: the tool's own choice (default 2)
#   --device     where the candidates run (default: cuda; host is for the test of this script). Which of them there are
#                is asked of it once, at first: OUT/plan
#   --done TOOL=FILE   an earlier call's OUT/TOOL.done.tsv: its candidates are left out of that tool's list, and what
#                this call adds is written with them to this one's, so that several calls make the whole. Once a tool;
#                FILE may be absent. A line counts when its kernel's text and its problem are still of the list: what
#                is not in a kernel's text (its grid, the host's code) is for you to remember.
#   --resume 1   what an earlier call left in --out is --done, of each tool that has none
#   --commit HASH  what was checked out, for a tree whose own git does not know (default: git's)
#   --cache      compiled kernels; a second call compiles nothing (default: OUT/cache)
#
# Each tool must first find a planted defect of its kind: a tool that cannot fail says nothing. The counts are of
# what the processes logged, against what the list has: also where one was killed, or this script (TERM, INT). A
# tool's candidates are not told from the plain kernel of verification: both are triage_kernel, and a filter would
# save the two launches that each opened problem costs. TOOL.done.tsv has of a line of the logs the first five fields,
# of the right results of processes whose tool came to its summary and found nothing: what shared a process with a
# finding is run again. In sanitize.json, runs (and what is counted beside it) are this call's, earlier_runs are
# --done's; complete: nothing of the whole list is left. Exit codes: 0 no
# finding, every result right, nothing left out; 1 otherwise; 64 usage; 77 no GPU or no compute-sanitizer.
set -eu
here=$(cd "$(dirname "$0")/../.." && pwd)

build= resume= out=sanitize-out tools="memcheck racecheck synccheck initcheck" per_tool= part=1/1 limit=600 cache= once=
device=cuda gpus= grace=30 workers=2 commit= dones= op=bsr_gemm
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
        --resume) resume=1 ;;
        --once) once=--once ;;
        --cover) once=--cover ;;
        --op) op=$2 ;;
        --gpus) gpus=$2 ;;
        --device) device=$2 ;;
        --commit) commit=$2 ;;
        --done) dones="$dones$2
" ;;
        --grace) grace=$2 ;;
        --racecheck-workers) workers=$2 ;;
        *) echo "sanitize.sh: no option $1" >&2; exit 64 ;;
    esac
    shift 2
done
number() { case $2 in '' | *[!0-9]* | 0) echo "sanitize.sh: $1 $2 is no number from 1 on" >&2; exit 64 ;; esac; }
number --jobs "$jobs"
number --time-limit "$limit"
number --grace "$grace"
[ "$workers" = 0 ] || number --racecheck-workers "$workers"
[ -z "$per_tool" ] || number --per-tool "$per_tool"
number --part "${part%/*}"
number --part "${part#*/}"
[ "${part%/*}" -le "${part#*/}" ] || { echo "sanitize.sh: --part $part: I is 1 to N" >&2; exit 64; }
tool_count=0
for tool in $tools; do
    case $tool in
        memcheck | racecheck | synccheck | initcheck | gate) tool_count=$((tool_count + 1)) ;;
        *) echo "sanitize.sh: no tool $tool" >&2; exit 64 ;;
    esac
done
[ "$tool_count" -gt 0 ] || { echo "sanitize.sh: --tools names none" >&2; exit 64; }
[ -n "$per_tool" ] || per_tool=$((jobs / tool_count))
[ "$per_tool" -ge 1 ] || per_tool=1

newline='
'
case $device in cuda | host) ;; *) echo "sanitize.sh: --device $device is neither cuda nor host" >&2; exit 64 ;; esac
case $commit in *[!0-9a-zA-Z._-]*) echo "sanitize.sh: --commit $commit is no name of a commit" >&2; exit 64 ;; esac
# The file of --done for a tool: nothing when there is none.
done_of() {
    case "$newline$dones" in
        *"$newline$1="*) printf '%s' "$dones" | sed -n "s/^$1=//p" ;;
        *) [ -z "$resume" ] || echo "$out/$1.done.tsv" ;;
    esac
}
for tool in $(printf '%s' "$dones" | sed 's/=.*//' | sort); do
    case " $tools " in *" $tool "*) ;; *) echo "sanitize.sh: --done $tool=...: no tool of this call" >&2; exit 64 ;; esac
    case $(done_of "$tool") in
        '' | *"$newline"*) echo "sanitize.sh: --done is TOOL=FILE, once a tool" >&2; exit 64 ;;
    esac
done

# A GPU is named as CUDA_VISIBLE_DEVICES does, which may already be a choice.
there=$(nvidia-smi -L 2>/dev/null | grep -c '^GPU ') || there=
cards=$(echo "${CUDA_VISIBLE_DEVICES:-}" | tr ',' ' ')
[ -z "$cards" ] || there=$(echo "$cards" | wc -w)
[ -n "$gpus" ] || gpus=${there:-1}
number --gpus "$gpus"
[ "$gpus" -le "${there:-$gpus}" ] || { echo "sanitize.sh: --gpus $gpus: there are $there" >&2; exit 64; }
[ -n "$cards" ] || cards=$(seq 0 $((gpus - 1)))
card() { echo $cards | cut -d ' ' -f "$(($1 % gpus + 1))"; } # of the process with that number

case $op in
    bsr_gemm) program=run_candidates ;;
    attention) program=run_candidates_attention ;;
    *) echo "sanitize.sh: --op $op is neither bsr_gemm nor attention" >&2; exit 64 ;;
esac
[ -n "$build" ] || for folder in build build-portable; do
    [ -x "$here/$folder/bin/$program" ] && build=$here/$folder && break
done
program=${build:-$here/build}/bin/$program
[ -x "$program" ] || { echo "sanitize.sh: no $program: cmake --build first" >&2; exit 64; }
# The environment's COMPUTE_SANITIZER, the loader's path, the toolkit's folder.
sanitizer=${COMPUTE_SANITIZER:-$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)}
[ -x "$sanitizer" ] || { echo "skipped: no compute-sanitizer"; exit 77; }

mkdir -p "$out"
out=$(cd "$out" && pwd)
cache=${cache:-$out/cache}
mkdir -p "$cache"
chmod 700 "$cache"
for tool in $tools; do # before the old files go: it may be one of them
    file=$(done_of "$tool")
    if [ -n "$file" ] && [ -e "$file" ]; then
        awk -F '\t' -v OFS='\t' 'NF >= 5 && $5 == "right" {print $1, $2, $3, $4, $5}' <"$file" || exit 64
    fi >"$out/$tool.earlier"
done
rm -f "$out"/plan "$out"/plan.txt "$out"/*.plan "$out"/*.tool.txt "$out"/*.run.txt "$out"/*.tsv "$out"/*.next "$out"/*.end "$out"/compile.*.txt "$out"/planted.* "$out"/sanitize.*
for tool in $tools; do cp "$out/$tool.earlier" "$out/$tool.done.tsv"; done

# Many processes on one CPU: their references take what it has for each, and none spins.
OMP_NUM_THREADS=$((($(nproc) + tool_count * per_tool - 1) / (tool_count * per_tool)))
export OMP_NUM_THREADS OMP_WAIT_POLICY=passive
begin=$(date +%s)
remaining() { left=$((limit - $(date +%s) + begin)); [ "$left" -ge 1 ] || left=1; echo "$left"; }

# ---- the plan, and each tool against its planted defect ----
# errors FILE...: what the tool's own summaries count; "none" when there is none (it did not run to its end)
errors() {
    awk '/(ERROR|RACECHECK) SUMMARY:/ {
             for (i = 1; i < NF; i++) if ($i == "SUMMARY:") s += $(i + 1)
             if (!(FILENAME in met)) { met[FILENAME]; n++ }
         }
         END { print n == '"$#"' ? s : "none" }' "$@"
}
# No backtraces of the host: taken at every allocation and launch, and always the same. One process, no children.
# Ten ports for each: dozens of tools look for theirs at once.
help=$("$sanitizer" --help 2>/dev/null || true)
racecheck_options=
case $help in *--racecheck-num-workers*) racecheck_options="--racecheck-num-workers $workers" ;; esac
# Without a tool the program's own words are the log, where it came to its end.
gated() { # NUMBER LOG COMMAND...
    log_=$2
    code_=0
    CUDA_VISIBLE_DEVICES=$(card "$1")
    export CUDA_VISIBLE_DEVICES
    shift 2
    timeout -k 5 "$(($(remaining) + grace))" "$@" || code_=$?
    case $code_ in
        0 | 1 | 75) echo "ERROR SUMMARY: $(grep -c '^WRONG' "${log_%.tool.txt}.run.txt" || true) errors" >"$log_" ;;
    esac
    return "$code_"
}
under() { # NUMBER TOOL LOG COMMAND...: the process with that number
    number_=$1
    tool_=$2
    log_=$3
    shift 3
    if [ "$tool_" = gate ]; then
        gated "$number_" "$log_" "$@"
        return
    fi
    options_=
    [ "$tool_" != racecheck ] || options_=$racecheck_options
    CUDA_VISIBLE_DEVICES=$(card "$number_") timeout -k 5 "$(($(remaining) + grace))" "$sanitizer" --tool "$tool_" \
        --launch-timeout 120 --target-processes application-only --show-backtrace device \
        --port $((49152 + 10 * number_)) --print-limit 50 $options_ --log-file "$log_" "$@"
}
if ! "$program" --compile-only --plant memcheck --cache "$cache" >"$out/no_nvrtc" 2>&1; then
    echo "skipped: $(head -n 1 "$out/no_nvrtc")"
    exit 77
fi
start=$(date +%s)
"$program" --make-plan "$out/plan" --device "$device" $once --part "$part" >"$out/plan.txt" 2>&1 &
planner=$!
number_of_tool=0
for tool in $tools; do
    under "$number_of_tool" "$tool" "$out/planted.$tool.tool.txt" "$program" --plant "$tool" --device "$device" --cache "$cache" \
        >"$out/planted.$tool.run.txt" 2>&1 &
    number_of_tool=$((number_of_tool + 1))
done
planned=0
wait "$planner" || planned=$?
plan_seconds=$(($(date +%s) - start))
wait
[ "$planned" != 77 ] || { echo "skipped: $(head -n 1 "$out/plan.txt")"; exit 77; }
[ "$planned" = 0 ] || { echo "there is no plan:"; cat "$out/plan.txt"; exit 1; }
for tool in $tools; do
    if grep -q 'no usable device' "$out/planted.$tool.run.txt"; then
        echo "skipped: $(head -n 1 "$out/planted.$tool.run.txt")"
        exit 77
    fi
done
found() { errors "$out/planted.$1.tool.txt" 2>/dev/null || echo none; }
working=0
for tool in $tools; do
    case $(found "$tool") in
        0 | none) echo "$tool did not find the planted defect" && head -n 5 "$out/planted.$tool".*.txt ;;
        *) working=$((working + 1)) ;;
    esac
done
[ "$working" -gt 0 ] || { echo "compute-sanitizer does not work here"; exit 1; }

# ---- what is left for each tool ----
of_count() { sed -n "s/^count .*\b$1=\([0-9]*\).*/\1/p"; } # of what --count and --make-plan print
expected=$(of_count runs <"$out/plan.txt") units=$(of_count units <"$out/plan.txt")
[ "$expected" -gt 0 ] || { echo "sanitize.sh: --part $part has no candidate" >&2; exit 1; }
for tool in $tools; do
    awk -F '\t' '{key = $1 FS $2 FS $3 FS $4}
        earlier {ended[key]; next}
        NF < 5 || !(key in ended)' earlier=1 "$out/$tool.earlier" earlier= "$out/plan" >"$out/$tool.plan"
    counted=$("$program" --count --plan "$out/$tool.plan" $once --part "$part") ||
        { echo "sanitize.sh: $(echo "$counted" | tail -n 1)" >&2; exit 1; }
    eval "runs_$tool=$(echo "$counted" | of_count runs) units_$tool=$(echo "$counted" | of_count units)"
done
runs_of() { eval echo "\$runs_$1"; }
units_of() { eval echo "\$units_$1"; }

# ---- every kernel into the cache first: NVRTC under a tool is slow ----

# TERM or INT end what runs; the table and the JSON say how far it came.
stopped=
children=
stop() {
    stopped=1
    kill $children 2>/dev/null || true
}
trap stop TERM INT
wait_all() { for child_ in $children; do while kill -0 "$child_" 2>/dev/null; do wait "$child_" || true; done; done; }

start=$(date +%s)
for job in $(seq "$jobs"); do
    [ "$tools" != gate ] || break # not under a tool: each process compiles what it runs
    "$program" --compile-only --plan "$out/plan" $once --cache "$cache" --part "$part" --share "$out/compile.next" \
        --time-limit "$(remaining)" >"$out/compile.$job.txt" 2>&1 &
    children="$children $!"
done
wait_all
children=
sum_of() { # FIELD FILE...: of the last lines for scripts
    field=$1
    shift
    sed -n "s/^\(run\|compiled\) .*\b$field=\([0-9]*\).*/\2/p" "$@" | awk '{s += $1} END {print s + 0}'
}
compiled=$(sum_of candidates "$out"/compile.*.txt 2>/dev/null)
compile_seconds=$(($(date +%s) - start))
grep -h '^WRONG' "$out"/compile.*.txt 2>/dev/null || true
echo "$compiled kernels in the cache after $compile_seconds s ($jobs compilers)"

# ---- the candidates ----
taken() { cat "$out/$1.next" 2>/dev/null || echo 0; }
# The tool that process NUMBER turns to: its own, else the one with the most units left; nothing when all are taken.
next_tool() { # OWN
    best_= most_=0
    for tool_ in $1 $tools; do
        rest_=$(($(units_of "$tool_") - $(taken "$tool_")))
        [ "$rest_" -gt "$most_" ] || continue
        best_=$tool_ most_=$rest_
        [ "$tool_" != "$1" ] || break
    done
    echo "$best_"
}
# Until nothing is left. A lost device ends a process; the next one goes on behind the candidate that lost it.
process() { # NUMBER OWN
    child=
    trap 'kill $child 2>/dev/null; exit 1' TERM INT
    round=0
    while tool=$(next_tool "$2") && [ -n "$tool" ] && [ "$round" -lt 50 ] && [ $(($(date +%s) - begin)) -lt "$limit" ]; do
        round=$((round + 1))
        name="$out/$tool.$1.$round"
        before=$(taken "$tool")
        under "$1" "$tool" "$name.tool.txt" "$program" --device "$device" --plan "$out/$tool.plan" $once \
            --part "$part" --cache "$cache" --share "$out/$tool.next" --time-limit "$(remaining)" --log "$name.tsv" >"$name.run.txt" 2>&1 &
        child=$!
        wait "$child" || true
        echo $(($(date +%s) - start)) >"$name.end"
        [ "$(taken "$tool")" -gt "$before" ] || break # it took nothing and nobody else did: it cannot work
    done
}
start=$(date +%s)
number=0
for share in $(seq "$per_tool"); do
    for tool in $tools; do
        [ -z "$stopped" ] || break 2
        process "$number" "$tool" &
        children="$children $!"
        number=$((number + 1))
    done
done
wait_all
run_seconds=$(($(date +%s) - start))

# ---- the table and the JSON ----
bad=0
rows=
echo "each tool: $expected runs in $units units, $number processes on $gpus GPUs"
printf '%-10s %10s %14s %8s %9s %6s %6s %9s %8s  %s\n' \
    tool candidates configurations runs launches wrong left findings planted seconds
# Of the processes of a tool that came to its summary without a finding: the results that were right.
clean_rows() {
    for file in "$out/$1".[0-9]*.tool.txt; do
        [ -f "$file" ] && [ "$(errors "$file")" = 0 ] || continue
        awk -F '\t' -v OFS='\t' 'NF == 7 && $5 == "right" {print $1, $2, $3, $4, $5}' "${file%.tool.txt}.tsv"
    done
}
number_or_null() { case $1 in none) echo null ;; *) echo "$1" ;; esac; }
for tool in $tools; do
    # A process that did not come to its summary: its findings are not known, and so neither is the sum.
    set -- "$out/$tool".[0-9]*.run.txt
    processes=0
    for file; do [ ! -f "$file" ] || processes=$((processes + 1)); done
    set -- "$out/$tool".[0-9]*.tool.txt
    findings=none
    [ "$processes" -gt 0 ] && [ $# -eq "$processes" ] && [ -f "$1" ] && findings=$(errors "$@")
    planted=$(found "$tool")
    # File by file: the broken last lines of two killed processes must not join into one that looks whole.
    awk -F '\t' 'NF == 7' "$out/$tool".[0-9]*.tsv >"$out/$tool.ended" 2>/dev/null || true
    candidates=$(cut -f1 "$out/$tool.ended" | sort -u | wc -l)
    configurations=$(cut -f2,3 "$out/$tool.ended" | sort -u | wc -l)
    runs=$(wc -l <"$out/$tool.ended")
    launches=$(awk -F '\t' '{s += $6} END {print s + 0}' "$out/$tool.ended")
    wrong=$(awk -F '\t' '$5 != "right"' "$out/$tool.ended" | wc -l)
    earlier=$((expected - $(runs_of "$tool")))
    left=$((expected - earlier - runs))
    [ "$processes" -gt 0 ] || [ "$left" -gt 0 ] || findings=0 # there was nothing left to run
    seconds=$(cat "$out/$tool".[0-9]*.end 2>/dev/null | sort -n | tail -n 1)
    seconds=${seconds:-$run_seconds}
    printf '%-10s %10s %14s %8s %9s %6s %6s %9s %8s  %s\n' "$tool" "$candidates" "$configurations" "$runs" "$launches" \
        "$wrong" "$left" "$findings" "$planted" "$seconds"
    [ "$earlier" = 0 ] || echo "$tool: $earlier of $expected runs were right in earlier calls"
    for file in "$out/$tool".[0-9]*.tsv; do
        [ ! -f "$file" ] || awk -F '\t' 'NF == 4 {print "never came back: " $4 ": " $3}' "$file"
    done
    grep -h '^WRONG\|^run_candidates:\|lost' "$out/$tool".[0-9]*.run.txt 2>/dev/null | head -n 20 || true
    [ "$findings" = 0 ] && [ "$wrong" = 0 ] && [ "$left" = 0 ] && [ $((runs + earlier)) -gt 0 ] || bad=1
    case $planted in
        0 | none) bad=1 ;; # nor do its runs say anything
        *) clean_rows "$tool" | sort -u - "$out/$tool.earlier" >"$out/$tool.done.tsv" ;;
    esac
    # Also what no summary counts.
    ! grep -q '^WRONG\|^run_candidates:' "$out/$tool".[0-9]*.run.txt 2>/dev/null || bad=1
    [ "$findings" = 0 ] || grep -h -A3 '^========= \(Error\|Warning\|Invalid\|Uninit\|Barrier\|Diverg\|Program hit\)' \
        "$out/$tool".[0-9]*.tool.txt 2>/dev/null | head -n 40 || true
    complete=true
    [ "$left" = 0 ] || complete=false
    rows="$rows${rows:+,}
    {\"tool\": \"$tool\", \"candidates\": $candidates, \"configurations\": $configurations, \"runs\": $runs,
     \"earlier_runs\": $earlier, \"launches\": $launches, \"wrong\": $wrong, \"left\": $left, \"complete\": $complete,
     \"findings\": $(number_or_null "$findings"), \"found_in_planted\": $(number_or_null "$planted"),
     \"seconds\": $seconds, \"processes\": $processes}"
    rm -f "$out/$tool.ended" "$out/$tool.earlier"
done
[ -z "$stopped" ] || { echo "stopped by a signal"; bad=1; }
for file in "$out"/*.tool.txt "$out"/*.run.txt; do
    [ ! -f "$file" ] || grep -q 'SUMMARY: 0 \|^run .* wrong=0 left=0 ' "$file" || { echo "==== $file"; head -n 200 "$file"; }
done >"$out/sanitize.log"
device=$(sed -n 's/^device //p' "$out"/*.run.txt | sort -u | head -n 1)
version=$("$sanitizer" --version 2>/dev/null | sed -n 's/.*[Vv]ersion *//p' | head -n 1)
driver=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader 2>/dev/null | head -n 1 || true)
[ -n "$commit" ] || commit=$(git -C "$here" rev-parse --short=10 HEAD 2>/dev/null || true)
cat >"$out/sanitize.json" <<JSON
{
  "schema": 1, "kind": "sanitize", "op": "$op", "choice": "${once#--}", "date": "$(date -u +%Y-%m-%dT%H:%M:%SZ)", "commit": "$commit",
  "device": "$device", "driver": "$driver", "compute_sanitizer": "$version", "part": "$part",
  "plan_seconds": $plan_seconds, "compiled": $compiled, "compile_seconds": $compile_seconds, "run_seconds": $run_seconds,
  "processes_per_tool": $per_tool, "gpus": $gpus, "expected_runs": $expected,
  "tools": [$rows
  ]
}
JSON
echo "$out/sanitize.json: $device; $(($(date +%s) - begin)) s"
exit "$bad"
