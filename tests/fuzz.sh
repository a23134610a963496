#!/bin/sh
# Fuzzes what reads bytes from outside, with libFuzzer (clang), ASan and UBSan.
#
#   sh tests/fuzz.sh [TARGET [CPU_MINUTES]]     default: every target, one after another, a minute each
#   sh tests/fuzz.sh --keep                     packs what reaches new code into tests/fuzz/corpus, for CI and later runs
#
# Targets: tests/fuzz/inputs.sh. The corpus grows in build-fuzz/corpus/TARGET; a later run goes on from it. stdout: one JSON
# object a target. What is found lies in build-fuzz/found/TARGET: replay one with build-fuzz/bin/fuzz_TARGET FILE, and once
# the fault is mended keep it in tests/fuzz/corpus/TARGET, which CI replays.
#
# Exit code 0: nothing was found; 1: something was; 64: usage.
set -eu
cd "$(dirname "$0")/.."
. cmake/dependencies.sh
. tests/fuzz/inputs.sh
jobs=${JOBS:-$jobs}

# The fewest inputs that reach what all of them together reach; the same archive for the same inputs.
keep() {
    for target in $fuzz_targets; do
        least=build-fuzz/least/$target
        [ -d "build-fuzz/corpus/$target" ] || continue
        rm -rf "$least" && mkdir -p "$least"
        "build-fuzz/bin/fuzz_$target" -merge=1 -timeout=300 "$least" "build-fuzz/corpus/$target" >/dev/null 2>&1
        tar -C build-fuzz/least --sort=name --owner=0 --group=0 --mode=u=rwX,go=rX --mtime=@0 -cf - "$target" |
            gzip -9n >"tests/fuzz/corpus/$target.tar.gz"
        echo "$target: $(find "$least" -type f | wc -l) inputs"
    done
}
if [ "${1:-}" = --keep ]; then
    keep
    exit 0
fi

targets=${1:-$fuzz_targets}
minutes=${2:-1}
case " $fuzz_targets " in
    *" $targets "*) ;;
    *) echo "$targets is not one of $fuzz_targets" && exit 64 ;;
esac
case $minutes in
    *[!0-9]* | "" | 0*) echo "$minutes is not a number of minutes from 1 on" && exit 64 ;;
esac

build() {
    need_packages $build_packages libcmocka-dev clang libomp-dev procps
    version=$(dpkg-query -W -f '${Depends}' clang | sed 's/.*clang-\([0-9]*\).*/\1/')
    need_packages "libclang-rt-$version-dev"
    cmake --preset fuzz >/dev/null && cmake --build --preset fuzz -j "$jobs" >/dev/null
}

# The processor's seconds of a process so far; empty when it is gone.
cpu_of() { ps -o cputimes= -p "$1" 2>/dev/null | tr -d ' '; }

# Ends by itself when something is found, else when its minutes of a processor are used up. Time limits are generous: the
# machine may be busy. Sets used_s.
run_target() {
    mkdir -p "$corpus" "$found"
    words=tests/fuzz/dict/$1.dict
    [ ! -f "$words" ] && words="" || words=-dict=$words
    "build-fuzz/bin/fuzz_$1" -print_final_stats=1 -max_len=8192 -timeout=300 -rss_limit_mb=2048 -malloc_limit_mb=1024 \
        -artifact_prefix="$found/" $words "$corpus" $(inputs_of "$1" build-fuzz/seeds) >"$log" 2>&1 &
    process=$!
    used_s=0
    while now=$(cpu_of "$process") && [ -n "$now" ]; do
        used_s=$now
        [ "$used_s" -lt $((60 * minutes)) ] || kill -USR1 "$process" 2>/dev/null || true
        sleep 1
    done
    wait "$process" || true
}

# Not the slow units: on a busy machine they are its own.
faults() { find "$found" -type f ! -name 'slow-unit-*'; }

report() {
    [ -z "$(faults)" ] || bad=1
    edges=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    [ -n "$runs" ] && [ "$used_s" -gt 0 ] || { tail -n 20 "$log" >&2 && bad=1; } # it did not run
    printf '{"target": "%s", "cpu_s": %s, "executions": %s, "edges": %s, "corpus_files": %s, "corpus_bytes": %s, "found": %s}\n' \
        "$1" "$used_s" "${runs:-null}" "${edges:-null}" "$(find "$corpus" -type f | wc -l)" \
        "$(find "$corpus" -type f -printf '%s\n' | awk '{ n += $1 } END { print n + 0 }')" "$(faults | wc -l)"
}

build >&2
make_seeds build-fuzz/bin build-fuzz/seeds
bad=0
for target in $targets; do
    corpus=build-fuzz/corpus/$target
    found=build-fuzz/found/$target
    log=build-fuzz/$target.log
    run_target "$target"
    report "$target"
done
exit "$bad"
