#!/usr/bin/env python3
"""Writes the measured table of README.md from docs/results/*.json; with --check, fails if it is stale.

The table shows, for each file that `python/bench/compare.py` wrote with the benchmark problem
(8192 x 8192 x 8192, random blocks at sparsity 0.9), the newest run of each device.
"""
import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- table: made by docs/tables.py from docs/results; do not edit -->\n", "<!-- /table -->\n"
PEERS = [("triage", "triage"), ("triton", "torch Triton BSR"), ("tuned", "the same, tuned"), ("dense", "dense cuBLAS")]


def newest_runs():
    runs = {}
    for path in sorted((ROOT / "docs/results").glob("*.json")):
        document = json.loads(path.read_text())
        if document.get("what") != "bsr_gemm against torch":
            continue
        rows = [row for row in document["rows"]
                if (row["m"], row["n"], row["k"]) == (8192,) * 3 and row["pattern"] == "random"
                and abs(row["density"] - 0.1) < 0.005]
        if rows and (document["date"], path.name) > runs.get(document["device"], (("", ""),))[0]:
            runs[document["device"]] = ((document["date"], path.name), document, rows)
    return runs


def cell(entry):
    if entry is None:
        return "-"
    return f"{entry['useful_tflops']:.0f}" if entry["right"] else "wrong result"


def table(document, rows, name):
    peers = [peer for peer in PEERS if any(peer[0] in row["peers"] for row in rows)]
    lines = [f"{document['device']}, driver {document['driver']}, CUDA {document['toolkit']}, commit "
             f"{document['commit'][:10]} ([{name}](docs/results/{name})). {rows[0]['dtype']}, 8192 x 8192 x 8192, "
             "random blocks, sparsity 0.9, cold L2, verified results, useful TFLOP/s:", "",
             "| block | " + " | ".join(title for _, title in peers) + " | triage, ms |",
             "|---|" + "---|" * (len(peers) + 1)]
    for row in sorted(rows, key=lambda r: r["block"]):
        entry = row["peers"]["triage"]
        ms = f"{entry['median_ns'] / 1e6:.3f}" if entry["right"] else "-"
        lines.append(f"| {row['block']} | " + " | ".join(cell(row["peers"].get(key)) for key, _ in peers) + f" | {ms} |")
    return "\n".join(lines) + "\n\nDense cuBLAS does ten times the work here; its figure is useful TFLOP/s too.\n"


def main():
    text = "\n".join(table(document, rows, key[1]) for key, document, rows in newest_runs().values())
    readme = ROOT / "README.md"
    old = readme.read_text()
    new = re.sub(re.escape(BEGIN) + ".*?" + re.escape(END), lambda _: BEGIN + text + END, old, flags=re.S)
    if "--check" in sys.argv[1:]:
        if new != old:
            sys.exit("README.md: the table is not what docs/tables.py makes of docs/results")
        return
    readme.write_text(new)


if __name__ == "__main__":
    main()
