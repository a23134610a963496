#!/usr/bin/env python3
"""triage, tuned, against every sparse peer and dense cuBLAS over many problems: what must hold, measured.

    python3 python/bench/grid.py --db grid.db --out part1.json --time-limit 540 [--set cubes,layers,dlmc,crossover]
            [--block 16,32,64,128] [--part 1/2] [--layer-sparsity 0.9,0.8] [--patterns tests/data/dlmc/*.smtx]
            [--done EARLIER.json ...] [--dry-run]
    python3 python/bench/grid.py --set few --spread 1 --compile-ahead 3 --tune-largest 6e7 --no-cusparse --db few.db ...
    python3 python/bench/grid.py --merge part1.json part2.json --out docs/results/NAME.json

Sets: cubes (M = N = K of 2048, 4096, 16384 at sparsity 0.5 to 0.98) and layers (C = W X, W of M out-features x K
in-features, N tokens) against torch's Triton kernel tuned over its whole grid, cuSPARSE and dense cuBLAS; dlmc
(really pruned layers, each nonzero one block) against a random pattern with as many blocks, dealt evenly to the
rows; crossover (4096^3, sparsity 0 to 0.99) against dense cuBLAS alone; few (four layers, N from 32 to 2048, three
sparsities, every block that divides: 450 cases) against the peers of cubes. With --spread the cases come in such an order that
a run that ends early has measured a fair sample.

Each case: its pattern goes to triage_tune as a file (--jobs compilers, one database), then python/bench/compare.py's
contest runs here. A C of more than --tune-largest elements is tuned last and with --large-budget candidates: the
default and those that were fastest on the nearest problems, which are in the database by then. With --large-budget 0 it
is not tuned: triage then runs what it was tuned for on the nearest problem. The record says either. The file --out is
whole after every case; started again, the program goes on where it stopped. --time-limit stops it before a case that
would not fit. Exit code 0: everything is done, 75: something is left, 70: a result was not right.

Two GPUs on a machine are two processes, which triage_tune follows; each has its own files and half of the cores:

    CUDA_VISIBLE_DEVICES=0 python3 python/bench/grid.py --part 1/2 --db 1.db --out 1.json --jobs 8 &
    CUDA_VISIBLE_DEVICES=1 python3 python/bench/grid.py --part 2/2 --db 2.db --out 2.json --jobs 8; wait
"""
import argparse
import json
import os
import re
import pathlib
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import cases  # noqa: E402

LEFT, WRONG = 75, 70
START = "TRIAGE_GRID_START"  # of the first process: one that starts itself again keeps its time limit


def specs_of(args):
    blocks = cases.numbers("--block", args.block, int)
    found = []
    for name in args.set.split(","):
        if name not in cases.SETS:
            raise SystemExit(f"--set {name} is not one of {', '.join(cases.SETS)}")
        found += {"cubes": lambda: cases.cubes(blocks),
                  "layers": lambda: cases.layers(blocks, cases.numbers("--layer-sparsity", args.layer_sparsity, float)),
                  "dlmc": lambda: cases.dlmc([b for b in blocks if b <= 32], args.patterns, args.pattern_n),
                  "crossover": lambda: cases.crossover(blocks, args.crossover_size),
                  "few": lambda: cases.few(blocks)}[name]()
    # What is large looks at what is tuned of the smaller ones: it comes last.
    found.sort(key=lambda spec: spec.m * spec.n > args.tune_largest)
    if args.spread is not None:
        found = cases.spread(found, args.spread)
    try:
        found = [spec for spec in found if re.search(args.only, spec.key)]
    except re.error as error:
        raise SystemExit(f"--only {args.only} is no regular expression: {error}")
    if not found:
        raise SystemExit(f"--only {args.only} matches none of the cases; --dry-run lists them")
    return cases.part_of(found, args.part, lambda spec: cost_of(spec, args))[:args.first or None]


def is_large(spec, args):
    return spec.m * spec.n > args.tune_largest


def cost_of(spec, args):
    return cases.seconds(spec, args.tune_largest, args.large_budget)


def budget_of(spec, args):
    """Of triage_tune, candidates; 0: the whole space. None: the case is not tuned."""
    if is_large(spec, args):
        return args.large_budget or None
    return args.tune_budget


def compilations(specs, args):
    import triton_bsr
    return {(spec.block, spec.n): 2 * len(triton_bsr.configs(spec.block, spec.n, triton_bsr.GROUPS_FIRST
                                                             + triton_bsr.GROUPS_MORE))
            for spec in specs if spec.with_peers and not args.no_triton}


