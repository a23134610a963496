#!/usr/bin/env python3
"""Carries shipped rows over a move of text that changes no machine code (docs/measuring.md): restamps db/pretuned, writes a record.

    python3 docs/carry.py --from COMMIT --out docs/results/NAME.json          all rows whose kernel's name has changed
    python3 docs/carry.py --from COMMIT --only wgmma_fp8 --check              only look, at rows with such a word

Each row's kernel is rendered from COMMIT's templates and spaces and from those of the working tree, and compiled by the compiler
that the row names. Rows take their new name only if every one of them is the same kernel, to the byte; else nothing is written.
Needs build/bin/carry_rows of this tree, and NVRTC.
"""
import argparse
import datetime
import json
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent


def git(*words):
    return subprocess.run(["git", "-C", ROOT, *words], check=True, capture_output=True).stdout


def carry(args, before):
    command = [ROOT / "build/bin/carry_rows", "--before", before, "--after", ROOT, "--cache", args.cache]
    command += ["--only", args.only] if args.only else []
    command += ["--check"] if args.check else []
    done = subprocess.run(command + [args.rows], stdout=subprocess.PIPE)
    if done.returncode not in (0, 1):
        sys.exit(done.returncode)
    return json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--from", dest="commit", required=True, help="whose kernels the rows speak of")
    parser.add_argument("--out", help="the record, a new file")
    parser.add_argument("--only", help="rows whose problem or configuration has this text")
    parser.add_argument("--check", action="store_true", help="write nothing")
    parser.add_argument("--cache", default=ROOT / "build/kernels", help="of compiled kernels (default: build/kernels)")
    parser.add_argument("--rows", default=ROOT / "db/pretuned/nvidia-h200.jsonl")
    args = parser.parse_args()
    if not args.check and (not args.out or pathlib.Path(args.out).exists()):
        sys.exit("--out must name a new file for the record")
    commit = git("rev-parse", "--verify", args.commit + "^{commit}").decode().strip()
    with tempfile.TemporaryDirectory() as before:
        subprocess.run(["tar", "-x", "-C", before], input=git("archive", commit, "templates", "tuner"), check=True)
        result = carry(args, before)
    print(f"{result['current']} current, {len(result['carried'])} carried, {len(result['refused'])} refused")
    if result["written"]:
        record = {"schema": 1, "what": "carried rows", "rows": pathlib.Path(args.rows).name, "from_commit": commit,
                  "compiler": result["compiler"], "date": datetime.date.today().isoformat(), "carried": result["carried"]}
        pathlib.Path(args.out).write_text(json.dumps(record, indent=1) + "\n")
    sys.exit(1 if result["refused"] else 0)


if __name__ == "__main__":
    main()
