#!/usr/bin/env python3
"""Makes a recorded space (tests/data/replay/README.md) of a run of the tuner's own: all its rows, failures too.

    triage_tune --shape 4096,4096,4096 --sparsity 0.9 --strategy exhaustive --force --json > run.json
    python3 tests/bench/record_space.py run.json > space.csv
    build/bin/replay_strategy --strategy model --space space.csv

Rows are in the order of their texts, not of their times. Every configuration of the space should be there: of a run that
tried a part only that part can be replayed, which is refused without --part.
"""
import argparse
import csv
import json
import sys

TIMED = ("right", "slow")


def parse(config):
    """("wgmma", {"tile_n": "256", ...})"""
    kernel, *axes = config.split(" ")
    return kernel, dict(axis.split("=", 1) for axis in axes)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", help="what triage_tune --json printed")
    parser.add_argument("--part", action="store_true", help="the run tried a part of its space only: take that")
    args = parser.parse_args()
    with open(args.run, encoding="utf-8") as file:
        run = json.load(file)
    if len(run["rows"]) < run["space_size"] and not args.part:
        sys.exit(f"{args.run}: {len(run['rows'])} of {run['space_size']} configurations were tried: run with "
                 "--strategy exhaustive and without --budget, or take that part with --part")
    rows = [(parse(row["config"]), row) for row in sorted(run["rows"], key=lambda row: row["config"])]
    axes = list(dict.fromkeys(axis for (_, values), _ in rows for axis in values))
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(["kernel", *axes, "median_ms"])
    for (kernel, values), row in rows:
        time = f"{row['median_ns'] / 1e6:.6g}" if row["outcome"] in TIMED else ""
        out.writerow([kernel, *(values.get(axis, "") for axis in axes), time])


if __name__ == "__main__":
    main()
