#!/usr/bin/env python3
"""Makes a recorded space (tests/data/replay/README.md) of a run of the tuner's own: all its rows, failures too.

    triage_tune --shape 4096,4096,4096 --sparsity 0.9 --strategy exhaustive --force --json > run.json
    python3 tests/bench/record_space.py run.json > space.csv
    build/bin/replay_strategy --strategy model --space space.csv

Or of evidence, the lines that triage_db export writes: all rows of one problem's search, whether or not those are all of its space.

    python3 tests/bench/record_space.py --problem "bsr_gemm f16 f16 row row none nobias m=... overlap=0" evidence.jsonl > space.csv

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


def rows_of_run(path, part):
    with open(path, encoding="utf-8") as file:
        run = json.load(file)
    if len(run["rows"]) < run["space_size"] and not part:
        sys.exit(f"{path}: {len(run['rows'])} of {run['space_size']} configurations were tried: run with "
                 "--strategy exhaustive and without --budget, or take that part with --part")
    return run["rows"]


def rows_of_evidence(path, problem):
    """A later row of a configuration counts for it."""
    with open(path, encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    rows = [row for row in rows if row["problem"] == problem and row["stage"] == "search"]
    if not rows:
        sys.exit(f"{path}: no row of a search for {problem}")
    return list({row["config"]: row for row in sorted(rows, key=lambda row: row["measured_at_ms"])}.values())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", help="what triage_tune --json printed; with --problem: lines of evidence")
    parser.add_argument("--problem", help="the key of the problem whose evidence it is")
    parser.add_argument("--part", action="store_true", help="the run tried a part of its space only: take that")
    args = parser.parse_args()
    rows = rows_of_evidence(args.run, args.problem) if args.problem else rows_of_run(args.run, args.part)
    rows = [(parse(row["config"]), row) for row in sorted(rows, key=lambda row: row["config"])]
    compiles = ["compile_ms"] * any(row.get("compile_ns") for _, row in rows)
    axes = list(dict.fromkeys(axis for (_, values), _ in rows for axis in values))
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(["kernel", *axes, *compiles, "median_ms"])
    for (kernel, values), row in rows:
        time = f"{row['median_ns'] / 1e6:.6g}" if row["outcome"] in TIMED else ""
        compile_ms = [f"{row['compile_ns'] / 1e6:.0f}" for _ in compiles]
        out.writerow([kernel, *(values.get(axis, "") for axis in axes), *compile_ms, time])


if __name__ == "__main__":
    main()
