#!/usr/bin/env python3
"""Times of exhaustive tunes as a predictor learns from them, small: db/pretuned/NAME.times (src/evidence/teach.c).

    python3 docs/times.py docs/results/2026-11-30-h200-notebook-untuned.jsonl.gz docs/results/2026-12-01*-h200-notebook-{split,few,untuned}.jsonl.gz > db/pretuned/nvidia-h200.times

Lines: "triage times 1"; "device KEY"; "config TEXT", counted from 0; "problem KEY", and below each "CONFIG NANOSECONDS" of
what was right, the search's time before that of a race (searches compare with one another). Of a problem that several files
have the last one counts: its kernels may have changed.
"""
import gzip
import json
import sys


def rows(path):
    opened = gzip.open(path, "rt") if path.endswith(".gz") else open(path)
    with opened as lines:
        for line in lines:
            row = json.loads(line)
            if row["outcome"] in ("right", "slow") and row["problem"].startswith("bsr_gemm "):
                yield row


def main():
    times = {}
    for path in sys.argv[1:]:
        here = {}
        for row in rows(path):
            of = here.setdefault((row["device"], row["problem"]), {})
            if row["stage"] == "search" or row["config"] not in of:
                of[row["config"]] = row["median_ns"]
        times.update(here)
    configs = sorted({config for of in times.values() for config in of})
    number = {config: i for i, config in enumerate(configs)}
    print("triage times 1")
    for config in configs:
        print("config", config)
    last = None
    for (device, problem), of in sorted(times.items()):
        if device != last:
            print("device", device)
            last = device
        print("problem", problem)
        for config, ns in sorted(of.items()):
            print(number[config], round(ns))


main()
