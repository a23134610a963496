"""Recording what a model asks, and tuning it, on the CPU.

    python tests/torch/test_record.py
"""
import pathlib
import subprocess
import tempfile
import unittest

import torch
from torch import nn

import triage_kernels as tk
from triage_kernels import _native


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
        with tk.record() as outer, tk.record() as inner:
            layer(x)
        self.assertEqual((len(outer), len(inner)), (1, 1))
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

    def test_a_file_of_what_is_asked(self):
        torch.manual_seed(0)
        folder = pathlib.Path(self.folder.name)
        layer = tk.BlockSparseLinear.from_linear(nn.Linear(64, 64), block=16, sparsity=0.5)
        tk.configure(db_path=folder / "t.db", record_path=folder / "asked.jsonl")
        torch.compile(layer, backend="aot_eager")(torch.randn(40, 64).requires_grad_()).sum().backward()
        lines = (folder / "asked.jsonl").read_text().splitlines()
        self.assertEqual([line.split('"problem":"')[1].split()[0] for line in lines], ["bsr_gemm", "bsr_gemm", "bsr_sddmm"])
        tune = _native.folder.parent / "bin" / "triage_tune"
        subprocess.run([tune, "--from", folder / "asked.jsonl", "--device", "host", "--db", folder / "t.db", "--budget", "1", "--quiet"],
                       check=True, capture_output=True)
        tk.configure(db_path=folder / "t.db", record_path=folder / "again.jsonl")
        layer(torch.randn(40, 64).requires_grad_()).sum().backward()
        self.assertFalse((folder / "again.jsonl").exists())

    def test_training(self):
        torch.manual_seed(0)
        layer = tk.BlockSparseLinear.from_linear(nn.Linear(64, 128, bias=False), block=(32, 16), sparsity=0.5)
        folder = pathlib.Path(self.folder.name)
        x = torch.randn(40, 64).requires_grad_()
        with tk.record() as shapes:
            for _ in range(2):
                layer(x).sum().backward()
        self.assertEqual([(s.product, s.m, s.n, s.k) for s in shapes],
                         [(product, 128, 40, 64) for product in ("forward", "x_gradient", "values_gradient")])
        self.assertEqual(tk.tune(shapes, budget=1), shapes)
        tk.configure(db_path=folder / "t.db", record_path=folder / "missing.jsonl")
        layer(x).sum().backward()
        self.assertFalse((folder / "missing.jsonl").exists())

    def test_attention(self):
        q, k = torch.randn(2, 4, 9, 16), torch.randn(2, 2, 20, 16)
        cache = torch.randn(2, 2, 24, 16)
        with tk.record() as shapes:
            for _ in range(2):
                tk.attention(q, k, k, causal=True)
            tk.attention(q.transpose(1, 2), k.transpose(1, 2), k.transpose(1, 2), layout="bshd", window=(3, None), softcap=2.0)
            tk.attention_kvcache(q[:, :, :1], cache, cache, torch.tensor([3, 24], dtype=torch.int32))
            count, cols = torch.full((1, 1, 2), 1, dtype=torch.int32), torch.zeros(1, 1, 2, 2, dtype=torch.int32)
            tk.attention(torch.randn(1, 2, 32, 16), *torch.randn(2, 1, 2, 32, 16), block_mask=tk.BlockMask((16, 16), count, cols, density=0.5))
        blocks = shapes.pop()
        self.assertEqual(blocks.options, ("--mask", "random-blocks:0.5", "--mask-block", "16x16"))
        tk.tune([blocks], budget=1)
        self.assertEqual([s[:7] for s in shapes],
                         [(2, 4, 2, 9, 20, 16, 16), (2, 4, 2, 9, 20, 16, 16), (2, 4, 2, 1, 24, 16, 16)])
        self.assertEqual([s.options for s in shapes],
                         [("--mask", "causal"), ("--mask", "window:3,-", "--softcap", "2.0"), ("--mask", "full", "--lengths", "cache")])
        self.assertEqual(tk.tune(shapes, budget=1), shapes)

    def test_refusals(self):
        tk.configure(db_path=None)
        for words, given in (("device is mps", lambda: tk.device_name("mps")), ("first_call_ms is a str", lambda: tk.configure(first_call_ms="1")),
                             ("shapes is a NoneType", lambda: tk.tune(None)), ("time_limit is -1", lambda: tk.tune([], time_limit=-1)),
                             ("budget is 0", lambda: tk.tune([], budget=0))):
            with self.assertRaisesRegex(tk.TriageError, words):
                given()
        with self.assertRaises(tk.TriageError) as caught:
            tk.tune([])
        self.assertIn("db_path None", str(caught.exception))


if __name__ == "__main__":
    unittest.main()
