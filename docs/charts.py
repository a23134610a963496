#!/usr/bin/env python3
"""Draws docs/results/crossover.svg from the newest results that have the crossover (python/bench/grid.py --set
crossover), with gnuplot and docs/crossover.gp; with --check, fails if the chart is not of these results.

    python3 docs/charts.py [--check] [--input FILE.json --output FILE.svg]
"""
import argparse
import hashlib
import json
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "python/bench"))
import cases  # noqa: E402

CHART = ROOT / "docs/results/crossover.svg"


def newest():
    """The path of the newest results with a crossover; None."""
    found = []
    for path in (ROOT / "docs/results").glob("*.json"):
        document = json.loads(path.read_text())
        if document.get("what") == "bsr_gemm grid" and cases.of_sets(document["rows"], "crossover"):
            found.append((document["date"], path.name, path))
    return max(found)[2] if found else None


def curves(document):
    """The text of gnuplot's data."""
    parts = []
    for block, (crossing, curve) in cases.crossings(cases.of_sets(document["rows"], "crossover")).items():
        where = "never ahead of dense" if crossing is None else f"ahead from {100 * crossing:.0f} %"
        lines = [f'"blocks of {block} × {block}: {where}"'] + [f"{100 * s:g} {ratio:.6g}" for s, ratio in curve]
        parts.append("\n".join(lines) + "\n")
    return "\n\n".join(parts)


def head(document):
    row = cases.of_sets(document["rows"], "crossover")[0]
    return (f"C = A B, {row['dtype']}, {row['m']} × {row['n']} × {row['k']}, random blocks, cold L2, "
            f"{document['device']}")


def mark(data, title):
    """What the chart was drawn from, as a comment in it."""
    return f"<!-- drawn from data {hashlib.sha256((title + data).encode()).hexdigest()[:32]} -->"


def draw(document, output):
    data, title = curves(document), head(document)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "crossover.dat"
        path.write_text(data)
        made = pathlib.Path(folder) / "crossover.svg"
        variables = f"data='{path}'; curves={data.count(chr(34)) // 2}; out='{made}'; head='{title}'"
        subprocess.run(["gnuplot", "-e", variables, str(ROOT / "docs/crossover.gp")], check=True)
        svg = made.read_text()
    output.write_text(re.sub(r"</svg>\s*$", lambda _: mark(data, title) + "\n</svg>\n", svg))


def check(document, output):
    wanted = mark(curves(document), head(document))
    if not output.exists() or wanted not in output.read_text():
        sys.exit(f"{output.name}: not drawn from the newest results (python3 docs/charts.py)")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--input", type=pathlib.Path)
    parser.add_argument("--output", type=pathlib.Path, default=CHART)
    args = parser.parse_args()
    path = args.input or newest()
    if not path:
        return  # nothing is measured yet
    document = json.loads(path.read_text())
    (check if args.check else draw)(document, args.output)


if __name__ == "__main__":
    main()
