#!/usr/bin/env python3
"""What grid.py says about its results: no torch, no GPU. python3 tests/bench/test_cases.py"""
import contextlib
import io
import json
import pathlib
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "python/bench"))
import cases  # noqa: E402
import derive  # noqa: E402
import grid  # noqa: E402


def row(key="a", name="cubes", block=16, sparsity=0.5, source="exact", **ns):
    """ns: peer=time, or peer=None for a wrong result; '_' stands for '-'."""
    peers = {peer.replace("_", "-"): {"right": time is not None, **({"median_ns": time, "useful_tflops": 1e6 / time}
                                                                     if time else {})} for peer, time in ns.items()}
    return {"key": key, "set": name, "block": block, "sparsity": sparsity, "choice": {"source": source}, "peers": peers}


class Derived(unittest.TestCase):
    def test_the_files_are_patterns(self):
        with tempfile.TemporaryDirectory() as folder:
            for name, (cols, rows) in derive.derive().items():
                path = pathlib.Path(folder) / name
                derive.write(path, (cols, rows))
                self.assertEqual(cases.read_head(path), (len(rows), cols, sum(map(len, rows))))
                for row in rows:
                    self.assertEqual(row, sorted(set(row)))
                    self.assertTrue(all(0 <= c < cols for c in row))

    def test_twice_transposed_is_itself(self):
        pattern = derive.read("variational_0.9_encoder1_ffn2")
        turned = derive.transposed(pattern)
        self.assertEqual((turned[0], len(turned[1])), (512, 2048))
        self.assertIn(5, turned[1][pattern[1][5][0]])
        self.assertEqual(derive.transposed(turned), pattern)

    def test_a_part_has_the_first_rows_and_columns(self):
        self.assertEqual(derive.part((9, [[0, 4, 8], [3], [1, 2]]), 2, 4), (4, [[0], [3]]))


