"""The driver of untuned.sh, which says what it does and takes. The lines of its results have what was drawn of a shape."""

import argparse
import csv
import dataclasses
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "python/bench"))
import attention_cases  # noqa: E402

LEFT, WRONG, USAGE = 75, 1, 64


# ---- shapes ----


def log_uniform(rng, low, high):
    return low * (high / low) ** rng.random()


def draw_product(seed, index, host):
    rng = random.Random(f"untuned {seed} {index}")
    block = rng.choice([16, 32, 64, 128])
    longest = 512 if host else 14336
    m, k = (block * max(1, round(log_uniform(rng, max(block, longest / 14), longest) / block)) for _ in "mk")
    return {
        "index": index,
        "m": m,
        "n": round(log_uniform(rng, 1, 256 if host else 8192)),
        "k": k,
        "block": block,
        "density": log_uniform(rng, 0.02, 0.5),
        "dtype": "f32" if host else rng.choice(["f16", "f16", "f16", "bf16"]),
        "layout": rng.choice(["row", "col"]),
        "activation": rng.choice([None, None, "relu", "gelu", "silu"]),
        "uneven": rng.random() < 1 / 3,
    }


def write_uneven(path, shape, seed):
    """Block rows of very different lengths: the longest has about ten times the shortest's blocks."""
    rng = random.Random(f"pattern {seed} {shape['index']}")
    rows, cols = shape["m"] // shape["block"], shape["k"] // shape["block"]
    weights = [10 ** rng.random() for _ in range(rows)]
    mean = statistics.fmean(weights)
    lists = []
    for weight in weights:
        length = min(cols, int(shape["density"] * cols * weight / mean + rng.random()))
        lists.append(sorted(rng.sample(range(cols), length)))
    if not any(lists):
        lists[0] = [0]
    starts = [0]
    for columns in lists:
        starts.append(starts[-1] + len(columns))
    text = f"{rows}, {cols}, {starts[-1]}\n{' '.join(map(str, starts))}\n"
    path.write_text(text + " ".join(str(c) for columns in lists for c in columns) + "\n")


def product_options(shape, seed, folder):
    options = {"block": shape["block"], "dtype": shape["dtype"], "layout": shape["layout"]}
    if shape["uneven"]:
        path = folder / f"pattern-{seed}-{shape['index']}.smtx"
        write_uneven(path, shape, seed)
        options.update(pattern=path, n=shape["n"])
    else:
        options.update(shape=f"{shape['m']},{shape['n']},{shape['k']}", sparsity=f"{1 - shape['density']:.4f}")
    if shape["activation"]:
        options.update(bias="yes", activation=shape["activation"])
    return options


def product_name(r):
    name = f"{r['m']}x{r['n']}x{r['k']} b={r['block']} d={r['density']:.3f} {r['dtype']} {r['layout']}"
    return name + f" {r['activation'] or ''}{' uneven' if r['uneven'] else ''}"


