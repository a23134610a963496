#!/usr/bin/env python3
"""The compile farm: workers without the device compile ahead for it. python3 tests/fleet/test_farm.py BIN_DIR

Real programs, a real PostgreSQL server, the host device in the place of a GPU; where NVRTC is installed, sm_90a too.
The space has candidates that do not compile: what the farm found is not compiled by the worker that times."""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import programs
from programs import need

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
VARIANTS = 3  # of right candidates, and as many broken ones


def space_text(variants):
    with open(os.path.join(ROOT, "tests/data/faults/space.lua"), encoding="utf-8") as file:
        text = file.read()
    text, axes = re.subn(r"axes = \{.*?\n         \},\n", """axes = {
            { "variant", { %s } },
            { "fault", { "right", "broken" } },
         },
""" % ", ".join(map(str, range(variants))), text, count=1, flags=re.DOTALL)
    text, constraints = re.subn(r"constraints = \{.*?\n         \},\n", "constraints = {},\n", text, count=1,
                                flags=re.DOTALL)
    need(axes == constraints == 1, "tests/data/faults/space.lua has changed")
    return text


class Farm(programs.Programs):
    def __init__(self, bin_dir):
        super().__init__(bin_dir, "farm", OMP_NUM_THREADS="1")
        self.data = os.path.join(self.home, "data")
        for folder in ("templates", "tuner"):
            shutil.copytree(os.path.join(ROOT, folder), os.path.join(self.data, folder))
        shutil.copy(os.path.join(ROOT, "tests/data/faults/faulty.c"), os.path.join(self.data, "templates/bsr_gemm"))
        for name, variants in (("small", VARIANTS), ("large", 100)):
            with open(os.path.join(self.home, name + ".lua"), "w", encoding="utf-8") as file:
                file.write(space_text(variants))

    def new_server(self, name):
        subprocess.run(["createdb", name], check=True, env=self.environment)
        self.database = name
        os.makedirs(os.path.join(self.home, name))
        self.server = os.environ["TRIAGE_TEST_SERVER"].replace("/postgres?", f"/{name}?")
        self.db("setup", "--server", self.server)

    def start(self, program, *arguments, home="one"):
        """Each home is a machine: its own local file and its own cache."""
        environment = dict(self.environment, HOME=os.path.join(self.home, self.database, home))
        return self.start_in(environment, program, *arguments)

    def db(self, *arguments, code=0):
        return json.loads(self.finish(self.start("triage_db", *arguments, "--json"), code).out)

    def worker(self, *arguments, space="small", home="one"):
        return self.start("triage_tune", "--worker", "--db", self.server, "--data-dir", self.data, "--space",
                          os.path.join(self.home, space + ".lua"), "--json", *arguments, home=home)

    def compiler(self, *arguments, **more):
        return self.worker("--compile-only", "--target", "host", *arguments, **more)

    def timer(self, *arguments, **more):
        return self.worker("--device", "host", "--jobs", 1, *arguments, **more)

    def enqueue(self, *columns):
        path = os.path.join(self.home, "shapes.csv")
        with open(path, "w", encoding="utf-8") as file:
            file.write("m,n,k,sparsity,block\n" + "".join(f"64,{n},64,0.5,16\n" for n in columns))
        return self.db("enqueue", "--shapes", path, "--server", self.server)

    def wait_for(self, text, wanted, seconds=600):
        end = time.time() + seconds
        while self.sql(text) != wanted:
            need(time.time() < end, text, "is", self.sql(text), "not", wanted, "after", seconds, "s")
            time.sleep(0.05)


ROWS = "SELECT count(*) FROM triage.evidence WHERE outcome = '%s' AND circumstances %s '%%compiled_ahead%%'"


