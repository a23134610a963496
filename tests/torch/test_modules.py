"""Block-sparse layers of triage_kernels on the CPU.

    python tests/torch/test_modules.py
"""
import copy
import gc
import io
import os
import pathlib
import pickle
import re
import unittest

import torch
from torch import nn

import triage_kernels as tk
from triage_kernels import _matrix, _native

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def layer(rows=96, cols=128, bias=True, seed=0, **options):
    torch.manual_seed(seed)
    return tk.BlockSparseLinear.from_linear(nn.Linear(cols, rows, bias), block=32, **{"sparsity": 0.5, **options})


class Case(unittest.TestCase):
    def near(self, got, want):
        self.assertEqual(got.shape, want.shape)
        torch.testing.assert_close(got, want, rtol=2.0**-18, atol=2.0**-18 * float(want.detach().square().mean().sqrt()))


class Layers(Case):
    def test_from_linear(self):
        torch.manual_seed(0)
        dense, x = nn.Linear(128, 96), torch.randn(2, 5, 128)
        for pattern in ("magnitude", "random", torch.eye(3, 4).bool()):
            sparse = tk.BlockSparseLinear.from_linear(dense, 32, 0.5, pattern)
            self.assertEqual(sparse.values.shape[0], 3 if isinstance(pattern, torch.Tensor) else 6)
            self.near(sparse(x), sparse.to_linear()(x))
            blocks = dense.weight.detach().view(3, 32, 4, 32).square().sum((1, 3))
            kept = sparse.matrix.to_dense().view(3, 32, 4, 32).square().sum((1, 3)) > 0
            if pattern == "magnitude" if isinstance(pattern, str) else False:
                self.assertGreater(float(blocks[kept].min()), float(blocks[~kept].max()))
        self.near(tk.BlockSparseLinear.from_linear(dense, 32, 0.0)(x), dense(x))

    def test_state(self):
        ours, x = layer(), torch.randn(4, 128)
        file = io.BytesIO()
        torch.save(ours.state_dict(), file)
        file.seek(0)
        state = torch.load(file)
        for other in (layer(seed=1), layer(seed=1, sparsity=0.75)):
            other(x)
            other.load_state_dict(state)
            self.near(other(x), ours(x))
        with self.assertRaises(RuntimeError):
            layer(rows=64).load_state_dict(state)

    def test_copies_and_types(self):
        ours, x = layer(activation="silu"), torch.randn(4, 128)
        for other in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
            self.near(other(x), ours(x))
            with torch.no_grad():
                other.values.zero_()
                other.bias.zero_()
            self.assertEqual(float(other(x).detach().abs().max()), 0)
        y = copy.deepcopy(ours).to(torch.bfloat16)(x.bfloat16())
        self.assertEqual(y.dtype, torch.bfloat16)
        torch.testing.assert_close(y.float(), ours(x), rtol=0.05, atol=0.05)
        self.assertEqual(ours.to("meta").values.device.type, "meta")

    def test_takes_what_a_linear_layer_takes(self):
        ours = layer()
        dense, x = ours.to_linear(), torch.randn(4, 130)
        for view in (torch.randn(128, 5).t(), torch.randn(3, 128, 2).transpose(1, 2), torch.randn(1, 128).expand(4, 128),
                     x[:, :128], x[:, 1:129]):
            self.near(ours(view), dense(view))

    def test_repattern(self):
        ours, x = layer(), torch.randn(4, 128)
        ours(x)
        before = ours.matrix.to_dense()
        mask = torch.zeros(3, 4, dtype=torch.bool)
        mask[:, :2] = True
        ours.repattern_(mask)
        wide = mask.repeat_interleave(32, 0).repeat_interleave(32, 1)
        self.near(ours.matrix.to_dense(), before * wide)
        self.near(ours(x), ours.to_linear()(x))
        ours.repattern_("magnitude", 0.75)
        self.assertEqual(ours.values.shape[0], 3)
        ours(x).sum().backward()
        self.assertEqual(ours.values.grad.shape, ours.values.shape)

    def test_sparsify(self):
        model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Sequential(nn.Linear(128, 128)), nn.Linear(128, 10))
        self.assertEqual(tk.sparsify_(model, lambda name, _: name != "0", 32, 0.5), ["2.0"])
        self.assertIsInstance(model[2][0], tk.BlockSparseLinear)
        model(torch.randn(3, 64)).sum().backward()
        shared = nn.Linear(64, 64)
        tied = nn.ModuleDict({"a": shared, "b": nn.Sequential(shared)})
        self.assertEqual(tk.sparsify_(tied, block=32, sparsity=0.5), ["a", "b.0"])
        self.assertIs(tied["a"], tied["b"][0])

    def test_refusals(self):
        dense = nn.Linear(100, 96)
        for words, options in (("96 x 100", {}), ("pattern is 'best'", {"pattern": "best", "block": (32, 50)}),
                               ("sparsity is 2", {"sparsity": 2, "block": (32, 50)}),
                               ("(3, 2), the blocks", {"pattern": torch.ones(2, 2), "block": (32, 50)})):
            with self.assertRaises(tk.TriageError) as caught:
                tk.BlockSparseLinear.from_linear(dense, **{"block": 32, **options})
            self.assertIn(words, str(caught.exception))
        for words, call, given in (("linear is a Conv1d", tk.BlockSparseLinear.from_linear, nn.Conv1d(3, 3, 1)),
                                   ("weight is on meta", tk.BlockSparseLinear.from_linear, nn.Linear(64, 64, device="meta")),
                                   ("model is a Linear", tk.sparsify_, dense), ("model is a list", tk.sparsify_, [])):
            with self.assertRaisesRegex(tk.TriageError, words):
                call(given)