def draw_attention(seed, index, host):
    """Half of them dense, a quarter of one token on a cache, a quarter with blocks."""
    rng = random.Random(f"untuned attention {seed} {index}")
    kind = ("dense", "dense", "decode", "blocks")[index % 4]
    d = rng.choice((64, 128, 128, 256) if kind == "dense" else (64, 128, 128))
    kv = rng.choice((1, 2, 4, 8) if kind == "decode" else (2, 4, 6, 8))
    group = rng.choice((4, 8) if kind == "decode" else (1, 4, 8) if kind == "dense" else (1,))
    keys = round(log_uniform(rng, *{"dense": (362, 20000), "decode": (512, 46000), "blocks": (5800, 40000)}[kind]))
    batch = {"dense": max(1, min(8, 24000 // keys)), "blocks": 1,
             "decode": max(1, min(rng.choice((1, 3, 12, 40)), int(2e9 / (kv * keys * d * 4))))}[kind]
    block = rng.choice((64, 128)) if kind == "blocks" else 0
    mask = "full" if kind == "decode" else rng.choice(("full", "causal"))
    if host:
        kv, group, batch, d, keys, block = 1, 2, 1, 16, 16 + keys % 48, min(block, 16)
    case = attention_cases.Case(
        set="untuned", name=f"{seed}-{index}", batch=batch, heads=[kv * group, kv], sq=1 if kind == "decode" else keys, sk=keys,
        d=d, mask=mask, dtype="f32" if host else rng.choice(("bf16", "bf16", "bf16", "f16")),
        block=[block, block] if block else None, pattern=rng.choice(("random", "band", "top-k")), sparsity=rng.choice((0.8, 0.9)))
    return {"index": index, "case": dataclasses.asdict(case)}


def attention_options(shape, seed, folder):
    case = attention_cases.Case(**shape["case"])
    if case.block:
        attention_cases.write_pattern(attention_cases.file_of(case, folder), case)
    words = attention_cases.options_of(case, folder)
    return dict(zip((word.removeprefix("--") for word in words[::2]), words[1::2]))


def attention_name(r):
    c = r["case"]
    name = f"{c['batch']}x{c['heads'][0]}/{c['heads'][1]} {c['sq']}x{c['sk']} d={c['d']} {c['dtype']} {c['mask']}"
    return name + (f" {c['pattern']} {c['block'][0]} {c['sparsity']}" if c["block"] else "")


# How to draw a shape (`index` of a seed: the same whatever was drawn before it), its options, its name.
OPERATIONS = {"bsr_gemm": (draw_product, product_options, product_name),
              "attention": (draw_attention, attention_options, attention_name)}


def options_of(args, shape, folder):
    """As triage_tune and triage_db take them."""
    return [f"--{name}={value}" for name, value in OPERATIONS[args.op][1](shape, args.seed, folder).items()]


def write_list(args):
    """For triage_tune --from --compile-only, where there is no GPU yet."""
    draw, options, _ = OPERATIONS[args.op]
    lines = [{"op": args.op, **options(draw(args.seed, i, args.device == "host"), args.seed, args.out)} for i in range(args.shapes)]
    with args.list.open("w", newline="") as file:
        table = csv.DictWriter(file, list(dict.fromkeys(name for line in lines for name in line)), lineterminator="\n")
        table.writeheader()
        table.writerows(lines)
    return 0


# ---- one shape ----


def cache_of(args):
    return pathlib.Path(os.environ["XDG_CACHE_HOME"]) / "triage"


class Failed(Exception):
    pass


def run(command, limit):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        raise Failed(f"{pathlib.Path(command[0]).name} took longer than {limit:.0f} s") from None
    if done.returncode not in (0, 70):
        raise Failed(f"{' '.join(command)}: exit {done.returncode}: {done.stderr.strip()[-300:]}")
    return done.stdout


def export(args, database, folder, name):
    path = folder / name
    run([args.tool("triage_db"), "export", str(path), "--db", str(database)], 60)
    with (folder / "evidence.jsonl").open("a") as out:
        out.write(path.read_text())
    return path.read_text()


def rows_of(args, database, problem, folder):
    """What the tune stored of the problem: by configuration and stage."""
    rows = {}
    if not database.exists():
        raise Failed(f"nothing was measured within {args.tune_limit:g} s: --tune-limit")
    for line in export(args, database, folder, "rows.jsonl").splitlines():
        row = json.loads(line)
        if row["problem"] == problem:
            rows.setdefault(row["config"], {})[row["stage"]] = row
    return rows


def seconds(rows, config, stage):
    row = rows.get(config, {}).get(stage)
    return row["median_ns"] if row and row["outcome"] in ("right", "slow") else None


def compare(rows, config, winner):
    """Both raced, or both as the search timed them: (time of config, time of winner), None where it was not timed."""
    for stage in ("race", "search"):
        ours, best = seconds(rows, config, stage), seconds(rows, winner, stage)
        if ours and best:
            return stage, ours, best
    return None, None, None


def judge(shape, answer, tuned, rows):
    result = dict(shape, problem=answer["problem"], source=answer["source"], config=answer["config"])
    result["expected_saving"] = answer["expected_loss"]
    result["tried"], result["space"] = len(tuned["rows"]), tuned["space_size"]
    result["tune_s"] = tuned["elapsed_ns"] / 1e9
    result["winner"] = tuned["winner"]
    wrong = [r["config"] for r in tuned["rows"] if r["outcome"] == "wrong"]
    result["wrong"] = wrong
    if not tuned["winner"]:
        return dict(result, state="no candidate was right")
    stage, ours, best = compare(rows, answer["config"], tuned["winner"])
    if not stage:
        failed = [r["outcome"] for r in rows.get(answer["config"], {}).values()]
        return dict(result, state=f"the lookup's kernel is {failed[0]}" if failed else "not reached by the search")
    result.update(state="judged", stage=stage, lookup_ns=ours, tuned_ns=best, loss=ours / best - 1)
    rivals = [answer["config"], *(r["config"] for r in answer.get("rivals", []))][:3]
    times = [compare(rows, c, tuned["winner"]) for c in rivals]
    result["raced_loss"] = min((a / b - 1 for s, a, b in times if s), default=None)
    return result


def pattern_of(shape, seed, folder):
    return str(folder / f"pattern-{seed}-{shape['index']}.smtx") if shape["uneven"] else f"{1 - shape['density']:.4f}"


def call_first(args, shape, result, rows, folder):
    """A first call that may race, in a database of its own, judged by the times of the tune."""
    database = folder / "first.db"
    database.unlink(missing_ok=True)
    command = [args.tool("bench_first_call"), args.device, str(database), str(cache_of(args)), str(args.first_call_ms),
               result["problem"], pattern_of(shape, args.seed, folder)]
    started = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    said = json.loads(done.stdout) if done.stdout else {}
    found = dict(result, first_call_ms=args.first_call_ms, first_call_s=time.monotonic() - started,
                 first_said=done.stderr.strip().splitlines()[-1:], first_config=said.get("config"),
                 first_raced=said.get("source") == "exact", first_wrong=done.returncode == 1)
    if not done.returncode and result["state"] == "judged":
        _, ours, best = compare(rows, said["config"], result["winner"])
        found["first_loss"] = ours / best - 1 if ours else None
    if database.exists():
        export(args, database, folder, "first.jsonl")
    return found


def try_shape(args, shape, folder, deadline):
    options = [*options_of(args, shape, folder), "--device", args.device]
    database, empty = folder / "tune.db", folder / "empty.db"
    database.unlink(missing_ok=True)
    if not empty.exists():
        (folder / "none.jsonl").write_text("")
        run([args.tool("triage_db"), "import", str(args.evidence or folder / "none.jsonl"), "--db", str(empty)], 60)
    answer = json.loads(run([args.tool("triage_db"), "explain", "--json", "--db", str(empty), *options], 60))
    tune = [args.tool("triage_tune"), *options, "--db", str(database), "--json", "-q", "--strategy", "exhaustive"]
    tune += ["--time-limit", str(args.tune_limit), "--jobs", str(args.jobs)]
    tune += ["--budget", str(args.budget)] if args.budget else []
    tuned = json.loads(run(tune, max(30, deadline - time.monotonic() + 30)))
    rows = rows_of(args, database, answer["problem"], folder)
    result = judge(shape, answer, tuned, rows)
    return call_first(args, shape, result, rows, folder) if args.first_call_ms else result


# ---- all ----


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * (len(ordered) - 1) + 0.5))]


