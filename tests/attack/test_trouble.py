"""A machine in trouble is not evidence: tunes that are killed at random points, whose disk fills up at many sizes, whose
file operations fail one after the other, whose compilers are killed. Whatever happens: no row is lost, no false row is
stored, no folder is left, and the next run is right.

    test_trouble.py BIN FAILING_DISK.so [--kills 200] [--sizes 20] [--operations 0 (all)] [--compilers 20]
"""

import argparse
import json
import os
import random
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("bin", type=Path)
parser.add_argument("disk", type=Path)
parser.add_argument("--kills", type=int, default=3)
parser.add_argument("--sizes", type=int, default=3)
parser.add_argument("--operations", type=int, default=3, help="0: each")
parser.add_argument("--compilers", type=int, default=2)
parser.add_argument("--seed", type=int, default=1)
asked = parser.parse_args()
chance = random.Random(asked.seed)
home = Path(tempfile.mkdtemp(prefix="triage-attack-"))
database = home / "t.db"
PROBLEM = "--shape 64,48,64 --sparsity 0.5 --block 16 --device host --strategy random --jobs 1".split()


def need(condition, text):
    if not condition:
        sys.exit(f"FAILED: {text}\n(in {home})")


def start(*options, **environment):
    (home / "tmp").mkdir(exist_ok=True)
    return subprocess.Popen(
        [asked.bin / "triage_tune", *PROBLEM, "--db", database, "--json", *map(str, options)],
        env=dict(os.environ, HOME=str(home), XDG_CACHE_HOME=str(home / "cache"), TRIAGE_LOCK_DIR=str(home),
                 TMPDIR=str(home / "tmp"), **environment),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def ids():
    """Of all rows, each of which is of a candidate that is right: none of this space is not."""
    if not database.exists():
        return set()
    with sqlite3.connect(database) as file:
        need(file.execute("PRAGMA integrity_check").fetchone() == ("ok",), "the database is damaged")
        if not file.execute("SELECT 1 FROM sqlite_schema WHERE name = 'measurement'").fetchone():
            return set()
        rows = file.execute("SELECT id, outcome, reason FROM measurement").fetchall()
    false = [row for row in rows if row[1] not in ("right", "slow")]
    need(not false, f"false rows: {false}")
    return {row[0] for row in rows}


def left():
    return sorted(path.name for path in (home / "tmp").iterdir())


def run_right(before, **environment):
    """The run after: right, with every row that was there, and nothing left of the one before."""
    run = start("--budget", 3, **environment)
    out, err = run.communicate()
    need(run.returncode == 0, f"the next run ends with {run.returncode}: {err}")
    need(json.loads(out)["winner"], "the next run has no winner")
    need(before <= ids(), "rows are lost")
    need(not left(), f"left in TMPDIR: {left()}")


def attack(what, budget, **environment):
    """One run under the attack, to its own end, and one after it."""
    before = ids()
    shutil.rmtree(home / "cache", ignore_errors=True)
    run = start("--force", "--budget", budget, **environment)
    _, err = run.communicate()
    need(run.returncode in (0, 69, 70, 74), f"{what}: ends with {run.returncode}: {err}")
    need(run.returncode == 0 or err.strip(), f"{what}: ends with {run.returncode} without a word")
    need(not left(), f"{what}: left in TMPDIR: {left()}")
    run_right(before)
    return run.returncode


def kill_at_random(number):
    """After so many milliseconds, with each of the signals in turn; SIGKILL leaves its sweeping to the next run."""
    before = ids()
    run = start("--force", "--budget", 3)
    try:
        run.communicate(timeout=chance.uniform(0.001, 3))
    except subprocess.TimeoutExpired:
        how = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)[number % 4]
        run.send_signal(how)
        run.communicate()
        need(run.returncode in (0, 130, -how), f"{how.name}: ends with {run.returncode}")
        if how != signal.SIGKILL:
            need(run.returncode < 0 or not left(), f"{how.name}: left in TMPDIR: {left()}")
    run_right(before)


def dying_compiler():
    """One that is killed in its work, about every third time."""
    path = home / "cc"
    path.write_text('#!/bin/bash\n[ "$1" != --version ] && [ $((RANDOM % 3)) = 0 ] && kill -KILL $$\n'
                    'exec /usr/bin/cc "$@"\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def main():
    run_right(set())
    for number in range(asked.kills):
        kill_at_random(number)
    print(f"{asked.kills} kills: {len(ids())} rows, none lost, none false, nothing left", flush=True)
    ends = [attack(f"full after {2 ** (2 + number)} kB", 3, LD_PRELOAD=str(asked.disk),
                   FAIL_AFTER_BYTES=str(1000 * int(1.5 ** (number * 20 // max(asked.sizes, 1)))))
            for number in range(asked.sizes)]
    print(f"{asked.sizes} full disks: {sum(end != 0 for end in ends)} ended with an error, the rest with all", flush=True)
    count, failed, quiet = 0, 0, 0
    while quiet < 3 and (asked.operations == 0 or count < asked.operations):
        count += 1
        which = count if asked.operations == 0 else chance.randrange(1, 60)
        end = attack(f"EIO at operation {which}", 1, LD_PRELOAD=str(asked.disk), FAIL_OPERATION=str(which))
        failed += end != 0
        quiet = quiet + 1 if end == 0 and count > 150 else 0
    print(f"{count} operations failed with EIO: {failed} runs ended with an error, the rest with all", flush=True)
    for _ in range(asked.compilers):
        attack("a dying compiler", 3, CC=dying_compiler())
    print(f"{asked.compilers} runs with a compiler that is killed every third time", flush=True)
    shutil.rmtree(home)


main()
