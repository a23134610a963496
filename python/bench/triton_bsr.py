"""PyTorch's Triton kernel for BSR x dense as a peer: torch.sparse._triton_ops.bsr_dense_addmm, tuned.

torch's own tuner (tune_bsr_dense_addmm) walks from one start, one compilation after the other: 37 to 118 s
for each problem on an H200. This one turns the same four knobs of the same kernel through the same public
argument (meta: SPLIT_N, GROUP_SIZE_ROW, num_stages, num_warps; allow_tf32 is set by bsr_dense_addmm itself
and means nothing for f16) over a whole grid around what torch's tuner visits, with the compilations done
beforehand by all cores into one TRITON_CACHE_DIR, and times with a cold L2, as the comparison does.
compare.py --official-tuner runs torch's tuner as well, as a contestant of its own: the better one counts.

What a compiled kernel depends on: the block, the tile's width N / SPLIT_N, GROUP_SIZE_ROW, stages, warps, and
of each integer argument only whether it is 1 or a multiple of 16. Of these arguments two change from problem
to problem: the number of blocks and of block rows + 1 (strides of a batch of one, hence never used). SPLIT_N
is a constant of the kernel that its body never reads: the binaries for SPLIT_N = 1 and 32 are the same bytes
(tests/bench/test_triton_bsr.py), so the kernel is given 1 and the wrapper the true one, and problems of every
N share one compilation.
"""
import concurrent.futures
import concurrent.futures.process
import ctypes
import multiprocessing
import os
import signal
import time

SMEM_BYTES_MAX = 232448  # sm_90, a CTA
GROUPS_FIRST, GROUPS_MORE = (1, 4), (2, 3, 8)
BEST_SHAPES = 10   # tiles that are tried with GROUPS_MORE
FINALISTS = 6      # configurations timed on the whole problem
FINAL_SAMPLES = 7
SLICE_FLOP = 1.5e11  # a problem with more useful work is screened on a part of its rows


class Meta(dict):
    """What bsr_dense_addmm takes as meta: it asks get() for SPLIT_N, and hands the items to the kernel."""

    def __init__(self, split_n, group, stages, warps):
        super().__init__(SPLIT_N=1, GROUP_SIZE_ROW=group, num_stages=stages, num_warps=warps)
        self.split_n = split_n

    def get(self, key, default=None):
        return self.split_n if key == "SPLIT_N" else super().get(key, default)

    def plain(self):
        return dict(self, SPLIT_N=self.split_n)


def tiles(block, n):
    """(width, stages, warps) that are worth a try: 8 to 128 sums a thread, as every entry of torch's tables."""
    widths = {16: (64, 128, 256, 512), 32: (64, 128, 256, 512), 64: (64, 128, 256, 512), 128: (64, 128, 256)}
    found = []
    for width in (16, 32) + widths.get(block, (64, 128, 256)):
        if n % width or width > n or (width < 64 and n > 16 * width):
            continue
        for warps in (1, 2, 4, 8):
            sums = block * width // (32 * warps)
            if sums > 128 or (sums < 8 and warps > 1):
                continue
            stage_bytes = (block * block + block * width) * 2
            for stages in (1, 2, 3, 4, 5):
                if stages == 1 or (stages - 1) * stage_bytes <= SMEM_BYTES_MAX:
                    found.append((width, stages, warps))
    return found