def losses_of(values):
    if not values:
        return None
    return {"median": statistics.median(values), "p90": percentile(values, 0.9), "worst": max(values)}


def summarise(results, left):
    judged = [r for r in results if r["state"] == "judged"]
    savings = [max(0, 1 - r["tuned_ns"] / r["lookup_ns"]) for r in judged]
    expected = [r["expected_saving"] for r in judged if r["expected_saving"] is not None and r["expected_saving"] >= 0]
    raced = [r["raced_loss"] for r in judged if r["raced_loss"] is not None]
    return {
        "shapes": len(results),
        "judged": len(judged),
        "left": left,
        "wrong": sum(len(r.get("wrong", [])) + bool(r.get("first_wrong")) for r in results),
        "first_calls_raced": sum(bool(r.get("first_raced")) for r in results),
        "sources": {s: sum(r.get("source") == s for r in results) for s in sorted({r.get("source") or "" for r in results})},
        "loss": losses_of([r["loss"] for r in judged]),
        "loss_of_three_raced": losses_of(raced) if any("rivals" in r for r in results) or raced else None,
        "saving_mean": statistics.fmean(savings) if savings else None,
        "expected_saving_mean": statistics.fmean(expected) if expected else None,
        "expected_of": len(expected),
        "loss_after_first_call": losses_of([r["first_loss"] for r in judged if r.get("first_loss") is not None]),
        "first_call_ms": max((r.get("first_call_ms", 0) for r in results), default=0),
        "tried_mean": statistics.fmean(r["tried"] for r in judged) if judged else None,
    }


def expects_well(s, factor):
    found, expected = s["saving_mean"], s["expected_saving_mean"]
    return found is not None and expected is not None and found / factor <= expected <= found * factor


def percent(value):
    return "-" if value is None else f"{100 * value:.1f} %"


def first_of(r):
    if "first_call_ms" not in r:
        return ""
    return f", after a first call {percent(r.get('first_loss'))}" + ("" if r["first_raced"] else " (no race)")


def print_line(r):
    name = OPERATIONS[r["op"]][2](r)
    if r["state"] != "judged":
        print(f"{r['index']:3}  {name:58} {r.get('source', '-'):9}  {r['state']}", flush=True)
        return
    print(
        f"{r['index']:3}  {name:58} {r['source']:9}  {r['lookup_ns'] / 1e3:8.2f} us, tuned {r['tuned_ns'] / 1e3:8.2f}: loss "
        f"{percent(r['loss']):>7}{first_of(r)}, saving expected {percent(r['expected_saving']):>7}  ({r['tried']} of {r['space']} tried, "
        f"{r['tune_s']:.0f} s)",
        flush=True,
    )


