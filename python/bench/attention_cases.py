#!/usr/bin/env python3
"""The cases of attention that are measured (attention_cases.json), their masks, and what must hold. Plain Python: no torch, no GPU.

    python3 python/bench/attention_cases.py --shapes CASES.csv --set grid,blocks --patterns DIR
    python3 python/bench/attention_cases.py --check RESULTS.json [--check MORE.json ...]

--shapes writes a file for triage_tune --from, a line a case, and the lists of block masks to DIR. --check prints what holds and what does not; exit code 1 if something does not.

A case: batch, heads [of Q, of K and V], sq, sk, d, dv (that of d), dtype (bf16), mask (full or causal), block [queries, keys] with
pattern (random, band: a local band, sinks and a random share that differs from row to row; top-k: the columns whose pooled keys score
best, keys of few clusters, so that many rows want the same columns),
sparsity and lists (all, or q: one for each head); page; lengths (of the sequences, one after another).
at_least: best_peer, a share of the best peer's rate; tflops; tbps, of the bytes that must move; us_at_most; of_case, the name of
another case and the share of its rate.
"""
import argparse
import csv
import dataclasses
import functools
import json
import math
import operator
import pathlib
import random
import sys

FILE = pathlib.Path(__file__).resolve().parent / "attention_cases.json"
SETS = ("grid", "special", "blocks", "sizes", "decode", "fp8", "varlen", "long")
BYTES = {"bf16": 2, "f16": 2, "f32": 4, "e4m3": 1}
GRID_MEAN = 1.03  # of the best peer's rates, geometric, over the set grid


@dataclasses.dataclass(frozen=True)
class Case:
    set: str
    name: str
    batch: int
    heads: list
    sq: int
    sk: int
    d: int
    mask: str
    dv: int = 0
    dtype: str = "bf16"
    block: list = None
    pattern: str = "random"
    sparsity: float = 0.9
    lists: str = "all"
    page: int = 0
    lengths: list = None
    at_least: dict = None

    @property
    def head_dim_v(self):
        return self.dv or self.d

    @property
    def list_heads(self):
        """How many sets of lists there are."""
        return self.heads[0] if self.lists == "q" else 1


def load(path=FILE, sets=None):
    """The cases of these sets (None: all), in the file's order."""
    wanted = SETS if sets is None else tuple(sets.split(","))
    for name in wanted:
        if name not in SETS:
            raise SystemExit(f"--set {name} is not one of {', '.join(SETS)}")
    return [case for case in (Case(**row) for row in json.loads(pathlib.Path(path).read_text())) if case.set in wanted]


# ---- masks ----------------------------------------------------------------------------------------------------


