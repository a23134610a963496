"""Recording what a model asks, and tuning it, on the CPU.

    python tests/torch/test_record.py
"""
import pathlib
import tempfile
import unittest

import torch
from torch import nn

import triage_kernels as tk


class Recording(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.addCleanup(tk.configure)
        tk.configure(db_path=pathlib.Path(self.folder.name) / "t.db")

    def test_record_and_tune(self):
        torch.manual_seed(0)
        layer = tk.BlockSparseLinear.from_linear(nn.Linear(64, 64), block=16, sparsity=0.5)
        x, b = torch.randn(4, 10, 64), torch.randn(64, 24)
        with tk.record() as shapes:
            for _ in range(3):
                layer(x)
            tk.bsr_mm(layer.matrix, b)
        layer(x[:1])  # outside: not seen
        self.assertEqual([(s.m, s.n, s.k, s.block, s.layout) for s in shapes],
                         [(64, 40, 64, (16, 16), "col"), (64, 24, 64, (16, 16), "row")])
        self.assertFalse(any(s.is_tuned for s in shapes))
        self.assertEqual(tk.tune(shapes, budget=1), shapes)
        with tk.record() as again:
            layer(x)
            tk.bsr_mm(layer.matrix, b)
        self.assertEqual([s.source for s in again], ["exact", "exact"])
        self.assertEqual(tk.tune(again), [])

    def test_a_first_call_races_and_is_remembered(self):
        torch.manual_seed(0)
        w = tk.BlockSparseLinear.from_linear(nn.Linear(64, 64), block=16, sparsity=0.5).matrix
        path = pathlib.Path(self.folder.name) / "t.db"
        with tk.record() as shapes:
            tk.bsr_mm(w, torch.randn(64, 24))
        tk.tune(shapes, budget=3)  # what is raced below is known from this near problem
        b, out = torch.randn(64, 40), torch.empty(64, 40)
        tk.configure(db_path=path, first_call_ms=60000)
        tk.bsr_mm(w, b, out=out)
        self.assertTrue(torch.allclose(out, w.to_dense() @ b, atol=1e-4))
        self.assertEqual(tk.choice(w, b, out)["source"], "exact")
        tk.configure(db_path=path)
        self.assertEqual(tk.choice(w, b, out)["source"], "exact")
        tk.configure(db_path=path, first_call_ms=-1)
        with self.assertRaises(tk.TriageError) as caught:
            tk.bsr_mm(w, b)
        self.assertIn("first_call_ms", str(caught.exception))

    def test_refusals(self):
        tk.configure(db_path=None)
        with self.assertRaises(tk.TriageError) as caught:
            tk.tune([])
        self.assertIn("db_path None", str(caught.exception))


if __name__ == "__main__":
    unittest.main()
