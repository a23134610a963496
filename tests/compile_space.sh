#!/bin/sh
# Compiles every candidate of the default space for sm_90a, with no GPU: each must compile, keep within its spill limit and fit
# the shared memory of its architecture. The other architectures have kernels of sm_80 alone: of each block size a dozen
# candidates, drawn the same each time.
#
# Attention and bsr_sddmm have a few of each kind of problem: attention's kernels take NVRTC ten times as long.
#
#   sh tests/compile_space.sh --all    all of theirs, too, and head dimensions that ptxas has trouble with
set -eu
some="--strategy random --budget 12" few="--strategy random --budget 2" one="--budget 1" all=no
[ "${1:-}" != --all ] || some="" few="" one="" all=yes
cd "$(dirname "$0")/.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT INT TERM
export XDG_CACHE_HOME="$scratch" XDG_DATA_HOME="$scratch"

total=0

# compile_for TARGET OPTION...
compile_for() {
    code=0
    target=$1
    shift
    build/bin/triage_tune "$@" --target "$target" --compile-only --json --quiet \
        >"$scratch/out.json" 2>"$scratch/err" || code=$?
    # Only a missing NVRTC (exit code 69) is a reason to skip.
    if [ "$code" -eq 69 ]; then
        echo "skipped: $(cat "$scratch/err")"
        exit 77
    fi
    if [ "$code" -ne 0 ]; then
        cat "$scratch/err" "$scratch/out.json"
        echo "FAILED: $target $* (exit $code)"
        exit 1
    fi
    count=$(grep -o '"outcome": *"compiled"' "$scratch/out.json" | wc -l)
    echo "$target $*: $count candidates compiled"
    [ "$count" -gt 0 ] || { echo "FAILED: no candidate"; exit 1; }
    total=$((total + count))
}

# compile TARGET SHAPE BLOCK LAYOUT OPTION...
compile() {
    on=$1 shape=$2 block=$3 layout=$4
    shift 4
    compile_for "$on" --shape "$shape" --sparsity 0.9 --block "$block" --layout "$layout" --dtype f16 "$@"
}

# attend TARGET SHAPE OPTION...
attend() {
    on=$1 shape=$2
    shift 2
    compile_for "$on" --op attention --shape "$shape" "$@"
}

for block in 16 32 64 128; do
    compile sm_90a 4096,4096,4096 "$block" row
    for target in sm_80 sm_86 sm_89 sm_100a sm_120a; do
        compile "$target" 4096,4096,4096 "$block" row $some
    done
done
for block in 16 32 64 128; do # rows of few blocks and some hundred columns: kernels that wide C has not
    compile sm_90a 4096,512,4096 "$block" row
done
for target in sm_80 sm_90a; do # few columns, and the linear layer's form
    compile "$target" 4096,16,4096 64 col
    compile "$target" 4096,16,4096 16 row
done
for block in 32 128; do
    compile sm_90a 4096,4096,4096 "$block" col
done
for on_target in sm_80 sm_86 sm_89 sm_90a sm_100a sm_120a; do
    case $on_target in
        sm_86 | sm_89) many=$one ;; # the kernels of sm_80, in less shared memory
        *) many=$few ;;
    esac
    attend "$on_target" 2,16,16,4096,4096,128 --dtype bf16 --mask causal $many
    attend "$on_target" 2,32,32,4096,4096,64 --dtype f16 $many
    attend "$on_target" 64,32,8,1,4096,128 --dtype bf16 --lengths cache $many
    [ "$all" = yes ] || continue
    attend "$on_target" 2,16,4,4096,4096,80 --dtype f16
    attend "$on_target" 2,16,4,4096,4096,96 --dtype f16 --mask window:1024,0
    attend "$on_target" 2,16,4,4096,4096,192,128 --dtype bf16 --mask causal
    attend "$on_target" 2,16,4,4096,4096,64 --dtype e4m3
    attend "$on_target" 2,16,4,4096,4096,128 --dtype e4m3
    attend "$on_target" 2,16,4,4096,4096,128 --dtype bf16 --mask causal+random-blocks:0.9 --mask-block 64 --mask-lists q
done
for of in sm_80:16:row sm_86:128:col sm_89:64:row sm_90a:32:row sm_90a:128:col sm_100a:16:col sm_120a:64:col; do
    target=${of%%:*} block=${of#*:} layout=${of##*:} # the gradient of the weight
    compile_for "$target" --op bsr_sddmm --shape 4096,4096,4096 --sparsity 0.9 --block "${block%:*}" --layout "$layout" \
        --dtype f16 $one
done
attend sm_90a 2,8,8,4096,4096,256 --dtype bf16 $few
for options in "--mask window:1024,0" "--softcap 30" "--lengths varlen --mask causal" "--dtype e4m3" \
    "--mask random-blocks:0.9 --mask-block 128" "--mask causal+random-blocks:0.9 --mask-block 64 --mask-lists q"; do
    attend sm_90a 2,16,4,4096,4096,128 $options $few
done
echo "$total candidates compiled"
