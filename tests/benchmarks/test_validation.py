"""What more processes save of the validation under torchrun, and that its tables are the same bytes: `make bench`."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from rgbd_insight.validation import validate, work
from tests.benchmarks._results import ROWS

ROOT = Path(__file__).parents[2]
NOTE = "processor time of the process that is longest at work"


def longest(out, count):
    """Seconds of processor time that the quick plan takes the process that is longest at work, of `count`."""
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "OMP_NUM_THREADS": "1"}
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}", __file__, str(out)]
    done = subprocess.run([sys.executable, *launch], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return max(json.loads(part)["cpu"] for part in re.findall(r"\{[^}]*\}", done.stdout))


def row_of(count, seconds):
    fixed = {"workload": "E", "work": "validation, quick plan", "way": f"{count} x one thread", "ours": True, "runs": 1}
    spent = dict.fromkeys(("seconds", "low", "high", "cpu"), seconds)
    return fixed | spent | {"times": 1, "error": np.nan, "peak_mb": np.nan, "note": NOTE}


def test_processes_share_the_validation(tmp_path):
    took = {count: longest(tmp_path / str(count), count) for count in (1, 2, 4)}
    ROWS.extend(row_of(count, seconds) for count, seconds in took.items())
    print("  validation: " + ", ".join(f"{n} processes {took[1] / s:.2f} times as fast" for n, s in took.items()))
    for name in ("validation.parquet", "validation_differences.parquet"):
        assert len({(tmp_path / str(count) / name).read_bytes() for count in took}) == 1


if __name__ == "__main__":
    torch.set_num_threads(1)
    work_off = work.work_off

    def timed(*arguments, **options):
        begun = time.process_time()
        work_off(*arguments, **options)
        print(json.dumps({"cpu": time.process_time() - begun}), flush=True)

    work.work_off = timed
    validate(sys.argv[1], quick=True, workers=1, progress=False)
