"""What grid.py measures and what it says about it. Plain Python: no torch, no GPU."""
import dataclasses
import json
import os
import pathlib
import random

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BLOCKS = (16, 32, 64, 128)
CUBES, CUBE_SPARSITIES = (2048, 4096, 16384), (0.5, 0.8, 0.95, 0.98)
LAYERS = ((4096, 11008), (4096, 4096), (8192, 28672))  # M = out-features x K = in-features: C = W X
TOKENS = (16, 512, 4096)                               # N
CROSSOVER_SIZE = 4096
CROSSOVER_SPARSITIES = (0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
FEW_LAYERS = ((5120, 13824), (3584, 18944), (2880, 2880), (6144, 24576))
FEW_TOKENS = (32, 64, 96, 128, 192, 256, 384, 768, 1000, 2048)
FEW_SPARSITIES = (0.5, 0.8, 0.9)
SETS = ("cubes", "layers", "dlmc", "crossover", "few")
LARGE_CANDIDATE_SECONDS = 1.0  # to verify and time one at 16384^3: a guess, nobody measured it
LARGE_BUDGET, LARGEST = 8, 40e6  # of grid.py's options
UNEVEN = 1.1                     # a part may take so much longer than its share before blocks are split up
WIN_SHARE, WORST_RATIO, UNIFORM_RATIO = 0.95, 0.95, 0.85  # what must hold
FEW_WIN_SHARE = 0.97                                       # of few columns
NOT_SPARSE = ("triage", "dense")


@dataclasses.dataclass(frozen=True)
class Spec:
    """One problem. pattern: the name of a .smtx file, each nonzero a block; "" a random one; twin: as dense as it."""
    set: str
    m: int
    n: int
    k: int
    block: int
    sparsity: float = 0.0
    pattern: str = ""
    twin: bool = False

    @property
    def key(self):
        what = (self.pattern + (" uniform twin" if self.twin else "")) if self.pattern else f"s={self.sparsity:g}"
        return f"{self.set} {self.m}x{self.n}x{self.k} b={self.block} {what}"

    @property
    def with_peers(self):
        return self.set in ("cubes", "layers", "few")

    @property
    def group(self):
        """Cases that must be measured in one go."""
        return self.key.removesuffix(" uniform twin")


def numbers(option, text, kind):
    """Of a comma-separated list that was given as an option."""
    try:
        return tuple(kind(x) for x in text.split(","))
    except ValueError:
        raise SystemExit(f"{option} {text} is not a list of numbers, e.g. 16,32") from None


def shape_of(text):
    shape = numbers("--shape", text, int)
    if len(shape) != 3 or min(shape) < 1:
        raise SystemExit(f"--shape {text} is not M,N,K, each 1 or more")
    return shape


def read_head(path):
    """(rows, cols, nonzeros) of a .smtx file."""
    with open(path, encoding="ascii") as file:
        rows, cols, nonzeros = (int(x) for x in file.readline().split(","))
    return rows, cols, nonzeros


def read_smtx(path):
    """(rows, cols, row offsets, columns) of a .smtx file."""
    lines = pathlib.Path(path).read_text(encoding="ascii").splitlines()
    rows, cols, _ = (int(x) for x in lines[0].split(","))
    row_ptr, col_idx = ([int(x) for x in line.split()] for line in lines[1:3])
    return rows, cols, row_ptr, col_idx


def write_smtx(path, cols, row_ptr, col_idx):
    pathlib.Path(path).write_text(f"{len(row_ptr) - 1}, {cols}, {len(col_idx)}\n{' '.join(map(str, row_ptr))}\n"
                                  f"{' '.join(map(str, col_idx))}\n", encoding="ascii")


def cubes(blocks):
    return [Spec("cubes", size, size, size, block, sparsity)
            for size in CUBES for block in blocks for sparsity in CUBE_SPARSITIES]


def layers(blocks, sparsities):
    return [Spec("layers", m, n, k, block, sparsity) for sparsity in sparsities for m, k in LAYERS for n in TOKENS
            for block in blocks if m % block == 0 and k % block == 0]


def dlmc(blocks, files, n):
    found = []
    for path in files:
        rows, cols, nonzeros = read_head(path)
        for block in blocks:
            for twin in (False, True):
                found.append(Spec("dlmc", rows * block, n, cols * block, block, 1 - nonzeros / (rows * cols),
                                  pathlib.Path(path).name, twin))
    return found


def crossover(blocks, size):
    return [Spec("crossover", size, size, size, block, sparsity)
            for block in blocks for sparsity in CROSSOVER_SPARSITIES]


def few(blocks):
    return [Spec("few", m, n, k, block, sparsity) for m, k in FEW_LAYERS for n in FEW_TOKENS
            for sparsity in FEW_SPARSITIES for block in blocks if m % block == 0 and k % block == 0]


def spread(specs, seed):
    """In such an order that the first of them, however many, are a fair sample: each next one has what was there least of
    shapes, columns, blocks and sparsities. The seed decides between equals."""
    left, order, seen = list(specs), [], {}
    random.Random(f"spread {seed}").shuffle(left)
    facets = lambda s: [("shape", s.m, s.k), ("n", s.n), ("block", s.block), ("sparsity", s.sparsity),
                        ("shape and block", s.m, s.k, s.block), ("n and block", s.n, s.block)]
    while left:
        best = min(left, key=lambda s: sum(seen.get(facet, 0) for facet in facets(s)))
        left.remove(best)
        order.append(best)
        for facet in facets(best):
            seen[facet] = seen.get(facet, 0) + 1
    return order


# ---- what it costs ----------------------------------------------------------------------------------------


def tune_seconds(spec, large_budget=0):
    """triage_tune with every kernel compiled, fitted to the recorded tunes of the H200 (2026-11-21-h200-tune.json).
    large_budget: of a large case, the candidates that it is tuned with; 0: it is none."""
    stored, c = (1 - spec.sparsity) * spec.m * spec.k, spec.m * spec.n
    inputs = (stored + spec.k * spec.n + c) * 15e-9
    references = 2 * 64 * (1 - spec.sparsity) * spec.k * spec.n * 0.7e-9
    candidates = large_budget * LARGE_CANDIDATE_SECONDS if large_budget else 45 * (0.01 + 1.6e-9 * c)
    return 1.0 + inputs + references + candidates


def contest_seconds(spec):
    flops = 2 * (1 - spec.sparsity) * spec.m * spec.k * spec.n
    dense = 30 * 2 * spec.m * spec.k * spec.n / 6e14
    check = 4e-9 * spec.m * spec.n + 2 * spec.m * spec.k * spec.n / 4e13
    slow_peers = (1.5 + min(10 * flops / 1.4e13, 8) + 20 * flops / 1e14) if spec.with_peers else 0.1
    return 0.4 + dense + check + slow_peers


def seconds(spec, tune_largest=LARGEST, large_budget=LARGE_BUDGET):
    """large_budget: of what is larger than tune_largest; 0: that is not tuned."""
    if spec.m * spec.n <= tune_largest:
        return contest_seconds(spec) + tune_seconds(spec)
    return contest_seconds(spec) + (tune_seconds(spec, large_budget) if large_budget else 0)


def deal(costs, count):
    """{unit: cost} to so many parts: the longest first, each to the part that has the least. [(cost, units)]"""
    parts = [[0, []] for _ in range(count)]
    for unit, cost in sorted(costs.items(), key=lambda item: -item[1]):  # of equal ones the first
        part = min(parts, key=lambda part: part[0])
        part[0] += cost
        part[1].append(unit)
    return parts


def part_of(specs, part, cost=seconds):
    """part: "1/3" is the first of three, which take about equally long. Cases of one block size stay together while
    that is even enough, since they share compilations and learn from each other's tuning; a pattern and its twin
    always do. The order stays."""
    try:
        number, count = (int(x) for x in part.split("/"))
    except ValueError:
        number = count = 0
    if not 1 <= number <= count:
        raise SystemExit(f"--part {part} is not I/N with I from 1 to N")
    for unit_of in (lambda spec: spec.block, lambda spec: spec.group):
        costs = {}
        for spec in specs:
            costs[unit_of(spec)] = costs.get(unit_of(spec), 0) + cost(spec)
        parts = deal(costs, count)
        if max(part[0] for part in parts) <= UNEVEN * sum(costs.values()) / count:
            break
    return [spec for spec in specs if unit_of(spec) in parts[number - 1][1]]


# ---- what came out ----------------------------------------------------------------------------------------


def best_of(row, wanted):
    """(median ns, name) of the fastest right peer whose name is wanted; None."""
    found = [(entry["median_ns"], name) for name, entry in row["peers"].items() if wanted(name) and entry["right"]]
    return min(found) if found else None


def against_sparse(row):
    """(best sparse peer's time / triage's, its name); None: no sparse peer is right, or triage is not."""
    mine = best_of(row, lambda name: name == "triage")
    best = best_of(row, lambda name: name not in NOT_SPARSE)
    return (best[0] / mine[0], best[1]) if mine and best else None


def against_dense(row):
    mine = best_of(row, lambda name: name == "triage")
    dense = best_of(row, lambda name: name == "dense")
    return dense[0] / mine[0] if mine and dense else None


def peer_summary(rows, failures=(), win_share=WIN_SHARE):
    """Of cases with peers: wins, worst, losses, where dense wins. A case where triage was wrong or that failed is a
    loss; one without a sparse peer proves nothing and is no win."""
    ratios = [(against_sparse(row), row["key"]) for row in rows]
    known = sorted((found[0], found[1], key) for found, key in ratios if found)
    unknown = [key for found, key in ratios if not found] + [failure["key"] for failure in failures]
    wins = sum(ratio > 1 for ratio, _, _ in known)
    cases = len(rows) + len(failures)
    worst = known[0] if known else None
    dense = [(against_dense(row), row["key"]) for row in rows]
    return {"cases": cases, "wins": wins, "worst": worst, "losses": [item for item in known if item[0] <= 1],
            "unknown": unknown, "dense_wins": sorted(item for item in dense if item[0] is not None and item[0] < 1),
            "holds": cases > 0 and not unknown and wins >= win_share * cases and worst[0] >= WORST_RATIO,
            "exact": sum(row["choice"]["source"] == "exact" for row in rows),
            "budgeted": sum(row["choice"]["source"] == "exact" and bool((row.get("tune") or {}).get("budget"))
                            for row in rows)}


def twin_ratios(rows):
    """[(useful rate / that of the uniform twin, key)], lowest first; a pair with a wrong half counts as 0."""
    by_key = {row["key"]: row for row in rows}
    found = []
    for key, row in by_key.items():
        twin = by_key.get(key + " uniform twin")
        if not twin:
            continue
        mine, its = row["peers"]["triage"], twin["peers"]["triage"]
        right = mine["right"] and its["right"]
        found.append((mine["useful_tflops"] / its["useful_tflops"] if right else 0.0, key))
    return sorted(found)


def crossings(rows):
    """{block: (sparsity from which on triage beats dense, [(sparsity, dense time / triage's)])}; None: never.
    Between two measured sparsities the crossing is where the straight line between the ratios meets 1."""
    curves = {}
    for row in rows:
        ratio = against_dense(row)
        if ratio is not None:
            curves.setdefault(row["block"], []).append((row["sparsity"], ratio))
    return {block: (crossing_of(sorted(curve)), sorted(curve)) for block, curve in sorted(curves.items())}


def crossing_of(curve):
    at = None
    for (s, ratio), before in zip(curve, [None] + curve):
        if ratio < 1:
            at = None
        elif at is None:
            at = s if before is None else before[0] + (s - before[0]) * (1 - before[1]) / (ratio - before[1])
    return at


def of_sets(rows, *names):
    return [row for row in rows if row.get("set") in names]


def summary_lines(document):
    rows, failures = document["rows"], document.get("failures", [])
    lines = []
    peers = of_sets(rows, "cubes", "layers")
    failed = of_sets(failures, "cubes", "layers")
    if peers or failed:
        lines += peer_lines(peer_summary(peers, failed), WIN_SHARE)
    few_rows, few_failed = of_sets(rows, "few"), of_sets(failures, "few")
    if few_rows or few_failed:
        lines += ["few columns:"] + peer_lines(peer_summary(few_rows, few_failed, FEW_WIN_SHARE), FEW_WIN_SHARE)
    pairs = twin_ratios(of_sets(rows, "dlmc"))
    if pairs:
        verdict = "holds" if pairs[0][0] >= UNIFORM_RATIO and not of_sets(failures, "dlmc") else "does not hold"
        lines.append(f"dlmc: {len(pairs)} patterns, lowest {pairs[0][0]:.3f} of the uniform rate ({pairs[0][1]}); "
                     f"at least {UNIFORM_RATIO} everywhere {verdict}")
        lines += [f"  {ratio:.3f}  {key}" for ratio, key in pairs]
    for block, (crossing, _) in crossings(of_sets(rows, "crossover")).items():
        lines.append(f"crossover: b={block} " + ("never beats dense" if crossing is None else
                                                 f"beats dense from sparsity {crossing:.2f} on"))
    return lines + [f"FAILED {failure['key']}: {failure['reason']}" for failure in failures]


def peer_lines(s, share):
    worst = f"{s['worst'][0]:.3f} against {s['worst'][1]} ({s['worst'][2]})" if s["worst"] else "-"
    lines = [f"triage wins {s['wins']} of {s['cases']} cases ({100 * s['wins'] / s['cases']:.1f} %) against the best "
             f"sparse peer; worst ratio {worst}; {100 * share:.0f} % of wins and never under {WORST_RATIO} "
             + ("holds" if s["holds"] else "does not hold"),
             f"kernels tuned for their very problem: {s['exact']} of {s['cases']}"
             + (f", {s['budgeted']} of them with a budget of candidates" if s["budgeted"] else "")]
    lines += [f"  loss  {ratio:.3f} against {name}: {key}" for ratio, name, key in s["losses"]]
    lines += [f"  no verdict: {key}" for key in s["unknown"]]
    return lines + [f"  dense cuBLAS wins, {ratio:.3f}: {key}" for ratio, key in s["dense_wins"]]


# ---- results of several runs ---------------------------------------------------------------------------


def merge(documents):
    """One document; of a case in several the last counts. Runs of different machines are not mixed, but those of
    several GPUs of one model are: "gpus" has them all; so are different commits of triage, and each row then says its
    own."""
    for name in ("what", "device", "driver", "toolkit", "torch", "protocol"):
        values = {document[name] for document in documents}
        if len(values) != 1:
            raise SystemExit(f"results that differ in {name} are not merged: {sorted(values)}")
    merged = dict(documents[-1])
    commits = sorted({document["commit"] for document in documents})
    merged["commit"] = ", ".join(commits)
    gpus = sorted({gpu for document in documents for gpu in document.get("gpus", [])})
    if gpus:
        merged["gpus"] = gpus
    rows = {row["key"]: dict(row, commit=row.get("commit", document["commit"])) if len(commits) > 1 else row
            for document in documents for row in document["rows"]}
    failed = {item["key"]: item for document in documents for item in document.get("failures", [])}
    merged["rows"] = list(rows.values())
    merged["failures"] = [item for key, item in failed.items() if key not in rows]
    merged["measuring_seconds"] = sum(document.get("measuring_seconds", 0) for document in documents)
    return merged


def load(path):
    return json.loads(pathlib.Path(path).read_text())


def write_json(path, document):
    """Whole or not at all."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".new")
    beside.write_text(json.dumps(document, indent=1) + "\n")
    os.replace(beside, path)
