#!/bin/sh
# aarch64, from an x86-64 Debian: the library and the programs are compiled with warnings as errors, and what needs neither a compiler
# nor another process of ours runs under qemu: a lookup, the tests of plain data, spaces that are built in, stores.
#
#   sh tests/cross.sh        installs gcc-aarch64-linux-gnu and qemu-user; the libraries of arm64 go into a folder, not into the system
#
# By hand: minutes. Nobody has run triage on a machine of that kind yet; whoever does, runs tests/run.sh there.
set -eu
cd "$(dirname "$0")/.."
. cmake/dependencies.sh
tree=$PWD build=$PWD/build-aarch64
mkdir -p "$build/debs/lists/partial" "$build/debs/archives/partial" "$build/root"
need_packages gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user make cmake

# apt of the other architecture, in a folder of its own.
arm_apt() {
    apt-get -q -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Dir::State::Lists="$build/debs/lists" \
        -o Dir::Cache="$build/debs" -o APT::Sandbox::User=root "$@"
}
libraries="liblua5.4-dev liblua5.4-0 libsqlite3-dev libsqlite3-0 libjansson-dev libjansson4 libsodium-dev libsodium23 libcmocka-dev
    libcmocka0 libreadline8 libtinfo6 zlib1g"
if [ ! -e "$build/root/done" ]; then
    arm_apt update
    # shellcheck disable=SC2086
    (cd "$build/debs" && arm_apt download $libraries)
    for package in "$build"/debs/*.deb; do
        dpkg -x "$package" "$build/root"
    done
    touch "$build/root/done"
fi

arm=$build/root/usr
cat >"$build/toolchain.cmake" <<END
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH $build/root /usr/aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_C_FLAGS_INIT "-isystem $arm/include/aarch64-linux-gnu")
set(CMAKE_EXE_LINKER_FLAGS_INIT "-Wl,-rpath-link,$arm/lib/aarch64-linux-gnu")
set(CMAKE_SHARED_LINKER_FLAGS_INIT "-Wl,-rpath-link,$arm/lib/aarch64-linux-gnu")
END
cmake -S . -B "$build" -DCMAKE_TOOLCHAIN_FILE="$build/toolchain.cmake" -DTRIAGE_TESTS=ON -DTRIAGE_POSTGRES=OFF \
    -DCMAKE_COMPILE_WARNING_AS_ERROR=ON >/dev/null
tests="test_base test_problem test_pattern test_pretuned test_store test_verdict"
# shellcheck disable=SC2086
cmake --build "$build" -j "$jobs" --target triage_shared triage_tune triage_db triage_bench triage_worker $tests

emulate() {
    qemu-aarch64 -L /usr/aarch64-linux-gnu -E LD_LIBRARY_PATH="$arm/lib/aarch64-linux-gnu:$build/root/lib/aarch64-linux-gnu" "$@"
}
emulate "$build/bin/triage_db" explain --shape 8192,4096,8192 --sparsity 0.8 --device H200 >"$build/explained"
grep -q '^answer *predicted: wgmma' "$build/explained"
emulate "$build/bin/triage_tune" --target sm_90a --shape 8192,8192,8192 --sparsity 0.9 --emit default | grep -q triage_kernel
for test in $tests; do
    (cd "$tree" && emulate "$build/bin/$test")
done
echo "aarch64: compiled; a lookup, a rendering and $tests under qemu: as on x86-64"
