#!/usr/bin/env python3
"""The comparison and the grid end to end on the CPU: triage's host kernels, torch's dense product, a clock for events.

Skipped (77) without torch. python3 tests/bench/test_grid.py BIN_DIR
"""
import contextlib
import io
import os
import pathlib
import sys
import tempfile
import time
import unittest
from unittest import mock

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BIN = pathlib.Path(sys.argv.pop(1) if len(sys.argv) > 1 else ROOT / "build/bin").resolve()
sys.path.insert(0, str(ROOT / "python/bench"))
os.environ["OMP_WAIT_POLICY"] = "passive"
try:
    import torch
    import triage_kernels  # noqa: F401
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)
import cases  # noqa: E402
import compare  # noqa: E402
import grid  # noqa: E402

compare.DEVICE = "cpu"
CUBE = cases.Spec("cubes", 128, 64, 128, 16, 0.5)


class Clock:
    """In the place of compare.Stopwatch."""

    def __init__(self):
        self.late = 0

    def sample(self, call):
        start = time.perf_counter()
        call()
        return (time.perf_counter() - start) * 1e3


class Bad:
    """A peer that leaves something else than the product."""

    def __init__(self, case, out, deed):
        self.case, self.out, self.deed, self.calls = case, out, deed, 0

    def __call__(self):
        self.calls += 1
        if self.deed == "tires" and self.calls > 6:
            return
        torch.matmul(self.case.dense, self.case.b, out=self.out)
        if self.deed == "zero":
            self.out[3, 5] = 0
        if self.deed == "block":
            at = 16 * int(self.case.col_idx[self.case.row_ptr[1]])  # the first of the second block row
            self.out[16:32] -= self.case.dense[16:32, at:at + 16] @ self.case.b[at:at + 16]


def document(rows, args):
    return {"schema": 1, "what": "bsr_gemm grid", "device": "cpu", "driver": "-", "toolkit": "-", "torch": "-",
            "commit": args.commit, "date": "2026-01-01", "protocol": "-", "rows": rows}


