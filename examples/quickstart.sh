#!/bin/sh
# From nothing to a tuned kernel: installs what is missing, builds, tunes a block-sparse product on the best
# device found (the GPU, else the CPU), tunes again (answered from the database), and runs a small C program
# that looks the winner up and checks its result.
#
#   sh examples/quickstart.sh              keeps its database in build/quickstart/
set -eu
cd "$(dirname "$0")/.."
. cmake/dependencies.sh
need_packages $build_packages

say "building (build/)"
cmake -B build >/dev/null
cmake --build build -j "$jobs" --target triage_tune triage_worker example_bsr_gemm >/dev/null

mkdir -p build/quickstart
database=build/quickstart/triage.db
set -- --shape 1024,1024,1024 --sparsity 0.9 --block 32 --db "$database"
if [ -e /dev/nvidia0 ] || [ -e /dev/nvidiactl ]; then
    set -- --shape 4096,4096,4096 --sparsity 0.9 --block 64 --db "$database"
fi

say "triage_tune $*"
build/bin/triage_tune "$@"

say "the same again: answered from the database"
build/bin/triage_tune "$@"

say "a C program looks the winner up and checks its result"
build/example_bsr_gemm "$database"
