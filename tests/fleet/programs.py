"""What the tests of whole programs share: a folder of their own, processes that are waited for, and a server's SQL."""
import os
import shutil
import subprocess
import tempfile


def need(condition, *what):
    if not condition:
        raise AssertionError(" ".join(str(w) for w in what))


def sql(database, text, **more):
    run = subprocess.run(["psql", "-d", database, "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", text], check=True,
                         capture_output=True, text=True, **more)
    return run.stdout.strip()


class Programs:
    """The programs of a folder, as a user whose home is new. database: set by who makes one."""

    def __init__(self, bin_dir, name, **environment):
        self.bin = os.path.abspath(bin_dir)
        self.home = tempfile.mkdtemp(prefix=f"triage-{name}-")
        self.environment = dict(os.environ, HOME=self.home, TRIAGE_LOCK_DIR=self.home, **environment)
        for variable in ("XDG_DATA_HOME", "XDG_CACHE_HOME"):
            self.environment.pop(variable, None)
        self.running = []

    def start_in(self, environment, program, *arguments):
        process = subprocess.Popen([os.path.join(self.bin, program), *map(str, arguments)], env=environment, text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.running.append(process)
        return process

    def finish(self, process, code=0):
        process.out, process.err = process.communicate(timeout=600)
        self.running.remove(process)
        need(process.returncode == code, process.args, "ended with", process.returncode, "not", code, process.err)
        return process

    def sql(self, text):
        return sql(self.database, text, env=self.environment)

    def has_nvrtc(self):
        probe = self.start_in(self.environment, "triage_tune", "--compile-only", "--target", "sm_90a", "--shape",
                              "64,64,64", "--sparsity", 0.5, "--budget", 1)
        probe.communicate()
        self.running.remove(probe)
        need(probe.returncode in (0, 69), probe.args, "ended with", probe.returncode)
        return probe.returncode == 0

    def close(self):
        for process in self.running:
            process.kill()
            process.wait()
        shutil.rmtree(self.home)
