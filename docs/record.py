#!/usr/bin/env python3
"""Gathers what triage_tune --json and triage_bench --json printed into one file for docs/results.

    python3 docs/record.py --commit HASH --out docs/results/NAME.json FILE.json...

Each file becomes a run. Of a tune, the winner, its nearest rivals and the count of each outcome are kept; of a
bench, everything. All files must come from one device and driver.
"""
import argparse
import collections
import datetime
import json
import pathlib
import sys

RIVALS = 5


def tune_run(document):
    rows = document.pop("rows")
    document["outcomes"] = dict(collections.Counter(row["outcome"] for row in rows))
    document["best"] = rows[:RIVALS]
    return document


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--commit", required=True, help="of the programs that were run")
    parser.add_argument("--out", required=True)
    parser.add_argument("files", nargs="+")
    args = parser.parse_args()
    runs, places = [], set()
    for name in args.files:
        document = json.loads(pathlib.Path(name).read_text())
        where = document["best"][0] if "best" in document else (document.get("rows") or [document])[0]
        circumstances = where.get("circumstances") or document.get("circumstances")
        device = document["device_name"] if "device_name" in document else document["device"]["name"]
        places.add((device, circumstances.get("driver", "none"), circumstances.get("compiler", "none")))
        runs.append(tune_run(document) if "rows" in document else document)
    if len(places) != 1:
        sys.exit(f"runs of different places: {sorted(places)}")
    device, driver, compiler = places.pop()
    document = {"schema": 1, "what": runs[0]["kind"], "device": device, "driver": driver, "toolkit": compiler,
                "commit": args.commit, "date": datetime.date.today().isoformat(), "runs": runs}
    pathlib.Path(args.out).write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
