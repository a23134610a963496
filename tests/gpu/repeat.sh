#!/bin/sh
# Do tunes of one problem agree? Three of each, every one in a database of its own that is empty at first, as three users
# would; what they share is the cache of compiled kernels.
#
#   sh tests/gpu/repeat.sh [--out DIR] [--build DIR] [--device cuda|host] [--tunes N] [--limit S]
#
#   --out    results (default: $OUT/repeat, else repeat-out): the JSON of each tune, and repeat.json
#   --limit  seconds (default 110): a tune that is not begun by then is left, and said
#
# Every time in it is of a verified result (triage_tune). The last lines are a table: of each problem the winners' times and how
# far apart they are. Exit codes: 0 all within 1 %, 1 not, or a tune failed, 64 usage, 75 something is left.
set -u
here=$(cd "$(dirname "$0")/../.." && pwd)
out=${OUT:+$OUT/repeat} out=${out:-repeat-out} build='' device=cuda tunes=3 limit=110
while [ $# -gt 0 ]; do
    [ $# -ge 2 ] || { echo "repeat.sh: $1 needs a value" >&2 && exit 64; }
    case $1 in
        --out) out=$2 ;;
        --build) build=$2 ;;
        --device) device=$2 ;;
        --tunes) tunes=$2 ;;
        --limit) limit=$2 ;;
        *) echo "repeat.sh: unknown option '$1'" >&2 && exit 64 ;;
    esac
    shift 2
done
case $tunes in [2-9]) ;; *) echo "repeat.sh: $tunes tunes: allowed are 2 to 9" >&2 && exit 64 ;; esac
if [ -z "$build" ]; then
    build=$here/build-portable
    [ -x "$build/bin/triage_tune" ] || build=$here/build
fi
[ -x "$build/bin/triage_tune" ] || { echo "repeat.sh: no triage_tune in $build/bin" >&2 && exit 64; }
mkdir -p "$out" || exit 1
export XDG_CACHE_HOME="${XDG_CACHE_HOME:-$out/cache}"
case $device in # the host device is for trying this script
    host) blocks="16 32" shape=256,256,256 types="--dtype f32" ;;
    *) blocks="16 64 128" shape=4096,4096,4096 types="--dtype f16" ;;
esac
started=$(date +%s) left=0 bad=0
for block in $blocks; do
    for i in $(seq "$tunes"); do
        if [ $(($(date +%s) - started)) -ge "$limit" ]; then
            left=1 && echo "left: block $block, tune $i" && continue
        fi
        rm -f "$out/$block-$i.db"*
        "$build/bin/triage_tune" --shape $shape --sparsity 0.9 --block "$block" $types --device "$device" \
            --db "$out/$block-$i.db" --json >"$out/$block-$i.json" 2>"$out/$block-$i.log" ||
            { bad=1 && echo "failed: block $block, tune $i: $(tail -n 1 "$out/$block-$i.log")"; }
    done
done
python3 - "$out" "$tunes" $blocks <<'END' || bad=1
import json, pathlib, sys

out, tunes, blocks = pathlib.Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
table = []
for block in blocks:
    won = []
    for i in range(1, tunes + 1):
        try:
            document = json.loads((out / f"{block}-{i}.json").read_text())
            row = next(row for row in document["rows"] if row["config"] == document["winner"])
        except (OSError, ValueError, StopIteration):
            continue
        won.append({key: row[key] for key in ("config", "median_ns", "low_ns", "high_ns", "samples", "stage", "busy", "wide")}
                   | {"elapsed_s": document["elapsed_ns"] / 1e9, "circumstances": row["circumstances"]})
    times = [row["median_ns"] for row in won]
    spread = 100 * (max(times) / min(times) - 1) if len(times) == tunes else None
    table.append({"block": int(block), "spread_percent": spread, "winners": won})
(out / "repeat.json").write_text(json.dumps({"schema": 1, "kind": "repeat", "problems": table}, indent=1) + "\n")
for row in table:
    for won in row["winners"]:
        note = "".join(f", {word}" for word in ("busy", "wide") if won[word])
        print(f"  {won['median_ns'] / 1e3:9.3f} us  [{won['low_ns'] / 1e3:.3f}, {won['high_ns'] / 1e3:.3f}]  "
              f"{won['samples']} samples, {won['stage']}{note}, tune of {won['elapsed_s']:.1f} s: {won['config']}")
    spread = row["spread_percent"]
    print(f"block {row['block']}: " + ("not whole" if spread is None else f"winners' times within {spread:.2f} %"))
sys.exit(any(row["spread_percent"] is None or row["spread_percent"] > 1 for row in table))
END
[ "$bad" = 0 ] || exit 1
[ "$left" = 0 ] || exit 75