def test_farm_saves_the_device(farm):
    farm.new_server("farm")
    farm.enqueue(40, 48)
    unknown = farm.finish(farm.compiler(home="cpu"))
    need("knows no device of" in unknown.err and json.loads(unknown.out)["done"] == 0, unknown.err, unknown.out)

    # A device is known from its first worker on, even one that had nothing to do.
    farm.sql("UPDATE triage.job SET device_class = 'nobody'")
    farm.finish(farm.timer())
    farm.sql("UPDATE triage.job SET device_class = ''")
    need(farm.sql("SELECT count(*) FROM triage.known_device WHERE key LIKE 'host %'") == "1", "no known device")

    compilers = [farm.compiler("--jobs", 1, home=f"cpu{i}") for i in range(3)]
    done = [json.loads(farm.finish(c).out)["done"] for c in compilers]
    need(sum(done) == 2, "two jobs, compiled", done)
    need(farm.sql("SELECT count(*), min(attempt), max(attempt) FROM triage.compilation WHERE state = 'done'") ==
         "2|1|1", "a job was compiled twice")
    need(farm.sql(ROWS % ("not_compiled", "LIKE")) == str(2 * VARIANTS), "what does not compile is not kept")
    need(farm.sql("SELECT count(*) FROM triage.evidence") == str(2 * VARIANTS), "more is kept than was found")
    status = farm.db("status", "--server", farm.server)
    need(status["compiled_ahead"] == 2 and status["queued"] == 2, status)

    farm.enqueue(64)  # comes too late for the farm
    farm.finish(farm.timer())
    need(farm.sql("SELECT count(*) FROM triage.job WHERE state = 'done'") == "3", "jobs are not done")
    need(farm.sql(ROWS % ("not_compiled", "LIKE")) == str(2 * VARIANTS), "the farm's rows have changed")
    own = farm.sql("SELECT problem, count(*) FROM triage.evidence WHERE outcome = 'not_compiled' "
                   "AND circumstances NOT LIKE '%compiled_ahead%' GROUP BY 1")
    need(" n=64 " in own and own.endswith(f"|{VARIANTS}") and "\n" not in own,
         "the worker compiled again what the farm had found, or did not see the late job's:", own)
    right = farm.sql("SELECT count(DISTINCT (problem, config)) FROM triage.evidence WHERE outcome IN ('right', 'slow') "
                     "AND problem NOT LIKE 'dense_gemm %'")
    need(right == str(3 * VARIANTS), "timed", right, "candidates")
    print(f"1. 3 compile workers did {done} of 2 jobs, each once; the timing worker compiled none of the "
          f"{2 * VARIANTS} candidates again that they found not to compile", flush=True)


RUNNING = "SELECT count(*) FROM triage.compilation WHERE state = 'running' AND tried > 0"


def test_neither_waits_for_the_other(farm):
    farm.new_server("beside")
    farm.finish(farm.timer())
    farm.enqueue(40)
    compiler = farm.compiler("--jobs", 1, "--lease", 3, space="large", home="cpu")
    farm.wait_for(RUNNING, "1")
    job = farm.db("jobs", "--server", farm.server)["jobs"][0]
    need(job["state"] == "queued" and job["compiled_ahead"]["state"] == "running", job)
    need(0 < job["compiled_ahead"]["tried"] < job["compiled_ahead"]["candidates"], job)
    shown = farm.finish(farm.start("triage_db", "status", "--server", farm.server)).out
    need("compiled ahead" in shown and "at work" in shown, shown)
    start = time.time()
    farm.finish(farm.timer("--budget", 2, space="large"))
    need(farm.sql("SELECT state FROM triage.job") == "done", "the job was not timed")
    took = time.time() - start
    farm.finish(compiler)
    note = farm.sql("SELECT state, note FROM triage.compilation")
    need(note.startswith("done|") and note.endswith("then a GPU took the job"), note)
    print(f"2. a job was timed in {took:.1f} s while it was compiled ahead; the compile worker then stopped", flush=True)


def test_killed_compilers(farm):
    farm.new_server("dead")
    farm.finish(farm.timer())
    farm.enqueue(40)
    compiler = farm.compiler("--jobs", 1, "--lease", 1.5, space="large", home="cpu")
    farm.wait_for(RUNNING, "1")
    compiler.send_signal(signal.SIGKILL)
    farm.finish(compiler, -signal.SIGKILL)
    farm.wait_for("SELECT lease_until < now() FROM triage.compilation", "t")
    farm.finish(farm.compiler("--budget", 4, space="large", home="cpu2"))
    need(farm.sql("SELECT state, attempt FROM triage.compilation") == "done|2", "nobody took it over")
    compiler = farm.compiler("--jobs", 1, "--lease", 1.5, space="large", home="cpu")
    farm.finish(compiler)  # nothing is left
    farm.enqueue(48)
    compiler = farm.compiler("--jobs", 1, "--lease", 1.5, space="large", home="cpu")
    farm.wait_for(RUNNING, "1")
    compiler.send_signal(signal.SIGTERM)  # gives it back at once
    farm.finish(compiler, 130)
    need(farm.sql("SELECT state FROM triage.compilation ORDER BY job DESC LIMIT 1") == "queued", "it was not given back")
    print("3. a killed compile worker's job was taken over, a stopped one's given back", flush=True)


