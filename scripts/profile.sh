#!/bin/sh
# What limits the kernel that an application would get: runs triage_bench under Nsight Compute and prints, of each kernel of triage
# that it launched, the five figures that decide. The plain kernel of the gate is among them: a grid tells which is which.
#
#   sh scripts/profile.sh --shape 8192,8192,8192 --sparsity 0.9 --block 64        options of triage_bench
#
# BENCH: the program (default build/bin/triage_bench, else the one in $PATH). Exit code 69: what is missing is said in one line.
set -eu
missing() {
    echo "profile.sh: $1" >&2
    exit 69
}

bench=${BENCH:-build/bin/triage_bench}
[ -x "$bench" ] || bench=$(command -v triage_bench) || missing "there is no triage_bench: build it, or set BENCH"
ncu=$(command -v ncu || ls /usr/local/cuda*/bin/ncu /opt/nvidia/nsight-compute/*/ncu 2>/dev/null | tail -n 1)
[ -n "$ncu" ] || missing "no Nsight Compute: ncu is neither in \$PATH nor in /usr/local/cuda*/bin nor in /opt/nvidia"
[ -n "${PROFILE_WITHOUT_DEVICE:-}" ] || [ -e /dev/nvidiactl ] || missing "no GPU: there is no /dev/nvidiactl"

tensor=sm__pipe_tensor_cycles_active.avg.pct_of_peak_sustained_active
l2=lts__t_sectors.avg.pct_of_peak_sustained_elapsed
dram=dram__throughput.avg.pct_of_peak_sustained_elapsed
shared=l1tex__data_pipe_lsu_wavefronts_mem_shared.avg.pct_of_peak_sustained_elapsed
stall=smsp__issue_active.avg.pct_of_peak_sustained_active

log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! "$ncu" --csv --page raw --kernel-name triage_kernel --launch-count 8 \
    --metrics "$tensor,$l2,$dram,$shared,$stall" "$bench" --samples 8 "$@" >"$log" 2>&1; then
    grep -q ERR_NVGPUCTRPERM "$log" &&
        missing "this user may not read the GPU's counters (ERR_NVGPUCTRPERM: root, or NVreg_RestrictProfilingToAdminUsers=0)"
    tail -n 5 "$log" >&2
    missing "ncu did not end well"
fi

# Of ncu's CSV: the columns by their names; units are in the second line.
python3 - "$log" "$tensor" "$l2" "$dram" "$shared" "$stall" <<'PYTHON'
import csv
import sys

lines = [line for line in open(sys.argv[1], encoding="utf-8") if line.startswith('"')]
rows = list(csv.DictReader(lines))[1:]
if not rows:
    sys.exit("profile.sh: ncu saw no launch of triage_kernel")
print(f"{'grid':>18} {'tensor':>8} {'L2':>8} {'DRAM':>8} {'shared':>8} {'stalled':>8}   % of what is possible")
for row in rows:
    figures = [float(row[name].replace(",", "")) for name in sys.argv[2:]]
    figures[-1] = 100 - figures[-1]  # of the cycles in which nothing was issued
    print(f"{row['Grid Size']:>18} " + " ".join(f"{figure:8.1f}" for figure in figures))
PYTHON
