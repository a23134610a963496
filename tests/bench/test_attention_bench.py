#!/usr/bin/env python3
"""The cases of attention and the comparison with its peers: the cases alone, and where there is torch all of it on the CPU.

python3 tests/bench/test_attention_bench.py BIN_DIR
"""
import csv
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import unittest
from unittest import mock

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BIN = pathlib.Path(sys.argv.pop(1) if len(sys.argv) > 1 else ROOT / "build/bin").resolve()
sys.path.insert(0, str(ROOT / "python/bench"))
sys.path.insert(0, str(ROOT / "python"))
os.environ.setdefault("TRIAGE_KERNELS_LIB", str(BIN.parent / "lib"))
os.environ["OMP_WAIT_POLICY"] = "passive"
import attention  # noqa: E402
import attention_cases  # noqa: E402
from attention_cases import Case  # noqa: E402

try:
    import torch
except ImportError:
    torch = None


def small(**more):
    given = {"set": "grid", "name": "small", "batch": 2, "heads": [4, 2], "sq": 96, "sk": 96, "d": 32, "mask": "full",
             "dtype": "f32", "at_least": {}}
    return Case(**{**given, **more})


class Cases(unittest.TestCase):
    def test_the_file_is_what_the_issue_asks_for(self):
        cases = attention_cases.load()
        self.assertEqual(len({case.name for case in cases}), len(cases))
        self.assertEqual(sum(case.set == "grid" for case in cases), 24)
        for case in cases:
            self.assertIn(case.set, attention_cases.SETS)
            for what, wanted in case.at_least.items():
                if what == "of_case":
                    self.assertIn(wanted[0], {other.name for other in cases})

    def test_pairs_are_counted_exactly(self):
        for mask in ("full", "causal"):
            case = small(sq=100, sk=100, block=[32, 16], sparsity=0.5, mask=mask)
            row_ptr, cols = attention_cases.pattern_of(case)
            seen = sum(col * 16 <= j < (col + 1) * 16 and j < 100 and (mask == "full" or j <= i)
                       for i in range(100) for col in cols[row_ptr[i // 32]:row_ptr[i // 32 + 1]]
                       for j in range(col * 16, col * 16 + 16))
            self.assertEqual(attention_cases.pairs_of(case), seen * 2 * 4)

    def test_patterns_are_sorted_and_as_dense_as_said(self):
        for pattern, within in (("random", 0.02), ("top-k", 0.02), ("band", 0.25)):
            case = small(sq=4096, sk=4096, block=[64, 64], pattern=pattern)
            row_ptr, cols = attention_cases.pattern_of(case)
            rows = [cols[a:b] for a, b in zip(row_ptr, row_ptr[1:])]
            self.assertTrue(all(row == sorted(set(row)) and i in row for i, row in enumerate(rows)), pattern)
            self.assertLess(abs(len(cols) / 64 / 64 / 0.1 - 1), 0.25 + within, pattern)
            self.assertEqual(attention_cases.pattern_of(case), (row_ptr, cols))

    def test_the_programs_take_the_options(self):
        with tempfile.TemporaryDirectory() as folder:
            cases = [next(c for c in attention_cases.load() if c.name == name)
                     for name in ("d64 S512 causal", "128x128 S16384", "B64 S4096 32/8 pages of 16", "16 lengths causal")]
            for case in cases:
                if case.block:
                    attention_cases.write_pattern(attention_cases.file_of(case, folder), case)
                done = subprocess.run([str(BIN / "triage_tune"), *attention_cases.options_of(case, folder), "--dry-run",
                                       "--target", "sm_90a"], capture_output=True, text=True, check=False)
                self.assertEqual(done.returncode, 0, done.stderr)

    def test_top_k_wants_few_columns_more_than_others(self):
        """What makes it uneven: many rows are of one subject and choose alike, each as many as the others."""
        case = small(sq=8192, sk=8192, block=[64, 64], pattern="top-k")
        row_ptr, cols = attention_cases.pattern_of(case)
        self.assertEqual({b - a for a, b in zip(row_ptr, row_ptr[1:])}, {13})
        wanted = sorted((cols.count(col) for col in range(128)), reverse=True)
        self.assertGreater(wanted[0], 2.5 * 13)
        self.assertNotEqual(attention_cases.pattern_of(case, 1), (row_ptr, cols))

    def test_the_file_for_a_tune_has_a_line_a_case(self):
        cases = attention_cases.load(sets="sizes,decode")
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder, "cases.csv")
            attention_cases.write_shapes(file, cases, pathlib.Path(folder, "patterns"))
            with file.open() as lines:
                rows = list(csv.DictReader(lines))
            self.assertEqual(len(rows), len(cases))
            for case, row in zip(cases, rows):
                self.assertEqual(row["shape"].split(",")[3], str(case.sq))
                self.assertEqual(row["mask-block"], "x".join(map(str, case.block)) if case.block else "")
                path = row["mask"].partition("blocks:")[2]
                self.assertTrue(not path or case.lists == "q" or os.path.isabs(path) and os.path.exists(path))

    def test_what_holds_and_what_does_not(self):
        cases = [small(name="a", at_least={"best_peer": 1.0}), small(name="b", at_least={"of_case": ["a", 0.9]}),
                 small(name="c", at_least={"us_at_most": 7})]
        row = {"set": "blocks", "sq": 2, "kv_bytes": 1, "peers": {"x": {"median_ns": 110}},
               "triage": [{"median_ns": 100, "useful_tflops": 10}]}
        rows = {"a": row, "b": dict(row, triage=[{"median_ns": 120, "useful_tflops": 8}]), "c": row}
        with mock.patch("builtins.print"):
            self.assertEqual(attention_cases.check(cases, rows), 2)  # b is slower than 0.9 of a; no grid to take a mean of
            self.assertEqual(attention_cases.check(cases, {**rows, "a": dict(row, triage=[])}), 3)


class Clock:
    """In the place of clock.Stopwatch."""

    late = 0

    def sample(self, call):
        start = time.perf_counter()
        call()
        return (time.perf_counter() - start) * 1e3


@unittest.skipUnless(torch, "no torch")
class OnTheCpu(unittest.TestCase):
    def setUp(self):
        patch = mock.patch.object(attention, "DEVICE", "cpu")
        patch.start()
        self.addCleanup(patch.stop)
        import triage_kernels
        triage_kernels.configure(db_path=None)

    def run_case(self, case, peers=("math",)):
        with mock.patch("builtins.print"):
            return attention.run_case(case, peers, 8, Clock())

    def test_every_kind_of_case_is_right(self):
        for more in ({}, {"mask": "causal"}, {"block": [32, 16], "sparsity": 0.5}, {"block": [32, 32], "lists": "q"},
                     {"lengths": [96, 17]}, {"sq": 1, "page": 16}):
            row = self.run_case(small(**more))
            self.assertEqual(len(row["triage"]), 1, (more, row["notes"]))
            self.assertEqual("math" in row["peers"], not (set(more) & {"block", "lengths", "page"}), (more, row["notes"]))
            self.assertEqual(json.loads(json.dumps(row)), row)

    def test_who_lies_has_no_time(self):
        def liar(deed):
            def make(x):
                right = attention.sdpa_call(x, "MATH")

                def call():
                    o = right().clone()
                    if deed == "one element":
                        o[1, 3, 95, 5] += 1
                    if deed == "nothing":
                        o.fill_(math.nan)
                    if deed == "forgets causal":
                        return torch.nn.functional.scaled_dot_product_attention(x.q, x.k, x.v, enable_gqa=True)
                    return o

                return call
            return make

        for deed in ("one element", "nothing", "forgets causal"):
            with mock.patch.dict(attention.MAKERS, liar=liar(deed)):
                row = self.run_case(small(mask="causal"), ("liar",))
            self.assertEqual(row["peers"], {}, deed)
            self.assertIn("wrong", row["notes"]["liar"], deed)


if __name__ == "__main__":
    unittest.main()
