"""scripts/profile.sh and triage_bench --profile: what they say where something is missing. (What they make of Nsight Compute's
lines: test_bench_profile.)

python3 tests/cli/test_profile.py BUILD/bin
"""

import os
import subprocess
import sys
import unittest

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
BIN = os.path.abspath(sys.argv[1])
PROBLEM = ["--shape", "64,64,64", "--sparsity", "0.5", "--block", "32"]


def run(*arguments, **more):
    env = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "BENCH": os.path.join(BIN, "triage_bench"), **more}
    return subprocess.run(["sh", f"{ROOT}/scripts/profile.sh", *PROBLEM, *arguments], env=env, capture_output=True, text=True,
                          cwd="/")


class Profile(unittest.TestCase):
    def says(self, done, words):
        self.assertEqual(done.returncode, 69)
        self.assertEqual(done.stdout, "")
        self.assertEqual(done.stderr.count("\n"), 1)
        self.assertRegex(done.stderr, words)

    def test_no_program(self):
        self.says(run(BENCH="/nonexistent"), "there is no triage_bench")

    def test_no_device(self):
        self.says(run("--device", "host"), "--profile needs a GPU")

    def test_nothing_to_look_with(self):
        done = run("--device", "cuda:0")
        if done.returncode == 0:  # there is all that it needs
            self.assertIn("profile of triage's kernel", done.stdout)
        else:
            self.says(done, "Nsight Compute|counters|ncu")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
