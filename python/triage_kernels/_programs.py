"""The command line programs: each is replaced by the one that the wheel has."""
import os
import pathlib
import sys


def _run(name: str) -> None:
    os.execv(pathlib.Path(__file__).parent / "bin" / name, [name, *sys.argv[1:]])


def triage_tune() -> None:
    _run("triage_tune")


def triage_db() -> None:
    _run("triage_db")


def triage_bench() -> None:
    _run("triage_bench")
