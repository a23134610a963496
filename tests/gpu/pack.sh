#!/bin/sh
# What a bare machine with a GPU needs of this checkout, in one file that can be carried there: programs, libraries and compiled
# kernels (docs/gpu.md).
#
#   sh tests/gpu/pack.sh [--compile S] [--compiler NAME] [--jobs N]   build-packed/pack.txz; the tree must be committed
#   sh tests/gpu/pack.sh --unpack DIR                                 there: build-packed/pack.txz to DIR, then --check
#   sh tests/gpu/pack.sh --check DIR                                  are DIR's programs of this tree? prints its commit
#
#   --compile S      compile kernels of attention for sm_90a for S seconds more, into build-packed/kernels, which goes along (default 0)
#   --compiler NAME  the file name of the other machine's NVRTC: kernels are looked up by it and by the library's own hash, which must
#                    be the same (default libnvrtc.so.13.0.88)
#   --jobs N         compilers at once (default: the cores)
#
# MANIFEST has the commit and a hash of each program and library, and of each file of the tree that they read or that starts them.
set -eu
here=$(cd "$(dirname "$0")/../.." && pwd)
cd "$here"
packed=$here/build-packed mode=pack folder='' seconds=0 compiler=libnvrtc.so.13.0.88 jobs=$(nproc)
limit_kb=65536 # of a call, the tree and all that it carries
read_files='templates tuner db python tests/gpu docs/record.py'
usage() { echo "pack.sh: $1" >&2 && exit 64; }
while [ $# -gt 0 ]; do
    [ $# -ge 2 ] || usage "$1 needs a value"
    case $1 in
        --unpack | --check) mode=${1#--} folder=$2 ;;
        --compile) seconds=$2 ;;
        --compiler) compiler=$2 ;;
        --jobs) jobs=$2 ;;
        *) usage "unknown option '$1'" ;;
    esac
    shift 2
done
case $seconds$jobs in *[!0-9]*) usage "--compile $seconds, --jobs $jobs: whole numbers are wanted" ;; esac

# ---- there ----

# Of a tree with git: its files as they are; a machine without it has the manifest's own list.
check() { # DIR
    [ -e "$1/MANIFEST" ] || { echo "pack.sh: $1 has no MANIFEST: it is not from pack.sh" >&2 && exit 1; }
    sed '1d; s|\( [ *]\)@/|\1'"$1"'/|' "$1/MANIFEST" | sha256sum --check --quiet - >&2 ||
        { echo "pack.sh: programs and tree are not of one commit: make the pack anew" >&2 && exit 1; }
    sed -n '1s/^commit //p' "$1/MANIFEST"
}
case $mode in
    check) check "$(cd "$folder" && pwd)" && exit 0 ;;
    unpack)
        [ -e "$packed/pack.txz" ] || usage "--unpack $folder: no build-packed/pack.txz: was it carried?"
        rm -rf "$folder" && mkdir -p "$folder"
        tar -xJf "$packed/pack.txz" --no-same-owner -C "$folder"
        check "$(cd "$folder" && pwd)" && exit 0
        ;;
esac

# ---- here ----
programs='triage_tune triage_db triage_bench triage_worker run_attention run_products run_candidates run_candidates_attention
    test_api_cuda test_cuda test_select_cuda test_mutations_cuda bench_calls bench_open bench_first_call'
is_committed() {
    [ -z "$(git status --porcelain --untracked-files=no)" ] || usage "the tree has changes: commit them first, so that a pack has one name"
}
is_committed
mkdir -p "$packed"
commit=$(git rev-parse HEAD)
cmake --preset portable -DTRIAGE_TESTS=ON >/dev/null
# shellcheck disable=SC2086
cmake --build --preset portable -j "$jobs" --target $programs triage_shared triage_torch >"$packed/build.log" 2>&1 ||
    { echo "pack.sh: the build fails:" && tail -n 5 "$packed/build.log"; exit 1; } >&2
stage=$packed/stage
rm -rf "$stage" && mkdir -p "$stage/bin" "$stage/lib"
for name in $programs; do cp "build-portable/bin/$name" "$stage/bin/"; done
cp -a build-portable/lib/lib*.so* "$stage/lib/"
find "$stage" -type f -exec strip -s {} +

# For all problems that the parts of acceptance.sh tune. Each call goes on where the last one stopped.
compile_kernels() {
    mkdir -p -m 700 "$packed/kernels" "$packed/nvrtc"
    found=$(ls -d /usr/local/cuda/lib64/libnvrtc.so.13 /usr/local/cuda/lib/libnvrtc.so.13 2>/dev/null | head -n 1)
    [ -n "$found" ] || usage "--compile $seconds: no libnvrtc.so.13 in /usr/local/cuda"
    cmp -s "$found" "$packed/nvrtc/$compiler" || cp -L "$found" "$packed/nvrtc/$compiler"
    ln -sf "$compiler" "$packed/nvrtc/libnvrtc.so.13"
    ln -sf "$(dirname "$(readlink -f "$found")")"/libnvrtc-builtins.so.13* "$packed/nvrtc/"
    python3 python/bench/attention_cases.py --shapes "$packed/cases.csv" --patterns "$packed/patterns"
    sh tests/gpu/untuned.sh --op attention --shapes 20 --list "$packed/held.csv" --out "$packed/patterns"
    started=$(date +%s)
    for list in "$packed/cases.csv" "$packed/held.csv" python/bench/attention_models.csv; do
        left=$((seconds - $(date +%s) + started))
        [ "$left" -ge 1 ] || break
        code=0
        LD_LIBRARY_PATH=$packed/nvrtc "$stage/bin/triage_tune" --from "$list" --target sm_90a --compile-only --quiet --json \
            --total-limit "$left" --jobs "$jobs" --cache-dir "$packed/kernels" >/dev/null 2>"$packed/compile.log" || code=$?
        case $code in
            0) echo "$list: all kernels are compiled" ;;
            75) echo "$list: $(tail -n 1 "$packed/compile.log")" ;;
            *) echo "$list: exit $code: $(tail -n 1 "$packed/compile.log")" >&2 ;;
        esac
    done
}
[ "$seconds" = 0 ] || compile_kernels
[ ! -d "$packed/kernels" ] || cp -a "$packed/kernels" "$stage/cache"
is_committed
[ "$(git rev-parse HEAD)" = "$commit" ] || usage "the tree went from $commit to another commit meanwhile"
{
    echo "commit $commit"
    (cd "$stage" && find bin lib -type f -print0 | sort -z | xargs -0 sha256sum | sed 's| \([ *]\)| \1@/|')
    # shellcheck disable=SC2086
    git ls-files -z $read_files | xargs -0 sha256sum
} >"$stage/MANIFEST"
tar -C "$stage" -cf - . | xz -T0 -9 >"$packed/pack.txz"
rm -rf "$stage"
tree_kb=$(git ls-files -z | xargs -0 du -kc | tail -n 1 | cut -f 1) pack_kb=$(du -k "$packed/pack.txz" | cut -f 1)
echo "build-packed/pack.txz: $pack_kb KiB, the tree $tree_kb KiB, together at most $limit_kb; commit $commit"
[ $((tree_kb + pack_kb)) -le "$limit_kb" ] || usage "too large to be carried: rm -r build-packed/kernels, and a smaller --compile"