class Training(Case):
    def test_follows_the_masked_dense_layer(self):
        ours = nn.Sequential(layer(activation="gelu"), layer(64, 96))
        dense = nn.Sequential(ours[0].to_linear(), nn.GELU(), ours[1].to_linear())
        masks = [tk.BsrMatrix(one.row_ptr, one.col_idx, torch.ones_like(one.values), one.in_features).to_dense() for one in ours]
        x, y = torch.randn(32, 128), torch.randn(32, 64)
        losses = []
        for model in (ours, dense):
            optimizer = torch.optim.SGD(model.parameters(), 0.5)
            for _ in range(20):
                optimizer.zero_grad()
                loss = (model(x) - y).square().mean()
                loss.backward()
                if model is dense:
                    model[0].weight.grad *= masks[0]
                    model[2].weight.grad *= masks[1]
                optimizer.step()
            losses.append(float(loss.detach()))
        self.assertAlmostEqual(losses[0], losses[1], delta=0.01 * losses[1])
        self.assertLess(losses[0], 0.9)

    def test_under_compile_and_checkpoint(self):
        ours, x = layer(), torch.randn(4, 128)
        compiled = torch.compile(ours, fullgraph=True, backend="aot_eager")
        self.near(compiled(x), ours(x))
        torch.utils.checkpoint.checkpoint(ours, x.requires_grad_(), use_reentrant=False).sum().backward()
        self.near(x.grad, ours.matrix.to_dense().sum(0).expand(4, 128))


class Processes(Case):
    def test_layers_leave_nothing(self):
        before, transposes = _native.matrices(), len(_matrix._transposes)
        for seed in range(10):
            ours = layer(seed=seed)
            ours(torch.randn(4, 128).requires_grad_()).sum().backward()
            ours.to(torch.float64).to(torch.float32)
        del ours
        gc.collect()
        self.assertEqual(len(_matrix._transposes), transposes)
        self.assertEqual(_native.matrices(), before)

    def test_what_shares_a_pattern_keeps_it(self):
        gc.collect()
        owners = dict(_matrix._owners)
        ours, x = layer(), torch.randn(4, 128)
        ours(x)
        before = _native.matrices()
        for _ in range(3):
            ours.matrix.to_dense()
            tk.BsrMatrix(ours.row_ptr, ours.col_idx, torch.zeros_like(ours.values), 128)
            ours.to(torch.float32)
        gc.collect()
        self.assertEqual(_native.matrices(), before)
        del ours
        gc.collect()
        self.assertEqual((_native.matrices(), _matrix._owners), (before - 1, owners))

    def test_contexts_made_and_dropped(self):
        ours, x = layer(), torch.randn(4, 128)
        want = ours(x)
        for _ in range(20):
            tk.configure(db_path=None)
            self.assertEqual(_native.matrices(), 0)
            self.near(ours(x), want)
        tk.configure()

    def test_fork_after_use(self):
        ours, x = layer(), torch.randn(64, 128)
        want = ours(x).detach()
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            right = 0
            try:
                with torch.no_grad():
                    right = int(bool((ours(x) - want).abs().max() < 1e-5))
            finally:
                os.write(writer, b"%d" % right)
                os._exit(0)
        os.waitpid(child, 0)
        self.assertEqual(os.read(reader, 1), b"1")

    def test_the_examples_of_the_readmes(self):
        for name in ("README.md", "python/README.md"):
            text, said = (ROOT / name).read_text(), {}
            for code in re.findall(r"```python\n(.*?)```", text, re.S):
                if "tk.tune(" not in code:  # test_record.py tunes something smaller
                    exec(code, said)
            self.assertEqual(tuple(said["c"].shape), (1024, 100))


if __name__ == "__main__":
    torch.set_num_threads(1)
    unittest.main()
