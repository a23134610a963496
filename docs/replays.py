#!/usr/bin/env python3
"""Replays the search strategies on the recorded spaces of tests/data/replay and gathers what replay_strategy says of each
into one file for docs/results; docs/tables.py makes the table of docs/search.md of the newest.

    python3 docs/replays.py --commit HASH --out docs/results/DATE-replay.json [--seeds 100]

One process at a time; a quarter of an hour on one core. A dirty working tree is not refused: say so in --commit.
"""
import argparse
import datetime
import json
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
SPACES = ("conv_a4000.csv", "conv_a100.csv", "gemm_rtx_3090.csv")
# (strategy, options): each on every space
RUNS = (("random", []), ("local", []), ("local", ["--budget", "400"]), ("model", []), ("model", ["--ahead", "36"]))
# What another device knows: (space, prior)
PRIORS = (("conv_a4000.csv", "conv_a100.csv"), ("conv_a100.csv", "conv_a4000.csv"))


def replay(program, space, options):
    command = [program, "--space", str(ROOT / "tests/data/replay" / space), "--json", *options]
    row = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    print(json.dumps(row), flush=True)
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--commit", required=True, help="of the strategies and the program")
    parser.add_argument("--out", required=True)
    parser.add_argument("--seeds", default="100")
    parser.add_argument("--program", default=str(ROOT / "build/bin/replay_strategy"))
    args = parser.parse_args()
    seeds = ["--seeds", args.seeds]
    rows = [dict(replay(args.program, space, ["--strategy", strategy, *options, *seeds]),
                 budget=int(options[1]) if "--budget" in options else None)
            for space in SPACES for strategy, options in RUNS]
    rows += [replay(args.program, space, ["--prior", str(ROOT / "tests/data/replay" / prior), *seeds])
             for space, prior in PRIORS]
    rows += [replay(args.program, space, ["--stop-gain", gain, *seeds]) for space in SPACES for gain in ("1", "5")]
    document = {"schema": 1, "what": "replay", "commit": args.commit, "date": datetime.date.today().isoformat(),
                "rows": rows}
    pathlib.Path(args.out).write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
