#!/usr/bin/env python3
"""triage's attention against its peers, in one process on the same tensors: verified, cold L2, interleaved.

    python3 python/bench/attention.py --db triage.db --out attention.json [--set grid,special,...] [--only REGEX]
            [--peers fa4,cudnn,flash,flex] [--fa4-site DIR] [--samples 15] [--time-limit 540] [--commit HASH]
            [--data-dir DIR] [--dry-run]

The cases: python/bench/attention_cases.py, which also says (--check) what must hold of the results. triage runs what it was
tuned for (triage_tune --from the file that attention_cases.py --shapes writes, into the same --db). Peers: FlashAttention-4
(--fa4-site: a folder with its packages, unpacked; it compiles for each case, so that --jobs processes do it first), cuDNN and
FlashAttention-2 through torch's scaled_dot_product_attention, torch's FlexAttention. Who refuses a case is named in its notes.

Every result is held against float64 on sampled rows of sampled heads, and against the plain kernel's error there: at most twice,
with the floors of src/op/attention/run.c; before it is timed and after. What is wrong has no time. Every call allocates its
result: the memory that it will get is filled with NaN before a result that is looked at. The file --out is whole after every
case; started again, the program goes on where it stopped. Exit code 0: everything is done, 75: something is left, 70: triage
was wrong.
"""
import argparse
import gc
import json
import math
import os
import pathlib
import re
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]
import attention_cases  # noqa: E402

LEFT, WRONG = 75, 70
PEERS = ("fa4", "cudnn", "flash", "flex")
DEVICE = "cuda"  # "cpu" in tests/bench, where triage runs on the host
HEADS_CHECKED, ROWS_CHECKED = 12, 24


# ---- inputs -----------------------------------------------------------------------------------------------------


