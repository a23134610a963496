#!/usr/bin/env python3
"""triage against what PyTorch brings, in one process on the same tensors: verified, cold L2, interleaved.

    python3 python/bench/compare.py --db triage.db --out docs/results/NAME.json
            [--shape M,N,K ...] [--block 16,32,64,128] [--sparsity 0.9] [--dtype f16] [--samples 30]
            [--pattern FILE.smtx --n N] [--tune-triton] [--official-tuner [32,128]] [--cusparse] [--commit HASH]

Peers: dense cuBLAS (torch.matmul on the densified matrix); torch's Triton kernel bsr_dense_addmm as it comes
("triton"), tuned over a whole grid of its parameters ("tuned": --tune-triton, python/bench/triton_bsr.py) and
after torch's own tuner ("official": --official-tuner, minutes); cuSPARSE's BSR and Blocked-ELL (--cusparse).
python/bench/grid.py does this over many problems.

Each result is checked, before and after timing: whole against the plain product (float32 accumulation of the
same inputs, rounded once) and on sampled rows with float64, where it may be at most twice as wrong as the plain
product. A result that fails is printed as WRONG with no time. Useful FLOP = 2 nnzb block_m block_k N, the same
for all. A sample counts only if its launch was enqueued before the GPU came to it: a peer's Python is not timed.
"""
import argparse
import os
import pathlib
import sys
import time
import warnings

import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import cases  # noqa: E402
import cusparse  # noqa: E402
import triage_kernels  # noqa: E402
import triton_bsr  # noqa: E402
from clock import LEAST_SAMPLES, Stopwatch, median_interval, race, record_of, synchronize  # noqa: E402, F401

warnings.filterwarnings("ignore", message=".*beta state.*")
DTYPES = {"f16": torch.float16, "bf16": torch.bfloat16}
DEVICE = "cuda"  # "cpu" in tests/bench, where triage runs on the host
UNIT_ROUNDOFF = {torch.float16: 2.0 ** -11, torch.bfloat16: 2.0 ** -8}