def print_plan(specs, args):
    total = sum(cost_of(spec, args) for spec in specs)
    for spec in specs:
        budget = budget_of(spec, args)
        tuned = "nearest" if budget is None else f"{budget} tried" if budget else "tuned"
        print(f"  {cost_of(spec, args):5.1f} s  {tuned:8s}  {spec.key}")
    # Tiles of one width are shared by every N that they divide.
    widest = {}
    for (block, _), count in compilations(specs, args).items():
        widest[block] = max(widest.get(block, 0), count)
    kernels = sum(widest.values())
    print(f"{len(specs)} cases, about {total:.0f} s, and {kernels} Triton kernels or more to compile, about "
          f"{0.5 * kernels / args.jobs:.0f} s with {args.jobs} processes", flush=True)


# ---- measuring -----------------------------------------------------------------------------------------------


def program(args):
    folder = ["--data-dir", args.data_dir] if args.data_dir else []
    cache = ["--cache-dir", args.cache_dir] if args.cache_dir else []
    return [str(pathlib.Path(args.bin) / "triage_tune"), *folder, *cache]


def compile_ahead(args, specs):
    """What the cases will run, on both sides, with no GPU: each Triton kernel, and triage's of a random pattern as dense."""
    if not args.no_triton:
        import triton_bsr
        factory = triton_bsr.Factory(args.jobs)
        dtype = {"f16": "float16", "bf16": "bfloat16"}[args.dtype]
        count = factory.compile([job for s in specs if s.with_peers for of_class in triton_bsr.classes_of(s)
                                 for job in factory.jobs_for(s.block, s.n, dtype, of_class)])
        factory.close()
        print(f"{count} Triton kernels", flush=True)
    failed = [s.key for s in specs if budget_of(s, args) is not None and not s.pattern and subprocess.run(
        [*program(args), "--shape", f"{s.m},{s.n},{s.k}", "--sparsity", str(s.sparsity or 0), "--block", str(s.block), "--dtype",
         args.dtype, "--target", "sm_90a", "--compile-only", "--jobs", str(args.jobs), "--quiet"], check=False,
        stdout=subprocess.DEVNULL).returncode]
    print("\n".join(["compiled, but for:", *failed]) if failed else "compiled", flush=True)
    return 0


def tune(args, spec, case, folder, device):
    """What triage_tune said; its failure ends the case."""
    path = pathlib.Path(folder) / "pattern.smtx"
    cases.write_smtx(path, case.k // case.block, case.row_ptr.tolist(), case.col_idx.tolist())
    command = [*program(args), "--pattern", str(path), "--block", str(spec.block),
               "--n", str(spec.n), "--dtype", args.dtype, "--device", device, "--db", args.db,
               "--jobs", str(args.jobs), "--json", "--quiet"]
    command += ["--time-limit", str(args.tune_limit)] if args.tune_limit else []
    budget = budget_of(spec, args)
    command += ["--budget", str(budget)] if budget else []
    start = time.time()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"triage_tune: exit {done.returncode}: {done.stderr.strip()[-300:]}")
    said = json.loads(done.stdout)
    return {"seconds": time.time() - start, "strategy": said["strategy"], "space_size": said["space_size"],
            "candidates": len(said["rows"]), "budget": budget or None,
            "starts_with": said["starts_with"], "out_of_time": said["out_of_time"],
            "known": said["answered_from_store"], "winner": said.get("winner")}


