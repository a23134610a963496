#!/usr/bin/env python3
"""A second operation, added by its own folders (tests/toy) and a line of a list: tuned, stored, looked up, synced and
explained by the programs as they are.

    python3 tests/toy/test_toy.py BIN TOYBIN     BIN: the programs; TOYBIN: the same, linked with the longer list
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

BIN, TOY = (pathlib.Path(path) for path in sys.argv[1:3])


def run(program, *args, code=0):
    done = subprocess.run([str(program), *map(str, args)], capture_output=True, text=True, check=False)
    assert done.returncode == code, f"{program.name} {args}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def said(program, *args, code=0):
    return json.loads(run(program, *args, "--json", code=code).stdout)


class Toy(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        here = pathlib.Path(cls.folder.name)
        os.environ |= {"XDG_DATA_HOME": str(here), "XDG_CACHE_HOME": str(here), "TRIAGE_LOCK_DIR": str(here)}
        cls.db, cls.lines, cls.other = here / "a.db", here / "a.jsonl", here / "b.db"
        cls.tuned = said(TOY / "triage_tune", "--op", "toy", "--shape", "96,200", "--device", "host", "--db", cls.db,
                         "--strategy", "exhaustive", "--quiet")

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def test_is_tuned_and_the_gate_holds(self):
        self.assertEqual(self.tuned["problem"], "toy f32 m=96 n=200 k=1")
        outcomes = {row["config"]: row["outcome"] for row in self.tuned["rows"]}
        self.assertEqual(len(outcomes), 6)
        for config, outcome in outcomes.items():
            self.assertEqual(outcome == "wrong", config.endswith("wrong=1"), (config, outcome))
        self.assertTrue(self.tuned["winner"].endswith("wrong=0"))
        self.assertEqual(self.tuned["useful_flops"], 96 * 200)

    def test_is_remembered(self):
        again = said(TOY / "triage_tune", "--op", "toy", "--shape", "96,200", "--device", "host", "--db", self.db,
                     "--strategy", "exhaustive", "--quiet")
        self.assertTrue(again["answered_from_store"])
        listed = run(TOY / "triage_db", "list", "--db", self.db, "--op", "toy").stdout
        self.assertIn("toy f32 m=96 n=200 k=1", listed)

    def test_is_looked_up_and_explained(self):
        exact = said(TOY / "triage_db", "explain", "--op", "toy", "--shape", "96,200", "--device", "host", "--db", self.db)
        self.assertEqual((exact["source"], exact["layer"], exact["config"]), ("exact", "own", self.tuned["winner"]))
        near = said(TOY / "triage_db", "explain", "--op", "toy", "--shape", "96,400", "--device", "host", "--db", self.db)
        self.assertEqual((near["source"], near["donor"]), ("nearest", "toy f32 m=96 n=200 k=1"))
        self.assertEqual(near["distance"], {"whole": 1.0, "shape": 1.0})
        self.assertIn("distance  1.00: shape 1.00 (1:", run(TOY / "triage_db", "explain", "--op", "toy", "--shape",
                                                             "96,400", "--device", "host", "--db", self.db).stdout)

    def test_is_synced_also_through_who_does_not_know_it(self):
        """A program without the operation keeps its rows, unjudged, and gives them on."""
        run(TOY / "triage_db", "export", self.lines, "--db", self.db)
        rows = len(self.lines.read_text().splitlines())
        run(BIN / "triage_db", "import", self.lines, "--db", self.other)
        self.assertIn("toy f32 m=96", run(BIN / "triage_db", "list", "--db", self.other).stdout)
        back, through = pathlib.Path(self.folder.name) / "c.db", pathlib.Path(self.folder.name) / "b.jsonl"
        run(BIN / "triage_db", "export", through, "--db", self.other)
        self.assertEqual(len(through.read_text().splitlines()), rows)
        run(TOY / "triage_db", "import", through, "--db", back)
        found = said(TOY / "triage_db", "explain", "--op", "toy", "--shape", "96,200", "--device", "host", "--db", back)
        self.assertEqual(found["config"], self.tuned["winner"])

    def test_nonsense_is_refused_as_ever(self):
        lines = [json.loads(line) for line in (self.lines if self.lines.exists() else self._export()).read_text().splitlines()]
        self.assertTrue(all(line["problem"].startswith("toy ") for line in lines))
        run(BIN / "triage_tune", "--op", "toy", "--shape", "96,200", code=64)
        run(TOY / "triage_tune", "--op", "toy", "--shape", "96", code=64)
        run(TOY / "triage_tune", "--op", "toy", "--shape", "96,200", "--sparsity", "0.5", code=64)

    def _export(self):
        run(TOY / "triage_db", "export", self.lines, "--db", self.db)
        return self.lines

    def test_the_first_operation_is_as_it_was(self):
        said(TOY / "triage_tune", "--shape", "64,64,64", "--sparsity", "0.5", "--block", "16", "--device", "host", "--db",
             self.db, "--budget", "1", "--quiet")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