def random_pattern(rows, cols, sparsity, generator):
    """Equal counts a row as evenly as possible, random columns: (row_ptr, col_idx) on the GPU."""
    nnzb = round((1 - sparsity) * rows * cols)
    counts = torch.full((rows,), nnzb // rows, device=DEVICE, dtype=torch.int64)
    counts[: nnzb % rows] += 1
    scores = torch.rand(rows, cols, device=DEVICE, generator=generator)
    rank = scores.argsort(1).argsort(1)
    mask = rank < counts[:, None]
    row_ptr = torch.zeros(rows + 1, dtype=torch.int32, device=DEVICE)
    row_ptr[1:] = counts.cumsum(0)
    return row_ptr, mask.nonzero()[:, 1].to(torch.int32)


def read_pattern(path):
    """(rows, cols, (row_ptr, col_idx) on the GPU) of a .smtx file."""
    rows, cols, *lists = cases.read_smtx(path)
    return rows, cols, tuple(torch.tensor(numbers, dtype=torch.int32, device=DEVICE) for numbers in lists)


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


# ---- one problem -------------------------------------------------------------------------------------------


class Case:
    """The inputs of one problem on the GPU, and what its result has to be."""

    def __init__(self, shape, block, dtype, seed, pattern=None, sparsity=0.9):
        self.m, self.n, self.k = shape
        self.block, self.dtype, self.shape = block, dtype, shape
        generator = torch.Generator(DEVICE).manual_seed(seed)
        rows, cols = self.m // block, self.k // block
        self.row_ptr, self.col_idx = pattern or random_pattern(rows, cols, sparsity, generator)
        self.nnzb = self.col_idx.numel()
        self.values = torch.randn(self.nnzb, block, block, device=DEVICE, generator=generator).to(dtype)
        self.b = torch.randn(self.k, self.n, device=DEVICE, generator=generator).to(dtype)
        self.bsr = torch.sparse_bsr_tensor(self.row_ptr, self.col_idx, self.values, size=(self.m, self.k),
                                           check_invariants=True)
        dense = torch.zeros(rows, block, cols, block, dtype=dtype, device=DEVICE)
        lengths = (self.row_ptr[1:] - self.row_ptr[:-1]).long()
        row_of = torch.repeat_interleave(torch.arange(rows, device=DEVICE), lengths)
        dense.permute(0, 2, 1, 3)[row_of, self.col_idx.long()] = self.values
        self.dense = dense.view(self.m, self.k)
        checked = torch.randperm(self.m, device=DEVICE, generator=generator)[: min(self.m, 128)]
        self.check = Check(self.dense, self.b, checked)
        self.flops = 2.0 * self.nnzb * block * block * self.n

    def empty(self):
        return torch.empty(self.m, self.n, dtype=self.dtype, device=DEVICE)


class Peers:
    """Calls by name, each with its own output; why a peer is not there; what is to be said of it."""

    def __init__(self, case):
        self.case, self.calls, self.out, self.notes, self.about = case, {}, {}, {}, {}

    def add(self, name, make):
        """make(out) returns the call, or (call, what to say). A peer that cannot do the case is named, not hidden."""
        out = self.case.empty()
        try:
            made = make(out)
            call, about = made if isinstance(made, tuple) else (made, None)
            call()
            synchronize()
        except Exception as error:
            self.notes[name] = (str(error).splitlines() or [type(error).__name__])[0][:160]
            synchronize()  # raises when the GPU's context is lost: then nothing more can be measured
            return
        self.calls[name], self.out[name] = call, out
        if about:
            self.about[name] = about

    def poison(self, name):
        self.out[name].fill_(float("nan"))

    def verify(self, name):
        return self.case.check(self.out[name])


def official_call(case, out):
    """torch's own tuner: one compilation after the other."""
    from torch.sparse import _triton_ops
    from torch.sparse._triton_ops_meta import tune_bsr_dense_addmm
    start = time.time()
    meta = tune_bsr_dense_addmm(torch.zeros_like(out), case.bsr, case.b, beta=0, alpha=1, store=False, verbose=False,
                                force=True)
    about = {"meta": dict(meta), "seconds": time.time() - start}
    return lambda: _triton_ops.bsr_dense_addmm(out, case.bsr, case.b, beta=0, alpha=1, out=out, meta=meta), about


def tuned_call(case, out, watch, factory):
    meta, about = triton_bsr.Search(case.bsr, case.b, out, watch, factory).run()
    return triton_bsr.call_of(case.bsr, case.b, out, meta), about


def add_triton(peers, args, watch, factory):
    case = peers.case
    if args.no_triton:
        return
    if not args.no_untuned:
        peers.add("triton", lambda out: triton_bsr.call_of(case.bsr, case.b, out, None))
    if args.tune_triton:
        peers.add("tuned", lambda out: tuned_call(case, out, watch, factory))
    if args.official_tuner and (args.official_tuner == "all" or str(case.block) in args.official_tuner.split(",")):
        peers.add("official", lambda out: official_call(case, out))


def add_peers(peers, args, watch, factory):
    case = peers.case
    if not args.no_dense:
        peers.add("dense", lambda out: lambda: torch.matmul(case.dense, case.b, out=out))
    add_triton(peers, args, watch, factory)
    for form in ("bsr", "ell") if args.cusparse else ():
        peers.add("cusparse-" + form, lambda out, form=form: cusparse.Product(case.bsr, case.b, out, form))


def close_peers(peers):
    for call in peers.calls.values():
        if isinstance(call, cusparse.Product):
            call.close()


def entry_of(case, verdict, times, about):
    right, error, limit = verdict
    entry = {"right": right, "row_error": error, "row_error_limit": limit}
    if right:
        median, low, high = median_interval(times)
        m, n, k = case.shape
        entry.update(median_ns=median * 1e6, low_ns=low * 1e6, high_ns=high * 1e6, samples=len(times),
                     useful_tflops=case.flops / median / 1e9, dense_equivalent_tflops=2.0 * m * n * k / median / 1e9)
    if about:
        entry["tuner"] = about
    return entry


def run_case(args, case, watch, factory=None, pattern_name="random"):
    """The record of one problem. args: of make_parser()."""
    m, n, k = case.shape
    matrix = triage_kernels.BsrMatrix(case.row_ptr, case.col_idx, case.values, k)
    peers = Peers(case)
    peers.add("triage", lambda out: lambda: triage_kernels.bsr_mm(matrix, case.b, out=out))
    if "triage" not in peers.calls:
        raise triage_kernels.TriageError(peers.notes["triage"])
    add_peers(peers, args, watch, factory)
    verdicts = {}
    for name, call in peers.calls.items():
        peers.poison(name)
        call()
        verdicts[name] = peers.verify(name)
    right = {name: peers.calls[name] for name in peers.calls if verdicts[name][0]}
    late = watch.late
    times = race(right, args.samples, watch, peers.poison)
    for name in times:
        verdicts[name] = peers.verify(name)
    record = {"m": m, "n": n, "k": k, "block": case.block, "dtype": args.dtype, "nnzb": case.nnzb,
              "density": case.nnzb * case.block * case.block / (m * k), "pattern": pattern_name,
              "choice": triage_kernels.choice(matrix, case.b, peers.out["triage"]),
              "peers": {name: entry_of(case, verdicts[name], times.get(name), peers.about.get(name))
                        for name in verdicts},
              "notes": peers.notes, "late_samples": watch.late - late}
    close_peers(peers)
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


def make_parser():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--db", help="the tuning database")
    parser.add_argument("--cache-dir", help="compiled kernels of triage (default: that of the programs)")
    parser.add_argument("--out", help="JSON file to write")
    parser.add_argument("--dtype", choices=DTYPES, default="f16", help="of A, B and C (default f16)")
    parser.add_argument("--samples", type=int, default=30, help="timed launches of each, at most (default 30)")
    parser.add_argument("--seed", type=int, default=1, help="of the pattern and the inputs (default 1)")
    parser.add_argument("--tune-triton", action="store_true", help="tune torch's kernel over a whole grid first")
    parser.add_argument("--official-tuner", nargs="?", const="all", metavar="BLOCKS",
                        help="torch's own tuner as well (1 to 2 minutes a problem), for these block sizes only")
    parser.add_argument("--cusparse", action="store_true", help="cuSPARSE's BSR and Blocked-ELL as well")
    parser.add_argument("--no-triton", action="store_true", help="no Triton kernel at all")
    parser.add_argument("--no-untuned", action="store_true", help="not the Triton kernel as it comes")
    parser.add_argument("--no-dense", action="store_true", help="not cuBLAS")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="processes that compile")
    parser.add_argument("--commit", default="unknown", help="of the checkout, for the record")
    return parser