class Files(unittest.TestCase):
    def test_what_is_written_is_read(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "p.smtx"
            for cols, row_ptr, col_idx in ((4, [0, 2, 2, 3], [0, 3, 1]), (3, [0, 0, 0], []), (1, [0, 1], [0])):
                cases.write_smtx(path, cols, row_ptr, col_idx)
                self.assertEqual(cases.read_smtx(path), (len(row_ptr) - 1, cols, row_ptr, col_idx))
                self.assertEqual(cases.read_head(path), (len(row_ptr) - 1, cols, len(col_idx)))

    def test_the_bytes_are_those_that_triage_tune_reads(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "p.smtx"
            cases.write_smtx(path, 4, [0, 2, 2, 3], [0, 3, 1])
            self.assertEqual(path.read_bytes(), b"3, 4, 3\n0 2 2 3\n0 3 1\n")


class Lists(unittest.TestCase):
    def test_the_grid_is_what_must_hold(self):
        found = cases.cubes(cases.BLOCKS)
        self.assertEqual(len(found), 48)
        self.assertEqual({(s.m, s.n, s.k) for s in found}, {(x, x, x) for x in (2048, 4096, 16384)})
        self.assertEqual({s.sparsity for s in found}, {0.5, 0.8, 0.95, 0.98})
        found = cases.layers(cases.BLOCKS, (0.9,))
        self.assertEqual(len(found), 36)
        self.assertEqual({(s.m, s.k) for s in found}, {(4096, 11008), (4096, 4096), (8192, 28672)})
        self.assertEqual({s.n for s in found}, {16, 512, 4096})
        self.assertTrue(all(s.m % s.block == 0 and s.k % s.block == 0 for s in found))

    def test_parts_are_all_of_it_once(self):
        everything = cases.cubes(cases.BLOCKS) + cases.layers(cases.BLOCKS, (0.9, 0.8))
        for count in (1, 2, 3, 4, 7):
            parts = [cases.part_of(everything, f"{i}/{count}") for i in range(1, count + 1)]
            self.assertEqual(sorted(s.key for part in parts for s in part), sorted(s.key for s in everything))
            self.assertTrue(all(parts))
        for bad in ("0/3", "4/3", "half", "1/2/3", "1/x"):
            with self.assertRaisesRegex(SystemExit, f"--part {bad} is not I/N"):
                cases.part_of(everything, bad)

    def test_parts_take_equally_long_and_keep_the_order(self):
        everything = cases.cubes(cases.BLOCKS) + cases.layers(cases.BLOCKS, (0.9,))
        everything.sort(key=lambda spec: spec.m * spec.n > cases.LARGEST)
        for chosen in (everything, [s for s in everything if s.block != 16], [s for s in everything if s.block == 64]):
            for count in (2, 3, 4):
                parts = [cases.part_of(chosen, f"{i}/{count}") for i in range(1, count + 1)]
                self.assertEqual(sorted(s.key for part in parts for s in part), sorted(s.key for s in chosen))
                costs = [sum(map(cases.seconds, part)) for part in parts]
                # By count alone, two parts of three blocks would be 2 to 1.
                self.assertLess(max(costs), 1.15 * sum(costs) / count, (count, costs))
                for part in parts:
                    self.assertEqual(part, [s for s in chosen if s in part])
        # A large case is with smaller ones of its block, from which it learns.
        for i in (1, 2):
            part = cases.part_of(everything, f"{i}/2")
            self.assertEqual(len({s.block for s in part}), 2)
            self.assertLess(part[0].m * part[0].n, cases.LARGEST)
            self.assertGreater(part[-1].m * part[-1].n, cases.LARGEST)

    def test_the_longest_goes_first_to_whom_has_least(self):
        self.assertEqual(cases.deal({"a": 2, "b": 7, "c": 3, "d": 3}, 2), [[7, ["b"]], [8, ["c", "d", "a"]]])

    def test_what_is_large_costs_what_its_budget_does(self):
        large = cases.Spec("cubes", 16384, 16384, 16384, 128, 0.95)
        none, eight, ten = (cases.seconds(large, cases.LARGEST, budget) for budget in (0, 8, 10))
        self.assertEqual(none, cases.contest_seconds(large))
        self.assertAlmostEqual(ten - eight, 2 * cases.LARGE_CANDIDATE_SECONDS)
        self.assertGreater(eight - none, 8 * cases.LARGE_CANDIDATE_SECONDS)
        small = cases.Spec("cubes", 4096, 4096, 4096, 128, 0.95)
        self.assertEqual(cases.seconds(small, cases.LARGEST, 0), cases.seconds(small, cases.LARGEST, 8))

    def test_a_pattern_and_its_twin_stay_together(self):
        files = sorted((ROOT / "tests/data/dlmc").glob("*.smtx"))
        found = cases.dlmc((16, 32), files, 1024)
        self.assertEqual(len(found), 4 * len(files))
        for i in range(1, 6):
            part = cases.part_of(found, f"{i}/5")
            self.assertEqual(sum(s.twin for s in part) * 2, len(part))

    def test_keys_are_unique(self):
        files = sorted((ROOT / "tests/data/dlmc").glob("*.smtx"))
        found = (cases.cubes(cases.BLOCKS) + cases.layers(cases.BLOCKS, (0.9, 0.8)) + cases.dlmc((16, 32), files, 1024)
                 + cases.crossover(cases.BLOCKS, 4096))
        self.assertEqual(len({s.key for s in found}), len(found))


class Verdict(unittest.TestCase):
    def test_the_best_sparse_peer_counts_and_dense_stands_apart(self):
        r = row(triage=100, tuned=120, cusparse_ell=90, dense=50)
        self.assertEqual(cases.against_sparse(r), (0.9, "cusparse-ell"))
        self.assertEqual(cases.against_dense(r), 0.5)

    def test_a_wrong_peer_is_no_peer(self):
        self.assertEqual(cases.against_sparse(row(triage=100, tuned=120, cusparse_ell=None)), (1.2, "tuned"))
        self.assertIsNone(cases.against_sparse(row(triage=100, tuned=None, dense=50)))
        self.assertIsNone(cases.against_sparse(row(triage=None, tuned=50)))

    def test_it_holds_at_both_limits(self):
        rows = [row(str(i), triage=100, tuned=150) for i in range(19)] + [row("loss", triage=100, tuned=95)]
        s = cases.peer_summary(rows)
        self.assertTrue(s["holds"])
        self.assertEqual((s["wins"], s["cases"], s["worst"]), (19, 20, (0.95, "tuned", "loss")))

    def test_a_loss_too_many_or_too_deep_fails(self):
        rows = [row(str(i), triage=100, tuned=150) for i in range(18)]
        two = [row("l1", triage=100, tuned=97), row("l2", triage=100, tuned=97)]
        self.assertFalse(cases.peer_summary(rows + two)["holds"])
        deep = [row(str(i), triage=100, tuned=150) for i in range(99)] + [row("deep", triage=100, tuned=94.9)]
        self.assertFalse(cases.peer_summary(deep)["holds"])

    def test_what_has_no_verdict_does_not_hold(self):
        rows = [row(str(i), triage=100, tuned=150) for i in range(30)]
        self.assertTrue(cases.peer_summary(rows)["holds"])
        self.assertFalse(cases.peer_summary(rows + [row("no peer", triage=100)])["holds"])
        self.assertFalse(cases.peer_summary(rows + [row("wrong", triage=None, tuned=150)])["holds"])
        self.assertFalse(cases.peer_summary(rows, [{"key": "x", "set": "cubes", "reason": "lost"}])["holds"])
        self.assertFalse(cases.peer_summary([])["holds"])

    def test_lines_name_losses_dense_wins_and_failures(self):
        document = {"rows": [row("a", triage=100, tuned=150, dense=300), row("b", triage=100, tuned=90, dense=80)],
                    "failures": [{"key": "c", "set": "cubes", "reason": "out of memory"}]}
        text = "\n".join(cases.summary_lines(document))
        for wanted in ("wins 1 of 3 cases", "does not hold", "loss  0.900 against tuned: b", "no verdict: c",
                       "dense cuBLAS wins, 0.800: b", "FAILED c: out of memory"):
            self.assertIn(wanted, text)

    def test_twins(self):
        rows = [row("p", "dlmc", triage=100), row("p uniform twin", "dlmc", triage=90),
                row("q", "dlmc", triage=100), row("q uniform twin", "dlmc", triage=80),
                row("w", "dlmc", triage=None), row("w uniform twin", "dlmc", triage=80),
                row("alone", "dlmc", triage=1)]
        self.assertEqual([(round(r, 2), k) for r, k in cases.twin_ratios(rows)], [(0.0, "w"), (0.8, "q"), (0.9, "p")])
        self.assertIn("does not hold", "\n".join(cases.summary_lines({"rows": rows})))
        self.assertIn("everywhere holds", "\n".join(cases.summary_lines({"rows": rows[:2]})))

    def test_crossing(self):
        self.assertEqual(cases.crossing_of([(0.0, 0.5), (0.5, 0.75), (0.7, 1.25)]), 0.6)
        self.assertEqual(cases.crossing_of([(0.0, 1.1), (0.5, 2.0)]), 0.0)
        self.assertIsNone(cases.crossing_of([(0.0, 0.5), (0.99, 0.9)]))
        # It counts from where on triage stays ahead.
        self.assertEqual(cases.crossing_of([(0.0, 1.5), (0.5, 0.5), (0.6, 1.5)]), 0.55)
        rows = [row(str(s), "crossover", 64, s, triage=100, dense=100 * ratio)
                for s, ratio in ((0.7, 1.25), (0.0, 0.5), (0.5, 0.75))]
        self.assertEqual(cases.crossings(rows)[64][0], 0.6)


class Files(unittest.TestCase):
    def document(self, keys, **more):
        return dict({"what": "bsr_gemm grid", "device": "d", "driver": "1", "toolkit": "13", "torch": "2",
                     "commit": "c", "protocol": "p", "rows": [row(key, triage=100, tuned=150) for key in keys]}, **more)

    def test_merge(self):
        first = self.document("ab", failures=[{"key": "c", "set": "cubes", "reason": "r"},
                                              {"key": "e", "set": "cubes", "reason": "r"}], measuring_seconds=2)
        second = self.document("bcd", measuring_seconds=3)
        merged = cases.merge([first, second])
        self.assertEqual([r["key"] for r in merged["rows"]], list("abcd"))
        self.assertEqual([f["key"] for f in merged["failures"]], ["e"])  # c was measured after all
        self.assertEqual(merged["measuring_seconds"], 5)

    def test_what_was_measured_elsewhere_is_not_merged(self):
        for name in ("device", "driver", "protocol"):
            with self.assertRaisesRegex(SystemExit, name):
                cases.merge([self.document("a"), self.document("b", **{name: "other"})])

    def test_two_gpus_of_a_model_are_joined_and_both_named(self):
        merged = cases.merge([self.document("ab", gpus=["GPU-2"]), self.document("cd", gpus=["GPU-1"])])
        self.assertEqual(([r["key"] for r in merged["rows"]], merged["gpus"]), (list("abcd"), ["GPU-1", "GPU-2"]))
        with self.assertRaisesRegex(SystemExit, "differ in device"):
            cases.merge([self.document("ab", gpus=["GPU-2"]), self.document("cd", device="e", gpus=["GPU-1"])])

    def test_of_two_commits_each_row_says_its_own(self):
        merged = cases.merge([self.document("ab"), self.document("bc", commit="d")])
        self.assertEqual(merged["commit"], "c, d")
        self.assertEqual({r["key"]: r["commit"] for r in merged["rows"]}, {"a": "c", "b": "d", "c": "d"})

    def test_merge_from_the_command_line(self):
        with tempfile.TemporaryDirectory() as folder:
            paths = []
            for name in "ab":
                paths.append(f"{folder}/{name}.json")
                pathlib.Path(paths[-1]).write_text(json.dumps(self.document(name)))
            sys.argv = ["grid.py", "--merge", *paths, "--out", f"{folder}/c.json"]
            said = io.StringIO()
            with contextlib.redirect_stdout(said):
                self.assertEqual(grid.main(), 0)
            self.assertIn("wins 2 of 2 cases (100.0 %)", said.getvalue())
            self.assertEqual(len(cases.load(f"{folder}/c.json")["rows"]), 2)

    def test_bad_lists_are_refused_in_one_line(self):
        self.assertEqual(cases.numbers("--block", "16,32", int), (16, 32))
        self.assertEqual(cases.shape_of("64,32,128"), (64, 32, 128))
        for call, words in ((lambda: cases.numbers("--block", "16,x", int), "--block 16,x is not a list of numbers"),
                            (lambda: cases.shape_of("64,32"), "--shape 64,32 is not M,N,K"),
                            (lambda: cases.shape_of("64,0,32"), "--shape 64,0,32 is not M,N,K"),
                            (lambda: cases.shape_of("64,y,32"), "--shape 64,y,32 is not a list of numbers")):
            with self.assertRaises(SystemExit) as refused:
                call()
            self.assertIn(words, str(refused.exception))

    def test_files_are_written_whole(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "made/for/it.json"
            cases.write_json(path, {"rows": [1]})
            with self.assertRaises(TypeError):
                cases.write_json(path, {"rows": object()})
            self.assertEqual(cases.load(path), {"rows": [1]})
            self.assertEqual([item.name for item in path.parent.iterdir()], ["it.json"])

    def test_what_is_tuned_with_a_budget_is_said_beforehand_and_afterwards(self):
        for budget, word in (("8", "8 tried"), ("3", "3 tried"), ("0", "nearest")):
            sys.argv = ["grid.py", "--dry-run", "--set", "cubes", "--block", "64", "--large-budget", budget]
            said = io.StringIO()
            with contextlib.redirect_stdout(said):
                self.assertEqual(grid.main(), 0)
            lines = said.getvalue().splitlines()
            self.assertEqual([word in line for line in lines[:12]], [False] * 8 + [True] * 4)
            self.assertTrue(all("tuned" in line for line in lines[:8]))
        rows = [row("a", triage=1, tuned=2), dict(row("b", triage=1, tuned=2), tune={"budget": 8}),
                dict(row("c", triage=1, tuned=2, source="nearest"), tune=None)]
        self.assertIn("very problem: 2 of 3, 1 of them with a budget", "\n".join(cases.summary_lines({"rows": rows})))
        for bad in ("-1", "x", "1.5"):
            with contextlib.redirect_stderr(io.StringIO()) as said, self.assertRaises(SystemExit):
                grid.parser().parse_args(["--large-budget=" + bad])
            self.assertIn(f"{bad} is not a number of candidates, 0 to", said.getvalue())

    def test_dry_run_needs_no_gpu(self):
        sys.argv = ["grid.py", "--dry-run", "--set", "cubes,layers,dlmc,crossover", "--part", "2/2", "--jobs", "16"]
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            self.assertEqual(grid.main(), 0)
        self.assertRegex(said.getvalue(), r"\d+ cases, about \d+ s, and \d+ Triton kernels")
        self.assertNotIn("b=32 ", said.getvalue())  # the other part's
        self.assertNotIn("torch", sys.modules)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