class World(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        for name, value in (("Stopwatch", Clock), ("document_of", lambda what, args, rows: document(rows, args))):
            patch = mock.patch.object(compare, name, value)
            patch.start()
            self.addCleanup(patch.stop)
        os.environ.pop(grid.START, None)

    def args(self, *more):
        return grid.parser().parse_args(["--out", f"{self.folder.name}/o.json", "--db", f"{self.folder.name}/t.db",
                                         "--cache-dir", f"{self.folder.name}/cache", "--bin", str(BIN), "--jobs", "2",
                                         "--no-triton", "--no-cusparse", "--tune-budget", "2", "--samples", "8", *more])

    def measure(self, specs, *more):
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            code = grid.measure(self.args(*more), specs)
        return code, said.getvalue()

    def document(self):
        return cases.load(f"{self.folder.name}/o.json")


class Grid(World):
    def test_a_case_is_tuned_for_itself_and_measured(self):
        code, said = self.measure([CUBE])
        self.assertEqual(code, 0, said)
        row = self.document()["rows"][0]
        self.assertEqual((row["key"], row["set"], row["sparsity"]), (CUBE.key, "cubes", 0.5))
        self.assertEqual(row["choice"]["source"], "exact")  # what was tuned is what runs: the same pattern
        self.assertEqual(row["choice"]["config"], row["tune"]["winner"])
        for name in ("triage", "dense"):
            self.assertTrue(row["peers"][name]["right"])
            self.assertEqual(row["peers"][name]["samples"], 8)
        self.assertIn("no verdict", said)  # no sparse peer took part

    def test_it_goes_on_where_it_stopped(self):
        specs = [cases.Spec("cubes", 128, 64, 128, 16, s) for s in (0.5, 0.75)]
        code, said = self.measure(specs, "--time-limit", "0.001")
        self.assertEqual(code, grid.LEFT)
        self.assertIn("2 cases are left", said)
        os.environ.pop(grid.START)
        self.assertEqual(self.measure(specs[:1])[0], 0)
        with mock.patch.object(grid.Bench, "run", side_effect=AssertionError("measured again")):
            self.assertEqual(self.measure(specs[:1])[0], 0)
        self.assertEqual(self.measure(specs)[0], 0)
        self.assertEqual([row["key"] for row in self.document()["rows"]], [spec.key for spec in specs])

    def test_a_large_result_takes_the_nearest(self):
        large = cases.Spec("cubes", 256, 128, 256, 16, 0.5)
        code, said = self.measure([CUBE, large], "--tune-largest", "10000", "--large-budget", "0")
        self.assertEqual(code, 0, said)
        row = self.document()["rows"][1]
        self.assertIsNone(row["tune"])
        self.assertEqual(row["choice"]["source"], "nearest")

    def test_a_large_result_is_tuned_with_a_budget_from_what_is_known(self):
        large = cases.Spec("cubes", 256, 128, 256, 16, 0.5)
        code, said = self.measure([CUBE, large], "--tune-largest", "10000", "--large-budget", "3")
        self.assertEqual(code, 0, said)
        small, row = self.document()["rows"]
        self.assertEqual((small["tune"]["budget"], small["tune"]["starts_with"]), (2, None))
        self.assertEqual((row["tune"]["budget"], row["tune"]["candidates"]), (3, 3))
        self.assertEqual(row["choice"]["source"], "exact")
        self.assertIn("2 of 2, 2 of them with a budget", said)
        donor = row["tune"]["starts_with"]["donors"]
        self.assertEqual(len(donor), 1)
        self.assertIn(" m=128 n=64 k=128 ", donor[0]["problem"])

    def test_triage_tune_sees_the_gpu_that_the_process_sees(self):
        tool = pathlib.Path(self.folder.name) / "triage_tune"
        said = pathlib.Path(self.folder.name) / "said"
        tool.write_text(f'#!/bin/sh\necho "$CUDA_VISIBLE_DEVICES $*" >{said}\nexit 69\n')
        tool.chmod(0o755)
        args = self.args("--bin", self.folder.name)
        case = mock.Mock(m=16, k=16, block=16, row_ptr=torch.tensor([0, 1]), col_idx=torch.tensor([0]))
        with mock.patch.dict(os.environ, CUDA_VISIBLE_DEVICES="3"), self.assertRaisesRegex(RuntimeError, "exit 69"):
            grid.tune(args, CUBE, case, self.folder.name, "cuda")
        self.assertTrue(said.read_text().startswith("3 --pattern "))
        self.assertIn(" --device cuda --db ", said.read_text())

    def test_two_parts_are_merged(self):
        specs = [cases.Spec("cubes", 128, 64, 128, block, 0.5) for block in (16, 32)]
        files = []
        for i in (1, 2):
            files.append(f"{self.folder.name}/{i}.json")
            code, said = self.measure(cases.part_of(specs, f"{i}/2"), "--out", files[-1],
                                      "--db", f"{self.folder.name}/{i}.db")
            self.assertEqual(code, 0, said)
        with contextlib.redirect_stdout(io.StringIO()):
            self.assertEqual(grid.merge(self.args("--merge", *files)), 0)
        self.assertEqual([row["key"] for row in self.document()["rows"]], [spec.key for spec in specs])

    def test_a_failure_is_recorded_and_the_next_case_goes_on(self):
        broken = cases.Spec("cubes", 128, 64, 128, 16, 0.25)
        real = grid.tune

        def tune(args, spec, *more):
            if spec is broken:
                raise RuntimeError("triage_tune: exit 70: nothing was right")
            return real(args, spec, *more)
        with mock.patch.object(grid, "tune", tune):
            code, said = self.measure([broken, CUBE])
        self.assertEqual([f["key"] for f in self.document()["failures"]], [broken.key])
        self.assertEqual([r["key"] for r in self.document()["rows"]], [CUBE.key])
        self.assertIn("exit 70", said)

    def test_with_a_lost_gpu_it_starts_itself_again(self):
        def run(self, spec):
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        with mock.patch.object(grid.Bench, "run", run), mock.patch.object(grid.Bench, "gpu_is_lost", lambda self: True), \
                mock.patch.object(os, "execv", side_effect=SystemExit) as again, self.assertRaises(SystemExit):
            self.measure([CUBE])
        self.assertEqual(again.call_args.args, (sys.executable, [sys.executable] + sys.argv))
        # What failed is in the file by then: the next start goes on behind it.
        code, said = self.measure([CUBE])
        self.assertEqual(code, 0)
        self.assertIn("1 cases are done, 0 to do", said)
        self.assertIn("illegal memory access", said)

    def test_a_pattern_and_its_twin(self):
        path = pathlib.Path(self.folder.name) / "p.smtx"
        path.write_text("4, 8, 9\n0 0 6 7 9\n0 1 2 5 6 7 3 2 4\n")
        specs = cases.dlmc((16,), [path], 32)
        code, said = self.measure(specs, "--patterns", str(path))
        self.assertEqual(code, 0, said)
        rows = self.document()["rows"]
        self.assertEqual([row["nnzb"] for row in rows], [9, 9])
        self.assertEqual([row["pattern"] for row in rows], ["p.smtx", "p.smtx uniform twin"])
        self.assertRegex(said, r"dlmc: 1 patterns, lowest \d")


class Contest(World):
    def record(self, deed=None):
        args = self.args("--samples", "9")
        args = type(args)(**dict(vars(args), tune_triton=False, cusparse=False, no_dense=False, no_untuned=True))
        case = compare.Case((128, 64, 128), 16, torch.float16, 1, None, 0.5)
        real = compare.add_peers

        def add(peers, *more):
            real(peers, *more)
            if deed:
                peers.add("bad", lambda out: Bad(case, out, deed))
        with mock.patch.object(compare, "add_peers", add):
            args.db = None
            compare.configure(args)
            return compare.run_case(args, case, Clock())

    def test_all_are_right(self):
        record = self.record()
        self.assertTrue(all(entry["right"] for entry in record["peers"].values()))
        self.assertEqual(record["notes"], {})

    def test_who_is_wrong_gets_no_time(self):
        for deed in ("zero", "block", "tires"):
            with self.subTest(deed=deed):
                entry = self.record(deed)["peers"]["bad"]
                self.assertFalse(entry["right"])
                self.assertNotIn("median_ns", entry)

    def test_a_peer_that_cannot_is_named(self):
        def add(peers, *_):
            peers.add("dense", lambda out: (_ for _ in ()).throw(RuntimeError("not here")))
        with mock.patch.object(compare, "add_peers", add):
            args = self.args()
            args.db = None
            case = compare.Case((128, 64, 128), 16, torch.float16, 1, None, 0.5)
            record = compare.run_case(args, case, Clock())
        self.assertEqual(record["notes"], {"dense": "not here"})
        self.assertEqual(list(record["peers"]), ["triage"])


class Official(unittest.TestCase):
    def test_torch_s_tuner_runs_for_the_blocks_that_were_asked(self):
        for asked, wanted in ((None, []), ("all", [16, 128]), ("128", [128]), ("32,16", [16])):
            ran = []
            for block in (16, 128):
                peers = mock.Mock(case=mock.Mock(block=block))
                args = mock.Mock(no_triton=False, no_untuned=True, tune_triton=False, official_tuner=asked)
                compare.add_triton(peers, args, None, None)
                ran += [block] * peers.add.call_count
            self.assertEqual(ran, wanted)


class Race(unittest.TestCase):
    class Table:
        """ms from a table."""

        late = 0

        def sample(self, call):
            return call()

    def race(self, **ms):
        poisoned = []
        calls = {name: lambda value=value: value for name, value in ms.items()}
        return compare.race(calls, 30, self.Table(), poisoned.append), poisoned

    def test_the_clearly_slower_stop_early_but_not_those_that_must_be_exact(self):
        times, poisoned = self.race(triage=2.0, dense=9.0, tuned=8.0, cusparse_bsr=3.3, near=3.1)
        self.assertEqual({name: len(t) for name, t in times.items()},
                         {"triage": 30, "dense": 30, "tuned": 30, "cusparse_bsr": compare.LEAST_SAMPLES, "near": 30})
        self.assertEqual(sorted(poisoned), sorted(times))

    def test_nobody_takes_for_ever(self):
        times, _ = self.race(triage=300.0, dense=80.0)
        self.assertEqual(len(times["triage"]), compare.LEAST_SAMPLES)
        self.assertLess(len(times["dense"]), 12)


class Lateness(unittest.TestCase):
    def watch(self, answers):
        """A stopwatch whose tries give these (ms, late)."""
        watch = compare.Stopwatch.__new__(compare.Stopwatch)
        watch.cycles, watch.late, self.waited = watch.CYCLES, 0, []

        def once(call, cycles):
            self.waited.append(cycles)
            return answers.pop(0)
        watch._once = once
        return watch

    def test_a_sample_that_the_cpu_was_late_for_is_taken_again(self):
        watch = self.watch([(5.0, True), (1.0, False)])
        self.assertEqual(watch.sample(None), 1.0)
        self.assertEqual(self.waited, [watch.CYCLES, 2 * watch.CYCLES])
        self.assertEqual((watch.cycles, watch.late), (watch.CYCLES, 0))  # once may be an accident

    def test_who_is_late_again_and_again_waits_longer_but_not_for_ever(self):
        watch = self.watch([(5.0, True)] * 3 + [(1.0, False)] + [(5.0, True)] * 60)
        self.assertEqual(watch.sample(None), 1.0)
        self.assertEqual(watch.cycles, 4 * watch.CYCLES)
        for _ in range(5):
            self.assertEqual(watch.sample(None), 5.0)
        self.assertEqual((watch.cycles, watch.late), (watch.CYCLES_MAX, 5))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
