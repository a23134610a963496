"""The short way to an operator, past torch's dispatcher (python/native/direct.c): taken where it may be, left where torch has a
say, with the dispatcher's results.

    python tests/torch/test_direct.py
"""
import contextlib
import sys
import threading
import unittest
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import triage_kernels as tk
from triage_kernels import _operators as operators

ops = torch.ops.triage


def matrix():
    generator = torch.Generator().manual_seed(1)
    mask = torch.rand(3, 5, generator=generator) < 0.5
    mask[0, 0] = True
    return tk.BsrMatrix.from_dense(torch.randn(96, 160, generator=generator), (32, 32), mask)


def draw(*sizes):
    return torch.randn(*sizes, generator=torch.Generator().manual_seed(2))


def all_operators(w):
    """Of each with a short way: it, and arguments; after a first call, whose pattern torch's way keeps."""
    x, q = draw(4, 160), draw(2, 2, 64, 16)
    pattern = (w.row_ptr, w.col_idx, w.values, w.cols)
    ends, used = torch.tensor([0, 5, 64], dtype=torch.int32), torch.tensor([9, 64], dtype=torch.int32)
    best = tk.select_blocks(q, q, 2, 16)
    plain = ("causal", -1, -1, 0.0, 0.0, True)
    cases = [(operators.LINEAR, (x, *pattern, draw(96), "silu")), (operators.MM, (*pattern, x.t(), draw(96), "relu")),
             (operators.TRANSPOSED, (draw(4, 96), *pattern)), (operators.SDDMM, (draw(4, 96), x, *pattern)),
             (operators.ATTENTION, (q, q, q, *plain)), (operators.KVCACHE, (q, q, q, used, None, 0, *plain)),
             (operators.VARLEN, (q[0].transpose(0, 1), q[0].transpose(0, 1), q[0].transpose(0, 1), ends, ends, 59, 59, *plain)),
             (operators.SPARSE, (q, q, q, best.full_count, best.full_cols, None, None, None, 16, 16, 0.5, *plain)),
             (operators.SELECT, (q, q, 16, 16, 2, False, "full", -1, -1))]
    for operator, arguments in cases:
        operator.op(*arguments)
    return cases


@contextlib.contextmanager
def without_torch():
    """The operators as torch has them are out of reach."""
    with contextlib.ExitStack() as stack:
        for operator in {case[0] for case in all_operators(matrix())}:
            stack.enter_context(mock.patch.object(operator, "op", None))
        yield


