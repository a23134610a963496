#!/usr/bin/env python3
"""Writes the measured tables of README.md, docs/results/README.md and docs/search.md from docs/results/*.json; with --check, fails
if they, or the chart of docs/charts.py, are stale.

The newest file of each kind counts: triage_tune (the winners), python/bench/compare.py (torch's kernels, one process,
the same tensors), triage_bench (CUDA's libraries, one process, the same inputs; gathered by docs/record.py), attention against its peers, and of python/bench/grid.py
the newest with cubes and layers, with dlmc and with the crossover. README.md shows the benchmark problem only:
8192 x 8192 x 8192, random blocks, sparsity 0.9.
"""
import json
import math
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "python/bench"))
import cases  # noqa: E402
import charts  # noqa: E402

BEGIN, END = "<!-- table: made by docs/tables.py from docs/results; do not edit -->\n", "<!-- /table -->\n"
TITLES = {"triage": "triage", "triton": "torch Triton BSR", "tuned": "the same, tuned over a grid",
          "official": "the same, torch's tuner", "cusparse-bsr": "cuSPARSE BSR", "cusparse-ell": "cuSPARSE Blocked-ELL",
          "dense": "dense cuBLAS", "cublas": "dense cuBLAS", "cublaslt": "dense cuBLASLt"}

SHORT = dict(TITLES, triton="Triton untuned", tuned="Triton tuned", official="Triton, torch's tuner")  # in the grid


def newest(what, rows):
    """(name, document) of the newest file that has the benchmark problem; what the notebook quotes makes no table."""
    found = []
    for path in (ROOT / "docs/results").glob("*.json"):
        if "-notebook-" in path.name:
            continue
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


def benchmark_block(run):
    """The block of a run of the benchmark problem; None of another."""
    match = re.match(r"bsr_gemm f16 f16 row row none nobias m=8192 n=8192 k=8192 block=(\d+)x\1 density=1000 ",
                     run["problem"])
    return int(match[1]) if match else None


def tune_rows(document):
    """The winner of each tune and, beside it, the dense product that it was held against."""
    for run in document["runs"]:
        timed = {"triage": run["best"][0], "cublas": run.get("dense", {})}
        if benchmark_block(run):
            yield benchmark_block(run), {name: (run["useful_flops"] / entry["median_ns"] / 1e3, entry["median_ns"] / 1e6)
                                         for name, entry in timed.items() if entry.get("outcome") == "right"}


def library_rows(document):
    for run in document["runs"]:
        if benchmark_block(run):
            yield benchmark_block(run), {entry["name"]: (entry["timing"]["useful_tflops"], entry["timing"]["median_ns"] / 1e6)
                                  if entry["result"] == "verified" else None for entry in run["contestants"]}


def table(name, document, rows):
    rows = sorted(rows)
    peers = [peer for peer in TITLES if any(peer in cells for _, cells in rows)]
    lines = [origin(name, document) + ":", "",
             "| block | " + " | ".join(TITLES[peer] for peer in peers) + " | triage, ms |",
             "|---:|" + "---:|" * (len(peers) + 1)]
    for block, cells in rows:
        shown = [("wrong" if cells[peer] is None else f"{cells[peer][0]:.0f}") if peer in cells else "-"
                 for peer in peers]
        shown[0] = f"**{shown[0]}**"
        ms = f"{cells['triage'][1]:.3f}" if cells.get("triage") else "-"
        lines.append(f"| {block} | " + " | ".join(shown) + f" | {ms} |")
    return "\n".join(lines) + "\n"


def origin(name, document, folder="docs/results/"):
    toolkit = document["toolkit"].removeprefix("nvrtc ").split(" (")[0]  # not the library and its hash
    return (f"{document['device']}, driver {document['driver']}, CUDA {toolkit}, commit `{', '.join(c[:10] for c in document['commit'].split(', '))}`, "
            f"[{name}]({folder}{name})")


# ---- the grid ----------------------------------------------------------------------------------------------


