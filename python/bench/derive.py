#!/usr/bin/env python3
"""More uneven patterns, made of tests/data/dlmc: parts and transposes of pruned layers, whose longest rows have up to
eighteen times the mean. For python/bench/grid.py --set dlmc --patterns DIR/*.smtx.

    python3 python/bench/derive.py DIR
"""
import argparse
import itertools
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import cases  # noqa: E402

DLMC = cases.ROOT / "tests/data/dlmc"


def read(name):
    """A pattern: (columns, the list of each row's columns)."""
    _, cols, offsets, columns = cases.read_smtx(DLMC / f"{name}.smtx")
    return cols, [columns[begin:end] for begin, end in zip(offsets, offsets[1:])]


def write(path, pattern):
    cols, rows = pattern
    offsets = [0, *itertools.accumulate(map(len, rows))]
    cases.write_smtx(path, cols, offsets, [c for row in rows for c in row])


def transposed(pattern):
    cols, rows = pattern
    out = [[] for _ in range(cols)]
    for i, row in enumerate(rows):
        for c in row:
            out[c].append(i)
    return len(rows), out


def part(pattern, rows, cols):
    """Its first rows and columns."""
    return cols, [[c for c in row if c < cols] for row in pattern[1][:rows]]


def derive():
    """By name, which says what it stands for: q and ffn of an encoder; vd: variational dropout, mag: magnitude."""
    vd7, vd9 = read("variational_0.7_encoder1_ffn1"), read("variational_0.9_encoder1_ffn2")
    l0, mag = read("l0_0.9_encoder1_ffn1"), read("magnitude_0.9_encoder1_ffn1")
    return {"vd_q_512": part(vd7, 512, 512), "vd9_q_512": part(vd9, 512, 512), "l0_q_512": part(l0, 512, 512),
            "vd_ffn2_t": transposed(vd7), "l0_ffn2_t": transposed(l0), "mag_ffn2_t": transposed(mag),
            "vd_ffn1_t": transposed(vd9)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", metavar="DIR", type=pathlib.Path, help="made if need be")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, pattern in derive().items():
        write(folder / f"{name}.smtx", pattern)
        lengths = [len(row) for row in pattern[1]]
        print(f"{name}: {len(lengths)} x {pattern[0]}, density {sum(lengths) / len(lengths) / pattern[0]:.3f}, "
              f"longest row {max(lengths) * len(lengths) / sum(lengths):.1f} times the mean, "
              f"{lengths.count(0)} rows empty")


if __name__ == "__main__":
    main()
