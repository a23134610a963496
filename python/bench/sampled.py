#!/usr/bin/env python3
"""The sampled product (the gradient of a block-sparse weight) against what PyTorch has, in one process on the same tensors.

    python3 python/bench/sampled.py --db triage.db --out sampled.json [--shape M,N,K] [--block 16,32,64,128] [--sparsity 0.9]
            [--dtype f16] [--samples 21] [--stk FOLDER]

D = Y X^T on the stored blocks only, Y and X stored token by token as a layer's gradient has them. Peers: torch's Triton kernel
(sampled_addmm) as it comes, and the best of a few stages, warps and steps of it, in both layouts; stk's sdd (blocks of 128;
--stk: a folder with its stk/backend/triton_kernels.py as stk_kernels.py); the whole product by cuBLAS. Cold L2, interleaved; blocks
drawn at random are checked against float64 before and after. Exit code 70: triage is wrong.
"""
import argparse
import itertools
import pathlib
import sys

import torch
from torch.sparse import _triton_ops

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import cases  # noqa: E402
import triage_kernels as tk  # noqa: E402
from clock import Stopwatch, median_interval, race, record_of, synchronize  # noqa: E402
from compare import DTYPES, UNIT_ROUNDOFF, random_pattern  # noqa: E402
from triage_kernels._operators import ops  # noqa: E402

STEP_ARGUMENT = 6  # of torch's kernel: alpha, beta, is_beta_zero, two sizes of a block, k, its step


class Retuned:
    """torch's kernel with other stages, warps and step."""

    def __init__(self, kernel, stages, warps, step):
        self.kernel, self.meta, self.step = kernel, {"num_stages": stages, "num_warps": warps}, step

    def __getitem__(self, grid):
        def launch(*arguments, **options):
            arguments = (*arguments[:STEP_ARGUMENT], self.step, *arguments[STEP_ARGUMENT + 1:])
            return self.kernel[grid](*arguments, **{**options, **self.meta})
        return launch


