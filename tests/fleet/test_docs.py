#!/usr/bin/env python3
"""Runs every command of docs/fleet.md, in order, in a temporary home. python3 tests/fleet/test_docs.py BIN_DIR"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


def main():
    if not os.environ.get("TRIAGE_TEST_SERVER"):
        print("skipped: no TRIAGE_TEST_SERVER (tests/support/postgres.sh)")
        return 77
    with open(os.path.join(ROOT, "docs", "fleet.md"), encoding="utf-8") as page:
        blocks = re.findall(r"^```sh\n(.*?)^```", page.read(), re.DOTALL | re.MULTILINE)
    commands = [line for block in blocks for line in block.splitlines() if line]
    if len(commands) < 15:
        raise SystemExit(f"only {len(commands)} commands found in docs/fleet.md")
    home = tempfile.mkdtemp(prefix="triage-docs-")
    environment = dict(os.environ, HOME=home, PATH=f"{os.path.abspath(sys.argv[1])}:{os.environ['PATH']}")
    environment.pop("XDG_DATA_HOME", None)
    environment["TRIAGE_LOCK_DIR"] = home
    environment["SERVER"] = os.environ["TRIAGE_TEST_SERVER"].replace("/postgres?", "/tuning?")
    try:
        subprocess.run(["dropdb", "--if-exists", "-f", "tuning"], env=environment, check=True, capture_output=True)
        subprocess.run(["psql", "-d", "postgres", "-c", "DROP ROLE IF EXISTS gpu17"], env=environment, check=True,
                       capture_output=True)
        outputs = {}
        for command in commands:
            run = subprocess.run(["sh", "-eu", "-c", command], env=environment, cwd=home, text=True, timeout=600,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            if run.returncode != 0:
                raise SystemExit(f"{command}\nexit {run.returncode}: {run.stdout}")
            outputs.setdefault(command, []).append(run.stdout)
        hashes = [out for command, out in outputs.items() if command.startswith("triage_db hash")]
        if hashes[0] != hashes[1]:  # this machine's file, and what a merge made of its export
            raise SystemExit(f"hashes differ: {hashes}")
        if "1 waiting (1 compiled ahead)" not in outputs['triage_db status --server "$SERVER"'][1]:
            raise SystemExit("nothing was compiled ahead:\n" + outputs['triage_db status --server "$SERVER"'][1])
        jobs = outputs['triage_db jobs --server "$SERVER"']
        if jobs[0].count("queued") != 2 or jobs[1].count("done") != 4:
            raise SystemExit("the worker did not do the jobs:\n" + "\n".join(jobs))
        print(f"{len(commands)} commands of docs/fleet.md did what it says")
    finally:
        shutil.rmtree(home)
    return 0


if __name__ == "__main__":
    sys.exit(main())