def test_failed_jobs_are_retried(farm):
    farm.new_server("again")
    path = os.path.join(farm.home, "bad.csv")
    with open(path, "w", encoding="utf-8") as file:
        file.write("m,n,k,sparsity,block,dtype,out_dtype\n64,40,64,0.5,16,e4m3,f16\n64,48,64,0.5,16,e4m3,f16\n")
    farm.db("enqueue", "--shapes", path, "--device-class", "host", "--server", farm.server)
    farm.finish(farm.timer())
    jobs = farm.db("jobs", "--server", farm.server)["jobs"]
    need([j["state"] for j in jobs] == ["failed"] * 2 and all(j["note"] for j in jobs), jobs)
    shown = farm.finish(farm.start("triage_db", "status", "--server", farm.server)).out
    need("n=40" in shown and jobs[0]["note"] in shown and "enqueue --retry" in shown, shown)
    need(farm.db("enqueue", "--retry", "--device-class", "gpu", "--server", farm.server)["retried"] == 0)
    need(farm.db("enqueue", "--retry", "--device-class", "HOST", "--server", farm.server)["retried"] == 2)
    need(farm.db("enqueue", "--retry", "--server", farm.server)["retried"] == 0, "they wait already")
    jobs = farm.db("jobs", "--server", farm.server)["jobs"]
    need([(j["state"], j["attempts"], j["note"]) for j in jobs] == [("queued", 0, "")] * 2, jobs)
    # Tries before a retry do not count against it: a worker that is lost now is not the 25th.
    farm.sql("UPDATE triage.job SET attempt = 30, forgiven = 30")
    farm.sql("UPDATE triage.job SET state = 'running', attempt = 31, lease_until = now() - interval '1 s'")
    farm.finish(farm.timer())
    need(farm.sql("SELECT DISTINCT attempt, state, note LIKE 'given up%' FROM triage.job") == "32|failed|f", "given up")
    farm.finish(farm.start("triage_db", "enqueue", "--retry", "--shapes", path, "--server", farm.server), 64)
    print("4. failed jobs are named with their reason, and queued again", flush=True)


def test_older_server(farm):
    """Made by the version before: its jobs stay, and what is new is there."""
    subprocess.run(["createdb", "older"], check=True, env=farm.environment)
    folder = os.path.join(ROOT, "db/postgres/migrations")
    for name in sorted(os.listdir(folder))[:2]:
        subprocess.run(["psql", "-d", "older", "-1Xq", "-v", "ON_ERROR_STOP=1", "-f", os.path.join(folder, name)],
                       check=True, env=farm.environment, stdout=subprocess.DEVNULL)
    farm.database = "older"
    farm.sql("INSERT INTO triage.job (spec, device_class, state, ends, attempt, note) VALUES "
             "('{\"m\":\"64\",\"n\":\"40\",\"k\":\"64\",\"sparsity\":\"0.5\"}', '', 'failed', 1, 3, 'why not')")
    os.makedirs(os.path.join(farm.home, "older"))
    server = os.environ["TRIAGE_TEST_SERVER"].replace("/postgres?", "/older?")
    farm.finish(farm.start("triage_db", "jobs", "--server", server), 65)  # says who must do what
    farm.db("setup", "--server", server)
    job, = farm.db("jobs", "--server", server)["jobs"]
    need((job["state"], job["attempts"], job["note"], job["compiled_ahead"]) == ("failed", 3, "why not", None), job)


SHAPES_OF_ATTENTION = '''op,shape,mask,mask_block,dtype,paged
attention,"1,4,2,40,40,32",causal,,f32,
attention,"1,4,2,64,64,32","window:30,2+random-blocks:0.5",16x32,f32,
attention,"3,4,2,1,64,32",,,f32,16
'''


