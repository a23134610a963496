#!/usr/bin/env python3
"""A machine with several GPUs (a fake libcuda.so.1): a worker for each with --device all, and one at a time on each,
whoever started it. python3 tests/fleet/test_gpus.py BIN_DIR"""
import fcntl
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

import programs
from programs import need


class Machine(programs.Programs):
    def __init__(self, bin_dir):
        fake = os.path.join(os.path.abspath(bin_dir), "..", "fake_cuda")
        path = ":".join(filter(None, (fake, os.environ.get("LD_LIBRARY_PATH"))))
        super().__init__(bin_dir, "gpus", LD_LIBRARY_PATH=path, FAKE_CUDA_DEVICES="2", FAKE_CUDA_LAUNCH_MS="100")
        self.log = self.environment["FAKE_CUDA_LOG"] = os.path.join(self.home, "launches")
        self.database = "gpus"

    def start(self, program, *arguments, **environment):
        return self.start_in(dict(self.environment, **environment), program, *arguments)

    def enqueue(self, count):
        path = os.path.join(self.home, "shapes.csv")
        with open(path, "w", encoding="utf-8") as file:
            file.write("m,n,k,sparsity\n" + "".join(f"256,{64 + 8 * i},256,0.5\n" for i in range(count)))
        self.sql("DELETE FROM triage.job")
        self.finish(self.start("triage_db", "enqueue", "--shapes", path, "--server", self.server))

    def workers(self, *arguments, device="all", **environment):
        return self.start("triage_tune", "--worker", "--db", self.server, "--device", device, "--budget", 1,
                          "--jobs", 1, *arguments, **environment)

    def plain(self, device, **environment):
        return self.start("triage_tune", "--shape", "256,64,256", "--sparsity", "0.5", "--budget", 1, "--jobs", 1,
                          "--device", device, "--db", os.path.join(self.home, "plain.db"), **environment)

    def hold(self):
        """What makes a launch go on until release()."""
        path = os.path.join(self.home, "hold")
        with open(path, "w", encoding="utf-8"):
            return {"FAKE_CUDA_HOLD": path}

    def release(self):
        os.remove(os.path.join(self.home, "hold"))

    def launches(self):
        """(card, pid, start, end) of each launch so far; forgets them."""
        with open(self.log, encoding="utf-8") as file:
            lines = [tuple(map(int, line.split())) for line in file]
        os.remove(self.log)
        return lines


def collisions(launches):
    """Launches of two processes on one card at once."""
    return [(a, b) for i, a in enumerate(launches) for b in launches[i + 1:]
            if a[0] == b[0] and a[1] != b[1] and a[2] < b[3] and b[2] < a[3]]


def wait_for_jobs(m, running):
    while m.sql("SELECT count(*) FROM triage.job WHERE state = 'running'") != str(running):
        need(all(process.poll() is None for process in m.running), "ended before", running, "jobs ran")
        time.sleep(0.05)


def test_a_worker_for_each(m):
    m.enqueue(6)
    all_of_them = m.workers("--json", **m.hold())
    wait_for_jobs(m, 2)  # however long one of the two needs to start
    m.release()
    m.finish(all_of_them)
    result = json.loads(all_of_them.out)
    need([w["device"] for w in result["workers"]] == ["cuda:0", "cuda:1"], result)
    # The fake computes nothing: each job comes as far as the first verification, and fails there.
    need(result["failed"] == 6 and all(w["failed"] > 0 and w["exit"] == 0 for w in result["workers"]), result)
    need({launch[0] for launch in m.launches()} == {0, 1}, "a card was not used")
    workers = m.sql("SELECT DISTINCT split_part(worker, ' ', 2) FROM triage.job ORDER BY 1")
    need(workers == "cuda:0\ncuda:1", "jobs were done by", workers)
    need("2 GPUs, a worker for each" in all_of_them.err and "cuda:1: job" in all_of_them.err, all_of_them.err)
    m.enqueue(1)
    shown = m.finish(m.workers("-q")).out
    need(shown.startswith("device") and "cuda:0" in shown and "cuda:1" in shown, shown)
    m.launches()
    print("1. --device all: a worker for each of 2 GPUs did 6 jobs", flush=True)


def test_one_at_a_time(m):
    m.enqueue(8)
    two_people = [m.workers(**m.hold())]
    wait_for_jobs(m, 2)  # each of both cards has its turn
    two_people.append(m.workers(**m.hold()))
    wait_for_line(two_people[1], "another run times on")
    m.release()
    for workers in two_people:
        m.finish(workers)
    launches = m.launches()
    need(not collisions(launches), "two processes timed on one card at once:", collisions(launches)[:3])
    first = m.plain("cuda:0", **m.hold())  # could the check fail? With a lock folder for each, it does
    wait_for_launch(m)
    m.finish(m.plain("cuda:0", TRIAGE_LOCK_DIR=tempfile.mkdtemp(dir=m.home)), 70)
    m.release()
    m.finish(first, 70)
    need(collisions(m.launches()), "the check finds nothing even without a lock")
    print(f"2. two people start workers for all GPUs: {len(launches)} launches, never two processes at once", flush=True)


