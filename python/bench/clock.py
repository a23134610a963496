"""The clock of the comparisons, and what a record says of the machine. Needs torch."""
import datetime
import random
import statistics
import subprocess

import torch


def median_interval(values):
    """Median and its 95 % interval by order statistics."""
    values = sorted(values)
    n = len(values)
    half = 0.98 * n ** 0.5
    low, high = max(0, int(n / 2 - half)), min(n - 1, int(n / 2 + half))
    return statistics.median(values), values[low], values[high]


def synchronize():
    if torch.cuda.is_available():
        torch.cuda.synchronize()


class Stopwatch:
    """ms of one launch between two events, the L2 emptied before it, the GPU kept busy until all is enqueued."""

    TRIES, CYCLES, CYCLES_MAX = 6, 600_000, 4_000_000  # 0.3 to 2 ms of waiting; a try may take 32 times as long

    def __init__(self):
        l2 = torch.cuda.get_device_properties(0).L2_cache_size
        self.flush = torch.zeros(max(256 << 20, 4 * l2) // 4, dtype=torch.int32, device="cuda")
        self.cycles = self.CYCLES  # grows where a call takes the CPU longer
        self.late = 0              # samples that the CPU was too slow for, in spite of all tries

    def _once(self, call, cycles):
        start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda._sleep(cycles)
        torch.max(self.flush)  # read, not written: a dirty L2 would be written back in the timed launch
        start.record()
        call()
        stop.record()
        late = start.query()  # the GPU came to the call before the CPU had enqueued it
        stop.synchronize()
        return start.elapsed_time(stop), late

    def sample(self, call):
        for attempt in range(self.TRIES):
            ms, late = self._once(call, self.cycles << attempt)
            if not late:
                return ms
            if attempt:  # twice is no accident
                self.cycles = min(2 * self.cycles, self.CYCLES_MAX)
        self.late += 1
        return ms


LEAST_SAMPLES, CONTESTANT_MS, CLEARLY_SLOWER = 7, 700.0, 1.6


def race(calls, samples, watch, poison, keep=("triage", "dense", "tuned", "official")):
    """{name: [ms]}: rounds in shuffled order. Who is clearly slower than the best after LEAST_SAMPLES rounds is not
    timed on, unless it is in keep; whoever took CONTESTANT_MS in all neither. The last sample starts from NaN."""
    times = {name: [] for name in calls}
    for call in calls.values():
        call()
    synchronize()
    shuffle = random.Random(1)
    for done in range(samples - 1):
        order = list(times)
        if done >= LEAST_SAMPLES - 1:
            best = min(statistics.median(times[name]) for name in order)
            order = [name for name in order if len(times[name]) == done and sum(times[name]) < CONTESTANT_MS
                     and (name in keep or statistics.median(times[name]) < CLEARLY_SLOWER * best)]
        shuffle.shuffle(order)
        for name in order:
            times[name].append(watch.sample(calls[name]))
    for name, call in calls.items():
        poison(name)
        times[name].append(watch.sample(call))
    return times


def driver_version():
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    return subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip().splitlines()[0]


def record_of(what, commit, samples, rows):
    """What all records have in common."""
    properties = torch.cuda.get_device_properties(0)
    return {"schema": 1, "what": what, "device": properties.name, "gpus": [str(getattr(properties, "uuid", "unknown"))],
            "driver": driver_version(), "toolkit": torch.version.cuda, "torch": torch.__version__, "commit": commit,
            "date": datetime.date.today().isoformat(),
            "protocol": f"cold L2, one launch between events, up to {samples} samples interleaved, at least "
                        f"{LEAST_SAMPLES}, median and 95 % interval (7 samples: their range); whole result and float64 "
                        "rows verified before and after",
            "rows": rows}


def empty_cache():
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
