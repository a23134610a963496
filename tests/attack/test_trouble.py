"""A machine in trouble is not evidence: tunes that are killed at random points, whose disk fills up at many sizes, whose
file operations fail one after the other, whose compilers are killed. Whatever happens: no row is lost, no false row is
stored, no folder is left, and the next run is right.

    test_trouble.py BIN FAILING_DISK.so [--kills 3] [--sizes 3] [--operations 3] [--compilers 2]
    test_trouble.py BIN FAILING_DISK.so --whole [--workers 1]     200, 20, each, 40

One JSON line for each kind of trouble, what failed before it on stderr. Exit code 1: something did.
"""

import argparse
import collections
import concurrent.futures
import json
import os
import queue
import random
import re
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("bin", type=Path)
parser.add_argument("disk", type=Path)
parser.add_argument("--kills", type=int, default=3)
parser.add_argument("--sizes", type=int, default=3)
parser.add_argument("--operations", type=int, default=3, help="chosen at random; 0: each")
parser.add_argument("--part", default="1/1", help="of the operations, where each is asked for: every N-th of them")
parser.add_argument("--compilers", type=int, default=2)
parser.add_argument("--whole", action="store_true")
parser.add_argument("--workers", type=int, default=1)
parser.add_argument("--seed", type=int, default=1)
asked = parser.parse_args()
if asked.whole:
    asked.kills, asked.sizes, asked.operations, asked.compilers = 200, 20, 0, 40
PROBLEM = "--shape 64,48,64 --sparsity 0.5 --block 16 --device host --strategy random --jobs 1".split()
COMPILERS = re.compile(r"^(cc|gcc.*|cc1|as|collect2|ld.*|x86_64-linux-gnu-.*)$")


class Fault(Exception):
    pass


def need(condition, text):
    if not condition:
        raise Fault(text)


class Machine:
    """A home of its own, with a database that knows some rows: every attack begins with that one."""

    def __init__(self):
        self.home = Path(tempfile.mkdtemp(prefix="triage-attack-"))
        self.database = self.home / "t.db"
        self.counter = self.home / "counter"
        (self.home / "tmp").mkdir()
        self.run_right(set(), 3)
        shutil.copy(self.database, self.home / "known.db")

    def start(self, *options, **environment):
        return subprocess.Popen(
            [asked.bin / "triage_tune", *PROBLEM, "--db", self.database, "--json", *map(str, options)],
            env=dict(os.environ, HOME=str(self.home), XDG_CACHE_HOME=str(self.home / "cache"), OMP_NUM_THREADS="1",
                     TRIAGE_LOCK_DIR=str(self.home), TMPDIR=str(self.home / "tmp"), **environment),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)

    def ids(self):
        """Of all rows, each of which is of a candidate that is right: none of this space is not."""
        if not self.database.exists():
            return set()
        with sqlite3.connect(self.database) as file:
            need(file.execute("PRAGMA integrity_check").fetchone() == ("ok",), "the database is damaged")
            if not file.execute("SELECT 1 FROM sqlite_schema WHERE name = 'measurement'").fetchone():
                return set()
            rows = file.execute("SELECT id, outcome, reason FROM measurement").fetchall()
        false = [row for row in rows if row[1] not in ("right", "slow")]
        need(not false, f"false rows: {false}")
        return {row[0] for row in rows}

    def left(self):
        return sorted(path.name for path in (self.home / "tmp").iterdir())

    def run_right(self, before, budget=4):
        """The run after, which has one more to measure than is known: right, with every row that was there, and nothing
        left of the one before."""
        need(before <= self.ids(), "rows are lost")
        run = self.start("--budget", budget)
        out, err = run.communicate()
        need(run.returncode == 0, f"the next run ends with {run.returncode}: {err}")
        need(json.loads(out)["winner"], "the next run has no winner")
        need(before <= self.ids(), "rows are lost by the next run")
        need(not self.left(), f"left in TMPDIR: {self.left()}")

    def prepare(self, is_first=False):
        """No cache, and the rows that the attack begins with; returns their ids."""
        shutil.rmtree(self.home / "cache", ignore_errors=True)
        for path in self.home.glob("t.db*"):
            path.unlink()
        if not is_first:
            shutil.copy(self.home / "known.db", self.database)
        return self.ids()

    def attack(self, budget, is_first=False, during=None, **environment):
        """One run under the attack, to its own end, and one after it. The exit code of the first."""
        before = self.prepare(is_first)
        run = self.start("--force", "--budget", budget, **environment)
        if during:
            during(run)
        _, err = run.communicate()
        need(run.returncode in (0, 69, 70, 74), f"ends with {run.returncode}: {err}")
        need(run.returncode == 0 or err.strip(), f"ends with {run.returncode} without a word")
        need(not self.left(), f"left in TMPDIR: {self.left()}")
        self.run_right(before)
        return run.returncode

    def zero_counter(self):
        self.counter.write_bytes(bytes(64))
        return dict(LD_PRELOAD=str(asked.disk.resolve()), FAIL_COUNTER=str(self.counter))

    def count_operations(self, is_first):
        self.prepare(is_first)
        run = self.start("--force", "--budget", 1, FAIL_OPERATION="0", **self.zero_counter())
        run.communicate()
        count = int.from_bytes(self.counter.read_bytes()[:8], "little")
        need(run.returncode == 0 and count > 300, f"{count} operations were counted")
        return count


