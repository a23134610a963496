#!/usr/bin/env python3
"""The Triton peer without a GPU: what its kernels share, and that the compilations made beforehand are found.

Compiles for sm_90 on the CPU. Skipped (77) where torch or triton is missing. python3 tests/bench/test_triton_bsr.py
"""
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "python/bench"))
try:
    import torch
    import triton  # noqa: F401
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)
import triton_bsr  # noqa: E402

FOLDER = tempfile.TemporaryDirectory()
os.environ["TRITON_CACHE_DIR"] = FOLDER.name
F16 = "float16"


def kernels():
    """Compiled kernels in the cache: one cubin each."""
    return len(list(pathlib.Path(FOLDER.name).rglob("*.cubin")))


def launch(rows, cols, n, nnzb, block, config, meta=None):
    """The call that the comparison makes, up to the launch: torch's own code with a compiler for a kernel."""
    worker = triton_bsr._open_worker(90)
    from torch.sparse import _triton_ops
    row_ptr = torch.zeros(rows + 1, dtype=torch.int32)
    row_ptr[1:] = nnzb
    values = torch.zeros(nnzb, block, block).half()
    bsr = torch.sparse_bsr_tensor(row_ptr, torch.arange(nnzb, dtype=torch.int32), values,
                                  size=(rows * block, cols * block))
    dense, out = torch.zeros(cols * block, n).half(), torch.zeros(rows * block, n).half()
    _triton_ops.bsr_dense_addmm(out, bsr, dense, beta=0, alpha=1, out=out, meta=meta or triton_bsr.meta_of(config, n))
    return worker.made


class Sharing(unittest.TestCase):
    CONFIG = (64, 4, 3, 4)

    def test_the_kernel_does_not_depend_on_split_n(self):
        shared = launch(4, 40, 256, 32, 32, self.CONFIG)
        for n in (256, 1024):
            plain = launch(4, 40, n, 32, 32, self.CONFIG, triton_bsr.meta_of(self.CONFIG, n).plain())
            self.assertEqual(plain.asm["cubin"], shared.asm["cubin"])

    def test_the_kernel_does_depend_on_its_tile(self):
        self.assertNotEqual(launch(4, 40, 256, 32, 32, self.CONFIG).asm["cubin"],
                            launch(4, 40, 256, 32, 32, (128, 4, 3, 4)).asm["cubin"])

    def test_what_was_compiled_beforehand_is_found(self):
        """Real shapes, of each class of arguments: nothing is compiled for them any more."""
        config = (128, 2, 2, 4)
        for of_class, (rows, cols, nnzb) in {(True, False): (128, 512, 480), (False, False): (64, 512, 481),
                                             (True, True): (31, 64, 48)}.items():
            with self.subTest(of_class=of_class):
                self.assertEqual(triton_bsr.argument_class(nnzb, rows), of_class)
                _, made = triton_bsr.compile_one((90, F16, 16, of_class, config))
                self.assertIsInstance(made, int)
                for n in (512, 4096):
                    triton_bsr._worker.kernel.device_caches.clear()
                    before = kernels()
                    launch(rows, cols, n, nnzb, 16, config)
                    self.assertEqual(kernels(), before)

    def test_another_class_is_another_compilation(self):
        config = (128, 3, 2, 2)
        triton_bsr.compile_one((90, F16, 16, (True, False), config))
        before = kernels()
        launch(64, 512, 512, 481, 16, config)
        self.assertEqual(kernels(), before + 1)


class Compiling(unittest.TestCase):
    def test_processes_fill_one_cache(self):
        factory = triton_bsr.Factory(2)
        self.addCleanup(factory.close)
        jobs = [(90, F16, 64, (True, False), (64, group, 2, 4)) for group in (1, 2, 8)]
        before = kernels()
        self.assertEqual(factory.compile(jobs + jobs[:1]), 3)
        self.assertEqual(kernels(), before + 3)
        self.assertEqual(factory.compile(jobs), 0)
        self.assertTrue(factory.usable(64, F16, (True, False), (64, 1, 2, 4)))

    def test_a_tile_that_does_not_fit_is_not_used(self):
        factory = triton_bsr.Factory(1)
        self.addCleanup(factory.close)
        job = (90, F16, 128, (True, False), (256, 1, 5, 8))
        factory.compile([job])
        self.assertFalse(factory.usable(128, F16, (True, False), job[4]))


    def test_a_lost_process_costs_time_only(self):
        factory = triton_bsr.Factory(1)
        self.addCleanup(factory.close)
        with mock.patch.object(triton_bsr, "compile_one", os.abort), mock.patch("builtins.print"):
            factory.pool.submit(os.abort)
            factory.compile([(90, F16, 16, (True, False), (64, 7, 1, 1))])
        self.assertEqual(factory.compile([(90, F16, 16, (True, False), (64, 8, 1, 1))]), 0)
        self.assertTrue(factory.usable(16, F16, (True, False), (64, 7, 1, 1)))


    def test_processes_do_not_outlive_the_program(self):
        """The output of a program that crashed is closed at once: nobody else holds it."""
        script = ("import os, sys, time; sys.path.insert(0, sys.argv[1]); import triton_bsr\n"
                  "triton_bsr.Factory(2)\ntime.sleep(0.5)\nos.kill(os.getpid(), 9)")
        done = subprocess.run([sys.executable, "-c", script, str(ROOT / "python/bench")], capture_output=True,
                              timeout=600, check=False)
        self.assertEqual(done.returncode, -9, done.stderr)