def test_attention(farm):
    """Another operation, its real space: compiled ahead, timed, listed, synced."""
    farm.new_server("attention")
    path = os.path.join(farm.home, "attention.csv")
    with open(path, "w", encoding="utf-8") as file:
        file.write(SHAPES_OF_ATTENTION)
    need(farm.db("enqueue", "--shapes", path, "--server", farm.server)["added"] == 3)
    need(farm.db("enqueue", "--shapes", path, "--server", farm.server)["added"] == 0, "a shape that waits was added")
    farm.sql("UPDATE triage.job SET device_class = 'nobody'")
    worker = ("triage_tune", "--worker", "--db", farm.server, "--json", "--budget", 1, "--jobs", 1)
    farm.finish(farm.start(*worker, "--device", "host"))  # the device is known from now on
    farm.sql("UPDATE triage.job SET device_class = ''")
    done = json.loads(farm.finish(farm.start(*worker, "--compile-only", "--target", "host", home="cpu")).out)["done"]
    need(done == 3, "compiled ahead:", done)
    need(json.loads(farm.finish(farm.start(*worker, "--device", "host")).out)["done"] == 3, "not timed")
    listed = [row["problem"] for row in farm.db("list", "--db", farm.server)["winners"]]
    need(len(listed) == 3 and all(problem.startswith("attention f32 f32 ") for problem in listed), listed)
    local = os.path.join(farm.home, "other.db")
    farm.db("sync", "--db", local, "--server", farm.server)
    far, near = (farm.db("hash", "--db", db)["hash"] for db in (farm.server, local))
    need(far == near, "the local file has not what the server has")
    print("6. attention: 3 jobs from a file, compiled ahead and timed", flush=True)


def test_layers(farm):
    """A layer with its epilogue: the job, the row and the lookup mean one problem, and another epilogue is another."""
    farm.new_server("layers")
    path = os.path.join(farm.home, "layers.csv")
    with open(path, "w", encoding="utf-8") as file:
        file.write("m,n,k,sparsity,block,dtype,layout,bias,activation\n"
                   "64,24,64,0.5,16,f32,col,yes,silu\n64,24,64,0.5,16,f32,col,no,none\n")
    need(farm.db("enqueue", "--shapes", path, "--server", farm.server)["added"] == 2)
    worker = ("triage_tune", "--worker", "--db", farm.server, "--json", "--budget", 2, "--jobs", 1, "--device", "host")
    need(json.loads(farm.finish(farm.start(*worker)).out)["done"] == 2, "not tuned")
    listed = sorted(row["problem"].split(" m=")[0] for row in farm.db("list", "--db", farm.server)["winners"]
                    if row["problem"].startswith("bsr_gemm"))
    need(listed == ["bsr_gemm f32 f32 col col none nobias", "bsr_gemm f32 f32 col col silu bias"], listed)
    local = os.path.join(farm.home, "layers.db")
    farm.db("sync", "--db", local, "--server", farm.server)
    shape = ("--shape", "64,24,64", "--sparsity", "0.5", "--block", 16, "--dtype", "f32", "--layout", "col", "--device", "host",
             "--db", local)
    for epilogue, source in ((("--bias", "--activation", "silu"), "exact"), ((), "exact"), (("--bias",), "nearest")):
        told = farm.db("explain", *shape, *epilogue)
        need(told["source"] == source, epilogue, told["source"], "is not", source)
    print("7. layers: an epilogue in enqueue, in the key and in explain", flush=True)