def grid_with(*sets):
    """(name, document) of the newest results of grid.py that have one of these sets; None."""
    return newest("bsr_gemm grid", lambda document: cases.of_sets(document["rows"], *sets))


def percent(share):
    return f"{100 * share:.1f} %"


def peer_verdict(document):
    s = cases.peer_summary(cases.of_sets(document["rows"], "cubes", "layers"),
                           cases.of_sets(document.get("failures", []), "cubes", "layers"))
    worst = f"{s['worst'][0]:.2f} ({s['worst'][2]}, against {SHORT.get(s['worst'][1])})" if s["worst"] else "unknown"
    return (f"In {s['wins']} of {s['cases']} problems ({percent(s['wins'] / s['cases'])}) triage is faster than the best "
            f"sparse peer; the worst ratio is {worst}. Dense cuBLAS is faster than triage in {len(s['dense_wins'])}.")


def tuned_for(row):
    source, budget = row["choice"]["source"], (row.get("tune") or {}).get("budget")
    return f"{source} ({budget} tried)" if source == "exact" and budget else source


def case_line(row):
    sparse, dense = cases.against_sparse(row), cases.against_dense(row)
    mine = row["peers"]["triage"]
    cells = [f"{row['m']} × {row['n']} × {row['k']}", str(row["block"]), f"{row['sparsity']:g}"]
    cells += [f"{mine['median_ns'] / 1e6:.4f}", f"{mine['useful_tflops']:.1f}"] if mine["right"] else ["wrong", "-"]
    if sparse:
        cells += [SHORT.get(sparse[1]), f"{sparse[0]:.2f}" if sparse[0] > 1 else f"**{sparse[0]:.2f}**"]
    else:
        cells += ["-", "-"]
    cells.append("-" if dense is None else f"{dense:.2f}" if dense >= 1 else f"**{dense:.2f}** dense wins")
    return "| " + " | ".join(cells + [tuned_for(row)]) + " |"


def peer_table(document, name):
    rows = sorted(cases.of_sets(document["rows"], name),
                  key=lambda row: (row["m"], row["k"], row["n"], row["block"], row["sparsity"]))
    head = ["| M × N × K | block | sparsity | triage, ms | useful TFLOP/s | best sparse peer | its time / triage's | "
            "dense / triage | tuned for |", "|---|---:|---:|---:|---:|---|---:|---:|---|"]
    return "\n".join(head + [case_line(row) for row in rows]) + "\n"


def peer_part(found):
    name, document = found
    part = ["## Against every sparse peer", "", origin(name, document, "") + f". {peer_verdict(document)}", "",
            "Peers: torch's Triton kernel tuned over a grid of its parameters (python/bench/triton_bsr.py), cuSPARSE "
            "BSR and Blocked-ELL; dense cuBLAS multiplies the zeros too. Last column: triage was tuned for this very "
            "problem (exact), or ran what it was tuned for on the nearest one.", ""]
    for key, title in (("cubes", "Cubes"), ("layers", "Layers of language models: W (M out-features × K in-features) "
                                            "times N tokens")):
        if cases.of_sets(document["rows"], key):
            part += [f"### {title}", "", peer_table(document, key)]
    failures = cases.of_sets(document.get("failures", []), "cubes", "layers")
    return "\n".join(part + [f"Not measured: {failure['key']}: {failure['reason']}\n" for failure in failures])


def twin_part(found):
    name, document = found
    rows = {row["key"]: row for row in document["rows"]}
    lines = ["## Patterns of really pruned layers", "", origin(name, document, "") + ". Each nonzero of the pattern is "
             "one block; the uniform one has as many blocks at random columns, the same number in each block row.", "",
             "| pattern | M × N × K | block | density | useful TFLOP/s | uniform | share |",
             "|---|---|---:|---:|---:|---:|---:|"]
    for share, key in cases.twin_ratios(cases.of_sets(document["rows"], "dlmc")):
        row, twin = rows[key], rows[key + " uniform twin"]
        rates = [f"{r['peers']['triage']['useful_tflops']:.1f}" if r["peers"]["triage"]["right"] else "wrong"
                 for r in (row, twin)]
        shown = f"{share:.2f}" if share >= cases.UNIFORM_RATIO else f"**{share:.2f}**"
        lines.append(f"| {row['pattern'].removesuffix('.smtx')} | {row['m']} × {row['n']} × {row['k']} | {row['block']} | "
                     f"{row['density']:.3f} | {rates[0]} | {rates[1]} | {shown} |")
    return "\n".join(lines) + "\n"


