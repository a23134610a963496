#!/bin/sh
# Builds with warnings as errors and runs every test that this machine can run.
#
#   sh tests/run.sh            everything
#   sh tests/run.sh NAME...    only those steps: format rooms tables build tidy unit postgres asan unit-asan
#                              compile sanitize install
#
# Installs what is missing. GPU tests say "skipped: no CUDA device" when there is none.
set -eu
cd "$(dirname "$0")/.."
. cmake/dependencies.sh
# One version of these two on every distribution: another one formats and warns differently.
need_packages $build_packages libcmocka-dev libpq-dev clang-format-14 clang-tidy-14 python3

passed=0
failed=0
skipped=0
log=$(mktemp -d)
trap 'rm -rf "$log"' EXIT INT TERM

# step NAME COMMAND...: runs it, shows its output when it fails. Exit code 77 means skipped.
step() {
    name=$1
    shift
    case " $wanted " in
        *" $name "* | "  ") ;;
        *) return 0 ;;
    esac
    say "$name"
    code=0
    "$@" >"$log/$name" 2>&1 || code=$?
    case $code in
        0) passed=$((passed + 1)) ;;
        77) skipped=$((skipped + 1)) ;;
        *)
            failed=$((failed + 1))
            tail -n 150 "$log/$name"
            echo "FAILED: $name (exit $code)"
            return 0
            ;;
    esac
    grep -E '^skipped|^[0-9]+ (candidates|passed|warnings)|tests passed|\(Skipped\)|SKIP' "$log/$name" || true
}
wanted=${*:-}

# Templates are laid out by hand.
c_files() { git ls-files 'src/*.c' 'src/*.h' 'tests/*.c' 'tests/*.h' 'examples/*.c' | grep -v '^tests/data/'; }

check_format() { c_files | xargs clang-format-14 --dry-run -Werror; }

build_default() { cmake --preset default >/dev/null && cmake --build --preset default -j "$jobs"; }

build_asan() { cmake --preset asan >/dev/null && cmake --build --preset asan -j "$jobs"; }

# Every warning of .clang-tidy is an error.
check_tidy() {
    git ls-files 'src/*.c' 'examples/*.c' | xargs -P "$jobs" -n 1 clang-tidy-14 --quiet -p build
}

run_tests() {
    # The sanitizers keep their own signal stack and shadow; CUDA reserves address space that ASan would refuse.
    # OpenMP threads that spin would starve each other where tests share two cores.
    OMP_WAIT_POLICY=passive ASAN_OPTIONS=protect_shadow_gap=0:detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1 \
        ctest --test-dir "$1" --output-on-failure -j "$jobs"
}

# Everything that needs a server, on one of its own. The package is tried for; without it the step is skipped.
check_postgres() {
    (need_packages postgresql) || echo "the package postgresql cannot be installed"
    sh tests/support/postgres.sh ctest --test-dir build --output-on-failure -R 'postgres|fleet'
}

step format check_format
step rooms sh tests/check_rooms.sh
step tables python3 docs/tables.py --check
step build build_default
step tidy check_tidy
step unit run_tests build
step postgres check_postgres
step asan build_asan
step unit-asan run_tests build-asan
step compile sh tests/compile_space.sh
step sanitize sh tests/gpu/sanitize.sh --out "$log/sanitize-out"
step install sh tests/install.sh

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