def test_sm_90a(farm):
    """With NVRTC: the real space, made to allow no spills, for a GPU that the server knows."""
    shutil.copy(os.path.join(ROOT, "tuner/spaces/bsr_gemm.lua"), os.path.join(farm.home, "strict.lua"))
    with open(os.path.join(ROOT, "tuner/spaces/bsr_gemm/wgmma.lua"), encoding="utf-8") as file:
        text, count = re.subn(r"spill_limit = 64,", "spill_limit = 0,", file.read())
    need(count == 1, "the space's spill limit has changed")
    os.mkdir(os.path.join(farm.home, "bsr_gemm"))
    with open(os.path.join(farm.home, "bsr_gemm/wgmma.lua"), "w", encoding="utf-8") as file:
        file.write(text)  # a part of one's own; the others are the built-in ones
    farm.new_server("hopper")
    farm.sql("INSERT INTO triage.known_device VALUES ('cuda sm_90a sms=132 clock=1980000 memclock=3201000 bus=6016 "
             "l2=62914560 smem=232448', 'NVIDIA H200')")
    path = os.path.join(farm.home, "hopper.csv")
    with open(path, "w", encoding="utf-8") as file:
        file.write("m,n,k,sparsity,block,dtype,layout\n512,512,512,0.5,64,f16,col\n")
    farm.db("enqueue", "--shapes", path, "--device-class", "H200", "--server", farm.server)
    before = int(farm.sql("SELECT count(*) FROM triage.measurement"))
    farm.finish(farm.worker("--compile-only", "--target", "sm_80", space="strict", home="cpu"))  # not its GPU
    compiler = farm.worker("--compile-only", "--target", "sm_90a", "--budget", 8, space="strict", home="cpu")
    farm.finish(compiler)
    state, note, device = farm.sql("SELECT state, note, device FROM triage.compilation").split("|")
    need(state == "done" and " sm_90a " in device, state, device)
    ahead = "FROM triage.evidence WHERE circumstances LIKE '%compiled_ahead%'"
    rows = farm.sql(f"SELECT outcome, device = '{device}', spill_bytes > 0 {ahead}").splitlines()
    need(rows and set(rows) == {"spilled|t|t"} and note.startswith(f"{len(rows)} of 8 "), rows, note)
    after = farm.sql("SELECT count(*) FROM triage.measurement")
    need(int(after) == before + len(rows), "more is kept than what spills")
    # Given to another machine, as to a worker of that GPU: what is known is not done again.
    farm.sql("UPDATE triage.compilation SET state = 'queued'")
    farm.finish(farm.worker("--compile-only", "--target", "sm_90a", "--budget", 8, space="strict", home="cpu2"))
    need(farm.sql("SELECT count(*) FROM triage.measurement") == after, "what was known was compiled again")
    need(farm.sql("SELECT note FROM triage.compilation") == note, "the second machine found something else")
    # A space that allows those spills is not misled by one that does not.
    farm.sql("UPDATE triage.compilation SET state = 'queued'")
    farm.finish(farm.start("triage_tune", "--worker", "--db", farm.server, "--compile-only", "--target", "sm_90a",
                           "--budget", 8, home="cpu"))
    need(farm.sql("SELECT note FROM triage.compilation").startswith("0 of 8 "), "the spill limit is not looked at")
    print(f"5. sm_90a: {len(rows)} of 8 candidates spill, known under the key of an H200 that was never here", flush=True)


def test_attention_sm_90a(farm):
    """A few candidates of each kernel, compiled ahead for a GPU that the server knows; what fails is kept."""
    farm.new_server("hopper_attention")
    farm.sql("INSERT INTO triage.known_device VALUES ('cuda sm_90a sms=132 clock=1980000 memclock=3201000 bus=6016 "
             "l2=62914560 smem=232448', 'NVIDIA H200')")
    path = os.path.join(farm.home, "attention.csv")
    with open(path, "w", encoding="utf-8") as file:
        file.write('op,shape,dtype\nattention,"2,4,2,300,300,64",bf16\nattention,"8,8,2,1,500,64",bf16\n')
    farm.db("enqueue", "--shapes", path, "--device-class", "H200", "--server", farm.server)
    worker = ("triage_tune", "--worker", "--db", farm.server, "--compile-only", "--target", "sm_90a", "--budget", 2)
    farm.finish(farm.start(*worker, home="cpu"))
    notes = farm.sql("SELECT state, note FROM triage.compilation ORDER BY job").splitlines()
    need([note.split(" ")[0:3] for note in notes] == [["done|0", "of", "2"]] * 2, notes)
    print("8. attention for sm_90a: 4 candidates compiled ahead", flush=True)


TESTS = (test_farm_saves_the_device, test_neither_waits_for_the_other, test_killed_compilers, test_failed_jobs_are_retried,
         test_older_server, test_attention, test_layers)


def main():
    if not os.environ.get("TRIAGE_TEST_SERVER"):
        print("skipped: no TRIAGE_TEST_SERVER (tests/support/postgres.sh)")
        return 77
    farm = Farm(sys.argv[1])
    try:
        for test in TESTS:
            test(farm)
        if farm.has_nvrtc():
            test_sm_90a(farm)
            test_attention_sm_90a(farm)
        else:
            print("skipped: no NVRTC for the last test")
    finally:
        farm.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
