#!/usr/bin/env python3
"""What an epilogue costs: act(X W^T + bias) against X W^T, both tuned, in one process on the same tensors, interleaved.

    python3 python/bench/epilogue.py --db layer.db --out epilogue.json [--shape M,N,K ...] [--block 64] [--sparsity 0.9]
            [--budget 16] [--activation silu] [--bin build/bin] [--time-limit 300] [--at-most 3]

Both are tuned by triage_tune into --db (the likely best and --budget candidates in all; 0: the whole space), checked against
float64 on sampled rows before and after, and timed with a cold L2. --out is whole after each layer; started again, the program goes
on. Exit code 70: a result is wrong; 75: a layer is left; 1: an epilogue costs more than --at-most percent.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import time

import torch
import torch.nn.functional as F

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import cases  # noqa: E402
import triage_kernels as tk  # noqa: E402
from clock import Stopwatch, median_interval, race, record_of  # noqa: E402
from compare import random_pattern  # noqa: E402

SHAPES = ["5120,64,13824", "4096,1024,4096", "11008,16,4096", "3584,384,18944", "4096,8192,4096", "2880,256,2880"]
ACTIVATIONS = {"relu": F.relu, "gelu": F.gelu, "silu": F.silu}
LIMIT = {torch.float16: 2.0 ** -10, torch.bfloat16: 2.0 ** -7}  # two roundings of the result, of its rows' root mean square


def tune(args, shape, epilogue, pattern, folder):
    path = folder / "epilogue.smtx"
    cases.write_smtx(path, pattern[2], pattern[0].tolist(), pattern[1].tolist())
    command = [str(pathlib.Path(args.bin) / "triage_tune"), "--pattern", str(path), "--block", str(args.block), "--n",
               str(shape[1]), "--dtype", args.dtype, "--layout", "col", "--device", "cuda", "--db", args.db, "--json", "--quiet"]
    command += ["--budget", str(args.budget)] if args.budget else []
    command += ["--bias", "--activation", args.activation] if epilogue else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: exit {done.returncode}: {done.stderr.strip()[-300:]}")


def error_of(got, want):
    return float(((got.double() - want).norm(dim=0) / want.norm(dim=0).clamp_min(1e-30)).max())


def measure(args, shape, watch, folder):
    m, n, k = shape
    dtype = {"f16": torch.float16, "bf16": torch.bfloat16}[args.dtype]
    generator = torch.Generator("cuda").manual_seed(1)
    row_ptr, col_idx = random_pattern(m // args.block, k // args.block, args.sparsity, generator)
    for epilogue in (False, True):
        tune(args, shape, epilogue, (row_ptr, col_idx, k // args.block), folder)
    tk.configure(db_path=args.db)
    values = torch.randn(col_idx.numel(), args.block, args.block, device="cuda", generator=generator).to(dtype)
    w = tk.BsrMatrix(row_ptr, col_idx, values, k)
    x = torch.randn(n, k, device="cuda", generator=generator).to(dtype)
    bias = torch.randn(m, device="cuda", generator=generator).to(dtype)
    out = {name: torch.empty(n, m, device="cuda", dtype=dtype) for name in ("plain", "epilogue")}
    calls = {"plain": lambda: tk.bsr_mm(w, x.t(), out=out["plain"].t()),
             "epilogue": lambda: tk.bsr_mm(w, x.t(), bias, args.activation, out=out["epilogue"].t())}
    rows = torch.randperm(m, device="cuda", generator=generator)[:64]
    exact = x.double() @ w.to_dense()[rows].double().T
    want = {"plain": exact, "epilogue": ACTIVATIONS[args.activation](exact + bias[rows].double())}

    def errors():
        return {name: error_of(out[name][:, rows], want[name]) for name in calls}
    for name, call in calls.items():
        out[name].fill_(float("nan"))
        call()
    before = errors()
    times = race(calls, args.samples, watch, lambda name: out[name].fill_(float("nan")), keep=tuple(calls))
    after = errors()
    found = {name: median_interval(times[name]) for name in calls}
    right = all(max(before[name], after[name]) <= LIMIT[dtype] for name in calls)
    choice = tk.choice(w, x.t(), out["epilogue"].t(), bias, args.activation)
    plain = tk.choice(w, x.t(), out["plain"].t())
    return {"m": m, "n": n, "k": k, "block": args.block, "sparsity": args.sparsity, "dtype": args.dtype, "right": right,
            "errors": after, "us": {name: [1e3 * x for x in found[name]] for name in found},
            "cost": found["epilogue"][0] / found["plain"][0] - 1, "config": choice["config"], "source": choice["source"],
            "plain_config": plain["config"], "plain_source": plain["source"]}


def known(path):
    """What an earlier start measured."""
    return json.loads(path.read_text())["rows"] if path.exists() else []


def verdict(rows, left, at_most):
    """(exit code, line)"""
    worst = max((row["cost"] for row in rows), default=0)
    line = f"an epilogue costs {100 * worst:+.1f} % at worst over {len(rows)} layers, {left} left"
    if not all(row["right"] for row in rows):
        return 70, line + "; a result is WRONG"
    return 75 if left else 1 if at_most is not None and 100 * worst > at_most else 0, line


def print_row(row):
    times = ", ".join(f"{name} {us[0]:8.2f} us" for name, us in row["us"].items())
    print(f"{row['m']},{row['n']},{row['k']} b={row['block']} {times}: {100 * row['cost']:+.1f} %{'' if row['right'] else '  WRONG'}  "
          f"[{row['source']}: {row['config']}] [{row['plain_source']}: {row['plain_config']}]", flush=True)


def make_parser():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--db", required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--shape", action="append")
    parser.add_argument("--block", type=int, default=64)
    parser.add_argument("--sparsity", type=float, default=0.9)
    parser.add_argument("--dtype", choices=("f16", "bf16"), default="f16")
    parser.add_argument("--activation", choices=tuple(ACTIVATIONS), default="silu")
    parser.add_argument("--budget", type=int, default=16)
    parser.add_argument("--samples", type=int, default=60)
    parser.add_argument("--time-limit", type=float, default=0, help="seconds; a layer that would not fit is left; 0: none")
    parser.add_argument("--at-most", type=float, help="percent that an epilogue may cost")
    parser.add_argument("--bin", default=str(cases.ROOT / "build/bin"))
    parser.add_argument("--commit", default="unknown")
    return parser


def main():
    args = make_parser().parse_args()
    watch, rows, begin, longest = Stopwatch(), known(args.out), time.time(), 0
    done = {(row["m"], row["n"], row["k"]) for row in rows}
    todo = [shape for shape in map(cases.shape_of, args.shape or SHAPES) if tuple(shape) not in done]
    while todo and not (args.time_limit and time.time() - begin + longest > args.time_limit):
        start = time.time()
        rows.append(measure(args, todo.pop(0), watch, args.out.parent))
        longest = max(longest, time.time() - start)
        print_row(rows[-1])
        cases.write_json(args.out, record_of("epilogue of bsr_gemm", args.commit, args.samples, rows))
    code, line = verdict(rows, len(todo), args.at_most)
    print(line, flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
