#!/usr/bin/env python3
"""triage against what PyTorch brings, in one process on the same tensors: verified, cold L2, interleaved.

    python3 python/bench/compare.py --db triage.db --out docs/results/NAME.json
            [--shape M,N,K ...] [--block 16,32,64,128] [--sparsity 0.9] [--dtype f16] [--samples 30]
            [--pattern FILE.smtx --n N] [--tune-triton] [--commit HASH]

Peers: dense cuBLAS (torch.matmul on the densified matrix), torch's Triton kernel bsr_dense_addmm as it
comes and, with --tune-triton, after its own tuning. Each result is checked, before and after timing:
whole against the plain product (float32 accumulation of the same inputs, rounded once) and on sampled
rows against float64, where it may be at most twice as wrong as the plain product. A result that fails
is printed as WRONG with no time. Useful FLOP = 2 nnzb block_m block_k N, the same for all.
"""
import argparse
import datetime
import json
import pathlib
import random
import statistics
import subprocess
import sys
import warnings

import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import triage  # noqa: E402

warnings.filterwarnings("ignore", message=".*beta state.*")
DTYPES = {"f16": torch.float16, "bf16": torch.bfloat16}
UNIT_ROUNDOFF = {torch.float16: 2.0 ** -11, torch.bfloat16: 2.0 ** -8}


