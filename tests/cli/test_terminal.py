"""What triage_tune and triage_bench show on a terminal: two lines while they work, which say what is done now and never wrap, and
at the end a result that fits the window and nothing of those lines.

python3 tests/cli/test_terminal.py BUILD/bin
"""

import fcntl
import os
import pty
import re
import struct
import sys
import tempfile
import termios
import unittest

BIN = os.path.abspath(sys.argv[1])
KERNELS = os.path.join(BIN, "..", "kernels")
PROBLEM = ["--device", "host", "--shape", "64,64,64", "--sparsity", "0.5", "--block", "32"]


class Screen:
    """As much of a terminal as is used: text, its colours left out, and the codes that move, clear a line, clear to the end."""

    def __init__(self, columns):
        self.columns, self.lines, self.x, self.y, self.wrapped = columns, [""], 0, 0, 0

    def put(self, text):
        line = self.lines[self.y].ljust(self.x)
        self.lines[self.y] = line[:self.x] + text + line[self.x + 1:]
        self.x += 1
        self.wrapped += self.x > self.columns

    def feed(self, text):
        for code, letter, character in re.findall(r"\033\[([\d;]*)([A-Za-z])|(.)", text, re.S):
            if letter in ("K", "J"):
                self.lines[self.y] = self.lines[self.y][:self.x]
                self.lines[self.y + 1:] = [] if letter == "J" else self.lines[self.y + 1:]
            elif letter == "A":
                self.y -= int(code or 1)
            elif character == "\r":
                self.x = 0
            elif character == "\n":
                self.y += 1
                self.lines += [""] * (self.y + 1 - len(self.lines))
            elif character:
                self.put(character)


def run(columns, program, *arguments):
    """What the terminal got."""
    with tempfile.TemporaryDirectory() as folder:
        child, terminal = pty.fork()
        if child == 0:
            os.environ.update(HOME=folder, XDG_CACHE_HOME=KERNELS, TRIAGE_LOCK_DIR=folder, TERM="xterm")
            for name in ("XDG_DATA_HOME", "COLUMNS", "NO_COLOR"):
                os.environ.pop(name, None)
            os.read(0, 1)  # until the window has its size
            os.execv(os.path.join(BIN, program), [program, *arguments])
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        os.write(terminal, b"\n")
        got = b""
        while True:
            try:
                part = os.read(terminal, 65536)
            except OSError:  # its end is closed
                break
            if not part:
                break
            got += part
        state = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os.close(terminal)
    assert state == 0, f"{program} {arguments}: {state}: {got.decode()}"
    return got.decode()


class Terminal(unittest.TestCase):
    def look(self, columns, text):
        """The lines that are left; none is wider than the window, nor was on the way, but for those of warnings."""
        screen = Screen(columns)
        for line in text.split("\n"):
            screen.feed(line + "\n")
        said = [line for line in screen.lines if line.startswith("triage_")]
        self.assertEqual(screen.wrapped, sum(max(0, len(line) - columns) for line in said))
        self.assertNotIn("[", "".join(screen.lines))  # no bar
        return screen.lines

    def test_tune(self):
        for columns in (80, 120):
            text = run(columns, "triage_tune", *PROBLEM, "--budget", "4", "--time-limit", "1000")
            for shown in (r"\[\.{24}\] 0/4  at most \d+ s left", r"\[#+\.+\] [123]/4  \d+ s left", r"4/4  best [\d.]+ [num]?s\r",
                          "opening the device", r"compiling (\d+: )?host tile", "timing: host tile", "racing the best: host tile"):
                self.assertTrue(re.search(shown, text), f"{shown} in\n{text}")
            lines = self.look(columns, text)
            self.assertTrue([line for line in lines if line.startswith("winner: host ")], lines)
            self.assertTrue([line for line in lines if line.startswith("rank  config ")], lines)

    def test_bench(self):
        for columns in (80, 120):
            text = run(columns, "triage_bench", *PROBLEM, "--samples", "6", "--against", "none")
            self.assertIn("racing triage", text)
            lines = self.look(columns, text)
            self.assertTrue([line for line in lines if line.startswith("triage: host tile")], lines)

    def test_wide(self):
        text = run(80, "triage_tune", *PROBLEM, "--budget", "2", "--wide", "--quiet")
        self.assertIn("dense-equivalent", text)
        self.assertNotIn("timing: ", text)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
