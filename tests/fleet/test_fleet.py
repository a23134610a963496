#!/usr/bin/env python3
"""A fleet on one machine: hosts are network namespaces, the server is a real PostgreSQL, the device is fake.

   python3 tests/fleet/test_fleet.py BIN_DIR [--full]

1. Many processes on four hosts tune the same problems: no row lost or doubled, the same hash everywhere.
2. Workers, and others that compile jobs ahead, are killed with SIGKILL at random: each job ends once, its evidence
   complete, and what was compiled ahead was so once.
3. The network is cut for ten seconds at random, the server restarted: nothing lost, nothing doubled, nobody hangs.

Run by tests/support/postgres.sh inside `unshare --net` (see main). Exit code 77: skipped, and why. Without the
right to make namespaces the hosts share the loopback and only the server is cut off."""
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from programs import need, sql

HERE = os.path.dirname(os.path.abspath(__file__))
POSTGRES = os.path.join(HERE, "..", "support", "postgres.sh")
HOSTS = 4
MAC = "02:00:00:00:00:01"  # the server's, known to all beforehand, so that a silent cut is silent
HANG_S = 600  # nothing here takes as long, however busy the machine: what has not ended by then hangs
SEED = int(os.environ.get("TRIAGE_TEST_SEED", "4"))


def sh(*command, **more):
    return subprocess.run(command, check=True, text=True, capture_output=True, **more).stdout


class Fleet:
    """Four hosts, each a folder and, when we may, a network namespace with its own link to the server."""

    def __init__(self, bin_dir, separate):
        self.bin, self.separate = bin_dir, separate
        self.folder = tempfile.mkdtemp(prefix="triage-fleet-")
        self.holders, self.running = [], []
        if separate:
            sh("ip", "link", "set", "lo", "up")
            sh("ip", "link", "add", "br0", "address", MAC, "type", "bridge")
            sh("ip", "addr", "add", "10.99.0.1/24", "dev", "br0")
            sh("ip", "link", "set", "br0", "up")
            for i in range(HOSTS):
                self.add_host(i)

    def add_host(self, i):
        holder = subprocess.Popen(["unshare", "--net", "sleep", "3600"])
        self.holders.append(holder)
        own = os.readlink("/proc/self/ns/net")
        while os.readlink(f"/proc/{holder.pid}/ns/net") == own:
            time.sleep(0.01)
        inside = ["nsenter", "-t", str(holder.pid), "-n", "ip"]
        sh("ip", "link", "add", f"h{i}", "type", "veth", "peer", "name", "eth0", "netns", str(holder.pid))
        sh("ip", "link", "set", f"h{i}", "master", "br0", "up")
        sh(*inside, "addr", "add", f"10.99.0.{10 + i}/24", "dev", "eth0")
        sh(*inside, "link", "set", "eth0", "up")
        sh(*inside, "link", "set", "lo", "up")
        sh(*inside, "neigh", "replace", "10.99.0.1", "lladdr", MAC, "dev", "eth0", "nud", "permanent")

    def url(self, database):
        host = "10.99.0.1" if self.separate else "127.0.0.1"
        return f"postgresql://triage_test@{host}:{os.environ['PGPORT']}/{database}?sslmode=disable"

    def local(self, name, i):
        return os.path.join(self.folder, f"{name}-host{i}.db")

    def start(self, i, program, *arguments):
        inside = ["nsenter", "-t", str(self.holders[i].pid), "-n"] if self.separate else []
        log = open(os.path.join(self.folder, "log"), "ab")
        process = subprocess.Popen(inside + [os.path.join(self.bin, program), *map(str, arguments)],
                                   stdout=subprocess.PIPE, stderr=log, text=True)
        log.close()
        process.host = i
        self.running.append(process)
        return process

    def finish(self, process, timeout):
        try:
            out = process.communicate(timeout=timeout)[0]
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{process.args} hangs: not ended after {timeout:.0f} s")
        self.running.remove(process)
        need(process.returncode == 0, process.args, "ended with", process.returncode, self.log())
        return json.loads(out)

    def triage_db(self, i, *arguments, timeout=HANG_S):
        return self.finish(self.start(i, "triage_db", *arguments, "--json"), timeout)

    def log(self):
        with open(os.path.join(self.folder, "log"), encoding="utf-8", errors="replace") as log:
            return log.read()[-3000:]

    def cut(self, i, silent):
        """Either the link is down, and the kernel says so, or what is sent is lost without a word."""
        sh("ip", "link", "set", f"h{i}", *(["nomaster"] if silent else ["down"]))

    def mend(self, i):
        sh("ip", "link", "set", f"h{i}", "master", "br0", "up")

    def close(self):
        for process in self.running + self.holders:
            process.kill()
            process.wait()
        shutil.rmtree(self.folder)


