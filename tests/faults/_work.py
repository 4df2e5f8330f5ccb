"""The pieces of work that are disturbed, each as small as it can be, and what they must leave."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from functools import cache, partial
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from rgbd_insight.data import Scenes
from rgbd_insight.data.convert import nyuv2, sunrgbd
from rgbd_insight.experiments import Plan, run_all
from rgbd_insight.features import FeatureWriter, load, write_quantised, write_table
from rgbd_insight.models import build
from rgbd_insight.report.page import write
from rgbd_insight.training import Cache, train
from rgbd_insight.utils.files import digest
from tests.data._official import sun_scene, write_nyuv2
from tests.features.test_features import about, fill, head
from tests.training.test_training import Toy

VARY = {"execution.json", "SHA256SUMS"}  # where and when


@dataclass(frozen=True)
class Work:
    """A piece of work.

    Attributes
    ----------
    name : str
        What it is called in the counts.
    prepare : Callable
        Makes what must be there beforehand, in a folder.
    do : Callable
        The work, in that folder.
    read : Callable
        Reads what there is as a user would; raises where it is damaged.
    """

    name: str
    prepare: Callable[[Path], object]
    do: Callable[[Path], object]
    read: Callable[[Path], object] = lambda at: None


def contents(at: Path) -> dict[str, str]:
    """Digests of the files below a folder, but those that say when; folders too, to see what is left over."""
    found = {}
    for path in sorted(at.rglob("*")):
        if "source" not in path.relative_to(at).parts:
            varies = path.name in VARY or path.is_dir()
            found[path.relative_to(at).as_posix()] = "" if varies else digest(path)
    return found


def nothing(at: Path) -> None:
    """Nothing has to be there."""


@cache
def _cache() -> Cache:
    return Cache(Toy(8))


def write_run(at: Path, seed: int = 0) -> None:
    """One run of a features directory."""
    writer = FeatureWriter(at / "f", head(), about(seed=seed))
    try:
        if not writer.complete:
            fill(writer, seed=seed).finish()
    finally:
        writer.close()


def read_all(at: Path) -> None:
    """Everything that there is in a features directory, where there is one."""
    if not (at / "f").exists() and not (at / "f.partial" / "old").exists():
        return
    features = load(at / "f")
    for run in features.runs.index:
        for keys in features.entry(run)["files"].values():
            for key in keys:
                features.tensor(run, key)


def copy(at: Path) -> None:
    """A small copy in the place of an older one."""
    write_quantised(load(at / "f"), at / "q", units=3, replace=True)


def learn(at: Path, seed: int = 0, epochs: int = 2) -> None:
    """A network trained on a few small images."""
    torch.set_num_threads(1)
    data = _cache()
    model = build("sum", classes=len(data.classes), seed=seed, width=8)
    options = {"epochs": epochs, "batch_size": 8, "device": "cpu", "progress": False, "precision": "fp32"}
    train(model, data, out=at / "run", seed=seed, **options)


def official(at: Path) -> None:
    """Files as they are distributed."""
    (at / "source").mkdir()
    write_nyuv2(at / "source" / "x.mat", n=2, size=(6, 8), train=[1], test=[2])
    for i, name in enumerate(("kv1/NYUdata/NYU0001", "kv2/kinect2data/000065_2014")):
        sun_scene(at / "source" / "SUNRGBD" / name, i)


def convert(at: Path) -> None:
    """NYUv2 as a folder of images, unless that is there."""
    with _done_already(at / "deep" / "nyu"):
        nyuv2(at / "source" / "x.mat", at / "deep" / "nyu")


def convert_sun(at: Path) -> None:
    """SUN RGB-D as a folder of images, unless that is there."""
    with _done_already(at / "sun"):
        sunrgbd(at / "source", at / "sun")


@contextmanager
def _done_already(out: Path) -> Iterator[None]:
    """A converter refuses what is there, and is right; nothing is left to do then."""
    there = out.exists()
    try:
        yield
    except ValueError as error:
        if not there or "must be a new folder" not in str(error):
            raise


PLAN = Plan(
    name="tiny",
    source="scenes",
    fusions=("rgb",),
    seeds=(0,),
    data=lambda split: Scenes(n=4, split=split),
    model={"width": 8},
    recipe={"epochs": 1, "batch_size": 4, "precision": "fp32", "device": "cpu"},
    samples=4,
    removals=(),
    partners=1,
)


def campaign(at: Path) -> None:
    """One run, trained and extracted."""
    torch.set_num_threads(1)
    with redirect_stderr(StringIO()):  # the bars
        run_all([PLAN], "tiny", at / "work")


def report(at: Path) -> None:
    """A page and its numbers, over older ones."""
    write(at / "out" / "page.html", lambda: "<p>a page</p>", dict)
    write(at / "out" / "page.json", str, lambda: {"a": 1.5})


def tables(at: Path, name: str = "second") -> None:
    """A table beside another."""
    write_table(pd.DataFrame({"x": np.arange(3)}), at / "results", name, f"make {name}")


WORKS = {
    work.name: work
    for work in (
        Work("extract", nothing, write_run, read_all),
        Work("extract a second run", write_run, partial(write_run, seed=1), read_all),
        Work("copy", lambda at: (write_run(at), copy(at)), copy, read_all),
        Work("train", nothing, learn),
        Work("convert nyuv2", official, convert),
        Work("convert sunrgbd", official, convert_sun),
        Work("campaign", nothing, campaign),
        Work("report", report, report),
        Work("tables", partial(tables, name="first"), tables),
    )
}


def index_of(at: Path) -> dict:
    """The index of the tables."""
    return json.loads((at / "results" / "index.json").read_text())
