"""A tune whatever it is started in: files that are closed, signals that are ignored, limits, folders of odd names, and always a
working folder in which a stranger has put what could be taken for a compiler, a template, a space or a library. It is right,
or says why not; in either case no row is false, the database is sound, nothing is left, and nothing but it was run.

    test_surroundings.py BIN
"""

import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

tune = Path(sys.argv[1]).resolve() / "triage_tune"
home = Path(tempfile.mkdtemp(prefix="triage-around-"))
PROBLEM = ("--shape 64,48,64 --sparsity 0.5 --block 16 --device host --strategy random --jobs 1 --budget 1 --force "
           "--json").split()
NAMES = {"spaces": "t m p", "shell": "'\"$(touch ran);`touch ran`", "newline": "t\nm", "colon": "a:b", "option": "-o x",
         "long": "/".join(12 * [200 * "d"]),
         "bytes": os.fsdecode(b"n\xff%41\xfe")}


STRANGERS = {"cc": "#!/bin/sh\n>ran\n", "triage_worker": "#!/bin/sh\n>ran\n", "templates/bsr_gemm/host.c": "#error a stranger's\n",
             "templates/bsr_gemm/reference.c": "#error a stranger's\n", "tuner/spaces/bsr_gemm.lua": "error('a stranger\'s')\n",
             "tuner/strategies/random.lua": "error('a stranger\'s')\n", "db/queries.sql": "-- name: begin\nDROP TABLE measurement\n",
             "libcuda.so.1": "no library", "libsodium.so.23": "no library", "triage.db": "no database"}


def limit(what, most):
    return lambda: resource.setrlimit(what, (most, most))


def start(shell='exec "$@"', before=None, folder="tmp", **environment):
    """The program by a shell, so that it can be without its standard files. Its exit code, and both outputs."""
    shutil.rmtree(home, ignore_errors=True)
    temporary = home / folder
    temporary.mkdir(parents=True)
    for name, text in STRANGERS.items():
        path = home / "here" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    run = subprocess.run(
        ["/bin/bash", "-c", shell, "bash", tune, *PROBLEM, "--db", home / "t.db"], cwd=home / "here", preexec_fn=before,
        env={**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "TRIAGE_LOCK_DIR": str(home),
             "OMP_NUM_THREADS": "1", "TMPDIR": str(temporary), **environment},
        capture_output=True, text=True, timeout=600)
    left = [path for place in (temporary, home / "here") for path in place.rglob("*") if path.is_file() or place == temporary]
    return run, [path for path in left if path not in [home / "here" / name for name in STRANGERS]]


def outcomes():
    if not (home / "t.db").exists():
        return []
    with sqlite3.connect(home / "t.db") as file:
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return [row[0] for row in file.execute("SELECT outcome FROM measurement")]


def check(name, ends, told=True, **how):
    """Ends with one of these; an end that is not 0 has its reason, where there is a place for it."""
    run, left = start(**how)
    found = outcomes()
    what = f"{name}: ends with {run.returncode}, {found}, left {left}: {run.stderr}"
    assert run.returncode in ends, what
    assert not left and set(found) <= {"right", "slow"}, what
    if run.returncode == 0:
        assert found and (not run.stdout or json.loads(run.stdout)["winner"]), what
    else:
        assert not told or run.stderr.strip(), what
    print(f"{name}: {run.returncode}", flush=True)


def main():
    check("no stdin", [0], shell='exec "$@" <&-')
    check("no stderr", [0], shell='exec "$@" 2>&-')
    check("no standard file", [0], shell='exec "$@" <&- >&- 2>&-')
    check("a full stdout", [74], shell='exec "$@" >/dev/full')
    check("SIGCHLD is ignored", [0], before=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN))
    check("all signals are blocked", [0],
          before=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals()))
    check("no file may have a byte", [74], before=limit(resource.RLIMIT_FSIZE, 0))
    check("no file of 64 kB", [74], before=limit(resource.RLIMIT_FSIZE, 1 << 16))
    check("40 MB of memory", [0, 69, 70, 74], before=limit(resource.RLIMIT_AS, 40 << 20))
    check("20 MB of data", [74], before=limit(resource.RLIMIT_DATA, 20 << 20))  # enough to start, none to time with
    check("8 open files", [0, 69, 74], before=limit(resource.RLIMIT_NOFILE, 8))
    check("12 open files", [0, 69, 74], before=limit(resource.RLIMIT_NOFILE, 12))
    check("a umask of all", [0], before=lambda: os.umask(0o777))
    assert (home / "t.db").stat().st_mode & 0o777 == 0o600 and (home / "cache").stat().st_mode & 0o777 == 0o700
    for name, folder in NAMES.items():
        check(f"TMPDIR: {name}", [0], folder=folder)
        check(f"cache: {name}", [0, 74] if name == "long" else [0], XDG_CACHE_HOME=str(home / folder))
    check("TMPDIR cannot have folders", [0, 74], TMPDIR="/proc")
    check("TMPDIR is no folder", [0], TMPDIR="/dev/null")
    check("the cache is no folder", [0], XDG_CACHE_HOME="/dev/null")
    check("PATH is the working folder", [0], PATH=".")
    check("CC is words", [0], CC="gcc;touch ran")
    check("what gcc reads", [0], GCC_EXEC_PREFIX="/nowhere/", COMPILER_PATH="/nowhere", CPATH="/etc", LIBRARY_PATH="/etc",
          DEPENDENCIES_OUTPUT=f"{home}/here/ran")
    shutil.rmtree(home)


main()
