"""The operators of triage_kernels on the CPU: results, gradients, tracing, and what is refused.

    python tests/torch/test_operators.py

TRIAGE_KERNELS_LIB: the folder of libtriage_torch.so, where the package is not installed.
"""
import copy
import gc
import io
import pickle
import unittest

import torch
import torch.nn.functional as F

import triage_kernels as tk
from triage_kernels import _native

ACTIVATIONS = {None: lambda t: t, "relu": F.relu, "gelu": F.gelu, "silu": F.silu}
ops = torch.ops.triage


def matrix(rows=96, cols=160, block=(32, 32), dtype=torch.float32, density=0.5, seed=1):
    generator = torch.Generator().manual_seed(seed)
    dense = torch.randn(rows, cols, generator=generator)
    mask = torch.rand(rows // block[0], cols // block[1], generator=generator) < density
    mask[0, 0], mask[-1] = True, False  # a row of blocks without any
    return tk.BsrMatrix.from_dense(dense.to(dtype), block, mask)


def tokens(*sizes, dtype=torch.float32):
    return torch.randn(*sizes, generator=torch.Generator().manual_seed(2)).to(dtype)


class Case(unittest.TestCase):
    def near(self, got, want, dtype=None):
        dtype = dtype or got.dtype
        unit = {torch.float32: 2.0**-18, torch.float16: 2.0**-10, torch.bfloat16: 2.0**-7}[dtype]  # as support/api_cases.h
        scale = want.double().square().mean().sqrt().clamp_min(1e-30)
        error = ((got.double() - want.double()).abs() / (want.double().abs() + scale)).max() if got.numel() else 0
        self.assertEqual(got.shape, want.shape)
        self.assertLessEqual(float(error), unit)


class Products(Case):
    def test_linear(self):
        for dtype in (torch.float32, torch.float16, torch.bfloat16):
            w, x, bias = matrix(dtype=dtype), tokens(40, 160, dtype=dtype), tokens(96, dtype=dtype)
            for name, activation in ACTIVATIONS.items():
                want = activation(x.double() @ w.to_dense().double().T + bias.double())
                self.near(tk.linear(x, w, bias, name), want)
        self.assertGreater((tk.linear(x, w).double() - want).abs().max(), 0.1)  # the check can fail

    def test_shapes(self):
        w = matrix()
        dense = w.to_dense()
        for sizes in ((160,), (1, 160), (2, 3, 160), (2, 1, 3, 4, 160), (0, 160), (2, 0, 160)):
            x = tokens(*sizes)
            self.near(tk.linear(x, w), x @ dense.T)
        wide = tokens(8, 320)
        self.near(tk.linear(wide[:, :160], w), wide[:, :160] @ dense.T)  # rows with a step

    def test_mm(self):
        w, b, bias = matrix(), tokens(160, 24), tokens(96)
        want = w.to_dense() @ b
        self.near(tk.bsr_mm(w, b), want)
        self.near(tk.bsr_mm(w, b.t().contiguous().t(), bias, "relu"), (want + bias[:, None]).relu())
        self.near(tk.bsr_mm(w, b[:, :0]), want[:, :0])
        out = torch.ones(96, 24)
        self.assertIs(tk.bsr_mm(w, b, alpha=0.5, beta=2, out=out), out)
        self.near(out, 0.5 * want + 2)
        self.assertEqual(tk.bsr_mm(w.__class__(w.row_ptr, w.col_idx, w.values.bfloat16(), 160), b.bfloat16(),
                                   out_dtype=torch.float32).dtype, torch.float32)

    def test_a_write_is_counted(self):
        w, b, out = matrix(), tokens(160, 4), torch.zeros(96, 4)
        loss = (tokens(96, 4).requires_grad_() * out).sum()  # keeps out for its gradient
        tk.bsr_mm(w, b, out=out)
        self.assertEqual(out._version, 1)
        with self.assertRaisesRegex(RuntimeError, "modified by an inplace operation"):
            loss.backward()
        with torch.inference_mode():
            tk.bsr_mm(w, b, out=torch.zeros(96, 4))

    def test_no_blocks(self):
        w = tk.BsrMatrix(torch.zeros(4, dtype=torch.int64), torch.zeros(0, dtype=torch.int64), torch.zeros(0, 32, 32), 160)
        self.assertEqual(tk.linear(tokens(5, 160), w, torch.ones(96)).unique().tolist(), [1])

    def test_float8(self):
        w = matrix(dtype=torch.float8_e4m3fn)
        x = tokens(40, 160).to(torch.float8_e4m3fn)
        each, x_scale = torch.rand(w.nnzb) + 0.3, torch.rand(1) + 1.3
        scaled = tk.BsrMatrix(w.row_ptr, w.col_idx, w.values.double() * each.double()[:, None, None], 160).to_dense()
        want = x.double() @ scaled.T * x_scale.double()
        for dtype in (None, torch.float16, torch.float32):
            y = tk.linear(x, w, w_scale=each, x_scale=x_scale, out_dtype=dtype)
            self.assertEqual(y.dtype, dtype or torch.bfloat16)
            self.near(y, want)
            self.near(tk.bsr_mm(w, x.t(), a_scale=each, b_scale=x_scale, out_dtype=dtype).t(), want, y.dtype)

    def test_values_are_borrowed(self):
        w, x = matrix(), tokens(8, 160)
        before = tk.linear(x, w)
        w.values.mul_(2)
        self.near(tk.linear(x, w), 2 * before)

    def test_choice(self):
        w, b = matrix(), tokens(160, 24)
        choice = tk.choice(w, b, torch.empty(96, 24))
        self.assertEqual((choice["source"], choice["dense_is_faster"]), ("default", False))
        self.assertTrue(choice["config"].startswith(choice["kernel"]))

    def test_to(self):
        w = matrix()
        half = w.to(torch.bfloat16)
        self.assertEqual((half.dtype, half.shape, half.row_ptr is w.row_ptr), (torch.bfloat16, w.shape, True))
        self.assertEqual(w.to("meta").device.type, "meta")

    def test_torch_and_back(self):
        dense = matrix().to_dense()
        w = tk.BsrMatrix.from_torch(dense.to_sparse_bsr((32, 32)))
        self.assertTrue(torch.equal(w.to_torch().to_dense(), dense))
        self.assertTrue(torch.equal(w.to_dense(), dense))
        self.near(tk.linear(tokens(8, 160), w), tokens(8, 160) @ dense.T)


class Gradients(Case):
    def test_against_the_dense_layer(self):
        for name, activation in ACTIVATIONS.items():
            w = matrix()
            x, bias = tokens(2, 7, 160).requires_grad_(), tokens(96).requires_grad_()
            dense = w.to_dense().requires_grad_()
            w.values.requires_grad_()
            out = tokens(2, 7, 96)
            ours = torch.autograd.grad(tk.linear(x, w, bias, name), (x, w.values, bias), out)
            theirs = torch.autograd.grad(activation(x @ dense.T + bias), (x, dense, bias), out)
            mask = tk.BsrMatrix(w.row_ptr, w.col_idx, torch.ones_like(w.values), 160).to_dense()
            self.near(ours[0], theirs[0])
            self.near(tk.BsrMatrix(w.row_ptr, w.col_idx, ours[1], 160).to_dense(), theirs[1] * mask)
            self.near(ours[2], theirs[2])

    def test_gradcheck(self):
        w = matrix(16, 32, (8, 8))
        x, bias, b = tokens(3, 32).requires_grad_(), tokens(16).requires_grad_(), tokens(32, 5).requires_grad_()
        values = w.values.requires_grad_()

        def linear(x, values, bias):
            return ops.bsr_linear(x, w.row_ptr, w.col_idx, values, 32, bias, "silu")

        def mm(values, b, bias):
            return ops.bsr_mm(w.row_ptr, w.col_idx, values, 32, b, bias, "gelu")

        loose = dict(eps=1e-2, atol=5e-3, rtol=5e-3, nondet_tol=1e-5)  # float32: what differences of it can show
        self.assertTrue(torch.autograd.gradcheck(linear, (x, values, bias), **loose))
        self.assertTrue(torch.autograd.gradcheck(mm, (values, b, bias), **loose))

    def test_called_and_traced_alike(self):
        w = matrix()
        for name in ACTIVATIONS:
            x, bias = tokens(2, 7, 160).requires_grad_(), tokens(96).requires_grad_()
            w.values.requires_grad_()
            given = (w.row_ptr, w.col_idx, w.values, 160, bias, name or "none")
            for ours, theirs, inputs in (
                    (tk.linear(x, w, bias, name), ops.bsr_linear(x, *given[:6]), (x, w.values, bias)),
                    (tk.bsr_mm(w, x[0].t(), bias, name), ops.bsr_mm(*given[:4], x[0].t(), bias, name or "none"), (x, w.values, bias))):
                self.assertTrue(torch.equal(ours, theirs))
                out = torch.randn_like(ours)
                for a, b in zip(torch.autograd.grad(ours, inputs, out), torch.autograd.grad(theirs, inputs, out)):
                    self.near(a, b)

    def test_an_expanded_gradient(self):
        w, x = matrix(), tokens(4, 160).requires_grad_()
        tk.linear(x, w).sum().backward()
        self.near(x.grad, w.to_dense().sum(0).expand(4, 160))

    def test_autocast(self):
        w, x, bias = matrix(), tokens(4, 160).requires_grad_(), tokens(96)
        w.values.requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            y = tk.linear(x, w, bias)
            self.assertEqual(tk.bsr_mm(w, x.t().contiguous()).dtype, torch.bfloat16)
        self.assertEqual(y.dtype, torch.bfloat16)
        y.float().sum().backward()
        self.assertEqual((x.grad.dtype, w.values.grad.dtype), (torch.float32, torch.float32))


class Transforms(Case):
    """What is asked for and not to be had is said, not lost."""

    def refused(self, words, call, *arguments):
        with self.assertRaises(tk.TriageError) as caught:
            call(*arguments)
        self.assertIn(words, str(caught.exception))

    def test_second_and_forward_derivatives(self):
        w, x = matrix(), tokens(3, 160)
        w.values.requires_grad_()
        first, = torch.autograd.grad(tk.linear(x.requires_grad_(), w).sum(), x, create_graph=True)
        self.refused("a second derivative", torch.autograd.grad, first.sum(), w.values)
        out = tk.linear(x, matrix(), activation="gelu")  # of weights that are fixed: a penalty on the gradient was left out
        first, = torch.autograd.grad(out.sum(), x, create_graph=True)
        self.refused("a second derivative", torch.autograd.grad, out.sum() + first.square().sum(), x)
        x = x.detach()
        self.refused("x has a forward-mode tangent", lambda: torch.func.jvp(lambda x: tk.linear(x, w), (x,), (x,)))
        with torch.autograd.forward_ad.dual_level():
            dual = torch.autograd.forward_ad.make_dual(tokens(160, 2), tokens(160, 2))
            self.refused("b has a forward-mode tangent", tk.bsr_mm, w, dual)
            self.near(tk.linear(x, w), x @ w.to_dense().T)  # another call in there

    def test_torch_func(self):
        w, x = matrix(), tokens(5, 3, 160)
        self.refused("a transform of torch.func", torch.func.grad(lambda x: tk.linear(x, w).sum()), x)
        self.near(torch.vmap(lambda x: tk.linear(x, w))(x), x @ w.to_dense().T)


class Transposed(Case):
    def test_both_ways(self):
        for block in ((16, 16), (32, 8), (3, 5)):
            w = matrix(96, 160 if block[1] != 5 else 45, block, torch.float32)
            for sizes in ((96,), (7, 96), (2, 0, 96), (2, 3, 96)):
                grad = tokens(*sizes)
                for op in (ops.bsr_linear_transposed, ops.bsr_linear_grad_x):
                    self.near(op.default(grad, w.row_ptr, w.col_idx, w.values, w.cols), grad @ w.to_dense())

    def test_new_values_count(self):
        w, grad = matrix(), tokens(5, 96)
        arguments = (grad, w.row_ptr, w.col_idx, w.values, w.cols)
        ops.bsr_linear_transposed.default(*arguments)
        w.values.mul_(3)
        self.near(ops.bsr_linear_transposed.default(*arguments), grad @ w.to_dense())
        other = torch.randn_like(w.values)
        got = ops.bsr_linear_transposed.default(grad, w.row_ptr, w.col_idx, other, w.cols)
        self.near(got, grad @ tk.BsrMatrix(w.row_ptr, w.col_idx, other, w.cols).to_dense())

    def test_refusals(self):
        w = matrix()
        with self.assertRaisesRegex(RuntimeError, "grad is 160 long in dimension 1|grad .*160.*96"):
            ops.bsr_linear_transposed.default(tokens(3, 160), w.row_ptr, w.col_idx, w.values, w.cols)
        with self.assertRaisesRegex(RuntimeError, "grad .*stride"):
            ops.bsr_linear_transposed.default(tokens(1, 96).expand(4, 96), w.row_ptr, w.col_idx, w.values, w.cols)


class Tracing(Case):
    def arguments(self, **options):
        w = matrix(32, 64, (16, 16))
        values = w.values.requires_grad_(options.get("grad", True))
        return tokens(3, 64).requires_grad_(), w.row_ptr, w.col_idx, values, 64, tokens(32), "silu"

    def test_opcheck(self):
        x, row_ptr, col_idx, values, cols, bias, activation = self.arguments()
        torch.library.opcheck(ops.bsr_linear.default, (x, row_ptr, col_idx, values, cols, bias, activation))
        torch.library.opcheck(ops.bsr_mm.default, (row_ptr, col_idx, values, cols, tokens(64, 4), bias))
        flat = tokens(3, 32)
        torch.library.opcheck(ops.bsr_linear_grad_x.default, (flat, row_ptr, col_idx, values.detach(), cols))
        torch.library.opcheck(ops.bsr_linear_transposed.default, (flat, row_ptr, col_idx, values.detach(), cols))
        torch.library.opcheck(ops.bsr_sddmm.default, (flat, x.detach(), row_ptr, col_idx, values.detach(), cols))

    def test_compile(self):
        w = matrix()
        w.values.requires_grad_()

        def step(x):
            return tk.linear(x * 2, w, activation="gelu").square().mean()

        compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
        for count in (5, 9, 11):
            x = tokens(count, 160)
            w.values.grad = None
            step(x).backward()
            want, w.values.grad = w.values.grad, None
            loss = compiled(x)
            loss.backward()
            self.near(loss, step(x))
            self.near(w.values.grad, want)

    def test_export(self):
        class Layer(torch.nn.Module):
            def __init__(self):
                super().__init__()
                w = matrix()
                self.register_buffer("row_ptr", w.row_ptr)
                self.register_buffer("col_idx", w.col_idx)
                self.values = torch.nn.Parameter(w.values)

            def forward(self, x):
                return ops.bsr_linear(x, self.row_ptr, self.col_idx, self.values, 160, None, "relu")

        layer, x = Layer(), tokens(6, 160)
        file = io.BytesIO()
        torch.export.save(torch.export.export(layer, (x,)), file)
        file.seek(0)
        self.near(torch.export.load(file).module()(x), layer(x))


class Copies(Case):
    def test_pickle_and_deepcopy(self):
        w, x = matrix(), tokens(4, 160)
        for other in (pickle.loads(pickle.dumps(w)), copy.deepcopy(w)):
            self.near(tk.linear(x, other), tk.linear(x, w))
            other.values.zero_()
            self.assertEqual(float(tk.linear(x, other).abs().max()), 0)
        self.assertGreater(float(tk.linear(x, w).abs().max()), 0)

    def test_what_is_kept_goes_with_its_matrix(self):
        before = _native.matrices()
        for seed in range(20):
            tk.linear(tokens(4, 160), matrix(seed=seed))
        gc.collect()
        self.assertEqual(_native.matrices(), before)

    def test_ten_thousand_calls_leave_nothing(self):
        w, x = matrix(32, 64, (16, 16)), tokens(4, 64)

        def resident():
            with open("/proc/self/statm") as file:
                return int(file.read().split()[1]) * 4096

        def calls(count):
            for i in range(count):
                tk.linear(x, w)
                if i % 100 == 0:
                    tk.linear(x, matrix(32, 64, (16, 16)))
                    with self.assertRaises(tk.TriageError):
                        tk.linear(x, w, activation="none at all")
        calls(1000)
        gc.collect()
        before = resident()
        calls(10000)
        gc.collect()
        self.assertLess(resident() - before, 8 << 20)


class Refusals(Case):
    """Each wrong tensor in each role: the operand's name, what it is, what is allowed."""

    def refused(self, words, call, *arguments, **options):
        with self.assertRaises(tk.TriageError) as caught:
            call(*arguments, **options)
        text = str(caught.exception)
        for word in (words if isinstance(words, tuple) else (words,)):
            self.assertIn(word, text)
        self.assertNotIn("\n", text)

    def setUp(self):
        self.w, self.x, self.bias = matrix(), tokens(4, 160), tokens(96)

    def raw(self, **other):
        w = self.w
        given = dict(x=self.x, row_ptr=w.row_ptr, col_idx=w.col_idx, values=w.values, cols=160, bias=self.bias)
        given.update(other)
        with torch.no_grad():
            return ops.bsr_linear.default(*given.values())

    def raw_refused(self, words, **other):
        with self.assertRaises(RuntimeError) as caught:
            self.raw(**other)
        for word in (words if isinstance(words, tuple) else (words,)):
            self.assertIn(word, str(caught.exception))

    def test_expanded(self):
        self.refused(("x ", "stride 0"), tk.linear, self.x[:1].expand(4, 160), self.w)
        self.refused(("b ", "strides (1, 0)"), tk.bsr_mm, self.w, tokens(160, 1).expand(160, 4))
        self.refused(("out ", "strides (1, 0)"), tk.bsr_mm, self.w, tokens(160, 4), out=torch.zeros(96, 1).expand(96, 4))
        self.refused(("bias ", "strides (0)"), tk.linear, self.x, self.w, tokens(1).expand(96))
        self.raw_refused(("values ", "strides"), values=self.w.values[:1].expand(self.w.nnzb, 32, 32))
        self.raw_refused(("col_idx ", "strides (0)"), col_idx=self.w.col_idx[:1].expand(self.w.nnzb))

    def test_types(self):
        self.refused(("x is float64", "float32"), tk.linear, self.x.double(), self.w)
        self.refused(("x is float16", "float32"), tk.linear, self.x.half(), self.w)
        self.refused(("b is float16", "float32"), tk.bsr_mm, self.w, tokens(160, 4, dtype=torch.float16))
        self.refused(("bias is float16", "float32"), tk.linear, self.x, self.w, self.bias.half())
        self.refused(("out is int32", "float32"), tk.bsr_mm, self.w, tokens(160, 4), out=torch.zeros(96, 4, dtype=torch.int32))
        self.refused(("w_scale is given", "float8_e4m3fn"), tk.linear, self.x, self.w, w_scale=torch.ones(1))
        self.refused(("x_scale is given", "float8_e4m3fn"), tk.linear, self.x, self.w, x_scale=torch.ones(1))
        self.raw_refused(("row_ptr is int64", "int32"), row_ptr=self.w.row_ptr.long())
        self.raw_refused(("col_idx is float32", "int32"), col_idx=self.w.col_idx.float())
        self.raw_refused("values is int32", values=self.w.values.int())
        w8, x8 = matrix(dtype=torch.float8_e4m3fn), self.x.to(torch.float8_e4m3fn)
        self.refused(("w_scale is float64", "float32"), tk.linear, x8, w8, w_scale=torch.ones(1).double())
        self.refused(("x_scale has 2", "1"), tk.linear, x8, w8, x_scale=torch.ones(2))
        self.refused(("w_scale has 2", f"1 or {w8.nnzb}"), tk.linear, x8, w8, w_scale=torch.ones(2))
        self.refused(("a_scale", "strides"), tk.bsr_mm, w8, x8.t(), a_scale=torch.ones(2 * w8.nnzb)[::2])

    def test_shapes(self):
        self.refused(("x ", "(4, 128)", "160"), tk.linear, self.x[:, :128], self.w)
        self.refused(("x ", "()"), tk.linear, torch.tensor(1.0), self.w)
        self.refused(("b ", "(4, 160)", "160"), tk.bsr_mm, self.w, self.x)
        self.refused(("bias ", "(95)", "96"), tk.linear, self.x, self.w, self.bias[:95])
        self.refused(("bias ", "1 dimension"), tk.linear, self.x, self.w, self.bias[None])
        self.refused(("bias ", "strides (2)"), tk.linear, self.x, self.w, tokens(192)[::2])
        self.refused(("out ", "(96, 5)", "4"), tk.bsr_mm, self.w, tokens(160, 4), out=torch.zeros(96, 5))
        self.raw_refused(("col_idx ", str(self.w.nnzb)), col_idx=self.w.col_idx[:-1])
        self.raw_refused(("row_ptr", "1 number"), row_ptr=self.w.row_ptr[:1])
        self.raw_refused(("cols is 150", "32"), cols=150)

    def test_patterns(self):
        w = self.w
        self.refused(("col_idx has", str(w.nnzb)), tk.BsrMatrix, w.row_ptr, w.col_idx[:-1], w.values, 160)
        self.refused(("row_ptr has numbers", "2147483647"), tk.BsrMatrix, w.row_ptr.long() + (1 << 32), w.col_idx, w.values, 160)
        self.refused(("col_idx has numbers", "-1"), tk.BsrMatrix, w.row_ptr, w.col_idx.long() - 1 - w.col_idx.max(), w.values, 160)
        for wrong in (161, -32, 0, "160"):
            self.refused((f"cols is {wrong!r}", "a multiple of 32"), tk.BsrMatrix, w.row_ptr, w.col_idx, w.values, wrong)
        self.refused("col_idx is a NoneType", tk.BsrMatrix, w.row_ptr, None, w.values, 160)
        self.refused("values is a float", tk.BsrMatrix, w.row_ptr, w.col_idx, 1.0, 160)
        self.refused(("dense has the shape (2, 4, 4)", "2 dimensions"), tk.BsrMatrix.from_dense, tokens(2, 4, 4), 2)
        self.refused("dense is on meta", tk.BsrMatrix.from_dense, tokens(4, 4).to("meta"), 2)
        self.refused("mask is a list", tk.BsrMatrix.from_dense, tokens(4, 4), 2, [[1, 0], [0, 1]])
        for wrong in (0, (16,), "a", (16, 0), 3.5):
            self.refused(f"block is {wrong!r}", tk.BsrMatrix.from_dense, tokens(4, 4), wrong)
        self.refused("row_ptr is torch.float32", tk.BsrMatrix, w.row_ptr.float(), w.col_idx, w.values, 160)
        backwards = tk.BsrMatrix(w.row_ptr, w.col_idx.flip(0), w.values, 160)
        self.refused("malformed", tk.linear, self.x, backwards)
        far = tk.BsrMatrix(w.row_ptr, w.col_idx + 100, w.values, 160)
        self.refused("malformed", tk.linear, self.x, far)

    def test_devices(self):
        meta = self.w.to("meta")
        self.assertEqual(tk.linear(self.x.to("meta"), meta).shape, (4, 96))
        self.refused(("is on cpu; must be on meta, where x is"), tk.linear, self.x.to("meta"), self.w)
        self.refused(("bias is on cpu; must be on meta"), tk.linear, self.x.to("meta"), meta, self.bias)
        self.refused(("out is on meta; must be on cpu, where b is"), tk.bsr_mm, self.w, tokens(160, 4), out=torch.zeros(96, 4, device="meta"))
        self.refused("k is on meta", tk.attention, tokens(1, 1, 4, 16), tokens(1, 1, 4, 16).to("meta"), tokens(1, 1, 4, 16))
        self.refused("row_ptr is on meta", tk.BsrMatrix, self.w.row_ptr.to("meta"), self.w.col_idx, self.w.values, 160)

    def test_what_is_missing(self):
        self.refused(("beta is 1", "out is not given"), tk.bsr_mm, self.w, tokens(160, 4), beta=1.0)
        self.refused(("activation is 'tanh'", "relu"), tk.linear, self.x, self.w, activation="tanh")
        self.refused("w is a Tensor", tk.linear, self.x, self.w.to_dense())
        self.refused("x is a list", tk.linear, [1.0], self.w)
        self.refused("bias is a list; must be of type Tensor", tk.linear, self.x, self.w, [1.0])
        self.refused("activation is a int", tk.linear, self.x, self.w, None, 3)
        self.refused("w_scale is a float", tk.linear, self.x, self.w, w_scale=1.0)
        self.refused("out_dtype is a str", tk.linear, self.x, self.w, out_dtype="f16")
        self.refused("out is a list", tk.bsr_mm, self.w, tokens(160, 4), out=[])
        self.refused("alpha is a str", tk.bsr_mm, self.w, tokens(160, 4), alpha="1")

    def test_other_kinds_of_tensors(self):
        self.refused(("x is a torch.sparse_coo tensor", "strided"), tk.linear, self.x.to_sparse(), self.w)
        self.refused("x is a nested tensor", tk.linear, torch.nested.nested_tensor([self.x]), self.w)
        self.refused(("bias is a torch.sparse_coo", "strided"), tk.linear, self.x, self.w, self.bias.to_sparse())
        self.refused(("x is torch.complex64", "float8_e4m3fn"), tk.linear, self.x.to(torch.complex64), self.w)
        self.refused(("x is torch.float8_e5m2", "float8_e4m3fn"), tk.linear, self.x.to(torch.float8_e5m2), self.w)
        self.near(tk.linear(torch._neg_view(self.x), self.w), tk.linear(-self.x, self.w))

    def test_memory(self):
        square, both = tk.BsrMatrix.from_dense(torch.randn(64, 64), (32, 32)), torch.zeros(64, 64)
        self.refused("out overlaps b", tk.bsr_mm, square, both, out=both)
        self.refused(("x begins at", "16 bytes"), tk.linear, tokens(4 * 160 + 1)[1:].view(4, 160), self.w)
        self.refused("a gradient is asked", tk.bsr_mm, self.w, tokens(160, 4).requires_grad_(), out=torch.zeros(96, 4))


if __name__ == "__main__":
    torch.manual_seed(0)
    unittest.main()
