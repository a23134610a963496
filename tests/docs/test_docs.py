"""Runs what README.md and docs/guide say, in order, in one folder and with one database, on the CPU.

    python3 tests/docs/test_docs.py BUILD             commands, C and Lua
    python3 tests/docs/test_docs.py BUILD --python    the pieces of Python, by an interpreter with torch

A block whose first line names a file ("/* app.c: ...", "-- mine.lua: ...", "# model.csv") is that file. README's sizes are a
GPU's: its tunes are run as --dry-run, which does all but compile and measure. What is not run here is in OTHERS, with who runs
it; of programs of ours at least every option is looked for in --help. docs/fleet.md is run by tests/fleet/test_docs.py.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD = os.path.abspath(sys.argv[1])
BIN = os.path.join(BUILD, "bin")

# The beginning of a command of README: who runs it.
OTHERS = {
    "sh examples/quickstart.sh": "tests/fresh.sh",
    "sh tests/run.sh": "this is it",
    "sudo apt-get install": "tests/install.sh",
    "cmake -B build": "tests/install.sh",
    "sudo cmake --install build": "tests/install.sh",
    "cpack": "tests/install.sh",
    "docker build": "tests/install.sh, without Docker",
    "cc app.c": "the guide's chapter embed.md",
    "triage_bench": "needs a GPU; the guide's chapter tune.md has one that does not",
}

# What README's pieces of C stand in.
C_AROUND = """
#include <stdlib.h>
#include <triage.h>
void die(const char *text);
void around(int64_t nnzb, int32_t *row_ptr, int32_t *col_idx, void *values, void *b_data, void *c_data, void *stream,
            triage_context *known, triage_context_options *given, triage_tensor q, triage_tensor k, triage_tensor v,
            triage_tensor o, int64_t tokens, void *dy_data, void *x_data, void *dw_values, void *dx_data, const triage_bsr_matrix *w);
void around(int64_t nnzb, int32_t *row_ptr, int32_t *col_idx, void *values, void *b_data, void *c_data, void *stream,
            triage_context *known, triage_context_options *given, triage_tensor q, triage_tensor k, triage_tensor v,
            triage_tensor o, int64_t tokens, void *dy_data, void *x_data, void *dw_values, void *dx_data, const triage_bsr_matrix *w) {
    (void)nnzb, (void)row_ptr, (void)col_idx, (void)values, (void)b_data, (void)c_data, (void)stream, (void)known;
    (void)tokens, (void)dy_data, (void)x_data, (void)dw_values, (void)dx_data, (void)w, (void)given, (void)q, (void)k, (void)v, (void)o;
    %s
    { %s }
}
"""


def blocks(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as page:
        return re.findall(r"^```(\w*)\n(.*?)^```", page.read(), re.DOTALL | re.MULTILINE)


def commands(text):
    """Each line, with those that go on in the next; without comments of their own."""
    return [line for line in text.replace("\\\n", " ").splitlines() if line.strip() and not line.startswith("#")]


def file_of(text):
    first = re.match(r"(?:/\*|--|#) ?([\w./]+\.\w+)[: \n]", text)
    return first[1] if first else None


class Place:
    """A folder, a home and programs in $PATH."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="triage-docs-")
        shims = os.path.join(self.folder, "shims")
        os.mkdir(shims)
        # as pkg-config answers of an installed library (tests/install.sh)
        with open(os.path.join(shims, "pkg-config"), "w", encoding="utf-8") as file:
            file.write(f"#!/bin/sh\necho -I{BUILD}/include -L{BUILD}/lib -Wl,-rpath,{BUILD}/lib -ltriage\n")
        os.chmod(os.path.join(shims, "pkg-config"), 0o755)
        self.environment = dict(os.environ, HOME=self.folder, PATH=f"{shims}:{BIN}:{os.environ['PATH']}", TRIAGE=ROOT,
                                XDG_CACHE_HOME=os.path.join(ROOT, "build", "kernels"), TRIAGE_LOCK_DIR=self.folder,
                                # a stand-in for NVRTC where there is none
                                LD_LIBRARY_PATH=os.environ.get("LD_LIBRARY_PATH", "") or
                                f"{BUILD}/fake_cuda/toolkit/lib64")
        self.environment.pop("XDG_DATA_HOME", None)

    def write(self, name, text):
        with open(os.path.join(self.folder, name), "w", encoding="utf-8") as file:
            file.write(text)

    def run(self, command):
        done = subprocess.run(["sh", "-euc", command], cwd=self.folder, env=self.environment, text=True, timeout=600,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode != 0:
            raise SystemExit(f"{command}\nexit {done.returncode}: {done.stdout}")
        return done.stdout

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)