class Case:
    def __init__(self, shape, block, dtype, sparsity):
        self.m, self.n, self.k = shape
        self.block, generator = block, torch.Generator("cuda").manual_seed(1)
        self.row_ptr, self.col_idx = random_pattern(self.m // block, self.k // block, sparsity, generator)
        self.nnzb = self.col_idx.numel()
        self.values = torch.zeros(self.nnzb, block, block, device="cuda", dtype=dtype)
        self.grad = torch.randn(self.n, self.m, device="cuda", generator=generator).to(dtype)
        self.x = torch.randn(self.n, self.k, device="cuda", generator=generator).to(dtype)
        self.flops = 2.0 * self.nnzb * block * block * self.n
        lengths = (self.row_ptr[1:] - self.row_ptr[:-1]).long()
        self.rows = torch.repeat_interleave(torch.arange(self.m // block, device="cuda"), lengths)
        self.checked = torch.randperm(self.nnzb, device="cuda", generator=generator)[:64]
        at = torch.arange(block, device="cuda")
        left, right = ((index[self.checked, None].long() * block + at) for index in (self.rows, self.col_idx))
        self.want = self.grad.double().T[left] @ self.x.double().T[right].transpose(1, 2)

    def is_right(self, d):
        """Sums of n products in float32, rounded once."""
        error = (d[self.checked].double() - self.want).norm() / self.want.norm()
        return bool(torch.isfinite(d).all()) and float(error) < 2 * UNIT_ROUNDOFF[d.dtype]


def torch_call(case, out, operands, kernel=None):
    bsr = torch.sparse_bsr_tensor(case.row_ptr, case.col_idx, out, size=(case.m, case.k))
    own = _triton_ops._sampled_addmm_kernel

    def call():
        _triton_ops._sampled_addmm_kernel = kernel or own
        _triton_ops.sampled_addmm(bsr, *operands, beta=0.0, alpha=1.0, out=bsr, skip_checks=True)
        _triton_ops._sampled_addmm_kernel = own
    return call


def best_of_torch(case, out, watch, notes):
    """The fastest of a few, timed thrice each."""
    columns = case.grad.t(), case.x
    rows = case.grad.t().contiguous(), case.x.t().contiguous().t()
    found = []
    for stages, warps, step in itertools.product((3, 4), (4, 8), (32, 64)):
        for name, (y, x) in (("col", columns), ("row", rows)):
            try:
                kernel = Retuned(_triton_ops._sampled_addmm_kernel, stages, warps, step)
                call = torch_call(case, out, (y, x), kernel)
                call()
                synchronize()
                found.append((min(watch.sample(call) for _ in range(3)), f"{name} stages={stages} warps={warps} step={step}", call))
            except Exception as error:  # a configuration that does not fit
                notes.append((str(error).splitlines() or [type(error).__name__])[0][:120])
    _, about, call = min(found, key=lambda f: f[0])
    return call, about


def stk_call(case, out, folder):
    sys.path.insert(0, folder)
    import stk_kernels
    y, x = case.grad.t(), case.x
    return lambda: stk_kernels.sdd(y, x, (case.m, case.k), out, case.row_ptr, case.rows.int(), case.col_idx)


def peers_of(case, args, watch, notes):
    """{name: (call, out, what it is)}"""
    found = {}

    def add(name, make):
        out = torch.zeros_like(case.values)
        try:
            call, about = make(out)
            call()
            synchronize()
            found[name] = call, out, about
        except Exception as error:
            notes.append(f"{name}: " + (str(error).splitlines() or [type(error).__name__])[0][:160])
    add("torch", lambda out: (torch_call(case, out, (case.grad.t(), case.x)), ""))
    add("tuned", lambda out: best_of_torch(case, out, watch, notes))
    if args.stk and case.block == 128:
        add("stk", lambda out: (stk_call(case, out, args.stk), ""))
    return found


def triage_call(case, result):
    def call():
        result[0] = ops.bsr_sddmm.default(case.grad, case.x, case.row_ptr, case.col_idx, case.values, case.k)
    return call


def run(case, args, watch):
    notes, result = [], [None]
    peers = peers_of(case, args, watch, notes)
    whole = torch.empty(case.m, case.k, device="cuda", dtype=case.values.dtype)
    calls = {"triage": triage_call(case, result), "dense": lambda: torch.matmul(case.grad.t(), case.x, out=whole),
             **{name: call for name, (call, _, _) in peers.items()}}

    def poison(name):
        if name in peers:
            peers[name][1].fill_(float("nan"))

    def right(name):
        return name == "dense" or case.is_right(result[0] if name == "triage" else peers[name][1])
    for call in calls.values():
        call()
    calls = {name: call for name, call in calls.items() if right(name) or notes.append(f"{name}: wrong")}
    times = race(calls, args.samples, watch, poison)
    rows = {}
    for name, samples in times.items():
        median, low, high = median_interval(samples)
        rows[name] = {"right": right(name), "median_ns": median * 1e6, "low_ns": low * 1e6, "high_ns": high * 1e6,
                      "samples": len(samples), "useful_tflops": case.flops / median / 1e9}
        if name in peers and peers[name][2]:
            rows[name]["about"] = peers[name][2]
    return {"m": case.m, "n": case.n, "k": case.k, "block": case.block, "dtype": args.dtype, "layout": "col", "nnzb": case.nnzb,
            "peers": rows, "notes": sorted(set(notes))}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--db", help="the tuning database")
    parser.add_argument("--out", help="JSON file to write")
    parser.add_argument("--shape", default="8192,8192,8192", help="M,N,K: rows of the matrix, tokens, its columns")
    parser.add_argument("--block", default="16,32,64,128", help="sizes, each a run (default 16,32,64,128)")
    parser.add_argument("--sparsity", type=float, default=0.9, help="share of the blocks not stored (default 0.9)")
    parser.add_argument("--dtype", choices=DTYPES, default="f16")
    parser.add_argument("--samples", type=int, default=21, help="timed launches of each, at most (default 21)")
    parser.add_argument("--stk", help="folder of stk_kernels.py")
    parser.add_argument("--commit", default="unknown", help="of the checkout, for the record")
    args = parser.parse_args()
    tk.configure(db_path=args.db)
    watch, records = Stopwatch(), []
    for block in cases.numbers("--block", args.block, int):
        records.append(run(Case(cases.shape_of(args.shape), block, DTYPES[args.dtype], args.sparsity), args, watch))
        print(f"b={block:<4d}" + "  ".join(f"{name} {row['median_ns'] / 1e3:.0f} us {row['useful_tflops']:.0f}{'' if row['right'] else ' WRONG'}"
                                           for name, row in records[-1]["peers"].items()), *records[-1]["notes"], flush=True)
        if args.out:
            cases.write_json(args.out, record_of("bsr_sddmm against torch", args.commit, args.samples, records))
    return 0 if all(record["peers"].get("triage", {}).get("right") for record in records) else 70


if __name__ == "__main__":
    sys.exit(main())