def crossover_part(found):
    name, document = found
    curves = cases.crossings(cases.of_sets(document["rows"], "crossover"))
    sparsities = sorted({s for _, curve in curves.values() for s, _ in curve})
    lines = ["## From which sparsity on it pays", "", origin(name, document, "") + ". Time of dense cuBLAS over that of "
             "triage; above 1 triage is faster.", "", "![crossover](crossover.svg)", "",
             "| block | ahead from | " + " | ".join(f"{s:g}" for s in sparsities) + " |",
             "|---:|---:|" + "---:|" * len(sparsities)]
    for block, (crossing, curve) in curves.items():
        ratios = dict(curve)
        cells = [f"{ratios[s]:.2f}" if s in ratios else "-" for s in sparsities]
        where = "never" if crossing is None else f"{crossing:.2f}"
        lines.append(f"| {block} | {where} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def make_grid():
    """The body of docs/results/README.md."""
    wanted = ((peer_part, ("cubes", "layers")), (twin_part, ("dlmc",)), (crossover_part, ("crossover",)))
    found = [(part, grid_with(*sets)) for part, sets in wanted]
    return "\n".join(part(document) for part, document in found if document) or "Nothing is measured yet.\n"


# ---- searches on recorded spaces -----------------------------------------------------------------------------


def replay_count(row):
    counts = [row["evaluations_median"], row["evaluations_p90"]]
    return " / ".join("not reached" if count is None else str(count) for count in counts)


def replay_title(row):
    title = f"`{row['strategy']}`" + (f", budget {row['budget']}" if row.get("budget") else "")
    title += ", costs" if row.get("costs") else ""
    if row["ahead"] > 1:
        title += f", {row['ahead']} at once"
    return title


def replay_table(rows):
    """One line a space, one column a kind of run."""
    titles = list(dict.fromkeys(replay_title(row) for row in rows))
    lines = ["| | " + " | ".join(titles) + " |", "|---|" + "---|" * len(titles)]
    for space in dict.fromkeys(row["space"] for row in rows):
        cells = {replay_title(row): replay_count(row) for row in rows if row["space"] == space}
        lines.append(f"| {space.removesuffix('.csv')} | " + " | ".join(cells.get(title, "") for title in titles) + " |")
    return "\n".join(lines) + "\n"


def prior_line(row):
    return f"{row['space'].removesuffix('.csv')}, {row['prior'].removesuffix('.csv')} known: {replay_count(row)}"


def cost_table(rows):
    """What compiling took until it was there, for spaces with a run that is told of it."""
    pairs = [(plain, told) for told in rows for plain in rows
             if told.get("costs") and not plain.get("costs") and plain["space"] == told["space"]
             and (plain["strategy"], plain["ahead"]) == (told["strategy"], told["ahead"])]
    lines = ["| | candidates | told what compiling took | compiling, s | told, s |", "|---|---|---|---:|---:|"]
    for plain, told in pairs:
        lines.append(f"| {told['space'].removesuffix('.csv')} | {replay_count(plain)} | {replay_count(told)} "
                     f"| {plain['compile_s_median']:.1f} | {told['compile_s_median']:.1f} |")
    return "\n".join(lines) + "\n"


def stop_table(rows):
    lines = ["| `--stop-gain` | space | candidates tried | behind the optimum |", "|---|---|---|---|"]
    for row in rows:
        lines.append(f"| {row['stop_gain_percent']:g} | {row['space'].removesuffix('.csv')} | {row['asked_median']} / "
                     f"{row['asked_p90']} | {row['loss_percent_median']:.1f} % / {row['loss_percent_p90']:.1f} % |")
    return "\n".join(lines) + "\n"


def make_search():
    """The body of docs/search.md."""
    found = newest("replay", lambda document: document["rows"])
    if not found:
        return "Nothing is measured yet.\n"
    name, document = found
    stops = [row for row in document["rows"] if "stop_gain_percent" in row]
    priors = [row for row in document["rows"] if row["prior"]]
    searches = [row for row in document["rows"] if "stop_gain_percent" not in row and not row["prior"]]
    under_way = [row["under_way_mean"] for row in searches if row["ahead"] > 1 and row["configurations"] > 400]
    slowest = max(row["slowest_proposal_ms"] for row in document["rows"] if row["strategy"] == "model")
    first = searches[0].get("first_seed", 1)
    return "\n".join([
        f"Commit `{document['commit'][:10]}`, seeds {first} to {first + searches[0]['seeds'] - 1}, "
        f"[{name}](results/{name}):", "",
        replay_table([row for row in searches if not row.get("costs")]),
        "What another device's search knows: " + "; ".join(prior_line(row) for row in priors) + ".", "",
        f"With 36 allowed at once, {min(under_way):.0f} to {max(under_way):.0f} were under way on average, by the strategy's "
        f"own choice. The slowest proposal of the model took {slowest:.0f} ms: one after which the axes are weighed anew.", "",
        "Where a search waits for compilers, the strategy is told what compiling took (one at a time, medians of seconds):", "",
        cost_table(searches),
        "Where `--stop-gain` ends it, one at a time (median / 90th percentile):", "", stop_table(stops)])


# ---- attention ---------------------------------------------------------------------------------------------

ATTENTION_PEERS = {"fa4": "FlashAttention-4", "cudnn": "cuDNN", "flash": "FlashAttention-2", "flex": "FlexAttention"}


def attention_rows(document):
    """Of dense products, right and with a peer: python/bench/attention_cases.py --check says the rest."""
    return [row for row in document["rows"] if row["triage"] and row["peers"] and not row.get("block") and row["sq"] > 1]


def attention_case(row):
    heads = f"{row['heads_q']}" if row["heads_q"] == row["heads_kv"] else f"{row['heads_q']}/{row['heads_kv']}"
    head = f"{row['d']}" if row["d"] == row["dv"] else f"{row['d']}/{row['dv']}"
    return f"| {head} | {row['batch']} × {heads} × {row['sq']} | {row['mask']}"


def attention_ratio(row):
    """The best peer's time over triage's."""
    return min(peer["median_ns"] for peer in row["peers"].values()) / row["triage"][0]["median_ns"]


def attention_table(name, document):
    """One line a problem: the best candidate of triage that was tried, and each peer, in useful TFLOP/s."""
    peers = {name: title for name, title in ATTENTION_PEERS.items() if any(name in row["peers"] for row in document["rows"])}
    rows = sorted(attention_rows(document), key=lambda row: (row["d"], row["heads_q"] != row["heads_kv"], row["sq"], row["mask"]))
    lines = [origin(name, document) + ":", "",
             "| head | batch × heads × rows | mask | triage | " + " | ".join(peers.values()) + " | best peer's time / triage's |",
             "|---:|---:|---|" + "---:|" * (len(peers) + 2)]
    for row in rows:
        cells = [f"**{row['triage'][0]['useful_tflops']:.0f}**"]
        cells += [f"{row['peers'][peer]['useful_tflops']:.0f}" if peer in row["peers"] else "-" for peer in peers]
        lines.append(f"{attention_case(row)} | " + " | ".join(cells) + f" | {attention_ratio(row):.2f} |")
    return "\n".join(lines) + "\n"


def attention_verdict(rows):
    ratios = [attention_ratio(row) for row in rows]
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    peers = " and ".join(title for name, title in ATTENTION_PEERS.items() if any(name in row["peers"] for row in rows))
    return (f"Time of the best peer ({peers}) over that of triage, {len(ratios)} problems: {mean:.3f} in the geometric "
            f"mean, {min(ratios):.2f} at worst; triage is faster in {sum(ratio > 1 for ratio in ratios)}.\n")


def folded(summary, *parts):
    """A long table, closed until a reader opens it."""
    return "\n".join([f"<details><summary>{summary}</summary>\n", *parts, "</details>\n"])


def attention_part():
    found = newest("attention against peers", attention_rows)
    if not found:
        return []
    name, document = found
    by_hand = "name" not in document["rows"][0]  # before python/bench/attention.py
    made_by_hand = " The best of one to three candidates that were tried, not yet through the C API." if by_hand else ""
    return ["### Attention\n",
            "Forward, bf16, cold L2, every result of triage verified. Useful TFLOP/s are 2 · pairs of a query and a key · "
            f"(head + value) / time; causal counts half of the square.{made_by_hand}\n",
            attention_verdict(attention_rows(document)),
            folded(f"The {len(attention_rows(document))} problems", attention_table(name, document))]


TUNED_KINDS = (("decode", "a step of decoding"), ("masks", "block mask, 90 % left out"), ("fp8", "8-bit floats (e4m3)"),
               ("lengths", "16 sequences in a batch"), ("other", "other"))


def tuned_kind(case):
    if not case["tflops"]:
        return "decode"
    name = case["name"]
    return "masks" if re.search(r"\d+x\d+", name) else "fp8" if "fp8" in name else "lengths" if "lengths" in name else "other"


def tuned_title(case):
    """What the name of a case says: "B64 S4096 32/8" is "batch 64, 4096 keys, 32/8 heads"."""
    title = re.sub("^decode ", "", case["name"])
    for token, words in ((r"\bd(\d+)", r"head \1,"), (r"\bB(\d+)", r"batch \1,"), (r"\b(\d+)/(\d+)", r"\1/\2 heads,"),
                         (r"\bS(\d+)", rf"\1 {'keys' if tuned_kind(case) == 'decode' else 'rows'},"),
                         (r"\b(\d+)x(\d+)", r"blocks of \1 × \2,"), ("lengths", "lengths,")):
        title = re.sub(token, words, title)
    return title.rstrip(",")


def attention_tuned_part():
    """What triage_tune found by itself in the newest run of which the first table has not the case: no peers there."""
    files = sorted((ROOT / "docs/results").glob("*-attention-tuned.json"))
    if not files:
        return []
    document = json.loads(files[-1].read_text())
    contest = newest("attention against peers", attention_rows)
    beside = {row["name"] for row in attention_rows(contest[1])} if contest and "name" in contest[1]["rows"][0] else set()
    lines = ["| | problem | rate | µs |", "|---|---|---:|---:|"]
    rest = [case for case in document["cases"] if case["name"] not in beside]
    for kind, words in TUNED_KINDS:
        for case in rest:
            if tuned_kind(case) == kind:
                rate = f"{case['tflops']:.0f} TFLOP/s" if case["tflops"] else f"{case['tb_per_s']} TB/s"
                lines.append(f"| {words} | {tuned_title(case)} | **{rate}** | {case['median_us']:.1f} |")
    return [folded(f"{len(rest)} more: decoding, block masks, 8-bit floats, sequences of many lengths",
                   f"By `triage_tune`, without other libraries in the run ({document['device']}, {document['date']}, commit "
                   f"`{document['commit']}`, [{files[-1].name}](docs/results/{files[-1].name})). The rate of decoding is in bytes of K and V "
                   "read; heads are those of Q / of K and V.\n", "\n".join(lines) + "\n")]


def attention_other_rows(document):
    """Masks of blocks, steps of decoding, sequences of many lengths, long ones, each with a peer."""
    return [row for row in document["rows"] if row["triage"] and row["peers"] and row.get("set") in ("blocks", "decode", "varlen", "long")]


def attention_other_cells(row, peers):
    """Useful TFLOP/s, or of a step of decoding the TB/s of K and V that it reads."""
    def rate(timing):
        return f"{row['kv_bytes'] / timing['median_ns'] / 1e3:.2f} TB/s" if row["sq"] == 1 else f"{timing['useful_tflops']:.0f}"

    best = f"{attention_ratio(row):.2f}" if row["peers"] else "-"
    return [f"**{rate(row['triage'][0])}**"] + [rate(row["peers"][peer]) if peer in row["peers"] else "-" for peer in peers] + [best]


def attention_other_part():
    """The newest run of the cases that the first table has not."""
    found = newest("attention against peers", attention_other_rows)
    if not found:
        return []
    name, document = found
    rows = attention_other_rows(document)
    peers = {name: title for name, title in ATTENTION_PEERS.items() if any(name in row["peers"] for row in rows)}
    lines = ["| | triage | " + " | ".join([*peers.values(), "best peer's time / triage's"]) + " |",
             "|---|" + "---:|" * (len(peers) + 2)]
    lines += [f"| {row['name']} | " + " | ".join(attention_other_cells(row, peers)) + " |" for row in rows]
    return ["Masks of blocks (rows × columns of a block; random, 90 % left out, unless it says otherwise), steps of decoding (batch, keys, heads of Q/KV; TB/s of K and V "
            "read), sequences of many lengths and long ones; `-`: refused, or not a case of that library's:\n",
            origin(name, document) + ":\n", "\n".join(lines) + "\n"]


def bsr_part():
    """The newest run with torch's kernels, which has most peers, in the open; the others folded."""
    found = [(newest(what, rows), rows) for what, rows in (("bsr_gemm against torch", torch_rows), ("tune", tune_rows),
                                                           ("triage_bench", library_rows))]
    tables = [table(run[0], run[1], rows(run[1])) for run, rows in found if run]
    if not tables:
        return []
    head = ("### Block-sparse product\n\n"
            "C = A·B, f16, 8192 × 8192 × 8192, random blocks at sparsity 0.9, cold L2, every result verified. Useful TFLOP/s are "
            "2 · nnzb · b² · N / time; dense cuBLAS multiplies the zeros too.\n")
    parts = [head, tables[0]]
    grid = grid_with("cubes", "layers")
    if grid:
        parts.append(f"{grid[1]['device']}, {grid[1]['date'][:10]}: {peer_verdict(grid[1])} "
                     "[All of them](docs/results/README.md).\n")
    if tables[1:]:
        parts.append(folded("The same product in other runs", *tables[1:]))
    if charts.newest():
        parts.append("From which sparsity on block-sparse is faster than dense, 4096 × 4096 × 4096:\n\n"
                     "![time of dense cuBLAS over the time of triage, by sparsity](docs/results/crossover.svg)\n")
    return parts


def make_readme():
    parts = bsr_part()
    return "\n".join(parts + attention_part() + attention_tuned_part() + attention_other_part()) if parts else ""


def filled(path, body):
    """(old text, new text)"""
    old = path.read_text()
    return old, re.sub(re.escape(BEGIN) + ".*?" + re.escape(END), lambda _: BEGIN + body + END, old, flags=re.S)


def main():
    check = "--check" in sys.argv[1:]
    for path, body in ((ROOT / "README.md", make_readme()), (ROOT / "docs/results/README.md", make_grid()),
                       (ROOT / "docs/search.md", make_search())):
        old, new = filled(path, body)
        if check and new != old:
            sys.exit(f"{path.relative_to(ROOT)}: the tables are not what docs/tables.py makes of docs/results")
        if not check:
            path.write_text(new)
    crossover = charts.newest()
    if crossover:
        (charts.check if check else charts.draw)(json.loads(crossover.read_text()), charts.CHART)


if __name__ == "__main__":
    main()
