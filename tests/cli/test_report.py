"""triage_db report: what is on the page, of both operations; and, where there is a browser, that nothing overlaps or runs out of
the page at 400 and 1200 pixels, and that it prints; the pictures are left in build/report. A browser is Chromium in $PATH
(tests/run.sh's step report installs it).

python3 tests/cli/test_report.py BUILD/bin
"""

import html
import html.parser
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import unittest

BIN = os.path.abspath(sys.argv[1])
SHAPE = ["--shape", "64,64,64", "--sparsity", "0.5", "--block", "32"]


def run(program, *arguments, cwd, code=0):
    env = dict(os.environ, HOME=cwd, XDG_DATA_HOME=cwd, XDG_CACHE_HOME=os.path.join(BIN, "..", "kernels"),
               TRIAGE_LOCK_DIR=cwd)
    done = subprocess.run([os.path.join(BIN, program), *arguments], cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == code, f"{program} {arguments}: {done.returncode}: {done.stdout}{done.stderr}"
    return done


class Page(html.parser.HTMLParser):
    """Which elements there are, and that each is closed."""

    VOID = {"meta", "br", "rect", "circle", "path"}

    def __init__(self, text):
        super().__init__()
        self.open, self.count, self.links = [], {}, []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.count[tag] = self.count.get(tag, 0) + 1
        self.links += [value for name, value in attributes if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.count[tag] = self.count.get(tag, 0) + 1

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()


# Asked of each page in a frame of each width: what is wider than it, and which labels of a picture lie on each other.
PROBE = """
<body></body><pre id=answer></pre><script>
const pages = %s, widths = [400, 1200], answers = {};
function look(page) {
  const out = {wide: page.documentElement.scrollWidth, labels: 0, overlaps: [], cut: []};
  for (const cell of page.querySelectorAll('.grid td')) {  // every number of a grid can be seen without scrolling
    const x = cell.getBoundingClientRect(), box = cell.closest('.box').getBoundingClientRect();
    if (x.width && x.right > box.right + 1) out.cut.push(cell.textContent); }
  for (const svg of page.querySelectorAll('svg')) {
    const edge = svg.getBoundingClientRect();
    const all = [...svg.querySelectorAll('text')].map(t => [t.textContent, t.getBoundingClientRect()]);
    out.labels += all.length;
    all.forEach(([a, x], i) => {
      if (x.width && (x.left < edge.left - 1 || x.right > edge.right + 1 || x.bottom > edge.bottom + 1)) out.cut.push(a);
      all.slice(i + 1).forEach(([b, y]) => {
        if (x.left < y.right - 1 && y.left < x.right - 1 && x.top < y.bottom - 2 && y.top < x.bottom - 2)
          out.overlaps.push(a + ' | ' + b); }); });
  }
  return out;
}
for (const name in pages) for (const width of widths) {
  const frame = document.createElement('iframe');
  frame.style = 'border:0;height:900px;width:' + width + 'px';
  frame.onload = () => {
    answers[name + ' ' + width] = look(frame.contentDocument);
    document.getElementById('answer').textContent = JSON.stringify(answers); };
  frame.srcdoc = pages[name];
  document.body.appendChild(frame);
}
</script>
"""


def browser():
    return next((path for path in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if path), None)


def browse(folder, *arguments):
    command = [browser(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", f"--user-data-dir={folder}/browser",
               "--virtual-time-budget=3000", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


class Report(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp()
        run("triage_db", "report", "--shipped", "--html", "shipped.html", cwd=cls.folder)
        run("triage_tune", "--device", "host", *SHAPE, "--budget", "2", "--db", "t.db", cwd=cls.folder)
        run("triage_tune", "--device", "host", "--op", "attention", "--shape", "1,2,2,32,32,16", "--mask", "causal",
            "--budget", "2", "--db", "t.db", cwd=cls.folder)
        run("triage_db", "report", "--db", "t.db", "--html", "own.html", cwd=cls.folder)
        cls.text = {}
        for name in ("shipped", "own"):
            with open(os.path.join(cls.folder, name + ".html"), encoding="utf-8") as file:
                cls.text[name] = file.read()

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder, ignore_errors=True)

    def test_one_page_that_needs_nothing(self):
        for text in self.text.values():
            page = Page(text)
            self.assertEqual(page.open, [])
            self.assertNotIn("script", page.count)
            self.assertTrue(all(link.startswith("#") for link in page.links), page.links)
            self.assertNotIn("url(", text)
            self.assertLess(len(text), 3_000_000)

    def test_labels_lie_within_their_picture(self):
        """However many operations a roofline has: by the numbers alone, so that it needs no browser."""
        for text in self.text.values():
            for height, drawn in re.findall(r'<svg[^>]* viewBox="0 0 400 (\d+)"(.*?)</svg>', text, re.S):
                for x, y in re.findall(r'<text x="([\d.]+)" y="([\d.]+)"', drawn):
                    self.assertLess(float(x), 400)
                    self.assertLessEqual(float(y) + 3, float(height))  # what hangs below a line

    def test_what_is_known_is_there(self):
        text = self.text["shipped"]
        for heading in ("Problems", "Roofline", "Against the dense product", "How axes matter", "Failures", "Drift",
                        "Ranking and spread of each problem"):
            self.assertIn(f"<h3>{heading}</h3>", text)
        self.assertIn("NVIDIA H200</h2>", text)
        self.assertRegex(text, r"m=8192 n=8192 k=8192 block=128x128</td>.*?>635</td>")
        self.assertGreater(Page(text).count["circle"], 100)

    def test_both_operations(self):
        text = self.text["own"]
        self.assertIn("bsr_gemm f32 f32 row row none nobias", text)
        self.assertRegex(text, r"<h4>attention f32 f32</h4>")
        self.assertRegex(text, r'<th class="h">causal</th>')

    def test_words_of_a_database_are_text(self):
        """A row of a name that a browser would run, as a damaged or strange database may have it."""
        path = os.path.join(self.folder, "evil.db")
        shutil.copy(os.path.join(self.folder, "t.db"), path)
        database = sqlite3.connect(path)
        (trigger,) = database.execute("SELECT sql FROM sqlite_master WHERE name = 'candidate_update'").fetchone()
        database.execute("DROP TRIGGER candidate_update")
        database.execute("UPDATE candidate SET config = '<script>' || config")
        database.execute(trigger)
        database.commit()
        database.close()
        run("triage_db", "report", "--db", path, "--html", "evil.html", cwd=self.folder)
        with open(os.path.join(self.folder, "evil.html"), encoding="utf-8") as file:
            text = file.read()
        self.assertIn("&lt;script", text)
        self.assertNotIn("<script", text)

    def test_wrong_usage(self):
        self.assertIn("report needs --html", run("triage_db", "report", cwd=self.folder, code=64).stderr)
        self.assertIn("nothing is known", run("triage_db", "report", "--shipped", "--device", "RTX", "--html", "x.html",
                                              cwd=self.folder, code=65).stderr)
        self.assertFalse(os.path.exists(os.path.join(self.folder, "x.html")))

    @unittest.skipUnless(browser(), "no Chromium")
    def test_nothing_overlaps(self):
        probe = os.path.join(self.folder, "probe.html")
        with open(probe, "w", encoding="utf-8") as file:
            file.write(PROBE % json.dumps(self.text).replace("</", "<\\/"))
        dom = browse(self.folder, "--window-size=1300,900", "--dump-dom", "file://" + probe).stdout
        answer = re.search(r'<pre id="answer">(\{.*?\})</pre>', dom, re.S)
        self.assertTrue(answer, dom[-500:])
        answers = json.loads(html.unescape(answer[1]))
        self.assertEqual(len(answers), 4)
        for name, found in answers.items():
            self.assertGreater(found["labels"], 10)
            self.assertEqual((found["overlaps"], found["cut"]), ([], []), name)
            self.assertLessEqual(found["wide"], int(name.split()[1]), name)

    @unittest.skipUnless(browser(), "no Chromium")
    def test_screens_and_paper(self):
        """Left in build/report, to be looked at: what a machine cannot judge."""
        kept = os.path.join(BIN, "..", "report")
        os.makedirs(kept, exist_ok=True)
        page = "file://" + os.path.join(self.folder, "shipped.html")
        for name, option in (("400.png", "--screenshot"), ("1200.png", "--screenshot"), ("paper.pdf", "--print-to-pdf")):
            path = os.path.join(kept, name)
            if os.path.exists(path):
                os.remove(path)
            width = name.split(".")[0] if option == "--screenshot" else "1200"
            browse(self.folder, f"--window-size={width},8000", f"{option}={path}", page)
            self.assertGreater(os.path.getsize(path), 50_000, name)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]])