class Inputs:
    """q, k, v as [batch, heads, rows, d], rows of all heads together; of sequences one after another [rows, heads, d]."""

    def __init__(self, case, seed=1):
        import torch
        self.case = case
        self.dtype = {"bf16": torch.bfloat16, "f16": torch.float16, "f32": torch.float32,
                      "e4m3": torch.float8_e4m3fn}[case.dtype]
        self.out_dtype = torch.bfloat16 if case.dtype == "e4m3" else self.dtype
        generator = torch.Generator(DEVICE).manual_seed(seed)

        def draw(rows, heads, d):
            sizes = (sum(case.lengths), heads, d) if case.lengths else (case.batch, rows, heads, d)
            made = torch.randn(sizes, device=DEVICE, generator=generator).to(self.dtype)
            return made if case.lengths else made.transpose(1, 2)

        self.q = draw(case.sq, case.heads[0], case.d)
        self.k, self.v = draw(case.sk, case.heads[1], case.d), draw(case.sk, case.heads[1], case.head_dim_v)
        self.offsets = torch.tensor([0, *case.lengths], device=DEVICE).cumsum(0).to(torch.int32) if case.lengths else None
        self.blocks = self._blocks(torch) if case.block else None
        self.pages = self._pages(torch, generator) if case.page else None

    def _blocks(self, torch):
        """[lists, rows of blocks, columns of blocks] bool."""
        rows, cols = attention_cases.blocks_of(self.case)
        seen = torch.zeros(self.case.list_heads, rows, cols, dtype=torch.bool)
        for head in range(self.case.list_heads):
            row_ptr, columns = attention_cases.pattern_of(self.case, head)
            lengths = torch.tensor(row_ptr).diff()
            seen[head, torch.repeat_interleave(torch.arange(rows), lengths), torch.tensor(columns)] = True
        return seen.to(DEVICE)

    def _pages(self, torch, generator):
        """(K in pages, V in pages, page table), pages in a random order."""
        case = self.case
        count = case.sk // case.page
        order = torch.randperm(case.batch * count, device=DEVICE, generator=generator)

        def paged(tensor):
            pool = torch.empty(case.batch * count, case.page, case.heads[1], tensor.shape[-1], device=DEVICE, dtype=self.dtype)
            pool[order] = tensor.transpose(1, 2).reshape(pool.shape)
            return pool.transpose(1, 2)

        return paged(self.k), paged(self.v), order.view(case.batch, count).to(torch.int32)

    def head(self, b, h):
        """(q, k, v) of one q head of one sequence: [rows, d]."""
        kv = h // (self.case.heads[0] // self.case.heads[1])
        if self.offsets is None:
            return self.q[b, h], self.k[b, kv], self.v[b, kv]
        rows = slice(int(self.offsets[b]), int(self.offsets[b + 1]))
        return self.q[rows, h], self.k[rows, kv], self.v[rows, kv]

    def head_of(self, o, b, h):
        if self.offsets is None:
            return o[b, h]
        return o[int(self.offsets[b]):int(self.offsets[b + 1]), h]

    def visible(self, h, rows, keys, queries):
        """[rows, keys] bool."""
        import torch
        seen = torch.ones(len(rows), keys, dtype=torch.bool, device=DEVICE)
        if self.blocks is not None:
            of = self.blocks[h if self.case.lists == "q" else 0]
            seen &= of[rows // self.case.block[0]].repeat_interleave(self.case.block[1], 1)[:, :keys]
        if self.case.mask == "causal":
            seen &= torch.arange(keys, device=DEVICE)[None] <= rows[:, None] + keys - queries
        return seen


# ---- the gate ----------------------------------------------------------------------------------------------------


class Gate:
    """What O has to be on the rows that are looked at, and how exact."""

    UNIT = {"f32": 2.0 ** -24, "f16": 2.0 ** -11, "bf16": 2.0 ** -8, "e4m3": 2.0 ** -4}

    def __init__(self, inputs):
        import torch
        self.inputs, case = inputs, inputs.case
        torch.backends.cuda.matmul.allow_tf32 = False
        self.unit = self.UNIT["bf16" if case.dtype == "e4m3" else case.dtype]
        draw = torch.Generator().manual_seed(2)
        places = torch.randperm(case.batch * case.heads[0], generator=draw)[:HEADS_CHECKED].tolist()
        self.expected, worst = [], [0.0, 0.0]
        for place in sorted({0, case.batch * case.heads[0] - 1, *places}):
            b, h = divmod(place, case.heads[0])
            q, k, v = inputs.head(b, h)
            if not len(q):
                continue
            rows = torch.randint(0, len(q), (ROWS_CHECKED,), generator=draw).tolist()
            rows = torch.tensor(sorted({0, len(q) - 1, *rows}), device=DEVICE)
            seen = inputs.visible(h, rows, len(k), len(q))
            exact = self._row(torch, q[rows], k, v, seen, torch.float64, None)
            plain = self._row(torch, q[rows], k, v, seen, torch.float32, inputs.dtype).to(inputs.out_dtype)
            worst = [max(a, b) for a, b in zip(worst, self._errors(plain, exact))]
            self.expected.append((b, h, rows, exact))
        self.limits = [2 * max(error, floor) for error, floor in zip(worst, self._floors())]

    def _row(self, torch, q, k, v, seen, precision, weights):
        """weights: what they are rounded to before they meet V; None: not at all."""
        scores = (q.to(precision) @ k.to(precision).T) / math.sqrt(self.inputs.case.d)
        scores = scores.masked_fill(~seen, -math.inf)
        weight = torch.exp(scores - scores.amax(-1, keepdim=True))
        total = weight.sum(-1, keepdim=True)
        if weights is not None:
            weight = weight.to(weights).to(precision)
        return (weight @ v.to(precision)) / total

    def _floors(self):
        """Two thirds of what any right kernel may err by: src/op/attention/run.c derives it."""
        case, v = self.inputs.case, 2.0 ** -24
        w = 0 if case.dtype == "f32" else self.UNIT[case.dtype]
        terms = math.sqrt(case.sk)
        score = 12 * v * (4 + math.sqrt(case.d)) + (8 * 35 * 2.0 ** -13 / 3 if case.dtype == "e4m3" else 0)
        element = 1 + (3.5 * w + (8 + 2.5 * terms) * v + 2 * score) / self.unit
        mean = 0.6 * math.hypot(self.unit, w) + (8 + 0.41 * terms) * v + score
        row = min(self.unit * element, mean * (1 + 6 / math.sqrt(case.head_dim_v)))
        return row * 2 / 3, element * 2 / 3

    def _errors(self, got, exact):
        """(of the worst row, of the worst element in units of the type)"""
        off, norm = (got.double() - exact).abs(), exact.norm(dim=1).clamp_min(1e-30)
        rms = norm[:, None] / math.sqrt(exact.shape[1])
        return (off.norm(dim=1) / norm).max().item(), (off / (self.unit * (exact.abs() + rms))).max().item()

    def __call__(self, o):
        """(right, row error)"""
        import torch
        worst = [0.0, 0.0]
        for b, h, rows, exact in self.expected:
            worst = [max(a, b) for a, b in zip(worst, self._errors(self.inputs.head_of(o, b, h)[rows], exact))]
        whole = bool(torch.isfinite(o).all())
        return whole and all(error <= limit for error, limit in zip(worst, self.limits)), worst[0]


# ---- contestants -------------------------------------------------------------------------------------------------


def triage_call(x):
    import torch
    import triage_kernels as tk
    case, causal = x.case, x.case.mask == "causal"
    if case.lengths:
        longest = max(case.lengths)
        return lambda: tk.attention_varlen(x.q, x.k, x.v, x.offsets, x.offsets, longest, longest, causal=causal)
    if case.page:
        k, v, table = x.pages
        used = torch.full((case.batch,), case.sk, dtype=torch.int32, device=DEVICE)
        return lambda: tk.attention_kvcache(x.q, k, v, used, table)
    if case.block:
        count, cols = lists_of(x.blocks[None])
        mask = tk.BlockMask(tuple(case.block), count, cols, density=x.blocks.float().mean().item())
        return lambda: tk.attention(x.q, x.k, x.v, causal=causal, block_mask=mask)
    return lambda: tk.attention(x.q, x.k, x.v, causal=causal)


def lists_of(blocks):
    """(count, columns first) int32 of [..., rows, columns] bool."""
    import torch
    count = blocks.sum(-1).to(torch.int32)
    columns = torch.sort(blocks.to(torch.int8), dim=-1, descending=True, stable=True).indices.to(torch.int32)
    return count.contiguous(), columns[..., :max(1, int(count.max()))].contiguous()


def refuse_unless(condition, what):
    if not condition:
        raise NotImplementedError(what)


def sdpa_call(x, backend):
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.nn.functional import scaled_dot_product_attention
    case = x.case
    refuse_unless(not case.lengths and not case.block and not case.page and case.dtype != "e4m3", "dense 16-bit only")
    grouped, causal, which = case.heads[0] != case.heads[1], case.mask == "causal", getattr(SDPBackend, backend)

    def call():
        with sdpa_kernel(which):
            return scaled_dot_product_attention(x.q, x.k, x.v, is_causal=causal, enable_gqa=grouped)

    return call


def fa4_call(x):
    from flash_attn.cute import flash_attn_func, flash_attn_varlen_func
    case, causal = x.case, x.case.mask == "causal"
    refuse_unless(not case.page and case.dtype != "e4m3", "no pages of this size, no 8-bit floats here")
    if case.lengths:
        longest = max(case.lengths)
        return lambda: first_of(flash_attn_varlen_func(x.q, x.k, x.v, cu_seqlens_q=x.offsets, cu_seqlens_k=x.offsets,
                                                       max_seqlen_q=longest, max_seqlen_k=longest, causal=causal))
    q, k, v = (t.transpose(1, 2) for t in (x.q, x.k, x.v))
    more = {}
    if case.block:
        refuse_unless(not causal, "causal and blocks together need a mask of elements")
        more["block_sparse_tensors"] = fa4_lists(x)
    return lambda: first_of(flash_attn_func(q, k, v, causal=causal, **more)).transpose(1, 2)


def fa4_lists(x):
    import torch
    from flash_attn.cute.block_sparsity import BlockSparseTensorsTorch
    full = x.blocks[None].expand(x.case.batch, -1, -1, -1)
    count, cols = lists_of(full.expand(-1, x.case.heads[0], -1, -1))
    return BlockSparseTensorsTorch(torch.zeros_like(count), torch.zeros_like(cols), count, cols, block_size=tuple(x.case.block))


def first_of(result):
    return result[0] if isinstance(result, tuple) else result


def flex_call(x):
    import torch
    from torch.nn.attention import flex_attention as flex
    case = x.case
    refuse_unless(not case.lengths and not case.page and case.dtype != "e4m3", "dense and blocks of 16-bit types only")
    mask = None
    if case.block:
        refuse_unless(case.mask != "causal", "causal and blocks together need a mask of elements")
        count, cols = lists_of(x.blocks[None])
        mask = flex.BlockMask.from_kv_blocks(torch.zeros_like(count), torch.zeros_like(cols), count, cols,
                                             BLOCK_SIZE=tuple(case.block))
    elif case.mask == "causal":
        mask = flex.create_block_mask(lambda b, h, i, j: i >= j, None, None, case.sq, case.sk, device=DEVICE)
    run = torch.compile(flex.flex_attention, dynamic=False)
    return lambda: run(x.q, x.k, x.v, block_mask=mask, enable_gqa=case.heads[0] != case.heads[1])


MAKERS = {"triage": triage_call, "fa4": fa4_call, "cudnn": lambda x: sdpa_call(x, "CUDNN_ATTENTION"),
          "flash": lambda x: sdpa_call(x, "FLASH_ATTENTION"), "math": lambda x: sdpa_call(x, "MATH"), "flex": flex_call}


class Contest:
    """Who takes part, what each computed last, and why somebody does not."""

    def __init__(self, inputs, gate):
        self.inputs, self.gate, self.calls, self.out, self.notes, self.verdicts = inputs, gate, {}, {}, {}, {}

    def add(self, name):
        import clock
        try:
            call = MAKERS[name](self.inputs)

            def run():
                self.out[name] = call()

            run()
            self.poison(name)
            run()
            clock.synchronize()
        except Exception as error:
            self.notes[name] = (str(error).splitlines() or [type(error).__name__])[0][:200]
            clock.synchronize()  # raises when the GPU's context is lost: then nothing more can be measured
            return
        self.look(name)
        if self.verdicts[name][0]:
            self.calls[name] = run
        else:
            self.notes[name] = f"wrong: row error {self.verdicts[name][1]:.2e}, at most {self.gate.limits[0]:.2e}"

    def poison(self, name):
        """The memory that the next result of this size will get."""
        import torch
        size, dtype = self.out[name].numel(), self.out[name].dtype
        self.out[name] = None
        torch.full((size,), math.nan, dtype=dtype, device=DEVICE)

    def look(self, name):
        self.verdicts[name] = self.gate(self.out[name])

    def entry(self, name, times):
        import clock
        right, error = self.verdicts[name]
        if not right:
            return None
        median, low, high = clock.median_interval(times)
        return {"median_ns": median * 1e6, "low_ns": low * 1e6, "high_ns": high * 1e6, "samples": len(times),
                "useful_tflops": attention_cases.flops_of(self.inputs.case) / median / 1e9, "right": True,
                "row_error": error, "row_error_limit": self.gate.limits[0]}


def run_case(case, peers, samples, watch):
    import clock
    inputs = Inputs(case)
    contest = Contest(inputs, Gate(inputs))
    for name in ("triage", *peers):
        contest.add(name)
    times = clock.race(contest.calls, samples, watch, contest.poison, keep=("triage",)) if contest.calls else {}
    for name in times:
        contest.look(name)
    entries = {name: contest.entry(name, times[name]) for name in times}
    mine = entries.pop("triage", None)
    row = {"set": case.set, "name": case.name, "batch": case.batch, "heads_q": case.heads[0], "heads_kv": case.heads[1],
           "sq": case.sq, "sk": case.sk, "d": case.d, "dv": case.head_dim_v, "dtype": case.dtype, "mask": case.mask,
           "block": case.block, "pattern": case.pattern if case.block else None, "page": case.page,
           "useful_flops": attention_cases.flops_of(case), "kv_bytes": attention_cases.kv_bytes_of(case),
           "triage": [mine] if mine else [], "peers": {name: entry for name, entry in entries.items() if entry},
           "notes": contest.notes, "late_samples": watch.late}
    print_row(row)
    return row


def print_row(row):
    cells = [f"{name} {entry['median_ns'] / 1e3:.1f} us {entry['useful_tflops']:.0f}"
             for name, entry in (("triage", row["triage"][0] if row["triage"] else None), *row["peers"].items()) if entry]
    print(f"{row['name']}: " + "  ".join(cells), flush=True)
    for name, note in row["notes"].items():
        print(f"    {name}: {note}", flush=True)


# ---- FlashAttention-4 --------------------------------------------------------------------------------------------


def use_fa4(site):
    """Its packages, and its cache on disk, for this process and those that it starts."""
    if not (pathlib.Path(site) / "flash_attn/cute").is_dir():
        raise SystemExit(f"--fa4-site {site} has no flash_attn/cute")
    paths = [str(site), str(pathlib.Path(site) / "nvidia_cutlass_dsl/dsl_packages")]
    sys.path[:0] = paths
    os.environ["PYTHONPATH"] = os.pathsep.join(paths + [os.environ.get("PYTHONPATH", "")])
    os.environ.setdefault("FLASH_ATTENTION_CUTE_DSL_CACHE_ENABLED", "1")


def compile_fa4(args, cases):
    """In processes of their own, into the cache: one compiles for ten seconds and more."""
    waiting, running, start = list(cases), [], time.time()
    while waiting or running:
        running = [process for process in running if process.poll() is None]
        if waiting and len(running) < args.jobs:
            command = [sys.executable, __file__, "--compile-fa4", waiting.pop().name]
            running.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        else:
            time.sleep(0.2)
    print(f"FlashAttention-4 compiled for {len(cases)} cases in {time.time() - start:.0f} s", flush=True)


# ---- all of it -----------------------------------------------------------------------------------------------------


def seconds_of(case, peers):
    """A guess: the float64 rows and the inputs, and the samples."""
    return 2 + 1.5 * len(peers) + attention_cases.flops_of(case) * (1 + len(peers)) * 30 / 3e14


def load(path):
    return json.loads(pathlib.Path(path).read_text()) if path and os.path.exists(path) else {"rows": []}


def measure(args, cases, peers):
    import clock
    import triage_kernels as tk
    tk.configure(db_path=args.db, cache_dir=args.cache_dir or tk.DEFAULT_CACHE, data_dir=args.data_dir)
    rows, begin = load(args.out)["rows"], time.time()
    done = {row["name"] for row in rows}
    todo = [case for case in cases if case.name not in done]
    if "fa4" in peers and todo:
        compile_fa4(args, [case for case in todo if not case.page and case.dtype != "e4m3"])
    watch = clock.Stopwatch()
    for case in todo:
        if args.time_limit and time.time() - begin + seconds_of(case, peers) > args.time_limit:
            print(f"stopped before {case.name}: it takes about {seconds_of(case, peers):.0f} s", flush=True)
            break
        rows.append(run_case(case, peers, args.samples, watch))
        done.add(case.name)
        write(args, rows)
        gc.collect()
        clock.empty_cache()
    wrong = [row["name"] for row in rows if not row["triage"]]
    left = [case.name for case in cases if case.name not in done]
    attention_cases.check(cases, {row["name"]: row for row in rows})
    print(f"{len(rows)} cases measured, {len(left)} left, triage wrong in {len(wrong)}" + "".join(f"; {n}" for n in wrong))
    return WRONG if wrong else LEFT if left else 0


def write(args, rows):
    import clock
    document = clock.record_of("attention against peers", args.commit, args.samples, rows)
    document["protocol"] = (f"One process, the same tensors; cold L2, one launch between events, up to {args.samples} samples "
                            "interleaved, median and 95 % interval; every result against float64 on sampled rows, before and after.")
    temporary = pathlib.Path(args.out + ".part")
    temporary.write_text(json.dumps(document, indent=1) + "\n")
    temporary.replace(args.out)


def make_parser():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--db", help="the tuning database (default: none, what is shipped)")
    parser.add_argument("--cache-dir", help="compiled kernels of triage (default: that of the programs)")
    parser.add_argument("--data-dir", metavar="DIR", help="templates/ and tuner/ of triage, for a space cut down to one kernel")
    parser.add_argument("--out", help="JSON file to write; what it has already is not measured again")
    parser.add_argument("--set", help=f"of {', '.join(attention_cases.SETS)} (default: all)")
    parser.add_argument("--only", default="", metavar="REGEX", help="cases whose name has this")
    parser.add_argument("--peers", default=",".join(PEERS), help="of fa4, cudnn, flash, flex, or none (default: all)")
    parser.add_argument("--fa4-site", metavar="DIR", help="FlashAttention-4 and what it needs, unpacked (without: not a peer)")
    parser.add_argument("--samples", type=int, default=15, help="timed launches of each, at most (default 15)")
    parser.add_argument("--time-limit", type=float, default=0, help="seconds; a case that would not fit is left; 0: none")
    parser.add_argument("--jobs", type=int, default=8, help="processes that compile FlashAttention-4 (default 8)")
    parser.add_argument("--commit", default="unknown", help="of the checkout, for the record")
    parser.add_argument("--dry-run", action="store_true", help="list the cases; no torch, no GPU")
    parser.add_argument("--compile-fa4", metavar="NAME", help=argparse.SUPPRESS)
    return parser


def peers_of(args):
    peers = [] if args.peers == "none" else args.peers.split(",")
    for peer in peers:
        if peer not in MAKERS or peer == "triage":
            raise SystemExit(f"--peers {peer} is not one of {', '.join(PEERS)}, none")
    return [peer for peer in peers if peer != "fa4" or args.fa4_site]


def main():
    args = make_parser().parse_args()
    if args.fa4_site:
        use_fa4(args.fa4_site)
    cases, peers = attention_cases.load(sets=args.set), peers_of(args)
    if args.compile_fa4:
        fa4_call(Inputs(next(case for case in cases if case.name == args.compile_fa4)))()
        return 0
    cases = [case for case in cases if re.search(args.only, case.name)]
    if args.dry_run:
        for case in cases:
            print(f"{seconds_of(case, peers):6.1f} s  {case.set:8s} {case.name}")
        print(f"{len(cases)} cases, about {sum(seconds_of(case, peers) for case in cases):.0f} s, against {', '.join(peers) or 'nobody'}")
        return 0
    if not args.out:
        raise SystemExit("--out is missing: the JSON file to write")
    return measure(args, cases, peers)


if __name__ == "__main__":
    sys.exit(main())
