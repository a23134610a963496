#!/usr/bin/env python3
"""Writes the measured tables of README.md from docs/results/*.json; with --check, fails if they are stale.

The newest file of each kind counts: python/bench/compare.py (torch's kernels, one process, the same tensors)
and triage_bench (CUDA's libraries, one process, the same inputs; gathered by docs/record.py). Only the benchmark
problem is shown: 8192 x 8192 x 8192, random blocks, sparsity 0.9.
"""
import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- table: made by docs/tables.py from docs/results; do not edit -->\n", "<!-- /table -->\n"
TITLES = {"triage": "triage", "triton": "torch Triton BSR", "tuned": "the same, tuned", "dense": "dense cuBLAS",
          "cusparse-bsr": "cuSPARSE BSR", "cusparse-ell": "cuSPARSE Blocked-ELL", "cublas": "dense cuBLAS"}


def newest(what, rows):
    """(name, document) of the newest file that has the benchmark problem."""
    found = []
    for path in (ROOT / "docs/results").glob("*.json"):
        document = json.loads(path.read_text())
        if document.get("what") == what and any(rows(document)):
            found.append((document["date"], path.name, document))
    return max(found, key=lambda item: item[:2])[1:] if found else None


def torch_rows(document):
    """(block, {peer: (useful TFLOP/s or None when it was not right, ms)})"""
    for row in document["rows"]:
        if (row["m"], row["n"], row["k"], row["pattern"], row["dtype"]) != (8192, 8192, 8192, "random", "f16"):
            continue
        if abs(row["density"] - 0.1) > 0.005:
            continue
        yield row["block"], {name: (entry["useful_tflops"], entry["median_ns"] / 1e6) if entry["right"] else None
                             for name, entry in row["peers"].items()}


def library_rows(document):
    for run in document["runs"]:
        match = re.match(r"bsr_gemm f16 f16 row row none nobias m=8192 n=8192 k=8192 block=(\d+)x\1 density=1000 ",
                         run["problem"])
        if match:
            yield int(match[1]), {entry["name"]: (entry["timing"]["useful_tflops"], entry["timing"]["median_ns"] / 1e6)
                                  if entry["result"] == "verified" else None for entry in run["contestants"]}


def table(name, document, rows):
    rows = sorted(rows)
    peers = [peer for peer in TITLES if any(peer in cells for _, cells in rows)]
    lines = [f"{document['device']}, driver {document['driver']}, CUDA {document['toolkit'].removeprefix('nvrtc ')}, commit "
             f"`{document['commit'][:10]}`, [{name}](docs/results/{name}):", "",
             "| block | " + " | ".join(TITLES[peer] for peer in peers) + " | triage, ms |",
             "|---:|" + "---:|" * (len(peers) + 1)]
    for block, cells in rows:
        shown = [("wrong" if cells[peer] is None else f"{cells[peer][0]:.0f}") if peer in cells else "-"
                 for peer in peers]
        shown[0] = f"**{shown[0]}**"
        ms = f"{cells['triage'][1]:.3f}" if cells.get("triage") else "-"
        lines.append(f"| {block} | " + " | ".join(shown) + f" | {ms} |")
    return "\n".join(lines) + "\n"


def make():
    parts = []
    for what, rows in (("triage_bench", library_rows), ("bsr_gemm against torch", torch_rows)):
        found = newest(what, rows)
        if found:
            parts.append(table(found[0], found[1], rows(found[1])))
    if not parts:
        return ""
    head = ("Useful TFLOP/s (2 · nnzb · b² · N / time) of C = A·B, f16, 8192 × 8192 × 8192, random blocks at sparsity "
            "0.9, cold L2, every result verified. Dense cuBLAS multiplies the zeros too.\n")
    return "\n".join([head] + parts)


def main():
    readme = ROOT / "README.md"
    old = readme.read_text()
    new = re.sub(re.escape(BEGIN) + ".*?" + re.escape(END), lambda _: BEGIN + make() + END, old, flags=re.S)
    if "--check" in sys.argv[1:]:
        if new != old:
            sys.exit("README.md: the tables are not what docs/tables.py makes of docs/results")
        return
    readme.write_text(new)


if __name__ == "__main__":
    main()
