#!/usr/bin/env python3
"""Writes problems.txt: every problem of the grid (python/bench/cases.py), and some that it leaves out.

    python3 tests/data/baseline/problems.py > tests/data/baseline/problems.txt
"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "python" / "bench"))
import cases  # noqa: E402

found = cases.cubes(cases.BLOCKS) + cases.layers(cases.BLOCKS, (0.9, 0.8)) + \
    cases.crossover(cases.BLOCKS, cases.CROSSOVER_SIZE)
print("# in out layout activation bias m n k block_m block_k sparsity pattern")
for spec in found:
    print("f16 f16 row none 0", spec.m, spec.n, spec.k, spec.block, spec.block, f"{spec.sparsity:g}", "-")
for path in sorted((cases.ROOT / "tests" / "data" / "dlmc").glob("*.smtx")):
    rows, cols, nonzeros = cases.read_head(path)
    for block in (16, 32):
        for pattern in (path.name, "-"):
            print("f16 f16 row none 0", rows * block, 1024, cols * block, block, block,
                  f"{1 - nonzeros / (rows * cols):.6g}", pattern)
for types in ("bf16 bf16", "e4m3 bf16", "f32 f32", "f16 f32"):
    for layout in ("row", "col"):
        for epilogue in ("none 0", "gelu 1", "relu 0"):
            for block in ("16 16", "64 64", "64 32", "128 128"):
                print(types, layout, epilogue, 1024, 264, 512, block, "0.7 -")