def check_agreement(fleet, name, wanted_rows):
    """Every host and the server have the same set; each row is as it was measured."""
    for i in range(HOSTS):
        fleet.triage_db(i, "sync", "--db", fleet.local(name, i), "--server", fleet.url(name))
    for i in range(HOSTS):  # what the last hosts brought
        fleet.triage_db(i, "sync", "--db", fleet.local(name, i), "--server", fleet.url(name))
    hashes = {fleet.triage_db(i, "hash", "--db", fleet.local(name, i))["hash"] for i in range(HOSTS)}
    hashes.add(fleet.triage_db(0, "hash", "--db", fleet.url(name))["hash"])
    need(len(hashes) == 1, "hashes differ:", hashes)
    rows, distinct = map(int, sql(name, "SELECT count(*), count(DISTINCT id) FROM triage.measurement").split("|"))
    need(rows == distinct, rows - distinct, "rows are doubled")
    need(wanted_rows is None or rows == wanted_rows, rows, "rows, not", wanted_rows)
    need(fleet.triage_db(0, "verify", "--db", fleet.local(name, 0))["measurements"] == rows)
    # What a host measured itself it believes first; those that measured nothing agree with each other and the server.
    newcomers = [fleet.local(name, i) + ".new" for i in range(2)]
    for i, path in enumerate(newcomers):
        fleet.triage_db(i, "sync", "--db", path, "--server", fleet.url(name))

    def winners_of(i, path):
        return [(w["problem"], w["config"], w["median_ns"])
                for w in fleet.triage_db(i, "list", "--db", path)["winners"]]
    winners = [winners_of(i, path) for i, path in enumerate(newcomers)] + [winners_of(0, fleet.url(name))]
    need(all(w == winners[0] for w in winners), "winners differ")
    for i in range(HOSTS):
        need([w[0] for w in winners_of(i, fleet.local(name, i))] == [w[0] for w in winners[0]], "a problem has no winner")
    return rows, len(winners[0])


