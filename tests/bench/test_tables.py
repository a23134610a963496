#!/usr/bin/env python3
"""The tables and the chart from made-up results; --check notices what is stale. python3 tests/bench/test_tables.py

Works on a copy: the real results and pages are not touched.
"""
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "python/bench"))
import cases  # noqa: E402

GNUPLOT = shutil.which("gnuplot") is not None


def entry(spec, ns):
    flops = 2 * (1 - spec.sparsity) * spec.m * spec.k * spec.n
    return {"right": True, "median_ns": ns, "useful_tflops": flops / ns / 1e3}


def row(spec):
    """triage is as fast as its useful work, dense as all of it: a block of 16 is behind below sparsity 0.6."""
    whole = 2.0 * spec.m * spec.k * spec.n
    mine = (1 - spec.sparsity) * whole / (240e3 if spec.block == 16 else 700e3) + 100
    peers = {"triage": entry(spec, mine), "dense": entry(spec, whole / 600e3)}
    if spec.with_peers:
        lost = (spec.block, spec.m) == (32, 2048)
        peers["tuned"] = entry(spec, mine * ((0.96 if spec.sparsity == 0.5 else 0.97) if lost else 1.5))
    return {"m": spec.m, "n": spec.n, "k": spec.k, "block": spec.block, "dtype": "f16", "density": 1 - spec.sparsity,
            "pattern": spec.pattern or "random", "choice": {"source": "exact"}, "peers": peers, "key": spec.key,
            "set": spec.set, "sparsity": spec.sparsity}


def results(specs):
    return {"schema": 1, "what": "bsr_gemm grid", "device": "A made-up GPU", "driver": "1", "toolkit": "13.0",
            "torch": "2", "commit": "0" * 40, "date": "2099-01-01", "protocol": "p", "rows": [row(s) for s in specs],
            "failures": []}


class Tables(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.root = pathlib.Path(scratch.name)
        shutil.copytree(ROOT / "docs", self.root / "docs")
        (self.root / "python").mkdir()
        shutil.copytree(ROOT / "python/bench", self.root / "python/bench")
        shutil.copy(ROOT / "README.md", self.root)
        files = sorted((ROOT / "tests/data/dlmc").glob("*.smtx"))
        specs = cases.cubes(cases.BLOCKS) + cases.layers(cases.BLOCKS, (0.9,)) + cases.dlmc((16,), files, 1024)
        if GNUPLOT:
            specs += cases.crossover(cases.BLOCKS, 4096)
        self.json = self.root / "docs/results/2099-01-01-grid.json"
        self.json.write_text(json.dumps(results(specs)))

    def run_tables(self, *arguments):
        done = subprocess.run([sys.executable, str(self.root / "docs/tables.py"), *arguments], capture_output=True,
                              text=True, check=False)
        return done.returncode, done.stderr

    def page(self):
        return (self.root / "docs/results/README.md").read_text()

    def test_the_pages_say_what_was_measured(self):
        self.assertEqual(self.run_tables(), (0, ""))
        self.assertEqual(self.run_tables("--check"), (0, ""))
        page, readme = self.page(), (self.root / "README.md").read_text()
        verdict = ("In 80 of 84 problems (95.2 %) triage is faster than the best sparse peer; the worst ratio is 0.96 "
                   "(cubes 2048x2048x2048 b=32 s=0.5, against Triton tuned)")
        self.assertTrue(verdict in page, page[:900])
        self.assertTrue(verdict in readme, readme[:3000])
        self.assertIn("| 2048 × 2048 × 2048 | 32 | 0.5 |", page)
        self.assertIn("| Triton tuned | **0.96** | ", page)
        self.assertIn("dense wins", page)
        self.assertIn("| l0_0.9_encoder1_ffn1 | 32768 × 1024 × 8192 | 16 | 0.057 |", page)
        self.assertEqual(page.count("\n| 4096 × 16 × 11008 |"), 4)

    def test_the_notebooks_results_make_no_table(self):
        self.run_tables()
        page = self.page()
        document = json.loads(self.json.read_text())
        document["date"] = "2099-01-02"
        document["rows"] = document["rows"][:1]
        (self.root / "docs/results/2099-01-02-notebook-one.json").write_text(json.dumps(document))
        self.assertEqual(self.run_tables("--check"), (0, ""))
        self.assertEqual(self.page(), page)

    def test_check_notices_other_results(self):
        self.run_tables()
        document = json.loads(self.json.read_text())
        document["rows"][0]["peers"]["triage"]["median_ns"] *= 1.5
        self.json.write_text(json.dumps(document))
        code, said = self.run_tables("--check")
        self.assertNotEqual(code, 0)
        self.assertIn("README.md", said)

    @unittest.skipUnless(GNUPLOT, "no gnuplot")
    def test_the_chart(self):
        self.run_tables()
        chart = self.root / "docs/results/crossover.svg"
        text = chart.read_text()
        self.assertIn("blocks of 16 × 16: ahead from 60 %", text)
        self.assertIn("A made-up GPU", text)
        self.assertIn("| 16 | 0.60 |", self.page())
        chart.write_text(text.replace("drawn from data ", "drawn from data 0"))
        code, said = self.run_tables("--check")
        self.assertNotEqual(code, 0)
        self.assertIn("crossover.svg", said)
        chart.unlink()
        self.assertNotEqual(self.run_tables("--check")[0], 0)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
