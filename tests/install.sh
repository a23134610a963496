#!/bin/sh
# Every way of installing and linking that README names, each from what was installed and nothing else: a program is built
# and run. Three builds: the one in build/ (tests/run.sh build), the Dockerfile's, and the library alone by clang within
# another project. In a root of tests/fresh.sh ($TRIAGE_BARE: a bare Debian to copy) the packages are installed, too.
set -eu
cd "$(dirname "$0")/.."
. cmake/dependencies.sh
tree=$PWD
app=$tree/tests/install/app.c
scratch=$(mktemp -d)
prefix=$scratch/prefix
trap 'rm -rf --one-file-system "$scratch"' EXIT
trap 'exit 130' INT TERM
count=0

# passed WAY: it worked
passed() {
    count=$((count + 1))
    echo "ok: $*"
}

fail() {
    echo "FAILED: $*"
    exit 1
}

# cc_app OUTPUT FLAG...: the program by the compiler alone
cc_app() {
    output=$1
    shift
    cc -std=c17 -Wall -Wextra -Wpedantic -Werror "$app" "$@" -o "$output"
}

uses_shared() { ldd "$1" | grep -q 'libtriage\.so'; }

# ---- installed from build/: by hand, pkg-config, find_package ----

install_build() {
    manifest=build/install_manifest.txt # of the user's own installation: kept
    [ ! -e $manifest ] || cp $manifest "$scratch/manifest"
    cmake --install build --prefix "$prefix" >/dev/null
    mv $manifest "$scratch/ours"
    [ ! -e "$scratch/manifest" ] || mv "$scratch/manifest" $manifest
    lib=$(dirname "$(find "$prefix" -name libtriage.so)")
    for program in triage_tune triage_db triage_bench triage_worker; do
        "$prefix/bin/$program" --help >/dev/null
        for file in man/man1/$program.1 bash-completion/completions/$program zsh/vendor-completions/_$program; do
            [ -s "$prefix/share/$file" ] || fail "$file is not installed"
        done
    done
}

check_by_hand() {
    cc_app "$scratch/app" -I "$prefix/include" -L "$lib" -ltriage -Wl,-rpath,"$lib"
    "$scratch/app"
    if nm -D --defined-only "$lib/libtriage.so" | awk '{print $3}' | grep -v '^triage_' | grep .; then
        fail "the library exports the names above"
    fi
    [ "$(ls "$prefix/include")" = triage.h ] || fail "more than triage.h is installed: $(ls "$prefix/include")"
    passed "cc, by hand"
    command -v c++ >/dev/null 2>&1 || need_packages g++
    printf '#include <triage.h>\nint main(){return 0;}\n' >"$scratch/main.cc"
    c++ -Wall -Wextra -Wpedantic -Werror -I "$prefix/include" -c "$scratch/main.cc" -o "$scratch/main.o"
    passed "the header in C++"
}