def run_chapter(place, name):
    count = 0
    for language, text in blocks(f"docs/guide/{name}"):
        if language == "sh":
            for command in commands(text):
                place.run(command)
                count += 1
        elif language != "python":
            # smtx knows no comments
            place.write(file_of(text), text.split("\n", 1)[1] if language == "smtx" else text)
    return count


def check_options(place, command):
    help_text = place.run(command.split()[0] + " --help")
    for option in re.findall(r"--[a-z-]+", command.split("#")[0]):
        if option + "=" not in help_text and option + " " not in help_text and option + "\n" not in help_text and \
                option + "[" not in help_text:
            raise SystemExit(f"README: {command}: there is no {option}")


def run_readme_command(place, command):
    """False: another test runs it."""
    if any(command.startswith(beginning) for beginning in OTHERS):
        if command.startswith("triage_"):
            check_options(place, command)
        return False
    if command.startswith("triage_tune"):
        command = command.split("  #")[0].replace("--compile-only", "")
        command += "" if "--emit" in command else " --dry-run" + ("" if "--target" in command else " --target host")
    place.run(command)
    return True


def run_readme(place):
    ran, others = 0, 0
    shutil.copy(os.path.join(ROOT, "tests/data/dlmc/magnitude_0.9_encoder1_q.smtx"),
                os.path.join(place.folder, "layer.smtx"))
    place.write("model.csv", "m,n,k,sparsity,block,dtype\n4096,16,11008,0.9,128,f16\n")
    place.run("cp .local/share/triage/triage.db a.db && cp a.db b.db")
    for language, text in blocks("README.md"):
        for command in commands(text) if language == "sh" else []:
            done = run_readme_command(place, command)
            ran, others = ran + done, others + (not done)
        if language == "c":
            known = "" if "triage_context *context" in text else "triage_context *context = known; (void)context;"
            known += "" if "triage_context_options options" in text else \
                " triage_context_options options = *given; (void)options;"
            place.write("piece.c", C_AROUND % (known, text))
            place.run("cc -fsyntax-only -Wall -Wextra -Wno-unused-variable -Werror "
                      "$(pkg-config --cflags triage) piece.c")
            ran += 1
    return ran, others


def run_python():
    paths = ["README.md", "python/README.md"] + [f"docs/guide/{name}" for name in sorted(os.listdir(ROOT + "/docs/guide"))]
    for path in paths:
        code = "\n".join(text for language, text in blocks(path) if language == "python")
        if not code:
            continue
        place = Place()
        environment = dict(place.environment, LD_LIBRARY_PATH=os.environ.get("LD_LIBRARY_PATH", ""))
        subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, env=environment, cwd=place.folder)
        place.remove()
        print(f"{path}: its Python runs")


def main():
    if "--python" in sys.argv:
        return run_python()
    chapters = ["tune.md", "embed.md", "fleet.md", "space.md", "report.md"]
    there = set(os.listdir(os.path.join(ROOT, "docs/guide"))) - {"README.md", "pytorch.md"}  # the latter: --python
    if there != set(chapters):
        raise SystemExit(f"docs/guide has {there}, this test runs {chapters}")
    place = Place()
    for name in chapters:
        print(f"docs/guide/{name}: {run_chapter(place, name)} commands run")
    ran, others = run_readme(place)
    place.remove()
    print(f"README.md: {ran} commands and pieces of C run, {others} by other tests")
    if ran < 20:
        raise SystemExit("README.md: where are its commands?")
    return 0


if __name__ == "__main__":
    sys.exit(main())
