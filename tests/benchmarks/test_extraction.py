"""What recording costs beside running the model, in time and memory, and what a second process saves: `make bench`."""

import json
import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from rgbd_insight.data import Scenes
from rgbd_insight.extraction import extract
from rgbd_insight.models import build
from tests.benchmarks._race import Way, race
from tests.benchmarks._results import ROWS

IMAGES, BATCH = 2048, 64  # what is done once (purity) is then a small part, as it is in a real extraction
FEW, MANY = 500, 20_000
ROOT = Path(__file__).parents[2]


def record(data, out):
    model = build("sum", classes=len(data.classes))
    extract(model, data, out=out, batch_size=BATCH, conditions=("both",), progress=False, device="cpu")


def test_pooled_responses_cost_little_more_than_the_forward_pass(tmp_path):
    data, number = Scenes(n=IMAGES), iter(range(100))
    model = build("sum", classes=len(data.classes)).eval()

    def bare():
        with torch.inference_mode():
            for start in range(0, IMAGES, BATCH):
                batch = data.batch(range(start, min(start + BATCH, IMAGES)))
                model(*batch.inputs.values())

    ways = [
        Way(
            "extract, condition both",
            lambda: record(data, tmp_path / str(next(number))),
            ours=True,
            note="data, purity and files included",
        ),
        Way("bare forward pass", bare, note="data included"),
    ]
    ROWS.extend(race("E", f"pooled responses of {IMAGES} scenes", ways))
    ratio = np.median(np.array(ways[0].seconds) / np.array(ways[1].seconds))
    print(f"  extraction takes {ratio:.2f} times the bare forward pass")
    assert ratio <= 1.25


def alone(out, count, processes=1):
    """Seconds of one extraction, and the peak memory in MB of a process, in processes of one thread each."""
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *launch, __file__, str(out), str(count)]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = [json.loads(part) for part in re.findall(r"\{[^}]*\}", done.stdout)]  # two may share a line
    return max(f["seconds"] for f in found), max(f["peak_mb"] for f in found)


def contents(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name not in ("execution.json", "SHA256SUMS")}


def test_memory_is_flat_and_two_processes_share_the_work(tmp_path):
    few, many, two = (tmp_path / name for name in ("few", "many", "two"))
    short, low = alone(few, FEW)
    seconds, high = alone(many, MANY)
    shared, peak = alone(two, MANY, processes=2)
    for count, processes, took, memory in ((FEW, 1, short, low), (MANY, 1, seconds, high), (MANY, 2, shared, peak)):
        ROWS.append(
            {
                "workload": "E",
                "work": f"pooled responses of {count} scenes",
                "way": f"{processes} x one thread",
                "ours": True,
                "seconds": took,
                "low": took,
                "high": took,
                "runs": 1,
                "times": 1,
                "peak_mb": memory,
                "note": "memory of the whole process",
            }
        )
    print(f"  {FEW} scenes {low:.0f} MB, {MANY} {high:.0f} MB; two processes are {seconds / shared:.2f} times as fast")
    assert abs(high / low - 1) <= 0.1
    assert contents(many) == contents(two)
    assert seconds >= 60 and seconds / shared >= 1.7


if __name__ == "__main__":
    torch.set_num_threads(1)
    begun = time.perf_counter()
    record(Scenes(n=int(sys.argv[2])), sys.argv[1])
    found = {
        "seconds": time.perf_counter() - begun,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(found), flush=True)
