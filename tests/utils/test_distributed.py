"""Two processes under torchrun do what one does; also the script that they run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from rgbd_insight.data import Scenes
from rgbd_insight.extraction import extract
from rgbd_insight.models import build
from rgbd_insight.training import loop as trainer
from rgbd_insight.training import train

TOLERANCE = 1e-5  # of a loss after two epochs, relative: gradients are added up in another order
FUSIONS = ("se", "exchange")


def job(kind: str, out: str) -> None:
    torch.set_num_threads(1)
    if kind.startswith("die"):
        step, done, (victim, last) = trainer.Run._step, [], map(int, kind.removeprefix("die").split("-"))

        def dying(self, *args):
            done.append(1)
            if len(done) == last and self.team.rank == victim:
                os.kill(os.getpid(), signal.SIGKILL)
            return step(self, *args)

        trainer.Run._step = dying
    if kind == "all":
        data = Scenes(23)
        model = build("se", data.classes, width=8)
        options = {"batch_size": 4, "draws": 2, "cells": 12, "progress": False, "device": "cpu"}
        extract(model, data, out=f"{out}/extracted", **options)
    data = Scenes(61, split="train")  # the last batch has one sample: one process of two has none
    for fusion in FUSIONS:
        model = build(fusion, data.classes, width=8)
        recipe = {"epochs": 2, "batch_size": 12, "precision": "fp32", "flip": False}
        train(model, data, out=f"{out}/{fusion}", device="cpu", progress=False, **recipe)


def torchrun(processes: int, *arguments) -> subprocess.CompletedProcess:
    root = Path(__file__).parents[2]
    env = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return subprocess.run(
        [*command, __file__, *map(str, arguments)], env=env, capture_output=True, text=True, timeout=300
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folders "1" and "2" of what one process made, this one, and what two made."""
    out = tmp_path_factory.mktemp("made")
    job("all", out / "1")
    done = torchrun(2, "all", out / "2")
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.parametrize("fusion", FUSIONS)
def test_two_processes_train_as_one(made, fusion):
    one, two = (pd.read_parquet(made / n / fusion / "curves.parquet") for n in "12")
    np.testing.assert_allclose(one.loss, two.loss, rtol=TOLERANCE)
    np.testing.assert_allclose(one.filter(like="gradient"), two.filter(like="gradient"), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(one.accuracy, two.accuracy, atol=1e-3)
    files = [sorted(p.name for p in (made / n / fusion).iterdir()) for n in "12"]
    assert files[0] == files[1]
    first, second = (load_file(made / n / fusion / "epoch-0002.safetensors") for n in "12")
    moved = load_file(made / "1" / fusion / "epoch-0000.safetensors")
    apart = torch.cat([(first[k] - second[k]).flatten() for k in first]).norm()
    way = torch.cat([(first[k] - moved[k]).flatten() for k in first]).norm()
    assert apart < 1e-4 * way


def test_two_processes_go_on_after_either_is_killed(made, tmp_path):
    """The first dies in the second epoch of the first network, then, as it goes on, the second in that of the next."""
    for victim, step, finished in ((0, 6 + 2, [[1]]), (1, 6 + 6 + 2, [[1, 2], [1]])):
        died = torchrun(2, f"die{victim}-{step}", tmp_path)
        assert died.returncode != 0
        curves = [tmp_path / fusion / "curves.parquet" for fusion in FUSIONS]
        assert [pd.read_parquet(c).epoch.tolist() for c in curves if c.exists()] == finished
    assert torchrun(2, "train", tmp_path).returncode == 0
    for fusion in FUSIONS:
        first, second = (load_file(folder / fusion / "epoch-0002.safetensors") for folder in (made / "2", tmp_path))
        assert all(torch.equal(first[k], second[k]) for k in first)


def test_two_processes_extract_the_same_bytes(made):
    def contents(folder):
        return {p.name: p.read_bytes() for p in folder.iterdir() if p.name not in ("execution.json", "SHA256SUMS")}

    one, two = (contents(made / n / "extracted") for n in "12")
    assert one.keys() == two.keys() and len(one) >= 7
    assert [name for name in one if one[name] != two[name]] == []
    assert not (made / "2" / "extracted.partial").exists()


if __name__ == "__main__":
    job(*sys.argv[1:])
