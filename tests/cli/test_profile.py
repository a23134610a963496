"""scripts/profile.sh: what it says where something is missing, and what it makes of Nsight Compute's CSV (of a stand-in: there is
no GPU here).

python3 tests/cli/test_profile.py
"""

import os
import subprocess
import tempfile
import unittest

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))

NCU = """#!/bin/sh
for word; do last=$word; [ "$word" = --metrics ] && take=1 && continue; [ "${take:-}" ] && names=$word && take=; done
printf '==PROF== Connected\\n"ID","Grid Size"'
echo ",$names" | sed 's/,\\([^,]*\\)/,"\\1"/g' | sed 's/^/,/;s/^,,/,/'
echo '"","","%","%","%","%","%"'
echo '"0","(64, 1, 1)","61.5","40.0","12.0","30.0","25.0"'
"""


def run(folder, **more):
    env = {"PATH": f"{folder}:/usr/bin:/bin", "BENCH": "/bin/true", **more}
    return subprocess.run(["sh", f"{ROOT}/scripts/profile.sh", "--shape", "64,64,64"], env=env, capture_output=True,
                          text=True)


class Profile(unittest.TestCase):
    def test_what_is_missing_is_said(self):
        with tempfile.TemporaryDirectory() as folder:
            done = run(folder)
            self.assertEqual(done.returncode, 69)
            self.assertRegex(done.stderr, "no Nsight Compute|no GPU")
            done = run(folder, BENCH="/nonexistent")
            self.assertIn("there is no triage_bench", done.stderr)

    def test_five_figures(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "ncu")
            with open(path, "w", encoding="utf-8") as file:
                file.write(NCU)
            os.chmod(path, 0o755)
            done = run(folder, PROFILE_WITHOUT_DEVICE="1")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(done.stdout.splitlines()[1].split(),
                             ["(64,", "1,", "1)", "61.5", "40.0", "12.0", "30.0", "75.0"])


if __name__ == "__main__":
    unittest.main()