# ---- the attacks: each with a machine of its own for as long as it lasts ----

def kill(machine, number):
    """After so many milliseconds, with each of the signals in turn; SIGKILL leaves its sweeping to the next run."""
    before = machine.prepare()
    run = machine.start("--force", "--budget", 3)
    try:
        run.communicate(timeout=random.Random(asked.seed + number).uniform(0.001, 2))
    except subprocess.TimeoutExpired:
        how = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)[number % 4]
        run.send_signal(how)
        run.communicate()
        need(run.returncode in (0, 130, -how), f"{how.name}: ends with {run.returncode}")
        if how != signal.SIGKILL:
            need(run.returncode < 0 or not machine.left(), f"{how.name}: left in TMPDIR: {machine.left()}")
    machine.run_right(before)
    return run.returncode


def fill(machine, number):
    """A disk that is full after so many bytes of a process."""
    size = int(200 * 1.6 ** (number * 20 // asked.sizes))
    return machine.attack(3, LD_PRELOAD=str(asked.disk.resolve()), FAIL_AFTER_BYTES=str(size))


def fail(machine, which):
    """EIO at one operation."""
    number, is_first = which
    try:
        return machine.attack(1, is_first, FAIL_OPERATION=str(number), **machine.zero_counter())
    except Fault as fault:
        raise Fault(f"{machine.counter.read_bytes()[8:].rstrip(bytes(1)).decode()} fails: {fault}") from None


def dying_compiler(machine, _):
    """One that is killed in its work, about every third time."""
    path = machine.home / "cc"
    path.write_text('#!/bin/bash\n[ "$1" != --version ] && [ $((RANDOM % 3)) = 0 ] && kill -KILL $$\n'
                    'exec /usr/bin/cc "$@"\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return machine.attack(3, CC=str(path))


def children(parent):
    """What runs below a process, with its name."""
    for path in Path(f"/proc/{parent}/task").glob("*/children"):
        try:
            for child in path.read_text().split():
                yield int(child), Path(f"/proc/{child}/comm").read_text().strip()
                yield from children(child)
        except OSError:  # it is gone
            pass


def murder(machine, number):
    """Whatever part of the compiler runs at a random time is killed, three times."""
    chance = random.Random(asked.seed + number)
    killed = [0]

    def hunt(run):
        for _ in range(3):
            time.sleep(chance.uniform(0, 0.2))
            while run.poll() is None:
                found = [pid for pid, name in children(run.pid) if COMPILERS.match(name)]
                if found:
                    try:
                        os.kill(chance.choice(found), signal.SIGKILL)
                        killed[0] += 1
                    except ProcessLookupError:
                        continue
                    break
                time.sleep(0.001)

    code = machine.attack(3, during=hunt)
    need(killed[0] > 0, "no compiler was met")
    return code


# ---- all of them ----

machines = queue.Queue()
faults = []


def visit(what, attack, how):
    machine = machines.get()
    try:
        return attack(machine, how)
    except Fault as fault:
        faults.append(f"{what} {how}: {fault}")
        print(f"FAILED: {faults[-1]}", file=sys.stderr, flush=True)
        for path in (machine.home / "tmp").iterdir():
            shutil.rmtree(path, ignore_errors=True)
        return "failed"
    finally:
        machines.put(machine)


def attack_all(what, attack, list_of_how):
    """The line also says how the attacked runs ended: 0, an error of the machine, a signal."""
    with concurrent.futures.ThreadPoolExecutor(asked.workers) as pool:
        ends = list(pool.map(lambda how: visit(what, attack, how), list_of_how))
    line = {"trouble": what, "runs": len(ends), "failed": ends.count("failed"),
            "ended": {str(end): count for end, count in sorted(collections.Counter(map(str, ends)).items())}}
    print(json.dumps(line), flush=True)
    return ends


def operations():
    machine = machines.get()
    counts = {is_first: machine.count_operations(is_first) for is_first in (False, True)}
    machines.put(machine)
    # What a first tune does more, it does in the beginning: it makes the database.
    last = {False: counts[False], True: counts[True] - counts[False] + 100}
    each = [(number, is_first) for is_first in (False, True) for number in range(1, last[is_first] + 20)]
    part, parts = map(int, asked.part.split("/"))
    return each[part - 1::parts] if asked.operations == 0 else random.Random(asked.seed).sample(each, asked.operations)


def main():
    for _ in range(asked.workers):
        machines.put(Machine())
    attack_all("kill", kill, range(asked.kills))
    ends = attack_all("full disk", fill, range(asked.sizes))
    if not any(ends):
        faults.append("no disk was full")
    attack_all("EIO", fail, operations())
    attack_all("a compiler that kills itself", dying_compiler, range((asked.compilers + 1) // 2))
    attack_all("a compiler that is killed", murder, range(asked.compilers // 2))
    while not machines.empty():
        shutil.rmtree(machines.get().home)
    sys.exit(bool(faults))


main()
