"""Time several ways to do one thing side by side: interleaved, medians, error against a reference, peak memory."""

import gc
import os
import platform
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from tests.benchmarks._guard import IQR

RUNS = 5
STATUS = Path("/proc/self/status")


@dataclass
class Way:
    """One way to do the work.

    `times`: how often the work would have to be done like this (240 evaluations, ten tenths of the images); the time is
    multiplied by it. `pair`: takes the result and gives the error, where it is not the largest absolute difference.
    """

    name: str
    run: object
    ours: bool = False
    times: float = 1
    note: str = ""
    pick: object = lambda result: result
    seconds: list = field(default_factory=list)
    cpu: list = field(default_factory=list)
    result: object = None
    peak: float = np.nan


def race(workload, work, ways, reference=None, runs=RUNS):
    """Rows of the table of results; each way is run once to warm up, then all of them in turn, `runs` times."""
    for way in ways:
        way.result, way.peak = _peak(way.run)
    for _ in range(runs):
        for way in ways:
            start, used = time.perf_counter(), time.process_time()
            way.result = way.run()
            way.seconds.append((time.perf_counter() - start) * way.times)
            way.cpu.append((time.process_time() - used) * way.times)  # of all threads: depends less on other work
    return [row(workload, work, way, reference) for way in ways]


def row(workload, work, way, reference=None):
    """One row of the table of results, of a way whose times are known."""
    low, median, high = np.quantile(way.seconds, [0.25, 0.5, 0.75])
    error = np.nan
    if reference is not None:
        found = np.asarray(way.pick(way.result), dtype=np.float64)
        error = float(np.abs(found - np.asarray(way.pick(reference), dtype=np.float64)).max())
    made = {
        "workload": workload,
        "work": work,
        "way": way.name,
        "ours": way.ours,
        "seconds": median,
        "low": low,
        "high": high,
        "cpu": np.median(way.cpu),
        "runs": len(way.seconds),
        "times": way.times,
        "error": error,
        "peak_mb": way.peak,
        "note": way.note,
        "each": way.seconds,
    }
    time = f"{median:9.3f} s ({low:.3f}-{high:.3f})  cpu {made['cpu']:.3f}"
    print(f"  {work:38s} {way.name:24s} {time}  error {error:8.1e}  {way.peak:7.0f} MB")
    return made


def _peak(function):
    """The result, and by how many MB the resident memory rose above what it was (Linux only, else NaN)."""
    gc.collect()
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
        before = _status("VmRSS")
    except OSError:
        return function(), np.nan
    result = function()
    return result, max(0.0, _status("VmHWM") - before)


def _status(name):
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024


def conditions():
    """What the numbers depend on: device, cores, versions, and how busy the machine was with other work."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
    return {
        "device": device,
        "cores": cores,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else np.nan,
    }


def exponent(table, x, y):
    """Slope of log y on log x: y grows like x to this power."""
    return float(np.polyfit(np.log(table[x]), np.log(table[y]), 1)[0])


def beside_ours(rows):
    """The rows as a table with "ratio", how much longer each way takes than the fastest of ours, and its "spread".

    The ratio is the median over repetitions, in each of which all ways ran in turn; the spread is the robust standard
    deviation of its logarithm over them, missing where a way ran once.
    """
    table = pd.DataFrame(rows)
    for _, part in table.groupby(["workload", "work"], sort=False):
        best = part.loc[part[part["ours"]]["seconds"].idxmin()]
        for i, way in part.iterrows():
            logs = _logs(way, best)
            low, median, high = np.quantile(logs, [0.25, 0.5, 0.75])
            spread = (high - low) / IQR if len(logs) > 1 else np.nan
            table.loc[i, ["fastest", "ratio", "spread"]] = best["seconds"], np.exp(median), spread
    return table.drop(columns="each", errors="ignore")


def _logs(way, best):
    """Logarithms of how much longer `way` took, for each repetition; of the medians where the two ran apart."""
    each = [one.get("each") for one in (way, best)]
    if all(isinstance(times, list) for times in each) and len(each[0]) == len(each[1]):
        return np.log(each[0]) - np.log(each[1])
    return np.log([way["seconds"] / best["seconds"]])
