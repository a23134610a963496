"""Texts of a database that somebody else has written into: whatever they are, a terminal gets no control character and nothing that
turns the order of reading round, and a page no markup.

    test_hostile_text.py BIN
"""

import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

folder = Path(sys.argv[1]).resolve()
TEXTS = ["<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "a\x1b[2J", "a\nb", "\x7f", "\u0085x", "\u009b2J", "\u202eevil", "\u2066x",
         100000 * "x"]
PLACES = [("origin", "device_name"), ("origin", "compiler"), ("measurement", "reason"), ("measurement", "circumstances"),
          ("candidate", "config"), ("candidate", "kernel"), ("problem", "key"), ("device", "key")]
MISLEADING = {chr(c) for c in [*range(32), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)]} - {"\n", "\t"}
PROBLEM = "--device host --shape 64,32,64 --sparsity 0.5 --block 16".split()


def write(path, rows, table, column, text):
    """As one would who has the file: what keeps evidence as it is stands in the file, too."""
    path.write_bytes(rows)
    with sqlite3.connect(path) as file:
        guards = file.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in guards:
            file.execute(f'DROP TRIGGER "{name}"')
        file.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = (SELECT max(rowid) FROM {table})", (text,))
        for _, sql in guards:
            file.execute(sql)
    file.close()


def check(path, page, command):
    run = subprocess.run([folder / "triage_db", *command, "--db", path], capture_output=True, timeout=600)
    shown = (run.stdout + run.stderr).decode(errors="replace")
    found = MISLEADING & set(shown)
    assert run.returncode >= 0 and not found, f"{command}: {run.returncode}, shows {found!r}"
    if page.exists():
        text = page.read_text(errors="replace")
        page.unlink()
        assert "<script>alert" not in text and "<img src=x" not in text and not MISLEADING & set(text), f"{command}: the page"


def main():
    with tempfile.TemporaryDirectory(prefix="triage-text-") as name:
        path, page = Path(name) / "t.db", Path(name) / "page.html"
        subprocess.run([folder / "triage_tune", *PROBLEM, "--budget", "2", "--jobs", "1", "-q", "--db", path, "--cache-dir",
                        Path(name) / "cache"], check=True, stdout=subprocess.DEVNULL)
        rows, asked = path.read_bytes(), 0
        for table, column in PLACES:
            for text in TEXTS:
                write(path, rows, table, column, text)
                for command in (["list"], ["show"], ["status"], ["explain", *PROBLEM], ["report", "--html", page]):
                    check(path, page, command)
                    asked += 1
        print(f"{asked} commands asked, none misled")


main()
