"""triage_kernels on a GPU: results, gradients, tracing, graphs, streams, what is refused (the context lives on), and leaks.

    python tests/torch/test_cuda.py              skipped without a GPU
    python tests/torch/test_cuda.py --jobs 12    each test in a process of its own, so many at once: most of the time is compiling
"""
import concurrent.futures
import gc
import subprocess
import sys
import unittest

import torch
import torch.nn.functional as F
from torch.nn.attention.flex_attention import create_block_mask

import triage_kernels as tk

ops = torch.ops.triage
ACTIVATIONS = {None: lambda t: t, "relu": F.relu, "gelu": F.gelu, "silu": F.silu}
HALVES = (torch.float16, torch.bfloat16)


def draw(*sizes, dtype=torch.float16, seed=0):
    return torch.randn(*sizes, generator=torch.Generator().manual_seed(seed)).to(dtype).cuda()


def matrix(rows=256, cols=384, block=(64, 64), dtype=torch.float16, density=0.5, seed=1):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(rows // block[0], cols // block[1], generator=generator) < density
    mask[0, 0], mask[-1] = True, False  # a row of blocks without any
    return tk.BsrMatrix.from_dense(draw(rows, cols, dtype=dtype, seed=seed), block, mask)


def exact(q, k, v, seen=None, softcap=None):
    """[.., queries, d] and the log-sum-exp, in float64; seen: which keys, or all."""
    group = q.shape[-3] // k.shape[-3]
    q, k, v = q.double(), *(t.double().repeat_interleave(group, -3) for t in (k, v))
    scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
    if softcap:
        scores = softcap * torch.tanh(scores / softcap)
    if seen is not None:
        scores = scores.masked_fill(~seen, -torch.inf)
    return torch.nan_to_num(scores.softmax(-1)) @ v, scores.logsumexp(-1)


def causal(queries, keys):
    at = torch.arange(max(queries, keys), device="cuda")
    return at[None, :keys] <= at[:queries, None] + keys - queries


@unittest.skipUnless(torch.cuda.is_available(), "no GPU")
class Case(unittest.TestCase):
    UNITS = {torch.float32: 2.0**-16, torch.float16: 2.0**-9, torch.bfloat16: 2.0**-6}

    def near(self, got, want):
        self.assertEqual(got.shape, want.shape)
        finite = torch.isfinite(want)
        self.assertTrue(torch.equal(torch.isfinite(got), finite))
        if got.numel() and bool(finite.any()):
            got, want = got.double()[finite], want.double()[finite]
            scale = want.square().mean().sqrt().clamp_min(1e-30)
            self.assertLessEqual(float(((got - want).abs() / (want.abs() + scale)).max()), self.UNITS[self.dtype])

    def close(self, got, want):
        self.dtype = got.dtype
        self.near(got, want)

    def refused(self, words, call, *arguments, **options):
        with self.assertRaises(tk.TriageError) as caught:
            call(*arguments, **options)
        for word in words if isinstance(words, tuple) else (words,):
            self.assertIn(word, str(caught.exception))


class Products(Case):
    def test_linear_and_mm(self):
        for dtype in HALVES:
            for block in (16, 32, 64, 128) if dtype == torch.float16 else (64,):
                w = matrix(256, 384, (block, block), dtype)
                x, bias = draw(3, 50, 384, dtype=dtype), draw(256, dtype=dtype)
                for name, activation in ACTIVATIONS.items():
                    self.close(tk.linear(x, w, bias, name),
                               activation(x.double() @ w.to_dense().double().T + bias.double()))
                b = draw(384, 40, dtype=dtype)
                self.close(tk.bsr_mm(w, b), w.to_dense().double() @ b.double())
                self.close(tk.bsr_mm(w, b.t().contiguous().t()), w.to_dense().double() @ b.double())

    def test_empty_and_out(self):
        w = matrix()
        self.assertEqual(tk.linear(draw(0, 384), w).shape, (0, 256))
        self.assertEqual(tk.bsr_mm(w, draw(384, 0)).shape, (256, 0))
        out = torch.ones(256, 24, dtype=torch.float16, device="cuda")
        tk.bsr_mm(w, draw(384, 24), alpha=0.5, beta=2, out=out)
        self.close(out, 0.5 * w.to_dense().double() @ draw(384, 24).double() + 2)

    def test_transposed(self):
        for dtype in HALVES:
            for block in ((16, 16), (32, 32), (64, 64), (128, 128), (32, 64), (48, 48)):
                w = matrix(block[0] * 9, block[1] * 7, block, dtype)
                for tokens in (1, 40, 264):
                    grad = draw(tokens, block[0] * 9, dtype=dtype)
                    for op in (ops.bsr_linear_transposed, ops.bsr_linear_grad_x):
                        got = op.default(grad, w.row_ptr, w.col_idx, w.values, w.cols)
                        self.close(got, grad.double() @ w.to_dense().double())

    def test_gradients(self):
        w = matrix(dtype=torch.bfloat16)
        x, bias = draw(7, 384, dtype=torch.bfloat16).requires_grad_(), draw(256, dtype=torch.bfloat16).requires_grad_()
        dense = w.to_dense().double().requires_grad_()
        w.values.requires_grad_()
        out = draw(7, 256, dtype=torch.bfloat16)
        ours = torch.autograd.grad(tk.linear(x, w, bias, "silu"), (x, w.values, bias), out)
        x64, bias64 = x.detach().double().requires_grad_(), bias.detach().double().requires_grad_()
        theirs = torch.autograd.grad(F.silu(x64 @ dense.T + bias64), (x64, dense, bias64), out.double())
        mask = tk.BsrMatrix(w.row_ptr, w.col_idx, torch.ones_like(w.values), 384).to_dense()
        self.UNITS = {torch.bfloat16: 2.0**-5}  # three roundings one after another
        self.close(ours[0], theirs[0])
        self.close(tk.BsrMatrix(w.row_ptr, w.col_idx, ours[1], 384).to_dense(), theirs[1] * mask)
        self.close(ours[2], theirs[2])


class Attention(Case):
    def test_masks_types_and_heads(self):
        for d, dv, dtype in ((64, 64, torch.float16), (128, 128, torch.bfloat16), (192, 128, torch.bfloat16), (40, 72, torch.float16)):
            q, k, v = (draw(2, 4, 129, d, dtype=dtype), draw(2, 2, 200, d, dtype=dtype, seed=1),
                       draw(2, 2, 200, dv, dtype=dtype, seed=2))
            at, keys = torch.arange(129, device="cuda")[:, None] + 71, torch.arange(200, device="cuda")[None]
            for options, seen in (({}, None), ({"causal": True}, causal(129, 200)),
                                  ({"window": (50, 2)}, (keys >= at - 50) & (keys <= at + 2))):
                o, lse = tk.attention(q, k, v, return_lse=True, **options)
                want = exact(q, k, v, seen)
                self.close(o, want[0])
                self.close(lse, want[1])
        self.close(tk.attention(q, k, v, softcap=2.0), exact(q, k, v, softcap=2.0)[0])

    def test_layouts(self):
        packed = draw(2, 100, 3, 4, 64)  # rows hold their heads, and Q, K and V lie side by side
        q, k, v = packed.unbind(2)
        o = tk.attention(q, k, v, layout="bshd", causal=True)
        self.close(o.transpose(1, 2), exact(*(t.transpose(1, 2) for t in (q, k, v)), causal(100, 100))[0])
        shared = draw(1, 1, 100, 64).expand(2, 4, 100, 64)
        self.close(tk.attention(shared, shared, shared), exact(shared, shared, shared)[0])
        self.assertEqual(tk.attention(draw(2, 2, 0, 64), shared[:, :2], shared[:, :2]).shape, (2, 2, 0, 64))

    def test_varlen_and_cache(self):
        ends = torch.tensor([0, 5, 5, 300], dtype=torch.int32, device="cuda")
        q, k, v = draw(300, 4, 128), draw(300, 2, 128, seed=1), draw(300, 2, 128, seed=2)
        o = tk.attention_varlen(q, k, v, ends, ends, 295, 295, causal=True)
        for a, b in ((0, 5), (5, 300)):
            self.close(o[a:b].transpose(0, 1), exact(*(t[a:b].transpose(0, 1) for t in (q, k, v)), causal(b - a, b - a))[0])
        q, k, v = draw(2, 8, 3, 128), draw(2, 2, 512, 128, seed=1), draw(2, 2, 512, 128, seed=2)
        used = torch.tensor([90, 401], dtype=torch.int32, device="cuda")
        table = torch.randperm(64, generator=torch.Generator().manual_seed(4)).to(torch.int32).view(2, 32).cuda()
        pages = [torch.full((64, 2, 16, 128), torch.nan, dtype=torch.float16, device="cuda") for _ in range(2)]
        for page, cache in zip(pages, (k, v)):
            page[table.long()] = cache.unflatten(2, (32, 16)).transpose(1, 2)
        for i, keys in enumerate(used.tolist()):
            want = exact(q[i], k[i, :, :keys], v[i, :, :keys], causal(3, keys))[0]
            self.close(tk.attention_kvcache(q, k, v, used, causal=True)[i], want)
            self.close(tk.attention_kvcache(q, *pages, used, table, causal=True, splits=4)[i], want)

    def test_block_masks(self):
        q, k, v = draw(2, 2, 500, 128), draw(2, 2, 700, 128, seed=1), draw(2, 2, 700, 128, seed=2)

        def mod(b, h, i, j):
            return (i // 150 == j // 200) & ((h + b) % 2 * 7 <= j)
        flex = create_block_mask(mod, 2, 2, 500, 700, device="cuda", BLOCK_SIZE=(128, 64))
        seen = mod(*(torch.arange(n, device="cuda").view([-1 if i == axis else 1 for i in range(4)])
                     for axis, n in enumerate((2, 2, 500, 700))))
        self.close(tk.attention(q, k, v, block_mask=flex), exact(q, k, v, seen)[0])

    def test_the_best_blocks(self):
        for dtype in HALVES:
            q, k, v = (draw(2, heads, 500, 128, dtype=dtype, seed=i) for i, heads in enumerate((4, 2, 2)))
            mask = tk.select_blocks(q, k, 3, 64, causal=True)
            used = torch.arange(3, device="cuda") < mask.full_count[..., None]
            listed = torch.where(used, mask.full_cols.long(), 8)
            blocks = torch.zeros(2, 4, 8, 9, dtype=torch.bool, device="cuda").scatter_(-1, listed, True)[..., :8]
            self.assertTrue(bool(blocks.diagonal(dim1=2, dim2=3).all()))  # the row's own place
            self.assertEqual(blocks.sum(-1).amin((0, 1)).tolist(), [1, 2, 3, 3, 3, 3, 3, 3])
            seen = blocks.repeat_interleave(64, 2).repeat_interleave(64, 3)[:, :, :500, :500] & causal(500, 500)
            self.close(tk.attention(q, k, v, causal=True, block_mask=mask), exact(q, k, v, seen)[0])
            means = torch.stack([t.double().split(64, 2)[7].mean(2) for t in (q,)])[0]
            keys = torch.stack([part.double().mean(2) for part in k.split(64, 2)], 2).repeat_interleave(2, 1)
            scores = torch.einsum("bhd,bhnd->bhn", means, keys)[..., :7]
            self.assertTrue(torch.equal(blocks[:, :, 7, :7].nonzero(), torch.zeros_like(scores, dtype=torch.bool).scatter_(
                -1, scores.topk(2).indices, True).nonzero()))

    def test_float8(self):
        q, k, v = (draw(2, heads, 300, 128, seed=i).to(torch.float8_e4m3fn) for i, heads in enumerate((4, 2, 2)))
        scales = [draw(2, 2, dtype=torch.float32, seed=i).abs() + 0.5 for i in range(3)]
        scaled = [t.double() * s[:, :, None, None].double().repeat_interleave(t.shape[1] // 2, 1) for t, s in zip((q, k, v), scales)]
        given = dict(q_scale=scales[0], k_scale=scales[1], v_scale=scales[2])
        mask = tk.select_blocks(q, k, 5, 64)  # all there are
        for options in ({}, {"block_mask": mask}):
            got, want = tk.attention(q, k, v, causal=True, **options, **given), exact(*scaled, causal(300, 300))[0]
            self.assertEqual(got.dtype, torch.bfloat16)
            error = (got.double() - want).abs() / (want.abs() + want.square().mean().sqrt())
            self.assertLess(float(error.max()), 2.0**-3)  # the weights are rounded to e4m3, too
            self.assertLess(float(error.square().mean().sqrt()), 2.0**-5)

    def test_in_the_place_of_torch(self):
        q, k, v = (draw(2, 4, 200, 64, seed=i) for i in range(3))
        self.close(tk.scaled_dot_product_attention(q, k, v, is_causal=True), exact(q, k, v, causal(200, 200))[0])


class Tracing(Case):
    def test_opcheck(self):
        w, x = matrix(), draw(3, 384).requires_grad_()
        values = w.values.requires_grad_()
        tests = ("test_schema", "test_autograd_registration", "test_faketensor")
        torch.library.opcheck(ops.bsr_linear.default, (x, w.row_ptr, w.col_idx, values, 384, draw(256), "silu"), test_utils=tests)
        q = draw(1, 2, 8, 64)
        torch.library.opcheck(ops.attention.default, (q, q, q, "causal", -1, -1, 0.0, 0.0, True), test_utils=tests)

    def test_autocast(self):
        w, x, q = matrix(dtype=torch.float32), draw(4, 384, dtype=torch.float32), draw(1, 2, 64, 64, dtype=torch.float32)
        with torch.autocast("cuda", torch.bfloat16), torch.no_grad():
            self.assertEqual([t.dtype for t in (tk.linear(x, w), tk.attention(q, q, q))], [torch.bfloat16] * 2)

    def test_compile(self):
        w = matrix()
        compiled = torch.compile(lambda x: tk.linear(x * 2, w, activation="gelu") + 1, fullgraph=True, backend="aot_eager")
        for count in (5, 9, 11):
            x = draw(count, 384)
            with torch.no_grad():
                self.close(compiled(x), tk.linear(x * 2, w, activation="gelu") + 1)

    def test_graphs(self):
        w, x, q = matrix(), draw(40, 384), draw(2, 4, 130, 64)
        side = torch.cuda.Stream()
        torch.cuda.synchronize()
        with torch.no_grad():
            with torch.cuda.stream(side):
                tk.linear(x, w), tk.attention(q, q, q, causal=True)  # makes ready, for that stream
            torch.cuda.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=side):
                y, o = tk.linear(x, w), tk.attention(q, q, q, causal=True)
            for seed in (5, 6):
                x.copy_(draw(40, 384, seed=seed))
                q.copy_(draw(2, 4, 130, 64, seed=seed))
                graph.replay()
                self.close(y, x.double() @ w.to_dense().double().T)
                self.close(o, exact(q, q, q, causal(130, 130))[0])

    def test_a_first_call_inside_a_capture(self):
        w, x = matrix(128, 128, (32, 32), seed=9), draw(17, 128)
        with torch.no_grad():
            graph = torch.cuda.CUDAGraph()
            with self.assertRaises(tk.TriageError) as caught, torch.cuda.graph(graph):
                tk.linear(x, w)
            self.assertIn("captur", str(caught.exception))
            self.close(tk.linear(x, w), x.double() @ w.to_dense().double().T)  # the context lives on

    def test_a_graph_with_the_best_blocks(self):
        q, side = draw(2, 2, 256, 64), torch.cuda.Stream()

        def step():
            return tk.attention(q, q, q, causal=True, block_mask=tk.select_blocks(q, q, 2, 64, causal=True))
        torch.cuda.synchronize()
        with torch.cuda.stream(side):
            step()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=side):
            o = step()
        q.copy_(draw(2, 2, 256, 64, seed=7))
        graph.replay()
        self.close(o, step().double())

    def test_streams(self):
        w, results = matrix(), []
        side = [torch.cuda.Stream() for _ in range(4)]
        for turn in range(20):
            with torch.cuda.stream(side[turn % 4]):
                x = draw(64, 384, seed=turn)
                torch.cuda._sleep(200000)
                x.mul_(2)
                results.append(tk.linear(x, w))
                del x
        torch.cuda.synchronize()
        for turn, y in enumerate(results):
            self.close(y, 2 * draw(64, 384, seed=turn).double() @ w.to_dense().double().T)


class Refusals(Case):
    def test_by_name_and_the_context_lives_on(self):
        w, x, bias = matrix(), draw(4, 384), draw(256)
        self.refused(("x ", "stride 0"), tk.linear, x[:1].expand(4, 384), w)
        self.refused(("values is on cuda", "must be on cpu, where x is"), tk.linear, x.cpu(), w)
        self.refused(("bias is on cpu",), tk.linear, x, w, bias.cpu())
        self.refused(("bias is bfloat16", "float16"), tk.linear, x, w, bias.bfloat16())
        self.refused(("bias ", "strides"), tk.linear, x, w, draw(512)[::2])
        self.refused(("out ", "strides (1, 0)"), tk.bsr_mm, w, draw(384, 4), out=draw(256, 1).expand(256, 4))
        self.refused("out is on cpu", tk.bsr_mm, w, draw(384, 4), out=draw(256, 4).cpu())
        self.refused("row_ptr is on cpu", tk.BsrMatrix, w.row_ptr.cpu(), w.col_idx, w.values, 384)
        self.refused(("col_idx has",), tk.BsrMatrix, w.row_ptr, w.col_idx[:-1], w.values, 384)
        self.refused("malformed", tk.linear, x, tk.BsrMatrix(w.row_ptr, w.col_idx + 100, w.values, 384))
        q = draw(2, 4, 8, 64)
        self.refused("k is on cpu", tk.attention, q, q.cpu(), q)
        self.refused(("k is bfloat16", "float16"), tk.attention, q, q.bfloat16(), q)
        self.refused(("v ", "stride 2"), tk.attention, q, q, draw(2, 4, 8, 128)[..., ::2])
        self.close(tk.linear(x, w, bias), x.double() @ w.to_dense().double().T + bias.double())

    def test_ten_thousand_calls_leave_nothing(self):
        w, x, q = matrix(), draw(4, 384), draw(1, 2, 64, 64)

        def calls(count):
            for i in range(count):
                tk.linear(x, w)
                tk.attention(q, q, q)
                if i % 500 == 0:
                    tk.linear(x, matrix(seed=3))
        with torch.no_grad():
            calls(1000)
            gc.collect()
            torch.cuda.synchronize()
            before, free = torch.cuda.memory_allocated(), torch.cuda.mem_get_info()[0]
            calls(10000)
            gc.collect()
            torch.cuda.synchronize()
        self.assertEqual(torch.cuda.memory_allocated(), before)
        self.assertLessEqual(free - torch.cuda.mem_get_info()[0], 32 << 20)


def run_apart(name):
    """(name, exit code, what it said)."""
    done = subprocess.run([sys.executable, "-W", "ignore", __file__, name], capture_output=True, text=True)
    return name, done.returncode, done.stderr


def run_jobs(jobs):
    """Those that count the device's memory come last and alone. Returns how many failed."""
    cases = [test.id().split(".", 1)[1] for suite in unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"])
             for test in suite]
    alone = [name for name in cases if name.endswith("leave_nothing")]
    failed = 0

    def say(name, code, text):
        print(f"{'FAILED' if code else 'ok'} {name}" + (f"\n{text}" if code else ""), flush=True)
        return code != 0
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        results = [pool.submit(run_apart, name) for name in cases if name not in alone]
        failed += sum(say(*done.result()) for done in concurrent.futures.as_completed(results))
    failed += sum(say(*run_apart(name)) for name in alone)
    print(f"{len(cases) - failed} of {len(cases)} passed")
    return failed


if __name__ == "__main__":
    if sys.argv[1:2] == ["--jobs"]:
        sys.exit(1 if run_jobs(int(sys.argv[2])) else 0)
    unittest.main()