class Grid(unittest.TestCase):
    def test_it_holds_what_torch_found_best_on_its_own_gpu(self):
        """Of torch's published winners for f16, M >= 2048 and alpha 1, beta 0: nearly all are in our grid but for
        GROUP_SIZE_ROW beyond ours."""
        from torch.sparse import _triton_ops_meta as table
        key = ("bsr_dense_addmm", "NVIDIA A100-SXM4-80GB", (0, torch.float16, 0.5))
        data = table._operation_device_version_data[key]
        inside, outside = 0, []
        for (m, k, n, block, _, beta0, _, _), (_, split, stages, warps) in data.items():
            if m < 2048 or k < 2048 or not beta0 or n not in (512, 1024, 2048, 4096, 8192, 16384):
                continue
            if (n // split, stages, warps) in triton_bsr.tiles(block, n):
                inside += 1
            else:
                outside.append((m, k, n, block, n // split, stages, warps))
        self.assertGreater(inside, 80)
        self.assertLessEqual(len(outside), inside // 20, outside)

    def test_the_untuned_kernel_is_a_candidate(self):
        for block in (16, 32, 64, 128):
            for n in (16, 512, 4096):
                self.assertIn(triton_bsr.default_config(block, n), triton_bsr.configs(block, n, (1,)))

    def test_each_once(self):
        for block in (16, 32, 64, 128):
            found = triton_bsr.configs(block, 512, (1, 4))
            self.assertEqual(len(found), len(set(found)))


class Fake:
    """A stopwatch that asks the call how long it takes."""

    def sample(self, call):
        return call()


class Searching(unittest.TestCase):
    def search(self, cost, rows=32, cols=32, block=16, n=512):
        row_ptr = torch.arange(rows + 1, dtype=torch.int32) * cols
        col_idx = torch.arange(cols, dtype=torch.int32).repeat(rows)
        bsr = torch.sparse_bsr_tensor(row_ptr, col_idx, torch.zeros(rows * cols, block, block).half(),
                                      size=(rows * block, cols * block))
        out, b = torch.zeros(rows * block, n).half(), torch.zeros(cols * block, n).half()

        def call_of(matrix, dense, result, meta):
            self.assertEqual(matrix.shape[0], result.shape[0])
            return lambda: cost(meta, matrix)
        with mock.patch.object(triton_bsr, "call_of", call_of):
            return triton_bsr.Search(bsr, b, out, Fake()).run()

    def test_it_finds_the_best(self):
        def cost(meta, _):
            return (1 + abs(meta.split_n - 4) + abs(meta["num_stages"] - 3) + abs(meta["num_warps"] - 2)
                    + abs(meta["GROUP_SIZE_ROW"] - 3))
        meta, about = self.search(cost)
        self.assertEqual(about["meta"], {"SPLIT_N": 4, "GROUP_SIZE_ROW": 3, "num_stages": 3, "num_warps": 2})
        self.assertEqual(dict(meta)["SPLIT_N"], 1)
        self.assertEqual(about["screened_rows"], 512)

    def test_large_problems_are_screened_on_some_rows_and_settled_on_all(self):
        seen = set()

        def cost(meta, matrix):
            seen.add(matrix.shape[0])
            # On the whole problem the order of the two best is the other way round.
            whole = matrix.shape[0] == 512
            return {1: 5.0, 4: 1.0 if not whole else 2.0, 3: 1.5 if not whole else 1.0}.get(meta["GROUP_SIZE_ROW"], 9.0)
        with mock.patch.object(triton_bsr, "SLICE_FLOP", 1.4e8):
            meta, about = self.search(cost)
        self.assertEqual(seen, {256, 512})
        self.assertEqual(about["screened_rows"], 256)

    def test_failures_are_no_candidates(self):
        def cost(meta, _):
            if meta["num_warps"] != 4:
                raise RuntimeError("out of resource: shared memory")
            return 1.0 + meta["num_stages"]
        meta, about = self.search(cost)
        self.assertEqual((meta["num_warps"], meta["num_stages"]), (4, 1))
        self.assertGreater(about["failed"], 0)
        with self.assertRaisesRegex(RuntimeError, "out of resource"):
            self.search(lambda meta, _: (_ for _ in ()).throw(RuntimeError("out of resource")))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
