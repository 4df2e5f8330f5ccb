"""Numbers beyond which no call would ever end, or that are none: one error, at once, and nothing is written."""

import time
from pathlib import Path

import numpy as np
import pytest

from rgbd_insight import ablations, audit, consistency, evolution, extract, load, train
from rgbd_insight.data import Scenes
from rgbd_insight.models import build
from tests._toy import ToyData, ToyNet

BOOK = Path(__file__).resolve().parents[2] / "book" / "features" / "scenes"
HUGE = 10**20
WRONG = {
    "epochs": (0, -1, HUGE, 1e20, 2.0, "3", None, True),
    "batch_size": (0, -1, HUGE, 2.5, "64"),
    "seed": (-1, HUGE, 1.5, "0", None),
    "lr": (-1, float("nan"), float("inf")),
    "warmup": (-0.1, 2),
    "checkpoints": ([-1], [3], [HUGE], [0.5]),
    "draws": (0, HUGE, 1.5),
    "cells": (-1, HUGE, 0.5),
    "permutations": (0, 19, -1, HUGE, 1e20, 200.5, "200", True),
}


def cases(*names):
    return [pytest.param(name, value, id=f"{name}={value}"[:30]) for name in names for value in WRONG[name]]


@pytest.fixture
def refused(tmp_path, monkeypatch):
    """A context in which an error must name the argument, within a second, and leave nothing behind."""
    monkeypatch.chdir(tmp_path)

    def check(name, call):
        begun = time.monotonic()
        with pytest.raises(ValueError, match=f"`{name}` must be") as caught:
            call()
        assert time.monotonic() - begun < 5 and "got " in str(caught.value) and len(str(caught.value)) < 300
        assert not list(tmp_path.iterdir())

    return check


class Unread(ToyData):
    """Images that must not be read."""

    def batch(self, indices):
        raise AssertionError("images were read before the options")


@pytest.mark.parametrize(("name", "value"), cases("epochs", "batch_size", "seed", "lr", "warmup", "checkpoints"))
def test_train(refused, name, value):
    model = build("sum", 3, width=8)
    options = {"epochs": 2, "progress": False} | {name: value}
    refused(name, lambda: train(model, Unread(), out="run", **options))
    assert not model.epoch


@pytest.mark.parametrize(("name", "value"), cases("batch_size", "draws", "cells"))
def test_extract(refused, name, value):
    refused(name, lambda: extract(ToyNet(), Unread(), out="features", progress=False, **{name: value}))


@pytest.mark.parametrize(("name", "value"), cases("permutations"))
def test_questions_and_audit(refused, name, value):
    scenes = load(BOOK)
    for ask in (audit, consistency, evolution):
        refused(name, lambda ask=ask: ask(scenes, "sum", permutations=value))


@pytest.mark.parametrize("value", WRONG["seed"])
def test_networks_and_scenes(refused, value):
    refused("seed", lambda: build("sum", 3, width=8, seed=value))
    refused("seed", lambda: Scenes(4, seed=value))


@pytest.mark.parametrize("value", [0, -1, HUGE, 1.5, "9"])
def test_how_many_scenes(refused, value):
    refused("n", lambda: Scenes(value))


@pytest.mark.parametrize("value", [HUGE, 7, [8, HUGE]])
def test_how_wide(refused, value):
    refused("width", lambda: build("sum", 3, width=value))


def test_how_many_random_sets(refused):
    refused("draws", lambda: ablations(load(BOOK), "sum", draws=HUGE))


def test_numbers_of_numpy_are_numbers():
    assert Scenes(np.int64(2), seed=np.int64(1)).n == 2
    assert build("sum", 3, width=8, seed=np.int64(1)) is not None
