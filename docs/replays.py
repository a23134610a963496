#!/usr/bin/env python3
"""Replays the search strategies on the recorded spaces of tests/data/replay and gathers what replay_strategy says of each
into one file for docs/results; docs/tables.py makes the table of docs/search.md of the newest.

    python3 docs/replays.py --commit HASH --out docs/results/DATE-replay.json [--seeds 100]

The seeds are not those that the model was made with (1 to 60). Two processes at a time; ten minutes on two cores. A dirty
working tree is not refused: say so in --commit.
"""
import argparse
import concurrent.futures
import datetime
import json
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
DATA = ROOT / "tests/data/replay"
LARGE = ("conv_a4000", "conv_a100", "gemm_rtx_3090", "conv_w6600", "conv_rtx_2080_ti", "pnpoly_rtx_titan")
SMALL = ("h200_attention_causal_128", "h200_attention_causal_64", "h200_attention_decode", "h200_sddmm_64",
         "h200_bsr_gemm_128", "h200_bsr_gemm_16")
# (strategy, options): each on every space; the others give up after 1000 candidates
RUNS = (("random", ["--limit", "1000"]), ("local", ["--budget", "400"]), ("model", []), ("model", ["--ahead", "36"]))
# What another device knows: (space, prior)
PRIORS = (("conv_a4000", "conv_a100"), ("conv_a100", "conv_a4000"))
# Those with the time of compiling
COSTLY = ("conv_w6600", "conv_rtx_2080_ti", "pnpoly_rtx_titan", "h200_sddmm_64", "h200_bsr_gemm_128")
STOPS = LARGE[:3]


def replay(program, space, options):
    command = [program, "--space", str(DATA / f"{space}.csv"), "--json", *options]
    row = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    row["budget"] = int(options[options.index("--budget") + 1]) if "--budget" in options else None
    print(json.dumps(row), flush=True)
    return row


def wanted():
    """(space, options) of each run, in the order of the tables."""
    for space in LARGE + SMALL:
        for strategy, options in RUNS:
            if space in LARGE or "--budget" not in options:
                yield space, ["--strategy", strategy, *options]
    for space in COSTLY:
        yield space, ["--costs"]
    for space, prior in PRIORS:
        yield space, ["--prior", str(DATA / f"{prior}.csv")]
    for space in STOPS:
        for gain in ("1", "5"):
            yield space, ["--stop-gain", gain]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--commit", required=True, help="of the strategies and the program")
    parser.add_argument("--out", required=True)
    parser.add_argument("--first-seed", default="101")
    parser.add_argument("--seeds", default="100")
    parser.add_argument("--program", default=str(ROOT / "build/bin/replay_strategy"))
    args = parser.parse_args()
    seeds = ["--first-seed", args.first_seed, "--seeds", args.seeds]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        rows = list(pool.map(lambda run: replay(args.program, run[0], run[1] + seeds), wanted()))
    document = {"schema": 1, "what": "replay", "commit": args.commit, "date": datetime.date.today().isoformat(),
                "rows": rows}
    pathlib.Path(args.out).write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