check_pkg_config() {
    need_packages pkg-config
    mkdir "$scratch/moved" # a package that was moved still finds itself
    cp -a "$prefix" "$scratch/moved/"
    moved=$scratch/moved/prefix${lib#"$prefix"}
    export PKG_CONFIG_PATH="$moved/pkgconfig"
    cc_app "$scratch/app" $(pkg-config --cflags --libs triage) -Wl,-rpath,"$moved"
    uses_shared "$scratch/app" && "$scratch/app"
    passed "pkg-config"
    rm "$moved"/libtriage.so*
    cc_app "$scratch/app" $(pkg-config --cflags --static --libs triage)
    ! uses_shared "$scratch/app" && "$scratch/app"
    passed "pkg-config --static"
}

check_find_package() {
    cmake -S tests/install/find_package -B "$scratch/found" -DCMAKE_PREFIX_PATH="$prefix" >/dev/null
    cmake --build "$scratch/found" >/dev/null
    for kind in triage shared static; do
        "$scratch/found/app_$kind"
    done
    uses_shared "$scratch/found/app_triage" && ! uses_shared "$scratch/found/app_static"
    passed "find_package, shared, static and tools"
}

# The last: nothing that was installed is left.
check_uninstall() {
    mkdir "$scratch/folder"
    mv "$scratch/ours" "$scratch/folder/install_manifest.txt"
    (cd "$scratch/folder" && cmake -P "$tree/cmake/uninstall.cmake" >/dev/null)
    [ -z "$(find "$prefix" ! -type d)" ] || fail "left after uninstall: $(find "$prefix" ! -type d)"
    passed "uninstall"
}

# ---- within another project ----

check_subdirectory() {
    need_packages clang libomp-dev
    build=$scratch/within
    CC=clang cmake -S tests/install/add_subdirectory -B "$build" -DTRIAGE_TREE="$tree" -DBUILD_SHARED_LIBS=ON >/dev/null
    cmake --build "$build" -j "$jobs" >"$scratch/log" 2>&1 || { cat "$scratch/log" && fail add_subdirectory; }
    "$build/app"
    grep -q 'CMAKE_C_COMPILER:.*clang' "$build/CMakeCache.txt" || fail "that was not clang"
    passed "CC=clang, add_subdirectory"
    cmake --install "$build" --prefix "$scratch/own" >/dev/null
    [ -n "$(find "$scratch/own" -name libtriage.so)" ] && [ -z "$(find "$scratch/own" -name libtriage.a)" ] ||
        fail "BUILD_SHARED_LIBS=ON installs $(cd "$scratch/own" && find . -name 'libtriage*')"
    cmake "$build" -DBUILD_SHARED_LIBS=OFF >/dev/null
    if cmake --build "$build" --target help | grep -q triage_shared; then
        fail "BUILD_SHARED_LIBS=OFF builds a shared library"
    fi
    passed "BUILD_SHARED_LIBS"
}

# ---- the Dockerfile's steps, and with them the packages ----

# docker_steps STAGE: what its RUNs run, one a line
docker_steps() {
    sed -e ':join' -e '/\\$/{N;s/\\\n//;b join' -e '}' Dockerfile |
        awk -v stage="$1" '/^FROM/ { n++ } /^RUN/ && n == stage { sub(/^RUN /, ""); print }'
}

# run_steps STAGE FOLDER: in FOLDER, with /packages where the test has it; apt-get is the root's business
run_steps() {
    docker_steps "$1" | grep -v apt-get | sed "s:/packages:$scratch/packages:g" >"$scratch/steps"
    [ -s "$scratch/steps" ] || fail "no step in the Dockerfile's stage $1"
    (cd "$2" && sh -eux "$scratch/steps") >"$scratch/log" 2>&1 || { tail -n 50 "$scratch/log" && fail Dockerfile; }
    grep -E 'warning:' "$scratch/log" || true
}

check_dockerfile() {
    need_packages dpkg-dev file
    mkdir -p "$scratch/copy" "$scratch/packages"
    tar --exclude='./build*' --exclude=./.git -cf - . | tar -C "$scratch/copy" -xf - # as .dockerignore has it
    run_steps 1 "$scratch/copy"
    passed "the Dockerfile's steps"
    rm -rf "$scratch/packages/_CPack_Packages"
    for name in libtriage0 triage-tools libtriage-dev; do
        set -- "$scratch/packages/${name}_"*.deb
        [ -e "$1" ] || fail "no package $name: $(ls "$scratch/packages")"
        dpkg-deb -x "$1" "$scratch/unpacked"
    done
    "$scratch/unpacked/usr/bin/triage_db" --version >/dev/null
    passed "cpack -G DEB"
}

# in_bare COMMAND: in that Debian, with a /proc of its own that ends with the command
in_bare() {
    unshare --mount --propagation unchanged sh -eu -c 'mount -t proc proc "$1/proc"; exec chroot "$1" sh -eu -c "$2"' sh "$bare" "$1"
}

# A bare Debian of its own, which has seen none of the packages that a build needs.
check_packages() {
    [ -n "${TRIAGE_BARE:-}" ] && [ "$(id -u)" -eq 0 ] ||
        { echo "skipped: the packages are installed in a root of tests/fresh.sh only, as root" && return 0; }
    bare=$scratch/bare
    cp -a "$TRIAGE_BARE" "$bare"
    cp -L /etc/resolv.conf /etc/hosts "$bare/etc/"
    cp -a /etc/ssl/certs/. "$bare/etc/ssl/certs/" 2>/dev/null || { mkdir -p "$bare/etc/ssl" && cp -a /etc/ssl/certs "$bare/etc/ssl/"; }
    cp -a /var/lib/apt/lists/. "$bare/var/lib/apt/lists/"
    cp -al /var/cache/apt/archives/. "$bare/var/cache/apt/archives/" 2>/dev/null || true
    cp -a "$scratch/packages" "$app" "$bare/"
    docker_steps 2 | sed 's/apt-get install/apt-get install -qq/' >"$bare/steps"
    in_bare 'sh -eu /steps' >"$scratch/log" 2>&1 || { tail -n 30 "$scratch/log" && fail "the packages in a bare Debian"; }
    in_bare 'triage_tune --shape 64,64,64 --sparsity 0.5 --block 16 --device host --budget 1 -q && triage_db list'
    in_bare 'cc /app.c -ltriage -o /app && /app'
    in_bare 'apt-get remove -y -qq libtriage0 triage-tools >/dev/null && ! test -e /usr/bin/triage_db'
    passed "the packages in a bare Debian"
}

install_build
check_by_hand
check_pkg_config
check_find_package
check_uninstall
check_subdirectory
check_dockerfile
check_packages
echo "$count passed"
