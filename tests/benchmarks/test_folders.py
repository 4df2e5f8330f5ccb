"""Extraction from a folder of JPEG and 16-bit PNG pairs of 480 x 640, beside the bare forward passes that it needs."""

import json
import os
import resource
import subprocess
import sys
import time

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from rgbd_insight.data import Folder
from rgbd_insight.extraction import extract, loop
from rgbd_insight.hooks import Tap
from tests._toy import ToyNet
from tests.benchmarks._results import ROWS
from tests.benchmarks.test_extraction import ROOT, Large

IMAGES = int(os.environ.get("RGBD_INSIGHT_FOLDER", 4))
SIZE, CLASSES, DISTINCT = (480, 640), 40, 8
KERNELS = ("conv", "batch_norm", "relu", "clamp_min", "max_pool2d", "upsample", "aten::add")  # the network's own
ONCE = {"runs": 1, "times": 1, "error": np.nan, "peak_mb": np.nan}  # of a row
WAIT = 0.03  # seconds an image and pass, of a network that computes elsewhere


def folder(path, count, seed=0):
    """`count` pairs with label maps, some of them the same files; every pair a scene."""
    rng = np.random.default_rng(seed)
    for name in ("rgb", "depth", "label"):
        (path / name).mkdir(parents=True)

    def smooth(step, low, high, channels=1):
        x = torch.from_numpy(rng.uniform(low, high, (1, channels, SIZE[0] // step, SIZE[1] // step)))
        return F.interpolate(x, SIZE, mode="bilinear")[0].movedim(0, -1).numpy()

    for i in range(min(count, DISTINCT)):
        colour = smooth(40, 0, 255, 3) + rng.normal(0, 8, (*SIZE, 3))
        depth = smooth(80, 800, 6000)[..., 0] + rng.normal(0, 10, SIZE)
        depth[smooth(60, 0, 1)[..., 0] < 0.1] = 0
        label = rng.integers(0, CLASSES, (SIZE[0] // 40, SIZE[1] // 40), np.uint8).repeat(40, 0).repeat(40, 1)
        Image.fromarray(colour.clip(0, 255).astype(np.uint8)).save(path / f"rgb/{i:04d}.jpg", quality=90)
        Image.fromarray(depth.clip(0, 9000).astype(np.uint16)).save(path / f"depth/{i:04d}.png")
        Image.fromarray(label).save(path / f"label/{i:04d}.png")
    for i in range(DISTINCT, count):
        for name in ("rgb/{:04d}.jpg", "depth/{:04d}.png", "label/{:04d}.png"):
            os.link(path / name.format(i % DISTINCT), path / name.format(i))
    ids = [f"{i:04d}" for i in range(count)]
    (path / "classes.json").write_text(json.dumps([f"class {k}" for k in range(CLASSES)]))
    (path / "splits.json").write_text(json.dumps({"test": ids, "groups": {stem: stem for stem in ids}}))
    return path


class Segmenter(Large):
    """Two streams of ResNet-50 with a head that labels every pixel."""

    fusion, seed, epoch = "large", 0, 1

    def __init__(self):
        torch.manual_seed(0)
        super().__init__()
        self.head = nn.Conv2d(2048, CLASSES, 1)

    def taps(self):
        return [Tap(stream, k + 1, f"{stream}.{k}") for stream in ("rgb", "depth") for k in range(4)]

    def forward(self, rgb, depth):
        return F.interpolate(self.head(super().forward(rgb, depth)), rgb.shape[-2:], mode="bilinear")


def clocks():
    return np.array([time.perf_counter(), time.process_time()])


class Beside(Segmenter):
    """Runs a copy of itself without hooks on the same inputs each time, and notes how long that took."""

    def __init__(self):
        super().__init__()
        self.bare, self.spent, self.passes = [Segmenter().eval()], np.zeros(2), 0

    def forward(self, rgb, depth):
        begun = clocks()
        self.bare[0](rgb, depth)
        self.spent, self.passes = self.spent + clocks() - begun, self.passes + len(rgb)
        return super().forward(rgb, depth)


class Noted(Folder):
    """Counts the images that are read."""

    seen = 0

    def _read(self, index):
        self.seen += 1
        return super()._read(index)


def rows_of(work, whole, bare, note):
    """A row of an extraction and one of its forward passes alone; returns the ratio of their processor times."""
    for way, (seconds, cpu), said in (("extract", whole, note), ("bare forward passes", bare, "on the same inputs")):
        print(f"  {work:58s} {way:20s} {seconds:8.1f} s  cpu {cpu:8.1f} s  {said}")
        fixed = {"workload": "E", "work": work, "way": way, "ours": way == "extract", **ONCE}
        ROWS.append(fixed | {"seconds": seconds, "low": seconds, "high": seconds, "cpu": cpu, "note": said})
    print(f"  {whole[1] / bare[1]:.3f} times the bare passes' processor time")
    return whole[1] / bare[1]


def test_a_folder_costs_little_more_than_the_forward_passes(tmp_path, monkeypatch):
    """All default conditions, four guests; the time of a pass alone is taken at the same moment on the same inputs."""
    data, model, marks = Noted(folder(tmp_path / "images", IMAGES)), Beside().eval(), []
    blocks = loop._extract_blocks

    def timed(*arguments, **options):
        begun, spent, passes = clocks(), model.spent, model.passes
        blocks(*arguments, **options)
        marks.append((clocks() - begun, model.spent - spent, model.passes - passes))

    monkeypatch.setattr(loop, "_extract_blocks", timed)
    begun = clocks()
    extract(model, data, out=tmp_path / "f", batch_size=2, progress=False, device="cpu")
    whole = clocks() - begun - model.spent
    (took, bare, passes) = marks[0]
    note = f"{data.seen} images read, {passes} image passes"
    per_image = rows_of(f"folder of {IMAGES} pairs 480x640, two ResNet-50", took - bare, bare, note)
    with_ends = rows_of(
        f"folder of {IMAGES}, with purity and guests' share", whole, model.spent, f"{model.passes} image passes"
    )
    assert data.seen <= IMAGES + 1 + (IMAGES > 2) * 2 * IMAGES  # once, for the task, and as partners of earlier blocks
    assert per_image <= 1.25 and with_ends <= 1.25


def test_most_of_the_time_is_in_the_networks_own_kernels(tmp_path):
    data = Folder(folder(tmp_path / "images", 2))
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        begun = time.perf_counter()
        extract(Segmenter().eval(), data, out=tmp_path / "f", batch_size=2, progress=False, device="cpu", draws=1)
        seconds = time.perf_counter() - begun
    table = {event.key: event.self_cpu_time_total / 1e6 for event in seen.key_averages()}
    kernels = sum(spent for name, spent in table.items() if any(word in name for word in KERNELS))
    for name, spent in sorted(table.items(), key=lambda item: -item[1])[:12]:
        print(f"    {name:40s} {spent / seconds:6.1%}")
    print(f"  {kernels / seconds:.1%} of {seconds:.1f} s in the network's own kernels")
    assert kernels >= 0.8 * seconds


class Elsewhere(ToyNet):
    """A network that computes on another device, as far as this machine can tell: it waits."""

    def forward(self, rgb, depth):
        time.sleep(WAIT * len(rgb))
        return super().forward(rgb[..., ::8, ::8], depth[..., ::8, ::8])


def test_reading_ahead_hides_the_reading(tmp_path, monkeypatch):
    images, options = folder(tmp_path / "images", 12), {"task": "none", "batch_size": 3, "device": "cpu"}
    took, passes, blocks = {}, 12 * 9, loop._extract_blocks

    def timed(*arguments, **more):
        begun = clocks()
        blocks(*arguments, **more)
        took[workers] = clocks() - begun

    monkeypatch.setattr(loop, "_extract_blocks", timed)
    for workers in (0, 2):
        extract(Elsewhere(), Folder(images), out=tmp_path / f"{workers}", workers=workers, progress=False, **options)
    for workers, (seconds, cpu) in took.items():
        print(
            f"  a network that computes elsewhere, workers={workers}: {seconds / passes / WAIT:.2f} times its own time"
        )
        fixed = {"workload": "E", "work": "folder, network elsewhere", "way": f"workers={workers}", "ours": workers > 0}
        spent = {"seconds": seconds, "low": seconds, "high": seconds, "cpu": cpu} | ONCE
        ROWS.append(fixed | spent | {"note": f"its own time is {passes * WAIT:.2f} s"})
    assert took[2][0] < took[0][0]


class Small(ToyNet):
    """Answers every pixel, with next to no work."""

    def forward(self, rgb, depth):
        super().forward(rgb[..., ::8, ::8], depth[..., ::8, ::8])
        return torch.zeros(1).expand(len(rgb), CLASSES, *SIZE)


def test_memory_does_not_grow_with_the_folder(tmp_path):
    """Beyond as many images as are kept."""
    peaks = []
    for count in (64, 160):
        images = folder(tmp_path / f"images{count}", count)
        env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, __file__, str(images), str(tmp_path / f"f{count}")]
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        seconds, cpu, peak = map(float, done.stdout.split())
        peaks.append(peak)
        print(f"  {count} pairs of 480x640: {peak:.0f} MB, {seconds:.0f} s, cpu {cpu:.0f} s")
        fixed = {"workload": "E", "work": f"folder of {count} pairs, small network", "way": "extract", "ours": True}
        spent = dict.fromkeys(("seconds", "low", "high"), seconds) | {"cpu": cpu} | ONCE
        ROWS.append(fixed | spent | {"peak_mb": peak, "note": "memory of the whole process"})
    assert peaks[1] - peaks[0] <= 60  # MB


if __name__ == "__main__":
    torch.set_num_threads(1)
    options = {"conditions": ("both", "none"), "batch_size": 4, "progress": False, "device": "cpu"}
    begun = clocks()
    extract(Small(), Folder(sys.argv[1]), out=sys.argv[2], **options)
    print(*(clocks() - begun), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