class Bench:
    """Everything that stays over the cases."""

    def __init__(self, args, specs):
        import triton_bsr
        self.args = args
        triton = not args.no_triton and any(spec.with_peers for spec in specs)
        self.factory = triton_bsr.Factory(args.jobs) if triton else None  # before the GPU is touched
        import compare
        self.compare = compare
        self.compiled = 0  # of specs
        self.specs = specs
        if self.factory and not args.compile_ahead:
            self._compile(specs)
        self.watch = compare.Stopwatch()
        self.failures = []

    def _compile(self, specs):
        """For every block and width, all at once: the processes are never idle."""
        import triton_bsr
        jobs, start = [], time.time()
        for spec in specs:
            for of_class in triton_bsr.classes_of(spec) if spec.with_peers else ():
                jobs += self.factory.jobs_for(spec.block, spec.n, self.dtype_name, of_class)
        count = self.factory.compile(jobs)
        failed = sum(not isinstance(made, int) for made in self.factory.done.values())
        print(f"{count} Triton kernels compiled in {time.time() - start:.1f} s, {failed} do not compile", flush=True)

    @property
    def dtype_name(self):
        return {"f16": "float16", "bf16": "bfloat16"}[self.args.dtype]

    def case_of(self, spec):
        compare = self.compare
        pattern = None
        if spec.pattern and not spec.twin:
            path = next(p for p in self.args.patterns if pathlib.Path(p).name == spec.pattern)
            pattern = compare.read_pattern(path)[2]
        return compare.Case((spec.m, spec.n, spec.k), spec.block, compare.DTYPES[self.args.dtype], self.args.seed,
                            pattern, spec.sparsity)

    def make_ready(self, at):
        """Compiles for the case and those after it, unless that is done."""
        if self.factory and self.args.compile_ahead and at >= self.compiled:
            self.compiled = at + self.args.compile_ahead
            self._compile(self.specs[at:self.compiled])

    def _contest_args(self, spec):
        full = spec.with_peers
        return argparse.Namespace(**dict(vars(self.args), tune_triton=full, no_triton=self.args.no_triton or not full,
                                         cusparse=full and (not self.args.no_cusparse or spec.n % 16 != 0), no_dense=False,
                                         no_untuned=True))

    def run(self, spec):
        args, compare = self.args, self.compare
        start = time.time()
        case = self.case_of(spec)
        tuned = None
        if budget_of(spec, args) is not None:
            with tempfile.TemporaryDirectory() as folder:
                tuned = tune(args, spec, case, folder, "cuda" if compare.DEVICE == "cuda" else "host")
        ready = time.time()
        compare.configure(args)
        record = compare.run_case(self._contest_args(spec), case, self.watch, self.factory,
                                  spec.pattern + (" uniform twin" if spec.twin else "") if spec.pattern else "random")
        record.update(key=spec.key, set=spec.set, sparsity=spec.sparsity, tune=tuned,
                      seconds={"before": round(ready - start, 2), "contest": round(time.time() - ready, 2)})
        compare.print_record(record)
        return record

    def close(self):
        if self.factory:
            self.factory.close()

    def gpu_is_lost(self):
        import torch
        if self.compare.DEVICE != "cuda":
            return False
        try:
            torch.cuda.synchronize()
            torch.zeros(1, device="cuda").add_(1).item()
            return False
        except Exception:
            return True


def already(args):
    """(rows, failures, seconds) of --out, and the keys that it and --done have."""
    document = cases.load(args.out) if os.path.exists(args.out) else {"rows": [], "failures": []}
    keys = {item["key"] for path in args.done for item in cases.load(path)["rows"]}
    keys |= {item["key"] for item in document["rows"] + document.get("failures", [])}
    return document["rows"], document.get("failures", []), document.get("measuring_seconds", 0), keys


def measure(args, specs):
    rows, failures, spent, keys = already(args)
    todo = [spec for spec in specs if spec.key not in keys]
    print(f"{len(specs) - len(todo)} cases are done, {len(todo)} to do", flush=True)
    begin = float(os.environ.setdefault(START, repr(time.time())))
    here = time.time()
    if not todo:
        return finish(args, specs, keys)
    bench = Bench(args, todo)

    def write():
        document = bench.compare.document_of("bsr_gemm grid", args, rows)
        document.update(failures=failures, measuring_seconds=spent + time.time() - here)
        cases.write_json(args.out, document)

    for at, spec in enumerate(todo):
        expected = 1.2 * cost_of(spec, args)
        if args.time_limit and time.time() - begin + expected > args.time_limit:
            print(f"stopped before {spec.key}: it takes about {expected:.0f} s", flush=True)
            break
        try:
            bench.make_ready(at)
            rows.append(bench.run(spec))
        except Exception as error:  # the next case may do better; a failure is in the record and in the verdict
            reason = (str(error).splitlines() or [type(error).__name__])[0][:300]
            print(f"{spec.key}: FAILED: {reason}", flush=True)
            failures.append({"key": spec.key, "set": spec.set, "reason": reason})
            if bench.gpu_is_lost():
                write()
                bench.close()
                sys.stdout.flush()
                os.execv(sys.executable, [sys.executable] + sys.argv)
        keys.add(spec.key)
        write()
        free_memory()
    bench.close()
    return finish(args, specs, keys)


def free_memory():
    import gc

    import torch
    gc.collect()
    torch.cuda.empty_cache()


def finish(args, specs, keys):
    """Prints what is known and what is left."""
    left = [spec for spec in specs if spec.key not in keys]
    document = cases.load(args.out) if os.path.exists(args.out) else {"rows": []}
    print("\n".join(cases.summary_lines(document)))
    if left:
        print(f"{len(left)} cases are left, about {sum(cost_of(s, args) for s in left):.0f} s: "
              + "; ".join(spec.key for spec in left))
    wrong = [row["key"] for row in document["rows"] if not row["peers"]["triage"]["right"]]
    if wrong:
        print("triage was WRONG: " + "; ".join(wrong))
    return WRONG if wrong else LEFT if left else 0


