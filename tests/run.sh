#!/bin/sh
# Builds with warnings as errors and runs every test that this machine can run.
#
#   sh tests/run.sh            everything
#   sh tests/run.sh NAME...    only those steps: format rooms tables reference build tidy unit postgres asan unit-asan
#                              compile sanitize report install torch wheel
#
# Each step installs what it needs and is missing, and builds where it stands on a build that is not there. GPU tests
# say "skipped: no CUDA device" when there is none. A step that found nothing to look at fails.
set -eu
cd "$(dirname "$0")/.."
. cmake/dependencies.sh
. tests/tools.sh

passed=0
failed=0
skipped=0
log=$(mktemp -d)
trap 'rm -rf "$log"' EXIT
trap 'exit 130' INT TERM

# Sets cpu_s: the processor's seconds of all steps so far, which say more than the clock's on a busy machine.
read_cpu() {
    times >"$log/times" # not in a subshell, which has no steps
    cpu_s=$(awk -F '[ms ]+' 'NR == 2 { printf "%d", 60 * $1 + $2 + 60 * $3 + $4 }' "$log/times")
}

# step NAME COMMAND...: runs it, shows its output when it fails. Exit code 77 means skipped.
step() {
    name=$1
    shift
    case " $wanted " in
        *" $name "* | "  ") ;;
        *) return 0 ;;
    esac
    say "$name"
    started=$(date +%s)
    read_cpu
    cpu_before=$cpu_s
    set +e # a shell ignores -e in a command whose exit code is asked for
    (
        set -e
        "$@"
    ) >"$log/$name" 2>&1
    code=$?
    set -e
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
    grep -E '^skipped|^[0-9]+ (candidates|files|passed|warnings)|tests passed|\(Skipped\)|SKIP' "$log/$name" || true
    read_cpu
    echo "$name: $(($(date +%s) - started)) s, $((cpu_s - cpu_before)) s of the processors"
}
wanted=${*:-}

# on_files COMMAND...: runs it with the files that stdin names, some at a time; fails when there are none.
on_files() {
    cat >"$log/files"
    [ -s "$log/files" ] || { echo "no file to look at" && return 1; }
    xargs "$@" <"$log/files" || return 1
    echo "$(wc -l <"$log/files") files"
}

# One version of these two on every distribution: another one formats and warns differently. Templates are laid out by
# hand: their text is a kernel's identity.
check_format() {
    need_wheels clang-format==14.0.6
    find src tests examples python/native -name '*.[ch]' ! -path 'tests/data/*' | on_files "$tools/bin/clang-format" --dry-run -Werror
}

check_tables() {
    need_packages python3
    python3 docs/tables.py --check
}

# The reference of the C API: what the header does not say, or says wrong, is an error.
check_reference() {
    need_packages python3 doxygen
    mkdir -p build
    doxygen docs/Doxyfile
    echo "$(ls build/reference/*.html | wc -l) files"
}

# build PRESET
build() {
    need_packages $build_packages libcmocka-dev libpq-dev
    need_nvrtc || echo "no NVRTC to be had: what needs it is skipped"
    cmake --preset "$1" -DTRIAGE_TESTS=ON >/dev/null && cmake --build --preset "$1" -j "$jobs"
}

# need_build PRESET FOLDER
need_build() {
    [ -e "$2/bin/triage_tune" ] || build "$1"
}

# Every warning of .clang-tidy is an error. PyPI's clang-tidy comes without clang's own headers (stddef.h, omp.h): those
# of the distribution's clang do.
check_tidy() {
    need_build default build
    need_wheels clang-tidy==14.0.6
    need_packages libomp-dev
    version=$(dpkg-query -W -f '${Depends}' libomp-dev | tr -dc '0-9 ' | cut -d ' ' -f 1)
    need_packages "libclang-common-$version-dev"
    headers=$(ls -d "/usr/lib/llvm-$version/lib/clang"/*/include | head -n 1)
    find src examples python/native -name '*.c' | on_files -P "$jobs" -n 1 "$tools/bin/clang-tidy" --quiet -p build \
        --extra-arg="-resource-dir=${headers%/include}"
}

# run_tests PRESET FOLDER: twice as many at once as there are cores: many wait for processes, locks and times, and none asserts a
# time.
run_tests() {
    need_build "$1" "$2"
    need_packages python3 gnuplot-nox g++
    need_nvrtc || true
    # The sanitizers keep their own signal stack and shadow; CUDA reserves address space that ASan would refuse.
    # OpenMP threads that spin would starve each other where tests share two cores.
    env OMP_WAIT_POLICY=passive ASAN_OPTIONS=protect_shadow_gap=0:detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1 \
        ${nvrtc_folder:+"LD_LIBRARY_PATH=$nvrtc_folder"} \
        ctest --test-dir "$2" --output-on-failure --no-tests=error -j "$((2 * jobs))"
}

# Everything that needs a server, on one of its own. The package is tried for; without it the step is skipped.
check_postgres() {
    need_build default build
    (need_packages python3 iproute2 postgresql) || echo "the package postgresql cannot be installed"
    need_nvrtc || true
    env ${nvrtc_folder:+"LD_LIBRARY_PATH=$nvrtc_folder"} sh tests/support/postgres.sh \
        ctest --test-dir build --output-on-failure --no-tests=error -j "$((2 * jobs))" -R 'postgres|fleet'
}

# Every candidate compiles for every architecture; pip's NVRTC is found as in a virtual environment of a user's.
check_compile() {
    need_build default build
    need_nvrtc
    env ${nvrtc_folder:+"VIRTUAL_ENV=$tools"} sh tests/compile_space.sh
}

# The PyTorch package on the CPU, with the operators that the build step built, and its example. TRIAGE_TORCH_TESTS=0 leaves
# it out: PyPI's torch is a download of 0.5 GB.
check_torch() {
    [ "${TRIAGE_TORCH_TESTS:-1}" != 0 ] || { echo "skipped: TRIAGE_TORCH_TESTS is 0" && return 77; }
    need_build default build
    need_torch || { echo "skipped: torch cannot be had from PyPI" && return 77; }
    export PYTHONPATH="$PWD/python" TRIAGE_KERNELS_LIB="$PWD/build/lib" OMP_WAIT_POLICY=passive
    "$torch_python" -W ignore -m unittest discover tests/torch
    "$torch_python" -W ignore examples/llama_validation.py
    "$torch_python" tests/docs/test_docs.py build --python
}

# In a real browser, whose pictures are left in build/report.
check_report() {
    need_build default build
    need_packages python3 chromium || { echo "skipped: the package chromium cannot be installed" && return 77; }
    python3 tests/cli/test_report.py build/bin
    echo "$(ls build/report | wc -l) files"
}

check_install() {
    need_build default build
    sh tests/install.sh
}

# The wheel compiles the library once more: by hand, or where its build changes.
check_wheel() {
    [ "${TRIAGE_WHEEL_TESTS:-0}" = 1 ] || { echo "skipped: minutes of compiling; TRIAGE_WHEEL_TESTS=1 runs it" && return 77; }
    need_packages $build_packages
    need_torch
    CMAKE_BUILD_PARALLEL_LEVEL=$jobs sh tests/torch/wheel.sh
}

step format check_format
step rooms sh tests/check_rooms.sh
step tables check_tables
step reference check_reference
step build build default
step tidy check_tidy
step unit run_tests default build
step postgres check_postgres
step asan build asan
step unit-asan run_tests asan build-asan
step compile check_compile
step sanitize sh tests/gpu/sanitize.sh --out "$log/sanitize-out"
step report check_report
step install check_install
step torch check_torch
step wheel check_wheel

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