def blocks_of(case):
    """(rows, columns) of blocks."""
    return -(-case.sq // case.block[0]), -(-case.sk // case.block[1])


def last_seen(case, row):
    """Columns of blocks that a row of blocks may see."""
    _, cols = blocks_of(case)
    if case.mask != "causal":
        return cols
    last = min(case.sq, (row + 1) * case.block[0]) - 1 + case.sk - case.sq
    return min(cols, last // case.block[1] + 1)


def random_row(case, draw, row, seen, diagonal):
    count = max(1, round((1 - case.sparsity) * seen))
    others = draw.sample(range(seen - 1), count - 1)  # all but the diagonal's
    return {diagonal} | {col + (col >= diagonal) for col in others}


def band_row(case, draw, row, seen, diagonal):
    """As many as the random one has in the mean, but from a third to five thirds of it."""
    count = max(1, round((1 - case.sparsity) * seen * (1 / 3 + 4 / 3 * draw.random())))
    near = set(range(max(0, diagonal - count // 6), min(seen, diagonal + count // 6 + 1)))
    sinks = set(range(min(2, seen)))
    rest = [col for col in draw.sample(range(seen), min(seen, count)) if col not in near | sinks]
    return near | sinks | set(rest[:max(0, count - len(near | sinks))]) | {diagonal}


CLUSTERS, POOLED, STAYS = 8, 8, 0.9  # subjects of a text; elements of a pooled key; how likely the next block has the same subject


@functools.lru_cache(maxsize=2)
def pooled_keys(name, count):
    """(cluster, key) of each block of keys: a centre of few and a part of its own."""
    draw = random.Random(f"keys {name}")
    vector = lambda width: [draw.gauss(0, width) for _ in range(POOLED)]
    centres, keys, cluster = [vector(1) for _ in range(CLUSTERS)], [], 0
    for _ in range(count):
        cluster = cluster if draw.random() < STAYS else draw.randrange(CLUSTERS)
        keys.append((cluster, [a + b for a, b in zip(centres[cluster], vector(0.5))]))
    return keys


def top_k_row(case, draw, row, seen, diagonal):
    """The same share in every row: of what it sees, the blocks that score best against its queries, which are like its own keys."""
    keys = pooled_keys(case.name, blocks_of(case)[1])
    query = [x + draw.gauss(0, 0.5) for x in keys[diagonal][1]]
    scores = [sum(map(operator.mul, query, key)) for _, key in keys[:seen]]
    best = sorted((col for col in range(seen) if col != diagonal), key=lambda col: -scores[col])
    return {diagonal, *best[:max(1, round((1 - case.sparsity) * seen)) - 1]}


ROWS = {"random": random_row, "band": band_row, "top-k": top_k_row}


def pattern_of(case, head=0):
    """(row offsets, columns) of one set of lists: the same on every machine."""
    draw = random.Random(f"{case.name} {head}")
    row_ptr, cols = [0], []
    for row in range(blocks_of(case)[0]):
        seen = last_seen(case, row)
        diagonal = min(seen - 1, row * case.block[0] // case.block[1])
        cols += sorted(ROWS[case.pattern](case, draw, row, seen, diagonal))
        row_ptr.append(len(cols))
    return row_ptr, cols


def write_pattern(path, case):
    row_ptr, cols = pattern_of(case)
    path.write_text(f"{len(row_ptr) - 1}, {blocks_of(case)[1]}, {len(cols)}\n{' '.join(map(str, row_ptr))}\n"
                    f"{' '.join(map(str, cols))}\n", encoding="ascii")


# ---- work -----------------------------------------------------------------------------------------------------


def causal_pairs(sq, sk):
    """A square counts as half of it, as everybody counts; the rest exactly."""
    return sq * sk / 2 if sq == sk else sum(max(0, min(sk, i + 1 + sk - sq)) for i in range(sq))


def block_pairs(case, row_ptr, cols):
    rows, keys = case.block
    pairs = 0
    for row in range(len(row_ptr) - 1):
        height = min(rows, case.sq - row * rows)
        last = min(case.sq, (row + 1) * rows) - 1 + case.sk - case.sq  # the last key that the last query sees
        for col in cols[row_ptr[row]:row_ptr[row + 1]]:
            width = min(keys, case.sk - col * keys)
            cut = 0
            if case.mask == "causal" and (col + 1) * keys - 1 > last - height + 1:  # on the diagonal
                cut = sum(max(0, min(width, col * keys + width - 1 - (last - height + 1 + i))) for i in range(height))
            pairs += height * width - cut
    return pairs


def pairs_of(case):
    """Of a query and a key that it sees, over all sequences and q heads."""
    if case.lengths:
        each = sum(causal_pairs(n, n) if case.mask == "causal" else n * n for n in case.lengths)
        return each * case.heads[0]
    if case.block:
        sets = [pattern_of(case, head) for head in range(case.list_heads)]
        return sum(block_pairs(case, *lists) for lists in sets) * case.batch * case.heads[0] / len(sets)
    each = causal_pairs(case.sq, case.sk) if case.mask == "causal" else case.sq * case.sk
    return each * case.batch * case.heads[0]


def flops_of(case):
    return 2.0 * pairs_of(case) * (case.d + case.head_dim_v)


def kv_bytes_of(case):
    """Of K and V: what a step of decoding moves."""
    return case.batch * case.heads[1] * case.sk * (case.d + case.head_dim_v) * BYTES[case.dtype]


# ---- for triage_tune and triage_bench ----------------------------------------------------------------------


def file_of(case, folder):
    return pathlib.Path(folder) / ("".join(c if c.isalnum() else "-" for c in case.name) + ".smtx")


def mask_options(case, folder):
    if not case.block:
        return ["--mask", case.mask] if case.mask != "full" else []
    # lists of each head cannot come from a file: drawn by the program, as dense and as even
    lists = f"blocks:{file_of(case, folder)}" if case.lists == "all" else f"random-blocks:{case.sparsity:g}"
    mask = f"causal+{lists}" if case.mask == "causal" else lists
    more = [] if case.lists == "all" else ["--mask-lists", case.lists]
    return ["--mask", mask, "--mask-block", f"{case.block[0]}x{case.block[1]}"] + more


def options_of(case, folder):
    shape = [case.batch, *case.heads, case.sq, case.sk, case.d] + ([case.dv] if case.dv else [])
    found = ["--op", "attention", "--shape", ",".join(map(str, shape)), "--dtype", case.dtype]
    found += mask_options(case, folder)
    found += ["--lengths", "varlen"] if case.lengths else []
    return found + (["--paged", str(case.page)] if case.page else [])


def write_shapes(path, cases, folder):
    """For triage_tune --from: number N of what it says is cases[N - 1]."""
    pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
    lines = []
    for case in cases:
        if case.block and case.lists == "all":
            write_pattern(file_of(case, folder), case)
        words = options_of(case, pathlib.Path(folder).resolve())
        lines.append(dict(zip((word.removeprefix("--") for word in words[::2]), words[1::2])))
    with open(path, "w", encoding="ascii", newline="") as file:
        table = csv.DictWriter(file, ["op", "shape", "dtype", "mask", "mask-block", "mask-lists", "lengths", "paged"],
                               lineterminator="\n")
        table.writeheader()
        table.writerows(lines)


# ---- what must hold -----------------------------------------------------------------------------------------------


def rate_of(row):
    """Useful operations a second; of decoding, where bytes limit, bytes."""
    mine = row["triage"][0]
    return row["kv_bytes"] / mine["median_ns"] if row["set"] in ("decode", "long") and row["sq"] == 1 else mine["useful_tflops"]


def best_peer_share(row):
    """triage's rate over that of the best peer; None without one."""
    times = [peer["median_ns"] for peer in row["peers"].values()]
    return min(times) / row["triage"][0]["median_ns"] if times else None


def measured(row, what, wanted, rows):
    """(value, least) of one of at_least; value None: cannot be told from these results."""
    mine = row["triage"][0]
    if what == "best_peer":
        return best_peer_share(row), wanted
    if what == "of_case":
        other = rows.get(wanted[0])
        return (rate_of(row) / rate_of(other) if other and other["triage"] else None), wanted[1]
    if what == "us_at_most":
        return wanted / (mine["median_ns"] / 1e3), 1.0
    return {"tflops": mine["useful_tflops"], "tbps": row["kv_bytes"] / mine["median_ns"] / 1e3}[what], wanted


def grid_mean(rows):
    shares = [best_peer_share(row) for row in rows.values() if row["set"] == "grid" and row["triage"]]
    shares = [share for share in shares if share]
    return math.exp(sum(map(math.log, shares)) / len(shares)) if shares else None


def say(name, what, value, least):
    holds = value is not None and value >= least
    shown = "-" if value is None else f"{value:.3f}" if value < 10 else f"{value:.0f}"
    print(f"{'holds' if holds else 'open' if value is None else 'FAILS':6s} {name:38s} {what:10s} {shown:>7s} of {least:g}")
    return holds


def check(cases, rows):
    """Prints a line for each thing that must hold; how many do not."""
    bad = 0
    for case in cases:
        row = rows.get(case.name)
        if not row or not row["triage"]:
            print(f"{'open' if not row else 'WRONG':6s} {case.name}")
            bad += 1
            continue
        for what, wanted in (case.at_least or {}).items():
            bad += not say(case.name, what, *measured(row, what, wanted, rows))
    if any(case.set == "grid" for case in cases):
        bad += not say("geometric mean over the grid", "best_peer", grid_mean(rows), GRID_MEAN)
    return bad


def rows_of(paths):
    return {row["name"]: row for path in paths for row in json.loads(pathlib.Path(path).read_text())["rows"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", help=f"of {', '.join(SETS)} (default: all)")
    parser.add_argument("--shapes", metavar="CASES.csv", help="a file for triage_tune --from, a line a case")
    parser.add_argument("--patterns", default="build/patterns", metavar="DIR", help="where --shapes writes lists (default build/patterns)")
    parser.add_argument("--check", action="append", metavar="RESULTS.json", help="of attention.py: what holds?")
    args = parser.parse_args()
    cases = load(sets=args.set)
    if args.shapes:
        write_shapes(args.shapes, cases, args.patterns)
    if args.check:
        return 1 if check(cases, rows_of(args.check)) else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