def default_config(block, n):
    """What the kernel runs with when nobody tunes it (bsr_dense_addmm_meta on a GPU without a table)."""
    return (n // max(n // block, 1), 4, 1, 4)


def configs(block, n, groups):
    """(width, group, stages, warps)"""
    found = [(width, group, stages, warps) for width, stages, warps in tiles(block, n) for group in groups]
    return found + [config for config in (default_config(block, n),) if config not in found]


def meta_of(config, n):
    width, group, stages, warps = config
    return Meta(n // width, group, stages, warps)


def argument_class(nnzb, block_rows):
    """What Triton's cache key knows of a problem beside its block and configuration."""
    return nnzb % 16 == 0, (block_rows + 1) % 16 == 0


def classes_of(spec):
    """Those that a search of a case with evenly dealt blocks may ask for: its own, and those of the part that is screened."""
    rows, cols = spec.m // spec.block, spec.k // spec.block
    nnzb = round((1 - spec.sparsity) * rows * cols)
    found = {argument_class(nnzb, rows)}
    if 2.0 * nnzb * spec.block ** 2 * spec.n > SLICE_FLOP:
        found |= {(True, False), (False, False)}
    return sorted(found)


# ---- compiling, in processes that never touch a GPU ---------------------------------------------------


class _Target:
    """Stands in for Triton's driver in a process that only compiles."""

    def __init__(self, capability):
        from triton.backends.compiler import GPUTarget
        self.target = GPUTarget("cuda", capability, 32)

    def get_current_target(self):
        return self.target

    def get_current_device(self):
        return 0

    def get_current_stream(self, _device):
        return 0


class _Compiler:
    """In the place of the kernel: compiles where the real one would be launched."""

    def __init__(self, kernel):
        self.kernel, self.made = kernel, None

    def __getitem__(self, grid):
        def call(*args, **kwargs):
            self.made = self.kernel.warmup(*args, grid=grid, **kwargs)
        return call


_worker = None


def _open_worker(capability):
    """torch's module defines its kernels only where it finds a GPU: it is told that there is one."""
    global _worker
    if _worker is None:
        import torch.utils._triton
        torch.utils._triton.has_triton = lambda: True
        from triton.runtime import driver
        driver.set_active(_Target(capability))
        from torch.sparse import _triton_ops
        _worker = _Compiler(_triton_ops._bsr_strided_addmm_kernel)
        _triton_ops._bsr_strided_addmm_kernel = _worker
    return _worker


def small_bsr(block, dtype, of_class):
    """A matrix on the CPU whose arguments are of that class."""
    import torch
    rows, nnzb = 15 if of_class[1] else 4, 32 if of_class[0] else 33
    cols = 16
    mask = (torch.arange(rows * cols) < nnzb).view(rows, cols)
    row_ptr = torch.zeros(rows + 1, dtype=torch.int32)
    row_ptr[1:] = mask.sum(1).cumsum(0)
    values = torch.zeros(nnzb, block, block, dtype=dtype)
    return torch.sparse_bsr_tensor(row_ptr, mask.nonzero()[:, 1].to(torch.int32), values,
                                   size=(rows * block, cols * block), check_invariants=True)


def compile_one(job):
    """(job, shared memory bytes or the reason for a failure). job: (capability, dtype name, block, class, config)"""
    capability, dtype_name, block, of_class, config = job
    import torch
    torch.set_num_threads(1)
    worker = _open_worker(capability)
    from torch.sparse import _triton_ops
    dtype = getattr(torch, dtype_name)
    bsr = small_bsr(block, dtype, of_class)
    n = config[0] * 2
    dense = torch.zeros(bsr.shape[1], n, dtype=dtype)
    out = torch.zeros(bsr.shape[0], n, dtype=dtype)
    try:
        _triton_ops.bsr_dense_addmm(out, bsr, dense, beta=0, alpha=1, out=out, meta=meta_of(config, n))
        return job, worker.made.metadata.shared
    except Exception as error:  # a configuration that does not compile is not in the race
        return job, str(error).splitlines()[0][:160] if str(error) else type(error).__name__


def _die_with_parent():
    """A compiling process must not outlive a crash of the program: it would hold its output open for ever."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _nothing():
    return os.getpid()


class Factory:
    """Processes that compile. Make it before anything touches the GPU: they are forked."""

    def __init__(self, jobs, capability=90):
        import triton  # noqa: F401
        import torch  # noqa: F401  here once rather than in each process: it takes seconds
        os.environ.setdefault("TRITON_CACHE_DIR", os.path.expanduser("~/.triton/cache"))
        self.capability, self.done, self.seconds, self.lost = capability, {}, 0.0, False
        self.pool = concurrent.futures.ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("fork"),
                                                           initializer=_die_with_parent)
        self.pool.submit(_nothing).result()

    def jobs_for(self, block, n, dtype_name, of_class, groups=GROUPS_FIRST + GROUPS_MORE):
        return [(self.capability, dtype_name, block, of_class, config) for config in configs(block, n, groups)]

    def compile(self, jobs):
        """Each job once. Returns how many are new."""
        new = [] if self.lost else [job for job in dict.fromkeys(jobs) if job not in self.done]
        start = time.time()
        # The slow ones first, so that none is left alone at the end.
        new.sort(key=lambda job: -job[2] * job[4][0] / job[4][3])
        try:
            for job, result in self.pool.map(compile_one, new, chunksize=2):
                self.done[job] = result
        except concurrent.futures.process.BrokenProcessPool as error:
            # Triton compiles what is missing when it is called: slower, and no other result.
            print(f"    a compiling process was lost ({error}); the rest is compiled one by one", flush=True)
            self.lost = True
        self.seconds += time.time() - start
        return len(new)

    def usable(self, block, dtype_name, of_class, config):
        made = self.done.get((self.capability, dtype_name, block, of_class, config))
        return made is None or (isinstance(made, int) and made <= SMEM_BYTES_MAX)

    def close(self):
        """At once: nobody waits for what is still compiling."""
        processes = list((getattr(self.pool, "_processes", None) or {}).values())
        self.pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.kill()


# ---- the search ---------------------------------------------------------------------------------------------


def call_of(bsr, b, out, meta):
    from torch.sparse import _triton_ops
    return lambda: _triton_ops.bsr_dense_addmm(out, bsr, b, beta=0, alpha=1, out=out, meta=meta)


def first_rows(bsr, flop):
    """bsr, or so many of its first block rows (a multiple of 16) that the work is about SLICE_FLOP."""
    import torch
    if flop <= SLICE_FLOP:
        return bsr
    row_ptr, values = bsr.crow_indices(), bsr.values()
    count = max(16, int((row_ptr.numel() - 1) * SLICE_FLOP / flop) // 16 * 16)
    end = int(row_ptr[count])
    return torch.sparse_bsr_tensor(row_ptr[: count + 1].clone(), bsr.col_indices()[:end].clone(), values[:end].clone(),
                                   size=(count * values.shape[1], bsr.shape[1]), check_invariants=True)


class Search:
    """The best configuration for one problem. watch: compare.Stopwatch."""

    def __init__(self, bsr, b, out, watch, factory=None):
        self.bsr, self.b, self.out, self.watch, self.factory = bsr, b, out, watch, factory
        self.block, self.n = bsr.values().shape[1], b.shape[1]
        self.dtype_name = str(b.dtype).removeprefix("torch.")
        self.tried, self.failed, self.reason = 0, 0, ""

    def _usable(self, config):
        bsr = self.bsr
        of_class = argument_class(bsr.values().shape[0], bsr.crow_indices().numel() - 1)
        return not self.factory or self.factory.usable(self.block, self.dtype_name, of_class, config)

    def _median(self, bsr, out, config, samples):
        call = call_of(bsr, self.b, out, meta_of(config, self.n))
        self.tried += 1
        try:
            call()
            return sorted(self.watch.sample(call) for _ in range(samples))[samples // 2]
        except Exception as error:  # out of resources: not in the race, but counted
            self.failed += 1
            self.reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
            return float("inf")

    def _rank(self, bsr, out, candidates, samples):
        """[(ms, config)], fastest first, without those that failed."""
        timed = [(self._median(bsr, out, config, samples), config) for config in candidates if self._usable(config)]
        return sorted(item for item in timed if item[0] < float("inf"))

    def run(self):
        """(meta, what was done); RuntimeError when no configuration runs."""
        start = time.time()
        values = self.bsr.values()
        part = first_rows(self.bsr, 2.0 * values.numel() * self.n)
        part_out = self.out[: part.shape[0]]
        ranked = self._rank(part, part_out, configs(self.block, self.n, GROUPS_FIRST), 1)
        best_tiles = list(dict.fromkeys((c[0], c[2], c[3]) for _, c in ranked))[:BEST_SHAPES]
        more = [(width, group, stages, warps) for width, stages, warps in best_tiles for group in GROUPS_MORE]
        ranked = sorted(ranked + self._rank(part, part_out, more, 1))
        finals = self._rank(self.bsr, self.out, [config for _, config in ranked[:FINALISTS]], FINAL_SAMPLES)
        if not finals:
            raise RuntimeError(f"no configuration of the Triton kernel runs: {self.reason}")
        meta = meta_of(finals[0][1], self.n)
        return meta, {"meta": meta.plain(), "timings": self.tried, "failed": self.failed,
                      "seconds": time.time() - start, "screened_rows": part.shape[0]}