def wait_for_launch(m):
    while not os.path.exists(m.log):
        need(all(process.poll() is None for process in m.running), "ended without a launch")
        time.sleep(0.02)


def wait_for_line(process, text):
    for line in process.stderr:
        if text in line:
            return
    raise AssertionError(f"{process.args} never said: {text}")


def test_the_card_counts_not_its_number(m):
    """cuda:1 here, cuda:0 where only that card is visible; a plain run beside a worker."""
    plain = m.plain("cuda:1", **m.hold())
    wait_for_launch(m)
    m.enqueue(1)
    worker = m.workers(device="cuda:0", FAKE_CUDA_FIRST="1", FAKE_CUDA_DEVICES="1")
    wait_for_line(worker, "another run times on NVIDIA Fake GPU-a1a1a1a1-")
    m.release()
    m.finish(worker)
    m.finish(plain, 70)
    need("another run times on" not in worker.err, worker.err)
    launches = m.launches()
    need(not collisions(launches) and {launch[0] for launch in launches} == {1}, launches)
    print("3. a worker waited for a plain run on the same card under another number", flush=True)


def test_death_ends_the_turn(m):
    first = m.plain("cuda:0", **m.hold())
    wait_for_launch(m)
    second = m.plain("cuda:0")
    wait_for_line(second, "waiting for its end")
    first.send_signal(signal.SIGKILL)
    m.finish(first, -signal.SIGKILL)
    m.release()
    m.finish(second, 70)
    m.launches()
    print("4. the next run went on when the one before was killed", flush=True)


def test_no_gpu(m):
    none = m.finish(m.workers(FAKE_CUDA_DEVICES="0"), 69)
    need("no GPU here" in none.err and none.err.count("\n") == 1 and none.out == "", none.err, none.out)
    alone = m.finish(m.start("triage_tune", "--device", "all", "--shape", "64,64,64", "--sparsity", "0.5"), 64)
    need("--worker" in alone.err, alone.err)
    print("5. no GPU: exit code 69", flush=True)


def test_host(m):
    """The CPUs are one device: a run waits while another has the turn, which here we have ourselves."""
    arguments = ("--shape", "64,40,64", "--sparsity", "0.5", "--block", 16, "--budget", 1, "--jobs", 1, "--device",
                 "host", "--time-limit", 120, "--db", os.path.join(m.home, "host.db"))
    start = time.time()
    m.finish(m.start("triage_tune", *arguments))
    usual = time.time() - start
    lock, = [os.path.join(m.home, name) for name in os.listdir(m.home)
             if name.startswith("triage-host-") and "-run-" in name]
    with open(lock, encoding="utf-8") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        second = m.start("triage_tune", *arguments, "--force")
        need("another run times on host: " in second.stderr.readline(), "it did not wait")
        time.sleep(1)
        need(second.poll() is None, "it did not go on waiting")
    m.finish(second)
    known = m.start("triage_tune", *arguments)
    with open(lock, encoding="utf-8") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        m.finish(known)  # what is known needs no turn
        bench = m.start("triage_bench", "--shape", "64,40,64", "--sparsity", "0.5", "--block", 16, "--device", "host",
                        "--samples", 6, "--against", "none")
        need("another run times on host: " in bench.stderr.readline(), "triage_bench did not wait")
    m.finish(bench)
    with open(lock.replace("-run-", "-process-"), encoding="utf-8") as process:
        fcntl.flock(process, fcntl.LOCK_EX)  # as if a killed run's process had not let go of the device yet
        third = m.start("triage_tune", *arguments, "--force")
        time.sleep(3 * usual + 1)
        need(third.poll() is None, "it did not wait for what is left of a killed run")
    m.finish(third)
    print("7. the host device: a second run and triage_bench wait their turn, one that has nothing to measure does not", flush=True)


def test_stop(m):
    m.enqueue(6)
    workers = m.workers("--stay", FAKE_CUDA_LAUNCH_MS="3000")
    wait_for_launch(m)
    workers.send_signal(signal.SIGTERM)
    m.finish(workers, 130)
    need(m.sql("SELECT count(*) FROM triage.job WHERE state = 'running'") == "0", "a job was not given back")
    print("6. stopped: all workers give their jobs back", flush=True)


def main():
    if not os.environ.get("TRIAGE_TEST_SERVER"):
        print("skipped: no TRIAGE_TEST_SERVER (tests/support/postgres.sh)")
        return 77
    m = Machine(sys.argv[1])
    try:
        if not m.has_nvrtc():
            print("skipped: no NVRTC")
            return 77
        subprocess.run(["createdb", "gpus"], check=True)
        m.server = os.environ["TRIAGE_TEST_SERVER"].replace("/postgres?", "/gpus?")
        m.finish(m.start("triage_db", "setup", "--server", m.server))
        test_a_worker_for_each(m)
        test_one_at_a_time(m)
        test_the_card_counts_not_its_number(m)
        test_death_ends_the_turn(m)
        test_no_gpu(m)
        test_stop(m)
        test_host(m)
    finally:
        m.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