def deadlocks(name):
    return int(sql(name, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"))


def test_many_tuners(fleet, processes, problems):
    start = time.time()
    sh("createdb", "tuners")
    fleet.triage_db(0, "setup", "--server", fleet.url("tuners"))
    members = [fleet.start(p % HOSTS, "fleet_member", "tune", fleet.local("tuners", p % HOSTS), fleet.url("tuners"),
                           f"host{p % HOSTS}", p, problems) for p in range(processes)]
    results = [fleet.finish(m, 600) for m in members]
    rows, winners = check_agreement(fleet, "tuners", problems + processes * problems)
    need(winners == problems, winners, "winners")
    need(deadlocks("tuners") == 0, "deadlocks")
    print(f"1. {processes} processes, {HOSTS} hosts, {problems} problems: {rows} rows, none lost or doubled, one hash; "
          f"longest local step {max(r['longest_ms'] for r in results)} ms; {time.time() - start:.0f} s", flush=True)


def check_jobs(name, jobs):
    states = sql(name, "SELECT state, ends, count(*) FROM triage.job GROUP BY 1, 2")
    need(states == f"done|1|{jobs}", "jobs are not all done once:", states)
    incomplete = sql(name, """SELECT count(*) FROM triage.job j WHERE 3 <> (
        SELECT count(*) FROM triage.evidence e
        WHERE e.problem LIKE '% n=' || (128 + 8 * (j.spec::json ->> 'problem')::int) || ' %'
          AND e.host = (SELECT h.host FROM hosts h WHERE h.name = j.note))""")
    need(incomplete == "0", incomplete, "jobs ended without their evidence")


def name_hosts(name):
    """The hosts' hashes, as the fake device computes them, by their names: a table for check_jobs."""
    from hashlib import blake2b
    values = ", ".join(f"('host{i}', '{blake2b(f'host{i}'.encode(), digest_size=16).hexdigest()}')"
                       for i in range(HOSTS))
    sql(name, f"CREATE TABLE hosts (name text, host text); INSERT INTO hosts VALUES {values}")


def queue(fleet, name, jobs):
    sh("createdb", name)
    fleet.triage_db(0, "setup", "--server", fleet.url(name))
    need(fleet.finish(fleet.start(0, "fleet_member", "enqueue", fleet.url(name), jobs), HANG_S)["added"] == jobs)
    name_hosts(name)


def start_worker(fleet, name, i, lease_ms, work_ms):
    return fleet.start(i, "fleet_member", "work", fleet.local(name, i), fleet.url(name), f"host{i}", lease_ms, work_ms)


def start_compiler(fleet, name, i, lease_ms, work_ms):
    """A machine without the device, on the same host as others that have one."""
    return fleet.start(i, "fleet_member", "compile", fleet.local(name, i), fleet.url(name), f"farm{i}", lease_ms, work_ms)


def check_farm(name):
    """What was compiled ahead was so once: one row, from one process, unless a claim was lost on the way."""
    wrong = sql(name, """SELECT count(*) FROM triage.compilation c JOIN triage.job j ON j.id = c.job
        WHERE c.state = 'done' AND (SELECT CASE WHEN c.attempt = 1 THEN count(*) <> 1 ELSE count(*) < 1 END
            FROM triage.evidence e
            WHERE e.outcome = 'spilled' AND e.device = c.device
              AND e.problem LIKE '% n=' || (128 + 8 * (j.spec::json ->> 'problem')::int) || ' %')""")
    need(wrong == "0", wrong, "jobs were compiled ahead twice, or without their evidence")
    counts = sql(name, "SELECT count(*) FILTER (WHERE state = 'done'), count(*) FILTER (WHERE attempt > 1) "
                       "FROM triage.compilation").split("|")
    need(int(counts[0]) > 0, "nothing was compiled ahead")
    return f"{counts[0]} compiled ahead ({counts[1]} taken over)"


OPEN = "SELECT count(*) FROM triage.job WHERE state IN ('queued', 'running')"


def refill(name, jobs, more):
    """As many more jobs when few are open: the workers may be faster than who kills them. How many there are now."""
    if int(sql(name, OPEN)) >= more:
        return jobs
    sql(name, f"""INSERT INTO triage.job (spec, device_class)
        SELECT '{{"problem":' || i || '}}', 'h200' FROM generate_series({jobs}, {jobs + more - 1}) i""")
    return jobs + more


def test_kills(fleet, kills, jobs, workers):
    start, rng = time.time(), random.Random(SEED)
    queue(fleet, "kills", jobs)
    starters = [start_worker] * workers + [start_compiler] * HOSTS
    members = [start(fleet, "kills", w % HOSTS, 1500, 150) for w, start in enumerate(starters)]
    killed = 0
    while killed < kills:
        time.sleep(rng.uniform(0.005, 0.06))
        w = rng.randrange(len(members))
        ended = members[w].poll() is not None
        need(not ended or members[w].returncode == 0, "a worker failed:", fleet.log())
        if not ended:
            members[w].send_signal(signal.SIGKILL)
            members[w].wait()
            killed += 1
        if ended or killed % 10 == 0:
            jobs = refill("kills", jobs, 100)
        members[w].stdout.close()
        fleet.running.remove(members[w])
        members[w] = starters[w](fleet, "kills", w % HOSTS, 1500, 150)
    left = int(sql("kills", OPEN))
    for member in members:
        fleet.finish(member, 300)
    while sql("kills", OPEN) != "0":
        time.sleep(0.5)  # leases of the dead
        fleet.finish(start_worker(fleet, "kills", 0, 1500, 150), 300)
    check_jobs("kills", jobs)
    ahead = check_farm("kills")
    retried = sql("kills", "SELECT count(*) FROM triage.job WHERE attempt > 1")
    rows, _ = check_agreement(fleet, "kills", None)
    print(f"2. {killed} workers killed, {left} of {jobs} jobs open at the last kill, {retried} taken over: each ended "
          f"once with its evidence, {ahead} ({rows} rows, one hash); {time.time() - start:.0f} s", flush=True)


def test_cuts(fleet, cuts, jobs, workers):
    start, rng = time.time(), random.Random(SEED + 1)
    queue(fleet, "cuts", jobs)
    members = [start_worker(fleet, "cuts", w % HOSTS, 4000, 150) for w in range(workers)]
    members += [start_compiler(fleet, "cuts", i, 4000, 150) for i in range(HOSTS)]
    longest = 0
    for cut in range(cuts):
        time.sleep(rng.uniform(0.2, 2))
        i = rng.randrange(HOSTS)
        if fleet.separate:
            fleet.cut(i, silent=cut % 2 == 0)
            began = time.time()
            sync = fleet.start(i, "triage_db", "sync", "--db", fleet.local("cuts", i), "--server", fleet.url("cuts"))
            try:  # without the network it fails, in its time
                sync.communicate(timeout=HANG_S)
            except subprocess.TimeoutExpired:
                raise AssertionError("triage_db sync hangs while the network is cut")
            longest = max(longest, time.time() - began)
            need(sync.returncode == 74, "a sync without network ended with", sync.returncode)
            fleet.running.remove(sync)
            time.sleep(max(0, 10 - (time.time() - began)))
            fleet.mend(i)
        sh("sh", POSTGRES, "--restart", "immediate" if cut % 2 == 0 else "fast")
    for member in members:
        fleet.finish(member, 600)
    while sql("cuts", OPEN) != "0":
        time.sleep(1)
        fleet.finish(start_worker(fleet, "cuts", 0, 4000, 10), 300)
    check_jobs("cuts", jobs)
    ahead = check_farm("cuts")
    rows, _ = check_agreement(fleet, "cuts", None)
    what = f"{cuts} cuts of 10 s" if fleet.separate else "no network cut (no namespaces)"
    print(f"3. {what}, {cuts} server restarts, {jobs} jobs: each ended once, {ahead}, {rows} rows, one hash; a sync "
          f"without network ended after {longest:.1f} s; {time.time() - start:.0f} s", flush=True)


def run_all(bin_dir, separate, full):
    fleet = Fleet(bin_dir, separate)
    try:
        print(f"seed {SEED}, hosts are {'network namespaces' if separate else 'processes on the loopback'}", flush=True)
        test_many_tuners(fleet, 32, 370 if full else 60)
        test_kills(fleet, 200, 300, 12)
        test_cuts(fleet, 12 if full else 2, 1500 if full else 250, 8)
    except BaseException:
        print(fleet.log())
        raise
    finally:
        fleet.close()


def may_separate():
    return (os.geteuid() == 0 and shutil.which("ip") and shutil.which("nsenter") and
            subprocess.run(["unshare", "--net", "sh", "-c", "ip link add br0 type bridge"],
                           capture_output=True).returncode == 0)


def main():
    bin_dir, flags = sys.argv[1], sys.argv[2:]
    if "--inside" in flags:
        return run_all(bin_dir, "--separate" in flags, "--full" in flags)
    if not os.environ.get("TRIAGE_TEST_SERVER") and "--full" not in flags:
        print("skipped: part of the step postgres (tests/run.sh), or run it with --full")
        return 77
    separate = may_separate()
    environment = dict(os.environ)
    if separate:
        environment["TRIAGE_TEST_LISTEN"] = "0.0.0.0"
    command = ["sh", POSTGRES, sys.executable, os.path.abspath(__file__), bin_dir, "--inside", *flags]
    command += ["--separate"] if separate else []
    return subprocess.run((["unshare", "--net"] if separate else []) + command, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
