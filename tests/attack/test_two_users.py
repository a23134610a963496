"""Two users of one machine, with whole tunes, in both directions: neither can stop, slow for longer than was said, or mislead
the other's tuning. As root, who starts the programs as two others (runuser); by hand, since it takes minutes.

    test_two_users.py BIN [--users daemon,games] [--rounds 3]
"""

import argparse
import fcntl
import json
import os
import pwd
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("bin", type=Path)
parser.add_argument("--users", default="daemon,games")
parser.add_argument("--rounds", type=int, default=3)
asked = parser.parse_args()
if os.geteuid() != 0:
    print("skipped: only root can be two users")
    sys.exit(77)
root = Path(tempfile.mkdtemp(prefix="triage-two-users-"))
root.chmod(0o755)
programs = root / "bin"
programs.mkdir()
for name in ("triage_tune", "triage_worker"):
    shutil.copy(asked.bin / name, programs / name)
counts = dict.fromkeys(("tunes", "waited", "beside", "obstacles", "refused"), 0)


def need(condition, text):
    if not condition:
        sys.exit(f"FAILED: {text}\n(in {root})")


class User:
    def __init__(self, name):
        self.name, self.id = name, pwd.getpwnam(name).pw_uid
        self.home = root / name
        self.home.mkdir()
        os.chown(self.home, self.id, -1)
        self.home.chmod(0o700)

    def run(self, *words, **options):
        return subprocess.Popen(["runuser", "-u", self.name, "--", *map(str, words)], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, cwd="/", **options)

    def tune(self, locks, *options, cache=None, db="t.db"):
        counts["tunes"] += 1
        settings = {"HOME": self.home, "XDG_CACHE_HOME": cache or self.home / "cache", "TRIAGE_LOCK_DIR": locks,
                    "TMPDIR": self.home}
        return self.run("env", *(f"{name}={value}" for name, value in settings.items()), programs / "triage_tune",
                        *"--shape 64,48,64 --sparsity 0.5 --block 16 --device host --jobs 1 --budget 3 --json".split(),
                        "--db", self.home / db, *options)

    def must_be_right(self, run, db="t.db"):
        """Its own words, and its own evidence: all right, none of anybody else's."""
        out, err = run.communicate(timeout=600)
        need(run.returncode == 0, f"{self.name}'s tune ends with {run.returncode}: {err}")
        document = json.loads(out)
        need(document["winner"], f"{self.name} has no winner")
        with sqlite3.connect(self.home / db) as file:
            false = file.execute("SELECT outcome, reason FROM measurement WHERE outcome NOT IN ('right', 'slow')").fetchall()
        need(not false, f"false rows of {self.name}: {false}")
        need((self.home / db).stat().st_uid == self.id, f"{self.name}'s database is another's")
        return err


def lock_dir(name):
    folder = root / name
    folder.mkdir()
    folder.chmod(0o1777)
    return folder


def together(a, b, locks):
    """Both at once: both are served, one after the other, and whoever waits says for whom."""
    runs = [(user, other, user.tune(locks, "--force")) for user, other in ((a, b), (b, a))]
    for user, other, run in runs:
        counts["waited"] += other.name in user.must_be_right(run)


def held_for_ever(victim, other, locks):
    """The other holds the lock that is his: the victim is served after his own limit, and says beside whom."""
    files = [path for path in locks.iterdir() if path.stat().st_uid == other.id]
    need(files, f"{other.name} has no lock in {locks}")
    handles = [open(path, "r+") for path in files]
    for handle in handles:
        fcntl.flock(handle, fcntl.LOCK_EX)
    err = victim.must_be_right(victim.tune(locks, "--force", "--wait", 2))
    counts["beside"] += 1
    need(err.strip(), "nothing is said of who holds the device")
    for handle in handles:
        handle.close()


def places_taken(victim, other, known, name):
    """What the other puts where the victim's locks would be made is passed over."""
    names = [path.name for path in known.iterdir() if path.stat().st_uid == victim.id]
    need(names, f"{victim.name} has no lock in {known}")
    for what in ('mkfifo "$1"', 'ln -s /etc/passwd "$1"', 'ln -s "$1" "$1"', 'mkdir "$1"', 'touch "$1"; chmod 666 "$1"'):
        locks = lock_dir(f"{name}-{counts['obstacles']}")
        for place in names:
            made = other.run("sh", "-c", what, "sh", locks / place)
            need(made.wait() == 0, f"{what}: {made.stderr.read()}")
            counts["obstacles"] += 1
        victim.must_be_right(victim.tune(locks, "--force", "--wait", 2))


def what_is_not_his(victim, other):
    """The other can neither write nor read what the victim has; a cache that he made ready is not used."""
    for command in (f"echo x >> {victim.home}/t.db", f"ls {victim.home}/cache", f"rm -rf {victim.home}/cache/triage",
                    f"cat {victim.home}/t.db", f"mv {victim.home} {victim.home}.gone"):
        run = other.run("sh", "-c", command)
        run.communicate()
        need(run.returncode != 0, f"{other.name} may {command}")
        counts["refused"] += 1
    trap = root / f"trap-{victim.name}"
    trap.mkdir()
    trap.chmod(0o1777)
    need(other.run("sh", "-c", f"umask 0; mkdir -p {trap}/triage/kernels").wait() == 0, "no trap")
    err = victim.must_be_right(victim.tune(root / "locks", "--force", cache=trap))
    need("not used" in err or "without it" in err, f"a cache of {other.name}'s is used: {err}")
    counts["refused"] += 1


def main():
    a, b = map(User, asked.users.split(","))
    locks = lock_dir("locks")
    for number in range(asked.rounds):
        together(*((a, b) if number % 2 == 0 else (b, a)), locks)
    for victim, other in ((a, b), (b, a)):
        held_for_ever(victim, other, locks)
        places_taken(victim, other, locks, f"places-{victim.name}")
        what_is_not_his(victim, other)
    need(counts["waited"] > 0, "nobody ever waited for the other")
    print(f"two users: {counts['tunes']} whole tunes, all right; {counts['waited']} waited for the other by name, "
          f"{counts['beside']} went on beside one who never ends, {counts['obstacles']} things in a lock's place passed over, "
          f"{counts['refused']} of the other's tries refused", flush=True)
    shutil.rmtree(root)


main()