def merge(args):
    document = cases.merge([cases.load(path) for path in args.merge])
    cases.write_json(args.out, document)
    print("\n".join(cases.summary_lines(document)))
    return 0


def candidates(text):
    count = int(text) if text.isdecimal() else -1
    if not 0 <= count <= 1000000000:
        raise argparse.ArgumentTypeError(f"{text} is not a number of candidates, 0 to 1000000000")
    return count


def parser():
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    made.add_argument("--out", help="JSON file; what it has already is not measured again")
    made.add_argument("--db", help="the tuning database, made if need be")
    made.add_argument("--set", default="cubes,layers", help="of cubes, layers, dlmc, crossover, few (default cubes,layers)")
    made.add_argument("--block", default="16,32,64,128")
    made.add_argument("--only", default="", metavar="REGEX", help="cases whose name, as --dry-run lists it, has this")
    made.add_argument("--part", default="1/1", help="I/N: the I-th of N parts of about equal duration, by block if that "
                      "makes them so")
    made.add_argument("--spread", type=int, metavar="SEED", help="in such an order that any first part is a fair sample")
    made.add_argument("--compile-ahead", type=int, default=0, metavar="N", help="Triton kernels are compiled for so many "
                      "cases at a time (default: for all)")
    made.add_argument("--layer-sparsity", default="0.9", help="of layers (default 0.9)")
    made.add_argument("--patterns", nargs="+", metavar="FILE.smtx", help="of dlmc (default: tests/data/dlmc)",
                      default=sorted(map(str, (cases.ROOT / "tests/data/dlmc").glob("*.smtx"))))
    made.add_argument("--pattern-n", type=int, default=512, help="columns of B with dlmc")
    made.add_argument("--crossover-size", type=int, default=cases.CROSSOVER_SIZE)
    made.add_argument("--time-limit", type=float, default=0, help="seconds from the start; 0: none")
    made.add_argument("--tune-limit", type=float, default=0, help="--time-limit of each triage_tune; 0: none")
    made.add_argument("--tune-budget", type=int, default=0, help="--budget of each triage_tune, candidates; 0: none")
    made.add_argument("--tune-largest", type=float, default=cases.LARGEST, metavar="ELEMENTS",
                      help="of C; what is larger is tuned last and with --large-budget")
    made.add_argument("--large-budget", type=candidates, default=cases.LARGE_BUDGET, metavar="N",
                      help="candidates of a larger C (default %(default)s); 0: it is not tuned and runs the kernel of "
                      "its nearest tuned problem")
    made.add_argument("--done", nargs="+", default=[], metavar="JSON", help="results whose cases are left out")
    made.add_argument("--merge", nargs="+", metavar="JSON", help="make one file of these, measure nothing")
    made.add_argument("--first", type=int, default=0, metavar="N", help="only the first N of the cases (default: all)")
    made.add_argument("--compile-only", action="store_true", help="compile what the cases will run, on both sides, and "
                      "measure nothing; no GPU needed")
    made.add_argument("--dry-run", action="store_true", help="list the cases and what they cost; no GPU needed")
    made.add_argument("--bin", default=str(cases.ROOT / "build/bin"), help="folder of triage_tune")
    made.add_argument("--data-dir", help="folder of templates/ and tuner/ (default: those built in)")
    made.add_argument("--cache-dir", help="compiled kernels of triage (default: that of the programs)")
    made.add_argument("--dtype", choices=("f16", "bf16"), default="f16", help="of A, B and C (default f16)")
    made.add_argument("--samples", type=int, default=30, help="timed launches of each, at most (default 30)")
    made.add_argument("--seed", type=int, default=1, help="of the pattern and the inputs (default 1)")
    made.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="processes that compile")
    made.add_argument("--no-triton", action="store_true", help="no Triton kernel at all")
    made.add_argument("--no-cusparse", action="store_true", help="not cuSPARSE, unless N is one that "
                      "torch's Triton kernel does not take")
    made.add_argument("--official-tuner", nargs="?", const="all", metavar="BLOCKS",
                      help="torch's own tuner as well (1 to 2 minutes a case), for these block sizes only")
    made.add_argument("--commit", default="unknown", help="of the checkout, for the record")
    return made


def main():
    args = parser().parse_args()
    if args.merge:
        return merge(args) if args.out else sys.exit("--merge needs --out")
    specs = specs_of(args)
    print_plan(specs, args)
    if args.dry_run:
        return 0
    if args.compile_only:
        return compile_ahead(args, specs)
    if not args.out or not args.db:
        sys.exit("--out and --db are needed")
    return measure(args, specs)


if __name__ == "__main__":
    sys.exit(main())