def print_table(s):
    """As docs/search.md has it."""
    print("| | median | 90th percentile | worst |\n|---|---|---|---|")
    rows = [("the likeliest", s["loss"]), ("the best of the three likeliest", s["loss_of_three_raced"])]
    for name, loss in rows + [(f"after a first call of {s['first_call_ms']:.0f} ms", s["loss_after_first_call"])]:
        if loss:
            print(f"| {name} | {percent(loss['median'])} | {percent(loss['p90'])} | {percent(loss['worst'])} |")


def print_summary(s):
    loss, raced = s["loss"] or {}, s["loss_of_three_raced"] or {}
    print(
        f"{s['judged']} of {s['shapes']} shapes judged, {s['left']} left, {s['wrong']} kernels wrong: loss median "
        f"{percent(loss.get('median'))}, p90 {percent(loss.get('p90'))}, worst {percent(loss.get('worst'))}; the best of three "
        f"{percent(raced.get('median'))}, {percent(raced.get('p90'))}, {percent(raced.get('worst'))}; a tune saves "
        f"{percent(s['saving_mean'])} in the mean, expected {percent(s['expected_saving_mean'])} (of {s['expected_of']})",
        flush=True,
    )


def read_options():
    parser = argparse.ArgumentParser(prog="untuned.sh", allow_abbrev=False)
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--shapes", type=int, default=24)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=float, default=240)
    parser.add_argument("--tune-limit", type=float, default=20)
    parser.add_argument("--budget", type=int, default=0)
    parser.add_argument("--first-call-ms", type=float, default=0)
    parser.add_argument("--expected", type=float, default=0, metavar="FACTOR")
    parser.add_argument("--op", choices=list(OPERATIONS), default="bsr_gemm")
    parser.add_argument("--median", type=float, default=0, metavar="PERCENT")
    parser.add_argument("--evidence", type=pathlib.Path, metavar="FILE.jsonl")
    parser.add_argument("--list", type=pathlib.Path, metavar="FILE.csv")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--device", choices=["cuda", "host"], default="cuda")
    parser.error = lambda message: (print(f"untuned.sh: {message}", file=sys.stderr), sys.exit(USAGE))
    args = parser.parse_args()
    args.tool = lambda name: str(args.build / "bin" / name)
    if args.op == "attention" and args.first_call_ms:
        parser.error(f"--first-call-ms {args.first_call_ms:g} is for --op bsr_gemm: no other first call races")
    if not args.list and not os.access(args.tool("triage_tune"), os.X_OK):
        parser.error(f"no triage_tune in {args.build}/bin: build the preset portable first, or name a --build")
    return args


def known_results(path, args):
    if not path.exists():
        return {}
    mine = {"op": args.op, "seed": args.seed, "device": args.device}
    lines = (json.loads(line) for line in path.read_text().splitlines())
    return {r["index"]: r for r in lines if mine.items() <= r.items() and r["state"] != "failed"}


def main():
    args = read_options()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.list:
        return write_list(args)
    os.environ.setdefault("XDG_CACHE_HOME", str(args.out / "cache"))
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    lines = args.out / "untuned.jsonl"
    known = known_results(lines, args)
    deadline, longest, failed = time.monotonic() + args.limit, 0, 0
    for index in range(args.shapes):
        shape = OPERATIONS[args.op][0](args.seed, index, args.device == "host")
        started = time.monotonic()
        if index in known:
            print_line(known[index])
            continue
        if started + max(5, longest) > deadline:
            continue
        try:
            result = try_shape(args, shape, args.out, deadline)
        except Failed as error:
            failed += 1
            result = dict(shape, state="failed", why=str(error))
            print(error, file=sys.stderr, flush=True)
        result.update(op=args.op, seed=args.seed, device=args.device)
        longest = max(longest, time.monotonic() - started)
        known[index] = result
        with lines.open("a") as out:
            out.write(json.dumps(result) + "\n")
        print_line(result)
    results = [known[i] for i in sorted(known) if i < args.shapes]
    summary = summarise(results, args.shapes - len(results))
    (args.out / "untuned.json").write_text(json.dumps({"schema": 1, "summary": summary, "shapes": results}, indent=1))
    print_table(summary)
    print_summary(summary)
    if args.expected and not expects_well(summary, args.expected):
        print(f"what was expected is not within a factor of {args.expected:g} of what was found", file=sys.stderr)
        failed += 1
    if args.median and not (summary["loss"] and 100 * summary["loss"]["median"] <= args.median):
        print(f"the median of what a lookup loses is more than {args.median:g} %", file=sys.stderr)
        failed += 1
    bad = failed or summary["wrong"] or any(r["state"].startswith("the lookup's kernel is") for r in results)
    return WRONG if bad else LEFT if summary["left"] else 0


if __name__ == "__main__":
    sys.exit(main())