class Direct(unittest.TestCase):
    def test_as_the_dispatcher(self):
        w = matrix()
        for operator, arguments in all_operators(w):
            with self.subTest(operator=operator.op):
                got, want = operator.direct(*arguments), operator.op(*arguments)
                self.assertIsNot(got, NotImplemented)
                for one, other in zip(got, want) if isinstance(want, tuple) else ((got, want),):
                    self.assertTrue(torch.equal(one, other))
                    self.assertEqual((one.stride(), one.dtype, one.requires_grad, type(one)),
                                     (other.stride(), other.dtype, False, torch.Tensor))
                    self.assertTrue(one.untyped_storage().resizable())  # torch's own memory

    def test_products_do_without_torch(self):
        w, x, q, out = matrix(), draw(4, 160), draw(2, 2, 64, 16), draw(4, 96)
        layer = tk.BlockSparseLinear(w, activation="silu")
        asked = x.clone().requires_grad_()
        layer(asked).backward(out)
        with torch.no_grad():
            tk.linear(x, w)
        for mode in (torch.no_grad, torch.inference_mode):
            with mode(), without_torch():
                self.assertEqual(tk.linear(x, w).is_inference(), mode is torch.inference_mode)
                layer(x), tk.bsr_mm(w, x.t()), tk.attention(q, q, q, causal=True)
        with without_torch():  # forward, and each product of a gradient
            layer(asked).backward(out)

    def test_few_steps(self):
        """What Python runs for a product: functions of its own, and those of C that it calls."""
        w, x = matrix(), draw(4, 160)
        layer = tk.BlockSparseLinear(w)

        def count(call):
            seen = {"call": 0, "c_call": 0}

            def note(frame, event, argument):
                if event in seen:
                    seen[event] += 1
            call()
            sys.setprofile(note)
            try:
                call()
            finally:
                sys.setprofile(None)
            return seen["call"] - 1, seen["c_call"] - 1  # but for call itself, and setprofile
        with torch.no_grad():
            functions, builtins = count(lambda: tk.linear(x, w))
            self.assertLessEqual(functions, 3)  # linear, call, is_dynamo_compiling
            self.assertLessEqual(builtins, 2)
            self.assertLessEqual(count(lambda: layer(x))[0], 5)  # Module's two
            q = draw(1, 1, 4, 16)
            self.assertLessEqual(count(lambda: tk.attention(q, q, q))[0], 8)

    def test_left_to_torch(self):
        w, x = matrix(), draw(4, 160)
        given = (x, w.row_ptr, w.col_idx, w.values, 160, None, "none")
        direct, seen = operators.LINEAR.direct, []
        self.assertIs(direct(*given), NotImplemented)  # a new pattern
        tk.linear(x, w)
        self.assertIsNot(direct(*given), NotImplemented)

        class Dispatch(TorchDispatchMode):
            def __torch_dispatch__(self, op, types, arguments=(), named=None):
                seen.append(op)
                return op(*arguments, **(named or {}))

        class Function(TorchFunctionMode):
            def __torch_function__(self, op, types, arguments=(), named=None):
                seen.append(op)
                return op(*arguments, **(named or {}))

        for mode in (Dispatch(), Function()):
            with mode, torch.no_grad():
                tk.linear(x, w)
            self.assertIn(ops.bsr_linear.default, seen)
            seen.clear()
        with torch.autograd.profiler.profile() as profile:
            tk.linear(x, w)
        self.assertIn("triage::bsr_linear", [event.name for event in profile.function_events])
        with torch.autocast("cpu", torch.bfloat16):
            self.assertIs(direct(*given), NotImplemented)
        asks = (x.clone().requires_grad_(), *given[1:])
        self.assertIs(direct(*asks), NotImplemented)
        with torch.no_grad():
            self.assertIsNot(direct(*asks), NotImplemented)

        class Other(torch.Tensor):
            pass
        fake = torch._subclasses.FakeTensorMode().from_tensor(x)
        for other in (x.as_subclass(Other), torch._neg_view(x), x.to("meta"), x.double(), x.to_sparse(), fake, [1.0], None,
                      torch.nested.nested_tensor([x])):
            self.assertIs(direct(other, *given[1:]), NotImplemented)
        for wrong in (given[:-1] + (3,), given[:4] + (160.0,) + given[5:], given + (None,) * 9, given[:3], ()):
            self.assertIs(direct(*wrong), NotImplemented)

    def test_threads(self):
        w, x, wrong = matrix(), draw(8, 160), []
        layer = tk.BlockSparseLinear(w)
        want, slope = w.to_dense(), layer.values.detach().clone()

        def run(seed):
            mine = torch.randn(8, 160, generator=torch.Generator().manual_seed(seed))
            for _ in range(50):
                with torch.no_grad():
                    if not torch.allclose(tk.linear(mine, w), mine @ want.T, atol=1e-4):
                        wrong.append(seed)
                asked = mine.clone().requires_grad_()
                got, = torch.autograd.grad(layer(asked).sum(), asked)
                if not torch.allclose(got, want.sum(0).expand(8, 160), atol=1e-4):
                    wrong.append(-seed)
        threads = [threading.Thread(target=run, args=(seed,)) for seed in range(1, 5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])
        self.assertTrue(torch.equal(layer.values.detach(), slope))


if __name__ == "__main__":
    unittest.main()