def configure(args):
    """The database of the record; what triage_tune and triage_bench compiled is not compiled again."""
    triage_kernels.configure(db_path=args.db, cache_dir=args.cache_dir or triage_kernels.DEFAULT_CACHE,
                             data_dir=getattr(args, "data_dir", None))


def document_of(what, args, rows):
    return record_of(what, args.commit, args.samples, rows)


def problems_of(args, block):
    """[(shape, pattern)]"""
    if not args.pattern:
        return [(cases.shape_of(shape), None) for shape in args.shape or ["8192,8192,8192"]]
    rows, cols, pattern = read_pattern(args.pattern)
    return [((rows * block, args.n, cols * block), pattern)]


def main():
    parser = make_parser()
    parser.add_argument("--shape", action="append", help="M,N,K (repeatable; default 8192,8192,8192)")
    parser.add_argument("--block", default="16,32,64,128", help="sizes, each a run (default 16,32,64,128)")
    parser.add_argument("--sparsity", type=float, default=0.9, help="share of A's blocks not stored (default 0.9)")
    parser.add_argument("--pattern", help=".smtx file: each nonzero is one block")
    parser.add_argument("--n", type=int, default=4096, help="columns of B with --pattern (default 4096)")
    args = parser.parse_args()
    factory = triton_bsr.Factory(args.jobs) if args.tune_triton else None  # before the GPU is touched
    configure(args)
    watch = Stopwatch()
    records = []
    for block in cases.numbers("--block", args.block, int):
        for shape, pattern in problems_of(args, block):
            case = Case(shape, block, DTYPES[args.dtype], args.seed, pattern, args.sparsity)
            if factory:
                prepare_triton(factory, case)
            records.append(run_case(args, case, watch, factory, args.pattern or "random"))
            print_record(records[-1])
            if args.out:
                cases.write_json(args.out, document_of("bsr_gemm against torch", args, records))
    if factory:
        factory.close()
    return 0 if all(record["peers"]["triage"]["right"] for record in records) else 70


def prepare_triton(factory, case):
    """Compiles all that a search of this case may try: for the matrix, and for the part that is screened."""
    name = str(case.dtype).removeprefix("torch.")
    classes = {triton_bsr.argument_class(case.nnzb, case.m // case.block), (True, False), (False, False)}
    start = time.time()
    count = factory.compile([job for of_class in sorted(classes)
                             for job in factory.jobs_for(case.block, case.n, name, of_class)])
    if count:
        print(f"    {count} Triton kernels compiled in {time.time() - start:.1f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
