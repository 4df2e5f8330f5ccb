"""What recording costs beside running the model, in time and memory, and what a second process saves: `make bench`."""

import json
import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

from rgbd_insight.data import Scenes
from rgbd_insight.extraction import extract
from rgbd_insight.extraction.cells import CellPlan, cell_counts
from rgbd_insight.extraction.profiles import grids_of, profiles_of
from rgbd_insight.hooks import Tap, trace
from rgbd_insight.models import build
from tests._toy import ToyData, ToyNet
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


def places(count, out):
    """Everything at places, in small images."""
    options = {"conditions": ("rgb", "depth"), "draws": 1, "cells": 16, "batch_size": BATCH}
    extract(ToyNet(), ToyData(count), out=out, progress=False, device="cpu", **options)


def alone(out, count, processes=1, what="pooled"):
    """Seconds of one extraction, and the peak memory in MB of a process, in processes of one thread each."""
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *launch, __file__, str(out), str(count), what]
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


def test_memory_is_flat_with_places_profiles_and_grids(tmp_path):
    short, low = alone(tmp_path / "few", FEW, what="places")
    seconds, high = alone(tmp_path / "many", MANY, what="places")
    print(f"  at places: {FEW} images {low:.0f} MB in {short:.0f} s, {MANY} images {high:.0f} MB in {seconds:.0f} s")
    assert high - low <= 80  # MB; 36 are the table of the samples, which grows without places too


class Bottleneck(nn.Module):
    """Of ResNet-50."""

    def __init__(self, narrow, wide, stride):
        super().__init__()
        before = narrow if stride == 0 else wide
        step, inner = max(stride, 1), wide // 4
        parts = [(before, inner, 1, 1), (inner, inner, 3, step), (inner, wide, 1, 1)]
        layers = [[nn.Conv2d(a, b, k, s, k // 2, bias=False), nn.BatchNorm2d(b), nn.ReLU()] for a, b, k, s in parts]
        self.path = nn.Sequential(*[layer for part in layers for layer in part][:-1])

    def forward(self, x):
        y = self.path(x)
        return torch.relu(x + y if x.shape == y.shape else y)


def resnet(channels):
    """Four levels as large as those of ResNet-50."""
    stem = nn.Sequential(nn.Conv2d(channels, 64, 7, 2, 3), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
    levels, before = [], 64
    for wide, blocks, step in ((256, 3, 1), (512, 4, 2), (1024, 6, 2), (2048, 3, 2)):
        first = nn.Sequential(nn.Conv2d(before, wide, 1, step), nn.ReLU())
        levels.append(nn.Sequential(first, *(Bottleneck(wide, wide, 1) for _ in range(blocks))))
        before = wide
    return nn.ModuleList([nn.Sequential(stem, levels[0]), *levels[1:]])


class Large(nn.Module):
    """Two streams."""

    def __init__(self):
        super().__init__()
        self.rgb, self.depth = resnet(3), resnet(1)

    def forward(self, rgb, depth):
        for one, other in zip(self.rgb, self.depth, strict=True):
            rgb, depth = one(rgb), other(depth)
        return rgb + depth


def cpu_seconds(do, times=1):
    begun = time.process_time()
    for _ in range(times):
        do()
    return (time.process_time() - begun) / times


@torch.inference_mode()
def test_places_cost_little_beside_a_network_of_real_size(tmp_path):
    """Two streams of ResNet-50 at 480 x 640: one image; what is done with all maps at the end is timed on a part."""
    data, model = ToyData(10, size=(480, 640)), Large().eval()
    taps = [Tap(stream, level + 1, f"{stream}.{level}") for stream in ("rgb", "depth") for level in range(4)]
    batch = data.batch([0])
    inputs = tuple(batch.inputs.values())
    with trace(model, taps, lambda maps: torch.tensor(maps.shape[1:])) as shapes:
        model(*inputs)
    plan = CellPlan.of({tap: shape.tolist() for tap, shape in shapes.items()}, 16)
    reduces = plan.reduces(taps)

    def kept():
        spots = plan.places(batch.ids)
        with trace(model, taps, reduces) as found:
            model(*inputs)
        for tap, values in found.items():
            plan.split(tap, values.numpy(), spots)
        cell_counts(batch, 40, plan.grid)

    bare, seen = cpu_seconds(lambda: model(*inputs)), cpu_seconds(kept)
    images, units, cells = 60, 16, int(np.prod(plan.grid))
    rng = np.random.default_rng(0)
    maps = np.maximum(rng.normal(size=(images, units, cells)), 0).astype(np.float32)
    there = rng.random((images, cells, 40)) < 0.1
    writer = SimpleNamespace(
        partial=tmp_path,
        map_units={"rgb/1/rgb": units},
        present=lambda: there,
        maps=lambda key, part, chosen=None: maps[:, part] if chosen is None else maps[chosen, part],
    )
    groups = [str(i // 2) for i in range(images)]
    at_end = cpu_seconds(lambda: (profiles_of(writer, groups), grids_of(writer, groups))) / images / units
    ends = at_end * sum(plan.widths.values())
    ratio = (seen + ends) / bare
    print(
        f"  a forward pass {bare:.2f} s, with places {seen:.2f} s, profiles and grids {ends:.2f} s: {ratio:.2f} times"
    )
    assert ratio <= 1.4


if __name__ == "__main__":
    torch.set_num_threads(1)
    begun = time.perf_counter()
    if sys.argv[3] == "places":
        places(int(sys.argv[2]), sys.argv[1])
    else:
        record(Scenes(n=int(sys.argv[2])), sys.argv[1])
    found = {
        "seconds": time.perf_counter() - begun,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(found), flush=True)