def random_pattern(rows, cols, sparsity, generator):
    """Equal counts a row as evenly as possible, random columns: (row_ptr, col_idx) on the GPU."""
    nnzb = round((1 - sparsity) * rows * cols)
    counts = torch.full((rows,), nnzb // rows, device="cuda", dtype=torch.int64)
    counts[: nnzb % rows] += 1
    scores = torch.rand(rows, cols, device="cuda", generator=generator)
    rank = scores.argsort(1).argsort(1)
    mask = rank < counts[:, None]
    row_ptr = torch.zeros(rows + 1, dtype=torch.int32, device="cuda")
    row_ptr[1:] = counts.cumsum(0)
    return row_ptr, mask.nonzero()[:, 1].to(torch.int32)


def read_smtx(path):
    lines = pathlib.Path(path).read_text().splitlines()
    rows, cols, _ = (int(x) for x in lines[0].split(","))
    as_tensor = lambda line: torch.tensor([int(x) for x in line.split()], dtype=torch.int32, device="cuda")
    return rows, cols, as_tensor(lines[1]), as_tensor(lines[2])


class Check:
    """The gate for one problem."""

    def __init__(self, dense, b, rows):
        self.rows = rows
        torch.backends.cuda.matmul.allow_tf32 = False
        self.exact = dense[rows].double() @ b.double()
        self.plain = (dense.float() @ b.float()).to(b.dtype)
        self.u = UNIT_ROUNDOFF[b.dtype]
        self.yard = self._row_error(self.plain)
        self.distance_limit = 3 * max(self.yard, self.u)

    def _row_error(self, c):
        norm = self.exact.norm(dim=1).clamp_min(1e-30)
        return ((c[self.rows].double() - self.exact).norm(dim=1) / norm).max().item()

    def __call__(self, c):
        """(right, error, limit)"""
        error, limit = self._row_error(c), 2 * self.yard
        norm = self.plain.float().norm(dim=1).clamp_min(1e-30)
        distance = ((c.float() - self.plain.float()).norm(dim=1) / norm).max().item()
        right = bool(torch.isfinite(c).all()) and error <= limit and distance <= self.distance_limit
        return right, error, limit


def median_interval(values):
    """Median and its 95 % interval by order statistics."""
    values = sorted(values)
    n = len(values)
    half = 0.98 * n ** 0.5
    low, high = max(0, int(n / 2 - half)), min(n - 1, int(n / 2 + half))
    return statistics.median(values), values[low], values[high]


def time_interleaved(calls, samples, flush):
    """ms of each call: one launch between two events, the L2 overwritten before it."""
    times = {name: [] for name in calls}
    for call in calls.values():
        for _ in range(3):
            call()
    order = list(calls)
    shuffle = random.Random(1)
    for _ in range(samples):
        shuffle.shuffle(order)
        events = []
        for name in order:
            flush.add_(1)
            start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            calls[name]()
            stop.record()
            events.append((name, start, stop))
        torch.cuda.synchronize()
        for name, start, stop in events:
            times[name].append(start.elapsed_time(stop))
    return times


def triton_call(bsr, b, out, tune):
    from torch.sparse import _triton_ops
    meta = None
    if tune:
        from torch.sparse._triton_ops_meta import tune_bsr_dense_addmm
        zero = torch.zeros_like(out)
        meta = tune_bsr_dense_addmm(zero, bsr, b, beta=0, alpha=1, store=False, verbose=False, force=True)
    kwargs = {"meta": meta} if meta else {}
    return lambda: _triton_ops.bsr_dense_addmm(out, bsr, b, beta=0, alpha=1, out=out, **kwargs)


def run_case(context, args, shape, block, pattern, flush):
    m, n, k = shape
    dtype = DTYPES[args.dtype]
    generator = torch.Generator("cuda").manual_seed(args.seed)
    if pattern is None:
        row_ptr, col_idx = random_pattern(m // block, k // block, args.sparsity, generator)
    else:
        row_ptr, col_idx = pattern
    nnzb = col_idx.numel()
    values = torch.randn(nnzb, block, block, device="cuda", generator=generator).to(dtype)
    b = torch.randn(k, n, device="cuda", generator=generator).to(dtype)
    bsr = torch.sparse_bsr_tensor(row_ptr, col_idx, values, size=(m, k))
    dense = torch.zeros(m // block, block, k // block, block, dtype=dtype, device="cuda")
    row_of = torch.repeat_interleave(torch.arange(m // block, device="cuda"), (row_ptr[1:] - row_ptr[:-1]).long())
    dense.permute(0, 2, 1, 3)[row_of, col_idx.long()] = values
    dense = dense.view(m, k)
    rows = torch.randperm(m, device="cuda", generator=generator)[: min(m, 128)]
    check = Check(dense, b, rows)

    matrix = triage.BsrMatrix(context, row_ptr, col_idx, values, k)
    out = {name: torch.empty(m, n, dtype=dtype, device="cuda") for name in ("triage", "dense", "triton", "tuned")}
    calls = {
        "triage": lambda: triage.bsr_gemm(context, matrix, b, out["triage"]),
        "dense": lambda: torch.matmul(dense, b, out=out["dense"]),
    }
    notes = {}
    for name, tune in (("triton", False), ("tuned", True)):
        if (tune and not args.tune_triton) or args.no_triton:
            continue
        try:
            calls[name] = triton_call(bsr, b, out[name], tune)
            calls[name]()
        except Exception as error:  # a peer that cannot do the case is named, not hidden
            notes[name] = str(error).splitlines()[0][:160]
            calls.pop(name, None)

    verdicts = {}
    for name, call in list(calls.items()):
        out[name].fill_(float("nan"))
        call()
        verdicts[name] = check(out[name])
    times = time_interleaved({name: calls[name] for name in calls if verdicts[name][0]}, args.samples, flush)
    for name in times:
        verdicts[name] = check(out[name])

    flops = 2.0 * nnzb * block * block * n
    record = {"m": m, "n": n, "k": k, "block": block, "dtype": args.dtype, "nnzb": nnzb,
              "density": nnzb * block * block / (m * k), "pattern": args.pattern or "random",
              "choice": triage.choice(context, matrix, b, out["triage"]), "peers": {}, "notes": notes}
    for name, (right, error, limit) in verdicts.items():
        entry = {"right": right, "row_error": error, "row_error_limit": limit}
        if right:
            median, low, high = median_interval(times[name])
            entry.update(median_ns=median * 1e6, low_ns=low * 1e6, high_ns=high * 1e6, samples=len(times[name]),
                         useful_tflops=flops / median / 1e9, dense_equivalent_tflops=2.0 * m * n * k / median / 1e9)
        record["peers"][name] = entry
    return record


def print_record(record):
    cells = []
    for name, entry in record["peers"].items():
        cells.append(f"{name} {entry['median_ns'] / 1e6:8.3f} ms {entry['useful_tflops']:7.1f} TF/s"
                     if entry["right"] else f"{name} WRONG ({entry['row_error']:.2e} > {entry['row_error_limit']:.2e})")
    print(f"{record['m']}x{record['n']}x{record['k']} b={record['block']:<4d} d={record['density']:.3f}  "
          + "  ".join(cells) + f"  [{record['choice']['source']}: {record['choice']['config']}]", flush=True)
    for name, note in record["notes"].items():
        print(f"    {name}: {note}", flush=True)


def driver_version():
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    return subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip().splitlines()[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--db", help="the tuning database")
    parser.add_argument("--cache-dir")
    parser.add_argument("--out", help="JSON file to write")
    parser.add_argument("--shape", action="append", help="M,N,K (repeatable; default 8192,8192,8192)")
    parser.add_argument("--block", default="16,32,64,128")
    parser.add_argument("--sparsity", type=float, default=0.9)
    parser.add_argument("--dtype", choices=DTYPES, default="f16")
    parser.add_argument("--pattern", help=".smtx file: each nonzero is one block")
    parser.add_argument("--n", type=int, default=4096, help="columns of B with --pattern")
    parser.add_argument("--samples", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tune-triton", action="store_true", help="let torch tune its kernel first (minutes)")
    parser.add_argument("--no-triton", action="store_true")
    parser.add_argument("--commit", default="unknown", help="of the checkout, for the record")
    args = parser.parse_args()

    context = triage.Context(db_path=args.db, cache_dir=args.cache_dir)
    l2 = torch.cuda.get_device_properties(0).L2_cache_size
    flush = torch.zeros(max(256 << 20, 4 * l2) // 4, dtype=torch.int32, device="cuda")
    records = []
    for block in (int(x) for x in args.block.split(",")):
        if args.pattern:
            rows, cols, row_ptr, col_idx = read_smtx(args.pattern)
            cases = [((rows * block, args.n, cols * block), (row_ptr, col_idx))]
        else:
            cases = [(tuple(int(x) for x in shape.split(",")), None) for shape in args.shape or ["8192,8192,8192"]]
        for shape, pattern in cases:
            records.append(run_case(context, args, shape, block, pattern, flush))
            print_record(records[-1])
    if args.out:
        properties = torch.cuda.get_device_properties(0)
        document = {"schema": 1, "what": "bsr_gemm against torch", "device": properties.name,
                    "driver": driver_version(), "toolkit": torch.version.cuda, "torch": torch.__version__,
                    "commit": args.commit, "date": datetime.date.today().isoformat(),
                    "protocol": f"cold L2, one launch between events, {args.samples} samples interleaved, median "
                                "and 95 % interval; whole result and float64 rows verified before and after",
                    "rows": records}
        pathlib.Path(args.out).write_text(json.dumps(document, indent=1) + "\n")
    return 0 if all(entry["right"] for record in records for entry in [record["peers"]["triage"]]) else 70


if __name__ == "__main__":
    sys.exit(main())
